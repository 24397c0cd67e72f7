//! What the index shares between threads: the standard library's words, or loom's under `--cfg loom`.
//!
//! Loom runs the index's own code under every order of steps and every value that a load may give
//! (`make loom`, the tests in `loom_tests.rs`). What it cannot look into (`ArcSwap`, `OnceLock`) is made of its
//! atomics there, with no more order than the real one promises.

#[cfg(not(loom))]
mod real {
    pub use super::super::pages::Pages;
    pub use arc_swap::ArcSwap;
    pub use std::sync::OnceLock;
    pub use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};
    pub use std::thread::yield_now;
}

#[cfg(not(loom))]
pub use real::*;
pub use std::sync::atomic::Ordering;

#[cfg(loom)]
mod modelled {
    pub use loom::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};
    pub use loom::thread::yield_now;
    use std::sync::Arc;
    // never held across a step of the model, so it neither waits nor orders anything that loom sees
    use std::sync::Mutex;

    use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// An atomic that begins with zero.
    pub trait Word {
        fn zero() -> Self;
    }

    impl Word for AtomicU64 {
        fn zero() -> Self {
            Self::new(0)
        }
    }

    impl Word for AtomicU32 {
        fn zero() -> Self {
            Self::new(0)
        }
    }

    /// A fixed array of zeroed words.
    pub struct Pages<T>(Box<[T]>);

    impl<T: Word> Pages<T> {
        pub fn zeroed(length: usize) -> Self {
            Self((0..length).map(|_| T::zero()).collect())
        }

        pub fn prefetch(&self, _: usize) {}
    }

    impl<T> std::ops::Deref for Pages<T> {
        type Target = [T];

        fn deref(&self) -> &[T] {
            &self.0
        }
    }

    /// What is shared is one word that says which value is the present one: stored with `Release`, read with `Acquire`.
    pub struct ArcSwap<T> {
        values: Mutex<Vec<Arc<T>>>,
        present: AtomicUsize,
    }

    impl<T> ArcSwap<T> {
        pub fn new(value: Arc<T>) -> Self {
            Self { values: Mutex::new(vec![value]), present: AtomicUsize::new(0) }
        }

        pub fn store(&self, value: Arc<T>) {
            let place = {
                let mut values = self.values.lock().expect("one writer");
                values.push(value);
                values.len() - 1
            };
            self.present.store(place, Ordering::Release);
        }

        pub fn load_full(&self) -> Arc<T> {
            let place = self.present.load(Ordering::Acquire);
            Arc::clone(&self.values.lock().expect("one writer")[place])
        }

        pub fn load(&self) -> Arc<T> {
            self.load_full()
        }
    }

    /// Set by one thread only; shared is one word that says that it is.
    pub struct OnceLock<T> {
        value: std::sync::OnceLock<T>,
        is_set: AtomicBool,
    }

    impl<T> OnceLock<T> {
        pub fn new() -> Self {
            Self { value: std::sync::OnceLock::new(), is_set: AtomicBool::new(false) }
        }

        pub fn get(&self) -> Option<&T> {
            if self.is_set.load(Ordering::Acquire) { self.value.get() } else { None }
        }

        pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
            let value = self.value.get_or_init(make);
            if !self.is_set.load(Ordering::Relaxed) {
                self.is_set.store(true, Ordering::Release);
            }
            value
        }
    }
}

#[cfg(loom)]
pub use modelled::*;
