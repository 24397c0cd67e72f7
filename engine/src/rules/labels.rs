//! From which rules models learn: whose alerts, once people decided about them, say what was true of a record or a player.
//!
//! A model learns what its name says. That an operator did not ask the register about somebody makes that person no risk,
//! and a report of laundering is no sign of harm; so each kind of model has a closed list. A rule that is not named here
//! (the operators' duties, figures, feeds and licences; the waiting time that some laws ask for between operators; devices and
//! payout numbers over operators, of which an alert names no player) labels nothing.

use models::risk_model::ModelKind;

/// What it says of the record or the player that an alert of a rule was a false alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FalseAlarm {
    /// That it is not what the model looks for.
    Negative,
    /// Nothing: what was false is what the rule says of the operator or of the register.
    SaysNothing,
}
use FalseAlarm::{Negative, SaysNothing};

/// Suspicions about money that moved, about accounts and about devices.
const TRANSACTION_RISK: &[(&str, FalseAlarm)] = &[
    ("dormant_burst", Negative),
    ("opposite_bets", Negative),
    ("payout_elsewhere", Negative),
    ("rapid_in_out", Negative),
    ("risky_transaction", Negative),
    ("shared_device", Negative),
    ("shared_payout_account", Negative),
    ("structured_across_operators", Negative),
    ("structured_deposits", Negative),
];

/// Signs that a player comes to harm.
const PLAYER_RISK: &[(&str, FalseAlarm)] = &[
    // where it is false, they were not excluded
    ("excluded_play", SaysNothing),
    ("limit_exceeded", Negative),
    ("net_deposit_threshold", Negative),
    ("net_deposits_across_operators", Negative),
    ("player_at_risk", Negative),
    ("player_at_risk_across_operators", Negative),
];

fn rules(kind: ModelKind) -> &'static [(&'static str, FalseAlarm)] {
    match kind {
        ModelKind::TransactionRisk => TRANSACTION_RISK,
        ModelKind::PlayerRisk => PLAYER_RISK,
    }
}

/// The label that a decision about an alert of a rule gives to a model's rows: positive, negative, or none.
#[must_use]
pub fn label(kind: ModelKind, rule: &str, is_confirmed: bool) -> Option<bool> {
    let (_, false_alarm) = rules(kind).iter().find(|(name, _)| *name == rule)?;
    (is_confirmed || *false_alarm == Negative).then_some(is_confirmed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::list::{self, About};
    use std::collections::BTreeSet;

    #[test]
    fn every_name_is_a_rule_and_labels_one_kind_of_model() {
        let all: Vec<&str> = [TRANSACTION_RISK, PLAYER_RISK].concat().iter().map(|(name, _)| *name).collect();
        for name in &all {
            assert!(list::about(name).is_some_and(About::is_here), "{name}");
        }
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "a rule labels two kinds");
    }

    #[test]
    fn a_decision_labels_what_it_is_about() {
        use ModelKind::{PlayerRisk, TransactionRisk};
        // kind | rule | what a confirmation says, and what a false alarm says
        for (kind, rule, confirmed, false_alarm) in [
            (TransactionRisk, "rapid_in_out", Some(true), Some(false)),
            (PlayerRisk, "rapid_in_out", None, None),
            (TransactionRisk, "structured_across_operators", Some(true), Some(false)),
            (TransactionRisk, "risky_transaction", Some(true), Some(false)),
            (PlayerRisk, "player_at_risk", Some(true), Some(false)),
            (TransactionRisk, "player_at_risk", None, None),
            (PlayerRisk, "limit_exceeded", Some(true), Some(false)),
            (PlayerRisk, "excluded_play", Some(true), None),
            // what an operator does or leaves undone says nothing of a player
            (PlayerRisk, "play_without_check", None, None),
            // nor does that nobody answered a sign: the model itself may have given it
            (PlayerRisk, "harm_signal_unanswered", None, None),
            (TransactionRisk, "play_without_check", None, None),
            (PlayerRisk, "licence_lapsed", None, None),
            (TransactionRisk, "robust_deviation", None, None),
            (TransactionRisk, "a_rule_of_tomorrow", None, None),
        ] {
            assert_eq!(label(kind, rule, true), confirmed, "{kind:?} {rule}");
            assert_eq!(label(kind, rule, false), false_alarm, "{kind:?} {rule}");
        }
    }
}
