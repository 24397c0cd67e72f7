//! Several people are paid out to one payment account by several operators, each of which sees too few to ask.
//!
//! `shared_payout_account` counts the accounts of one operator; this rule counts people over operators, and is silent where at any
//! of them alone they are more than the live version of `shared_payout_account` lets pass: it has found the number. Nobody has to
//! keep the two in step. Where no version of it is live, this rule speaks of those, too, once they are at a second operator.
//!
//! Somebody who plays at many operators and is paid to their own number everywhere is one person. Operators are held together only
//! where any two of them name `alike_min` people by the same digest: one names people by phone, another by document, and one
//! person would count as two. A number is the same where two operators write it alike; written otherwise it is another one, and a
//! ring is missed rather than made up.

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
    name: "shared_payout_account_across_operators",
    home: Home::Nation,
    severity: Severity::High,
    what: "withdrawals of several people at several operators go to one payout number, and at none of them of more than a household",
    takes_back: "nothing: they were paid out there; a withdrawal that is cancelled was still sent there by its account",
    hears: &[Trigger::Withdrawal],
};

params! {
    /// People paid out to one number that are not yet looked at, over all operators.
    people_max: i64 = 2, "people", 1..=15, "no law: two people of a household share a wallet";
    /// Days within which they are counted.
    span_days: i64 = 30, "days", 1..=366, "no law: numbers are recycled (FACTS, identity)";
    /// People whom two operators name alike, from which on what both say of a number is held together.
    alike_min: i64 = 3, "people", 1..=100, "no law: one or two may be slips of an operator that names people otherwise";
}

pub(super) fn judge(params: &Params, heard: &NationHeard<'_>, out: &mut Out<'_>) {
    let Some((account, ring)) = heard.account else { return };
    let Params { people_max, span_days, alike_min } = *params;
    let who = Who::Account(account);
    let spread = Spread {
        who,
        people_max,
        span_days,
        alone: Alone::live(who, heard),
        bond: Bond { alike: heard.alike, alike_min, is_met: false },
        severities: [Severity::Medium, Severity::High],
        words: "were paid out to one number",
    };
    spread.judge(ring, (heard.operator, heard.at), out);
}

#[cfg(test)]
mod tests {
    use crate::rules::finding::Mode;
    use crate::rules::nation::NationRules;
    use crate::rules::ruleset::{RuleSet, RuleVersion};
    use crate::rules::scenario::{Story, check, minutes};
    use jiff::tz::TimeZone;
    use models::jurisdiction::JurisdictionNo;
    use models::ts::Ts;

    /// These people pay in at each of these operators; then money goes out to the wallet.
    fn regulars(operators: &[u16], people: &[&str]) -> Story {
        let mut story = Story::at(60);
        for no in operators {
            story = people.iter().fold(story.at_operator(*no), |story, who| story.deposit(who, 5));
        }
        story.account("wallet").at_operator(1)
    }

    /// The second operator names some people as the first does, and others as the third does.
    fn two_kinds() -> Story {
        let people = ["xena", "yves", "zoe"];
        let mut story = regulars(&[1, 2], &people).account("");
        for no in [2, 3] {
            story = ["uma", "vera", "will"].iter().fold(story.at_operator(no), |story, who| story.deposit(who, 5));
        }
        story.account("wallet").at_operator(1)
    }

    /// How many people the rule speaks of, beside a version of the rule of one operator.
    fn said_beside(own: Option<(Mode, &str)>, story: &Story) -> Vec<i64> {
        let across = ("shared_payout_account_across_operators", Mode::Live, "{}");
        let own = own.map(|(mode, params)| ("shared_payout_account", mode, params));
        let rows = [Some(across), own].into_iter().flatten().map(|(rule, mode, params)| RuleVersion {
            rule: rule.to_owned(),
            version: 1,
            jurisdiction: "KE".to_owned(),
            effective_from: Ts(0),
            effective_to: None,
            mode,
            params: serde_json::from_str(params).unwrap(),
        });
        let set = RuleSet::new("KE", rows.collect()).unwrap();
        let mut rules = NationRules::new(JurisdictionNo(0), TimeZone::UTC, &set);
        let mut findings = Vec::new();
        story.inputs().for_each(|(operator, input)| rules.hear(operator, &input, &mut findings));
        findings.iter().map(|finding| finding.measured.observed).collect()
    }

    #[test]
    fn what_an_operator_finds_by_itself_its_own_rule_says() {
        let couple = || regulars(&[1, 2], &["xena", "yves", "zoe"]).withdraw("anna", 5).withdraw("ben", 5);
        let [three, two] =
            [couple().withdraw("carl", 5), couple()].map(|story| story.at_operator(2).withdraw("dora", 5));
        let (live, shadow) = (|params| Some((Mode::Live, params)), |params| Some((Mode::Shadow, params)));
        // the version of its own rule; three here and one there, two here and one there
        type Row<'a> = (Option<(Mode, &'a str)>, &'a [i64], &'a [i64]);
        let table: [Row<'_>; 5] = [
            (None, &[4], &[3]),
            (live("{}"), &[], &[3]),
            (live(r#"{"accounts_max": 3}"#), &[4], &[3]),
            (live(r#"{"accounts_max": 1}"#), &[], &[]),
            (shadow(r#"{"accounts_max": 3}"#), &[4], &[3]),
        ];
        for (own, of_three, of_two) in table {
            assert_eq!(said_beside(own, &three), of_three, "three and one beside {own:?}");
            assert_eq!(said_beside(own, &two), of_two, "two and one beside {own:?}");
        }
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
                (
                    "late, of somebody behind a crowd that is no part of the span: as if it had come in time",
                    couple()
                        .withdraw("carl", 5)
                        .after(minutes(40 * 1_440))
                        .at_operator(2)
                        .withdraw("dora", 5)
                        .withdraw("fay", 5)
                        .at_operator(1)
                        .before(minutes(15 * 1_440))
                        .withdraw("emil", 5),
                    &["account wallet: 3 players"],
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
                    "two who are known at both in two currencies are no more",
                    regulars(&[1, 2], &["xena", "yves"])
                        .in_currency("USD")
                        .deposit("xena", 5)
                        .deposit("yves", 5)
                        .at_operator(2)
                        .deposit("xena", 5)
                        .deposit("yves", 5)
                        .in_currency("KES")
                        .withdraw("carl", 5)
                        .at_operator(1)
                        .withdraw("anna", 5)
                        .withdraw("ben", 5),
                    &[],
                ),
                (
                    "two of the operators name people alike, and the third is like one of them only",
                    two_kinds()
                        .withdraw("anna", 5)
                        .at_operator(2)
                        .withdraw("ben", 5)
                        .at_operator(3)
                        .withdraw("carl", 5),
                    &[],
                ),
                (
                    "an operator that is like two others belongs with the one with more people, whatever its number",
                    two_kinds()
                        .withdraw("anna", 5)
                        .at_operator(3)
                        .withdraw("carl", 5)
                        .withdraw("dora", 5)
                        .at_operator(2)
                        .withdraw("ben", 5),
                    &["account wallet: 3 players"],
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
