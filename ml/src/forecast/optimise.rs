//! Nelder and Mead's simplex (1965) on a handful of parameters.
//!
//! Why not `argmin`, which comes with linfa: an objective here costs about a microsecond and is asked some hundred times a
//! fit, so the bookkeeping of a general framework would cost more than the fits. Deterministic: no chance, no clock.

/// Most parameters of a fit.
pub(super) const PARAMETERS_MAX: usize = 8;

/// Parameters of a fit; those beyond the active ones stay as they are.
pub(super) type Point = [f64; PARAMETERS_MAX];

/// Where a search begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// First point.
    pub(super) point: Point,
    /// Size of the first step in each direction.
    pub(super) step: Point,
    /// Parameters that are searched: the first ones.
    pub(super) active: usize,
    /// Limit of evaluations.
    pub(super) evaluations_max: usize,
}

/// The point with the least value found, and the value. Values that are not numbers count as infinite.
pub(super) fn minimise(start: &Start, mut objective: impl FnMut(&Point) -> f64) -> (Point, f64) {
    let n = start.active.min(PARAMETERS_MAX);
    let mut value = |point: &Point| {
        let value = objective(point);
        if value.is_nan() { f64::INFINITY } else { value }
    };
    let first = value(&start.point);
    if n == 0 {
        return (start.point, first);
    }
    let mut simplex = vec![(start.point, first)];
    for i in 0..n {
        let mut corner = start.point;
        corner[i] += start.step[i];
        simplex.push((corner, value(&corner)));
    }
    let mut evaluations = n + 1;
    while evaluations < start.evaluations_max {
        simplex.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (best, worst) = (simplex[0].1, simplex[n].1);
        if (worst - best).abs() <= 1e-7 * (best.abs() + 1e-10) {
            break;
        }
        let mut middle = start.point;
        for (i, coordinate) in middle.iter_mut().enumerate().take(n) {
            *coordinate = simplex[..n].iter().map(|(p, _)| p[i]).sum::<f64>() / n as f64;
        }
        let along = |factor: f64| {
            let mut point = middle;
            for ((to, from), worst) in point.iter_mut().zip(&middle).zip(&simplex[n].0).take(n) {
                *to = from + factor * (worst - from);
            }
            point
        };
        let reflected = along(-1.0);
        let at_reflected = value(&reflected);
        evaluations += 1;
        let replacement = if at_reflected < best {
            let expanded = along(-2.0);
            let at_expanded = value(&expanded);
            evaluations += 1;
            if at_expanded < at_reflected { Some((expanded, at_expanded)) } else { Some((reflected, at_reflected)) }
        } else if at_reflected < simplex[n - 1].1 {
            Some((reflected, at_reflected))
        } else {
            let contracted = along(if at_reflected < worst { -0.5 } else { 0.5 });
            let at_contracted = value(&contracted);
            evaluations += 1;
            (at_contracted < worst.min(at_reflected)).then_some((contracted, at_contracted))
        };
        if let Some(better) = replacement {
            simplex[n] = better;
            continue;
        }
        let centre = simplex[0].0;
        for (corner, at) in simplex.iter_mut().skip(1) {
            for (to, from) in corner.iter_mut().zip(&centre).take(n) {
                *to = from + 0.5 * (*to - from);
            }
            *at = value(corner);
        }
        evaluations += n;
    }
    simplex.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((start.point, first))
}

/// A start from few numbers.
pub(super) fn start<const N: usize>(point: [f64; N], step: [f64; N], evaluations_max: usize) -> Start {
    let mut start = Start { point: [0.0; PARAMETERS_MAX], step: [0.0; PARAMETERS_MAX], active: N, evaluations_max };
    start.point[..N].copy_from_slice(&point);
    start.step[..N].copy_from_slice(&step);
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_minima_are_found() {
        let (at, value) = minimise(&start([-1.2, 1.0], [0.1, 0.1], 2000), |p| {
            (1.0 - p[0]).powi(2) + 100.0 * (p[1] - p[0] * p[0]).powi(2)
        });
        assert!((at[0] - 1.0).abs() < 1e-2 && (at[1] - 1.0).abs() < 1e-2 && value < 1e-4, "{at:?} {value}");
        let (at, _) = minimise(&start([5.0], [1.0], 200), |p| (p[0] - 2.0).abs());
        assert!((at[0] - 2.0).abs() < 1e-3, "{at:?}");
    }

    #[test]
    fn what_is_no_number_is_avoided() {
        let (at, value) = minimise(&start([1.0], [0.5], 300), |p| if p[0] < 0.5 { f64::NAN } else { p[0] });
        assert!((at[0] - 0.5).abs() < 1e-2 && value >= 0.5, "{at:?}");
    }
}
