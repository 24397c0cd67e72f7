//! How many refused records of a source are neither replayed nor dismissed.

use models::ids::SourceNo;
use models::quarantine::QuarantineState;
use models::record::QuarantineCode;
use models::ts::{MINUTE, Ts};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use store::{CommitError, Store, StoreError};

/// After a commit of unknown outcome the open records are counted so long: what was on its way into the database is there
/// by then, or never will be.
const DOUBT_LASTS: i64 = MINUTE;

/// Refused records by why they were refused. Only their source's actor changes them.
#[derive(Default)]
pub struct OpenCounts {
    counts: [AtomicU64; QuarantineCode::ALL.len()],
    /// When a commit failed that may be stored all the same, microseconds; 0 = the counts are true.
    doubted_at: AtomicI64,
    /// The actor was told to count them.
    is_asked: AtomicBool,
}

impl OpenCounts {
    /// How many of a code.
    pub fn of(&self, code: QuarantineCode) -> u64 {
        self.counts[code as usize].load(Ordering::Relaxed)
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Counts them anew.
    pub(crate) async fn read(&self, store: &Store, source_no: SourceNo) -> Result<(), StoreError> {
        let counts = store.quarantine_counts(source_no).await?;
        for code in QuarantineCode::ALL {
            let open = counts.iter().find(|count| count.code == *code && count.state == QuarantineState::Open);
            self.counts[*code as usize].store(open.map_or(0, |count| count.count), Ordering::Relaxed);
        }
        Ok(())
    }

    /// They were counted, while the clock said `now`: true from here on, unless what they were doubted for may yet come.
    pub(super) fn counted(&self, now: Ts) {
        let doubted_for = now.0 - self.doubted_at.load(Ordering::Relaxed);
        // a clock that was set back must not keep the doubt for ever
        if !(0..DOUBT_LASTS).contains(&doubted_for) {
            self.doubted_at.store(0, Ordering::Relaxed);
        }
    }

    /// Whether they have to be counted; true for one who asks until [`Self::give_back`], or until they are counted.
    pub(crate) fn take_doubt(&self) -> bool {
        self.doubted_at.load(Ordering::Relaxed) > 0 && !self.is_asked.swap(true, Ordering::Relaxed)
    }

    /// The actor could not be told.
    pub(crate) fn give_back(&self) {
        self.is_asked.store(false, Ordering::Relaxed);
    }

    pub(super) fn add(&self, code: QuarantineCode, count: u64) {
        self.counts[code as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// A commit that would have changed them failed.
    pub(super) fn doubt(&self, error: &CommitError, now: Ts) {
        if !matches!(
            error,
            CommitError::Full | CommitError::Rotated | CommitError::Settled | CommitError::Rejected { .. }
        ) {
            self.doubted_at.store(now.0, Ordering::Relaxed);
        }
    }

    /// One of them is settled.
    pub(super) fn take(&self, code: QuarantineCode) {
        let one_less = |count: u64| count.checked_sub(1);
        let _ = self.counts[code as usize].try_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
    }
}
