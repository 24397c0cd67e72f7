//! Exclusions that operators report: each waits for a second person, of the regulator's staff. About whom it is stays sealed,
//! and is gone once the report is settled.

use crate::exclusion::{Channel, Period, ReasonClass};
use crate::ids::{ExclusionId, ExclusionReportId, KeyId, OperatorNo};
use crate::jurisdiction::JurisdictionNo;
use crate::record::closed_set;
use crate::ts::{Ts, micros};
use serde::{Deserialize, Serialize};

closed_set!(
    /// What became of a report.
    ReportState { Waiting = "waiting", Approved = "approved", Refused = "refused", Expired = "expired" }
);
closed_set!(
    /// Why a report is refused. A closed set: a text of somebody's own might name a person.
    RefusalReason {
        ByMistake = "by_mistake", NotVerified = "not_verified", Duplicate = "duplicate", Withdrawn = "withdrawn",
        OutOfScope = "out_of_scope",
    }
);

/// A report (the whole new state).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExclusionReport {
    /// Public id.
    pub id: ExclusionReportId,
    /// Who reported it.
    pub operator_no: OperatorNo,
    /// Where.
    pub jurisdiction: JurisdictionNo,
    /// How long at least.
    pub period: Period,
    /// Who asked.
    pub reason_class: ReasonClass,
    /// How it was made.
    pub channel: Channel,
    /// With which key it was reported.
    pub reported_by: KeyId,
    /// When.
    #[serde(with = "micros")]
    pub reported_at: Ts,
    /// First instant at which it waits no longer; none where it waits until somebody has looked at it.
    #[serde(with = "micros::option", default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Ts>,
    /// What became of it.
    pub state: ReportState,
    /// With which key it was approved or refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_by: Option<KeyId>,
    /// When it was, or expired.
    #[serde(with = "micros::option", default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Ts>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusalReason>,
    /// The exclusion that it led to: a new one, or the one that the person had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusion: Option<ExclusionId>,
    /// How often somebody would have approved it for another person.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub mismatches: u32,
    /// Grows with every change, from 1.
    pub revision: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_none_yet(count: &u32) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let waiting = ExclusionReport {
            id: ExclusionReportId(1),
            operator_no: OperatorNo(2),
            jurisdiction: JurisdictionNo(0),
            period: Period::Months6,
            reason_class: ReasonClass::Own,
            channel: Channel::Operator,
            reported_by: KeyId(3),
            reported_at: Ts(4),
            expires_at: Some(Ts(5)),
            state: ReportState::Waiting,
            settled_by: None,
            settled_at: None,
            refused: None,
            exclusion: None,
            mismatches: 0,
            revision: 1,
        };
        let settled = (Some(KeyId(6)), Some(Ts(7)));
        let approved = ExclusionReport {
            state: ReportState::Approved,
            settled_by: settled.0,
            settled_at: settled.1,
            exclusion: Some(ExclusionId(8)),
            revision: 2,
            ..waiting.clone()
        };
        let refused = ExclusionReport {
            state: ReportState::Refused,
            refused: Some(RefusalReason::ByMistake),
            exclusion: None,
            ..approved.clone()
        };
        let asked_for = ExclusionReport { expires_at: None, mismatches: 2, ..waiting.clone() };
        for report in [waiting, approved, refused, asked_for] {
            let text = serde_json::to_string(&report).unwrap();
            assert_eq!(serde_json::from_str::<ExclusionReport>(&text).unwrap(), report, "{text}");
        }
    }
}
