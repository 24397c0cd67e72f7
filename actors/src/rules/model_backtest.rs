//! A version of a model over stored history, beside what the promoted versions said then: before anybody hears of it.
//!
//! ```text
//! stored inputs, from the first ─▶ rules' book and histories ─▶ vectors of the span ─▶ the version ─▶ rows that wait
//!                                        RecordsScored, PlayersScored among the inputs ─▶ joined ─▶ tally ─▶ outcome
//! ```
//! What is heard is what the operator's actor heard, under the rules of then, and the vectors are made by the code that
//! makes them there. Inputs are read a few at a time, and rows wait for scores up to a limit. Nothing is written. Whoever
//! plays at several operators is scored at each of them, and not across them, as in the shadow.

use super::backtest::{BacktestError, Watch};
use super::input::Stored;
use super::judge::{Judge, OfOperator};
use super::keeper::hear_without;
use super::replay::at;
use super::risk::Promoted;
use super::shadow::Row;
use super::truth::spoke_in;
use super::{HEADS_AT_ONCE, INPUTS_AT_ONCE};
use crate::directory::Directory;
use crate::market::SetAside;
use crate::model_rows::{Decision, decisions, operators_of, player_of};
use crate::replay::Span;
use crate::scoring::Scorer;
use engine::ingest::id_digest;
use engine::model_shadow::{Scored, Tally};
use engine::rules::calendar::Calendar;
use engine::rules::labels::label;
use engine::rules::ruleset::RuleSet;
use engine::rules::run::OperatorRules;
use jiff::tz::TimeZone;
use models::alert::{AlertRevision, Window};
use models::ids::OperatorNo;
use models::match_key::MatchKey;
use models::model_shadow::{ShadowCounts, ShadowExample, ShadowFound};
use models::money::Currency;
use models::operator::Operator;
use models::risk_model::ModelKind;
use models::rule_input::RuleInput;
use models::score::{PlayersScored, RecordsScored};
use models::ts::{DAY, Ts};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Store, StoreError};

/// Examples of an outcome at most.
pub const EXAMPLES_MAX: usize = 20;
/// Records that wait for what the promoted version said of them; beyond, the oldest count as not scored by one.
const WAITING_MAX: usize = 200_000;

/// What is tried.
pub struct ModelTrial {
    /// The version.
    pub scorer: Scorer,
    /// Records by the clock that judged their batch, players by the end of their day.
    pub span: Span,
    /// From which probability on a row counts, millionths; none: the live rule's parameter in force.
    pub bound_ppm: Option<u32>,
}

/// Rows that people decided about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Decided {
    /// Records, or players, that were scored.
    pub rows: u64,
    /// Of these, those that the version had at or above the bound.
    pub version: u64,
    /// Those that the promoted one had there.
    pub live: u64,
}

impl Decided {
    fn add(&mut self, is_high: bool, is_live_high: bool) {
        self.rows += 1;
        self.version += u64::from(is_high);
        self.live += u64::from(is_live_high);
    }

    fn plus(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, version: self.version + other.version, live: self.live + other.live }
    }
}

/// What came of it, at an operator or in total.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ModelOutcome {
    /// Numbers.
    #[serde(flatten)]
    pub counts: ShadowCounts,
    /// Share of the rows that it had at or above the bound; none without rows.
    pub hit_rate: Option<f64>,
    /// Of the rows that either had there, the share that both had.
    pub agreement: Option<f64>,
    /// Days of operators on which something was scored.
    pub operator_days: u64,
    /// Rows at or above the bound a day of an operator.
    pub high_per_operator_day: Option<f64>,
    /// The same of what was promoted then.
    pub live_high_per_operator_day: Option<f64>,
    /// Promoted versions that scored the same rows.
    pub live_versions: BTreeSet<u32>,
    /// What people confirmed, of the rules that say something to this kind of model.
    pub confirmed: Decided,
    /// What people called a false alarm.
    pub false_alarms: Decided,
}

impl ModelOutcome {
    fn new(counts: ShadowCounts, operator_days: u64) -> Self {
        let a_day = |rows: u64| (operator_days > 0).then(|| rows as f64 / operator_days as f64);
        Self {
            counts,
            hit_rate: counts.hit_rate(),
            agreement: counts.agreement(),
            operator_days,
            high_per_operator_day: a_day(counts.high),
            live_high_per_operator_day: a_day(counts.live_high),
            ..Self::default()
        }
    }

    fn plus(&self, other: &Self) -> Self {
        Self {
            live_versions: self.live_versions.union(&other.live_versions).copied().collect(),
            confirmed: self.confirmed.plus(other.confirmed),
            false_alarms: self.false_alarms.plus(other.false_alarms),
            ..Self::new(self.counts.plus(other.counts), self.operator_days + other.operator_days)
        }
    }
}

/// One that it alone had at or above the bound.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OperatorExample {
    /// Code of the operator.
    pub operator: String,
    /// It.
    #[serde(flatten)]
    pub example: ShadowExample,
}

/// What came of a trial.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelTried {
    /// What it predicts.
    pub kind: ModelKind,
    /// Number of the version.
    pub version: u32,
    /// Inputs that were heard, with those before the span.
    pub inputs: u64,
    /// All operators together.
    pub total: ModelOutcome,
    /// By operator, by code.
    pub operators: BTreeMap<String, ModelOutcome>,
    /// The highest ones that it alone had, at most [`EXAMPLES_MAX`].
    pub examples: Vec<OperatorExample>,
}

/// What people decided about alerts of the rules that say something to a kind of model, as they label its rows.
#[derive(Default)]
struct Truth {
    records: HashMap<(OperatorNo, u64), bool>,
    /// Of alerts over several operators: numbers of records are an operator's own, so it has to be that player's.
    shared: HashMap<(OperatorNo, u64, MatchKey), bool>,
    players: HashMap<(OperatorNo, MatchKey), bool>,
}

impl Truth {
    async fn read(store: &Store, directory: &Directory, kind: ModelKind, span: Span) -> Result<Self, StoreError> {
        let mut truth = Self::default();
        for Decision { rule, alerts, is_confirmed } in decisions(&store.journal_events("alert_acted").await?) {
            let Some(is_positive) = label(kind, &rule, is_confirmed) else { continue };
            for alert in alerts {
                truth.add(directory, &store.alert(alert).await?, is_positive, span);
            }
        }
        Ok(truth)
    }

    /// An alert more, by its revisions, newest first. A record is scored once, in whichever span: of a player it counts whether
    /// the alert spoke in this one.
    fn add(&mut self, directory: &Directory, revisions: &[AlertRevision], is_positive: bool, span: Span) {
        // the newest revision says which records weigh most
        let Some(alert) = revisions.first() else { return };
        let (player, is_of_one) = (player_of(alert), alert.operator_no.nation().is_none());
        let is_then = spoke_in(revisions, Window { start: span.from, end: span.to }).is_some();
        for operator in operators_of(directory, alert) {
            for digest in alert.evidence.records.iter().map(|record| id_digest(record)) {
                if is_of_one {
                    *self.records.entry((operator, digest)).or_default() |= is_positive;
                } else if let Some(player) = player {
                    *self.shared.entry((operator, digest, player)).or_default() |= is_positive;
                }
            }
            if let (Some(player), true) = (player, is_then) {
                *self.players.entry((operator, player)).or_default() |= is_positive;
            }
        }
    }

    /// Was a record confirmed, or a false alarm? Where several alerts name it, one confirmation is enough.
    fn of_record(&self, operator: OperatorNo, record_id: &str, player: Option<MatchKey>) -> Option<bool> {
        let digest = id_digest(record_id);
        let own = self.records.get(&(operator, digest));
        let shared = player.and_then(|player| self.shared.get(&(operator, digest, player)));
        own.into_iter().chain(shared).copied().reduce(|one, other| one || other)
    }
}

/// Rows of one operator on their way into the outcome.
struct Joining<'a> {
    operator: OperatorNo,
    truth: &'a Truth,
    calendar: Calendar,
    tally: Tally,
    days: BTreeSet<Ts>,
    confirmed: Decided,
    false_alarms: Decided,
    /// Records by the input that they came with.
    records: VecDeque<(i64, Vec<Row>)>,
    waiting: usize,
    players: HashMap<(MatchKey, Currency), Row>,
    players_as_of: Ts,
    /// Who was decided about, and who had them on any day.
    decided_players: HashMap<MatchKey, (bool, bool)>,
}

impl<'a> Joining<'a> {
    fn new(operator: OperatorNo, truth: &'a Truth, zone: TimeZone) -> Self {
        Self {
            operator,
            truth,
            calendar: Calendar::new(zone),
            tally: Tally::new(EXAMPLES_MAX),
            days: BTreeSet::new(),
            confirmed: Decided::default(),
            false_alarms: Decided::default(),
            records: VecDeque::new(),
            waiting: 0,
            players: HashMap::new(),
            players_as_of: Ts(0),
            decided_players: HashMap::new(),
        }
    }

    /// What the version said of records of an input.
    fn records(&mut self, of: i64, rows: Vec<Row>) {
        if rows.is_empty() {
            return;
        }
        self.waiting += rows.len();
        self.records.push_back((of, rows));
        while self.waiting > WAITING_MAX && self.records.len() > 1 {
            self.settle_oldest(None);
        }
    }

    fn settle_oldest(&mut self, scored: Option<&RecordsScored>) {
        let Some((_, rows)) = self.records.pop_front() else { return };
        self.waiting -= rows.len();
        for row in rows {
            let score = scored.and_then(|scored| Some((scored.version, (*scored.scores.0.get(row.place)?)?)));
            self.settle(&row, score);
        }
    }

    /// What the promoted version said of an input is stored: what came before it goes without.
    fn records_scored(&mut self, scored: &RecordsScored) {
        while let Some((of, _)) = self.records.front().filter(|(of, _)| *of <= scored.of) {
            let is_it = *of == scored.of;
            self.settle_oldest(is_it.then_some(scored));
        }
    }

    /// What the version said of players at the end of a day.
    fn players(&mut self, rows: Vec<Row>) {
        for row in rows {
            if row.subject.at != self.players_as_of {
                self.settle_players();
                self.players_as_of = row.subject.at;
            }
            let Some(player) = row.subject.player else { continue };
            let who = (player, row.subject.currency);
            if let Some(before) = self.players.insert(who, row) {
                self.settle(&before, None);
            }
        }
    }

    fn players_scored(&mut self, scored: &PlayersScored) {
        for one in &scored.players {
            if let Some(row) = self.players.remove(&(one.player, one.currency)) {
                self.settle(&row, Some((scored.version, one.score_ppm)));
            }
        }
    }

    fn settle_players(&mut self) {
        // in an order of their own, so that the outcome is the same each time
        let mut rows: Vec<Row> = std::mem::take(&mut self.players).into_values().collect();
        rows.sort_by_key(|row| (row.subject.player, row.subject.currency));
        rows.iter().for_each(|row| self.settle(row, None));
    }

    fn settle(&mut self, row: &Row, live: Option<(u32, u32)>) {
        let scored = Scored { score_ppm: row.score_ppm, live, bound_ppm: row.bound_ppm };
        self.tally.add(scored, &row.vector, || row.subject.clone());
        let (is_high, is_live_high) = (scored.is_high(), scored.is_live_high());
        let Some(record) = &row.subject.record_id else {
            // the day ends with the instant before
            self.days.insert(self.calendar.spans(row.subject.at.plus(-1)).day.start);
            let decided = |player: &MatchKey| self.truth.players.contains_key(&(self.operator, *player));
            if let Some(player) = row.subject.player.filter(decided) {
                let had = self.decided_players.entry(player).or_default();
                *had = (had.0 || is_high, had.1 || is_live_high);
            }
            return;
        };
        self.days.insert(self.calendar.spans(row.subject.at).day.start);
        match self.truth.of_record(self.operator, record, row.subject.player) {
            Some(true) => self.confirmed.add(is_high, is_live_high),
            Some(false) => self.false_alarms.add(is_high, is_live_high),
            None => {}
        }
    }

    /// Nothing more comes.
    fn end(mut self, scorer: &Scorer) -> (ModelOutcome, Vec<ShadowExample>) {
        while !self.records.is_empty() {
            self.settle_oldest(None);
        }
        self.settle_players();
        for (player, (is_high, is_live_high)) in &self.decided_players {
            match self.truth.players.get(&(self.operator, *player)) {
                Some(true) => self.confirmed.add(*is_high, *is_live_high),
                _ => self.false_alarms.add(*is_high, *is_live_high),
            }
        }
        let ShadowFound { counts, beside, examples, .. } = self.tally.take(|vector| scorer.reasons(vector));
        let outcome = ModelOutcome {
            live_versions: beside.into_iter().collect(),
            confirmed: self.confirmed,
            false_alarms: self.false_alarms,
            ..ModelOutcome::new(counts, self.days.len() as u64)
        };
        (outcome, examples)
    }
}

/// Runs a version over the history of some operators.
///
/// # Errors
/// [`BacktestError`]
pub async fn run(
    store: &Store,
    directory: &Directory,
    operators: &[Arc<Operator>],
    trial: ModelTrial,
    watch: &Watch<'_>,
) -> Result<ModelTried, BacktestError> {
    let (kind, version) = (trial.scorer.kind(), trial.scorer.version());
    let truth = Truth::read(store, directory, kind, trial.span).await?;
    let candidate = Arc::new(Promoted { scorer: trial.scorer, since: 0 });
    let mut tried = ModelTried {
        kind,
        version,
        inputs: 0,
        total: ModelOutcome::default(),
        operators: BTreeMap::new(),
        examples: Vec::new(),
    };
    for (part, operator) in operators.iter().enumerate() {
        let of = Trying {
            store,
            directory,
            operator,
            candidate: &candidate,
            span: trial.span,
            bound_ppm: trial.bound_ppm,
            watch,
            parts: (part, operators.len()),
        };
        let (outcome, examples) = of.hear_all(&truth, &mut tried.inputs).await?;
        tried.total = tried.total.plus(&outcome);
        let code = &operator.code;
        tried.examples.extend(examples.into_iter().map(|example| OperatorExample { operator: code.clone(), example }));
        tried.operators.insert(code.clone(), outcome);
        // of equal ones the first
        tried.examples.sort_by_key(|one| std::cmp::Reverse(one.example.score_ppm));
        tried.examples.truncate(EXAMPLES_MAX);
    }
    Ok(tried)
}

/// One operator's history.
struct Trying<'a> {
    store: &'a Store,
    directory: &'a Directory,
    operator: &'a Operator,
    candidate: &'a Arc<Promoted>,
    span: Span,
    bound_ppm: Option<u32>,
    watch: &'a Watch<'a>,
    /// Which of how many operators.
    parts: (usize, usize),
}

impl Trying<'_> {
    async fn hear_all(
        &self,
        truth: &Truth,
        inputs: &mut u64,
    ) -> Result<(ModelOutcome, Vec<ShadowExample>), BacktestError> {
        let (no, jurisdiction) = (self.operator.operator_no, self.operator.jurisdiction);
        let known = self.directory.jurisdiction(jurisdiction);
        let known =
            known.ok_or_else(|| BacktestError::Unreadable("an operator of no known jurisdiction".to_owned()))?;
        let zone = TimeZone::get(&known.time_zone).map_err(|error| BacktestError::Unreadable(error.to_string()))?;
        let set_aside: SetAside = self.store.rules_set_aside(no).await?.into_iter().collect();
        let mut joining = Joining::new(no, truth, zone.clone());
        let Some((first, last)) = self.places(no).await? else { return Ok(joining.end(&self.candidate.scorer)) };
        // findings are of no interest: the book is the same whichever rules run
        let mut state = OfOperator::new(no, OperatorRules::new(no, zone, &RuleSet::new("", Vec::new())?));
        let (mut behind, mut rules_seq, mut is_tried) = (0, None, false);
        while behind < last {
            let began = Instant::now();
            let rows = OfOperator::read(self.store, no, behind, INPUTS_AT_ONCE).await?;
            let read = rows.into_iter().map(Stored::read).collect::<Result<Vec<_>, _>>();
            let read = read.map_err(BacktestError::Unreadable)?;
            let Some(newest) = read.last() else { break };
            behind = newest.input_seq;
            for input in read.iter().take_while(|input| input.input_seq <= last) {
                *inputs += 1;
                if rules_seq != Some(input.rules_seq) {
                    rules_seq = Some(input.rules_seq);
                    state.risk.set_rules(&self.directory.rules_as_of(jurisdiction, input.rules_seq));
                    if let Some(bound_ppm) = self.bound_ppm {
                        state.risk.shadows_mut().set_bound(bound_ppm);
                    }
                }
                // before the span histories are kept, and nothing is scored
                if !is_tried && input.input_seq >= first {
                    state.risk.collect(Arc::clone(self.candidate), no);
                    is_tried = true;
                }
                self.hear(&mut state, &set_aside, input)?;
                self.join(&mut joining, &mut state, input);
            }
            self.rest((behind, last), began.elapsed()).await?;
        }
        Ok(joining.end(&self.candidate.scorer))
    }

    fn hear(&self, state: &mut OfOperator, set_aside: &SetAside, input: &Stored) -> Result<(), BacktestError> {
        hear_without(set_aside, state, input, None).map_err(|panic| BacktestError::Panic {
            code: self.operator.code.clone(),
            place: input.input_seq,
            panic: panic.to_string(),
        })?;
        drop((state.counted_days(), state.judged_days()));
        while state.risk.score_shadow() {}
        Ok(())
    }

    fn join(&self, joining: &mut Joining<'_>, state: &mut OfOperator, input: &Stored) {
        let rows = state.risk.shadows_mut().rows();
        let (records, mut players): (Vec<Row>, Vec<Row>) =
            rows.into_iter().partition(|row| row.subject.record_id.is_some());
        if self.span.holds(at(input)) {
            joining.records(input.input_seq, records);
        }
        // the day lies in the span where the instant before its end does
        players.retain(|row| self.span.holds(row.subject.at.plus(-1)));
        joining.players(players);
        match &input.input {
            RuleInput::RecordsScored(scored) => joining.records_scored(scored),
            RuleInput::PlayersScored(scored) => joining.players_scored(scored),
            _ => {}
        }
    }

    /// The first place in the span, and the last one behind it at which its scores and the end of its last day are heard;
    /// none where nothing lies in it.
    async fn places(&self, no: OperatorNo) -> Result<Option<(i64, i64)>, BacktestError> {
        let heard = Span { from: self.span.from, to: self.span.to.plus(DAY) };
        let (mut after, mut first, mut last) = (0, None, None);
        loop {
            let heads = self.store.rule_input_heads(no, (after, i64::MAX), HEADS_AT_ONCE).await?;
            let Some(end) = heads.last() else { break };
            after = end.place;
            for head in &heads {
                let Some(at) = head.at() else { continue };
                if first.is_none() && self.span.holds(at) {
                    first = Some(head.place);
                }
                if heard.holds(at) {
                    last = Some(head.place);
                }
            }
            self.goes_on(0, 1)?;
        }
        Ok(first.zip(last))
    }

    fn goes_on(&self, done: i64, all: i64) -> Result<(), BacktestError> {
        let (part, parts) = self.parts;
        let within = if all > 0 { (done as f64 / all as f64).clamp(0.0, 1.0) } else { 1.0 };
        let percent = ((part as f64 + within) * 100.0 / parts.max(1) as f64).min(99.0) as u8;
        if (self.watch.goes_on)(percent) { Ok(()) } else { Err(BacktestError::Stopped) }
    }

    async fn rest(&self, (done, all): (i64, i64), worked: Duration) -> Result<(), BacktestError> {
        self.goes_on(done, all)?;
        if self.watch.rests {
            tokio::time::sleep(worked).await;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "model_backtest_tests.rs"]
mod tests;
