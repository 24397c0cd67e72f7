//! How fast a channel sends, and when it tries again. No clock and no chance in here.

use models::ts::{HOUR, MINUTE, SECOND, Ts};
use std::time::Duration;

/// How long a notice is tried for, microseconds.
pub const TRIED_FOR: i64 = 72 * HOUR;
/// Before the second attempt, about, microseconds.
const FIRST: i64 = 2 * SECOND;
/// Between two attempts of one notice at most.
const LAST: i64 = 10 * MINUTE;
/// How long a channel that fails is left alone at most, whatever waits.
const REST: i64 = MINUTE;
/// What another side may ask for at most.
const ASKED_MAX: i64 = HOUR;

/// When a notice is tried again after so many attempts; `chance` is from 0 to 1.
pub fn retry_at(now: Ts, attempts: u32, asked: Option<Duration>, chance: f64) -> Ts {
    now.plus(delay(attempts, LAST, chance).max(micros(asked)))
}

/// Until when a channel that failed so many times in a row is left alone.
pub fn rest_until(now: Ts, failures: u32, asked: Option<Duration>, chance: f64) -> Ts {
    now.plus(delay(failures, REST, chance).max(micros(asked)))
}

/// Doubles, up to `most`; then between a half and the whole of it, so that what failed together is not tried together.
fn delay(attempts: u32, most: i64, chance: f64) -> i64 {
    let doubled = FIRST.saturating_mul(1i64 << attempts.saturating_sub(1).min(30)).min(most);
    (doubled as f64 * (0.5 + 0.5 * chance.clamp(0.0, 1.0))) as i64
}

fn micros(asked: Option<Duration>) -> i64 {
    asked.map_or(0, |asked| i64::try_from(asked.as_micros()).unwrap_or(i64::MAX).min(ASKED_MAX))
}

/// A token bucket: so many a minute, and as many at once.
#[derive(Debug)]
pub struct Bucket {
    /// Microseconds that a token takes.
    each: i64,
    /// What a full bucket takes to fill.
    most: i64,
    /// When it is, or was, full again.
    full_at: Ts,
}

impl Bucket {
    /// Full.
    pub fn new(per_minute: u32) -> Self {
        let each = MINUTE / i64::from(per_minute.max(1));
        Self { each, most: each * i64::from(per_minute.max(1)), full_at: Ts(i64::MIN) }
    }

    /// Takes one, or says when there is one.
    pub fn take(&mut self, now: Ts) -> Result<(), Ts> {
        // a clock that was set back must not hold everything up for longer than a bucket takes to fill
        let full_at = self.full_at.max(now).min(now.plus(self.most));
        let next = full_at.plus(self.each);
        if next.0 - now.0 > self.most {
            return Err(Ts(next.0 - self.most));
        }
        self.full_at = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_lie_further_and_further_apart_and_never_beyond_ten_minutes() {
        let seconds = |attempts, chance| (retry_at(Ts(0), attempts, None, chance).0) as f64 / SECOND as f64;
        let whole: Vec<f64> = (1..=11).map(|n| seconds(n, 1.0)).collect();
        assert_eq!(whole, [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 600.0, 600.0]);
        assert_eq!((seconds(1, 0.0), seconds(u32::MAX, 0.0), seconds(0, 1.0)), (1.0, 300.0, 2.0));
        let asked = |s| retry_at(Ts(0), 1, Some(Duration::from_secs(s)), 1.0).0 / SECOND;
        assert_eq!((asked(1), asked(90), asked(u64::MAX)), (2, 90, 3_600));
        let rest: Vec<i64> = (1..=8).map(|n| rest_until(Ts(0), n, None, 1.0).0 / SECOND).collect();
        assert_eq!(rest, [2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_bucket_gives_so_many_a_minute() {
        let mut bucket = Bucket::new(30);
        let start = Ts(1_000 * MINUTE);
        let mut taken = Vec::new();
        for tenth in 0..1_800 {
            let now = start.plus(tenth * SECOND / 10);
            while bucket.take(now).is_ok() {
                taken.push(now);
            }
        }
        let within = |from: i64, to: i64| {
            taken.iter().filter(|at| (start.0 + from * SECOND..start.0 + to * SECOND).contains(&at.0)).count()
        };
        assert_eq!((within(0, 1), within(1, 60), within(60, 120), within(120, 180)), (30, 29, 30, 30));
    }

    #[test]
    fn who_finds_none_is_told_when_there_is_one() {
        let mut bucket = Bucket::new(1);
        assert_eq!(bucket.take(Ts(MINUTE)), Ok(()));
        assert_eq!(bucket.take(Ts(MINUTE + SECOND)), Err(Ts(2 * MINUTE)));
        assert_eq!(bucket.take(Ts(2 * MINUTE)), Ok(()));
        assert_eq!(bucket.take(Ts(0)), Err(Ts(MINUTE)), "the clock was set back");
    }
}
