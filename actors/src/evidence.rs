//! Lookup evidence: every answer leaves a record before it is sent, in blocks that are chained, sealed, signed, stored.
//!
//! ```text
//! HTTP worker ─ record ─▶ its own filling block ─┐ 4,096 records or 20 ms
//! HTTP worker ─ record ─▶ its own filling block ─┴▶ one thread: seal, chain, sign ─▶ the writer's lane ─▶ stored
//! ```
//! A worker takes the lock of its own block only, which the sealing thread takes fifty times a second: nobody waits for
//! the database. Where it does not keep up, blocks wait in memory; beyond [`UNFLUSHED_BYTES_MAX`] lookups are refused,
//! because an answer without evidence is worse than none. What a crash leaves out is journaled as a gap by the next
//! process, from the last moment up to which everything was stored.

mod sealer;

use crate::metrics::EvidenceMetrics;
use crate::secrets::{KeyError, KeyRing, Keys, random};
use crate::writer::WriterHandle;
use arc_swap::ArcSwap;
use engine::checks::Checks;
use models::event::{ChainRoot, Event};
use models::evidence::{
    BLOCK_RECORDS_MAX, Block, ChainId, FURTHER_MAX, Further, LookupRecord, MonthKey, People, Place, Row, Subject,
    month_of,
};
use models::ids::LookupId;
use models::lookup::Purpose;
use models::ts::{DAY, Ts};
use parking_lot::Mutex;
use sealer::Sealer;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;
use store::{Clock, Store, StoreError};
use tokio::sync::watch;

/// How long a record waits for its block to be sealed at most.
pub const SEAL_EVERY: Duration = Duration::from_millis(20);
/// Evidence in memory that is not stored yet; beyond it lookups are refused.
pub const UNFLUSHED_BYTES_MAX: usize = 128 << 20;

/// Why no evidence can be kept, and so nothing be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceRefusal {
    /// The process has not journaled its beginning, or its sealing has ended.
    #[error("evidence cannot be kept yet")]
    Closed,
    /// Too much waits for the database.
    #[error("too much evidence waits for the database")]
    Full,
}

/// The keys of a lookup besides the strongest.
pub type FurtherKeys = [Option<Subject>; FURTHER_MAX];

/// Records of a block, and what else they were asked by.
#[derive(Default)]
struct Records {
    records: Vec<LookupRecord>,
    further: Vec<Further>,
}

impl Records {
    fn bytes(&self) -> usize {
        size_of_val(&*self.records) + size_of_val(&*self.further)
    }
}

/// What a worker fills.
#[derive(Default)]
struct Filling {
    block: u64,
    now: Records,
    full: VecDeque<(u64, Records)>,
    spare: Vec<Records>,
}

/// Keys of the months, by month.
pub type Months = BTreeMap<u32, Arc<MonthKey>>;

struct Inner {
    node: u16,
    boot: u32,
    workers: Mutex<Vec<Arc<Mutex<Filling>>>>,
    open: AtomicBool,
    closing: AtomicBool,
    unflushed: AtomicUsize,
    /// Everything answered until then is stored, microseconds.
    through: AtomicI64,
    months: ArcSwap<Months>,
    sealer: Mutex<Option<Thread>>,
    /// Who was asked about lately; none before records are taken.
    checks: OnceLock<Mutex<Checks>>,
    /// Has the sealing ended by a defect?
    failed: watch::Sender<bool>,
    metrics: EvidenceMetrics,
}

/// The evidence of this process; cheap to clone.
#[derive(Clone)]
pub struct EvidenceLog(Arc<Inner>);

/// Where one worker leaves its records.
pub struct EvidenceWorker {
    chain: ChainId,
    filling: Arc<Mutex<Filling>>,
    log: Arc<Inner>,
}

impl EvidenceWorker {
    /// Keeps the record of an answer that is about to be sent; gives the id of the lookup.
    ///
    /// # Errors
    /// [`EvidenceRefusal`]: then the answer must not be sent.
    pub fn record(&self, record: LookupRecord, further: FurtherKeys) -> Result<LookupId, EvidenceRefusal> {
        self.log.accepts()?;
        let mut filling = self.filling.lock();
        // once more under the lock, which the last sealing takes after it has closed: nothing comes in behind it
        self.log.is_open()?;
        Ok(self.keep(&mut filling, record, further))
    }

    /// Keeps several records; gives their ids in order. All or none.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn record_all(
        &self,
        records: impl IntoIterator<Item = (LookupRecord, FurtherKeys)>,
        ids: &mut Vec<LookupId>,
    ) -> Result<(), EvidenceRefusal> {
        self.log.accepts()?;
        let mut filling = self.filling.lock();
        self.log.is_open()?;
        ids.extend(records.into_iter().map(|(record, further)| self.keep(&mut filling, record, further)));
        Ok(())
    }

    fn keep(&self, filling: &mut Filling, record: LookupRecord, further: FurtherKeys) -> LookupId {
        let slot = filling.now.records.len() as u16;
        let place = Place { chain: self.chain, block: filling.block, slot };
        filling.now.records.push(record);
        filling.now.further.extend(further.into_iter().flatten().map(|subject| Further { slot, subject }));
        if filling.now.records.len() == BLOCK_RECORDS_MAX {
            self.log.unflushed.fetch_add(filling.turn(), Ordering::Relaxed);
            self.log.wake();
        }
        place.id()
    }
}

impl Filling {
    /// Puts the block aside and begins the next one; gives its bytes.
    fn turn(&mut self) -> usize {
        let fresh = || Records { records: Vec::with_capacity(BLOCK_RECORDS_MAX), further: Vec::new() };
        let full = std::mem::replace(&mut self.now, self.spare.pop().unwrap_or_else(fresh));
        let bytes = full.bytes();
        self.full.push_back((self.block, full));
        self.block += 1;
        bytes
    }
}

impl Inner {
    fn accepts(&self) -> Result<(), EvidenceRefusal> {
        if self.unflushed.load(Ordering::Relaxed) > UNFLUSHED_BYTES_MAX {
            return Err(EvidenceRefusal::Full);
        }
        self.is_open()
    }

    fn is_open(&self) -> Result<(), EvidenceRefusal> {
        if self.open.load(Ordering::Acquire) { Ok(()) } else { Err(EvidenceRefusal::Closed) }
    }

    fn wake(&self) {
        if let Some(thread) = &*self.sealer.lock() {
            thread.unpark();
        }
    }
}

impl EvidenceLog {
    /// Evidence of a process, which takes no records before [`Self::open`].
    pub fn new(node: u16, boot: u32, metrics: EvidenceMetrics) -> Self {
        Self(Arc::new(Inner {
            node,
            boot,
            workers: Mutex::default(),
            open: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            unflushed: AtomicUsize::new(0),
            through: AtomicI64::new(0),
            months: ArcSwap::default(),
            sealer: Mutex::default(),
            checks: OnceLock::new(),
            failed: watch::Sender::new(false),
            metrics,
        }))
    }

    /// The next worker's own place.
    #[must_use]
    pub fn worker(&self) -> EvidenceWorker {
        let mut workers = self.0.workers.lock();
        let filling = Arc::new(Mutex::new(Filling::default()));
        let chain = ChainId { node: self.0.node, boot: self.0.boot, worker: workers.len() as u16 };
        workers.push(Arc::clone(&filling));
        EvidenceWorker { chain, filling, log: Arc::clone(&self.0) }
    }

    /// Can answers be given, as far as evidence goes?
    ///
    /// # Errors
    /// [`EvidenceRefusal`].
    pub fn accepts(&self) -> Result<(), EvidenceRefusal> {
        self.0.accepts()
    }

    /// Share of [`UNFLUSHED_BYTES_MAX`] that waits for the database.
    #[must_use]
    pub fn fullness(&self) -> f32 {
        self.0.unflushed.load(Ordering::Relaxed) as f32 / UNFLUSHED_BYTES_MAX as f32
    }

    /// Keys of the months that are not destroyed.
    #[must_use]
    pub fn months(&self) -> Arc<Months> {
        self.0.months.load_full()
    }

    /// Its figures.
    #[must_use]
    pub fn metrics(&self) -> &EvidenceMetrics {
        &self.0.metrics
    }

    /// Everything answered until then is stored.
    #[must_use]
    pub fn through(&self) -> Ts {
        Ts(self.0.through.load(Ordering::Relaxed))
    }

    /// Who was asked about lately, up to [`SEAL_EVERY`] ago; none before records are taken.
    #[must_use]
    pub fn checks(&self) -> Option<&Mutex<Checks>> {
        self.0.checks.get()
    }

    /// Was this place, which is not stored, given out by this process, and so will be?
    #[must_use]
    pub fn is_pending(&self, place: Place) -> bool {
        let ours = (place.chain.node, place.chain.boot) == (self.0.node, self.0.boot);
        let filling = self.0.workers.lock().get(usize::from(place.chain.worker)).cloned();
        ours && filling.is_some_and(|filling| {
            let filling = filling.lock();
            (place.block, usize::from(place.slot)) < (filling.block, filling.now.records.len())
        })
    }

    /// Journals what earlier processes of the node left open and the beginning of this one, then takes records.
    ///
    /// # Errors
    /// The store is away: nothing is taken, and it is to be tried again.
    pub async fn open(
        &self,
        store: &Store,
        writer: &WriterHandle,
        keys: &Keys,
        clock: &Arc<dyn Clock>,
        root_every: Duration,
    ) -> Result<(), String> {
        let (node, boot, now) = (self.0.node, self.0.boot, clock.now());
        let ring = keys.hold();
        self.keep_months(store, &ring, now).await?;
        let say = |e: StoreError| e.to_string();
        let mut events = Vec::new();
        // whoever opens holds the one claim of the database: no other process of any node is alive
        let left_open = store.evidence_boots_open().await.map_err(say)?;
        for left in left_open.into_iter().filter(|b| (b.node, b.boot) != (node, boot)) {
            let chains = store.evidence_heads(left.node, left.boot).await.map_err(say)?;
            let chains = chains.into_iter().map(|(worker, block, digest)| root(worker, block, &digest)).collect();
            // where the clock was set back since, the gap reaches from its earlier to its later end
            let (from, to) = (left.through_at.min(now), left.through_at.max(now));
            tracing::warn!(%from, %to, "lookups answered in between may have left no evidence");
            events.push(Event::EvidenceGap { node: left.node, boot: left.boot, from, to, chains });
        }
        events.push(Event::EvidenceOpened { node, boot, at: now });
        writer.commit(events, Vec::new()).await.map_err(|e| e.to_string())?;
        self.0.through.store(now.0, Ordering::Relaxed);
        // set before the first record is taken, so that it hears of all of them
        let _ = self.0.checks.set(Mutex::new(Checks::new(now)));
        let (log, signer) = (Arc::clone(&self.0), Arc::clone(&ring.checkpoint));
        let sealer = Sealer::new(log, writer.clone(), signer, Arc::clone(clock), root_every);
        let thread: JoinHandle<()> = std::thread::Builder::new()
            .name("evidence".to_owned())
            .spawn(move || sealer.run())
            .map_err(|e| e.to_string())?;
        *self.0.sealer.lock() = Some(thread.thread().clone());
        self.0.open.store(true, Ordering::Release);
        Ok(())
    }

    /// Makes sure that this month and the next have keys, and that all that are left are known.
    ///
    /// # Errors
    /// The store is away, or a sealed key does not open.
    pub async fn keep_months(&self, store: &Store, ring: &KeyRing, now: Ts) -> Result<(), String> {
        let wanted = [month_of(now), month_of(now.plus(DAY))];
        if wanted.iter().all(|month| self.0.months.load().contains_key(month)) {
            return Ok(());
        }
        for month in wanted {
            let secret = random::<32>().map_err(|e| e.to_string())?;
            let sealed = ring.seal(&context(month), &secret).map_err(|e| e.to_string())?;
            store.keep_evidence_key(month, sealed, ring.epoch, now).await.map_err(|e| e.to_string())?;
        }
        let months = months(store, ring).await?;
        self.0.months.store(Arc::new(months));
        Ok(())
    }

    /// Destroys the keys of months before `oldest`: nobody can tell any more whom their lookups were about.
    ///
    /// # Errors
    /// The store is away: it is to be tried again.
    pub async fn forget_months(
        &self,
        store: &Store,
        writer: &WriterHandle,
        ring: &KeyRing,
        oldest: u32,
    ) -> Result<(), String> {
        let keys = store.evidence_keys().await.map_err(|e| e.to_string())?;
        let old = keys.into_iter().filter(|key| key.month < oldest && key.sealed.is_some());
        let events: Vec<Event> = old.map(|key| Event::EvidenceKeyDestroyed { month: key.month }).collect();
        if events.is_empty() {
            return Ok(());
        }
        writer.commit(events, Vec::new()).await.map_err(|e| e.to_string())?;
        self.0.months.store(Arc::new(months(store, ring).await?));
        Ok(())
    }

    /// Resolves once the sealing has ended by a defect: this process answers no lookup any more.
    pub async fn failed(&self) {
        // the sender lives in what is borrowed here, so it cannot be gone
        let _ = self.0.failed.subscribe().wait_for(|failed| *failed).await;
    }

    /// Has the sealing ended by a defect?
    #[must_use]
    pub fn has_failed(&self) -> bool {
        *self.0.failed.borrow()
    }

    /// Takes no more records, at once: nothing may be answered that cannot be stored.
    pub fn refuse(&self) {
        self.0.open.store(false, Ordering::Release);
    }

    /// Stores what waits, journals the end and takes no more. False where something was left.
    pub async fn close(&self, patience: Duration) -> bool {
        let Some(thread) = self.0.sealer.lock().clone() else { return true };
        self.0.open.store(false, Ordering::Release);
        self.0.closing.store(true, Ordering::Release);
        thread.unpark();
        let end = tokio::time::Instant::now() + patience;
        while self.0.sealer.lock().is_some() {
            if tokio::time::Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
}

/// What the sealed key of a month is bound to.
pub(crate) fn context(month: u32) -> Vec<u8> {
    format!("evidence month {month}").into_bytes()
}

/// Every month's key that is not destroyed.
///
/// # Errors
/// The store is away, or a key does not open.
pub async fn months(store: &Store, ring: &KeyRing) -> Result<Months, String> {
    let mut months = Months::new();
    for key in store.evidence_keys().await.map_err(|e| e.to_string())? {
        let Some(sealed) = &key.sealed else { continue };
        let secret = ring.open(&context(key.month), sealed).map_err(|e| e.to_string())?;
        let secret: [u8; 32] = secret.try_into().map_err(|_| KeyError::Sealed.to_string())?;
        months.insert(key.month, Arc::new(MonthKey::new(key.month, &secret)));
    }
    Ok(months)
}

/// Remembers that an operator asked about somebody by one of the keys that were supplied.
pub(crate) fn note(checks: &mut Checks, row: &Row, subject: &Subject) {
    if let Some(operator) = row.credential.operator_no {
        checks.note(operator, subject.key, row.at, row.purpose == Purpose::Marketing);
    }
}

/// Whom the lookups of a block were about; none where the key of the month is destroyed.
///
/// # Errors
/// The people of the block do not open.
pub fn people_of(block: &Block, months: &Months) -> Result<Option<People>, models::evidence::BlockError> {
    months.get(&block.head.month).map(|month| block.people(month)).transpose()
}

fn root(worker: u16, block: u64, digest: &[u8; 32]) -> ChainRoot {
    ChainRoot { worker, block, digest: crate::secrets::hex(digest) }
}
