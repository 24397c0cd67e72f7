//! The live stream as server-sent events: the same topics, rights and limits as the socket, for whoever has only HTTP.
//!
//! An event's data is the socket's frame, encoded once for all. Its id says all that the client then holds, so that one
//! `Last-Event-ID` resumes every topic.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::task::{Context, Poll, ready};

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::{HttpRequest, HttpResponse};
use actors::live::{CloseReason, Frame, LiveSession, Opcode};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use models::live::{CLOSE_FORBIDDEN, CLOSE_SLOW, ClientFrame, Resume, Topic};
use serde::Deserialize;

use crate::live::{Watching, admit, connect, origin_allowed};
use crate::parse;
use crate::problem::{Code, Problem};
use crate::state::AppState;

/// Topics of one stream: each event's id names all of them.
const TOPICS_MAX: usize = 32;
/// Bytes taken from the outbox at once.
const TAKEN_BYTES: usize = 64 << 10;
/// Close code: the service restarts, come again.
const CLOSE_RESTART: u16 = 1012;
/// First line of a stream: how long a browser waits before it comes again, milliseconds.
const RETRY: &str = "retry: 2000\n\n";
/// A sign of life that is no event.
const HEARTBEAT: &str = ":\n\n";

/// Opens the live stream as server-sent events. The data of each event is a frame of the socket; after an event named
/// `close`, whose data says code and reason, the stream ends.
///
/// # Errors
/// 401, 403, 422, 429, 503.
#[utoipa::path(
    get, path = "/api/v1/stream", tag = "live",
    params(
        ("topics" = String, Query, description = "Names of topics, with commas between them: at most 32"),
        ("Last-Event-ID" = Option<String>, Header, description = "Id of the last event that came: epoch, then offsets by topic")
    ),
    responses((status = 200, description = "The frames of the socket as events", content_type = "text/event-stream")),
    security(("bearer" = ["market:read"]), ("cookie" = []))
)]
pub async fn stream(state: AppState, req: HttpRequest) -> Result<HttpResponse, Problem> {
    let (rights, holder) = admit(&state, &req, is_own)?;
    let pairs = parse::query(&req, &["topics"])?;
    let topics = parse::parameter(&pairs, "topics").unwrap_or_default();
    let topics: Vec<String> = topics.split(',').map(ToOwned::to_owned).collect();
    if topics.len() > TOPICS_MAX || topics.iter().any(|name| Topic::parse(name).is_none()) {
        return Err(Problem::field("?topics", "up to 32 names of topics, with commas between them"));
    }
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // nginx would keep events back
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"));
    if req.method() == Method::HEAD {
        return Ok(answer.finish());
    }
    let subscribed: BTreeSet<Topic> = topics.iter().filter_map(|name| Topic::parse(name)).collect();
    let id = req.headers().get("last-event-id").and_then(|id| id.to_str().ok());
    let resume = id.and_then(|id| read_id(id, &subscribed));
    let live = connect(&state, rights, holder.key)?;
    let watching = Watching::begin(&state, &live, holder, false);
    if !live.receive(ClientFrame::Subscribe { topics, resume: resume.clone() }) {
        return Err(Problem::new(Code::Overloaded, "the live hub takes no session now"));
    }
    let mut events = Events { state, live, _watching: watching, held: Held::new(resume), over: false };
    let first = stream::once(std::future::ready(Bytes::from_static(RETRY.as_bytes())));
    let events = first.chain(stream::poll_fn(move |cx| events.poll(cx)));
    Ok(answer.streaming(events.map(Ok::<_, Infallible>)))
}

/// A page of this origin: a browser names no origin where it asks its own server, and then says that it does so.
fn is_own(headers: &HeaderMap, origins: &[String]) -> bool {
    if headers.contains_key(header::ORIGIN) {
        return origin_allowed(headers, origins);
    }
    headers.get("sec-fetch-site").is_some_and(|site| site.as_bytes() == b"same-origin")
}

/// `<epoch>;<topic>=<offset>;…`. An id may come from a stream of other topics: what is not subscribed to here is left out,
/// so that no id of this stream names more than its own.
fn read_id(id: &str, subscribed: &BTreeSet<Topic>) -> Option<Resume> {
    let mut parts = id.split(';');
    let epoch = parts.next().filter(|epoch| !epoch.is_empty())?.to_owned();
    let mut offsets = BTreeMap::new();
    for part in parts {
        let (topic, offset) = part.split_once('=')?;
        let offset = offset.parse().ok()?;
        if Topic::parse(topic).is_some_and(|topic| subscribed.contains(&topic)) {
            offsets.insert(topic.to_owned(), offset);
        }
    }
    Some(Resume { epoch, offsets })
}

/// What the client holds, as far as events have told it.
struct Held {
    epoch: String,
    before: Option<Resume>,
    offsets: BTreeMap<Topic, u64>,
}

impl Held {
    fn new(before: Option<Resume>) -> Self {
        Self { epoch: String::new(), before, offsets: BTreeMap::new() }
    }

    /// The hub's epoch. Alerts that the client has from an earlier boot stay its own until they are resumed: a stream cut
    /// before that must not forget them.
    fn begin(&mut self, epoch: String) {
        let store = |epoch: &str| epoch.split('.').next().map(ToOwned::to_owned);
        let before = self.before.take().filter(|before| store(&before.epoch) == store(&epoch));
        let named = before.into_iter().flat_map(|before| before.offsets);
        let alerts = named.filter_map(|(name, offset)| Some((Topic::parse(&name)?, offset)));
        self.offsets.extend(alerts.filter(|(topic, _)| topic.is_alerts()));
        self.epoch = epoch;
    }

    fn id(&self) -> String {
        let mut id = self.epoch.clone();
        for (topic, offset) in &self.offsets {
            // writing to a string cannot fail
            let _ = write!(id, ";{topic}={offset}");
        }
        id
    }

    /// A frame as an event.
    fn event(&mut self, frame: &Frame, into: &mut Vec<u8>) {
        #[derive(Deserialize)]
        struct Welcome {
            epoch: String,
        }
        if frame.opcode() != Opcode::Text {
            into.extend_from_slice(HEARTBEAT.as_bytes());
            return;
        }
        let text = frame.text();
        if self.epoch.is_empty()
            && let Ok(welcome) = serde_json::from_slice::<Welcome>(&text)
        {
            self.begin(welcome.epoch);
        }
        if let Some((topic, offset)) = frame.position() {
            self.offsets.insert(topic, offset);
            into.extend_from_slice(b"id: ");
            into.extend_from_slice(self.id().as_bytes());
            into.push(b'\n');
        }
        into.extend_from_slice(b"data: ");
        into.extend_from_slice(&text);
        into.extend_from_slice(b"\n\n");
    }
}

struct Events {
    state: AppState,
    live: LiveSession,
    _watching: Watching,
    held: Held,
    over: bool,
}

impl Events {
    /// The next events, or nothing at the end.
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        if self.over {
            return Poll::Ready(None);
        }
        let (mut frames, mut events) = (Vec::new(), Vec::new());
        let Some(reason) = ready!(self.live.outbox().poll_take(cx, TAKEN_BYTES, &mut frames)) else {
            frames.iter().for_each(|frame| self.held.event(frame, &mut events));
            return Poll::Ready(Some(events.into()));
        };
        self.over = true;
        Poll::Ready(closing(reason).map(|(code, why)| {
            self.state.metrics.socket_closed(code);
            format!("event: close\ndata: {{\"code\":{code},\"reason\":\"{why}\"}}\n\n").into()
        }))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // who did not read was not asked again
        if !self.over
            && let Some((code, _)) = self.live.outbox().closed().and_then(closing)
        {
            self.state.metrics.socket_closed(code);
        }
    }
}

/// Code and reason of the last event.
fn closing(reason: CloseReason) -> Option<(u16, &'static str)> {
    match reason {
        CloseReason::Slow | CloseReason::Silent => Some((CLOSE_SLOW, "the client does not read")),
        CloseReason::Forbidden => Some((CLOSE_FORBIDDEN, "the rights are gone")),
        CloseReason::Restart => Some((CLOSE_RESTART, "come again")),
        CloseReason::Gone => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn topics<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<Topic> {
        names.into_iter().map(|name| Topic::parse(name).unwrap()).collect()
    }

    #[test]
    fn an_id_of_many_topics_resumes_all_that_are_subscribed_to_and_no_other() {
        let names: Vec<String> = (0..2 * TOPICS_MAX).map(|n| format!("region:KE-{n:02}")).collect();
        let id: String = names.iter().map(|name| format!(";{name}=7")).collect();
        let subscribed = topics(names[TOPICS_MAX..].iter().map(String::as_str));
        let resume = read_id(&format!("store.boot{id};alerts=81"), &subscribed).unwrap();
        assert_eq!(resume.offsets.len(), TOPICS_MAX);
        assert!(resume.offsets.keys().eq(&names[TOPICS_MAX..]));
        // alerts of an earlier boot are held only where they are watched
        let mut held = Held::new(read_id("store.boot1;alerts=81", &topics(["national"])));
        held.begin("store.boot2".to_owned());
        assert_eq!(held.id(), "store.boot2");
    }

    #[test]
    fn an_id_says_what_is_held() {
        let both = topics(["alerts", "national"]);
        let resume = read_id("store.boot;alerts=81;national=120", &both).unwrap();
        assert_eq!(resume.epoch, "store.boot");
        assert_eq!(
            resume.offsets.into_iter().collect::<Vec<_>>(),
            [("alerts".to_owned(), 81), ("national".to_owned(), 120)]
        );
        for broken in ["", ";alerts=1", "e;alerts", "e;alerts=x", "e;alerts=-1"] {
            assert!(read_id(broken, &both).is_none(), "{broken}");
        }
    }

    #[test]
    fn alerts_of_before_are_not_forgotten_and_figures_of_before_are() {
        let table = [
            ("store.boot1;alerts=81;national=120", "store.boot2", "store.boot2;alerts=81"),
            ("other.boot1;alerts=81;national=120", "store.boot2", "store.boot2"),
        ];
        for (before, epoch, id) in table {
            let mut held = Held::new(read_id(before, &topics(["alerts", "national"])));
            let mut events = Vec::new();
            held.event(&Frame::text_of(&format!(r#"{{"type":"welcome","epoch":"{epoch}"}}"#)), &mut events);
            assert_eq!(held.id(), id);
            assert_eq!(
                String::from_utf8(events).unwrap(),
                format!("data: {{\"type\":\"welcome\",\"epoch\":\"{epoch}\"}}\n\n")
            );
        }
    }

    #[test]
    fn only_a_page_of_this_origin_opens_a_stream_by_its_cookie() {
        let table = [
            (None, None, false),
            (None, Some("same-origin"), true),
            (None, Some("cross-site"), false),
            (Some("http://mlinzi.example"), None, true),
            (Some("http://evil.example"), Some("same-origin"), false),
        ];
        for (origin, site, own) in table {
            let mut req = TestRequest::default().insert_header((header::HOST, "mlinzi.example"));
            req = origin.into_iter().fold(req, |req, origin| req.insert_header((header::ORIGIN, origin)));
            req = site.into_iter().fold(req, |req, site| req.insert_header(("sec-fetch-site", site)));
            assert_eq!(is_own(req.to_http_request().headers(), &[]), own, "{origin:?} {site:?}");
        }
    }
}
