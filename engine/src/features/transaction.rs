//! The vector of a record that moves money: the record against what its player, account, device, shop and pair did before.
//!
//! Most of it lies in the rules' book already, as it is just after the record was taken in; what models need beyond that
//! is an [`Activity`] a player and a count a shop, kept here. "Before" means without the record itself. A player is one
//! in one currency, as in the book.

use super::details::Details;
use super::recent::{BUCKETS, Recent, Usual};
use super::{Feature, Places, flag, last_live, share};
use crate::ingest::id_digest;
use crate::rules::book::player_key;
use crate::rules::list::Typed;
use crate::rules::player::{Move, Player, Span};
use crate::rules::ruleset::RuleSet;
use crate::rules::run::Heard;
use crate::rules::structured_deposits;
use crate::rules::table::{Key, Limit, Table, Weigh};
use models::alert::Window;
use models::record::{PlayChannel, Record, RecordKind, RecordStatus};
use models::score::SoldAt;
use models::ts::{DAY, HOUR, MINUTE, Ts};
use serde::{Deserialize, Serialize};

/// Version of the table, for people: what binds is the digest of its names.
pub const VERSION: u32 = 2;
/// Places of the vector.
pub const WIDTH: usize = FEATURES.len();
/// Players that are remembered.
pub const PLAYERS: Limit = Limit { entries: 131_072, bytes: 16 << 20 };
/// Terminals and shops that are remembered.
pub const SHOPS: Limit = Limit { entries: 16_384, bytes: 1 << 20 };
/// Devices, and accounts, of a player that are remembered.
pub const KNOWN_MAX: usize = 4;
/// How far back a device's or an account's crowd is counted.
const CROWD_SPAN: i64 = 30 * DAY;
/// Below so many records nobody has a habit of hours.
const HABIT_MIN: u32 = 10;
/// Spans of the two counts of records.
const SHORT: i64 = 5 * MINUTE;
const LONG: i64 = 2 * HOUR;

const fn feature(name: &'static str, unit: &'static str, meaning: &'static str, source: &'static str) -> Feature {
    Feature { name, unit, meaning, source }
}

const FATF: &str = "FATF, Vulnerabilities of Casinos and Gaming Sector (2009)";
const CARDS: &str = "Bahnsen et al. 2016, feature engineering for card fraud";
const FACTS: &str = "laundering typologies";
const OWN: &str = "own";

/// The places in their order.
pub const FEATURES: &[Feature] = &[
    feature("is_stake", "0/1", "a stake or a ticket", OWN),
    feature("is_deposit", "0/1", "a deposit", OWN),
    feature("is_withdrawal", "0/1", "a withdrawal", OWN),
    feature("is_payout", "0/1", "a payout, a cash-out or a redemption", OWN),
    feature("is_retail", "0/1", "in a shop; missing where nobody says how", OWN),
    feature("amount_minor", "minor units", "the amount", CARDS),
    feature(
        "amount_to_mean",
        "ratio",
        "amount over the player's mean of this kind before; missing at the first",
        CARDS,
    ),
    feature(
        "amount_off",
        "deviations",
        "amount less that mean, over the mean absolute difference; missing below three",
        CARDS,
    ),
    feature("amount_to_max", "ratio", "amount over the largest of this kind before; missing at the first", CARDS),
    feature("amount_to_threshold", "ratio", "amount over the reporting threshold; missing where none is set", FATF),
    feature(
        "near_threshold_1d",
        "count",
        "deposits of 80 % to 100 % of the threshold within a day, this one too",
        FATF,
    ),
    feature(
        "records_10m",
        "count",
        "records that move money in the newest two spans of five minutes, this one too",
        CARDS,
    ),
    feature("records_1h", "count", "in the newest twelve spans of five minutes", CARDS),
    feature("records_1d", "count", "in the newest twelve spans of two hours", CARDS),
    feature("deposits_1d", "count", "deposits within a day, at most 24", FACTS),
    feature("withdrawals_1d", "count", "withdrawals within a day, at most 24", FACTS),
    feature("failed_deposits_1d", "count", "failed deposits in the newest twelve spans of two hours", CARDS),
    feature("deposited_today_minor", "minor units", "deposits of the local day", FACTS),
    feature("net_month_minor", "minor units", "deposits less withdrawals of the local month", FACTS),
    feature(
        "withdrawn_share_today",
        "share",
        "withdrawals over deposits of the local day; missing without a deposit",
        FACTS,
    ),
    feature(
        "played_since_deposit",
        "ratio",
        "staked since the newest deposit before, over it; missing without one",
        FACTS,
    ),
    feature(
        "played_through",
        "ratio",
        "staked since the oldest deposit remembered, over all deposits remembered",
        FACTS,
    ),
    feature("minutes_since_deposit", "minutes", "since the newest deposit before; missing without one", FACTS),
    feature("minutes_since_withdrawal", "minutes", "since the newest withdrawal before; missing without one", FACTS),
    feature("minutes_since_bonus", "minutes", "since the newest bonus; missing without one", FACTS),
    feature("minutes_since_record", "minutes", "since the player's newest record before; missing at the first", CARDS),
    feature("minutes_since_entry", "minutes", "since the newest login or session before; missing without one", CARDS),
    feature(
        "minutes_since_check",
        "minutes",
        "since the operator asked the register about them; missing where it did not",
        OWN,
    ),
    feature("days_known", "days", "since the player's first record", CARDS),
    feature("days_slept", "days", "since the player's newest play before; missing at the first", FACTS),
    feature("hour", "hours", "hour of the local day", CARDS),
    feature(
        "hour_unusual",
        "share",
        "records before that lie more than an hour of day from this one; missing below ten",
        CARDS,
    ),
    feature(
        "is_new_device",
        "0/1",
        "not among the last four devices of the player; missing where none is named",
        CARDS,
    ),
    feature("devices", "count", "devices of the player that are remembered", CARDS),
    feature("device_players_30d", "count", "players on the device within 30 days; missing where none is named", FACTS),
    feature(
        "is_new_account",
        "0/1",
        "payment account not among the last four of the player; missing where none is named",
        FACTS,
    ),
    feature("account_days", "days", "since the player's first use of the account; missing where none is named", FACTS),
    feature(
        "account_players_30d",
        "count",
        "players paid out to the account within 30 days; missing where none is named",
        FACTS,
    ),
    feature(
        "is_payout_elsewhere",
        "0/1",
        "a withdrawal to an account that never paid in; missing where not all are known",
        FACTS,
    ),
    feature(
        "shop_records_1h",
        "count",
        "records of the terminal, else of the shop, in an hour; missing where none is named",
        OWN,
    ),
    feature("pair_meets", "count", "bets against the same other player that are remembered; 0 for none", FACTS),
    feature("balance_after_minor", "minor units", "balance afterwards; missing where it is not sent", OWN),
    feature(
        "balance_share",
        "share",
        "of the balance before that is staked or withdrawn; missing where it is not sent",
        OWN,
    ),
    feature(
        "balance_unexplained",
        "ratio",
        "how far the balance is from the last one and this amount, over the amount",
        OWN,
    ),
    feature("is_product_switch", "0/1", "another product than the last; missing where either is not named", CARDS),
    feature("products", "count", "products played", CARDS),
];

/// The names in their order.
#[must_use]
pub fn names() -> [&'static str; WIDTH] {
    std::array::from_fn(|place| FEATURES[place].name)
}

/// What no record says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Params {
    /// From which amount on a deposit is reported, minor units of the jurisdiction's currency: that of the rule
    /// `structured_deposits` in force.
    pub threshold_minor: Option<i64>,
}

impl Params {
    /// As the rules say whose last live versions these are.
    #[must_use]
    pub fn of(set: &RuleSet) -> Self {
        let name = structured_deposits::ABOUT.name;
        let params = last_live(set, name).and_then(|params| Typed::read(name, params).ok().flatten());
        let Some(Typed::StructuredDeposits(params)) = params else { return Self::default() };
        Self { threshold_minor: params.thresholds_minor.first().copied() }
    }
}

/// Which way the money goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Stake,
    Deposit,
    Withdrawal,
    Payout,
}

fn way(record: &Record) -> Option<Way> {
    use RecordKind as K;
    if record.status != RecordStatus::Successful {
        return None;
    }
    Some(match record.kind {
        K::Stake | K::TicketSale => Way::Stake,
        K::Deposit => Way::Deposit,
        K::Withdrawal => Way::Withdrawal,
        K::Payout | K::CashOut | K::Redemption => Way::Payout,
        _ => return None,
    })
}

impl Way {
    /// What it does to the balance.
    fn sign(self) -> i64 {
        if matches!(self, Self::Deposit | Self::Payout) { 1 } else { -1 }
    }
}

/// What is kept of a player beyond the book.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Activity {
    first_at: Ts,
    last_at: Ts,
    bonus_at: Ts,
    /// Stakes, deposits, withdrawals, payouts.
    usual: [Usual; 4],
    short: Recent,
    long: Recent,
    failed: Recent,
    /// Records by hour of the local day.
    hours: [u16; 24],
    /// Device and account digests with their first use, the newest last.
    devices: Vec<(Key, Ts)>,
    accounts: Vec<(Key, Ts)>,
    balance: Option<i64>,
    product: Option<i16>,
    products: u16,
}

impl Weigh for Activity {
    fn weigh(&self) -> usize {
        size_of::<(Key, Ts)>() * (self.devices.len() + self.accounts.len())
    }
}

/// Records of a terminal or a shop.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shop {
    recent: Recent,
}

impl Weigh for Shop {
    fn weigh(&self) -> usize {
        0
    }
}

/// Makes the vectors of an operator's records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extractor {
    params: Params,
    players: Table<Activity>,
    shops: Table<Shop>,
}

impl Default for Extractor {
    fn default() -> Self {
        Self::new(Params::default())
    }
}

impl Extractor {
    /// Nothing heard yet.
    #[must_use]
    pub fn new(params: Params) -> Self {
        Self { params, players: Table::new(PLAYERS), shops: Table::new(SHOPS) }
    }

    /// Other parameters from now on.
    pub fn set_params(&mut self, params: Params) {
        self.params = params;
    }

    /// Players held, and how many were forgotten at the limit.
    #[must_use]
    pub fn players(&self) -> (usize, u64) {
        (self.players.len(), self.players.evicted())
    }

    /// Takes in what the rules have heard. True: `out` is the vector of the record; a record that moves no money, or
    /// of nobody at no named terminal or shop, has none.
    pub fn hear(&mut self, heard: &Heard<'_>, out: &mut [f32; WIDTH]) -> bool {
        self.hear_with(heard, &heard.record.map(Details::of).unwrap_or_default(), Some(out))
    }

    /// The same of a record whose details are read already; where nobody wants the vector, it is not made.
    pub(super) fn hear_with(
        &mut self,
        heard: &Heard<'_>,
        details: &Details<'_>,
        out: Option<&mut [f32; WIDTH]>,
    ) -> bool {
        let Some(record) = heard.record else { return false };
        let shop_key = shop_key(details);
        let shop = shop_key.map_or(f64::NAN, |key| self.shop(key, record));
        let nobody = Player::default();
        // a ticket is bought by nobody that anybody knows: where it was bought is what has a history
        let (key, player) = match (heard.player, shop_key) {
            (Some((key, player)), _) => (key, player),
            (None, Some(key)) if record.player.is_none() => (key, &nobody),
            _ => return false,
        };
        let place = self.players.touch(player_key(key, record.currency));
        let way = way(record);
        if let (Some(way), Some(out)) = (way, out) {
            let seen = Seen { heard, record, player, way, known: self.players.at(place), shop };
            seen.write(&self.params, out);
        }
        self.players.change(place, |known| known.note(heard, record, way));
        way.is_some()
    }

    /// Records of the terminal, else the shop, in an hour, this one too.
    fn shop(&mut self, key: Key, record: &Record) -> f64 {
        let place = self.shops.touch(key);
        self.shops.change(place, |shop| {
            shop.recent.add(record.occurred_at, SHORT);
            f64::from(shop.recent.count(record.occurred_at, SHORT, BUCKETS))
        })
    }
}

/// Where a record was made: its terminal, else its shop.
#[must_use]
pub fn sold_at(record: &Record) -> Option<SoldAt> {
    let details = Details::of(record);
    let terminal = details.terminal.as_deref().map(|terminal| SoldAt::Terminal(id_digest(terminal)));
    terminal.or_else(|| details.outlet.as_deref().map(|outlet| SoldAt::Shop(id_digest(outlet))))
}

/// The terminal, else the shop.
fn shop_key(details: &Details<'_>) -> Option<Key> {
    let named = match (&details.terminal, &details.outlet) {
        (Some(terminal), _) => format!("terminal {terminal}"),
        (None, Some(outlet)) => format!("outlet {outlet}"),
        (None, None) => return None,
    };
    Some(id_digest(&named).into())
}

fn remember(list: &mut Vec<(Key, Ts)>, key: Key, at: Ts) {
    if let Some(place) = list.iter().position(|(known, _)| *known == key) {
        let known = list.remove(place);
        list.push(known);
        return;
    }
    if list.len() >= KNOWN_MAX {
        list.remove(0);
    }
    list.push((key, at));
}

fn local_hour(day: Window, at: Ts) -> usize {
    (((at.0 - day.start.0) / HOUR).clamp(0, 23)) as usize
}

impl Activity {
    fn note(&mut self, heard: &Heard<'_>, record: &Record, way: Option<Way>) {
        let at = record.occurred_at;
        if self.first_at.0 == 0 || at < self.first_at {
            self.first_at = at;
        }
        self.last_at = self.last_at.max(at);
        if let Some(device) = record.device {
            remember(&mut self.devices, device.0, at);
        }
        if record.kind == RecordKind::Deposit && record.status == RecordStatus::Failed {
            self.failed.add(at, LONG);
        }
        if record.kind == RecordKind::Bonus && record.status == RecordStatus::Successful {
            self.bonus_at = self.bonus_at.max(at);
        }
        if let Some(balance) = record.balance_after_minor {
            self.balance = Some(balance);
        }
        let Some(way) = way else { return };
        self.usual[way as usize].push(record.amount_minor as f64);
        self.short.add(at, SHORT);
        self.long.add(at, LONG);
        let hour = local_hour(heard.spans.day, at);
        if self.hours[hour] == u16::MAX {
            self.hours.iter_mut().for_each(|count| *count /= 2);
        }
        self.hours[hour] += 1;
        if let Some(account) = record.account {
            remember(&mut self.accounts, account.0, at);
        }
        if let Some(product) = record.product {
            self.product = Some(product.code());
            self.products |= 1 << product.code().clamp(0, 15);
        }
    }
}

/// A record with everything that is known of it.
struct Seen<'a> {
    heard: &'a Heard<'a>,
    record: &'a Record,
    player: &'a Player,
    way: Way,
    /// Before the record.
    known: &'a Activity,
    shop: f64,
}

impl Seen<'_> {
    fn write(&self, params: &Params, out: &mut [f32; WIDTH]) {
        let mut places = Places::new(FEATURES, out);
        self.write_amount(params, &mut places);
        self.write_speed(&mut places);
        self.write_money(&mut places);
        self.write_times(&mut places);
        self.write_places(&mut places);
        self.write_balance(&mut places);
        debug_assert!(places.is_full());
    }

    fn at(&self) -> Ts {
        self.record.occurred_at
    }

    /// Since an instant; missing where there was none. Records may come late: never negative.
    fn minutes_since(&self, then: Option<Ts>) -> f64 {
        let minutes = |then: Ts| (self.at().0 - then.0).max(0) as f64 / MINUTE as f64;
        then.filter(|then| then.0 > 0).map_or(f64::NAN, minutes)
    }

    fn days_since(&self, then: Option<Ts>) -> f64 {
        self.minutes_since(then) / (DAY / MINUTE) as f64
    }

    fn moves(&self, is_deposit: bool) -> impl Iterator<Item = &Move> {
        let day = Window { start: self.at().plus(1 - DAY), end: self.at().plus(1) };
        self.player.moves_within(day, is_deposit)
    }

    /// The newest move of a kind before this record.
    fn newest(&self, is_deposit: bool) -> Option<&Move> {
        let is_it = |m: &&Move| m.is_deposit == is_deposit && m.at <= self.at() && *m.id != *self.record.record_id;
        self.player.moves.iter().rev().find(is_it)
    }

    fn write_amount(&self, params: &Params, places: &mut Places<'_>) {
        let amount = self.record.amount_minor as f64;
        let usual = &self.known.usual[self.way as usize];
        for (name, way) in [
            ("is_stake", Way::Stake),
            ("is_deposit", Way::Deposit),
            ("is_withdrawal", Way::Withdrawal),
            ("is_payout", Way::Payout),
        ] {
            places.put(name, flag(Some(self.way == way)));
        }
        places.put("is_retail", flag(self.record.channel.map(|channel| channel == PlayChannel::Retail)));
        places.put("amount_minor", amount);
        places.put("amount_to_mean", share(amount, usual.mean));
        let off = if usual.count < 3 { f64::NAN } else { (amount - usual.mean) / usual.deviation.max(1.0) };
        places.put("amount_off", off);
        places.put("amount_to_max", share(amount, usual.max));
        let threshold = params.threshold_minor.filter(|minor| *minor > 0);
        places.put("amount_to_threshold", threshold.map_or(f64::NAN, |minor| amount / minor as f64));
        let is_near = |minor: i64, m: &Move| m.amount_minor < minor && m.amount_minor >= minor / 10 * 8;
        let near = |minor: i64| self.moves(true).filter(|m| is_near(minor, m)).count() as f64;
        places.put("near_threshold_1d", threshold.map_or(f64::NAN, near));
    }

    fn write_speed(&self, places: &mut Places<'_>) {
        let (at, known) = (self.at(), self.known);
        let with_it = |recent: &Recent, length, spans| f64::from(recent.count(at, length, spans) + 1);
        places.put("records_10m", with_it(&known.short, SHORT, 2));
        places.put("records_1h", with_it(&known.short, SHORT, BUCKETS));
        places.put("records_1d", with_it(&known.long, LONG, BUCKETS));
        places.put("deposits_1d", self.moves(true).count() as f64);
        places.put("withdrawals_1d", self.moves(false).count() as f64);
        places.put("failed_deposits_1d", f64::from(known.failed.count(at, LONG, BUCKETS)));
    }

    fn write_money(&self, places: &mut Places<'_>) {
        let of = |span: Span, start: Ts| self.player.period(span, start).copied().unwrap_or_default();
        let today = of(Span::Day, self.heard.spans.day.start);
        let month = of(Span::Month, self.heard.spans.month.start);
        places.put("deposited_today_minor", today.deposits_minor as f64);
        places.put("net_month_minor", month.deposits_minor as f64 - month.withdrawals_minor as f64);
        places.put("withdrawn_share_today", share(today.withdrawals_minor as f64, today.deposits_minor as f64));
        let staked_since = |m: &Move| self.player.staked_minor as f64 - m.staked_minor as f64;
        let newest = self.newest(true);
        let since = newest.map_or(f64::NAN, |m| share(staked_since(m), m.amount_minor as f64));
        places.put("played_since_deposit", since);
        let deposits = || self.player.moves.iter().filter(|m| m.is_deposit);
        let paid_in = deposits().map(|m| m.amount_minor as f64).sum::<f64>();
        places.put("played_through", deposits().next().map_or(f64::NAN, |m| share(staked_since(m), paid_in)));
    }

    fn write_times(&self, places: &mut Places<'_>) {
        let (heard, known) = (self.heard, self.known);
        places.put("minutes_since_deposit", self.minutes_since(self.newest(true).map(|m| m.at)));
        places.put("minutes_since_withdrawal", self.minutes_since(self.newest(false).map(|m| m.at)));
        places.put("minutes_since_bonus", self.minutes_since(Some(known.bonus_at)));
        places.put("minutes_since_record", self.minutes_since(Some(known.last_at)));
        places.put("minutes_since_entry", self.minutes_since(heard.entry_before));
        places.put("minutes_since_check", self.minutes_since(heard.facts.checked_at));
        let first = if known.first_at.0 == 0 { self.at() } else { known.first_at };
        places.put("days_known", self.days_since(Some(first)));
        places.put("days_slept", self.days_since(heard.played_before));
        let hour = local_hour(heard.spans.day, self.at());
        places.put("hour", hour as f64);
        let all: u32 = known.hours.iter().map(|count| u32::from(*count)).sum();
        let near: u32 = [hour + 23, hour, hour + 1].iter().map(|h| u32::from(known.hours[h % 24])).sum();
        let unusual = if all < HABIT_MIN { f64::NAN } else { f64::from(all - near) / f64::from(all) };
        places.put("hour_unusual", unusual);
    }

    fn write_places(&self, places: &mut Places<'_>) {
        let (at, known, book) = (self.at(), self.known, self.heard.book);
        let is_new = |list: &[(Key, Ts)], key: Key| !list.iter().any(|(known, _)| *known == key);
        let from = at.plus(-CROWD_SPAN);
        let device = self.record.device.map(|device| device.0);
        places.put("is_new_device", flag(device.map(|device| is_new(&known.devices, device))));
        places.put("devices", known.devices.len() as f64);
        let crowd = device.and_then(|device| book.device(device)).map(|crowd| crowd.within(from, at).count() as f64);
        places.put("device_players_30d", crowd.unwrap_or(f64::NAN));
        let account = self.record.account.map(|account| account.0);
        places.put("is_new_account", flag(account.map(|account| is_new(&known.accounts, account))));
        let since = |account: Key| known.accounts.iter().find(|(known, _)| *known == account).map_or(at, |(_, at)| *at);
        places.put("account_days", self.days_since(account.map(since)));
        let paid_out = |account: Key| book.account(account).map_or(0.0, |crowd| crowd.within(from, at).count() as f64);
        places.put("account_players_30d", account.map_or(f64::NAN, paid_out));
        let is_known = self.way == Way::Withdrawal && !self.player.paid_in_unknown && !self.player.paid_in.is_empty();
        let elsewhere = account.filter(|_| is_known).map(|account| !self.player.paid_in.contains(&account));
        places.put("is_payout_elsewhere", flag(elsewhere));
        places.put("shop_records_1h", self.shop);
        places.put("pair_meets", self.heard.pair.map_or(0.0, |pair| pair.meets.len() as f64));
    }

    fn write_balance(&self, places: &mut Places<'_>) {
        let (record, known) = (self.record, self.known);
        let amount = record.amount_minor as f64;
        let after = record.balance_after_minor.map(|minor| minor as f64);
        places.put("balance_after_minor", after.unwrap_or(f64::NAN));
        let taken = after.filter(|_| self.way.sign() < 0).map_or(f64::NAN, |after| share(amount, after + amount));
        places.put("balance_share", taken);
        let moved = amount * self.way.sign() as f64;
        let unexplained = after.zip(known.balance).map(|(after, before)| (after - before as f64 - moved).abs());
        places.put("balance_unexplained", unexplained.map_or(f64::NAN, |minor| share(minor, amount)));
        let switch = record.product.zip(known.product).map(|(now, before)| now.code() != before);
        places.put("is_product_switch", flag(switch));
        let now = record.product.map_or(0, |product| 1u16 << product.code().clamp(0, 15));
        places.put("products", f64::from((known.products | now).count_ones()));
    }
}
