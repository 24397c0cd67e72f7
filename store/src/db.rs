//! One way to talk to two databases: a connection that takes SQL with `$n` and plain values.
//!
//! The same SQL text runs on SQLite and PostgreSQL: integers are `BIGINT`, times
//! microseconds, bytes `BLOB`/`BYTEA`, JSON text. The few places where the dialects differ match on [`Conn`].

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, PgPool, Row as _, SqlitePool};

/// Bind variables in one statement at most (SQLite's limit is 32,766).
const VARIABLES_MAX: usize = 30_000;
/// Rows in one statement at most: larger ones bring nothing and cost planning.
const ROWS_MAX: usize = 512;

/// A value to bind. Nulls are typed, because PostgreSQL asks.
#[derive(Clone, Debug)]
pub enum Val<'a> {
    /// Any integer, also a time.
    Int(i64),
    /// An integer or null.
    IntOpt(Option<i64>),
    /// Text.
    Text(&'a str),
    /// Text that was made here.
    Owned(String),
    /// Text or null.
    TextOpt(Option<&'a str>),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Bytes or null.
    BytesOpt(Option<Vec<u8>>),
}

/// Pools of the database in use.
#[derive(Clone)]
pub enum Db {
    /// Embedded: one writer, several readers.
    Sqlite {
        /// The lane's connection, and one for checkpoints.
        writer: SqlitePool,
        /// Several.
        readers: SqlitePool,
    },
    /// PostgreSQL.
    Postgres(PgPool),
}

/// A connection of either kind.
pub enum Conn {
    /// SQLite.
    Sqlite(PoolConnection<sqlx::Sqlite>),
    /// PostgreSQL.
    Postgres(PoolConnection<sqlx::Postgres>),
}

/// A row of either kind; columns by position.
pub enum Row {
    /// SQLite.
    Sqlite(SqliteRow),
    /// PostgreSQL.
    Postgres(PgRow),
}

macro_rules! get {
    ($self:expr, $i:expr, $t:ty) => {
        match $self {
            Self::Sqlite(row) => row.try_get::<$t, _>($i),
            Self::Postgres(row) => row.try_get::<$t, _>($i),
        }
    };
}

impl Row {
    /// An integer.
    pub fn int(&self, i: usize) -> Result<i64, sqlx::Error> {
        get!(self, i, i64)
    }

    /// An integer or null.
    pub fn int_opt(&self, i: usize) -> Result<Option<i64>, sqlx::Error> {
        get!(self, i, Option<i64>)
    }

    /// Text.
    pub fn text(&self, i: usize) -> Result<String, sqlx::Error> {
        get!(self, i, String)
    }

    /// Text or null.
    pub fn text_opt(&self, i: usize) -> Result<Option<String>, sqlx::Error> {
        get!(self, i, Option<String>)
    }

    /// Bytes.
    pub fn bytes(&self, i: usize) -> Result<Vec<u8>, sqlx::Error> {
        get!(self, i, Vec<u8>)
    }

    /// Bytes or null.
    pub fn bytes_opt(&self, i: usize) -> Result<Option<Vec<u8>>, sqlx::Error> {
        get!(self, i, Option<Vec<u8>>)
    }
}

macro_rules! bind_all {
    ($query:expr, $values:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                Val::Int(v) => query.bind(*v),
                Val::IntOpt(v) => query.bind(*v),
                Val::Text(v) => query.bind(*v),
                Val::Owned(v) => query.bind(v.as_str()),
                Val::TextOpt(v) => query.bind(*v),
                Val::Bytes(v) => query.bind(v.as_slice()),
                Val::BytesOpt(v) => query.bind(v.as_deref()),
            };
        }
        query
    }};
}

impl Db {
    /// A connection for reading.
    pub async fn read(&self) -> Result<Conn, sqlx::Error> {
        match self {
            Self::Sqlite { readers, .. } => readers.acquire().await.map(Conn::Sqlite),
            Self::Postgres(pool) => pool.acquire().await.map(Conn::Postgres),
        }
    }

    /// A connection for writing.
    pub async fn write(&self) -> Result<Conn, sqlx::Error> {
        match self {
            Self::Sqlite { writer, .. } => writer.acquire().await.map(Conn::Sqlite),
            Self::Postgres(pool) => pool.acquire().await.map(Conn::Postgres),
        }
    }

    /// Is it PostgreSQL?
    pub fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

impl Conn {
    /// Runs a statement; gives the rows it touched.
    pub async fn run(&mut self, sql: &str, values: &[Val<'_>]) -> Result<u64, sqlx::Error> {
        match self {
            Self::Sqlite(c) => {
                let c: &mut SqliteConnection = c;
                let query = sqlx::query(AssertSqlSafe(sql));
                Ok(bind_all!(query, values).execute(c).await?.rows_affected())
            }
            Self::Postgres(c) => {
                let c: &mut PgConnection = c;
                let query = sqlx::query(AssertSqlSafe(sql));
                Ok(bind_all!(query, values).execute(c).await?.rows_affected())
            }
        }
    }

    /// Runs a query.
    pub async fn rows(&mut self, sql: &str, values: &[Val<'_>]) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Sqlite(c) => {
                let c: &mut SqliteConnection = c;
                let query = sqlx::query(AssertSqlSafe(sql));
                Ok(bind_all!(query, values).fetch_all(c).await?.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(c) => {
                let c: &mut PgConnection = c;
                let query = sqlx::query(AssertSqlSafe(sql));
                Ok(bind_all!(query, values).fetch_all(c).await?.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Never goes back to the pool.
    pub fn close_on_drop(&mut self) {
        match self {
            Self::Sqlite(c) => c.close_on_drop(),
            Self::Postgres(c) => c.close_on_drop(),
        }
    }

    /// Begins a transaction that writes. From here on the connection ends with its value and never goes back to the
    /// pool: whoever gives up waiting would otherwise leave the transaction, its locks and its rows to the next user.
    pub async fn begin(&mut self) -> Result<(), sqlx::Error> {
        self.close_on_drop();
        let sql = if matches!(self, Self::Sqlite(_)) { "BEGIN IMMEDIATE" } else { "BEGIN" };
        self.run(sql, &[]).await.map(|_| ())
    }

    /// Inserts rows that lie flat in `values`, in statements whose sizes are powers of two, so that their texts are
    /// few and stay prepared. `tail` is an `ON CONFLICT …` or empty.
    pub async fn insert(
        &mut self,
        table: &str,
        columns: &[&str],
        tail: &str,
        values: &[Val<'_>],
    ) -> Result<(), sqlx::Error> {
        // SQLite looks a numbered variable's name up in a list of all of them: with thousands of variables that is all
        // it does, so they have no names there
        let numbered = matches!(self, Self::Postgres(_));
        let width = columns.len();
        let mut rest = values;
        while !rest.is_empty() {
            let rows = (rest.len() / width).min(ROWS_MAX).min(VARIABLES_MAX / width);
            let rows = 1 << rows.ilog2();
            let (chunk, after) = rest.split_at(rows * width);
            let mut sql = format!("INSERT INTO {table} ({}) VALUES ", columns.join(", "));
            for row in 0..rows {
                sql.push_str(if row == 0 { "(" } else { ", (" });
                for column in 0..width {
                    if column > 0 {
                        sql.push(',');
                    }
                    if numbered {
                        sql.push('$');
                        sql.push_str(&(row * width + column + 1).to_string());
                    } else {
                        sql.push('?');
                    }
                }
                sql.push(')');
            }
            sql.push(' ');
            sql.push_str(tail);
            self.run(&sql, chunk).await?;
            rest = after;
        }
        Ok(())
    }
}
