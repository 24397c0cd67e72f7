//! Test support: private PostgreSQL servers and databases, temporary folders. Never part of the product.
//!
//! `make test` starts one server for the whole run and names it in `MLINZI_TEST_PG`; a test started alone starts
//! its own and stops it. Without PostgreSQL a test *fails* and says how to get it.

mod postgres;

pub use postgres::{Postgres, TestDatabase};
pub use tempfile::TempDir;

/// A folder that goes with its value.
pub fn temp_dir() -> TempDir {
    tempfile::Builder::new().prefix("mlinzi-test-").tempdir().expect("a temporary folder can be made")
}

/// The URL of a fresh SQLite database in `dir`.
pub fn sqlite_url(dir: &TempDir) -> String {
    format!("sqlite:{}", dir.path().join("test.sqlite").display())
}

/// Runs one statement in an SQLite database, as whoever owns the file can.
///
/// # Panics
/// The database does not take it.
pub async fn sqlite_execute(url: &str, sql: &str) {
    use sqlx::{Connection, Executor, SqliteConnection};
    let mut conn = SqliteConnection::connect(url).await.expect("the database opens");
    // the text is a test's own
    conn.execute(sqlx::AssertSqlSafe(sql.to_owned())).await.expect("the statement runs");
    conn.close().await.expect("the database closes");
}
