//! Operators.

use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, HttpResponse};
use actors::api::{NewOperator, OperatorChange};
use actors::directory::Directory;
use models::ids::OperatorId;
use models::operator::{Operator, OperatorState, Scope};
use models::ts::Ts;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

use super::list::{ListView, page_by};
use crate::extractors::{Body, Caller, idempotency::idempotency};
use crate::parse::{self, Fields, wire};
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// A new operator.
#[derive(Deserialize, ToSchema)]
pub struct OperatorRequest {
    /// 2 to 40 of a–z, 0–9 and `-`; stable, unique.
    #[serde(default)]
    code: Option<String>,
    /// Name for people.
    #[serde(default)]
    name: Option<String>,
}

/// A change of an operator; what is left out stays.
#[derive(Deserialize, ToSchema)]
pub struct OperatorPatch {
    /// Name for people.
    #[serde(default)]
    name: Option<String>,
    /// `active`, `suspended`, `closed`.
    #[serde(default)]
    state: Option<String>,
}

/// An operator.
#[derive(Serialize, ToSchema)]
pub struct OperatorView {
    /// `opr_…`
    #[schema(value_type = String)]
    pub id: OperatorId,
    /// Stable code.
    pub code: String,
    /// Name for people.
    pub name: String,
    /// Code of the jurisdiction.
    pub jurisdiction: String,
    /// `active`, `suspended`, `closed`.
    #[schema(value_type = String)]
    pub state: OperatorState,
    /// When it was registered.
    #[schema(value_type = String, format = DateTime)]
    pub registered_at: Ts,
    /// Grows with each change; the `ETag`.
    pub version: u32,
}

/// Puts an operator under supervision.
#[utoipa::path(
    post, path = "/api/v1/operators/register", tag = "operators", request_body = OperatorRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: same operator")),
    responses((status = 201, description = "The operator, its version in ETag", body = OperatorView)),
    security(("bearer" = ["operators:manage"]))
)]
pub async fn register(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::OperatorsManage)?;
    let sent: OperatorRequest = parse::json_body(req.headers(), &body)?;
    let mut fields = Fields::default();
    let code = fields.required_text("/code", sent.code.as_deref(), 40);
    let name = fields.required_text("/name", sent.name.as_deref(), 200);
    let (code, name) = fields.finish(code.zip(name))?;
    let new = NewOperator { code, name, jurisdiction: caller.jurisdiction() };
    let operator = state.engine.create_operator(new, idempotency(&caller, &req, &body)?).await?;
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, format!("/api/v1/operators/{}", operator.id)));
    Ok(view_operator(response, &state.engine.directory(), &operator))
}

/// Operators of the jurisdiction, newest first; an operator's key sees its own.
#[utoipa::path(
    get, path = "/api/v1/operators", tag = "operators",
    params(("code" = Option<String>, Query, description = "Only the one with this code"), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, description = "Operators", body = ListView<OperatorView>)),
    security(("bearer" = ["operators:manage"]))
)]
pub async fn list(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    let own = caller.entry.key.operator_no;
    if own.is_none() {
        caller.require(Scope::OperatorsManage)?;
    }
    let parameters = parse::query(&req, &["code", "limit", "cursor"])?;
    let (code, query) = (parse::parameter(&parameters, "code"), parse::list_query(&parameters)?);
    let directory = state.engine.directory();
    let seen = directory.operators.values().filter(|operator| {
        operator.jurisdiction == caller.jurisdiction()
            && own.is_none_or(|own| own == operator.operator_no)
            && code.is_none_or(|code| code == operator.code)
    });
    let page = page_by(seen, &query, |operator| operator.id)?;
    Ok(HttpResponse::Ok().json(page.map(|operator| OperatorView::of(operator, &directory))))
}

/// An operator.
#[utoipa::path(
    get, path = "/api/v1/operators/{id}", tag = "operators", params(("id" = String, Path, description = "opr_…")),
    responses((status = 200, description = "The operator, its version in ETag", body = OperatorView)),
    security(("bearer" = []))
)]
pub async fn get(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    let directory = state.engine.directory();
    let operator = reach(&caller, &directory, &req)?;
    Ok(view_operator(HttpResponse::Ok(), &directory, &operator))
}

/// Changes an operator. While it is suspended or closed its keys are refused, and each bet that its feeds still bring is
/// found by `licence_lapsed`.
#[utoipa::path(
    patch, path = "/api/v1/operators/{id}", tag = "operators", request_body = OperatorPatch,
    params(("id" = String, Path, description = "opr_…"), ("If-Match" = Option<String>, Header, description = "Version the change is based on"),
        ("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: changed once")),
    responses((status = 200, description = "As it now stands", body = OperatorView)),
    security(("bearer" = ["operators:manage"]))
)]
pub async fn patch(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::OperatorsManage)?;
    parse::require_json(req.headers())?;
    let operator = reach(&caller, &state.engine.directory(), &req)?;
    let sent: OperatorPatch = parse::json(&body)?;
    let mut fields = Fields::default();
    let name = fields.text("/name", sent.name.as_deref(), 200);
    if sent.name.is_some() && name.is_none() {
        fields.wrong("/name", "empty");
    }
    let change = sent.state.as_deref().and_then(|text| fields.known("/state", Some(text), wire::<OperatorState>));
    fields.check()?;
    let change = OperatorChange { name, state: change, expected_version: if_match(req.headers())? };
    let changed = state.engine.change_operator(operator.id, change, idempotency(&caller, &req, &body)?).await?;
    Ok(view_operator(HttpResponse::Ok(), &state.engine.directory(), &changed))
}

pub(super) fn reach(caller: &Caller, directory: &Directory, req: &HttpRequest) -> Result<Arc<Operator>, Problem> {
    caller.operator_in_reach(directory, parse::path_id(req, "id", "operator")?, Scope::OperatorsManage)
}

/// The version in `If-Match`; `*` and nothing match any.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<u32>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let version = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).and_then(|t| t.parse().ok());
    version.map(Some).ok_or_else(|| Problem::new(Code::Stale, "if-match is not an etag of this resource"))
}

pub(super) fn jurisdiction_code(directory: &Directory, no: models::jurisdiction::JurisdictionNo) -> String {
    directory.jurisdiction(no).map_or_else(|| no.0.to_string(), |j| j.code.clone())
}

fn view_operator(
    mut response: actix_web::HttpResponseBuilder,
    directory: &Directory,
    operator: &Operator,
) -> HttpResponse {
    let etag = format!("\"{}\"", operator.version);
    response.insert_header((header::ETAG, etag)).json(OperatorView::of(operator, directory))
}

impl OperatorView {
    fn of(operator: &Operator, directory: &Directory) -> Self {
        Self {
            id: operator.id,
            code: operator.code.clone(),
            name: operator.name.clone(),
            jurisdiction: jurisdiction_code(directory, operator.jurisdiction),
            state: operator.state,
            registered_at: operator.registered_at,
            version: operator.version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn if_match_is_an_etag_of_ours_or_stale() {
        let table = [
            (None, Ok(None)),
            (Some("*"), Ok(None)),
            (Some("\"7\""), Ok(Some(7))),
            (Some("7"), Err(412)),
            (Some("W/\"7\""), Err(412)),
        ];
        for (value, expected) in table {
            let mut req = TestRequest::default();
            if let Some(value) = value {
                req = req.insert_header((header::IF_MATCH, value));
            }
            let got = if_match(req.to_http_request().headers()).map_err(|p| p.code.status());
            assert_eq!(got, expected, "{value:?}");
        }
    }
}
