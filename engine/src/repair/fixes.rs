//! The repairs themselves: each takes a draft that was refused, and the field that the refusal names.

use super::read::{self, SHAPES, Shape, Written};
use super::{Bench, Change, Suggestion};
use crate::ingest;
use models::document::DocumentType;
use models::phone::Phone;
use models::record::{PlayChannel, Product, RecordKind, RecordStatus};
use models::ts::{HOUR, MINUTE, Ts};
use serde_json::{Value, json};

/// How much later than it happened a record may have come whose clock is in another zone: a batch of some minutes.
const UNDER_WAY_MAX: i64 = 30 * MINUTE;
/// The same where the zone is guessed from the hours alone.
const NEAR_MAX: i64 = 5 * MINUTE;
/// The zone that is furthest ahead.
const HOURS_AHEAD_MAX: i64 = 14;
/// Names that say nothing without the object they are in.
const VAGUE: [&str; 6] = ["id", "type", "number", "state", "line", "reference"];

impl Suggestion {
    /// With a change more.
    fn with(mut self, pointer: &str, to: Value, why: impl Into<String>) -> Self {
        let from = self.record.pointer(pointer).cloned().unwrap_or_default();
        read::put(&mut self.record, pointer, to.clone());
        self.changes.push(Change { pointer: pointer.to_owned(), from, to, why: why.into() });
        self
    }

    /// With a value in another place.
    fn moved(self, from: &str, to: &str, why: &str) -> Self {
        let value = self.record.pointer(from).cloned().unwrap_or_default();
        self.with(from, Value::Null, why).with(to, value, why)
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        self.record.pointer(pointer)?.as_str()
    }

    /// The only place outside `target` with a value under one of these names; none where there are two.
    fn only(&self, names: &[String], target: &str) -> Option<String> {
        let mut found = Vec::new();
        read::each(&self.record, &mut String::new(), 0, &mut |pointer, value| {
            let name = pointer.rsplit('/').next().unwrap_or_default();
            let is_elsewhere = pointer != target && !target.starts_with(&format!("{pointer}/"));
            if is_elsewhere && !value.is_null() && names.iter().any(|wanted| wanted == name) {
                found.push(pointer.to_owned());
            }
        });
        if found.len() == 1 { found.pop() } else { None }
    }
}

/// `money.currency` as `/money/currency`.
fn pointer(field: &str) -> String {
    format!("/{}", field.replace('.', "/"))
}

/// Every value of another type than the contract's, in one go: the parser says that there is one, not which.
pub(super) fn types(draft: &Suggestion, _: &str, bench: &Bench<'_>) -> Vec<Suggestion> {
    let mut draft = draft.clone();
    for (pointer, shape) in SHAPES {
        let Some(value) = draft.record.pointer(pointer).filter(|value| !value.is_null() && !is(value, *shape)) else {
            continue;
        };
        let Some((to, why)) = typed(pointer, *shape, value, bench) else { return Vec::new() };
        draft = draft.with(pointer, to, why);
    }
    if draft.record.pointer("/money").is_some_and(Value::is_object) {
        let Some(whole) = whole_money(draft, bench) else { return Vec::new() };
        draft = whole;
    }
    vec![draft]
}

fn is(value: &Value, shape: Shape) -> bool {
    match shape {
        Shape::Text => value.is_string(),
        Shape::Minor | Shape::Whole => value.is_i64(),
        Shape::Real => value.is_number(),
        Shape::Flag => value.is_boolean(),
        Shape::Object => value.is_object(),
    }
}

/// The value as its field has it, and why that is so.
fn typed(pointer: &str, shape: Shape, value: &Value, bench: &Bench<'_>) -> Option<(Value, &'static str)> {
    let currency = bench.resolver.currency;
    match (shape, value) {
        (Shape::Text, Value::Number(number)) if pointer == "/occurred_at" => {
            Some((read::epoch(&number.to_string())?.into(), "time since 1970 instead of RFC 3339"))
        }
        (Shape::Text, Value::Number(number)) if number.is_u64() => {
            Some((number.to_string().into(), "a number instead of a text"))
        }
        (Shape::Minor, Value::Number(_) | Value::String(_)) => minor(value, currency),
        (Shape::Whole, Value::String(text)) => Some((text.trim().parse::<i64>().ok()?.into(), NUMBER)),
        (Shape::Real, Value::String(text)) => {
            let number: f64 = text.trim().replace(',', ".").parse().ok()?;
            Some((number.is_finite().then(|| json!(number))?, NUMBER))
        }
        (Shape::Flag, Value::String(text)) => Some((text.trim().to_lowercase().parse::<bool>().ok()?.into(), FLAG)),
        (Shape::Flag, Value::Number(number)) => match number.as_u64()? {
            n @ 0..=1 => Some(((n == 1).into(), FLAG)),
            _ => None,
        },
        (Shape::Object, Value::Number(_) | Value::String(_)) if pointer == "/money" => {
            // a whole number may be of either unit, and nothing around it says which
            let (Value::Number(amount), _) = minor(value, currency).filter(|(_, why)| *why == MAJOR)? else {
                return None;
            };
            Some((json!({"amount_minor": amount, "currency": currency}), "an amount instead of an object; major units"))
        }
        (Shape::Object, Value::String(text)) if pointer == "/player" => {
            let name = if text.starts_with("BST-") {
                "bst"
            } else {
                Phone::parse(text, bench.resolver.country).ok().map(|_| "phone")?
            };
            Some((json!({name: text}), "a text instead of an object"))
        }
        (Shape::Object, Value::String(text)) if matches!(pointer, "/game" | "/bet") => {
            Some((json!({"id": text}), "a text instead of an object"))
        }
        (Shape::Object, value) if pointer == "/extra" => {
            Some((json!({"value": value}), "a value instead of an object"))
        }
        _ => None,
    }
}

const NUMBER: &str = "a text instead of a number";
const FLAG: &str = "not true or false";
const MAJOR: &str = "major units with a fraction instead of minor ones";

/// An amount in minor units. One without a fraction is in minor units already, because its field says so.
fn minor(value: &Value, currency: models::money::Currency) -> Option<(Value, &'static str)> {
    let written = match value {
        Value::String(text) => read::amount(text, currency)?,
        // 125.0 may be 125 of a program that knows no whole numbers, or 125.00 of somebody's currency
        Value::Number(number) if number.as_f64().is_some_and(|n| n.fract() == 0.0) => return None,
        Value::Number(number) => read::amount(&number.to_string(), currency)?,
        _ => return None,
    };
    Some(match written {
        Written::Fraction(minor) => (minor.into(), MAJOR),
        Written::Whole(minor) => (minor.into(), NUMBER),
    })
}

/// Money with an amount and a currency, where it has them under other names or not at all.
fn whole_money(mut draft: Suggestion, bench: &Bench<'_>) -> Option<Suggestion> {
    if draft.record.pointer("/money/amount_minor").is_none_or(Value::is_null) {
        let (to, why) = minor(draft.record.pointer("/money/amount")?, bench.resolver.currency)?;
        if why != MAJOR {
            return None;
        }
        draft = draft.with("/money/amount", Value::Null, why).with("/money/amount_minor", to, why);
    }
    if draft.record.pointer("/money/currency").is_none_or(Value::is_null) {
        draft = draft.with("/money/currency", bench.resolver.currency.as_str().into(), "missing: the source's");
    }
    Some(draft)
}

/// A record without money whose amount lies somewhere else.
pub(super) fn scattered_money(draft: &Suggestion, _: &str, bench: &Bench<'_>) -> Vec<Suggestion> {
    const WHY: &str = "belongs into money";
    let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let gathered = || {
        let mut draft = draft.clone();
        let amounts = names(&["amount_minor", "money.amount_minor", "money_amount_minor"]);
        draft = match draft.only(&amounts, "/money/amount_minor") {
            Some(at) => draft.moved(&at, "/money/amount_minor", WHY),
            None => {
                let at = draft.only(&names(&["amount"]), "/money/amount")?;
                draft.moved(&at, "/money/amount", WHY)
            }
        };
        let currencies = names(&["currency", "money.currency", "money_currency"]);
        if let Some(at) = draft.only(&currencies, "/money/currency") {
            draft = draft.moved(&at, "/money/currency", WHY);
        }
        if let Some(value) = draft.record.pointer("/money/amount_minor").filter(|value| !value.is_i64()) {
            let (to, why) = minor(value, bench.resolver.currency)?;
            draft = draft.with("/money/amount_minor", to, why);
        }
        whole_money(draft, bench)
    };
    gathered().into_iter().collect()
}

/// A field that is missing where it belongs and lies somewhere else, alone or with the whole record.
pub(super) fn misplaced(draft: &Suggestion, field: &str, _: &Bench<'_>) -> Vec<Suggestion> {
    let target = pointer(field);
    let first = field.split('.').next().unwrap_or(field);
    let inside = draft.record.as_object().into_iter().flatten().filter(|(_, member)| {
        member.get("occurred_at").is_some() && member.get("kind").is_some() && member.get("record_id").is_some()
    });
    let whole: Vec<(String, Value)> = inside.map(|(name, member)| (format!("/{name}"), member.clone())).collect();
    if let ([(at, Value::Object(members))], true) = (&whole[..], first == field) {
        let why = "the record lies inside a member";
        let unwrapped = draft.clone().with(at, Value::Null, why);
        let put =
            |draft: Suggestion, (name, value): (&String, &Value)| draft.with(&format!("/{name}"), value.clone(), why);
        return vec![members.iter().fold(unwrapped, put)];
    }
    let mut names = vec![field.to_owned(), field.replace('.', "_")];
    let leaf = field.rsplit('.').next().unwrap_or(field);
    if !VAGUE.contains(&leaf) {
        names.push(leaf.to_owned());
    }
    let found = draft.only(&names, &target);
    found.map(|at| draft.clone().moved(&at, &target, "lies in another place than the contract's")).into_iter().collect()
}

/// A negative amount: without its sign, or as a kind that carries one. A deposit or a bonus that is negative is one that was
/// taken back; everything else is a habit of accounts, where what goes out is negative.
pub(super) fn sign(draft: &Suggestion, field: &str, _: &Bench<'_>) -> Vec<Suggestion> {
    let target = pointer(field);
    let Some(amount) = draft.record.pointer(&target).and_then(Value::as_i64).and_then(i64::checked_neg) else {
        return Vec::new();
    };
    let absolute = || draft.clone().with(&target, amount.into(), "an amount, not a direction: without its sign");
    match draft.text("/kind").and_then(RecordKind::parse) {
        Some(RecordKind::Deposit | RecordKind::Bonus) => {
            let why = "taken back: the kind that carries a sign";
            vec![draft.clone().with("/kind", RecordKind::Adjustment.as_str().into(), why), absolute()]
        }
        _ => vec![absolute()],
    }
}

/// A time that is not RFC 3339.
pub(super) fn time(draft: &Suggestion, _: &str, bench: &Bench<'_>) -> Vec<Suggestion> {
    let Some(text) = draft.text("/occurred_at") else { return Vec::new() };
    let since = read::epoch(text.trim()).map(|to| (to, "time since 1970 instead of RFC 3339"));
    let found = since.or_else(|| read::time(text, bench.zone));
    found.map(|(to, why)| draft.clone().with("/occurred_at", to.into(), why)).into_iter().collect()
}

/// A currency in other letters; another currency is another amount, and not guessed.
pub(super) fn currency(draft: &Suggestion, _: &str, bench: &Bench<'_>) -> Vec<Suggestion> {
    let own = bench.resolver.currency;
    let Some(text) = draft.text("/money/currency") else { return Vec::new() };
    let why = match text.trim() {
        "" => "missing: the source's",
        named if named.eq_ignore_ascii_case(own.as_str()) => "in capitals",
        _ => return Vec::new(),
    };
    vec![draft.clone().with("/money/currency", own.as_str().into(), why)]
}

/// A name of a closed set with a slip in it.
pub(super) fn nearest(draft: &Suggestion, field: &str, _: &Bench<'_>) -> Vec<Suggestion> {
    let target = pointer(field);
    let Some(text) = draft.text(&target) else { return Vec::new() };
    let near = match field {
        "kind" => read::nearest(text, RecordKind::ALL.iter().map(|kind| kind.as_str())),
        "status" => read::nearest(text, RecordStatus::ALL.iter().map(|status| status.as_str())),
        "product" => read::nearest(text, Product::ALL.iter().map(|product| product.as_str())),
        "channel" => read::nearest(text, PlayChannel::ALL.iter().map(|channel| channel.as_str())),
        "player.id_type" => read::nearest(text, DocumentType::ALL.iter().map(|kind| kind.as_str())),
        _ => None,
    };
    near.map(|name| draft.clone().with(&target, name.into(), "the nearest of the known names")).into_iter().collect()
}

/// A local time that was marked as if it were UTC, or another zone's: ahead of the clock by as much as the zone is.
pub(super) fn zone(draft: &Suggestion, _: &str, bench: &Bench<'_>) -> Vec<Suggestion> {
    let Ok(record) = ingest::record(draft.record.to_string().as_bytes(), bench.resolver) else { return Vec::new() };
    let ahead = record.occurred_at.0 - bench.received_at.0;
    let Ok(local) = jiff::Timestamp::from_microsecond(record.occurred_at.0) else { return Vec::new() };
    // the digits that were sent are those of a clock on a wall in the jurisdiction
    let offset = i64::from(bench.zone.to_offset(local).seconds()) * models::ts::SECOND;
    let fits = offset > 0 && (offset - UNDER_WAY_MAX..=offset + NEAR_MAX).contains(&ahead);
    let hours = (ahead + HOUR / 2).div_euclid(HOUR);
    let (shift, why) = if fits {
        (offset, "local time of the jurisdiction, marked as UTC".to_owned())
    } else if (1..=HOURS_AHEAD_MAX).contains(&hours) && (ahead - hours * HOUR).abs() <= NEAR_MAX {
        (
            hours * HOUR,
            format!("{hours} h ahead of the clock that received it: local time of another zone, marked as UTC"),
        )
    } else {
        return Vec::new();
    };
    let at = Ts(record.occurred_at.0 - shift);
    vec![draft.clone().with("/occurred_at", at.to_string().into(), why)]
}
