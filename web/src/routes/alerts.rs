//! Alerts with the evidence that made them speak.

use actix_web::{HttpRequest, HttpResponse};
use actors::api::AlertFilter;
use actors::directory::Directory;
use engine::rules::disclosure;
use models::alert::{AlertRevision, Evidence, RevisionKind, Severity};
use models::ids::{AlertId, OperatorId, OperatorNo};
use models::ts::Ts;
use serde::Serialize;
use std::borrow::Cow;
use utoipa::ToSchema;

use super::list::ListView;
use crate::extractors::Caller;
use crate::parse;
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// An alert as its newest revision has it.
#[derive(Serialize, ToSchema)]
pub struct AlertBody {
    /// `alr_…`
    #[schema(value_type = String)]
    pub id: AlertId,
    /// `open` or `withdrawn`.
    pub state: &'static str,
    /// What the newest revision did: `raised`, `corrected`, `withdrawn`.
    pub revision: &'static str,
    /// `low`, `medium`, `high`, `critical`.
    pub severity: &'static str,
    /// Rule.
    pub rule: String,
    /// Version of the rule.
    pub rule_version: u32,
    /// `opr_…`
    #[schema(value_type = Option<String>)]
    pub operator: Option<OperatorId>,
    /// Stable code of the operator; of the jurisdiction, where a rule has found something over several operators.
    pub operator_code: String,
    /// Whom a rule's finding is about, such as `player:` and a keyed digest in hex; for staff alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// `count`, `stakes`, `payouts`, `gross_gaming_revenue`, `unique_players`, `hold`, …, `finding`.
    pub metric: &'static str,
    /// `minute`, `hour`, `day`, `week`.
    pub granularity: &'static str,
    /// ISO 4217.
    pub currency: String,
    /// Start of the window.
    #[schema(value_type = String, format = DateTime)]
    pub window_start: Ts,
    /// First instant after it.
    #[schema(value_type = String, format = DateTime)]
    pub window_end: Ts,
    /// Time of the revision by the source's clock.
    #[schema(value_type = String, format = DateTime)]
    pub at: Ts,
    /// Why.
    pub evidence: EvidenceView,
}

/// Everything needed to check an alert by hand. Money in minor units, hold in parts per million.
#[derive(Serialize, ToSchema)]
pub struct EvidenceView {
    /// The window's value; what a rule found.
    pub observed: i64,
    /// Median of the windows before; the limit of a rule.
    pub expected: i64,
    /// What would have been quiet.
    pub band: BandView,
    /// Deviation in robust standard deviations, thousandths.
    pub score_milli: i64,
    /// Threshold in force, thousandths.
    pub threshold_milli: i64,
    /// Windows the median stands on.
    pub samples: u32,
    /// Strongest first.
    pub reasons: Vec<String>,
    /// Records that weighed most.
    pub records: Vec<String>,
    /// What the values of a rule's finding count, such as `minor_units`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Codes of the operators that a finding over several of them names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<String>,
}

/// A band.
#[derive(Serialize, ToSchema)]
pub struct BandView {
    /// Lower end.
    pub low: i64,
    /// Upper end.
    pub high: i64,
}

/// An alert with its history.
#[derive(Serialize, ToSchema)]
pub struct AlertHistoryView {
    /// As it stands.
    #[serde(flatten)]
    pub alert: AlertBody,
    /// Every revision, newest first.
    pub revisions: Vec<AlertBody>,
}

/// Alerts the credential may see, newest first.
#[utoipa::path(
    get, path = "/api/v1/alerts", tag = "alerts",
    params(("state" = Option<String>, Query, description = "open or withdrawn"), ("severity" = Option<String>, Query),
        ("operator" = Option<String>, Query, description = "opr_…"), ("rule" = Option<String>, Query),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, description = "Alerts", body = ListView<AlertBody>)),
    security(("bearer" = ["market:read"]), ("bearer" = ["feeds:manage"]), ("bearer" = ["feeds:write"]))
)]
pub async fn list(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    let own = require_view(&caller)?;
    let pairs = parse::query(&req, &["state", "severity", "operator", "rule", "limit", "cursor"])?;
    let query = parse::list_query(&pairs)?;
    let filter = filter(&caller, &state.engine.directory(), own, &pairs)?;
    let page = state.engine.alerts(filter, query.limit, query.cursor).await?;
    let directory = state.engine.directory();
    let items = page.items.iter().map(|revision| AlertBody::of(revision, &directory, own)).collect();
    Ok(HttpResponse::Ok().json(ListView { items, next_cursor: page.next_cursor }))
}

/// One alert with its history.
#[utoipa::path(
    get, path = "/api/v1/alerts/{id}", tag = "alerts", params(("id" = String, Path, description = "alr_…")),
    responses((status = 200, description = "The alert", body = AlertHistoryView)),
    security(("bearer" = ["market:read"]), ("bearer" = ["feeds:manage"]), ("bearer" = ["feeds:write"]))
)]
pub async fn get(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    let own = require_view(&caller)?;
    let id: AlertId = parse::path_id(&req, "id", "alert")?;
    let history = state.engine.alert(id).await?;
    let directory = state.engine.directory();
    let newest = history.revisions.first().filter(|r| visible(&caller, &directory, own, r));
    let newest = newest.ok_or_else(|| Problem::not_found("alert"))?;
    let alert = AlertBody::of(newest, &directory, own);
    let revisions = history.revisions.iter().map(|r| AlertBody::of(r, &directory, own)).collect();
    Ok(HttpResponse::Ok().json(AlertHistoryView { alert, revisions }))
}

/// The operator a caller is bound to; none where it sees the whole jurisdiction.
fn require_view(caller: &Caller) -> Result<Option<OperatorNo>, Problem> {
    match caller.rights() {
        Some(rights) if rights.market => Ok(None),
        Some(rights) if rights.operator.is_some() => Ok(caller.entry.key.operator_no),
        _ => Err(Problem::new(Code::Forbidden, "the key has neither the scope market:read nor one for feeds")),
    }
}

fn visible(caller: &Caller, directory: &Directory, own: Option<OperatorNo>, revision: &AlertRevision) -> bool {
    let jurisdiction = directory.jurisdiction_of(revision.operator_no);
    own.is_none_or(|no| no == revision.operator_no) && jurisdiction == Some(caller.jurisdiction())
}

fn filter(
    caller: &Caller,
    directory: &Directory,
    own: Option<OperatorNo>,
    pairs: &[(String, String)],
) -> Result<AlertFilter, Problem> {
    let mut fields = parse::Fields::default();
    let named = parse::parameter(pairs, "operator").and_then(|text| {
        let id = text.parse().ok();
        let seen = id.and_then(|id| directory.operator(id, caller.jurisdiction())).map(|o| o.operator_no);
        fields.known_parameter("?operator", seen.filter(|no| own.is_none_or(|own| own == *no)))
    });
    let severity =
        parse::parameter(pairs, "severity").and_then(|text| fields.known_parameter("?severity", Severity::parse(text)));
    let state = parse::parameter(pairs, "state").and_then(|text| {
        fields.known_parameter("?state", matches!(text, "open" | "withdrawn").then(|| text.to_owned()))
    });
    // whoever may not read what a rule finds may not find it by its name either
    let is_hidden = |rule: &str| own.is_some() && disclosure::is_confidential(rule);
    let rule = parse::parameter(pairs, "rule");
    let rule = rule.map(|rule| if is_hidden(rule) { disclosure::CONFIDENTIAL } else { rule });
    fields.check()?;
    Ok(AlertFilter {
        jurisdiction: Some(caller.jurisdiction()),
        operator: named.or(own),
        severity,
        rule: rule.map(str::to_owned),
        state,
    })
}

impl AlertBody {
    /// For staff, or for the operator whose own it is.
    fn of(revision: &AlertRevision, directory: &Directory, own: Option<OperatorNo>) -> Self {
        let revision = &*if own.is_some() { disclosure::for_operator(revision) } else { Cow::Borrowed(revision) };
        let open = revision.kind != RevisionKind::Withdrawn;
        Self {
            id: revision.id,
            state: if open { "open" } else { "withdrawn" },
            revision: revision.kind.as_str(),
            severity: revision.severity.as_str(),
            rule: revision.rule.clone(),
            rule_version: revision.rule_version,
            operator: directory.operators.get(&revision.operator_no).map(|o| o.id),
            operator_code: revision.subject.operator.clone(),
            who: revision.subject.who.clone(),
            metric: revision.subject.metric.as_str(),
            granularity: revision.subject.granularity.as_str(),
            currency: revision.subject.currency.to_string(),
            window_start: revision.window.start,
            window_end: revision.window.end,
            at: revision.at,
            evidence: EvidenceView::of(&revision.evidence),
        }
    }
}

impl EvidenceView {
    fn of(evidence: &Evidence) -> Self {
        Self {
            observed: evidence.observed,
            expected: evidence.expected,
            band: BandView { low: evidence.band_low, high: evidence.band_high },
            score_milli: evidence.score_milli,
            threshold_milli: evidence.threshold_milli,
            samples: evidence.samples,
            reasons: evidence.reasons.clone(),
            records: evidence.records.clone(),
            unit: evidence.unit.clone(),
            operators: evidence.operators.clone(),
        }
    }
}
