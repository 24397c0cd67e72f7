//! Proving the journal: signed checkpoints, and a walk that names the first bad row.

use crate::StoreError;
use crate::db::{Row, Val};
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
        // read before the head: what is committed meanwhile is below it
        let span = conn.rows("SELECT COALESCE(MIN(seq), 1), COALESCE(MAX(seq), 0) FROM journal", &[]).await?;
        let head = conn.rows("SELECT seq, digest FROM journal_head WHERE id = 1", &[]).await?;
        let head = head.first().ok_or(StoreError::Unreadable("journal head"))?;
        report.head = head.int(0)?;
        let mut before = GENESIS.to_vec();
        let mut seq = 0;
        let bad = |seq, what| Some(BadRow { seq, what });
        // aggregates give a row; what is no number sorts behind all numbers
        let (first, last) =
            span.first().map_or((1, 0), |row| (row.int(0).unwrap_or(1), row.int(1).unwrap_or(Seq::MAX)));
        if first < 1 {
            report.first_bad = bad(first, "row before the first");
            return Ok(report);
        }
        while seq < report.head {
            let sql = "SELECT seq, at, kind, payload, payload_digest, digest FROM journal WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3";
            let rows = conn.rows(sql, &[Val::Int(seq), Val::Int(report.head), Val::Int(CHUNK)]).await?;
            if rows.is_empty() {
                report.first_bad = bad(seq + 1, "row is missing");
                return Ok(report);
            }
            for row in rows {
                seq += 1;
                let digest = match check_row(&chain, &before, seq, &row) {
                    Ok(digest) => digest,
                    Err(what) => {
                        report.first_bad = bad(seq, what);
                        return Ok(report);
                    }
                };
                while let Some(checkpoint) = checkpoints.next_if(|c| c.int(0).is_ok_and(|at| at <= seq)) {
                    report.checkpoints += 1;
                    if let Err(what) = check_checkpoint(&checkpoint, seq, &digest, public_key) {
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
            report.first_bad = bad(row.int(0).unwrap_or(0), "checkpoint of a row that is missing");
        } else if last > report.head {
            report.first_bad = bad(last, "row behind the head");
        }
        Ok(report)
    }
}

/// The digest of a row that is what was written, or what is wrong with it. SQLite stores any type in any column.
fn check_row(chain: &Chain, before: &[u8], seq: Seq, row: &Row) -> Result<Vec<u8>, &'static str> {
    let unreadable = |_| "row cannot be read";
    if row.int(0).map_err(unreadable)? != seq {
        return Err("row is missing");
    }
    let (at, kind) = (Ts(row.int(1).map_err(unreadable)?), row.text(2).map_err(unreadable)?);
    let (payload, stored) = (row.text(3).map_err(unreadable)?, row.bytes(4).map_err(unreadable)?);
    let digest = row.bytes(5).map_err(unreadable)?;
    if payload_digest(&payload).as_slice() != stored {
        return Err("payload does not fit its digest");
    }
    if chain.digest(before, seq, at, &kind, &stored).as_slice() != digest {
        return Err("row does not fit the chain");
    }
    Ok(digest)
}

fn check_checkpoint(row: &Row, seq: Seq, digest: &[u8], public_key: &[u8]) -> Result<(), &'static str> {
    let unreadable = |_| "checkpoint cannot be read";
    let stored = row.bytes(1).map_err(unreadable)?;
    if row.int(0).map_err(unreadable)? != seq || stored != digest {
        return Err("row does not fit its checkpoint");
    }
    if row.bytes(3).map_err(unreadable)? != public_key {
        return Err("checkpoint is signed by another key");
    }
    let text = signed_text(seq, &stored, Ts(row.int(2).map_err(unreadable)?));
    let signature = row.bytes(4).map_err(unreadable)?;
    let signed = UnparsedPublicKey::new(&ED25519, public_key).verify(&text, &signature).is_ok();
    if signed { Ok(()) } else { Err("checkpoint has a bad signature") }
}
