//! What is to come of an operator's figures, day by day, with the days it was learnt from.

use actix_web::{HttpRequest, HttpResponse};
use actors::forecasts::{
    ForecastAsked, Forecasted, HORIZON_MAX, InputTimes, METRICS, NotForecast, PERIOD, known, params,
};
use engine::integrity::totals::{day_after, day_of, day_span};
use models::alert::Metric;
use models::ids::OperatorId;
use models::money::Currency;
use models::operator::Scope;
use models::ts::{DAY, Ts};
use serde::Serialize;
use utoipa::ToSchema;

use crate::extractors::Caller;
use crate::parse::{self, Fields};
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// Days ahead where nothing is said.
const HORIZON_DEFAULT: usize = 14;

/// What is to come. Money in minor units.
#[derive(Serialize, ToSchema)]
pub struct ForecastView {
    /// `opr_…`
    #[schema(value_type = String)]
    pub operator: OperatorId,
    /// `gross_gaming_revenue`, `stakes`, `payouts`, `count`, `unique_players`.
    #[schema(value_type = String)]
    pub metric: Metric,
    /// Currency.
    #[schema(value_type = String)]
    pub currency: Currency,
    /// IANA time zone whose midnights part the days.
    pub time_zone: String,
    /// Newest event of the source whose newest event is the oldest.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub as_of: Option<Ts>,
    /// When the source that has been silent for longest last delivered; null where none ever did.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest_input_at: Option<Ts>,
    /// When any source last delivered.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub newest_input_at: Option<Ts>,
    /// Sources that have never delivered: they are missing in the figures.
    pub inputs_missing: u32,
    /// True: the first of `days` was over more than a day ago, because the newest day of the history is not yesterday: a feed that
    /// goes by the clock of its records has stopped, or holds an archive. What is forecast follows on that history, and is not
    /// about the days to come.
    pub stale: bool,
    /// Why nothing is forecast; null where something is.
    pub not_forecast: Option<String>,
    /// How it was made; null where nothing is forecast.
    pub method: Option<MethodBody>,
    /// From the day behind the newest one that is over on; empty where nothing is forecast. See `stale`.
    pub days: Vec<ForecastDay>,
    /// Days that are over, oldest first and none left out, 400 at most. The open day is not among them.
    pub history: Vec<HistoryDay>,
}

/// How a forecast was made.
#[derive(Serialize, ToSchema)]
pub struct MethodBody {
    /// Version of its parameters.
    pub parameters_version: u32,
    /// What the central forecast is the weighted mean of.
    pub combined: Vec<CombinedMethod>,
    /// Days with a value that it learnt from.
    pub learnt_days: u32,
    /// Days of a season.
    pub season_days: u32,
    /// Share of days to come that the interval is to hold.
    pub coverage: f64,
}

/// A method of the combination.
#[derive(Serialize, ToSchema)]
pub struct CombinedMethod {
    /// `temporal_hierarchy` (of theta and exponential smoothing), `exponential_smoothing` (with a season), `seasonal_arima`,
    /// `smoothed_level`; alone `intermittent_rate` (of days that are mostly zero) or `seasonal_naive`.
    pub method: &'static str,
    /// Its weight; all of them sum to 1.
    pub weight: f64,
}

/// A day to come.
#[derive(Serialize, ToSchema)]
pub struct ForecastDay {
    /// YYYY-MM-DD.
    pub day: String,
    /// Its first instant.
    #[schema(value_type = String, format = DateTime)]
    pub from: Ts,
    /// The first instant behind it.
    #[schema(value_type = String, format = DateTime)]
    pub to: Ts,
    /// Central forecast.
    pub value: i64,
    /// Lower bound of the interval that holds 80 % of days.
    pub low_80: i64,
    /// Upper bound.
    pub high_80: i64,
}

/// A day that is over.
#[derive(Serialize, ToSchema)]
pub struct HistoryDay {
    /// YYYY-MM-DD.
    pub day: String,
    /// Its value, with late data; null where it is missing: nothing was sent, a feed was silent, or the engine was away.
    pub value: Option<i64>,
}

struct Asked {
    metric: Metric,
    currency: Option<Currency>,
    horizon: usize,
}

impl Asked {
    fn of(req: &HttpRequest) -> Result<Self, Problem> {
        let pairs = parse::query(req, &["metric", "currency", "days"])?;
        let mut fields = Fields::default();
        let forecast = |text: &str| METRICS.into_iter().find(|metric| metric.as_str() == text);
        let metric = fields.known("?metric", parse::parameter(&pairs, "metric"), forecast);
        let currency = parse::parameter(&pairs, "currency");
        let currency = currency.and_then(|text| fields.take("?currency", Currency::parse(text)));
        let horizon = parse::parameter(&pairs, "days").map_or(Some(HORIZON_DEFAULT), |text| {
            let horizon = text.parse::<usize>().ok().filter(|days| (1..=HORIZON_MAX).contains(days));
            fields.take("?days", horizon.ok_or_else(|| format!("a number from 1 to {HORIZON_MAX}")))
        });
        let (metric, horizon) = fields.finish(metric.zip(horizon))?;
        Ok(Self { metric, currency, horizon })
    }
}

/// Do days of a forecast begin in the past, and not just at a midnight that nobody has told of yet?
fn is_stale(days: &[ForecastDay], now: Ts) -> bool {
    days.first().is_some_and(|first| first.to.plus(DAY) < now)
}

fn whole(value: f64) -> i64 {
    value.round() as i64
}

fn history(forecasted: &Forecasted, zone: &str) -> Option<Vec<HistoryDay>> {
    let day = |day: &engine::operator_state::PlayDay| {
        Some(HistoryDay { day: day_of(day.window.start, zone)?, value: day.value })
    };
    forecasted.days.iter().map(day).collect()
}

/// The days to come, with their names; none where a zone's calendar ends.
fn to_come(forecasted: &Forecasted, zone: &str) -> Option<Vec<ForecastDay>> {
    let (Ok(forecast), Some(newest)) = (&forecasted.forecast, forecasted.days.last()) else { return Some(Vec::new()) };
    let newest = day_of(newest.window.start, zone)?;
    let bounds = forecast.low.iter().zip(&forecast.high);
    let day = |(ahead, (value, (low, high))): (i64, (&f64, (&f64, &f64)))| {
        let day = day_after(&newest, ahead)?;
        let (from, to) = day_span(&day, zone)?;
        Some(ForecastDay { day, from, to, value: whole(*value), low_80: whole(*low), high_80: whole(*high) })
    };
    (1i64..).zip(forecast.mean.iter().zip(bounds)).map(day).collect()
}

fn method(forecasted: &Forecasted) -> Option<MethodBody> {
    let forecast = forecasted.forecast.as_ref().ok()?;
    let combined = forecast.methods.iter();
    Some(MethodBody {
        parameters_version: params().version,
        combined: combined.map(|share| CombinedMethod { method: share.method, weight: share.weight }).collect(),
        learnt_days: known(&forecasted.days) as u32,
        season_days: PERIOD as u32,
        coverage: params().coverage,
    })
}

/// What is to come of an operator's figures in the days behind the newest one that is over, with an interval that is to hold
/// four of five, and the days it was learnt from. The method is that of `mlinzi model forecast`. An operator's key reads its own
/// figures, staff those of every operator of the jurisdiction.
#[utoipa::path(
    get, path = "/api/v1/operators/{id}/forecast", tag = "operators",
    params(("id" = String, Path, description = "opr_…"),
        ("metric" = String, Query, description = "gross_gaming_revenue, stakes, payouts, count or unique_players"),
        ("currency" = Option<String>, Query, description = "The jurisdiction's where nothing is said", example = "KES"),
        ("days" = Option<u32>, Query, description = "Days ahead, 1 to 56; 14 where nothing is said")),
    responses((status = 200, description = "The forecast; with too few days that are known it is empty and `not_forecast` says so", body = ForecastView),
        (status = 409, description = "Its feeds fell silent more often in these days than can be looked at"),
        (status = 503, description = "As many wait for forecasts as may")),
    security(("bearer" = []), ("bearer" = ["market:read"]))
)]
pub async fn read(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    let id: OperatorId = parse::path_id(&req, "id", "operator")?;
    let (operator, default, zone) = {
        let directory = state.engine.directory();
        let operator = caller.operator_in_reach(&directory, id, Scope::MarketRead)?;
        let jurisdiction = directory.jurisdiction(operator.jurisdiction);
        let jurisdiction = jurisdiction.ok_or_else(|| Problem::not_found("jurisdiction"))?;
        (operator.operator_no, jurisdiction.currency, jurisdiction.time_zone.clone())
    };
    let Asked { metric, currency, horizon } = Asked::of(&req)?;
    let currency = currency.unwrap_or(default);
    let forecasted = state.engine.forecast_of(ForecastAsked { operator, metric, currency, horizon }).await?;
    let failed = || Problem::new(Code::Internal, "the days have no names");
    let InputTimes { as_of, oldest_input_at, newest_input_at, inputs_missing } = forecasted.inputs;
    let days = to_come(&forecasted, &zone).ok_or_else(failed)?;
    Ok(HttpResponse::Ok().json(ForecastView {
        operator: id,
        metric,
        currency,
        as_of,
        oldest_input_at,
        newest_input_at,
        inputs_missing,
        not_forecast: forecasted.forecast.as_ref().err().map(NotForecast::to_string),
        method: method(&forecasted),
        stale: is_stale(&days, state.engine.now()),
        days,
        history: history(&forecasted, &zone).ok_or_else(failed)?,
        time_zone: zone,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn days_that_are_over_are_no_days_to_come() {
        let first = |to: i64| ForecastDay {
            day: "2026-03-02".to_owned(),
            from: Ts(to - DAY),
            to: Ts(to),
            value: 1,
            low_80: 0,
            high_80: 2,
        };
        let now = Ts(100 * DAY);
        // the end of the first day of the forecast | is it of the past?
        for (what, days, wanted) in [
            ("today", vec![first(100 * DAY + 1)], false),
            ("yesterday, whose end nobody has told of yet", vec![first(99 * DAY)], false),
            ("the day before", vec![first(99 * DAY - 1), first(100 * DAY - 1)], true),
            ("nothing", vec![], false),
        ] {
            assert_eq!(is_stale(&days, now), wanted, "{what}");
        }
    }

    #[test]
    fn what_is_asked_for_is_read_exactly() {
        let kes = Some(Currency::KES);
        type Row = (&'static str, Option<(Metric, Option<Currency>, usize)>);
        let table: [Row; 12] = [
            ("metric=stakes", Some((Metric::Stakes, None, 14))),
            ("metric=gross_gaming_revenue&currency=KES&days=56", Some((Metric::GrossGamingRevenue, kes, 56))),
            ("metric=unique_players&days=1", Some((Metric::UniquePlayers, None, 1))),
            ("", None),
            ("metric=hold", None),
            ("metric=bets", None),
            ("metric=stakes&days=0", None),
            ("metric=stakes&days=57", None),
            ("metric=stakes&days=two", None),
            ("metric=stakes&currency=kes", None),
            ("metric=stakes&metric=payouts", None),
            ("metric=stakes&period=7", None),
        ];
        for (query, wanted) in table {
            let req = TestRequest::with_uri(&format!("/?{query}")).to_http_request();
            let asked = Asked::of(&req).ok().map(|asked| (asked.metric, asked.currency, asked.horizon));
            assert_eq!(asked, wanted, "{query}");
        }
    }
}
