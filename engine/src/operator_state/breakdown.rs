//! Where and what is played: the current hour and day of each region and each product.
//!
//! Nothing is judged by it and nothing alerts from it, so it keeps no history: the newest window of each length and the
//! one before, because the newest may have been begun by a clock that is ahead.

use crate::windows::{Cutter, flow, saturated};
use models::alert::{Granularity, Window};
use models::money::Currency;
use models::record::{Product, Record, RecordStatus};
use models::region::Region;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Regions of an operator, over all currencies; further ones are counted under `other`.
pub const REGIONS_MAX: usize = 96;
/// Products of an operator, over all currencies; further ones are counted under `other`.
pub const PRODUCTS_MAX: usize = 32;

/// What a sum is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Part {
    /// Where.
    Region(Region),
    /// What.
    Product(Product),
}

/// Sums of successful records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// How many.
    pub count: u64,
    stakes: i128,
    payouts: i128,
}

impl Flow {
    /// Stakes and ticket sales, less voided ones, minor units.
    pub fn stakes(&self) -> i64 {
        saturated(self.stakes)
    }

    /// Payouts, cash-outs and redemptions, minor units.
    pub fn payouts(&self) -> i64 {
        saturated(self.payouts)
    }

    /// Stakes − payouts, minor units.
    pub fn gross_gaming_revenue(&self) -> i64 {
        saturated(self.stakes - self.payouts)
    }

    /// Takes in another sum.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.stakes += other.stakes;
        self.payouts += other.payouts;
    }
}

/// The newest window of a length that something happened in, and the one before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recent([Option<(Window, Flow)>; 2]);

impl Recent {
    fn add(&mut self, window: Window, flow: &Flow) {
        let [newest, before] = &mut self.0;
        if newest.is_none_or(|(held, _)| held.start < window.start) {
            *before = newest.replace((window, Flow::default()));
        } else if newest.is_some_and(|(held, _)| held.start > window.start)
            && before.is_none_or(|(held, _)| held.start < window.start)
        {
            *before = Some((window, Flow::default()));
        }
        // what is older still is in the operator's windows, and current nowhere
        let place = self.0.iter_mut().flatten().find(|(held, _)| held.start == window.start);
        if let Some((_, sums)) = place {
            sums.add(flow);
        }
    }

    /// Both, newest first.
    pub fn windows(&self) -> impl Iterator<Item = &(Window, Flow)> {
        self.0.iter().flatten()
    }
}

/// The current hour and day of a part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Cell {
    pub hour: Recent,
    pub day: Recent,
}

/// An operator's current play by region and by product.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Breakdown {
    cells: BTreeMap<(Currency, Part), Cell>,
    regions: usize,
    products: usize,
}

impl Breakdown {
    pub(super) fn add(&mut self, cutter: &mut Cutter, record: &Record) {
        if record.status != RecordStatus::Successful {
            return;
        }
        let (stakes, payouts) = flow(record);
        let added = Flow { count: 1, stakes, payouts };
        let hour = cutter.window(Granularity::Hour, record.occurred_at);
        let day = cutter.window(Granularity::Day, record.occurred_at);
        let region = Part::Region(Region::of(record.region.as_deref()));
        let product = Part::Product(record.product.unwrap_or(Product::Other));
        for part in [region, product] {
            let cell = self.cell(record.currency, part);
            cell.hour.add(hour, &added);
            cell.day.add(day, &added);
        }
    }

    fn cell(&mut self, currency: Currency, part: Part) -> &mut Cell {
        let (held, max, other) = match part {
            Part::Region(_) => (&mut self.regions, REGIONS_MAX, Part::Region(Region::OTHER)),
            Part::Product(_) => (&mut self.products, PRODUCTS_MAX, Part::Product(Product::Other)),
        };
        let is_known = self.cells.contains_key(&(currency, part));
        // `other` itself always has a place: one more for each currency there is
        let part = if is_known || *held < max || part == other { part } else { other };
        self.cells.entry((currency, part)).or_insert_with(|| {
            *held += 1;
            Cell::default()
        })
    }

    /// Every part with something in it.
    pub fn cells(&self) -> impl Iterator<Item = (Currency, Part, &Cell)> {
        self.cells.iter().map(|((currency, part), cell)| (*currency, *part, cell))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::windows::tests::record;
    use jiff::tz::TimeZone;
    use models::record::RecordKind;
    use models::ts::{HOUR, Ts};
    use proptest::prelude::*;

    fn played(kind: RecordKind, at: Ts, amount: i64, region: Option<&str>, product: Option<Product>) -> Record {
        Record { region: region.map(ToOwned::to_owned), product, ..record(kind, at, amount, 1) }
    }

    fn add(breakdown: &mut Breakdown, record: &Record) {
        breakdown.add(&mut Cutter::new(TimeZone::UTC), record);
    }

    fn newest(breakdown: &Breakdown, part: Part) -> Option<(u64, i64, i64, i64)> {
        let (_, _, cell) = breakdown.cells().find(|(_, p, _)| *p == part)?;
        let (_, flow) = cell.hour.windows().next()?;
        Some((flow.count, flow.stakes(), flow.payouts(), flow.gross_gaming_revenue()))
    }

    #[test]
    fn each_record_counts_once_by_region_and_once_by_product() {
        let mut breakdown = Breakdown::default();
        let nairobi = Part::Region(Region::parse("KE-30").unwrap());
        for (kind, amount, region, product) in [
            (RecordKind::Stake, 1_000, Some("KE-30"), Some(Product::Casino)),
            (RecordKind::Payout, 400, Some("KE-30"), Some(Product::Casino)),
            (RecordKind::Stake, 70, Some("Nairobi"), None),
            (RecordKind::Login, 0, None, None),
        ] {
            add(&mut breakdown, &played(kind, Ts(HOUR), amount, region, product));
        }
        let failed = Record { status: RecordStatus::Failed, ..played(RecordKind::Stake, Ts(HOUR), 5, None, None) };
        add(&mut breakdown, &failed);
        assert_eq!(newest(&breakdown, nairobi), Some((2, 1_000, 400, 600)));
        assert_eq!(newest(&breakdown, Part::Product(Product::Casino)), Some((2, 1_000, 400, 600)));
        assert_eq!(newest(&breakdown, Part::Region(Region::OTHER)), Some((2, 70, 0, 70)));
        assert_eq!(newest(&breakdown, Part::Product(Product::Other)), Some((2, 70, 0, 70)));
    }

    #[test]
    fn the_newest_two_windows_are_kept() {
        let mut recent = Recent::default();
        let hour = |n: i64| Window { start: Ts(n * HOUR), end: Ts((n + 1) * HOUR) };
        let one = Flow { count: 1, ..Flow::default() };
        for n in [5, 7, 6, 5, 7, 3, 6] {
            recent.add(hour(n), &one);
        }
        let held: Vec<(i64, u64)> = recent.windows().map(|(w, flow)| (w.start.0 / HOUR, flow.count)).collect();
        assert_eq!(held, [(7, 2), (6, 2)], "the fifth hour gave way to the sixth, and stays away");
    }

    #[test]
    fn one_region_too_many_is_another() {
        let mut breakdown = Breakdown::default();
        for n in 0..3 * REGIONS_MAX {
            let code = format!("KE-{n:03}");
            add(&mut breakdown, &played(RecordKind::Stake, Ts(HOUR), 1, Some(&code), Some(Product::Slots)));
        }
        let regions = breakdown.cells().filter(|(_, part, _)| matches!(part, Part::Region(_))).count();
        assert_eq!(regions, REGIONS_MAX + 1);
        let other = newest(&breakdown, Part::Region(Region::OTHER)).map(|(count, ..)| count);
        assert_eq!(other, Some(2 * REGIONS_MAX as u64));
    }

    proptest! {
        /// The parts add up to the whole, whatever the order.
        #[test]
        fn the_sum_of_the_parts_is_the_whole(
            play in prop::collection::vec((0usize..5, 0i64..1_000_000, 0usize..3), 1..60), rotate in 0usize..60
        ) {
            let regions = ["KE-30", "KE-28", "KE-01", "nowhere", ""];
            let products = [Some(Product::Casino), Some(Product::Lottery), None];
            let records: Vec<Record> = play
                .iter()
                .map(|(r, amount, p)| played(RecordKind::Stake, Ts(HOUR), *amount, Some(regions[*r]), products[*p]))
                .collect();
            let fill = |records: &[Record]| {
                let mut breakdown = Breakdown::default();
                records.iter().for_each(|record| add(&mut breakdown, record));
                breakdown
            };
            let breakdown = fill(&records);
            let whole: i64 = play.iter().map(|(_, amount, _)| amount).sum();
            let sum = |is: fn(&Part) -> bool| -> i64 {
                let of = breakdown.cells().filter(|(_, part, _)| is(part));
                of.flat_map(|(_, _, cell)| cell.day.windows()).map(|(_, flow)| flow.stakes()).sum()
            };
            prop_assert_eq!(sum(|part| matches!(part, Part::Region(_))), whole);
            prop_assert_eq!(sum(|part| matches!(part, Part::Product(_))), whole);
            let mut late = records;
            let places = late.len();
            late.rotate_left(rotate % places);
            prop_assert_eq!(fill(&late), breakdown);
        }
    }
}
