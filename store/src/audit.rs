//! Proving the journal: signed checkpoints, and a walk that names the first bad row.

use crate::StoreError;
use crate::db::Val;
use crate::journal::{Chain, GENESIS, payload_digest};
use crate::open::Store;
use models::ids::Seq;
use models::ts::Ts;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::Serialize;

/// Rows read at once.
const CHUNK: i64 = 5_000;

/// What the walk found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Journal rows looked at.
    pub rows: u64,
    /// Checkpoints looked at.
    pub checkpoints: u64,
    /// Sequence of the head.
    pub head: Seq,
    /// The first bad row, if any.
    pub first_bad: Option<BadRow>,
}

/// A row that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadRow {
    /// Its sequence, or the one that is missing.
    pub seq: Seq,
    /// What is wrong.
    pub what: &'static str,
}

fn signed_text(seq: Seq, digest: &[u8], at: Ts) -> Vec<u8> {
    let mut text = b"mlinzi checkpoint 1\0".to_vec();
    text.extend_from_slice(&seq.to_be_bytes());
    text.extend_from_slice(&at.0.to_be_bytes());
    text.extend_from_slice(digest);
    text
}

impl Store {
    /// Signs the head, where it has moved since the last checkpoint; gives its sequence.
    pub async fn sign_checkpoint(&self, key: &Ed25519KeyPair, at: Ts) -> Result<Option<Seq>, StoreError> {
        let mut conn = self.db.read().await?;
        let head = conn.rows("SELECT seq, digest FROM journal_head WHERE id = 1", &[]).await?;
        let head = head.first().ok_or(StoreError::Unreadable("journal head"))?;
        let (seq, digest) = (head.int(0)?, head.bytes(1)?);
        let last = conn.rows("SELECT COALESCE(MAX(seq), 0) FROM journal_checkpoints", &[]).await?;
        if seq == 0 || last.first().map_or(Ok(0), |row| row.int(0))? >= seq {
            return Ok(None);
        }
        drop(conn);
        let signature = key.sign(&signed_text(seq, &digest, at)).as_ref().to_vec();
        let sql = "INSERT INTO journal_checkpoints (seq, digest, at, public_key, signature) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (seq) DO NOTHING";
        let public_key = key.public_key().as_ref().to_vec();
        let values = [Val::Int(seq), Val::Bytes(digest), Val::Int(at.0), Val::Bytes(public_key), Val::Bytes(signature)];
        self.db.write().await?.run(sql, &values).await?;
        Ok(Some(seq))
    }

    /// Walks the whole journal. `public_key` is the key that checkpoints must be signed with.
    pub async fn verify_journal(&self, chain_key: &[u8; 32], public_key: &[u8]) -> Result<VerifyReport, StoreError> {
        let chain = Chain::new(chain_key);
        let mut report = VerifyReport { rows: 0, checkpoints: 0, head: 0, first_bad: None };
        let mut conn = self.db.read().await?;
        let mut checkpoints = conn
            .rows("SELECT seq, digest, at, public_key, signature FROM journal_checkpoints ORDER BY seq", &[])
            .await?
            .into_iter()
            .peekable();
        let head = conn.rows("SELECT seq, digest FROM journal_head WHERE id = 1", &[]).await?;
        let head = head.first().ok_or(StoreError::Unreadable("journal head"))?;
        report.head = head.int(0)?;
        let mut before = GENESIS.to_vec();
        let mut seq = 0;
        let bad = |seq, what| Some(BadRow { seq, what });
        while seq < report.head {
            let sql = "SELECT seq, at, kind, payload, payload_digest, digest FROM journal WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3";
            let rows = conn.rows(sql, &[Val::Int(seq), Val::Int(report.head), Val::Int(CHUNK)]).await?;
            if rows.is_empty() {
                report.first_bad = bad(seq + 1, "row is missing");
                return Ok(report);
            }
            for row in rows {
                seq += 1;
                if row.int(0)? != seq {
                    report.first_bad = bad(seq, "row is missing");
                    return Ok(report);
                }
                let (stored_payload, digest) = (row.bytes(4)?, row.bytes(5)?);
                if payload_digest(&row.text(3)?).as_slice() != stored_payload {
                    report.first_bad = bad(seq, "payload does not fit its digest");
                    return Ok(report);
                }
                if chain.digest(&before, seq, Ts(row.int(1)?), &row.text(2)?, &stored_payload).as_slice() != digest {
                    report.first_bad = bad(seq, "row does not fit the chain");
                    return Ok(report);
                }
                while let Some(checkpoint) = checkpoints.next_if(|c| c.int(0).is_ok_and(|at| at <= seq)) {
                    report.checkpoints += 1;
                    if let Some(what) = bad_checkpoint(&checkpoint, seq, &digest, public_key)? {
                        report.first_bad = bad(checkpoint.int(0)?, what);
                        return Ok(report);
                    }
                }
                before = digest;
                report.rows += 1;
            }
        }
        if head.bytes(1)? != before {
            report.first_bad = bad(report.head, "head does not fit the last row");
        } else if let Some(row) = checkpoints.next() {
            report.first_bad = bad(row.int(0)?, "checkpoint of a row that is missing");
        }
        Ok(report)
    }
}

fn bad_checkpoint(
    row: &crate::db::Row,
    seq: Seq,
    digest: &[u8],
    public_key: &[u8],
) -> Result<Option<&'static str>, StoreError> {
    let stored = row.bytes(1)?;
    if row.int(0)? != seq || stored != digest {
        return Ok(Some("row does not fit its checkpoint"));
    }
    if row.bytes(3)? != public_key {
        return Ok(Some("checkpoint is signed by another key"));
    }
    let text = signed_text(seq, &stored, Ts(row.int(2)?));
    let signed = UnparsedPublicKey::new(&ED25519, public_key).verify(&text, &row.bytes(4)?).is_ok();
    Ok((!signed).then_some("checkpoint has a bad signature"))
}
