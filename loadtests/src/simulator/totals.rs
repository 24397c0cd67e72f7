//! What operators declare of a day: counts and sums that the records of that day must come to.

use super::ledger::date;
use super::record::{Class, Sent};
use super::scenario::Operator;
use serde::Serialize;
use std::collections::BTreeMap;

/// Days that are declared; older ones are forgotten.
const DAYS_MAX: usize = 800;

/// Records of one kind that went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// Kind.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
    /// What they come to, minor units.
    pub amount_minor: i64,
}

/// What is declared of one class and day of UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Declared {
    /// Code of the operator.
    pub operator: String,
    /// Class.
    pub class: Class,
    /// Day, `YYYY-MM-DD`.
    pub day: String,
    /// By whose midnight.
    pub time_zone: &'static str,
    /// Currency of the amounts.
    pub currency: String,
    /// Kind by kind.
    pub totals: Vec<Sum>,
}

/// Sums by operator, class and day.
#[derive(Clone, Debug, Default)]
pub struct Totals(BTreeMap<(usize, Class, String), BTreeMap<&'static str, Sum>>);

impl Totals {
    /// Takes a record in, as it came to be.
    pub fn take(&mut self, sent: &Sent) {
        let key = (sent.operator, sent.class, date(sent.at));
        if !self.0.contains_key(&key) {
            self.forget(sent.operator, sent.class);
        }
        let sums = self.0.entry(key).or_default();
        if sent.record.has_succeeded() {
            let kind = sent.record.kind;
            let sum = sums.entry(kind).or_insert(Sum { kind, count: 0, amount_minor: 0 });
            sum.count += 1;
            sum.amount_minor += sent.record.moved_minor();
        }
    }

    /// Makes room for a day.
    fn forget(&mut self, operator: usize, class: Class) {
        let mine = |(key, _): &(&(usize, Class, String), _)| (key.0, key.1) == (operator, class);
        let mut days = self.0.range((operator, class, String::new())..).take_while(mine).map(|(key, _)| key);
        let oldest = days.next().cloned();
        if days.count() + 1 >= DAYS_MAX
            && let Some(oldest) = oldest
        {
            self.0.remove(&oldest);
        }
    }

    /// What an operator declares of itself; a tenth too much where somebody asked for that.
    pub fn declared(&self, operator: usize, company: &Operator, is_wrong: bool) -> Vec<Declared> {
        let mine = self.0.iter().filter(|((no, class, _), _)| *no == operator && class.authority().is_none());
        mine.map(|((_, class, day), sums)| {
            let said = |sum: &Sum| match is_wrong {
                true => Sum { amount_minor: sum.amount_minor * 11 / 10, ..*sum },
                false => *sum,
            };
            Declared {
                operator: company.code.clone(),
                class: *class,
                day: day.clone(),
                time_zone: "UTC",
                currency: company.currency.as_str().to_owned(),
                totals: sums.values().map(said).collect(),
            }
        })
        .collect()
    }
}
