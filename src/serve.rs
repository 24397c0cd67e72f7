//! `mlinzi serve`: assembles top-down, stops in the order of the flow.

use crate::config::{Config, ConfigError, FeedCredential, Feeds, LogFormat};
use crate::notify::Notifier;
use crate::traces::{self, Exporter};
use crate::{complain, exit, keys, sandbox};
use actors::engine::{Engine, EngineConfig, Faults};
use actors::feeds::{Credential, Credentials, FeedsConfig};
use actors::live::LiveLimits;
use actors::notifiers::{self, NotifySetup};
use actors::secrets::KeyProvider;
use engine::integrity::totals::Tolerance;
use std::future::Future;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use store::{Clock, OpenOptions, Store, SystemClock};
use tokio::signal::unix::{SignalKind, signal};
use web::rate::Rates;
use web::{AppState, ServerOptions, WebOptions};

/// How bearers of keys begin outside the sandbox.
pub const KEY_PREFIX: &str = "mk_live_";

/// Opens the configured store.
pub async fn open_store(config: &Config) -> anyhow::Result<Store> {
    let options = OpenOptions {
        allow_unsafe_durability: config.store.allow_unsafe_durability,
        readers: config.store.readers,
        create: true,
        ..OpenOptions::default()
    };
    Ok(Store::open(&config.store.url, &options).await?)
}

/// Opens a store that is there already: a mistyped path must not become an empty database that looks fine.
pub async fn open_known_store(config: &Config) -> anyhow::Result<Store> {
    let options = OpenOptions {
        allow_unsafe_durability: config.store.allow_unsafe_durability,
        readers: config.store.readers,
        create: false,
        // who stands at a shell would rather wait than be told that the database is busy
        patience: std::time::Duration::from_secs(30),
    };
    Ok(Store::open(&config.store.url, &options).await?)
}

/// Log lines as configured; a second call changes nothing.
pub fn start_logging(config: &Config) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log.level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.try_init(),
    };
    if started.is_err() {
        complain("logging was started before");
    }
    Ok(())
}

/// Everything that runs.
pub struct Running {
    /// The engine.
    pub engine: Engine,
    /// The web's state.
    pub state: AppState,
    /// What carries traces out, if anything does.
    exporter: Option<Exporter>,
}

/// Opens the store, recovers, starts every actor.
pub async fn start(config: &Config) -> anyhow::Result<Running> {
    start_at(config, Arc::new(SystemClock)).await
}

async fn start_at(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<Running> {
    let provider: Arc<dyn KeyProvider> = Arc::from(keys::provider(&config.keys));
    let store = open_store(config).await?;
    let registry = prometheus_registry()?;
    let engine_config = EngineConfig {
        node: config.node.id,
        arbiters: config.engine.arbiters,
        live_tick: Duration::from_millis(config.engine.live_tick_ms),
        checkpoint_every: Duration::from_secs(config.engine.checkpoint_seconds),
        source_queue: config.limits.source_queue,
        operator_queue: config.limits.operator_queue,
        register_queue: config.limits.register_queue,
        live_limits: LiveLimits {
            sessions: config.limits.live_sessions,
            sessions_per_key: config.limits.live_sessions_per_key,
        },
        write_timeout: Duration::from_secs(config.store.write_timeout_seconds),
        snapshot_every: Duration::from_secs(config.engine.snapshot_seconds),
        evidence_person_months: config.engine.evidence_person_months,
        strangers_per_hour: config.engine.strangers_per_hour,
        batch_strangers_per_day: config.engine.batch_strangers_per_day,
        jurisdictions: config.jurisdictions.clone(),
        family: config.engine.family.clone(),
        key_prefix: KEY_PREFIX,
        feeds: feeds(&config.feeds),
        notify: notify_setup(config)?,
        known: None,
        faults: Faults::default(),
    };
    let live = engine_config.clone();
    let keys = Arc::clone(&provider);
    let engine = Engine::start(engine_config, store, keys, clock, &registry).await?;
    let mut options = WebOptions::new(config.engine.family.clone());
    options.origins.clone_from(&config.server.allowed_origins);
    options.bench_routes = config.server.bench_routes;
    options.secure_cookies = config.server.secure_cookies || config.server.tls_files().is_some();
    options.limits.lookup_bytes = config.limits.lookup_body_bytes;
    options.limits.register_bytes = config.limits.register_body_bytes;
    options.limits.push_bytes = config.limits.push_body_bytes;
    options.limits.batch_bytes = config.limits.batch_body_bytes;
    options.rates = Rates {
        address_per_second: config.limits.address_requests_per_second,
        operator_per_second: config.limits.operator_requests_per_second,
    };
    options.address_connections = config.limits.address_connections;
    options.proxies = config.server.proxies().map_err(|wrong| ConfigError(vec![wrong]))?;
    let (traces, exporter) = traces::start(&config.traces, config.node.id, &registry)?.unzip();
    options.traces = traces;
    // a test register that does not start must not keep the live one from starting
    let sandbox = sandbox::start(config, &live, provider, &options).await.unwrap_or_else(|error| {
        tracing::error!(%error, "there is no sandbox");
        None
    });
    let state = AppState::new(engine.clone(), options, registry)?;
    sandbox.into_iter().for_each(|sandbox| state.open_sandbox(sandbox));
    Ok(Running { engine, state, exporter })
}

/// What sources that fetch may reach.
fn feeds(config: &Feeds) -> FeedsConfig {
    let credential = |(name, kept): (&String, &FeedCredential)| {
        let kept = match kept.environment.as_str() {
            "" => Credential::File(kept.file.clone()),
            variable => Credential::Environment(variable.to_owned()),
        };
        (name.clone(), kept)
    };
    FeedsConfig {
        allow_private_addresses: config.allow_private_addresses,
        folder_root: Some(config.folder_root.clone()).filter(|root| !root.as_os_str().is_empty()),
        credentials: Credentials::new(config.credentials.iter().map(credential)),
        declared_tolerance: Tolerance {
            amount_ppm: (config.declared_tolerance * 1e6).round() as u32,
            count: config.declared_count_tolerance,
        },
        ..FeedsConfig::default()
    }
}

/// Channels with their secrets, and routes.
fn notify_setup(config: &Config) -> Result<NotifySetup, ConfigError> {
    let router = config.notify.router(&config.jurisdictions).map_err(ConfigError)?;
    let channels = notifiers::open(&config.notify.channels, &config.jurisdictions).map_err(ConfigError)?;
    Ok(NotifySetup { channels, router: Arc::new(router) })
}

fn prometheus_registry() -> anyhow::Result<prometheus::Registry> {
    let registry = prometheus::Registry::new();
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Ok(registry)
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nothing was left.
    Drained,
    /// Something was left in a queue or under way.
    LeftBehind,
    /// The engine could not go on.
    Defect,
}

impl Ended {
    /// What the process says to whoever started it.
    pub fn code(self) -> ExitCode {
        match self {
            Self::Drained => ExitCode::SUCCESS,
            // 2 is what clap answers to a mistyped command
            Self::LeftBehind => ExitCode::from(3),
            Self::Defect => ExitCode::from(exit::DEFECT),
        }
    }
}

/// Serves until `end` resolves; then drains, within the configured time.
pub async fn serve(
    config: &Config,
    running: Running,
    listener: TcpListener,
    end: impl Future<Output = ()> + 'static,
) -> anyhow::Result<Ended> {
    let options = ServerOptions {
        workers: match config.server.workers {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            n => n,
        },
        connections_max: config.server.connections_max,
        client_timeout: Duration::from_secs(config.server.client_timeout_seconds),
        shutdown: Duration::from_secs(config.server.shutdown_seconds),
        tls: config.server.tls_files(),
        ..ServerOptions::default()
    };
    let address = listener.local_addr()?;
    tracing::info!(%address, "listening");
    let sandbox = running.state.sandbox().cloned();
    web::run(listener, options, running.state, end).await?;
    let patience = Duration::from_secs(config.server.shutdown_seconds);
    if let Some(sandbox) = sandbox {
        sandbox.engine.stop(patience).await;
    }
    let drained = running.engine.stop(patience).await;
    if let Some(exporter) = running.exporter {
        exporter.stop().await;
    }
    tracing::info!(drained, "stopped");
    Ok(match drained {
        _ if running.engine.has_failed() => Ended::Defect,
        true => Ended::Drained,
        false => Ended::LeftBehind,
    })
}

/// Resolves at the first SIGTERM or SIGINT, and once the engine cannot go on; the next signal ends the process at once.
pub async fn ending(engine: &Engine) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return engine.failed().await;
    };
    let asked = tokio::select! {
        _ = term.recv() => true,
        _ = int.recv() => true,
        () = engine.failed() => false,
    };
    if asked {
        tracing::info!("stopping; a second signal forces it");
    } else {
        tracing::error!("stopping after a defect: whoever watches this process has to start it again");
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        complain("forced");
        std::process::exit(130);
    });
}

/// The command.
pub async fn run(config: Config) -> anyhow::Result<ExitCode> {
    start_logging(&config)?;
    let listener = TcpListener::bind((config.server.host, config.server.port))?;
    let notifier = Notifier::start();
    let running = start(&config).await?;
    let engine = running.engine.clone();
    notifier.runs(engine.clone());
    let end = async move {
        ending(&engine).await;
        notifier.ends();
    };
    Ok(serve(&config, running, listener, end).await?.code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::event::Event;
    use models::ts::Ts;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// The system's time, until the thread that seals evidence is to break.
    #[derive(Clone, Default)]
    struct Breaking(Arc<AtomicBool>);

    impl Clock for Breaking {
        fn now(&self) -> Ts {
            let seals = std::thread::current().name() == Some("evidence");
            assert!(!(seals && self.0.load(Ordering::Relaxed)), "an injected fault");
            SystemClock.now()
        }
    }

    async fn ready(engine: &Engine) {
        let wait = async {
            while !engine.readiness().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("the engine becomes ready");
    }

    #[actix_rt::test]
    async fn who_can_keep_no_evidence_ends_so_that_the_next_one_journals_the_gap_and_goes_on() {
        let dir = testkit::temp_dir();
        let keys = dir.path().join("keys.toml").display().to_string();
        let settings = [
            ("store.url", testkit::sqlite_url(&dir)),
            ("keys.file", keys),
            ("server.shutdown_seconds", "1".to_owned()),
        ];
        let config = crate::config::load(None, &settings).unwrap();
        keys::init(&config.keys).unwrap();
        let clock = Breaking::default();
        let running = start_at(&config, Arc::new(clock.clone())).await.unwrap();
        let engine = running.engine.clone();
        ready(&engine).await;
        clock.0.store(true, Ordering::Relaxed);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ended = serve(&config, running, listener, async move { ending(&engine).await });
        let ended = tokio::time::timeout(Duration::from_secs(60), ended).await.expect("it ends by itself").unwrap();
        assert_eq!(ended, Ended::Defect);

        let engine = start(&config).await.unwrap().engine;
        ready(&engine).await;
        let gaps = engine.store().journal_events("evidence_gap").await.unwrap();
        assert!(matches!(gaps.as_slice(), [Event::EvidenceGap { .. }]), "{gaps:?}");
        assert!(engine.stop(Duration::from_secs(20)).await);
        assert!(!engine.has_failed());
    }
}
