//! A NATS server with JetStream in a folder of its own, to be stopped, killed and started at will.

use anyhow::Context;
use async_nats::jetstream;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const HOW: &str = "nats-server is needed (Debian: nats-server): scripts/install-test-deps.sh (make test-deps)";
/// How long it may take to be ready.
const READY: Duration = Duration::from_secs(20);
/// Bytes of a message at most: more than one fetch takes, so that such a message can be sent.
const PAYLOAD_MAX: usize = 16 << 20;

/// A server; it ends with its value.
pub struct NatsServer {
    /// Where it listens.
    pub address: SocketAddr,
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl NatsServer {
    /// Starts one with a store on disk; `more` is added to its configuration, e.g. who may come in.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub async fn start(more: &str) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("mlinzi-nats-").tempdir()?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let store = dir.path().join("store");
        let config = format!(
            "listen: \"127.0.0.1:{port}\"\nmax_payload: {PAYLOAD_MAX}\nmax_pending: 64MB\n\
             jetstream {{ store_dir: \"{}\", max_memory_store: 64MB, max_file_store: 4GB }}\n{more}\n",
            store.display()
        );
        std::fs::write(dir.path().join("nats.conf"), config)?;
        let mut server = Self { address: SocketAddr::from(([127, 0, 0, 1], port)), dir, child: None };
        server.go_on().await?;
        Ok(server)
    }

    /// Starts it again, with what it has stored.
    ///
    /// # Errors
    /// It does not start.
    pub async fn go_on(&mut self) -> anyhow::Result<()> {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.path().join("log"))?;
        let mut command = Command::new("nats-server");
        command.arg("-c").arg(self.dir.path().join("nats.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().context(HOW)?);
        let end = Instant::now() + READY;
        // it says so once its store is open and it listens
        while self.log().matches("Server is ready").count() < self.log().matches("Starting nats-server").count().max(1)
        {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            anyhow::ensure!(ended.is_none() && Instant::now() < end, "nats-server does not start: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// It cannot be killed.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// A client of its own for those who write.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn client(&self, options: async_nats::ConnectOptions) -> anyhow::Result<jetstream::Context> {
        Ok(jetstream::new(options.connect(format!("nats://{}", self.address)).await?))
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
