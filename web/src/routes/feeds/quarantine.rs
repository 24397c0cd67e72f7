//! Refused records: why, what they were meant to be, and what is done about them.
//!
//! Who may: staff with `feeds:manage` everything, for every source of the jurisdiction. A key of an operator works with its
//! own sources: `feeds:write` or `feeds:manage` lists them all, and reads and replays single records of those it pushes to –
//! what lies there it has sent itself. Of what the regulator fetches it sees the reason alone. Many at once replays
//! `feeds:manage`; dismissing is for staff, because it says that a record need not come. Who read what is journaled.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use actors::engine::{ReplayMany, ReplayedMany};
use actors::source::{Apply, Attempt, Attempted};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use models::alert_group::Act;
use models::feed::Source;
use models::feed::integrity::TamperRule;
use models::ids::{KeyId, QuarantineId};
use models::operator::Scope;
use models::quarantine::{DismissReason, QuarantineState, ReplayOutcome};
use models::record::QuarantineCode;
use models::ts::Ts;
use serde::{Deserialize, Serialize};
use store::{QuarantineCount, QuarantineItem, QuarantineQuery};
use utoipa::ToSchema;

use super::reach;
use crate::extractors::{Body, Caller, idempotency::idempotency};
use crate::parse::{self, Fields};
use crate::problem::{Code, Problem};
use crate::routes::list::cursor;
use crate::state::AppState;

/// Records that one call tries again at most.
const REPLAY_MAX: u32 = 1_000;

/// Who did something, when.
#[derive(Serialize, ToSchema)]
pub struct QuarantineActView {
    /// `key_…`
    #[schema(value_type = String)]
    pub by: KeyId,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Ts,
}

impl From<Act> for QuarantineActView {
    fn from(act: Act) -> Self {
        Self { by: act.by, at: act.at }
    }
}

/// An attempt to replay a record that was refused again.
#[derive(Serialize, ToSchema)]
pub struct AttemptView {
    /// Who, when.
    #[serde(flatten)]
    pub act: QuarantineActView,
    /// Why it was refused.
    pub code: &'static str,
    /// Which field, and what is wrong with it.
    pub detail: String,
}

/// A refused record; what was sent stays sealed.
#[derive(Serialize, ToSchema)]
pub struct QuarantineView {
    /// `qua_…`
    #[schema(value_type = String)]
    pub id: QuarantineId,
    /// Position in its push.
    pub index: i64,
    /// Why.
    pub code: &'static str,
    /// Which field, and what is wrong with it.
    pub detail: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Ts,
    /// `record`; `csv` or `json` for a row of a file that its mapping could not map.
    pub form: &'static str,
    /// `open`, `replayed`, `dismissed`.
    pub state: &'static str,
    /// `stored` or `duplicate`, where it is replayed.
    pub outcome: Option<&'static str>,
    /// Why it is dismissed.
    pub reason: Option<&'static str>,
    /// Who replayed or dismissed it.
    pub settled: Option<QuarantineActView>,
    /// How often a replay was refused.
    pub attempts: u32,
    /// The last of them.
    pub last_attempt: Option<AttemptView>,
}

impl From<QuarantineItem> for QuarantineView {
    fn from(item: QuarantineItem) -> Self {
        let attempt = |(act, code, detail): (Act, QuarantineCode, String)| AttemptView {
            act: act.into(),
            code: code.as_str(),
            detail,
        };
        Self {
            id: item.id,
            index: item.index,
            code: item.code.as_str(),
            detail: item.detail,
            at: item.at,
            form: item.form.as_str(),
            state: item.state.as_str(),
            outcome: item.outcome.map(ReplayOutcome::as_str),
            reason: item.reason.map(DismissReason::as_str),
            settled: item.settled.map(QuarantineActView::from),
            attempts: item.attempts,
            last_attempt: item.attempt.map(attempt),
        }
    }
}

/// How many records of the source were refused for a reason, whatever the list is filtered by.
#[derive(Serialize, ToSchema)]
pub struct QuarantineCountView {
    /// Why.
    pub code: &'static str,
    /// Nothing was decided about.
    pub open: u64,
    /// Stored since, or known.
    pub replayed: u64,
    /// Left as they are.
    pub dismissed: u64,
}

/// A page of refused records.
#[derive(Serialize, ToSchema)]
pub struct QuarantineList {
    /// Newest first.
    pub items: Vec<QuarantineView>,
    /// Sent as `?cursor=` for the next page; null at the end.
    pub next_cursor: Option<String>,
    /// By code, on the first page; empty on the others.
    pub counts: Vec<QuarantineCountView>,
}

/// One thing that is other in a suggested record.
#[derive(Serialize, ToSchema)]
pub struct ChangeView {
    /// JSON pointer (RFC 6901).
    pub pointer: String,
    /// As it was sent; null where nothing was.
    #[schema(value_type = Object)]
    pub from: serde_json::Value,
    /// As it is suggested; null where it is taken away.
    #[schema(value_type = Object)]
    pub to: serde_json::Value,
    /// Why.
    pub why: String,
}

/// A record that the source would take.
#[derive(Serialize, ToSchema)]
pub struct SuggestionView {
    /// The whole record: a body for the replay.
    #[schema(value_type = Object)]
    pub record: serde_json::Value,
    /// What is other in it.
    pub changes: Vec<ChangeView>,
}

/// A refused record with what was sent.
#[derive(Serialize, ToSchema)]
pub struct QuarantineItemView {
    /// As in the list.
    #[serde(flatten)]
    pub item: QuarantineView,
    /// As it was sent; what is no UTF-8 in it is replaced. A row of a file stands behind the file's header.
    pub sent: String,
    /// The bytes, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_base64: Option<String>,
    /// What it was meant to be; null where that cannot be computed, or nothing is left to be done.
    pub suggestion: Option<SuggestionView>,
    /// What to do where nothing is suggested.
    pub advice: &'static str,
}

/// What came of a replay.
#[derive(Serialize, ToSchema)]
pub struct ReplayView {
    /// `stored`; `duplicate`, where the source has it already; `refused`, where it stays open.
    pub outcome: &'static str,
    /// As it stands now.
    pub item: QuarantineView,
}

/// Which refused records are to be tried again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayManyRequest {
    /// Refused for this reason.
    code: Option<String>,
    /// `as_sent`, or `suggestion`: each as is suggested for it.
    apply: Option<String>,
    /// At most so many, 1000 at most and by default.
    #[serde(default)]
    limit: Option<u32>,
    /// Behind this one (`next` of the answer before).
    #[serde(default)]
    after: Option<String>,
}

/// One that is not settled.
#[derive(Serialize, ToSchema)]
pub struct ReplayFailureView {
    /// `qua_…`
    #[schema(value_type = String)]
    pub id: QuarantineId,
    /// `refused` again, `no_suggestion`, `not_open`: somebody was faster.
    pub failure: &'static str,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// Which field, and what is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What came of many replays.
#[derive(Serialize, ToSchema)]
pub struct ReplayManyView {
    /// Records that were looked at.
    pub tried: usize,
    /// Stored now.
    pub stored: usize,
    /// Known to the source already.
    pub duplicates: usize,
    /// Still open.
    pub failed: usize,
    /// Each of those.
    pub failures: Vec<ReplayFailureView>,
    /// Sent as `after` to go on; null where no more are open.
    #[schema(value_type = Option<String>)]
    pub next: Option<QuarantineId>,
}

impl From<ReplayedMany> for ReplayManyView {
    fn from(replayed: ReplayedMany) -> Self {
        let (stored, duplicates) =
            (replayed.settled(ReplayOutcome::Stored), replayed.settled(ReplayOutcome::Duplicate));
        let tried = replayed.attempts.len();
        let failure = |Attempt { id, attempted }: Attempt| {
            let (failure, code, detail) = match attempted {
                Attempted::Settled(_) => return None,
                Attempted::RefusedAgain(code, detail) => ("refused", Some(code.as_str()), Some(detail)),
                Attempted::NoSuggestion => ("no_suggestion", None, None),
                Attempted::NotOpen(_) | Attempted::NotThere => ("not_open", None, None),
            };
            Some(ReplayFailureView { id, failure, code, detail })
        };
        let failures: Vec<ReplayFailureView> = replayed.attempts.into_iter().filter_map(failure).collect();
        Self { tried, stored, duplicates, failed: failures.len(), failures, next: replayed.next }
    }
}

/// Why a record is left as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DismissRequest {
    /// `sent_again`, `duplicate`, `test_data`, `out_of_scope`, `unrepairable`.
    reason: Option<String>,
}

/// Refused records of a source may be looked at by whoever sends to it or manages it.
fn may_list(caller: &Caller) -> Result<(), Problem> {
    if caller.operator.is_some() && caller.has(Scope::FeedsWrite) { Ok(()) } else { caller.require(Scope::FeedsManage) }
}

/// What was sent may be seen and sent again by staff, and by the operator that sent it, unless it is what others say of it.
fn may_replay(caller: &Caller, source: &Source) -> Result<(), Problem> {
    may_list(caller)?;
    super::may_speak(caller, source.class.data())?;
    if caller.operator.is_some() && source.reader.is_some() {
        return Err(Problem::new(Code::Forbidden, "only staff sees what was fetched"));
    }
    Ok(())
}

/// Records of a source that were refused, newest first, with how many there are for which reason; what was sent stays sealed.
#[utoipa::path(
    get, path = "/api/v1/feeds/{source}/quarantine", tag = "feeds",
    params(("source" = String, Path, description = "src_…"),
        ("state" = Option<String>, Query, description = "`open`, `replayed` or `dismissed`; all of them by default"),
        ("code" = Option<String>, Query, description = "Refused for this reason"),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, description = "Refused records", body = QuarantineList)),
    security(("bearer" = ["feeds:manage"]), ("bearer" = ["feeds:write"]))
)]
pub async fn list(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    may_list(&caller)?;
    let source = reach(&caller, &state, &req)?;
    let pairs = parse::query(&req, &["state", "code", "limit", "cursor"])?;
    let page = parse::list_query(&pairs)?;
    let mut fields = Fields::default();
    let named = |name: &str| parse::parameter(&pairs, name);
    let wanted = named("state").and_then(|text| fields.known_parameter("?state", QuarantineState::parse(text)));
    let code = named("code").and_then(|text| fields.known_parameter("?code", QuarantineCode::parse(text)));
    fields.check()?;
    let query = QuarantineQuery {
        source_no: source.source_no,
        state: wanted,
        code,
        before: cursor::<QuarantineId>(&page)?,
        limit: page.limit + 1,
    };
    let mut items = state.engine.store().quarantine(&query).await?;
    let more = items.len() > page.limit as usize;
    items.truncate(page.limit as usize);
    let next_cursor = items.last().filter(|_| more).map(|item| item.id.to_string());
    // one look at all of a source's rows is enough for all pages
    let counts = match query.before {
        None => counts(&state.engine.store().quarantine_counts(source.source_no).await?),
        Some(_) => Vec::new(),
    };
    let items = items.into_iter().map(QuarantineView::from).collect();
    Ok(HttpResponse::Ok().json(QuarantineList { items, next_cursor, counts }))
}

fn counts(counts: &[QuarantineCount]) -> Vec<QuarantineCountView> {
    let of = |code: QuarantineCode, state: QuarantineState| {
        counts.iter().find(|known| known.code == code && known.state == state).map_or(0, |known| known.count)
    };
    let codes = QuarantineCode::ALL.iter().filter(|code| counts.iter().any(|known| known.code == **code));
    let view = |code: &QuarantineCode| QuarantineCountView {
        code: code.as_str(),
        open: of(*code, QuarantineState::Open),
        replayed: of(*code, QuarantineState::Replayed),
        dismissed: of(*code, QuarantineState::Dismissed),
    };
    codes.map(view).collect()
}

/// A refused record with what was sent, people in the clear, and what it was meant to be. Who read it is journaled first.
#[utoipa::path(
    get, path = "/api/v1/feeds/{source}/quarantine/{id}", tag = "feeds",
    params(("source" = String, Path, description = "src_…"), ("id" = String, Path, description = "qua_…")),
    responses((status = 200, description = "The record, never to be cached", body = QuarantineItemView)),
    security(("bearer" = ["feeds:manage"]), ("bearer" = ["feeds:write"]))
)]
pub async fn get(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    may_list(&caller)?;
    let source = reach(&caller, &state, &req)?;
    may_replay(&caller, &source)?;
    let id: QuarantineId = parse::path_id(&req, "id", "quarantined record")?;
    let read = state.engine.read_quarantined(&source, id, caller.entry.key.id).await?;
    let sent = String::from_utf8_lossy(&read.sent);
    let is_text = std::str::from_utf8(&read.sent).is_ok();
    let change = |change: engine::repair::Change| ChangeView {
        pointer: change.pointer,
        from: change.from,
        to: change.to,
        why: change.why,
    };
    let suggestion = read.suggestion.map(|suggestion| SuggestionView {
        record: suggestion.record,
        changes: suggestion.changes.into_iter().map(change).collect(),
    });
    let view = QuarantineItemView {
        advice: engine::repair::advice(read.item.code),
        item: read.item.into(),
        sent: sent.into_owned(),
        sent_base64: (!is_text).then(|| STANDARD.encode(&read.sent)),
        suggestion,
    };
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(view))
}

/// Tries a refused record again: as the body corrects it, or, without a body, as it was sent. It is judged, deduplicated and
/// stored like one that is pushed; refused again, it stays open.
#[utoipa::path(
    post, path = "/api/v1/feeds/{source}/quarantine/{id}/replay", tag = "feeds",
    params(("source" = String, Path, description = "src_…"), ("id" = String, Path, description = "qua_…"),
        ("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: same result")),
    request_body(content = Option<Object>, content_type = "application/json", description = "One canonical record"),
    responses((status = 200, description = "What came of it; durable before this answer", body = ReplayView),
        (status = 409, description = "It is replayed or dismissed already")),
    security(("bearer" = ["feeds:manage"]), ("bearer" = ["feeds:write"]))
)]
pub async fn replay(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    may_list(&caller)?;
    let corrected = (!body.trim_ascii().is_empty()).then(|| body.clone());
    if corrected.is_some() {
        parse::require_json(req.headers())?;
    }
    let source = reach(&caller, &state, &req)?;
    may_replay(&caller, &source)?;
    let must_prove = source.integrity.is_some_and(|integrity| integrity.tamper_token == TamperRule::Required);
    if must_prove && corrected.is_some() && caller.entry.key.operator_no.is_some() {
        let why = "the source requires a tamper token: push the corrected record with one, or let staff correct it";
        return Err(Problem::new(Code::Forbidden, why));
    }
    let id: QuarantineId = parse::path_id(&req, "id", "quarantined record")?;
    let key = idempotency(&caller, &req, &body)?;
    let (attempted, item) = state.engine.replay(&source, id, corrected, caller.entry.key.id, key).await?;
    let outcome = match attempted {
        Attempted::Settled(outcome) => outcome,
        _ => ReplayOutcome::Refused,
    };
    Ok(HttpResponse::Ok().json(ReplayView { outcome: outcome.as_str(), item: item.into() }))
}

/// Tries open records again that were refused for one reason, oldest first.
#[utoipa::path(
    post, path = "/api/v1/feeds/{source}/quarantine/replay", tag = "feeds", request_body = ReplayManyRequest,
    params(("source" = String, Path, description = "src_…")),
    responses((status = 200, description = "What came of them; durable before this answer", body = ReplayManyView)),
    security(("bearer" = ["feeds:manage"]))
)]
pub async fn replay_many(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::FeedsManage)?;
    parse::require_json(req.headers())?;
    let source = reach(&caller, &state, &req)?;
    may_replay(&caller, &source)?;
    let sent: ReplayManyRequest = parse::json(&body)?;
    let mut fields = Fields::default();
    let code = fields.known("/code", sent.code.as_deref(), QuarantineCode::parse);
    let apply = fields.known("/apply", sent.apply.as_deref(), |text| match text {
        "as_sent" => Some(Apply::AsSent),
        "suggestion" => Some(Apply::Suggestion),
        _ => None,
    });
    let limit = sent.limit.unwrap_or(REPLAY_MAX);
    if !(1..=REPLAY_MAX).contains(&limit) {
        fields.wrong("/limit", "a number from 1 to 1000");
    }
    let after = sent.after.as_deref();
    let after = after.and_then(|text| fields.known("/after", Some(text), |text| text.parse::<QuarantineId>().ok()));
    let (code, apply) = fields.finish(code.zip(apply))?;
    let many = ReplayMany { code, apply, after, limit, by: caller.entry.key.id };
    let replayed = state.engine.replay_many(&source, many).await?;
    Ok(HttpResponse::Ok().json(ReplayManyView::from(replayed)))
}

/// Leaves a refused record as it is; only staff decides that a record need not come. The same again by the same key changes
/// nothing.
#[utoipa::path(
    post, path = "/api/v1/feeds/{source}/quarantine/{id}/dismiss", tag = "feeds", request_body = DismissRequest,
    params(("source" = String, Path, description = "src_…"), ("id" = String, Path, description = "qua_…"),
        ("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: same result")),
    responses((status = 200, description = "The record", body = QuarantineView),
        (status = 409, description = "It is replayed or dismissed already")),
    security(("bearer" = ["feeds:manage"]))
)]
pub async fn dismiss(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::FeedsManage)?;
    if caller.operator.is_some() {
        return Err(Problem::new(Code::Forbidden, "only staff dismisses refused records"));
    }
    parse::require_json(req.headers())?;
    let source = reach(&caller, &state, &req)?;
    let id: QuarantineId = parse::path_id(&req, "id", "quarantined record")?;
    let sent: DismissRequest = parse::json(&body)?;
    let mut fields = Fields::default();
    let reason = fields.known("/reason", sent.reason.as_deref(), DismissReason::parse);
    let reason = fields.finish(reason)?;
    let key = idempotency(&caller, &req, &body)?;
    let item = state.engine.dismiss(&source, id, reason, caller.entry.key.id, key).await?;
    Ok(HttpResponse::Ok().json(QuarantineView::from(item)))
}
