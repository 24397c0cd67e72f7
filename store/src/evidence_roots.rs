//! How far the journal says that chains of evidence have come: whoever takes blocks away leaves the journal as it was.

use crate::StoreError;
use crate::db::Val;
use crate::open::Store;
use models::event::{ChainRoot, Event};
use models::evidence::ChainId;
use models::ids::Seq;
use models::ts::Ts;
use std::collections::BTreeMap;

/// Events read at once.
const CHUNK: i64 = 1_000;

/// The newest root of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// Number of the block: all up to it were stored.
    pub block: u64,
    /// Digest of that block.
    pub digest: [u8; 32],
}

fn digest_of(root: &ChainRoot) -> Result<[u8; 32], StoreError> {
    let byte = |at: usize| root.digest.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..64).step_by(2).map(byte).collect();
    let bytes = bytes.filter(|_| root.digest.len() == 64).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or(StoreError::Unreadable("evidence root"))
}

fn place(chain: ChainId) -> [Val<'static>; 3] {
    [Val::Int(chain.node.into()), Val::Int(chain.boot.into()), Val::Int(chain.worker.into())]
}

impl Store {
    /// The newest root of each chain that the journal names at `since` or later.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn evidence_roots(&self, since: Ts) -> Result<BTreeMap<ChainId, Root>, StoreError> {
        let mut roots: BTreeMap<ChainId, Root> = BTreeMap::new();
        let mut after = self.seq_before(since).await?;
        let mut conn = self.db.read().await?;
        loop {
            let sql = "SELECT seq, payload FROM journal WHERE seq > $1 AND kind IN ('evidence_opened', 'evidence_rooted', 'evidence_closed', 'evidence_gap') ORDER BY seq LIMIT $2";
            let rows = conn.rows(sql, &[Val::Int(after), Val::Int(CHUNK)]).await?;
            let Some(last) = rows.last() else { return Ok(roots) };
            after = last.int(0)?;
            for row in &rows {
                let event = crate::journal::decode(&row.text(1)?);
                let (node, boot, chains) = match event.map_err(|_| StoreError::Unreadable("journal payload"))? {
                    Event::EvidenceRooted { node, boot, chains }
                    | Event::EvidenceClosed { node, boot, chains, .. }
                    | Event::EvidenceGap { node, boot, chains, .. } => (node, boot, chains),
                    _ => continue,
                };
                for said in &chains {
                    let chain = ChainId { node, boot, worker: said.worker };
                    let root = Root { block: said.block, digest: digest_of(said)? };
                    let newest = roots.entry(chain).or_insert(root);
                    if newest.block < root.block {
                        *newest = root;
                    }
                }
            }
        }
    }

    /// The last sequence of before a moment: times of the journal rise with its sequences.
    async fn seq_before(&self, at: Ts) -> Result<Seq, StoreError> {
        let mut conn = self.db.read().await?;
        let (mut low, mut high) = (0, self.head().await?);
        while low < high {
            let middle = low + (high - low) / 2 + 1;
            let sql = "SELECT seq, at FROM journal WHERE seq <= $1 ORDER BY seq DESC LIMIT 1";
            let rows = conn.rows(sql, &[Val::Int(middle)]).await?;
            match rows.first() {
                Some(row) if row.int(1)? < at.0 => low = middle,
                _ => high = middle - 1,
            }
        }
        Ok(low)
    }

    /// Digest of a stored block.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn evidence_digest(&self, chain: ChainId, no: u64) -> Result<Option<[u8; 32]>, StoreError> {
        let sql = "SELECT digest FROM evidence_blocks WHERE node = $1 AND boot = $2 AND worker = $3 AND block_no = $4";
        let [node, boot, worker] = place(chain);
        let rows = self.db.read().await?.rows(sql, &[node, boot, worker, Val::Int(no.cast_signed())]).await?;
        let digest = |bytes: Vec<u8>| bytes.try_into().map_err(|_| StoreError::Unreadable("evidence digest"));
        rows.first().map(|row| row.bytes(0).map_err(StoreError::from).and_then(digest)).transpose()
    }

    /// Number of the last block of a chain whose answers were all given before a moment.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn evidence_block_before(&self, chain: ChainId, at: Ts) -> Result<Option<u64>, StoreError> {
        let sql =
            "SELECT MAX(block_no) FROM evidence_blocks WHERE node = $1 AND boot = $2 AND worker = $3 AND last_at < $4";
        let [node, boot, worker] = place(chain);
        let rows = self.db.read().await?.rows(sql, &[node, boot, worker, Val::Int(at.0)]).await?;
        let no = rows.first().map(|row| row.int_opt(0)).transpose()?.flatten();
        Ok(no.map(i64::cast_unsigned))
    }

    /// What of the chains that the journal names is not there any more, in words; empty where everything is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn missing_evidence(&self) -> Result<Vec<String>, StoreError> {
        let mut missing = Vec::new();
        for (chain, root) in self.evidence_roots(Ts(i64::MIN)).await? {
            let said = |what: String| {
                format!("evidence of node {} boot {:08x} worker {}: {what}", chain.node, chain.boot, chain.worker)
            };
            if self.evidence_digest(chain, root.block).await? != Some(root.digest) {
                missing.push(said(format!("block {} is not the one that the journal names", root.block)));
            }
            let sql = "SELECT COUNT(*) FROM evidence_blocks WHERE node = $1 AND boot = $2 AND worker = $3 AND block_no BETWEEN 0 AND $4";
            let [node, boot, worker] = place(chain);
            let values = [node, boot, worker, Val::Int(root.block.cast_signed())];
            let rows = self.db.read().await?.rows(sql, &values).await?;
            let stored = rows.first().map_or(Ok(0), |row| row.int(0))?.cast_unsigned();
            if stored != root.block + 1 {
                missing.push(said(format!("{} of {} blocks are there", stored, root.block + 1)));
            }
        }
        Ok(missing)
    }
}
