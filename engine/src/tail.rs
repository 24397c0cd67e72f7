//! How far off quiet windows lie, and from where on a window is said: a limit for the rate of alerts that is wanted.
//!
//! Sums of a few bets have heavy tails: six robust deviations are an alert a day where somebody plays with large stakes,
//! and nothing ever where thousands play. So each series keeps how far its own windows lay off, in bins that grow by a
//! quarter, and the limit is the point that 2 % of them pass plus as many mean excesses as an exponential tail needs to
//! be passed at the wanted rate (peaks over threshold, Siffer et al. 2017). Products, quotients and sums of `f64` alone;
//! the logarithm is that of a constant.

use models::alert::Granularity;
use serde::{Deserialize, Serialize};

/// Bins: from 0.5 deviations on, each a quarter wider than the one before, up to about 3,000.
const BINS: usize = 40;
const FIRST: f64 = 0.5;
const GROWTH: f64 = 1.25;
/// The middle of a bin ÷ its upper edge.
const MIDDLE: f64 = 0.9;
/// One of so many windows lies beyond the point from which the tail is looked at.
const BEYOND: u32 = 50;
/// The tail is taken to begin with so many excesses of this share of the point: few windows say little of it.
const PRIOR: (f64, f64) = (2.0, 0.3);

/// Windows of a series that lay off to one side, by how far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// Counts from the first bin on; what is not there is 0.
    counts: Vec<u32>,
}

/// Windows that a tail remembers before it halves what it counted, and the logarithm of 2 % ÷ the share of windows that
/// may be said: one in half a million minutes, in 10,000 hours, in 400 days, in 60 weeks.
fn rate(granularity: Granularity) -> (u32, f64) {
    match granularity {
        Granularity::Minute => (16_384, 9.21),
        Granularity::Hour => (2_048, 5.30),
        Granularity::Day => (512, 2.08),
        Granularity::Week => (128, 0.20),
    }
}

impl Tail {
    /// Is it one that this code makes?
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.counts.len() <= BINS
    }

    /// A window that is over lay so many deviations off, to this side or, where it is negative, to the other.
    pub fn learn(&mut self, granularity: Granularity, score: f64) {
        let (mut bin, mut edge) = (0, FIRST);
        while score > edge && bin + 1 < BINS {
            (bin, edge) = (bin + 1, edge * GROWTH);
        }
        if self.counts.len() <= bin {
            self.counts.resize(bin + 1, 0);
        }
        self.counts[bin] += 1;
        if self.counts.iter().sum::<u32>() > rate(granularity).0 {
            self.counts.iter_mut().for_each(|count| *count /= 2);
        }
    }

    /// How far off a window must lie to be said.
    #[must_use]
    pub fn limit(&self, granularity: Granularity) -> f64 {
        let may = self.counts.iter().sum::<u32>() / BEYOND;
        // upper edges of the bins
        let edges = std::iter::successors(Some(FIRST), |edge| Some(edge * GROWTH));
        let bins: Vec<(f64, u32)> = edges.zip(self.counts.iter().copied()).collect();
        let (mut beyond, mut sum, mut point) = (0, 0.0, 0.0);
        for (place, (edge, count)) in bins.iter().enumerate().rev() {
            if beyond + count > may {
                // nobody lies off as far as half a deviation: a series that does not move
                point = if place == 0 { 0.0 } else { *edge };
                break;
            }
            beyond += count;
            sum += f64::from(*count) * edge * MIDDLE;
        }
        let (few, share) = PRIOR;
        let excess = sum - f64::from(beyond) * point + few * share * point;
        point + excess / (f64::from(beyond) + few) * rate(granularity).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(granularity: Granularity, scores: impl IntoIterator<Item = f64>) -> f64 {
        let mut tail = Tail::default();
        scores.into_iter().for_each(|score| tail.learn(granularity, score));
        tail.limit(granularity)
    }

    /// Scores of an exponential tail: the k-th of n is −ln(k/n).
    fn exponential(n: u32, mean: f64) -> impl Iterator<Item = f64> {
        (1..=n).map(move |k| -mean * (f64::from(k) / f64::from(n)).ln())
    }

    #[test]
    fn the_limit_follows_what_is_usual() {
        use Granularity::{Day, Hour, Minute};
        // told | the limit lies between
        let table: [(&str, f64, (f64, f64)); 7] = [
            ("nothing known yet", limit(Minute, []), (0.0, 0.0)),
            ("a series that never moves", limit(Minute, [0.0; 500]), (0.0, 0.0)),
            ("one window far off at the start makes careful", limit(Minute, [0.1, 0.2, 4.0]), (12.0, 20.0)),
            // −ln(1/500,000) = 13.1 means
            ("an exponential tail of minutes", limit(Minute, exponential(10_000, 1.0)), (12.0, 18.0)),
            ("twice as wide", limit(Minute, exponential(10_000, 2.0)), (24.0, 36.0)),
            ("hours are fewer", limit(Hour, exponential(2_000, 1.0)), (8.5, 13.0)),
            ("days are fewer still", limit(Day, exponential(400, 1.0)), (5.5, 9.0)),
        ];
        for (what, got, (low, high)) in table {
            assert!((low..=high).contains(&got), "{what}: {got}");
        }
    }

    #[test]
    fn it_is_bounded_and_forgets() {
        let mut tail = Tail::default();
        (0..2_000).for_each(|_| tail.learn(Granularity::Hour, 1e9));
        let wild = tail.limit(Granularity::Hour);
        (0..100_000).for_each(|_| tail.learn(Granularity::Hour, 1.0));
        assert!(tail.is_sound() && tail.counts.iter().sum::<u32>() <= 2_048);
        assert!(tail.limit(Granularity::Hour) < 4.0 && wild > 1_000.0);
        (0..9).for_each(|_| tail.learn(Granularity::Hour, -7.0));
        assert!(tail.counts[0] >= 9, "to the other side is not off at all");
    }
}
