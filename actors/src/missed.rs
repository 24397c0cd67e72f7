//! What a full queue refused and must not be forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Raised where a committed event did not reach an actor whose state must hold all of them; the actor sees it at its
/// next message, gives its state up and is built anew from the store.
#[derive(Clone, Debug, Default)]
pub struct Missed(Arc<AtomicBool>);

impl Missed {
    /// Something did not fit.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// For a factory, before it reads the store: what was refused until now will be read.
    pub fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }

    /// Panics where something was missed: the kernel then builds the actor anew.
    pub fn check(&self, what: &str) {
        assert!(!self.0.load(Ordering::Acquire), "{what} did not fit into the queue: built anew from the store");
    }
}
