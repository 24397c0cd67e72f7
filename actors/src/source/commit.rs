//! What a source took in becomes a stored batch: one commit of its records, its refusals and how far it was read.

use super::whole::Sign;
use super::{Sent, SourceActor, Staged, fetch};
use crate::api::{EngineError, PushOutcome};
use crate::feeds::Cursor;
use crate::register::{commit_error, new_id};
use crate::secrets::{self, KeyRing};
use engine::ingest;
use engine::integrity::Accepted;
use models::event::Event;
use models::feed::{DataClass, FeedBatchStored};
use models::ids::{BatchId, QuarantineId};
use models::record::{QuarantineCode, Record, Refusal};
use models::ts::Ts;
use ring::digest;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use store::{Attachment, CommitError, QuarantineRow};

/// What a commit says of whether its source speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// Nothing that counts.
    Not,
    /// It speaks, and nothing that was stored says so.
    Now,
    /// It speaks, and what was stored says when.
    Kept,
}

impl SourceActor {
    /// Stores what was taken in, and with it how far the source was read.
    pub(super) async fn commit(
        &mut self,
        mut staged: Staged,
        cursor: Option<&Cursor>,
        accepted: &Accepted,
        now: Ts,
    ) -> Result<PushOutcome, EngineError> {
        let delivered = staged.is_delivery();
        let mut attachments = Vec::new();
        let ring = self.context.keys.hold();
        if !staged.refused.is_empty() {
            let row = |(refusal, sent): &(Refusal, Sent)| self.quarantine_row(&ring, refusal, sent, now);
            let rows = staged.refused.iter().map(row);
            match rows.collect::<Result<_, _>>() {
                Ok(rows) => attachments.push(Attachment::Quarantine(rows)),
                Err(error) => {
                    self.take_back(&staged.records);
                    return Err(error);
                }
            }
        }
        let sealed_in = (!attachments.is_empty()).then_some(ring.epoch);
        let dead = staged.refused.iter().filter(|(refusal, _)| refusal.code == QuarantineCode::DeadLetter);
        // where nobody knows what became of it, its part in quarantine is counted again
        let touches_quarantine = sealed_in.is_some() || staged.replay.is_some();
        let source_no = self.source.source_no;
        let mut events: Vec<Event> =
            dead.map(|(refusal, _)| Event::RecordDeadLettered { source_no, index: refusal.index }).collect();
        events.extend(accepted.state.clone().map(|state| Event::SourceIntegritySet { source_no, state }));
        if let Some(replay) = &mut staged.replay {
            events.append(&mut replay.events);
            attachments.append(&mut replay.attachments);
        }
        if !staged.records.is_empty() {
            let records: Arc<[Record]> = std::mem::take(&mut staged.records).into();
            let chain = chain_digest(&self.head.chain, &records);
            let batch = FeedBatchStored {
                cursor: cursor.map(|Cursor(text)| text.clone()),
                tamper_token: accepted.token.clone(),
                batch_number: accepted.number,
                without_token: accepted.without_token,
                replayed: staged.replay.is_some(),
                ..self.batch(&records, &staged, &chain, now)
            };
            let batch_id = Some(batch.id);
            events.push(Event::FeedBatchStored(batch));
            attachments.push(Attachment::FeedRecords(Arc::clone(&records)));
            let class = self.source.class.data();
            if class != DataClass::GamingTransactions {
                attachments.push(Attachment::FeedClass(class));
            }
            staged.records = Vec::new();
            let committed = self.context.writer.commit_in(sealed_in, events, attachments).await;
            if let Err(error) = committed {
                if touches_quarantine {
                    self.gauge.open.doubt(&error, now);
                }
                self.take_back(&records);
                // a position that is taken is one of ours whose outcome nobody knew, and so is a state that was overtaken
                let is_taken = matches!(error, CommitError::Conflict { .. } | CommitError::Rejected { .. });
                // refused for sure is not stored for sure: what else may be there is asked of the store
                self.unsure = is_taken || error == CommitError::Unavailable;
                return Err(if is_taken { EngineError::Unavailable("the source") } else { commit_error(error) });
            }
            self.stored(&records, chain, now);
            self.moved(cursor);
            self.whole(accepted);
            self.count(&staged, if delivered { Heard::Kept } else { Heard::Not }, now);
            let mut outcome = outcome(&staged, batch_id, self.head.source_seq);
            outcome.accepted = records.len() as u32;
            return Ok(outcome);
        }
        if let Some(Cursor(cursor)) = cursor {
            events.push(Event::SourceAdvanced { source_no, cursor: cursor.clone(), delivered });
        }
        if !attachments.is_empty() || !events.is_empty() {
            let committed = self.context.writer.commit_in(sealed_in, events, attachments).await;
            // where it stands may be known to the store alone
            self.unsure |= (cursor.is_some() || accepted.state.is_some() || sealed_in.is_some()) && committed.is_err();
            if let Err(error) = committed {
                if touches_quarantine {
                    self.gauge.open.doubt(&error, now);
                }
                return Err(commit_error(error));
            }
        }
        self.moved(cursor);
        self.whole(accepted);
        let heard = match (delivered, cursor) {
            (false, _) => Heard::Not,
            (true, Some(_)) => Heard::Kept,
            (true, None) => Heard::Now,
        };
        self.count(&staged, heard, now);
        Ok(outcome(&staged, None, self.head.source_seq))
    }

    fn batch(&self, records: &[Record], staged: &Staged, chain: &[u8; 32], now: Ts) -> FeedBatchStored {
        let times = records.iter().map(|r| r.occurred_at);
        let last_at = times.clone().max().unwrap_or(now);
        FeedBatchStored {
            id: BatchId(new_id()),
            batch_no: 0,
            source_no: self.source.source_no,
            source_seq: self.head.source_seq + 1,
            operator_no: self.source.operator_no,
            operator_seq: 0,
            records: records.len() as u32,
            duplicates: staged.duplicates,
            quarantined: staged.refused.len() as u32,
            first_at: times.min().unwrap_or(now),
            last_at,
            clock_at: self.clock_at(now, last_at),
            chain: secrets::hex(chain),
            cursor: None,
            late: records.iter().filter(|record| self.is_late(record, now)).count() as u32,
            replaced: records.iter().filter(|record| record.replaces.is_some()).count() as u32,
            tamper_token: None,
            batch_number: None,
            without_token: false,
            replayed: false,
            records_sha256: Some(secrets::hex(&ingest::records_digest(records))),
        }
    }

    fn stored(&mut self, records: &[Record], chain: [u8; 32], now: Ts) {
        self.head.source_seq += 1;
        self.head.chain = chain;
        self.newest = self.head.newest;
        let clock_at = self.clock_at(now, self.head.newest.unwrap_or(now));
        self.dedupe.forget_before(self.horizon_start(clock_at));
        self.gauge.dedupe_bytes.store(self.dedupe.bytes() as u64, Ordering::Relaxed);
        self.count_stored(records, now);
        self.gauge.records.fetch_add(records.len() as u64, Ordering::Relaxed);
        self.context.records.inc_by(records.len() as u64);
        self.gauge.source_seq.store(self.head.source_seq, Ordering::Relaxed);
        self.gauge.last_event_at.store(self.head.newest.map_or(0, |n| n.0), Ordering::Relaxed);
    }

    fn moved(&mut self, cursor: Option<&Cursor>) {
        if let Some(cursor) = cursor {
            self.gauge.polling.moved(&cursor.0);
            self.head.cursor = Some(cursor.clone());
        }
    }

    /// Counts what came of a commit.
    fn count(&self, staged: &Staged, heard: Heard, now: Ts) {
        self.gauge.duplicates.fetch_add(u64::from(staged.duplicates), Ordering::Relaxed);
        self.gauge.quarantined.fetch_add(staged.refused.len() as u64, Ordering::Relaxed);
        let conflicts = staged.refused.iter().filter(|(refusal, _)| refusal.code == QuarantineCode::Conflict).count();
        self.gauge.conflicts.fetch_add(conflicts as u64, Ordering::Relaxed);
        self.context.integrity.count(Sign::Conflict, conflicts as u64);
        self.context.quarantined.inc_by(staged.refused.len() as u64);
        staged.refused.iter().for_each(|(refusal, _)| self.gauge.open.add(refusal.code, 1));
        // what somebody takes in that was refused before is nothing that the source delivers
        if heard != Heard::Not && staged.replay.is_none() {
            self.gauge.last_success_at.store(now.0, Ordering::Relaxed);
            if heard == Heard::Kept {
                self.gauge.success_kept_at.store(now.0, Ordering::Relaxed);
            }
        }
        self.gauge.version.fetch_add(1, Ordering::Release);
    }

    fn quarantine_row(
        &self,
        ring: &KeyRing,
        refusal: &Refusal,
        sent: &Sent,
        now: Ts,
    ) -> Result<QuarantineRow, EngineError> {
        let id = QuarantineId(new_id());
        let context = id.0.to_be_bytes();
        let sealed = ring.seal(&context, &sent.bytes).map_err(|_| EngineError::Unavailable("the vault key"))?;
        Ok(QuarantineRow {
            id,
            source_no: self.source.source_no,
            index: refusal.index,
            code: refusal.code,
            detail: refusal.detail.clone(),
            form: sent.form,
            sealed,
            sent_digest: self.source.reader.is_some().then(|| fetch::digest(ring, refusal, sent)),
            at: now,
        })
    }
}

pub(super) fn outcome(staged: &Staged, batch_id: Option<BatchId>, source_seq: i64) -> PushOutcome {
    PushOutcome {
        accepted: staged.records.len() as u32,
        duplicates: staged.duplicates,
        conflicts: staged.conflicts,
        quarantined: staged.refused.iter().map(|(refusal, _)| refusal.clone()).collect(),
        batch_id,
        cursor: source_seq.to_string(),
    }
}

/// SHA-256 over the digest of the batch before and every record's digests: later change of any is provable.
pub fn chain_digest(before: &[u8; 32], records: &[Record]) -> [u8; 32] {
    chain_of(before, records.iter().map(|record| (record.id_digest, record.content_digest)))
}

/// The same of digests of ids and of contents.
pub(crate) fn chain_of(before: &[u8; 32], records: impl Iterator<Item = (u64, u32)>) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(before);
    for (id, content) in records {
        context.update(&id.to_be_bytes());
        context.update(&content.to_be_bytes());
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}
