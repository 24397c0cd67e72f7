//! Prediction intervals from the errors that the combination made at earlier origins.
//!
//! Conformal in kind (Vovk, Gammerman and Shafer 2005; for series Stankevičiūtė, Alaa and van der Schaar 2021): nothing is
//! assumed of the errors' distribution, the width at a step is what held the wanted share of past errors at that step. A
//! series alone has too few of them, so they are pooled over the input in units of each series: the mean absolute difference
//! of values a period apart (the scale of the MASE), times how much more or less than others this series erred before,
//! shrunk as if one origin of the average series had been seen. Errors grow about with the root of the
//! step, so they are pooled after division by it.

/// Steps on either side whose errors count for a step.
const NEIGHBOURS: usize = 1;

/// Errors below which more neighbours are asked.
const ERRORS_MIN: usize = 30;

/// Quantile of the normal distribution over its mean absolute value at 80 %: the width of a random walk, for an input of
/// which nothing could be tried.
const UNTRIED: f64 = 1.281_551_6 / 0.797_884_6;

/// Errors of the combination at one origin of one series.
#[derive(Clone, Debug)]
pub(super) struct Errors {
    /// Number of the series.
    pub(super) series: usize,
    /// Unit of the series up to that origin; above zero.
    pub(super) unit: f64,
    /// Absolute errors by step.
    pub(super) errors: Vec<f64>,
}

/// Half widths by series, by step. `units` are those of the whole series; a unit of zero gives a width of zero.
pub(super) fn widths(all: &[Errors], units: &[f64], horizon: usize, coverage: f64) -> Vec<Vec<f64>> {
    let sizes: Vec<f64> = all.iter().map(size).collect();
    let typical = if sizes.is_empty() { 0.0 } else { sizes.iter().sum::<f64>() / sizes.len() as f64 };
    if typical <= 0.0 {
        let errors = if all.is_empty() { UNTRIED } else { 0.0 };
        return units.iter().map(|unit| (0..horizon).map(|h| errors * unit * root(h)).collect()).collect();
    }
    let mut sums = vec![(0.0, 0.0); units.len()];
    for (errors, size) in all.iter().zip(&sizes) {
        sums[errors.series].0 += size;
        sums[errors.series].1 += 1.0;
    }
    // relative size of the errors of a series, one of the average series among them
    let share = |(sum, count): (f64, f64)| (typical + sum) / (1.0 + count) / typical;
    let mut by_step = vec![Vec::new(); horizon];
    for (errors, size) in all.iter().zip(&sizes) {
        let (sum, count) = sums[errors.series];
        // judged by its other origins alone, as the forecast to come will be
        let own = errors.unit * share((sum - size, count - 1.0));
        for (h, error) in errors.errors.iter().enumerate().take(horizon) {
            by_step[h].push(error / root(h) / own);
        }
    }
    let quantiles: Vec<f64> = (0..horizon).map(|h| quantile(&by_step, h, coverage)).collect();
    let one = |(unit, sums): (&f64, &(f64, f64))| {
        quantiles.iter().enumerate().map(|(h, quantile)| quantile * root(h) * unit * share(*sums)).collect()
    };
    units.iter().zip(&sums).map(one).collect()
}

fn root(step: usize) -> f64 {
    ((step + 1) as f64).sqrt()
}

/// Mean error in units and roots of the step.
fn size(errors: &Errors) -> f64 {
    let scaled = errors.errors.iter().enumerate().map(|(h, error)| error / root(h));
    scaled.sum::<f64>() / errors.unit / errors.errors.len().max(1) as f64
}

/// Quantile of the errors at a step and its neighbours with the rank that covers one more value as often as wanted.
fn quantile(by_step: &[Vec<f64>], step: usize, coverage: f64) -> f64 {
    let mut reach = NEIGHBOURS;
    let mut pooled: Vec<f64> = loop {
        let last = (step + reach + 1).min(by_step.len());
        let pooled: Vec<f64> = by_step[step.saturating_sub(reach)..last].concat();
        if pooled.len() >= ERRORS_MIN || reach >= by_step.len() {
            break pooled;
        }
        reach *= 2;
    };
    pooled.sort_by(f64::total_cmp);
    let rank = (coverage * (pooled.len() + 1) as f64).ceil() as usize;
    pooled.get(rank.saturating_sub(1)).or(pooled.last()).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{close, noise};
    use super::*;

    fn errors(series: usize, errors: &[f64]) -> Errors {
        Errors { series, unit: 1.0, errors: errors.to_vec() }
    }

    #[test]
    fn the_rank_by_hand() {
        let by_step = vec![(1..=9).map(f64::from).collect::<Vec<_>>()];
        // 0.8 · 10 = 8
        assert_eq!(quantile(&by_step, 0, 0.8), 8.0);
        assert_eq!(quantile(&[vec![1.0, 2.0]], 0, 0.8), 2.0, "too few for the rank: the largest");
        assert_eq!(quantile(&[vec![]], 0, 0.8), 0.0);
    }

    #[test]
    fn new_errors_of_the_same_kind_are_covered() {
        let e = noise(21, 4000);
        let sizes = |i: usize| [1.0, 1.0, 5.0, 0.2][i % 4];
        let all: Vec<Errors> = (0..160)
            .map(|i| errors(i % 40, &[e[2 * i].abs() * sizes(i), e[2 * i + 1].abs() * sizes(i) * 1.4]))
            .collect();
        let widths = widths(&all, &[1.0; 40], 2, 0.8);
        let mut held = 0.0;
        for i in 0..1600 {
            held += f64::from(u8::from(e[1000 + i].abs() * sizes(i) <= widths[i % 40][0])) / 1600.0;
        }
        assert!((0.74..0.86).contains(&held), "{held}");
        assert!(widths[2][0] > 2.0 * widths[0][0] && widths[3][0] < widths[0][0], "who erred more has more room");
    }

    #[test]
    fn where_nothing_is_known() {
        assert!(close(
            &widths(&[], &[2.0, 0.0], 4, 0.8)[0],
            &[1.0, 2f64.sqrt(), 3f64.sqrt(), 2.0].map(|r| 2.0 * UNTRIED * r)
        ));
        assert_eq!(widths(&[], &[0.0], 1, 0.8), [[0.0]], "a constant");
        assert_eq!(widths(&[errors(0, &[0.0, 0.0])], &[1.0], 2, 0.8), [[0.0, 0.0]], "never wrong");
    }
}
