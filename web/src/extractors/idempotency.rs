//! `Idempotency-Key`: a caller that repeats a write because it heard nothing gets the same result.
//!
//! The key is bound to the tenant, the method and the path; only digests leave this file.

use actix_web::HttpRequest;
use actors::api::IdempotencyKey;
use ring::digest::{Context, SHA256, digest};

use super::Caller;
use crate::problem::Problem;

/// Longest key, bytes.
pub const KEY_BYTES_MAX: usize = 255;

fn fixed(digest: ring::digest::Digest) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// The request's key, if it sends one.
///
/// # Errors
/// 422 where it is empty, too long or not visible ASCII.
pub fn idempotency(caller: &Caller, req: &HttpRequest, body: &[u8]) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(header) = req.headers().get("idempotency-key") else { return Ok(None) };
    let key = header.as_bytes();
    let visible = key.iter().all(u8::is_ascii_graphic);
    if key.is_empty() || key.len() > KEY_BYTES_MAX || !visible {
        return Err(Problem::field("Idempotency-Key", format!("1 to {KEY_BYTES_MAX} visible ascii characters")));
    }
    let tenant = caller.entry.key.operator_no.map_or(u32::MAX, |no| u32::from(no.0));
    let mut context = Context::new(&SHA256);
    for part in [
        &tenant.to_be_bytes()[..],
        &[caller.jurisdiction().0],
        req.method().as_str().as_bytes(),
        req.path().as_bytes(),
        key,
    ] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    Ok(Some(IdempotencyKey { key_digest: fixed(context.finish()), body_digest: fixed(digest(&SHA256, body)) }))
}
