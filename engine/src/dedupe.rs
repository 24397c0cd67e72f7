//! Which records of a source are known: digests per day over the source's horizon.
//!
//! A record costs 12 bytes of content in an open-addressing table, at most about 16 × its load; every day of the
//! horizon is asked, because an operator may send a record again under another day.

use hashbrown::HashTable;
use models::ts::{DAY, Ts};
use std::collections::BTreeMap;

/// What the sets say of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is new, and now known.
    New,
    /// It is known with the same content.
    Duplicate,
    /// Its id is known with other content.
    Conflict,
    /// It lies behind the horizon (said by the caller, who knows the clock).
    BehindHorizon,
}

#[derive(Clone, Copy)]
#[repr(C, packed(4))]
struct Entry {
    id: u64,
    content: u32,
}

/// The sets of one source.
#[derive(Default)]
pub struct Dedupe {
    days: BTreeMap<i64, HashTable<Entry>>,
}

fn day(at: Ts) -> i64 {
    at.0.div_euclid(DAY)
}

impl Dedupe {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every day for an id, and makes it known where it is new.
    pub fn insert(&mut self, id: u64, content: u32, at: Ts) -> Seen {
        // the id is a digest: it is its own hash
        let known = self.days.values().find_map(|table| table.find(id, |e| e.id == id).map(|e| e.content));
        match known {
            Some(same) if same == content => Seen::Duplicate,
            Some(_) => Seen::Conflict,
            None => {
                let table = self.days.entry(day(at)).or_default();
                table.insert_unique(id, Entry { id, content }, |e| e.id);
                Seen::New
            }
        }
    }

    /// Takes back what a failed commit had made known.
    pub fn remove(&mut self, id: u64, at: Ts) {
        if let Some(table) = self.days.get_mut(&day(at))
            && let Ok(entry) = table.find_entry(id, |e| e.id == id)
        {
            entry.remove();
        }
    }

    /// Forgets the days that lie wholly before `horizon`.
    pub fn forget_before(&mut self, horizon: Ts) {
        self.days = self.days.split_off(&day(horizon));
    }

    /// Bytes of the tables.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.days.values().map(HashTable::allocation_size).sum()
    }

    /// Records known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.days.values().map(HashTable::len).sum()
    }

    /// Is nothing known?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn agrees_with_a_plain_map(steps in prop::collection::vec((0u64..40, 0u32..2, 0i64..5, 0u8..8), 0..400)) {
            let mut dedupe = Dedupe::new();
            let mut naive: HashMap<u64, (u32, i64)> = HashMap::new();
            for (id, content, on, what) in steps {
                let at = Ts(on * DAY + 5);
                match what {
                    0 => {
                        if let Some((_, known)) = naive.remove(&id) {
                            dedupe.remove(id, Ts(known * DAY));
                        }
                    }
                    1 => {
                        dedupe.forget_before(at);
                        naive.retain(|_, (_, known)| *known >= on);
                    }
                    _ => {
                        let wanted = match naive.get(&id) {
                            Some((same, _)) if *same == content => Seen::Duplicate,
                            Some(_) => Seen::Conflict,
                            None => {
                                naive.insert(id, (content, on));
                                Seen::New
                            }
                        };
                        prop_assert_eq!(dedupe.insert(id, content, at), wanted);
                    }
                }
                prop_assert_eq!(dedupe.len(), naive.len());
            }
        }
    }
}
