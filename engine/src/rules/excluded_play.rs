//! Somebody who is excluded plays, or pays in.
//!
//! What was staked before the exclusion may be settled after it: only new stakes, tickets and deposits count, and those
//! by the time at which they were made, whenever they are reported.

use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::Severity;
use models::ts::MINUTE;
use models::words::counted;

/// What it is.
pub const ABOUT: About = About {
    name: "excluded_play",
    home: Home::Operator,
    severity: Severity::Critical,
    what: "an excluded person stakes, buys a ticket or pays in",
    takes_back: "nothing: what was accepted was accepted; an exclusion that is lifted later bound at the time",
    hears: &[Trigger::Bet, Trigger::Deposit],
};

params! {
    /// Minutes after an exclusion in which play is not yet held against the operator.
    grace_minutes: i64 = 15, "minutes", 0..=1_440, "an answer of the register is valid for 15 minutes (DESIGN, freshness of a node)";
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let (Some(excluded), Some((player, _))) = (heard.facts.excluded, heard.player) else { return };
    let is_over = excluded.until.is_some_and(|until| heard.at >= until);
    if is_over || heard.at < excluded.since.plus(params.grace_minutes * MINUTE) {
        return;
    }
    let minutes = (heard.at.0 - excluded.since.0) / MINUTE;
    let what = if heard.trigger == Trigger::Deposit { "a deposit was taken" } else { "a bet was taken" };
    let found = Found {
        who: Who::Player(player),
        window: heard.spans.day,
        cause: Cause::Sum { told_from: 1 },
        measured: Measured { observed: 1, limit: 0, unit: Unit::Records },
        severity: Severity::Critical,
    };
    out.found(found, |count| {
        let (minutes, records) = (counted(minutes, "minute", "minutes"), counted(count, "such record", "such records"));
        let reason = format!("{what} {minutes} after the person was excluded; {records} on the day");
        Details::of(vec![reason])
    });
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};

    #[test]
    fn who_is_excluded_does_not_play() {
        // an exclusion at minute 100 of the story
        let excluded = |story: Story| story.excluded("anna", 100, None);
        let for_a_day = |story: Story| story.excluded("anna", 100, Some(1_540));
        check(
            "excluded_play",
            "{}",
            &[
                (
                    "a bet an hour after the exclusion",
                    excluded(Story::at(160).stake("anna", 50)),
                    &["player anna: 1 records"],
                ),
                ("a deposit counts, too", excluded(Story::at(160).deposit("anna", 500)), &["player anna: 1 records"]),
                (
                    "so does a ticket over the counter",
                    excluded(Story::at(160).ticket("anna", 50)),
                    &["player anna: 1 records"],
                ),
                (
                    "a bet before the exclusion, paid after it",
                    excluded(Story::at(90).stake("anna", 50).after(minutes(60)).payout("anna", 90)),
                    &[],
                ),
                ("a withdrawal of the balance is her right", excluded(Story::at(160).withdraw("anna", 500)), &[]),
                ("the operator's last answer was still valid", excluded(Story::at(114).stake("anna", 50)), &[]),
                ("and a minute later no more", excluded(Story::at(115).stake("anna", 50)), &["player anna: 1 records"]),
                ("a day's break is over", for_a_day(Story::at(1_540).stake("anna", 50)), &[]),
                (
                    "a minute before it is over",
                    for_a_day(Story::at(1_539).stake("anna", 50)),
                    &["player anna: 1 records"],
                ),
                ("a bet that did not go through", excluded(Story::at(160).failed_stake("anna", 50)), &[]),
                ("somebody else", excluded(Story::at(160).stake("ben", 50)), &[]),
                (
                    "a bet of before that is reported late",
                    excluded(Story::at(300).login("ben").before(minutes(220)).stake("anna", 50)),
                    &[],
                ),
                (
                    "four bets are one finding that grows",
                    excluded(Story::at(160).stake("anna", 5).stake("anna", 5).stake("anna", 5).stake("anna", 5)),
                    &["player anna: 4 records"],
                ),
            ],
        );
    }

    #[test]
    fn the_minutes_are_evidence_and_the_grace_is_a_parameter() {
        let story = Story::at(160).excluded("anna", 100, None).stake("anna", 50);
        let found = story.run("excluded_play", "{}");
        assert_eq!(
            found[0].reasons,
            ["a bet was taken 60 minutes after the person was excluded; 1 such record on the day"]
        );
        assert!(story.run("excluded_play", r#"{"grace_minutes": 61}"#).is_empty());
    }
}
