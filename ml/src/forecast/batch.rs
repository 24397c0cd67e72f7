//! The command `model forecast`: one file of series in, one file of forecasts out.
//!
//! In: `series_id,ds,y`, by name, any order of columns, further columns ignored; the rows of a series in order of time. `ds`
//! is a date or any other label; dates must rise. `y` is a number, or empty, `NA` or `NaN` where it is missing.
//! Out: `series_id,step,forecast,low_80,high_80`, series in order of their first row, steps from 1.

use super::series::{Series, SeriesError, VALUES_MAX};
use super::{Params, forecast_all};
use jiff::civil::DateTime;
use std::collections::HashMap;
use std::io::{Read, Write};

/// Series of one input.
pub const SERIES_MAX: usize = 1_000_000;
/// Rows of one input.
pub const ROWS_MAX: usize = 20_000_000;
/// Longest horizon.
pub const HORIZON_MAX: usize = 1_000;
/// Longest period.
pub const PERIOD_MAX: usize = 400;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Steps ahead, 1 to [`HORIZON_MAX`].
    pub horizon: usize,
    /// Steps of one season: 12 for months, 52 for weeks, 7 for days; 1 without. Up to [`PERIOD_MAX`].
    pub period: usize,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Series forecast.
    pub series: usize,
    /// Rows read.
    pub rows: usize,
}

/// Why nothing was written. Rows count from 1, the header being row 1.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The horizon is 0 or too long.
    #[error("horizon {0} is not within 1 to {HORIZON_MAX}")]
    Horizon(usize),
    /// The period is 0 or too long.
    #[error("period {0} is not within 1 to {PERIOD_MAX}")]
    Period(usize),
    /// A column of the header is not there.
    #[error("row 1: no column {0}")]
    NoColumn(&'static str),
    /// A value cannot be read.
    #[error("row {row}, column {column}: {reason}")]
    Value {
        /// Row.
        row: usize,
        /// Column.
        column: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// Not a row of the table.
    #[error("row {row}: {source}")]
    Row {
        /// Row.
        row: usize,
        /// What is wrong.
        source: csv::Error,
    },
    /// Too much.
    #[error("row {row}: more than {limit} {what}")]
    TooMuch {
        /// Row.
        row: usize,
        /// Limit.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
    /// A series cannot be taken.
    #[error("series {id}, from row {row} on: {source}")]
    Series {
        /// Its id.
        id: String,
        /// First row.
        row: usize,
        /// What is wrong.
        source: SeriesError,
    },
    /// There is no row.
    #[error("row 2: no series")]
    Empty,
    /// The output cannot be written.
    #[error("output: {0}")]
    Output(#[from] csv::Error),
    /// The output cannot be finished.
    #[error("output: {0}")]
    Flush(#[from] std::io::Error),
}

/// One series as it was read.
struct Given {
    id: String,
    row: usize,
    oldest: Option<DateTime>,
    newest: Option<DateTime>,
    values: Vec<Option<f64>>,
}

/// Reads, forecasts and writes. Nothing is written unless everything could be read.
pub fn run(train: impl Read, output: impl Write, request: Request, params: &Params) -> Result<Summary, BatchError> {
    if !(1..=HORIZON_MAX).contains(&request.horizon) {
        return Err(BatchError::Horizon(request.horizon));
    }
    if !(1..=PERIOD_MAX).contains(&request.period) {
        return Err(BatchError::Period(request.period));
    }
    let (read, rows) = read(train)?;
    let steps = first_steps(&read);
    let taken = |(one, step): (&Given, &usize)| {
        let failed = |source| BatchError::Series { id: one.id.clone(), row: one.row, source };
        Ok(Series::new(&one.values, request.period).map_err(failed)?.at_step(*step))
    };
    let series = read.iter().zip(&steps).map(taken).collect::<Result<Vec<_>, BatchError>>()?;
    let forecasts = forecast_all(&series, request.horizon, request.period, params);
    let mut writer = csv::Writer::from_writer(output);
    writer.write_record(["series_id", "step", "forecast", "low_80", "high_80"])?;
    for (read, forecast) in read.iter().zip(&forecasts) {
        for step in 0..request.horizon {
            let numbers = [forecast.mean[step], forecast.low[step], forecast.high[step]].map(|v| v.to_string());
            let [mean, low, high] = &numbers;
            writer.write_record([&read.id, &(step + 1).to_string(), mean, low, high])?;
        }
    }
    writer.flush()?;
    Ok(Summary { series: series.len(), rows })
}

fn read(train: impl Read) -> Result<(Vec<Given>, usize), BatchError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(train);
    let header = reader.headers().map_err(|source| BatchError::Row { row: 1, source })?.clone();
    let column = |name| header.iter().position(|h| h == name).ok_or(BatchError::NoColumn(name));
    let (id_at, ds_at, y_at) = (column("series_id")?, column("ds")?, column("y")?);
    let mut all: Vec<Given> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut rows = 0;
    let mut record = csv::StringRecord::new();
    loop {
        let row = rows + 2;
        if !reader.read_record(&mut record).map_err(|source| BatchError::Row { row, source })? {
            break;
        }
        rows += 1;
        if rows > ROWS_MAX {
            return Err(BatchError::TooMuch { row, limit: ROWS_MAX, what: "rows" });
        }
        let field = |at: usize| record.get(at).unwrap_or_default();
        let id = field(id_at);
        if id.is_empty() {
            return Err(BatchError::Value { row, column: "series_id", reason: "empty" });
        }
        let value = number(field(y_at)).map_err(|reason| BatchError::Value { row, column: "y", reason })?;
        let date = date(field(ds_at));
        let place = match places.get(id) {
            Some(place) => *place,
            None if all.len() == SERIES_MAX => {
                return Err(BatchError::TooMuch { row, limit: SERIES_MAX, what: "series" });
            }
            None => {
                places.insert(id.to_owned(), all.len());
                all.push(Given { id: id.to_owned(), row, oldest: date, newest: None, values: Vec::new() });
                all.len() - 1
            }
        };
        let series = &mut all[place];
        if series.values.len() == VALUES_MAX {
            return Err(BatchError::TooMuch { row, limit: VALUES_MAX, what: "rows of a series" });
        }
        if let (Some(before), Some(now)) = (series.newest, date)
            && now <= before
        {
            return Err(BatchError::Value { row, column: "ds", reason: "not after the row before it of this series" });
        }
        series.newest = date.or(series.newest);
        series.values.push(value);
    }
    if all.is_empty() { Err(BatchError::Empty) } else { Ok((all, rows)) }
}

/// Step of the first row of each series in a common calendar, counted from the earliest date in the spacing of the median
/// series; 0 for all where dates are missing or there is no spacing.
fn first_steps(read: &[Given]) -> Vec<usize> {
    let none = vec![0; read.len()];
    let Some(earliest) = read.iter().filter_map(|one| one.oldest).min() else { return none };
    let mut spacings: Vec<f64> = read.iter().filter_map(Given::spacing_hours).collect();
    spacings.sort_by(f64::total_cmp);
    let Some(spacing) = spacings.get(spacings.len() / 2) else { return none };
    let step = |one: &Given| one.oldest.map_or(0, |date| (hours(earliest, date) / spacing).round().max(0.0) as usize);
    read.iter().map(step).collect()
}

impl Given {
    /// Mean spacing of its rows; None for a single row.
    fn spacing_hours(&self) -> Option<f64> {
        let steps = self.values.len().checked_sub(1).filter(|steps| *steps > 0)?;
        Some(hours(self.oldest?, self.newest?) / steps as f64).filter(|spacing| *spacing > 0.0)
    }
}

fn hours(from: DateTime, to: DateTime) -> f64 {
    to.duration_since(from).as_secs_f64() / 3600.0
}

/// A number, or None where it is missing.
fn number(text: &str) -> Result<Option<f64>, &'static str> {
    if text.is_empty() || text.eq_ignore_ascii_case("na") || text.eq_ignore_ascii_case("nan") {
        return Ok(None);
    }
    let value: f64 = text.parse().map_err(|_| "not a number")?;
    if value.is_finite() { Ok(Some(value)) } else { Err("not finite") }
}

/// A date or a date with time; None for any other label.
fn date(text: &str) -> Option<DateTime> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(train: &str, horizon: usize, period: usize) -> Result<String, String> {
        let mut output = Vec::new();
        let request = Request { horizon, period };
        let done = run(train.as_bytes(), &mut output, request, &Params::default());
        match done {
            Ok(_) => Ok(String::from_utf8(output).unwrap()),
            Err(error) => {
                assert!(output.is_empty(), "nothing is written on an error");
                Err(error.to_string())
            }
        }
    }

    #[test]
    fn a_small_input() {
        let train = "y,series_id,note,ds\n4,b,,2024-01\n 2.5 ,a,x,2024-01-01\n4,b,,2024-02\nNA,a,,2024-02-01\n2.5,a,,2024-03-01\n";
        let wanted = "series_id,step,forecast,low_80,high_80\nb,1,4,4,4\nb,2,4,4,4\na,1,2.5,2.5,2.5\na,2,2.5,2.5,2.5\n";
        assert_eq!(told(train, 2, 1).as_deref(), Ok(wanted));
    }

    #[test]
    fn what_is_refused_and_where() {
        let good = "series_id,ds,y\na,2024-01-01,1\n";
        let table: [(&str, usize, usize, &str); 12] = [
            (good, 0, 1, "horizon 0 is not within 1 to 1000"),
            (good, 1, 0, "period 0 is not within 1 to 400"),
            ("series_id,y\na,1\n", 1, 1, "row 1: no column ds"),
            ("", 1, 1, "row 1: no column series_id"),
            ("series_id,ds,y\n", 1, 1, "row 2: no series"),
            ("series_id,ds,y\na,2024-01-01,1\na,2024-01-02,x\n", 1, 1, "row 3, column y: not a number"),
            ("series_id,ds,y\na,2024-01-01,inf\n", 1, 1, "row 2, column y: not finite"),
            ("series_id,ds,y\n,2024-01-01,1\n", 1, 1, "row 2, column series_id: empty"),
            (
                "series_id,ds,y\na,2024-01-02,1\nb,2024-01-01,1\na,2024-01-01,1\n",
                1,
                1,
                "row 4, column ds: not after the row before it of this series",
            ),
            (
                "series_id,ds,y\na,2024-01-02,1\na,2024-01-02,1\n",
                1,
                1,
                "row 3, column ds: not after the row before it of this series",
            ),
            ("series_id,ds,y\nb,1,2\na,1,\na,2,NaN\n", 1, 1, "series a, from row 3 on: no value"),
            (
                "series_id,ds,y\na,1\n",
                1,
                1,
                "row 2: CSV error: record 1 (line: 2, byte: 15): found record with 2 fields, but the previous record has 3 fields",
            ),
        ];
        for (train, horizon, period, wanted) in table {
            assert_eq!(told(train, horizon, period), Err(wanted.to_owned()), "{train:?}");
        }
    }

    #[test]
    fn series_share_a_calendar() {
        let of = |id: &str, dates: &[&str]| Given {
            id: id.to_owned(),
            row: 2,
            oldest: dates.first().and_then(|d| date(d)),
            newest: dates.last().and_then(|d| date(d)),
            values: vec![Some(1.0); dates.len()],
        };
        let weeks = of("a", &["2024-01-07", "2024-01-14", "2024-01-21"]);
        let later = of("b", &["2024-01-22", "2024-01-28"]);
        let single = of("c", &["2024-01-14"]);
        assert_eq!(first_steps(&[weeks, later, single]), [0, 2, 1], "a day beside the others is the same week");
        let label = of("d", &["week 9", "week 10"]);
        assert_eq!(first_steps(&[label]), [0]);
    }
}
