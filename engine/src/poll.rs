//! When a source fetches next: its schedule, the retries of what failed, the breaker that leaves a dead peer alone.
//!
//! ```text
//!            success: the schedule's next time
//! Closed ───failure──▶ retry after a backoff ───the 5th in a row──▶ Open ──its time is over──▶ HalfOpen (one probe)
//!    ▲                                                               ▲                              │
//!    └────────────────────────────── success ◀───────────────────────┴────────── failure ◀──────────┘
//! ```
//! Retries are spread by full jitter (a random part of a time that doubles), so that sources of one peer that failed
//! together do not come back together. No retry waits longer than the schedule would; an open breaker waits half a minute at
//! least, however short the schedule is: a peer that is dead is not asked every second.

use jiff::tz::TimeZone;
use models::feed::Schedule;
use models::ts::{HOUR, SECOND, Ts};
use serde::Serialize;

/// Failures in a row that open the breaker.
pub const BREAKER_FAILURES: u32 = 5;
/// First backoff at most, microseconds; doubles with each failure.
const BACKOFF_FIRST: i64 = SECOND;
/// A retry comes no sooner, microseconds.
const BACKOFF_MIN: i64 = SECOND / 10;
/// How long the breaker stays open the first time, microseconds; doubles with each probe that fails.
const OPEN_FIRST: i64 = 30 * SECOND;
/// Nothing waits longer for its next try, microseconds, however rare its schedule is.
const WAIT_MAX: i64 = HOUR;
/// After a start, what is overdue is spread over a tenth of its period, and over so much at most, microseconds.
const SPREAD_MAX: i64 = 10 * SECOND;

/// Whether a source is left alone after failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Breaker {
    /// It is fetched by schedule.
    #[default]
    Closed,
    /// It is left alone.
    Open,
    /// One fetch shows whether it is back.
    HalfOpen,
}

impl Breaker {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Where a source stands in its schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// The next fetch is due then.
    pub next_due: Ts,
    /// Failures in a row.
    pub failures: u32,
    /// The breaker.
    pub breaker: Breaker,
    /// A time of the schedule, without its jitter: the others lie at its distances.
    time: Ts,
    /// Times the breaker has opened in a row.
    opened: u32,
}

/// A part of a span: `chance` is in [0, 1).
fn part(span: i64, chance: f64) -> i64 {
    (span as f64 * chance) as i64
}

/// `first` doubled `times` times, at most `max`.
fn doubled(first: i64, times: u32, max: i64) -> i64 {
    first.saturating_mul(1 << times.min(30)).min(max)
}

/// The schedule's first time behind `now`, where `time` is one of its times.
fn after(schedule: &Schedule, time: Ts, now: Ts) -> Ts {
    match schedule {
        Schedule::Every { .. } => {
            let period = schedule.period().max(SECOND);
            // a clock that was set back must not leave the source waiting for where it was
            let steps = (now.0 - time.0).div_euclid(period) + 1;
            Ts(time.0 + steps * period)
        }
        Schedule::Daily { daily_at, time_zone, .. } => {
            daily(daily_at, time_zone, now).unwrap_or_else(|| now.plus(24 * HOUR))
        }
    }
}

fn daily(at: &str, zone: &str, now: Ts) -> Option<Ts> {
    let zone = TimeZone::get(zone).ok()?;
    let at = jiff::civil::Time::strptime("%H:%M", at).ok()?;
    let today = zone.to_datetime(jiff::Timestamp::from_microsecond(now.0).ok()?).date();
    // a time that the change of clocks skips is taken as RFC 5545 says
    [today, today.tomorrow().ok()?]
        .into_iter()
        .filter_map(|day| zone.to_timestamp(day.to_datetime(at)).ok())
        .map(|instant| Ts(instant.as_microsecond()))
        .find(|instant| *instant > now)
}

impl Poll {
    /// Of a source whose last fetch was at `last`; one that never fetched does so now.
    pub fn start(schedule: &Schedule, last: Option<Ts>, now: Ts, chance: f64) -> Self {
        let mut poll = Self { next_due: now, failures: 0, breaker: Breaker::Closed, time: now, opened: 0 };
        let Some(last) = last else { return poll };
        poll.time = after(schedule, last, last.min(now));
        if poll.time > now {
            poll.next_due = poll.time.plus(part(schedule.jitter(), chance));
        } else {
            // all that fell due while the engine was away
            let spread = (schedule.period() / 10).min(SPREAD_MAX);
            poll.next_due = now.plus(part(spread, chance));
        }
        poll
    }

    /// A fetch begins.
    pub fn begin(&mut self) {
        if self.breaker == Breaker::Open {
            self.breaker = Breaker::HalfOpen;
        }
    }

    /// Everything there was is stored.
    pub fn succeeded(&mut self, schedule: &Schedule, now: Ts, chance: f64) {
        (self.failures, self.opened, self.breaker) = (0, 0, Breaker::Closed);
        self.time = after(schedule, self.time, now);
        self.next_due = self.time.plus(part(schedule.jitter(), chance));
    }

    /// A part of what is there is stored, and the rest is due at once.
    pub fn went_on(&mut self, now: Ts) {
        (self.failures, self.opened, self.breaker) = (0, 0, Breaker::Closed);
        self.next_due = now;
    }

    /// Nothing came, or it could not be stored.
    pub fn failed(&mut self, schedule: &Schedule, now: Ts, chance: f64) {
        self.failures = self.failures.saturating_add(1);
        let longest = schedule.period().min(WAIT_MAX);
        let wait = if self.breaker == Breaker::HalfOpen || self.failures >= BREAKER_FAILURES {
            let open = doubled(OPEN_FIRST, self.opened, longest.max(OPEN_FIRST));
            self.opened = self.opened.saturating_add(1);
            self.breaker = Breaker::Open;
            // the last tenth by chance: a peer that died for many is not probed by all at the same time
            open - part(open / 10, chance)
        } else {
            let most = doubled(BACKOFF_FIRST, self.failures - 1, longest);
            part(most, chance).max(BACKOFF_MIN)
        };
        self.next_due = now.plus(wait);
    }

    /// It asks to be left alone for `wait` microseconds: granted, as long as it is not more than its schedule or an hour.
    pub fn asked_to_wait(&mut self, schedule: &Schedule, now: Ts, wait: i64) {
        let longest = schedule.period().max(WAIT_MAX);
        self.next_due = now.plus(wait.clamp(SECOND, longest));
    }

    /// The schedule is another one now.
    pub fn reschedule(&mut self, schedule: &Schedule, now: Ts, chance: f64) {
        *self = Self::start(schedule, Some(self.time.min(now)), now, chance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ts::{DAY, MINUTE};

    fn every(seconds: u32, jitter: u32) -> Schedule {
        Schedule::Every { every_seconds: seconds, jitter_seconds: jitter }
    }

    fn ts(text: &str) -> Ts {
        Ts::parse(text).unwrap()
    }

    #[test]
    fn the_schedule_keeps_its_times_however_long_a_fetch_takes() {
        // fetch begun at, done at, jitter's chance, next due
        let table = [
            ("10:00:00", "10:00:01", 0.0, "10:10:00"),
            ("10:00:00", "10:09:59", 0.5, "10:10:15"),
            ("10:00:00", "10:10:00", 0.0, "10:20:00"),
            ("10:00:00", "10:35:00", 0.0, "10:40:00"),
        ];
        for (begun, done, chance, next) in table {
            let at = |time: &str| ts(&format!("2026-11-21T{time}Z"));
            let mut poll = Poll::start(&every(600, 30), None, at(begun), 0.9);
            assert_eq!(poll.next_due, at(begun), "the first is due at once");
            poll.begin();
            poll.succeeded(&every(600, 30), at(done), chance);
            assert_eq!(poll.next_due, at(next), "{begun}–{done}");
        }
    }

    #[test]
    fn a_daily_schedule_is_meant_in_its_zone() {
        let daily = |at: &str, zone: &str| Schedule::Daily {
            daily_at: at.to_owned(),
            time_zone: zone.to_owned(),
            jitter_seconds: 600,
        };
        let table = [
            ("03:00", "Africa/Nairobi", "2026-11-21T10:00:00Z", "2026-11-22T00:00:00Z"),
            ("03:00", "Africa/Nairobi", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"),
            ("03:00", "Africa/Nairobi", "2026-11-20T23:59:59Z", "2026-11-21T00:00:00Z"),
            // clocks go back: 01:30 comes twice, the first counts
            ("01:30", "America/New_York", "2026-11-01T00:00:00Z", "2026-11-01T05:30:00Z"),
            // clocks go forward: 02:30 does not come, an hour later does
            ("02:30", "America/New_York", "2026-03-08T00:00:00Z", "2026-03-08T07:30:00Z"),
        ];
        for (at, zone, now, next) in table {
            let mut poll = Poll::start(&daily(at, zone), None, ts(now), 0.0);
            poll.succeeded(&daily(at, zone), ts(now), 0.5);
            assert_eq!(poll.next_due, ts(next).plus(300 * SECOND), "{at} {zone} at {now}");
        }
    }

    #[test]
    fn after_a_start_what_is_overdue_is_spread_and_the_rest_waits_for_its_time() {
        let now = Ts(DAY);
        let due = |last: i64, chance| Poll::start(&every(600, 30), Some(Ts(last)), now, chance).next_due.0 - DAY;
        assert_eq!(due(DAY - 10 * SECOND, 0.0), 590 * SECOND);
        assert_eq!(due(DAY - 10 * SECOND, 0.5), 605 * SECOND);
        assert_eq!(due(DAY - HOUR, 0.0), 0);
        assert_eq!(due(DAY - HOUR, 0.5), 5 * SECOND, "over ten seconds");
        assert_eq!(Poll::start(&every(10, 0), Some(Ts(0)), now, 0.5).next_due.0 - DAY, SECOND / 2, "a tenth of it");
        assert!(due(DAY + HOUR, 0.0) <= 600 * SECOND, "a last fetch in the future: the clock was set back");
    }

    #[test]
    fn failures_back_off_by_chance_and_open_the_breaker() {
        let schedule = every(600, 0);
        let mut poll = Poll::start(&schedule, None, Ts(0), 0.0);
        // seconds until the next try at most, then the breaker
        let table = [
            (1.0, Breaker::Closed),
            (2.0, Breaker::Closed),
            (4.0, Breaker::Closed),
            (8.0, Breaker::Closed),
            (30.0, Breaker::Open),
            (60.0, Breaker::Open),
            (120.0, Breaker::Open),
            (240.0, Breaker::Open),
            (480.0, Breaker::Open),
            (600.0, Breaker::Open),
            (600.0, Breaker::Open),
        ];
        for (n, (most, breaker)) in table.into_iter().enumerate() {
            let was_open = poll.breaker == Breaker::Open;
            poll.begin();
            assert_eq!(poll.breaker == Breaker::HalfOpen, was_open, "an open breaker lets one probe through");
            let now = poll.next_due;
            let wait = |chance| {
                let mut tried = poll.clone();
                tried.failed(&schedule, now, chance);
                (tried.next_due.0 - now.0) as f64 / SECOND as f64
            };
            let (least, almost, half) = (wait(0.0), wait(0.999_999), wait(0.5));
            if breaker == Breaker::Closed {
                assert!((0.1..0.11).contains(&least) && almost <= most && half <= most / 2.0 + 0.1, "failure {n}");
            } else {
                assert_eq!(least, most, "failure {n}");
                assert!(almost >= most * 0.9, "failure {n}");
            }
            poll.failed(&schedule, now, 0.0);
            assert_eq!((poll.breaker, poll.failures), (breaker, n as u32 + 1));
        }
        let now = poll.next_due;
        poll.begin();
        poll.succeeded(&schedule, now, 0.0);
        assert_eq!((poll.breaker, poll.failures), (Breaker::Closed, 0));
        poll.failed(&schedule, now, 0.999_999);
        assert!(poll.next_due.0 - now.0 <= SECOND, "it begins anew");
    }

    #[test]
    fn no_retry_waits_longer_than_the_schedule_or_an_hour() {
        for (schedule, longest) in [(every(2, 0), 30 * SECOND), (every(86_400, 0), HOUR)] {
            let mut poll = Poll::start(&schedule, None, Ts(0), 0.0);
            for n in 0..100 {
                let now = poll.next_due;
                poll.begin();
                poll.failed(&schedule, now, 0.999);
                let most = if n < 4 { schedule.period().min(longest) } else { longest };
                assert!((1..=most).contains(&(poll.next_due.0 - now.0)), "{schedule:?}, failure {n}");
            }
        }
    }

    #[test]
    fn whoever_asks_to_be_left_alone_is_within_bounds() {
        let waits = |wait| {
            let mut poll = Poll::start(&every(60, 0), None, Ts(0), 0.0);
            poll.asked_to_wait(&every(60, 0), Ts(0), wait);
            poll.next_due.0
        };
        assert_eq!([waits(0), waits(5 * MINUTE), waits(DAY)], [SECOND, 5 * MINUTE, HOUR]);
    }

    #[test]
    fn another_schedule_holds_at_once() {
        let mut poll = Poll::start(&every(86_400, 0), None, Ts(0), 0.0);
        poll.succeeded(&every(86_400, 0), Ts(SECOND), 0.0);
        assert_eq!(poll.next_due, Ts(DAY));
        poll.reschedule(&every(60, 0), Ts(90 * SECOND), 0.0);
        assert!(poll.next_due <= Ts(150 * SECOND), "{poll:?}");
    }
}
