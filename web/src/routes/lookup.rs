//! Lookups, and the proof of them afterwards.

use std::rc::Rc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use models::evidence::{Credential, Route};
use models::operator::Scope;
use serde::Serialize;
use utoipa::ToSchema;

use crate::extractors::{Body, Caller};
use crate::lookup::LookupRequest;
use crate::lookup::answer::LookupAnswer;
use crate::lookup::batch::{BatchRequest, Form};
use crate::lookup::lane::{Kind, Lane, X_MLINZI_SIGNATURE};
use crate::parse;
use crate::problem::{Code, Problem};
use crate::routes::RouteNo;
use crate::state::AppState;

fn lane(req: &HttpRequest) -> Result<(&Rc<Lane>, Option<RouteNo>), Problem> {
    let lane = req.app_data::<Rc<Lane>>().ok_or_else(|| Problem::new(Code::Internal, "the server is not assembled"))?;
    Ok((lane, req.app_data::<RouteNo>().copied()))
}

async fn answer(req: HttpRequest, payload: web::Payload, scope: Scope, route: Route) -> Result<HttpResponse, Problem> {
    let (lane, path) = lane(&req)?;
    Ok(lane.answer(Kind { scope, route, path }, req.head(), payload.into_inner()).await)
}

/// Asks whether a person may be served.
#[utoipa::path(
    post, path = "/api/v1/operators/lookup", tag = "lookup", request_body = LookupRequest,
    responses((status = 200, description = "The answer", body = LookupAnswer, headers(
        ("X-Mlinzi-Signature" = String, description = "v1=<base64 HMAC-SHA-256 under the key's signing secret over lookup_id \".\" as_of \".\" hex(SHA-256(request body)) \".\" response body>"),
        ("RateLimit" = String, description = "What is left of the key's rate, once less than half of it is"),
        ("RateLimit-Policy" = String, description = "The key's rate, together with RateLimit"),
        ("X-Request-Id" = String, description = "As sent, or made")))),
    security(("bearer" = ["lookup"]))
)]
pub async fn lookup(req: HttpRequest, payload: web::Payload) -> Result<HttpResponse, Problem> {
    answer(req, payload, Scope::Lookup, Route::Single).await
}

/// What a batch is answered with.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "the documented shape; the rows are written by hand")]
pub struct BatchAnswer<'a> {
    /// In the order of the rows: `correlation_id` and the fields of an answer, or `problem`.
    #[schema(value_type = Vec<Object>)]
    pub results: &'a [LookupAnswer<'a>],
    /// Everything committed until then is part of the answers.
    pub as_of: &'a str,
    /// Until when an `allow` may be kept.
    pub valid_until: &'a str,
    /// Sequence of the register's last change.
    pub register_version: i64,
    /// Names the batch: what the signature calls `lookup_id`.
    pub batch_id: &'a str,
}

/// Asks about up to 10,000 people at once. Rows count against a quota of their own: a hundred a second for each request
/// a second of the key.
#[utoipa::path(
    post, path = "/api/v1/operators/batch/lookup", tag = "lookup", request_body = BatchRequest,
    responses((status = 200, description = "The answers. With `Accept: application/x-ndjson` one line a row, then one with as_of, register_version and batch_id, then one with the signature over all lines before it", body = BatchAnswer, headers(
        ("X-Mlinzi-Signature" = String, description = "As of a lookup, with batch_id in the place of lookup_id")))),
    security(("bearer" = ["lookup:batch"]))
)]
pub async fn batch_lookup(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::LookupBatch)?;
    parse::require_json(req.headers())?;
    let accepted = req.headers().get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let lines = accepted.contains("application/x-ndjson");
    let (form, kind) = if lines { (Form::Lines, "application/x-ndjson") } else { (Form::Json, "application/json") };
    let answered = state.batches.answer(caller.entry.key.id, body, form).await;
    let answered = answered.inspect_err(|problem| state.metrics.refused(problem.code))?;
    let signature = (X_MLINZI_SIGNATURE.clone(), answered.signature);
    Ok(HttpResponse::Ok().content_type(kind).insert_header(signature).body(answered.body))
}

/// The same for services of the regulator and for citizens.
#[utoipa::path(
    post, path = "/api/v1/nser/lookup", tag = "register", request_body = LookupRequest,
    responses((status = 200, description = "The answer, signed as an operator's", body = LookupAnswer)),
    security(("bearer" = ["register:write"]))
)]
pub async fn nser_lookup(req: HttpRequest, payload: web::Payload) -> Result<HttpResponse, Problem> {
    answer(req, payload, Scope::RegisterWrite, Route::Register).await
}

/// The same by a token of the caller's own. Signed over an empty request body.
#[utoipa::path(
    get, path = "/api/v1/nser/lookup/{bst}", tag = "register",
    params(("bst" = String, Path, description = "Token, as the caller's own answers give it"), ("purpose" = String, Query, description = "As in the body of a lookup")),
    responses((status = 200, description = "The answer, signed as an operator's", body = LookupAnswer)),
    security(("bearer" = ["register:write"]))
)]
pub async fn nser_lookup_token(req: HttpRequest) -> Result<HttpResponse, Problem> {
    let (lane, path) = lane(&req)?;
    Ok(lane.answer_token(Kind { scope: Scope::RegisterWrite, route: Route::Register, path }, &req))
}

/// A receipt.
#[derive(Serialize, ToSchema)]
pub struct ReceiptView {
    /// Compact JWS (EdDSA) that binds operator, token, purpose, decision and time to a place in the chain of evidence.
    pub receipt: String,
}

/// The receipt of an answered lookup, for whoever must prove it to somebody else. Two seconds after the answer at the
/// latest it is there; before, the answer is 503 with `Retry-After`.
#[utoipa::path(
    get, path = "/api/v1/operators/lookups/{lookup_id}/receipt", tag = "lookup",
    params(("lookup_id" = String, Path, description = "As the answer named it")),
    responses((status = 200, description = "The receipt; the keys are at /.well-known/jwks.json", body = ReceiptView)),
    security(("bearer" = ["lookup"]))
)]
pub async fn receipt(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::Lookup)?;
    let id = parse::path_id(&req, "lookup_id", "lookup")?;
    let key = &caller.entry.key;
    let asker = Credential { key: key.id, operator_no: key.operator_no, jurisdiction: key.jurisdiction };
    let receipt = state.engine.receipt(id, asker).await?;
    Ok(HttpResponse::Ok().json(ReceiptView { receipt }))
}

/// Public keys.
#[derive(Serialize, ToSchema)]
pub struct JwksView {
    /// JWK (RFC 7517, RFC 8037).
    #[schema(value_type = Vec<Object>)]
    pub keys: Vec<actors::receipts::Jwk>,
}

/// The public keys under which receipts and evidence are signed.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "lookup",
    responses((status = 200, description = "JWK set", body = JwksView)))]
pub async fn jwks(state: AppState) -> HttpResponse {
    HttpResponse::Ok().json(JwksView { keys: state.engine.signing_keys() })
}
