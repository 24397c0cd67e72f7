//! `/ws/dashboards/realtime`: one task per socket between the hub's outbox and the client.
//!
//! A client that does not read must cost nothing but its own socket: the outbox is bounded by the hub, every write has
//! a timeout, and because a close frame cannot reach who does not read, the connection itself is then shut down –
//! otherwise the peer would hold it for as long as it likes.

use std::any::Any;
use std::future::Future;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Extensions;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use actix_ws::{AggregatedMessage, CloseCode, Session};
use actors::directory::Directory;
use actors::live::{CloseReason, LiveSession, LiveUnavailable, Rights};
use models::ids::KeyId;
use models::live::{CLOSE_FORBIDDEN, CLOSE_SLOW, CLOSE_UNAUTHENTICATED, ClientFrame, SUBPROTOCOL};
use models::ts::Ts;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::extractors::caller::{authenticate, still_valid};
use crate::links::COOKIE;
use crate::metrics::AuthFailure;
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// Largest frame and largest message of a client, bytes.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Time between two pings.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// A client from which nothing came for so long is gone.
pub const SILENCE_MAX: Duration = Duration::from_secs(40);
/// Time one write may take.
pub const WRITE_MAX: Duration = Duration::from_secs(5);
/// Time a close frame may take before the connection is cut.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// How often rights are looked at again: a revoked key ends its sockets within a second.
const RIGHTS_EVERY: Duration = Duration::from_millis(500);
/// Frames a second a client may send on average; the burst is [`FRAMES_BURST`].
const FRAMES_PER_SECOND: f64 = 5.0;
/// Frames a client may send at once.
const FRAMES_BURST: f64 = 50.0;
/// Close code: the service restarts, come again (RFC 6455 registry).
const CLOSE_RESTART: u16 = 1012;
/// Close code: all is well.
const CLOSE_NORMAL: u16 = 1000;

/// The connection below a request, so that it can be cut.
struct Connection(TcpStream);

/// For `HttpServer::on_connect`: keeps a second handle to the socket for as long as the connection lives.
pub fn remember_connection(io: &dyn Any, data: &mut Extensions) {
    use std::os::fd::AsFd;
    data.insert(crate::rate::AddressSlot::default());
    if let Some(stream) = crate::connections::stream(io)
        && let Ok(fd) = stream.as_fd().try_clone_to_owned()
    {
        data.insert(Arc::new(Connection(TcpStream::from(fd))));
    }
}

/// Whose socket it is, and how long.
#[derive(Clone, Copy)]
struct Holder {
    /// The key it was opened with, or that asked for the page's link.
    key: Option<KeyId>,
    /// First instant at which a page's session is over.
    until: Option<Ts>,
}

impl Holder {
    fn is_valid(&self, directory: &Directory, now: Ts) -> bool {
        self.key.is_none_or(|key| still_valid(directory, key, now)) && self.until.is_none_or(|until| now < until)
    }
}

/// Opens the live stream; see "Live stream" in the contract for its frames.
#[utoipa::path(
    get, path = "/ws/dashboards/realtime", tag = "live",
    params(("Sec-WebSocket-Protocol" = String, Header, description = "mlinzi.v1")),
    responses((status = 101, description = "WebSocket with subprotocol mlinzi.v1; closed with 4001 where nobody is signed in")),
    security(("bearer" = ["market:read"]), ("cookie" = []))
)]
pub async fn open(state: AppState, req: HttpRequest, body: web::Payload) -> Result<HttpResponse, Problem> {
    if !is_upgrade(req.headers()) {
        return Err(Problem::new(Code::Unreadable, "this path is a websocket"));
    }
    let offered = offers_subprotocol(req.headers());
    let admitted = admit(&state, &req);
    match admitted {
        Err(problem) if problem.code == Code::Unauthenticated && offered => refuse(&state, &req, body),
        Err(problem) => Err(problem),
        Ok(_) if !offered => Err(Problem::new(Code::Unreadable, "offer the subprotocol mlinzi.v1")),
        Ok((rights, holder)) => accept(&state, &req, body, rights, holder),
    }
}

/// A bearer key, or the page's cookie from its own origin.
fn admit(state: &AppState, req: &HttpRequest) -> Result<(Rights, Holder), Problem> {
    if req.headers().contains_key(header::AUTHORIZATION) {
        let caller = authenticate(state, req)?;
        let nothing = || Problem::new(Code::Forbidden, "the key has no scope that shows a topic");
        let holder = Holder { key: Some(caller.entry.key.id), until: None };
        return Ok((caller.rights().ok_or_else(nothing)?, holder));
    }
    let cookie = req.cookie(COOKIE);
    let session = cookie.and_then(|cookie| state.links.session(cookie.value(), state.engine.now()));
    let Some(session) = session else {
        state.metrics.auth_failed(AuthFailure::Missing);
        return Err(Problem::new(Code::Unauthenticated, "send a key, or open the page by its one-time link"));
    };
    if !origin_allowed(req.headers(), &state.options.origins) {
        state.metrics.auth_failed(AuthFailure::Origin);
        return Err(Problem::new(Code::Forbidden, "the page is of another origin"));
    }
    let holder = Holder { key: session.key, until: Some(session.until) };
    if !holder.is_valid(&state.engine.directory(), state.engine.now()) {
        state.metrics.auth_failed(AuthFailure::Dead);
        return Err(Problem::new(Code::Unauthenticated, "the key that asked for the page's link has ended"));
    }
    Ok((session.rights, holder))
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn offers_subprotocol(headers: &HeaderMap) -> bool {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).filter_map(|v| v.to_str().ok());
    offered.flat_map(|list| list.split(',')).any(|name| name.trim() == SUBPROTOCOL)
}

/// A browser always says its origin on a socket; it must be the server's own, or on the list.
fn origin_allowed(headers: &HeaderMap, origins: &[String]) -> bool {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return false };
    if origins.iter().any(|o| o.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    authority.zip(text(header::HOST)).is_some_and(|(a, host)| a.eq_ignore_ascii_case(host))
}

type Opened = (HttpResponse, Session, actix_ws::MessageStream);

fn handshake(req: &HttpRequest, body: web::Payload) -> Result<Opened, Problem> {
    actix_ws::handle_with_protocols(req, body, &[SUBPROTOCOL])
        .map_err(|_| Problem::new(Code::Unreadable, "the websocket handshake is incomplete"))
}

/// Nobody is signed in: a browser sees the reason only in a close code, so the socket is opened to close it.
fn refuse(state: &AppState, req: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Problem> {
    let (response, session, _) = handshake(req, body)?;
    state.metrics.socket_closed(CLOSE_UNAUTHENTICATED);
    actix_web::rt::spawn(close(session, CLOSE_UNAUTHENTICATED, "not signed in"));
    Ok(response)
}

fn accept(
    state: &AppState,
    req: &HttpRequest,
    body: web::Payload,
    rights: Rights,
    holder: Holder,
) -> Result<HttpResponse, Problem> {
    let key = holder.key;
    let live = state.engine.live().connect(rights, key).map_err(|refused| match refused {
        LiveUnavailable::Busy => Problem::new(Code::Overloaded, "the live hub takes no session now"),
        LiveUnavailable::Full => Problem::new(Code::Overloaded, "the live hub has as many sessions as it takes"),
        LiveUnavailable::KeyFull => Problem::rate_limited("the key has as many sessions as it may", 1),
    })?;
    let (response, session, messages) = handshake(req, body)?;
    let messages =
        messages.max_frame_size(FRAME_BYTES_MAX).aggregate_continuations().max_continuation_size(FRAME_BYTES_MAX);
    let connection = req.conn_data::<Arc<Connection>>().cloned();
    let (state, stopping) = (state.clone(), state.stopping.subscribe());
    actix_web::rt::spawn(async move {
        state.metrics.sockets.inc();
        let socket = Socket {
            session: session.clone(),
            live,
            state: state.clone(),
            holder,
            budget: Budget::new(Instant::now()),
        };
        let ended = socket.run(messages, stopping).await;
        state.metrics.sockets.dec();
        let (code, why) = match ended {
            Ended::Gone => return,
            Ended::Left => (CLOSE_NORMAL, ""),
            Ended::Close(code, why) => {
                state.metrics.socket_closed(code);
                (code, why)
            }
        };
        close(session, code, why).await;
        if let Some(connection) = connection {
            // who read the close frame has left by now; who did not is cut off
            actix_web::rt::time::sleep(CLOSE_MAX).await;
            let _ = connection.0.shutdown(Shutdown::Both);
        }
    });
    Ok(response)
}

async fn close(session: Session, code: u16, why: &'static str) {
    let reason = actix_ws::CloseReason { code: CloseCode::from(code), description: Some(why.to_owned()) };
    // a client that does not read does not get it
    let _ = timeout(CLOSE_MAX, session.close(Some(reason))).await;
}

/// How a socket ended.
enum Ended {
    /// The connection is gone.
    Gone,
    /// The client said goodbye; it is answered (RFC 6455 5.5.1).
    Left,
    /// We end it.
    Close(u16, &'static str),
}

impl From<CloseReason> for Ended {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Slow => Self::Close(CLOSE_SLOW, "the client does not read"),
            CloseReason::Forbidden => Self::Close(CLOSE_FORBIDDEN, "the rights are gone"),
            CloseReason::Restart => Self::Close(CLOSE_RESTART, "come again"),
        }
    }
}

/// What a client may still send (a token bucket).
struct Budget {
    left: f64,
    at: Instant,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self { left: FRAMES_BURST, at: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let refilled = self.left + now.duration_since(self.at).as_secs_f64() * FRAMES_PER_SECOND;
        self.at = now;
        self.left = refilled.min(FRAMES_BURST) - 1.0;
        if self.left < 0.0 {
            self.left = 0.0;
            return false;
        }
        true
    }
}

struct Socket {
    session: Session,
    live: LiveSession,
    state: AppState,
    holder: Holder,
    budget: Budget,
}

impl Socket {
    async fn run(
        mut self,
        mut messages: actix_ws::AggregatedMessageStream,
        mut stopping: watch::Receiver<bool>,
    ) -> Ended {
        let now = Instant::now();
        let (mut heard, mut heartbeat) = (now, interval_at(now + HEARTBEAT, HEARTBEAT));
        let mut rights = interval_at(now + RIGHTS_EVERY, RIGHTS_EVERY);
        rights.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let step = tokio::select! {
                frame = self.live.next() => match frame {
                    // a frame is encoded once for all sockets; the copy here is the one the socket writes from
                    Ok(frame) => write(self.session.text(frame.as_ref())).await,
                    Err(reason) => Some(reason.into()),
                },
                message = messages.recv() => {
                    heard = Instant::now();
                    match message {
                        Some(Ok(message)) => self.hear(message).await,
                        Some(Err(_)) => Some(Ended::Close(1009, "a frame is too large or broken")),
                        None => Some(Ended::Gone),
                    }
                }
                _ = heartbeat.tick() => {
                    if heard.elapsed() > SILENCE_MAX {
                        Some(Ended::Close(CLOSE_SLOW, "no sign of life"))
                    } else {
                        write(self.session.ping(b"")).await
                    }
                }
                _ = rights.tick() => self.check_rights(),
                _ = stopping.wait_for(|stop| *stop) => Some(Ended::Close(CLOSE_RESTART, "come again")),
            };
            if let Some(ended) = step {
                return ended;
            }
        }
    }

    fn check_rights(&self) -> Option<Ended> {
        let valid = self.holder.is_valid(&self.state.engine.directory(), self.state.engine.now());
        (!valid).then_some(Ended::Close(CLOSE_FORBIDDEN, "the rights are gone"))
    }

    async fn hear(&mut self, message: AggregatedMessage) -> Option<Ended> {
        match message {
            AggregatedMessage::Pong(_) => None,
            AggregatedMessage::Close(_) => Some(Ended::Left),
            // a ping beyond the budget is not answered: an answer would cost what the budget is to save
            AggregatedMessage::Ping(_) if !self.budget.take(Instant::now()) => None,
            AggregatedMessage::Ping(bytes) => write(self.session.pong(&bytes)).await,
            _ if !self.budget.take(Instant::now()) => self.error("rate_limited").await,
            AggregatedMessage::Text(text) => self.frame(text.as_bytes()).await,
            AggregatedMessage::Binary(_) => self.error("unreadable").await,
        }
    }

    async fn frame(&mut self, text: &[u8]) -> Option<Ended> {
        let Ok(frame) = serde_json::from_slice::<ClientFrame>(text) else { return self.error("unreadable").await };
        if self.live.receive(frame) { None } else { self.error("overloaded").await }
    }

    /// An error that is about no topic. What the client wrote is not repeated.
    async fn error(&mut self, code: &'static str) -> Option<Ended> {
        write(self.session.text(format!(r#"{{"type":"error","code":"{code}","topic":null}}"#))).await
    }
}

/// A write in time, or the end of the socket.
async fn write(write: impl Future<Output = Result<(), actix_ws::Closed>>) -> Option<Ended> {
    match timeout(WRITE_MAX, write).await {
        Ok(Ok(())) => None,
        Ok(Err(_)) => Some(Ended::Gone),
        Err(_) => Some(Ended::Close(CLOSE_SLOW, "the client does not read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn only_pages_of_this_origin_or_the_list_open_a_socket() {
        let list = ["https://watch.example".to_owned()];
        let table = [
            (Some("http://127.0.0.1:8080"), "127.0.0.1:8080", true),
            (Some("https://mlinzi.example"), "mlinzi.example", true),
            (Some("https://watch.example"), "mlinzi.example", true),
            (Some("https://evil.example"), "mlinzi.example", false),
            (Some("https://mlinzi.example.evil"), "mlinzi.example", false),
            (Some("http://127.0.0.1:8081"), "127.0.0.1:8080", false),
            (Some("null"), "mlinzi.example", false),
            (None, "mlinzi.example", false),
        ];
        for (origin, host, allowed) in table {
            let mut req = TestRequest::default().insert_header((header::HOST, host));
            if let Some(origin) = origin {
                req = req.insert_header((header::ORIGIN, origin));
            }
            assert_eq!(origin_allowed(req.to_http_request().headers(), &list), allowed, "{origin:?} {host}");
        }
    }

    #[test]
    fn the_subprotocol_is_found_among_others() {
        let table = [
            ("mlinzi.v1", true),
            ("graphql, mlinzi.v1", true),
            ("mlinzi.v2", false),
            ("mlinzi.v11", false),
            ("", false),
        ];
        for (offer, found) in table {
            let req = TestRequest::default().insert_header((header::SEC_WEBSOCKET_PROTOCOL, offer)).to_http_request();
            assert_eq!(offers_subprotocol(req.headers()), found, "{offer}");
        }
    }

    #[test]
    fn a_client_has_a_burst_and_then_a_rate() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let at_once = (0..200).filter(|_| budget.take(start)).count();
        assert_eq!(at_once, FRAMES_BURST as usize);
        let later = start + Duration::from_secs(2);
        assert_eq!((0..200).filter(|_| budget.take(later)).count(), (2.0 * FRAMES_PER_SECOND) as usize);
    }

    #[test]
    fn reasons_have_the_codes_of_the_contract() {
        let code = |reason: CloseReason| match Ended::from(reason) {
            Ended::Close(code, _) => code,
            Ended::Gone | Ended::Left => 0,
        };
        assert_eq!([CloseReason::Slow, CloseReason::Forbidden, CloseReason::Restart].map(code), [4008, 4003, 1012]);
    }
}
