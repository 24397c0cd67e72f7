//! Refused records from outside: read, tried again, left as they are. What is decided here goes through the source's actor.

use super::{Engine, PUSH_MAX};
use crate::api::{EngineError, IdempotencyKey};
use crate::idempotency;
use crate::kernel::SendError;
use crate::register::{commit_error, unavailable};
use crate::source::{Apply, Attempt, Attempted, ReplayRequest, Reply, Settling, SourceMsg, suggest};
use bytes::Bytes;
use engine::repair::Suggestion;
use models::alert_group::Act;
use models::event::Event;
use models::feed::Source;
use models::ids::{KeyId, QuarantineId};
use models::quarantine::{DismissReason, QuarantineRead, QuarantineState, ReplayOutcome};
use models::record::QuarantineCode;
use models::ts::Ts;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use store::{QuarantineItem, SealedItem};
use tokio::sync::oneshot;

/// Refused records that are tried in one commit: pushes of the source go in between.
const REPLAY_AT_ONCE: usize = 20;
/// Bytes of them, sealed, as many as a push may have; one alone may have more.
const REPLAY_BYTES_AT_ONCE: u64 = 8 << 20;

/// A refused record with what was sent.
pub struct Quarantined {
    /// As it stands.
    pub item: QuarantineItem,
    /// As it came.
    pub sent: Vec<u8>,
    /// What it was meant to be, where it is open and that can be computed.
    pub suggestion: Option<Suggestion>,
}

/// Which refused records of a source are to be tried again.
pub struct ReplayMany {
    /// Refused for this reason.
    pub code: QuarantineCode,
    /// As what.
    pub apply: Apply,
    /// Behind this one; from the oldest on where none is named.
    pub after: Option<QuarantineId>,
    /// At most so many.
    pub limit: u32,
    /// With which key.
    pub by: KeyId,
}

/// What came of them.
pub struct ReplayedMany {
    /// Of each, in their order.
    pub attempts: Vec<Attempt>,
    /// Behind which one more are left; none where there are none.
    pub next: Option<QuarantineId>,
}

impl Engine {
    /// A refused record with what was sent, people in the clear: told only once it is journaled who was told.
    pub async fn read_quarantined(
        &self,
        source: &Arc<Source>,
        id: QuarantineId,
        by: KeyId,
    ) -> Result<Quarantined, EngineError> {
        let SealedItem { item, sealed } = self.sealed_item(source, id).await?;
        let ring = self.0.keys.hold();
        let opened = ring.open(&id.0.to_be_bytes(), &sealed);
        let sent = opened.map_err(|_| EngineError::Unavailable("the vault key"))?;
        let read = QuarantineRead { source_no: source.source_no, id, act: Act { by, at: self.now() } };
        let committed = self.0.writer.commit(vec![Event::QuarantineRead(read)], Vec::new()).await;
        committed.map_err(commit_error)?;
        let suggestion = if item.state == QuarantineState::Open {
            let gauges = self.0.views.gauges.read();
            let newest = gauges.get(&source.id).map_or(0, |gauge| gauge.last_event_at.load(Ordering::Relaxed));
            suggest(&self.0.context, &ring, source, (&item, &sent), (newest > 0).then_some(Ts(newest)))?
        } else {
            None
        };
        Ok(Quarantined { item, sent, suggestion })
    }

    /// Tries a refused record again: as somebody corrected it, or as it was sent. Of two at once, one finds it open.
    pub async fn replay(
        &self,
        source: &Arc<Source>,
        id: QuarantineId,
        corrected: Option<Bytes>,
        by: KeyId,
        key: Option<IdempotencyKey>,
    ) -> Result<(Attempted, QuarantineItem), EngineError> {
        let now = self.now();
        if idempotency::earlier(&self.0.store, key.as_ref(), now).await?.is_some() {
            let item = self.sealed_item(source, id).await?.item;
            let outcome = item.outcome.ok_or(EngineError::NotFound("quarantined record"))?;
            return Ok((Attempted::Settled(outcome), item));
        }
        let apply = corrected.map_or(Apply::AsSent, Apply::Corrected);
        let request = ReplayRequest { ids: vec![id], apply, act: Act { by, at: now }, idempotency: key };
        let attempts = self.try_again(source, request).await?;
        match attempts.into_iter().next().map(|one| one.attempted) {
            Some(attempted @ (Attempted::Settled(_) | Attempted::RefusedAgain(..))) => {
                Ok((attempted, self.sealed_item(source, id).await?.item))
            }
            Some(Attempted::NotOpen(state)) => Err(crate::source::not_open(state)),
            Some(Attempted::NotThere) => Err(EngineError::NotFound("quarantined record")),
            Some(Attempted::NoSuggestion) | None => Err(EngineError::Unavailable("the source's actor")),
        }
    }

    /// Tries those that were refused for one reason again, oldest first. Each batch of them is one commit: whatever
    /// interrupts leaves each of them open or settled, and the same call again goes on with those that are open.
    pub async fn replay_many(&self, source: &Arc<Source>, many: ReplayMany) -> Result<ReplayedMany, EngineError> {
        let wanted = many.limit.saturating_add(1);
        let found = self.0.store.quarantine_open(source.source_no, many.code, many.after, wanted).await;
        let mut found = found.map_err(unavailable)?;
        let more = found.len() > many.limit as usize;
        found.truncate(many.limit as usize);
        let mut attempts: Vec<Attempt> = Vec::with_capacity(found.len());
        for ids in batches(&found) {
            let request = ReplayRequest {
                ids,
                apply: many.apply.clone(),
                act: Act { by: many.by, at: self.now() },
                idempotency: None,
            };
            match self.try_again(source, request).await {
                Ok(tried) => attempts.extend(tried),
                Err(error) if attempts.is_empty() => return Err(error),
                // what was done is told, and where to go on
                Err(_) => {
                    let next = attempts.last().map(|last| last.id);
                    return Ok(ReplayedMany { attempts, next });
                }
            }
        }
        let next = attempts.last().filter(|_| more).map(|last| last.id);
        Ok(ReplayedMany { attempts, next })
    }

    /// Leaves a refused record as it is, for a reason.
    pub async fn dismiss(
        &self,
        source: &Arc<Source>,
        id: QuarantineId,
        reason: DismissReason,
        by: KeyId,
        key: Option<IdempotencyKey>,
    ) -> Result<QuarantineItem, EngineError> {
        let act = Act { by, at: self.now() };
        if idempotency::earlier(&self.0.store, key.as_ref(), act.at).await?.is_none() {
            let (reply, done) = Reply::new();
            let settling = Settling::Dismiss { id, reason, act, idempotency: key, reply };
            self.ask_source(source, settling, done).await?;
        }
        Ok(self.sealed_item(source, id).await?.item)
    }

    async fn try_again(&self, source: &Arc<Source>, request: ReplayRequest) -> Result<Vec<Attempt>, EngineError> {
        let (reply, done) = Reply::new();
        self.ask_source(source, Settling::Replay { request, reply }, done).await
    }

    async fn sealed_item(&self, source: &Arc<Source>, id: QuarantineId) -> Result<SealedItem, EngineError> {
        let found = self.0.store.sealed_items(source.source_no, &[id]).await.map_err(unavailable)?;
        found.into_iter().next().ok_or(EngineError::NotFound("quarantined record"))
    }

    /// A caller that hangs up stops nothing: what the actor has begun it ends.
    async fn ask_source<T>(
        &self,
        source: &Arc<Source>,
        settling: Settling,
        done: oneshot::Receiver<Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let handle = self.0.sources.read().get(&source.id).cloned();
        let handle = handle.ok_or(EngineError::Unavailable("the source's actor"))?;
        handle.try_send(SourceMsg::Settle(settling)).map_err(|refused| match refused {
            SendError::Full(_) => EngineError::Overloaded("the source's queue"),
            SendError::Quarantined(_) => EngineError::Unavailable("the source: it is quarantined"),
            SendError::Stopped(_) => EngineError::Unavailable("the source: the engine stops"),
        })?;
        let answered = tokio::time::timeout(PUSH_MAX, done).await;
        answered.map_or(Err(EngineError::Unavailable("the source's actor")), |outcome| {
            outcome.unwrap_or(Err(EngineError::Unavailable("the source's actor")))
        })
    }
}

/// As many at once as may be.
fn batches(found: &[(QuarantineId, u64)]) -> Vec<Vec<QuarantineId>> {
    let mut batches: Vec<Vec<QuarantineId>> = Vec::new();
    let mut bytes = 0;
    for (id, size) in found {
        bytes += size;
        match batches.last_mut() {
            Some(batch) if batch.len() < REPLAY_AT_ONCE && bytes <= REPLAY_BYTES_AT_ONCE => batch.push(*id),
            _ => {
                batches.push(vec![*id]);
                bytes = *size;
            }
        }
    }
    batches
}

impl ReplayedMany {
    /// How many were settled with this outcome.
    pub fn settled(&self, outcome: ReplayOutcome) -> usize {
        self.attempts.iter().filter(|attempt| attempt.attempted == Attempted::Settled(outcome)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_in_number_and_bytes_and_hold_all_in_their_order() {
        let small = REPLAY_BYTES_AT_ONCE / 1_000;
        let table: [(Vec<u64>, Vec<usize>); 4] = [
            (vec![], vec![]),
            (vec![small; 45], vec![20, 20, 5]),
            (vec![REPLAY_BYTES_AT_ONCE / 2; 5], vec![2, 2, 1]),
            (vec![small, 2 * REPLAY_BYTES_AT_ONCE, small, small], vec![1, 1, 2]),
        ];
        for (sizes, wanted) in table {
            let found: Vec<_> = (0..).map(QuarantineId).zip(sizes).collect();
            let made = batches(&found);
            assert_eq!(made.iter().map(Vec::len).collect::<Vec<_>>(), wanted);
            assert!(made.concat().into_iter().eq(found.iter().map(|(id, _)| *id)));
        }
    }
}
