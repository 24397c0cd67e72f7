//! `mlinzi rules backtest`: a version of a rule over stored history, beside the live one; it works beside a running engine.

use crate::{config::Config, say, serve};
use actors::replay::Span;
use actors::rule_versions::RuleVersions;
use actors::rules::backtest::{self, Of, SPAN_MAX, Trial, Watch};
use anyhow::Context;
use clap::Subcommand;
use engine::rules::backtest::beside;
use engine::rules::life::complete;
use models::jurisdiction::JurisdictionNo;
use models::ts::Ts;
use serde_json::{Map, Value};
use std::process::ExitCode;
use std::sync::Arc;

/// What is done with versions of rules.
#[derive(Subcommand)]
pub enum Command {
    /// Runs a version over stored history, beside what is live: prints what each would have found, as JSON. Reads only.
    Backtest(Args),
}

/// A version and a span.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the rule, such as `structured_deposits`.
    rule: String,
    /// Number of a version that was proposed.
    #[arg(long, conflicts_with = "params", required_unless_present = "params")]
    version: Option<u32>,
    /// Parameters that are not the jurisdiction's standard, as JSON, such as `{"deposits_min": 4}`: a version that nobody has proposed.
    #[arg(long)]
    params: Option<String>,
    /// Start of the span, RFC 3339, by the clock that judged.
    #[arg(long)]
    from: String,
    /// End of the span (not part of it), RFC 3339; 92 days later at most.
    #[arg(long)]
    to: String,
    /// Code of the jurisdiction; needed where there are several.
    #[arg(long)]
    jurisdiction: Option<String>,
}

/// Runs one.
pub async fn backtest(config: &Config, args: Args) -> anyhow::Result<ExitCode> {
    let (from, to) = (Ts::parse(&args.from).context("--from")?, Ts::parse(&args.to).context("--to")?);
    anyhow::ensure!(from < to, "--to: is not after --from");
    anyhow::ensure!(to.0 - from.0 <= SPAN_MAX, "--to: more than 92 days after --from");
    let all = &config.jurisdictions;
    let place = match &args.jurisdiction {
        Some(code) => all.iter().position(|of| of.code == *code).with_context(|| format!("no jurisdiction {code}"))?,
        None => {
            anyhow::ensure!(all.len() == 1, "--jurisdiction is needed: there are several");
            0
        }
    };
    let (no, jurisdiction) = (JurisdictionNo(place as u8), &all[place]);
    let store = serve::open_known_store(config).await?;
    let versions = RuleVersions::read(&store, all).await?;
    let life = versions.life(no, &args.rule);
    let life = Arc::clone(life.with_context(|| format!("no rule {} that takes versions", args.rule))?);
    let (version, params) = match (args.version, &args.params) {
        (Some(number), _) => {
            let version = life.version(number).with_context(|| format!("no version {number}"))?;
            (number, version.params.clone())
        }
        (None, Some(text)) => {
            let given: Map<String, Value> = serde_json::from_str(text).context("--params")?;
            let params = complete(life.rule(), life.standard_params(), &given).map_err(|wrong| {
                let said: Vec<String> = wrong.iter().map(|wrong| format!("{} {}", wrong.name, wrong.what)).collect();
                anyhow::anyhow!("--params: {}", said.join("; "))
            })?;
            let newest = life.versions().iter().map(|version| version.number).max().unwrap_or(0);
            (newest + 1, params)
        }
        (None, None) => anyhow::bail!("--version or --params is needed"),
    };
    let beside = beside(life.rule(), &versions.set(no).1);
    let trial = Trial { life, version, params, beside, span: Span { from, to } };
    let of = Of { store: &store, no, jurisdiction };
    let tried = backtest::run(&of, &trial, &Watch { goes_on: &|_| true, rests: false }).await?;
    say(&serde_json::to_string_pretty(&tried)?);
    Ok(ExitCode::SUCCESS)
}
