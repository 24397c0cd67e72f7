//! How surprising a statistic is against its own history: the likelihood step.
//!
//! History is cut into blocks of points and only the largest value of each block is remembered, as a mean and a
//! variance over the last blocks. Maxima of blocks follow an extreme value distribution whatever the statistic itself
//! follows (Fisher and Tippett 1928; Gumbel 1958), and dependence between neighbouring points, which spoils tests on
//! single points, falls inside the blocks. The surprise is how many standard deviations a value lies above the usual
//! largest one, shrunk while blocks are few. How much largest values vary is not known from two or three of them, and the
//! next is a surprise too easily: as if three blocks had been seen before, whose largest values vary by two fifths (an
//! inverse gamma prior; Gelman et al. 2013, 2.6).

use serde::{Deserialize, Serialize};

/// Points in a block, where nothing else is asked for.
pub(super) const BLOCK: u32 = 100;
/// Blocks the mean and the variance remember.
const BLOCKS: f64 = 100.0;
/// Least spread, as a share of the usual largest value: what exceeds it by less says nothing.
const SPREAD_SHARE_MIN: f64 = 0.15;
/// Least spread, in the statistic's own unit: about a third of a mean absolute deviation of the series.
const SPREAD_MIN: f64 = 0.3;
/// What is known before the first block: so many blocks whose largest values vary by this share of the usual one.
const PRIOR_BLOCKS: f64 = 3.0;
const PRIOR_SHARE: f64 = 0.4;
/// A block's largest value is learnt as this many spreads above the usual one at most, so that one catastrophe does not
/// blind the detector for the hundred blocks after it.
const LEARNT_SPREADS_MAX: f64 = 4.0;

/// A mean that weighs all values alike until it has seen `memory` of them and forgets exponentially afterwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Mean {
    pub value: f64,
    weight: f64,
}

impl Mean {
    pub fn push(&mut self, value: f64, memory: f64) {
        self.weight = (self.weight + 1.0).min(memory);
        self.value += (value - self.value) / self.weight;
    }

    pub fn is_empty(&self) -> bool {
        self.weight == 0.0
    }

    pub fn weight(&self) -> f64 {
        self.weight
    }
}

/// The usual largest value of a statistic in a block.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Tail {
    mean: f64,
    variance: f64,
    blocks: f64,
    /// Largest of the block under way.
    largest: f64,
    // made of the above at the end of a block, so that a point costs a subtraction and a product
    spread: f64,
    shrunk: f64,
}

impl Default for Tail {
    fn default() -> Self {
        Self { mean: 0.0, variance: 0.0, blocks: 0.0, largest: 0.0, spread: SPREAD_MIN, shrunk: 0.0 }
    }
}

impl Tail {
    /// Spreads above the usual largest value; 0 at or below it, and while fewer than two blocks are known.
    pub fn surprise(&self, value: f64) -> f64 {
        ((value - self.mean) * self.shrunk / self.spread).max(0.0)
    }

    /// The value whose surprise is `surprise`; None while fewer than two blocks are known.
    pub fn value_of(&self, surprise: f64) -> Option<f64> {
        (self.shrunk > 0.0).then(|| self.mean + surprise * self.spread / self.shrunk)
    }

    /// The usual largest value.
    pub fn usual(&self) -> f64 {
        self.mean
    }

    /// Learns a value.
    pub fn push(&mut self, value: f64) {
        let learnt = if self.blocks < 2.0 { value } else { value.min(self.mean + LEARNT_SPREADS_MAX * self.spread) };
        self.largest = self.largest.max(learnt);
    }

    /// Ends a block.
    pub fn close(&mut self) {
        self.blocks = (self.blocks + 1.0).min(BLOCKS);
        let step = 1.0 / self.blocks;
        let apart = self.largest - self.mean;
        self.mean += step * apart;
        self.variance = (1.0 - step) * (self.variance + step * apart * apart);
        let before = PRIOR_BLOCKS * (PRIOR_SHARE * self.mean).powi(2);
        let variance = (self.blocks * self.variance + before) / (self.blocks + PRIOR_BLOCKS);
        self.spread = variance.sqrt().max(SPREAD_SHARE_MIN * self.mean).max(SPREAD_MIN);
        self.shrunk = if self.blocks < 2.0 { 0.0 } else { (self.blocks / (self.blocks + 1.0)).sqrt() };
        self.largest = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_starts_even_and_forgets_later() {
        let mut mean = Mean::default();
        [1.0, 2.0, 3.0].iter().for_each(|v| mean.push(*v, 3.0));
        assert_eq!(mean.value, 2.0);
        mean.push(5.0, 3.0);
        assert_eq!(mean.value, 3.0, "a third of the way");
    }

    #[test]
    fn surprise_is_measured_against_the_largest_of_blocks() {
        let mut tail = Tail::default();
        for block in 0..50 {
            assert_eq!(tail.surprise(1000.0) > 0.0, block >= 2, "silent for two blocks");
            for point in 0..BLOCK {
                tail.push(f64::from(point % 10) + f64::from(block % 2));
            }
            tail.close();
        }
        // largest values are 9 and 10, so 9.5 ± at least 15 %
        assert_eq!(tail.surprise(9.4), 0.0);
        let surprise = tail.surprise(9.5 + 3.0 * 0.15 * 9.5);
        assert!((2.9..3.0).contains(&surprise), "{surprise}");
        let back = tail.value_of(surprise).unwrap();
        assert!((back - 13.775).abs() < 1e-9, "{back}");
        tail.push(1e6);
        tail.close();
        assert!(tail.usual() < 9.7, "a catastrophe is learnt as five spreads: {}", tail.usual());
    }
}
