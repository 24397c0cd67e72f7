//! The automatic brake: how many alerts a version is expected to raise, and whether it raises far more.
//!
//! A forecast is a rate by operator and day with the limits of a Poisson mean. A version has left it where the findings of
//! its last hours are more than chance could make of the upper limit, once in a million looks ([`crate::rules::bound`]). It
//! is a brake for floods, not a test of quality: all operators of a jurisdiction together are taken to raise at least
//! [`FLOOR_MICRO`] a day, however many they are, and few findings never stop a version.
//!
//! A version that raises far fewer than the lower limit has left its forecast, too ([`shortfall`]). That floods nobody and
//! may be what the promotion was for, so it is shown and stops nothing.

use crate::rules::bound::{is_below_nonnegative, is_beyond_bernstein, nats};
use crate::rules::list::About;
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
/// The same of a rule that says at the end of a day what it has of it: an hour holds all of the day, or nothing.
const RUNS_OF_DAYS: [u32; 2] = [24, 72];
/// The same where it is asked whether they are too few: of a rule that seldom speaks a day says nothing.
const RUNS_BELOW: [u32; 3] = [24, 72, 168];
/// A false stop once in 10^6 looks.
const DIGITS: i64 = 6;
/// A false word of too few once in 10^4: it stops nothing.
const DIGITS_BELOW: i64 = 4;
/// Millionths.
const MICRO: f64 = 1e6;
/// The lowest upper limit of a forecast: two alerts a day of all operators of the jurisdiction together. Ten operators may
/// raise as many of all rules in a quiet market (0.2 an operator and day, `false_alerts_per_operator_day`).
pub const FLOOR_MICRO: u64 = 2_000_000;
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

/// The lower limit of the mean of a Poisson number that was `findings`: a smaller mean would give a number as large in less
/// than one of a hundred times. By the same approximation, better than one in fifty from five on and never below 0.
#[must_use]
pub fn poisson_lower_99(findings: u64) -> f64 {
    if findings == 0 {
        return 0.0;
    }
    let found = findings as f64;
    let root = 1.0 - 1.0 / (9.0 * found) - Z_99 / (3.0 * found.sqrt());
    if root > 0.0 { found * root * root * root } else { 0.0 }
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
        upper_micro: micro(poisson_upper_99(findings)),
    })
}

/// What is expected where there was nothing to learn it from: nothing, so that [`FLOOR_MICRO`] alone is the limit.
pub const NOTHING_KNOWN: RateForecast =
    RateForecast { basis: ForecastBasis::Nothing, findings: 0, operator_hours: 0, expected_micro: 0, upper_micro: 0 };

/// Which of two promotions answers for what a rule says that hears a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// That of the rule's version.
    Rule,
    /// That of the model's.
    Model,
}

/// Of a rule's promotion and that of the model that it hears the newer one answers, while it is watched: it changed what is
/// said last, and its forecast was made with the older one in force. Once it is taken back the older one answers again, for
/// what is said from then on.
#[must_use]
pub fn answers(rule: Option<Ts>, model: Option<Ts>, now: Ts) -> Option<Answers> {
    let is_watched = |from: &Ts| (0..=WATCHED).contains(&(now.0 - from.0));
    match (rule.filter(is_watched), model.filter(is_watched)) {
        (None, None) => None,
        (rule, model) if model > rule => Some(Answers::Model),
        _ => Some(Answers::Rule),
    }
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

/// When in the day a rule speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As things happen.
    AllDay,
    /// When a day is over: of fewer hours than a day's nothing is judged.
    AtDayEnds,
}

impl Pace {
    /// Of a rule.
    #[must_use]
    pub fn of(about: &About) -> Self {
        if about.speaks_at_day_ends() { Self::AtDayEnds } else { Self::AllDay }
    }
}

/// Has a version left its forecast? `hours` are the hours since its promotion in order, without a gap; the last one may be
/// under way and counts as a whole one. Gives the shortest run of last hours that has.
#[must_use]
pub fn departure(forecast: &RateForecast, hours: &[HourCount], pace: Pace) -> Option<RateDeparture> {
    let runs = if pace == Pace::AllDay { &RUNS[..] } else { &RUNS_OF_DAYS };
    let is_there = |run: &&u32| pace == Pace::AllDay || hours.len() >= **run as usize;
    runs.iter().filter(is_there).find_map(|run| {
        let (run, findings, operators) = last(hours, *run);
        let first = run.first()?;
        let floor = FLOOR_MICRO as f64 / MICRO * run.len() as f64 / 24.0;
        let upper = (forecast.upper_micro as f64 / MICRO * operators as f64 / 24.0).max(floor);
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

/// The last hours of a number, their findings, and the hours of all operators together.
fn last(hours: &[HourCount], run: u32) -> (&[HourCount], u64, u64) {
    let run = &hours[hours.len().saturating_sub(run as usize)..];
    let findings = run.iter().map(|hour| hour.findings).sum();
    (run, findings, run.iter().map(|hour| u64::from(hour.operators)).sum())
}

/// Far fewer alerts than were forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// Start of the hours that were looked at together.
    pub from: Ts,
    /// How many hours these are.
    pub hours: u32,
    /// Findings raised in them.
    pub findings: u64,
    /// As many were expected at least, by the lower limit of the forecast, in millionths.
    pub lower_micro: u64,
}

/// Does a version raise far fewer findings than was forecast? `hours` as of [`departure`], live from `from` on; of those
/// only whole ones count. Gives the shortest run of last hours in which it does.
#[must_use]
pub fn shortfall(forecast: &RateForecast, hours: &[HourCount], (from, now): (Ts, Ts)) -> Option<Shortfall> {
    let is_whole = |hour: &&HourCount| from <= hour.start && hour.start.plus(HOUR) <= now;
    let hours: Vec<HourCount> = hours.iter().filter(is_whole).copied().collect();
    let lower_per_hour = poisson_lower_99(forecast.findings) / forecast.operator_hours.max(1) as f64;
    RUNS_BELOW.iter().filter(|run| hours.len() >= **run as usize).find_map(|run| {
        let (run, findings, operators) = last(&hours, *run);
        let first = run.first()?;
        let lower = lower_per_hour * operators as f64;
        let is_short = is_below_nonnegative(lower - findings as f64, lower, nats(DIGITS_BELOW));
        let (hours, lower_micro) = (run.len() as u32, (lower * MICRO) as u64);
        is_short.then_some(Shortfall { from: first.start, hours, findings, lower_micro })
    })
}

/// The hours from the one in which a version became live to the one that is under way, those of the last [`RUNS_BELOW`]
/// and the one under way only, with what was counted in each.
#[must_use]
pub fn hours(from: Ts, now: Ts, operators: u32, counted: impl Fn(Ts) -> u64) -> Vec<HourCount> {
    let longest = i64::from(RUNS_BELOW[RUNS_BELOW.len() - 1]) + 1;
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
        // and the more, the narrower: 4.61 in a million hours
        assert_eq!(forecast(ForecastBasis::VersionBefore, 0, 1_000_000).unwrap().upper_micro, 111);
    }

    #[test]
    fn only_a_flood_stops_a_version() {
        // ten operators that never raised one: two a day of all of them together, 0.08 an hour
        let quiet = forecast(ForecastBasis::Shadow, 0, 100_000).unwrap();
        // and at most 31 a day each: 13 an hour
        let busy = forecast(ForecastBasis::Shadow, 720, 600).unwrap();
        let even = |n: usize, each: u64| vec![each; n];
        let every = |hours: usize, n: usize| (0..n).map(|hour| u64::from(hour % hours == 0)).collect::<Vec<_>>();
        let table = [
            ("nothing", quiet, vec![], None),
            ("an hour without one", quiet, vec![0], None),
            ("a few", quiet, vec![9], None),
            ("a flood in its first hour", quiet, vec![40], Some((1, 40))),
            ("a flood behind quiet days", quiet, [even(90, 0), vec![40]].concat(), Some((1, 40))),
            ("twelve times the floor for an hour", quiet, vec![1], None),
            ("48 times the floor for a day", quiet, even(24, 4), Some((3, 12))),
            ("twelve times the floor for a day", quiet, even(24, 1), Some((24, 24))),
            ("as much as the floor for days", quiet, every(12, 72), None),
            ("twice the floor for days", quiet, every(6, 72), None),
            ("as many as expected", busy, even(72, 12), None),
            ("half as many again for an hour", busy, vec![18], None),
            ("half as many again for days", busy, even(72, 20), Some((24, 480))),
            ("as many as the limit for days", busy, even(72, 13), None),
            ("ten times as many", busy, vec![120], Some((1, 120))),
        ];
        for (what, forecast, findings, expected) in table {
            let found = departure(&forecast, &counts(&findings, 10), Pace::AllDay);
            assert_eq!(found.map(|d| (d.hours, d.findings)), expected, "{what}: {found:?}");
        }
    }

    #[test]
    fn without_anything_to_learn_from_the_floor_holds() {
        // findings by the hour | how many hours have left it, and with how many
        for (findings, expected) in [
            (vec![9], None),
            (vec![40], Some((1, 40))),
            (vec![0, 0, 20], Some((1, 20))),
            ([vec![1; 8], vec![0; 16]].concat(), None),
            (vec![1; 24], Some((24, 24))),
        ] {
            let found = departure(&NOTHING_KNOWN, &counts(&findings, 100), Pace::AllDay);
            assert_eq!(found.map(|d| (d.hours, d.findings)), expected, "{findings:?}: {found:?}");
        }
        let live = (Ts(0), Ts(200 * HOUR));
        assert_eq!(shortfall(&NOTHING_KNOWN, &counts(&[0; 199], 100), live), None, "nothing was expected");
    }

    #[test]
    fn the_newer_promotion_answers_for_what_is_said() {
        let now = Ts(20 * DAY);
        let ago = |days: i64| Some(now.plus(-days * DAY));
        // the rule's promotion | the model's | whose forecast holds
        for (rule, model, wanted) in [
            (None, None, None),
            (ago(1), None, Some(Answers::Rule)),
            (None, ago(1), Some(Answers::Model)),
            (ago(2), ago(1), Some(Answers::Model)),
            (ago(1), ago(2), Some(Answers::Rule)),
            (ago(1), ago(1), Some(Answers::Rule)),
            // one is not watched any more, or not yet
            (ago(8), ago(1), Some(Answers::Model)),
            (ago(1), ago(8), Some(Answers::Rule)),
            (ago(8), ago(8), None),
            (ago(2), ago(-1), Some(Answers::Rule)),
        ] {
            assert_eq!(answers(rule, model, now), wanted, "{rule:?} {model:?}");
        }
    }

    #[test]
    fn what_a_rule_says_of_a_day_is_held_against_a_day() {
        // 20 a day of a hundred operators, all at midnight
        let daily = forecast(ForecastBasis::Shadow, 560, 28 * 24 * 100).unwrap();
        let midnights = |days: usize, each: u64| [[vec![each], vec![0; 23]].concat().repeat(days), vec![each]].concat();
        for (what, findings, pace, expected) in [
            ("as many as expected", midnights(3, 20), Pace::AtDayEnds, None),
            ("its first midnight", vec![0, 0, 20], Pace::AtDayEnds, None),
            ("four times as many", midnights(2, 80), Pace::AtDayEnds, Some(24)),
            ("of a rule that speaks all day it would be a flood", midnights(3, 20), Pace::AllDay, Some(1)),
        ] {
            let found = departure(&daily, &counts(&findings, 100), pace);
            assert_eq!(found.map(|departure| departure.hours), expected, "{what}: {found:?}");
        }
    }

    #[test]
    fn more_operators_may_raise_more_where_they_did() {
        // one a day and operator
        let daily = forecast(ForecastBasis::Shadow, 1_000, 24_000).unwrap();
        assert!(departure(&daily, &counts(&[40], 10), Pace::AllDay).is_some());
        assert_eq!(departure(&daily, &counts(&[40], 600), Pace::AllDay), None);
        // none: the floor is the jurisdiction's
        let quiet = forecast(ForecastBasis::Shadow, 0, 1_000_000).unwrap();
        for operators in [1, 10, 600] {
            assert!(departure(&quiet, &counts(&[40], operators), Pace::AllDay).is_some(), "{operators}");
        }
        // of a forecast that a release before has stored: one a day and operator at least
        let before = RateForecast { upper_micro: 1_000_000, ..quiet };
        assert_eq!(departure(&before, &counts(&[40], 600), Pace::AllDay), None);
    }

    #[test]
    fn the_lower_limit_is_that_of_tables() {
        // exact limits (Garwood 1936): half of the 1 % point of chi-squared with 2 n degrees of freedom
        let exact = [(0, 0.0), (5, 1.279), (10, 4.130), (50, 34.88), (100, 78.25)];
        for (findings, lower) in exact {
            let ours = poisson_lower_99(findings);
            assert!((ours - lower).abs() <= 0.02 * lower, "{findings}: {ours} and {lower}");
        }
        assert!((1..1_000).all(|n| (0.0..n as f64).contains(&poisson_lower_99(n))));
    }

    #[test]
    fn silence_is_told_where_there_was_something_to_hear() {
        let at = |hours: i64| Ts(hours * HOUR);
        // ten operators: 12 an hour of all of them, one in two hours, and never one
        let busy = forecast(ForecastBasis::Shadow, 720, 600).unwrap();
        let seldom = forecast(ForecastBasis::Shadow, 336, 6_720).unwrap();
        let quiet = forecast(ForecastBasis::Shadow, 0, 100_000).unwrap();
        let even = |n: usize, each: u64| vec![each; n];
        // what | forecast | findings by hour, the last one is under way | hours and findings that are too few
        let table = [
            ("nothing yet", busy, vec![0], None),
            ("an hour without one says little", busy, even(2, 0), None),
            ("four hours without one may be a night", busy, even(5, 0), None),
            ("a day without one", busy, even(25, 0), Some((24, 0))),
            ("as many as expected", busy, even(73, 12), None),
            ("a little fewer", busy, even(73, 11), None),
            ("half as many for days", busy, even(73, 6), Some((24, 144))),
            ("silent since yesterday", busy, [even(72, 12), even(24, 0)].concat(), Some((24, 12))),
            ("seldom, and silent for a day", seldom, even(25, 0), None),
            ("seldom, and silent for three days", seldom, even(73, 0), Some((72, 0))),
            ("seldom, and as often as expected", seldom, [0, 1].repeat(85), None),
            ("what was never heard is not missed", quiet, even(169, 0), None),
            ("a flood is no shortfall", busy, even(73, 100), None),
        ];
        for (what, forecast, findings, expected) in table {
            let now = at(findings.len() as i64 - 1).plus(HOUR / 2);
            let found = shortfall(&forecast, &counts(&findings, 10), (at(0), now));
            assert_eq!(found.map(|s| (s.hours, s.findings)), expected, "{what}: {found:?}");
        }
        // promoted in the middle of the first hour: half of it was another version's
        let short = |hours: usize| {
            let live = (at(0).plus(HOUR / 2), at(hours as i64 - 1));
            shortfall(&busy, &counts(&even(hours, 0), 10), live).map(|s| (s.from, s.hours))
        };
        assert_eq!((short(25), short(26)), (None, Some((at(1), 24))));
    }

    #[test]
    fn hours_begin_with_the_promotion_and_end_with_the_one_under_way() {
        let at = |hours: i64, minutes: i64| Ts(hours * HOUR + minutes * models::ts::MINUTE);
        let starts = |from, now| hours(from, now, 3, |start| (start.0 / HOUR) as u64);
        assert_eq!(starts(at(5, 20), at(5, 40)), [HourCount { start: at(5, 0), findings: 5, operators: 3 }]);
        let some = starts(at(5, 20), at(8, 0));
        assert_eq!(some.iter().map(|h| h.findings).collect::<Vec<_>>(), [5, 6, 7, 8]);
        let many = starts(at(5, 20), at(500, 1));
        assert_eq!((many.len(), many[0].start, many[168].start), (169, at(332, 0), at(500, 0)));
        assert!(starts(at(9, 0), at(8, 0)).is_empty(), "not live yet");
    }
}
