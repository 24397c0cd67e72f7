//! The kernel's metrics, labelled by kind only. Counters count as things happen; gauges are read from the list of
//! actors at scrape time, so they cannot drift.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::handle::Supervised;
use super::status::ActorState;

/// All actors of a system by name.
#[derive(Default)]
pub(super) struct Actors(Mutex<BTreeMap<String, Arc<dyn Supervised>>>);

impl Actors {
    pub(super) fn all(&self) -> Vec<Arc<dyn Supervised>> {
        self.0.lock().values().cloned().collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<dyn Supervised>> {
        self.0.lock().get(name).cloned()
    }

    /// False when another actor has the name and `replaceable` does not give it up.
    pub(super) fn insert(
        &self,
        name: &str,
        actor: Arc<dyn Supervised>,
        replaceable: impl FnOnce(&dyn Supervised) -> bool,
    ) -> bool {
        let mut actors = self.0.lock();
        let free = actors.get(name).is_none_or(|old| replaceable(&**old));
        if free {
            actors.insert(name.to_owned(), actor);
        }
        free
    }
}

/// The counters of one kind.
pub(super) struct KindMeters {
    pub(super) restarts: IntCounter,
    pub(super) dead_letters: IntCounter,
    pub(super) refused: IntCounter,
    pub(super) handled: IntCounter,
}

/// The metrics of one [`super::ActorSystem`].
#[derive(Clone)]
pub struct KernelMetrics {
    restarts: IntCounterVec,
    dead_letters: IntCounterVec,
    refused: IntCounterVec,
    handled: IntCounterVec,
    queue_depth: IntGaugeVec,
    queue_oldest: GaugeVec,
    quarantined: IntGaugeVec,
    threads_lost: IntCounter,
    actors: Arc<Actors>,
    scrape: Arc<Mutex<()>>,
}

impl KernelMetrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// When the registry already has metrics of these names.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self::new()?;
        registry.register(Box::new(metrics.clone()))?;
        Ok(metrics)
    }

    pub(super) fn unregistered() -> Self {
        Self::new().expect("constant metric names are valid")
    }

    fn new() -> Result<Self, prometheus::Error> {
        let counter = |name, help| IntCounterVec::new(Opts::new(name, help), &["kind"]);
        let gauge = |name, help| IntGaugeVec::new(Opts::new(name, help), &["kind"]);
        Ok(Self {
            restarts: counter("mlinzi_actor_restarts_total", "Restarts of supervised actors after a crash or hang.")?,
            dead_letters: counter("mlinzi_actor_dead_letters_total", "Records stored as dead letters.")?,
            refused: counter("mlinzi_actor_refused_total", "Messages refused by an actor's queue.")?,
            handled: counter("mlinzi_actor_handled_total", "Messages handled.")?,
            queue_depth: gauge("mlinzi_actor_queue_depth", "Messages in the longest queue of this kind of actor.")?,
            queue_oldest: GaugeVec::new(
                Opts::new("mlinzi_actor_queue_oldest_age_seconds", "Age of the oldest waiting message."),
                &["kind"],
            )?,
            quarantined: gauge("mlinzi_actor_quarantined", "Actors in quarantine.")?,
            threads_lost: IntCounter::new(
                "mlinzi_actor_threads_lost_total",
                "Threads of actors given up because a handler blocked them.",
            )?,
            actors: Arc::default(),
            scrape: Arc::default(),
        })
    }

    pub(super) fn threads_lost(&self) -> IntCounter {
        self.threads_lost.clone()
    }

    pub(super) fn actors(&self) -> Arc<Actors> {
        Arc::clone(&self.actors)
    }

    pub(super) fn of_kind(&self, kind: &'static str) -> KindMeters {
        let labels = &[kind];
        KindMeters {
            restarts: self.restarts.with_label_values(labels),
            dead_letters: self.dead_letters.with_label_values(labels),
            refused: self.refused.with_label_values(labels),
            handled: self.handled.with_label_values(labels),
        }
    }

    fn collectors(&self) -> [&dyn Collector; 8] {
        [
            &self.restarts,
            &self.dead_letters,
            &self.refused,
            &self.handled,
            &self.queue_depth,
            &self.queue_oldest,
            &self.quarantined,
            &self.threads_lost,
        ]
    }

    fn read_gauges(&self) {
        #[derive(Default)]
        struct Worst {
            depth: usize,
            oldest_ms: u64,
            quarantined: i64,
        }
        let mut kinds: BTreeMap<&'static str, Worst> = BTreeMap::new();
        for actor in self.actors.all() {
            let status = actor.status();
            let worst = kinds.entry(status.kind).or_default();
            worst.depth = worst.depth.max(status.queue_depth);
            worst.oldest_ms = worst.oldest_ms.max(status.queue_oldest_age_ms);
            worst.quarantined += i64::from(status.state == ActorState::Quarantined);
        }
        for (kind, worst) in kinds {
            let depth = i64::try_from(worst.depth).unwrap_or(i64::MAX);
            self.queue_depth.with_label_values(&[kind]).set(depth);
            let oldest = std::time::Duration::from_millis(worst.oldest_ms).as_secs_f64();
            self.queue_oldest.with_label_values(&[kind]).set(oldest);
            self.quarantined.with_label_values(&[kind]).set(worst.quarantined);
        }
    }
}

impl Collector for KernelMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.collectors().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _one_at_a_time = self.scrape.lock();
        self.read_gauges();
        self.collectors().into_iter().flat_map(Collector::collect).collect()
    }
}
