//! The actors of rules: one for each operator, and one for each jurisdiction; and what of a declaration they hear.

use super::{Engine, StartError};
use crate::kernel::{Spec, spawn};
use crate::rules::{Nation, NationSlot, OfNation, OfOperator, OperatorRulesActor, RulesSlot, Whose};
use engine::rules::nation::NationRules;
use engine::rules::run::OperatorRules;
use jiff::tz::TimeZone;
use models::alert::Window;
use models::event::Event;
use models::feed::integrity::{Declaration, DeclaredStatus, DeclaredTotal};
use models::feed::{DataClass, Source};
use models::ids::OperatorNo;
use models::jurisdiction::Jurisdiction;
use models::record::RecordKind;
use models::rule_input::{DeclaredBase, RuleInput};
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
                let blank = OfOperator::new(whose.no, OperatorRules::new(whose.no, zone, &set));
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
        for (jurisdiction, of) in Jurisdiction::numbered(&inner.directory.load().jurisdictions) {
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
                    Box::pin(Nation::recover(whose, blank, context, slot, &generation.progress)).await
                })
            });
            spec.capacity = inner.config.operator_queue;
            spec.hang_after = PATIENCE;
            let handle = spawn(&inner.system, spec).map_err(|e| StartError::Actor(e.to_string()))?;
            inner.rules.nations.write().insert(jurisdiction, (handle, told));
        }
        Ok(())
    }

    /// What rules hear of a declaration, to be committed with it. They sum an operator's records and not a source's, so only
    /// where one source sends all of its money; the source's own totals are compared in any case.
    pub(super) fn declared_to_rules(&self, source: &Source, declaration: &Declaration) -> Vec<Event> {
        let directory = self.0.directory.load();
        let has_money = |source: &Source| {
            matches!(source.class.data(), DataClass::GamingTransactions | DataClass::SalesRedemptions)
        };
        let of_operator = |other: &&Arc<Source>| other.operator_no == source.operator_no && has_money(other);
        let is_only = has_money(source) && directory.sources.values().filter(of_operator).count() == 1;
        let Some(jurisdiction) = directory.jurisdiction_of(source.operator_no) else { return Vec::new() };
        if !is_only || declaration.status != DeclaredStatus::Successful {
            return Vec::new();
        }
        let period = Window { start: declaration.from, end: declaration.to };
        let inputs = declared_amounts(&declaration.totals).map(|(base, amount_minor)| {
            let input =
                RuleInput::Declared { at: declaration.at, period, currency: source.currency, base, amount_minor };
            directory.rule_input(source.operator_no, jurisdiction, input)
        });
        inputs.collect()
    }
}

/// Amounts of which everything that belongs to them is declared.
fn declared_amounts(totals: &[DeclaredTotal]) -> impl Iterator<Item = (DeclaredBase, i64)> {
    use RecordKind as K;
    let of = |kind: K| totals.iter().find(|total| total.kind == kind).map(|total| total.amount_minor);
    let sum = |kinds: &[K]| kinds.iter().try_fold(0i64, |sum, kind| Some(sum.saturating_add(of(*kind)?)));
    let bets = sum(&[K::Stake, K::TicketSale]).zip(of(K::Void)).map(|(bets, voided)| bets.saturating_sub(voided));
    let payouts = sum(&[K::Payout, K::CashOut, K::Redemption]);
    let revenue = bets.zip(payouts).map(|(bets, payouts)| bets.saturating_sub(payouts));
    let amounts = [
        (DeclaredBase::Deposits, of(K::Deposit)),
        (DeclaredBase::Withdrawals, of(K::Withdrawal)),
        (DeclaredBase::Stakes, bets),
        (DeclaredBase::Payouts, payouts),
        (DeclaredBase::GrossGamingRevenue, revenue),
    ];
    amounts.into_iter().filter_map(|(base, amount)| Some((base, amount?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_declared_where_everything_that_belongs_to_it_is() {
        use DeclaredBase::{Deposits, GrossGamingRevenue, Payouts, Stakes, Withdrawals};
        use RecordKind as K;
        let bets = [(K::Stake, 100), (K::TicketSale, 20), (K::Void, 5)];
        let paid = [(K::Payout, 60), (K::CashOut, 3), (K::Redemption, 2)];
        let table = [
            (vec![], vec![]),
            (vec![(K::Deposit, 7), (K::Withdrawal, 4)], vec![(Deposits, 7), (Withdrawals, 4)]),
            (vec![(K::Stake, 100), (K::Payout, 60)], vec![]),
            (bets.to_vec(), vec![(Stakes, 115)]),
            (bets.into_iter().chain(paid).collect(), vec![(Stakes, 115), (Payouts, 65), (GrossGamingRevenue, 50)]),
        ];
        for (declared, wanted) in table {
            let total =
                |(kind, amount_minor): &(K, i64)| DeclaredTotal { kind: *kind, count: 1, amount_minor: *amount_minor };
            let totals: Vec<_> = declared.iter().map(total).collect();
            assert_eq!(declared_amounts(&totals).collect::<Vec<_>>(), wanted, "{declared:?}");
        }
    }
}
