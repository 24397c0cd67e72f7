//! Forecasts of operators' days, live: the method of `mlinzi model forecast` on what an operator's market remembers.
//!
//! ```text
//! operator's actor ─▶ days that are over ─▶ silent ones are missing ─▶ known already? ─▶ answer
//!                                                                      └─▶ a place, a turn ─▶ thread of low priority ─▶ answer
//! ```
//! The actor gives its days between two inputs and works nothing out. What was worked out is kept by what was asked for, and
//! given again while the days are the same: late data makes it anew.

use crate::api::EngineError;
use crate::kernel::guard;
use engine::operator_state::PlayDay;
use ml::forecast::{Forecast, Params, Series, SeriesError, forecast_one, values_needed};
use models::alert::Metric;
use models::ids::OperatorNo;
use models::money::Currency;
use models::ts::Ts;
use parking_lot::Mutex;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};
use std::collections::HashMap;
use std::sync::Arc;
use store::Background;
use tokio::sync::{Semaphore, oneshot};

/// Days of a season: weeks have one, and nothing longer is told apart in 400 days.
pub const PERIOD: usize = 7;
/// Days ahead, at most.
pub const HORIZON_MAX: usize = 56;
/// Metrics that are forecast: sums and counts. A share of two sums is not.
pub const METRICS: [Metric; 5] =
    [Metric::GrossGamingRevenue, Metric::Stakes, Metric::Payouts, Metric::Count, Metric::UniquePlayers];
/// Newest days that may be missing: behind more of them a forecast says nothing of the days to come.
pub const MISSING_LAST_MAX: usize = 2 * PERIOD;
/// Forecasts that are worked out at once, and those that wait for their turn.
const AT_ONCE: usize = 2;
const WAITING_MAX: usize = 16;
/// Forecasts that are kept, some ten kilobytes each.
const KEPT_MAX: usize = 512;
/// Seconds that a forecast takes.
const SECONDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// What may come of being asked.
const OUTCOMES: [&str; 5] = ["computed", "kept", "too_little", "overloaded", "failed"];

/// Nobody's lookup waits for a forecast.
static BACKGROUND: Background = Background::new("forecasts", 10);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ForecastAsked {
    /// Of whom.
    pub operator: OperatorNo,
    /// Of what: one of [`METRICS`].
    pub metric: Metric,
    /// In which currency.
    pub currency: Currency,
    /// Days ahead, 1 to [`HORIZON_MAX`].
    pub horizon: usize,
}

/// Why there is no forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotForecast {
    /// The method needs more.
    #[error("{known} days are known and {needed} are needed for so many days ahead")]
    TooFewDays {
        /// Days with a value.
        known: usize,
        /// Days with a value that the method needs for this horizon.
        needed: usize,
    },
    /// It would be of days of which nobody knows how they began.
    #[error("the newest {missing} days are missing, and at most {MISSING_LAST_MAX} may be")]
    NewestMissing {
        /// Days without a value at the end.
        missing: usize,
    },
}

/// How old what a figure is made of is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputTimes {
    /// Newest event of the source whose newest event is the oldest.
    pub as_of: Option<Ts>,
    /// When the source that has been silent for longest last delivered.
    pub oldest_input_at: Option<Ts>,
    /// When any source last delivered.
    pub newest_input_at: Option<Ts>,
    /// Sources that have never delivered.
    pub inputs_missing: u32,
}

/// A forecast, or why there is none, with what it was learnt from.
#[derive(Clone, Debug)]
pub struct Forecasted {
    /// Days that are over, oldest first and none left out.
    pub days: Vec<PlayDay>,
    /// How old they are.
    pub inputs: InputTimes,
    /// From the day behind the newest one on.
    pub forecast: Result<Arc<Forecast>, NotForecast>,
}

/// The parameters of what is forecast live: the batch command's.
#[must_use]
pub fn params() -> Params {
    Params::default()
}

/// Days of them that are known.
#[must_use]
pub fn known(days: &[PlayDay]) -> usize {
    days.iter().filter(|day| day.value.is_some()).count()
}

/// May these days be forecast?
fn check(days: &[PlayDay], horizon: usize) -> Result<(), NotForecast> {
    let (known, needed) = (known(days), values_needed(horizon, PERIOD, &params()));
    if known < needed {
        return Err(NotForecast::TooFewDays { known, needed });
    }
    let missing = days.iter().rev().take_while(|day| day.value.is_none()).count();
    if missing > MISSING_LAST_MAX { Err(NotForecast::NewestMissing { missing }) } else { Ok(()) }
}

fn work_out(days: &[PlayDay], horizon: usize) -> Result<Forecast, SeriesError> {
    let values: Vec<Option<f64>> = days.iter().map(|day| day.value.map(|value| value as f64)).collect();
    Ok(forecast_one(&Series::new(&values, PERIOD)?, horizon, PERIOD, &params()))
}

#[derive(Clone)]
struct ForecastMetrics {
    seconds: Histogram,
    outcomes: IntCounterVec,
}

impl ForecastMetrics {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let seconds = HistogramOpts::new("mlinzi_forecast_seconds", "Time that a forecast takes to be worked out");
        let outcomes = Opts::new(
            "mlinzi_forecasts_total",
            "Forecasts asked for: worked out (computed), given again (kept), of too short a history (too_little), refused because too many wait (overloaded), and those that failed (failed)",
        );
        let metrics = Self {
            seconds: Histogram::with_opts(seconds.buckets(SECONDS.to_vec()))?,
            outcomes: IntCounterVec::new(outcomes, &["outcome"])?,
        };
        OUTCOMES.iter().for_each(|outcome| metrics.outcomes.with_label_values(&[outcome]).reset());
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.outcomes.clone()))?;
        Ok(metrics)
    }

    fn count(&self, outcome: &str) {
        self.outcomes.with_label_values(&[outcome]).inc();
    }
}

struct Kept {
    days: Vec<PlayDay>,
    forecast: Arc<Forecast>,
    used: u64,
}

/// What was worked out; whoever was used longest ago gives way.
#[derive(Default)]
struct Shelf {
    kept: HashMap<ForecastAsked, Kept>,
    uses: u64,
}

impl Shelf {
    /// Of exactly these days.
    fn get(&mut self, asked: &ForecastAsked, days: &[PlayDay]) -> Option<Arc<Forecast>> {
        self.uses += 1;
        let kept = self.kept.get_mut(asked).filter(|kept| kept.days == days)?;
        kept.used = self.uses;
        Some(Arc::clone(&kept.forecast))
    }

    fn put(&mut self, asked: ForecastAsked, days: Vec<PlayDay>, forecast: Arc<Forecast>) {
        if self.kept.len() >= KEPT_MAX && !self.kept.contains_key(&asked) {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used).map(|(asked, _)| *asked);
            oldest.map(|oldest| self.kept.remove(&oldest));
        }
        self.uses += 1;
        self.kept.insert(asked, Kept { days, forecast, used: self.uses });
    }
}

/// Forecasts of a node: so many at once, so many that wait, so many that are kept.
#[derive(Clone)]
pub struct Forecasts {
    /// Whoever has one is waited for.
    places: Arc<Semaphore>,
    /// Whoever has one works.
    turns: Arc<Semaphore>,
    shelf: Arc<Mutex<Shelf>>,
    metrics: ForecastMetrics,
}

impl Forecasts {
    /// Makes them and registers what is counted.
    ///
    /// # Errors
    /// Where the registry has metrics of these names.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            places: Arc::new(Semaphore::new(AT_ONCE + WAITING_MAX)),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            shelf: Arc::default(),
            metrics: ForecastMetrics::register(registry)?,
        })
    }

    /// Forecasts days that are over, or says why not.
    ///
    /// # Errors
    /// As many wait as may; the method failed.
    pub async fn of(
        &self,
        asked: ForecastAsked,
        days: &[PlayDay],
    ) -> Result<Result<Arc<Forecast>, NotForecast>, EngineError> {
        if let Err(why) = check(days, asked.horizon) {
            self.metrics.count("too_little");
            return Ok(Err(why));
        }
        if let Some(kept) = self.kept(&asked, days) {
            return Ok(Ok(kept));
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.metrics.count("overloaded");
            return Err(EngineError::Overloaded("as many wait for forecasts as may"));
        };
        let failed = || EngineError::Unavailable("the forecast");
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| failed())?;
        // somebody may have asked for the same meanwhile
        if let Some(kept) = self.kept(&asked, days) {
            return Ok(Ok(kept));
        }
        let (done, made) = oneshot::channel();
        let (forecasts, days) = (self.clone(), days.to_vec());
        let thread = std::thread::Builder::new().name("forecast".to_owned());
        let spawned = thread.spawn(move || {
            BACKGROUND.enter();
            let made = forecasts.make(asked, days);
            // place and turn are held as long as it works, also where nobody waits any more
            drop((place, turn));
            let _ = done.send(made);
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread for a forecast");
            self.metrics.count("failed");
            return Err(failed());
        }
        made.await.ok().flatten().map(Ok).ok_or_else(failed)
    }

    fn kept(&self, asked: &ForecastAsked, days: &[PlayDay]) -> Option<Arc<Forecast>> {
        let kept = self.shelf.lock().get(asked, days)?;
        self.metrics.count("kept");
        Some(kept)
    }

    fn make(&self, asked: ForecastAsked, days: Vec<PlayDay>) -> Option<Arc<Forecast>> {
        let timer = self.metrics.seconds.start_timer();
        let made = guard(|| work_out(&days, asked.horizon));
        timer.observe_duration();
        let error = match made {
            Ok(Ok(forecast)) => {
                let forecast = Arc::new(forecast);
                self.shelf.lock().put(asked, days, Arc::clone(&forecast));
                self.metrics.count("computed");
                return Some(forecast);
            }
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        };
        let ForecastAsked { operator, metric, .. } = asked;
        tracing::error!(operator_no = operator.0, metric = metric.as_str(), error, "a forecast failed");
        self.metrics.count("failed");
        None
    }
}

#[cfg(test)]
#[path = "forecasts_tests.rs"]
mod tests;
