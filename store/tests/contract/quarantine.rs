//! Refused records: listed, tried again, settled once.

use super::bench::{Database, Kind, Node, commit};
use super::writes::{batch, record};
use models::alert_group::Act;
use models::event::Event;
use models::feed::FeedBatchStored;
use models::ids::{KeyId, QuarantineId, SourceNo};
use models::quarantine::{
    DismissReason, QuarantineDismissed, QuarantineForm, QuarantineReplayed, QuarantineState, ReplayAttempt,
    ReplayOutcome,
};
use models::record::QuarantineCode;
use models::ts::Ts;
use store::{Attachment, CommitError, QuarantineItem, QuarantineQuery, QuarantineRow};

const ALL: QuarantineQuery =
    QuarantineQuery { source_no: SourceNo(1), state: None, code: None, before: None, limit: 500 };

fn id(n: u128) -> QuarantineId {
    QuarantineId(n << 80)
}

fn row(n: u128) -> QuarantineRow {
    let code = if n.is_multiple_of(3) { QuarantineCode::Unreadable } else { QuarantineCode::SignMismatch };
    QuarantineRow {
        id: id(n),
        source_no: SourceNo(1),
        index: n as u32,
        code,
        detail: "not JSON".to_owned(),
        form: if n == 1 { QuarantineForm::Csv } else { QuarantineForm::Record },
        sealed: vec![n as u8],
        sent_digest: (n != 2).then(|| u64::MAX - n as u64),
        at: Ts(n as i64),
    }
}

async fn with(database: &Database, rows: u128) -> Node {
    let node = database.open().await;
    node.commit(Vec::new(), vec![Attachment::Quarantine((1..=rows).map(row).collect())]).await.expect("stored");
    node
}

fn act(by: u128) -> Act {
    Act { by: KeyId(by), at: Ts(77) }
}

fn replayed(by: u128, attempts: &[(u128, ReplayOutcome)]) -> Event {
    let attempt = |(n, outcome): &(u128, ReplayOutcome)| {
        let code = (*outcome == ReplayOutcome::Refused).then_some(QuarantineCode::InvalidField);
        let detail = code.map_or_else(String::new, |_| "kind: missing".to_owned());
        ReplayAttempt { id: id(*n), outcome: *outcome, code, detail, changed: vec!["/kind".to_owned()] }
    };
    let attempts = attempts.iter().map(attempt).collect();
    Event::QuarantineReplayed(QuarantineReplayed { source_no: SourceNo(1), act: act(by), attempts })
}

fn dismissed(by: u128, n: u128) -> Event {
    let reason = DismissReason::TestData;
    Event::QuarantineDismissed(QuarantineDismissed { source_no: SourceNo(1), id: id(n), act: act(by), reason })
}

async fn one(node: &Node, n: u128) -> QuarantineItem {
    let rows = node.store.sealed_items(SourceNo(1), &[id(n)]).await.expect("rows");
    assert_eq!(rows[0].sealed, [n as u8]);
    rows[0].item.clone()
}

pub async fn what_a_source_was_refused_is_known_by_its_digest(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = with(&database, 5).await;
    node.commit(vec![dismissed(9, 5)], Vec::new()).await.expect("dismissed");
    let digests = async |no: u32, limit: u32| node.store.refused_digests(SourceNo(no), limit).await.expect("digests");
    // the second has none, and what became of the last does not matter
    assert_eq!(digests(1, 9).await, [1, 3, 4, 5].map(|n| u64::MAX - n));
    assert_eq!(digests(1, 2).await, [u64::MAX - 4, u64::MAX - 5]);
    assert_eq!(digests(2, 9).await, [0; 0]);
    node.stop().await;
}

pub async fn refused_records_are_listed_page_by_page(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = with(&database, 25).await;
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = node.store.quarantine(&QuarantineQuery { before, limit: 10, ..ALL }).await.expect("a page");
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        seen.extend(page.iter().map(|item| item.index));
    }
    assert_eq!(seen, (1..=25).rev().collect::<Vec<i64>>(), "each once, newest first, whatever the database's language");

    node.commit(vec![replayed(1, &[(2, ReplayOutcome::Stored)]), dismissed(1, 3)], Vec::new()).await.expect("stored");
    let count = async |state, code| {
        let query = QuarantineQuery { state, code, ..ALL };
        node.store.quarantine(&query).await.expect("rows").len()
    };
    assert_eq!(count(Some(QuarantineState::Open), None).await, 23);
    assert_eq!(count(Some(QuarantineState::Dismissed), Some(QuarantineCode::Unreadable)).await, 1);
    assert_eq!(count(None, Some(QuarantineCode::SignMismatch)).await, 17);
    assert_eq!(count(None, Some(QuarantineCode::Conflict)).await, 0);
    let counts = node.store.quarantine_counts(SourceNo(1)).await.expect("counts");
    let counts: Vec<_> = counts.iter().map(|c| (c.code.as_str(), c.state.as_str(), c.count)).collect();
    let wanted = [
        ("sign_mismatch", "open", 16),
        ("sign_mismatch", "replayed", 1),
        ("unreadable", "dismissed", 1),
        ("unreadable", "open", 7),
    ];
    assert_eq!(counts, wanted);
    let open = async |after, limit| {
        let ids = node.store.quarantine_open(SourceNo(1), QuarantineCode::SignMismatch, after, limit).await;
        ids.expect("ids").iter().map(|(id, _)| id.0 >> 80).collect::<Vec<_>>()
    };
    assert_eq!((open(None, 3).await, open(Some(id(5)), 2).await), (vec![1, 4, 5], vec![7, 8]), "oldest first");
    assert_eq!(one(&node, 1).await.form, QuarantineForm::Csv);
    node.stop().await;
}

/// Two who decide at once: one of them wins, and of the other's records none is stored.
pub async fn a_record_is_settled_once_and_with_the_records_that_come_of_it(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = with(&database, 70).await;
    let replay = |by: u128, seq: i64| {
        // more than one statement takes
        let attempts: Vec<_> = (1..=70).map(|n| (n, ReplayOutcome::Stored)).collect();
        let (event, records) = batch(seq, 1, &[record(1, Ts(5))]);
        let Event::FeedBatchStored(batch) = event else { unreachable!("a batch") };
        let event = Event::FeedBatchStored(FeedBatchStored { replayed: true, ..batch });
        commit(node.writer.clone(), vec![replayed(by, &attempts), event], vec![records])
    };
    let outcomes = tokio::join!(replay(1, 1), replay(2, 2), commit(node.writer.clone(), vec![dismissed(3, 9)], vec![]));
    let won = [outcomes.0.is_ok(), outcomes.1.is_ok(), outcomes.2.is_ok()];
    assert_eq!(won.iter().filter(|won| **won).count(), 1, "{outcomes:?}");
    for lost in [outcomes.0.err(), outcomes.1.err(), outcomes.2.err()].into_iter().flatten() {
        assert_eq!(lost, CommitError::Settled);
    }
    let is_replayed = won[0] || won[1];
    assert_eq!(database.int("SELECT COUNT(*) FROM feed_records").await, i64::from(is_replayed));
    let settled = "SELECT COUNT(*) FROM quarantine WHERE state <> 'open' AND settled_by IS NOT NULL";
    assert_eq!(database.int(settled).await, if is_replayed { 70 } else { 1 });
    // what was settled stays so
    for again in
        [replayed(4, &[(9, ReplayOutcome::Duplicate)]), dismissed(4, 9), replayed(4, &[(9, ReplayOutcome::Refused)])]
    {
        let refused = node.commit(vec![again], Vec::new()).await;
        assert_eq!(refused.err(), Some(CommitError::Settled));
    }
    let nobody = node.commit(vec![replayed(4, &[(999, ReplayOutcome::Stored)])], Vec::new()).await;
    assert_eq!(nobody.err(), Some(CommitError::Settled));
    let head = node.store.source_head(SourceNo(1)).await.expect("a head");
    assert_eq!(head.quarantined, 70, "refused ever");
    assert_eq!(head.last_stored_at, None, "a replay is nothing that the source delivered");
    assert_eq!(node.verify().await.first_bad, None);
    node.stop().await;
}

pub async fn what_is_refused_again_stays_open_with_the_last_attempt(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = with(&database, 3).await;
    for by in [1, 2] {
        let attempts = [(1, ReplayOutcome::Refused), (2, ReplayOutcome::Refused)];
        node.commit(vec![replayed(by, &attempts)], Vec::new()).await.expect("stored");
    }
    let item = one(&node, 1).await;
    let last = (act(2), QuarantineCode::InvalidField, "kind: missing".to_owned());
    assert_eq!((item.state, item.attempts, item.attempt), (QuarantineState::Open, 2, Some(last)));
    assert_eq!((item.code, item.settled), (QuarantineCode::SignMismatch, None), "why it came here stays");
    node.commit(vec![replayed(3, &[(1, ReplayOutcome::Duplicate)])], Vec::new()).await.expect("stored");
    let item = one(&node, 1).await;
    let settled = (item.state, item.outcome, item.settled);
    assert_eq!(settled, (QuarantineState::Replayed, Some(ReplayOutcome::Duplicate), Some(act(3))));
    node.commit(vec![dismissed(5, 2)], Vec::new()).await.expect("stored");
    let item = one(&node, 2).await;
    assert_eq!((item.state, item.reason), (QuarantineState::Dismissed, Some(DismissReason::TestData)));
    node.stop().await;
}
