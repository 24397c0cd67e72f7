//! Rows of a file as registrations, and people as rows: what `import` reads is what `export` writes.

use super::COLUMNS;
use actors::api::PersonData;
use actors::identity::Identifiers;
use actors::import::{ImportRow, ImportedExclusion};
use actors::people::Person;
use anyhow::Context as _;
use csv::StringRecord;
use engine::register::decide::Kept;
use models::document::{Document, DocumentType, IssuingCountry};
use models::event::Exclusion;
use models::exclusion::{AtEnd, Channel, Period, ReasonClass};
use models::jurisdiction::{Jurisdiction, JurisdictionNo};
use models::phone::Phone;
use models::ts::Ts;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as NoValue, StrDeserializer};
use serde::{Deserialize, Serialize};

/// Which column lies where.
pub struct Columns([Option<usize>; COLUMNS.len()]);

impl Columns {
    pub fn read(head: &StringRecord) -> anyhow::Result<Self> {
        let mut places = [None; COLUMNS.len()];
        for (place, name) in head.iter().enumerate() {
            let column = COLUMNS.iter().position(|c| *c == name.trim());
            let column = column.with_context(|| format!("unknown column {name}; known are {}", COLUMNS.join(", ")))?;
            anyhow::ensure!(places[column].is_none(), "column {name} stands twice");
            places[column] = Some(place);
        }
        let has = |name: &str| COLUMNS.iter().position(|c| *c == name).is_some_and(|c| places[c].is_some());
        anyhow::ensure!(has("phone") || has("id_number"), "neither phone nor id_number is a column");
        anyhow::ensure!(has("period") && has("effective_at"), "period and effective_at must be columns");
        Ok(Self(places))
    }

    /// The value of a column; empty is missing.
    pub fn get<'a>(&self, row: &'a StringRecord, name: &str) -> Option<&'a str> {
        let place = COLUMNS.iter().position(|c| *c == name).and_then(|c| self.0[c])?;
        row.get(place).map(str::trim).filter(|value| !value.is_empty())
    }
}

/// What rows are read with.
pub struct Reader<'a> {
    /// The file's.
    pub columns: Columns,
    /// All there are.
    pub jurisdictions: &'a [Jurisdiction],
    /// Of rows that name none.
    pub jurisdiction: JurisdictionNo,
    /// Of rows that name none.
    pub legal_basis: &'a str,
    /// Now.
    pub now: Ts,
}

fn wire<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    let text: StrDeserializer<'_, NoValue> = text.into_deserializer();
    T::deserialize(text).ok()
}

/// The wire name of a unit variant.
fn name(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

impl Reader<'_> {
    /// What a row says, or what is wrong with it, without its values.
    ///
    /// A row of a named person may leave out who it is or what was decided: the person's other rows say so.
    pub fn read(&self, row: &StringRecord) -> Result<ImportRow, String> {
        let get = |name| self.columns.get(row, name);
        let is_one_of_several = get("person").is_some();
        let no = match get("jurisdiction") {
            None => self.jurisdiction,
            Some(code) => Jurisdiction::by_code(self.jurisdictions, code).ok_or("jurisdiction: unknown")?,
        };
        let country = self.jurisdictions.get(usize::from(no.0)).ok_or("jurisdiction: unknown")?.country;
        let phone = get("phone").map(|text| Phone::parse(text, country)).transpose();
        let phone = phone.map_err(|e| format!("phone: {e}"))?;
        let kind = get("id_type").map_or(Some(DocumentType::default()), wire).ok_or("id_type: unknown")?;
        let issuer = match get("id_country") {
            None => IssuingCountry::from(country),
            Some(text) => IssuingCountry::from_iso(text).ok_or("id_country: unknown")?,
        };
        let document = get("id_number").map(|text| Document::parse(kind, issuer, text)).transpose();
        let document = document.map_err(|e| format!("id_number: {e}"))?;
        let is_somebody = phone.is_some() || document.is_some();
        if !is_somebody && !is_one_of_several {
            return Err("neither phone nor id_number".to_owned());
        }
        let date_of_birth = get("date_of_birth");
        let is_date = |text: &str| text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok();
        if date_of_birth.is_some_and(|text| !is_date(text)) {
            return Err("date_of_birth: not a date of the form YYYY-MM-DD".to_owned());
        }
        let known_by = Identifiers { document, phone };
        let person = is_somebody.then(|| {
            let mut person = PersonData::default();
            known_by.reveal(&mut person);
            person.names = get("names").into_iter().flat_map(|n| n.split(';')).map(|n| n.trim().to_owned()).collect();
            person.date_of_birth = date_of_birth.map(str::to_owned);
            person.email = get("email").map(str::to_owned);
            person.address = get("address").map(str::to_owned);
            person.county = get("county").map(str::to_owned);
            person.verification_method = get("verification_method").map(str::to_owned);
            person.verification_reference = get("verification_reference").map(str::to_owned);
            person.source_id = get("source_id").map(str::to_owned);
            person.legal_basis = Some(get("legal_basis").unwrap_or(self.legal_basis).to_owned());
            person
        });
        let has_exclusion = !is_one_of_several || get("period").is_some() || get("effective_at").is_some();
        let exclusion = has_exclusion.then(|| self.exclusion(row, no)).transpose()?;
        Ok(ImportRow { known_by, person, exclusion })
    }

    fn exclusion(&self, row: &StringRecord, jurisdiction: JurisdictionNo) -> Result<ImportedExclusion, String> {
        let get = |name| self.columns.get(row, name);
        let time = |name: &'static str| get(name).map(Ts::parse).transpose().map_err(|e| format!("{name}: {e}"));
        let period = get("period").and_then(wire::<Period>).ok_or("period: missing or unknown")?;
        let effective_at = time("effective_at")?.ok_or("effective_at: missing")?;
        if effective_at > self.now {
            return Err("effective_at: in the future".to_owned());
        }
        let reason_class = get("reason_class").map_or(Some(ReasonClass::Own), wire).ok_or("reason_class: unknown")?;
        let channel = get("channel").map_or(Some(Channel::Import), wire).ok_or("channel: unknown")?;
        let at_end = get("at_end").map(|text| wire::<AtEnd>(text).ok_or("at_end: unknown")).transpose()?;
        let (ends_at, ended_at) = (time("ends_at")?, time("ended_at")?);
        let kept = match at_end {
            None if ends_at.is_some() || ended_at.is_some() => {
                return Err("at_end: missing beside ends_at or ended_at".to_owned());
            }
            None => None,
            Some(at_end) => {
                if at_end != AtEnd::StayOn && ends_at.is_none() {
                    return Err("ends_at: missing beside this at_end".to_owned());
                }
                if ends_at.is_some_and(|end| end < effective_at) || ended_at.is_some_and(|end| end > self.now) {
                    return Err("ends_at or ended_at: before its beginning, or in the future".to_owned());
                }
                Some(Kept { at_end, ends_at, ended_at })
            }
        };
        Ok(ImportedExclusion { jurisdiction, period, reason_class, channel, effective_at, kept })
    }
}

/// The instant to the microsecond: `Ts` itself tells milliseconds.
fn instant(ts: Ts) -> String {
    jiff::Timestamp::from_microsecond(ts.0).map_or_else(|_| ts.to_string(), |instant| instant.to_string())
}

/// The rows of somebody, in the order of [`COLUMNS`]; `number` is what the file calls them.
pub fn rows_of(person: &Person, number: u64, jurisdictions: &[Jurisdiction]) -> Vec<[String; COLUMNS.len()]> {
    let count = person.identities.len().max(person.exclusions.len());
    let rows = (0..count).map(|n| {
        let (identity, exclusion) = (person.identities.get(n), person.exclusions.get(n));
        COLUMNS.map(|column| match column {
            "person" => number.to_string(),
            _ => match (told_of(exclusion, column, jurisdictions), identity) {
                (Some(told), _) => told,
                (None, Some(identity)) => told_by(identity, column),
                (None, None) => String::new(),
            },
        })
    });
    rows.collect()
}

/// None where the column is not of exclusions.
fn told_of(exclusion: Option<&Exclusion>, column: &str, jurisdictions: &[Jurisdiction]) -> Option<String> {
    let value: fn(&Exclusion) -> String = match column {
        "jurisdiction" => {
            let code = |e: &Exclusion| jurisdictions.get(usize::from(e.jurisdiction.0)).map(|j| j.code.clone());
            return Some(exclusion.and_then(code).unwrap_or_default());
        }
        "period" => |e| e.period.as_str().to_owned(),
        "effective_at" => |e| instant(e.effective_at),
        "reason_class" => |e| name(e.reason_class),
        "channel" => |e| name(e.channel),
        "at_end" => |e| name(e.at_end),
        "ends_at" => |e| e.ends_at.map_or_else(String::new, instant),
        "ended_at" => |e| e.ended_at.map_or_else(String::new, instant),
        _ => return None,
    };
    Some(exclusion.map_or_else(String::new, value))
}

fn told_by(person: &PersonData, column: &str) -> String {
    let (id_country, id_type) = person.id_type.as_deref().and_then(|text| text.split_once(':')).unwrap_or_default();
    let value = match column {
        "phone" => person.phone.as_deref(),
        "id_number" => person.id_number.as_deref(),
        "id_type" => Some(id_type),
        "id_country" => Some(id_country),
        "names" => return person.names.join(";"),
        "date_of_birth" => person.date_of_birth.as_deref(),
        "email" => person.email.as_deref(),
        "address" => person.address.as_deref(),
        "county" => person.county.as_deref(),
        "verification_method" => person.verification_method.as_deref(),
        "verification_reference" => person.verification_reference.as_deref(),
        "source_id" => person.source_id.as_deref(),
        "legal_basis" => person.legal_basis.as_deref(),
        _ => None,
    };
    value.unwrap_or_default().to_owned()
}
