//! Weights of the members, learnt from how they did at earlier origins.
//!
//! Equal weights are hard to beat (Clemen 1989; Petropoulos and Svetunkov 2020), but not where one member suits a whole set.
//! So the weights are one set for all series of the input – the errors of a single series are too few to choose by – that
//! minimises the mean absolute scaled error at the earlier origins, and are shrunk towards equal ones.

/// Steps of the search.
const STEPS: usize = 300;

/// Forecasts of series at origins that weigh as much as the belief in equal weights.
const PRIOR: f64 = 100.0;

/// What was said at one origin of one series and what came, in units of the series.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    /// Forecasts by member, by step; None for a member that said nothing.
    pub(super) said: Vec<Option<Vec<f64>>>,
    /// Values that came, by step.
    pub(super) came: Vec<f64>,
    /// Size of an error of this series; above zero.
    pub(super) unit: f64,
}

/// Mean of what the members said by their weights; None where none said anything.
pub(super) fn combined(said: &[Option<Vec<f64>>], weights: &[f64]) -> Option<Vec<f64>> {
    let present: Vec<(&Vec<f64>, f64)> =
        said.iter().zip(weights).filter_map(|(said, weight)| said.as_ref().map(|s| (s, *weight))).collect();
    let total: f64 = present.iter().map(|(_, weight)| weight).sum();
    let steps = present.first()?.0.len();
    let at = |h: usize| present.iter().map(|(said, weight)| weight * said[h]).sum::<f64>() / total;
    (total > 0.0).then(|| (0..steps).map(at).collect())
}

/// Weights of `count` members, all above zero, summing to 1. Exponentiated gradient (Kivinen and Warmuth 1997), the mean of
/// the second half of its steps; trials in which a member is missing that spoke in others are left out.
pub(super) fn learn(trials: &[Trial], count: usize) -> Vec<f64> {
    let equal = vec![1.0 / count.max(1) as f64; count];
    let spoke: Vec<usize> = (0..count).filter(|k| trials.iter().any(|t| t.said[*k].is_some())).collect();
    let whole: Vec<Complete> = trials.iter().filter_map(|trial| Complete::of(trial, &spoke)).collect();
    if spoke.len() < 2 || whole.is_empty() {
        return equal;
    }
    let mut weights = vec![1.0 / spoke.len() as f64; spoke.len()];
    let mut mean = vec![0.0; spoke.len()];
    for step in 0..STEPS {
        let slopes = slopes(&whole, &weights);
        let along: f64 = slopes.iter().zip(&weights).map(|(slope, weight)| slope * weight).sum();
        let rate = 0.5 / (1.0 + step as f64 / 10.0).sqrt();
        for (weight, slope) in weights.iter_mut().zip(&slopes) {
            *weight *= (-rate * (slope - along)).exp();
        }
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= total);
        if step >= STEPS / 2 {
            mean.iter_mut().zip(&weights).for_each(|(mean, weight)| *mean += weight / (STEPS - STEPS / 2) as f64);
        }
    }
    // the share of those that spoke is shrunk; who never spoke keeps an equal share, which nobody sees
    let belief = PRIOR / (PRIOR + whole.len() as f64);
    let mut learnt = equal;
    for (k, weight) in spoke.iter().zip(&mean) {
        learnt[*k] = (belief / spoke.len() as f64 + (1.0 - belief) * weight) * spoke.len() as f64 / count as f64;
    }
    learnt
}

/// A trial in which everybody spoke: forecasts by step, by member.
struct Complete<'a> {
    said: Vec<Vec<f64>>,
    trial: &'a Trial,
}

impl<'a> Complete<'a> {
    fn of(trial: &'a Trial, spoke: &[usize]) -> Option<Self> {
        let by_member: Vec<&Vec<f64>> = spoke.iter().filter_map(|k| trial.said[*k].as_ref()).collect();
        let at = |h: usize| by_member.iter().map(|said| said[h]).collect();
        (by_member.len() == spoke.len()).then(|| Self { said: (0..trial.came.len()).map(at).collect(), trial })
    }
}

/// Slope of the mean absolute scaled error along each weight.
fn slopes(trials: &[Complete], weights: &[f64]) -> Vec<f64> {
    let mut slopes = vec![0.0; weights.len()];
    let mut count = 0.0;
    for Complete { said, trial } in trials {
        for (said, came) in said.iter().zip(&trial.came) {
            let mean: f64 = said.iter().zip(weights).map(|(said, weight)| said * weight).sum();
            let direction = mean.total_cmp(came) as i8;
            let per_unit = f64::from(direction) / trial.unit;
            // against the mean: the weights sum to 1, so only differences count, and a level far from 0 costs no digits
            slopes.iter_mut().zip(said).for_each(|(slope, said)| *slope += per_unit * (said - mean));
            count += 1.0;
        }
    }
    slopes.iter_mut().for_each(|slope| *slope /= count);
    slopes
}

#[cfg(test)]
mod tests {
    use super::super::testing::{close, noise};
    use super::*;

    fn trial(said: [Option<f64>; 3], came: f64) -> Trial {
        Trial { said: said.iter().map(|s| s.map(|v| vec![v])).collect(), came: vec![came], unit: 1.0 }
    }

    #[test]
    fn the_mean_is_of_those_who_spoke() {
        let said = [Some(vec![1.0, 3.0]), None, Some(vec![4.0, 6.0])];
        assert_eq!(combined(&said, &[0.5, 0.25, 0.25]), Some(vec![2.0, 4.0]));
        assert_eq!(combined(&[None, None], &[0.5, 0.5]), None);
    }

    #[test]
    fn who_errs_less_weighs_more() {
        let e = noise(9, 3000);
        let trials: Vec<Trial> = (0..1000)
            .map(|i| trial([Some(10.0 + e[i]), Some(10.0 + 9.0 * e[1000 + i]), Some(4.0)], 10.0 + 0.1 * e[2000 + i]))
            .collect();
        let weights = learn(&trials, 3);
        assert!(weights[0] > 0.8, "{weights:?}");
        assert!(close(&[weights.iter().sum()], &[1.0]) && weights.iter().all(|w| *w > 0.0), "{weights:?}");
        let few = learn(&trials[..5], 3);
        assert!(few.iter().all(|w| (w - 1.0 / 3.0).abs() < 0.1), "few trials change little: {few:?}");
    }

    #[test]
    fn nothing_to_learn_from() {
        assert!(close(&learn(&[], 2), &[0.5, 0.5]));
        let alone: Vec<Trial> = (0..9).map(|_| trial([Some(1.0), None, None], 2.0)).collect();
        assert!(close(&learn(&alone, 3), &[1.0 / 3.0; 3]), "one member alone needs no weight");
        let two: Vec<Trial> = (0..900).map(|_| trial([Some(1.0), None, Some(2.0)], 2.0)).collect();
        let weights = learn(&two, 3);
        assert!(weights[2] > weights[0] && close(&[weights.iter().sum()], &[1.0]), "{weights:?}");
    }
}
