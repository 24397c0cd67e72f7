//! The supervision kernel's promises, each failure by name.

mod crashes;
mod crowd;
mod hangs;

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
