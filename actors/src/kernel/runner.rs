//! One generation of an actor: a real actix actor on one arbiter that owns a [`Work`] and drains the queue.
//!
//! It takes the front message, handles it and only then removes it. Ready messages are handled one after another
//! without a wake-up or another thread in between; after a time slice the arbiter's other actors get their turn.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::event::{DeadLetter, KernelEvent};
use super::guard::{PanicReport, guard, guarded};
use super::handle::Shared;
use super::queue::{Fenced, Front, Peek};
use super::status::{ActorState, Generation, Progress};
use super::{CRASHES_BEFORE_SPLIT, Factory, Work};

/// How long one actor keeps its arbiter while messages are ready.
const TIME_SLICE: Duration = Duration::from_micros(500);

/// Why a generation ended by itself.
pub(super) enum Exit {
    /// Its queue is closed and empty.
    Drained,
    /// A record died alone: go on with a fresh [`Work`], uncounted.
    Rebuild,
    /// The factory failed.
    NotBuilt(String),
    /// Code panicked; `culprit` is the message whose handling did.
    Panicked { culprit: Option<u64>, panic: PanicReport },
    /// A newer generation exists.
    Fenced,
}

impl From<Fenced> for Exit {
    fn from(Fenced: Fenced) -> Self {
        Self::Fenced
    }
}

/// What one generation starts from.
pub(super) struct Start<W: Work> {
    pub(super) shared: Arc<Shared<W::Msg>>,
    pub(super) factory: Arc<Factory<W>>,
    pub(super) generation: Generation,
    /// Dropped unsent, it tells the supervisor that the actor died without a word.
    pub(super) exit: oneshot::Sender<Exit>,
}

/// The actix actor around one generation.
pub(super) struct Runner<W: Work> {
    start: Option<Start<W>>,
}

impl<W: Work> Runner<W> {
    pub(super) fn new(start: Start<W>) -> Self {
        Self { start: Some(start) }
    }
}

impl<W: Work> Actor for Runner<W> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(start) = self.start.take() else {
            return;
        };
        // `spawn`, not `wait`: the mailbox stays open for `Kill` while a handler awaits
        ctx.spawn(wrap_future::<_, Self>(live(start)).map(|(), _, ctx| ctx.stop()));
    }
}

/// Ends an actor whose handler awaits for too long, dropping what it awaits.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Kill;

impl<W: Work> Handler<Kill> for Runner<W> {
    type Result = ();

    fn handle(&mut self, Kill: Kill, ctx: &mut Self::Context) {
        ctx.terminate();
    }
}

async fn live<W: Work>(start: Start<W>) {
    // declared first so that it is dropped last: the supervisor hears of the end after the work is gone
    let exit = start.exit;
    let (shared, factory, generation) = (start.shared, start.factory, start.generation);
    let number = generation.progress.generation();
    let reason = {
        let mut run = std::pin::pin!(run(&shared, &factory, generation));
        // whoever blocks its thread is known by it
        std::future::poll_fn(|cx| {
            shared.vitals.runs(number);
            let polled = run.as_mut().poll(cx);
            shared.vitals.rests(number);
            polled
        })
        .await
    };
    // the receiver is gone only when the supervisor has given this generation up
    let _ = exit.send(reason);
}

async fn run<W: Work>(shared: &Shared<W::Msg>, factory: &Factory<W>, generation: Generation) -> Exit {
    let progress = generation.progress.clone();
    if !progress.is_current() {
        // its arbiter was blocked and was given up before it came to this start
        return Exit::Fenced;
    }
    let mut work = match guarded(|| factory(generation)).await {
        Ok(Ok(work)) => Owned { work: Some(work), actor: &shared.name },
        Ok(Err(reason)) => return Exit::NotBuilt(reason),
        Err(panic) => {
            return Exit::Panicked { culprit: None, panic };
        }
    };
    if !progress.is_current() {
        return Exit::Fenced;
    }
    shared.vitals.set_state(ActorState::Running);
    match work.work.as_mut() {
        Some(work) => {
            if W::survives_panic() && shared.queue.forget_trial(progress.generation()).is_err() {
                return Exit::Fenced;
            }
            drain(work, shared, &progress).await
        }
        None => Exit::Fenced, // only a dropped `Owned` is empty
    }
}

/// A work whose drop may panic: it is half-changed when its actor is killed or crashed.
struct Owned<'a, W> {
    work: Option<W>,
    actor: &'a str,
}

impl<W> Drop for Owned<'_, W> {
    fn drop(&mut self) {
        let work = self.work.take();
        if let Err(panic) = guard(move || drop(work)) {
            tracing::warn!(actor = self.actor, %panic, "work panicked while it was dropped");
        }
    }
}

async fn drain<W: Work>(work: &mut W, shared: &Shared<W::Msg>, progress: &Progress) -> Exit {
    let generation = progress.generation();
    let mut slice = Instant::now();
    loop {
        match shared.queue.peek(generation) {
            Peek::Fenced => return Exit::Fenced,
            Peek::Drained => return Exit::Drained,
            Peek::Empty => {
                shared.recovered(generation);
                progress.busy(false);
                shared.queue.arrived().await;
                slice = Instant::now();
            }
            Peek::Front(front) => {
                progress.busy(true);
                let done = if front.crashes < CRASHES_BEFORE_SPLIT {
                    handle(work, shared, progress, front).await
                } else {
                    try_records(work, shared, progress, front).await
                };
                if let Err(exit) = done {
                    return exit;
                }
                if slice.elapsed() >= TIME_SLICE {
                    tokio::task::yield_now().await;
                    slice = Instant::now();
                }
            }
        }
    }
}

async fn handle<W: Work>(
    work: &mut W,
    shared: &Shared<W::Msg>,
    progress: &Progress,
    front: Front<W::Msg>,
) -> Result<(), Exit> {
    let generation = progress.generation();
    if let Err(panic) = guarded(|| work.handle(front.msg, progress)).await {
        shared.queue.crashed(generation)?;
        return Err(Exit::Panicked { culprit: Some(front.seq), panic });
    }
    shared.queue.pop(generation)?;
    shared.vitals.handled();
    shared.applied(generation);
    Ok(())
}

/// What comes next in a message that is applied record by record.
enum Step<M> {
    Apply(Arc<M>, usize),
    Store(Arc<M>, DeadLetter),
    Settle { dead: Vec<usize>, records: usize },
}

/// Applies a message that crashed its actor twice record by record. Resumes where the generation before it ended.
async fn try_records<W: Work>(
    work: &mut W,
    shared: &Shared<W::Msg>,
    progress: &Progress,
    front: Front<W::Msg>,
) -> Result<(), Exit> {
    let (generation, queue) = (progress.generation(), &shared.queue);
    loop {
        progress.beat();
        let step = queue.trial(generation, |trial| match (&trial.unstored, trial.records.get(trial.next)) {
            (Some(letter), _) => Step::Store(Arc::clone(&trial.records[letter.index]), letter.clone()),
            (None, Some(record)) => Step::Apply(Arc::clone(record), trial.next),
            (None, None) => Step::Settle { dead: trial.dead.clone(), records: trial.records.len() },
        })?;
        match step {
            None => queue.begin_trial(generation, records_of::<W>(&front.msg, &shared.name))?,
            Some(Step::Apply(record, index)) => {
                let applied = guarded(|| work.handle(record, progress)).await;
                let sound = applied.is_ok();
                queue.trial(generation, |trial| {
                    trial.next = index + 1;
                    trial.unstored = applied.err().map(|panic| DeadLetter { index, panic });
                })?;
                if sound {
                    shared.applied(generation);
                } else if !W::survives_panic() {
                    return Err(Exit::Rebuild);
                }
            }
            Some(Step::Store(record, letter)) => {
                store(work, shared, progress, record, &letter).await?;
                queue.trial(generation, |trial| {
                    trial.unstored = None;
                    trial.dead.push(letter.index);
                })?;
                count(shared, front.seq, letter);
            }
            Some(Step::Settle { dead, records }) => {
                let settled = guarded(|| work.settled(front.msg, &dead, progress)).await;
                // every record is accounted for, so the message goes even when its completion panicked
                queue.pop(generation)?;
                shared.vitals.handled();
                if dead.len() < records {
                    // a record before the last bad one may have been the sign of life
                    shared.applied(generation);
                }
                return settled.map_err(|panic| Exit::Panicked { culprit: None, panic });
            }
        }
    }
}

/// The records of a message; the message itself when it has no parts, or when splitting it panics too.
fn records_of<W: Work>(msg: &Arc<W::Msg>, actor: &str) -> Arc<[Arc<W::Msg>]> {
    let parts = guard(|| W::split(msg)).unwrap_or_else(|panic| {
        tracing::warn!(actor, %panic, "split panicked, the message is tried as a whole");
        None
    });
    match parts {
        Some(parts) if !parts.is_empty() => parts.into_iter().map(Arc::new).collect(),
        _ => Arc::new([Arc::clone(msg)]),
    }
}

async fn store<W: Work>(
    work: &mut W,
    shared: &Shared<W::Msg>,
    progress: &Progress,
    record: Arc<W::Msg>,
    letter: &DeadLetter,
) -> Result<(), Exit> {
    let stored = guarded(|| work.dead_letter(record, letter, progress)).await;
    stored.map_err(|panic| {
        tracing::warn!(actor = shared.name, "storing a dead letter panicked");
        Exit::Panicked { culprit: None, panic }
    })
}

fn count<M>(shared: &Shared<M>, culprit: u64, letter: DeadLetter) {
    shared.vitals.dead_lettered(1);
    shared.ledger.lock().poisoned(culprit);
    shared.pardon_due.store(true, Ordering::Release);
    shared.bus.emit(&KernelEvent::DeadLettered {
        actor: shared.name.clone(),
        kind: shared.kind,
        index_in_message: letter.index,
        panic: letter.panic,
    });
}
