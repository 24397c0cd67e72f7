//! A player whose score by the promoted model of player risk is high at the end of a day on which they played.

use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::{Input, Trigger};
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::{Severity, Window};
use models::ids::OperatorNo;
use models::money::Currency;
use models::score::ScoredPlayer;
use models::ts::Ts;

/// What it is.
pub const ABOUT: About = About {
    name: "player_at_risk",
    home: Home::Operator,
    severity: Severity::High,
    what: "the promoted model of player risk gives a player a high probability of harm",
    takes_back: "a later day of the same month at whose end the probability is below the lower bound",
    hears: &[Trigger::PlayerScored],
};

params! {
    /// Probability from which on a player is told of, millionths.
    score_min_ppm: i64 = 500_000, "ppm", 100_000..=1_000_000, "the bound of the level `high` (models::risk_model::RiskLevel)";
    /// Probability below which it is taken back, millionths; between the two what was said stands.
    cleared_below_ppm: i64 = 400_000, "ppm", 0..=1_000_000, "own: a score that swings around one bound would be told again and again";
    /// Currency of `low_balance_minor`: of players in any other one it is not known which balance is low.
    currency: Currency = Currency::EUR, "", 0..=0, "the published model's; a jurisdiction sets its own";
    /// Balance below which money is as good as gone: what the model hears of falls below it, and of deposits made there.
    low_balance_minor: i64 = 200, "minor units", 0..=1_000_000_000_000, "DGOJ common detection model (2025): two units of the currency, the euro (FACTS, markers of harm)";
    coherent(self) {
        if self.cleared_below_ppm > self.score_min_ppm {
            return Err("cleared_below_ppm is above score_min_ppm");
        }
        Ok(())
    }
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    if let Input::PlayerScored { scored, version, .. } = heard.input {
        let Params { score_min_ppm, cleared_below_ppm, .. } = *params;
        judge_score(
            Bounds { score_min_ppm, cleared_below_ppm },
            (scored, *version),
            (heard.at, heard.spans.month),
            Vec::new(),
            out,
        );
    }
}

/// From which probability on a player is told of, and below which it is taken back, millionths.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub score_min_ppm: i64,
    pub cleared_below_ppm: i64,
}

/// The same for a score at one operator, which names none, and for one across several.
pub(super) fn judge_score(
    bounds: Bounds,
    (scored, version): (&ScoredPlayer, u32),
    (at, month): (Ts, Window),
    operators: Vec<OperatorNo>,
    out: &mut Out<'_>,
) {
    let (score, who) = (i64::from(scored.score_ppm), Who::Player(scored.player.0));
    let measured = Measured { observed: score, limit: bounds.score_min_ppm, unit: Unit::Ppm };
    // who plays in two currencies has a score of each
    let mut out = out.matter(scored.currency.bits().into());
    if score < bounds.cleared_below_ppm {
        return out.cleared(who, at, measured, "the probability has fallen below the lower bound");
    }
    if score < bounds.score_min_ppm {
        return;
    }
    // one finding a month, however long it lasts
    let found = Found { who, window: month, cause: Cause::Window, measured, severity: Severity::High };
    out.found(found, |_| {
        let said = format!("version {version} of the model gives a probability of {:.1} %", score as f64 / 1e4);
        Details { operators, ..Details::of(std::iter::once(said).chain(scored.reasons.iter().cloned()).collect()) }
    });
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};
    use models::ts::DAY;

    #[test]
    fn who_is_at_risk_is_told_of_once_a_month() {
        let day = minutes(1_440);
        let at_risk = || Story::at(1_440).player_scored("anna", 600_000);
        check(
            "player_at_risk",
            "{}",
            &[
                ("a high score", at_risk(), &["player anna: 600000 ppm"]),
                ("a moderate one", Story::at(1_440).player_scored("anna", 499_999), &[]),
                ("the next day it is less", at_risk().after(day).player_scored("anna", 399_999), &[]),
                (
                    "the next day it is a little less",
                    at_risk().after(day).player_scored("anna", 400_000),
                    &["player anna: 600000 ppm"],
                ),
                (
                    "it says it anew in another month",
                    at_risk().after(31 * DAY).player_scored("anna", 600_000),
                    &["player anna: 600000 ppm", "player anna: 600000 ppm"],
                ),
                (
                    "nor does what they do in another currency",
                    at_risk().in_currency("EUR").player_scored("anna", 1).player_scored("anna", 700_000),
                    &["player anna: 600000 ppm", "player anna: 700000 ppm"],
                ),
                (
                    "somebody else's score clears nothing",
                    at_risk().player_scored("ben", 1),
                    &["player anna: 600000 ppm"],
                ),
            ],
        );
    }

    #[test]
    fn it_says_why() {
        let found = Story::at(1_440).player_scored("anna", 600_000).all("player_at_risk", "{}");
        assert_eq!(found[0].reasons, ["version 3 of the model gives a probability of 60.0 %", "because"]);
    }
}
