//! How somebody plays, kept as it happens: sums of the open day, of the last twelve months, and of everything.
//!
//! The day closes with the player's first record of another day; what comes late for a closed day joins its month, and
//! is no active day more. Who asks as of an instant is told of the open day, too, where it has ended by then
//! ([`Behaviour::at`]). Every list has a limit.

use super::details::Details;
use super::recent::{Median, Usual};
use super::sessions::Sessions;
use crate::ingest::id_digest;
use crate::rules::calendar::Spans;
use crate::rules::table::Weigh;
use models::ids::OperatorNo;
use models::record::{PlayChannel, Product, Record, RecordKind, RecordStatus, is_break};
use models::ts::{DAY, HOUR, SECOND, Ts};
use serde::{Deserialize, Serialize};

/// Months that are remembered.
pub const MONTHS_MAX: usize = 12;
/// Payment methods, accounts, operators, types of games of a player that are remembered.
pub const NAMED_MAX: usize = 8;
/// Stakes on either side of the largest win.
pub const AROUND_WIN: usize = 10;
/// A pause in play that counts as a break.
pub const BREAK_MIN: i64 = 30 * DAY;
/// A next bet, or a deposit, later than this is no reaction any more.
const REACTION_MAX: i64 = DAY;

/// Money and counts of a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Sums {
    pub days: u32,
    pub stakes_minor: i64,
    pub payouts_minor: i64,
    pub deposits_minor: i64,
    pub withdrawals_minor: i64,
    pub bets: u32,
    /// What the player did, whatever came of it.
    pub interactions: u32,
    /// Payouts that are more than the stake they stand behind.
    pub big_wins: u32,
    pub deposits: u32,
    pub withdrawals: u32,
    pub withdrawals_cancelled: u32,
    pub deposits_failed: u32,
    pub limit_rises: u32,
    pub limit_cuts: u32,
    /// Breaks from play that the player set.
    pub time_outs: u32,
    /// Records that say a balance.
    pub balances: u32,
    /// The balance fell below the low mark.
    pub balance_drops: u32,
    /// Deposits that were made below it.
    pub low_deposits: u32,
    pub sessions: u32,
    /// Bets of which it is said whether they are live, and those that are.
    pub live_known: u32,
    pub live: u32,
    /// Bets of which the parts are said, and those of one.
    pub parts_known: u32,
    pub single: u32,
    pub payouts: u32,
    pub cash_outs: u32,
    /// Squares of stakes, for their variance.
    pub stake_squares: f64,
    /// Hours of active days between the first and the last record of play.
    pub hours_on: f64,
}

impl Sums {
    /// With another.
    pub fn add(&mut self, other: &Self) {
        macro_rules! sum {
            ($($field:ident),+) => { $(self.$field = self.$field.saturating_add(other.$field);)+ };
        }
        sum!(days, stakes_minor, payouts_minor, deposits_minor, withdrawals_minor, bets, big_wins, deposits);
        sum!(withdrawals, withdrawals_cancelled, deposits_failed, limit_rises, limit_cuts, balance_drops);
        sum!(low_deposits, sessions, live_known, live, parts_known, single, payouts, cash_outs);
        sum!(interactions, time_outs, balances);
        self.stake_squares += other.stake_squares;
        self.hours_on += other.hours_on;
    }
}

/// A month, or the open day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Part {
    pub start: Ts,
    pub sums: Sums,
}

/// The open day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Today {
    day: Part,
    /// First instant behind it.
    end: Ts,
    month: Ts,
    /// First and last record of play.
    first: Ts,
    last: Ts,
}

/// Stakes around the largest win.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AroundWin {
    win_minor: i64,
    /// Mean stake before it; 0 where there were too few.
    before: f64,
    after: f64,
    after_count: u32,
    /// The newest stakes.
    newest: Vec<i64>,
}

impl AroundWin {
    fn stake(&mut self, minor: i64) {
        if self.win_minor > 0 && self.after_count < AROUND_WIN as u32 {
            self.after_count += 1;
            self.after += (minor as f64 - self.after) / f64::from(self.after_count);
        }
        self.newest.push(minor);
        if self.newest.len() > AROUND_WIN {
            self.newest.remove(0);
        }
    }

    fn won(&mut self, minor: i64) {
        if minor <= self.win_minor {
            return;
        }
        let count = self.newest.len();
        let mean = self.newest.iter().map(|stake| *stake as f64).sum::<f64>() / count.max(1) as f64;
        let before = if count >= AROUND_WIN / 2 { mean } else { 0.0 };
        let newest = std::mem::take(&mut self.newest);
        *self = Self { win_minor: minor, before, after: 0.0, after_count: 0, newest };
    }

    /// Mean stake after over mean stake before; missing with fewer than five on a side.
    #[must_use]
    pub fn escalation(&self) -> f64 {
        let is_known = self.before > 0.0 && self.after_count >= AROUND_WIN as u32 / 2;
        if is_known { self.after / self.before } else { f64::NAN }
    }
}

/// What somebody has at an operator, as far as records say.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Balance {
    minor: i64,
    /// When a record said it: those from before are in it, however late they come.
    said_at: Ts,
    /// Time of the newest record that is in it.
    at: Ts,
}

/// The player, in one currency.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Behaviour {
    pub first_at: Ts,
    pub last_at: Ts,
    today: Today,
    /// Oldest first.
    pub months: Vec<Part>,
    /// Records of play by hour of the local day.
    pub hours: [u32; 24],
    /// Bets by product.
    pub products: [u32; 8],
    /// Bets by type of game; of the rarer ones, where there are more than have room, at most so many.
    pub game_types: Vec<(u64, u32)>,
    /// Bets of which the type is said.
    pub typed: u32,
    pub methods: Vec<u64>,
    pub accounts: Vec<u128>,
    pub operators: Vec<OperatorNo>,
    /// Who sent the newest record: balances and open stakes are compared within an operator.
    newest_operator: Option<OperatorNo>,
    pub breaks: u32,
    /// Days in a row, now and at most.
    streak: u32,
    pub streak_max: u32,
    played_at: Ts,
    sessions: Sessions,
    /// A stake of a game that settles at once, with nothing paid for it yet.
    open_stake: Option<Ts>,
    /// Seconds to the next bet after it.
    pub lost_to_bet: Median,
    balance: Option<Balance>,
    low_since: Option<Ts>,
    pub low_to_deposit: Median,
    stake_minor: i64,
    pub around_win: AroundWin,
    pub deposit: Usual,
    pub odds: Usual,
}

impl Weigh for Behaviour {
    fn weigh(&self) -> usize {
        size_of::<Part>() * self.months.len()
            + size_of::<i64>() * self.around_win.newest.len()
            + size_of::<(u64, u32)>() * self.game_types.len()
            + size_of::<u64>() * self.methods.len()
            + size_of::<u128>() * self.accounts.len()
            + size_of::<OperatorNo>() * self.operators.len()
    }
}

fn join<T: PartialEq>(list: &mut Vec<T>, new: T) {
    if list.len() < NAMED_MAX && !list.contains(&new) {
        list.push(new);
    }
}

/// Is it something that the player does, rather than what comes of it or what the operator does?
fn is_own_act(kind: RecordKind) -> bool {
    use RecordKind as K;
    matches!(
        kind,
        K::Stake | K::TicketSale | K::CashOut | K::Redemption | K::Deposit | K::Withdrawal | K::Login | K::LimitChange
    )
}

/// Does a game of this product say at once whether it is won?
fn settles_at_once(product: Option<Product>) -> bool {
    matches!(product, Some(Product::Casino | Product::Slots | Product::Crash | Product::Virtual))
}

impl Behaviour {
    /// A record of theirs. `low_balance_minor`: below it a balance is as good as gone; none where nobody says from where on.
    pub fn hear(
        &mut self,
        operator: OperatorNo,
        (record, details): (&Record, &Details<'_>),
        spans: &Spans,
        low_balance_minor: Option<i64>,
    ) {
        let at = record.occurred_at;
        if self.first_at.0 == 0 || at < self.first_at {
            self.first_at = at;
        }
        self.last_at = self.last_at.max(at);
        join(&mut self.operators, operator);
        if self.newest_operator.replace(operator) != Some(operator) {
            (self.balance, self.low_since, self.open_stake) = (None, None, None);
        }
        self.turn(spans);
        let mut sums = Sums::default();
        self.count(record, details, low_balance_minor, &mut sums);
        if spans.day.start == self.today.day.start {
            self.today.day.sums.add(&sums);
        } else {
            self.add(spans.month.start, &sums);
        }
    }

    /// Closes the open day where the record is of a later one.
    fn turn(&mut self, spans: &Spans) {
        if spans.day.start <= self.today.day.start {
            return;
        }
        self.close();
        self.today = Today {
            day: Part { start: spans.day.start, sums: Sums::default() },
            end: spans.day.end,
            month: spans.month.start,
            ..Today::default()
        };
    }

    fn close(&mut self) {
        let Today { day, month, first, last, .. } = self.today;
        if day.start.0 == 0 {
            return;
        }
        let mut sums = day.sums;
        if first.0 > 0 {
            sums.days = 1;
            sums.hours_on = (last.0 - first.0) as f64 / HOUR as f64;
        }
        self.add(month, &sums);
    }

    /// Has anything been heard of them? One who was forgotten at a limit is as one of whom nobody ever heard.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.first_at.0 != 0
    }

    /// As of an instant: with the open day among the months where it has ended by then, without it where it goes on.
    #[must_use]
    pub fn at(&self, as_of: Ts) -> Self {
        let mut known = self.clone();
        if known.today.end <= as_of {
            known.close();
            known.today = Today::default();
        }
        known
    }

    /// They have been at an operator, too, whose records of them nobody heard here.
    pub fn been_at(&mut self, operator: OperatorNo) {
        join(&mut self.operators, operator);
    }

    /// Adds to a month; the oldest gives way to a newer one, and what is older than all of twelve is forgotten.
    fn add(&mut self, start: Ts, sums: &Sums) {
        let place = self.months.partition_point(|month| month.start < start);
        match self.months.get_mut(place) {
            Some(month) if month.start == start => month.sums.add(sums),
            _ => self.months.insert(place, Part { start, sums: *sums }),
        }
        let forgotten = self.months.len().saturating_sub(MONTHS_MAX);
        self.months.drain(..forgotten);
    }

    fn count(&mut self, record: &Record, details: &Details<'_>, low: Option<i64>, sums: &mut Sums) {
        use RecordKind as K;
        let minor = record.amount_minor;
        sums.interactions = u32::from(is_own_act(record.kind));
        match (record.kind, record.status) {
            (K::Deposit, RecordStatus::Failed) => sums.deposits_failed = 1,
            (K::Withdrawal, RecordStatus::Cancelled) => sums.withdrawals_cancelled = 1,
            (K::Stake | K::TicketSale, RecordStatus::Successful) => self.stake(record, details, sums),
            (K::Payout | K::CashOut | K::Redemption, RecordStatus::Successful) => self.payout(record, sums),
            (K::Void, RecordStatus::Successful) => sums.stakes_minor = -minor,
            (K::Deposit, RecordStatus::Successful) => self.deposit(record, low, sums),
            (K::Withdrawal, RecordStatus::Successful) => (sums.withdrawals, sums.withdrawals_minor) = (1, minor),
            (K::LimitChange, RecordStatus::Successful) => limit(details, sums),
            (K::SessionStart | K::SessionEnd, RecordStatus::Successful) => {
                self.sessions.tell(self.newest_operator, record);
            }
            _ => {}
        }
        if matches!(record.kind, K::Deposit | K::Withdrawal) {
            details.method.iter().for_each(|method| join(&mut self.methods, id_digest(method)));
            record.account.iter().for_each(|account| join(&mut self.accounts, account.0));
        }
        self.balance(record, low, sums);
    }

    fn stake(&mut self, record: &Record, details: &Details<'_>, sums: &mut Sums) {
        let (at, minor) = (record.occurred_at, record.amount_minor);
        (sums.bets, sums.stakes_minor, sums.stake_squares) = (1, minor, minor as f64 * minor as f64);
        self.play(record, sums);
        let is_there = |known: bool| u32::from(known);
        (sums.live_known, sums.live) = (is_there(details.live.is_some()), is_there(details.live == Some(true)));
        (sums.parts_known, sums.single) = (is_there(details.parts.is_some()), is_there(details.parts == Some(1)));
        details.odds.filter(|odds| (1.0..1e6).contains(odds)).into_iter().for_each(|odds| self.odds.push(odds));
        if let Some(product) = record.product {
            let bets = &mut self.products[product.code().clamp(0, 7) as usize];
            *bets = bets.saturating_add(1);
        }
        details.game_type.iter().for_each(|name| self.game_type(id_digest(name)));
        if let Some(lost) = self.open_stake.take().filter(|lost| (0..=REACTION_MAX).contains(&(at.0 - lost.0))) {
            self.lost_to_bet.push((at.0 - lost.0) as f64 / SECOND as f64);
        }
        self.open_stake = settles_at_once(record.product).then_some(at);
        self.stake_minor = minor;
        self.around_win.stake(minor);
    }

    /// A new type takes the place of the rarest one, and its count (Space-Saving; Metwally et al. 2005): whichever comes to be
    /// bet on most has a place in the end, however many were tried before it.
    fn game_type(&mut self, name: u64) {
        self.typed = self.typed.saturating_add(1);
        if self.game_types.len() < NAMED_MAX && self.game_types.iter().all(|(known, _)| *known != name) {
            self.game_types.push((name, 0));
        }
        let place = self.game_types.iter().position(|(known, _)| *known == name);
        let rarest = || (0..self.game_types.len()).min_by_key(|place| self.game_types[*place].1);
        if let Some(of) = place.or_else(rarest).and_then(|place| self.game_types.get_mut(place)) {
            *of = (name, of.1.saturating_add(1));
        }
    }

    /// Days in a row, sessions, breaks, hours.
    fn play(&mut self, record: &Record, sums: &mut Sums) {
        let (at, before) = (record.occurred_at, self.played_at);
        let day = self.today.day.start;
        let is_first = before.0 == 0;
        // of a day that is closed nobody knows any more what came before and behind
        let is_late = at < before || at < day;
        let begins = match &record.session_id {
            Some(id) => self.sessions.is_new(self.newest_operator, id),
            None => !is_late && self.sessions.begins(self.newest_operator, at, (!is_first).then_some(before)),
        };
        sums.sessions = u32::from(begins);
        if is_late {
            return;
        }
        self.breaks += u32::from(!is_first && at.0 - before.0 >= BREAK_MIN);
        if is_first || before < day {
            // the day before this one by the clock of the place, as far as a day has about 24 hours
            let is_next = !is_first && day.0 - before.0 <= DAY;
            self.streak = if is_next { self.streak.saturating_add(1) } else { 1 };
            self.streak_max = self.streak_max.max(self.streak);
        }
        self.played_at = at;
        if self.today.first.0 == 0 {
            self.today.first = at;
        }
        self.today.last = self.today.last.max(at);
        let hour = ((at.0 - day.0) / HOUR).clamp(0, 23) as usize;
        self.hours[hour] = self.hours[hour].saturating_add(1);
    }

    fn payout(&mut self, record: &Record, sums: &mut Sums) {
        let minor = record.amount_minor;
        (sums.payouts, sums.payouts_minor) = (1, minor);
        sums.cash_outs = u32::from(record.kind == RecordKind::CashOut);
        sums.big_wins = u32::from(minor > self.stake_minor && self.stake_minor > 0);
        if minor > 0 {
            self.open_stake = None;
        }
        self.around_win.won(minor);
    }

    fn deposit(&mut self, record: &Record, low: Option<i64>, sums: &mut Sums) {
        (sums.deposits, sums.deposits_minor) = (1, record.amount_minor);
        self.deposit.push(record.amount_minor as f64);
        let at = record.occurred_at;
        let is_low = self.balance.zip(low).is_some_and(|(balance, low)| at >= balance.at && balance.minor < low);
        sums.low_deposits = u32::from(is_low);
        if let Some(since) = self.low_since.take_if(|since| at >= *since)
            && at.0 - since.0 <= REACTION_MAX
        {
            self.low_to_deposit.push((at.0 - since.0) as f64 / SECOND as f64);
        }
    }

    /// A record that says the balance sets it, one that does not has moved it since: neither where a newer one was heard.
    fn balance(&mut self, record: &Record, low: Option<i64>, sums: &mut Sums) {
        let (at, moved) = (record.occurred_at, moves(record));
        sums.balances = u32::from(record.balance_after_minor.is_some());
        let now = match (record.balance_after_minor, self.balance) {
            (Some(minor), known) if known.is_none_or(|known| at >= known.at) => Balance { minor, said_at: at, at },
            (None, Some(known)) if moved != 0 && at >= known.said_at => {
                Balance { minor: known.minor.saturating_add(moved), at: known.at.max(at), ..known }
            }
            _ => return,
        };
        let is_low = |balance: Balance| low.is_some_and(|low| balance.minor < low);
        if !is_low(now) {
            self.low_since = None;
        } else if self.balance.is_some_and(|before| !is_low(before)) {
            sums.balance_drops = 1;
            self.low_since = Some(at);
        }
        self.balance = Some(now);
    }

    /// The closed days ([`Behaviour::at`]) of the months that began within so many days of an instant.
    #[must_use]
    pub fn since(&self, as_of: Ts, days: i64) -> Sums {
        let mut sums = Sums::default();
        let from = as_of.plus(-days * DAY);
        self.months.iter().filter(|month| month.start > from).for_each(|month| sums.add(&month.sums));
        sums
    }
}

/// By how much a record raises its player's balance; what goes over a counter is cash.
fn moves(record: &Record) -> i64 {
    use RecordKind as K;
    let minor = record.amount_minor;
    match record.kind {
        _ if record.status != RecordStatus::Successful || record.channel == Some(PlayChannel::Retail) => 0,
        K::Deposit | K::Payout | K::CashOut | K::Redemption | K::Void | K::Adjustment => minor,
        K::Stake | K::TicketSale | K::Withdrawal => -minor,
        _ => 0,
    }
}

fn limit(details: &Details<'_>, sums: &mut Sums) {
    if details.limit_type.as_deref().is_some_and(is_break) {
        // one that is taken back names what it was, and nothing new
        sums.time_outs = u32::from(details.limit_old.is_none() || details.limit_new.is_some());
        return;
    }
    // no limit before is the loosest of all, and so is none after
    let (before, after) = (details.limit_old.unwrap_or(i64::MAX), details.limit_new.unwrap_or(i64::MAX));
    (sums.limit_rises, sums.limit_cuts) = (u32::from(after > before), u32::from(after < before));
}
