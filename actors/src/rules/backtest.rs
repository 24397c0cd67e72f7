//! A version of a rule over stored history, beside the live one: what it would have found, before anybody is told of it.
//!
//! ```text
//! stored inputs, from some time before the span ─▶ rules with what is live and the version ─▶ findings of the span ─▶ outcome
//! ```
//! Inputs are read a few at a time, and whoever runs it says how it rests between them. Nothing is written, and nobody is
//! told. A rule of the market runs over the market's inputs (`backtest_market.rs`).

use super::input::Stored;
use super::judge::{Judge, OfNation, OfOperator};
use super::keeper::hear_without;
use super::replay::at;
use super::truth::{ALERTS_MAX, judged_alerts};
use super::{HEADS_AT_ONCE, INPUTS_AT_ONCE, backtest_market};
use crate::market::SetAside;
use crate::replay::Span;
use engine::integrity::totals::day_of;
use engine::rules::backtest::{Backtest, Judged, Outcome, set};
use engine::rules::life::Life;
use engine::rules::list::{self, About, Home};
use engine::rules::nation::NationRules;
use engine::rules::ruleset::{RuleSet, RuleSetError, RuleVersion};
use engine::rules::run::OperatorRules;
use jiff::tz::TimeZone;
use models::alert::Window;
use models::ids::OperatorNo;
use models::jurisdiction::{Jurisdiction, JurisdictionNo};
use models::rule_input::RuleInput;
use models::ts::{DAY, Ts};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Store, StoreError};

/// A span at most.
pub const SPAN_MAX: i64 = 92 * DAY;
/// How long before the span inputs are heard, so that rules know who is dormant and what is usual: longer than what any of
/// them looks back to where nothing else is set.
pub const WARM_UP: i64 = 100 * DAY;
/// Licences and states that were entered before that and are heard all the same, the newest ones.
const ENTERED_MAX: usize = 4_096;

/// What is tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The rule with its versions.
    pub life: Arc<Life>,
    /// Number of the version; one that is not there yet where nobody has proposed it.
    pub version: u32,
    /// Its parameters.
    pub params: Value,
    /// Versions of other rules by which it goes ([`engine::rules::backtest::beside`]).
    pub beside: Vec<RuleVersion>,
    /// By the clock that judged.
    pub span: Span,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// Inputs that were heard, with those before the span.
    pub inputs: u64,
    /// Of these, in the span.
    pub inputs_in_span: u64,
    /// Records in the span.
    pub records: u64,
    /// From when on inputs were heard.
    pub heard_from: Ts,
    /// People judged more alerts of the span than were looked at, for an operator or for all together: `confirmed` and
    /// `false_alarms` are of the newest ones.
    pub judged_cut: bool,
    /// Codes of the operators that are numbered in the outcome.
    pub operators: BTreeMap<u16, String>,
    /// Both versions beside each other.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// The database.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// Parameters.
    #[error("{0}")]
    Params(#[from] RuleSetError),
    /// Something stored, or a time zone.
    #[error("{0}")]
    Unreadable(String),
    /// The program panics on an input.
    #[error("input {place} of {code} cannot be applied: {panic}")]
    Panic {
        /// Whose.
        code: String,
        /// Its position.
        place: i64,
        /// The panic.
        panic: String,
    },
    /// The rule does not run over stored inputs.
    #[error("history does not say when nobody was listening: a silence is judged while it lasts")]
    NotInHistory,
    /// Somebody wants it to end.
    #[error("it was stopped")]
    Stopped,
}

/// How it is watched, and how it rests.
pub struct Watch<'a> {
    /// Hears how many per cent are done; false ends it.
    pub goes_on: &'a dyn Fn(u8) -> bool,
    /// Rests as long as it worked, so that it takes half a processor at most.
    pub rests: bool,
}

/// Whose history.
pub struct Of<'a> {
    /// Where the history is.
    pub store: &'a Store,
    /// Number of the jurisdiction.
    pub no: JurisdictionNo,
    /// It.
    pub jurisdiction: &'a Jurisdiction,
}

/// Runs a version over history.
///
/// # Errors
/// [`BacktestError`]
pub async fn run(of: &Of<'_>, trial: &Trial, watch: &Watch<'_>) -> Result<Tried, BacktestError> {
    match list::about(trial.life.rule()).map(|about| about.home) {
        Some(Home::Market) => return Box::pin(backtest_market::run(of, trial, watch)).await,
        Some(Home::Desk) => return Err(BacktestError::NotInHistory),
        _ => {}
    }
    let set = set(&trial.life, trial.version, trial.params.clone(), &trial.beside)?;
    let zone = TimeZone::get(&of.jurisdiction.time_zone).map_err(|e| BacktestError::Unreadable(e.to_string()))?;
    let mut trying = Trying {
        of,
        span: trial.span,
        watch,
        set: &set,
        backtest: Backtest::default(),
        parts: (0, 1),
        counts: Counts::default(),
    };
    let own = of.store.operators().await?.into_iter().filter(|operator| operator.jurisdiction == of.no);
    let mut codes: BTreeMap<u16, String> = own.map(|operator| (operator.operator_no.0, operator.code)).collect();
    if list::about(trial.life.rule()).is_some_and(About::is_national) {
        let (nation, code) = (OperatorNo::of_nation(of.no), &of.jurisdiction.code);
        let blank = OfNation::new(NationRules::new(of.no, zone, &set));
        trying.hear_all(nation, code, blank).await?;
        trying.counts.hear_of_people(of.store, (nation, trial), &mut trying.backtest).await?;
        codes.insert(nation.0, code.clone());
    } else {
        trying.parts.1 = codes.len().max(1);
        for (part, (no, code)) in codes.iter().enumerate() {
            trying.parts.0 = part;
            let blank = OfOperator::new(OperatorNo(*no), OperatorRules::new(OperatorNo(*no), zone.clone(), &set));
            trying.hear_all(OperatorNo(*no), code, blank).await?;
            trying.counts.hear_of_people(of.store, (OperatorNo(*no), trial), &mut trying.backtest).await?;
        }
    }
    let Trying { backtest, counts, .. } = trying;
    Ok(counts.tried(trial.span, codes, backtest))
}

#[derive(Default)]
pub(super) struct Counts {
    pub inputs: u64,
    pub inputs_in_span: u64,
    pub records: u64,
    pub judged_cut: bool,
}

impl Counts {
    /// What people found out of the rule's alerts in the span: what each said last there says when and of whom.
    pub(super) async fn hear_of_people(
        &mut self,
        store: &Store,
        (whose, trial): (OperatorNo, &Trial),
        backtest: &mut Backtest,
    ) -> Result<(), StoreError> {
        let span = Window { start: trial.span.from, end: trial.span.to };
        let judged = judged_alerts(store, (whose, trial.life.rule()), span, ALERTS_MAX).await?;
        self.judged_cut |= judged.is_cut;
        backtest.judged(judged.alerts.iter().map(|(spoke, is_confirmed)| Judged::of(spoke, *is_confirmed)));
        Ok(())
    }

    /// With what was found.
    pub(super) fn tried(self, span: Span, operators: BTreeMap<u16, String>, backtest: Backtest) -> Tried {
        let Self { inputs, inputs_in_span, records, judged_cut } = self;
        let heard_from = span.from.plus(-WARM_UP);
        let outcome = backtest.outcome();
        Tried { inputs, inputs_in_span, records, heard_from, judged_cut, operators, outcome }
    }
}

/// Which inputs are heard.
struct Places {
    /// What the regulator entered before the first one and holds on: licences, and what an operator may do.
    entered: Vec<i64>,
    first: i64,
    /// The last one that lies in the span.
    last: i64,
}

struct Trying<'a> {
    of: &'a Of<'a>,
    span: Span,
    watch: &'a Watch<'a>,
    set: &'a RuleSet,
    backtest: Backtest,
    /// Which of how many states of rules.
    parts: (usize, usize),
    counts: Counts,
}

impl Trying<'_> {
    async fn hear_all<J: Judge>(&mut self, whose: OperatorNo, code: &str, mut state: J) -> Result<(), BacktestError> {
        let store = self.of.store;
        let set_aside: SetAside = store.rules_set_aside(whose).await?.into_iter().collect();
        let Some(Places { entered, first, last }) = self.places(whose).await? else { return Ok(()) };
        state.set_rules(self.set);
        for place in entered {
            let rows = J::read(store, whose, place - 1, 1).await?;
            for row in rows {
                let input = Stored::read(row).map_err(BacktestError::Unreadable)?;
                self.hear(&mut state, code, &set_aside, &input)?;
            }
        }
        let mut behind = first - 1;
        while behind < last {
            let began = Instant::now();
            let rows = J::read(store, whose, behind, INPUTS_AT_ONCE).await?;
            let inputs = rows.into_iter().map(Stored::read).collect::<Result<Vec<_>, _>>();
            let inputs = inputs.map_err(BacktestError::Unreadable)?;
            let Some(newest) = inputs.last() else { break };
            behind = J::place(newest);
            for input in inputs.iter().take_while(|input| J::place(input) <= last) {
                self.hear(&mut state, code, &set_aside, input)?;
            }
            self.rest((behind - first, last - first), began.elapsed()).await?;
        }
        Ok(())
    }

    fn hear<J: Judge>(
        &mut self,
        state: &mut J,
        code: &str,
        set_aside: &SetAside,
        input: &Stored,
    ) -> Result<(), BacktestError> {
        self.counts.inputs += 1;
        let findings = hear_without(set_aside, state, input, None).map_err(|panic| {
            let (code, place) = (code.to_owned(), J::place(input));
            BacktestError::Panic { code, place, panic: panic.to_string() }
        })?;
        drop(state.counted_days());
        let at = at(input);
        if !self.span.holds(at) {
            return Ok(());
        }
        self.counts.inputs_in_span += 1;
        self.counts.records += input.records() as u64;
        let day = day_of(at, &self.of.jurisdiction.time_zone).unwrap_or_default();
        self.backtest.active(input.operator, &day);
        findings.into_iter().for_each(|finding| self.backtest.hear(input.operator, &day, finding));
        Ok(())
    }

    /// What is heard of the inputs; nothing where none lies in the span.
    async fn places(&self, whose: OperatorNo) -> Result<Option<Places>, BacktestError> {
        let (mut after, mut first, mut last, mut entered) = (0, None, None, VecDeque::new());
        loop {
            let began = Instant::now();
            let heads = self.of.store.rule_input_heads(whose, (after, i64::MAX), HEADS_AT_ONCE).await?;
            let Some(end) = heads.last() else { break };
            after = end.place;
            for head in &heads {
                let Some(at) = head.at() else { continue };
                if first.is_none() && at >= self.span.from.plus(-WARM_UP) {
                    first = Some(head.place);
                }
                if first.is_none() && matches!(head.input, RuleInput::Licence { .. } | RuleInput::OperatorState { .. })
                {
                    entered.push_back(head.place);
                    if entered.len() > ENTERED_MAX {
                        entered.pop_front();
                    }
                }
                if self.span.holds(at) {
                    last = Some(head.place);
                }
            }
            self.rest((0, 1), began.elapsed()).await?;
        }
        Ok(first.zip(last).map(|(first, last)| Places { entered: entered.into(), first, last }))
    }

    fn percent(&self, done: i64, all: i64) -> u8 {
        let (part, parts) = self.parts;
        let within = if all > 0 { (done as f64 / all as f64).clamp(0.0, 1.0) } else { 1.0 };
        ((part as f64 + within) * 100.0 / parts as f64).min(99.0) as u8
    }

    async fn rest(&self, (done, all): (i64, i64), worked: Duration) -> Result<(), BacktestError> {
        if !(self.watch.goes_on)(self.percent(done, all)) {
            return Err(BacktestError::Stopped);
        }
        if self.watch.rests {
            tokio::time::sleep(worked).await;
        }
        Ok(())
    }
}
