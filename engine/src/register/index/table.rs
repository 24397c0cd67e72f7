//! The table: from the 64-bit tag of a key to the word behind it.
//!
//! hashbrown's idea with another layout: one control byte a slot in an array of its own, compared eight at
//! a time, so that a miss touches one cache line. Slots are grouped by 16 and a group is chosen by
//! multiplication instead of a mask, so the table has any size and not only powers of two: about 20 bytes
//! a key at the load of 0.85 instead of up to 55.
//!
//! A key lies in the first word of eight, from the start of its group on, that had room when it was added.
//! Words only fill, so a word with room ends the search: what is looked for cannot lie behind it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Slots whose control bytes are one word.
const WORD_SLOTS: usize = 8;
/// Words of a group.
const GROUP_WORDS: usize = 2;
const GROUP_SLOTS: u64 = (WORD_SLOTS * GROUP_WORDS) as u64;
/// Keys taken per hundred slots.
const LOAD_PERCENT: u64 = 85;

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// 16 bytes that never straddle two cache lines.
#[repr(align(16))]
pub struct Slot {
    /// Written once, before the control byte.
    tag: AtomicU64,
    /// What the key leads to; changed by single stores.
    pub value: AtomicU64,
}

/// Control bytes (0 = free, else 0x80 | seven bits of the tag) and slots.
pub struct Table {
    control: Box<[AtomicU64]>,
    slots: Box<[Slot]>,
    groups: u64,
}

impl Table {
    pub fn with_capacity(keys: u64) -> Self {
        // one slot stays free whatever the load, so that every search ends
        Self::with_groups((keys * 100).div_ceil(LOAD_PERCENT * GROUP_SLOTS).max(1))
    }

    fn with_groups(groups: u64) -> Self {
        let words = groups as usize * GROUP_WORDS;
        Self {
            control: (0..words).map(|_| AtomicU64::new(0)).collect(),
            slots: (0..words * WORD_SLOTS).map(|_| Slot { tag: AtomicU64::new(0), value: AtomicU64::new(0) }).collect(),
            groups,
        }
    }

    /// Keys it takes.
    pub fn capacity(&self) -> u64 {
        self.groups * GROUP_SLOTS * LOAD_PERCENT / 100
    }

    /// The slot of a tag. At most one pass over the table, in practice one or two words.
    ///
    /// The control word is loaded with `Acquire` and was stored with `Release` after the slot: a byte that
    /// is there leads to a written tag and value.
    pub fn find(&self, tag: u64) -> Option<&Slot> {
        let control = control_byte(tag);
        let mut word_no = self.first_word(tag);
        for _ in 0..self.control.len() {
            let word = self.control[word_no].load(Ordering::Acquire);
            let mut matches = equal_bytes(word, control);
            while matches != 0 {
                let slot = &self.slots[word_no * WORD_SLOTS + lowest_byte(matches)];
                if slot.tag.load(Ordering::Relaxed) == tag {
                    return Some(slot);
                }
                matches &= matches - 1;
            }
            if free_bytes(word) != 0 {
                return None;
            }
            word_no = self.next_word(word_no);
        }
        None
    }

    /// Adds a tag that is not there; the caller is the only writer and keeps below [`Self::capacity`].
    pub fn insert(&self, tag: u64, value: u64) {
        let mut word_no = self.first_word(tag);
        for _ in 0..self.control.len() {
            let word = self.control[word_no].load(Ordering::Relaxed);
            let free = free_bytes(word);
            if free != 0 {
                let byte = lowest_byte(free);
                let slot = &self.slots[word_no * WORD_SLOTS + byte];
                slot.tag.store(tag, Ordering::Relaxed);
                slot.value.store(value, Ordering::Relaxed);
                // publishes both
                self.control[word_no].store(word | control_byte(tag) << (8 * byte), Ordering::Release);
                return;
            }
            word_no = self.next_word(word_no);
        }
        unreachable!("the index keeps a part of its slots free");
    }

    /// The same keys in half as much room again. The copy is published by the swap that follows.
    pub fn grown(&self) -> Self {
        let table = Self::with_groups(self.groups + self.groups.div_ceil(2));
        for (word_no, word) in self.control.iter().enumerate() {
            let mut taken = word.load(Ordering::Relaxed) & HIGH_BITS;
            while taken != 0 {
                let slot = &self.slots[word_no * WORD_SLOTS + lowest_byte(taken)];
                table.insert(slot.tag.load(Ordering::Relaxed), slot.value.load(Ordering::Relaxed));
                taken &= taken - 1;
            }
        }
        table
    }

    pub fn memory_bytes(&self) -> usize {
        std::mem::size_of_val(&*self.control) + std::mem::size_of_val(&*self.slots)
    }

    /// Tags are uniform, so their high half spreads over the groups evenly (Lemire's range reduction).
    fn first_word(&self, tag: u64) -> usize {
        ((u128::from(tag) * u128::from(self.groups)) >> 64) as usize * GROUP_WORDS
    }

    fn next_word(&self, word_no: usize) -> usize {
        if word_no + 1 == self.control.len() { 0 } else { word_no + 1 }
    }
}

/// The low bits, which the choice of the group does not use.
fn control_byte(tag: u64) -> u64 {
    0x80 | tag & 0x7f
}

/// High bit of every byte that equals `byte`; a byte above an equal one may be reported wrongly, which
/// costs a look at its tag. A free byte never is: it differs from every control byte in its high bit.
fn equal_bytes(word: u64, byte: u64) -> u64 {
    let difference = word ^ (byte * LOW_BITS);
    difference.wrapping_sub(LOW_BITS) & !difference & HIGH_BITS
}

fn free_bytes(word: u64) -> u64 {
    !word & HIGH_BITS
}

fn lowest_byte(high_bits: u64) -> usize {
    high_bits.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found_and_free_ones_never_are() {
        let word = u64::from_le_bytes([0x81, 0x80, 0, 0x81, 0xff, 0, 0, 0]);
        assert_eq!(equal_bytes(word, 0xff), 0x80 << 32);
        for byte in 0x80..=0xff {
            assert_eq!(equal_bytes(word, byte) & free_bytes(word), 0, "{byte:x}");
        }
        assert_eq!(free_bytes(word), 0x8080_8000_0080_0000);
    }

    #[test]
    fn a_table_at_its_load_finds_all_and_ends_every_search() {
        // the worst case: every tag of one group, with one control byte
        for keys in [1u64, 13, 100, 1000] {
            let table = Table::with_capacity(keys);
            assert!(table.capacity() >= keys);
            let tag = |n: u64| n << 7;
            for n in 0..table.capacity() {
                assert!(table.find(tag(n)).is_none());
                table.insert(tag(n), n);
            }
            let grown = table.grown();
            for n in 0..table.capacity() {
                for table in [&table, &grown] {
                    assert_eq!(table.find(tag(n)).map(|slot| slot.value.load(Ordering::Relaxed)), Some(n));
                }
            }
            assert!(table.find(tag(table.capacity())).is_none());
        }
    }
}
