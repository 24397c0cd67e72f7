//! The forecasts that every other has to beat.

/// The values of one period before, again and again; the last value where the series is shorter than a period.
pub fn seasonal(values: &[f64], period: usize, horizon: usize) -> Vec<f64> {
    let period = if period <= values.len() { period.max(1) } else { 1 };
    let last = &values[values.len().saturating_sub(period)..];
    last.iter().copied().cycle().take(horizon).collect()
}

/// The last value and the mean step from the first to it.
pub fn drift(values: &[f64], horizon: usize) -> Vec<f64> {
    let (Some(first), Some(last)) = (values.first(), values.last()) else { return Vec::new() };
    let slope = (last - first) / values.len().saturating_sub(1).max(1) as f64;
    (1..=horizon).map(|h| last + slope * h as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(seasonal(&[9.0, 1.0, 2.0, 3.0], 3, 4), [1.0, 2.0, 3.0, 1.0]);
        assert_eq!(seasonal(&[1.0, 2.0], 3, 2), [2.0, 2.0], "shorter than a period");
        assert_eq!(drift(&[1.0, 2.0, 5.0], 2), [7.0, 9.0]);
        assert_eq!(drift(&[4.0], 2), [4.0, 4.0]);
        assert_eq!((seasonal(&[], 3, 2).len(), drift(&[], 2).len()), (0, 0));
    }
}
