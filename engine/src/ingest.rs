//! A push becomes records: split, parse, validate, digest identity. Each record stands or falls alone.
//!
//! Raw identity – phones, documents, device and account numbers – goes in and only keyed digests come out; a refusal
//! names the field, never the value.

mod classes;
mod digests;
mod documents;
mod names;

pub use digests::{content_digest, id_digest, records_digest};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};
use models::document::{Document, DocumentType, IssuingCountry};
use models::feed::DataClass;
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
pub(crate) use names::DIGEST;
use names::{json_text, member, nameless, object};
use serde_json::value::RawValue;
use std::fmt::Write;
use std::ops::Range;

/// Largest amount of a record, minor units: a hundred billion of a currency with cents. Beyond lie slips of the keyboard,
/// and sums that no later record could mend.
pub const AMOUNT_MINOR_MAX: i64 = 10_000_000_000_000;

/// Oldest age that is believed, years.
const AGE_MAX: i16 = 120;
/// Member of a record's detail, always its first, that holds the player's age in years.
const AGE: &str = "player.age";

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
    /// What the source sends: records of another kind are not taken.
    pub class: DataClass,
    /// Rules for phones and documents.
    pub country: Country,
    /// Currency of the source.
    pub currency: Currency,
}

/// Why a push cannot be split into records at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Not even an empty array.
    #[error("the body is empty")]
    Empty,
    /// Too many.
    #[error("more than {BATCH_RECORDS_MAX} records")]
    TooMany,
    /// An array that does not parse.
    #[error("the array is not valid JSON near byte {0}")]
    Array(usize),
}

/// Splits NDJSON or a JSON array into the byte ranges of its records. A broken line stays one (bad) record; an array
/// without records is one: nothing happened.
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
    Ok(ranges)
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
    classes::admit(resolver.class, kind)?;
    let occurred_at = required("occurred_at", wire.occurred_at.as_ref())?;
    // authorities date their documents by the day
    let at = if kind.is_document() { Ts::parse_day(occurred_at) } else { Ts::parse(occurred_at) };
    let occurred_at = at.map_err(|e| invalid("occurred_at", &e.to_string()))?;
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
        None if kind.needs_money() => return Err(missing("money")),
        None => (0, resolver.currency),
    };
    if amount_minor < 0 && !kind.may_be_negative() {
        let detail = format!("money.amount_minor: negative; a {} is an amount, not a direction", kind.as_str());
        return Err(refuse(QuarantineCode::SignMismatch, detail));
    }
    bounded("money.amount_minor", amount_minor)?;
    bounded("balance_after_minor", wire.balance_after_minor.unwrap_or(0))?;
    let document = documents::document(kind, wire, resolver)?;
    let account = match &document {
        // the account that the statement is of
        Some(document) if document.account.is_some() => document.account,
        _ => {
            let account = wire.payment.as_ref().and_then(|p| p.account.as_ref());
            account.map(|a| resolver.digest.opaque(resolver.family, OpaqueKind::Account, a.as_bytes()))
        }
    };
    let opaque = |kind, value: &Text<'_>| resolver.digest.opaque(resolver.family, kind, value.as_bytes());
    let player = wire.player.as_ref().map(|p| player(p, resolver)).transpose()?.flatten();
    let mut record = Record {
        record_id: nameless(record_id, resolver),
        replaces: short("replaces", wire.replaces.as_ref(), resolver)?,
        kind,
        occurred_at,
        status,
        player: player.map(|(key, _)| key),
        is_identified: player.is_some_and(|(_, is_identified)| is_identified),
        amount_minor,
        currency,
        balance_after_minor: wire.balance_after_minor,
        product: closed("product", wire.product.as_ref(), Product::parse)?,
        channel: closed("channel", wire.channel.as_ref(), PlayChannel::parse)?,
        bet_id: short("bet.id", wire.bet.as_ref().and_then(|b| b.id.as_ref()), resolver)?,
        session_id: short("session_id", wire.session_id.as_ref(), resolver)?,
        region: short("region", wire.region.as_ref(), resolver)?,
        device: wire.device_id.as_ref().map(|d| opaque(OpaqueKind::Device, d)),
        account,
        detail: detail(wire, age(wire, occurred_at)?, document.as_ref(), resolver)?,
        id_digest: 0,
        content_digest: 0,
    };
    classes::complete(resolver.class, wire, &mut record)?;
    if record.replaces.as_ref() == Some(&record.record_id) {
        return Err(invalid("replaces", "the record's own id"));
    }
    record.id_digest = id_digest(&record.record_id);
    record.content_digest = content_digest(&record);
    Ok(record)
}

fn missing(field: &str) -> Refusal {
    refuse(QuarantineCode::MissingField, format!("{field}: missing"))
}

/// An amount, or a balance, within what a record may hold.
fn bounded(field: &str, minor: i64) -> Result<(), Refusal> {
    if minor.unsigned_abs() > AMOUNT_MINOR_MAX.unsigned_abs() {
        return Err(invalid(field, "beyond 10000000000000"));
    }
    Ok(())
}

/// A text that is there, is short and can be shown.
fn given<'t>(field: &str, text: Option<&'t str>) -> Result<Option<&'t str>, Refusal> {
    match text {
        None | Some("") => Ok(None),
        Some(text) if text.len() > TEXT_BYTES_MAX => {
            Err(refuse(QuarantineCode::TooLarge, format!("{field}: too long")))
        }
        Some(text) if text.contains(char::is_control) => Err(invalid(field, "holds control characters")),
        text => Ok(text),
    }
}

fn required<'t>(field: &str, text: Option<&'t Text<'_>>) -> Result<&'t str, Refusal> {
    given(field, text.map(|t| &**t))?.ok_or_else(|| missing(field))
}

fn short(field: &str, text: Option<&Text<'_>>, resolver: &Resolver<'_>) -> Result<Option<String>, Refusal> {
    Ok(given(field, text.map(|t| &**t))?.map(|text| nameless(text, resolver)))
}

fn closed<T>(field: &str, text: Option<&Text<'_>>, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Refusal> {
    text.map(|t| parse(t).ok_or_else(|| invalid(field, "not one of the contract's"))).transpose()
}

/// The strongest identity given: token, document, phone, the operator's own account number; and whether the register can
/// be asked about it.
fn player(player: &WirePlayer<'_>, resolver: &Resolver<'_>) -> Result<Option<(MatchKey, bool)>, Refusal> {
    if let Some(bst) = &player.bst {
        let token = Token::parse(bst).map_err(|e| invalid("player.bst", &e.to_string()))?;
        let opened = token::open(resolver.token_keys, &token)
            .map_err(|_| refuse(QuarantineCode::UnknownPlayer, "player.bst: not a token of this operator"))?;
        return Ok(Some((opened.key, true)));
    }
    if let Some(number) = &player.id_number {
        let name = player.id_type.as_ref().map_or("national_id", |t| &**t);
        let kind = DocumentType::ALL.into_iter().find(|kind| kind.as_str() == name);
        let kind = kind.ok_or_else(|| invalid("player.id_type", "not one of the contract's"))?;
        let document = Document::parse(kind, IssuingCountry::from(resolver.country), number)
            .map_err(|e| invalid("player.id_number", &e.to_string()))?;
        return Ok(Some((resolver.digest.document(resolver.family, &document), true)));
    }
    if let Some(phone) = &player.phone {
        let phone = Phone::parse(phone, resolver.country).map_err(|e| invalid("player.phone", &e.to_string()))?;
        return Ok(Some((resolver.digest.phone(resolver.family, &phone), true)));
    }
    let Some(reference) = player.account_ref.as_ref().filter(|r| !r.is_empty()) else { return Ok(None) };
    let mut value = resolver.operator_no.0.to_be_bytes().to_vec();
    value.extend_from_slice(reference.as_bytes());
    Ok(Some((resolver.digest.opaque(resolver.family, OpaqueKind::Player, &value), false)))
}

/// A player's age in whole years when a record was made, where it says the date of birth.
fn age(wire: &WireRecord<'_>, at: Ts) -> Result<Option<i64>, Refusal> {
    let born = wire.player.as_ref().and_then(|player| player.date_of_birth.as_ref()).filter(|text| !text.is_empty());
    let Some(born) = born else { return Ok(None) };
    let wrong = || invalid("player.date_of_birth", "not a date of birth of the form YYYY-MM-DD");
    let born: Date = born.parse().map_err(|_| wrong())?;
    let today = Timestamp::from_microsecond(at.0).map_err(|_| wrong())?.to_zoned(TimeZone::UTC).date();
    let years = born.until((Unit::Year, today)).map_err(|_| wrong())?.get_years();
    if born <= today && years <= AGE_MAX { Ok(Some(years.into())) } else { Err(wrong()) }
}

/// JSON of the fields that have no column, in a fixed order; empty where there are none.
fn detail(
    wire: &WireRecord<'_>,
    age: Option<i64>,
    document: Option<&documents::Taken<'_>>,
    resolver: &Resolver<'_>,
) -> Result<String, Refusal> {
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
    number(&mut out, AGE, age);
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
    if let Some(document) = document {
        member(&mut out, document.name);
        out.push_str(&document.json);
    }
    let further = documents::further(wire, document);
    if !wire.extra.is_empty() || !further.is_empty() {
        member(&mut out, "extra");
        let start = out.len();
        let members = wire.extra.iter().map(|(name, value)| (name.as_str(), value));
        object(&mut out, members.chain(further.iter().map(|(name, value)| (&**name, *value))), resolver);
        if out.len() - start > EXTRA_BYTES_MAX {
            return Err(refuse(QuarantineCode::TooLarge, "extra: larger than 4096 bytes"));
        }
    }
    if !out.is_empty() {
        out.push('}');
    }
    Ok(out)
}

/// The player's age in years when the record was made, where it came with a date of birth.
#[must_use]
pub fn age_of(record: &Record) -> Option<i64> {
    let rest = record.detail.strip_prefix("{\"")?.strip_prefix(AGE)?.strip_prefix("\":")?;
    rest.split([',', '}']).next()?.parse().ok()
}

#[cfg(test)]
mod class_tests;
#[cfg(test)]
mod tests;
