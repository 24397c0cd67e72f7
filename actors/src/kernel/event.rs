//! What the kernel tells the rest of the program, each event logged here once.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use super::guard::{PanicReport, guard};

/// A record that panicked when it was applied alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Position in the message, from 0.
    pub index: usize,
    /// Where the code panicked.
    pub panic: PanicReport,
}

/// Something that happened to a supervised actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelEvent {
    /// It crashed or hung and is re-created after `delay`.
    Restarted { actor: String, kind: &'static str, generation: u64, reason: String, delay: Duration },
    /// It crashed too often and waits for a release; its queue keeps its content.
    Quarantined { actor: String, kind: &'static str, generation: u64, reason: String, queue_depth: usize },
    /// A record was stored as a dead letter.
    DeadLettered { actor: String, kind: &'static str, index_in_message: usize, panic: PanicReport },
    /// It made no progress for `silent_for`; a restart (or quarantine) follows.
    Hung { actor: String, kind: &'static str, generation: u64, silent_for: Duration },
    /// It was found on a thread that somebody blocks, perhaps itself, and that is given up; so many are by now.
    ThreadLost { actor: String, kind: &'static str, lost: u64 },
    /// It works again after a restart or a release.
    Recovered { actor: String, kind: &'static str, generation: u64 },
}

impl KernelEvent {
    fn log(&self) {
        match self {
            Self::Restarted { actor, kind, generation, reason, delay } => {
                let delay_ms = delay.as_millis();
                tracing::warn!(actor, kind, generation, reason, delay_ms, "actor restarts");
            }
            Self::Quarantined { actor, kind, generation, reason, queue_depth } => {
                tracing::error!(actor, kind, generation, reason, queue_depth, "actor quarantined");
            }
            Self::DeadLettered { actor, kind, index_in_message, panic } => {
                tracing::warn!(actor, kind, index_in_message, %panic, "record dead-lettered");
            }
            Self::Hung { actor, kind, generation, silent_for } => {
                let silent_ms = silent_for.as_millis();
                tracing::warn!(actor, kind, generation, silent_ms, "actor hangs");
            }
            Self::ThreadLost { actor, kind, lost } => {
                tracing::error!(actor, kind, lost, "a blocked thread is given up");
            }
            Self::Recovered { actor, kind, generation } => {
                tracing::info!(actor, kind, generation, "actor recovered");
            }
        }
    }
}

type Hook = Arc<dyn Fn(&KernelEvent) + Send + Sync>;

/// The hooks of one system.
#[derive(Default)]
pub(super) struct Bus {
    hooks: RwLock<Vec<Hook>>,
}

impl Bus {
    pub(super) fn subscribe(&self, hook: impl Fn(&KernelEvent) + Send + Sync + 'static) {
        self.hooks.write().push(Arc::new(hook));
    }

    /// A hook that panics is logged and costs nothing else.
    pub(super) fn emit(&self, event: &KernelEvent) {
        event.log();
        let hooks = self.hooks.read().clone();
        for hook in hooks {
            if let Err(panic) = guard(|| hook(event)) {
                tracing::error!(%panic, "kernel event hook panicked");
            }
        }
    }
}
