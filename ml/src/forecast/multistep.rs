//! A level smoothed for the whole horizon.
//!
//! Simple exponential smoothing whose parameter has the least squared error over all steps up to the horizon instead of the
//! next one. That shrinks the parameter (Svetunkov, Kourentzes and Killick 2023): on noisy weeks, where one-step fits run
//! after the last values, the level stays calm.

/// Smoothing parameters tried.
const GRID: [f64; 11] = [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 0.95];

/// First values whose mean is the first level, at most; a quarter of the series if that is less.
const FIRST_MAX: usize = 12;

/// The level that forecasts every step up to `horizon` of a series without season.
pub fn forecast(values: &[f64], horizon: usize) -> f64 {
    let first = (values.len() / 4).clamp(1, FIRST_MAX);
    // steps beyond a third of the series would leave few origins to judge by
    let steps = horizon.min(values.len() / 3).max(1);
    let runs = GRID.iter().map(|alpha| run(values, *alpha, first, steps));
    runs.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(0.0, |(_, level)| level)
}

/// Sum of squared errors over all origins and steps, and the last level.
fn run(values: &[f64], alpha: f64, first: usize, steps: usize) -> (f64, f64) {
    let begin = &values[..first.min(values.len())];
    let mut level = begin.iter().sum::<f64>() / begin.len().max(1) as f64;
    let mut squares = 0.0;
    for (t, value) in values.iter().enumerate() {
        if t >= first {
            let ahead = &values[t..(t + steps).min(values.len())];
            squares += ahead.iter().map(|v| (v - level).powi(2)).sum::<f64>();
        }
        level += alpha * (value - level);
    }
    (squares, level)
}

#[cfg(test)]
mod tests {
    use super::super::testing::noise;
    use super::*;

    #[test]
    fn by_hand() {
        // level 4 of the first value; errors of 6 and 8: −2, −4 at t = 1; level 5, error −3 at t = 2; then 6.5
        assert_eq!(run(&[4.0, 6.0, 8.0], 0.5, 1, 2), (4.0 + 16.0 + 9.0, 6.5));
        assert_eq!(forecast(&[3.0], 5), 3.0);
        assert_eq!(forecast(&[3.0; 40], 5), 3.0);
    }

    #[test]
    fn noise_is_averaged_and_a_new_level_is_taken() {
        let calm: Vec<f64> = noise(4, 120).iter().map(|e| 50.0 + 10.0 * e).collect();
        assert!((forecast(&calm, 13) - 50.0).abs() < 2.0, "{}", forecast(&calm, 13));
        let shifted: Vec<f64> = calm.iter().enumerate().map(|(i, v)| if i < 60 { *v } else { v + 200.0 }).collect();
        assert!((forecast(&shifted, 13) - 250.0).abs() < 10.0, "{}", forecast(&shifted, 13));
    }
}
