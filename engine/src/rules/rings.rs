//! Who stood together at several operators: the people of a device or of a payment account, and where they were seen there.
//!
//! Two names are not yet two people, nor are two equal ids one device. An operator names people by phone or by document,
//! and the digests of both have nothing in common: one person whom two operators name differently would count twice. An id
//! of a device may be an operator's own number for it. So operators are held together only by a [`Bond`]: any two of them name
//! enough people alike.
//!
//! What remains: whom two operators named alike once is counted for good, so slips of years add up, and an operator that names
//! people otherwise from some day on is held together with others by those of before; and of an operator that names a part of
//! its people by phone and the others by document, a couple may count as more than two.

use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::list::Typed;
use crate::rules::nation::NationHeard;
use crate::rules::standing::{Cause, Details, Found, Out};
use crate::rules::table::{Key, Limit, Table, Weigh};
use models::alert::{Severity, Window};
use models::ids::OperatorNo;
use models::record::{PlayChannel, Record};
use models::ts::{DAY, HOUR, Ts};
use models::words::counted;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Devices of all operators, and as many payment accounts: whatever was not heard of for longest about gives way. Bytes are
/// those of lists and ids; what the allocator rounds up is not among them, nor are the slots themselves, 48 bytes each.
pub const RINGS: Limit = Limit { entries: 1 << 19, bytes: 48 << 20 };
/// People at operators that are remembered of a device or an account; beyond, whoever was not there for longest gives way.
pub const GUESTS_MAX: usize = 32;
/// Pairs of operators of which it is counted how many people they name alike: those of 128 operators. A pair beyond is not
/// held together.
pub const ALIKE_MAX: usize = 8_192;
/// People of a pair of operators that are told apart: as many as a rule may ask for at most. Once they are so many nobody is
/// remembered one by one; with [`ALIKE_MAX`] pairs those before are 16 MiB at most.
pub const ALIKE_PEOPLE_MAX: usize = 100;
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
    /// By what is in the list and not by the room that it has: a state read back weighs what it weighed. Joining takes
    /// room for no more than is in it, and reading back does so, too.
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
        // a push alone takes room for four, and most rings have one
        self.guests.reserve_exact(1);
        self.guests.push(new);
    }

    /// Those who were there from then on until then.
    fn within(&self, from: Ts, to: Ts) -> impl Iterator<Item = &Guest> {
        self.guests.iter().filter(move |guest| (from..=to).contains(&guest.at))
    }
}

/// Whom two operators name alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Common {
    /// These, in the order of their digests.
    Few(Vec<Key>),
    /// [`ALIKE_PEOPLE_MAX`], or more.
    Enough,
}

impl Common {
    fn add(&mut self, player: Key) {
        let Self::Few(known) = self else { return };
        let Err(place) = known.binary_search(&player) else { return };
        known.insert(place, player);
        if known.len() >= ALIKE_PEOPLE_MAX {
            *self = Self::Enough;
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Few(known) => known.len(),
            Self::Enough => ALIKE_PEOPLE_MAX,
        }
    }
}

/// How many people two operators name alike: the same digest was heard of at both, with bets or money in one currency. Everybody
/// counts once, in however many currencies, and also where they were forgotten as players and came back. Whoever was forgotten
/// between their first days at one and at the other is not counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Alike {
    pairs: BTreeMap<(OperatorNo, OperatorNo), Common>,
    /// How often somebody was known at two operators that found no room.
    beyond: u64,
}

impl Alike {
    /// Somebody is known at both.
    pub fn add(&mut self, player: Key, (one, other): (OperatorNo, OperatorNo)) {
        let pair = (one.min(other), one.max(other));
        if let Some(common) = self.pairs.get_mut(&pair) {
            common.add(player);
        } else if self.pairs.len() < ALIKE_MAX {
            self.pairs.insert(pair, Common::Few(vec![player]));
        } else {
            self.beyond += 1;
        }
    }

    /// How many they are, at most [`ALIKE_PEOPLE_MAX`].
    #[must_use]
    pub fn count(&self, one: OperatorNo, other: OperatorNo) -> usize {
        self.pairs.get(&(one.min(other), one.max(other))).map_or(0, Common::count)
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

/// What shows that what operators say belongs together.
pub(super) struct Bond<'a> {
    /// Whom operators name alike, wherever they play.
    pub alike: &'a Alike,
    /// So many people at least any two of them name alike: what has one name there has no other one here.
    pub alike_min: i64,
    /// Somebody was there at both themselves, too: then two ids are one thing. Not asked for where an id means the same
    /// everywhere.
    pub is_met: bool,
}

/// Sets of operators are bits of a number.
const _: () = assert!(GUESTS_MAX <= u32::BITS as usize);

impl Bond<'_> {
    /// Operators that belong together with this one, itself among them; nobody where it has no guests. Of a thing it is enough
    /// that it is one of theirs; names are compared with those of each of them, because one that names some people by phone
    /// and some by document is like both kinds. One that is like two others that are not like each other belongs with either
    /// of them: each is tried, and those with the most people are its company, of equally many those with the smallest numbers.
    fn company(&self, operator: OperatorNo, guests: &[&Guest]) -> BTreeSet<OperatorNo> {
        let operators: BTreeSet<OperatorNo> = guests.iter().map(|guest| guest.operator).collect();
        let operators: Vec<OperatorNo> = operators.into_iter().collect();
        let Ok(own) = operators.binary_search(&operator) else { return BTreeSet::new() };
        let (alike, met) = (self.alike(&operators), self.met(&operators, guests));
        let all = 0..operators.len();
        let joins = |one: usize, company: u32| {
            company >> one & 1 == 0 && alike[one] & company == company && met[one] & company != 0
        };
        // with those who join it, smallest numbers first
        let grown = |first: usize| {
            let mut company = 1 << own | 1 << first;
            while let Some(next) = all.clone().find(|one| joins(*one, company)) {
                company |= 1 << next;
            }
            company
        };
        let mut best = (Reverse(0), BTreeSet::from([operator]));
        for first in all.clone().filter(|one| joins(*one, 1 << own)) {
            let company = grown(first);
            let names = all.clone().filter(|one| company >> one & 1 == 1).map(|one| operators[one]);
            let names: BTreeSet<OperatorNo> = names.collect();
            if names.len() == operators.len() {
                // whoever is tried first, all of them join
                return names;
            }
            let count = people(guests.iter().copied().filter(|guest| names.contains(&guest.operator)));
            best = best.min((Reverse(count), names));
        }
        best.1
    }

    /// For each of these operators, which of them name enough people as it does.
    fn alike(&self, operators: &[OperatorNo]) -> Vec<u32> {
        let is_alike = |one, other| self.alike.count(one, other) as i64 >= self.alike_min;
        let of = |one: OperatorNo| {
            let bit = |(n, other): (usize, &OperatorNo)| u32::from(is_alike(one, *other)) << n;
            operators.iter().enumerate().map(bit).sum()
        };
        operators.iter().map(|one| of(*one)).collect()
    }

    /// For each of these operators, at which of them one of its guests was, too; all where nobody asks.
    fn met(&self, operators: &[OperatorNo], guests: &[&Guest]) -> Vec<u32> {
        if !self.is_met {
            return vec![u32::MAX; operators.len()];
        }
        let mut met = vec![0; operators.len()];
        let places = guests.iter().map(|guest| (guest.player, operators.binary_search(&guest.operator).unwrap_or(0)));
        let places: Vec<(Key, usize)> = places.collect();
        for (player, one) in &places {
            let twins = places.iter().filter(|(twin, _)| twin == player);
            met[*one] |= twins.fold(0, |bits, (_, other)| bits | 1 << other);
        }
        met
    }
}

/// What the rule of one operator lets pass: more than so many people within so many days it finds by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alone {
    pub people_max: i64,
    pub span_days: i64,
}

impl Alone {
    /// By the live version of the rule of one operator about such a device or account; none where none is in force.
    pub(super) fn live(who: Who, heard: &NationHeard<'_>) -> Option<Self> {
        heard.active.live(heard.at, |typed| {
            let (people_max, span_days) = match (who, typed) {
                (Who::Device(_), Typed::SharedDevice(own)) => (own.accounts_max, own.span_days),
                (Who::Account(_), Typed::SharedPayoutAccount(own)) => (own.accounts_max, own.span_days),
                _ => return None,
            };
            Some(Self { people_max, span_days })
        })
    }

    /// From when to when people of one operator are too many for its own rule, the shortest such spans.
    fn crowds(self, ring: &Ring) -> Vec<Window> {
        let span = self.span_days * DAY;
        let more = usize::try_from(self.people_max).unwrap_or(usize::MAX);
        let mut guests: Vec<&Guest> = ring.guests.iter().collect();
        guests.sort_unstable_by_key(|guest| (guest.operator, guest.at));
        // at one operator each guest is another person
        let here = guests.chunk_by(|one, other| one.operator == other.operator);
        let pairs = here.flat_map(|here| here.iter().zip(here.iter().skip(more)));
        let crowds = pairs.map(|(first, last)| Window { start: first.at, end: last.at });
        crowds.filter(|crowd| crowd.end.0 - crowd.start.0 <= span).collect()
    }
}

/// When the people of a device or an account are too many together, and at no operator alone.
pub(super) struct Spread<'a> {
    /// Of what they are the people.
    pub who: Who,
    /// People over all operators that are not yet looked at.
    pub people_max: i64,
    /// Days within which they are counted.
    pub span_days: i64,
    /// What is found at one operator already; none where no rule of one operator looks for it.
    pub alone: Option<Alone>,
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
        // what comes late belongs to the spans of those behind it, too
        let mut ends: Vec<Ts> = ring.within(at, at.plus(span)).map(|guest| guest.at).collect();
        ends.sort_unstable();
        ends.dedup();
        let crowds = self.alone.map_or_else(Vec::new, |alone| alone.crowds(ring));
        let spread = |end: Ts| self.spread(ring, operator, Window { start: end.plus(-span), end }, &crowds);
        let Some(guests) = ends.into_iter().rev().find_map(spread) else { return };
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
            let (places, words) = (operators.len(), self.words);
            let days = counted(self.span_days, "day", "days");
            let alone = self.alone.map(|alone| format!(", at none of them more than {}", alone.people_max));
            let alone = alone.unwrap_or_default();
            let reason = format!("{count} people at {places} operators {words} within {days}{alone}");
            let operators = operators.into_iter().collect();
            Details { operators, ..Details::of(vec![reason]).with(guests.iter().map(|guest| &*guest.id)) }
        });
    }

    /// The people of a span, its ends among it, where they are spread. Where they are too many in it at any operator alone, held
    /// together or not, its own rule has found the number, which may be one that everybody has, of a bank or of a maker of
    /// devices; where no such rule is live nobody else would find them.
    fn spread<'r>(
        &self,
        ring: &'r Ring,
        operator: OperatorNo,
        span: Window,
        crowds: &[Window],
    ) -> Option<Vec<&'r Guest>> {
        // a number that everybody has costs no more than this
        if crowds.iter().any(|crowd| span.start <= crowd.start && crowd.end <= span.end) {
            return None;
        }
        let mut guests: Vec<&Guest> = ring.within(span.start, span.end).collect();
        // and whoever goes to many operators, who is one person, no more than this
        if people(guests.iter().copied()) <= self.people_max {
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

    /// Pairs of operators, each with so many people whom both name alike.
    fn named_alike(pairs: &[(u16, u16, u128)]) -> Alike {
        let mut alike = Alike::default();
        for (one, other, count) in pairs {
            (0..*count).for_each(|player| alike.add(1_000 + player, (OperatorNo(*one), OperatorNo(*other))));
        }
        alike
    }

    #[test]
    fn operators_belong_together_that_met_and_name_people_alike() {
        let guests = [guest(1, 1, 0), guest(1, 2, 0), guest(2, 2, 0), guest(2, 3, 0), guest(3, 4, 0)];
        let guests: Vec<&Guest> = guests.iter().collect();
        let everybody: &[_] = &[(1, 2, 3), (1, 3, 3), (2, 3, 3), (1, 4, 3), (2, 4, 3), (3, 4, 3)];
        // whom they name alike, whether somebody has to be there at both, of whom, and the company of it
        type Row<'a> = (&'a [(u16, u16, u128)], bool, u16, &'a [u16]);
        let table: [Row<'_>; 11] = [
            (everybody, true, 1, &[1, 2, 3]),
            (everybody, true, 3, &[1, 2, 3]),
            (everybody, true, 4, &[4]),
            (everybody, true, 5, &[]),
            (everybody, false, 4, &[1, 2, 3, 4]),
            (&[], true, 1, &[1]),
            (&[(1, 2, 2), (1, 3, 9), (2, 3, 3)], true, 2, &[2, 3]),
            // like both of the others, which are not like each other: with equally many people, then with more of them
            (&[(1, 2, 3), (2, 3, 3)], true, 2, &[1, 2]),
            (&[(1, 2, 3), (2, 4, 3)], false, 2, &[2, 4]),
            (&[(1, 2, 3), (2, 3, 3), (2, 4, 3), (3, 4, 3)], false, 2, &[2, 3, 4]),
            (&[(1, 2, 3), (2, 3, 3)], false, 3, &[2, 3]),
        ];
        for (pairs, is_met, of, wanted) in table {
            let bond = Bond { alike: &named_alike(pairs), alike_min: 3, is_met };
            let company: Vec<u16> = bond.company(OperatorNo(of), &guests).iter().map(|no| no.0).collect();
            assert_eq!(company, wanted, "of {of} by {pairs:?}, {is_met}");
        }
    }

    #[test]
    fn everybody_counts_once_and_pairs_of_operators_have_a_limit() {
        let mut alike = Alike::default();
        for n in 0..ALIKE_MAX as u16 {
            alike.add(1, (OperatorNo(n + 1), OperatorNo(0)));
        }
        let pair = (OperatorNo(0), OperatorNo(1));
        for (player, count) in [(1, 1), (2, 2), (1, 2), (2, 2), (0, 3)] {
            alike.add(player, pair);
            assert_eq!((alike.count(pair.0, pair.1), alike.count(pair.1, pair.0)), (count, count), "player {player}");
        }
        alike.add(7, (OperatorNo(7), OperatorNo(8)));
        assert_eq!((alike.count(OperatorNo(8), OperatorNo(7)), alike.pairs.len(), alike.beyond), (0, ALIKE_MAX, 1));
        (0..500).for_each(|player| alike.add(player, pair));
        assert_eq!((alike.count(pair.0, pair.1), &alike.pairs[&pair]), (ALIKE_PEOPLE_MAX, &Common::Enough));
    }

    #[test]
    fn a_rule_asks_for_no_more_people_than_are_told_apart() {
        for rule in ["shared_device_across_operators", "shared_payout_account_across_operators"] {
            let params = crate::rules::list::params_of(rule);
            let most = params.iter().find(|param| param.name == "alike_min").map(|param| param.max);
            assert_eq!(most, Some(ALIKE_PEOPLE_MAX as i64), "{rule}");
        }
    }

    #[test]
    fn a_ring_weighs_the_room_that_it_takes_here_and_read_back() {
        let mut ring = Ring::default();
        for n in 0..2 * GUESTS_MAX as u128 {
            ring.join(guest(n, 1, n as i64 * HOUR));
            let back: Ring = postcard::from_bytes(&postcard::to_allocvec(&ring).unwrap()).unwrap();
            for ring in [&ring, &back] {
                let ids: usize = ring.guests.iter().map(|guest| guest.id.len()).sum();
                assert_eq!(ring.weigh(), ids + ring.guests.capacity() * size_of::<Guest>(), "{n}");
            }
        }
    }

    #[test]
    fn what_one_operator_finds_is_what_its_own_rule_counts() {
        let mut ring = Ring::default();
        for (player, operator, day) in [(3, 1, 9), (1, 1, 0), (1, 2, 1), (2, 1, 4), (4, 2, 2)] {
            ring.join(guest(player, operator, day * DAY));
        }
        type Days<'a> = &'a [(i64, i64)];
        // more people than so many, in so many days | from day to day
        let table: [(i64, i64, Days<'_>); 7] = [
            (2, 9, &[(0, 9)]),
            (2, 8, &[]),
            (3, 9, &[]),
            (1, 5, &[(0, 4), (4, 9), (1, 2)]),
            (1, 3, &[(1, 2)]),
            (0, 0, &[(0, 0), (4, 4), (9, 9), (1, 1), (2, 2)]),
            (1_000, 9, &[]),
        ];
        for (people_max, span_days, wanted) in table {
            let crowds = Alone { people_max, span_days }.crowds(&ring);
            let days: Vec<(i64, i64)> = crowds.iter().map(|crowd| (crowd.start.0 / DAY, crowd.end.0 / DAY)).collect();
            assert_eq!(days, wanted, "{people_max} in {span_days} days");
        }
    }
}
