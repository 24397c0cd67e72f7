//! A push becomes records: split, parse, validate, digest identity. Each record stands or falls alone.
//!
//! Raw identity – phones, documents, device and account numbers – goes in and only keyed digests come out; a refusal
//! names the field, never the value.

use models::document::{Document, DocumentType, IssuingCountry};
use models::ids::OperatorNo;
use models::match_key::{DigestKeys, MatchKey, OpaqueKind};
use models::money::Currency;
use models::phone::{Country, Phone};
use models::record::{
    BATCH_RECORDS_MAX, EXTRA_BYTES_MAX, PlayChannel, Product, QuarantineCode, Record, RecordKind, RecordStatus,
    Refusal, TEXT_BYTES_MAX, Text, WirePlayer, WireRecord,
};
use models::token::{self, Token, TokenKey};
use models::ts::Ts;
use ring::digest::{Context, SHA256, digest};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt::Write;
use std::ops::Range;

/// Parts of names under which operators like to send people in free data: their values are digested.
const PERSONAL: [&str; 12] = [
    "phone",
    "msisdn",
    "mobile",
    "id_number",
    "national",
    "passport",
    "first_name",
    "last_name",
    "surname",
    "full_name",
    "mail",
    "birth",
];
/// Whole names of that kind.
const PERSONAL_WHOLE: [&str; 4] = ["name", "names", "dob", "customer"];
/// Parts of names of numbers: a whole number under one of them may be that of a document.
const NUMBERED: [&str; 7] = ["doc", "ident", "_no", "num", "subscriber", "card", "user"];
/// Digits in a row, whatever separates them, that may be somebody's number.
const NUMBER_DIGITS: usize = 7;
/// Digits of a mobile number with its leading 0 or its country code; fewer are a serial number as often, more are one.
const MOBILE_DIGITS: std::ops::RangeInclusive<usize> = 10..=13;
/// The same for a JSON number: an amount is shorter, a phone is not.
const BARE_DIGITS: usize = 9;

/// Largest amount of a record, minor units: a hundred billion of a currency with cents. Beyond lie slips of the keyboard,
/// and sums that no later record could mend.
pub const AMOUNT_MINOR_MAX: i64 = 10_000_000_000_000;

/// What turns identity into digests for one source.
pub struct Resolver<'a> {
    /// The register's keys.
    pub digest: &'a DigestKeys,
    /// The operator's token keys.
    pub token_keys: &'a [TokenKey],
    /// Jurisdiction family of the deployment.
    pub family: &'a str,
    /// Whose records.
    pub operator_no: OperatorNo,
    /// Rules for phones and documents.
    pub country: Country,
    /// Currency of the source.
    pub currency: Currency,
}

/// Why a push cannot be split into records at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Nothing in it.
    #[error("the body is empty")]
    Empty,
    /// Too many.
    #[error("more than {BATCH_RECORDS_MAX} records")]
    TooMany,
    /// An array that does not parse.
    #[error("the array is not valid JSON near byte {0}")]
    Array(usize),
}

/// Splits NDJSON or a JSON array into the byte ranges of its records. A broken line stays one (bad) record.
///
/// # Errors
/// [`SplitError`]
pub fn split(body: &[u8]) -> Result<Vec<Range<usize>>, SplitError> {
    let ranges = split_all(body)?;
    if ranges.len() > BATCH_RECORDS_MAX { Err(SplitError::TooMany) } else { Ok(ranges) }
}

/// The same for what was fetched: as many as there are, to be stored in several batches.
///
/// # Errors
/// [`SplitError`], never [`SplitError::TooMany`]
pub fn split_all(body: &[u8]) -> Result<Vec<Range<usize>>, SplitError> {
    let first = body.iter().position(|b| !b.is_ascii_whitespace()).ok_or(SplitError::Empty)?;
    let ranges: Vec<Range<usize>> = if body[first] == b'[' {
        let items: Vec<&RawValue> = match std::str::from_utf8(body) {
            Ok(text) => {
                serde_json::from_str(text).map_err(|e| SplitError::Array(byte_of(body, e.line(), e.column())))?
            }
            Err(e) => return Err(SplitError::Array(e.valid_up_to())),
        };
        items.iter().map(|item| offset(body, item.get().as_bytes())).collect()
    } else {
        body.split(|b| *b == b'\n').map(|line| offset(body, line.trim_ascii())).filter(|r| !r.is_empty()).collect()
    };
    if ranges.is_empty() { Err(SplitError::Empty) } else { Ok(ranges) }
}

/// Where a part of the body lies in it.
fn offset(body: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - body.as_ptr() as usize;
    start..start + part.len()
}

fn byte_of(body: &[u8], line: usize, column: usize) -> usize {
    let before: usize = body.split(|b| *b == b'\n').take(line.saturating_sub(1)).map(|l| l.len() + 1).sum();
    before + column.saturating_sub(1)
}

fn refuse(code: QuarantineCode, detail: impl Into<String>) -> Refusal {
    Refusal { index: 0, code, detail: detail.into() }
}

fn invalid(field: &str, what: &str) -> Refusal {
    refuse(QuarantineCode::InvalidField, format!("{field}: {what}"))
}

/// Reads one record.
///
/// # Errors
/// A [`Refusal`] with index 0: the caller knows the place.
pub fn record(bytes: &[u8], resolver: &Resolver<'_>) -> Result<Record, Refusal> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| refuse(QuarantineCode::Encoding, format!("not UTF-8 behind byte {}", e.valid_up_to())))?;
    let wire: WireRecord<'_> = serde_json::from_str(text).map_err(|e| {
        // the parser's own words may quote a value
        let what = if e.is_data() { "a field has the wrong type" } else { "not JSON" };
        refuse(QuarantineCode::Unreadable, format!("{what}, near column {}", e.column()))
    })?;
    validate(&wire, resolver)
}

fn validate(wire: &WireRecord<'_>, resolver: &Resolver<'_>) -> Result<Record, Refusal> {
    let record_id = required("record_id", wire.record_id.as_ref())?;
    let kind = required("kind", wire.kind.as_ref())?;
    let kind = RecordKind::parse(kind).ok_or_else(|| invalid("kind", "not one of the contract's"))?;
    let occurred_at = required("occurred_at", wire.occurred_at.as_ref())?;
    let occurred_at = Ts::parse(occurred_at).map_err(|e| invalid("occurred_at", &e.to_string()))?;
    let status = closed("status", wire.status.as_ref(), RecordStatus::parse)?.unwrap_or(RecordStatus::Successful);
    let (amount_minor, currency) = match &wire.money {
        Some(money) => {
            let currency = Currency::parse(&money.currency).map_err(|e| invalid("money.currency", &e.to_string()))?;
            if currency != resolver.currency {
                // each currency has windows of its own: a source is of one, and an operator has few
                return Err(invalid("money.currency", &format!("not {}, the source's", resolver.currency)));
            }
            (money.amount_minor, currency)
        }
        None if kind.needs_money() => return Err(refuse(QuarantineCode::MissingField, "money: missing")),
        None => (0, resolver.currency),
    };
    if amount_minor < 0 && !kind.may_be_negative() {
        let detail = format!("money.amount_minor: negative; a {} is an amount, not a direction", kind.as_str());
        return Err(refuse(QuarantineCode::SignMismatch, detail));
    }
    for (field, value) in
        [("money.amount_minor", amount_minor), ("balance_after_minor", wire.balance_after_minor.unwrap_or(0))]
    {
        if value.unsigned_abs() > AMOUNT_MINOR_MAX.unsigned_abs() {
            return Err(invalid(field, "beyond 10000000000000"));
        }
    }
    let opaque = |kind, value: &Text<'_>| resolver.digest.opaque(resolver.family, kind, value.as_bytes());
    let mut record = Record {
        record_id: nameless(record_id, resolver),
        replaces: short("replaces", wire.replaces.as_ref(), resolver)?,
        kind,
        occurred_at,
        status,
        player: wire.player.as_ref().map(|p| player(p, resolver)).transpose()?.flatten(),
        amount_minor,
        currency,
        balance_after_minor: wire.balance_after_minor,
        product: closed("product", wire.product.as_ref(), Product::parse)?,
        channel: closed("channel", wire.channel.as_ref(), PlayChannel::parse)?,
        bet_id: short("bet.id", wire.bet.as_ref().and_then(|b| b.id.as_ref()), resolver)?,
        session_id: short("session_id", wire.session_id.as_ref(), resolver)?,
        region: short("region", wire.region.as_ref(), resolver)?,
        device: wire.device_id.as_ref().map(|d| opaque(OpaqueKind::Device, d)),
        account: wire.payment.as_ref().and_then(|p| p.account.as_ref()).map(|a| opaque(OpaqueKind::Account, a)),
        detail: detail(wire, resolver)?,
        id_digest: 0,
        content_digest: 0,
    };
    record.id_digest = id_digest(&record.record_id);
    record.content_digest = content_digest(&record);
    Ok(record)
}

fn required<'t>(field: &str, text: Option<&'t Text<'_>>) -> Result<&'t str, Refusal> {
    match text.map(|t| &**t) {
        None | Some("") => Err(refuse(QuarantineCode::MissingField, format!("{field}: missing"))),
        Some(text) if text.len() > TEXT_BYTES_MAX => {
            Err(refuse(QuarantineCode::TooLarge, format!("{field}: too long")))
        }
        Some(text) if text.contains(char::is_control) => Err(invalid(field, "holds control characters")),
        Some(text) => Ok(text),
    }
}

fn short(field: &str, text: Option<&Text<'_>>, resolver: &Resolver<'_>) -> Result<Option<String>, Refusal> {
    match text.map(|t| &**t) {
        None | Some("") => Ok(None),
        Some(text) if text.len() > TEXT_BYTES_MAX => {
            Err(refuse(QuarantineCode::TooLarge, format!("{field}: too long")))
        }
        Some(text) if text.contains(char::is_control) => Err(invalid(field, "holds control characters")),
        Some(text) => Ok(Some(nameless(text, resolver))),
    }
}

fn closed<T>(field: &str, text: Option<&Text<'_>>, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Refusal> {
    text.map(|t| parse(t).ok_or_else(|| invalid(field, "not one of the contract's"))).transpose()
}

/// The strongest identity given: token, document, phone, the operator's own account number.
fn player(player: &WirePlayer<'_>, resolver: &Resolver<'_>) -> Result<Option<MatchKey>, Refusal> {
    if let Some(bst) = &player.bst {
        let token = Token::parse(bst).map_err(|e| invalid("player.bst", &e.to_string()))?;
        let opened = token::open(resolver.token_keys, &token)
            .map_err(|_| refuse(QuarantineCode::UnknownPlayer, "player.bst: not a token of this operator"))?;
        return Ok(Some(opened.key));
    }
    if let Some(number) = &player.id_number {
        let name = player.id_type.as_ref().map_or("national_id", |t| &**t);
        let kind = DocumentType::ALL.into_iter().find(|kind| kind.as_str() == name);
        let kind = kind.ok_or_else(|| invalid("player.id_type", "not one of the contract's"))?;
        let document = Document::parse(kind, IssuingCountry::from(resolver.country), number)
            .map_err(|e| invalid("player.id_number", &e.to_string()))?;
        return Ok(Some(resolver.digest.document(resolver.family, &document)));
    }
    if let Some(phone) = &player.phone {
        let phone = Phone::parse(phone, resolver.country).map_err(|e| invalid("player.phone", &e.to_string()))?;
        return Ok(Some(resolver.digest.phone(resolver.family, &phone)));
    }
    let Some(reference) = player.account_ref.as_ref().filter(|r| !r.is_empty()) else { return Ok(None) };
    let mut value = resolver.operator_no.0.to_be_bytes().to_vec();
    value.extend_from_slice(reference.as_bytes());
    Ok(Some(resolver.digest.opaque(resolver.family, OpaqueKind::Player, &value)))
}

/// JSON of the fields that have no column, in a fixed order; empty where there are none.
fn detail(wire: &WireRecord<'_>, resolver: &Resolver<'_>) -> Result<String, Refusal> {
    let mut out = String::new();
    let text = |out: &mut String, name: &str, value: Option<&Text<'_>>| -> Result<(), Refusal> {
        let Some(value) = value.filter(|v| !v.is_empty()) else { return Ok(()) };
        if value.len() > TEXT_BYTES_MAX {
            return Err(refuse(QuarantineCode::TooLarge, format!("{name}: too long")));
        }
        member(out, name);
        json_text(out, &nameless(value, resolver));
        Ok(())
    };
    let number = |out: &mut String, name: &str, value: Option<i64>| {
        if let Some(value) = value {
            member(out, name);
            let _ = write!(out, "{value}");
        }
    };
    if let Some(game) = &wire.game {
        text(&mut out, "game.id", game.id.as_ref())?;
        text(&mut out, "game.type", game.kind.as_ref())?;
    }
    if let Some(bet) = &wire.bet {
        text(&mut out, "bet.settles", bet.settles.as_ref())?;
        number(&mut out, "bet.parts", bet.parts.map(i64::from));
        if let Some(odds) = bet.odds.filter(|o| o.is_finite()) {
            member(&mut out, "bet.odds");
            let _ = write!(out, "{odds}");
        }
        if let Some(live) = bet.live {
            member(&mut out, "bet.live");
            out.push_str(if live { "true" } else { "false" });
        }
    }
    if let Some(limit) = &wire.limit {
        text(&mut out, "limit.type", limit.kind.as_ref())?;
        number(&mut out, "limit.old_minor", limit.old_minor);
        number(&mut out, "limit.new_minor", limit.new_minor);
    }
    text(&mut out, "licence", wire.licence.as_ref())?;
    text(&mut out, "outlet_id", wire.outlet_id.as_ref())?;
    text(&mut out, "terminal_id", wire.terminal_id.as_ref())?;
    text(&mut out, "payment.method", wire.payment.as_ref().and_then(|p| p.method.as_ref()))?;
    if !wire.extra.is_empty() {
        member(&mut out, "extra");
        let start = out.len();
        let members = wire.extra.iter().map(|(name, value)| (name.as_str(), value));
        object(&mut out, members, resolver);
        if out.len() - start > EXTRA_BYTES_MAX {
            return Err(refuse(QuarantineCode::TooLarge, "extra: larger than 4096 bytes"));
        }
    }
    if !out.is_empty() {
        out.push('}');
    }
    Ok(out)
}

/// JSON of free data: members by name, whatever their order was, and no person in the clear at any depth.
fn object<'v>(out: &mut String, members: impl Iterator<Item = (&'v str, &'v Value)>, resolver: &Resolver<'_>) {
    let mut members: Vec<_> = members.collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    out.push('{');
    for (i, (name, value)) in members.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        if may_name_somebody(name) {
            sealed(out, name, resolver);
        } else {
            json_text(out, name);
        }
        out.push(':');
        if !value.is_null() && (is_personal(name) || is_numbered(name, value)) {
            let mut plain = String::new();
            canonical(&mut plain, value, resolver);
            sealed(out, &plain, resolver);
        } else {
            canonical(out, value, resolver);
        }
    }
    out.push('}');
}

fn is_personal(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    PERSONAL_WHOLE.contains(&name.as_str()) || PERSONAL.iter().any(|part| name.contains(part))
}

/// Is it a whole number as long as that of a document, under a name that says so?
fn is_numbered(name: &str, value: &Value) -> bool {
    let name = name.to_ascii_lowercase();
    NUMBERED.iter().any(|part| name.contains(part))
        && value.as_u64().is_some_and(|number| number >= 10_u64.pow(NUMBER_DIGITS as u32 - 1))
}

/// The keyed digest of a value in its place: the same person gives the same digest, and nobody reads who.
fn sealed(out: &mut String, plain: &str, resolver: &Resolver<'_>) {
    let digest = resolver.digest.opaque(resolver.family, OpaqueKind::Player, plain.as_bytes());
    let _ = write!(out, "\"digest:{digest}\"");
}

/// An operator's own id goes on to journal and screens as it is, unless it is made of somebody's mobile number (or of
/// an address of mail): then its keyed digest stands for it, the same wherever the id comes again.
fn nameless(id: &str, resolver: &Resolver<'_>) -> String {
    let is_mobile =
        |digits: &str| MOBILE_DIGITS.contains(&digits.len()) && Phone::parse(digits, resolver.country).is_ok();
    if id.contains('@') || id.split(|c: char| !c.is_ascii_digit()).any(is_mobile) {
        let digest = resolver.digest.opaque(resolver.family, OpaqueKind::Player, id.as_bytes());
        return format!("digest:{digest}");
    }
    id.to_owned()
}

/// Does a free text hold as many digits in a row as a phone or a document, or an address of mail?
fn may_name_somebody(text: &str) -> bool {
    let mut run = 0;
    for c in text.chars() {
        match c {
            '0'..='9' => run += 1,
            '@' => return true,
            ' ' | '-' | '.' | '(' | ')' | '+' | '/' => {}
            _ => run = 0,
        }
        if run >= NUMBER_DIGITS {
            return true;
        }
    }
    false
}

/// The parser bounds the depth.
fn canonical(out: &mut String, value: &Value, resolver: &Resolver<'_>) {
    match value {
        Value::Object(members) => object(out, members.iter().map(|(name, value)| (name.as_str(), value)), resolver),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                canonical(out, item, resolver);
            }
            out.push(']');
        }
        Value::String(text) if may_name_somebody(text) => sealed(out, text, resolver),
        Value::Number(number) if number.to_string().bytes().filter(u8::is_ascii_digit).count() >= BARE_DIGITS => {
            sealed(out, &number.to_string(), resolver);
        }
        Value::String(text) => json_text(out, text),
        plain => {
            let _ = write!(out, "{plain}");
        }
    }
}

fn member(out: &mut String, name: &str) {
    out.push(if out.is_empty() { '{' } else { ',' });
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
}

fn json_text(out: &mut String, text: &str) {
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text).unwrap_or_default());
    }
}

/// First 64 bits of SHA-256 of a record id.
pub fn id_digest(record_id: &str) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&digest(&SHA256, record_id.as_bytes()).as_ref()[..8]);
    u64::from_be_bytes(first)
}

/// First 32 bits of SHA-256 over everything but the id, in a fixed order and length-prefixed.
fn content_digest(r: &Record) -> u32 {
    let mut bytes = Vec::with_capacity(256);
    let mut text = |text: Option<&str>| {
        let text = text.unwrap_or_default();
        bytes.extend_from_slice(&(text.len() as u32).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    };
    text(Some(r.kind.as_str()));
    text(Some(r.status.as_str()));
    text(Some(r.currency.as_str()));
    text(r.product.map(Product::as_str));
    text(r.channel.map(PlayChannel::as_str));
    text(r.replaces.as_deref());
    text(r.bet_id.as_deref());
    text(r.session_id.as_deref());
    text(r.region.as_deref());
    text(Some(&r.detail));
    for number in [Some(r.occurred_at.0), Some(r.amount_minor), r.balance_after_minor] {
        bytes.push(u8::from(number.is_some()));
        bytes.extend_from_slice(&number.unwrap_or_default().to_be_bytes());
    }
    for key in [r.player, r.device, r.account] {
        bytes.push(u8::from(key.is_some()));
        bytes.extend_from_slice(&key.map_or(0, |k| k.0).to_be_bytes());
    }
    let mut context = Context::new(&SHA256);
    context.update(&bytes);
    let mut first = [0; 4];
    first.copy_from_slice(&context.finish().as_ref()[..4]);
    u32::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(check: impl FnOnce(&Resolver<'_>) -> T) -> T {
        let digest = DigestKeys::new([(0, [7; 32])]).unwrap();
        check(&Resolver {
            digest: &digest,
            token_keys: &[],
            family: "t",
            operator_no: OperatorNo(1),
            country: Country::Ke,
            currency: Currency::KES,
        })
    }

    const FINE: &str = r#"{"record_id":"r1","kind":"stake","occurred_at":"2026-11-21T10:00:00Z","player":{"phone":"0712345678"},"money":{"amount_minor":12500,"currency":"KES"},"product":"sportsbook","device_id":"abc","extra":{"x":1},"payment":{"method":"mpesa","account":"0712345678"}}"#;

    #[test]
    fn a_full_record_keeps_no_raw_identity() {
        let record = with(|r| record(FINE.as_bytes(), r)).unwrap();
        assert_eq!(
            (record.amount_minor, record.kind, record.status),
            (12500, RecordKind::Stake, RecordStatus::Successful)
        );
        assert_eq!(record.detail, r#"{"payment.method":"mpesa","extra":{"x":1}}"#);
        assert!(record.player.is_some() && record.device.is_some() && record.account.is_some());
        assert!(!format!("{record:?}").contains("712345678"));
    }

    #[test]
    fn what_is_refused_and_how_it_is_named() {
        use QuarantineCode::{Encoding, InvalidField, MissingField, SignMismatch, TooLarge, Unreadable};
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        let table: Vec<(Vec<u8>, QuarantineCode)> = vec![
            (b"{".to_vec(), Unreadable),
            (b"[]".to_vec(), Unreadable),
            (b"{\"record_id\":\"\xff\"}".to_vec(), Encoding),
            (FINE.replace("\"r1\"", "null").into(), MissingField),
            (FINE.replace("\"r1\"", &format!("\"{long}\"")).into(), TooLarge),
            (FINE.replace("stake", "stakes").into(), InvalidField),
            (FINE.replace("12500", "-12500").into(), SignMismatch),
            (FINE.replace("12500", "1.5").into(), Unreadable),
            (FINE.replace("KES", "kes").into(), InvalidField),
            (FINE.replace("KES", "USD").into(), InvalidField),
            (FINE.replace("12500", "10000000000001").into(), InvalidField),
            (FINE.replace("\"product\"", "\"balance_after_minor\":-10000000000001,\"product\"").into(), InvalidField),
            (FINE.replace("T10", "T25").into(), InvalidField),
            (FINE.replace("{\"phone\":\"0712345678\"}", "{\"phone\":\"12\"}").into(), InvalidField),
            (FINE.replace("{\"phone\":\"0712345678\"}", "{\"bst\":\"BST-02-0\"}").into(), InvalidField),
            (FINE.replace("sportsbook", "horses").into(), InvalidField),
            (FINE.replace("\"x\":1", &format!("\"x\":\"{}\"", "y".repeat(5000))).into(), TooLarge),
        ];
        for (bytes, code) in table {
            let refusal = with(|r| record(&bytes, r)).unwrap_err();
            assert_eq!(refusal.code, code, "{}", String::from_utf8_lossy(&bytes));
            assert!(!refusal.detail.contains("712345678"));
        }
    }

    #[test]
    fn content_is_the_same_in_any_order_and_differs_where_a_field_does() {
        let base = with(|r| record(FINE.as_bytes(), r)).unwrap();
        let swapped = r#"{"kind":"stake","x":1,"record_id":"r2","occurred_at":"2026-11-21T10:00:00.000Z","device_id":"abc","player":{"phone":"+254 712 345 678"},"product":"sportsbook","money":{"currency":"KES","amount_minor":12500},"payment":{"account":"0712345678","method":"mpesa"}}"#;
        let same = with(|r| record(swapped.as_bytes(), r)).unwrap();
        assert_eq!(base.content_digest, same.content_digest);
        assert_ne!(base.id_digest, same.id_digest);
        let other = with(|r| record(FINE.replace("12500", "12501").as_bytes(), r)).unwrap();
        assert_ne!(base.content_digest, other.content_digest);
    }

    #[test]
    fn free_data_is_the_same_in_any_order_and_names_nobody_at_any_depth() {
        let with_extra = |extra: &str| {
            let bytes = FINE.replace("{\"x\":1}", extra);
            with(|r| record(bytes.as_bytes(), r)).unwrap()
        };
        let a = with_extra(r#"{"b":{"y":[1,{"q":2,"p":1}],"x":"\n"},"a":null,"who":[{"MSISDN":"0712345678","n":1}]}"#);
        let b = with_extra(r#"{"who":[{"n":1,"MSISDN":"0712345678"}],"a":null,"b":{"x":"\n","y":[1,{"p":1,"q":2}]}}"#);
        assert_eq!((a.content_digest, &a.detail), (b.content_digest, &b.detail));
        assert!(!a.detail.contains("712345678") && a.detail.contains("digest:"), "{}", a.detail);
        let wanted = r#""extra":{"a":null,"b":{"x":"\n","y":[1,{"p":1,"q":2}]},"who":[{"MSISDN":"digest:"#;
        assert!(a.detail.contains(wanted), "{}", a.detail);
        let other =
            with_extra(r#"{"b":{"y":[1,{"q":2,"p":1}],"x":"\n"},"a":null,"who":[{"MSISDN":"0712345679","n":1}]}"#);
        assert_ne!(a.content_digest, other.content_digest);
    }

    #[test]
    fn ids_made_of_a_mobile_number_are_digested_and_others_are_kept() {
        let id_of = |id: &str| with(|r| record(FINE.replace("\"r1\"", &format!("\"{id}\"")).as_bytes(), r)).unwrap();
        for id in ["254712345678-20261121-1", "bet_0712345678", "wanjiku@example.org/7", "+254112345678"] {
            let once = id_of(id);
            assert!(once.record_id.starts_with("digest:"), "{id}: {}", once.record_id);
            assert_eq!(once.record_id, id_of(id).record_id, "{id}");
            assert_ne!(once.id_digest, id_of(&format!("{id}x")).id_digest, "{id}");
        }
        for id in ["r1", "712345678", "20261121100000", "9c1f-254712", "1000000007", "0812345678-1"] {
            assert_eq!(id_of(id).record_id, id);
        }
        let bytes = FINE.replace("{\"x\":1}", r#"{"0712345678":{"visits":3},"docs":31415926,"jackpot":31415926}"#);
        let record = with(|r| record(bytes.as_bytes(), r)).unwrap();
        assert!(!record.detail.contains("712345678"), "{}", record.detail);
        assert_eq!(record.detail.matches("31415926").count(), 1, "{}", record.detail);
    }

    #[test]
    fn lines_and_arrays_are_split_alike() {
        let lines = b" {\"a\":1}\r\n\n{broken\n{\"b\":2}";
        let parts: Vec<&[u8]> = split(lines).unwrap().into_iter().map(|r| &lines[r]).collect();
        assert_eq!(parts, [&b"{\"a\":1}"[..], b"{broken", b"{\"b\":2}"]);
        let array = b"[{\"a\":1}, {\"b\":[2]}]";
        let parts: Vec<&[u8]> = split(array).unwrap().into_iter().map(|r| &array[r]).collect();
        assert_eq!(parts, [&b"{\"a\":1}"[..], b"{\"b\":[2]}"]);
        assert_eq!(split(b" \n"), Err(SplitError::Empty));
        assert_eq!(split(b"[{},\n{]"), Err(SplitError::Array(6)));
        assert_eq!(split("{}\n".repeat(BATCH_RECORDS_MAX + 1).as_bytes()), Err(SplitError::TooMany));
    }
}
