//! Several people are paid out to one payment account by several operators, each of which sees too few to ask.
//!
//! `shared_payout_account` counts the accounts of one operator; this rule counts people over operators, and is silent where at any
//! of them alone they are more than `people_max`: its own rule has found the number. Both have the same limits at first; whoever
//! changes one of the two changes both. Somebody who plays at many operators and is paid to their own number everywhere is one
//! person. Two operators are held together only where people are known by the same digest at both: one names people by phone,
//! another by document, and one person would count as two. A number is the same where two operators write it alike; written
//! otherwise it is another one, and a ring is missed rather than made up.

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
    name: "shared_payout_account_across_operators",
    home: Home::Nation,
    severity: Severity::High,
    what: "withdrawals of several people at several operators go to one payout number, and at none of them of more than a household",
    takes_back: "nothing: they were paid out there; a withdrawal that is cancelled was still sent there by its account",
    hears: &[Trigger::Withdrawal],
};

params! {
    /// People paid out to one number that are not yet looked at, at an operator and over all of them.
    people_max: i64 = 2, "people", 1..=15, "no law: two people of a household share a wallet";
    /// Days within which they are counted.
    span_days: i64 = 30, "days", 1..=366, "no law: numbers are recycled (FACTS, identity)";
    /// People whom two operators name alike, from which on what both say of a number is held together.
    alike_min: i64 = 3, "people", 1..=1_000, "no law: one or two may be slips of an operator that names people otherwise";
}

pub(super) fn judge(params: &Params, heard: &NationHeard<'_>, out: &mut Out<'_>) {
    let Some((account, ring)) = heard.account else { return };
    let Params { people_max, span_days, alike_min } = *params;
    let spread = Spread {
        who: Who::Account(account),
        people_max,
        span_days,
        bond: Bond::Alike(heard.alike, alike_min),
        severities: [Severity::Medium, Severity::High],
        words: "were paid out to one number",
    };
    spread.judge(ring, (heard.operator, heard.at), out);
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};

    /// These people pay in at each of these operators; then money goes out to the wallet.
    fn regulars(operators: &[u16], people: &[&str]) -> Story {
        let mut story = Story::at(60);
        for no in operators {
            story = people.iter().fold(story.at_operator(*no), |story, who| story.deposit(who, 5));
        }
        story.account("wallet").at_operator(1)
    }

    #[test]
    fn a_payout_number_is_a_household_over_all_operators() {
        let known = || regulars(&[1, 2, 3], &["xena", "yves", "zoe"]);
        let couple = || known().withdraw("anna", 5).withdraw("ben", 5);
        check(
            "shared_payout_account_across_operators",
            "{}",
            &[
                (
                    "a couple here, a third there",
                    couple().at_operator(2).withdraw("carl", 5),
                    &["account wallet: 3 players"],
                ),
                (
                    "one at each of three",
                    known().withdraw("anna", 5).at_operator(2).withdraw("ben", 5).at_operator(3).withdraw("carl", 5),
                    &["account wallet: 3 players"],
                ),
                (
                    "the third was reported late",
                    couple().at_operator(2).before(minutes(600)).withdraw("carl", 5),
                    &["account wallet: 3 players"],
                ),
                (
                    "one person at three operators, paid to their own number",
                    known().withdraw("anna", 5).at_operator(2).withdraw("anna", 5).at_operator(3).withdraw("anna", 5),
                    &[],
                ),
                ("a couple at both", couple().at_operator(2).withdraw("anna", 5).withdraw("ben", 5), &[]),
                (
                    "three at one operator: its own rule says so",
                    couple().withdraw("carl", 5).at_operator(2).withdraw("dora", 5),
                    &[],
                ),
                (
                    "a bank's number, which everybody has",
                    couple()
                        .withdraw("carl", 5)
                        .at_operator(2)
                        .withdraw("dora", 5)
                        .withdraw("emil", 5)
                        .at_operator(3)
                        .withdraw("fay", 5),
                    &[],
                ),
                ("the third has an operator's own account number", couple().at_operator(2).withdraw("#7", 5), &[]),
                ("the third only pays in from there", couple().at_operator(2).deposit("carl", 5), &[]),
                ("the third one's failed", couple().at_operator(2).failed_withdrawal("carl", 5), &[]),
                ("the third a month later", couple().at_operator(2).after(minutes(43_300)).withdraw("carl", 5), &[]),
                ("nobody says where it went", couple().at_operator(2).account("").withdraw("carl", 5), &[]),
                (
                    "two who are known at both may be slips",
                    regulars(&[1, 2], &["xena", "yves"])
                        .withdraw("anna", 5)
                        .withdraw("ben", 5)
                        .at_operator(2)
                        .withdraw("carl", 5),
                    &[],
                ),
                (
                    "a couple whom one names by phone and the other by document",
                    Story::at(60)
                        .account("wallet")
                        .withdraw("anna's phone", 5)
                        .withdraw("ben's phone", 5)
                        .at_operator(2)
                        .withdraw("anna's document", 5)
                        .withdraw("ben's document", 5),
                    &[],
                ),
            ],
        );
    }
}
