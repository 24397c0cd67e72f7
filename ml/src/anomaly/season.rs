//! What the hour lets expect: a profile of the day and one of the week, each learnt as the series goes.
//!
//! A profile is the mean of each quarter of an hour of a day, or of each hour of a week, by the wall clock: people keep
//! their hours when the clocks change. What has passed between two points is counted in instants. It counts as much as
//! it has proven: where it errs as much as the plain level does, the level is the forecast; where it explains half of
//! the variance or more, it nearly is. The week takes over from the day only where it errs clearly less.

use super::detector::Moment;
use super::tail::Mean;
use models::ts::{DAY, HOUR, SECOND, Ts};
use serde::{Deserialize, Serialize};

const WEEK: i64 = 7 * DAY;
/// Days, and weeks, that a bin of a profile remembers.
const DAYS: f64 = 7.0;
const WEEKS: f64 = 4.0;
/// Points that the level and the skills remember.
pub(super) const LEVEL_MEMORY: f64 = 5000.0;
const SKILL_MEMORY: f64 = 2000.0;
/// Points between judgements of skill before a profile counts.
const JUDGED_MIN: f64 = 10.0;
/// Weight of a profile = 1.25 × the share of variance it explains, 1 at most.
const WEIGHT_OF_EXPLAINED: f64 = 1.25;
/// The week's profile is used where its mean error is below this share of the day's: it has a seventh of the points to
/// learn a bin from, so a small gain is chance.
const WEEK_ERROR_SHARE: f64 = 0.6;
/// Points on which the week must have done so.
const WEEK_JUDGED_MIN: f64 = 14.0;

/// Bins of the day (quarters of an hour), and behind them of the week (hours).
const DAY_BINS: i64 = 96;
const WEEK_BINS: i64 = 168;

/// The profiles of a series and what they have proven.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Season {
    /// 96 bins of the day and 168 of the week, in rows because serde takes arrays of up to 32 elements.
    bins: [[Mean; 24]; 11],
    /// Mean of everything.
    level: Mean,
    day: Skill,
    week: Skill,
    /// Mean errors of both forecasts over the same points, for the choice between them.
    day_error: Mean,
    week_error: Mean,
    /// Mean seconds between points.
    interval: Mean,
    first_at: Option<Ts>,
    last_at: Option<Ts>,
}

/// Mean errors of a profile and of the level where both could be judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Skill {
    profile: Mean,
    level: Mean,
}

impl Season {
    /// What was to be expected of the value `seen` at a moment; learns it afterwards. The first value is expected as it is.
    pub fn expect(&mut self, Moment { at, wall }: Moment, seen: f64) -> f64 {
        let first_at = *self.first_at.get_or_insert(at);
        if let Some(last) = self.last_at.replace(at) {
            let seconds = at.0.saturating_sub(last.0) / SECOND;
            if seconds > 0 {
                self.interval.push(seconds.min(WEEK / SECOND) as f64, 200.0);
            }
        }
        if self.level.is_empty() {
            self.level.push(seen, LEVEL_MEMORY);
        }
        let level = self.level.value;
        let day_bin = wall.0.rem_euclid(DAY) / (DAY / DAY_BINS);
        let week_bin = DAY_BINS + wall.0.rem_euclid(WEEK) / (WEEK / WEEK_BINS);
        let interval = self.interval.value.max(1.0);
        let day_memory = DAYS * (((DAY / DAY_BINS / SECOND) as f64) / interval).max(1.0);
        let week_memory = WEEKS * (((HOUR / SECOND) as f64) / interval).max(1.0);
        let (of_day, of_week) = (*self.bin(day_bin), *self.bin(week_bin));
        let week_known = at.0.saturating_sub(first_at.0) >= WEEK && !of_week.is_empty();

        let by_day = judged(&mut self.day, of_day, level, seen);
        let by_week = judged(&mut self.week, of_week, level, seen);
        let by_week_better = self.week_error.weight() >= WEEK_JUDGED_MIN
            && self.week_error.value < WEEK_ERROR_SHARE * self.day_error.value;
        if week_known {
            self.day_error.push((seen - by_day).abs(), SKILL_MEMORY);
            self.week_error.push((seen - by_week).abs(), SKILL_MEMORY);
        }
        self.bin(day_bin).push(seen, day_memory);
        self.bin(week_bin).push(seen, week_memory);
        self.level.push(seen, LEVEL_MEMORY);
        if week_known && by_week_better { by_week } else { by_day }
    }

    /// The level of the whole series.
    pub fn level(&self) -> f64 {
        self.level.value
    }

    fn bin(&mut self, number: i64) -> &mut Mean {
        &mut self.bins[(number / 24) as usize][(number % 24) as usize]
    }
}

/// The forecast of a profile that counts as much as it has proven.
fn judged(skill: &mut Skill, bin: Mean, level: f64, seen: f64) -> f64 {
    if bin.is_empty() {
        return level;
    }
    skill.profile.push((seen - bin.value).abs(), SKILL_MEMORY);
    skill.level.push((seen - level).abs(), SKILL_MEMORY);
    if skill.profile.weight() < JUDGED_MIN {
        return level;
    }
    let ratio = skill.profile.value / skill.level.value.max(f64::MIN_POSITIVE);
    let weight = (WEIGHT_OF_EXPLAINED * (1.0 - ratio * ratio)).clamp(0.0, 1.0);
    level + weight * (bin.value - level)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monday(hours: i64) -> Moment {
        Moment::in_utc(Ts::parse("2026-01-05T00:00:00Z").unwrap().plus(hours * HOUR))
    }

    /// Largest error of the forecasts of the last of some weeks of hourly values.
    fn error_of_last_week(weeks: i64, value: impl Fn(i64) -> f64) -> f64 {
        let mut season = Season::default();
        let mut worst = 0.0f64;
        for hour in 0..weeks * 168 {
            let expected = season.expect(monday(hour), value(hour));
            if hour >= (weeks - 1) * 168 {
                worst = worst.max((expected - value(hour)).abs());
            }
        }
        worst
    }

    #[test]
    fn what_is_expected_of_the_hour() {
        let by_hour = |hour: i64| if (8..20).contains(&(hour % 24)) { 100.0 } else { 10.0 };
        let closed_on_sundays = |hour: i64| if hour / 24 % 7 == 6 { 0.0 } else { by_hour(hour) };
        assert!(error_of_last_week(3, |_| 50.0) < 1e-9, "a constant");
        assert!(error_of_last_week(3, by_hour) < 1e-9, "days that are alike");
        assert!(error_of_last_week(8, closed_on_sundays) < 1e-9, "weeks that are alike");
    }

    #[test]
    fn noise_has_no_season() {
        let mut state = 1u64;
        let mut season = Season::default();
        for hour in 0..2000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = (state >> 33) as f64 / f64::from(1u32 << 31);
            let expected = season.expect(monday(hour), value);
            assert!(hour < 500 || (expected - 0.5).abs() < 0.1, "hour {hour}: the level, not {expected}");
        }
    }
}
