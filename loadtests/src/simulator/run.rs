//! `mlinzi-sim run`: a live world on one loopback port, with an engine or without.

use super::live::http;
use super::live::send::{Dropper, asking, declaring, dropping, pushing};
use super::live::setup::{Client, Known, Rhythm, folders};
use super::live::{Hub, TURN, VirtualClock, wall};
use super::scenario::Scenario;
use super::truth::TruthFile;
use super::world::World;
use anyhow::Context;
use futures_util::stream::{FuturesUnordered, StreamExt};
use models::ts::{MINUTE, Ts};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// How it runs.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// `demo`, `market`, or a file.
    #[arg(long, default_value = "demo")]
    pub scenario: String,
    /// Seed.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Port of 127.0.0.1; another free one is taken where it is in use.
    #[arg(long, default_value_t = 8090)]
    pub port: u16,
    /// Engine to play with, e.g. `http://127.0.0.1:8080`; its staff's keys stand in MLINZI_KEY or, by jurisdiction, in
    /// MLINZI_KEY_KE, MLINZI_KEY_NG_LA, …
    #[arg(long)]
    pub engine: Option<String>,
    /// Folder that the engine reads files below (`feeds.folder_root`).
    #[arg(long)]
    pub folder: Option<PathBuf>,
    /// File of the ground truth.
    #[arg(long, default_value = "truth.ndjson")]
    pub truth: PathBuf,
    /// First instant, RFC 3339; now by default.
    #[arg(long)]
    pub from: Option<String>,
    /// How many times as fast as the clock, until it has caught up with it.
    #[arg(long, default_value_t = 1.0)]
    pub speed: f64,
    /// Seconds between two questions to an operator.
    #[arg(long, default_value_t = 5)]
    pub operator_seconds: u32,
    /// Seconds between two questions to a tax authority or a bank.
    #[arg(long, default_value_t = 30)]
    pub authority_seconds: u32,
    /// Seconds between two questions to the licence authority.
    #[arg(long, default_value_t = 60)]
    pub licence_seconds: u32,
    /// Ends when standard input does: a simulator never outlives the program that started it.
    #[arg(long)]
    pub until_stdin_ends: bool,
}

/// A scenario by name or file.
///
/// # Errors
/// It is not there, or makes no sense.
pub fn scenario(name: &str) -> anyhow::Result<Scenario> {
    let text = match Scenario::known(name) {
        Some(text) => text.to_owned(),
        None => {
            std::fs::read_to_string(name).with_context(|| format!("neither a known scenario nor a file: {name}"))?
        }
    };
    Scenario::from_toml(&text).with_context(|| format!("the scenario {name}"))
}

/// Runs until a signal, or the end of standard input.
///
/// # Errors
/// The engine does not take the parties, or the ground truth cannot be written.
pub fn run(args: RunArgs) -> anyhow::Result<()> {
    actors::kernel::install_panic_hook();
    // the HTTP client needs a provider before its first use; a second install only says there is one
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    actix_rt::System::new().block_on(live(args))
}

/// Keys of staff by jurisdiction: one of its own, or the one for all.
fn staff(scenario: &Scenario) -> BTreeMap<String, String> {
    let own = |jurisdiction: &str| std::env::var(format!("MLINZI_KEY_{}", jurisdiction.replace('-', "_"))).ok();
    let key = |jurisdiction: &String| own(jurisdiction).or_else(|| std::env::var("MLINZI_KEY").ok());
    let jurisdictions = scenario.operators.iter().map(|operator| &operator.jurisdiction);
    jurisdictions.filter_map(|jurisdiction| Some((jurisdiction.clone(), key(jurisdiction)?))).collect()
}

async fn live(args: RunArgs) -> anyhow::Result<()> {
    anyhow::ensure!((0.001..=100_000.0).contains(&args.speed), "--speed: not from 0.001 to 100000");
    let scenario = Arc::new(scenario(&args.scenario)?);
    let from = args.from.as_deref().map(Ts::parse).transpose()?;
    let truth = TruthFile::create(&args.truth).with_context(|| format!("{}", args.truth.display()))?;
    let listener = TcpListener::bind(("127.0.0.1", args.port)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)))?;
    let peer = listener.local_addr()?;

    // who is excluded is so before anybody plays; the same seed gives the same people at any time
    let people = World::new(&scenario, args.seed, Ts(0), Ts(0)).excluded();
    let mut engine = None;
    if let Some(base) = &args.engine {
        let client = Client::new(base, staff(&scenario))?;
        if let Some(root) = &args.folder {
            folders(&scenario).iter().try_for_each(|folder| std::fs::create_dir_all(root.join(folder)))?;
        }
        client.exclude(&people).await?;
        engine = Some(client);
    }
    let origin = from.unwrap_or_else(wall);
    let begin = if from.is_some() { origin } else { origin.plus(-i64::from(scenario.history_minutes) * MINUTE) };
    let world = World::new(&scenario, args.seed, begin, origin);
    let hub = Arc::new(Hub::new(world, VirtualClock::new(origin, args.speed), truth));
    hub.turn()?;
    let server = http::serve(listener, Arc::clone(&hub))?;
    let handle = server.handle();
    let serving = actix_rt::spawn(server);

    let rhythm = Rhythm {
        operator_seconds: args.operator_seconds,
        authority_seconds: args.authority_seconds,
        licence_seconds: args.licence_seconds,
    };
    let mut known: Vec<Known> = Vec::new();
    if let Some(client) = &engine {
        for operator in &scenario.operators {
            known.push(client.know(operator, peer, rhythm).await?);
        }
    }
    announce(&scenario, peer.port(), &known, &people)?;
    let ended = tokio::select! {
        ended = play(&hub, engine, known, args.folder) => ended,
        () = ending(args.until_stdin_ends) => Ok(()),
    };
    handle.stop(false).await;
    serving.await??;
    hub.end()?;
    ended
}

/// Everything that goes on at the same time; ends only where something breaks.
async fn play(hub: &Arc<Hub>, engine: Option<Client>, known: Vec<Known>, root: Option<PathBuf>) -> anyhow::Result<()> {
    let turning = async {
        loop {
            hub.turn()?;
            tokio::time::sleep(TURN).await;
        }
    };
    let Some(client) = engine else { return turning.await };
    let droppers = root.map(|root| Dropper::all(hub, &root)).unwrap_or_default();
    let codes = hub.scenario().operators.iter().map(|operator| operator.code.clone());
    let bearers = codes.zip(&known).map(|(code, known)| (code, known.bearer.clone())).collect();
    let declarations = declaring(Arc::clone(hub), client.clone(), known.clone());
    let mut pushes: FuturesUnordered<_> =
        known.into_iter().enumerate().map(|(no, known)| pushing(Arc::clone(hub), client.clone(), known, no)).collect();
    tokio::select! {
        ended = turning => ended,
        ended = dropping(Arc::clone(hub), droppers) => Ok(ended?),
        ended = asking(Arc::clone(hub), client.clone(), bearers) => Ok(ended?),
        ended = declarations => Ok(ended?),
        // none of them ends
        () = async { while pushes.next().await.is_some() {} } => Ok(()),
    }
}

/// One line of JSON for whoever started it: where it answers, and what it takes to ask as an operator.
fn announce(scenario: &Scenario, port: u16, known: &[Known], people: &[(String, String)]) -> anyhow::Result<()> {
    let operators = scenario.operators.iter().zip(known);
    let operators: Vec<_> = operators.map(|(o, known)| json!({"code": o.code, "key": known.bearer})).collect();
    let excluded: Vec<&String> = people.iter().map(|(_, phone)| phone).collect();
    let line = json!({
        "base": format!("http://127.0.0.1:{port}"),
        "scenario": scenario.name,
        "operators": operators,
        "excluded": excluded,
    });
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

async fn ending(with_stdin: bool) {
    let stdin_ends = async {
        let (tell, told) = tokio::sync::oneshot::channel();
        if with_stdin {
            // a thread of its own, that nobody waits for: a read of standard input cannot be given up
            std::thread::spawn(move || {
                std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
                tell.send(()).ok();
            });
            told.await.ok();
        } else {
            std::future::pending::<()>().await;
        }
    };
    let signalled = async |kind| {
        if let Ok(mut signals) = signal(kind) {
            signals.recv().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = stdin_ends => {}
        () = signalled(SignalKind::interrupt()) => {}
        () = signalled(SignalKind::terminate()) => {}
    }
}
