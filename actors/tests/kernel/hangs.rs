//! Actors that make no progress, and threads that are blocked.

use super::*;

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
