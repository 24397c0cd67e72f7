//! `mlinzi keys rotate|status`: new versions of the keys that live outside the database, and the end of old ones.
//!
//! It works beside a running engine: a new version is written where the keys are kept, and the engine, which looks there
//! every two seconds, takes it over; the end of an old one is journaled, and the engine hears of it (docs/adr/0014).

use crate::config::Config;
use crate::{keys, say, serve};
use actors::secrets::KeyMaterial;
use anyhow::{Context as _, bail, ensure};
use models::event::Event;
use models::key_version::{KeyPurpose, KeyState, KeyStates, KeyVersion};
use models::match_key::DIGEST_VERSION_MAX;
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use store::{Clock, Store, SystemClock};

/// What can be done with versions.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Begins a new version of a key, or takes an old one out of use.
    Rotate(Rotate),
    /// Says which versions there are, and how far each has come.
    Status {
        /// One JSON array instead of lines.
        #[arg(long)]
        json: bool,
    },
}

/// A rotation.
#[derive(clap::Args)]
pub struct Rotate {
    /// `digest`, `token` or `vault`.
    #[arg(value_parser = purpose)]
    purpose: KeyPurpose,
    /// Version to take out of use instead.
    #[arg(long, conflicts_with = "leave_behind")]
    retire: Option<u8>,
    /// Completes a rotation of the digest key that this many match keys hold up, because nothing in the vault leads to
    /// them: whoever is known by them alone is not found any more.
    #[arg(long)]
    leave_behind: Option<u64>,
}

fn purpose(text: &str) -> Result<KeyPurpose, String> {
    KeyPurpose::parse(text).ok_or_else(|| "not digest, token or vault".to_owned())
}

/// Runs a command.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<ExitCode> {
    let store = serve::open_known_store(config).await?;
    match command {
        Command::Status { json } => status(&store, json).await?,
        Command::Rotate(Rotate { purpose, retire: Some(version), .. }) => {
            retire(config, &store, purpose, version).await?;
        }
        Command::Rotate(Rotate { purpose, leave_behind: Some(keys), .. }) => {
            ensure!(purpose == KeyPurpose::Digest, "--leave-behind: only match keys can be");
            leave_behind(config, &store, keys).await?;
        }
        Command::Rotate(Rotate { purpose, .. }) => begin(config, &store, purpose).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Two that rotate at once would each save what it knows.
fn lock(config: &Config) -> anyhow::Result<File> {
    let mut path = config.keys.file.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let file = File::options().create(true).append(true).open(&path).with_context(|| path.display().to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another rotation runs at this moment"),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| path.display().to_string()),
    }
}

async fn begin(config: &Config, store: &Store, purpose: KeyPurpose) -> anyhow::Result<()> {
    let _alone = lock(config)?;
    let provider = keys::provider(&config.keys);
    let mut material = provider.load()?;
    let states = store.key_states().await?;
    let version = next_version(&states, &material, purpose)?;
    if purpose == KeyPurpose::Digest {
        let holds = store.match_keys_by_version().await?.into_iter().find(|(known, _)| *known == version);
        ensure!(holds.is_none(), "match keys of the retired version {version} are still being deleted");
    }
    material.renew(purpose, version)?;
    provider.save(&material)?;
    say(&format!(
        "{} key version {version} is written: back the keys up now. A running engine takes it over within seconds; see `mlinzi keys status`",
        purpose.as_str()
    ));
    Ok(())
}

/// The number of the next version.
fn next_version(states: &KeyStates, material: &KeyMaterial, purpose: KeyPurpose) -> anyhow::Result<u8> {
    let name = purpose.as_str();
    let known: Vec<&KeyVersion> = states.versions.iter().filter(|known| known.purpose == purpose).collect();
    ensure!(!known.is_empty(), "no engine has run with these keys yet: start it once");
    if let Some(under_way) = states.under_way(purpose) {
        bail!("{name} key version {} is on its way; see `mlinzi keys status`", under_way.version);
    }
    for (version, fingerprint) in material.fingerprints(purpose)? {
        let waits = states.get(purpose, version).is_none_or(|known| known.fingerprint != fingerprint);
        ensure!(!waits, "{name} key version {version} is written already, and waits for the engine");
    }
    let highest = known.iter().map(|known| known.version).max().unwrap_or(0);
    if purpose != KeyPurpose::Digest {
        return highest.checked_add(1).with_context(|| format!("there is no number left for a {name} key"));
    }
    if highest < DIGEST_VERSION_MAX {
        return Ok(highest + 1);
    }
    // a token has two bits for it. A number that is used again must not be one by which an old token still opens: it
    // would lead to nobody instead of to "no longer live"
    let oldest_token = states.live(KeyPurpose::Token).map(|token| token.started_at).min();
    let free = known.iter().find(|known| {
        known.state == KeyState::Retired && known.retired_at.zip(oldest_token).is_some_and(|(went, token)| went < token)
    });
    let free = free.context(
        "every number of a digest key is in use or stands in tokens that still open: retire the oldest version, then rotate the token key and retire the one before",
    )?;
    Ok(free.version)
}

async fn retire(config: &Config, store: &Store, purpose: KeyPurpose, version: u8) -> anyhow::Result<()> {
    let _alone = lock(config)?;
    let name = purpose.as_str();
    let provider = keys::provider(&config.keys);
    let mut material = provider.load()?;
    let states = store.key_states().await?;
    let known = states.get(purpose, version).with_context(|| format!("there is no {name} key version {version}"))?;
    if known.state != KeyState::Retired {
        ensure!(states.current(purpose) != Some(version), "{name} key version {version} is in force: rotate first");
        if let Some(under_way) = states.under_way(purpose) {
            bail!("not everything is under {name} key version {} yet; see `mlinzi keys status`", under_way.version);
        }
        if purpose == KeyPurpose::Vault {
            let left = store.sealed_under(version).await?;
            ensure!(left == 0, "{left} sealed values are under vault key version {version}");
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let tools = actors::engine::tools(config.jurisdictions.clone(), store, &material, clock).await?;
        tools.writer.commit(vec![Event::KeyVersionRetired { purpose, version }], Vec::new()).await?;
        store.stop_writer(Duration::from_secs(10)).await;
    }
    // retired token keys stay, so that tokens made with them are told apart from invented ones (410, not 422)
    if purpose != KeyPurpose::Token && material.forget(purpose, version) {
        provider.save(&material).context("it is retired, and has to be taken out by hand")?;
    }
    say(&format!("{name} key version {version} is retired"));
    Ok(())
}

/// Completes what cannot be completed by itself; a person says how much is lost.
async fn leave_behind(config: &Config, store: &Store, keys: u64) -> anyhow::Result<()> {
    let _alone = lock(config)?;
    let material = keys::provider(&config.keys).load()?;
    let states = store.key_states().await?;
    let under_way = states.under_way(KeyPurpose::Digest).context("no digest key is on its way")?;
    let version = under_way.version;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let tools = actors::engine::tools(config.jurisdictions.clone(), store, &material, clock).await?;
    let left = actors::engine::left_behind(store, &tools.ring, &config.engine.family, version).await;
    let left = left.map_err(anyhow::Error::msg)?;
    ensure!(left.keys == keys, "{left}");
    let ready = Event::KeyVersionReady { purpose: KeyPurpose::Digest, version, left_behind: keys };
    tools.writer.commit_in(tools.ring.epoch, vec![ready], Vec::new()).await?;
    store.stop_writer(Duration::from_secs(10)).await;
    say(&format!("digest key version {version} is ready; {left}"));
    Ok(())
}

async fn status(store: &Store, json: bool) -> anyhow::Result<()> {
    let states = store.key_states().await?;
    let match_keys = store.match_keys_by_version().await?;
    if states.versions.is_empty() && !json {
        say("no engine has run with these keys yet");
    }
    let mut shown = Vec::with_capacity(states.versions.len());
    for known in &states.versions {
        // what lies under it
        let holds = match known.purpose {
            KeyPurpose::Digest => match_keys.iter().find(|(v, _)| *v == known.version).map_or(0, |(_, count)| *count),
            KeyPurpose::Vault => store.sealed_under(known.version).await?,
            KeyPurpose::Token => 0,
        };
        let in_force = states.current(known.purpose) == Some(known.version);
        if !json {
            let what = match known.purpose {
                KeyPurpose::Digest => format!("  {holds} match keys"),
                KeyPurpose::Vault => format!("  {holds} sealed values"),
                KeyPurpose::Token => String::new(),
            };
            let (name, state) = (known.purpose.as_str(), known.state.as_str());
            let mark = if in_force { "  in force" } else { "" };
            say(&format!("{name} {}  {state} since {}{mark}{what}", known.version, since(known)));
        }
        let mut entry = serde_json::to_value(known)?;
        entry["in_force"] = in_force.into();
        entry["holds"] = holds.into();
        shown.push(entry);
    }
    if json {
        say(&serde_json::to_string(&shown)?);
    }
    Ok(())
}

fn since(known: &KeyVersion) -> models::ts::Ts {
    known.retired_at.or(known.ready_at).unwrap_or(known.started_at)
}
