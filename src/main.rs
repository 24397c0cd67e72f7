//! `mlinzi`: the one binary. This file only dispatches; one file per subcommand.

mod audit;
mod by;
mod config;
mod demo;
mod draft;
mod evidence;
mod exit;
mod feed_push;
mod health;
mod key;
mod keys;
mod model;
mod model_backtest;
mod model_store;
mod notices;
mod notify;
mod register;
mod replay;
mod rotate;
mod rules;
mod sandbox;
mod serve;
mod traces;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Real-time monitoring engine for gambling regulators.
#[derive(Parser)]
#[command(name = "mlinzi", version)]
struct Cli {
    /// Configuration file (TOML); defaults are in config/default.toml.
    #[arg(long, global = true, env = "MLINZI_CONFIG")]
    config: Option<PathBuf>,
    /// Database: `sqlite:PATH` or `postgres://…`. Overrides the configuration.
    #[arg(long, global = true)]
    store: Option<String>,
    /// File with the keys. Overrides the configuration.
    #[arg(long, global = true)]
    keys: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the engine.
    Serve {
        /// Port to listen on. Overrides the configuration.
        #[arg(long)]
        port: Option<u16>,
    },
    /// Runs the engine on a fresh embedded store with a small simulated market.
    Demo(demo::Args),
    /// Brings the database's tables up to date and ends.
    Migrate,
    /// Reads the configuration and says what is wrong with it.
    CheckConfig,
    /// Asks a running engine whether it is alive; ends with 1 where it is not.
    Health(health::Args),
    /// Makes, lists and revokes keys.
    #[command(subcommand)]
    Key(key::Command),
    /// Versions of the keys that live outside the database.
    #[command(subcommand)]
    Keys(rotate::Command),
    /// Feeds.
    #[command(subcommand)]
    Feed(Feed),
    /// Channels on which people are told of alerts.
    #[command(subcommand)]
    Notify(notices::Command),
    /// Loads people in bulk, and takes them out.
    #[command(subcommand)]
    Register(register::Command),
    /// Proof of lookups.
    #[command(subcommand)]
    Evidence(evidence::Command),
    /// Proves the journal.
    #[command(subcommand)]
    Audit(Audit),
    /// Computes a span once more from the stored inputs; names what was alerted of otherwise and ends with 1 where there is
    /// something.
    Replay(replay::Args),
    /// Versions of rules.
    #[command(subcommand)]
    Rules(rules::Command),
    /// Models: scores, forecasts, training and evaluation on files; registration and promotion in the store.
    #[command(subcommand)]
    Model(model::Models),
}

#[derive(Subcommand)]
enum Feed {
    /// Streams a CSV file through the push endpoint of a running engine.
    Push(feed_push::FeedPush),
}

#[derive(Subcommand)]
enum Audit {
    /// Walks the whole journal; names the first bad row and ends with 1 where there is one.
    Verify,
}

fn main() -> ExitCode {
    actors::kernel::install_panic_hook();
    // reqwest and rustls need a provider before their first use; a second install only says there is one
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let system = actix_rt::System::new();
    match system.block_on(dispatch(cli)) {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("{error:#}"));
            exit::code(&error)
        }
    }
}

/// Says something on standard error.
pub fn complain(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "mlinzi: {text}");
}

/// Says something on standard output.
pub fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let mut overrides = Vec::new();
    if let Some(store) = &cli.store {
        overrides.push(("store.url", store.clone()));
    }
    if let Some(keys) = &cli.keys {
        overrides.push(("keys.file", keys.display().to_string()));
    }
    if let Command::Serve { port: Some(port) } = &cli.command {
        overrides.push(("server.port", port.to_string()));
    }
    let load = || -> anyhow::Result<config::Config> { Ok(config::load(cli.config.as_deref(), &overrides)?) };
    match cli.command {
        Command::Serve { .. } => serve::run(load()?).await,
        Command::Demo(_) if cli.config.is_some() || cli.store.is_some() || cli.keys.is_some() => {
            anyhow::bail!("the demo has a store, keys and a configuration of its own")
        }
        Command::Demo(args) => demo::run(args).await,
        Command::Migrate => {
            let config = load()?;
            serve::open_store(&config).await?;
            say("the tables are up to date");
            Ok(ExitCode::SUCCESS)
        }
        Command::CheckConfig => {
            load()?;
            say("the configuration is valid");
            Ok(ExitCode::SUCCESS)
        }
        Command::Health(args) => {
            let config = if args.needs_config() { Some(load()?) } else { None };
            health::run(args, config.as_ref()).await
        }
        Command::Key(command) => key::run(load()?, command).await,
        Command::Keys(command) => rotate::run(&load()?, command).await,
        Command::Feed(Feed::Push(args)) => feed_push::run(args).await.map(|()| ExitCode::SUCCESS),
        Command::Notify(command) => notices::run(&load()?, command).await,
        Command::Register(command) => register::run(&load()?, command).await,
        Command::Evidence(evidence::Command::Export(order)) => evidence::export(&load()?, order).await,
        Command::Evidence(evidence::Command::Verify(order)) => evidence::verify(&order),
        Command::Audit(Audit::Verify) => audit::verify(&load()?).await,
        Command::Replay(args) => Box::pin(replay::run(&load()?, args)).await,
        Command::Rules(rules::Command::Backtest(args)) => rules::backtest(&load()?, args).await,
        Command::Model(command) => Box::pin(model::run(command, load)).await,
    }
}
