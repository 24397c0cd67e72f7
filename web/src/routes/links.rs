//! How a key lets a browser in until people can sign in: a link that works once.

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::http::header;
use models::ts::{SECOND, Ts};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::extractors::{Body, Caller};
use crate::parse::{self, Fields};
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// How long a link waits for its browser where nothing is said, seconds.
const WAIT_SECONDS_DEFAULT: u32 = 300;
/// How long it may wait at most, seconds.
const WAIT_SECONDS_MAX: u32 = 86_400;

/// A link to make.
#[derive(Default, Deserialize, ToSchema)]
pub struct LinkRequest {
    /// Seconds until it is too old to be used, 300 by default, at most 86400.
    #[serde(default)]
    expires_in_seconds: Option<u32>,
}

/// A link for one browser.
#[derive(Serialize, ToSchema)]
pub struct LinkView {
    /// Path and query; put this server's address before it.
    pub path: String,
    /// First instant at which it is too old.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Ts,
}

/// Makes a link that signs one browser in to the screen, with what the key may watch and for as long as the key lives.
#[utoipa::path(
    post, path = "/api/v1/links", tag = "live", request_body = LinkRequest,
    responses((status = 201, description = "Works once", body = LinkView)),
    security(("bearer" = ["market:read"]), ("bearer" = ["system:read"]), ("bearer" = ["feeds:manage"]), ("bearer" = ["feeds:write"]))
)]
pub async fn create(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    let nothing = || Problem::new(Code::Forbidden, "the key has no scope that shows a topic");
    let rights = caller.rights().ok_or_else(nothing)?;
    let sent: LinkRequest =
        if body.is_empty() { LinkRequest::default() } else { parse::json_body(req.headers(), &body)? };
    let seconds = sent.expires_in_seconds.unwrap_or(WAIT_SECONDS_DEFAULT);
    let mut fields = Fields::default();
    if !(1..=WAIT_SECONDS_MAX).contains(&seconds) {
        fields.wrong("/expires_in_seconds", "not from 1 to 86400");
    }
    fields.check()?;
    let expires_at = caller.now.plus(i64::from(seconds) * SECOND);
    let token = state.links.make(rights, Some(caller.entry.key.id), expires_at);
    let view = LinkView { path: format!("/?t={token}"), expires_at };
    Ok(HttpResponse::Created().insert_header((header::CACHE_CONTROL, "no-store")).json(view))
}
