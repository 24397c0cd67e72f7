//! An operator waits for what changes for people that it has asked about.

use super::Engine;
use crate::api::{EngineError, NodeState};
use crate::changes::{self, Changes, Reader};
use models::ids::{OperatorNo, Seq};
use models::jurisdiction::{JurisdictionNo, JurisdictionSet};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;

/// Requests of an operator that may wait for a change at the same time.
const CHANGES_WAITING_MAX: usize = 8;
/// How often a request that waits looks whether there is one.
const CHANGES_EVERY: Duration = Duration::from_millis(250);

/// Somebody waits for a change.
struct Waits<'a>(&'a Mutex<HashMap<OperatorNo, usize>>, OperatorNo);

impl<'a> Waits<'a> {
    fn of(waiting: &'a Mutex<HashMap<OperatorNo, usize>>, operator: OperatorNo) -> Result<Self, EngineError> {
        let mut held = waiting.lock();
        let count = held.entry(operator).or_default();
        if *count >= CHANGES_WAITING_MAX {
            return Err(EngineError::Overloaded("as many of the operator wait for changes as may"));
        }
        *count += 1;
        Ok(Self(waiting, operator))
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut held = self.0.lock();
        if let Some(count) = held.get_mut(&self.1) {
            *count -= 1;
        }
        held.retain(|_, count| *count > 0);
    }
}

impl Engine {
    /// What has changed behind `after` for people the operator has asked about: at once where something has, else within
    /// `wait`. Without `after`: nothing, and where the feed stands now.
    pub async fn changes(
        &self,
        operator_no: OperatorNo,
        jurisdiction: JurisdictionNo,
        after: Option<(Seq, JurisdictionSet)>,
        limit: usize,
        wait: Duration,
    ) -> Result<Changes, EngineError> {
        let Some((mut after, bound_then)) = after else {
            let fresh = self.freshness();
            if matches!(fresh.state, NodeState::Loading | NodeState::Stale) {
                return Err(EngineError::Unavailable("the register"));
            }
            let bound = self.directory().binding(jurisdiction, self.now());
            return Ok(Changes { next: fresh.register_version, bound, ..Changes::default() });
        };
        let _waits = (!wait.is_zero()).then(|| Waits::of(&self.0.waiting, operator_no)).transpose()?;
        changes::is_a_place(&self.0.store, after).await?;
        let until = tokio::time::Instant::now() + wait;
        loop {
            let now = self.now();
            let jurisdictions = self.directory().binding(jurisdiction, now);
            let reader = Reader { operator_no, jurisdictions, bound_then, now };
            if matches!(self.freshness_at(now).state, NodeState::Loading | NodeState::Stale) {
                return Err(EngineError::Unavailable("the register"));
            }
            let index = self.0.index.load_full();
            let read = changes::read(&self.0.store, &self.0.contacts, &index, reader, after, limit).await;
            let found = read?;
            let behind = tokio::time::Instant::now() < until;
            if !found.items.is_empty() || !(behind || found.more) {
                return Ok(found);
            }
            after = found.next;
            if !found.more {
                tokio::time::sleep(CHANGES_EVERY).await;
            }
        }
    }
}
