//! How far chance goes: tail bounds of sums, with additions, multiplications and comparisons alone, whose results
//! IEEE 754 fixes.

use std::f64::consts::{LN_2, LN_10};

/// How rare something must be: once in 10^`digits`, on both sides.
#[must_use]
pub fn nats_two_sided(digits: i64) -> f64 {
    LN_2 + digits as f64 * LN_10
}

/// The same on one side.
#[must_use]
pub fn nats(digits: i64) -> f64 {
    digits as f64 * LN_10
}

/// Does a sum lie farther from its mean than chance allows, by Bernstein's inequality (1924): P(S − E S ≥ t) ≤
/// exp(−t² ∕ 2(V + bt∕3)) for a sum of variance V whose summands exceed their means by at most b? Holds for a Poisson
/// number of mean V with b = 1.
#[must_use]
pub fn is_beyond_bernstein(deviation: f64, variance: f64, largest: f64, nats: f64) -> bool {
    deviation > 0.0 && deviation * deviation > 2.0 * nats * (variance + largest * deviation / 3.0)
}

/// The same where the variance is estimated from the sum's own summands (Maurer and Pontil 2009, theorem 4): the
/// deviation is at most √(2 V nats) + 7 b nats ∕ 3, with V their squares added up.
#[must_use]
pub fn is_beyond_empirical(deviation: f64, squares: f64, largest: f64, nats: f64) -> bool {
    let beyond = deviation - 7.0 * largest * nats / 3.0;
    beyond > 0.0 && beyond * beyond > 2.0 * squares * nats
}

/// Does a sum of amounts that are never negative lie farther below its mean than chance allows? P(E S − S ≥ t) ≤
/// exp(−t² ∕ 2 Σ E Xᵢ²) (Maurer 2003): the largest of them does not matter, so that one large bet hides nothing.
/// `squares` is Σ E Xᵢ², or more.
#[must_use]
pub fn is_below_nonnegative(shortfall: f64, squares: f64, nats: f64) -> bool {
    shortfall > 0.0 && shortfall * shortfall > 2.0 * squares * nats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_won_seldom_falls_short_often_and_the_bound_knows() {
        // a win of 15 stakes with probability 0.06, a thousand times: how many wins are too few once in 10^4
        let (n, p, win) = (1_000, 0.06f64, 15.0);
        let short = |wins: u32| f64::from(n) * p * win - f64::from(wins) * win;
        let squares = f64::from(n) * p * win * win;
        let most = (0..60).rev().find(|wins| is_below_nonnegative(short(*wins), squares, nats(4))).unwrap();
        // the exact tail, added up term by term
        let mut term = (1.0 - p).powi(n);
        let mut tail = 0.0;
        for k in 0..=most {
            tail += term;
            term *= f64::from(n as u32 - k) / f64::from(k + 1) * p / (1.0 - p);
        }
        assert!(tail < 1e-4, "{most} wins have {tail}");
        assert!(most >= 24, "and it is no bound that never speaks: {most}");
    }

    #[test]
    fn a_poisson_number_passes_its_bound_as_seldom_as_it_says() {
        // the exact tail, added up term by term: P(N ≥ k) for a mean
        let tail = |mean: f64, k: u32| {
            let term = |n: u32| (1..=n).fold((-mean).exp(), |p, i| p * mean / f64::from(i));
            1.0 - (0..k).map(term).sum::<f64>()
        };
        for mean in [0.5, 3.0, 20.0, 60.0] {
            let first = (0..1_000).find(|k| is_beyond_bernstein(f64::from(*k) - mean, mean, 1.0, nats(4))).unwrap();
            let p = tail(mean, first);
            assert!(p < 1e-4, "{mean}: {first} with {p}");
            // and it is no bound that never speaks: six times the mean does at twenty
            assert!(f64::from(first) < 6.0 * mean + 16.0, "{mean}: {first}");
        }
    }

    #[test]
    fn the_bound_with_estimated_variance_grows_with_the_root_of_the_volume() {
        let first =
            |squares: f64| (1..).map(f64::from).find(|t| is_beyond_empirical(*t, squares, 1.0, nats(3))).unwrap();
        let (small, large) = (first(1e4), first(1e6));
        assert!(large / small > 5.0 && large / small < 10.0, "{small} {large}");
    }
}
