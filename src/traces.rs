//! Traces on their way out: OTLP over HTTP, from a thread of their own.
//!
//! Whoever answers requests only puts a finished span into a bounded queue (`web::trace`). A collector that is slow or
//! away costs spans, which are counted, and one line in the log; it never costs a request. Nothing is sent twice unless
//! the collector itself asked for it or was never reached.

use crate::config;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span, status};
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use prost::Message;
use reqwest::{StatusCode, Url};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;
use web::trace::{TraceOptions, Traces};

/// How long a batch gathers before it is sent.
const GATHER: Duration = Duration::from_millis(500);
/// Pauses before a batch is offered again to a collector that was not reached or asked for it.
const RETRIES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// `trace_flags` of W3C, and the bits of OTLP that say whether the parent is known to be remote.
const SAMPLED: u32 = 1;
const REMOTE_KNOWN: u32 = 0x100;
const REMOTE: u32 = 0x200;

/// Spans by what became of them.
struct Outcomes {
    exported: IntCounter,
    dropped: IntCounter,
    failed: IntCounter,
}

impl Outcomes {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = Opts::new("mlinzi_trace_spans_total", "Spans of requests that left a trace, by what became of them");
        let spans = IntCounterVec::new(opts, &["outcome"])?;
        registry.register(Box::new(spans.clone()))?;
        let of = |outcome| spans.with_label_values(&[outcome]);
        Ok(Self { exported: of("exported"), dropped: of("dropped"), failed: of("failed") })
    }
}

/// The thread that exports.
pub struct Exporter {
    stop: oneshot::Sender<()>,
    limit: Duration,
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<()>,
}

/// Where requests leave their traces and the thread that carries them on; none where no collector is configured. The
/// metric is there in any case.
///
/// # Errors
/// The metric is registered already, or the system gives no thread.
pub fn start(config: &config::Traces, node: u16, registry: &Registry) -> anyhow::Result<Option<(Traces, Exporter)>> {
    let outcomes = Outcomes::register(registry)?;
    let Some(endpoint) = endpoint(&config.otlp_endpoint) else { return Ok(None) };
    let options = TraceOptions {
        sample_percent: config.sample_percent,
        slow: Duration::from_millis(config.slow_ms),
        queue: config.queue_requests,
    };
    let (traces, queue) = Traces::new(options, outcomes.dropped.clone());
    let limit = Duration::from_secs(config.timeout_seconds);
    // a redirect would carry the spans to somebody whom nobody configured
    let client = reqwest::Client::builder().timeout(limit).redirect(reqwest::redirect::Policy::none()).build()?;
    let sender = Sender { client, endpoint, resource: resource(node), outcomes, is_down: false };
    let (batch, (stop, stopped), (told, ended)) = (config.batch_requests, oneshot::channel(), oneshot::channel());
    let thread = std::thread::Builder::new().name("traces".to_owned()).spawn(move || {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(sender.run(queue, batch, stopped)),
            // with the end of the queue every span is dropped, and counted as such
            Err(error) => tracing::error!(%error, "traces cannot be exported"),
        }
        // whoever waited may have given up
        let _ = told.send(());
    })?;
    Ok(Some((traces, Exporter { stop, limit, thread, ended })))
}

impl Exporter {
    /// Sends what waits, for as long as one request to the collector may take; what is left then goes with the process.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        match tokio::time::timeout(self.limit, self.ended).await {
            Ok(_) if self.thread.join().is_ok() => {}
            Ok(_) => tracing::error!("the thread that exports traces panicked"),
            Err(_) => tracing::warn!("not all traces could be exported in time"),
        }
    }
}

/// The address of a collector's traces; none where none is configured or it is none.
pub fn endpoint(base: &str) -> Option<Url> {
    let mut url: Url = base.parse().ok()?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let usable = plain && url.fragment().is_none() && matches!(url.scheme(), "http" | "https") && url.has_host();
    url.path_segments_mut().ok()?.pop_if_empty().extend(["v1", "traces"]);
    usable.then_some(url)
}

/// Why a batch did not arrive.
enum Refused {
    /// Nobody was reached, or asked for another try.
    Later(String),
    /// Another try would end alike, or might bring it twice.
    Never(String),
}

struct Sender {
    client: reqwest::Client,
    endpoint: Url,
    resource: Resource,
    outcomes: Outcomes,
    /// The last batch did not arrive; said once.
    is_down: bool,
}

impl Sender {
    async fn run(mut self, mut queue: Receiver<web::trace::Span>, batch: usize, mut stop: oneshot::Receiver<()>) {
        let mut spans = Vec::with_capacity(batch);
        let mut stopping = false;
        loop {
            if !stopping {
                tokio::select! {
                    taken = queue.recv_many(&mut spans, batch) => if taken == 0 { return },
                    _ = &mut stop => stopping = true,
                }
            }
            if !stopping && spans.len() < batch {
                tokio::select! {
                    () = tokio::time::sleep(GATHER) => {}
                    _ = &mut stop => stopping = true,
                }
            }
            while spans.len() < batch
                && let Ok(span) = queue.try_recv()
            {
                spans.push(span);
            }
            if spans.is_empty() {
                return;
            }
            let count = spans.iter().map(web::trace::Span::count).sum();
            let body = self.request(&spans).encode_to_vec();
            spans.clear();
            self.export(&body, count, if stopping { &[] } else { &RETRIES }).await;
        }
    }

    /// Sends a batch and counts what became of it.
    async fn export(&mut self, body: &[u8], count: u64, retries: &[Duration]) {
        // a collector that is away has had its chances with the batch before
        let mut retries = if self.is_down { [].iter() } else { retries.iter() };
        loop {
            let error = match self.send(body).await {
                Ok(rejected) => {
                    let rejected = rejected.min(count);
                    self.outcomes.exported.inc_by(count - rejected);
                    self.outcomes.failed.inc_by(rejected);
                    if std::mem::take(&mut self.is_down) {
                        tracing::info!("traces are exported again");
                    }
                    return;
                }
                Err(Refused::Later(error)) => match retries.next() {
                    Some(pause) => {
                        tokio::time::sleep(*pause).await;
                        continue;
                    }
                    None => error,
                },
                Err(Refused::Never(error)) => error,
            };
            self.outcomes.failed.inc_by(count);
            if !std::mem::replace(&mut self.is_down, true) {
                tracing::warn!(error, "traces are not exported; from here on they are only counted");
            }
            return;
        }
    }

    /// One try; gives how many spans the collector refused.
    async fn send(&self, body: &[u8]) -> Result<u64, Refused> {
        let request = self.client.post(self.endpoint.clone()).header("content-type", "application/x-protobuf");
        let answer = request.body(body.to_vec()).send().await.map_err(|error| match error.is_connect() {
            true => Refused::Later(error.to_string()),
            false => Refused::Never(error.to_string()),
        })?;
        let status = answer.status();
        if !status.is_success() {
            let later = [
                StatusCode::TOO_MANY_REQUESTS,
                StatusCode::BAD_GATEWAY,
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::GATEWAY_TIMEOUT,
            ];
            let said = format!("the collector answers {}", status.as_u16());
            return Err(if later.contains(&status) { Refused::Later(said) } else { Refused::Never(said) });
        }
        // what cannot be read says nothing against the spans
        let said = read(answer).await.and_then(|bytes| ExportTraceServiceResponse::decode(&*bytes).ok());
        let rejected = said.and_then(|said| said.partial_success).map_or(0, |partial| partial.rejected_spans);
        Ok(u64::try_from(rejected).unwrap_or(0))
    }

    fn request(&self, spans: &[web::trace::Span]) -> ExportTraceServiceRequest {
        let scope = InstrumentationScope {
            name: "mlinzi".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let spans = spans.iter().flat_map(encode).collect();
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }];
        let resource = Some(self.resource.clone());
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { resource, scope_spans, schema_url: String::new() }],
        }
    }
}

async fn read(mut answer: reqwest::Response) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return None;
        }
        bytes.extend_from_slice(&chunk);
    }
    Some(bytes)
}

fn resource(node: u16) -> Resource {
    let attributes = vec![
        text("service.name", "mlinzi"),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", &node.to_string()),
    ];
    Resource { attributes, ..Resource::default() }
}

fn pair(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, any_value::Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: i64) -> KeyValue {
    pair(key, any_value::Value::IntValue(value))
}

fn nanos(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// A request and its steps, which are its children. Names follow OpenTelemetry's conventions for HTTP servers.
fn encode(span: &web::trace::Span) -> Vec<Span> {
    let mut attributes = vec![
        text("http.request.method", span.method),
        text("http.route", span.route),
        text("mlinzi.request_id", &span.request_id),
        text("mlinzi.kept_as", span.reason.as_str()),
    ];
    attributes.extend(span.status.map(|status| number("http.response.status_code", status.into())));
    attributes.extend(span.about.operator_no.map(|no| number("mlinzi.operator_no", no.into())));
    attributes.extend(span.about.purpose.map(|purpose| text("mlinzi.purpose", purpose.as_str())));
    attributes.extend(span.about.decision.map(|decision| text("mlinzi.decision", decision.as_str())));
    let kind_of_error = match (span.status, span.code) {
        (None, _) => Some("panic"),
        (Some(_), Some(code)) => Some(code.as_str()),
        (Some(_), None) => None,
    };
    attributes.extend(kind_of_error.map(|kind| text("error.type", kind)));
    let (trace_id, id) = (span.trace.to_be_bytes().to_vec(), span.id.to_be_bytes().to_vec());
    let failed = Status { code: status::StatusCode::Error.into(), message: String::new() };
    let root = Span {
        trace_id: trace_id.clone(),
        span_id: id.clone(),
        parent_span_id: span.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
        flags: SAMPLED | REMOTE_KNOWN | if span.parent.is_some() { REMOTE } else { 0 },
        name: format!("{} {}", span.method, span.route),
        kind: span::SpanKind::Server.into(),
        start_time_unix_nano: nanos(span.started),
        end_time_unix_nano: nanos(span.started + span.took),
        attributes,
        status: span.has_failed().then(|| failed.clone()),
        ..Span::default()
    };
    let children = (1u64..).zip(&span.steps).map(|(no, (after, step))| Span {
        trace_id: trace_id.clone(),
        // the request's own was drawn by chance, so its neighbours are as good
        span_id: span.id.wrapping_add(no).max(1).to_be_bytes().to_vec(),
        parent_span_id: id.clone(),
        flags: SAMPLED | REMOTE_KNOWN,
        name: step.name.to_owned(),
        kind: span::SpanKind::Internal.into(),
        start_time_unix_nano: nanos(span.started + *after),
        end_time_unix_nano: nanos(span.started + *after + step.took),
        status: step.failed.then(|| failed.clone()),
        ..Span::default()
    });
    std::iter::once(root).chain(children.collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_go_to_their_path_below_the_address_and_only_to_a_plain_one() {
        let table = [
            ("http://127.0.0.1:4318", Some("http://127.0.0.1:4318/v1/traces")),
            ("http://collector:4318/", Some("http://collector:4318/v1/traces")),
            ("https://otel.example/in", Some("https://otel.example/in/v1/traces")),
            ("", None),
            ("collector:4318", None),
            ("grpc://collector:4317", None),
            ("http://user:secret@collector:4318", None),
            ("http://collector:4318/?token=secret", None),
        ];
        for (base, url) in table {
            assert_eq!(endpoint(base).as_ref().map(Url::as_str), url, "{base}");
        }
    }
}
