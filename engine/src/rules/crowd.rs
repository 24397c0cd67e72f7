//! Who stood together: the players of a device or of a payment account, and pairs that bet against each other.

use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::standing::{Cause, Details, Found, Out};
use crate::rules::table::{Key, Weigh};
use models::alert::{Severity, Window};
use models::ts::{DAY, MINUTE, Ts};
use models::words::counted;
use serde::{Deserialize, Serialize};

/// Players of a device or an account that are remembered one by one.
pub const USERS_MAX: usize = 16;
/// Bets of an event that are remembered, the newest.
pub const BETS_MAX: usize = 16;
/// Meetings of a pair that are remembered, the newest.
pub const MEETS_MAX: usize = 8;
/// Two bets farther apart than this are not held against each other: rules may ask for less.
pub const MEET_SPAN_MAX: i64 = 60 * MINUTE;
/// Two stakes that differ by more than this many of a thousand of the larger one neither.
pub const MEET_DIFFERENCE_PERMILLE_MAX: i64 = 250;

/// The players of a device or an account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Crowd {
    /// Player, when they were last there, and the record that says so.
    pub users: Vec<(Key, Ts, Box<str>)>,
}

impl Weigh for Crowd {
    fn weigh(&self) -> usize {
        self.users.iter().map(|(_, _, id)| id.len() + size_of::<(Key, Ts, Box<str>)>()).sum()
    }
}

impl Crowd {
    /// Somebody was there.
    pub fn join(&mut self, player: Key, at: Ts, id: &str) {
        if let Some(user) = self.users.iter_mut().find(|(key, ..)| *key == player) {
            user.1 = user.1.max(at);
            return;
        }
        if self.users.len() >= USERS_MAX {
            let oldest = (0..self.users.len()).min_by_key(|place| (self.users[*place].1, *place));
            oldest.map(|place| self.users.remove(place));
        }
        self.users.push((player, at, id.into()));
    }

    /// Those who were there from then on until then: records may come late.
    pub fn within(&self, from: Ts, to: Ts) -> impl Iterator<Item = &(Key, Ts, Box<str>)> {
        self.users.iter().filter(move |(_, at, _)| (from..=to).contains(at))
    }
}

/// When a crowd is one too many.
pub(super) struct Crowded<'a> {
    /// Of what it is the crowd.
    pub who: Who,
    /// Accounts that are not yet looked at.
    pub accounts_max: i64,
    /// Days within which they are counted.
    pub span_days: i64,
    /// How urgent more accounts are, and more than twice as many.
    pub severities: [Severity; 2],
    /// What is said of them.
    pub words: &'a str,
}

impl Crowded<'_> {
    /// Says a crowd that is one too many at a time; records may come late, so both sides of it count.
    pub(super) fn judge(&self, crowd: &Crowd, at: Ts, out: &mut Out<'_>) {
        let span = self.span_days * DAY;
        let users: Vec<_> = crowd.within(at.plus(-span), at.plus(span)).collect();
        let count = users.len() as i64;
        if count <= self.accounts_max {
            return;
        }
        let first = users.iter().map(|(_, at, _)| *at).min().unwrap_or(at);
        let found = Found {
            who: self.who,
            window: Window { start: first, end: first.plus(span) },
            cause: Cause::Overlap,
            measured: Measured { observed: count, limit: self.accounts_max, unit: Unit::Accounts },
            severity: self.severities[usize::from(count > 2 * self.accounts_max)],
        };
        out.found(found, |count| {
            let (accounts, days) = (counted(count, "account", "accounts"), counted(self.span_days, "day", "days"));
            let reason = format!("{accounts} {} within {days}", self.words);
            Details::of(vec![reason]).with(users.iter().map(|(_, _, id)| &**id))
        });
    }
}

/// A bet on one outcome of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bet {
    /// When.
    pub at: Ts,
    /// Whose.
    pub player: Key,
    /// Digest of the outcome.
    pub selection: u64,
    /// Minor units.
    pub stake_minor: i64,
    /// Odds in thousandths; 0 where nobody says.
    pub odds_milli: i64,
    /// Id of the record.
    pub id: Box<str>,
}

/// An event that is bet on: a game and, where it is said, a market.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The newest bets.
    pub bets: Vec<Bet>,
    /// Somebody bet on it who is no longer among them, or the same player twice.
    pub is_busy: bool,
}

impl Weigh for Event {
    fn weigh(&self) -> usize {
        self.bets.iter().map(|bet| bet.id.len() + size_of::<Bet>()).sum()
    }
}

impl Event {
    /// The newest bet that stands against this one, where there is one.
    #[must_use]
    pub fn opposite(&self, new: &Bet) -> Option<&Bet> {
        let fits = |bet: &&Bet| {
            let larger = bet.stake_minor.max(new.stake_minor);
            let difference = larger - bet.stake_minor.min(new.stake_minor);
            bet.player != new.player
                && bet.selection != new.selection
                && (bet.at.0 - new.at.0).abs() <= MEET_SPAN_MAX
                && i128::from(difference) * 1_000 <= i128::from(larger) * i128::from(MEET_DIFFERENCE_PERMILLE_MAX)
        };
        self.bets.iter().rev().find(fits)
    }

    /// A bet more.
    pub fn add(&mut self, new: Bet) {
        self.bets.push(new);
        if self.bets.len() > BETS_MAX {
            self.bets.remove(0);
            self.is_busy = true;
        }
    }

    /// Has nobody bet on it but these two?
    #[must_use]
    pub fn is_between(&self, one: Key, other: Key) -> bool {
        !self.is_busy && self.bets.iter().all(|bet| bet.player == one || bet.player == other)
    }
}

/// Two bets against each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meet {
    /// Digest of the event.
    pub event: u64,
    /// When the second bet was placed.
    pub at: Ts,
    /// Time between them, microseconds.
    pub apart: i64,
    /// The smaller stake, minor units.
    pub stake_minor: i64,
    /// How far the stakes differ, thousandths of the larger one.
    pub difference_permille: i64,
    /// What both sides cover by their odds, thousandths (1,000 = every outcome at fair odds); 0 where nobody says.
    pub cover_permille: i64,
    /// Nobody else had bet on the event.
    pub is_alone: bool,
    /// Ids of the two records.
    pub ids: [Box<str>; 2],
}

impl Meet {
    /// How two bets on an event stand against each other.
    #[must_use]
    pub fn of(event: u64, first: &Bet, second: &Bet, is_alone: bool) -> Self {
        let larger = first.stake_minor.max(second.stake_minor).max(1);
        let smaller = first.stake_minor.min(second.stake_minor);
        let share = |odds: i64| if odds > 0 { 1_000_000 / odds } else { 0 };
        let is_known = first.odds_milli > 0 && second.odds_milli > 0;
        Self {
            event,
            at: first.at.max(second.at),
            apart: (second.at.0 - first.at.0).abs(),
            stake_minor: smaller,
            difference_permille: (i128::from(larger - smaller) * 1_000 / i128::from(larger)) as i64,
            cover_permille: if is_known { share(first.odds_milli) + share(second.odds_milli) } else { 0 },
            is_alone,
            ids: [first.id.clone(), second.id.clone()],
        }
    }
}

/// Two players who bet against each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// Who, the smaller digest first.
    pub players: (Key, Key),
    /// When, the newest last; one of an event.
    pub meets: Vec<Meet>,
}

impl Weigh for Pair {
    fn weigh(&self) -> usize {
        self.meets.iter().map(|meet| meet.ids[0].len() + meet.ids[1].len() + size_of::<Meet>()).sum()
    }
}

impl Pair {
    /// A meeting more, where there was none on its event.
    pub fn meet(&mut self, players: (Key, Key), meet: Meet) {
        self.players = players;
        if self.meets.iter().any(|known| known.event == meet.event) {
            return;
        }
        self.meets.push(meet);
        if self.meets.len() > MEETS_MAX {
            self.meets.remove(0);
        }
    }
}
