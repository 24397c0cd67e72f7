//! Series of an operator's hours and days as their detectors see them: what is expected, how unusual the newest point is.

use actix_web::{HttpRequest, HttpResponse};
use actors::market::{SeriesView, TogetherView};
use models::alert::{Granularity, Metric, Window};
use models::ids::OperatorId;
use models::money::Currency;
use models::operator::Scope;
use models::series::{Oddity, SeriesKey, SeriesScore};
use models::ts::Ts;
use serde::Serialize;
use utoipa::ToSchema;

use crate::extractors::Caller;
use crate::parse;
use crate::problem::Problem;
use crate::state::AppState;

/// Points of the past that were worth a word, at most.
const UNUSUAL_MAX: usize = 50;
/// Inputs that are looked through for them.
const INPUTS_MAX: u32 = 50;

/// The series of an operator.
#[derive(Serialize, ToSchema)]
pub struct SeriesListView {
    /// `opr_…`
    #[schema(value_type = String)]
    pub operator: OperatorId,
    /// Those that are watched: hours and days of six metrics in each currency; empty before the first hour is over.
    pub items: Vec<SeriesItem>,
    /// How the figures of an hour fit together, by currency; empty before the detectors of all six metrics know what to
    /// expect of an hour.
    pub together: Vec<TogetherItem>,
    /// Points that were worth a word (from half of what is an alert on), newest first, at most 50.
    pub unusual: Vec<UnusualPoint>,
}

/// Which series.
#[derive(Serialize, ToSchema)]
pub struct SeriesName {
    /// `hour` or `day`.
    #[schema(value_type = String)]
    pub granularity: Granularity,
    /// Currency.
    #[schema(value_type = String)]
    pub currency: Currency,
    /// `count`, `stakes`, `payouts`, `gross_gaming_revenue`, `unique_players`, `hold`.
    #[schema(value_type = String)]
    pub metric: Metric,
}

/// A series.
#[derive(Serialize, ToSchema)]
pub struct SeriesItem {
    /// Which.
    #[serde(flatten)]
    pub series: SeriesName,
    /// Nothing is said of it yet: the first 200 hours, 28 days.
    pub learning: bool,
    /// Points that were learnt.
    pub points: u64,
    /// Its newest point.
    pub newest: NewestPoint,
}

/// How count, stakes, payouts and players of an hour fit together.
#[derive(Serialize, ToSchema)]
pub struct TogetherItem {
    /// Currency.
    #[schema(value_type = String)]
    pub currency: Currency,
    /// Nothing is said of them yet: 168 hours are described first, and 200 are judged.
    pub learning: bool,
    /// Hours remembered, at most 1,008.
    pub rows: usize,
    /// First instant of the newest hour that the description in force knows; null before there is one. It is made anew
    /// once a day.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub fitted_at: Option<Ts>,
    /// First instant of the newest hour that was judged. Hours with a missing figure are left out.
    #[schema(value_type = String, format = DateTime)]
    pub from: Ts,
    /// First instant behind it.
    #[schema(value_type = String, format = DateTime)]
    pub to: Ts,
    /// How little its figures fit each other, 0 to 1,000,000; half a million is an alert; 0 while it learns.
    pub score_ppm: u32,
}

/// The newest point of a series. Money in minor units, hold in parts per million.
#[derive(Serialize, ToSchema)]
pub struct NewestPoint {
    /// First instant of its window.
    #[schema(value_type = String, format = DateTime)]
    pub from: Ts,
    /// First instant behind it.
    #[schema(value_type = String, format = DateTime)]
    pub to: Ts,
    /// Its value when the window closed; null where it was missing: a feed was silent, the engine was away, or a hold of few bets.
    pub value: Option<i64>,
    /// How unusual, 0 to 1,000,000; half a million is an alert of the detector, which rests behind one.
    pub score_ppm: u32,
    /// What was expected.
    pub expected: Option<i64>,
    /// Lowest and highest single value that would have said nothing; null while it learns.
    pub band: Option<[i64; 2]>,
}

/// A point that was worth a word.
#[derive(Serialize, ToSchema)]
pub struct UnusualPoint {
    /// Of which series.
    #[serde(flatten)]
    pub series: SeriesName,
    /// First instant of its window.
    #[schema(value_type = String, format = DateTime)]
    pub from: Ts,
    /// First instant behind it.
    #[schema(value_type = String, format = DateTime)]
    pub to: Ts,
    /// Its value.
    pub value: i64,
    /// How unusual.
    pub score_ppm: u32,
    /// Was it an alert of the detector?
    pub alert: bool,
    /// What was expected.
    pub expected: i64,
    /// Lowest and highest single value that would have said nothing.
    pub band: Option<[i64; 2]>,
    /// What was odd, most surprising first: `above`, `below`, each also `_for_some` (six hours, four days) and `_for_long`
    /// (24 hours, ten days),
    /// `restless`, `flat`, `shape`; `together` where it is not what the other figures of the hour let expect, once for each
    /// figure that fits the others less than usual.
    #[schema(value_type = Vec<String>)]
    pub oddities: Vec<Oddity>,
}

impl From<SeriesKey> for SeriesName {
    fn from(key: SeriesKey) -> Self {
        let SeriesKey { granularity, currency, metric } = key;
        Self { granularity, currency, metric }
    }
}

fn pair(band: Option<(i64, i64)>) -> Option<[i64; 2]> {
    band.map(|(low, high)| [low, high])
}

impl From<&SeriesView> for SeriesItem {
    fn from(view: &SeriesView) -> Self {
        let SeriesView { series, is_learning, points, newest } = *view;
        let Window { start, end } = newest.window;
        let newest = NewestPoint {
            from: start,
            to: end,
            value: newest.value,
            score_ppm: newest.score_ppm,
            expected: newest.expected,
            band: pair(newest.band),
        };
        Self { series: series.into(), learning: is_learning, points, newest }
    }
}

impl From<&TogetherView> for TogetherItem {
    fn from(view: &TogetherView) -> Self {
        let TogetherView { currency, is_learning, rows, fitted_at, newest } = *view;
        let Window { start, end } = newest.window;
        Self { currency, learning: is_learning, rows, fitted_at, from: start, to: end, score_ppm: newest.score_ppm }
    }
}

impl From<&SeriesScore> for UnusualPoint {
    fn from(score: &SeriesScore) -> Self {
        Self {
            series: score.series.into(),
            from: score.window.start,
            to: score.window.end,
            value: score.value,
            score_ppm: score.score_ppm,
            alert: score.is_alert,
            expected: score.expected,
            band: pair(score.band),
            oddities: score.reasons.iter().map(|reason| reason.oddity).collect(),
        }
    }
}

/// The series of an operator's hours and days: how unusual the newest point of each is, and what was worth a word before.
/// An operator's key reads its own, staff that of every operator of the jurisdiction.
#[utoipa::path(
    get, path = "/api/v1/operators/{id}/series", tag = "operators",
    params(("id" = String, Path, description = "opr_…")),
    responses((status = 200, description = "Its series", body = SeriesListView)),
    security(("bearer" = []), ("bearer" = ["market:read"]))
)]
pub async fn read(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    let id: OperatorId = parse::path_id(&req, "id", "operator")?;
    let operator_no = caller.operator_in_reach(&state.engine.directory(), id, Scope::MarketRead)?.operator_no;
    let items = state.engine.series(operator_no).iter().map(SeriesItem::from).collect();
    let together = state.engine.figures_together(operator_no).iter().map(TogetherItem::from).collect();
    let scored = state.engine.store().newest_series_scores(operator_no, INPUTS_MAX).await?;
    let mut unusual: Vec<UnusualPoint> =
        scored.iter().flat_map(|scored| &scored.scores).map(UnusualPoint::from).collect();
    unusual.sort_by_key(|point| std::cmp::Reverse((point.to, point.score_ppm)));
    unusual.truncate(UNUSUAL_MAX);
    Ok(HttpResponse::Ok().json(SeriesListView { operator: id, items, together, unusual }))
}
