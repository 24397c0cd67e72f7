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

mod frames;
mod session;

pub use frames::AlertView;
pub use session::{LiveHandle, LiveSession, LiveUnavailable, SESSIONS_MAX, SESSIONS_PER_KEY_MAX};

use frames::{AlertsView, Notice, ServerFrame, delta, encode, raw};

use crate::kernel::{DeadLetter, Progress, Work};
use crate::missed::Missed;
use futures_util::future::LocalBoxFuture;
use models::alert::AlertRevision;
use models::ids::{AlertId, OperatorId, OperatorNo};
use models::jurisdiction::JurisdictionNo;
use models::live::{ClientFrame, Resume, SUBPROTOCOL, Topic};
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
