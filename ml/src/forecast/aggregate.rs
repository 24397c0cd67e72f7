//! Temporal hierarchies: the series is forecast by month, by quarter, by year, and the forecasts are made to agree.
//!
//! Sums over longer spans hide the season and the noise and show the trend. Agreement is by least squares with the weight of
//! a node falling with its span (structural scaling; Athanasopoulos, Hyndman, Kourentzes and Petropoulos 2017).

use super::linear;
use ndarray::Array2;

/// Sums over a span that a level needs.
const SUMS_MIN: usize = 4;

/// Forecasts 1 to `horizon`; `base` forecasts one level from (sums, period of the level, steps).
pub fn forecast(
    values: &[f64],
    period: usize,
    horizon: usize,
    base: impl Fn(&[f64], usize, usize) -> Vec<f64>,
) -> Vec<f64> {
    let cycles = horizon.div_ceil(period);
    let spans =
        (1..=period).filter(|span| period.is_multiple_of(*span) && (*span == 1 || values.len() / span >= SUMS_MIN));
    let levels: Vec<(usize, Vec<f64>)> =
        spans.map(|span| (span, base(&sums(values, span), period / span, cycles * period / span))).collect();
    let mut matrix = Array2::<f64>::zeros((period, period));
    for (span, _) in &levels {
        for i in 0..period {
            let first = i / span * span;
            (first..first + span).for_each(|j| matrix[[i, j]] += 1.0 / *span as f64);
        }
    }
    let Some(lower) = linear::factor(&matrix) else { return levels[0].1[..horizon].to_vec() };
    let mut ahead = Vec::with_capacity(cycles * period);
    for cycle in 0..cycles {
        let node = |i: usize| {
            let of = |(span, said): &(usize, Vec<f64>)| said[(cycle * period + i) / span] / *span as f64;
            levels.iter().map(of).sum::<f64>()
        };
        let right: Vec<f64> = (0..period).map(node).collect();
        ahead.extend(linear::back(&lower, &right));
    }
    ahead.truncate(horizon);
    ahead
}

/// Sums over `span` values, the last one ending with the series.
fn sums(values: &[f64], span: usize) -> Vec<f64> {
    values[values.len() % span..].chunks(span).map(|chunk| chunk.iter().sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::close;
    use super::*;

    fn mean(values: &[f64], _: usize, steps: usize) -> Vec<f64> {
        vec![values.iter().sum::<f64>() / values.len() as f64; steps]
    }

    #[test]
    fn forecasts_that_agree_stay() {
        let values: Vec<f64> = (0..48).map(|i| [3.0, 5.0, 1.0, 7.0][i % 4]).collect();
        assert!(close(&forecast(&values, 4, 6, mean), &[4.0; 6]));
        assert!(close(&forecast(&values, 1, 2, mean), &[4.0; 2]), "no period");
        assert_eq!(sums(&[9.0, 1.0, 2.0, 3.0, 4.0], 2), [3.0, 7.0], "the last sum ends with the series");
    }

    #[test]
    fn disagreement_is_shared_by_span() {
        // steps say 1 each, the sum over two says 5: minimise (b₁−1)² + (b₂−1)² + (b₁+b₂−5)² / 2, so b = 1.75
        let base = |_: &[f64], period: usize, steps: usize| vec![if period == 2 { 1.0 } else { 5.0 }; steps];
        assert!(close(&forecast(&[1.0; 20], 2, 3, base), &[1.75; 3]));
        assert!(close(&forecast(&[1.0; 6], 2, 3, base), &[1.0; 3]), "too few sums for the level above");
    }
}
