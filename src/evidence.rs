//! `mlinzi evidence export|verify`: proof of what was asked and answered.

use crate::draft::{Draft, unless_interrupted};
use crate::{complain, config::Config, keys, say, serve};
use actors::exports::{self, ExportHead, ExportOrder};
use actors::jws;
use actors::receipts::{self, Jwk};
use actors::replay::{self, Replay};
use anyhow::Context;
use clap::{Args, Subcommand};
use models::event::Event;
use models::ids::OperatorId;
use models::ts::Ts;
use serde::Deserialize;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use store::{Clock, SystemClock};

/// What can be done with evidence.
#[derive(Subcommand)]
pub enum Command {
    /// Writes the lookups of an operator into a file that proves itself; the export is journaled.
    Export(Export),
    /// Checks an exported file, a receipt, or the report of a replay. Needs neither the database nor its keys.
    Verify(Verify),
}

/// An export.
#[derive(Args)]
pub struct Export {
    /// The case it is for; goes into the journal.
    #[arg(long)]
    case: String,
    /// Code or id of the operator.
    #[arg(long)]
    operator: String,
    /// Start of the span, RFC 3339.
    #[arg(long)]
    from: String,
    /// End of the span (not part of it), RFC 3339.
    #[arg(long)]
    to: String,
    /// File to write, for its owner only; there must be none of this name.
    #[arg(long)]
    out: PathBuf,
}

/// A check.
#[derive(Args)]
pub struct Verify {
    /// An exported file, a receipt, or the report of a replay.
    file: PathBuf,
    /// Public keys as `/.well-known/jwks.json` gives them, got in another way than the file.
    #[arg(long)]
    jwks: Option<PathBuf>,
    /// Take the keys that the file itself carries for the regulator's: proves that it is whole, not whose it is.
    #[arg(long, conflicts_with = "jwks")]
    trust_file_keys: bool,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

/// Longest signed statement that is looked at: the report of a replay with as many differences as it may name.
const STATEMENT_BYTES_MAX: u64 = 256 << 20;
/// Longest name of a case, characters.
const CASE_CHARS_MAX: usize = 128;

/// Runs an export.
pub async fn export(config: &Config, order: Export) -> anyhow::Result<ExitCode> {
    let named = !order.case.trim().is_empty() && order.case.chars().count() <= CASE_CHARS_MAX;
    anyhow::ensure!(
        named && !order.case.chars().any(char::is_control),
        "--case: from 1 to {CASE_CHARS_MAX} characters"
    );
    // the file tells times to the millisecond
    let (from, to) = (Ts::parse(&order.from).context("--from")?, Ts::parse(&order.to).context("--to")?);
    let (from, to) = (from.floor_to(1_000), to.floor_to(1_000));
    anyhow::ensure!(from < to, "--to: is not after --from");
    let material = keys::provider(&config.keys).load()?;
    let store = serve::open_known_store(config).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let now = clock.now();
    let tools = actors::engine::tools(config.jurisdictions.clone(), &store, &material, clock).await?;
    let ring = Arc::clone(&tools.ring);
    let directory = tools.directory.load_full();
    let by_id = order.operator.parse::<OperatorId>().ok().and_then(|id| directory.operator_by_id.get(&id));
    let no = by_id.or_else(|| directory.operator_by_code.get(&order.operator)).copied();
    let operator =
        no.and_then(|no| directory.operators.get(&no)).with_context(|| format!("no operator {}", order.operator))?;
    let months = actors::evidence::months(&store, &ring).await.map_err(anyhow::Error::msg)?;
    let head = ExportHead {
        mlinzi_evidence: 1,
        case: order.case.clone(),
        operator: operator.id,
        operator_no: operator.operator_no.0,
        from,
        to,
        exported_at: now,
        keys: vec![Jwk::of(&ring.checkpoint_public_key())],
    };
    let token_keys = directory.every_token_key(&ring, Some(operator.operator_no));
    let export = ExportOrder { head, months: &months, token_keys: &token_keys, signer: &ring.checkpoint };
    let draft = Draft::begin(&order.out)?;
    let done = unless_interrupted(async {
        let (summary, signature) = exports::export(&store, &export, BufWriter::new(draft.file())).await?;
        draft.file().sync_all()?;
        let event = Event::EvidenceExported {
            case: order.case,
            operator_no: operator.operator_no,
            from,
            to,
            lookups: summary.lookups,
            file_sha256: summary.sha256.clone(),
        };
        // nobody takes evidence out without leaving a trace: what is in the file until now proves nothing
        tools.writer.commit(vec![event], Vec::new()).await.context("the export cannot be journaled")?;
        draft.file().write_all(&signature)?;
        Ok(summary)
    });
    let summary = done.await.context("there is no export")?;
    draft.keep()?;
    store.stop_writer(Duration::from_secs(10)).await;
    say(&serde_json::to_string(&summary)?);
    Ok(ExitCode::SUCCESS)
}

/// The report of a replay, as it was signed. That it tells of differences does not make it less true.
fn verify_replay(text: &str, keys: &[Jwk]) -> anyhow::Result<ExitCode> {
    match jws::verify::<Replay>(replay::TYPE, text, keys) {
        Ok(report) => {
            say(&serde_json::to_string(&report)?);
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            complain(&format!("the report proves nothing: {error}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Runs a check; 1 where something is wrong.
pub fn verify(order: &Verify) -> anyhow::Result<ExitCode> {
    let trusted = match &order.jwks {
        None => None,
        Some(path) => {
            let text = std::fs::read(path).with_context(|| path.display().to_string())?;
            Some(serde_json::from_slice::<Jwks>(&text).with_context(|| path.display().to_string())?.keys)
        }
    };
    anyhow::ensure!(
        trusted.is_some() || order.trust_file_keys,
        "--jwks is needed: who could forge the file could forge its keys"
    );
    let mut file = File::open(&order.file).with_context(|| order.file.display().to_string())?;
    let mut first = [0; 3];
    let length = file.read(&mut first)?;
    file.rewind()?;
    // base64url of `{"`: the header of a JWS
    if &first[..length] == b"eyJ" {
        let Some(keys) = &trusted else { anyhow::bail!("a receipt is checked against --jwks") };
        let mut text = String::new();
        BufReader::new(file).take(STATEMENT_BYTES_MAX).read_to_string(&mut text)?;
        if jws::typ(&text).as_deref() == Some(replay::TYPE) {
            return verify_replay(&text, keys);
        }
        return Ok(match receipts::verify(&text, keys) {
            Ok(receipt) => {
                say(&serde_json::to_string(&receipt)?);
                ExitCode::SUCCESS
            }
            Err(error) => {
                complain(&format!("the receipt proves nothing: {error}"));
                ExitCode::FAILURE
            }
        });
    }
    match exports::verify(BufReader::new(file), trusted.as_deref()) {
        Ok((head, summary)) => {
            say(&serde_json::to_string(&serde_json::json!({
                "case": head.case, "operator": head.operator, "from": head.from, "to": head.to,
                "lookups": summary.lookups, "unknown": summary.unknown, "blocks": summary.blocks,
                "chains": summary.chains, "trusted": trusted.is_some(), "gaps": summary.gaps, "sha256": summary.sha256,
            }))?);
            if trusted.is_none() {
                complain("checked against the keys in the file itself: compare them with the regulator's");
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            complain(&error.to_string());
            Ok(ExitCode::FAILURE)
        }
    }
}
