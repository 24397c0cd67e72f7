//! One actor per operator: the operator's market as it stands, and what is wrong with it.
//!
//! Its input is the operator's sequence of batches and ticks, already committed; its state is a function of that
//! sequence alone, so the factory rebuilds it by reading the sequence back. Alerts leave as commits: the message is
//! done only when they are durable, and a repeated input raises the same ids, which the store drops.
//!
//! The inputs are stored before the actor sees them, so one on which it panics would come back with every recovery. It
//! is therefore found out here: on a copy of the state, by halves, down to the records that do it. They are set aside by
//! a journaled event, and the state is from then on a function of the inputs without them. So it is with the set of rules by
//! which inputs are judged: a journaled event says behind which input a new one was taken (`market/judging.rs`).

mod fitting;
mod judging;
mod scale;
mod series;
mod states;
mod stored;
mod together;
mod watching;

pub use judging::RulesTaken;
pub(crate) use series::params as series_params;
pub use series::{FeedSilence, Newest, PARAMS_VERSION, SeriesView, SeriesWatch};
pub use states::{KeepError, Kept, StateMetrics, pack};
pub(crate) use states::{is_worth_it, newest, unpack};
pub use stored::StoredInputs;
pub(crate) use together::params as together_params;
pub use together::{NewestRow, TogetherView};
pub use watching::{SeriesMetrics, StoredSeries};

use crate::culprits;
use crate::directory::Directory;
use crate::kernel::{DeadLetter, PanicReport, Progress, Work, guard};
use crate::source::{Inspect, Reply};
use crate::writer::WriterHandle;
use arc_swap::ArcSwap;
use engine::operator_state::{Breakdown, Deviations, Effects, OperatorInput, OperatorState, PlayDay};
use futures_util::future::LocalBoxFuture;
use judging::as_it_judged;
use models::alert::{AlertRevision, Metric};
use models::event::Event;
use models::feed::SourceClock;
use models::ids::{OperatorNo, Seq};
use models::money::Currency;
use models::record::Record;
use models::ts::Ts;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use store::{Clock, OperatorStateRow};
use watching::Watching;

/// How long an actor waits before it offers refused alerts again.
const RETRY: Duration = Duration::from_millis(500);

/// One input of an operator, in the order of `operator_seq`.
#[derive(Clone)]
pub enum Input {
    /// A stored batch.
    Batch {
        /// Position.
        operator_seq: i64,
        /// Time of the clock that judged it.
        clock_at: Ts,
        /// Which clock.
        clock: SourceClock,
        /// Its records.
        records: Arc<[Record]>,
    },
    /// The wall clock.
    Tick {
        /// Position.
        operator_seq: i64,
        /// The time.
        at: Ts,
    },
}

impl Input {
    /// Position in the operator's sequence.
    pub fn operator_seq(&self) -> i64 {
        match self {
            Self::Batch { operator_seq, .. } | Self::Tick { operator_seq, .. } => *operator_seq,
        }
    }

    /// Its time.
    pub fn at(&self) -> Ts {
        match self {
            Self::Batch { clock_at: at, .. } | Self::Tick { at, .. } => *at,
        }
    }
}

/// What an operator's actor hears.
pub enum MarketMsg {
    /// A committed input.
    Input(Input),
    /// Look whether windows are to be closed by the wall clock, whose time is in the slot: a message that waited must not
    /// tell an old one.
    Clock,
    /// Leave the newest view in the slot.
    Show,
    /// A copy of the state and of what its series have taught, to be kept, where it is worth it.
    Copy {
        /// Where it goes, with the input it stands behind.
        reply: Reply<Option<(i64, OperatorState, SeriesWatch)>>,
    },
    /// The days of a currency that are over.
    Days {
        /// Which currency.
        currency: Currency,
        /// Which of their values.
        metric: Metric,
        /// Where they go.
        reply: Reply<Vec<PlayDay>>,
    },
}

/// The operator's newest view, for whoever watches; written by its actor, read by the hub.
#[derive(Default)]
pub struct ViewSlot {
    dirty: AtomicBool,
    behind: AtomicBool,
    version: AtomicU64,
    /// The wall clock, microseconds.
    clock: AtomicI64,
    /// A message that tells of it is on its way.
    clock_sent: AtomicBool,
    json: Mutex<Option<Arc<str>>>,
    totals: Mutex<Vec<CurrencyTotals>>,
    breakdown: Mutex<Arc<Breakdown>>,
    series: Mutex<Arc<[SeriesView]>>,
    together: Mutex<Arc<[TogetherView]>>,
}

/// Sums of an operator in one currency, minor units.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[allow(missing_docs)]
pub struct CurrencyTotals {
    pub currency: Currency,
    pub stakes: i64,
    pub payouts: i64,
    pub ggr: i64,
    pub records: u64,
}

impl ViewSlot {
    /// Has the operator changed since its view was written? Reading takes the mark away.
    pub fn take_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::AcqRel)
    }

    /// An input did not fit into the operator's queue.
    pub fn fall_behind(&self) {
        self.behind.store(true, Ordering::Release);
    }

    /// The wall clock moved. True where a message has to tell the actor: one at a time.
    pub fn set_clock(&self, now: Ts) -> bool {
        self.clock.store(now.0, Ordering::Release);
        !self.clock_sent.swap(true, Ordering::AcqRel)
    }

    /// The message was not sent.
    pub fn clock_unsent(&self) {
        self.clock_sent.store(false, Ordering::Release);
    }

    /// The view could not be written: it is still to come.
    pub fn mark_dirty(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    /// The view and its version, once there is one.
    pub fn read(&self) -> Option<(u64, Arc<str>)> {
        let json = self.json.lock().clone()?;
        Some((self.version.load(Ordering::Acquire), json))
    }

    /// Totals by currency.
    pub fn totals(&self) -> Vec<CurrencyTotals> {
        self.totals.lock().clone()
    }

    /// Its current play by region and by product.
    pub fn breakdown(&self) -> Arc<Breakdown> {
        Arc::clone(&self.breakdown.lock())
    }

    /// Its series as their detectors see them.
    pub fn series(&self) -> Arc<[SeriesView]> {
        Arc::clone(&self.series.lock())
    }

    /// The figures of its currencies together.
    pub fn together(&self) -> Arc<[TogetherView]> {
        Arc::clone(&self.together.lock())
    }

    pub(crate) fn write_series(&self, series: Arc<[SeriesView]>, together: Arc<[TogetherView]>) {
        *self.series.lock() = series;
        *self.together.lock() = together;
    }

    /// A number that grows with every view.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn write(&self, json: Arc<str>, totals: Vec<CurrencyTotals>, breakdown: Arc<Breakdown>) {
        *self.json.lock() = Some(json);
        *self.totals.lock() = totals;
        *self.breakdown.lock() = breakdown;
        self.version.fetch_add(1, Ordering::AcqRel);
    }
}

/// Reads an operator's inputs back from the store, in order.
pub trait InputLog: 'static {
    /// Inputs behind `after`, a chunk at a time; empty at the end.
    fn after(&self, operator: OperatorNo, after: i64) -> LocalBoxFuture<'static, Result<Vec<Input>, String>>;
    /// What the actor cannot apply.
    fn set_aside(&self, operator: OperatorNo) -> LocalBoxFuture<'static, Result<SetAside, String>>;
    /// Behind which inputs which sets of rules were taken, by the events that made them.
    fn rules(&self, operator: OperatorNo) -> LocalBoxFuture<'static, Result<Vec<(i64, Seq)>, String>>;
    /// States that were kept, newest first.
    fn states(&self, operator: OperatorNo) -> LocalBoxFuture<'static, Result<Vec<OperatorStateRow>, String>>;
    /// What is stored of its series.
    fn series(&self, operator: OperatorNo) -> LocalBoxFuture<'static, Result<StoredSeries, String>>;
    /// Keeps what its series have taught.
    fn keep_series(&self, operator: OperatorNo, row: OperatorStateRow) -> LocalBoxFuture<'static, Result<(), String>>;
    /// The newest revisions of alerts that its feeds are silent, newest first.
    fn silences(&self, operator: OperatorNo) -> LocalBoxFuture<'static, Result<Vec<AlertRevision>, String>>;
}

/// What an operator's actor cannot apply: positions of records by `operator_seq`; no positions = the whole input.
pub type SetAside = HashMap<i64, Vec<u32>>;

/// What an operator's actor is made of.
#[derive(Clone)]
pub struct MarketContext {
    /// Its inputs.
    pub log: Arc<dyn InputLog + Send + Sync>,
    /// Into the store.
    pub writer: WriterHandle,
    /// Where its view goes.
    pub slot: Arc<ViewSlot>,
    /// Fault injection, if any: sees each record before it is applied.
    pub inspect: Option<Inspect>,
    /// Whose rules hear of its series, and by what its windows are judged.
    pub directory: Arc<ArcSwap<Directory>>,
    /// When another set of rules is taken.
    pub clock: Arc<dyn Clock>,
    /// What is counted of states.
    pub metrics: StateMetrics,
    /// What is counted of series.
    pub series: SeriesMetrics,
}

/// The operator's actor.
pub struct Market {
    operator: OperatorNo,
    /// A sound state and the input it stands behind: where a replay begins.
    base: (i64, OperatorState),
    state: OperatorState,
    applied: i64,
    /// The input behind which the state was copied last.
    kept: i64,
    set_aside: SetAside,
    rules: RulesTaken,
    /// What the next input is judged by, where it was looked at: the directory's, as long as it is the same.
    judged_by: Option<Arc<Deviations>>,
    watching: Watching,
    context: MarketContext,
}

impl Market {
    /// Rebuilds the operator from the newest state that was kept and its sequence from there on. Alerts found on the way
    /// are offered again: those already stored are dropped by the store, those lost in the crash are not lost.
    pub async fn recover(
        operator: OperatorNo,
        blank: OperatorState,
        context: MarketContext,
        progress: &Progress,
    ) -> Result<Self, String> {
        let set_aside = context.log.set_aside(operator).await?;
        let rules = RulesTaken::new(context.log.rules(operator).await?);
        let kept = context.log.states(operator).await?;
        let (applied, state) = newest(operator, &blank, &kept, &context.metrics);
        let state = as_it_judged(state, (operator, applied), (&rules, &set_aside), &context);
        let watching = Watching::recover(operator, applied, &context).await?;
        let (base, kept, judged_by) = ((applied, state.clone()), applied, None);
        let mut market = Self { operator, base, state, applied, kept, set_aside, rules, judged_by, watching, context };
        market.catch_up(i64::MAX, progress).await?;
        market.begin_watching().await;
        market.context.metrics.replayed.inc_by((market.applied - applied).cast_unsigned());
        market.show();
        Ok(market)
    }

    /// Applies what is stored behind `applied`, up to `until`.
    async fn catch_up(&mut self, until: i64, progress: &Progress) -> Result<(), String> {
        while self.applied < until {
            let inputs = self.context.log.after(self.operator, self.applied).await?;
            if inputs.is_empty() {
                return Ok(());
            }
            for input in inputs {
                self.apply(&input, progress).await;
            }
            progress.beat();
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn apply(&mut self, input: &Input, progress: &Progress) {
        let effects = match self.attempt(input) {
            Ok(effects) => effects,
            Err(panic) => self.without_culprits(input, &panic, progress).await,
        };
        self.applied = input.operator_seq();
        self.context.slot.dirty.store(true, Ordering::Release);
        if !effects.revisions.is_empty() {
            self.commit_surely(effects.revisions.into_iter().map(Event::AlertRevised).collect(), progress).await;
        }
        self.watch(self.applied, input.at(), &effects.closed, progress).await;
    }

    /// An alert must not be lost to a database that is away: wait for it, the queue waits with us.
    async fn commit_surely(&self, events: Vec<Event>, progress: &Progress) {
        while let Err(error) = self.context.writer.commit(events.clone(), Vec::new()).await {
            tracing::warn!(operator_no = self.operator.0, %error, "alerts wait for the store");
            progress.beat();
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Applies an input, or says that the state panicked and may be half-way.
    fn attempt(&mut self, input: &Input) -> Result<Effects, PanicReport> {
        let operator_seq = input.operator_seq();
        if self.set_aside.get(&operator_seq).is_some_and(Vec::is_empty) {
            return Ok(Effects::default());
        }
        self.go_by(operator_seq);
        let inspect = self.context.inspect.as_ref();
        match (input, self.set_aside.get(&operator_seq)) {
            (Input::Batch { records, .. }, Some(positions)) => {
                let kept = records.iter().zip(0u32..).filter(|(_, at)| !positions.contains(at));
                let kept: Vec<Record> = kept.map(|(record, _)| record.clone()).collect();
                try_apply(&mut self.state, input, &kept, inspect)
            }
            (Input::Batch { records, .. }, None) => try_apply(&mut self.state, input, records, inspect),
            (Input::Tick { .. }, _) => try_apply(&mut self.state, input, &[], inspect),
        }
    }

    /// Sets aside what makes the state panic, durably, and applies the rest.
    async fn without_culprits(&mut self, input: &Input, panic: &PanicReport, progress: &Progress) -> Effects {
        let operator_seq = input.operator_seq();
        tracing::error!(operator_no = self.operator.0, operator_seq, %panic, "an input cannot be applied as it is");
        self.state = self.before(operator_seq, progress).await;
        let positions = self.find_culprits(input, progress).await;
        self.set_aside.insert(operator_seq, positions);
        let sound = self.state.clone();
        let effects = self.attempt(input).unwrap_or_else(|_| {
            // no record alone does it
            self.state = sound;
            self.set_aside.insert(operator_seq, Vec::new());
            Effects::default()
        });
        // should the next input panic, too, what lies before this one is not replayed again
        self.base = (operator_seq, self.state.clone());
        let records = self.set_aside.get(&operator_seq).cloned().unwrap_or_default();
        progress.dead_lettered(records.len().max(1) as u64);
        let event = Event::OperatorInputSetAside { operator_no: self.operator, operator_seq, records };
        self.commit_surely(vec![event], progress).await;
        effects
    }

    /// Positions of the records on which a copy of the state panics.
    async fn find_culprits(&self, input: &Input, progress: &Progress) -> Vec<u32> {
        let (Input::Batch { records, .. }, inspect) = (input, self.context.inspect.as_ref()) else {
            return Vec::new();
        };
        let breaks = |part: Range<u32>| {
            let part = &records[part.start as usize..part.end as usize];
            try_apply(&mut self.state.clone(), input, part, inspect).is_err()
        };
        culprits::find(records.len() as u32, progress, breaks).await
    }

    /// The state before an input, from the store; the alerts on the way are stored already.
    async fn before(&self, operator_seq: i64, progress: &Progress) -> OperatorState {
        loop {
            match self.replay(operator_seq, progress).await {
                Ok(state) => return state,
                Err(error) => tracing::warn!(operator_no = self.operator.0, %error, "inputs wait for the store"),
            }
            progress.beat();
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn replay(&self, until: i64, progress: &Progress) -> Result<OperatorState, String> {
        let (base, set_aside, context) = (self.base.clone(), self.set_aside.clone(), self.context.clone());
        let (applied, state) = base.clone();
        let (watching, rules, judged_by) = (Watching::none(), self.rules.clone(), None);
        let operator = self.operator;
        let mut past = Self { operator, base, state, applied, kept: 0, set_aside, rules, judged_by, watching, context };
        while past.applied + 1 < until {
            let inputs = past.context.log.after(past.operator, past.applied).await?;
            if inputs.is_empty() {
                return Err("inputs are missing in the store".to_owned());
            }
            for input in inputs.iter().take_while(|input| input.operator_seq() < until) {
                past.attempt(input).map_err(|panic| panic.to_string())?;
                past.applied = input.operator_seq();
            }
            progress.beat();
            tokio::task::yield_now().await;
        }
        Ok(past.state)
    }

    async fn handle_msg(&mut self, msg: &MarketMsg, progress: &Progress) {
        match msg {
            MarketMsg::Input(input) if input.operator_seq() <= self.applied => {}
            MarketMsg::Input(input) => {
                self.take_rules(progress).await;
                if input.operator_seq() > self.applied + 1 {
                    // the queue was full when inputs came: they are in the store
                    while let Err(error) = self.catch_up(input.operator_seq() - 1, progress).await {
                        tracing::warn!(operator_no = self.operator.0, %error, "inputs wait for the store");
                        progress.beat();
                        tokio::time::sleep(RETRY).await;
                    }
                }
                if input.operator_seq() == self.applied + 1 {
                    self.apply(input, progress).await;
                }
            }
            MarketMsg::Clock => {
                self.context.slot.clock_sent.store(false, Ordering::Release);
                let now = Ts(self.context.slot.clock.load(Ordering::Acquire));
                if self.context.slot.behind.swap(false, Ordering::AcqRel)
                    && let Err(error) = self.catch_up(i64::MAX, progress).await
                {
                    tracing::warn!(operator_no = self.operator.0, %error, "inputs wait for the store");
                    self.context.slot.fall_behind();
                }
                self.take_rules(progress).await;
                if self.state.needs_tick(now) {
                    let tick = Event::OperatorTicked { operator_no: self.operator, operator_seq: 0, at: now };
                    if let Err(error) = self.context.writer.commit(vec![tick], Vec::new()).await {
                        tracing::warn!(operator_no = self.operator.0, %error, "the tick comes later");
                    }
                }
            }
            MarketMsg::Show => self.show(),
            MarketMsg::Copy { reply } => {
                let watch = if is_worth_it(self.applied, self.kept) { self.watching.copy() } else { None };
                if watch.is_some() {
                    self.kept = self.applied;
                }
                reply.send(watch.map(|watch| (self.applied, self.state.clone(), watch)));
            }
            MarketMsg::Days { currency, metric, reply } => reply.send(self.state.days(*currency, *metric)),
        }
    }

    fn show(&self) {
        let view = self.state.view();
        let totals = self.state.totals();
        match serde_json::to_string(&view) {
            Ok(json) => {
                let breakdown = Arc::new(self.state.breakdown().clone());
                self.context.slot.write(json.into(), totals.into_iter().map(Into::into).collect(), breakdown);
            }
            Err(error) => tracing::error!(operator_no = self.operator.0, %error, "view is not JSON"),
        }
    }
}

impl From<engine::operator_state::Totals> for CurrencyTotals {
    fn from(t: engine::operator_state::Totals) -> Self {
        Self { currency: t.currency, stakes: t.stakes, payouts: t.payouts, ggr: t.ggr, records: t.records }
    }
}

impl Work for Market {
    type Msg = MarketMsg;

    fn handle<'a>(&'a mut self, msg: Arc<MarketMsg>, progress: &'a Progress) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move { self.handle_msg(&msg, progress).await })
    }

    fn split(msg: &MarketMsg) -> Option<Vec<MarketMsg>> {
        // a batch of records is one input with one position: it is applied whole or not at all
        let _ = msg;
        None
    }

    fn dead_letter<'a>(
        &'a mut self,
        record: Arc<MarketMsg>,
        _letter: &'a DeadLetter,
        progress: &'a Progress,
    ) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            // applying guards itself; what panics elsewhere is given up whole, in recoveries too
            if let MarketMsg::Input(input) = record.as_ref()
                && input.operator_seq() > self.applied
            {
                let (operator_no, operator_seq) = (self.operator, input.operator_seq());
                let event = Event::OperatorInputSetAside { operator_no, operator_seq, records: Vec::new() };
                self.commit_surely(vec![event], progress).await;
            }
        })
    }
}

fn try_apply(
    state: &mut OperatorState,
    input: &Input,
    records: &[Record],
    inspect: Option<&Inspect>,
) -> Result<Effects, PanicReport> {
    guard(|| {
        if let Some(inspect) = inspect {
            records.iter().for_each(|record| inspect(record));
        }
        state.apply(match *input {
            Input::Batch { operator_seq, clock_at, clock, .. } => {
                OperatorInput::Batch { operator_seq, clock_at, clock, records }
            }
            Input::Tick { operator_seq, at } => OperatorInput::Tick { operator_seq, at },
        })
    })
}
