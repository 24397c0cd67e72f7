//! Features made of pairs of features: ratios, differences and products that the trees ask for.
//!
//! After SAFE (Shi et al. 2020): two features that follow each other on the ways of a pilot booster interact; pairs with
//! the greatest gains are combined, and what a second pilot gains from a combination says whether it is kept. Names and
//! units of the columns play no part.

use super::bins::Binned;
use super::booster::{self, Booster};
use super::members::balanced_rows;
use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Rows of the greater class that a pilot sees for each row of the smaller one.
const GREATER_CLASS_ROWS: usize = 20;
/// Trees of a pilot.
const PILOT_ROUNDS: usize = 60;

/// How many are tried and kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Params {
    /// Pairs of features that are combined.
    pub pairs: usize,
    /// Combinations kept; 0: none are looked for.
    pub made_max: usize,
}

/// What is done with a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// First over second; missing where the second is 0.
    Ratio,
    /// First − second.
    Difference,
    /// First × second.
    Product,
}

/// A feature made of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Index of the first feature.
    pub first: usize,
    /// Index of the second feature.
    pub second: usize,
    /// What is done with them.
    pub operation: Operation,
}

/// The features as they come and behind them those that are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Design {
    features: usize,
    made: Vec<Made>,
}

impl Design {
    /// `values`: rows × features.
    pub(super) fn learn(values: ArrayView2<'_, f64>, labels: &[bool], params: Params, seed: u64) -> Self {
        let features = values.ncols();
        let plain = Self { features, made: Vec::new() };
        if params.made_max == 0 || params.pairs == 0 {
            return plain;
        }
        let rows = balanced_rows(labels, GREATER_CLASS_ROWS, seed, 3);
        let values = values.select(Axis(0), &rows);
        let labels: Vec<bool> = rows.iter().map(|row| labels[*row]).collect();

        let mut gains: BTreeMap<(usize, usize), f64> = BTreeMap::new();
        for tree in pilot(values.view(), &labels, seed).trees() {
            for (above, below, gain) in tree.pairs() {
                *gains.entry((above.min(below), above.max(below))).or_default() += gain;
            }
        }
        let mut pairs: Vec<((usize, usize), f64)> = gains.into_iter().collect();
        pairs.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        pairs.truncate(params.pairs);
        let made = pairs.iter().flat_map(|(pair, _)| combinations(values.view(), *pair)).collect();
        let tried = Self { features, made };

        let gains = pilot(tried.table(values.view()).view(), &labels, seed).importance(tried.width());
        // what gains less than an even share is as good as the features it is made of
        let even = gains.iter().sum::<f64>() / gains.len() as f64;
        let mut kept: Vec<(f64, Made)> = gains[features..].iter().copied().zip(tried.made).collect();
        kept.retain(|(gain, _)| *gain > even);
        kept.sort_by(|a, b| b.0.total_cmp(&a.0));
        kept.truncate(params.made_max);
        Self { features, made: kept.into_iter().map(|(_, made)| made).collect() }
    }

    /// Features, those made included.
    pub(super) fn width(&self) -> usize {
        self.features + self.made.len()
    }

    /// A row with what is made of it.
    pub(super) fn row(&self, row: &[f64]) -> Vec<f64> {
        let mut out = Vec::with_capacity(self.width());
        out.extend_from_slice(row);
        out.extend(self.made.iter().map(|made| made.of(row)));
        out
    }

    /// Rows × features to rows × [`Self::width`].
    pub(super) fn table(&self, values: ArrayView2<'_, f64>) -> Array2<f64> {
        let mut out = Array2::zeros((values.nrows(), self.width()));
        for (row, mut made) in values.rows().into_iter().zip(out.rows_mut()) {
            made.iter_mut().zip(self.row(&row.to_vec())).for_each(|(slot, value)| *slot = value);
        }
        out
    }

    /// Names of all features, given those of the plain ones.
    pub fn names(&self, plain: &[String]) -> Vec<String> {
        let made = self.made.iter().map(|made| {
            let sign = match made.operation {
                Operation::Ratio => '/',
                Operation::Difference => '−',
                Operation::Product => '×',
            };
            format!("{} {sign} {}", plain[made.first], plain[made.second])
        });
        plain.iter().cloned().chain(made).collect()
    }

    /// Features made.
    pub fn made(&self) -> &[Made] {
        &self.made
    }

    pub(super) fn is_sound(&self, features: usize) -> bool {
        self.features == features && self.made.iter().all(|made| made.first.max(made.second) < features)
    }
}

impl Made {
    fn of(&self, row: &[f64]) -> f64 {
        let (first, second) = (row[self.first], row[self.second]);
        let value = match self.operation {
            Operation::Ratio if second == 0.0 => f64::NAN,
            Operation::Ratio => first / second,
            Operation::Difference => first - second,
            Operation::Product => first * second,
        };
        if value.is_finite() { value } else { f64::NAN }
    }
}

/// Whatever divides is the one that is seldom 0.
fn combinations(values: ArrayView2<'_, f64>, (a, b): (usize, usize)) -> [Made; 3] {
    let zeros = |feature: usize| values.column(feature).iter().filter(|v| **v == 0.0).count();
    let (first, second) = if zeros(a) < zeros(b) { (b, a) } else { (a, b) };
    [Operation::Ratio, Operation::Difference, Operation::Product].map(|operation| Made { first, second, operation })
}

fn pilot(values: ArrayView2<'_, f64>, labels: &[bool], seed: u64) -> Booster {
    let params = booster::Params {
        rounds_max: PILOT_ROUNDS,
        learning_rate: 0.1,
        leaves_max: 8,
        depth_max: 3,
        child_weight_share: 0.002,
        l2: 1.0,
        row_share: 0.7,
        column_share: 0.7,
        bins_max: 64,
        monotone: Vec::new(),
    };
    Booster::fit(&Binned::new(values, labels, params.bins_max), labels, &params, seed, None).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tabular::chance::Chance;

    /// The label is whether the first feature is more than three times the second.
    fn ratio_rules(rows: usize) -> (Array2<f64>, Vec<bool>) {
        let mut chance = Chance::new(5, 9);
        let mut draw = || 1.0 + chance.below(1000) as f64;
        let values = Array2::from_shape_fn((rows, 4), |_| draw());
        let labels = values.rows().into_iter().map(|row| row[0] > 3.0 * row[1]).collect();
        (values, labels)
    }

    #[test]
    fn a_ratio_that_decides_is_found() {
        let (values, labels) = ratio_rules(2_000);
        let design = Design::learn(values.view(), &labels, Params { pairs: 4, made_max: 2 }, 1);
        let wanted = Made { first: 0, second: 1, operation: Operation::Ratio };
        assert_eq!(design.made().first(), Some(&wanted), "{design:?}");
        let names = design.names(&["a", "b", "c", "d"].map(str::to_owned));
        assert_eq!(names[..5], ["a", "b", "c", "d", "a / b"]);
        let off = Design::learn(values.view(), &labels, Params { pairs: 4, made_max: 0 }, 1);
        assert_eq!((off.width(), off.made().len()), (4, 0));
    }

    #[test]
    fn what_cannot_be_worked_out_is_missing() {
        let (first, second) = (0, 1);
        let table: [(Operation, [f64; 2], Option<f64>); 6] = [
            (Operation::Ratio, [6.0, 2.0], Some(3.0)),
            (Operation::Ratio, [6.0, 0.0], None),
            (Operation::Ratio, [f64::NAN, 2.0], None),
            (Operation::Difference, [6.0, 2.0], Some(4.0)),
            (Operation::Product, [6.0, 2.0], Some(12.0)),
            (Operation::Product, [1e300, 1e300], None),
        ];
        for (operation, row, wanted) in table {
            let got = Made { first, second, operation }.of(&row);
            assert_eq!((!got.is_nan()).then_some(got), wanted, "{operation:?} {row:?}");
        }
    }
}
