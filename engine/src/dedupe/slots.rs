//! Slots of a few bytes each, zero at first, whose memory goes back to the system as it came.
//!
//! Tables grow in steps of a fifth and are of every size. Out of an allocator that cuts its memory in classes and keeps what
//! is given back, a hundred of them cost up to a fifth more than they hold (`docs/BENCHMARKS.md`, `soak_rss_growth`). So
//! long ones are mapped: they take the pages they touch, and give all of them back.

use memmap2::MmapMut;
use std::ops::{Deref, DerefMut};

/// Bytes from which on slots are mapped: below, pages would be wasted.
const MAPPED_MIN: usize = 64 << 10;
/// Maps are cut to this.
const PAGE: usize = 4 << 10;

/// A list of slots of `N` bytes.
pub struct Slots<const N: usize> {
    held: Held<N>,
    len: usize,
}

enum Held<const N: usize> {
    Short(Box<[[u8; N]]>),
    Mapped(MmapMut),
}

impl<const N: usize> Default for Slots<N> {
    fn default() -> Self {
        Self { held: Held::Short(Box::default()), len: 0 }
    }
}

impl<const N: usize> Slots<N> {
    /// So many zeros.
    pub fn zeroed(len: usize) -> Self {
        let bytes = (len * N).next_multiple_of(PAGE);
        let map = (bytes >= MAPPED_MIN).then(|| MmapMut::map_anon(bytes).ok()).flatten();
        // where the system has no maps left, the allocator may still have room
        let held = map.map_or_else(|| Held::Short(vec![[0; N]; len].into()), Held::Mapped);
        Self { held, len }
    }

    /// More zeros behind the last one.
    pub fn lengthen(&mut self, more: usize) {
        let room = match &self.held {
            Held::Short(slots) => slots.len(),
            Held::Mapped(map) => map.len() / N,
        };
        if self.len + more > room {
            let mut longer = Self::zeroed(self.len + more);
            longer[..self.len].copy_from_slice(self);
            *self = longer;
        } else {
            self.len += more;
        }
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        match &self.held {
            Held::Short(slots) => slots.len() * N,
            Held::Mapped(map) => map.len(),
        }
    }
}

impl<const N: usize> Deref for Slots<N> {
    type Target = [[u8; N]];

    fn deref(&self) -> &[[u8; N]] {
        let all = match &self.held {
            Held::Short(slots) => slots,
            Held::Mapped(map) => map.as_chunks().0,
        };
        &all[..self.len]
    }
}

impl<const N: usize> DerefMut for Slots<N> {
    fn deref_mut(&mut self) -> &mut [[u8; N]] {
        let all = match &mut self.held {
            Held::Short(slots) => slots,
            Held::Mapped(map) => map.as_chunks_mut().0,
        };
        &mut all[..self.len]
    }
}
