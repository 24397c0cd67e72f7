//! The TOML of a mapping, and the rules that it is checked into: columns are numbers there, names are closed sets.

use super::cell::Numbers;
use super::fields::{AmountField, Field, Member};
use super::{MappingError, SourceDefaults, exact};
use jiff::civil::Time;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use models::feed::SourceClock;
use models::money::Currency;
use models::record::RecordKind;
use models::ts::Ts;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Encoding of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Encoding {
    /// UTF-8, strictly.
    #[serde(rename = "utf-8")]
    Utf8,
    /// ISO 8859-1.
    #[serde(rename = "latin1")]
    Latin1,
    /// Windows' superset of it.
    #[serde(rename = "windows-1252")]
    Windows1252,
}

impl Encoding {
    /// Its name in a mapping.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Latin1 => "latin1",
            Self::Windows1252 => "windows-1252",
        }
    }
}

/// Order of the records made of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// By `occurred_at`, then as in the file.
    #[default]
    OccurredAt,
    /// As in the file.
    File,
}

/// What the sign of an amount means (operators send stakes positive or negative).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// As it stands; the endpoint quarantines a negative stake as `sign_mismatch`.
    #[default]
    AsIs,
    /// Either way: negative is made positive and flagged in `extra.mapping_flags`.
    Absolute,
    /// The file writes it the other way round.
    Negate,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    name: String,
    #[serde(default)]
    order: Order,
    source: SourceSpec,
    file: FileSpec,
    operator: OperatorSpec,
    time: TimeSpec,
    numbers: NumberSpec,
    record: Vec<RecordSpec>,
    /// Rows that are no records; every other row has to fit one.
    #[serde(default)]
    skip: Vec<SkipSpec>,
    #[serde(default)]
    check: Vec<CheckSpec>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceSpec {
    name: String,
    class: String,
    clock: SourceClock,
    horizon_days: u16,
    expected_interval_seconds: u32,
    currency: Currency,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSpec {
    encoding: Encoding,
    #[serde(default = "comma")]
    delimiter: char,
    /// Whether quotation marks quote. Without them a stray one stays a character of its cell.
    #[serde(default = "yes")]
    quoting: bool,
    #[serde(default)]
    null: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OperatorSpec {
    code: Option<String>,
    name: Option<String>,
    column: Option<String>,
    #[serde(default)]
    codes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeSpec {
    column: String,
    /// `rfc3339`, or a format of strptime.
    format: String,
    /// IANA name; for formats without an offset.
    zone: Option<String>,
    /// Time of day, `HH:MM`, for formats without one.
    at: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NumberSpec {
    #[serde(default = "point")]
    decimal: char,
    thousands: Option<char>,
    scale: u32,
    #[serde(default)]
    round: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordSpec {
    id: String,
    kind: RecordKind,
    when: Option<String>,
    amount: Option<AmountSpec>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    /// What the file's words for a field are in the contract.
    #[serde(default)]
    words: BTreeMap<String, BTreeMap<String, String>>,
    /// Further amounts, e.g. `balance_after_minor`.
    #[serde(default)]
    amounts: BTreeMap<String, AmountSpec>,
    /// Dates that are not written as the contract's.
    #[serde(default)]
    dates: BTreeMap<String, TimeSpec>,
    #[serde(default)]
    extra: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SkipSpec {
    when: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AmountSpec {
    #[serde(default)]
    plus: Vec<String>,
    #[serde(default)]
    minus: Vec<String>,
    #[serde(default)]
    sign: Sign,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SumSpec {
    #[serde(default)]
    plus: Vec<String>,
    #[serde(default)]
    minus: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckSpec {
    name: String,
    when: Option<String>,
    #[serde(default)]
    not_negative: Vec<String>,
    gross_gaming_revenue: Option<SumSpec>,
    #[serde(default)]
    tolerance_minor: u32,
}

fn comma() -> char {
    ','
}

fn point() -> char {
    '.'
}

fn yes() -> bool {
    true
}

/// A mapping, checked. Columns are positions in `columns`.
#[derive(Clone, Debug)]
pub struct Rules {
    pub name: String,
    pub order: Order,
    pub source: SourceDefaults,
    pub encoding: Encoding,
    pub delimiter: u8,
    pub quoting: bool,
    pub null: Vec<String>,
    pub columns: Vec<String>,
    pub operator: OperatorRule,
    pub time: Clock,
    pub numbers: Numbers,
    pub records: Vec<RecordRule>,
    /// Each by its conditions.
    pub skips: Vec<Vec<Condition>>,
    pub checks: Vec<Check>,
}

#[derive(Clone, Debug)]
pub struct OperatorRule {
    pub code: Option<Arc<str>>,
    pub name: Option<String>,
    pub column: Option<usize>,
    pub codes: BTreeMap<String, Arc<str>>,
}

/// How times are written.
#[derive(Clone, Debug)]
pub struct Clock {
    pub column: usize,
    pub column_name: String,
    /// None: RFC 3339.
    format: Option<String>,
    zone: TimeZone,
    at: Option<Time>,
}

impl Clock {
    /// Reads a time. A local time that is skipped or doubled at a change of the clock is taken as RFC 5545 says.
    pub fn parse(&self, text: &str) -> Option<Ts> {
        let Some(format) = &self.format else { return Ts::parse(text).ok() };
        let parts = strtime::parse(format, text).ok()?;
        let instant = if parts.offset().is_some() {
            parts.to_timestamp().ok()?
        } else {
            let date = parts.to_date().ok()?;
            let time = if parts.hour().is_some() { parts.to_time().ok()? } else { self.at? };
            self.zone.to_timestamp(date.to_datetime(time)).ok()?
        };
        Some(Ts(instant.as_microsecond())).filter(|ts| ts.0 >= 0)
    }

    /// Reads a date: the day alone where the format has no time, as the contract takes it.
    pub fn date(&self, text: &str) -> Option<String> {
        let format = self.format.as_ref()?;
        let parts = strtime::parse(format, text).ok()?;
        if parts.hour().is_none() && self.at.is_none() {
            return parts.to_date().ok().map(|date| date.to_string());
        }
        self.parse(text).map(exact)
    }
}

#[derive(Clone, Debug)]
pub struct RecordRule {
    pub id: Vec<Piece>,
    pub kind: RecordKind,
    pub when: Vec<Condition>,
    pub amount: Option<Amount>,
    pub fields: Vec<FieldRule>,
    pub amounts: Vec<(AmountField, Amount)>,
    pub dates: Vec<(Member, Clock)>,
    pub extra: Vec<usize>,
}

#[derive(Clone, Debug)]
pub struct FieldRule {
    pub field: Field,
    pub path: String,
    pub template: Vec<Piece>,
    /// None: any word goes as it is.
    pub words: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug)]
pub struct Amount {
    pub sum: Sum,
    pub sign: Sign,
}

#[derive(Clone, Debug)]
pub struct Sum {
    pub plus: Vec<usize>,
    pub minus: Vec<usize>,
}

#[derive(Clone, Debug)]
pub struct Check {
    pub name: String,
    pub when: Vec<Condition>,
    pub not_negative: Vec<usize>,
    pub gross_gaming_revenue: Option<Sum>,
    pub tolerance_minor: u32,
}

/// Part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Literal(String),
    Column(usize),
    Operator,
}

/// Part of `when`; all must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    Null(usize),
    NotNull(usize),
    Is(usize, String),
    IsNot(usize, String),
}

fn invalid(place: &str, what: impl Into<String>) -> MappingError {
    MappingError::Invalid { place: place.to_owned(), what: what.into() }
}

impl Rules {
    pub fn from_toml(text: &str) -> Result<Self, MappingError> {
        let spec: Spec = toml::from_str(text).map_err(|e| MappingError::Toml(e.message().to_owned()))?;
        let mut columns = Columns::default();
        if !spec.file.delimiter.is_ascii() {
            return Err(invalid("file.delimiter", "not an ASCII character"));
        }
        if spec.numbers.scale > 8 {
            return Err(invalid("numbers.scale", "above 8"));
        }
        if spec.numbers.thousands == Some(spec.numbers.decimal) {
            return Err(invalid("numbers.thousands", "the same as the decimal separator"));
        }
        if spec.record.is_empty() {
            return Err(invalid("record", "none"));
        }
        let operator = operator(spec.operator, &mut columns)?;
        let time = clock(spec.time, &TimeZone::UTC, &mut columns)?;
        let mut records = Vec::new();
        for (i, rule) in spec.record.into_iter().enumerate() {
            records.push(record(rule, &format!("record[{i}]"), &time.zone, &mut columns)?);
        }
        let mut skips = Vec::new();
        for (i, skip) in spec.skip.iter().enumerate() {
            skips.push(conditions(Some(&skip.when), &format!("skip[{i}]"), &mut columns)?);
        }
        let mut checks = Vec::new();
        for check in spec.check {
            let place = format!("check {}", check.name);
            checks.push(Check {
                when: conditions(check.when.as_deref(), &place, &mut columns)?,
                not_negative: columns.all(check.not_negative),
                gross_gaming_revenue: check
                    .gross_gaming_revenue
                    .map(|s| Sum { plus: columns.all(s.plus), minus: columns.all(s.minus) }),
                tolerance_minor: check.tolerance_minor,
                name: check.name,
            });
        }
        Ok(Self {
            name: spec.name,
            order: spec.order,
            source: SourceDefaults {
                name: spec.source.name,
                class: spec.source.class,
                clock: spec.source.clock,
                horizon_days: spec.source.horizon_days,
                expected_interval_seconds: spec.source.expected_interval_seconds,
                currency: spec.source.currency,
            },
            encoding: spec.file.encoding,
            delimiter: spec.file.delimiter as u8,
            quoting: spec.file.quoting,
            null: spec.file.null,
            columns: columns.0,
            operator,
            time,
            numbers: Numbers {
                decimal: spec.numbers.decimal,
                thousands: spec.numbers.thousands,
                scale: spec.numbers.scale,
                round: spec.numbers.round,
            },
            records,
            skips,
            checks,
        })
    }
}

/// Names of columns become numbers in the order of their first use.
#[derive(Default)]
struct Columns(Vec<String>);

impl Columns {
    fn one(&mut self, name: &str) -> usize {
        self.0.iter().position(|known| known == name).unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        })
    }

    fn all(&mut self, names: Vec<String>) -> Vec<usize> {
        names.into_iter().map(|name| self.one(&name)).collect()
    }
}

fn operator(spec: OperatorSpec, columns: &mut Columns) -> Result<OperatorRule, MappingError> {
    match (&spec.code, &spec.column) {
        (Some(_), None) if spec.codes.is_empty() => {}
        (None, Some(_)) if !spec.codes.is_empty() => {}
        _ => return Err(invalid("operator", "either code, or column and codes")),
    }
    Ok(OperatorRule {
        code: spec.code.map(Into::into),
        name: spec.name,
        column: spec.column.map(|name| columns.one(&name)),
        codes: spec.codes.into_iter().map(|(name, code)| (name, code.into())).collect(),
    })
}

/// `zone` where it names none.
fn clock(spec: TimeSpec, zone: &TimeZone, columns: &mut Columns) -> Result<Clock, MappingError> {
    let zone = match &spec.zone {
        None => zone.clone(),
        Some(name) => TimeZone::get(name).map_err(|_| invalid("time.zone", "not a known time zone"))?,
    };
    let at = match &spec.at {
        None => None,
        Some(text) => Some(Time::strptime("%H:%M", text).map_err(|_| invalid("time.at", "not HH:MM"))?),
    };
    Ok(Clock {
        column: columns.one(&spec.column),
        column_name: spec.column,
        format: Some(spec.format).filter(|format| format != "rfc3339"),
        zone,
        at,
    })
}

fn record(
    mut spec: RecordSpec,
    place: &str,
    zone: &TimeZone,
    columns: &mut Columns,
) -> Result<RecordRule, MappingError> {
    if spec.amount.is_none() && spec.kind.needs_money() {
        return Err(invalid(place, "its kind needs an amount"));
    }
    let mut fields = Vec::new();
    for (path, text) in spec.fields {
        let field = Field::parse(&path).ok_or_else(|| invalid(place, format!("{path} is not a text field")))?;
        let words = spec.words.remove(&path);
        fields.push(FieldRule { field, template: template(&text, place, columns)?, words, path });
    }
    if let Some(path) = spec.words.keys().next() {
        return Err(invalid(place, format!("{path} has words and no field")));
    }
    let mut amounts = Vec::new();
    for (path, sum) in spec.amounts {
        let field = AmountField::parse(&path).ok_or_else(|| invalid(place, format!("{path} is not an amount")))?;
        amounts.push((field, amount(sum, place, columns)?));
    }
    let mut dates = Vec::new();
    for (path, date) in spec.dates {
        let field =
            Member::parse(&path).ok_or_else(|| invalid(place, format!("{path} is not a date of a document")))?;
        if date.format == "rfc3339" {
            return Err(invalid(place, format!("{path}: such a date is a field")));
        }
        dates.push((field, clock(date, zone, columns)?));
    }
    let amount = spec.amount.map(|sum| amount(sum, place, columns)).transpose()?;
    Ok(RecordRule {
        id: template(&spec.id, place, columns)?,
        kind: spec.kind,
        when: conditions(spec.when.as_deref(), place, columns)?,
        amount,
        fields,
        amounts,
        dates,
        extra: columns.all(spec.extra),
    })
}

fn amount(spec: AmountSpec, place: &str, columns: &mut Columns) -> Result<Amount, MappingError> {
    if spec.plus.is_empty() && spec.minus.is_empty() {
        return Err(invalid(place, "an amount of no column"));
    }
    let sum = Sum { plus: columns.all(spec.plus), minus: columns.all(spec.minus) };
    Ok(Amount { sum, sign: spec.sign })
}

/// `text {Column} text {@operator}`.
fn template(text: &str, place: &str, columns: &mut Columns) -> Result<Vec<Piece>, MappingError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((literal, behind)) = rest.split_once('{') {
        let (name, behind) =
            behind.split_once('}').ok_or_else(|| invalid(place, "a template's bracket is not closed"))?;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.to_owned()));
        }
        pieces.push(if name == "@operator" { Piece::Operator } else { Piece::Column(columns.one(name)) });
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest.to_owned()));
    }
    if pieces.is_empty() { Err(invalid(place, "an empty template")) } else { Ok(pieces) }
}

/// `Column is null`, `Column is not null`, `Column = 'text'`, `Column != 'text'`, joined by ` and `.
fn conditions(text: Option<&str>, place: &str, columns: &mut Columns) -> Result<Vec<Condition>, MappingError> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let quoted = |text: &str| {
        let text = text.trim().strip_prefix('\'').and_then(|t| t.strip_suffix('\''));
        text.map(str::to_owned).ok_or_else(|| invalid(place, "a condition's text is not in single quotes"))
    };
    let mut all = Vec::new();
    for part in text.split(" and ") {
        let part = part.trim();
        all.push(if let Some(name) = part.strip_suffix(" is not null") {
            Condition::NotNull(columns.one(name.trim()))
        } else if let Some(name) = part.strip_suffix(" is null") {
            Condition::Null(columns.one(name.trim()))
        } else if let Some((name, text)) = part.split_once("!=") {
            Condition::IsNot(columns.one(name.trim()), quoted(text)?)
        } else if let Some((name, text)) = part.split_once('=') {
            Condition::Is(columns.one(name.trim()), quoted(text)?)
        } else {
            return Err(invalid(place, "a condition that is none of: is null, is not null, =, !="));
        });
    }
    Ok(all)
}
