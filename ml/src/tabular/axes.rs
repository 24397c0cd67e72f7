//! Features on common scales, for members that add and multiply: standardised values, or standardised ranks.
//!
//! Each is a line through knots: outside the values that were learnt from nothing is extrapolated. A missing value is
//! the mean and sets an indicator of its own.

use super::exact;
use super::metrics::{log_odds, sigmoid};
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

/// Knots of a feature by rank.
const KNOTS: usize = 57;
/// Reach of the ranks' knots in log-odds: 0.1 % of the rows at either end are told apart by two knots.
const REACH: f64 = 7.0;

/// The scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scale {
    /// Value − mean, over the standard deviation.
    Values,
    /// Log-odds of the rank, over their standard deviation: what is skewed becomes even.
    Ranks,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Axis {
    /// Values, ascending; none where the feature does not vary.
    #[serde(with = "exact")]
    from: Vec<f64>,
    /// Where they lie.
    #[serde(with = "exact")]
    to: Vec<f64>,
}

/// Scales of all features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Axes {
    axes: Vec<Axis>,
    /// Features that have an indicator of being missing, ascending.
    missing: Vec<usize>,
    /// Share of the rows that miss each of them.
    #[serde(with = "exact")]
    shares: Vec<f64>,
}

impl Axes {
    /// `values`: rows × features.
    pub(super) fn fit(values: ArrayView2<'_, f64>, scale: Scale) -> Self {
        let rows = values.nrows() as f64;
        let (mut axes, mut missing, mut shares) = (Vec::new(), Vec::new(), Vec::new());
        for (feature, column) in values.columns().into_iter().enumerate() {
            let mut sorted: Vec<f64> = column.iter().copied().filter(|v| !v.is_nan()).collect();
            sorted.sort_unstable_by(f64::total_cmp);
            let absent = (rows - sorted.len() as f64) / rows;
            if absent > 0.0 && !sorted.is_empty() {
                missing.push(feature);
                shares.push(absent);
            }
            axes.push(Axis::fit(&sorted, scale));
        }
        Self { axes, missing, shares }
    }

    /// Columns behind the scale: features and indicators.
    pub(super) fn width(&self) -> usize {
        self.axes.len() + self.missing.len()
    }

    /// The feature that a column says something of.
    pub(super) fn feature(&self, column: usize) -> usize {
        column.checked_sub(self.axes.len()).map_or(column, |k| self.missing[k])
    }

    /// A row of features on the scales.
    pub(super) fn row(&self, row: &[f64]) -> Vec<f64> {
        let mut out = Vec::with_capacity(self.width());
        out.extend(self.axes.iter().zip(row).map(|(axis, value)| axis.at(*value)));
        for (feature, share) in self.missing.iter().zip(&self.shares) {
            let is_missing = f64::from(u8::from(row[*feature].is_nan()));
            out.push((is_missing - share) / (share * (1.0 - share)).sqrt());
        }
        out
    }

    /// Rows × features to rows × columns.
    pub(super) fn table(&self, values: ArrayView2<'_, f64>) -> Array2<f64> {
        let mut out = Array2::zeros((values.nrows(), self.width()));
        for (row, mut scaled) in values.rows().into_iter().zip(out.rows_mut()) {
            scaled.iter_mut().zip(self.row(&row.to_vec())).for_each(|(slot, value)| *slot = value);
        }
        out
    }

    pub(super) fn is_sound(&self, features: usize) -> bool {
        self.axes.len() == features
            && self.axes.iter().all(Axis::is_sound)
            && self.missing.len() == self.shares.len()
            && self.missing.iter().all(|feature| *feature < features)
            && self.shares.iter().all(|share| *share > 0.0 && *share < 1.0)
    }
}

impl Axis {
    fn fit(sorted: &[f64], scale: Scale) -> Self {
        let (Some(low), Some(high)) = (sorted.first(), sorted.last()) else { return Self::flat() };
        if low == high {
            return Self::flat();
        }
        let from = match scale {
            Scale::Values => vec![*low, *high],
            Scale::Ranks => knots(sorted),
        };
        let to = match scale {
            Scale::Values => from.clone(),
            Scale::Ranks => from.iter().map(|value| log_odds(middle_rank(sorted, *value))).collect(),
        };
        let raw = Self { from, to };
        let n = sorted.len() as f64;
        let mean = sorted.iter().map(|v| raw.at(*v)).sum::<f64>() / n;
        let deviation = (sorted.iter().map(|v| (raw.at(*v) - mean).powi(2)).sum::<f64>() / n).sqrt();
        let to: Vec<f64> = raw.to.iter().map(|z| (z - mean) / deviation).collect();
        // the spread of values at the ends of what a number can hold is no number
        if to.iter().all(|z| z.is_finite()) { Self { from: raw.from, to } } else { Self::flat() }
    }

    fn flat() -> Self {
        Self { from: Vec::new(), to: Vec::new() }
    }

    fn is_sound(&self) -> bool {
        self.from.len() == self.to.len()
            && self.from.windows(2).all(|w| w[0] < w[1])
            && self.from.iter().chain(&self.to).all(|v| v.is_finite())
    }

    fn at(&self, value: f64) -> f64 {
        let (Some(first), Some(last)) = (self.from.first(), self.from.last()) else { return 0.0 };
        if value.is_nan() {
            return 0.0;
        }
        if value <= *first {
            return self.to[0];
        }
        if value >= *last {
            return self.to[self.to.len() - 1];
        }
        let above = self.from.partition_point(|knot| *knot <= value);
        let (a, b) = (self.from[above - 1], self.from[above]);
        let share = (value / 2.0 - a / 2.0) / (b / 2.0 - a / 2.0);
        self.to[above - 1] + share * (self.to[above] - self.to[above - 1])
    }
}

/// Distinct values at ranks that are even in log-odds, the ends among them.
fn knots(sorted: &[f64]) -> Vec<f64> {
    let last = sorted.len() - 1;
    let rank = |k: usize| match k {
        0 => 0.0,
        k if k == KNOTS - 1 => 1.0,
        k => sigmoid(REACH * (2.0 * k as f64 / (KNOTS - 1) as f64 - 1.0)),
    };
    let mut knots: Vec<f64> = (0..KNOTS).map(|k| sorted[(rank(k) * last as f64).round() as usize]).collect();
    knots.dedup();
    knots
}

/// Share of the values below, those alike by half.
fn middle_rank(sorted: &[f64], value: f64) -> f64 {
    let below = sorted.partition_point(|v| *v < value);
    let up_to = sorted.partition_point(|v| *v <= value);
    (below + up_to) as f64 / 2.0 / sorted.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use proptest::prelude::*;

    #[test]
    fn values_and_ranks_by_hand() {
        let nan = f64::NAN;
        let table = array![[1.0, 5.0, 2.0], [3.0, 5.0, nan], [nan, 5.0, nan], [1000.0, 5.0, nan]];
        let values = Axes::fit(table.view(), Scale::Values);
        assert_eq!((values.width(), values.feature(1), values.feature(3), values.feature(4)), (5, 1, 0, 2));
        let scaled = values.table(table.view());
        for column in scaled.columns() {
            assert!(column.mean().unwrap().abs() < 1e-12, "{column}");
        }
        // what does not vary says nothing, what is beyond is the end, what is missing the mean
        assert_eq!(values.row(&[nan, 9.0, 7.0])[..3], [0.0, 0.0, 0.0]);
        assert_eq!(values.row(&[9e9, 0.0, 0.0])[0], values.row(&[1000.0, 0.0, 0.0])[0]);
        // ranks 1/6, 1/2, 5/6 whatever the values
        let ranks = Axes::fit(table.view(), Scale::Ranks);
        let z: Vec<f64> = [1.0, 3.0, 1000.0].map(|v| ranks.row(&[v, 5.0, 2.0])[0]).to_vec();
        assert!(z[1].abs() < 1e-12 && (z[0] + z[2]).abs() < 1e-12 && (z[2] - 1.5f64.sqrt()).abs() < 1e-12, "{z:?}");
    }

    proptest! {
        #[test]
        fn greater_values_never_lie_lower(
            values in proptest::collection::vec(-1e300f64..1e300, 1..200), a in any::<f64>(), b in any::<f64>(),
        ) {
            let table = Array2::from_shape_vec((values.len(), 1), values).unwrap();
            for scale in [Scale::Values, Scale::Ranks] {
                let axes = Axes::fit(table.view(), scale);
                prop_assert!(axes.is_sound(1));
                let (low, high) = (axes.row(&[a.min(b)])[0], axes.row(&[a.max(b)])[0]);
                prop_assert!(low <= high && low.is_finite() && high.is_finite());
            }
        }
    }
}
