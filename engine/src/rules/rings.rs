//! Who stood together at several operators: the people of a device or of a payment account, and where they were seen there.
//!
//! Two names are not yet two people, nor are two equal ids one device. An operator names people by phone or by document,
//! and the digests of both have nothing in common: one person whom two operators name differently would count twice. An id
//! of a device may be an operator's own number for it. So operators are held together only by a [`Bond`].

use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::standing::{Cause, Details, Found, Out};
use crate::rules::table::{Key, Limit, Table, Weigh};
use models::alert::{Severity, Window};
use models::ids::OperatorNo;
use models::record::{PlayChannel, Record};
use models::ts::{DAY, HOUR, Ts};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Devices of all operators, and as many payment accounts: whatever was not heard of for longest about gives way.
pub const RINGS: Limit = Limit { entries: 1 << 19, bytes: 48 << 20 };
/// People at operators that are remembered of a device or an account; beyond, whoever was not there for longest gives way.
pub const GUESTS_MAX: usize = 32;
/// Pairs of operators of which it is counted how many people they name alike: those of 128 operators. A pair beyond is not
/// held together.
pub const ALIKE_MAX: usize = 8_192;
/// How long a record speaks for its person at its operator before they are told again.
const AGAIN: i64 = HOUR;

/// Somebody at an operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guest {
    /// Who.
    pub player: Key,
    /// Where.
    pub operator: OperatorNo,
    /// When they were last there.
    pub at: Ts,
    /// The record that says so.
    pub id: Box<str>,
}

/// The people of a device or an account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ring {
    guests: Vec<Guest>,
}

impl Weigh for Ring {
    fn weigh(&self) -> usize {
        self.guests.iter().map(|guest| guest.id.len() + size_of::<Guest>()).sum()
    }
}

impl Ring {
    /// Is it known already that they were there about then, or later?
    fn is_told(&self, player: Key, operator: OperatorNo, at: Ts) -> bool {
        let says_so = |guest: &Guest| {
            guest.player == player && guest.operator == operator && at.0.saturating_sub(guest.at.0) < AGAIN
        };
        self.guests.iter().any(says_so)
    }

    /// Somebody was there.
    fn join(&mut self, new: Guest) {
        let same = |guest: &Guest| guest.player == new.player && guest.operator == new.operator;
        if let Some(place) = self.guests.iter().position(same) {
            if new.at > self.guests[place].at {
                self.guests[place] = new;
            }
            return;
        }
        if self.guests.len() >= GUESTS_MAX {
            let oldest = (0..self.guests.len()).min_by_key(|place| (self.guests[*place].at, *place));
            oldest.map(|place| self.guests.remove(place));
        }
        self.guests.push(new);
    }

    /// Those who were there from then on until then.
    fn within(&self, from: Ts, to: Ts) -> impl Iterator<Item = &Guest> {
        self.guests.iter().filter(move |guest| (from..=to).contains(&guest.at))
    }
}

/// How many people two operators name alike: the same digest was heard of at both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Alike {
    pairs: BTreeMap<(OperatorNo, OperatorNo), u32>,
    beyond: u64,
}

impl Alike {
    /// Somebody is known at both.
    pub fn add(&mut self, one: OperatorNo, other: OperatorNo) {
        let pair = (one.min(other), one.max(other));
        if let Some(count) = self.pairs.get_mut(&pair) {
            *count = count.saturating_add(1);
        } else if self.pairs.len() < ALIKE_MAX {
            self.pairs.insert(pair, 1);
        } else {
            self.beyond += 1;
        }
    }

    /// How many they are.
    #[must_use]
    pub fn count(&self, one: OperatorNo, other: OperatorNo) -> u32 {
        self.pairs.get(&(one.min(other), one.max(other))).copied().unwrap_or(0)
    }
}

/// Devices and payment accounts of all operators.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rings {
    pub(super) devices: Table<Ring>,
    pub(super) accounts: Table<Ring>,
    pub(super) alike: Alike,
}

impl Default for Rings {
    fn default() -> Self {
        Self { devices: Table::new(RINGS), accounts: Table::new(RINGS), alike: Alike::default() }
    }
}

/// A device or an account with the people of it.
type Met<'a> = (Key, &'a Ring);

/// Keys and places of what a record says something new of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Joined {
    pub device: Option<(Key, usize)>,
    pub account: Option<(Key, usize)>,
}

impl Rings {
    /// Takes in who was where with a record: on a device, but for the terminals of shops, with any record that is heard; at
    /// an account, if they were paid out to it.
    pub(super) fn note(&mut self, operator: OperatorNo, record: &Record, trigger: Option<Trigger>) -> Joined {
        let device = record.device.filter(|_| trigger.is_some() && record.channel != Some(PlayChannel::Retail));
        let account = record.account.filter(|_| trigger == Some(Trigger::Withdrawal));
        Joined {
            device: device.and_then(|device| join(&mut self.devices, device.0, operator, record)),
            account: account.and_then(|account| join(&mut self.accounts, account.0, operator, record)),
        }
    }

    /// The people of what a record says something new of.
    pub(super) fn at(&self, joined: Joined) -> (Option<Met<'_>>, Option<Met<'_>>) {
        let device = joined.device.map(|(key, place)| (key, self.devices.at(place)));
        (device, joined.account.map(|(key, place)| (key, self.accounts.at(place))))
    }

    /// What gave way at a limit, or found no room, by table.
    #[must_use]
    pub fn forgotten(&self) -> [(&'static str, u64); 3] {
        [
            ("nation_devices", self.devices.evicted()),
            ("nation_accounts", self.accounts.evicted()),
            ("nation_operator_pairs", self.alike.beyond),
        ]
    }

    /// Devices and accounts that are held.
    #[must_use]
    pub fn held(&self) -> [usize; 2] {
        [self.devices.len(), self.accounts.len()]
    }
}

fn join(table: &mut Table<Ring>, key: Key, operator: OperatorNo, record: &Record) -> Option<(Key, usize)> {
    let (player, at) = (record.player?.0, record.occurred_at);
    let place = table.touch(key);
    if table.at(place).is_told(player, operator, at) {
        return None;
    }
    let new = Guest { player, operator, at, id: record.record_id.as_str().into() };
    table.change(place, |ring| ring.join(new));
    Some((key, place))
}

/// What shows that what two operators say belongs together.
pub(super) enum Bond<'a> {
    /// So many people at least whom both name alike, wherever they play: what has one name there has no other one here.
    Alike(&'a Alike, i64),
    /// Somebody whom both saw there themselves: then the two ids are one thing, and people have the same names.
    Guest,
}

impl Bond<'_> {
    fn holds(&self, guests: &[&Guest], one: OperatorNo, other: OperatorNo) -> bool {
        match self {
            Self::Alike(alike, min) => i64::from(alike.count(one, other)) >= *min,
            Self::Guest => guests
                .iter()
                .filter(|guest| guest.operator == one)
                .any(|guest| guests.iter().any(|twin| twin.operator == other && twin.player == guest.player)),
        }
    }

    /// Operators that belong together with this one, itself among them; nobody where it has no guests.
    fn company(&self, operator: OperatorNo, guests: &[&Guest]) -> BTreeSet<OperatorNo> {
        let mut left: BTreeSet<OperatorNo> = guests.iter().map(|guest| guest.operator).collect();
        let mut company = BTreeSet::new();
        let mut next: Vec<OperatorNo> = left.take(&operator).into_iter().collect();
        while let Some(one) = next.pop() {
            company.insert(one);
            let (linked, rest): (BTreeSet<_>, BTreeSet<_>) =
                left.into_iter().partition(|other| self.holds(guests, one, *other));
            left = rest;
            next.extend(linked);
        }
        company
    }
}

/// When the people of a device or an account are too many together, and at no operator alone.
pub(super) struct Spread<'a> {
    /// Of what they are the people.
    pub who: Who,
    /// People that are not yet looked at: at one operator, and over all of them.
    pub people_max: i64,
    /// Days within which they are counted.
    pub span_days: i64,
    /// What holds operators together.
    pub bond: Bond<'a>,
    /// How urgent more people are, and more than twice as many.
    pub severities: [Severity; 2],
    /// What is said of them.
    pub words: &'a str,
}

impl Spread<'_> {
    /// Says people who are too many around a record of an operator.
    pub(super) fn judge(&self, ring: &Ring, (operator, at): (OperatorNo, Ts), out: &mut Out<'_>) {
        if ring.guests.len() as i64 <= self.people_max {
            return;
        }
        let span = self.span_days * DAY;
        let here = ring.within(at.plus(-span), at.plus(span)).filter(|guest| guest.operator == operator);
        // an id that everybody has costs no more than this
        if people(here) > self.people_max {
            return;
        }
        // what comes late belongs to the spans of those behind it, too
        let mut ends: Vec<Ts> = ring.within(at, at.plus(span)).map(|guest| guest.at).collect();
        ends.sort_unstable();
        ends.dedup();
        let Some(guests) = ends.into_iter().rev().find_map(|end| self.spread(ring, operator, end)) else { return };
        let Some(first) = guests.iter().map(|guest| guest.at).min() else { return };
        let count = people(guests.iter().copied());
        let found = Found {
            who: self.who,
            window: Window { start: first, end: first.plus(span) },
            cause: Cause::Overlap,
            measured: Measured { observed: count, limit: self.people_max, unit: Unit::Players },
            severity: self.severities[usize::from(count > 2 * self.people_max)],
        };
        out.found(found, |count| {
            let operators: BTreeSet<OperatorNo> = guests.iter().map(|guest| guest.operator).collect();
            let (places, words, days, max) = (operators.len(), self.words, self.span_days, self.people_max);
            let reason = format!(
                "{count} people at {places} operators {words} within {days} days, at none of them more than {max}"
            );
            let operators = operators.into_iter().collect();
            Details { operators, ..Details::of(vec![reason]).with(guests.iter().map(|guest| &*guest.id)) }
        });
    }

    /// The people of the span that ends then, where they are spread. Where they are too many at any operator alone, held together
    /// or not, its own rule has found the number; and it may be one that everybody has, of a bank or of a maker of devices.
    fn spread<'r>(&self, ring: &'r Ring, operator: OperatorNo, end: Ts) -> Option<Vec<&'r Guest>> {
        let mut guests: Vec<&Guest> = ring.within(end.plus(-self.span_days * DAY), end).collect();
        let operators: BTreeSet<OperatorNo> = guests.iter().map(|guest| guest.operator).collect();
        let at = |one: OperatorNo| guests.iter().copied().filter(move |guest| guest.operator == one);
        if operators.iter().any(|one| people(at(*one)) > self.people_max) {
            return None;
        }
        let company = self.bond.company(operator, &guests);
        guests.retain(|guest| company.contains(&guest.operator));
        let is_spread = company.len() > 1 && people(guests.iter().copied()) > self.people_max;
        is_spread.then_some(guests)
    }
}

/// How many they are, wherever each of them was seen.
fn people<'g>(guests: impl Iterator<Item = &'g Guest>) -> i64 {
    guests.map(|guest| guest.player).collect::<BTreeSet<Key>>().len() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(player: Key, operator: u16, at: i64) -> Guest {
        Guest { player, operator: OperatorNo(operator), at: Ts(at), id: "r".into() }
    }

    #[test]
    fn who_was_not_there_for_longest_gives_way() {
        let mut ring = Ring::default();
        for n in 0..=GUESTS_MAX as i64 {
            ring.join(guest(n.unsigned_abs().into(), 1, n * HOUR));
        }
        assert_eq!((ring.guests.len(), ring.guests[0].player), (GUESTS_MAX, 1));
        ring.join(guest(1, 1, 0));
        assert_eq!(ring.guests[0].at, Ts(HOUR), "what comes late makes nobody older");
        ring.join(guest(1, 2, 99 * HOUR));
        assert!(ring.guests.iter().any(|known| (known.player, known.operator) == (1, OperatorNo(2))));
        assert!(ring.is_told(1, OperatorNo(2), Ts(99 * HOUR + HOUR - 1)));
        assert!(!ring.is_told(1, OperatorNo(2), Ts(100 * HOUR)) && !ring.is_told(1, OperatorNo(3), Ts(99 * HOUR)));
    }

    #[test]
    fn operators_belong_together_by_those_between_them() {
        let guests = [guest(1, 1, 0), guest(1, 2, 0), guest(2, 2, 0), guest(2, 3, 0), guest(3, 4, 0)];
        let guests: Vec<&Guest> = guests.iter().collect();
        let company = |of: u16| Bond::Guest.company(OperatorNo(of), &guests).iter().map(|no| no.0).collect::<Vec<_>>();
        let table: [(u16, &[u16]); 4] = [(1, &[1, 2, 3]), (3, &[1, 2, 3]), (4, &[4]), (5, &[])];
        for (of, wanted) in table {
            assert_eq!(company(of), wanted, "of {of}");
        }
    }

    #[test]
    fn pairs_of_operators_have_a_limit() {
        let mut alike = Alike::default();
        for n in 0..ALIKE_MAX as u16 {
            alike.add(OperatorNo(n + 1), OperatorNo(0));
        }
        alike.add(OperatorNo(0), OperatorNo(1));
        alike.add(OperatorNo(7), OperatorNo(8));
        assert_eq!((alike.count(OperatorNo(1), OperatorNo(0)), alike.count(OperatorNo(8), OperatorNo(7))), (2, 0));
        assert_eq!((alike.pairs.len(), alike.beyond), (ALIKE_MAX, 1));
    }
}
