//! A stored record as others may read it: one line of JSON, with nobody in it.
//!
//! Players, devices and accounts are names of this output alone: the same one always has the same name, and nobody comes
//! from a name back to the register's digest, let alone to a number.

use crate::ingest::DIGEST;
use models::ids::SourceId;
use models::match_key::MatchKey;
use models::record::Record;
use models::ts::Ts;
use ring::digest::{Context, SHA256};
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Bytes of a name.
const NAME_BYTES: usize = 16;

#[derive(Serialize)]
struct Line<'a> {
    source: SourceId,
    operator: &'a str,
    record_id: Cow<'a, str>,
    replaces: Option<Cow<'a, str>>,
    kind: &'static str,
    occurred_at: Ts,
    status: &'static str,
    player: Option<String>,
    money: Option<Money<'a>>,
    balance_after_minor: Option<i64>,
    product: Option<&'static str>,
    channel: Option<&'static str>,
    bet_id: Option<Cow<'a, str>>,
    session_id: Option<Cow<'a, str>>,
    region: Option<Cow<'a, str>>,
    device: Option<String>,
    account: Option<String>,
    /// The contract's further fields and `extra`, as they were stored, but for whoever is named in them.
    detail: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct Money<'a> {
    amount_minor: i64,
    currency: &'a str,
}

fn name(what: &str, key: MatchKey) -> String {
    name_of(what, &key.0.to_be_bytes())
}

fn name_of(what: &str, digest: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(b"mlinzi output 1\0");
    context.update(what.as_bytes());
    context.update(digest);
    context.finish().as_ref()[..NAME_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A text, or a name where it is somebody's digest.
fn nameless(text: &str) -> Cow<'_, str> {
    match text.strip_prefix(DIGEST) {
        Some(digest) => format!("name:{}", name_of("text", digest.as_bytes())).into(),
        None => text.into(),
    }
}

/// Puts names in the place of the digests that free data holds, names of fields among them. Text by text and not as a
/// tree: free data nests as deep as the parser goes, and here it lies deeper still.
fn renamed(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(start) = rest.find('"') {
        let (before, quoted) = rest.split_at(start);
        let (text, behind) = quoted.split_at(length(quoted));
        out.push_str(before);
        let plain: Cow<'_, str> = if text.contains('\\') {
            serde_json::from_str(text).map_or(text.into(), Cow::Owned)
        } else {
            text.trim_matches('"').into()
        };
        match nameless(&plain) {
            Cow::Owned(name) => write_name(&mut out, &name),
            Cow::Borrowed(_) => out.push_str(text),
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

fn write_name(out: &mut String, name: &str) {
    out.push('"');
    out.push_str(name);
    out.push('"');
}

/// Bytes of the JSON text that begins here, with its quotes.
fn length(quoted: &str) -> usize {
    let mut is_escaped = false;
    let end = quoted.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(quoted.len(), |end| end + 2)
}

fn detail(stored: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(renamed(stored)).ok()
}

/// What a record is called in the output, by which readers know it again: an id is unique within its source.
#[must_use]
pub fn key(record: &Record, source: SourceId) -> String {
    format!("{source}/{}", nameless(&record.record_id))
}

/// The line of a record, without an end.
#[must_use]
pub fn line(record: &Record, source: SourceId, operator: &str) -> Vec<u8> {
    let line = Line {
        source,
        operator,
        record_id: nameless(&record.record_id),
        replaces: record.replaces.as_deref().map(nameless),
        kind: record.kind.as_str(),
        occurred_at: record.occurred_at,
        status: record.status.as_str(),
        player: record.player.map(|key| name("player", key)),
        money: record
            .kind
            .needs_money()
            .then(|| Money { amount_minor: record.amount_minor, currency: record.currency.as_str() }),
        balance_after_minor: record.balance_after_minor,
        product: record.product.map(|product| product.as_str()),
        channel: record.channel.map(|channel| channel.as_str()),
        bet_id: record.bet_id.as_deref().map(nameless),
        session_id: record.session_id.as_deref().map(nameless),
        region: record.region.as_deref().map(nameless),
        device: record.device.map(|key| name("device", key)),
        account: record.account.map(|key| name("account", key)),
        detail: detail(&record.detail),
    };
    // only a map whose keys are no text cannot be written, and there is none
    serde_json::to_vec(&line).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::windows::tests::record;
    use models::record::RecordKind;
    use serde_json::{Value, json};

    #[test]
    fn a_record_is_told_with_nobody_in_it() {
        let mut stake = record(RecordKind::Stake, Ts(1_767_225_600_000_000), 12_500, 7);
        stake.record_id = "b-1".to_owned();
        let detail = r#"{"outlet_id":"o1","bank":{"counterparty":"digest:00ff"},"extra":{"phones":["digest:00ff"],"digest:00ff":{"digest:00ff":1}}}"#;
        stake.detail = detail.to_owned();
        stake.device = stake.player;
        let read =
            |record: &Record| -> Value { serde_json::from_slice(&line(record, SourceId(3), "acme")).expect("JSON") };
        let said = read(&stake);
        assert_eq!(said["money"], json!({"amount_minor": 12_500, "currency": "KES"}));
        assert_eq!(
            (&said["operator"], &said["kind"], &said["record_id"]),
            (&json!("acme"), &json!("stake"), &json!("b-1"))
        );
        assert_eq!(
            (&said["occurred_at"], &said["detail"]["outlet_id"]),
            (&json!("2026-01-01T00:00:00.000Z"), &json!("o1"))
        );
        // a name of its own for each thing, the same each time, and not the register's
        let digest = format!("{:x}", stake.player.expect("a player").0);
        let player = said["player"].as_str().expect("a name");
        assert!(
            player.len() == 2 * NAME_BYTES && said["player"] != said["device"] && !player.contains(&digest),
            "{said}"
        );
        assert_eq!(read(&stake), said);
        let (one, other) = (&said["detail"]["bank"]["counterparty"], &said["detail"]["extra"]["phones"][0]);
        assert!(one == other && one.as_str().is_some_and(|name| name.starts_with("name:")), "{said}");
        assert!(!said.to_string().contains("00ff"), "{said}");
        // texts are told from what looks like one within them
        stake.detail =
            r#"{"extra":{"a\"digest:1\\":["digest:00ff","\\","\"","x\"digest:2"],"digest:0\n":"\u0001"}}"#.to_owned();
        let said = read(&stake);
        let extra = said["detail"]["extra"].as_object().expect("an object");
        assert_eq!(extra["a\"digest:1\\"], json!([one, "\\", "\"", "x\"digest:2"]), "{said}");
        assert!(extra.iter().any(|(name, value)| name.starts_with("name:") && *value == "\u{1}"), "{said}");
        stake.detail = detail.to_owned();
        stake.record_id = "digest:00ff".to_owned();
        let said = read(&stake);
        let id = said["record_id"].as_str().expect("an id");
        assert!(id.starts_with("name:"), "an id that was a number: {said}");
        assert_eq!(key(&stake, SourceId(3)), format!("{}/{id}", SourceId(3)));
        let mut login = record(RecordKind::Login, Ts(0), 0, 8);
        login.player = None;
        let said = read(&login);
        assert_eq!((&said["money"], &said["player"], &said["detail"]), (&Value::Null, &Value::Null, &Value::Null));
    }
}
