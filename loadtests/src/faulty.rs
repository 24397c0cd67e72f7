//! A node with faults: the product's engine and server, sources or operators that panic at certain records, and a register
//! that stands still at certain registrations.
//!
//! The released program has no way to inject a fault; this process assembles the same parts and adds one.

use actors::engine::{Engine, EngineConfig, Faults};
use actors::secrets::KeyMaterial;
use actors::source::Inspect;
use anyhow::Context;
use models::event::Event;
use models::exclusion::Period;
use models::jurisdiction::Jurisdiction;
use models::record::Record;
use serde::Deserialize;
use std::net::TcpListener;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::{OpenOptions, Store, SystemClock};
use web::rate::Rates;
use web::{AppState, ServerOptions, WebOptions};

/// What it runs on.
#[derive(clap::Args)]
#[group(id = "node")]
pub struct Args {
    #[arg(long, hide = true, default_value = "")]
    store: String,
    #[arg(long, hide = true)]
    keys: Option<PathBuf>,
    #[arg(long, hide = true, default_value_t = 0)]
    port: u16,
    #[arg(long, hide = true, default_value = "")]
    poison: String,
    /// The operator panics instead of the source, and a break of 24 hours blocks the register.
    #[arg(long, hide = true)]
    storm: bool,
    #[arg(long, hide = true, env = "MLINZI__SERVER__WORKERS", default_value_t = 0)]
    workers: usize,
    #[arg(long, hide = true, env = "MLINZI__ENGINE__SNAPSHOT_SECONDS", default_value_t = 300)]
    snapshot_seconds: u64,
}

/// How long the register stands still.
pub const BLOCKED: Duration = Duration::from_secs(10);

/// Runs until it is killed.
pub fn run(args: &Args) -> anyhow::Result<()> {
    actors::kernel::install_panic_hook();
    actix_rt::System::new().block_on(serve(args))
}

/// What the store was begun with: keys and operators are made by the product itself, on its own configuration.
#[derive(Deserialize)]
struct Defaults {
    engine: Family,
    jurisdictions: Vec<Jurisdiction>,
}

#[derive(Deserialize)]
struct Family {
    family: String,
}

async fn serve(args: &Args) -> anyhow::Result<()> {
    let keys = args.keys.as_ref().context("a node of the bench is started by the bench")?;
    let material: KeyMaterial = toml::from_str(&std::fs::read_to_string(keys)?).context("keys")?;
    let store = Store::open(&args.store, &OpenOptions::default()).await?;
    let registry = prometheus::Registry::new();
    let poison = args.poison.clone();
    let inspect = move |record: &Record| {
        assert!(!record.record_id.starts_with(&poison), "an injected fault");
    };
    let inspect: Inspect = Arc::new(inspect);
    let faults = if args.storm {
        let blocks = |event: &Event| {
            if matches!(event, Event::ExclusionRegistered(e) if e.period == Period::Hours24) {
                std::thread::sleep(BLOCKED);
            }
        };
        Faults { operators: Some(inspect), register: Some(Arc::new(blocks)), ..Faults::default() }
    } else {
        Faults { sources: Some(inspect), ..Faults::default() }
    };
    let defaults: Defaults = toml::from_str(include_str!("../../config/default.toml")).context("the defaults")?;
    let config = EngineConfig {
        arbiters: 2,
        checkpoint_every: Duration::from_secs(10),
        source_queue: 64,
        operator_queue: 256,
        register_queue: 4_096,
        snapshot_every: Duration::from_secs(args.snapshot_seconds),
        jurisdictions: defaults.jurisdictions,
        faults,
        ..EngineConfig::small(&defaults.engine.family)
    };
    let engine = Engine::start(config, store, Arc::new(material), Arc::new(SystemClock), &registry).await?;
    let mut options = WebOptions::new(defaults.engine.family);
    options.bench_routes = true;
    options.rates = Rates { address_per_second: NonZeroU32::MAX, operator_per_second: NonZeroU32::MAX };
    options.address_connections = u32::MAX;
    let state = AppState::new(engine, options, registry)?;
    let listener = TcpListener::bind(("127.0.0.1", args.port))?;
    let mut server = ServerOptions::default();
    if args.workers > 0 {
        server.workers = args.workers;
    }
    Ok(web::run(listener, server, state, std::future::pending()).await?)
}
