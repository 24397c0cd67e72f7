//! The density of several metrics as a stream: rows are judged one by one, and history is fitted anew now and then.
//!
//! ```text
//! row ─▶ density of the rows before it ─▶ distance ─▶ tail of earlier distances ─▶ score     (some ten thousand operations)
//! once a day: the newest rows ─▶ `Fit::run`, wherever there is time ─▶ `Together::take`   (some ten million, see there)
//! ```
//! A metric's distance is by how many standard deviations it is off from what the others of its row let expect, and the
//! one that fits them least decides. That all of them rise or fall at once is the business of each one's own detector.
//!
//! The rank of a row among the rows that the density was fitted to is no rate of alerts: these rows were what it was
//! made for. So a distance is held against the metric's distances in earlier rows, each judged before it was learnt, by
//! the same block maxima as a member of a [`super::Detector`]: a score means the same in both.
//!
//! A fit is due behind a row and is of the rows up to that one. Nothing is judged before it is taken: where and when
//! it is worked out changes no score.

use super::density::{Contribution, Density, DensityError, DensityParams, DensityVerdict};
use super::detector::THRESHOLD;
use super::tail::{BLOCK, Tail};
use models::ts::Ts;
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Largest distance: what lies beyond is as surprising.
const DISTANCE_MAX: f64 = 1e6;

/// Parameters with their version (the density's): changed ones are another version.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TogetherParams {
    /// Of the density. The first fit waits for its rows; only metrics among its reasons are judged.
    pub density: DensityParams,
    /// Rows remembered, the newest.
    pub rows_max: usize,
    /// Time between the newest rows of two fits, microseconds.
    pub refit_after: i64,
    /// Surprise that makes a score of 0.5, as of a detector.
    pub surprise_alert: f64,
    /// Rows after an alert within which no other is given.
    pub rest_rows: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Fitted {
    /// Time of its newest row.
    until: Ts,
    density: Density,
}

/// A metric's part in a verdict, in the unit of the rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Number of the metric, from 0.
    pub metric: usize,
    /// Spreads above the usual largest distance of 100 rows.
    pub surprise: f64,
    /// What was seen.
    pub observed: f64,
    /// What the other metrics of the row let expect.
    pub expected: f64,
    /// Lowest and highest value that would be no alert, the others as they are.
    pub band: (f64, f64),
}

/// Judgement of a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TogetherVerdict {
    /// 0..=1, at least 0.5 for an alert; half as high while it rests after one; 0 while it learns.
    pub score: f64,
    /// Is this an alert?
    pub alert: bool,
    /// The metrics that fit the others less than usual, from half of an alert's score on: the least fitting first.
    pub parts: Vec<Part>,
}

/// A fit that is due: a function of the rows alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    until: Ts,
    params: DensityParams,
    rows: Array2<f64>,
}

impl Fit {
    /// Time of its newest row.
    pub fn until(&self) -> Ts {
        self.until
    }

    /// Works it out. Of n rows of d metrics and k components an iteration of the mixture takes about 4·n·k·d² operations,
    /// and there are at most 200; its start is the best of ten of k-means, of at most 300 iterations of 2·n·k·d each. With
    /// 1,008 rows, 4 metrics and 3 components that is 0.2 and 0.02 million an iteration: some ten million where it
    /// converges as usual, and 120 million at most.
    ///
    /// # Errors
    /// [`DensityError`]: history cannot be described.
    pub fn run(&self) -> Result<Density, DensityError> {
        Density::train(self.params, &self.rows)
    }
}

/// Rows of several metrics, and what they have taught.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Together {
    params: TogetherParams,
    metrics: usize,
    /// Rows remembered, oldest first, metric by metric.
    cells: VecDeque<f64>,
    newest_at: Option<Ts>,
    /// Newest row of the newest fit, whatever became of it.
    tried_at: Option<Ts>,
    fitted: Option<Fitted>,
    /// Of each metric.
    tails: Vec<Tail>,
    in_block: u32,
    resting: u32,
}

impl Together {
    /// Nothing is known of so many metrics.
    pub fn new(params: TogetherParams, metrics: usize) -> Self {
        Self {
            params,
            metrics,
            cells: VecDeque::new(),
            newest_at: None,
            tried_at: None,
            fitted: None,
            tails: vec![Tail::default(); metrics],
            in_block: 0,
            resting: 0,
        }
    }

    /// Parameters it was made with.
    pub fn params(&self) -> &TogetherParams {
        &self.params
    }

    /// Rows remembered.
    pub fn rows(&self) -> usize {
        self.cells.len() / self.metrics.max(1)
    }

    /// Newest row that the density in force was fitted to.
    pub fn fitted_at(&self) -> Option<Ts> {
        self.fitted.as_ref().map(|fitted| fitted.until)
    }

    /// Does it still learn what is usual? It says nothing before two blocks of rows were judged.
    pub fn is_learning(&self) -> bool {
        self.fitted.is_none() || self.tails.iter().any(|tail| tail.value_of(0.0).is_none())
    }

    /// Is it as large as it says, of these parameters and so many metrics? For states that were kept.
    pub fn is_sound(&self, params: &TogetherParams, metrics: usize) -> bool {
        let is_wide = self.metrics == metrics && metrics > 0 && self.tails.len() == metrics;
        let is_whole = is_wide && self.cells.len().is_multiple_of(metrics);
        is_whole && self.params == *params && self.rows() <= params.rows_max
    }

    /// The fit without which the next row is not to be judged, if one is due.
    pub fn due_fit(&self) -> Option<Fit> {
        let until = self.due_until()?;
        let cell = |(row, metric): (usize, usize)| self.cells[row * self.metrics + metric];
        let rows = Array2::from_shape_fn((self.rows(), self.metrics), cell);
        Some(Fit { until, params: self.params.density, rows })
    }

    /// The newest row where a fit is due.
    fn due_until(&self) -> Option<Ts> {
        let newest =
            self.newest_at.filter(|_| self.rows() >= self.params.density.rows_per_metric_min * self.metrics)?;
        let is_old = |tried: Ts| newest.0.saturating_sub(tried.0) >= self.params.refit_after;
        self.tried_at.is_none_or(is_old).then_some(newest)
    }

    /// Is one due?
    pub fn waits_for_fit(&self) -> bool {
        self.due_until().is_some()
    }

    /// What came of the fit of the rows until then; without a density the one before stays. Others than the one that is
    /// due are not taken.
    pub fn take(&mut self, until: Ts, density: Option<Density>) {
        if self.due_until() != Some(until) {
            return;
        }
        self.tried_at = Some(until);
        if let Some(density) = density {
            self.fitted = Some(Fitted { until, density });
        }
    }

    /// Judges the next row and learns it.
    ///
    /// # Errors
    /// [`DensityError::Width`], [`DensityError::Cell`]: nothing is learnt.
    pub fn observe(&mut self, at: Ts, row: &[f64]) -> Result<TogetherVerdict, DensityError> {
        if row.len() != self.metrics {
            return Err(DensityError::Width { got: row.len(), wanted: self.metrics });
        }
        if let Some(metric) = row.iter().position(|value| !value.is_finite()) {
            return Err(DensityError::Cell { row: 0, metric });
        }
        let seen = self.fitted.as_ref().map(|fitted| fitted.density.score(row)).transpose()?;
        let verdict = seen.map_or_else(TogetherVerdict::default, |seen| self.judge(&seen));
        while self.rows() >= self.params.rows_max {
            self.cells.drain(..self.metrics);
        }
        self.cells.extend(row);
        self.newest_at = Some(at);
        Ok(verdict)
    }

    fn judge(&mut self, seen: &DensityVerdict) -> TogetherVerdict {
        let parts = self.parts(seen);
        let surprise = parts.first().map_or(0.0, |part| part.surprise);
        let score = surprise / (surprise + self.params.surprise_alert);
        let resting = self.resting > 0;
        let alert = score >= THRESHOLD && !resting;
        self.resting = if alert { self.params.rest_rows } else { self.resting.saturating_sub(1) };
        self.learn(seen);
        let is_worth_it = score >= THRESHOLD / 2.0;
        TogetherVerdict {
            score: if resting { score / 2.0 } else { score },
            alert,
            parts: if is_worth_it { parts } else { Vec::new() },
        }
    }

    /// Metrics that fit the others less than usual; none before two blocks are over.
    fn parts(&self, seen: &DensityVerdict) -> Vec<Part> {
        let part = |of: &Contribution| {
            let Contribution { metric, observed, expected, spread, distance, .. } = *of;
            let surprise = self.tails[metric].surprise(distance.min(DISTANCE_MAX));
            let reach = self.tails[metric].value_of(self.params.surprise_alert)?;
            let band = (expected - reach * spread, expected + reach * spread);
            (surprise > 0.0).then_some(Part { metric, surprise, observed, expected, band })
        };
        let mut parts: Vec<Part> = seen.reasons.iter().filter_map(part).collect();
        parts.sort_by(|one, other| other.surprise.total_cmp(&one.surprise).then(one.metric.cmp(&other.metric)));
        parts
    }

    fn learn(&mut self, seen: &DensityVerdict) {
        for reason in &seen.reasons {
            self.tails[reason.metric].push(reason.distance.min(DISTANCE_MAX));
        }
        self.in_block += 1;
        if self.in_block >= BLOCK {
            self.in_block = 0;
            self.tails.iter_mut().for_each(Tail::close);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ts::{DAY, HOUR};

    const PARAMS: TogetherParams = TogetherParams {
        density: DensityParams {
            version: 1,
            components_max: 2,
            variance_kept: 0.95,
            rows_per_metric_min: 40,
            reasons_max: 3,
            seed: 1,
        },
        rows_max: 200,
        refit_after: DAY,
        surprise_alert: 5.0,
        rest_rows: 24,
    };

    /// Noise between −1 and 1 that is the same every time.
    fn noise(n: i64) -> f64 {
        let mixed = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// Three metrics that rise and fall together.
    fn row(n: i64) -> [f64; 3] {
        let common = noise(n);
        [common + 0.1 * noise(n + 100_000), common + 0.1 * noise(n + 200_000), common + 0.1 * noise(n + 300_000)]
    }

    fn at(n: i64) -> Ts {
        Ts(n * HOUR)
    }

    fn hear(model: &mut Together, n: i64, row: &[f64]) -> TogetherVerdict {
        if let Some(fit) = model.due_fit() {
            model.take(fit.until(), fit.run().ok());
        }
        model.observe(at(n), row).unwrap()
    }

    #[test]
    fn what_does_not_fit_together_is_told_once_and_by_name() {
        let mut model = Together::new(PARAMS, 3);
        for n in 0..500 {
            let verdict = hear(&mut model, n, &row(n));
            assert!(verdict.score < THRESHOLD && !verdict.alert, "row {n}: {verdict:?}");
            assert_eq!(model.is_learning(), n < 320 - 1, "120 rows are fitted to, 200 are judged: row {n}");
        }
        assert_eq!((model.rows(), model.fitted_at()), (200, Some(at(119 + 15 * 24))));
        // beyond anything before, and all of them alike
        let beyond = model.clone().observe(at(500), &[3.0, 3.0, 3.0]).unwrap();
        assert!(beyond.score < THRESHOLD, "{beyond:?}");
        // each of the three was as high and as low before
        let odd = [0.8, -0.8, 0.8];
        let verdict = hear(&mut model, 500, &odd);
        assert!(verdict.alert && verdict.score >= THRESHOLD, "{verdict:?}");
        let first = verdict.parts[0];
        assert_eq!((first.metric, first.observed), (1, -0.8), "{verdict:?}");
        assert!((first.expected - 0.8).abs() < 0.2 && first.surprise > PARAMS.surprise_alert, "{verdict:?}");
        let (low, high) = first.band;
        assert!(-0.8 < low && low < first.expected && first.expected < high, "{verdict:?}");
        for (n, alert) in [(501, false), (524, false), (525, true)] {
            let mut resting = model.clone();
            (501..n).for_each(|n| drop(hear(&mut resting, n, &row(n))));
            let again = hear(&mut resting, n, &odd);
            assert_eq!(again.alert, alert, "row {n}: {again:?}");
        }
    }

    #[test]
    fn a_fit_is_of_the_rows_before_and_of_no_others() {
        let mut model = Together::new(PARAMS, 3);
        (0..119).for_each(|n| drop(hear(&mut model, n, &row(n))));
        assert_eq!(model.due_fit(), None, "a row too few");
        hear(&mut model, 119, &row(119));
        let fit = model.due_fit().unwrap();
        assert_eq!((fit.until(), fit.rows.dim()), (at(119), (120, 3)));
        assert_eq!(fit.rows.row(119).to_vec(), row(119));
        // one of other rows is not taken
        model.take(at(118), fit.run().ok());
        assert_eq!((model.fitted_at(), model.waits_for_fit()), (None, true));
        // one that failed is not tried again before its day is over
        model.take(at(119), None);
        assert_eq!((model.fitted_at(), model.waits_for_fit()), (None, false));
        for n in 120..144 {
            assert!(!model.waits_for_fit(), "row {n}");
            hear(&mut model, n, &row(n));
        }
        let fit = model.due_fit().unwrap();
        assert_eq!(fit.until(), at(143));
        model.take(fit.until(), fit.run().ok());
        assert_eq!(model.fitted_at(), Some(at(143)));
        // a failure leaves what was there
        (144..168).for_each(|n| drop(model.observe(at(n), &row(n)).unwrap()));
        model.take(at(167), None);
        assert_eq!((model.fitted_at(), model.waits_for_fit()), (Some(at(143)), false));
    }

    #[test]
    fn a_state_cut_anywhere_goes_on_as_if_it_were_not() {
        let story = |n: i64| if n % 97 == 0 { [0.9, -0.9, 0.9] } else { row(n) };
        let mut whole = Together::new(PARAMS, 3);
        let wanted: Vec<TogetherVerdict> = (0..450).map(|n| hear(&mut whole, n, &story(n))).collect();
        assert!(wanted.iter().any(|verdict| verdict.score > 0.0));
        // before a fit, with one due, behind it, and late
        for cut in [60, 120, 121, 400] {
            let mut model = Together::new(PARAMS, 3);
            let mut found: Vec<TogetherVerdict> = (0..cut).map(|n| hear(&mut model, n, &story(n))).collect();
            let bytes = postcard::to_allocvec(&model).unwrap();
            let mut back: Together = postcard::from_bytes(&bytes).unwrap();
            assert_eq!(back, model);
            found.extend((cut..450).map(|n| hear(&mut back, n, &story(n))));
            assert_eq!(found, wanted, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_row_teaches_nothing() {
        let mut model = Together::new(PARAMS, 3);
        assert!(matches!(model.observe(at(0), &[1.0]), Err(DensityError::Width { got: 1, wanted: 3 })));
        let hole = model.observe(at(0), &[1.0, f64::NAN, 1.0]);
        assert!(matches!(hole, Err(DensityError::Cell { row: 0, metric: 1 })));
        assert_eq!(model, Together::new(PARAMS, 3));
        assert!(model.is_sound(&PARAMS, 3) && !model.is_sound(&PARAMS, 4));
        assert!(!model.is_sound(&TogetherParams { rest_rows: 25, ..PARAMS }, 3));
        model.cells.push_back(1.0);
        assert!(!model.is_sound(&PARAMS, 3), "a third of a row");
    }
}
