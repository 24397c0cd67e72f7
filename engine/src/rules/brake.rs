//! The automatic brake: how many alerts a version is expected to raise, and whether it raises far more.
//!
//! A forecast is a rate by operator and day with the upper limit of a Poisson mean. A version has left it where the
//! findings of its last hours are more than chance could make of that upper limit, once in a million looks
//! ([`crate::rules::bound`]). It is a brake for floods, not a test of quality: rates are taken to be at least one alert a
//! day and operator, and few findings never stop a version.

use crate::rules::bound::{is_beyond_bernstein, nats};
use models::rule::{ForecastBasis, RateDeparture, RateForecast};
use models::ts::{DAY, HOUR, Ts};

/// How long after its promotion a version is watched: what comes later is the market's doing, not the promotion's.
pub const WATCHED: i64 = 7 * DAY;
/// How far back a forecast looks.
pub const LOOKS_BACK: i64 = 28 * DAY;
/// Findings below which no version is stopped.
pub const FINDINGS_MIN: u64 = 10;
/// Hours that are looked at together, the last ones.
const RUNS: [u32; 5] = [1, 3, 6, 24, 72];
/// A false stop once in 10^6 looks.
const DIGITS: i64 = 6;
/// Millionths.
const MICRO: f64 = 1e6;
/// The lowest upper limit of a forecast: one alert a day and operator.
const UPPER_MICRO_MIN: u64 = 1_000_000;
/// The standard normal distribution is below it in 99 of 100 times.
const Z_99: f64 = 2.326_347_874_040_841;

/// The upper limit of the mean of a Poisson number that was `findings`: a larger mean would give a number as small in less
/// than one of a hundred times. By Wilson and Hilferty's (1931) approximation of the chi-squared distribution, better than
/// one in a hundred here.
#[must_use]
pub fn poisson_upper_99(findings: u64) -> f64 {
    let next = findings as f64 + 1.0;
    let root = 1.0 - 1.0 / (9.0 * next) + Z_99 / (3.0 * next.sqrt());
    next * root * root * root
}

/// What is expected of a version; none without an hour to learn it from.
#[must_use]
pub fn forecast(basis: ForecastBasis, findings: u64, operator_hours: u64) -> Option<RateForecast> {
    if operator_hours == 0 {
        return None;
    }
    let micro = |findings: f64| (findings * 24.0 * MICRO / operator_hours as f64).ceil() as u64;
    Some(RateForecast {
        basis,
        findings,
        operator_hours,
        expected_micro: micro(findings as f64),
        upper_micro: micro(poisson_upper_99(findings)).max(UPPER_MICRO_MIN),
    })
}

/// An hour of a version's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourCount {
    /// Its first instant.
    pub start: Ts,
    /// Findings that were raised in it.
    pub findings: u64,
    /// Operators that were watched.
    pub operators: u32,
}

/// Has a version left its forecast? `hours` are the hours since its promotion in order, without a gap; the last one may be
/// under way and counts as a whole one. Gives the shortest run of last hours that has.
#[must_use]
pub fn departure(forecast: &RateForecast, hours: &[HourCount]) -> Option<RateDeparture> {
    RUNS.iter().find_map(|run| {
        let run = &hours[hours.len().saturating_sub(*run as usize)..];
        let first = run.first()?;
        let findings: u64 = run.iter().map(|hour| hour.findings).sum();
        let operators: u64 = run.iter().map(|hour| u64::from(hour.operators)).sum();
        let upper = forecast.upper_micro as f64 / MICRO * operators as f64 / 24.0;
        let is_flood =
            findings >= FINDINGS_MIN && is_beyond_bernstein(findings as f64 - upper, upper, 1.0, nats(DIGITS));
        is_flood.then(|| RateDeparture {
            from: first.start,
            hours: run.len() as u32,
            findings,
            upper_micro: (upper * MICRO).ceil() as u64,
        })
    })
}

/// The hours from the one in which a version became live to the one that is under way, those of the last [`RUNS`] only,
/// with what was counted in each.
#[must_use]
pub fn hours(from: Ts, now: Ts, operators: u32, counted: impl Fn(Ts) -> u64) -> Vec<HourCount> {
    let longest = i64::from(RUNS[RUNS.len() - 1]);
    let last = now.floor_to(HOUR);
    let first = from.floor_to(HOUR).max(last.plus(-(longest - 1) * HOUR));
    let count = |start: Ts| HourCount { start, findings: counted(start), operators };
    (0..longest).map(|n| first.plus(n * HOUR)).take_while(|start| *start <= last).map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(findings: &[u64], operators: u32) -> Vec<HourCount> {
        let hour =
            |(n, findings): (usize, &u64)| HourCount { start: Ts(n as i64 * HOUR), findings: *findings, operators };
        findings.iter().enumerate().map(hour).collect()
    }

    #[test]
    fn the_upper_limit_is_that_of_tables() {
        // exact limits (Garwood 1936): half of the 99 % point of chi-squared with 2(n + 1) degrees of freedom
        let exact = [(0, 4.605), (1, 6.638), (2, 8.406), (5, 13.11), (10, 20.14), (50, 69.07), (100, 125.9)];
        for (findings, upper) in exact {
            let ours = poisson_upper_99(findings);
            assert!((ours - upper).abs() < 0.01 * upper, "{findings}: {ours} and {upper}");
        }
    }

    #[test]
    fn a_forecast_is_a_rate_by_day_and_operator() {
        assert_eq!(forecast(ForecastBasis::Shadow, 5, 0), None);
        let two_days_of_ten = forecast(ForecastBasis::Shadow, 100, 480).unwrap();
        assert_eq!(two_days_of_ten.expected_micro, 5_000_000);
        assert!((6_200_000..6_400_000).contains(&two_days_of_ten.upper_micro), "{two_days_of_ten:?}");
        // the less was seen, the wider
        let an_hour = forecast(ForecastBasis::Shadow, 0, 1).unwrap();
        assert!(an_hour.upper_micro > 100_000_000, "{an_hour:?}");
        // and never narrower than one a day
        assert_eq!(forecast(ForecastBasis::VersionBefore, 0, 1_000_000).unwrap().upper_micro, 1_000_000);
    }

    #[test]
    fn only_a_flood_stops_a_version() {
        // ten operators, at most one alert a day each: 0.42 an hour
        let quiet = forecast(ForecastBasis::Shadow, 0, 100_000).unwrap();
        // and at most 31 a day each: 13 an hour
        let busy = forecast(ForecastBasis::Shadow, 720, 600).unwrap();
        let even = |n: usize, each: u64| vec![each; n];
        let table = [
            ("nothing", quiet, vec![], None),
            ("an hour without one", quiet, vec![0], None),
            ("a few", quiet, vec![9], None),
            ("a flood in its first hour", quiet, vec![40], Some((1, 40))),
            ("a flood behind quiet days", quiet, [even(90, 0), vec![40]].concat(), Some((1, 40))),
            ("twice the limit for an hour", quiet, vec![1], None),
            ("ten times the limit for a day", quiet, even(24, 4), Some((6, 24))),
            ("as many as expected", busy, even(72, 12), None),
            ("half as many again for an hour", busy, vec![18], None),
            ("half as many again for days", busy, even(72, 20), Some((24, 480))),
            ("as many as the limit for days", busy, even(72, 13), None),
            ("ten times as many", busy, vec![120], Some((1, 120))),
        ];
        for (what, forecast, findings, expected) in table {
            let found = departure(&forecast, &counts(&findings, 10));
            assert_eq!(found.map(|d| (d.hours, d.findings)), expected, "{what}: {found:?}");
        }
    }

    #[test]
    fn more_operators_may_raise_more() {
        let quiet = forecast(ForecastBasis::Shadow, 0, 1_000_000).unwrap();
        assert!(departure(&quiet, &counts(&[40], 10)).is_some());
        assert_eq!(departure(&quiet, &counts(&[40], 600)), None);
    }

    #[test]
    fn hours_begin_with_the_promotion_and_end_with_the_one_under_way() {
        let at = |hours: i64, minutes: i64| Ts(hours * HOUR + minutes * models::ts::MINUTE);
        let starts = |from, now| hours(from, now, 3, |start| (start.0 / HOUR) as u64);
        assert_eq!(starts(at(5, 20), at(5, 40)), [HourCount { start: at(5, 0), findings: 5, operators: 3 }]);
        let some = starts(at(5, 20), at(8, 0));
        assert_eq!(some.iter().map(|h| h.findings).collect::<Vec<_>>(), [5, 6, 7, 8]);
        let many = starts(at(5, 20), at(500, 1));
        assert_eq!((many.len(), many[0].start, many[71].start), (72, at(429, 0), at(500, 0)));
        assert!(starts(at(9, 0), at(8, 0)).is_empty(), "not live yet");
    }
}
