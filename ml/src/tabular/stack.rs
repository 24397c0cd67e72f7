//! What each member's word counts: a logistic regression on the members' held-out log-odds with weights ≥ 0.
//!
//! Stacked generalisation (Wolpert 1992) with non-negative weights (Breiman 1996), drawn towards each other: few rows
//! cannot tell the members apart. Intercept and sum of the weights calibrate, as Platt (1999) does with one score, so
//! that the answer is a probability.

use super::exact;
use super::metrics::{outcome, sigmoid};
use super::solve::solve;
use serde::{Deserialize, Serialize};

/// Members' log-odds beyond this count as this.
const REACH: f64 = 12.0;
const STEPS_MAX: usize = 100;

/// Intercept and weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stack {
    /// The intercept first.
    #[serde(with = "exact")]
    weights: Vec<f64>,
}

impl Stack {
    /// `scores`: each row's log-odds by member. `l2`: pull of the weights towards each other.
    pub(super) fn fit(scores: &[Vec<f64>], labels: &[bool], l2: f64) -> Self {
        let members = scores.first().map_or(0, Vec::len);
        let equal = 1.0 / members.max(1) as f64;
        let mut weights = vec![equal; members + 1];
        weights[0] = 0.0;
        let mut current = loss(scores, labels, l2, &weights);
        for _ in 0..STEPS_MAX {
            let (gradient, hessian) = derivatives(scores, labels, l2, &weights);
            // a weight at 0 that would fall stays there
            let free: Vec<usize> =
                (0..=members).filter(|i| *i == 0 || weights[*i] > 0.0 || gradient[*i] < 0.0).collect();
            let matrix = free.iter().map(|i| free.iter().map(|j| hessian[*i][*j]).collect()).collect();
            let Some(step) = solve(matrix, free.iter().map(|i| gradient[*i]).collect()) else { break };
            let better = (0..30).find_map(|halvings| {
                let mut next = weights.clone();
                for (i, delta) in free.iter().zip(&step) {
                    next[*i] -= delta / f64::from(1u32 << halvings);
                    next[*i] = if *i == 0 { next[*i] } else { next[*i].max(0.0) };
                }
                let loss = loss(scores, labels, l2, &next);
                (loss < current).then_some((next, loss))
            });
            let Some((next, loss)) = better else { break };
            let gained = current - loss;
            (weights, current) = (next, loss);
            if gained < 1e-10 * current.abs() {
                break;
            }
        }
        Self { weights }
    }

    /// Log-odds of the members' ones.
    pub(super) fn log_odds(&self, scores: &[f64]) -> f64 {
        self.weights[0] + self.weights[1..].iter().zip(scores).map(|(w, z)| w * held(*z)).sum::<f64>()
    }

    pub(super) fn intercept(&self) -> f64 {
        self.weights[0]
    }

    /// One a member.
    pub(super) fn weights(&self) -> &[f64] {
        &self.weights[1..]
    }

    /// Without the members whose flag is not set.
    pub(super) fn only(&self, kept: &[bool]) -> Self {
        let rest = self.weights[1..].iter().zip(kept).filter(|(_, kept)| **kept).map(|(weight, _)| *weight);
        Self { weights: std::iter::once(self.weights[0]).chain(rest).collect() }
    }

    pub(super) fn is_sound(&self, members: usize) -> bool {
        self.weights.len() == members + 1 && self.weights.iter().all(|weight| weight.is_finite())
    }
}

/// A member's log-odds as they count.
pub(super) fn held(log_odds: f64) -> f64 {
    log_odds.clamp(-REACH, REACH)
}

fn mean(weights: &[f64]) -> f64 {
    weights.iter().sum::<f64>() / weights.len().max(1) as f64
}

fn score(weights: &[f64], row: &[f64]) -> f64 {
    weights[0] + weights[1..].iter().zip(row).map(|(w, z)| w * held(*z)).sum::<f64>()
}

fn loss(scores: &[Vec<f64>], labels: &[bool], l2: f64, weights: &[f64]) -> f64 {
    let mean = mean(&weights[1..]);
    let rows = scores.iter().zip(labels).map(|(row, label)| {
        let margin = score(weights, row) * if *label { 1.0 } else { -1.0 };
        (-margin).max(0.0) + (-margin.abs()).exp().ln_1p()
    });
    rows.sum::<f64>() + 0.5 * l2 * weights[1..].iter().map(|w| (w - mean).powi(2)).sum::<f64>()
}

fn derivatives(scores: &[Vec<f64>], labels: &[bool], l2: f64, weights: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = weights.len();
    let (mut gradient, mut hessian) = (vec![0.0; n], vec![vec![0.0; n]; n]);
    let mut z = vec![1.0; n];
    for (row, label) in scores.iter().zip(labels) {
        z[1..].iter_mut().zip(row).for_each(|(slot, value)| *slot = held(*value));
        let p = sigmoid(score(weights, row));
        let curvature = p * (1.0 - p);
        for i in 0..n {
            gradient[i] += (p - outcome(*label)) * z[i];
            for j in 0..n {
                hessian[i][j] += curvature * z[i] * z[j];
            }
        }
    }
    // the pull is towards the members' mean, whose size is free: that is what calibrates
    let (mean, members) = (mean(&weights[1..]), (n - 1) as f64);
    for i in 1..n {
        gradient[i] += l2 * (weights[i] - mean);
        for (j, cell) in hessian[i].iter_mut().enumerate().skip(1) {
            *cell += l2 * (if i == j { 1.0 } else { 0.0 } - 1.0 / members);
        }
    }
    // keeps the equations solvable where every answer is sure
    (0..n).for_each(|i| hessian[i][i] += 1e-9);
    (gradient, hessian)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tabular::chance::Chance;

    /// Scores of a good member, its noise, and one that says the opposite.
    fn members(rows: usize) -> (Vec<Vec<f64>>, Vec<bool>) {
        let mut chance = Chance::new(11, 0);
        let mut unit = || chance.below(1_000_000) as f64 / 1e6;
        let mut scores = Vec::new();
        let mut labels = Vec::new();
        for _ in 0..rows {
            let truth = 6.0 * unit() - 3.0;
            labels.push(unit() < sigmoid(truth));
            scores.push(vec![2.0 * truth, 4.0 * unit() - 2.0, 2.0 * unit() - 1.0 - truth / 2.0]);
        }
        (scores, labels)
    }

    #[test]
    fn the_good_one_is_calibrated_and_the_others_are_not_heard() {
        let (scores, labels) = members(20_000);
        let stack = Stack::fit(&scores, &labels, 0.0);
        let [good, noise, opposite] = stack.weights() else { panic!("three members") };
        assert!((good - 0.5).abs() < 0.03, "{good}: its log-odds are twice too great");
        assert!(*noise < 0.05 && *opposite < 0.05, "{noise} {opposite}");
        assert!(stack.intercept().abs() < 0.1);
    }

    #[test]
    fn without_rows_that_tell_all_count_alike() {
        let (scores, labels) = members(20);
        let stack = Stack::fit(&scores, &labels, 1e9);
        assert!(stack.weights().iter().all(|w| (w - stack.weights()[0]).abs() < 1e-6), "{stack:?}");
        assert_eq!(stack.only(&[true, false, true]).weights().len(), 2);
        let none = Stack::fit(&[], &[], 1.0);
        assert!(none.is_sound(0) && none.log_odds(&[]) == 0.0);
    }
}
