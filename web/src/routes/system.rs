//! The engine's own state.

use actix_web::{HttpRequest, HttpResponse};
use actors::kernel::{ActorState, ActorStatus};
use models::operator::Scope;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::extractors::{Body, Caller};
use crate::parse;
use crate::problem::Problem;
use crate::state::AppState;

/// Every supervised actor.
#[derive(Serialize, ToSchema)]
pub struct ActorsView {
    /// By name.
    pub actors: Vec<ActorView>,
}

/// One supervised actor.
#[derive(Serialize, ToSchema)]
pub struct ActorView {
    /// Unique name.
    pub name: String,
    /// Kind.
    pub kind: &'static str,
    /// `starting`, `running`, `backing_off`, `quarantined`, `stopped`.
    #[schema(value_type = String)]
    pub state: ActorState,
    /// How often it was created.
    pub generation: u64,
    /// How often it was restarted after a failure.
    pub restarts: u64,
    /// Messages waiting.
    pub queue_depth: usize,
    /// Messages that can wait.
    pub queue_capacity: usize,
    /// Age of the oldest one.
    pub queue_oldest_age_ms: u64,
    /// Messages handled.
    pub handled: u64,
    /// Records set aside.
    pub dead_letters: u64,
    /// Messages refused.
    pub refused: u64,
    /// Why it last failed.
    pub last_error: Option<String>,
    /// Time since its last sign of progress.
    pub last_progress_at_age_ms: u64,
}

/// State, restarts and queues of every supervised actor.
#[utoipa::path(
    get, path = "/api/v1/system/actors", tag = "operations",
    responses((status = 200, description = "Actors", body = ActorsView)),
    security(("bearer" = ["system:read"]))
)]
pub async fn actors(caller: Caller, state: AppState) -> Result<HttpResponse, Problem> {
    caller.require(Scope::SystemRead)?;
    let mut actors: Vec<ActorView> = state.engine.system().list().into_iter().map(ActorView::of).collect();
    actors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(HttpResponse::Ok().json(ActorsView { actors }))
}

/// Which actor to release.
#[derive(Deserialize, ToSchema)]
pub struct ReleaseRequest {
    /// Its name, as `GET /api/v1/system/actors` gives it.
    actor: String,
}

/// Releases an actor that was quarantined after a crash loop. It starts anew and goes on with what waits in its queue.
#[utoipa::path(
    post, path = "/api/v1/system/actors/release", tag = "operations", request_body = ReleaseRequest,
    responses(
        (status = 204, description = "Released; whether it works again is in its state"),
        (status = 409, description = "It is not quarantined"),
    ),
    security(("bearer" = ["system:manage"]))
)]
pub async fn release(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::SystemManage)?;
    let sent: ReleaseRequest = parse::json_body(req.headers(), &body)?;
    state.engine.release(&sent.actor).await?;
    Ok(HttpResponse::NoContent().finish())
}

impl ActorView {
    fn of(status: ActorStatus) -> Self {
        Self {
            name: status.name,
            kind: status.kind,
            state: status.state,
            generation: status.generation,
            restarts: status.restarts,
            queue_depth: status.queue_depth,
            queue_capacity: status.queue_capacity,
            queue_oldest_age_ms: status.queue_oldest_age_ms,
            handled: status.handled,
            dead_letters: status.dead_letters,
            refused: status.refused,
            last_error: status.last_error,
            last_progress_at_age_ms: status.last_progress_at_age_ms,
        }
    }
}
