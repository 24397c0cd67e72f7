//! For load balancers and people on call.

use actix_web::HttpResponse;
use serde::Serialize;
use utoipa::ToSchema;

use crate::state::AppState;

/// Whether the node should get traffic.
#[derive(Serialize, ToSchema)]
pub struct HealthView {
    /// `ok` or `not_ready`.
    pub status: &'static str,
    /// Why not.
    pub reasons: Vec<String>,
}

/// Which program this is.
#[derive(Serialize, ToSchema)]
pub struct VersionView {
    /// `mlinzi`
    pub name: &'static str,
    /// Version.
    pub version: &'static str,
    /// Commit it was built from.
    pub commit: &'static str,
}

/// 200 where the node should get traffic, 503 where not.
#[utoipa::path(get, path = "/health", tag = "operations",
    responses((status = 200, description = "Ready", body = HealthView), (status = 503, description = "Not ready", body = HealthView)))]
pub async fn health(state: AppState) -> HttpResponse {
    readiness(&state)
}

/// 200 while the process answers at all.
#[utoipa::path(get, path = "/health/live", tag = "operations", responses((status = 200, description = "Alive", body = HealthView)))]
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(HealthView { status: "ok", reasons: Vec::new() })
}

/// As `/health`, with the reasons.
#[utoipa::path(get, path = "/health/ready", tag = "operations",
    responses((status = 200, description = "Ready", body = HealthView), (status = 503, description = "Not ready", body = HealthView)))]
pub async fn ready(state: AppState) -> HttpResponse {
    readiness(&state)
}

/// Name and version of the program.
#[utoipa::path(get, path = "/version", tag = "operations", responses((status = 200, description = "Version", body = VersionView)))]
pub async fn version(state: AppState) -> HttpResponse {
    let options = &state.options;
    HttpResponse::Ok().json(VersionView { name: "mlinzi", version: options.version, commit: options.commit })
}

fn readiness(state: &AppState) -> HttpResponse {
    let reasons = state.engine.readiness();
    if reasons.is_empty() {
        return HttpResponse::Ok().json(HealthView { status: "ok", reasons });
    }
    let retry = (actix_web::http::header::RETRY_AFTER, 1);
    HttpResponse::ServiceUnavailable().insert_header(retry).json(HealthView { status: "not_ready", reasons })
}
