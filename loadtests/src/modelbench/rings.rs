//! What the rules over all operators see of people who share something, by how they are spread: a curve, and no figure.
//!
//! The rings that count for the recall of `shared_payout_account_across_operators` and `shared_device_across_operators` are
//! those that can be found. Here are others beside them: just more than a couple, spread over weeks, at operators that have
//! few people in common or name them differently; and couples, of whom nothing should be said. Each is told alone, in the
//! operators of a market in which nobody else plays, to rules that have heard nothing before. Sizes and days are what people
//! do; they are nobody's parameters. A ring is seen where the rule over all operators raises a finding about its wallet or
//! phone; beside it stands whether the rule of one operator does.

use super::intake::{Intake, Known, number};
use super::planted;
use crate::report::say;
use crate::simulator::cases::rings::{Shape, Shared};
use crate::simulator::cases::{self, Said, Stories};
use crate::simulator::scenario::Scenario;
use crate::simulator::truth::About;
use anyhow::Context;
use engine::rules::finding::Who;
use engine::rules::input::Input;
use engine::rules::nation::NationRules;
use engine::rules::ruleset::RuleSet;
use engine::rules::run::OperatorRules;
use jiff::tz::TimeZone;
use models::jurisdiction::JurisdictionNo;
use models::ts::Ts;

/// Monday, 2 March 2026, 00:00 in Nairobi.
const BEGIN: Ts = Ts(1_772_398_800_000_000);
/// Days within which stories begin.
const DAYS: i64 = 13;

struct Plan {
    words: &'static str,
    shape: Shape,
    /// They are more than a household; of others nothing should be said.
    is_ring: bool,
}

const fn ring(words: &'static str, shape: Shape) -> Plan {
    Plan { words, shape, is_ring: true }
}

const fn couple(words: &'static str, shape: Shape) -> Plan {
    Plan { words, shape, is_ring: false }
}

/// So many people here and so many there are paid out to one wallet within a day.
const fn wallet(alone: &'static [usize]) -> Shape {
    Shape { shared: Shared::Wallet, everywhere: 0, alone, days: 1, regulars: 5, is_named_alike: true }
}

/// Somebody plays everywhere on a phone, and so many others here and there.
const fn phone(alone: &'static [usize]) -> Shape {
    Shape { shared: Shared::Phone, everywhere: 1, ..wallet(alone) }
}

static PLANS: [Plan; 25] = [
    ring("a wallet: two here, one there", wallet(&[2, 1])),
    ring("a wallet: one at each of three", wallet(&[1, 1, 1])),
    ring("a wallet: two at each of three", wallet(&[2, 2, 2])),
    ring("a wallet: three here, one there", wallet(&[3, 1])),
    ring("a wallet: two here, one there, over 10 days", Shape { days: 10, ..wallet(&[2, 1]) }),
    ring("a wallet: two here, one there, over 25 days", Shape { days: 25, ..wallet(&[2, 1]) }),
    ring("a wallet: two here, one there, over 45 days", Shape { days: 45, ..wallet(&[2, 1]) }),
    ring("a wallet: two at each of three, over 45 days", Shape { days: 45, ..wallet(&[2, 2, 2]) }),
    ring("a wallet: nobody else plays at both", Shape { regulars: 0, ..wallet(&[2, 1]) }),
    ring("a wallet: two others play at both", Shape { regulars: 2, ..wallet(&[2, 1]) }),
    ring("a wallet: four others play at both", Shape { regulars: 4, ..wallet(&[2, 1]) }),
    ring("a wallet: people have other names there", Shape { is_named_alike: false, ..wallet(&[2, 1]) }),
    ring("a phone: one at both, one more at each", phone(&[1, 1])),
    ring("a phone: one at all of three, one more at each", phone(&[1, 1, 1])),
    ring("a phone: two at both, one more here", Shape { everywhere: 2, ..phone(&[1, 0]) }),
    ring("a phone: one at both, one more at each, over 25 days", Shape { days: 25, ..phone(&[1, 1]) }),
    ring("a phone: one at both, one more at each, over 45 days", Shape { days: 45, ..phone(&[1, 1]) }),
    ring("a phone: two here, one there, nobody at both", Shape { everywhere: 0, ..phone(&[2, 1]) }),
    ring("a phone: one other plays at both", Shape { regulars: 1, ..phone(&[1, 1]) }),
    ring("a phone: people have other names there", Shape { is_named_alike: false, ..phone(&[1, 1]) }),
    couple("a wallet", Shape { everywhere: 2, ..wallet(&[0, 0]) }),
    couple(
        "a wallet: people have other names there",
        Shape { everywhere: 2, is_named_alike: false, ..wallet(&[0, 0]) },
    ),
    couple("a wallet: they have other names there, others have not", wallet(&[2, 2])),
    couple("a phone", Shape { everywhere: 2, ..phone(&[0, 0]) }),
    couple("a phone: one of them has another name there, others have not", phone(&[1, 1])),
];

/// What was said of each plan.
#[derive(Default)]
pub struct Curve(Vec<Seen>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// Its place in [`PLANS`].
    plan: usize,
    /// The rule over all operators says it.
    is_across: bool,
    /// The rule of one operator does.
    is_alone: bool,
}

impl Curve {
    /// The table of shapes.
    pub fn tell(&self) {
        say(
            "said over all operators of people who share something, by how they are spread (none of it counts for recall);",
        );
        say("beside it the rule of one operator:");
        say(&format!("  {:<64} {:>8} {:>8}", "rings", "all", "one"));
        self.rows(true);
        say(&format!("  {:<64} {:>8} {:>8}", "couples, of whom nothing should be said", "all", "one"));
        self.rows(false);
    }

    fn rows(&self, is_ring: bool) {
        for (no, plan) in PLANS.iter().enumerate().filter(|(_, plan)| plan.is_ring == is_ring) {
            let [across, alone] = [self.share(no, |seen| seen.is_across), self.share(no, |seen| seen.is_alone)];
            say(&format!("    {:<62} {across:>8} {alone:>8}", plan.words));
        }
    }

    fn share(&self, plan: usize, which: fn(&Seen) -> bool) -> String {
        let of = || self.0.iter().filter(|seen| seen.plan == plan);
        format!("{}/{}", of().filter(|seen| which(seen)).count(), of().count())
    }
}

/// What is said of the wallet or the phone of a story: over all operators, and at one. Gives the records, too.
fn heard(scenario: &Scenario, stories: &Stories) -> anyhow::Result<([bool; 2], u64)> {
    let (intake, mut known) = (Intake::new(scenario)?, Known::default());
    let (zone, set) = (TimeZone::get("Africa/Nairobi")?, RuleSet::standard("KE"));
    let mut nation = NationRules::new(JurisdictionNo(0), zone.clone(), &set);
    let rules = |no| OperatorRules::new(number(no), zone.clone(), &set);
    let mut operators: Vec<OperatorRules> = (0..scenario.operators.len()).map(rules).collect();
    let (mut findings, mut records) = (Vec::new(), 0);
    for (_, said) in &stories.said {
        match said {
            Said::Ask(ask) => known.hear(ask),
            Said::Record(sent) => {
                let record = intake.record(sent)?;
                let facts = known.facts(&scenario.operators[sent.operator].code, sent);
                let input = Input::Play { record: &record, facts: &facts };
                nation.hear(number(sent.operator), &input, &mut findings);
                operators[sent.operator].hear(&input, &mut findings);
                records += 1;
            }
            _ => {}
        }
    }
    let case = stories.cases.first().context("a case")?;
    let across = case.conditions.first().copied().context("its rule")?;
    let who = match case.about.first() {
        Some(About::Device(device)) => Who::Device(intake.device(device).0),
        Some(About::Wallet(wallet)) => Who::Account(intake.account(wallet).0),
        _ => anyhow::bail!("{} share nothing", case.what),
    };
    let alone = across.trim_end_matches("_across_operators");
    let is_said = |rule: &str| findings.iter().any(|finding| finding.rule == rule && finding.who == who);
    Ok(([is_said(across), is_said(alone)], records))
}

/// Tells every shape to the rules, in the operators of a seed. Gives the records.
///
/// # Errors
/// The engine refuses what the simulator says.
pub fn judged(seed: u64, curve: &mut Curve) -> anyhow::Result<u64> {
    let (scenario, mut sum) = (planted::scenario(seed)?, 0);
    for (plan, of) in PLANS.iter().enumerate() {
        let stories = cases::plant_ring(&scenario, seed, (BEGIN, DAYS), &of.shape);
        let ([is_across, is_alone], records) = heard(&scenario, &stories)?;
        curve.0.push(Seen { plan, is_across, is_alone });
        sum += records;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_shape_is_told_and_those_that_are_plain_are_what_they_are() {
        let mut curve = Curve::default();
        for seed in 1..=2 {
            assert!(judged(seed, &mut curve).expect("a market") > 1_000, "seed {seed}");
        }
        assert_eq!(curve.0.len(), 2 * PLANS.len());
        // place: over all operators, and at one
        let table = [
            ("a wallet: two here, one there", true, ["2/2", "0/2"]),
            ("a wallet: three here, one there", true, ["0/2", "2/2"]),
            ("a wallet: two here, one there, over 45 days", true, ["0/2", "0/2"]),
            ("a wallet: nobody else plays at both", true, ["0/2", "0/2"]),
            ("a wallet: people have other names there", true, ["0/2", "0/2"]),
            ("a phone: one at both, one more at each", true, ["2/2", "0/2"]),
            ("a phone: two here, one there, nobody at both", true, ["0/2", "0/2"]),
            ("a wallet", false, ["0/2", "0/2"]),
            ("a wallet: people have other names there", false, ["0/2", "0/2"]),
            ("a phone", false, ["0/2", "0/2"]),
        ];
        for (words, is_ring, wanted) in table {
            let is_it = |plan: &Plan| plan.words == words && plan.is_ring == is_ring;
            let no = PLANS.iter().position(is_it).expect("a plan");
            let said = [curve.share(no, |seen| seen.is_across), curve.share(no, |seen| seen.is_alone)];
            assert_eq!(said, wanted, "{words}, {is_ring}");
        }
    }

    #[test]
    fn a_shape_is_told_as_it_is_described() {
        let scenario = planted::scenario(3).expect("a market");
        for plan in &PLANS {
            let stories = cases::plant_ring(&scenario, 3, (BEGIN, DAYS), &plan.shape);
            let case = &stories.cases[0];
            let Some(About::Device(thing) | About::Wallet(thing)) = case.about.first() else {
                panic!("{}", plan.words)
            };
            let (mut names, mut places) = (BTreeSet::new(), BTreeSet::new());
            for (_, said) in &stories.said {
                let Said::Record(sent) = said else { continue };
                let paid_to = sent.record.payment.as_ref().is_some_and(|to| to["account"] == thing.as_str());
                if paid_to || sent.record.device_id.as_deref() == Some(thing.as_str()) {
                    names.extend(sent.record.player.as_ref().and_then(|player| player.phone.clone()));
                    places.insert(sent.operator);
                }
            }
            let Shape { everywhere, alone, is_named_alike, .. } = plan.shape;
            let of_each = if is_named_alike { 1 } else { alone.len() };
            assert_eq!(names.len(), everywhere * of_each + alone.iter().sum::<usize>(), "{}", plan.words);
            assert_eq!(places, case.operators.iter().copied().collect::<BTreeSet<_>>(), "{}", plan.words);
            let days = (case.to.0 - case.from.0) / models::ts::DAY;
            assert!((plan.shape.days - 1..=plan.shape.days).contains(&days), "{}: {days} days", plan.words);
        }
    }
}
