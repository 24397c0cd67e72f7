//! Somebody logs in, or plays without a login, and the register was not asked about them.

use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::player::VISIT;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::Severity;
use models::record::RecordKind;
use models::ts::MINUTE;
use models::words::counted;

/// What it is.
pub const ABOUT: About = About {
    name: "play_without_check",
    home: Home::Operator,
    severity: Severity::High,
    what: "a login or a session, or the first bet of a day at an operator that sends neither, before which the operator did not ask the register",
    takes_back: "nothing: whether a check was missing is decided with what evidence held when the record was stored; where evidence has a gap the rule is silent",
    hears: &[Trigger::Entry, Trigger::Bet, Trigger::Deposit],
};

/// A session that starts so long after its login is the same visit.
const SAME_VISIT: i64 = 10 * MINUTE;

params! {
    /// Minutes before the record in which a check must lie.
    check_minutes: i64 = 15, "minutes", 1..=1_440, "an answer of the register is valid for 15 minutes (DESIGN, freshness of a node)";
    /// Players who are named one by one in an hour; where there are more the operator is named once with their number.
    named_max: i64 = 100, "players", 1..=10_000, "what people can work through";
}

/// Does somebody come in, so that the register is to be asked first? Whoever plays on behind a login does not, nor does
/// a bet whose login may still come from another source.
pub(super) fn is_entry(heard: &Heard<'_>) -> bool {
    let Some(record) = heard.record else { return false };
    let visit = match (heard.trigger, record.kind) {
        (Trigger::Entry, RecordKind::SessionStart) => SAME_VISIT,
        (Trigger::Entry, _) => 0,
        // logins often come from another source, and later: a bet without one says something only where there are none
        (Trigger::Bet | Trigger::Deposit, _) if heard.book.has_no_entries(heard.at) => VISIT,
        _ => return false,
    };
    heard.entry_before.is_none_or(|entered| heard.at.0 - entered.0 >= visit)
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let Some((player, _)) = heard.player.filter(|_| is_entry(heard)) else { return };
    if heard.facts.lacks_check(heard.facts.checked_at, heard.at, params.check_minutes * MINUTE) != Some(true) {
        return;
    }
    let count = out.once_more(heard.at, params.named_max, "came in and the register was not asked");
    if count > params.named_max {
        return;
    }
    let ago = heard.facts.checked_at.map_or_else(
        || "no check of this person by this operator is known".to_owned(),
        |checked| {
            let minutes = counted((heard.at.0 - checked.0) / MINUTE, "minute", "minutes");
            format!("the last check of this person lies {minutes} back")
        },
    );
    let one = Found {
        who: Who::Player(player),
        window: heard.spans.day,
        cause: Cause::Sum { told_from: 1 },
        measured: Measured { observed: 1, limit: 0, unit: Unit::Records },
        severity: Severity::Medium,
    };
    out.found(one, |count| {
        let limit = counted(params.check_minutes, "minute", "minutes");
        let records = counted(count, "such record", "such records");
        Details::of(vec![format!("{ago}, and it has to lie within {limit}; {records} on the day")])
    });
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};

    #[test]
    fn whoever_comes_in_is_asked_about_first() {
        let anna = &["player anna: 1 records"][..];
        check(
            "play_without_check",
            "{}",
            &[
                ("a login, and nobody asked", Story::at(60).login("anna"), anna),
                ("a login, asked a minute before", Story::at(60).asked("anna", 59).login("anna"), &[]),
                ("asked fifteen minutes before", Story::at(60).asked("anna", 45).login("anna"), &[]),
                ("asked sixteen minutes before", Story::at(60).asked("anna", 44).login("anna"), anna),
                ("asked about somebody else", Story::at(60).asked("ben", 59).login("anna"), anna),
                (
                    "bets behind a login that was checked",
                    Story::at(60).asked("anna", 59).login("anna").after(minutes(300)).stake("anna", 5),
                    &[],
                ),
                (
                    "a session that belongs to an unchecked login is no second one",
                    Story::at(60).login("anna").after(minutes(1)).session("anna"),
                    anna,
                ),
                (
                    "a bet without a login, whose login may still come from another source",
                    Story::at(60).stake("anna", 5),
                    &[],
                ),
                (
                    "an operator of whom no login ever came in a day",
                    Story::at(60).stake("#1", 5).after(minutes(1_440)).stake("anna", 5),
                    anna,
                ),
                (
                    "and the bets behind it are the same visit",
                    Story::at(60)
                        .stake("#1", 5)
                        .after(minutes(1_440))
                        .stake("anna", 5)
                        .after(minutes(30))
                        .stake("anna", 5),
                    anna,
                ),
                (
                    "such a bet, but asked",
                    Story::at(60).asked("anna", 1_499).stake("#1", 5).after(minutes(1_440)).stake("anna", 5),
                    &[],
                ),
                (
                    "an operator that sends logins, and a bet without one",
                    Story::at(60).login("#1").stake("#1", 5).after(minutes(1_440)).stake("anna", 5),
                    &[],
                ),
                ("within a gap of the evidence nobody can say", Story::at(60).gap(50, 55).login("anna"), &[]),
                ("a gap that was over before", Story::at(60).gap(30, 45).login("anna"), anna),
                ("a player whom the register cannot know", Story::at(60).login("#4711"), &[]),
                ("a login that failed", Story::at(60).failed_login("anna"), &[]),
                ("a bet over the counter without a player", Story::at(60).anonymous_ticket(5), &[]),
            ],
        );
    }

    #[test]
    fn where_nobody_is_asked_about_the_operator_is_named_once() {
        let mut story = Story::at(60);
        for n in 0..7 {
            story = story.login(&format!("player {n}"));
        }
        let found = story.run("play_without_check", r#"{"named_max": 5}"#);
        let operators: Vec<_> =
            found.iter().filter(|f| matches!(f.who, crate::rules::finding::Who::Operator)).collect();
        assert_eq!((found.len(), operators.len(), operators[0].measured.observed), (6, 1, 6));
        assert_eq!(operators[0].records.len(), 6, "each of them is named in the evidence");
    }
}
