//! Tokens (BST): an operator's own names of people. Made of what identifies the person, kept nowhere.

use actix_web::{HttpRequest, HttpResponse};
use actors::directory::KeyEntry;
use engine::register::index::LookupKey;
use models::operator::Scope;
use models::token::{Opened, Token, TokenError};
use models::ts::Ts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::extractors::idempotency::idempotency;
use crate::extractors::{Body, Caller};
use crate::lookup::LookupRequest;
use crate::lookup::question::{Asker, Question, open_any, token_of};
use crate::parse;
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// A token.
#[derive(Serialize, ToSchema)]
pub struct TokenView {
    /// The caller's own token of the person.
    pub bst: String,
    /// What it was made of: the strongest identifier, a document before a phone.
    pub kind: &'static str,
    /// Grows each time the token is replaced, 0 to 7.
    pub generation: u8,
    /// Version of the key that identifiers are digested with.
    pub digest_version: u8,
    /// Version of the key that tokens are made with.
    pub token_key_version: u8,
}

impl TokenView {
    fn of(entry: &KeyEntry, key: LookupKey, generation: u8) -> Result<Self, Problem> {
        let (bst, token_key_version) = token_of(entry, key, generation)?;
        let (kind, digest_version) = (key.kind.as_str(), key.digest_version);
        Ok(Self { bst: bst.to_string(), kind, generation, digest_version, token_key_version })
    }

    /// The one that is live.
    fn live(asker: &Asker<'_>, key: LookupKey) -> Result<Self, Problem> {
        Self::of(asker.entry, key, asker.directory.generation(asker.entry.key.operator_no, key.key))
    }
}

/// What a token was made of.
fn key_of(opened: &Opened) -> LookupKey {
    LookupKey { kind: opened.kind, digest_version: opened.digest_version, key: opened.key }
}

/// A token to look at.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// The caller's own token.
    #[serde(default)]
    bst: Option<String>,
}

/// What a token is.
#[derive(Serialize, ToSchema)]
pub struct ValidityView {
    /// May it be used?
    pub valid: bool,
    /// Why not: `malformed`, `checksum`, `not_yours`, `not_live`.
    pub reason: Option<&'static str>,
    /// What it was made of, where it is the caller's.
    pub kind: Option<&'static str>,
    /// Its generation.
    pub generation: Option<u8>,
    /// Version of the digest key.
    pub digest_version: Option<u8>,
    /// Version of the token key.
    pub token_key_version: Option<u8>,
}

/// A token to replace.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateTokenRequest {
    /// The caller's own token, live.
    #[serde(default)]
    bst: Option<String>,
    /// `compromised` (default) or `requested`.
    #[serde(default)]
    reason: Option<String>,
}

/// A time a token was replaced.
#[derive(Serialize, ToSchema)]
pub struct RotationView {
    /// The generation that began.
    pub generation: u8,
    /// `compromised` or `requested`.
    pub reason: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Ts,
}

/// How a token has been used.
#[derive(Serialize, ToSchema)]
pub struct TokenHistoryView {
    /// The token that is live now.
    pub bst: String,
    /// When the caller's operator asked about the person by this identifier for the first time.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_used_at: Option<Ts>,
    /// For the last time, exact to the day.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Ts>,
    /// Everything answered until then is counted.
    #[schema(value_type = String, format = DateTime)]
    pub as_of: Ts,
    /// When it was replaced, oldest first.
    pub rotations: Vec<RotationView>,
}

/// The caller's token of a person, whether the register knows the person or not. Says nothing of any exclusion.
#[utoipa::path(
    post, path = "/api/v1/bst/generate", tag = "tokens", request_body = LookupRequest,
    responses((status = 200, description = "The token; the fields of a lookup that do not identify anybody are not taken", body = TokenView)),
    security(("bearer" = ["lookup"]))
)]
pub async fn generate(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::Lookup)?;
    parse::require_json(req.headers())?;
    let directory = state.engine.directory();
    let asker = caller.asker(&directory);
    let key = Question::identifier(&asker, &state, &parse::json(&body)?)?;
    Ok(HttpResponse::Ok().json(TokenView::live(&asker, key)?))
}

/// Whether a token may be used. Not a lookup: it says nothing of the person.
#[utoipa::path(
    post, path = "/api/v1/bst/validate", tag = "tokens", request_body = TokenRequest,
    responses((status = 200, description = "What it is", body = ValidityView)),
    security(("bearer" = ["lookup"]))
)]
pub async fn validate(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::Lookup)?;
    let sent: TokenRequest = parse::json_body(req.headers(), &body)?;
    let text = sent.bst.ok_or_else(|| Problem::field("/bst", "a token is needed"))?;
    let directory = state.engine.directory();
    let asker = caller.asker(&directory);
    let view = match read(&asker, &state, &text) {
        Ok((opened, live)) => ValidityView {
            valid: live,
            reason: (!live).then_some("not_live"),
            kind: Some(opened.kind.as_str()),
            generation: Some(opened.generation),
            digest_version: Some(opened.digest_version),
            token_key_version: Some(opened.token_key_version),
        },
        Err(error) => ValidityView {
            valid: false,
            reason: Some(match error {
                TokenError::Checksum => "checksum",
                TokenError::Unknown => "not_yours",
                TokenError::Malformed | TokenError::Range => "malformed",
            }),
            kind: None,
            generation: None,
            digest_version: None,
            token_key_version: None,
        },
    };
    Ok(HttpResponse::Ok().json(view))
}

/// Replaces a token by one of the next generation; the old one is 410 from then on.
#[utoipa::path(
    post, path = "/api/v1/bst/rotate", tag = "tokens", request_body = RotateTokenRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Same key and body within 24 h: replaced once")),
    responses((status = 201, description = "The new token", body = TokenView), (status = 410, description = "Replaced already"),
        (status = 409, description = "Replaced seven times: all tokens have to be replaced by a new token key")),
    security(("bearer" = ["bst:rotate"]))
)]
pub async fn rotate(
    caller: Caller,
    state: AppState,
    req: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::BstRotate)?;
    let sent: RotateTokenRequest = parse::json_body(req.headers(), &body)?;
    let reason = match sent.reason.as_deref() {
        None | Some("compromised") => "compromised",
        Some("requested") => "requested",
        Some(_) => return Err(Problem::field("/reason", "neither compromised nor requested")),
    };
    let text = sent.bst.ok_or_else(|| Problem::field("/bst", "a token is needed"))?;
    let once = idempotency(&caller, &req, &body)?;
    let opened = {
        let directory = state.engine.directory();
        let asker = caller.asker(&directory);
        own(&asker, &state, &text)?
    };
    let generation = state.engine.rotate_token(caller.entry.key.operator_no, opened, reason, once).await?;
    Ok(HttpResponse::Created().json(TokenView::of(&caller.entry, key_of(&opened), generation)?))
}

/// How a token has been used and replaced, by the caller's operator. The lookups themselves are in the evidence.
#[utoipa::path(
    get, path = "/api/v1/bst/{token}/history", tag = "tokens",
    params(("token" = String, Path, description = "The caller's own token, also one that was replaced")),
    responses((status = 200, description = "Its history", body = TokenHistoryView)),
    security(("bearer" = ["lookup"]))
)]
pub async fn history(caller: Caller, state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    caller.require(Scope::Lookup)?;
    let operator = caller.operator.as_ref().ok_or_else(|| {
        Problem::new(Code::Forbidden, "contacts are kept of operators: staff have no tokens of their own to look up")
    })?;
    let (view, opened) = {
        let directory = state.engine.directory();
        let asker = caller.asker(&directory);
        let opened = own(&asker, &state, req.match_info().get("token").unwrap_or_default())?;
        (TokenView::live(&asker, key_of(&opened))?, opened)
    };
    let as_of = state.engine.contacts_through();
    let store = state.engine.store();
    let contact = store.contact(operator.operator_no, opened.key).await.map_err(actors::register::unavailable)?;
    let replaced = store.token_generations_of(operator.operator_no, opened.key).await;
    let rotations = replaced
        .map_err(actors::register::unavailable)?
        .into_iter()
        .map(|r| RotationView { generation: r.generation, reason: r.reason, at: r.at })
        .collect();
    let (first_used_at, last_used_at) = contact.unzip();
    Ok(HttpResponse::Ok().json(TokenHistoryView { bst: view.bst, first_used_at, last_used_at, as_of, rotations }))
}

/// A token of the caller's own, of whatever generation.
fn own(asker: &Asker<'_>, state: &AppState, text: &str) -> Result<Opened, Problem> {
    Ok(read(asker, state, text)?.0)
}

/// A token of the caller's own, and whether it is live.
fn read(asker: &Asker<'_>, state: &AppState, text: &str) -> Result<(Opened, bool), TokenError> {
    Token::parse(text).and_then(|token| open_any(asker, &state.engine.keys().digest, &token))
}
