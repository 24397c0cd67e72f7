//! What an operator hears of the findings about itself.
//!
//! Of its duties and its own figures it hears everything, limit and records included. Of what players are suspected of it
//! hears that there is something, how severe and when: whoever knows a threshold stays below it, and a player must not be
//! warned (tipping off). A rule that is not named here is of the second kind.
//!
//! Ids of findings and of groups are digests without a key, so that a replay makes them again without a secret. So an id is no
//! right: a route that takes one answers one that is not the caller's as one that nobody has (`web/tests/api/alert_ids.rs`).
//! That holds for ids that are presented. Not for those that an operator reads in its own alerts and groups: where a
//! confidential finding names no player, device or account, who knows the rules may try them until one gives the id.

use crate::model_drift;
use crate::rules::list::{self, About};
use models::alert::{AlertRevision, Evidence, Metric};
use std::borrow::Cow;

/// Rules about an operator's own duties and figures.
const OPEN: &[&str] = &[
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
    "series_unusual",
];
/// What the rule of any other finding is called to an operator.
pub const CONFIDENTIAL: &str = "confidential";

/// Does an operator hear all that a rule says of it?
#[must_use]
pub fn is_open(metric: Metric, rule: &str) -> bool {
    metric != Metric::Finding || OPEN.contains(&rule)
}

/// What the rule of an alert is called to the operator that it is about.
#[must_use]
pub fn rule_for_operator(metric: Metric, rule: &str) -> &str {
    if is_open(metric, rule) { rule } else { CONFIDENTIAL }
}

/// May no operator read what the rule of this name finds, nor find it by the name?
#[must_use]
pub fn is_confidential(rule: &str) -> bool {
    let finds = list::about(rule).is_some_and(About::is_here) || rule == model_drift::RULE;
    finds && !is_open(Metric::Finding, rule)
}

/// An alert as the operator may read it that it is about.
#[must_use]
pub fn for_operator(revision: &AlertRevision) -> Cow<'_, AlertRevision> {
    if revision.subject.metric != Metric::Finding {
        return Cow::Borrowed(revision);
    }
    let mut told = revision.clone();
    told.subject.who = None;
    if !is_open(told.subject.metric, &told.rule) {
        CONFIDENTIAL.clone_into(&mut told.rule);
        told.rule_version = 0;
        told.evidence = Evidence::default();
    }
    Cow::Owned(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::alert::{Subject, Window};
    use models::ids::AlertId;
    use models::ts::Ts;

    #[test]
    fn what_is_open_is_a_rule() {
        for name in OPEN {
            assert!(list::about(name).is_some_and(About::is_here), "{name}");
        }
    }

    #[test]
    fn suspicions_are_not_found_by_their_names() {
        for (rule, wanted) in [
            ("structured_deposits", true),
            ("concurrent_play", true),
            ("shared_payout_account_across_operators", true),
            ("shared_device_across_operators", true),
            ("model_drift", true),
            ("licence_lapsed", false),
            ("series_unusual", false),
            ("robust_deviation", false),
            ("feed_silent", false),
        ] {
            assert_eq!(is_confidential(rule), wanted, "{rule}");
        }
    }

    #[test]
    fn a_suspicion_is_told_without_its_content() {
        let evidence = Evidence { observed: 9, expected: 5, reasons: vec!["why".to_owned()], ..Evidence::default() };
        let subject =
            Subject { metric: Metric::Finding, who: Some("player:1".to_owned()), ..AlertRevision::for_tests().subject };
        let finding = |rule: &str| AlertRevision {
            id: AlertId(7),
            rule: rule.to_owned(),
            rule_version: 3,
            subject: subject.clone(),
            window: Window { start: Ts(1), end: Ts(2) },
            evidence: evidence.clone(),
            ..AlertRevision::for_tests()
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
