//! Windows of an operator's play in one currency: minute, hour, day, week.
//!
//! A window is a sum over its records and nothing else, so late data corrects it and order does not matter.
//! Hours, days and weeks (from Monday) are cut in the jurisdiction's time zone.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use models::alert::{Granularity, Metric, Window};
use models::match_key::MatchKey;
use models::record::{Record, RecordKind, RecordStatus};
use models::ts::{DAY, HOUR, MINUTE, SECOND, Ts};
use std::collections::{BTreeMap, BTreeSet};

/// Windows kept of each granularity: three hours, two weeks, 400 days, four years.
pub const RETENTION: [usize; 4] = [180, 14 * 24, 400, 210];
/// Players counted exactly in a window; beyond, estimated to about 1.6 %.
pub const PLAYERS_EXACT_MAX: usize = 1_024;
/// Records kept as evidence in a window.
pub const HEAVIEST_MAX: usize = 10;
const HLL_BITS: u32 = 12;

/// Sums of a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    /// Successful records of every kind.
    pub count: u64,
    /// Failed and cancelled records.
    pub failed: u64,
    /// Stakes and ticket sales, less voided ones, minor units.
    pub stakes: i64,
    /// Payouts, cash-outs and redemptions, minor units.
    pub payouts: i64,
    /// Players.
    pub players: Players,
    /// The records of the largest amounts, largest first: evidence.
    pub heaviest: Vec<(i64, String)>,
}

impl Sums {
    /// Stakes − payouts, minor units (FACTS.md, "Money and tax").
    pub fn gross_gaming_revenue(&self) -> i64 {
        self.stakes.saturating_sub(self.payouts)
    }

    /// Gross gaming revenue in parts per million of stakes; 0 without stakes.
    pub fn hold_ppm(&self) -> i64 {
        if self.stakes <= 0 {
            return 0;
        }
        let ppm = i128::from(self.gross_gaming_revenue()) * 1_000_000 / i128::from(self.stakes);
        ppm.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    /// The value of a metric.
    pub fn metric(&self, metric: Metric) -> i64 {
        match metric {
            Metric::Count => self.count.try_into().unwrap_or(i64::MAX),
            Metric::Stakes => self.stakes,
            Metric::Payouts => self.payouts,
            Metric::GrossGamingRevenue => self.gross_gaming_revenue(),
            Metric::UniquePlayers => self.players.count().try_into().unwrap_or(i64::MAX),
            Metric::Hold => self.hold_ppm(),
        }
    }

    fn add(&mut self, record: &Record) {
        self.add_money(record);
        if record.status != RecordStatus::Successful {
            return;
        }
        if let Some(player) = record.player {
            self.players.add(player);
        }
        self.weigh(record);
    }

    /// By amount, then by id: which ones are kept does not depend on their order.
    fn weigh(&mut self, record: &Record) {
        let heavier =
            |(amount, id): &(i64, String)| (-*amount, id.as_str()) < (-record.amount_minor, &record.record_id);
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
        match record.kind {
            RecordKind::Stake | RecordKind::TicketSale => self.stakes = self.stakes.saturating_add(record.amount_minor),
            RecordKind::Void => self.stakes = self.stakes.saturating_sub(record.amount_minor),
            RecordKind::Payout | RecordKind::CashOut | RecordKind::Redemption => {
                self.payouts = self.payouts.saturating_add(record.amount_minor);
            }
            _ => {}
        }
    }
}

/// Distinct players: exact while few, a HyperLogLog (Flajolet et al. 2007) beyond. Depends on the set only, not on
/// its order.
#[derive(Clone, Debug, PartialEq)]
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
    fn add(&mut self, player: MatchKey) {
        // the key is a keyed digest: its bits are as good as a hash
        let bits = player.tag64();
        match self {
            Self::Exact(set) => {
                set.insert(bits);
                if set.len() > PLAYERS_EXACT_MAX {
                    let mut registers = vec![0; 1 << HLL_BITS];
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
    let index = (bits >> (64 - HLL_BITS)) as usize;
    let rank = ((bits << HLL_BITS) | 1 << (HLL_BITS - 1)).leading_zeros() as u8 + 1;
    registers[index] = registers[index].max(rank);
}

/// Cuts time into windows.
#[derive(Clone, Debug)]
pub struct Cutter {
    zone: TimeZone,
    /// The last hour asked for and its offset from UTC, microseconds.
    cached: (i64, i64),
}

impl Cutter {
    /// In a time zone.
    pub fn new(zone: TimeZone) -> Self {
        Self { zone, cached: (i64::MIN, 0) }
    }

    fn offset(&mut self, at: Ts) -> i64 {
        // zones change their offset at whole quarters of an hour
        let quarter = at.0.div_euclid(15 * MINUTE);
        if self.cached.0 != quarter {
            let instant = Timestamp::from_microsecond(at.0).unwrap_or_default();
            self.cached = (quarter, i64::from(self.zone.to_offset(instant).seconds()) * SECOND);
        }
        self.cached.1
    }

    /// The window of a granularity in which an instant lies.
    pub fn window(&mut self, granularity: Granularity, at: Ts) -> Window {
        let offset = self.offset(at);
        let local = at.0 + offset;
        let (start, length) = match granularity {
            Granularity::Minute => (local - local.rem_euclid(MINUTE), MINUTE),
            Granularity::Hour => (local - local.rem_euclid(HOUR), HOUR),
            Granularity::Day => (local - local.rem_euclid(DAY), DAY),
            Granularity::Week => {
                // 1970-01-01 was a Thursday
                let day = local.div_euclid(DAY);
                ((day - (day + 3).rem_euclid(7)) * DAY, 7 * DAY)
            }
        };
        Window { start: Ts(start - offset), end: Ts(start - offset + length) }
    }
}

/// Windows of one currency.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Book {
    windows: [BTreeMap<Ts, (Ts, Sums)>; 4],
    /// Everything ever.
    pub total: Sums,
}

impl Book {
    /// Adds a record; gives the windows that it changed.
    pub fn add(&mut self, cutter: &mut Cutter, record: &Record) -> [(Granularity, Window); 4] {
        self.total.add_money(record);
        [0, 1, 2, 3].map(|i| {
            let granularity = Granularity::ALL[i];
            let window = cutter.window(granularity, record.occurred_at);
            self.windows[i].entry(window.start).or_insert_with(|| (window.end, Sums::default())).1.add(record);
            (granularity, window)
        })
    }

    /// A window's sums; none where nothing happened in it.
    pub fn get(&self, granularity: Granularity, start: Ts) -> Option<&Sums> {
        self.windows[granularity as usize].get(&start).map(|(_, sums)| sums)
    }

    /// Makes an empty window known as empty.
    pub fn touch(&mut self, granularity: Granularity, window: Window) {
        self.windows[granularity as usize].entry(window.start).or_insert_with(|| (window.end, Sums::default()));
    }

    /// Windows before `start`, newest first.
    pub fn before(&self, granularity: Granularity, start: Ts) -> impl Iterator<Item = &Sums> {
        self.windows[granularity as usize].range(..start).rev().map(|(_, (_, sums))| sums)
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
        for (windows, keep) in self.windows.iter_mut().zip(RETENTION) {
            while windows.len() > keep {
                windows.pop_first();
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use models::money::Currency;
    use proptest::prelude::*;

    /// A record for tests.
    pub fn record(kind: RecordKind, at: Ts, amount_minor: i64, player: u128) -> Record {
        Record {
            record_id: format!("{}-{player}-{}", at.0, kind.as_str()),
            replaces: None,
            kind,
            occurred_at: at,
            status: RecordStatus::Successful,
            player: (player > 0).then(|| MatchKey(u128::from(crate::ingest::id_digest(&player.to_string())) << 24)),
            amount_minor,
            currency: Currency::KES,
            balance_after_minor: None,
            product: None,
            channel: None,
            bet_id: None,
            session_id: None,
            region: None,
            device: None,
            account: None,
            detail: String::new(),
            id_digest: 0,
            content_digest: 0,
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
            sums.add(&record(kind, Ts(0), amount, 1));
        }
        sums.add(&Record { status: RecordStatus::Failed, ..record(RecordKind::Stake, Ts(0), 7, 2) });
        assert_eq!((sums.stakes, sums.payouts, sums.gross_gaming_revenue()), (1300, 400, 900));
        assert_eq!((sums.count, sums.failed, sums.players.count(), sums.hold_ppm()), (6, 1, 1, 692_307));
    }

    #[test]
    fn many_players_are_estimated_well() {
        let mut players = Players::default();
        for n in 1..=50_000u128 {
            players.add(record(RecordKind::Stake, Ts(0), 1, n).player.unwrap());
        }
        assert!(players.is_estimate());
        let error = players.count().abs_diff(50_000);
        assert!(error < 2_500, "off by {error}");
    }

    proptest! {
        #[test]
        fn order_does_not_matter(mut play in prop::collection::vec((0i64..3 * DAY, 0i64..1000, 0u128..50, any::<bool>()), 1..80)) {
            let fill = |play: &[(i64, i64, u128, bool)]| {
                let (mut book, mut cutter) = (Book::default(), Cutter::new(TimeZone::UTC));
                for (at, amount, player, stake) in play {
                    let kind = if *stake { RecordKind::Stake } else { RecordKind::Payout };
                    book.add(&mut cutter, &record(kind, Ts(*at), *amount, *player));
                }
                book
            };
            let forward = fill(&play);
            let naive: i64 = play.iter().filter(|p| p.3 && p.0 < DAY).map(|p| p.1).sum();
            prop_assert_eq!(forward.get(Granularity::Day, Ts(0)).map_or(0, |s| s.stakes), naive);
            play.reverse();
            prop_assert_eq!(fill(&play), forward);
        }
    }
}
