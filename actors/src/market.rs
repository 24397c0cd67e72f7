//! One actor per operator: the operator's market as it stands, and what is wrong with it.
//!
//! Its input is the operator's sequence of batches and ticks, already committed; its state is a function of that
//! sequence alone, so the factory rebuilds it by reading the sequence back. Alerts leave as commits: the message is
//! done only when they are durable, and a repeated input raises the same ids, which the store drops.

use crate::kernel::{DeadLetter, Progress, Work};
use crate::writer::WriterHandle;
use engine::operator_state::{OperatorInput, OperatorState};
use futures_util::future::LocalBoxFuture;
use models::event::Event;
use models::feed::SourceClock;
use models::ids::OperatorNo;
use models::record::Record;
use models::ts::Ts;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

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
}

/// What an operator's actor hears.
pub enum MarketMsg {
    /// A committed input.
    Input(Input),
    /// Look whether windows are to be closed by the wall clock.
    Clock(Ts),
    /// Leave the newest view in the slot.
    Show,
}

/// The operator's newest view, for whoever watches; written by its actor, read by the hub.
#[derive(Default)]
pub struct ViewSlot {
    dirty: AtomicBool,
    behind: AtomicBool,
    version: AtomicU64,
    json: Mutex<Option<Arc<str>>>,
    totals: Mutex<Vec<CurrencyTotals>>,
}

/// Sums of an operator in one currency, minor units.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[allow(missing_docs)]
pub struct CurrencyTotals {
    pub currency: models::money::Currency,
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

    fn write(&self, json: Arc<str>, totals: Vec<CurrencyTotals>) {
        *self.json.lock() = Some(json);
        *self.totals.lock() = totals;
        self.version.fetch_add(1, Ordering::AcqRel);
    }
}

/// Reads an operator's inputs back from the store, in order.
pub trait InputLog: 'static {
    /// Inputs behind `after`, a chunk at a time; empty at the end.
    fn after(&self, operator: OperatorNo, after: i64) -> LocalBoxFuture<'static, Result<Vec<Input>, String>>;
}

/// The operator's actor.
pub struct Market {
    operator: OperatorNo,
    state: OperatorState,
    applied: i64,
    log: Arc<dyn InputLog + Send + Sync>,
    writer: WriterHandle,
    slot: Arc<ViewSlot>,
}

impl Market {
    /// Rebuilds the operator from its sequence. Alerts found on the way are offered again: those already stored are
    /// dropped by the store, those lost in the crash are not lost.
    pub async fn recover(
        operator: OperatorNo,
        state: OperatorState,
        log: Arc<dyn InputLog + Send + Sync>,
        writer: WriterHandle,
        slot: Arc<ViewSlot>,
        progress: &Progress,
    ) -> Result<Self, String> {
        let mut market = Self { operator, state, applied: 0, log, writer, slot };
        market.catch_up(i64::MAX, progress).await?;
        market.show();
        Ok(market)
    }

    /// Applies what is stored behind `applied`, up to `until`.
    async fn catch_up(&mut self, until: i64, progress: &Progress) -> Result<(), String> {
        while self.applied < until {
            let inputs = self.log.after(self.operator, self.applied).await?;
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
        let effects = self.state.apply(match input {
            Input::Batch { operator_seq, clock_at, clock, records } => {
                OperatorInput::Batch { operator_seq: *operator_seq, clock_at: *clock_at, clock: *clock, records }
            }
            Input::Tick { operator_seq, at } => OperatorInput::Tick { operator_seq: *operator_seq, at: *at },
        });
        self.applied = input.operator_seq();
        self.slot.dirty.store(true, Ordering::Release);
        if effects.revisions.is_empty() {
            return;
        }
        let events: Vec<Event> = effects.revisions.into_iter().map(Event::AlertRevised).collect();
        // an alert must not be lost to a database that is away: wait for it, the queue waits with us
        while let Err(error) = self.writer.commit(events.clone(), Vec::new()).await {
            tracing::warn!(operator_no = self.operator.0, %error, "alerts wait for the store");
            progress.beat();
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn handle_msg(&mut self, msg: &MarketMsg, progress: &Progress) {
        match msg {
            MarketMsg::Input(input) if input.operator_seq() <= self.applied => {}
            MarketMsg::Input(input) => {
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
            MarketMsg::Clock(now) => {
                if self.slot.behind.swap(false, Ordering::AcqRel)
                    && let Err(error) = self.catch_up(i64::MAX, progress).await
                {
                    tracing::warn!(operator_no = self.operator.0, %error, "inputs wait for the store");
                    self.slot.fall_behind();
                }
                if self.state.needs_tick(*now) {
                    let tick = Event::OperatorTicked { operator_no: self.operator, operator_seq: 0, at: *now };
                    if let Err(error) = self.writer.commit(vec![tick], Vec::new()).await {
                        tracing::warn!(operator_no = self.operator.0, %error, "the tick comes later");
                    }
                }
            }
            MarketMsg::Show => self.show(),
        }
    }

    fn show(&self) {
        let view = self.state.view();
        let totals = self.state.totals();
        match serde_json::to_string(&view) {
            Ok(json) => self.slot.write(json.into(), totals.into_iter().map(Into::into).collect()),
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
        _progress: &'a Progress,
    ) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            if let MarketMsg::Input(input) = record.as_ref() {
                // its records are stored; only this actor's view of them is missing, which the event says
                let actor = format!("operator:{}", self.operator.0);
                let reason = format!("input {} cannot be applied", input.operator_seq());
                if let Err(error) =
                    self.writer.commit(vec![Event::ActorQuarantined { actor, reason }], Vec::new()).await
                {
                    tracing::error!(operator_no = self.operator.0, %error, "dead letter is not journaled");
                }
                self.applied = self.applied.max(input.operator_seq());
            }
        })
    }
}
