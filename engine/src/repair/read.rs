//! What is read out of texts that do not keep the contract: types, times, amounts, names.

use super::{Change, Suggestion};
use crate::mapping::Numbers;
use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use models::money::Currency;
use models::ts::{SECOND, Ts};
use serde_json::{Map, Value};

/// How deep a record is looked through; the parser allows more than anybody means.
const DEPTH_MAX: usize = 4;
/// Above, a JSON number does not survive being read as one.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// What a field of the contract is, in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    /// An amount in minor units.
    Minor,
    Whole,
    Real,
    Flag,
    Object,
}

/// The fields of the contract.
pub(super) const SHAPES: &[(&str, Shape)] = &[
    ("/record_id", Shape::Text),
    ("/replaces", Shape::Text),
    ("/kind", Shape::Text),
    ("/occurred_at", Shape::Text),
    ("/status", Shape::Text),
    ("/player", Shape::Object),
    ("/player/bst", Shape::Text),
    ("/player/phone", Shape::Text),
    ("/player/id_number", Shape::Text),
    ("/player/id_type", Shape::Text),
    ("/player/date_of_birth", Shape::Text),
    ("/player/account_ref", Shape::Text),
    ("/money", Shape::Object),
    ("/money/amount_minor", Shape::Minor),
    ("/money/currency", Shape::Text),
    ("/balance_after_minor", Shape::Minor),
    ("/product", Shape::Text),
    ("/game", Shape::Object),
    ("/game/id", Shape::Text),
    ("/game/type", Shape::Text),
    ("/bet", Shape::Object),
    ("/bet/id", Shape::Text),
    ("/bet/settles", Shape::Text),
    ("/bet/parts", Shape::Whole),
    ("/bet/odds", Shape::Real),
    ("/bet/live", Shape::Flag),
    ("/session_id", Shape::Text),
    ("/limit", Shape::Object),
    ("/limit/type", Shape::Text),
    ("/limit/old_minor", Shape::Minor),
    ("/limit/new_minor", Shape::Minor),
    ("/licence", Shape::Text),
    ("/channel", Shape::Text),
    ("/outlet_id", Shape::Text),
    ("/terminal_id", Shape::Text),
    ("/device_id", Shape::Text),
    ("/region", Shape::Text),
    ("/payment", Shape::Object),
    ("/payment/method", Shape::Text),
    ("/payment/account", Shape::Text),
    ("/payment/reference", Shape::Text),
    ("/payment/invoice", Shape::Text),
    ("/payment/authority", Shape::Text),
    ("/payment/state", Shape::Text),
    ("/licence_status/number", Shape::Text),
    ("/licence_status/licence_class", Shape::Text),
    ("/licence_status/valid_from", Shape::Text),
    ("/licence_status/valid_to", Shape::Text),
    ("/licence_status/state", Shape::Text),
    ("/licence_status/compliance", Shape::Text),
    ("/invoice/number", Shape::Text),
    ("/invoice/authority", Shape::Text),
    ("/invoice/tax", Shape::Text),
    ("/invoice/jurisdiction", Shape::Text),
    ("/invoice/period_from", Shape::Text),
    ("/invoice/period_to", Shape::Text),
    ("/invoice/due_at", Shape::Text),
    ("/invoice/state", Shape::Text),
    ("/invoice/paid_minor", Shape::Minor),
    ("/bank/account", Shape::Text),
    ("/bank/statement", Shape::Text),
    ("/bank/line", Shape::Whole),
    ("/bank/direction", Shape::Text),
    ("/bank/value_date", Shape::Text),
    ("/bank/counterparty", Shape::Text),
    ("/bank/reference", Shape::Text),
    ("/extra", Shape::Object),
];

/// Is `name` below the pointer `at` one of the contract's own?
pub(super) fn is_of_contract(at: &str, name: &str) -> bool {
    let below = |pointer: &'static str| pointer.strip_prefix(at)?.strip_prefix('/')?.split('/').next();
    SHAPES.iter().any(|(pointer, _)| below(pointer) == Some(name))
}

/// The record as it was sent, to begin with; none where no JSON object can be read out of it.
pub(super) fn draft(sent: &[u8]) -> Option<Suggestion> {
    let (text, is_decoded) = match std::str::from_utf8(sent) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (encoding_rs::WINDOWS_1252.decode_without_bom_handling(sent).0.into_owned(), true),
    };
    let record: Value = serde_json::from_str(&text).ok()?;
    if !record.is_object() || loses_digits(&record) {
        return None;
    }
    let mut changes = Vec::new();
    if is_decoded {
        let why = "not UTF-8: read as Windows-1252";
        each(&record, &mut String::new(), 0, &mut |pointer, value| {
            if value.as_str().is_some_and(|text| !text.is_ascii()) {
                let (pointer, to) = (pointer.to_owned(), value.clone());
                changes.push(Change { pointer, from: Value::Null, to, why: why.to_owned() });
            }
        });
    }
    Some(Suggestion { record, changes })
}

/// Does it hold a number that would be another one when written again?
fn loses_digits(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64() && number.as_f64().is_some_and(|n| n.abs() >= EXACT_MAX),
        Value::Array(items) => items.iter().any(loses_digits),
        Value::Object(members) => members.values().any(loses_digits),
        _ => false,
    }
}

/// Shows every member of an object, at any depth, with its pointer.
pub(super) fn each(value: &Value, at: &mut String, depth: usize, show: &mut impl FnMut(&str, &Value)) {
    let Some(members) = value.as_object().filter(|_| depth < DEPTH_MAX) else { return };
    for (name, member) in members {
        let before = at.len();
        at.push('/');
        at.push_str(&name.replace('~', "~0").replace('/', "~1"));
        show(at, member);
        each(member, at, depth + 1, show);
        at.truncate(before);
    }
}

/// Puts a value where the pointer says, into objects that are made on the way; what lies in the way stays.
pub(super) fn put(record: &mut Value, pointer: &str, to: Value) {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return };
    if !parent.is_empty() && record.pointer(parent).is_none_or(Value::is_null) {
        put(record, parent, Value::Object(Map::new()));
    }
    let name = name.replace("~1", "/").replace("~0", "~");
    if let Some(members) = record.pointer_mut(parent).and_then(Value::as_object_mut) {
        if to.is_null() {
            members.remove(&name);
        } else {
            members.insert(name, to);
        }
    }
}

/// An amount as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// With digits behind a point or comma: major units, here turned into minor ones.
    Fraction(i64),
    /// A whole number, of whatever unit.
    Whole(i64),
}

/// Reads an amount; none where it is none, or could be two: in `1,234` the comma may group or divide.
pub(super) fn amount(text: &str, currency: Currency) -> Option<Written> {
    let text = text.trim();
    let text = text.strip_prefix(currency.as_str()).or_else(|| text.strip_suffix(currency.as_str())).unwrap_or(text);
    let is_gap = |c: char| c.is_whitespace() || matches!(c, '\'' | '\u{2019}');
    let text: String = text.chars().filter(|c| !is_gap(*c)).collect();
    let (points, commas) = (text.matches('.').count(), text.matches(',').count());
    let last = text.rfind(['.', ',']);
    let (decimal, thousands) = match (points, commas) {
        (0, 0) => ('.', None),
        (1, 0) => ('.', None),
        (0, 1) => (',', None),
        (_, 0) => (',', Some('.')),
        (0, _) => ('.', Some(',')),
        // both: the last of them divides, and stands alone
        _ if last.is_some_and(|at| text[at..].starts_with('.')) && points == 1 => ('.', Some(',')),
        _ if last.is_some_and(|at| text[at..].starts_with(',')) && commas == 1 => (',', Some('.')),
        _ => return None,
    };
    let behind = text.rfind(decimal).map_or(0, |at| text.len() - at - 1);
    if thousands.is_none() && behind == 3 && currency.decimals() != 3 {
        return None;
    }
    let is_fraction = text.contains(decimal);
    let scale = if is_fraction { currency.decimals() } else { 0 };
    let number = Numbers { decimal, thousands, scale, round: false }.parse(&text).ok().filter(|n| n.exact)?;
    Some(if is_fraction { Written::Fraction(number.minor) } else { Written::Whole(number.minor) })
}

/// How times are written that are not RFC 3339, and what that means.
const TIMES: &[(&str, &str)] = &[
    ("%Y-%m-%dT%H:%M:%S%.f", "no zone: taken for the jurisdiction's"),
    ("%Y-%m-%d %H:%M:%S%.f", "no zone: taken for the jurisdiction's"),
    ("%Y-%m-%dT%H:%M", "no zone: taken for the jurisdiction's"),
    ("%Y-%m-%d %H:%M", "no zone: taken for the jurisdiction's"),
    ("%Y-%m-%d", "no time of day: the start of that day in the jurisdiction"),
    ("%Y%m%d%H%M%S", "no zone: taken for the jurisdiction's"),
    ("%d/%m/%Y %H:%M:%S%.f", "day/month/year, in the jurisdiction's zone"),
    ("%d/%m/%Y %H:%M", "day/month/year, in the jurisdiction's zone"),
    ("%d/%m/%Y %I:%M:%S %p", "day/month/year, in the jurisdiction's zone"),
    ("%d/%m/%Y %I:%M %p", "day/month/year, in the jurisdiction's zone"),
    ("%d/%m/%Y", "day/month/year without a time of day: the start of that day in the jurisdiction"),
];

/// A time in RFC 3339, and why; none where it is no time, or one that the zone has twice or not at all.
pub(super) fn time(text: &str, zone: &TimeZone) -> Option<(String, &'static str)> {
    let text = dashed(text.trim());
    let (format, why) = TIMES.iter().find(|(format, _)| strtime::parse(format, &text).is_ok())?;
    let parts = strtime::parse(format, &text).ok()?;
    let time = if parts.hour().is_some() { parts.to_time().ok()? } else { jiff::civil::Time::midnight() };
    let local = parts.to_date().ok()?.to_datetime(time);
    let at = zone.to_ambiguous_timestamp(local).unambiguous().ok()?;
    Some((at.display_with_offset(zone.to_offset(at)).to_string(), why))
}

/// `21.11.2026` and `21-11-2026` as `21/11/2026`, `2026/11/21` as `2026-11-21`; the rest as it is.
fn dashed(text: &str) -> String {
    let date = text.find([' ', 'T', ',']).unwrap_or(text.len());
    let (date, rest) = text.split_at(date);
    let rest = rest.strip_prefix(',').unwrap_or(rest);
    let parts: Vec<&str> = date.split(['.', '-', '/']).collect();
    let separator = match parts[..] {
        [year, _, _] if year.len() == 4 => "-",
        [_, _, year] if year.len() == 4 => "/",
        _ => return text.to_owned(),
    };
    format!("{}{rest}", parts.join(separator))
}

/// Seconds, milliseconds or microseconds since 1970, told apart by their length, in RFC 3339.
pub(super) fn epoch(number: &str) -> Option<String> {
    let n: i64 = number.parse().ok().filter(|n| *n > 0)?;
    let micros = match number.len() {
        10 => n.checked_mul(SECOND)?,
        13 => n.checked_mul(1_000)?,
        16 => n,
        _ => return None,
    };
    Timestamp::from_microsecond(micros).ok().map(|_| Ts(micros).to_string())
}

/// The one known name that a text is nearest to: the same but for case and separators, or a slip or two away. None where
/// nothing is near, or two are as near.
pub(super) fn nearest<'n>(text: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let plain: String = text.trim().to_lowercase().replace(['-', ' ', '.'], "_");
    let most = if plain.chars().count() < 5 { 1 } else { 2 };
    let mut ranked: Vec<(usize, &str)> = known.map(|name| (distance(&plain, name), name)).collect();
    ranked.sort_unstable();
    match ranked[..] {
        [(first, name), ..] if first <= most && ranked.get(1).is_none_or(|(second, _)| *second > first) => Some(name),
        _ => None,
    }
}

/// Slips of the keyboard between two texts: a letter more, less, another, or two swapped (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (row[j] + 1).min(next[j - 1] + 1).min(row[j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
}
