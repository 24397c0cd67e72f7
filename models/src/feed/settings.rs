//! Settings of sources that fetch by themselves. They are journaled: a credential is named here and stands in the engine's
//! configuration.

use super::{DataClass, SourceKind};
pub use crate::feed_brokers::{KafkaSettings, NatsSettings};
use crate::ts::{MINUTE, SECOND};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes of a mapping at most.
pub const MAPPING_BYTES_MAX: usize = 64 << 10;
/// Bytes of any other text of the settings at most.
const TEXT_BYTES_MAX: usize = 2_048;
/// Headers of a request at most.
const LIST_MAX: usize = 64;
/// Seconds between two fetches: a day is the longest, daily beyond.
const EVERY_SECONDS: std::ops::RangeInclusive<u32> = 1..=86_400;
/// Seconds that an answer may take.
const TIMEOUT_SECONDS: std::ops::RangeInclusive<u32> = 1..=50;
/// Pages of one run.
const PAGES: std::ops::RangeInclusive<u32> = 1..=10_000;

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {detail}")]
pub struct SettingsError {
    /// JSON pointer of the field within the source.
    pub pointer: &'static str,
    /// What is wrong, without the value.
    pub detail: &'static str,
}

/// Where a source fetches from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReaderSettings {
    /// Asked for over HTTP.
    HttpPoll(HttpPollSettings),
    /// Files that appear in a folder.
    Folder(FolderSettings),
    /// A topic of a Kafka-compatible broker.
    Kafka(KafkaSettings),
    /// A stream of NATS JetStream.
    Nats(NatsSettings),
}

/// How fetched records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReaderFormat {
    /// One JSON object a line.
    #[default]
    Ndjson,
    /// A JSON array of objects.
    Json,
    /// Rows with a head; needs a mapping.
    Csv,
}

/// How an answer says that there is more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum Paging {
    /// It does not: all is in one.
    #[default]
    None,
    /// By a header `Link` with `rel="next"` (RFC 8288).
    LinkHeader,
    /// By a field of the JSON object: an address, or, where a cursor parameter is named, its value.
    NextField {
        /// JSON pointer of the field, e.g. `/next`.
        pointer: String,
    },
}

/// An address that is asked by schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpPollSettings {
    /// Address, `https` (or `http`), without user and fragment.
    pub url: String,
    /// How records are written.
    #[serde(default)]
    pub format: ReaderFormat,
    /// JSON pointer of the array of records, where the answer is an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<String>,
    /// How further pages are found.
    #[serde(default)]
    pub paging: Paging,
    /// Query parameter that takes the value of the next field: what was read before is not asked for again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor_parameter: Option<String>,
    /// Headers of the request, each with the name of the credential that is its value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Seconds that one page may take, 30 by default.
    #[serde(default = "timeout_default")]
    pub timeout_seconds: u32,
    /// Pages between two of the schedule's times, 1000 by default; what is behind them waits for the next time.
    #[serde(default = "pages_default")]
    pub pages_max: u32,
}

fn timeout_default() -> u32 {
    30
}

fn pages_default() -> u32 {
    1_000
}

/// What becomes of a file that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FolderDone {
    /// It stays; it must not change any more.
    #[default]
    Keep,
    /// It is moved to the folder `done` beside it.
    Move,
}

/// A folder of files, read in the order of their names: a name sorts behind those that were there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderSettings {
    /// Path below the root of the configuration.
    pub path: String,
    /// Names that count: `*` stands for any text, `?` for one character.
    #[serde(default = "pattern_default")]
    pub pattern: String,
    /// How records are written.
    #[serde(default)]
    pub format: ReaderFormat,
    /// What becomes of a file that was read.
    #[serde(default)]
    pub done: FolderDone,
    /// A file is complete once a file of its name and `.done` lies beside it. Otherwise: once it has not changed between
    /// two looks.
    #[serde(default)]
    pub done_files: bool,
}

fn pattern_default() -> String {
    "*".to_owned()
}

/// When a source fetches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Schedule {
    /// At equal distances.
    Every {
        /// Seconds between two fetches.
        every_seconds: u32,
        /// Up to so many seconds later, by chance.
        #[serde(default)]
        jitter_seconds: u32,
    },
    /// Once a day.
    Daily {
        /// Time of day, `HH:MM`.
        daily_at: String,
        /// IANA name of the zone it is meant in.
        time_zone: String,
        /// Up to so many seconds later, by chance.
        #[serde(default)]
        jitter_seconds: u32,
    },
}

impl Schedule {
    /// What fits a class of data where nothing is said: gaming companies 10 minutes, the licence authority daily, tax
    /// authorities and banks an hour; files and streams as soon as there is something.
    pub fn of(kind: SourceKind, class: DataClass, time_zone: &str) -> Self {
        let every = |every_seconds, jitter_seconds| Self::Every { every_seconds, jitter_seconds };
        match (kind, class) {
            (SourceKind::Folder, _) => every(60, 0),
            (SourceKind::Kafka | SourceKind::Nats, _) => every(1, 0),
            (_, DataClass::Licences) => {
                Self::Daily { daily_at: "03:00".to_owned(), time_zone: time_zone.to_owned(), jitter_seconds: 1_800 }
            }
            (_, DataClass::Invoices | DataClass::Payments | DataClass::BankStatements) => every(3_600, 300),
            (_, DataClass::GamingTransactions | DataClass::SalesRedemptions | DataClass::PlayerAccounts) => {
                every(600, 30)
            }
        }
    }

    /// How long it is between two times of the schedule, microseconds: a day where it is daily.
    pub fn period(&self) -> i64 {
        match self {
            Self::Every { every_seconds, .. } => i64::from(*every_seconds) * SECOND,
            Self::Daily { .. } => 24 * 60 * MINUTE,
        }
    }

    /// How much later than the schedule's time a fetch may be, microseconds.
    pub fn jitter(&self) -> i64 {
        let (Self::Every { jitter_seconds, .. } | Self::Daily { jitter_seconds, .. }) = self;
        i64::from(*jitter_seconds) * SECOND
    }

    /// Time between two fetches at most, seconds: what is fetched once a day is not late after an hour.
    pub fn expected_interval_seconds(&self) -> u32 {
        u32::try_from((self.period() + self.jitter()) / SECOND).unwrap_or(u32::MAX).max(1)
    }

    /// What is wrong with it.
    pub fn check(&self) -> Vec<SettingsError> {
        let mut wrong = Vec::new();
        let mut must = |fine: bool, detail| {
            if !fine {
                wrong.push(SettingsError { pointer: "/schedule", detail });
            }
        };
        match self {
            Self::Every { every_seconds, .. } => {
                must(EVERY_SECONDS.contains(every_seconds), "every_seconds: not from 1 to 86400");
            }
            Self::Daily { daily_at, time_zone, .. } => {
                must(jiff::civil::Time::strptime("%H:%M", daily_at).is_ok(), "daily_at: not HH:MM");
                must(jiff::tz::TimeZone::get(time_zone).is_ok(), "time_zone: not a known time zone");
            }
        }
        must(self.jitter() < self.period(), "jitter_seconds: not below the time between two fetches");
        wrong
    }
}

fn is_text(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control)
}

fn is_pointer(text: &str) -> bool {
    text.starts_with('/') && is_text(text)
}

/// A name of a credential: as it stands in the configuration.
fn is_credential(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
}

/// A header that a credential may stand in: none of those by which messages are framed.
fn is_header(name: &str) -> bool {
    let framing = ["host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade"];
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !framing.contains(&name)
}

impl ReaderSettings {
    /// The kind of its source.
    pub fn kind(&self) -> SourceKind {
        match self {
            Self::HttpPoll(_) => SourceKind::HttpPoll,
            Self::Folder(_) => SourceKind::Folder,
            Self::Kafka(_) => SourceKind::Kafka,
            Self::Nats(_) => SourceKind::Nats,
        }
    }

    /// How its records are written; messages of a broker are one JSON object each.
    pub fn format(&self) -> ReaderFormat {
        match self {
            Self::HttpPoll(settings) => settings.format,
            Self::Folder(settings) => settings.format,
            Self::Kafka(_) | Self::Nats(_) => ReaderFormat::Ndjson,
        }
    }

    /// Names of the credentials it needs.
    pub fn credentials(&self) -> Vec<&str> {
        match self {
            Self::HttpPoll(settings) => settings.headers.values().map(String::as_str).collect(),
            Self::Folder(_) => Vec::new(),
            Self::Kafka(settings) => settings.credential.iter().map(String::as_str).collect(),
            Self::Nats(settings) => settings.credential.iter().map(String::as_str).collect(),
        }
    }

    /// What is wrong with it, every field at once.
    pub fn check(&self) -> Vec<SettingsError> {
        let mut wrong = Vec::new();
        let mut must = |fine: bool, pointer, detail| {
            if !fine {
                wrong.push(SettingsError { pointer, detail });
            }
        };
        match self {
            Self::HttpPoll(s) => {
                let rest = s.url.strip_prefix("https://").or_else(|| s.url.strip_prefix("http://"));
                let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
                let is_plain = !host.is_empty() && !host.contains('@') && !s.url.contains('#');
                must(
                    is_plain && is_text(&s.url) && !s.url.contains(char::is_whitespace),
                    "/reader/url",
                    "not an http or https address without user and fragment",
                );
                must(s.items.as_deref().is_none_or(is_pointer), "/reader/items", "not a JSON pointer, e.g. /items");
                let is_json = s.format == ReaderFormat::Json;
                must(s.items.is_none() || is_json, "/reader/items", "only of the format json");
                if let Paging::NextField { pointer } = &s.paging {
                    must(is_pointer(pointer), "/reader/paging/pointer", "not a JSON pointer, e.g. /next");
                    must(
                        is_json && s.items.is_some(),
                        "/reader/paging",
                        "a next field needs the format json and items",
                    );
                }
                let by_field = matches!(s.paging, Paging::NextField { .. });
                must(
                    s.cursor_parameter.is_none() || by_field,
                    "/reader/cursor_parameter",
                    "needs paging by a next field",
                );
                must(
                    s.cursor_parameter.as_deref().is_none_or(|name| is_text(name) && name.len() <= 64),
                    "/reader/cursor_parameter",
                    "not a name of 1 to 64 bytes",
                );
                must(s.headers.len() <= LIST_MAX, "/reader/headers", "more than 64");
                must(
                    s.headers.keys().all(|name| is_header(name)),
                    "/reader/headers",
                    "a name is not of a–z, 0–9 and -, or frames the message",
                );
                must(
                    s.headers.values().all(|name| is_credential(name)),
                    "/reader/headers",
                    "a credential's name is not 1 to 64 of a–z, 0–9, - and _",
                );
                must(TIMEOUT_SECONDS.contains(&s.timeout_seconds), "/reader/timeout_seconds", "not from 1 to 50");
                must(PAGES.contains(&s.pages_max), "/reader/pages_max", "not from 1 to 10000");
            }
            Self::Folder(s) => {
                let parts: Vec<&str> = s.path.split('/').collect();
                let inside = parts.iter().all(|part| !part.is_empty() && *part != "." && *part != "..");
                must(
                    is_text(&s.path) && inside,
                    "/reader/path",
                    "not a path below the root: no leading /, no . and no ..",
                );
                let one_name = is_text(&s.pattern) && !s.pattern.contains('/');
                must(one_name, "/reader/pattern", "not a pattern of names");
            }
            Self::Kafka(s) => {
                s.check().unwrap_or_else(|e| must(false, e.pointer, e.detail));
            }
            Self::Nats(s) => {
                s.check().unwrap_or_else(|e| must(false, e.pointer, e.detail));
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(settings: serde_json::Value) -> Vec<&'static str> {
        let settings: ReaderSettings = serde_json::from_value(settings).unwrap();
        settings.check().into_iter().map(|wrong| wrong.pointer).collect()
    }

    #[test]
    fn settings_are_held_against_their_limits() {
        let http = |fields: serde_json::Value| {
            let mut all = serde_json::json!({"kind": "http_poll", "url": "https://api.example/bets"});
            all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            pointers(all)
        };
        let none: [&str; 0] = [];
        assert_eq!(http(serde_json::json!({})), none);
        let paged = serde_json::json!({"format": "json", "items": "/data", "paging": {"by": "next_field", "pointer": "/next"}, "cursor_parameter": "after", "headers": {"authorization": "acme"}});
        assert_eq!(http(paged), none);
        let table = [
            (serde_json::json!({"url": "ftp://a/b"}), "/reader/url"),
            (serde_json::json!({"url": "https://user:secret@a/b"}), "/reader/url"),
            (serde_json::json!({"url": "https:///b"}), "/reader/url"),
            (serde_json::json!({"url": "https://a/b#c"}), "/reader/url"),
            (serde_json::json!({"items": "/data"}), "/reader/items"),
            (serde_json::json!({"format": "json", "items": "data"}), "/reader/items"),
            (serde_json::json!({"paging": {"by": "next_field", "pointer": "/next"}}), "/reader/paging"),
            (serde_json::json!({"cursor_parameter": "after"}), "/reader/cursor_parameter"),
            (serde_json::json!({"headers": {"Host": "acme"}}), "/reader/headers"),
            (serde_json::json!({"headers": {"authorization": "Bearer 123"}}), "/reader/headers"),
            (serde_json::json!({"timeout_seconds": 0}), "/reader/timeout_seconds"),
            (serde_json::json!({"pages_max": 0}), "/reader/pages_max"),
        ];
        for (fields, pointer) in table {
            assert_eq!(http(fields.clone()), [pointer], "{fields}");
        }
        let folder = |path: &str| pointers(serde_json::json!({"kind": "folder", "path": path}));
        assert_eq!(folder("acme/in"), none);
        for outside in ["/etc", "../etc", "acme/../..", "acme//in", ".", ""] {
            assert_eq!(folder(outside), ["/reader/path"], "{outside}");
        }
        let kafka = serde_json::json!({"kind": "kafka", "brokers": [], "topic": ""});
        assert_eq!(pointers(kafka), ["/reader/brokers"]);
        let output = |topic: &str| {
            pointers(
                serde_json::json!({"kind": "kafka", "brokers": ["a:9092"], "topic": "bets", "output_topic": topic}),
            )
        };
        assert_eq!(output("done"), none);
        assert_eq!(output("bets"), ["/reader/output_topic"]);
        let nats = serde_json::json!({"kind": "nats", "servers": ["nats://a:4222"], "stream": "bets", "subject": "bets.>", "credential": "A"});
        assert_eq!(pointers(nats), ["/reader/credential"]);
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        let text = r#"{"kind":"http_poll","url":"https://a/b","timeout":3}"#;
        assert!(serde_json::from_str::<ReaderSettings>(text).is_err());
    }

    #[test]
    fn every_class_has_a_schedule() {
        let every = |seconds, jitter| Schedule::Every { every_seconds: seconds, jitter_seconds: jitter };
        // gaming companies every 5 to 15 minutes, tax authorities and banks every 1 to 4 hours
        let table = [
            (SourceKind::HttpPoll, DataClass::GamingTransactions, every(600, 30)),
            (SourceKind::HttpPoll, DataClass::SalesRedemptions, every(600, 30)),
            (SourceKind::HttpPoll, DataClass::PlayerAccounts, every(600, 30)),
            (SourceKind::HttpPoll, DataClass::BankStatements, every(3_600, 300)),
            (SourceKind::HttpPoll, DataClass::Payments, every(3_600, 300)),
            (SourceKind::HttpPoll, DataClass::Invoices, every(3_600, 300)),
            (SourceKind::Folder, DataClass::Licences, every(60, 0)),
            (SourceKind::Nats, DataClass::Licences, every(1, 0)),
        ];
        for (kind, class, schedule) in table {
            assert_eq!(Schedule::of(kind, class, "Africa/Nairobi"), schedule, "{}", class.as_str());
        }
        let daily = Schedule::of(SourceKind::HttpPoll, DataClass::Licences, "Africa/Nairobi");
        assert_eq!((daily.period(), daily.check()), (crate::ts::DAY, vec![]));
    }

    #[test]
    fn schedules_are_held_against_their_limits() {
        let details = |text: &str| -> Vec<&str> {
            let schedule: Schedule = serde_json::from_str(text).unwrap();
            schedule.check().into_iter().map(|wrong| wrong.detail.split(':').next().unwrap()).collect()
        };
        let none: [&str; 0] = [];
        assert_eq!(details(r#"{"every_seconds":600,"jitter_seconds":599}"#), none);
        assert_eq!(details(r#"{"every_seconds":600,"jitter_seconds":600}"#), ["jitter_seconds"]);
        assert_eq!(details(r#"{"every_seconds":86401}"#), ["every_seconds"]);
        assert_eq!(details(r#"{"daily_at":"24:10","time_zone":"Africa/Nairoby"}"#), ["daily_at", "time_zone"]);
        assert_eq!(details(r#"{"daily_at":"03:30","time_zone":"Africa/Nairobi","jitter_seconds":600}"#), none);
    }
}
