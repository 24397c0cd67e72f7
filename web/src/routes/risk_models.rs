//! Models: their versions, papers and drift, and what people do with them. They are registered with `mlinzi model`.

use actix_web::{HttpRequest, HttpResponse};
use actors::engine::{ModelCommand, ModelOrder};
use models::operator::Scope;
use models::risk_model::{DriftJudged, ModelKind, ModelMetrics, REASON_CHARS_MAX};
use models::ts::Ts;
use serde::{Deserialize, Serialize};
use store::StoredModel;
use utoipa::ToSchema;

use super::model_shadows::ShadowBody;
use crate::extractors::idempotency::idempotency;
use crate::extractors::{Body, Caller};
use crate::parse::{self, Fields};
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// Every version.
#[derive(Serialize, ToSchema)]
pub struct ModelsView {
    /// By kind and number.
    pub models: Vec<ModelBody>,
}

/// A version of a model.
#[derive(Serialize, ToSchema)]
pub struct ModelBody {
    /// `transaction_risk`, `player_risk`.
    pub kind: &'static str,
    /// Its number, from 1.
    pub version: u32,
    /// `registered`, `promoted` (it scores), `replaced`, `retired`.
    pub state: &'static str,
    /// SHA-256 of the artefact, hexadecimal.
    pub artefact_sha256: String,
    /// SHA-256 of its features' names: it scores vectors of these alone.
    pub schema_sha256: String,
    /// SHA-256 of the table it was learnt from.
    pub data_sha256: String,
    /// Features.
    pub features: u32,
    /// On rows held out while it was learnt.
    pub held_out: MetricsBody,
    /// On a table of its own; null where it was never judged on one.
    pub evaluation: Option<MetricsBody>,
    /// Why it cannot be promoted; null where it can.
    pub not_validated: Option<String>,
    /// Who registered it.
    pub registered_by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub registered_at: Ts,
    /// Who promoted it last.
    pub promoted_by: Option<String>,
    /// When.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub promoted_at: Option<Ts>,
    /// When it was replaced or retired.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Ts>,
    /// It scores in the shadow; null where it does not.
    pub shadow: Option<ShadowBody>,
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

impl ModelBody {
    pub(super) fn of(stored: &StoredModel) -> Self {
        let model = &stored.model;
        let (promoted_by, promoted_at) = stored.promoted.clone().unzip();
        Self {
            kind: model.kind.as_str(),
            version: model.version,
            state: stored.state.as_str(),
            artefact_sha256: model.artefact_sha256.clone(),
            schema_sha256: model.schema_sha256.clone(),
            data_sha256: model.data_sha256.clone(),
            features: model.features,
            held_out: MetricsBody::of(&model.held_out),
            evaluation: model.evaluation.as_ref().map(|evaluation| MetricsBody::of(&evaluation.metrics)),
            not_validated: model.validated().err().map(|reason| reason.to_string()),
            registered_by: model.by.clone(),
            registered_at: stored.registered_at,
            promoted_by,
            promoted_at,
            ended_at: stored.ended.as_ref().map(|(_, at)| *at),
            shadow: stored.shadow.clone().map(|(by, since, reason)| ShadowBody { by, since, reason }),
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

/// A promotion takes no fields yet.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({}))]
pub struct PromoteRequest {}

/// The version that a path names.
pub(super) fn which(req: &HttpRequest) -> Result<(ModelKind, u32), Problem> {
    let kind = req.match_info().get("kind").and_then(ModelKind::parse);
    Ok((kind.ok_or_else(|| Problem::not_found("model"))?, parse::path_id(req, "version", "model")?))
}

async fn order(
    caller: &Caller,
    state: &AppState,
    req: &HttpRequest,
    body: &[u8],
    command: ModelCommand,
) -> Result<HttpResponse, Problem> {
    let (kind, version) = which(req)?;
    let directory = state.engine.directory();
    if directory.operators.values().any(|operator| operator.jurisdiction != caller.jurisdiction()) {
        let why = "a model scores the operators of every jurisdiction, and there are others: whoever runs this node does it with `mlinzi model`";
        return Err(Problem::new(Code::Forbidden, why));
    }
    let order = ModelOrder { kind, version, command, by: caller.entry.key.label.clone() };
    state.engine.order_model(order, idempotency(caller, req, body)?).await?;
    let stored = state.engine.store().model(kind, version).await?.ok_or_else(|| Problem::not_found("model"))?;
    Ok(HttpResponse::Ok().json(ModelBody::of(&stored)))
}

/// Lets a version score from now on, in the place of the one before. Another person than the one who registered it has to
/// do so, and it has to be validated: judged on a table that it was not learnt from. A person is known by the name of the
/// key. A model scores the operators of every jurisdiction: where there are several with operators, no key of one of them
/// may do this, but whoever runs the node.
#[utoipa::path(
    post, path = "/api/v1/models/{kind}/{version}/promote", tag = "models", request_body = PromoteRequest,
    params(("kind" = String, Path, description = "`transaction_risk` or `player_risk`"), ("version" = u32, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: once")),
    responses((status = 200, description = "The version", body = ModelBody),
        (status = 403, description = "The key has the name of whoever registered the version, or there are operators of other jurisdictions"),
        (status = 404, description = "There is none"),
        (status = 409, description = "It is not validated, is retired, or scores already")),
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
    order(&caller, &state, &req, &body, ModelCommand::Promote).await
}

/// Takes a version out of use for good. Where it scored, nothing of its kind is scored until another one is promoted. One
/// person is enough; where there are operators of several jurisdictions, it is whoever runs the node.
#[utoipa::path(
    post, path = "/api/v1/models/{kind}/{version}/retire", tag = "models", request_body = RetireRequest,
    params(("kind" = String, Path, description = "`transaction_risk` or `player_risk`"), ("version" = u32, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: once")),
    responses((status = 200, description = "The version", body = ModelBody),
        (status = 403, description = "There are operators of other jurisdictions"),
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
    let mut fields = Fields::default();
    let reason = fields.required_text("/reason", sent.reason.as_deref(), REASON_CHARS_MAX);
    let reason = fields.finish(reason)?;
    order(&caller, &state, &req, &body, ModelCommand::Retire { reason }).await
}

/// Every version of every model.
#[utoipa::path(
    get, path = "/api/v1/models", tag = "models",
    responses((status = 200, description = "Models", body = ModelsView)),
    security(("bearer" = ["system:read"]))
)]
pub async fn list(caller: Caller, state: AppState) -> Result<HttpResponse, Problem> {
    caller.require(Scope::SystemRead)?;
    let models = state.engine.store().models().await?;
    Ok(HttpResponse::Ok().json(ModelsView { models: models.iter().map(ModelBody::of).collect() }))
}

/// A version: papers, model card, drift.
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
    let store = state.engine.store();
    let stored = store.model(kind, version).await?.ok_or_else(missing)?;
    // a jurisdiction sees its own operators; the model is everybody's
    let drift = store.model_drift(caller.jurisdiction(), (kind, version)).await?;
    let directory = state.engine.directory();
    let body = |judged: DriftJudged| DriftBody {
        operator_code: directory.operators.get(&judged.operator_no).map(|operator| operator.code.clone()),
        day: judged.day,
        rows: judged.rows,
        level: judged.level.as_str(),
        score_index: judged.score_psi_ppm.map(share),
        reasons: judged.reasons,
    };
    let drift = drift.into_iter().map(body).collect();
    Ok(HttpResponse::Ok().json(ModelView { model: ModelBody::of(&stored), card: stored.model.card, drift }))
}
