//! The sandbox's engine: a store of its own, keys derived from the live ones, and people who are always the same.

use crate::config::Config;
use actors::api::{NewExclusion, PersonData};
use actors::engine::{Engine, EngineConfig};
use actors::identity::Identifiers;
use actors::notifiers::NotifySetup;
use actors::secrets::{KeyError, KeyMaterial, KeyProvider};
use engine::register::index::LookupKey;
use models::document::{Document, IssuingCountry};
use models::exclusion::{Channel, Period, ReasonClass, Status};
use models::jurisdiction::JurisdictionNo;
use models::phone::Phone;
use models::ts::{DAY, SECOND, Ts};
use std::sync::Arc;
use std::time::Duration;
use store::{OpenOptions, Store, SystemClock};
use web::sandbox::{PEOPLE, Part, Person};
use web::{AppState, WebOptions};

/// What match keys of the sandbox are made with: never those of live people.
const FAMILY: &str = "sandbox";
/// How long before its end a break of the sandbox's begins to count: then it is over.
const NEARLY_OVER: i64 = 3 * SECOND;
/// Pause before people are made once more.
const RETRY: Duration = Duration::from_secs(1);

/// Keys of the sandbox: derived from one that is never rotated.
struct Derived(Arc<dyn KeyProvider>);

impl KeyProvider for Derived {
    fn load(&self) -> Result<KeyMaterial, KeyError> {
        self.0.load()?.sandbox()
    }

    fn save(&self, _: &KeyMaterial) -> Result<(), KeyError> {
        Err(KeyError::Unwritable("keys of the sandbox are derived".to_owned()))
    }
}

/// The sandbox as configured; none where it is off.
pub async fn start(
    config: &Config,
    live: &EngineConfig,
    keys: Arc<dyn KeyProvider>,
    options: &WebOptions,
) -> anyhow::Result<Option<AppState>> {
    if config.sandbox.store.is_empty() {
        return Ok(None);
    }
    let store = open(config).await?;
    let engine_config = EngineConfig {
        family: FAMILY.to_owned(),
        arbiters: 1,
        key_prefix: "mk_test_",
        // test sources reach neither the live ones' credentials nor their folders
        feeds: actors::feeds::FeedsConfig::default(),
        // nobody is woken by what test people do
        notify: NotifySetup::default(),
        ..live.clone()
    };
    // its figures are nobody's alarm: they stay with it
    let registry = prometheus::Registry::new();
    let engine = Engine::start(engine_config, store, Arc::new(Derived(keys)), Arc::new(SystemClock), &registry).await?;
    let options = WebOptions { family: FAMILY.to_owned(), sandbox: true, ..options.clone() };
    let state = AppState::new(engine.clone(), options, registry)?;
    actix_rt::spawn(async move {
        while let Err(error) = seed(&engine).await {
            tracing::warn!(%error, "the sandbox's people are made later");
            tokio::time::sleep(RETRY).await;
        }
    });
    Ok(Some(state))
}

/// The sandbox's store.
pub async fn open(config: &Config) -> anyhow::Result<Store> {
    let options = OpenOptions { readers: 1, ..OpenOptions::default() };
    Ok(Store::open(&config.sandbox.store, &options).await?)
}

async fn seed(engine: &Engine) -> anyhow::Result<()> {
    let jurisdictions = engine.directory().jurisdictions.clone();
    for (no, jurisdiction) in jurisdictions.iter().enumerate() {
        let no = JurisdictionNo(u8::try_from(no)?);
        for person in PEOPLE {
            let period = match person.part {
                Part::Excluded(period) => period,
                Part::Previously => Period::Hours24,
                Part::Review => Period::Permanent,
                Part::Unknown | Part::Refused(_) => continue,
            };
            make(engine, person, period, no, jurisdiction.country).await?;
        }
    }
    Ok(())
}

/// Registers a person, unless there is one already.
async fn make(
    engine: &Engine,
    person: &Person,
    period: Period,
    jurisdiction: JurisdictionNo,
    country: models::phone::Country,
) -> anyhow::Result<()> {
    let (kind, number) = person.document(country);
    let phone = Phone::parse(&person.phone(country), country)?;
    let document = Document::parse(kind, IssuingCountry::from(country), &number)?;
    let known_by = Identifiers { document: Some(document), phone: Some(phone) };
    let now = engine.now();
    let asked: Vec<LookupKey> = {
        let ring = engine.keys();
        let digest = ring.digest.current();
        let key = |(kind, key)| LookupKey { kind, digest_version: digest.version(), key };
        known_by.keys(digest, FAMILY).map(key).collect()
    };
    let known = engine.index().decide(&asked, jurisdiction, u32::try_from(now.seconds())?)?;
    if known.status != Status::NotExcluded {
        return Ok(());
    }
    let over: Option<Ts> = (person.part == Part::Previously).then(|| now.plus(NEARLY_OVER - DAY));
    let mut data = PersonData::default();
    known_by.reveal(&mut data);
    data.names.push("Test Person".to_owned());
    let new = NewExclusion {
        known_by,
        jurisdiction,
        period,
        reason_class: ReasonClass::Own,
        channel: Channel::Import,
        effective_at: over,
        person: data,
        reported_by: None,
    };
    engine.register(new, None).await?;
    Ok(())
}
