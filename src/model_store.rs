//! `mlinzi model register|evaluate|promote|rollback|shadow|unshadow|retire|list|features`: models and the store. They work
//! beside a running engine. What is registered and judged is of the node; which version scores, and which does so in the
//! shadow, is of a jurisdiction.

use crate::by::By;
use crate::config::Config;
use crate::draft::{Digested, Draft, unless_interrupted};
use crate::model::span;
use crate::{complain, keys, model_backtest, say, serve};
use actors::built_in_models::{self, BuiltIn};
use actors::engine::Tools;
use actors::model_forecasts;
use actors::model_rows::{self, RowsOrder, RowsSummary};
use actors::model_shadows::{self, ShadowStep};
use actors::risk_models;
use anyhow::Context;
use clap::{Args, Subcommand};
use ml::tabular::artefact::Artefact;
use ml::tabular::batch;
use models::event::Event;
use models::jurisdiction::{Jurisdiction, JurisdictionNo};
use models::model_life::{ModelActed, rollback_of};
use models::risk_model::{Model, ModelForecast, ModelKind, ModelMetrics, NAME_CHARS_MAX};
use models::rule::ForecastBasis;
use models::who::Who;
use std::collections::BTreeSet;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use store::{Clock, Store, StoredModel, SystemClock};

/// What is done with models in the store.
#[derive(Subcommand)]
pub enum Command {
    /// Puts an artefact with its papers into the store; nothing scores with it yet.
    Register(Register),
    /// Makes a version the one that scores in a jurisdiction. A second person does it, and only with one that is validated.
    Promote(Promote),
    /// Lets the version that scored in a jurisdiction before the present one score there again. One person is enough: it was
    /// seconded then.
    Rollback(Rollback),
    /// Takes a version out of use in a jurisdiction for good.
    Retire(Retire),
    /// Lets a version score in the shadow of a jurisdiction: nobody hears of it, and what it would have said is counted by day.
    Shadow(Shadow),
    /// Ends the shadow of a version in a jurisdiction; what was counted of it stays.
    Unshadow(Shadow),
    /// Runs a version over stored history of a jurisdiction, beside what was promoted then. Reads only.
    Backtest(model_backtest::Args),
    /// Versions and what became of them, jurisdiction by jurisdiction, and the models that are part of the program.
    List {
        /// Code of one jurisdiction; where none is named, each that has operators.
        #[arg(long)]
        jurisdiction: Option<String>,
        /// One JSON array instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Writes the vectors of what people have decided about in a jurisdiction, to learn from; the export is journaled.
    Features(Features),
}

/// A registration.
#[derive(Args)]
pub struct Register {
    /// Artefact, as `train` wrote it.
    file: PathBuf,
    #[command(flatten)]
    by: By,
    /// Labelled table that it has not seen, to validate it: before it was judged on one it cannot be promoted.
    #[arg(long)]
    test: Option<PathBuf>,
}

/// Which version.
#[derive(Args)]
pub struct Which {
    /// `transaction_risk` or `player_risk`.
    #[arg(value_parser = kind)]
    pub kind: ModelKind,
    /// Its number.
    pub version: u32,
}

/// Where something is done with a version, and by whom.
#[derive(Args)]
pub struct Act {
    #[command(flatten)]
    by: By,
    /// Code of the jurisdiction; needed where several have operators.
    #[arg(long)]
    jurisdiction: Option<String>,
}

/// A promotion.
#[derive(Args)]
pub struct Promote {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    act: Act,
}

/// A way back.
#[derive(Args)]
pub struct Rollback {
    /// `transaction_risk` or `player_risk`.
    #[arg(value_parser = kind)]
    kind: ModelKind,
    #[command(flatten)]
    act: Act,
    /// Why.
    #[arg(long)]
    reason: String,
}

/// The shadow of a version.
#[derive(Args)]
pub struct Shadow {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    act: Act,
    /// Why.
    #[arg(long)]
    reason: String,
}

/// The end of a version.
#[derive(Args)]
pub struct Retire {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    act: Act,
    /// Why.
    #[arg(long)]
    reason: String,
}

/// An export of vectors.
#[derive(Args)]
pub struct Features {
    /// `transaction` or `player`.
    #[arg(long, value_parser = rows_kind)]
    kind: ModelKind,
    /// Start of the span of the records that were decided about, RFC 3339.
    #[arg(long)]
    from: String,
    /// End of the span (not part of it), RFC 3339.
    #[arg(long)]
    to: String,
    #[command(flatten)]
    act: Act,
    /// File to write, for its owner only; there must be none of this name.
    #[arg(long)]
    out: PathBuf,
}

/// A kind of which versions are registered, by its name.
pub fn kind(text: &str) -> Result<ModelKind, String> {
    ModelKind::parse(text).ok_or_else(|| "not transaction_risk or player_risk".to_owned())
}

fn rows_kind(text: &str) -> Result<ModelKind, String> {
    match text {
        "transaction" => Ok(ModelKind::TransactionRisk),
        "player" => Ok(ModelKind::PlayerRisk),
        _ => Err("not transaction or player".to_owned()),
    }
}

/// The store, and what writes into it.
pub async fn open(config: &Config) -> anyhow::Result<(Store, Tools)> {
    let material = keys::provider(&config.keys).load()?;
    let store = serve::open_known_store(config).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let tools = actors::engine::tools(config.jurisdictions.clone(), &store, &material, clock).await?;
    Ok((store, tools))
}

/// Runs a command.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { jurisdiction, json } => list(config, jurisdiction.as_deref(), json).await?,
        Command::Features(order) => Box::pin(features(config, order)).await?,
        Command::Shadow(order) => shadow(config, order, ShadowStep::Start).await?,
        Command::Unshadow(order) => shadow(config, order, ShadowStep::End).await?,
        Command::Backtest(args) => return Box::pin(model_backtest::run(config, args)).await,
        Command::Register(order) => register(config, order).await?,
        Command::Promote(order) => promote(config, order).await?,
        Command::Rollback(Rollback { kind, act, reason }) => {
            let (code, version) = somewhere(config, &act, async |store, tools, (no, who)| {
                Ok(risk_models::roll_back(store, &tools.writer, (no, kind), who, &reason).await?)
            })
            .await?;
            say(&format!("{} version {version} scores again in {code}", kind.as_str()));
        }
        Command::Retire(Retire { which: Which { kind, version }, act, reason }) => {
            let (code, ()) = somewhere(config, &act, async |store, tools, (no, who)| {
                Ok(risk_models::retire(store, &tools.writer, no, (kind, version), who, &reason).await?)
            })
            .await?;
            say(&format!("{} version {version} is retired in {code}", kind.as_str()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens the store, does something there as whoever gives the order, and closes it again.
async fn as_somebody<T>(
    config: &Config,
    by: &By,
    act: impl AsyncFnOnce(&Store, &Tools, &Who) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (store, tools) = open(config).await?;
    let done = match by.who(&tools.directory.load_full(), SystemClock.now()) {
        Ok(who) => act(&store, &tools, &who).await,
        Err(error) => Err(error),
    };
    close(&store).await;
    done
}

/// The same in a jurisdiction; gives its code as well.
async fn somewhere<T>(
    config: &Config,
    act: &Act,
    does: impl AsyncFnOnce(&Store, &Tools, (JurisdictionNo, &Who)) -> anyhow::Result<T>,
) -> anyhow::Result<(String, T)> {
    as_somebody(config, &act.by, async |store, tools, who| {
        let directory = tools.directory.load_full();
        let no = place(&config.jurisdictions, &directory.jurisdictions_in_use(), act.jurisdiction.as_deref())?;
        let key = who.key.and_then(|key| directory.keys.get(&key));
        let is_own = key.is_none_or(|entry| entry.key.jurisdiction == no);
        anyhow::ensure!(is_own, "the key is of another jurisdiction than {}", code(&config.jurisdictions, no));
        let done = does(store, tools, (no, who)).await?;
        Ok((code(&config.jurisdictions, no).to_owned(), done))
    })
    .await
}

/// The code of a jurisdiction that is configured.
pub fn code(all: &[Jurisdiction], no: JurisdictionNo) -> &str {
    all.get(usize::from(no.0)).map_or("", |known| known.code.as_str())
}

/// The jurisdiction that is named; where none is, the only one that has operators, or the first one before there are any.
pub fn place(
    all: &[Jurisdiction],
    in_use: &BTreeSet<JurisdictionNo>,
    named: Option<&str>,
) -> anyhow::Result<JurisdictionNo> {
    if let Some(code) = named {
        return Jurisdiction::by_code(all, code).with_context(|| format!("--jurisdiction: no jurisdiction {code}"));
    }
    anyhow::ensure!(in_use.len() <= 1, "--jurisdiction is needed: several have operators");
    Ok(in_use.first().copied().unwrap_or(JurisdictionNo(0)))
}

/// Promotes a version, and says what is expected of it.
async fn promote(config: &Config, order: Promote) -> anyhow::Result<()> {
    let Promote { which: Which { kind, version }, act } = order;
    let which = (kind, version);
    let (code, forecasts) = somewhere(config, &act, async |store, tools, (no, who)| {
        let directory = tools.directory.load_full();
        let forecasts = model_forecasts::forecasts(store, &directory, no, which, SystemClock.now()).await?;
        risk_models::promote(store, &tools.writer, &directory, no, which, who, forecasts.clone()).await?;
        Ok(forecasts)
    })
    .await?;
    say(&format!("{} version {version} is promoted in {code}", kind.as_str()));
    forecasts.iter().for_each(|of| say(&expected(of, &config.jurisdictions)));
    Ok(())
}

/// An expectation in words.
fn expected(of: &ModelForecast, jurisdictions: &[Jurisdiction]) -> String {
    let ModelForecast { jurisdiction, rule, forecast } = of;
    let place = code(jurisdictions, *jurisdiction);
    if forecast.basis == ForecastBasis::Nothing {
        return format!("{place} {rule}: nothing is known of it; more than two alerts a day may meet the brake");
    }
    let (rate, basis) = (forecast.expected_micro as f64 / 1e6, forecast.basis.as_str());
    format!("{place} {rule}: {rate:.2} alerts a day and operator are expected ({basis})")
}

async fn register(config: &Config, order: Register) -> anyhow::Result<()> {
    let Register { file, by, test } = order;
    let document = std::fs::read(&file).with_context(|| file.display().to_string())?;
    let evaluation = match &test {
        Some(test) => Some(judge(&Artefact::read(document.as_slice())?.0, test)?),
        None => None,
    };
    let model = as_somebody(config, &by, async |store, tools, who| {
        Ok(risk_models::register(store, &tools.writer, &document, evaluation, who).await?)
    })
    .await?;
    say(&format!("{} version {} is registered", model.kind.as_str(), model.version));
    tell_what_is_missing(&model);
    Ok(())
}

/// Has a registered version judged on a table; what comes out is in its papers from then on.
pub async fn evaluate(config: &Config, which: (ModelKind, u32), test: &Path, by: &By) -> anyhow::Result<ExitCode> {
    let model = as_somebody(config, by, async |store, tools, who| {
        let directory = tools.directory.load_full();
        let judged = judge(&risk_models::unjudged(store, &directory, which).await?, test)?;
        Ok(risk_models::evaluate(store, &tools.writer, &directory, which, judged, who).await?)
    })
    .await?;
    say(&format!("{} version {} is judged", model.kind.as_str(), model.version));
    tell_what_is_missing(&model);
    Ok(ExitCode::SUCCESS)
}

fn tell_what_is_missing(model: &Model) {
    if let Err(reason) = model.validated() {
        complain(&format!("it cannot be promoted: {reason}"));
    }
}

async fn shadow(config: &Config, order: Shadow, step: ShadowStep) -> anyhow::Result<()> {
    let Shadow { which: Which { kind, version }, act, reason } = order;
    let (code, ()) = somewhere(config, &act, async |store, tools, (no, who)| {
        Ok(model_shadows::take_step(store, &tools.writer, no, (kind, version), step, (who, &reason)).await?)
    })
    .await?;
    let what = if step == ShadowStep::Start { "scores in the shadow" } else { "is out of the shadow" };
    say(&format!("{} version {version} {what} of {code}", kind.as_str()));
    Ok(())
}

/// Everything that was handed to the writer is written.
pub async fn close(store: &Store) {
    store.stop_writer(Duration::from_secs(10)).await;
    store.close().await;
}

fn judge(artefact: &Artefact, test: &Path) -> anyhow::Result<batch::Judgement> {
    let table = std::fs::File::open(test).with_context(|| test.display().to_string())?;
    batch::judge(artefact, std::io::BufReader::new(table)).with_context(|| test.display().to_string())
}

fn share(ppm: u32) -> f64 {
    f64::from(ppm) / 1e6
}

/// A version in a jurisdiction, with the way back by which it scores or does not.
struct Listed {
    code: String,
    stored: StoredModel,
    rollback: Option<ModelActed>,
}

async fn listed(store: &Store, (no, code): (JurisdictionNo, &str)) -> anyhow::Result<Vec<Listed>> {
    let mut all = Vec::new();
    for stored in store.models(no).await? {
        let Model { kind, version, .. } = stored.model;
        let rollback = rollback_of(&store.model_acts(no, kind).await?, version).cloned();
        all.push(Listed { code: code.to_owned(), stored, rollback });
    }
    Ok(all)
}

async fn list(config: &Config, named: Option<&str>, json: bool) -> anyhow::Result<()> {
    let store = serve::open_known_store(config).await?;
    let in_use: BTreeSet<_> = store.operators().await?.iter().map(|operator| operator.jurisdiction).collect();
    let all = &config.jurisdictions;
    let places =
        if named.is_none() && in_use.len() > 1 { in_use } else { BTreeSet::from([place(all, &in_use, named)?]) };
    let mut models = Vec::new();
    for no in places {
        models.extend(listed(&store, (no, code(all, no))).await?);
    }
    store.close().await;
    if json {
        let mut all: Vec<_> = models.iter().map(as_json).collect();
        all.extend(built_in_models::all().iter().map(built_in_as_json));
        say(&serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    say(&format!(
        "{:<17} {:>7} {:<10} {:<8} {:>7} {:>7} {:>7}  {:<50}by",
        "kind", "version", "state", "in", "AUC", "AP", "rows", "trained on"
    ));
    models.iter().for_each(print_listed);
    for BuiltIn { kind, version, parameters_sha256, .. } in built_in_models::all() {
        let known = format!("as it goes; parameters {}", &parameters_sha256[..16]);
        say(&format!(
            "{kind:<17} {version:>7} {:<10} {:<8} {:>7} {:>7} {:>7}  {known:<50}part of the program",
            "built_in", "-", "-", "-", "-"
        ));
    }
    Ok(())
}

fn print_listed(listed: &Listed) {
    let Listed { code, stored, rollback } = listed;
    let StoredModel { model, state, promoted, shadow, .. } = stored;
    let ModelMetrics { rows, auc_ppm, average_precision_ppm, .. } =
        model.evaluation.as_ref().map_or(model.held_out, |evaluation| evaluation.metrics);
    let mut by =
        promoted.as_ref().map_or_else(|| model.by.clone(), |(by, _)| format!("{}, promoted by {by}", model.by));
    let trained_on =
        model.trained_on.map_or_else(|| "not given".to_owned(), |of| format!("{} to {}", of.start, of.end));
    if let Some(judge) = &model.evaluated_by {
        by.push_str(&format!(", judged by {}", judge.name));
    }
    if let Some(ModelActed { version, other, by: who, reason, .. }) = rollback {
        let (from, reason) = (other.unwrap_or_default(), reason.as_deref().unwrap_or_default());
        by.push_str(&format!(", gone back from {from} to {version} by {who}: {reason}"));
    }
    if let Some((who, ..)) = shadow {
        by.push_str(&format!(", in the shadow by {who}"));
    }
    say(&format!(
        "{:<17} {:>7} {:<10} {code:<8} {:>7.4} {:>7.4} {rows:>7}  {trained_on:<50}{by}",
        model.kind.as_str(),
        model.version,
        state.as_str(),
        share(auc_ppm),
        share(average_precision_ppm),
    ));
}

fn built_in_as_json(model: &BuiltIn) -> serde_json::Value {
    let BuiltIn { kind, version, parameters, parameters_sha256, calibrated_on, figures, card } = model;
    let metrics: serde_json::Map<_, _> =
        figures.iter().map(|(name, value)| ((*name).to_owned(), serde_json::json!(value))).collect();
    serde_json::json!({
        "kind": kind, "version": version, "built_in": true, "parameters": parameters,
        "parameters_sha256": parameters_sha256, "calibrated_on": calibrated_on, "metrics": metrics, "card": card,
    })
}

fn as_json(listed: &Listed) -> serde_json::Value {
    let Listed { code, stored, rollback } = listed;
    let StoredModel { model, state, registered_at, promoted, ended, shadow } = stored;
    let Model { kind, version, artefact_sha256, schema_sha256, data_sha256, held_out, evaluation, by, .. } = model;
    let trained_on =
        model.trained_on.map(|of| serde_json::json!({"from": of.start.to_string(), "to": of.end.to_string()}));
    serde_json::json!({
        "kind": kind, "version": version, "built_in": false, "jurisdiction": code, "state": state, "artefact_sha256": artefact_sha256,
        "schema_sha256": schema_sha256, "data_sha256": data_sha256, "trained_on": trained_on, "held_out": held_out,
        "evaluation": evaluation,
        "registered_by": by, "registered_by_key": model.by_key, "registered_at": registered_at.to_string(),
        "evaluated_by": model.evaluated_by,
        "promoted_by": promoted.as_ref().map(|(by, _)| by),
        "promoted_at": promoted.as_ref().map(|(_, at)| at.to_string()),
        "ended_by": ended.as_ref().map(|(by, _)| by),
        "ended_at": ended.as_ref().map(|(_, at)| at.to_string()),
        "rollback": rollback.as_ref().map(|ModelActed { version, other, by, at, reason, .. }| serde_json::json!({
            "from": other, "to": version, "by": by, "at": at.to_string(), "reason": reason,
        })),
        "shadow": shadow.as_ref().map(|(by, since, reason)| serde_json::json!({
            "by": by, "since": since.to_string(), "reason": reason,
        })),
    })
}

/// A name that may stand in the journal; that of a key does.
fn check_name(who: &Who) -> anyhow::Result<()> {
    let name = who.name.trim();
    let is_name = !name.is_empty() && name.chars().count() <= NAME_CHARS_MAX && !name.chars().any(char::is_control);
    anyhow::ensure!(who.key.is_some() || is_name, "--by: from 1 to {NAME_CHARS_MAX} characters");
    Ok(())
}

async fn features(config: &Config, order: Features) -> anyhow::Result<()> {
    let Features { kind, from, to, act, out } = order;
    let (from, to) = span(&from, &to)?;
    let (code, (summary, sha256)) = somewhere(config, &act, async |store, tools, (no, who)| {
        check_name(who)?;
        let draft = Draft::begin(&out)?;
        let order = RowsOrder { kind, jurisdiction: no, from, to };
        let done = unless_interrupted(export(store, tools, order, (who, &draft)));
        let done = Box::pin(done).await.context("there is no export")?;
        draft.keep()?;
        Ok(done)
    })
    .await?;
    let RowsSummary { rows, positives, labels_left_out } = summary;
    say(&serde_json::to_string(&serde_json::json!({
        "jurisdiction": code, "rows": rows, "positives": positives, "labels_left_out": labels_left_out, "sha256": sha256,
        // for `model train`, so that the papers say when the rows happened
        "train_flags": format!("--kind {} --from {from} --to {to}", kind.as_str()),
    }))?);
    Ok(())
}

/// Writes the rows, and journals who took them out.
async fn export(
    store: &Store,
    tools: &Tools,
    order: RowsOrder,
    (who, draft): (&Who, &Draft),
) -> anyhow::Result<(RowsSummary, String)> {
    let mut out = Digested::new(BufWriter::new(draft.file()));
    let summary = model_rows::write(store, &tools.directory.load_full(), order, &mut out).await?;
    let file_sha256 = out.sha256();
    draft.file().sync_all()?;
    let RowsOrder { kind, jurisdiction, from, to } = order;
    let event = Event::FeaturesExported {
        model: kind.as_str().to_owned(),
        jurisdiction: Some(jurisdiction),
        by: who.name.trim().to_owned(),
        by_key: who.key,
        from,
        to,
        rows: summary.rows,
        file_sha256: file_sha256.clone(),
    };
    tools.writer.commit(vec![event], Vec::new()).await.context("the export cannot be journaled")?;
    Ok((summary, file_sha256))
}
