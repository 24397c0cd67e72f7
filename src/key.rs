//! `mlinzi key init|create|list|revoke`: works on the database itself, beside a running engine or without one.

use crate::config::Config;
use crate::{keys, say, serve};
use actors::api::NewKey;
use models::ids::KeyId;
use models::jurisdiction::{Jurisdiction, JurisdictionNo};
use models::lookup::Purpose;
use models::operator::Scope;
use models::ts::{DAY, Ts};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use store::{Clock, SystemClock};

/// What to do with keys.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Makes the keys that live outside the database, with the configured provider.
    Init,
    /// Makes an API key; its secrets are shown once.
    Create(Create),
    /// Lists API keys.
    List,
    /// Kills an API key; a running engine obeys within a second.
    Revoke {
        /// `key_…`
        id: String,
    },
}

/// A new key.
#[derive(clap::Args)]
pub struct Create {
    /// Name for people.
    #[arg(long)]
    label: String,
    /// What it may do; repeat for several.
    #[arg(long = "scope", required = true)]
    scopes: Vec<String>,
    /// Code of the operator it belongs to; without one it is for staff and tools.
    #[arg(long)]
    operator: Option<String>,
    /// Code of the jurisdiction; the first configured one by default.
    #[arg(long)]
    jurisdiction: Option<String>,
    /// Purposes it may look up for; all by default.
    #[arg(long = "purpose")]
    purposes: Vec<String>,
    /// Network it may call from (CIDR); any by default.
    #[arg(long = "allow-from")]
    allow_from: Vec<String>,
    /// Requests a second.
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// Days until it expires; never by default.
    #[arg(long)]
    days: Option<u32>,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// Runs a key command.
pub async fn run(config: Config, command: Command) -> anyhow::Result<ExitCode> {
    if matches!(command, Command::Init) {
        keys::init(&config.keys)?;
        say(&format!("keys written to {}; whoever loses them loses the register", config.keys.file.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let material = keys::provider(&config.keys).load()?;
    // a mistyped address must not become an empty database of which there is nothing to list
    let store = match command {
        Command::List | Command::Revoke { .. } => serve::open_known_store(&config).await?,
        Command::Init | Command::Create(_) => serve::open_store(&config).await?,
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let now = clock.now();
    let actors::engine::Tools { staff, directory, .. } =
        actors::engine::tools(config.jurisdictions.clone(), &store, &material, clock).await?;
    match command {
        Command::Init => {}
        Command::Create(create) => {
            let json = create.json;
            let new = create.parse(&config, &directory.load(), now)?;
            let issued = staff.create_key(new, None, now).await?;
            if json {
                say(&serde_json::json!({"id": issued.key.id, "bearer": issued.bearer, "signing_secret": issued.signing_secret}).to_string());
            } else {
                say(&format!(
                    "id              {}\nbearer          {}\nsigning secret  {}\nneither secret is shown again",
                    issued.key.id, issued.bearer, issued.signing_secret
                ));
            }
        }
        Command::List => {
            let directory = directory.load();
            let mut entries: Vec<_> = directory.keys.values().collect();
            entries.sort_by_key(|e| e.key.id);
            for entry in entries {
                let key = &entry.key;
                let operator = key.operator_no.and_then(|no| directory.operators.get(&no)).map_or("staff", |o| &o.code);
                let scopes: Vec<&str> = key.scopes.iter().map(|s| s.as_str()).collect();
                let state = if key.is_live(now) { "live" } else { "dead" };
                say(&format!("{}  {state}  {operator}  {}  {}", key.id, scopes.join(","), key.label));
            }
        }
        Command::Revoke { id } => {
            let id: KeyId = id.parse()?;
            staff.revoke_key(id, now).await?;
            say(&format!("{id} is revoked"));
        }
    }
    store.stop_writer(Duration::from_secs(10)).await;
    Ok(ExitCode::SUCCESS)
}

impl Create {
    fn parse(self, config: &Config, directory: &actors::directory::Directory, now: Ts) -> anyhow::Result<NewKey> {
        let scope = |text: &String| {
            Scope::parse(text).ok_or_else(|| {
                let known: Vec<&str> = Scope::ALL.iter().map(|s| s.as_str()).collect();
                anyhow::anyhow!("no scope {text}; there are {}", known.join(", "))
            })
        };
        let purpose = |text: &String| {
            Purpose::ALL.into_iter().find(|p| p.as_str() == text).ok_or_else(|| anyhow::anyhow!("no purpose {text}"))
        };
        let network = |text: &String| {
            let parsed = web::cidr::Cidr::parse(text).map(|_| text.clone());
            parsed.ok_or_else(|| anyhow::anyhow!("{text} is no network of the form 10.0.0.0/8 or 2001:db8::/32"))
        };
        let operator = self.operator.as_ref().map(|code| {
            directory.operator_by_code.get(code).copied().ok_or_else(|| anyhow::anyhow!("no operator {code}"))
        });
        let operator = operator.transpose()?;
        let jurisdiction = match (&self.jurisdiction, operator) {
            (Some(code), _) => Jurisdiction::by_code(&config.jurisdictions, code)
                .ok_or_else(|| anyhow::anyhow!("no jurisdiction {code}"))?,
            (None, Some(no)) => directory.operators.get(&no).map_or(JurisdictionNo(0), |o| o.jurisdiction),
            (None, None) => JurisdictionNo(0),
        };
        Ok(NewKey {
            operator,
            jurisdiction,
            label: self.label,
            scopes: self.scopes.iter().map(scope).collect::<Result<_, _>>()?,
            purposes: self.purposes.iter().map(purpose).collect::<Result<_, _>>()?,
            allow_from: self.allow_from.iter().map(network).collect::<Result<_, _>>()?,
            rate_per_second: self.rate,
            expires_at: self.days.map(|days| now.plus(i64::from(days) * DAY)),
        })
    }
}
