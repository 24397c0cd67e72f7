//! What systemd is told of a service of `Type=notify` (sd_notify(3), `systemd.service`): ready when `/health/ready` is,
//! alive while the thread that writes moves, going when it goes. Without systemd nothing is told to anybody.

use actors::engine::Engine;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often readiness is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often a start asks for more time, and for how much: a rebuild of a large register takes longer than any limit
/// that suits everybody.
const ASK_EVERY: Duration = Duration::from_secs(10);
const MORE: Duration = Duration::from_secs(60);

/// Where the service manager listens.
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// How long it waits for a sign of life; none where it does not.
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that started this process, if it wants to be told.
    fn of_this_process() -> Option<Self> {
        let path = std::env::var_os("NOTIFY_SOCKET")?;
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| is_ours && *usec > 0).map(Duration::from_micros);
        let opened = match path.as_bytes() {
            // it lies in no file system
            #[cfg(target_os = "linux")]
            [b'@', name @ ..] => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name),
            _ => SocketAddr::from_pathname(&path),
        };
        let opened = opened.and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            // a manager that does not read must not hold us up
            socket.set_nonblocking(true)?;
            Ok(Self { socket, address, watchdog })
        });
        opened.inspect_err(|error| tracing::error!(%error, "the service manager cannot be told anything")).ok()
    }

    fn tell(&self, state: &str) {
        if let Err(error) = self.socket.send_to_addr(state.as_bytes(), &self.address) {
            tracing::warn!(%error, "the service manager was not told");
        }
    }
}

/// Tells the service manager how the engine is doing, until the process ends.
pub struct Notifier {
    engine: watch::Sender<Option<Engine>>,
    ending: watch::Sender<bool>,
}

impl Notifier {
    /// Begins with "starting".
    pub fn start() -> Self {
        let (engine, running) = watch::channel(None);
        let (ending, ended) = watch::channel(false);
        if let Some(manager) = Manager::of_this_process().map(Arc::new) {
            if let Some(limit) = manager.watchdog {
                tokio::spawn(live(Arc::clone(&manager), limit));
            }
            tokio::spawn(tell(manager, running, ended));
        }
        Self { engine, ending }
    }

    /// The engine runs, and its listener takes connections.
    pub fn runs(&self, engine: Engine) {
        self.engine.send_replace(Some(engine));
    }

    /// It is going.
    pub fn ends(&self) {
        self.ending.send_replace(true);
    }
}

/// Says that we live twice as often as asked (sd_watchdog_enabled(3)), on the way up and down, too. On the thread that
/// the writer and the poll of the journal run on: where that hangs, nobody says so any more.
async fn live(manager: Arc<Manager>, limit: Duration) {
    let mut ticks = interval(limit / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        manager.tell("WATCHDOG=1");
    }
}

/// Says once that the engine is ready, asks for time until then, and says once that it goes.
async fn tell(manager: Arc<Manager>, engine: watch::Receiver<Option<Engine>>, mut ending: watch::Receiver<bool>) {
    let ready = async {
        let mut asked = None::<Instant>;
        loop {
            let reasons = engine.borrow().as_ref().map(Engine::readiness);
            if reasons.as_ref().is_some_and(Vec::is_empty) {
                return manager.tell("READY=1\nSTATUS=ready");
            }
            if asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY) {
                let why = reasons.map_or_else(|| "recovering".to_owned(), |reasons| reasons.join("; "));
                manager.tell(&format!("EXTEND_TIMEOUT_USEC={}\nSTATUS={why}", MORE.as_micros()));
                asked = Some(Instant::now());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let ends = async { ending.wait_for(|ends| *ends).await.is_ok() };
    tokio::pin!(ends);
    let ended = tokio::select! {
        ended = &mut ends => ended,
        () = ready => ends.await,
    };
    if ended {
        manager.tell("STOPPING=1\nSTATUS=draining");
    }
}
