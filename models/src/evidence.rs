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
//! | people | AES-256-GCM of 12 bytes a record: the head byte of a token and the match key |
//! | digest | SHA-256 of label, digest before, head, SHA-256 of rows, SHA-256 of people |
//! | signature | Ed25519 over the digest |
//!
//! All numbers are big-endian.

use crate::exclusion::Status;
use crate::ids::{KeyId, LookupId, OperatorNo, Seq};
use crate::jurisdiction::JurisdictionNo;
use crate::lookup::{Decision, MatchGrade, Purpose};
use crate::match_key::{KeyKind, MATCH_KEY_BYTES, MatchKey};
use crate::ts::{Ts, micros};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest as hash};
use ring::hmac;
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Records in a block at most.
pub const BLOCK_RECORDS_MAX: usize = 4_096;
/// Digest before a chain's first block.
pub const GENESIS: [u8; 32] = [0; 32];
/// Bytes of a record among the rows.
const RECORD_BYTES: usize = 24;
/// Bytes of a person.
const SUBJECT_BYTES: usize = 1 + MATCH_KEY_BYTES;
const CREDENTIAL_BYTES: usize = 19;
const FRESHNESS_BYTES: usize = 17;
const VERSION: u8 = 1;
const LABEL: &[u8] = b"mlinzi evidence 1\0";

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

/// Whom a lookup was about: the strongest key that was supplied.
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
    /// Whom it was about.
    pub subject: Subject,
}

const STATUSES: [Status; 4] = [Status::NotExcluded, Status::PreviouslyExcluded, Status::Review, Status::Excluded];
const DECISIONS: [Decision; 3] = [Decision::Allow, Decision::Hold, Decision::Block];
const GRADES: [MatchGrade; 4] = [MatchGrade::None, MatchGrade::Possible, MatchGrade::Strong, MatchGrade::Exact];
const ROUTES: [Route; 3] = [Route::Single, Route::Batch, Route::Register];

fn number<T: PartialEq>(all: &[T], value: &T) -> u32 {
    all.iter().position(|v| v == value).unwrap_or_default() as u32
}

impl Row {
    fn codes(&self) -> u32 {
        number(&Purpose::ALL, &self.purpose)
            | number(&STATUSES, &self.status) << 4
            | number(&DECISIONS, &self.decision) << 8
            | number(&GRADES, &self.grade) << 12
            | number(&ROUTES, &self.route) << 16
            | u32::from(self.token_key_version) << 24
    }
}

/// What is known of a block without looking into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockHead {
    /// Whose.
    pub chain: ChainId,
    /// Position in the chain, from 0.
    pub no: u64,
    /// Earliest answer.
    #[serde(with = "micros")]
    pub first_at: Ts,
    /// Latest answer.
    #[serde(with = "micros")]
    pub last_at: Ts,
    /// Number of records.
    pub records: u32,
    /// Month of the sealing key, `yyyymm`.
    pub month: u32,
}

impl BlockHead {
    fn to_bytes(self) -> [u8; 40] {
        let mut out = [0; 40];
        out[..2].copy_from_slice(&self.chain.node.to_be_bytes());
        out[2..6].copy_from_slice(&self.chain.boot.to_be_bytes());
        out[6..8].copy_from_slice(&self.chain.worker.to_be_bytes());
        out[8..16].copy_from_slice(&self.no.to_be_bytes());
        out[16..24].copy_from_slice(&self.first_at.0.to_be_bytes());
        out[24..32].copy_from_slice(&self.last_at.0.to_be_bytes());
        out[32..36].copy_from_slice(&self.records.to_be_bytes());
        out[36..].copy_from_slice(&self.month.to_be_bytes());
        out
    }

    /// Digest of the block, from the digests of its halves.
    #[must_use]
    pub fn digest(&self, before: &[u8; 32], rows: &[u8; 32], people: &[u8; 32]) -> [u8; 32] {
        let mut text = [0; 18 + 32 + 40 + 32 + 32];
        text[..18].copy_from_slice(LABEL);
        text[18..50].copy_from_slice(before);
        text[50..90].copy_from_slice(&self.to_bytes());
        text[90..122].copy_from_slice(rows);
        text[122..].copy_from_slice(people);
        sha256(&text)
    }
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

/// A sealed block, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What is known without looking into it.
    pub head: BlockHead,
    /// What was answered.
    pub rows: Vec<u8>,
    /// Whom it was about, sealed.
    pub people: Vec<u8>,
    /// Digest of the block before.
    pub before: [u8; 32],
    /// Digest of this block.
    pub digest: [u8; 32],
    /// Ed25519 over the digest.
    pub signature: Vec<u8>,
}

/// Why a block is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The bytes have not the form of a block.
    #[error("block cannot be read")]
    Unreadable,
    /// Its content does not fit its digest, or it does not follow the block before.
    #[error("block does not fit the chain")]
    Chain,
    /// Not signed by this key.
    #[error("block has a bad signature")]
    Signature,
    /// The people do not open: another key, or changed bytes.
    #[error("people of the block do not open")]
    Sealed,
}

/// The key of a month.
pub struct MonthKey {
    /// `yyyymm`.
    pub month: u32,
    key: hmac::Key,
}

impl MonthKey {
    /// From 32 random bytes.
    #[must_use]
    pub fn new(month: u32, secret: &[u8; 32]) -> Self {
        Self { month, key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// The key of one block: it seals one message only, so its nonce is constant.
    fn block_key(&self, head: &BlockHead) -> Result<LessSafeKey, BlockError> {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(LABEL);
        context.update(&head.to_bytes()[..16]);
        let key = UnboundKey::new(&AES_256_GCM, context.sign().as_ref()).map_err(|_| BlockError::Sealed)?;
        Ok(LessSafeKey::new(key))
    }
}

/// Month of an instant, `yyyymm` in UTC.
#[must_use]
pub fn month_of(at: Ts) -> u32 {
    let text = at.format_millis();
    let digits = |range: std::ops::Range<usize>| text[range].iter().fold(0, |n, d| n * 10 + u32::from(d - b'0'));
    digits(0..4) * 100 + digits(5..7)
}

/// Seals records into the next block of a chain.
///
/// # Errors
/// [`BlockError::Sealed`] where the key cannot be used; [`BlockError::Unreadable`] for no records or too many.
pub fn seal(
    chain: ChainId,
    no: u64,
    before: [u8; 32],
    records: &[LookupRecord],
    month: &MonthKey,
    signer: &Ed25519KeyPair,
) -> Result<Block, BlockError> {
    if records.is_empty() || records.len() > BLOCK_RECORDS_MAX {
        return Err(BlockError::Unreadable);
    }
    let times = || records.iter().map(|r| r.row.at);
    let head = BlockHead {
        chain,
        no,
        first_at: times().min().unwrap_or_default(),
        last_at: times().max().unwrap_or_default(),
        records: records.len() as u32,
        month: month.month,
    };
    let rows = write_rows(records);
    let mut people = Vec::with_capacity(records.len() * SUBJECT_BYTES + 16);
    records.iter().for_each(|record| people.extend_from_slice(&record.subject.to_bytes()));
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    let key = month.block_key(&head)?;
    key.seal_in_place_append_tag(nonce, Aad::from(head.to_bytes()), &mut people).map_err(|_| BlockError::Sealed)?;
    let digest = head.digest(&before, &sha256(&rows), &sha256(&people));
    let signature = signer.sign(&digest).as_ref().to_vec();
    Ok(Block { head, rows, people, before, digest, signature })
}

/// Values numbered in the order of their first appearance.
struct Numbered<T> {
    places: HashMap<T, u16>,
    last: Option<(T, u16)>,
}

impl<T: Copy + Eq + std::hash::Hash> Numbered<T> {
    fn new() -> Self {
        Self { places: HashMap::new(), last: None }
    }

    fn number(&mut self, value: T, write: impl FnOnce()) -> u16 {
        if let Some((_, number)) = self.last.filter(|(last, _)| *last == value) {
            return number;
        }
        let next = self.places.len() as u16;
        let number = *self.places.entry(value).or_insert_with(|| {
            write();
            next
        });
        self.last = Some((value, number));
        number
    }
}

fn write_rows(records: &[LookupRecord]) -> Vec<u8> {
    let (mut credentials, mut bases) = (Numbered::new(), Numbered::new());
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let mut third = Vec::with_capacity(records.len() * RECORD_BYTES);
    for LookupRecord { row, .. } in records {
        let c = row.credential;
        let credential = credentials.number(c, || {
            first.extend_from_slice(&c.key.0.to_be_bytes());
            first.extend_from_slice(&c.operator_no.map_or(0, |no| no.0).to_be_bytes());
            first.push(c.jurisdiction.0);
        });
        let b = row.basis;
        let basis = bases.number(b, || {
            second.extend_from_slice(&b.as_of.0.to_be_bytes());
            second.extend_from_slice(&b.register_version.to_be_bytes());
            second.push(u8::from(b.degraded));
        });
        third.extend_from_slice(&row.at.0.to_be_bytes());
        third.extend_from_slice(&credential.to_be_bytes());
        third.extend_from_slice(&basis.to_be_bytes());
        third.extend_from_slice(&row.codes().to_be_bytes());
        third.extend_from_slice(&row.reference.to_be_bytes());
    }
    let mut out = Vec::with_capacity(5 + first.len() + second.len() + third.len());
    out.push(VERSION);
    out.extend_from_slice(&(credentials.places.len() as u16).to_be_bytes());
    out.append(&mut first);
    out.extend_from_slice(&(bases.places.len() as u16).to_be_bytes());
    out.append(&mut second);
    out.append(&mut third);
    out
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
}

fn read_rows(rows: &[u8], records: u32) -> Option<Vec<Row>> {
    let mut r = Reader(rows);
    if r.take::<1>()? != [VERSION] {
        return None;
    }
    let count = usize::from(u16::from_be_bytes(r.take()?));
    if r.0.len() < count * CREDENTIAL_BYTES {
        return None;
    }
    let mut credentials = Vec::with_capacity(count);
    for _ in 0..count {
        let key = KeyId(u128::from_be_bytes(r.take()?));
        let operator_no = Some(u16::from_be_bytes(r.take()?)).filter(|no| *no != 0).map(OperatorNo);
        let [jurisdiction] = r.take()?;
        credentials.push(Credential { key, operator_no, jurisdiction: JurisdictionNo(jurisdiction) });
    }
    let count = usize::from(u16::from_be_bytes(r.take()?));
    if r.0.len() < count * FRESHNESS_BYTES {
        return None;
    }
    let mut bases = Vec::with_capacity(count);
    for _ in 0..count {
        let (as_of, version) = (Ts(i64::from_be_bytes(r.take()?)), i64::from_be_bytes(r.take()?));
        bases.push(Basis { as_of, register_version: version, degraded: r.take::<1>()? == [1] });
    }
    if r.0.len() != records as usize * RECORD_BYTES {
        return None;
    }
    let mut out = Vec::with_capacity(records as usize);
    for _ in 0..records {
        let at = Ts(i64::from_be_bytes(r.take()?));
        let credential = *credentials.get(usize::from(u16::from_be_bytes(r.take()?)))?;
        let basis = *bases.get(usize::from(u16::from_be_bytes(r.take()?)))?;
        let codes = u32::from_be_bytes(r.take()?);
        let code = |shift: u32| (codes >> shift & 15) as usize;
        out.push(Row {
            at,
            credential,
            basis,
            purpose: *Purpose::ALL.get(code(0))?,
            status: *STATUSES.get(code(4))?,
            decision: *DECISIONS.get(code(8))?,
            grade: *GRADES.get(code(12))?,
            route: *ROUTES.get(code(16))?,
            token_key_version: (codes >> 24) as u8,
            reference: u64::from_be_bytes(r.take()?),
        });
    }
    Some(out)
}

/// Reads one half of a block.
///
/// # Errors
/// [`BlockError::Unreadable`].
pub fn rows(rows: &[u8], records: u32) -> Result<Vec<Row>, BlockError> {
    read_rows(rows, records).ok_or(BlockError::Unreadable)
}

impl Block {
    /// What was answered, in the order of the slots.
    ///
    /// # Errors
    /// [`BlockError::Unreadable`].
    pub fn rows(&self) -> Result<Vec<Row>, BlockError> {
        rows(&self.rows, self.head.records)
    }

    /// Whom it was about, in the order of the slots.
    ///
    /// # Errors
    /// [`BlockError::Sealed`].
    pub fn subjects(&self, month: &MonthKey) -> Result<Vec<Subject>, BlockError> {
        let mut people = self.people.clone();
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let key = month.block_key(&self.head)?;
        let plain =
            key.open_in_place(nonce, Aad::from(self.head.to_bytes()), &mut people).map_err(|_| BlockError::Sealed)?;
        let (people, rest) = plain.as_chunks::<SUBJECT_BYTES>();
        if !rest.is_empty() || people.len() != self.head.records as usize {
            return Err(BlockError::Sealed);
        }
        people.iter().map(|bytes| Subject::from_bytes(*bytes).ok_or(BlockError::Sealed)).collect()
    }

    /// Is it what was written and signed behind `before`?
    ///
    /// # Errors
    /// [`BlockError::Chain`] or [`BlockError::Signature`].
    pub fn verify(&self, before: &[u8; 32], public_key: &[u8]) -> Result<(), BlockError> {
        let digest = self.head.digest(before, &sha256(&self.rows), &sha256(&self.people));
        if self.before != *before || self.digest != digest {
            return Err(BlockError::Chain);
        }
        verify_signature(&digest, &self.signature, public_key)
    }
}

/// Is a block's digest signed by this key?
///
/// # Errors
/// [`BlockError::Signature`].
pub fn verify_signature(digest: &[u8; 32], signature: &[u8], public_key: &[u8]) -> Result<(), BlockError> {
    UnparsedPublicKey::new(&ED25519, public_key).verify(digest, signature).map_err(|_| BlockError::Signature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ring::signature::KeyPair;

    const CHAIN: ChainId = ChainId { node: 3, boot: 0xdead_beef, worker: 1 };

    fn signer() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap()
    }

    fn record(n: u64) -> LookupRecord {
        let pick = n as usize;
        LookupRecord {
            row: Row {
                at: Ts(1_795_255_200_000_000 + n as i64 * 7),
                credential: Credential {
                    key: KeyId(u128::from(n % 5) << 64 | 9),
                    operator_no: (!n.is_multiple_of(5)).then_some(OperatorNo(n as u16 % 5)),
                    jurisdiction: JurisdictionNo(n as u8 % 2),
                },
                basis: Basis {
                    as_of: Ts(n as i64 / 10),
                    register_version: n as i64 / 20,
                    degraded: n.is_multiple_of(40),
                },
                purpose: Purpose::ALL[pick % 7],
                status: STATUSES[pick % 4],
                decision: DECISIONS[pick % 3],
                grade: GRADES[pick % 4],
                route: ROUTES[pick % 3],
                token_key_version: n as u8,
                reference: n * n,
            },
            subject: Subject {
                kind: KeyKind::ALL[pick % 7],
                digest_version: n as u8 & 3,
                generation: n as u8 & 7,
                key: MatchKey(u128::from(n) << 20),
            },
        }
    }

    fn block(records: u64) -> (Block, Vec<LookupRecord>, MonthKey) {
        let records: Vec<_> = (0..records).map(record).collect();
        let month = MonthKey::new(202_611, &[7; 32]);
        (seal(CHAIN, 11, [1; 32], &records, &month, &signer()).unwrap(), records, month)
    }

    #[test]
    fn a_block_gives_back_what_was_put_in() {
        for count in [1, 2, 100, BLOCK_RECORDS_MAX as u64] {
            let (block, records, month) = block(count);
            let rows: Vec<Row> = records.iter().map(|r| r.row).collect();
            assert_eq!(block.rows().unwrap(), rows);
            let subjects: Vec<Subject> = records.iter().map(|r| r.subject).collect();
            assert_eq!(block.subjects(&month).unwrap(), subjects);
            assert_eq!(block.verify(&[1; 32], signer().public_key().as_ref()), Ok(()));
        }
        let (block, ..) = block(BLOCK_RECORDS_MAX as u64);
        let bytes = (block.rows.len() + block.people.len()) / BLOCK_RECORDS_MAX;
        assert!(bytes <= 40, "{bytes} bytes a record");
    }

    #[test]
    fn one_flipped_bit_anywhere_is_found() {
        let (good, _, month) = block(20);
        let key = signer().public_key().as_ref().to_vec();
        let sound = |b: &Block| b.verify(&[1; 32], &key).is_ok();
        assert!(sound(&good));
        for i in 0..good.rows.len() * 8 {
            let mut bad = good.clone();
            bad.rows[i / 8] ^= 1 << (i % 8);
            assert!(!sound(&bad), "rows bit {i}");
        }
        for i in 0..good.people.len() * 8 {
            let mut bad = good.clone();
            bad.people[i / 8] ^= 1 << (i % 8);
            assert!(!sound(&bad) && bad.subjects(&month).is_err(), "people bit {i}");
        }
        for i in 0..64 * 8 {
            let mut bad = good.clone();
            bad.signature[i / 8] ^= 1 << (i % 8);
            assert!(!sound(&bad), "signature bit {i}");
            let mut bad = good.clone();
            bad.digest[i / 8 % 32] ^= 1 << (i % 8);
            assert!(!sound(&bad));
            let mut bad = good.clone();
            bad.before[i / 8 % 32] ^= 1 << (i % 8);
            assert!(!sound(&bad));
        }
        let heads: [fn(&mut BlockHead); 8] = [
            |h| h.chain.node ^= 1,
            |h| h.chain.boot ^= 1,
            |h| h.chain.worker ^= 1,
            |h| h.no ^= 1,
            |h| h.first_at.0 ^= 1,
            |h| h.last_at.0 ^= 1,
            |h| h.records ^= 1,
            |h| h.month ^= 1,
        ];
        for (i, change) in heads.into_iter().enumerate() {
            let mut bad = good.clone();
            change(&mut bad.head);
            assert!(!sound(&bad) && bad.subjects(&month).is_err(), "head field {i}");
        }
    }

    #[test]
    fn another_key_of_the_month_opens_nothing() {
        let (block, ..) = block(3);
        assert_eq!(block.subjects(&MonthKey::new(202_611, &[8; 32])), Err(BlockError::Sealed));
    }

    #[test]
    fn months_are_of_utc() {
        assert_eq!(month_of(Ts::parse("2026-11-30T23:59:59.999Z").unwrap()), 202_611);
        assert_eq!(month_of(Ts::parse("2026-12-01T00:00:00Z").unwrap()), 202_612);
    }

    proptest! {
        #[test]
        fn an_id_is_a_place(node: u16, boot: u32, worker: u16, block in 0u64..1 << 48, slot: u16) {
            let place = Place { chain: ChainId { node, boot, worker }, block, slot };
            prop_assert_eq!(Place::of(place.id()), place);
            prop_assert_eq!(Place::of(place.id().to_string().parse().unwrap()), place);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, records in 0u32..8) {
            let _ = rows(&bytes, records);
        }
    }
}
