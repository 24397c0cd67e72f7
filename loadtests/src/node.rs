//! The product under load: the release binary with a store of its own, started, killed and looked at from outside.

use crate::postgres::Database;
use crate::wire::{Connection, Head, Target};
use anyhow::Context;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// How long a node may take to become ready.
const READY: Duration = Duration::from_secs(300);
/// Requests a second of bench keys: the most there is, beyond any load here; the limit is still in the way of each request.
const RATE: u32 = 100_000;

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// SQLite in a file.
    Embedded,
    /// The private PostgreSQL.
    Postgres,
}

impl StoreKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Embedded, Self::Postgres];

    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Postgres => "postgres",
        }
    }
}

/// A store, the keys beside it, and the program that runs on it.
pub struct Node {
    /// Address of the server.
    pub address: SocketAddr,
    /// A staff key that may do everything.
    pub staff: String,
    /// URL of the store.
    pub store: String,
    /// Roots of its certificate, where it has one.
    tls: Option<TlsConnector>,
    child: Option<Child>,
    environment: Vec<(String, String)>,
    binary: PathBuf,
    /// The processor it runs on alone; anywhere where none is named.
    processor: Option<u32>,
    /// Record ids that make a source panic: then this program plays the node, see [`crate::faulty`].
    poison: Option<Poison>,
    dir: PathBuf,
    _temporary: Option<tempfile::TempDir>,
    _database: Option<Database>,
}

/// What breaks in a node of [`crate::faulty`].
#[derive(Clone, Copy, Debug)]
pub struct Poison {
    /// Records with such ids panic.
    pub records: &'static str,
    /// In the operator's state instead of the source; and certain registrations block the register.
    pub storm: bool,
}

/// Not a setting of the program: the node is to speak TLS.
pub const TLS: &str = "BENCH_TLS";

/// Gives a node a certificate of its own, and a connector that knows it.
fn certify(node: &mut Node) -> anyhow::Result<TlsConnector> {
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
    let (certificate_file, key_file) = (node.dir.join("certificate.pem"), node.dir.join("key.pem"));
    std::fs::write(&certificate_file, certificate.pem())?;
    std::fs::write(&key_file, key.serialize_pem())?;
    for (name, path) in [("CERTIFICATE", certificate_file), ("KEY", key_file)] {
        node.environment.push((format!("MLINZI__SERVER__TLS_{name}"), path.display().to_string()));
    }
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone())?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

/// An operator with a key and a source of its own.
#[derive(Clone, Debug)]
pub struct Feed {
    /// `opr_…`
    pub operator: String,
    /// Operator's key: lookups and pushes.
    pub bearer: String,
    /// `src_…`
    pub source: String,
}

impl Feed {
    /// The head of a push.
    pub fn push(&self) -> Head {
        Head::new("POST", &format!("/api/v1/feeds/{}/records", self.source), &self.bearer, "application/x-ndjson")
    }
}

/// Folder of the built binaries.
pub fn binaries() -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.parent().context("a folder")?.to_owned())
}

/// Where stores lie: on the disk the build lies on, never in a memory file system.
pub fn scratch() -> anyhow::Result<PathBuf> {
    let folder = binaries()?.join("../bench");
    std::fs::create_dir_all(&folder)?;
    Ok(folder.canonicalize()?)
}

impl Node {
    /// A running node on a fresh store.
    pub async fn fresh(kind: StoreKind, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let temporary = tempfile::Builder::new().prefix("store-").tempdir_in(scratch()?)?;
        let dir = temporary.path().to_owned();
        let database = match kind {
            StoreKind::Embedded => None,
            StoreKind::Postgres => Some(Database::create()?),
        };
        let store = database.as_ref().map_or_else(|| sqlite(&dir), |d| d.url.clone());
        Self::start_in(dir, store, settings, None, Some(temporary), database, None).await
    }

    /// A running node on a fresh embedded store whose sources panic at every record with such an id.
    pub async fn isolated(poison: &'static str) -> anyhow::Result<Self> {
        let temporary = tempfile::Builder::new().prefix("store-").tempdir_in(scratch()?)?;
        let dir = temporary.path().to_owned();
        let store = sqlite(&dir);
        let poison = Poison { records: poison, storm: false };
        Self::start_in(dir, store, &[], None, Some(temporary), None, Some(poison)).await
    }

    /// A running node on what lies in a folder; a fresh store where nothing does.
    pub async fn kept(dir: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir)?;
        Self::start_in(dir.to_owned(), sqlite(dir), settings, None, None, None, None).await
    }

    /// The same on a store of whatever kind.
    pub async fn at(dir: &Path, store: &str, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::start_in(dir.to_owned(), store.to_owned(), settings, None, None, None, None).await
    }

    /// The same with one worker, on the first processor alone: the loader has the other one.
    pub async fn pinned(dir: &Path, store: &str, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let settings = [settings, &[("MLINZI__SERVER__WORKERS", "1")]].concat();
        Self::start_in(dir.to_owned(), store.to_owned(), &settings, Some(0), None, None, None).await
    }

    /// The same, in a storm: operators panic at every record with such an id, and whoever takes a break of 24 hours blocks
    /// the register.
    pub async fn stormy(dir: &Path, records: &'static str, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let settings = [settings, &[("MLINZI__SERVER__WORKERS", "1")]].concat();
        let poison = Poison { records, storm: true };
        Self::start_in(dir.to_owned(), sqlite(dir), &settings, Some(0), None, None, Some(poison)).await
    }

    async fn start_in(
        dir: PathBuf,
        store: String,
        settings: &[(&str, &str)],
        processor: Option<u32>,
        temporary: Option<tempfile::TempDir>,
        database: Option<Database>,
        poison: Option<Poison>,
    ) -> anyhow::Result<Self> {
        let binary = binaries()?.join("mlinzi");
        anyhow::ensure!(binary.exists(), "{} is not built: cargo build --release --workspace", binary.display());
        let mut environment = vec![
            ("MLINZI__LOG__LEVEL".to_owned(), "warn".to_owned()),
            ("MLINZI__SERVER__BENCH_ROUTES".to_owned(), "true".to_owned()),
            // whoever asks about ten million people at random tries numbers, as far as the product can tell
            ("MLINZI__ENGINE__STRANGERS_PER_HOUR".to_owned(), u32::MAX.to_string()),
            // one address and one operator stand for a whole market here
            ("MLINZI__LIMITS__ADDRESS_REQUESTS_PER_SECOND".to_owned(), "1000000".to_owned()),
            ("MLINZI__LIMITS__OPERATOR_REQUESTS_PER_SECOND".to_owned(), "1000000".to_owned()),
            ("MLINZI__LIMITS__ADDRESS_CONNECTIONS".to_owned(), "1000000".to_owned()),
        ];
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut node = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            staff: String::new(),
            store,
            tls: None,
            child: None,
            environment,
            binary,
            processor,
            poison,
            dir,
            _temporary: temporary,
            _database: database,
        };
        node.prepare()?;
        if settings.iter().any(|(name, _)| *name == TLS) {
            node.tls = Some(certify(&mut node)?);
        }
        node.start().await?;
        Ok(node)
    }

    fn command(&self) -> Command {
        let mut command = self.placed(&self.binary);
        command.arg("--store").arg(&self.store).arg("--keys").arg(self.dir.join("keys.toml"));
        command
    }

    /// A program on the node's processor, with its settings.
    fn placed(&self, program: &Path) -> Command {
        let mut command = match self.processor {
            None => Command::new(program),
            Some(processor) => {
                let mut command = Command::new("taskset");
                command.arg("-c").arg(processor.to_string()).arg(program);
                command
            }
        };
        command.envs(self.environment.iter().map(|(n, v)| (n, v)));
        command
    }

    /// Runs a command of the program and gives what it says.
    pub fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let out = self.command().args(args).stdin(Stdio::null()).output()?;
        anyhow::ensure!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        Ok(String::from_utf8(out.stdout)?)
    }

    fn prepare(&mut self) -> anyhow::Result<()> {
        if !self.dir.join("keys.toml").exists() {
            self.run(&["key", "init"])?;
        }
        let rate = RATE.to_string();
        let mut args = vec!["key", "create", "--label", "bench", "--rate", &rate, "--json"];
        let scopes = [
            "register:write",
            "operators:manage",
            "feeds:manage",
            "feeds:write",
            "lookup",
            "lookup:batch",
            "market:read",
            "alerts:manage",
            "system:read",
        ];
        scopes.iter().for_each(|scope| args.extend(["--scope", scope]));
        let key: Value = serde_json::from_str(&self.run(&args)?)?;
        self.staff = text(&key, "bearer")?;
        Ok(())
    }

    /// Starts the program and waits until it is ready.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        self.address = SocketAddr::from(([127, 0, 0, 1], port));
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join("log"))?;
        let mut command = match self.poison {
            None => {
                let mut command = self.command();
                command.args(["serve", "--port", &port.to_string()]);
                command
            }
            Some(poison) => {
                let mut command = self.placed(&std::env::current_exe()?);
                let keys = self.dir.join("keys.toml").display().to_string();
                command.args(["node", "--store", &self.store, "--keys", &keys, "--poison", poison.records]);
                if poison.storm {
                    command.arg("--storm");
                }
                command.args(["--port", &port.to_string()]);
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn()?);
        let end = Instant::now() + READY;
        let head = Head::new("GET", "/health/ready", "none", "application/json");
        loop {
            if let Ok(mut connection) = Connection::open(self.target()).await
                && connection.send(&head, b"").await.is_ok_and(|answer| answer.status == 200)
            {
                return Ok(());
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            anyhow::ensure!(ended.is_none() && Instant::now() < end, "the node does not start: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How it is spoken to.
    pub fn target(&self) -> Target {
        Target { address: self.address, tls: self.tls.clone() }
    }

    /// What the program complained of.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        text.lines().rev().take(5).collect::<Vec<_>>().join("\n")
    }

    /// Process id of what was started.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Asks the program to stop and waits for its end.
    pub fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let mut child = self.child.take().context("it does not run")?;
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
        Ok(child.wait()?)
    }

    /// Processor time the program has used.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid().context("it does not run")?))?;
        let fields = stat.rsplit_once(") ").context("a stat line")?.1.split(' ');
        let ticks: u64 = fields.skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
        // USER_HZ is 100 on every Linux we build for
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Resident memory, bytes.
    pub fn resident(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid().context("it does not run")?))?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).context("VmRSS")?;
        let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).context("a number")?;
        Ok(kib << 10)
    }

    /// A new connection.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        Ok(Connection::open(self.target()).await?)
    }

    /// A POST as staff that must succeed.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let mut connection = self.connect().await?;
        connection.must(&Head::json(path, &self.staff), body.to_string().as_bytes()).await
    }

    /// A GET as staff that must succeed.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let mut connection = self.connect().await?;
        connection.must(&Head::new("GET", path, &self.staff, "application/json"), b"").await
    }

    /// An operator with a key and a source.
    pub async fn feed(&self, code: &str, clock: &str, horizon_days: u16) -> anyhow::Result<Feed> {
        let operator = self.post("/api/v1/operators/register", &json!({"code": code, "name": code})).await?;
        let operator = text(&operator, "id")?;
        let key = json!({"label": "bench", "scopes": ["lookup", "feeds:write"], "rate_per_second": RATE});
        let bearer = text(&self.post(&format!("/api/v1/operators/{operator}/keys"), &key).await?, "bearer")?;
        let source = json!({
            "operator": operator, "name": "play", "kind": "push", "class": "gaming_transactions", "clock": clock,
            "horizon_days": horizon_days, "expected_interval_seconds": 60, "currency": "KES",
        });
        let source = text(&self.post("/api/v1/feeds", &source).await?, "id")?;
        Ok(Feed { operator, bearer, source })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// URL of the embedded store in a folder.
pub fn sqlite(dir: &Path) -> String {
    format!("sqlite:{}", dir.join("mlinzi.sqlite").display())
}

/// A text field of an answer.
pub fn text(body: &Value, field: &str) -> anyhow::Result<String> {
    body[field].as_str().map(ToOwned::to_owned).with_context(|| format!("the answer has no {field}: {body}"))
}
