//! What is known about an actor from outside: its status for screens and metrics, and the heartbeat.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use super::metrics::{KernelMetrics, KindMeters};

/// Where an actor is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ActorState {
    /// Its factory runs.
    Starting,
    /// It takes messages.
    Running,
    /// It crashed, or what it works with fails, and it waits before the next try.
    BackingOff,
    /// It crashed too often and waits for a release.
    Quarantined,
    /// It is gone for good.
    Stopped,
}

impl ActorState {
    const ALL: [Self; 5] = [Self::Starting, Self::Running, Self::BackingOff, Self::Quarantined, Self::Stopped];
}

/// A snapshot of one actor. Ages are in milliseconds before now.
#[derive(Debug, Clone, Serialize)]
pub struct ActorStatus {
    /// Unique name.
    pub name: String,
    /// Closed set.
    pub kind: &'static str,
    /// Where it is in its life.
    pub state: ActorState,
    /// How often the factory was called; writes are fenced with it.
    pub generation: u64,
    /// Counted restarts (rebuilds after a dead letter are not).
    pub restarts: u64,
    /// Messages waiting, the one being handled included.
    pub queue_depth: usize,
    /// Most messages the queue takes.
    pub queue_capacity: usize,
    /// Age of the oldest message; 0 when empty.
    pub queue_oldest_age_ms: u64,
    /// Messages that left the queue after handling.
    pub handled: u64,
    /// Records stored as dead letters.
    pub dead_letters: u64,
    /// Messages refused because the queue was full, quarantined or stopped.
    pub refused: u64,
    /// Why it last crashed or backed off; never the text of a panic.
    pub last_error: Option<String>,
    /// Age of the last sign of life.
    pub last_progress_at_age_ms: u64,
}

/// The live numbers behind [`ActorStatus`], shared by handle, runner and supervisor.
pub(super) struct Vitals {
    born: Instant,
    state: AtomicU8,
    generation: AtomicU64,
    restarts: AtomicU64,
    handled: AtomicU64,
    dead_letters: AtomicU64,
    refused: AtomicU64,
    beat_ms: AtomicU64,
    busy: AtomicBool,
    /// The generation whose code runs at this moment; 0 while it awaits or is idle.
    running: AtomicU64,
    recovering: AtomicBool,
    last_error: Mutex<Option<String>>,
    meters: KindMeters,
}

impl Vitals {
    pub(super) fn new(meters: KindMeters) -> Self {
        Self {
            born: Instant::now(),
            state: AtomicU8::new(ActorState::Starting as u8),
            generation: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            dead_letters: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            beat_ms: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            running: AtomicU64::new(0),
            recovering: AtomicBool::new(false),
            last_error: Mutex::new(None),
            meters,
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn state(&self) -> ActorState {
        ActorState::ALL[usize::from(self.state.load(Ordering::Acquire))]
    }

    pub(super) fn set_state(&self, state: ActorState) {
        self.state.store(state as u8, Ordering::Release);
    }

    /// A new generation begins with its factory, which is watched like a handler.
    pub(super) fn begin(&self, generation: u64) {
        self.generation.store(generation, Ordering::Release);
        self.beat_ms.store(self.now_ms(), Ordering::Release);
        self.busy.store(true, Ordering::Release);
        self.set_state(ActorState::Starting);
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// How long the actor has owed a sign of life: since its last one while it is busy; while it is idle, only as
    /// long as a message has been `waiting` (its arbiter may be blocked by another actor).
    pub(super) fn silent_for(&self, waiting: Duration) -> Duration {
        let since_beat = Duration::from_millis(self.now_ms().saturating_sub(self.beat_ms.load(Ordering::Acquire)));
        if self.busy.load(Ordering::Acquire) { since_beat } else { since_beat.min(waiting) }
    }

    /// Its code begins to run; it keeps its thread until [`Vitals::rests`].
    pub(super) fn runs(&self, generation: u64) {
        self.running.store(generation, Ordering::Release);
    }

    /// Its code has given the thread back; one that another generation has followed says nothing of it.
    pub(super) fn rests(&self, generation: u64) {
        let _ = self.running.compare_exchange(generation, 0, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Does the code of this generation keep its thread?
    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire) == self.generation()
    }

    pub(super) fn failed(&self, reason: &str) {
        *self.last_error.lock() = Some(reason.to_owned());
        self.recovering.store(true, Ordering::Release);
    }

    pub(super) fn restarted(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
        self.meters.restarts.inc();
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.meters.refused.inc();
    }

    pub(super) fn handled(&self) {
        self.handled.fetch_add(1, Ordering::Relaxed);
        self.meters.handled.inc();
    }

    pub(super) fn dead_lettered(&self, records: u64) {
        self.dead_letters.fetch_add(records, Ordering::Relaxed);
        self.meters.dead_letters.inc_by(records);
    }

    /// True once after a failure.
    pub(super) fn take_recovering(&self) -> bool {
        self.recovering.load(Ordering::Acquire) && self.recovering.swap(false, Ordering::AcqRel)
    }

    pub(super) fn status(&self, name: &str, kind: &'static str, queue: QueueStatus) -> ActorStatus {
        ActorStatus {
            name: name.to_owned(),
            kind,
            state: self.state(),
            generation: self.generation.load(Ordering::Acquire),
            restarts: self.restarts.load(Ordering::Relaxed),
            queue_depth: queue.depth,
            queue_capacity: queue.capacity,
            queue_oldest_age_ms: u64::try_from(queue.oldest.as_millis()).unwrap_or(u64::MAX),
            handled: self.handled.load(Ordering::Relaxed),
            dead_letters: self.dead_letters.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            last_error: self.last_error.lock().clone(),
            last_progress_at_age_ms: self.now_ms().saturating_sub(self.beat_ms.load(Ordering::Acquire)),
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct QueueStatus {
    pub(super) depth: usize,
    pub(super) capacity: usize,
    pub(super) oldest: Duration,
}

/// The heartbeat of one generation. A superseded generation's beats count for nothing.
#[derive(Clone)]
pub struct Progress {
    vitals: Arc<Vitals>,
    generation: u64,
}

impl Progress {
    /// The heartbeat of work outside an actor: nobody watches it.
    pub fn unwatched() -> Self {
        let vitals = Vitals::new(KernelMetrics::unregistered().of_kind("none"));
        Self { vitals: Arc::new(vitals), generation: 0 }
    }

    /// Says "still working", from handlers and factories that take longer than `hang_after`.
    pub fn beat(&self) {
        if self.is_current() {
            self.vitals.beat_ms.store(self.vitals.now_ms(), Ordering::Release);
        }
    }

    /// Counts records that the work itself set aside; those of [`super::Work::dead_letter`] are counted by the kernel.
    pub fn dead_lettered(&self, records: u64) {
        self.vitals.dead_lettered(records);
    }

    /// What the work needs fails, and it waits before it tries again: shown as the actor's state. The reason names no person.
    pub fn backs_off(&self, reason: &str) {
        if self.is_current() {
            *self.vitals.last_error.lock() = Some(reason.to_owned());
            self.vitals.set_state(ActorState::BackingOff);
        }
    }

    /// It works again.
    pub fn goes_on(&self) {
        if self.is_current() && self.vitals.state() == ActorState::BackingOff {
            self.vitals.set_state(ActorState::Running);
        }
    }

    /// The number to fence writes with.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// False once a newer generation was started: nothing may be written any more. A hint for an early end; the fence
    /// itself is in the store.
    pub fn is_current(&self) -> bool {
        self.vitals.generation.load(Ordering::Acquire) == self.generation
    }

    pub(super) fn busy(&self, busy: bool) {
        if self.is_current() {
            self.vitals.beat_ms.store(self.vitals.now_ms(), Ordering::Release);
            self.vitals.busy.store(busy, Ordering::Release);
        }
    }
}

/// One life of an actor, as its factory sees it.
#[derive(Clone)]
pub struct Generation {
    /// Counts from 1 in this process; grows with every re-creation.
    pub number: u64,
    /// A factory that rebuilds much beats now and then, or it counts as hung.
    pub progress: Progress,
}

impl Generation {
    pub(super) fn new(vitals: Arc<Vitals>, number: u64) -> Self {
        Self { number, progress: Progress { vitals, generation: number } }
    }
}
