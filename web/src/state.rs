//! What every handler may reach: the engine's facade, limits, metrics, sessions.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{FromRequest, HttpRequest};
use actors::engine::Engine;
use actors::live::Rights;
use models::ts::Ts;
use std::future::{Ready, ready};
use tokio::sync::watch;

use crate::connections::{ADDRESS_CONNECTIONS, Connections};
use crate::links::Links;
use crate::live::Watchers;
use crate::lookup::batch::Batches;
use crate::metrics::WebMetrics;
use crate::pressure::Pressure;
use crate::problem::{Code, Problem};
use crate::proxies::Proxies;
use crate::rate::{Gate, Rates};
use crate::trace::Traces;

/// What the configuration says about the web.
#[derive(Clone, Debug)]
pub struct WebOptions {
    /// Jurisdiction family of the deployment: part of every digest.
    pub family: String,
    /// Origins besides the server's own whose pages may open a socket with a cookie, e.g. `https://watch.example`.
    pub origins: Vec<String>,
    /// Cookies are sent over TLS only.
    pub secure_cookies: bool,
    /// `POST /bench/bare`, against which the bench measures; never in `serve`.
    pub bench_routes: bool,
    /// Largest bodies.
    pub limits: BodyLimits,
    /// Requests a second of whoever has no rate of its own.
    pub rates: Rates,
    /// Open connections of one address (or /64 of IPv6); further ones are closed.
    pub address_connections: u32,
    /// Proxies that say who calls.
    pub proxies: Proxies,
    /// Is this the sandbox? Its keys begin with `mk_test_`.
    pub sandbox: bool,
    /// Where requests leave their traces, if anywhere.
    pub traces: Option<Traces>,
    /// Version of the program, for `/version` and OpenAPI.
    pub version: &'static str,
    /// Commit it was built from.
    pub commit: &'static str,
}

impl WebOptions {
    /// For a plain server with this jurisdiction family.
    pub fn new(family: impl Into<String>) -> Self {
        Self {
            family: family.into(),
            origins: Vec::new(),
            secure_cookies: false,
            bench_routes: false,
            limits: BodyLimits::default(),
            rates: Rates::default(),
            address_connections: ADDRESS_CONNECTIONS,
            proxies: Proxies::default(),
            sandbox: false,
            traces: None,
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("MLINZI_COMMIT").unwrap_or("unknown"),
        }
    }
}

/// Largest request bodies, bytes.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// A lookup.
    pub lookup_bytes: usize,
    /// Registrations, operators, keys, sources.
    pub register_bytes: usize,
    /// A push of records.
    pub push_bytes: usize,
    /// A batch of lookups.
    pub batch_bytes: usize,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { lookup_bytes: 16 << 10, register_bytes: 64 << 10, push_bytes: 8 << 20, batch_bytes: 4 << 20 }
    }
}

impl BodyLimits {
    pub(crate) fn of(self, size: crate::routes::Size) -> usize {
        match size {
            crate::routes::Size::Lookup => self.lookup_bytes,
            crate::routes::Size::Register => self.register_bytes,
            crate::routes::Size::Push => self.push_bytes,
            crate::routes::Size::Batch => self.batch_bytes,
        }
    }
}

/// The shared part of [`AppState`].
pub struct Shared {
    /// The engine.
    pub engine: Engine,
    /// Options.
    pub options: WebOptions,
    /// Rates.
    pub gate: Gate,
    /// Open connections by address.
    pub(crate) connections: Connections,
    /// How hard pressed the node is.
    pub pressure: Pressure,
    /// Links and cookies.
    pub links: Links,
    /// Metrics of the web.
    pub metrics: WebMetrics,
    /// Everything `/metrics` shows.
    pub registry: prometheus::Registry,
    /// Digests callers' request ids for the logs; made for this process.
    pub(crate) log_key: ring::hmac::Key,
    pub(crate) stopping: watch::Sender<bool>,
    /// Who watches.
    pub(crate) watchers: Watchers,
    /// Threads for batches of lookups.
    pub(crate) batches: Batches,
    sandbox: OnceLock<AppState>,
}

/// A handle to [`Shared`]; cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

impl AppState {
    /// Registers the web's metrics in `registry`, which `/metrics` then shows with everything else in it.
    ///
    /// # Errors
    /// A metric of the same name is registered already.
    pub fn new(engine: Engine, options: WebOptions, registry: prometheus::Registry) -> Result<Self, prometheus::Error> {
        let metrics = WebMetrics::new(&registry, &options)?;
        let secret: [u8; 32] = rand::random();
        let threads = std::thread::available_parallelism().map_or(1, |cores| usize::from(cores) / 2);
        Ok(Self(Arc::new_cyclic(|state: &Weak<Shared>| Shared {
            batches: Batches::start(
                {
                    let state = Weak::clone(state);
                    move || state.upgrade().map(Self)
                },
                threads,
            ),
            engine,
            gate: Gate::new(options.rates),
            connections: Connections::default(),
            pressure: Pressure::default(),
            options,
            links: Links::default(),
            metrics,
            registry,
            log_key: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret),
            stopping: watch::Sender::new(false),
            watchers: Watchers::default(),
            sandbox: OnceLock::new(),
        })))
    }

    /// A token for `/?t=…`: signs a browser in once, within `ttl_seconds`.
    pub fn one_time_link(&self, rights: Rights, ttl_seconds: u32) -> String {
        let until = self.engine.now().plus(i64::from(ttl_seconds) * models::ts::SECOND);
        self.links.make(rights, None, until)
    }

    /// Leads keys of the form `mk_test_…` to a sandbox; once.
    pub fn open_sandbox(&self, sandbox: Self) {
        // a second one would be a mistake of the assembly: the first stays
        let _ = self.sandbox.set(sandbox);
    }

    /// The sandbox, where there is one.
    #[must_use]
    pub fn sandbox(&self) -> Option<&Self> {
        self.sandbox.get()
    }

    /// What the key of a request leads to: the sandbox, or this.
    pub(crate) fn of(&self, headers: &HeaderMap) -> &Self {
        match self.sandbox.get() {
            Some(sandbox) if is_test_key(headers) => sandbox,
            _ => self,
        }
    }

    /// How this register's keys begin.
    pub(crate) fn key_prefix(&self) -> &'static str {
        if self.options.sandbox { "mk_test_" } else { "mk_live_" }
    }

    /// Asks every open socket to end with 1012 (come again).
    pub fn stop_sockets(&self) {
        self.stopping.send_replace(true);
        self.watchers.stop();
        if let Some(sandbox) = self.sandbox() {
            sandbox.stop_sockets();
        }
    }

    /// The next worker's own state.
    pub(crate) fn worker(&self) -> Worker {
        Worker(Arc::new(WorkerShared { requests: AtomicU64::new(0) }))
    }
}

/// Does a request come with a key of the sandbox?
pub(crate) fn is_test_key(headers: &HeaderMap) -> bool {
    let sent = headers.get(header::AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
    sent.get(7..).is_some_and(|key| key.starts_with(b"mk_test_"))
}

impl Deref for AppState {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What belongs to one HTTP worker: counters nobody contends for.
#[derive(Clone)]
pub struct Worker(Arc<WorkerShared>);

struct WorkerShared {
    requests: AtomicU64,
}

impl Worker {
    /// Number of this request on its worker.
    pub(crate) fn request(&self) -> u64 {
        self.0.requests.fetch_add(1, Ordering::Relaxed)
    }
}

macro_rules! from_app_data {
    ($($name:ident),+) => { $(
        impl FromRequest for $name {
            type Error = Problem;
            type Future = Ready<Result<Self, Problem>>;
            fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
                let found = req.app_data::<Self>().cloned();
                ready(found.ok_or_else(|| Problem::new(Code::Internal, "the server is not assembled")))
            }
        }
    )+ };
}
from_app_data!(Worker);

impl FromRequest for AppState {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    /// The register that the request's key leads to.
    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let found = req.app_data::<Self>().map(|state| state.of(req.headers()).clone());
        ready(found.ok_or_else(|| Problem::new(Code::Internal, "the server is not assembled")))
    }
}

/// A UUIDv7 (RFC 9562, section 5.7): the time in milliseconds, then chance.
pub(crate) fn uuid_v7(now: Ts) -> u128 {
    let millis = (now.0 / 1_000).max(0) as u128 & 0xffff_ffff_ffff;
    let chance: u128 = rand::random();
    let low = chance & ((1 << 62) - 1) | 1 << 63;
    millis << 80 | 7 << 76 | (chance >> 64 & 0xfff) << 64 | low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_carries_time_version_and_variant() {
        let now = Ts::parse("2026-11-21T10:00:00.123Z").unwrap();
        let id = uuid_v7(now);
        assert_eq!(id >> 80, 1_795_255_200_123);
        assert_eq!(id >> 76 & 15, 7);
        assert_eq!(id >> 62 & 3, 2);
        assert_ne!(id, uuid_v7(now));
    }
}
