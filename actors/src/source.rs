//! One actor per source: a push becomes a stored batch, or an honest account of why not.
//!
//! ```text
//! body ─▶ ingest::records (parse, validate, digest identity) ─▶ dedupe ─▶ stage ─▶ commit ─▶ answer
//!                     │ refusal                                  │ conflict, behind horizon
//!                     └────────────── quarantine (sealed) ◀──────┘
//! ```
//! Staging touches nothing but the actor's own staging area, and what it added to the dedupe sets is taken back
//! when the commit fails; so a panic in one record leaves the actor sound, and the kernel sets that record aside.

mod commit;
mod fetch;
mod open;
mod replay;
mod whole;

pub use commit::chain_digest;
pub(crate) use commit::chain_of;
pub(crate) use fetch::REFUSED_KNOWN_MAX;
pub use fetch::{FetchMetrics, Under};
pub use open::OpenCounts;
pub use replay::{Apply, Attempt, Attempted, ReplayRequest, Settling};
pub(crate) use replay::{not_open, suggest};
pub use whole::{IntegrityMetrics, Sign};

use crate::api::{EngineError, PushOutcome};
use crate::directory::Directory;
use crate::feeds::{Cursor, FeedsConfig, Polling};
use crate::integrity::{DayScore, Touched};
use crate::kernel::{DeadLetter, Progress, Work};
use crate::secrets::{KeyRing, Keys};
use crate::trace;
use crate::writer::WriterHandle;
use arc_swap::ArcSwap;
use bytes::Bytes;
use commit::outcome;
use engine::dedupe::{Dedupe, Seen};
use engine::ingest::{self, Resolver};
use engine::integrity::PushMarks;
use futures_util::future::LocalBoxFuture;
use models::feed::integrity::ChainEndReason;
use models::feed::{Source, SourceClock, SourceIntegrity};
use models::ids::KeyId;
use models::quarantine::QuarantineForm;
use models::record::{QuarantineCode, Record, Refusal};
use models::ts::{DAY, HOUR, SECOND, Ts};
use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use store::{Clock, Store};
use tokio::sync::{oneshot, watch};

/// How far ahead of the wall clock a record may lie.
const FUTURE_MAX: i64 = HOUR;
/// Nothing before the year 2000 is a record of this market: a partition for each month of history would be made for it.
pub(crate) const EARLIEST: Ts = Ts(946_684_800 * SECOND);

/// A reply that is sent once, whoever gets to it first.
pub struct Reply<T>(Mutex<Option<oneshot::Sender<T>>>);

impl<T> Reply<T> {
    /// A reply and the end that waits for it.
    pub fn new() -> (Self, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Mutex::new(Some(sender))), receiver)
    }

    /// Sends, the first time.
    pub fn send(&self, value: T) {
        if let Some(sender) = self.0.lock().take() {
            // a caller that hung up does not want it any more
            let _ = sender.send(value);
        }
    }
}

/// What a source's actor hears.
pub enum SourceMsg {
    /// The schedule says that it is time, or somebody does.
    Fetch(fetch::Under),
    /// It is to be read from the beginning: somebody has decided so.
    Restart {
        /// Where the answer goes.
        reply: Reply<Result<(), EngineError>>,
    },
    /// A person ends its chain of tamper tokens.
    EndChain {
        /// Who.
        by: KeyId,
        /// Why.
        reason: ChainEndReason,
        /// The number that the next batch has.
        next_number: Option<i64>,
        /// Where the answer goes.
        reply: Reply<Result<(), EngineError>>,
    },
    /// A push as it came.
    Push {
        /// NDJSON or a JSON array.
        body: Bytes,
        /// What its operator says about it as a whole.
        marks: Box<PushMarks>,
        /// Validate only.
        dry_run: bool,
        /// Where the answer goes.
        reply: Reply<Result<PushOutcome, EngineError>>,
        /// Where its steps are noted.
        trace: Option<trace::Steps>,
    },
    /// One record of a push, or of a page, that crashed the actor twice.
    Part {
        /// The push.
        body: Bytes,
        /// Where in it the record stands.
        range: Range<usize>,
        /// Its position.
        index: u32,
    },
    /// What was refused before is tried again, or left as it is.
    Settle(Settling),
    /// What is open of that may be more or less than is counted.
    Count,
}

/// Where a source stands; read by screens.
#[derive(Default)]
pub struct SourceGauge {
    /// Newest `occurred_at`, microseconds; 0 = none.
    pub last_event_at: AtomicI64,
    /// When a push or a fetch last succeeded, microseconds; 0 = never.
    pub last_success_at: AtomicI64,
    /// The newest of these times that a restart would find in the store.
    pub success_kept_at: AtomicI64,
    /// Since when the engine knows where it stands, microseconds; 0 = not yet.
    pub listening_since: AtomicI64,
    /// Records stored.
    pub records: AtomicU64,
    /// Records known before.
    pub duplicates: AtomicU64,
    /// Records refused, ever.
    pub quarantined: AtomicU64,
    /// Records refused because their id was known with other content.
    pub conflicts: AtomicU64,
    /// Records stored that came late.
    pub late: AtomicU64,
    /// Records stored that take the place of others.
    pub replaced: AtomicU64,
    /// Its operator's tokens and numbers; none before they were read.
    pub integrity: Mutex<Option<Arc<SourceIntegrity>>>,
    /// How complete its last full day is, once that was worked out.
    pub last_day: Mutex<Option<DayScore>>,
    /// Refused records that are neither replayed nor dismissed.
    pub open: OpenCounts,
    /// Bytes of the ids of its horizon.
    pub dedupe_bytes: AtomicU64,
    /// Number of the last batch.
    pub source_seq: AtomicI64,
    /// Grows with every change.
    pub version: AtomicU64,
    /// When it fetches, and what came of it; empty where records are pushed.
    pub polling: Polling,
}

/// Sees each record before it is staged. A hook for fault injection by benches; the product has none.
pub type Inspect = Arc<dyn Fn(&Record) + Send + Sync>;

/// What every source shares.
#[derive(Clone)]
pub struct SourceContext {
    /// Into the store.
    pub writer: WriterHandle,
    /// For what was refused before.
    pub store: Store,
    /// Digests identity, seals what is refused.
    pub keys: Keys,
    /// The operator's token keys and country.
    pub directory: Arc<ArcSwap<Directory>>,
    /// Jurisdiction family of the deployment: part of every digest.
    pub family: Arc<str>,
    /// Now.
    pub clock: Arc<dyn Clock>,
    /// Fault injection, if any.
    pub inspect: Option<Inspect>,
    /// Records stored since the start, over all sources.
    pub records: IntCounter,
    /// Records refused since the start, over all sources.
    pub quarantined: IntCounter,
    /// Refused records that were tried again, by outcome.
    pub replays: IntCounterVec,
    /// What sources that fetch may reach.
    pub feeds: FeedsConfig,
    /// What is counted of fetches.
    pub fetches: FetchMetrics,
    /// What is counted of batches that are not whole.
    pub integrity: IntegrityMetrics,
    /// Told of what may change the sums of a day.
    pub touched: Touched,
    /// True once the engine stops: nobody waits for peers any more.
    pub stopping: watch::Receiver<bool>,
}

/// Where a source stood when its actor was made: read from the store.
#[derive(Debug, Clone, Default)]
pub struct SourceHead {
    /// Number of its last batch.
    pub source_seq: i64,
    /// Digest of its last batch.
    pub chain: [u8; 32],
    /// Newest `occurred_at`.
    pub newest: Option<Ts>,
    /// How far it was read, where it fetches.
    pub cursor: Option<Cursor>,
    /// Its operator's tokens and numbers.
    pub integrity: SourceIntegrity,
    /// Digests of what it was refused, where it fetches, oldest first.
    pub refused: Vec<u64>,
}

#[derive(Default)]
struct Staged {
    records: Vec<Record>,
    duplicates: u32,
    conflicts: u32,
    /// Each with what was sent.
    refused: Vec<(Refusal, Sent)>,
    /// Where it is a replay of what was refused before: what settles that.
    replay: Option<replay::Beside>,
    /// Of a fetch that was answered or a push, and nothing of it was refused.
    answered: bool,
}

impl Staged {
    /// Whether its source has delivered: a record that is new or known, or the answer that there is none. What was
    /// refused altogether leaves everybody as blind as silence does.
    fn is_delivery(&self) -> bool {
        !self.records.is_empty() || self.duplicates > 0 || self.answered
    }
}

/// What was sent in the place of a record.
#[derive(Clone, Debug)]
struct Sent {
    bytes: Bytes,
    form: QuarantineForm,
}

impl From<Bytes> for Sent {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, form: QuarantineForm::Record }
    }
}

/// Reads dedupe sets and head back from the store.
pub type Reread = Arc<dyn Fn() -> LocalBoxFuture<'static, Result<(Dedupe, SourceHead), String>>>;

/// The source's actor.
pub struct SourceActor {
    source: Arc<Source>,
    context: SourceContext,
    gauge: Arc<SourceGauge>,
    dedupe: Dedupe,
    head: SourceHead,
    staged: Staged,
    /// Newest record of those that are stored; the head's may be of one that is only staged.
    newest: Option<Ts>,
    reread: Reread,
    /// A commit failed and may yet be there: nothing is known until the store was read again.
    unsure: bool,
    /// A part of a push could not be staged: the push is not to be answered as if it were whole.
    incomplete: bool,
    /// What it fetches with.
    fetching: fetch::Fetching,
    /// When a refusal for its token was stored last: a flood of them is counted, and stored now and then.
    refusal_stored_at: Option<Ts>,
}

impl SourceActor {
    /// Starts where the source stood; `dedupe` holds the records of its horizon.
    pub fn new(
        source: Arc<Source>,
        context: SourceContext,
        gauge: Arc<SourceGauge>,
        (dedupe, mut head): (Dedupe, SourceHead),
        reread: Reread,
    ) -> Self {
        let fetching = fetch::Fetching::knowing(std::mem::take(&mut head.refused));
        gauge.source_seq.store(head.source_seq, Ordering::Relaxed);
        gauge.dedupe_bytes.store(dedupe.bytes() as u64, Ordering::Relaxed);
        *gauge.integrity.lock() = Some(Arc::new(head.integrity.clone()));
        let (newest, staged) = (head.newest, Staged::default());
        Self {
            source,
            context,
            gauge,
            dedupe,
            head,
            staged,
            newest,
            reread,
            unsure: false,
            incomplete: false,
            fetching,
            refusal_stored_at: None,
        }
    }

    /// Makes sure of what is stored, after a commit whose outcome is unknown.
    async fn make_sure(&mut self) -> Result<(), EngineError> {
        if self.unsure {
            let (dedupe, mut head) = (self.reread)().await.map_err(|_| EngineError::Unavailable("the database"))?;
            self.fetching.learn(std::mem::take(&mut head.refused));
            self.newest = head.newest;
            *self.gauge.integrity.lock() = Some(Arc::new(head.integrity.clone()));
            self.gauge.dedupe_bytes.store(dedupe.bytes() as u64, Ordering::Relaxed);
            (self.dedupe, self.head, self.unsure) = (dedupe, head, false);
            self.staged = Staged::default();
        }
        Ok(())
    }

    fn horizon_start(&self, newest: Ts) -> Ts {
        newest.plus(-i64::from(self.source.horizon_days) * DAY)
    }

    /// The clock that judges a record which itself lies at `occurred_at`.
    fn clock_at(&self, now: Ts, occurred_at: Ts) -> Ts {
        match self.source.clock {
            SourceClock::Wall => now,
            SourceClock::Event => self.head.newest.map_or(occurred_at, |newest| newest.max(occurred_at)),
        }
    }

    /// Takes one record in, or says why not. Changes only the staging area and the dedupe sets.
    fn stage(&mut self, resolver: &Resolver<'_>, body: &Bytes, range: Range<usize>, index: u32, now: Ts) {
        let refused = match ingest::record(&body[range.clone()], resolver) {
            Err(refusal) => Refusal { index, ..refusal },
            Ok(record) => {
                if let Some(inspect) = &self.context.inspect {
                    inspect(&record);
                }
                match self.judge(&record, now) {
                    None => {
                        self.staged.records.push(record);
                        return;
                    }
                    Some(Seen::Duplicate) => {
                        self.staged.duplicates += 1;
                        return;
                    }
                    Some(Seen::Conflict) => {
                        self.staged.conflicts += 1;
                        let detail = "record_id: known with other content".to_owned();
                        Refusal { index, code: QuarantineCode::Conflict, detail }
                    }
                    Some(Seen::BehindHorizon) => {
                        let detail =
                            format!("occurred_at: more than {} days behind the clock", self.source.horizon_days);
                        Refusal { index, code: QuarantineCode::BehindHorizon, detail }
                    }
                    Some(Seen::New) => {
                        let detail = "occurred_at: ahead of the clock".to_owned();
                        Refusal { index, code: QuarantineCode::InTheFuture, detail }
                    }
                }
            }
        };
        self.staged.refused.push((refused, body.slice(range).into()));
    }

    /// None: new. `Seen::New` here means: new, but from the future.
    fn judge(&mut self, record: &Record, now: Ts) -> Option<Seen> {
        let clock_at = self.clock_at(now, record.occurred_at);
        // the event clock, too: one date of the next century would put everything after it behind the horizon
        if record.occurred_at > now.plus(FUTURE_MAX) {
            return Some(Seen::New);
        }
        if record.occurred_at < EARLIEST || record.occurred_at < self.horizon_start(clock_at) {
            return Some(Seen::BehindHorizon);
        }
        match self.dedupe.insert(record.id_digest, record.content_digest, record.occurred_at) {
            Seen::New => {
                self.head.newest = Some(self.head.newest.map_or(record.occurred_at, |n| n.max(record.occurred_at)));
                None
            }
            seen => Some(seen),
        }
    }

    fn take_back(&mut self, records: &[Record]) {
        for record in records {
            self.dedupe.remove(record.id_digest, record.occurred_at);
        }
        self.head.newest = self.newest;
    }

    async fn push(&mut self, body: &Bytes, marks: &PushMarks, dry_run: bool) -> Result<PushOutcome, EngineError> {
        let staging = trace::begin("stage");
        self.make_sure().await?;
        let now = self.context.clock.now();
        let accepted = self.admit(body, marks, dry_run, now).await?;
        let parts = ingest::split(body).map_err(|e| EngineError::Invalid { pointer: "", detail: e.to_string() })?;
        let staged = self.stage_all(body, parts.into_iter().enumerate(), now)?;
        staging.done();
        if dry_run {
            self.take_back(&staged.records);
            return Ok(outcome(&staged, None, self.head.source_seq));
        }
        self.commit_push(staged, accepted, now).await
    }

    /// Takes records in that lie somewhere in `body`, each with its position.
    fn stage_all(
        &mut self,
        body: &Bytes,
        parts: impl IntoIterator<Item = (usize, Range<usize>)>,
        now: Ts,
    ) -> Result<Staged, EngineError> {
        let context = self.context.clone();
        let directory = context.directory.load_full();
        let ring = context.keys.hold();
        let resolver = resolver(&context, &ring, &directory, &self.source)?;
        // a message that is tried again finds what the panic left
        let left = std::mem::take(&mut self.staged);
        self.take_back(&left.records);
        for (index, range) in parts {
            self.stage(&resolver, body, range, index as u32, now);
        }
        Ok(std::mem::take(&mut self.staged))
    }

    /// What is left of a message whose bad records were set aside.
    fn left(&mut self) -> Result<Staged, EngineError> {
        let staged = std::mem::take(&mut self.staged);
        if std::mem::take(&mut self.incomplete) || self.unsure {
            self.take_back(&staged.records);
            return Err(EngineError::Unavailable("the database"));
        }
        Ok(staged)
    }

    /// Applies what is left of a push.
    async fn settle_push(&mut self, body: &Bytes, marks: &PushMarks) -> Result<PushOutcome, EngineError> {
        let staged = self.left()?;
        let now = self.context.clock.now();
        match self.admit(body, marks, false, now).await {
            Ok(accepted) => self.commit_push(staged, accepted, now).await,
            Err(error) => {
                self.take_back(&staged.records);
                Err(error)
            }
        }
    }

    /// Stages one record of a push that is tried record by record.
    async fn part(&mut self, body: &Bytes, range: Range<usize>, index: u32) -> Result<(), EngineError> {
        self.make_sure().await?;
        let context = self.context.clone();
        let directory = context.directory.load_full();
        let ring = context.keys.hold();
        let resolver = resolver(&context, &ring, &directory, &self.source)?;
        self.stage(&resolver, body, range, index, context.clock.now());
        Ok(())
    }
}

fn resolver<'a>(
    context: &'a SourceContext,
    ring: &'a KeyRing,
    directory: &'a Directory,
    source: &Source,
) -> Result<Resolver<'a>, EngineError> {
    let operator = directory.operators.get(&source.operator_no).ok_or(EngineError::NotFound("operator"))?;
    let jurisdiction = directory.jurisdiction(operator.jurisdiction).ok_or(EngineError::NotFound("jurisdiction"))?;
    Ok(Resolver {
        digest: &ring.digest,
        token_keys: directory.token_keys(source.operator_no),
        family: &context.family,
        operator_no: source.operator_no,
        class: source.class.data(),
        country: jurisdiction.country,
        currency: source.currency,
    })
}

impl Work for SourceActor {
    type Msg = SourceMsg;

    fn handle<'a>(&'a mut self, msg: Arc<SourceMsg>, progress: &'a Progress) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            match msg.as_ref() {
                SourceMsg::Fetch(under) => self.turn(under, progress).await,
                SourceMsg::Restart { reply } => reply.send(self.restart().await),
                SourceMsg::EndChain { by, reason, next_number, reply } => {
                    reply.send(self.end_chain(*by, *reason, *next_number).await);
                }
                SourceMsg::Push { body, marks, dry_run, reply, trace } => {
                    reply.send(trace::carry(trace.clone(), self.push(body, marks, *dry_run)).await);
                }
                SourceMsg::Part { body, range, index } => {
                    let staged = self.part(body, range.clone(), *index).await;
                    self.incomplete |= staged.is_err();
                }
                SourceMsg::Settle(settling) => self.settle_refused(settling, progress).await,
                SourceMsg::Count => self.count_doubted().await,
            }
        })
    }

    fn split(msg: &SourceMsg) -> Option<Vec<SourceMsg>> {
        let (body, parts) = match msg {
            SourceMsg::Push { body, dry_run: false, .. } => (body.clone(), ingest::split(body).ok()?),
            SourceMsg::Fetch(under) => under.parts()?,
            SourceMsg::Push { .. }
            | SourceMsg::Part { .. }
            | SourceMsg::Restart { .. }
            | SourceMsg::EndChain { .. }
            | SourceMsg::Settle(_)
            | SourceMsg::Count => return None,
        };
        let part =
            |(index, range): (usize, Range<usize>)| SourceMsg::Part { body: body.clone(), range, index: index as u32 };
        Some(parts.into_iter().enumerate().map(part).collect())
    }

    fn dead_letter<'a>(
        &'a mut self,
        record: Arc<SourceMsg>,
        _letter: &'a DeadLetter,
        _progress: &'a Progress,
    ) -> LocalBoxFuture<'a, ()> {
        // staged with the rest of the push: committed with it in `settled`, before the push leaves the queue
        if let SourceMsg::Part { body, range, index } = record.as_ref() {
            let detail = "the record crashed its actor and was set aside".to_owned();
            let refusal = Refusal { index: *index, code: QuarantineCode::DeadLetter, detail };
            if !self.staged.refused.iter().any(|(r, _)| r.index == *index) {
                self.staged.refused.push((refusal, body.slice(range.clone()).into()));
            }
        } else if let SourceMsg::Fetch(_) = record.as_ref() {
            self.crashed();
        } else if let SourceMsg::Push { reply, .. } = record.as_ref() {
            reply.send(Err(EngineError::Unavailable("this push crashes its source")));
        } else if let SourceMsg::EndChain { reply, .. } = record.as_ref() {
            reply.send(Err(EngineError::Unavailable("the source")));
        } else if let SourceMsg::Settle(settling) = record.as_ref() {
            settling.crashed();
        } else if let SourceMsg::Count = record.as_ref() {
            self.gauge.open.give_back();
        }
        Box::pin(std::future::ready(()))
    }

    fn settled<'a>(
        &'a mut self,
        msg: Arc<SourceMsg>,
        _dead: &'a [usize],
        _progress: &'a Progress,
    ) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            match msg.as_ref() {
                SourceMsg::Push { body, marks, reply, dry_run: false, .. } => {
                    reply.send(self.settle_push(body, marks).await);
                }
                SourceMsg::Fetch(under) => self.settle_page(under).await,
                SourceMsg::Push { .. }
                | SourceMsg::Part { .. }
                | SourceMsg::Restart { .. }
                | SourceMsg::EndChain { .. }
                | SourceMsg::Settle(_)
                | SourceMsg::Count => {}
            }
        })
    }

    fn survives_panic() -> bool {
        true
    }
}
