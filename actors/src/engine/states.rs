//! Operators' states are kept now and then, so that the next start need not read everything they ever sent.

use super::Engine;
use crate::market::{MarketMsg, pack};
use crate::source::Reply;
use models::ids::OperatorNo;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long an operator may take to copy its state: what waits in its queue comes first.
const COPY_MAX: Duration = Duration::from_secs(60);
/// Pause between two operators: keeping states must not be felt.
const PAUSE: Duration = Duration::from_millis(20);

impl Engine {
    pub(super) async fn keep_operator_states(&self) {
        let mut interval = tokio::time::interval(self.0.config.snapshot_every);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let markets: Vec<OperatorNo> = self.0.markets.read().keys().copied().collect();
            for operator in markets {
                // whoever is overloaded has no time for the next start
                if self.0.sparing.load(Ordering::Relaxed) {
                    break;
                }
                match self.keep_operator_state(operator).await {
                    Ok(false) => {}
                    Ok(true) => self.0.states.kept.inc(),
                    Err(error) => {
                        self.0.states.lost.inc();
                        tracing::warn!(operator_no = operator.0, %error, "an operator's state is not kept");
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Keeps an operator's state; false where it is not worth it, or the operator has enough to do.
    async fn keep_operator_state(&self, operator: OperatorNo) -> Result<bool, String> {
        let (reply, copied) = Reply::new();
        let market = self.0.markets.read().get(&operator).cloned();
        if market.is_none_or(|market| market.try_send(MarketMsg::Copy { reply }).is_err()) {
            return Ok(false);
        }
        let Ok(Ok(Some((operator_seq, state)))) = tokio::time::timeout(COPY_MAX, copied).await else {
            return Ok(false);
        };
        let row = pack(operator_seq, state).await.map_err(|error| error.to_string())?;
        let (store, chain) = (&self.0.store, self.0.keys.load().chain);
        store.keep_operator_state(operator, &row, &chain, self.now()).await.map_err(|error| error.to_string())?;
        Ok(true)
    }
}
