//! Around every request: its id, its log line, its trace, its headers, its error body.
//!
//! A caller's own id is echoed, but the logs hold only its keyed digest: it may be a phone number. Most requests
//! write no line at all: only slow, failed and sampled ones do.

use std::time::{Duration, Instant};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{RequestHead, ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, ResponseError};
use actors::trace::{Step, Steps};
use models::ts::Ts;

use crate::problem::{Code, PROBLEM_JSON, Problem};
use crate::rate::Quotas;
use crate::routes::{RouteNo, route_of};
use crate::state::{AppState, Worker, uuid_v7};
use crate::trace::{About, Ended, OnPanic, Parent, method_name};

/// A request that took longer is logged.
pub const SLOW: Duration = Duration::from_millis(250);
/// One request in so many is logged, per worker.
pub const SAMPLE: u64 = 1_024;
/// Longest id taken from a caller, bytes; a longer one is replaced.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// What a request is named by that matched no path.
const UNMATCHED: &str = "unmatched";

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
static RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The id of a request: the caller's, or ours.
pub(crate) struct RequestId {
    text: HeaderValue,
    given: bool,
}

impl RequestId {
    pub fn of(headers: &HeaderMap, now: Ts) -> Self {
        let given = headers.get(&X_REQUEST_ID).filter(|v| {
            !v.is_empty() && v.len() <= REQUEST_ID_BYTES_MAX && v.as_bytes().iter().all(u8::is_ascii_graphic)
        });
        match given {
            Some(text) => Self { text: text.clone(), given: true },
            None => {
                let text = hyphenated(uuid_v7(now));
                Self {
                    text: HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("none")),
                    given: false,
                }
            }
        }
    }

    /// What the logs hold: ours, or the first 64 bits of the keyed digest of the caller's.
    fn logged(&self, state: &AppState) -> String {
        if !self.given {
            return self.text.to_str().unwrap_or_default().to_owned();
        }
        let tag = ring::hmac::sign(&state.log_key, self.text.as_bytes());
        tag.as_ref()[..8].iter().fold(String::from("given-"), |text, byte| text + &format!("{byte:02x}"))
    }
}

/// The usual text of a UUID.
fn hyphenated(id: u128) -> [u8; 36] {
    const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    let mut text = [b'-'; 36];
    for (place, byte) in PLACES.into_iter().zip(id.to_be_bytes()) {
        text[place] = b"0123456789abcdef"[usize::from(byte >> 4)];
        text[place + 1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    text
}

/// The middleware.
pub(crate) async fn around<B: MessageBody + 'static>(
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let (Some(state), Some(worker)) = (req.app_data::<AppState>().cloned(), req.app_data::<Worker>().cloned()) else {
        return Err(Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR).into());
    };
    let started = Instant::now();
    let id = RequestId::of(req.headers(), state.engine.now());
    let steps = Steps::default();
    let answered = match &state.options.traces {
        None => next.call(req).await,
        Some(_) => watched(req, next, &steps, &id, &state, started).await,
    };
    let mut res = answered?.map_into_boxed_body();
    if res.status().as_u16() >= 400 {
        res = with_problem(res, &id, &state);
    }
    let quotas = res.request().extensions().get::<Quotas>().cloned();
    let upgraded = res.status() == StatusCode::SWITCHING_PROTOCOLS;
    let headers = res.headers_mut();
    if !upgraded {
        secure(headers);
    }
    identify(headers, &id, quotas);
    let told = Told {
        route: res.request().app_data::<RouteNo>().copied(),
        status: Some(res.status().as_u16()),
        code: res.response().error().and_then(|e| e.as_error::<Problem>()).map(|p| p.code),
        about: res.request().extensions().get::<About>().copied().unwrap_or_default(),
        steps: steps.take(),
    };
    finish(res.request().head(), told, &id, &state, &worker, started.elapsed());
    Ok(res)
}

/// Lets a request go on with its steps noted, and sees to it that a handler's panic leaves a trace.
async fn watched<B: MessageBody + 'static>(
    req: ServiceRequest,
    next: Next<B>,
    steps: &Steps,
    id: &RequestId,
    state: &AppState,
    started: Instant,
) -> Result<ServiceResponse<B>, Error> {
    let (parent, method, path) = (Parent::of(req.headers()), method_name(req.method()), req.path().to_owned());
    let _watch = OnPanic(|| {
        let told = Told { steps: steps.take(), ..Told::nothing(route_of(&path)) };
        leave_trace(parent, method, told, id, state, started.elapsed());
    });
    steps.clone().within(next.call(req)).await
}

/// Headers that name a request and what is left of its key's rate.
pub(crate) fn identify(headers: &mut HeaderMap, id: &RequestId, quotas: Option<Quotas>) {
    if let Some(quotas) = quotas {
        headers.insert(RATE_LIMIT.clone(), quotas.state());
        headers.insert(RATE_LIMIT_POLICY.clone(), quotas.policy);
    }
    headers.insert(X_REQUEST_ID.clone(), id.text.clone());
}

/// What became of a request.
pub(crate) struct Told {
    /// Number of its path.
    pub route: Option<RouteNo>,
    /// Status of the answer; none where the handler panicked.
    pub status: Option<u16>,
    /// What was wrong.
    pub code: Option<Code>,
    /// What it was about.
    pub about: About,
    /// What it waited for.
    pub steps: Vec<Step>,
}

impl Told {
    /// No answer at all.
    fn nothing(route: Option<RouteNo>) -> Self {
        Self { route, status: None, code: None, about: About::default(), steps: Vec::new() }
    }
}

/// Tells of a request whose handler panics just now.
pub(crate) fn panicked(head: &RequestHead, route: Option<RouteNo>, id: &RequestId, state: &AppState, took: Duration) {
    leave_trace(Parent::of(&head.headers), method_name(&head.method), Told::nothing(route), id, state, took);
}

/// Leaves a trace of a request, where it is to leave one, and gives its id.
fn leave_trace(
    parent: Option<Parent>,
    method: &'static str,
    told: Told,
    id: &RequestId,
    state: &AppState,
    took: Duration,
) -> Option<u128> {
    let traces = state.options.traces.as_ref()?;
    let kept = traces.keep(parent, told.status, took)?;
    let Told { route, status, code, about, steps } = told;
    let (route, request_id) = (route.map_or(UNMATCHED, RouteNo::path), id.logged(state));
    traces.offer(kept, Ended { method, route, status, code, request_id, about, took, steps });
    Some(kept.trace)
}

/// Counts an answered request, and logs it where it is slow, failed or sampled.
pub(crate) fn finish(
    head: &RequestHead,
    told: Told,
    id: &RequestId,
    state: &AppState,
    worker: &Worker,
    took: Duration,
) {
    let (route, code) = (told.route, told.code);
    let status = told.status.unwrap_or(500);
    state.metrics.observe(route, &head.method, status, took);
    // whoever is turned away at the door is counted: a line and a trace for each would be one more load
    let at_the_door = route.is_none() && code == Some(Code::Overloaded);
    let trace = match &state.options.traces {
        None => None,
        Some(_) if at_the_door => None,
        Some(_) => leave_trace(Parent::of(&head.headers), method_name(&head.method), told, id, state, took),
    };
    let sampled = worker.request().is_multiple_of(SAMPLE);
    if !sampled && (at_the_door || status < 500 && took < SLOW) {
        return;
    }
    let trace = trace.or_else(|| Parent::of(&head.headers).map(|parent| parent.trace));
    let (request_id, trace) = (id.logged(state), trace.map_or(String::new(), |id| format!("{id:032x}")));
    // the pattern, not the path: a path may hold what somebody should have put into a body
    let (route, method) = (route.map_or(UNMATCHED, RouteNo::path), method_name(&head.method));
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if status >= 500 {
        let code = code.map_or("", Code::as_str);
        tracing::warn!(request_id, trace, route, method, status, code, duration_ms, "request failed");
    } else {
        tracing::info!(request_id, trace, route, method, status, duration_ms, sampled, "request");
    }
}

/// Replaces the body of an error by a problem. An answer that carries its own body (readiness) stays.
fn with_problem(res: ServiceResponse, id: &RequestId, state: &AppState) -> ServiceResponse {
    let given = res.response().error().and_then(|e| e.as_error::<Problem>()).cloned();
    let own_body = res.response().error().is_none() && res.headers().contains_key(header::CONTENT_TYPE);
    if own_body {
        return res;
    }
    let problem = given.unwrap_or_else(|| Problem::of_status(res.status()));
    let (req, old) = res.into_parts();
    let mut response = problem_response(&problem, id, state);
    for (name, value) in old.headers() {
        if !matches!(*name, header::CONTENT_TYPE | header::CONTENT_LENGTH) && !response.headers().contains_key(name) {
            response.headers_mut().insert(name.clone(), value.clone());
        }
    }
    ServiceResponse::new(req, response)
}

/// The answer that tells of a problem.
pub(crate) fn problem_response(problem: &Problem, id: &RequestId, state: &AppState) -> HttpResponse {
    let instance = format!("urn:mlinzi:request:{}", id.logged(state));
    let body = problem.body(Some(&instance), id.text.to_str().ok());
    let mut response = HttpResponse::from_error(problem.clone()).set_body(BoxBody::new(body));
    debug_assert_eq!(response.status(), problem.status_code());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    response
}

/// Headers that keep browsers from guessing, framing, caching and telling others.
fn secure(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_written_as_usual() {
        let text = hyphenated(0x0191_2f3a_4b5c_7d6e_8f90_a1b2_c3d4_e5f6);
        assert_eq!(std::str::from_utf8(&text).unwrap(), "01912f3a-4b5c-7d6e-8f90-a1b2c3d4e5f6");
    }

    async fn state(dir: &testkit::TempDir, traces: crate::trace::Traces) -> AppState {
        use actors::secrets::KeyMaterial;
        use std::sync::Arc;
        let store = store::Store::open(&testkit::sqlite_url(dir), &store::OpenOptions::default()).await.unwrap();
        let keys = KeyMaterial::generate().unwrap();
        let config = actors::engine::EngineConfig::small("KE");
        let (clock, registry) = (Arc::new(store::SystemClock), prometheus::Registry::new());
        let engine = actors::engine::Engine::start(config, store, Arc::new(keys), clock, &registry).await.unwrap();
        let options = crate::WebOptions { traces: Some(traces), ..crate::WebOptions::new("KE") };
        AppState::new(engine, options, registry).unwrap()
    }

    #[actix_web::test]
    async fn a_handlers_panic_leaves_a_trace_that_names_its_route() {
        use actix_web::{App, middleware::from_fn, test, web};
        use futures_util::FutureExt;
        let dir = testkit::temp_dir();
        let options = crate::trace::TraceOptions { sample_percent: 0.0, slow: Duration::from_secs(60), queue: 8 };
        let dropped = prometheus::IntCounter::new("dropped", "dropped").unwrap();
        let (traces, mut spans) = crate::trace::Traces::new(options, dropped);
        let state = state(&dir, traces).await;
        let fails = || async {
            actors::trace::begin("something").done();
            if true {
                panic!("on purpose");
            }
            HttpResponse::Ok().finish()
        };
        let app = App::new().app_data(state.clone()).app_data(state.worker());
        let app = app.route("/api/v1/nser/{id}", web::get().to(fails)).wrap(from_fn(around::<BoxBody>));
        let app = test::init_service(app).await;
        let asked =
            test::TestRequest::get().uri("/api/v1/nser/0712345678").insert_header(("x-request-id", "0712345678"));
        let called = std::panic::AssertUnwindSafe(test::call_service(&app, asked.to_request())).catch_unwind().await;
        assert!(called.is_err(), "the panic goes on");
        let span = spans.try_recv().expect("a span");
        assert_eq!((span.method, span.route, span.status), ("GET", "/api/v1/nser/{id}", None));
        assert!(span.has_failed());
        assert_eq!(span.steps.iter().map(|(_, step)| step.name).collect::<Vec<_>>(), ["something"]);
        assert!(!format!("{span:?}").contains("712345678"), "{span:?}");
        assert!(state.engine.stop(Duration::from_secs(5)).await);
    }
}
