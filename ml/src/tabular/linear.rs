//! Linear members: linfa's logistic regression and its FTRL, taken over into weights.

use super::exact;
use linfa::prelude::*;
use linfa_ftrl::Ftrl;
use linfa_logistic::LogisticRegression;
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rand_xoshiro::Xoshiro256Plus;
use rand_xoshiro::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

/// Steps of the optimiser.
const STEPS_MAX: u64 = 200;
/// Passes of FTRL end when it has seen about so many rows, or gone once through all.
const FTRL_ROWS: usize = 40_000;
/// Step of FTRL before the gradients of a column make it smaller.
const FTRL_RATE: f64 = 0.2;

/// Log-odds as a weighted sum of scaled columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    /// The intercept first.
    #[serde(with = "exact")]
    weights: Vec<f64>,
}

impl Linear {
    /// linfa's logistic regression with `l2` on the sum of squared weights. `columns`: rows × columns, standardised.
    ///
    /// # Errors
    /// What its optimiser says.
    pub(super) fn logistic(columns: ArrayView2<'_, f64>, labels: &[bool], l2: f64) -> Result<Self, String> {
        let dataset = DatasetBase::new(columns, Array1::from(labels.to_vec()));
        // its line search fails where the loss cannot fall any further in this precision: the next coarser end is then
        // the finest that can be reached
        let mut failure = String::new();
        for tolerance in [1e-4, 1e-2, 1.0] {
            let params =
                LogisticRegression::default().alpha(l2).max_iterations(STEPS_MAX).gradient_tolerance(tolerance);
            match params.fit(&dataset) {
                Ok(fitted) => {
                    let sign = if fitted.labels().pos.class { 1.0 } else { -1.0 };
                    let all = std::iter::once(fitted.intercept()).chain(fitted.params().iter().copied());
                    return Ok(Self { weights: all.map(|weight| sign * weight).collect() });
                }
                Err(e) => failure = e.to_string(),
            }
        }
        Err(failure)
    }

    /// linfa's follow-the-regularised-leader (McMahan et al. 2013), one row at a time in their order.
    ///
    /// # Errors
    /// What it says of its parameters.
    pub(super) fn ftrl(columns: ArrayView2<'_, f64>, labels: &[bool], seed: u64) -> Result<Self, String> {
        let mut with_constant = Array2::ones((columns.nrows(), columns.ncols() + 1));
        with_constant.slice_mut(s![.., 1..]).assign(&columns);
        let labels = Array1::from(labels.to_vec());
        let params = Ftrl::params_with_rng(Xoshiro256Plus::seed_from_u64(seed));
        let params =
            params.alpha(FTRL_RATE).beta(1.0).l1_ratio(0.0).l2_ratio(1.0).check().map_err(|e| e.to_string())?;
        let mut model = None;
        for _ in 0..FTRL_ROWS.div_ceil(labels.len().max(1)) {
            for row in 0..labels.len() {
                let (x, y) = (with_constant.slice(s![row..=row, ..]), labels.slice(s![row..=row]));
                model = Some(params.fit_with(model, &DatasetBase::new(x, y)).map_err(|e| e.to_string())?);
            }
        }
        let weights = model.map_or_else(|| vec![0.0; with_constant.len_of(Axis(1))], |m| m.get_weights().to_vec());
        Ok(Self { weights })
    }

    /// Log-odds of a row of scaled columns.
    pub(super) fn predict(&self, columns: &[f64]) -> f64 {
        self.weights[0] + self.weights[1..].iter().zip(columns).map(|(w, z)| w * z).sum::<f64>()
    }

    /// Calls with each column's part; returns what belongs to none.
    pub(super) fn explain(&self, columns: &[f64], mut part: impl FnMut(usize, f64)) -> f64 {
        for (column, (weight, z)) in self.weights[1..].iter().zip(columns).enumerate() {
            part(column, weight * z);
        }
        self.weights[0]
    }

    pub(super) fn is_sound(&self, width: usize) -> bool {
        self.weights.len() == width + 1 && self.weights.iter().all(|weight| weight.is_finite())
    }
}
