//! Evidence for a case: a file that proves itself, read by somebody who has neither the database nor our trust.
//!
//! One JSON object a line: what the file is, the blocks of every chain that reach into the span in their order, gaps, the
//! lookups of the one operator it is about, and a signature over everything before it. Blocks in which the operator
//! does not appear are there by their digests only. Blocks in which it does are whole, because a block is proven as a
//! whole: they show when and for what its neighbours in the block were asked about, by number, not about whom; whoever
//! hands a file to a third party should know that. That the token of a lookup is the one of the sealed person is what the
//! regulator's signature says; everything else the verifier computes anew.

use crate::evidence::{Months, people_of};
use crate::receipts::{Jwk, Receipt, receipt};
use crate::secrets::hex;
use data_encoding::{BASE64, HEXLOWER};
use models::evidence::{Block, BlockError, BlockHead, ChainId, GENESIS, rows, sha256, verify_signature};
use models::ids::{OperatorId, OperatorNo};
use models::token::TokenKey;
use models::ts::Ts;
use ring::digest::{Context, SHA256};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Write};
use store::Store;

/// Blocks read at once.
const CHUNK: u32 = 64;
/// Longest line of a file that is looked at: a full block takes a third of it.
const LINE_BYTES_MAX: u64 = 2 << 20;
/// Version of the format.
const FORMAT: u32 = 1;

/// What a file is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExportHead {
    /// Version of the format.
    pub mlinzi_evidence: u32,
    /// The case, as its owner names it.
    pub case: String,
    /// About whose lookups.
    pub operator: OperatorId,
    /// The same inside the blocks.
    pub operator_no: u16,
    /// Start of the span.
    pub from: Ts,
    /// End of the span, not part of it.
    pub to: Ts,
    /// When it was taken out.
    pub exported_at: Ts,
    /// Public keys under which blocks and file are signed.
    pub keys: Vec<Jwk>,
}

#[derive(Serialize, Deserialize)]
struct ExportedBlock {
    #[serde(flatten)]
    head: BlockHead,
    before: String,
    digest: String,
    signature: String,
    answers_sha256: String,
    people_sha256: String,
    /// Only where the operator appears.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answers: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    people: Option<String>,
}

/// A time without a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Gap {
    pub node: u16,
    pub boot: u32,
    pub from: Ts,
    pub to: Ts,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Block(ExportedBlock),
    Gap(Gap),
    Lookup(Box<Receipt>),
    Signature { kid: String, ed25519: String },
}

/// What an export is asked for.
pub struct ExportOrder<'a> {
    /// What stands at the top of the file.
    pub head: ExportHead,
    /// Keys of the months.
    pub months: &'a Months,
    /// The operator's token keys.
    pub token_keys: &'a [TokenKey],
    /// Signs the file.
    pub signer: &'a Ed25519KeyPair,
}

/// What is in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Lookups of the operator.
    pub lookups: u64,
    /// Lookups of the operator about people who are no longer known: the month's key is destroyed.
    pub unknown: u64,
    /// Blocks.
    pub blocks: u64,
    /// Chains.
    pub chains: u64,
    /// Gaps.
    pub gaps: Vec<Gap>,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
}

/// Why a file cannot be made or proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The disk.
    #[error("file: {0}")]
    File(#[from] std::io::Error),
    /// The database.
    #[error("store: {0}")]
    Store(#[from] store::StoreError),
    /// A value that does not serialise.
    #[error("line cannot be written: {0}")]
    Json(#[from] serde_json::Error),
    /// A stored block that is not what was written, or that no receipt can be made of.
    #[error("stored evidence: {0}")]
    Stored(String),
    /// Something in the file is not what was signed, or does not fit the rest.
    #[error("line {line}: {what}")]
    Line {
        /// Where, from 1.
        line: u64,
        /// What.
        what: &'static str,
    },
}

/// Writes lines and digests them.
struct Signed<W> {
    out: W,
    digest: Context,
}

impl<W: Write> Signed<W> {
    fn line<T: Serialize>(&mut self, value: &T) -> Result<(), ExportError> {
        let mut text = serde_json::to_vec(value)?;
        text.push(b'\n');
        self.digest.update(&text);
        Ok(self.out.write_all(&text)?)
    }
}

/// Writes the file of a case but for its last line, the signature, without which it proves nothing. That is given back, so
/// that the export can be journaled before anybody has it.
///
/// # Errors
/// [`ExportError`]; what was written then is no export.
pub async fn export(
    store: &Store,
    order: &ExportOrder<'_>,
    out: impl Write,
) -> Result<(Summary, Vec<u8>), ExportError> {
    let head = &order.head;
    let mut summary = Summary::default();
    let mut file = Signed { out, digest: Context::new(&SHA256) };
    file.line(head)?;
    let operator = Some(OperatorNo(head.operator_no));
    let chains = store.evidence_chains(head.from, head.to).await?;
    nothing_is_missing(store, head.from, &chains).await?;
    for (chain, first, last) in chains {
        summary.chains += 1;
        let (mut next, mut expected) = (first, first);
        while next <= last {
            let blocks = store.evidence_blocks(chain, next, CHUNK).await?;
            let Some(end) = blocks.last().map(|block| block.head.no) else { break };
            for block in blocks.iter().take_while(|block| block.head.no <= last) {
                if block.head.no != expected {
                    return Err(missing(chain, expected));
                }
                (expected, summary.blocks) = (expected + 1, summary.blocks + 1);
                let bad = |e: BlockError| ExportError::Stored(format!("block {} of {chain:?}: {e}", block.head.no));
                block.verify(&block.before, order.signer.public_key().as_ref()).map_err(bad)?;
                let rows = block.rows().map_err(|e| ExportError::Stored(e.to_string()))?;
                let wanted = |at: Ts| at >= head.from && at < head.to;
                let mine = |row: &models::evidence::Row| row.credential.operator_no == operator && wanted(row.at);
                let whole = rows.iter().any(mine);
                file.line(&Line::Block(exported(block, whole)))?;
                // opened once, however many of its lookups are wanted
                let people = if whole { people_of(block, order.months).map_err(bad)? } else { None };
                for (slot, row) in rows.iter().enumerate().filter(|(_, row)| mine(row)) {
                    use crate::api::EngineError::Gone;
                    let made = receipt(block, row, slot as u16, people.as_ref(), Some(head.operator), order.token_keys);
                    match made {
                        Ok(receipt) => file.line(&Line::Lookup(Box::new(receipt)))?,
                        Err(Gone(_)) => summary.unknown += 1,
                        Err(error) => return Err(ExportError::Stored(error.to_string())),
                    }
                    summary.lookups += 1;
                }
            }
            next = end + 1;
        }
    }
    for gap in gaps(store, head.from, head.to).await? {
        file.line(&Line::Gap(gap))?;
        summary.gaps.push(gap);
    }
    let digest = file.digest.clone().finish();
    let kid = Jwk::of(order.signer.public_key().as_ref()).kid;
    let ed25519 = BASE64.encode(order.signer.sign(digest.as_ref()).as_ref());
    file.out.flush()?;
    let mut last = Signed { out: Vec::new(), digest: file.digest };
    last.line(&Line::Signature { kid, ed25519 })?;
    summary.sha256 = HEXLOWER.encode(last.digest.finish().as_ref());
    Ok((summary, last.out))
}

fn missing(chain: ChainId, no: u64) -> ExportError {
    let ChainId { node, boot, worker } = chain;
    ExportError::Stored(format!("block {no} of node {node} boot {boot:08x} worker {worker} is missing"))
}

/// Is everything there that the journal says was stored? A chain that ends early, or of which nothing is left, looks
/// whole by itself.
async fn nothing_is_missing(store: &Store, from: Ts, found: &[(ChainId, u64, u64)]) -> Result<(), ExportError> {
    let is_there = async |chain, no| match store.evidence_digest(chain, no).await? {
        Some(_) => Ok(()),
        None => Err(missing(chain, no)),
    };
    let roots = store.evidence_roots(from).await?;
    for (chain, root) in roots.iter().map(|(chain, root)| (*chain, root)) {
        if store.evidence_digest(chain, root.block).await? != Some(root.digest) {
            return Err(missing(chain, root.block));
        }
        if found.iter().all(|(known, ..)| *known != chain) {
            // nothing of it in the span: then what follows the last before the span is there, or was never written
            let next = store.evidence_block_before(chain, from).await?.map_or(0, |last| last + 1);
            if next <= root.block {
                is_there(chain, next).await?;
            }
        }
    }
    for (chain, first, last) in found {
        if let Some(before) = first.checked_sub(1) {
            is_there(*chain, before).await?;
        }
        if roots.get(chain).is_some_and(|root| root.block > *last) {
            is_there(*chain, last + 1).await?;
        }
    }
    Ok(())
}

fn exported(block: &Block, whole: bool) -> ExportedBlock {
    ExportedBlock {
        head: block.head,
        before: hex(&block.before),
        digest: hex(&block.digest),
        signature: BASE64.encode(&block.signature),
        answers_sha256: hex(&sha256(&block.rows)),
        people_sha256: hex(&sha256(&block.people)),
        answers: whole.then(|| BASE64.encode(&block.rows)),
        people: whole.then(|| BASE64.encode(&block.people)),
    }
}

/// Journaled gaps that reach into a span.
async fn gaps(store: &Store, from: Ts, to: Ts) -> Result<Vec<Gap>, ExportError> {
    let events = store.journal_events("evidence_gap").await?;
    let gaps = events.into_iter().filter_map(|event| match event {
        models::event::Event::EvidenceGap { node, boot, from, to, .. } => Some(Gap { node, boot, from, to }),
        _ => None,
    });
    // who has not closed its evidence has promised nothing behind what it stored last
    let open = store.evidence_boots_open().await?.into_iter().map(|left| {
        let until = left.through_at.max(to);
        Gap { node: left.node, boot: left.boot, from: left.through_at, to: until }
    });
    Ok(gaps.chain(open).filter(|gap| gap.to >= from && gap.from < to).collect())
}

/// Checks a file against keys that were got in another way; against the file's own where none are given.
///
/// # Errors
/// [`ExportError::Line`] names the first line that is wrong.
pub fn verify(mut input: impl BufRead, trusted: Option<&[Jwk]>) -> Result<(ExportHead, Summary), ExportError> {
    let mut reader = Checker { line: 1, ..Checker::default() };
    let mut text = Vec::new();
    read_line(&mut input, &mut text, 1)?;
    reader.digest(&text);
    let head: ExportHead = serde_json::from_slice(&text).map_err(|_| reader.wrong("not an export of evidence"))?;
    if head.mlinzi_evidence != FORMAT {
        return Err(reader.wrong("an export of another version"));
    }
    let keys = trusted.unwrap_or(&head.keys).to_vec();
    let mut ended = false;
    loop {
        let before = reader.digest.clone().map(Context::finish);
        reader.line += 1;
        read_line(&mut input, &mut text, reader.line)?;
        if text.is_empty() {
            break;
        }
        if ended {
            return Err(reader.wrong("something stands behind the signature"));
        }
        reader.digest(&text);
        match serde_json::from_slice(&text).map_err(|_| reader.wrong("cannot be read"))? {
            Line::Block(block) => reader.block(&head, &keys, &block)?,
            Line::Lookup(lookup) => reader.lookup(&head, &lookup)?,
            Line::Gap(gap) => reader.summary.gaps.push(gap),
            Line::Signature { kid, ed25519 } => {
                let key = keys.iter().find(|k| k.kid == kid).and_then(Jwk::public_key);
                let key = key.ok_or_else(|| reader.wrong("signed by an unknown key"))?;
                let signature = BASE64.decode(ed25519.as_bytes()).map_err(|_| reader.wrong("cannot be read"))?;
                let digest = before.ok_or_else(|| reader.wrong("cannot be read"))?;
                let sound = UnparsedPublicKey::new(&ED25519, key).verify(digest.as_ref(), &signature).is_ok();
                if !sound {
                    return Err(reader.wrong("the file was changed after it was signed"));
                }
                ended = true;
            }
        }
    }
    if !ended {
        return Err(reader.wrong("the file ends without its signature"));
    }
    reader.no_lookup_left()?;
    reader.summary.chains = reader.chains.len() as u64;
    reader.summary.sha256 = reader.digest.map_or_else(String::new, |d| HEXLOWER.encode(d.finish().as_ref()));
    Ok((head, reader.summary))
}

fn read_line(input: &mut impl BufRead, text: &mut Vec<u8>, line: u64) -> Result<(), ExportError> {
    use std::io::Read as _;
    text.clear();
    input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', text)?;
    let whole = text.is_empty() || text.last() == Some(&b'\n');
    if whole { Ok(()) } else { Err(ExportError::Line { line, what: "is cut off or too long" }) }
}

#[derive(Default)]
struct Checker {
    line: u64,
    digest: Option<Context>,
    /// Number and digest of the last block of each chain.
    chains: BTreeMap<models::evidence::ChainId, (u64, [u8; 32])>,
    /// The operator's rows of the last block, which the following lines must tell.
    rows: HashMap<u16, models::evidence::Row>,
    block: Option<(BlockHead, String)>,
    /// Of them, how many were told.
    told: u64,
    summary: Summary,
}

impl Checker {
    fn digest(&mut self, text: &[u8]) {
        self.digest.get_or_insert_with(|| Context::new(&SHA256)).update(text);
    }

    fn wrong(&self, what: &'static str) -> ExportError {
        ExportError::Line { line: self.line, what }
    }

    fn hex32(&self, text: &str) -> Result<[u8; 32], ExportError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|b| b.try_into().ok());
        bytes.ok_or_else(|| self.wrong("a digest cannot be read"))
    }

    fn base64(&self, text: &str) -> Result<Vec<u8>, ExportError> {
        BASE64.decode(text.as_bytes()).map_err(|_| self.wrong("base64 cannot be read"))
    }

    fn no_lookup_left(&mut self) -> Result<(), ExportError> {
        let left = self.rows.drain().count() as u64;
        // a month whose key is destroyed has no line for any of its lookups; one that has some must have all
        if left > 0 && self.told > 0 {
            return Err(self.wrong("a lookup of the block before is missing"));
        }
        self.told = 0;
        self.summary.unknown += left;
        self.summary.lookups += left;
        Ok(())
    }

    fn block(&mut self, head: &ExportHead, keys: &[Jwk], block: &ExportedBlock) -> Result<(), ExportError> {
        self.no_lookup_left()?;
        let (before, digest) = (self.hex32(&block.before)?, self.hex32(&block.digest)?);
        let (rows_digest, people_digest) = (self.hex32(&block.answers_sha256)?, self.hex32(&block.people_sha256)?);
        if block.head.digest(&before, &rows_digest, &people_digest) != digest {
            return Err(self.wrong("the block does not fit its digest"));
        }
        match self.chains.get(&block.head.chain) {
            Some((no, last)) if (block.head.no, before) != (no + 1, *last) => {
                return Err(self.wrong("the block does not follow the one before"));
            }
            None if block.head.no == 0 && before != GENESIS => {
                return Err(self.wrong("the first block of a chain follows something"));
            }
            _ => {}
        }
        let signature = self.base64(&block.signature)?;
        let signed =
            keys.iter().filter_map(Jwk::public_key).any(|key| verify_signature(&digest, &signature, &key).is_ok());
        if !signed {
            return Err(self.wrong("the block has a bad signature"));
        }
        self.chains.insert(block.head.chain, (block.head.no, digest));
        self.summary.blocks += 1;
        if let (Some(answers), Some(people)) = (&block.answers, &block.people) {
            let (answers, people) = (self.base64(answers)?, self.base64(people)?);
            if sha256(&answers) != rows_digest || sha256(&people) != people_digest {
                return Err(self.wrong("the block's content does not fit its digest"));
            }
            let all = rows(&answers, block.head.records).map_err(|_| self.wrong("the block cannot be read"))?;
            let wanted = all.into_iter().enumerate().filter(|(_, row)| {
                row.credential.operator_no == Some(OperatorNo(head.operator_no))
                    && row.at >= head.from
                    && row.at < head.to
            });
            self.rows = wanted.map(|(slot, row)| (slot as u16, row)).collect();
        }
        self.block = Some((block.head, block.digest.clone()));
        Ok(())
    }

    fn lookup(&mut self, head: &ExportHead, lookup: &Receipt) -> Result<(), ExportError> {
        let place = &lookup.evidence;
        let here = self.block.as_ref().is_some_and(|(block, digest)| {
            (block.chain, block.no, digest) == (place.chain, place.block, &place.digest)
        });
        let row = self.rows.remove(&place.slot).filter(|_| here);
        let row = row.ok_or_else(|| self.wrong("the lookup is not in the block before it"))?;
        let id = models::evidence::Place { chain: place.chain, block: place.block, slot: place.slot }.id();
        let same = (lookup.jti, lookup.operator) == (id, Some(head.operator))
            && lookup.iat == row.at.seconds()
            // the line has milliseconds
            && lookup.at.0.div_euclid(1_000) == row.at.0.div_euclid(1_000)
            && (lookup.purpose, lookup.decision, lookup.status) == (row.purpose, row.decision, row.status)
            && (lookup.grade, lookup.route) == (row.grade, row.route)
            && lookup.as_of.0.div_euclid(1_000) == row.basis.as_of.0.div_euclid(1_000)
            && (lookup.register_version, lookup.degraded) == (row.basis.register_version, row.basis.degraded);
        if !same {
            return Err(self.wrong("the lookup is not what the block says"));
        }
        self.summary.lookups += 1;
        self.told += 1;
        Ok(())
    }
}
