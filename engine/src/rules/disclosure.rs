//! What an operator hears of the findings about itself.
//!
//! Of its duties it hears everything, limit and records included: it has to mend them. Of what players are suspected of it
//! hears that there is something, how severe and when: whoever knows a threshold stays below it, and a player must not be
//! warned (tipping off). A rule that is not named here is of the second kind.

use models::alert::{AlertRevision, Evidence, Metric};
use std::borrow::Cow;

/// Rules about an operator's own duties.
pub const DUTIES: &[&str] = &[
    "compliance_status_changed",
    "declared_revenue_differs",
    "excluded_play",
    "harm_signal_unanswered",
    "late_remittance",
    "licence_lapsed",
    "limit_exceeded",
    "marketing_without_check",
    "net_deposit_threshold",
    "play_without_check",
];
/// What the rule of any other finding is called to an operator.
pub const CONFIDENTIAL: &str = "confidential";

/// May an operator read what this rule finds about it?
#[must_use]
pub fn is_duty(rule: &str) -> bool {
    DUTIES.contains(&rule)
}

/// An alert as the operator may read it that it is about.
#[must_use]
pub fn for_operator(revision: &AlertRevision) -> Cow<'_, AlertRevision> {
    if revision.subject.metric != Metric::Finding {
        return Cow::Borrowed(revision);
    }
    let mut told = revision.clone();
    told.subject.who = None;
    if !is_duty(&told.rule) {
        CONFIDENTIAL.clone_into(&mut told.rule);
        told.rule_version = 0;
        told.evidence = Evidence::default();
    }
    Cow::Owned(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::list::ABOUT;
    use models::alert::Subject;
    use models::alert::{Granularity, RevisionKind, Severity, Window};
    use models::ids::{AlertId, OperatorNo};
    use models::money::Currency;
    use models::ts::Ts;

    #[test]
    fn duties_are_rules() {
        for name in DUTIES {
            assert!(ABOUT.iter().any(|about| about.name == *name && about.is_here()), "{name}");
        }
    }

    #[test]
    fn a_suspicion_is_told_without_its_content() {
        let evidence = Evidence { observed: 9, expected: 5, reasons: vec!["why".to_owned()], ..Evidence::default() };
        let subject = Subject {
            operator: "acme".to_owned(),
            metric: Metric::Finding,
            granularity: Granularity::Day,
            currency: Currency::KES,
            source: None,
            who: Some("player:1".to_owned()),
        };
        let finding = |rule: &str| AlertRevision {
            id: AlertId(7),
            rule: rule.to_owned(),
            rule_version: 3,
            operator_no: OperatorNo(1),
            subject: subject.clone(),
            window: Window { start: Ts(1), end: Ts(2) },
            kind: RevisionKind::Raised,
            severity: Severity::High,
            at: Ts(2),
            operator_seq: 1,
            offset: 1,
            operator_offset: 1,
            evidence: evidence.clone(),
        };
        // rule | what the operator reads as its rule, and whether evidence comes along
        for (rule, name, is_whole) in [
            ("play_without_check", "play_without_check", true),
            ("structured_deposits", CONFIDENTIAL, false),
            ("a_rule_of_tomorrow", CONFIDENTIAL, false),
        ] {
            let (whole, told) = (finding(rule), finding(rule));
            let told = for_operator(&told);
            assert_eq!((told.rule.as_str(), told.subject.who.as_deref()), (name, None), "{rule}");
            assert_eq!(told.evidence == whole.evidence, is_whole, "{rule}");
            assert_eq!((told.id, told.severity, told.window), (whole.id, whole.severity, whole.window));
        }
        let of_figures = Subject { metric: Metric::Stakes, ..subject.clone() };
        let figure = AlertRevision { subject: of_figures, ..finding("robust_deviation") };
        assert_eq!(*for_operator(&figure), figure, "of figures it hears all");
    }
}
