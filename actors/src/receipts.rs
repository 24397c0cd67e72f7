//! Receipts: one lookup, proven to somebody who does not trust the asker.
//!
//! A JWS (RFC 7515, compact, EdDSA of RFC 8037) binds operator, person's token, purpose, decision and time to the place
//! in the chain of evidence where the same stands. The key is the one that signs the journal's checkpoints; its public
//! half is at `/.well-known/jwks.json`.

use crate::api::EngineError;
use crate::evidence::EvidenceLog;
use crate::jws::{self, JwsError};
use crate::register::unavailable;
use crate::secrets::hex;
use data_encoding::BASE64URL_NOPAD;
use models::evidence::{Block, ChainId, Credential, People, Place, Route, Row, Subject};
use models::exclusion::Status;
use models::ids::{LookupId, OperatorId, Seq};
use models::lookup::{Decision, MatchGrade, Purpose};
use models::token::{self, TokenKey};
use models::ts::Ts;
use ring::signature::Ed25519KeyPair;
use serde::{Deserialize, Serialize};
use store::Store;

/// What a receipt says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Who says it: always `mlinzi`.
    pub iss: String,
    /// The lookup.
    pub jti: LookupId,
    /// When it was answered, seconds since the epoch.
    pub iat: i64,
    /// The same with milliseconds.
    pub at: Ts,
    /// Who asked; null for the regulator's own tools.
    pub operator: Option<OperatorId>,
    /// The operator's token of the person.
    pub sub: String,
    /// The operator's tokens of whatever else was supplied with the lookup, under the same key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// What for.
    pub purpose: Purpose,
    /// What was told.
    pub decision: Decision,
    /// What the register said.
    pub status: Status,
    /// How sure the match was.
    pub grade: MatchGrade,
    /// How it came in.
    pub route: Route,
    /// Everything committed until then was part of the answer.
    pub as_of: Ts,
    /// Sequence of the register's last change.
    pub register_version: Seq,
    /// Whether the register was older than it should be.
    pub degraded: bool,
    /// Where it lies.
    pub evidence: EvidencePlace,
}

/// Where a lookup lies in the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct EvidencePlace {
    #[serde(flatten)]
    pub chain: ChainId,
    pub block: u64,
    pub slot: u16,
    /// Digest of the block, in hex.
    pub digest: String,
}

/// The answer of a row, told to its operator.
///
/// # Errors
/// [`EngineError::Gone`] where the key of the month is destroyed; [`EngineError::Unavailable`] for a block that cannot
/// be read.
pub fn receipt(
    block: &Block,
    row: &Row,
    slot: u16,
    people: Option<&People>,
    operator: Option<OperatorId>,
    token_keys: &[TokenKey],
) -> Result<Receipt, EngineError> {
    let broken = || EngineError::Unavailable("the receipt: its evidence cannot be read");
    let people = people.ok_or(EngineError::Gone("whom the lookup was about is no longer known"))?;
    // the very token that was answered, or none
    let current = token_keys.iter().find(|key| key.version() == row.token_key_version);
    let current = current.ok_or(EngineError::Unavailable("the receipt: the token's key is not kept any more"))?;
    let named = |s: Subject| token::encode(current, s.kind, s.digest_version, s.generation, s.key);
    let tokens = people.of(slot).map(|subject| named(subject).map(|token| token.to_string()));
    let mut tokens = tokens.collect::<Result<Vec<_>, _>>().map_err(|_| broken())?.into_iter();
    let sub = tokens.next().ok_or_else(broken)?;
    let place = Place { chain: block.head.chain, block: block.head.no, slot };
    Ok(Receipt {
        iss: "mlinzi".to_owned(),
        jti: place.id(),
        iat: row.at.seconds(),
        at: row.at,
        operator,
        sub,
        also: tokens.collect(),
        purpose: row.purpose,
        decision: row.decision,
        status: row.status,
        grade: row.grade,
        route: row.route,
        as_of: row.basis.as_of,
        register_version: row.basis.register_version,
        degraded: row.basis.degraded,
        evidence: EvidencePlace { chain: place.chain, block: place.block, slot, digest: hex(&block.digest) },
    })
}

/// The receipt's parts as they lie in the store: found, or why not.
pub(crate) async fn find(
    store: &Store,
    evidence: &EvidenceLog,
    id: LookupId,
    asker: Credential,
    public_key: &[u8],
) -> Result<(Block, Row, u16), EngineError> {
    let place = Place::of(id);
    let stored = store.evidence_block(place.chain, place.block).await.map_err(unavailable)?;
    let Some(block) = stored else {
        let pending = evidence.is_pending(place);
        return Err(match pending {
            true => EngineError::Unavailable("the receipt: its evidence is not stored yet"),
            false => EngineError::NotFound("lookup"),
        });
    };
    // what is signed now must be what was signed then: nobody who can write to the database makes receipts
    if block.verify(&block.before, public_key).is_err() {
        tracing::error!(lookup = %id, "a block of evidence is not what was written");
        return Err(EngineError::Unavailable("the receipt: its evidence is not what was written"));
    }
    let rows = block.rows().map_err(|_| EngineError::Unavailable("the receipt: its evidence cannot be read"))?;
    let row = rows.get(usize::from(place.slot)).copied().ok_or(EngineError::NotFound("lookup"))?;
    // a lookup of somebody else does not exist
    let own = asker.operator_no.is_none() || row.credential.operator_no == asker.operator_no;
    if !own || row.credential.jurisdiction != asker.jurisdiction {
        return Err(EngineError::NotFound("lookup"));
    }
    Ok((block, row, place.slot))
}

/// A public key as a JWK (RFC 8037), with its thumbprint (RFC 7638) as `kid`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Jwk {
    pub kty: String,
    pub crv: String,
    pub x: String,
    pub kid: String,
    pub r#use: String,
    pub alg: String,
}

impl Jwk {
    /// Of an Ed25519 key.
    #[must_use]
    pub fn of(public_key: &[u8]) -> Self {
        let x = BASE64URL_NOPAD.encode(public_key);
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let kid = BASE64URL_NOPAD.encode(&models::evidence::sha256(canonical.as_bytes()));
        let text = str::to_owned;
        Self { kty: text("OKP"), crv: text("Ed25519"), x, kid, r#use: text("sig"), alg: text("EdDSA") }
    }

    /// The key itself.
    #[must_use]
    pub fn public_key(&self) -> Option<Vec<u8>> {
        let key = BASE64URL_NOPAD.decode(self.x.as_bytes()).ok()?;
        (self.kty == "OKP" && self.crv == "Ed25519" && key.len() == 32).then_some(key)
    }
}

/// Type of a receipt's JWS.
const TYPE: &str = "mlinzi-receipt+jws";

/// Signs a receipt: compact JWS.
///
/// # Errors
/// None in practice: a struct of texts and numbers serialises.
pub fn sign(receipt: &Receipt, key: &Ed25519KeyPair) -> Result<String, serde_json::Error> {
    jws::sign(TYPE, receipt, key)
}

/// Why a receipt proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not a receipt, or not one that the keys prove.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// The id does not name the place in the chain.
    #[error("its id and its place in the evidence differ")]
    Place,
}

/// Checks a receipt against published keys.
///
/// # Errors
/// [`ReceiptError`].
pub fn verify(text: &str, keys: &[Jwk]) -> Result<Receipt, ReceiptError> {
    let receipt: Receipt = jws::verify(TYPE, text, keys)?;
    let place = Place { chain: receipt.evidence.chain, block: receipt.evidence.block, slot: receipt.evidence.slot };
    if place.id() == receipt.jti { Ok(receipt) } else { Err(ReceiptError::Place) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::KeyPair;

    fn sample() -> Receipt {
        let chain = ChainId { node: 1, boot: 7, worker: 2 };
        let place = Place { chain, block: 9, slot: 3 };
        Receipt {
            iss: "mlinzi".to_owned(),
            jti: place.id(),
            iat: 1_795_255_200,
            at: Ts(1_795_255_200_123_000),
            operator: Some(OperatorId(7)),
            sub: "BST-02-00000000000000000000000000000000-0000".to_owned(),
            also: Vec::new(),
            purpose: Purpose::Login,
            decision: Decision::Allow,
            status: Status::NotExcluded,
            grade: MatchGrade::None,
            route: Route::Single,
            as_of: Ts(1_795_255_200_000_000),
            register_version: 4711,
            degraded: false,
            evidence: EvidencePlace { chain, block: 9, slot: 3, digest: "00".repeat(32) },
        }
    }

    #[test]
    fn a_receipt_verifies_and_no_character_of_it_can_be_changed() {
        let key = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
        let keys = [Jwk::of(key.public_key().as_ref())];
        let jws = sign(&sample(), &key).unwrap();
        assert_eq!(verify(&jws, &keys), Ok(sample()));
        for i in 0..jws.len() {
            for bit in 0..7 {
                let mut bytes = jws.clone().into_bytes();
                bytes[i] ^= 1 << bit;
                let changed = String::from_utf8(bytes).unwrap();
                assert!(verify(&changed, &keys).is_err(), "character {i}, bit {bit}");
            }
        }
        let other = Ed25519KeyPair::from_seed_unchecked(&[6; 32]).unwrap();
        assert_eq!(verify(&jws, &[Jwk::of(other.public_key().as_ref())]), Err(JwsError::Key.into()));
    }

    #[test]
    fn a_receipt_of_another_place_is_refused() {
        let key = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
        let mut receipt = sample();
        receipt.evidence.slot = 4;
        let jws = sign(&receipt, &key).unwrap();
        assert_eq!(verify(&jws, &[Jwk::of(key.public_key().as_ref())]), Err(ReceiptError::Place));
    }

    /// RFC 8037, appendix A.3.
    #[test]
    fn golden_thumbprint() {
        let x = BASE64URL_NOPAD.decode(b"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        assert_eq!(Jwk::of(&x).kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
