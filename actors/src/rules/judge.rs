//! The two states that hear inputs: an operator's rules, and those over all operators of a jurisdiction.

use super::input::{Batch, Stored};
use super::risk::{BatchScores, Models, Risk, RiskAcross};
use super::shadow::ShadowDay;
use crate::market::Kept;
use crate::source::Inspect;
use engine::features::live::LiveFeatures;
use engine::features::live_players::DAY_SETTLED_AFTER;
use engine::rules::finding::{Finding, Mode};
use engine::rules::input::{Base, Declared, Exclusions, Input, Signal};
use engine::rules::nation::NationRules;
use engine::rules::ruleset::RuleSet;
use engine::rules::run::OperatorRules;
use engine::rules::snapshot::VERSION;
use engine::rules::standing::Standing;
use engine::snapshot;
use models::compliance::ComplianceDayCounted;
use models::feed::SourceClock;
use models::ids::OperatorNo;
use models::model_shadow::ShadowDayCounted;
use models::record::Record;
use models::risk_model::DriftJudged;
use models::rule_input::{DeclaredBase, RuleInput};
use models::score::PlayersScored;
use models::ts::{HOUR, Ts};
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
    /// Days of versions of models in the shadow that were counted since somebody asked last.
    fn counted_shadows(&mut self) -> Vec<ShadowDayCounted> {
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

/// An operator's rules, and which clock they go by.
#[derive(Clone)]
pub struct OfOperator {
    operator: OperatorNo,
    rules: OperatorRules,
    /// What models are told, and what they say.
    pub(super) risk: Risk,
    /// A wall clock ticks.
    is_wall: bool,
    /// There are documents, which fall due by themselves.
    has_papers: bool,
    /// The newest tick.
    ticked_at: Ts,
}

impl OfOperator {
    /// Before any input.
    #[must_use]
    pub fn new(operator: OperatorNo, rules: OperatorRules) -> Self {
        let risk = Risk::default();
        Self { operator, rules, risk, is_wall: false, has_papers: false, ticked_at: Ts(0) }
    }

    /// Should the wall clock be told? Where there are documents and no feed that follows it, once an hour.
    pub(super) fn needs_tick(&self, now: Ts) -> bool {
        self.has_papers && !self.is_wall && now.0.saturating_sub(self.ticked_at.0) >= HOUR
    }

    fn tick(&mut self, at: Ts, findings: &mut Vec<Finding>) {
        self.ticked_at = self.ticked_at.max(at);
        self.rules.hear(&Input::Tick { at }, findings);
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
        }
        risk.heard(input, batch, scores);
        match batch.clock {
            SourceClock::Wall => self.is_wall = true,
            // an archive beside a live source is late data, and no clock
            SourceClock::Event if self.is_wall => {}
            SourceClock::Event => self.rules.hear(&Input::Tick { at: batch.clock_at }, findings),
        }
    }
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
            RuleInput::Signal { player, level, at } => {
                self.rules.hear(&Input::Signal(Signal { player, level, at }), findings);
            }
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
            }
        }
    }

    fn forgotten(&self) -> Vec<(&'static str, u64)> {
        let mut forgotten: Vec<_> = self.rules.book().evicted().into();
        forgotten.push(("tally_days", self.rules.tally().too_late()));
        forgotten.extend(cases_forgotten(self.rules.standing()));
        forgotten.push(("signals", self.rules.book().counted().signals_forgotten));
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

    fn counted_shadows(&mut self) -> Vec<ShadowDayCounted> {
        let (rules, operator_no) = (&mut self.rules, self.operator);
        let told = |ShadowDay { kind, version, day, found }| {
            let day = rules.day_of(day).start;
            ShadowDayCounted { kind, version, operator_no, day, found }
        };
        self.risk.counted_shadows().into_iter().map(told).collect()
    }

    async fn read(store: &Store, whose: OperatorNo, after: i64, limit: u32) -> Result<Vec<RuleInputRow>, StoreError> {
        store.rule_inputs(whose, after, limit).await
    }
}

/// Bytes before those of the rules and their number: which clock, documents, the newest tick.
const CLOCK_BYTES: usize = 10;
/// Layout of those, and what follows from an input here: it grows with every change of either.
const LAYOUT_HERE: u32 = 4;

impl Kept for OfOperator {
    const LAYOUT: u32 = VERSION << 8 | LAYOUT_HERE;
    const BYTES_MAX: usize = 384 << 20;

    fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let rules = self.rules.to_bytes().map_err(|error| error.to_string())?;
        let live = self.risk.live().to_bytes().map_err(|error| error.to_string())?;
        let mut bytes = Vec::with_capacity(CLOCK_BYTES + size_of::<u64>() + rules.len() + live.len());
        bytes.extend([u8::from(self.is_wall), u8::from(self.has_papers)]);
        bytes.extend(self.ticked_at.0.to_be_bytes());
        bytes.extend((rules.len() as u64).to_be_bytes());
        bytes.extend(rules);
        bytes.extend(live);
        Ok(bytes)
    }

    fn with_bytes(self, bytes: &[u8]) -> Option<Self> {
        let (clock, rest) = bytes.split_at_checked(CLOCK_BYTES)?;
        let ticked_at = Ts(i64::from_be_bytes(clock[2..].try_into().ok()?));
        let (rules, live) = parted(rest)?;
        let rules = self.rules.with_bytes(rules).ok()?;
        let risk = self.risk.with_live(LiveFeatures::from_bytes(live).ok()?);
        Some(Self { rules, risk, is_wall: clock[0] == 1, has_papers: clock[1] == 1, ticked_at, ..self })
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
            if facts.is_identified && record.kind.is_play() {
                let spans = self.rules.spans(record.occurred_at);
                self.risk.hear(input, record, &spans);
            }
            self.rules.hear(input.operator, &Input::Play { record, facts }, findings);
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

    fn forgotten(&self) -> Vec<(&'static str, u64)> {
        let (histories, unscored) = self.risk.live().forgotten();
        let mut forgotten = vec![
            ("nation_players", self.rules.players().1),
            ("nation_feature_players", histories),
            ("nation_unscored_players", unscored),
        ];
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
