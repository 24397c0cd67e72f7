//! An operator's inputs and states, as the store has them.

use super::{Input, InputLog, SetAside, StoredSeries};
use futures_util::future::LocalBoxFuture;
use models::alert::AlertRevision;
use models::ids::{OperatorNo, Seq};
use std::sync::Arc;
use store::{Clock, OperatorInputRow, OperatorStateRow, StateOf, Store, StoreError};

/// Inputs read back at once while an operator is rebuilt.
const INPUT_CHUNK: u32 = 64;
/// Revisions of alerts about silent feeds that are looked at: the newest.
const SILENCES_MAX: u32 = 64;

/// The store, the journal's key, and the time.
pub struct StoredInputs {
    /// Where they are read.
    pub store: Store,
    /// States are authentic under it.
    pub chain: [u8; 32],
    /// When a state is kept.
    pub clock: Arc<dyn Clock>,
}

impl InputLog for StoredInputs {
    fn set_aside(&self, operator: OperatorNo) -> LocalBoxFuture<'static, Result<SetAside, String>> {
        let store = self.store.clone();
        Box::pin(async move {
            let rows = store.set_aside(operator).await.map_err(|e| e.to_string())?;
            Ok(rows.into_iter().collect())
        })
    }

    fn rules(&self, operator: OperatorNo) -> LocalBoxFuture<'static, Result<Vec<(i64, Seq)>, String>> {
        let store = self.store.clone();
        Box::pin(async move { store.operator_rules(operator).await.map_err(|e| e.to_string()) })
    }

    fn states(&self, operator: OperatorNo) -> LocalBoxFuture<'static, Result<Vec<OperatorStateRow>, String>> {
        let (store, chain) = (self.store.clone(), self.chain);
        Box::pin(
            async move { store.operator_states(StateOf::Market, operator, &chain).await.map_err(|e| e.to_string()) },
        )
    }

    fn after(&self, operator: OperatorNo, after: i64) -> LocalBoxFuture<'static, Result<Vec<Input>, String>> {
        let store = self.store.clone();
        Box::pin(async move {
            let rows = store.operator_inputs(operator, after, INPUT_CHUNK).await.map_err(|e| e.to_string())?;
            Ok(rows.into_iter().map(Input::from).collect())
        })
    }

    fn series(&self, operator: OperatorNo) -> LocalBoxFuture<'static, Result<StoredSeries, String>> {
        let (store, chain) = (self.store.clone(), self.chain);
        Box::pin(async move {
            let states = store.operator_states(StateOf::Series, operator, &chain).await.map_err(|e| e.to_string())?;
            let scored = store.series_scored(operator).await.map_err(|e| e.to_string())?;
            Ok(StoredSeries { scored, states })
        })
    }

    fn keep_series(&self, operator: OperatorNo, row: OperatorStateRow) -> LocalBoxFuture<'static, Result<(), String>> {
        let (store, chain, now) = (self.store.clone(), self.chain, self.clock.now());
        Box::pin(async move {
            let kept = store.keep_operator_state(StateOf::Series, operator, &row, &chain, now).await;
            kept.map_err(|e| e.to_string())
        })
    }

    fn silences(&self, operator: OperatorNo) -> LocalBoxFuture<'static, Result<Vec<AlertRevision>, String>> {
        let store = self.store.clone();
        Box::pin(async move {
            match store.feed_silences(operator, SILENCES_MAX).await {
                Err(error @ StoreError::Unreadable(_)) => {
                    // it stays so, and a market must not wait for it
                    tracing::error!(operator_no = operator.0, %error, "silences of feeds are not known");
                    Ok(Vec::new())
                }
                silences => silences.map_err(|e| e.to_string()),
            }
        })
    }
}

impl From<OperatorInputRow> for Input {
    fn from(row: OperatorInputRow) -> Self {
        match row {
            OperatorInputRow::Batch { operator_seq, clock_at, clock, records, .. } => {
                Self::Batch { operator_seq, clock_at, clock, records: records.into() }
            }
            OperatorInputRow::Tick { operator_seq, at } => Self::Tick { operator_seq, at },
        }
    }
}
