//! The live hub: one actor that knows who watches what, so that every change is encoded once.
//!
//! Data moves one way: operators' actors leave their newest view in a slot and raise a flag; the hub's tick encodes what
//! changed and puts the same bytes into the outbox of every watcher. Alerts come from the spine, already committed, and are
//! never conflated. What happens to a client that does not read is the outbox's business (`outbox.rs`).
//!
//! | topic | offsets | epoch |
//! |---|---|---|
//! | `alerts`, `alerts:opr_…` | number of revisions committed in the jurisdiction / of the operator | of the store: outlive the process |
//! | the others | frames since boot | of the boot |
//!
//! A client that comes back is served from the ring of its topic; what the ring no longer has is read from the store
//! (`recovery.rs`), and what that may not bring is a gap and a snapshot.

mod frames;
mod outbox;
mod recovery;
mod session;
mod topics;

#[cfg(test)]
mod tests;

pub use frames::{AlertView, Frame, Opcode};
pub use outbox::{BEHIND_MAX, CloseReason, Outbox, STALLED_MAX, WAITING_BYTES_MAX, WAITING_FRAMES_MAX};
pub use recovery::{AlertLog, RECOVERED_STEPS_MAX, RECOVERIES_MAX, StoredAlerts, Wanted};
pub use session::{LiveHandle, LiveLimits, LiveSession, LiveUnavailable};

use frames::{Notice, ServerFrame};
use topics::{AlertTopic, MetricTopic};

use crate::kernel::{DeadLetter, Progress, Work};
use crate::missed::Missed;
use futures_util::future::LocalBoxFuture;
use models::alert::AlertRevision;
use models::ids::{OperatorId, OperatorNo};
use models::jurisdiction::JurisdictionNo;
use models::live::{ClientFrame, Resume, SUBPROTOCOL, Topic};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Topics one session may hold.
pub const TOPICS_MAX: usize = 256;
/// Alert deltas kept for resuming, per topic.
pub const RING_FRAMES_MAX: usize = 1024;
/// Alerts in a snapshot, newest first.
pub const SNAPSHOT_ALERTS_MAX: usize = 100;
/// Regions that are watched or were, over all jurisdictions: any code may be asked for, and a topic's offset stays.
pub const REGION_TOPICS_MAX: usize = 1024;
/// Ticks after which sessions that are over are looked for.
const FORGET_EVERY: u64 = 256;
/// What a client is told about how often it hears from us at least, milliseconds.
pub const HEARTBEAT_MS: u32 = 15_000;

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

/// Number of a session of this process.
pub type SessionNo = u64;

/// The hub's end of a session.
#[derive(Clone)]
pub struct Outlet {
    no: SessionNo,
    rights: Rights,
    outbox: Arc<Outbox>,
}

impl Outlet {
    fn send(&self, frames: &[Frame]) -> bool {
        self.outbox.push(frames)
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
    /// Steps that a session missed, from the store; none where they could not be read.
    Recovered(Wanted, Option<Vec<Frame>>),
    /// The clock: send what changed.
    Tick,
}

/// What the hub needs to know about the market, kept by others.
pub trait LiveSource: Send + Sync {
    /// The newest state of a metric topic as JSON, with a number that changes when it does; none where there is none yet.
    fn read(&self, jurisdiction: JurisdictionNo, topic: Topic) -> Option<(u64, Arc<str>)>;
    /// Jurisdiction and public id of an operator; of whoever stands for all of a jurisdiction no id.
    fn operator_of(&self, no: OperatorNo) -> Option<(Option<OperatorId>, JurisdictionNo)>;
    /// The operator's number, where it belongs to the jurisdiction.
    fn operator_no(&self, id: OperatorId, jurisdiction: JurisdictionNo) -> Option<OperatorNo>;
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

/// Where an operator's alerts are heard: in its jurisdiction and, where they are its own, by itself.
fn topics_of(source: &dyn LiveSource, no: OperatorNo) -> impl Iterator<Item = Key> + use<> {
    source.operator_of(no).into_iter().flat_map(|(id, jurisdiction)| {
        let own = id.map(|id| (jurisdiction, Topic::OperatorAlerts(id)));
        std::iter::once((jurisdiction, Topic::Alerts)).chain(own)
    })
}

struct Session {
    outlet: Outlet,
    topics: HashSet<Topic>,
    /// Topics whose missed steps are being read.
    recovering: HashSet<Topic>,
}

/// The hub's state in one generation.
pub struct LiveHub {
    source: Arc<dyn LiveSource>,
    log: Arc<dyn AlertLog>,
    store_epoch: String,
    epoch: String,
    welcome: Frame,
    sessions: HashMap<SessionNo, Session>,
    metrics: HashMap<Key, MetricTopic>,
    alerts: HashMap<Key, AlertTopic>,
    /// Offset of the store up to which revisions were taken in.
    until: i64,
    missed: Missed,
    ticks: u64,
}

impl LiveHub {
    /// Rebuilds the alert topics from the store's newest revisions. `store_epoch` is the store's id,
    /// `boot` the process's (and hub generation's).
    pub fn new(
        source: Arc<dyn LiveSource>,
        log: Arc<dyn AlertLog>,
        store_epoch: &str,
        boot: &str,
        checkpoint: &AlertsCheckpoint,
        missed: Missed,
    ) -> Self {
        let mut alerts: HashMap<Key, AlertTopic> = HashMap::new();
        let mut totals: HashMap<Key, u64> = HashMap::new();
        for (no, count) in &checkpoint.counts {
            for key in topics_of(&*source, *no) {
                *totals.entry(key).or_default() += count;
            }
        }
        let mut recent: HashMap<Key, u64> = HashMap::new();
        let keyed = |revision: &AlertRevision| topics_of(&*source, revision.operator_no);
        for key in checkpoint.recent.iter().flat_map(keyed) {
            *recent.entry(key).or_default() += 1;
        }
        for (key, total) in &totals {
            let start = total.saturating_sub(recent.get(key).copied().unwrap_or(0));
            alerts.insert(*key, AlertTopic::behind(start));
        }
        for revision in &checkpoint.recent {
            for key in keyed(revision) {
                alerts.entry(key).or_default().push(key.1, revision);
            }
        }
        let epoch = format!("{store_epoch}.{boot}");
        let welcome = ServerFrame::Welcome { protocol: SUBPROTOCOL, epoch: &epoch, heartbeat_ms: HEARTBEAT_MS };
        Self {
            source,
            log,
            store_epoch: store_epoch.to_owned(),
            welcome: Frame::notice(&welcome),
            epoch,
            sessions: HashMap::new(),
            metrics: HashMap::new(),
            alerts,
            until: checkpoint.until,
            missed,
            ticks: 0,
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
            LiveMsg::Alerts(revisions) => self.alert(revisions),
            LiveMsg::Recovered(wanted, frames) => self.recovered(wanted, frames.as_deref()),
            LiveMsg::Tick => self.tick(),
        }
    }

    fn join(&mut self, outlet: &Outlet) {
        if outlet.send(std::slice::from_ref(&self.welcome)) {
            let session = Session { outlet: outlet.clone(), topics: HashSet::new(), recovering: HashSet::new() };
            self.sessions.insert(outlet.no, session);
        }
    }

    fn allowed(&self, rights: &Rights, topic: Topic) -> bool {
        match topic {
            Topic::National
            | Topic::Alerts
            | Topic::Groups
            | Topic::Feeds
            | Topic::Regions
            | Topic::Region(_)
            | Topic::Products
            | Topic::Product(_) => rights.market,
            Topic::System => rights.system,
            Topic::Operator(id) | Topic::OperatorAlerts(id) => {
                let own = rights.operator == Some(id) || rights.market;
                own && self.source.operator_no(id, rights.jurisdiction).is_some()
            }
        }
    }

    /// Is there room for another region?
    fn has_room(&self, key: Key) -> bool {
        let is_region = |topic: &Topic| matches!(topic, Topic::Region(_));
        !is_region(&key.1)
            || self.metrics.contains_key(&key)
            || self.metrics.keys().filter(|(_, topic)| is_region(topic)).count() < REGION_TOPICS_MAX
    }

    fn subscribe(&mut self, no: SessionNo, topics: &[String], resume: Option<&Resume>) {
        let Some(outlet) = self.sessions.get(&no).map(|session| session.outlet.clone()) else { return };
        let refuse = |code: &'static str, topic: &str| {
            let short: String = topic.chars().take(80).collect();
            outlet.send(&[Frame::notice(&Notice::Error { code, topic: Some(&short) })])
        };
        if topics.len() > TOPICS_MAX {
            outlet.send(&[Frame::notice(&Notice::Error { code: "too_many_topics", topic: None })]);
        }
        for name in topics.iter().take(TOPICS_MAX) {
            let Some(topic) = Topic::parse(name) else {
                refuse("unknown_topic", name);
                continue;
            };
            if !self.allowed(&outlet.rights, topic) {
                refuse("forbidden", name);
                continue;
            }
            let Some(session) = self.sessions.get_mut(&no) else { return };
            let is_full = !session.topics.contains(&topic) && session.topics.len() >= TOPICS_MAX;
            if is_full || !self.has_room((outlet.rights.jurisdiction, topic)) {
                refuse("too_many_topics", name);
                continue;
            }
            let sent = if topic.is_alerts() {
                self.subscribe_alerts(&outlet, topic, resume)
            } else {
                self.subscribe_metric(&outlet, topic, resume)
            };
            if let Some(session) = self.sessions.get_mut(&no) {
                session.topics.insert(topic);
            }
            if !sent {
                return self.leave(no);
            }
        }
    }

    fn subscribe_alerts(&mut self, outlet: &Outlet, topic: Topic, resume: Option<&Resume>) -> bool {
        let known = resume.and_then(|r| {
            let same_store = r.epoch.split('.').next() == Some(self.store_epoch.as_str());
            r.offsets.get(&topic.to_string()).map(|offset| same_store.then_some(*offset))
        });
        let jurisdiction = outlet.rights.jurisdiction;
        let state = self.alerts.entry((jurisdiction, topic)).or_default();
        let first = state.first();
        match known {
            Some(Some(offset)) if offset <= state.offset && offset + 1 < first => {
                let below = state.first_stored().unwrap_or(self.until + 1);
                let operator = match topic {
                    Topic::OperatorAlerts(id) => self.source.operator_no(id, jurisdiction),
                    _ => None,
                };
                let count = first - 1 - offset;
                let wanted = Wanted { session: outlet.no, jurisdiction, topic, operator, after: offset, count, below };
                if count <= RECOVERED_STEPS_MAX && self.log.recover(wanted) {
                    // it watches once it has what it missed; what comes meanwhile is in the ring
                    state.watchers.remove(&outlet.no);
                    if let Some(session) = self.sessions.get_mut(&outlet.no) {
                        session.recovering.insert(topic);
                    }
                    return true;
                }
            }
            _ => {}
        }
        state.watchers.insert(outlet.no, Arc::clone(&outlet.outbox));
        match known {
            None => outlet.send(&[state.snapshot(topic)]),
            Some(Some(offset)) if offset <= state.offset && offset + 1 >= first => {
                let mut frames = vec![resumed(topic, offset)];
                frames.extend(state.steps_behind(offset));
                outlet.send(&frames)
            }
            Some(_) => outlet.send(&[gap(topic), state.snapshot(topic)]),
        }
    }

    /// What a session missed is here.
    fn recovered(&mut self, wanted: &Wanted, frames: Option<&[Frame]>) {
        let Some(session) = self.sessions.get_mut(&wanted.session) else { return };
        if !session.recovering.remove(&wanted.topic) {
            return;
        }
        let state = self.alerts.entry((wanted.jurisdiction, wanted.topic)).or_default();
        let reached = wanted.after + wanted.count;
        let complete = frames.filter(|f| f.len() as u64 == wanted.count && reached + 1 >= state.first());
        let all = match complete {
            Some(steps) => {
                let mut all = vec![resumed(wanted.topic, wanted.after)];
                all.extend_from_slice(steps);
                all.extend(state.steps_behind(reached));
                all
            }
            None => vec![gap(wanted.topic), state.snapshot(wanted.topic)],
        };
        state.watchers.insert(wanted.session, Arc::clone(&session.outlet.outbox));
        if !session.outlet.send(&all) {
            self.leave(wanted.session);
        }
    }

    fn subscribe_metric(&mut self, outlet: &Outlet, topic: Topic, resume: Option<&Resume>) -> bool {
        let key = (outlet.rights.jurisdiction, topic);
        let state = self.metrics.entry(key).or_default();
        if state.watchers.is_empty()
            && let Some(newest) = self.source.read(key.0, topic)
        {
            // nobody watches, so there is nobody to tell
            let _ = state.take(topic, newest);
        }
        state.watchers.insert(outlet.no, Arc::clone(&outlet.outbox));
        let held =
            resume.and_then(|r| r.offsets.get(&topic.to_string()).map(|o| (r.epoch == self.epoch).then_some(*o)));
        match held {
            Some(Some(offset)) if offset == state.offset => outlet.send(&[resumed(topic, offset)]),
            Some(_) => outlet.send(&[gap(topic), state.snapshot(topic)]),
            None => outlet.send(&[state.snapshot(topic)]),
        }
    }

    fn unsubscribe(&mut self, no: SessionNo, topics: &[String]) {
        let Some(session) = self.sessions.get_mut(&no) else { return };
        let jurisdiction = session.outlet.rights.jurisdiction;
        for topic in topics.iter().filter_map(|name| Topic::parse(name)) {
            session.topics.remove(&topic);
            session.recovering.remove(&topic);
            remove(&mut self.metrics, &mut self.alerts, (jurisdiction, topic), no);
        }
    }

    fn leave(&mut self, no: SessionNo) {
        let Some(session) = self.sessions.remove(&no) else { return };
        for topic in session.topics {
            remove(&mut self.metrics, &mut self.alerts, (session.outlet.rights.jurisdiction, topic), no);
        }
    }

    fn alert(&mut self, revisions: &[AlertRevision]) {
        let mut steps: Vec<(Key, Vec<Frame>)> = Vec::new();
        for revision in revisions {
            if revision.offset <= self.until {
                // it was in the queue while the hub before this one died, and in the store when this one was built
                continue;
            }
            self.until = revision.offset;
            for key in topics_of(&*self.source, revision.operator_no) {
                let frame = self.alerts.entry(key).or_default().push(key.1, revision);
                match steps.iter_mut().find(|(k, _)| *k == key) {
                    Some((_, frames)) => frames.push(frame),
                    None => steps.push((key, vec![frame])),
                }
            }
        }
        let mut gone = Vec::new();
        for (key, frames) in steps {
            let watchers = self.alerts.get(&key).into_iter().flat_map(|state| &state.watchers);
            gone.extend(watchers.filter(|(_, outbox)| !outbox.push(&frames)).map(|(no, _)| *no));
        }
        gone.into_iter().for_each(|no| self.leave(no));
    }

    fn tick(&mut self) {
        self.ticks += 1;
        if self.ticks.is_multiple_of(FORGET_EVERY) {
            // who left while the queue was full, and watches nothing
            let over = |(no, session): (&SessionNo, &Session)| session.outlet.outbox.closed().map(|_| *no);
            let over: Vec<SessionNo> = self.sessions.iter().filter_map(over).collect();
            over.into_iter().for_each(|no| self.leave(no));
        }
        let mut changed: Vec<(Key, Frame)> = Vec::new();
        for (key, state) in self.metrics.iter_mut().filter(|(_, state)| !state.watchers.is_empty()) {
            let newest = self.source.read(key.0, key.1);
            changed.extend(newest.and_then(|newest| state.take(key.1, newest)).map(|frame| (*key, frame)));
        }
        let watchers = |key: &Key| self.metrics.get(key).into_iter().flat_map(|state| &state.watchers);
        let mut gone = Vec::new();
        if let [(key, frame)] = &changed[..] {
            let one = std::slice::from_ref(frame);
            gone.extend(watchers(key).filter(|(_, outbox)| !outbox.push(one)).map(|(no, _)| *no));
        } else {
            // a client that watches several topics gets them with one write
            let mut batches: HashMap<SessionNo, (&Arc<Outbox>, Vec<Frame>)> = HashMap::new();
            for (key, frame) in &changed {
                for (no, outbox) in watchers(key) {
                    batches.entry(*no).or_insert_with(|| (outbox, Vec::new())).1.push(frame.clone());
                }
            }
            gone.extend(batches.iter().filter(|(_, (outbox, frames))| !outbox.push(frames)).map(|(no, _)| *no));
        }
        gone.into_iter().for_each(|no| self.leave(no));
    }
}

fn gap(topic: Topic) -> Frame {
    Frame::notice(&Notice::Gap { topic: topic.to_string() })
}

fn resumed(topic: Topic, offset: u64) -> Frame {
    Frame::notice(&Notice::Resumed { topic: topic.to_string(), offset, recovered: true })
}

fn remove(metrics: &mut HashMap<Key, MetricTopic>, alerts: &mut HashMap<Key, AlertTopic>, key: Key, no: SessionNo) {
    if let Some(state) = metrics.get_mut(&key) {
        state.leave(no);
    }
    if let Some(state) = alerts.get_mut(&key) {
        state.watchers.remove(&no);
    }
}

impl Drop for LiveHub {
    fn drop(&mut self) {
        for session in self.sessions.values() {
            session.outlet.outbox.close(CloseReason::Restart);
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
