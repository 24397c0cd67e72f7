//! What is stored of a source's wholeness: states, declarations, sums of days, intervals in which something came.

use super::bench::{Database, Kind};
use super::writes::{batch, record};
use models::event::Event;
use models::feed::FeedBatchStored;
use models::feed::integrity::{
    ChainLink, ComparedTotal, Declaration, DeclaredStatus, DeclaredTotal, NumberRange, SourceIntegrity, Total,
    TotalsCompared,
};
use models::ids::{KeyId, OperatorNo, QuarantineId, SourceNo};
use models::quarantine::QuarantineForm;
use models::record::{QuarantineCode, Record, RecordKind, RecordStatus};
use models::ts::{DAY, HOUR, MINUTE, Ts};
use std::collections::BTreeMap;
use store::{Attachment, CommitError, QuarantineRow, SourceSpan};

const ONE: SourceNo = SourceNo(1);

fn set(version: i64, links: u64) -> Event {
    let state = SourceIntegrity {
        version,
        links,
        link: Some(ChainLink { token: "ab".repeat(32), body_sha256: "cd".repeat(32) }),
        missing: vec![NumberRange { from: 2, to: 4 }],
        ..SourceIntegrity::default()
    };
    Event::SourceIntegritySet { source_no: ONE, state }
}

/// One that comes late, after an outcome that nobody knew, must not take back what followed.
pub async fn a_state_that_was_overtaken_is_refused_with_its_batch(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let stands = async || {
        let head = node.store.source_head(ONE).await.expect("a head");
        (head.integrity.version, head.integrity.links, head.source_seq)
    };
    assert_eq!(stands().await, (0, 0, 0));
    let (event, rows) = batch(1, 1, &[record(1, Ts(1))]);
    node.commit(vec![event, set(1, 1)], vec![rows]).await.expect("stored");
    node.commit(vec![set(3, 3)], Vec::new()).await.expect("stored");
    assert_eq!(stands().await, (3, 3, 1));
    for overtaken in [2, 3] {
        let (event, rows) = batch(2, 1, &[record(2, Ts(1))]);
        let refused = node.commit(vec![event, set(overtaken, 9)], vec![rows]).await;
        assert!(matches!(refused, Err(CommitError::Rejected { .. })), "{overtaken}: {refused:?}");
        assert_eq!(stands().await, (3, 3, 1));
    }
    let head = node.store.source_head(ONE).await.expect("a head");
    assert_eq!(head.integrity.missing, [NumberRange { from: 2, to: 4 }]);
    assert_eq!(node.verify().await.first_bad, None);
    node.stop().await;
}

/// What late, replaced and refused records there were, and what came with a batch.
pub async fn counts_of_a_source_outlive_the_process(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    for (no, late, replaced) in [(1, 2, 1), (2, 0, 3)] {
        let (event, rows) = batch(no, 1, &[record(no as u32, Ts(no))]);
        let Event::FeedBatchStored(stored) = event else { unreachable!("a batch") };
        let (tamper_token, batch_number) = (Some("ab".repeat(32)), Some(40 + no));
        let stored = FeedBatchStored { late, replaced, tamper_token, batch_number, ..stored };
        node.commit(vec![Event::FeedBatchStored(stored)], vec![rows]).await.expect("stored");
    }
    let refused = |id: u128, code| QuarantineRow {
        id: QuarantineId(id),
        source_no: ONE,
        index: 0,
        code,
        detail: "x".to_owned(),
        sealed: vec![1],
        sent_digest: None,
        form: QuarantineForm::Record,
        at: Ts(5),
    };
    let rows = vec![refused(1, QuarantineCode::Conflict), refused(2, QuarantineCode::MissingField)];
    node.commit(Vec::new(), vec![Attachment::Quarantine(rows)]).await.expect("stored");
    let head = node.store.source_head(ONE).await.expect("a head");
    assert_eq!((head.late, head.replaced, head.conflicts, head.quarantined), (2, 4, 1, 2));
    let marks = "SELECT COUNT(*) FROM feed_batches WHERE tamper_token IS NOT NULL AND batch_number IN (41, 42)";
    assert_eq!(database.int(marks).await, 2);
    node.stop().await;
}

/// Every kind, several batches, other sources and days beside it, records whose place was taken.
pub async fn a_days_sums_are_those_of_a_naive_count(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let start = Ts::parse("2025-12-30T21:00:00Z").expect("a time");
    let mut all: Vec<Record> = Vec::new();
    let mut number = 0u32;
    for no in 1..=8i64 {
        for operator in [1, 2] {
            let mut records: Vec<Record> = (0..60)
                .map(|n| {
                    number += 1;
                    let at = start.plus(((no * 5) % 4) * DAY + i64::from(n) * 24 * MINUTE);
                    let kind = RecordKind::ALL[(number % 3) as usize];
                    let status = RecordStatus::ALL[usize::from(number.is_multiple_of(7))];
                    Record { kind, status, ..record(number, at) }
                })
                .collect();
            // the first of the source's records before is corrected, and what corrects it once more with the next batch
            if no > 1 {
                let of = all.iter().rev().find(|r| operator == 1 && r.record_id.starts_with('r')).cloned();
                records.extend(of.map(|of| Record {
                    record_id: format!("c{no}"),
                    replaces: Some(of.record_id.clone()),
                    amount_minor: 7,
                    ..of
                }));
            }
            let replaced = records.iter().filter(|r| r.replaces.is_some()).count() as u32;
            let (event, rows) = batch(no, operator, &records);
            let Event::FeedBatchStored(stored) = event else { unreachable!("a batch") };
            node.commit(vec![Event::FeedBatchStored(FeedBatchStored { replaced, ..stored })], vec![rows])
                .await
                .expect("stored");
            if operator == 1 {
                all.extend(records);
            }
        }
    }
    // what failed takes nobody's place
    let took_place = all.iter().filter(|r| r.status == RecordStatus::Successful);
    let gone: Vec<&str> = took_place.filter_map(|r| r.replaces.as_deref()).collect();
    assert!((1..7).contains(&gone.len()), "some that failed are among them: {}", gone.len());
    for day in -1..6 {
        let span = SourceSpan {
            source_no: ONE,
            operator_no: OperatorNo(1),
            from: start.plus(day * DAY),
            to: start.plus((day + 1) * DAY),
        };
        for status in [DeclaredStatus::Successful, DeclaredStatus::All] {
            let mut wanted: BTreeMap<RecordKind, Total> = BTreeMap::new();
            let counts = |r: &&Record| {
                (span.from..span.to).contains(&r.occurred_at)
                    && !gone.contains(&&*r.record_id)
                    && (status == DeclaredStatus::All || r.status == RecordStatus::Successful)
            };
            for record in all.iter().filter(counts) {
                let total = wanted.entry(record.kind).or_default();
                total.count += 1;
                total.amount_minor += record.amount_minor;
            }
            let (totals, _) = node.store.totals(span, status).await.expect("sums");
            assert_eq!(totals, wanted, "day {day} {status:?}");
        }
    }
    let span = SourceSpan { source_no: ONE, operator_no: OperatorNo(1), from: start, to: start.plus(DAY) };
    let (totals, through) = node.store.totals(span, DeclaredStatus::All).await.expect("sums");
    assert!(!totals.is_empty());
    assert!(!node.store.is_touched(span, through).await.expect("an answer"), "nothing came since");
    let touch = async |no: u32, at: Ts, replaces: Option<&str>| {
        let records = [Record { replaces: replaces.map(ToOwned::to_owned), ..record(9_000 + no, at) }];
        let (event, rows) = batch(no.into(), 1, &records);
        let Event::FeedBatchStored(stored) = event else { unreachable!("a batch") };
        let stored = FeedBatchStored { replaced: u32::from(replaces.is_some()), ..stored };
        node.commit(vec![Event::FeedBatchStored(stored)], vec![rows]).await.expect("stored");
        node.store.is_touched(span, through).await.expect("an answer")
    };
    assert!(!touch(9, start.plus(20 * DAY), None).await, "another day");
    assert!(touch(10, start.plus(20 * DAY), Some("r1")).await, "it may take the place of one of that day");
    assert!(touch(11, start.plus(20 * DAY), Some("r1")).await, "somebody may take a place twice");
    node.stop().await;
}

pub async fn declarations_are_kept_and_the_newest_counts(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let declaration = |day: i64, version| Declaration {
        source_no: ONE,
        day: format!("2026-11-{day:02}"),
        time_zone: "Africa/Nairobi".to_owned(),
        from: Ts(day * DAY),
        to: Ts((day + 1) * DAY),
        version,
        status: DeclaredStatus::Successful,
        totals: vec![DeclaredTotal { kind: RecordKind::Stake, count: version, amount_minor: 5 }],
        at: Ts(9),
        by: KeyId(7),
    };
    let compared = |d: &Declaration, turns| TotalsCompared {
        source_no: ONE,
        day: d.day.clone(),
        from: d.from,
        to: d.to,
        version: d.version,
        status: d.status,
        through: 3,
        at: Ts(10),
        differs: turns % 2 == 1,
        turns,
        lines: vec![ComparedTotal {
            kind: RecordKind::Stake,
            declared: Some(Total::default()),
            stored: Total::default(),
        }],
    };
    for (day, version) in [(9, 1), (10, 1), (9, 2), (11, 1)] {
        let d = declaration(day, version);
        let events = vec![Event::TotalsCompared(compared(&d, version)), Event::TotalsDeclared(d)];
        node.commit(events, Vec::new()).await.expect("stored");
    }
    let twice = node.commit(vec![Event::TotalsDeclared(declaration(9, 2))], Vec::new()).await;
    assert!(matches!(twice, Err(CommitError::Conflict { .. })), "{twice:?}");
    let store = &node.store;
    let history = store.declarations_of(ONE, "2026-11-09", 9).await.expect("rows");
    assert_eq!(history, [declaration(9, 2), declaration(9, 1)]);
    assert_eq!(store.declaration(ONE, "2026-11-10").await.expect("a row"), Some(declaration(10, 1)));
    assert_eq!(store.declaration(SourceNo(2), "2026-11-10").await.expect("a row"), None);
    let day = store.declared_day(ONE, "2026-11-09").await.expect("a row");
    assert_eq!(day, Some(compared(&declaration(9, 2), 2)));
    let days = |found: Vec<TotalsCompared>| found.iter().map(|c| c.day[8..].to_owned()).collect::<Vec<_>>();
    assert_eq!(days(store.declared_days(ONE, None, 2).await.expect("rows")), ["11", "10"]);
    assert_eq!(days(store.declared_days(ONE, Some("2026-11-10"), 2).await.expect("rows")), ["09"]);
    let between = store.declared_between(ONE, Ts(9 * DAY + HOUR), Ts(10 * DAY + 1), 9).await.expect("rows");
    assert_eq!(days(between), ["09", "10"]);
    let none = store.declared_between(ONE, Ts(12 * DAY), Ts(13 * DAY), 9).await.expect("rows");
    assert_eq!(days(none), [] as [&str; 0]);
    node.stop().await;
}

pub async fn intervals_in_which_something_came_are_counted(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    // minutes at which batches were stored
    for (no, minute) in [(1i64, 1), (2, 2), (3, 61), (4, 179), (5, 185), (6, 400)] {
        let records: Vec<_> = (0..3).map(|n| record(n + 10 * no as u32, Ts(n.into()))).collect();
        let (event, rows) = batch(no, 1, &records);
        node.commit(vec![event], vec![rows]).await.expect("stored");
        let sql = format!("UPDATE feed_batches SET stored_at = {} WHERE source_seq = {no}", minute * MINUTE);
        database.run(&sql).await.expect("set");
    }
    let refused = QuarantineRow {
        id: QuarantineId(1),
        source_no: ONE,
        index: 0,
        code: QuarantineCode::MissingField,
        detail: "x".to_owned(),
        sealed: vec![1],
        sent_digest: None,
        form: QuarantineForm::Record,
        at: Ts(20 * MINUTE),
    };
    node.commit(Vec::new(), vec![Attachment::Quarantine(vec![refused])]).await.expect("stored");
    let span = |from: i64, to: i64| SourceSpan {
        source_no: ONE,
        operator_no: OperatorNo(1),
        from: Ts(from * MINUTE),
        to: Ts(to * MINUTE),
    };
    // first and last minute, intervals, minutes of each; those in which something came
    let table = [
        (0, 180, 3, 60, 3),
        // what lies behind the last one belongs to it
        (0, 190, 3, 60, 3),
        (0, 190, 1, 180, 1),
        (60, 180, 2, 60, 2),
        (63, 179, 1, 60, 0),
        (0, 500, 8, 60, 5),
        (600, 700, 1, 60, 0),
    ];
    for (from, to, count, minutes, wanted) in table {
        let found = node.store.delivered(span(from, to), (count, minutes * MINUTE)).await.expect("a number");
        assert_eq!(found, wanted, "{from} to {to}, {count} of {minutes}");
    }
    let came = node.store.arrivals(span(0, 62)).await.expect("numbers");
    assert_eq!((came.records, came.quarantined, came.open), (9, 1, 1));
    // what is settled was sent all the same, and what is replayed was sent before
    database.run("UPDATE quarantine SET state = 'replayed'").await.expect("set");
    database.run("UPDATE feed_batches SET replayed = 1 WHERE source_seq = 3").await.expect("set");
    let came = node.store.arrivals(span(0, 62)).await.expect("numbers");
    assert_eq!((came.records, came.quarantined, came.open), (6, 1, 0));
    let delivered = node.store.delivered(span(0, 180), (3, 60 * MINUTE)).await.expect("a number");
    assert_eq!(delivered, 2);
    let none = node.store.arrivals(span(600, 700)).await.expect("numbers");
    assert_eq!((none.records, none.quarantined), (0, 0));
    node.stop().await;
}
