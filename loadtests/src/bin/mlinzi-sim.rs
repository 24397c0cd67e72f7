//! `mlinzi-sim generate|run|check`: the simulator of operators, players and authorities. docs/SIMULATOR.md.

use clap::{Parser, Subcommand};
use loadtests::report::say;
use loadtests::simulator::archive::{self, Order};
use loadtests::simulator::run::{self, RunArgs};
use loadtests::simulator::scenario::Scenario;
use models::ts::Ts;
use std::path::PathBuf;
use std::sync::Arc;

/// Simulates operators with their players, the licence authority, tax authorities and banks.
#[derive(Parser)]
#[command(name = "mlinzi-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes an archive and its ground truth.
    Generate {
        /// `demo`, `market`, or a file.
        #[arg(long, default_value = "market")]
        scenario: String,
        /// Seed: the same one gives the same bytes.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// First instant, RFC 3339.
        #[arg(long)]
        from: String,
        /// Days.
        #[arg(long)]
        days: u32,
        /// New or empty folder.
        #[arg(long)]
        out: PathBuf,
    },
    /// Serves the simulated parties, and plays with an engine where one is named.
    Run(RunArgs),
    /// Reads a scenario and says what is wrong with it.
    Check {
        /// `demo`, `market`, or a file.
        scenario: String,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Generate { scenario, seed, from, days, out } => {
            let scenario = Arc::new(run::scenario(&scenario)?);
            let written = archive::generate(&scenario, Order { seed, from: Ts::parse(&from)?, days }, &out)?;
            written.records.iter().for_each(|(class, records)| say(&format!("{records:>10} {class}")));
            say(&format!("{:>10} lookups", written.lookups));
            Ok(())
        }
        Command::Run(args) => run::run(args),
        Command::Check { scenario } => {
            let scenario: Scenario = run::scenario(&scenario)?;
            say(&format!("the scenario {} is valid", scenario.name));
            Ok(())
        }
    }
}
