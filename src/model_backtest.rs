//! `mlinzi model backtest`: a version of a model over stored history of a jurisdiction's operators, beside what was promoted
//! then; it reads only, and works beside a running engine at low priority.

use crate::config::Config;
use crate::model::span;
use crate::{complain, model_store, say};
use actors::directory::Directory;
use actors::replay::Span;
use actors::risk_models;
use actors::rules::backtest::{SPAN_MAX, Watch};
use actors::rules::model_backtest::{self, Decided, ModelOutcome, ModelTrial, ModelTried, OperatorExample};
use anyhow::Context;
use models::operator::Operator;
use models::ts::DAY;
use std::process::ExitCode;
use std::sync::Arc;
use store::{Background, Store};

/// Nobody waits for it: everything live comes first.
static BACKGROUND: Background = Background::new("model backtest", 19);

/// A version and a span.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: model_store::Which,
    /// Start of the span, RFC 3339: records by the clock that judged them, players by the end of their day.
    #[arg(long)]
    from: String,
    /// End of the span (not part of it), RFC 3339; 92 days later at most.
    #[arg(long)]
    to: String,
    /// Code of the jurisdiction; needed where several have operators.
    #[arg(long)]
    jurisdiction: Option<String>,
    /// Code of one of its operators; all of them where none is named.
    #[arg(long)]
    operator: Option<String>,
    /// Probability from which on a record or a player counts, millionths; where none is given, that of the live rule in
    /// force then.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    bound: Option<u32>,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// Runs one.
pub async fn run(config: &Config, args: Args) -> anyhow::Result<ExitCode> {
    let (from, to) = span(&args.from, &args.to)?;
    anyhow::ensure!(to.0 - from.0 <= SPAN_MAX, "--to: more than {} days after --from", SPAN_MAX / DAY);
    // before the store's threads are there: they are as polite as who makes them
    BACKGROUND.enter();
    let (store, tools) = model_store::open(config).await?;
    let directory = tools.directory.load_full();
    let done = in_place(config, (&store, directory.as_ref()), &args, Span { from, to }).await;
    model_store::close(&store).await;
    let (code, tried) = done?;
    if args.json {
        let mut told = serde_json::to_value(&tried)?;
        told["jurisdiction"] = code.into();
        say(&serde_json::to_string_pretty(&told)?);
    } else {
        print(code, &tried);
    }
    if tried.total.counts.rows == 0 {
        complain("nothing was scored: no record of the span has a vector, or no day on which somebody played is over");
    }
    Ok(ExitCode::SUCCESS)
}

/// Over the operators of one jurisdiction; gives its code as well.
async fn in_place<'a>(
    config: &'a Config,
    (store, directory): (&Store, &Directory),
    args: &Args,
    span: Span,
) -> anyhow::Result<(&'a str, ModelTried)> {
    let all = &config.jurisdictions;
    let no = model_store::place(all, &directory.jurisdictions_in_use(), args.jurisdiction.as_deref())?;
    let code = model_store::code(all, no);
    let own = directory.operators.values().filter(|operator| operator.jurisdiction == no);
    let mut operators: Vec<_> = own.map(Arc::clone).collect();
    operators.sort_by(|a, b| a.code.cmp(&b.code));
    if let Some(named) = &args.operator {
        operators.retain(|operator| operator.code == *named);
        anyhow::ensure!(!operators.is_empty(), "--operator: no operator {named} in {code}");
    }
    let tried = Box::pin(over(store, directory, &operators, args, span)).await?;
    Ok((code, tried))
}

async fn over(
    store: &Store,
    directory: &Directory,
    operators: &[Arc<Operator>],
    args: &Args,
    span: Span,
) -> anyhow::Result<ModelTried> {
    let (kind, version) = (args.which.kind, args.which.version);
    let model = store.papers_of_model((kind, version)).await?;
    let model = model.with_context(|| format!("no version {version} of {}", kind.as_str()))?;
    let scorer = risk_models::scorer_of(store, &model).await.context("it cannot score here")?;
    let trial = ModelTrial { scorer, span, bound_ppm: args.bound };
    let watch = Watch { goes_on: &|_| true, rests: true };
    Ok(model_backtest::run(store, directory, operators, trial, &watch).await?)
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.2}"))
}

fn percent(ppm: u32) -> String {
    format!("{:.1} %", f64::from(ppm) / 1e4)
}

fn line(name: &str, outcome: &ModelOutcome) {
    let counts = &outcome.counts;
    say(&format!(
        "{name:<20} {:>6} {:>9} {:>8} {:>8} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8}",
        outcome.operator_days,
        counts.rows,
        counts.high,
        rate(outcome.high_per_operator_day),
        counts.rows_beside,
        counts.live_high,
        rate(outcome.live_high_per_operator_day),
        counts.both_high,
        counts.only_shadow(),
        counts.only_live(),
    ));
}

fn print(code: &str, tried: &ModelTried) {
    let (kind, version, inputs) = (tried.kind.as_str(), tried.version, tried.inputs);
    say(&format!("{kind} version {version} in {code}, {inputs} inputs heard"));
    say(&format!(
        "{:<20} {:>6} {:>9} {:>8} {:>8} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "operator", "days", "scored", "high", "a day", "by live", "high", "a day", "both", "only it", "only live"
    ));
    tried.operators.iter().for_each(|(code, outcome)| line(code, outcome));
    line("total", &tried.total);
    for (what, Decided { rows, version, live }) in
        [("confirmed", tried.total.confirmed), ("false alarms", tried.total.false_alarms)]
    {
        say(&format!("{what}: {rows} scored, {version} at or above the bound, {live} by what was promoted"));
    }
    for OperatorExample { operator, example } in &tried.examples {
        let subject = &example.subject;
        let live = example.live_ppm.map_or_else(|| "not scored".to_owned(), percent);
        let record = subject.record_id.as_ref().map(|id| format!(" record {id}")).unwrap_or_default();
        let player = subject.player.map(|player| format!(" player:{player}")).unwrap_or_default();
        let (score, at, currency) = (percent(example.score_ppm), subject.at, subject.currency);
        say(&format!("{score} (promoted: {live}) {operator}{player}{record} {currency} at {at}"));
        example.reasons.iter().for_each(|reason| say(&format!("    {reason}")));
    }
}
