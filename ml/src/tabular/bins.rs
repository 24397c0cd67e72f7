//! Values to quantile bins: what a histogram of gradients is taken over.
//!
//! A bin is a range of values `(edge before, edge]`. Few distinct values have a bin each; many share bins of about
//! equal weight (LightGBM, Ke et al. 2017). A missing value has the bin behind all others.

use ndarray::ArrayView2;

/// Bins of a feature at most, the missing one not counted: a code is a byte.
pub const BINS_MAX: usize = 254;

/// Where the bins of one feature end: ascending, one fewer than bins. `values`: each with its weight.
pub(super) fn edges(values: impl Iterator<Item = (f64, f64)>, bins_max: usize) -> Vec<f64> {
    let mut sorted: Vec<(f64, f64)> = values.filter(|(value, _)| !value.is_nan()).collect();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut distinct: Vec<(f64, f64)> = Vec::new();
    for (value, weight) in &sorted {
        match distinct.last_mut() {
            Some((last, sum)) if last == value => *sum += weight,
            _ => distinct.push((*value, *weight)),
        }
    }
    let bins_max = bins_max.clamp(2, BINS_MAX);
    let mut edges = Vec::new();
    // a bin is full with its share of what is not yet in one, so that one frequent value spoils no other's
    let mut left: f64 = distinct.iter().map(|(_, weight)| weight).sum();
    let (mut bins_left, mut here) = (bins_max, 0.0);
    for pair in distinct.windows(2) {
        let ((value, weight), (next, _)) = (pair[0], pair[1]);
        here += weight;
        let full = distinct.len() <= bins_max || here * bins_left as f64 >= left;
        if full && bins_left > 1 {
            edges.push(between(value, next));
            left -= here;
            bins_left -= 1;
            here = 0.0;
        }
    }
    edges
}

/// The middle, and never the higher one itself: a value ≤ the edge is below it.
fn between(low: f64, high: f64) -> f64 {
    let middle = low / 2.0 + high / 2.0;
    if middle < high { middle.max(low) } else { low }
}

/// The bin of a value among its feature's edges.
pub(super) fn bin(edges: &[f64], value: f64) -> usize {
    if value.is_nan() { edges.len() + 1 } else { edges.partition_point(|edge| *edge < value) }
}

/// A table in bins, column by column.
pub(super) struct Binned {
    /// Edges of each feature.
    pub(super) edges: Vec<Vec<f64>>,
    /// Codes of each feature, one a row.
    pub(super) codes: Vec<Vec<u8>>,
    /// Where a feature's bins begin in a histogram of all; one more for the end.
    pub(super) offsets: Vec<usize>,
}

impl Binned {
    /// `values`: rows × features. Both classes weigh the same in the bins: where the seldom one is, they are fine.
    pub(super) fn new(values: ArrayView2<'_, f64>, labels: &[bool], bins_max: usize) -> Self {
        let positives = labels.iter().filter(|y| **y).count().max(1) as f64;
        let heavier = (labels.len() as f64 - positives).max(1.0) / positives;
        let weights: Vec<f64> = labels.iter().map(|label| if *label { heavier } else { 1.0 }).collect();
        let (mut all, mut codes, mut offsets) = (Vec::new(), Vec::new(), vec![0]);
        for column in values.columns() {
            let edges = edges(column.iter().copied().zip(weights.iter().copied()), bins_max);
            codes.push(column.iter().map(|value| bin(&edges, *value) as u8).collect());
            // the last one is of missing values
            offsets.push(offsets[offsets.len() - 1] + edges.len() + 2);
            all.push(edges);
        }
        Self { edges: all, codes, offsets }
    }

    pub(super) fn rows(&self) -> usize {
        self.codes.first().map_or(0, Vec::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use proptest::prelude::*;

    #[test]
    fn few_values_have_a_bin_each_and_many_share() {
        let nan = f64::NAN;
        let table: [(&str, &[f64], usize, &[f64]); 6] = [
            ("none", &[], 8, &[]),
            ("constant", &[3.0, 3.0, nan], 8, &[]),
            ("distinct", &[1.0, 2.0, 4.0, 2.0], 8, &[1.5, 3.0]),
            ("four in two", &[1.0, 2.0, 3.0, 4.0], 2, &[2.5]),
            ("one is frequent", &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0], 3, &[0.5, 2.5]),
            ("neighbours", &[1.0, 1.0 + f64::EPSILON], 8, &[1.0]),
        ];
        for (what, values, bins_max, wanted) in table {
            assert_eq!(edges(values.iter().map(|v| (*v, 1.0)), bins_max), wanted, "{what}");
        }
    }

    #[test]
    fn the_missing_bin_is_the_last() {
        let binned = Binned::new(array![[1.0, 7.0], [f64::NAN, 7.0], [2.0, 7.0]].view(), &[true, false, true], 254);
        assert_eq!(binned.codes, [vec![0, 2, 1], vec![0, 0, 0]]);
        assert_eq!((binned.offsets.as_slice(), binned.rows()), (&[0, 3, 5][..], 3));
    }

    proptest! {
        #[test]
        fn a_value_is_at_most_its_edge_and_above_the_one_before(
            values in proptest::collection::vec(prop_oneof![any::<f64>(), (-5i32..5).prop_map(f64::from)], 0..600),
            bins_max in 0usize..300,
        ) {
            let edges = edges(values.iter().filter(|v| v.is_finite()).map(|v| (*v, 1.0)), bins_max);
            prop_assert!(edges.len() < bins_max.clamp(2, BINS_MAX));
            prop_assert!(edges.windows(2).all(|w| w[0] < w[1]));
            for value in values {
                let bin = bin(&edges, value);
                if value.is_nan() {
                    prop_assert_eq!(bin, edges.len() + 1);
                } else {
                    prop_assert!(bin == edges.len() || value <= edges[bin]);
                    prop_assert!(bin == 0 || value > edges[bin - 1]);
                }
            }
        }
    }
}
