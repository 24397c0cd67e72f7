//! The world: everything that happens, in the order of its time.
//!
//! ```text
//! queue of what is due ─▶ a round of an actor: records, questions, truth ─▶ queue
//!                      ├▶ a record: the ledger of its operator, then out
//!                      ├▶ the end of a tax period, a settlement, a step of an invoice: records of authorities, out
//!                      └▶ a ticket, a campaign, a change of a licence
//! ```
//! A world is a function of scenario, seed and start: in which steps it is taken forward changes nothing.

use super::calendar::Calendar;
use super::dice::{Dice, letters, tag};
use super::faults::Faults;
use super::habits::act;
use super::ledger::{Invoice, Ledger, Office, Step, Steps};
use super::people::{Actor, everybody};
use super::record::{Ask, Class, Money, Record, Sent};
use super::scenario::Scenario;
use super::session::{Script, Stage, Surge};
use super::truth::{RecordRef, SCHEMA, Truth};
use jiff::tz::TimeZone;
use models::ts::{SECOND, Ts};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What comes out.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A record is there to be sent.
    Record(Box<Sent>),
    /// Somebody should ask the register now.
    Ask(Ask),
    /// What is behind it.
    Truth(Truth),
}

enum Due {
    Round(usize),
    Record(Box<Sent>),
    Ask(Ask),
    Ticket(usize),
    Close { operator: usize, tax: usize },
    Settle(usize),
    Invoice(Step, Box<Invoice>),
    Campaign(usize),
    Licence(usize),
}

/// Tickets of an operator.
struct Counter {
    calendar: Calendar,
    dice: Dice,
    serial: u64,
}

/// A simulated market.
pub struct World {
    scenario: Arc<Scenario>,
    tag: String,
    begin: Ts,
    origin: Ts,
    queue: BTreeMap<(Ts, u64), Due>,
    serial: u64,
    actors: Vec<Actor>,
    busy_until: Vec<Ts>,
    ledgers: Vec<Ledger>,
    counters: Vec<Option<Counter>>,
    surges: Vec<Surge>,
    dice: Dice,
    started: Vec<Output>,
}

impl World {
    /// Begins at a time; plans of the scenario (faults, spikes, campaigns) count from `origin`, which is later where there
    /// is a past to be told first.
    pub fn new(scenario: &Arc<Scenario>, seed: u64, begin: Ts, origin: Ts) -> Self {
        let begin = begin.floor_to(SECOND);
        let tag = tag(seed, &scenario.name, begin.0);
        let later = |seconds: u32| origin.plus(i64::from(seconds) * SECOND);
        let surge = |spike: &super::scenario::Spike| {
            let to = later(spike.at_seconds).plus(i64::from(spike.for_seconds) * SECOND);
            Some(Surge {
                operator: scenario.operator(&spike.operator)?,
                from: later(spike.at_seconds),
                to,
                factor: spike.factor,
            })
        };
        let actors = everybody(scenario, seed);
        let ledger = |(no, operator): (usize, &super::scenario::Operator)| {
            Ledger::new(no, scenario.taxes.len(), operator.opening_balance_minor, seed)
        };
        let counter = |(no, operator): (usize, &super::scenario::Operator)| {
            let sales = operator.sales.as_ref()?;
            let zone = TimeZone::get(&operator.zone).unwrap_or(TimeZone::UTC);
            let calendar = Calendar::new(zone, scenario.seasons.get(&sales.product), 1.0);
            Some(Counter { calendar, dice: Dice::new(seed, "counter", no as u64), serial: 0 })
        };
        let mut world = Self {
            surges: scenario.spikes.iter().filter_map(surge).collect(),
            ledgers: scenario.operators.iter().enumerate().map(ledger).collect(),
            counters: scenario.operators.iter().enumerate().map(counter).collect(),
            busy_until: vec![begin; actors.len()],
            actors,
            tag,
            begin,
            origin,
            queue: BTreeMap::new(),
            serial: 0,
            dice: Dice::new(seed, "world", 0),
            started: Vec::new(),
            scenario: Arc::clone(scenario),
        };
        world.tell_who_there_is(seed);
        for actor in 0..world.actors.len() {
            world.plan_round(actor, begin);
        }
        world.plan_authorities(begin);
        for (no, campaign) in scenario.campaigns.iter().enumerate() {
            world.put(later(campaign.at_seconds), Due::Campaign(no));
        }
        for (no, change) in scenario.licence_changes.iter().enumerate() {
            world.put(later(change.at_seconds), Due::Licence(no));
        }
        world
    }

    /// The scenario.
    pub fn scenario(&self) -> &Arc<Scenario> {
        &self.scenario
    }

    /// What its ids begin with.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// When plans count from.
    pub fn origin(&self) -> Ts {
        self.origin
    }

    /// Phones of those who are excluded, with their jurisdiction: to be registered before anything is sent.
    pub fn excluded(&self) -> Vec<(String, String)> {
        let is_excluded = |actor: &&Actor| actor.kind == super::truth::Kind::Excluded;
        let members = self.actors.iter().filter(is_excluded).flat_map(|actor| &actor.members);
        let home =
            |member: &super::people::Member| self.scenario.operators[member.accounts[0].operator].jurisdiction.clone();
        members.map(|member| (home(member), member.phone.clone())).collect()
    }

    /// Everything that happens before `until`, in the order of its time.
    pub fn advance(&mut self, until: Ts) -> Vec<Output> {
        let mut out = std::mem::take(&mut self.started);
        while self.queue.first_key_value().is_some_and(|((at, _), _)| *at < until) {
            if let Some(((at, _), due)) = self.queue.pop_first() {
                self.happen(at, due, &mut out);
            }
        }
        out
    }

    /// What was begun runs to its end, and nothing new begins.
    pub fn finish(&mut self) -> Vec<Output> {
        let mut out = std::mem::take(&mut self.started);
        while let Some(((at, _), due)) = self.queue.pop_first() {
            if matches!(due, Due::Record(_) | Due::Ask(_)) {
                self.happen(at, due, &mut out);
            }
        }
        out
    }

    fn put(&mut self, at: Ts, due: Due) {
        self.serial += 1;
        self.queue.insert((at, self.serial), due);
    }

    fn happen(&mut self, at: Ts, due: Due, out: &mut Vec<Output>) {
        match due {
            Due::Record(sent) => {
                self.ledgers[sent.operator].take(&sent.record);
                out.push(Output::Record(sent));
            }
            Due::Ask(ask) => out.push(Output::Ask(ask)),
            Due::Round(actor) => self.round(actor, at, out),
            Due::Ticket(operator) => self.ticket(operator, at),
            Due::Close { operator, tax } => {
                let steps = self.ledgers[operator].close(office(&self.scenario, &self.tag, operator), tax, at);
                self.follow(steps, out);
                self.put(at.plus(self.scenario.taxes[tax].period.length()), Due::Close { operator, tax });
            }
            Due::Settle(operator) => {
                let steps = self.ledgers[operator].settle(office(&self.scenario, &self.tag, operator), at);
                self.follow(steps, out);
                let every = i64::from(self.scenario.operators[operator].settle_seconds) * SECOND;
                self.put(at.plus(every), Due::Settle(operator));
            }
            Due::Invoice(step, invoice) => {
                let operator = invoice.operator();
                let office = office(&self.scenario, &self.tag, operator);
                let steps = self.ledgers[operator].step(office, step, *invoice, at);
                self.follow(steps, out);
            }
            Due::Campaign(no) => self.campaign(no, at, out),
            Due::Licence(no) => {
                let change = &self.scenario.licence_changes[no];
                if let Some(operator) = self.scenario.operator(&change.operator) {
                    let (state, compliance) = (change.state.clone(), change.compliance.clone());
                    let sent = self.licence(operator, at, &state, &compliance);
                    out.push(Output::Record(Box::new(sent)));
                }
            }
        }
    }

    /// Records of authorities are said as soon as they are there.
    fn follow(&mut self, steps: Steps, out: &mut Vec<Output>) {
        out.extend(steps.truths.into_iter().map(Output::Truth));
        out.extend(steps.records.into_iter().map(|sent| Output::Record(Box::new(sent))));
        if let Some((at, step, invoice)) = steps.next {
            self.put(at, Due::Invoice(step, Box::new(invoice)));
        }
    }

    fn tell_who_there_is(&mut self, seed: u64) {
        let world = Truth::World {
            schema: SCHEMA,
            scenario: self.scenario.name.clone(),
            seed,
            tag: self.tag.clone(),
            from: self.begin,
        };
        let players = self.actors.iter().flat_map(|actor| actor.truth(&self.scenario.operators));
        let spikes = self.surges.iter().map(|surge| Truth::Spike {
            operator: self.scenario.operators[surge.operator].code.clone(),
            from: surge.from,
            to: surge.to,
            factor: surge.factor,
        });
        let faults = Faults::planned(&self.scenario, self.origin);
        let faults = faults.all().iter().map(super::faults::Fault::truth);
        self.started = std::iter::once(world).chain(players).chain(spikes).chain(faults).map(Output::Truth).collect();
        for operator in 0..self.scenario.operators.len() {
            let sent = self.licence(operator, self.begin, "active", "compliant");
            self.started.push(Output::Record(Box::new(sent)));
        }
    }

    fn plan_authorities(&mut self, begin: Ts) {
        let scenario = Arc::clone(&self.scenario);
        for (no, operator) in scenario.operators.iter().enumerate() {
            for (tax, rule) in scenario.taxes.iter().enumerate() {
                if rule.jurisdiction == operator.jurisdiction {
                    let length = rule.period.length();
                    self.put(begin.floor_to(length).plus(length), Due::Close { operator: no, tax });
                }
            }
            self.put(begin.plus(i64::from(operator.settle_seconds) * SECOND), Due::Settle(no));
            self.plan_ticket(no, begin);
        }
    }

    fn plan_round(&mut self, actor: usize, after: Ts) {
        let acting = &mut self.actors[actor];
        let per_day = acting.per_day();
        if let Some(at) = acting.calendar.next(&mut acting.dice, after, per_day) {
            self.put(at, Due::Round(actor));
        }
    }

    fn round(&mut self, actor: usize, at: Ts, out: &mut Vec<Output>) {
        let stage = Stage { scenario: &self.scenario, tag: &self.tag, surges: &self.surges };
        let (plan, end) = act(&mut self.actors[actor], stage, self.begin, at);
        self.busy_until[actor] = end;
        self.carry_out(plan, out);
        self.plan_round(actor, end);
    }

    fn carry_out(&mut self, plan: super::session::Plan, out: &mut Vec<Output>) {
        out.extend(plan.truths.into_iter().map(Output::Truth));
        for ask in plan.asks {
            self.put(ask.at, Due::Ask(ask));
        }
        for sent in plan.records {
            self.put(sent.at, Due::Record(Box::new(sent)));
        }
    }

    fn plan_ticket(&mut self, operator: usize, after: Ts) {
        let per_day = self.scenario.operators[operator].sales.as_ref().map_or(0.0, |sales| sales.tickets_per_day);
        let next = self.counters[operator]
            .as_mut()
            .and_then(|counter| counter.calendar.next(&mut counter.dice, after, per_day));
        if let Some(at) = next {
            self.put(at, Due::Ticket(operator));
        }
    }

    /// A ticket is sold over the counter, and perhaps redeemed or taken back.
    fn ticket(&mut self, operator: usize, at: Ts) {
        self.plan_ticket(operator, at);
        let scenario = Arc::clone(&self.scenario);
        let company = &scenario.operators[operator];
        let (Some(sales), Some(counter)) = (&company.sales, &mut self.counters[operator]) else { return };
        let Some(game) = scenario.games.get(&sales.product) else { return };
        let dice = &mut counter.dice;
        counter.serial += 1;
        let ticket = format!("{}-t-{}-{}", self.tag, letters(operator as u64), letters(counter.serial));
        let outlet = dice.between(0, i64::from(sales.outlets) - 1).unsigned_abs();
        let price = ((dice.lognormal(sales.ticket_minor as f64, 0.5) / 100.0).round() as i64).max(1) * 100;
        // exports of this style have whole seconds
        let at = at.plus(SECOND - 1).floor_to(SECOND);
        let make = |kind: &'static str, at: Ts, amount: i64, suffix: &str| {
            let mut record = Record::new(format!("{ticket}{suffix}"), kind, at);
            record.money = Some(Money { amount_minor: amount, currency: company.currency.as_str().to_owned() });
            record.bet = Some(json!({"id": ticket}));
            record.product = Some(sales.product.clone());
            record.channel = Some("retail");
            record.outlet_id = Some(format!("outlet-{}", letters(outlet)));
            record.terminal_id = Some(format!("terminal-{}-a", letters(outlet)));
            record.status = Some("successful");
            record.region.clone_from(&company.region);
            Box::new(Sent { operator, class: Class::SalesRedemptions, at, record })
        };
        let mut made = vec![make("ticket_sale", at, price, "")];
        let multiple = dice.span(game.multiple_min, game.multiple_max);
        let later = |dice: &mut Dice, mean: f64| at.plus((dice.exponential(mean).clamp(30.0, 7_200.0) as i64) * SECOND);
        if dice.percent(sales.void_percent) {
            made.push(make("void", later(dice, 60.0), price, "-v"));
        } else if dice.happens(game.return_percent / 100.0 / multiple) {
            let wins = (price as f64 * multiple) as i64;
            made.push(make("redemption", later(dice, game.settle_seconds.max(60.0)), wins, "-r"));
        }
        for sent in made {
            self.put(sent.at, Due::Record(sent));
        }
    }

    /// Writes to players who are not playing just now, and gives each a bonus.
    fn campaign(&mut self, no: usize, at: Ts, out: &mut Vec<Output>) {
        let scenario = Arc::clone(&self.scenario);
        let campaign = &scenario.campaigns[no];
        let Some(operator) = scenario.operator(&campaign.operator) else { return };
        let name = format!("{}-c-{}", self.tag, letters(no as u64));
        let stage = Stage { scenario: &scenario, tag: &self.tag, surges: &self.surges };
        let (mut players, mut records, mut plans) = (Vec::new(), Vec::new(), Vec::new());
        for (actor, _) in self.actors.iter_mut().zip(&self.busy_until).filter(|(_, busy)| **busy < at) {
            for member in &mut actor.members {
                let account = member.accounts.iter().position(|a| a.operator == operator && a.is_open);
                let Some(account) = account.filter(|_| players.len() < campaign.players as usize) else { continue };
                players.push(member.number);
                // at once: before anybody's next round, whose balances are reckoned when it begins
                let mut script = Script::new(stage, &mut self.dice, member, account, at);
                records.push(script.bonus(campaign.bonus_minor, &name, campaign.checked));
                plans.push(script.plan);
            }
        }
        let (operator, checked) = (campaign.operator.clone(), campaign.checked);
        out.push(Output::Truth(Truth::Campaign { operator, checked, at, players, records }));
        plans.into_iter().for_each(|plan| self.carry_out(plan, out));
    }

    fn licence(&mut self, operator: usize, at: Ts, state: &str, compliance: &str) -> Sent {
        self.serial += 1;
        let company = &self.scenario.operators[operator];
        let id = format!("{}-lic-{}-{}", self.tag, letters(operator as u64), letters(self.serial));
        let mut record = Record::new(id, "licence_status", at);
        let sold = company.sales.iter().map(|sales| &sales.product);
        let products: Vec<&String> =
            company.products.iter().chain(sold.filter(|p| !company.products.contains(p))).collect();
        let returns: BTreeMap<&String, Value> = products
            .iter()
            .filter_map(|product| {
                let game = self.scenario.games.get(*product)?;
                let return_ppm = (game.return_percent * 10_000.0).round() as i64;
                Some((*product, json!({"return_ppm": return_ppm, "multiple_max": game.multiple_max.ceil() as i64})))
            })
            .collect();
        let year: String = at.to_string().chars().take(4).collect();
        record.licence_status = Some(json!({
            "number": company.licence,
            "licence_class": if company.sales.is_some() { "lottery" } else { "bookmaker" },
            "products": products,
            "valid_from": format!("{year}-01-01"),
            "valid_to": format!("{year}-12-31"),
            "state": state,
            "compliance": compliance,
            "conditions": ["checks the register at every login"],
            "return_to_player": returns,
        }));
        Sent { operator, class: Class::Licences, at, record }
    }

    /// The name of a record of an operator, as the ground truth has it.
    pub fn name(&self, sent: &Sent) -> RecordRef {
        RecordRef::of(&self.scenario.operators[sent.operator].code, sent.class, &sent.record)
    }
}

fn office<'a>(scenario: &'a Scenario, tag: &'a str, operator: usize) -> Office<'a> {
    Office { tag, operator: &scenario.operators[operator], taxes: &scenario.taxes, errors: &scenario.discrepancies }
}
