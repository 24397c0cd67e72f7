//! Exclusions that operators report: each waits, sealed, for a second person.
//!
//! ```text
//! operator reports ─▶ waiting, sealed ─▶ approved by the regulator's staff ─▶ the usual registration
//!                                  ├─▶ refused
//!                                  └─▶ expired
//! ```
//! Nobody gets out of an exclusion early, so one that was reported by mistake binds nobody before somebody else has looked at
//! it. The registration is a commit of its own, under a key of idempotency that follows from the report: whoever ends between
//! it and the next one leaves a report that waits, and whose approval finds the person excluded.

use super::Engine;
use crate::api::{EngineError, IdempotencyKey, NewExclusion};
use crate::idempotency;
use crate::register::{commit_error, new_id, section, unavailable};
use crate::second_person::are_of_one_person;
use bytes::Bytes;
use models::event::Event;
use models::evidence::sha256;
use models::exclusion::{Channel, Period, ReasonClass};
use models::exclusion_report::{ExclusionReport, RefusalReason, ReportState};
use models::ids::{ExclusionReportId, KeyId, OperatorNo};
use models::jurisdiction::JurisdictionNo;
use models::ts::DAY;
use store::Attachment;

/// How long a report waits for a second person.
const WAITS_FOR: i64 = 7 * DAY;
/// Reports of an operator that may wait at the same time.
pub const WAITING_MAX: u64 = 200;
/// Reports that one look lets expire.
const EXPIRE_MAX: u32 = 100;

/// A report to be kept.
pub struct NewExclusionReport {
    /// Whose.
    pub operator: OperatorNo,
    /// From the credential.
    pub jurisdiction: JurisdictionNo,
    /// How long.
    pub period: Period,
    /// Who asked.
    pub reason_class: ReasonClass,
    /// How.
    pub channel: Channel,
    /// The registration as it was sent.
    pub sent: Bytes,
    /// Who reports.
    pub by: KeyId,
}

impl Engine {
    /// Keeps a report until somebody of the regulator has looked at it.
    ///
    /// # Errors
    /// Too many of the operator wait, or the database is away.
    pub async fn report_exclusion(
        &self,
        new: NewExclusionReport,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<ExclusionReport, EngineError> {
        let engine = self.clone();
        section(async move { engine.report_exclusion_now(&new, idempotency.as_ref()).await }).await
    }

    async fn report_exclusion_now(
        &self,
        new: &NewExclusionReport,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<ExclusionReport, EngineError> {
        // a repeated request waits for the first one
        let _one_at_a_time = self.0.ruling.lock().await;
        let now = self.now();
        if let Some(earlier) = idempotency::earlier(&self.0.store, idempotency, now).await? {
            let id = earlier.result_id.parse().map_err(|_| EngineError::NotFound("reported exclusion"))?;
            return self.exclusion_report(new.jurisdiction, id).await;
        }
        if self.0.store.exclusion_reports_waiting(new.operator).await.map_err(unavailable)? >= WAITING_MAX {
            let detail = format!("{WAITING_MAX} exclusions that the operator reported wait for the regulator already");
            return Err(EngineError::Conflict(detail));
        }
        let report = ExclusionReport {
            id: ExclusionReportId(new_id()),
            operator_no: new.operator,
            jurisdiction: new.jurisdiction,
            period: new.period,
            reason_class: new.reason_class,
            channel: new.channel,
            reported_by: new.by,
            reported_at: now,
            expires_at: now.plus(WAITS_FOR),
            state: ReportState::Waiting,
            settled_by: None,
            settled_at: None,
            refused: None,
            exclusion: None,
            revision: 1,
        };
        let ring = self.0.keys.hold();
        let sealed = ring.seal(&report.id.0.to_be_bytes(), &new.sent);
        let sealed = Some(sealed.map_err(|_| EngineError::Unavailable("the vault key"))?);
        let mut attachments = vec![Attachment::ReportSeal { id: report.id, sealed }];
        attachments.extend(idempotency::attachment(idempotency, 201, report.id, now));
        let events = vec![Event::ExclusionReportSet(Box::new(report.clone()))];
        self.0.writer.commit_in(ring.epoch, events, attachments).await.map_err(commit_error)?;
        Ok(report)
    }

    /// A report of the jurisdiction as it stands.
    ///
    /// # Errors
    /// It is not there, or the database is away.
    pub async fn exclusion_report(
        &self,
        jurisdiction: JurisdictionNo,
        id: ExclusionReportId,
    ) -> Result<ExclusionReport, EngineError> {
        let found = self.0.store.exclusion_report(id).await.map_err(unavailable)?;
        found.filter(|report| report.jurisdiction == jurisdiction).ok_or(EngineError::NotFound("reported exclusion"))
    }

    /// The registration that an operator sent, for whoever approves it; it is shown to nobody.
    ///
    /// # Errors
    /// The report waits no longer, or what was sealed cannot be read.
    pub async fn reported_exclusion(&self, report: &ExclusionReport) -> Result<Vec<u8>, EngineError> {
        let sealed = self.0.store.exclusion_report_sealed(report.id).await.map_err(unavailable)?;
        let sealed = sealed.ok_or_else(|| settled(report.state))?;
        let opened = self.0.keys.hold().open(&report.id.0.to_be_bytes(), &sealed);
        opened.map_err(|_| EngineError::Unavailable("the vault key"))
    }

    /// Registers what was reported, and settles the report.
    ///
    /// # Errors
    /// The report waits no longer, is of the same person, or the registration is refused.
    pub async fn approve_report(
        &self,
        id: ExclusionReportId,
        new: NewExclusion,
        by: KeyId,
    ) -> Result<ExclusionReport, EngineError> {
        let engine = self.clone();
        section(async move {
            let _one_at_a_time = engine.0.ruling.lock().await;
            let report = engine.waiting_report(new.jurisdiction, id).await?;
            if are_of_one_person(&engine.directory(), report.reported_by, by) {
                let why = "whoever reported an exclusion does not approve it: a second person does";
                return Err(EngineError::Forbidden(why));
            }
            let registered = engine.register(new, Some(own_key(id))).await?;
            let exclusion = Some(registered.exclusion.id);
            engine.settle(ExclusionReport { state: ReportState::Approved, exclusion, ..report }, Some(by)).await
        })
        .await
    }

    /// Settles a report without an exclusion; the same once more changes nothing.
    ///
    /// # Errors
    /// The report waits no longer.
    pub async fn refuse_report(
        &self,
        (jurisdiction, id): (JurisdictionNo, ExclusionReportId),
        reason: RefusalReason,
        by: KeyId,
    ) -> Result<ExclusionReport, EngineError> {
        let engine = self.clone();
        section(async move {
            let _one_at_a_time = engine.0.ruling.lock().await;
            let known = engine.exclusion_report(jurisdiction, id).await?;
            if known.refused == Some(reason) {
                return Ok(known);
            }
            let report = engine.waiting_report(jurisdiction, id).await?;
            let refused = Some(reason);
            engine.settle(ExclusionReport { state: ReportState::Refused, refused, ..report }, Some(by)).await
        })
        .await
    }

    /// Lets go of reports that nobody looked at in time.
    pub(super) async fn expire_reports(&self) -> Result<(), EngineError> {
        for due in self.0.store.exclusion_reports_due(self.now(), EXPIRE_MAX).await.map_err(unavailable)? {
            let _one_at_a_time = self.0.ruling.lock().await;
            let report = self.exclusion_report(due.jurisdiction, due.id).await?;
            if report.state == ReportState::Waiting {
                self.settle(ExclusionReport { state: ReportState::Expired, ..report }, None).await?;
            }
        }
        Ok(())
    }

    async fn waiting_report(
        &self,
        jurisdiction: JurisdictionNo,
        id: ExclusionReportId,
    ) -> Result<ExclusionReport, EngineError> {
        let report = self.exclusion_report(jurisdiction, id).await?;
        match report.state {
            ReportState::Waiting if self.now() < report.expires_at => Ok(report),
            ReportState::Waiting => Err(settled(ReportState::Expired)),
            state => Err(settled(state)),
        }
    }

    /// The new state, and nothing of the person any more.
    async fn settle(&self, report: ExclusionReport, by: Option<KeyId>) -> Result<ExclusionReport, EngineError> {
        let revision = report.revision + 1;
        let report = ExclusionReport { settled_by: by, settled_at: Some(self.now()), revision, ..report };
        let seal = Attachment::ReportSeal { id: report.id, sealed: None };
        let events = vec![Event::ExclusionReportSet(Box::new(report.clone()))];
        self.0.writer.commit(events, vec![seal]).await.map_err(commit_error)?;
        Ok(report)
    }
}

fn settled(state: ReportState) -> EngineError {
    EngineError::Conflict(format!("the reported exclusion is {}", state.as_str()))
}

/// A report is registered once, however often somebody tries.
fn own_key(id: ExclusionReportId) -> IdempotencyKey {
    let digest = sha256(format!("reported exclusion {id}").as_bytes());
    IdempotencyKey { key_digest: digest, body_digest: digest }
}
