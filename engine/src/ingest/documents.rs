//! Documents of authorities, tax offices and banks: their objects are read, checked and written into the record's detail.

use super::names::{DIGEST, nameless, reference, remark};
use super::{Resolver, bounded, given, invalid, missing, refuse};
use models::document_records::{
    BankLine, Compliance, Direction, Document, Invoice, InvoiceState, LIST_ITEMS_MAX, LicenceStanding, LicenceStatus,
    Payment, PaymentState,
};
use models::match_key::{MatchKey, OpaqueKind};
use models::operator::LicensedReturn;
use models::record::{PlayChannel, Product, QuarantineCode, RecordKind, Refusal, WireRecord};
use models::ts::Ts;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A document, taken in.
pub(super) struct Taken<'w> {
    /// Name of its member.
    pub name: &'static str,
    /// Its JSON.
    pub json: String,
    /// Whose statement it is of, where it is a line of one.
    pub account: Option<MatchKey>,
    /// Members of its object that the contract does not know.
    unknown: Vec<(&'w str, &'w Value)>,
}

/// The document of a record; none where its kind is no document.
pub(super) fn document<'w>(
    kind: RecordKind,
    wire: &'w WireRecord<'_>,
    resolver: &Resolver<'_>,
) -> Result<Option<Taken<'w>>, Refusal> {
    let (document, account, unknown) = match kind {
        RecordKind::LicenceStatus => {
            let mut object = Object::of("licence_status", wire.licence_status.as_deref(), resolver)?;
            (Document::LicenceStatus(licence_status(&mut object)?), None, object.unknown())
        }
        RecordKind::Invoice => {
            let mut object = Object::of("invoice", wire.invoice.as_deref(), resolver)?;
            (Document::Invoice(invoice(&mut object)?), None, object.unknown())
        }
        RecordKind::Payment => (Document::Payment(payment(wire, resolver)?), None, Vec::new()),
        RecordKind::BankLine => {
            let mut object = Object::of("bank", wire.bank.as_deref(), resolver)?;
            let account = object.required("account")?;
            let account = resolver.digest.opaque(resolver.family, OpaqueKind::Account, account.as_bytes());
            (Document::BankLine(bank_line(&mut object)?), Some(account), object.unknown())
        }
        _ => return Ok(None),
    };
    Ok(Some(Taken { name: document.name(), json: document.to_json(), account, unknown }))
}

/// What is kept as free data: objects by the names of documents on records of other kinds, and the unknown members of a
/// document's own.
pub(super) fn further<'w>(wire: &'w WireRecord<'_>, document: Option<&Taken<'w>>) -> Vec<(Cow<'w, str>, &'w Value)> {
    let objects = [("licence_status", &wire.licence_status), ("invoice", &wire.invoice), ("bank", &wire.bank)];
    let mut further = Vec::new();
    for (name, object) in objects {
        let own = document.is_some_and(|document| document.name == name);
        further.extend(object.as_deref().filter(|_| !own).map(|object| (Cow::Borrowed(name), object)));
    }
    if let Some(document) = document {
        let name = |member: &str| Cow::Owned(format!("{}.{member}", document.name));
        further.extend(document.unknown.iter().map(|(member, value)| (name(member), *value)));
    }
    further
}

fn licence_status(object: &mut Object<'_, '_>) -> Result<LicenceStatus, Refusal> {
    let status = LicenceStatus {
        number: object.id("number")?,
        licence_class: object.id_opt("licence_class")?,
        products: object.list("products")?,
        valid_from: object.date("valid_from")?,
        valid_to: object.date("valid_to")?,
        state: object.one_of("state", LicenceStanding::parse)?.ok_or_else(|| missing("licence_status.state"))?,
        compliance: object.one_of("compliance", Compliance::parse)?.unwrap_or(Compliance::Unknown),
        conditions: object.list("conditions")?,
        channels: object.channels("channels")?,
        return_to_player: object.returns("return_to_player")?,
    };
    in_order(("licence_status.valid_to", status.valid_to), status.valid_from)?;
    Ok(status)
}

fn invoice(object: &mut Object<'_, '_>) -> Result<Invoice, Refusal> {
    let invoice = Invoice {
        number: object.id("number")?,
        authority: object.id("authority")?,
        tax: object.id_opt("tax")?,
        jurisdiction: object.id_opt("jurisdiction")?,
        period_from: object.date("period_from")?,
        period_to: object.date("period_to")?,
        due_at: object.date("due_at")?,
        state: object.one_of("state", InvoiceState::parse)?.ok_or_else(|| missing("invoice.state"))?,
        paid_minor: object.whole("paid_minor")?.unwrap_or(0),
    };
    if invoice.paid_minor < 0 {
        return Err(refuse(QuarantineCode::SignMismatch, "invoice.paid_minor: negative; it is an amount"));
    }
    bounded("invoice.paid_minor", invoice.paid_minor)?;
    in_order(("invoice.period_to", invoice.period_to), invoice.period_from)?;
    Ok(invoice)
}

fn payment(wire: &WireRecord<'_>, resolver: &Resolver<'_>) -> Result<Payment, Refusal> {
    let payment = wire.payment.as_ref().ok_or_else(|| missing("payment"))?;
    let text = |name: &str, value: &Option<Box<Value>>| {
        let field = format!("payment.{name}");
        Ok::<_, Refusal>(text_of(&field, value.as_deref())?.map(str::to_owned))
    };
    let reference = text("reference", &payment.reference)?.ok_or_else(|| missing("payment.reference"))?;
    let state = text("state", &payment.state)?.ok_or_else(|| missing("payment.state"))?;
    let id = |text: String| nameless(&text, resolver);
    Ok(Payment {
        reference: id(reference),
        invoice: text("invoice", &payment.invoice)?.map(id),
        authority: text("authority", &payment.authority)?.map(id),
        state: PaymentState::parse(&state).ok_or_else(|| invalid("payment.state", "not one of the contract's"))?,
    })
}

fn bank_line(object: &mut Object<'_, '_>) -> Result<BankLine, Refusal> {
    let line = object.whole("line")?.ok_or_else(|| missing("bank.line"))?;
    Ok(BankLine {
        statement: object.id("statement")?,
        line: u32::try_from(line).map_err(|_| invalid("bank.line", "not a position in a statement"))?,
        direction: object.one_of("direction", Direction::parse)?.ok_or_else(|| missing("bank.direction"))?,
        value_date: object.date("value_date")?,
        counterparty: object.text("counterparty")?.map(|name| {
            let resolver = object.resolver;
            format!("{DIGEST}{}", resolver.digest.opaque(resolver.family, OpaqueKind::Account, name.as_bytes()))
        }),
        reference: object.text("reference")?.map(|text| reference(text, object.resolver)),
    })
}

/// What a licence says of a product: an object with a whole number of parts per million, and perhaps one of the stake.
fn licensed_return(field: &str, said: &Value) -> Result<LicensedReturn, Refusal> {
    let Value::Object(members) = said else { return Err(invalid(field, "not an object with return_ppm")) };
    let whole = |name: &str, range: RangeInclusive<i64>| {
        let field = format!("{field}.{name}");
        match members.get(name).filter(|value| !value.is_null()).map(Value::as_i64) {
            None => Ok(None),
            Some(Some(number)) if range.contains(&number) => Ok(Some(number)),
            Some(_) => {
                let (from, to) = range.into_inner();
                Err(invalid(&field, &format!("not a whole number from {from} to {to}")))
            }
        }
    };
    let return_ppm = whole("return_ppm", LicensedReturn::RETURN_PPM)?;
    Ok(LicensedReturn {
        return_ppm: return_ppm.ok_or_else(|| missing(&format!("{field}.return_ppm")))?,
        multiple_max: whole("multiple_max", LicensedReturn::MULTIPLE_MAX)?,
    })
}

/// A span does not end before it begins.
fn in_order((field, end): (&str, Option<Ts>), start: Option<Ts>) -> Result<(), Refusal> {
    match (start, end) {
        (Some(start), Some(end)) if end < start => Err(invalid(field, "before the beginning")),
        _ => Ok(()),
    }
}

/// A text that is one; numbers are not made into texts, because nobody knows which zeros they have lost.
fn text_of<'v>(field: &str, value: Option<&'v Value>) -> Result<Option<&'v str>, Refusal> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => given(field, Some(text)),
        Some(_) => Err(invalid(field, "not a text")),
    }
}

/// An object of the wire, read member by member.
struct Object<'w, 'r> {
    name: &'static str,
    members: &'w Map<String, Value>,
    resolver: &'r Resolver<'r>,
    known: Vec<&'static str>,
}

impl<'w, 'r> Object<'w, 'r> {
    fn of(name: &'static str, value: Option<&'w Value>, resolver: &'r Resolver<'r>) -> Result<Self, Refusal> {
        match value {
            None | Some(Value::Null) => Err(missing(name)),
            Some(Value::Object(members)) => Ok(Self { name, members, resolver, known: Vec::new() }),
            Some(_) => Err(invalid(name, "not an object")),
        }
    }

    fn field(&self, member: &str) -> String {
        format!("{}.{member}", self.name)
    }

    fn value(&mut self, member: &'static str) -> Option<&'w Value> {
        self.known.push(member);
        self.members.get(member)
    }

    fn text(&mut self, member: &'static str) -> Result<Option<&'w str>, Refusal> {
        let value = self.value(member);
        text_of(&self.field(member), value)
    }

    fn required(&mut self, member: &'static str) -> Result<&'w str, Refusal> {
        self.text(member)?.ok_or_else(|| missing(&self.field(member)))
    }

    fn id(&mut self, member: &'static str) -> Result<String, Refusal> {
        Ok(nameless(self.required(member)?, self.resolver))
    }

    fn id_opt(&mut self, member: &'static str) -> Result<Option<String>, Refusal> {
        Ok(self.text(member)?.map(|text| nameless(text, self.resolver)))
    }

    fn one_of<T>(&mut self, member: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Refusal> {
        let Some(text) = self.text(member)? else { return Ok(None) };
        parse(text).map(Some).ok_or_else(|| invalid(&self.field(member), "not one of the contract's"))
    }

    fn date(&mut self, member: &'static str) -> Result<Option<Ts>, Refusal> {
        let text = self.text(member)?;
        let wrong = |_| invalid(&self.field(member), "neither an RFC 3339 time nor a date YYYY-MM-DD");
        text.map(|text| Ts::parse_day(text).map_err(wrong)).transpose()
    }

    fn whole(&mut self, member: &'static str) -> Result<Option<i64>, Refusal> {
        match self.value(member) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_i64() {
                None => Err(invalid(&self.field(member), "not a whole number")),
                number => Ok(number),
            },
        }
    }

    fn list(&mut self, member: &'static str) -> Result<Vec<String>, Refusal> {
        let field = self.field(member);
        match self.value(member) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) if items.len() > LIST_ITEMS_MAX => {
                Err(refuse(QuarantineCode::TooLarge, format!("{field}: more than {LIST_ITEMS_MAX}")))
            }
            Some(Value::Array(items)) => {
                let texts = items.iter().map(|item| text_of(&field, Some(item)));
                texts.filter_map(Result::transpose).map(|text| Ok(remark(text?, self.resolver))).collect()
            }
            Some(_) => Err(invalid(&field, "not a list of texts")),
        }
    }

    /// Channels of the contract; none where nothing is said of them.
    fn channels(&mut self, member: &'static str) -> Result<Option<Vec<PlayChannel>>, Refusal> {
        if matches!(self.members.get(member), None | Some(Value::Null)) {
            self.known.push(member);
            return Ok(None);
        }
        let field = self.field(member);
        let known = |name: &String| {
            PlayChannel::parse(name)
                .ok_or_else(|| invalid(&field, "not channels of the contract: online, retail, ussd"))
        };
        self.list(member)?.iter().map(known).collect::<Result<_, _>>().map(Some)
    }

    /// What products give back to players; none where nothing is said of it.
    fn returns(&mut self, member: &'static str) -> Result<Option<BTreeMap<Product, LicensedReturn>>, Refusal> {
        let field = self.field(member);
        match self.value(member) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(products)) => {
                let each = products.iter().map(|(name, said)| {
                    let product =
                        Product::parse(name).ok_or_else(|| invalid(&field, "not a product of the contract"))?;
                    Ok((product, licensed_return(&format!("{field}.{}", product.as_str()), said)?))
                });
                each.collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(invalid(&field, "not an object of products")),
        }
    }

    /// Members that nothing was read of.
    fn unknown(&self) -> Vec<(&'w str, &'w Value)> {
        let members = self.members.iter().filter(|(name, _)| !self.known.contains(&name.as_str()));
        members.map(|(name, value)| (name.as_str(), value)).collect()
    }
}
