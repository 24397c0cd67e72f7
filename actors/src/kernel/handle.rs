//! The way in to a supervised actor.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::budget::Ledger;
use super::event::{Bus, KernelEvent};
use super::queue::{Admission, Queue, Refusal};
use super::status::{ActorState, ActorStatus, Vitals};

/// A message that was not taken, given back. Its `Debug` and `Display` say nothing about the message.
#[derive(PartialEq, Eq, thiserror::Error)]
pub enum SendError<M> {
    /// The queue is at its capacity: slow down and try again.
    #[error("actor queue is full")]
    Full(M),
    /// The actor crashed too often and waits for a release.
    #[error("actor is quarantined")]
    Quarantined(M),
    /// The actor is gone for good.
    #[error("actor is stopped")]
    Stopped(M),
}

impl<M> SendError<M> {
    /// The message.
    pub fn into_inner(self) -> M {
        match self {
            Self::Full(msg) | Self::Quarantined(msg) | Self::Stopped(msg) => msg,
        }
    }
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Quarantined(_) => "Quarantined(..)",
            Self::Stopped(_) => "Stopped(..)",
        })
    }
}

/// How far an actor's end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Running,
    /// Takes nothing new, handles what waits.
    Draining,
    /// Ends now.
    Killed,
    /// Its supervisor has ended.
    Ended,
}

/// What handle, runner and supervisor of one actor share.
pub(super) struct Shared<M> {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) queue: Queue<M>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) ledger: Mutex<Ledger>,
    /// A bad record was found and nothing was applied since.
    pub(super) pardon_due: AtomicBool,
    pub(super) released: Notify,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) bus: Arc<Bus>,
}

impl<M> Shared<M> {
    /// Something was applied: the actor is alive.
    pub(super) fn applied(&self, generation: u64) {
        if self.pardon_due.load(Ordering::Acquire) && self.pardon_due.swap(false, Ordering::AcqRel) {
            self.ledger.lock().pardon(Instant::now());
        }
        self.recovered(generation);
    }

    pub(super) fn recovered(&self, generation: u64) {
        if self.vitals.take_recovering() {
            self.bus.emit(&KernelEvent::Recovered { actor: self.name.clone(), kind: self.kind, generation });
        }
    }

    /// Phases only go forward.
    pub(super) fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let forward = *current < phase;
            if forward {
                *current = phase;
            }
            forward
        });
    }
}

/// An actor as the system's registry sees it, whatever its messages are.
pub(super) trait Supervised: Send + Sync {
    fn kind(&self) -> &'static str;
    fn status(&self) -> ActorStatus;
    fn depth(&self) -> usize;
    fn release(&self) -> bool;
    fn close(&self);
    fn kill(&self);
    fn phase(&self) -> watch::Receiver<Phase>;
}

impl<M: Send + Sync + 'static> Supervised for Shared<M> {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn status(&self) -> ActorStatus {
        self.vitals.status(&self.name, self.kind, self.queue.status())
    }

    fn depth(&self) -> usize {
        self.queue.depth()
    }

    fn release(&self) -> bool {
        let quarantined = self.vitals.state() == ActorState::Quarantined;
        if quarantined {
            // at once, not when its supervisor has woken: whoever was told "released" may send
            self.queue.admit(Admission::Open);
            self.released.notify_waiters();
        }
        quarantined
    }

    fn close(&self) {
        self.queue.admit(Admission::Stopped);
        self.advance(Phase::Draining);
    }

    fn kill(&self) {
        self.queue.admit(Admission::Stopped);
        self.advance(Phase::Killed);
    }

    fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }
}

/// How long an actor that was killed may take to let go.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// Stops accepting everywhere at once, drains for at most `drain` together, then kills. True if no message was left.
pub(super) async fn stop_all(actors: &[Arc<dyn Supervised>], drain: Duration) -> bool {
    for actor in actors {
        actor.close();
    }
    let all_ended = async {
        for actor in actors {
            let _ = actor.phase().wait_for(|phase| *phase == Phase::Ended).await;
        }
    };
    if timeout(drain, all_ended).await.is_err() {
        for actor in actors {
            actor.kill();
        }
        for actor in actors {
            let _ = timeout(KILL_GRACE, actor.phase().wait_for(|phase| *phase == Phase::Ended)).await;
        }
    }
    actors.iter().all(|actor| actor.depth() == 0)
}

/// Sends to one actor; cheap to clone, usable from any thread. It outlives every generation of the actor.
pub struct Handle<M> {
    pub(super) shared: Arc<Shared<M>>,
}

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<M> fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

impl<M: Send + Sync + 'static> Handle<M> {
    /// Puts a message into the queue without waiting.
    ///
    /// # Errors
    /// The message comes back, counted as refused, when the queue is full or takes nothing.
    pub fn try_send(&self, msg: M) -> Result<(), SendError<M>> {
        self.shared.queue.try_push(msg).map_err(|refusal| self.refuse(refusal))
    }

    /// Puts a message into the queue, waiting for room. A dropped future has sent nothing.
    ///
    /// # Errors
    /// The message comes back when the actor is, or gets, quarantined or stopped.
    pub async fn send(&self, msg: M) -> Result<(), SendError<M>> {
        self.shared.queue.push(msg).await.map_err(|refusal| self.refuse(refusal))
    }

    fn refuse(&self, (refusal, msg): (Refusal, M)) -> SendError<M> {
        self.shared.vitals.refused();
        match refusal {
            Refusal::Full => SendError::Full(msg),
            Refusal::Quarantined => SendError::Quarantined(msg),
            Refusal::Stopped => SendError::Stopped(msg),
        }
    }

    /// What is known about the actor now.
    pub fn status(&self) -> ActorStatus {
        Supervised::status(&*self.shared)
    }

    /// Lets a quarantined actor start again with a fresh budget; false when it is not quarantined.
    pub fn release(&self) -> bool {
        Supervised::release(&*self.shared)
    }

    /// Stops accepting, handles what waits for at most `drain`, then ends the actor. True if no message was left.
    pub async fn stop(&self, drain: Duration) -> bool {
        let actor: Arc<dyn Supervised> = Arc::clone(&self.shared) as Arc<dyn Supervised>;
        stop_all(&[actor], drain).await
    }
}
