//! What people do with versions of rules. Each act is journaled with the key, the time and the reason.

use actix_web::{HttpRequest, HttpResponse};
use actors::rule_versions::{RuleCommand, RuleOrder, RuleOrdered};
use engine::rules::life::{Life, complete};
use models::operator::Scope;
use models::rule::NOTE_CHARS_MAX;
use models::ts::Ts;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::views::{RuleBody, VersionView};
use super::{about, body as rule_body, etag, life, number, view};
use crate::extractors::idempotency::idempotency;
use crate::extractors::{Body, Caller};
use crate::parse::{self, Fields};
use crate::problem::Problem;
use crate::routes::operators::if_match;
use crate::state::AppState;

/// A version to be proposed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"parameters": {"deposits_min": 4, "span_hours": 48}, "effective_from": "2027-01-01T00:00:00Z", "note": "Circular 7: two days, four deposits"}))]
pub struct VersionRequest {
    /// Those that are not the jurisdiction's standard.
    #[serde(default)]
    #[schema(value_type = Object)]
    parameters: Option<Map<String, Value>>,
    /// First instant, by the time of what is judged; not in the past. Left out: as soon as it is promoted.
    #[serde(default)]
    #[schema(format = DateTime)]
    effective_from: Option<String>,
    /// First instant after it, at which what was live before is so again. Left out: open.
    #[serde(default)]
    #[schema(format = DateTime)]
    effective_to: Option<String>,
    /// Why, up to 500 characters, with nobody in it.
    #[serde(default)]
    note: Option<String>,
}

/// Why something is done.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"note": "a week in the shadow: 12 findings, all of them looked at"}))]
pub struct NoteRequest {
    /// Why, up to 500 characters, with nobody in it.
    #[serde(default)]
    note: Option<String>,
}

/// What is undone, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"note": "ten times the alerts of the version before"}))]
pub struct RollbackRequest {
    /// The version whose promotion is undone; without it what is live now, and only where that cannot be undone what is to
    /// become live by itself.
    #[serde(default)]
    version: Option<u32>,
    /// Why, up to 500 characters, with nobody in it.
    #[serde(default)]
    note: Option<String>,
}

/// Whether a version runs in the shadow.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"run": true, "note": "a week beside version 1"}))]
pub struct ShadowRequest {
    /// True starts it, false stops it.
    #[serde(default)]
    run: Option<bool>,
    /// Why, up to 500 characters, with nobody in it.
    #[serde(default)]
    note: Option<String>,
}

async fn order(
    caller: &Caller,
    state: &AppState,
    req: &HttpRequest,
    body: &[u8],
    life: &Life,
    (command, note): (RuleCommand, String),
) -> Result<RuleOrdered, Problem> {
    let order = RuleOrder {
        jurisdiction: caller.jurisdiction(),
        rule: life.rule().to_owned(),
        command,
        by: caller.entry.key.id,
        note,
        expected: if_match(req.headers())?.map(i64::from),
    };
    Ok(state.engine.order_rule(order, idempotency(caller, req, body)?).await?)
}

/// The version that was ordered, as it is now.
fn shown(
    mut response: actix_web::HttpResponseBuilder,
    state: &AppState,
    ordered: &RuleOrdered,
) -> Result<HttpResponse, Problem> {
    let view = view(&ordered.life, ordered.version.unwrap_or(0), state.engine.now())?;
    Ok(response.insert_header(etag(&ordered.life)).json(view))
}

/// The rule as it is now.
async fn shown_rule(
    state: &AppState,
    req: &HttpRequest,
    caller: &Caller,
    life: &Life,
) -> Result<HttpResponse, Problem> {
    let body: RuleBody = rule_body(state, caller.jurisdiction(), about(req)?).await?;
    Ok(HttpResponse::Ok().insert_header(etag(life)).json(body))
}

fn required_note(fields: &mut Fields, note: Option<&str>) -> Option<String> {
    fields.required_text("/note", note, NOTE_CHARS_MAX)
}

fn note_of(req: &HttpRequest, body: &[u8]) -> Result<String, Problem> {
    let sent: NoteRequest = parse::json_body(req.headers(), body)?;
    let mut fields = Fields::default();
    let note = required_note(&mut fields, sent.note.as_deref());
    fields.finish(note)
}

/// Proposes a version: nothing changes before it is tried or promoted. Refused are parameters that are unknown, out of
/// bounds or those that are live then, and times in which another version becomes live by itself.
#[utoipa::path(
    post, path = "/api/v1/rules/{rule}/versions", tag = "rules", request_body = VersionRequest,
    params(("rule" = String, Path, description = "Its name", example = "structured_deposits"),
        ("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: same version"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the rule; 412 where it was changed since")),
    responses((status = 201, description = "The version", body = VersionView),
        (status = 409, description = "The parameters are live then, or another version becomes live by itself in that time"),
        (status = 422, description = "A parameter or a time is wrong")),
    security(("bearer" = ["rules:manage"]))
)]
pub async fn propose(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::RulesManage)?;
    let sent: VersionRequest = parse::json_body(req.headers(), &body)?;
    let life = life(&caller, &state, &req)?;
    let mut fields = Fields::default();
    let params = complete(life.rule(), life.standard_params(), &sent.parameters.unwrap_or_default());
    for wrong in params.as_ref().err().into_iter().flatten() {
        let place = if wrong.name.is_empty() { String::new() } else { format!("/{}", wrong.name) };
        fields.wrong(format!("/parameters{place}"), wrong.what.clone());
    }
    let from = sent.effective_from.as_deref().and_then(|text| fields.take("/effective_from", Ts::parse(text)));
    let to = sent.effective_to.as_deref().and_then(|text| fields.take("/effective_to", Ts::parse(text)));
    let note = required_note(&mut fields, sent.note.as_deref());
    let (params, note) = fields.finish(params.ok().zip(note))?;
    let command = RuleCommand::Propose { params, effective: (from, to) };
    let ordered = order(&caller, &state, &req, &body, &life, (command, note)).await?;
    shown(HttpResponse::Created(), &state, &ordered)
}

/// Lets a version run in the shadow, beside the live one, or no longer: what it finds is counted, and nobody is told.
#[utoipa::path(
    post, path = "/api/v1/rules/{rule}/versions/{version}/shadow", tag = "rules", request_body = ShadowRequest,
    params(("rule" = String, Path, description = "Name of the rule"), ("version" = u32, Path, description = "Number"),
        ("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: once"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the rule")),
    responses((status = 200, description = "The version", body = VersionView),
        (status = 409, description = "It is live, runs already or does not, another one runs in the shadow, or the rule has none: a rule of the market is tried over history, one of the desk is not tried")),
    security(("bearer" = ["rules:manage"]))
)]
pub async fn shadow(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::RulesManage)?;
    let sent: ShadowRequest = parse::json_body(req.headers(), &body)?;
    let life = life(&caller, &state, &req)?;
    let number = number(&life, &req)?;
    let mut fields = Fields::default();
    if sent.run.is_none() {
        fields.wrong("/run", "required");
    }
    let note = required_note(&mut fields, sent.note.as_deref());
    let (run, note) = fields.finish(sent.run.zip(note))?;
    let command = if run { RuleCommand::StartShadow(number) } else { RuleCommand::StopShadow(number) };
    let ordered = order(&caller, &state, &req, &body, &life, (command, note)).await?;
    shown(HttpResponse::Ok(), &state, &ordered)
}

/// Lets a version take the place of the live one, from now on or from the instant it was proposed for. Another person than
/// the one who proposed it has to do so. How many alerts are expected is stored with it; where far more come within seven
/// days, the engine takes it back by itself.
#[utoipa::path(
    post, path = "/api/v1/rules/{rule}/versions/{version}/promote", tag = "rules", request_body = NoteRequest,
    params(("rule" = String, Path, description = "Name of the rule"), ("version" = u32, Path, description = "Number"),
        ("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: once"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the rule")),
    responses((status = 200, description = "The version", body = VersionView),
        (status = 403, description = "This key, one that it follows, or one of the same name proposed the version"),
        (status = 409, description = "It was promoted before, its time is over, or somebody was faster")),
    security(("bearer" = ["rules:manage"]))
)]
pub async fn promote(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::RulesManage)?;
    let note = note_of(&req, &body)?;
    let life = life(&caller, &state, &req)?;
    let command = RuleCommand::Promote(number(&life, &req)?);
    let ordered = order(&caller, &state, &req, &body, &life, (command, note)).await?;
    shown(HttpResponse::Ok(), &state, &ordered)
}

/// Undoes the promotion that holds now, or that the rule was turned off: what was live before is so again from now on. One
/// that is still to begin is undone by its `version`. One person is enough.
#[utoipa::path(
    post, path = "/api/v1/rules/{rule}/rollback", tag = "rules", request_body = RollbackRequest,
    params(("rule" = String, Path, description = "Its name"),
        ("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: once"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the rule")),
    responses((status = 200, description = "The rule", body = RuleBody),
        (status = 409, description = "Nothing was live before what is live now, or the version was not promoted")),
    security(("bearer" = ["rules:manage"]))
)]
pub async fn roll_back(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::RulesManage)?;
    let sent: RollbackRequest = parse::json_body(req.headers(), &body)?;
    let mut fields = Fields::default();
    let note = required_note(&mut fields, sent.note.as_deref());
    let note = fields.finish(note)?;
    let life = life(&caller, &state, &req)?;
    let ordered = order(&caller, &state, &req, &body, &life, (RuleCommand::RollBack(sent.version), note)).await?;
    shown_rule(&state, &req, &caller, &ordered.life).await
}

/// Turns a rule off from now on, also what of it was to become live by itself. `rollback` undoes it.
#[utoipa::path(
    post, path = "/api/v1/rules/{rule}/off", tag = "rules", request_body = NoteRequest,
    params(("rule" = String, Path, description = "Its name"),
        ("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: once"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the rule")),
    responses((status = 200, description = "The rule", body = RuleBody), (status = 409, description = "It is off")),
    security(("bearer" = ["rules:manage"]))
)]
pub async fn turn_off(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::RulesManage)?;
    let note = note_of(&req, &body)?;
    let life = life(&caller, &state, &req)?;
    let ordered = order(&caller, &state, &req, &body, &life, (RuleCommand::TurnOff, note)).await?;
    shown_rule(&state, &req, &caller, &ordered.life).await
}
