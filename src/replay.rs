//! `mlinzi replay`: a span of time computed once more from the stored inputs, and held against what was alerted of.

use crate::draft::Draft;
use crate::{complain, config::Config, keys, say, serve};
use actors::directory::Directory;
use actors::jws;
use actors::replay::{self, DifferenceKind, Replay, Span};
use actors::secrets::KeyRing;
use anyhow::Context;
use engine::operator_state::OperatorState;
use jiff::tz::TimeZone;
use models::operator::Operator;
use models::ts::Ts;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use store::{Clock, SystemClock};

/// A replay.
#[derive(clap::Args)]
pub struct Args {
    /// Start of the span, RFC 3339, by the clock that judged.
    #[arg(long)]
    from: String,
    /// End of the span (not part of it), RFC 3339.
    #[arg(long)]
    to: String,
    /// Code or id of an operator; all of them where none is named.
    #[arg(long)]
    operator: Vec<String>,
    /// File for the whole report, signed, for its owner only; there must be none of this name. `mlinzi evidence verify` checks it.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Runs it; 1 where something differs.
pub async fn run(config: &Config, args: Args) -> anyhow::Result<ExitCode> {
    let (from, to) = (Ts::parse(&args.from).context("--from")?, Ts::parse(&args.to).context("--to")?);
    anyhow::ensure!(from < to, "--to: is not after --from");
    let ring = KeyRing::new(&keys::provider(&config.keys).load()?)?;
    let store = serve::open_known_store(config).await?;
    let draft = args.out.as_deref().map(Draft::begin).transpose()?;
    let mut operators = named(store.operators().await?, &args.operator)?;
    operators.sort_by(|a, b| a.code.cmp(&b.code));
    let mut report = Replay {
        from,
        to,
        made_at: SystemClock.now(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        operators: Vec::with_capacity(operators.len()),
    };
    let mut directory = Directory::new(config.jurisdictions.clone());
    operators.iter().for_each(|operator| directory.set_operator(operator.clone()));
    for (seq, changed) in store.rule_changes().await? {
        directory.change_rules(seq, &changed);
    }
    for Operator { operator_no, id, code, jurisdiction, .. } in operators {
        let zone = config.jurisdictions.get(usize::from(jurisdiction.0)).map_or("UTC", |j| &j.time_zone);
        let blank = OperatorState::new(operator_no, code.clone(), TimeZone::get(zone)?);
        report
            .operators
            .push(replay::operator(&store, &directory, (operator_no, id), &code, blank, Span { from, to }).await?);
    }
    if let Some(draft) = draft {
        draft.file().write_all(jws::sign(replay::TYPE, &report, &ring.checkpoint)?.as_bytes())?;
        draft.keep()?;
    }
    tell(&report)?;
    Ok(if report.differences() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The operators that are named; all of them where none is.
fn named(known: Vec<Operator>, names: &[String]) -> anyhow::Result<Vec<Operator>> {
    let is = |operator: &Operator, name: &str| operator.code == name || operator.id.to_string() == name;
    for name in names {
        anyhow::ensure!(known.iter().any(|operator| is(operator, name)), "no operator {name}");
    }
    let wanted = |operator: &Operator| names.is_empty() || names.iter().any(|name| is(operator, name));
    Ok(known.into_iter().filter(wanted).collect())
}

/// A line an operator on standard output, each difference on standard error.
pub fn tell(report: &Replay) -> anyhow::Result<()> {
    for operator in &report.operators {
        say(&serde_json::to_string(&serde_json::json!({
            "operator": operator.code, "inputs": operator.inputs, "records": operator.records,
            "inputs_sha256": operator.inputs_sha256, "same": operator.same, "elsewhere": operator.elsewhere,
            "differences": operator.differences.len() as u64 + operator.further,
        }))?);
        for difference in &operator.differences {
            let revision = difference.computed.as_ref().or(difference.stored.as_ref());
            let Some(revision) = revision else { continue };
            let what = match difference.kind {
                DifferenceKind::Missing => "follows from the inputs and is not stored",
                DifferenceKind::Unfounded => "is stored and does not follow from the inputs",
                DifferenceKind::Changed => "is stored otherwise than it follows from the inputs",
            };
            complain(&format!("{}: alert {} at input {} {what}", operator.code, revision.id, revision.operator_seq));
        }
        if operator.further > 0 {
            complain(&format!("{}: {} differences more", operator.code, operator.further));
        }
    }
    Ok(())
}
