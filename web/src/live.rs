//! Who watches, over a socket or an event stream, and whether it still may.
//!
//! One task looks after all of them a few times a second: rights that are gone, clients that do not read, and clients that
//! give no sign of life. Ten thousand timers of their own would wake the workers thousands of times a second for nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap};
use actors::directory::Directory;
use actors::live::{CloseReason, Frame, LiveSession, LiveUnavailable, Opcode, Outbox, Rights, SessionNo};
use models::ids::KeyId;
use models::ts::Ts;
use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;

use crate::extractors::caller::{authenticate, still_valid};
use crate::links::COOKIE;
use crate::metrics::AuthFailure;
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// How often everybody is looked at: a revoked key ends its sessions within a second.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Looks between two signs of life from us: 15 s, as the welcome says.
const LOOKS_PER_HEARTBEAT: u64 = actors::live::HEARTBEAT_MS as u64 / 250;
/// A client that answers pings, and from which nothing came for so long, is gone.
pub const SILENCE_MAX: Duration = Duration::from_secs(40);

/// Whose session it is, and how long.
#[derive(Clone, Copy)]
pub(crate) struct Holder {
    /// The key it was opened with, or that asked for the page's link.
    pub(crate) key: Option<KeyId>,
    /// First instant at which a page's session is over.
    until: Option<Ts>,
}

impl Holder {
    fn is_valid(&self, directory: &Directory, now: Ts) -> bool {
        self.key.is_none_or(|key| still_valid(directory, key, now)) && self.until.is_none_or(|until| now < until)
    }
}

/// A bearer key, or the page's cookie from its own origin.
pub(crate) fn admit(
    state: &AppState,
    req: &HttpRequest,
    is_own: fn(&HeaderMap, &[String]) -> bool,
) -> Result<(Rights, Holder), Problem> {
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
    if !is_own(req.headers(), &state.options.origins) {
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

/// Is the origin that the browser names the server's own, or on the list? One that names none is none.
pub(crate) fn origin_allowed(headers: &HeaderMap, origins: &[String]) -> bool {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return false };
    if origins.iter().any(|o| o.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    authority.zip(text(header::HOST)).is_some_and(|(a, host)| a.eq_ignore_ascii_case(host))
}

/// A session at the hub.
///
/// # Errors
/// 429 or 503.
pub(crate) fn connect(state: &AppState, rights: Rights, key: Option<KeyId>) -> Result<LiveSession, Problem> {
    state.engine.live().connect(rights, key).map_err(|refused| match refused {
        LiveUnavailable::Busy => Problem::new(Code::Overloaded, "the live hub takes no session now"),
        LiveUnavailable::Full => Problem::new(Code::Overloaded, "the live hub has as many sessions as it takes"),
        LiveUnavailable::KeyFull => Problem::rate_limited("the key has as many sessions as it may", 1),
    })
}

/// One who watches.
struct Peer {
    outbox: Arc<Outbox>,
    holder: Holder,
    /// When something came from it last, milliseconds since [`Watchers::start`]; never looked at where pings have no
    /// answer.
    heard: Option<AtomicU64>,
}

/// Everybody who watches.
pub(crate) struct Watchers {
    peers: Mutex<HashMap<SessionNo, Arc<Peer>>>,
    start: Instant,
    /// Nobody is taken any more.
    stopped: AtomicBool,
}

impl Default for Watchers {
    fn default() -> Self {
        Self { peers: Mutex::default(), start: Instant::now(), stopped: AtomicBool::new(false) }
    }
}

/// A session that is looked after until this is dropped.
pub(crate) struct Watching {
    state: AppState,
    no: SessionNo,
    peer: Arc<Peer>,
}

impl Watching {
    /// Looks after a session from now on. `answers`: its client answers pings.
    pub(crate) fn begin(state: &AppState, live: &LiveSession, holder: Holder, answers: bool) -> Self {
        let watchers = &state.watchers;
        let heard = answers.then(|| AtomicU64::new(watchers.elapsed()));
        let outbox = Arc::clone(live.outbox());
        let peer = Arc::new(Peer { outbox, holder, heard });
        watchers.peers.lock().insert(live.no(), Arc::clone(&peer));
        if watchers.stopped.load(Ordering::Acquire) {
            peer.outbox.close(CloseReason::Restart);
        }
        state.metrics.sockets.inc();
        Self { state: state.clone(), no: live.no(), peer }
    }

    /// Something came from the client.
    pub(crate) fn hear(&self) {
        if let Some(heard) = &self.peer.heard {
            heard.store(self.state.watchers.elapsed(), Ordering::Relaxed);
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.state.watchers.peers.lock().remove(&self.no);
        self.state.metrics.sockets.dec();
    }
}

impl Watchers {
    fn elapsed(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// Asks everybody to come again, and whoever comes from now on.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.peers.lock().values().for_each(|peer| peer.outbox.close(CloseReason::Restart));
    }

    fn look(&self, state: &AppState, round: u64, ping: &[Frame]) {
        let peers: Vec<(SessionNo, Arc<Peer>)> =
            self.peers.lock().iter().map(|(no, peer)| (*no, Arc::clone(peer))).collect();
        let (directory, at, now, elapsed) =
            (state.engine.directory(), state.engine.now(), Instant::now(), self.elapsed());
        for (no, peer) in peers {
            let silent = |heard: &AtomicU64| {
                elapsed.saturating_sub(heard.load(Ordering::Relaxed)) > SILENCE_MAX.as_millis() as u64
            };
            if peer.outbox.closed().is_some() {
                // its connection ends it, at the latest when the kernel gives up on who does not read
                continue;
            }
            if !peer.holder.is_valid(&directory, at) {
                peer.outbox.close(CloseReason::Forbidden);
            } else if peer.outbox.is_stalled(now) {
                peer.outbox.close(CloseReason::Slow);
            } else if peer.heard.as_ref().is_some_and(silent) {
                peer.outbox.close(CloseReason::Silent);
            } else if (round + no).is_multiple_of(LOOKS_PER_HEARTBEAT) {
                // not all of them at once
                peer.outbox.push(ping);
            }
        }
    }
}

/// Looks after everybody who watches, for as long as the server runs.
pub(crate) async fn look_after(state: AppState) {
    let mut interval = tokio::time::interval(LOOK_EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ping = [Frame::control(Opcode::Ping, b"")];
    for round in 0.. {
        interval.tick().await;
        for state in [Some(&state), state.sandbox()].into_iter().flatten() {
            state.watchers.look(state, round, &ping);
        }
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
}
