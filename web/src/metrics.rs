//! The web's own metrics. Every label comes from a closed set: routes from the table of endpoints, codes from enums.

use std::sync::OnceLock;
use std::time::Duration;

use actix_web::http::Method;
use models::lookup::{Decision, Purpose};
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::pressure::Class;
use crate::problem::Code;
use crate::routes;
use crate::state::WebOptions;

/// Upper ends of the request histogram, seconds.
const BUCKETS: [f64; 14] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const DECISIONS: [Decision; 3] = [Decision::Allow, Decision::Hold, Decision::Block];

/// Upper ends of the workers' lag histogram, seconds.
const LAG_BUCKETS: [f64; 8] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 1.0];
/// Codes with which the server ends sockets, and how any other is counted.
const CLOSES: [&str; 4] = ["1012", "4001", "4003", "4008"];
const CLOSED_OTHERWISE: &str = "other";

/// Why nobody was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthFailure {
    /// No credential.
    Missing,
    /// Not of the form of a key.
    Malformed,
    /// No such key.
    Unknown,
    /// A wrong secret.
    Secret,
    /// Expired or revoked.
    Dead,
    /// Not from this network.
    Address,
    /// The operator does not trade.
    Operator,
    /// A browser from another origin.
    Origin,
}

impl AuthFailure {
    const ALL: [Self; 8] = [
        Self::Missing,
        Self::Malformed,
        Self::Unknown,
        Self::Secret,
        Self::Dead,
        Self::Address,
        Self::Operator,
        Self::Origin,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Secret => "secret",
            Self::Dead => "dead",
            Self::Address => "address",
            Self::Operator => "operator",
            Self::Origin => "origin",
        }
    }
}

/// Handles to everything the web counts.
pub struct WebMetrics {
    http: HistogramVec,
    /// route × method × class, filled at first use, so that nothing is hashed per request.
    cells: Vec<OnceLock<Histogram>>,
    lookups: Vec<IntCounter>,
    refusals: IntCounterVec,
    auth_failures: IntCounterVec,
    pub(crate) rate_limited_key: IntCounter,
    pub(crate) rate_limited_address: IntCounter,
    pub(crate) rate_limited_operator: IntCounter,
    pub(crate) rate_limited_unauthenticated: IntCounter,
    pub(crate) rate_limited_metrics: IntCounter,
    shed: IntCounterVec,
    /// The level of [`crate::pressure`].
    pub(crate) pressure: Gauge,
    pub(crate) worker_lag: Histogram,
    pub(crate) connections: IntGauge,
    pub(crate) connections_max: IntGauge,
    pub(crate) connections_refused: IntCounter,
    pub(crate) sockets: IntGauge,
    pub(crate) socket_closes: IntCounterVec,
}

impl WebMetrics {
    /// Makes and registers them.
    ///
    /// # Errors
    /// A metric of the same name is registered already.
    pub fn new(registry: &Registry, options: &WebOptions) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let buckets = HistogramOpts::new(
            "mlinzi_http_request_duration_seconds",
            "Time from a request's head to its answer's head.",
        )
        .buckets(BUCKETS.to_vec());
        let http = HistogramVec::new(buckets, &["route", "method", "status_class"])?;
        registry.register(Box::new(http.clone()))?;
        let lookups = counters("mlinzi_lookup_answers_total", "Lookups answered.", &["purpose", "decision"])?;
        let refusals = counters("mlinzi_lookup_refusals_total", "Lookups without an answer.", &["code"])?;
        let auth_failures = counters("mlinzi_http_auth_failures_total", "Callers not let in.", &["reason"])?;
        let limited = counters("mlinzi_http_rate_limited_total", "Requests refused with 429.", &["limit"])?;
        let socket_closes = counters("mlinzi_live_socket_closes_total", "Sockets ended by the server.", &["code"])?;
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let sockets = gauge("mlinzi_live_sockets", "Open sockets.")?;
        let connections = gauge("mlinzi_http_connections", "Open connections.")?;
        let connections_max = gauge("mlinzi_http_connections_max", "Most connections that are taken.")?;
        let connections_refused = IntCounter::new(
            "mlinzi_http_connections_refused_total",
            "Connections closed because their address had its share of them.",
        )?;
        registry.register(Box::new(connections_refused.clone()))?;
        let shed = counters("mlinzi_http_shed_total", "Requests turned away under pressure.", &["class"])?;
        for class in Class::SHED {
            shed.with_label_values(&[class.as_str()]);
        }
        let pressure = Gauge::new(
            "mlinzi_http_pressure",
            "From 1 on analytics are turned away, from 2 batches, from 3 ingest, up to 4 lookups.",
        )?;
        registry.register(Box::new(pressure.clone()))?;
        let lag = HistogramOpts::new("mlinzi_http_worker_lag_seconds", "By how much a worker's timer comes late.");
        let worker_lag = Histogram::with_opts(lag.buckets(LAG_BUCKETS.to_vec()))?;
        registry.register(Box::new(worker_lag.clone()))?;
        let build =
            IntGaugeVec::new(Opts::new("mlinzi_build_info", "1, for which program this is"), &["version", "commit"])?;
        registry.register(Box::new(build.clone()))?;
        build.with_label_values(&[options.version, options.commit]).set(1);
        // every label value exists from the start: a rate over a counter that appears late misses its first step
        for failure in AuthFailure::ALL {
            auth_failures.with_label_values(&[failure.as_str()]);
        }
        for code in [Code::Invalid, Code::TokenNotLive, Code::NotReady, Code::Degraded, Code::PurposeNotAllowed] {
            refusals.with_label_values(&[code.as_str()]);
        }
        for code in CLOSES.into_iter().chain([CLOSED_OTHERWISE]) {
            socket_closes.with_label_values(&[code]);
        }
        let each = Purpose::ALL.iter().flat_map(|p| DECISIONS.iter().map(|d| [p.as_str(), d.as_str()]));
        let cells = (routes::PATHS_MAX + 1) * METHODS.len() * CLASSES.len();
        Ok(Self {
            http,
            cells: (0..cells).map(|_| OnceLock::new()).collect(),
            lookups: each.map(|labels| lookups.with_label_values(&labels)).collect(),
            refusals,
            auth_failures,
            rate_limited_key: limited.with_label_values(&["key"]),
            rate_limited_address: limited.with_label_values(&["failures"]),
            rate_limited_operator: limited.with_label_values(&["operator"]),
            rate_limited_unauthenticated: limited.with_label_values(&["address"]),
            rate_limited_metrics: limited.with_label_values(&["metrics"]),
            shed,
            pressure,
            worker_lag,
            connections,
            connections_max,
            connections_refused,
            sockets,
            socket_closes,
        })
    }

    /// One answered request; `route` is none where no path matched.
    pub(crate) fn observe(&self, route: Option<routes::RouteNo>, method: &Method, status: u16, took: Duration) {
        let known = METHODS.iter().position(|m| *m == method.as_str()).unwrap_or(METHODS.len() - 1);
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        let row = route.map_or(routes::PATHS_MAX, |r| usize::from(r.0));
        let Some(cell) = self.cells.get((row * METHODS.len() + known) * CLASSES.len() + class) else { return };
        let histogram = cell.get_or_init(|| {
            let path = route.map_or("unmatched", |r| r.path());
            self.http.with_label_values(&[path, METHODS[known], CLASSES[class]])
        });
        histogram.observe(took.as_secs_f64());
    }

    /// One answered lookup.
    pub(crate) fn answered(&self, purpose: Purpose, decision: Decision) {
        let row = Purpose::ALL.iter().position(|p| *p == purpose).unwrap_or_default();
        let column = DECISIONS.iter().position(|d| *d == decision).unwrap_or_default();
        self.lookups[row * DECISIONS.len() + column].inc();
    }

    /// One lookup without an answer.
    pub(crate) fn refused(&self, code: Code) {
        self.refusals.with_label_values(&[code.as_str()]).inc();
    }

    /// A request was turned away.
    pub(crate) fn shed(&self, class: Class) {
        self.shed.with_label_values(&[class.as_str()]).inc();
    }

    /// Somebody was not let in.
    pub(crate) fn auth_failed(&self, failure: AuthFailure) {
        self.auth_failures.with_label_values(&[failure.as_str()]).inc();
    }

    /// The server ended a socket.
    pub(crate) fn socket_closed(&self, code: u16) {
        let code = CLOSES.into_iter().find(|known| known.parse() == Ok(code)).unwrap_or(CLOSED_OTHERWISE);
        self.socket_closes.with_label_values(&[code]).inc();
    }
}

/// Text format of everything in a registry.
///
/// # Errors
/// A metric is inconsistent.
pub fn render(registry: &Registry) -> Result<Vec<u8>, prometheus::Error> {
    use prometheus::Encoder;
    let mut text = Vec::with_capacity(64 * 1024);
    prometheus::TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_land_on_their_labels() {
        let registry = Registry::new();
        let options = WebOptions { version: "1.2.3", commit: "abc", ..WebOptions::new("KE") };
        let metrics = WebMetrics::new(&registry, &options).unwrap();
        metrics.socket_closed(4008);
        metrics.socket_closed(1000);
        metrics.answered(Purpose::Marketing, Decision::Block);
        metrics.answered(Purpose::Registration, Decision::Hold);
        metrics.observe(None, &Method::OPTIONS, 404, Duration::from_millis(3));
        metrics.observe(routes::route_no("/health"), &Method::GET, 200, Duration::from_micros(40));
        let text = String::from_utf8(render(&registry).unwrap()).unwrap();
        for line in [
            r#"mlinzi_lookup_answers_total{decision="block",purpose="marketing"} 1"#,
            r#"mlinzi_lookup_answers_total{decision="hold",purpose="registration"} 1"#,
            r#"mlinzi_lookup_answers_total{decision="allow",purpose="login"} 0"#,
            r#"mlinzi_live_socket_closes_total{code="1012"} 0"#,
            r#"mlinzi_live_socket_closes_total{code="4008"} 1"#,
            r#"mlinzi_live_socket_closes_total{code="other"} 1"#,
            r#"mlinzi_build_info{commit="abc",version="1.2.3"} 1"#,
            r#"mlinzi_http_request_duration_seconds_count{method="other",route="unmatched",status_class="4xx"} 1"#,
            r#"mlinzi_http_request_duration_seconds_count{method="GET",route="/health",status_class="2xx"} 1"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(WebMetrics::new(&registry, &options).is_err(), "registered twice");
    }
}
