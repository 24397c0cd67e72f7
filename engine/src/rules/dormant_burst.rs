//! An account that slept for long comes back with a lot of money at once.

use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::{Severity, Window};
use models::money::Currency;
use models::ts::{DAY, HOUR};
use models::words::counted;

/// What it is.
pub const ABOUT: About = About {
    name: "dormant_burst",
    home: Home::Operator,
    severity: Severity::Medium,
    what: "after a long pause an account pays in or stakes a lot within a short time",
    takes_back: "nothing; late play of the pause is not known to end it",
    hears: &[Trigger::Deposit, Trigger::Bet],
};

params! {
    /// Currency of the amount.
    currency: Currency = Currency::KES, "", 0..=0, "the jurisdiction's";
    /// Days without play.
    dormant_days: i64 = 90, "days", 30..=3_650, "no law: a quarter";
    /// Hours behind the return in which money counts.
    burst_hours: i64 = 24, "hours", 1..=720, "no law: transactions of a day are looked at together";
    /// What is paid in or staked in them, whichever is more.
    amount_min_minor: i64 = 10_000_000, "minor units", 1..=10_000_000_000_000, "no law: 100,000 shillings";
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let Some((key, player)) = heard.player_in(params.currency) else { return };
    let Some(woke) = player.woke else { return };
    let slept = woke.at.0 - woke.slept_since.0;
    let end = woke.at.plus(params.burst_hours * HOUR);
    if slept < params.dormant_days * DAY || heard.at < woke.at || heard.at >= end {
        return;
    }
    let moved = woke.flow.deposits_minor.max(woke.flow.stakes_minor);
    if moved < params.amount_min_minor {
        return;
    }
    let found = Found {
        who: Who::Player(key),
        window: Window { start: woke.at, end },
        cause: Cause::Window,
        measured: Measured { observed: moved, limit: params.amount_min_minor, unit: Unit::MinorUnits },
        severity: Severity::Medium,
    };
    out.found(found, |_| {
        let (days, hours) = (slept / DAY, (heard.at.0 - woke.at.0) / HOUR);
        let (days, hours) = (counted(days, "day", "days"), counted(hours + 1, "hour", "hours"));
        let reason = format!("nothing for {days}, and then this much within {hours}");
        let moves = player.moves_within(Window { start: woke.at, end }, true).map(|m| &*m.id);
        let this = heard.record.filter(|_| heard.trigger == Trigger::Bet).map(|record| record.record_id.as_str());
        Details::of(vec![reason]).with(moves.chain(this))
    });
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};

    #[test]
    fn who_slept_and_comes_back_with_a_lot() {
        let days = |n: i64| minutes(n * 1_440);
        let slept = |n: i64| Story::at(60).stake("anna", 100).after(days(n));
        check(
            "dormant_burst",
            "{}",
            &[
                (
                    "a hundred days, then 100,000 paid in",
                    slept(100).deposit("anna", 10_000_000),
                    &["player anna: 10000000 minor_units"],
                ),
                (
                    "in several parts of one day",
                    slept(100).deposit("anna", 4_000_000).deposit("anna", 4_000_000).deposit("anna", 4_000_000),
                    &["player anna: 12000000 minor_units"],
                ),
                ("staked, not paid in", slept(100).stake("anna", 12_000_000), &["player anna: 12000000 minor_units"]),
                ("eighty-nine days", slept(89).deposit("anna", 10_000_000), &[]),
                ("a cent less", slept(100).deposit("anna", 9_999_999), &[]),
                (
                    "slowly: the rest two days later",
                    slept(100).deposit("anna", 6_000_000).after(days(2)).deposit("anna", 6_000_000),
                    &[],
                ),
                ("a new player with a lot", Story::at(60).deposit("anna", 10_000_000), &[]),
                (
                    "somebody who only looked in meanwhile slept",
                    Story::at(60)
                        .stake("anna", 100)
                        .after(days(60))
                        .login("anna")
                        .after(days(60))
                        .deposit("anna", 10_000_000),
                    &["player anna: 10000000 minor_units"],
                ),
                (
                    "somebody who played a little meanwhile did not",
                    Story::at(60)
                        .stake("anna", 100)
                        .after(days(60))
                        .stake("anna", 100)
                        .after(days(60))
                        .deposit("anna", 10_000_000),
                    &[],
                ),
            ],
        );
    }
}
