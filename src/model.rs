//! `mlinzi model`: the models of the live path on files, one thread, no database; what needs one is in `model_store`.
//!
//! Input is read whole or refused; output appears under its name only when it is complete, so a run that fails leaves what
//! was there before.

use crate::by::By;
use crate::config::Config;
use crate::{complain, model_store, say};
use anyhow::Context;
use clap::{Args, Subcommand};
use ml::tabular::artefact::{Artefact, Kind, Window};
use ml::{anomaly, forecast, tabular};
use models::risk_model::ModelKind;
use models::ts::Ts;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Seed of what is learnt where none is given: a model can be made again.
const SEED: u64 = 1;

/// What models do with files.
#[derive(Subcommand)]
pub enum Command {
    /// Scores a series: `timestamp,value` in, the same rows with `anomaly_score` out.
    Anomaly(Detection),
    /// Learns the risk of transactions from one table and scores another: id first, label last.
    Fraud(Scoring),
    /// Learns the risk of players from one table and scores another: id first, label last.
    Risk(Scoring),
    /// Forecasts series: `series_id,ds,y` in, `series_id,step,forecast,low_80,high_80` out.
    Forecast(Forecasting),
    /// Learns a model and keeps it as an artefact.
    Train(Training),
    /// Judges an artefact, or a registered version, by a labelled table that it has not seen.
    Evaluate(Evaluation),
    /// Writes an artefact's model card (Markdown).
    Card {
        /// Artefact.
        #[arg(long)]
        model: PathBuf,
    },
}

/// Everything that is done with models.
#[derive(Subcommand)]
pub enum Models {
    /// On files.
    #[command(flatten)]
    OnFiles(Command),
    /// In the store.
    #[command(flatten)]
    InStore(model_store::Command),
}

/// One file to another, and how rarely the detector is to speak.
#[derive(Args)]
pub struct Detection {
    #[arg(long)]
    input: PathBuf,
    #[arg(long)]
    output: PathBuf,
    /// Alerts in 1,000 points where nothing happens, 0.01 to 1.7. The default is 0.3 at most, as of the hours of live series.
    /// Behind an alert it rests for 160 points at any rate, as hours do live; days rest for 14 there.
    #[arg(long, value_name = "ALERTS", value_parser = alert_rate, allow_negative_numbers = true)]
    alert_rate: Option<f64>,
}

/// Two tables and their scores.
#[derive(Args)]
pub struct Scoring {
    /// Table to learn from.
    #[arg(long)]
    train: PathBuf,
    /// Table to score.
    #[arg(long)]
    test: PathBuf,
    #[arg(long)]
    output: PathBuf,
    #[arg(long, default_value_t = SEED)]
    seed: u64,
}

/// Series and how far ahead.
#[derive(Args)]
pub struct Forecasting {
    /// Series to learn from.
    #[arg(long)]
    train: PathBuf,
    /// Steps ahead.
    #[arg(long)]
    horizon: usize,
    /// Steps of a season: 12 for months, 52 for weeks, 7 for days, 1 for none.
    #[arg(long)]
    period: usize,
    #[arg(long)]
    output: PathBuf,
}

/// What is learnt, from what.
#[derive(Args)]
pub struct Training {
    /// `transaction_risk` or `player_risk`.
    #[arg(long, value_parser = kind)]
    kind: Kind,
    #[arg(long)]
    train: PathBuf,
    /// When the rows begin, RFC 3339, as `model features` was asked; part of the model's papers.
    #[arg(long, requires = "to")]
    from: Option<String>,
    /// When they end (not part of them), RFC 3339.
    #[arg(long, requires = "from")]
    to: Option<String>,
    /// Artefact to write.
    #[arg(long)]
    output: PathBuf,
    #[arg(long, default_value_t = SEED)]
    seed: u64,
}

/// An artefact, in a file or registered, and a table.
#[derive(Args)]
pub struct Evaluation {
    /// Of a registered version: `transaction_risk` or `player_risk`. What comes out is written into its papers.
    #[arg(value_parser = model_store::kind, requires = "version")]
    kind: Option<ModelKind>,
    /// Its number.
    version: Option<u32>,
    /// Artefact in a file, in the place of a registered version; its figures are printed.
    #[arg(long, conflicts_with = "kind", required_unless_present = "kind")]
    model: Option<PathBuf>,
    /// Labelled table.
    #[arg(long)]
    test: PathBuf,
    #[command(flatten)]
    by: By,
}

fn alert_rate(text: &str) -> Result<f64, String> {
    let (fewest, most) = (anomaly::ALERT_RATE_MIN, anomaly::ALERT_RATE_MAX);
    let rate = text.parse::<f64>().ok().filter(|rate| (fewest..=most).contains(rate));
    rate.ok_or_else(|| format!("not {fewest} to {most} alerts in 1,000 points"))
}

fn kind(text: &str) -> Result<Kind, String> {
    let known = [Kind::TransactionRisk, Kind::PlayerRisk];
    let names = known.map(Kind::as_str).join(" or ");
    known.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| format!("not {names}"))
}

/// A span of two times as they are given: `--from` and `--to`.
pub fn span(from: &str, to: &str) -> anyhow::Result<(Ts, Ts)> {
    let (from, to) = (Ts::parse(from).context("--from")?, Ts::parse(to).context("--to")?);
    anyhow::ensure!(from < to, "--to: is not after --from");
    Ok((from, to))
}

fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    File::open(path).map(BufReader::new).with_context(|| path.display().to_string())
}

/// Gives a writer; what it wrote takes its place when everything is there.
fn written<T>(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = tempfile::NamedTempFile::new_in(folder).with_context(|| folder.display().to_string())?;
    let mut writer = BufWriter::new(beside.reopen()?);
    let done = write(&mut writer)?;
    writer.flush()?;
    beside.persist(path).with_context(|| path.display().to_string())?;
    Ok(done)
}

/// Runs a command; only one on the store needs a configuration.
pub async fn run(command: Models, load: impl FnOnce() -> anyhow::Result<Config>) -> anyhow::Result<ExitCode> {
    match command {
        Models::InStore(command) => Box::pin(model_store::run(&load()?, command)).await,
        Models::OnFiles(Command::Evaluate(Evaluation {
            kind: Some(kind), version: Some(version), test, by, ..
        })) => Box::pin(model_store::evaluate(&load()?, (kind, version), &test, &by)).await,
        Models::OnFiles(command) => on_files(command).map(|()| ExitCode::SUCCESS),
    }
}

fn on_files(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Anomaly(Detection { input, output, alert_rate }) => {
            let params = alert_rate.map_or_else(anomaly::Params::default, anomaly::Params::with_alert_rate);
            let done = written(&output, |out| Ok(anomaly::batch::run(params, open(&input)?, out)?))?;
            say(&format!("{} rows, {} without a value, {} at the threshold", done.rows, done.missing, done.alerts));
        }
        Command::Fraud(order) => score(Kind::TransactionRisk, &order)?,
        Command::Risk(order) => score(Kind::PlayerRisk, &order)?,
        Command::Forecast(Forecasting { train, horizon, period, output }) => {
            let request = forecast::batch::Request { horizon, period };
            let params = forecast::Params::default();
            let done = written(&output, |out| Ok(forecast::batch::run(open(&train)?, out, request, &params)?))?;
            say(&format!("{} series of {} rows", done.series, done.rows));
        }
        Command::Train(Training { kind, train, from, to, output, seed }) => {
            let window = from.zip(to).map(|(from, to)| span(&from, &to)).transpose()?;
            let window = window.map(|(from, to)| Window { from, to });
            let artefact = tabular::batch::train_validated(kind, open(&train)?, window, seed)?;
            let digest = written(&output, |out| Ok(artefact.write(out)?))?;
            say(&artefact.card(&digest));
            if let Some(warning) = artefact.validation.as_ref().and_then(tabular::validate::Validation::warning) {
                complain(&format!("warning: {warning}"));
            }
        }
        Command::Evaluate(Evaluation { model, test, by, .. }) => {
            anyhow::ensure!(!by.is_given(), "--by, --key-file: of a file nothing is written down");
            let model = model.context("--model, or kind and number of a registered version")?;
            let (artefact, _) = artefact(&model)?;
            let judged = tabular::batch::judge(&artefact, open(&test)?)?;
            say(&serde_json::to_string_pretty(&judged.metrics)?);
            let tabular::seen::Compared { rows, seen } = judged.compared;
            if seen > 0 {
                complain(&format!("{seen} of {rows} rows that were compared are rows that it was learnt from"));
            }
        }
        Command::Card { model } => {
            let (artefact, digest) = artefact(&model)?;
            say(&artefact.card(&digest));
        }
    }
    Ok(())
}

fn artefact(path: &Path) -> anyhow::Result<(Artefact, String)> {
    Artefact::read(open(path)?).with_context(|| path.display().to_string())
}

fn score(kind: Kind, order: &Scoring) -> anyhow::Result<()> {
    let (train, test) = (open(&order.train)?, open(&order.test)?);
    let learnt =
        written(&order.output, |out| Ok(tabular::batch::train_and_score(kind, train, test, out, order.seed)?))?;
    say(&serde_json::to_string_pretty(&learnt.metrics)?);
    Ok(())
}
