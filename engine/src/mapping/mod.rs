//! Files of others become canonical records: a mapping says how.
//!
//! Every supervisor's archive and every operator's export has its own columns, encodings and habits; a mapping keeps
//! that knowledge in a TOML file beside the data's documentation instead of in code. Bytes go in, the canonical
//! records of the contract come out; a row that cannot be mapped is one refusal and says why without its values. So is a
//! row that no record fits: what is no record on purpose (a sum, a balance brought forward) a mapping names in `[[skip]]`.
//!
//! ```text
//! bytes ─▶ rows ─▶ decode cells ─▶ [[skip]] ─▶ operator, time ─▶ each [[record]] whose condition holds ─▶ [[check]] ─▶ sorted
//! ```

mod cell;
#[cfg(test)]
mod class_tests;
mod fields;
mod spec;
#[cfg(test)]
mod tests;

use cell::{Cells, NumberError};
use models::feed::SourceClock;
use models::money::Currency;
use models::record::{QuarantineCode, RecordKind, Refusal, Text, WireMoney, WireRecord};
use models::ts::Ts;
use spec::{Amount, Check, Clock, Condition, FieldRule, Piece, RecordRule, Rules};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

pub(crate) use cell::Numbers;
pub use spec::{Encoding, Order, Sign};

/// Largest file, bytes.
pub const FILE_BYTES_MAX: usize = 512 << 20;
/// Largest cell, bytes: a quotation mark that is never closed would swallow the rest of the file.
pub const CELL_BYTES_MAX: usize = 4_096;

/// Why a mapping or a file cannot be used at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// Not TOML, or not this shape of it.
    #[error("the mapping does not parse: {0}")]
    Toml(String),
    /// It parses and makes no sense.
    #[error("{place}: {what}")]
    Invalid {
        /// Where in the mapping.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// The file has no header.
    #[error("the file is empty")]
    Empty,
    /// The file is above [`FILE_BYTES_MAX`].
    #[error("the file is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    /// The header does not decode.
    #[error("the header is not in the mapping's encoding")]
    HeaderEncoding,
    /// A column that the mapping needs is not in the file.
    #[error("the file has no column {0}")]
    MissingColumn(String),
    /// A column that the mapping needs is there twice.
    #[error("the file has the column {0} twice")]
    ColumnTwice(String),
}

/// What a source of these files is to be created with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceDefaults {
    /// Name, unique within the operator.
    pub name: String,
    /// Name of the class of data, as the mapping has it: mappings of old sources may name one that there is not.
    pub class: String,
    /// By which clock it is judged.
    pub clock: SourceClock,
    /// How far back a record may lie, days.
    pub horizon_days: u16,
    /// Expected time between two batches, seconds.
    pub expected_interval_seconds: u32,
    /// Currency of every amount.
    pub currency: Currency,
}

/// One canonical record made of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct MappedRecord {
    /// Row it was made of, from 0, without the header.
    pub row: u32,
    /// The operator's stable code.
    pub operator: Arc<str>,
    /// When it happened.
    pub occurred_at: Ts,
    /// What happened.
    pub kind: RecordKind,
    /// Minor units; 0 where the kind carries none.
    pub amount_minor: i64,
    /// The record as the push endpoint takes it: one line of JSON, without the line's end.
    pub json: String,
}

/// A file, mapped: every row is in `records`, in `refusals` or counted in `skipped`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapped {
    /// Rows of the file, without the header and without blank lines.
    pub rows: u32,
    /// Rows that the mapping says are no records.
    pub skipped: u32,
    /// Canonical records in the mapping's order.
    pub records: Vec<MappedRecord>,
    /// Rows that could not be mapped; the index is the row's.
    pub refusals: Vec<Refusal>,
    /// Where in the file each of them stands.
    pub refused_at: Vec<Range<usize>>,
    /// Whose each of them is: its operator's code, where at least that can be read.
    pub refused_of: Vec<Option<Arc<str>>>,
    /// Where in the file the header stands, with which a row can be mapped alone; empty where there is none.
    pub header: Range<usize>,
}

/// A mapping, checked.
#[derive(Clone, Debug)]
pub struct Mapping {
    rules: Rules,
}

impl Mapping {
    /// Reads a mapping. Time zones are looked up in jiff's time zone database.
    ///
    /// # Errors
    /// [`MappingError::Toml`] and [`MappingError::Invalid`], naming the place.
    pub fn from_toml(text: &str) -> Result<Self, MappingError> {
        Ok(Self { rules: Rules::from_toml(text)? })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.rules.name
    }

    /// What its sources are created with.
    pub fn source(&self) -> &SourceDefaults {
        &self.rules.source
    }

    /// Whether quotation marks quote in its files.
    pub fn quotes(&self) -> bool {
        self.rules.quoting
    }

    /// Every operator that it can give: code and name, by code.
    pub fn operators(&self) -> Vec<(&str, &str)> {
        let rule = &self.rules.operator;
        let mut operators: Vec<(&str, &str)> = rule.codes.iter().map(|(name, code)| (&**code, &**name)).collect();
        operators.extend(rule.code.as_deref().map(|code| (code, rule.name.as_deref().unwrap_or(code))));
        operators.sort_unstable();
        operators.dedup_by_key(|(code, _)| *code);
        operators
    }

    /// The kinds of its records.
    pub fn kinds(&self) -> impl Iterator<Item = RecordKind> {
        self.rules.records.iter().map(|rule| rule.kind)
    }

    /// Maps a whole file.
    ///
    /// # Errors
    /// [`MappingError`] where the file as a whole does not fit; single rows are refused in [`Mapped::refusals`].
    pub fn read(&self, file: &[u8]) -> Result<Mapped, MappingError> {
        if file.len() > FILE_BYTES_MAX {
            return Err(MappingError::TooLarge);
        }
        let whole = file.len();
        let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
        let marked = whole - file.len();
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.rules.delimiter)
            .quoting(self.rules.quoting)
            .from_reader(file);
        let mut row = csv::ByteRecord::new();
        if !next(&mut reader, &mut row) {
            return Err(MappingError::Empty);
        }
        let header = self.header(&row)?;
        let place = |byte: u64| marked + usize::try_from(byte).unwrap_or(file.len());
        let mut mapped = Mapped { header: marked..place(reader.position().byte()), ..Mapped::default() };
        while next(&mut reader, &mut row) {
            let cells = self.cells(&header, &row);
            let start = row.position().map_or(0, csv::Position::byte);
            let place = place(start)..place(reader.position().byte());
            self.take(cells, || self.owner_of_row(&header, &row), place, &mut mapped);
        }
        self.put_in_order(&mut mapped);
        Ok(mapped)
    }

    /// Maps JSON objects, each of which lies somewhere in `body`. A column is a member, `a.b` the member `b` of the member
    /// `a`; numbers are read as they are written, with a point.
    pub fn read_json(&self, body: &[u8], items: impl IntoIterator<Item = Range<usize>>) -> Mapped {
        let mut mapped = Mapped::default();
        for place in items {
            let object: Option<serde_json::Map<String, serde_json::Value>> =
                body.get(place.clone()).and_then(|item| serde_json::from_slice(item).ok());
            let cells = match &object {
                Some(members) => Cells::of_json(&self.rules, members),
                None => Err((QuarantineCode::Unreadable, "not a JSON object".to_owned())),
            };
            self.take(cells, || self.owner_of_object(object.as_ref()), place, &mut mapped);
        }
        self.put_in_order(&mut mapped);
        mapped
    }

    /// Takes one row in, or says why not, and whose it is.
    fn take(
        &self,
        cells: Result<Cells<'_>, Refused>,
        owner: impl FnOnce() -> Option<Arc<str>>,
        place: Range<usize>,
        mapped: &mut Mapped,
    ) {
        let index = mapped.rows;
        mapped.rows += 1;
        let before = mapped.records.len();
        let made = cells.and_then(|cells| {
            if self.is_skipped(&cells) {
                mapped.skipped += 1;
                return Ok(());
            }
            self.row(&cells, index, &mut mapped.records)
        });
        if let Err((code, detail)) = made {
            mapped.records.truncate(before);
            mapped.refusals.push(Refusal { index, code, detail });
            mapped.refused_at.push(place);
            mapped.refused_of.push(owner());
        }
    }

    /// The operator of a row of which other cells may be broken.
    fn owner_of_row(&self, header: &Header, row: &csv::ByteRecord) -> Option<Arc<str>> {
        let Some(column) = self.rules.operator.column else { return self.rules.operator.code.clone() };
        // where cells are missing, or too many, nobody knows which is which
        let bytes = row.get(header.places[column]).filter(|_| row.len() == header.width)?;
        let name = cell::one(&self.rules, column, bytes).ok().flatten()?;
        self.rules.operator.codes.get(&*name).cloned()
    }

    /// The same of an object; none: it is not even that.
    fn owner_of_object(&self, object: Option<&serde_json::Map<String, serde_json::Value>>) -> Option<Arc<str>> {
        let Some(column) = self.rules.operator.column else { return self.rules.operator.code.clone() };
        let name = cell::one_of_json(&self.rules, &self.rules.columns[column], object?).ok().flatten()?;
        self.rules.operator.codes.get(&*name).cloned()
    }

    /// Asked before anything else: a row of sums has neither an operator nor a time.
    fn is_skipped(&self, cells: &Cells<'_>) -> bool {
        self.rules.skips.iter().any(|skip| skip.iter().all(|condition| holds(condition, cells)))
    }

    fn put_in_order(&self, mapped: &mut Mapped) {
        if self.rules.order == Order::OccurredAt {
            // stable: rows of one instant keep their order, and so do the records of a row
            mapped.records.sort_by_key(|r| r.occurred_at);
        }
    }

    /// Where each column that the rules use lies in the file.
    fn header(&self, row: &csv::ByteRecord) -> Result<Header, MappingError> {
        let decode = |bytes| cell::decode(self.rules.encoding, bytes).map(|text| text.trim().to_owned());
        let names: Option<Vec<String>> = row.iter().map(decode).collect();
        let names = names.ok_or(MappingError::HeaderEncoding)?;
        let mut places = Vec::with_capacity(self.rules.columns.len());
        for column in &self.rules.columns {
            let mut found = names.iter().enumerate().filter(|(_, name)| *name == column).map(|(i, _)| i);
            places.push(found.next().ok_or_else(|| MappingError::MissingColumn(column.clone()))?);
            if found.next().is_some() {
                return Err(MappingError::ColumnTwice(column.clone()));
            }
        }
        Ok(Header { width: names.len(), places })
    }

    /// The cells of a row of a file.
    fn cells<'r>(&self, header: &Header, row: &'r csv::ByteRecord) -> Result<Cells<'r>, Refused> {
        if row.len() != header.width {
            let code =
                if row.len() < header.width { QuarantineCode::MissingField } else { QuarantineCode::InvalidField };
            return Err((code, format!("{} fields instead of {}", row.len(), header.width)));
        }
        Cells::read(&self.rules, &header.places, row)
    }

    fn row(&self, cells: &Cells<'_>, index: u32, out: &mut Vec<MappedRecord>) -> Result<(), Refused> {
        let rules = &self.rules;
        let operator = self.operator(cells)?;
        let occurred_at = occurred_at(&rules.time, cells)?;
        let (mut stakes, mut payouts) = (0i128, 0i128);
        let before = out.len();
        for rule in &rules.records {
            if !rule.when.iter().all(|c| holds(c, cells)) {
                continue;
            }
            let record = self.record(rule, cells, &operator, occurred_at, index)?;
            match record.kind {
                RecordKind::Stake | RecordKind::TicketSale => stakes += i128::from(record.amount_minor),
                RecordKind::Void => stakes -= i128::from(record.amount_minor),
                RecordKind::Payout | RecordKind::CashOut | RecordKind::Redemption => {
                    payouts += i128::from(record.amount_minor);
                }
                _ => {}
            }
            out.push(record);
        }
        if out.len() == before {
            return Err((QuarantineCode::InvalidField, "no record of the mapping fits".to_owned()));
        }
        rules.checks.iter().try_for_each(|check| self.check(check, cells, stakes - payouts))
    }

    fn operator(&self, cells: &Cells<'_>) -> Result<Arc<str>, Refused> {
        let rule = &self.rules.operator;
        let Some(column) = rule.column else { return Ok(rule.code.clone().unwrap_or_default()) };
        let name = cells.required(&self.rules, column)?;
        let unknown =
            || (QuarantineCode::InvalidField, format!("{}: no operator of the mapping's", self.rules.columns[column]));
        rule.codes.get(name).cloned().ok_or_else(unknown)
    }

    fn record(
        &self,
        rule: &RecordRule,
        cells: &Cells<'_>,
        operator: &Arc<str>,
        occurred_at: Ts,
        row: u32,
    ) -> Result<MappedRecord, Refused> {
        let rules = &self.rules;
        let mut flags = Vec::new();
        let mut amount_minor = 0;
        let mut wire = WireRecord::default();
        if let Some(amount) = &rule.amount {
            amount_minor = self.amount(amount, cells, &mut flags)?;
            wire.money =
                Some(WireMoney { amount_minor, currency: Text(Cow::Borrowed(rules.source.currency.as_str())) });
        }
        let id = fill(&rule.id, cells, operator);
        wire.record_id = Some(id.ok_or_else(|| (QuarantineCode::MissingField, "record id: missing".to_owned()))?);
        wire.kind = Some(Text(Cow::Borrowed(rule.kind.as_str())));
        wire.occurred_at = Some(Text(Cow::Owned(exact(occurred_at))));
        for field in &rule.fields {
            if let Some(text) = fill(&field.template, cells, operator) {
                field.field.set(&mut wire, word(field, text)?);
            }
        }
        for (field, amount) in &rule.amounts {
            let mut columns = amount.sum.plus.iter().chain(&amount.sum.minus);
            // nothing there at all is null, half of it is not
            if columns.any(|column| cells.get(*column).is_some()) {
                field.set(&mut wire, self.amount(amount, cells, &mut flags)?);
            }
        }
        for (member, clock) in &rule.dates {
            if let Some(text) = cells.get(clock.column) {
                let date = clock.date(text);
                member.set(&mut wire, &date.ok_or_else(|| not_a_time(clock))?);
            }
        }
        for column in &rule.extra {
            let value = cells.get(*column).map_or(serde_json::Value::Null, Into::into);
            wire.extra.insert(rules.columns[*column].clone(), value);
        }
        if !flags.is_empty() {
            wire.extra.insert("mapping_flags".to_owned(), flags.into());
        }
        let json = serde_json::to_string(&wire)
            .map_err(|_| (QuarantineCode::Unreadable, "the record cannot be written".to_owned()))?;
        Ok(MappedRecord { row, operator: operator.clone(), occurred_at, kind: rule.kind, amount_minor, json })
    }

    /// The amount of a record. What was put right on the way is flagged, so that nobody takes it for the file's word.
    fn amount(&self, amount: &Amount, cells: &Cells<'_>, flags: &mut Vec<String>) -> Result<i64, Refused> {
        let (sum, inexact) = self.sum(&amount.sum.plus, &amount.sum.minus, cells)?;
        flags.extend(inexact.into_iter().map(|column| format!("inexact:{}", self.rules.columns[column])));
        let signed = match amount.sign {
            Sign::AsIs => sum,
            Sign::Negate => -sum,
            Sign::Absolute => {
                if sum < 0 {
                    flags.push("sign_normalised".to_owned());
                }
                sum.abs()
            }
        };
        i64::try_from(signed).map_err(|_| (QuarantineCode::TooLarge, "amount: too large".to_owned()))
    }

    /// Sum of columns in minor units, and the columns whose text could not be taken to the last digit.
    fn sum(&self, plus: &[usize], minus: &[usize], cells: &Cells<'_>) -> Result<(i128, Vec<usize>), Refused> {
        let mut sum = 0i128;
        let mut inexact = Vec::new();
        for (column, sign) in plus.iter().map(|c| (*c, 1)).chain(minus.iter().map(|c| (*c, -1))) {
            let text = cells.required(&self.rules, column)?;
            let number = self.rules.numbers.parse(text).map_err(|e| {
                let code =
                    if e == NumberError::TooLarge { QuarantineCode::TooLarge } else { QuarantineCode::InvalidField };
                (code, format!("{}: {e}", self.rules.columns[column]))
            })?;
            sum += sign * i128::from(number.minor);
            if !number.exact {
                inexact.push(column);
            }
        }
        Ok((sum, inexact))
    }

    fn check(&self, check: &Check, cells: &Cells<'_>, revenue: i128) -> Result<(), Refused> {
        if !check.when.iter().all(|c| holds(c, cells)) {
            return Ok(());
        }
        for column in &check.not_negative {
            if self.sum(&[*column], &[], cells)?.0 < 0 {
                return Err((QuarantineCode::SignMismatch, format!("{}: negative", self.rules.columns[*column])));
            }
        }
        let Some(wanted) = &check.gross_gaming_revenue else { return Ok(()) };
        let (wanted, _) = self.sum(&wanted.plus, &wanted.minus, cells)?;
        if (revenue - wanted).abs() <= i128::from(check.tolerance_minor) {
            Ok(())
        } else {
            Err((QuarantineCode::SumMismatch, format!("{}: stakes less payouts differ from the columns", check.name)))
        }
    }
}

/// Code and sentence of a refusal.
type Refused = (QuarantineCode, String);

struct Header {
    width: usize,
    places: Vec<usize>,
}

/// The next row that is not blank. Reading from memory does not fail, and rows of any width are taken.
fn next(reader: &mut csv::Reader<&[u8]>, row: &mut csv::ByteRecord) -> bool {
    while reader.read_byte_record(row).unwrap_or(false) {
        if row.iter().any(|cell| !cell.trim_ascii().is_empty()) {
            return true;
        }
    }
    false
}

fn holds(condition: &Condition, cells: &Cells<'_>) -> bool {
    match condition {
        Condition::Null(column) => cells.get(*column).is_none(),
        Condition::NotNull(column) => cells.get(*column).is_some(),
        Condition::Is(column, text) => cells.get(*column) == Some(text),
        Condition::IsNot(column, text) => cells.get(*column) != Some(text),
    }
}

/// RFC 3339 with microseconds: nothing of the file's time is lost.
fn exact(at: Ts) -> String {
    let millis = at.to_string();
    let micros = at.0.rem_euclid(1000);
    if micros == 0 { millis } else { format!("{}{micros:03}Z", millis.trim_end_matches('Z')) }
}

fn occurred_at(clock: &Clock, cells: &Cells<'_>) -> Result<Ts, Refused> {
    let text = cells
        .get(clock.column)
        .ok_or_else(|| (QuarantineCode::MissingField, format!("{}: missing", clock.column_name)))?;
    clock.parse(text).ok_or_else(|| not_a_time(clock))
}

fn not_a_time(clock: &Clock) -> Refused {
    (QuarantineCode::InvalidField, format!("{}: not a time of the mapping's format", clock.column_name))
}

/// The contract's word for the file's.
fn word<'t>(rule: &FieldRule, text: Text<'t>) -> Result<Text<'t>, Refused> {
    let Some(words) = &rule.words else { return Ok(text) };
    let known = words.get(&*text).map(|word| Text(Cow::Owned(word.clone())));
    known.ok_or_else(|| (QuarantineCode::InvalidField, format!("{}: none of the mapping's words", rule.path)))
}

/// A template filled; none where one of its columns is null.
fn fill<'t>(template: &[Piece], cells: &Cells<'_>, operator: &str) -> Option<Text<'t>> {
    let mut text = String::new();
    for piece in template {
        match piece {
            Piece::Literal(literal) => text.push_str(literal),
            Piece::Operator => text.push_str(operator),
            Piece::Column(column) => text.push_str(cells.get(*column)?),
        }
    }
    Some(Text(Cow::Owned(text)))
}
