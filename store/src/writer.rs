//! The one writer of a node: groups commits, gives them their sequences, and passes them on in the journal's order.
//!
//! Three lanes on PostgreSQL (feeds and ticks; lookup evidence; everything else), one on SQLite, which has one writer anyway. A lane
//! takes what waits (up to [`GROUP_COMMITS_MAX`]) into one transaction: rows first, the journal's head late, one
//! COMMIT. While it is under way the next group gathers, so the disk sets the size of the groups, not a timer.
//!
//! | what fails | what follows |
//! |---|---|
//! | a constraint | the members run one by one; only the bad one is rejected |
//! | a number that another process took | the group runs again with fresh numbers |
//! | anything before COMMIT | nothing was written: tried again until the members' time is over, then `Unavailable` |
//! | the answer to COMMIT | once the head is free, the journal is asked whether the group's last row is there before anybody is told "stored" |

mod commit;
mod fill;
mod numbers;
mod publish;
mod refusal;

pub use commit::{
    Attachment, Commit, CommitError, CommitReceipt, IdempotencyRow, ImportProgress, ImportedPerson, QuarantineRow,
    RuleBatch, RuleFindingRow, VaultRow,
};
use fill::head_for_update;
use numbers::{Counters, load_counters};
use publish::{Publisher, poll};
use refusal::{is_full, numbers_taken, refusal};

use crate::StoreError;
use crate::clock::Clock;
use crate::db::{Conn, Db, Val};
use crate::journal::Chain;
use crate::open::Store;
use models::event::{Committed, Event};
use models::feed::DataClass;
use models::ids::{OperatorNo, Seq};
use models::record::Record;
use models::ts::Ts;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// Commits in one group at most.
pub const GROUP_COMMITS_MAX: usize = 1_000;
/// Records in one group at most.
pub const GROUP_RECORDS_MAX: usize = 20_000;
/// Commits that may wait in a lane.
pub const QUEUE_COMMITS_MAX: usize = 16_384;
/// How long an attempt may go on after its members' time before the database counts as hanging.
const STUCK_MAX: Duration = Duration::from_secs(5);
/// Pause between two tries to reach the database.
const RETRY: Duration = Duration::from_millis(100);
/// How long the journal is asked at least what became of a commit, however late it is for the members.
const ASK_MIN: Duration = Duration::from_secs(1);

/// One commit of a published group.
pub struct Member {
    events: Arc<[Committed]>,
    records: Option<Arc<[Record]>>,
    rule_batches: Vec<RuleBatch>,
    done: Option<oneshot::Sender<Result<CommitReceipt, CommitError>>>,
}

impl Member {
    /// Its events.
    pub fn events(&self) -> Arc<[Committed]> {
        Arc::clone(&self.events)
    }

    /// Its batch's records; none where another process wrote it.
    pub fn records(&self) -> Option<Arc<[Record]>> {
        self.records.clone()
    }

    /// A batch that its rules hear; none where another process wrote it.
    pub fn rule_batch(&self, operator_no: OperatorNo, operator_seq: i64) -> Option<&RuleBatch> {
        self.rule_batches.iter().find(|b| (b.operator_no, b.operator_seq) == (operator_no, operator_seq))
    }

    /// Sends the receipt: to be called once the events are applied.
    pub fn complete(mut self) {
        if let Some(done) = self.done.take() {
            let _ = done.send(Ok(CommitReceipt { events: Arc::clone(&self.events) }));
        }
    }
}

/// Commits that became durable together.
pub struct CommittedGroup {
    /// First sequence.
    pub first_seq: Seq,
    /// Last sequence.
    pub last_seq: Seq,
    /// In order.
    pub members: Vec<Member>,
}

/// Hears of everything that is committed, in the journal's order, whoever wrote it.
pub trait Sink: Send {
    /// Takes a group; must not block. Completes each member sooner or later.
    fn publish(&mut self, group: CommittedGroup);
    /// The head was read at `read_at`, and everything up to it is published.
    fn head(&mut self, seq: Seq, read_at: Ts);
}

struct Pending {
    events: Vec<Event>,
    attachments: Vec<Attachment>,
    key_epoch: Option<i64>,
    done: Option<oneshot::Sender<Result<CommitReceipt, CommitError>>>,
    deadline: Instant,
}

impl Pending {
    fn records(&self) -> Option<&Arc<[Record]>> {
        self.attachments.iter().find_map(|a| match a {
            Attachment::FeedRecords(records) => Some(records),
            _ => None,
        })
    }

    fn class(&self) -> Option<DataClass> {
        self.attachments.iter().find_map(|a| if let Attachment::FeedClass(class) = a { Some(*class) } else { None })
    }

    fn fail(&mut self, error: CommitError) {
        if let Some(done) = self.done.take() {
            let _ = done.send(Err(error));
        }
    }
}

/// Offers commits; cheap to clone.
#[derive(Clone)]
pub struct WriterHandle {
    main: mpsc::Sender<Pending>,
    feed: mpsc::Sender<Pending>,
    evidence: mpsc::Sender<Pending>,
    timeout: Duration,
    closed: Arc<watch::Sender<bool>>,
    open: Arc<AtomicUsize>,
}

impl WriterHandle {
    /// Puts a commit into its lane; does not wait.
    pub fn submit(&self, commit: Commit) -> Result<(), CommitError> {
        if *self.closed.borrow() {
            return Err(CommitError::Unavailable);
        }
        // contacts and what became of notices go with the feeds: there, they keep neither a registration nor evidence waiting
        let of_feeds = |e: &Event| {
            matches!(e, Event::FeedBatchStored(_) | Event::OperatorTicked { .. } | Event::RuleInputStored(_))
        };
        let feed = commit.events.iter().any(of_feeds)
            || commit.attachments.iter().any(|a| matches!(a, Attachment::Contacts(_) | Attachment::NoticeMarks(_)));
        let evidence =
            commit.events.is_empty() && commit.attachments.iter().any(|a| matches!(a, Attachment::Evidence(_)));
        let pending = Pending {
            events: commit.events,
            attachments: commit.attachments,
            key_epoch: commit.key_epoch,
            done: Some(commit.done),
            deadline: Instant::now() + self.timeout,
        };
        self.open.fetch_add(1, Ordering::AcqRel);
        let lane = match (feed, evidence) {
            (true, _) => &self.feed,
            (_, true) => &self.evidence,
            _ => &self.main,
        };
        lane.try_send(pending).map_err(|refused| {
            self.open.fetch_sub(1, Ordering::AcqRel);
            match refused {
                mpsc::error::TrySendError::Full(_) => CommitError::Full,
                mpsc::error::TrySendError::Closed(_) => CommitError::Unavailable,
            }
        })
    }

    /// Do all lanes run? They end with the writer, or by a panic.
    pub fn is_open(&self) -> bool {
        !self.main.is_closed() && !self.feed.is_closed() && !self.evidence.is_closed()
    }

    async fn stop(&self, drain: Duration) -> bool {
        self.closed.send_replace(true);
        let end = Instant::now() + drain;
        while self.open.load(Ordering::Acquire) > 0 {
            if Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
}

struct Lane {
    db: Db,
    chain: Chain,
    clock: Arc<dyn Clock>,
    publisher: Arc<Mutex<Publisher>>,
    conn: Option<Conn>,
    counters: Counters,
    months: HashSet<i64>,
    group_no: u64,
}

/// How an attempt failed.
enum Failure {
    /// Nothing was written.
    Before(sqlx::Error),
    /// COMMIT was sent and its answer is missing: this row says what became of it.
    Unknown { seq: Seq, digest: [u8; 32], group: CommittedParts, error: sqlx::Error },
}

/// A group as it is in the journal, its members not yet told.
struct CommittedParts {
    first_seq: Seq,
    last_seq: Seq,
    events: Vec<Arc<[Committed]>>,
}

impl Store {
    /// Starts the node's writer. Everything already in the journal is taken as known to the sink.
    pub async fn start_writer(
        &self,
        sink: Box<dyn Sink>,
        chain_key: [u8; 32],
        clock: Arc<dyn Clock>,
        timeout: Duration,
    ) -> Result<WriterHandle, StoreError> {
        let next = self.head().await? + 1;
        let publisher = Arc::new(Mutex::new(Publisher { next, held: BTreeMap::new(), sink }));
        let open = Arc::new(AtomicUsize::new(0));
        let lane = || Lane {
            db: self.db.clone(),
            chain: Chain::new(&chain_key),
            clock: Arc::clone(&clock),
            publisher: Arc::clone(&publisher),
            conn: None,
            counters: Counters::default(),
            months: HashSet::new(),
            group_no: 0,
        };
        let closed = Arc::new(watch::Sender::new(false));
        let (main, main_queue) = mpsc::channel(QUEUE_COMMITS_MAX);
        tokio::spawn(lane().run(main_queue, Arc::clone(&open), closed.subscribe()));
        let further = || {
            if !self.db.is_postgres() {
                return main.clone();
            }
            let (further, queue) = mpsc::channel(QUEUE_COMMITS_MAX);
            tokio::spawn(lane().run(queue, Arc::clone(&open), closed.subscribe()));
            further
        };
        let (feed, evidence) = (further(), further());
        tokio::spawn(poll(self.db.clone(), publisher, clock, closed.subscribe()));
        let handle = WriterHandle { main, feed, evidence, timeout, closed, open };
        *self.writer.lock() = Some(handle.clone());
        Ok(handle)
    }

    /// Takes no more commits and waits for those under way; false where some were left.
    pub async fn stop_writer(&self, drain: Duration) -> bool {
        let handle = self.writer.lock().take();
        match handle {
            Some(handle) => handle.stop(drain).await,
            None => true,
        }
    }
}

impl Lane {
    /// Commits what comes until the writer is closed and nothing waits; its connection goes with it.
    async fn run(
        mut self,
        mut queue: mpsc::Receiver<Pending>,
        open: Arc<AtomicUsize>,
        mut closed: watch::Receiver<bool>,
    ) {
        loop {
            let first = tokio::select! {
                biased;
                first = queue.recv() => first,
                _ = closed.wait_for(|closed| *closed) => None,
            };
            let Some(first) = first else { return };
            let mut records = first.records().map_or(0, |r| r.len());
            let mut group = vec![first];
            // whoever is about to submit gets the chance to join
            tokio::task::yield_now().await;
            while group.len() < GROUP_COMMITS_MAX && records < GROUP_RECORDS_MAX {
                let Ok(next) = queue.try_recv() else { break };
                records += next.records().map_or(0, |r| r.len());
                group.push(next);
            }
            let members = group.len();
            self.commit(group).await;
            open.fetch_sub(members, Ordering::AcqRel);
        }
    }

    /// Sees a group through; every member is told in the end.
    async fn commit(&mut self, mut group: Vec<Pending>) {
        loop {
            let patience = group.iter().map(|p| p.deadline).max().unwrap_or_else(Instant::now) + STUCK_MAX;
            let attempt = match tokio::time::timeout_at(patience, self.attempt(&group)).await {
                Ok(attempt) => attempt,
                Err(_) => {
                    // the database neither answers nor fails. Whether this was committed nobody knows: the poll will
                    // find it if so. The connection went with the attempt, and closes
                    tracing::error!(members = group.len(), "the database does not answer");
                    return group.iter_mut().for_each(|p| p.fail(CommitError::Unavailable));
                }
            };
            let error = match attempt {
                Ok(parts) => return self.publish(parts, group),
                Err(Failure::Before(error)) => error,
                Err(Failure::Unknown { seq, digest, group: parts, error }) => {
                    self.conn = None;
                    match self.find_out(seq, digest, &group).await {
                        Some(true) => return self.publish(parts, group),
                        Some(false) => error,
                        // should it be there after all, the poll finds it and passes it on
                        None => return group.iter_mut().for_each(|p| p.fail(CommitError::Unavailable)),
                    }
                }
            };
            if let Some(refusal) = refusal(&error) {
                if group.len() == 1 {
                    return group.iter_mut().for_each(|p| p.fail(refusal.clone()));
                }
                for pending in group {
                    Box::pin(self.commit(vec![pending])).await;
                }
                return;
            }
            self.conn = None;
            let now = Instant::now();
            tracing::warn!(%error, members = group.len(), "a group could not be written");
            for pending in group.iter_mut().filter(|p| p.deadline <= now || is_full(&error)) {
                pending.fail(CommitError::Unavailable);
            }
            group.retain(|p| p.done.is_some());
            if group.is_empty() {
                return;
            }
            if !numbers_taken(&error) {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    fn publish(&self, parts: CommittedParts, group: Vec<Pending>) {
        let members = parts.events.into_iter().zip(group).map(|(events, mut pending)| Member {
            events,
            records: pending.records().cloned(),
            rule_batches: pending.attachments.iter().filter_map(Attachment::rule_batch).cloned().collect(),
            done: pending.done.take(),
        });
        if parts.last_seq < parts.first_seq {
            return members.for_each(Member::complete);
        }
        let group = CommittedGroup { first_seq: parts.first_seq, last_seq: parts.last_seq, members: members.collect() };
        self.publisher.lock().publish(group);
    }

    /// Was the group committed? None where the database stays away beyond every member's time.
    ///
    /// The lost connection's transaction may still be on its way through the server: it holds the head, so the head is
    /// waited for first. Only then is "not there" final, and the group may be written again.
    async fn find_out(&self, seq: Seq, digest: [u8; 32], group: &[Pending]) -> Option<bool> {
        let deadline = group.iter().map(|p| p.deadline).max();
        let end = (Instant::now() + ASK_MIN).max(deadline.unwrap_or_else(Instant::now));
        loop {
            let found = async {
                let mut conn = self.db.write().await?;
                conn.begin().await?;
                let found = async {
                    conn.rows(head_for_update(&conn), &[]).await?;
                    let rows = conn.rows("SELECT digest FROM journal WHERE seq = $1", &[Val::Int(seq)]).await?;
                    rows.first().map(|row| row.bytes(0)).transpose()
                };
                let found = found.await;
                conn.run("ROLLBACK", &[]).await?;
                found
            };
            match tokio::time::timeout_at(end, found).await {
                Ok(Ok(stored)) => return Some(stored.is_some_and(|d| d == digest)),
                Ok(Err(_)) if Instant::now() < end => tokio::time::sleep(RETRY).await,
                _ => return None,
            }
        }
    }

    async fn attempt(&mut self, group: &[Pending]) -> Result<CommittedParts, Failure> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => {
                let mut conn = self.db.write().await.map_err(Failure::Before)?;
                self.counters = load_counters(&mut conn).await.map_err(Failure::Before)?;
                conn
            }
        };
        if let Some(failure) = self.partitions(&mut conn, group).await.err() {
            return Err(Failure::Before(failure));
        }
        conn.begin().await.map_err(Failure::Before)?;
        match self.fill(&mut conn, group).await {
            Err(error) => {
                // where the content is at fault the connection is sound; numbers were given out, so they are read anew
                if refusal(&error).is_some()
                    && conn.run("ROLLBACK", &[]).await.is_ok()
                    && let Ok(counters) = load_counters(&mut conn).await
                {
                    self.counters = counters;
                    self.conn = Some(conn);
                }
                Err(Failure::Before(error))
            }
            Ok((parts, last)) => match conn.run("COMMIT", &[]).await {
                Ok(_) => {
                    self.conn = Some(conn);
                    Ok(parts)
                }
                Err(error) => {
                    tracing::warn!(%error, "the outcome of a commit is unknown");
                    let _ = conn.run("ROLLBACK", &[]).await;
                    match last {
                        Some((seq, digest)) => Err(Failure::Unknown { seq, digest, group: parts, error }),
                        None => Err(Failure::Before(error)),
                    }
                }
            },
        }
    }
}
