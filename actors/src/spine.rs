//! The spine's near end: what the writer committed, passed on in the journal's order.
//!
//! Nothing here waits. The directory changes at once; register events go to the register's actor, which answers
//! whoever waits for them after they are in the index; batches go to their operator, alerts to the hub.

use crate::desk::DeskMsg;
use crate::directory::Directory;
use crate::kernel::{Handle, SendError};
use crate::live::{LiveHandle, LiveMsg};
use crate::market::{Input, MarketMsg};
use crate::missed::Missed;
use crate::register::RegisterMsg;
use crate::rules::{RulesPost, Waiting};
use crate::secrets::Keys;
use crate::views::Views;
use arc_swap::ArcSwap;
use models::alert::AlertRevision;
use models::event::{Committed, Event};
use models::feed::{FeedBatchStored, SourceClock};
use models::ids::{OperatorNo, Seq};
use models::jurisdiction::JurisdictionNo;
use models::model_shadow::{ModelShadowEnded, ModelShadowStarted};
use models::operator::ApiKey;
use models::record::Record;
use models::risk_model::{DriftLevel, ModelKind};
use models::rule_input::RuleInput;
use models::ts::Ts;
use parking_lot::RwLock;
use prometheus::IntCounter;
use std::collections::HashMap;
use std::sync::Arc;
use store::{CommittedGroup, Member, Sink};
use tokio::sync::{Notify, mpsc};

/// The operators' queues, filled as their actors start.
pub type Markets = Arc<RwLock<HashMap<OperatorNo, Handle<MarketMsg>>>>;

/// What the assembly does when the directory grows, on its own task: start actors, load a key's secret.
#[derive(Debug)]
pub enum Growth {
    /// An operator needs its actor.
    Operator(OperatorNo),
    /// A source needs its actor.
    Source(models::ids::SourceId),
    /// A key made elsewhere needs its signing secret.
    Key(Box<ApiKey>),
    /// Another version of a model scores in a jurisdiction, or none; in any, where none is named.
    Model(ModelKind, Option<JurisdictionNo>),
    /// Another version of a model scores in the shadow of a jurisdiction, or none.
    Shadow(ModelKind, Option<JurisdictionNo>),
}

/// Passes committed groups on.
pub struct Spine {
    /// The register's actor.
    pub register: Handle<RegisterMsg>,
    /// Raised where a register event did not reach it.
    pub register_missed: Missed,
    /// The operators' actors.
    pub markets: Markets,
    /// The live hub.
    pub live: LiveHandle,
    /// The alert desk.
    pub desk: Handle<DeskMsg>,
    /// Who may call.
    pub directory: Arc<ArcSwap<Directory>>,
    /// Token keys for new operators.
    pub keys: Keys,
    /// Told of every step in the life of a key.
    pub key_steps: Arc<Notify>,
    /// To the assembly. Unbounded in type, bounded by the number of operators, sources and keys.
    pub growth: mpsc::UnboundedSender<Growth>,
    /// Inputs an operator's full queue refused: it reads them back from the store.
    pub deferred: IntCounter,
    /// Where such an operator is told that it is behind.
    pub slots: Arc<Views>,
    /// The actors of rules.
    pub rules: Arc<RulesPost>,
}

impl Sink for Spine {
    fn publish(&mut self, group: CommittedGroup) {
        for member in group.members {
            self.member(member);
        }
    }

    fn head(&mut self, seq: Seq, read_at: Ts) {
        // refused only while the register is down, and then freshness has to stand still
        if self.register.try_send(RegisterMsg::Head { seq, read_at }).is_err() {
            tracing::debug!("the register does not hear the head");
        }
    }
}

impl Spine {
    fn member(&self, member: Member) {
        let events = member.events();
        let mut alerts: Vec<AlertRevision> = Vec::new();
        let mut register = false;
        for committed in events.iter() {
            self.directory_event(committed);
            match &committed.event {
                Event::FeedBatchStored(batch) => {
                    let clock = self.directory.load().source_by_no(batch.source_no).map(|s| s.clock);
                    if let (Some(records), Some(clock)) = (member.records(), clock) {
                        self.batch(batch, committed.at, clock, records);
                    } else {
                        // found by the poll, after an outcome that nobody knew: its records are in the store
                        self.rules.fall_behind(batch.operator_no);
                        if let Some(slot) = self.slots.slots.read().get(&batch.operator_no) {
                            slot.fall_behind();
                        }
                    }
                }
                Event::OperatorTicked { operator_no, operator_seq, at } => {
                    let (operator_seq, at) = (*operator_seq, *at);
                    self.send(*operator_no, Input::Tick { operator_seq, at });
                    self.rules.waiting(*operator_no, Waiting::Tick { operator_seq, at });
                }
                Event::RuleInputStored(stored) => {
                    let place = stored.input.operator_seq();
                    let batch = place.and_then(|place| member.rule_batch(stored.operator_no, place));
                    if let RuleInput::PlayersScored(scored) = &stored.input {
                        self.directory.load().risk_levels.heard((stored.jurisdiction, stored.operator_no), scored);
                    }
                    self.rules.stored(committed.seq, stored, batch);
                }
                Event::AlertRevised(revision) => alerts.push(revision.clone()),
                Event::ModelDriftJudged(judged) if judged.level == DriftLevel::Significant => {
                    if self.desk.try_send(DeskMsg::Drifted(judged.clone())).is_err() {
                        tracing::warn!("the alert desk reads the drift of models with its next start");
                    }
                }
                Event::KeyVersionStarted { .. } | Event::KeyVersionReady { .. } | Event::KeyVersionRetired { .. } => {
                    self.key_steps.notify_one();
                }
                event => register |= event.is_register(),
            }
        }
        let alerts: Arc<[AlertRevision]> = alerts.into();
        if !alerts.is_empty() && self.desk.try_send(DeskMsg::Alerts(Arc::clone(&alerts))).is_err() {
            tracing::debug!("the alert desk reads these alerts from the store");
        }
        if !alerts.is_empty() && self.live.hub().try_send(LiveMsg::Alerts(alerts)).is_err() {
            // screens must never have a silent hole: the hub starts anew from the store, and its clients resume
            self.live.missed().raise();
            tracing::warn!("the live hub does not hear alerts");
        }
        if register { self.register(events, member) } else { member.complete() }
    }

    fn register(&self, events: Arc<[Committed]>, member: Member) {
        let msg = RegisterMsg::Committed { events, member: parking_lot::Mutex::new(Some(member)) };
        if self.register.try_send(msg).is_err() {
            // an undecodable or missing event is never skipped (invariant 1): the index is built anew from the tables.
            // Whoever waits hears 503, because the index does not have it yet
            self.register_missed.raise();
            tracing::error!("the register does not hear a committed event");
        }
    }

    fn batch(&self, batch: &FeedBatchStored, stored_at: Ts, clock: SourceClock, records: Arc<[Record]>) {
        let FeedBatchStored { operator_no, operator_seq, clock_at, .. } = *batch;
        let held = Waiting::Batch { operator_seq, clock_at, clock, stored_at, records: Arc::clone(&records) };
        self.send(operator_no, Input::Batch { operator_seq, clock_at, clock, records });
        self.rules.waiting(operator_no, held);
    }

    fn send(&self, operator: OperatorNo, input: Input) {
        let markets = self.markets.read();
        let Some(market) = markets.get(&operator) else { return };
        if let Err(SendError::Full(_) | SendError::Quarantined(_)) = market.try_send(MarketMsg::Input(input)) {
            // the actor sees the hole in its sequence at its next input, or at the next second, and reads the store
            self.deferred.inc();
            if let Some(slot) = self.slots.slots.read().get(&operator) {
                slot.fall_behind();
            }
        }
    }

    fn directory_event(&self, Committed { seq, event, .. }: &Committed) {
        let growth = match event {
            Event::OperatorSet(operator) => Some(Growth::Operator(operator.operator_no)),
            Event::SourceSet(set) => Some(Growth::Source(set.source.id)),
            Event::KeySet(key) => {
                if key.revoked_at.is_some() {
                    self.live.revoke(key.id);
                }
                (!self.directory.load().keys.contains_key(&key.id)).then(|| Growth::Key(Box::new(key.clone())))
            }
            // what scores is read with its artefact, by the assembly's task
            Event::ModelPromoted(promoted) => {
                if let (ModelKind::PlayerRisk, Some(no)) = (promoted.kind, promoted.jurisdiction) {
                    self.directory.load().risk_levels.go_by(no, Some(promoted.version));
                }
                let _ = self.growth.send(Growth::Model(promoted.kind, promoted.jurisdiction));
                return;
            }
            Event::ModelRetired(retired) => {
                if let (ModelKind::PlayerRisk, Some(no)) = (retired.kind, retired.jurisdiction) {
                    self.directory.load().risk_levels.retire(no, retired.version);
                }
                let _ = self.growth.send(Growth::Model(retired.kind, retired.jurisdiction));
                return;
            }
            Event::ModelShadowStarted(ModelShadowStarted { kind, jurisdiction, .. })
            | Event::ModelShadowEnded(ModelShadowEnded { kind, jurisdiction, .. }) => {
                let _ = self.growth.send(Growth::Shadow(*kind, *jurisdiction));
                return;
            }
            Event::LicenceSet(_) | Event::RecognitionSet(_) | Event::TokenRotated { .. } | Event::RuleChanged(_) => {
                None
            }
            _ => return,
        };
        self.directory.rcu(|old| {
            let mut new = Directory::clone(old);
            if let Event::RuleChanged(changed) = event {
                new.change_rules(*seq, changed);
            } else {
                new.apply(event);
            }
            if let Event::OperatorSet(operator) = event {
                new.token_keys_of(&self.keys.load(), Some(operator.operator_no));
            }
            new
        });
        if let Some(growth) = growth {
            // the assembly's task ends only with the process
            let _ = self.growth.send(growth);
        }
    }
}
