//! The threads that actors share. One that a handler blocks is given up, and another takes its place.
//!
//! Nobody can end a thread from outside, so each that is given up stays, with whatever it holds. A few of them are a
//! handler's fault, more of them a process that does not work any more: who listens to the events decides
//! ([`LOST_MAX`]).

use actix_rt::{Arbiter, ArbiterHandle};
use parking_lot::Mutex;
use prometheus::IntCounter;
use std::sync::atomic::{AtomicU64, Ordering};

/// Threads that a process may give up; with this one it is to be started anew.
pub const LOST_MAX: u64 = 4;

/// Where a generation runs: a place among the shared threads, or a thread of its actor alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Own,
    Shared { slot: usize, epoch: u64 },
}

struct Slot {
    arbiter: Arbiter,
    /// Grows with each thread that takes the place.
    epoch: u64,
}

pub(super) struct Arbiters {
    slots: Mutex<Vec<Slot>>,
    /// Of actors that are alone on theirs.
    own: Mutex<Vec<Arbiter>>,
    lost: AtomicU64,
    shown: IntCounter,
}

impl Arbiters {
    /// So many threads, at least one.
    pub(super) fn new(count: usize, shown: IntCounter) -> Self {
        let slots = (0..count.max(1)).map(|_| Slot { arbiter: Arbiter::new(), epoch: 0 }).collect();
        Self { slots: Mutex::new(slots), own: Mutex::default(), lost: AtomicU64::new(0), shown }
    }

    /// The thread of a place, and the place as it is now.
    pub(super) fn shared(&self, slot: usize) -> (ArbiterHandle, Place) {
        let slots = self.slots.lock();
        let slot = slot % slots.len();
        (slots[slot].arbiter.handle(), Place::Shared { slot, epoch: slots[slot].epoch })
    }

    /// A thread for one actor.
    pub(super) fn own(&self) -> ArbiterHandle {
        let own = Arbiter::new();
        let handle = own.handle();
        self.own.lock().push(own);
        handle
    }

    /// A thread does not answer: another one takes its place. Gives how many are lost by now; none where somebody else
    /// who lived on it has said so before.
    pub(super) fn lose(&self, place: Place) -> Option<u64> {
        if let Place::Shared { slot, epoch } = place {
            let mut slots = self.slots.lock();
            if slots[slot].epoch != epoch {
                return None;
            }
            // should it ever answer again it has nothing left to do
            slots[slot].arbiter.stop();
            slots[slot] = Slot { arbiter: Arbiter::new(), epoch: epoch + 1 };
        }
        self.shown.inc();
        Some(self.lost.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// Has another thread taken the place?
    pub(super) fn is_given_up(&self, place: Place) -> bool {
        let Place::Shared { slot, epoch } = place else { return false };
        self.slots.lock()[slot].epoch != epoch
    }

    pub(super) fn stop(&self) {
        for slot in self.slots.lock().iter() {
            slot.arbiter.stop();
        }
        for arbiter in self.own.lock().iter() {
            arbiter.stop();
        }
    }
}
