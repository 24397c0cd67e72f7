//! Where a source that fetches stands, as its actor, the schedule's task and the screens share it.

use super::FetchError;
use engine::poll::{Breaker, Poll};
use models::feed::Schedule;
use models::ts::{SECOND, Ts};
use parking_lot::Mutex;
use serde::Serialize;

/// Shared state of one source.
#[derive(Default)]
pub struct Polling(Mutex<State>);

#[derive(Default)]
struct State {
    /// None until its actor has read where it stood, and for sources that are pushed to.
    poll: Option<Poll>,
    /// By which schedule.
    schedule: Option<Schedule>,
    /// A fetch waits in its actor's queue, or is under way.
    queued: bool,
    last_fetch_at: Option<Ts>,
    asked_at: Option<Ts>,
    last_error: Option<(String, Ts)>,
    cursor: Option<String>,
}

/// What is shown of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PollingView {
    /// When it fetches next.
    pub next_due: Option<Ts>,
    /// When the last fetch began.
    pub last_fetch_at: Option<Ts>,
    /// Failures in a row.
    pub failures: u32,
    /// Whether it is left alone after failures.
    pub breaker: Breaker,
    /// Why the last fetch failed; none where it did not.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<Ts>,
    /// When a turn last ended that had its answer or its refusal from the peer.
    #[serde(skip)]
    pub asked_at: Option<Ts>,
    /// How far it was read, in its reader's words; not for screens.
    #[serde(skip)]
    pub cursor: Option<String>,
}

/// How a turn of fetches ended.
#[derive(Debug)]
pub enum Turn {
    /// Everything there was is stored.
    Done,
    /// More is there.
    More,
    /// The source failed.
    Failed(FetchError),
    /// The source is fine, the store is not.
    NotStored(&'static str),
}

impl Polling {
    /// The actor has read where the source stood; only the first time counts.
    pub fn start(&self, schedule: &Schedule, last: Option<Ts>, cursor: Option<String>, now: Ts, chance: f64) {
        let mut state = self.0.lock();
        state.cursor = cursor;
        if state.poll.is_none() {
            state.poll = Some(Poll::start(schedule, last, now, chance));
            state.schedule = Some(schedule.clone());
        }
    }

    /// Takes the fetch that is due; whoever took it sends it, or gives it back.
    pub fn take_due(&self, now: Ts) -> bool {
        let mut state = self.0.lock();
        let is_due = !state.queued && state.poll.as_ref().is_some_and(|poll| poll.next_due <= now);
        state.queued |= is_due;
        is_due
    }

    /// The fetch could not be sent: it stays due.
    pub fn give_back(&self) {
        self.0.lock().queued = false;
    }

    /// The next fetch is due now, whatever the schedule says. False where the source does not fetch yet.
    pub fn due_now(&self, now: Ts) -> bool {
        let mut state = self.0.lock();
        state.poll.as_mut().map(|poll| poll.next_due = poll.next_due.min(now)).is_some()
    }

    /// Perhaps another schedule.
    pub fn reschedule(&self, schedule: &Schedule, now: Ts, chance: f64) {
        let mut state = self.0.lock();
        if state.schedule.as_ref() == Some(schedule) {
            return;
        }
        if let Some(poll) = state.poll.as_mut() {
            poll.reschedule(schedule, now, chance);
            state.schedule = Some(schedule.clone());
        }
    }

    /// A fetch begins; gives how late, microseconds.
    pub fn begin(&self, now: Ts) -> i64 {
        let mut state = self.0.lock();
        state.last_fetch_at = Some(now);
        state.poll.as_mut().map_or(0, |poll| {
            poll.begin();
            (now.0 - poll.next_due.0).max(0)
        })
    }

    /// What was read is stored up to there.
    pub fn moved(&self, cursor: &str) {
        self.0.lock().cursor = Some(cursor.to_owned());
    }

    /// A turn has ended.
    pub fn ended(&self, schedule: &Schedule, turn: &Turn, now: Ts, chance: f64) {
        let mut state = self.0.lock();
        state.queued = false;
        if !matches!(turn, Turn::NotStored(_)) {
            state.asked_at = Some(now);
        }
        state.last_error = match turn {
            Turn::Done | Turn::More => None,
            Turn::Failed(error) => Some((error.to_string(), now)),
            Turn::NotStored(what) => Some((format!("not stored: {what}"), now)),
        };
        let Some(poll) = state.poll.as_mut() else { return };
        match turn {
            Turn::Done => poll.succeeded(schedule, now, chance),
            Turn::More => poll.went_on(now),
            Turn::Failed(FetchError::Wait(wait)) => {
                poll.asked_to_wait(schedule, now, i64::try_from(wait.as_micros()).unwrap_or(i64::MAX));
            }
            Turn::Failed(_) => poll.failed(schedule, now, chance),
            // no fault of the peer's: its breaker stays as it is, and all sources do not come back at once
            Turn::NotStored(_) => {
                poll.asked_to_wait(schedule, now, SECOND + (chance * SECOND as f64) as i64);
            }
        }
    }

    /// What is shown.
    pub fn view(&self) -> PollingView {
        let state = self.0.lock();
        PollingView {
            next_due: state.poll.as_ref().map(|poll| poll.next_due),
            last_fetch_at: state.last_fetch_at,
            failures: state.poll.as_ref().map_or(0, |poll| poll.failures),
            breaker: state.poll.as_ref().map_or(Breaker::Closed, |poll| poll.breaker),
            last_error: state.last_error.as_ref().map(|(text, _)| text.clone()),
            last_error_at: state.last_error.as_ref().map(|(_, at)| *at),
            asked_at: state.asked_at,
            cursor: state.cursor.clone().filter(|cursor| !cursor.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const EVERY: Schedule = Schedule::Every { every_seconds: 60, jitter_seconds: 0 };

    #[test]
    fn a_fetch_is_sent_once_until_it_has_ended() {
        let polling = Polling::default();
        assert!(!polling.take_due(Ts(0)), "before its actor knows where it stood");
        assert!(!polling.due_now(Ts(0)));
        polling.start(&EVERY, None, None, Ts(0), 0.0);
        assert!(polling.take_due(Ts(0)));
        assert!(!polling.take_due(Ts(SECOND)), "it is under way");
        polling.give_back();
        assert!(polling.take_due(Ts(SECOND)));
        assert_eq!(polling.begin(Ts(2 * SECOND)), 2 * SECOND, "late by");
        polling.ended(&EVERY, &Turn::Done, Ts(3 * SECOND), 0.0);
        assert!(!polling.take_due(Ts(59 * SECOND)));
        assert!(polling.due_now(Ts(30 * SECOND)) && polling.take_due(Ts(30 * SECOND)));
        polling.ended(&EVERY, &Turn::More, Ts(31 * SECOND), 0.0);
        assert!(polling.take_due(Ts(31 * SECOND)), "there is more");
        polling.give_back();
        polling.reschedule(&EVERY, Ts(31 * SECOND), 0.0);
        assert!(polling.take_due(Ts(31 * SECOND)), "the schedule is the same");
        polling.give_back();
        polling.reschedule(&Schedule::Every { every_seconds: 5, jitter_seconds: 0 }, Ts(31 * SECOND), 0.0);
        assert!(!polling.take_due(Ts(31 * SECOND)) && polling.take_due(Ts(36 * SECOND)));
    }

    #[test]
    fn what_went_wrong_is_shown_and_only_the_peers_faults_open_its_breaker() {
        let polling = Polling::default();
        polling.start(&EVERY, None, Some("7".to_owned()), Ts(0), 0.0);
        for n in 1..=9 {
            polling.ended(&EVERY, &Turn::NotStored("the database"), Ts(n), 0.0);
        }
        let view = polling.view();
        assert_eq!((view.failures, view.breaker, view.next_due), (0, Breaker::Closed, Some(Ts(9 + SECOND))));
        assert_eq!(view.last_error.as_deref(), Some("not stored: the database"));
        assert_eq!(view.asked_at, None, "whether the peer has anything is not known");
        polling.ended(&EVERY, &Turn::Failed(FetchError::Wait(Duration::from_secs(90))), Ts(0), 0.0);
        assert_eq!((polling.view().next_due, polling.view().asked_at), (Some(Ts(90 * SECOND)), Some(Ts(0))));
        for n in 1..=5 {
            polling.ended(&EVERY, &Turn::Failed(FetchError::TooLarge), Ts(n), 0.0);
        }
        let view = polling.view();
        assert_eq!((view.failures, view.breaker, view.last_error_at), (5, Breaker::Open, Some(Ts(5))));
        polling.moved("8");
        polling.ended(&EVERY, &Turn::Done, Ts(6), 0.0);
        let view = polling.view();
        assert_eq!((view.failures, view.breaker, view.last_error), (0, Breaker::Closed, None));
        assert_eq!(view.cursor.as_deref(), Some("8"));
    }
}
