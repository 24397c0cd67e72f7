//! Statements that prove themselves: a JWS (RFC 7515, compact, EdDSA of RFC 8037) with a type, under the regulator's key.

use crate::receipts::Jwk;
use data_encoding::BASE64URL_NOPAD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

/// Why a text proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Not a compact JWS of this type.
    #[error("not a statement of this type")]
    Malformed,
    /// Signed by a key that is not among those given.
    #[error("signed by an unknown key")]
    Key,
    /// Changed, or signed by another.
    #[error("bad signature")]
    Signature,
}

/// Signs a statement.
///
/// # Errors
/// What cannot be written as JSON.
pub fn sign<T: Serialize>(typ: &str, statement: &T, key: &Ed25519KeyPair) -> Result<String, serde_json::Error> {
    let kid = Jwk::of(key.public_key().as_ref()).kid;
    let header = Header { alg: "EdDSA".to_owned(), kid, typ: typ.to_owned() };
    let mut text = BASE64URL_NOPAD.encode(&serde_json::to_vec(&header)?);
    text.push('.');
    text.push_str(&BASE64URL_NOPAD.encode(&serde_json::to_vec(statement)?));
    let signature = key.sign(text.as_bytes());
    text.push('.');
    text.push_str(&BASE64URL_NOPAD.encode(signature.as_ref()));
    Ok(text)
}

/// The type that a text says it is of, not proven yet.
#[must_use]
pub fn typ(text: &str) -> Option<String> {
    let header = text.trim().split_once('.')?.0;
    let header: Header = serde_json::from_slice(&BASE64URL_NOPAD.decode(header.as_bytes()).ok()?).ok()?;
    Some(header.typ)
}

/// Checks a statement of a type against published keys.
///
/// # Errors
/// [`JwsError`]
pub fn verify<T: DeserializeOwned>(typ: &str, text: &str, keys: &[Jwk]) -> Result<T, JwsError> {
    let (signed, signature) = text.trim().rsplit_once('.').ok_or(JwsError::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(JwsError::Malformed)?;
    let part = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| JwsError::Malformed);
    let header: Header = serde_json::from_slice(&part(header)?).map_err(|_| JwsError::Malformed)?;
    if header.alg != "EdDSA" || header.typ != typ {
        return Err(JwsError::Malformed);
    }
    let known = keys.iter().find(|key| key.kid == header.kid).and_then(Jwk::public_key).ok_or(JwsError::Key)?;
    let signature = part(signature)?;
    UnparsedPublicKey::new(&ED25519, known).verify(signed.as_bytes(), &signature).map_err(|_| JwsError::Signature)?;
    serde_json::from_slice(&part(payload)?).map_err(|_| JwsError::Malformed)
}
