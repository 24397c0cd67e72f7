//! Versions of rules over stored history, one at a time in a jurisdiction: each on a thread of its own that rests as long
//! as it works, so that nothing live waits for it.

use super::Engine;
use crate::api::EngineError;
use crate::register::{new_id, unavailable};
use crate::replay::Span;
use crate::rules::backtest::{self, BacktestError, Of, SPAN_MAX, Trial, Watch};
use engine::rules::backtest::beside;
use engine::rules::list::{self, Home};
use models::ids::{BacktestId, KeyId};
use models::jurisdiction::JurisdictionNo;
use models::rule::BacktestState;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use store::{Background, BacktestRow};
use tokio::runtime::Handle;

/// Those that run, by jurisdiction, with how many per cent are done.
#[derive(Clone, Default)]
pub struct Backtests(Arc<Mutex<HashMap<JurisdictionNo, Underway>>>);

/// Nobody waits for one: everything live comes first.
static BACKGROUND: Background = Background::new("backtests", 19);

/// A backtest under way, and how far it has come, percent.
type Underway = (BacktestId, Arc<AtomicU8>);

impl Backtests {
    /// The one that runs in a jurisdiction, with how many per cent are done.
    #[must_use]
    pub fn running(&self, jurisdiction: JurisdictionNo) -> Option<(BacktestId, u8)> {
        self.0.lock().get(&jurisdiction).map(|(id, done)| (*id, done.load(Ordering::Relaxed)))
    }

    /// Begins one; none where another one of the jurisdiction runs.
    fn begin(&self, jurisdiction: JurisdictionNo, id: BacktestId) -> Option<Running> {
        let mut running = self.0.lock();
        if running.contains_key(&jurisdiction) {
            return None;
        }
        let done = Arc::<AtomicU8>::default();
        running.insert(jurisdiction, (id, Arc::clone(&done)));
        Some(Running { of: self.clone(), jurisdiction, done })
    }
}

/// One that runs, as long as this lives.
struct Running {
    of: Backtests,
    jurisdiction: JurisdictionNo,
    done: Arc<AtomicU8>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.of.0.lock().remove(&self.jurisdiction);
    }
}

impl Engine {
    /// Those that run.
    pub fn backtests(&self) -> &Backtests {
        &self.0.backtests
    }

    /// Runs a version of a rule over the stored inputs of a span, at most [`SPAN_MAX`] long. It changes nothing and tells
    /// nobody; what comes of it is stored.
    ///
    /// # Errors
    /// There is no such rule or version, history says nothing of the rule, another one of the jurisdiction runs, or the store is
    /// away.
    pub async fn backtest(
        &self,
        jurisdiction: JurisdictionNo,
        (rule, version): (&str, u32),
        span: Span,
        by: KeyId,
    ) -> Result<BacktestRow, EngineError> {
        let life = self.rule(jurisdiction, rule)?;
        let params = life.version(version).ok_or(EngineError::NotFound("version"))?.params.clone();
        if list::about(rule).is_some_and(|about| about.home == Home::Desk) {
            return Err(EngineError::Conflict(BacktestError::NotInHistory.to_string()));
        }
        if span.from >= span.to || span.to.0 - span.from.0 > SPAN_MAX {
            return Err(EngineError::Invalid { pointer: "/from", detail: "not a span of 92 days at most".to_owned() });
        }
        let id = BacktestId(new_id());
        let running = self.0.backtests.begin(jurisdiction, id);
        let running = running.ok_or_else(|| EngineError::Conflict("another backtest runs: wait for it".to_owned()))?;
        let row = BacktestRow {
            id,
            jurisdiction,
            rule: rule.to_owned(),
            version,
            from: span.from,
            to: span.to,
            state: BacktestState::Running,
            made_by: by,
            made_at: self.now(),
            ended_at: None,
            result: None,
        };
        self.0.store.begin_backtest(&row).await.map_err(unavailable)?;
        let (engine, runtime) = (self.clone(), self.0.runtime.clone());
        let beside = beside(rule, &self.directory().rules(jurisdiction).1);
        let trial = Trial { life, version, params, beside, span };
        let thread = std::thread::Builder::new().name("backtest".to_owned());
        let started = thread.spawn(move || engine.run_backtest(&runtime, id, &running, &trial));
        if let Err(error) = started {
            tracing::warn!(%error, "a backtest has no thread");
            let ended = self.0.store.end_backtest(id, BacktestState::Failed, "no thread", self.now()).await;
            ended.map_err(unavailable)?;
            return Err(EngineError::Unavailable("a thread"));
        }
        Ok(row)
    }

    /// On its thread: input and output are the engine's runtime's, the work is here.
    fn run_backtest(&self, runtime: &Handle, id: BacktestId, running: &Running, trial: &Trial) {
        BACKGROUND.enter();
        let stopping = self.0.stopping.subscribe();
        let goes_on = |percent: u8| {
            running.done.store(percent, Ordering::Relaxed);
            !*stopping.borrow()
        };
        runtime.block_on(async {
            let directory = self.0.directory.load_full();
            let Some(jurisdiction) = directory.jurisdiction(running.jurisdiction) else { return };
            let of = Of { store: &self.0.store, no: running.jurisdiction, jurisdiction };
            let tried = backtest::run(&of, trial, &Watch { goes_on: &goes_on, rests: true }).await;
            let (state, result) = match tried.map(|tried| serde_json::to_string(&tried)) {
                Ok(Ok(result)) => (BacktestState::Done, result),
                Ok(Err(error)) => (BacktestState::Failed, error.to_string()),
                // the next start says so
                Err(BacktestError::Stopped) => return,
                Err(error) => (BacktestState::Failed, error.to_string()),
            };
            if state == BacktestState::Failed {
                tracing::warn!(rule = trial.life.rule(), version = trial.version, error = result, "a backtest failed");
            }
            if let Err(error) = self.0.store.end_backtest(id, state, &result, self.now()).await {
                tracing::warn!(%error, "what came of a backtest is not stored");
            }
        });
    }
}
