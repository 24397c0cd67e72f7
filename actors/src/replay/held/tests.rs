use super::*;
use models::ids::BatchId;
use models::money::Currency;

/// A record as the intake makes it.
fn taken(id: &str, amount_minor: i64) -> Record {
    let mut record = Record { record_id: id.to_owned(), amount_minor, ..Record::for_tests() };
    record.id_digest = ingest::id_digest(&record.record_id);
    record.content_digest = ingest::content_digest(&record);
    record
}

/// The second batch of a source, as the intake journals it.
fn batch(before: [u8; 32], records: &[Record]) -> FeedBatchStored {
    FeedBatchStored {
        id: BatchId(1),
        batch_no: 7,
        source_no: SourceNo(1),
        source_seq: 2,
        operator_no: OperatorNo(1),
        operator_seq: 3,
        records: records.len() as u32,
        duplicates: 0,
        quarantined: 0,
        first_at: Ts(0),
        last_at: Ts(0),
        clock_at: Ts(0),
        chain: secrets::hex(&crate::source::chain_digest(&before, records)),
        cursor: None,
        late: 0,
        replaced: 0,
        tamper_token: None,
        batch_number: None,
        without_token: false,
        replayed: false,
        records_sha256: Some(secrets::hex(&ingest::records_digest(records))),
    }
}

#[test]
fn records_are_held_by_their_digests_computed_anew() {
    let before = [7; 32];
    let before_hex = secrets::hex(&before);
    let records = [taken("a", 1), taken("b", 2)];
    let batch = batch(before, &records);
    let [a, b] = records;
    let unknown = Record { is_identified: true, ..a.clone() };
    let raised = Record { amount_minor: 3, ..b.clone() };
    let raised_well = taken("b", 3);
    let renamed_well = taken("c", 2);
    let abroad = Record { currency: Currency::NGN, ..b.clone() };
    let whole = ["records.chain", "records.records_sha256"];
    // what is stored | what is not as the journal says
    let table: [(Option<Vec<Record>>, Vec<&str>); 10] = [
        (Some(vec![a.clone(), b.clone()]), vec![]),
        (None, vec!["records"]),
        (Some(vec![]), vec!["records", whole[0], whole[1]]),
        (Some(vec![a.clone()]), vec!["records", whole[0], whole[1]]),
        (Some(vec![b.clone(), a.clone()]), whole.to_vec()),
        (Some(vec![a.clone(), raised]), vec!["records[1].content_digest", whole[0], whole[1]]),
        // with the digest that belongs to it, so that only the whole tells
        (Some(vec![a.clone(), raised_well]), whole.to_vec()),
        (Some(vec![a.clone(), renamed_well]), whole.to_vec()),
        (Some(vec![a, abroad]), vec!["records[1].content_digest", whole[0], whole[1]]),
        // what the 32 bits of each record do not cover
        (Some(vec![unknown, b]), vec![whole[1]]),
    ];
    for (place, (stored, wanted)) in table.into_iter().enumerate() {
        assert_eq!(records_fields(&batch, Some(&before_hex), stored.as_deref()), wanted, "row {place}");
    }
}

#[test]
fn a_batch_hangs_on_the_one_before_and_old_ones_have_the_chain_alone() {
    let records = [taken("a", 1)];
    let (first, other) = ([0; 32], "11".repeat(32));
    let batch = batch(first, &records);
    assert!(records_fields(&batch, None, Some(&records)).is_empty(), "the first of a source");
    for before in [other.as_str(), "no digest"] {
        assert_eq!(records_fields(&batch, Some(before), Some(&records)), ["records.chain"], "{before}");
    }
    let old = FeedBatchStored { records_sha256: None, ..batch };
    let unknown = [Record { is_identified: true, ..records[0].clone() }];
    assert!(records_fields(&old, None, Some(&unknown)).is_empty(), "nothing was journaled of it");
    assert_eq!(records_fields(&old, None, Some(&[taken("a", 2)])), ["records.chain"]);
}

#[test]
fn records_that_differ_are_named_up_to_a_limit() {
    let records: Vec<Record> = (0..40).map(|no| taken(&no.to_string(), no)).collect();
    let batch = batch([0; 32], &records);
    let raised: Vec<Record> =
        records.into_iter().map(|record| Record { amount_minor: record.amount_minor + 1, ..record }).collect();
    assert_eq!(records_fields(&batch, None, Some(&raised)).len(), RECORDS_NAMED_MAX + 2);
}

#[test]
fn columns_of_an_alert_that_say_something_else_are_named() {
    let alert = AlertRevision::for_tests();
    let row = HeldAlert {
        offset: 1,
        id: alert.id.to_string(),
        operator_seq: 1,
        operator_no: 1,
        operator_offset: 1,
        rule: "jump".to_owned(),
        kind: alert.kind.code().into(),
        severity: alert.severity.code().into(),
        body: serde_json::to_string(&alert).expect("JSON"),
        rule_version: Some(1),
        at: Some(Ts(0)),
    };
    let body = |alert: AlertRevision| serde_json::to_string(&alert).expect("JSON");
    let louder = AlertRevision { operator_seq: 2, ..alert.clone() };
    let table = [
        (row.clone(), vec![]),
        (HeldAlert { rule_version: None, at: None, ..row.clone() }, vec![]),
        (HeldAlert { rule: "fall".to_owned(), severity: -1, ..row.clone() }, vec!["rule", "severity"]),
        (HeldAlert { at: Some(Ts(1)), operator_no: 2, ..row.clone() }, vec!["operator_no", "at"]),
        (HeldAlert { body: body(louder), ..row.clone() }, vec!["body"]),
        (HeldAlert { body: "no JSON".to_owned(), ..row }, vec!["body"]),
    ];
    for (row, wanted) in table {
        assert_eq!(alert_fields(&alert, &row), wanted, "{row:?}");
    }
}

#[test]
fn rows_are_read_behind_those_that_were_held() {
    // the newest that was held, those of the events | behind which, up to which
    for (newest, of_events, wanted) in [
        (0, vec![], None),
        (0, vec![1, 2, 3], Some((0, 3))),
        (3, vec![4], Some((3, 4))),
        // a number was given twice, after the newest row was taken away
        (3, vec![3, 4], Some((2, 4))),
        (3, vec![9], Some((3, 9))),
    ] {
        assert_eq!(places(newest, of_events.iter().copied()), wanted, "{newest} {of_events:?}");
    }
}
