//! Alerts: what a rule found, with the evidence that made it speak.

use crate::ids::{AlertId, OperatorNo, SourceId};
use crate::money::Currency;
use crate::record::closed_set;
use crate::ts::{HOUR, Ts, micros};
use serde::{Deserialize, Serialize};

closed_set!(
    /// What a window counts.
    Metric {
        Count = "count", Stakes = "stakes", Payouts = "payouts", GrossGamingRevenue = "gross_gaming_revenue",
        UniquePlayers = "unique_players", Hold = "hold", FirstContacts = "first_contacts", Silence = "silence",
        Integrity = "integrity", Finding = "finding",
    }
);
impl Metric {
    /// Those that are counted from records.
    pub const OF_RECORDS: &'static [Self] =
        &[Self::Count, Self::Stakes, Self::Payouts, Self::GrossGamingRevenue, Self::UniquePlayers, Self::Hold];
}

closed_set!(
    /// Length of a window.
    Granularity { Minute = "minute", Hour = "hour", Day = "day", Week = "week" }
);
closed_set!(
    /// How urgent.
    Severity { Low = "low", Medium = "medium", High = "high", Critical = "critical" }
);
closed_set!(
    /// What a revision says.
    RevisionKind { Raised = "raised", Corrected = "corrected", Withdrawn = "withdrawn" }
);

/// What an alert speaks about. Of the engine's own rules its digest, with rule, version and window, is the alert's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    /// The operator's stable code.
    pub operator: String,
    /// Metric.
    pub metric: Metric,
    /// Length of the window.
    pub granularity: Granularity,
    /// Currency.
    pub currency: Currency,
    /// The source, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceId>,
    /// Whom a rule's finding is about, such as `player:` and a keyed digest in hex: a pseudonym, for staff alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
}

/// A half-open span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// First instant.
    #[serde(with = "micros")]
    pub start: Ts,
    /// First instant after it.
    #[serde(with = "micros")]
    pub end: Ts,
}

/// Why the rule spoke: everything needed to check it by hand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The window's value: minor units for money, a count, or parts per million for hold.
    pub observed: i64,
    /// Median of the windows before.
    pub expected: i64,
    /// Lower end of the band that would have been quiet.
    pub band_low: i64,
    /// Upper end.
    pub band_high: i64,
    /// Deviation in robust standard deviations, in thousandths.
    pub score_milli: i64,
    /// The threshold in force, in thousandths.
    pub threshold_milli: i64,
    /// How many windows the median stands on.
    pub samples: u32,
    /// Sentences for people, strongest first.
    pub reasons: Vec<String>,
    /// Ids of up to ten records that weighed most.
    pub records: Vec<String>,
    /// What a finding's values count, such as `minor_units`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Codes of the operators that a finding over several of them names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<String>,
}

/// One journaled revision of an alert; unique by (id, operator sequence).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertRevision {
    /// Digest of (rule, version, subject, window).
    pub id: AlertId,
    /// Rule.
    pub rule: String,
    /// Version of the rule.
    pub rule_version: u32,
    /// Whose alert.
    pub operator_no: OperatorNo,
    /// Subject.
    pub subject: Subject,
    /// Window.
    pub window: Window,
    /// Raised, corrected or withdrawn.
    pub kind: RevisionKind,
    /// How urgent.
    pub severity: Severity,
    /// Time by the source's clock.
    #[serde(with = "micros")]
    pub at: Ts,
    /// Position of the operator's input that caused it.
    pub operator_seq: i64,
    /// Offset in the topic `alerts`, gapless from 1, assigned by the writer.
    pub offset: i64,
    /// Offset in the topic `alerts:opr_…`, gapless from 1, assigned by the writer.
    pub operator_offset: i64,
    /// Why.
    pub evidence: Evidence,
}

impl AlertRevision {
    /// Number 1 of the rule `jump`, version 1: raised of an hour's stakes of operator 1, `safi`, at the beginning of time.
    /// Tests begin with it.
    #[doc(hidden)]
    #[must_use]
    pub fn for_tests() -> Self {
        Self {
            id: AlertId(1),
            rule: "jump".to_owned(),
            rule_version: 1,
            operator_no: OperatorNo(1),
            subject: Subject {
                operator: "safi".to_owned(),
                metric: Metric::Stakes,
                granularity: Granularity::Hour,
                currency: Currency::KES,
                source: None,
                who: None,
            },
            window: Window { start: Ts(0), end: Ts(HOUR) },
            kind: RevisionKind::Raised,
            severity: Severity::High,
            at: Ts(0),
            operator_seq: 1,
            offset: 1,
            operator_offset: 1,
            evidence: Evidence { observed: 1, ..Evidence::default() },
        }
    }
}
