//! A write that is repeated under its `Idempotency-Key` is not made again.
//!
//! Stored are digests of key and body, the status and the result's id, in the same commit as the write itself; after
//! a day they are forgotten.

use crate::api::{EngineError, IdempotencyKey};
use crate::register::unavailable;
use models::ts::{DAY, Ts};
use std::fmt::Display;
use store::{Attachment, IdempotencyRow, IdempotencyStored, Store};

/// What an earlier write under the key led to; none where there was none.
///
/// # Errors
/// [`EngineError::Conflict`] where the key was used with another body.
pub async fn earlier(
    store: &Store,
    key: Option<&IdempotencyKey>,
    now: Ts,
) -> Result<Option<IdempotencyStored>, EngineError> {
    let Some(key) = key else { return Ok(None) };
    let stored = store.idempotency(&key.key_digest, now).await.map_err(unavailable)?;
    if stored.as_ref().is_some_and(|stored| stored.body_digest != key.body_digest) {
        return Err(EngineError::Conflict("this idempotency key was used with another body".to_owned()));
    }
    Ok(stored)
}

/// What goes with the commit of a write under a key.
pub fn attachment(key: Option<&IdempotencyKey>, status: u16, result: impl Display, now: Ts) -> Option<Attachment> {
    key.map(|key| {
        Attachment::Idempotency(IdempotencyRow {
            key_digest: key.key_digest,
            body_digest: key.body_digest,
            status,
            result_id: result.to_string(),
            expires_at: now.plus(DAY),
        })
    })
}
