//! Where a source's records come from, when it fetches them itself: one file and one line per kind.
//!
//! ```text
//! schedule ─ due ─▶ the source's actor ─ fetch(cursor) ─▶ Reader ─▶ bytes + next cursor
//!                        │ mapping, validation, dedupe: as for a push
//!                        └─ one commit: records and cursor ─▶ fetch again while there is more
//! ```
//! A reader holds connections, never positions: the cursor is stored with the records it stands behind, and whoever
//! starts again (a crash, another node) gives it back. So a record is fetched at least once and stored exactly once. A
//! reader never writes to where it reads from, unless its kind says that it must (an acknowledgement, after the commit).

mod address;
pub mod brokers;
pub mod credentials;
mod folder;
mod http_poll;
pub mod kafka;
pub mod nats;
mod polling;

pub use credentials::{Credential, Credentials};
pub use polling::{Polling, PollingView, Turn};

use crate::kernel::Progress;
use bytes::Bytes;
use engine::integrity::totals::Tolerance;
use engine::mapping::Mapping;
use futures_util::future::LocalBoxFuture;
use models::feed::{ReaderFormat, ReaderSettings};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of one fetch at most, decompressed: what a source sends beyond them it has to send in pages.
pub const FETCH_BYTES_MAX: usize = 8 << 20;
/// Bytes of a cursor at most.
pub const CURSOR_BYTES_MAX: usize = 4 << 10;

/// How far a source was read, in its reader's own words. Opaque to everybody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub String);

/// What the bytes of a fetch are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON value a line.
    Ndjson,
    /// A JSON array, or an object that holds it where the mapping says.
    Json,
    /// Rows with a head.
    Csv,
}

/// What a fetch brought.
#[derive(Debug)]
pub struct Fetched {
    /// The records, as the source wrote them; empty where there is nothing new.
    pub body: Bytes,
    /// How they are written.
    pub format: Format,
    /// Where the next fetch goes on; none where nothing moved. At most [`CURSOR_BYTES_MAX`].
    pub cursor: Option<Cursor>,
    /// More is there now: the next fetch is due at once.
    pub more: bool,
}

impl From<ReaderFormat> for Format {
    fn from(format: ReaderFormat) -> Self {
        match format {
            ReaderFormat::Ndjson => Self::Ndjson,
            ReaderFormat::Json => Self::Json,
            ReaderFormat::Csv => Self::Csv,
        }
    }
}

/// A number in [0, 1).
pub type Chance = Arc<dyn Fn() -> f64 + Send + Sync>;

/// What the configuration says about sources that fetch.
#[derive(Clone)]
pub struct FeedsConfig {
    /// Whether addresses of private networks, and of this machine, may be asked.
    pub allow_private_addresses: bool,
    /// Folder below which folders of sources lie; none: there are no such sources.
    pub folder_root: Option<PathBuf>,
    /// Credentials by name.
    pub credentials: Credentials,
    /// Spreads what would come together.
    pub chance: Chance,
    /// How far what is stored may be from what was declared.
    pub declared_tolerance: Tolerance,
    /// How often a source's declarations are held against what is stored at most.
    pub compare_every: Duration,
}

impl Default for FeedsConfig {
    fn default() -> Self {
        Self {
            allow_private_addresses: false,
            folder_root: None,
            credentials: Credentials::default(),
            chance: Arc::new(rand::random::<f64>),
            declared_tolerance: Tolerance::default(),
            compare_every: Duration::from_secs(60),
        }
    }
}

/// The reader of a source: one line per kind. Makes no connection yet.
///
/// # Errors
/// [`FetchError::Settings`], where they do not fit the configuration.
pub fn reader(
    settings: &ReaderSettings,
    mapping: Option<&Mapping>,
    config: &FeedsConfig,
) -> Result<Box<dyn Reader>, FetchError> {
    match settings {
        ReaderSettings::HttpPoll(settings) => http_poll::reader(settings, config),
        ReaderSettings::Folder(settings) => folder::reader(settings, config, mapping.is_none_or(Mapping::quotes)),
        ReaderSettings::Kafka(settings) => kafka::reader(settings.clone(), access(settings.credential.clone(), config)),
        ReaderSettings::Nats(settings) => nats::reader(settings.clone(), access(settings.credential.clone(), config)),
    }
}

/// Who publishes a source's records, where its settings name an output topic. Makes no connection yet.
///
/// # Errors
/// [`FetchError::Settings`], where they do not fit the configuration.
pub fn publisher(settings: &ReaderSettings, config: &FeedsConfig) -> Result<Option<kafka::Publisher>, FetchError> {
    match settings {
        ReaderSettings::Kafka(settings) => {
            kafka::Publisher::new(settings.clone(), access(settings.credential.clone(), config))
        }
        _ => Ok(None),
    }
}

/// Whether a source was left in the middle of its pages, or of a file: then it goes on without waiting for its schedule.
pub fn is_under_way(settings: &ReaderSettings, cursor: &str) -> bool {
    match settings {
        ReaderSettings::HttpPoll(_) => http_poll::is_under_way(cursor),
        ReaderSettings::Folder(_) => folder::is_under_way(cursor),
        // what waits at a broker is as good as any other
        ReaderSettings::Kafka(_) | ReaderSettings::Nats(_) => false,
    }
}

/// The credential of a broker, read anew for each connection, and which brokers the configuration lets be called.
fn access(name: Option<String>, config: &FeedsConfig) -> brokers::AskAccess {
    let (credentials, allow_private_addresses) = (config.credentials.clone(), config.allow_private_addresses);
    Rc::new(move || {
        let shown = match &name {
            Some(name) => brokers::Access::read(&credentials.value(name)?)?,
            None => brokers::Access::default(),
        };
        Ok(brokers::Access { allow_private_addresses, ..shown })
    })
}

/// Why a fetch brought nothing. Never holds what a person could be known by, nor a credential: it is shown and logged.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection, or it broke.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer in {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// It answered that it will not: a status, a broker's error.
    #[error("refused: {0}")]
    Refused(String),
    /// It asks to be left alone for a while.
    #[error("asks to wait for {} s", .0.as_secs())]
    Wait(Duration),
    /// More than [`FETCH_BYTES_MAX`] at once.
    #[error("more than {FETCH_BYTES_MAX} bytes at once")]
    TooLarge,
    /// What came is not what was agreed: cut off, not decompressed, no JSON.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// What the cursor points to is gone there: records may be missing, and somebody must decide how to go on.
    #[error("the position is no longer there: {0}")]
    Lost(String),
    /// The settings of the source do not fit, and no retry helps.
    #[error("settings: {0}")]
    Settings(String),
}

/// Fetches the records of one source. Lives in the source's actor; is made anew after each panic.
pub trait Reader {
    /// What lies behind `cursor` (none: from the beginning, as the settings say), at most [`FETCH_BYTES_MAX`]. Whatever
    /// may take longer than a few seconds tells `progress` that it lives.
    ///
    /// # Errors
    /// [`FetchError`]: then the same is fetched again later.
    fn fetch<'a>(
        &'a mut self,
        cursor: Option<&'a Cursor>,
        progress: &'a Progress,
    ) -> LocalBoxFuture<'a, Result<Fetched, FetchError>>;

    /// Everything up to `cursor` is stored: what has to be acknowledged there is. A failure loses nothing.
    fn stored<'a>(&'a mut self, cursor: &'a Cursor) -> LocalBoxFuture<'a, ()> {
        let _ = cursor;
        Box::pin(std::future::ready(()))
    }
}
