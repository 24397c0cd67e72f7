//! Series that are mostly zero: how often and how much are smoothed apart.
//!
//! Teunter, Syntetos and Babai (2011): unlike Croston's method (1972) the chance falls with every zero, so that a product
//! that has died is seen to have died.

/// Share of zeros from which a series counts as intermittent: an average of more than 1.32 steps between two amounts
/// (Syntetos, Boylan and Croston 2005).
const INTERVAL_MIN: f64 = 1.32;

/// Smoothing parameters tried.
const GRID: [f64; 6] = [0.02, 0.05, 0.1, 0.2, 0.3, 0.5];

/// Whether no value is below zero and zeros lie between the others.
pub fn is_intermittent(values: &[f64]) -> bool {
    let amounts = values.iter().filter(|v| **v != 0.0).count();
    values.iter().all(|v| *v >= 0.0) && amounts > 0 && values.len() as f64 / amounts as f64 > INTERVAL_MIN
}

/// The constant forecast: chance times amount, with the two smoothing parameters that erred least one step ahead.
pub fn forecast(values: &[f64]) -> f64 {
    let pairs = GRID.iter().flat_map(|chance| GRID.iter().map(move |amount| (*chance, *amount)));
    let runs = pairs.map(|(chance, amount)| run(values, chance, amount));
    runs.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(0.0, |(_, said)| said)
}

/// Sum of squared one-step errors and the forecast.
fn run(values: &[f64], chance_smoothing: f64, amount_smoothing: f64) -> (f64, f64) {
    let amounts: Vec<f64> = values.iter().copied().filter(|v| *v != 0.0).collect();
    let mut chance = amounts.len() as f64 / values.len().max(1) as f64;
    let mut amount = amounts.iter().sum::<f64>() / amounts.len().max(1) as f64;
    let mut squares = 0.0;
    for value in values {
        squares += (value - chance * amount).powi(2);
        let happened = if *value != 0.0 { 1.0 } else { 0.0 };
        chance += chance_smoothing * (happened - chance);
        amount += amount_smoothing * happened * (value - amount);
    }
    (squares, chance * amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_intermittent() {
        let table: [(&[f64], bool); 5] = [
            (&[0.0, 0.0, 3.0, 0.0], true),
            (&[1.0, 2.0, 0.0, 4.0, 5.0], false),
            (&[0.0; 5], false),
            (&[0.0, -1.0, 0.0], false),
            (&[], false),
        ];
        for (values, wanted) in table {
            assert_eq!(is_intermittent(values), wanted, "{values:?}");
        }
    }

    #[test]
    fn by_hand() {
        // the mean amount is 14 and stays; chance 1/2 → 0.4 → 0.52
        let (squares, said) = run(&[0.0, 14.0], 0.2, 0.5);
        assert!((said - (0.4 + 0.2 * 0.6) * 14.0).abs() < 1e-12, "{said}");
        assert!((squares - (7.0f64.powi(2) + (14.0 - 0.4 * 14.0f64).powi(2))).abs() < 1e-9, "{squares}");
    }

    #[test]
    fn what_has_died_fades() {
        let alive: Vec<f64> = (0..60).map(|i| if i % 3 == 0 { 9.0 } else { 0.0 }).collect();
        assert!((forecast(&alive) - 3.0).abs() < 0.5, "{}", forecast(&alive));
        let dead: Vec<f64> = alive.iter().copied().chain([0.0; 60]).collect();
        assert!(forecast(&dead) < 0.2, "{}", forecast(&dead));
    }
}
