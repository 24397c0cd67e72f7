//! What every test of the contract stands on: a fresh database of either kind, a writer on it, and an ear on its spine.

use models::event::Event;
use models::ids::{OperatorId, OperatorNo, Seq};
use models::jurisdiction::JurisdictionNo;
use models::operator::{Operator, OperatorState};
use models::ts::Ts;
use ring::signature::{Ed25519KeyPair, KeyPair};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{
    Attachment, Commit, CommitError, CommitReceipt, CommittedGroup, OpenOptions, Sink, Store, SystemClock,
    VerifyReport, WriterHandle,
};
use tokio::sync::oneshot;

/// Key of the chain in these tests.
pub const CHAIN: [u8; 32] = [7; 32];

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// A database of one test.
pub struct Database {
    pub url: String,
    raw: Raw,
    _dir: Option<testkit::TempDir>,
    _database: Option<testkit::TestDatabase>,
}

/// The same database, past the store: for attackers and judges.
#[derive(Clone)]
pub enum Raw {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A transaction that nobody ends.
pub enum Held {
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

impl Held {
    pub async fn release(self) {
        match self {
            Self::Sqlite(held) => held.rollback().await,
            Self::Postgres(held) => held.rollback().await,
        }
        .expect("the transaction ends");
    }
}

impl Database {
    pub async fn fresh(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => {
                let dir = testkit::temp_dir();
                Self::sqlite(testkit::sqlite_url(&dir), Some(dir)).await
            }
            Kind::Postgres => {
                let database = Self::postgres(&testkit::Postgres::shared()).await;
                Store::open(&database.url, &OpenOptions::default()).await.expect("a fresh store").close().await;
                database
            }
        }
    }

    /// As it was when this was the last migration.
    pub async fn as_of(kind: Kind, migration: i64) -> Self {
        match kind {
            Kind::Sqlite => {
                let dir = testkit::temp_dir();
                let url = testkit::sqlite_url(&dir);
                let raw = SqlitePool::connect(&format!("{url}?mode=rwc")).await.expect("a raw connection");
                sqlx::migrate!("../migrations/sqlite").run_to(migration, &raw).await.expect("migrations");
                Self { url, raw: Raw::Sqlite(raw), _dir: Some(dir), _database: None }
            }
            Kind::Postgres => {
                let database = Self::postgres(&testkit::Postgres::shared()).await;
                if let Raw::Postgres(raw) = &database.raw {
                    sqlx::migrate!("../migrations/postgres").run_to(migration, raw).await.expect("migrations");
                }
                database
            }
        }
    }

    /// On a path that outlives the test's value.
    pub async fn sqlite(url: String, dir: Option<testkit::TempDir>) -> Self {
        // makes the file, so that the raw pool finds one
        Store::open(&url, &OpenOptions::default()).await.expect("a fresh store").close().await;
        let raw = SqlitePool::connect(&url).await.expect("a raw connection");
        Self { url, raw: Raw::Sqlite(raw), _dir: dir, _database: None }
    }

    pub async fn postgres(server: &testkit::Postgres) -> Self {
        let database = server.database().await;
        let raw = PgPool::connect(&database.url).await.expect("a raw connection");
        Self { url: database.url.clone(), raw: Raw::Postgres(raw), _dir: None, _database: Some(database) }
    }

    /// In a tablespace of its own.
    pub async fn postgres_on(server: &testkit::Postgres, folder: &std::path::Path) -> Self {
        let database = Self::postgres(server).await;
        let space = folder.join("space");
        std::fs::create_dir(&space).expect("a folder");
        let own = std::process::Command::new("chown").arg("postgres").arg(&space).status();
        assert!(own.is_ok_and(|s| s.success()), "the server may use the folder");
        database.run(&format!("CREATE TABLESPACE small LOCATION '{}'", space.display())).await.expect("a tablespace");
        Store::open(&database.url, &OpenOptions::default()).await.expect("a fresh store").close().await;
        database.run("ALTER TABLE journal SET TABLESPACE small").await.expect("the journal moves");
        database
    }

    pub async fn open(&self) -> Node {
        self.open_with(Duration::from_secs(5)).await
    }

    /// With so much time for a commit.
    pub async fn open_with(&self, timeout: Duration) -> Node {
        let store = Store::open(&self.url, &OpenOptions::default()).await.expect("the store opens");
        let heard = Heard::default();
        let writer = store.start_writer(Box::new(heard.clone()), CHAIN, Arc::new(SystemClock), timeout).await;
        Node { writer: writer.expect("a writer"), store, heard }
    }

    /// Holds what every commit needs, until the answer is dropped.
    pub async fn hold(&self) -> Held {
        match &self.raw {
            Raw::Sqlite(pool) => Held::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await.expect("the write lock")),
            Raw::Postgres(pool) => {
                let mut held = pool.begin().await.expect("a transaction");
                sqlx::query("SELECT seq FROM journal_head FOR UPDATE").execute(&mut *held).await.expect("the head");
                Held::Postgres(held)
            }
        }
    }

    pub async fn run(&self, sql: &str) -> Result<u64, sqlx::Error> {
        match &self.raw {
            Raw::Sqlite(pool) => Ok(sqlx::query(AssertSqlSafe(sql)).execute(pool).await?.rows_affected()),
            Raw::Postgres(pool) => Ok(sqlx::query(AssertSqlSafe(sql)).execute(pool).await?.rows_affected()),
        }
    }

    /// Runs a statement with one value, bound as text or as bytes.
    pub async fn run_with(&self, sql: &str, value: &[u8], as_text: bool) -> Result<(), sqlx::Error> {
        let text = String::from_utf8_lossy(value).into_owned();
        match &self.raw {
            Raw::Sqlite(pool) => {
                let query = sqlx::query(AssertSqlSafe(sql));
                let query = if as_text { query.bind(text) } else { query.bind(value.to_vec()) };
                query.execute(pool).await.map(|_| ())
            }
            Raw::Postgres(pool) => {
                let query = sqlx::query(AssertSqlSafe(sql));
                let query = if as_text { query.bind(text) } else { query.bind(value.to_vec()) };
                query.execute(pool).await.map(|_| ())
            }
        }
    }

    pub async fn int(&self, sql: &str) -> i64 {
        match &self.raw {
            Raw::Sqlite(pool) => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await,
            Raw::Postgres(pool) => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await,
        }
        .expect("a number")
    }

    pub async fn bytes(&self, sql: &str) -> Vec<u8> {
        match &self.raw {
            Raw::Sqlite(pool) => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await,
            Raw::Postgres(pool) => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await,
        }
        .expect("bytes")
    }

    pub async fn texts(&self, sql: &str) -> Vec<String> {
        match &self.raw {
            Raw::Sqlite(pool) => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(pool).await,
            Raw::Postgres(pool) => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(pool).await,
        }
        .expect("texts")
    }

    /// Takes the journal's protection away, as somebody with the rights of the database's owner would.
    pub async fn break_open(&self) {
        match &self.raw {
            Raw::Sqlite(_) => {
                for trigger in ["journal_no_update", "journal_no_delete"] {
                    self.run(&format!("DROP TRIGGER {trigger}")).await.expect("the trigger goes");
                }
            }
            Raw::Postgres(_) => {
                self.run("ALTER TABLE journal DISABLE TRIGGER USER").await.expect("the triggers go");
            }
        }
    }
}

/// Groups as they were published: (first, last) sequences.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<(Seq, Seq)>>>);

impl Heard {
    pub fn groups(&self) -> Vec<(Seq, Seq)> {
        self.0.lock().expect("no test panics under it").clone()
    }

    /// The last sequence, where everything from `first` on came without gap or repetition.
    pub fn gapless_from(&self, first: Seq) -> Seq {
        self.groups().into_iter().fold(first - 1, |before, (first, last)| {
            // a group that the poll has passed on in part comes whole once more
            assert!(first <= before + 1, "published out of order: {:?}", self.groups());
            last.max(before)
        })
    }
}

impl Sink for Heard {
    fn publish(&mut self, group: CommittedGroup) {
        self.0.lock().expect("no test panics under it").push((group.first_seq, group.last_seq));
        group.members.into_iter().for_each(store::Member::complete);
    }

    fn head(&mut self, _: Seq, _: Ts) {}
}

/// A store with its writer.
pub struct Node {
    pub store: Store,
    pub writer: WriterHandle,
    pub heard: Heard,
}

impl Node {
    pub async fn commit(&self, events: Vec<Event>, attachments: Vec<Attachment>) -> Result<CommitReceipt, CommitError> {
        commit(self.writer.clone(), events, attachments).await
    }

    pub async fn verify(&self) -> VerifyReport {
        self.store.verify_journal(&CHAIN, signer().public_key().as_ref()).await.expect("the walk ends")
    }

    pub async fn stop(self) {
        assert!(self.store.stop_writer(Duration::from_secs(10)).await, "the writer drains");
        self.store.close().await;
    }
}

pub async fn commit(
    writer: WriterHandle,
    events: Vec<Event>,
    attachments: Vec<Attachment>,
) -> Result<CommitReceipt, CommitError> {
    let (done, receipt) = oneshot::channel();
    writer.submit(Commit { events, attachments, key_epoch: None, done })?;
    receipt.await.expect("every commit is answered")
}

/// Signs checkpoints.
pub fn signer() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[3; 32]).expect("a seed of 32 bytes")
}

pub fn started(n: usize) -> Event {
    Event::EngineStarted { boot: format!("{n:08x}"), version: "test".to_owned() }
}

pub fn operator(no: u16, code: &str) -> Event {
    Event::OperatorSet(Operator {
        operator_no: OperatorNo(no),
        id: OperatorId(no.into()),
        code: code.to_owned(),
        name: code.to_owned(),
        jurisdiction: JurisdictionNo(0),
        state: OperatorState::Active,
        registered_at: Ts(0),
        version: 1,
    })
}
