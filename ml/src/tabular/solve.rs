//! A few equations with as many unknowns.

/// Solves `matrix` · x = `vector` by elimination with pivots; None where the matrix is singular. Square, row by row.
pub(super) fn solve(mut matrix: Vec<Vec<f64>>, mut vector: Vec<f64>) -> Option<Vec<f64>> {
    let n = vector.len();
    for at in 0..n {
        let pivot = (at..n).max_by(|a, b| matrix[*a][at].abs().total_cmp(&matrix[*b][at].abs()))?;
        matrix.swap(at, pivot);
        vector.swap(at, pivot);
        let divisor = matrix[at][at];
        if !divisor.is_finite() || divisor.abs() < 1e-300 {
            return None;
        }
        let (above, below) = matrix.split_at_mut(at + 1);
        let known = vector[at];
        for (row, value) in below.iter_mut().zip(&mut vector[at + 1..]) {
            let factor = row[at] / divisor;
            for (cell, pivot) in row[at..].iter_mut().zip(&above[at][at..]) {
                *cell -= factor * pivot;
            }
            *value -= factor * known;
        }
    }
    for at in (0..n).rev() {
        let known: f64 = (at + 1..n).map(|column| matrix[at][column] * vector[column]).sum();
        vector[at] = (vector[at] - known) / matrix[at][at];
    }
    Some(vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let x = solve(vec![vec![0.0, 2.0, 1.0], vec![1.0, -1.0, 0.0], vec![3.0, 0.0, -2.0]], vec![7.0, -1.0, -3.0]);
        let x = x.unwrap();
        for (got, wanted) in x.iter().zip([1.0, 2.0, 3.0]) {
            assert!((got - wanted).abs() < 1e-12, "{x:?}");
        }
        assert_eq!(solve(vec![vec![1.0, 2.0], vec![2.0, 4.0]], vec![1.0, 2.0]), None);
        assert_eq!(solve(Vec::new(), Vec::new()), Some(Vec::new()));
    }
}
