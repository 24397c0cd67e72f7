//! How often an actor may crash, and how long it waits before the next try. Pure: time and chance come in as values.

use std::time::Duration;

use tokio::time::Instant;

/// More than `restarts` counted restarts within `window` quarantine the actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Restarts tolerated.
    pub restarts: usize,
    /// The sliding window they are counted in.
    pub window: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { restarts: 5, window: Duration::from_secs(60) }
    }
}

/// Exponential backoff with jitter: the n-th crash in the window waits between half and all of `min * 2^(n-1)`,
/// at most `max`. The jitter keeps actors that failed together from coming back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Longest wait after the first crash.
    pub min: Duration,
    /// Longest wait ever.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { min: Duration::from_millis(100), max: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// `crashes` counts from 1; `chance` is in 0..1.
    fn delay(self, crashes: usize, chance: f64) -> Duration {
        let doublings = u32::try_from(crashes.saturating_sub(1)).unwrap_or(u32::MAX).min(31);
        let full = self.min.saturating_mul(1 << doublings).min(self.max);
        full.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
    }
}

/// What to do after a crash.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Restart(Duration),
    Quarantine,
}

struct Crash {
    at: Instant,
    /// Sequence of the message being handled, where one was.
    culprit: Option<u64>,
    /// The culprit turned out to contain a record that panics on its own.
    poisoned: bool,
}

/// The crashes of one actor within the budget's window.
pub(crate) struct Ledger {
    budget: Budget,
    backoff: Backoff,
    crashes: Vec<Crash>,
    pardoned_at: Option<Instant>,
}

impl Ledger {
    pub(crate) fn new(budget: Budget, backoff: Backoff) -> Self {
        Self { budget, backoff, crashes: Vec::new(), pardoned_at: None }
    }

    /// Counts a crash. There is no wait when the next step is a split anyway, or when the actor just proved that its
    /// crashes come from bad records and not from itself: waiting would punish the good records behind them.
    pub(crate) fn crashed(&mut self, now: Instant, culprit: Option<u64>, chance: f64) -> Verdict {
        let window = self.budget.window;
        self.crashes.retain(|crash| now.duration_since(crash.at) < window);
        self.crashes.push(Crash { at: now, culprit, poisoned: false });
        if self.crashes.len() > self.budget.restarts {
            return Verdict::Quarantine;
        }
        let split_is_next = culprit.is_some()
            && self.crashes.iter().filter(|crash| crash.culprit == culprit).count()
                >= super::CRASHES_BEFORE_SPLIT as usize;
        let bad_records_lately =
            culprit.is_some() && self.pardoned_at.is_some_and(|at| now.duration_since(at) < window);
        if split_is_next || bad_records_lately {
            return Verdict::Restart(Duration::ZERO);
        }
        Verdict::Restart(self.backoff.delay(self.crashes.len(), chance))
    }

    /// A record of `culprit` panicked on its own: its crashes wait for a pardon.
    pub(crate) fn poisoned(&mut self, culprit: u64) {
        for crash in self.crashes.iter_mut().filter(|crash| crash.culprit == Some(culprit)) {
            crash.poisoned = true;
        }
    }

    /// Something was applied after (or beside) a bad record: the actor itself is sound.
    pub(crate) fn pardon(&mut self, now: Instant) {
        self.crashes.retain(|crash| !crash.poisoned);
        self.pardoned_at = Some(now);
    }

    /// Somebody released the actor from quarantine.
    pub(crate) fn clear(&mut self) {
        self.crashes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger::new(Budget::default(), Backoff::default())
    }

    #[test]
    fn backoff_doubles_up_to_its_maximum() {
        let backoff = Backoff::default();
        let table = [(1, 100), (2, 200), (3, 400), (7, 6_400), (8, 10_000), (500, 10_000)];
        for (crashes, full_ms) in table {
            assert_eq!(backoff.delay(crashes, 1.0), Duration::from_millis(full_ms), "crash {crashes}");
            assert_eq!(backoff.delay(crashes, 0.0), Duration::from_millis(full_ms) / 2, "crash {crashes}");
        }
    }

    #[test]
    fn the_sixth_crash_in_a_minute_quarantines_and_a_slower_one_does_not() {
        for (gap_s, quarantined) in [(1, true), (11, true), (12, false), (13, false)] {
            let (mut ledger, start) = (ledger(), Instant::now());
            let mut last = Verdict::Quarantine;
            for n in 0..6 {
                last = ledger.crashed(start + Duration::from_secs(gap_s * n), None, 1.0);
            }
            assert_eq!(last == Verdict::Quarantine, quarantined, "every {gap_s} s");
        }
    }

    #[test]
    fn crashes_of_poisoned_messages_are_pardoned_by_progress_only() {
        let (mut ledger, now) = (ledger(), Instant::now());
        for culprit in 0..50 {
            assert!(matches!(ledger.crashed(now, Some(culprit), 1.0), Verdict::Restart(_)));
            assert_eq!(ledger.crashed(now, Some(culprit), 1.0), Verdict::Restart(Duration::ZERO));
            ledger.poisoned(culprit);
            ledger.pardon(now);
        }
        for culprit in 100..103 {
            ledger.crashed(now, Some(culprit), 1.0);
            let second = ledger.crashed(now, Some(culprit), 1.0);
            assert_eq!(second == Verdict::Quarantine, culprit == 102, "message {culprit}");
            ledger.poisoned(culprit);
        }
    }

    #[test]
    fn a_pardon_spares_crashes_that_no_record_explains() {
        let (mut ledger, now) = (ledger(), Instant::now());
        for _ in 0..5 {
            ledger.crashed(now, Some(1), 1.0);
            ledger.pardon(now);
        }
        assert_eq!(ledger.crashed(now, Some(1), 1.0), Verdict::Quarantine);
    }
}
