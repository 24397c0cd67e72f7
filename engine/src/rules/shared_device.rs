//! Many accounts on one device.

use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::{Severity, Window};
use models::ts::DAY;

/// What it is.
pub const ABOUT: About = About {
    name: "shared_device",
    home: Home::Operator,
    severity: Severity::Medium,
    what: "more accounts than a household has play on one device; terminals of shops do not count",
    takes_back: "nothing: they were there",
    hears: &[
        Trigger::Entry,
        Trigger::Bet,
        Trigger::Settled,
        Trigger::Deposit,
        Trigger::Withdrawal,
        Trigger::Offer,
        Trigger::Intervention,
        Trigger::Other,
    ],
};

params! {
    /// Accounts on a device that are not yet looked at.
    accounts_max: i64 = 2, "accounts", 1..=15, "no law: two people of a household share a phone";
    /// Days within which they are counted.
    span_days: i64 = 30, "days", 1..=366, "no law: a device that is sold is another one's";
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let Some((device, crowd)) = heard.device else { return };
    let span = params.span_days * DAY;
    let users: Vec<_> = crowd.within(heard.at.plus(-span), heard.at.plus(span)).collect();
    if users.len() as i64 <= params.accounts_max {
        return;
    }
    let first = users.iter().map(|(_, at, _)| *at).min().unwrap_or(heard.at);
    let found = Found {
        who: Who::Device(device),
        window: Window { start: first, end: first.plus(span) },
        cause: Cause::Overlap,
        measured: Measured { observed: users.len() as i64, limit: params.accounts_max, unit: Unit::Accounts },
        severity: if users.len() as i64 > 2 * params.accounts_max { Severity::Medium } else { Severity::Low },
    };
    out.found(found, |count| {
        let reason = format!("{count} accounts on one device within {} days", params.span_days);
        Details::of(vec![reason]).with(users.iter().map(|(_, _, id)| &**id))
    });
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};

    #[test]
    fn a_device_is_a_household_at_most() {
        let days = |n: i64| minutes(n * 1_440);
        check(
            "shared_device",
            "{}",
            &[
                ("a couple", Story::at(60).on_device("phone").login("anna").login("ben").login("anna"), &[]),
                (
                    "and a third",
                    Story::at(60).on_device("phone").login("anna").login("ben").login("carl"),
                    &["device phone: 3 accounts"],
                ),
                (
                    "over a month, but not three within one",
                    Story::at(60)
                        .on_device("phone")
                        .login("anna")
                        .after(days(20))
                        .login("ben")
                        .after(days(20))
                        .login("carl"),
                    &[],
                ),
                (
                    "three on three devices",
                    Story::at(60).on_device("a").login("anna").on_device("b").login("ben").on_device("c").login("carl"),
                    &[],
                ),
                (
                    "the terminal of a shop",
                    Story::at(60).on_device("till").retail().ticket("anna", 5).ticket("ben", 5).ticket("carl", 5),
                    &[],
                ),
                (
                    "a login that failed was nobody",
                    Story::at(60).on_device("phone").login("anna").login("ben").failed_login("carl"),
                    &[],
                ),
                (
                    "seen by bets as well as by logins",
                    Story::at(60).on_device("phone").stake("anna", 5).deposit("ben", 5).login("carl"),
                    &["device phone: 3 accounts"],
                ),
            ],
        );
    }
}
