//! The one thread that seals, chains and signs what the workers leave, and offers it to the writer's lane.

use super::{Inner, Records, SEAL_EVERY, note, root};
use crate::writer::WriterHandle;
use models::event::{ChainRoot, Event};
use models::evidence::{Block, ChainId, GENESIS, month_of, seal};
use models::ts::Ts;
use ring::signature::Ed25519KeyPair;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use store::{Attachment, Clock, CommitError, CommitReceipt, EvidenceRows};
use tokio::sync::oneshot;

/// Blocks stored in one commit at most.
const COMMIT_BLOCKS_MAX: usize = 64;
/// Commits of evidence begin at most so often: each costs the disk a sync, and whoever is killed loses what was not
/// stored, which is to stay well below 100 ms.
const STORE_EVERY: Duration = Duration::from_millis(40);
/// A process that answers nothing says so often that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Pause after a commit of evidence that failed.
const RETRY: Duration = Duration::from_millis(100);
/// Full blocks' memory that a worker keeps for later.
const SPARE_BLOCKS_MAX: usize = 4;

/// A commit on its way.
struct UnderWay {
    blocks: usize,
    bytes: usize,
    through: Ts,
    receipt: oneshot::Receiver<Result<CommitReceipt, CommitError>>,
}

/// What the sealing thread does.
pub(super) struct Sealer {
    log: Arc<Inner>,
    writer: WriterHandle,
    signer: Arc<Ed25519KeyPair>,
    clock: Arc<dyn Clock>,
    /// Digest and number of the last sealed block of each worker.
    chains: Vec<(u64, [u8; 32])>,
    /// Sealed, in the order in which they are stored; each with the moment up to which it and those before it are all.
    pending: VecDeque<(Arc<Block>, Option<Ts>)>,
    under_way: Option<UnderWay>,
    stored_at: Instant,
    offered_at: Instant,
    not_before: Instant,
    root_every: Duration,
    rooted_at: Instant,
    rooted_blocks: u64,
}

fn bytes_of(block: &Block) -> usize {
    block.rows.len() + block.people.len() + size_of::<Block>()
}

impl Sealer {
    /// Has sealed nothing yet.
    pub(super) fn new(
        log: Arc<Inner>,
        writer: WriterHandle,
        signer: Arc<Ed25519KeyPair>,
        clock: Arc<dyn Clock>,
        root_every: Duration,
    ) -> Self {
        Self {
            log,
            writer,
            signer,
            clock,
            chains: Vec::new(),
            pending: VecDeque::new(),
            under_way: None,
            stored_at: Instant::now(),
            offered_at: Instant::now(),
            not_before: Instant::now(),
            root_every,
            rooted_at: Instant::now(),
            rooted_blocks: 0,
        }
    }

    /// Seals until the log is closed.
    pub(super) fn run(mut self) {
        let log = Arc::clone(&self.log);
        // a block that was taken and not sealed would be missing without a gap: after a panic nothing is answered
        if catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            log.open.store(false, Ordering::Release);
            tracing::error!("the sealing of evidence has ended: this process answers no lookup any more");
            log.failed.send_replace(true);
        }
        *log.sealer.lock() = None;
    }

    fn work(&mut self) {
        let mut through = self.clock.now();
        loop {
            let closing = self.log.closing.load(Ordering::Acquire);
            if !closing {
                std::thread::park_timeout(SEAL_EVERY);
            }
            // whatever was answered before this moment was recorded before it
            let now = self.clock.now();
            self.seal_all(now);
            if self.pending.is_empty() && self.under_way.is_none() {
                through = now;
            }
            self.hear();
            self.store(through, closing);
            self.root();
            let metrics = &self.log.metrics;
            metrics.unflushed_bytes.set(self.log.unflushed.load(Ordering::Relaxed) as i64);
            if closing && self.pending.is_empty() && self.under_way.is_none() {
                return self.close(now);
            }
            if closing {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn seal_all(&mut self, now: Ts) {
        let workers: Vec<_> = self.log.workers.lock().clone();
        for (no, worker) in workers.iter().enumerate() {
            let taken = {
                let mut filling = worker.lock();
                if !filling.now.records.is_empty() {
                    self.log.unflushed.fetch_add(filling.turn(), Ordering::Relaxed);
                }
                std::mem::take(&mut filling.full)
            };
            for (block, mut records) in taken {
                self.note(&records);
                self.seal(no as u16, block, &records, now);
                self.log.unflushed.fetch_sub(records.bytes(), Ordering::Relaxed);
                records.records.clear();
                records.further.clear();
                let mut filling = worker.lock();
                if filling.spare.len() < SPARE_BLOCKS_MAX {
                    filling.spare.push(records);
                }
            }
        }
        if let Some(checks) = self.log.checks.get() {
            checks.lock().set_through(now);
        }
        // the last of a round carries the moment: with it everything of the round is stored
        if let Some((_, through)) = self.pending.back_mut() {
            *through = Some(now);
        }
    }

    /// Remembers who was asked about, by every key that was supplied.
    fn note(&self, Records { records, further }: &Records) {
        let Some(checks) = self.log.checks.get() else { return };
        let mut checks = checks.lock();
        records.iter().for_each(|record| note(&mut checks, &record.row, &record.subject));
        let row = |slot: u16| &records[usize::from(slot)].row;
        further.iter().for_each(|further| note(&mut checks, row(further.slot), &further.subject));
    }

    fn seal(&mut self, worker: u16, no: u64, Records { records, further }: &Records, now: Ts) {
        let place = usize::from(worker);
        if self.chains.len() <= place {
            self.chains.resize(place + 1, (0, GENESIS));
        }
        let months = self.log.months.load();
        // without this month's key, because the database is away, the latest one has to do
        let month = months.get(&month_of(now)).or_else(|| months.values().next_back());
        let chain = ChainId { node: self.log.node, boot: self.log.boot, worker };
        let month = month.expect("opened with a key");
        let block = seal(chain, no, self.chains[place].1, records, further, month, &self.signer).expect("sealable");
        self.chains[place] = (no + 1, block.digest);
        self.log.unflushed.fetch_add(bytes_of(&block), Ordering::Relaxed);
        self.log.metrics.records.inc_by(records.len() as u64);
        self.pending.push_back((Arc::new(block), None));
    }

    /// What became of the commit under way?
    fn hear(&mut self) {
        let Some(mut under_way) = self.under_way.take() else { return };
        match under_way.receipt.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => self.under_way = Some(under_way),
            Ok(Ok(_)) => {
                self.pending.drain(..under_way.blocks);
                self.log.unflushed.fetch_sub(under_way.bytes, Ordering::Relaxed);
                self.log.through.store(under_way.through.0, Ordering::Relaxed);
                self.log.metrics.blocks.inc_by(under_way.blocks as u64);
                self.stored_at = Instant::now();
            }
            Ok(Err(error)) => self.put_off(&error),
            Err(oneshot::error::TryRecvError::Closed) => self.put_off(&CommitError::Unavailable),
        }
    }

    fn put_off(&mut self, error: &CommitError) {
        self.writer.count(error);
        tracing::warn!(%error, waiting = self.pending.len(), "evidence is stored later");
        self.not_before = Instant::now() + RETRY;
    }

    /// Offers what waits; where nothing does, now and then says that this process is there.
    fn store(&mut self, idle_through: Ts, closing: bool) {
        let quiet = self.pending.is_empty() && self.stored_at.elapsed() < HEARTBEAT;
        let now = Instant::now();
        // a round of sealing is never exactly on time
        let early = now.duration_since(self.offered_at) < STORE_EVERY - SEAL_EVERY / 2;
        if self.under_way.is_some() || quiet || now < self.not_before || (early && !closing) {
            return;
        }
        self.offered_at = now;
        let offered = self.pending.iter().take(COMMIT_BLOCKS_MAX);
        let bytes = offered.clone().map(|(block, _)| bytes_of(block)).sum();
        let stored = self.log.through.load(Ordering::Relaxed);
        // the newest whole round, also where the clock was set back since the one before
        let round = offered.clone().filter_map(|(_, through)| *through).next_back();
        let through = if self.pending.is_empty() { idle_through } else { round.unwrap_or(Ts(stored)) };
        let blocks: Vec<Arc<Block>> = offered.map(|(block, _)| Arc::clone(block)).collect();
        let count = blocks.len();
        let rows = EvidenceRows { node: self.log.node, boot: self.log.boot, blocks, through_at: through };
        match self.writer.offer_now(None, Vec::new(), vec![Attachment::Evidence(rows)]) {
            Ok(receipt) => self.under_way = Some(UnderWay { blocks: count, bytes, through, receipt }),
            Err(error) => self.put_off(&error),
        }
    }

    fn roots(&self) -> Vec<ChainRoot> {
        let sealed = self.chains.iter().enumerate().filter(|(_, (next, _))| *next > 0);
        sealed.map(|(worker, (next, digest))| root(worker as u16, next - 1, digest)).collect()
    }

    /// Journals how far the chains have come, once everything of them is stored.
    fn root(&mut self) {
        let blocks = self.chains.iter().map(|(next, _)| next).sum();
        let due = blocks > self.rooted_blocks && self.rooted_at.elapsed() >= self.root_every;
        if !due || !self.pending.is_empty() || self.under_way.is_some() {
            return;
        }
        let event = Event::EvidenceRooted { node: self.log.node, boot: self.log.boot, chains: self.roots() };
        // whether it is there is not waited for: the next one says as much, and the end says all
        if self.writer.offer_now(None, vec![event], Vec::new()).is_ok() {
            (self.rooted_at, self.rooted_blocks) = (Instant::now(), blocks);
        }
    }

    fn close(&self, now: Ts) {
        let event =
            Event::EvidenceClosed { node: self.log.node, boot: self.log.boot, through: now, chains: self.roots() };
        let closed = self.writer.offer_now(None, vec![event], Vec::new()).map(oneshot::Receiver::blocking_recv);
        if !matches!(closed, Ok(Ok(Ok(_)))) {
            tracing::warn!("the end of the evidence is not journaled: the next start will call it a gap");
        }
    }
}
