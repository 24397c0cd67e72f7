//! Messages that crash their actor, and actors that crash.

use super::*;

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
    assert!(last_error.contains("kernel/main.rs:") && !last_error.contains(SECRET), "{last_error}");
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
    assert!(status.last_error.unwrap().contains("kernel/main.rs:"));
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
