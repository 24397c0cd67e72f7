//! Versions of models in the shadow: begun and ended by people, and what they would have said.

use actix_web::{HttpRequest, HttpResponse};
use actors::engine::ShadowOrder;
use actors::model_shadows::ShadowStep;
use actors::shadow_days::{DaysOf, FoundOut, Resolved, ShadowDays};
use engine::shadow_days::{DaysSum, ExamplePlace, ExamplesPage};
use models::alert::Window;
use models::ids::OperatorNo;
use models::model_shadow::{EXAMPLES_MAX, ShadowCounts, ShadowDayCounted, ShadowExample};
use models::operator::Scope;
use models::ts::{DAY, Ts};
use models::who::Who;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::list::cursor;
use super::risk_models::{ModelBody, answer, required_reason, which};
use crate::extractors::idempotency::idempotency;
use crate::extractors::{Body, Caller};
use crate::parse::{self, Fields};
use crate::problem::Problem;
use crate::state::AppState;

/// Days where nothing is said.
const SPAN_DEFAULT: i64 = 30 * DAY;
/// A span at most.
const SPAN_MAX: i64 = 92 * DAY;

/// Who lets a version score in the shadow.
#[derive(Serialize, ToSchema)]
pub struct ShadowBody {
    /// Who.
    pub by: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Ts,
    /// Why.
    pub reason: String,
}

/// Why a version is to score in the shadow, or no more.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reason": "learnt from the spring, with the new product"}))]
pub struct ModelShadowRequest {
    /// Why, up to 500 characters, with nobody in it.
    #[serde(default)]
    reason: Option<String>,
}

/// What a version in the shadow would have said in a span.
#[derive(Serialize, ToSchema)]
pub struct ModelShadowView {
    /// `transaction_risk`, `player_risk`.
    pub kind: &'static str,
    /// Its number.
    pub version: u32,
    /// It is in the shadow now; null where it is not any more.
    pub shadow: Option<ShadowBody>,
    /// Days that begin from here on.
    #[schema(value_type = String, format = DateTime)]
    pub from: Ts,
    /// Days that begin before.
    #[schema(value_type = String, format = DateTime)]
    pub to: Ts,
    /// All of them together.
    pub total: ShadowCountsBody,
    /// What people made of alerts of the live rule about the same records or players.
    pub resolved: ShadowResolvedBody,
    /// By operator, by code.
    pub operators: Vec<ShadowOperatorBody>,
    /// By operator and day, newest first, at most 500.
    pub days: Vec<ShadowDayBody>,
    /// Those that it alone had at or above the bound, at most ten of a day, the highest first: a page of them.
    pub examples: Vec<ShadowExampleBody>,
    /// Sent as `?cursor=`, with the same span, for the next examples; null at the end.
    pub next_cursor: Option<String>,
    /// There are more days than were added up: ask for a shorter span.
    pub is_cut: bool,
}

/// What two versions said of the same records, or of the same players at the end of days on which they played.
#[derive(Serialize, ToSchema)]
pub struct ShadowCountsBody {
    /// Rows that it scored.
    pub rows: u64,
    /// Of these, rows that a promoted version scored, too.
    pub rows_beside: u64,
    /// Rows that it had at or above the bound.
    pub high: u64,
    /// Rows that the promoted version had there.
    pub live_high: u64,
    /// Rows that both had there.
    pub both_high: u64,
    /// Rows that it alone had there.
    pub only_shadow: u64,
    /// Rows that the promoted version alone had there.
    pub only_live: u64,
    /// Share of the rows that it had there; null without rows.
    pub hit_rate: Option<f64>,
    /// Of the rows that either had there, the share that both had; null where there is none, or none is promoted.
    pub agreement: Option<f64>,
}

/// What people made of alerts.
#[derive(Serialize, ToSchema)]
pub struct ShadowResolvedBody {
    /// Confirmed ones.
    pub confirmed: ShadowAlsoBody,
    /// False alarms.
    pub false_alarms: ShadowAlsoBody,
    /// There are more than were looked at, or than a group remembers.
    pub is_cut: bool,
}

/// Alerts of the live rule that people resolved alike.
#[derive(Serialize, ToSchema)]
pub struct ShadowAlsoBody {
    /// Alerts about records or players that both versions have scored.
    pub alerts: u64,
    /// Of these, those that it had at or above the bound, too.
    pub also: u64,
}

/// An operator in the span.
#[derive(Serialize, ToSchema)]
pub struct ShadowOperatorBody {
    /// Stable code; null where it is not known any more.
    pub operator_code: Option<String>,
    /// Days that were counted.
    pub days: u64,
    /// What came out.
    #[serde(flatten)]
    pub counts: ShadowCountsBody,
}

/// A day of an operator.
#[derive(Serialize, ToSchema)]
pub struct ShadowDayBody {
    /// Stable code of the operator; null where it is not known any more.
    pub operator_code: Option<String>,
    /// Beginning of the local day.
    #[schema(value_type = String, format = DateTime)]
    pub day: Ts,
    /// Probability from which on the live rule spoke.
    pub bound: f64,
    /// Promoted versions that scored the same rows.
    pub beside: Vec<u32>,
    /// What came out.
    #[serde(flatten)]
    pub counts: ShadowCountsBody,
}

/// A record or a player that it alone had at or above the bound.
#[derive(Serialize, ToSchema)]
pub struct ShadowExampleBody {
    /// Stable code of the operator; null where it is not known any more.
    pub operator_code: Option<String>,
    /// The operator's id of the record; null where it is a player.
    pub record_id: Option<String>,
    /// Keyed digest, as in the `who` of alerts: `player:…`; null of a record of nobody.
    pub who: Option<String>,
    /// In which currency.
    pub currency: String,
    /// When the record happened, or first instant behind the day that the player was scored for.
    #[schema(value_type = String, format = DateTime)]
    pub at: Ts,
    /// Its probability.
    pub probability: f64,
    /// The promoted version's; null where none scored it.
    pub live_probability: Option<f64>,
    /// What moved it most, strongest first.
    pub reasons: Vec<String>,
}

fn share(ppm: u32) -> f64 {
    f64::from(ppm) / 1e6
}

impl From<ShadowCounts> for ShadowCountsBody {
    fn from(counts: ShadowCounts) -> Self {
        let ShadowCounts { rows, rows_beside, high, live_high, both_high } = counts;
        let (only_shadow, only_live) = (counts.only_shadow(), counts.only_live());
        let (hit_rate, agreement) = (counts.hit_rate(), counts.agreement());
        Self { rows, rows_beside, high, live_high, both_high, only_shadow, only_live, hit_rate, agreement }
    }
}

impl From<FoundOut> for ShadowResolvedBody {
    fn from(FoundOut { confirmed, false_alarms, is_cut }: FoundOut) -> Self {
        let also = |Resolved { alerts, also }| ShadowAlsoBody { alerts, also };
        Self { confirmed: also(confirmed), false_alarms: also(false_alarms), is_cut }
    }
}

async fn step(
    caller: &Caller,
    state: &AppState,
    req: &HttpRequest,
    body: &[u8],
    step: ShadowStep,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::RulesManage)?;
    let (kind, version) = which(req)?;
    let sent: ModelShadowRequest = parse::json_body(req.headers(), body)?;
    let reason = required_reason(sent.reason.as_deref())?;
    let jurisdiction = caller.jurisdiction();
    let order = ShadowOrder { jurisdiction, kind, version, step, by: Who::from(&caller.entry.key), reason };
    state.engine.order_shadow(order, idempotency(caller, req, body)?).await?;
    answer(state, jurisdiction, (kind, version)).await
}

/// Lets a version score in the shadow of your jurisdiction from now on, beside the promoted one or where none is
/// promoted: no alert, no level of risk and no stored score follows from it, and what it would have said is counted by
/// operator and day. One person is enough, and it need not be validated. One version of a kind at a time; its promotion,
/// a way back to it, or its retirement ends it. Whoever plays at several operators is scored at each of them, and not
/// across them.
#[utoipa::path(
    post, path = "/api/v1/models/{kind}/{version}/shadow", tag = "models", request_body = ModelShadowRequest,
    params(("kind" = String, Path, description = "`transaction_risk` or `player_risk`"), ("version" = u32, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: once")),
    responses((status = 200, description = "The version", body = ModelBody),
        (status = 404, description = "There is none"),
        (status = 409, description = "It scores already, is retired or cannot score here, or another one is in the shadow"),
        (status = 422, description = "No reason is given")),
    security(("bearer" = ["rules:manage"]))
)]
pub async fn start(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    step(&caller, &state, &req, &body, ShadowStep::Start).await
}

/// Ends the shadow of a version in your jurisdiction. What was counted of it stays.
#[utoipa::path(
    post, path = "/api/v1/models/{kind}/{version}/unshadow", tag = "models", request_body = ModelShadowRequest,
    params(("kind" = String, Path, description = "`transaction_risk` or `player_risk`"), ("version" = u32, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: once")),
    responses((status = 200, description = "The version", body = ModelBody),
        (status = 404, description = "There is none"), (status = 409, description = "It is not in the shadow"),
        (status = 422, description = "No reason is given")),
    security(("bearer" = ["rules:manage"]))
)]
pub async fn end(caller: Caller, state: AppState, req: HttpRequest, Body(body): Body) -> Result<HttpResponse, Problem> {
    step(&caller, &state, &req, &body, ShadowStep::End).await
}

/// Days of which span, and which examples.
fn asked(req: &HttpRequest, now: Ts) -> Result<(Window, ExamplesPage), Problem> {
    let pairs = parse::query(req, &["from", "to", "limit", "cursor"])?;
    let query = parse::list_query(&pairs)?;
    let limit = parse::parameter(&pairs, "limit").map_or(EXAMPLES_MAX, |_| query.limit as usize);
    let page = ExamplesPage { behind: cursor(&query)?, limit };
    Ok((span(&pairs, now)?, page))
}

fn span(pairs: &[(String, String)], now: Ts) -> Result<Window, Problem> {
    let mut fields = Fields::default();
    let mut time = |pointer, name| parse::parameter(pairs, name).and_then(|text| fields.take(pointer, Ts::parse(text)));
    let end = time("?to", "to").unwrap_or(now);
    let start = time("?from", "from").unwrap_or(end.plus(-SPAN_DEFAULT));
    if start >= end {
        fields.wrong("?from", "not before the end of the span");
    } else if end.0 - start.0 > SPAN_MAX {
        fields.wrong("?from", format!("more than {} days before the end of the span", SPAN_MAX / DAY));
    }
    fields.finish(Some(Window { start, end }))
}

/// What a version in the shadow would have said on the days of a span that are over, beside the promoted one: by operator
/// and day, with the highest ones that it alone had, a page at a time, and with what people made of alerts of the live rule
/// about the same records or players. Pages of the same days that follow within ten minutes stand beside the figures of the
/// first one; with no span named they are the same until midnight. For staff; of the operators of their jurisdiction.
#[utoipa::path(
    get, path = "/api/v1/models/{kind}/{version}/shadow", tag = "models",
    params(("kind" = String, Path, description = "`transaction_risk` or `player_risk`"), ("version" = u32, Path),
        ("from" = Option<String>, Query, description = "Days that begin from here on; left out: 30 days before the end; 92 days at most"),
        ("to" = Option<String>, Query, description = "Days that begin before; left out: now"),
        ("limit" = Option<u32>, Query, description = "Examples, 1 to 500; left out: 10"),
        ("cursor" = Option<String>, Query, description = "Examples behind those of the page before, of the same span")),
    responses((status = 200, description = "Counts, operators, days, examples", body = ModelShadowView),
        (status = 404, description = "There is none"), (status = 422, description = "Not a span, or not a page"),
        (status = 503, description = "As many wait for such days as may; ask again after `Retry-After`")),
    security(("bearer" = ["market:read"]))
)]
pub async fn read(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::MarketRead)?;
    let (kind, version) = which(&req)?;
    let (span, page) = asked(&req, state.engine.now())?;
    let store = state.engine.store();
    let stored = store.model(caller.jurisdiction(), (kind, version)).await?;
    let stored = stored.ok_or_else(|| Problem::not_found("model"))?;
    let of = DaysOf { jurisdiction: caller.jurisdiction(), version: (kind, version), span };
    let directory = state.engine.directory();
    let ShadowDays { sum, resolved, is_cut } = state.engine.shadow_days(of, page).await?;
    let code = |no: OperatorNo| directory.operators.get(&no).map(|operator| operator.code.clone());
    let named = |(place, example): (ExamplePlace, ShadowExample)| example_body(example, code(place.operator_no()));
    let view = ModelShadowView {
        kind: kind.as_str(),
        version,
        shadow: stored.shadow.map(|(by, since, reason)| ShadowBody { by, since, reason }),
        from: span.start,
        to: span.end,
        total: sum.total.into(),
        resolved: resolved.into(),
        operators: operators(&sum, code),
        is_cut,
        days: sum.days.iter().map(|day| day_body(day, code(day.operator_no))).collect(),
        next_cursor: sum.next.map(|place| place.to_string()),
        examples: sum.examples.into_iter().map(named).collect(),
    };
    Ok(HttpResponse::Ok().json(view))
}

/// By code.
fn operators(sum: &DaysSum, code: impl Fn(OperatorNo) -> Option<String>) -> Vec<ShadowOperatorBody> {
    let body = |(no, (days, counts)): (&OperatorNo, &(u64, ShadowCounts))| ShadowOperatorBody {
        operator_code: code(*no),
        days: *days,
        counts: (*counts).into(),
    };
    let mut operators: Vec<_> = sum.operators.iter().map(body).collect();
    operators.sort_by_cached_key(|operator| operator.operator_code.clone());
    operators
}

fn day_body(counted: &ShadowDayCounted, operator_code: Option<String>) -> ShadowDayBody {
    let found = &counted.found;
    ShadowDayBody {
        operator_code,
        day: counted.day,
        bound: share(found.bound_ppm),
        beside: found.beside.clone(),
        counts: found.counts.into(),
    }
}

fn example_body(example: ShadowExample, operator_code: Option<String>) -> ShadowExampleBody {
    let ShadowExample { subject, score_ppm, live_ppm, reasons } = example;
    ShadowExampleBody {
        operator_code,
        record_id: subject.record_id,
        who: subject.player.map(|player| format!("player:{player}")),
        currency: subject.currency.to_string(),
        at: subject.at,
        probability: share(score_ppm),
        live_probability: live_ppm.map(share),
        reasons,
    }
}
