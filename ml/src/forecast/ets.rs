//! Exponential smoothing in state-space form, chosen by the corrected Akaike criterion.
//!
//! Source: Hyndman, Koehler, Ord and Snyder, *Forecasting with Exponential Smoothing* (2008). A model has an error (added or
//! in proportion to the level), a trend (none, additive, damped) and a season (none, additive, multiplicative). With the
//! error written as a difference both kinds of error have the same recursion and differ in the likelihood only.
//! Multiplicative trends are left out, as in most practice: they explode.

use super::optimise::{Point, minimise, start};
use super::season::{Kind, Season};
use super::theta::line;

/// Error term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorTerm {
    /// Of one size.
    Additive,
    /// In proportion to what is expected. Only for series above zero.
    Multiplicative,
}

/// Trend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trend {
    /// None: simple exponential smoothing.
    None,
    /// Holt's.
    Additive,
    /// Gardner and McKenzie's: the slope fades.
    Damped,
}

/// A model of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// Error term.
    pub error: ErrorTerm,
    /// Trend.
    pub trend: Trend,
    /// Season that is smoothed along; `None` for a series without season, or adjusted before.
    pub season: Option<Kind>,
}

/// What a fit has found.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The model.
    pub model: Model,
    /// Corrected Akaike criterion: less is better. Infinite where the series is too short for the model.
    pub criterion: f64,
    /// Smoothing of the level, 0 to 1.
    pub alpha: f64,
    /// Smoothing of the slope.
    pub beta: f64,
    /// Smoothing of the season.
    pub gamma: f64,
    /// Damping of the slope; 1 without.
    pub phi: f64,
    level: f64,
    slope: f64,
    /// Indices of the next phases, the next one first.
    seasonal: Vec<f64>,
}

/// Parameters of one run: smoothing and first states.
#[derive(Clone, Copy)]
struct Coefficients {
    alpha: f64,
    beta: f64,
    gamma: f64,
    phi: f64,
    level: f64,
    slope: f64,
}

/// What a run leaves.
struct Run {
    squares: f64,
    /// Sum of the logarithms of what was expected; of use with proportional errors.
    logarithms: f64,
    level: f64,
    slope: f64,
}

/// Evaluations a fit may take.
const EVALUATIONS_MAX: usize = 400;

/// Fits one model by maximum likelihood. `season` gives the first indices where the model has a season.
pub fn fit(values: &[f64], model: Model, season: &Season, period: usize) -> Option<Fit> {
    let seasonal = model.season.is_some();
    if seasonal && (season.is_none() || Some(season.kind()) != model.season) {
        return None;
    }
    let positive = values.iter().all(|v| *v > 0.0);
    if model.error == ErrorTerm::Multiplicative && !positive {
        return None;
    }
    let length = if seasonal { period } else { 0 };
    let first: Vec<f64> = (0..length).map(|i| season.index(i)).collect();
    let adjusted = if seasonal { season.adjust(values) } else { values.to_vec() };
    let begin = &adjusted[..adjusted.len().min(10.max(2 * length))];
    let (intercept, slope) = line(begin);
    let scale = spread(&adjusted);
    let layout = Layout { model, intercept, slope, scale };
    // smoothing parameters, first level, and slope and damping where there are
    let parameters = 2
        + usize::from(seasonal)
        + 2 * usize::from(model.trend != Trend::None)
        + usize::from(model.trend == Trend::Damped);
    let freedom = values.len() as f64 - (parameters + length) as f64 - 2.0;
    if freedom <= 0.0 {
        return None;
    }
    let mut indices = first.clone();
    let (best, value) = minimise(&layout.start(), |point| {
        indices.copy_from_slice(&first);
        let run = run(values, model, &layout.coefficients(point), &mut indices);
        likelihood(&run, model, values.len())
    });
    if !value.is_finite() {
        return None;
    }
    let coefficients = layout.coefficients(&best);
    indices.copy_from_slice(&first);
    let run = run(values, model, &coefficients, &mut indices);
    let count = (parameters + length.saturating_sub(1) + 1) as f64;
    let n = values.len() as f64;
    indices.rotate_left(if length > 0 { values.len() % length } else { 0 });
    Some(Fit {
        model,
        criterion: value + 2.0 * count + 2.0 * count * (count + 1.0) / (n - count - 1.0),
        alpha: coefficients.alpha,
        beta: coefficients.beta,
        gamma: coefficients.gamma,
        phi: coefficients.phi,
        level: run.level,
        slope: run.slope,
        seasonal: indices,
    })
}

/// The model of `candidates` with the least criterion.
pub fn select(values: &[f64], candidates: &[Model], seasons: &[Season], period: usize) -> Option<Fit> {
    let none = Season::none();
    let with = |model: &Model| match model.season {
        None => fit(values, *model, &none, period),
        Some(kind) => seasons.iter().find(|s| s.kind() == kind).and_then(|s| fit(values, *model, s, period)),
    };
    candidates.iter().filter_map(with).min_by(|a, b| a.criterion.total_cmp(&b.criterion))
}

impl Fit {
    /// Forecasts 1 to `horizon`.
    pub fn forecast(&self, horizon: usize) -> Vec<f64> {
        let (mut reach, mut power) = (0.0, 1.0);
        let at = |h: usize| {
            power *= self.phi;
            reach += power;
            let expected = self.level + reach * self.slope;
            match self.model.season {
                None => expected,
                Some(Kind::Additive) => expected + self.seasonal[h % self.seasonal.len()],
                Some(Kind::Multiplicative) => expected * self.seasonal[h % self.seasonal.len()],
            }
        };
        (0..horizon).map(at).collect()
    }
}

/// The models without season.
pub fn plain() -> Vec<Model> {
    family(&[None])
}

/// Models with the given seasons. A multiplicative season with an additive error is left out: its likelihood is unsteady.
pub fn family(seasons: &[Option<Kind>]) -> Vec<Model> {
    let mut models = Vec::new();
    for season in seasons {
        for error in [ErrorTerm::Additive, ErrorTerm::Multiplicative] {
            if *season == Some(Kind::Multiplicative) && error == ErrorTerm::Additive {
                continue;
            }
            for trend in [Trend::None, Trend::Additive, Trend::Damped] {
                models.push(Model { error, trend, season: *season });
            }
        }
    }
    models
}

/// How a point of the search becomes coefficients.
struct Layout {
    model: Model,
    intercept: f64,
    slope: f64,
    scale: f64,
}

impl Layout {
    /// Order: alpha, first level, then gamma with a season, then beta, first slope and phi with a trend.
    fn start(&self) -> super::optimise::Start {
        let mut begin = start([0.0; 0], [0.0; 0], EVALUATIONS_MAX);
        let mut push = |point: f64, step: f64| {
            begin.point[begin.active] = point;
            begin.step[begin.active] = step;
            begin.active += 1;
        };
        push(0.3, 0.2);
        push(0.0, 0.5);
        if self.model.season.is_some() {
            push(0.1, 0.1);
        }
        if self.model.trend != Trend::None {
            push(0.1, 0.1);
            push(0.0, 0.2);
        }
        if self.model.trend == Trend::Damped {
            push(0.95, -0.05);
        }
        begin
    }

    fn coefficients(&self, point: &Point) -> Coefficients {
        let seasonal = usize::from(self.model.season.is_some());
        let alpha = point[0].clamp(1e-4, 0.9999);
        let gamma = if seasonal == 1 { point[2].clamp(0.0, 1.0) * (1.0 - alpha) } else { 0.0 };
        let trend = self.model.trend != Trend::None;
        let beta = if trend { point[2 + seasonal].clamp(0.0, 1.0) * alpha } else { 0.0 };
        let slope = if trend { self.slope + point[3 + seasonal] * self.scale / 10.0 } else { 0.0 };
        let phi = if self.model.trend == Trend::Damped { point[4 + seasonal].clamp(0.8, 0.98) } else { 1.0 };
        Coefficients { alpha, beta, gamma, phi, slope, level: self.intercept + point[1] * self.scale }
    }
}

/// Standard deviation, at least a little of the size, so that a step of the search is never nothing.
fn spread(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    deviation.max(mean.abs() * 1e-9).max(f64::MIN_POSITIVE)
}

/// −2 log-likelihood without its constant. A perfect fit counts as one of an error of 1e-12 of the level.
fn likelihood(run: &Run, model: Model, n: usize) -> f64 {
    if !run.squares.is_finite() || !run.logarithms.is_finite() {
        return f64::INFINITY;
    }
    let n = n as f64;
    let least = match model.error {
        ErrorTerm::Additive => (run.level * 1e-12).powi(2) * n,
        ErrorTerm::Multiplicative => 1e-24 * n,
    };
    n * run.squares.max(least).max(f64::MIN_POSITIVE).ln() + 2.0 * run.logarithms
}

fn run(values: &[f64], model: Model, c: &Coefficients, indices: &mut [f64]) -> Run {
    let relative = model.error == ErrorTerm::Multiplicative;
    let (mut level, mut slope) = (c.level, c.slope);
    let (mut squares, mut logarithms) = (0.0, 0.0);
    let mut phase = 0;
    for value in values {
        let damped = c.phi * slope;
        let base = level + damped;
        let index = match model.season {
            None => 0.0,
            Some(_) => indices[phase],
        };
        let (expected, share) = match model.season {
            None => (base, 1.0),
            Some(Kind::Additive) => (base + index, 1.0),
            Some(Kind::Multiplicative) => (base * index, 1.0 / index),
        };
        let residual = value - expected;
        level = base + c.alpha * residual * share;
        slope = damped + c.beta * residual * share;
        match model.season {
            None => {}
            Some(Kind::Additive) => indices[phase] = index + c.gamma * residual,
            Some(Kind::Multiplicative) => indices[phase] = index + c.gamma * residual / base,
        }
        if model.season.is_some() {
            phase = (phase + 1) % indices.len();
        }
        if relative {
            // a level at or below zero has no likelihood
            squares += (residual / expected).powi(2);
            logarithms += expected.ln();
        } else {
            squares += residual * residual;
        }
    }
    Run { squares, logarithms, level, slope }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{close, noise};
    use super::*;

    const SIMPLE: Model = Model { error: ErrorTerm::Additive, trend: Trend::None, season: None };

    fn ahead(values: &[f64], model: Model, c: &Coefficients, indices: &[f64], horizon: usize) -> (f64, Vec<f64>) {
        let mut indices = indices.to_vec();
        let run = run(values, model, c, &mut indices);
        if !indices.is_empty() {
            let shift = values.len() % indices.len();
            indices.rotate_left(shift);
        }
        let fit = Fit {
            model,
            criterion: 0.0,
            alpha: c.alpha,
            beta: c.beta,
            gamma: c.gamma,
            phi: c.phi,
            level: run.level,
            slope: run.slope,
            seasonal: indices,
        };
        (run.squares, fit.forecast(horizon))
    }

    #[test]
    fn by_hand() {
        let c = Coefficients { alpha: 0.5, beta: 0.0, gamma: 0.0, phi: 1.0, level: 10.0, slope: 0.0 };
        // levels 10, 11, 11
        assert_eq!(ahead(&[10.0, 12.0, 11.0], SIMPLE, &c, &[], 2), (4.0, vec![11.0, 11.0]), "simple");
        let c = Coefficients { beta: 0.25, slope: 1.0, ..c };
        let holt = Model { trend: Trend::Additive, ..SIMPLE };
        assert_eq!(ahead(&[11.0, 14.0], holt, &c, &[], 2), (4.0, vec![14.5, 16.0]), "Holt");
        let damped = Model { trend: Trend::Damped, ..SIMPLE };
        let (squares, said) = ahead(&[11.9], damped, &Coefficients { phi: 0.9, ..c }, &[], 2);
        assert!(close(&[squares], &[1.0]) && close(&said, &[12.435, 13.3665]), "damped: {said:?}");
        let c = Coefficients { alpha: 0.5, beta: 0.0, gamma: 0.5, phi: 1.0, level: 10.0, slope: 0.0 };
        let added = Model { season: Some(Kind::Additive), ..SIMPLE };
        assert_eq!(ahead(&[12.0, 9.0], added, &c, &[1.0, -1.0], 3), (1.25, vec![11.75, 9.0, 11.75]), "Winters, added");
        // level 10 → 10 + 0.5 · 1 / 1.25 = 10.4; index 1.25 + 0.5 · 1 / 10 = 1.3
        let by = Model { season: Some(Kind::Multiplicative), ..SIMPLE };
        let (_, said) = ahead(&[13.5], by, &c, &[1.25, 0.75], 2);
        assert!(close(&said, &[7.8, 13.52]), "Winters, multiplied: {said:?}");
    }

    #[test]
    fn the_form_is_found() {
        let e = noise(3, 120);
        let level: Vec<f64> = e.iter().map(|e| 100.0 + e).collect();
        let rising: Vec<f64> = e.iter().enumerate().map(|(i, e)| 100.0 + 3.0 * i as f64 + e).collect();
        let trend = |values: &[f64]| select(values, &plain(), &[], 1).unwrap().model.trend;
        assert_eq!(trend(&level), Trend::None);
        assert_ne!(trend(&rising), Trend::None);
        let wave = [0.6, 1.4, 1.1, 0.9];
        let seasonal: Vec<f64> = rising.iter().enumerate().map(|(i, v)| v * wave[i % 4]).collect();
        let seasons = [Kind::Additive, Kind::Multiplicative].map(|kind| Season::fit(&seasonal, 4, kind).unwrap());
        let models = family(&[None, Some(Kind::Additive), Some(Kind::Multiplicative)]);
        let fit = select(&seasonal, &models, &seasons, 4).unwrap();
        assert_eq!(fit.model.season, Some(Kind::Multiplicative));
        let wanted: Vec<f64> = (120..124).map(|i| (100.0 + 3.0 * i as f64) * wave[i % 4]).collect();
        let said = fit.forecast(4);
        assert!(said.iter().zip(&wanted).all(|(a, b)| (a / b - 1.0).abs() < 0.03), "{said:?} {wanted:?}");
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let none = Season::none();
        assert!(fit(&[1.0, 2.0], SIMPLE, &none, 1).is_none(), "too short");
        let relative = Model { error: ErrorTerm::Multiplicative, ..SIMPLE };
        assert!(fit(&[1.0, 2.0, 0.0, 3.0, 1.0, 2.0, 1.0], relative, &none, 1).is_none(), "a zero");
        let seasonal = Model { season: Some(Kind::Additive), ..SIMPLE };
        assert!(fit(&[1.0; 40], seasonal, &none, 4).is_none(), "no indices");
        assert!(close(&fit(&[0.0; 20], SIMPLE, &none, 1).unwrap().forecast(2), &[0.0, 0.0]), "all zeros");
    }
}
