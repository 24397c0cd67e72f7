//! What a source's actor knows of the wholeness of its batches: tokens and numbers are judged by [`engine::integrity`], and
//! stored in the commit of the records they came with.

use super::{SourceActor, Staged};
use crate::api::{EngineError, PushOutcome};
use crate::register::commit_error;
use bytes::Bytes;
use engine::integrity::{self, Accepted, PushMarks, Refused};
use models::event::Event;
use models::feed::SourceIntegrity;
use models::feed::integrity::{ChainEndReason, ChainEnded, TamperRule};
use models::ids::KeyId;
use models::record::Record;
use models::ts::{DAY, MINUTE, Ts};
use prometheus::{IntCounterVec, Opts, Registry};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How often the count of refusals is stored at most while they go on.
const REFUSALS_STORED_EVERY: i64 = MINUTE;

/// What shows that a feed is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A push whose tamper token did not follow.
    Tampered,
    /// A push that was refused because it had no token.
    TokenMissing,
    /// A push without a token while a chain was under way.
    WithoutToken,
    /// Numbers that a push has jumped over.
    Gap,
    /// A record whose id was known with other content.
    Conflict,
    /// A record that came late.
    Late,
    /// A record that takes the place of another.
    Replaced,
    /// A day whose declared totals began to differ.
    DeclaredDiffers,
}

impl Sign {
    const ALL: [Self; 8] = [
        Self::Tampered,
        Self::TokenMissing,
        Self::WithoutToken,
        Self::Gap,
        Self::Conflict,
        Self::Late,
        Self::Replaced,
        Self::DeclaredDiffers,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Tampered => "tampered",
            Self::TokenMissing => "token_missing",
            Self::WithoutToken => "without_token",
            Self::Gap => "gap",
            Self::Conflict => "conflict",
            Self::Late => "late",
            Self::Replaced => "replaced",
            Self::DeclaredDiffers => "declared_differs",
        }
    }
}

/// What is counted of batches that are not whole, over all sources.
#[derive(Clone)]
pub struct IntegrityMetrics(IntCounterVec);

impl IntegrityMetrics {
    /// Makes and registers them.
    ///
    /// # Errors
    /// Where the registry has metrics of these names.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Signs that feeds are not whole: pushes, gaps, records or days, by sign.";
        let signs = IntCounterVec::new(Opts::new("mlinzi_feed_integrity_total", help), &["sign"])?;
        for sign in Sign::ALL {
            signs.with_label_values(&[sign.as_str()]);
        }
        registry.register(Box::new(signs.clone()))?;
        Ok(Self(signs))
    }

    /// Counts.
    pub fn count(&self, sign: Sign, how_many: u64) {
        self.0.with_label_values(&[sign.as_str()]).inc_by(how_many);
    }
}

impl SourceActor {
    /// Judges a push by its marks; one that is refused leaves its trace, unless it was only tried.
    pub(super) async fn admit(
        &mut self,
        body: &Bytes,
        marks: &PushMarks,
        dry_run: bool,
        now: Ts,
    ) -> Result<Accepted, EngineError> {
        let rule = self.settings().integrity.map_or(TamperRule::Optional, |settings| settings.tamper_token);
        match integrity::accept(&self.head.integrity, marks, rule, body, now) {
            Ok(accepted) => Ok(accepted),
            Err(Refused::TokenMissing) => {
                self.context.integrity.count(Sign::TokenMissing, 1);
                let detail = "missing: the source takes no push without a tamper token".to_owned();
                Err(EngineError::Invalid { pointer: "X-Mlinzi-Tamper-Token", detail })
            }
            Err(Refused::Tampered) => {
                if !dry_run {
                    self.tampered(now).await;
                }
                Err(EngineError::Tampered)
            }
        }
    }

    /// Keeps that a token did not follow: the alert desk reads it, and so does whoever starts again.
    async fn tampered(&mut self, now: Ts) {
        self.context.integrity.count(Sign::Tampered, 1);
        let state = integrity::refused(&self.head.integrity, now);
        let is_first = self.head.integrity.tampered_since.is_none();
        let is_due = self.refusal_stored_at.is_none_or(|at| now.0 - at.0 >= REFUSALS_STORED_EVERY);
        if is_first || is_due {
            let event = Event::SourceIntegritySet { source_no: self.source.source_no, state: state.clone() };
            if let Err(error) = self.context.writer.commit(vec![event], Vec::new()).await {
                tracing::warn!(source = %self.source.id, %error, "a token that does not follow is not stored");
                self.unsure = true;
                return;
            }
            self.refusal_stored_at = Some(now);
        }
        self.stands(state);
    }

    /// Stores a push. Of one that came once more, what was refused lies in quarantine already.
    pub(super) async fn commit_push(
        &mut self,
        mut staged: Staged,
        accepted: Accepted,
        now: Ts,
    ) -> Result<PushOutcome, EngineError> {
        // "nothing happened" is an answer, too; what was refused altogether is none
        staged.answered = staged.refused.is_empty();
        let known = if accepted.repeated { std::mem::take(&mut staged.refused) } else { Vec::new() };
        let mut outcome = self.commit(staged, None, &accepted, now).await?;
        outcome.quarantined.extend(known.into_iter().map(|(refusal, _)| refusal));
        Ok(outcome)
    }

    /// Forgets the chain's last token: the next one begins a new chain.
    pub(super) async fn end_chain(
        &mut self,
        by: KeyId,
        reason: ChainEndReason,
        next_number: Option<i64>,
    ) -> Result<(), EngineError> {
        self.make_sure().await?;
        let state = integrity::ended(&self.head.integrity, next_number);
        let source_no = self.source.source_no;
        let token = self.head.integrity.link.as_ref().map(|link| link.token.clone());
        let ended = Event::TamperChainEnded(ChainEnded { source_no, by, reason, token, next_number });
        let events = vec![ended, Event::SourceIntegritySet { source_no, state: state.clone() }];
        if let Err(error) = self.context.writer.commit(events, Vec::new()).await {
            self.unsure = true;
            return Err(commit_error(error));
        }
        self.stands(state);
        Ok(())
    }

    /// A push is stored: its tokens and numbers stand.
    pub(super) fn whole(&mut self, accepted: &Accepted) {
        if accepted.without_token {
            self.context.integrity.count(Sign::WithoutToken, 1);
        }
        if accepted.gap.is_some() {
            self.context.integrity.count(Sign::Gap, 1);
        }
        if let Some(state) = &accepted.state {
            self.stands(state.clone());
        }
    }

    fn stands(&mut self, state: SourceIntegrity) {
        *self.gauge.integrity.lock() = Some(Arc::new(state.clone()));
        self.head.integrity = state;
        self.gauge.version.fetch_add(1, Ordering::Release);
    }

    pub(super) fn is_late(&self, record: &Record, now: Ts) -> bool {
        integrity::is_late(&self.source, record.occurred_at, now)
    }

    /// Counts what is told by the records alone, and says which days they may have changed.
    pub(super) fn count_stored(&self, records: &[Record], now: Ts) {
        let late = records.iter().filter(|record| self.is_late(record, now)).count() as u64;
        let replaced = records.iter().filter(|record| record.replaces.is_some()).count() as u64;
        self.gauge.late.fetch_add(late, Ordering::Relaxed);
        self.gauge.replaced.fetch_add(replaced, Ordering::Relaxed);
        self.context.integrity.count(Sign::Late, late);
        self.context.integrity.count(Sign::Replaced, replaced);
        let times = || records.iter().map(|record| record.occurred_at);
        if let (Some(first), Some(last)) = (times().min(), times().max()) {
            // whose place was taken lies anywhere within the horizon
            let horizon = i64::from(self.source.horizon_days) * DAY;
            let first = if replaced > 0 { first.min(last.plus(-horizon)) } else { first };
            self.context.touched.touch(self.source.id, first, last);
        }
    }
}
