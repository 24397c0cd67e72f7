//! `mlinzi-bench-models all|NAME`: what rules and models reach, into `target/bench-models.json`.

use clap::Parser;
use loadtests::modelbench::{self, MEASURES};
use loadtests::node;
use loadtests::report::{Report, say};
use std::process::ExitCode;

/// Measures rules and models.
#[derive(Parser)]
struct Args {
    /// A figure, or `all`; `list` names them.
    name: String,
}

fn main() -> anyhow::Result<ExitCode> {
    let Args { name } = Args::parse();
    let wanted: Vec<_> = MEASURES.iter().filter(|m| name == "all" || m.names.contains(&name.as_str())).collect();
    if wanted.is_empty() {
        say("measures:");
        MEASURES.iter().flat_map(|m| m.names).for_each(|name| say(&format!("  {name}")));
        return Ok(if name == "list" { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut report = Report::open(&node::binaries()?.join("../bench-models.json"), "make bench-models")?;
    let all = modelbench::run(&wanted, &mut report)?;
    say(&modelbench::table(report.figures()));
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
