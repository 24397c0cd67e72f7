//! The detector's own speed, for `mlinzi-bench`: how many points it takes lies with the caller, and so does the clock.

use super::{Detector, Params};
use models::ts::{MINUTE, Ts};

/// Shows `points` points of a noisy daily series, one every five minutes, to a detector with default parameters.
/// Returns the sum of the scores, so that nothing is optimised away and two runs can be compared.
pub fn observe_points(points: u32) -> f64 {
    let mut detector = Detector::new(Params::default());
    let mut state = 1u64;
    let mut sum = 0.0;
    for point in 0..points {
        // xorshift (Marsaglia 2003): a few operations, so that the detector is what is measured
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let noise = (state >> 40) as f64 / f64::from(1u32 << 24);
        let busy = f64::from((point % 288).abs_diff(144));
        sum += detector.observe(Ts(i64::from(point) * 5 * MINUTE), 300.0 - busy + 40.0 * noise).score;
    }
    sum
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_sum_is_the_same_each_time() {
        let sum = super::observe_points(5000);
        assert!(sum > 0.0);
        assert_eq!(sum.to_bits(), super::observe_points(5000).to_bits());
    }
}
