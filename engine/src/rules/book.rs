//! Everything that the rules of an operator share: one lookup a record gives all of them what they need.
//!
//! Nothing in it depends on the parameters of a rule, so that a new version or a shadow needs no replay. Every part has
//! a named limit; what was forgotten at it is counted ([`Counted`]).

use crate::ingest::id_digest;
use crate::rules::calendar::{Calendar, Spans};
use crate::rules::crowd::{Bet, Crowd, Event, Meet, Pair};
use crate::rules::input::{Clock, Declared, Exclusions, Facts, Input, Signal, Trigger};
use crate::rules::papers::Papers;
use crate::rules::player::{Flow, Move, Player, VISIT, limit_type};
use crate::rules::sums::{OfBet, Sums};
use crate::rules::table::{Key, Limit, Table};
use models::alert::{Severity, Window};
use models::document_records::Detail;
use models::match_key::MatchKey;
use models::money::Currency;
use models::record::{PlayChannel, Record, RecordKind, RecordStatus, is_break};
use models::ts::{DAY, HOUR, Ts};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

/// Players of an operator: at 131,072 and 24 MiB the state stays below what is kept of it (64 MiB).
pub const PLAYERS: Limit = Limit { entries: 131_072, bytes: 24 << 20 };
/// Devices.
pub const DEVICES: Limit = Limit { entries: 65_536, bytes: 6 << 20 };
/// Payment accounts that were paid out to.
pub const ACCOUNTS: Limit = Limit { entries: 65_536, bytes: 6 << 20 };
/// Events that are bet on by outcome.
pub const EVENTS: Limit = Limit { entries: 8_192, bytes: 2 << 20 };
/// Pairs that bet against each other.
pub const PAIRS: Limit = Limit { entries: 16_384, bytes: 2 << 20 };
/// Signs of harm that are remembered of one giver, staff or model: of more none is given. A model's flood takes no room from
/// staff.
pub const SIGNALS_OF_ONE_MAX: usize = 4_096;
/// Signs of harm that wait for an answer, or had one: of both, and those of staff that were under way as its limit was reached.
pub const SIGNALS_MAX: usize = 2 * SIGNALS_OF_ONE_MAX + 256;
/// How long a sign of harm is remembered.
pub const SIGNALS_KEPT: i64 = 14 * DAY;
/// How far the clock of records may lie behind the wall clock for a feed that is no archive.
pub const LIVE_BEHIND_MAX: i64 = DAY;
/// Declarations that are remembered.
pub const DECLARED_MAX: usize = 128;
/// Spans of exclusions that are remembered.
pub const EXCLUSIONS_MAX: usize = 64;
/// How long a record speaks for the device's crowd before it is told again.
const DEVICE_AGAIN: i64 = HOUR;

/// What was counted on the way, and what gave way at a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Records of play by players whom the register cannot know.
    pub unidentified: u64,
    /// Records that replace one that is not remembered: what that one added stays.
    pub replaced_unknown: u64,
    /// Limits of players of a type that nobody knows.
    pub limits_unknown: u64,
    /// Signs of harm that were one too many.
    pub signals_forgotten: u64,
    /// Declarations that were one too many.
    pub declared_forgotten: u64,
    /// Details that could not be read.
    pub unreadable: u64,
}

/// A sign of harm and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signalled {
    /// How strong.
    pub level: Severity,
    /// The first intervention after it.
    pub answered_at: Option<Ts>,
    /// How far the clock of the operator's records lay behind it when it was given, microseconds: their steady lag, by which
    /// an answer is heard of later than it is made.
    pub behind: i64,
}

impl Signalled {
    /// Until when an answer has been heard of where a clock says `at`. None: the clock says nothing of it, because the records
    /// are those of an archive.
    #[must_use]
    pub fn heard_to(&self, at: Ts, clock: Clock) -> Option<Ts> {
        match clock {
            Clock::Records => Some(at),
            Clock::Wall => (self.behind <= LIVE_BEHIND_MAX).then(|| at.plus(-self.behind)),
        }
    }
}

/// A declaration as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Declaration {
    pub at: Ts,
    pub amount_minor: i64,
}

/// The book.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Book {
    pub(super) players: Table<Player>,
    pub(super) devices: Table<Crowd>,
    pub(super) accounts: Table<Crowd>,
    events: Table<Event>,
    pub(super) pairs: Table<Pair>,
    pub(super) signals: BTreeMap<(Key, Ts), Signalled>,
    pub(super) sums: Sums,
    pub(super) papers: Papers,
    pub(super) declared: BTreeMap<(Window2, Currency, crate::rules::input::Base), Declaration>,
    pub(super) exclusions: VecDeque<(Window2, u64)>,
    /// When the first record of play was made, and whether a login or a session was ever among them.
    first_at: Option<Ts>,
    has_entries: bool,
    /// The newest day of play.
    day: Option<(Ts, Ts)>,
    counted: Counted,
}

/// Start and end of a window: the order of keys.
pub type Window2 = (Ts, Ts);

/// What was noted of an input: places in the book, and how it was before.
#[derive(Clone, Debug, Default)]
pub(super) struct Noted {
    pub player: Option<(Key, usize)>,
    pub device: Option<(Key, usize)>,
    pub account: Option<(Key, usize)>,
    pub pair: Option<usize>,
    pub entry_before: Option<Ts>,
    pub played_before: Option<Ts>,
    pub is_late: bool,
    pub undone: Option<Move>,
    pub document: Option<Noticed>,
    pub closed: Option<Window>,
    pub campaign: bool,
}

/// A document that was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// A licence.
    Licence(u64),
    /// Whether the operator itself may trade.
    Operator,
    /// An invoice, or a payment of one.
    Invoice(u64),
}

/// What of a bet's detail says what it was on.
#[derive(Deserialize)]
struct BetDetail<'a> {
    #[serde(borrow, rename = "game.id")]
    game: Option<Cow<'a, str>>,
    #[serde(rename = "bet.parts")]
    parts: Option<i64>,
    #[serde(rename = "bet.odds")]
    odds: Option<f64>,
    #[serde(borrow, default)]
    extra: BetExtra<'a>,
}

#[derive(Default, Deserialize)]
struct BetExtra<'a> {
    #[serde(borrow, default)]
    selection: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    market: Option<Cow<'a, str>>,
}

/// Does an offer say that it is part of a campaign?
#[derive(Default, Deserialize)]
struct OfferDetail {
    #[serde(default)]
    extra: OfferExtra,
}

#[derive(Default, Deserialize)]
struct OfferExtra {
    campaign: Option<serde_json::Value>,
}

/// A player's key in one currency: digests have 88 bits, the currency's three letters lie above them.
pub(crate) fn player_key(player: Key, currency: Currency) -> Key {
    player | Key::from(currency.bits()) << 88
}

fn pair_key(one: Key, other: Key) -> Key {
    one.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) ^ other
}

/// What a successful record moves.
fn flow_of(record: &Record) -> Flow {
    let amount = record.amount_minor;
    let none = Flow::default();
    match record.kind {
        RecordKind::Stake | RecordKind::TicketSale => Flow { stakes_minor: amount, ..none },
        RecordKind::Void => Flow { stakes_minor: -amount, ..none },
        RecordKind::Payout | RecordKind::CashOut | RecordKind::Redemption => Flow { payouts_minor: amount, ..none },
        RecordKind::Deposit => Flow { deposits_minor: amount, ..none },
        RecordKind::Withdrawal => Flow { withdrawals_minor: amount, ..none },
        _ => none,
    }
}

impl Default for Book {
    fn default() -> Self {
        Self {
            players: Table::new(PLAYERS),
            devices: Table::new(DEVICES),
            accounts: Table::new(ACCOUNTS),
            events: Table::new(EVENTS),
            pairs: Table::new(PAIRS),
            signals: BTreeMap::new(),
            sums: Sums::default(),
            papers: Papers::default(),
            declared: BTreeMap::new(),
            exclusions: VecDeque::new(),
            first_at: None,
            has_entries: false,
            day: None,
            counted: Counted::default(),
        }
    }
}

impl Book {
    /// Players of the operator that are remembered.
    #[must_use]
    pub fn players(&self) -> usize {
        self.players.len()
    }

    /// May the operator trade at a time, and read what it is told?
    #[must_use]
    pub fn trades(&self, at: Ts) -> bool {
        self.papers.licences.trades(at)
    }

    /// Has anything been heard of a player lately, in a currency of the operator's money or in `home`?
    #[must_use]
    pub fn knows(&self, player: MatchKey, home: Currency) -> bool {
        let mut currencies = self.sums.currencies();
        currencies.insert(home);
        currencies.into_iter().any(|currency| self.players.get(player_key(player.0, currency)).is_some())
    }

    /// Ids of a player's newest deposits and withdrawals, the newest first.
    #[must_use]
    pub fn records_of(&self, player: Key, count: usize) -> Vec<String> {
        let currencies = self.sums.currencies().into_iter();
        let known = currencies.filter_map(|currency| self.players.get(player_key(player, currency)));
        let mut moves: Vec<&Move> = known.flat_map(|player| &player.moves).collect();
        moves.sort_by_key(|one| std::cmp::Reverse((one.at, &one.id)));
        moves.truncate(count);
        moves.into_iter().map(|one| one.id.to_string()).collect()
    }

    /// What was counted.
    #[must_use]
    pub fn counted(&self) -> Counted {
        self.counted
    }

    /// Values forgotten at a limit, by table.
    #[must_use]
    pub fn evicted(&self) -> [(&'static str, u64); 6] {
        [
            ("players", self.players.evicted()),
            ("devices", self.devices.evicted()),
            ("accounts", self.accounts.evicted()),
            ("events", self.events.evicted()),
            ("pairs", self.pairs.evicted()),
            ("papers", self.papers.forgotten()),
        ]
    }

    /// Players held: by key and currency.
    #[must_use]
    pub fn players_len(&self) -> usize {
        self.players.len()
    }

    /// Bytes of the lists of all tables.
    #[must_use]
    pub fn list_bytes(&self) -> u64 {
        let crowds = self.devices.bytes() + self.accounts.bytes();
        self.players.bytes() + crowds + self.events.bytes() + self.pairs.bytes()
    }

    /// Has the operator sent no login and no session for a day or longer?
    #[must_use]
    pub fn has_no_entries(&self, at: Ts) -> bool {
        !self.has_entries && self.first_at.is_some_and(|first| at.0 - first.0 >= VISIT)
    }

    /// Takes a record of play in.
    pub(super) fn play(&mut self, record: &Record, facts: &Facts, spans: &Spans) -> Noted {
        let mut noted = Noted { closed: self.turn(record.occurred_at, spans), ..Noted::default() };
        let trigger = Trigger::of(record);
        self.first_at.get_or_insert(record.occurred_at);
        self.has_entries |= trigger == Some(Trigger::Entry);
        let flow = if trigger.is_some() { flow_of(record) } else { Flow::default() };
        if flow != Flow::default() {
            self.sums.add(record.occurred_at, record.currency, &flow);
            if let Some(product) = record.product.filter(|_| flow.stakes_minor != 0 || flow.payouts_minor != 0) {
                let id = record.bet_id.as_deref().map(|bet| id_digest(bet).into());
                let bet = OfBet { id, channel: record.channel };
                self.sums.played(spans.day.start, record.currency, product, &flow, bet);
            }
        }
        let Some(player) = record.player.map(|key| key.0) else { return noted };
        self.counted.unidentified += u64::from(!facts.is_identified);
        let place = self.players.touch(player_key(player, record.currency));
        noted.player = Some((player, place));
        let detail = self.detail(record);
        let counted = &mut self.counted;
        let at_device = record.device.filter(|_| trigger.is_some() && record.channel != Some(PlayChannel::Retail));
        let speaks = self.players.change(place, |known| {
            note_player(known, record, facts, spans, trigger, &flow, detail.as_ref(), counted, &mut noted);
            let device = at_device.map_or(0, |device| device.0);
            let is_told = known.device.0 == device && record.occurred_at.0 - known.device.1.0 < DEVICE_AGAIN;
            if device != 0 && !is_told {
                known.device = (device, record.occurred_at);
            }
            device != 0 && !is_told
        });
        if let Some(was) = &noted.undone {
            self.sums.add(was.at, record.currency, &was.back());
        }
        if let Some(device) = at_device.filter(|_| speaks) {
            let place = self.devices.touch(device.0);
            self.devices.change(place, |crowd| crowd.join(player, record.occurred_at, &record.record_id));
            noted.device = Some((device.0, place));
        }
        match (trigger, record.account) {
            (Some(Trigger::Withdrawal), Some(account)) => {
                let place = self.accounts.touch(account.0);
                self.accounts.change(place, |crowd| crowd.join(player, record.occurred_at, &record.record_id));
                noted.account = Some((account.0, place));
            }
            (Some(Trigger::Bet), _) => noted.pair = self.bet(record, player),
            (Some(Trigger::Intervention), _) => self.answer(player, record.occurred_at),
            (Some(Trigger::Offer), _) => noted.campaign = self.is_marketing(record),
            _ => {}
        }
        noted
    }

    /// The day that is over with this record, where it is the first of a new one.
    fn turn(&mut self, at: Ts, spans: &Spans) -> Option<Window> {
        let today = (spans.day.start, spans.day.end);
        match self.day {
            Some((_, end)) if at < end => None,
            before => {
                self.day = Some(today);
                before.map(|(start, end)| Window { start, end })
            }
        }
    }

    /// The detail of a limit that changed.
    fn detail(&mut self, record: &Record) -> Option<Detail> {
        if record.kind != RecordKind::LimitChange || record.status != RecordStatus::Successful {
            return None;
        }
        let detail = Detail::of(record).ok();
        self.counted.unreadable += u64::from(detail.is_none());
        detail
    }

    /// Is it marketing, or a bonus that belongs to a campaign?
    fn is_marketing(&mut self, record: &Record) -> bool {
        if record.kind == RecordKind::Marketing {
            return true;
        }
        if !record.detail.contains("\"campaign\"") {
            return false;
        }
        let detail: Result<OfferDetail, _> = serde_json::from_str(&record.detail);
        self.counted.unreadable += u64::from(detail.is_err());
        detail.is_ok_and(|detail| detail.extra.campaign.is_some_and(|campaign| !campaign.is_null()))
    }

    /// A bet on a named outcome of a named game; gives the place of the pair that it makes.
    fn bet(&mut self, record: &Record, player: Key) -> Option<usize> {
        if !record.detail.contains("\"selection\"") {
            return None;
        }
        let detail: BetDetail<'_> = match serde_json::from_str(&record.detail) {
            Ok(detail) => detail,
            Err(_) => {
                self.counted.unreadable += 1;
                return None;
            }
        };
        let (game, selection) = (detail.game?, detail.extra.selection?);
        if detail.parts.is_some_and(|parts| parts > 1) {
            return None;
        }
        let event = id_digest(&format!("{game}\0{}", detail.extra.market.as_deref().unwrap_or_default()));
        // thousandths of what an operator wrote with two digits; beyond a million nobody covers anything
        let odds_milli =
            detail.odds.filter(|odds| (1.0..1e6).contains(odds)).map_or(0, |odds| (odds * 1e3).round() as i64);
        let new = Bet {
            at: record.occurred_at,
            player,
            selection: id_digest(&selection),
            stake_minor: record.amount_minor,
            odds_milli,
            id: record.record_id.as_str().into(),
        };
        let place = self.events.touch(u128::from(event));
        let met = self.events.change(place, |known| {
            let met = known.opposite(&new).map(|other| {
                let is_alone = known.is_between(player, other.player);
                (other.player, Meet::of(event, other, &new, is_alone))
            });
            known.add(new);
            met
        });
        let (other, meet) = met?;
        let players = (player.min(other), player.max(other));
        let place = self.pairs.touch(pair_key(players.0, players.1));
        self.pairs.change(place, |pair| pair.meet(players, meet));
        Some(place)
    }

    /// An intervention answers what was signalled before it.
    fn answer(&mut self, player: Key, at: Ts) {
        for (_, signal) in self.signals.range_mut((player, Ts(i64::MIN))..=(player, at)) {
            signal.answered_at = Some(signal.answered_at.map_or(at, |was| was.min(at)));
        }
    }

    /// Takes a sign of harm in, and how far the records lay behind it.
    pub(super) fn signal(&mut self, signal: &Signal, behind: i64) {
        let known = Signalled { level: signal.level, answered_at: None, behind };
        let known = self.signals.entry((signal.player.0, signal.at)).or_insert(known);
        known.level = known.level.max(signal.level);
        if self.signals.len() > SIGNALS_MAX {
            let oldest = self.signals.keys().min_by_key(|(player, at)| (*at, *player)).copied();
            oldest.map(|key| self.signals.remove(&key));
            self.counted.signals_forgotten += 1;
        }
    }

    /// Takes a document in.
    pub(super) fn document(&mut self, record: &Record) -> Option<Noticed> {
        let Ok(detail) = Detail::of(record) else {
            self.counted.unreadable += 1;
            return None;
        };
        if let Some(status) = detail.licence_status {
            return Some(Noticed::Licence(self.papers.licences.document(record, &status)));
        }
        if let Some(invoice) = detail.invoice {
            return Some(Noticed::Invoice(self.papers.invoice(record, &invoice)));
        }
        detail.payment.and_then(|payment| self.papers.payment(record, &payment)).map(Noticed::Invoice)
    }

    /// Takes a declaration in: the newest of a period counts.
    pub(super) fn declare(&mut self, declared: &Declared) {
        let key = ((declared.period.start, declared.period.end), declared.currency, declared.base);
        let new = Declaration { at: declared.at, amount_minor: declared.amount_minor };
        let known = self.declared.entry(key).or_insert(new);
        if new.at >= known.at {
            *known = new;
        }
        while self.declared.len() > DECLARED_MAX {
            // a period of long ago that was corrected now is not the oldest
            let oldest = self.declared.iter().min_by_key(|(key, known)| (known.at, **key)).map(|(key, _)| *key);
            oldest.map(|key| self.declared.remove(&key));
            self.counted.declared_forgotten += 1;
        }
    }

    /// Takes a span of exclusions in; a later figure of the same span replaces it.
    pub(super) fn excluded(&mut self, exclusions: &Exclusions) {
        let window = (exclusions.window.start, exclusions.window.end);
        let place = self.exclusions.partition_point(|(known, _)| *known < window);
        match self.exclusions.get_mut(place) {
            Some((known, count)) if *known == window => *count = exclusions.count,
            _ => self.exclusions.insert(place, (window, exclusions.count)),
        }
        if self.exclusions.len() > EXCLUSIONS_MAX {
            self.exclusions.pop_front();
        }
    }

    /// Forgets what is too old by the clock.
    pub(super) fn tick(&mut self, at: Ts) {
        let oldest = at.plus(-SIGNALS_KEPT);
        self.signals.retain(|(_, since), _| *since >= oldest);
    }
}

#[allow(clippy::too_many_arguments)]
fn note_player(
    known: &mut Player,
    record: &Record,
    facts: &Facts,
    spans: &Spans,
    trigger: Option<Trigger>,
    flow: &Flow,
    detail: Option<&Detail>,
    counted: &mut Counted,
    noted: &mut Noted,
) {
    let at = record.occurred_at;
    let there = |at: Ts| (at.0 > 0).then_some(at);
    (noted.entry_before, noted.played_before) = (there(known.entry_at), there(known.played_at));
    known.age = facts.age.or(known.age);
    if let Some(replaced) = &record.replaces {
        noted.undone = known.take_back(replaced);
        counted.replaced_unknown += u64::from(noted.undone.is_none() && flow != &Flow::default());
    }
    match trigger {
        Some(Trigger::Entry) => known.entry_at = known.entry_at.max(at),
        Some(Trigger::Bet | Trigger::Deposit) => known.played(at),
        Some(Trigger::Other) => {
            // a break from play limits no amount
            let is_amount = |detail: &&Detail| !detail.limit_type.as_deref().is_some_and(is_break);
            if let Some(detail) = detail.filter(is_amount) {
                match detail.limit_type.as_deref().and_then(limit_type) {
                    Some(of) => known.limit(of, detail.limit_new_minor, at, spans),
                    None => counted.limits_unknown += 1,
                }
            }
        }
        _ => {}
    }
    if flow == &Flow::default() {
        return;
    }
    known.flow(spans, at, flow);
    match trigger {
        Some(Trigger::Bet) => noted.is_late = known.stake(at, record.amount_minor),
        Some(Trigger::Deposit | Trigger::Withdrawal) => known.moved(Move {
            at,
            is_deposit: trigger == Some(Trigger::Deposit),
            amount_minor: record.amount_minor,
            staked_minor: 0,
            account: record.account.map_or(0, |account| account.0),
            id: record.record_id.as_str().into(),
        }),
        _ => {}
    }
}

/// The spans that an input lies in.
pub(super) fn spans_of(calendar: &mut Calendar, input: &Input<'_>) -> (Ts, Spans) {
    let at = match input {
        Input::Play { record, .. } | Input::Document { record } => record.occurred_at,
        Input::Declared(declared) => declared.at,
        Input::Signal { signal, .. } => signal.at,
        Input::Licence { at, .. } | Input::OperatorState { at, .. } => *at,
        Input::Exclusions(exclusions) => exclusions.at,
        Input::Series(scored) => scored.at,
        Input::RecordScored { scored, .. } => scored.at,
        // within the day that it is about
        Input::PlayerScored { as_of, .. } => as_of.plus(-1),
        Input::Tick { at, .. } => *at,
    };
    (at, calendar.spans(at))
}
