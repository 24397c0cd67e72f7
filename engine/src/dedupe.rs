//! Which records of a source are known: digests per day over the source's horizon.
//!
//! A record is 12 bytes; a large day holds between 77 % and 92 % of its slots, so it costs at most 16 bytes a record,
//! where a table that doubles would cost up to 30. Every day of the horizon is asked, because an operator may send a
//! record again under another day.

mod slots;

use models::ts::{DAY, Ts};
use slots::Slots;
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

/// The sets of one source.
#[derive(Default)]
pub struct Dedupe {
    days: BTreeMap<i64, Table>,
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

    /// Asks every day for an id, and changes nothing.
    #[must_use]
    pub fn check(&self, id: u64, content: u32) -> Seen {
        match self.days.values().rev().find_map(|table| table.get(id)) {
            Some(known) if known == content => Seen::Duplicate,
            Some(_) => Seen::Conflict,
            None => Seen::New,
        }
    }

    /// Asks every day for an id, and makes it known where it is new.
    pub fn insert(&mut self, id: u64, content: u32, at: Ts) -> Seen {
        let seen = self.check(id, content);
        if seen == Seen::New {
            self.days.entry(day(at)).or_default().insert(id, content);
        }
        seen
    }

    /// Takes back what a failed commit had made known.
    pub fn remove(&mut self, id: u64, at: Ts) {
        if let Some(table) = self.days.get_mut(&day(at)) {
            table.remove(id);
        }
    }

    /// Forgets the days that lie wholly before `horizon`.
    pub fn forget_before(&mut self, horizon: Ts) {
        self.days = self.days.split_off(&day(horizon));
    }

    /// Bytes of the tables.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.days.values().map(Table::bytes).sum()
    }

    /// Records known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.days.values().map(|table| table.len).sum()
    }

    /// Is nothing known?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Linear probing in the order of the ids: the slot where an id would begin rises with the id, so a run can be kept
/// sorted, a search for an unknown id ends at the first larger one, and the table may be fuller than others and grow
/// by a fifth instead of doubling (O. Amble and D. E. Knuth 1974, "Ordered hash tables").
#[derive(Default)]
struct Table {
    /// 0 is an empty slot. Behind `homes` a tail takes what the last run pushes over the end.
    ids: Slots<8>,
    contents: Slots<4>,
    homes: usize,
    len: usize,
}

/// Fullest load, in hundredths.
const LOAD_MAX: usize = 92;
/// Slots by which the tail is lengthened.
const TAIL_STEP: usize = 32;

/// An id is a digest: it is its own hash, and 0 may be taken for 1.
fn stored(id: u64) -> u64 {
    id.max(1)
}

/// No id.
const EMPTY: [u8; 8] = [0; 8];

impl Table {
    fn home(&self, id: u64) -> usize {
        ((u128::from(id) * self.homes as u128) >> 64) as usize
    }

    /// Where the id is, or where it belongs.
    fn place(&self, id: u64) -> Result<usize, usize> {
        let mut at = self.home(id);
        let ids = &*self.ids;
        while let Some(&there) = ids.get(at) {
            let there = u64::from_ne_bytes(there);
            if there == id {
                return Ok(at);
            }
            if there == 0 || there > id {
                break;
            }
            at += 1;
        }
        Err(at)
    }

    fn get(&self, id: u64) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        self.place(stored(id)).ok().map(|at| u32::from_ne_bytes(self.contents[at]))
    }

    fn insert(&mut self, id: u64, content: u32) {
        if (self.len + 1) * 100 > self.homes * LOAD_MAX {
            self.grow();
        }
        let id = stored(id);
        let at = match self.place(id) {
            Ok(at) => {
                self.contents[at] = content.to_ne_bytes();
                return;
            }
            Err(at) => at,
        };
        let empty = self.ids.get(at..).and_then(|behind| behind.iter().position(|there| *there == EMPTY));
        let empty = empty.map_or_else(|| self.lengthen(), |steps| at + steps);
        self.ids.copy_within(at..empty, at + 1);
        self.contents.copy_within(at..empty, at + 1);
        self.ids[at] = id.to_ne_bytes();
        self.contents[at] = content.to_ne_bytes();
        self.len += 1;
    }

    fn remove(&mut self, id: u64) {
        if self.len == 0 {
            return;
        }
        let Ok(at) = self.place(stored(id)) else { return };
        // the rest of the run moves up, as far as it does not stand at its home
        let mut end = at + 1;
        while end < self.ids.len() && self.ids[end] != EMPTY && self.home(u64::from_ne_bytes(self.ids[end])) < end {
            end += 1;
        }
        self.ids.copy_within(at + 1..end, at);
        self.contents.copy_within(at + 1..end, at);
        self.ids[end - 1] = EMPTY;
        self.len -= 1;
    }

    /// A longer tail; gives its first slot.
    fn lengthen(&mut self) -> usize {
        let first = self.ids.len();
        self.ids.lengthen(TAIL_STEP);
        self.contents.lengthen(TAIL_STEP);
        first
    }

    fn grow(&mut self) {
        let homes = (self.homes + self.homes / 5).max(16);
        let slots = homes + TAIL_STEP;
        let (ids, contents) = (Slots::zeroed(slots), Slots::zeroed(slots));
        let old = std::mem::replace(self, Self { ids, contents, homes, len: self.len });
        // sorted: each goes to its home or right behind the one before
        let mut next = 0;
        for (id, content) in old.ids.iter().zip(&*old.contents).filter(|(id, _)| **id != EMPTY) {
            let at = self.home(u64::from_ne_bytes(*id)).max(next);
            if at == self.ids.len() {
                self.lengthen();
            }
            self.ids[at] = *id;
            self.contents[at] = *content;
            next = at + 1;
        }
    }

    fn bytes(&self) -> usize {
        self.ids.bytes() + self.contents.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn digest(n: u64) -> u64 {
        // splitmix64: spread like a digest's bits
        let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }

    #[test]
    fn a_large_day_costs_at_most_sixteen_bytes_a_record() {
        let mut dedupe = Dedupe::new();
        for n in 1..=300_000u64 {
            assert_eq!(dedupe.insert(digest(n), n as u32, Ts(0)), Seen::New);
            if n >= 20_000 && n % 1000 == 0 {
                assert!(dedupe.bytes() as u64 <= 16 * n, "{} bytes for {n} records", dedupe.bytes());
            }
        }
        assert!((1..=300_000).all(|n| dedupe.check(digest(n), n as u32) == Seen::Duplicate));
        assert!((300_001..=400_000).all(|n| dedupe.check(digest(n), 0) == Seen::New));
    }

    #[test]
    fn ids_that_all_belong_into_one_slot_are_kept_without_growing() {
        for base in [1, u64::MAX - 5000] {
            let mut dedupe = Dedupe::new();
            (0..5000).for_each(|n| assert_eq!(dedupe.insert(base + n, 1, Ts(0)), Seen::New));
            assert!((0..5000).all(|n| dedupe.check(base + n, 1) == Seen::Duplicate));
            assert!(dedupe.bytes() <= 5000 * 28, "{}", dedupe.bytes());
        }
    }

    /// Ids that spread, crowd at the start, crowd at the end.
    fn an_id() -> impl Strategy<Value = u64> {
        prop_oneof![(0u64..40).prop_map(digest), 0u64..40, (0u64..40).prop_map(|n| u64::MAX - n)]
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_map(steps in prop::collection::vec((an_id(), 0u32..2, 0i64..3, 0u8..8), 0..600)) {
            let mut dedupe = Dedupe::new();
            let mut naive: HashMap<u64, (u32, i64)> = HashMap::new();
            for (id, content, on, what) in steps {
                // 0 and 1 are one id in the table
                let id = id.max(1);
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
