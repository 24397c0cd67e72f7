//! Channels on which people are told of alerts outside the screens: one file and one line per kind.
//!
//! ```text
//! notice ─ engine::routing ─▶ rows of the log, in the commit that gives the reason ─▶ one sender a channel ─▶ marked
//! ```
//! What a channel sends carries the notice's id where its kind has a place for it, because whoever ends between sending
//! and marking sends that one again.

mod address;
mod email;
mod http;
mod in_app;
mod metrics;
mod pace;
mod pagerduty;
mod secret;
mod sender;
mod service;
mod slack;
mod sms;
mod webhook;

pub use metrics::NoticeMetrics;
pub use sender::{ChannelStatus, Sender, SenderParts};
pub use service::{ChannelView, NotificationFilter, Notifiers};

use ::engine::routing::Router;
use futures_util::future::BoxFuture;
use models::jurisdiction::{Jurisdiction, JurisdictionNo};
use models::notice::Notice;
use models::ts::Ts;
use serde::Deserialize;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Channels at most: each is a task and a label of metrics.
pub const CHANNELS_MAX: usize = 32;
/// Characters of a channel's name at most.
const NAME_CHARS_MAX: usize = 40;
/// How long whoever is spoken to has to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Notices a minute at most, unless configured otherwise.
const PER_MINUTE: u32 = 30;
/// The most that can be configured.
const PER_MINUTE_MAX: u32 = 6_000;

/// Why a notice was not taken. The text goes to the log and to staff: never a secret, a person nor an address with either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It may be taken later: the other side, the network or the configuration is at fault.
    #[error("{why}")]
    Retry {
        /// What happened.
        why: String,
        /// How long the other side wants to be left alone.
        after: Option<Duration>,
    },
    /// It will never be taken: the message is at fault.
    #[error("{why}")]
    Refused {
        /// What happened.
        why: String,
    },
    /// Some of those whom it goes to have it, and others do not.
    #[error("{why}")]
    Partly {
        /// What happened.
        why: String,
        /// Whether the others may still get it: it is sent to nobody else then.
        again: bool,
    },
}

impl SendError {
    fn retry(why: impl Into<String>) -> Self {
        Self::Retry { why: why.into(), after: None }
    }
}

/// A way to tell people.
pub trait Channel: Send + Sync {
    /// Sends a notice; `now` is the engine's clock. Answers once the other side has taken it.
    fn send<'a>(&'a self, notice: &'a Notice, now: Ts) -> BoxFuture<'a, Result<(), SendError>>;
}

/// What every channel is told besides its own settings.
#[derive(Clone, Debug)]
struct Context {
    /// May it speak to addresses that are not public?
    allow_private: bool,
    /// Codes of the jurisdictions, by number.
    jurisdictions: Arc<[String]>,
}

impl Context {
    fn jurisdiction(&self, no: JurisdictionNo) -> &str {
        self.jurisdictions.get(usize::from(no.0)).map_or("", String::as_str)
    }
}

/// Makes the closed set of kinds.
macro_rules! kinds {
    ($($name:literal => $variant:ident, $module:ident;)+) => {
        /// A kind of channel with its settings.
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        #[serde(tag = "kind")]
        pub enum KindConfig {
            $(#[serde(rename = $name)] #[allow(missing_docs)] $variant($module::Config),)+
        }

        impl KindConfig {
            /// Its name.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name),+ }
            }

            /// What is wrong with the settings themselves; no file is read.
            fn check(&self, context: &Context) -> Vec<String> {
                match self { $(Self::$variant(config) => config.check(context)),+ }
            }

            /// Reads the secrets.
            fn open(&self, context: &Context) -> Result<Arc<dyn Channel>, String> {
                match self { $(Self::$variant(config) => Ok(Arc::new(config.open(context)?))),+ }
            }
        }
    };
}

kinds! {
    "in_app" => InApp, in_app;
    "email" => Email, email;
    "sms" => Sms, sms;
    "slack" => Slack, slack;
    "pagerduty" => Pagerduty, pagerduty;
    "webhook" => Webhook, webhook;
}

/// A channel as it is configured. It holds no secret, only where secrets are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ChannelConfig {
    /// What routes and people call it.
    pub name: String,
    /// Notices a minute at most; more wait.
    #[serde(default = "per_minute")]
    pub per_minute: u32,
    /// May it speak to addresses that are not public, and to those without TLS?
    #[serde(default)]
    pub allow_private: bool,
    /// Its kind.
    #[serde(flatten)]
    pub kind: KindConfig,
}

fn per_minute() -> u32 {
    PER_MINUTE
}

/// A channel that can be sent on.
#[derive(Clone)]
pub struct OpenChannel {
    /// Its name.
    pub name: String,
    /// Its kind's name.
    pub kind: &'static str,
    /// Notices a minute at most.
    pub per_minute: u32,
    /// The channel.
    pub channel: Arc<dyn Channel>,
}

/// Who is told of what: channels and routes. The default tells nobody.
#[derive(Clone, Default)]
pub struct NotifySetup {
    /// Channels.
    pub channels: Vec<OpenChannel>,
    /// Routes, checked against them.
    pub router: Arc<Router>,
}

fn contexts<'a>(
    configs: &'a [ChannelConfig],
    jurisdictions: &[Jurisdiction],
) -> impl Iterator<Item = (String, &'a ChannelConfig, Context)> {
    let codes: Arc<[String]> = jurisdictions.iter().map(|j| j.code.clone()).collect();
    configs.iter().enumerate().map(move |(i, config)| {
        let context = Context { allow_private: config.allow_private, jurisdictions: Arc::clone(&codes) };
        let place = if is_name(&config.name) { config.name.clone() } else { i.to_string() };
        (format!("notify.channels[{place}]"), config, context)
    })
}

fn is_name(name: &str) -> bool {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(known)
}

/// Everything that is wrong with channels, each with its place. No file is read.
#[must_use]
pub fn check(configs: &[ChannelConfig], jurisdictions: &[Jurisdiction]) -> Vec<String> {
    let mut wrong = Vec::new();
    if configs.len() > CHANNELS_MAX {
        wrong.push(format!("notify.channels: more than {CHANNELS_MAX}"));
    }
    let mut names = HashSet::new();
    for (place, config, context) in contexts(configs, jurisdictions) {
        if !is_name(&config.name) {
            wrong.push(format!("{place}.name: not 1 to {NAME_CHARS_MAX} of a to z, 0 to 9, _ and -"));
        }
        if !names.insert(&config.name) {
            wrong.push(format!("{place}.name: stands twice"));
        }
        if !(1..=PER_MINUTE_MAX).contains(&config.per_minute) {
            wrong.push(format!("{place}.per_minute: not from 1 to {PER_MINUTE_MAX}"));
        }
        wrong.extend(config.kind.check(&context).into_iter().map(|what| format!("{place}.{what}")));
    }
    wrong
}

/// Opens channels: reads their secrets. Gives everything that is wrong at once.
pub fn open(configs: &[ChannelConfig], jurisdictions: &[Jurisdiction]) -> Result<Vec<OpenChannel>, Vec<String>> {
    let mut wrong = check(configs, jurisdictions);
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let mut opened = Vec::new();
    for (place, config, context) in contexts(configs, jurisdictions) {
        match config.kind.open(&context) {
            Ok(channel) => opened.push(OpenChannel {
                name: config.name.clone(),
                kind: config.kind.name(),
                per_minute: config.per_minute,
                channel,
            }),
            Err(what) => wrong.push(format!("{place}.{what}")),
        }
    }
    if wrong.is_empty() { Ok(opened) } else { Err(wrong) }
}
