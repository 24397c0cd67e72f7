//! Keys of operators: of the live register, and of the sandbox.

use actix_web::{HttpRequest, HttpResponse};
use actors::api::{IssuedKey, NewKey};
use actors::directory::{Directory, KeyEntry};
use models::ids::KeyId;
use models::lookup::Purpose;
use models::operator::{ApiKey, Operator, Scope};
use models::ts::Ts;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

use super::list::{ListView, page_by};
use super::operators::reach;
use crate::cidr::{Cidr, NETWORKS_MAX};
use crate::extractors::{Body, Caller, idempotency::idempotency};
use crate::parse::{self, Fields, wire};
use crate::problem::Problem;
use crate::state::AppState;

/// Requests a second of a key that names no rate.
const RATE_DEFAULT: u32 = 100;
/// Longest overlap of a rotation, seconds: 30 days.
const OVERLAP_SECONDS_MAX: u32 = 30 * 86_400;
/// Overlap where none is named, seconds: a day.
const OVERLAP_SECONDS_DEFAULT: u32 = 86_400;

/// A new key of an operator.
#[derive(Deserialize, ToSchema)]
pub struct KeyRequest {
    /// Name for people.
    #[serde(default)]
    label: Option<String>,
    /// At least one.
    #[serde(default)]
    scopes: Option<Vec<String>>,
    /// Purposes it may look up for; none = all.
    #[serde(default)]
    purposes: Option<Vec<String>>,
    /// Networks it may call from (CIDR); none = any.
    #[serde(default)]
    allow_from: Option<Vec<String>>,
    /// Requests a second, 100 by default; the burst is the same number.
    #[serde(default)]
    rate_per_second: Option<u32>,
    /// First instant at which it is dead.
    #[serde(default)]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// A key of the sandbox: it begins with `mk_test_` and reaches nothing else.
    #[serde(default)]
    sandbox: bool,
}

/// How a key is rotated.
#[derive(Default, Deserialize, ToSchema)]
pub struct RotateRequest {
    /// How long the old key lives on; a day by default, at most 30 days.
    #[serde(default)]
    overlap_seconds: Option<u32>,
}

/// A key; its secret is nowhere.
#[derive(Serialize, ToSchema)]
pub struct KeyView {
    /// `key_…`
    #[schema(value_type = String)]
    pub id: KeyId,
    /// Name for people.
    pub label: String,
    /// What it may do.
    #[schema(value_type = Vec<String>)]
    pub scopes: Vec<Scope>,
    /// Purposes it may look up for; none = all.
    #[schema(value_type = Vec<String>)]
    pub purposes: Vec<Purpose>,
    /// Networks it may call from; none = any.
    pub allow_from: Vec<String>,
    /// Requests a second.
    pub rate_per_second: u32,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Ts,
    /// First instant at which it is dead.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Ts>,
    /// When it was revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Ts>,
    /// The key it follows.
    #[schema(value_type = Option<String>)]
    pub rotated_from: Option<KeyId>,
    /// Does it work now?
    pub live: bool,
    /// Is it a key of the sandbox?
    pub sandbox: bool,
}

/// A key with what is shown once.
#[derive(Serialize, ToSchema)]
pub struct IssuedKeyView {
    /// The key.
    #[serde(flatten)]
    pub key: KeyView,
    /// Goes into `Authorization: Bearer`. Not shown again.
    pub bearer: String,
    /// Base64 secret under which answers are signed. Not shown again.
    pub signing_secret: String,
}

/// Keys of an operator, newest first.
#[utoipa::path(
    get, path = "/api/v1/operators/{id}/keys", tag = "keys",
    params(("id" = String, Path, description = "opr_…"), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, description = "Keys, without secrets", body = ListView<KeyView>)),
    security(("bearer" = ["operators:manage"]))
)]
pub async fn list(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::OperatorsManage)?;
    let directory = state.engine.directory();
    let operator = reach(&caller, &directory, &req)?;
    let query = parse::list_query(&parse::query(&req, &["limit", "cursor"])?)?;
    let tests = state.sandbox().map(|sandbox| sandbox.engine.directory());
    let marked = |directory: &Directory, sandbox: bool| {
        let own = directory.keys.values().filter(|k| k.key.operator_no == Some(operator.operator_no));
        own.map(|k| (Arc::clone(k), sandbox)).collect::<Vec<_>>()
    };
    let mut own = marked(&directory, state.options.sandbox);
    own.extend(tests.iter().flat_map(|directory| marked(directory, true)));
    let page = page_by(own.iter(), &query, |(k, _)| k.key.id)?;
    Ok(HttpResponse::Ok().json(page.map(|(k, sandbox)| KeyView::of(&k.key, caller.now, *sandbox))))
}

/// Makes a key; its secrets are in this answer and nowhere else.
#[utoipa::path(
    post, path = "/api/v1/operators/{id}/keys", tag = "keys", request_body = KeyRequest,
    params(("id" = String, Path, description = "opr_…"), ("Idempotency-Key" = Option<String>, Header, description = "A repeated request makes no second key: 409 names the first")),
    responses((status = 201, description = "The key with its secrets", body = IssuedKeyView)),
    security(("bearer" = ["operators:manage"]))
)]
pub async fn create(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::OperatorsManage)?;
    parse::require_json(req.headers())?;
    let operator = reach(&caller, &state.engine.directory(), &req)?;
    let sent: KeyRequest = parse::json(&body)?;
    let sandbox = sent.sandbox;
    let new = sent.check(&operator)?;
    let once = idempotency(&caller, &req, &body)?;
    let engine = if sandbox {
        let engine = &state.sandbox().ok_or_else(|| Problem::field("/sandbox", "this node has no sandbox"))?.engine;
        engine.mirror_operator(&operator).await?;
        engine
    } else {
        &state.engine
    };
    let issued = engine.create_key(new, once).await?;
    Ok(HttpResponse::Created().json(IssuedKeyView::of(issued, caller.now, sandbox)))
}

/// Follows a key with a new one; the old one lives on for the overlap.
#[utoipa::path(
    post, path = "/api/v1/operators/{id}/keys/{key}/rotate", tag = "keys", request_body = RotateRequest,
    params(("id" = String, Path, description = "opr_…"), ("key" = String, Path, description = "key_…"), ("Idempotency-Key" = Option<String>, Header, description = "A repeated request makes no second key: 409 names the first")),
    responses((status = 201, description = "The new key with its secrets", body = IssuedKeyView)),
    security(("bearer" = ["operators:manage"]))
)]
pub async fn rotate(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::OperatorsManage)?;
    let (entry, home) = key_in_reach(&caller, &state, &req)?;
    let sent: RotateRequest = if body.is_empty() { RotateRequest::default() } else { parse::json(&body)? };
    let overlap = sent.overlap_seconds.unwrap_or(OVERLAP_SECONDS_DEFAULT);
    if overlap > OVERLAP_SECONDS_MAX {
        return Err(Problem::field("/overlap_seconds", "longer than 30 days"));
    }
    let issued = home.engine.rotate_key(entry.key.id, overlap, idempotency(&caller, &req, &body)?).await?;
    Ok(HttpResponse::Created().json(IssuedKeyView::of(issued, caller.now, home.options.sandbox)))
}

/// Kills a key; effective everywhere within a second, sockets included.
#[utoipa::path(
    delete, path = "/api/v1/operators/{id}/keys/{key}", tag = "keys",
    params(("id" = String, Path, description = "opr_…"), ("key" = String, Path, description = "key_…")),
    responses((status = 204, description = "Dead")),
    security(("bearer" = ["operators:manage"]))
)]
pub async fn revoke(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::OperatorsManage)?;
    let (entry, home) = key_in_reach(&caller, &state, &req)?;
    home.engine.revoke_key(entry.key.id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A key of the operator in the path, and where it is at home; another operator's key does not exist here.
fn key_in_reach<'a>(
    caller: &Caller,
    state: &'a AppState,
    req: &HttpRequest,
) -> Result<(Arc<KeyEntry>, &'a AppState), Problem> {
    let operator = reach(caller, &state.engine.directory(), req)?;
    let id: KeyId = parse::path_id(req, "key", "key")?;
    let found = [Some(state), state.sandbox()].into_iter().flatten().find_map(|home| {
        let entry = home.engine.directory().keys.get(&id).cloned();
        entry.filter(|k| k.key.operator_no == Some(operator.operator_no)).map(|entry| (entry, home))
    });
    found.ok_or_else(|| Problem::not_found("key"))
}

impl KeyRequest {
    fn check(self, operator: &Operator) -> Result<NewKey, Problem> {
        let mut fields = Fields::default();
        let label = fields.required_text("/label", self.label.as_deref(), 100);
        let scopes = each(&mut fields, "/scopes", self.scopes.as_deref(), Scope::parse);
        let purposes = each(&mut fields, "/purposes", self.purposes.as_deref(), wire::<Purpose>);
        let allow_from = self.allow_from.unwrap_or_default();
        if allow_from.len() > NETWORKS_MAX || allow_from.iter().any(|text| Cidr::parse(text).is_none()) {
            fields.wrong("/allow_from", "at most 64 networks of the form 10.0.0.0/8 or 2001:db8::/32");
        }
        let expires_at = self.expires_at.as_deref().and_then(|text| fields.take("/expires_at", Ts::parse(text)));
        let label = fields.finish(label)?;
        Ok(NewKey {
            operator: Some(operator.operator_no),
            jurisdiction: operator.jurisdiction,
            label,
            scopes,
            purposes,
            allow_from,
            rate_per_second: self.rate_per_second.unwrap_or(RATE_DEFAULT),
            expires_at,
        })
    }
}

impl KeyView {
    fn of(key: &ApiKey, now: Ts, sandbox: bool) -> Self {
        Self {
            sandbox,
            id: key.id,
            label: key.label.clone(),
            scopes: key.scopes.clone(),
            purposes: key.purposes.clone(),
            allow_from: key.allow_from.clone(),
            rate_per_second: key.rate_per_second,
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            rotated_from: key.rotated_from,
            live: key.is_live(now),
        }
    }
}

impl IssuedKeyView {
    fn of(issued: IssuedKey, now: Ts, sandbox: bool) -> Self {
        Self {
            key: KeyView::of(&issued.key, now, sandbox),
            bearer: issued.bearer,
            signing_secret: issued.signing_secret,
        }
    }
}

/// Every name of a list, known and without repetition.
fn each<T: PartialEq>(
    fields: &mut Fields,
    pointer: &'static str,
    sent: Option<&[String]>,
    read: fn(&str) -> Option<T>,
) -> Vec<T> {
    let mut known = Vec::new();
    for text in sent.unwrap_or_default() {
        match read(text) {
            Some(value) if !known.contains(&value) => known.push(value),
            Some(_) => {}
            None => {
                fields.wrong(pointer, "holds a value that is not known");
                break;
            }
        }
    }
    known
}
