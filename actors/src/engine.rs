//! The engine's front door: what can be asked of it, and how it stops. How it is assembled stands in `start.rs`, what it
//! does by itself in `tasks.rs`, what is read and checked before anything starts in `opening.rs`.

mod administration;
mod alerts;
mod backtests;
mod changes_feed;
mod compliance;
mod config;
mod exclusion_reports;
mod exclusions;
mod forecasts;
mod harm_signals;
mod integrity;
mod licences;
mod model_brake;
mod model_orders;
mod model_shadows;
mod opening;
mod polling;
mod quarantine;
mod rotation;
mod rule_versions;
mod rules;
mod start;
mod states;
mod successes;
mod tasks;

pub use backtests::Backtests;
pub use config::{EngineConfig, Faults};
pub use exclusion_reports::{Approval, MISMATCHES_MAX, NewExclusionReport, WAITING_MAX};
pub use harm_signals::NewHarmSignal;
pub use model_brake::ModelLive;
pub use model_orders::{ModelCommand, ModelOrder};
pub use model_shadows::ShadowOrder;
pub use opening::{Tools, tools};
pub use quarantine::{Quarantined, ReplayMany, ReplayedMany};
pub use rotation::{LeftBehind, left_behind};

use crate::api::{
    EngineError, IdempotencyKey, NewExclusion, NodeFreshness, NodeState, PushOutcome, Registered, SourceView, Unready,
};
use crate::auditor::{AuditMsg, Auditing};
use crate::contacts::Contacts;
use crate::desk::{DeskMsg, DeskView};
use crate::directory::Directory;
use crate::evidence::{EvidenceLog, EvidenceRefusal};
use crate::facts::FactsSource;
use crate::forecasts::Forecasts;
use crate::integrity::OnePer;
use crate::kernel::{ActorState, ActorSystem, Handle, SendError};
use crate::live::LiveHandle;
use crate::market::{SeriesMetrics, StateMetrics};
use crate::metrics::EngineMetrics;
use crate::notifiers::Notifiers;
use crate::outputs::{Look, OutputMetrics};
use crate::receipts::{self, Jwk};
use crate::register::{Register, commit_error, section};
use crate::rules::{RulesContext, RulesPost};
use crate::secrets::{KeyMaterial, KeyProvider, KeyRing, Keys};
use crate::shadow_reads::ShadowReads;
use crate::source::{Reply, SourceContext, SourceMsg};
use crate::spine::Markets;
use crate::staff::Staff;
use crate::trace;
use crate::views::Views;
use crate::writer::WriterHandle;
use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use engine::integrity::PushMarks;
use engine::register::index::{IndexReader, IndexState};
use models::event::{Event, Exclusion};
use models::evidence::Credential;
use models::exclusion::Period;
use models::ids::{ExclusionId, LookupId, OperatorNo, SourceId};
use models::jurisdiction::JurisdictionNo;
use models::ts::{MINUTE, SECOND, Ts};
use parking_lot::{Mutex, RwLock};
use rule_versions::BelowForecast;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime};
use store::{Clock, Store, StoreError};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// A node younger than this is fresh.
pub const FRESH_MAX: i64 = 5 * SECOND;
/// An answer is valid this long after `as_of`; an older node does not answer at all.
pub const VALID_FOR: i64 = 15 * MINUTE;

/// Why the engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store does not answer.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// A key cannot be used.
    #[error("keys: {0}")]
    Keys(String),
    /// The keys themselves.
    #[error("keys: {0}")]
    Key(#[from] crate::secrets::KeyError),
    /// An actor cannot be started.
    #[error("actor: {0}")]
    Actor(String),
    /// The operating system gives no randomness.
    #[error("no randomness")]
    Random,
}

/// How far the clock may have been set back since the register's last proof of freshness.
const CLOCK_BACK_MAX: i64 = -5 * SECOND;
/// How long a stop waits for notices that are under way.
const NOTICE_PATIENCE: Duration = Duration::from_secs(3);
/// How long it waits for the times of the sources' last successes.
const SUCCESSES_PATIENCE: Duration = Duration::from_secs(2);
/// How long a push waits for its source.
const PUSH_MAX: Duration = Duration::from_secs(60);

/// The running engine; cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    config: EngineConfig,
    store: Store,
    /// Where the keys come from.
    provider: Arc<dyn KeyProvider>,
    keys: Keys,
    /// When the provider had changed last as these were taken.
    keys_seen: Mutex<Option<SystemTime>>,
    /// Rings at every step in the life of a key.
    key_steps: Arc<Notify>,
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
    desk: Handle<DeskMsg>,
    desk_view: Arc<DeskView>,
    sources: RwLock<HashMap<SourceId, Handle<SourceMsg>>>,
    /// Of sources whose records others may read.
    outputs: RwLock<Vec<Handle<Look>>>,
    output_metrics: OutputMetrics,
    context: SourceContext,
    /// Tells sources that fetch that nobody waits for their peers any more.
    stopping: watch::Sender<bool>,
    writer: WriterHandle,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    auditing: Auditing,
    evidence: EvidenceLog,
    /// When the auditor last left the journal signed, microseconds.
    signed_at: Arc<AtomicI64>,
    /// What the provider brought last.
    material: Mutex<Option<KeyMaterial>>,
    contacts: Contacts,
    /// How many of each operator wait for a change.
    waiting: Mutex<HashMap<OperatorNo, usize>>,
    /// Screens get a frame a while instead of a frame a tick.
    sparing: AtomicBool,
    notifiers: Notifiers,
    /// One declaration, or comparison of one, after the other.
    declaring: OnePer<SourceId>,
    /// One exclusion that an operator reports, or what becomes of one, after the other.
    reporting: OnePer<OperatorNo>,
    /// Versions that are run over history, and where their reading and writing is done.
    backtests: Backtests,
    forecasts: Forecasts,
    shadow_reads: ShadowReads,
    runtime: tokio::runtime::Handle,
    /// One change of a rule after the other.
    ruling: tokio::sync::Mutex<()>,
    /// Promoted versions that raise far fewer alerts than was forecast, as they were looked at last.
    below_forecast: RwLock<BelowForecast>,
    states: StateMetrics,
    series: SeriesMetrics,
    /// The actors of rules, and what they share.
    rules: Arc<RulesPost>,
    rules_context: RulesContext,
    facts: FactsSource,
    /// Actors have blocked more threads than a process can spare.
    given_up: watch::Sender<bool>,
    metrics: EngineMetrics,
}

impl Engine {
    /// Now.
    pub fn now(&self) -> Ts {
        self.0.clock.now()
    }

    /// How fresh the register is; cheap.
    pub fn freshness(&self) -> NodeFreshness {
        self.freshness_at(self.now())
    }

    /// How fresh the register is for who was let in at `now`.
    pub fn freshness_at(&self, now: Ts) -> NodeFreshness {
        match self.0.index.load().state() {
            IndexState::Loading => NodeFreshness { state: NodeState::Loading, as_of: Ts(0), register_version: 0 },
            IndexState::Ready { as_of, register_version } => {
                let age = now.0.saturating_sub(as_of.0);
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
            reasons.push(Unready::WriterEnded);
        }
        match self.freshness().state {
            NodeState::Loading => reasons.push(Unready::RegisterLoading),
            NodeState::Stale => reasons.push(Unready::RegisterStale),
            NodeState::Fresh | NodeState::Degraded => {}
        }
        match self.0.evidence.accepts() {
            Err(EvidenceRefusal::Closed) => reasons.push(Unready::EvidenceClosed),
            Err(EvidenceRefusal::Full) => reasons.push(Unready::EvidenceFull),
            Ok(()) => {}
        }
        reasons.into_iter().map(|reason| reason.as_str().to_owned()).collect()
    }

    /// Operators, licences, keys, sources.
    pub fn directory(&self) -> Guard<Arc<Directory>> {
        self.0.directory.load()
    }

    /// The index; take it anew for each request.
    pub fn index(&self) -> Guard<Arc<IndexReader>> {
        self.0.index.load()
    }

    /// The keys in force; take them anew for each request.
    pub fn keys(&self) -> Guard<Arc<KeyRing>> {
        self.0.keys.load()
    }

    /// The evidence of answered lookups.
    pub fn evidence(&self) -> &EvidenceLog {
        &self.0.evidence
    }

    /// Resolves once a part that nobody can start again has ended by a defect: the process is to end, and another one to
    /// begin where it left off.
    pub async fn failed(&self) {
        let mut given_up = self.0.given_up.subscribe();
        tokio::select! {
            () = self.0.evidence.failed() => {}
            // the sender lives in what is borrowed here, so it cannot be gone
            _ = given_up.wait_for(|given_up| *given_up) => {}
        }
    }

    /// Has such a part ended?
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.0.evidence.has_failed() || *self.0.given_up.borrow()
    }

    /// The signed receipt of an answered lookup: of the operator's own, or of anybody's of the jurisdiction for staff.
    pub async fn receipt(&self, id: LookupId, asker: Credential) -> Result<String, EngineError> {
        let ring = self.0.keys.hold();
        let public_key = ring.checkpoint_public_key();
        let (block, row, slot) = receipts::find(&self.0.store, &self.0.evidence, id, asker, &public_key).await?;
        let directory = self.directory();
        let asked = row.credential.operator_no;
        let public = asked.and_then(|no| directory.operators.get(&no)).map(|o| o.id);
        let token_keys = directory.every_token_key(&self.0.keys.load(), asked);
        let people = crate::evidence::people_of(&block, &self.0.evidence.months());
        let people = people.map_err(|_| EngineError::Unavailable("the receipt: its evidence cannot be read"))?;
        let receipt = receipts::receipt(&block, &row, slot, people.as_ref(), public, &token_keys)?;
        receipts::sign(&receipt, &ring.checkpoint).map_err(|_| EngineError::Unavailable("the receipt"))
    }

    /// The public keys under which receipts and evidence are signed.
    pub fn signing_keys(&self) -> Vec<Jwk> {
        vec![Jwk::of(&self.0.keys.load().checkpoint_public_key())]
    }

    /// The share of its time that the busiest worker works: what nobody waits for gives way.
    pub fn workers_are_busy(&self, share: f32) {
        self.0.contacts.give_way_to(share);
    }

    /// Every lookup answered until then is among the contacts.
    pub fn contacts_through(&self) -> Ts {
        self.0.contacts.through()
    }

    /// What register and evidence know of the players of a batch.
    pub fn facts(&self) -> &FactsSource {
        &self.0.facts
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

    /// Under pressure the screens are shown less often; what they show stays whole.
    pub fn spare_analytics(&self, spare: bool) {
        self.0.sparing.store(spare, Ordering::Relaxed);
    }

    /// Who is told of alerts outside the screens.
    pub fn notifiers(&self) -> &Notifiers {
        &self.0.notifiers
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
        marks: PushMarks,
        dry_run: bool,
    ) -> Result<PushOutcome, EngineError> {
        let known = self.directory().sources.get(&source).cloned();
        let known = known.filter(|s| operator.is_none_or(|no| s.operator_no == no));
        if known.ok_or(EngineError::NotFound("source"))?.reader.is_some() {
            return Err(EngineError::Conflict("the source fetches its records by itself".to_owned()));
        }
        let handle =
            self.0.sources.read().get(&source).cloned().ok_or(EngineError::Unavailable("the source's actor"))?;
        let (reply, outcome) = Reply::new();
        let (trace, marks) = (trace::current(), Box::new(marks));
        handle.try_send(SourceMsg::Push { body, marks, dry_run, reply, trace }).map_err(|refused| match refused {
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

    /// Stops in the order of the flow: sources, operators, hub, register, writer. False where something was left.
    pub async fn stop(&self, drain: Duration) -> bool {
        for task in self.0.tasks.lock().drain(..) {
            task.abort();
        }
        self.0.stopping.send_replace(true);
        // one time for all stages
        let end = tokio::time::Instant::now() + drain;
        let left = || end.saturating_duration_since(tokio::time::Instant::now()).max(Duration::from_millis(100));
        self.0.notifiers.stop(left().min(NOTICE_PATIENCE)).await;
        let mut drained = true;
        for kind in ["source", "operator", "rules", "nation", "desk"] {
            drained &= self.0.system.stop_kind(kind, left()).await;
        }
        // a store that is away must not keep the process
        let _ = tokio::time::timeout(left().min(SUCCESSES_PATIENCE), self.write_successes(true)).await;
        let _ = self.0.auditing.try_send(AuditMsg::Checkpoint);
        drained &= self.0.system.stop_kind("audit", left()).await;
        drained &= self.0.evidence.close(left()).await;
        drained &= self.0.store.stop_writer(left()).await;
        drained &= self.0.system.shutdown(left()).await;
        // a connection that does not come back must not keep the process
        drained & tokio::time::timeout(left(), self.0.store.close()).await.is_ok()
    }
}
