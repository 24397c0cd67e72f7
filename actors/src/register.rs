//! The register: decisions made under a lock of the keys they touch, an index that one actor alone changes.
//!
//! ```text
//! command ─ lock its keys ─▶ dossiers of who shares one (store) ─▶ engine::register::decide ─▶ commit
//!                                                                        │ durable, in order
//! reply ◀─ unlock ◀──────── applied to the index by the register's actor ◀┘
//! ```
//! The locks last until the commit is applied, so a decision stands on committed state only, people who share no key
//! go into the same group commit side by side, and nothing has to be undone when a commit fails. The section runs in
//! a task of its own: a caller who hangs up does not let go of the locks.

mod large_pages;
mod recovery;

pub(crate) use recovery::for_tools;
use recovery::{from_snapshot, from_tables};

use crate::api::{EngineError, IdempotencyKey, NewExclusion, Registered};
use crate::idempotency;
use crate::kernel::{DeadLetter, Progress, Work};
use crate::missed::Missed;
use crate::secrets::{self, KeyRing, Keys};
use crate::trace;
use crate::writer::WriterHandle;
use arc_swap::ArcSwap;
use engine::register::decide::{self, Dossier, Request};
use engine::register::index::{IndexReader, IndexState, IndexWriter, PEOPLE_MAX, Snapshot};
use futures_util::future::LocalBoxFuture;
use jiff::tz::TimeZone;
use models::event::{Committed, Event, Exclusion, PersonKey};
use models::exclusion::{AtEnd, Period};
use models::exclusion_report::ExclusionReport;
use models::ids::{CaseId, ExclusionId, PersonNo, Seq};
use models::jurisdiction::JurisdictionNo;
use models::match_key::{MatchKey, OpaqueKind};
use models::ts::Ts;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use store::{Attachment, CommitError, CommitReceipt, Member, Store, VaultRow};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Stripes of the lock table: two people collide by chance once in this many.
const STRIPES: usize = 4096;
/// Exclusions that one sweep ends or renews.
pub const SWEEP_MAX: u32 = 1_000;
/// Of them, how many at the same time.
const SWEEP_AT_ONCE: usize = 64;
/// People registered under one phone at most: each lookup of it asks for all of them.
pub(crate) const SHARERS_MAX: usize = 64;
/// How often a registration is tried that a step of a rotation refuses: there are seldom two of them in a second.
const ROTATED_TRIES: u32 = 50;
/// Pause between two tries: the ring follows its step within milliseconds.
const ROTATED_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// What the register's actor hears, in the order of the journal.
pub enum RegisterMsg {
    /// Committed events that change the index; the member is answered once they are in it.
    Committed {
        /// The events.
        events: Arc<[Committed]>,
        /// Who waits for them.
        member: parking_lot::Mutex<Option<Member>>,
    },
    /// The journal's head, read at `read_at`; everything up to it was published before this message.
    Head {
        /// Its sequence.
        seq: Seq,
        /// When.
        read_at: Ts,
    },
}

/// Sees an event before the index applies it.
pub type InspectEvent = Arc<dyn Fn(&Event) + Send + Sync>;

/// The index's one writer.
pub struct RegisterActor {
    inspect: Option<InspectEvent>,
    index: IndexWriter,
    as_of: Ts,
    version: Seq,
    missed: Missed,
}

impl RegisterActor {
    /// Builds the index from its newest good snapshot and the events behind it, or from the tables, and shows it to the
    /// readers; until then nobody is told "not excluded". What is committed meanwhile waits in the queue and is applied
    /// again, which changes nothing.
    pub async fn recover(
        store: &Store,
        chain_key: &[u8; 32],
        now: Ts,
        shown: &ArcSwap<IndexReader>,
        missed: Missed,
        inspect: Option<InspectEvent>,
        progress: &Progress,
    ) -> Result<Self, String> {
        missed.clear();
        let started = std::time::Instant::now();
        shown.store(Arc::new(IndexWriter::with_capacity(0).reader()));
        let version = store.head().await.map_err(say)?;
        let (mut index, from) = match from_snapshot(store, chain_key, version, &|| progress.beat()).await {
            Some(index) => (index, "snapshot"),
            None => (from_tables(store, &|| progress.beat()).await?, "tables"),
        };
        index.set_through(version);
        index.set_ready(now, version);
        let (people, keys) = (index.size().people, index.size().keys);
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(from, people, keys, ms, "the register is complete");
        large_pages::check(index.reader().memory_bytes());
        shown.store(Arc::new(index.reader()));
        Ok(Self { inspect, index, as_of: now, version, missed })
    }

    fn apply(&mut self, msg: &RegisterMsg) {
        // dropped with the panic, the index says "loading" to whoever still reads it
        self.missed.check("a register event");
        match msg {
            RegisterMsg::Committed { events, member } => {
                for committed in events.iter().filter(|c| c.event.is_register()) {
                    if let Some(inspect) = &self.inspect {
                        inspect(&committed.event);
                    }
                    if let Err(error) = engine::register::apply::event(&mut self.index, &committed.event) {
                        // incomplete is not ready: nobody may be told "not excluded" from here on
                        self.index.set_loading();
                        panic!("the index cannot hold a committed event: {error}");
                    }
                    self.version = self.version.max(committed.seq);
                }
                self.index.set_ready(self.as_of, self.version);
                if let Some(member) = member.lock().take() {
                    member.complete();
                }
            }
            RegisterMsg::Head { seq, read_at } => {
                self.index.set_through(*seq);
                // not the later of both: where the clock was set back, the proof is as old as it is
                self.as_of = *read_at;
                self.index.set_ready(self.as_of, self.version);
            }
        }
    }
}

impl Drop for RegisterActor {
    fn drop(&mut self) {
        // whoever still holds a reader of this index must not go on answering from it
        self.index.set_loading();
    }
}

/// A copy of the index on its way into the store.
pub(crate) struct Copying(pub Snapshot);

impl store::SnapshotSource for Copying {
    fn copy(&mut self, out: &mut Vec<u8>, bytes: usize) -> bool {
        self.0.copy(out, bytes)
    }

    fn is_stale(&self) -> bool {
        self.0.is_stale()
    }

    fn head(&self) -> (Seq, String) {
        let head = self.0.head();
        // a struct of numbers serialises
        (head.through, serde_json::to_string(&head).unwrap_or_default())
    }
}

/// The store's people are the engine's dossiers.
pub(crate) fn dossier(person: store::PersonDossier) -> Dossier {
    Dossier {
        person_no: person.person_no.0,
        birth_digest: person.birth_digest,
        keys: person.keys,
        exclusions: person.exclusions,
    }
}

impl Work for RegisterActor {
    type Msg = RegisterMsg;

    fn handle<'a>(&'a mut self, msg: Arc<RegisterMsg>, _progress: &'a Progress) -> LocalBoxFuture<'a, ()> {
        self.apply(&msg);
        Box::pin(std::future::ready(()))
    }

    fn dead_letter<'a>(
        &'a mut self,
        _record: Arc<RegisterMsg>,
        _letter: &'a DeadLetter,
        _progress: &'a Progress,
    ) -> LocalBoxFuture<'a, ()> {
        // never skip (invariant 1): what it says is in the tables already, and after a dead letter the factory
        // rebuilds the index from them
        self.index.set_loading();
        Box::pin(std::future::ready(()))
    }
}

/// Makes decisions; cheap to clone.
#[derive(Clone)]
pub struct Register(Arc<Inner>);

struct Inner {
    store: Store,
    writer: WriterHandle,
    keys: Keys,
    family: Arc<str>,
    index: Arc<ArcSwap<IndexReader>>,
    next_person: AtomicU32,
    stripes: Vec<Arc<Mutex<()>>>,
    zones: Vec<TimeZone>,
}

impl Register {
    /// `family` is the deployment's, part of every digest; `next_person` is the first free number; `zones` are the jurisdictions' time zones by number.
    pub fn new(
        store: Store,
        writer: WriterHandle,
        (keys, family): (Keys, Arc<str>),
        index: Arc<ArcSwap<IndexReader>>,
        next_person: u32,
        zones: Vec<TimeZone>,
    ) -> Self {
        let stripes = (0..STRIPES).map(|_| Arc::default()).collect();
        let next_person = AtomicU32::new(next_person);
        Self(Arc::new(Inner { store, writer, keys, family, index, next_person, stripes, zones }))
    }

    /// Registers an exclusion, or returns (extended where longer) the one that the same person has.
    pub async fn register(
        &self,
        new: NewExclusion,
        idempotency: Option<IdempotencyKey>,
        now: Ts,
    ) -> Result<Registered, EngineError> {
        let this = Arc::clone(&self.0);
        section(async move { this.register(new, idempotency, None, now).await }).await
    }

    /// Registers what an operator reported, and settles the report, as it is given here, in the same commit.
    pub async fn register_reported(
        &self,
        new: NewExclusion,
        report: ExclusionReport,
        now: Ts,
    ) -> Result<Registered, EngineError> {
        let this = Arc::clone(&self.0);
        section(async move { this.register(new, None, Some(report), now).await }).await
    }

    /// Extends an exclusion by a period that starts now.
    pub async fn extend(
        &self,
        jurisdiction: JurisdictionNo,
        id: ExclusionId,
        period: Period,
        idempotency: Option<IdempotencyKey>,
        now: Ts,
    ) -> Result<Registered, EngineError> {
        let this = Arc::clone(&self.0);
        section(async move { this.extend(jurisdiction, id, period, idempotency, now).await }).await
    }

    /// An exclusion by its id, within a jurisdiction.
    pub async fn exclusion(&self, jurisdiction: JurisdictionNo, id: ExclusionId) -> Result<Exclusion, EngineError> {
        self.0.exclusion(jurisdiction, id).await
    }

    /// Ends what has lapsed and renews what renews; gives how many.
    pub async fn sweep(&self, now: Ts) -> Result<usize, EngineError> {
        let this = Arc::clone(&self.0);
        section(async move { this.sweep(now).await }).await
    }
}

/// Runs a write to its end, also where whoever asked for it hangs up: what it holds is not let go half-way.
pub(crate) async fn section<T: Send + 'static>(
    work: impl Future<Output = Result<T, EngineError>> + Send + 'static,
) -> Result<T, EngineError> {
    tokio::spawn(trace::carried(work)).await.unwrap_or(Err(EngineError::Unavailable("the write")))
}

impl Inner {
    async fn lock(&self, digests: impl Iterator<Item = u128>) -> Vec<OwnedMutexGuard<()>> {
        // ascending, so that two commands never wait for each other
        let stripes: BTreeSet<usize> = digests.map(|d| (d % STRIPES as u128) as usize).collect();
        let mut guards = Vec::with_capacity(stripes.len());
        for stripe in stripes {
            guards.push(Arc::clone(&self.stripes[stripe]).lock_owned().await);
        }
        guards
    }

    /// Everybody who holds one of the keys, under the locks of *all* their keys: two commands may come to one
    /// person by different documents.
    async fn locked_dossiers(
        &self,
        keys: &[MatchKey],
        now: Ts,
    ) -> Result<(Vec<OwnedMutexGuard<()>>, Vec<Dossier>), EngineError> {
        let mut wanted: BTreeSet<u128> = keys.iter().map(|k| k.0).collect();
        loop {
            let locks = self.lock(wanted.iter().copied()).await;
            let people: BTreeSet<u32> = {
                let index = self.index.load();
                let second = u32::try_from(now.seconds()).unwrap_or(u32::MAX);
                keys.iter().flat_map(|key| index.lookup(*key, second).iter().map(|p| p.0).collect::<Vec<_>>()).collect()
            };
            let mut dossiers = Vec::with_capacity(people.len());
            for person_no in people {
                dossiers.push(dossier(self.store.dossier(PersonNo(person_no)).await.map_err(unavailable)?));
            }
            let held = wanted.len();
            wanted.extend(dossiers.iter().flat_map(|d| d.keys.iter().map(|k| k.key.0)));
            if wanted.len() == held {
                return Ok((locks, dossiers));
            }
        }
    }

    /// The locks of everything a person is known by.
    async fn locked_person(&self, person_no: PersonNo, now: Ts) -> Result<Vec<OwnedMutexGuard<()>>, EngineError> {
        let dossier = self.store.dossier(person_no).await.map_err(unavailable)?;
        let keys: Vec<MatchKey> = dossier.keys.iter().map(|k| k.key).collect();
        Ok(self.locked_dossiers(&keys, now).await?.0)
    }

    fn zone(&self, jurisdiction: JurisdictionNo) -> &TimeZone {
        const UTC: &TimeZone = &TimeZone::UTC;
        self.zones.get(usize::from(jurisdiction.0)).unwrap_or(UTC)
    }

    fn version(&self) -> Result<Seq, EngineError> {
        match self.index.load().state() {
            IndexState::Ready { register_version, .. } => Ok(register_version),
            IndexState::Loading => Err(EngineError::Unavailable("the register is loading")),
        }
    }

    async fn register(
        &self,
        new: NewExclusion,
        idempotency: Option<IdempotencyKey>,
        report: Option<ExclusionReport>,
        now: Ts,
    ) -> Result<Registered, EngineError> {
        for _ in 1..ROTATED_TRIES {
            match self.register_once(&new, idempotency.as_ref(), report.as_ref(), now).await {
                Err(Refused::Rotated) => tokio::time::sleep(ROTATED_PAUSE).await,
                Err(Refused::Error(error)) => return Err(error),
                Ok(registered) => return Ok(registered),
            }
        }
        Err(EngineError::Unavailable("the keys: they are being rotated"))
    }

    /// One try, under the keys of one moment: a step of a rotation in between refuses it, and nothing has happened.
    async fn register_once(
        &self,
        new: &NewExclusion,
        idempotency: Option<&IdempotencyKey>,
        report: Option<&ExclusionReport>,
        now: Ts,
    ) -> Result<Registered, Refused> {
        self.version()?;
        let ring = self.keys.hold();
        let effective_at = new.effective_at.unwrap_or(now);
        if effective_at > now {
            let detail = "an exclusion binds from now or from an earlier time".to_owned();
            return Err(EngineError::Invalid { pointer: "/effective_at", detail }.into());
        }
        let times = Times { effective_at, keys_from: now, now };
        let deciding = trace::begin("decide");
        let mut request = request(new, &ring, &self.family, PersonNo(0), times);
        let keys: Vec<MatchKey> = request.keys.iter().map(|known| known.key).collect();
        let (_locks, others) = self.locked_dossiers(&keys, now).await?;
        if let Some(replayed) = self.replay(idempotency, new.jurisdiction, now).await? {
            deciding.done();
            return Ok(replayed);
        }
        let end = new.period.ends_at(effective_at, self.zone(new.jurisdiction));
        if new.period.at_end() == AtEnd::Lapse && end.is_some_and(|end| end <= now) {
            // a receipt for nothing: nobody would ever be kept out by it
            let detail = "the exclusion would have ended already".to_owned();
            return Err(EngineError::Invalid { pointer: "/effective_at", detail }.into());
        }
        if !decide::is_known(&request, &others) {
            if others.len() >= SHARERS_MAX {
                let detail = "too many people are registered under it; register with a document alone".to_owned();
                return Err(EngineError::Invalid { pointer: "/phone", detail }.into());
            }
            request.person_no = self.next_person()?;
        }
        let outcome = decide::register(&request, &others, self.zone(new.jurisdiction));
        let vault_id = secrets::random::<16>().map_err(|_| EngineError::Unavailable("randomness"))?;
        let sealed = ring.seal_person(&vault_id, &new.person).map_err(|_| EngineError::Unavailable("the vault key"))?;
        let vault = VaultRow { id: vault_id, person_no: outcome.person_no, sealed, at: now };
        let mut attachments = vec![Attachment::Vault(vault)];
        let status = if outcome.created { 201 } else { 200 };
        attachments.extend(idempotency::attachment(idempotency, status, outcome.exclusion.id, now));
        let mut events = outcome.events;
        if let Some(report) = report {
            let settled = ExclusionReport { exclusion: Some(outcome.exclusion.id), ..report.clone() };
            attachments.push(Attachment::ReportSeal { id: settled.id, sealed: None });
            // before the register's own, whose sequence is its version
            events.insert(0, Event::ExclusionReportSet(Box::new(settled)));
        }
        deciding.done();
        let committed = self.writer.commit_in(ring.epoch, events, attachments).await;
        Ok(self.registered(&committed?, outcome.exclusion, outcome.created))
    }

    /// A number for a new person; none is taken where none is left, so that nothing the index cannot hold is committed.
    fn next_person(&self) -> Result<PersonNo, EngineError> {
        let next = self
            .next_person
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |no| (no < PEOPLE_MAX).then_some(no + 1));
        next.map(PersonNo).map_err(|_| EngineError::Overloaded("the register is full"))
    }

    async fn extend(
        &self,
        jurisdiction: JurisdictionNo,
        id: ExclusionId,
        period: Period,
        idempotency: Option<IdempotencyKey>,
        now: Ts,
    ) -> Result<Registered, EngineError> {
        self.version()?;
        let deciding = trace::begin("decide");
        let found = self.exclusion(jurisdiction, id).await?;
        let _locks = self.locked_person(found.person_no, now).await?;
        if let Some(replayed) = self.replay(idempotency.as_ref(), jurisdiction, now).await? {
            deciding.done();
            return Ok(replayed);
        }
        let current = self.exclusion(jurisdiction, id).await?;
        let event = decide::extend(&current, period, now, self.zone(jurisdiction))
            .map_err(|e| EngineError::Conflict(e.to_string()))?;
        let Event::ExclusionExtended(exclusion) = event.clone() else {
            return Err(EngineError::Unavailable("the register"));
        };
        let attachments = idempotency::attachment(idempotency.as_ref(), 200, id, now).into_iter().collect();
        deciding.done();
        let receipt = self.writer.commit(vec![event], attachments).await.map_err(commit_error)?;
        Ok(self.registered(&receipt, exclusion, false))
    }

    fn registered(&self, receipt: &CommitReceipt, exclusion: Exclusion, created: bool) -> Registered {
        let seq = receipt.events.last().map_or(0, |c| c.seq);
        Registered { exclusion, created, register_version: seq.max(self.version().unwrap_or(seq)) }
    }

    /// The stored result of a repeated `Idempotency-Key`.
    async fn replay(
        &self,
        key: Option<&IdempotencyKey>,
        jurisdiction: JurisdictionNo,
        now: Ts,
    ) -> Result<Option<Registered>, EngineError> {
        let Some(stored) = idempotency::earlier(&self.store, key, now).await? else { return Ok(None) };
        let id = stored.result_id.parse().map_err(|_| EngineError::NotFound("exclusion"))?;
        let exclusion = self.exclusion(jurisdiction, id).await?;
        Ok(Some(Registered { exclusion, created: stored.status == 201, register_version: self.version()? }))
    }

    async fn exclusion(&self, jurisdiction: JurisdictionNo, id: ExclusionId) -> Result<Exclusion, EngineError> {
        let found = self.store.exclusion(id).await.map_err(unavailable)?;
        found.filter(|e| e.jurisdiction == jurisdiction).ok_or(EngineError::NotFound("exclusion"))
    }

    async fn sweep(&self, now: Ts) -> Result<usize, EngineError> {
        use futures_util::stream::{StreamExt, iter};
        let due = self.store.due_exclusions(now, SWEEP_MAX).await.map_err(unavailable)?;
        // many at once, so that their commits form groups; one that fails holds up nobody
        let ended = iter(due.into_iter().map(|due| self.end(due, now))).buffer_unordered(SWEEP_AT_ONCE);
        let outcomes: Vec<Result<bool, EngineError>> = ended.collect().await;
        let mut changed = 0;
        for outcome in outcomes {
            match outcome {
                Ok(ended) => changed += usize::from(ended),
                Err(error) => tracing::warn!(%error, "an exclusion is ended later"),
            }
        }
        Ok(changed)
    }

    /// Ends or renews one exclusion whose period is over.
    async fn end(&self, due: Exclusion, now: Ts) -> Result<bool, EngineError> {
        let _locks = self.locked_person(due.person_no, now).await?;
        let current = self.exclusion(due.jurisdiction, due.id).await?;
        let Some(event) = decide::end_of_period(&current, now, self.zone(due.jurisdiction)) else { return Ok(false) };
        self.writer.commit(vec![event], Vec::new()).await.map_err(commit_error)?;
        Ok(true)
    }
}

/// Why a registration is not committed.
enum Refused {
    /// The keys it was made with are not those in force any more.
    Rotated,
    /// Anything else.
    Error(EngineError),
}

impl From<EngineError> for Refused {
    fn from(error: EngineError) -> Self {
        Self::Error(error)
    }
}

impl From<CommitError> for Refused {
    fn from(error: CommitError) -> Self {
        if error == CommitError::Rotated { Self::Rotated } else { Self::Error(commit_error(error)) }
    }
}

/// The times of a request.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// Since when the exclusion binds.
    pub effective_at: Ts,
    /// Since when the keys name the person.
    pub keys_from: Ts,
    /// Now.
    pub now: Ts,
}

/// A registration with everything decided by chance in it, and match keys under every live digest key.
pub(crate) fn request(new: &NewExclusion, ring: &KeyRing, family: &str, person_no: PersonNo, times: Times) -> Request {
    let mut keys: Vec<PersonKey> = Vec::with_capacity(2 * ring.digest.live().len());
    for digest in ring.digest.live() {
        keys.extend(new.known_by.keys(digest, family).map(|(kind, key)| PersonKey {
            kind,
            digest_version: digest.version(),
            key,
            valid_from: times.keys_from,
            valid_to: None,
        }));
    }
    let birth = new.person.date_of_birth.as_deref();
    Request {
        keys,
        birth_digest: birth.map(|date| ring.digest.opaque(family, OpaqueKind::BirthDate, date.as_bytes())),
        is_described: !new.person.names.is_empty(),
        jurisdiction: new.jurisdiction,
        period: new.period,
        reason_class: new.reason_class,
        channel: new.channel,
        effective_at: times.effective_at,
        reported_by: new.reported_by,
        kept: None,
        now: times.now,
        person_no,
        exclusion_id: ExclusionId(new_id()),
        case_id: CaseId(new_id()),
    }
}

/// A UUIDv7: ordered by time, so that rows made together lie together.
pub fn new_id() -> u128 {
    uuid::Uuid::now_v7().as_u128()
}

/// What a read of the store says where only its text goes on.
#[allow(clippy::needless_pass_by_value)] // used in map_err
pub(crate) fn say(error: store::StoreError) -> String {
    error.to_string()
}

/// Reads that fail are the database's fault.
#[allow(clippy::needless_pass_by_value)] // used in map_err
pub fn unavailable(error: store::StoreError) -> EngineError {
    tracing::warn!(%error, "the store does not answer");
    EngineError::Unavailable("the database")
}

/// What a failed commit means to the caller.
pub fn commit_error(error: CommitError) -> EngineError {
    match error {
        CommitError::Full => EngineError::Overloaded("the writer"),
        CommitError::Rotated => EngineError::Unavailable("the keys: they are being rotated"),
        CommitError::Conflict { what } => EngineError::Conflict(format!("it contradicts what is stored ({what})")),
        settled @ CommitError::Settled => EngineError::Conflict(settled.to_string()),
        other => {
            tracing::warn!(error = %other, "a commit failed");
            EngineError::Unavailable("the database")
        }
    }
}
