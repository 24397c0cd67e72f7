//! How unusual several metrics of one window are *together*: stakes and players may both be ordinary and their ratio not.
//!
//! History is made comparable (median and 1.4826 × median absolute deviation, Hampel 1974), turned onto its principal
//! axes (linfa's PCA) and described by a mixture of normal distributions on the axes that carry most of the variance
//! (linfa's GMM, fitted by EM: Dempster, Laird and Rubin 1977), with exponential tails (Huber 1964): a day on which all of
//! them are higher than ever before says little of how they fit each other. What a row has outside these axes counts as a
//! residual with the variance that history had there, as in probabilistic PCA (Tipping and Bishop 1999). The negative log
//! density of a row, its *energy*, is compared with the energies of history: the score is the share of history that
//! was less unusual, and beyond the most unusual row an exponential tail.

use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_clustering::GaussianMixtureModel;
use linfa_reduction::Pca;
use ndarray::{Array1, Array2, ArrayView1, Axis};
use rand_xoshiro::Xoshiro256Plus;
use rand_xoshiro::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

/// Metrics that one model may hold.
pub const METRICS_MAX: usize = 32;
/// Robust standard deviations at which a value is cut: one wild cell of history must not bend the axes.
const CLIP: f64 = 8.0;
/// Added to the variances of the mixture, in robust variances: a metric that never moved still has a width.
const VARIANCE_MIN: f64 = 0.01;

/// Standard deviations from the mean of a distribution behind which its tail is exponential.
const TAIL_FROM: f64 = 3.0;
/// Steps towards the likeliest value of a metric: each is exact where no tail is in the way.
const STEPS: usize = 8;

/// Parameters with their version: changed ones are another version.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DensityParams {
    /// Version.
    pub version: u32,
    /// Normal distributions in the mixture, at most.
    pub components_max: usize,
    /// Share of the variance that the kept axes carry.
    pub variance_kept: f64,
    /// Rows of history needed, times the number of metrics.
    pub rows_per_metric_min: usize,
    /// Reasons named in a verdict, at most.
    pub reasons_max: usize,
    /// Seed of the mixture's start.
    pub seed: u64,
}

impl Default for DensityParams {
    fn default() -> Self {
        Self { version: 1, components_max: 3, variance_kept: 0.95, rows_per_metric_min: 10, reasons_max: 3, seed: 1 }
    }
}

/// Why a density could not be made of a history.
#[derive(Debug, thiserror::Error)]
pub enum DensityError {
    /// Too few rows.
    #[error("{rows} rows of history, {wanted} wanted")]
    History {
        /// Rows given.
        rows: usize,
        /// Rows wanted.
        wanted: usize,
    },
    /// No metric, or too many.
    #[error("{0} metrics: 1 to {METRICS_MAX} wanted")]
    Metrics(usize),
    /// A cell that is no number.
    #[error("row {row}, metric {metric}: not a finite number")]
    Cell {
        /// Row from 0.
        row: usize,
        /// Metric from 0.
        metric: usize,
    },
    /// A row to be judged has another number of metrics.
    #[error("{got} metrics in the row, {wanted} in the model")]
    Width {
        /// Metrics of the row.
        got: usize,
        /// Metrics of the model.
        wanted: usize,
    },
    /// The axes could not be found.
    #[error("principal axes: {0}")]
    Axes(String),
    /// No mixture could be fitted, not even of one component.
    #[error("mixture: {0}")]
    Mixture(String),
}

/// One normal distribution of the mixture, on the kept axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Component {
    /// ln(weight) + ½ ln det(precision).
    log_height: f64,
    mean: Array1<f64>,
    precision: Array2<f64>,
}

/// A model of the history of several metrics of one operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Density {
    params: DensityParams,
    center: Array1<f64>,
    scale: Array1<f64>,
    /// Mean of the standardised history.
    mean: Array1<f64>,
    /// Kept axes × metrics, orthonormal.
    axes: Array2<f64>,
    components: Vec<Component>,
    /// Variance of what lies outside the kept axes, per dimension left out; 0 where none is.
    residual_variance: f64,
    /// Energies of history, ascending.
    energies: Vec<f64>,
    /// Mean excess of the highest tenth of the energies over its beginning: slope of the tail.
    tail: f64,
}

/// What a metric adds to the energy of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contribution {
    /// Number of the metric, from 0.
    pub metric: usize,
    /// Share of the row's excess energy that goes away when the metric has its expected value; at most 1.
    pub share: f64,
    /// What was seen.
    pub observed: f64,
    /// What the other metrics of the row let expect: where it is likeliest, they as they are.
    pub expected: f64,
    /// Standard deviation of the metric around that, the others as they are.
    pub spread: f64,
    /// √(2 × the energy that goes away with it): of one normal distribution, standard deviations from what is expected.
    pub distance: f64,
}

/// Judgement of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct DensityVerdict {
    /// Share of history that was less unusual, 0..=1; 0.999 is one row in a thousand.
    pub score: f64,
    /// Negative log density of the standardised row.
    pub energy: f64,
    /// The metrics that contribute most, heaviest first.
    pub reasons: Vec<Contribution>,
}

impl Density {
    /// Learns from `history`, one row a window and one column a metric.
    pub fn train(params: DensityParams, history: &Array2<f64>) -> Result<Self, DensityError> {
        let (rows, metrics) = history.dim();
        if metrics == 0 || metrics > METRICS_MAX {
            return Err(DensityError::Metrics(metrics));
        }
        let wanted = (params.rows_per_metric_min * metrics).max(2);
        if rows < wanted {
            return Err(DensityError::History { rows, wanted });
        }
        if let Some(((row, metric), _)) = history.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return Err(DensityError::Cell { row, metric });
        }
        let (center, scale): (Vec<f64>, Vec<f64>) = history.columns().into_iter().map(robust).unzip();
        let (center, scale) = (Array1::from(center), Array1::from(scale));
        let standard = ((history - &center) / &scale).mapv(|z| z.clamp(-CLIP, CLIP));
        let (mean, axes) = principal_axes(&standard, params.variance_kept)?;
        let scores = (&standard - &mean).dot(&axes.t());
        let outside = &standard - &mean - scores.dot(&axes);
        let left_out = metrics - axes.nrows();
        let residual_variance = match left_out {
            0 => 0.0,
            _ => (outside.mapv(|z| z * z).sum() / (rows * left_out) as f64).max(VARIANCE_MIN),
        };
        let components = mixture(&params, scores)?;
        let mut density =
            Self { params, center, scale, mean, axes, components, residual_variance, energies: Vec::new(), tail: 1.0 };
        let mut energies: Vec<f64> = standard.rows().into_iter().map(|row| density.energy(row)).collect();
        energies.sort_by(f64::total_cmp);
        let tenth = energies.len() - energies.len().div_ceil(10);
        let start = energies[tenth];
        density.tail = (energies[tenth..].iter().map(|e| e - start).sum::<f64>() / (rows - tenth) as f64).max(0.1);
        density.energies = energies;
        Ok(density)
    }

    /// Parameters the model was trained with.
    pub fn params(&self) -> &DensityParams {
        &self.params
    }

    /// Normal distributions the history was given; fewer than asked where history does not carry as many.
    pub fn components(&self) -> usize {
        self.components.len()
    }

    /// Judges one row of as many metrics as the model has.
    pub fn score(&self, row: &[f64]) -> Result<DensityVerdict, DensityError> {
        if row.len() != self.center.len() {
            return Err(DensityError::Width { got: row.len(), wanted: self.center.len() });
        }
        if let Some(metric) = row.iter().position(|value| !value.is_finite()) {
            return Err(DensityError::Cell { row: 0, metric });
        }
        // a value beyond any history stays beyond it, in numbers whose square is one
        let standard = ((&ArrayView1::from(row) - &self.center) / &self.scale).mapv(|z| z.clamp(-1e6, 1e6));
        let energy = self.energy(standard.view());
        Ok(DensityVerdict { score: self.rank(energy), energy, reasons: self.reasons(row, &standard, energy) })
    }

    /// Energy of a standardised row.
    fn energy(&self, standard: ArrayView1<'_, f64>) -> f64 {
        let centred = &standard - &self.mean;
        let scores = self.axes.dot(&centred);
        let logs = self.components.iter().map(|c| {
            let apart = &scores - &c.mean;
            c.log_height - huber(apart.dot(&c.precision.dot(&apart)))
        });
        let logs: Vec<f64> = logs.collect();
        let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logs.iter().map(|log| (log - highest).exp()).sum();
        let mut energy = -(highest + sum.ln());
        if self.residual_variance > 0.0 {
            let outside = (centred.dot(&centred) - scores.dot(&scores)).max(0.0);
            energy += 0.5 * outside / self.residual_variance;
        }
        energy
    }

    fn rank(&self, energy: f64) -> f64 {
        let n = self.energies.len() as f64;
        let below = self.energies.partition_point(|e| *e < energy);
        match self.energies.last() {
            Some(most) if energy > *most => 1.0 - (-(energy - most) / self.tail).exp() / (n + 1.0),
            _ => below as f64 / (n + 1.0),
        }
    }

    fn reasons(&self, row: &[f64], standard: &Array1<f64>, energy: f64) -> Vec<Contribution> {
        let typical = self.energies[self.energies.len() / 2];
        let excess = (energy - typical).max(f64::MIN_POSITIVE);
        let contribution = |metric: usize| {
            let (expected, spread, mended) = self.given_others(standard, metric)?;
            let (share, distance) = (((energy - mended) / excess).min(1.0), (2.0 * (energy - mended)).max(0.0).sqrt());
            let (center, scale) = (self.center[metric], self.scale[metric]);
            let (expected, spread) = (center + expected * scale, spread * scale);
            Some(Contribution { metric, share, observed: row[metric], expected, spread, distance })
        };
        let mut all: Vec<Contribution> = (0..row.len()).filter_map(contribution).filter(|c| c.distance > 0.0).collect();
        all.sort_by(|a, b| b.distance.total_cmp(&a.distance).then(a.metric.cmp(&b.metric)));
        all.truncate(self.params.reasons_max);
        all
    }

    /// Where a metric of a standardised row is likeliest, the others as they are: its mean and standard deviation in the
    /// component that has it so, and the energy of the row with it there.
    fn given_others(&self, standard: &Array1<f64>, metric: usize) -> Option<(f64, f64, f64)> {
        let within = |component: &Component| {
            let (expected, spread) = self.given_others_within(standard, metric, component)?;
            let mut mended = standard.clone();
            mended[metric] = expected;
            Some((expected, spread, self.energy(mended.view())))
        };
        self.components.iter().filter_map(within).min_by(|one, other| one.2.total_cmp(&other.2))
    }

    /// Along one metric the energy of a component is a parabola, but for its tails: the lowest point, found by weighing
    /// these down (Huber's weights), and how wide it is there.
    fn given_others_within(&self, standard: &Array1<f64>, metric: usize, component: &Component) -> Option<(f64, f64)> {
        let along = self.axes.column(metric);
        let mut centred = standard - &self.mean;
        let mut spread = 0.0;
        for _ in 0..STEPS {
            let scores = self.axes.dot(&centred);
            let apart = &scores - &component.mean;
            let pull = component.precision.dot(&apart);
            let weight = TAIL_FROM / apart.dot(&pull).max(0.0).sqrt().max(TAIL_FROM);
            let mut slope = weight * along.dot(&pull);
            let mut curve = weight * along.dot(&component.precision.dot(&along));
            if self.residual_variance > 0.0 {
                slope += (centred[metric] - along.dot(&scores)) / self.residual_variance;
                curve += (1.0 - along.dot(&along)).max(0.0) / self.residual_variance;
            }
            if curve.is_nan() || curve <= 0.0 {
                return None;
            }
            centred[metric] -= slope / curve;
            spread = curve.sqrt().recip();
        }
        Some((centred[metric] + self.mean[metric], spread))
    }
}

/// Half of a squared distance, and its tangent behind [`TAIL_FROM`].
fn huber(squared: f64) -> f64 {
    let distance = squared.max(0.0).sqrt();
    if distance <= TAIL_FROM { 0.5 * squared } else { TAIL_FROM * (distance - 0.5 * TAIL_FROM) }
}

/// Median and robust standard deviation; a column that hardly moves has a thousandth of its size, or 1.
fn robust(column: ArrayView1<'_, f64>) -> (f64, f64) {
    let mut values = column.to_vec();
    let center = median(&mut values);
    let mut apart: Vec<f64> = column.iter().map(|value| (value - center).abs()).collect();
    let spread = 1.4826 * median(&mut apart);
    if spread > 0.0 {
        return (center, spread);
    }
    // more than half of the values are the same: the mean deviation still sees the others
    let mean = apart.iter().sum::<f64>() / apart.len() as f64;
    let least = if center == 0.0 { 1.0 } else { center.abs() / 1000.0 };
    (center, if mean > 0.0 { mean } else { least })
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// Mean and the axes (as rows) that together carry `kept` of the variance; at least one.
fn principal_axes(standard: &Array2<f64>, kept: f64) -> Result<(Array1<f64>, Array2<f64>), DensityError> {
    let metrics = standard.ncols();
    let dataset = DatasetBase::from(standard.clone());
    let pca = Pca::params(metrics).fit(&dataset).map_err(|error| DensityError::Axes(error.to_string()))?;
    let power = pca.singular_values().mapv(|s| s * s);
    let total = power.sum();
    let mut carried = 0.0;
    let mut count = 0;
    while count < power.len() && (count == 0 || carried < kept * total) {
        carried += power[count];
        count += 1;
    }
    // a history that never moves has no axis of its own: any will do
    let axes = match count {
        0 => Array2::from_shape_fn((1, metrics), |(_, metric)| f64::from(u8::from(metric == 0))),
        _ => pca.components().slice(ndarray::s![..count, ..]).to_owned(),
    };
    if axes.iter().chain(pca.mean()).any(|v| !v.is_finite()) {
        return Err(DensityError::Axes("not finite".to_owned()));
    }
    Ok((pca.mean().clone(), axes))
}

/// The mixture with most components that the scores carry.
fn mixture(params: &DensityParams, scores: Array2<f64>) -> Result<Vec<Component>, DensityError> {
    if scores.iter().all(|score| score.abs() < 1e-9) {
        // nothing to fit: one distribution as narrow as any may be
        let precision = Array2::from_diag_elem(scores.ncols(), 1.0 / VARIANCE_MIN);
        let log_height = -0.5 * VARIANCE_MIN.ln() * scores.ncols() as f64;
        return Ok(vec![Component { log_height, mean: Array1::zeros(scores.ncols()), precision }]);
    }
    let dataset = DatasetBase::from(scores);
    let mut why = String::from("no component asked for");
    for count in (1..=params.components_max).rev() {
        let fitted = GaussianMixtureModel::params(count)
            .with_rng(Xoshiro256Plus::seed_from_u64(params.seed))
            .reg_covariance(VARIANCE_MIN)
            .max_n_iterations(200)
            .fit(&dataset);
        match fitted {
            Ok(model) => match components(&model) {
                Some(components) => return Ok(components),
                None => why = format!("{count} components: not finite"),
            },
            Err(error) => why = format!("{count} components: {error}"),
        }
    }
    Err(DensityError::Mixture(why))
}

fn components(model: &GaussianMixtureModel<f64>) -> Option<Vec<Component>> {
    let parts = model.means().rows().into_iter().zip(model.precisions().axis_iter(Axis(0))).zip(model.weights());
    parts
        .map(|((mean, precision), weight)| {
            let precision = precision.to_owned();
            let log_height = weight.ln() + 0.5 * log_determinant(&precision)?;
            let finite = log_height.is_finite() && mean.iter().all(|m| m.is_finite());
            finite.then(|| Component { log_height, mean: mean.to_owned(), precision })
        })
        .collect()
}

/// ln det of a symmetric positive definite matrix by Cholesky's decomposition; None where it is none.
fn log_determinant(matrix: &Array2<f64>) -> Option<f64> {
    let n = matrix.nrows();
    let mut lower = Array2::<f64>::zeros((n, n));
    let mut log = 0.0;
    for i in 0..n {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| lower[[i, k]] * lower[[j, k]]).sum();
            let left = matrix[[i, j]] - sum;
            if i == j {
                if left.is_nan() || left <= 0.0 {
                    return None;
                }
                lower[[i, i]] = left.sqrt();
                log += left.ln();
            } else {
                lower[[i, j]] = left / lower[[j, j]];
            }
        }
    }
    Some(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deterministic noise in -1..1 (xorshift, Marsaglia 2003).
    fn noise(state: &mut u64) -> f64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// Stakes, players, payouts and deposits of 400 windows: all follow how busy the day is.
    fn history() -> Array2<f64> {
        let mut state = 7;
        let mut rows = Vec::new();
        for day in 0..400 {
            let busy = 1.0 + f64::from(day % 7) / 7.0;
            let mut around = |mean: f64, spread: f64| busy * mean * (1.0 + spread * noise(&mut state));
            rows.extend([around(1000.0, 0.1), around(50.0, 0.1), around(920.0, 0.1), around(300.0, 0.2)]);
        }
        Array2::from_shape_vec((400, 4), rows).unwrap()
    }

    #[test]
    fn what_is_unusual_together_is_named() {
        let density = Density::train(DensityParams::default(), &history()).unwrap();
        let table: [(&str, [f64; 4], bool, Option<usize>); 6] = [
            ("an ordinary day", [1400.0, 70.0, 1290.0, 420.0], false, None),
            ("a busy day is busy in everything", [1850.0, 93.0, 1700.0, 560.0], false, None),
            ("many players, ordinary stakes", [1400.0, 200.0, 1290.0, 420.0], true, Some(1)),
            ("payouts of a busy day on a quiet one", [1020.0, 51.0, 1750.0, 310.0], true, Some(2)),
            ("deposits fell to nothing", [1400.0, 70.0, 1290.0, 0.0], true, Some(3)),
            ("stakes far beyond anything", [90_000.0, 70.0, 1290.0, 420.0], true, Some(0)),
        ];
        for (what, row, unusual, first) in table {
            let verdict = density.score(&row).unwrap();
            assert_eq!(verdict.score > 0.999, unusual, "{what}: {verdict:?}");
            if unusual {
                assert_eq!(verdict.reasons.first().map(|r| r.metric), first, "{what}: {verdict:?}");
                assert!(verdict.reasons[0].share > 0.5, "{what}: {verdict:?}");
            }
        }
    }

    #[test]
    fn a_metric_is_expected_where_the_others_of_its_row_let_expect_it() {
        let density = Density::train(DensityParams::default(), &history()).unwrap();
        // a quiet and a busy day on which three are as they should be, and players are not
        for (busy, players) in [(1.1, 100.0), (1.8, 20.0)] {
            let row = [1000.0 * busy, players, 920.0 * busy, 300.0 * busy];
            let verdict = density.score(&row).unwrap();
            let Contribution { metric, expected, spread, distance, .. } = verdict.reasons[0];
            assert_eq!(metric, 1, "{verdict:?}");
            assert!((expected - 50.0 * busy).abs() < 5.0, "not the mean of all days: {verdict:?}");
            assert!((players - expected).abs() > 3.0 * spread && spread > 0.0 && distance > 3.0, "{verdict:?}");
            let mended = density.score(&[row[0], expected, row[2], row[3]]).unwrap();
            assert!((verdict.energy - mended.energy - distance * distance / 2.0).abs() < 1e-6, "{mended:?}");
        }
        // all of them are low, as they never were, and none by itself
        let together = density.score(&[500.0, 25.0, 460.0, 150.0]).unwrap();
        assert!(together.score > 0.99, "{together:?}");
        assert!(together.reasons.iter().all(|reason| reason.share < 0.5), "{together:?}");
    }

    #[test]
    fn the_score_is_a_rank_in_history() {
        let rows = history();
        let density = Density::train(DensityParams::default(), &rows).unwrap();
        let above = rows.rows().into_iter().filter(|r| density.score(&r.to_vec()).unwrap().score > 0.9).count();
        assert!((30..=50).contains(&above), "a tenth of 400 rows ranks above nine tenths: {above}");
    }

    #[test]
    fn the_same_history_gives_the_same_model_and_it_is_kept_whole() {
        let density = Density::train(DensityParams::default(), &history()).unwrap();
        assert_eq!(density, Density::train(DensityParams::default(), &history()).unwrap());
        let kept: Density = postcard::from_bytes(&postcard::to_allocvec(&density).unwrap()).unwrap();
        let row = [1400.0, 200.0, 1290.0, 420.0];
        assert_eq!(kept.score(&row).unwrap(), density.score(&row).unwrap());
    }

    #[test]
    fn histories_that_say_little_are_taken_or_refused_by_name() {
        let constant = Array2::from_elem((100, 3), 5.0);
        let density = Density::train(DensityParams::default(), &constant).unwrap();
        assert!(density.score(&[5.0, 5.0, 5.0]).unwrap().score < 0.5);
        assert!(density.score(&[5.0, 9.0, 5.0]).unwrap().score > 0.999);

        let refused =
            |history: &Array2<f64>| Density::train(DensityParams::default(), history).unwrap_err().to_string();
        assert_eq!(refused(&Array2::zeros((5, 2))), "5 rows of history, 20 wanted");
        assert_eq!(refused(&Array2::zeros((5, 0))), "0 metrics: 1 to 32 wanted");
        let mut hole = history();
        hole[[3, 1]] = f64::NAN;
        assert_eq!(refused(&hole), "row 3, metric 1: not a finite number");
        assert_eq!(density.score(&[1.0]).unwrap_err().to_string(), "1 metrics in the row, 3 in the model");
    }
}
