//! The members of the combination: what each forecasts of one series.

use super::season::Season;
use super::{aggregate, arima, ets, multistep, season, theta};
use season::Kind;

/// Longest period that members with a state or a lag for each phase take: with 52 phases and a few years they are noise.
const PHASES_MAX: usize = 24;

/// Members. Different on purpose: the trend over all spans, a season that moves, autocorrelation, a calm level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    /// Temporal hierarchy of the adjusted series; each level is the mean of dynamic optimised theta and
    /// of smoothing without season.
    Hierarchy,
    /// Seasonal exponential smoothing chosen by criterion.
    Smoothing,
    /// Seasonal autoregressive moving average of square roots: between the raw series and its logarithm, and no trouble
    /// with zeros.
    Arima,
    /// Level smoothed for the whole horizon.
    Level,
}

pub(super) const MEMBERS: [Member; 4] = [Member::Hierarchy, Member::Smoothing, Member::Arima, Member::Level];

impl Member {
    /// The name it is shown by.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hierarchy => "temporal_hierarchy",
            Self::Smoothing => "exponential_smoothing",
            Self::Arima => "seasonal_arima",
            Self::Level => "smoothed_level",
        }
    }

    /// Forecasts 1 to `horizon`; None where the member is not for such a series or finds no finite answer.
    pub(super) fn forecast(self, values: &[f64], season: &Season, period: usize, horizon: usize) -> Option<Vec<f64>> {
        let adjusted = || season.adjust(values);
        let restored = |ahead: Vec<f64>| Some(season.restore(values.len(), &ahead));
        let said = match self {
            Self::Hierarchy => {
                restored(aggregate::forecast(&adjusted(), period, horizon, |sums, _, steps| level(sums, steps)))
            }
            Self::Smoothing => seasonal(values, period, horizon),
            Self::Arima => (period <= PHASES_MAX).then(|| roots(values, period, horizon)),
            Self::Level => restored(vec![multistep::forecast(&adjusted(), horizon); horizon]),
        };
        said.filter(|ahead| ahead.iter().all(|v| v.is_finite())).map(|ahead| within_reach(values, ahead))
    }
}

/// Mean of theta and of exponential smoothing without season.
fn level(values: &[f64], horizon: usize) -> Vec<f64> {
    let theta = theta::forecast(values, horizon, theta::Variant::DynamicOptimised);
    let Some(fit) = ets::select(values, &ets::plain(), &[], 1) else { return theta };
    theta.iter().zip(fit.forecast(horizon)).map(|(a, b)| (a + b) / 2.0).collect()
}

fn seasonal(values: &[f64], period: usize, horizon: usize) -> Option<Vec<f64>> {
    if period > PHASES_MAX {
        return None;
    }
    let seasons: Vec<Season> =
        [Kind::Additive, Kind::Multiplicative].iter().filter_map(|kind| Season::fit(values, period, *kind)).collect();
    let models = ets::family(&[Some(Kind::Additive), Some(Kind::Multiplicative)]);
    ets::select(values, &models, &seasons, period).map(|fit| fit.forecast(horizon))
}

fn roots(values: &[f64], period: usize, horizon: usize) -> Vec<f64> {
    if values.iter().any(|v| *v < 0.0) {
        return arima::forecast(values, period, horizon);
    }
    let roots: Vec<f64> = values.iter().map(|v| v.sqrt()).collect();
    arima::forecast(&roots, period, horizon).iter().map(|v| v.max(0.0).powi(2)).collect()
}

/// No forecast goes further than one range of the series beyond what was ever seen: an unsteady fit must not carry the mean.
fn within_reach(values: &[f64], ahead: Vec<f64>) -> Vec<f64> {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    ahead.into_iter().map(|v| v.clamp(low - (high - low), high + (high - low))).collect()
}
