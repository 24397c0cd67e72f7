//! Symmetric positive definite systems by Cholesky's factorisation: a few dozen unknowns, no library needed.

use ndarray::Array2;

/// Lower triangle L with L Lᵀ = `matrix`.
pub(super) fn factor(matrix: &Array2<f64>) -> Option<Array2<f64>> {
    let n = matrix.nrows();
    let mut lower = Array2::<f64>::zeros((n, n));
    for i in 0..n {
        for j in 0..=i {
            let before: f64 = (0..j).map(|k| lower[[i, k]] * lower[[j, k]]).sum();
            let rest = matrix[[i, j]] - before;
            if i == j {
                if rest.is_nan() || rest <= 0.0 {
                    return None;
                }
                lower[[i, i]] = rest.sqrt();
            } else {
                lower[[i, j]] = rest / lower[[j, j]];
            }
        }
    }
    Some(lower)
}

/// The solution with a factor already made.
pub(super) fn back(lower: &Array2<f64>, right: &[f64]) -> Vec<f64> {
    let n = lower.nrows();
    let mut x = right.to_vec();
    for i in 0..n {
        let before: f64 = (0..i).map(|k| lower[[i, k]] * x[k]).sum();
        x[i] = (x[i] - before) / lower[[i, i]];
    }
    for i in (0..n).rev() {
        let after: f64 = (i + 1..n).map(|k| lower[[k, i]] * x[k]).sum();
        x[i] = (x[i] - after) / lower[[i, i]];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_system_by_hand() {
        let matrix = array![[4.0, 2.0], [2.0, 3.0]];
        let x = back(&factor(&matrix).unwrap(), &[10.0, 9.0]);
        assert!((x[0] - 1.5).abs() < 1e-12 && (x[1] - 2.0).abs() < 1e-12, "{x:?}");
        assert_eq!(factor(&array![[1.0, 2.0], [2.0, 1.0]]), None, "not positive definite");
        assert_eq!(factor(&array![[f64::NAN]]), None);
    }
}
