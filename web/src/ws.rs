//! `/ws/dashboards/realtime`: the body of the handshake's answer is the socket.
//!
//! The connection's own task asks that body what to write whenever there is room, and on the way the body hears what the
//! client said: no task, no timer and no channel of its own for a socket. Frames come prepared from the hub, head and all,
//! and are shared by everybody. A client that does not read costs nothing but its own socket: what waits for it is bounded
//! in bytes and time, and because a close frame cannot reach who does not read, the kernel ends the connection
//! (`TCP_USER_TIMEOUT`, see `server.rs`).

use std::any::Any;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_http::ws::{Codec, Frame as Heard, Item, handshake};
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{Extensions, Payload};
use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use actix_ws::CloseCode;
use actors::live::{CloseReason, Frame, LiveSession, Opcode};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use models::live::{CLOSE_FORBIDDEN, CLOSE_SLOW, CLOSE_UNAUTHENTICATED, ClientFrame, SUBPROTOCOL};
use tokio::time::timeout;
use tokio_util::codec::Decoder;

use crate::live::{self, Watching, admit, origin_allowed};
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// Largest frame and largest message of a client, bytes.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Bytes taken from the outbox at once.
const TAKEN_BYTES: usize = 32 << 10;
/// Time a close frame may take.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// Frames a second a client may send on average; the burst is [`FRAMES_BURST`].
const FRAMES_PER_SECOND: f64 = 5.0;
/// Frames a client may send at once.
const FRAMES_BURST: f64 = 50.0;
/// Close code: the service restarts, come again (RFC 6455 registry).
const CLOSE_RESTART: u16 = 1012;
/// Close code: a frame is too large or broken.
const CLOSE_BROKEN: u16 = 1009;
/// Close code: all is well.
const CLOSE_NORMAL: u16 = 1000;

/// For `HttpServer::on_connect`: a place for what is known of the connection's address.
pub fn remember_connection(_io: &dyn Any, data: &mut Extensions) {
    data.insert(crate::rate::AddressSlot::default());
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
    let admitted = admit(&state, &req, origin_allowed);
    match admitted {
        Err(problem) if problem.code == Code::Unauthenticated && offered => refuse(&state, &req, body),
        Err(problem) => Err(problem),
        Ok(_) if !offered => Err(Problem::new(Code::Unreadable, "offer the subprotocol mlinzi.v1")),
        Ok((rights, holder)) => accept(&state, &req, body, rights, holder),
    }
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn offers_subprotocol(headers: &HeaderMap) -> bool {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).filter_map(|v| v.to_str().ok());
    offered.flat_map(|list| list.split(',')).any(|name| name.trim() == SUBPROTOCOL)
}

/// Nobody is signed in: a browser sees the reason only in a close code, so the socket is opened to close it.
fn refuse(state: &AppState, req: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Problem> {
    let (response, session, _) =
        actix_ws::handle_with_protocols(req, body, &[SUBPROTOCOL]).map_err(|_| incomplete())?;
    state.metrics.socket_closed(CLOSE_UNAUTHENTICATED);
    let reason = actix_ws::CloseReason {
        code: CloseCode::from(CLOSE_UNAUTHENTICATED),
        description: Some("not signed in".to_owned()),
    };
    // a client that does not read does not get it
    actix_web::rt::spawn(async move { timeout(CLOSE_MAX, session.close(Some(reason))).await });
    Ok(response)
}

fn incomplete() -> Problem {
    Problem::new(Code::Unreadable, "the websocket handshake is incomplete")
}

fn accept(
    state: &AppState,
    req: &HttpRequest,
    body: web::Payload,
    rights: actors::live::Rights,
    holder: live::Holder,
) -> Result<HttpResponse, Problem> {
    let mut answer = handshake(req.head()).map_err(|_| incomplete())?;
    let live = live::connect(state, rights, holder.key)?;
    let watching = Watching::begin(state, &live, holder, true);
    let socket = Socket {
        payload: body.into_inner(),
        unread: BytesMut::new(),
        codec: Codec::new().max_size(FRAME_BYTES_MAX),
        message: None,
        live,
        watching,
        budget: Budget::new(Instant::now()),
        state: state.clone(),
        over: false,
    };
    let answer = answer.insert_header((header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)).message_body(socket);
    let answer = answer.map_err(|_| Problem::new(Code::Internal, "the websocket has no head"))?;
    Ok(answer.map_into_boxed_body().into())
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
            CloseReason::Silent => Self::Close(CLOSE_SLOW, "no sign of life"),
            CloseReason::Forbidden => Self::Close(CLOSE_FORBIDDEN, "the rights are gone"),
            CloseReason::Restart => Self::Close(CLOSE_RESTART, "come again"),
            CloseReason::Gone => Self::Gone,
        }
    }
}

impl Ended {
    /// Code and reason of the close frame; none where nobody is there to read it.
    fn close(&self) -> Option<(u16, &'static str)> {
        match self {
            Self::Gone => None,
            Self::Left => Some((CLOSE_NORMAL, "")),
            Self::Close(code, why) => Some((*code, why)),
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

/// An open socket: asked for what to write, it also hears what came.
struct Socket {
    payload: Payload,
    /// What came and is no whole frame yet.
    unread: BytesMut,
    codec: Codec,
    /// A text that comes in several frames.
    message: Option<Vec<u8>>,
    live: LiveSession,
    watching: Watching,
    budget: Budget,
    state: AppState,
    over: bool,
}

impl MessageBody for Socket {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let socket = self.get_mut();
        if socket.over {
            return Poll::Ready(None);
        }
        let ended = match socket.hear(cx) {
            Some(ended) => ended,
            None => {
                let mut frames = Vec::new();
                match socket.live.outbox().poll_take(cx, TAKEN_BYTES, &mut frames) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(None) => return Poll::Ready(Some(Ok(joined(&frames)))),
                    Poll::Ready(Some(reason)) => reason.into(),
                }
            }
        };
        socket.over = true;
        if let Ended::Close(code, _) = ended {
            socket.state.metrics.socket_closed(code);
        }
        let close = ended.close().map(|(code, why)| {
            Frame::control(Opcode::Close, &[&code.to_be_bytes()[..], why.as_bytes()].concat()).wire().clone()
        });
        Poll::Ready(close.map(Ok))
    }
}

/// Frames as they go over the wire; a single one is not copied.
fn joined(frames: &[Frame]) -> Bytes {
    match frames {
        [one] => one.wire().clone(),
        many => many.iter().map(|frame| &frame.wire()[..]).collect::<Vec<_>>().concat().into(),
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // who did not read was not asked again
        if !self.over
            && let Some(Ended::Close(code, _)) = self.live.outbox().closed().map(Ended::from)
        {
            self.state.metrics.socket_closed(code);
        }
    }
}

impl Socket {
    /// Takes in everything that came.
    fn hear(&mut self, cx: &mut Context<'_>) -> Option<Ended> {
        loop {
            let bytes = match Pin::new(&mut self.payload).poll_next(cx) {
                Poll::Pending => return None,
                Poll::Ready(Some(Ok(bytes))) => bytes,
                Poll::Ready(Some(Err(_)) | None) => return Some(Ended::Gone),
            };
            self.watching.hear();
            self.unread.extend_from_slice(&bytes);
            loop {
                match self.codec.decode(&mut self.unread) {
                    Ok(Some(frame)) => {
                        let ended = self.take(frame);
                        if ended.is_some() {
                            return ended;
                        }
                    }
                    Ok(None) => break,
                    Err(_) => return Some(Ended::Close(CLOSE_BROKEN, "a frame is too large or broken")),
                }
            }
            if self.unread.is_empty() {
                // whoever watches says little, and is many
                self.unread = BytesMut::new();
            }
        }
    }

    fn take(&mut self, frame: Heard) -> Option<Ended> {
        let text = match frame {
            Heard::Pong(_) => return None,
            Heard::Close(_) => return Some(Ended::Left),
            // a ping beyond the budget is not answered: an answer would cost what the budget is to save
            Heard::Ping(_) if !self.budget.take(Instant::now()) => return None,
            Heard::Ping(bytes) => return self.answer(Frame::control(Opcode::Pong, &bytes)),
            Heard::Text(bytes) => bytes.into(),
            Heard::Binary(_) => return self.refuse("unreadable"),
            Heard::Continuation(item) => match self.gather(item) {
                Ok(Some(text)) => text,
                Ok(None) => return None,
                Err(ended) => return Some(ended),
            },
        };
        if !self.budget.take(Instant::now()) {
            return self.refuse("rate_limited");
        }
        match serde_json::from_slice::<ClientFrame>(&text).map(|frame| self.live.receive(frame)) {
            Ok(true) => None,
            Ok(false) => self.refuse("overloaded"),
            Err(_) => self.refuse("unreadable"),
        }
    }

    /// A text in several frames, once it is whole.
    fn gather(&mut self, item: Item) -> Result<Option<Vec<u8>>, Ended> {
        let (bytes, is_last) = match item {
            Item::FirstText(bytes) | Item::FirstBinary(bytes) => {
                self.message = Some(Vec::new());
                (bytes, false)
            }
            Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
        };
        let message = self.message.get_or_insert_default();
        if message.len() + bytes.len() > FRAME_BYTES_MAX {
            return Err(Ended::Close(CLOSE_BROKEN, "a frame is too large or broken"));
        }
        message.extend_from_slice(&bytes);
        Ok(if is_last { self.message.take() } else { None })
    }

    /// An error that is about no topic. What the client wrote is not repeated.
    fn refuse(&self, code: &'static str) -> Option<Ended> {
        self.answer(Frame::text_of(&format!(r#"{{"type":"error","code":"{code}","topic":null}}"#)))
    }

    fn answer(&self, frame: Frame) -> Option<Ended> {
        // where the session is over its outbox says why
        self.live.outbox().push(&[frame]);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

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
        let code = |reason: CloseReason| Ended::from(reason).close().map(|(code, _)| code);
        let reasons = [CloseReason::Slow, CloseReason::Silent, CloseReason::Forbidden, CloseReason::Restart];
        assert_eq!(reasons.map(code), [4008, 4008, 4003, 1012].map(Some));
        assert_eq!(code(CloseReason::Gone), None);
    }
}
