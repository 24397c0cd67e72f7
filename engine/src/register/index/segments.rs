//! An array that grows without moving: a reader keeps its place while the writer adds more.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

/// Cells of one segment.
const SEGMENT_CELLS: usize = 1 << 14;
/// Most segments; the list of them is allocated at once (0.4 MB).
const SEGMENTS_MAX: usize = 1 << 14;

/// Most cells: 268 million.
pub const CELLS_MAX: u32 = (SEGMENT_CELLS * SEGMENTS_MAX) as u32;

/// Cells of `N` words, all zero until written. A segment is published by its `OnceLock` (`Release` on
/// setting, `Acquire` on getting), so its zeros are visible to whoever finds it.
pub struct Segments<const N: usize> {
    segments: Box<[OnceLock<Segment<N>>]>,
}

type Segment<const N: usize> = Box<[[AtomicU64; N]]>;

impl<const N: usize> Segments<N> {
    pub fn new() -> Self {
        Self { segments: (0..SEGMENTS_MAX).map(|_| OnceLock::new()).collect() }
    }

    /// The cell, if its segment exists.
    pub fn get(&self, number: u32) -> Option<&[AtomicU64; N]> {
        let number = number as usize;
        self.segments.get(number / SEGMENT_CELLS)?.get()?.get(number % SEGMENT_CELLS)
    }

    /// The cell, its segment made where missing; `None` from [`CELLS_MAX`] on.
    pub fn ensure(&self, number: u32) -> Option<&[AtomicU64; N]> {
        let number = number as usize;
        let empty = || (0..SEGMENT_CELLS).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect();
        self.segments.get(number / SEGMENT_CELLS)?.get_or_init(empty).get(number % SEGMENT_CELLS)
    }

    pub fn memory_bytes(&self) -> usize {
        let filled = self.segments.iter().filter(|segment| segment.get().is_some()).count();
        std::mem::size_of_val(&*self.segments) + filled * SEGMENT_CELLS * size_of::<[AtomicU64; N]>()
    }
}
