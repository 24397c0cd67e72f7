//! A model of rows with a label: a committee, what each member's word counts, and how good that is on rows held out.
//!
//! Everything that is chosen from the rows – trees of a booster, weights, calibration – is chosen on rows that the
//! members have not seen: whole groups of rows where the table says whose they are (`folds`), else blocks in their
//! order where rows are in order of time, else stratified folds, more than once.

use super::booster::{self, HoldOut};
use super::dataset::Labelled;
use super::design;
use super::folds::assignments;
use super::forest;
use super::members::{Committee, MemberKind};
use super::metrics::{Metrics, ranking, sigmoid};
use super::stack::Stack;
use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

/// Rows of each class that are needed.
pub const CLASS_ROWS_MIN: usize = 10;
/// A member that counts less than this is left out.
const WEIGHT_MIN: f64 = 0.02;
/// Rows that the mean parts of the features are taken over.
const IMPORTANCE_ROWS: usize = 1_000;

/// Why nothing was learnt.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TrainError {
    /// Too few rows of a class.
    #[error("{rows} rows of label {label}, at least {CLASS_ROWS_MIN} are needed")]
    TooFewRows {
        /// The label.
        label: String,
        /// Its rows.
        rows: usize,
    },
    /// Rows in order of time, whose classes follow each other.
    #[error("without rows {from} to {to} there is but one label: they cannot be held out to judge the model")]
    OneClassFold {
        /// First row of the fold, from 1.
        from: usize,
        /// Last row of the fold.
        to: usize,
    },
    /// All rows of a label are of one group.
    #[error("the rows of a label are all of one group: without it there is but one label to learn from")]
    OneClassGroup,
    /// A member could not be fitted.
    #[error("the member {name} cannot be fitted: {reason}")]
    Member {
        /// Which.
        name: &'static str,
        /// What its library says.
        reason: String,
    },
}

/// How rows are held out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Rows are in order of time: folds are blocks of it.
    InTime,
    /// Rows are of independent subjects: stratified folds, drawn this many times.
    Shuffled(usize),
}

/// How a model is learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Params {
    /// How rows are held out.
    pub order: Order,
    /// Folds.
    pub folds: usize,
    /// Who is asked.
    pub members: Vec<MemberKind>,
    /// Boosters of different seeds.
    pub bags: usize,
    /// Rows of the greater class that logistic members see for each of the smaller one.
    pub linear_rows: usize,
    /// Boosters.
    pub booster: booster::Params,
    /// Forest.
    pub forest: forest::Params,
    /// Weight of the squared weights of linear members.
    pub linear_l2: f64,
    /// Features made of features.
    pub design: design::Params,
    /// Pull of the members' weights towards each other, in the units of the log-likelihood's curvature.
    pub stack_l2: f64,
    /// Of all chance.
    pub seed: u64,
}

/// What was learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    features: usize,
    committee: Committee,
    stack: Stack,
}

/// A member and what it is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberReport {
    /// Which.
    pub name: MemberKind,
    /// What its word counts.
    pub weight: f64,
    /// Area under the ROC curve of its held-out answers.
    pub auc: f64,
    /// Average precision of its held-out answers.
    pub average_precision: f64,
}

/// A model and what is known of it.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The model.
    pub model: Model,
    /// Held-out metrics, members' weights taken from the other folds.
    pub metrics: Metrics,
    /// Each member asked.
    pub members: Vec<MemberReport>,
    /// Trees of each booster.
    pub rounds: usize,
    /// Held-out probability of each row; the mean where it was held out more than once.
    pub held_out: Vec<f64>,
}

/// The held-out answers of all folds.
struct HeldOut {
    rows: Vec<usize>,
    folds: Vec<usize>,
    scores: Vec<Vec<f64>>,
    labels: Vec<bool>,
}

impl Model {
    /// Learns from rows with both labels.
    ///
    /// # Errors
    /// Too few rows of a class, or a member that cannot be fitted.
    pub fn fit(data: &Labelled, params: &Params) -> Result<Fitted, TrainError> {
        let (values, labels) = (data.table.values.view(), data.labels.as_slice());
        for (label, class) in [("positive", true), ("negative", false)] {
            let rows = labels.iter().filter(|y| **y == class).count();
            if rows < CLASS_ROWS_MIN {
                return Err(TrainError::TooFewRows { label: label.to_owned(), rows });
            }
        }
        let (held, rounds) = hold_out(data, params)?;
        let stack = Stack::fit(&held.scores, &held.labels, params.stack_l2);
        let probabilities = held.cross_fitted(params);
        let members = held.members(&stack, params);
        let one_class = TrainError::OneClassFold { from: 1, to: labels.len() };
        let metrics = Metrics::of(&probabilities, &held.labels).ok_or(one_class)?;
        // a row that was held out more than once is one row
        let positives = labels.iter().filter(|y| **y).count();
        let metrics = Metrics { rows: labels.len(), positives, ..metrics };

        let kept: Vec<bool> = stack.weights().iter().map(|weight| *weight >= WEIGHT_MIN).collect();
        let asked = params.members.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(kind, _)| *kind).collect();
        let mut last = Params { members: asked, ..params.clone() };
        last.booster.rounds_max = rounds;
        let (committee, _) = Committee::fit(values, labels, &last, None)?;
        let model = Self { features: values.ncols(), committee, stack: stack.only(&kept) };
        let mut held_out = vec![(0.0, 0.0); labels.len()];
        for (row, p) in held.rows.iter().zip(&probabilities) {
            held_out[*row].0 += p;
            held_out[*row].1 += 1.0;
        }
        let held_out = held_out.iter().map(|(sum, times)| sum / times).collect();
        Ok(Fitted { model, metrics, members, rounds, held_out })
    }

    /// Features of a row.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Probability of the positive label. `row`: one value a feature, NaN where it is missing.
    ///
    /// # Panics
    /// With another number of features.
    pub fn score(&self, row: &[f64]) -> f64 {
        assert_eq!(row.len(), self.features, "as many values as features");
        sigmoid(self.stack.log_odds(&self.committee.predict(row)))
    }

    /// Probability of each row. `values`: rows × features.
    ///
    /// # Panics
    /// With another number of features.
    pub fn scores(&self, values: ArrayView2<'_, f64>) -> Vec<f64> {
        values.rows().into_iter().map(|row| self.score(&row.to_vec())).collect()
    }

    /// Each feature's part of a row's log-odds (those made behind the plain ones), and the part that is no feature's.
    /// They add up to the log-odds of [`Self::score`].
    ///
    /// # Panics
    /// With another number of features.
    pub fn explain(&self, row: &[f64]) -> (Vec<f64>, f64) {
        assert_eq!(row.len(), self.features, "as many values as features");
        let (parts, rest) = self.committee.explain(row, self.stack.weights());
        (parts, rest + self.stack.intercept())
    }

    /// Names of the features, those made behind the plain ones.
    pub fn names(&self, plain: &[String]) -> Vec<String> {
        self.committee.design().names(plain)
    }

    /// The features that moved a row's score most, with their parts of the log-odds, greatest first.
    ///
    /// # Panics
    /// With another number of features or names.
    pub fn reasons(&self, plain: &[String], row: &[f64], most: usize) -> Vec<(String, f64)> {
        assert_eq!(plain.len(), self.features, "as many names as features");
        let (parts, _) = self.explain(row);
        let mut named: Vec<(String, f64)> = self.names(plain).into_iter().zip(parts).collect();
        named.retain(|(_, part)| *part != 0.0);
        named.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        named.truncate(most);
        named
    }

    /// Mean size of each feature's part over the first rows spread evenly, and its share of the boosters' gain.
    pub fn importance(&self, values: &Array2<f64>) -> Vec<(f64, f64)> {
        let step = values.nrows().div_ceil(IMPORTANCE_ROWS).max(1);
        let rows: Vec<usize> = (0..values.nrows()).step_by(step).collect();
        let gains = self.committee.gains();
        let mut sums = vec![0.0; gains.len()];
        for row in &rows {
            let (parts, _) = self.explain(&values.row(*row).to_vec());
            sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part.abs());
        }
        sums.iter().zip(gains).map(|(sum, gain)| (sum / rows.len().max(1) as f64, gain)).collect()
    }

    /// Is it one that can be asked? What was read from outside is asked this once.
    pub(super) fn is_sound(&self) -> bool {
        self.committee.is_sound(self.features) && self.stack.is_sound(self.committee.members())
    }
}

impl HeldOut {
    /// Probabilities with weights from the rows of the other folds.
    fn cross_fitted(&self, params: &Params) -> Vec<f64> {
        let mut out = vec![0.0; self.labels.len()];
        for fold in 0..params.folds {
            let others: Vec<usize> = (0..out.len()).filter(|i| self.folds[*i] != fold).collect();
            let scores: Vec<Vec<f64>> = others.iter().map(|i| self.scores[*i].clone()).collect();
            let labels: Vec<bool> = others.iter().map(|i| self.labels[*i]).collect();
            let stack = Stack::fit(&scores, &labels, params.stack_l2);
            for i in (0..out.len()).filter(|i| self.folds[*i] == fold) {
                out[i] = sigmoid(stack.log_odds(&self.scores[i]));
            }
        }
        out
    }

    fn members(&self, stack: &Stack, params: &Params) -> Vec<MemberReport> {
        let report = |(at, (name, weight)): (usize, (&MemberKind, &f64))| {
            let scores: Vec<f64> = self.scores.iter().map(|row| row[at]).collect();
            let (auc, average_precision) = ranking(&scores, &self.labels).unwrap_or_default();
            MemberReport { name: *name, weight: *weight, auc, average_precision }
        };
        params.members.iter().zip(stack.weights()).enumerate().map(report).collect()
    }
}

/// Fits the committee without each fold and asks it about that fold; also the trees that were best.
fn hold_out(data: &Labelled, params: &Params) -> Result<(HeldOut, usize), TrainError> {
    let (values, labels, groups) = (data.table.values.view(), data.labels.as_slice(), data.sides.groups.as_deref());
    let mut parts = Vec::new();
    let mut curve: Vec<f64> = Vec::new();
    for folds in assignments(labels, groups, params) {
        for fold in 0..params.folds {
            let (inner, outer): (Vec<usize>, Vec<usize>) = (0..labels.len()).partition(|row| folds[*row] != fold);
            // there are fewer groups than folds
            if outer.is_empty() {
                continue;
            }
            let of = |rows: &[usize]| rows.iter().map(|row| labels[*row]).collect::<Vec<bool>>();
            let (inner_labels, outer_labels) = (of(&inner), of(&outer));
            if inner_labels.iter().all(|y| *y) || !inner_labels.contains(&true) {
                if groups.is_some() {
                    return Err(TrainError::OneClassGroup);
                }
                let ends = (outer.first(), outer.last());
                let [from, to] = [ends.0, ends.1].map(|row| row.map_or(0, |row| row + 1));
                return Err(TrainError::OneClassFold { from, to });
            }
            let (inside, outside) = (values.select(Axis(0), &inner), values.select(Axis(0), &outer));
            let watched = HoldOut { values: outside.view(), labels: &outer_labels };
            let (committee, losses) = Committee::fit(inside.view(), &inner_labels, params, Some(watched))?;
            curve.resize(losses.len(), 0.0);
            curve.iter_mut().zip(losses).for_each(|(sum, loss)| *sum += loss * outer.len() as f64);
            parts.push((fold, outer, outside, committee));
        }
    }
    let best = (0..curve.len()).min_by(|a, b| curve[*a].total_cmp(&curve[*b])).unwrap_or_default();
    let rounds = best.max(1);
    let mut held = HeldOut { rows: Vec::new(), folds: Vec::new(), scores: Vec::new(), labels: Vec::new() };
    for (fold, rows, outside, committee) in parts {
        let committee = committee.truncated(rounds);
        for (row, features) in rows.iter().zip(outside.rows()) {
            held.rows.push(*row);
            held.folds.push(fold);
            held.scores.push(committee.predict(&features.to_vec()));
            held.labels.push(labels[*row]);
        }
    }
    Ok((held, rounds))
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
