//! Arrays of zeroed words on large pages: the one place in the workspace with `unsafe`.
//!
//! The index reads at random in hundreds of megabytes. With pages of 4 KiB nearly every read walks the page table, in a
//! virtual machine twice; with 2 MiB pages that part goes (a factor of two to three, `docs/BENCHMARKS.md`). Linux gives
//! such pages to memory that is aligned for them and advised before it is first touched. An allocator touches what it
//! hands out at an alignment, so long arrays are mapped.

#![allow(unsafe_code, reason = "a map of bytes is read as words; proofs stand beside each use")]

use memmap2::{MmapMut, MmapOptions};
use std::alloc::{Layout, handle_alloc_error};
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Size of a large page on every platform we build for.
const LARGE: usize = 2 << 20;

/// Words of which every bit pattern, zero included, is a value, and that are shared by reference.
///
/// # Safety
/// All-zero bytes must be a valid value, and the type must not need to be dropped.
pub unsafe trait Word: Sync + Send + Default {}

// SAFETY: an atomic integer has the representation of the integer, for which zero is a value; it has no drop glue.
unsafe impl Word for AtomicU64 {}
// SAFETY: as above.
unsafe impl Word for AtomicU32 {}

/// A fixed array of zeroed words, aligned to large pages where it is as long as one.
pub struct Pages<T: Word> {
    start: *const T,
    length: usize,
    _held: Held<T>,
}

/// What keeps the words.
enum Held<T> {
    Short { _words: Box<[T]> },
    Mapped { _map: MmapMut },
}

// SAFETY: `Pages` owns its memory alone, as a `Box<[T]>` does, and `T: Send + Sync` (by `Word`).
unsafe impl<T: Word> Send for Pages<T> {}
// SAFETY: shared access gives `&[T]` only, and `T: Sync`.
unsafe impl<T: Word> Sync for Pages<T> {}

impl<T: Word> Pages<T> {
    /// So many zeros.
    #[must_use]
    pub fn zeroed(length: usize) -> Self {
        assert!(length <= isize::MAX as usize / size_of::<T>() - LARGE, "longer than memory");
        let bytes = length * size_of::<T>();
        if bytes < LARGE {
            let words: Box<[T]> = (0..length).map(|_| T::default()).collect();
            return Self { start: words.as_ptr(), length, _held: Held::Short { _words: words } };
        }
        // one page more than is needed, so that an aligned start lies in it; what is not touched costs nothing
        let Ok(map) = MmapOptions::new().len(bytes + LARGE).map_anon() else {
            handle_alloc_error(Layout::array::<T>(length).unwrap_or(Layout::new::<T>()))
        };
        // without large pages everything works, slower
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        let start = map.as_ptr();
        // SAFETY: the offset is below `LARGE`, so start and end of the words lie in the map.
        let start = unsafe { start.add(start.align_offset(LARGE)) }.cast::<T>();
        Self { start, length, _held: Held::Mapped { _map: map } }
    }

    /// Asks the processor to bring a word near while other work is done.
    pub fn prefetch(&self, index: usize) {
        #[cfg(target_arch = "x86_64")]
        if let Some(word) = self.get(index) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a hint: it reads nothing that the program sees, and the address is that of a live word.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(word).cast()) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = index;
    }
}

impl<T: Word> Deref for Pages<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `start` is aligned and leads to `length` values that were zeroed, which is valid (`Word`): the kernel
        // zeroes maps. They live until `self` is dropped and never move, and nobody has a `&mut` to them.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn pages_are_zero_hold_what_is_stored_and_are_aligned_when_long() {
        for length in [0usize, 1, 7, LARGE / 8 - 1, LARGE / 8, LARGE / 2] {
            let pages = Pages::<AtomicU64>::zeroed(length);
            assert_eq!(pages.len(), length);
            assert!(pages.iter().all(|word| word.load(Ordering::Relaxed) == 0));
            for (n, word) in pages.iter().enumerate() {
                word.store(n as u64, Ordering::Relaxed);
            }
            assert!(pages.iter().enumerate().all(|(n, word)| word.load(Ordering::Relaxed) == n as u64));
            let aligned = length * 8 < LARGE || pages.as_ptr().addr().is_multiple_of(LARGE);
            assert!(aligned);
        }
        assert_eq!(Pages::<AtomicU32>::zeroed(5).len(), 5);
    }
}
