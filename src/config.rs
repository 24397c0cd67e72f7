//! Configuration: defaults < file < environment < flags. Every mistake is reported at once.

use actors::notifiers::{self, ChannelConfig};
use engine::routing::{RouteSpec, Router};
use models::jurisdiction::{JURISDICTIONS_MAX, Jurisdiction};
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use tracing_subscriber::EnvFilter;
use web::proxies::{self, Proxies};

/// The documented defaults, compiled in.
pub const DEFAULTS: &str = include_str!("../config/default.toml");

/// Everything that can be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Config {
    pub server: Server,
    pub store: StoreConfig,
    pub keys: Keys,
    pub node: Node,
    pub engine: EngineSection,
    pub limits: Limits,
    pub feeds: Feeds,
    pub sandbox: Sandbox,
    pub notify: Notify,
    pub log: Log,
    pub traces: Traces,
    pub jurisdictions: Vec<Jurisdiction>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Server {
    pub host: IpAddr,
    pub port: u16,
    pub workers: usize,
    pub connections_max: usize,
    pub client_timeout_seconds: u64,
    pub shutdown_seconds: u64,
    pub bench_routes: bool,
    pub secure_cookies: bool,
    pub tls_certificate: String,
    pub tls_key: String,
    pub allowed_origins: Vec<String>,
    pub trusted_proxies: Vec<String>,
    pub proxy_header: ProxyHeader,
}

/// How proxies name who has called them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum ProxyHeader {
    XForwardedFor,
    Forwarded,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct StoreConfig {
    pub url: String,
    pub allow_unsafe_durability: bool,
    pub write_timeout_seconds: u64,
    pub readers: u32,
}

impl std::fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // the address may hold a password
        let scheme = self.url.split(':').next().unwrap_or_default();
        f.debug_struct("StoreConfig").field("scheme", &scheme).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Keys {
    pub provider: Provider,
    pub file: PathBuf,
    pub pkcs11_module: PathBuf,
    pub pkcs11_token: String,
    pub pkcs11_key: String,
    pub pkcs11_pin_file: PathBuf,
}

/// Where the keys that live outside the database are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Provider {
    File,
    Pkcs11,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Node {
    pub id: u16,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct EngineSection {
    pub family: String,
    pub arbiters: usize,
    pub live_tick_ms: u64,
    pub checkpoint_seconds: u64,
    pub evidence_person_months: u16,
    pub strangers_per_hour: u32,
    /// The same in batches in a day of UTC.
    pub batch_strangers_per_day: u32,
    pub snapshot_seconds: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Limits {
    pub lookup_body_bytes: usize,
    pub register_body_bytes: usize,
    pub push_body_bytes: usize,
    pub batch_body_bytes: usize,
    pub address_requests_per_second: NonZeroU32,
    pub operator_requests_per_second: NonZeroU32,
    pub address_connections: u32,
    pub source_queue: usize,
    pub operator_queue: usize,
    pub register_queue: usize,
    pub live_sessions: usize,
    pub live_sessions_per_key: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Feeds {
    pub allow_private_addresses: bool,
    pub folder_root: PathBuf,
    /// Share of a declared sum, between 0 and 1.
    pub declared_tolerance: f64,
    pub declared_count_tolerance: u32,
    pub credentials: BTreeMap<String, FeedCredential>,
}

/// Where a credential of sources is kept: one of both.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct FeedCredential {
    pub file: PathBuf,
    pub environment: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Sandbox {
    pub store: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Notify {
    pub default: Vec<String>,
    pub channels: Vec<ChannelConfig>,
    pub routes: Vec<RouteSpec>,
}

impl Notify {
    /// The routes, held against the channels and jurisdictions that there are.
    pub fn router(&self, jurisdictions: &[Jurisdiction]) -> Result<Router, Vec<String>> {
        let names: Vec<&str> = self.channels.iter().map(|channel| channel.name.as_str()).collect();
        Router::new(&self.routes, &self.default, &names, jurisdictions)
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Traces {
    pub otlp_endpoint: String,
    pub sample_percent: f64,
    pub slow_ms: u64,
    pub timeout_seconds: u64,
    pub queue_requests: usize,
    pub batch_requests: usize,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum LogFormat {
    Json,
    Text,
}

impl Server {
    /// Certificate and key, where TLS is wanted.
    pub fn tls_files(&self) -> Option<web::tls::TlsFiles> {
        let files = || web::tls::TlsFiles {
            certificate: PathBuf::from(&self.tls_certificate),
            key: PathBuf::from(&self.tls_key),
        };
        (!self.tls_certificate.is_empty()).then(files)
    }

    /// The proxies that say who calls; an error names what is wrong with them.
    pub fn proxies(&self) -> Result<Proxies, String> {
        let header = match self.proxy_header {
            ProxyHeader::XForwardedFor => proxies::ProxyHeader::XForwardedFor,
            ProxyHeader::Forwarded => proxies::ProxyHeader::Forwarded,
        };
        Proxies::new(&self.trusted_proxies, header)
    }
}

/// Every mistake found, one a line.
#[derive(Debug, thiserror::Error)]
#[error("configuration:\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

/// Reads all sources; `overrides` are flags as (path, value).
pub fn load(file: Option<&Path>, overrides: &[(&str, String)]) -> Result<Config, ConfigError> {
    use config::{Environment, File, FileFormat};
    let one = |e: &dyn std::fmt::Display| ConfigError(vec![e.to_string()]);
    let mut builder = config::Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
    if let Some(path) = file {
        builder = builder.add_source(File::from(path).format(FileFormat::Toml));
    }
    builder =
        builder.add_source(Environment::with_prefix("MLINZI").prefix_separator("__").separator("__").try_parsing(true));
    for (path, value) in overrides {
        builder = builder.set_override(*path, value.clone()).map_err(|e| one(&e))?;
    }
    let read = builder.build().map_err(|e| one(&e))?;
    let (config, mut mistakes) = typed(&read)?;
    mistakes.extend(check(&config));
    if mistakes.is_empty() { Ok(config) } else { Err(ConfigError(mistakes)) }
}

/// The options as types, and those that are none: the reader itself stops at its first mistake, so each option is tried
/// alone among the defaults.
fn typed(read: &config::Config) -> Result<(Config, Vec<String>), ConfigError> {
    let defaults = || config::Config::builder().add_source(config::File::from_str(DEFAULTS, config::FileFormat::Toml));
    let mut options = Vec::new();
    flatten("", &read.cache, &mut options);
    let (mut mistakes, mut sound) = (Vec::new(), defaults());
    for (path, value) in options {
        let alone = defaults().set_override(&path, value.clone()).and_then(|b| b.build());
        match alone.and_then(config::Config::try_deserialize::<Config>) {
            Ok(_) => sound = sound.set_override(&path, value).map_err(|e| ConfigError(vec![e.to_string()]))?,
            // the reader's words quote the value, which may be an address with a password
            Err(_) if path.starts_with("store") || path.starts_with("traces") => {
                mistakes.push(format!("{path}: unknown, or of a wrong type"));
            }
            Err(wrong) => mistakes.push(format!("{path}: {wrong}")),
        }
    }
    match sound.build().and_then(config::Config::try_deserialize) {
        Ok(config) => Ok((config, mistakes)),
        Err(wrong) => Err(ConfigError([mistakes, vec![wrong.to_string()]].concat())),
    }
}

/// Options by path; a list is one.
fn flatten(path: &str, value: &config::Value, options: &mut Vec<(String, config::Value)>) {
    let config::ValueKind::Table(table) = &value.kind else {
        options.push((path.to_owned(), value.clone()));
        return;
    };
    for (name, value) in table {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        flatten(&path, value, options);
    }
}

/// Messages a queue may hold.
const QUEUES: std::ops::RangeInclusive<usize> = 1..=1_000_000;

/// What is wrong beyond types and names.
fn check(c: &Config) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut must = |fine: bool, text: &str| {
        if !fine {
            wrong.push(text.to_owned());
        }
    };
    let (sqlite, postgres) = (c.store.url.starts_with("sqlite:"), c.store.url.starts_with("postgres"));
    must(sqlite || postgres, "store.url: begins with neither sqlite: nor postgres:");
    must(
        c.sandbox.store.is_empty() || c.sandbox.store.starts_with("sqlite:"),
        "sandbox.store: neither empty nor of the form sqlite:PATH",
    );
    must(c.sandbox.store.is_empty() || c.sandbox.store != c.store.url, "sandbox.store: is the live store");
    must((1..=60).contains(&c.store.write_timeout_seconds), "store.write_timeout_seconds: not from 1 to 60");
    must(
        c.server.tls_certificate.is_empty() == c.server.tls_key.is_empty(),
        "server.tls_key: a certificate and its key go together",
    );
    let proxies = c.server.proxies().err();
    must(proxies.is_none(), &format!("server.trusted_proxies: {}", proxies.unwrap_or_default()));
    let keys = &c.keys;
    let named = !keys.pkcs11_module.as_os_str().is_empty() && !keys.pkcs11_key.is_empty();
    must(
        keys.provider == Provider::File || (named && !keys.pkcs11_token.is_empty()),
        "keys.pkcs11_module: a provider pkcs11 needs the module, the token and the key",
    );
    // as the standard has it
    must(keys.pkcs11_token.len() <= 32, "keys.pkcs11_token: a label has at most 32 bytes");
    must((1..=64).contains(&c.store.readers), "store.readers: not from 1 to 64");
    must(c.server.workers <= 256, "server.workers: above 256");
    must((1..=1_000_000).contains(&c.server.connections_max), "server.connections_max: not from 1 to 1000000");
    must((1..=300).contains(&c.server.client_timeout_seconds), "server.client_timeout_seconds: not from 1 to 300");
    must(
        c.log.level.parse::<EnvFilter>().is_ok(),
        "log.level: not a level, nor a filter of the form mlinzi=debug,info",
    );
    must(
        c.traces.otlp_endpoint.is_empty() || crate::traces::endpoint(&c.traces.otlp_endpoint).is_some(),
        "traces.otlp_endpoint: not an http or https address without user, query and fragment",
    );
    must((0.0..=100.0).contains(&c.traces.sample_percent), "traces.sample_percent: not from 0 to 100");
    must((1..=60_000).contains(&c.traces.slow_ms), "traces.slow_ms: not from 1 to 60000");
    must((1..=10).contains(&c.traces.timeout_seconds), "traces.timeout_seconds: not from 1 to 10");
    must((2..=1_000_000).contains(&c.traces.queue_requests), "traces.queue_requests: not from 2 to 1000000");
    must(
        (1..=c.traces.queue_requests.min(4_096)).contains(&c.traces.batch_requests),
        "traces.batch_requests: not from 1 to 4096, or more than traces.queue_requests",
    );
    must((1..=300).contains(&c.server.shutdown_seconds), "server.shutdown_seconds: not from 1 to 300");
    must(c.node.id > 0, "node.id: is 0");
    must((1..=64).contains(&c.engine.arbiters), "engine.arbiters: not from 1 to 64");
    must((10..=250).contains(&c.engine.live_tick_ms), "engine.live_tick_ms: not from 10 to 250");
    must((1..=255).contains(&c.engine.family.len()), "engine.family: not from 1 to 255 bytes");
    must((1..=3600).contains(&c.engine.checkpoint_seconds), "engine.checkpoint_seconds: not from 1 to 3600");
    must((1..=86_400).contains(&c.engine.snapshot_seconds), "engine.snapshot_seconds: not from 1 to 86400");
    must((1..=600).contains(&c.engine.evidence_person_months), "engine.evidence_person_months: not from 1 to 600");
    must((256..=1 << 20).contains(&c.limits.lookup_body_bytes), "limits.lookup_body_bytes: not from 256 to 1048576");
    must(
        (1024..=1 << 20).contains(&c.limits.register_body_bytes),
        "limits.register_body_bytes: not from 1024 to 1048576",
    );
    must((1024..=1 << 26).contains(&c.limits.batch_body_bytes), "limits.batch_body_bytes: not from 1024 to 67108864");
    must((1024..=1 << 26).contains(&c.limits.push_body_bytes), "limits.push_body_bytes: not from 1024 to 67108864");
    let connections = 1..=1_000_000;
    must(connections.contains(&c.limits.address_connections), "limits.address_connections: not from 1 to 1000000");
    must(QUEUES.contains(&c.limits.source_queue), "limits.source_queue: not from 1 to 1000000");
    must(QUEUES.contains(&c.limits.operator_queue), "limits.operator_queue: not from 1 to 1000000");
    must(QUEUES.contains(&c.limits.register_queue), "limits.register_queue: not from 1 to 1000000");
    let root = &c.feeds.folder_root;
    must(root.as_os_str().is_empty() || root.is_absolute(), "feeds.folder_root: neither empty nor an absolute path");
    let share = 0.0..=1.0;
    must(share.contains(&c.feeds.declared_tolerance), "feeds.declared_tolerance: not between 0 and 1");
    for (name, credential) in &c.feeds.credentials {
        let is_one = credential.file.as_os_str().is_empty() != credential.environment.is_empty();
        must(is_one, &format!("feeds.credentials.{name}: neither a file nor a variable of the environment, or both"));
        let named = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
        must(named && name.len() <= 64, &format!("feeds.credentials.{name}: a name is 1 to 64 of a–z, 0–9, - and _"));
    }
    must((1..=100_000).contains(&c.limits.live_sessions), "limits.live_sessions: not from 1 to 100000");
    must(
        (1..=c.limits.live_sessions).contains(&c.limits.live_sessions_per_key),
        "limits.live_sessions_per_key: not from 1 to limits.live_sessions",
    );
    must(!c.jurisdictions.is_empty(), "jurisdictions: none");
    must(c.jurisdictions.len() <= JURISDICTIONS_MAX, "jurisdictions: more than 16");
    let mut codes = HashSet::new();
    for j in &c.jurisdictions {
        must(codes.insert(&j.code), &format!("jurisdictions: {} stands twice", j.code));
        let known = store_zone(&j.time_zone);
        must(known, &format!("jurisdictions: {}: unknown time_zone", j.code));
    }
    wrong.extend(notifiers::check(&c.notify.channels, &c.jurisdictions));
    wrong.extend(c.notify.router(&c.jurisdictions).err().unwrap_or_default());
    wrong
}

fn store_zone(name: &str) -> bool {
    jiff::tz::TimeZone::get(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_defaults_are_valid() {
        let config = load(None, &[]).unwrap();
        assert_eq!(config.jurisdictions[0].code, "KE");
        assert!(config.store.url.starts_with("sqlite:"));
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let overrides = [
            ("store.url", "mysql://x".to_owned()),
            ("node.id", "0".to_owned()),
            ("engine.live_tick_ms", "900".to_owned()),
        ];
        let error = load(None, &overrides).unwrap_err();
        assert_eq!(error.0.len(), 3, "{error}");
        let overrides = [
            ("server.port", "abc".to_owned()),
            ("node.foo", "1".to_owned()),
            ("node.id", "0".to_owned()),
            ("log.level", "foo[bar".to_owned()),
            ("limits.register_queue", "99999999999".to_owned()),
        ];
        let error = load(None, &overrides).unwrap_err();
        assert_eq!(error.0.len(), 5, "{error}");
        let overrides = [
            ("traces.otlp_endpoint", "http://user:hunter2@collector:4318".to_owned()),
            ("traces.sample_percent", "NaN".to_owned()),
            ("traces.slow_ms", "0".to_owned()),
            ("traces.timeout_seconds", "60".to_owned()),
            ("traces.queue_requests", "100".to_owned()),
            ("traces.batch_requests", "101".to_owned()),
        ];
        let error = load(None, &overrides).unwrap_err();
        assert_eq!(error.0.len(), 5, "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn an_address_with_a_password_is_not_printed() {
        let overrides = [("store.url", "postgres://mlinzi:hunter2@localhost/x".to_owned())];
        assert!(!format!("{:?}", load(None, &overrides).unwrap()).contains("hunter2"));
    }

    #[test]
    fn an_address_in_the_wrong_place_is_not_printed_either() {
        for path in ["store", "store.readers", "store.adress"] {
            let error = load(None, &[(path, "postgres://mlinzi:hunter2@localhost/x".to_owned())]).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn who_is_trusted_is_said_rightly_or_not_at_all() {
        let dir = testkit::temp_dir();
        let file = dir.path().join("mlinzi.toml");
        let read = |server: &str| {
            std::fs::write(&file, format!("[server]\n{server}\n")).unwrap();
            load(Some(&file), &[]).map(|config| config.server.proxies().unwrap())
        };
        let proxies = read("trusted_proxies = [\"10.0.0.0/8\"]\nproxy_header = \"forwarded\"").unwrap();
        assert!(proxies.trust("10.1.2.3".parse().unwrap()) && !proxies.trust("11.1.2.3".parse().unwrap()));
        assert!(!read("").unwrap().trust("127.0.0.1".parse().unwrap()), "nobody by default");
        for wrong in ["trusted_proxies = [\"0.0.0.0/0\"]", "trusted_proxies = [\"proxy\"]", "proxy_header = \"via\""] {
            let error = read(wrong).unwrap_err();
            assert!(error.0.len() == 1 && error.to_string().contains("server."), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_credential_of_sources_is_in_a_file_or_in_the_environment() {
        let file = ("feeds.credentials.acme.file", "/run/secrets/acme".to_owned());
        let variable = ("feeds.credentials.acme.environment", "ACME".to_owned());
        assert_eq!(load(None, std::slice::from_ref(&file)).unwrap().feeds.credentials.len(), 1);
        assert!(load(None, std::slice::from_ref(&variable)).is_ok());
        assert_eq!(load(None, &[file, variable]).unwrap_err().0.len(), 1);
        assert!(load(None, &[("feeds.credentials.acme.value", "hunter2".to_owned())]).is_err());
        assert!(load(None, &[("feeds.folder_root", "feeds".to_owned())]).is_err());
    }

    #[test]
    fn unknown_options_are_mistakes() {
        assert!(load(None, &[("server.prot", "1".to_owned())]).is_err());
    }
}
