//! What is kept of a player in one currency: enough for every rule, and bounded.

use crate::rules::calendar::Spans;
use crate::rules::input::AgeBand;
use crate::rules::table::{Key, Weigh};
use models::alert::Window;
use models::ts::{DAY, Ts};
use serde::{Deserialize, Serialize};

/// Deposits and withdrawals that are remembered one by one.
pub const MOVES_MAX: usize = 24;
/// Accounts paid in from that are remembered.
pub const PAID_IN_MAX: usize = 8;
/// A pause in play from which on somebody counts as having slept: what rules call dormant is at least as long.
pub const SLEPT_MIN: i64 = 30 * DAY;

/// How long a login, a session or, where there are none, a first bet speaks for the bets behind it.
pub const VISIT: i64 = DAY;

/// A deposit or a withdrawal that went through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Move {
    /// When.
    pub at: Ts,
    /// In, not out.
    pub is_deposit: bool,
    /// Minor units.
    pub amount_minor: i64,
    /// Everything the player had staked until then, minor units: the difference of two moves is what was staked between.
    pub staked_minor: i64,
    /// Digest of the account; 0 where none was named.
    pub account: Key,
    /// Id of the record.
    pub id: Box<str>,
}

impl Move {
    /// What taking it back moves.
    #[must_use]
    pub fn back(&self) -> Flow {
        match self.is_deposit {
            true => Flow { deposits_minor: -self.amount_minor, ..Flow::default() },
            false => Flow { withdrawals_minor: -self.amount_minor, ..Flow::default() },
        }
    }
}

/// Money of a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Flow {
    pub deposits_minor: i64,
    pub withdrawals_minor: i64,
    pub stakes_minor: i64,
    pub payouts_minor: i64,
}

impl Flow {
    /// With another.
    pub fn add(&mut self, other: &Self) {
        self.deposits_minor = self.deposits_minor.saturating_add(other.deposits_minor);
        self.withdrawals_minor = self.withdrawals_minor.saturating_add(other.withdrawals_minor);
        self.stakes_minor = self.stakes_minor.saturating_add(other.stakes_minor);
        self.payouts_minor = self.payouts_minor.saturating_add(other.payouts_minor);
    }
}

/// A span with its money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Period {
    /// First instant.
    pub start: Ts,
    /// Its money.
    pub flow: Flow,
}

/// Length of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Span {
    Day,
    Week,
    Month,
}

impl Span {
    /// Its window among the spans of an instant.
    #[must_use]
    pub fn of(self, spans: &Spans) -> Window {
        match self {
            Self::Day => spans.day,
            Self::Week => spans.week,
            Self::Month => spans.month,
        }
    }
}

/// What a limit bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Limits {
    Deposits,
    Losses,
    Stakes,
}

impl Limits {
    fn of(self, flow: &Flow) -> i64 {
        match self {
            Self::Deposits => flow.deposits_minor,
            Self::Losses => flow.stakes_minor.saturating_sub(flow.payouts_minor),
            Self::Stakes => flow.stakes_minor,
        }
    }
}

/// A limit that the player set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwnLimit {
    /// Of what.
    pub limits: Limits,
    /// In how long.
    pub span: Span,
    /// Minor units.
    pub amount_minor: i64,
    /// From when on.
    pub since: Ts,
    /// What had come together before it in the span in which it was set: it binds what comes after.
    pub before_minor: i64,
}

/// The text of a limit's type: `deposit_day`, `loss_weekly`, `stake-month`, `deposit_limit_daily`.
#[must_use]
pub fn limit_type(text: &str) -> Option<(Limits, Span)> {
    let text = text.to_ascii_lowercase();
    let has = |part: &str| text.contains(part);
    if has("time") || has("minute") || has("session") {
        return None;
    }
    let limits = match () {
        () if has("deposit") => Limits::Deposits,
        () if has("loss") => Limits::Losses,
        () if has("stake") || has("wager") || has("bet") => Limits::Stakes,
        () => return None,
    };
    let span = match () {
        () if has("day") || has("daily") || has("24h") => Span::Day,
        () if has("week") => Span::Week,
        () if has("month") => Span::Month,
        () => return None,
    };
    Some((limits, span))
}

/// Somebody who came back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Woke {
    /// When they had played last.
    pub slept_since: Ts,
    /// When they came back.
    pub at: Ts,
    /// Money since then.
    pub flow: Flow,
}

/// The player.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Player {
    /// Newest login, start of a session, or bet without either; 0 = none.
    pub entry_at: Ts,
    /// Newest stake, ticket or deposit; 0 = none.
    pub played_at: Ts,
    /// Everything staked since the player is known, minor units.
    pub staked_minor: i64,
    /// The newest deposits and withdrawals, oldest first.
    pub moves: Vec<Move>,
    /// Accounts paid in from.
    pub paid_in: Vec<Key>,
    /// Deposits came from accounts that are not among them, or that nobody named.
    pub paid_in_unknown: bool,
    /// Day, week, month, each with the one before: late data belongs there.
    periods: [Period; 6],
    /// Limits in force.
    pub limits: Vec<OwnLimit>,
    /// The newest return after a long pause.
    pub woke: Option<Woke>,
    /// Age, where it was ever known.
    pub age: Option<AgeBand>,
    /// The device of the last record that had one, and when its crowd heard of it.
    pub device: (Key, Ts),
}

impl Weigh for Player {
    fn weigh(&self) -> usize {
        let ids: usize = self.moves.iter().map(|m| m.id.len()).sum();
        ids + size_of::<Move>() * self.moves.len()
            + size_of::<Key>() * self.paid_in.len()
            + size_of::<OwnLimit>() * self.limits.len()
    }
}

impl Player {
    /// Takes money in at a time.
    pub fn flow(&mut self, spans: &Spans, at: Ts, flow: &Flow) {
        for (i, window) in [spans.day, spans.week, spans.month].into_iter().enumerate() {
            let [current, before] = [2 * i, 2 * i + 1];
            if window.start > self.periods[current].start {
                self.periods[before] = self.periods[current];
                self.periods[current] = Period { start: window.start, flow: Flow::default() };
            }
            if let Some(period) = self.periods[current..=before].iter_mut().find(|p| p.start == window.start) {
                period.flow.add(flow);
            }
        }
        for limit in &mut self.limits {
            let window = limit.span.of(spans);
            if at < limit.since && (window.start..window.end).contains(&limit.since) {
                limit.before_minor = limit.before_minor.saturating_add(limit.limits.of(flow));
            }
        }
        if let Some(woke) = &mut self.woke
            && at >= woke.at
        {
            woke.flow.add(flow);
        }
    }

    /// Money of the span that begins at `start`; none where it is forgotten.
    #[must_use]
    pub fn period(&self, span: Span, start: Ts) -> Option<&Flow> {
        let first = 2 * span as usize;
        self.periods[first..first + 2].iter().find(|period| period.start == start).map(|period| &period.flow)
    }

    /// What has come together against a limit in the span of an instant.
    #[must_use]
    pub fn against(&self, limit: &OwnLimit, spans: &Spans) -> i64 {
        let window = limit.span.of(spans);
        let sum = self.period(limit.span, window.start).map_or(0, |flow| limit.limits.of(flow));
        let is_set_in_it = (window.start..window.end).contains(&limit.since);
        if is_set_in_it { sum.saturating_sub(limit.before_minor) } else { sum }
    }

    /// Sets a limit, or takes it away. `at`'s spans are given.
    pub fn limit(&mut self, of: (Limits, Span), amount_minor: Option<i64>, at: Ts, spans: &Spans) {
        let same = |limit: &OwnLimit| (limit.limits, limit.span) == of;
        if self.limits.iter().any(|limit| same(limit) && limit.since > at) {
            return;
        }
        self.limits.retain(|limit| !same(limit));
        if let Some(amount_minor) = amount_minor {
            let sum = self.period(of.1, of.1.of(spans).start).map_or(0, |flow| of.0.of(flow));
            let limit = OwnLimit { limits: of.0, span: of.1, amount_minor, since: at, before_minor: sum };
            self.limits.push(limit);
        }
    }

    /// A stake; gives whether moves behind it are known already.
    pub fn stake(&mut self, at: Ts, amount_minor: i64) -> bool {
        self.staked_minor = self.staked_minor.saturating_add(amount_minor);
        let later = self.moves.partition_point(|m| m.at <= at);
        for known in &mut self.moves[later..] {
            known.staked_minor = known.staked_minor.saturating_add(amount_minor);
        }
        later < self.moves.len()
    }

    /// A deposit or a withdrawal in its place by time. What had been staked before one that comes late is not known
    /// exactly: it is taken so that more was staked between in and out, in the player's favour.
    pub fn moved(&mut self, mut new: Move) {
        let place = self.moves.partition_point(|m| m.at <= new.at);
        new.staked_minor = match (new.is_deposit, self.moves.get(place)) {
            (_, None) => self.staked_minor,
            (false, Some(next)) => next.staked_minor,
            (true, Some(next)) => match place.checked_sub(1) {
                Some(before) => self.moves[before].staked_minor,
                None => next.staked_minor,
            },
        };
        if new.is_deposit {
            match new.account {
                0 => self.paid_in_unknown = true,
                account if self.paid_in.contains(&account) => {}
                account if self.paid_in.len() < PAID_IN_MAX => self.paid_in.push(account),
                _ => self.paid_in_unknown = true,
            }
        }
        self.moves.insert(place, new);
        if self.moves.len() > MOVES_MAX {
            self.moves.remove(0);
        }
    }

    /// Takes a move back by the id of its record.
    pub fn take_back(&mut self, id: &str) -> Option<Move> {
        let place = self.moves.iter().position(|m| &*m.id == id)?;
        let was = self.moves.remove(place);
        let back = was.back();
        for i in [0, 2, 4] {
            let place = if was.at >= self.periods[i].start { i } else { i + 1 };
            if was.at >= self.periods[place].start {
                self.periods[place].flow.add(&back);
            }
        }
        for limit in &mut self.limits {
            let current = self.periods[2 * limit.span as usize].start;
            if (current..limit.since).contains(&was.at) {
                limit.before_minor = limit.before_minor.saturating_add(limit.limits.of(&back));
            }
        }
        if let Some(woke) = &mut self.woke
            && was.at >= woke.at
        {
            woke.flow.add(&back);
        }
        Some(was)
    }

    /// Play: a stake, a ticket, a deposit.
    pub fn played(&mut self, at: Ts) {
        if self.played_at.0 > 0 && at.0 - self.played_at.0 >= SLEPT_MIN {
            self.woke = Some(Woke { slept_since: self.played_at, at, flow: Flow::default() });
        }
        self.played_at = self.played_at.max(at);
        if at.0 - self.entry_at.0 >= VISIT {
            self.entry_at = at;
        }
    }

    /// Deposits, or withdrawals, of a window, oldest first.
    pub fn moves_within(&self, window: Window, is_deposit: bool) -> impl Iterator<Item = &Move> {
        let fits = move |m: &&Move| m.is_deposit == is_deposit && window.start <= m.at && m.at < window.end;
        self.moves.iter().filter(fits)
    }
}
