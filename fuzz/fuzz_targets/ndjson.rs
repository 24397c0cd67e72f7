//! A push: any bytes are split, read, validated and judged as the source's actor does it; every row ends in one place.

#![no_main]

use std::ops::Range;
use std::sync::LazyLock;

use engine::dedupe::{Dedupe, Seen};
use engine::ingest::{self, AMOUNT_MINOR_MAX, Resolver};
use libfuzzer_sys::fuzz_target;
use models::ids::OperatorNo;
use models::match_key::DigestKeys;
use models::money::Currency;
use models::phone::Country;
use models::record::{BATCH_RECORDS_MAX, EXTRA_BYTES_MAX, Record, Refusal, TEXT_BYTES_MAX};
use models::token::{TokenKey, TokenMaster};
use serde_json::value::RawValue;

static DIGEST: LazyLock<DigestKeys> = LazyLock::new(|| DigestKeys::new([(0, [7; 32])]).expect("a key"));
static TOKEN_KEYS: LazyLock<[TokenKey; 1]> = LazyLock::new(|| [TokenMaster::new(0, [3; 32]).for_operator(1)]);

fuzz_target!(|body: &[u8]| {
    let Ok(parts) = ingest::split(body) else { return };
    assert!((1..=BATCH_RECORDS_MAX).contains(&parts.len()));
    let behind = parts.windows(2).all(|pair| pair[0].end <= pair[1].start);
    assert!(behind && parts.last().is_some_and(|part| part.end <= body.len()), "parts of the body, in order");

    let mut dedupe = Dedupe::new();
    let first = push(&mut dedupe, body, &parts);
    assert_eq!(first.rows(), parts.len());
    assert_eq!(dedupe.len(), first.accepted);

    // the same push again: nothing is new, and what could not be read still cannot
    let again = push(&mut dedupe, body, &parts);
    assert_eq!((again.accepted, again.rows()), (0, parts.len()));
    assert_eq!(again.refused, first.refused);
    assert_eq!(again.conflicts, first.conflicts, "an id keeps the content that it came with first");

    as_an_array(body, &parts);
});

/// What became of a push.
#[derive(Default)]
struct Outcome {
    accepted: usize,
    duplicates: usize,
    conflicts: usize,
    refused: usize,
}

impl Outcome {
    fn rows(&self) -> usize {
        self.accepted + self.duplicates + self.conflicts + self.refused
    }
}

fn push(dedupe: &mut Dedupe, body: &[u8], parts: &[Range<usize>]) -> Outcome {
    let mut outcome = Outcome::default();
    for part in parts {
        match read(&body[part.clone()]) {
            Err(_) => outcome.refused += 1,
            Ok(record) => match dedupe.insert(record.id_digest, record.content_digest, record.occurred_at) {
                Seen::New => outcome.accepted += 1,
                Seen::Duplicate => outcome.duplicates += 1,
                Seen::Conflict => outcome.conflicts += 1,
                Seen::BehindHorizon => unreachable!("the sets know no clock"),
            },
        }
    }
    outcome
}

fn read(bytes: &[u8]) -> Result<Record, Refusal> {
    let resolver = Resolver {
        digest: &DIGEST,
        token_keys: &*TOKEN_KEYS,
        family: "KE",
        operator_no: OperatorNo(1),
        country: Country::Ke,
        currency: Currency::KES,
    };
    let read = ingest::record(bytes, &resolver);
    if let Ok(record) = &read {
        sound(record);
    }
    read
}

/// What every record that is let in holds to.
fn sound(record: &Record) {
    // a digest stands for an id that names somebody: "digest:" and the key's digits
    let fits = |text: &str| !text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text.contains(char::is_control);
    assert!(fits(&record.record_id));
    assert!(
        [&record.replaces, &record.bet_id, &record.session_id, &record.region].into_iter().flatten().all(|t| fits(t))
    );
    assert!(record.amount_minor >= 0 || record.kind.may_be_negative());
    assert!(record.amount_minor.unsigned_abs() <= AMOUNT_MINOR_MAX.unsigned_abs());
    assert!(record.occurred_at.0 >= 0);
    assert_eq!(record.id_digest, ingest::id_digest(&record.record_id));
    // the fields without a column: eight texts of at most 128 bytes, six at most where escaped, and the free data
    assert!(record.detail.len() <= EXTRA_BYTES_MAX + 16 * 1024);
    if !record.detail.is_empty() {
        let object = serde_json::from_str::<&RawValue>(&record.detail);
        assert!(object.is_ok_and(|o| o.get().starts_with('{')), "the detail is an object");
    }
}

/// Lines that are JSON say the same as items of an array.
fn as_an_array(body: &[u8], parts: &[Range<usize>]) {
    let items: Option<Vec<&str>> = parts
        .iter()
        .map(|part| {
            let text = std::str::from_utf8(&body[part.clone()]).ok()?;
            serde_json::from_str::<&RawValue>(text).is_ok().then_some(text)
        })
        .collect();
    let Some(items) = items else { return };
    let array = format!("[{}]", items.join(" ,\r\n"));
    let again = match ingest::split(array.as_bytes()) {
        Ok(again) => again,
        Err(error) => panic!("an array of what was read alone: {error}"),
    };
    assert_eq!(again.len(), items.len());
    for (part, item) in again.into_iter().zip(items) {
        let same = match (read(&array.as_bytes()[part]), read(item.as_bytes())) {
            (Ok(a), Ok(b)) => a.id_digest == b.id_digest && a.content_digest == b.content_digest,
            (Err(a), Err(b)) => a.code == b.code,
            _ => false,
        };
        assert!(same, "a record means the same in a line and in an array");
    }
}
