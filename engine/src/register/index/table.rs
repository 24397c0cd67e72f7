//! The table: from a match key to the word behind it.
//!
//! hashbrown's idea with another layout: one control byte a slot in an array of its own, compared eight at
//! a time, so that a miss touches one cache line. Slots are grouped by 16 and a group is chosen by
//! multiplication instead of a mask, so the table has any size and not only powers of two: 15.3 bytes
//! a key at the load of 0.85 instead of up to 55.
//!
//! Of a key's 88 bits 74 are kept and compared: 7 in the control byte, 35 in the value, 32 in an array that only true
//! hits (and one miss in 2³⁵) look into. The group is chosen by bits that are kept, so that a table can grow out of
//! itself. The chance that somebody unknown is taken for one of twenty million keys is 10⁻¹⁵ a lookup.
//!
//! A key lies in the first word of eight, from the start of its group on, that had room when it was added.
//! Words only fill, so a word with room ends the search: what is looked for cannot lie behind it.

use super::sync::{AtomicU32, AtomicU64, Ordering, Pages};
use models::match_key::MatchKey;

/// Slots whose control bytes are one word.
const WORD_SLOTS: usize = 8;
/// Words of a group.
const GROUP_WORDS: usize = 2;
const GROUP_SLOTS: u64 = (WORD_SLOTS * GROUP_WORDS) as u64;
/// Keys taken per hundred slots. Under loom two a group, so that growth is near.
const LOAD_PERCENT: u64 = if cfg!(loom) { 13 } else { 85 };

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Bits of a key in its control byte.
const CONTROL_BITS: u32 = 7;
/// Bits of a key in its value, from [`CHECK_SHIFT`] on.
const CHECK_BITS: u32 = 64 - CHECK_SHIFT;
/// Bits of a value that say what a key leads to.
pub const CHECK_SHIFT: u32 = 29;

/// What is kept of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Print {
    control: u64,
    /// In place: the high bits of a value.
    check: u64,
    tag: u32,
}

impl Print {
    pub fn of(key: MatchKey) -> Self {
        let check = (key.0 >> CONTROL_BITS) as u64 & ((1 << CHECK_BITS) - 1);
        let tag = (key.0 >> (CONTROL_BITS + CHECK_BITS)) as u32;
        Self { control: 0x80 | key.0 as u64 & 0x7f, check: check << CHECK_SHIFT, tag }
    }

    /// Uniform, and made of kept bits only.
    fn spread(self) -> u64 {
        u64::from(self.tag) << 32 | self.check >> 32
    }
}

/// Control bytes (0 = free, else 0x80 | seven bits of the key), values and tags.
pub struct Table {
    control: Pages<AtomicU64>,
    values: Pages<AtomicU64>,
    tags: Pages<AtomicU32>,
    groups: u64,
}

impl Table {
    pub fn with_capacity(keys: u64) -> Self {
        // one slot stays free whatever the load, so that every search ends
        Self::with_groups((keys * 100).div_ceil(LOAD_PERCENT * GROUP_SLOTS).max(1))
    }

    pub fn with_groups(groups: u64) -> Self {
        let words = groups as usize * GROUP_WORDS;
        let slots = words * WORD_SLOTS;
        Self { control: Pages::zeroed(words), values: Pages::zeroed(slots), tags: Pages::zeroed(slots), groups }
    }

    pub fn groups(&self) -> u64 {
        self.groups
    }

    /// Control bytes, values and tags: all there is, for snapshots.
    pub fn arrays(&self) -> (&[AtomicU64], &[AtomicU64], &[AtomicU32]) {
        (&self.control, &self.values, &self.tags)
    }

    /// Keys it takes.
    pub fn capacity(&self) -> u64 {
        self.groups * GROUP_SLOTS * LOAD_PERCENT / 100
    }

    /// Keys it holds.
    pub fn count(&self) -> u64 {
        self.control.iter().map(|word| u64::from((word.load(Ordering::Relaxed) & HIGH_BITS).count_ones())).sum()
    }

    /// The value of a key. At most one pass over the table, in practice one or two words.
    ///
    /// The control word is loaded with `Acquire` and was stored with `Release` after tag and value: a byte that
    /// is there leads to both, written. The bits of a key in its value never change.
    pub fn find(&self, print: Print) -> Option<&AtomicU64> {
        let mut word_no = self.first_word(print);
        for _ in 0..self.control.len() {
            let word = self.control[word_no].load(Ordering::Acquire);
            let mut matches = equal_bytes(word, print.control);
            while matches != 0 {
                let slot = word_no * WORD_SLOTS + lowest_byte(matches);
                let value = &self.values[slot];
                let same = value.load(Ordering::Relaxed) >> CHECK_SHIFT == print.check >> CHECK_SHIFT;
                if same && self.tags[slot].load(Ordering::Relaxed) == print.tag {
                    return Some(value);
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

    /// Brings near what a search for the key will read, all three lines at once: the search itself goes from one to the
    /// next.
    pub fn prefetch(&self, print: Print) {
        let word_no = self.first_word(print);
        self.control.prefetch(word_no);
        self.values.prefetch(word_no * WORD_SLOTS);
        self.tags.prefetch(word_no * WORD_SLOTS);
    }

    /// Adds a key that is not there; the caller is the only writer and keeps below [`Self::capacity`]. Of `value` the
    /// bits below [`CHECK_SHIFT`] count.
    pub fn insert(&self, print: Print, value: u64) {
        let mut word_no = self.first_word(print);
        for _ in 0..self.control.len() {
            let word = self.control[word_no].load(Ordering::Relaxed);
            let free = free_bytes(word);
            if free != 0 {
                let byte = lowest_byte(free);
                let slot = word_no * WORD_SLOTS + byte;
                self.tags[slot].store(print.tag, Ordering::Relaxed);
                self.values[slot].store(print.check | low(value), Ordering::Relaxed);
                // publishes both
                self.control[word_no].store(word | print.control << (8 * byte), Ordering::Release);
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
            let word = word.load(Ordering::Relaxed);
            let mut taken = word & HIGH_BITS;
            while taken != 0 {
                let byte = lowest_byte(taken);
                let slot = word_no * WORD_SLOTS + byte;
                let value = self.values[slot].load(Ordering::Relaxed);
                let print = Print {
                    control: word >> (8 * byte) & 0xff,
                    check: value & !low(u64::MAX),
                    tag: self.tags[slot].load(Ordering::Relaxed),
                };
                table.insert(print, value);
                taken &= taken - 1;
            }
        }
        table
    }

    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.control) + size_of_val(&*self.values) + size_of_val(&*self.tags)
    }

    /// Lemire's range reduction: keys are digests, so they spread over the groups evenly.
    fn first_word(&self, print: Print) -> usize {
        ((u128::from(print.spread()) * u128::from(self.groups)) >> 64) as usize * GROUP_WORDS
    }

    fn next_word(&self, word_no: usize) -> usize {
        if word_no + 1 == self.control.len() { 0 } else { word_no + 1 }
    }
}

/// The part of a value that is not the key's.
pub fn low(value: u64) -> u64 {
    value & ((1 << CHECK_SHIFT) - 1)
}

/// High bit of every byte that equals `byte`; a byte above an equal one may be reported wrongly, which
/// costs a look at its value. A free byte never is: it differs from every control byte in its high bit.
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

#[cfg(all(test, not(loom)))]
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
        // the worst case: every key of one group, with one control byte
        for keys in [1u64, 13, 100, 1000] {
            let table = Table::with_capacity(keys);
            assert!(table.capacity() >= keys);
            let print = |n: u64| Print::of(MatchKey(u128::from(n) << 7));
            for n in 0..table.capacity() {
                assert!(table.find(print(n)).is_none());
                table.insert(print(n), n);
            }
            assert_eq!(table.count(), table.capacity());
            let grown = table.grown();
            for n in 0..table.capacity() {
                for table in [&table, &grown] {
                    assert_eq!(table.find(print(n)).map(|value| low(value.load(Ordering::Relaxed))), Some(n));
                }
            }
            assert!(table.find(print(table.capacity())).is_none());
        }
    }

    #[test]
    fn keys_that_differ_in_any_kept_bit_are_two() {
        let key = 0x00ab_cdef_0123_4567_89ab_cdef_u128 & ((1 << 88) - 1);
        let table = Table::with_capacity(100);
        table.insert(Print::of(MatchKey(key)), 7);
        for bit in 0..CONTROL_BITS + CHECK_BITS + 32 {
            assert!(table.find(Print::of(MatchKey(key ^ 1 << bit))).is_none(), "bit {bit}");
        }
        assert!(table.find(Print::of(MatchKey(key))).is_some());
    }
}
