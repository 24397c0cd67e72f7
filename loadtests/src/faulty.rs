//! A node with faults: the product's engine and server, and sources that panic at certain records.
//!
//! The released program has no way to inject a fault; this process assembles the same parts and adds one.

use actors::engine::{Engine, EngineConfig, Faults};
use actors::secrets::KeyMaterial;
use anyhow::Context;
use models::jurisdiction::Jurisdiction;
use models::record::Record;
use serde::Deserialize;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::{OpenOptions, Store, SystemClock};
use web::{AppState, ServerOptions, WebOptions};

/// What it runs on.
#[derive(clap::Args)]
pub struct Args {
    #[arg(long, hide = true, default_value = "")]
    store: String,
    #[arg(long, hide = true)]
    keys: Option<PathBuf>,
    #[arg(long, hide = true, default_value_t = 0)]
    port: u16,
    #[arg(long, hide = true, default_value = "")]
    poison: String,
}

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
    let defaults: Defaults = toml::from_str(include_str!("../../config/default.toml")).context("the defaults")?;
    let config = EngineConfig {
        node: 1,
        family: defaults.engine.family.clone(),
        arbiters: 2,
        live_tick: Duration::from_millis(100),
        checkpoint_every: Duration::from_secs(10),
        source_queue: 64,
        operator_queue: 256,
        register_queue: 4_096,
        write_timeout: Duration::from_secs(5),
        snapshot_every: Duration::from_secs(300),
        evidence_person_months: 24,
        jurisdictions: defaults.jurisdictions,
        faults: Faults { sources: Some(Arc::new(inspect)), operators: None },
    };
    let engine = Engine::start(config, store, Arc::new(material), Arc::new(SystemClock), &registry).await?;
    let state = AppState::new(engine, WebOptions::new(defaults.engine.family), registry)?;
    let listener = TcpListener::bind(("127.0.0.1", args.port))?;
    Ok(web::run(listener, ServerOptions::default(), state, std::future::pending()).await?)
}
