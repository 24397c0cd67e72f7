//! `mlinzi-bench [--quick|--long] all|NAME`: measures the release binary beside it, writes `target/bench.json`.

use clap::Parser;
use loadtests::measures::MEASURES;
use loadtests::report::{Report, say};
use loadtests::{Effort, faulty, node};
use std::process::ExitCode;
use std::time::Instant;

/// Measures the running product.
#[derive(Parser)]
struct Args {
    /// A figure, or `all`; `list` names them.
    name: String,
    /// Everything in five minutes.
    #[arg(long, conflicts_with = "long")]
    quick: bool,
    /// All kill rounds and soaks.
    #[arg(long)]
    long: bool,
    /// For `node`, which plays a node with faults: store, key file, port and the record ids that panic.
    #[command(flatten)]
    node: faulty::Args,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if args.name == "node" {
        return faulty::run(&args.node).map(|()| ExitCode::SUCCESS);
    }
    if args.name == "raw" {
        return loadtests::raw::run().map(|()| ExitCode::SUCCESS);
    }
    let effort = match (args.quick, args.long) {
        (true, _) => Effort::Quick,
        (_, true) => Effort::Long,
        _ => Effort::Full,
    };
    let wanted: Vec<_> =
        MEASURES.iter().filter(|m| args.name == "all" || m.names.contains(&args.name.as_str())).collect();
    if wanted.is_empty() {
        say("measures:");
        MEASURES.iter().flat_map(|m| m.names).for_each(|name| say(&format!("  {name}")));
        return Ok(if args.name == "list" { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    // one thread: the product under load has the other core
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let command = effort.pick("make bench-quick", "make bench", "make bench-long");
    let mut report = Report::open(&node::binaries()?.join("../bench.json"), command)?;
    let mut failed = false;
    for measure in wanted {
        report.forget(measure.names)?;
        let start = Instant::now();
        let local = tokio::task::LocalSet::new();
        let result = local.block_on(&runtime, (measure.run)(effort, &mut report));
        if let Err(error) = result {
            say(&format!("{}: not measured: {error:#}", measure.names.join(", ")));
            failed = true;
        }
        say(&format!("  took {:.0} s", start.elapsed().as_secs_f64()));
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
