//! The TOML of a mapping, and the rules that it is checked into: columns are numbers there, names are closed sets.

use super::cell::Numbers;
use super::{MappingError, SourceDefaults};
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
    #[serde(default)]
    extra: Vec<String>,
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
}

#[derive(Clone, Debug)]
pub struct RecordRule {
    pub id: Vec<Piece>,
    pub kind: RecordKind,
    pub when: Vec<Condition>,
    pub amount: Option<Amount>,
    pub fields: Vec<(Field, Vec<Piece>)>,
    pub extra: Vec<usize>,
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

macro_rules! fields {
    ($($variant:ident = $path:literal),+ $(,)?) => {
        /// Text fields of the canonical record that a mapping may fill.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Field { $($variant),+ }

        impl Field {
            fn parse(path: &str) -> Option<Self> {
                match path { $($path => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
fields!(
    Status = "status",
    Replaces = "replaces",
    PlayerBst = "player.bst",
    PlayerPhone = "player.phone",
    PlayerIdNumber = "player.id_number",
    PlayerIdType = "player.id_type",
    PlayerAccountRef = "player.account_ref",
    Product = "product",
    GameId = "game.id",
    GameType = "game.type",
    BetId = "bet.id",
    BetSettles = "bet.settles",
    SessionId = "session_id",
    Licence = "licence",
    Channel = "channel",
    OutletId = "outlet_id",
    TerminalId = "terminal_id",
    DeviceId = "device_id",
    Region = "region",
    PaymentMethod = "payment.method",
    PaymentAccount = "payment.account",
);

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
        let time = clock(spec.time, &mut columns)?;
        let mut records = Vec::new();
        for (i, rule) in spec.record.into_iter().enumerate() {
            records.push(record(rule, &format!("record[{i}]"), &mut columns)?);
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

fn clock(spec: TimeSpec, columns: &mut Columns) -> Result<Clock, MappingError> {
    let zone = match &spec.zone {
        None => TimeZone::UTC,
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

fn record(spec: RecordSpec, place: &str, columns: &mut Columns) -> Result<RecordRule, MappingError> {
    if spec.amount.is_none() && spec.kind.needs_money() {
        return Err(invalid(place, "its kind needs an amount"));
    }
    let mut fields = Vec::new();
    for (path, text) in spec.fields {
        let field = Field::parse(&path).ok_or_else(|| invalid(place, format!("{path} is not a text field")))?;
        fields.push((field, template(&text, place, columns)?));
    }
    let amount = match spec.amount {
        None => None,
        Some(a) if a.plus.is_empty() && a.minus.is_empty() => return Err(invalid(place, "an amount of no column")),
        Some(a) => Some(Amount { sum: Sum { plus: columns.all(a.plus), minus: columns.all(a.minus) }, sign: a.sign }),
    };
    Ok(RecordRule {
        id: template(&spec.id, place, columns)?,
        kind: spec.kind,
        when: conditions(spec.when.as_deref(), place, columns)?,
        amount,
        fields,
        extra: columns.all(spec.extra),
    })
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
