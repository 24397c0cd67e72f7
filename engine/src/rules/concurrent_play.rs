//! Somebody bets at two operators at once, where the law has them wait between.
//!
//! Most laws say nothing of it: the rule is off ([`crate::rules::list::OFF_AT_FIRST`]) until a jurisdiction that has such a
//! law promotes a version, or lets one run in the shadow as a sign of harm.

use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::nation::NationHeard;
use crate::rules::params::params;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::Severity;
use models::ts::MINUTE;
use models::words::counted;

/// What it is.
pub const ABOUT: About = About {
    name: "concurrent_play",
    home: Home::Nation,
    severity: Severity::Medium,
    what: "bets of one person at two operators lie closer together than the law allows",
    takes_back: "nothing: bets stand",
    hears: &[Trigger::Bet],
};

params! {
    /// Minutes between the bets at two operators.
    wait_minutes: i64 = 5, "minutes", 1..=1_440, "Germany: five minutes between operators (FACTS)";
    /// Bets of a day from which on it is told.
    bets_min: i64 = 1, "bets", 1..=1_000, "the law knows no exception";
}

pub(super) fn judge(params: &Params, heard: &NationHeard<'_>, out: &mut Out<'_>) {
    let wait = params.wait_minutes * MINUTE;
    let is_close = |at: models::ts::Ts| at.0 > 0 && (heard.at.0 - at.0).abs() < wait;
    let others =
        heard.known.places.iter().filter(|place| place.operator != heard.operator && is_close(place.played_at));
    let Some(other) = others.max_by_key(|place| (place.played_at, place.operator)) else { return };
    let found = Found {
        who: Who::Player(heard.player),
        window: heard.spans.day,
        cause: Cause::Sum { told_from: params.bets_min },
        measured: Measured { observed: 1, limit: 0, unit: Unit::Records },
        severity: Severity::Medium,
    };
    out.found(found, |count| {
        let apart = (heard.at.0 - other.played_at.0).abs() / models::ts::SECOND;
        let seconds = counted(apart, "second", "seconds");
        let minutes = counted(params.wait_minutes, "minute", "minutes");
        let reason =
            format!("bets at two operators {seconds} apart, where {minutes} have to lie between; {count} on the day");
        let mut operators = vec![heard.operator, other.operator];
        operators.sort_unstable();
        Details { operators, ..Details::of(vec![reason]) }
    });
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};

    #[test]
    fn nobody_plays_in_two_places_at_once() {
        let first = || Story::at(60).stake("anna", 5);
        let one = &["player anna: 1 records"][..];
        check(
            "concurrent_play",
            "{}",
            &[
                ("a bet at another operator a minute later", first().at_operator(2).stake("anna", 5), one),
                ("five minutes later", first().after(minutes(4)).at_operator(2).stake("anna", 5), &[]),
                ("four minutes later", first().after(minutes(3)).at_operator(2).stake("anna", 5), one),
                ("at the same operator", first().stake("anna", 5), &[]),
                ("somebody else", first().at_operator(2).stake("ben", 5), &[]),
                ("a payout of a bet of before", first().at_operator(2).payout("anna", 5), &[]),
                (
                    "a bet of the same minute that is reported late",
                    first().after(minutes(300)).before(minutes(301)).at_operator(2).stake("anna", 5),
                    one,
                ),
                (
                    "two whom the register cannot know",
                    Story::at(60).stake("#77", 5).at_operator(2).stake("#77", 5),
                    &[],
                ),
            ],
        );
    }
}
