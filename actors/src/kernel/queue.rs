//! The bounded queue in front of an actor. It outlives the actor, so a crash loses no message.
//!
//! Every operation of the consumer names its generation: an actor that was given up (its arbiter was blocked) and
//! wakes later is fenced out and cannot take a message from its successor.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::event::DeadLetter;
use super::status::QueueStatus;

/// Who may push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Open,
    Quarantined,
    Stopped,
}

/// Why a message was not taken.
pub(super) enum Refusal {
    Full,
    Quarantined,
    Stopped,
}

struct Envelope<M> {
    msg: Arc<M>,
    seq: u64,
    at: Instant,
    crashes: u32,
}

/// The front message as its actor sees it.
pub(super) struct Front<M> {
    pub(super) msg: Arc<M>,
    pub(super) seq: u64,
    pub(super) crashes: u32,
}

pub(super) enum Peek<M> {
    Front(Front<M>),
    Empty,
    /// Empty and nothing will follow.
    Drained,
    Fenced,
}

/// A split message on its way: kept beside the queue because every record that panics may cost the actor its life.
pub(super) struct Trial<M> {
    pub(super) records: Arc<[Arc<M>]>,
    pub(super) next: usize,
    /// Panicked, and not yet stored by its owner.
    pub(super) unstored: Option<DeadLetter>,
    pub(super) dead: Vec<usize>,
}

struct Inner<M> {
    admission: Admission,
    generation: u64,
    next_seq: u64,
    items: VecDeque<Envelope<M>>,
    trial: Option<Trial<M>>,
}

pub(super) struct Queue<M> {
    capacity: usize,
    inner: Mutex<Inner<M>>,
    arrived: Notify,
    room: Notify,
}

/// The caller's generation is over.
pub(super) struct Fenced;

impl<M> Queue<M> {
    pub(super) fn new(capacity: usize) -> Self {
        let inner =
            Inner { admission: Admission::Open, generation: 0, next_seq: 0, items: VecDeque::new(), trial: None };
        Self { capacity: capacity.max(1), inner: Mutex::new(inner), arrived: Notify::new(), room: Notify::new() }
    }

    // ---- producers

    pub(super) fn try_push(&self, msg: M) -> Result<(), (Refusal, M)> {
        let mut inner = self.inner.lock();
        match inner.admission {
            Admission::Quarantined => return Err((Refusal::Quarantined, msg)),
            Admission::Stopped => return Err((Refusal::Stopped, msg)),
            Admission::Open if inner.items.len() >= self.capacity => {
                return Err((Refusal::Full, msg));
            }
            Admission::Open => {}
        }
        let seq = inner.next_seq;
        inner.next_seq += 1;
        inner.items.push_back(Envelope { msg: Arc::new(msg), seq, at: Instant::now(), crashes: 0 });
        drop(inner);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits for room; any other refusal ends the wait.
    pub(super) async fn push(&self, mut msg: M) -> Result<(), (Refusal, M)> {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            // registered before the try, so room made in between is not missed
            room.as_mut().enable();
            match self.try_push(msg) {
                Err((Refusal::Full, back)) => msg = back,
                other => return other,
            }
            room.await;
        }
    }

    // ---- the supervisor

    /// Starts a generation; everything an older one does from now on is refused.
    pub(super) fn next_generation(&self) -> u64 {
        let mut inner = self.inner.lock();
        inner.generation += 1;
        // one that waits on a blocked thread must not be the one that is woken for the next message
        self.arrived.notify_waiters();
        inner.generation
    }

    /// A stopped queue stays stopped.
    pub(super) fn admit(&self, admission: Admission) {
        let mut inner = self.inner.lock();
        if inner.admission != Admission::Stopped {
            inner.admission = admission;
        }
        drop(inner);
        self.room.notify_waiters();
        self.arrived.notify_one();
    }

    pub(super) fn depth(&self) -> usize {
        self.inner.lock().items.len()
    }

    pub(super) fn status(&self) -> QueueStatus {
        let inner = self.inner.lock();
        QueueStatus {
            depth: inner.items.len(),
            capacity: self.capacity,
            oldest: inner.items.front().map_or(Duration::ZERO, |envelope| envelope.at.elapsed()),
        }
    }

    // ---- the actor

    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    pub(super) fn peek(&self, generation: u64) -> Peek<M> {
        let inner = self.inner.lock();
        if inner.generation != generation {
            // it may have been woken in place of the living one
            self.arrived.notify_one();
            return Peek::Fenced;
        }
        match inner.items.front() {
            Some(front) => Peek::Front(Front { msg: Arc::clone(&front.msg), seq: front.seq, crashes: front.crashes }),
            None if inner.admission == Admission::Stopped => Peek::Drained,
            None => Peek::Empty,
        }
    }

    /// The front message is done.
    pub(super) fn pop(&self, generation: u64) -> Result<(), Fenced> {
        let mut inner = self.inner.lock();
        if inner.generation != generation {
            return Err(Fenced);
        }
        let done = inner.items.pop_front();
        let trial = inner.trial.take();
        drop(inner);
        self.room.notify_one();
        drop((done, trial)); // outside the lock: a batch may be large
        Ok(())
    }

    /// The front message crashed its actor.
    pub(super) fn crashed(&self, generation: u64) -> Result<(), Fenced> {
        let mut inner = self.inner.lock();
        if inner.generation != generation {
            return Err(Fenced);
        }
        if let Some(front) = inner.items.front_mut() {
            front.crashes += 1;
        }
        Ok(())
    }

    /// Notes the records of the front message, once it is to be applied record by record.
    pub(super) fn begin_trial(&self, generation: u64, records: Arc<[Arc<M>]>) -> Result<(), Fenced> {
        let mut inner = self.inner.lock();
        if inner.generation != generation {
            return Err(Fenced);
        }
        inner.trial = Some(Trial { records, next: 0, unstored: None, dead: Vec::new() });
        Ok(())
    }

    /// Begins the trial of the front message anew: what a work keeps of it in memory went with its generation.
    pub(super) fn forget_trial(&self, generation: u64) -> Result<(), Fenced> {
        let mut inner = self.inner.lock();
        if inner.generation != generation {
            return Err(Fenced);
        }
        inner.trial = None;
        Ok(())
    }

    /// Reads or changes the trial of the front message; `None` before it began.
    pub(super) fn trial<R>(&self, generation: u64, work: impl FnOnce(&mut Trial<M>) -> R) -> Result<Option<R>, Fenced> {
        let mut inner = self.inner.lock();
        if inner.generation != generation {
            return Err(Fenced);
        }
        Ok(inner.trial.as_mut().map(work))
    }
}
