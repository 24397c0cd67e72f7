//! The task that keeps one actor alive. It runs on the kernel's own arbiter, so an actor that blocks its thread
//! cannot stop its supervisor.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::{Actor, Addr};
use actix_rt::ArbiterHandle;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::arbiters::{Arbiters, Place};
use super::budget::Verdict;
use super::event::KernelEvent;
use super::handle::{Phase, Shared};
use super::queue::Admission;
use super::runner::{Exit, Kill, Runner, Start};
use super::status::{ActorState, Generation};
use super::{Factory, Work};

/// Pause before an actor that could not be built is built again.
const BUILD_AGAIN: Duration = Duration::from_millis(500);
/// How long a killed actor may take to end before its arbiter counts as blocked.
const KILL_GRACE: Duration = Duration::from_secs(1);

/// Why a generation is over.
enum End {
    Exit(Exit),
    /// It died without a word: its arbiter ended, or something panicked outside the guards.
    Vanished,
    Hung {
        silent_for: Duration,
        arbiter_blocked: bool,
    },
    /// Another actor blocked the thread, which is given up.
    Displaced,
    Killed,
}

pub(super) struct Supervisor<W: Work> {
    pub(super) shared: Arc<Shared<W::Msg>>,
    pub(super) factory: Arc<Factory<W>>,
    pub(super) hang_after: Duration,
    pub(super) arbiters: Arc<Arbiters>,
    /// Its own thread, until it blocks it.
    pub(super) own: Option<ArbiterHandle>,
    /// Which of the shared ones otherwise.
    pub(super) slot: usize,
}

/// Says that the supervisor is gone, however it ends.
struct Ended<W: Work>(Arc<Shared<W::Msg>>);

impl<W: Work> Drop for Ended<W> {
    fn drop(&mut self) {
        self.0.queue.admit(Admission::Stopped);
        self.0.vitals.set_state(ActorState::Stopped);
        self.0.advance(Phase::Ended);
    }
}

async fn reached(phase: &mut watch::Receiver<Phase>, target: Phase) {
    // the sender lives in what the supervisor shares, so it cannot be gone
    let _ = phase.wait_for(|phase| *phase >= target).await;
}

impl<W: Work> Supervisor<W> {
    pub(super) async fn supervise(mut self) {
        let _ended = Ended::<W>(Arc::clone(&self.shared));
        let mut phase = self.shared.phase.subscribe();
        while *phase.borrow() != Phase::Killed {
            let generation = self.shared.queue.next_generation();
            self.shared.vitals.begin(generation);
            let (actor, exit, place) = self.start(generation);
            let end = self.watch(&actor, exit, place, &mut phase).await;
            let (culprit, reason) = match end {
                End::Exit(Exit::Drained | Exit::Fenced) | End::Killed => return,
                // no fault of its own
                End::Exit(Exit::Rebuild) => continue,
                End::Displaced if !self.shared.vitals.is_running() => continue,
                End::Displaced => {
                    self.move_on();
                    (None, "blocked its thread".to_owned())
                }
                End::Exit(Exit::NotBuilt(reason)) => {
                    // a store that is away is no crash loop: it comes back, and then everything heals by itself
                    if self.build_later(generation, format!("could not be built: {reason}"), &mut phase).await {
                        continue;
                    }
                    return;
                }
                End::Exit(Exit::Panicked { culprit, panic }) => (culprit, panic.to_string()),
                End::Vanished => {
                    if !self.answers(place).await {
                        self.give_up(place);
                        self.move_on();
                    }
                    (None, "ended without a word".to_owned())
                }
                End::Hung { silent_for, arbiter_blocked } => {
                    if arbiter_blocked {
                        self.give_up(place);
                        if !self.shared.vitals.is_running() {
                            // a neighbour keeps the thread, and is told of it when it sees that it is given up
                            continue;
                        }
                        self.move_on();
                    }
                    (None, format!("no progress for {} ms", silent_for.as_millis()))
                }
            };
            if !self.after_crash(generation, culprit, reason, &mut phase).await {
                return;
            }
        }
    }

    fn start(&self, generation: u64) -> (Addr<Runner<W>>, oneshot::Receiver<Exit>, Place) {
        let (exit, ended) = oneshot::channel();
        let start = Start {
            shared: Arc::clone(&self.shared),
            factory: Arc::clone(&self.factory),
            generation: Generation::new(Arc::clone(&self.shared.vitals), generation),
            exit,
        };
        let (arbiter, place) = match &self.own {
            Some(own) => (own.clone(), Place::Own),
            None => self.arbiters.shared(self.slot),
        };
        let actor = Runner::start_in_arbiter(&arbiter, move |_| Runner::new(start));
        (actor, ended, place)
    }

    /// Does the thread still do anything?
    async fn answers(&self, place: Place) -> bool {
        let arbiter = match (&self.own, place) {
            (Some(own), Place::Own) => own.clone(),
            (_, Place::Shared { slot, .. }) if !self.arbiters.is_given_up(place) => self.arbiters.shared(slot).0,
            _ => return false,
        };
        let (answer, answered) = oneshot::channel();
        let asked = arbiter.spawn(async move {
            let _ = answer.send(());
        });
        asked && matches!(timeout(KILL_GRACE, answered).await, Ok(Ok(())))
    }

    /// What blocked its thread must not find its neighbours again.
    fn move_on(&mut self) {
        self.own = None;
        self.slot = self.slot.wrapping_add(1);
    }

    /// The thread does not answer, or is gone.
    fn give_up(&mut self, place: Place) {
        if let Some(lost) = self.arbiters.lose(place) {
            let (actor, kind) = (self.shared.name.clone(), self.shared.kind);
            self.shared.bus.emit(&KernelEvent::ThreadLost { actor, kind, lost });
        }
    }

    /// Waits for the end of a generation. Death is heard at once; only silence has to be looked for.
    async fn watch(
        &self,
        actor: &Addr<Runner<W>>,
        mut exit: oneshot::Receiver<Exit>,
        place: Place,
        phase: &mut watch::Receiver<Phase>,
    ) -> End {
        let look_every = (self.hang_after / 4).clamp(Duration::from_millis(5), Duration::from_secs(1));
        loop {
            tokio::select! {
                ended = &mut exit => return match ended {
                    Ok(exit) => End::Exit(exit),
                    Err(_) if self.arbiters.is_given_up(place) => End::Displaced,
                    Err(_) => End::Vanished,
                },
                () = reached(phase, Phase::Killed) => {
                    actor.do_send(Kill);
                    let _ = timeout(KILL_GRACE, &mut exit).await;
                    return End::Killed;
                }
                () = sleep(look_every) => {}
            }
            if self.arbiters.is_given_up(place) {
                return End::Displaced;
            }
            let silent_for = self.shared.vitals.silent_for(self.shared.queue.status().oldest);
            if silent_for < self.hang_after {
                continue;
            }
            self.shared.bus.emit(&KernelEvent::Hung {
                actor: self.shared.name.clone(),
                kind: self.shared.kind,
                generation: self.shared.vitals.generation(),
                silent_for,
            });
            actor.do_send(Kill);
            let arbiter_blocked = timeout(KILL_GRACE, &mut exit).await.is_err();
            return End::Hung { silent_for, arbiter_blocked };
        }
    }

    /// Waits until what its factory needs may be there again. False when there will be no further try.
    async fn build_later(&self, generation: u64, reason: String, phase: &mut watch::Receiver<Phase>) -> bool {
        let shared = &self.shared;
        shared.vitals.failed(&reason);
        shared.vitals.set_state(ActorState::BackingOff);
        shared.vitals.restarted();
        let (actor, kind, delay) = (shared.name.clone(), shared.kind, BUILD_AGAIN);
        shared.bus.emit(&KernelEvent::Restarted { actor, kind, generation, reason, delay });
        tokio::select! {
            () = sleep(delay) => true,
            () = reached(phase, Phase::Killed) => false,
        }
    }

    /// Counts a crash and waits until the next try is due. False when there will be none.
    async fn after_crash(
        &self,
        generation: u64,
        culprit: Option<u64>,
        reason: String,
        phase: &mut watch::Receiver<Phase>,
    ) -> bool {
        let shared = &self.shared;
        shared.vitals.failed(&reason);
        let verdict = shared.ledger.lock().crashed(Instant::now(), culprit, rand::random());
        let (actor, kind) = (shared.name.clone(), shared.kind);
        match verdict {
            Verdict::Restart(delay) => {
                shared.vitals.set_state(ActorState::BackingOff);
                shared.vitals.restarted();
                shared.bus.emit(&KernelEvent::Restarted { actor, kind, generation, reason, delay });
                tokio::select! {
                    () = sleep(delay) => true,
                    () = reached(phase, Phase::Killed) => false,
                }
            }
            Verdict::Quarantine => {
                // registered before the state shows, so that no release is missed and none is kept for the next time
                let mut released = std::pin::pin!(shared.released.notified());
                released.as_mut().enable();
                shared.queue.admit(Admission::Quarantined);
                shared.vitals.set_state(ActorState::Quarantined);
                let queue_depth = shared.queue.depth();
                shared.bus.emit(&KernelEvent::Quarantined { actor, kind, generation, reason, queue_depth });
                tokio::select! {
                    () = released => {}
                    // it cannot drain; what waits in the queue is reported as left behind
                    () = reached(phase, Phase::Draining) => return false,
                }
                shared.ledger.lock().clear();
                shared.pardon_due.store(false, Ordering::Release);
                shared.vitals.set_state(ActorState::Starting);
                shared.queue.admit(Admission::Open);
                true
            }
        }
    }
}
