//! Threads that give way to those who answer lookups.

use std::sync::atomic::{AtomicBool, Ordering};

/// Work that runs politer than the rest of the process. A system that forbids that (a seccomp filter) shows it nowhere, and
/// lookups then wait for work that nobody waits for; so it is said, once.
pub struct Background {
    what: &'static str,
    niceness: i32,
    said: AtomicBool,
}

impl Background {
    /// `what` names the work in the log; `niceness` is by how much politer it is (`nice`).
    #[must_use]
    pub const fn new(what: &'static str, niceness: i32) -> Self {
        Self { what, niceness, said: AtomicBool::new(false) }
    }

    /// Makes the calling thread politer; on Linux that is of this thread alone.
    pub fn enter(&self) {
        self.hear(rustix::process::nice(self.niceness));
    }

    /// What came of it; true where it was said now.
    fn hear(&self, niceness: rustix::io::Result<i32>) -> bool {
        let Err(error) = niceness else { return false };
        let is_news = !self.said.swap(true, Ordering::Relaxed);
        if is_news {
            tracing::warn!(%error, work = self.what, "work in the background runs at ordinary priority: lookups may wait for it");
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn who_may_not_give_way_says_so_once() {
        let work = Background::new("tests", 10);
        assert!(!work.hear(Ok(10)));
        assert!(work.hear(Err(Errno::PERM)), "the first time");
        assert!(!work.hear(Err(Errno::PERM)), "and no more");
    }

    #[test]
    fn a_thread_gives_way_alone() {
        let own = || rustix::process::getpriority_process(None).unwrap();
        let before = own();
        let inside = std::thread::spawn(move || {
            Background::new("tests", 5).enter();
            own()
        });
        assert_eq!((inside.join().unwrap(), own()), ((before + 5).min(19), before));
    }
}
