//! One actor per operator: holds stored batches until evidence of them is in, stores what was known beside them, and
//! applies the operator's rules to what is stored.
//!
//! Batches and ticks are heard in the order of `operator_seq`, each once. What does not fit, and what nobody told of, is
//! read from the store.

use super::RETRY;
use super::input::{Batch, Heard, Stored};
use super::judge::{Acquainted, OfOperator};
use super::keeper::{Keeper, RulesContext};
use super::told::Whose;
use crate::kernel::{DeadLetter, Handle, Progress, Work};
use crate::source::Reply;
use engine::operator_state::is_documents;
use engine::rules::facts;
use engine::rules::input::Facts;
use futures_util::future::{LocalBoxFuture, join_all};
use models::event::{Committed, Event};
use models::feed::SourceClock;
use models::match_key::MatchKey;
use models::record::Record;
use models::risk_model::ModelKind;
use models::rule_input::{RuleInput, RuleInputStored};
use models::ts::{SECOND, Ts};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use store::{Attachment, OperatorInputRow, RuleBatch, StoreError};

/// Records that are held while evidence is awaited; further batches are read back from the store.
const HELD_RECORDS_MAX: usize = 50_000;
/// Batches that are held, and read back, at once.
const HELD_MAX: usize = 256;
/// Batches of one commit at most.
const AT_ONCE: usize = 32;
/// How long after evidence was missing it is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// A batch or a tick of an operator that its rules have not heard of yet.
#[derive(Clone)]
pub enum Waiting {
    /// A stored batch.
    Batch {
        /// Position in the operator's inputs.
        operator_seq: i64,
        /// Time of the clock that judged it.
        clock_at: Ts,
        /// Which clock.
        clock: SourceClock,
        /// When it was stored.
        stored_at: Ts,
        /// Its records.
        records: Arc<[Record]>,
    },
    /// The wall clock.
    Tick {
        /// Position in the operator's inputs.
        operator_seq: i64,
        /// The time.
        at: Ts,
    },
}

impl Waiting {
    fn operator_seq(&self) -> i64 {
        match self {
            Self::Batch { operator_seq, .. } | Self::Tick { operator_seq, .. } => *operator_seq,
        }
    }

    fn records(&self) -> usize {
        if let Self::Batch { records, .. } = self { records.len() } else { 0 }
    }
}

impl From<OperatorInputRow> for Waiting {
    fn from(row: OperatorInputRow) -> Self {
        match row {
            OperatorInputRow::Batch { operator_seq, clock_at, clock, stored_at, records } => {
                Self::Batch { operator_seq, clock_at, clock, stored_at, records: records.into() }
            }
            OperatorInputRow::Tick { operator_seq, at } => Self::Tick { operator_seq, at },
        }
    }
}

/// What an operator's actor hears.
pub enum RulesMsg {
    /// A batch or a tick is stored.
    Waiting(Waiting),
    /// An input of rules is stored that nobody here has made.
    Input(Heard),
    /// Evidence may be in by now.
    Look,
    /// A second has passed.
    Clock,
    /// What is known of a player?
    Knows {
        /// Who.
        player: MatchKey,
        /// Where the answer goes.
        reply: Reply<Acquainted>,
    },
    /// A copy of the state to be kept, where it is worth it.
    Copy {
        /// Where it goes, with the input it stands behind.
        reply: Reply<Option<(i64, OfOperator)>>,
    },
}

/// Where an operator's actor is told that it is behind, and how it wakes itself.
#[derive(Default)]
pub struct RulesSlot {
    behind: AtomicBool,
    waking: AtomicBool,
    handle: OnceLock<Handle<RulesMsg>>,
}

impl RulesSlot {
    /// An input did not reach it.
    pub fn fall_behind(&self) {
        self.behind.store(true, Ordering::Release);
    }

    /// Its own queue, and a first look at what is stored.
    pub fn begin(&self, handle: Handle<RulesMsg>) {
        let _ = handle.try_send(RulesMsg::Look);
        // set once, where the actor is started
        let _ = self.handle.set(handle);
    }

    /// Looks again after a while; one look at a time.
    fn wake_after(self: &Arc<Self>, pause: Duration) {
        if self.waking.swap(true, Ordering::AcqRel) {
            return;
        }
        let slot = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            slot.waking.store(false, Ordering::Release);
            // a full queue has messages that look, too
            if let Some(handle) = slot.handle.get() {
                let _ = handle.try_send(RulesMsg::Look);
            }
        });
    }
}

/// What was known of a batch: as it is stored, and as whoever reads it back has it.
struct KnownFacts {
    packed: Arc<[u8]>,
    facts: Arc<[Facts]>,
}

impl KnownFacts {
    /// Only what comes back from the bytes is judged: times are rounded there, and a replay must say the same.
    fn new(facts: &[Facts]) -> Result<Self, facts::FactsError> {
        let packed = facts::pack(facts);
        let facts = facts::unpack(&packed, facts.len())?.into();
        Ok(Self { packed: packed.into(), facts })
    }
}

/// What is held, and what was known of it once that is in.
struct Held {
    waiting: Waiting,
    known: Option<KnownFacts>,
}

impl Held {
    /// Nothing is to be known of a tick, nor of documents.
    fn asks(&self) -> Option<(Ts, Arc<[Record]>)> {
        match &self.waiting {
            Waiting::Batch { stored_at, records, .. } if self.known.is_none() && !is_documents(records) => {
                Some((*stored_at, Arc::clone(records)))
            }
            _ => None,
        }
    }

    fn input(&self) -> RuleInput {
        match self.waiting {
            Waiting::Batch { operator_seq, .. } => RuleInput::Batch { operator_seq },
            Waiting::Tick { operator_seq, at } => RuleInput::Tick { operator_seq: Some(operator_seq), at },
        }
    }

    fn batch(&self) -> Option<Batch> {
        let Waiting::Batch { clock_at, clock, ref records, .. } = self.waiting else { return None };
        Some(Batch {
            clock_at,
            clock,
            records: Arc::clone(records),
            facts: self.known.as_ref().map(|known| Arc::clone(&known.facts)),
        })
    }

    fn attachment(&self, whose: &Whose) -> Option<Attachment> {
        let Waiting::Batch { operator_seq, clock_at, clock, ref records, .. } = self.waiting else { return None };
        let facts = self.known.as_ref().map(|known| Arc::clone(&known.packed));
        let records = Arc::clone(records);
        Some(Attachment::RuleBatch(RuleBatch { operator_no: whose.no, operator_seq, clock_at, clock, records, facts }))
    }
}

/// The actor.
pub struct OperatorRulesActor {
    keeper: Keeper<OfOperator>,
    /// Everything up to here is among the stored inputs of the rules.
    heard: i64,
    held: VecDeque<Held>,
    held_records: usize,
    /// Something behind what is held is in the store alone.
    is_behind: bool,
    slot: Arc<RulesSlot>,
}

impl OperatorRulesActor {
    pub(crate) async fn recover(
        whose: Whose,
        blank: OfOperator,
        context: RulesContext,
        slot: Arc<RulesSlot>,
        progress: &Progress,
    ) -> Result<Self, String> {
        slot.behind.store(false, Ordering::Release);
        let heard = context.store.rules_heard(whose.no).await.map_err(|error| error.to_string())?;
        let keeper = Box::pin(Keeper::recover(whose, blank, context, progress)).await?;
        Ok(Self { keeper, heard, held: VecDeque::new(), held_records: 0, is_behind: true, slot })
    }

    async fn handle_msg(&mut self, msg: &RulesMsg, progress: &Progress) {
        match msg {
            RulesMsg::Waiting(waiting) => self.hold(waiting.clone()),
            RulesMsg::Input(heard) => match Stored::heard(heard) {
                Ok(input) => self.keeper.follow(&[input], progress).await,
                Err(error) => tracing::error!(seq = heard.seq, error, "an input of rules cannot be read"),
            },
            RulesMsg::Look => {}
            RulesMsg::Clock => self.clock(progress).await,
            RulesMsg::Copy { reply } => {
                reply.send(self.keeper.copy());
                return;
            }
            RulesMsg::Knows { player, reply } => {
                reply.send(self.acquainted(*player));
                return;
            }
        }
        // scores of what came before are inputs before what comes next
        if self.store_scores(progress).await {
            self.advance(progress).await;
            self.store_scores(progress).await;
        }
    }

    /// Stores what models say of records that were heard, and of some players whose day is over. False: the store is away
    /// and scores wait for it, and so does what comes next.
    async fn store_scores(&mut self, progress: &Progress) -> bool {
        self.keeper.take_models();
        let risk = &mut self.keeper.state.risk;
        let mut inputs = risk.unsaid();
        inputs.extend(risk.due());
        let is_more_in_shadow = risk.score_shadow();
        if inputs.is_empty() {
            if is_more_in_shadow {
                self.slot.wake_after(Duration::ZERO);
            }
            return true;
        }
        if let Err(error) = self.address(&mut inputs).await {
            tracing::warn!(of = self.keeper.whose.code, %error, "scores wait for the store");
            self.slot.wake_after(RETRY);
            return false;
        }
        self.commit(inputs, Vec::new(), 0, progress).await;
        let risk = &mut self.keeper.state.risk;
        let is_stored = risk.unsaid_len() == 0;
        if !is_stored || risk.due().is_some() {
            self.slot.wake_after(if is_stored { Duration::ZERO } else { RETRY });
        }
        is_stored
    }

    /// What is said of players tells when, because from then on the operator can know, who cannot be named to it, and of whom
    /// it is told: nothing that is heard later changes that.
    async fn address(&mut self, inputs: &mut [RuleInput]) -> Result<(), StoreError> {
        let Keeper { state, context, whose, .. } = &mut self.keeper;
        for input in inputs {
            let RuleInput::PlayersScored(scored) = input else { continue };
            let mut nameless = state.high_without_records(scored);
            let named = match context.store.contacts_named(whose.no, &nameless).await {
                Err(error @ StoreError::Unreadable(_)) => {
                    // it stays so, and records must not wait for it
                    tracing::error!(of = whose.code, %error, "by what an operator has asked is not known");
                    HashMap::new()
                }
                named => named?,
            };
            nameless.retain(|player| !named.contains_key(player));
            scored.nameless = nameless;
            scored.said_at = Some(context.clock.now());
            scored.told = state.foretell(scored);
        }
        Ok(())
    }

    fn acquainted(&self, player: MatchKey) -> Acquainted {
        let Keeper { state, whose, .. } = &self.keeper;
        let is_behind = self.is_behind || self.slot.behind.load(Ordering::Acquire);
        Acquainted { is_behind, ..state.acquainted(player, whose.currency) }
    }

    async fn clock(&mut self, progress: &Progress) {
        if self.slot.behind.swap(false, Ordering::AcqRel) {
            self.is_behind = true;
            if let Err(error) = self.keeper.catch_up(i64::MAX, progress).await {
                tracing::warn!(of = self.keeper.whose.code, error, "inputs of rules are read later");
                self.slot.fall_behind();
            }
        }
        let now = self.keeper.context.clock.now();
        let set = self.keeper.context.directory.load().rules(self.keeper.whose.jurisdiction).1;
        if self.held.is_empty() && !self.is_behind && self.keeper.state.needs_tick(now, &set) {
            self.commit(vec![RuleInput::Tick { operator_seq: None, at: now }], Vec::new(), 0, progress).await;
        }
    }

    /// Holds what follows on what is held, as far as there is room.
    fn hold(&mut self, waiting: Waiting) {
        let last = self.held.back().map_or(self.heard, |held| held.waiting.operator_seq());
        let has_room = self.held.len() < HELD_MAX && self.held_records + waiting.records() <= HELD_RECORDS_MAX;
        if waiting.operator_seq() <= last {
            return;
        }
        if waiting.operator_seq() > last + 1 || (!has_room && !self.held.is_empty()) {
            self.is_behind = true;
            return;
        }
        self.held_records += waiting.records();
        self.held.push_back(Held { waiting, known: None });
    }

    fn let_go(&mut self, through: i64) {
        self.heard = self.heard.max(through);
        while self.held.front().is_some_and(|held| held.waiting.operator_seq() <= self.heard) {
            let held = self.held.pop_front();
            self.held_records -= held.map_or(0, |held| held.waiting.records());
        }
    }

    /// One step: what is known by now is stored and applied.
    async fn advance(&mut self, progress: &Progress) {
        if self.held.is_empty() && self.is_behind && !self.read_back(progress).await {
            return self.slot.wake_after(RETRY);
        }
        let ready = self.ask().await;
        if ready == 0 {
            if !self.held.is_empty() {
                self.slot.wake_after(ASK_AGAIN);
            }
            return;
        }
        let inputs = self.held.iter().take(ready).map(Held::input).collect();
        let whose = &self.keeper.whose;
        let attachments = self.held.iter().take(ready).filter_map(|held| held.attachment(whose)).collect();
        self.commit(inputs, attachments, ready, progress).await;
        if self.is_behind || !self.held.is_empty() {
            self.slot.wake_after(Duration::ZERO);
        }
    }

    /// Holds what is stored behind what was heard; false where the store is away.
    async fn read_back(&mut self, progress: &Progress) -> bool {
        let store = &self.keeper.context.store;
        match store.operator_inputs(self.keeper.whose.no, self.heard, AT_ONCE as u32).await {
            Ok(rows) => {
                self.is_behind = !rows.is_empty();
                for row in rows {
                    self.hold(row.into());
                }
                progress.beat();
                true
            }
            Err(error) => {
                tracing::warn!(of = self.keeper.whose.code, %error, "batches wait for the store");
                false
            }
        }
    }

    /// Asks what was known; gives how many of the first ones are ready.
    async fn ask(&mut self) -> usize {
        let (known, operator) = (Arc::clone(&self.keeper.context.known), self.keeper.whose.no);
        let asked = self.held.iter().take(AT_ONCE).enumerate();
        let asked = asked.filter_map(|(place, held)| held.asks().map(|(at, records)| (place, at, records)));
        let answers = asked.map(|(place, at, records)| {
            let answer = known.of(operator, at, Arc::clone(&records));
            async move { (place, records.len(), answer.await) }
        });
        for (place, records, answer) in join_all(answers).await {
            match answer {
                Ok(Some(facts)) if facts.len() == records => match KnownFacts::new(&facts) {
                    Ok(known) => self.held[place].known = Some(known),
                    Err(error) => tracing::error!(of = self.keeper.whose.code, %error, "facts are not stored"),
                },
                Ok(Some(_)) => tracing::error!(of = self.keeper.whose.code, "facts of another number of records"),
                Ok(None) => {}
                Err(error) => tracing::debug!(of = self.keeper.whose.code, error, "what was known is asked again"),
            }
        }
        self.held.iter().take(AT_ONCE).take_while(|held| held.asks().is_none()).count()
    }

    /// Stores inputs and applies them. The first `ready` ones are held.
    async fn commit(
        &mut self,
        inputs: Vec<RuleInput>,
        attachments: Vec<Attachment>,
        ready: usize,
        progress: &Progress,
    ) {
        let jurisdiction = self.keeper.whose.jurisdiction;
        let rules_seq = self.keeper.context.directory.load().rules(jurisdiction).0;
        let operator_no = self.keeper.whose.no;
        let event = |input: RuleInput| {
            let batches = attachments.iter().filter_map(Attachment::rule_batch);
            let batch = input.operator_seq().and_then(|seq| batches.clone().find(|batch| batch.operator_seq == seq));
            let facts = batch.and_then(|batch| batch.facts.as_deref());
            let facts_sha256 = facts.map(RuleInputStored::facts_digest);
            let stored = RuleInputStored::new((operator_no, jurisdiction), rules_seq, input);
            Event::RuleInputStored(RuleInputStored { facts_sha256, ..stored })
        };
        let signals = self.first_tellings(&inputs);
        let events = inputs.into_iter().map(event).chain(signals).collect();
        match self.keeper.context.writer.commit(events, attachments).await {
            Ok(receipt) => self.stored(&receipt.events, ready, progress).await,
            Err(error) => {
                // some of it may be stored for all that: what is, is heard from the store
                tracing::warn!(of = self.keeper.whose.code, %error, "inputs of rules are stored later");
                self.look_what_is_stored(progress).await;
                self.slot.wake_after(RETRY);
            }
        }
    }

    /// The first telling of the signs of harm that follow from what is said of players: in the same commit, so that no time runs
    /// for an answer while nobody can read them.
    fn first_tellings(&self, inputs: &[RuleInput]) -> Vec<Event> {
        let state = &self.keeper.state;
        let signals = inputs.iter().flat_map(|input| match input {
            RuleInput::PlayersScored(scored) => state.first_tellings(scored),
            _ => Vec::new(),
        });
        signals.map(|signal| Event::HarmSignalSet(Box::new(signal))).collect()
    }

    async fn stored(&mut self, events: &[Committed], ready: usize, progress: &Progress) {
        let stored = events.iter().filter_map(|committed| match &committed.event {
            Event::RuleInputStored(stored) => Some((committed.seq, stored)),
            _ => None,
        });
        let batches = self.held.iter().take(ready).map(Held::batch).chain(std::iter::repeat_with(|| None));
        let inputs: Vec<Stored> =
            stored.zip(batches).map(|((seq, stored), batch)| Stored::new(seq, stored, batch)).collect();
        self.keeper.follow(&inputs, progress).await;
        inputs.iter().for_each(|input| self.count_scores(&input.input));
        let now = self.keeper.context.clock.now();
        for held in self.held.iter().take(ready) {
            if let Waiting::Batch { stored_at, .. } = held.waiting {
                let lag = now.0.saturating_sub(stored_at.0).max(0);
                self.keeper.context.metrics.lag.observe(lag as f64 / SECOND as f64);
            }
        }
        let through = inputs.iter().filter_map(|input| input.input.operator_seq()).max();
        self.let_go(through.unwrap_or(0));
    }

    fn count_scores(&self, input: &RuleInput) {
        let metrics = &self.keeper.context.metrics;
        match input {
            RuleInput::RecordsScored(scored) => {
                let count = scored.scores.0.iter().flatten().count();
                metrics.scored(ModelKind::TransactionRisk, count as u64);
            }
            RuleInput::PlayersScored(scored) => {
                metrics.scored(ModelKind::PlayerRisk, scored.players.len() as u64);
            }
            _ => {}
        }
    }

    async fn look_what_is_stored(&mut self, progress: &Progress) {
        let heard = self.keeper.context.store.rules_heard(self.keeper.whose.no).await;
        if let Ok(heard) = heard
            && (heard > self.heard || self.keeper.state.risk.waits())
        {
            self.keeper.catch_up_surely(i64::MAX, progress).await;
            self.let_go(heard);
        }
    }
}

impl Work for OperatorRulesActor {
    type Msg = RulesMsg;

    fn handle<'a>(&'a mut self, msg: Arc<RulesMsg>, progress: &'a Progress) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move { self.handle_msg(&msg, progress).await })
    }

    fn dead_letter<'a>(
        &'a mut self,
        _: Arc<RulesMsg>,
        letter: &'a DeadLetter,
        _: &'a Progress,
    ) -> LocalBoxFuture<'a, ()> {
        // applying guards itself, and every input is in the store: the next look reads it again
        tracing::error!(panic = %letter.panic, "a message of an operator's rules is left out");
        self.slot.fall_behind();
        Box::pin(std::future::ready(()))
    }
}
