//! Rows with a label: a CSV with a header, an id first, the label last, features between.
//!
//! A column whose every cell is a number is a feature; a column of words becomes one indicator a word, as long as there
//! are few. Empty cells and the usual words for nothing are missing, which is not 0. What a column is, is learnt from
//! the training rows once and kept in the [`Schema`]. The columns of [`super::sides`] are no features.

use super::sides::{self, Sides, is_side};
use models::ts::Ts;
use ndarray::{Array2, Axis};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::Read;

/// Bytes of a table.
pub const BYTES_MAX: u64 = 1 << 30;
/// Rows of a table.
pub const ROWS_MAX: usize = 4_000_000;
/// Features, indicators included.
pub const FEATURES_MAX: usize = 1_000;
/// Words that a column may have and be a feature.
pub const WORDS_MAX: usize = 32;

const MISSING: [&str; 8] = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"];

/// Why a table cannot be learnt from or scored. Rows count from 1, the first behind the header.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TableError {
    /// The reader failed.
    #[error("the table cannot be read: {0}")]
    Read(String),
    /// More than [`BYTES_MAX`].
    #[error("the table is larger than {BYTES_MAX} bytes")]
    TooLarge,
    /// More than [`ROWS_MAX`].
    #[error("the table has more than {ROWS_MAX} rows")]
    TooManyRows,
    /// More than [`FEATURES_MAX`].
    #[error("the table has {0} features, at most {FEATURES_MAX} are taken")]
    TooManyFeatures(usize),
    /// Another number of cells than the header, or no text.
    #[error("row {row}: {reason}")]
    Malformed {
        /// Row.
        row: u64,
        /// What the parser says.
        reason: String,
    },
    /// Fewer columns than id, a feature and, where one is wanted, the label.
    #[error("the header has {0} columns: an id, features and, to learn from, a label are needed")]
    TooFewColumns(usize),
    /// A name twice in the header.
    #[error("the header names column {0} twice")]
    Duplicate(String),
    /// A column of the model that the table lacks.
    #[error("the table has no column {0}")]
    NoColumn(String),
    /// Not a finite number in a column of numbers.
    #[error("row {row}, column {column}: not a finite number")]
    NotANumber {
        /// Row.
        row: usize,
        /// Column's name.
        column: String,
    },
    /// A column of words with too many of them: where the first stands that is no number.
    #[error("row {row}, column {column}: not a number, and the column has more than {WORDS_MAX} different words")]
    TooManyWords {
        /// Row.
        row: usize,
        /// Column's name.
        column: String,
    },
    /// A label is missing, or neither of the two.
    #[error("row {row}, column {column}: a label that is none of two values")]
    Label {
        /// Row.
        row: usize,
        /// Column's name.
        column: String,
    },
    /// A day that is none.
    #[error("row {row}, column {column}: not a day like 2026-03-01", column = sides::DAY)]
    Day {
        /// Row.
        row: usize,
    },
    /// All rows have the same label, or there are none.
    #[error("column {column}: both labels are needed, there are only rows of {only:?}")]
    OneClass {
        /// Column's name.
        column: String,
        /// The one label, None without rows.
        only: Option<String>,
    },
}

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Words in their order, each of which is an indicator; empty for a number.
    pub words: Vec<String>,
}

/// What the columns of a training table are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// Name of the id's column.
    pub id: String,
    /// Between id and label, in the order of the header.
    pub columns: Vec<Column>,
    /// Name of the label's column.
    pub label: String,
    /// The label that scores low.
    pub negative: String,
    /// The label that scores high: the greater number, or the later word.
    pub positive: String,
}

/// Rows by features.
#[derive(Clone, Debug)]
pub struct Table {
    /// Name of the id's column.
    pub id: String,
    /// One a row.
    pub ids: Vec<String>,
    /// Rows × features; missing is NaN.
    pub values: Array2<f64>,
}

/// A table and its labels.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// Rows.
    pub table: Table,
    /// One a row: is it of the positive class?
    pub labels: Vec<bool>,
    /// SHA-256 of the bytes read, hexadecimal.
    pub sha256: String,
    /// Whose the rows are, where and when.
    pub sides: Sides,
}

impl Labelled {
    /// These rows alone, in this order.
    ///
    /// # Panics
    /// Where there is no such row.
    pub(super) fn select(&self, rows: &[usize]) -> Self {
        let Table { id, ids, values } = &self.table;
        let ids = rows.iter().map(|row| ids[*row].clone()).collect();
        Self {
            table: Table { id: id.clone(), ids, values: values.select(Axis(0), rows) },
            labels: rows.iter().map(|row| self.labels[*row]).collect(),
            sha256: self.sha256.clone(),
            sides: self.sides.select(rows),
        }
    }
}

impl Schema {
    /// Reads a table and learns its schema.
    ///
    /// # Errors
    /// Whatever [`TableError`] says; two values of the label are needed.
    pub fn learn(reader: impl Read) -> Result<(Self, Labelled), TableError> {
        let cells = Cells::read(reader)?;
        let n = cells.header.len();
        let of_features = |at: &usize| !is_side(&cells.header[*at]);
        if !(1..n - 1).any(|at| of_features(&at)) {
            return Err(TableError::TooFewColumns(n));
        }
        let columns = (1..n - 1).filter(of_features).map(|at| cells.column(at)).collect::<Result<Vec<_>, _>>()?;
        let (negative, positive) = cells.classes(n - 1)?;
        let (id, label) = (cells.header[0].clone(), cells.header[n - 1].clone());
        let schema = Self { id, columns, label, negative, positive };
        let features = schema.features().len();
        if features > FEATURES_MAX {
            return Err(TableError::TooManyFeatures(features));
        }
        let labelled = schema.labelled(&cells)?;
        Ok((schema, labelled))
    }

    /// Names of the features: of a number its column's, of a word `column=word`.
    pub fn features(&self) -> Vec<String> {
        let mut names = Vec::new();
        for column in &self.columns {
            if column.words.is_empty() {
                names.push(column.name.clone());
            }
            names.extend(column.words.iter().map(|word| format!("{}={word}", column.name)));
        }
        names
    }

    /// Reads a table without a label. Columns are found by name; other ones are left out.
    ///
    /// # Errors
    /// Whatever [`TableError`] says.
    pub fn read(&self, reader: impl Read) -> Result<Table, TableError> {
        self.table(&Cells::read(reader)?)
    }

    /// Reads a table with a label of the schema's two values.
    ///
    /// # Errors
    /// Whatever [`TableError`] says.
    pub fn read_labelled(&self, reader: impl Read) -> Result<Labelled, TableError> {
        self.labelled(&Cells::read(reader)?)
    }

    fn labelled(&self, cells: &Cells) -> Result<Labelled, TableError> {
        let at = cells.find(&self.label)?;
        let mut labels = Vec::with_capacity(cells.rows.len());
        for (row, record) in cells.rows.iter().enumerate() {
            let text = record.get(at).unwrap_or_default().trim();
            match text {
                _ if is_label(text, &self.positive) => labels.push(true),
                _ if is_label(text, &self.negative) => labels.push(false),
                _ => return Err(TableError::Label { row: row + 1, column: self.label.clone() }),
            }
        }
        Ok(Labelled { table: self.table(cells)?, labels, sha256: cells.sha256.clone(), sides: cells.sides()? })
    }

    fn table(&self, cells: &Cells) -> Result<Table, TableError> {
        let mut values = Array2::from_elem((cells.rows.len(), self.features().len()), f64::NAN);
        let mut feature = 0;
        for column in &self.columns {
            let at = cells.find(&column.name)?;
            for (row, record) in cells.rows.iter().enumerate() {
                let text = record.get(at).unwrap_or_default().trim();
                if MISSING.contains(&text) {
                    continue;
                }
                if column.words.is_empty() {
                    let not = || TableError::NotANumber { row: row + 1, column: column.name.clone() };
                    values[[row, feature]] = number(text).ok_or_else(not)?;
                }
                // a word that was not there to learn from is none of them
                for (k, word) in column.words.iter().enumerate() {
                    values[[row, feature + k]] = f64::from(u8::from(word == text));
                }
            }
            feature += column.words.len().max(1);
        }
        let ids = cells.rows.iter().map(|record| record.get(0).unwrap_or_default().to_owned()).collect();
        Ok(Table { id: cells.header[0].clone(), ids, values })
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// The same text, or the same number written otherwise (`1` and `1.0`).
fn is_label(text: &str, label: &str) -> bool {
    text == label || number(text).is_some_and(|value| number(label) == Some(value))
}

struct Cells {
    header: Vec<String>,
    rows: Vec<csv::StringRecord>,
    sha256: String,
}

impl Cells {
    fn read(reader: impl Read) -> Result<Self, TableError> {
        let mut bytes = Vec::new();
        reader.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| TableError::Read(e.to_string()))?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(TableError::TooLarge);
        }
        let malformed = |row: usize, e: &csv::Error| TableError::Malformed { row: row as u64, reason: e.to_string() };
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let mut csv = csv::Reader::from_reader(text);
        let header = csv.headers().map_err(|e| malformed(0, &e))?;
        let header: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        if header.len() < 2 {
            return Err(TableError::TooFewColumns(header.len()));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = header.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(TableError::Duplicate(twice.clone()));
        }
        let mut rows = Vec::new();
        for record in csv.records() {
            if rows.len() == ROWS_MAX {
                return Err(TableError::TooManyRows);
            }
            rows.push(record.map_err(|e| malformed(rows.len() + 1, &e))?);
        }
        let sha256 = hexadecimal(digest(&SHA256, &bytes).as_ref());
        Ok(Self { header, rows, sha256 })
    }

    fn find(&self, name: &str) -> Result<usize, TableError> {
        self.header.iter().position(|n| n == name).ok_or_else(|| TableError::NoColumn(name.to_owned()))
    }

    fn texts(&self, at: usize) -> impl Iterator<Item = (usize, &str)> {
        self.rows.iter().enumerate().map(move |(i, record)| (i + 1, record.get(at).unwrap_or_default().trim()))
    }

    fn column(&self, at: usize) -> Result<Column, TableError> {
        let name = self.header[at].clone();
        let mut odd = self.texts(at).filter(|(_, text)| !MISSING.contains(text) && number(text).is_none());
        let Some((row, text)) = odd.next() else { return Ok(Column { name, words: Vec::new() }) };
        if text.parse::<f64>().is_ok() {
            return Err(TableError::NotANumber { row, column: name });
        }
        let mut words = BTreeSet::new();
        for (_, text) in self.texts(at).filter(|(_, text)| !MISSING.contains(text)) {
            words.insert(text);
            if words.len() > WORDS_MAX {
                return Err(TableError::TooManyWords { row, column: name });
            }
        }
        Ok(Column { name, words: words.into_iter().map(str::to_owned).collect() })
    }

    fn sides(&self) -> Result<Sides, TableError> {
        // the id is the first column, the label the last: neither is one of these, whatever its name
        let inner = 1..self.header.len() - 1;
        let find = |name: &str| self.find(name).ok().filter(|at| inner.contains(at));
        let texts = |at: usize| self.texts(at).map(|(_, text)| text);
        let month = |(row, text): (usize, &str)| match text {
            "" => Ok(String::new()),
            _ if Ts::parse_day(text).is_ok() => Ok(text.get(..7).unwrap_or_default().to_owned()),
            _ => Err(TableError::Day { row }),
        };
        Ok(Sides {
            groups: find(sides::GROUP).map(|at| sides::groups(texts(at))),
            operators: find(sides::OPERATOR).map(|at| texts(at).map(str::to_owned).collect()),
            months: find(sides::DAY).map(|at| self.texts(at).map(month).collect::<Result<Vec<_>, _>>()).transpose()?,
        })
    }

    /// The two values of the label, the positive one second.
    fn classes(&self, at: usize) -> Result<(String, String), TableError> {
        let column = &self.header[at];
        let mut found: BTreeSet<&str> = BTreeSet::new();
        for (row, text) in self.texts(at) {
            let known = found.iter().any(|label| is_label(text, label));
            if MISSING.contains(&text) || !known && found.len() == 2 {
                return Err(TableError::Label { row, column: column.clone() });
            }
            if !known {
                found.insert(text);
            }
        }
        let labels: Vec<&str> = found.into_iter().collect();
        if let [a, b] = labels[..] {
            if let (Some(x), Some(y)) = (number(a), number(b)) {
                let (low, high) = if x < y { (a, b) } else { (b, a) };
                return Ok((low.to_owned(), high.to_owned()));
            }
            return Ok((a.to_owned(), b.to_owned()));
        }
        Err(TableError::OneClass { column: column.clone(), only: labels.first().map(|label| (*label).to_owned()) })
    }
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "dataset_tests.rs"]
mod tests;
