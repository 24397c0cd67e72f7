//! Chance from a seed: the few draws that training needs, the same on every machine.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// A stream of draws.
pub(super) struct Chance(Xoshiro256PlusPlus);

impl Chance {
    /// `stream` keeps draws of different purposes under one seed apart.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        // an odd multiplier (Knuth's for 64 bits) spreads neighbouring streams over the seeds
        Self(Xoshiro256PlusPlus::seed_from_u64(seed ^ stream.wrapping_mul(6_364_136_223_846_793_005)))
    }

    /// Evenly from `0..n`; 0 for an empty range.
    pub(super) fn below(&mut self, n: usize) -> usize {
        // the high half of a product: the bias is at most n / 2^64 (Lemire 2019)
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }

    /// Fisher–Yates.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// `k` of `0..n` without repetition, ascending.
    pub(super) fn sample(&mut self, n: usize, k: usize) -> Vec<usize> {
        if k >= n {
            return (0..n).collect();
        }
        let mut chosen = Vec::with_capacity(k);
        // selection sampling (Knuth, algorithm 3.4.2S)
        for i in 0..n {
            if self.below(n - i) < k - chosen.len() {
                chosen.push(i);
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_of_the_size_wanted_ascending_and_the_same_for_a_seed() {
        for (n, k) in [(0, 0), (1, 0), (5, 2), (5, 5), (5, 9), (100, 37)] {
            let got = Chance::new(1, 2).sample(n, k);
            assert_eq!(got.len(), k.min(n), "{k} of {n}");
            assert!(got.windows(2).all(|w| w[0] < w[1]) && got.iter().all(|i| *i < n));
            assert_eq!(got, Chance::new(1, 2).sample(n, k));
        }
        assert_ne!(Chance::new(1, 2).sample(100, 37), Chance::new(1, 3).sample(100, 37));
    }

    #[test]
    fn every_value_is_drawn() {
        let mut chance = Chance::new(7, 0);
        let mut counts = [0; 5];
        (0..5_000).for_each(|_| counts[chance.below(5)] += 1);
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
