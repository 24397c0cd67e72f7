//! Seasons: how much is played at an hour of a week, and when somebody plays next.

use super::dice::Dice;
use super::scenario::Season;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use models::ts::{DAY, Ts};

/// Hours of a week.
const HOURS: usize = 7 * 24;
/// Hours that are night.
const NIGHT: std::ops::Range<usize> = 0..6;
/// Days that wages last.
const PAID_DAYS: i8 = 3;

/// How much more or less than on average is played at each hour of a local week.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
    /// Of each hour from Monday 00:00 on; their mean is 1.
    weights: Vec<f64>,
    max: f64,
    /// Days of the month on which wages are there, and how much more is played then.
    paid: Vec<i8>,
    paid_factor: f64,
}

impl Calendar {
    /// Of a season (even where there is none) in a zone, for somebody who rather plays at night by a factor.
    pub fn new(zone: TimeZone, season: Option<&Season>, night_factor: f64) -> Self {
        let mut weights: Vec<f64> = (0..HOURS)
            .map(|hour| {
                let (day, hour) = (hour / 24, hour % 24);
                let night = if NIGHT.contains(&hour) { night_factor } else { 1.0 };
                night * season.map_or(1.0, |season| weight(season, day, hour))
            })
            .collect();
        let mean = weights.iter().sum::<f64>() / HOURS as f64;
        weights.iter_mut().for_each(|weight| *weight /= mean);
        let paid_factor = season.map_or(1.0, |season| season.payday_factor);
        let first = season.iter().flat_map(|season| season.paydays.iter().copied());
        let paid: Vec<i8> = first.flat_map(|day| (0..PAID_DAYS).map(move |later| day + later)).collect();
        let most = if paid.is_empty() { 1.0 } else { paid_factor.max(1.0) };
        let max = weights.iter().copied().fold(0.0, f64::max) * most;
        Self { zone, weights, max, paid, paid_factor }
    }

    /// How much more or less than on average is played then.
    pub fn weight(&self, at: Ts) -> f64 {
        let local = self.local(at);
        let is_paid = self.paid.contains(&local.day());
        self.weights[hour_of_week(local)] * if is_paid { self.paid_factor } else { 1.0 }
    }

    /// Whether it is night there.
    pub fn is_night(&self, at: Ts) -> bool {
        NIGHT.contains(&(self.hour(at) % 24))
    }

    fn local(&self, at: Ts) -> jiff::civil::DateTime {
        let instant = jiff::Timestamp::from_microsecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        self.zone.to_datetime(instant)
    }

    fn hour(&self, at: Ts) -> usize {
        hour_of_week(self.local(at))
    }

    /// The next time of a Poisson process of so many events a day on average, by thinning (Lewis and Shedler 1979); none
    /// where there are no events.
    pub fn next(&self, dice: &mut Dice, after: Ts, per_day: f64) -> Option<Ts> {
        if per_day <= 0.0 {
            return None;
        }
        let mean = DAY as f64 / (per_day * self.max);
        let mut at = after;
        loop {
            at = at.plus(dice.exponential(mean).max(1.0) as i64);
            if dice.happens(self.weight(at) / self.max) {
                return Some(at);
            }
        }
    }
}

fn hour_of_week(local: jiff::civil::DateTime) -> usize {
    let day = local.date().weekday().since(Weekday::Monday).unsigned_abs();
    usize::from(day) * 24 + local.hour().unsigned_abs() as usize
}

fn weight(season: &Season, day: usize, hour: usize) -> f64 {
    let is_match = season.match_days.iter().any(|match_day| usize::try_from(*match_day) == Ok(day + 1))
        && season.match_hours.is_none_or(|(from, to)| {
            (i64::from(from)..i64::from(to)).contains(&i64::try_from(hour).unwrap_or(i64::MAX))
        });
    let matches = if is_match { season.match_factor } else { 1.0 };
    season.hours[hour] * season.weekdays[day] * matches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn season() -> Season {
        let mut hours = vec![1.0; 24];
        hours[20] = 5.0;
        hours[3] = 0.0;
        let weekdays = vec![1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0];
        let match_hours = Some((15, 18));
        let (paydays, payday_factor) = (Vec::new(), 1.0);
        Season { hours, weekdays, match_days: vec![6], match_hours, match_factor: 4.0, paydays, payday_factor }
    }

    fn at(text: &str) -> Ts {
        Ts::parse(text).unwrap()
    }

    #[test]
    fn hours_days_and_matches_weigh_in_local_time() {
        let nairobi = Calendar::new(TimeZone::get("Africa/Nairobi").unwrap(), Some(&season()), 1.0);
        let lagos = Calendar::new(TimeZone::get("Africa/Lagos").unwrap(), Some(&season()), 1.0);
        // 21 November 2026 is a Saturday; Nairobi is three hours ahead of UTC, Lagos one
        let plain = nairobi.weight(at("2026-11-20T07:00:00Z"));
        let ratio = |calendar: &Calendar, text: &str| (calendar.weight(at(text)) / plain * 1e9).round() / 1e9;
        assert_eq!(ratio(&nairobi, "2026-11-20T17:30:00Z"), 5.0, "eight in the evening");
        assert_eq!(ratio(&lagos, "2026-11-20T19:30:00Z"), 5.0, "eight in the evening, two hours later");
        assert_eq!(ratio(&nairobi, "2026-11-20T00:30:00Z"), 0.0, "three at night");
        assert_eq!(ratio(&nairobi, "2026-11-21T13:00:00Z"), 8.0, "a Saturday with matches");
        assert_eq!(ratio(&nairobi, "2026-11-22T13:00:00Z"), 2.0, "a Sunday without");
        let week = (0..HOURS as i64).map(|hour| nairobi.weight(at("2026-11-16T00:00:00Z").plus(hour * DAY / 24)));
        assert!((week.sum::<f64>() / HOURS as f64 - 1.0).abs() < 1e-9);
    }

    #[test]
    fn wages_last_three_days() {
        let paid = Season { paydays: vec![20], payday_factor: 1.5, ..season() };
        let calendar = |season: &Season| Calendar::new(TimeZone::UTC, Some(season), 1.0);
        let (paid, plain) = (calendar(&paid), calendar(&season()));
        let ratio = |day: u32| {
            let at = at(&format!("2026-11-{day}T07:00:00Z"));
            paid.weight(at) / plain.weight(at)
        };
        assert_eq!([19, 20, 22, 23].map(ratio), [1.0, 1.5, 1.5, 1.0]);
    }

    #[test]
    fn events_follow_the_season() {
        let calendar = Calendar::new(TimeZone::UTC, Some(&season()), 1.0);
        let mut dice = Dice::new(11, "calendar", 0);
        let (mut at, per_day, weeks) = (at("2026-11-16T00:00:00Z"), 40.0, 20.0);
        let end = at.plus(20 * 7 * DAY);
        let (mut all, mut evening) = (0.0, 0.0);
        while let Some(next) = calendar.next(&mut dice, at, per_day).filter(|next| *next < end) {
            at = next;
            all += 1.0;
            let hour = calendar.hour(at) % 24;
            assert_ne!(hour, 3, "nobody plays at an hour of weight 0");
            evening += f64::from(u8::from(hour == 20));
        }
        // both are Poisson: five deviations of what is expected
        let expected = per_day * 7.0 * weeks;
        assert!((all - expected).abs() <= 5.0 * expected.sqrt(), "{all} of {expected}");
        let share: f64 = (0..7).map(|day| calendar.weights[day * 24 + 20]).sum::<f64>() / HOURS as f64;
        let expected = expected * share;
        assert!((evening - expected).abs() <= 5.0 * expected.sqrt(), "{evening} of {expected} in the evening");
    }

    #[test]
    fn some_rather_play_at_night() {
        let calendar = Calendar::new(TimeZone::UTC, None, 6.0);
        let (night, day) = (at("2026-11-20T02:00:00Z"), at("2026-11-20T12:00:00Z"));
        assert!((calendar.weight(night) / calendar.weight(day) - 6.0).abs() < 1e-9);
        assert!(calendar.is_night(night) && !calendar.is_night(day));
    }

    #[test]
    fn nothing_a_day_is_never() {
        let calendar = Calendar::new(TimeZone::UTC, None, 1.0);
        assert_eq!(calendar.next(&mut Dice::new(1, "calendar", 0), Ts(0), 0.0), None);
    }
}
