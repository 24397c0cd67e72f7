//! No person in the clear: what may name somebody in ids and in free data becomes a keyed digest.

use super::Resolver;
use models::match_key::OpaqueKind;
use models::phone::Phone;
use serde_json::Value;
use std::fmt::Write;

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

/// JSON of free data: members by name, whatever their order was, and no person in the clear at any depth.
pub(super) fn object<'v>(
    out: &mut String,
    members: impl Iterator<Item = (&'v str, &'v Value)>,
    resolver: &Resolver<'_>,
) {
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
    let _ = write!(out, "\"{}\"", digest_of(plain, resolver));
}

/// An operator's own id goes on to journal and screens as it is, unless it is made of somebody's mobile number (or of
/// an address of mail): then its keyed digest stands for it, the same wherever the id comes again.
pub(super) fn nameless(id: &str, resolver: &Resolver<'_>) -> String {
    let is_mobile =
        |digits: &str| MOBILE_DIGITS.contains(&digits.len()) && Phone::parse(digits, resolver.country).is_ok();
    if id.contains('@') || id.split(|c: char| !c.is_ascii_digit()).any(is_mobile) {
        return digest_of(id, resolver);
    }
    id.to_owned()
}

/// How the digest of somebody begins where it stands in the place of a text.
pub(crate) const DIGEST: &str = "digest:";

fn digest_of(text: &str, resolver: &Resolver<'_>) -> String {
    format!("{DIGEST}{}", resolver.digest.opaque(resolver.family, OpaqueKind::Player, text.as_bytes()))
}

/// A text that people write beside a payment, or an authority into its conditions: kept, because it says what the money
/// was for, unless it may hold somebody's number or address of mail. Groups of digits between dashes and slashes stand for
/// themselves there: `FIRS-2026-11-0042` is nobody's.
pub(super) fn remark(text: &str, resolver: &Resolver<'_>) -> String {
    let mut run = 0;
    let is_number = text.chars().any(|c| {
        match c {
            '0'..='9' => run += 1,
            ' ' | '.' | '(' | ')' | '+' => {}
            _ => run = 0,
        }
        run >= NUMBER_DIGITS
    });
    // a phone written in groups
    let joined: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '/' | '(' | ')')).collect();
    let named = nameless(&joined, resolver);
    if is_number || named != joined { digest_of(text, resolver) } else { text.to_owned() }
}

/// Words that stand beside the number of a payment and are nobody's name.
const OF_PAYMENTS: [&str; 18] = [
    "bonus",
    "deposit",
    "fee",
    "gaming",
    "inv",
    "invoice",
    "levy",
    "no",
    "of",
    "payment",
    "payout",
    "ref",
    "refund",
    "reversal",
    "settlement",
    "tax",
    "transfer",
    "withdrawal",
];

/// What somebody wrote beside a payment: kept where it is made of numbers, codes and words of payments alone. Any other
/// word may be the name of who was paid.
pub(super) fn reference(text: &str, resolver: &Resolver<'_>) -> String {
    let parts = text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
    let is_plain = |part: &str| {
        part.bytes().any(|byte| byte.is_ascii_digit()) || OF_PAYMENTS.contains(&part.to_ascii_lowercase().as_str())
    };
    let mut parts = parts.peekable();
    // the letters of a code stand before its number: `FIRS-2026-11-0042`
    let is_code = |text: &str| {
        let mut of_code = text.split(['-', '/', '.']);
        let letters = of_code.next().unwrap_or_default();
        let is_short = (2..=5).contains(&letters.len()) && letters.bytes().all(|b| b.is_ascii_uppercase());
        is_short && of_code.clone().count() > 0 && of_code.all(|part| part.bytes().all(|b| b.is_ascii_digit()))
    };
    let is_nobodys = parts.peek().is_none() || is_code(text) || parts.all(is_plain);
    if is_nobodys { remark(text, resolver) } else { digest_of(text, resolver) }
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

pub(super) fn member(out: &mut String, name: &str) {
    out.push(if out.is_empty() { '{' } else { ',' });
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
}

pub(super) fn json_text(out: &mut String, text: &str) {
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text).unwrap_or_default());
    }
}
