//! Private PostgreSQL servers: initialised in a temporary folder, on a free loopback port, `fsync` on.

use sqlx::{Connection, Executor, PgConnection};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

const HOW: &str = "PostgreSQL 15 or newer is needed: `make test-deps`, or name its bin folder in MLINZI_PG_BIN";

/// A server: its own, or the one of the whole test run.
pub struct Postgres {
    admin: String,
    own: Option<Own>,
}

struct Own {
    bin: PathBuf,
    dir: tempfile::TempDir,
    port: u16,
}

fn bin_folder() -> PathBuf {
    if let Some(named) = std::env::var_os("MLINZI_PG_BIN").or_else(|| std::env::var_os("MLINZI_TEST_PG_BIN")) {
        return named.into();
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|e| e.path().join("bin")).filter(|p| p.join("initdb").exists()).collect())
        .unwrap_or_default();
    found.sort();
    let on_path =
        || std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).find(|p| p.join("initdb").exists());
    found.pop().or_else(on_path).unwrap_or_else(|| panic!("{HOW}"))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.starts_with(b"0\n"))
}

impl Postgres {
    /// The server of this test run; a private one where none is named.
    pub fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Arc<Postgres>> = OnceLock::new();
        Arc::clone(SHARED.get_or_init(|| {
            Arc::new(match std::env::var("MLINZI_TEST_PG") {
                Ok(admin) => Self { admin, own: None },
                Err(_) => Self::private(),
            })
        }))
    }

    /// A server of one's own, to be killed and started at will.
    pub fn private() -> Self {
        let bin = bin_folder();
        let dir = tempfile::Builder::new().prefix("mlinzi-pg-").tempdir().expect("a temporary folder can be made");
        if is_root() {
            let done = Command::new("chown").arg("postgres").arg(dir.path()).status();
            assert!(done.is_ok_and(|s| s.success()), "chown of the server's folder fails; {HOW}");
        }
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).expect("a free port").port();
        let data = dir.path().join("data");
        run(&bin, "initdb", &["-D", path(&data), "-U", "mlinzi", "-A", "trust", "-E", "UTF8", "--locale=C"], true);
        let server =
            Self { admin: format!("postgres://mlinzi@127.0.0.1:{port}/postgres"), own: Some(Own { bin, dir, port }) };
        server.start();
        server
    }

    fn own(&self) -> &Own {
        self.own.as_ref().expect("the shared server is not to be stopped: use Postgres::private()")
    }

    /// Starts a stopped server.
    pub fn start(&self) {
        let own = self.own();
        let dir = own.dir.path();
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c max_connections=200",
            own.port,
            dir.display()
        );
        let (data, log) = (dir.join("data"), dir.join("log"));
        run(&own.bin, "pg_ctl", &["-D", path(&data), "-w", "-l", path(&log), "-o", &options, "start"], true);
    }

    /// Ends the server at once, as a power cut would.
    pub fn kill9(&self) {
        let own = self.own();
        run(&own.bin, "pg_ctl", &["-D", path(&own.dir.path().join("data")), "-m", "immediate", "stop"], true);
    }

    /// An empty database, dropped with its value.
    pub async fn database(&self) -> TestDatabase {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut admin = PgConnection::connect(&self.admin).await.unwrap_or_else(|e| panic!("{e}; {HOW}"));
        // as an ordinary installation has it: an order of text that is not that of bytes
        let create = sqlx::AssertSqlSafe(format!(
            "CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
        ));
        admin.execute(create).await.expect("a database can be made");
        let base = self.admin.rsplit_once('/').map_or(self.admin.as_str(), |(base, _)| base);
        TestDatabase { url: format!("{base}/{name}"), admin: self.admin.clone(), name }
    }
}

fn path(p: &Path) -> &str {
    p.to_str().expect("temporary folders have plain names")
}

fn run(bin: &Path, tool: &str, args: &[&str], must: bool) {
    let mut command = if is_root() {
        let mut c = Command::new("runuser");
        c.args(["-u", "postgres", "--"]).arg(bin.join(tool));
        c
    } else {
        Command::new(bin.join(tool))
    };
    // pg_ctl's server would keep our pipes open: give it none
    let status =
        command.args(args).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(!must || status.as_ref().is_ok_and(std::process::ExitStatus::success), "{tool} fails: {status:?}; {HOW}");
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(own) = &self.own {
            run(&own.bin, "pg_ctl", &["-D", path(&own.dir.path().join("data")), "-m", "immediate", "stop"], false);
        }
    }
}

/// A database of one test.
pub struct TestDatabase {
    /// `postgres://…`
    pub url: String,
    admin: String,
    name: String,
}

impl TestDatabase {
    /// Everything that is in it, as `pg_dump` writes it; bytes are in hexadecimal.
    pub fn dump(&self) -> Vec<u8> {
        let out = Command::new(bin_folder().join("pg_dump")).args(["-d", &self.url]).stdin(Stdio::null()).output();
        let out = out.unwrap_or_else(|e| panic!("pg_dump: {e}; {HOW}"));
        assert!(out.status.success(), "pg_dump: {}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    }

    /// Takes in what `pg_dump` has written.
    pub fn restore(&self, sql: &[u8]) {
        use std::io::Write;
        let mut psql = Command::new(bin_folder().join("psql"));
        psql.args(["-q", "-X", "-v", "ON_ERROR_STOP=1", "-d", &self.url]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut psql = psql.spawn().unwrap_or_else(|e| panic!("psql: {e}; {HOW}"));
        psql.stdin.take().expect("a pipe").write_all(sql).expect("psql reads");
        assert!(psql.wait().is_ok_and(|status| status.success()), "psql refuses the dump");
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (admin, name) = (self.admin.clone(), self.name.clone());
        // the test's own runtime is going away: a thread of our own drops the database
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut admin = PgConnection::connect(&admin).await?;
                let sql = sqlx::AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
                admin.execute(sql).await?;
                anyhow::Ok(())
            })
        });
        // a server that the test has killed has nothing to drop
        let _ = dropped.join();
    }
}
