//! The two states that hear inputs: an operator's rules, and those over all operators of a jurisdiction.

use super::input::{Batch, Stored};
use super::risk::{BatchScores, Models, Risk, RiskAcross};
use super::shadow::ShadowDay;
use crate::market::Kept;
use crate::source::Inspect;
use engine::features::live::LiveFeatures;
use engine::features::live_players::DAY_SETTLED_AFTER;
use engine::rules::finding::{Finding, Mode};
use engine::rules::harm::{Given, Harm, first_telling};
use engine::rules::harm_signal_unanswered::Terms;
use engine::rules::input::{Base, Clock, Declared, Exclusions, Input, Signal};
use engine::rules::nation::NationRules;
use engine::rules::ruleset::RuleSet;
use engine::rules::run::OperatorRules;
use engine::rules::snapshot::VERSION;
use engine::rules::standing::Standing;
use engine::snapshot;
use models::alert::Severity;
use models::compliance::ComplianceDayCounted;
use models::feed::SourceClock;
use models::harm_signal::{HarmSignal, RECORDS_MAX, SignalSource};
use models::ids::OperatorNo;
use models::match_key::MatchKey;
use models::model_shadow::ShadowDayCounted;
use models::money::Currency;
use models::record::{Record, RecordKind};
use models::risk_model::{DriftJudged, RiskLevel};
use models::rule_input::{DeclaredBase, RuleInput, SignalGiven};
use models::score::{PlayersScored, ScoredPlayer};
use models::ts::{HOUR, Ts};
use std::collections::BTreeSet;
use store::{RuleInputRow, Store, StoreError};

/// Which records of an input are heard, by position; a fault's hook sees each first.
pub(super) struct Which<'a> {
    pub keeps: &'a dyn Fn(u32) -> bool,
    pub inspect: Option<&'a Inspect>,
}

impl Which<'_> {
    fn of<'r>(&self, records: &'r [Record]) -> impl Iterator<Item = (usize, &'r Record)> {
        let kept = records.iter().enumerate().filter(|(place, _)| (self.keeps)(*place as u32));
        kept.inspect(|(_, record)| {
            if let Some(inspect) = self.inspect {
                inspect(record);
            }
        })
    }
}

/// A state of rules.
pub(super) trait Judge: Kept {
    /// Position of an input in its sequence.
    fn place(input: &Stored) -> i64;
    /// Whose rules: the label of what is counted.
    const OF: &'static str;
    /// Are positions without gaps?
    const GAPLESS: bool;
    /// Other versions from now on.
    fn set_rules(&mut self, set: &RuleSet);
    /// Other models from now on.
    fn set_models(&mut self, _: &Models) {}
    /// Takes an input in.
    fn hear(&mut self, input: &Stored, which: &Which<'_>, findings: &mut Vec<Finding>);
    /// An input is set aside as a whole: nothing of it is heard, but what it says is stored, and is not said again.
    fn leave_out(&mut self, input: &Stored);
    /// What gave way at a limit, by table.
    fn forgotten(&self) -> Vec<(&'static str, u64)>;
    /// Days that were counted since somebody asked last.
    fn counted_days(&mut self) -> Vec<ComplianceDayCounted> {
        Vec::new()
    }
    /// Days of models' drift that were judged since somebody asked last.
    fn judged_days(&mut self) -> Vec<DriftJudged> {
        Vec::new()
    }
    /// Signs of harm that changed since somebody asked last.
    fn changed_signals(&mut self) -> Vec<HarmSignal> {
        Vec::new()
    }
    /// Days of versions of models in the shadow that were counted since somebody asked last.
    fn counted_shadows(&mut self) -> Vec<ShadowDayCounted> {
        Vec::new()
    }
    /// Signs of harm of a model that were not given, by reason.
    fn withheld(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
    /// Inputs behind a position.
    fn read(
        store: &Store,
        whose: OperatorNo,
        after: i64,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<RuleInputRow>, StoreError>>;
}

/// What an operator's rules know of a player to whom a sign of harm is to be given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acquainted {
    /// Something has been heard of them lately.
    pub is_known: bool,
    /// The operator's ids of their newest deposits and withdrawals.
    pub records: Vec<String>,
    /// Staff may give another sign.
    pub has_room: bool,
    /// The rules have not heard everything yet: whoever is unknown now may be known in a moment.
    pub is_behind: bool,
}

/// An operator's rules, and which clock they go by.
#[derive(Clone)]
pub struct OfOperator {
    operator: OperatorNo,
    rules: OperatorRules,
    /// What models are told, and what they say.
    pub(super) risk: Risk,
    /// Who is at high risk, and which signs of harm the operator was told of.
    harm: Harm,
    /// A wall clock ticks.
    is_wall: bool,
    /// How far the clock of its records has come, where no feed follows the wall clock.
    event_at: Option<Ts>,
    /// There are documents, which fall due by themselves.
    has_papers: bool,
    /// The newest tick.
    ticked_at: Ts,
}

impl OfOperator {
    /// Before any input.
    #[must_use]
    pub fn new(operator: OperatorNo, rules: OperatorRules) -> Self {
        let (risk, harm) = (Risk::default(), Harm::default());
        Self { operator, rules, risk, harm, is_wall: false, event_at: None, has_papers: false, ticked_at: Ts(0) }
    }

    /// Should the wall clock be told? Where there are documents and no feed that follows it, once an hour; and when the time
    /// for the answer to a sign of harm is over, however quiet the operator is.
    pub(super) fn needs_tick(&self, now: Ts, set: &RuleSet) -> bool {
        let of_papers = self.has_papers && !self.is_wall && now.0.saturating_sub(self.ticked_at.0) >= HOUR;
        of_papers || (self.harm.open().next().is_some() && self.is_overdue(now, set))
    }

    /// How far the clock of records has come, where they have one of their own.
    fn event_at(&self) -> Option<Ts> {
        self.event_at.filter(|_| !self.is_wall)
    }

    /// Whose time the wall clock tells.
    fn wall(&self) -> Clock {
        if self.is_wall { Clock::Records } else { Clock::Wall }
    }

    /// Is there a sign of harm whose time is over by the wall clock, and was not by the newest tick, nor by the clock of
    /// records? Where those have one of their own each sign waits for as long as they lay behind when it was given: they
    /// bring the answer as late. What lies further behind than a day is an archive, and its batches alone say what time it is.
    fn is_overdue(&self, now: Ts, set: &RuleSet) -> bool {
        let (terms, clock, event_at) = (Terms::of(set), self.wall(), self.event_at());
        self.harm.open().any(|(since, sign)| {
            let Some(due) = terms.act_by((since, sign.level), now) else { return false };
            let is_over = |at: Ts| sign.heard_to(at, clock).is_some_and(|until| until > due);
            is_over(now) && !is_over(self.ticked_at) && event_at.is_none_or(|at| at <= due)
        })
    }

    /// What is known of a player, of everything that was heard.
    pub(super) fn acquainted(&self, player: MatchKey, home: Currency) -> Acquainted {
        let book = self.rules.book();
        Acquainted {
            is_known: book.knows(player, home),
            records: book.records_of(player.0, RECORDS_MAX),
            has_room: self.harm.room(false) > 0,
            is_behind: false,
        }
    }

    /// Players of some scores who are at high risk, and of whom there is no record by which the operator could find them.
    pub(super) fn high_without_records(&self, scored: &PlayersScored) -> Vec<MatchKey> {
        let is_high = |one: &&ScoredPlayer| RiskLevel::of(one.score_ppm) == RiskLevel::High;
        let high: BTreeSet<MatchKey> = scored.players.iter().filter(is_high).map(|one| one.player).collect();
        let book = self.rules.book();
        high.into_iter().filter(|player| book.records_of(player.0, 1).is_empty()).collect()
    }

    /// Of whom the operator is to be told with these scores.
    pub(super) fn foretell(&mut self, scored: &PlayersScored) -> Vec<MatchKey> {
        if !scored.players.iter().any(|one| RiskLevel::of(one.score_ppm) == RiskLevel::High) {
            return Vec::new();
        }
        let month = self.rules.month(scored.as_of.plus(-1)).start;
        self.harm.foretell(self.rules.book(), month, scored)
    }

    /// The signs of whom the operator is told with these scores, as they are told first.
    pub(super) fn first_tellings(&self, scored: &PlayersScored) -> Vec<HarmSignal> {
        let Some(at) = scored.said_at else { return Vec::new() };
        let told = scored.told.iter().map(|player| {
            let signal = Signal { player: *player, level: Severity::High, at };
            first_telling(self.operator, self.rules.book(), &signal, given_by_model(scored.version))
        });
        told.collect()
    }

    fn signal(&mut self, signal: Signal, given: Given, findings: &mut Vec<Finding>) {
        // how late records come is what it was when the sign was given: it shrinks while they catch up
        let behind = self.event_at().map_or(0, |at| signal.at.0.saturating_sub(at.0).max(0));
        self.rules.hear(&Input::Signal { signal, behind }, findings);
        self.harm.given(self.rules.book(), &signal, given);
    }

    /// The operator is told of whose level has become high.
    fn signal_high(&mut self, scored: &PlayersScored, findings: &mut Vec<Finding>) {
        let month = self.rules.month(scored.as_of.plus(-1)).start;
        for signal in self.harm.due(self.rules.book(), month, scored) {
            self.signal(signal, given_by_model(scored.version), findings);
        }
    }

    fn tick(&mut self, at: Ts, findings: &mut Vec<Finding>) {
        self.ticked_at = self.ticked_at.max(at);
        let clock = self.wall();
        self.rules.hear(&Input::Tick { at, clock }, findings);
        self.harm.forget(self.rules.book());
    }

    fn batch(&mut self, input: &Stored, which: &Which<'_>, findings: &mut Vec<Finding>) {
        let Some(batch) = &input.batch else { return };
        let Some(facts) = &batch.facts else {
            self.has_papers = true;
            which.of(&batch.records).for_each(|(_, record)| self.rules.hear(&Input::Document { record }, findings));
            return;
        };
        let (risk, mut scores) = (&mut self.risk, BatchScores::default());
        for (place, record) in which.of(&batch.records) {
            let heard = Input::Play { record, facts: &facts[place] };
            self.rules.hear_and(&heard, findings, |heard| risk.hear((input, place), heard, &mut scores));
            if let (RecordKind::Intervention, Some(player)) = (record.kind, record.player) {
                self.harm.look(self.rules.book(), player);
            }
        }
        risk.heard(input, batch, scores);
        match batch.clock {
            SourceClock::Wall => {
                if !self.is_wall {
                    // a tick of before has waited for records with a clock of their own
                    self.ticked_at = Ts(0);
                }
                (self.is_wall, self.event_at) = (true, None);
            }
            // an archive beside a live source is late data, and no clock
            SourceClock::Event if self.is_wall => {}
            SourceClock::Event => {
                self.event_at = self.event_at.max(Some(batch.clock_at));
                self.rules.hear(&Input::Tick { at: batch.clock_at, clock: Clock::Records }, findings);
                self.harm.forget(self.rules.book());
            }
        }
    }
}

fn given_by_model(version: u32) -> Given {
    Given { source: SignalSource::Model { version }, named: None }
}

/// Who gave a sign, as it was told.
fn given_by(given: Option<&SignalGiven>) -> Given {
    let source =
        SignalSource::Regulator { by: given.map(|given| given.by), reason: given.map(|given| given.reason.clone()) };
    Given { source, named: given.and_then(|given| given.named) }
}

fn cases_forgotten(standing: &Standing) -> [(&'static str, u64); 2] {
    [("cases", Mode::Live), ("cases_shadow", Mode::Shadow)]
        .map(|(table, mode)| (table, standing.counts(mode).forgotten))
}

/// Each score of an input, as rules hear it.
fn players_scored(scored: &PlayersScored, mut hear: impl FnMut(&Input<'_>)) {
    let (version, as_of) = (scored.version, scored.as_of);
    scored.players.iter().for_each(|scored| hear(&Input::PlayerScored { scored, version, as_of }));
}

/// The engine's name of what was declared.
fn base_of(base: DeclaredBase) -> Base {
    match base {
        DeclaredBase::GrossGamingRevenue => Base::GrossGamingRevenue,
        DeclaredBase::Stakes => Base::Stakes,
        DeclaredBase::Payouts => Base::Payouts,
        DeclaredBase::Deposits => Base::Deposits,
        DeclaredBase::Withdrawals => Base::Withdrawals,
    }
}

impl Judge for OfOperator {
    const OF: &'static str = "operator";
    const GAPLESS: bool = true;

    fn place(input: &Stored) -> i64 {
        input.input_seq
    }

    fn set_rules(&mut self, set: &RuleSet) {
        self.rules.set_rules(set);
        self.risk.set_rules(set);
    }

    fn set_models(&mut self, models: &Models) {
        self.risk.set_models(models, self.operator);
    }

    fn hear(&mut self, input: &Stored, which: &Which<'_>, findings: &mut Vec<Finding>) {
        match input.input {
            RuleInput::Batch { .. } => self.batch(input, which, findings),
            RuleInput::Tick { operator_seq, at } => {
                self.is_wall |= operator_seq.is_some();
                self.tick(at, findings);
            }
            RuleInput::Declared { at, period, currency, base, amount_minor } => {
                let declared = Declared { at, period, currency, base: base_of(base), amount_minor };
                self.rules.hear(&Input::Declared(declared), findings);
            }
            RuleInput::Exclusions { window, count, players, at } => {
                // who is remembered has played, where nobody counts them
                let known = Some(self.rules.book().players() as u64).filter(|known| *known > 0);
                let (players, at) = (players.or(known), at.unwrap_or(window.end));
                self.rules.hear(&Input::Exclusions(Exclusions { window, count, players, at }), findings);
            }
            RuleInput::Signal { player, level, at, ref given } => {
                self.signal(Signal { player, level, at }, given_by(given.as_deref()), findings);
            }
            RuleInput::Licence { at, ref licence } => self.rules.hear(&Input::Licence { at, licence }, findings),
            RuleInput::OperatorState { at, state } => self.rules.hear(&Input::OperatorState { at, state }, findings),
            RuleInput::Series(ref scored) => self.rules.hear(&Input::Series(scored), findings),
            RuleInput::RecordsScored(ref scored) => {
                // stored twice where nobody knew whether it was
                if self.risk.said(scored) {
                    let version = scored.version;
                    let each = scored.risky.iter().map(|scored| Input::RecordScored { scored, version });
                    each.for_each(|input| self.rules.hear(&input, findings));
                }
            }
            RuleInput::PlayersScored(ref scored) => {
                self.risk.players_said(scored);
                players_scored(scored, |scored| self.rules.hear(scored, findings));
                self.signal_high(scored, findings);
            }
        }
    }

    fn leave_out(&mut self, input: &Stored) {
        match &input.input {
            RuleInput::RecordsScored(scored) => {
                self.risk.said(scored);
            }
            RuleInput::PlayersScored(scored) => self.risk.players_said(scored),
            _ => {}
        }
    }

    fn forgotten(&self) -> Vec<(&'static str, u64)> {
        let mut forgotten: Vec<_> = self.rules.book().evicted().into();
        forgotten.push(("tally_days", self.rules.tally().too_late()));
        forgotten.extend(cases_forgotten(self.rules.standing()));
        let counted = self.rules.book().counted();
        forgotten.push(("signals", counted.signals_forgotten));
        forgotten.push(("declarations", counted.declared_forgotten));
        forgotten.push(("replaced_records", counted.replaced_unknown));
        forgotten.push(("players_at_risk", self.harm.forgotten()));
        forgotten.extend(self.risk.live().forgotten());
        forgotten.push(("shadow_players", self.risk.shadows().unscored()));
        forgotten
    }

    fn counted_days(&mut self) -> Vec<ComplianceDayCounted> {
        self.rules.closed_days()
    }

    fn judged_days(&mut self) -> Vec<DriftJudged> {
        self.risk.judged_days()
    }

    fn changed_signals(&mut self) -> Vec<HarmSignal> {
        self.harm.take_changed(self.operator)
    }

    fn counted_shadows(&mut self) -> Vec<ShadowDayCounted> {
        let (rules, operator_no) = (&mut self.rules, self.operator);
        let told = |ShadowDay { kind, version, day, found }| {
            let day = rules.day_of(day).start;
            ShadowDayCounted { kind, version, operator_no, day, found }
        };
        self.risk.counted_shadows().into_iter().map(told).collect()
    }

    fn withheld(&self) -> Vec<(&'static str, u64)> {
        let (nameless, full) = self.harm.withheld();
        vec![("model_unattributable", nameless), ("model_full", full)]
    }

    async fn read(store: &Store, whose: OperatorNo, after: i64, limit: u32) -> Result<Vec<RuleInputRow>, StoreError> {
        store.rule_inputs(whose, after, limit).await
    }
}

/// Bytes before those of the rules and their number: a wall clock, documents, the newest tick, the clock of records.
const HEAD_BYTES: usize = 18;
/// Layout of those, and what follows from an input here: it grows with every change of either.
const LAYOUT_HERE: u32 = 6;

impl Kept for OfOperator {
    const LAYOUT: u32 = VERSION << 8 | LAYOUT_HERE;
    const BYTES_MAX: usize = 384 << 20;

    fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let rules = self.rules.to_bytes().map_err(|error| error.to_string())?;
        let harm = self.harm.to_bytes().map_err(|error| error.to_string())?;
        let live = self.risk.live().to_bytes().map_err(|error| error.to_string())?;
        let mut bytes = Vec::with_capacity(HEAD_BYTES + 2 * size_of::<u64>() + rules.len() + harm.len() + live.len());
        bytes.extend([self.is_wall, self.has_papers].map(u8::from));
        bytes.extend(self.ticked_at.0.to_be_bytes());
        bytes.extend(self.event_at.map_or(i64::MIN, |at| at.0).to_be_bytes());
        for part in [&rules, &harm] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part);
        }
        bytes.extend(live);
        Ok(bytes)
    }

    fn with_bytes(self, bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let (is_wall, has_papers) = (head[0] == 1, head[1] == 1);
        let ticked_at = Ts(i64::from_be_bytes(head[2..10].try_into().ok()?));
        let event_at = Some(Ts(i64::from_be_bytes(head[10..].try_into().ok()?))).filter(|at| *at != Ts(i64::MIN));
        let (rules, rest) = parted(rest)?;
        let (harm, live) = parted(rest)?;
        let rules = self.rules.with_bytes(rules).ok()?;
        let harm = Harm::from_bytes(harm).ok()?;
        let risk = self.risk.with_live(LiveFeatures::from_bytes(live).ok()?);
        Some(Self { rules, risk, harm, is_wall, event_at, has_papers, ticked_at, ..self })
    }
}

/// The rules over all operators of a jurisdiction.
#[derive(Clone)]
pub struct OfNation {
    rules: NationRules,
    /// Whoever plays at several of them.
    pub(super) risk: RiskAcross,
}

impl OfNation {
    /// Before any input.
    #[must_use]
    pub fn new(rules: NationRules) -> Self {
        Self { rules, risk: RiskAcross::default() }
    }

    fn batch(&mut self, input: &Stored, batch: &Batch, which: &Which<'_>, findings: &mut Vec<Finding>) {
        let Some(facts) = &batch.facts else { return };
        let settled = self.rules.spans(batch.clock_at.plus(-DAY_SETTLED_AFTER)).day;
        self.risk.settled(settled);
        for (place, record) in which.of(&batch.records) {
            let facts = &facts[place];
            self.rules.hear(input.operator, &Input::Play { record, facts }, findings);
            if let (true, Some(player)) = (facts.is_identified, record.player) {
                let spans = self.rules.spans(record.occurred_at);
                self.risk.hear(input, record, &spans, self.rules.places(player, record.currency));
            }
        }
    }
}

impl Judge for OfNation {
    const OF: &'static str = "nation";
    const GAPLESS: bool = false;

    fn place(input: &Stored) -> i64 {
        input.seq
    }

    fn set_rules(&mut self, set: &RuleSet) {
        self.rules.set_rules(set);
        self.risk.set_rules(set);
    }

    fn set_models(&mut self, models: &Models) {
        self.risk.set_models(models);
    }

    fn hear(&mut self, input: &Stored, which: &Which<'_>, findings: &mut Vec<Finding>) {
        match (&input.batch, &input.input) {
            (Some(batch), _) => self.batch(input, batch, which, findings),
            (None, RuleInput::PlayersScored(scored)) if input.operator.nation().is_some() => {
                self.risk.scored(scored);
                players_scored(scored, |scored| self.rules.hear(input.operator, scored, findings));
            }
            _ => {}
        }
    }

    fn leave_out(&mut self, input: &Stored) {
        if let (RuleInput::PlayersScored(scored), Some(_)) = (&input.input, input.operator.nation()) {
            self.risk.scored(scored);
        }
    }

    fn forgotten(&self) -> Vec<(&'static str, u64)> {
        let (histories, unscored) = self.risk.live().forgotten();
        let mut forgotten = vec![
            ("nation_players", self.rules.players().1),
            ("nation_feature_players", histories),
            ("nation_unscored_players", unscored),
        ];
        forgotten.extend(self.rules.rings().forgotten());
        forgotten.extend(cases_forgotten(self.rules.standing()));
        forgotten
    }

    async fn read(store: &Store, whose: OperatorNo, after: i64, limit: u32) -> Result<Vec<RuleInputRow>, StoreError> {
        match whose.nation() {
            Some(jurisdiction) => store.nation_rule_inputs(jurisdiction, after, limit).await,
            None => Ok(Vec::new()),
        }
    }
}

impl Kept for OfNation {
    const LAYOUT: u32 = VERSION << 8 | LAYOUT_HERE;
    const BYTES_MAX: usize = 512 << 20;

    fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let rules = self.rules.to_bytes().map_err(|error| error.to_string())?;
        let live = snapshot::write(self.risk.live()).map_err(|error| error.to_string())?;
        Ok([&(rules.len() as u64).to_be_bytes()[..], &rules, &live].concat())
    }

    fn with_bytes(self, bytes: &[u8]) -> Option<Self> {
        let (rules, live) = parted(bytes)?;
        let rules = self.rules.with_bytes(rules).ok()?;
        Some(Self { rules, risk: self.risk.with_live(snapshot::read(live).ok()?) })
    }
}

/// Bytes behind their length, and the rest.
fn parted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(size_of::<u64>())?;
    rest.split_at_checked(usize::try_from(u64::from_be_bytes(length.try_into().ok()?)).ok()?)
}
