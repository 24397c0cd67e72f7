//! The live hub: one actor that knows who watches what, so that every change is encoded once.
//!
//! Data moves one way: operators' actors leave their newest view in a slot and raise a flag; the hub's tick
//! encodes what changed and hands the same `Arc<str>` to every watcher. Alerts come from the spine, already
//! committed, and are never conflated. A session's outbox is bounded: who does not read is closed (4008).
//!
//! | topic | offsets | epoch |
//! |---|---|---|
//! | `alerts`, `alerts:opr_…` | number of revisions committed in the jurisdiction / of the operator | of the store: outlive the process |
//! | the others | frames since boot | of the boot |

use crate::kernel::{DeadLetter, Progress, Work};
use crate::missed::Missed;
use futures_util::future::LocalBoxFuture;
use models::alert::AlertRevision;
use models::ids::{AlertId, OperatorId, OperatorNo};
use models::jurisdiction::JurisdictionNo;
use models::live::{ClientFrame, Resume, SUBPROTOCOL, Topic};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use tokio::sync::{Notify, mpsc};

/// Frames a session may have waiting before it counts as not reading.
pub const OUTBOX_FRAMES_MAX: usize = 256;
/// Topics one session may hold.
pub const TOPICS_MAX: usize = 256;
/// Alert deltas kept for resuming, per topic.
pub const RING_FRAMES_MAX: usize = 1024;
/// Alerts in a snapshot, newest first.
pub const SNAPSHOT_ALERTS_MAX: usize = 100;

/// What a credential may watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Every topic of the jurisdiction.
    pub market: bool,
    /// The engine's own state.
    pub system: bool,
    /// One operator's topics.
    pub operator: Option<OperatorId>,
    /// Whose.
    pub jurisdiction: JurisdictionNo,
}

/// Why the hub ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// It does not read: 4008.
    Slow,
    /// Its rights are gone: 4003.
    Forbidden,
    /// The engine stops or the hub restarted: 1012, come again.
    Restart,
}

/// The shared end of a session: the hub's reason to close it.
#[derive(Default)]
struct Closing {
    reason: AtomicU8,
    notify: Notify,
}

impl Closing {
    fn close(&self, reason: CloseReason) {
        let code = match reason {
            CloseReason::Slow => 1,
            CloseReason::Forbidden => 2,
            CloseReason::Restart => 3,
        };
        let _ = self.reason.compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire);
        self.notify.notify_one();
    }

    fn reason(&self) -> Option<CloseReason> {
        match self.reason.load(Ordering::Acquire) {
            0 => None,
            1 => Some(CloseReason::Slow),
            2 => Some(CloseReason::Forbidden),
            _ => Some(CloseReason::Restart),
        }
    }
}

type SessionNo = u64;

/// The hub's end of a session.
#[derive(Clone)]
pub struct Outlet {
    no: SessionNo,
    rights: Rights,
    frames: mpsc::Sender<Arc<str>>,
    closing: Arc<Closing>,
}

impl Outlet {
    /// Hands over a frame; a full outbox ends the session.
    fn send(&self, frame: Arc<str>) -> bool {
        match self.frames.try_send(frame) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.closing.close(CloseReason::Slow);
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

/// What the hub hears.
pub enum LiveMsg {
    /// A session exists: it is welcomed.
    Join(Outlet),
    /// A session says something.
    Client(SessionNo, ClientFrame),
    /// A session is gone.
    Leave(SessionNo),
    /// Committed alert revisions, in the order of their offsets.
    Alerts(Arc<[AlertRevision]>),
    /// The clock: send what changed.
    Tick,
}

/// What the hub needs to know about the market, kept by others.
pub trait LiveSource: Send + Sync {
    /// The operator's newest view as JSON, with a number that grows when it changes.
    fn operator(&self, id: OperatorId) -> Option<(u64, Arc<str>)>;
    /// Totals of a jurisdiction.
    fn national(&self, jurisdiction: JurisdictionNo) -> (u64, Arc<str>);
    /// Sources of a jurisdiction.
    fn feeds(&self, jurisdiction: JurisdictionNo) -> (u64, Arc<str>);
    /// State of the engine.
    fn system(&self) -> (u64, Arc<str>);
    /// Jurisdiction and public id of an operator.
    fn operator_of(&self, no: OperatorNo) -> Option<(OperatorId, JurisdictionNo)>;
    /// Does the operator belong there?
    fn belongs(&self, id: OperatorId, jurisdiction: JurisdictionNo) -> bool;
}

/// Where the alert topics stand: read from the store by the hub's factory.
#[derive(Default, Clone)]
pub struct AlertsCheckpoint {
    /// Everything up to this offset of the store is in here; later revisions come as messages.
    pub until: i64,
    /// Revisions so far, by operator.
    pub counts: HashMap<OperatorNo, u64>,
    /// The newest revisions, oldest first.
    pub recent: Vec<AlertRevision>,
}

/// A topic in a jurisdiction.
type Key = (JurisdictionNo, Topic);

#[derive(Default)]
struct MetricTopic {
    offset: u64,
    seen: Option<u64>,
    data: Option<Arc<str>>,
    sessions: HashSet<SessionNo>,
}

#[derive(Default)]
struct AlertTopic {
    offset: u64,
    ring: VecDeque<(u64, Arc<str>)>,
    current: BTreeMap<AlertId, AlertRevision>,
    order: VecDeque<AlertId>,
    sessions: HashSet<SessionNo>,
}

impl AlertTopic {
    /// Takes in a revision; gives its frame.
    fn push(&mut self, topic: Topic, revision: &AlertRevision) -> Arc<str> {
        self.offset += 1;
        let frame = delta(topic, self.offset, AlertView::of(revision));
        self.ring.push_back((self.offset, Arc::clone(&frame)));
        if self.ring.len() > RING_FRAMES_MAX {
            self.ring.pop_front();
        }
        if self.current.insert(revision.id, revision.clone()).is_none() {
            self.order.push_back(revision.id);
        }
        while self.order.len() > SNAPSHOT_ALERTS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.current.remove(&oldest);
            }
        }
        frame
    }

    fn snapshot(&self) -> AlertsView<'_> {
        AlertsView { items: self.order.iter().rev().filter_map(|id| self.current.get(id)).map(AlertView::of).collect() }
    }
}

/// An alert as it is shown: the revision's fields, times in RFC 3339.
#[derive(Serialize)]
pub struct AlertView<'a> {
    /// The alert.
    pub id: AlertId,
    /// Rule.
    pub rule: &'a str,
    /// Version of the rule.
    pub rule_version: u32,
    /// Raised, corrected, withdrawn.
    pub kind: models::alert::RevisionKind,
    /// Urgency.
    pub severity: models::alert::Severity,
    /// What it speaks about.
    pub subject: &'a models::alert::Subject,
    /// Start of the window.
    pub window_start: models::ts::Ts,
    /// End of the window.
    pub window_end: models::ts::Ts,
    /// Time by the source's clock.
    pub at: models::ts::Ts,
    /// Why.
    pub evidence: &'a models::alert::Evidence,
}

impl<'a> AlertView<'a> {
    /// The view of a revision.
    pub fn of(revision: &'a AlertRevision) -> Self {
        Self {
            id: revision.id,
            rule: &revision.rule,
            rule_version: revision.rule_version,
            kind: revision.kind,
            severity: revision.severity,
            subject: &revision.subject,
            window_start: revision.window.start,
            window_end: revision.window.end,
            at: revision.at,
            evidence: &revision.evidence,
        }
    }
}

#[derive(Serialize)]
struct AlertsView<'a> {
    items: Vec<AlertView<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ServerFrame<'a, T: Serialize> {
    Welcome { protocol: &'a str, epoch: &'a str, heartbeat_ms: u32 },
    Snapshot { topic: String, offset: u64, recovered: bool, data: T },
    Delta { topic: String, offset: u64, data: T },
    Gap { topic: String },
    Resumed { topic: String, offset: u64, recovered: bool },
    Error { code: &'a str, topic: &'a str },
}

/// A frame without data.
type Notice<'a> = ServerFrame<'a, ()>;

fn encode<T: Serialize>(frame: &ServerFrame<'_, T>) -> Arc<str> {
    // serialising our own structs to a string cannot fail: no map keys but strings, no I/O
    serde_json::to_string(frame).unwrap_or_default().into()
}

fn delta<T: Serialize>(topic: Topic, offset: u64, data: T) -> Arc<str> {
    encode(&ServerFrame::Delta { topic: topic.to_string(), offset, data })
}

fn raw(json: &str) -> Option<&RawValue> {
    serde_json::from_str(json).ok()
}

struct Session {
    outlet: Outlet,
    topics: HashSet<Topic>,
}

/// The hub's state in one generation.
pub struct LiveHub {
    source: Arc<dyn LiveSource>,
    store_epoch: String,
    epoch: String,
    sessions: HashMap<SessionNo, Session>,
    metrics: HashMap<Key, MetricTopic>,
    alerts: HashMap<Key, AlertTopic>,
    /// Offset of the store up to which revisions were taken in.
    until: i64,
    missed: Missed,
    gauge: Arc<AtomicU64>,
}

impl LiveHub {
    /// Rebuilds the alert topics from the store's newest revisions. `store_epoch` is the store's id,
    /// `boot` the process's (and hub generation's).
    pub fn new(
        source: Arc<dyn LiveSource>,
        store_epoch: &str,
        boot: &str,
        checkpoint: &AlertsCheckpoint,
        missed: Missed,
        gauge: Arc<AtomicU64>,
    ) -> Self {
        let mut alerts: HashMap<Key, AlertTopic> = HashMap::new();
        let mut totals: HashMap<Key, u64> = HashMap::new();
        for (no, count) in &checkpoint.counts {
            if let Some((id, jurisdiction)) = source.operator_of(*no) {
                *totals.entry((jurisdiction, Topic::Alerts)).or_default() += count;
                *totals.entry((jurisdiction, Topic::OperatorAlerts(id))).or_default() += count;
            }
        }
        let mut recent: HashMap<Key, u64> = HashMap::new();
        let keyed = |revision: &AlertRevision| {
            source.operator_of(revision.operator_no).map(|(id, j)| [(j, Topic::Alerts), (j, Topic::OperatorAlerts(id))])
        };
        for key in checkpoint.recent.iter().filter_map(keyed).flatten() {
            *recent.entry(key).or_default() += 1;
        }
        for (key, total) in &totals {
            let start = total.saturating_sub(recent.get(key).copied().unwrap_or(0));
            alerts.insert(*key, AlertTopic { offset: start, ..AlertTopic::default() });
        }
        for revision in &checkpoint.recent {
            for key in keyed(revision).into_iter().flatten() {
                alerts.entry(key).or_default().push(key.1, revision);
            }
        }
        gauge.store(0, Ordering::Relaxed);
        Self {
            source,
            store_epoch: store_epoch.to_owned(),
            epoch: format!("{store_epoch}.{boot}"),
            sessions: HashMap::new(),
            metrics: HashMap::new(),
            alerts,
            until: checkpoint.until,
            missed,
            gauge,
        }
    }

    fn apply(&mut self, msg: &LiveMsg) {
        self.missed.check("an alert");
        match msg {
            LiveMsg::Join(outlet) => self.join(outlet),
            LiveMsg::Client(no, ClientFrame::Subscribe { topics, resume }) => {
                self.subscribe(*no, topics, resume.as_ref());
            }
            LiveMsg::Client(no, ClientFrame::Unsubscribe { topics }) => self.unsubscribe(*no, topics),
            LiveMsg::Leave(no) => self.leave(*no),
            LiveMsg::Alerts(revisions) => revisions.iter().for_each(|r| self.alert(r)),
            LiveMsg::Tick => self.tick(),
        }
        self.gauge.store(self.sessions.len() as u64, Ordering::Relaxed);
    }

    fn join(&mut self, outlet: &Outlet) {
        let welcome: ServerFrame<'_, ()> =
            ServerFrame::Welcome { protocol: SUBPROTOCOL, epoch: &self.epoch, heartbeat_ms: 15_000 };
        if outlet.send(encode(&welcome)) {
            self.sessions.insert(outlet.no, Session { outlet: outlet.clone(), topics: HashSet::new() });
        }
    }

    fn allowed(&self, rights: &Rights, topic: Topic) -> bool {
        match topic {
            Topic::National | Topic::Alerts | Topic::Feeds => rights.market,
            Topic::System => rights.system,
            Topic::Operator(id) | Topic::OperatorAlerts(id) => {
                rights.operator == Some(id) || rights.market && self.source.belongs(id, rights.jurisdiction)
            }
        }
    }

    fn subscribe(&mut self, no: SessionNo, topics: &[String], resume: Option<&Resume>) {
        let Some(session) = self.sessions.get(&no) else { return };
        let (outlet, mut held) = (session.outlet.clone(), session.topics.len());
        let refuse = |code: &'static str, topic: &str| {
            let short: String = topic.chars().take(80).collect();
            outlet.send(encode(&Notice::Error { code, topic: &short }))
        };
        for name in topics {
            let Some(topic) = Topic::parse(name) else {
                refuse("unknown_topic", name);
                continue;
            };
            if !self.allowed(&outlet.rights, topic) {
                refuse("forbidden", name);
                continue;
            }
            if held >= TOPICS_MAX {
                refuse("too_many_topics", name);
                continue;
            }
            held += 1;
            let sent = if topic.is_alerts() {
                self.subscribe_alerts(&outlet, topic, resume)
            } else {
                self.subscribe_metric(&outlet, topic, resume)
            };
            if !sent {
                return self.leave(no);
            }
            if let Some(session) = self.sessions.get_mut(&no) {
                session.topics.insert(topic);
            }
        }
    }

    fn subscribe_alerts(&mut self, outlet: &Outlet, topic: Topic, resume: Option<&Resume>) -> bool {
        let known = resume.and_then(|r| {
            let same_store = r.epoch.split('.').next() == Some(self.store_epoch.as_str());
            r.offsets.get(&topic.to_string()).map(|offset| same_store.then_some(*offset))
        });
        let state = self.alerts.entry((outlet.rights.jurisdiction, topic)).or_default();
        state.sessions.insert(outlet.no);
        let name = topic.to_string();
        let snapshot = |state: &AlertTopic| {
            outlet.send(encode(&ServerFrame::Snapshot {
                topic: topic.to_string(),
                offset: state.offset,
                recovered: false,
                data: state.snapshot(),
            }))
        };
        let Some(known) = known else { return snapshot(state) };
        let first = state.ring.front().map_or(state.offset + 1, |(offset, _)| *offset);
        match known {
            Some(offset) if offset <= state.offset && offset + 1 >= first => {
                let resumed: ServerFrame<'_, ()> = ServerFrame::Resumed { topic: name, offset, recovered: true };
                outlet.send(encode(&resumed))
                    && state.ring.iter().filter(|(o, _)| *o > offset).all(|(_, frame)| outlet.send(Arc::clone(frame)))
            }
            _ => outlet.send(encode(&Notice::Gap { topic: name })) && snapshot(state),
        }
    }

    fn subscribe_metric(&mut self, outlet: &Outlet, topic: Topic, resume: Option<&Resume>) -> bool {
        let key = (outlet.rights.jurisdiction, topic);
        let source = Arc::clone(&self.source);
        let state = self.metrics.entry(key).or_default();
        if state.data.is_none()
            && let Some((version, data)) = read(source.as_ref(), key)
        {
            // nobody watched while it changed: that is one step, or a client that held the old state would
            // be told it missed nothing
            state.offset += u64::from(state.seen.is_some_and(|seen| seen != version));
            state.seen = Some(version);
            state.data = Some(data);
        }
        state.sessions.insert(outlet.no);
        let held =
            resume.and_then(|r| r.offsets.get(&topic.to_string()).map(|o| (r.epoch == self.epoch).then_some(*o)));
        match held {
            Some(Some(offset)) if offset == state.offset => {
                let resumed: ServerFrame<'_, ()> =
                    ServerFrame::Resumed { topic: topic.to_string(), offset, recovered: true };
                return outlet.send(encode(&resumed));
            }
            Some(_) if !outlet.send(encode(&Notice::Gap { topic: topic.to_string() })) => return false,
            _ => {}
        }
        let data = state.data.as_deref().and_then(raw);
        let (topic, offset) = (topic.to_string(), state.offset);
        outlet.send(encode(&ServerFrame::Snapshot { topic, offset, recovered: false, data }))
    }

    fn unsubscribe(&mut self, no: SessionNo, topics: &[String]) {
        let Some(session) = self.sessions.get_mut(&no) else { return };
        let jurisdiction = session.outlet.rights.jurisdiction;
        for topic in topics.iter().filter_map(|name| Topic::parse(name)) {
            session.topics.remove(&topic);
            remove(&mut self.metrics, &mut self.alerts, (jurisdiction, topic), no);
        }
    }

    fn leave(&mut self, no: SessionNo) {
        let Some(session) = self.sessions.remove(&no) else { return };
        for topic in session.topics {
            remove(&mut self.metrics, &mut self.alerts, (session.outlet.rights.jurisdiction, topic), no);
        }
    }

    fn alert(&mut self, revision: &AlertRevision) {
        if revision.offset <= self.until {
            // it was in the queue while the hub before this one died, and in the store when this one was built
            return;
        }
        self.until = revision.offset;
        let Some((id, jurisdiction)) = self.source.operator_of(revision.operator_no) else { return };
        for topic in [Topic::Alerts, Topic::OperatorAlerts(id)] {
            let state = self.alerts.entry((jurisdiction, topic)).or_default();
            let frame = state.push(topic, revision);
            let sessions: Vec<SessionNo> = state.sessions.iter().copied().collect();
            self.broadcast(&sessions, &frame);
        }
    }

    fn tick(&mut self) {
        let mut frames = Vec::new();
        for (key, state) in self.metrics.iter_mut().filter(|(_, state)| !state.sessions.is_empty()) {
            let Some((version, data)) = read(self.source.as_ref(), *key) else { continue };
            if state.seen == Some(version) {
                continue;
            }
            state.seen = Some(version);
            state.offset += 1;
            frames.push((delta(key.1, state.offset, raw(&data)), state.sessions.iter().copied().collect::<Vec<_>>()));
            state.data = Some(data);
        }
        for (frame, sessions) in frames {
            self.broadcast(&sessions, &frame);
        }
    }

    fn broadcast(&mut self, sessions: &[SessionNo], frame: &Arc<str>) {
        for no in sessions {
            let alive = self.sessions.get(no).is_some_and(|session| session.outlet.send(Arc::clone(frame)));
            if !alive {
                self.leave(*no);
            }
        }
    }
}

fn read(source: &dyn LiveSource, (jurisdiction, topic): Key) -> Option<(u64, Arc<str>)> {
    match topic {
        Topic::National => Some(source.national(jurisdiction)),
        Topic::Feeds => Some(source.feeds(jurisdiction)),
        Topic::System => Some(source.system()),
        Topic::Operator(id) => source.operator(id),
        Topic::Alerts | Topic::OperatorAlerts(_) => None,
    }
}

fn remove(metrics: &mut HashMap<Key, MetricTopic>, alerts: &mut HashMap<Key, AlertTopic>, key: Key, no: SessionNo) {
    if let Some(state) = metrics.get_mut(&key) {
        state.sessions.remove(&no);
        if state.sessions.is_empty() {
            // the offset goes on: a later subscriber must never see one twice
            state.data = None;
        }
    }
    if let Some(state) = alerts.get_mut(&key) {
        state.sessions.remove(&no);
    }
}

impl Drop for LiveHub {
    fn drop(&mut self) {
        for session in self.sessions.values() {
            session.outlet.closing.close(CloseReason::Restart);
        }
    }
}

impl Work for LiveHub {
    type Msg = LiveMsg;

    fn handle<'a>(&'a mut self, msg: Arc<LiveMsg>, _progress: &'a Progress) -> LocalBoxFuture<'a, ()> {
        self.apply(&msg);
        Box::pin(std::future::ready(()))
    }

    fn dead_letter<'a>(
        &'a mut self,
        _record: Arc<LiveMsg>,
        _letter: &'a DeadLetter,
        _progress: &'a Progress,
    ) -> LocalBoxFuture<'a, ()> {
        // every session was closed with the hub that died; clients come back and resume
        Box::pin(std::future::ready(()))
    }
}

/// Who watches with which key, so that a dead key ends its sessions.
type SessionsByKey = HashMap<models::ids::KeyId, Vec<(SessionNo, Arc<Closing>)>>;

/// What `web` holds: makes sessions.
#[derive(Clone)]
pub struct LiveHandle {
    hub: crate::kernel::Handle<LiveMsg>,
    missed: Missed,
    next: Arc<AtomicU64>,
    by_key: Arc<Mutex<SessionsByKey>>,
    sessions: Arc<AtomicU64>,
}

/// Sessions of one key at most: one operator must not take the sockets of all.
pub const SESSIONS_PER_KEY_MAX: usize = 64;
/// Sessions at most. They share the server's connections with lookups, which go first.
pub const SESSIONS_MAX: u64 = 4_096;

/// Why there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LiveUnavailable {
    /// The hub's queue is full, or it starts.
    #[error("the live hub takes no session now")]
    Busy,
    /// There are [`SESSIONS_MAX`].
    #[error("the live hub has as many sessions as it takes")]
    Full,
    /// The key has [`SESSIONS_PER_KEY_MAX`].
    #[error("the key has as many sessions as it may")]
    KeyFull,
}

impl LiveHandle {
    /// Wraps the hub's queue; `sessions` is the gauge the hub keeps.
    pub fn new(hub: crate::kernel::Handle<LiveMsg>, missed: Missed, sessions: Arc<AtomicU64>) -> Self {
        Self { hub, missed, next: Arc::new(AtomicU64::new(1)), by_key: Arc::default(), sessions }
    }

    /// To be raised where the hub did not hear of an alert.
    pub(crate) fn missed(&self) -> &Missed {
        &self.missed
    }

    /// The hub's queue.
    pub fn hub(&self) -> &crate::kernel::Handle<LiveMsg> {
        &self.hub
    }

    /// Sessions at the hub.
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Starts a session with an empty outbox; the welcome is its first frame.
    pub fn connect(&self, rights: Rights, key: Option<models::ids::KeyId>) -> Result<LiveSession, LiveUnavailable> {
        if self.sessions() >= SESSIONS_MAX {
            return Err(LiveUnavailable::Full);
        }
        // held to the end: two handshakes must not both take the last place
        let mut by_key = self.by_key.lock();
        if let Some(list) = key.and_then(|key| by_key.get_mut(&key)) {
            list.retain(|(_, closing)| Arc::strong_count(closing) > 1);
            if list.len() >= SESSIONS_PER_KEY_MAX {
                return Err(LiveUnavailable::KeyFull);
            }
        }
        let no = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, outbox) = mpsc::channel(OUTBOX_FRAMES_MAX);
        let closing = Arc::new(Closing::default());
        let outlet = Outlet { no, rights, frames: sender, closing: Arc::clone(&closing) };
        self.hub.try_send(LiveMsg::Join(outlet)).map_err(|_| LiveUnavailable::Busy)?;
        if let Some(key) = key {
            by_key.entry(key).or_default().push((no, Arc::clone(&closing)));
        }
        Ok(LiveSession { no, hub: self.hub.clone(), outbox, closing })
    }

    /// Ends every session made with a key.
    pub fn revoke(&self, key: models::ids::KeyId) {
        for (_, closing) in self.by_key.lock().remove(&key).unwrap_or_default() {
            closing.close(CloseReason::Forbidden);
        }
    }
}

/// One watcher: frames to write, a way to say something. Dropping it leaves every topic.
pub struct LiveSession {
    no: SessionNo,
    hub: crate::kernel::Handle<LiveMsg>,
    /// Ready JSON text frames.
    pub outbox: mpsc::Receiver<Arc<str>>,
    closing: Arc<Closing>,
}

impl LiveSession {
    /// Passes on what the client said; false where the hub is too busy to hear it.
    pub fn receive(&self, frame: ClientFrame) -> bool {
        self.hub.try_send(LiveMsg::Client(self.no, frame)).is_ok()
    }

    /// The hub's reason to end the session, if it has one.
    pub fn closed(&self) -> Option<CloseReason> {
        self.closing.reason()
    }

    /// Waits for that reason.
    pub async fn wait_closed(&self) -> CloseReason {
        loop {
            if let Some(reason) = self.closing.reason() {
                return reason;
            }
            self.closing.notify.notified().await;
        }
    }

    /// The next frame or the reason to stop, whichever comes first.
    pub async fn next(&mut self) -> Result<Arc<str>, CloseReason> {
        if let Some(reason) = self.closing.reason() {
            return Err(reason);
        }
        tokio::select! {
            biased;
            () = self.closing.notify.notified() => Err(self.closing.reason().unwrap_or(CloseReason::Restart)),
            frame = self.outbox.recv() => frame.ok_or(self.closing.reason().unwrap_or(CloseReason::Restart)),
        }
    }
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        if self.hub.try_send(LiveMsg::Leave(self.no)).is_err() {
            // the hub sees the closed outbox at its next frame
            tracing::debug!("live session left while the hub was busy");
        }
    }
}
