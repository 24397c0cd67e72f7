//! Groups of alerts: what people work on, and what keeps them quiet.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse};
use actors::directory::Directory;
use engine::alerting::Action;
use engine::rules::disclosure;
use models::alert::Severity;
use models::alert_group::{Act, AlertGroup, GroupState, Resolution, Silence};
use models::ids::{AlertId, GroupId, KeyId, OperatorId, SilenceId, SourceId};
use models::operator::Scope;
use models::ts::Ts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::list::{ListView, page_by};
use crate::extractors::{Body, Caller};
use crate::parse::{self, Fields};
use crate::problem::{Code, Problem};
use crate::state::{AppState, uuid_v7};

/// Longest name of a rule in a silence, characters.
const RULE_CHARS_MAX: usize = 64;

/// Everything one rule says about one subject.
#[derive(Serialize, ToSchema)]
pub struct AlertGroupBody {
    /// `grp_…`
    #[schema(value_type = String)]
    pub id: GroupId,
    /// `open`, `acknowledged`, `snoozed`, `resolved`.
    pub state: &'static str,
    /// The highest of the episode.
    pub severity: &'static str,
    /// Rule.
    pub rule: String,
    /// `opr_…`
    #[schema(value_type = Option<String>)]
    pub operator: Option<OperatorId>,
    /// Stable code of the operator; of the jurisdiction, where a rule has found something over several operators.
    pub operator_code: String,
    /// Whom a rule's findings are about, such as `player:` and a keyed digest in hex; for staff alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// As of its alerts; `silence` for a feed that is silent.
    pub metric: &'static str,
    /// `minute`, `hour`, `day`, `week`.
    pub granularity: &'static str,
    /// ISO 4217.
    pub currency: String,
    /// `src_…`, where it is about a source.
    #[schema(value_type = Option<String>)]
    pub source: Option<SourceId>,
    /// How often it began.
    pub episode: u32,
    /// Alerts raised in the episode.
    pub hits: u64,
    /// Those of them that are not withdrawn.
    pub standing: u64,
    /// Start of the first window of the episode.
    #[schema(value_type = String, format = DateTime)]
    pub first_at: Ts,
    /// When it was last hit.
    #[schema(value_type = String, format = DateTime)]
    pub last_at: Ts,
    /// The newest alert.
    #[schema(value_type = String)]
    pub last_alert: AlertId,
    /// Who took it on.
    pub acknowledged: Option<ActView>,
    /// Left alone until then, or until so many hits more.
    pub snoozed: Option<SnoozeView>,
    /// `confirmed`, `false_alarm`, `expected`, `data_error`; by the engine `withdrawn`, `quiet`.
    pub resolution: Option<&'static str>,
    /// Who resolved it; null where the engine did.
    pub resolved: Option<ActView>,
    /// The silent feed that keeps it from being told.
    #[schema(value_type = Option<String>)]
    pub muted_by: Option<GroupId>,
    /// The silence that does.
    #[schema(value_type = Option<String>)]
    pub silenced_by: Option<SilenceId>,
    /// Was somebody told of this episode?
    pub told: bool,
}

/// Who did something, when.
#[derive(Serialize, ToSchema)]
pub struct ActView {
    /// The key.
    #[schema(value_type = String)]
    pub by: KeyId,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Ts,
}

/// How long a group is left alone.
#[derive(Serialize, ToSchema)]
pub struct SnoozeView {
    /// Until then.
    #[schema(value_type = String, format = DateTime)]
    pub until: Ts,
    /// Until so many hits more.
    pub hits: Option<u64>,
    /// Who decided it.
    pub by: ActView,
}

impl From<Act> for ActView {
    fn from(act: Act) -> Self {
        Self { by: act.by, at: act.at }
    }
}

/// What the rule of a group is called to a caller.
fn rule<'a>(group: &'a AlertGroup, caller: &Caller) -> &'a str {
    let is_staff = caller.entry.key.operator_no.is_none();
    if is_staff { &group.rule } else { disclosure::rule_for_operator(group.subject.metric, &group.rule) }
}

impl AlertGroupBody {
    fn of(group: &AlertGroup, directory: &Directory, caller: &Caller) -> Self {
        Self {
            id: group.id,
            state: group.state.as_str(),
            severity: group.severity.as_str(),
            rule: rule(group, caller).to_owned(),
            operator: directory.operators.get(&group.operator_no).map(|o| o.id),
            operator_code: group.subject.operator.clone(),
            who: group.subject.who.clone().filter(|_| caller.entry.key.operator_no.is_none()),
            metric: group.subject.metric.as_str(),
            granularity: group.subject.granularity.as_str(),
            currency: group.subject.currency.to_string(),
            source: group.subject.source,
            episode: group.episode,
            hits: group.hits,
            standing: group.standing.len() as u64 + group.standing_more,
            first_at: group.first_at,
            last_at: group.last_at,
            last_alert: group.last_alert,
            acknowledged: group.acknowledged.map(ActView::from),
            snoozed: group.snoozed.map(|s| SnoozeView { until: s.until, hits: s.hits, by: s.act.into() }),
            resolution: group.resolution.map(Resolution::as_str),
            resolved: group.resolved.map(ActView::from),
            muted_by: group.muted_by,
            silenced_by: group.silenced_by,
            told: group.told,
        }
    }
}

/// Where a group stands among those that were hit before it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place(i64, GroupId);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (at, id) = text.split_once('.').ok_or(())?;
        Ok(Self(at.parse().map_err(|_| ())?, id.parse().map_err(|_| ())?))
    }
}

/// The operator's own groups for a key of an operator, those of the jurisdiction for staff.
fn visible(caller: &Caller) -> Result<impl Fn(&AlertGroup) -> bool, Problem> {
    let rights = caller.rights();
    let may = rights.is_some_and(|rights| rights.market || rights.operator.is_some());
    if !may {
        return Err(Problem::new(Code::Forbidden, "the key has neither the scope market:read nor one for feeds"));
    }
    let (own, jurisdiction) = (caller.entry.key.operator_no, caller.jurisdiction());
    Ok(move |group: &AlertGroup| group.jurisdiction == jurisdiction && own.is_none_or(|own| own == group.operator_no))
}

/// Groups the credential may see, those last hit first; without `state` those that are not resolved.
#[utoipa::path(
    get, path = "/api/v1/alerts/groups", tag = "alerts",
    params(("state" = Option<String>, Query, description = "open, acknowledged, snoozed or resolved"),
        ("severity" = Option<String>, Query, description = "At least"), ("rule" = Option<String>, Query),
        ("operator" = Option<String>, Query, description = "opr_…"),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, description = "Groups", body = ListView<AlertGroupBody>)),
    security(("bearer" = ["market:read"]), ("bearer" = ["feeds:manage"]), ("bearer" = ["feeds:write"]))
)]
pub async fn list(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    let visible = visible(&caller)?;
    let pairs = parse::query(&req, &["state", "severity", "rule", "operator", "limit", "cursor"])?;
    let query = parse::list_query(&pairs)?;
    let directory = state.engine.directory();
    let mut fields = Fields::default();
    let named = |name: &str| parse::parameter(&pairs, name);
    let wanted = named("state").and_then(|text| fields.known_parameter("?state", GroupState::parse(text)));
    let least = named("severity").and_then(|text| fields.known_parameter("?severity", Severity::parse(text)));
    let operator = named("operator").and_then(|text| {
        let id = text.parse().ok().and_then(|id| directory.operator(id, caller.jurisdiction()));
        fields.known_parameter("?operator", id.map(|operator| operator.operator_no))
    });
    let wanted_rule = named("rule").map(str::to_owned);
    fields.check()?;
    let groups = state.engine.desk().groups(caller.jurisdiction()).into_iter().filter(|group| {
        visible(group)
            && wanted.map_or(group.is_live(), |state| group.state == state)
            && least.is_none_or(|least| group.severity >= least)
            && wanted_rule.as_ref().is_none_or(|wanted| wanted == rule(group, &caller))
            && operator.is_none_or(|operator| operator == group.operator_no)
    });
    let page = page_by(groups, &query, |group| Place(group.last_at.0, group.id))?;
    Ok(HttpResponse::Ok().json(page.map(|group| AlertGroupBody::of(&group, &directory, &caller))))
}

/// A group.
#[utoipa::path(
    get, path = "/api/v1/alerts/groups/{id}", tag = "alerts", params(("id" = String, Path, description = "grp_…")),
    responses((status = 200, description = "The group", body = AlertGroupBody)),
    security(("bearer" = ["market:read"]), ("bearer" = ["feeds:manage"]), ("bearer" = ["feeds:write"]))
)]
pub async fn get(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    let visible = visible(&caller)?;
    let id: GroupId = parse::path_id(&req, "id", "alert group")?;
    let group = state.engine.desk().group(id).filter(|group| visible(group));
    let group = group.ok_or_else(|| Problem::not_found("alert group"))?;
    Ok(HttpResponse::Ok().json(AlertGroupBody::of(&group, &state.engine.directory(), &caller)))
}

/// The group that a path names by itself or by one of its alerts; only staff works on groups.
fn named(caller: &Caller, state: &AppState, req: &HttpRequest) -> Result<Arc<AlertGroup>, Problem> {
    caller.require(Scope::AlertsManage)?;
    let text = req.match_info().get("id").unwrap_or_default();
    let desk = state.engine.desk();
    let id = match text.parse::<GroupId>() {
        Ok(id) => Some(id),
        Err(_) => text.parse::<AlertId>().ok().and_then(|alert| desk.of_alert(alert)),
    };
    let group = id.and_then(|id| desk.group(id)).filter(|group| group.jurisdiction == caller.jurisdiction());
    group.ok_or_else(|| Problem::not_found("alert group"))
}

async fn act(caller: &Caller, state: &AppState, req: &HttpRequest, action: Action) -> Result<HttpResponse, Problem> {
    let group = named(caller, state, req)?;
    let done = state.engine.act_on_alerts(group.id, action, Act { by: caller.entry.key.id, at: state.engine.now() });
    let group = done.await?;
    Ok(HttpResponse::Ok().json(AlertGroupBody::of(&group, &state.engine.directory(), caller)))
}

/// What somebody who works on groups sent, and where is noted what is wrong with it.
fn sent<T: DeserializeOwned>(caller: &Caller, req: &HttpRequest, body: &[u8]) -> Result<(T, Fields), Problem> {
    caller.require(Scope::AlertsManage)?;
    Ok((parse::json_body(req.headers(), body)?, Fields::default()))
}

/// Takes a group on: it is told of again only if it gets worse. The same again changes nothing.
#[utoipa::path(
    post, path = "/api/v1/alerts/{id}/acknowledge", tag = "alerts",
    params(("id" = String, Path, description = "grp_…, or one of its alerts alr_…")),
    responses((status = 200, description = "The group", body = AlertGroupBody),
        (status = 409, description = "It is resolved")),
    security(("bearer" = ["alerts:manage"]))
)]
pub async fn acknowledge(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    act(&caller, &state, &req, Action::Acknowledge).await
}

/// Leaves a group alone for a while.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SnoozeRequest {
    /// Within the next 30 days.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// Until so many hits more, whichever comes first.
    #[serde(default)]
    hits: Option<u64>,
}

/// Nobody is told of the group until the time or the number of hits is reached.
#[utoipa::path(
    post, path = "/api/v1/alerts/{id}/snooze", tag = "alerts", request_body = SnoozeRequest,
    params(("id" = String, Path, description = "grp_…, or one of its alerts alr_…")),
    responses((status = 200, description = "The group", body = AlertGroupBody),
        (status = 409, description = "It is resolved")),
    security(("bearer" = ["alerts:manage"]))
)]
pub async fn snooze(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    let (sent, mut fields) = sent::<SnoozeRequest>(&caller, &req, &body)?;
    let until = fields.known("/until", sent.until.as_deref(), |text| Ts::parse(text).ok());
    if sent.hits == Some(0) {
        fields.wrong("/hits", "at least one");
    }
    let until = fields.finish(until)?;
    act(&caller, &state, &req, Action::Snooze { until, hits: sent.hits }).await
}

/// Why a group is over.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolveRequest {
    /// `confirmed`, `false_alarm`, `expected`, `data_error`.
    reason: Option<String>,
}

/// Ends a group with a reason; the next hit begins its next episode.
#[utoipa::path(
    post, path = "/api/v1/alerts/{id}/resolve", tag = "alerts", request_body = ResolveRequest,
    params(("id" = String, Path, description = "grp_…, or one of its alerts alr_…")),
    responses((status = 200, description = "The group", body = AlertGroupBody),
        (status = 409, description = "It is resolved")),
    security(("bearer" = ["alerts:manage"]))
)]
pub async fn resolve(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    let (sent, mut fields) = sent::<ResolveRequest>(&caller, &req, &body)?;
    let reason = fields.known("/reason", sent.reason.as_deref(), Resolution::parse);
    let reason = fields.finish(reason)?;
    act(&caller, &state, &req, Action::Resolve(reason)).await
}

/// Opens a group again that is acknowledged, snoozed or resolved.
#[utoipa::path(
    post, path = "/api/v1/alerts/{id}/reopen", tag = "alerts",
    params(("id" = String, Path, description = "grp_…, or one of its alerts alr_…")),
    responses((status = 200, description = "The group", body = AlertGroupBody), (status = 409, description = "It is open")),
    security(("bearer" = ["alerts:manage"]))
)]
pub async fn reopen(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    act(&caller, &state, &req, Action::Reopen).await
}

/// For a span nobody is told of what fits.
#[derive(Serialize, ToSchema)]
pub struct SilenceView {
    /// `sil_…`
    #[schema(value_type = String)]
    pub id: SilenceId,
    /// Of this rule only.
    pub rule: Option<String>,
    /// Of this operator only.
    #[schema(value_type = Option<String>)]
    pub operator: Option<OperatorId>,
    /// Up to this severity only.
    pub severity_max: Option<&'static str>,
    /// Until then.
    #[schema(value_type = String, format = DateTime)]
    pub until: Ts,
    /// Whose decision.
    pub by: ActView,
}

impl SilenceView {
    fn of(silence: &Silence, directory: &Directory) -> Self {
        Self {
            id: silence.id,
            rule: silence.rule.clone(),
            operator: silence.operator_no.and_then(|no| directory.operators.get(&no)).map(|o| o.id),
            severity_max: silence.severity_max.map(Severity::as_str),
            until: silence.until,
            by: silence.act.into(),
        }
    }
}

/// A silence to set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SilenceRequest {
    /// Of this rule only.
    #[serde(default)]
    rule: Option<String>,
    /// `opr_…`: of this operator only.
    #[serde(default)]
    operator: Option<String>,
    /// Up to this severity only: `low`, `medium`, `high`, `critical`.
    #[serde(default)]
    severity_max: Option<String>,
    /// Within the next 30 days.
    #[schema(format = DateTime)]
    until: Option<String>,
}

/// Rules have such names; anything else might be a text about somebody.
fn is_rule(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    plain && (1..=RULE_CHARS_MAX).contains(&text.len()) && text.starts_with(|c: char| c.is_ascii_lowercase())
}

/// Silences of the jurisdiction that are not over.
#[utoipa::path(
    get, path = "/api/v1/alerts/silences", tag = "alerts",
    params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, description = "Silences", body = ListView<SilenceView>)),
    security(("bearer" = ["alerts:manage"]))
)]
pub async fn silences(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AlertsManage)?;
    let query = parse::list_query(&parse::query(&req, &["limit", "cursor"])?)?;
    let silences = state.engine.desk().silences(caller.jurisdiction(), state.engine.now());
    let page = page_by(silences.into_iter(), &query, |silence| silence.id)?;
    let directory = state.engine.directory();
    Ok(HttpResponse::Ok().json(page.map(|silence| SilenceView::of(&silence, &directory))))
}

/// Sets a silence, which always has an end and an author. Alerts go on being raised, shown and counted.
#[utoipa::path(
    post, path = "/api/v1/alerts/silences", tag = "alerts", request_body = SilenceRequest,
    responses((status = 201, description = "The silence", body = SilenceView)),
    security(("bearer" = ["alerts:manage"]))
)]
pub async fn silence(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    let (sent, mut fields) = sent::<SilenceRequest>(&caller, &req, &body)?;
    let (now, directory) = (state.engine.now(), state.engine.directory());
    let soon = |at: &Ts| *at > now && at.0 - now.0 <= engine::alerting::SNOOZE_MAX;
    let until = fields.known("/until", sent.until.as_deref(), |text| Ts::parse(text).ok().filter(soon));
    let operator_no = sent.operator.as_deref().and_then(|text| {
        let id = |text: &str| text.parse().ok().and_then(|id| directory.operator(id, caller.jurisdiction()));
        fields.known("/operator", Some(text), |text| id(text).map(|operator| operator.operator_no))
    });
    let severity_max = sent.severity_max.as_deref();
    let severity_max = severity_max.and_then(|text| fields.known("/severity_max", Some(text), Severity::parse));
    let rule = sent.rule.as_deref();
    let rule = rule.and_then(|text| fields.known("/rule", Some(text), |text| is_rule(text).then(|| text.to_owned())));
    let until = fields.finish(until)?;
    let silence = Silence {
        id: SilenceId(uuid_v7(now)),
        jurisdiction: caller.jurisdiction(),
        rule,
        operator_no,
        severity_max,
        until,
        act: Act { by: caller.entry.key.id, at: now },
    };
    state.engine.silence_alerts(silence.clone()).await?;
    Ok(HttpResponse::Created().json(SilenceView::of(&silence, &directory)))
}

/// Ends a silence now: what it kept quiet and still stands is told.
#[utoipa::path(
    delete, path = "/api/v1/alerts/silences/{id}", tag = "alerts",
    params(("id" = String, Path, description = "sil_…")),
    responses((status = 204, description = "It is over")),
    security(("bearer" = ["alerts:manage"]))
)]
pub async fn unsilence(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AlertsManage)?;
    let id: SilenceId = parse::path_id(&req, "id", "silence")?;
    let now = state.engine.now();
    let known = state.engine.desk().silences(caller.jurisdiction(), now).into_iter().find(|s| s.id == id);
    let silence = known.ok_or_else(|| Problem::not_found("silence"))?;
    let act = Act { by: caller.entry.key.id, at: now };
    state.engine.silence_alerts(Silence { until: now, act, ..silence }).await?;
    Ok(HttpResponse::NoContent().finish())
}
