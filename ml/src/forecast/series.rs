//! One series as the models take it: finite values in order of time, gaps bridged.

/// Values a series may have: what lies further back says nothing about the next year.
pub const VALUES_MAX: usize = 20_000;

/// Why a series cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// No value at all.
    #[error("no value")]
    Empty,
    /// Infinite.
    #[error("value {0} is not finite")]
    NotFinite(usize),
    /// More than [`VALUES_MAX`].
    #[error("more than {VALUES_MAX} values")]
    TooLong,
}

/// A series: at least one value, all finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    values: Vec<f64>,
    missing_last: usize,
    phase: usize,
}

impl Series {
    /// Takes values in order of time, `None` where one is missing. What is missing before the first value is left out, what
    /// is missing after the last one is forecast first, a gap within is bridged: by the values a period before and
    /// after it, moved to the level at its ends, or else by the line between its ends.
    pub fn new(values: &[Option<f64>], period: usize) -> Result<Self, SeriesError> {
        if values.len() > VALUES_MAX {
            return Err(SeriesError::TooLong);
        }
        if let Some(i) = values.iter().position(|v| v.is_some_and(|v| !v.is_finite())) {
            return Err(SeriesError::NotFinite(i));
        }
        let first = values.iter().position(Option::is_some).ok_or(SeriesError::Empty)?;
        let last = values.iter().rposition(Option::is_some).ok_or(SeriesError::Empty)?;
        let within = &values[first..=last];
        Ok(Self { values: filled(within, period), missing_last: values.len() - 1 - last, phase: first })
    }

    /// The same series with its first row (missing or not) at step `step` of a calendar that series of one input share, so
    /// that their seasons can be told from each other. Without, every first row is at step 0.
    pub fn at_step(mut self, step: usize) -> Self {
        self.phase += step;
        self
    }

    /// Step of the first known value in the common calendar.
    pub fn phase(&self) -> usize {
        self.phase
    }

    /// Values from the first to the last one known, gaps bridged.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Steps between the last known value and the end of what was given.
    pub fn missing_last(&self) -> usize {
        self.missing_last
    }
}

/// Bridges gaps. The first and the last value are there.
fn filled(values: &[Option<f64>], period: usize) -> Vec<f64> {
    let line = lines(values);
    let seasonal = |i: usize| {
        let neighbours = [i.checked_sub(period), i.checked_add(period)];
        let known = neighbours.into_iter().flatten().filter_map(|j| {
            let value = values.get(j).copied().flatten()?;
            Some(value - local(&line, j, period) + local(&line, i, period))
        });
        let known: Vec<f64> = known.collect();
        (period > 1 && !known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    let at = |(i, value): (usize, &Option<f64>)| value.or_else(|| seasonal(i)).unwrap_or(line[i]);
    values.iter().enumerate().map(at).collect()
}

/// Mean of up to a period around a place: its level.
fn local(values: &[f64], i: usize, period: usize) -> f64 {
    let from = i.saturating_sub(period / 2);
    let to = (i + period / 2 + 1).min(values.len());
    values[from..to].iter().sum::<f64>() / (to - from) as f64
}

/// Straight lines across the gaps.
fn lines(values: &[Option<f64>]) -> Vec<f64> {
    let mut filled: Vec<f64> = Vec::with_capacity(values.len());
    let mut gap = 0;
    for value in values {
        let Some(value) = value else {
            gap += 1;
            continue;
        };
        let from = filled.last().copied().unwrap_or(*value);
        filled.extend((1..=gap).map(|k| from + (value - from) * f64::from(k) / f64::from(gap + 1)));
        filled.push(*value);
        gap = 0;
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &[Option<f64>], period: usize, wanted: Result<(&[f64], usize), SeriesError>) {
        let got = Series::new(given, period);
        assert_eq!(got.as_ref().map(|s| (s.values(), s.missing_last())).map_err(|e| *e), wanted, "{given:?}");
    }

    #[test]
    fn gaps_and_ends() {
        let (a, none) = (Some(1.0), None);
        check(&[a, Some(2.0)], 1, Ok((&[1.0, 2.0], 0)));
        check(&[none, a, none, none, Some(4.0), none], 1, Ok((&[1.0, 2.0, 3.0, 4.0], 1)));
        check(&[none, none], 1, Err(SeriesError::Empty));
        check(&[], 1, Err(SeriesError::Empty));
        check(&[a, Some(f64::NAN)], 1, Err(SeriesError::NotFinite(1)));
        check(&[a, Some(f64::INFINITY)], 1, Err(SeriesError::NotFinite(1)));
        check(&vec![a; VALUES_MAX + 1], 1, Err(SeriesError::TooLong));
    }

    #[test]
    fn the_calendar_counts_what_is_missing_before() {
        let series = Series::new(&[None, None, Some(1.0)], 12).unwrap();
        assert_eq!((series.phase(), series.at_step(5).phase()), (2, 7));
    }

    #[test]
    fn a_gap_keeps_the_season() {
        let mut given: Vec<Option<f64>> = (0..16).map(|i| Some([10.0, 20.0, 30.0, 100.0][i % 4])).collect();
        given[7] = None;
        let series = Series::new(&given, 4).unwrap();
        assert!((series.values()[7] - 100.0).abs() < 25.0, "{:?}", series.values());
    }
}
