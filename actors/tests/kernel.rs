//! The supervision kernel's promises, each failure by name.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use actors::kernel::{
    ActorState, ActorSystem, Backoff, Budget, DeadLetter, Generation, Handle, KernelEvent, KernelMetrics, Progress,
    SendError, Spec, Work, install_panic_hook, spawn,
};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

const LONG: Duration = Duration::from_secs(30);
const SECRET: &str = "+254700123456";

/// What applying a record does.
#[derive(Clone)]
enum Record {
    Good(u32),
    /// Panics every time, quoting a person.
    Bad,
    /// Panics this many times, then applies.
    Flaky(u32, Arc<AtomicU32>),
    /// Awaits for ever this many times, then applies.
    Hangs(u32, Arc<AtomicU32>),
    /// Awaits the gate.
    Gated(u32, Arc<Notify>),
    /// Works for this long, beating.
    Beating(u32, Duration),
    /// Blocks its thread until the flag is set, once.
    Blocks(u32, Arc<AtomicU32>, Arc<AtomicBool>),
    /// Ends its own arbiter, once.
    EndsArbiter(u32, Arc<AtomicU32>),
}

struct Job {
    records: Vec<Record>,
    reply: Mutex<Option<oneshot::Sender<Vec<usize>>>>,
}

impl Job {
    fn of(records: impl IntoIterator<Item = Record>) -> Self {
        Self { records: records.into_iter().collect(), reply: Mutex::new(None) }
    }

    fn with_reply(records: impl IntoIterator<Item = Record>) -> (Self, oneshot::Receiver<Vec<usize>>) {
        let (reply, answer) = oneshot::channel();
        (Self { reply: Mutex::new(Some(reply)), ..Self::of(records) }, answer)
    }

    fn answer(&self, dead: &[usize]) {
        if let Some(reply) = self.reply.lock().take() {
            let _ = reply.send(dead.to_vec());
        }
    }
}

/// What survives the actor, as the store does.
#[derive(Default)]
struct Store {
    applied: Mutex<Vec<u32>>,
    applied_by: Mutex<Vec<u64>>,
    dead: Mutex<Vec<usize>>,
    builds: AtomicU32,
    drops: AtomicU32,
    /// The next builds fail with these.
    build_failures: Mutex<VecDeque<&'static str>>,
    storing_dead_panics: AtomicU32,
}

impl Store {
    fn applied(&self) -> Vec<u32> {
        self.applied.lock().clone()
    }

    fn builds(&self) -> u32 {
        self.builds.load(Ordering::SeqCst)
    }
}

fn countdown(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

struct Applier<const SURVIVES: bool> {
    store: Arc<Store>,
}

impl<const SURVIVES: bool> Drop for Applier<SURVIVES> {
    fn drop(&mut self) {
        self.store.drops.fetch_add(1, Ordering::SeqCst);
    }
}

impl<const SURVIVES: bool> Work for Applier<SURVIVES> {
    type Msg = Job;

    fn handle<'a>(&'a mut self, job: Arc<Job>, progress: &'a Progress) -> LocalBoxFuture<'a, ()> {
        async move {
            let mut batch = Vec::new(); // all or nothing, as a transaction
            for record in &job.records {
                batch.push(match record {
                    Record::Good(n) => *n,
                    Record::Bad => panic!("cannot apply {SECRET}"),
                    Record::Flaky(n, left) => {
                        assert!(!countdown(left), "not yet {SECRET}");
                        *n
                    }
                    Record::Hangs(n, left) => {
                        if countdown(left) {
                            std::future::pending::<()>().await;
                        }
                        *n
                    }
                    Record::Gated(n, gate) => {
                        gate.notified().await;
                        *n
                    }
                    Record::Beating(n, time) => {
                        let start = Instant::now();
                        while start.elapsed() < *time {
                            progress.beat();
                            tokio::time::sleep(Duration::from_millis(2)).await;
                        }
                        *n
                    }
                    Record::EndsArbiter(n, left) => {
                        if countdown(left) {
                            actix_rt::Arbiter::current().stop();
                            std::future::pending::<()>().await;
                        }
                        *n
                    }
                    Record::Blocks(n, left, open) => {
                        if countdown(left) {
                            while !open.load(Ordering::SeqCst) {
                                std::thread::sleep(Duration::from_millis(1));
                            }
                        }
                        *n
                    }
                });
            }
            if progress.is_current() {
                self.store.applied.lock().extend(batch);
                self.store.applied_by.lock().push(progress.generation());
                job.answer(&[]);
            }
        }
        .boxed_local()
    }

    fn split(job: &Job) -> Option<Vec<Job>> {
        (job.records.len() > 1).then(|| job.records.iter().map(|record| Job::of([record.clone()])).collect())
    }

    fn dead_letter<'a>(
        &'a mut self,
        _record: Arc<Job>,
        letter: &'a DeadLetter,
        _progress: &'a Progress,
    ) -> LocalBoxFuture<'a, ()> {
        async move {
            assert!(!countdown(&self.store.storing_dead_panics), "the store is away");
            self.store.dead.lock().push(letter.index);
        }
        .boxed_local()
    }

    fn settled<'a>(&'a mut self, job: Arc<Job>, dead: &'a [usize], _: &'a Progress) -> LocalBoxFuture<'a, ()> {
        job.answer(dead);
        std::future::ready(()).boxed_local()
    }

    fn survives_panic() -> bool {
        SURVIVES
    }
}

fn spec_of<const SURVIVES: bool>(name: &str, store: &Arc<Store>) -> Spec<Applier<SURVIVES>> {
    let store = Arc::clone(store);
    let factory = move |generation: Generation| {
        let store = Arc::clone(&store);
        async move {
            store.builds.fetch_add(1, Ordering::SeqCst);
            assert!(generation.number > 0);
            let failure = store.build_failures.lock().pop_front();
            match failure {
                Some("panic") => panic!("no checkpoint of {SECRET}"),
                Some(reason) => Err(reason.to_owned()),
                None => Ok(Applier { store }),
            }
        }
        .boxed_local()
    };
    let mut spec = Spec::new(name, "test", factory);
    spec.backoff = Backoff { min: Duration::from_millis(2), max: Duration::from_millis(20) };
    spec.hang_after = LONG;
    spec
}

fn spec(name: &str, store: &Arc<Store>) -> Spec<Applier<false>> {
    spec_of(name, store)
}

type Events = Arc<Mutex<Vec<KernelEvent>>>;

fn system(arbiters: usize) -> (ActorSystem, Events) {
    let system = ActorSystem::new(arbiters);
    let events = Events::default();
    let seen = Arc::clone(&events);
    system.on_event(move |event| seen.lock().push(event.clone()));
    (system, events)
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A future that never ends fails its test instead of hanging it.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("it ends")
}

async fn until_state(handle: &Handle<Job>, state: ActorState) {
    until(&format!("{state:?}"), || handle.status().state == state).await;
}

fn flaky(n: u32, panics: u32) -> Record {
    Record::Flaky(n, Arc::new(AtomicU32::new(panics)))
}

fn count(events: &Events, wanted: impl Fn(&KernelEvent) -> bool) -> usize {
    events.lock().iter().filter(|event| wanted(event)).count()
}

fn good(numbers: std::ops::Range<u32>) -> Vec<Record> {
    numbers.map(Record::Good).collect()
}

#[actix_rt::test]
async fn messages_are_handled_in_order() {
    let (system, _) = system(1);
    let store = Arc::default();
    let handle = spawn(&system, spec("a", &store)).unwrap();
    for n in 0..5_000 {
        soon(handle.send(Job::of([Record::Good(n)]))).await.unwrap();
    }
    until("all applied", || handle.status().handled == 5_000).await;
    assert_eq!(store.applied(), (0..5_000).collect::<Vec<_>>());
    assert_eq!((handle.status().generation, handle.status().restarts), (1, 0));
}

#[actix_rt::test]
async fn panic_is_noticed_within_a_second_and_the_message_retried() {
    let (system, events) = system(1);
    let store = Arc::default();
    let handle = spawn(&system, spec("a", &store)).unwrap();
    handle.try_send(Job::of(good(0..1))).unwrap();
    let start = Instant::now();
    handle.try_send(Job::of([flaky(1, 1)])).unwrap();
    handle.try_send(Job::of(good(2..3))).unwrap();
    until("applied", || handle.status().handled == 3).await;
    assert!(start.elapsed() < Duration::from_secs(1), "hang_after is {LONG:?}, so polling for it cannot be this quick");
    assert_eq!(store.applied(), [0, 1, 2]);
    assert_eq!(*store.applied_by.lock(), [1, 2, 2]);
    let status = handle.status();
    assert_eq!((status.generation, status.restarts, status.dead_letters), (2, 1, 0));
    assert_eq!(store.drops.load(Ordering::SeqCst), 1, "the broken state is gone");
    until("recovered", || count(&events, |event| matches!(event, KernelEvent::Recovered { generation: 2, .. })) == 1)
        .await;
}

#[actix_rt::test]
async fn factory_that_fails_or_panics_is_tried_again() {
    let (system, _) = system(1);
    let store = Arc::new(Store::default());
    store.build_failures.lock().extend(["database away", "panic"]);
    let handle = spawn(&system, spec("a", &store)).unwrap();
    handle.try_send(Job::of(good(0..1))).unwrap();
    until("applied", || handle.status().handled == 1).await;
    assert_eq!((store.builds(), handle.status().restarts), (3, 2));
    let last_error = handle.status().last_error.unwrap();
    assert!(last_error.contains("kernel.rs:") && !last_error.contains(SECRET), "{last_error}");
}

/// Longer than any budget: a database that is away is waited for, not given up.
#[actix_rt::test]
async fn actor_whose_store_is_away_is_built_when_it_is_back() {
    let (system, events) = system(1);
    let store = Arc::new(Store::default());
    store.build_failures.lock().extend(["database away"; 8]);
    let handle = spawn(&system, spec("a", &store)).unwrap();
    handle.try_send(Job::of(good(0..1))).unwrap();
    until("applied", || handle.status().handled == 1).await;
    assert_eq!((store.builds(), store.applied()), (9, vec![0]));
    assert_eq!(count(&events, |event| matches!(event, KernelEvent::Quarantined { .. })), 0);
}

#[actix_rt::test]
async fn crash_loop_is_quarantined_and_released() {
    let (system, events) = system(1);
    let store = Arc::new(Store::default());
    store.build_failures.lock().extend(["panic"; 6]);
    let handle = spawn(&system, spec("a", &store)).unwrap();
    handle.try_send(Job::of(good(0..2))).unwrap();
    until_state(&handle, ActorState::Quarantined).await;

    assert_eq!(store.builds(), 6, "5 restarts are tolerated, the sixth crash is too many");
    let status = handle.status();
    assert_eq!((status.restarts, status.queue_depth), (5, 1));
    assert!(status.last_error.unwrap().contains("kernel.rs:"));
    let refused = handle.try_send(Job::of(good(7..8)));
    assert!(matches!(&refused, Err(SendError::Quarantined(job)) if job.records.len() == 1), "{refused:?}");
    assert!(matches!(soon(handle.send(Job::of(good(7..8)))).await, Err(SendError::Quarantined(_))));
    assert_eq!(handle.status().refused, 2);
    until("event", || count(&events, |event| matches!(event, KernelEvent::Quarantined { queue_depth: 1, .. })) == 1)
        .await;

    assert!(handle.release());
    until("applied", || handle.status().handled == 1).await;
    assert!(!handle.release(), "it is not quarantined any more");
    soon(handle.send(Job::of(good(2..3)))).await.unwrap();
    until("applied", || store.applied() == [0, 1, 2]).await;
    until("recovered", || count(&events, |event| matches!(event, KernelEvent::Recovered { .. })) == 1).await;
}

#[actix_rt::test]
async fn actor_that_panics_on_everything_is_quarantined_after_two_messages() {
    let (system, _) = system(1);
    let store = Arc::default();
    let handle = spawn(&system, spec("a", &store)).unwrap();
    for _ in 0..10 {
        handle.try_send(Job::of([Record::Bad])).unwrap();
    }
    until_state(&handle, ActorState::Quarantined).await;
    assert_eq!((handle.status().queue_depth, handle.status().dead_letters), (8, 2));
}

async fn poison_record<const SURVIVES: bool>(builds: u32) {
    let (system, events) = system(1);
    let store = Arc::default();
    let handle = spawn(&system, spec_of::<SURVIVES>("a", &store)).unwrap();
    let mut records = good(0..10);
    records[3] = Record::Bad;
    records[8] = Record::Bad;
    let (job, answer) = Job::with_reply(records);
    handle.try_send(job).unwrap();
    handle.try_send(Job::of(good(10..12))).unwrap();

    assert_eq!(soon(answer).await.unwrap(), [3, 8]);
    until("the next message", || handle.status().handled == 2).await;
    assert_eq!(store.applied(), [0, 1, 2, 4, 5, 6, 7, 9, 10, 11]);
    assert_eq!(*store.dead.lock(), [3, 8]);
    let status = handle.status();
    assert_eq!((status.dead_letters, status.restarts), (2, 2), "dead letters cost no restart");
    assert_eq!(store.builds(), builds);
    let letters: Vec<_> = events
        .lock()
        .iter()
        .filter_map(|event| match event {
            KernelEvent::DeadLettered { index_in_message, panic, .. } => Some((*index_in_message, panic.payload)),
            _ => None,
        })
        .collect();
    assert_eq!(letters, [(3, "string"), (8, "string")]);
}

#[actix_rt::test]
async fn poison_record_is_dead_lettered_and_the_rest_applied() {
    poison_record::<false>(5).await;
}

#[actix_rt::test]
async fn poison_record_needs_no_rebuild_where_state_survives() {
    poison_record::<true>(3).await;
}

#[actix_rt::test]
async fn every_tenth_record_bad_never_quarantines() {
    let (system, events) = system(1);
    let store = Arc::default();
    let handle = spawn(&system, spec("a", &store)).unwrap();
    // batches of ten, and single records
    for batch in 0..20 {
        let mut records = good(batch * 10..batch * 10 + 10);
        records[4] = Record::Bad;
        soon(handle.send(Job::of(records))).await.unwrap();
    }
    for n in 0..100 {
        let record = if n % 10 == 9 { Record::Bad } else { Record::Good(1_000 + n) };
        soon(handle.send(Job::of([record]))).await.unwrap();
    }
    until("all handled", || handle.status().handled == 120).await;
    assert_eq!(store.applied().len(), 180 + 90);
    assert_eq!(handle.status().dead_letters, 20 + 10);
    assert_eq!(count(&events, |event| matches!(event, KernelEvent::Quarantined { .. })), 0);
}

#[actix_rt::test]
async fn storing_a_dead_letter_is_retried() {
    let (system, _) = system(1);
    let store = Arc::new(Store::default());
    store.storing_dead_panics.store(2, Ordering::SeqCst);
    let handle = spawn(&system, spec("a", &store)).unwrap();
    let (job, answer) = Job::with_reply([Record::Good(1), Record::Bad, Record::Good(2)]);
    handle.try_send(job).unwrap();
    assert_eq!(soon(answer).await.unwrap(), [1]);
    assert_eq!(store.applied(), [1, 2], "records before the bad one are not applied twice");
    assert_eq!(*store.dead.lock(), [1]);
    assert_eq!(handle.status().restarts, 4);
}

#[actix_rt::test]
async fn hang_of_a_task_is_stopped_and_retried() {
    let (system, events) = system(1);
    let store = Arc::default();
    let neighbour_store = Arc::default();
    let mut hanging = spec("a", &store);
    hanging.hang_after = Duration::from_millis(300);
    let handle = spawn(&system, hanging).unwrap();
    let neighbour = spawn(&system, spec("b", &neighbour_store)).unwrap();
    handle.try_send(Job::of([Record::Hangs(1, Arc::new(AtomicU32::new(1)))])).unwrap();
    neighbour.try_send(Job::of(good(0..1))).unwrap();
    until("applied", || handle.status().handled == 1).await;
    assert_eq!(store.applied(), [1]);
    assert_eq!(*store.applied_by.lock(), [2]);
    assert_eq!(store.drops.load(Ordering::SeqCst), 1, "the hung work was dropped");
    assert_eq!(count(&events, |event| matches!(event, KernelEvent::Hung { generation: 1, .. })), 1);
    assert_eq!((handle.status().restarts, handle.status().dead_letters), (1, 0));
    assert_eq!((neighbour.status().handled, neighbour.status().restarts), (1, 0));
}

#[actix_rt::test]
async fn hang_counts_against_the_budget_and_never_dead_letters() {
    let (system, _) = system(1);
    let store = Arc::default();
    let mut hanging = spec("a", &store);
    hanging.hang_after = Duration::from_millis(10);
    hanging.budget = Budget { restarts: 2, window: Duration::from_secs(60) };
    let handle = spawn(&system, hanging).unwrap();
    handle.try_send(Job::of([Record::Hangs(1, Arc::new(AtomicU32::new(u32::MAX)))])).unwrap();
    until_state(&handle, ActorState::Quarantined).await;
    let status = handle.status();
    assert_eq!((status.queue_depth, status.dead_letters, status.restarts), (1, 0, 2));
}

#[actix_rt::test]
async fn long_handler_that_beats_is_not_hung_and_idle_is_not_hung() {
    let (system, events) = system(1);
    let store = Arc::default();
    let mut slow = spec("a", &store);
    slow.hang_after = Duration::from_millis(400);
    let handle = spawn(&system, slow).unwrap();
    handle.try_send(Job::of([Record::Beating(1, Duration::from_millis(1_000))])).unwrap();
    until("applied", || handle.status().handled == 1).await;
    until("idle for longer than hang_after", || handle.status().last_progress_at_age_ms > 600).await;
    assert_eq!(count(&events, |event| matches!(event, KernelEvent::Hung { .. })), 0);
    assert_eq!(handle.status().generation, 1);
}

#[actix_rt::test]
async fn blocked_arbiter_loses_the_actor_and_the_zombie_takes_nothing() {
    let (system, _) = system(2);
    let store = Arc::default();
    let mut blocking = spec("a", &store);
    blocking.hang_after = Duration::from_millis(300);
    let handle = spawn(&system, blocking).unwrap();
    let open = Arc::new(AtomicBool::new(false));
    let record = Record::Blocks(1, Arc::new(AtomicU32::new(1)), Arc::clone(&open));
    handle.try_send(Job::of([record])).unwrap();
    handle.try_send(Job::of(good(2..3))).unwrap();
    until("applied elsewhere", || handle.status().handled == 2).await;
    open.store(true, Ordering::SeqCst);
    until("the zombie is gone", || store.drops.load(Ordering::SeqCst) == 1).await;
    assert_eq!(store.applied(), [1, 2]);
    assert_eq!(*store.applied_by.lock(), [2, 2]);
    assert_eq!(handle.status().handled, 2);
}

#[actix_rt::test]
async fn full_queue_refuses_counts_and_send_waits() {
    let (system, _) = system(1);
    let store = Arc::default();
    let gate = Arc::new(Notify::new());
    let mut small = spec("a", &store);
    small.capacity = 2;
    let handle = spawn(&system, small).unwrap();
    handle.try_send(Job::of([Record::Gated(1, Arc::clone(&gate))])).unwrap();
    handle.try_send(Job::of(good(2..3))).unwrap();
    let refused = handle.try_send(Job::of(good(3..4)));
    let Err(SendError::Full(job)) = refused else { panic!("{refused:?}") };
    assert_eq!((handle.status().refused, handle.status().queue_depth), (1, 2));

    let waiting = handle.send(job);
    tokio::pin!(waiting);
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    gate.notify_one();
    soon(waiting).await.unwrap();
    until("all applied", || store.applied() == [1, 2, 3]).await;
    assert_eq!(handle.status().refused, 1, "waiting is no refusal");
}

#[actix_rt::test]
async fn waiting_senders_all_get_in() {
    let (system, _) = system(1);
    let store = Arc::default();
    let mut small = spec("a", &store);
    small.capacity = 1;
    let handle = spawn(&system, small).unwrap();
    let sends = (0..200).map(|n| {
        let handle = handle.clone();
        async move { soon(handle.send(Job::of([Record::Good(n)]))).await.unwrap() }
    });
    soon(futures_util::future::join_all(sends)).await;
    until("all handled", || handle.status().handled == 200).await;
    let mut applied = store.applied();
    applied.sort_unstable();
    assert_eq!(applied, (0..200).collect::<Vec<_>>());
}

#[actix_rt::test]
async fn slow_consumer_shows_in_queue_age() {
    let registry = prometheus::Registry::new();
    let system = ActorSystem::with_metrics(1, KernelMetrics::register(&registry).unwrap());
    let store = Arc::default();
    let gate = Arc::new(Notify::new());
    let handle = spawn(&system, spec("a", &store)).unwrap();
    handle.try_send(Job::of([Record::Gated(1, Arc::clone(&gate))])).unwrap();
    handle.try_send(Job::of(good(2..3))).unwrap();
    until("age", || handle.status().queue_oldest_age_ms >= 30).await;
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(text.contains("mlinzi_actor_queue_depth{kind=\"test\"} 2"), "{text}");
    let age = text.lines().find_map(|line| line.strip_prefix("mlinzi_actor_queue_oldest_age_seconds{kind=\"test\"} "));
    assert!(age.and_then(|age| age.parse::<f64>().ok()).is_some_and(|age| age >= 0.03), "{text}");
    gate.notify_one();
    until("drained", || handle.status().queue_depth == 0).await;
    assert_eq!(handle.status().queue_oldest_age_ms, 0);
}

#[actix_rt::test]
async fn crash_loop_changes_nothing_for_a_neighbour_on_the_same_arbiter() {
    let (system, _) = system(1);
    let (bad_store, store) = (Arc::default(), Arc::default());
    let mut crashing = spec("crashing", &bad_store);
    crashing.budget.restarts = 1_000;
    let crashing = spawn(&system, crashing).unwrap();
    let handle = spawn(&system, spec("sound", &store)).unwrap();
    for n in 0..200 {
        soon(crashing.send(Job::of([flaky(n, 1)]))).await.unwrap();
        soon(handle.send(Job::of([Record::Good(n)]))).await.unwrap();
    }
    until("both done", || handle.status().handled == 200 && crashing.status().handled == 200).await;
    assert_eq!(store.applied(), (0..200).collect::<Vec<_>>());
    assert_eq!((handle.status().generation, handle.status().restarts), (1, 0));
    assert_eq!(crashing.status().restarts, 200);
}

#[actix_rt::test]
async fn busy_actor_leaves_its_neighbour_time() {
    let (system, _) = system(1);
    let store = Arc::default();
    let mut busy = spec("busy", &store);
    busy.capacity = 200_001;
    let busy = spawn(&system, busy).unwrap();
    let neighbour = spawn(&system, spec("neighbour", &store)).unwrap();
    until_state(&neighbour, ActorState::Running).await;
    // both are ready from the moment the arbiter opens
    let open = Arc::new(AtomicBool::new(false));
    busy.try_send(Job::of([Record::Blocks(0, Arc::new(AtomicU32::new(1)), Arc::clone(&open))])).unwrap();
    for _ in 0..200_000 {
        busy.try_send(Job::of([Record::Good(0)])).unwrap();
    }
    neighbour.try_send(Job::of([Record::Good(1)])).unwrap();
    open.store(true, Ordering::SeqCst);
    until("all handled", || busy.status().handled == 200_001 && neighbour.status().handled == 1).await;
    assert_ne!(store.applied().last(), Some(&1), "the neighbour waited for the whole queue");
}

#[actix_rt::test]
async fn death_without_a_word_is_noticed() {
    let (system, _) = system(2);
    let store = Arc::default();
    let handle = spawn(&system, spec("a", &store)).unwrap();
    handle.try_send(Job::of([Record::EndsArbiter(1, Arc::new(AtomicU32::new(1)))])).unwrap();
    handle.try_send(Job::of(good(2..3))).unwrap();
    until("applied elsewhere", || handle.status().handled == 2).await;
    assert_eq!(store.applied(), [1, 2]);
    assert_eq!((handle.status().restarts, handle.status().last_error.as_deref()), (1, Some("ended without a word")));
}

#[actix_rt::test]
async fn idle_actor_on_a_blocked_arbiter_moves_when_a_message_waits() {
    let (system, _) = system(2);
    let (store, neighbour_store) = (Arc::default(), Arc::default());
    let blocking = spawn(&system, spec("blocking", &store)).unwrap();
    let _other_arbiter = spawn(&system, spec("other", &store)).unwrap();
    let mut neighbour = spec("neighbour", &neighbour_store);
    neighbour.hang_after = Duration::from_millis(300);
    let neighbour = spawn(&system, neighbour).unwrap();
    until("idle", || neighbour.status().state == ActorState::Running).await;
    let open = Arc::new(AtomicBool::new(false));
    blocking.try_send(Job::of([Record::Blocks(1, Arc::new(AtomicU32::new(1)), Arc::clone(&open))])).unwrap();
    neighbour.try_send(Job::of(good(2..3))).unwrap();
    until("applied elsewhere", || neighbour.status().handled == 1).await;
    open.store(true, Ordering::SeqCst);
    // its thread is given up, so it goes on elsewhere, too
    until("the blocking one goes on", || blocking.status().handled == 1).await;
    assert_eq!((neighbour_store.applied(), blocking.status().generation), (vec![2], 2));
}

#[actix_rt::test]
async fn graceful_stop_drains_then_refuses() {
    let (system, _) = system(2);
    let store = Arc::default();
    let handle = spawn(&system, spec("a", &store)).unwrap();
    let other = spawn(&system, spec("b", &Arc::default())).unwrap();
    for n in 0..500 {
        handle.try_send(Job::of([if n == 250 { flaky(n, 1) } else { Record::Good(n) }])).unwrap();
    }
    assert!(system.shutdown(LONG).await);
    assert_eq!(store.applied(), (0..500).collect::<Vec<_>>(), "a crash while draining loses nothing");
    assert_eq!(handle.status().state, ActorState::Stopped);
    assert!(matches!(handle.try_send(Job::of([])), Err(SendError::Stopped(_))));
    assert!(matches!(soon(other.send(Job::of([]))).await, Err(SendError::Stopped(_))));
    assert!(spawn(&system, spec("c", &Arc::default())).is_err());
}

#[actix_rt::test]
async fn stop_that_cannot_drain_says_so() {
    let (system, _) = system(1);
    let store = Arc::new(Store::default());
    let handle = spawn(&system, spec("a", &store)).unwrap();
    handle.try_send(Job::of([Record::Gated(1, Arc::default())])).unwrap();
    let quarantined_store = Arc::new(Store::default());
    quarantined_store.build_failures.lock().extend(["panic"; 6]);
    let quarantined = spawn(&system, spec("b", &quarantined_store)).unwrap();
    quarantined.try_send(Job::of(good(0..1))).unwrap();
    until_state(&quarantined, ActorState::Quarantined).await;
    assert!(!quarantined.stop(LONG).await);
    assert!(!system.shutdown(Duration::from_millis(20)).await);
    assert_eq!((handle.status().state, handle.status().queue_depth), (ActorState::Stopped, 1));
    assert_eq!((quarantined.status().state, quarantined.status().queue_depth), (ActorState::Stopped, 1));
}

#[actix_rt::test]
async fn waiting_sender_learns_of_the_stop() {
    let (system, _) = system(1);
    let mut small = spec("a", &Arc::default());
    small.capacity = 1;
    let handle = spawn(&system, small).unwrap();
    handle.try_send(Job::of([Record::Gated(1, Arc::default())])).unwrap();
    let waiting = handle.send(Job::of(good(2..3)));
    tokio::pin!(waiting);
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert!(!handle.stop(Duration::ZERO).await);
    assert!(matches!(soon(waiting).await, Err(SendError::Stopped(_))));
}

#[actix_rt::test]
async fn names_are_unique_among_the_living() {
    let (system, _) = system(1);
    let store = Arc::default();
    let first = spawn(&system, spec("a", &store)).unwrap();
    assert_eq!(spawn(&system, spec("a", &store)).unwrap_err().to_string(), "actor a is already running");
    assert!(first.stop(LONG).await);
    let second = spawn(&system, spec("a", &store)).unwrap();
    soon(second.send(Job::of(good(0..1)))).await.unwrap();
    until("applied", || second.status().handled == 1).await;
    assert_eq!(system.list().len(), 1);
    assert!(!system.release("a") && !system.release("nobody"));
}

#[actix_rt::test]
async fn metrics_and_status_tell_the_same() {
    let registry = prometheus::Registry::new();
    let system = ActorSystem::with_metrics(1, KernelMetrics::register(&registry).unwrap());
    let store = Arc::default();
    let handle = spawn(&system, spec("a", &store)).unwrap();
    handle.send(Job::of([Record::Good(1), Record::Bad])).await.unwrap();
    until("handled", || handle.status().handled == 1).await;
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    for line in [
        "mlinzi_actor_restarts_total{kind=\"test\"} 2",
        "mlinzi_actor_dead_letters_total{kind=\"test\"} 1",
        "mlinzi_actor_handled_total{kind=\"test\"} 1",
        "mlinzi_actor_refused_total{kind=\"test\"} 0",
        "mlinzi_actor_queue_depth{kind=\"test\"} 0",
        "mlinzi_actor_quarantined{kind=\"test\"} 0",
    ] {
        assert!(text.contains(line), "{line} not in\n{text}");
    }
    let [status] = &system.list()[..] else { panic!("one actor") };
    let json = serde_json::to_value(status).unwrap();
    assert_eq!((&json["state"], &json["kind"], &json["restarts"]), (&"running".into(), &"test".into(), &2.into()));
    assert!(KernelMetrics::register(&registry).is_err());
}

const CHILD: &str = "MLINZI_KERNEL_TEST_CHILD";

/// Runs itself as a process with the panic hook, because stderr belongs to the process.
#[actix_rt::test]
async fn panic_text_never_leaves_the_process() {
    if std::env::var_os(CHILD).is_some() {
        install_panic_hook();
        let (system, events) = system(1);
        let handle = spawn(&system, spec("a", &Arc::default())).unwrap();
        handle.try_send(Job::of([Record::Good(1), Record::Bad])).unwrap();
        until("handled", || handle.status().handled == 1).await;
        let seen = format!("{:?} {:?}", events.lock(), handle.status());
        assert!(seen.contains("tests/kernel.rs:") && !seen.contains(SECRET), "{seen}");
        assert!(std::thread::spawn(|| panic!("outside of any actor {SECRET}")).join().is_err());
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "panic_text_never_leaves_the_process", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    assert!(!text.contains(SECRET), "{text}");
    assert!(text.contains("panic at ") && text.contains("tests/kernel.rs:"), "{text}");
}
