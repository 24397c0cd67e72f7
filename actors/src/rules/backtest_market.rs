//! A version of `robust_deviation` over stored history: each operator's market, up to the span once, from there on twice.
//!
//! ```text
//! stored inputs, from some time before the span ─▶ market by what is live ──────────────┬─▶ findings of the span ─▶ outcome
//!                                     └▶ its copy, at the beginning of the span, by the version ┘
//! ```
//! That is what a promotion at the beginning of the span would have done: windows that start in it are judged by the
//! version, and what quiet windows have taught comes from before.

use super::INPUTS_AT_ONCE;
use super::backtest::{BacktestError, Counts, Of, Trial, Tried, WARM_UP, Watch};
use crate::kernel::guard;
use crate::market::SetAside;
use crate::replay::{Span, again, at, without};
use engine::integrity::totals::day_of;
use engine::operator_state::{Deviations, OperatorState};
use engine::rules::backtest::{Backtest, deviations, of_alert};
use engine::rules::finding::Mode;
use jiff::tz::TimeZone;
use models::ids::OperatorNo;
use models::ts::{HOUR, Ts};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::OperatorInputRow;

/// A record may lie ahead of the clock: so long before the span the markets part. Until then they judge alike.
const PARTS_BEFORE: i64 = 2 * HOUR;

/// Runs a version over history.
pub(super) async fn run(of: &Of<'_>, trial: &Trial, watch: &Watch<'_>) -> Result<Tried, BacktestError> {
    let [live, candidate] = deviations(&trial.life, trial.version, trial.params.clone(), trial.span.from)?;
    let zone = TimeZone::get(&of.jurisdiction.time_zone).map_err(|e| BacktestError::Unreadable(e.to_string()))?;
    let own = of.store.operators().await?.into_iter().filter(|operator| operator.jurisdiction == of.no);
    let codes: BTreeMap<u16, String> = own.map(|operator| (operator.operator_no.0, operator.code)).collect();
    let (span, parts) = (trial.span, (0, codes.len().max(1)));
    let (backtest, counts) = (Backtest::default(), Counts::default());
    let mut trying = Trying { of, span, watch, live, candidate, zone, parts, backtest, counts };
    for (part, (no, code)) in codes.iter().enumerate() {
        trying.parts.0 = part;
        trying.hear_all(OperatorNo(*no), code).await?;
        trying.counts.hear_of_people(of.store, (OperatorNo(*no), trial), &mut trying.backtest).await?;
    }
    let Trying { backtest, counts, .. } = trying;
    Ok(counts.tried(trial.span, codes, backtest))
}

/// An operator's market, and its copy that judges by the version that is tried.
struct Markets {
    live: OperatorState,
    candidate: Option<OperatorState>,
}

struct Trying<'a> {
    of: &'a Of<'a>,
    span: Span,
    watch: &'a Watch<'a>,
    live: Arc<Deviations>,
    candidate: Arc<Deviations>,
    zone: TimeZone,
    /// Which of how many operators.
    parts: (usize, usize),
    backtest: Backtest,
    counts: Counts,
}

impl Trying<'_> {
    fn heard_from(&self) -> Ts {
        self.span.from.plus(-WARM_UP)
    }

    async fn hear_all(&mut self, no: OperatorNo, code: &str) -> Result<(), BacktestError> {
        let store = self.of.store;
        let Some(first) = store.first_batch_since(no, self.heard_from()).await? else { return Ok(()) };
        let set_aside: SetAside = store.set_aside(no).await?.into_iter().collect();
        let blank = OperatorState::new(no, code.to_owned(), self.zone.clone());
        let mut markets = Markets { live: blank.judging_by(Arc::clone(&self.live)), candidate: None };
        let mut after = first - 1;
        loop {
            let began = Instant::now();
            let inputs = store.operator_inputs(no, after, INPUTS_AT_ONCE).await?;
            let Some(last) = inputs.last() else { return Ok(()) };
            after = last.seq();
            for input in &inputs {
                self.hear(&mut markets, (no, code), &set_aside, input)?;
            }
            // a clock may have been set back: the inputs end where none of some lies before the end of the span
            if inputs.iter().all(|input| at(input) >= self.span.to) {
                return Ok(());
            }
            self.rest(at(last), began.elapsed()).await?;
        }
    }

    fn hear(
        &mut self,
        markets: &mut Markets,
        (no, code): (OperatorNo, &str),
        set_aside: &SetAside,
        input: &OperatorInputRow,
    ) -> Result<(), BacktestError> {
        let (at, aside) = (at(input), set_aside.get(&input.seq()));
        self.counts.inputs += 1;
        if aside.is_some_and(Vec::is_empty) {
            return Ok(());
        }
        let Markets { live, candidate } = markets;
        if candidate.is_none() && at >= self.span.from.plus(-PARTS_BEFORE) {
            let mut copy = live.clone();
            copy.go_by(&self.candidate);
            *candidate = Some(copy);
        }
        let is_in_span = self.span.holds(at);
        let day = day_of(at, &self.of.jurisdiction.time_zone).unwrap_or_default();
        if is_in_span {
            self.counts.inputs_in_span += 1;
            self.backtest.active(no, &day);
        }
        let kept = match input {
            OperatorInputRow::Batch { records, .. } => {
                self.counts.records += if is_in_span { records.len() as u64 } else { 0 };
                without(records, aside)
            }
            OperatorInputRow::Tick { .. } => None,
        };
        let heard = again(input, kept.as_deref());
        for (mode, state) in [(Mode::Live, Some(live)), (Mode::Shadow, candidate.as_mut())] {
            let Some(state) = state else { continue };
            let effects = guard(|| state.apply(heard)).map_err(|panic| BacktestError::Panic {
                code: code.to_owned(),
                place: input.seq(),
                panic: panic.to_string(),
            })?;
            for revision in effects.revisions.iter().filter(|_| is_in_span) {
                self.backtest.hear(no, &day, of_alert(revision, mode));
            }
        }
        Ok(())
    }

    async fn rest(&self, at: Ts, worked: Duration) -> Result<(), BacktestError> {
        let (part, parts) = self.parts;
        let (from, to) = (self.heard_from().0, self.span.to.0);
        let within = ((at.0 - from) as f64 / (to - from) as f64).clamp(0.0, 1.0);
        let percent = ((part as f64 + within) * 100.0 / parts as f64).min(99.0) as u8;
        if !(self.watch.goes_on)(percent) {
            return Err(BacktestError::Stopped);
        }
        if self.watch.rests {
            tokio::time::sleep(worked).await;
        }
        Ok(())
    }
}
