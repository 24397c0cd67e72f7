//! The engine's front door and its assembly, top-down: what is started in which order, and stopped in reverse.

use crate::api::{
    AlertFilter, AlertHistory, CreatedSource, EngineError, IdempotencyKey, IssuedKey, NewExclusion, NewKey,
    NewOperator, NewSource, NodeFreshness, NodeState, OperatorChange, Page, PushOutcome, Registered, SourceView,
};
use crate::auditor::{AuditMsg, Auditing, Auditor};
use crate::directory::Directory;
use crate::kernel::{ActorState, ActorSystem, Handle, KernelEvent, KernelMetrics, SendError, Spec, spawn};
use crate::live::{AlertsCheckpoint, LiveHandle, LiveHub, LiveMsg};
use crate::market::{Input, InputLog, Market, MarketContext, MarketMsg, SetAside, ViewSlot};
use crate::metrics::{EngineMetrics, raise_to};
use crate::missed::Missed;
use crate::register::{Register, RegisterActor, commit_error, section, unavailable};
use crate::secrets::KeyRing;
use crate::source::{Inspect, Reply, SourceActor, SourceContext, SourceGauge, SourceHead, SourceMsg};
use crate::spine::{Growth, Markets, Spine};
use crate::staff::Staff;
use crate::views::Views;
use crate::writer::{CommitMetrics, WriterHandle};
use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use engine::register::index::{IndexReader, IndexState, IndexWriter};
use futures_util::future::LocalBoxFuture;
use jiff::tz::TimeZone;
use models::alert::AlertRevision;
use models::event::{Event, Exclusion};
use models::exclusion::Period;
use models::feed::Source;
use models::ids::{AlertId, ExclusionId, KeyId, OperatorId, OperatorNo, SourceId};
use models::jurisdiction::{Jurisdiction, JurisdictionNo};
use models::match_key::DigestKeys;
use models::operator::{Licence, Operator};
use models::ts::{MINUTE, SECOND, Ts};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use store::{Clock, OperatorInputRow, Store, StoreError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A node younger than this is fresh.
pub const FRESH_MAX: i64 = 5 * SECOND;
/// An answer is valid this long after `as_of`; an older node does not answer at all.
pub const VALID_FOR: i64 = 15 * MINUTE;
/// Inputs read back at once while an operator is rebuilt.
const INPUT_CHUNK: u32 = 64;

/// What the assembly is told.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct EngineConfig {
    pub node: u16,
    pub arbiters: usize,
    pub live_tick: Duration,
    pub checkpoint_every: Duration,
    pub source_queue: usize,
    pub operator_queue: usize,
    pub register_queue: usize,
    pub write_timeout: Duration,
    pub jurisdictions: Vec<Jurisdiction>,
    /// Jurisdiction family of the deployment: part of every digest, never to be changed.
    pub family: String,
    /// Faults for tests and benches; the product injects none.
    pub faults: Faults,
}

/// Faults for tests and benches: a hook sees each record and may panic.
#[derive(Clone, Default)]
pub struct Faults {
    /// Before a source stages it.
    pub sources: Option<Inspect>,
    /// Before an operator's state applies it.
    pub operators: Option<Inspect>,
}

/// Why the engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store does not answer.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// A key cannot be used.
    #[error("keys: {0}")]
    Keys(String),
    /// An actor cannot be started.
    #[error("actor: {0}")]
    Actor(String),
    /// The operating system gives no randomness.
    #[error("no randomness")]
    Random,
}

/// How far the clock may have been set back since the register's last proof of freshness.
const CLOCK_BACK_MAX: i64 = -5 * SECOND;
/// How long a push waits for its source.
const PUSH_MAX: Duration = Duration::from_secs(60);

/// The running engine; cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    config: EngineConfig,
    store: Store,
    ring: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    boot: u32,
    system: Arc<ActorSystem>,
    directory: Arc<ArcSwap<Directory>>,
    index: Arc<ArcSwap<IndexReader>>,
    register: Register,
    staff: Staff,
    views: Arc<Views>,
    live: LiveHandle,
    markets: Markets,
    sources: RwLock<HashMap<SourceId, Handle<SourceMsg>>>,
    context: SourceContext,
    writer: WriterHandle,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    deferred: Arc<AtomicU64>,
    auditing: Auditing,
    /// When the auditor last left the journal signed, microseconds.
    signed_at: Arc<AtomicI64>,
    metrics: EngineMetrics,
}

impl Engine {
    /// Recovers from the store and starts every actor. Ready once the register is ([`Self::readiness`]).
    pub async fn start(
        config: EngineConfig,
        store: Store,
        ring: Arc<KeyRing>,
        clock: Arc<dyn Clock>,
        registry: &prometheus::Registry,
    ) -> Result<Self, StartError> {
        let metrics = KernelMetrics::register(registry).map_err(|e| StartError::Actor(e.to_string()))?;
        let system = Arc::new(ActorSystem::with_metrics(config.arbiters, metrics));
        let gauges = EngineMetrics::register(registry).map_err(|e| StartError::Actor(e.to_string()))?;
        let commits = CommitMetrics::register(registry).map_err(|e| StartError::Actor(e.to_string()))?;
        store.claim().await?;
        let boot = u32::from_be_bytes(crate::secrets::random::<4>().map_err(|_| StartError::Random)?);

        keep(&store, "family", &config.family, "engine.family", |known, now| known == now).await?;
        let directory =
            Arc::new(ArcSwap::from_pointee(load_directory(config.jurisdictions.clone(), &store, &ring).await?));
        let index = Arc::new(ArcSwap::from_pointee(IndexWriter::with_capacity(0).reader()));
        let views = Arc::new(Views::new(Arc::clone(&directory), Arc::clone(&system), Arc::clone(&clock)));

        let register_missed = Missed::default();
        let register_actor = start_register(&system, &config, &store, &index, &register_missed, &clock)?;
        let live = start_live(&system, &store, &views, boot)?;
        let markets = Markets::default();
        let deferred = Arc::new(AtomicU64::new(0));
        let (growth, growing) = mpsc::unbounded_channel();
        let spine = Spine {
            register: register_actor,
            register_missed,
            markets: Arc::clone(&markets),
            live: live.clone(),
            directory: Arc::clone(&directory),
            ring: Arc::clone(&ring),
            growth,
            deferred: Arc::clone(&deferred),
            slots: Arc::clone(&views),
        };
        let writer = WriterHandle::new(
            store.start_writer(Box::new(spine), ring.chain, Arc::clone(&clock), config.write_timeout).await?,
            commits,
        );
        let signed_at = Arc::new(AtomicI64::new(0));
        let auditing = start_auditor(&system, &store, &ring, &clock, &signed_at)?;

        let zones = config.jurisdictions.iter().map(|j| TimeZone::get(&j.time_zone).unwrap_or(TimeZone::UTC)).collect();
        let next = store.next_numbers().await?;
        let register =
            Register::new(store.clone(), writer.clone(), Arc::clone(&ring), Arc::clone(&index), next.person_no, zones);
        let staff = Staff::new(
            store.clone(),
            writer.clone(),
            Arc::clone(&ring),
            Arc::clone(&directory),
            next.operator_no,
            next.source_no,
        );
        let context = SourceContext {
            writer: writer.clone(),
            ring: Arc::clone(&ring),
            directory: Arc::clone(&directory),
            family: config.family.as_str().into(),
            clock: Arc::clone(&clock),
            inspect: config.faults.sources.clone(),
        };
        let started =
            Event::EngineStarted { boot: format!("{boot:08x}"), version: env!("CARGO_PKG_VERSION").to_owned() };
        if let Err(error) = writer.commit(vec![started], Vec::new()).await {
            tracing::warn!(%error, "the start is not journaled");
        }
        let engine = Self(Arc::new(Inner {
            config,
            store,
            ring,
            clock,
            boot,
            system,
            directory,
            index,
            register,
            staff,
            views,
            live,
            markets,
            sources: RwLock::default(),
            context,
            writer,
            tasks: Mutex::default(),
            deferred,
            auditing,
            signed_at,
            metrics: gauges,
        }));
        engine.start_known()?;
        engine.start_tasks(growing);
        Ok(engine)
    }

    fn start_known(&self) -> Result<(), StartError> {
        let directory = self.0.directory.load_full();
        for no in directory.operators.keys() {
            self.start_market(*no)?;
        }
        for source in directory.sources.values() {
            self.start_source(source)?;
        }
        Ok(())
    }

    fn start_market(&self, no: OperatorNo) -> Result<(), StartError> {
        let inner = &self.0;
        // held to the end: the spine's growth and a command may both come to start it
        let mut markets = inner.markets.write();
        if markets.contains_key(&no) {
            return Ok(());
        }
        let directory = inner.directory.load();
        let Some(operator) = directory.operators.get(&no).cloned() else { return Ok(()) };
        let zone = directory.jurisdiction(operator.jurisdiction).map_or("UTC", |j| &j.time_zone).to_owned();
        let slot = Arc::new(ViewSlot::default());
        inner.views.slots.write().insert(no, Arc::clone(&slot));
        let context = MarketContext {
            log: Arc::new(StoredInputs(inner.store.clone())),
            writer: inner.writer.clone(),
            slot,
            inspect: inner.config.faults.operators.clone(),
        };
        let mut spec = Spec::new(format!("operator:{}", operator.code), "operator", move |generation| {
            let (context, code, zone) = (context.clone(), operator.code.clone(), zone.clone());
            Box::pin(async move {
                let zone = TimeZone::get(&zone).map_err(|e| e.to_string())?;
                let blank = engine::operator_state::OperatorState::new(no, code, zone);
                Market::recover(no, blank, context, &generation.progress).await
            })
        });
        spec.capacity = inner.config.operator_queue;
        spec.hang_after = Duration::from_secs(30);
        let handle = spawn(&inner.system, spec).map_err(|e| StartError::Actor(e.to_string()))?;
        markets.insert(no, handle);
        Ok(())
    }

    fn start_source(&self, source: &Arc<Source>) -> Result<(), StartError> {
        let inner = &self.0;
        // held to the end: the spine's growth and a command may both come to start it
        let mut sources = inner.sources.write();
        if sources.contains_key(&source.id) {
            return Ok(());
        }
        let gauge = Arc::new(SourceGauge::default());
        inner.views.gauges.write().insert(source.id, Arc::clone(&gauge));
        let (store, context) = (inner.store.clone(), inner.context.clone());
        let name = {
            let directory = inner.directory.load();
            let operator = directory.operators.get(&source.operator_no).map_or("?", |o| &o.code).to_owned();
            format!("source:{operator}/{}", source.name)
        };
        let made = Arc::clone(source);
        let mut spec = Spec::new(name, "source", move |generation| {
            let (store, context, gauge, source) =
                (store.clone(), context.clone(), Arc::clone(&gauge), Arc::clone(&made));
            Box::pin(async move { recover_source(&store, source, context, gauge, &generation.progress).await })
        });
        spec.capacity = inner.config.source_queue;
        spec.hang_after = Duration::from_secs(60);
        let handle = spawn(&inner.system, spec).map_err(|e| StartError::Actor(e.to_string()))?;
        sources.insert(source.id, handle);
        Ok(())
    }

    fn start_tasks(&self, mut growing: mpsc::UnboundedReceiver<Growth>) {
        let grow = {
            let engine = self.clone();
            tokio::spawn(async move {
                while let Some(growth) = growing.recv().await {
                    // without it a key made elsewhere, a source or an operator would stay unknown until a restart
                    while let Err(error) = engine.grow(&growth).await {
                        tracing::error!(%error, "what another process made is not known yet");
                        if !matches!(error, StartError::Store(_)) {
                            // as at the start: what cannot be used is left out, and must not hold up the rest
                            break;
                        }
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            })
        };
        let tick = {
            let engine = self.clone();
            tokio::spawn(async move {
                let mut interval = tokio::time::interval(engine.0.config.live_tick);
                interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    interval.tick().await;
                    engine.tick();
                }
            })
        };
        let second = {
            let engine = self.clone();
            tokio::spawn(async move {
                let mut interval = tokio::time::interval(Duration::from_secs(1));
                loop {
                    interval.tick().await;
                    engine.each_second();
                }
            })
        };
        // apart from everything else that happens each second: the database may take its time
        let sweep = {
            let engine = self.clone();
            tokio::spawn(async move {
                let mut interval = tokio::time::interval(Duration::from_secs(1));
                interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    interval.tick().await;
                    if let Err(error) = engine.sweep().await {
                        tracing::warn!(%error, "exclusions are ended later");
                    }
                }
            })
        };
        let checkpoint = {
            let engine = self.clone();
            tokio::spawn(async move {
                let mut interval = tokio::time::interval(engine.0.config.checkpoint_every);
                loop {
                    interval.tick().await;
                    // a full queue has one that will sign as much
                    let _ = engine.0.auditing.try_send(AuditMsg::Checkpoint);
                }
            })
        };
        self.0.tasks.lock().extend([grow, tick, second, sweep, checkpoint]);
        let engine = Arc::downgrade(&self.0);
        let runtime = tokio::runtime::Handle::current();
        self.0.system.on_event(move |event| {
            let (Some(inner), KernelEvent::Quarantined { actor, reason, .. }) = (engine.upgrade(), event) else {
                return;
            };
            let event = Event::ActorQuarantined { actor: actor.clone(), reason: reason.clone() };
            runtime.spawn(async move {
                if let Err(error) = inner.writer.commit(vec![event], Vec::new()).await {
                    tracing::error!(%error, "a quarantined actor is not journaled");
                }
            });
        });
    }

    async fn grow(&self, growth: &Growth) -> Result<(), StartError> {
        match growth {
            Growth::Operator(no) => self.start_market(*no),
            Growth::Source(id) => {
                let source = self.0.directory.load().sources.get(id).cloned();
                source.map_or(Ok(()), |source| self.start_source(&source))
            }
            Growth::Key(key) => {
                let Some(sealed) = self.0.store.key_secret(key.id).await? else { return Ok(()) };
                let signing =
                    self.0.ring.open(&key.id.0.to_be_bytes(), &sealed).map_err(|e| StartError::Keys(e.to_string()))?;
                self.0.directory.rcu(|old| {
                    let mut new = Directory::clone(old);
                    new.set_key(&self.0.ring, models::operator::ApiKey::clone(key), &signing);
                    new
                });
                Ok(())
            }
        }
    }

    /// Lets operators that changed write their views, and the hub send what changed.
    fn tick(&self) {
        let markets = self.0.markets.read();
        for (no, slot) in self.0.views.slots.read().iter() {
            if slot.take_dirty()
                && let Some(market) = markets.get(no)
                && market.try_send(MarketMsg::Show).is_err()
            {
                slot.mark_dirty();
            }
        }
        // a busy hub catches up with its next tick: topics are conflated
        let _ = self.0.live.hub().try_send(LiveMsg::Tick);
    }

    fn each_second(&self) {
        let now = self.now();
        self.measure(now);
        for market in self.0.markets.read().values() {
            // a full queue has inputs that move the clock, too
            let _ = market.try_send(MarketMsg::Clock(now));
        }
    }

    fn measure(&self, now: Ts) {
        let (metrics, freshness) = (&self.0.metrics, self.freshness());
        let age = match freshness.state {
            NodeState::Loading => -1.0,
            _ => (now.0 - freshness.as_of.0) as f64 / SECOND as f64,
        };
        metrics.register_age_seconds.set(age);
        metrics.register_version.set(freshness.register_version);
        metrics.index_bytes.set(self.index().memory_bytes() as i64);
        metrics.live_sessions.set(self.0.live.sessions() as i64);
        raise_to(&metrics.deferred_inputs, self.deferred_inputs());
        metrics.checkpoint_age_seconds.set(match self.0.signed_at.load(Ordering::Relaxed) {
            0 => -1.0,
            at => (now.0 - at) as f64 / SECOND as f64,
        });
        let gauges = self.0.views.gauges.read();
        raise_to(&metrics.records, gauges.values().map(|g| g.records.load(Ordering::Relaxed)).sum());
        raise_to(&metrics.quarantined, gauges.values().map(|g| g.quarantined.load(Ordering::Relaxed)).sum());
    }

    /// Now.
    pub fn now(&self) -> Ts {
        self.0.clock.now()
    }

    /// How fresh the register is; cheap.
    pub fn freshness(&self) -> NodeFreshness {
        match self.0.index.load().state() {
            IndexState::Loading => NodeFreshness { state: NodeState::Loading, as_of: Ts(0), register_version: 0 },
            IndexState::Ready { as_of, register_version } => {
                let age = self.now().0.saturating_sub(as_of.0);
                let state = match age {
                    // proven in the future: the clock was set back since, and nobody knows how old the proof is
                    ..CLOCK_BACK_MAX => NodeState::Stale,
                    CLOCK_BACK_MAX..FRESH_MAX => NodeState::Fresh,
                    FRESH_MAX..VALID_FOR => NodeState::Degraded,
                    _ => NodeState::Stale,
                };
                NodeFreshness { state, as_of, register_version }
            }
        }
    }

    /// Why the node should get no traffic; empty = ready.
    pub fn readiness(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if !self.0.store.is_writing() {
            reasons.push("store: the writer has ended".to_owned());
        }
        match self.freshness().state {
            NodeState::Loading => reasons.push("register: loading".to_owned()),
            NodeState::Stale => reasons.push("register: older than 15 minutes".to_owned()),
            NodeState::Fresh | NodeState::Degraded => {}
        }
        reasons
    }

    /// Operators, licences, keys, sources.
    pub fn directory(&self) -> Guard<Arc<Directory>> {
        self.0.directory.load()
    }

    /// The index; take it anew for each request.
    pub fn index(&self) -> Guard<Arc<IndexReader>> {
        self.0.index.load()
    }

    /// Makes match keys.
    pub fn digest_keys(&self) -> &DigestKeys {
        &self.0.ring.digest
    }

    /// The store, for reading.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The actors.
    pub fn system(&self) -> &ActorSystem {
        &self.0.system
    }

    /// Releases a quarantined actor: it starts anew and goes on with what waits in its queue.
    pub async fn release(&self, actor: &str) -> Result<(), EngineError> {
        let known = self.0.system.list().into_iter().find(|status| status.name == actor);
        if known.ok_or(EngineError::NotFound("actor"))?.state != ActorState::Quarantined {
            return Err(EngineError::Conflict("the actor is not quarantined".to_owned()));
        }
        let (inner, actor) = (Arc::clone(&self.0), actor.to_owned());
        section(async move {
            let released = Event::ActorReleased { actor: actor.clone() };
            inner.writer.commit(vec![released], Vec::new()).await.map_err(commit_error)?;
            // somebody else may have been faster, which is as good
            inner.system.release(&actor);
            Ok(())
        })
        .await
    }

    /// The live hub.
    pub fn live(&self) -> &LiveHandle {
        &self.0.live
    }

    /// Number of this node.
    pub fn node(&self) -> u16 {
        self.0.config.node
    }

    /// Random number of this process.
    pub fn boot(&self) -> u32 {
        self.0.boot
    }

    /// Inputs that a full operator's queue made its actor read back.
    pub fn deferred_inputs(&self) -> u64 {
        self.0.deferred.load(Ordering::Relaxed)
    }

    /// Registers an exclusion.
    pub async fn register(&self, new: NewExclusion, key: Option<IdempotencyKey>) -> Result<Registered, EngineError> {
        self.0.register.register(new, key, self.now()).await
    }

    /// Extends an exclusion.
    pub async fn extend(
        &self,
        jurisdiction: JurisdictionNo,
        id: ExclusionId,
        period: Period,
        key: Option<IdempotencyKey>,
    ) -> Result<Registered, EngineError> {
        self.0.register.extend(jurisdiction, id, period, key, self.now()).await
    }

    /// An exclusion.
    pub async fn exclusion(&self, jurisdiction: JurisdictionNo, id: ExclusionId) -> Result<Exclusion, EngineError> {
        self.0.register.exclusion(jurisdiction, id).await
    }

    /// Ends and renews exclusions that are due now; the engine does so by itself every second.
    pub async fn sweep(&self) -> Result<usize, EngineError> {
        self.0.register.sweep(self.now()).await
    }

    /// Puts an operator under supervision.
    pub async fn create_operator(
        &self,
        new: NewOperator,
        key: Option<IdempotencyKey>,
    ) -> Result<Operator, EngineError> {
        let (inner, now) = (Arc::clone(&self.0), self.now());
        section(async move { inner.staff.create_operator(new, key, now).await }).await
    }

    /// Changes an operator.
    pub async fn change_operator(&self, id: OperatorId, change: OperatorChange) -> Result<Operator, EngineError> {
        let no = self.directory().operator_by_id.get(&id).copied().ok_or(EngineError::NotFound("operator"))?;
        let inner = Arc::clone(&self.0);
        section(async move { inner.staff.change_operator(no, change).await }).await
    }

    /// Adds or changes a licence.
    pub async fn set_licence(&self, licence: Licence) -> Result<Licence, EngineError> {
        let inner = Arc::clone(&self.0);
        section(async move { inner.staff.set_licence(licence).await }).await
    }

    /// Makes a key.
    pub async fn create_key(&self, new: NewKey, key: Option<IdempotencyKey>) -> Result<IssuedKey, EngineError> {
        let (inner, now) = (Arc::clone(&self.0), self.now());
        section(async move { inner.staff.create_key(new, key, now).await }).await
    }

    /// Follows a key with a new one.
    pub async fn rotate_key(
        &self,
        id: KeyId,
        overlap_seconds: u32,
        key: Option<IdempotencyKey>,
    ) -> Result<IssuedKey, EngineError> {
        let (inner, now) = (Arc::clone(&self.0), self.now());
        section(async move { inner.staff.rotate_key(id, overlap_seconds, key, now).await }).await
    }

    /// Kills a key.
    pub async fn revoke_key(&self, id: KeyId) -> Result<(), EngineError> {
        let (inner, now) = (Arc::clone(&self.0), self.now());
        section(async move { inner.staff.revoke_key(id, now).await }).await
    }

    /// Makes a source.
    pub async fn create_source(&self, new: NewSource) -> Result<CreatedSource, EngineError> {
        let engine = self.clone();
        section(async move {
            let made = engine.0.staff.create_source(new, engine.now()).await?;
            let source = Arc::new(made.source.clone());
            engine.start_source(&source).map_err(|_| EngineError::Unavailable("the source's actor"))?;
            Ok(made)
        })
        .await
    }

    /// Sources with their positions.
    pub fn sources(&self, operator: Option<OperatorNo>) -> Vec<SourceView> {
        self.0.views.sources(|source| operator.is_none_or(|no| source.operator_no == no))
    }

    /// Pushes records into a source of the credential's operator (staff: any).
    pub async fn push(
        &self,
        source: SourceId,
        operator: Option<OperatorNo>,
        body: Bytes,
        dry_run: bool,
    ) -> Result<PushOutcome, EngineError> {
        let known = self.directory().sources.get(&source).cloned();
        known.filter(|s| operator.is_none_or(|no| s.operator_no == no)).ok_or(EngineError::NotFound("source"))?;
        let handle =
            self.0.sources.read().get(&source).cloned().ok_or(EngineError::Unavailable("the source's actor"))?;
        let (reply, outcome) = Reply::new();
        handle.try_send(SourceMsg::Push { body, dry_run, reply }).map_err(|refused| match refused {
            SendError::Full(_) => EngineError::Overloaded("the source's queue"),
            SendError::Quarantined(_) => EngineError::Unavailable("the source: it is quarantined"),
            SendError::Stopped(_) => EngineError::Unavailable("the source: the engine stops"),
        })?;
        // a source that is given up keeps what waits in its queue: whoever pushed must not wait for its release
        let answered = tokio::time::timeout(PUSH_MAX, outcome).await;
        answered.map_or(Err(EngineError::Unavailable("the source's actor")), |outcome| {
            outcome.unwrap_or(Err(EngineError::Unavailable("the source's actor")))
        })
    }

    /// A page of alerts, newest first.
    pub async fn alerts(
        &self,
        filter: AlertFilter,
        limit: u32,
        cursor: Option<String>,
    ) -> Result<Page<AlertRevision>, EngineError> {
        let before = match cursor {
            None => i64::MAX,
            Some(text) => text.parse().ok().filter(|offset| *offset > 0).ok_or_else(|| EngineError::Invalid {
                pointer: "?cursor",
                detail: "not one that this list gave".to_owned(),
            })?,
        };
        let operators: Option<Vec<OperatorNo>> = match (filter.operator, filter.jurisdiction) {
            (Some(no), _) => Some(vec![no]),
            (None, Some(jurisdiction)) => {
                let directory = self.directory();
                Some(
                    directory
                        .operators
                        .values()
                        .filter(|o| o.jurisdiction == jurisdiction)
                        .map(|o| o.operator_no)
                        .collect(),
                )
            }
            (None, None) => None,
        };
        let query = store::AlertQuery {
            operators,
            severity: filter.severity,
            rule: filter.rule,
            withdrawn: filter.state.as_deref().map(|state| state == "withdrawn"),
            before_offset: before,
            limit: limit + 1,
        };
        let mut items = self.0.store.alerts(&query).await.map_err(unavailable)?;
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next_cursor = items.last().filter(|_| more).map(|last| last.offset.to_string());
        Ok(Page { items, next_cursor })
    }

    /// An alert with its history.
    pub async fn alert(&self, id: AlertId) -> Result<AlertHistory, EngineError> {
        let revisions = self.0.store.alert(id).await.map_err(unavailable)?;
        if revisions.is_empty() { Err(EngineError::NotFound("alert")) } else { Ok(AlertHistory { revisions }) }
    }

    /// Stops in the order of the flow: sources, operators, hub, register, writer. False where something was left.
    pub async fn stop(&self, drain: Duration) -> bool {
        for task in self.0.tasks.lock().drain(..) {
            task.abort();
        }
        // one time for all stages
        let end = tokio::time::Instant::now() + drain;
        let left = || end.saturating_duration_since(tokio::time::Instant::now()).max(Duration::from_millis(100));
        let mut drained = true;
        for kind in ["source", "operator"] {
            drained &= self.0.system.stop_kind(kind, left()).await;
        }
        let _ = self.0.auditing.try_send(AuditMsg::Checkpoint);
        drained &= self.0.system.stop_kind("audit", left()).await;
        drained &= self.0.store.stop_writer(left()).await;
        drained &= self.0.system.shutdown(left()).await;
        // a connection that does not come back must not keep the process
        drained & tokio::time::timeout(left(), self.0.store.close()).await.is_ok()
    }
}

/// Directory commands for tools, beside a running engine or without one: the engine hears of them by the journal.
pub async fn tools(
    jurisdictions: Vec<Jurisdiction>,
    store: &Store,
    ring: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
) -> Result<(Staff, Arc<ArcSwap<Directory>>), StartError> {
    struct Answer;
    impl store::Sink for Answer {
        fn publish(&mut self, group: store::CommittedGroup) {
            group.members.into_iter().for_each(store::Member::complete);
        }
        fn head(&mut self, _: models::ids::Seq, _: Ts) {}
    }
    let directory = Arc::new(ArcSwap::from_pointee(load_directory(jurisdictions, store, &ring).await?));
    let writer = store.start_writer(Box::new(Answer), ring.chain, clock, Duration::from_secs(10)).await?;
    let next = store.next_numbers().await?;
    let metrics = CommitMetrics::unregistered().map_err(|e| StartError::Actor(e.to_string()))?;
    let writer = WriterHandle::new(writer, metrics);
    let staff = Staff::new(store.clone(), writer, ring, Arc::clone(&directory), next.operator_no, next.source_no);
    Ok((staff, directory))
}

/// Holds a setting against what the store was begun with: some can never change once people are registered.
async fn keep(
    store: &Store,
    name: &str,
    value: &str,
    what: &str,
    fits: impl Fn(&str, &str) -> bool,
) -> Result<(), StartError> {
    let known = store.first_fact(name, value).await?;
    if fits(&known, value) {
        return Ok(());
    }
    Err(StartError::Keys(format!(
        "{what} is not the one this store was begun with: people would not be found under it"
    )))
}

/// People are found only under the current version of the digest key: with another one, everybody in the register
/// would be answered "not excluded".
async fn refuse_other_digests(store: &Store, ring: &KeyRing) -> Result<(), StartError> {
    let digest = ring.digest.current();
    let mark = digest.opaque("fingerprint", models::match_key::OpaqueKind::Player, b"digest key").to_string();
    keep(store, &format!("digest_key_{}", digest.version()), &mark, "the digest key", |known, now| known == now)
        .await?;
    let current = ring.digest.current().version();
    match store.digest_versions().await?.into_iter().find(|version| *version != current) {
        None => Ok(()),
        Some(version) => Err(StartError::Keys(format!(
            "people are registered under digest key version {version}, and the current one is {current}: they would not be found; changing the digest key needs their re-derivation, which this version cannot do yet"
        ))),
    }
}

async fn load_directory(
    jurisdictions: Vec<Jurisdiction>,
    store: &Store,
    ring: &KeyRing,
) -> Result<Directory, StartError> {
    refuse_other_digests(store, ring).await?;
    let codes: Vec<&str> = jurisdictions.iter().map(|j| j.code.as_str()).collect();
    // their numbers are stored: new ones may follow, none may move
    let appended = |known: &str, now: &str| now == known || now.starts_with(&format!("{known},"));
    keep(store, "jurisdictions", &codes.join(","), "the order of jurisdictions", appended).await?;
    let mut directory = Directory::new(jurisdictions);
    for operator in store.operators().await? {
        directory.token_keys_of(ring, Some(operator.operator_no));
        directory.set_operator(operator);
    }
    for licence in store.licences().await? {
        directory.set_licence(licence);
    }
    for source in store.sources().await? {
        directory.set_source(source);
    }
    for (key, sealed) in store.keys().await? {
        let signing =
            ring.open(&key.id.0.to_be_bytes(), &sealed).map_err(|e| StartError::Keys(format!("{}: {e}", key.id)))?;
        if !directory.set_key(ring, key, &signing) {
            tracing::error!("a stored key has no readable digest and is left out");
        }
    }
    Ok(directory)
}

fn start_register(
    system: &ActorSystem,
    config: &EngineConfig,
    store: &Store,
    index: &Arc<ArcSwap<IndexReader>>,
    missed: &Missed,
    clock: &Arc<dyn Clock>,
) -> Result<Handle<crate::register::RegisterMsg>, StartError> {
    let (store, index, missed, clock) = (store.clone(), Arc::clone(index), missed.clone(), Arc::clone(clock));
    let mut spec = Spec::new("register", "register", move |generation| {
        let (store, index, missed, clock) = (store.clone(), Arc::clone(&index), missed.clone(), Arc::clone(&clock));
        Box::pin(async move { RegisterActor::recover(&store, clock.now(), &index, missed, &generation.progress).await })
    });
    spec.capacity = config.register_queue;
    spec.hang_after = Duration::from_secs(60);
    spawn(system, spec).map_err(|e| StartError::Actor(e.to_string()))
}

fn start_auditor(
    system: &ActorSystem,
    store: &Store,
    ring: &KeyRing,
    clock: &Arc<dyn Clock>,
    signed_at: &Arc<AtomicI64>,
) -> Result<Auditing, StartError> {
    let auditor = Auditor::new(store.clone(), Arc::clone(&ring.checkpoint), Arc::clone(clock), Arc::clone(signed_at));
    let mut spec = Spec::new("audit", "audit", move |_| Box::pin(std::future::ready(Ok(auditor.clone()))));
    // one under way, one that waits
    spec.capacity = 2;
    // as long as the store lets a statement run
    spec.hang_after = Duration::from_secs(120);
    spawn(system, spec).map_err(|e| StartError::Actor(e.to_string()))
}

fn start_live(system: &ActorSystem, store: &Store, views: &Arc<Views>, boot: u32) -> Result<LiveHandle, StartError> {
    let sessions = Arc::new(AtomicU64::new(0));
    let missed = Missed::default();
    let (store, views, raised, gauge) = (store.clone(), Arc::clone(views), missed.clone(), Arc::clone(&sessions));
    let mut spec = Spec::new("live", "live", move |generation| {
        let (store, views, missed, gauge) = (store.clone(), Arc::clone(&views), raised.clone(), Arc::clone(&gauge));
        Box::pin(async move {
            missed.clear();
            let say = |e: StoreError| e.to_string();
            let until = store.last_alert_offset().await.map_err(say)?;
            let counts = store.alert_counts(until).await.map_err(say)?;
            let recent = store.recent_alerts(until, crate::live::RING_FRAMES_MAX as u32).await.map_err(say)?;
            let checkpoint = AlertsCheckpoint { until, counts: counts.into_iter().collect(), recent };
            let epoch = store.epoch().await.map_err(say)?;
            Ok(LiveHub::new(views, &epoch, &format!("{boot:08x}{}", generation.number), &checkpoint, missed, gauge))
        })
    });
    spec.capacity = 16 * 1024;
    let hub = spawn(system, spec).map_err(|e| StartError::Actor(e.to_string()))?;
    Ok(LiveHandle::new(hub, missed, sessions))
}

async fn recover_source(
    store: &Store,
    source: Arc<Source>,
    context: SourceContext,
    gauge: Arc<SourceGauge>,
    progress: &crate::kernel::Progress,
) -> Result<SourceActor, String> {
    let stored = store.source_head(source.source_no).await.map_err(|e| e.to_string())?;
    gauge.records.store(stored.records, Ordering::Relaxed);
    gauge.duplicates.store(stored.duplicates, Ordering::Relaxed);
    gauge.quarantined.store(stored.quarantined, Ordering::Relaxed);
    gauge.last_event_at.store(stored.newest.map_or(0, |t| t.0), Ordering::Relaxed);
    gauge.last_success_at.store(stored.last_stored_at.map_or(0, |t| t.0), Ordering::Relaxed);
    let reread: crate::source::Reread = {
        let (store, source, clock, progress) =
            (store.clone(), Arc::clone(&source), Arc::clone(&context.clock), progress.clone());
        Arc::new(move || {
            let (store, source, clock, progress) =
                (store.clone(), Arc::clone(&source), Arc::clone(&clock), progress.clone());
            Box::pin(async move { read_source(&store, &source, clock.now(), &progress).await })
        })
    };
    let known = reread().await?;
    Ok(SourceActor::new(source, context, gauge, known, reread))
}

/// Where a source stands, and the records of its horizon.
async fn read_source(
    store: &Store,
    source: &Source,
    now: Ts,
    progress: &crate::kernel::Progress,
) -> Result<(engine::dedupe::Dedupe, SourceHead), String> {
    let say = |e: StoreError| e.to_string();
    let stored = store.source_head(source.source_no).await.map_err(say)?;
    let clock_at = match source.clock {
        models::feed::SourceClock::Wall => now,
        models::feed::SourceClock::Event => stored.newest.unwrap_or_default(),
    };
    let horizon = clock_at.plus(-i64::from(source.horizon_days) * models::ts::DAY);
    let mut dedupe = engine::dedupe::Dedupe::new();
    let mut after = (0, -1);
    loop {
        let digests = store.record_digests(source.source_no, horizon, after, 50_000).await.map_err(say)?;
        let Some(last) = digests.last() else { break };
        after = (last.batch_no, last.idx);
        for digest in &digests {
            dedupe.insert(digest.id_digest, digest.content_digest, digest.occurred_at);
        }
        progress.beat();
    }
    Ok((dedupe, SourceHead { source_seq: stored.source_seq, chain: stored.chain, newest: stored.newest }))
}

struct StoredInputs(Store);

impl InputLog for StoredInputs {
    fn set_aside(&self, operator: OperatorNo) -> LocalBoxFuture<'static, Result<SetAside, String>> {
        let store = self.0.clone();
        Box::pin(async move {
            let rows = store.set_aside(operator).await.map_err(|e| e.to_string())?;
            Ok(rows.into_iter().collect())
        })
    }

    fn after(&self, operator: OperatorNo, after: i64) -> LocalBoxFuture<'static, Result<Vec<Input>, String>> {
        let store = self.0.clone();
        Box::pin(async move {
            let rows = store.operator_inputs(operator, after, INPUT_CHUNK).await.map_err(|e| e.to_string())?;
            Ok(rows
                .into_iter()
                .map(|row| match row {
                    OperatorInputRow::Batch { operator_seq, clock_at, clock, records } => {
                        Input::Batch { operator_seq, clock_at, clock, records: records.into() }
                    }
                    OperatorInputRow::Tick { operator_seq, at } => Input::Tick { operator_seq, at },
                })
                .collect())
        })
    }
}
