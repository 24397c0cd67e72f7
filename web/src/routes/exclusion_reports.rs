//! Exclusions that operators report: dual control between the operator and the regulator's staff.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse};
use actors::api::NewExclusion;
use actors::directory::Directory;
use actors::engine::{Approval, NewExclusionReport};
use actors::identity::Identifiers;
use models::exclusion::{Channel, Period, ReasonClass};
use models::exclusion_report::{ExclusionReport, RefusalReason, ReportState};
use models::ids::{ExclusionId, ExclusionReportId, OperatorId, OperatorNo};
use models::operator::{Operator, Scope};
use models::ts::{DAY, Ts};
use serde::{Deserialize, Serialize};
use store::ExclusionReportQuery;
use utoipa::ToSchema;

use super::list::{ListView, cursor};
use super::nser::{RegisterRequest, country, identifiers};
use crate::extractors::{Body, Caller, idempotency::idempotency};
use crate::parse::{self, Fields};
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// What is answered where a registration was valid as it was reported, and is not by now.
const NOT_ANY_MORE: &str = "the report can no longer be registered: it does not pass the checks of a registration; refuse it, and let the operator report anew";

/// A reported exclusion. Nothing in it says who.
#[derive(Serialize, ToSchema)]
pub struct ExclusionReportView {
    /// `exr_…`
    #[schema(value_type = String)]
    pub id: ExclusionReportId,
    /// `opr_…`: who reported it.
    #[schema(value_type = Option<String>)]
    pub operator: Option<OperatorId>,
    /// `waiting`, `approved`, `refused`, `expired`.
    pub state: &'static str,
    /// How long at least.
    #[schema(value_type = String)]
    pub period: Period,
    /// `self`, `operator_harm`.
    #[schema(value_type = String)]
    pub reason_class: ReasonClass,
    /// `web`, `ussd`, `retail`, `phone`, `operator`.
    #[schema(value_type = String)]
    pub channel: Channel,
    /// When it was reported.
    #[schema(value_type = String, format = DateTime)]
    pub reported_at: Ts,
    /// First instant at which it waits no longer: nobody looked at it, and nobody is registered. Null where the person asked
    /// for it (`self`): it waits until somebody does.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Ts>,
    /// It has waited for more than a day.
    pub overdue: bool,
    /// When it was approved or refused, or expired.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub settled_at: Option<Ts>,
    /// Why it was refused: `by_mistake`, `not_verified`, `duplicate`, `withdrawn`, `out_of_scope`.
    pub reason: Option<&'static str>,
    /// `exc_…`: what it led to, or the exclusion that the person had; for staff alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub exclusion_id: Option<ExclusionId>,
}

impl ExclusionReportView {
    fn of(report: &ExclusionReport, caller: &Caller, directory: &Directory) -> Self {
        Self {
            id: report.id,
            operator: directory.operators.get(&report.operator_no).map(|operator| operator.id),
            state: report.state.as_str(),
            period: report.period,
            reason_class: report.reason_class,
            channel: report.channel,
            reported_at: report.reported_at,
            expires_at: report.expires_at,
            overdue: report.state == ReportState::Waiting && caller.now > report.reported_at.plus(DAY),
            settled_at: report.settled_at,
            reason: report.refused.map(RefusalReason::as_str),
            exclusion_id: report.exclusion.filter(|_| caller.operator.is_none()),
        }
    }
}

/// Whom the operator's paper names: exactly the identifiers that the operator reported. What was reported is shown to nobody,
/// and an approval that names somebody else registers nobody.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveRequest {
    /// Mobile number as people write it.
    #[serde(default)]
    phone: Option<String>,
    /// Number of an identity document.
    #[serde(default)]
    id_number: Option<String>,
    /// `national_id` (default), `alien_id`, `passport`, `maisha`, `kra_pin`, `nin`.
    #[serde(default)]
    id_type: Option<String>,
    /// Country that issued the document, ISO 3166-1 alpha-2; the jurisdiction's by default.
    #[serde(default)]
    id_country: Option<String>,
}

impl ApproveRequest {
    fn check(&self, caller: &Caller, state: &AppState) -> Result<Identifiers, Problem> {
        let country = country(caller, state)?;
        let mut fields = Fields::default();
        let document = [self.id_number.as_deref(), self.id_type.as_deref(), self.id_country.as_deref()];
        let named = identifiers(&mut fields, self.phone.as_deref(), document, country);
        fields.finish(Some(named))
    }
}

/// Why a report is refused.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefuseRequest {
    /// `by_mistake`, `not_verified`, `duplicate`, `withdrawn`, `out_of_scope`.
    #[serde(default)]
    reason: Option<String>,
}

/// Reports an exclusion that a person made with the caller. It waits for the regulator, a week at most unless the person
/// asked for it, and binds everywhere once it is approved; the operator itself keeps the person out from now on.
#[utoipa::path(
    post, path = "/api/v1/operators/exclusions", tag = "register", request_body = RegisterRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: reported once")),
    responses((status = 201, description = "It waits", body = ExclusionReportView),
        (status = 409, description = "Too many of the operator wait already")),
    security(("bearer" = ["register:report"]))
)]
pub async fn report(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    let own = reporter(&caller)?.operator_no;
    parse::require_json(req.headers())?;
    let key = idempotency(&caller, &req, &body)?;
    let new = parse::json::<RegisterRequest>(&body)?.check(&caller, &state)?;
    may_be_reported(&new, own)?;
    let new = NewExclusionReport {
        operator: own,
        jurisdiction: new.jurisdiction,
        period: new.period,
        reason_class: new.reason_class,
        channel: new.channel,
        sent: body,
        by: caller.entry.key.id,
    };
    let report = state.engine.report_exclusion(new, key).await?;
    Ok(HttpResponse::Created().json(ExclusionReportView::of(&report, &caller, &state.engine.directory())))
}

/// Exclusions that the caller reported, the newest first.
#[utoipa::path(
    get, path = "/api/v1/operators/exclusions", tag = "register",
    params(("state" = Option<String>, Query, description = "`waiting`, `approved`, `refused` or `expired`"),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, description = "Reported exclusions", body = ListView<ExclusionReportView>)),
    security(("bearer" = ["register:report"]))
)]
pub async fn own(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    let own = reporter(&caller)?.operator_no;
    page(&caller, &state, &parse::query(&req, &["state", "limit", "cursor"])?, Some(own)).await
}

/// Exclusions that operators reported, the newest first; with `state=waiting` those first that the person asked for, which
/// wait without end. For staff.
#[utoipa::path(
    get, path = "/api/v1/nser/reports", tag = "register",
    params(("state" = Option<String>, Query, description = "`waiting`, `approved`, `refused` or `expired`"),
        ("operator" = Option<String>, Query, description = "opr_…"),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, description = "Reported exclusions", body = ListView<ExclusionReportView>)),
    security(("bearer" = ["register:write"]))
)]
pub async fn list(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::RegisterWrite)?;
    let pairs = parse::query(&req, &["state", "operator", "limit", "cursor"])?;
    let operator = parse::parameter(&pairs, "operator").map(|text| {
        let directory = state.engine.directory();
        let known = text.parse().ok().and_then(|id: OperatorId| directory.operator(id, caller.jurisdiction()));
        known
            .map(|operator| operator.operator_no)
            .ok_or_else(|| Problem::field("?operator", "no operator of the jurisdiction"))
    });
    page(&caller, &state, &pairs, operator.transpose()?).await
}

/// Approves what an operator reported: the person is registered, from now on, as reported by it. For staff, who names the same
/// person as the operator did.
#[utoipa::path(
    post, path = "/api/v1/nser/reports/{report}/approve", tag = "register", request_body = ApproveRequest,
    params(("report" = String, Path, description = "exr_…")),
    responses((status = 200, description = "Approved; the same once more changes nothing", body = ExclusionReportView),
        (status = 403, description = "The key is of whoever reported it, by its name or by the keys it follows"),
        (status = 409, description = "It is refused or expired, names somebody else (three times: it is to be refused), or can \
            no longer be registered")),
    security(("bearer" = ["register:write"]))
)]
pub async fn approve(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::RegisterWrite)?;
    let id: ExclusionReportId = parse::path_id(&req, "report", "reported exclusion")?;
    let named = parse::json_body::<ApproveRequest>(req.headers(), &body)?.check(&caller, &state)?;
    let known = state.engine.exclusion_report(caller.jurisdiction(), id).await?;
    let report = if known.state == ReportState::Approved {
        known
    } else {
        let sent = state.engine.reported_exclusion(&known).await?;
        let read = parse::json::<RegisterRequest>(&sent).and_then(|sent| sent.check(&caller, &state));
        // nothing is wrong with what staff sent
        let mut new = read.map_err(|_| Problem::new(Code::Conflict, NOT_ANY_MORE))?;
        new.reported_by = Some(known.operator_no);
        state.engine.approve_report(id, Approval { new, named }, caller.entry.key.id).await?
    };
    Ok(HttpResponse::Ok().json(ExclusionReportView::of(&report, &caller, &state.engine.directory())))
}

/// Refuses what an operator reported: nobody is registered, and who it was about is gone. For staff.
#[utoipa::path(
    post, path = "/api/v1/nser/reports/{report}/refuse", tag = "register", request_body = RefuseRequest,
    params(("report" = String, Path, description = "exr_…")),
    responses((status = 200, description = "Refused; the same once more changes nothing", body = ExclusionReportView),
        (status = 409, description = "It is approved, refused for another reason, or expired")),
    security(("bearer" = ["register:write"]))
)]
pub async fn refuse(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::RegisterWrite)?;
    let id: ExclusionReportId = parse::path_id(&req, "report", "reported exclusion")?;
    let sent: RefuseRequest = parse::json_body(req.headers(), &body)?;
    let mut fields = Fields::default();
    let reason = fields.known("/reason", sent.reason.as_deref(), RefusalReason::parse);
    let reason = fields.finish(reason)?;
    let report = state.engine.refuse_report((caller.jurisdiction(), id), reason, caller.entry.key.id).await?;
    Ok(HttpResponse::Ok().json(ExclusionReportView::of(&report, &caller, &state.engine.directory())))
}

fn reporter(caller: &Caller) -> Result<&Arc<Operator>, Problem> {
    caller.require(Scope::RegisterReport)?;
    let why = "these are an operator's own; staff registers, and lists and settles what operators report";
    caller.operator.as_ref().ok_or_else(|| Problem::new(Code::Forbidden, why))
}

/// An operator speaks of itself and of the person, and of now.
fn may_be_reported(new: &NewExclusion, own: OperatorNo) -> Result<(), Problem> {
    let mut fields = Fields::default();
    if new.reported_by != Some(own) {
        fields.wrong("/reported_by", "another operator");
    }
    if !matches!(new.reason_class, ReasonClass::Own | ReasonClass::OperatorHarm) {
        fields.wrong("/reason_class", "an operator reports self or operator_harm");
    }
    if new.channel == Channel::Import {
        fields.wrong("/channel", "an import is not reported");
    }
    if new.effective_at.is_some() {
        fields.wrong("/effective_at", "what is reported binds from its approval on");
    }
    fields.check()
}

async fn page(
    caller: &Caller,
    state: &AppState,
    pairs: &[(String, String)],
    operator: Option<OperatorNo>,
) -> Result<HttpResponse, Problem> {
    let query = parse::list_query(pairs)?;
    let mut fields = Fields::default();
    let wanted = parse::parameter(pairs, "state");
    let wanted = wanted.and_then(|text| fields.known_parameter("?state", ReportState::parse(text)));
    fields.check()?;
    let before = cursor::<ExclusionReportId>(&query)?;
    let (jurisdiction, limit) = (caller.jurisdiction(), query.limit + 1);
    let wanted = ExclusionReportQuery { jurisdiction, operator, state: wanted, before, limit };
    let mut found = state.engine.store().exclusion_reports(&wanted).await?;
    let more = found.len() > query.limit as usize;
    found.truncate(query.limit as usize);
    let next_cursor = found.last().filter(|_| more).map(|report| report.id.to_string());
    let directory = state.engine.directory();
    let items = found.iter().map(|report| ExclusionReportView::of(report, caller, &directory)).collect();
    Ok(HttpResponse::Ok().json(ListView::<ExclusionReportView> { items, next_cursor }))
}
