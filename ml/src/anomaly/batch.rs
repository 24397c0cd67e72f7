//! `mlinzi model anomaly`: scores of a whole series from a file, through the same detector as the live path.
//!
//! In: CSV with a header that names `timestamp` and `value` (other columns are kept). Times are RFC 3339, or
//! `YYYY-MM-DD HH:MM:SS` with or without a fraction, read as UTC. An empty value, `NA`, `NaN` or `null` is a missing
//! point. Out: the same rows with `anomaly_score` behind them.

use super::{Detector, Params};
use models::ts::Ts;
use std::io::{Read, Write};

/// Name of the column that is added.
pub const SCORE: &str = "anomaly_score";

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows read and written.
    pub rows: u64,
    /// Rows without a value.
    pub missing: u64,
    /// Rows whose score reached the threshold.
    pub alerts: u64,
}

/// Why a run stopped. Rows are counted from 1 behind the header.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The header lacks a column.
    #[error("no column named {0}")]
    Column(&'static str),
    /// The header has the column that is to be added.
    #[error("the input has a column named {SCORE} already")]
    Scored,
    /// A time that is none.
    #[error("row {row}, column timestamp: neither RFC 3339 nor YYYY-MM-DD HH:MM:SS")]
    Time {
        /// Row.
        row: u64,
    },
    /// A value that is neither a number nor missing.
    #[error("row {row}, column value: not a number")]
    Value {
        /// Row.
        row: u64,
    },
    /// Bytes that are no CSV, or a reader or writer that fails.
    #[error("row {row}: {source}")]
    Csv {
        /// Row.
        row: u64,
        /// What the library says.
        source: csv::Error,
    },
    /// The last bytes could not be written.
    #[error("output: {0}")]
    Write(#[from] std::io::Error),
}

/// Reads a series from `input` and writes it with its scores to `output`.
pub fn run(params: Params, input: impl Read, output: impl Write) -> Result<Summary, BatchError> {
    let at = |row: u64| move |source: csv::Error| BatchError::Csv { row, source };
    let mut reader = csv::Reader::from_reader(input);
    let mut writer = csv::Writer::from_writer(output);
    let mut header = reader.headers().map_err(at(0))?.clone();
    let find = |name: &'static str| header.iter().position(|h| h.trim() == name);
    let time = find("timestamp").ok_or(BatchError::Column("timestamp"))?;
    let value = find("value").ok_or(BatchError::Column("value"))?;
    if find(SCORE).is_some() {
        return Err(BatchError::Scored);
    }
    header.push_field(SCORE);
    writer.write_record(&header).map_err(at(0))?;
    let mut detector = Detector::new(params);
    let mut summary = Summary::default();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(at(summary.rows + 1))? {
        let row = summary.rows + 1;
        let seen = parse_time(&record[time]).ok_or(BatchError::Time { row })?;
        let number = parse_value(&record[value]).ok_or(BatchError::Value { row })?;
        let verdict = detector.observe(seen, number);
        record.push_field(&verdict.score.to_string());
        writer.write_record(&record).map_err(at(row))?;
        summary.rows = row;
        summary.missing += u64::from(!number.is_finite());
        summary.alerts += u64::from(verdict.alert);
    }
    writer.flush()?;
    Ok(summary)
}

fn parse_time(text: &str) -> Option<Ts> {
    let text = text.trim();
    let plain = text.len() >= 19 && text.as_bytes()[10] == b' ' && !text.ends_with('Z');
    if plain { Ts::parse(&format!("{}Z", text.replacen(' ', "T", 1))).ok() } else { Ts::parse(text).ok() }
}

/// None: no number. NaN: missing.
fn parse_value(text: &str) -> Option<f64> {
    let text = text.trim();
    let missing = text.is_empty() || ["na", "nan", "null"].iter().any(|word| text.eq_ignore_ascii_case(word));
    if missing { Some(f64::NAN) } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(input: &str) -> Result<(String, Summary), String> {
        let mut output = Vec::new();
        let summary = run(Params::default(), input.as_bytes(), &mut output).map_err(|error| error.to_string())?;
        Ok((String::from_utf8(output).unwrap(), summary))
    }

    #[test]
    fn rows_come_back_with_their_score() {
        let input = "timestamp,value,note\n2014-04-01 00:00:00,20.0,a\n2014-04-01T00:05:00Z,NA,\"b,c\"\n\
                     2014-04-01 00:10:00.500,2e1,\n2014-04-01T03:15:00+03:00,,d\n";
        let (output, summary) = scored(input).unwrap();
        assert_eq!(summary, Summary { rows: 4, missing: 2, alerts: 0 });
        let wanted = "timestamp,value,note,anomaly_score\n2014-04-01 00:00:00,20.0,a,0\n\
                      2014-04-01T00:05:00Z,NA,\"b,c\",0\n2014-04-01 00:10:00.500,2e1,,0\n2014-04-01T03:15:00+03:00,,d,0\n";
        assert_eq!(output, wanted);
    }

    #[test]
    fn what_is_refused_is_named() {
        let table = [
            ("time,value\n", "no column named timestamp"),
            ("timestamp,x\n", "no column named value"),
            ("timestamp,value,anomaly_score\n", "the input has a column named anomaly_score already"),
            (
                "timestamp,value\n2014-04-01 00:00:00,1\n2014-13-01 00:00:00,1\n",
                "row 2, column timestamp: neither RFC 3339 nor YYYY-MM-DD HH:MM:SS",
            ),
            (
                "timestamp,value\nété 2014 à midi pile,1\n",
                "row 1, column timestamp: neither RFC 3339 nor YYYY-MM-DD HH:MM:SS",
            ),
            ("timestamp,value\n2014-04-01 00:00:00,1 000\n", "row 1, column value: not a number"),
        ];
        for (input, wanted) in table {
            assert_eq!(scored(input).unwrap_err(), wanted, "{input}");
        }
        let short = scored("timestamp,value\n2014-04-01 00:00:00\n").unwrap_err();
        assert!(short.starts_with("row 1: "), "{short}");
    }
}
