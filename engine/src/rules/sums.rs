//! Sums of an operator: money by the hour, for what is declared; returns by product and day, for what is licensed.
//!
//! Returns are added up twice: in money, and with every bet as one of about the same size ([`Even`]), so that what a few
//! large bets happened to win cannot hide what many small ones show. For that a payout is found back to its bet.

use crate::rules::input::Base;
use crate::rules::player::Flow;
use crate::rules::table::{Key, Limit, Table, Weigh};
use models::alert::Window;
use models::money::Currency;
use models::record::{PlayChannel, Product};
use models::ts::{HOUR, Ts};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Hours that are remembered, over all currencies: half a year of one.
pub const HOURS_MAX: usize = 24 * 184;
/// Days of products that are remembered, over all currencies and products.
pub const PRODUCT_DAYS_MAX: usize = 1_024;
/// Bets whose payout may still be found back to them. Nobody says when a bet has had its last payout, so each stays until
/// others need its place.
pub const OPEN_BETS: Limit = Limit { entries: 65_536, bytes: 0 };
/// A stake of exactly its size class, in the sums in which every bet counts the same.
pub const ONE: i64 = 1 << 20;
/// The bit of bets that name no channel.
const NO_CHANNEL: u8 = 1 << 7;

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
    /// Channels of bets, a bit each, and one of bets that name none.
    channels: u8,
    /// The same with every bet of about one size.
    pub even: Even,
}

/// What a product took and gave where every amount is divided by the size class of its bet, the next power of two: bets
/// count from a half to one [`ONE`] each. The class is known when the bet is made, so chance goes no farther here than it does in
/// money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Even {
    /// Stakes, less voided ones.
    pub stakes: i128,
    /// Sum of the squares of stakes.
    pub stake_squares: u128,
    /// Payouts whose bets are known.
    pub payouts: i128,
    /// Sum of their squares.
    pub payout_squares: u128,
    /// The largest of them.
    pub payout_max: i128,
    /// Payouts whose bets are not known, or not any more.
    pub unlinked: u64,
}

/// The size class of a bet: the power of two that its stake does not exceed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct SizeClass(u8);

impl Weigh for SizeClass {
    fn weigh(&self) -> usize {
        0
    }
}

impl SizeClass {
    fn of(stake_minor: i64) -> Self {
        Self((64 - stake_minor.unsigned_abs().saturating_sub(1).leading_zeros()) as u8)
    }

    /// An amount in units of [`ONE`].
    fn even(self, minor: i64) -> i128 {
        (i128::from(minor) * i128::from(ONE)) >> self.0
    }
}

fn square(value: i128) -> u128 {
    value.unsigned_abs().saturating_mul(value.unsigned_abs())
}

impl Even {
    fn add(&mut self, other: &Self) {
        self.stakes += other.stakes;
        self.stake_squares = self.stake_squares.saturating_add(other.stake_squares);
        self.payouts += other.payouts;
        self.payout_squares = self.payout_squares.saturating_add(other.payout_squares);
        self.payout_max = self.payout_max.max(other.payout_max);
        self.unlinked += other.unlinked;
    }

    fn stake(&mut self, minor: i64) {
        let even = SizeClass::of(minor).even(minor);
        self.stakes += even;
        // a voided stake takes nothing away: the bound may only become wider
        self.stake_squares = self.stake_squares.saturating_add(square(even.max(0)));
    }

    fn payout(&mut self, minor: i64, class: Option<SizeClass>) {
        let Some(class) = class else {
            self.unlinked += 1;
            return;
        };
        let even = class.even(minor);
        self.payouts += even;
        self.payout_squares = self.payout_squares.saturating_add(square(even));
        self.payout_max = self.payout_max.max(even);
    }
}

fn channel_bit(channel: Option<PlayChannel>) -> u8 {
    channel.map_or(NO_CHANNEL, |channel| 1 << channel.code())
}

impl Returned {
    /// Channels that its bets were made over, each once; none of bets that name none.
    pub fn over(&self) -> impl Iterator<Item = Option<PlayChannel>> {
        let (channels, all) = (self.channels, PlayChannel::ALL.iter().copied().map(Some).chain([None]));
        all.filter(move |channel| channels & channel_bit(*channel) != 0)
    }

    /// With another.
    pub fn add(&mut self, other: &Self) {
        self.bets += other.bets;
        self.stakes += other.stakes;
        self.payouts += other.payouts;
        self.payout_squares = self.payout_squares.saturating_add(other.payout_squares);
        self.stake_squares = self.stake_squares.saturating_add(other.stake_squares);
        self.stake_max = self.stake_max.max(other.stake_max);
        self.payout_max = self.payout_max.max(other.payout_max);
        self.channels |= other.channels;
        self.even.add(&other.even);
    }
}

/// What a record says of its bet.
#[derive(Clone, Copy, Debug)]
pub struct OfBet {
    /// Digest of its id.
    pub id: Option<Key>,
    /// The channel that it was made over.
    pub channel: Option<PlayChannel>,
}

/// The sums.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    hours: BTreeMap<(Ts, Currency), Hour>,
    /// From when on every hour is whole: the first full one, or the first not forgotten.
    whole_from: Option<Ts>,
    /// The newest record.
    newest: Ts,
    products: BTreeMap<(Ts, Currency, Product), Returned>,
    /// Size classes of bets by the digests of their ids.
    bets: Table<SizeClass>,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            hours: BTreeMap::new(),
            whole_from: None,
            newest: Ts(0),
            products: BTreeMap::new(),
            bets: Table::new(OPEN_BETS),
        }
    }
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
    pub fn played(&mut self, day: Ts, currency: Currency, product: Product, flow: &Flow, bet: OfBet) {
        let OfBet { id: bet, channel } = bet;
        let sums = self.products.entry((day, currency, product)).or_default();
        if flow.stakes_minor > 0 {
            sums.bets += 1;
            sums.channels |= channel_bit(channel);
        }
        sums.stakes += i128::from(flow.stakes_minor);
        sums.payouts += i128::from(flow.payouts_minor);
        sums.payout_squares = sums.payout_squares.saturating_add(square(flow.payouts_minor.into()));
        // a voided stake takes nothing away: the bound may only become wider
        sums.stake_squares = sums.stake_squares.saturating_add(square(flow.stakes_minor.max(0).into()));
        sums.stake_max = sums.stake_max.max(flow.stakes_minor);
        sums.payout_max = sums.payout_max.max(flow.payouts_minor);
        if flow.stakes_minor != 0 {
            sums.even.stake(flow.stakes_minor);
        }
        if flow.payouts_minor != 0 {
            sums.even.payout(flow.payouts_minor, bet.and_then(|bet| self.bets.get(bet).copied()));
        }
        if let Some(bet) = bet.filter(|_| flow.stakes_minor > 0) {
            let place = self.bets.touch(bet);
            self.bets.change(place, |class| *class = SizeClass::of(flow.stakes_minor));
        }
        while self.products.len() > PRODUCT_DAYS_MAX {
            self.products.pop_first();
        }
    }

    /// Currencies of the hours that are remembered.
    #[must_use]
    pub fn currencies(&self) -> BTreeSet<Currency> {
        self.hours.keys().map(|(_, currency)| *currency).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_those_of_bets_in_the_span() {
        use PlayChannel::{Online, Retail, Ussd};
        let mut sums = Sums::default();
        let flow = |stakes_minor, payouts_minor| Flow { stakes_minor, payouts_minor, ..Flow::default() };
        // day | stake, payout | channel
        let played = [
            (0, flow(5, 0), Some(Ussd)),
            (1, flow(5, 0), Some(Online)),
            (1, flow(5, 0), Some(Online)),
            (1, flow(0, 5), Some(Retail)),
            (1, flow(-5, 0), Some(Retail)),
            (2, flow(5, 0), None),
        ];
        for (day, flow, channel) in played {
            sums.played(Ts(day), Currency::KES, Product::Slots, &flow, OfBet { id: None, channel });
        }
        let table: [(i64, i64, &[Option<PlayChannel>]); 4] =
            [(0, 3, &[Some(Online), Some(Ussd), None]), (1, 2, &[Some(Online)]), (2, 3, &[None]), (3, 4, &[])];
        for (from, to, wanted) in table {
            let days = Window { start: Ts(from), end: Ts(to) };
            let over: Vec<_> = sums.returned(days, Currency::KES, Product::Slots).over().collect();
            assert_eq!(over, wanted, "{from} to {to}");
        }
    }

    #[test]
    fn a_payout_counts_in_the_size_of_its_bet() {
        let one = i128::from(ONE);
        // told | stakes and payouts with the bets they name | even stakes, even payouts, payouts that are nobody's
        type Row<'a> = (&'a str, &'a [(i64, i64, Option<Key>)], (i128, i128, u64));
        let table: [Row<'_>; 7] = [
            ("a power of two is one", &[(128, 0, Some(1)), (0, 256, Some(1))], (one, 2 * one, 0)),
            ("a little more is about a half", &[(129, 0, None)], (129 * one / 256, 0, 0)),
            ("the smallest", &[(1, 0, None)], (one, 0, 0)),
            ("a thousand times as large", &[(131_072, 0, Some(2)), (0, 262_144, Some(2))], (one, 2 * one, 0)),
            ("paid twice", &[(64, 0, Some(3)), (0, 32, Some(3)), (0, 32, Some(3))], (one, one, 0)),
            ("paid before it was staked, or never named", &[(0, 9, Some(4)), (0, 9, None)], (0, 0, 2)),
            ("voided", &[(64, 0, Some(5)), (-64, 0, Some(5))], (0, 0, 0)),
        ];
        for (what, flows, wanted) in table {
            let mut sums = Sums::default();
            for (stakes_minor, payouts_minor, bet) in flows {
                let flow = Flow { stakes_minor: *stakes_minor, payouts_minor: *payouts_minor, ..Flow::default() };
                let bet = OfBet { id: *bet, channel: None };
                sums.played(Ts(0), Currency::KES, Product::ALL[0], &flow, bet);
            }
            let day = Window { start: Ts(0), end: Ts(1) };
            let Even { stakes, payouts, unlinked, .. } = sums.returned(day, Currency::KES, Product::ALL[0]).even;
            assert_eq!((stakes, payouts, unlinked), wanted, "{what}");
        }
        for stake in [0, 1, 2, 3, 1_000, i64::MAX, i64::MIN] {
            let even = SizeClass::of(stake).even(stake).abs();
            assert!(even <= one && (stake == 0 || 2 * even >= one), "{stake}: {even}");
        }
    }
}
