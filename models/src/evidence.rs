//! Lookup evidence: what was asked and answered, kept so that it can be proven years later.
//!
//! ```text
//! lookup ─▶ record ─▶ block of a worker ─▶ rows │ people (sealed) ─▶ digest over the block before ─▶ signature
//! ```
//! Every worker of every process has a chain of its own; a lookup's id is the place of its record, so nothing has to be
//! indexed. A block is digested in two halves: an export may leave the half of others out, and the chain still
//! verifies. Whom a lookup was about is sealed under a key of the month (AES-256-GCM, a key of its own for each block);
//! once that key is destroyed the rest of the block still proves that somebody was looked up.
//!
//! | part | bytes |
//! |---|---|
//! | rows | version 1 · credentials: u16 count, each id 16, operator 2, jurisdiction 1 · freshness: u16 count, each as_of 8, version 8, degraded 1 · records: each at 8, credential 2, freshness 2, codes 4, reference 8 |
//! | people | AES-256-GCM of 12 bytes a record: the head byte of a token and the match key of the strongest key that was supplied; then, for each further key of a lookup, its slot 2 and the same 12 bytes |
//! | digest | SHA-256 of label, digest before, head, SHA-256 of rows, SHA-256 of people |
//! | signature | Ed25519 over the digest |
//!
//! All numbers are big-endian.

mod block;
mod rows;
#[cfg(test)]
mod tests;

pub use block::{Block, BlockError, BlockHead, MonthKey, People, month_of, seal, verify_signature};
pub use rows::rows;

use crate::exclusion::Status;
use crate::ids::{KeyId, LookupId, OperatorNo, Seq};
use crate::jurisdiction::JurisdictionNo;
use crate::lookup::{Decision, MatchGrade, Purpose};
use crate::match_key::{KeyKind, MATCH_KEY_BYTES, MatchKey};
use crate::ts::Ts;
use ring::digest::{SHA256, digest as hash};
use serde::{Deserialize, Serialize};

/// Records in a block at most.
pub const BLOCK_RECORDS_MAX: usize = 4_096;
/// Keys of a lookup besides the strongest at most: there are a phone, a document and a token.
pub const FURTHER_MAX: usize = 2;
/// Digest before a chain's first block.
pub const GENESIS: [u8; 32] = [0; 32];
/// Bytes of a person.
const SUBJECT_BYTES: usize = 1 + MATCH_KEY_BYTES;

/// One worker of one process: what has a chain of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChainId {
    /// Number of the node.
    pub node: u16,
    /// Random number of the process.
    pub boot: u32,
    /// Number of the worker.
    pub worker: u16,
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose chain.
    pub chain: ChainId,
    /// Number of the block in it, below 2⁴⁸.
    pub block: u64,
    /// Position in the block.
    pub slot: u16,
}

impl Place {
    /// The id of the lookup that lies there.
    #[must_use]
    pub fn id(self) -> LookupId {
        let chain = u128::from(self.chain.node) << 112
            | u128::from(self.chain.boot) << 80
            | u128::from(self.chain.worker) << 64;
        LookupId(chain | u128::from(self.block & 0xffff_ffff_ffff) << 16 | u128::from(self.slot))
    }

    /// The place that an id names.
    #[must_use]
    pub fn of(id: LookupId) -> Self {
        let bits = id.0;
        Self {
            chain: ChainId { node: (bits >> 112) as u16, boot: (bits >> 80) as u32, worker: (bits >> 64) as u16 },
            block: (bits >> 16) as u64 & 0xffff_ffff_ffff,
            slot: bits as u16,
        }
    }
}

/// How a lookup came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Route {
    Single,
    Batch,
    Register,
}

/// Whom a lookup was about, by one of the keys that were supplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Kind of the key.
    pub kind: KeyKind,
    /// Digest key version.
    pub digest_version: u8,
    /// Generation of the token given.
    pub generation: u8,
    /// The key.
    pub key: MatchKey,
}

impl Subject {
    fn to_bytes(self) -> [u8; SUBJECT_BYTES] {
        let mut out = [0; SUBJECT_BYTES];
        out[0] = self.kind.number() << 5 | (self.digest_version & 3) << 3 | self.generation & 7;
        out[1..].copy_from_slice(&self.key.to_bytes());
        out
    }

    fn from_bytes(bytes: [u8; SUBJECT_BYTES]) -> Option<Self> {
        let mut key = [0; MATCH_KEY_BYTES];
        key.copy_from_slice(&bytes[1..]);
        Some(Self {
            kind: KeyKind::from_number(bytes[0] >> 5)?,
            digest_version: bytes[0] >> 3 & 3,
            generation: bytes[0] & 7,
            key: MatchKey::from_bytes(key),
        })
    }
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Credential {
    /// The key.
    pub key: KeyId,
    /// Its operator; none for staff and tools.
    pub operator_no: Option<OperatorNo>,
    /// Its jurisdiction.
    pub jurisdiction: JurisdictionNo,
}

/// What the answer stood on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Basis {
    /// Everything committed until then.
    pub as_of: Ts,
    /// Sequence of the register's last change.
    pub register_version: Seq,
    /// Older than it should have been.
    pub degraded: bool,
}

/// What was answered, without whom it was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// When.
    pub at: Ts,
    /// To whom.
    pub credential: Credential,
    /// On which basis.
    pub basis: Basis,
    /// What for.
    pub purpose: Purpose,
    /// What the register says.
    pub status: Status,
    /// What was told.
    pub decision: Decision,
    /// How sure the match was.
    pub grade: MatchGrade,
    /// How it came in.
    pub route: Route,
    /// Version of the key that the answer's token was made with.
    pub token_key_version: u8,
    /// First 64 bits of the keyed digest of `client_reference`; 0 = none.
    pub reference: u64,
}

/// One answered lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookupRecord {
    /// What was answered.
    pub row: Row,
    /// Whom it was about: the strongest key that was supplied.
    pub subject: Subject,
}

/// Another key that was supplied with a lookup, and by which the same or another person may have been found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Further {
    /// Place of the lookup in its block.
    pub slot: u16,
    /// The key.
    pub subject: Subject,
}

/// SHA-256 of what comes in pieces.
pub struct Sha256(ring::digest::Context);

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl Sha256 {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(ring::digest::Context::new(&SHA256))
    }

    /// The next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(hash(&SHA256, bytes).as_ref());
    out
}
