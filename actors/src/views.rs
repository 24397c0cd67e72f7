//! What the hub shows: the newest state of the market, read from slots that its owners fill.

mod groups;
mod parts;

pub use groups::GROUPS_MAX;

use crate::api::{FreshnessLabel, IntegrityView, SourceView};
use crate::desk::DeskView;
use crate::directory::Directory;
use crate::kernel::ActorSystem;
use crate::live::LiveSource;
use crate::market::{CurrencyTotals, ViewSlot};
use crate::source::SourceGauge;
use arc_swap::ArcSwap;
use engine::silence;
use models::feed::Source;
use models::ids::{OperatorId, OperatorNo, SourceId};
use models::jurisdiction::JurisdictionNo;
use models::live::Topic;
use models::money::Currency;
use models::ts::{SECOND, Ts};
use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use store::Clock;

/// Everything the hub may read.
pub struct Views {
    /// Who is watched.
    pub directory: Arc<ArcSwap<Directory>>,
    /// Operators' views.
    pub slots: RwLock<HashMap<OperatorNo, Arc<ViewSlot>>>,
    /// Sources' positions.
    pub gauges: RwLock<HashMap<SourceId, Arc<SourceGauge>>>,
    /// The actors.
    pub system: Arc<ActorSystem>,
    /// Now.
    pub clock: Arc<dyn Clock>,
    cache: Mutex<Encoded>,
    system_shown: Mutex<Option<(Ts, Versioned)>>,
    parts: Mutex<HashMap<JurisdictionNo, parts::Shown>>,
    desk: Arc<DeskView>,
    groups_shown: Mutex<HashMap<JurisdictionNo, groups::Shown>>,
}

/// The last text of a topic of a jurisdiction, with its number.
type Encoded = HashMap<(Shown, JurisdictionNo), Versioned>;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Shown {
    National,
    Feeds,
    System,
}

/// How old what a figure is made of is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
struct Inputs {
    /// When the source that has been silent for longest last delivered; null where none ever did.
    oldest_input_at: Option<Ts>,
    /// Sources that have never delivered: they are missing in the figure.
    inputs_missing: u32,
    #[serde(skip)]
    oldest_event_at: Option<Ts>,
}

impl Inputs {
    /// Of both.
    fn and(self, other: Self) -> Self {
        let older = |a: Option<Ts>, b: Option<Ts>| a.into_iter().chain(b).min();
        Self {
            oldest_input_at: older(self.oldest_input_at, other.oldest_input_at),
            inputs_missing: self.inputs_missing.saturating_add(other.inputs_missing),
            oldest_event_at: older(self.oldest_event_at, other.oldest_event_at),
        }
    }
}

#[derive(Serialize)]
struct National {
    as_of: Option<Ts>,
    #[serde(flatten)]
    inputs: Inputs,
    currencies: Vec<NationalTotals>,
}

#[derive(Serialize)]
struct NationalTotals {
    currency: Currency,
    stakes: i64,
    payouts: i64,
    ggr: i64,
    records: u64,
    operators: u32,
}

#[derive(Serialize)]
struct Items<T> {
    items: Vec<T>,
}

#[derive(Serialize)]
struct Actors<T> {
    actors: Vec<T>,
}

/// A view as JSON and the number that moves with it.
type Versioned = (u64, Arc<str>);

/// Freshness from the age of the last success against the interval that is expected.
pub fn freshness(source: &Source, last_success: Option<Ts>, now: Ts) -> FreshnessLabel {
    let Some(last) = last_success else { return FreshnessLabel::Never };
    let expected = i64::from(source.expected_interval_seconds.max(1)) * SECOND;
    match now.0.saturating_sub(last.0) / expected {
        ..silence::LATE_INTERVALS => FreshnessLabel::Fresh,
        silence::LATE_INTERVALS..silence::STALE_INTERVALS => FreshnessLabel::Late,
        silence::STALE_INTERVALS..silence::DEAD_INTERVALS => FreshnessLabel::Stale,
        _ => FreshnessLabel::Dead,
    }
}

fn time(micros: i64) -> Option<Ts> {
    (micros > 0).then_some(Ts(micros))
}

impl Views {
    /// Empty slots.
    pub fn new(
        directory: Arc<ArcSwap<Directory>>,
        system: Arc<ActorSystem>,
        clock: Arc<dyn Clock>,
        desk: Arc<DeskView>,
    ) -> Self {
        Self {
            directory,
            slots: RwLock::default(),
            gauges: RwLock::default(),
            system,
            clock,
            cache: Mutex::default(),
            system_shown: Mutex::default(),
            parts: Mutex::default(),
            desk,
            groups_shown: Mutex::default(),
        }
    }

    /// Sources with their positions, of one operator or all, by name.
    pub fn sources(&self, keep: impl Fn(&Source) -> bool) -> Vec<SourceView> {
        let directory = self.directory.load();
        let gauges = self.gauges.read();
        let now = self.clock.now();
        let mut views: Vec<SourceView> = directory
            .sources
            .values()
            .filter(|source| keep(source))
            .filter_map(|source| {
                let operator = directory.operators.get(&source.operator_no)?;
                let gauge = gauges.get(&source.id).cloned().unwrap_or_default();
                let last_success_at = time(gauge.last_success_at.load(Ordering::Relaxed));
                let integrity_state = gauge.integrity.lock().clone();
                Some(SourceView {
                    id: source.id,
                    operator: operator.id,
                    operator_code: operator.code.clone(),
                    name: source.name.clone(),
                    class: source.class.data(),
                    freshness: freshness(source, last_success_at, now),
                    last_event_at: time(gauge.last_event_at.load(Ordering::Relaxed)),
                    last_success_at,
                    records: gauge.records.load(Ordering::Relaxed),
                    duplicates: gauge.duplicates.load(Ordering::Relaxed),
                    quarantined: gauge.quarantined.load(Ordering::Relaxed),
                    quarantine_open: gauge.open.total(),
                    cursor: gauge.source_seq.load(Ordering::Relaxed).to_string(),
                    paused: source.paused,
                    conflicts: gauge.conflicts.load(Ordering::Relaxed),
                    late: gauge.late.load(Ordering::Relaxed),
                    replaced: gauge.replaced.load(Ordering::Relaxed),
                    integrity: integrity_state.as_deref().filter(|state| state.version > 0).map(IntegrityView::of),
                    integrity_state,
                    listening_since: time(gauge.listening_since.load(Ordering::Acquire)),
                    last_day: gauge.last_day.lock().clone(),
                    polling: source.reader.is_some().then(|| gauge.polling.view()),
                    source: Arc::clone(source),
                })
            })
            .collect();
        views.sort_by(|a, b| (&a.operator_code, &a.name).cmp(&(&b.operator_code, &b.name)));
        views
    }

    /// Sources of documents, of which no figure is made.
    pub fn document_sources(&self) -> BTreeSet<SourceId> {
        let directory = self.directory.load();
        directory.sources.values().filter(|source| source.class.data().is_documents()).map(|source| source.id).collect()
    }

    /// How fresh each source is.
    pub fn freshness_of_sources(&self) -> impl Iterator<Item = FreshnessLabel> {
        let (directory, gauges, now) = (self.directory.load(), self.gauges.read(), self.clock.now());
        let last = |id| gauges.get(id).and_then(|gauge| time(gauge.last_success_at.load(Ordering::Relaxed)));
        let labels = directory.sources.iter().map(|(id, source)| freshness(source, last(id), now));
        labels.collect::<Vec<_>>().into_iter()
    }

    /// Serialises and numbers: the number moves only when the text does.
    fn versioned(&self, topic: Shown, jurisdiction: JurisdictionNo, data: &impl Serialize) -> Versioned {
        let json: Arc<str> = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned()).into();
        let version = hash(&json);
        let mut cache = self.cache.lock();
        let entry = cache.entry((topic, jurisdiction)).or_insert_with(|| (version, Arc::clone(&json)));
        if entry.0 != version {
            *entry = (version, json);
        }
        entry.clone()
    }

    fn in_jurisdiction(&self, no: OperatorNo, jurisdiction: JurisdictionNo) -> bool {
        self.directory.load().operators.get(&no).is_some_and(|o| o.jurisdiction == jurisdiction)
    }
}

impl Views {
    /// The operator's own view, and how old the oldest of its sources is.
    fn operator(&self, id: OperatorId) -> Option<Versioned> {
        let no = *self.directory.load().operator_by_id.get(&id)?;
        let (version, json) = self.slots.read().get(&no)?.read()?;
        let inputs = self.inputs(|source| source.operator_no == no).remove(&no).unwrap_or_default();
        Some((hash(&(version, &inputs)), with_inputs(&json, &inputs)))
    }

    fn national(&self, jurisdiction: JurisdictionNo) -> Versioned {
        let slots = self.slots.read();
        let mut sums: BTreeMap<Currency, NationalTotals> = BTreeMap::new();
        for (_, slot) in slots.iter().filter(|(no, _)| self.in_jurisdiction(**no, jurisdiction)) {
            for CurrencyTotals { currency, stakes, payouts, ggr, records } in slot.totals() {
                let sum = sums.entry(currency).or_insert(NationalTotals {
                    currency,
                    stakes: 0,
                    payouts: 0,
                    ggr: 0,
                    records: 0,
                    operators: 0,
                });
                sum.stakes = sum.stakes.saturating_add(stakes);
                sum.payouts = sum.payouts.saturating_add(payouts);
                sum.ggr = sum.ggr.saturating_add(ggr);
                sum.records += records;
                sum.operators += 1;
            }
        }
        drop(slots);
        let inputs = self.inputs(|source| self.in_jurisdiction(source.operator_no, jurisdiction));
        let inputs = inputs.into_values().fold(Inputs::default(), Inputs::and);
        // a figure is as old as its oldest input
        let national = National { as_of: inputs.oldest_event_at, inputs, currencies: sums.into_values().collect() };
        self.versioned(Shown::National, jurisdiction, &national)
    }

    fn feeds(&self, jurisdiction: JurisdictionNo) -> Versioned {
        let items = self.sources(|s| self.in_jurisdiction(s.operator_no, jurisdiction));
        self.versioned(Shown::Feeds, jurisdiction, &Items { items })
    }

    fn system(&self) -> Versioned {
        // counters of a thousand actors move with every tick: once a second is enough to see that they do
        let now = self.clock.now();
        let mut shown = self.system_shown.lock();
        if let Some((_, view)) = shown.as_ref().filter(|(at, _)| (0..SECOND).contains(&(now.0 - at.0))) {
            return view.clone();
        }
        // ages move by themselves and would make every tick a change
        let mut actors = self.system.list();
        for actor in &mut actors {
            actor.queue_oldest_age_ms = actor.queue_oldest_age_ms / 1000 * 1000;
            actor.last_progress_at_age_ms = 0;
        }
        let view = self.versioned(Shown::System, JurisdictionNo(0), &Actors { actors });
        *shown = Some((now, view.clone()));
        view
    }

    /// How old what feeds the operators is, by operator.
    fn inputs(&self, keep: impl Fn(&Source) -> bool) -> HashMap<OperatorNo, Inputs> {
        let (directory, gauges) = (self.directory.load(), self.gauges.read());
        let mut inputs: HashMap<OperatorNo, Inputs> = HashMap::new();
        // figures are of play: what authorities and banks send is in none of them
        let feeds_figures = |source: &&Arc<Source>| !source.class.data().is_documents() && keep(source);
        for source in directory.sources.values().filter(feeds_figures) {
            let gauge = gauges.get(&source.id);
            let at = |of: fn(&SourceGauge) -> &AtomicI64| gauge.and_then(|g| time(of(g).load(Ordering::Relaxed)));
            let (success, event) = (at(|g| &g.last_success_at), at(|g| &g.last_event_at));
            let one = Inputs {
                oldest_input_at: success,
                oldest_event_at: event,
                inputs_missing: u32::from(success.is_none()),
            };
            let held = inputs.entry(source.operator_no).or_default();
            *held = held.and(one);
        }
        inputs
    }
}

impl LiveSource for Views {
    fn read(&self, jurisdiction: JurisdictionNo, topic: Topic) -> Option<Versioned> {
        match topic {
            Topic::National => Some(self.national(jurisdiction)),
            Topic::Groups => Some(self.groups(jurisdiction)),
            Topic::Feeds => Some(self.feeds(jurisdiction)),
            Topic::System => Some(self.system()),
            Topic::Operator(id) => self.operator(id),
            Topic::Regions | Topic::Region(_) | Topic::Products | Topic::Product(_) => self.part(jurisdiction, topic),
            Topic::Alerts | Topic::OperatorAlerts(_) => None,
        }
    }

    fn operator_of(&self, no: OperatorNo) -> Option<(Option<OperatorId>, JurisdictionNo)> {
        let directory = self.directory.load();
        let id = directory.operators.get(&no).map(|operator| operator.id);
        directory.jurisdiction_of(no).map(|jurisdiction| (id, jurisdiction))
    }

    fn operator_no(&self, id: OperatorId, jurisdiction: JurisdictionNo) -> Option<OperatorNo> {
        self.directory.load().operator(id, jurisdiction).map(|o| o.operator_no)
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// An operator's view is a JSON object made by its actor, which knows nothing of other sources than its records': what is
/// known here goes in front of its fields, because parsing a view for it at every tick would cost more than all the rest.
fn with_inputs(json: &str, inputs: &Inputs) -> Arc<str> {
    let own = serde_json::to_string(inputs).unwrap_or_else(|_| "{}".to_owned());
    match (own.strip_suffix('}'), json.strip_prefix('{')) {
        (Some(own), Some(rest)) => format!("{own},{rest}").into(),
        _ => json.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_by_age() {
        let source = Source::for_tests();
        let table = [
            (None, FreshnessLabel::Never),
            (Some(0), FreshnessLabel::Fresh),
            (Some(119), FreshnessLabel::Fresh),
            (Some(120), FreshnessLabel::Late),
            (Some(240), FreshnessLabel::Stale),
            (Some(24 * 60), FreshnessLabel::Dead),
        ];
        for (age, label) in table {
            let now = Ts(10_000 * SECOND);
            assert_eq!(freshness(&source, age.map(|a| now.plus(-a * SECOND)), now), label, "{age:?} s");
        }
    }
}
