//! Does what is scored still look like what was learnt from, and do the probabilities still hold?
//!
//! Population stability index (PSI) of every feature and of the score against the training rows: Σ (now − then) ·
//! ln(now / then) over bins of equal count (Lewis 1994; Siddiqi 2006, who gives the two thresholds). Calibration on
//! feedback with labels: Spiegelhalter's z (1986), which is standard normal while the probabilities hold.

use super::bins;
use super::exact;
use super::metrics::{CALIBRATION_BINS, calibration_error, outcome};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// Bins of equal count that a feature is watched in, missing values not counted.
pub const BINS: usize = 10;
/// Where bins of a probability end. Bins of equal count would tell apart what does not matter: a model that is sure gives
/// nearly everything the same score, and the models of the folds, by which training is known, another one in the fourth
/// digit.
const SCORE_EDGES: [f64; 11] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95];
/// From here on a shift is worth a look (Siddiqi 2006).
pub const PSI_MODERATE: f64 = 0.1;
/// From here on the model should be learnt anew (Siddiqi 2006).
pub const PSI_SIGNIFICANT: f64 = 0.25;
/// Rows before a PSI is told: with ten bins chance alone then brings about 9 / 500 (Yurdakul 2018).
pub const ROWS_MIN: u64 = 500;
/// Size of Spiegelhalter's z from which the probabilities do not hold: chance alone in one of 370 looks.
pub const Z_MAX: f64 = 3.0;
/// Labelled rows before calibration is told.
pub const FEEDBACK_MIN: usize = 100;
/// Share of an empty bin, so that the logarithm has something to hold on to.
const SHARE_MIN: f64 = 1e-4;

/// Shares of the training rows by bin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Where bins end, ascending.
    #[serde(with = "exact")]
    edges: Vec<f64>,
    /// Shares, that of missing values last.
    #[serde(with = "exact")]
    shares: Vec<f64>,
}

/// What training looked like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    features: Vec<Histogram>,
    score: Histogram,
}

/// How far a distribution has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shift {
    /// Below [`PSI_MODERATE`].
    Stable,
    /// Below [`PSI_SIGNIFICANT`].
    Moderate,
    /// From there on.
    Significant,
}

impl Shift {
    fn of(psi: f64) -> Self {
        match psi {
            psi if psi < PSI_MODERATE => Self::Stable,
            psi if psi < PSI_SIGNIFICANT => Self::Moderate,
            _ => Self::Significant,
        }
    }
}

/// A feature's, or the score's, shift.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stability {
    /// Population stability index.
    pub psi: f64,
    /// What it means.
    pub shift: Shift,
}

/// Whether probabilities hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Labelled rows.
    pub rows: usize,
    /// Mean probability.
    pub expected: f64,
    /// Share of positive labels.
    pub observed: f64,
    /// Expected calibration error.
    pub error: f64,
    /// Spiegelhalter's z.
    pub z: f64,
    /// Is z within [`Z_MAX`]?
    pub holds: bool,
}

/// What a watch has seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftReport {
    /// Rows scored.
    pub rows: u64,
    /// One a feature; empty before [`ROWS_MIN`] rows.
    pub features: Vec<Stability>,
    /// Of the score; None before [`ROWS_MIN`] rows.
    pub score: Option<Stability>,
}

impl Histogram {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        Self::within(bins::edges(values.clone().map(|value| (value, 1.0)), BINS), values)
    }

    fn within(edges: Vec<f64>, values: impl Iterator<Item = f64>) -> Self {
        let mut counts = vec![0u64; edges.len() + 2];
        values.for_each(|value| counts[bins::bin(&edges, value)] += 1);
        let shares = shares(&counts);
        Self { edges, shares }
    }

    fn psi(&self, counts: &[u64]) -> f64 {
        let floor = |share: f64| share.max(SHARE_MIN);
        let pairs = self.shares.iter().zip(shares(counts)).map(|(then, now)| (floor(*then), floor(now)));
        pairs.map(|(then, now)| (now - then) * (now / then).ln()).sum()
    }

    fn is_sound(&self) -> bool {
        self.shares.len() == self.edges.len() + 2
            && self.edges.windows(2).all(|w| w[0] < w[1])
            && self.shares.iter().all(|share| (0.0..=1.0).contains(share))
    }
}

fn shares(counts: &[u64]) -> Vec<f64> {
    let all = counts.iter().sum::<u64>().max(1) as f64;
    counts.iter().map(|count| *count as f64 / all).collect()
}

impl Baseline {
    /// `values`: rows × features of training; `scores`: their held-out probabilities, since a model is too sure of rows
    /// that it has learnt from.
    pub(super) fn of(values: &Array2<f64>, scores: &[f64]) -> Self {
        let features = values.columns().into_iter().map(|column| Histogram::of(column.iter().copied())).collect();
        Self { features, score: Histogram::within(SCORE_EDGES.to_vec(), scores.iter().copied()) }
    }

    pub(super) fn is_sound(&self, features: usize) -> bool {
        self.features.len() == features && self.features.iter().chain([&self.score]).all(Histogram::is_sound)
    }
}

/// Counts of what is scored.
#[derive(Clone, Debug)]
pub struct Watch {
    baseline: Baseline,
    rows: u64,
    features: Vec<Vec<u64>>,
    scores: Vec<u64>,
}

impl Watch {
    /// Nothing seen yet.
    pub fn new(baseline: Baseline) -> Self {
        let features = baseline.features.iter().map(|h| vec![0; h.shares.len()]).collect();
        let scores = vec![0; baseline.score.shares.len()];
        Self { baseline, rows: 0, features, scores }
    }

    /// A row was scored. `row`: one value a feature, NaN where it is missing.
    ///
    /// # Panics
    /// With another number of features.
    pub fn scored(&mut self, row: &[f64], score: f64) {
        assert_eq!(row.len(), self.features.len(), "as many values as features");
        self.rows += 1;
        for ((histogram, counts), value) in self.baseline.features.iter().zip(&mut self.features).zip(row) {
            counts[bins::bin(&histogram.edges, *value)] += 1;
        }
        self.scores[bins::bin(&self.baseline.score.edges, score)] += 1;
    }

    /// Begins to count anew.
    pub fn begin(&mut self) {
        self.rows = 0;
        self.features.iter_mut().for_each(|counts| counts.fill(0));
        self.scores.fill(0);
    }

    /// What has been seen so far.
    pub fn report(&self) -> DriftReport {
        let judge = |histogram: &Histogram, counts: &Vec<u64>| {
            let psi = histogram.psi(counts);
            Stability { psi, shift: Shift::of(psi) }
        };
        let enough = self.rows >= ROWS_MIN;
        let features = self.baseline.features.iter().zip(&self.features).filter(|_| enough);
        DriftReport {
            rows: self.rows,
            features: features.map(|(histogram, counts)| judge(histogram, counts)).collect(),
            score: enough.then(|| judge(&self.baseline.score, &self.scores)),
        }
    }
}

impl Calibration {
    /// Of probabilities and of what turned out to be true; none of fewer than [`FEEDBACK_MIN`].
    #[must_use]
    pub fn of(feedback: &[(f64, bool)]) -> Option<Self> {
        (feedback.len() >= FEEDBACK_MIN).then(|| calibration(feedback))
    }
}

fn calibration(feedback: &[(f64, bool)]) -> Calibration {
    let (scores, labels): (Vec<f64>, Vec<bool>) = feedback.iter().copied().unzip();
    let n = scores.len() as f64;
    let pairs = || scores.iter().zip(&labels).map(|(p, y)| (*p, outcome(*y)));
    let distance: f64 = pairs().map(|(p, y)| (y - p) * (1.0 - 2.0 * p)).sum();
    let variance: f64 = pairs().map(|(p, _)| (1.0 - 2.0 * p).powi(2) * p * (1.0 - p)).sum();
    let z = if variance > 0.0 { distance / variance.sqrt() } else { 0.0 };
    Calibration {
        rows: scores.len(),
        expected: scores.iter().sum::<f64>() / n,
        observed: pairs().map(|(_, y)| y).sum::<f64>() / n,
        error: calibration_error(&scores, &labels, CALIBRATION_BINS),
        z,
        holds: z.abs() <= Z_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tabular::chance::Chance;

    fn uniform(rows: usize, seed: u64) -> Vec<f64> {
        let mut chance = Chance::new(seed, 0);
        (0..rows).map(|_| chance.below(1_000_000) as f64 / 1e6).collect()
    }

    #[test]
    fn the_index_by_hand() {
        let histogram = Histogram { edges: vec![0.5], shares: vec![0.5, 0.5, 0.0] };
        let psi = histogram.psi(&[75, 25, 0]);
        assert!((psi - (0.25 * 1.5f64.ln() - 0.25 * 0.5f64.ln())).abs() < 1e-12, "{psi}");
        assert_eq!(histogram.psi(&[7, 7, 0]), 0.0);
        assert!(histogram.psi(&[50, 50, 100]) > PSI_SIGNIFICANT, "values that were never missing are");
        let levels = [0.0, 0.0999, 0.1, 0.2499, 0.25, 9.0].map(Shift::of);
        use Shift::{Moderate, Significant, Stable};
        assert_eq!(levels, [Stable, Stable, Moderate, Moderate, Significant, Significant]);
    }

    #[test]
    fn a_feature_that_moves_is_named_and_the_others_are_not() {
        let values = Array2::from_shape_vec((4_000, 2), uniform(8_000, 1)).unwrap();
        let baseline = Baseline::of(&values, &uniform(4_000, 2));
        let mut watch = Watch::new(baseline);
        let (a, b) = (uniform(2_000, 3), uniform(2_000, 4));
        for (i, (x, y)) in a.iter().zip(&b).enumerate() {
            watch.scored(&[*x, y * y], *x);
            assert_eq!(watch.report().score.is_some(), i as u64 + 1 >= ROWS_MIN);
        }
        let report = watch.report();
        let shifts: Vec<Shift> = report.features.iter().map(|s| s.shift).collect();
        assert_eq!(shifts, [Shift::Stable, Shift::Significant], "{report:?}");
        assert_eq!(report.score.map(|s| s.shift), Some(Shift::Stable));
        watch.begin();
        assert_eq!((watch.report().rows, watch.report().score), (0, None));
    }

    #[test]
    fn probabilities_hold_until_the_world_changes() {
        const ROWS: usize = 10_000;
        let table = [("as said", 1.0, true), ("half as often", 0.5, false)];
        for (what, factor, holds) in table {
            let draws = uniform(ROWS, 5).into_iter().zip(uniform(ROWS, 6));
            let feedback: Vec<(f64, bool)> = draws.map(|(p, draw)| (p, draw < p * factor)).collect();
            let calibration = Calibration::of(&feedback).unwrap();
            assert_eq!((calibration.holds, calibration.rows), (holds, ROWS), "{what}: {calibration:?}");
            assert_eq!(Calibration::of(&feedback[..FEEDBACK_MIN - 1]), None);
        }
    }
}
