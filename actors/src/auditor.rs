//! The audit checkpoints: signs how far the journal has come, so that whoever rewrites it later is found out.
//!
//! An actor, so that a signature that hangs on the database is seen, restarted and shown like everything else that
//! must go on.

use crate::kernel::{DeadLetter, Handle, Progress, Work};
use futures_util::future::LocalBoxFuture;
use ring::signature::Ed25519KeyPair;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use store::{Clock, Store};

/// What the auditor hears.
pub enum AuditMsg {
    /// Sign the head, where it has moved, and forget what is past its time.
    Checkpoint,
}

/// Handle of the auditor.
pub type Auditing = Handle<AuditMsg>;

/// What the auditor works with.
#[derive(Clone)]
pub struct Auditor {
    store: Store,
    key: Arc<Ed25519KeyPair>,
    clock: Arc<dyn Clock>,
    /// When the journal was last found signed up to its head, microseconds; 0 = never in this process.
    signed_at: Arc<AtomicI64>,
}

impl Auditor {
    /// Signs with `key`; `signed_at` is for the metrics.
    pub fn new(store: Store, key: Arc<Ed25519KeyPair>, clock: Arc<dyn Clock>, signed_at: Arc<AtomicI64>) -> Self {
        Self { store, key, clock, signed_at }
    }

    async fn checkpoint(&self) {
        let now = self.clock.now();
        match self.store.sign_checkpoint(&self.key, now).await {
            Ok(_) => self.signed_at.store(now.0, Ordering::Relaxed),
            // the next one covers what this one would have
            Err(error) => tracing::warn!(%error, "no checkpoint of the journal"),
        }
        if let Err(error) = self.store.forget_idempotency(now).await {
            tracing::debug!(%error, "old idempotency keys are forgotten later");
        }
    }
}

impl Work for Auditor {
    type Msg = AuditMsg;

    fn handle<'a>(&'a mut self, msg: Arc<AuditMsg>, _progress: &'a Progress) -> LocalBoxFuture<'a, ()> {
        match *msg {
            AuditMsg::Checkpoint => Box::pin(self.checkpoint()),
        }
    }

    fn dead_letter<'a>(
        &'a mut self,
        _record: Arc<AuditMsg>,
        _letter: &'a DeadLetter,
        _progress: &'a Progress,
    ) -> LocalBoxFuture<'a, ()> {
        // it carries nothing: the next one does the same
        Box::pin(std::future::ready(()))
    }
}
