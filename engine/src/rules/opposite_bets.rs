//! Two accounts cover opposite outcomes of the same events, again and again: nobody wins but the one who moves money.
//!
//! A record says on what it is by `game.id` and, as free data, `extra.selection` and `extra.market`; without a game and
//! a selection the rule is silent. Bets of several parts do not count. Odds (`bet.odds`), where both have them, must
//! cover about everything that can happen: two outcomes of twenty are not opposite.
//!
//! There is no such rule across operators. Game, market and selection are each operator's own words for an event: the same
//! match has another id at every operator, and the same short id stands for another match. Stakes, odds and times alone fit
//! thousands of strangers on a busy evening. It would take ids of events that all operators share, which no feed has.

use crate::rules::crowd::{MEET_DIFFERENCE_PERMILLE_MAX, Meet};
use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::{Severity, Window};
use models::money::Currency;
use models::ts::{DAY, MINUTE};

/// What it is.
pub const ABOUT: About = About {
    name: "opposite_bets",
    home: Home::Operator,
    severity: Severity::High,
    what: "two accounts stake about the same on opposite outcomes of the same events, repeatedly, or once where nobody else bets on it",
    takes_back: "nothing: bets stand; a bet that is voided was placed",
    hears: &[Trigger::Bet],
};

params! {
    /// Currency of the stakes.
    currency: Currency = Currency::KES, "", 0..=0, "the jurisdiction's";
    /// Events on which the two bet against each other.
    meets_min: i64 = 2, "events", 2..=8, "no law: once happens to strangers on a busy event";
    /// Days within which they lie.
    span_days: i64 = 30, "days", 1..=366, "no law: a month";
    /// Minutes between the two bets.
    apart_minutes: i64 = 10, "minutes", 1..=60, "no law: odds move, and who covers does it at once";
    /// How far the stakes may differ, of the larger one.
    difference_percent: i64 = 15, "per cent", 1..=25, "no law: stakes are made to match the odds";
    /// What the odds of both cover at least: 100 is every outcome at fair odds.
    cover_percent: i64 = 90, "per cent", 50..=100, "arithmetic: the inverse odds of all outcomes add up to 100 or more";
    /// A single event is enough where nobody else had bet on it and each stakes at least this; 0 = never.
    alone_min_minor: i64 = 1_000_000, "minor units", 0..=10_000_000_000_000, "no law: 10,000 shillings";
}

fn fits(params: &Params, meet: &Meet) -> bool {
    meet.apart <= params.apart_minutes * MINUTE
        && meet.difference_permille <= (10 * params.difference_percent).min(MEET_DIFFERENCE_PERMILLE_MAX)
        && (meet.cover_permille == 0 || meet.cover_permille >= 10 * params.cover_percent)
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let Some(pair) = heard.pair.filter(|_| heard.record.is_some_and(|r| r.currency == params.currency)) else { return };
    let span = params.span_days * DAY;
    let recent = |meet: &&Meet| (heard.at.0 - meet.at.0).abs() <= span && fits(params, meet);
    let meets: Vec<&Meet> = pair.meets.iter().filter(recent).collect();
    let is_alone =
        |meet: &&Meet| params.alone_min_minor > 0 && meet.is_alone && meet.stake_minor >= params.alone_min_minor;
    let is_repeated = meets.len() as i64 >= params.meets_min;
    if !is_repeated && !meets.iter().any(is_alone) {
        return;
    }
    let first = meets.iter().map(|meet| meet.at).min().unwrap_or(heard.at);
    let found = Found {
        who: Who::Players(pair.players.0, pair.players.1),
        window: Window { start: first, end: first.plus(span) },
        cause: Cause::Overlap,
        measured: Measured { observed: meets.len() as i64, limit: params.meets_min, unit: Unit::Pairs },
        severity: match meets.len() as i64 {
            count if count >= 2 * params.meets_min => Severity::High,
            count if count >= params.meets_min => Severity::Medium,
            _ => Severity::Low,
        },
    };
    out.found(found, |count| {
        let events = if count == 1 { "event" } else { "events" };
        let mut reasons =
            vec![format!("about the same stakes on opposite outcomes of {count} {events}, minutes apart")];
        if meets.iter().any(|meet| meet.is_alone) {
            reasons.push("nobody else had bet on it".to_owned());
        }
        Details::of(reasons).with(meets.iter().rev().flat_map(|meet| meet.ids.iter().map(|id| &**id)))
    });
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};

    /// Two bets on a game, minutes apart.
    fn game(story: Story, game: &str, one: i64, other: i64, apart: i64) -> Story {
        story
            .outcome(game, "home", 190)
            .stake("anna", one)
            .after(minutes(apart))
            .outcome(game, "away", 200)
            .stake("ben", other)
    }

    #[test]
    fn two_who_cover_every_outcome() {
        let busy = |story: Story, name: &str| story.outcome(name, "home", 190).stake("zoe", 10);
        let twice = |one, other, apart| {
            let first = game(busy(Story::at(60), "a"), "a", one, other, apart);
            game(busy(first.after(minutes(600)), "b"), "b", one, other, apart)
        };
        check(
            "opposite_bets",
            "{}",
            &[
                ("the same on both sides of two matches", twice(50_000, 50_000, 2), &["players anna ben: 2 pairs"]),
                ("a little more on one side", twice(50_000, 43_000, 2), &["players anna ben: 2 pairs"]),
                ("much more on one side", twice(50_000, 40_000, 2), &[]),
                ("an hour later", twice(50_000, 50_000, 59), &[]),
                ("once, on a busy match", game(busy(Story::at(60), "a"), "a", 50_000, 50_000, 2), &[]),
                (
                    "once, with a lot, on a match that nobody else bets on",
                    game(Story::at(60), "a", 2_000_000, 2_000_000, 2),
                    &["players anna ben: 1 pairs"],
                ),
                ("once, with little, on such a match", game(Story::at(60), "a", 50_000, 50_000, 2), &[]),
                (
                    "the same side twice",
                    Story::at(60)
                        .outcome("a", "home", 190)
                        .stake("anna", 9)
                        .stake("ben", 9)
                        .outcome("b", "home", 190)
                        .stake("anna", 9)
                        .stake("ben", 9),
                    &[],
                ),
                (
                    "one who covers alone",
                    Story::at(60)
                        .outcome("a", "home", 190)
                        .stake("anna", 9)
                        .outcome("a", "away", 190)
                        .stake("anna", 9)
                        .outcome("b", "home", 190)
                        .stake("anna", 9)
                        .outcome("b", "away", 190)
                        .stake("anna", 9),
                    &[],
                ),
                (
                    "two outcomes of many: the odds cover little",
                    {
                        let race = |story: Story, name: &str| {
                            story
                                .outcome(name, "horse 1", 700)
                                .stake("anna", 50_000)
                                .outcome(name, "horse 2", 900)
                                .stake("ben", 50_000)
                        };
                        race(race(Story::at(60), "a"), "b")
                    },
                    &[],
                ),
                (
                    "the operator does not say on what outcome",
                    Story::at(60).stake("anna", 50_000).stake("ben", 50_000).stake("anna", 50_000).stake("ben", 50_000),
                    &[],
                ),
                (
                    "the same two on one match again",
                    game(game(busy(Story::at(60), "a"), "a", 50_000, 50_000, 2), "a", 50_000, 50_000, 2),
                    &[],
                ),
            ],
        );
    }
}
