//! Several people play on one device, spread over operators, each of which sees too few to ask.
//!
//! `shared_device` counts the accounts of one operator; this rule counts people over operators, and is silent where at any of them
//! alone they are more than `people_max`: its own rule has found the device. Both have the same limits at first; whoever changes
//! one of the two changes both. An id of a device may be an operator's own number for it, and equal numbers of two operators are
//! no device. So what two operators say of an id is held together only where somebody was on it at both: a ring whose members
//! each play at one operator alone is not found.

use crate::rules::finding::Who;
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::nation::NationHeard;
use crate::rules::params::params;
use crate::rules::rings::{Bond, Spread};
use crate::rules::standing::Out;
use models::alert::Severity;

/// What it is.
pub const ABOUT: About = About {
    name: "shared_device_across_operators",
    home: Home::Nation,
    severity: Severity::Medium,
    what: "more people than a household has play on one device at several operators, and at none of them alone; terminals of shops do not count",
    takes_back: "nothing: they were there",
    hears: &[Trigger::Entry, Trigger::Bet, Trigger::Deposit, Trigger::Withdrawal],
};

params! {
    /// People on a device that are not yet looked at, at an operator and over all of them.
    people_max: i64 = 2, "people", 2..=15, "no law: two people of a household share a phone";
    /// Days within which they are counted.
    span_days: i64 = 30, "days", 1..=366, "no law: a device that is sold is another one's";
}

pub(super) fn judge(params: &Params, heard: &NationHeard<'_>, out: &mut Out<'_>) {
    let Some((device, ring)) = heard.device else { return };
    let Params { people_max, span_days } = *params;
    let spread = Spread {
        who: Who::Device(device),
        people_max,
        span_days,
        bond: Bond::Guest,
        severities: [Severity::Low, Severity::Medium],
        words: "were on one device",
    };
    spread.judge(ring, (heard.operator, heard.at), out);
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};

    #[test]
    fn a_device_is_a_household_over_all_operators() {
        let phone = || Story::at(60).on_device("phone");
        let couple = || phone().login("anna").login("ben");
        check(
            "shared_device_across_operators",
            "{}",
            &[
                (
                    "a couple here, one of them and a third there",
                    couple().at_operator(2).login("anna").login("carl"),
                    &["device phone: 3 players"],
                ),
                (
                    "the third there before them",
                    couple().at_operator(2).login("carl").login("anna"),
                    &["device phone: 3 players"],
                ),
                (
                    "over three operators",
                    couple().at_operator(2).login("ben").at_operator(3).login("ben").login("carl"),
                    &["device phone: 3 players"],
                ),
                (
                    "seen by bets and money as well as by logins",
                    phone().stake("anna", 5).deposit("ben", 5).at_operator(2).withdraw("anna", 5).ticket("carl", 5),
                    &["device phone: 3 players"],
                ),
                (
                    "the third was reported late",
                    couple().at_operator(2).login("anna").before(minutes(600)).login("carl"),
                    &["device phone: 3 players"],
                ),
                ("a couple at both", couple().at_operator(2).login("anna").login("ben"), &[]),
                ("two operators give two phones the same number", couple().at_operator(2).login("carl"), &[]),
                (
                    "three at one operator: its own rule says so",
                    couple().login("carl").at_operator(2).login("anna"),
                    &[],
                ),
                (
                    "the third has an operator's own account number",
                    couple().at_operator(2).login("anna").login("#7"),
                    &[],
                ),
                ("the third could not log in", couple().at_operator(2).login("anna").failed_login("carl"), &[]),
                (
                    "the third a month later",
                    couple().at_operator(2).login("anna").after(minutes(43_300)).login("carl"),
                    &[],
                ),
                (
                    "a terminal of a shop that sells for both",
                    phone()
                        .retail()
                        .ticket("anna", 5)
                        .ticket("ben", 5)
                        .at_operator(2)
                        .ticket("anna", 5)
                        .ticket("carl", 5),
                    &[],
                ),
            ],
        );
    }
}
