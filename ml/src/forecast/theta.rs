//! The theta method as a state-space model (Fiorucci, Pellegrini, Louzada, Petropoulos and Koehler 2016).
//!
//! A line of the least-squares trend and a theta line that doubles (θ = 2) the curvature are forecast and averaged. With
//! θ = 2 that is simple exponential smoothing with half the slope as drift (Hyndman and Billah 2003).

use super::optimise::{minimise, start};

/// Which of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// θ = 2, the trend of the whole series.
    Standard,
    /// θ searched, the trend of the whole series.
    Optimised,
    /// θ searched, the trend of what was seen up to each point.
    DynamicOptimised,
}

/// Bounds of the smoothing parameter, as in the authors' package.
const ALPHA: (f64, f64) = (0.1, 0.99);
/// Bounds of θ: beyond, the weight of the trend 1 − 1/θ no longer moves.
const THETA: (f64, f64) = (1.0, 50.0);

struct Fit {
    alpha: f64,
    theta: f64,
    level: f64,
}

/// Forecasts 1 to `horizon` of a series without season (at least one value).
pub fn forecast(values: &[f64], horizon: usize, variant: Variant) -> Vec<f64> {
    let n = values.len();
    if n < 3 {
        return vec![values.last().copied().unwrap_or(0.0); horizon];
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let scale = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>().sqrt() / (n as f64).sqrt();
    if scale <= mean.abs() * 1e-12 {
        return vec![mean; horizon];
    }
    let searched = if variant == Variant::Standard { 2 } else { 3 };
    let mut begin = start([0.5, values[0] / scale, 2.0], [0.2, 0.5, 1.0], 400);
    begin.active = searched;
    let fit = |point: &[f64]| Fit {
        alpha: point[0].clamp(ALPHA.0, ALPHA.1),
        level: point[1] * scale,
        theta: if variant == Variant::Standard { 2.0 } else { point[2].clamp(THETA.0, THETA.1) },
    };
    let line = line(values);
    let dynamic = variant == Variant::DynamicOptimised;
    let (best, _) = minimise(&begin, |point| {
        let outside = (point[0] - point[0].clamp(ALPHA.0, ALPHA.1)).abs();
        let fit = fit(point);
        let error = if dynamic { run_dynamic(values, &fit, 0, None) } else { run(values, &fit, line, 0, None) };
        error / (scale * scale) * (1.0 + outside)
    });
    let mut ahead = Vec::with_capacity(horizon);
    let fit = fit(&best);
    if dynamic {
        run_dynamic(values, &fit, horizon, Some(&mut ahead));
    } else {
        run(values, &fit, line, horizon, Some(&mut ahead));
    }
    ahead
}

/// Intercept and slope of the least-squares line over 1..=n.
pub(super) fn line(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let middle = (n + 1.0) / 2.0;
    let (mut above, mut below) = (0.0, 0.0);
    for (i, value) in values.iter().enumerate() {
        let t = (i + 1) as f64 - middle;
        above += t * (value - mean);
        below += t * t;
    }
    let slope = if below > 0.0 { above / below } else { 0.0 };
    (mean - slope * middle, slope)
}

/// Sum of squared one-step errors with a fixed line; forecasts into `ahead`.
fn run(values: &[f64], fit: &Fit, (intercept, slope): (f64, f64), horizon: usize, ahead: Option<&mut Vec<f64>>) -> f64 {
    let weight = 1.0 - 1.0 / fit.theta;
    let mut level = fit.level;
    // (1 − α)^(t − 1) and the sum (1 − (1 − α)^t) / α of the geometric series, both of step t
    let (mut power, mut sum) = (1.0, 1.0);
    let mut squares = 0.0;
    for value in values {
        let error = value - (level + weight * (power * intercept + sum * slope));
        squares += error * error;
        level = fit.alpha * value + (1.0 - fit.alpha) * level;
        power *= 1.0 - fit.alpha;
        sum += power;
    }
    if let Some(ahead) = ahead {
        ahead.extend((0..horizon).map(|h| level + weight * (power * intercept + (sum + h as f64) * slope)));
    }
    squares
}

/// The same with the line of what was seen so far; beyond the end the forecasts stand for what will be seen.
fn run_dynamic(values: &[f64], fit: &Fit, horizon: usize, ahead: Option<&mut Vec<f64>>) -> f64 {
    let weight = 1.0 - 1.0 / fit.theta;
    let mut level = fit.level;
    let (mut mean, mut slope, mut intercept) = (0.0, 0.0, 0.0);
    let (mut power, mut sum) = (1.0, 1.0);
    let mut squares = 0.0;
    let mut said = ahead;
    let total = values.len() + if said.is_some() { horizon } else { 0 };
    for i in 0..total {
        let expected = level + weight * (power * intercept + sum * slope);
        let value = match values.get(i) {
            Some(value) => {
                // the first two points make the line, they do not judge it
                squares += if i >= 2 { (value - expected).powi(2) } else { 0.0 };
                *value
            }
            None => {
                if let Some(said) = &mut said {
                    said.push(expected);
                }
                expected
            }
        };
        let t = (i + 1) as f64;
        level = fit.alpha * value + (1.0 - fit.alpha) * level;
        slope = if i == 0 { 0.0 } else { ((t - 2.0) * slope + 6.0 * (value - mean) / t) / (t + 1.0) };
        mean = ((t - 1.0) * mean + value) / t;
        intercept = mean - slope * (t + 1.0) / 2.0;
        power *= 1.0 - fit.alpha;
        sum += power;
    }
    squares
}

#[cfg(test)]
mod tests {
    use super::super::testing::{close, noise};
    use super::*;

    #[test]
    fn theta_is_the_mean_of_the_trend_and_of_the_smoothed_theta_line() {
        let values = [10.0, 12.0, 11.0, 15.0, 14.0, 18.0];
        let fit = Fit { alpha: 0.3, theta: 2.0, level: 9.0 };
        let (intercept, slope) = line(&values);
        let mut ahead = Vec::new();
        run(&values, &fit, (intercept, slope), 3, Some(&mut ahead));
        let at = |t: usize| intercept + slope * t as f64;
        let mut smoothed = 2.0 * fit.level;
        for (i, value) in values.iter().enumerate() {
            smoothed += fit.alpha * (2.0 * value - at(i + 1) - smoothed);
        }
        let wanted: Vec<f64> = (7..=9).map(|t| (at(t) + smoothed) / 2.0).collect();
        assert!(close(&ahead, &wanted), "{ahead:?} {wanted:?}");
    }

    #[test]
    fn theta_is_smoothing_with_half_the_slope_as_drift() {
        let values: Vec<f64> = noise(1, 60).iter().enumerate().map(|(i, e)| 100.0 + 2.0 * i as f64 + e).collect();
        let ahead = forecast(&values, 4, Variant::Standard);
        let (_, slope) = line(&values);
        for pair in ahead.windows(2) {
            assert!((pair[1] - pair[0] - slope / 2.0).abs() < 1e-9, "{ahead:?} {slope}");
        }
    }

    #[test]
    fn the_dynamic_line_ends_as_the_line_of_the_whole() {
        // with all weight on the trend line (α → 0, θ → ∞) the first forecast is the line's
        let values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0];
        let (intercept, slope) = line(&values);
        let mut ahead = Vec::new();
        run_dynamic(&values, &Fit { alpha: 1e-9, theta: 1e12, level: 0.0 }, 1, Some(&mut ahead));
        assert!((ahead[0] - (intercept + slope * 9.0)).abs() < 1e-4, "{ahead:?}");
    }

    #[test]
    fn short_and_constant_series() {
        for variant in [Variant::Standard, Variant::Optimised, Variant::DynamicOptimised] {
            assert_eq!(forecast(&[5.0], 2, variant), [5.0, 5.0]);
            assert_eq!(forecast(&[5.0, 7.0], 2, variant), [7.0, 7.0]);
            assert_eq!(forecast(&[5.0; 20], 2, variant), [5.0, 5.0]);
            assert_eq!(forecast(&[0.0; 20], 2, variant), [0.0, 0.0]);
        }
    }
}
