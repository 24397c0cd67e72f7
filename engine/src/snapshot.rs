//! States as bytes, to be kept beside what they follow from (docs/adr/0019).

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes that are no state of this layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a state of this layout")]
pub struct SnapshotError;

/// The bytes of a state (postcard), not compressed. The same state gives the same bytes.
///
/// # Errors
/// [`SnapshotError`]
pub fn write<T: Serialize>(state: &T) -> Result<Vec<u8>, SnapshotError> {
    postcard::to_allocvec(state).map_err(|_| SnapshotError)
}

/// The state that bytes are of.
///
/// # Errors
/// [`SnapshotError`]: not all of the bytes are a state's.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, SnapshotError> {
    let (state, rest) = postcard::take_from_bytes(bytes).map_err(|_| SnapshotError)?;
    if rest.is_empty() { Ok(state) } else { Err(SnapshotError) }
}
