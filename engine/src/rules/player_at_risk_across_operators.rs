//! A player of several operators whose score across all of them is high at the end of a day on which they played: each
//! operator alone may have seen little of it.
//!
//! The model learns from rows of one operator each, and its probability is calibrated on those: of somebody who plays at
//! three, amounts and counts are as of one heavy player, and nobody has shown that the probability holds. So the rule is off
//! ([`crate::rules::list::OFF_AT_FIRST`]) until a jurisdiction has looked at what it finds, in the shadow or over history, and
//! promotes a version of its own.

use crate::rules::input::{Input, Trigger};
use crate::rules::list::{About, Home};
use crate::rules::nation::NationHeard;
use crate::rules::params::params;
use crate::rules::player_at_risk::{Bounds, judge_score};
use crate::rules::standing::Out;
use models::alert::Severity;

/// What it is.
pub const ABOUT: About = About {
    name: "player_at_risk_across_operators",
    home: Home::Nation,
    severity: Severity::High,
    what: "the promoted model of player risk gives somebody who plays at several operators a high probability of harm, by all that they do there",
    takes_back: "a later day of the same month at whose end the probability is below the lower bound",
    hears: &[Trigger::PlayerScored],
};

params! {
    /// Probability from which on a player is told of, millionths.
    score_min_ppm: i64 = 500_000, "ppm", 100_000..=1_000_000, "the bound of the level `high` (models::risk_model::RiskLevel)";
    /// Probability below which it is taken back, millionths; between the two what was said stands.
    cleared_below_ppm: i64 = 400_000, "ppm", 0..=1_000_000, "as of player_at_risk";
    coherent(self) {
        if self.cleared_below_ppm > self.score_min_ppm {
            return Err("cleared_below_ppm is above score_min_ppm");
        }
        Ok(())
    }
}

pub(super) fn judge(params: &Params, heard: &NationHeard<'_>, out: &mut Out<'_>) {
    if let Input::PlayerScored { scored, version, .. } = heard.input {
        let mut operators: Vec<_> = heard.known.places.iter().map(|place| place.operator).collect();
        operators.sort_unstable();
        let Params { score_min_ppm, cleared_below_ppm } = *params;
        judge_score(
            Bounds { score_min_ppm, cleared_below_ppm },
            (scored, *version),
            (heard.at, heard.spans.month),
            operators,
            out,
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};
    use models::ids::OperatorNo;
    use models::ts::DAY;

    const RULE: &str = "player_at_risk_across_operators";

    fn at_two() -> Story {
        Story::at(60).stake("anna", 100).at_operator(2).stake("anna", 100).after(minutes(1_380))
    }

    #[test]
    fn who_is_at_risk_across_operators_is_told_of_once_a_month() {
        let day = minutes(1_440);
        let at_risk = || at_two().player_scored("anna", 600_000);
        check(
            RULE,
            "{}",
            &[
                ("a high score", at_risk(), &["player anna: 600000 ppm"]),
                ("a moderate one", at_two().player_scored("anna", 499_999), &[]),
                ("the next day it is less", at_risk().after(day).player_scored("anna", 399_999), &[]),
                (
                    "it says it anew in another month",
                    at_risk().after(31 * DAY).player_scored("anna", 600_000),
                    &["player anna: 600000 ppm", "player anna: 600000 ppm"],
                ),
            ],
        );
    }

    #[test]
    fn it_names_the_operators() {
        let found = at_two().player_scored("anna", 600_000).all(RULE, "{}");
        assert_eq!(found[0].operators, [OperatorNo(1), OperatorNo(2)]);
        assert_eq!(found[0].reasons, ["version 3 of the model gives a probability of 60.0 %", "because"]);
    }
}
