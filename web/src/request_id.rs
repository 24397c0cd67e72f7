//! Around every request: its id, its log line, its headers, its error body.
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

use models::ts::Ts;

use crate::problem::{Code, PROBLEM_JSON, Problem};
use crate::rate::Quotas;
use crate::routes::RouteNo;
use crate::state::{AppState, Worker, uuid_v7};

/// A request that took longer is logged.
pub const SLOW: Duration = Duration::from_millis(250);
/// One request in so many is logged, per worker.
pub const SAMPLE: u64 = 1_024;
/// Longest id taken from a caller, bytes; a longer one is replaced.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

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

/// The trace id of a W3C `traceparent`, if it is one.
fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = text.split('-');
    let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let fine = version.len() == 2 && version != "ff" && trace.len() == 32 && span.len() == 16;
    (fine && hex(version) && hex(trace) && hex(span) && trace.bytes().any(|b| b != b'0')).then_some(trace)
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
    let mut res = next.call(req).await?.map_into_boxed_body();
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
        status: res.status().as_u16(),
        code: res.response().error().and_then(|e| e.as_error::<Problem>()).map(|p| p.code),
    };
    finish(res.request().head(), told, &id, &state, &worker, started.elapsed());
    Ok(res)
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
#[derive(Clone, Copy)]
pub(crate) struct Told {
    /// Number of its path.
    pub route: Option<RouteNo>,
    /// Status of the answer.
    pub status: u16,
    /// What was wrong.
    pub code: Option<Code>,
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
    let Told { route, status, code } = told;
    state.metrics.observe(route, &head.method, status, took);
    let sampled = worker.request().is_multiple_of(SAMPLE);
    if status < 500 && took < SLOW && !sampled {
        return;
    }
    let (request_id, trace) = (id.logged(state), trace_id(&head.headers).unwrap_or_default());
    // the pattern, not the path: a path may hold what somebody should have put into a body
    let (route, method) = (route.map_or("unmatched", |r| r.path()), head.method.as_str());
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
    use actix_web::test::TestRequest;

    #[test]
    fn a_uuid_is_written_as_usual() {
        let text = hyphenated(0x0191_2f3a_4b5c_7d6e_8f90_a1b2_c3d4_e5f6);
        assert_eq!(std::str::from_utf8(&text).unwrap(), "01912f3a-4b5c-7d6e-8f90-a1b2c3d4e5f6");
    }

    #[test]
    fn only_a_valid_traceparent_is_believed() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let table = [
            (format!("00-{trace}-00f067aa0ba902b7-01"), Some(trace)),
            (format!("ff-{trace}-00f067aa0ba902b7-01"), None),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), None),
            (format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()), None),
            ("254712345678".to_owned(), None),
        ];
        for (text, id) in &table {
            let req = TestRequest::default().insert_header(("traceparent", text.as_str())).to_http_request();
            assert_eq!(trace_id(req.headers()), *id, "{text}");
        }
    }
}
