//! A second adding-up of what the simulator sent, without anything of the engine: what the law's arithmetic says.

use super::intake::Known;
use crate::simulator::cases::Law;
use crate::simulator::record::Sent;
use crate::simulator::truth::{About, Case};
use models::ts::{DAY, HOUR, MINUTE, Ts};
use std::collections::{BTreeMap, BTreeSet};

/// Nairobi is three hours ahead of UTC all year.
const OFFSET: i64 = 3 * HOUR;

/// Money in or out of somebody's account.
#[derive(Clone, Copy, Debug)]
struct Moved {
    at: Ts,
    operator: usize,
    amount_minor: i64,
}

/// Everything that was sent, by person and by operator's day.
#[derive(Debug, Default)]
pub struct Sums {
    moved: BTreeMap<String, Vec<Moved>>,
    bets: BTreeMap<String, Vec<(Ts, usize)>>,
    revenue: BTreeMap<(usize, i64), i64>,
}

/// Year and month of an instant, as people there count.
fn month(at: Ts) -> String {
    at.plus(OFFSET).to_string().chars().take(7).collect()
}

fn day(at: Ts) -> i64 {
    (at.0 + OFFSET).div_euclid(DAY)
}

impl Sums {
    /// A record more.
    pub fn take(&mut self, sent: &Sent) {
        let (record, amount) = (&sent.record, sent.record.moved_minor());
        let revenue = match record.kind {
            "stake" | "ticket_sale" => amount,
            "payout" | "redemption" | "cash_out" | "void" => -amount,
            _ => 0,
        };
        *self.revenue.entry((sent.operator, day(record.occurred_at))).or_default() += revenue;
        let Some(phone) = record.player.as_ref().and_then(|player| player.phone.clone()) else { return };
        if !record.has_succeeded() {
            return;
        }
        if record.kind == "stake" || record.kind == "ticket_sale" {
            self.bets.entry(phone.clone()).or_default().push((record.occurred_at, sent.operator));
        }
        let amount_minor = match record.kind {
            "deposit" => amount,
            "withdrawal" => -amount,
            _ => return,
        };
        self.moved.entry(phone).or_default().push(Moved {
            at: record.occurred_at,
            operator: sent.operator,
            amount_minor,
        });
    }

    /// Stakes less payouts of a local day that begins then, minor units.
    #[must_use]
    pub fn revenue(&self, operator: usize, start: Ts) -> i64 {
        self.revenue.get(&(operator, day(start))).copied().unwrap_or(0)
    }

    /// What is a case by arithmetic: months that are passed, at an operator and everywhere, deposits that pass what is
    /// reported at several operators together, bets too close to each other.
    #[must_use]
    pub fn cases(&self, law: Law, known: &Known) -> Vec<Case> {
        let mut cases = Vec::new();
        for (phone, moved) in &self.moved {
            let limit = if known.is_young(phone) { law.month_young_minor } else { law.month_minor };
            let mut add = |condition: &'static str, operators: Vec<usize>, at: Ts| {
                let about = vec![About::Phone(phone.clone())];
                let (what, conditions) = ("by arithmetic", vec![condition]);
                cases.push(Case { what, conditions, about, operators, from: at, to: at });
            };
            let mut net: BTreeMap<(String, usize), i64> = BTreeMap::new();
            for (no, new) in moved.iter().enumerate() {
                let of = net.entry((month(new.at), new.operator)).or_default();
                *of += new.amount_minor;
                if *of > limit && new.amount_minor > 0 {
                    add("net_deposit_threshold", vec![new.operator], new.at);
                }
                let here = |(of, _): &(&(String, usize), &i64)| of.0 == month(new.at);
                let everywhere: i64 = net.iter().filter(here).map(|(_, sum)| sum).sum();
                let places: Vec<usize> = net.iter().filter(here).map(|(of, _)| of.1).collect();
                if everywhere > law.month_everywhere_minor && places.len() > 1 {
                    add("net_deposits_across_operators", places, new.at);
                }
                let within = |m: &&Moved| m.amount_minor > 0 && m.at.0 >= new.at.0 - DAY && m.at <= new.at;
                let recent: Vec<&Moved> = moved[..=no].iter().filter(within).collect();
                let operators: BTreeSet<usize> = recent.iter().map(|m| m.operator).collect();
                let of = |operator: usize| {
                    recent.iter().filter(|m| m.operator == operator).map(|m| m.amount_minor).sum::<i64>()
                };
                let is_below = operators.iter().all(|operator| of(*operator) < law.reported_minor);
                let sum: i64 = recent.iter().map(|m| m.amount_minor).sum();
                if operators.len() > 1 && is_below && sum >= law.reported_minor {
                    add("structured_across_operators", operators.into_iter().collect(), new.at);
                }
            }
        }
        for (phone, bets) in &self.bets {
            let mut last: BTreeMap<usize, Ts> = BTreeMap::new();
            for (at, operator) in bets {
                let wait = law.wait_minutes * MINUTE;
                let is_close = |(other, when): &(&usize, &Ts)| **other != *operator && at.0 - when.0 < wait;
                if let Some((other, _)) = last.iter().find(is_close) {
                    let (what, conditions) = ("by arithmetic", vec!["concurrent_play"]);
                    let (about, operators) = (vec![About::Phone(phone.clone())], vec![*other, *operator]);
                    cases.push(Case { what, conditions, about, operators, from: *at, to: *at });
                }
                last.insert(*operator, *at);
            }
        }
        cases
    }
}
