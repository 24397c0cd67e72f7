//! A version of a rule over stored history, beside the live one: asked for, followed, and what came of it.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use actors::replay::Span;
use models::ids::{BacktestId, KeyId};
use models::operator::Scope;
use models::rule::BacktestState;
use models::ts::{DAY, Ts};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::BacktestRow;
use utoipa::ToSchema;

use super::{life, may_read, number};
use crate::extractors::{Body, Caller};
use crate::parse::{self, Fields};
use crate::problem::Problem;
use crate::routes::list::ListView;
use crate::state::AppState;

/// Days that are looked at where none are named.
const DAYS_DEFAULT: i64 = 7;
/// Those of a version that are listed.
const LISTED_MAX: u32 = 50;

/// A span of history.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"from": "2026-11-01T00:00:00Z", "to": "2026-11-15T00:00:00Z"}))]
pub struct BacktestRequest {
    /// First instant, by the clock that judged. Left out: seven days before the end.
    #[serde(default)]
    #[schema(format = DateTime)]
    from: Option<String>,
    /// First instant after it; 92 days later at most. Left out: now.
    #[serde(default)]
    #[schema(format = DateTime)]
    to: Option<String>,
}

/// A version over history.
#[derive(Serialize, ToSchema)]
pub struct BacktestView {
    /// `bct_…`
    #[schema(value_type = String)]
    pub id: BacktestId,
    /// Name of the rule.
    pub rule: String,
    /// Number of the version.
    pub version: u32,
    /// Start of the span.
    #[schema(value_type = String, format = DateTime)]
    pub from: Ts,
    /// Its end, no longer part of it.
    #[schema(value_type = String, format = DateTime)]
    pub to: Ts,
    /// `running`, `done`, `failed`, `interrupted` (the engine ended meanwhile: ask for it again).
    #[schema(value_type = String)]
    pub state: &'static str,
    /// How much of the history is read.
    pub percent: u8,
    /// Whose key asked for it.
    #[schema(value_type = String)]
    pub made_by: KeyId,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub made_at: Ts,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Ts>,
    /// Where it failed: why.
    pub error: Option<String>,
    /// Where it is done: `candidate` and `live` (findings `raised`, `standing`, raised `per_operator_day`), `both`,
    /// `only_candidate`, `only_live`, `confirmed` and `false_alarms` (alerts of the rule that people have `judged` so, and of
    /// how many of them `candidate` and `live` found something), `operator_days`, `days` (by operator and day), `examples_both`,
    /// `examples_only_candidate` and `examples_only_live` (the newest 20 of each, as the findings of a version), `operators`
    /// (codes by number), `inputs`, `inputs_in_span`, `records`, `heard_from`, `complete`, `judged_cut` (people judged more
    /// alerts of the span than are looked at: the newest ones were). Lists have it only in the one.
    #[schema(value_type = Option<Object>)]
    pub result: Option<Box<RawValue>>,
}

impl BacktestView {
    fn of(row: BacktestRow, running: Option<u8>) -> Result<Self, Problem> {
        let state = match (row.state, running) {
            (BacktestState::Running, None) => BacktestState::Interrupted,
            // stored already, but no other one may begin before it is over
            (_, Some(_)) => BacktestState::Running,
            (state, None) => state,
        };
        let (result, error) = match state {
            BacktestState::Running => (None, None),
            BacktestState::Done => (row.result, None),
            _ => (None, row.result),
        };
        let ended_at = row.ended_at.filter(|_| state != BacktestState::Running);
        let unreadable = |_| Problem::from(store::StoreError::Unreadable("backtest"));
        Ok(Self {
            id: row.id,
            rule: row.rule,
            version: row.version,
            from: row.from,
            to: row.to,
            state: state.as_str(),
            percent: if state == BacktestState::Done { 100 } else { running.unwrap_or(0) },
            made_by: row.made_by,
            made_at: row.made_at,
            ended_at,
            error,
            result: result.map(RawValue::from_string).transpose().map_err(unreadable)?,
        })
    }
}

/// Runs a version over the stored inputs of a span, in the background, beside what is live: what each would have found, and
/// which of it the other one did not. Nobody is told of it. One runs at a time.
#[utoipa::path(
    post, path = "/api/v1/rules/{rule}/versions/{version}/backtests", tag = "rules", request_body = BacktestRequest,
    params(("rule" = String, Path, description = "Name of the rule"), ("version" = u32, Path, description = "Number")),
    responses((status = 202, description = "It runs; `Location` is where to look", body = BacktestView),
        (status = 409, description = "Another one runs in the jurisdiction, the rule takes no versions, or history says nothing of it")),
    security(("bearer" = ["rules:manage"]))
)]
pub async fn run(caller: Caller, state: AppState, req: HttpRequest, Body(body): Body) -> Result<HttpResponse, Problem> {
    caller.require(Scope::RulesManage)?;
    let sent: BacktestRequest = parse::json_body(req.headers(), &body)?;
    let life = life(&caller, &state, &req)?;
    let version = number(&life, &req)?;
    let mut fields = Fields::default();
    let mut time =
        |pointer, text: Option<&str>| text.map_or(Some(None), |text| fields.take(pointer, Ts::parse(text)).map(Some));
    let times = time("/to", sent.to.as_deref()).zip(time("/from", sent.from.as_deref()));
    let (to, from) = fields.finish(times)?;
    let to = to.unwrap_or_else(|| state.engine.now());
    let span = Span { from: from.unwrap_or(to.plus(-DAYS_DEFAULT * DAY)), to };
    let (jurisdiction, by) = (caller.jurisdiction(), caller.entry.key.id);
    let row = state.engine.backtest(jurisdiction, (life.rule(), version), span, by).await?;
    let place = format!("/api/v1/rules/{}/versions/{version}/backtests/{}", life.rule(), row.id);
    let view = BacktestView::of(row, Some(0))?;
    Ok(HttpResponse::Accepted().insert_header((header::LOCATION, place)).json(view))
}

/// What versions were run over, newest first, without what came of it.
#[utoipa::path(
    get, path = "/api/v1/rules/{rule}/versions/{version}/backtests", tag = "rules",
    params(("rule" = String, Path, description = "Name of the rule"), ("version" = u32, Path, description = "Number")),
    responses((status = 200, description = "The newest 50", body = ListView<BacktestView>)),
    security(("bearer" = ["market:read"]), ("bearer" = ["alerts:manage"]), ("bearer" = ["rules:manage"]))
)]
pub async fn list(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    may_read(&caller)?;
    parse::query(&req, &[])?;
    let life = life(&caller, &state, &req)?;
    let version = number(&life, &req)?;
    let of = (life.rule(), version);
    // asked before the rows and after them: one that ended or began in between was not interrupted
    let running = || state.engine.backtests().running(caller.jurisdiction());
    let before = running();
    let rows = state.engine.store().backtests(caller.jurisdiction(), of, LISTED_MAX).await?;
    let after = running();
    let view = |row: BacktestRow| {
        let known = [before, after].into_iter().flatten().find(|(id, _)| *id == row.id);
        BacktestView::of(row, known.map(|(_, percent)| percent))
    };
    let items = rows.into_iter().map(view).collect::<Result<_, Problem>>()?;
    Ok(HttpResponse::Ok().json(ListView { items, next_cursor: None }))
}

/// How far one has come, and what came of it.
#[utoipa::path(
    get, path = "/api/v1/rules/{rule}/versions/{version}/backtests/{backtest}", tag = "rules",
    params(("rule" = String, Path, description = "Name of the rule"), ("version" = u32, Path, description = "Number"),
        ("backtest" = String, Path, description = "`bct_…`")),
    responses((status = 200, description = "It, with its result", body = BacktestView)),
    security(("bearer" = ["market:read"]), ("bearer" = ["alerts:manage"]), ("bearer" = ["rules:manage"]))
)]
pub async fn get(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    may_read(&caller)?;
    let life = life(&caller, &state, &req)?;
    let version = number(&life, &req)?;
    let id = parse::path_id::<BacktestId>(&req, "backtest", "backtest")?;
    // asked before the row: one that ends in between was not interrupted
    let running = state.engine.backtests().running(caller.jurisdiction());
    let running = running.filter(|(known, _)| *known == id).map(|(_, percent)| percent);
    let row = state.engine.store().backtest(caller.jurisdiction(), id).await?;
    let row = row.filter(|row| row.rule == life.rule() && row.version == version);
    let row = row.ok_or_else(|| Problem::not_found("backtest"))?;
    Ok(HttpResponse::Ok().json(BacktestView::of(row, running)?))
}
