//! `mlinzi serve`: assembles top-down, stops in the order of the flow.

use crate::config::{Config, LogFormat};
use crate::notify::Notifier;
use crate::traces::{self, Exporter};
use crate::{complain, keys, sandbox};
use actors::engine::{Engine, EngineConfig, Faults};
use actors::live::LiveLimits;
use actors::secrets::KeyProvider;
use std::future::Future;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use store::{OpenOptions, Store, SystemClock};
use tokio::signal::unix::{SignalKind, signal};
use web::rate::Rates;
use web::{AppState, ServerOptions, WebOptions};

/// Opens the configured store.
pub async fn open_store(config: &Config) -> anyhow::Result<Store> {
    let options = OpenOptions {
        allow_unsafe_durability: config.store.allow_unsafe_durability,
        readers: config.store.readers,
        create: true,
    };
    Ok(Store::open(&config.store.url, &options).await?)
}

/// Opens a store that is there already: a mistyped path must not become an empty database that looks fine.
pub async fn open_known_store(config: &Config) -> anyhow::Result<Store> {
    let options = OpenOptions {
        allow_unsafe_durability: config.store.allow_unsafe_durability,
        readers: config.store.readers,
        create: false,
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
        jurisdictions: config.jurisdictions.clone(),
        family: config.engine.family.clone(),
        key_prefix: "mk_live_",
        faults: Faults::default(),
    };
    let live = engine_config.clone();
    let keys = Arc::clone(&provider);
    let engine = Engine::start(engine_config, store, keys, Arc::new(SystemClock), &registry).await?;
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

fn prometheus_registry() -> anyhow::Result<prometheus::Registry> {
    let registry = prometheus::Registry::new();
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Ok(registry)
}

/// Serves until `end` resolves; then drains, within the configured time.
pub async fn serve(
    config: &Config,
    running: Running,
    listener: TcpListener,
    end: impl Future<Output = ()> + 'static,
) -> anyhow::Result<bool> {
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
    Ok(drained)
}

/// Resolves at the first SIGTERM or SIGINT; the second one ends the process at once.
pub async fn end_signal() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    tracing::info!("stopping; a second signal forces it");
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
    notifier.runs(running.engine.clone());
    let end = async move {
        end_signal().await;
        notifier.ends();
    };
    let drained = serve(&config, running, listener, end).await?;
    // 2 is what clap answers to a mistyped command
    Ok(if drained { ExitCode::SUCCESS } else { ExitCode::from(3) })
}
