//! Many accounts on one device.

use crate::rules::crowd::Crowded;
use crate::rules::finding::Who;
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::run::Heard;
use crate::rules::standing::Out;
use models::alert::Severity;

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
    let Params { accounts_max, span_days } = *params;
    let severities = [Severity::Low, Severity::Medium];
    let crowded = Crowded { who: Who::Device(device), accounts_max, span_days, severities, words: "on one device" };
    crowded.judge(crowd, heard.at, out);
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
