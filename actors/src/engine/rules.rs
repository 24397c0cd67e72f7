//! The actors of rules: one for each operator, and one for each jurisdiction.

use super::{Engine, StartError};
use crate::kernel::{Spec, spawn};
use crate::rules::{Nation, NationSlot, OfNation, OfOperator, OperatorRulesActor, RulesSlot, Whose};
use engine::rules::nation::NationRules;
use engine::rules::run::OperatorRules;
use jiff::tz::TimeZone;
use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
use std::sync::Arc;
use std::time::Duration;

/// How long an actor of rules may go without progress: it waits for the store and for evidence.
const PATIENCE: Duration = Duration::from_secs(30);

impl Engine {
    /// Starts an operator's rules.
    pub(super) fn start_rules(&self, no: OperatorNo) -> Result<(), StartError> {
        let inner = &self.0;
        // held to the end: the spine's growth and a command may both come to start it
        let mut operators = inner.rules.operators.write();
        if operators.contains_key(&no) {
            return Ok(());
        }
        let directory = inner.directory.load();
        let Some(operator) = directory.operators.get(&no) else { return Ok(()) };
        let Some(of) = directory.jurisdiction(operator.jurisdiction) else { return Ok(()) };
        let (code, zone) = (operator.code.clone(), of.time_zone.clone());
        let whose = Whose { no, jurisdiction: operator.jurisdiction, code: code.clone(), currency: of.currency };
        let (context, slot) = (inner.rules_context.clone(), Arc::<RulesSlot>::default());
        let told = Arc::clone(&slot);
        let mut spec = Spec::new(format!("rules:{code}"), "rules", move |generation| {
            let (context, whose, zone, slot) = (context.clone(), whose.clone(), zone.clone(), Arc::clone(&slot));
            Box::pin(async move {
                let zone = TimeZone::get(&zone).map_err(|e| e.to_string())?;
                let (_, set) = context.directory.load().rules(whose.jurisdiction);
                let blank = OfOperator::new(OperatorRules::new(whose.no, zone, &set));
                OperatorRulesActor::recover(whose, blank, context, slot, &generation.progress).await
            })
        });
        spec.capacity = inner.config.operator_queue;
        spec.hang_after = PATIENCE;
        let handle = spawn(&inner.system, spec).map_err(|e| StartError::Actor(e.to_string()))?;
        told.begin(handle.clone());
        operators.insert(no, (handle, told));
        Ok(())
    }

    /// Starts the rules over all operators of each jurisdiction.
    pub(super) fn start_nations(&self) -> Result<(), StartError> {
        let inner = &self.0;
        for (no, of) in inner.directory.load().jurisdictions.iter().enumerate() {
            let jurisdiction = JurisdictionNo(no as u8);
            let (code, zone) = (of.code.clone(), of.time_zone.clone());
            let no = OperatorNo::of_nation(jurisdiction);
            let whose = Whose { no, jurisdiction, code: code.clone(), currency: of.currency };
            let (context, slot) = (inner.rules_context.clone(), NationSlot::default());
            let told = slot.clone();
            let mut spec = Spec::new(format!("nation:{code}"), "nation", move |generation| {
                let (context, whose, zone, slot) = (context.clone(), whose.clone(), zone.clone(), slot.clone());
                Box::pin(async move {
                    let zone = TimeZone::get(&zone).map_err(|e| e.to_string())?;
                    let (_, set) = context.directory.load().rules(whose.jurisdiction);
                    let blank = OfNation::new(NationRules::new(whose.jurisdiction, zone, &set));
                    Nation::recover(whose, blank, context, slot, &generation.progress).await
                })
            });
            spec.capacity = inner.config.operator_queue;
            spec.hang_after = PATIENCE;
            let handle = spawn(&inner.system, spec).map_err(|e| StartError::Actor(e.to_string()))?;
            inner.rules.nations.write().insert(jurisdiction, (handle, told));
        }
        Ok(())
    }
}
