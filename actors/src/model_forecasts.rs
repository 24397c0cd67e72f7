//! How many alerts a version of a model will bring about in a jurisdiction, rule by rule: forecast at its promotion there, and
//! held against what comes by the brake.
//!
//! Its shadow says so where it had one: rows at or above the bound at which the live rule would have spoken. A rule of whom
//! the shadow counts nothing (`player_at_risk_across_operators`), and a version without a shadow, are expected to raise as
//! many as were raised under the version before. Where nothing scored before, nothing is known, and the brake's floor holds.

use crate::api::EngineError;
use crate::directory::Directory;
use crate::rates::{self, Raised, TRIED_MIN};
use crate::risk_models::away;
use crate::shadow_days::{self, DaysOf};
use engine::model_shadow::rule_of;
use engine::rules::brake::{self, LOOKS_BACK};
use engine::rules::life::Life;
use engine::rules::list;
use models::alert::Window;
use models::jurisdiction::JurisdictionNo;
use models::model_life::scored;
use models::risk_model::{ModelForecast, ModelKind};
use models::rule::{ForecastBasis, RateForecast};
use models::ts::{DAY, HOUR, Ts};
use std::sync::Arc;
use store::Store;

/// Days of a shadow that are read of a jurisdiction at most, the newest ones: of a hundred operators the 28 that count.
const SHADOW_DAYS_MAX: u32 = 2_800;

/// How many alerts are expected of the rules of a jurisdiction that hear a model once a version of it is promoted there.
///
/// # Errors
/// The store does not answer.
pub async fn forecasts(
    store: &Store,
    directory: &Directory,
    jurisdiction: JurisdictionNo,
    (kind, version): (ModelKind, u32),
    now: Ts,
) -> Result<Vec<ModelForecast>, EngineError> {
    let before = before(store, (jurisdiction, kind), now).await?;
    let hearing = hearing(directory, (jurisdiction, kind), now);
    let mut forecasts = Vec::with_capacity(hearing.len());
    for life in hearing {
        let mut forecast = None;
        if rule_of(kind) == life.rule() {
            forecast = of_shadow(store, jurisdiction, (kind, version), now).await?;
        }
        if forecast.is_none() {
            forecast = of_version_before(store, directory, (jurisdiction, &*life), &before).await?;
        }
        let (rule, forecast) = (life.rule().to_owned(), forecast.unwrap_or(brake::NOTHING_KNOWN));
        forecasts.push(ModelForecast { jurisdiction, rule, forecast });
    }
    Ok(forecasts)
}

/// The rules of a jurisdiction that are live and hear a model.
fn hearing(directory: &Directory, (jurisdiction, kind): (JurisdictionNo, ModelKind), now: Ts) -> Vec<Arc<Life>> {
    let live = directory.rule_versions().live_at(now);
    let hears = |life: &Life| list::about(life.rule()).is_some_and(|about| about.hears_model(kind));
    live.filter(|(no, life, _)| *no == jurisdiction && hears(life)).map(|(_, life, _)| Arc::clone(life)).collect()
}

/// When the version that scored last in a jurisdiction did so, within the last 28 days; where that is too short to say much,
/// when any did.
async fn before(
    store: &Store,
    (jurisdiction, kind): (JurisdictionNo, ModelKind),
    now: Ts,
) -> Result<Vec<(Ts, Ts)>, EngineError> {
    let scored = scored(&store.model_acts(jurisdiction, kind).await.map_err(|error| away(&error))?);
    let begin = now.plus(-LOOKS_BACK);
    let last = scored.last().map(|span| span.version);
    let within = |only: Option<u32>| -> Vec<(Ts, Ts)> {
        let wanted = scored.iter().filter(|span| only.is_none_or(|version| span.version == version));
        let spans = wanted.map(|span| (span.from.max(begin), span.to.unwrap_or(now).min(now)));
        spans.filter(|(from, to)| from < to).collect()
    };
    let of_last = within(last);
    let micros: i64 = of_last.iter().map(|(from, to)| to.0 - from.0).sum();
    Ok(if micros >= TRIED_MIN { of_last } else { within(None) })
}

async fn of_shadow(
    store: &Store,
    jurisdiction: JurisdictionNo,
    of: (ModelKind, u32),
    now: Ts,
) -> Result<Option<RateForecast>, EngineError> {
    // the first day of the span as a whole: days are local ones
    let span = Window { start: now.plus(-LOOKS_BACK - DAY), end: now };
    let of = DaysOf { jurisdiction, version: of, span };
    let mut findings = 0;
    let days = shadow_days::each(store, of, SHADOW_DAYS_MAX, |day| findings += day.found.counts.high);
    let days = days.await.map_err(|error| away(&error))?;
    Ok(brake::forecast(ForecastBasis::Shadow, findings, u64::from(days) * (DAY / HOUR) as u64))
}

async fn of_version_before(
    store: &Store,
    directory: &Directory,
    (jurisdiction, life): (JurisdictionNo, &Life),
    spans: &[(Ts, Ts)],
) -> Result<Option<RateForecast>, EngineError> {
    let tried: Vec<_> = spans.iter().flat_map(|span| rates::live(life, *span)).collect();
    let raised = rates::raised(store, directory, (jurisdiction, life.rule()), &tried).await;
    let Raised { findings, operator_hours } = raised.map_err(|error| away(&error))?;
    Ok(brake::forecast(ForecastBasis::VersionBefore, findings, operator_hours))
}

#[cfg(test)]
#[path = "model_forecasts_tests.rs"]
mod tests;
