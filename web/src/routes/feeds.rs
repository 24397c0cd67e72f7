//! Sources of records: the push that fills them, and how those that fetch by themselves are told to.

pub mod fetching;
pub mod quarantine;
pub mod whole;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use actors::api::{IntegrityView, NewSource, SourceView};
use models::feed::{DataClass, Schedule, Source, SourceClock, SourceKind};
use models::ids::{BatchId, OperatorId, SourceId};
use models::money::Currency;
use models::operator::Scope;
use models::ts::Ts;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

use super::list::{ListView, page_by};
use crate::extractors::{Body, Caller, idempotency::idempotency};
use crate::parse::{self, Fields, wire};
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// Expected interval where none is named, seconds.
const INTERVAL_SECONDS_DEFAULT: u32 = 3_600;

/// A new source.
#[derive(Deserialize, ToSchema)]
pub struct SourceRequest {
    /// `opr_…`; only staff names one, an operator's key makes its own.
    #[serde(default)]
    operator: Option<String>,
    /// 2 to 40 of a–z, 0–9 and `-`, unique within the operator.
    #[serde(default)]
    name: Option<String>,
    /// `push` (the default), `http_poll`, `folder`, `kafka`, `nats`; only staff makes sources that fetch.
    #[serde(default)]
    kind: Option<String>,
    /// Where it fetches from; a credential is named, never given.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    reader: Option<serde_json::Value>,
    /// `{"every_seconds": 600, "jitter_seconds": 30}` or `{"daily_at": "03:00", "time_zone": "Africa/Nairobi"}`; by its kind
    /// and class where none is named.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    schedule: Option<serde_json::Value>,
    /// Text of a mapping (TOML): how what it fetches becomes canonical records.
    #[serde(default)]
    mapping: Option<String>,
    /// Class of data: `gaming_transactions`, `sales_redemptions`, `player_accounts`, `licences`, `invoices`, `payments`,
    /// `bank_statements`; the last four only with staff's keys. Records of kinds that are not its own are quarantined.
    #[serde(default)]
    class: Option<String>,
    /// `wall` (default) or `event`.
    #[serde(default)]
    clock: Option<String>,
    /// How far back a record may lie, days: 7 by default, 400 for licences, invoices, payments and bank statements.
    #[serde(default)]
    horizon_days: Option<u16>,
    /// Expected time between two pushes, 3600 by default.
    #[serde(default)]
    expected_interval_seconds: Option<u32>,
    /// Currency of records without one; the jurisdiction's by default.
    #[serde(default)]
    currency: Option<String>,
    /// `{"tamper_token": "optional"}` (the default) or `"required"`: whether pushes must carry a tamper token.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    integrity: Option<serde_json::Value>,
}

/// A source with its position.
#[derive(Serialize, ToSchema)]
pub struct SourceBody {
    /// `src_…`
    #[schema(value_type = String)]
    pub id: SourceId,
    /// `opr_…`
    #[schema(value_type = String)]
    pub operator: OperatorId,
    /// Name.
    pub name: String,
    /// `push`, `http_poll`, `folder`, `kafka`, `nats`.
    pub kind: &'static str,
    /// Class of data.
    pub class: &'static str,
    /// `wall` or `event`.
    #[schema(value_type = String)]
    pub clock: SourceClock,
    /// How far back a record may lie.
    pub horizon_days: u16,
    /// Expected time between two pushes.
    pub expected_interval_seconds: u32,
    /// Currency of records without one.
    #[schema(value_type = String)]
    pub currency: Currency,
    /// `never`, `fresh`, `late`, `stale`, `dead`.
    #[schema(value_type = String)]
    pub freshness: actors::api::FreshnessLabel,
    /// Newest `occurred_at`.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_event_at: Option<Ts>,
    /// Last stored push.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_success_at: Option<Ts>,
    /// Records stored.
    pub records: u64,
    /// Records known before.
    pub duplicates: u64,
    /// Records refused, ever.
    pub quarantined: u64,
    /// Records refused because their id was known with other content.
    pub conflicts: u64,
    /// Records stored more than four expected intervals after they happened.
    pub late: u64,
    /// Records stored that take the place of others.
    pub replaced: u64,
    /// Whether pushes must carry a tamper token: `optional`, `required`.
    pub tamper_token: &'static str,
    /// Tamper tokens and numbers of its batches; null until they were read after a start.
    #[schema(value_type = Option<Object>)]
    pub integrity: Option<IntegrityView>,
    /// How complete its last full day is, by the jurisdiction's midnight; null until that was worked out.
    pub completeness: Option<ScoreView>,
    /// Of those, how many are neither replayed nor dismissed.
    pub quarantine_open: u64,
    /// Number of the last batch.
    pub cursor: String,
    /// How it fetches; absent where records are pushed.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub fetching: Option<fetching::FetchingBody>,
}

/// How complete a day is.
#[derive(Serialize, ToSchema)]
pub struct ScoreView {
    /// `YYYY-MM-DD`
    day: String,
    /// Between 0 and 1.
    score: f64,
    /// When it was worked out.
    #[schema(value_type = String, format = DateTime)]
    as_of: Ts,
}

/// What became of a push.
#[derive(Serialize, ToSchema)]
pub struct PushView {
    /// Records stored.
    pub accepted: u32,
    /// Known before with the same content.
    pub duplicates: u32,
    /// Known before with other content; quarantined.
    pub conflicts: u32,
    /// Refused, with reasons.
    pub quarantined: Vec<RefusalView>,
    /// `bat_…`; null where nothing was stored.
    #[schema(value_type = Option<String>)]
    pub batch_id: Option<BatchId>,
    /// Number of the source's last batch.
    pub cursor: String,
}

/// One refused record.
#[derive(Serialize, ToSchema)]
pub struct RefusalView {
    /// Position in the push, from 0.
    pub index: u32,
    /// `unreadable`, `encoding`, `missing_field`, `invalid_field`, `too_large`, `sign_mismatch`, `behind_horizon`,
    /// `in_the_future`, `unknown_player`, `conflict`, `sum_mismatch`, `dead_letter`, `wrong_class`.
    pub code: &'static str,
    /// Which field, and what is wrong with it; never the value.
    pub detail: String,
}

/// Sources of the credential's operator; staff sees every source of the jurisdiction.
#[utoipa::path(
    get, path = "/api/v1/feeds", tag = "feeds", params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, description = "Sources", body = ListView<SourceBody>)),
    security(("bearer" = ["feeds:manage"]))
)]
pub async fn list(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::FeedsManage)?;
    let query = parse::list_query(&parse::query(&req, &["limit", "cursor"])?)?;
    let directory = state.engine.directory();
    let seen = state.engine.sources(caller.entry.key.operator_no).into_iter();
    let seen = seen.filter(|s| directory.operator(s.operator, caller.jurisdiction()).is_some());
    let page = page_by(seen, &query, |s| s.id)?;
    Ok(HttpResponse::Ok().json(page.map(SourceBody::of)))
}

/// Makes a source.
#[utoipa::path(
    post, path = "/api/v1/feeds", tag = "feeds", request_body = SourceRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: same source")),
    responses((status = 201, description = "The source", body = SourceBody),
        (status = 200, description = "It was there, with the same settings", body = SourceBody),
        (status = 403, description = "The key is an operator's, and the class is what others say of it"),
        (status = 409, description = "One of this name has other settings")),
    security(("bearer" = ["feeds:manage"]))
)]
pub async fn create(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::FeedsManage)?;
    parse::require_json(req.headers())?;
    let new = parse::json::<SourceRequest>(&body)?.check(&caller, &state)?;
    may_speak(&caller, new.class)?;
    let made = state.engine.create_source(new, idempotency(&caller, &req, &body)?).await?;
    let view = view_of(&state, &made.source)?;
    let mut response = if made.created { HttpResponse::Created() } else { HttpResponse::Ok() };
    let location = (header::LOCATION, format!("/api/v1/feeds/{}", made.source.id));
    Ok(response.insert_header(location).json(view))
}

/// A source.
#[utoipa::path(
    get, path = "/api/v1/feeds/{source}", tag = "feeds", params(("source" = String, Path, description = "src_…")),
    responses((status = 200, description = "The source", body = SourceBody)),
    security(("bearer" = ["feeds:manage"]))
)]
pub async fn get(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::FeedsManage)?;
    let source = reach(&caller, &state, &req)?;
    Ok(HttpResponse::Ok().json(view_of(&state, &source)?))
}

fn view_of(state: &AppState, source: &Source) -> Result<SourceBody, Problem> {
    let view = state.engine.sources(Some(source.operator_no)).into_iter().find(|s| s.id == source.id);
    view.map(SourceBody::of).ok_or_else(|| Problem::new(Code::Unavailable, "the source will be listed soon"))
}

/// Stores records: NDJSON or a JSON array, at most 5,000.
#[utoipa::path(
    post, path = "/api/v1/feeds/{source}/records", tag = "feeds",
    params(("source" = String, Path, description = "src_…"), ("dry_run" = Option<bool>, Query, description = "Validates only"),
        ("X-Mlinzi-Tamper-Token" = Option<String>, Header, description = "`v1=` and 64 hex digits: HMAC-SHA256 under this key's signing secret over the 32 bytes of the source's last token (none for the first) and the 32 bytes of the body's SHA-256"),
        ("X-Mlinzi-Batch" = Option<i64>, Header, description = "The operator's own number of the batch, gapless from 1")),
    request_body(content = String, content_type = "application/x-ndjson", description = "Canonical records, one a line; or application/json with an array of them, which is empty where nothing happened"),
    responses((status = 200, description = "Durable before this answer", body = PushView),
        (status = 403, description = "The key is an operator's, and the source has what others say of it"),
        (status = 409, description = "The tamper token does not follow: nothing is stored")),
    security(("bearer" = ["feeds:write"]))
)]
pub async fn push(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::FeedsWrite)?;
    parse::require_media_type(req.headers(), &["application/x-ndjson", "application/ndjson", "application/json"])?;
    let source = reach(&caller, &state, &req)?;
    may_speak(&caller, source.class.data())?;
    let dry_run = match parse::parameter(&parse::query(&req, &["dry_run"])?, "dry_run") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Problem::field("?dry_run", "true or false")),
    };
    let marks = whole::marks(&caller, req.headers())?;
    let outcome = state.engine.push(source.id, caller.entry.key.operator_no, body, marks, dry_run).await?;
    let quarantined = outcome.quarantined.into_iter();
    Ok(HttpResponse::Ok().json(PushView {
        accepted: outcome.accepted,
        duplicates: outcome.duplicates,
        conflicts: outcome.conflicts,
        quarantined: quarantined
            .map(|r| RefusalView { index: r.index, code: r.code.as_str(), detail: r.detail })
            .collect(),
        batch_id: outcome.batch_id,
        cursor: outcome.cursor,
    }))
}

/// The source in the path, if the caller may work with it: its own, or, for staff, any of the jurisdiction.
fn reach(caller: &Caller, state: &AppState, req: &HttpRequest) -> Result<Arc<Source>, Problem> {
    let id: SourceId = parse::path_id(req, "source", "source")?;
    let directory = state.engine.directory();
    let found = directory.sources.get(&id).filter(|source| match caller.entry.key.operator_no {
        Some(own) => source.operator_no == own,
        None => directory.operators.get(&source.operator_no).is_some_and(|o| o.jurisdiction == caller.jurisdiction()),
    });
    found.cloned().ok_or_else(|| Problem::not_found("source"))
}

/// What authorities and banks say of an operator is not its own word: rules and scores hold it against the operator. Only
/// staff's keys bring it.
fn may_speak(caller: &Caller, class: DataClass) -> Result<(), Problem> {
    if caller.operator.is_none() || !class.is_documents() {
        return Ok(());
    }
    let class = class.as_str();
    let why = format!(
        "{class} are what others say of an operator: ask the regulator, whose staff makes such sources and sends or fetches their records"
    );
    Err(Problem::new(Code::Forbidden, why))
}

impl SourceRequest {
    fn check(self, caller: &Caller, state: &AppState) -> Result<NewSource, Problem> {
        let directory = state.engine.directory();
        let mut fields = Fields::default();
        let operator = match (&caller.operator, self.operator.as_deref()) {
            (Some(own), None) => Some(Arc::clone(own)),
            (own, Some(text)) => {
                let id: Option<OperatorId> = text.parse().ok();
                let seen = id.and_then(|id| directory.operator(id, caller.jurisdiction()).cloned());
                seen.filter(|o| own.as_ref().is_none_or(|own| own.id == o.id))
            }
            (None, None) => None,
        };
        if operator.is_none() {
            fields.wrong("/operator", "name an operator of this jurisdiction");
        }
        let kind = match self.kind.as_deref() {
            None => Some(SourceKind::Push),
            named => fields.known("/kind", named, wire::<SourceKind>),
        };
        let name = fields.required_text("/name", self.name.as_deref(), 40);
        let class = fields.known("/class", self.class.as_deref(), DataClass::parse);
        let clock = match self.clock.as_deref() {
            None => Some(SourceClock::Wall),
            named => fields.known("/clock", named, wire::<SourceClock>),
        };
        let currency = match self.currency.as_deref() {
            None => directory.jurisdiction(caller.jurisdiction()).map(|j| j.currency),
            Some(text) => fields.take("/currency", Currency::parse(text)),
        };
        if self.expected_interval_seconds == Some(0) {
            fields.wrong("/expected_interval_seconds", "at least 1");
        }
        let given = fetching::Given { reader: self.reader, schedule: self.schedule, mapping: self.mapping };
        let fetching = match (kind, &operator, class, currency) {
            (Some(kind), Some(operator), Some(class), Some(currency)) => {
                let of = fetching::Of { kind, operator, class, currency };
                given.check(&of, caller, state, &mut fields)
            }
            _ => None,
        };
        let integrity = self.integrity.and_then(|given| whole::settings(given, &mut fields));
        if integrity.is_some() && kind.is_some_and(|kind| kind != SourceKind::Push) {
            fields.wrong("/integrity", "the source fetches its records by itself");
        }
        let whole = operator.zip(name).zip(class).zip(clock).zip(currency).zip(fetching);
        let (((((operator, name), class), clock), currency), fetching) = fields.finish(whole)?;
        let scheduled = fetching.schedule.as_ref().map(Schedule::expected_interval_seconds);
        Ok(NewSource {
            operator: operator.operator_no,
            name,
            class,
            clock,
            horizon_days: self.horizon_days.unwrap_or_else(|| class.horizon_days()),
            expected_interval_seconds: self.expected_interval_seconds.or(scheduled).unwrap_or(INTERVAL_SECONDS_DEFAULT),
            currency,
            reader: fetching.reader,
            schedule: fetching.schedule,
            mapping: fetching.mapping,
            integrity,
        })
    }
}

impl SourceBody {
    fn of(view: SourceView) -> Self {
        let source = view.source;
        let fetching = view.polling.map(|polling| fetching::FetchingBody::of(&source, polling));
        Self {
            id: view.id,
            operator: view.operator,
            name: view.name,
            kind: source.kind.as_str(),
            class: view.class.as_str(),
            clock: source.clock,
            horizon_days: source.horizon_days,
            expected_interval_seconds: source.expected_interval_seconds,
            currency: source.currency,
            freshness: view.freshness,
            last_event_at: view.last_event_at,
            last_success_at: view.last_success_at,
            records: view.records,
            duplicates: view.duplicates,
            quarantined: view.quarantined,
            conflicts: view.conflicts,
            late: view.late,
            replaced: view.replaced,
            tamper_token: whole::rule(source.integrity),
            integrity: view.integrity_state.as_deref().map(IntegrityView::of),
            completeness: view.last_day.map(|shown| ScoreView {
                day: shown.day,
                score: whole::fraction(shown.score_ppm),
                as_of: shown.as_of,
            }),
            quarantine_open: view.quarantine_open,
            cursor: view.cursor,
            fetching,
        }
    }
}
