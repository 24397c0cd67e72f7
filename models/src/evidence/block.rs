//! Blocks: records sealed, chained to the block before and signed.

use super::rows::{rows, write_rows};
use super::{BLOCK_RECORDS_MAX, ChainId, FURTHER_MAX, Further, LookupRecord, Row, SUBJECT_BYTES, Subject, sha256};
use crate::ts::{Ts, micros};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

const LABEL: &[u8] = b"mlinzi evidence 1\0";
/// A slot and a subject.
const FURTHER_BYTES: usize = 2 + SUBJECT_BYTES;

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

/// Whom the lookups of a block were about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct People {
    /// The strongest key of each lookup, in the order of the slots.
    pub subjects: Vec<Subject>,
    /// Whatever else they were asked by, in the order of the slots.
    pub further: Vec<Further>,
}

impl People {
    fn of_bytes(plain: &[u8], records: usize) -> Option<Self> {
        let (subjects, further) = plain.split_at_checked(records * SUBJECT_BYTES)?;
        let (further, rest) = further.as_chunks::<FURTHER_BYTES>();
        if !rest.is_empty() {
            return None;
        }
        let subjects = subjects.as_chunks::<SUBJECT_BYTES>().0.iter().map(|bytes| Subject::from_bytes(*bytes));
        let read = |bytes: &[u8; FURTHER_BYTES]| {
            let (slot, subject) = bytes.split_first_chunk::<2>()?;
            let slot = u16::from_be_bytes(*slot);
            let subject = Subject::from_bytes(*subject.first_chunk()?)?;
            (usize::from(slot) < records).then_some(Further { slot, subject })
        };
        Some(Self {
            subjects: subjects.collect::<Option<_>>()?,
            further: further.iter().map(read).collect::<Option<_>>()?,
        })
    }

    /// Every key that the lookup in a slot was asked by, the strongest first.
    pub fn of(&self, slot: u16) -> impl Iterator<Item = Subject> {
        let further = self.further.iter().filter(move |further| further.slot == slot).map(|further| further.subject);
        self.subjects.get(usize::from(slot)).copied().into_iter().chain(further)
    }
}

/// Seals records, and what else they were asked by, into the next block of a chain.
///
/// # Errors
/// [`BlockError::Sealed`] where the key cannot be used; [`BlockError::Unreadable`] for no records or too many.
pub fn seal(
    chain: ChainId,
    no: u64,
    before: [u8; 32],
    records: &[LookupRecord],
    further: &[Further],
    month: &MonthKey,
    signer: &Ed25519KeyPair,
) -> Result<Block, BlockError> {
    if records.is_empty() || records.len() > BLOCK_RECORDS_MAX || further.len() > records.len() * FURTHER_MAX {
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
    let mut people = Vec::with_capacity(records.len() * SUBJECT_BYTES + further.len() * FURTHER_BYTES + 16);
    records.iter().for_each(|record| people.extend_from_slice(&record.subject.to_bytes()));
    for further in further {
        people.extend_from_slice(&further.slot.to_be_bytes());
        people.extend_from_slice(&further.subject.to_bytes());
    }
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    let key = month.block_key(&head)?;
    key.seal_in_place_append_tag(nonce, Aad::from(head.to_bytes()), &mut people).map_err(|_| BlockError::Sealed)?;
    let digest = head.digest(&before, &sha256(&rows), &sha256(&people));
    let signature = signer.sign(&digest).as_ref().to_vec();
    Ok(Block { head, rows, people, before, digest, signature })
}

impl Block {
    /// What was answered, in the order of the slots.
    ///
    /// # Errors
    /// [`BlockError::Unreadable`].
    pub fn rows(&self) -> Result<Vec<Row>, BlockError> {
        rows(&self.rows, self.head.records)
    }

    /// Whom it was about.
    ///
    /// # Errors
    /// [`BlockError::Sealed`].
    pub fn people(&self, month: &MonthKey) -> Result<People, BlockError> {
        let mut people = self.people.clone();
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let key = month.block_key(&self.head)?;
        let plain =
            key.open_in_place(nonce, Aad::from(self.head.to_bytes()), &mut people).map_err(|_| BlockError::Sealed)?;
        People::of_bytes(plain, self.head.records as usize).ok_or(BlockError::Sealed)
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
