//! The assembly, top-down: what is started in which order.

use super::opening::{keep, keys_of, load_directory};
use super::{Backtests, Engine, EngineConfig, Inner, StartError};
use crate::auditor::{Auditing, Auditor};
use crate::contacts::Contacts;
use crate::desk::{DeskActor, DeskContext, DeskMsg, DeskView};
use crate::evidence::EvidenceLog;
use crate::facts::{FactsSource, Rotations};
use crate::feeds::{self, Cursor, FetchError};
use crate::forecasts::Forecasts;
use crate::integrity::OnePer;
use crate::integrity::Touched;
use crate::kernel::{ActorSystem, Handle, KernelMetrics, Spec, spawn};
use crate::live::{AlertsCheckpoint, LiveHandle, LiveHub, LiveLimits, RECOVERIES_MAX, StoredAlerts};
use crate::market::{Market, MarketContext, SeriesMetrics, StateMetrics, StoredInputs, ViewSlot};
use crate::metrics::{EngineMetrics, EvidenceMetrics};
use crate::missed::Missed;
use crate::notifiers::{NoticeMetrics, Notifiers};
use crate::outputs::{Output, OutputContext, OutputMetrics};
use crate::register::{Register, RegisterActor};
use crate::rules::{ModelsByJurisdiction, Quiet, RuleMetrics, RulesContext, RulesPost};
use crate::secrets::{KeyProvider, KeyRing};
use crate::shadow_reads::ShadowReads;
use crate::source::{
    FetchMetrics, IntegrityMetrics, REFUSED_KNOWN_MAX, SourceActor, SourceContext, SourceGauge, SourceHead,
};
use crate::spine::{Markets, Spine};
use crate::staff::Staff;
use crate::views::Views;
use crate::writer::{CommitMetrics, WriterHandle};
use arc_swap::ArcSwap;
use engine::register::index::{IndexReader, IndexWriter};
use jiff::tz::TimeZone;
use models::event::Event;
use models::feed::{ReaderSettings, Source};
use models::ids::OperatorNo;
use models::risk_model::ModelKind;
use models::ts::Ts;
use parking_lot::{Mutex, RwLock};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use store::{Clock, Store, StoreError, StoredHead};
use tokio::sync::{Notify, Semaphore, mpsc, watch};

/// How long brokers may take for the records of a batch before an output counts as hanging: as many partitions as there may
/// be, each asked once or twice.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(1_800);

impl Engine {
    /// Recovers from the store and starts every actor. Ready once the register is ([`Self::readiness`]).
    pub async fn start(
        config: EngineConfig,
        store: Store,
        provider: Arc<dyn KeyProvider>,
        clock: Arc<dyn Clock>,
        registry: &prometheus::Registry,
    ) -> Result<Self, StartError> {
        let metrics = KernelMetrics::register(registry).map_err(|e| StartError::Actor(e.to_string()))?;
        let system = Arc::new(ActorSystem::with_metrics(config.arbiters, metrics));
        let gauges = EngineMetrics::register(registry).map_err(|e| StartError::Actor(e.to_string()))?;
        let evidence = EvidenceMetrics::register(registry).map_err(|e| StartError::Actor(e.to_string()))?;
        let commits = CommitMetrics::register(registry).map_err(|e| StartError::Actor(e.to_string()))?;
        let channels = config.notify.channels.iter().map(|channel| channel.name.as_str());
        let notices = NoticeMetrics::register(registry, channels).map_err(|e| StartError::Actor(e.to_string()))?;
        store.claim().await?;
        let boot = u32::from_be_bytes(crate::secrets::random::<4>().map_err(|_| StartError::Random)?);

        keep(&store, "family", &config.family, "engine.family", |known, now| known == now).await?;
        let keys = keys_of(&store, &provider.load()?).await?;
        let ring = keys.hold();
        let key_steps = Arc::new(Notify::new());
        let directory =
            Arc::new(ArcSwap::from_pointee(load_directory(config.jurisdictions.clone(), &store, &ring).await?));
        let index = Arc::new(ArcSwap::from_pointee(IndexWriter::with_capacity(0).reader()));
        let desk_view = Arc::<DeskView>::default();
        let (shown, time) = (Arc::clone(&desk_view), Arc::clone(&clock));
        let views = Arc::new(Views::new(Arc::clone(&directory), Arc::clone(&system), time, shown));

        let register_missed = Missed::default();
        let register_actor = start_register(&system, &config, &store, &ring, &index, &register_missed, &clock)?;
        let live = start_live(&system, &store, &views, boot, config.live_limits, gauges.live_store_reads.clone())?;
        let markets = Markets::default();
        let (growth, growing) = mpsc::unbounded_channel();
        let (desk, desk_context) = start_desk(&system)?;
        let rules = Arc::<RulesPost>::default();
        let spine = Spine {
            register: register_actor,
            register_missed,
            markets: Arc::clone(&markets),
            live: live.clone(),
            desk: desk.clone(),
            directory: Arc::clone(&directory),
            keys: keys.clone(),
            key_steps: Arc::clone(&key_steps),
            growth,
            deferred: gauges.deferred_inputs.clone(),
            slots: Arc::clone(&views),
            rules: Arc::clone(&rules),
        };
        let writer = WriterHandle::new(
            store.start_writer(Box::new(spine), ring.chain, Arc::clone(&clock), config.write_timeout).await?,
            commits,
        );
        let (log, told, time) = (store.clone(), writer.clone(), Arc::clone(&clock));
        let notifiers = Notifiers::new(config.notify.clone(), log, told, time, notices);
        // the desk writes and hears of what is written: its actor waits for the writer, which is there now
        let context = DeskContext {
            store: store.clone(),
            writer: writer.clone(),
            directory: Arc::clone(&directory),
            views: Arc::clone(&views),
            view: Arc::clone(&desk_view),
            notifiers: notifiers.clone(),
            clock: Arc::clone(&clock),
        };
        let _ = desk_context.set(context);
        let signed_at = Arc::new(AtomicI64::new(0));
        let auditing = start_auditor(&system, &store, &ring, &clock, &signed_at)?;

        let zones = config.jurisdictions.iter().map(|j| TimeZone::get(&j.time_zone).unwrap_or(TimeZone::UTC)).collect();
        let next = store.next_numbers().await?;
        let digests = (keys.clone(), config.family.as_str().into());
        let register = Register::new(store.clone(), writer.clone(), digests, Arc::clone(&index), next.person_no, zones);
        let staff = Staff::new(
            store.clone(),
            writer.clone(),
            keys.clone(),
            Arc::clone(&directory),
            (next.operator_no, next.source_no),
            config.key_prefix,
        );
        let stopping = watch::Sender::new(false);
        let context = SourceContext {
            writer: writer.clone(),
            store: store.clone(),
            keys: keys.clone(),
            directory: Arc::clone(&directory),
            family: config.family.as_str().into(),
            clock: Arc::clone(&clock),
            inspect: config.faults.sources.clone(),
            records: gauges.records.clone(),
            quarantined: gauges.quarantined.clone(),
            replays: gauges.replays.clone(),
            feeds: config.feeds.clone(),
            stopping: stopping.subscribe(),
            fetches: FetchMetrics::register(registry).map_err(|e| StartError::Actor(e.to_string()))?,
            integrity: IntegrityMetrics::register(registry).map_err(|e| StartError::Actor(e.to_string()))?,
            touched: Touched::default(),
        };
        let started =
            Event::EngineStarted { boot: format!("{boot:08x}"), version: env!("CARGO_PKG_VERSION").to_owned() };
        if let Err(error) = writer.commit(vec![started], Vec::new()).await {
            tracing::warn!(%error, "the start is not journaled");
        }
        let evidence = EvidenceLog::new(config.node, boot, evidence);
        let facts = FactsSource {
            evidence: evidence.clone(),
            index: Arc::clone(&index),
            directory: Arc::clone(&directory),
            store: store.clone(),
            rotations: Rotations::new(store.clone()),
            clock: Arc::clone(&clock),
        };
        store.interrupt_backtests(clock.now()).await?;
        let rules_context = RulesContext {
            store: store.clone(),
            chain: ring.chain,
            writer: writer.clone(),
            directory: Arc::clone(&directory),
            models: ModelsByJurisdiction::default(),
            known: config.known.clone().unwrap_or_else(|| Arc::new(facts.clone())),
            clock: Arc::clone(&clock),
            inspect: config.faults.rules.clone(),
            quiet: Arc::new(Quiet::begin(&store, clock.now()).await?),
            metrics: RuleMetrics::register(registry).map_err(|e| StartError::Actor(e.to_string()))?,
        };
        let engine = Self(Arc::new(Inner {
            config,
            store,
            provider,
            keys,
            keys_seen: Mutex::default(),
            key_steps,
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
            desk,
            desk_view,
            sources: RwLock::default(),
            outputs: RwLock::default(),
            output_metrics: OutputMetrics::register(registry).map_err(|e| StartError::Actor(e.to_string()))?,
            context,
            stopping,
            writer,
            tasks: Mutex::default(),
            auditing,
            evidence,
            signed_at,
            material: Mutex::default(),
            contacts: Contacts::default(),
            waiting: Mutex::default(),
            sparing: AtomicBool::new(false),
            notifiers,
            declaring: OnePer::default(),
            reporting: OnePer::default(),
            backtests: Backtests::default(),
            forecasts: Forecasts::register(registry).map_err(|e| StartError::Actor(e.to_string()))?,
            shadow_reads: ShadowReads::register(registry).map_err(|e| StartError::Actor(e.to_string()))?,
            runtime: tokio::runtime::Handle::current(),
            ruling: tokio::sync::Mutex::default(),
            below_forecast: RwLock::default(),
            states: StateMetrics::register(registry).map_err(|e| StartError::Actor(e.to_string()))?,
            series: SeriesMetrics::register(registry).map_err(|e| StartError::Actor(e.to_string()))?,
            rules,
            rules_context,
            facts,
            given_up: watch::Sender::new(false),
            metrics: gauges,
        }));
        if let Err(error) = engine.take_keys().await {
            // those that are in force were read a moment ago; the task takes these over as soon as it can
            tracing::warn!(%error, "what the keys are is not journaled yet");
        }
        for no in engine.places(None) {
            // there from the start: the first one of a place is an increase
            engine.0.metrics.models.brakes.with_label_values(&[engine.code_of(no)]).reset();
            for kind in [ModelKind::TransactionRisk, ModelKind::PlayerRisk] {
                engine.take_model(no, kind).await?;
                engine.take_shadow(no, kind).await?;
            }
            engine.begin_risk_levels(no).await?;
        }
        engine.start_known()?;
        engine.start_tasks(growing);
        if let Err(error) = engine.tell_entered().await {
            tracing::warn!(%error, "licences that were entered before are told to rules later");
            let later = engine.clone();
            let task = tokio::spawn(async move { later.tell_entered_surely().await });
            engine.0.tasks.lock().push(task);
        }
        Ok(engine)
    }

    fn start_known(&self) -> Result<(), StartError> {
        let directory = self.0.directory.load_full();
        self.start_nations()?;
        for no in directory.operators.keys() {
            self.start_operator(*no)?;
        }
        for source in directory.sources.values() {
            self.start_source(source)?;
        }
        Ok(())
    }

    /// The operator's market, and its rules.
    pub(super) fn start_operator(&self, no: OperatorNo) -> Result<(), StartError> {
        self.start_market(no)?;
        self.start_rules(no)
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
            log: Arc::new(StoredInputs {
                store: inner.store.clone(),
                chain: inner.keys.load().chain,
                clock: Arc::clone(&inner.clock),
            }),
            writer: inner.writer.clone(),
            slot,
            inspect: inner.config.faults.operators.clone(),
            directory: Arc::clone(&inner.directory),
            clock: Arc::clone(&inner.clock),
            metrics: inner.states.clone(),
            series: inner.series.clone(),
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

    pub(super) fn start_source(&self, source: &Arc<Source>) -> Result<(), StartError> {
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
        self.start_output(source)
    }

    /// Publishes a source's records, where its settings name an output topic.
    fn start_output(&self, source: &Arc<Source>) -> Result<(), StartError> {
        let inner = &self.0;
        let names_topic =
            |settings: &ReaderSettings| matches!(settings, ReaderSettings::Kafka(s) if s.output_topic.is_some());
        let Some(settings) = source.reader.clone().filter(names_topic) else { return Ok(()) };
        let operator = {
            let directory = inner.directory.load();
            directory.operators.get(&source.operator_no).map_or("?", |operator| &operator.code).to_owned()
        };
        let name = format!("output:{operator}/{}", source.name);
        let context = OutputContext {
            store: inner.store.clone(),
            source: Arc::clone(source),
            operator,
            clock: Arc::clone(&inner.clock),
            metrics: inner.output_metrics.clone(),
            stopping: inner.stopping.subscribe(),
        };
        let config = inner.config.feeds.clone();
        let mut spec = Spec::new(name, "output", move |_| {
            let (context, settings, config) = (context.clone(), settings.clone(), config.clone());
            let publisher = move || {
                let none = || FetchError::Settings("no output topic".to_owned());
                feeds::publisher(&settings, &config)?.ok_or_else(none)
            };
            Box::pin(Output::recover(context, Box::new(publisher)))
        });
        // one that looks finds everything there is
        spec.capacity = 1;
        spec.hang_after = OUTPUT_PATIENCE;
        let handle = spawn(&inner.system, spec).map_err(|e| StartError::Actor(e.to_string()))?;
        inner.outputs.write().push(handle);
        Ok(())
    }
}

fn start_register(
    system: &ActorSystem,
    config: &EngineConfig,
    store: &Store,
    ring: &KeyRing,
    index: &Arc<ArcSwap<IndexReader>>,
    missed: &Missed,
    clock: &Arc<dyn Clock>,
) -> Result<Handle<crate::register::RegisterMsg>, StartError> {
    let (store, index, missed, clock) = (store.clone(), Arc::clone(index), missed.clone(), Arc::clone(clock));
    let (chain, inspect) = (ring.chain, config.faults.register.clone());
    let mut spec = Spec::new("register", "register", move |generation| {
        let (store, index, missed, clock) = (store.clone(), Arc::clone(&index), missed.clone(), Arc::clone(&clock));
        let inspect = inspect.clone();
        Box::pin(async move {
            RegisterActor::recover(&store, &chain, clock.now(), &index, missed, inspect, &generation.progress).await
        })
    });
    spec.capacity = config.register_queue;
    spec.hang_after = Duration::from_secs(60);
    spawn(system, spec).map_err(|e| StartError::Actor(e.to_string()))
}

/// The desk's handle and view, and where its actor finds what it works with once that is there.
type NewDesk = (Handle<DeskMsg>, Arc<OnceLock<DeskContext>>);

fn start_desk(system: &ActorSystem) -> Result<NewDesk, StartError> {
    let context: Arc<OnceLock<DeskContext>> = Arc::default();
    let awaited = Arc::clone(&context);
    let mut spec = Spec::new("desk", "desk", move |generation| {
        let awaited = Arc::clone(&awaited);
        Box::pin(async move {
            let context = loop {
                match awaited.get() {
                    Some(context) => break context.clone(),
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            };
            DeskActor::recover(context, &generation.progress).await
        })
    });
    spec.capacity = 4 * 1024;
    spec.hang_after = Duration::from_secs(60);
    let handle = spawn(system, spec).map_err(|e| StartError::Actor(e.to_string()))?;
    Ok((handle, context))
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

fn start_live(
    system: &ActorSystem,
    store: &Store,
    views: &Arc<Views>,
    boot: u32,
    limits: LiveLimits,
    reads: prometheus::IntCounter,
) -> Result<LiveHandle, StartError> {
    let missed = Missed::default();
    let heard = Arc::new(OnceLock::new());
    let log = Arc::new(StoredAlerts {
        store: store.clone(),
        source: Arc::clone(views) as Arc<dyn crate::live::LiveSource>,
        hub: Arc::clone(&heard),
        reads,
        permits: Arc::new(Semaphore::new(RECOVERIES_MAX)),
    });
    let (store, views, raised) = (store.clone(), Arc::clone(views), missed.clone());
    let mut spec = Spec::new("live", "live", move |generation| {
        let (store, views, missed, log) =
            (store.clone(), Arc::clone(&views), raised.clone(), Arc::new(Arc::clone(&log)));
        Box::pin(async move {
            missed.clear();
            let say = |e: StoreError| e.to_string();
            let until = store.last_alert_offset().await.map_err(say)?;
            let counts = store.alert_counts(until).await.map_err(say)?;
            let recent = store.recent_alerts(until, crate::live::RING_FRAMES_MAX as u32).await.map_err(say)?;
            let checkpoint = AlertsCheckpoint { until, counts: counts.into_iter().collect(), recent };
            let epoch = store.epoch().await.map_err(say)?;
            Ok(LiveHub::new(views, log, &epoch, &format!("{boot:08x}{}", generation.number), &checkpoint, missed))
        })
    });
    // everybody who comes back at once says two things
    spec.capacity = 4 * limits.sessions.max(4 * 1024);
    // it writes to every watcher's socket, and nobody else should wait for that
    spec.alone = true;
    let hub = spawn(system, spec).map_err(|e| StartError::Actor(e.to_string()))?;
    // set once, here
    let _ = heard.set(hub.clone());
    Ok(LiveHandle::new(hub, missed, limits))
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
    gauge.conflicts.store(stored.conflicts, Ordering::Relaxed);
    gauge.late.store(stored.late, Ordering::Relaxed);
    gauge.replaced.store(stored.replaced, Ordering::Relaxed);
    gauge.open.read(store, source.source_no).await.map_err(|e| e.to_string())?;
    gauge.last_event_at.store(stored.newest.map_or(0, |t| t.0), Ordering::Relaxed);
    let moved_at = stored.cursor.as_ref().map(|(_, at)| *at);
    let last_success = stored.last_stored_at.max(moved_at).max(stored.last_success_at);
    // what this process has seen is no older than what is stored
    let success_kept = last_success.map_or(0, |t| t.0);
    gauge.success_kept_at.fetch_max(success_kept, Ordering::Relaxed);
    gauge.last_success_at.fetch_max(success_kept, Ordering::Relaxed);
    // the directory's: it may have changed since this actor was made the first time
    let set = context.directory.load().sources.get(&source.id).cloned().unwrap_or_else(|| Arc::clone(&source));
    if let (Some(schedule), Some(reader)) = (&set.schedule, &set.reader) {
        let cursor = stored.cursor.map(|(cursor, _)| cursor);
        let is_under_way = cursor.as_deref().is_some_and(|cursor| crate::feeds::is_under_way(reader, cursor));
        let last = if is_under_way { Some(Ts(0)) } else { last_success };
        gauge.polling.start(schedule, last, cursor, context.clock.now(), (context.feeds.chance)());
    }
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
    if gauge.listening_since.load(Ordering::Relaxed) == 0 {
        gauge.listening_since.store(context.clock.now().0, Ordering::Release);
    }
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
    let mut after = 0;
    loop {
        let digests = store.record_digests(source.source_no, horizon, after).await.map_err(say)?;
        let Some(last) = digests.last() else { break };
        after = last.batch_no;
        for digest in &digests {
            dedupe.insert(digest.id_digest, digest.content_digest, digest.occurred_at);
        }
        progress.beat();
    }
    let refused = match source.reader {
        Some(_) => store.refused_digests(source.source_no, REFUSED_KNOWN_MAX).await.map_err(say)?,
        None => Vec::new(),
    };
    let cursor = stored.cursor.map(|(cursor, _)| Cursor(cursor));
    let StoredHead { source_seq, chain, newest, integrity, .. } = stored;
    Ok((dedupe, SourceHead { source_seq, chain, newest, cursor, integrity, refused }))
}
