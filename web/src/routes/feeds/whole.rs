//! Whether a source's batches are whole: what a push says about itself, declared totals, completeness.

use super::{AppState, Body, Caller, Fields, Problem, reach};
use crate::parse::{self, wire};
use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse};
use actors::integrity::{DayCompleteness, Declared, NewDeclaration};
use engine::integrity::PushMarks;
use engine::integrity::completeness::FORMULA;
use engine::integrity::totals::{Tolerance, day_after, day_of, differs};
use models::feed::IntegritySettings;
use models::feed::integrity::{
    BATCH_NUMBER_MAX, ChainEndReason, ComparedTotal, Declaration, DeclaredStatus, DeclaredTotal, TamperRule, Total,
    TotalsCompared,
};
use models::operator::Scope;
use models::record::RecordKind;
use models::ts::Ts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Header of a push: `v1=<hex>`.
pub(super) const TOKEN_HEADER: &str = "X-Mlinzi-Tamper-Token";
/// Header of a push: its operator's own number.
pub(super) const NUMBER_HEADER: &str = "X-Mlinzi-Batch";
/// Declarations of one day that are listed.
const HISTORY_MAX: u32 = 100;
/// Days of completeness where none are named.
const DAYS_DEFAULT: i64 = 7;

/// What the headers of a push say about it as a whole.
pub(super) fn marks(caller: &Caller, headers: &HeaderMap) -> Result<PushMarks, Problem> {
    let text = |name: &str| match headers.get_all(name).collect::<Vec<_>>().as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.to_str().unwrap_or_default().to_owned())),
        _ => Err(Problem::field(name.to_owned(), "more than once")),
    };
    let token = match text(TOKEN_HEADER)? {
        None => None,
        Some(text) => {
            let token = token(&text).ok_or_else(|| Problem::field(TOKEN_HEADER, "not v1= and 64 hex digits"))?;
            Some((token, caller.entry.signing.clone()))
        }
    };
    let number = match text(NUMBER_HEADER)? {
        None => None,
        Some(text) => {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse().ok().filter(|number| plain && (1..=BATCH_NUMBER_MAX).contains(number));
            Some(number.ok_or_else(|| Problem::field(NUMBER_HEADER, "not a whole number from 1 to 2^53-1"))?)
        }
    };
    Ok(PushMarks { token, number })
}

fn token(text: &str) -> Option<[u8; 32]> {
    let hex = text.strip_prefix("v1=").filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let mut token = [0; 32];
    for (byte, pair) in token.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(token)
}

/// What a source's pushes are held to.
pub(super) fn settings(given: serde_json::Value, fields: &mut Fields) -> Option<IntegritySettings> {
    let settings = serde_json::from_value(given).ok();
    if settings.is_none() {
        fields.wrong("/integrity", "not {\"tamper_token\": \"optional\" or \"required\"}");
    }
    settings
}

/// As it is shown.
pub(super) fn rule(settings: Option<IntegritySettings>) -> &'static str {
    settings.map_or(TamperRule::Optional, |settings| settings.tamper_token).as_str()
}

/// Why a chain is begun anew.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChainRequest {
    /// `lost_state`, `new_platform`, `investigated`, `other`.
    #[serde(default)]
    reason: Option<String>,
    /// The number that the next batch has; missing ones below are not waited for. Numbers go on where none is named.
    #[serde(default)]
    next_batch: Option<i64>,
}

/// Ends a source's chain of tamper tokens; the next token is the first of a new chain. Staff only, journaled with the key
/// that asked for it.
#[utoipa::path(
    post, path = "/api/v1/feeds/{source}/chain", tag = "feeds", request_body = ChainRequest,
    params(("source" = String, Path, description = "src_…")),
    responses((status = 200, description = "The source; its next token has nothing before it", body = super::SourceBody)),
    security(("bearer" = ["feeds:manage"]))
)]
pub async fn begin_chain(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::FeedsManage)?;
    parse::require_json(req.headers())?;
    let source = reach(&caller, &state, &req)?;
    if caller.operator.is_some() {
        // whoever changes what was sent would begin anew, too
        return Err(Problem::new(crate::problem::Code::Forbidden, "only staff begins a chain anew"));
    }
    let request = parse::json::<ChainRequest>(&body)?;
    let mut fields = Fields::default();
    let reason = fields.known("/reason", request.reason.as_deref(), wire::<ChainEndReason>);
    if request.next_batch.is_some_and(|number| !(1..=BATCH_NUMBER_MAX).contains(&number)) {
        fields.wrong("/next_batch", "not a whole number from 1 to 2^53-1");
    }
    let reason = fields.finish(reason)?;
    state.engine.end_chain(source.id, caller.entry.key.id, reason, request.next_batch).await?;
    Ok(HttpResponse::Ok().json(super::view_of(&state, &source)?))
}

/// What an operator did on a day.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclarationRequest {
    /// `YYYY-MM-DD`; it must be over.
    #[serde(default)]
    day: Option<String>,
    /// IANA zone by whose midnight the day is meant; the jurisdiction's by default.
    #[serde(default)]
    time_zone: Option<String>,
    /// `successful` (default) or `all`: which records the totals are about.
    #[serde(default)]
    status: Option<String>,
    /// Each kind once.
    #[serde(default)]
    totals: Vec<TotalRequest>,
}

/// Of one kind.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TotalRequest {
    /// As in records.
    #[serde(default)]
    kind: Option<String>,
    /// Records.
    #[serde(default)]
    count: Option<i64>,
    /// Sum of their amounts, minor units of the source's currency; 0 by default.
    #[serde(default)]
    amount_minor: i64,
}

/// A kind of a declared day.
#[derive(Serialize, ToSchema)]
pub struct LineView {
    /// Kind of records.
    #[schema(value_type = String)]
    kind: RecordKind,
    /// As declared; null where the kind was not declared.
    #[schema(value_type = Object)]
    declared: Option<Total>,
    /// As stored.
    #[schema(value_type = Object)]
    stored: Total,
    /// Stored less declared; null where the kind was not declared.
    #[schema(value_type = Object)]
    difference: Option<Total>,
    /// Is that more than is tolerated?
    differs: bool,
}

/// A declared day, beside what is stored of it.
#[derive(Serialize, ToSchema)]
pub struct DeclaredView {
    /// `YYYY-MM-DD`
    day: String,
    /// Its first instant.
    #[schema(value_type = String, format = DateTime)]
    from: Ts,
    /// The first one after it.
    #[schema(value_type = String, format = DateTime)]
    to: Ts,
    /// Number of the declaration of this day that counts, from 1.
    version: i64,
    /// Which records it is about.
    #[schema(value_type = String)]
    status: DeclaredStatus,
    /// Does a line differ by more than is tolerated?
    differs: bool,
    /// When it was held against what is stored; again within a minute of a batch that touches the day.
    #[schema(value_type = String, format = DateTime)]
    as_of: Ts,
    /// Kind by kind.
    lines: Vec<LineView>,
    /// Every declaration of the day, newest first; only where the day was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<HistoryView>>,
}

/// A declaration as it came.
#[derive(Serialize, ToSchema)]
pub struct HistoryView {
    /// Number.
    version: i64,
    /// When it came.
    #[schema(value_type = String, format = DateTime)]
    declared_at: Ts,
    /// By whose midnight.
    time_zone: String,
    /// Which records it is about.
    #[schema(value_type = String)]
    status: DeclaredStatus,
    /// Kind by kind.
    #[schema(value_type = Vec<Object>)]
    totals: Vec<DeclaredTotal>,
}

impl DeclaredView {
    fn of(compared: TotalsCompared, tolerance: Tolerance) -> Self {
        let line = |line: ComparedTotal| LineView {
            kind: line.kind,
            declared: line.declared,
            stored: line.stored,
            difference: line.declared.map(|declared| Total {
                count: line.stored.count.saturating_sub(declared.count),
                amount_minor: line.stored.amount_minor.saturating_sub(declared.amount_minor),
            }),
            differs: differs(&line, tolerance),
        };
        Self {
            day: compared.day,
            from: compared.from,
            to: compared.to,
            version: compared.version,
            status: compared.status,
            differs: compared.differs,
            as_of: compared.at,
            lines: compared.lines.into_iter().map(line).collect(),
            history: None,
        }
    }
}

impl DeclarationRequest {
    fn check(self, caller: &Caller) -> Result<NewDeclaration, Problem> {
        let mut fields = Fields::default();
        let day = fields.required_text("/day", self.day.as_deref(), 10);
        let time_zone = fields.text("/time_zone", self.time_zone.as_deref(), 64);
        let status = match self.status.as_deref() {
            None => Some(DeclaredStatus::Successful),
            named => fields.known("/status", named, DeclaredStatus::parse),
        };
        if self.totals.is_empty() {
            fields.wrong("/totals", "at least one kind");
        }
        let mut totals: Vec<DeclaredTotal> = Vec::new();
        for (n, total) in self.totals.iter().take(RecordKind::ALL.len() + 1).enumerate() {
            let Some(kind) = total.kind.as_deref().and_then(RecordKind::parse) else {
                fields.wrong(format!("/totals/{n}/kind"), "not a kind of records");
                continue;
            };
            if totals.iter().any(|known| known.kind == kind) {
                fields.wrong(format!("/totals/{n}/kind"), "more than once");
            }
            let Some(count) = total.count.filter(|count| *count >= 0) else {
                fields.wrong(format!("/totals/{n}/count"), "a whole number, at least 0");
                continue;
            };
            if total.amount_minor < 0 && !kind.may_be_negative() {
                fields.wrong(format!("/totals/{n}/amount_minor"), "at least 0: the kind says the direction");
            }
            totals.push(DeclaredTotal { kind, count, amount_minor: total.amount_minor });
        }
        let (day, status) = fields.finish(day.zip(status))?;
        Ok(NewDeclaration { day, time_zone, status, totals, by: caller.entry.key.id })
    }
}

/// Declares what was done on a day. The newest declaration of a day counts; earlier ones are kept. The same once more
/// changes nothing.
#[utoipa::path(
    post, path = "/api/v1/feeds/{source}/declarations", tag = "feeds", request_body = DeclarationRequest,
    params(("source" = String, Path, description = "src_…")),
    responses((status = 201, description = "Stored, beside what is stored of the day", body = DeclaredView),
        (status = 200, description = "The same was declared before", body = DeclaredView),
        (status = 403, description = "The key is an operator's, and the source has what others say of it")),
    security(("bearer" = ["feeds:write"]))
)]
pub async fn declare(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::FeedsWrite)?;
    parse::require_json(req.headers())?;
    let source = reach(&caller, &state, &req)?;
    super::may_speak(&caller, source.class.data())?;
    let new = parse::json::<DeclarationRequest>(&body)?.check(&caller)?;
    let Declared { compared, created, .. } = state.engine.declare(source.id, new).await?;
    let mut answer = if created { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(answer.json(DeclaredView::of(compared, state.engine.declared_tolerance())))
}

/// Declared days, newest first, beside what is stored of them; one day with its history.
#[utoipa::path(
    get, path = "/api/v1/feeds/{source}/declarations", tag = "feeds",
    params(("source" = String, Path, description = "src_…"), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query),
        ("day" = Option<String>, Query, description = "`YYYY-MM-DD`: this day alone, with every declaration of it")),
    responses((status = 200, description = "Declared days", body = super::ListView<DeclaredView>)),
    security(("bearer" = ["feeds:manage"]))
)]
pub async fn declarations(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::FeedsManage)?;
    let source = reach(&caller, &state, &req)?;
    let pairs = parse::query(&req, &["limit", "cursor", "day"])?;
    let (store, tolerance) = (state.engine.store(), state.engine.declared_tolerance());
    if let Some(day) = parse::parameter(&pairs, "day") {
        let compared = store.declared_day(source.source_no, day).await?;
        let mut items: Vec<DeclaredView> =
            compared.into_iter().map(|compared| DeclaredView::of(compared, tolerance)).collect();
        for item in &mut items {
            let history = store.declarations_of(source.source_no, day, HISTORY_MAX).await?;
            item.history = Some(history.into_iter().map(HistoryView::of).collect());
        }
        return Ok(HttpResponse::Ok().json(super::ListView { items, next_cursor: None }));
    }
    let query = parse::list_query(&pairs)?;
    let limit = query.limit as usize;
    let before = match &query.cursor {
        None => None,
        Some(day) if parse::is_date(day) => Some(day.as_str()),
        Some(_) => return Err(Problem::field("?cursor", "not one that this list gave")),
    };
    let mut days = store.declared_days(source.source_no, before, query.limit + 1).await?;
    let more = days.len() > limit;
    days.truncate(limit);
    let next_cursor = days.last().filter(|_| more).map(|last| last.day.clone());
    let items = days.into_iter().map(|compared| DeclaredView::of(compared, tolerance)).collect();
    Ok(HttpResponse::Ok().json(super::ListView::<DeclaredView> { items, next_cursor }))
}

impl HistoryView {
    fn of(declaration: Declaration) -> Self {
        Self {
            version: declaration.version,
            declared_at: declaration.at,
            time_zone: declaration.time_zone,
            status: declaration.status,
            totals: declaration.totals,
        }
    }
}

/// How complete days are.
#[derive(Serialize, ToSchema)]
pub struct CompletenessView {
    /// How a score is made.
    formula: &'static str,
    /// When this was worked out.
    #[schema(value_type = String, format = DateTime)]
    as_of: Ts,
    /// Oldest first.
    items: Vec<DayView>,
}

/// A day, and what its score is made of.
#[derive(Serialize, ToSchema)]
pub struct DayView {
    /// `YYYY-MM-DD`, by the jurisdiction's midnight.
    day: String,
    /// Its first instant.
    #[schema(value_type = String, format = DateTime)]
    from: Ts,
    /// The first one after it.
    #[schema(value_type = String, format = DateTime)]
    to: Ts,
    /// Between 0 and 1, rounded down.
    score: f64,
    /// Share of the expected intervals with a stored batch.
    intervals: PartView,
    /// Share of the declared records that are stored.
    declared: PartView,
    /// Share of the records sent that are not in quarantine.
    settled: PartView,
    /// When the declaration was held against what is stored; null where nothing was declared.
    #[schema(value_type = Option<String>, format = DateTime)]
    compared_at: Option<Ts>,
}

/// A share: so many of so many.
#[derive(Serialize, ToSchema)]
pub struct PartView {
    /// So many.
    part: i64,
    /// Of so many; null where nothing was expected, and the share is 1.
    of: Option<i64>,
    /// Between 0 and 1, rounded down.
    share: f64,
}

/// Millionths as a fraction.
pub(super) fn fraction(ppm: i64) -> f64 {
    ppm as f64 / 1e6
}

impl DayView {
    fn of(day: DayCompleteness) -> Self {
        let (facts, score) = (day.facts, day.score);
        let part = |part: i64, of: i64, share: i64| PartView {
            part,
            of: Some(of).filter(|of| *of > 0),
            share: fraction(share),
        };
        Self {
            day: day.day,
            from: day.from,
            to: day.to,
            score: fraction(score.score_ppm),
            intervals: part(facts.delivered, facts.intervals, score.intervals_ppm),
            declared: part(facts.stored, facts.declared.unwrap_or_default(), score.declared_ppm),
            settled: part(facts.sent.saturating_sub(facts.unsettled).max(0), facts.sent, score.settled_ppm),
            compared_at: day.compared_at,
        }
    }
}

/// How complete a source's days are, each with what its score is made of.
#[utoipa::path(
    get, path = "/api/v1/feeds/{source}/completeness", tag = "feeds",
    params(("source" = String, Path, description = "src_…"),
        ("from" = Option<String>, Query, description = "First day, `YYYY-MM-DD`; a week before the last by default"),
        ("to" = Option<String>, Query, description = "Last day, at most 92 days later; yesterday by default")),
    responses((status = 200, description = "Days", body = CompletenessView)),
    security(("bearer" = ["feeds:manage"]))
)]
pub async fn completeness(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::FeedsManage)?;
    let source = reach(&caller, &state, &req)?;
    let pairs = parse::query(&req, &["from", "to"])?;
    let as_of = state.engine.now();
    let directory = state.engine.directory();
    let operator = directory.operators.get(&source.operator_no);
    let zone = operator.and_then(|operator| directory.jurisdiction(operator.jurisdiction));
    let today = zone.and_then(|jurisdiction| day_of(as_of, &jurisdiction.time_zone));
    let given = |name| parse::parameter(&pairs, name).map(ToOwned::to_owned);
    let to = given("to").or_else(|| day_after(&today?, -1));
    let to = to.ok_or_else(|| Problem::field("?to", "missing"))?;
    let from = given("from").or_else(|| day_after(&to, 1 - DAYS_DEFAULT));
    let from = from.ok_or_else(|| Problem::field("?to", "not a day (YYYY-MM-DD)"))?;
    let days = state.engine.completeness(source.id, &from, &to).await?;
    let items = days.into_iter().map(DayView::of).collect();
    Ok(HttpResponse::Ok().json(CompletenessView { formula: FORMULA, as_of, items }))
}
