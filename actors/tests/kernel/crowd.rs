//! Queues, neighbours, ends, and what is told of all of it.

use super::*;

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
    let (open, left) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(1)));
    blocking.try_send(Job::of([Record::Blocks(1, Arc::clone(&left), Arc::clone(&open))])).unwrap();
    until("it blocks", || left.load(Ordering::SeqCst) == 0).await;
    neighbour.try_send(Job::of(good(2..3))).unwrap();
    until("applied elsewhere", || neighbour.status().handled == 1).await;
    // its thread is given up, so it goes on elsewhere, too, as soon as its own supervisor looks
    until("the blocking one goes on", || blocking.status().handled == 1).await;
    open.store(true, Ordering::SeqCst);
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
        assert!(seen.contains("tests/kernel/main.rs:") && !seen.contains(SECRET), "{seen}");
        assert!(std::thread::spawn(|| panic!("outside of any actor {SECRET}")).join().is_err());
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crowd::panic_text_never_leaves_the_process", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    assert!(!text.contains(SECRET), "{text}");
    assert!(text.contains("panic at ") && text.contains("tests/kernel/crowd.rs:"), "{text}");
}
