//! The life of the keys: what comes in late, which way versions go, what a rewrapping may touch.

use super::bench::{Database, Kind, started};
use models::event::Event;
use models::ids::KeyId;
use models::key_version::{KeyPurpose, KeyState, KeyStates};
use std::sync::atomic::{AtomicU64, Ordering};
use store::{Attachment, Commit, CommitError, CommitReceipt, Rewrapped, SealedTable, WriterHandle};
use tokio::sync::oneshot;

fn begun(version: u8, fingerprint: &str) -> Event {
    Event::KeyVersionStarted { purpose: KeyPurpose::Digest, version, fingerprint: fingerprint.to_owned() }
}

fn ready(version: u8, left_behind: u64) -> Event {
    Event::KeyVersionReady { purpose: KeyPurpose::Digest, version, left_behind }
}

fn retired(version: u8) -> Event {
    Event::KeyVersionRetired { purpose: KeyPurpose::Digest, version }
}

/// Offers a commit that was made in an epoch.
fn offer(
    writer: &WriterHandle,
    epoch: i64,
    events: Vec<Event>,
) -> oneshot::Receiver<Result<CommitReceipt, CommitError>> {
    let (done, receipt) = oneshot::channel();
    let attachments = vec![Attachment::KeySecret { key_id: KeyId(next_id()), sealed: vec![1, 0, 9] }];
    writer.submit(Commit { events, attachments, key_epoch: Some(epoch), done }).expect("room");
    receipt
}

/// Numbers that no other commit of the test has.
fn next_id() -> u128 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).into()
}

pub async fn what_was_made_before_a_step_is_refused_alone(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    assert_eq!(node.store.key_states().await.expect("read"), KeyStates::default());
    node.commit(vec![begun(0, "a"), ready(0, 0)], Vec::new()).await.expect("stored");
    let epoch = node.store.key_states().await.expect("read").epoch;
    assert_eq!(epoch, 1, "being ready lets nothing else in than before");

    // of one group: those of this epoch go in, those of the one before do not, with and without events
    let offers: Vec<_> = (0..40)
        .map(|n| {
            let events = if n % 4 < 2 { vec![started(n)] } else { Vec::new() };
            let late = n % 2 == 1;
            (late, offer(&node.writer, epoch - i64::from(late), events))
        })
        .collect();
    for (late, outcome) in offers {
        let outcome = outcome.await.expect("told");
        assert_eq!(outcome.err(), late.then_some(CommitError::Rotated));
    }
    assert_eq!(database.int("SELECT COUNT(*) FROM key_secrets").await, 20, "nothing of a refused commit");

    node.commit(vec![begun(1, "b")], Vec::new()).await.expect("stored");
    let late = offer(&node.writer, epoch, vec![started(99)]).await.expect("told");
    assert_eq!(late.err(), Some(CommitError::Rotated));
    let now = node.store.key_states().await.expect("read").epoch;
    assert_eq!(offer(&node.writer, now, vec![started(100)]).await.expect("told").err(), None);
    assert_eq!(node.verify().await.first_bad, None);
    node.stop().await;
}

pub async fn versions_go_one_way_and_a_retired_number_begins_anew(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let version = async |no| {
        let states = node.store.key_states().await.expect("read");
        let known = states.get(KeyPurpose::Digest, no).expect("known").clone();
        (known.state, known.fingerprint, known.left_behind, known.retired_at.is_some())
    };
    let text = |text: &str| text.to_owned();
    node.commit(vec![begun(0, "a"), ready(0, 0), begun(1, "b")], Vec::new()).await.expect("stored");
    assert_eq!(version(1).await, (KeyState::Started, text("b"), 0, false));
    // what is in use does not begin again
    node.commit(vec![begun(0, "x")], Vec::new()).await.expect("stored");
    assert_eq!(version(0).await, (KeyState::Ready, text("a"), 0, false));
    node.commit(vec![ready(1, 3)], Vec::new()).await.expect("stored");
    node.commit(vec![retired(0)], Vec::new()).await.expect("stored");
    assert_eq!(version(1).await, (KeyState::Ready, text("b"), 3, false));
    assert_eq!(version(0).await, (KeyState::Retired, text("a"), 0, true));
    // what is retired does not become ready
    node.commit(vec![ready(0, 0)], Vec::new()).await.expect("stored");
    assert_eq!(version(0).await.0, KeyState::Retired);
    node.commit(vec![begun(0, "c")], Vec::new()).await.expect("stored");
    assert_eq!(version(0).await, (KeyState::Started, text("c"), 0, false));
    let states = node.store.key_states().await.expect("read");
    assert_eq!((states.current(KeyPurpose::Digest), states.versions.len()), (Some(1), 2));
    node.stop().await;
}

pub async fn a_seal_takes_the_place_of_the_one_it_was_made_of_and_of_no_other(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    for no in 0..200_u8 {
        let secret = Attachment::KeySecret { key_id: KeyId(no.into()), sealed: vec![1, 0, no] };
        node.commit(vec![started(no.into())], vec![secret]).await.expect("stored");
    }
    node.store.keep_evidence_key(202_601, vec![1, 0, 7], 0, models::ts::Ts(1)).await.expect("kept");
    // made in another epoch it is not kept
    assert!(node.store.keep_evidence_key(202_602, vec![1, 0, 7], 5, models::ts::Ts(1)).await.is_err());
    assert_eq!(node.store.sealed_under(0).await.expect("read"), 201);

    let (mut after, mut moved) = (None, 0);
    loop {
        let rows = node.store.sealed_otherwise(SealedTable::KeySecrets, 1, after.as_ref(), 70).await.expect("read");
        let Some(last) = rows.last() else { break };
        after = Some(last.id.clone());
        let seals: Vec<Rewrapped> =
            rows.into_iter().map(|row| Rewrapped { now: vec![1, 1, row.sealed[2]], row }).collect();
        moved += seals.len();
        let event = Event::SealsRewrapped { version: 1, table: "key_secrets".to_owned(), rows: seals.len() as u32 };
        node.commit(vec![event], vec![Attachment::Rewrapped(SealedTable::KeySecrets, seals)]).await.expect("stored");
    }
    assert_eq!(moved, 200);
    for no in 0..200_u8 {
        let sealed = node.store.key_secret(KeyId(no.into())).await.expect("read");
        assert_eq!(sealed, Some(vec![1, 1, no]), "each in its own place");
    }

    // a month whose key was destroyed meanwhile stays destroyed
    let rows = node.store.sealed_otherwise(SealedTable::EvidenceKeys, 1, None, 70).await.expect("read");
    node.commit(vec![Event::EvidenceKeyDestroyed { month: 202_601 }], Vec::new()).await.expect("stored");
    let seals = rows.into_iter().map(|row| Rewrapped { now: vec![1, 1, 7], row }).collect();
    let late = Attachment::Rewrapped(SealedTable::EvidenceKeys, seals);
    node.commit(vec![started(1)], vec![late]).await.expect("stored");
    let months = node.store.evidence_keys().await.expect("read");
    assert_eq!(months.iter().map(|key| key.sealed.clone()).collect::<Vec<_>>(), [None]);
    assert_eq!(node.store.sealed_under(0).await.expect("read"), 0);
    node.stop().await;
}
