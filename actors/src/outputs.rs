//! What others may read of a source: its records, published to the output topic after they were stored.
//!
//! ```text
//! position ─▶ stored batches behind it ─▶ lines ─▶ brokers acknowledge ─▶ position of the last batch that is there whole
//! ```
//! At least once: a crash between the last two steps publishes a batch again, under the same keys. A broker that is away
//! holds up nothing but this: what is stored waits for it.

use crate::feeds::FetchError;
use crate::feeds::kafka::{Processed, Publisher};
use crate::kernel::{DeadLetter, Progress, Work};
use futures_util::future::LocalBoxFuture;
use models::feed::Source;
use models::record::Record;
use prometheus::{IntCounterVec, Opts, Registry};
use std::sync::Arc;
use std::time::Duration;
use store::{Clock, Store, StoreError};
use tokio::sync::watch;
use tokio::time::Instant;

/// Batches read at once.
const BATCHES_AT_ONCE: u32 = 16;
/// Batches of one look at most: others wait for this thread, too.
const BATCHES_A_LOOK: usize = 256;

/// Rest after a failure; doubles with each, up to the longest.
const REST_FIRST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(300);

/// What an output hears: look whether there is something to publish.
pub struct Look;

/// What is counted of outputs.
#[derive(Clone)]
pub struct OutputMetrics(IntCounterVec);

impl OutputMetrics {
    /// Makes and registers them.
    ///
    /// # Errors
    /// Where the registry has metrics of these names.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Records for output topics, by outcome: published, failed (they are tried again).";
        let counters = IntCounterVec::new(Opts::new("mlinzi_output_records_total", help), &["outcome"])?;
        registry.register(Box::new(counters.clone()))?;
        Ok(Self(counters))
    }
}

/// Why a look ended early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Broker(#[from] FetchError),
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// What an output is made of.
#[derive(Clone)]
pub struct OutputContext {
    /// Where the records are.
    pub store: Store,
    /// Whose.
    pub source: Arc<Source>,
    /// The operator's code.
    pub operator: String,
    /// Now: the records' time in the topic.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: OutputMetrics,
    /// True once the engine stops: nobody waits for brokers any more.
    pub stopping: watch::Receiver<bool>,
}

/// Makes what publishes; connects to nobody yet.
pub type MakePublisher = Box<dyn Fn() -> Result<Publisher, FetchError>>;

/// The output of one source.
pub struct Output {
    context: OutputContext,
    make: MakePublisher,
    /// None until it could be made: its credential may not be there yet.
    publisher: Option<Publisher>,
    /// Number of the last batch that is published whole.
    position: i64,
    /// Looks in a row that failed.
    failures: u32,
    /// Nothing is tried before: what was acknowledged of a batch is sent again with the rest of it.
    rests_until: Instant,
}

impl Output {
    /// Goes on where it was.
    ///
    /// # Errors
    /// The store is away.
    pub async fn recover(context: OutputContext, make: MakePublisher) -> Result<Self, String> {
        let position = context.store.output_position(context.source.source_no).await.map_err(|e| e.to_string())?;
        Ok(Self { context, make, publisher: None, position, failures: 0, rests_until: Instant::now() })
    }

    async fn look(&mut self, progress: &Progress) -> Result<(), Failure> {
        let (store, source) = (self.context.store.clone(), Arc::clone(&self.context.source));
        let mut publisher = match self.publisher.take() {
            Some(publisher) => publisher,
            None => (self.make)()?,
        };
        let looked = self.go_on(&mut publisher, &store, &source, progress).await;
        self.publisher = Some(publisher);
        looked
    }

    async fn go_on(
        &mut self,
        publisher: &mut Publisher,
        store: &Store,
        source: &Source,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let mut looked_at = 0;
        while looked_at < BATCHES_A_LOOK && progress.is_current() {
            let batches = store.batches_behind(source.source_no, self.position, BATCHES_AT_ONCE).await?;
            if batches.is_empty() {
                return Ok(());
            }
            looked_at += batches.len();
            let mut published = Ok(());
            let before = self.position;
            for (source_seq, records) in batches {
                published = self.publish(publisher, &records).await;
                if published.is_err() {
                    break;
                }
                self.position = source_seq;
                progress.beat();
            }
            if self.position > before {
                store.keep_output_position(source.source_no, self.position).await?;
            }
            published?;
        }
        Ok(())
    }

    async fn publish(&self, publisher: &mut Publisher, records: &[Record]) -> Result<(), FetchError> {
        if records.is_empty() {
            return Ok(());
        }
        let (source, operator) = (self.context.source.id, &self.context.operator);
        let lines: Vec<Vec<u8>> = records.iter().map(|record| engine::output::line(record, source, operator)).collect();
        let keys: Vec<String> = records.iter().map(|record| engine::output::key(record, source)).collect();
        let processed: Vec<Processed<'_>> =
            keys.iter().zip(&lines).map(|(key, line)| Processed { key, line }).collect();
        let before = (publisher.published(), publisher.failed());
        let done = publisher.publish(&processed, self.context.clock.now()).await;
        let counted = |outcome, count| self.context.metrics.0.with_label_values(&[outcome]).inc_by(count);
        counted("published", publisher.published() - before.0);
        counted("failed", publisher.failed() - before.1);
        done
    }
}

impl Work for Output {
    type Msg = Look;

    fn handle<'a>(&'a mut self, _msg: Arc<Look>, progress: &'a Progress) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            let mut stopping = self.context.stopping.clone();
            let source = self.context.source.id;
            if Instant::now() < self.rests_until {
                return;
            }
            tokio::select! {
                looked = self.look(progress) => match looked {
                    Ok(()) => {
                        self.failures = 0;
                        progress.goes_on();
                    }
                    Err(error) => {
                        let rest = REST_FIRST.saturating_mul(1 << self.failures.min(16)).min(REST_MAX);
                        self.failures = self.failures.saturating_add(1);
                        self.rests_until = Instant::now() + rest;
                        progress.backs_off(&error.to_string());
                        tracing::warn!(%source, %error, rest_s = rest.as_secs(), "records are published later");
                    }
                },
                // what is cut off here is published again
                _ = stopping.wait_for(|is_stopping| *is_stopping) => {}
            }
        })
    }

    fn dead_letter<'a>(
        &'a mut self,
        _record: Arc<Look>,
        _letter: &'a DeadLetter,
        _progress: &'a Progress,
    ) -> LocalBoxFuture<'a, ()> {
        // the next look finds the same batch
        Box::pin(std::future::ready(()))
    }
}
