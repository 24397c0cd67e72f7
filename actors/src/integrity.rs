//! Days of sources: which of them have to be held against what was declared again, and how complete they are.

use models::feed::integrity::{Declaration, DeclaredStatus, DeclaredTotal, TotalsCompared};
use models::ids::{KeyId, SourceId};
use models::ts::Ts;
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

/// Days of completeness told at once at most.
pub const DAYS_MAX: usize = 92;

/// A declaration, parsed.
#[derive(Clone, Debug)]
pub struct NewDeclaration {
    /// `YYYY-MM-DD`.
    pub day: String,
    /// By whose midnight; none = the jurisdiction's.
    pub time_zone: Option<String>,
    /// Which records it is about.
    pub status: DeclaredStatus,
    /// Each kind once.
    pub totals: Vec<DeclaredTotal>,
    /// With which key.
    pub by: KeyId,
}

/// A declaration held against what is stored.
#[derive(Clone, Debug)]
pub struct Declared {
    /// As it stands in the journal.
    pub declaration: Declaration,
    /// Beside what is stored.
    pub compared: TotalsCompared,
    /// False where the same was declared before.
    pub created: bool,
}

/// How complete a day is; shares in millionths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayCompleteness {
    /// `YYYY-MM-DD`, by the jurisdiction's midnight.
    pub day: String,
    /// Its first instant.
    pub from: Ts,
    /// The first one after it.
    pub to: Ts,
    /// What it is made of.
    pub facts: engine::integrity::completeness::DayFacts,
    /// The shares and their product.
    pub score: engine::integrity::completeness::Completeness,
    /// When the declaration was held against what is stored; none where nothing was declared.
    pub compared_at: Option<Ts>,
}

/// The score of a day, as it is shown with its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DayScore {
    /// `YYYY-MM-DD`.
    pub day: String,
    /// Between 0 and 1,000,000.
    pub score_ppm: i64,
    /// When it was worked out.
    pub as_of: Ts,
}

/// Which sources stored something, and of when: at most one span a source.
#[derive(Clone, Default)]
pub struct Touched(Arc<Mutex<HashMap<SourceId, Span>>>);

#[derive(Clone, Copy, Default)]
struct Span {
    /// Of what came since the last look; none: nothing did.
    of: Option<(Ts, Ts)>,
    /// When it was looked at last.
    looked_at: Option<Ts>,
}

impl Touched {
    /// A source stored records that lie between two instants.
    pub fn touch(&self, source: SourceId, first: Ts, last: Ts) {
        let mut spans = self.0.lock();
        let span = spans.entry(source).or_default();
        span.of = Some(span.of.map_or((first, last), |(from, to)| (from.min(first), to.max(last))));
    }

    /// Sources that were touched and not looked at for a while, which they count as from here on.
    pub(crate) fn take_due(&self, now: Ts, every: Duration) -> Vec<(SourceId, (Ts, Ts))> {
        let every = i64::try_from(every.as_micros()).unwrap_or(i64::MAX);
        let mut due = Vec::new();
        for (source, span) in self.0.lock().iter_mut() {
            let is_due = span.looked_at.is_none_or(|at| now.0.saturating_sub(at.0) >= every);
            if let Some(of) = span.of.take_if(|_| is_due) {
                span.looked_at = Some(now);
                due.push((*source, of));
            }
        }
        due
    }
}

/// A lock for each of something, made when it is first asked for.
pub struct OnePer<K>(Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>);

impl<K> Default for OnePer<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> OnePer<K> {
    /// Waits for its turn.
    pub async fn lock(&self, key: K) -> tokio::sync::OwnedMutexGuard<()> {
        let one = Arc::clone(self.0.lock().entry(key).or_default());
        one.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ts::SECOND;

    #[test]
    fn a_source_is_looked_at_once_a_while_however_much_it_stores() {
        let touched = Touched::default();
        let (one, other) = (SourceId(1), SourceId(2));
        let due = |seconds: i64| touched.take_due(Ts(seconds * SECOND), Duration::from_secs(60));
        touched.touch(one, Ts(5), Ts(6));
        touched.touch(one, Ts(3), Ts(4));
        assert_eq!(due(100), [(one, (Ts(3), Ts(6)))], "at once, and all of it together");
        assert_eq!(due(200), [], "nothing came");
        touched.touch(one, Ts(9), Ts(9));
        assert_eq!(due(201), [(one, (Ts(9), Ts(9)))]);
        touched.touch(one, Ts(7), Ts(7));
        touched.touch(other, Ts(1), Ts(1));
        assert_eq!(due(260), [(other, (Ts(1), Ts(1)))], "not yet");
        assert_eq!(due(261), [(one, (Ts(7), Ts(7)))]);
    }
}
