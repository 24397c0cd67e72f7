//! Exclusions that operators report: each waits, sealed, for a second person.
//!
//! ```text
//! operator reports ─▶ waiting, sealed ─▶ approved by the regulator's staff, who names the same person ─▶ registered
//!                                  ├─▶ refused
//!                                  └─▶ expired, unless the person asked for it
//! ```
//! Nobody gets out of an exclusion early, so one that was reported by mistake binds nobody before somebody else has looked at
//! it, and named whom it is about: what was reported is shown to nobody. The registration and the end of the report are one
//! commit, and the store refuses one that does not follow from the state that it was decided on.

use super::Engine;
use crate::api::{EngineError, IdempotencyKey, NewExclusion};
use crate::idempotency;
use crate::identity::Identifiers;
use crate::metrics::ReportMetrics;
use crate::register::{commit_error, new_id, section, unavailable};
use crate::second_person::are_of_one_person;
use bytes::Bytes;
use models::event::Event;
use models::exclusion::{Channel, Period, ReasonClass};
use models::exclusion_report::{ExclusionReport, RefusalReason, ReportState};
use models::ids::{ExclusionReportId, KeyId, OperatorNo};
use models::jurisdiction::JurisdictionNo;
use models::ts::DAY;
use std::collections::BTreeSet;
use store::Attachment;

/// How long a report waits for a second person, where the person did not ask for it.
const WAITS_FOR: i64 = 7 * DAY;
/// Reports of an operator that may wait at the same time.
pub const WAITING_MAX: u64 = 200;
/// How often staff may name somebody else before a report is to be refused.
pub const MISMATCHES_MAX: u32 = 3;
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

/// What approves a report.
pub struct Approval {
    /// The registration that the operator sent.
    pub new: NewExclusion,
    /// Whom the operator's paper names, read by staff.
    pub named: Identifiers,
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
        let _one_at_a_time = self.0.reporting.lock(new.operator).await;
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
            // what somebody asked for is not forgotten
            expires_at: (new.reason_class != ReasonClass::Own).then(|| now.plus(WAITS_FOR)),
            state: ReportState::Waiting,
            settled_by: None,
            settled_at: None,
            refused: None,
            exclusion: None,
            mismatches: 0,
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
        let Some(sealed) = sealed else {
            // settled since it was read
            return Err(settled(self.exclusion_report(report.jurisdiction, report.id).await?.state));
        };
        let opened = self.0.keys.hold().open(&report.id.0.to_be_bytes(), &sealed);
        opened.map_err(|_| EngineError::Unavailable("the vault key"))
    }

    /// Registers what was reported, and settles the report, in one commit; the same once more changes nothing.
    ///
    /// # Errors
    /// The report waits no longer, whoever approves it reported it or names somebody else, or it cannot be registered.
    pub async fn approve_report(
        &self,
        id: ExclusionReportId,
        approval: Approval,
        by: KeyId,
    ) -> Result<ExclusionReport, EngineError> {
        let engine = self.clone();
        section(async move { engine.approve_report_now(id, approval, by).await }).await
    }

    async fn approve_report_now(
        &self,
        id: ExclusionReportId,
        approval: Approval,
        by: KeyId,
    ) -> Result<ExclusionReport, EngineError> {
        let Approval { new, named } = approval;
        let jurisdiction = new.jurisdiction;
        let operator = self.exclusion_report(jurisdiction, id).await?.operator_no;
        let _one_at_a_time = self.0.reporting.lock(operator).await;
        let report = self.exclusion_report(jurisdiction, id).await?;
        if report.state == ReportState::Approved {
            return Ok(report);
        }
        let report = self.still_waits(report)?;
        if are_of_one_person(&self.directory(), report.reported_by, by) {
            let why = "whoever reported an exclusion does not approve it: a second person does";
            return Err(EngineError::Forbidden(why));
        }
        if report.mismatches >= MISMATCHES_MAX {
            return Err(EngineError::Conflict("it was approved for somebody else too often: refuse it".to_owned()));
        }
        if self.keys_of(&named) != self.keys_of(&new.known_by) {
            return Err(self.mismatched(report).await?);
        }
        let approved = self.settled_now(ExclusionReport { state: ReportState::Approved, ..report }, Some(by));
        match self.0.register.register_reported(new, approved.clone(), self.now()).await {
            Ok(registered) => {
                self.count(ReportState::Approved.as_str());
                Ok(ExclusionReport { exclusion: Some(registered.exclusion.id), ..approved })
            }
            // nothing is wrong with what staff sent
            Err(EngineError::Invalid { detail, .. }) => {
                Err(EngineError::Conflict(format!("the report can no longer be registered: {detail}")))
            }
            Err(error) => Err(self.refused_for((jurisdiction, id), error).await),
        }
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
            let operator = engine.exclusion_report(jurisdiction, id).await?.operator_no;
            let _one_at_a_time = engine.0.reporting.lock(operator).await;
            let known = engine.exclusion_report(jurisdiction, id).await?;
            if known.refused == Some(reason) {
                return Ok(known);
            }
            let report = engine.still_waits(known)?;
            let refused = Some(reason);
            engine.settle(ExclusionReport { state: ReportState::Refused, refused, ..report }, Some(by)).await
        })
        .await
    }

    /// Lets go of reports that nobody looked at in time, and shows how many wait.
    pub(super) async fn expire_reports(&self) -> Result<(), EngineError> {
        let now = self.now();
        for due in self.0.store.exclusion_reports_due(now, EXPIRE_MAX).await.map_err(unavailable)? {
            let _one_at_a_time = self.0.reporting.lock(due.operator_no).await;
            let report = self.exclusion_report(due.jurisdiction, due.id).await?;
            if report.state == ReportState::Waiting {
                let expired = self.settle(ExclusionReport { state: ReportState::Expired, ..report }, None).await?;
                tracing::warn!(report = %expired.id, "nobody looked at a reported exclusion: nobody is registered");
            }
        }
        self.0.metrics.reports.show(self.0.store.exclusion_reports_open().await.map_err(unavailable)?, now);
        Ok(())
    }

    fn still_waits(&self, report: ExclusionReport) -> Result<ExclusionReport, EngineError> {
        match report.state {
            ReportState::Waiting if report.expires_at.is_none_or(|at| self.now() < at) => Ok(report),
            ReportState::Waiting => Err(settled(ReportState::Expired)),
            state => Err(settled(state)),
        }
    }

    /// What somebody is known by, under every live key.
    fn keys_of(&self, named: &Identifiers) -> BTreeSet<u128> {
        let ring = self.0.keys.load();
        let mut keys = BTreeSet::new();
        for digest in ring.digest.live() {
            keys.extend(named.keys(digest, &self.0.config.family).map(|(_, key)| key.0));
        }
        keys
    }

    /// Notes that somebody would have approved it for another person, and gives the answer to that.
    async fn mismatched(&self, report: ExclusionReport) -> Result<EngineError, EngineError> {
        let (mismatches, revision) = (report.mismatches + 1, report.revision + 1);
        let report = ExclusionReport { mismatches, revision, ..report };
        let events = vec![Event::ExclusionReportSet(Box::new(report))];
        self.0.writer.commit(events, Vec::new()).await.map_err(commit_error)?;
        self.count(ReportMetrics::MISMATCHED);
        let left = MISMATCHES_MAX.saturating_sub(mismatches);
        let detail = format!("these are not the identifiers that the operator reported; tries left: {left}");
        Ok(EngineError::Conflict(detail))
    }

    fn settled_now(&self, mut report: ExclusionReport, by: Option<KeyId>) -> ExclusionReport {
        report.settled_by = by;
        report.settled_at = Some(self.now());
        report.revision += 1;
        report
    }

    /// The new state, and nothing of the person any more.
    async fn settle(&self, report: ExclusionReport, by: Option<KeyId>) -> Result<ExclusionReport, EngineError> {
        let report = self.settled_now(report, by);
        let seal = Attachment::ReportSeal { id: report.id, sealed: None };
        let events = vec![Event::ExclusionReportSet(Box::new(report.clone()))];
        if let Err(error) = self.0.writer.commit(events, vec![seal]).await {
            return Err(self.refused_for((report.jurisdiction, report.id), commit_error(error)).await);
        }
        self.count(report.state.as_str());
        Ok(report)
    }

    /// Why a report was not settled: where another process did so meanwhile, what it is now.
    async fn refused_for(&self, (of, id): (JurisdictionNo, ExclusionReportId), error: EngineError) -> EngineError {
        if !matches!(error, EngineError::Conflict(_)) {
            return error;
        }
        match self.exclusion_report(of, id).await {
            Ok(report) if report.state != ReportState::Waiting => settled(report.state),
            _ => error,
        }
    }

    fn count(&self, outcome: &str) {
        self.0.metrics.reports.outcomes.with_label_values(&[outcome]).inc();
    }
}

fn settled(state: ReportState) -> EngineError {
    EngineError::Conflict(format!("the reported exclusion is {}", state.as_str()))
}
