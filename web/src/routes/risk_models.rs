//! Models: their versions, papers and drift. They are registered and promoted with `mlinzi model`, by two people.

use actix_web::{HttpRequest, HttpResponse};
use models::operator::Scope;
use models::risk_model::{DriftJudged, ModelKind, ModelMetrics};
use models::ts::Ts;
use serde::Serialize;
use store::StoredModel;
use utoipa::ToSchema;

use crate::extractors::Caller;
use crate::parse;
use crate::problem::Problem;
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
    fn of(stored: &StoredModel) -> Self {
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
        }
    }
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
    let kind = req.match_info().get("kind").and_then(ModelKind::parse).ok_or_else(missing)?;
    let version: u32 = parse::path_id(&req, "version", "model")?;
    let store = state.engine.store();
    let stored = store.model(kind, version).await?.ok_or_else(missing)?;
    let drift = store.model_drift(kind, version).await?;
    let directory = state.engine.directory();
    let body = |judged: DriftJudged| {
        let operator = directory.operators.get(&judged.operator_no);
        // a jurisdiction sees its own operators; the model is everybody's
        let is_seen = operator.is_some_and(|operator| operator.jurisdiction == caller.jurisdiction());
        is_seen.then(|| DriftBody {
            operator_code: operator.map(|operator| operator.code.clone()),
            day: judged.day,
            rows: judged.rows,
            level: judged.level.as_str(),
            score_index: judged.score_psi_ppm.map(share),
            reasons: judged.reasons,
        })
    };
    let drift = drift.into_iter().filter_map(body).collect();
    Ok(HttpResponse::Ok().json(ModelView { model: ModelBody::of(&stored), card: stored.model.card, drift }))
}
