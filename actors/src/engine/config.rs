//! What an engine is told before it starts.

use crate::feeds::FeedsConfig;
use crate::live::LiveLimits;
use crate::notifiers::NotifySetup;
use crate::register::InspectEvent;
use crate::rules::Known;
use crate::source::Inspect;
use models::jurisdiction::Jurisdiction;
use std::sync::Arc;
use std::time::Duration;

/// What the assembly is told.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct EngineConfig {
    pub node: u16,
    pub arbiters: usize,
    pub live_tick: Duration,
    pub checkpoint_every: Duration,
    pub source_queue: usize,
    pub operator_queue: usize,
    pub register_queue: usize,
    /// How many may watch.
    pub live_limits: LiveLimits,
    pub write_timeout: Duration,
    /// How often the index is copied into the store, where it has changed.
    pub snapshot_every: Duration,
    /// Months after which nobody can tell any more whom a lookup was about.
    pub evidence_person_months: u16,
    /// People whom it never asked about before that an operator may ask about in an hour, one by one; more raises an alert
    /// and slows the key that goes on down.
    pub strangers_per_hour: u32,
    /// The same in batches in a day: a whole base is swept once, a country's numbers never.
    pub batch_strangers_per_day: u32,
    pub jurisdictions: Vec<Jurisdiction>,
    /// Jurisdiction family of the deployment: part of every digest, never to be changed.
    pub family: String,
    /// How bearers of new keys begin.
    pub key_prefix: &'static str,
    /// What sources that fetch by themselves may reach.
    pub feeds: FeedsConfig,
    /// Who is told of alerts outside the screens, and how.
    pub notify: NotifySetup,
    /// Says what register and evidence knew of a batch's players when it was stored, instead of the node's own.
    pub known: Option<Arc<dyn Known>>,
    /// Faults for tests and benches; the product injects none.
    pub faults: Faults,
}

/// Faults for tests and benches: a hook sees each record or event and may panic.
#[derive(Clone, Default)]
pub struct Faults {
    /// Before a source stages it.
    pub sources: Option<Inspect>,
    /// Before an operator's state applies it.
    pub operators: Option<Inspect>,
    /// Before rules hear it.
    pub rules: Option<Inspect>,
    /// Before the index applies it: may also block.
    pub register: Option<InspectEvent>,
}

impl EngineConfig {
    /// A small node of a family, with no jurisdiction yet: one arbiter, short queues, nobody is told anything outside, and
    /// no limit on whom an operator asks about. What the product runs with stands in its configuration.
    pub fn small(family: &str) -> Self {
        Self {
            node: 1,
            arbiters: 1,
            live_tick: Duration::from_millis(100),
            checkpoint_every: Duration::from_secs(60),
            source_queue: 16,
            operator_queue: 64,
            register_queue: 1_024,
            live_limits: LiveLimits::default(),
            write_timeout: Duration::from_secs(5),
            snapshot_every: Duration::from_secs(300),
            evidence_person_months: 24,
            strangers_per_hour: u32::MAX,
            batch_strangers_per_day: u32::MAX,
            jurisdictions: Vec::new(),
            family: family.to_owned(),
            key_prefix: "mk_live_",
            feeds: FeedsConfig::default(),
            notify: NotifySetup::default(),
            known: None,
            faults: Faults::default(),
        }
    }
}
