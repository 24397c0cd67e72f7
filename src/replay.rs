//! `mlinzi replay`: a span of time computed once more from the stored inputs, and held against what was alerted of and what
//! rules found.

use crate::draft::Draft;
use crate::{complain, config::Config, keys, say, serve};
use actors::jws;
use actors::replay::held::{self, Altered, Held, Holder, How, Kind};
use actors::replay::{self, CannotBeComputed, DifferenceKind, OperatorReplay, Replay, Span};
use actors::rules::replay::{Rules, RulesDifference, RulesReplay, Stating};
use actors::secrets::KeyRing;
use anyhow::Context;
use engine::operator_state::OperatorState;
use jiff::tz::TimeZone;
use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
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
        rules: Vec::new(),
        held: Vec::new(),
    };
    let mut holders = Vec::with_capacity(operators.len());
    let (span, jurisdictions) = (Span { from, to }, &config.jurisdictions);
    let rules = Rules::read(&store, &ring.chain, jurisdictions, span).await?;
    for operator in operators {
        let Operator { operator_no, id, ref code, jurisdiction, .. } = operator;
        let of = jurisdictions.get(usize::from(jurisdiction.0));
        let of = of.with_context(|| format!("the jurisdiction of {code} is not configured"))?;
        let blank = OperatorState::new(operator_no, code.clone(), TimeZone::get(&of.time_zone)?);
        let judged_by = |seq| rules.deviations_as_of(jurisdiction, seq);
        let replayed = replay::operator(&store, (operator_no, id), code, blank, &judged_by, span).await?;
        report.operators.push(replayed);
        report.rules.push(Box::pin(rules.operator(&operator, of)).await?);
        holders.push(Holder { no: operator_no, id: Some(id), code: operator.code });
    }
    for (no, of) in jurisdictions.iter().enumerate().filter(|_| args.operator.is_empty()) {
        let no = JurisdictionNo(no as u8);
        report.rules.push(rules.nation(no, of).await?);
        holders.push(Holder { no: OperatorNo::of_nation(no), id: None, code: of.code.clone() });
    }
    report.held = held::against_journal(&store, &holders, span).await?;
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

/// A line an operator, one for its rules, and one for what both stand on, on standard output, each difference on standard
/// error.
pub fn tell(report: &Replay) -> anyhow::Result<()> {
    report.operators.iter().try_for_each(tell_operator)?;
    report.rules.iter().try_for_each(tell_rules)?;
    report.held.iter().try_for_each(tell_held)
}

fn tell_operator(operator: &OperatorReplay) -> anyhow::Result<()> {
    say(&serde_json::to_string(&serde_json::json!({
        "operator": operator.code, "inputs": operator.inputs, "records": operator.records,
        "inputs_sha256": operator.inputs_sha256, "same": operator.same, "elsewhere": operator.elsewhere,
        "elsewhere_by_rule": operator.elsewhere_by_rule, "differences": operator.counted(),
    }))?);
    for difference in &operator.differences {
        let revision = difference.computed.as_ref().or(difference.stored.as_ref());
        let Some(revision) = revision else { continue };
        let what = said(difference.kind);
        complain(&format!("{}: alert {} at input {} {what}", operator.code, revision.id, revision.operator_seq));
    }
    if operator.further > 0 {
        complain(&format!("{}: {} differences more", operator.code, operator.further));
    }
    if let Some(CannotBeComputed { what, .. }) = &operator.cannot_be_computed {
        complain(&format!("{}: cannot be computed: {what}", operator.code));
    }
    Ok(())
}

/// The same of rules.
fn tell_rules(rules: &RulesReplay) -> anyhow::Result<()> {
    let whose = if rules.operator.is_some() { "rules_of" } else { "rules_of_all" };
    say(&serde_json::to_string(&serde_json::json!({
        whose: rules.code, "begins_behind": rules.begins_behind, "inputs": rules.inputs, "records": rules.records,
        "inputs_sha256": rules.inputs_sha256, "findings": rules.findings, "alerts": rules.alerts,
        "differences": rules.counted(),
    }))?);
    for RulesDifference { kind, what, input_seq, rule, id, fields, .. } in &rules.differences {
        let stating = match what {
            Stating::Finding => "finding",
            Stating::Alert => "alert of the finding",
        };
        let fields = if fields.is_empty() { String::new() } else { format!(": {}", fields.join(", ")) };
        complain(&format!(
            "rules of {}: {rule}: {stating} {id} at input {input_seq} {}{fields}",
            rules.code,
            said(*kind)
        ));
    }
    if rules.further > 0 {
        complain(&format!("rules of {}: {} differences more", rules.code, rules.further));
    }
    if let Some(CannotBeComputed { what, .. }) = &rules.cannot_be_computed {
        complain(&format!("rules of {}: cannot be computed: {what}", rules.code));
    }
    Ok(())
}

/// What is not stored as the journal says.
fn tell_held(held: &Held) -> anyhow::Result<()> {
    let whose = if held.operator.is_some() { "journal_of" } else { "journal_of_all" };
    say(&serde_json::to_string(&serde_json::json!({
        whose: held.code, "batches": held.batches, "records": held.records, "records_by_sha256": held.records_by_sha256,
        "ticks": held.ticks, "inputs": held.inputs, "alerts": held.alerts,
        "elsewhere_by_rule": held.elsewhere_by_rule, "differences": held.differences(),
    }))?);
    for Altered { what, how, place, fields, .. } in &held.altered {
        let what = match what {
            Kind::Batch => "batch at input",
            Kind::Tick => "tick at input",
            Kind::RuleInput => "input of rules",
            Kind::Alert => "alert at offset",
        };
        let how = match how {
            How::Gone => "is in the journal and is not stored".to_owned(),
            How::Unjournaled => "is stored and is not in the journal".to_owned(),
            How::Changed => format!("is stored otherwise than the journal says: {}", fields.join(", ")),
        };
        complain(&format!("{}: {what} {place} {how}", held.code));
    }
    if held.further > 0 {
        complain(&format!("{}: {} rows more are not as the journal says", held.code, held.further));
    }
    Ok(())
}

fn said(kind: DifferenceKind) -> &'static str {
    match kind {
        DifferenceKind::Missing => "follows from the inputs and is not stored",
        DifferenceKind::Unfounded => "is stored and does not follow from the inputs",
        DifferenceKind::Changed => "is stored otherwise than it follows from the inputs",
    }
}
