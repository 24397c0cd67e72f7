//! Blocked threads and what wakes up on them later: a zombie may finish its work, and must change nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actors::kernel::{ActorSystem, Backoff, DeadLetter, Handle, KernelEvent, Progress, Spec, Work, spawn};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use parking_lot::Mutex;

const LONG: Duration = Duration::from_secs(30);
const HANG: Duration = Duration::from_millis(300);

/// What handling a message does, in the order of its tries.
#[derive(Clone)]
enum Try {
    /// Blocks the thread until the flag is set.
    Block(Arc<AtomicBool>),
    /// The same, and gives signs of life as soon as another generation has taken over.
    BlockAndBeat(Arc<AtomicBool>),
    /// Never ends, without blocking anybody.
    Hang,
}

/// A store with the fence that the product's stores have: a write of an older generation than one seen is refused.
#[derive(Default)]
struct Store {
    newest: Mutex<u64>,
    written: Mutex<Vec<(u64, u32)>>,
    refused: AtomicUsize,
    tries: Mutex<VecDeque<Try>>,
}

impl Store {
    fn write(&self, generation: u64, n: u32) {
        let mut newest = self.newest.lock();
        if generation < *newest {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return;
        }
        *newest = generation;
        self.written.lock().push((generation, n));
    }
}

struct Writer(Arc<Store>);

impl Work for Writer {
    type Msg = u32;

    fn handle<'a>(&'a mut self, n: Arc<u32>, progress: &'a Progress) -> LocalBoxFuture<'a, ()> {
        async move {
            let next = self.0.tries.lock().pop_front();
            match next {
                Some(Try::Block(open)) => wait(&open, || {}),
                Some(Try::BlockAndBeat(open)) => wait(&open, || {
                    if !progress.is_current() {
                        progress.beat();
                    }
                }),
                Some(Try::Hang) => std::future::pending().await,
                None => {}
            }
            // a zombie does not know that it is one: the fence does
            self.0.write(progress.generation(), *n);
        }
        .boxed_local()
    }

    fn dead_letter<'a>(
        &'a mut self,
        _record: Arc<u32>,
        _letter: &'a DeadLetter,
        _progress: &'a Progress,
    ) -> LocalBoxFuture<'a, ()> {
        std::future::ready(()).boxed_local()
    }
}

fn wait(open: &AtomicBool, each: impl Fn()) {
    while !open.load(Ordering::SeqCst) {
        each();
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn start(
    system: &ActorSystem,
    name: &str,
    alone: bool,
    tries: impl IntoIterator<Item = Try>,
) -> (Handle<u32>, Arc<Store>) {
    start_patient(system, name, alone, HANG, tries)
}

fn start_patient(
    system: &ActorSystem,
    name: &str,
    alone: bool,
    hang_after: Duration,
    tries: impl IntoIterator<Item = Try>,
) -> (Handle<u32>, Arc<Store>) {
    let store = Arc::new(Store { tries: Mutex::new(tries.into_iter().collect()), ..Store::default() });
    let made = Arc::clone(&store);
    let mut spec = Spec::new(name, "test", move |_| {
        let store = Arc::clone(&made);
        async move { Ok(Writer(store)) }.boxed_local()
    });
    spec.backoff = Backoff { min: Duration::from_millis(2), max: Duration::from_millis(20) };
    spec.hang_after = hang_after;
    spec.alone = alone;
    (spawn(system, spec).unwrap(), store)
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[actix_rt::test]
async fn zombies_on_several_threads_write_nothing_behind_the_fence() {
    let system = ActorSystem::new(3);
    let open = Arc::new(AtomicBool::new(false));
    let (handle, store) = start(&system, "a", false, [Try::Block(Arc::clone(&open)), Try::Block(Arc::clone(&open))]);
    handle.try_send(1).unwrap();
    handle.try_send(2).unwrap();
    until("applied on the third thread", || handle.status().handled == 2).await;
    open.store(true, Ordering::SeqCst);
    until("both zombies woke up and wrote", || store.refused.load(Ordering::SeqCst) == 2).await;
    handle.try_send(3).unwrap();
    until("the living one goes on", || handle.status().handled == 3).await;
    assert_eq!(*store.written.lock(), [(3, 1), (3, 2), (3, 3)]);
    assert_eq!((handle.status().generation, handle.status().queue_depth), (3, 0));
}

#[actix_rt::test]
async fn a_zombies_signs_of_life_are_not_the_living_ones() {
    let system = ActorSystem::new(2);
    let hung = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&hung);
    system.on_event(move |event| {
        if let KernelEvent::Hung { generation, .. } = event {
            seen.lock().push(*generation);
        }
    });
    let open = Arc::new(AtomicBool::new(false));
    let (handle, store) = start(&system, "a", false, [Try::BlockAndBeat(Arc::clone(&open)), Try::Hang]);
    handle.try_send(1).unwrap();
    // the second generation hangs while the first, a zombie by now, beats on
    until("the third one applied it", || handle.status().handled == 1).await;
    assert_eq!(*hung.lock(), [1, 2]);
    open.store(true, Ordering::SeqCst);
    until("the zombie woke up", || store.refused.load(Ordering::SeqCst) == 1).await;
    assert_eq!(*store.written.lock(), [(3, 1)]);
}

#[actix_rt::test]
async fn who_is_alone_blocks_nobody_and_leaves_a_blocked_thread() {
    let system = ActorSystem::new(1);
    let open = Arc::new(AtomicBool::new(false));
    let (alone, store) = start(&system, "alone", true, [Try::Block(Arc::clone(&open))]);
    let (neighbour, neighbours) = start(&system, "neighbour", false, []);
    alone.try_send(1).unwrap();
    neighbour.try_send(7).unwrap();
    until("the neighbour goes on", || neighbour.status().handled == 1).await;
    assert_eq!((neighbour.status().generation, neighbours.written.lock().clone()), (1, vec![(1, 7)]));
    until("it goes on among the others", || alone.status().handled == 1).await;
    open.store(true, Ordering::SeqCst);
    until("the zombie woke up", || store.refused.load(Ordering::SeqCst) == 1).await;
    assert_eq!(*store.written.lock(), [(2, 1)]);
    assert!(system.shutdown(LONG).await, "its thread ends with the system");
}

#[actix_rt::test]
async fn a_blocked_thread_is_replaced_and_its_neighbours_move_at_once() {
    let system = ActorSystem::new(2);
    let lost = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lost);
    system.on_event(move |event| {
        if let KernelEvent::ThreadLost { actor, lost, .. } = event {
            seen.lock().push((actor.clone(), *lost));
        }
    });
    let open = Arc::new(AtomicBool::new(false));
    // so patient that only another's loss moves it
    let (neighbour, neighbours) = start_patient(&system, "neighbour", false, 100 * LONG, []);
    let (blocker, store) = start(&system, "blocker", false, (0..3).map(|_| Try::Block(Arc::clone(&open))));
    neighbour.try_send(1).unwrap();
    until("the neighbour works", || neighbour.status().handled == 1).await;
    // each message blocks a thread once, the second one the neighbour's; there were two to begin with
    (1..=3).for_each(|n| blocker.try_send(n).unwrap());
    until("all are applied, on the fourth thread", || blocker.status().handled == 3).await;
    assert_eq!(*lost.lock(), [1, 2, 3].map(|n| ("blocker".to_owned(), n)), "each thread is lost once");
    neighbour.try_send(2).unwrap();
    until("the neighbour works elsewhere", || neighbour.status().handled == 2).await;
    assert_eq!(neighbour.status().restarts, 0, "no crash of its own: {:?}", neighbour.status());
    assert_eq!(neighbours.written.lock().len(), 2);
    open.store(true, Ordering::SeqCst);
    until("the zombies woke up and changed nothing", || store.refused.load(Ordering::SeqCst) == 3).await;
    assert!(system.shutdown(LONG).await);
}

#[actix_rt::test]
async fn who_blocks_the_thread_is_charged_and_not_who_finds_out() {
    let system = ActorSystem::new(1);
    let open = Arc::new(AtomicBool::new(false));
    let (blocker, _) = start_patient(&system, "blocker", false, 100 * LONG, [Try::Block(Arc::clone(&open))]);
    let (neighbour, _) = start(&system, "neighbour", false, []);
    neighbour.try_send(1).unwrap();
    until("the neighbour works", || neighbour.status().handled == 1).await;
    blocker.try_send(1).unwrap();
    // so much less patient that it is the one who finds the thread blocked
    neighbour.try_send(2).unwrap();
    until("both work elsewhere", || neighbour.status().handled == 2 && blocker.status().handled == 1).await;
    let (charged, spared) = (blocker.status(), neighbour.status());
    assert_eq!((charged.restarts, charged.last_error.as_deref()), (1, Some("blocked its thread")), "{charged:?}");
    assert_eq!((spared.restarts, spared.last_error), (0, None));
    open.store(true, Ordering::SeqCst);
    assert!(system.shutdown(LONG).await);
}
