//! A state of rules and its inputs: applied in their order, once each, their findings durable before the next ones.
//!
//! As with an operator's market, inputs are stored before they are applied, so one on which the code panics would come
//! back with every recovery. Its culprits are found on copies of the state, by halves, and set aside by a journaled event.

use super::input::Stored;
use super::judge::{Judge, Which};
use super::known::Known;
use super::metrics::RuleMetrics;
use super::quiet::Quiet;
use super::risk::ModelsByJurisdiction;
use super::told::{FINDINGS_AT_ONCE, FindingId, Told, Whose};
use super::{FOUND_AT_ONCE_MAX, INPUTS_AT_ONCE, RETRY, truth};
use crate::culprits;
use crate::directory::Directory;
use crate::kernel::{PanicReport, Progress, guard};
use crate::market::{SetAside, is_worth_it, newest};
use crate::scoring::with_truth;
use crate::source::Inspect;
use crate::writer::WriterHandle;
use arc_swap::ArcSwap;
use engine::rules::finding::Finding;
use models::compliance::ComplianceDayCounted;
use models::event::Event;
use models::harm_signal::HarmSignal;
use models::ids::{HarmSignalId, Seq};
use models::model_shadow::ShadowDayCounted;
use models::risk_model::DriftJudged;
use models::rule_input::RuleInputSetAside;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use store::{Attachment, Clock, ComplianceSpan, StateOf, Store, StoreError};

/// What actors of rules share.
#[derive(Clone)]
pub struct RulesContext {
    /// Inputs, states.
    pub store: Store,
    /// The journal's key.
    pub chain: [u8; 32],
    /// Into the store.
    pub writer: WriterHandle,
    /// Which rules are in force.
    pub directory: Arc<ArcSwap<Directory>>,
    /// What register and evidence knew.
    pub known: Arc<dyn Known>,
    /// Which models score, by jurisdiction.
    pub models: ModelsByJurisdiction,
    /// Now.
    pub clock: Arc<dyn Clock>,
    /// Fault injection, if any: sees each record before rules hear it.
    pub inspect: Option<Inspect>,
    /// Of whose findings nobody is told.
    pub quiet: Arc<Quiet>,
    /// What is counted.
    pub metrics: RuleMetrics,
}

pub(super) struct Keeper<J: Judge> {
    pub whose: Whose,
    /// Before any input.
    blank: J,
    pub state: J,
    pub applied: i64,
    /// The rules that the state has.
    rules_seq: Option<Seq>,
    /// The input behind which the state was copied last.
    kept: i64,
    set_aside: SetAside,
    /// What was forgotten when it was looked at last, by table, and what was withheld, by reason.
    forgotten: HashMap<&'static str, u64>,
    /// Inputs are read that may have been applied before.
    is_replaying: bool,
    pub context: RulesContext,
}

impl<J: Judge> Keeper<J> {
    /// From the newest state that was kept and the inputs behind it.
    pub async fn recover(whose: Whose, blank: J, context: RulesContext, progress: &Progress) -> Result<Self, String> {
        let set_aside = context.store.rules_set_aside(whose.no).await.map_err(|e| e.to_string())?;
        let (applied, state) = Self::newest_state(&whose, &blank, &context).await?;
        let forgotten = state.forgotten().into_iter().chain(state.withheld()).collect();
        let mut keeper = Self {
            whose,
            blank,
            state,
            applied,
            rules_seq: None,
            kept: applied,
            set_aside: set_aside.into_iter().collect(),
            forgotten,
            is_replaying: true,
            context,
        };
        let replayed = keeper.catch_up(i64::MAX, progress).await?;
        keeper.is_replaying = false;
        keeper.context.metrics.states.replayed.inc_by(replayed);
        Ok(keeper)
    }

    async fn newest_state(whose: &Whose, blank: &J, context: &RulesContext) -> Result<(i64, J), String> {
        let kept = context.store.operator_states(StateOf::Rules, whose.no, &context.chain).await;
        let kept = kept.map_err(|error| error.to_string())?;
        Ok(newest(whose.no, blank, &kept, &context.metrics.states))
    }

    /// Applies what is stored behind `applied`, up to `until`; gives how many inputs.
    pub async fn catch_up(&mut self, until: i64, progress: &Progress) -> Result<u64, String> {
        let mut count = 0;
        while self.applied < until {
            let rows = J::read(&self.context.store, self.whose.no, self.applied, INPUTS_AT_ONCE).await;
            let rows = rows.map_err(|error| error.to_string())?;
            if rows.is_empty() {
                break;
            }
            let inputs: Vec<Stored> = rows.into_iter().map(Stored::read).collect::<Result<_, _>>()?;
            self.apply(&inputs, progress).await;
            count += inputs.len() as u64;
            progress.beat();
            tokio::task::yield_now().await;
        }
        Ok(count)
    }

    /// The same, however long the store is away.
    pub async fn catch_up_surely(&mut self, until: i64, progress: &Progress) {
        while let Err(error) = self.catch_up(until, progress).await {
            self.waits(&error, progress).await;
        }
    }

    async fn waits(&self, error: &str, progress: &Progress) {
        tracing::warn!(of = self.whose.code, error, "inputs of rules wait for the store");
        progress.beat();
        tokio::time::sleep(RETRY).await;
    }

    /// Applies inputs, each once and in their order, reading what is missing before them; their findings are durable then.
    pub async fn follow(&mut self, inputs: &[Stored], progress: &Progress) {
        let Some(first) = inputs.first() else { return };
        if J::GAPLESS && J::place(first) > self.applied + 1 {
            self.catch_up_surely(J::place(first) - 1, progress).await;
        }
        let behind = inputs.iter().take_while(|input| J::place(input) <= self.applied).count();
        self.apply(&inputs[behind..], progress).await;
    }

    async fn apply(&mut self, inputs: &[Stored], progress: &Progress) {
        let mut told = Told::default();
        for input in inputs {
            let findings = match self.attempt(input) {
                Ok(findings) => findings,
                Err(panic) => self.without_culprits(input, &panic, progress).await,
            };
            self.applied = J::place(input);
            self.context.metrics.judged(J::OF, input.records());
            {
                let (directory, quiet) = (self.context.directory.load(), &self.context.quiet);
                told.add(&self.whose, (&**directory, &**quiet), (input, self.applied), findings);
            }
            let counted = self.state.counted_days();
            if !counted.is_empty() {
                told.days(self.untold(counted, progress).await);
            }
            let signals = self.state.changed_signals();
            if !signals.is_empty() {
                told.signals(self.untold_signals(signals, progress).await);
            }
            for judged in self.state.judged_days() {
                if !self.is_judged(&judged, progress).await {
                    let truth = self.found_out(&judged, progress).await;
                    told.drift(with_truth(judged, &truth));
                }
            }
            for counted in self.state.counted_shadows() {
                if !self.is_shadow_counted(&counted, progress).await {
                    told.shadow(counted);
                }
            }
            if told.len() >= FINDINGS_AT_ONCE {
                self.tell(&mut told, progress).await;
            }
        }
        self.tell(&mut told, progress).await;
        self.count_forgotten();
    }

    /// Those of the days that are not stored as they are, or newer: after a start some are counted once more.
    async fn untold(&self, days: Vec<ComplianceDayCounted>, progress: &Progress) -> Vec<ComplianceDayCounted> {
        let (Some(first), Some(last)) = (days.first(), days.last()) else { return days };
        let span = ComplianceSpan { operator_no: self.whose.no, from: &first.day, to: &last.day };
        let stored = loop {
            match self.context.store.compliance_days(span).await {
                Ok(stored) => break stored,
                Err(error) => self.waits(&error.to_string(), progress).await,
            }
        };
        let is_stored = |day: &ComplianceDayCounted| {
            stored.iter().any(|(name, revision, _)| *name == day.day && *revision >= day.revision)
        };
        days.iter().filter(|day| !is_stored(day)).cloned().collect()
    }

    /// Those of the signs of harm that are not stored as they are, or newer: the first telling of each lies in the commit of its
    /// input, and after a start some are told once more.
    async fn untold_signals(&self, signals: Vec<HarmSignal>, progress: &Progress) -> Vec<HarmSignal> {
        if !self.is_replaying && signals.iter().all(|signal| signal.revision > 1) {
            return signals;
        }
        let ids: Vec<HarmSignalId> = signals.iter().map(|signal| signal.id).collect();
        let stored = loop {
            match self.context.store.harm_signal_revisions(&ids).await {
                Ok(stored) => break stored,
                Err(error) => self.waits(&error.to_string(), progress).await,
            }
        };
        let is_stored = |signal: &HarmSignal| stored.get(&signal.id).is_some_and(|known| *known >= signal.revision);
        signals.into_iter().filter(|signal| !is_stored(signal)).collect()
    }

    /// Is this day of drift stored? After a start its records are scored once more, and fewer of them.
    async fn is_judged(&self, judged: &DriftJudged, progress: &Progress) -> bool {
        loop {
            match self.context.store.is_drift_judged(judged).await {
                Ok(is_stored) => return is_stored,
                Err(error) => self.waits(&error.to_string(), progress).await,
            }
        }
    }

    /// Is this day of a version in the shadow stored? After a start its records are scored once more, and fewer of them.
    async fn is_shadow_counted(&self, counted: &ShadowDayCounted, progress: &Progress) -> bool {
        loop {
            match self.context.store.is_shadow_counted(counted).await {
                Ok(is_stored) => return is_stored,
                Err(error) => self.waits(&error.to_string(), progress).await,
            }
        }
    }

    /// What people found out of what the version has named.
    async fn found_out(&self, judged: &DriftJudged, progress: &Progress) -> Vec<(u32, bool)> {
        loop {
            match truth::found_out(&self.context.store, self.whose.jurisdiction, judged).await {
                Ok(truth) => return truth,
                Err(error @ StoreError::Unreadable(_)) => {
                    tracing::error!(of = self.whose.code, %error, "a model's day is judged without what people found out");
                    return Vec::new();
                }
                Err(error) => self.waits(&error.to_string(), progress).await,
            }
        }
    }

    async fn tell(&self, told: &mut Told, progress: &Progress) {
        let mut fresh = told.offered();
        if self.is_replaying && !fresh.is_empty() {
            // counted by whoever stored them
            let stored = self.stored(&fresh, progress).await;
            fresh.retain(|(id, _)| !stored.contains(id));
        }
        if let Some((events, attachments)) = told.take() {
            self.commit_surely(events, attachments, progress).await;
            for (id, is_quiet) in fresh {
                self.context.metrics.found(&id.rule, id.is_shadow);
                self.context.metrics.quiet.inc_by(u64::from(is_quiet));
            }
        }
    }

    /// Those of some findings that are stored.
    async fn stored(&self, offered: &[(FindingId, bool)], progress: &Progress) -> HashSet<FindingId> {
        let places = || offered.iter().map(|(id, _)| id.place);
        let span = (places().min().unwrap_or(1) - 1, places().max().unwrap_or(0));
        loop {
            match self.context.store.findings_by_input(self.whose.findings(), span, FOUND_AT_ONCE_MAX).await {
                Ok(rows) => return rows.iter().map(FindingId::of).collect(),
                Err(error) => self.waits(&error.to_string(), progress).await,
            }
        }
    }

    /// A finding must not be lost to a database that is away: wait for it, the queue waits with us.
    async fn commit_surely(&self, events: Vec<Event>, attachments: Vec<Attachment>, progress: &Progress) {
        while let Err(error) = self.context.writer.commit(events.clone(), attachments.clone()).await {
            self.waits(&error.to_string(), progress).await;
        }
    }

    fn count_forgotten(&mut self) {
        for (table, now) in self.state.forgotten() {
            let before = self.forgotten.insert(table, now).unwrap_or(0);
            self.context.metrics.forgot(table, now.saturating_sub(before));
        }
        for (reason, now) in self.state.withheld() {
            let before = self.forgotten.insert(reason, now).unwrap_or(0);
            // counted by whoever withheld them first
            if !self.is_replaying {
                self.context.metrics.withheld(reason, now.saturating_sub(before));
            }
        }
    }

    /// The state judges by the rules of a place in the journal.
    fn go_by(&mut self, rules_seq: Seq) {
        if self.rules_seq != Some(rules_seq) {
            let rules = self.context.directory.load().rules_as_of(self.whose.jurisdiction, rules_seq);
            self.state.set_rules(&rules);
            self.rules_seq = Some(rules_seq);
        }
        self.take_models();
    }

    /// Models that were promoted since are at work, and those that were retired are not.
    pub fn take_models(&mut self) {
        self.state.set_models(self.context.models.of(self.whose.jurisdiction));
    }

    /// Applies an input, or says that the state panicked and may be half-way.
    fn attempt(&mut self, input: &Stored) -> Result<Vec<Finding>, PanicReport> {
        self.go_by(input.rules_seq);
        hear_without(&self.set_aside, &mut self.state, input, self.context.inspect.as_ref())
    }

    /// Sets aside what makes the state panic, durably, and applies the rest.
    async fn without_culprits(&mut self, input: &Stored, panic: &PanicReport, progress: &Progress) -> Vec<Finding> {
        let (place, of) = (J::place(input), &self.whose.code);
        tracing::error!(of, place, %panic, "rules cannot apply an input as it is");
        self.state = self.before(place, progress).await;
        self.go_by(input.rules_seq);
        let positions = self.find_culprits(input, progress).await;
        self.set_aside.insert(place, positions);
        let sound = self.state.clone();
        let findings = self.attempt(input).unwrap_or_else(|_| {
            // no record alone does it
            self.state = sound;
            self.set_aside.insert(place, Vec::new());
            Vec::new()
        });
        let records = self.set_aside.get(&place).cloned().unwrap_or_default();
        progress.dead_lettered(records.len().max(1) as u64);
        let aside = RuleInputSetAside { operator_no: self.whose.no, input_seq: place, records };
        self.commit_surely(vec![Event::RuleInputSetAside(aside)], Vec::new(), progress).await;
        findings
    }

    /// Positions of the records on which a copy of the state panics.
    async fn find_culprits(&self, input: &Stored, progress: &Progress) -> Vec<u32> {
        let inspect = self.context.inspect.as_ref();
        let breaks = |part: Range<u32>| {
            try_hear(&mut self.state.clone(), input, &|place| part.contains(&place), inspect).is_err()
        };
        culprits::find(input.records() as u32, progress, breaks).await
    }

    /// The state before an input, from the store; the findings on the way are stored, or about to be.
    async fn before(&mut self, place: i64, progress: &Progress) -> J {
        loop {
            match self.replay(place, progress).await {
                Ok(state) => return state,
                Err(error) => self.waits(&error, progress).await,
            }
        }
    }

    async fn replay(&mut self, place: i64, progress: &Progress) -> Result<J, String> {
        let (mut at, state) = Self::newest_state(&self.whose, &self.blank, &self.context).await?;
        (self.state, self.rules_seq) = (state, None);
        loop {
            let rows = J::read(&self.context.store, self.whose.no, at, INPUTS_AT_ONCE).await;
            let inputs: Vec<Stored> =
                rows.map_err(|error| error.to_string())?.into_iter().map(Stored::read).collect::<Result<_, _>>()?;
            if inputs.is_empty() {
                return Err("inputs are missing in the store".to_owned());
            }
            for input in &inputs {
                if J::place(input) >= place {
                    self.rules_seq = None;
                    return Ok(self.state.clone());
                }
                self.attempt(input).map_err(|panic| panic.to_string())?;
                // told when they were counted first
                drop((self.state.counted_days(), self.state.judged_days()));
                drop((self.state.changed_signals(), self.state.counted_shadows()));
                at = J::place(input);
            }
            progress.beat();
            tokio::task::yield_now().await;
        }
    }

    /// A copy of the state to be kept, with the input it stands behind, where it is worth it.
    pub fn copy(&mut self) -> Option<(i64, J)> {
        let is_worth_it = is_worth_it(self.applied, self.kept);
        if is_worth_it {
            self.kept = self.applied;
        }
        is_worth_it.then(|| (self.applied, self.state.clone()))
    }
}

/// Applies an input without what was set aside of it. Scores that are set aside are as good as said: the state would give
/// them again and again, each time as an input on which it panics.
pub(super) fn hear_without<J: Judge>(
    set_aside: &SetAside,
    state: &mut J,
    input: &Stored,
    inspect: Option<&Inspect>,
) -> Result<Vec<Finding>, PanicReport> {
    match set_aside.get(&J::place(input)) {
        Some(positions) if positions.is_empty() => guard(|| state.leave_out(input)).map(|()| Vec::new()),
        Some(positions) => try_hear(state, input, &|place| !positions.contains(&place), inspect),
        None => try_hear(state, input, &|_| true, inspect),
    }
}

fn try_hear<J: Judge>(
    state: &mut J,
    input: &Stored,
    keeps: &dyn Fn(u32) -> bool,
    inspect: Option<&Inspect>,
) -> Result<Vec<Finding>, PanicReport> {
    guard(|| {
        let mut findings = Vec::new();
        state.hear(input, &Which { keeps, inspect }, &mut findings);
        findings
    })
}
