//! Opening a store: pools, migrations, and the refusal to run where commits are not synced.

use crate::StoreError;
use crate::db::{Conn, Db, Val};
use crate::journal::GENESIS;
use crate::writer::WriterHandle;
use parking_lot::Mutex;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// How to open.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Start even where commits are not synced; said loudly.
    pub allow_unsafe_durability: bool,
    /// Connections for reading.
    pub readers: u32,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { allow_unsafe_durability: false, readers: 4 }
    }
}

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address.
    #[error("address begins with neither sqlite: nor postgres:")]
    Address,
    /// The database does not answer, or refuses.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// A migration.
    #[error("migration: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The folder of the database.
    #[error("folder of the database: {0}")]
    Folder(#[from] std::io::Error),
    /// Acknowledged commits could be lost in a power cut.
    #[error(
        "the database does not sync its commits ({0}): what is acknowledged could be lost; turn it on, or set store.allow_unsafe_durability"
    )]
    NotSynced(String),
    /// First facts.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// The database of a node; cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(crate) db: Db,
    pub(crate) writer: Arc<Mutex<Option<WriterHandle>>>,
}

impl Store {
    /// Opens, migrates and checks. `sqlite:PATH` or `postgres://…`.
    pub async fn open(url: &str, options: &OpenOptions) -> Result<Self, OpenError> {
        let db = if let Some(path) = url.strip_prefix("sqlite:") {
            open_sqlite(path.trim_start_matches("//"), options).await?
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            open_postgres(url, options).await?
        } else {
            return Err(OpenError::Address);
        };
        let mut conn = db.write().await?;
        if let Some(what) = unsynced(&mut conn).await? {
            if !options.allow_unsafe_durability {
                return Err(OpenError::NotSynced(what));
            }
            tracing::error!(setting = what, "the database does not sync its commits: acknowledged writes can be lost");
        }
        match &db {
            Db::Sqlite { writer, .. } => {
                drop(conn);
                sqlx::migrate!("../migrations/sqlite").run(writer).await?;
            }
            Db::Postgres(pool) => {
                drop(conn);
                sqlx::migrate!("../migrations/postgres").run(pool).await?;
            }
        }
        let store = Self { db, writer: Arc::default() };
        store.first_facts().await?;
        Ok(store)
    }

    async fn first_facts(&self) -> Result<(), StoreError> {
        let mut epoch = [0; 8];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut epoch)
            .map_err(|_| StoreError::Unreadable("randomness"))?;
        let epoch: String = epoch.iter().map(|b| format!("{b:02x}")).collect();
        let mut conn = self.db.write().await?;
        let sql = "INSERT INTO store_meta (key, value) VALUES ('epoch', $1) ON CONFLICT (key) DO NOTHING";
        conn.run(sql, &[Val::Owned(epoch)]).await?;
        let sql =
            "INSERT INTO journal_head (id, seq, digest, group_id) VALUES (1, 0, $1, $2) ON CONFLICT (id) DO NOTHING";
        conn.run(sql, &[Val::Bytes(GENESIS.to_vec()), Val::Bytes(vec![0; 16])]).await?;
        Ok(())
    }

    /// Closes every connection; the embedded database then lies in its one file. Nothing can be read or written
    /// afterwards. The writer is to be stopped first.
    pub async fn close(&self) {
        match &self.db {
            Db::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Db::Postgres(pool) => pool.close().await,
        }
    }

    /// The database, for this crate's tests.
    #[doc(hidden)]
    pub fn is_postgres(&self) -> bool {
        self.db.is_postgres()
    }

    /// Runs any SQL: for tests that break things on purpose.
    #[doc(hidden)]
    pub async fn execute_for_tests(&self, sql: &str) -> Result<u64, StoreError> {
        Ok(self.db.write().await?.run(sql, &[]).await?)
    }
}

async fn open_sqlite(path: &str, options: &OpenOptions) -> Result<Db, OpenError> {
    if let Some(folder) = Path::new(path).parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("cache_size", "-65536")
        .pragma("wal_autocheckpoint", "4000")
        .busy_timeout(Duration::from_secs(5));
    // the lane keeps one; checkpoints and the question what became of a commit take the other, SQLite orders them
    let writer = SqlitePoolOptions::new().max_connections(2).connect_with(connect.clone()).await?;
    let readers = SqlitePoolOptions::new().max_connections(options.readers).connect_with(connect).await?;
    Ok(Db::Sqlite { writer, readers })
}

async fn open_postgres(url: &str, options: &OpenOptions) -> Result<Db, OpenError> {
    let connect = PgConnectOptions::from_str(url)?.application_name("mlinzi");
    let pool = PgPoolOptions::new()
        // the writer's lanes, the poll of the head, the readers
        .max_connections(options.readers + 4)
        .acquire_timeout(Duration::from_secs(3))
        .connect_with(connect)
        .await?;
    Ok(Db::Postgres(pool))
}

/// The setting that keeps commits from the disk, if there is one.
async fn unsynced(conn: &mut Conn) -> Result<Option<String>, sqlx::Error> {
    if matches!(conn, Conn::Sqlite(_)) {
        let rows = conn.rows("PRAGMA synchronous", &[]).await?;
        let level = rows.first().map_or(Ok(0), |row| row.int(0))?;
        return Ok((level < 2).then(|| format!("synchronous = {level}")));
    }
    for (setting, fine) in [
        ("fsync", &["on"][..]),
        ("full_page_writes", &["on"]),
        ("synchronous_commit", &["on", "remote_write", "remote_apply"]),
    ] {
        let rows = conn.rows(&format!("SHOW {setting}"), &[]).await?;
        let value = rows.first().map_or(Ok(String::new()), |row| row.text(0))?;
        if !fine.contains(&value.as_str()) {
            return Ok(Some(format!("{setting} = {value}")));
        }
    }
    Ok(None)
}
