//! A bounded table by keyed digest: one lookup gives everything that is known of a player, a device or an account.
//!
//! Where it is full, whoever was not heard of for longest *about* gives way (the clock, or second chance: Corbató 1968).
//! The order of slots and the hand are part of the state, so the same inputs forget the same keys, here and after a
//! restart. What is forgotten is counted.

use hashbrown::HashTable;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A keyed digest: its bits are as good as a hash.
pub type Key = u128;

/// What a value takes beyond itself, bytes: lists and ids.
pub trait Weigh {
    /// Bytes on the heap, about.
    fn weigh(&self) -> usize;
}

/// How much a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Keys.
    pub entries: u32,
    /// Bytes of the values' lists, over all of them.
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Slot<V> {
    key: Key,
    /// Heard of since the hand last came by.
    fresh: bool,
    value: V,
}

/// The table.
#[derive(Clone, Debug)]
pub struct Table<V> {
    slots: Vec<Slot<V>>,
    index: HashTable<u32>,
    hand: u32,
    limit: Limit,
    bytes: u64,
    evicted: u64,
}

fn hash(key: Key) -> u64 {
    // 88 bits of a digest and above them, for players, a currency: spread by an odd number (Knuth, multiplicative)
    ((key >> 64) as u64 ^ key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26)
}

impl<V: Default + Weigh> Table<V> {
    /// An empty one.
    #[must_use]
    pub fn new(limit: Limit) -> Self {
        Self { slots: Vec::new(), index: HashTable::new(), hand: 0, limit, bytes: 0, evicted: 0 }
    }

    /// The place of a key, made where it is new.
    pub fn touch(&mut self, key: Key) -> usize {
        let Self { slots, index, .. } = self;
        if let Some(place) = index.find(hash(key), |place| slots[*place as usize].key == key) {
            let place = *place as usize;
            slots[place].fresh = true;
            return place;
        }
        let slot = Slot { key, fresh: true, value: V::default() };
        let place = if self.slots.len() < self.limit.entries.max(1) as usize {
            self.slots.push(slot);
            self.slots.len() - 1
        } else {
            let place = self.victim(None);
            let was = self.slots[place].key;
            if let Ok(entry) = self.index.find_entry(hash(was), |at| *at as usize == place) {
                entry.remove();
            }
            self.bytes -= self.slots[place].value.weigh() as u64;
            self.evicted += 1;
            self.slots[place] = slot;
            place
        };
        let slots = &self.slots;
        self.index.insert_unique(hash(key), place as u32, |at| hash(slots[*at as usize].key));
        place
    }

    /// Changes a value in its place and keeps the books of bytes: where they are too many, others are forgotten.
    pub fn change<R>(&mut self, place: usize, change: impl FnOnce(&mut V) -> R) -> R {
        let value = &mut self.slots[place].value;
        let before = value.weigh() as u64;
        let result = change(value);
        self.bytes = self.bytes - before + value.weigh() as u64;
        // everybody may be fresh: the first time around takes their second chance
        for _ in 0..2 * self.slots.len() {
            if self.bytes <= self.limit.bytes {
                break;
            }
            let other = self.victim(Some(place));
            if other == place {
                break;
            }
            let weight = self.slots[other].value.weigh() as u64;
            if weight > 0 {
                self.bytes -= weight;
                self.slots[other].value = V::default();
                self.evicted += 1;
            }
        }
        result
    }

    /// The next to give way; each slot is passed once with a second chance.
    fn victim(&mut self, keep: Option<usize>) -> usize {
        let length = self.slots.len();
        for _ in 0..2 * length {
            let place = self.hand as usize % length;
            self.hand = ((place + 1) % length) as u32;
            if Some(place) == keep {
                continue;
            }
            if !std::mem::take(&mut self.slots[place].fresh) {
                return place;
            }
        }
        keep.unwrap_or(0)
    }

    /// What is known in a place.
    #[must_use]
    pub fn at(&self, place: usize) -> &V {
        &self.slots[place].value
    }

    /// What is known of a key.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&V> {
        let place = self.index.find(hash(key), |place| self.slots[*place as usize].key == key)?;
        Some(&self.slots[*place as usize].value)
    }

    /// Keys held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// None yet?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of the values' lists.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Values forgotten so far.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}

impl<V: PartialEq> PartialEq for Table<V> {
    fn eq(&self, other: &Self) -> bool {
        (self.limit, self.hand, self.evicted) == (other.limit, other.hand, other.evicted) && self.slots == other.slots
    }
}

impl<V: Serialize> Serialize for Table<V> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        (&self.slots, self.hand, self.limit, self.evicted).serialize(s)
    }
}

impl<'de, V: Deserialize<'de> + Weigh> Deserialize<'de> for Table<V> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let (slots, hand, limit, evicted): (Vec<Slot<V>>, u32, Limit, u64) = Deserialize::deserialize(d)?;
        if slots.len() > limit.entries.max(1) as usize {
            return Err(D::Error::custom("more slots than the table may have"));
        }
        let mut index = HashTable::with_capacity(slots.len());
        for (place, slot) in (0u32..).zip(&slots) {
            index.insert_unique(hash(slot.key), place, |at| hash(slots[*at as usize].key));
        }
        let bytes = slots.iter().map(|slot| slot.value.weigh() as u64).sum();
        Ok(Self { slots, index, hand, limit, bytes, evicted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Weigh for Vec<u8> {
        fn weigh(&self) -> usize {
            self.len()
        }
    }

    #[test]
    fn who_is_heard_of_stays_and_who_is_not_gives_way() {
        let mut table: Table<Vec<u8>> = Table::new(Limit { entries: 3, bytes: 1_000 });
        for key in [1, 2, 3] {
            let place = table.touch(key);
            table.change(place, |value| value.push(key as u8));
        }
        table.touch(4);
        assert_eq!(table.get(1), None, "everybody was fresh: the hand's first gives way");
        table.touch(2);
        table.touch(5);
        assert_eq!((table.get(2).map(Vec::len), table.get(3), table.len(), table.evicted()), (Some(1), None, 3, 2));
    }

    proptest! {
        #[test]
        fn a_table_read_back_goes_on_alike_and_stays_within_its_limits(
            keys in prop::collection::vec((0u128..40, 0usize..30), 1..300), cut in 0usize..300,
        ) {
            let limit = Limit { entries: 16, bytes: 120 };
            let step = |table: &mut Table<Vec<u8>>, (key, size): &(u128, usize)| {
                let place = table.touch(*key);
                table.change(place, |value| value.resize(*size, 7));
                (table.len(), table.bytes(), table.evicted())
            };
            let mut whole = Table::new(limit);
            let cut = cut.min(keys.len());
            keys[..cut].iter().for_each(|key| { step(&mut whole, key); });
            let bytes = postcard::to_allocvec(&whole).unwrap();
            let mut back: Table<Vec<u8>> = postcard::from_bytes(&bytes).unwrap();
            for key in &keys[cut..] {
                let (len, bytes, evicted) = step(&mut whole, key);
                prop_assert_eq!(step(&mut back, key), (len, bytes, evicted));
                prop_assert!(len <= 16 && bytes <= 120);
                prop_assert_eq!(whole.get(key.0).map(Vec::len), Some(key.1));
            }
            prop_assert_eq!(whole.bytes(), whole.slots.iter().map(|slot| slot.value.len() as u64).sum::<u64>());
            prop_assert!(whole == back);
        }
    }
}
