//! `mlinzi audit verify`.

use crate::{complain, config::Config, keys, say, serve};
use actors::secrets::KeyRing;
use std::process::ExitCode;

/// Walks the journal with the chain's key and the checkpoints' public key.
pub async fn verify(config: &Config) -> anyhow::Result<ExitCode> {
    let ring = KeyRing::new(&keys::provider(&config.keys).load()?)?;
    let store = serve::open_known_store(config).await?;
    let report = store.verify_journal(&ring.chain, &ring.checkpoint_public_key()).await?;
    say(&serde_json::to_string(&report)?);
    match report.first_bad {
        None => Ok(ExitCode::SUCCESS),
        Some(bad) => {
            complain(&format!("journal row {}: {}", bad.seq, bad.what));
            Ok(ExitCode::FAILURE)
        }
    }
}
