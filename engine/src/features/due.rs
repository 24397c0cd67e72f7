//! Who is to be scored: by player, because more is heard of them, and by day, because the oldest one is scored first.

use crate::rules::table::Key;
use models::match_key::MatchKey;
use models::money::Currency;
use models::ts::Ts;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Somebody who is to be scored, in a currency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Due {
    pub currency: Currency,
    /// End of the newest day of theirs that is over.
    pub as_of: Ts,
    pub has_low_balance: bool,
    /// The bits of the vector's places. Empty: nothing was heard of them since, and the history gives them.
    pub vector: Vec<u32>,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Kept")]
pub(super) struct DuePlayers {
    players: BTreeMap<Key, Vec<Due>>,
    /// The same ones by the day. Not in the bytes: it follows from them.
    #[serde(skip)]
    days: BTreeMap<Ts, BTreeSet<(Key, Currency)>>,
}

/// As it lies in the bytes.
#[derive(Deserialize)]
struct Kept {
    players: BTreeMap<Key, Vec<Due>>,
}

impl From<Kept> for DuePlayers {
    fn from(Kept { players }: Kept) -> Self {
        let mut days: BTreeMap<Ts, BTreeSet<(Key, Currency)>> = BTreeMap::new();
        for (player, all) in &players {
            for due in all {
                days.entry(due.as_of).or_default().insert((*player, due.currency));
            }
        }
        Self { players, days }
    }
}

impl DuePlayers {
    pub fn is_empty(&self) -> bool {
        self.players.is_empty()
    }

    /// Players, however many currencies they play in.
    pub fn len(&self) -> usize {
        self.players.len()
    }

    pub fn contains(&self, player: Key) -> bool {
        self.players.contains_key(&player)
    }

    /// In all of a player's currencies.
    pub fn of(&self, player: Key) -> &[Due] {
        self.players.get(&player).map(Vec::as_slice).unwrap_or_default()
    }

    pub fn get(&self, player: Key, currency: Currency) -> Option<&Due> {
        self.of(player).iter().find(|due| due.currency == currency)
    }

    /// The first ones of the oldest day, at most `max`.
    pub fn oldest(&self, max: usize) -> Option<(Ts, Vec<(MatchKey, Currency)>)> {
        let (as_of, those) = self.days.first_key_value()?;
        let those = those.iter().take(max).map(|(player, currency)| (MatchKey(*player), *currency));
        Some((*as_of, those.collect()))
    }

    /// Somebody is due, and not as of an earlier day of theirs.
    pub fn insert(&mut self, player: Key, due: Due) {
        self.remove(player, due.currency, Ts(i64::MAX));
        self.days.entry(due.as_of).or_default().insert((player, due.currency));
        self.players.entry(player).or_default().push(due);
    }

    /// The vector of somebody who is due is known from now on.
    pub fn write(&mut self, player: Key, currency: Currency, vector: Vec<u32>) {
        let mut all = self.players.get_mut(&player).into_iter().flatten();
        if let Some(due) = all.find(|due| due.currency == currency) {
            due.vector = vector;
        }
    }

    /// Somebody is not due any more as of an instant; a later day of theirs is.
    pub fn remove(&mut self, player: Key, currency: Currency, as_of: Ts) {
        let Some(all) = self.players.get_mut(&player) else { return };
        let Some(place) = all.iter().position(|due| due.currency == currency && due.as_of <= as_of) else { return };
        let due = all.remove(place);
        if all.is_empty() {
            self.players.remove(&player);
        }
        if let Some(day) = self.days.get_mut(&due.as_of) {
            day.remove(&(player, currency));
            if day.is_empty() {
                self.days.remove(&due.as_of);
            }
        }
    }

    /// Nobody is.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{read, write};

    fn due(currency: Currency, as_of: i64) -> Due {
        Due { currency, as_of: Ts(as_of), has_low_balance: true, vector: Vec::new() }
    }

    #[test]
    fn the_oldest_day_comes_first_whatever_comes_and_goes() {
        let (kes, eur) = (Currency::KES, Currency::EUR);
        let mut all = DuePlayers::default();
        for (player, currency, as_of) in [(3, kes, 10), (1, kes, 20), (1, eur, 10), (2, kes, 10), (3, kes, 30)] {
            all.insert(player, due(currency, as_of));
        }
        let who = |player, currency| (MatchKey(player), currency);
        // who is scored as of when | the oldest ones then, at most two
        type Row = (&'static str, Option<(u128, Currency, i64)>, Option<(i64, Vec<(MatchKey, Currency)>)>);
        let table: Vec<Row> = vec![
            ("a newer day took the place of an older one", None, Some((10, vec![who(1, eur), who(2, kes)]))),
            ("another currency", Some((1, kes, 10)), Some((10, vec![who(1, eur), who(2, kes)]))),
            ("one of two", Some((1, eur, 10)), Some((10, vec![who(2, kes)]))),
            ("the day is empty", Some((2, kes, 10)), Some((20, vec![who(1, kes)]))),
            ("an older day of theirs", Some((3, kes, 20)), Some((20, vec![who(1, kes)]))),
            ("the next", Some((1, kes, 20)), Some((30, vec![who(3, kes)]))),
            ("the last", Some((3, kes, 30)), None),
        ];
        for (what, scored, wanted) in table {
            if let Some((player, currency, as_of)) = scored {
                all.remove(player, currency, Ts(as_of));
            }
            assert_eq!(all.oldest(2), wanted.map(|(as_of, those)| (Ts(as_of), those)), "{what}");
            let again: DuePlayers = read(&write(&all).unwrap()).unwrap();
            assert_eq!(again, all, "{what}: from its bytes");
        }
        assert_eq!((all.is_empty(), all), (true, DuePlayers::default()));
    }
}
