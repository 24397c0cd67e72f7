//! The jurisdiction by region and by product: the current hour and day, summed over its operators.
//!
//! All topics of a jurisdiction are made together, when one of them is asked for and an operator or a source has moved
//! since, so that fifty watched regions cost one pass over the operators and not fifty.

use super::{Inputs, Versioned, Views, hash};
use engine::operator_state::{Breakdown, Flow, Part, Recent};
use models::alert::Window;
use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
use models::live::Topic;
use models::money::Currency;
use models::record::Product;
use models::region::Region;
use models::ts::{MINUTE, Ts};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Regions of a jurisdiction; what is in further ones is counted under `other`.
const REGIONS_MAX: usize = 256;

/// What was shown last, and of what it was made.
pub(super) struct Shown {
    stamp: u64,
    topics: HashMap<Topic, Versioned>,
}

/// One region or product.
#[derive(Serialize)]
struct PartView {
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<Product>,
    #[serde(flatten)]
    inputs: Inputs,
    currencies: Vec<PartTotals>,
}

#[derive(Serialize)]
struct PartTotals {
    currency: Currency,
    /// Operators with play in it, today.
    operators: u32,
    hour: Option<WindowView>,
    day: Option<WindowView>,
}

/// Sums of a window, minor units.
#[derive(Serialize)]
struct WindowView {
    start: Ts,
    end: Ts,
    count: u64,
    stakes: i64,
    payouts: i64,
    ggr: i64,
}

impl WindowView {
    fn of((window, flow): (Window, Flow)) -> Self {
        Self {
            start: window.start,
            end: window.end,
            count: flow.count,
            stakes: flow.stakes(),
            payouts: flow.payouts(),
            ggr: flow.gross_gaming_revenue(),
        }
    }
}

#[derive(Serialize)]
struct Parts<'a> {
    items: Vec<&'a PartView>,
}

/// Sums over operators.
#[derive(Default)]
struct Sum {
    hour: Flow,
    day: Flow,
    operators: u32,
}

/// A part over all currencies.
#[derive(Default)]
struct PartSum {
    currencies: BTreeMap<Currency, Sum>,
    inputs: Inputs,
    /// Whose inputs were taken in last: an operator with two currencies is one input.
    last: Option<OperatorNo>,
}

/// The current hour and the current day.
#[derive(Clone, Copy, Default)]
struct Current {
    hour: Option<Window>,
    day: Option<Window>,
}

impl Views {
    /// The text of a topic of a region or product.
    pub(super) fn part(&self, jurisdiction: JurisdictionNo, topic: Topic) -> Option<Versioned> {
        let now = self.clock.now();
        let inputs = self.inputs(|source| self.in_jurisdiction(source.operator_no, jurisdiction));
        let mut operators: Vec<(OperatorNo, u64, Arc<Breakdown>)> = {
            let slots = self.slots.read();
            let here = slots.iter().filter(|(no, _)| self.in_jurisdiction(**no, jurisdiction));
            here.map(|(no, slot)| (*no, slot.version(), slot.breakdown())).collect()
        };
        operators.sort_by_key(|(no, ..)| *no);
        let versions: Vec<(u16, u64, Option<&Inputs>)> =
            operators.iter().map(|(no, version, _)| (no.0, *version, inputs.get(no))).collect();
        // the minute, because an hour begins although nothing moves
        let stamp = hash(&(versions, now.floor_to(MINUTE).0));
        let mut shown = self.parts.lock();
        let held = shown.entry(jurisdiction).or_insert_with(|| Shown { stamp: !stamp, topics: HashMap::new() });
        if held.stamp != stamp {
            let parts = sum(&operators, &inputs, now);
            *held = Shown { stamp, topics: encode(parts) };
        }
        let known = held.topics.get(&topic).cloned();
        // nothing was played there: that is a figure, too
        Some(known.unwrap_or_else(|| {
            encoded(&PartView {
                region: if let Topic::Region(region) = topic { Some(region) } else { None },
                product: if let Topic::Product(product) = topic { Some(product) } else { None },
                inputs: inputs.into_values().fold(Inputs::default(), Inputs::and),
                currencies: Vec::new(),
            })
        }))
    }
}

fn encoded(view: &impl Serialize) -> Versioned {
    let json: Arc<str> = serde_json::to_string(view).unwrap_or_else(|_| "null".to_owned()).into();
    (hash(&json), json)
}

/// The newest windows that have begun: one that a clock ahead of ours began is not the current one.
fn current(operators: &[(OperatorNo, u64, Arc<Breakdown>)], now: Ts) -> Current {
    let mut current = Current::default();
    for (_, _, cell) in operators.iter().flat_map(|(_, _, breakdown)| breakdown.cells()) {
        let newest = |recent: &Recent, held: Option<Window>| {
            let begun = recent.windows().map(|(window, _)| *window).filter(|window| window.start <= now);
            begun.chain(held).max_by_key(|window| window.start)
        };
        current = Current { hour: newest(&cell.hour, current.hour), day: newest(&cell.day, current.day) };
    }
    current
}

type Sums = BTreeMap<Part, PartSum>;

fn sum(
    operators: &[(OperatorNo, u64, Arc<Breakdown>)],
    inputs: &HashMap<OperatorNo, Inputs>,
    now: Ts,
) -> (Current, Sums) {
    let current = current(operators, now);
    let (mut sums, mut regions) = (Sums::new(), 0);
    for (_, _, breakdown) in operators {
        for (currency, part, cell) in breakdown.cells() {
            let within = |recent: &Recent, window: Option<Window>| {
                recent.windows().find(|(held, _)| window.is_some_and(|w| w.start == held.start)).map(|(_, flow)| *flow)
            };
            let (hour, Some(day)) = (within(&cell.hour, current.hour), within(&cell.day, current.day)) else {
                continue;
            };
            let sum = place(&mut sums, &mut regions, part).currencies.entry(currency).or_default();
            sum.hour.add(&hour.unwrap_or_default());
            sum.day.add(&day);
            sum.operators += 1;
        }
    }
    // whoever has ever played there is an input: who has fallen silent has no cell of today, and is what is missing. Behind
    // all sums, so that where nothing is played takes no region's place
    for (no, _, breakdown) in operators {
        for (_, part, _) in breakdown.cells() {
            let held = place(&mut sums, &mut regions, part);
            if held.last.replace(*no) != Some(*no) {
                held.inputs = held.inputs.and(inputs.get(no).copied().unwrap_or_default());
            }
        }
    }
    (current, sums)
}

/// Where a part is summed: a region too many is another.
fn place<'a>(sums: &'a mut Sums, regions: &mut usize, part: Part) -> &'a mut PartSum {
    let is_new = matches!(part, Part::Region(_)) && !sums.contains_key(&part);
    let part = if is_new && *regions >= REGIONS_MAX { Part::Region(Region::OTHER) } else { part };
    *regions += usize::from(is_new);
    sums.entry(part).or_default()
}

fn encode((current, sums): (Current, Sums)) -> HashMap<Topic, Versioned> {
    let window = |window: Option<Window>, flow: Flow| window.map(|window| WindowView::of((window, flow)));
    let views: Vec<(Topic, PartView)> = sums
        .into_iter()
        .map(|(part, sum)| {
            let (topic, region, product) = match part {
                Part::Region(region) => (Topic::Region(region), Some(region), None),
                Part::Product(product) => (Topic::Product(product), None, Some(product)),
            };
            let totals = sum.currencies.into_iter().map(|(currency, sum)| PartTotals {
                currency,
                operators: sum.operators,
                hour: window(current.hour, sum.hour),
                day: window(current.day, sum.day),
            });
            (topic, PartView { region, product, inputs: sum.inputs, currencies: totals.collect() })
        })
        .collect();
    let list = |is: fn(&PartView) -> bool| {
        encoded(&Parts { items: views.iter().map(|(_, view)| view).filter(|view| is(view)).collect() })
    };
    let mut topics: HashMap<Topic, Versioned> = views.iter().map(|(topic, view)| (*topic, encoded(view))).collect();
    topics.insert(Topic::Regions, list(|view| view.region.is_some()));
    topics.insert(Topic::Products, list(|view| view.product.is_some()));
    topics
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::ingest::{self, Resolver};
    use engine::operator_state::{OperatorInput, OperatorState};
    use jiff::tz::TimeZone;
    use models::feed::{DataClass, SourceClock};
    use models::match_key::DigestKeys;
    use models::phone::Country;
    use models::record::Record;
    use models::ts::HOUR;

    /// Stakes of 100 in a region, each at an hour.
    fn played(no: u16, hours: &[i64]) -> (OperatorNo, u64, Arc<Breakdown>) {
        let digest = DigestKeys::new([(0, [7; 32])]).unwrap();
        let resolver = Resolver {
            digest: &digest,
            token_keys: &[],
            family: "t",
            operator_no: OperatorNo(no),
            class: DataClass::GamingTransactions,
            country: Country::Ke,
            currency: Currency::KES,
        };
        let record = |hour: &i64| -> Record {
            let json = format!(
                r#"{{"record_id":"{hour}","kind":"stake","occurred_at":"{}","region":"KE-30","product":"casino","money":{{"amount_minor":100,"currency":"KES"}}}}"#,
                Ts(hour * HOUR)
            );
            ingest::record(json.as_bytes(), &resolver).unwrap()
        };
        let records: Vec<Record> = hours.iter().map(record).collect();
        let mut state = OperatorState::new(OperatorNo(no), format!("op-{no}"), TimeZone::UTC);
        let (clock_at, clock) = (records.iter().map(|r| r.occurred_at).max().unwrap(), SourceClock::Event);
        state.apply(OperatorInput::Batch { operator_seq: 1, clock_at, clock, records: &records });
        (OperatorNo(no), 1, Arc::new(state.breakdown().clone()))
    }

    #[test]
    fn who_fell_silent_yesterday_is_an_input_of_today() {
        // 1 January 2027, as hours
        let day = 499_656;
        let operators = [played(1, &[day + 20, day + 26]), played(2, &[day + 23])];
        let delivered = |hour: i64| Inputs { oldest_input_at: Some(Ts(hour * HOUR)), ..Inputs::default() };
        let inputs = HashMap::from([(OperatorNo(1), delivered(day + 26)), (OperatorNo(2), delivered(day + 23))]);
        for part in [Part::Region(Region::parse("KE-30").unwrap()), Part::Product(Product::Casino)] {
            let (_, sums) = sum(&operators, &inputs, Ts((day + 27) * HOUR));
            let held = &sums[&part];
            let totals = &held.currencies[&Currency::KES];
            assert_eq!((totals.operators, totals.day.stakes()), (1, 100), "the day is that of the one that plays");
            assert_eq!(held.inputs.oldest_input_at, Some(Ts((day + 23) * HOUR)), "and lacks the other");
        }
    }
}
