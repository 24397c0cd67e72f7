//! `mlinzi register export`: everybody in the register, in the clear, as a file that `import` takes in again.

use super::rows::rows_of;
use super::{COLUMNS, SAY_EVERY};
use crate::draft::{Digested, Draft, unless_interrupted};
use crate::{complain, config::Config, keys, say, serve};
use actors::people::People;
use actors::secrets::KeyRing;
use anyhow::Context as _;
use clap::Args;
use models::event::Event;
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Clock, Store, SystemClock};

/// An export.
#[derive(Args)]
pub struct Export {
    /// File to write, for its owner only; there must be none of this name.
    file: PathBuf,
    /// What it is for; goes into the journal.
    #[arg(long)]
    case: String,
    /// Who takes it out; goes into the journal.
    #[arg(long)]
    by: String,
}

#[derive(Default)]
struct Written {
    people: u64,
    rows: u64,
    without_identity: u64,
    sha256: String,
}

/// Runs an export.
pub async fn export(config: &Config, order: Export) -> anyhow::Result<ExitCode> {
    for (name, text) in [("--case", &order.case), ("--by", &order.by)] {
        let sound = !text.trim().is_empty() && text.len() <= 200 && !text.chars().any(char::is_control);
        anyhow::ensure!(sound, "{name}: from 1 to 200 bytes");
    }
    let material = keys::provider(&config.keys).load()?;
    let store = serve::open_known_store(config).await?;
    store.claim().await.context("an export is of one state; stop the engine first")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let tools = actors::engine::tools(config.jurisdictions.clone(), &store, &material, clock).await?;
    let ring = Arc::clone(&tools.ring);
    // people in the clear, for nobody else; nobody takes the register out without leaving a trace, and a part of it is no
    // register
    let draft = Draft::begin(&order.file)?;
    let done = unless_interrupted(async {
        let written = write(config, &store, ring, draft.file()).await?;
        draft.file().sync_all()?;
        let event = Event::RegisterExported {
            case: order.case,
            by: order.by,
            people: written.people,
            rows: written.rows,
            without_identity: written.without_identity,
            file_sha256: written.sha256.clone(),
        };
        tools.writer.commit(vec![event], Vec::new()).await.context("the export cannot be journaled")?;
        Ok(written)
    });
    let written = done.await.context("there is no export")?;
    draft.keep()?;
    store.stop_writer(Duration::from_secs(30)).await;
    store.close().await;
    say(&serde_json::to_string(&serde_json::json!({
        "people": written.people, "rows": written.rows, "without_identity": written.without_identity,
        "sha256": written.sha256,
    }))?);
    if written.without_identity > 0 {
        complain(&format!(
            "of {} people nobody knows any more who they are: they are not in the file",
            written.without_identity
        ));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

async fn write(config: &Config, store: &Store, ring: Arc<KeyRing>, file: &File) -> anyhow::Result<Written> {
    let out = Digested::new(BufWriter::with_capacity(1 << 20, file));
    let mut out = csv::Writer::from_writer(out);
    out.write_record(COLUMNS)?;
    let mut people = People::new(store.clone(), ring);
    let (mut written, started, mut said) = (Written::default(), Instant::now(), Instant::now());
    loop {
        let chunk = people.next().await?;
        if chunk.is_empty() {
            break;
        }
        for person in &chunk {
            if person.identities.is_empty() {
                written.without_identity += 1;
                continue;
            }
            written.people += 1;
            for row in rows_of(person, written.people, &config.jurisdictions) {
                written.rows += 1;
                out.write_record(&row)?;
            }
        }
        if said.elapsed() >= SAY_EVERY && std::io::stderr().is_terminal() {
            said = Instant::now();
            let rate = written.people as f64 / started.elapsed().as_secs_f64();
            let _ = write!(std::io::stderr(), "\r{} people, {rate:.0}/s ", written.people);
        }
    }
    out.flush()?;
    let out = out.into_inner().map_err(|error| error.into_error())?;
    written.sha256 = out.sha256();
    Ok(written)
}
