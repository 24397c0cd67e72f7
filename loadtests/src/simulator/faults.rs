//! Faults: those of the scenario, and those that somebody orders while the simulator runs.
//!
//! Two sorts: what breaks on the way (`slow`, `error_500`, `truncated`, `silence`) holds for whoever is asked or sends
//! meanwhile; what is wrong in what is said (`wrong_totals`, `clock_skew`) for records that come to be meanwhile.

use super::record::{Class, Sent};
use super::scenario::{FaultKind, Scenario};
use super::truth::Truth;
use models::ts::{HOUR, SECOND, Ts};
use serde::Serialize;

/// By how much a wrong clock is wrong.
pub const SKEW: i64 = 2 * HOUR;
/// Minor units that a first wrong total is wrong by; each further one by so much more.
const WRONG_BY: i64 = 12_300;
/// Faults of one run at most.
const FAULTS_MAX: usize = 10_000;
/// Seconds that a fault lasts at most: a week.
const SECONDS_MAX: u32 = 7 * 86_400;
/// Who breaks, besides operators.
pub const AUTHORITIES: [&str; 3] = ["licences", "tax", "bank"];

/// A fault with its span.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Its number.
    pub fault: u32,
    /// Code of an operator, `licences`, `tax` or `bank`.
    pub target: String,
    /// What breaks.
    pub kind: FaultKind,
    /// From then on.
    pub from: Ts,
    /// Until before then.
    pub to: Ts,
}

impl Fault {
    /// Its line of the ground truth.
    pub fn truth(&self) -> Truth {
        Truth::Fault { fault: self.fault, target: self.target.clone(), kind: self.kind, from: self.from, to: self.to }
    }
}

/// Why a fault is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// Nobody of that name is there.
    #[error("target: neither the code of an operator nor licences, tax or bank")]
    Target,
    /// Nothing, or too long.
    #[error("for_seconds: not from 1 to 604800")]
    Seconds,
    /// Enough.
    #[error("there have been 10000 faults already")]
    TooMany,
}

/// Every fault so far.
#[derive(Clone, Debug)]
pub struct Faults {
    operators: Vec<String>,
    all: Vec<Fault>,
    spoiled: i64,
}

impl Faults {
    /// Those of the scenario, counted from a time.
    pub fn planned(scenario: &Scenario, origin: Ts) -> Self {
        let operators = scenario.operators.iter().map(|operator| operator.code.clone()).collect();
        let mut faults = Self { operators, all: Vec::new(), spoiled: 0 };
        for plan in &scenario.faults {
            let from = origin.plus(i64::from(plan.at_seconds) * SECOND);
            faults.add(&plan.target, plan.kind, from, plan.for_seconds);
        }
        faults
    }

    fn add(&mut self, target: &str, kind: FaultKind, from: Ts, seconds: u32) -> Fault {
        let fault = Fault {
            fault: u32::try_from(self.all.len()).unwrap_or(u32::MAX),
            target: target.to_owned(),
            kind,
            from,
            to: from.plus(i64::from(seconds) * SECOND),
        };
        self.all.push(fault.clone());
        fault
    }

    /// Orders a fault from now on.
    ///
    /// # Errors
    /// [`FaultError`]
    pub fn order(&mut self, target: &str, kind: FaultKind, now: Ts, seconds: u32) -> Result<Fault, FaultError> {
        let known = AUTHORITIES.contains(&target) || self.operators.iter().any(|code| code == target);
        if !known {
            return Err(FaultError::Target);
        }
        if !(1..=SECONDS_MAX).contains(&seconds) {
            return Err(FaultError::Seconds);
        }
        if self.all.len() >= FAULTS_MAX {
            return Err(FaultError::TooMany);
        }
        Ok(self.add(target, kind, now, seconds))
    }

    /// Every fault, in the order of its number.
    pub fn all(&self) -> &[Fault] {
        &self.all
    }

    /// The fault of one of these kinds that holds for somebody at a time; of several the newest.
    fn at(&self, target: &str, now: Ts, kinds: &[FaultKind]) -> Option<&Fault> {
        let holds = |fault: &&Fault| {
            fault.target == target && (fault.from..fault.to).contains(&now) && kinds.contains(&fault.kind)
        };
        self.all.iter().rev().find(holds)
    }

    /// What breaks on the way to or from somebody at a time.
    pub fn on_the_way(&self, target: &str, now: Ts) -> Option<&Fault> {
        let kinds = [FaultKind::Slow, FaultKind::Error500, FaultKind::Truncated, FaultKind::Silence];
        self.at(target, now, &kinds)
    }

    /// The fault that makes declared totals of somebody wrong at a time.
    pub fn of_totals(&self, target: &str, now: Ts) -> Option<&Fault> {
        self.at(target, now, &[FaultKind::WrongTotals])
    }

    /// Makes wrong what a record says, where a fault holds; the fault's number.
    pub fn spoil(&mut self, sent: &mut Sent) -> Option<u32> {
        let target = sent.class.authority().unwrap_or(&self.operators[sent.operator]);
        let skew = self.at(target, sent.at, &[FaultKind::ClockSkew]).map(|fault| fault.fault);
        if skew.is_some() {
            sent.record.occurred_at = sent.record.occurred_at.plus(SKEW);
        }
        let totals = self.of_totals(target, sent.at).map(|fault| fault.fault).filter(|_| has_total(sent.class));
        if totals.is_some() {
            self.spoiled += 1;
            let wrong_by = WRONG_BY * self.spoiled;
            let record = &mut sent.record;
            record.balance_after_minor = record.balance_after_minor.map(|balance| balance + wrong_by);
            if let Some(paid) = record.invoice.as_mut().and_then(|invoice| invoice.get_mut("paid_minor")) {
                *paid = (paid.as_i64().unwrap_or(0) + wrong_by).into();
            }
        }
        totals.or(skew)
    }
}

/// Classes whose records carry a sum of others: the balance of a statement, what was paid of an invoice.
fn has_total(class: Class) -> bool {
    matches!(class, Class::BankStatements | Class::Invoices)
}
