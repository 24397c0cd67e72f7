//! More is taken than the player's own limit allows.
//!
//! Types of limits are read by their words: deposit, loss, stake; day, week, month. A limit binds what comes after it
//! was set. Days, weeks and months are the jurisdiction's.

use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::player::{Limits, OwnLimit, Span};
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::Severity;
use models::money::Currency;

/// What it is.
pub const ABOUT: About = About {
    name: "limit_exceeded",
    home: Home::Operator,
    severity: Severity::High,
    what: "deposits, losses or stakes of a day, week or month pass the limit that the player set",
    takes_back: "a record that replaces a deposit, where the limit is kept without it; winnings afterwards undo no loss that was allowed",
    hears: &[Trigger::Deposit, Trigger::Bet, Trigger::Undone],
};

params! {
    /// Part of the limit beyond it that is not looked at.
    tolerance_percent: i64 = 0, "per cent", 0..=100, "a limit is a limit";
}

fn is_exceeded(params: &Params, limit: &OwnLimit, sum: i64) -> bool {
    i128::from(sum) * 100 > i128::from(limit.amount_minor) * i128::from(100 + params.tolerance_percent)
}

/// Which limit: each of them is a finding of its own.
fn matter(limit: &OwnLimit, currency: Currency) -> u64 {
    u64::from(currency.bits()) << 8 | (limit.limits as u64) << 4 | limit.span as u64
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let (Some((key, player)), Some(record)) = (heard.player, heard.record) else { return };
    if heard.trigger == Trigger::Undone && heard.undone.is_some_and(|undone| !undone.is_deposit) {
        return;
    }
    for limit in &player.limits {
        let is_mine = match heard.trigger {
            Trigger::Bet => limit.limits != Limits::Deposits,
            _ => limit.limits == Limits::Deposits,
        };
        if !is_mine || heard.at < limit.since {
            continue;
        }
        let window = limit.span.of(&heard.spans);
        if heard.trigger == Trigger::Undone && player.period(limit.span, window.start).is_none() {
            // too long ago to be added up anew
            continue;
        }
        let sum = player.against(limit, &heard.spans);
        let measured = Measured { observed: sum, limit: limit.amount_minor, unit: Unit::MinorUnits };
        let who = Who::Player(key);
        let mut out = out.matter(matter(limit, record.currency));
        if !is_exceeded(params, limit, sum) {
            if heard.trigger == Trigger::Undone {
                out.cleared(who, window.start, measured, "a deposit was taken back, and the limit is kept");
            }
            continue;
        }
        let found = Found { who, window, cause: Cause::Window, measured, severity: Severity::High };
        out.found(found, |_| {
            let what = match limit.limits {
                Limits::Deposits => "deposits",
                Limits::Losses => "losses",
                Limits::Stakes => "stakes",
            };
            let span = match limit.span {
                Span::Day => "day",
                Span::Week => "week",
                Span::Month => "month",
            };
            let percent = i128::from(sum) * 100 / i128::from(limit.amount_minor.max(1));
            Details::of(vec![format!("{what} of the {span} reached {percent} % of the player's own limit")])
                .with([record.record_id.as_str()])
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};

    #[test]
    fn a_limit_is_kept() {
        let day = |amount| Story::at(60).limit("anna", "deposit_day", Some(amount));
        let tomorrow = minutes(1_440);
        check(
            "limit_exceeded",
            "{}",
            &[
                (
                    "a deposit above the daily limit",
                    day(1_000).deposit("anna", 1_001),
                    &["player anna: 1001 minor_units"],
                ),
                ("the limit to the cent", day(1_000).deposit("anna", 400).deposit("anna", 600), &[]),
                (
                    "together above it",
                    day(1_000).deposit("anna", 600).deposit("anna", 600),
                    &["player anna: 1200 minor_units"],
                ),
                ("the rest tomorrow", day(1_000).deposit("anna", 600).after(tomorrow).deposit("anna", 600), &[]),
                (
                    "the same in a weekly limit",
                    Story::at(60)
                        .limit("anna", "deposit_weekly", Some(1_000))
                        .deposit("anna", 600)
                        .after(tomorrow)
                        .deposit("anna", 600),
                    &["player anna: 1200 minor_units"],
                ),
                (
                    "what was paid in before the limit is not held against it",
                    Story::at(60).deposit("anna", 5_000).limit("anna", "deposit_day", Some(1_000)).deposit("anna", 900),
                    &[],
                ),
                ("raised in time", day(1_000).limit("anna", "deposit_day", Some(5_000)).deposit("anna", 4_000), &[]),
                ("taken away", day(1_000).limit("anna", "deposit_day", None).deposit("anna", 4_000), &[]),
                (
                    "lowered",
                    day(5_000).limit("anna", "deposit_day", Some(1_000)).deposit("anna", 4_000),
                    &["player anna: 4000 minor_units"],
                ),
                ("a deposit that failed", day(1_000).failed_deposit("anna", 4_000), &[]),
                ("a deposit that was taken back", day(1_000).deposit("anna", 4_000).take_back("anna", 2), &[]),
                (
                    "on the next day",
                    day(1_000).deposit("anna", 4_000).after(tomorrow).deposit("anna", 100).take_back("anna", 2),
                    &[],
                ),
                (
                    "on the day after that, when nobody knows its day any more",
                    day(1_000)
                        .deposit("anna", 4_000)
                        .after(tomorrow)
                        .deposit("anna", 100)
                        .after(tomorrow)
                        .deposit("anna", 100)
                        .take_back("anna", 2),
                    &["player anna: 4000 minor_units"],
                ),
                (
                    "one of two of the day before, and the other one is too much by itself",
                    day(1_000).deposit("anna", 100).deposit("anna", 4_000).after(tomorrow).take_back("anna", 2),
                    &["player anna: 4000 minor_units"],
                ),
                (
                    "losses: staked 900, won 500, staked 700",
                    Story::at(60)
                        .limit("anna", "loss-daily", Some(1_000))
                        .stake("anna", 900)
                        .payout("anna", 500)
                        .stake("anna", 700),
                    &["player anna: 1100 minor_units"],
                ),
                (
                    "won back in between",
                    Story::at(60)
                        .limit("anna", "loss-daily", Some(1_000))
                        .stake("anna", 900)
                        .payout("anna", 900)
                        .stake("anna", 700),
                    &[],
                ),
                (
                    "a limit of deposits and one of stakes on the same day",
                    day(1_000).limit("anna", "stake_day", Some(500)).deposit("anna", 1_200).stake("anna", 600),
                    &["player anna: 1200 minor_units", "player anna: 600 minor_units"],
                ),
                (
                    "a deposit that was taken back is no stake that was",
                    day(1_000)
                        .limit("anna", "stake_day", Some(500))
                        .deposit("anna", 900)
                        .stake("anna", 600)
                        .take_back("anna", 3),
                    &["player anna: 600 minor_units"],
                ),
                (
                    "nor is a withdrawal",
                    day(1_000)
                        .deposit("anna", 1_200)
                        .withdraw("anna", 100)
                        .limit("anna", "deposit_day", Some(5_000))
                        .take_back("anna", 3),
                    &["player anna: 1200 minor_units"],
                ),
                (
                    "one of the day and one of the week, on a Monday",
                    day(1_000).limit("anna", "deposit_weekly", Some(1_500)).deposit("anna", 1_600),
                    &["player anna: 1600 minor_units", "player anna: 1600 minor_units"],
                ),
                (
                    "the day's is kept again, the week's is not",
                    Story::at(60)
                        .deposit("anna", 700)
                        .limit("anna", "deposit_weekly", Some(600))
                        .limit("anna", "deposit_day", Some(1_000))
                        .deposit("anna", 700)
                        .deposit("anna", 700)
                        .take_back("anna", 5),
                    &["player anna: 1400 minor_units"],
                ),
                (
                    "in two currencies",
                    day(1_000)
                        .deposit("anna", 1_200)
                        .in_currency("EUR")
                        .limit("anna", "deposit_day", Some(100))
                        .deposit("anna", 150),
                    &["player anna: 1200 minor_units", "player anna: 150 minor_units"],
                ),
                ("somebody else's limit", day(1_000).deposit("ben", 4_000), &[]),
                (
                    "a kind of limit that nobody knows",
                    Story::at(60).limit("anna", "session_minutes", Some(10)).deposit("anna", 4_000),
                    &[],
                ),
            ],
        );
    }
}
