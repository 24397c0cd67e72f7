//! Seasonal autoregressive moving averages by conditional sum of squares (Box and Jenkins 1970).
//!
//! Differences are decided before the search: one of a period where the series is seasonal, one of a step where the KPSS
//! test (Kwiatkowski et al. 1992) refuses a level that stays. The orders come from a short list by the corrected Akaike
//! criterion; what is before the first value counts as the mean, so that all candidates are judged on the same values.

use super::optimise::{Point, minimise, start};

/// Orders of one candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Orders {
    ar: usize,
    ma: usize,
    seasonal_ar: usize,
    seasonal_ma: usize,
}

const fn orders(ar: usize, ma: usize, seasonal_ar: usize, seasonal_ma: usize) -> Orders {
    Orders { ar, ma, seasonal_ar, seasonal_ma }
}

/// Candidates with a season: around the airline model.
const SEASONAL: [Orders; 8] = [
    orders(0, 1, 0, 1),
    orders(1, 1, 0, 1),
    orders(1, 0, 0, 1),
    orders(2, 0, 0, 1),
    orders(0, 2, 0, 1),
    orders(2, 1, 0, 1),
    orders(0, 1, 1, 1),
    orders(1, 1, 1, 1),
];

/// Candidates without.
const PLAIN: [Orders; 8] = [
    orders(0, 0, 0, 0),
    orders(0, 1, 0, 0),
    orders(1, 0, 0, 0),
    orders(1, 1, 0, 0),
    orders(2, 0, 0, 0),
    orders(0, 2, 0, 0),
    orders(2, 1, 0, 0),
    orders(1, 2, 0, 0),
];

/// Critical value of the KPSS test of a level at 5 %.
const KPSS_CRITICAL: f64 = 0.463;

/// Most differences of a step.
const DIFFERENCES_MAX: usize = 2;

/// Forecasts 1 to `horizon`. `period` is 1 for a series without season or adjusted before; a seasonal difference is taken
/// where it is more.
pub fn forecast(values: &[f64], period: usize, horizon: usize) -> Vec<f64> {
    let seasonal = period > 1 && values.len() >= 2 * period + 8;
    let mut stages = vec![values.to_vec()];
    let mut lags = Vec::new();
    if seasonal {
        lags.push(period);
        stages.push(difference(values, period));
    }
    while lags.len() < DIFFERENCES_MAX && stages[stages.len() - 1].len() > 8 && !level_stays(&stages[stages.len() - 1])
    {
        lags.push(1);
        stages.push(difference(&stages[stages.len() - 1], 1));
    }
    let last = &stages[stages.len() - 1];
    // a constant under two differences would be a parabola
    let mean = if lags.len() < 2 { last.iter().sum::<f64>() / last.len().max(1) as f64 } else { 0.0 };
    let centred: Vec<f64> = last.iter().map(|v| v - mean).collect();
    let candidates = if seasonal { &SEASONAL } else { &PLAIN };
    let best = candidates
        .iter()
        .filter_map(|orders| fit(&centred, *orders, period))
        .min_by(|a, b| a.criterion.total_cmp(&b.criterion));
    let mut ahead = match best {
        Some(fit) => predict(&centred, &fit, horizon).iter().map(|v| v + mean).collect(),
        None => vec![mean; horizon],
    };
    for (stage, lag) in stages.iter().zip(&lags).rev() {
        let mut whole = stage.clone();
        for difference in &ahead {
            whole.push(difference + whole[whole.len() - lag]);
        }
        ahead = whole.split_off(stage.len());
    }
    ahead
}

fn difference(values: &[f64], lag: usize) -> Vec<f64> {
    values.iter().skip(lag).zip(values).map(|(now, before)| now - before).collect()
}

/// KPSS test with Bartlett's window of 4 (n / 100)^¼ lags.
fn level_stays(values: &[f64]) -> bool {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let centred: Vec<f64> = values.iter().map(|v| v - mean).collect();
    let lags = (4.0 * (n / 100.0).powf(0.25)).floor() as usize;
    let product = |lag: usize| centred.iter().zip(&centred[lag.min(centred.len())..]).map(|(a, b)| a * b).sum::<f64>();
    let weighted = |lag: usize| 2.0 * (1.0 - lag as f64 / (lags + 1) as f64) * product(lag);
    let variance = (product(0) + (1..=lags).map(weighted).sum::<f64>()) / n;
    if variance <= 0.0 {
        return true;
    }
    let mut sum = 0.0;
    let squares: f64 = centred
        .iter()
        .map(|v| {
            sum += v;
            sum * sum
        })
        .sum();
    squares / (n * n * variance) < KPSS_CRITICAL
}

/// A fitted model: weights of earlier values and of earlier errors by lag.
struct Fit {
    values: Vec<(usize, f64)>,
    errors: Vec<(usize, f64)>,
    criterion: f64,
}

fn fit(values: &[f64], orders: Orders, period: usize) -> Option<Fit> {
    let n = values.len() as f64;
    let active = orders.ar + orders.ma + orders.seasonal_ar + orders.seasonal_ma;
    let count = (active + 2) as f64;
    if n - count - 1.0 <= 0.0 {
        return None;
    }
    let mut begin = start([0.1; 8], [0.2; 8], 250);
    begin.active = active;
    let mut errors = vec![0.0; values.len()];
    let (best, squares) = minimise(&begin, |point| {
        let (ar, ma) = weights(point, orders, period);
        squares(values, &ar, &ma, &mut errors)
    });
    let (ar, ma) = weights(&best, orders, period);
    let variance = (squares / n).max(f64::MIN_POSITIVE);
    let criterion = n * variance.ln() + 2.0 * count + 2.0 * count * (count + 1.0) / (n - count - 1.0);
    Some(Fit { values: ar, errors: ma, criterion })
}

/// Lags and what they weigh.
type Weights = Vec<(usize, f64)>;

/// Weights by lag of a point of the search. Each factor is made of partial autocorrelations within ±1, so it is stationary
/// or invertible by itself.
fn weights(point: &Point, orders: Orders, period: usize) -> (Weights, Weights) {
    let (ar, rest) = point.split_at(orders.ar);
    let (ma, rest) = rest.split_at(orders.ma);
    let (seasonal_ar, rest) = rest.split_at(orders.seasonal_ar);
    let seasonal_ma = &rest[..orders.seasonal_ma];
    (product(&factor(ar), &factor(seasonal_ar), period), product(&factor(ma), &factor(seasonal_ma), period))
}

/// Coefficients of a factor 1 − c₁B − c₂B² from unbounded numbers (Barndorff-Nielsen and Schou 1973).
fn factor(unbounded: &[f64]) -> Vec<f64> {
    let partial: Vec<f64> = unbounded.iter().map(|u| 0.99 * u.tanh()).collect();
    match partial[..] {
        [one] => vec![one],
        [one, two] => vec![one * (1.0 - two), two],
        _ => Vec::new(),
    }
}

/// Lags and weights of (1 − Σ aᵢBⁱ)(1 − Σ bⱼB^(jm)), written on the right-hand side.
fn product(plain: &[f64], seasonal: &[f64], period: usize) -> Vec<(usize, f64)> {
    let mut lags: Vec<(usize, f64)> = plain.iter().enumerate().map(|(i, c)| (i + 1, *c)).collect();
    for (j, s) in seasonal.iter().enumerate() {
        lags.push(((j + 1) * period, *s));
        lags.extend(plain.iter().enumerate().map(|(i, c)| ((j + 1) * period + i + 1, -c * s)));
    }
    lags
}

/// What is expected of value `t`; before the first value everything is the mean, 0.
fn expected(t: usize, values: &[f64], errors: &[f64], ar: &[(usize, f64)], ma: &[(usize, f64)]) -> f64 {
    let of = |series: &[f64], lag: usize| if t >= lag { series[t - lag] } else { 0.0 };
    ar.iter().map(|(lag, c)| c * of(values, *lag)).sum::<f64>()
        - ma.iter().map(|(lag, c)| c * of(errors, *lag)).sum::<f64>()
}

fn squares(values: &[f64], ar: &[(usize, f64)], ma: &[(usize, f64)], errors: &mut [f64]) -> f64 {
    let mut squares = 0.0;
    for t in 0..values.len() {
        let error = values[t] - expected(t, values, errors, ar, ma);
        errors[t] = error;
        squares += error * error;
    }
    squares
}

fn predict(values: &[f64], fit: &Fit, horizon: usize) -> Vec<f64> {
    let mut errors = vec![0.0; values.len() + horizon];
    squares(values, &fit.values, &fit.errors, &mut errors);
    let mut whole = values.to_vec();
    for t in values.len()..values.len() + horizon {
        whole.push(expected(t, &whole, &errors, &fit.values, &fit.errors));
    }
    whole.split_off(values.len())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{close, noise};
    use super::*;

    #[test]
    fn polynomials_by_hand() {
        // (1 − 0.5B)(1 − 0.4B⁴) = 1 − 0.5B − 0.4B⁴ + 0.2B⁵
        assert_eq!(product(&[0.5], &[0.4], 4), [(1, 0.5), (4, 0.4), (5, -0.2)]);
        assert_eq!(product(&[], &[0.4], 4), [(4, 0.4)]);
        // a first-order moving average: errors 1, 2 − (−0.5 · 1)…
        let mut errors = [0.0; 3];
        let sum = squares(&[1.0, 2.0, 0.0], &[], &[(1, 0.5)], &mut errors);
        assert!(close(&errors, &[1.0, 2.5, 1.25]) && close(&[sum], &[1.0 + 6.25 + 1.5625]));
        let fit = Fit { values: vec![(1, 0.5)], errors: vec![(1, 0.5)], criterion: 0.0 };
        // errors 1 and 2 − 0.5 + 0.5 = 2, then 0.5 · 2 − 0.5 · 2 = 0
        assert!(close(&predict(&[1.0, 2.0], &fit, 2), &[0.0, 0.0]));
    }

    #[test]
    fn an_autoregression_is_found() {
        let mut values = vec![0.0; 400];
        for (t, e) in noise(11, 400).iter().enumerate().skip(1) {
            values[t] = 0.7 * values[t - 1] + e;
        }
        let fit = fit(&values, orders(1, 0, 0, 0), 1).unwrap();
        assert!((fit.values[0].1 - 0.7).abs() < 0.08, "{:?}", fit.values);
        assert!(level_stays(&values[..100]));
        let walk: Vec<f64> = values
            .iter()
            .scan(0.0, |s, v| {
                *s += v + 0.5;
                Some(*s)
            })
            .collect();
        assert!(!level_stays(&walk));
    }

    #[test]
    fn a_line_and_a_season_go_on() {
        let line: Vec<f64> = (0..40).map(|i| 3.0 * f64::from(i)).collect();
        assert!(close(&forecast(&line, 1, 3), &[120.0, 123.0, 126.0]));
        let wave = [5.0, -1.0, -3.0, -1.0];
        let seasonal: Vec<f64> = (0..40).map(|i| 2.0 * i as f64 + wave[i % 4]).collect();
        assert!(close(&forecast(&seasonal, 4, 4), &[85.0, 81.0, 81.0, 85.0]), "{:?}", forecast(&seasonal, 4, 4));
        for values in [&[7.0][..], &[7.0; 2], &[7.0; 30]] {
            assert!(close(&forecast(values, 12, 2), &[7.0, 7.0]), "{values:?}");
        }
    }
}
