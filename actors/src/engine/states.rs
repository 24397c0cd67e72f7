//! States of operators and of rules are kept now and then, so that the next start need not read everything they ever
//! heard.

use super::Engine;
use crate::kernel::Handle;
use crate::market::{Kept, MarketMsg, SeriesView, StateMetrics, TogetherView, pack};
use crate::rules::{NationMsg, RulesMsg};
use crate::source::Reply;
use models::ids::OperatorNo;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::StateOf;

/// How long an operator may take to copy its state: what waits in its queue comes first.
const COPY_MAX: Duration = Duration::from_secs(60);
/// Pause between two states: keeping them must not be felt.
const PAUSE: Duration = Duration::from_millis(20);

impl Engine {
    /// An operator's series as their detectors see them, by length, currency and metric.
    #[must_use]
    pub fn series(&self, operator: OperatorNo) -> Arc<[SeriesView]> {
        self.0.views.slots.read().get(&operator).map_or_else(Default::default, |slot| slot.series())
    }

    /// An operator's figures together, by currency.
    #[must_use]
    pub fn figures_together(&self, operator: OperatorNo) -> Arc<[TogetherView]> {
        self.0.views.slots.read().get(&operator).map_or_else(Default::default, |slot| slot.together())
    }

    pub(super) async fn keep_operator_states(&self) {
        let mut interval = tokio::time::interval(self.0.config.snapshot_every);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let inner = &self.0;
            let markets: Vec<_> = inner.markets.read().iter().map(|(no, handle)| (*no, handle.clone())).collect();
            for (no, market) in markets {
                self.keep_market(no, &market).await;
            }
            let rules: Vec<_> = inner.rules.operators.read().iter().map(|(no, (to, _))| (*no, to.clone())).collect();
            let metrics = &inner.rules_context.metrics.states;
            for (no, rules) in rules {
                self.keep(StateOf::Rules, no, metrics, &rules, |reply| RulesMsg::Copy { reply }).await;
            }
            let nations: Vec<_> = inner.rules.nations.read().iter().map(|(no, (to, _))| (*no, to.clone())).collect();
            for (no, nation) in nations {
                let no = OperatorNo::of_nation(no);
                self.keep(StateOf::Rules, no, metrics, &nation, |reply| NationMsg::Copy { reply }).await;
            }
        }
    }

    /// Keeps a state, unless it is not worth it, or its actor has enough to do.
    async fn keep<M: Send + Sync + 'static, S: Kept>(
        &self,
        of: StateOf,
        no: OperatorNo,
        metrics: &StateMetrics,
        actor: &Handle<M>,
        copy: impl FnOnce(Reply<Option<(i64, S)>>) -> M,
    ) {
        if let Some((place, state)) = self.copied(actor, copy).await {
            self.store_state(of, no, metrics, (place, state)).await;
        }
        tokio::time::sleep(PAUSE).await;
    }

    /// Keeps an operator's market and, first, what its series have taught: a start takes one that is no older than the
    /// market.
    async fn keep_market(&self, no: OperatorNo, market: &Handle<MarketMsg>) {
        if let Some((place, state, series)) = self.copied(market, |reply| MarketMsg::Copy { reply }).await
            && self.store_state(StateOf::Series, no, &self.0.series.states, (place, series)).await
        {
            self.store_state(StateOf::Market, no, &self.0.states, (place, state)).await;
        }
        tokio::time::sleep(PAUSE).await;
    }

    /// What an actor gives to be kept, if anything.
    async fn copied<M: Send + Sync + 'static, T: Send + 'static>(
        &self,
        actor: &Handle<M>,
        copy: impl FnOnce(Reply<Option<T>>) -> M,
    ) -> Option<T> {
        // whoever is overloaded has no time for the next start
        if self.0.sparing.load(Ordering::Relaxed) {
            return None;
        }
        let (reply, copied) = Reply::new();
        actor.try_send(copy(reply)).ok()?;
        tokio::time::timeout(COPY_MAX, copied).await.ok()?.ok()?
    }

    /// True where it is kept.
    async fn store_state<S: Kept>(
        &self,
        of: StateOf,
        no: OperatorNo,
        metrics: &StateMetrics,
        (place, state): (i64, S),
    ) -> bool {
        let (store, chain) = (&self.0.store, self.0.keys.load().chain);
        let kept = match pack(place, state).await {
            Ok(row) => {
                store.keep_operator_state(of, no, &row, &chain, self.now()).await.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match kept {
            Ok(()) => metrics.kept.inc(),
            Err(ref error) => {
                metrics.lost.inc();
                tracing::warn!(operator_no = no.0, ?of, error, "a state is not kept");
            }
        }
        kept.is_ok()
    }
}
