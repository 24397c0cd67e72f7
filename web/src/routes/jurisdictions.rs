//! Jurisdictions of the deployment, and whose exclusions bind in which.

use actix_web::{HttpRequest, HttpResponse};
use actors::directory::Directory;
use models::jurisdiction::{Jurisdiction, JurisdictionNo, Recognition};
use models::operator::Scope;
use models::ts::Ts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::list::ListView;
use crate::extractors::idempotency::idempotency;
use crate::extractors::{Body, Caller};
use crate::parse::{self, Fields};
use crate::problem::Problem;
use crate::state::AppState;

/// For a span of time, exclusions of another jurisdiction bind in this one.
#[derive(Serialize, ToSchema)]
pub struct RecognitionView {
    /// Code of the jurisdiction whose exclusions bind here.
    pub recognises: String,
    /// First instant.
    #[schema(value_type = String, format = DateTime)]
    pub valid_from: Ts,
    /// First instant after it; null = open.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub valid_to: Option<Ts>,
    /// Does it hold now?
    pub in_force: bool,
}

/// A jurisdiction.
#[derive(Serialize, ToSchema)]
pub struct JurisdictionView {
    /// Code, e.g. `KE`.
    pub code: String,
    /// Name for people.
    pub name: String,
    /// IANA time zone.
    pub time_zone: String,
    /// Currency.
    #[schema(value_type = String)]
    pub currency: models::money::Currency,
    /// Whose exclusions bind here besides its own, newest first.
    pub recognitions: Vec<RecognitionView>,
}

/// A recognition to add, or to end where jurisdictions and `valid_from` are those of a known one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecognitionRequest {
    /// Code of the jurisdiction whose exclusions are to bind.
    #[serde(default)]
    recognises: Option<String>,
    /// First instant; not in the past, unless the recognition is known.
    #[serde(default)]
    #[schema(format = DateTime)]
    valid_from: Option<String>,
    /// First instant after it; null = open.
    #[serde(default)]
    #[schema(format = DateTime)]
    valid_to: Option<String>,
}

fn view(directory: &Directory, no: JurisdictionNo, now: Ts) -> Option<JurisdictionView> {
    let known = directory.jurisdiction(no)?;
    let mut own: Vec<&Recognition> = directory.recognitions().iter().filter(|r| r.jurisdiction == no).collect();
    own.sort_by_key(|r| std::cmp::Reverse(r.valid_from));
    let recognitions = own.into_iter().filter_map(|r| {
        let recognises = directory.jurisdiction(r.recognises)?.code.clone();
        Some(RecognitionView { recognises, valid_from: r.valid_from, valid_to: r.valid_to, in_force: r.holds(now) })
    });
    Some(JurisdictionView {
        code: known.code.clone(),
        name: known.name.clone(),
        time_zone: known.time_zone.clone(),
        currency: known.currency,
        recognitions: recognitions.collect(),
    })
}

/// Every jurisdiction of the deployment.
#[utoipa::path(
    get, path = "/api/v1/jurisdictions", tag = "operators",
    responses((status = 200, description = "Jurisdictions", body = ListView<JurisdictionView>)),
    security(("bearer" = []))
)]
pub async fn list(caller: Caller, state: AppState) -> HttpResponse {
    let directory = state.engine.directory();
    let all = Jurisdiction::numbered(&directory.jurisdictions);
    let items = all.filter_map(|(no, _)| view(&directory, no, caller.now)).collect();
    HttpResponse::Ok().json(ListView { items, next_cursor: None })
}

/// From a moment on, exclusions of another jurisdiction bind in the caller's own. What was recognised in the past stays.
/// Operators learn of the people concerned by their next lookup or sweep: the feed of changes tells of persons, not of laws.
#[utoipa::path(
    put, path = "/api/v1/jurisdictions/{code}/recognitions", tag = "operators", request_body = RecognitionRequest,
    params(("code" = String, Path, description = "The caller's own jurisdiction"),
        ("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: once")),
    responses((status = 200, description = "The jurisdiction as it now stands", body = JurisdictionView)),
    security(("bearer" = ["operators:manage"]))
)]
pub async fn recognise(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::OperatorsManage)?;
    let sent: RecognitionRequest = parse::json_body(req.headers(), &body)?;
    let new = {
        let directory = state.engine.directory();
        let code = req.match_info().get("code").unwrap_or_default();
        // whose law is changed comes from the credential
        let own = directory.jurisdiction(caller.jurisdiction()).is_some_and(|j| j.code == code);
        if !own {
            return Err(Problem::not_found("jurisdiction"));
        }
        let no = |text: &str| Jurisdiction::by_code(&directory.jurisdictions, text);
        let mut fields = Fields::default();
        let recognises = fields.known("/recognises", sent.recognises.as_deref(), no);
        let valid_from = fields.known("/valid_from", sent.valid_from.as_deref(), |t| Ts::parse(t).ok());
        let valid_to =
            sent.valid_to.as_deref().and_then(|text| fields.known("/valid_to", Some(text), |t| Ts::parse(t).ok()));
        let (recognises, valid_from) = fields.finish(recognises.zip(valid_from))?;
        Recognition { jurisdiction: caller.jurisdiction(), recognises, valid_from, valid_to }
    };
    state.engine.set_recognition(new, idempotency(&caller, &req, &body)?).await?;
    let directory = state.engine.directory();
    let view = view(&directory, caller.jurisdiction(), state.engine.now());
    Ok(HttpResponse::Ok().json(view.ok_or_else(|| Problem::not_found("jurisdiction"))?))
}
