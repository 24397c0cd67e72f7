//! Windows of an operator's play in one currency: minute, hour, day, week.
//!
//! A window is a sum over its records and nothing else, so late data corrects it and order does not matter.
//! Hours, days and weeks (from Monday) are cut in the jurisdiction's time zone.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use models::alert::{Granularity, Metric, Window};
use models::match_key::MatchKey;
use models::record::{Record, RecordKind, RecordStatus};
use models::ts::{DAY, HOUR, MINUTE, SECOND, Ts};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Windows kept of each granularity: three hours, two weeks, 400 days, four years.
pub const RETENTION: [usize; 4] = [180, 14 * 24, 400, 210];
/// Records kept as evidence in a window.
pub const HEAVIEST_MAX: usize = 10;
/// Registers by which a window's players are estimated, as a power of two, of each granularity: to about 3.2 % in a
/// minute, of which there are many, and to 1.6 % in what is kept for longer.
const HLL_BITS: [u32; 4] = [10, 12, 12, 12];

/// Sums of a window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Successful records of every kind.
    pub count: u64,
    /// Failed and cancelled records.
    pub failed: u64,
    /// Records that say they replace another. What the replaced one added stays: a sum does not know its parts.
    pub replacing: u64,
    // wide enough for any number of records, so that the order cannot matter; cut to 63 bits where they are read
    stakes: i128,
    payouts: i128,
    /// Players.
    pub players: Players,
    /// The records of the largest amounts, largest first: evidence.
    pub heaviest: Vec<(i64, String)>,
}

impl Sums {
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

    /// Is a sum larger than what is shown of it?
    pub fn is_saturated(&self) -> bool {
        [self.stakes, self.payouts, self.stakes - self.payouts].iter().any(|sum| i64::try_from(*sum).is_err())
    }

    /// Gross gaming revenue in parts per million of stakes; 0 without stakes.
    pub fn hold_ppm(&self) -> i64 {
        if self.stakes <= 0 {
            return 0;
        }
        saturated((self.stakes - self.payouts).saturating_mul(1_000_000) / self.stakes)
    }

    /// The value of a metric.
    pub fn metric(&self, metric: Metric) -> i64 {
        match metric {
            Metric::Count => self.count.try_into().unwrap_or(i64::MAX),
            Metric::Stakes => self.stakes(),
            Metric::Payouts => self.payouts(),
            Metric::GrossGamingRevenue => self.gross_gaming_revenue(),
            Metric::UniquePlayers => self.players.count().try_into().unwrap_or(i64::MAX),
            Metric::Hold => self.hold_ppm(),
            // counted where contacts and clocks are
            Metric::FirstContacts | Metric::Silence | Metric::Integrity | Metric::Finding => 0,
        }
    }

    fn add(&mut self, record: &Record, granularity: Granularity) {
        self.add_money(record);
        if record.status != RecordStatus::Successful {
            return;
        }
        if let Some(player) = record.player {
            self.players.add(player, HLL_BITS[granularity as usize]);
        }
        self.weigh(record);
    }

    /// By amount, then by id: which ones are kept does not depend on their order.
    fn weigh(&mut self, record: &Record) {
        let heavier =
            |(amount, id): &(i64, String)| (Reverse(*amount), id) < (Reverse(record.amount_minor), &record.record_id);
        let place = self.heaviest.partition_point(heavier);
        if place < HEAVIEST_MAX && record.kind.needs_money() {
            self.heaviest.truncate(HEAVIEST_MAX - 1);
            self.heaviest.insert(place, (record.amount_minor, record.record_id.clone()));
        }
    }

    /// Without the players, who over all time would grow without end and answer nothing.
    fn add_money(&mut self, record: &Record) {
        if record.status != RecordStatus::Successful {
            self.failed += 1;
            return;
        }
        self.count += 1;
        self.replacing += u64::from(record.replaces.is_some());
        let (stakes, payouts) = flow(record);
        self.stakes += stakes;
        self.payouts += payouts;
    }
}

/// What a successful record adds to stakes and to payouts, minor units.
pub(crate) fn flow(record: &Record) -> (i128, i128) {
    let amount = i128::from(record.amount_minor);
    match record.kind {
        RecordKind::Stake | RecordKind::TicketSale => (amount, 0),
        RecordKind::Void => (-amount, 0),
        RecordKind::Payout | RecordKind::CashOut | RecordKind::Redemption => (0, amount),
        _ => (0, 0),
    }
}

pub(crate) fn saturated(sum: i128) -> i64 {
    sum.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// Distinct players: exact up to an eighth of the registers (a set of more would be larger than they are), a HyperLogLog
/// (Flajolet et al. 2007) beyond. Depends on the set only, not on its order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Players {
    /// Their keys' first 64 bits.
    Exact(BTreeSet<u64>),
    /// Registers.
    Estimated(Vec<u8>),
}

impl Default for Players {
    fn default() -> Self {
        Self::Exact(BTreeSet::new())
    }
}

impl Players {
    fn add(&mut self, player: MatchKey, hll_bits: u32) {
        // the key is a keyed digest: its bits are as good as a hash
        let bits = player.tag64();
        match self {
            Self::Exact(set) => {
                set.insert(bits);
                if set.len() > 1 << (hll_bits - 3) {
                    let mut registers = vec![0; 1 << hll_bits];
                    set.iter().for_each(|bits| observe(&mut registers, *bits));
                    *self = Self::Estimated(registers);
                }
            }
            Self::Estimated(registers) => observe(registers, bits),
        }
    }

    /// How many.
    pub fn count(&self) -> u64 {
        match self {
            Self::Exact(set) => set.len() as u64,
            Self::Estimated(registers) => {
                let m = registers.len() as f64;
                let sum: f64 = registers.iter().map(|r| 1.0 / (1u64 << r) as f64).sum();
                let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
                let zeros = registers.iter().filter(|r| **r == 0).count() as f64;
                let estimate = if raw <= 2.5 * m && zeros > 0.0 { m * (m / zeros).ln() } else { raw };
                estimate.round() as u64
            }
        }
    }

    /// Is the count an estimate?
    pub fn is_estimate(&self) -> bool {
        matches!(self, Self::Estimated(_))
    }
}

fn observe(registers: &mut [u8], bits: u64) {
    let hll_bits = registers.len().trailing_zeros();
    let index = (bits >> (64 - hll_bits)) as usize;
    let rank = ((bits << hll_bits) | 1 << (hll_bits - 1)).leading_zeros() as u8 + 1;
    registers[index] = registers[index].max(rank);
}

/// Cuts time into windows.
#[derive(Clone, Debug)]
pub struct Cutter {
    zone: TimeZone,
    /// The last quarter of an hour asked for and its offset from UTC, microseconds.
    offset: (i64, i64),
    /// The last local day asked for and its window.
    day: (i64, Window),
    /// The last Monday asked for and its week.
    week: (i64, Window),
}

impl Cutter {
    /// In a time zone.
    pub fn new(zone: TimeZone) -> Self {
        let none = (i64::MIN, Window { start: Ts(0), end: Ts(0) });
        Self { zone, offset: (i64::MIN, 0), day: none, week: none }
    }

    fn offset(&mut self, at: Ts) -> i64 {
        // zones change their offset at whole quarters of an hour
        let quarter = at.0.div_euclid(15 * MINUTE);
        if self.offset.0 != quarter {
            let instant = Timestamp::from_microsecond(at.0).unwrap_or_default();
            self.offset = (quarter, i64::from(self.zone.to_offset(instant).seconds()) * SECOND);
        }
        self.offset.1
    }

    /// The hour of the local week in which an instant lies: 0 is Monday's first.
    pub fn hour_of_week(&mut self, at: Ts) -> usize {
        let local = at.0 + self.offset(at);
        // 1970-01-01 was a Thursday
        let weekday = (local.div_euclid(DAY) + 3).rem_euclid(7);
        (weekday * 24 + local.rem_euclid(DAY) / HOUR) as usize
    }

    /// What the wall clock says where a window begins, as if it were UTC; a day's is midnight, even where the clocks skip it.
    pub fn wall_clock(&mut self, granularity: Granularity, start: Ts) -> Ts {
        let local = start.0 + self.offset(start);
        Ts(if granularity == Granularity::Day { local - local.rem_euclid(DAY) } else { local })
    }

    /// The first instant of a local day, given in days since 1970-01-01: not always 24 hours after the one before.
    fn midnight(&self, day: i64) -> Ts {
        let date = Date::constant(1970, 1, 1).checked_add(Span::new().days(day.clamp(-1, 2_900_000)));
        let instant = date.and_then(|date| self.zone.to_timestamp(date.to_datetime(Time::midnight())));
        instant.map_or(Ts(day.saturating_mul(DAY)), |instant| Ts(instant.as_microsecond()))
    }

    /// The window of a granularity in which an instant lies.
    pub fn window(&mut self, granularity: Granularity, at: Ts) -> Window {
        let offset = self.offset(at);
        let local = at.0 + offset;
        let today = local.div_euclid(DAY);
        // 1970-01-01 was a Thursday
        let monday = today - (today + 3).rem_euclid(7);
        let span = |length: i64| {
            let start = local - local.rem_euclid(length) - offset;
            Window { start: Ts(start), end: Ts(start + length) }
        };
        match granularity {
            Granularity::Minute => span(MINUTE),
            Granularity::Hour => span(HOUR),
            Granularity::Day => {
                if self.day.0 != today {
                    self.day = (today, Window { start: self.midnight(today), end: self.midnight(today + 1) });
                }
                self.day.1
            }
            Granularity::Week => {
                if self.week.0 != monday {
                    self.week = (monday, Window { start: self.midnight(monday), end: self.midnight(monday + 7) });
                }
                self.week.1
            }
        }
    }
}

/// Windows of one currency.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Book {
    windows: [BTreeMap<Ts, (Ts, Sums)>; 4],
    /// End of the newest window forgotten of each granularity: what lies before it is never opened again, because half
    /// a window would look like a fall.
    forgotten: [Option<Ts>; 4],
    /// Everything ever.
    pub total: Sums,
    /// Records that came for a forgotten window; only `total` has them there.
    pub behind_retention: u64,
}

impl Book {
    /// Adds a record; gives the window that it changed of each granularity.
    pub fn add(&mut self, cutter: &mut Cutter, record: &Record) -> [Option<(Granularity, Window)>; 4] {
        self.total.add_money(record);
        let changed = [0, 1, 2, 3].map(|i| {
            let granularity = Granularity::ALL[i];
            let window = cutter.window(granularity, record.occurred_at);
            if self.forgotten[i].is_some_and(|end| window.start < end) {
                return None;
            }
            let (_, sums) = self.windows[i].entry(window.start).or_insert_with(|| (window.end, Sums::default()));
            sums.add(record, granularity);
            Some((granularity, window))
        });
        self.behind_retention += u64::from(changed.contains(&None));
        changed
    }

    /// A window's sums; none where nothing happened in it.
    pub fn get(&self, granularity: Granularity, start: Ts) -> Option<&Sums> {
        self.windows[granularity as usize].get(&start).map(|(_, sums)| sums)
    }

    /// Makes an empty window known as empty.
    pub fn touch(&mut self, granularity: Granularity, window: Window) {
        if self.forgotten[granularity as usize].is_none_or(|end| window.start >= end) {
            self.windows[granularity as usize].entry(window.start).or_insert_with(|| (window.end, Sums::default()));
        }
    }

    /// Windows before `start` with their own starts, newest first.
    pub fn before(&self, granularity: Granularity, start: Ts) -> impl Iterator<Item = (Ts, &Sums)> {
        self.windows[granularity as usize].range(..start).rev().map(|(start, (_, sums))| (*start, sums))
    }

    /// The newest windows, newest first.
    pub fn newest(&self, granularity: Granularity) -> impl Iterator<Item = (Window, &Sums)> {
        self.windows[granularity as usize]
            .iter()
            .rev()
            .map(|(start, (end, sums))| (Window { start: *start, end: *end }, sums))
    }

    /// Windows that end in `(after, until]`, oldest first.
    pub fn ending_within(&self, granularity: Granularity, after: Ts, until: Ts) -> Vec<Window> {
        let newest = self.newest(granularity).map(|(window, _)| window);
        let mut windows: Vec<Window> = newest.take_while(|w| w.end > after).filter(|w| w.end <= until).collect();
        windows.reverse();
        windows
    }

    /// Forgets the oldest beyond the retention.
    pub fn forget(&mut self) {
        for ((windows, forgotten), keep) in self.windows.iter_mut().zip(&mut self.forgotten).zip(RETENTION) {
            while windows.len() > keep {
                let Some((_, (end, _))) = windows.pop_first() else { break };
                *forgotten = (*forgotten).max(Some(end));
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A record for tests.
    pub fn record(kind: RecordKind, at: Ts, amount_minor: i64, player: u128) -> Record {
        Record {
            record_id: format!("{}-{player}-{}", at.0, kind.as_str()),
            kind,
            occurred_at: at,
            player: (player > 0).then(|| MatchKey(u128::from(crate::ingest::id_digest(&player.to_string())) << 24)),
            is_identified: player > 0,
            amount_minor,
            ..Record::for_tests()
        }
    }

    #[test]
    fn windows_are_cut_where_people_live() {
        let mut nairobi = Cutter::new(TimeZone::get("Africa/Nairobi").unwrap());
        let at = Ts::parse("2026-11-22T22:30:40Z").unwrap(); // Monday 01:30 in Nairobi
        let table = [
            (Granularity::Minute, "2026-11-22T22:30:00.000Z", "2026-11-22T22:31:00.000Z"),
            (Granularity::Hour, "2026-11-22T22:00:00.000Z", "2026-11-22T23:00:00.000Z"),
            (Granularity::Day, "2026-11-22T21:00:00.000Z", "2026-11-23T21:00:00.000Z"),
            (Granularity::Week, "2026-11-22T21:00:00.000Z", "2026-11-29T21:00:00.000Z"),
        ];
        for (granularity, start, end) in table {
            let window = nairobi.window(granularity, at);
            assert_eq!((window.start.to_string().as_str(), window.end.to_string().as_str()), (start, end));
        }
    }

    #[test]
    fn each_kind_counts_where_it_belongs() {
        let mut sums = Sums::default();
        for (kind, amount) in [
            (RecordKind::Stake, 1000),
            (RecordKind::TicketSale, 500),
            (RecordKind::Void, 200),
            (RecordKind::Payout, 300),
            (RecordKind::CashOut, 100),
            (RecordKind::Deposit, 9999),
        ] {
            sums.add(&record(kind, Ts(0), amount, 1), Granularity::Hour);
        }
        sums.add(&Record { status: RecordStatus::Failed, ..record(RecordKind::Stake, Ts(0), 7, 2) }, Granularity::Hour);
        assert_eq!((sums.stakes(), sums.payouts(), sums.gross_gaming_revenue()), (1300, 400, 900));
        assert_eq!((sums.count, sums.failed, sums.players.count(), sums.hold_ppm()), (6, 1, 1, 692_307));
    }

    #[test]
    fn many_players_are_estimated_well() {
        // five standard errors; of many in an hour it is three
        for (granularity, count, off_max) in [
            (Granularity::Minute, 128, 0),
            (Granularity::Minute, 500, 80),
            (Granularity::Minute, 50_000, 8_000),
            (Granularity::Hour, 512, 0),
            (Granularity::Hour, 1_000, 80),
            (Granularity::Hour, 50_000, 2_499),
        ] {
            let mut players = Players::default();
            for n in 1..=u128::from(count) {
                let player = record(RecordKind::Stake, Ts(0), 1, n).player.unwrap();
                players.add(player, HLL_BITS[granularity as usize]);
            }
            assert_eq!(players.is_estimate(), off_max > 0, "{granularity:?} of {count}");
            let off = players.count().abs_diff(count);
            assert!(off <= off_max, "{granularity:?} of {count} is off by {off}");
        }
    }

    #[test]
    fn a_day_on_which_the_clocks_change_is_one_day() {
        let mut berlin = Cutter::new(TimeZone::get("Europe/Berlin").unwrap());
        let table = [
            (Granularity::Day, "2026-03-28T23:30:00Z", "2026-03-28T23:00:00.000Z", "2026-03-29T22:00:00.000Z"),
            (Granularity::Day, "2026-03-29T21:30:00Z", "2026-03-28T23:00:00.000Z", "2026-03-29T22:00:00.000Z"),
            (Granularity::Day, "2026-10-25T22:30:00Z", "2026-10-24T22:00:00.000Z", "2026-10-25T23:00:00.000Z"),
            (Granularity::Week, "2026-03-29T21:30:00Z", "2026-03-22T23:00:00.000Z", "2026-03-29T22:00:00.000Z"),
            (Granularity::Week, "2026-03-23T00:30:00Z", "2026-03-22T23:00:00.000Z", "2026-03-29T22:00:00.000Z"),
            // the hour that is there twice is two windows
            (Granularity::Hour, "2026-10-25T00:30:00Z", "2026-10-25T00:00:00.000Z", "2026-10-25T01:00:00.000Z"),
            (Granularity::Hour, "2026-10-25T01:30:00Z", "2026-10-25T01:00:00.000Z", "2026-10-25T02:00:00.000Z"),
        ];
        for (granularity, at, start, end) in table {
            let window = berlin.window(granularity, Ts::parse(at).unwrap());
            assert_eq!((window.start.to_string().as_str(), window.end.to_string().as_str()), (start, end), "{at}");
        }
    }

    #[test]
    fn the_wall_clock_where_a_window_begins() {
        use Granularity::{Day, Hour};
        let table = [
            ("Africa/Nairobi", Hour, "2026-03-29T01:00:00Z", "2026-03-29T04:00:00Z"),
            ("Europe/Amsterdam", Hour, "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"),
            ("Europe/Amsterdam", Hour, "2026-03-29T01:00:00Z", "2026-03-29T03:00:00Z"),
            ("Europe/Amsterdam", Day, "2026-03-28T23:00:00Z", "2026-03-29T00:00:00Z"),
            ("Europe/Amsterdam", Day, "2026-03-29T22:00:00Z", "2026-03-30T00:00:00Z"),
            // the day began at one
            ("America/Sao_Paulo", Hour, "2018-11-04T03:00:00Z", "2018-11-04T01:00:00Z"),
            ("America/Sao_Paulo", Day, "2018-11-04T03:00:00Z", "2018-11-04T00:00:00Z"),
        ];
        for (zone, granularity, start, wanted) in table {
            let mut cutter = Cutter::new(TimeZone::get(zone).unwrap());
            let start = Ts::parse(start).unwrap();
            assert_eq!(cutter.window(granularity, start).start, start, "{zone}: a window begins there");
            assert_eq!(cutter.wall_clock(granularity, start), Ts::parse(wanted).unwrap(), "{zone} {start}");
        }
    }

    #[test]
    fn sums_beyond_63_bits_are_cut_and_say_so() {
        let mut sums = Sums::default();
        let largest = |kind| record(kind, Ts(0), i64::MAX, 1);
        let mut add = |record: &Record| {
            sums.add(record, Granularity::Week);
            sums.clone()
        };
        let sums = add(&largest(RecordKind::Stake));
        assert_eq!((sums.stakes(), sums.is_saturated()), (i64::MAX, false));
        let sums = add(&largest(RecordKind::Stake));
        assert_eq!((sums.stakes(), sums.gross_gaming_revenue(), sums.is_saturated()), (i64::MAX, i64::MAX, true));
        add(&largest(RecordKind::Void));
        let sums = add(&largest(RecordKind::Void));
        assert_eq!((sums.stakes(), sums.is_saturated()), (0, false));
        add(&record(RecordKind::Adjustment, Ts(0), i64::MIN, 1));
    }

    #[test]
    fn a_forgotten_window_is_not_opened_again() {
        let (mut book, mut cutter) = (Book::default(), Cutter::new(TimeZone::UTC));
        for minute in 0..200 {
            book.add(&mut cutter, &record(RecordKind::Stake, Ts(minute * MINUTE), 1, 1));
        }
        book.forget();
        assert_eq!(book.newest(Granularity::Minute).count(), RETENTION[0]);
        let changed = book.add(&mut cutter, &record(RecordKind::Stake, Ts(19 * MINUTE), 1, 1));
        let changed: Vec<Granularity> = changed.into_iter().flatten().map(|(granularity, _)| granularity).collect();
        assert_eq!(changed, [Granularity::Hour, Granularity::Day, Granularity::Week]);
        assert_eq!(book.newest(Granularity::Minute).count(), RETENTION[0]);
        assert_eq!((book.total.stakes(), book.behind_retention), (201, 1));
    }

    #[derive(Debug, Clone, Default, PartialEq)]
    struct Plain {
        count: u64,
        failed: u64,
        stakes: i64,
        payouts: i64,
        players: BTreeSet<u128>,
    }

    /// The second implementation: every record is asked for its window again, by arithmetic of its own.
    fn recomputed(play: &[(i64, i64, u128, usize, bool)], zone: i64) -> BTreeMap<(usize, i64), Plain> {
        let mut windows: BTreeMap<(usize, i64), Plain> = BTreeMap::new();
        for (at, amount, player, kind, failed) in play {
            // 1969-12-29 was a Monday
            for (i, (length, shift)) in [(MINUTE, 0), (HOUR, 0), (DAY, 0), (7 * DAY, 3 * DAY)].into_iter().enumerate() {
                let start = (at + zone + shift) / length * length - shift - zone;
                let plain = windows.entry((i, start)).or_default();
                if *failed {
                    plain.failed += 1;
                    continue;
                }
                plain.count += 1;
                plain.players.extend((*player > 0).then_some(*player));
                match RecordKind::ALL[*kind] {
                    RecordKind::Stake | RecordKind::TicketSale => plain.stakes += amount,
                    RecordKind::Void => plain.stakes -= amount,
                    RecordKind::Payout | RecordKind::CashOut | RecordKind::Redemption => plain.payouts += amount,
                    _ => {}
                }
            }
        }
        windows
    }

    proptest! {
        #[test]
        fn windows_equal_a_recomputation_in_whatever_order_records_come(
            play in prop::collection::vec(
                (10 * DAY..25 * DAY, 0i64..1000, 0u128..50, 0usize..RecordKind::ALL.len(), prop::bool::weighted(0.1)),
                1..120,
            ),
            rotate in 0usize..120,
            east in any::<bool>(),
        ) {
            let zone = if east { "Africa/Nairobi" } else { "UTC" };
            let fill = |play: &[(i64, i64, u128, usize, bool)]| {
                let (mut book, mut cutter) = (Book::default(), Cutter::new(TimeZone::get(zone).unwrap()));
                for (at, amount, player, kind, failed) in play {
                    let status = if *failed { RecordStatus::Failed } else { RecordStatus::Successful };
                    let record = record(RecordKind::ALL[*kind], Ts(*at), *amount, *player);
                    book.add(&mut cutter, &Record { status, ..record });
                }
                book
            };
            let book = fill(&play);
            let wanted = recomputed(&play, if east { 3 * HOUR } else { 0 });
            prop_assert_eq!(book.windows.iter().map(BTreeMap::len).sum::<usize>(), wanted.len());
            for ((i, start), plain) in wanted {
                let sums = book.get(Granularity::ALL[i], Ts(start)).expect("the window is there");
                prop_assert_eq!((sums.count, sums.failed), (plain.count, plain.failed));
                prop_assert_eq!((sums.stakes(), sums.payouts()), (plain.stakes, plain.payouts));
                prop_assert_eq!(sums.players.count(), plain.players.len() as u64);
            }
            let mut late = play.clone();
            late.rotate_left(rotate % play.len());
            prop_assert_eq!(&fill(&late), &book);
            late.reverse();
            prop_assert_eq!(&fill(&late), &book);
        }
    }
}
