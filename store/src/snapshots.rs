//! Snapshots of the index: chunks of bytes under a row that says what they are and proves that they are whole.
//!
//! Embedded they are files beside the database (`<database>.index-<id>`), written under another name, synced and
//! renamed; on PostgreSQL rows of at most [`CHUNK_BYTES`], so that a node can start on another machine. The row comes
//! last, in a commit of its own: whatever lies there without a row is rubbish of a process that died, and goes with the
//! next snapshot. Row and bytes are bound by a keyed digest: nobody who can write to the disk but does not know the
//! journal's key makes somebody "not excluded" that way.

use crate::StoreError;
use crate::db::{Conn, Db, Val};
use crate::journal::array;
use crate::open::Store;
use crate::priority::Background;
use models::ids::Seq;
use models::ts::Ts;
use ring::digest::{Context, SHA256};
use ring::hmac;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of a chunk.
pub const CHUNK_BYTES: usize = 1 << 20;
/// Snapshots that are kept: the newest, and the one before in case it turns out bad.
const KEPT: usize = 2;
/// Chunks read from PostgreSQL at once.
const READ_CHUNKS: i64 = 8;
/// A snapshot is written as politely as there is.
static BACKGROUND: Background = Background::new("snapshots", 19);
/// Bytes of a file that are written in one go: so long whoever is woken meanwhile may have to wait, whatever the kernel
/// thinks of priorities.
const PIECE_BYTES: usize = 64 << 10;
/// Pause behind each chunk and each megabyte that is written: a snapshot must not be felt.
const PAUSE: Duration = Duration::from_millis(4);

/// Gives the bytes of a snapshot: about so many more behind what is there; false where there are no more.
pub trait SnapshotSource: Send {
    /// The next bytes.
    fn copy(&mut self, out: &mut Vec<u8>, bytes: usize) -> bool;
    /// Has it become worthless meanwhile?
    fn is_stale(&self) -> bool;
    /// What must be known to read the bytes, as JSON; complete after the last of them.
    fn head(&self) -> (Seq, String);
}

/// A whole snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRow {
    /// Names its bytes.
    pub id: String,
    /// Every event up to here is in it.
    pub through: Seq,
    /// What must be known to read the bytes, as JSON.
    pub head: String,
    /// Length of all bytes.
    pub bytes: u64,
    /// SHA-256 of all bytes.
    sha256: [u8; 32],
    mac: [u8; 32],
}

/// What can be wrong with a snapshot while it is read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotLost {
    /// The database or the disk.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The bytes are not those that were written.
    #[error("its bytes have changed")]
    Changed,
    /// Whoever takes the bytes does not want them.
    #[error("it is no index: {0}")]
    Refused(String),
}

/// The file of a snapshot beside an embedded database.
fn file(database: &Path, id: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(format!(".index-{id}"));
    PathBuf::from(name)
}

fn mac(chain_key: &[u8; 32], row: &SnapshotRow) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, chain_key));
    context.update(b"mlinzi index snapshot 1\0");
    for part in [row.id.as_bytes(), row.head.as_bytes()] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.update(&row.through.to_be_bytes());
    context.update(&row.bytes.to_be_bytes());
    context.update(&row.sha256);
    array(context.sign().as_ref())
}

impl Store {
    /// Writes a snapshot; false where it was worthless before its end.
    ///
    /// # Errors
    /// [`StoreError`]; what was written is cleared away with the next one.
    pub async fn write_snapshot(
        &self,
        node: u16,
        mut source: impl SnapshotSource + 'static,
        chain_key: &[u8; 32],
        at: Ts,
    ) -> Result<bool, StoreError> {
        let mut id = [0; 8];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut id)
            .map_err(|_| StoreError::Unreadable("randomness"))?;
        let id: String = id.iter().map(|b| format!("{b:02x}")).collect();
        let written = match &self.db {
            Db::Sqlite { .. } => {
                let path = file(&self.path(), &id);
                let (done, back) = tokio::sync::oneshot::channel();
                std::thread::Builder::new()
                    .name("snapshot".to_owned())
                    .spawn(move || {
                        BACKGROUND.enter();
                        let written = write_file(&path, &mut source);
                        let _ = done.send((written, source));
                    })
                    .map_err(|e| StoreError::Database(sqlx::Error::Io(e)))?;
                let (written, copied) = back.await.map_err(|_| StoreError::Unreadable("snapshot"))?;
                source = copied;
                written.map_err(|e| StoreError::Database(sqlx::Error::Io(e)))?
            }
            Db::Postgres(_) => self.write_chunks(&id, &mut source).await?,
        };
        let Some((bytes, sha256)) = written else { return Ok(false) };
        let (through, head) = source.head();
        let mut row = SnapshotRow { id, through, head, bytes, sha256, mac: [0; 32] };
        row.mac = mac(chain_key, &row);
        let sql = "INSERT INTO index_snapshots (id, node, through_seq, head, bytes, sha256, mac, made_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let values = [
            Val::Text(&row.id),
            Val::Int(node.into()),
            Val::Int(row.through),
            Val::Text(&row.head),
            Val::Int(row.bytes.cast_signed()),
            Val::Bytes(row.sha256.to_vec()),
            Val::Bytes(row.mac.to_vec()),
            Val::Int(at.0),
        ];
        self.db.write().await?.run(sql, &values).await?;
        // only now: until here the ones before are what there is
        self.clear_snapshots().await?;
        Ok(true)
    }

    async fn write_chunks(
        &self,
        id: &str,
        source: &mut impl SnapshotSource,
    ) -> Result<Option<(u64, [u8; 32])>, StoreError> {
        let mut conn = self.db.write().await?;
        let (mut digest, mut length, mut chunk) = (Context::new(&SHA256), 0, Vec::with_capacity(CHUNK_BYTES + 64));
        for no in 0.. {
            chunk.clear();
            let more = source.copy(&mut chunk, CHUNK_BYTES - 64);
            if source.is_stale() {
                return Ok(None);
            }
            digest.update(&chunk);
            length += chunk.len() as u64;
            let sql = "INSERT INTO index_chunks (snapshot_id, chunk_no, data) VALUES ($1, $2, $3)";
            conn.run(sql, &[Val::Text(id), Val::Int(no), Val::Bytes(chunk.clone())]).await?;
            if !more {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(Some((length, array(digest.finish().as_ref()))))
    }

    /// Whole snapshots, newest first, whose rows are what was written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn snapshots(&self, chain_key: &[u8; 32]) -> Result<Vec<SnapshotRow>, StoreError> {
        let sql = "SELECT id, through_seq, head, bytes, sha256, mac FROM index_snapshots ORDER BY through_seq DESC, made_at DESC";
        let mut found = Vec::new();
        for row in self.db.read().await?.rows(sql, &[]).await? {
            let (sha256, stored) = (row.bytes(4)?, row.bytes(5)?);
            let row = SnapshotRow {
                id: row.text(0)?,
                through: row.int(1)?,
                head: row.text(2)?,
                bytes: row.int(3)?.cast_unsigned(),
                sha256: sha256.try_into().map_err(|_| StoreError::Unreadable("snapshot"))?,
                mac: stored.try_into().map_err(|_| StoreError::Unreadable("snapshot"))?,
            };
            if mac(chain_key, &row) == row.mac {
                found.push(row);
            } else {
                tracing::error!(snapshot = row.id, "a snapshot of the index is not what was written");
            }
        }
        Ok(found)
    }

    /// Reads a snapshot's bytes in order; they are proven only when all have come.
    ///
    /// # Errors
    /// [`SnapshotLost`]: what was fed is to be thrown away.
    pub async fn read_snapshot<F>(&self, row: &SnapshotRow, feed: F) -> Result<F::Made, SnapshotLost>
    where
        F: SnapshotSink + 'static,
    {
        let (made, digest) = match &self.db {
            Db::Sqlite { .. } => {
                let path = file(&self.path(), &row.id);
                let read = tokio::task::spawn_blocking(move || read_file(&path, feed)).await;
                read.map_err(|e| SnapshotLost::Unreadable(e.to_string()))??
            }
            Db::Postgres(_) => self.read_chunks(&row.id, feed).await?,
        };
        if digest == row.sha256 { made.finish() } else { Err(SnapshotLost::Changed) }
    }

    async fn read_chunks<F: SnapshotSink>(&self, id: &str, mut feed: F) -> Result<(F, [u8; 32]), SnapshotLost> {
        let lost = |e: sqlx::Error| SnapshotLost::Unreadable(e.to_string());
        let mut conn = self.db.read().await.map_err(lost)?;
        let mut digest = Context::new(&SHA256);
        let mut from = 0;
        loop {
            let sql = "SELECT data FROM index_chunks WHERE snapshot_id = $1 AND chunk_no >= $2 AND chunk_no < $3 ORDER BY chunk_no";
            let span = [Val::Text(id), Val::Int(from), Val::Int(from + READ_CHUNKS)];
            let rows = conn.rows(sql, &span).await.map_err(lost)?;
            if rows.is_empty() {
                return Ok((feed, array(digest.finish().as_ref())));
            }
            for row in rows {
                let data = row.bytes(0).map_err(lost)?;
                digest.update(&data);
                feed.feed(&data)?;
            }
            from += READ_CHUNKS;
        }
    }

    /// Deletes all but the newest snapshots, and what lies there without a row.
    async fn clear_snapshots(&self) -> Result<(), StoreError> {
        let mut conn = self.db.write().await?;
        let sql = "SELECT id FROM index_snapshots ORDER BY through_seq DESC, made_at DESC";
        let rows = conn.rows(sql, &[]).await?;
        let ids: Vec<String> = rows.iter().map(|row| row.text(0)).collect::<Result<_, _>>()?;
        for id in ids.iter().skip(KEPT) {
            conn.run("DELETE FROM index_snapshots WHERE id = $1", &[Val::Text(id)]).await?;
        }
        if let Conn::Postgres(_) = conn {
            let sql = "DELETE FROM index_chunks WHERE snapshot_id NOT IN (SELECT id FROM index_snapshots)";
            conn.run(sql, &[]).await?;
            return Ok(());
        }
        let kept: Vec<PathBuf> = ids.iter().take(KEPT).map(|id| file(&self.path(), id)).collect();
        let database = self.path();
        let Some(name) = database.file_name() else { return Ok(()) };
        let prefix = format!("{}.index-", name.to_string_lossy());
        let entries = std::fs::read_dir(folder_of(&database)).map_err(|e| StoreError::Database(sqlx::Error::Io(e)))?;
        for entry in entries.flatten() {
            let ours = entry.file_name().to_string_lossy().starts_with(&prefix);
            let kept = kept.iter().any(|kept| kept.file_name() == Some(&entry.file_name()));
            if ours && !kept {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// Events behind a sequence that may change the index, in order, with their sequences.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn register_events(&self, after: Seq, limit: u32) -> Result<Vec<models::event::Committed>, StoreError> {
        let sql = "SELECT seq, at, payload FROM journal WHERE seq > $1 AND kind IN ('person_added', 'person_keys_added', 'exclusion_registered', 'exclusion_extended', 'exclusion_renewed', 'exclusion_lapsed', 'people_imported', 'match_keys_derived') ORDER BY seq LIMIT $2";
        let rows = self.db.read().await?.rows(sql, &[Val::Int(after), Val::Int(limit.into())]).await?;
        rows.iter()
            .map(|row| {
                let event =
                    crate::journal::decode(&row.text(2)?).map_err(|_| StoreError::Unreadable("journal payload"))?;
                Ok(models::event::Committed { seq: row.int(0)?, at: Ts(row.int(1)?), event })
            })
            .collect()
    }
}

/// Takes a snapshot's bytes.
pub trait SnapshotSink: Send + Sized {
    /// What it makes of them.
    type Made: Send;
    /// The next bytes.
    ///
    /// # Errors
    /// [`SnapshotLost::Refused`].
    fn feed(&mut self, bytes: &[u8]) -> Result<(), SnapshotLost>;
    /// All bytes were there, and they are those that were written.
    ///
    /// # Errors
    /// [`SnapshotLost::Refused`].
    fn finish(self) -> Result<Self::Made, SnapshotLost>;
}

/// The folder of a file; that of a bare name is the present one.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn write_file(path: &Path, source: &mut impl SnapshotSource) -> std::io::Result<Option<(u64, [u8; 32])>> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".part");
    let temporary = PathBuf::from(temporary);
    let mut out = File::create(&temporary)?;
    let (mut digest, mut length, mut chunk) = (Context::new(&SHA256), 0, Vec::with_capacity(PIECE_BYTES + 64));
    loop {
        chunk.clear();
        let more = source.copy(&mut chunk, PIECE_BYTES);
        if source.is_stale() {
            std::fs::remove_file(&temporary)?;
            return Ok(None);
        }
        digest.update(&chunk);
        length += chunk.len() as u64;
        out.write_all(&chunk)?;
        if !more {
            break;
        }
        std::thread::sleep(PAUSE * PIECE_BYTES as u32 / CHUNK_BYTES as u32);
    }
    out.sync_all()?;
    std::fs::rename(&temporary, path)?;
    File::open(folder_of(path))?.sync_all()?;
    Ok(Some((length, array(digest.finish().as_ref()))))
}

fn read_file<F: SnapshotSink>(path: &Path, mut feed: F) -> Result<(F, [u8; 32]), SnapshotLost> {
    let lost = |e: std::io::Error| SnapshotLost::Unreadable(e.to_string());
    let mut input = File::open(path).map_err(lost)?;
    let (mut digest, mut chunk) = (Context::new(&SHA256), vec![0; CHUNK_BYTES]);
    loop {
        let length = input.read(&mut chunk).map_err(lost)?;
        if length == 0 {
            return Ok((feed, array(digest.finish().as_ref())));
        }
        digest.update(&chunk[..length]);
        feed.feed(&chunk[..length])?;
    }
}
