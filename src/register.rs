//! `mlinzi register import|export`: people of an older register come in, and go out again, as CSV.
//!
//! Neither may run beside an engine: an import decides who is the same person on the index of its own, and an export is
//! to be one state.

mod export;
mod import;
mod rows;

use crate::config::Config;
use clap::Subcommand;
use std::process::ExitCode;
use std::time::Duration;

/// What can be done with the register.
#[derive(Subcommand)]
pub enum Command {
    /// Loads people from a CSV file. Run again, it goes on where it stopped.
    Import(import::Import),
    /// Writes everybody in the register into a CSV file, in the clear; journaled. `import` takes it in again.
    Export(export::Export),
}

/// What a file may hold, in the order in which it is written.
const COLUMNS: [&str; 22] = [
    "person",
    "jurisdiction",
    "phone",
    "id_number",
    "id_type",
    "id_country",
    "names",
    "date_of_birth",
    "email",
    "address",
    "county",
    "period",
    "effective_at",
    "at_end",
    "ends_at",
    "ended_at",
    "reason_class",
    "channel",
    "verification_method",
    "verification_reference",
    "source_id",
    "legal_basis",
];
/// Time between two lines of progress.
const SAY_EVERY: Duration = Duration::from_millis(500);

/// Runs the command.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Import(order) => import::import(config, order).await,
        Command::Export(order) => export::export(config, order).await,
    }
}
