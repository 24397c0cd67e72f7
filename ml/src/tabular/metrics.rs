//! How good scores are: area under the ROC curve, average precision, Brier score, calibration error.
//!
//! Ties count as ties: rows of one score are neither before nor behind each other. Every slice is one value a row.

use serde::{Deserialize, Serialize};

/// Bins of the expected calibration error, each with the same number of rows.
pub const CALIBRATION_BINS: usize = 10;

/// Metrics of scores that are probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Rows.
    pub rows: usize,
    /// Rows of the positive class.
    pub positives: usize,
    /// Area under the receiver operating characteristic.
    pub auc: f64,
    /// Area under the precision-recall curve, as average precision.
    pub average_precision: f64,
    /// Mean squared difference of probability and outcome (Brier 1950).
    pub brier: f64,
    /// Mean negative log-likelihood.
    pub log_loss: f64,
    /// Expected calibration error over [`CALIBRATION_BINS`].
    pub calibration_error: f64,
}

impl Metrics {
    /// None where a class is missing: then nothing can be ranked.
    ///
    /// # Panics
    /// Where there are not as many labels as scores.
    pub fn of(probabilities: &[f64], labels: &[bool]) -> Option<Self> {
        let (auc, average_precision) = ranking(probabilities, labels)?;
        Some(Self {
            rows: labels.len(),
            positives: labels.iter().filter(|y| **y).count(),
            auc,
            average_precision,
            brier: brier(probabilities, labels),
            log_loss: log_loss(probabilities, labels),
            calibration_error: calibration_error(probabilities, labels, CALIBRATION_BINS),
        })
    }
}

/// Area under the ROC curve and average precision (sum of precision × step of recall over the distinct scores).
/// None where a class is missing.
///
/// # Panics
/// Where there are not as many labels as scores.
pub fn ranking(scores: &[f64], labels: &[bool]) -> Option<(f64, f64)> {
    assert_eq!(scores.len(), labels.len(), "a label for every score");
    let positives = labels.iter().filter(|y| **y).count() as f64;
    let negatives = labels.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let (mut area, mut precision, mut hits, mut misses) = (0.0, 0.0, 0.0, 0.0);
    for group in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
        let hits_here = group.iter().filter(|i| labels[**i]).count() as f64;
        let misses_here = group.len() as f64 - hits_here;
        area += misses_here * (hits + hits_here / 2.0);
        hits += hits_here;
        misses += misses_here;
        precision += hits_here / positives * hits / (hits + misses);
    }
    Some((area / (positives * negatives), precision))
}

/// Standard error of an area under the ROC curve of independent rows (Hanley and McNeil 1982); NaN without rows of a class.
pub fn auc_error(auc: f64, positives: usize, negatives: usize) -> f64 {
    if positives == 0 || negatives == 0 {
        return f64::NAN;
    }
    let (p, n) = (positives as f64, negatives as f64);
    let (two_positives, two_negatives) = (auc / (2.0 - auc), 2.0 * auc * auc / (1.0 + auc));
    let beyond = (p - 1.0) * (two_positives - auc * auc) + (n - 1.0) * (two_negatives - auc * auc);
    ((auc * (1.0 - auc) + beyond) / (p * n)).sqrt()
}

/// Mean squared difference of probability and outcome; 0 without rows.
pub fn brier(probabilities: &[f64], labels: &[bool]) -> f64 {
    let sum: f64 = probabilities.iter().zip(labels).map(|(p, y)| (p - outcome(*y)).powi(2)).sum();
    sum / labels.len().max(1) as f64
}

/// Mean negative log-likelihood, probabilities held away from 0 and 1 by 1e-12; 0 without rows.
pub fn log_loss(probabilities: &[f64], labels: &[bool]) -> f64 {
    let of = |(p, y): (&f64, &bool)| -if *y { p.max(1e-12).ln() } else { (1.0 - p).max(1e-12).ln() };
    probabilities.iter().zip(labels).map(of).sum::<f64>() / labels.len().max(1) as f64
}

/// Expected calibration error: over bins of equal count in the order of the probability, the mean difference of mean
/// probability and share of positives, weighted by rows (Naeini et al. 2015, with bins of equal count).
pub fn calibration_error(probabilities: &[f64], labels: &[bool], bins: usize) -> f64 {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
    let mut sum = 0.0;
    for bin in 0..bins {
        let rows = &order[bin * order.len() / bins..(bin + 1) * order.len() / bins];
        sum += rows.iter().map(|i| probabilities[*i] - outcome(labels[*i])).sum::<f64>().abs();
    }
    sum / labels.len().max(1) as f64
}

pub(super) fn outcome(label: bool) -> f64 {
    f64::from(u8::from(label))
}

/// 1 / (1 + e^-x), without overflow.
pub(super) fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// The log-odds of a probability, held away from 0 and 1 by 1e-6.
pub(super) fn log_odds(probability: f64) -> f64 {
    let p = probability.clamp(1e-6, 1.0 - 1e-6);
    (p / (1.0 - p)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let (y, n) = (true, false);
        // (what, scores, labels, AUC, average precision)
        type Row<'a> = (&'a str, &'a [f64], &'a [bool], f64, f64);
        let table: [Row<'_>; 5] = [
            ("in order", &[0.9, 0.8, 0.2, 0.1], &[y, y, n, n], 1.0, 1.0),
            ("upside down", &[0.1, 0.2, 0.8, 0.9], &[y, y, n, n], 0.0, 0.5 * (1.0 / 3.0) + 0.5 * (2.0 / 4.0)),
            ("one pair wrong", &[0.9, 0.3, 0.5, 0.1], &[y, y, n, n], 0.75, 0.5 + 0.5 * (2.0 / 3.0)),
            ("all alike", &[0.5; 4], &[y, n, n, n], 0.5, 0.25),
            ("a tie of both classes", &[0.7, 0.7, 0.1], &[y, n, n], 0.75, 0.5),
        ];
        for (what, scores, labels, auc, precision) in table {
            let got = ranking(scores, labels).unwrap();
            assert!((got.0 - auc).abs() < 1e-12 && (got.1 - precision).abs() < 1e-12, "{what}: {got:?}");
        }
        assert_eq!(ranking(&[0.1, 0.2], &[y, y]), None);
        assert_eq!(ranking(&[], &[]), None);
    }

    #[test]
    fn errors_of_an_area_by_hand() {
        // (area, positives, negatives, its standard error): a half has √((p + n + 1) / 12 p n) of the Mann–Whitney statistic
        let table = [(0.5, 100, 100, (201.0f64 / 120_000.0).sqrt()), (0.893, 51, 58, 0.032_5), (1.0, 10, 10, 0.0)];
        for (auc, positives, negatives, wanted) in table {
            let got = auc_error(auc, positives, negatives);
            assert!((got - wanted).abs() < 1e-4, "{auc}: {got}");
        }
        assert!([(0, 0), (3, 0), (0, 3)].iter().all(|(p, n)| auc_error(0.5, *p, *n).is_nan()));
    }

    #[test]
    fn probabilities_by_hand() {
        let (p, labels) = ([0.1, 0.9, 0.6, 0.4], [false, true, false, true]);
        assert!((brier(&p, &labels) - (0.01 + 0.01 + 0.36 + 0.36) / 4.0).abs() < 1e-12);
        let log = -(0.9f64.ln() * 2.0 + 0.4f64.ln() * 2.0) / 4.0;
        assert!((log_loss(&p, &labels) - log).abs() < 1e-12);
        // two bins: {0.1, 0.4} with one positive, {0.6, 0.9} with one
        assert!((calibration_error(&p, &labels, 2) - (0.5 + 0.5) / 4.0).abs() < 1e-12);
        assert_eq!(calibration_error(&[], &[], 10), 0.0);
        assert!((sigmoid(log_odds(0.25)) - 0.25).abs() < 1e-12);
        assert_eq!((sigmoid(-1e9), sigmoid(1e9)), (0.0, 1.0));
    }
}
