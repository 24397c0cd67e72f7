//! Arrays of zeroed words on large pages: the one place in the workspace with `unsafe`.
//!
//! The index reads at random in hundreds of megabytes. With pages of 4 KiB nearly every read walks the page table, in a
//! virtual machine twice; with 2 MiB pages that part goes (a factor of two to three, `docs/BENCHMARKS.md`). Linux gives
//! such pages to memory that is aligned for them and asks before it is first touched, which a `Box` cannot.

#![allow(unsafe_code, reason = "aligned, advised memory cannot be had from Box; proofs stand beside each use")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Size of a large page on every platform we build for.
const LARGE: usize = 2 << 20;

/// Words of which every bit pattern, zero included, is a value, and that are shared by reference.
///
/// # Safety
/// All-zero bytes must be a valid value, and the type must not need to be dropped.
pub unsafe trait Word: Sync + Send {}

// SAFETY: an atomic integer has the representation of the integer, for which zero is a value; it has no drop glue.
unsafe impl Word for AtomicU64 {}
// SAFETY: as above.
unsafe impl Word for AtomicU32 {}

/// A fixed array of zeroed words, aligned to large pages where it is as long as one.
pub struct Pages<T: Word> {
    start: *mut T,
    length: usize,
}

// SAFETY: `Pages` owns its memory alone, as a `Box<[T]>` does, and `T: Send + Sync` (by `Word`).
unsafe impl<T: Word> Send for Pages<T> {}
// SAFETY: shared access gives `&[T]` only, and `T: Sync`.
unsafe impl<T: Word> Sync for Pages<T> {}

impl<T: Word> Pages<T> {
    fn layout(length: usize) -> Layout {
        let bytes = length * size_of::<T>();
        let align = if bytes >= LARGE { LARGE } else { align_of::<T>() };
        // cannot fail: `length` was taken from a `Vec`-sized request, and aligning 2 MiB up stays below isize::MAX
        Layout::from_size_align(bytes, align).unwrap_or_else(|_| handle_alloc_error(Layout::new::<T>()))
    }

    /// So many zeros.
    #[must_use]
    pub fn zeroed(length: usize) -> Self {
        assert!(length <= isize::MAX as usize / size_of::<T>() - LARGE, "longer than memory");
        let layout = Self::layout(length);
        if layout.size() == 0 {
            return Self { start: std::ptr::NonNull::dangling().as_ptr(), length: 0 };
        }
        // SAFETY: the size is not zero.
        let start = unsafe { alloc_zeroed(layout) }.cast::<T>();
        if start.is_null() {
            handle_alloc_error(layout);
        }
        if layout.align() == LARGE {
            advise(start.cast(), layout.size());
        }
        Self { start, length }
    }
}

impl<T: Word> Deref for Pages<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `start` is aligned and leads to `length` values that were zeroed, which is valid (`Word`); they live
        // until `self` is dropped, and nobody has a `&mut` to them. Empty: dangling, aligned and never read.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

impl<T: Word> Drop for Pages<T> {
    fn drop(&mut self) {
        let layout = Self::layout(self.length);
        if layout.size() > 0 {
            // SAFETY: allocated in `zeroed` with this layout, and not used after this.
            unsafe { dealloc(self.start.cast(), layout) }
        }
    }
}

/// Asks for large pages; without them everything works, slower.
#[cfg(target_os = "linux")]
fn advise(start: *mut u8, bytes: usize) {
    // SAFETY: the range is a live allocation of ours of that size; the advice changes no content.
    unsafe {
        libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE);
    }
}

#[cfg(not(target_os = "linux"))]
fn advise(_: *mut u8, _: usize) {}

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
