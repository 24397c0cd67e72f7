//! Reads of what a version in the shadow would have said: so many at once, so many that wait, and the last ones kept, so that
//! whoever turns pages of examples has the days added up once.
//!
//! ```text
//! first page ─▶ a place, a turn ─▶ days added up ─▶ sums and the first examples are kept ─▶ answer
//! next page  ─▶ among what is kept? ─▶ answer
//!               └─▶ as the first one, from its place on
//! ```
//! Pages that follow stand beside the sums of the first one, whatever is counted meanwhile; a first page is always read anew.
//! What is kept goes by the days of a span: whoever names none asks for those until now, and every page has another now.

use crate::api::EngineError;
use crate::directory::Directory;
use crate::register::unavailable;
use crate::shadow_days::{self, DaysOf, ShadowDays};
use engine::shadow_days::{DaysSum, ExamplePlace, ExamplesPage};
use models::ts::{MINUTE, Ts};
use parking_lot::Mutex;
use prometheus::{IntCounterVec, Opts, Registry};
use std::sync::Arc;
use store::Store;
use tokio::sync::Semaphore;

/// Reads at once, and those that wait for their turn.
const AT_ONCE: usize = 2;
const WAITING_MAX: usize = 16;
/// Reads that are kept, a megabyte or two each, and how long.
const KEPT_MAX: usize = 8;
const KEPT_FOR: i64 = 10 * MINUTE;
/// Examples of a read that are kept: two pages of the largest size, a hundred of the usual one.
const EXAMPLES_KEPT: usize = 1_000;
/// What may come of being asked.
const OUTCOMES: [&str; 4] = ["read", "kept", "overloaded", "failed"];

/// What was read, from which example on.
struct Kept {
    of: DaysOf,
    behind: Option<ExamplePlace>,
    at: Ts,
    days: Arc<ShadowDays>,
}

/// Reads of a node.
pub struct ShadowReads {
    /// Whoever has one is waited for.
    places: Semaphore,
    /// Whoever has one reads.
    turns: Semaphore,
    /// The oldest first.
    kept: Mutex<Vec<Kept>>,
    outcomes: IntCounterVec,
}

/// A page of what was read, where all of it is there.
fn page_of(days: &ShadowDays, behind: Option<ExamplePlace>, page: ExamplesPage) -> Option<ShadowDays> {
    let (examples, next) = days.sum.page(behind, page)?;
    let DaysSum { total, operators, days: shown, .. } = &days.sum;
    let sum = DaysSum { total: *total, operators: operators.clone(), days: shown.clone(), examples, next };
    Some(ShadowDays { sum, resolved: days.resolved, is_cut: days.is_cut })
}

impl ShadowReads {
    /// Makes them and registers what is counted.
    ///
    /// # Errors
    /// Where the registry has a metric of this name.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Days of versions in the shadow asked for: added up (read), a page of what was added up before (kept), refused because too many wait (overloaded), and those that failed (failed)";
        let outcomes = IntCounterVec::new(Opts::new("mlinzi_model_shadow_reads_total", help), &["outcome"])?;
        OUTCOMES.iter().for_each(|outcome| outcomes.with_label_values(&[outcome]).reset());
        registry.register(Box::new(outcomes.clone()))?;
        let (places, turns) = (Semaphore::new(AT_ONCE + WAITING_MAX), Semaphore::new(AT_ONCE));
        Ok(Self { places, turns, kept: Mutex::default(), outcomes })
    }

    fn count(&self, outcome: &str) {
        self.outcomes.with_label_values(&[outcome]).inc();
    }

    /// Days of a version in the shadow, with a page of examples.
    ///
    /// # Errors
    /// As many wait as may; the store does not answer.
    pub async fn of(
        &self,
        (store, directory): (&Store, &Directory),
        of: DaysOf,
        page: ExamplesPage,
        now: Ts,
    ) -> Result<ShadowDays, EngineError> {
        let of = of.whole(directory);
        if let Some(kept) = self.kept(of, page, now) {
            return Ok(kept);
        }
        let Ok(_place) = self.places.try_acquire() else {
            self.count("overloaded");
            return Err(EngineError::Overloaded("as many wait for days of versions in the shadow as may"));
        };
        let _turn =
            self.turns.acquire().await.map_err(|_| EngineError::Unavailable("days of a version in the shadow"))?;
        // somebody may have turned the same page meanwhile
        if let Some(kept) = self.kept(of, page, now) {
            return Ok(kept);
        }
        let whole = ExamplesPage { behind: page.behind, limit: EXAMPLES_KEPT };
        let read = shadow_days::read(store, directory, of, whole).await;
        self.count(if read.is_ok() { "read" } else { "failed" });
        let days = Arc::new(read.map_err(unavailable)?);
        self.keep(Kept { of, behind: page.behind, at: now, days: Arc::clone(&days) });
        page_of(&days, page.behind, page).ok_or(EngineError::Unavailable("a page of more examples than are read"))
    }

    /// A page that follows another one, out of what was read not long ago.
    fn kept(&self, of: DaysOf, page: ExamplesPage, now: Ts) -> Option<ShadowDays> {
        page.behind?;
        let mut kept = self.kept.lock();
        kept.retain(|kept| now.0 - kept.at.0 < KEPT_FOR);
        let page =
            kept.iter().rev().filter(|kept| kept.of == of).find_map(|kept| page_of(&kept.days, kept.behind, page));
        drop(kept);
        if page.is_some() {
            self.count("kept");
        }
        page
    }

    /// In the place of what was read of the same from there on, so that no page stands beside older sums; the oldest gives way.
    fn keep(&self, new: Kept) {
        let mut kept = self.kept.lock();
        kept.retain(|kept| kept.of != new.of || kept.behind < new.behind);
        if kept.len() >= KEPT_MAX {
            kept.remove(0);
        }
        kept.push(new);
    }
}

#[cfg(test)]
#[path = "shadow_reads_tests.rs"]
mod tests;
