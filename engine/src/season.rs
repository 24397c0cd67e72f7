//! What is usual at an hour of the week and on a day of the week, learned from the hours and days that are over.
//!
//! A place of the week (an hour from Monday on, or a weekday) keeps the values of its newest weeks; what is usual there
//! is their median, so that one wild week says nothing. Until an hour of the week has been there often enough, the same
//! hour of the days before stands in for it. Nothing is trained: a window that late data changes replaces its own value.

use crate::windows::Sums;
use models::alert::{Granularity, Metric};
use models::ts::Ts;
use serde::{Deserialize, Serialize};

/// Weeks that an hour of the week remembers.
pub const HOUR_WEEKS: usize = 6;
/// Weeks that a weekday remembers.
pub const DAY_WEEKS: usize = 8;
/// Values that something usual stands on at least.
pub const VALUES_MIN: usize = 3;
const HOURS: usize = 7 * 24;

/// What is kept of a window: count, stakes, payouts, players. Revenue and hold follow the stakes.
type Values = [i64; 4];

fn place_of(metric: Metric) -> usize {
    match metric {
        Metric::Count => 0,
        Metric::Payouts => 2,
        Metric::UniquePlayers => 3,
        _ => 1,
    }
}

/// On what something usual stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// So many weeks of the same hour of this weekday (0 is Monday).
    HourOfWeek(usize, usize),
    /// So many days of the same hour.
    HourOfDay(usize),
    /// So many weeks of this weekday.
    Weekday(usize, usize),
}

impl Basis {
    /// In words, behind "what is usual".
    #[must_use]
    pub fn words(self) -> String {
        const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
        let day = |weekday: usize| DAYS[weekday % 7];
        match self {
            Self::HourOfWeek(weekday, weeks) => {
                format!("at this hour of a {} (median of {weeks} weeks", day(weekday))
            }
            Self::HourOfDay(days) => format!("at this hour of a day (median of {days} days"),
            Self::Weekday(weekday, weeks) => format!("on a {} (median of {weeks} weeks", day(weekday)),
        }
    }
}

/// What is usual somewhere in the week.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usual {
    /// The median.
    pub value: f64,
    /// On what it stands.
    pub basis: Basis,
}

/// The weeks of one currency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Season {
    hours: Vec<Vec<(Ts, Values)>>,
    days: Vec<Vec<(Ts, Values)>>,
}

impl Default for Season {
    fn default() -> Self {
        Self { hours: vec![Vec::new(); HOURS], days: vec![Vec::new(); 7] }
    }
}

impl Season {
    /// Are its lists of the lengths that this code makes?
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let fits = |slots: &[Vec<(Ts, Values)>], weeks| slots.iter().all(|slot| slot.len() <= weeks);
        let lengths = (self.hours.len(), self.days.len()) == (HOURS, 7);
        lengths && fits(&self.hours, HOUR_WEEKS) && fits(&self.days, DAY_WEEKS)
    }

    /// Takes in an hour or a day that is over. `hour` is its first hour of the local week, 0 to 167.
    pub fn learn(&mut self, granularity: Granularity, hour: usize, start: Ts, sums: &Sums) {
        let (slot, weeks) = match granularity {
            Granularity::Hour => (&mut self.hours[hour % HOURS], HOUR_WEEKS),
            Granularity::Day => (&mut self.days[hour / 24 % 7], DAY_WEEKS),
            _ => return,
        };
        let values = [Metric::Count, Metric::Stakes, Metric::Payouts, Metric::UniquePlayers].map(|m| sums.metric(m));
        let place = slot.partition_point(|(known, _)| *known < start);
        if let Some(known) = slot.get_mut(place).filter(|(known, _)| *known == start) {
            known.1 = values;
            return;
        }
        // older than everything that is remembered
        if place == 0 && slot.len() == weeks {
            return;
        }
        slot.insert(place, (start, values));
        if slot.len() > weeks {
            slot.remove(0);
        }
    }

    /// What is usual for a window of a granularity that begins in an hour of the local week, by the weeks before
    /// `before`; none where too little is known. What is usual of a minute is that of its hour.
    #[must_use]
    pub fn usual(&self, granularity: Granularity, hour: usize, before: Ts, metric: Metric) -> Option<Usual> {
        let weekday = hour / 24 % 7;
        match granularity {
            Granularity::Minute | Granularity::Hour => {
                let of_week = median_before(&self.hours[hour % HOURS], before, metric);
                let of_week = of_week.map(|(value, n)| Usual { value, basis: Basis::HourOfWeek(weekday, n) });
                of_week.or_else(|| self.of_any_day(hour % 24, before, metric))
            }
            Granularity::Day => {
                let (value, n) = median_before(&self.days[weekday], before, metric)?;
                Some(Usual { value, basis: Basis::Weekday(weekday, n) })
            }
            Granularity::Week => None,
        }
    }

    /// The same hour of the days before, the newest of each weekday.
    fn of_any_day(&self, hour: usize, before: Ts, metric: Metric) -> Option<Usual> {
        let (mut values, mut n) = ([0; 7], 0);
        for day in 0..7 {
            let newest = self.hours[day * 24 + hour].iter().rev().find(|(start, _)| *start < before);
            if let Some((_, of)) = newest {
                (values[n], n) = (of[place_of(metric)], n + 1);
            }
        }
        (n >= VALUES_MIN).then(|| Usual { value: median(&mut values[..n]), basis: Basis::HourOfDay(n) })
    }
}

fn median_before(slot: &[(Ts, Values)], before: Ts, metric: Metric) -> Option<(f64, usize)> {
    let (mut values, mut n) = ([0; DAY_WEEKS], 0);
    for (_, of) in slot.iter().filter(|(start, _)| *start < before) {
        (values[n], n) = (of[place_of(metric)], n + 1);
    }
    (n >= VALUES_MIN).then(|| (median(&mut values[..n]), n))
}

fn median(values: &mut [i64]) -> f64 {
    values.sort_unstable();
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle] as f64
    } else {
        (values[middle - 1] as f64 + values[middle] as f64) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::windows::tests::record;
    use crate::windows::{Book, Cutter};
    use jiff::tz::TimeZone;
    use models::record::RecordKind;
    use models::ts::{DAY, HOUR};

    /// Monday, 5 January 1970, 00:00 UTC.
    const MONDAY: i64 = 4 * DAY;

    fn sums(stakes: i64) -> Sums {
        let (mut book, mut cutter) = (Book::default(), Cutter::new(TimeZone::UTC));
        book.add(&mut cutter, &record(RecordKind::Stake, Ts(0), stakes, 1));
        book.get(Granularity::Hour, Ts(0)).unwrap().clone()
    }

    /// Hours that are over: hour from the Monday on, and its stakes.
    fn season(hours: &[(i64, i64)]) -> Season {
        let mut season = Season::default();
        for (hour, stakes) in hours {
            let start = Ts(MONDAY + hour * HOUR);
            season.learn(Granularity::Hour, (*hour as usize) % HOURS, start, &sums(*stakes));
        }
        season
    }

    #[test]
    fn what_is_usual_is_the_median_of_the_same_hour() {
        let week = 168;
        // told | hours that are over | what is usual on the sixth Saturday, 20:00 to 21:00
        let evening = 5 * 24 + 20;
        let saturday = |weeks: &[i64]| -> Vec<(i64, i64)> {
            weeks.iter().zip(0..).map(|(stakes, w)| (w * week + evening, *stakes)).collect()
        };
        let days = |stakes: &[i64]| -> Vec<(i64, i64)> {
            stakes.iter().zip(0..).map(|(stakes, day)| (4 * week + day * 24 + 20, *stakes)).collect()
        };
        type Row = (&'static str, Vec<(i64, i64)>, Option<(f64, Basis)>);
        let table: [Row; 6] = [
            ("two Saturdays are too few", saturday(&[900, 1_000]), None),
            ("three are enough", saturday(&[900, 1_000, 1_300]), Some((1_000.0, Basis::HourOfWeek(5, 3)))),
            (
                "a wild Saturday says nothing",
                saturday(&[900, 1_000, 90_000, 1_100, 1_000]),
                Some((1_000.0, Basis::HourOfWeek(5, 5))),
            ),
            ("another hour says nothing", vec![(10, 5), (178, 5), (346, 5)], None),
            (
                "until then the same hour of the days before",
                days(&[100, 120, 110, 130]),
                Some((115.0, Basis::HourOfDay(4))),
            ),
            ("two days are too few", days(&[100, 120]), None),
        ];
        for (what, hours, wanted) in table {
            let before = Ts(MONDAY + (5 * week + evening) * HOUR);
            let usual = season(&hours).usual(Granularity::Hour, evening as usize, before, Metric::Stakes);
            assert_eq!(usual.map(|u| (u.value, u.basis)), wanted, "{what}");
        }
    }

    #[test]
    fn late_data_replaces_and_old_weeks_are_forgotten() {
        let week = 168;
        let mut hours: Vec<(i64, i64)> = (0..10).map(|w| (w * week, 100 + w)).collect();
        hours.push((8 * week, 500)); // the ninth week again
        hours.push((0, 7)); // and the first, which is forgotten
        let season = season(&hours);
        assert!(season.is_sound());
        let usual = season.usual(Granularity::Hour, 0, Ts(i64::MAX), Metric::Stakes);
        assert_eq!(usual.map(|u| u.value), Some(106.5), "104, 105, 106, 107, 109 and 500");
        let before = season.usual(Granularity::Hour, 0, Ts(MONDAY + 7 * week * HOUR), Metric::Stakes);
        assert_eq!(before.map(|u| u.value), Some(105.0), "what came later is not looked at");
    }
}
