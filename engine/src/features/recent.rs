//! Small sums that cost the same at every record: counts of the newest time, usual sizes, medians.
//!
//! Only sums, products, quotients and comparisons: IEEE 754 fixes their results, so that two machines agree.

use models::ts::Ts;
use serde::{Deserialize, Serialize};

/// Buckets of a count.
pub const BUCKETS: usize = 12;
/// Values that a usual size stands on, about: older ones fade.
const MEMORY: u32 = 50;

/// How often something happened in the newest [`BUCKETS`] spans of equal length; the length is the caller's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    /// Number of the newest span since 1970.
    newest: i64,
    counts: [u16; BUCKETS],
}

impl Recent {
    /// It happened. What is older than all spans is not counted.
    pub fn add(&mut self, at: Ts, length: i64) {
        let span = at.0.div_euclid(length);
        if span > self.newest {
            let moved = (span - self.newest).min(BUCKETS as i64) as usize;
            self.counts.rotate_right(moved);
            self.counts[..moved].fill(0);
            self.newest = span;
        }
        if let Some(count) = usize::try_from(self.newest - span).ok().and_then(|place| self.counts.get_mut(place)) {
            *count = count.saturating_add(1);
        }
    }

    /// How often in the `spans` newest spans, seen from `at`.
    #[must_use]
    pub fn count(&self, at: Ts, length: i64, spans: usize) -> u32 {
        let gone = (at.0.div_euclid(length) - self.newest).max(0);
        let spans = spans.min(BUCKETS).saturating_sub(gone.min(BUCKETS as i64) as usize);
        self.counts[..spans].iter().map(|count| u32::from(*count)).sum()
    }
}

/// The usual size of something: mean and mean absolute difference of about the last 50, and the largest ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usual {
    /// How many there were.
    pub count: u32,
    /// Mean.
    pub mean: f64,
    /// Mean absolute difference from the mean.
    pub deviation: f64,
    /// The largest.
    pub max: f64,
}

impl Usual {
    /// One more.
    pub fn push(&mut self, value: f64) {
        self.count = self.count.saturating_add(1);
        let weight = 1.0 / f64::from(self.count.min(MEMORY));
        let difference = value - self.mean;
        self.mean += weight * difference;
        if self.count > 1 {
            self.deviation += 1.0 / f64::from((self.count - 1).min(MEMORY)) * (difference.abs() - self.deviation);
        }
        self.max = if self.count == 1 { value } else { self.max.max(value) };
    }

    /// Difference over mean: how much it varies; missing below two values or without a size.
    #[must_use]
    pub fn variation(&self) -> f64 {
        if self.count < 2 || self.mean <= 0.0 { f64::NAN } else { self.deviation / self.mean }
    }
}

/// The median of everything so far in five numbers (P², Jain and Chlamtac 1985).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Median {
    count: u32,
    heights: [f64; 5],
    /// Ranks of the five, from 1.
    ranks: [i32; 5],
}

impl Median {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// One more.
    pub fn push(&mut self, value: f64) {
        if self.count < 5 {
            self.heights[self.count as usize] = value;
            self.count += 1;
            self.heights[..self.count as usize].sort_unstable_by(f64::total_cmp);
            self.ranks = [1, 2, 3, 4, 5];
            return;
        }
        // ranks are 31 bits: from there on it stays
        if self.count >= 1 << 30 {
            return;
        }
        self.count += 1;
        self.heights[0] = self.heights[0].min(value);
        self.heights[4] = self.heights[4].max(value);
        for place in 1..5 {
            self.ranks[place] += i32::from(value < self.heights[place] || place == 4);
        }
        for place in 1..4 {
            let wanted = 1.0 + f64::from(self.count - 1) * place as f64 / 4.0;
            let off = wanted - f64::from(self.ranks[place]);
            let (before, after) =
                (self.ranks[place] - self.ranks[place - 1], self.ranks[place + 1] - self.ranks[place]);
            if (off >= 1.0 && after > 1) || (off <= -1.0 && before > 1) {
                self.shift(place, if off > 0.0 { 1 } else { -1 });
            }
        }
    }

    fn shift(&mut self, place: usize, step: i32) {
        let (h, r) = (&self.heights, self.ranks.map(f64::from));
        let d = f64::from(step);
        let (below, above) = (r[place] - r[place - 1], r[place + 1] - r[place]);
        let curve = h[place]
            + d / (r[place + 1] - r[place - 1])
                * ((below + d) * (h[place + 1] - h[place]) / above + (above - d) * (h[place] - h[place - 1]) / below);
        let is_between = h[place - 1] < curve && curve < h[place + 1];
        let other = if step > 0 { place + 1 } else { place - 1 };
        let line = h[place] + d * (h[other] - h[place]) / (r[other] - r[place]);
        self.heights[place] = if is_between { curve } else { line };
        self.ranks[place] += step;
    }

    /// The median; missing before the first value.
    #[must_use]
    pub fn value(&self) -> f64 {
        match self.count {
            0 => f64::NAN,
            n @ 1..=5 => {
                let known = &self.heights[..n as usize];
                f64::midpoint(known[(known.len() - 1) / 2], known[known.len() / 2])
            }
            _ => self.heights[2],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ts::MINUTE;
    use proptest::prelude::*;

    #[test]
    fn counts_of_the_newest_spans() {
        let mut recent = Recent::default();
        for minute in [100, 101, 104, 112, 90, 20] {
            recent.add(Ts(minute * 5 * MINUTE), 5 * MINUTE);
        }
        // seen from span 112: 112 is in the newest; 104, 101 within twelve; 100 is the thirteenth, 90 and 20 long gone
        let at = |minute: i64, spans| recent.count(Ts(minute * 5 * MINUTE), 5 * MINUTE, spans);
        let table = [(112, 1, 1), (112, 9, 2), (112, 12, 3), (113, 1, 0), (113, 12, 2), (123, 12, 1), (124, 12, 0)];
        for (minute, spans, wanted) in table {
            assert_eq!(at(minute, spans), wanted, "{minute} {spans}");
        }
    }

    #[test]
    fn usual_sizes_by_hand() {
        let mut usual = Usual::default();
        assert!(usual.variation().is_nan());
        for value in [100.0, 200.0, 300.0] {
            usual.push(value);
        }
        // differences from the means before: 100 from 100, 150 from 150
        assert_eq!((usual.count, usual.mean, usual.deviation, usual.max), (3, 200.0, 125.0, 300.0));
        assert_eq!(usual.variation(), 0.625);
    }

    #[test]
    fn few_values_have_their_exact_median() {
        let table: [(&[f64], f64); 4] =
            [(&[3.0], 3.0), (&[9.0, 1.0], 5.0), (&[9.0, 1.0, 2.0], 2.0), (&[5.0, 4.0, 1.0, 2.0, 3.0], 3.0)];
        for (values, wanted) in table {
            let mut median = Median::default();
            values.iter().for_each(|value| median.push(*value));
            assert_eq!(median.value(), wanted, "{values:?}");
        }
        assert!(Median::default().value().is_nan());
    }

    proptest! {
        #[test]
        fn a_long_stream_keeps_its_median(values in proptest::collection::vec(0u32..10_000, 200..2_000)) {
            let mut median = Median::default();
            values.iter().for_each(|value| median.push(f64::from(*value)));
            let mut sorted = values;
            sorted.sort_unstable();
            // P² is an estimate: within the middle fifth of the ranks
            let rank = sorted.partition_point(|value| f64::from(*value) < median.value());
            let share = rank as f64 / sorted.len() as f64;
            prop_assert!((0.4..=0.6).contains(&share), "{share}");
        }
    }
}
