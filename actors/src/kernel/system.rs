//! The arbiters, the list of all supervised actors, and their common end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actix_rt::Arbiter;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::arbiters::Arbiters;
use super::budget::Ledger;
use super::event::{Bus, KernelEvent};
use super::guard::install_recorder;
use super::handle::{Handle, Phase, Shared, Supervised, stop_all};
use super::metrics::{Actors, KernelMetrics};
use super::queue::Queue;
use super::status::{ActorState, ActorStatus, Vitals};
use super::supervisor::Supervisor;
use super::{Spec, Work};

/// Why an actor was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpawnError {
    /// A live actor has this name.
    #[error("actor {0} is already running")]
    NameTaken(String),
    /// The system is shutting down.
    #[error("actor system is shutting down")]
    ShuttingDown,
}

/// Runs supervised actors on a fixed number of threads. Dropping it ends them without draining.
pub struct ActorSystem {
    arbiters: Arc<Arbiters>,
    /// Supervisors run apart from what they supervise.
    watchtower: Arbiter,
    next: AtomicUsize,
    closing: AtomicBool,
    actors: Arc<Actors>,
    bus: Arc<Bus>,
    metrics: Mutex<KernelMetrics>,
}

impl ActorSystem {
    /// Starts `arbiters` threads (at least one) for actors and one for their supervisors.
    ///
    /// # Panics
    /// Outside an actix system (`#[actix_rt::main]`, `#[actix_rt::test]`), and if a thread cannot be started.
    pub fn new(arbiters: usize) -> Self {
        Self::with_metrics(arbiters, KernelMetrics::unregistered())
    }

    /// As [`ActorSystem::new`], counting into registered metrics. One system per [`KernelMetrics`].
    ///
    /// # Panics
    /// As [`ActorSystem::new`].
    pub fn with_metrics(arbiters: usize, metrics: KernelMetrics) -> Self {
        install_recorder();
        Self {
            arbiters: Arc::new(Arbiters::new(arbiters, metrics.threads_lost())),
            watchtower: Arbiter::new(),
            next: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            actors: metrics.actors(),
            bus: Arc::default(),
            metrics: Mutex::new(metrics),
        }
    }

    /// Calls `hook` with every event from now on, on a kernel or actor thread: it must not block.
    pub fn on_event(&self, hook: impl Fn(&KernelEvent) + Send + Sync + 'static) {
        self.bus.subscribe(hook);
    }

    /// All actors by name, stopped ones included until their name is used again.
    pub fn list(&self) -> Vec<ActorStatus> {
        self.actors.all().iter().map(|actor| actor.status()).collect()
    }

    /// Releases an actor from quarantine by name; false when there is none, or it is not quarantined.
    pub fn release(&self, name: &str) -> bool {
        self.actors.get(name).is_some_and(|actor| actor.release())
    }

    /// Stops the actors of one kind, so that a pipeline can be drained from its source to its end.
    pub async fn stop_kind(&self, kind: &str, drain: Duration) -> bool {
        let mut actors = self.actors.all();
        actors.retain(|actor| actor.kind() == kind);
        stop_all(&actors, drain).await
    }

    /// Stops accepting, drains all queues for at most `drain`, then ends every actor and the threads. True if no
    /// message was left in any queue. Actors that send to each other are stopped before it, by [`Handle::stop`] or
    /// [`ActorSystem::stop_kind`] from the source on.
    pub async fn shutdown(&self, drain: Duration) -> bool {
        self.closing.store(true, Ordering::Release);
        let drained = stop_all(&self.actors.all(), drain).await;
        self.stop_arbiters();
        drained
    }

    fn stop_arbiters(&self) {
        self.arbiters.stop();
        self.watchtower.stop();
    }
}

impl Drop for ActorSystem {
    fn drop(&mut self) {
        for actor in self.actors.all() {
            actor.kill();
        }
        self.stop_arbiters();
    }
}

/// Starts a supervised actor; its factory runs soon after, and messages are taken at once.
///
/// # Errors
/// When the name is taken or the system shuts down.
pub fn spawn<W: Work>(system: &ActorSystem, spec: Spec<W>) -> Result<Handle<W::Msg>, SpawnError> {
    if system.closing.load(Ordering::Acquire) {
        return Err(SpawnError::ShuttingDown);
    }
    let meters = system.metrics.lock().of_kind(spec.kind);
    let shared = Arc::new(Shared {
        name: spec.name.clone(),
        kind: spec.kind,
        queue: Queue::new(spec.capacity),
        vitals: Arc::new(Vitals::new(meters)),
        ledger: Mutex::new(Ledger::new(spec.budget, spec.backoff)),
        pardon_due: AtomicBool::new(false),
        released: Notify::new(),
        phase: watch::Sender::new(Phase::Running),
        bus: Arc::clone(&system.bus),
    });
    let listed = system.actors.insert(&spec.name, Arc::clone(&shared) as Arc<dyn Supervised>, |old| {
        old.status().state == ActorState::Stopped
    });
    if !listed {
        return Err(SpawnError::NameTaken(spec.name));
    }
    let supervisor = Supervisor::<W> {
        shared: Arc::clone(&shared),
        factory: Arc::new(spec.factory),
        hang_after: spec.hang_after,
        own: spec.alone.then(|| system.arbiters.own()),
        arbiters: Arc::clone(&system.arbiters),
        slot: system.next.fetch_add(1, Ordering::Relaxed),
    };
    system.watchtower.spawn(supervisor.supervise());
    if system.closing.load(Ordering::Acquire) {
        // the shutdown may have begun before the actor was listed
        shared.kill();
    }
    Ok(Handle { shared })
}
