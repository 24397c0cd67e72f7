//! The private PostgreSQL of scripts/with-postgres.sh, spoken to through psql.

use anyhow::Context;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A database, dropped with its value.
pub struct Database {
    /// Where the engine finds it.
    pub url: String,
    name: String,
}

fn admin() -> anyhow::Result<String> {
    std::env::var("MLINZI_TEST_PG").context("no PostgreSQL: run through scripts/with-postgres.sh (make bench does)")
}

/// Runs statements and gives what they say, fields parted by `|`, rows by line ends.
pub fn psql(url: &str, sql: &str) -> anyhow::Result<String> {
    let psql = std::env::var("MLINZI_TEST_PG_BIN").map_or_else(|_| "psql".to_owned(), |bin| format!("{bin}/psql"));
    let args = ["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql];
    let out = Command::new(psql).args(args).stdin(Stdio::null()).output().context("psql")?;
    anyhow::ensure!(out.status.success(), "psql: {}", String::from_utf8_lossy(&out.stderr));
    Ok(String::from_utf8(out.stdout)?.trim_end().to_owned())
}

impl Database {
    /// An empty one.
    pub fn create() -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bench_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = admin()?;
        psql(&admin, &format!("CREATE DATABASE {name}"))?;
        let (server, _) = admin.rsplit_once('/').context("MLINZI_TEST_PG names a database")?;
        Ok(Self { url: format!("{server}/{name}"), name })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Ok(admin) = admin() {
            let _ = psql(&admin, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        }
    }
}
