//! Sources that are read from a broker: where it is and what is read there. Credentials never stand here.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Addresses of one source at most.
pub const ADDRESSES_MAX: usize = 16;
/// Bytes of an address at most: 253 of a host name, a scheme and a port.
const ADDRESS_BYTES_MAX: usize = 270;
/// Bytes of a topic's name at most (Kafka's own limit).
const TOPIC_BYTES_MAX: usize = 249;
/// Bytes of a stream's name or a subject at most (the server's own limit of a name).
const NAME_BYTES_MAX: usize = 255;

/// What is wrong with the settings of such a source. It never holds the value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{pointer}: {detail}")]
pub struct BrokerSettingsError {
    /// JSON pointer of the field within the source.
    pub pointer: &'static str,
    /// What is wrong.
    pub detail: &'static str,
}

const ADDRESSES: &str = "not 1 to 16 addresses";
const ADDRESS: &str = "not host:port with a port of 1 to 65535";
const CREDENTIALS: &str = "a user or password does not stand in an address, where everybody reads it";
const TOPIC: &str = "not 1 to 249 letters, digits, '.', '_' or '-', or '.' or '..' alone";
const LOOP: &str = "the topic that is read: what is written would be read again";
const STREAM: &str = "not 1 to 255 visible characters without '.', '*', '>', '/' and '\\'";
const SUBJECT: &str =
    "not 1 to 255 visible characters: tokens parted by '.', '*' for one of them, '>' for the last ones";
const CREDENTIAL: &str = "not 1 to 64 of a–z, 0–9, - and _";

/// How a user and a password are shown to a Kafka broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaslMechanism {
    /// As they are: only over TLS, or on this machine.
    Plain,
    /// A proof over SHA-256 (RFC 5802).
    #[serde(rename = "scram_sha_256")]
    ScramSha256,
    /// A proof over SHA-512.
    #[default]
    #[serde(rename = "scram_sha_512")]
    ScramSha512,
}

/// A topic of a Kafka cluster, all of its partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// Brokers to begin with, `host:port`; the cluster names the others.
    pub brokers: Vec<String>,
    /// The topic that is read.
    pub topic: String,
    /// Where processed records are published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_topic: Option<String>,
    /// TLS to every broker.
    #[serde(default)]
    pub tls: bool,
    /// How a user and a password are shown, where there are any.
    #[serde(default)]
    pub sasl: SaslMechanism,
    /// Name of the credential, if any; the credential itself stands in the engine's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl KafkaSettings {
    /// # Errors
    /// The first thing that cannot be.
    pub fn check(&self) -> Result<(), BrokerSettingsError> {
        addresses("/reader/brokers", &self.brokers, &[])?;
        must(topic(&self.topic), "/reader/topic", TOPIC)?;
        let output = self.output_topic.as_deref();
        must(output.is_none_or(topic), "/reader/output_topic", TOPIC)?;
        must(output != Some(&self.topic), "/reader/output_topic", LOOP)?;
        must(self.credential.as_deref().is_none_or(credential), "/reader/credential", CREDENTIAL)
    }
}

/// A subject of a NATS JetStream stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsSettings {
    /// Servers, `host:port`, `nats://host:port` or `tls://host:port`. Those that a server names are not called.
    pub servers: Vec<String>,
    /// The stream.
    pub stream: String,
    /// Which of its subjects are read; `>` for all.
    pub subject: String,
    /// TLS to every server.
    #[serde(default)]
    pub tls: bool,
    /// Name of the credential, if any; the credential itself stands in the engine's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl NatsSettings {
    /// # Errors
    /// The first thing that cannot be.
    pub fn check(&self) -> Result<(), BrokerSettingsError> {
        addresses("/reader/servers", &self.servers, &["nats://", "tls://"])?;
        let legal = |c: char| c.is_ascii_graphic() && !matches!(c, '.' | '*' | '>' | '/' | '\\');
        let name = (1..=NAME_BYTES_MAX).contains(&self.stream.len()) && self.stream.chars().all(legal);
        must(name, "/reader/stream", STREAM)?;
        must(self.subject.len() <= NAME_BYTES_MAX && subject(&self.subject), "/reader/subject", SUBJECT)?;
        must(self.credential.as_deref().is_none_or(credential), "/reader/credential", CREDENTIAL)
    }
}

fn must(fine: bool, pointer: &'static str, detail: &'static str) -> Result<(), BrokerSettingsError> {
    if fine { Ok(()) } else { Err(BrokerSettingsError { pointer, detail }) }
}

fn credential(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(legal)
}

fn subject(text: &str) -> bool {
    let tokens = text.split('.').count();
    let token = |(index, token): (usize, &str)| match token {
        "" => false,
        "*" => true,
        ">" => index + 1 == tokens,
        _ => token.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '*' | '>')),
    };
    text.split('.').enumerate().all(token)
}

fn topic(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=TOPIC_BYTES_MAX).contains(&name.len()) && name.chars().all(legal) && name != "." && name != ".."
}

fn addresses(pointer: &'static str, all: &[String], schemes: &[&str]) -> Result<(), BrokerSettingsError> {
    must((1..=ADDRESSES_MAX).contains(&all.len()), pointer, ADDRESSES)?;
    for address in all {
        let bare = schemes.iter().find_map(|scheme| address.strip_prefix(scheme)).unwrap_or(address);
        must(!bare.contains('@'), pointer, CREDENTIALS)?;
        must(address.len() <= ADDRESS_BYTES_MAX && !bare.contains("://") && host(bare).is_some(), pointer, ADDRESS)?;
    }
    Ok(())
}

/// The host of `host:port`, with or without a scheme, an IPv6 address without its brackets; none where it is no address.
pub fn host(address: &str) -> Option<&str> {
    let bare = address.split_once("://").map_or(address, |(_, bare)| bare);
    let (host, port) = bare.rsplit_once(':')?;
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if !digits || !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return None;
    }
    if let Some(v6) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return v6.parse::<std::net::Ipv6Addr>().ok().map(|_| v6);
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!host.is_empty() && host.chars().all(legal)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kafka(brokers: &[&str], topic: &str, output: Option<&str>) -> KafkaSettings {
        KafkaSettings {
            brokers: brokers.iter().map(|b| (*b).to_owned()).collect(),
            topic: topic.to_owned(),
            output_topic: output.map(ToOwned::to_owned),
            tls: false,
            sasl: SaslMechanism::default(),
            credential: None,
        }
    }

    #[test]
    fn kafka_settings_are_held_against_their_limits() {
        let long = "t".repeat(250);
        let brokers = |detail| Err(("/reader/brokers", detail));
        let topic = Err(("/reader/topic", TOPIC));
        type Case<'a> = (&'a [&'a str], &'a str, Option<&'a str>, Result<(), (&'a str, &'a str)>);
        let cases: &[Case<'_>] = &[
            (&["a.example:9092", "[::1]:9092", "10.0.0.1:1"], "plays.v1_x-y", Some("checked"), Ok(())),
            (&["a:1"; 16], "plays", None, Ok(())),
            (&[], "plays", None, brokers(ADDRESSES)),
            (&["a:1"; 17], "plays", None, brokers(ADDRESSES)),
            (&["a:1", "b"], "plays", None, brokers(ADDRESS)),
            (&["a:0"], "plays", None, brokers(ADDRESS)),
            (&["a:+1"], "plays", None, brokers(ADDRESS)),
            (&["a:70000"], "plays", None, brokers(ADDRESS)),
            (&[":9092"], "plays", None, brokers(ADDRESS)),
            (&["kafka://a:9092"], "plays", None, brokers(ADDRESS)),
            (&["a b:9092"], "plays", None, brokers(ADDRESS)),
            (&["[::g]:9092"], "plays", None, brokers(ADDRESS)),
            (&["user:secret@a:9092"], "plays", None, brokers(CREDENTIALS)),
            (&["a:1"], "", None, topic),
            (&["a:1"], "..", None, topic),
            (&["a:1"], "two words", None, topic),
            (&["a:1"], &long, None, topic),
            (&["a:1"], "plays", Some("/"), Err(("/reader/output_topic", TOPIC))),
            (&["a:1"], "plays", Some("plays"), Err(("/reader/output_topic", LOOP))),
        ];
        for (brokers, topic, output, expected) in cases {
            let said = kafka(brokers, topic, *output).check().map_err(|e| (e.pointer, e.detail));
            assert_eq!(said, *expected, "{brokers:?} {topic}");
        }
        let named = |name: &str| KafkaSettings { credential: Some(name.to_owned()), ..kafka(&["a:1"], "plays", None) };
        assert_eq!(named("acme-1").check(), Ok(()));
        assert_eq!(named("secret!").check().map_err(|e| e.pointer), Err("/reader/credential"));
    }

    #[test]
    fn nats_settings_are_held_against_their_limits() {
        let cases = [
            ("nats://a.example:4222", "PLAYS", "plays.>", Ok(())),
            ("tls://[::1]:4222", "PLAYS", "*.nairobi.*", Ok(())),
            ("a:4222", "PLAYS", ">", Ok(())),
            ("http://a:4222", "PLAYS", ">", Err(("/reader/servers", ADDRESS))),
            ("nats://a", "PLAYS", ">", Err(("/reader/servers", ADDRESS))),
            ("nats://token@a:4222", "PLAYS", ">", Err(("/reader/servers", CREDENTIALS))),
            ("a:4222", "", ">", Err(("/reader/stream", STREAM))),
            ("a:4222", "PLAYS.KE", ">", Err(("/reader/stream", STREAM))),
            ("a:4222", "PLAYS KE", ">", Err(("/reader/stream", STREAM))),
            ("a:4222", "PLAYS", "", Err(("/reader/subject", SUBJECT))),
            ("a:4222", "PLAYS", "plays.>.x", Err(("/reader/subject", SUBJECT))),
            ("a:4222", "PLAYS", "plays..x", Err(("/reader/subject", SUBJECT))),
            ("a:4222", "PLAYS", "pl*ys", Err(("/reader/subject", SUBJECT))),
            ("a:4222", "PLAYS", "pl ys", Err(("/reader/subject", SUBJECT))),
        ];
        for (server, stream, subject, expected) in cases {
            let settings = NatsSettings {
                servers: vec![server.to_owned()],
                stream: stream.to_owned(),
                subject: subject.to_owned(),
                tls: false,
                credential: None,
            };
            assert_eq!(settings.check().map_err(|e| (e.pointer, e.detail)), expected, "{server} {stream} {subject}");
        }
    }

    #[test]
    fn settings_are_read_and_unknown_fields_refused() {
        let kafka: KafkaSettings = serde_json::from_str(r#"{"brokers":["a:1"],"topic":"plays"}"#).expect("settings");
        assert_eq!((kafka.output_topic, kafka.tls, kafka.sasl), (None, false, SaslMechanism::ScramSha512));
        for mechanism in ["plain", "scram_sha_256", "scram_sha_512"] {
            let text = format!(r#"{{"brokers":["a:1"],"topic":"plays","sasl":"{mechanism}"}}"#);
            let read: KafkaSettings = serde_json::from_str(&text).expect("settings");
            assert_eq!(serde_json::to_value(read.sasl).expect("text"), mechanism);
        }
        assert!(serde_json::from_str::<KafkaSettings>(r#"{"brokers":["a:1"],"topic":"p","group":"g"}"#).is_err());
        let text = r#"{"servers":["a:1"],"stream":"S","subject":">","token":"x"}"#;
        assert!(serde_json::from_str::<NatsSettings>(text).is_err());
    }
}
