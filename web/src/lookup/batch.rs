//! Batches: ten thousand lookups in one request, which never sit in front of a single one.
//!
//! ```text
//! body ─▶ bounded queue ─▶ a thread of low priority ─ slices of at most 200 µs ─▶ rows ─▶ signature ─▶ answer
//! ```
//! Each row is a lookup with evidence of its own; a row that is wrong has its problem in its place, and the others
//! their answers. Keys of a slice are digested first and their places in the index read ahead together, so that the
//! memory system fetches them side by side.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actors::directory::{Directory, KeyEntry};
use actors::evidence::{EvidenceWorker, FurtherKeys};
use bytes::Bytes;
use models::evidence::{LookupRecord, Route};
use models::ids::{KeyId, LookupBatchId, LookupId};
use models::lookup::Purpose;
use models::operator::Scope;
use models::ts::Ts;
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use store::Background;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::answer::{Times, put_number, sign, write_answer};
use super::lane::no_evidence;
use super::question::{Asker, Question, VALID_MICROS, require_fresh};
use super::wire::WireLookup;
use crate::extractors::caller::still_valid;
use crate::parse::{self, Fields, Text};
use crate::problem::{Code, Problem};
use crate::state::{AppState, uuid_v7};

/// Rows of a batch at most.
pub const ROWS_MAX: usize = 10_000;
/// Longest time without giving others the processor.
const SLICE: Duration = Duration::from_micros(200);
/// Rows that are digested before the first of them is looked up.
const AHEAD: usize = 32;
/// Batches that may wait; further ones are refused.
const WAITING_MAX: usize = 16;
/// Batches are politer than the other threads.
static BACKGROUND: Background = Background::new("batches", 10);
/// Bytes of an answer's row, about.
const ROW_BYTES: usize = 512;
/// Longest `correlation_id`, characters.
const CORRELATION_CHARS_MAX: usize = 64;

/// The body of a batch.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the documented shape; the rows are read one by one")]
pub struct BatchRequest {
    /// Of all rows: `registration`, `login`, `bet`, `deposit`, `withdrawal`, `marketing`, `sweep`.
    purpose: String,
    /// At most 10,000.
    users: Vec<BatchRow>,
}

/// A row: at least one of `phone`, `id_number`, `bst`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the documented shape; the rows are read one by one")]
pub struct BatchRow {
    /// At most 64 characters; comes back with the row.
    correlation_id: Option<String>,
    /// As of a lookup.
    phone: Option<String>,
    /// As of a lookup.
    id_number: Option<String>,
    /// As of a lookup.
    id_type: Option<String>,
    /// As of a lookup.
    id_country: Option<String>,
    /// As of a lookup.
    bst: Option<String>,
    /// As of a lookup.
    client_reference: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireBatch<'a> {
    #[serde(borrow, default)]
    purpose: Option<Text<'a>>,
    #[serde(borrow)]
    users: &'a RawValue,
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One object.
    Json,
    /// One object a line, the last one the signature.
    Lines,
}

/// A batch on its way to the thread.
pub struct Job {
    /// The key.
    pub key: KeyId,
    /// The request.
    pub body: Bytes,
    /// How to answer.
    pub form: Form,
    reply: Reply,
}

type Reply = oneshot::Sender<Result<Answered, Problem>>;

/// A batch, answered.
#[derive(Debug)]
pub struct Answered {
    /// The answer.
    pub body: Vec<u8>,
    /// Over the whole of it.
    pub signature: String,
}

/// Hands batches to their threads; cheap to clone.
#[derive(Clone)]
pub struct Batches(SyncSender<Job>);

impl Batches {
    /// Starts so many threads; they end with the last handle.
    pub(crate) fn start(state: impl Fn() -> Option<AppState> + Clone + Send + 'static, threads: usize) -> Self {
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        for no in 0..threads.max(1) {
            let (waiting, state) = (Arc::clone(&waiting), state.clone());
            let spawned = std::thread::Builder::new().name(format!("batch-{no}")).spawn(move || work(&waiting, &state));
            if let Err(error) = spawned {
                tracing::error!(%error, "a thread for batches cannot be started");
            }
        }
        Self(jobs)
    }

    /// Answers a batch.
    ///
    /// # Errors
    /// The problem of the whole batch.
    pub async fn answer(&self, key: KeyId, body: Bytes, form: Form) -> Result<Answered, Problem> {
        let (reply, answered) = oneshot::channel();
        self.0.try_send(Job { key, body, form, reply }).map_err(|refused| match refused {
            TrySendError::Full(_) => Problem::new(Code::Overloaded, "too many batches wait"),
            TrySendError::Disconnected(_) => Problem::new(Code::Unavailable, "batches are not answered any more"),
        })?;
        answered.await.unwrap_or_else(|_| Err(Problem::new(Code::Internal, "the batch was not answered")))
    }
}

fn work(waiting: &Mutex<Receiver<Job>>, state: &impl Fn() -> Option<AppState>) {
    BACKGROUND.enter();
    let mut evidence: Option<EvidenceWorker> = None;
    loop {
        let job = waiting.lock().recv();
        let Ok(job) = job else { return };
        // whoever hung up while it waited wants no answer, and pays for none
        if job.reply.is_closed() {
            continue;
        }
        let Some(state) = state() else { return };
        let evidence = evidence.get_or_insert_with(|| state.engine.evidence().worker());
        let directory = state.engine.directory();
        let now = state.engine.now();
        // a panic costs this batch and nothing else
        let answered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let asker = Asker { entry: alive(&directory, job.key, now)?, directory: &directory, now };
            asker.require(Scope::LookupBatch)?;
            Batch::read(&asker, &state, &job.body).and_then(|batch| batch.answer(&asker, &state, evidence, &job))
        }));
        let failed = |_| Err(Problem::new(Code::Internal, "the batch failed"));
        let _ = job.reply.send(answered.unwrap_or_else(failed));
    }
}

/// The key was let in before its batch waited for its turn: it may have died meanwhile.
fn alive(directory: &Directory, key: KeyId, now: Ts) -> Result<&Arc<KeyEntry>, Problem> {
    let entry = directory.keys.get(&key).filter(|_| still_valid(directory, key, now));
    entry.ok_or_else(|| Problem::new(Code::Unauthenticated, "the key is not valid"))
}

/// What a row is found by.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, default)]
    correlation_id: Option<Text<'a>>,
}

struct Batch<'a> {
    purpose: Purpose,
    users: &'a RawValue,
}

/// A row between parsing and answering.
struct Row<'a> {
    correlation: Option<Text<'a>>,
    question: Result<Question<'a>, Problem>,
}

impl<'a> Batch<'a> {
    fn read(asker: &Asker<'_>, state: &AppState, body: &'a [u8]) -> Result<Self, Problem> {
        let sent: WireBatch<'a> = parse::json(body)?;
        let mut fields = Fields::default();
        let purpose = fields.known("/purpose", sent.purpose.as_deref(), parse::wire::<Purpose>);
        let purpose = fields.finish(purpose)?;
        asker.may_ask_for(purpose)?;
        require_fresh(state.engine.freshness_at(asker.now), purpose)?;
        let rows = count(sent.users)?;
        let (key, rate) = (asker.entry.key.id, asker.entry.rate_per_second(asker.now));
        state
            .gate
            .pass_rows(key, rate, rows)
            .map_err(|seconds| Problem::rate_limited("the key is over its rate of rows", seconds))?;
        Ok(Self { purpose, users: sent.users })
    }

    fn answer(
        &self,
        asker: &Asker<'_>,
        state: &AppState,
        evidence: &EvidenceWorker,
        job: &Job,
    ) -> Result<Answered, Problem> {
        let id = LookupBatchId(uuid_v7(asker.now)).to_text();
        let fresh = state.engine.freshness_at(asker.now);
        let mut out = Out { bytes: Vec::with_capacity(job.body.len() * 3), form: job.form, times: Times::default() };
        out.begin();
        let mut run = Run {
            asker,
            state,
            evidence,
            purpose: self.purpose,
            country: asker.country()?,
            out: &mut out,
            ahead: Vec::with_capacity(AHEAD),
            records: Vec::with_capacity(AHEAD),
            ids: Vec::with_capacity(AHEAD),
            slice: Instant::now(),
            reply: &job.reply,
            failed: None,
        };
        let mut users = serde_json::Deserializer::from_str(self.users.get());
        let read = serde::Deserializer::deserialize_seq(&mut users, Rows(&mut run));
        if let Some(problem) = run.failed.take() {
            return Err(problem);
        }
        read.map_err(|_| Problem::field("/users", "an array of objects is needed"))?;
        out.end(fresh.as_of, fresh.register_version, id.as_str());
        let signature = sign(&asker.entry.signing, id.as_str(), fresh.as_of, &mut out.times, &job.body, &out.bytes);
        if job.form == Form::Lines {
            out.bytes.extend_from_slice(b"{\"signature\":\"");
            out.bytes.extend_from_slice(signature.as_bytes());
            out.bytes.extend_from_slice(b"\"}\n");
        }
        Ok(Answered { body: out.bytes, signature })
    }
}

/// How many rows there are; what is in them is looked at later.
fn count(users: &RawValue) -> Result<NonZeroU32, Problem> {
    struct Count;
    impl<'a> Visitor<'a> for Count {
        type Value = usize;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<S: SeqAccess<'a>>(self, mut rows: S) -> Result<usize, S::Error> {
            let mut count = 0;
            while rows.next_element::<serde::de::IgnoredAny>()?.is_some() {
                count += 1;
            }
            Ok(count)
        }
    }
    let mut users = serde_json::Deserializer::from_str(users.get());
    let rows = serde::Deserializer::deserialize_seq(&mut users, Count);
    match rows {
        Err(_) => Err(Problem::field("/users", "an array of objects is needed")),
        Ok(rows) if rows > ROWS_MAX => Err(Problem::field("/users", "more than 10000 rows")),
        Ok(rows) => NonZeroU32::new(rows as u32).ok_or_else(|| Problem::field("/users", "at least one row is needed")),
    }
}

/// A batch under way.
struct Run<'a, 'r> {
    asker: &'r Asker<'r>,
    state: &'r AppState,
    evidence: &'r EvidenceWorker,
    purpose: Purpose,
    country: models::phone::Country,
    out: &'r mut Out,
    ahead: Vec<Row<'a>>,
    records: Vec<(LookupRecord, FurtherKeys)>,
    ids: Vec<LookupId>,
    slice: Instant,
    reply: &'r Reply,
    failed: Option<Problem>,
}

impl<'a> Run<'a, '_> {
    fn take(&mut self, raw: &'a RawValue) -> Result<(), Problem> {
        let row = match parse::json::<WireLookup<'a>>(raw.get().as_bytes()) {
            Err(problem) => {
                // its owner finds it by its name also where the rest cannot be read
                let named = serde_json::from_str::<Named<'a>>(raw.get()).ok().and_then(|named| named.correlation_id);
                Row {
                    correlation: named.filter(|t| t.chars().count() <= CORRELATION_CHARS_MAX),
                    question: Err(problem),
                }
            }
            Ok(mut sent) => {
                let correlation = sent.correlation_id.take();
                let long = correlation.as_ref().is_some_and(|t| t.chars().count() > CORRELATION_CHARS_MAX);
                let question = if long {
                    Err(Problem::field("/correlation_id", "longer than 64 characters"))
                } else {
                    Question::row(self.asker, self.state, self.country, self.purpose, sent)
                };
                Row { correlation: correlation.filter(|_| !long), question }
            }
        };
        self.ahead.push(row);
        if self.ahead.len() == AHEAD { self.flush() } else { Ok(()) }
    }

    /// Answers the rows that were read ahead.
    fn flush(&mut self) -> Result<(), Problem> {
        if self.reply.is_closed() {
            return Err(Problem::new(Code::Internal, "nobody waits for the batch any more"));
        }
        let index = self.state.engine.index();
        index.prefetch_people(
            self.ahead.iter().filter_map(|row| row.question.as_ref().ok()).flat_map(Question::keys).map(|k| k.key),
        );
        let fresh = require_fresh(self.state.engine.freshness_at(self.asker.now), self.purpose)?;
        let mut concluded = Vec::with_capacity(self.ahead.len());
        for row in &self.ahead {
            let Ok(question) = &row.question else { continue };
            let named = question.name(self.asker)?;
            let verdict = question.ask(self.asker, self.state)?;
            let conclusion = question.conclude(self.asker, named, &verdict, &fresh, Route::Batch);
            self.records.push((conclusion.record, conclusion.further));
            self.state.metrics.answered(self.purpose, conclusion.decision);
            concluded.push((verdict, conclusion));
        }
        self.ids.clear();
        self.evidence.record_all(self.records.drain(..), &mut self.ids).map_err(no_evidence)?;
        let mut answers = concluded.iter().zip(&self.ids);
        for row in self.ahead.drain(..) {
            let Row { correlation, question } = row;
            match question {
                Ok(question) => {
                    let Some(((verdict, conclusion), id)) = answers.next() else { continue };
                    let id = id.to_text();
                    let answer = question.view(self.asker, verdict, conclusion, id.as_str());
                    self.out.row(correlation.as_deref(), |out, times| write_answer(out, &answer, times));
                }
                Err(problem) => self.out.row(correlation.as_deref(), |out, _| {
                    out.extend_from_slice(b"{\"problem\":");
                    out.extend_from_slice(&problem.body(None, None));
                    out.push(b'}');
                }),
            }
        }
        if self.slice.elapsed() >= SLICE {
            std::thread::yield_now();
            self.slice = Instant::now();
        }
        Ok(())
    }
}

/// Takes the rows out of their array, one by one.
struct Rows<'r, 'a, 'b>(&'r mut Run<'a, 'b>);

impl<'a> Visitor<'a> for Rows<'_, 'a, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut rows: S) -> Result<(), S::Error> {
        let run = self.0;
        let mut done = Ok(());
        while let Some(raw) = rows.next_element_seed(Raw)? {
            done = done.and_then(|()| run.take(raw));
            if done.is_err() {
                break;
            }
        }
        run.failed = done.and_then(|()| run.flush()).err();
        match run.failed {
            None => Ok(()),
            Some(_) => Err(serde::de::Error::custom("the batch failed")),
        }
    }
}

struct Raw;

impl<'a> DeserializeSeed<'a> for Raw {
    type Value = &'a RawValue;

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<&'a RawValue, D::Error> {
        <&RawValue>::deserialize(deserializer)
    }
}

/// The answer as it grows.
struct Out {
    bytes: Vec<u8>,
    form: Form,
    times: Times,
}

impl Out {
    fn begin(&mut self) {
        if self.form == Form::Json {
            self.bytes.extend_from_slice(b"{\"results\":[");
        }
    }

    /// A row: an object, into which its correlation id goes first.
    fn row(&mut self, correlation: Option<&str>, write: impl FnOnce(&mut Vec<u8>, &mut Times)) {
        self.bytes.reserve(ROW_BYTES);
        if self.form == Form::Json && self.bytes.last() != Some(&b'[') {
            self.bytes.push(b',');
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(b"{\"correlation_id\":");
        match correlation {
            None => self.bytes.extend_from_slice(b"null"),
            // a Vec does not fail
            Some(text) => serde_json::to_writer(&mut self.bytes, text).unwrap_or_default(),
        }
        let brace = self.bytes.len();
        write(&mut self.bytes, &mut self.times);
        // the object's own brace becomes the comma behind the id
        if let Some(byte) = self.bytes.get_mut(brace) {
            *byte = b',';
        }
        debug_assert!(self.bytes[start] == b'{' && self.bytes.last() == Some(&b'}'));
        if self.form == Form::Lines {
            self.bytes.push(b'\n');
        }
    }

    fn end(&mut self, as_of: Ts, register_version: i64, id: &str) {
        let bytes = &mut self.bytes;
        match self.form {
            Form::Json => bytes.extend_from_slice(b"],\"as_of\":\""),
            Form::Lines => bytes.extend_from_slice(b"{\"as_of\":\""),
        }
        bytes.extend_from_slice(&as_of.format_millis());
        bytes.extend_from_slice(b"\",\"valid_until\":\"");
        bytes.extend_from_slice(&as_of.plus(VALID_MICROS).format_millis());
        bytes.extend_from_slice(b"\",\"register_version\":");
        put_number(bytes, register_version);
        bytes.extend_from_slice(b",\"batch_id\":\"");
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend_from_slice(b"\"}");
        if self.form == Form::Lines {
            bytes.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests;
