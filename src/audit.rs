//! `mlinzi audit verify`: the journal, then the evidence that the journal names.

use crate::{complain, config::Config, keys, say, serve};
use actors::secrets::KeyRing;
use std::process::ExitCode;

/// Walks the journal with the chain's key and the checkpoints' public key.
pub async fn verify(config: &Config) -> anyhow::Result<ExitCode> {
    let ring = KeyRing::new(&keys::provider(&config.keys).load()?)?;
    let store = serve::open_known_store(config).await?;
    let report = store.verify_journal(&ring.chain, &ring.checkpoint_public_key()).await?;
    say(&serde_json::to_string(&report)?);
    if let Some(bad) = report.first_bad {
        complain(&format!("journal row {}: {}", bad.seq, bad.what));
        return Ok(ExitCode::FAILURE);
    }
    // the journal is what was written, so it may be believed about what else must be there
    let missing = store.missing_evidence().await?;
    missing.iter().for_each(|what| complain(what));
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
