//! `planted_recall`, `planted_precision`: what was planted into a market, and what the rules say of it.
//!
//! Fifty small markets of one country, each with a law and people of its own (`MLINZI_PLANTED_FIRST` asks for others than
//! those from seed 1). Everything goes through the ingest's validation and into the rules in the order of its time; the
//! regulator has set the parameters that are law. The truth comes from the simulator alone: its stories, its episodes, its
//! errors, and, where the law is arithmetic (net deposits of a month), from sums of what it sent, added up here once more.
//! Beside the rules' actors the desk's rule `feed_silent` hears feeds with outages (`feeds.rs`), and `series_unusual` has
//! longer markets of its own (`odd.rs`); rings of which not all can be found make a curve (`rings.rs`). The rules that need a
//! model hear two that were learnt from markets of other seeds (`scored.rs`). Not run, and so in neither figure:
//! `robust_deviation`, and the checks of integrity. A finding is right where a case of its condition is about the same person
//! or thing at an overlapping time; a case is found where a right finding is about it.

use super::intake::{Intake, Known, number};
use super::scored::{self, Models, Rows, Scored};
use super::sums::Sums;
use super::tally::{TOLD, Tally};
use super::{asked, feeds, odd, rings};
use crate::report::{Report, say};
use crate::simulator::cases::{self, Law, Said, Stories, offices};
use crate::simulator::record::Sent;
use crate::simulator::run;
use crate::simulator::scenario::{Campaign, Colluders, Crowd, LicenceChange, Operator, Scenario};
use crate::simulator::truth::{About, Case, Truth};
use crate::simulator::world::{Output, World};
use anyhow::Context;
use engine::ingest::id_digest;
use engine::rules::finding::{Finding, Mode, Who};
use engine::rules::input::{AgeBand, Base, Clock, Declared, Excluded, Exclusions, Input, Signal};
use engine::rules::list::{self, ABOUT};
use engine::rules::nation::NationRules;
use engine::rules::ruleset::{RuleSet, RuleVersion};
use engine::rules::run::OperatorRules;
use engine::silence;
use jiff::tz::TimeZone;
use models::alert::{RevisionKind, Severity, Window};
use models::jurisdiction::JurisdictionNo;
use models::money::Currency;
use models::record::Product;
use models::ts::{DAY, HOUR, MINUTE, SECOND, Ts};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What neither figure speaks of.
const NOT_RUN: &str = "without robust_deviation and integrity";
/// A rule about series, which are watched in the actor of the market: it has markets of its own (`odd.rs`).
pub const SERIES: &str = "series_unusual";
const SEEDS: u64 = 50;
/// Seeds of the markets that models are learnt from: none that is judged.
const LEARNT_FROM: std::ops::Range<u64> = 1_001..1_007;
const FIRST_MAX: u64 = LEARNT_FROM.start - SEEDS;
const DAYS: i64 = 13;
/// Monday, 2 March 2026, 00:00 in Nairobi.
const BEGIN: Ts = Ts(1_772_398_800_000_000);

/// A market of a seed: the small one of the simulator, in one country, with its schemes, a campaign with a check and one
/// without, a licence that is suspended while bets go on, and one of which only the words change.
pub fn scenario(seed: u64) -> anyhow::Result<Scenario> {
    let mut market = run::scenario("market")?;
    let crash = crate::simulator::quiet::market(1, seed).games.remove(offices::GAME).context("the game")?;
    market.games.insert(offices::GAME.to_owned(), crash);
    let law = Law::of(seed);
    market.operators.retain(|operator| operator.jurisdiction == "KE");
    market.taxes.retain(|tax| tax.jurisdiction == "KE");
    let more = |no: usize, code: &str, like: &Operator| Operator {
        code: code.to_owned(),
        name: code.to_owned(),
        licence: format!("BCLB-06{no:02}"),
        checked_logins_percent: 100.0,
        ..like.clone()
    };
    let (first, second) = (market.operators[0].clone(), market.operators[1].clone());
    market.operators.extend([more(1, "simba-bet", &first), more(2, "nyota-play", &second), more(3, "kifaru", &first)]);
    market.operators.iter_mut().for_each(|operator| operator.products.push(offices::GAME.to_owned()));
    market.operators.iter_mut().filter_map(|operator| operator.sales.as_mut()).for_each(|s| s.tickets_per_day = 60.0);
    let players = &mut market.players;
    let set = |crowd: &mut Option<Crowd>, count| crowd.iter_mut().for_each(|crowd| crowd.count = count);
    set(&mut players.casual, 60);
    set(&mut players.heavy, 6);
    set(&mut players.excluded, 3);
    players.at_risk.iter_mut().for_each(|risk| risk.count = 6);
    players.launderer.iter_mut().for_each(|how| {
        (how.count, how.threshold_minor) = (4, law.reported_minor);
    });
    players.colluder = Some(Colluders { pairs: 2, rounds_per_day: 1.0, stake_minor: 200_000 });
    market.faults = feeds::outages(&market, seed, DAYS);
    market.spikes.clear();
    let campaign = |operator: &str, day: u32, checked| Campaign {
        operator: operator.to_owned(),
        at_seconds: day * 86_400 + 40_000,
        players: 8,
        bonus_minor: 50_000,
        checked,
    };
    market.campaigns = vec![campaign("tembo-bet", 5, false), campaign("simba-bet", 6, true)];
    let licence = |operator: &str, day: u32, state: &str, compliance: &str| LicenceChange {
        operator: operator.to_owned(),
        at_seconds: day * 86_400 + 50_000 + (seed as u32 * 977) % 20_000,
        state: state.to_owned(),
        compliance: compliance.to_owned(),
    };
    let state = ["suspended", "revoked", "expired"][(seed % 3) as usize];
    market.licence_changes = vec![
        licence("kifaru", 8, state, "non_compliant"),
        licence("kifaru", 10, "active", "compliant"),
        licence("simba-bet", 4, "active", "under_review"),
        // said once more, and nothing is new
        licence("nyota-play", 5, "active", "compliant"),
    ];
    market.check()?;
    Ok(market)
}

/// What the regulator of the simulated country has set: the numbers of its law. What games give back their licences say.
fn rules(law: Law) -> anyhow::Result<RuleSet> {
    let set = |rule: &str| match rule {
        "structured_deposits" => json!({"thresholds_minor": [law.reported_minor]}),
        "structured_across_operators" => json!({"threshold_minor": law.reported_minor}),
        "net_deposit_threshold" => json!({
            "currency": "KES", "adult_minor": law.month_minor, "under_24_minor": law.month_young_minor,
        }),
        "net_deposits_across_operators" => json!({"currency": "KES", "month_max_minor": law.month_everywhere_minor}),
        "concurrent_play" => json!({"wait_minutes": law.wait_minutes}),
        "declared_revenue_differs" => json!({"absolute_min_minor": law.material_minor}),
        "harm_signal_unanswered" => json!({"answer_minutes": law.answer_minutes}),
        _ => serde_json::Value::Null,
    };
    let version = |about: &engine::rules::list::About| RuleVersion {
        rule: about.name.to_owned(),
        version: 1,
        jurisdiction: "KE".to_owned(),
        effective_from: Ts(0),
        effective_to: None,
        mode: Mode::Live,
        params: set(about.name),
    };
    Ok(RuleSet::new("KE", ABOUT.iter().filter(|about| about.is_here()).map(version).collect())?)
}

/// A case with the keys under which the engine knows whom it is about.
struct Known2 {
    case: Case,
    who: Vec<Who>,
    found: bool,
    /// It counts for recall: planted, not only added up.
    is_planted: bool,
}

struct Market<'a> {
    scenario: &'a Scenario,
    law: Law,
    intake: Intake<'a>,
    known: Known,
    operators: Vec<OperatorRules>,
    nation: NationRules,
    scored: Scored<'a>,
    sums: Sums,
    findings: Vec<Finding>,
    cases: Vec<Known2>,
    /// Numbers of invoices by the ids of their records, with when they are due.
    invoices: BTreeMap<String, (String, Ts)>,
    phones: BTreeMap<u32, String>,
    devices: BTreeMap<u32, String>,
}

impl Market<'_> {
    fn hear(&mut self, operator: usize, input: &Input<'_>) {
        // a batch of its own
        let mut findings = Vec::new();
        self.scored.hear((operator, &mut self.operators[operator], &mut self.nation), input, &mut findings);
        self.findings.extend(findings);
    }

    fn record(&mut self, sent: &Sent) -> anyhow::Result<()> {
        let record = self.intake.record(sent)?;
        let facts = self.known.facts(&self.scenario.operators[sent.operator].code, sent);
        self.sums.take(sent);
        if let Some(invoice) = &sent.record.invoice {
            let text = |name: &str| invoice[name].as_str().unwrap_or_default().to_owned();
            let due = Ts::parse(&text("due_at"))?;
            self.invoices
                .insert(sent.record.record_id.clone(), (format!("{}\0{}", text("authority"), text("number")), due));
        }
        let input = match record.kind.is_document() {
            true => Input::Document { record: &record },
            false => Input::Play { record: &record, facts: &facts },
        };
        self.hear(sent.operator, &input);
        Ok(())
    }

    fn said(&mut self, at: Ts, said: &Said) -> anyhow::Result<()> {
        match said {
            Said::Record(sent) => self.record(sent)?,
            Said::Ask(ask) => self.known.hear(ask),
            Said::Excluded { phone, until } => self.known.exclude(phone, Excluded { since: at, until: *until }),
            Said::Age { phone, is_young } => {
                self.known.age(phone, if *is_young { AgeBand::Under24 } else { AgeBand::From24 });
            }
            Said::Harm { operator, phone, is_weak } => {
                let player = self.intake.phone(*operator, phone)?;
                let level = if *is_weak { Severity::Low } else { Severity::High };
                self.hear(*operator, &Input::Signal { signal: Signal { player, level, at }, behind: 0 });
            }
            Said::Exclusions { operator, count } => {
                let window = Window { start: at.plus(-DAY), end: at };
                self.hear(
                    *operator,
                    &Input::Exclusions(Exclusions { window, count: *count, players: None, at: window.end }),
                );
            }
            Said::Declares { operator, share } => {
                let day = Ts(BEGIN.0 + (at.0 - BEGIN.0).div_euclid(DAY) * DAY - DAY);
                let played = self.sums.revenue(*operator, day);
                let amount_minor = (played as f64 * share) as i64 / 100 * 100;
                let period = Window { start: day, end: day.plus(DAY) };
                if (amount_minor - played).abs() < self.law.material_minor {
                    // whoever earned next to nothing on the day hides next to nothing
                    let is_it = |known: &Known2| known.case.operators == [*operator] && known.case.from == day;
                    self.cases.retain(|known| !is_it(known) || known.case.conditions != ["declared_revenue_differs"]);
                }
                let (currency, base) = (Currency::KES, Base::GrossGamingRevenue);
                self.hear(*operator, &Input::Declared(Declared { at, period, currency, base, amount_minor }));
            }
        }
        Ok(())
    }

    /// What a line of the world's truth is a case of.
    fn truth(&mut self, truth: &Truth) {
        let code = |code: &str| self.scenario.operator(code);
        let phones = |players: &[u32]| -> Vec<About> {
            players.iter().filter_map(|number| self.phones.get(number)).cloned().map(About::Phone).collect()
        };
        let mut cases = Vec::new();
        match truth {
            Truth::Player { player, phone, device_id, .. } => {
                self.phones.insert(*player, phone.clone());
                self.devices.insert(*player, device_id.clone());
            }
            Truth::Episode { marks, players, operators, from, to, .. } => {
                let of = |mark: &str| -> &[&'static str] {
                    match mark {
                        "in_out" => &["rapid_in_out"],
                        "structuring" => &["structured_deposits", "rapid_in_out"],
                        "foreign_payout" => &["payout_elsewhere", "rapid_in_out"],
                        "shared_device" => &["rapid_in_out"],
                        "excluded_play" => &["excluded_play"],
                        "opposite_bets" => &["opposite_bets"],
                        _ => &[],
                    }
                };
                if marks.contains(&"shared_device") {
                    let device = players.first().and_then(|number| self.devices.get(number)).cloned();
                    if let Some(device) = device {
                        let wallet = device.replacen("device", "wallet", 1);
                        let of = |condition, about| Case {
                            what: "many accounts of one scheme",
                            conditions: vec![condition],
                            about: vec![about],
                            operators: operators.iter().filter_map(|name| code(name)).collect(),
                            from: *from,
                            to: *to,
                        };
                        cases.push(of("shared_device", About::Device(device)));
                        cases.push(of("shared_payout_account", About::Wallet(wallet)));
                    }
                }
                for mark in marks.iter().copied() {
                    cases.push(Case {
                        what: mark,
                        conditions: of(mark).to_vec(),
                        about: phones(players),
                        operators: operators.iter().filter_map(|name| code(name)).collect(),
                        from: *from,
                        to: *to,
                    });
                }
            }
            Truth::UncheckedLogin { player, at, record } => cases.push(Case {
                what: "an unchecked login",
                conditions: vec!["play_without_check"],
                about: phones(&[*player]),
                operators: code(&record.operator).into_iter().collect(),
                from: *at,
                to: at.plus(MINUTE),
            }),
            Truth::Campaign { operator, checked, at, players, .. } => {
                for player in players {
                    cases.push(Case {
                        what: "a campaign",
                        conditions: if *checked { Vec::new() } else { vec!["marketing_without_check"] },
                        about: phones(&[*player]),
                        operators: code(operator).into_iter().collect(),
                        from: *at,
                        to: at.plus(10 * MINUTE),
                    });
                }
            }
            _ => {}
        }
        cases.into_iter().for_each(|case| self.plant(case, true));
    }

    fn plant(&mut self, case: Case, is_planted: bool) {
        let operator = case.operators.first().copied().unwrap_or(0);
        let players: Vec<u128> = case
            .about
            .iter()
            .filter_map(|about| match about {
                About::Phone(phone) => self.intake.phone(operator, phone).ok().map(|key| key.0),
                _ => None,
            })
            .collect();
        let mut who: Vec<Who> = players.iter().map(|key| Who::Player(*key)).collect();
        for one in &players {
            who.extend(players.iter().filter(|other| *other > one).map(|other| Who::Players(*one, *other)));
        }
        who.extend(case.about.iter().filter_map(|about| match about {
            About::Phone(_) => None,
            About::Device(device) => Some(Who::Device(self.intake.device(device).0)),
            About::Wallet(wallet) => Some(Who::Account(self.intake.account(wallet).0)),
            About::Licence(licence) => Some(Who::Licence(id_digest(licence))),
            About::Invoice(invoice) => Some(Who::Invoice(id_digest(invoice))),
            About::Product(product) => Product::parse(product).map(|product| Who::Product(product.code())),
            About::Operator => Some(Who::Operator),
        }));
        self.cases.push(Known2 { case, who, found: false, is_planted });
    }

    /// Errors of authorities and operators, once everything is there: whoever pays late is told of when it was due.
    fn papers(&mut self, truths: &[Truth], end: Ts) {
        let scenario = self.scenario;
        for truth in truths {
            let Truth::Discrepancy { mark, operator, at, records, .. } = truth else { continue };
            let is_late = ["late_payment", "short_payment"].contains(mark);
            let invoice = records.first().and_then(|record| self.invoices.get(&record.id)).cloned();
            let Some((invoice, due)) = invoice.filter(|(_, due)| is_late && due.plus(HOUR) < end) else { continue };
            let about = vec![About::Invoice(invoice)];
            let operators = scenario.operator(operator).into_iter().collect();
            let (what, conditions) = ("an invoice is not paid in time", vec!["late_remittance"]);
            self.plant(Case { what, conditions, about, operators, from: at.plus(-2 * DAY), to: due.plus(DAY) }, true);
        }
        for change in &scenario.licence_changes {
            let Some(no) = scenario.operator(&change.operator) else { continue };
            let at = BEGIN.plus(i64::from(change.at_seconds) * SECOND);
            let about = vec![About::Licence(scenario.operators[no].licence.clone())];
            let of_it = scenario.licence_changes.iter().filter(|other| other.operator == change.operator);
            let words = |change: &'_ LicenceChange| (change.state.clone(), change.compliance.clone());
            let before =
                of_it.clone().filter(|other| other.at_seconds < change.at_seconds).max_by_key(|c| c.at_seconds);
            let before = before.map_or_else(|| ("active".to_owned(), "compliant".to_owned()), words);
            let is_new = before != words(change);
            let case = |what, condition: Option<&'static str>, to| Case {
                what,
                conditions: condition.into_iter().collect(),
                about: about.clone(),
                operators: vec![no],
                from: at,
                to,
            };
            let changed = case("a licence's status", is_new.then_some("compliance_status_changed"), at.plus(MINUTE));
            self.plant(changed, true);
            if change.state != "active" {
                let later =
                    of_it.filter(|other| other.at_seconds > change.at_seconds).map(|other| other.at_seconds).min();
                let to = later.map_or(end, |seconds| BEGIN.plus(i64::from(seconds) * SECOND));
                self.plant(case("bets without a licence", Some("licence_lapsed"), to), true);
            }
        }
    }

    /// What the law's arithmetic makes of everybody's deposits.
    fn arithmetic(&mut self) {
        let cases = self.sums.cases(self.law, &self.known);
        cases.into_iter().for_each(|case| self.plant(case, false));
    }
}

impl Market<'_> {
    /// Cases of the rules that hear models; gives the rows that were gathered to learn from, with their labels.
    fn modelled(&mut self, truths: &[Truth], end: Ts) -> Rows {
        let planted = self.cases.iter().filter(|known| known.is_planted).map(|known| &known.case);
        let cases = scored::laundering(planted);
        cases.into_iter().for_each(|case| self.plant(case, true));
        let cases = scored::at_risk(self.scenario, &self.phones, truths, end);
        cases.into_iter().for_each(|case| {
            let has_shown = scored::has_shown(&case);
            self.plant(case, has_shown);
        });
        let mut rows = std::mem::take(&mut self.scored.rows);
        let is_case = |rule: &str, row: &scored::Row| {
            let mut of_rule = self.cases.iter().filter(|known| known.case.conditions.first() == Some(&rule));
            of_rule.any(|known| {
                (known.case.from..=known.case.to).contains(&row.at) && known.who.contains(&Who::Player(row.player))
            })
        };
        rows.records.iter_mut().for_each(|row| row.label = is_case(scored::RECORDS, row));
        rows.players.iter_mut().for_each(|row| row.label = is_case(scored::PLAYERS, row));
        rows
    }
}

/// Two cases of a pair that does it again and again are one: a single evening proves nothing.
fn merge_pairs(cases: &mut Vec<Known2>) {
    let mut pairs: Vec<Known2> = Vec::new();
    cases.retain_mut(|known| {
        let is_pair = known.case.conditions.first() == Some(&"opposite_bets");
        if !is_pair {
            return true;
        }
        match pairs.iter_mut().find(|pair| pair.who == known.who) {
            Some(pair) => (pair.case.to, pair.is_planted) = (pair.case.to.max(known.case.to), true),
            None => {
                let once = known.case.what == "opposite_bets";
                let Known2 { case, who, .. } = known;
                pairs.push(Known2 { case: case.clone(), who: who.clone(), found: false, is_planted: !once });
            }
        }
        false
    });
    cases.append(&mut pairs);
}

/// Models that are learnt from markets which are judged nowhere.
///
/// # Errors
/// The engine refuses what the simulator says, or nothing can be learnt.
pub fn learnt() -> anyhow::Result<Models> {
    let mut rows = Rows::default();
    for seed in LEARNT_FROM {
        rows.extend(market(seed, None, &mut BTreeMap::new())?.1);
    }
    Models::learn(&rows)
}

/// One market; its findings and cases go into the tallies. Gives its records, and what may be learnt from it.
fn market(
    seed: u64,
    models: Option<&Models>,
    tallies: &mut BTreeMap<&'static str, Tally>,
) -> anyhow::Result<(u64, Rows)> {
    let scenario = Arc::new(scenario(seed)?);
    let law = Law::of(seed);
    let set = rules(law)?;
    let zone = TimeZone::get("Africa/Nairobi")?;
    let rules = |no| OperatorRules::new(number(no), zone.clone(), &set);
    let mut market = Market {
        scenario: &scenario,
        law,
        intake: Intake::new(&scenario)?,
        known: Known::default(),
        operators: (0..scenario.operators.len()).map(rules).collect(),
        nation: NationRules::new(JurisdictionNo(0), zone.clone(), &set),
        scored: Scored::new(scenario.operators.len(), &set, models),
        sums: Sums::default(),
        findings: Vec::new(),
        cases: Vec::new(),
        invoices: BTreeMap::new(),
        phones: BTreeMap::new(),
        devices: BTreeMap::new(),
    };
    let Stories { said, cases } = cases::plant(&scenario, law, seed, (BEGIN, DAYS), 2);
    cases.into_iter().for_each(|case| market.plant(case, true));
    let mut world = World::new(&scenario, seed, BEGIN, BEGIN);
    for (_, phone) in world.excluded() {
        market.known.exclude(&phone, Excluded { since: BEGIN.plus(-DAY), until: None });
    }
    let (mut said, mut truths, mut records) = (said.into_iter().peekable(), Vec::new(), 0);
    // what lies before the world begins, and then an hour at a time: both streams by their times
    let mut tick = BEGIN;
    for hour in 0..=DAYS * 24 {
        let until = BEGIN.plus(hour * HOUR);
        let mut events: Vec<(Ts, Said)> = Vec::new();
        for output in world.advance(until) {
            match output {
                Output::Record(sent) => events.push((sent.at, Said::Record(sent))),
                Output::Ask(ask) => events.push((ask.at, Said::Ask(ask))),
                Output::Truth(truth) => truths.push(truth),
            }
        }
        while let Some(event) = said.next_if(|(at, _)| *at < until) {
            events.push(event);
        }
        events.sort_by_key(|(at, _)| *at);
        for (at, event) in &events {
            while tick <= *at {
                (0..scenario.operators.len())
                    .for_each(|no| market.hear(no, &Input::Tick { at: tick, clock: Clock::Records }));
                tick = tick.plus(5 * MINUTE);
            }
            records += 1;
            market.said(*at, event)?;
        }
    }
    let end = BEGIN.plus(DAYS * DAY);
    truths.iter().for_each(|truth| market.truth(truth));
    market.papers(&truths, end);
    market.arithmetic();
    merge_pairs(&mut market.cases);
    let rows = market.modelled(&truths, end);
    settle(seed, market, tallies);
    tallies.entry(silence::RULE).or_default().add(feeds::judged(&scenario, seed, (BEGIN, DAYS)));
    Ok((records, rows))
}

fn settle(seed: u64, mut market: Market<'_>, tallies: &mut BTreeMap<&'static str, Tally>) {
    let mut said = std::collections::BTreeSet::new();
    for finding in market.findings.iter().filter(|finding| finding.kind != RevisionKind::Withdrawn) {
        let operator = match finding.scope {
            engine::rules::finding::Scope::Operator(no) => Some(usize::from(no.0) - 1),
            engine::rules::finding::Scope::Nation(_) => None,
        };
        let mut is_right = false;
        for known in &mut market.cases {
            let case = &known.case;
            let is_there = operator.is_none_or(|no| case.operators.contains(&no));
            let overlaps = finding.window.start <= case.to && case.from < finding.window.end;
            // what goes on is told of as a correction of what was found first
            let is_told = (case.from..=case.to.plus(MINUTE)).contains(&finding.at);
            let who = matches!(finding.who, Who::Declaration(_)) && known.who.contains(&Who::Operator);
            let is_it = who || known.who.contains(&finding.who);
            if case.conditions.contains(&finding.rule) && is_there && (overlaps || is_told) && is_it {
                is_right = true;
                known.found |= case.conditions.first() == Some(&finding.rule);
            }
        }
        if finding.kind != RevisionKind::Raised || !said.insert(finding.id) {
            continue;
        }
        let tally = tallies.entry(finding.rule).or_default();
        tally.findings += 1;
        tally.right += u64::from(is_right);
        if !is_right && tally.wrong.len() < TOLD {
            let near =
                market.cases.iter().filter(|known| known.who.contains(&finding.who)).map(|known| known.case.what);
            let near: Vec<&str> = near.take(3).collect();
            tally.wrong.push(format!("seed {seed}, {}: {} {near:?}", finding.at, finding.reasons.join("; ")));
        }
    }
    for known in market.cases.iter().filter(|known| known.is_planted) {
        let Some(condition) = known.case.conditions.first().copied() else { continue };
        let tally = tallies.entry(condition).or_default();
        tally.planted += 1;
        tally.found += u64::from(known.found);
        if !known.found && tally.missed.len() < TOLD {
            tally.missed.push(format!("seed {seed}, {}: {}", known.case.from, known.case.what));
        }
    }
}

/// Runs the markets, says what was found of each rule, and reports the worst.
///
/// # Errors
/// The engine refuses what the simulator says.
pub fn run(report: &mut Report) -> anyhow::Result<()> {
    let mut tallies: BTreeMap<&'static str, Tally> = BTreeMap::new();
    let models = learnt()?;
    let (mut records, mut curve, mut of_rings) = (0, odd::Curve::default(), rings::Curve::default());
    let first = asked("MLINZI_PLANTED_FIRST", 1, 1..=FIRST_MAX)?;
    for seed in first..first + SEEDS {
        records += market(seed, Some(&models), &mut tallies)?.0;
        let (of_series, heard) = odd::judged(seed, &mut curve)?;
        of_series.into_iter().for_each(|tally| tallies.entry(SERIES).or_default().add(tally));
        records += heard;
        rings::judged(seed, &mut of_rings)?;
    }
    say(&format!(
        "  {:<32} {:>8} {:>8} {:>8} {:>9} {:>9}",
        "rule", "planted", "found", "recall", "findings", "precision"
    ));
    let is_planted = |about: &&list::About| about.name == silence::RULE || about.is_here();
    for about in ABOUT.iter().filter(is_planted) {
        let tally = tallies.entry(about.name).or_default();
        let (recall, precision) = (tally.recall(), tally.precision());
        let Tally { planted, found, findings, .. } = tally;
        say(&format!("  {:<32} {planted:>8} {found:>8} {recall:>8.3} {findings:>9} {precision:>9.3}", about.name));
    }
    for (rule, tally) in &tallies {
        tally.missed.iter().for_each(|text| say(&format!("  {rule} missed: {text}")));
        tally.wrong.iter().for_each(|text| say(&format!("  {rule} wrong: {text}")));
    }
    curve.tell();
    of_rings.tell();
    let worst = |of: fn(&Tally) -> f64| {
        let by = |(rule, tally): (&&'static str, &Tally)| (of(tally), *rule);
        tallies.iter().map(by).min_by(|one, other| one.0.total_cmp(&other.0)).unwrap_or_default()
    };
    let (recall, deaf) = worst(Tally::recall);
    let (precision, loud) = worst(Tally::precision);
    let what =
        format!("{SEEDS} markets (from seed {first}) of {DAYS} days, {} rules, {records} records", tallies.len());
    let (recall_of, precision_of) = (format!("≥ .95; worst rule ({deaf})"), format!("≥ .90; worst rule ({loud})"));
    let of_series = format!("series_unusual: {}", curve.recalls());
    report.add("planted_recall", recall, "ratio", &format!("{recall_of}; {what}; {of_series}; {NOT_RUN}"))?;
    report.add("planted_precision", precision, "ratio", &format!("{precision_of}; {what}; {NOT_RUN}"))
}
