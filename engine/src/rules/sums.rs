//! Sums of an operator: money by the hour, for what is declared; returns by product and day, for what is licensed.

use crate::rules::input::Base;
use crate::rules::player::Flow;
use models::alert::Window;
use models::money::Currency;
use models::record::Product;
use models::ts::{HOUR, Ts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Hours that are remembered, over all currencies: half a year of one.
pub const HOURS_MAX: usize = 24 * 184;
/// Days of products that are remembered, over all currencies and products.
pub const PRODUCT_DAYS_MAX: usize = 1_024;

/// Money of an hour; wide, so that the order of records cannot matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Hour {
    deposits: i128,
    withdrawals: i128,
    stakes: i128,
    payouts: i128,
}

/// What a product took and gave on a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Returned {
    /// Bets.
    pub bets: u64,
    /// Stakes, less voided ones, minor units.
    pub stakes: i128,
    /// Payouts, minor units.
    pub payouts: i128,
    /// Sum of the squares of payouts.
    pub payout_squares: u128,
    /// Sum of the squares of stakes.
    pub stake_squares: u128,
    /// The largest stake.
    pub stake_max: i64,
    /// The largest payout.
    pub payout_max: i64,
}

impl Returned {
    /// With another.
    pub fn add(&mut self, other: &Self) {
        self.bets += other.bets;
        self.stakes += other.stakes;
        self.payouts += other.payouts;
        self.payout_squares = self.payout_squares.saturating_add(other.payout_squares);
        self.stake_squares = self.stake_squares.saturating_add(other.stake_squares);
        self.stake_max = self.stake_max.max(other.stake_max);
        self.payout_max = self.payout_max.max(other.payout_max);
    }
}

/// The sums.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    hours: BTreeMap<(Ts, Currency), Hour>,
    /// From when on every hour is whole: the first full one, or the first not forgotten.
    whole_from: Option<Ts>,
    /// The newest record.
    newest: Ts,
    products: BTreeMap<(Ts, Currency, Product), Returned>,
}

impl Sums {
    /// Adds money at a time.
    pub fn add(&mut self, at: Ts, currency: Currency, flow: &Flow) {
        let hour = at.floor_to(HOUR);
        self.whole_from.get_or_insert(if hour == at { hour } else { hour.plus(HOUR) });
        self.newest = self.newest.max(at);
        let sums = self.hours.entry((hour, currency)).or_default();
        sums.deposits += i128::from(flow.deposits_minor);
        sums.withdrawals += i128::from(flow.withdrawals_minor);
        sums.stakes += i128::from(flow.stakes_minor);
        sums.payouts += i128::from(flow.payouts_minor);
        while self.hours.len() > HOURS_MAX {
            let Some(((hour, _), _)) = self.hours.pop_first() else { break };
            self.whole_from = self.whole_from.max(Some(hour.plus(HOUR)));
        }
    }

    /// Adds a bet or its return on a product's day.
    pub fn played(&mut self, day: Ts, currency: Currency, product: Product, flow: &Flow) {
        let sums = self.products.entry((day, currency, product)).or_default();
        let square = |minor: i64| u128::from(minor.unsigned_abs()) * u128::from(minor.unsigned_abs());
        sums.bets += u64::from(flow.stakes_minor > 0);
        sums.stakes += i128::from(flow.stakes_minor);
        sums.payouts += i128::from(flow.payouts_minor);
        sums.payout_squares = sums.payout_squares.saturating_add(square(flow.payouts_minor));
        // a voided stake takes nothing away: the bound may only become wider
        sums.stake_squares = sums.stake_squares.saturating_add(square(flow.stakes_minor.max(0)));
        sums.stake_max = sums.stake_max.max(flow.stakes_minor);
        sums.payout_max = sums.payout_max.max(flow.payouts_minor);
        while self.products.len() > PRODUCT_DAYS_MAX {
            self.products.pop_first();
        }
    }

    /// What the records of a period add up to, minor units. None: the period is not of whole hours, is not over by the
    /// records, or began before they did.
    #[must_use]
    pub fn computed(&self, period: Window, currency: Currency, base: Base) -> Option<i64> {
        let is_whole = period.start == period.start.floor_to(HOUR) && period.end == period.end.floor_to(HOUR);
        let is_known = self.whole_from.is_some_and(|from| from <= period.start) && self.newest >= period.end;
        if !is_whole || !is_known || period.end <= period.start {
            return None;
        }
        let least = Currency::parse("AAA").unwrap_or(currency);
        let sum = self
            .hours
            .range((period.start, least)..(period.end, least))
            .filter(|((_, of), _)| *of == currency)
            .map(|(_, hour)| match base {
                Base::GrossGamingRevenue => hour.stakes - hour.payouts,
                Base::Stakes => hour.stakes,
                Base::Payouts => hour.payouts,
                Base::Deposits => hour.deposits,
                Base::Withdrawals => hour.withdrawals,
            })
            .sum::<i128>();
        Some(crate::windows::saturated(sum))
    }

    /// What a product took and gave on the days that begin in a window.
    #[must_use]
    pub fn returned(&self, days: Window, currency: Currency, product: Product) -> Returned {
        let mut sum = Returned::default();
        let least = (days.start, Currency::parse("AAA").unwrap_or(currency), Product::ALL[0]);
        let days = self.products.range(least..).take_while(|((day, ..), _)| *day < days.end);
        for (_, of_day) in days.filter(|((_, of, what), _)| (*of, *what) == (currency, product)) {
            sum.add(of_day);
        }
        sum
    }
}
