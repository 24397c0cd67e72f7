//! Lookup evidence as stored: blocks by their place, what is known of each process, sealed keys of the months.

use crate::StoreError;
use crate::db::{Row, Val};
use crate::open::Store;
use models::evidence::{Block, BlockHead, ChainId};
use models::ts::Ts;
use std::sync::Arc;

/// Blocks to store, and until when everything answered is in what was stored.
#[derive(Clone, Debug)]
pub struct EvidenceRows {
    /// Number of the node.
    pub node: u16,
    /// Random number of the process.
    pub boot: u32,
    /// The blocks; may be none.
    pub blocks: Vec<Arc<Block>>,
    /// Every lookup answered until then is in these blocks or in earlier ones.
    pub through_at: Ts,
}

/// A process that answered lookups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct EvidenceBoot {
    pub node: u16,
    pub boot: u32,
    pub opened_at: Ts,
    pub through_at: Ts,
    pub closed_at: Option<Ts>,
}

/// A month's sealed key; none once it is destroyed.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct EvidenceKey {
    pub month: u32,
    pub sealed: Option<Vec<u8>>,
    pub created_at: Ts,
}

const BLOCK: &str = "node, boot, worker, block_no, first_at, last_at, records, month, before_digest, digest, signature, answers, people";

fn block(row: &Row) -> Result<Block, StoreError> {
    let digest = |i| -> Result<[u8; 32], StoreError> {
        row.bytes(i)?.try_into().map_err(|_| StoreError::Unreadable("evidence digest"))
    };
    Ok(Block {
        head: BlockHead {
            chain: ChainId { node: row.int(0)? as u16, boot: row.int(1)? as u32, worker: row.int(2)? as u16 },
            no: row.int(3)? as u64,
            first_at: Ts(row.int(4)?),
            last_at: Ts(row.int(5)?),
            records: row.int(6)? as u32,
            month: row.int(7)? as u32,
        },
        before: digest(8)?,
        digest: digest(9)?,
        signature: row.bytes(10)?,
        rows: row.bytes(11)?,
        people: row.bytes(12)?,
    })
}

fn boot(row: &Row) -> Result<EvidenceBoot, StoreError> {
    Ok(EvidenceBoot {
        node: row.int(0)? as u16,
        boot: row.int(1)? as u32,
        opened_at: Ts(row.int(2)?),
        through_at: Ts(row.int(3)?),
        closed_at: row.int_opt(4)?.map(Ts),
    })
}

impl Store {
    /// A block by its place.
    pub async fn evidence_block(&self, chain: ChainId, no: u64) -> Result<Option<Block>, StoreError> {
        Ok(self.evidence_blocks(chain, no, 1).await?.pop().filter(|block| block.head.no == no))
    }

    /// Blocks of a chain from a number on, in order.
    pub async fn evidence_blocks(&self, chain: ChainId, from: u64, limit: u32) -> Result<Vec<Block>, StoreError> {
        let sql = format!(
            "SELECT {BLOCK} FROM evidence_blocks WHERE node = $1 AND boot = $2 AND worker = $3 AND block_no >= $4 ORDER BY block_no LIMIT $5"
        );
        let values = [
            Val::Int(chain.node.into()),
            Val::Int(chain.boot.into()),
            Val::Int(chain.worker.into()),
            Val::Int(from.cast_signed()),
            Val::Int(limit.into()),
        ];
        self.db.read().await?.rows(&sql, &values).await?.iter().map(block).collect()
    }

    /// The chains with blocks that reach into a span, with the first and last number of those.
    pub async fn evidence_chains(&self, from: Ts, to: Ts) -> Result<Vec<(ChainId, u64, u64)>, StoreError> {
        let sql = "SELECT node, boot, worker, MIN(block_no), MAX(block_no) FROM evidence_blocks WHERE last_at >= $1 AND first_at < $2 GROUP BY node, boot, worker ORDER BY node, boot, worker";
        let rows = self.db.read().await?.rows(sql, &[Val::Int(from.0), Val::Int(to.0)]).await?;
        rows.iter()
            .map(|row| {
                let chain = ChainId { node: row.int(0)? as u16, boot: row.int(1)? as u32, worker: row.int(2)? as u16 };
                Ok((chain, row.int(3)? as u64, row.int(4)? as u64))
            })
            .collect()
    }

    /// Every event of a kind, in order. Walks the whole journal: for tools.
    pub async fn journal_events(&self, kind: &str) -> Result<Vec<models::event::Event>, StoreError> {
        let sql = "SELECT payload FROM journal WHERE kind = $1 ORDER BY seq";
        let rows = self.db.read().await?.rows(sql, &[Val::Text(kind)]).await?;
        rows.iter()
            .map(|row| crate::journal::decode(&row.text(0)?).map_err(|_| StoreError::Unreadable("journal payload")))
            .collect()
    }

    /// The last block of each chain of a process: worker, number and digest. One look at the index for each worker,
    /// however many blocks there are.
    pub async fn evidence_heads(&self, node: u16, boot: u32) -> Result<Vec<(u16, u64, [u8; 32])>, StoreError> {
        let sql = "SELECT worker, block_no, digest FROM evidence_blocks WHERE node = $1 AND boot = $2 AND worker < $3 ORDER BY worker DESC, block_no DESC LIMIT 1";
        let mut conn = self.db.read().await?;
        let (mut heads, mut below) = (Vec::new(), i64::from(u16::MAX) + 1);
        loop {
            let rows = conn.rows(sql, &[Val::Int(node.into()), Val::Int(boot.into()), Val::Int(below)]).await?;
            let Some(row) = rows.first() else { break };
            below = row.int(0)?;
            let digest = row.bytes(2)?.try_into().map_err(|_| StoreError::Unreadable("evidence digest"))?;
            heads.push((below as u16, row.int(1)? as u64, digest));
        }
        heads.reverse();
        Ok(heads)
    }

    /// Processes whose end is not journaled.
    pub async fn evidence_boots_open(&self) -> Result<Vec<EvidenceBoot>, StoreError> {
        let sql = "SELECT node, boot, opened_at, through_at, closed_at FROM evidence_boots WHERE closed_at IS NULL ORDER BY opened_at";
        self.db.read().await?.rows(sql, &[]).await?.iter().map(boot).collect()
    }

    /// Keeps a month's key, sealed in this epoch of the keys, unless there is one already; gives the one that is kept.
    pub async fn keep_evidence_key(
        &self,
        month: u32,
        sealed: Vec<u8>,
        key_epoch: i64,
        at: Ts,
    ) -> Result<EvidenceKey, StoreError> {
        let sql = "INSERT INTO evidence_keys (month, sealed, created_at) SELECT $1, $2, $3 FROM journal_head WHERE id = 1 AND key_epoch = $4 ON CONFLICT (month) DO NOTHING";
        let values = [Val::Int(month.into()), Val::Bytes(sealed), Val::Int(at.0), Val::Int(key_epoch)];
        self.db.write().await?.run(sql, &values).await?;
        let kept = self.evidence_keys().await?.into_iter().find(|key| key.month == month);
        kept.ok_or(StoreError::Unreadable("evidence key"))
    }

    /// Every month's key, oldest first.
    pub async fn evidence_keys(&self) -> Result<Vec<EvidenceKey>, StoreError> {
        let sql = "SELECT month, sealed, created_at FROM evidence_keys ORDER BY month";
        let rows = self.db.read().await?.rows(sql, &[]).await?;
        rows.iter()
            .map(|row| {
                Ok(EvidenceKey { month: row.int(0)? as u32, sealed: row.bytes_opt(1)?, created_at: Ts(row.int(2)?) })
            })
            .collect()
    }
}
