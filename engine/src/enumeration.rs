//! The alert on whoever tries numbers: an operator that asks about too many people whom it never asked about.

use crate::operator_state::alert_id;
use models::alert::{AlertRevision, Evidence, Granularity, Metric, RevisionKind, Severity, Subject, Window};
use models::ids::OperatorNo;
use models::money::Currency;
use models::ts::Ts;

/// Name of the rule.
pub const RULE: &str = "enumeration";
/// Version of the rule.
pub const VERSION: u32 = 1;

/// What was counted.
#[derive(Clone, Debug)]
pub struct Strangers {
    /// Whose key.
    pub operator_no: OperatorNo,
    /// The operator's stable code.
    pub operator: String,
    /// Currency of the jurisdiction: part of every subject.
    pub currency: Currency,
    /// The key, as it is shown.
    pub key: String,
    /// In batches, not one by one.
    pub in_batches: bool,
    /// The hour, or of batches the day.
    pub window: Window,
    /// People whom the operator never asked about before.
    pub strangers: u32,
    /// How many would have been quiet.
    pub limit: u32,
    /// When it was noticed.
    pub at: Ts,
}

/// What stands in the place of the second reason where the digest key has just been rotated.
pub const ROTATED: &str = "the digest key was rotated in the last 30 days, so that everybody counts as asked about for the first time: the key is not slowed down";

/// The alert; a second one of the same operator and window has the same id.
#[must_use]
pub fn alert(found: &Strangers) -> AlertRevision {
    let subject = Subject {
        operator: found.operator.clone(),
        metric: Metric::FirstContacts,
        granularity: if found.in_batches { Granularity::Day } else { Granularity::Hour },
        currency: found.currency,
        source: None,
        who: None,
    };
    let window = found.window;
    let (how, span) = if found.in_batches { ("in batches", "day") } else { ("one by one", "hour") };
    let ratio = i64::from(found.strangers) * 1_000 / i64::from(found.limit.max(1));
    AlertRevision {
        id: alert_id(RULE, VERSION, &subject, window),
        rule: RULE.to_owned(),
        rule_version: VERSION,
        operator_no: found.operator_no,
        subject,
        window,
        kind: RevisionKind::Raised,
        severity: Severity::High,
        at: found.at,
        // no input of the operator's feeds caused it
        operator_seq: 0,
        offset: 0,
        operator_offset: 0,
        evidence: Evidence {
            observed: found.strangers.into(),
            expected: 0,
            band_low: 0,
            band_high: found.limit.into(),
            score_milli: ratio,
            threshold_milli: 1_000,
            samples: 0,
            reasons: vec![
                format!(
                    "the operator's keys asked {how} about {} people within the {span} whom it never asked about before",
                    found.strangers
                ),
                format!("key {} is the first that goes on, and has a tenth of its rate for the {span}", found.key),
            ],
            records: Vec::new(),
            ..Evidence::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ts::HOUR;

    #[test]
    fn an_hour_of_an_operator_has_one_alert() {
        let found = Strangers {
            operator_no: OperatorNo(3),
            operator: "safi-bet".to_owned(),
            currency: Currency::KES,
            key: "key_1".to_owned(),
            in_batches: false,
            window: Window { start: Ts(7 * HOUR), end: Ts(8 * HOUR) },
            strangers: 501,
            limit: 500,
            at: Ts(7 * HOUR + 5),
        };
        let first = alert(&found);
        assert_eq!(first.id, alert(&Strangers { key: "key_2".to_owned(), strangers: 900, ..found.clone() }).id);
        let next = Window { start: Ts(8 * HOUR), end: Ts(9 * HOUR) };
        assert_ne!(first.id, alert(&Strangers { window: next, ..found.clone() }).id);
        assert_ne!(first.id, alert(&Strangers { in_batches: true, ..found }).id);
        assert_eq!((first.evidence.score_milli, first.evidence.band_high), (1_002, 500));
    }
}
