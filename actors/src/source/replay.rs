//! What was refused before is tried again, or left as it is: by the source's own actor, so that a replayed record is judged,
//! deduplicated, chained and stored like one that is pushed, and in the same commit settles what lay in quarantine.
//!
//! ```text
//! Settle ─▶ open the seals ─▶ as sent │ as corrected │ as suggested ─▶ stage ─▶ commit(records, QuarantineReplayed) ─▶ answer
//!                                                                          └ refused again: stays open, with the attempt
//! ```

use super::{FUTURE_MAX, Reply, SourceActor, SourceContext, Staged, resolver};
use crate::api::{EngineError, IdempotencyKey};
use crate::idempotency;
use crate::kernel::{Progress, guard};
use crate::register::{commit_error, unavailable};
use crate::secrets::KeyRing;
use bytes::Bytes;
use engine::ingest::Resolver;
use engine::integrity::Accepted;
use engine::mapping::Mapping;
use engine::repair::{self, Bench, Suggestion};
use jiff::tz::TimeZone;
use models::alert_group::Act;
use models::event::Event;
use models::feed::{Source, SourceClock};
use models::ids::QuarantineId;
use models::quarantine::{
    DismissReason, QuarantineDismissed, QuarantineForm, QuarantineReplayed, QuarantineState, ReplayAttempt,
    ReplayOutcome,
};
use models::record::{QuarantineCode, Refusal};
use models::ts::{DAY, Ts};
use std::sync::atomic::Ordering;
use store::{Attachment, QuarantineItem, SealedItem};

/// What refused records are replayed as.
#[derive(Clone, Debug)]
pub enum Apply {
    /// As they were sent: what judges them has changed.
    AsSent,
    /// As this one says.
    Corrected(Bytes),
    /// As is suggested; those without a suggestion are left.
    Suggestion,
}

/// Refused records that are to be tried again, in one commit.
#[derive(Debug)]
pub struct ReplayRequest {
    /// Which, in this order.
    pub ids: Vec<QuarantineId>,
    /// As what.
    pub apply: Apply,
    /// Who, when.
    pub act: Act,
    /// Stored with what comes of it, where something is settled.
    pub idempotency: Option<IdempotencyKey>,
}

/// What came of one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempted {
    /// It is settled: stored, or known with the same content.
    Settled(ReplayOutcome),
    /// It stays open.
    RefusedAgain(QuarantineCode, String),
    /// There is no suggestion, so it was not tried.
    NoSuggestion,
    /// Somebody else was faster.
    NotOpen(QuarantineState),
    /// The source has no such record.
    NotThere,
}

/// One of them, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Attempt {
    pub id: QuarantineId,
    pub attempted: Attempted,
}

/// What is to be done with what was refused before.
pub enum Settling {
    /// Trying again.
    Replay {
        /// Which, and as what.
        request: ReplayRequest,
        /// Where the answer goes.
        reply: Reply<Result<Vec<Attempt>, EngineError>>,
    },
    /// Leaving one as it is.
    Dismiss {
        /// Which.
        id: QuarantineId,
        /// Why.
        reason: DismissReason,
        /// Who, when.
        act: Act,
        /// Stored with it.
        idempotency: Option<IdempotencyKey>,
        /// Where the answer goes.
        reply: Reply<Result<(), EngineError>>,
    },
}

impl Settling {
    /// It crashes the actor, whatever record it is about.
    pub(super) fn crashed(&self) {
        const ERROR: EngineError = EngineError::Unavailable("the source's actor");
        match self {
            Self::Replay { reply, .. } => reply.send(Err(ERROR)),
            Self::Dismiss { reply, .. } => reply.send(Err(ERROR)),
        }
    }
}

/// What goes with the commit of a replay.
pub(super) struct Beside {
    pub events: Vec<Event>,
    pub attachments: Vec<Attachment>,
}

/// What a row is replayed as.
enum Content {
    Records(Vec<Bytes>),
    Refused(Refusal),
    NoSuggestion,
}

/// What a refused record was meant to be, judged as its source would judge it now; `newest` is the newest record of a source
/// that is judged by its own clock.
pub(crate) fn suggest(
    context: &SourceContext,
    ring: &KeyRing,
    source: &Source,
    (item, sent): (&QuarantineItem, &[u8]),
    newest: Option<Ts>,
) -> Result<Option<Suggestion>, EngineError> {
    if item.form != QuarantineForm::Record {
        // what a row was meant to be says its mapping
        return Ok(None);
    }
    let directory = context.directory.load();
    let resolver = resolver(context, ring, &directory, source)?;
    let jurisdiction = directory.operators.get(&source.operator_no).map(|operator| operator.jurisdiction);
    let jurisdiction = jurisdiction.and_then(|no| directory.jurisdiction(no));
    let zone = jurisdiction.and_then(|j| TimeZone::get(&j.time_zone).ok()).unwrap_or(TimeZone::UTC);
    let clock_at = match source.clock {
        SourceClock::Wall => context.clock.now(),
        SourceClock::Event => newest.unwrap_or_default(),
    };
    let bench = Bench {
        resolver: &resolver,
        zone: &zone,
        received_at: item.at,
        earliest: clock_at.plus(-i64::from(source.horizon_days) * DAY).max(super::EARLIEST),
        latest: item.at.plus(FUTURE_MAX),
    };
    Ok(repair::suggest(sent, &bench))
}

fn refusal(code: QuarantineCode, detail: impl Into<String>) -> Refusal {
    Refusal { index: 0, code, detail: detail.into() }
}

impl SourceActor {
    pub(super) async fn settle_refused(&mut self, settling: &Settling, progress: &Progress) {
        match settling {
            Settling::Replay { request, reply } => reply.send(self.replay(request, progress).await),
            Settling::Dismiss { id, reason, act, idempotency, reply } => {
                reply.send(self.dismiss(*id, *reason, *act, idempotency.as_ref()).await);
            }
        }
    }

    fn replayed(&self, act: Act, attempts: Vec<ReplayAttempt>) -> Event {
        Event::QuarantineReplayed(QuarantineReplayed { source_no: self.source.source_no, act, attempts })
    }

    fn tried(&self, outcome: ReplayOutcome) {
        self.context.replays.with_label_values(&[outcome.as_str()]).inc();
    }

    async fn dismiss(
        &mut self,
        id: QuarantineId,
        reason: DismissReason,
        act: Act,
        key: Option<&IdempotencyKey>,
    ) -> Result<(), EngineError> {
        let source_no = self.source.source_no;
        let rows = self.context.store.sealed_items(source_no, &[id]).await.map_err(unavailable)?;
        let item = &rows.first().ok_or(EngineError::NotFound("quarantined record"))?.item;
        if item.state != QuarantineState::Open {
            self.count_anew().await?;
            let by_the_same = item.settled.is_some_and(|settled| settled.by == act.by) && item.reason == Some(reason);
            return if by_the_same { Ok(()) } else { Err(not_open(item.state)) };
        }
        let event = Event::QuarantineDismissed(QuarantineDismissed { source_no, id, act, reason });
        let attachments = idempotency::attachment(key, 200, id, act.at).into_iter().collect();
        let committed = self.context.writer.commit(vec![event], attachments).await;
        committed.inspect_err(|error| self.gauge.open.doubt(error, act.at)).map_err(commit_error)?;
        self.gauge.open.take(item.code);
        self.gauge.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    async fn replay(&mut self, request: &ReplayRequest, progress: &Progress) -> Result<Vec<Attempt>, EngineError> {
        self.make_sure().await?;
        let rows = self.context.store.sealed_items(self.source.source_no, &request.ids).await.map_err(unavailable)?;
        if rows.iter().any(|row| row.item.state != QuarantineState::Open) {
            self.count_anew().await?;
        }
        progress.beat();
        let now = self.context.clock.now();
        let mut journaled = Vec::new();
        let attempts = self.stage_replays(request, &rows, &mut journaled, now);
        let mut staged = std::mem::take(&mut self.staged);
        let attempts = match attempts {
            Ok(attempts) => attempts,
            Err(error) => {
                self.take_back(&staged.records);
                return Err(error);
            }
        };
        if journaled.is_empty() {
            return Ok(attempts);
        }
        let is_settled = |attempt: &&ReplayAttempt| attempt.outcome != ReplayOutcome::Refused;
        let settled: Vec<(QuarantineId, ReplayOutcome)> =
            journaled.iter().filter(is_settled).map(|attempt| (attempt.id, attempt.outcome)).collect();
        let refused = journaled.len() - settled.len();
        // what was refused again may be tried again under the same key
        let result = settled.first().map(|(id, _)| id);
        let attachment = result.and_then(|id| idempotency::attachment(request.idempotency.as_ref(), 200, id, now));
        let events = vec![self.replayed(request.act, journaled)];
        staged.replay = Some(Beside { events, attachments: attachment.into_iter().collect() });
        self.commit(staged, None, &Accepted::default(), now).await?;
        for (id, outcome) in &settled {
            self.tried(*outcome);
            if let Some(row) = rows.iter().find(|row| row.item.id == *id) {
                self.gauge.open.take(row.item.code);
            }
        }
        (0..refused).for_each(|_| self.tried(ReplayOutcome::Refused));
        Ok(attempts)
    }

    /// What is settled already may be so by a commit of ours whose outcome nobody heard.
    async fn count_anew(&self) -> Result<(), EngineError> {
        self.gauge.open.read(&self.context.store, self.source.source_no).await.map_err(unavailable)
    }

    /// Counts what a commit of unknown outcome may have changed, again and again while it may still come to be stored.
    pub(super) async fn count_doubted(&self) {
        let now = self.context.clock.now();
        if self.count_anew().await.is_ok() {
            self.gauge.open.counted(now);
            self.gauge.version.fetch_add(1, Ordering::Release);
        }
        self.gauge.open.give_back();
    }

    /// Stages what the rows are replayed as; says of each what comes of it once that is committed, and what is to be journaled.
    fn stage_replays(
        &mut self,
        request: &ReplayRequest,
        rows: &[SealedItem],
        journaled: &mut Vec<ReplayAttempt>,
        now: Ts,
    ) -> Result<Vec<Attempt>, EngineError> {
        let context = self.context.clone();
        let directory = context.directory.load_full();
        let ring = context.keys.hold();
        let resolver = resolver(&context, &ring, &directory, &self.source)?;
        let operator = directory.operators.get(&self.source.operator_no).map_or("", |operator| operator.code.as_str());
        let settings = self.settings();
        let mapping = settings.mapping.as_deref().map(Mapping::from_toml);
        // a message that is tried again finds what the panic left
        let left = std::mem::take(&mut self.staged);
        self.take_back(&left.records);
        let mut attempts = Vec::with_capacity(request.ids.len());
        for id in &request.ids {
            let attempted = match rows.iter().find(|row| row.item.id == *id) {
                None => Attempted::NotThere,
                // the actor died behind its own commit
                Some(SealedItem { item, .. }) if item.settled == Some(request.act) => {
                    Attempted::Settled(item.outcome.unwrap_or(ReplayOutcome::Stored))
                }
                Some(SealedItem { item, .. }) if item.state != QuarantineState::Open => Attempted::NotOpen(item.state),
                Some(row) => {
                    let opened = ring.open(&id.0.to_be_bytes(), &row.sealed);
                    let sent: Bytes = opened.map_err(|_| EngineError::Unavailable("the vault key"))?.into();
                    let (mark, before) = (self.mark(), journaled.len());
                    let tried = guard(|| -> Result<Attempted, EngineError> {
                        let content = match &request.apply {
                            Apply::Corrected(record) => Content::Records(vec![record.clone()]),
                            Apply::AsSent => as_sent(row.item.form, &sent, mapping.as_ref(), operator),
                            Apply::Suggestion => {
                                let newest = self.head.newest;
                                match suggest(&context, &ring, &self.source, (&row.item, &sent), newest)? {
                                    Some(suggestion) => Content::Records(vec![suggestion.record.to_string().into()]),
                                    None => Content::NoSuggestion,
                                }
                            }
                        };
                        Ok(self.stage_one(&resolver, row, &sent, content, journaled, now))
                    });
                    // a record that broke the program once may do so again: it stays where it is, and the others go on
                    tried.unwrap_or_else(|panic| {
                        tracing::warn!(source = %self.source.id, %panic, "a refused record crashes its source again");
                        self.undo(&mark);
                        journaled.truncate(before);
                        let refused = refusal(QuarantineCode::DeadLetter, "the record crashes its actor");
                        Ok(self.stage_one(&resolver, row, &sent, Content::Refused(refused), journaled, now))
                    })?
                }
            };
            attempts.push(Attempt { id: *id, attempted });
        }
        Ok(attempts)
    }

    fn stage_one(
        &mut self,
        resolver: &Resolver<'_>,
        row: &SealedItem,
        sent: &[u8],
        content: Content,
        journaled: &mut Vec<ReplayAttempt>,
        now: Ts,
    ) -> Attempted {
        let (id, mut changed) = (row.item.id, Vec::new());
        let staged = match content {
            Content::NoSuggestion => return Attempted::NoSuggestion,
            Content::Refused(refusal) => Err(refusal),
            Content::Records(records) => {
                if let ([record], QuarantineForm::Record) = (&records[..], row.item.form)
                    && record != sent
                {
                    changed = repair::pointers(sent, record);
                }
                self.stage_whole(resolver, &records, now)
            }
        };
        let (outcome, code, detail) = match &staged {
            Ok(outcome) => (*outcome, None, String::new()),
            Err(refusal) => (ReplayOutcome::Refused, Some(refusal.code), refusal.detail.clone()),
        };
        journaled.push(ReplayAttempt { id, outcome, code, detail, changed });
        match staged {
            Ok(outcome) => Attempted::Settled(outcome),
            Err(refusal) => Attempted::RefusedAgain(refusal.code, refusal.detail),
        }
    }

    /// Stages every record that a row stands for, or none of them.
    fn stage_whole(&mut self, resolver: &Resolver<'_>, records: &[Bytes], now: Ts) -> Result<ReplayOutcome, Refusal> {
        let mark = self.mark();
        for record in records {
            self.stage(resolver, record, 0..record.len(), 0, now);
            if let Some((refusal, _)) = self.staged.refused.pop() {
                self.undo(&mark);
                return Err(refusal);
            }
        }
        let is_new = self.staged.records.len() > mark.records;
        Ok(if is_new { ReplayOutcome::Stored } else { ReplayOutcome::Duplicate })
    }

    fn mark(&self) -> Mark {
        let Staged { records, duplicates, conflicts, .. } = &self.staged;
        Mark { records: records.len(), duplicates: *duplicates, conflicts: *conflicts, newest: self.head.newest }
    }

    /// Takes back what was staged since.
    fn undo(&mut self, mark: &Mark) {
        for record in self.staged.records.drain(mark.records..) {
            self.dedupe.remove(record.id_digest, record.occurred_at);
        }
        self.staged.refused.clear();
        (self.staged.duplicates, self.staged.conflicts) = (mark.duplicates, mark.conflicts);
        self.head.newest = mark.newest;
    }
}

/// How far the staging had come.
struct Mark {
    records: usize,
    duplicates: u32,
    conflicts: u32,
    newest: Option<Ts>,
}

/// What somebody hears who comes too late.
pub(crate) fn not_open(state: QuarantineState) -> EngineError {
    EngineError::Conflict(format!("the quarantined record is {} already", state.as_str()))
}

/// What was sent, mapped as rows are now.
fn as_sent(
    form: QuarantineForm,
    sent: &Bytes,
    mapping: Option<&Result<Mapping, engine::mapping::MappingError>>,
    operator: &str,
) -> Content {
    let unmapped = |detail: String| Content::Refused(refusal(QuarantineCode::Unreadable, detail));
    let mapped = match (form, mapping) {
        (QuarantineForm::Record, _) | (QuarantineForm::Json, None) => return Content::Records(vec![sent.clone()]),
        (QuarantineForm::Csv, None) => return unmapped("rows need a mapping".to_owned()),
        (_, Some(Err(error))) => return unmapped(format!("mapping: {error}")),
        (QuarantineForm::Json, Some(Ok(mapping))) => mapping.read_json(sent, std::iter::once(0..sent.len())),
        (QuarantineForm::Csv, Some(Ok(mapping))) => match mapping.read(sent) {
            Ok(mapped) => mapped,
            Err(error) => return unmapped(error.to_string()),
        },
    };
    if let Some(refused) = mapped.refusals.into_iter().next() {
        return Content::Refused(Refusal { index: 0, ..refused });
    }
    let own = mapped.records.into_iter().filter(|record| *record.operator == *operator);
    let records: Vec<Bytes> = own.map(|record| record.json.into()).collect();
    if records.is_empty() {
        let detail = "the mapping makes no record of it for this operator";
        return Content::Refused(refusal(QuarantineCode::InvalidField, detail));
    }
    Content::Records(records)
}
