//! Models: their versions, papers and drift, and what people do with them. They are registered with `mlinzi model`, for the whole
//! node; which version scores is of the jurisdiction of whoever asks.

use actix_web::{HttpRequest, HttpResponse};
use actors::built_in_models::{self, BuiltIn};
use actors::engine::{ModelCommand, ModelLive, ModelOrder};
use models::ids::KeyId;
use models::jurisdiction::JurisdictionNo;
use models::model_life::{ModelActed, rollback_of};
use models::operator::Scope;
use models::risk_model::{DriftJudged, ModelEvaluation, ModelKind, ModelMetrics, ModelState, REASON_CHARS_MAX};
use models::ts::Ts;
use models::who::Who;
use serde::{Deserialize, Serialize};
use store::StoredModel;
use utoipa::ToSchema;

use super::model_shadows::ShadowBody;
use super::rules::views::RateForecastView;
use crate::extractors::idempotency::idempotency;
use crate::extractors::{Body, Caller};
use crate::parse::{self, Fields};
use crate::problem::Problem;
use crate::state::AppState;

/// Every version.
#[derive(Serialize, ToSchema)]
pub struct ModelsView {
    /// By kind and number.
    pub models: Vec<ModelBody>,
    /// Those that are part of the program: they learn as they go, and nobody promotes them.
    pub built_in: Vec<BuiltInBody>,
}

/// A model that is part of the program.
#[derive(Serialize, ToSchema)]
pub struct BuiltInBody {
    /// `anomaly`, `figures_together`, `forecast`.
    pub kind: &'static str,
    /// Version of its parameters.
    pub version: u32,
    /// Always true.
    pub built_in: bool,
    /// The parameters, an object.
    #[schema(value_type = Object)]
    pub parameters: serde_json::Value,
    /// SHA-256 of their JSON text without spaces, hexadecimal.
    pub parameters_sha256: String,
    /// What they were chosen and calibrated on.
    pub calibrated_on: &'static str,
    /// What it reaches on public data.
    pub metrics: Vec<BuiltInFigureBody>,
    /// The model card, Markdown.
    pub card: String,
}

/// A figure of such a model.
#[derive(Serialize, ToSchema)]
pub struct BuiltInFigureBody {
    /// As in docs/BENCHMARKS.md.
    pub name: &'static str,
    /// Measured.
    pub value: f64,
}

impl From<BuiltIn> for BuiltInBody {
    fn from(model: BuiltIn) -> Self {
        let BuiltIn { kind, version, parameters, parameters_sha256, calibrated_on, figures, card } = model;
        let metrics = figures.iter().map(|(name, value)| BuiltInFigureBody { name, value: *value }).collect();
        Self { kind, version, built_in: true, parameters, parameters_sha256, calibrated_on, metrics, card }
    }
}

/// A version of a model.
#[derive(Serialize, ToSchema)]
pub struct ModelBody {
    /// `transaction_risk`, `player_risk`.
    pub kind: &'static str,
    /// Its number, from 1.
    pub version: u32,
    /// Code of the jurisdiction of the key: its state, its promotion, its end, `rollback`, `shadow` and `live` are what became
    /// of it there. Everything else is of every jurisdiction.
    pub jurisdiction: String,
    /// `registered`, `promoted` (it scores), `replaced`, `retired`.
    pub state: &'static str,
    /// SHA-256 of the artefact, hexadecimal.
    pub artefact_sha256: String,
    /// SHA-256 of its features' names: it scores vectors of these alone.
    pub schema_sha256: String,
    /// SHA-256 of the table it was learnt from.
    pub data_sha256: String,
    /// When the rows of that table happened, as whoever learnt from it said; null where it was not given.
    pub trained_on: Option<TrainedOnBody>,
    /// Features.
    pub features: u32,
    /// On rows held out while it was learnt.
    pub held_out: MetricsBody,
    /// On a table of its own; null where it was never judged on one.
    pub evaluation: Option<MetricsBody>,
    /// Share of the rows of that table that it was learnt from, of those that could be compared; null where it is not known.
    pub evaluation_seen_share: Option<f64>,
    /// Why it cannot be promoted; null where it can.
    pub not_validated: Option<String>,
    /// Who registered it.
    pub registered_by: String,
    /// With which key; null where the name was only typed.
    #[schema(value_type = Option<String>)]
    pub registered_by_key: Option<KeyId>,
    /// Who had it judged on a table of its own after it was registered; null where that was done then.
    pub evaluated_by: Option<String>,
    /// With which key; null where the name was only typed.
    #[schema(value_type = Option<String>)]
    pub evaluated_by_key: Option<KeyId>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub registered_at: Ts,
    /// Who made it the one that scores last, by a promotion or by going back to it.
    pub promoted_by: Option<String>,
    /// When.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub promoted_at: Option<Ts>,
    /// When it was replaced or retired.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Ts>,
    /// The way back by which it scores again, or no longer does; null where it is in its state by anything else.
    pub rollback: Option<RollbackBody>,
    /// It scores in the shadow; null where it does not.
    pub shadow: Option<ShadowBody>,
    /// While it scores by a promotion: what was expected then of each live rule that hears it, and what has come. Empty where
    /// it does not score, scores by a way back, or was promoted by a release before.
    pub live: Vec<ModelLiveBody>,
}

/// Alerts that follow from a promoted version: what the brake holds against each other.
#[derive(Serialize, ToSchema)]
pub struct ModelLiveBody {
    /// The rule that raises them.
    pub rule: String,
    /// How many were expected when it was promoted; of `basis` `none` nothing was known, and the brake's floor holds.
    pub forecast: RateForecastView,
    /// How many have been raised since.
    pub seen: u64,
    /// Until then the brake looks at them.
    #[schema(value_type = String, format = DateTime)]
    pub watched_until: Ts,
}

/// Somebody went back from a version to the one before.
#[derive(Serialize, ToSchema)]
pub struct RollbackBody {
    /// The version that scored until then.
    pub from: u32,
    /// The one that scores again.
    pub to: u32,
    /// Who.
    pub by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Ts,
    /// Why.
    pub reason: Option<String>,
}

/// Something that was done with a version.
#[derive(Serialize, ToSchema)]
pub struct ModelActBody {
    /// `registered`, `evaluated`, `promoted`, `rolled_back` (it scores again), `retired`.
    pub act: &'static str,
    /// Of which version: another one that took this one's place, or this one.
    pub version: u32,
    /// Code of the jurisdiction where it was done; null of what is of every one: a registration, a judgement, and what was done
    /// before migration 0045.
    pub jurisdiction: Option<String>,
    /// The version whose place it took.
    pub replaced: Option<u32>,
    /// Who.
    pub by: String,
    /// With which key; null where the name was only typed, and of before migration 0043.
    #[schema(value_type = Option<String>)]
    pub by_key: Option<KeyId>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Ts,
    /// Why: of a way back and a retirement.
    pub reason: Option<String>,
}

/// A span of time, half-open.
#[derive(Serialize, ToSchema)]
pub struct TrainedOnBody {
    /// First instant.
    #[schema(value_type = String, format = DateTime)]
    pub from: Ts,
    /// First instant after it.
    #[schema(value_type = String, format = DateTime)]
    pub to: Ts,
}

/// How good probabilities were on rows with labels.
#[derive(Serialize, ToSchema)]
pub struct MetricsBody {
    /// Rows.
    pub rows: u64,
    /// Rows of the positive class.
    pub positives: u64,
    /// Area under the ROC curve.
    pub auc: f64,
    /// Average precision.
    pub average_precision: f64,
    /// Brier score.
    pub brier: f64,
    /// Expected calibration error.
    pub calibration_error: f64,
}

/// A version with everything that is known of it.
#[derive(Serialize, ToSchema)]
pub struct ModelView {
    /// Its papers.
    pub model: ModelBody,
    /// The model card, Markdown.
    pub card: String,
    /// What was done with it, and what took its place, in the jurisdiction of the key or in every one, oldest first.
    /// Of before migration 0036 the last promotion alone.
    pub history: Vec<ModelActBody>,
    /// Days on which its scores were held against what it was learnt from, newest first.
    pub drift: Vec<DriftBody>,
}

/// A day of drift at an operator.
#[derive(Serialize, ToSchema)]
pub struct DriftBody {
    /// Stable code of the operator; null where it is not known any more.
    pub operator_code: Option<String>,
    /// Beginning of the local day.
    #[schema(value_type = String, format = DateTime)]
    pub day: Ts,
    /// Rows it stands on.
    pub rows: u64,
    /// `unknown` (too few rows), `stable`, `moderate`, `significant`.
    pub level: &'static str,
    /// Population stability index of the score.
    pub score_index: Option<f64>,
    /// The same in sentences.
    pub reasons: Vec<String>,
    /// It scored in the shadow that day: nobody was told.
    pub is_shadow: bool,
}

fn share(ppm: u32) -> f64 {
    f64::from(ppm) / 1e6
}

impl MetricsBody {
    fn of(metrics: &ModelMetrics) -> Self {
        Self {
            rows: metrics.rows,
            positives: metrics.positives,
            auc: share(metrics.auc_ppm),
            average_precision: share(metrics.average_precision_ppm),
            brier: share(metrics.brier_ppm),
            calibration_error: share(metrics.calibration_error_ppm),
        }
    }
}

fn seen_share(evaluation: &ModelEvaluation) -> Option<f64> {
    let compared = evaluation.compared.filter(|compared| compared.rows > 0)?;
    Some(compared.seen as f64 / compared.rows as f64)
}

impl From<&ModelActed> for RollbackBody {
    fn from(acted: &ModelActed) -> Self {
        let ModelActed { version, by, at, reason, other, .. } = acted.clone();
        Self { from: other.unwrap_or_default(), to: version, by, at, reason }
    }
}

impl ModelActBody {
    /// `place` is the jurisdiction whose acts these are.
    fn of(acted: &ModelActed, place: &str) -> Self {
        let ModelActed { version, act, by, by_key, at, reason, other, jurisdiction, .. } = acted.clone();
        let jurisdiction = jurisdiction.map(|_| place.to_owned());
        Self { act: act.as_str(), version, jurisdiction, replaced: other, by, by_key, at, reason }
    }
}

/// The code of a jurisdiction.
fn code_of(state: &AppState, jurisdiction: JurisdictionNo) -> String {
    let directory = state.engine.directory();
    directory.jurisdiction(jurisdiction).map_or_else(String::new, |known| known.code.clone())
}

impl From<ModelLive> for ModelLiveBody {
    fn from(live: ModelLive) -> Self {
        let ModelLive { rule, forecast, findings, watched_until } = live;
        Self { rule, forecast: RateForecastView::from(forecast), seen: findings, watched_until }
    }
}

/// A version as staff of a jurisdiction sees it; `acts` are those of its kind that count there.
pub(super) async fn shown(
    state: &AppState,
    jurisdiction: JurisdictionNo,
    stored: &StoredModel,
    acts: &[ModelActed],
) -> Result<ModelBody, Problem> {
    let mut body = ModelBody::of(stored, acts, code_of(state, jurisdiction));
    if stored.state == ModelState::Promoted {
        let live = state.engine.model_live(jurisdiction, (stored.model.kind, stored.model.version)).await?;
        body.live = live.into_iter().map(ModelLiveBody::from).collect();
    }
    Ok(body)
}

impl ModelBody {
    /// `acts` are those of its kind that count in the jurisdiction.
    fn of(stored: &StoredModel, acts: &[ModelActed], jurisdiction: String) -> Self {
        let model = &stored.model;
        let (promoted_by, promoted_at) = stored.promoted.clone().unzip();
        Self {
            kind: model.kind.as_str(),
            version: model.version,
            jurisdiction,
            state: stored.state.as_str(),
            artefact_sha256: model.artefact_sha256.clone(),
            schema_sha256: model.schema_sha256.clone(),
            data_sha256: model.data_sha256.clone(),
            trained_on: model.trained_on.map(|of| TrainedOnBody { from: of.start, to: of.end }),
            features: model.features,
            held_out: MetricsBody::of(&model.held_out),
            evaluation: model.evaluation.as_ref().map(|evaluation| MetricsBody::of(&evaluation.metrics)),
            evaluation_seen_share: model.evaluation.as_ref().and_then(seen_share),
            not_validated: model.validated().err().map(|reason| reason.to_string()),
            registered_by: model.by.clone(),
            registered_by_key: model.by_key,
            evaluated_by: model.evaluated_by.as_ref().map(|by| by.name.clone()),
            evaluated_by_key: model.evaluated_by.as_ref().and_then(|by| by.key),
            registered_at: stored.registered_at,
            promoted_by,
            promoted_at,
            ended_at: stored.ended.as_ref().map(|(_, at)| *at),
            rollback: rollback_of(acts, model.version).map(RollbackBody::from),
            shadow: stored.shadow.clone().map(|(by, since, reason)| ShadowBody { by, since, reason }),
            live: Vec::new(),
        }
    }
}

/// Why a version is retired.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reason": "its probabilities do not hold since the new product"}))]
pub struct RetireRequest {
    /// Why, up to 500 characters, with nobody in it.
    #[serde(default)]
    reason: Option<String>,
}

/// Why the version before is to score again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reason": "it names twice as many players as the one before"}))]
pub struct ModelRollbackRequest {
    /// Why, up to 500 characters, with nobody in it.
    #[serde(default)]
    reason: Option<String>,
}

/// A promotion takes no fields yet.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({}))]
pub struct PromoteRequest {}

fn kind(req: &HttpRequest) -> Result<ModelKind, Problem> {
    req.match_info().get("kind").and_then(ModelKind::parse).ok_or_else(|| Problem::not_found("model"))
}

/// The version that a path names.
pub(super) fn which(req: &HttpRequest) -> Result<(ModelKind, u32), Problem> {
    Ok((kind(req)?, parse::path_id(req, "version", "model")?))
}

pub(super) fn required_reason(reason: Option<&str>) -> Result<String, Problem> {
    let mut fields = Fields::default();
    let reason = fields.required_text("/reason", reason, REASON_CHARS_MAX);
    fields.finish(reason)
}

/// A version as it is now, for whoever has just done something with it.
pub(super) async fn answer(
    state: &AppState,
    jurisdiction: JurisdictionNo,
    (kind, version): (ModelKind, u32),
) -> Result<HttpResponse, Problem> {
    let store = state.engine.store();
    let stored = store.model(jurisdiction, (kind, version)).await?.ok_or_else(|| Problem::not_found("model"))?;
    let acts = store.model_acts(jurisdiction, kind).await?;
    Ok(HttpResponse::Ok().json(shown(state, jurisdiction, &stored, &acts).await?))
}

async fn order(
    caller: &Caller,
    state: &AppState,
    req: &HttpRequest,
    body: &[u8],
    (kind, command): (ModelKind, ModelCommand),
) -> Result<HttpResponse, Problem> {
    let jurisdiction = caller.jurisdiction();
    let order = ModelOrder { jurisdiction, kind, command, by: Who::from(&caller.entry.key) };
    let version = state.engine.order_model(order, idempotency(caller, req, body)?).await?;
    answer(state, jurisdiction, (kind, version)).await
}

/// Lets a version score the operators of your jurisdiction from now on, in the place of the one before; what scores in another
/// jurisdiction is theirs to say. Another person than the one who registered it has to
/// do so, and it has to be validated: judged on a table that it was not learnt from. A person is known by the keys that
/// followed each other and by the name on them; whoever had a version judged after it was registered does not promote it
/// either. One that was registered under a typed name has to be judged again with a key (`mlinzi model evaluate`). How many
/// alerts are expected of it stands in `live`: within seven days, where far more come, the brake goes back to the version
/// before, or retires this one where none scored before.
#[utoipa::path(
    post, path = "/api/v1/models/{kind}/{version}/promote", tag = "models", request_body = PromoteRequest,
    params(("kind" = String, Path, description = "`transaction_risk` or `player_risk`"), ("version" = u32, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: once")),
    responses((status = 200, description = "The version", body = ModelBody),
        (status = 403, description = "The key is of whoever registered the version or had it judged, by its name or by the keys it follows; or the version was registered under a typed name alone"),
        (status = 404, description = "There is none"),
        (status = 409, description = "It is not validated, or in your jurisdiction it is retired or scores already")),
    security(("bearer" = ["rules:manage"]))
)]
pub async fn promote(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::RulesManage)?;
    let PromoteRequest {} = parse::json_body(req.headers(), &body)?;
    let (kind, version) = which(&req)?;
    order(&caller, &state, &req, &body, (kind, ModelCommand::Promote { version })).await
}

/// Lets the version that scored in your jurisdiction right before the present one score there again, at once: where a
/// promotion turns out badly. One person is enough, because a second one had promoted it. It is one step: what was gone
/// back from scores again by a promotion alone.
#[utoipa::path(
    post, path = "/api/v1/models/{kind}/rollback", tag = "models", request_body = ModelRollbackRequest,
    params(("kind" = String, Path, description = "`transaction_risk` or `player_risk`"),
        ("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: once")),
    responses((status = 200, description = "The version that scores again", body = ModelBody),
        (status = 404, description = "There is no such kind"),
        (status = 409, description = "Nothing scores, nothing scored before, or what did was gone back from itself, is retired, or does not fit this release"),
        (status = 422, description = "No reason is given")),
    security(("bearer" = ["rules:manage"]))
)]
pub async fn roll_back(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::RulesManage)?;
    let sent: ModelRollbackRequest = parse::json_body(req.headers(), &body)?;
    let reason = required_reason(sent.reason.as_deref())?;
    let kind = kind(&req)?;
    order(&caller, &state, &req, &body, (kind, ModelCommand::RollBack { reason })).await
}

/// Takes a version out of use in your jurisdiction for good. Where it scored, nothing of its kind is scored there until another
/// one is promoted. One person is enough. Another jurisdiction may score with it as before.
#[utoipa::path(
    post, path = "/api/v1/models/{kind}/{version}/retire", tag = "models", request_body = RetireRequest,
    params(("kind" = String, Path, description = "`transaction_risk` or `player_risk`"), ("version" = u32, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: once")),
    responses((status = 200, description = "The version", body = ModelBody),
        (status = 404, description = "There is none"), (status = 409, description = "It is retired"),
        (status = 422, description = "No reason is given")),
    security(("bearer" = ["rules:manage"]))
)]
pub async fn retire(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::RulesManage)?;
    let sent: RetireRequest = parse::json_body(req.headers(), &body)?;
    let reason = required_reason(sent.reason.as_deref())?;
    let (kind, version) = which(&req)?;
    order(&caller, &state, &req, &body, (kind, ModelCommand::Retire { version, reason })).await
}

/// Every version of every model with what became of it in your jurisdiction, and the models that are part of the program.
#[utoipa::path(
    get, path = "/api/v1/models", tag = "models",
    responses((status = 200, description = "Models", body = ModelsView)),
    security(("bearer" = ["system:read"]))
)]
pub async fn list(caller: Caller, state: AppState) -> Result<HttpResponse, Problem> {
    caller.require(Scope::SystemRead)?;
    let (store, jurisdiction) = (state.engine.store(), caller.jurisdiction());
    let stored = store.models(jurisdiction).await?;
    let mut models = Vec::with_capacity(stored.len());
    for of_kind in stored.chunk_by(|a, b| a.model.kind == b.model.kind) {
        let acts = store.model_acts(jurisdiction, of_kind[0].model.kind).await?;
        for stored in of_kind {
            models.push(shown(&state, jurisdiction, stored, &acts).await?);
        }
    }
    let built_in = built_in_models::all().into_iter().map(BuiltInBody::from).collect();
    Ok(HttpResponse::Ok().json(ModelsView { models, built_in }))
}

/// A version: papers and model card, what became of it in your jurisdiction, drift at its operators.
#[utoipa::path(
    get, path = "/api/v1/models/{kind}/{version}", tag = "models",
    params(("kind" = String, Path, description = "`transaction_risk` or `player_risk`"), ("version" = u32, Path)),
    responses((status = 200, description = "The model", body = ModelView), (status = 404, description = "There is none")),
    security(("bearer" = ["system:read"]))
)]
pub async fn get(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::SystemRead)?;
    let missing = || Problem::not_found("model");
    let (kind, version) = which(&req)?;
    let (store, jurisdiction) = (state.engine.store(), caller.jurisdiction());
    let stored = store.model(jurisdiction, (kind, version)).await?.ok_or_else(missing)?;
    // a jurisdiction sees its own operators; the papers are everybody's
    let drift = store.model_drift(jurisdiction, (kind, version)).await?;
    let directory = state.engine.directory();
    let body = |judged: DriftJudged| DriftBody {
        operator_code: directory.operators.get(&judged.operator_no).map(|operator| operator.code.clone()),
        day: judged.day,
        rows: judged.rows,
        level: judged.level.as_str(),
        score_index: judged.score_psi_ppm.map(share),
        reasons: judged.reasons,
        is_shadow: judged.is_shadow,
    };
    let drift = drift.into_iter().map(body).collect();
    let acts = store.model_acts(jurisdiction, kind).await?;
    let of_it = |acted: &&ModelActed| acted.version == version || acted.other == Some(version);
    let model = shown(&state, jurisdiction, &stored, &acts).await?;
    let history = acts.iter().filter(of_it).map(|acted| ModelActBody::of(acted, &model.jurisdiction)).collect();
    Ok(HttpResponse::Ok().json(ModelView { model, card: stored.model.card, history, drift }))
}
