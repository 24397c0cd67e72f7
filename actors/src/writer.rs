//! The way into the store: events in, receipt out, answered only when durable *and* applied.

use models::event::Event;
use store::{Attachment, Commit, CommitError, CommitReceipt};
use tokio::sync::oneshot;

/// Offers commits to the node's one writer.
#[derive(Clone)]
pub struct WriterHandle(store::WriterHandle);

impl WriterHandle {
    /// Wraps the writer's queue.
    pub fn new(inner: store::WriterHandle) -> Self {
        Self(inner)
    }

    /// Commits; the receipt comes after the disk has it and the spine has passed it on.
    pub async fn commit(&self, events: Vec<Event>, attachments: Vec<Attachment>) -> Result<CommitReceipt, CommitError> {
        let (done, receipt) = oneshot::channel();
        self.0.submit(Commit { events, attachments, done }).await?;
        receipt.await.map_err(|_| CommitError::Unavailable)?
    }
}
