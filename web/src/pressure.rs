//! How hard pressed the node is, and who is turned away for it: analytics first, then batches, then ingest, lookups
//! last (invariant 7). Registrations, keys and what people on call need are never turned away.
//!
//! Each HTTP worker measures by how much a timer of its own comes late: that is how long whatever is ready now waits for
//! its turn. Late and without a pause for a while, the worker's level rises through the classes one by one; on time again,
//! it falls. Late with pauses, it is not overloaded: others take the processor, and to turn somebody away would not help.
//! Nothing is decided by chance: of a class that is turned away in part, every so manieth request is.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use actix_web::http::Method;
use parking_lot::Mutex;

use crate::routes::{BATCH_PATH, CHANGES_PATH, LOOKUP_PATH};
use crate::state::AppState;

/// How often a worker looks whether it is late.
const PROBE_EVERY: Duration = Duration::from_millis(10);
/// Later than this is too late: with it, an answer takes about twice as long.
const LATE: Duration = Duration::from_millis(5);
/// Earlier than this is on time.
const ON_TIME: Duration = Duration::from_millis(2);
/// A worker that ran for this share of the time in which it could is without a pause.
const BUSY: f32 = 0.9;
/// Levels a second that a late worker rises, for each [`LATE`] that it is late.
const RISE: f32 = 1.0;
/// The most of them that one probe counts for.
const RISE_MAX: f32 = 4.0;
/// Levels a second that a worker falls when it is on time.
const FALL: f32 = 0.5;
/// A level this far into a class turns nobody away yet: one bad moment is no overload.
const SLACK: f32 = 0.25;
/// Of a thousand: levels are kept as whole numbers.
const SCALE: f32 = 1_000.0;
/// How long a lookup that is turned away waits for its answer: who tries again at once would take the place of others.
pub const PARKED: Duration = Duration::from_millis(250);

/// What a request is worth when not all can be served, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Lists, statistics, screens.
    Analytics,
    /// Batches of lookups, and the feed of changes, which is asked again.
    Batch,
    /// Records pushed by operators.
    Ingest,
    /// Lookups.
    Lookup,
    /// Registrations, keys, health: never turned away.
    Kept,
}

impl Class {
    /// Those that may be turned away.
    pub const SHED: [Self; 4] = [Self::Analytics, Self::Batch, Self::Ingest, Self::Lookup];

    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Analytics => "analytics",
            Self::Batch => "batch",
            Self::Ingest => "ingest",
            Self::Lookup => "lookup",
            Self::Kept => "kept",
        }
    }

    /// By what is asked for.
    #[must_use]
    pub fn of(method: &Method, path: &str) -> Self {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let Some(api) = path.strip_prefix("/api/v1/") else {
            return if path.starts_with("/ws/") { Self::Analytics } else { Self::Kept };
        };
        match path {
            LOOKUP_PATH => return Self::Lookup,
            BATCH_PATH | CHANGES_PATH => return Self::Batch,
            _ => {}
        }
        if api.starts_with("nser/lookup") {
            return Self::Lookup;
        }
        if api.starts_with("feeds/") && api.ends_with("/records") {
            return Self::Ingest;
        }
        // costs what a lookup costs, and nobody waits for it at a counter
        if api.starts_with("bst/") && api != "bst/rotate" {
            return Self::Batch;
        }
        // a person's own exclusion is no statistics
        let person = api.starts_with("nser/") && api != "nser/stats";
        if reads && !person { Self::Analytics } else { Self::Kept }
    }

    /// The share of this class that a level turns away.
    fn share(self, level: f32) -> f32 {
        match self {
            Self::Kept => 0.0,
            class => ((level - f32::from(class as u8) - SLACK) / (1.0 - SLACK)).clamp(0.0, 1.0),
        }
    }
}

/// Level after a probe that came `late`, `since` the one before, of a worker that was busy for this share of the time.
fn step(level: f32, late: Duration, since: Duration, busy: f32) -> f32 {
    // a process that slept for minutes has not been late for minutes
    let seconds = since.min(10 * PROBE_EVERY).as_secs_f32();
    let change = if late >= LATE && busy >= BUSY {
        RISE * (late.as_secs_f32() / LATE.as_secs_f32()).min(RISE_MAX)
    } else if late <= ON_TIME {
        -FALL
    } else {
        0.0
    };
    (level + change * seconds).clamp(0.0, Class::SHED.len() as f32)
}

/// How a thread's time is spent, as Linux counts it (`/proc/thread-self/schedstat`): running, and ready to run while
/// others did.
struct Spent {
    file: Option<std::fs::File>,
    at: Instant,
    running: Duration,
    waiting: Duration,
}

impl Spent {
    /// Of the calling thread.
    fn of_this_thread() -> Self {
        let file = std::fs::File::open("/proc/thread-self/schedstat").ok();
        let mut spent = Self { file, at: Instant::now(), running: Duration::ZERO, waiting: Duration::ZERO };
        spent.busy();
        spent
    }

    fn read(&self) -> Option<(Duration, Duration)> {
        use std::os::unix::fs::FileExt;
        let mut text = [0; 96];
        let length = self.file.as_ref()?.read_at(&mut text, 0).ok()?;
        let mut numbers = std::str::from_utf8(text.get(..length)?).ok()?.split(' ').map(str::parse);
        let mut next = || Some(Duration::from_nanos(numbers.next()?.ok()?));
        Some((next()?, next()?))
    }

    /// Since it was asked last: the share of the time in which it could run that it did. All of it where nobody counts.
    fn busy(&mut self) -> f32 {
        let Some((running, waiting)) = self.read() else { return 1.0 };
        let (ran, waited) = (running.saturating_sub(self.running), waiting.saturating_sub(self.waiting));
        let passed = self.at.elapsed();
        (self.running, self.waiting, self.at) = (running, waiting, Instant::now());
        let could = passed.saturating_sub(waited).as_secs_f32();
        if could <= 0.0 { 1.0 } else { (ran.as_secs_f32() / could).min(1.0) }
    }
}

/// What evidence that waits for the database asks for: batches write most of it, and pushes take the writer's time.
fn evidence_level(share: f32) -> f32 {
    match share {
        ..0.25 => 0.0,
        0.25..0.5 => 2.0,
        _ => 3.0,
    }
}

/// What a worker says of itself, in thousandths.
#[derive(Default)]
struct Own {
    level: AtomicU32,
    busy: AtomicU32,
}

/// The pressure on the node: the hardest pressed worker's.
#[derive(Default)]
pub struct Pressure {
    workers: Mutex<Vec<Arc<Own>>>,
    node: AtomicU32,
}

impl Pressure {
    /// Level of the hardest pressed worker: 0 = nobody is turned away, from 1 on no analytics are served, …
    #[must_use]
    pub fn level(&self) -> f32 {
        self.node.load(Ordering::Relaxed) as f32 / SCALE
    }

    fn join(&self) -> Arc<Own> {
        let own = Arc::default();
        self.workers.lock().push(Arc::clone(&own));
        own
    }

    /// Takes what a worker says; gives the level of the node and the share of its time that the busiest worker works.
    fn set(&self, own: &Own, level: f32, busy: f32, floor: f32) -> (f32, f32) {
        own.level.store((level * SCALE) as u32, Ordering::Relaxed);
        own.busy.store((busy * SCALE) as u32, Ordering::Relaxed);
        let mut workers = self.workers.lock();
        // what one said that has ended since counts no more
        workers.retain(|worker| Arc::strong_count(worker) > 1);
        let most = |of: fn(&Own) -> &AtomicU32| workers.iter().map(|w| of(w).load(Ordering::Relaxed)).max();
        let hardest = most(|own| &own.level).unwrap_or_default().max((floor * SCALE) as u32);
        let busiest = most(|own| &own.busy).unwrap_or_default();
        self.node.store(hardest, Ordering::Relaxed);
        (hardest as f32 / SCALE, busiest as f32 / SCALE)
    }
}

/// One worker's part.
pub struct Door {
    state: AppState,
    own: Arc<Own>,
    /// For each class the part of a request that is still to be turned away.
    owed: [Cell<f32>; Class::SHED.len()],
}

impl Door {
    /// Joins a worker, and measures until it ends; called on its thread.
    pub(crate) fn open(state: &AppState) -> Self {
        let own = state.pressure.join();
        actix_web::rt::spawn(watch(state.clone(), Arc::clone(&own)));
        Self { state: state.clone(), own, owed: Default::default() }
    }

    /// May a request of this class come in?
    pub fn admits(&self, class: Class) -> bool {
        let level = match class {
            // it waits for this worker only
            Class::Lookup => self.own.level.load(Ordering::Relaxed) as f32 / SCALE,
            _ => self.state.pressure.level(),
        };
        let share = class.share(level);
        let Some(owed) = self.owed.get(class as usize).filter(|_| share > 0.0) else { return true };
        let owes = owed.get() + share;
        let refused = owes >= 1.0;
        owed.set(if refused { owes - 1.0 } else { owes });
        if refused {
            self.state.metrics.shed(class);
        }
        !refused
    }
}

/// Measures how late and how busy the worker is, until it ends.
async fn watch(state: AppState, own: Arc<Own>) {
    let (mut level, mut usual, mut spent) = (0.0, 1.0, Spent::of_this_thread());
    loop {
        let from = Instant::now();
        actix_web::rt::time::sleep(PROBE_EVERY).await;
        let since = from.elapsed();
        let late = since.saturating_sub(PROBE_EVERY);
        state.metrics.worker_lag.observe(late.as_secs_f64());
        let busy = spent.busy();
        level = step(level, late, since, busy);
        // the last few probes', so that one of them says little
        usual += (busy - usual) / 16.0;
        let floor = evidence_level(state.engine.evidence().fullness());
        let (hardest, busiest) = state.pressure.set(&own, level, usual, floor);
        state.engine.workers_are_busy(busiest);
        state.metrics.pressure.set(f64::from(hardest));
        state.engine.spare_analytics(hardest >= 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worth_least_is_turned_away_first() {
        let table = [
            (0.0, [0.0, 0.0, 0.0, 0.0]),
            (SLACK, [0.0, 0.0, 0.0, 0.0]),
            (1.0, [1.0, 0.0, 0.0, 0.0]),
            (2.0, [1.0, 1.0, 0.0, 0.0]),
            (3.0, [1.0, 1.0, 1.0, 0.0]),
            (3.625, [1.0, 1.0, 1.0, 0.5]),
            (4.0, [1.0, 1.0, 1.0, 1.0]),
        ];
        for (level, shares) in table {
            assert_eq!(Class::SHED.map(|class| class.share(level)), shares, "{level}");
            assert_eq!(Class::Kept.share(level), 0.0);
        }
    }

    #[test]
    fn what_is_asked_for_has_a_class() {
        let table = [
            ("POST", "/api/v1/operators/lookup", Class::Lookup),
            ("GET", "/api/v1/nser/lookup/BST-02-0", Class::Lookup),
            ("POST", "/api/v1/nser/lookup", Class::Lookup),
            ("POST", "/api/v1/operators/batch/lookup", Class::Batch),
            ("GET", "/api/v1/operators/changes", Class::Batch),
            ("POST", "/api/v1/feeds/src_1/records", Class::Ingest),
            ("GET", "/api/v1/feeds", Class::Analytics),
            ("GET", "/api/v1/alerts", Class::Analytics),
            ("GET", "/api/v1/nser/stats", Class::Analytics),
            ("GET", "/ws/dashboards/realtime", Class::Analytics),
            ("POST", "/api/v1/bst/generate", Class::Batch),
            ("POST", "/api/v1/bst/rotate", Class::Kept),
            ("POST", "/api/v1/nser/register", Class::Kept),
            ("GET", "/api/v1/nser/exc_1", Class::Kept),
            ("PUT", "/api/v1/nser/exc_1/extend", Class::Kept),
            ("DELETE", "/api/v1/operators/opr_1/keys/key_1", Class::Kept),
            ("GET", "/health/ready", Class::Kept),
            ("GET", "/metrics", Class::Kept),
        ];
        for (method, path, class) in table {
            assert_eq!(Class::of(&method.parse().unwrap(), path), class, "{method} {path}");
        }
    }

    fn after(mut level: f32, late_ms: u64, probes: u32) -> f32 {
        let late = Duration::from_millis(late_ms);
        for _ in 0..probes {
            level = step(level, late, PROBE_EVERY + late, 1.0);
        }
        level
    }

    #[test]
    fn one_bad_moment_turns_nobody_away_and_a_bad_while_does() {
        assert!(after(0.0, 200, 1) <= SLACK + 0.2, "one probe, 200 ms late");
        assert!(after(0.0, 8, 3) < SLACK);
        assert_eq!(after(0.0, 2, 1_000), 0.0);
        assert_eq!(after(1.3, 3, 1_000), 1.3, "neither late nor on time: as it is");
        assert_eq!(after(0.0, 20, 1_000), 4.0);
        assert_eq!(after(4.0, 0, 1_000), 0.0);
        // through all classes before the first lookup is refused
        assert!(after(0.0, 6, 100) < 3.0);
    }

    #[test]
    fn the_node_is_as_hard_pressed_and_as_busy_as_the_worst_of_its_workers() {
        let pressure = Pressure::default();
        let (one, other) = (pressure.join(), pressure.join());
        assert_eq!(pressure.set(&one, 0.5, 0.25, 0.0), (0.5, 0.25));
        assert_eq!(pressure.set(&other, 0.0, 0.75, 0.0), (0.5, 0.75));
        // whoever speaks last is not whoever is asked
        assert_eq!(pressure.set(&one, 2.0, 0.0, 0.0), (2.0, 0.75));
        assert_eq!(pressure.set(&other, 0.0, 0.5, 3.0), (3.0, 0.5));
        drop(one);
        assert_eq!(pressure.set(&other, 0.25, 0.5, 0.0), (0.25, 0.5), "one that has ended says nothing any more");
        assert_eq!(pressure.level(), 0.25);
    }

    #[test]
    fn a_process_that_slept_is_not_overloaded() {
        assert!(step(0.0, Duration::from_secs(3_600), Duration::from_secs(3_600), 1.0) < 1.0);
    }

    #[test]
    fn whoever_is_late_because_of_others_is_not_overloaded() {
        let late = Duration::from_millis(50);
        assert_eq!(step(0.5, late, PROBE_EVERY + late, 0.5), 0.5);
        assert!(step(0.5, late, PROBE_EVERY + late, 0.95) > 0.5);
    }

    #[test]
    fn a_thread_that_sleeps_is_not_busy_and_one_that_works_is() {
        let mut spent = Spent::of_this_thread();
        std::thread::sleep(Duration::from_millis(60));
        let asleep = spent.busy();
        let until = Instant::now() + Duration::from_millis(60);
        while Instant::now() < until {}
        let awake = spent.busy();
        assert!(asleep < 0.5 && awake > BUSY, "{asleep} {awake}");
    }

    #[test]
    fn evidence_that_waits_turns_away_who_makes_most_of_it() {
        assert_eq!([0.0, 0.24, 0.25, 0.5, 1.0].map(evidence_level), [0.0, 0.0, 2.0, 3.0, 3.0]);
        assert_eq!(Class::Lookup.share(evidence_level(1.0)), 0.0);
    }
}
