//! Columns for a linear member that is to bend: each scaled value, and behind them whether each rank lies above each of
//! some steps.
//!
//! A weighted sum of steps is any curve of a feature, and the sum over features an additive model (Hastie and Tibshirani
//! 1986); the values tell apart what lies beyond the last step. Online learners are mostly given features cut up like this
//! (McMahan et al. 2013).

use ndarray::{Array2, ArrayView2};

/// Where the steps lie, in standard deviations of a rank: denser than one needs in the middle is no harm, and what is
/// seldom lies above.
const STEPS: [f64; 11] = [-1.99, -1.49, -0.99, -0.49, 0.01, 0.51, 1.01, 1.51, 2.01, 2.51, 3.01];
/// Half the height of a step.
const HALF: f64 = 0.5;

/// What a column is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A column of values.
    Value(usize),
    /// A column of ranks.
    Rank(usize),
}

/// Columns made of so many columns of values and of ranks.
pub(super) fn width(values: usize, ranks: usize) -> usize {
    values + ranks * STEPS.len()
}

/// What `column` is made of, where there are `values` columns of values.
pub(super) fn source(values: usize, column: usize) -> Source {
    match column.checked_sub(values) {
        Some(behind) => Source::Rank(behind / STEPS.len()),
        None => Source::Value(column),
    }
}

/// Columns of a row.
pub(super) fn row(values: &[f64], ranks: &[f64]) -> Vec<f64> {
    let mut out = Vec::with_capacity(width(values.len(), ranks.len()));
    out.extend_from_slice(values);
    for rank in ranks {
        out.extend(STEPS.iter().map(|step| if rank > step { HALF } else { -HALF }));
    }
    out
}

/// Rows × columns of rows × values and rows × ranks.
pub(super) fn table(values: ArrayView2<'_, f64>, ranks: ArrayView2<'_, f64>) -> Array2<f64> {
    let mut out = Array2::zeros((values.nrows(), width(values.ncols(), ranks.ncols())));
    for ((values, ranks), mut columns) in values.rows().into_iter().zip(ranks.rows()).zip(out.rows_mut()) {
        let made = row(&values.to_vec(), &ranks.to_vec());
        columns.iter_mut().zip(made).for_each(|(slot, value)| *slot = value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn by_hand() {
        let made = row(&[7.0, -3.0], &[0.0, 9.0]);
        assert_eq!(made.len(), width(2, 2));
        assert_eq!(made[..2], [7.0, -3.0]);
        // four steps lie below 0, all below 9
        let above = |columns: &[f64]| columns.iter().filter(|v| **v > 0.0).count();
        assert_eq!((above(&made[2..13]), above(&made[13..])), (4, 11));
        assert!(made[2..].iter().all(|v| v.abs() == HALF));
    }

    #[test]
    fn a_column_says_what_it_is_made_of() {
        for (column, wanted) in [
            (0, Source::Value(0)),
            (1, Source::Value(1)),
            (2, Source::Rank(0)),
            (12, Source::Rank(0)),
            (13, Source::Rank(1)),
            (width(2, 2) - 1, Source::Rank(1)),
        ] {
            assert_eq!(source(2, column), wanted, "{column}");
        }
    }

    #[test]
    fn a_table_is_its_rows() {
        let (values, ranks) = (array![[1.0], [2.0]], array![[0.3], [-0.3]]);
        let table = table(values.view(), ranks.view());
        assert_eq!(table.dim(), (2, width(1, 1)));
        assert_eq!(table.row(1).to_vec(), row(&[2.0], &[-0.3]));
        assert_ne!(table.row(0), table.row(1));
    }
}
