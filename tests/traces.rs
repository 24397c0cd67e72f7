//! Traces of the running program at a collector that speaks the real protocol, one that is away and one that hangs.

mod program;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use program::{get, phone, post, prepare, serve_with, status};
use prost::Message;
use serde_json::json;
use std::collections::HashSet;
use std::net::TcpListener as StdListener;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};

const LOOKUP: &str = "POST /api/v1/operators/lookup";
const REGISTER: &str = "POST /api/v1/nser/register";

/// Bodies of requests, as they came.
type Bodies = Arc<Mutex<Vec<Vec<u8>>>>;

/// A collector: what it was sent, byte by byte.
struct Collector {
    address: String,
    bodies: Bodies,
    rejects: Arc<AtomicI64>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let (bodies, rejects) = (Bodies::default(), Arc::new(AtomicI64::new(0)));
        let (kept, rejected) = (Arc::clone(&bodies), Arc::clone(&rejects));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&kept), Arc::clone(&rejected)));
            }
        });
        Self { address, bodies, rejects }
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.bodies.lock().expect("a lock");
        let requests =
            requests.iter().map(|body| ExportTraceServiceRequest::decode(body.as_slice()).expect("OTLP in protobuf"));
        let scopes = requests.flat_map(|request| request.resource_spans).flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    fn named(&self, name: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.name == name).collect()
    }

    /// Waits for so many spans of a name, and gives them.
    async fn wait(&self, name: &str, count: usize) -> Vec<Span> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let spans = self.named(name);
            if spans.len() >= count {
                return spans;
            }
            assert!(Instant::now() < end, "{} of {count} spans {name}: {:?}", spans.len(), self.spans());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Requests of HTTP/1.1 on one connection, each answered with success.
async fn converse(stream: TcpStream, bodies: Bodies, rejects: Arc<AtomicI64>) -> std::io::Result<()> {
    let mut stream = BufStream::new(stream);
    loop {
        let (mut head, mut length) = (Vec::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            let lower = line.to_ascii_lowercase();
            length = lower.strip_prefix("content-length:").map_or(length, |n| n.trim().parse().expect("a length"));
            head.push(lower);
        }
        assert_eq!(head[0], "post /v1/traces http/1.1\r\n");
        assert!(head.contains(&"content-type: application/x-protobuf\r\n".to_owned()), "{head:?}");
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        bodies.lock().expect("a lock").push(body);
        let rejected_spans = rejects.swap(0, Ordering::SeqCst);
        let partial_success = Some(ExportTracePartialSuccess { rejected_spans, error_message: String::new() });
        let answer = ExportTraceServiceResponse { partial_success }.encode_to_vec();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&answer).await?;
        stream.flush().await?;
    }
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = |pair: &&KeyValue| pair.key == key;
    match span.attributes.iter().find(found)?.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{other:?}"),
    }
}

fn has_failed(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == 2)
}

fn person(n: usize) -> String {
    json!({"phone": phone(n), "period": "1_year", "reason_class": "self", "channel": "web"}).to_string()
}

fn lookup(n: usize) -> String {
    json!({"phone": phone(n), "purpose": "login"}).to_string()
}

/// The value of a counter.
async fn spans_total(client: &reqwest::Client, base: &str, outcome: &str) -> u64 {
    let answer = client.get(format!("{base}/metrics")).send().await.expect("an answer");
    let text = String::from_utf8(answer.bytes().await.expect("a body").to_vec()).expect("text");
    let name = format!("mlinzi_trace_spans_total{{outcome=\"{outcome}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("no {name}"));
    line.parse().expect("a number")
}

#[tokio::test]
async fn without_a_share_only_failures_and_what_callers_record_arrive() {
    let postgres = testkit::Postgres::private();
    let database = postgres.database().await;
    let dir = testkit::temp_dir();
    let key = prepare(dir.path(), &database.url);
    let (client, collector) = (reqwest::Client::new(), Collector::start().await);
    let settings = [
        ("MLINZI__TRACES__OTLP_ENDPOINT", collector.address.as_str()),
        ("MLINZI__TRACES__SAMPLE_PERCENT", "0"),
        ("MLINZI__TRACES__SLOW_MS", "60000"),
        ("MLINZI__STORE__WRITE_TIMEOUT_SECONDS", "1"),
    ];
    let server = serve_with(&client, dir.path(), &database.url, &settings).await;
    let (registers, lookups) =
        (format!("{}/api/v1/nser/register", server.base), format!("{}/api/v1/operators/lookup", server.base));
    for n in 0..20 {
        assert_eq!(status(&client, registers.clone(), &key, person(20_000_000 + n)).await, Some(201));
        assert_eq!(status(&client, lookups.clone(), &key, lookup(20_000_000 + n)).await, Some(200));
    }
    for (trace, flags) in [("4bf92f3577b34da6a3ce929d0e0e4736", "01"), ("0af7651916cd43dd8448eb211c80319c", "00")] {
        let asked = client.post(&lookups).bearer_auth(&key).header("content-type", "application/json");
        let asked = asked.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-{flags}")).body(lookup(1));
        assert!(asked.send().await.expect("an answer").status().is_success());
    }
    postgres.kill9();
    assert_eq!(status(&client, registers.clone(), &key, person(20_000_100)).await, Some(503));

    let failed = collector.wait(REGISTER, 1).await.remove(0);
    assert!(has_failed(&failed));
    let said = |key| attribute(&failed, key);
    assert_eq!(said("http.response.status_code").as_deref(), Some("503"));
    assert_eq!(said("error.type").as_deref(), Some("unavailable"));
    assert_eq!(said("mlinzi.kept_as").as_deref(), Some("failed"));
    assert!(failed.end_time_unix_nano > failed.start_time_unix_nano);

    // that of the caller that records, and no other of the lookups
    let recorded = collector.wait(LOOKUP, 1).await.remove(0);
    assert_eq!(recorded.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736u128.to_be_bytes());
    assert_eq!(recorded.parent_span_id, 0x00f0_67aa_0ba9_02b7u64.to_be_bytes());
    assert!(!has_failed(&recorded));
    let roots: Vec<Span> = collector.spans().into_iter().filter(|s| s.kind == i32::from(SpanKind::Server)).collect();
    let others: Vec<&Span> = roots.iter().filter(|span| !has_failed(span) && span.name != LOOKUP).collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(collector.named(LOOKUP).len(), 1);
    assert_eq!(collector.named(REGISTER).len(), 1);
    drop(server);
}

// the collector must answer while the test waits for the program's end
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_whole_share_everything_arrives_once_and_names_nobody() {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    let key = prepare(dir.path(), &store);
    let (client, collector) = (reqwest::Client::new(), Collector::start().await);
    let settings =
        [("MLINZI__TRACES__OTLP_ENDPOINT", collector.address.as_str()), ("MLINZI__TRACES__SAMPLE_PERCENT", "100")];
    let server = serve_with(&client, dir.path(), &store, &settings).await;
    let base = &server.base;
    let operator = json!({"code": "alpha", "name": "Alpha"}).to_string();
    let operator =
        post(&client, format!("{base}/api/v1/operators/register"), &key, operator).await.expect("an operator");
    let id = operator["id"].as_str().expect("an id");
    let theirs = json!({"label": "till", "scopes": ["lookup"], "purposes": ["login"], "rate_per_second": 1000});
    let theirs = post(&client, format!("{base}/api/v1/operators/{id}/keys"), &key, theirs.to_string()).await;
    let theirs = theirs.expect("a key")["bearer"].as_str().expect("a bearer").to_owned();
    let source = json!({"operator": id, "name": "play", "class": "gaming_transactions", "currency": "KES"});
    let source = post(&client, format!("{base}/api/v1/feeds"), &key, source.to_string()).await.expect("a source");

    const PEOPLE: usize = 25;
    for n in 0..PEOPLE {
        let n = 30_000_000 + n;
        assert_eq!(status(&client, format!("{base}/api/v1/nser/register"), &key, person(n)).await, Some(201));
        assert_eq!(status(&client, format!("{base}/api/v1/operators/lookup"), &theirs, lookup(n)).await, Some(200));
    }
    // people where nobody should put them: paths, ids, methods, headers, parameters
    let stray = phone(30_000_000);
    let wrong = client.get(format!("{base}/api/v1/nser/{stray}?phone={stray}")).bearer_auth(&key);
    let wrong = wrong.header("x-request-id", &stray).header("user-agent", &stray).header("tracestate", &stray);
    assert_eq!(wrong.send().await.expect("an answer").status().as_u16(), 404);
    let method = reqwest::Method::from_bytes(stray.as_bytes()).expect("a method");
    assert_eq!(client.request(method, format!("{base}/{stray}")).send().await.expect("an answer").status(), 404);
    let records = json!({"record_id": "1", "kind": "stake", "occurred_at": "2026-01-01T00:00:00Z",
        "player": {"phone": stray}, "money": {"amount_minor": 100, "currency": "KES"}});
    let push = format!("{base}/api/v1/feeds/{}/records", source["id"].as_str().expect("an id"));
    let push = client.post(push).bearer_auth(&key).header("content-type", "application/x-ndjson");
    assert!(push.body(records.to_string()).send().await.expect("an answer").status().is_success());

    // spans that the collector refuses are not said to be exported
    collector.wait(LOOKUP, PEOPLE).await;
    collector.rejects.store(3, Ordering::SeqCst);
    get(&client, format!("{base}/api/v1/nser/stats"), &key).await;
    let end = Instant::now() + Duration::from_secs(30);
    while spans_total(&client, base, "failed").await < 1 {
        assert!(Instant::now() < end, "refused spans are not counted");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(spans_total(&client, base, "dropped").await, 0);
    assert!(spans_total(&client, base, "exported").await > 3 * PEOPLE as u64);
    // just before the end: what waits is sent on the way down
    assert_eq!(
        status(&client, format!("{base}/api/v1/operators/lookup"), &theirs, lookup(30_000_000)).await,
        Some(200)
    );
    server.stop();

    let (lookups, registers) = (collector.named(LOOKUP), collector.named(REGISTER));
    assert_eq!((lookups.len(), registers.len()), (PEOPLE + 1, PEOPLE));
    for span in &lookups {
        let said = |key| attribute(span, key).expect(key);
        assert_eq!((said("http.route").as_str(), said("http.request.method").as_str()), (&LOOKUP[5..], "POST"));
        assert_eq!((said("mlinzi.purpose").as_str(), said("mlinzi.decision").as_str()), ("login", "block"));
        assert_eq!(said("mlinzi.operator_no"), "1");
        assert_eq!(said("mlinzi.request_id").len(), 36, "a UUID of ours");
    }
    let spans = collector.spans();
    let ids: HashSet<(Vec<u8>, Vec<u8>)> = spans.iter().map(|s| (s.trace_id.clone(), s.span_id.clone())).collect();
    assert_eq!(ids.len(), spans.len(), "a span arrived twice");
    for span in &registers {
        let steps: Vec<&Span> = spans.iter().filter(|s| s.parent_span_id == span.span_id).collect();
        let names: Vec<&str> = steps.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["decide", "commit"]);
        for step in steps {
            assert_eq!(step.trace_id, span.trace_id);
            assert!(step.start_time_unix_nano >= span.start_time_unix_nano, "a step began before its request");
            assert!(step.end_time_unix_nano <= span.end_time_unix_nano, "a step ended after its request");
        }
    }
    let push = &collector.named("POST /api/v1/feeds/{source}/records")[0];
    let steps = spans.iter().filter(|s| s.parent_span_id == push.span_id).map(|s| s.name.as_str());
    assert_eq!(steps.collect::<Vec<_>>(), ["stage", "commit"]);
    let stray_id = collector.named("GET /api/v1/nser/{id}");
    assert!(attribute(&stray_id[0], "mlinzi.request_id").is_some_and(|id| id.starts_with("given-")));
    assert_eq!(collector.named("_OTHER unmatched").len(), 1);

    let bodies = collector.bodies.lock().expect("a lock").concat();
    let secret = key.rsplit('_').next().expect("a secret");
    // the last digits are in every form of the number: 07…, 2547…, +254 7…
    for (place, secret) in
        (0..PEOPLE).map(|n| phone(30_000_000 + n)[2..].to_owned()).chain([secret.to_owned()]).enumerate()
    {
        let hex: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
        for form in [secret.as_bytes(), hex.as_bytes()] {
            assert!(!bodies.windows(form.len()).any(|w| w == form), "secret {place} was exported");
        }
    }
}

/// Requests to a server whose collector is of no use; gives the counters and what was logged.
async fn serve_without(address: &str) -> (u64, u64, String) {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    let key = prepare(dir.path(), &store);
    let client = reqwest::Client::new();
    let settings = [
        ("MLINZI__TRACES__OTLP_ENDPOINT", address),
        ("MLINZI__TRACES__SAMPLE_PERCENT", "100"),
        ("MLINZI__TRACES__TIMEOUT_SECONDS", "1"),
        ("MLINZI__TRACES__QUEUE_REQUESTS", "8"),
        ("MLINZI__TRACES__BATCH_REQUESTS", "2"),
    ];
    let server = serve_with(&client, dir.path(), &store, &settings).await;
    let lookups = format!("{}/api/v1/operators/lookup", server.base);
    let end = Instant::now() + Duration::from_secs(30);
    let (failed, dropped) = loop {
        for n in 0..50 {
            assert_eq!(status(&client, lookups.clone(), &key, lookup(n)).await, Some(200));
        }
        let counts =
            (spans_total(&client, &server.base, "failed").await, spans_total(&client, &server.base, "dropped").await);
        // two batches at least: the second one says nothing any more
        if counts.0 > 4 && counts.1 > 0 {
            break counts;
        }
        assert!(Instant::now() < end, "failed and dropped spans are not counted: {counts:?}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    };
    assert_eq!(spans_total(&client, &server.base, "exported").await, 0);
    server.stop();
    (failed, dropped, std::fs::read_to_string(dir.path().join("log")).expect("the log"))
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_one_line() {
    let nobody = StdListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let (.., log) = serve_without(&format!("http://{nobody}")).await;
    assert_eq!(log.matches("traces are not exported").count(), 1, "{log}");
}

#[tokio::test]
async fn a_collector_that_hangs_holds_up_neither_requests_nor_the_end() {
    // the kernel accepts for it, and it never reads
    let listener = StdListener::bind("127.0.0.1:0").expect("a port");
    let (.., log) = serve_without(&format!("http://{}", listener.local_addr().expect("an address"))).await;
    assert_eq!(log.matches("traces are not exported").count(), 1, "{log}");
}
