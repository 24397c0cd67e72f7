//! An array that grows without moving: a reader keeps its place while the writer adds more.

use super::sync::{AtomicU64, OnceLock, Pages};

/// Cells of one segment: of two words they fill one large page.
const SEGMENT_CELLS: usize = if cfg!(loom) { 2 } else { 1 << 17 };
/// Most segments; the list of them is allocated at once (64 KB).
const SEGMENTS_MAX: usize = if cfg!(loom) { 6 } else { 1 << 11 };

/// Most cells: 268 million.
pub const CELLS_MAX: u32 = (SEGMENT_CELLS * SEGMENTS_MAX) as u32;

/// Cells of `N` words, all zero until written. A segment is published by its `OnceLock` (`Release` on
/// setting, `Acquire` on getting), so its zeros are visible to whoever finds it.
pub struct Segments<const N: usize> {
    segments: Box<[OnceLock<Pages<AtomicU64>>]>,
}

impl<const N: usize> Segments<N> {
    pub fn new() -> Self {
        Self { segments: (0..SEGMENTS_MAX).map(|_| OnceLock::new()).collect() }
    }

    /// The cell, if its segment exists.
    pub fn get(&self, number: u32) -> Option<&[AtomicU64; N]> {
        let number = number as usize;
        self.segments.get(number / SEGMENT_CELLS)?.get().and_then(|segment| cell(segment, number))
    }

    /// Brings a cell near, where it exists.
    pub fn prefetch(&self, number: u32) {
        let number = number as usize;
        if let Some(segment) = self.segments.get(number / SEGMENT_CELLS).and_then(OnceLock::get) {
            segment.prefetch(number % SEGMENT_CELLS * N);
        }
    }

    /// The cell, its segment made where missing; `None` from [`CELLS_MAX`] on.
    pub fn ensure(&self, number: u32) -> Option<&[AtomicU64; N]> {
        let number = number as usize;
        let segment = self.segments.get(number / SEGMENT_CELLS)?;
        cell(segment.get_or_init(|| Pages::zeroed(SEGMENT_CELLS * N)), number)
    }

    /// One more than the highest number whose segment exists.
    pub fn length(&self) -> u32 {
        let last = self.segments.iter().rposition(|segment| segment.get().is_some());
        last.map_or(0, |last| ((last + 1) * SEGMENT_CELLS) as u32)
    }

    pub fn memory_bytes(&self) -> usize {
        let filled = self.segments.iter().filter(|segment| segment.get().is_some()).count();
        size_of_val(&*self.segments) + filled * SEGMENT_CELLS * size_of::<[AtomicU64; N]>()
    }
}

fn cell<const N: usize>(segment: &[AtomicU64], number: usize) -> Option<&[AtomicU64; N]> {
    segment.get(number % SEGMENT_CELLS * N..)?.first_chunk()
}
