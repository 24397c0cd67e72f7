//! What a refused record was meant to be, where that can be computed: a corrected record and the list of what is other in it.
//!
//! Nothing is applied by itself: a person, or a person's decision about many, takes a suggestion or leaves it. Who somebody
//! is and what an amount was in another currency is never guessed; what could mean two things is not offered. A suggestion is
//! one that the ingest takes, or it is none.
//!
//! ```text
//! sent ─▶ draft ─▶ ingest ─▶ taken: a suggestion
//!            ▲        └ refused: code, field ─▶ REPAIRS ─▶ drafts, the likeliest first
//!            └───────────────────────────────────────────────┘
//! ```

mod fixes;
mod read;
#[cfg(test)]
mod tests;

use crate::ingest::{self, Resolver};
use jiff::tz::TimeZone;
use models::record::{QuarantineCode, Refusal};
use models::ts::Ts;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// Largest record that is looked at, bytes: each draft is a copy, and what is larger is no slip.
const SENT_BYTES_MAX: usize = 64 << 10;
/// Drafts that are tried for one record.
const TRIES_MAX: usize = 32;
/// Changes of one record: what needs more is no slip.
const CHANGES_MAX: usize = 24;
/// Pointers that [`pointers`] gives.
pub const POINTERS_MAX: usize = 32;

/// What a record is judged by.
pub struct Bench<'a> {
    /// As the ingest of its source has it.
    pub resolver: &'a Resolver<'a>,
    /// The jurisdiction's: what a time without a zone is in.
    pub zone: &'a TimeZone,
    /// When the record was received.
    pub received_at: Ts,
    /// First `occurred_at` that the source takes.
    pub earliest: Ts,
    /// Last `occurred_at` that the source would have taken when the record was received.
    pub latest: Ts,
}

/// One thing that is other than it was sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// JSON pointer (RFC 6901).
    pub pointer: String,
    /// As it was sent; null where nothing was.
    pub from: Value,
    /// As it is suggested; null where it is taken away.
    pub to: Value,
    /// Why.
    pub why: String,
}

/// A record that would be taken, and what is other in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suggestion {
    /// The whole record.
    pub record: Value,
    /// In the order in which they were made; never empty.
    pub changes: Vec<Change>,
}

/// How one kind of refusal is mended.
struct Repair {
    code: QuarantineCode,
    /// Any where none is named.
    field: Option<&'static str>,
    /// Drafts, the likeliest first; none where it cannot be computed.
    fix: fn(&Suggestion, &str, &Bench<'_>) -> Vec<Suggestion>,
}

const REPAIRS: &[Repair] = &[
    Repair { code: QuarantineCode::Unreadable, field: None, fix: fixes::types },
    Repair { code: QuarantineCode::MissingField, field: Some("money"), fix: fixes::scattered_money },
    Repair { code: QuarantineCode::MissingField, field: None, fix: fixes::misplaced },
    Repair { code: QuarantineCode::SignMismatch, field: None, fix: fixes::sign },
    Repair { code: QuarantineCode::InvalidField, field: Some("occurred_at"), fix: fixes::time },
    Repair { code: QuarantineCode::InvalidField, field: Some("money.currency"), fix: fixes::currency },
    Repair { code: QuarantineCode::InvalidField, field: None, fix: fixes::nearest },
    Repair { code: QuarantineCode::InTheFuture, field: Some("occurred_at"), fix: fixes::zone },
];

/// What the record was meant to be; none where that cannot be computed, and where it is taken as it was sent.
#[must_use]
pub fn suggest(sent: &[u8], bench: &Bench<'_>) -> Option<Suggestion> {
    if sent.len() > SENT_BYTES_MAX {
        return None;
    }
    let mut drafts = vec![read::draft(sent)?];
    for _ in 0..TRIES_MAX {
        let draft = drafts.pop()?;
        let Some(refusal) = bench.refusal(&draft.record) else {
            return (!draft.changes.is_empty()).then_some(draft);
        };
        let field = refusal.detail.split(':').next().unwrap_or_default();
        let fits = |repair: &&Repair| repair.code == refusal.code && repair.field.is_none_or(|of| of == field);
        let next = REPAIRS.iter().filter(fits).flat_map(|repair| (repair.fix)(&draft, field, bench));
        // one that changes nothing would be refused for ever
        let next = next.filter(|d| (draft.changes.len() + 1..=CHANGES_MAX).contains(&d.changes.len()));
        let next: Vec<Suggestion> = next.collect();
        drafts.extend(next.into_iter().rev());
    }
    None
}

impl Bench<'_> {
    /// What the source would say of a record, whatever it knows already.
    fn refusal(&self, record: &Value) -> Option<Refusal> {
        let refused = |code, detail: &str| Some(Refusal { index: 0, code, detail: detail.to_owned() });
        match ingest::record(record.to_string().as_bytes(), self.resolver) {
            Err(refusal) => Some(refusal),
            Ok(taken) if taken.occurred_at > self.latest => {
                refused(QuarantineCode::InTheFuture, "occurred_at: ahead of the clock")
            }
            Ok(taken) if taken.occurred_at < self.earliest => {
                refused(QuarantineCode::BehindHorizon, "occurred_at: behind the horizon")
            }
            Ok(_) => None,
        }
    }
}

/// What a person is to do about a refusal where nothing is suggested.
#[must_use]
pub fn advice(code: QuarantineCode) -> &'static str {
    match code {
        QuarantineCode::Unreadable => {
            "Not JSON, or a field of another type than the contract's: correct it, or have the sender correct its export."
        }
        QuarantineCode::Encoding => {
            "Not UTF-8: have the sender write UTF-8, or give the mapping the encoding of the file."
        }
        QuarantineCode::MissingField => "Only the sender knows the value: ask for it, and replay the record with it.",
        QuarantineCode::InvalidField => {
            "Correct the field that is named. A person's number or document is never guessed: ask the sender."
        }
        QuarantineCode::TooLarge => "Shorten the field that is named, or have the sender do so.",
        QuarantineCode::SignMismatch => "Send the amount without its sign, or the kind whose amounts have one.",
        QuarantineCode::BehindHorizon => {
            "Older than the source looks back, so whether it is stored already cannot be known: send what is older to a source of its own with a longer horizon, then dismiss this one."
        }
        QuarantineCode::InTheFuture => {
            "Ahead of the clock when it was received: have the sender set its clock and write offsets; as it was sent it is taken once its time has come."
        }
        QuarantineCode::UnknownPlayer => {
            "The token is not one of this operator's: have the sender look the player up again, and replay the record with the token it gets."
        }
        QuarantineCode::Conflict => {
            "A record of this id is stored with other content: if this one corrects it, replay it under an id of its own with `replaces`; if not, dismiss it."
        }
        QuarantineCode::SumMismatch => {
            "The columns of the row contradict each other: ask the sender which of them is right."
        }
        QuarantineCode::DeadLetter => {
            "It broke the program that reads it: report it, and replay it as it was sent once a release has mended that."
        }
    }
}

/// Which fields of two texts of a record differ, as JSON pointers made of names of the contract alone: what the sender
/// calls its own fields may name a person. The empty pointer, the whole, where one of them is no JSON object.
#[must_use]
pub fn pointers(sent: &[u8], corrected: &[u8]) -> Vec<String> {
    let object = |bytes: &[u8]| serde_json::from_slice(bytes).ok().filter(Value::is_object);
    let (Some(sent), Some(corrected)) = (object(sent), object(corrected)) else { return vec![String::new()] };
    let mut found = BTreeSet::new();
    differing(&sent, &corrected, &mut String::new(), &mut found);
    found.into_iter().take(POINTERS_MAX).collect()
}

fn differing(a: &Value, b: &Value, at: &mut String, found: &mut BTreeSet<String>) {
    if a == b {
        return;
    }
    let nothing = serde_json::Map::new();
    // an object that is only in one of them differs in each of its members
    let (left, right) = match (a, b) {
        (Value::Object(a), Value::Object(b)) => (a, b),
        (Value::Object(a), Value::Null) => (a, &nothing),
        (Value::Null, Value::Object(b)) => (&nothing, b),
        _ => {
            found.insert(at.clone());
            return;
        }
    };
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    for name in names {
        let (a, b) = (left.get(name).unwrap_or(&Value::Null), right.get(name).unwrap_or(&Value::Null));
        let before = at.len();
        if read::is_of_contract(at, name) {
            at.push('/');
            at.push_str(name);
            differing(a, b, at, found);
        } else if a != b {
            // whoever sends its own field sends it in `extra`, wherever it wrote it
            found.insert(if at.is_empty() { "/extra".to_owned() } else { at.clone() });
        }
        at.truncate(before);
    }
}
