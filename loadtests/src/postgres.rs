//! The private PostgreSQL of scripts/with-postgres.sh, spoken to through psql.

use anyhow::Context;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
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

fn program() -> String {
    std::env::var("MLINZI_TEST_PG_BIN").map_or_else(|_| "psql".to_owned(), |bin| format!("{bin}/psql"))
}

/// Runs statements and gives what they say, fields parted by `|`, rows by line ends.
pub fn psql(url: &str, sql: &str) -> anyhow::Result<String> {
    let args = ["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql];
    let out = Command::new(program()).args(args).stdin(Stdio::null()).output().context("psql")?;
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

/// A psql that stays, for questions that must not wait for a process to start.
pub struct Session {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Session {
    /// Connects.
    pub fn open(url: &str) -> anyhow::Result<Self> {
        let args = ["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", url];
        let mut child = Command::new(program()).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let out = BufReader::new(child.stdout.take().context("a pipe")?);
        Ok(Self { child, out })
    }

    /// A query that gives one line.
    pub fn ask(&mut self, sql: &str) -> anyhow::Result<String> {
        let input = self.child.stdin.as_mut().context("a pipe")?;
        writeln!(input, "{sql};")?;
        input.flush()?;
        let mut line = String::new();
        anyhow::ensure!(self.out.read_line(&mut line)? > 0, "psql ended");
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
