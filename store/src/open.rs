//! Opening a store: pools, migrations, and the refusal to run where commits are not synced.

use crate::StoreError;
use crate::db::{Conn, Db, Val};
use crate::journal::GENESIS;
use crate::writer::WriterHandle;
use parking_lot::Mutex;
use sqlx::Connection;
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// How long a starting engine waits for the one before it to be gone.
pub const CLAIM_PATIENCE: Duration = Duration::from_secs(10);
/// Number of the advisory lock on PostgreSQL ("mlinzi").
const ENGINE_LOCK: i64 = 0x6d6c_696e_7a69;

/// How to open.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Start even where commits are not synced; said loudly.
    pub allow_unsafe_durability: bool,
    /// Connections for reading.
    pub readers: u32,
    /// Make the embedded database where there is none; tools that only look must not.
    pub create: bool,
    /// How long whoever needs a connection to PostgreSQL waits for one, or (five seconds at least) for SQLite's lock.
    pub patience: Duration,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { allow_unsafe_durability: false, readers: 4, create: true, patience: Duration::from_secs(3) }
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
    url: Arc<str>,
    claim: Arc<tokio::sync::Mutex<Option<Claim>>>,
}

/// Connections of a store, over all its pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUsage {
    /// In somebody's hands; the writer's lanes and the poll of the journal keep theirs.
    pub used: u32,
    /// Open and free.
    pub idle: u32,
    /// Most that will be opened.
    pub max: u32,
}

/// Held by the one engine of a database.
enum Claim {
    /// A lock on a file beside it; goes with the process.
    File(#[allow(dead_code)] std::fs::File),
    /// An advisory lock; goes with its connection.
    Session {
        session: PgConnection,
        /// Its process in the server.
        pid: i32,
    },
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
        let store = Self { db, writer: Arc::default(), url: url.into(), claim: Arc::default() };
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

    /// Makes this process the engine of the database. Registrations are decided under locks in memory, so a second
    /// engine must not run beside; command-line tools may.
    ///
    /// # Errors
    /// [`StoreError::Claimed`] where another engine still runs after [`CLAIM_PATIENCE`].
    pub async fn claim(&self) -> Result<(), StoreError> {
        let end = tokio::time::Instant::now() + CLAIM_PATIENCE;
        let mut held = self.claim.lock().await;
        loop {
            *held = match &self.db {
                Db::Sqlite { .. } => self.lock_file().map_err(sqlx::Error::Io)?.map(Claim::File),
                Db::Postgres(_) => self.lock_session().await?,
            };
            if held.is_some() {
                return Ok(());
            }
            if tokio::time::Instant::now() >= end {
                return Err(StoreError::Claimed);
            }
            // an engine that was killed a moment ago may still hold it
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Makes sure that the claim still stands: on PostgreSQL it goes with its session, which a restart of the server ends.
    ///
    /// # Errors
    /// [`StoreError::Claimed`] where another engine has it by now: this one must write no more.
    pub async fn keep_claim(&self) -> Result<(), StoreError> {
        let mut held = self.claim.lock().await;
        let Some(Claim::Session { session, pid }) = held.as_mut() else { return Ok(()) };
        if matches!(tokio::time::timeout(CLAIM_PATIENCE, session.ping()).await, Ok(Ok(()))) {
            return Ok(());
        }
        let own = *pid;
        let again = tokio::time::timeout(CLAIM_PATIENCE, self.claim_again(own)).await;
        *held = Some(again.map_err(|_| sqlx::Error::PoolTimedOut)??);
        Ok(())
    }

    /// A claim in place of the one that our session `own` held, which may hold it still: a connection can be lost on one
    /// side only.
    async fn claim_again(&self, own: i32) -> Result<Claim, StoreError> {
        loop {
            if let Some(claim) = self.lock_session().await? {
                return Ok(claim);
            }
            let mut session = PgConnection::connect(&self.url).await?;
            let holder = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND (classid::bigint << 32) | objid::bigint = $1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            let holder: Option<i32> = sqlx::query_scalar(holder).bind(ENGINE_LOCK).fetch_optional(&mut session).await?;
            match holder {
                Some(pid) if pid != own => return Err(StoreError::Claimed),
                Some(pid) => {
                    sqlx::query("SELECT pg_terminate_backend($1)").bind(pid).execute(&mut session).await?;
                }
                None => {}
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn lock_session(&self) -> Result<Option<Claim>, sqlx::Error> {
        let mut session = PgConnection::connect(&self.url).await?;
        let sql = "SELECT pg_try_advisory_lock($1), pg_backend_pid()";
        let (locked, pid): (bool, i32) = sqlx::query_as(sql).bind(ENGINE_LOCK).fetch_one(&mut session).await?;
        Ok(locked.then_some(Claim::Session { session, pid }))
    }

    /// The file of an embedded database.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(self.url.trim_start_matches("sqlite:").trim_start_matches("//"))
    }

    fn lock_file(&self) -> std::io::Result<Option<std::fs::File>> {
        let mut name = self.path().into_os_string();
        name.push(".lock");
        let file = std::fs::File::options().create(true).append(true).open(name)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// The value a fact of the store was first given: `value`, where it had none.
    pub async fn first_fact(&self, name: &str, value: &str) -> Result<String, StoreError> {
        let mut conn = self.db.write().await?;
        let sql = "INSERT INTO store_meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING";
        conn.run(sql, &[Val::Text(name), Val::Text(value)]).await?;
        let rows = conn.rows("SELECT value FROM store_meta WHERE key = $1", &[Val::Text(name)]).await?;
        Ok(rows.first().ok_or(StoreError::Unreadable("fact"))?.text(0)?)
    }

    /// The value of a fact of the store; none where it was given none.
    pub async fn fact(&self, name: &str) -> Result<Option<String>, StoreError> {
        let mut conn = self.db.read().await?;
        let rows = conn.rows("SELECT value FROM store_meta WHERE key = $1", &[Val::Text(name)]).await?;
        Ok(rows.first().map(|row| row.text(0)).transpose()?)
    }

    /// Names of the facts that begin like this.
    pub async fn facts(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let rows = self.db.read().await?.rows("SELECT key FROM store_meta", &[]).await?;
        let names: Vec<String> = rows.iter().map(|row| row.text(0)).collect::<Result<_, _>>()?;
        Ok(names.into_iter().filter(|name| name.starts_with(prefix)).collect())
    }

    /// How the connections are used at this moment.
    pub fn pool_usage(&self) -> PoolUsage {
        fn of<D: sqlx::Database>(pool: &sqlx::Pool<D>) -> PoolUsage {
            let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
            // read one after the other, while connections come and go
            let used = pool.size().saturating_sub(idle);
            PoolUsage { used, idle, max: pool.options().get_max_connections() }
        }
        match &self.db {
            Db::Postgres(pool) => of(pool),
            Db::Sqlite { writer, readers } => {
                let (a, b) = (of(writer), of(readers));
                PoolUsage { used: a.used + b.used, idle: a.idle + b.idle, max: a.max + b.max }
            }
        }
    }

    /// Does the writer still take commits?
    pub fn is_writing(&self) -> bool {
        self.writer.lock().as_ref().is_some_and(WriterHandle::is_open)
    }

    /// Closes every connection; the embedded database then lies in its one file. Nothing can be read or written
    /// afterwards. The writer is to be stopped first.
    pub async fn close(&self) {
        *self.claim.lock().await = None;
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
        .create_if_missing(options.create)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("cache_size", "-65536")
        .pragma("wal_autocheckpoint", "4000")
        // a tool beside a busy engine gets the lock between two commits, by polling: that may take many of them
        .busy_timeout(options.patience.max(Duration::from_secs(5)));
    // the lane keeps one; checkpoints and the question what became of a commit take the other, SQLite orders them
    let options_of = |connections| kept(SqlitePoolOptions::new()).max_connections(connections);
    let writer = options_of(2).connect_with(connect.clone()).await?;
    // the poll of the head keeps one
    let readers = options_of(options.readers + 1).connect_with(connect).await?;
    Ok(Db::Sqlite { writer, readers })
}

/// Connections are kept until they break. sqlx's task that would end old ones counts the idle ones by a number that can
/// pass below zero for a moment (a connection is taken between its return and its being counted); it then goes through
/// them 2^64 times, on a thread of the runtime and without a pause. Met in a test, sqlx 0.9.0, `spawn_maintenance_tasks`.
fn kept<DB: sqlx::Database>(options: PoolOptions<DB>) -> PoolOptions<DB> {
    options.max_lifetime(None).idle_timeout(None)
}

async fn open_postgres(url: &str, options: &OpenOptions) -> Result<Db, OpenError> {
    let connect = PgConnectOptions::from_str(url)?
        .application_name("mlinzi")
        // a database that accepts and never answers must become an error
        .options([("statement_timeout", "60s"), ("idle_in_transaction_session_timeout", "30s")]);
    let pool = kept(PgPoolOptions::new())
        // the writer's lanes, the poll of the head, the readers
        .max_connections(options.readers + 4)
        .acquire_timeout(options.patience)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// [`open_sqlite`] always asks for FULL; should it ever not, opening finds out.
    #[tokio::test]
    async fn a_connection_that_does_not_sync_is_named() {
        for (synchronous, named) in [
            (SqliteSynchronous::Off, Some("synchronous = 0")),
            (SqliteSynchronous::Normal, Some("synchronous = 1")),
            (SqliteSynchronous::Full, None),
            (SqliteSynchronous::Extra, None),
        ] {
            let connect = SqliteConnectOptions::new().in_memory(true).synchronous(synchronous);
            let pool = SqlitePoolOptions::new().connect_with(connect).await.expect("memory opens");
            let mut conn = Conn::Sqlite(pool.acquire().await.expect("a connection"));
            assert_eq!(unsynced(&mut conn).await.expect("a pragma").as_deref(), named);
        }
    }
}
