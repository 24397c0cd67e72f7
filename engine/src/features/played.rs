//! Who has played, by the end of the day: they are scored when it is over.

use super::player;
use crate::rules::table::Key;
use models::money::Currency;
use models::ts::Ts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Players of all days; beyond, they wait for another day of theirs.
pub const PLAYED_MAX: usize = player::OPERATOR_PLAYERS.entries as usize;

/// Players by key, with the currencies in which they have played.
type Players = BTreeMap<Key, Vec<Currency>>;

/// Players by the end of the day.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Played {
    /// No day without a player.
    days: BTreeMap<Ts, Players>,
    /// Players of all days: who has played on two of them is two.
    count: usize,
}

impl Played {
    /// Somebody has played on a day that ends then. False: there is no room for one more.
    pub fn note(&mut self, (player, currency): (Key, Currency), end: Ts) -> bool {
        let is_known = self.days.get(&end).is_some_and(|day| day.contains_key(&player));
        if !is_known && self.count >= PLAYED_MAX {
            return false;
        }
        self.count += usize::from(!is_known);
        let currencies = self.days.entry(end).or_default().entry(player).or_default();
        if !currencies.contains(&currency) {
            currencies.push(currency);
        }
        true
    }

    /// Takes those of days that end until then, the oldest first.
    pub fn take_until(&mut self, end: Ts) -> Vec<(Key, Currency)> {
        let behind = self.days.split_off(&end.plus(1));
        let over = std::mem::replace(&mut self.days, behind);
        self.count -= over.values().map(BTreeMap::len).sum::<usize>();
        let each = |(player, currencies): (Key, Vec<Currency>)| currencies.into_iter().map(move |one| (player, one));
        over.into_values().flatten().flat_map(each).collect()
    }

    /// Has somebody played, on any day?
    #[must_use]
    pub fn holds(&self, player: Key, currency: Currency) -> bool {
        let mut days = self.days.values().filter_map(|day| day.get(&player));
        days.any(|currencies| currencies.contains(&currency))
    }

    /// Ends of days, the oldest first.
    pub fn ends(&self) -> impl Iterator<Item = Ts> {
        self.days.keys().copied()
    }

    /// Nobody has.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_taken_whole_and_room_comes_back_with_them() {
        let (kes, eur) = (Currency::KES, Currency::EUR);
        let mut played = Played::default();
        for (player, currency, end) in [(2, kes, 10), (1, kes, 10), (1, eur, 10), (1, kes, 10), (1, kes, 20)] {
            assert!(played.note((player, currency), Ts(end)));
        }
        assert_eq!((played.count, played.ends().collect::<Vec<_>>()), (3, vec![Ts(10), Ts(20)]));
        let last = PLAYED_MAX as u128;
        (3..last).for_each(|player| assert!(played.note((player, kes), Ts(20))));
        // player, currency, end | is there room?
        for (what, player, currency, end, wanted) in [
            ("one more", last, kes, 20, false),
            ("one more on a day of its own", last, kes, 30, false),
            ("somebody of another day", 2, kes, 20, false),
            ("another currency of one who is there", 2, eur, 10, true),
        ] {
            assert_eq!(played.note((player, currency), Ts(end)), wanted, "{what}");
        }
        assert_eq!(played.ends().count(), 2, "no day without a player");
        assert!(played.holds(2, eur) && !played.holds(last, kes));
        assert_eq!(played.take_until(Ts(10)), [(1, kes), (1, eur), (2, kes), (2, eur)]);
        assert!(played.note((last, kes), Ts(20)) && played.note((2, kes), Ts(20)) && !played.note((2, kes), Ts(30)));
        assert_eq!(played.take_until(Ts(30)).len(), PLAYED_MAX);
        assert_eq!(played, Played::default());
    }
}
