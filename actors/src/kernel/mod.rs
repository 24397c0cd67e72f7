//! The supervision kernel: why one feed or operator can die, hang or be poisoned and nothing else notices.
//!
//! `actix::Supervisor` does not survive a panic: the actor's task ends, its mailbox closes for good and what was
//! waiting in it is lost. Here the queue lives *outside* the actor. A message leaves it only after it was handled, so
//! a crash costs a restart and a retry, never a message.
//!
//! ```text
//! Handle ──push──▶ Queue (bounded, outlives the actor)
//!                    ▲ front … pop after handling
//!                  Runner: actix actor on an arbiter, owns one Work, made by the factory for one generation
//!                    │ exit (a oneshot: if the actor dies without a word, the dropped sender is the word)
//!                  supervise(): one task per actor on the kernel's own arbiter: restart, back off, quarantine
//! ```
//!
//! | what happens | what the kernel does |
//! |---|---|
//! | `handle` panics | counted restart after a backoff with jitter, the message is retried |
//! | the same message panics twice | it is split, each record applied alone; a record that panics is a dead letter |
//! | more than `budget.restarts` counted restarts in `budget.window` | `quarantined`; the queue keeps its content |
//! | no progress for `hang_after` | the actor is stopped (its future dropped) and counted as crashed |
//! | its arbiter does not answer either | the next arbiter takes the actor; the old generation is fenced out of the queue |
//! | the queue is full | `try_send` refuses and counts, `send` waits |
//!
//! Crashes that turn out to be the fault of a record are pardoned once the actor has applied something else
//! ("alive means making progress"), so a feed with bad records is never quarantined, while an actor that panics on
//! everything is, after it dead-lettered the contents of at most two messages.
//!
//! A hang never makes a dead letter: the usual cause is a dependency that is away, and the records are fine.
//! The text of a panic never leaves this module (it may quote a person's data): see [`PanicReport`].

mod arbiters;
mod budget;
mod event;
mod guard;
mod handle;
mod metrics;
mod queue;
mod runner;
mod status;
mod supervisor;
mod system;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

pub use arbiters::LOST_MAX;
pub use budget::{Backoff, Budget};
pub use event::{DeadLetter, KernelEvent};
pub(crate) use guard::guard;
pub use guard::{PanicReport, install_panic_hook};
pub use handle::{Handle, SendError};
pub use metrics::KernelMetrics;
pub use status::{ActorState, ActorStatus, Generation, Progress};
pub use system::{ActorSystem, SpawnError, spawn};

/// A message that crashed its actor this often is applied record by record.
pub const CRASHES_BEFORE_SPLIT: u32 = 2;

/// What a supervised actor does. One value lives in one arbiter (it need not be `Send`) and is thrown away after a
/// crash: whatever must survive is in the store, and the factory of its [`Spec`] reads it back.
pub trait Work: Sized + Unpin + 'static {
    /// What waits in the queue: typically a batch of records with a way to answer the sender.
    type Msg: Send + Sync + 'static;

    /// Handles the front message; it leaves the queue only after this has returned. May await (store commits). A
    /// handler that legitimately takes longer than `hang_after` calls [`Progress::beat`] on the way.
    ///
    /// Delivery is at least once: a crash after the store's commit repeats the message, so effects are idempotent.
    fn handle<'a>(&'a mut self, msg: Arc<Self::Msg>, progress: &'a Progress) -> LocalBoxFuture<'a, ()>;

    /// Splits a message that crashed the actor twice into single records, in their order. `None` (or an empty list):
    /// it has no parts and is tried alone as it is. The parts carry no reply channel: [`Work::settled`] answers.
    fn split(_msg: &Self::Msg) -> Option<Vec<Self::Msg>> {
        None
    }

    /// Stores a record that panicked when applied alone. It has no default because a record must not vanish. May be
    /// called again with the same index after a crash, so it is idempotent; it returns when the letter is durable.
    fn dead_letter<'a>(
        &'a mut self,
        record: Arc<Self::Msg>,
        letter: &'a DeadLetter,
        progress: &'a Progress,
    ) -> LocalBoxFuture<'a, ()>;

    /// Called once every record of a split message was applied or dead-lettered, before the message leaves the queue,
    /// so that the sender can be answered. `dead`: indexes of the dead letters, ascending.
    fn settled<'a>(
        &'a mut self,
        _msg: Arc<Self::Msg>,
        _dead: &'a [usize],
        _progress: &'a Progress,
    ) -> LocalBoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Whether a value is still sound after [`Work::handle`] panicked half-way. `false`: it is rebuilt from the
    /// factory after every dead letter, which is safe and slower.
    fn survives_panic() -> bool {
        false
    }
}

/// Makes a [`Work`] for one generation, on the actor's arbiter, from its checkpoint. An error is a counted crash; its
/// text is shown as `last_error`, so it names no person.
pub type Factory<W> = Box<dyn Fn(Generation) -> LocalBoxFuture<'static, Result<W, String>> + Send + Sync>;

/// How one actor is made and supervised.
pub struct Spec<W: Work> {
    /// Unique among the live actors, e.g. `operator:3`. Shown on screens and in logs.
    pub name: String,
    /// The metric label, from a closed set.
    pub kind: &'static str,
    /// Messages the queue holds, the one being handled included.
    pub capacity: usize,
    /// A busy actor without progress for this long hangs.
    pub hang_after: Duration,
    /// How many restarts are tolerated.
    pub budget: Budget,
    /// How long to wait before a restart.
    pub backoff: Backoff,
    /// Has a thread of its own. For an actor whose handling may take long without awaiting, so that nobody waits behind it.
    pub alone: bool,
    /// Rebuilds the work.
    pub factory: Factory<W>,
}

impl<W: Work> Spec<W> {
    /// A spec with the defaults of the design: 1,024 messages, 10 s without progress, 5 restarts in 60 s, backoff
    /// 100 ms to 10 s.
    pub fn new<F>(name: impl Into<String>, kind: &'static str, factory: F) -> Self
    where
        F: Fn(Generation) -> LocalBoxFuture<'static, Result<W, String>> + Send + Sync + 'static,
    {
        Self {
            name: name.into(),
            kind,
            capacity: 1024,
            hang_after: Duration::from_secs(10),
            budget: Budget::default(),
            backoff: Backoff::default(),
            alone: false,
            factory: Box::new(factory),
        }
    }
}
