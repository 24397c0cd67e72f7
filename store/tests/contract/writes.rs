//! What goes in, in which order, and what is told of it.

use super::bench::{Database, Kind, commit, operator, started};
use models::alert::{AlertRevision, Evidence, Granularity, Metric, RevisionKind, Severity, Subject, Window};
use models::event::Event;
use models::feed::FeedBatchStored;
use models::ids::{AlertId, BatchId, OperatorNo, SourceNo};
use models::money::Currency;
use models::record::{Record, RecordKind, RecordStatus};
use models::ts::{DAY, HOUR, Ts};
use std::time::{Duration, Instant};
use store::{Attachment, CommitError, IdempotencyRow};

/// Registrations and ticks go through different lanes on PostgreSQL: their order is still one.
pub async fn sequences_are_gapless_and_published_in_order(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let tasks: Vec<_> = (0..400)
        .map(|n| {
            let event = match n % 2 {
                0 => started(n),
                _ => Event::OperatorTicked { operator_no: OperatorNo(n as u16 % 5), operator_seq: 0, at: Ts(n as i64) },
            };
            tokio::spawn(commit(node.writer.clone(), vec![event; 1 + n % 3], Vec::new()))
        })
        .collect();
    let mut seqs = Vec::new();
    for task in tasks {
        let receipt = task.await.expect("no panic").expect("stored");
        let own: Vec<_> = receipt.events.iter().map(|e| e.seq).collect();
        assert!(own.windows(2).all(|w| w[1] == w[0] + 1), "the events of one commit lie together: {own:?}");
        seqs.extend(own);
    }
    seqs.sort_unstable();
    let count = seqs.len() as i64;
    assert_eq!(seqs, (1..=count).collect::<Vec<_>>());
    assert_eq!(node.heard.gapless_from(1), count);
    assert_eq!(database.int("SELECT COUNT(*) FROM journal").await, count);
    let gaps = "SELECT COUNT(*) FROM (SELECT MAX(operator_seq) - COUNT(*) AS gap FROM operator_ticks GROUP BY operator_no) g WHERE gap <> 0";
    assert_eq!(database.int(gaps).await, 0, "an operator's inputs are numbered without gaps");
    assert_eq!(node.verify().await.first_bad, None);
    node.stop().await;
}

pub async fn a_refused_member_fails_alone(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    node.commit(vec![operator(1, "taken")], Vec::new()).await.expect("stored");
    let tasks: Vec<_> = (2..60u16)
        .map(|n| {
            let code = if n % 10 == 0 { "taken".to_owned() } else { format!("code-{n}") };
            (n, tokio::spawn(commit(node.writer.clone(), vec![operator(n, &code), started(n.into())], Vec::new())))
        })
        .collect();
    for (n, task) in tasks {
        let outcome = task.await.expect("no panic");
        if n % 10 == 0 {
            assert!(matches!(outcome, Err(CommitError::Conflict { .. })), "{n}: {outcome:?}");
        } else {
            assert!(outcome.is_ok(), "{n}: {outcome:?}");
        }
    }
    let good = 1 + (58 - 5);
    assert_eq!(database.int("SELECT COUNT(*) FROM operators").await, good);
    assert_eq!(database.int("SELECT COUNT(*) FROM journal").await, 1 + 2 * (good - 1), "nothing of a refused commit");
    assert_eq!(node.heard.gapless_from(1), 1 + 2 * (good - 1));
    assert_eq!(node.verify().await.first_bad, None);
    node.stop().await;
}

pub fn revision(id: u128, operator_seq: i64) -> Event {
    Event::AlertRevised(AlertRevision {
        id: AlertId(id),
        rule: "test".to_owned(),
        rule_version: 1,
        operator_no: OperatorNo(1),
        subject: Subject {
            operator: "alpha".to_owned(),
            metric: Metric::Stakes,
            granularity: Granularity::Day,
            currency: Currency::KES,
            source: None,
            who: None,
        },
        window: Window { start: Ts(0), end: Ts(DAY) },
        kind: RevisionKind::Raised,
        severity: Severity::High,
        at: Ts(0),
        operator_seq,
        offset: 0,
        operator_offset: 0,
        evidence: Evidence {
            observed: 2,
            expected: 1,
            band_low: 0,
            band_high: 1,
            score_milli: 7_000,
            threshold_milli: 6_000,
            samples: 8,
            reasons: Vec::new(),
            records: Vec::new(),
            ..Evidence::default()
        },
    })
}

/// An actor that was killed offers its alerts again: the store drops what it has, in one group and over many.
pub async fn an_alert_revision_is_stored_once(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let first = node.commit(vec![revision(1, 5), revision(1, 5), revision(2, 5)], Vec::new()).await.expect("stored");
    assert_eq!(first.events.len(), 2, "twice in one commit is once");
    let again = node.commit(vec![revision(1, 5), revision(1, 6)], Vec::new()).await.expect("stored");
    let offsets: Vec<_> = again
        .events
        .iter()
        .map(|e| match &e.event {
            Event::AlertRevised(r) => (r.operator_seq, r.offset, r.operator_offset),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(offsets, [(6, 3, 3)], "only what is new, and offsets without gaps");
    let nothing = node.commit(vec![revision(2, 5)], Vec::new()).await.expect("stored");
    assert!(nothing.events.is_empty());
    node.stop().await;
    // a new process goes on where the old one stood
    let node = database.open().await;
    let next = node.commit(vec![revision(1, 6), revision(3, 7)], Vec::new()).await.expect("stored");
    assert!(matches!(&next.events[..], [only] if matches!(&only.event, Event::AlertRevised(r) if r.offset == 4)));
    assert_eq!(database.int("SELECT COUNT(*) FROM alert_revisions").await, 4);
    let missed = async |after, limit| {
        let read = node.store.operator_alerts(OperatorNo(1), after, limit).await.expect("rows");
        read.iter().map(|r| r.operator_offset).collect::<Vec<_>>()
    };
    assert_eq!((missed(1, 2).await, missed(3, 9).await, missed(4, 9).await), (vec![2, 3], vec![4], vec![]));
    assert_eq!(database.int("SELECT COUNT(*) FROM journal").await, 4);
    node.stop().await;
}

pub fn record(n: u32, at: Ts) -> Record {
    Record {
        record_id: format!("r{n}"),
        replaces: None,
        kind: RecordKind::Stake,
        occurred_at: at,
        status: RecordStatus::Successful,
        player: None,
        is_identified: n.is_multiple_of(2),
        amount_minor: i64::from(n),
        currency: Currency::KES,
        balance_after_minor: Some(-7),
        product: None,
        channel: None,
        bet_id: Some("b\u{1F3B2}'\"\\".to_owned()),
        session_id: None,
        region: None,
        device: None,
        account: None,
        detail: "{}".to_owned(),
        id_digest: u64::MAX - u64::from(n),
        content_digest: u32::MAX - n,
    }
}

pub fn batch(no: i64, operator: u16, records: &[Record]) -> (Event, Attachment) {
    let times = records.iter().map(|r| r.occurred_at);
    let batch = FeedBatchStored {
        id: BatchId(u128::from(operator) << 64 | no as u128),
        batch_no: 0,
        source_no: SourceNo(operator.into()),
        source_seq: no,
        operator_no: OperatorNo(operator),
        operator_seq: 0,
        records: records.len() as u32,
        duplicates: 0,
        quarantined: 0,
        first_at: times.clone().min().unwrap_or_default(),
        last_at: times.max().unwrap_or_default(),
        clock_at: Ts(0),
        chain: format!("{no:064x}"),
        cursor: None,
        late: 0,
        replaced: 0,
        tamper_token: None,
        batch_number: None,
        without_token: false,
        replayed: false,
        records_sha256: None,
    };
    (Event::FeedBatchStored(batch), Attachment::FeedRecords(records.into()))
}

/// With a batch, without one, and never of a batch that was refused.
pub async fn how_far_a_source_was_read_is_stored_with_its_records(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let cursor = async || {
        let head = node.store.source_head(SourceNo(1)).await.expect("a head");
        (head.source_seq, head.cursor.map(|(text, _)| text))
    };
    let read_to = |no: i64, text: Option<&str>| {
        let (event, attachment) = batch(no, 1, &[record(no as u32, Ts(no))]);
        let Event::FeedBatchStored(batch) = event else { unreachable!("a batch") };
        let cursor = text.map(ToOwned::to_owned);
        (vec![Event::FeedBatchStored(FeedBatchStored { cursor, ..batch })], vec![attachment])
    };
    let moved = |text: &str, delivered: bool| {
        vec![Event::SourceAdvanced { source_no: SourceNo(1), cursor: text.to_owned(), delivered }]
    };
    let advanced = |text: &str| moved(text, true);
    assert_eq!(cursor().await, (0, None));
    let (events, rows) = read_to(1, Some("a"));
    node.commit(events, rows).await.expect("stored");
    assert_eq!(cursor().await, (1, Some("a".to_owned())));
    let (events, rows) = read_to(2, None);
    node.commit(events, rows).await.expect("stored");
    assert_eq!(cursor().await, (2, Some("a".to_owned())), "a part of a page");
    node.commit(advanced("b'\"\\"), vec![]).await.expect("stored");
    assert_eq!(cursor().await, (2, Some("b'\"\\".to_owned())));
    let (events, rows) = read_to(2, Some("c"));
    assert!(node.commit(events, rows).await.is_err(), "that position is taken");
    assert_eq!(cursor().await, (2, Some("b'\"\\".to_owned())));
    // twice in one group: the last one stands
    let both = [advanced("d"), advanced("e")].concat();
    node.commit(both, vec![]).await.expect("stored");
    assert_eq!(cursor().await, (2, Some("e".to_owned())));
    // where nothing was delivered, it was last then what it is now
    let at = async || node.store.source_head(SourceNo(1)).await.expect("a head").cursor.map(|(_, at)| at);
    let before = at().await;
    assert!(before > Some(Ts(0)));
    node.commit(moved("f", false), vec![]).await.expect("stored");
    assert_eq!((cursor().await.1.as_deref(), at().await), (Some("f"), before));
}

/// Over months, in any order, with everything a record may hold.
pub async fn records_are_found_by_operator_and_time(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let start = Ts::parse("2025-12-30T00:00:00Z").expect("a time");
    let mut expected = Vec::new();
    for no in 1..=6i64 {
        for operator in [1, 2] {
            // 700 records: more than one statement, and not a power of two
            let records: Vec<Record> =
                (0..700).map(|n| record(n, start.plus(((no * 13) % 7) * DAY + i64::from(n) * 60_000_000))).collect();
            let (event, attachment) = batch(no, operator, &records);
            node.commit(vec![event], vec![attachment]).await.expect("stored");
            if operator == 1 {
                expected.extend(records);
            }
        }
    }
    let (from, to) = (start.plus(DAY + HOUR), start.plus(4 * DAY + 2 * HOUR));
    expected.retain(|r| r.occurred_at >= from && r.occurred_at < to);
    expected.sort_by_key(|r| (r.occurred_at, r.amount_minor));
    let mut found = node.store.records_between(OperatorNo(1), from, to, 100_000).await.expect("records");
    assert!(found.windows(2).all(|w| w[0].occurred_at <= w[1].occurred_at), "oldest first");
    found.sort_by_key(|r| (r.occurred_at, r.amount_minor));
    assert!(!expected.is_empty() && found == expected, "{} of {} records", found.len(), expected.len());
    let count = node.store.count_between(OperatorNo(1), from, to).await.expect("a number");
    assert_eq!(count, expected.len() as u64);
    let head = node.store.source_head(SourceNo(1)).await.expect("a head");
    assert_eq!(head.source_seq, 6);
    // the same position of a source twice is refused: a second owner would fork its chain
    let (event, attachment) = batch(6, 1, &[record(1, start)]);
    let fork = node.commit(vec![event], vec![attachment]).await;
    assert!(matches!(fork, Err(CommitError::Conflict { .. })), "{fork:?}");
    assert_eq!(database.int("SELECT COUNT(*) FROM feed_records").await, 6 * 2 * 700);
    node.stop().await;
}

pub async fn an_idempotency_key_stands_once_and_is_forgotten(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let row = |body: u8, expires_at: i64| {
        vec![Attachment::Idempotency(IdempotencyRow {
            key_digest: [1; 32],
            body_digest: [body; 32],
            status: 201,
            result_id: "exc_x".to_owned(),
            expires_at: Ts(expires_at),
        })]
    };
    node.commit(vec![started(1)], row(1, 100)).await.expect("stored");
    let second = node.commit(vec![started(2)], row(2, 100)).await;
    assert!(matches!(second, Err(CommitError::Conflict { .. })), "{second:?}");
    assert_eq!(database.int("SELECT COUNT(*) FROM journal").await, 1, "what went with it is not stored either");
    let stored = node.store.idempotency(&[1; 32], Ts(99)).await.expect("an answer").expect("a row");
    assert_eq!((stored.body_digest, stored.result_id.as_str()), ([1; 32], "exc_x"));
    assert!(node.store.idempotency(&[1; 32], Ts(100)).await.expect("an answer").is_none(), "its time is over");
    assert_eq!(node.store.forget_idempotency(Ts(99)).await.expect("an answer"), 0);
    node.commit(vec![started(3)], row(2, 200)).await.expect("stored: the day is over");
    assert_eq!(node.store.forget_idempotency(Ts(199)).await.expect("an answer"), 0);
    assert_eq!(node.store.forget_idempotency(Ts(200)).await.expect("an answer"), 1);
    node.stop().await;
}

/// The command line writes beside a running engine.
pub async fn events_of_another_process_are_published_in_order(kind: Kind) {
    let database = Database::fresh(kind).await;
    let (engine, tool) = (database.open().await, database.open().await);
    for n in 0..30 {
        let writer = if n % 3 == 0 { &tool } else { &engine };
        writer.commit(vec![started(n), started(n)], Vec::new()).await.expect("stored");
    }
    let end = Instant::now() + Duration::from_secs(20);
    for node in [&engine, &tool] {
        while node.heard.gapless_from(1) < 60 {
            assert!(Instant::now() < end, "not everything is published: {:?}", node.heard.groups());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(engine.verify().await.first_bad, None);
    tool.stop().await;
    engine.stop().await;
}

pub async fn a_closed_writer_takes_nothing_and_loses_nothing(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let tasks: Vec<_> =
        (0..200).map(|n| tokio::spawn(commit(node.writer.clone(), vec![started(n)], Vec::new()))).collect();
    tokio::task::yield_now().await;
    let (writer, store) = (node.writer.clone(), node.store.clone());
    node.stop().await;
    let mut stored = 0;
    for task in tasks {
        stored += i64::from(task.await.expect("no panic").is_ok());
    }
    assert_eq!(database.int("SELECT COUNT(*) FROM journal").await, stored);
    let late = commit(writer, vec![started(0)], Vec::new()).await;
    assert!(matches!(late, Err(CommitError::Unavailable)), "{late:?}");
    assert!(store.head().await.is_err(), "a closed store answers nothing");
}
