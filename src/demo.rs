//! `mlinzi demo`: the engine on a fresh embedded store, and the simulator of everybody else beside it.
//!
//! The simulator is a program of its own (`mlinzi-sim`, docs/SIMULATOR.md): operators, authorities and players that speak
//! with the engine over HTTP and files alone. It ends with this program, however that ends.

use crate::{complain, config, keys, say, serve};
use actors::api::{IssuedKey, NewKey};
use actors::engine::Engine;
use actors::live::Rights;
use anyhow::Context;
use models::jurisdiction::JurisdictionNo;
use models::operator::Scope;
use serde::Deserialize;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::oneshot;

/// How the demo runs.
#[derive(clap::Args)]
pub struct Args {
    /// Port; another free one is taken where it is in use.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Folder for the store and keys; a new temporary one by default.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Seed of the market.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Seconds to run; until a signal by default.
    #[arg(long)]
    seconds: Option<u64>,
}

/// Seconds after the start at which Twiga Play's stakes jump and Chui Casino falls silent: as the scenario `demo` says.
const SPIKE_SECONDS: u32 = 40;
/// The same.
const SILENCE_SECONDS: u32 = 90;
/// How long the simulator may take to end.
const ENDING: Duration = Duration::from_secs(5);

/// The command.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let simulator = std::env::current_exe()?.with_file_name("mlinzi-sim");
    anyhow::ensure!(
        simulator.exists(),
        "the simulator is not beside this program ({}): make demo, or cargo build --release --workspace",
        simulator.display()
    );
    let (dir, fresh) = match args.dir {
        Some(dir) => (dir, false),
        None => {
            let dir = std::env::temp_dir().join(format!("mlinzi-demo-{}", std::process::id()));
            // its keys lie there: nobody else may have made it, and nobody else looks into it
            std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
            (dir, true)
        }
    };
    std::fs::create_dir_all(dir.join("feeds"))?;
    let dir = dir.canonicalize()?;
    let key_file = dir.join("keys.toml");
    let overrides = [
        ("store.url", format!("sqlite:{}", dir.join("mlinzi.sqlite").display())),
        ("sandbox.store", format!("sqlite:{}", dir.join("sandbox.sqlite").display())),
        ("keys.file", key_file.display().to_string()),
        // whoever plays an operator or an authority in it does so on this machine
        ("feeds.allow_private_addresses", "true".to_owned()),
        ("feeds.folder_root", dir.join("feeds").display().to_string()),
        ("log.level", "warn".to_owned()),
        ("log.format", "text".to_owned()),
    ];
    let config = config::load(None, &overrides)?;
    if !key_file.exists() {
        keys::init(&config.keys)?;
    }
    serve::start_logging(&config)?;
    let listener = TcpListener::bind(("127.0.0.1", args.port)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)))?;
    let base = format!("http://{}", listener.local_addr()?);
    let running = serve::start(&config).await?;
    let engine = running.engine.clone();
    let state = running.state.clone();

    let (stop, stopped) = oneshot::channel();
    let folder = dir.clone();
    let market = actix_rt::spawn(async move {
        if let Err(error) = play(engine, state, base, &simulator, &folder, args.seed, stopped).await {
            complain(&format!("the simulated market stopped: {error:#}"));
        }
    });
    let ending = running.engine.clone();
    let end = async move {
        match args.seconds {
            Some(seconds) => tokio::select! {
                () = serve::ending(&ending) => {}
                () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
            },
            None => serve::ending(&ending).await,
        }
        // whoever has stopped already hears nothing any more
        let _ = stop.send(());
        if let Err(error) = market.await {
            complain(&format!("the simulated market: {error}"));
        }
    };
    let ended = serve::serve(&config, running, listener, end).await?;
    if fresh {
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(ended.code())
}

async fn staff_key(engine: &Engine) -> anyhow::Result<IssuedKey> {
    let new = NewKey {
        operator: None,
        jurisdiction: JurisdictionNo(0),
        label: "demo staff".to_owned(),
        scopes: vec![
            Scope::RegisterWrite,
            Scope::OperatorsManage,
            Scope::FeedsManage,
            Scope::MarketRead,
            Scope::AlertsManage,
            Scope::SystemRead,
            Scope::SystemManage,
        ],
        purposes: Vec::new(),
        allow_from: Vec::new(),
        rate_per_second: 1_000,
        expires_at: None,
    };
    Ok(engine.create_key(new, None).await?)
}

async fn ready(engine: &Engine) {
    while !engine.readiness().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the simulator says once it is set up.
#[derive(Deserialize)]
struct Announced {
    base: String,
    operators: Vec<AnnouncedOperator>,
    excluded: Vec<String>,
}

#[derive(Deserialize)]
struct AnnouncedOperator {
    key: String,
}

/// Runs the simulator until it is told to stop.
async fn play(
    engine: Engine,
    state: web::AppState,
    base: String,
    simulator: &Path,
    dir: &Path,
    seed: u64,
    mut stopped: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    tokio::select! {
        () = ready(&engine) => {}
        _ = &mut stopped => return Ok(()),
    }
    let staff = staff_key(&engine).await?;
    let truth = dir.join("truth.ndjson");
    let mut child = Command::new(simulator)
        .args(["run", "--scenario", "demo", "--until-stdin-ends", "--seed", &seed.to_string(), "--engine", &base])
        .arg("--folder")
        .arg(dir.join("feeds"))
        .arg("--truth")
        .arg(&truth)
        .env("MLINZI_KEY", &staff.bearer)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        // Ctrl-C is for this program, which ends the simulator in its turn
        .process_group(0)
        .spawn()
        .context("mlinzi-sim")?;
    let said = BufReader::new(child.stdout.take().context("its output")?).lines();
    // held here: a child that is waited for would have it closed first, and end
    let leash = child.stdin.take();
    tokio::select! {
        announced = announced(said) => {
            let announced = announced?;
            let link = state.one_time_link(
                Rights { market: true, system: true, operator: None, jurisdiction: JurisdictionNo(0) },
                3600,
            );
            say(&greeting(&base, &link, &staff.bearer, &announced, &truth));
        }
        _ = &mut stopped => return end(child, leash).await,
    }
    tokio::select! {
        ended = child.wait() => anyhow::bail!("the simulator ended: {}", ended?),
        _ = &mut stopped => end(child, leash).await,
    }
}

async fn announced(mut said: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>) -> anyhow::Result<Announced> {
    let line = said.next_line().await?.context("the simulator ended before it was set up")?;
    serde_json::from_str(&line).context("what the simulator says")
}

/// The simulator ends with its standard input, as it would if this program were killed.
async fn end(mut child: Child, leash: Option<ChildStdin>) -> anyhow::Result<()> {
    drop(leash);
    if tokio::time::timeout(ENDING, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}

fn greeting(base: &str, link: &str, staff: &str, announced: &Announced, truth: &Path) -> String {
    let operator = announced.operators.first().map_or("", |operator| operator.key.as_str());
    let excluded = announced.excluded.first().map_or("", String::as_str);
    let simulator = &announced.base;
    let json = "-H 'Content-Type: application/json'";
    format!(
        r#"
Mlinzi is running with a simulated market.

  watch it:      {base}/?t={link}   (works once)
  documentation: {base}/docs

Ask whether a person is excluded, first one who is, then one who is not:

  curl -s {base}/api/v1/operators/lookup -H 'Authorization: Bearer {operator}' {json} -d '{{"phone":"{excluded}","purpose":"login"}}'
  curl -s {base}/api/v1/operators/lookup -H 'Authorization: Bearer {operator}' {json} -d '{{"phone":"0733000001","purpose":"login"}}'

Exclude somebody, read alerts, see the actors and the sources:

  curl -s {base}/api/v1/nser/register -H 'Authorization: Bearer {staff}' {json} -d '{{"phone":"0733000001","period":"6_months","reason_class":"self","channel":"web"}}'
  curl -s {base}/api/v1/alerts -H 'Authorization: Bearer {staff}'
  curl -s {base}/api/v1/system/actors -H 'Authorization: Bearer {staff}'
  curl -s {base}/api/v1/feeds -H 'Authorization: Bearer {staff}'

Five operators deliver in different ways: Simba Bets and Chui Casino push, Twiga Play and Nyati Lotto are asked, Kifaru Odds
drops files; the licence authority, the tax authority and the bank are asked about each of them. Twiga Play's stakes jump
about {SPIKE_SECONDS} seconds after the start; Chui Casino falls silent at {SILENCE_SECONDS} seconds. Break somebody yourself, and watch what becomes of it:

  curl -s {simulator}/control/faults {json} -d '{{"target":"simba-bets","kind":"silence","for_seconds":60}}'

target: an operator's code, licences, tax, bank; kind: slow, error_500, truncated, wrong_totals, clock_skew, silence. Who
launders, who chases losses and what broke is in {truth}. End with Ctrl-C.
"#,
        truth = truth.display()
    )
}
