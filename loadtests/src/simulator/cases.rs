//! Stories that are planted into a market: what breaks the law, and beside it what only looks like it.
//!
//! Every amount and time here comes from what people do and from the law of the simulated country ([`Law`], another one
//! each seed); nothing is taken from a rule of the engine. A story says itself of which conditions it truly is a case.

pub mod offices;
mod players;
pub mod rings;

use super::dice::Dice;
use super::people::Member;
use super::record::{Ask, Sent};
use super::scenario::Scenario;
use super::session::{Plan, Script, Stage};
use super::truth::{About, Case};
use models::ts::{DAY, HOUR, MINUTE, SECOND, Ts};

/// Numbers of the people of stories begin here: no scenario has so many others.
const FIRST_NUMBER: u32 = 110_000;

/// The law of the country: published numbers, which players and operators know as well as the regulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Law {
    /// A deposit from which on an operator reports it, minor units.
    pub reported_minor: i64,
    /// Net deposits of a calendar month before somebody has to be talked to, minor units.
    pub month_minor: i64,
    /// The same under 24 years.
    pub month_young_minor: i64,
    /// What somebody may pay in, net, in a calendar month at all operators together, minor units.
    pub month_everywhere_minor: i64,
    /// A difference between declared and earned of a day from which on it is material, minor units.
    pub material_minor: i64,
    /// Minutes to wait between bets at two operators.
    pub wait_minutes: i64,
    /// Minutes in which a sign of harm is to be answered.
    pub answer_minutes: i64,
}

impl Law {
    /// One of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "law", 0);
        let mut amount = |low: i64, high: i64| dice.between(low, high) * 100_000;
        let (reported_minor, month_minor, everywhere) = (amount(900, 2_000), amount(250, 400), amount(500, 800));
        Self {
            reported_minor,
            month_minor,
            month_young_minor: month_minor * 2 / 5,
            month_everywhere_minor: everywhere,
            material_minor: amount(1, 3),
            wait_minutes: 5,
            answer_minutes: 60,
        }
    }
}

/// What comes of stories, at a time.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// A record is there to be sent.
    Record(Box<Sent>),
    /// Somebody asks the register.
    Ask(Ask),
    /// Somebody excludes themself, until then or for good.
    Excluded { phone: String, until: Option<Ts> },
    /// Somebody's age is known: under 24, or not.
    Age { phone: String, is_young: bool },
    /// An operator is told of a sign of harm; a weak one is there to be watched.
    Harm { operator: usize, phone: String, is_weak: bool },
    /// Exclusions that an operator reported on the day that ends now.
    Exclusions { operator: usize, count: u64 },
    /// What an operator declares of the day that ends now ÷ what was played.
    Declares { operator: usize, share: f64 },
}

/// Stories of a market.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stories {
    /// What comes of them, in the order of its time.
    pub said: Vec<(Ts, Said)>,
    /// What they are.
    pub cases: Vec<Case>,
}

/// Plants every story so many times into the days from `begin` on.
#[must_use]
pub fn plant(scenario: &Scenario, law: Law, seed: u64, (begin, days): (Ts, i64), times: u32) -> Stories {
    let mut teller = Teller::new(scenario, law, (seed, Dice::new(seed, "stories", 0)), (begin, days));
    for _ in 0..times {
        players::ALL.iter().for_each(|story| story(&mut teller));
    }
    offices::tell(&mut teller, times);
    // behind the others: what those draw stays what it is
    for _ in 0..times {
        rings::ALL.iter().for_each(|story| story(&mut teller));
    }
    teller.finish()
}

/// One story of people who share something, and nothing else: the other operators and people of the market are silent.
#[must_use]
pub fn plant_ring(scenario: &Scenario, seed: u64, (begin, days): (Ts, i64), shape: &rings::Shape) -> Stories {
    let mut teller = Teller::new(scenario, Law::of(seed), (seed, Dice::new(seed, "rings", 0)), (begin, days));
    rings::shaped(&mut teller, shape);
    teller.finish()
}

struct Teller<'a> {
    scenario: &'a Scenario,
    law: Law,
    tag: String,
    seed: u64,
    begin: Ts,
    days: i64,
    number: u32,
    dice: Dice,
    stories: Stories,
}

impl<'a> Teller<'a> {
    fn new(scenario: &'a Scenario, law: Law, (seed, dice): (u64, Dice), (begin, days): (Ts, i64)) -> Self {
        let tag = super::dice::tag(seed, "stories", begin.0);
        Self { scenario, law, tag, seed, begin, days, number: FIRST_NUMBER, dice, stories: Stories::default() }
    }

    /// What was told, by its time.
    fn finish(self) -> Stories {
        let mut stories = self.stories;
        stories.said.sort_by_key(|(at, _)| *at);
        stories
    }
}

impl Teller<'_> {
    /// A minute at which people are awake, and late enough before the end that the story has time.
    fn awake(&mut self) -> Ts {
        let day = self.dice.between(1, self.days - 3);
        // 9 to 20 o'clock in Nairobi
        self.begin.plus(day * DAY + self.dice.between(9 * 60, 20 * 60) * MINUTE)
    }

    /// An operator, and others of the market.
    fn operators(&mut self, count: usize) -> Vec<usize> {
        let mut left: Vec<usize> = (0..self.scenario.operators.len()).collect();
        let mut draw = |_| left.swap_remove(self.dice.between(0, left.len() as i64 - 1).unsigned_abs() as usize);
        (0..count.min(self.scenario.operators.len())).map(&mut draw).collect()
    }

    /// An operator that offers a product; any where nobody does.
    fn operator_with(&mut self, product: &str) -> Vec<usize> {
        let operators = &self.scenario.operators;
        let offers = |no: &usize| operators[*no].products.iter().any(|offered| offered == product);
        let offering: Vec<usize> = (0..operators.len()).filter(offers).collect();
        self.dice.pick(&offering).map_or_else(|| vec![0], |no| vec![*no])
    }

    /// Somebody new, with an account at each of these.
    fn member(&mut self, operators: &[usize]) -> Member {
        self.number += 1;
        Member::new(self.scenario, self.seed, self.number, operators[0], operators)
    }

    fn someone(&mut self) -> Member {
        let at = self.operators(1);
        self.member(&at)
    }

    /// An amount as people choose them: whole hundreds of shillings.
    fn amount(&mut self, low: i64, high: i64) -> i64 {
        (self.dice.between(low, high) / 10_000).max(1) * 10_000
    }

    /// A visit: somebody comes in, whom the operator asks about, does something and leaves. Gives its end.
    fn visit(&mut self, member: &mut Member, account: usize, at: Ts, act: impl FnOnce(&mut Script<'_>)) -> Ts {
        self.visit_checked(member, account, at, true, act)
    }

    fn visit_checked(
        &mut self,
        member: &mut Member,
        account: usize,
        at: Ts,
        is_checked: bool,
        act: impl FnOnce(&mut Script<'_>),
    ) -> Ts {
        self.number += 1;
        let mut dice = Dice::new(self.seed, "visit", self.number.into());
        let stage = Stage { scenario: self.scenario, tag: &self.tag, surges: &[] };
        let mut script = Script::new(stage, &mut dice, member, account, at);
        script.enter(Some(is_checked));
        act(&mut script);
        let (plan, end) = script.leave();
        self.take(plan);
        end
    }

    fn take(&mut self, plan: Plan) {
        self.stories.said.extend(plan.asks.into_iter().map(|ask| (ask.at, Said::Ask(ask))));
        self.stories.said.extend(plan.records.into_iter().map(|sent| (sent.at, Said::Record(Box::new(sent)))));
    }

    fn say(&mut self, at: Ts, said: Said) {
        self.stories.said.push((at, said));
    }

    /// What an operator offers first.
    fn product(&self, member: &Member, account: usize) -> String {
        self.scenario.operators[member.accounts[account].operator].products.first().cloned().unwrap_or_default()
    }

    fn case(&mut self, what: &'static str, conditions: &[&'static str], members: &[&Member], (from, to): (Ts, Ts)) {
        let about = members.iter().map(|member| About::Phone(member.phone.clone())).collect();
        let mut operators: Vec<usize> =
            members.iter().flat_map(|member| member.accounts.iter().map(|account| account.operator)).collect();
        operators.sort_unstable();
        operators.dedup();
        self.stories.cases.push(Case { what, conditions: conditions.to_vec(), about, operators, from, to });
    }

    /// The same about something else.
    fn case_about(&mut self, about: Vec<About>, case: Case) {
        self.stories.cases.push(Case { about, ..case });
    }
}

/// Bets of about so much together, in several parts.
fn play(script: &mut Script<'_>, product: &str, together: i64, parts: i64) {
    for _ in 0..parts.max(1) {
        let part = script.dice().span(0.8, 1.2) * together as f64 / parts.max(1) as f64;
        script.bet(product, (part as i64).max(100));
        script.wait(45.0);
    }
}

/// So many hours.
fn hours(n: i64) -> i64 {
    n * HOUR
}

/// A second later.
fn after(at: Ts) -> Ts {
    at.plus(SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::scenario::Scenario;
    use std::collections::BTreeSet;

    fn stories(seed: u64) -> Stories {
        let mut scenario = Scenario::from_toml(Scenario::known("market").unwrap()).unwrap();
        scenario.operators.truncate(2);
        let game = crate::simulator::quiet::market(1, 1).games.remove(offices::GAME).unwrap();
        scenario.games.insert(offices::GAME.to_owned(), game);
        plant(&scenario, Law::of(seed), seed, (Ts::parse("2026-03-02T00:00:00Z").unwrap(), 15), 1)
    }

    #[test]
    fn stories_repeat_are_in_order_and_are_what_they_say() {
        let first = stories(3);
        assert!(first == stories(3) && first.said != stories(4).said);
        assert!(first.said.is_sorted_by_key(|(at, _)| *at));
        let planted: BTreeSet<&str> = first.cases.iter().flat_map(|case| case.conditions.first().copied()).collect();
        for condition in
            ["excluded_play", "rapid_in_out", "dormant_burst", "unusual_exclusions", "return_to_player_off"]
        {
            assert!(planted.contains(condition), "{condition} is not among {planted:?}");
        }
        let innocent = first.cases.iter().filter(|case| case.conditions.is_empty()).count();
        assert!(innocent >= 12, "{innocent} that only look like it");
        assert!(first.cases.iter().all(|case| case.from <= case.to && !case.about.is_empty()));
    }

    #[test]
    fn an_operator_keeps_to_a_limit_unless_the_story_is_that_it_does_not() {
        let stories = stories(5);
        let record = |said: &Said| match said {
            Said::Record(sent) if sent.record.kind == "deposit" => Some(sent.record.status),
            _ => None,
        };
        let refused = stories.said.iter().filter_map(|(_, said)| record(said)).filter(|s| *s == Some("failed")).count();
        assert_eq!(refused, 1, "a deposit up to the limit is taken, one beyond it is not");
    }
}
