//! A source that fetches by itself: page after page, each stored together with how far it was read.
//!
//! ```text
//! Fetch ─▶ reader.fetch(cursor) ─▶ mapping ─▶ page (kept in the message) ─▶ stage ─▶ commit(records, cursor) ─▶ reader.stored
//!   ▲                                                                                                            │
//!   └──────────────── more, and not more than so many pages a turn: others wait for this thread, too ◀───────────┘
//! ```
//! The page lies in the message, which outlives the actor: a record that crashes it is set aside like one of a push.

use super::{Sent, SourceActor, Staged};
use crate::api::EngineError;
use crate::directory::Directory;
use crate::feeds::{self, Cursor, FetchError, Fetched, Format, Reader, Turn};
use crate::kernel::Progress;
use crate::secrets::KeyRing;
use bytes::Bytes;
use engine::ingest::{self, SplitError};
use engine::integrity::Accepted;
use engine::mapping::Mapping;
use models::feed::{Schedule, Source};
use models::quarantine::QuarantineForm;
use models::record::{BATCH_RECORDS_MAX, Refusal};
use models::ts::SECOND;
use parking_lot::Mutex;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};
use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Pages of a turn; more are due at once, behind whatever waits for the thread.
const PAGES_PER_TURN: u32 = 16;
/// How long a reader may take to acknowledge what is stored; what is not is acknowledged with the next page.
const ACKNOWLEDGE_MAX: Duration = Duration::from_secs(10);
/// Refused records that are remembered: an interface without a cursor sends them again at every fetch.
pub(crate) const REFUSED_KNOWN_MAX: u32 = 16_384;
/// Largest header that is kept with each refused row of its file.
const HEADER_BYTES_MAX: usize = 4_096;

/// A turn under way: the page that was fetched and is not stored yet.
#[derive(Default)]
pub struct Under(Mutex<Option<Arc<Page>>>);

/// What a fetch brought, as canonical records.
struct Page {
    body: Bytes,
    records: Vec<Range<usize>>,
    /// What the mapping could not map.
    refused: Vec<(Refusal, Sent)>,
    /// Rows that the mapping says are no records.
    skipped: u32,
    cursor: Option<Cursor>,
    more: bool,
}

impl Under {
    /// The records of the page under way, where there are any.
    pub(super) fn parts(&self) -> Option<(Bytes, Vec<Range<usize>>)> {
        let page = self.0.lock().clone()?;
        (!page.records.is_empty()).then(|| (page.body.clone(), page.records.clone()))
    }
}

/// What is counted of fetches.
#[derive(Clone)]
pub struct FetchMetrics {
    fetches: IntCounterVec,
    late_seconds: Histogram,
    skipped: IntCounter,
}

impl FetchMetrics {
    /// Makes and registers them.
    ///
    /// # Errors
    /// Where the registry has metrics of these names.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Turns of sources that fetch, by kind and outcome (done, more, failed, not_stored).";
        let late = "How much later than due a turn began, in seconds.";
        let metrics = Self {
            fetches: IntCounterVec::new(Opts::new("mlinzi_source_fetches_total", help), &["kind", "outcome"])?,
            late_seconds: Histogram::with_opts(
                HistogramOpts::new("mlinzi_source_fetch_late_seconds", late)
                    .buckets(vec![0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0]),
            )?,
            skipped: IntCounter::new(
                "mlinzi_source_rows_skipped_total",
                "Rows that were fetched and that their mapping says are no records.",
            )?,
        };
        registry.register(Box::new(metrics.fetches.clone()))?;
        registry.register(Box::new(metrics.late_seconds.clone()))?;
        registry.register(Box::new(metrics.skipped.clone()))?;
        Ok(metrics)
    }
}

/// What a source fetches with; made of its settings, and anew where they have changed.
#[derive(Default)]
pub(super) struct Fetching {
    of: Option<Arc<Source>>,
    mapping: Option<Mapping>,
    reader: Option<Box<dyn Reader>>,
    refused: Known,
}

impl Fetching {
    /// Of a source that was refused these before.
    pub(super) fn knowing(refused: Vec<u64>) -> Self {
        let mut fetching = Self::default();
        fetching.learn(refused);
        fetching
    }

    /// What was quarantined, too.
    pub(super) fn learn(&mut self, refused: Vec<u64>) {
        self.refused.learn(refused);
    }
}

/// Digests of what was quarantined, the newest; they lie beside it in the store.
#[derive(Default)]
struct Known {
    digests: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Known {
    fn learn(&mut self, digests: Vec<u64>) {
        for digest in digests {
            if self.digests.insert(digest) {
                self.order.push_back(digest);
            }
        }
        while self.order.len() > REFUSED_KNOWN_MAX as usize {
            if let Some(oldest) = self.order.pop_front() {
                self.digests.remove(&oldest);
            }
        }
    }
}

/// What came of a turn.
struct Read {
    /// There is more.
    more: bool,
    /// One of its pages was no page of refusals alone.
    delivered: bool,
}

/// Why a page did not come to be stored.
enum Failure {
    Source(FetchError),
    Store(&'static str),
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Source(error)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Unavailable(what) | EngineError::Overloaded(what) => Self::Store(what),
            _ => Self::Store("the commit was refused"),
        }
    }
}

impl SourceActor {
    /// As it is now: its schedule or its mapping may have changed since the actor was made.
    pub(super) fn settings(&self) -> Arc<Source> {
        let directory = self.context.directory.load();
        directory.sources.get(&self.source.id).cloned().unwrap_or_else(|| Arc::clone(&self.source))
    }

    /// Fetches and stores, until nothing more is there or the turn is over.
    pub(super) async fn turn(&mut self, under: &Under, progress: &Progress) {
        let source = self.settings();
        let Some(schedule) = &source.schedule else {
            self.gauge.polling.give_back();
            return;
        };
        let late = self.gauge.polling.begin(self.context.clock.now());
        self.context.fetches.late_seconds.observe(late as f64 / SECOND as f64);
        let read = self.pages(&source, under, progress).await;
        let delivered = matches!(read, Ok(Read { delivered: true, .. }));
        let turn = match read {
            Ok(Read { more: true, .. }) => Turn::More,
            Ok(Read { more: false, .. }) => Turn::Done,
            Err(Failure::Source(error)) => Turn::Failed(error),
            Err(Failure::Store(what)) => Turn::NotStored(what),
        };
        self.ended(&source, schedule, &turn, delivered);
    }

    fn ended(&mut self, source: &Source, schedule: &Schedule, turn: &Turn, delivered: bool) {
        let now = self.context.clock.now();
        let outcome = match turn {
            Turn::Done => "done",
            Turn::More => "more",
            Turn::Failed(error) => {
                tracing::warn!(source = %source.id, %error, "a source cannot be fetched");
                // connections of a reader that failed are not trusted any more
                self.fetching.reader = None;
                "failed"
            }
            Turn::NotStored(_) => "not_stored",
        };
        self.context.fetches.fetches.with_label_values(&[source.kind.as_str(), outcome]).inc();
        if delivered {
            self.gauge.last_success_at.store(now.0, Ordering::Relaxed);
        }
        self.gauge.polling.ended(schedule, turn, now, (self.context.feeds.chance)());
        self.gauge.version.fetch_add(1, Ordering::Release);
    }

    async fn pages(&mut self, source: &Arc<Source>, under: &Under, progress: &Progress) -> Result<Read, Failure> {
        let mut delivered = false;
        for _ in 0..PAGES_PER_TURN {
            progress.beat();
            self.make_sure().await?;
            let kept = under.0.lock().clone();
            let page = match kept {
                Some(page) => page,
                None => {
                    let page = Arc::new(self.fetch(source, progress).await?);
                    *under.0.lock() = Some(Arc::clone(&page));
                    page
                }
            };
            if !progress.is_current() {
                // another one works in its place by now
                return Err(Failure::Store("the source's actor"));
            }
            let stored = self.store_page(&page, progress).await;
            // what could not be stored is fetched again: where the source stands may be another place by then
            *under.0.lock() = None;
            delivered |= stored?;
            self.context.fetches.skipped.inc_by(page.skipped.into());
            self.acknowledge(page.cursor.as_ref()).await;
            if !page.more {
                return Ok(Read { more: false, delivered });
            }
        }
        Ok(Read { more: true, delivered })
    }

    async fn fetch(&mut self, source: &Arc<Source>, progress: &Progress) -> Result<Page, FetchError> {
        let settings = source.reader.as_ref().ok_or_else(|| FetchError::Settings("no reader".to_owned()))?;
        let fetching = &mut self.fetching;
        if !fetching.of.as_ref().is_some_and(|of| of.reader == source.reader && of.mapping == source.mapping) {
            fetching.mapping =
                source.mapping.as_deref().map(Mapping::from_toml).transpose().map_err(|error| of_mapping(&error))?;
            fetching.reader = None;
            fetching.of = Some(Arc::clone(source));
        }
        let reader = match &mut fetching.reader {
            Some(reader) => reader,
            none => none.insert(feeds::reader(settings, fetching.mapping.as_ref(), &self.context.feeds)?),
        };
        // an empty one stands for the beginning
        let cursor = self.head.cursor.as_ref().filter(|Cursor(text)| !text.is_empty());
        let mut stopping = self.context.stopping.clone();
        let fetched = tokio::select! {
            fetched = reader.fetch(cursor, progress) => fetched?,
            // a peer that is slow must not hold up the end
            _ = stopping.wait_for(|is_stopping| *is_stopping) => {
                return Err(FetchError::Unreachable("the engine stops".to_owned()));
            }
        };
        if fetched.body.len() > feeds::FETCH_BYTES_MAX + 2 {
            return Err(FetchError::TooLarge);
        }
        let directory = self.context.directory.load();
        let operator = directory.operators.get(&source.operator_no).map_or("", |operator| operator.code.as_str());
        page(fetched, fetching.mapping.as_ref(), operator, || is_first(&directory, source))
    }

    /// Stores a page in batches; where it was read to goes with the last. Gives whether its source has delivered by it.
    async fn store_page(&mut self, page: &Page, progress: &Progress) -> Result<bool, EngineError> {
        let mut refused = page.refused.clone();
        let mut delivered = false;
        let mut left = page.records.as_slice();
        let mut index = 0;
        loop {
            let (batch, rest) = left.split_at(left.len().min(BATCH_RECORDS_MAX));
            let cursor = page.cursor.as_ref().filter(|_| rest.is_empty());
            let now = self.context.clock.now();
            let parts = (index..).zip(batch.iter().cloned());
            let mut staged = self.stage_all(&page.body, parts, now)?;
            staged.refused.append(&mut refused);
            delivered |= self.commit_fetched(staged, cursor).await?;
            progress.beat();
            (left, index) = (rest, index + batch.len());
            if left.is_empty() {
                return Ok(delivered);
            }
        }
    }

    async fn commit_fetched(&mut self, mut staged: Staged, cursor: Option<&Cursor>) -> Result<bool, EngineError> {
        // asked before what is known is left out
        staged.answered = staged.refused.is_empty();
        let delivered = staged.is_delivery();
        let (ring, known) = (self.context.keys.hold(), &self.fetching.refused.digests);
        staged.refused.retain(|(refusal, sent)| !known.contains(&digest(&ring, refusal, sent)));
        let digests = staged.refused.iter().map(|(refusal, sent)| digest(&ring, refusal, sent)).collect();
        self.commit(staged, cursor, &Accepted::default(), self.context.clock.now()).await?;
        self.fetching.refused.learn(digests);
        Ok(delivered)
    }

    async fn acknowledge(&mut self, cursor: Option<&Cursor>) {
        if let (Some(reader), Some(cursor)) = (self.fetching.reader.as_mut(), cursor)
            && tokio::time::timeout(ACKNOWLEDGE_MAX, reader.stored(cursor)).await.is_err()
        {
            tracing::warn!(source = %self.source.id, "what is stored is not acknowledged yet");
        }
    }

    /// Forgets how far the source was read; records that are known stay known.
    pub(super) async fn restart(&mut self) -> Result<(), EngineError> {
        self.make_sure().await?;
        let beginning = Cursor(String::new());
        self.commit(Staged::default(), Some(&beginning), &Accepted::default(), self.context.clock.now()).await?;
        self.fetching.reader = None;
        Ok(())
    }

    /// A page was tried record by record: what is left of it is stored.
    pub(super) async fn settle_page(&mut self, under: &Under) {
        let source = self.settings();
        let Some(page) = under.0.lock().take() else {
            // it was no page that crashed the actor, and the letter has said so
            return;
        };
        self.staged.refused.extend(page.refused.iter().cloned());
        let stored = match self.left() {
            Ok(staged) => self.commit_fetched(staged, page.cursor.as_ref()).await,
            Err(error) => Err(error),
        };
        let turn = match stored {
            Ok(_) => {
                self.acknowledge(page.cursor.as_ref()).await;
                if page.more { Turn::More } else { Turn::Done }
            }
            Err(_) => Turn::NotStored("the database"),
        };
        if let Some(schedule) = &source.schedule {
            self.ended(&source, schedule, &turn, stored.unwrap_or(false));
        }
    }

    /// Fetching itself crashes the actor, whatever it is tried with.
    pub(super) fn crashed(&mut self) {
        let source = self.settings();
        if let Some(schedule) = &source.schedule {
            let crash = FetchError::Unreadable("what it sends crashes its source".to_owned());
            self.ended(&source, schedule, &Turn::Failed(crash), false);
        }
    }
}

/// What tells a refused record from others, and from itself refused for another reason.
pub(super) fn digest(ring: &KeyRing, refusal: &Refusal, sent: &Sent) -> u64 {
    ring.refused_digest(refusal.code.as_str(), &sent.bytes)
}

fn of_mapping(error: &engine::mapping::MappingError) -> FetchError {
    FetchError::Settings(format!("mapping: {error}"))
}

/// Whether of all sources that fetch the same with the same mapping this is the one that was made first. It takes what
/// nobody can say whose it is: one of them has to, and not each of them.
fn is_first(directory: &Directory, source: &Source) -> bool {
    let home = |source: &Source| directory.operators.get(&source.operator_no).map(|operator| operator.jurisdiction);
    let is_alike = |other: &&Arc<Source>| {
        !other.paused && other.reader == source.reader && other.mapping == source.mapping && home(other) == home(source)
    };
    directory.sources.values().filter(is_alike).all(|other| source.source_no <= other.source_no)
}

/// What was fetched, as canonical records; what is of other operators of the mapping is left to their own sources.
fn page(
    fetched: Fetched,
    mapping: Option<&Mapping>,
    operator: &str,
    takes_the_rest: impl FnOnce() -> bool,
) -> Result<Page, FetchError> {
    let Fetched { body, format, cursor, more } = fetched;
    let split = |body: &Bytes| match ingest::split_all(body) {
        Ok(records) => Ok(records),
        Err(SplitError::Empty) => Ok(Vec::new()),
        Err(error) => Err(FetchError::Unreadable(error.to_string())),
    };
    let Some(mapping) = mapping else {
        return match format {
            Format::Csv if !body.is_empty() => Err(FetchError::Settings("rows need a mapping".to_owned())),
            _ => Ok(Page { records: split(&body)?, body, refused: Vec::new(), skipped: 0, cursor, more }),
        };
    };
    let mapped = match format {
        _ if body.trim_ascii().is_empty() => {
            return Ok(Page { body, records: Vec::new(), refused: Vec::new(), skipped: 0, cursor, more });
        }
        Format::Csv => mapping.read(&body).map_err(|e| FetchError::Unreadable(e.to_string()))?,
        Format::Ndjson | Format::Json => mapping.read_json(&body, split(&body)?),
    };
    let form = if format == Format::Csv { QuarantineForm::Csv } else { QuarantineForm::Json };
    let mut lines = String::with_capacity(mapped.records.iter().map(|record| record.json.len() + 1).sum());
    let mut records = Vec::with_capacity(mapped.records.len());
    for record in mapped.records.iter().filter(|record| *record.operator == *operator) {
        let start = lines.len();
        lines.push_str(&record.json);
        records.push(start..lines.len());
        lines.push('\n');
    }
    let takes_the_rest = mapped.refused_of.iter().any(Option::is_none) && takes_the_rest();
    let is_own = |owner: &Option<Arc<str>>| owner.as_ref().map_or(takes_the_rest, |owner| **owner == *operator);
    let refused = mapped.refusals.into_iter().zip(mapped.refused_at).zip(mapped.refused_of);
    let refused = refused.filter(|(_, owner)| is_own(owner));
    let refused = refused.map(|((refusal, place), _)| (refusal, row(&body, &mapped.header, place, form))).collect();
    Ok(Page { body: lines.into(), records, refused, skipped: mapped.skipped, cursor, more })
}

/// A row that was refused, as it can be mapped again: behind its file's header.
fn row(body: &Bytes, header: &Range<usize>, place: Range<usize>, form: QuarantineForm) -> Sent {
    let row = body.slice(place);
    if header.len() > HEADER_BYTES_MAX {
        return row.into();
    }
    let bytes = if header.is_empty() { row } else { [&body[header.clone()], &row].concat().into() };
    Sent { bytes, form }
}
