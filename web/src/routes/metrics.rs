//! `/metrics`

use actix_web::HttpResponse;

use crate::metrics::render;
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// Everything that is counted, as Prometheus text; ten times a second to one address, 20 at once.
#[utoipa::path(get, path = "/metrics", tag = "operations",
    responses((status = 200, description = "Prometheus text format 0.0.4", body = String, content_type = "text/plain"),
        (status = 429, description = "Too often")))]
pub async fn metrics(state: AppState) -> Result<HttpResponse, Problem> {
    let text = render(&state.registry).map_err(|_| Problem::new(Code::Internal, "a metric is inconsistent"))?;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}
