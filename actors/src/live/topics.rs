//! What a topic holds for those who come later: its newest state, and the last steps on the way.

use super::frames::{AlertView, AlertsView, Frame, raw};
use super::outbox::Outbox;
use super::{RING_FRAMES_MAX, SNAPSHOT_ALERTS_MAX, SessionNo};
use models::alert::AlertRevision;
use models::ids::AlertId;
use models::live::Topic;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Who watches a topic.
pub(super) type Watchers = HashMap<SessionNo, Arc<Outbox>>;

/// A topic of which only the newest state counts.
#[derive(Default)]
pub(super) struct MetricTopic {
    pub(super) offset: u64,
    seen: Option<u64>,
    data: Option<Arc<str>>,
    snapshot: Option<Frame>,
    pub(super) watchers: Watchers,
}

impl MetricTopic {
    /// Takes in what its source says now; gives the frame of the step, if it is one for those who watch.
    pub(super) fn take(&mut self, topic: Topic, (version, data): (u64, Arc<str>)) -> Option<Frame> {
        if self.seen == Some(version) && self.data.is_some() {
            return None;
        }
        // what changed while nobody watched is one step, or a client that held the old state would be told it missed
        // nothing; the first state ever is none
        self.offset += u64::from(self.seen.is_some_and(|seen| seen != version) || !self.watchers.is_empty());
        self.seen = Some(version);
        self.snapshot = None;
        let frame = (!self.watchers.is_empty()).then(|| Frame::latest(topic, self.offset, &data));
        self.data = Some(data);
        frame
    }

    /// The whole state, encoded once for all who ask before it changes.
    pub(super) fn snapshot(&mut self, topic: Topic) -> Frame {
        let made = || Frame::snapshot(topic, self.offset, self.data.as_deref().and_then(raw));
        self.snapshot.get_or_insert_with(made).clone()
    }

    pub(super) fn leave(&mut self, no: SessionNo) {
        self.watchers.remove(&no);
        if self.watchers.is_empty() {
            // the offset goes on: a later subscriber must never see one twice
            (self.data, self.snapshot) = (None, None);
        }
    }
}

/// A step of an alert topic.
struct Step {
    offset: u64,
    /// The revision's place in the store.
    stored: i64,
    frame: Frame,
}

/// A topic of which every step counts.
#[derive(Default)]
pub(super) struct AlertTopic {
    pub(super) offset: u64,
    ring: VecDeque<Step>,
    current: BTreeMap<AlertId, AlertRevision>,
    order: VecDeque<AlertId>,
    snapshot: Option<Frame>,
    pub(super) watchers: Watchers,
}

impl AlertTopic {
    /// Behind so many steps that are only in the store.
    pub(super) fn behind(offset: u64) -> Self {
        Self { offset, ..Self::default() }
    }

    /// Takes in a revision; gives its frame.
    pub(super) fn push(&mut self, topic: Topic, revision: &AlertRevision) -> Frame {
        self.offset += 1;
        let frame = Frame::delta(topic, self.offset, AlertView::of(revision, topic));
        self.ring.push_back(Step { offset: self.offset, stored: revision.offset, frame: frame.clone() });
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
        self.snapshot = None;
        frame
    }

    /// The newest alerts, encoded once for all who ask before the next one.
    pub(super) fn snapshot(&mut self, topic: Topic) -> Frame {
        let (order, current, offset) = (&self.order, &self.current, self.offset);
        let items = || order.iter().rev().filter_map(|id| current.get(id)).map(|revision| AlertView::of(revision, topic)).collect();
        let made = || Frame::snapshot(topic, offset, AlertsView { items: items() });
        self.snapshot.get_or_insert_with(made).clone()
    }

    /// Offset of the first step that is still here.
    pub(super) fn first(&self) -> u64 {
        self.ring.front().map_or(self.offset + 1, |step| step.offset)
    }

    /// Place in the store of the first step that is still here.
    pub(super) fn first_stored(&self) -> Option<i64> {
        self.ring.front().map(|step| step.stored)
    }

    /// Every step behind an offset that is still here.
    pub(super) fn steps_behind(&self, offset: u64) -> impl Iterator<Item = Frame> {
        self.ring.iter().filter(move |step| step.offset > offset).map(|step| step.frame.clone())
    }
}
