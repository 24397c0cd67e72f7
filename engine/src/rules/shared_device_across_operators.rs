//! Several people play on one device, spread over operators, each of which sees too few to ask.
//!
//! `shared_device` counts the accounts of one operator; this rule counts people over operators, and is silent where at any of them
//! alone they are more than the live version of `shared_device` lets pass: it has found the device. Nobody has to keep the two
//! in step. Where no version of it is live, this rule speaks of those, too, once they are at a second operator.
//!
//! An id of a device may be an operator's own number for it, and equal numbers of two operators are no device. So what operators
//! say of an id is held together only where somebody was on it at both: a ring whose members each play at one operator alone is
//! not found. Nor are two names two people where one operator names them by phone and another by document: any two of them must
//! name `alike_min` people alike, those who play or move money at both. Where operators become known to do so only later, a ring
//! is found when somebody is next heard of on its device.

use crate::rules::finding::Who;
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::nation::NationHeard;
use crate::rules::params::params;
use crate::rules::rings::{Alone, Bond, Spread};
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
    /// People on a device that are not yet looked at, over all operators.
    people_max: i64 = 2, "people", 2..=15, "no law: two people of a household share a phone";
    /// Days within which they are counted.
    span_days: i64 = 30, "days", 1..=366, "no law: a device that is sold is another one's";
    /// People whom two operators name alike, from which on what both say of a device is held together.
    alike_min: i64 = 3, "people", 1..=100, "no law: one or two may be slips of an operator that names people otherwise";
}

pub(super) fn judge(params: &Params, heard: &NationHeard<'_>, out: &mut Out<'_>) {
    let Some((device, ring)) = heard.device else { return };
    let Params { people_max, span_days, alike_min } = *params;
    let who = Who::Device(device);
    let spread = Spread {
        who,
        people_max,
        span_days,
        alone: Alone::live(who, heard),
        bond: Bond { alike: heard.alike, alike_min, is_met: true },
        severities: [Severity::Low, Severity::Medium],
        words: "were on one device",
    };
    spread.judge(ring, (heard.operator, heard.at), out);
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};

    /// These people pay in at each of these operators; then somebody takes the phone.
    fn regulars(operators: &[u16], people: &[&str]) -> Story {
        let mut story = Story::at(60);
        for no in operators {
            story = people.iter().fold(story.at_operator(*no), |story, who| story.deposit(who, 5));
        }
        story.on_device("phone").at_operator(1)
    }

    /// A couple plays at two operators: the names of both for one of them are alike, as those for some regulars.
    fn couple_by_other_names(alike: &[&str]) -> Story {
        let here = regulars(&[1, 2], alike).login("anna").login("ben's phone");
        here.at_operator(2).login("anna").login("ben's document")
    }

    #[test]
    fn a_device_is_a_household_over_all_operators() {
        let phone = || regulars(&[1, 2, 3], &["xena", "yves", "zoe"]);
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
                (
                    "the third at an operator that names nobody as the others do",
                    couple().at_operator(4).login("anna").login("carl"),
                    &[],
                ),
                (
                    "a couple, one of whom has a name alike at both, and the other one by phone and one by document",
                    couple_by_other_names(&[]),
                    &[],
                ),
                ("and two more whom both name alike, by a slip", couple_by_other_names(&["xena", "yves"]), &[]),
                (
                    "three people whom both name alike, two of them at each",
                    regulars(&[1, 2], &["xena", "yves", "zoe"])
                        .login("anna")
                        .login("ben")
                        .at_operator(2)
                        .login("ben")
                        .login("carl"),
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
