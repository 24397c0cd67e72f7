//! An operator's figures of an hour together: stakes, players and count may each be as usual, and not fit each other.
//!
//! What each series' detector expected of the hour takes the rhythm of the week out of a figure: a row holds by how much
//! each is off, as a logarithm, in units of what so many records let vary by chance. Revenue and hold are what stakes
//! and payouts make of them: in a row beside these they would say the same again, and no figure could be named as the
//! one that does not fit, because the others would still add up to it (docs/adr/0028).

use super::series::PARAMS_VERSION;
use crate::kernel::guard;
use ml::anomaly::Params;
use ml::anomaly::density::{Density, DensityParams};
use ml::anomaly::together::{Fit, Part, Together, TogetherParams, TogetherVerdict};
use models::alert::{Granularity, Metric, Window};
use models::money::Currency;
use models::series::{Oddity, SeriesKey, SeriesReason, SeriesScore};
use models::ts::{DAY, Ts};
use serde::{Deserialize, Serialize};

/// Figures of a row.
pub(super) const FIGURES: [Metric; 4] = [Metric::Count, Metric::Stakes, Metric::Payouts, Metric::UniquePlayers];
/// Their places among [`Metric::OF_RECORDS`].
const PLACES: [usize; 4] = [0, 1, 2, 4];
/// Currencies of an operator whose figures are looked at together.
pub(super) const TOGETHER_MAX: usize = 8;
/// Hours remembered: six weeks.
const ROWS_MAX: usize = 6 * 168;
/// Hours from which on history is described: a week of them.
const ROWS_MIN: usize = 168;
/// Bytes of a currency as it is kept, at most: rows, energies of the density, and the rest of it.
pub(super) const TOGETHER_BYTES_MAX: usize = ROWS_MAX * 8 * (FIGURES.len() + 1) + 4_000;
/// Chance lets a figure of so many records vary by 2 %, and 2 % more is no chance's.
const RECORDS_OF_CHANCE: f64 = 2_500.0;
/// Money is compared above so much of the expected stakes: an hour without a payout is low, and not infinitely low.
const MONEY_FLOOR: f64 = 0.05;

/// Alerts in 1,000 hours where nothing happens, as of a detector: a surprise of 7. Wanted are at most 0.002 alerts an
/// operator and day (docs/adr/0028).
const ALERT_RATE: f64 = 0.02;

/// What figures together are judged by.
pub(crate) fn params() -> TogetherParams {
    TogetherParams {
        density: DensityParams {
            version: PARAMS_VERSION,
            rows_per_metric_min: ROWS_MIN / FIGURES.len(),
            reasons_max: FIGURES.len(),
            ..DensityParams::default()
        },
        rows_max: ROWS_MAX,
        refit_after: DAY,
        surprise_alert: Params::with_alert_rate(ALERT_RATE).surprise_alert,
        rest_rows: 160,
    }
}

/// A figure of an hour and what its series let expect of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figure {
    pub value: i64,
    pub expected: f64,
}

/// The figures of an hour, as a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hour {
    values: [i64; 4],
    expected: [f64; 4],
    /// What is added to both sides of a ratio.
    floors: [f64; 4],
    /// One over what chance lets a ratio vary by.
    precision: f64,
}

impl Hour {
    /// Of the figures of all metrics, in the order of [`Metric::OF_RECORDS`]; none where one is missing.
    pub fn of(figures: &[Option<Figure>; Metric::OF_RECORDS.len()]) -> Option<Self> {
        if figures.iter().any(Option::is_none) {
            return None;
        }
        let [count, stakes, payouts, players] = PLACES.map(|place| figures[place]);
        let figures = [count?, stakes?, payouts?, players?];
        let expected = figures.map(|figure| figure.expected.max(0.0));
        let money = 1.0 + MONEY_FLOOR * expected[1];
        Some(Self {
            values: figures.map(|figure| figure.value),
            expected,
            floors: [1.0, money, money, 1.0],
            precision: (1.0 / expected[0].max(1.0) + 1.0 / RECORDS_OF_CHANCE).sqrt().recip(),
        })
    }

    fn row(&self) -> [f64; 4] {
        std::array::from_fn(|i| {
            let value = (self.values[i] as f64).max(0.0);
            self.precision * ((value + self.floors[i]) / (self.expected[i] + self.floors[i])).ln()
        })
    }

    /// The value of a figure whose cell of the row would be this.
    fn value(&self, figure: usize, cell: f64) -> i64 {
        let value = (self.expected[figure] + self.floors[figure]) * (cell / self.precision).exp() - self.floors[figure];
        value.max(0.0).round() as i64
    }

    fn reason(&self, part: &Part) -> SeriesReason {
        SeriesReason {
            oddity: Oddity::Together,
            surprise_milli: (part.surprise * 1e3).round() as i64,
            observed: self.values[part.metric],
            usual: self.value(part.metric, part.expected),
            metric: Some(FIGURES[part.metric]),
        }
    }

    /// What is said of it: as a point of the series that fits the others least.
    fn score(&self, place: (Currency, Window), rows: usize, verdict: &TogetherVerdict) -> Option<SeriesScore> {
        let first = verdict.parts.first()?;
        let ((currency, window), metric) = (place, FIGURES[first.metric]);
        Some(SeriesScore {
            series: SeriesKey { granularity: Granularity::Hour, currency, metric },
            window,
            value: self.values[first.metric],
            score_ppm: ppm(verdict.score),
            is_alert: verdict.alert,
            expected: self.value(first.metric, first.expected),
            band: Some((self.value(first.metric, first.band.0), self.value(first.metric, first.band.1))),
            points: rows as u64,
            reasons: verdict.parts.iter().map(|part| self.reason(part)).collect(),
            told: None,
        })
    }
}

pub(super) fn ppm(share: f64) -> u32 {
    (share * 1e6).round() as u32
}

/// The newest hour whose figures were judged together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewestRow {
    /// It.
    pub window: Window,
    /// How unusual, in millionths; 0 while it learns.
    pub score_ppm: u32,
}

/// The figures of a currency together, as they are shown.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct TogetherView {
    pub currency: Currency,
    /// Nothing is said of them yet.
    pub is_learning: bool,
    /// Hours remembered.
    pub rows: usize,
    /// First instant of the newest hour that the density in force describes.
    pub fitted_at: Option<Ts>,
    pub newest: NewestRow,
}

/// A fit of a currency's figures that is due.
pub(super) struct DueFit {
    currency: Currency,
    fit: Fit,
}

/// What came of one.
pub(super) struct DoneFit {
    pub currency: Currency,
    until: Ts,
    /// None where history could not be described: what was in force stays.
    density: Option<Density>,
}

impl DueFit {
    /// Works it out: some ten million operations.
    pub fn run(&self) -> DoneFit {
        let density = match guard(|| self.fit.run()) {
            Ok(Ok(density)) => Ok(density),
            Ok(Err(error)) => Err(error.to_string()),
            Err(panic) => Err(panic.to_string()),
        };
        if let Err(error) = &density {
            tracing::warn!(currency = %self.currency, error, "an operator's figures together are not described anew");
        }
        DoneFit { density: density.ok(), ..self.failed() }
    }

    /// As if nothing came of it.
    pub fn failed(&self) -> DoneFit {
        DoneFit { currency: self.currency, until: self.fit.until(), density: None }
    }
}

impl DoneFit {
    /// Did it fail?
    pub fn is_failed(&self) -> bool {
        self.density.is_none()
    }
}

/// What of an hour is said of its figures together.
pub(super) struct Said {
    /// Worth a word, if it is.
    pub score: Option<SeriesScore>,
    /// A panic, or a row that is none: nothing is learnt.
    pub is_failed: bool,
}

/// The figures of one currency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Figures {
    model: Together,
    newest: NewestRow,
}

impl Figures {
    /// Nothing is known; the first row will be of this hour.
    pub fn new(window: Window) -> Self {
        Self { model: Together::new(params(), FIGURES.len()), newest: NewestRow { window, score_ppm: 0 } }
    }

    /// Is it one that this release can go on with?
    pub fn is_sound(&self) -> bool {
        self.model.is_sound(&params(), FIGURES.len())
    }

    /// Must a fit be taken before the next hour is judged?
    pub fn waits_for_fit(&self) -> bool {
        self.model.waits_for_fit()
    }

    pub fn due_fit(&self, currency: Currency) -> Option<DueFit> {
        self.model.due_fit().map(|fit| DueFit { currency, fit })
    }

    pub fn take(&mut self, done: DoneFit) {
        self.model.take(done.until, done.density);
    }

    pub fn view(&self, currency: Currency) -> TogetherView {
        TogetherView {
            currency,
            is_learning: self.model.is_learning(),
            rows: self.model.rows(),
            fitted_at: self.model.fitted_at(),
            newest: self.newest,
        }
    }

    /// Judges an hour and learns it; what is said has a score of `worth_it` or more.
    pub fn hear(&mut self, place: (Currency, Window), hour: &Hour, worth_it: f64) -> Said {
        let rows = self.model.rows();
        // a panic must not leave a model half-way, nor its operator's market without a state
        let mut model = self.model.clone();
        let Ok(Ok(verdict)) = guard(|| model.observe(place.1.start, &hour.row())) else {
            return Said { score: None, is_failed: true };
        };
        self.model = model;
        self.newest = NewestRow { window: place.1, score_ppm: ppm(verdict.score) };
        let score = if verdict.score >= worth_it { hour.score(place, rows, &verdict) } else { None };
        Said { score, is_failed: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(values: [(i64, f64); 6]) -> [Option<Figure>; 6] {
        values.map(|(value, expected)| Some(Figure { value, expected }))
    }

    #[test]
    fn a_row_holds_by_how_much_each_figure_is_off() {
        assert_eq!(PLACES.map(|place| Metric::OF_RECORDS[place]), FIGURES);
        let usual = [(500, 500.0), (70_000, 70_000.0), (63_000, 63_000.0), (7_000, 7_000.0), (40, 40.0), (100, 100.0)];
        let hour = Hour::of(&figures(usual)).unwrap();
        assert_eq!(hour.row(), [0.0; 4]);
        // 4.9 % is what chance and 2 % let 500 records vary by
        assert!((hour.precision - 20.4).abs() < 0.1, "{hour:?}");
        let mut odd = usual;
        odd[1].0 = 105_000;
        let hour = Hour::of(&figures(odd)).unwrap();
        let row = hour.row();
        assert_eq!([row[0], row[2], row[3]], [0.0; 3]);
        assert!((row[1] - 20.4 * 1.476f64.ln()).abs() < 0.1, "{row:?}");
        // and back
        assert_eq!((hour.value(1, row[1]), hour.value(1, 0.0), hour.value(3, -1e9)), (105_000, 70_000, 0));
    }

    #[test]
    fn a_row_is_finite_and_whole_or_none() {
        let table = [
            ("nothing at all", [(0, 0.0); 6]),
            ("more is taken back than staked", [(60, 70.0), (-5, 4.0), (0, 3.0), (-5, 1.0), (9, 9.0), (0, 1.0)]),
            ("nothing is expected", [(60, -1.0), (i64::MAX, -1.0), (i64::MAX, 0.0), (0, 0.0), (9, 0.0), (0, 0.0)]),
        ];
        for (what, values) in table {
            let row = Hour::of(&figures(values)).unwrap().row();
            assert!(row.iter().all(|cell| cell.is_finite()), "{what}: {row:?}");
        }
        for missing in 0..6 {
            let mut some = figures([(1, 1.0); 6]);
            some[missing] = None;
            assert_eq!(Hour::of(&some), None, "metric {missing}");
        }
    }
}
