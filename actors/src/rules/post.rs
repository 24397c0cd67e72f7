//! The way from the spine to the actors of rules. Nothing here waits: what a full queue refuses is in the store, and the
//! actor is told that it is behind.

use super::input::Heard;
use super::nation::{NationMsg, NationSlot};
use super::operator::{RulesMsg, RulesSlot, Waiting};
use crate::kernel::Handle;
use models::ids::{OperatorNo, Seq};
use models::jurisdiction::JurisdictionNo;
use models::rule_input::{RuleInput, RuleInputStored};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use store::RuleBatch;

/// An operator's actor, and how it stands.
pub type OperatorPost = (Handle<RulesMsg>, Arc<RulesSlot>);

/// The actors' queues, filled as they start.
#[derive(Default)]
pub struct RulesPost {
    /// Of operators.
    pub operators: RwLock<HashMap<OperatorNo, OperatorPost>>,
    /// Of jurisdictions.
    pub nations: RwLock<HashMap<JurisdictionNo, (Handle<NationMsg>, NationSlot)>>,
}

impl RulesPost {
    /// A batch or a tick of an operator is stored.
    pub fn waiting(&self, operator: OperatorNo, waiting: Waiting) {
        self.send(operator, RulesMsg::Waiting(waiting));
    }

    /// A batch is stored, and nobody here has its records.
    pub fn fall_behind(&self, operator: OperatorNo) {
        if let Some((_, slot)) = self.operators.read().get(&operator) {
            slot.fall_behind();
        }
    }

    /// An input of rules is stored.
    pub fn stored(&self, seq: Seq, stored: &RuleInputStored, batch: Option<&RuleBatch>) {
        let heard = || Heard { seq, stored: stored.clone(), batch: batch.cloned() };
        match (&stored.input, batch) {
            (RuleInput::PlayersScored(_), _) if stored.operator_no.nation().is_some() => {
                self.nation(stored.jurisdiction, Some(heard()));
            }
            // its own actor has made it
            (RuleInput::Tick { operator_seq: Some(_), .. }, _) => {}
            (RuleInput::RecordsScored(_) | RuleInput::PlayersScored(_), _) => {}
            (RuleInput::Batch { .. }, Some(RuleBatch { facts: None, .. })) => {}
            (RuleInput::Batch { .. }, Some(_)) => self.nation(stored.jurisdiction, Some(heard())),
            (RuleInput::Batch { .. }, None) => self.nation(stored.jurisdiction, None),
            _ => self.send(stored.operator_no, RulesMsg::Input(heard())),
        }
    }

    fn send(&self, operator: OperatorNo, msg: RulesMsg) {
        if let Some((handle, slot)) = self.operators.read().get(&operator)
            && handle.try_send(msg).is_err()
        {
            slot.fall_behind();
        }
    }

    fn nation(&self, jurisdiction: JurisdictionNo, heard: Option<Heard>) {
        let nations = self.nations.read();
        let Some((handle, slot)) = nations.get(&jurisdiction) else { return };
        if heard.is_none_or(|heard| handle.try_send(NationMsg::Input(heard)).is_err()) {
            slot.fall_behind();
        }
    }

    /// A second has passed. A full queue has messages that look as well.
    pub fn clock(&self) {
        self.operators.read().values().for_each(|(handle, _)| drop(handle.try_send(RulesMsg::Clock)));
        self.nations.read().values().for_each(|(handle, _)| drop(handle.try_send(NationMsg::Clock)));
    }
}
