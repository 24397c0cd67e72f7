//! The world as a whole: repeatable, complete, and like what it says it is.

mod contract;
mod marks;
mod money;
mod people_and_seasons;
mod whole;

use super::record::{Class, Sent};
use super::scenario::Scenario;
use super::truth::{RecordRef, Truth};
use super::world::{Output, World};
use models::ts::{HOUR, Ts};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A Monday.
const MONDAY: &str = "2026-03-02T00:00:00Z";

/// Everything that a world said.
struct Told {
    scenario: Arc<Scenario>,
    records: Vec<Sent>,
    asks: Vec<super::record::Ask>,
    truths: Vec<Truth>,
}

impl Told {
    fn of(scenario: Scenario, seed: u64, days: i64) -> Self {
        let begin = Ts::parse(MONDAY).unwrap();
        let scenario = Arc::new(scenario);
        let mut world = World::new(&scenario, seed, begin, begin);
        let mut outputs = Vec::new();
        for hour in 1..=days * 24 {
            outputs.extend(world.advance(begin.plus(hour * HOUR)));
        }
        outputs.extend(world.finish());
        let mut told = Self { scenario, records: Vec::new(), asks: Vec::new(), truths: Vec::new() };
        for output in outputs {
            match output {
                Output::Record(sent) => told.records.push(*sent),
                Output::Ask(ask) => told.asks.push(ask),
                Output::Truth(line) => told.truths.push(line),
            }
        }
        told
    }

    fn of_class(&self, class: Class) -> impl Iterator<Item = &Sent> {
        self.records.iter().filter(move |sent| sent.class == class)
    }

    fn find(&self, name: &RecordRef) -> Option<&Sent> {
        let is_it = |sent: &&Sent| sent.class == name.class && sent.record.record_id == name.id;
        self.records.iter().find(is_it)
    }
}

fn scenario(name: &str) -> Scenario {
    Scenario::from_toml(Scenario::known(name).unwrap()).unwrap()
}

/// The market with fewer people, and without what breaks by itself.
fn small_market() -> Scenario {
    let mut scenario = scenario("market");
    let players = &mut scenario.players;
    players.casual.as_mut().unwrap().count = 60;
    players.heavy.as_mut().unwrap().count = 6;
    players.at_risk.as_mut().unwrap().count = 6;
    players.excluded.as_mut().unwrap().count = 6;
    scenario.faults.clear();
    scenario
}

/// The demo with fewer people.
fn small_demo() -> Scenario {
    let mut scenario = scenario("demo");
    let players = &mut scenario.players;
    players.casual.as_mut().unwrap().count = 60;
    players.heavy.as_mut().unwrap().count = 4;
    scenario
        .operators
        .iter_mut()
        .filter_map(|operator| operator.sales.as_mut())
        .for_each(|s| s.tickets_per_day = 9_000.0);
    scenario
}

/// Records that a line of the ground truth names.
fn named(truth: &Truth) -> Vec<&RecordRef> {
    match truth {
        Truth::Episode { records, .. } | Truth::Campaign { records, .. } | Truth::Discrepancy { records, .. } => {
            records.iter().collect()
        }
        Truth::UncheckedLogin { record, .. } | Truth::Spoiled { record, .. } => vec![record],
        _ => Vec::new(),
    }
}

fn names(records: &[Sent], scenario: &Scenario) -> BTreeSet<RecordRef> {
    let name = |sent: &Sent| RecordRef::of(&scenario.operators[sent.operator].code, sent.class, &sent.record);
    records.iter().map(name).collect()
}

/// So many of `tries` happened, each with a probability of `p`: no further from what is expected than five deviations.
fn check_share(what: &str, found: f64, tries: f64, p: f64) {
    let tolerance = 5.0 * (tries * p * (1.0 - p)).sqrt();
    let expected = tries * p;
    assert!((found - expected).abs() <= tolerance, "{what}: {found} of {tries}, not {expected} ± {tolerance}");
}

/// The same of counts of a Poisson process.
fn check_count(what: &str, found: f64, expected: f64) {
    let tolerance = 5.0 * expected.sqrt();
    assert!((found - expected).abs() <= tolerance, "{what}: {found}, not {expected} ± {tolerance}");
}
