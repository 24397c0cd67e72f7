//! Whose findings nobody is told of: those of inputs from long before the rules of this layout began.
//!
//! After an upgrade that brings rules, or other ones, all that is stored is heard once more. What is found then is stored
//! like everything else; an alert of last year would tell nobody what to do today. Where the bound lies is worked out at
//! the engine's first start with a layout of rules, and then a fact of the store: a replay says the same.

use super::input::Stored;
use super::judge::OfOperator;
use crate::market::Kept;
use models::ids::{OperatorNo, Seq};
use models::ts::{DAY, Ts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::{Store, StoreError};

/// How old an input may be at that start, microseconds since it was stored, for its findings to be alerts.
pub const ALERTS_BACK: i64 = DAY;

/// Inputs of whose findings nobody is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quiet {
    /// Up to this place in the journal.
    seq: Seq,
    /// Batches and ticks, up to this position in the operator's inputs.
    operators: BTreeMap<OperatorNo, i64>,
}

impl Quiet {
    #[cfg(test)]
    pub fn of(seq: Seq, operators: impl IntoIterator<Item = (OperatorNo, i64)>) -> Self {
        Self { seq, operators: operators.into_iter().collect() }
    }

    /// Is it one of them? A batch may have been stored long before rules heard of it.
    pub(super) fn holds(&self, input: &Stored) -> bool {
        match input.input.operator_seq() {
            Some(at) => self.operators.get(&input.operator).is_some_and(|through| at <= *through),
            None => input.seq <= self.seq,
        }
    }

    fn fact() -> String {
        format!("rules_quiet_{}", OfOperator::LAYOUT)
    }

    /// What the store knows; nothing where no engine has run with these rules.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn known(store: &Store) -> Result<Self, StoreError> {
        let known = store.fact(&Self::fact()).await?;
        known.map_or_else(|| Ok(Self::default()), |text| read(&text))
    }

    /// The same, worked out where it is not known.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn begin(store: &Store, now: Ts) -> Result<Self, StoreError> {
        if let Some(text) = store.fact(&Self::fact()).await? {
            return read(&text);
        }
        let (seq, operators) = store.inputs_before(now.plus(-ALERTS_BACK)).await?;
        let quiet = Self { seq, operators: operators.into_iter().collect() };
        let text = serde_json::to_string(&quiet).map_err(|_| StoreError::Unreadable("fact"))?;
        read(&store.first_fact(&Self::fact(), &text).await?)
    }
}

fn read(text: &str) -> Result<Quiet, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Unreadable("fact"))
}
