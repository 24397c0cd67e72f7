//! The way into the store: events in, receipt out, answered only when durable *and* applied.

use crate::trace;
use models::event::Event;
use models::ids::Seq;
use models::ts::Ts;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};
use store::{Attachment, Commit, CommitError, CommitReceipt, CommittedGroup, Member, Sink};
use tokio::sync::oneshot;

/// Seconds from the offer of a commit to its receipt.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Gives whoever committed the answer, and nobody else: where a tool writes, nothing runs that would hear of it.
pub(crate) struct Answers;

impl Sink for Answers {
    fn publish(&mut self, group: CommittedGroup) {
        group.members.into_iter().for_each(Member::complete);
    }

    fn head(&mut self, _: Seq, _: Ts) {}
}

/// What is counted of commits.
#[derive(Clone)]
pub struct CommitMetrics {
    seconds: Histogram,
    failed: IntCounterVec,
}

impl CommitMetrics {
    /// Counts without showing: for tools.
    pub fn unregistered() -> Result<Self, prometheus::Error> {
        let help = "From the offer of a commit until it is durable and applied";
        Ok(Self {
            seconds: Histogram::with_opts(HistogramOpts::new("mlinzi_commit_seconds", help).buckets(SECONDS.to_vec()))?,
            failed: IntCounterVec::new(
                Opts::new("mlinzi_commits_failed_total", "Commits without a receipt"),
                &["reason"],
            )?,
        })
    }

    /// Counts into a registry.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self::unregistered()?;
        for reason in ["unavailable", "conflict", "rejected", "rotated", "full"] {
            metrics.failed.with_label_values(&[reason]);
        }
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.failed.clone()))?;
        Ok(metrics)
    }

    fn count(&self, error: &CommitError) {
        let reason = match error {
            CommitError::Unavailable => "unavailable",
            CommitError::Conflict { .. } | CommitError::Settled => "conflict",
            CommitError::Rejected { .. } => "rejected",
            CommitError::Rotated => "rotated",
            CommitError::Full => "full",
        };
        self.failed.with_label_values(&[reason]).inc();
    }
}

/// Offers commits to the node's one writer.
#[derive(Clone)]
pub struct WriterHandle {
    queue: store::WriterHandle,
    metrics: CommitMetrics,
}

impl WriterHandle {
    /// Wraps the writer's queue.
    pub fn new(queue: store::WriterHandle, metrics: CommitMetrics) -> Self {
        Self { queue, metrics }
    }

    /// Commits; the receipt comes after the disk has it and the spine has passed it on.
    pub async fn commit(&self, events: Vec<Event>, attachments: Vec<Attachment>) -> Result<CommitReceipt, CommitError> {
        self.commit_in(None, events, attachments).await
    }

    /// Commits what was derived or sealed in an epoch of the keys; refused where it is another one by now.
    pub async fn commit_in(
        &self,
        key_epoch: impl Into<Option<i64>>,
        events: Vec<Event>,
        attachments: Vec<Attachment>,
    ) -> Result<CommitReceipt, CommitError> {
        let timer = self.metrics.seconds.start_timer();
        let committed = async {
            match self.offer_now(key_epoch, events, attachments) {
                Ok(receipt) => receipt.await.unwrap_or(Err(CommitError::Unavailable)),
                Err(error) => Err(error),
            }
        };
        let receipt = trace::step("commit", committed).await;
        match &receipt {
            Ok(_) => timer.observe_duration(),
            Err(error) => {
                timer.stop_and_discard();
                self.metrics.count(error);
            }
        }
        receipt
    }

    /// Offers a commit without waiting for what becomes of it, which the receiver hears, and counts where it matters
    /// ([`Self::count`]).
    pub fn offer_now(
        &self,
        key_epoch: impl Into<Option<i64>>,
        events: Vec<Event>,
        attachments: Vec<Attachment>,
    ) -> Result<oneshot::Receiver<Result<CommitReceipt, CommitError>>, CommitError> {
        let (done, receipt) = oneshot::channel();
        self.queue.submit(Commit { events, attachments, key_epoch: key_epoch.into(), done })?;
        Ok(receipt)
    }

    /// Counts a commit of [`Self::offer_now`] that has no receipt.
    pub fn count(&self, error: &CommitError) {
        self.metrics.count(error);
    }
}
