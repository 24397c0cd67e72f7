//! A series of an operator's hours or days is unusual: higher, lower, shifted, restless, flat, or of another course than
//! ever before, by its own history; or the figures of an hour do not fit together as they used to.
//!
//! What is scored comes in ([`models::series`]): detectors learn outside of the rules, and a replay needs none. One cause
//! moves several metrics at once and others later, so it is one finding of the window in which the first of them was
//! unusual; a fall of what had risen has a cause of its own. What the robust detector says already is not said again.

use crate::rules::finding::{Band, Measured, Unit, Who};
use crate::rules::input::{Input, Trigger};
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out, Told};
use models::alert::{Granularity, Metric, Severity, Window};
use models::money::Currency;
use models::series::{Oddity, SeriesKey, SeriesReason, SeriesScore};
use models::ts::{DAY, HOUR, Ts};
use models::words::counted;

/// What it is.
pub const ABOUT: About = About {
    name: "series_unusual",
    home: Home::Operator,
    severity: Severity::High,
    what: "an hour's or a day's count, stakes, payouts, revenue, players or hold is unlike its own history: a spike, a drop, a shift of level, a drift, a flat line, another course; or figures of an hour that are ordinary each and do not fit together",
    takes_back: "nothing: late data is the business of robust_deviation",
    hears: &[Trigger::Series],
};

/// Other metrics that a finding names.
const OTHERS_MAX: usize = 5;

params! {
    /// The score from which on it speaks; half a million is the detector's own alert, at most three in 10,000 hours where nothing happens.
    score_min_ppm: i64 = 500_000, "millionths", 250_000..=999_999, "the detector's threshold, calibrated on noise (ml::anomaly)";
    /// The score from which on a day is said of which no other series is worth a word.
    alone_day_min_ppm: i64 = 600_000, "millionths", 250_000..=999_999, "one of six series is easily so by chance; what happens moves several (simulated markets, docs/BENCHMARKS.md)";
    /// The score from which on it is of medium severity.
    medium_from_ppm: i64 = 600_000, "millionths", 250_000..=1_000_000, "half again as surprising as what is said at all";
    /// The score from which on it is of high severity.
    high_from_ppm: i64 = 750_000, "millionths", 250_000..=1_000_000, "three times as surprising as what is said at all";
    /// For so many hours behind an unusual one further series of the same length and currency are the same cause.
    cause_hours: i64 = 24, "hours", 0..=168, "a day of play is one evening's cause";
    /// The same for days.
    cause_days: i64 = 7, "days", 0..=60, "a week";
    /// Also where the robust detector has said it: for a shadow that is compared with it.
    also_told: bool = false, "", 0..=0, "one cause, one alert";
    coherent(self) {
        if self.score_min_ppm <= self.medium_from_ppm && self.medium_from_ppm <= self.high_from_ppm {
            Ok(())
        } else {
            Err("score_min_ppm, medium_from_ppm and high_from_ppm must not fall")
        }
    }
}

impl Params {
    fn severity(&self, score: &SeriesScore) -> Severity {
        match i64::from(score.score_ppm) {
            ppm if ppm >= self.high_from_ppm => Severity::High,
            ppm if ppm >= self.medium_from_ppm => Severity::Medium,
            _ => Severity::Low,
        }
    }

    /// So long behind a window a further one is the same cause, microseconds.
    fn span(&self, granularity: Granularity) -> i64 {
        if granularity == Granularity::Hour { self.cause_hours * HOUR } else { self.cause_days * DAY }
    }

    /// Is the most unusual series of a window unusual enough, with so many that are worth a word?
    fn is_enough(&self, first: &SeriesScore, beside: usize) -> bool {
        let is_hour = first.series.granularity == Granularity::Hour;
        is_hour || beside > 1 || i64::from(first.score_ppm) >= self.alone_day_min_ppm
    }

    /// Is it heard of already?
    fn is_told(&self, score: &SeriesScore) -> bool {
        let span = self.span(score.series.granularity);
        let is_near = |window: Window| score.window.start.0 - window.start.0 <= span;
        !self.also_told && score.told.is_some_and(|told| is_near(told.window))
    }
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let Input::Series(scored) = heard.input else { return };
    let speaks = |score: &&SeriesScore| i64::from(score.score_ppm) >= params.score_min_ppm;
    let mut speaking: Vec<&SeriesScore> = scored.scores.iter().filter(speaks).collect();
    // windows in their order, each with its most unusual series first
    speaking.sort_by_key(|score| (place(score), std::cmp::Reverse(score.score_ppm), score.series));
    for window in speaking.chunk_by(|one, other| place(one) == place(other)) {
        // worth a word, if not an alert
        let beside = scored.scores.iter().filter(|score| place(score) == place(window[0])).count();
        if params.is_enough(window[0], beside) && !window.iter().any(|score| params.is_told(score)) {
            say(params, window, out);
        }
    }
}

/// Windows by their end: an hour before the day that ends with it.
fn place(score: &SeriesScore) -> (Ts, Granularity, Currency, Ts) {
    (score.window.end, score.series.granularity, score.series.currency, score.window.start)
}

/// Says what is unusual of a window; the most unusual series comes first.
fn say(params: &Params, unusual: &[&SeriesScore], out: &mut Out<'_>) {
    let Some(first) = unusual.first() else { return };
    let (granularity, currency) = (first.series.granularity, first.series.currency);
    let (who, severity) = (Who::Series(granularity, currency), params.severity(first));
    // a day is unusual by the hour that was
    if granularity == Granularity::Day {
        let of_hours = Who::Series(Granularity::Hour, currency);
        let hour = newest_of_cause(first, of_hours, first.window.end.plus(-1), out);
        if hour.is_some_and(|(_, hour)| hour.window.end > first.window.start) {
            return;
        }
    }
    let is_near = |told: &Told| first.window.start.0 - told.window.start.0 <= params.span(granularity);
    let (matter, window) = match newest_of_cause(first, who, first.window.start, out).filter(|(_, told)| is_near(told))
    {
        Some((_, told)) if severity <= told.severity => return,
        // the same cause, and worse by now
        Some((matter, told)) => (matter, told.window),
        None if out.newest_standing(who, first.window.start).is_some_and(|told| is_near(&told)) => (FALL, first.window),
        None => (CAUSE, first.window),
    };
    let measured = Measured { observed: first.value, limit: first.expected, unit: unit(first.series.metric) };
    let found = Found { who, window, cause: Cause::Window, measured, severity };
    out.matter(matter)
        .rose(risen(first))
        .found(found, |_| Details { band: Some(band(params, first)), ..Details::of(reasons(unusual)) });
}

/// A cause.
const CAUSE: u64 = 0;
/// A fall behind a rise, while that is near.
const FALL: u64 = 1;

/// The newest that stands by then and is of the cause of this one, with its matter.
fn newest_of_cause(score: &SeriesScore, who: Who, by: Ts, out: &mut Out<'_>) -> Option<(u64, Told)> {
    let standing = [CAUSE, FALL].map(|matter| out.matter(matter).newest_standing(who, by).map(|told| (matter, told)));
    let is_of_cause = |told: &Told| !told.rose.is_some_and(|rose| is_fall_of(score, rose));
    let of_cause = standing.into_iter().flatten().filter(|(_, told)| is_of_cause(told));
    of_cause.max_by_key(|(_, told)| told.window.start)
}

/// Figures that rise and fall with each other. Revenue and hold do not: payouts that stay away raise them.
const ALIKE: [Metric; 4] = [Metric::Count, Metric::Stakes, Metric::Payouts, Metric::UniquePlayers];

/// The metric that rose, where that is what is most surprising.
fn risen(score: &SeriesScore) -> Option<Metric> {
    let is_rise = |oddity: &Oddity| matches!(oddity, Oddity::Above | Oddity::AboveForSome | Oddity::AboveForLong);
    first_oddity(score).filter(is_rise).map(|_| score.series.metric)
}

/// Is it a fall, by what is most surprising of it, of what rose before it?
fn is_fall_of(score: &SeriesScore, risen: Metric) -> bool {
    let is_fall = |oddity| matches!(oddity, Oddity::Below | Oddity::BelowForSome | Oddity::BelowForLong);
    let fallen = score.series.metric;
    let is_alike = fallen == risen || ALIKE.contains(&fallen) && ALIKE.contains(&risen);
    is_alike && first_oddity(score).is_some_and(is_fall)
}

fn first_oddity(score: &SeriesScore) -> Option<Oddity> {
    score.reasons.first().map(|reason| reason.oddity)
}

fn band(params: &Params, score: &SeriesScore) -> Band {
    let (low, high) = score.band.unwrap_or((score.expected, score.expected));
    Band {
        low,
        high,
        score_milli: i64::from(score.score_ppm) / 1_000,
        threshold_milli: params.score_min_ppm / 1_000,
        samples: score.points.try_into().unwrap_or(u32::MAX),
    }
}

pub(super) fn unit(metric: Metric) -> Unit {
    match metric {
        Metric::Stakes | Metric::Payouts | Metric::GrossGamingRevenue => Unit::MinorUnits,
        Metric::UniquePlayers => Unit::Players,
        Metric::Hold => Unit::Ppm,
        _ => Unit::Records,
    }
}

fn reasons(unusual: &[&SeriesScore]) -> Vec<String> {
    let Some((first, others)) = unusual.split_first() else { return Vec::new() };
    let mut said = vec![headline(first)];
    said.extend(first.reasons.iter().map(|reason| sentence(first, reason)));
    let names: Vec<&str> = others.iter().take(OTHERS_MAX).map(|other| name(other)).collect();
    if !names.is_empty() {
        said.push(format!("unusual as well: {}", names.join(", ").replace('_', " ")));
    }
    said
}

/// What is unusual, as others name it.
fn name(score: &SeriesScore) -> &'static str {
    let is_of_several = score.reasons.iter().any(|reason| reason.oddity == Oddity::Together);
    if is_of_several { "the figures together" } else { score.series.metric.as_str() }
}

fn headline(score: &SeriesScore) -> String {
    let SeriesScore { series, window, value, expected, .. } = score;
    let say = |value: i64| amount(value, series.metric, series.currency);
    let usual = score.band.map_or(String::new(), |(low, high)| {
        format!("; a single value from {} to {} says nothing", say(low), say(high))
    });
    let name = series.metric.as_str().replace('_', " ");
    let length = series.granularity.as_str();
    format!("{name} of the {length} from {}: {}, and {} expected{usual}", window.start, say(*value), say(*expected))
}

fn sentence(score: &SeriesScore, reason: &SeriesReason) -> String {
    let series = score.series;
    let length = series.granularity.as_str();
    let SeriesReason { oddity, observed, usual, metric, .. } = *reason;
    let say = |value: i64| amount(value, series.metric, series.currency);
    let (some, long, block) = match series.granularity {
        Granularity::Day => ("four", "ten", "fortnight"),
        _ => ("six", "24", "hundred hours"),
    };
    let least = |unit: String| format!("{unit} is the most of a usual {block}");
    match oddity {
        Oddity::Above => format!("it lies {} above what was expected; {}", say(observed), least(say(usual))),
        Oddity::Below => format!("it lies {} below what was expected; {}", say(observed), least(say(usual))),
        Oddity::AboveForSome | Oddity::AboveForLong | Oddity::BelowForSome | Oddity::BelowForLong => {
            let is_above = matches!(oddity, Oddity::AboveForSome | Oddity::AboveForLong);
            let is_some = matches!(oddity, Oddity::AboveForSome | Oddity::BelowForSome);
            format!(
                "the last {} {length}s lie {} {} what was expected on average; {}",
                if is_some { some } else { long },
                say(observed),
                if is_above { "above" } else { "below" },
                least(say(usual))
            )
        }
        Oddity::Restless => {
            format!("from {length} to {length} it changes by {} on average; {}", say(observed), least(say(usual)))
        }
        Oddity::Flat => format!("it has not changed at all for {observed} {length}s; {}", least(usual.to_string())),
        Oddity::Shape => format!(
            "the course of the last {length}s is like none before: {} off the nearest one; {}",
            thousandths(observed),
            least(thousandths(usual))
        ),
        Oddity::Together => beside_others(metric.unwrap_or(series.metric), observed, usual, score.series),
    }
}

/// A metric that is not what the others of its window let expect.
fn beside_others(metric: Metric, observed: i64, expected: i64, series: SeriesKey) -> String {
    let side = if observed >= expected { "above" } else { "below" };
    let apart = (i128::from(observed) - i128::from(expected)).abs();
    let share = match i128::from(expected) {
        // of nothing, and of less, there is no share
        ..=0 => String::new(),
        expected => format!("{} % ", thousandths(i64::try_from(apart * 100_000 / expected).unwrap_or(i64::MAX))),
    };
    format!(
        "{}: {share}{side} what the other figures of the {} let expect; {}, and {} expected",
        metric.as_str().replace('_', " "),
        series.granularity.as_str(),
        amount(observed, metric, series.currency),
        amount(expected, metric, series.currency)
    )
}

fn amount(value: i64, metric: Metric, currency: Currency) -> String {
    match unit(metric) {
        Unit::MinorUnits => format!("{value} minor units of {currency}"),
        Unit::Ppm => format!("{} % of stakes", thousandths(value / 10)),
        Unit::Players => counted(value, "player", "players"),
        _ => counted(value, "record", "records"),
    }
}

/// A number given in thousandths, with one digit.
fn thousandths(value: i64) -> String {
    let tenths = value / 100;
    format!("{}{}.{}", if tenths < 0 { "-" } else { "" }, tenths.abs() / 10, tenths.abs() % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::scenario::{Story, check};
    use models::alert::RevisionKind;
    use models::ids::AlertId;
    use models::series::ToldAlready;

    /// The n-th hour of a story, or its n-th day, is unusual by so many thousandths.
    fn unusual(granularity: Granularity, metric: Metric, n: i64, score_milli: u32) -> SeriesScore {
        let length = if granularity == Granularity::Hour { HOUR } else { DAY };
        let start = Ts(crate::rules::scenario::BEGIN + n * length);
        let reason =
            SeriesReason { oddity: Oddity::Above, surprise_milli: 9_000, observed: 500, usual: 80, metric: None };
        SeriesScore {
            series: SeriesKey { granularity, currency: Currency::KES, metric },
            window: Window { start, end: start.plus(length) },
            value: 700 + n,
            score_ppm: score_milli * 1_000,
            is_alert: score_milli >= 500,
            expected: 200,
            band: Some((100, 300)),
            points: 400,
            reasons: vec![reason],
            told: None,
        }
    }

    fn hour(metric: Metric, n: i64, score_milli: u32) -> SeriesScore {
        unusual(Granularity::Hour, metric, n, score_milli)
    }

    /// Stakes of the n-th hour are not what its players and count let expect.
    fn together(n: i64, score_milli: u32) -> SeriesScore {
        let part = |metric, observed, usual| SeriesReason {
            oddity: Oddity::Together,
            surprise_milli: 9_000,
            observed,
            usual,
            metric: Some(metric),
        };
        let reasons = vec![part(Metric::Stakes, 700, 500), part(Metric::UniquePlayers, 30, 0)];
        SeriesScore { value: 700, expected: 500, reasons, ..hour(Metric::Stakes, n, score_milli) }
    }

    fn story(inputs: Vec<Vec<SeriesScore>>) -> Story {
        inputs.into_iter().fold(Story::at(0), Story::series)
    }

    #[test]
    fn one_cause_is_one_finding() {
        use Metric::{Count, Hold, Stakes, UniquePlayers};
        let day = |n, milli| unusual(Granularity::Day, Stakes, n, milli);
        let because = |oddity, score: SeriesScore| {
            let reasons = score.reasons.iter().map(|reason| SeriesReason { oddity, ..*reason }).collect();
            SeriesScore { reasons, ..score }
        };
        let fall = |metric, n, milli| because(Oddity::BelowForSome, hour(metric, n, milli));
        let fallen_day = |n, milli| because(Oddity::Below, day(n, milli));
        let told = |n: i64, before: i64| {
            let window = hour(Stakes, n - before, 0).window;
            SeriesScore { told: Some(ToldAlready { alert: AlertId(1), window }), ..hour(Stakes, n, 700) }
        };
        let euros = |n| {
            let score = hour(Stakes, n, 700);
            SeriesScore { series: SeriesKey { currency: Currency::EUR, ..score.series }, ..score }
        };
        check(
            "series_unusual",
            "{}",
            &[
                ("worth a word, and no alert", story(vec![vec![hour(Stakes, 5, 499)]]), &[]),
                ("an alert", story(vec![vec![hour(Stakes, 5, 500)]]), &["series hour KES: 705 minor_units"]),
                ("of players", story(vec![vec![hour(UniquePlayers, 5, 500)]]), &["series hour KES: 705 players"]),
                (
                    "three metrics of an hour, the most unusual first",
                    story(vec![vec![hour(Count, 5, 510), hour(Hold, 5, 640), hour(Stakes, 5, 520)]]),
                    &["series hour KES: 705 ppm"],
                ),
                (
                    "another metric three hours later is the same cause",
                    story(vec![vec![hour(Count, 5, 510)], vec![hour(Stakes, 8, 520)]]),
                    &["series hour KES: 705 records"],
                ),
                (
                    "a fall three hours behind a rise is none of it, and a second one is of the first",
                    story(vec![vec![hour(Count, 5, 510)], vec![fall(Stakes, 8, 520)], vec![fall(Count, 9, 520)]]),
                    &["series hour KES: 705 records", "series hour KES: 708 minor_units"],
                ),
                (
                    "a second fall that is worse is of the first; and so is what comes when the rise is long ago",
                    story(vec![
                        vec![hour(Count, 5, 510)],
                        vec![fall(Stakes, 20, 520)],
                        vec![fall(Count, 21, 800)],
                        vec![hour(Stakes, 40, 900)],
                    ]),
                    &["series hour KES: 705 records", "series hour KES: 721 records"],
                ),
                (
                    "a rise behind a fall is what was not reported before",
                    story(vec![vec![fall(Count, 5, 510)], vec![hour(Stakes, 8, 520)]]),
                    &["series hour KES: 705 records"],
                ),
                (
                    "payouts that stay away raise the hold before they lower the count",
                    story(vec![vec![hour(Hold, 5, 510)], vec![fall(Count, 8, 520)]]),
                    &["series hour KES: 705 ppm"],
                ),
                (
                    "but a hold that falls behind its rise is another cause",
                    story(vec![vec![hour(Hold, 5, 510)], vec![fall(Hold, 8, 520)]]),
                    &["series hour KES: 705 ppm", "series hour KES: 708 ppm"],
                ),
                (
                    "another course has no direction",
                    story(vec![vec![because(Oddity::Shape, hour(Count, 5, 510))], vec![fall(Count, 8, 520)]]),
                    &["series hour KES: 705 records"],
                ),
                (
                    "and makes it worse where it is",
                    story(vec![vec![hour(Count, 5, 510)], vec![hour(Stakes, 8, 800)]]),
                    &["series hour KES: 708 minor_units"],
                ),
                (
                    "two days later it is another",
                    story(vec![vec![hour(Count, 5, 510)], vec![hour(Stakes, 53, 520)]]),
                    &["series hour KES: 705 records", "series hour KES: 753 minor_units"],
                ),
                (
                    "another currency is another",
                    story(vec![vec![hour(Stakes, 5, 700), euros(5)]]),
                    &["series hour EUR: 705 minor_units", "series hour KES: 705 minor_units"],
                ),
                ("the robust detector says it of the same hour", story(vec![vec![told(40, 0)]]), &[]),
                ("and of a metric of that hour", story(vec![vec![told(40, 0), hour(UniquePlayers, 40, 900)]]), &[]),
                ("it said so hours before", story(vec![vec![told(40, 9)]]), &[]),
                ("it said so two days before", story(vec![vec![told(60, 48)]]), &["series hour KES: 760 minor_units"]),
                ("a day", story(vec![vec![day(3, 600)]]), &["series day KES: 703 minor_units"]),
                ("a day of which nothing else is worth a word", story(vec![vec![day(3, 599)]]), &[]),
                (
                    "a day of which something else is worth a word, and no alert",
                    story(vec![vec![day(3, 500), unusual(Granularity::Day, Count, 3, 250)]]),
                    &["series day KES: 703 minor_units"],
                ),
                (
                    "not of the same day",
                    story(vec![vec![day(3, 599), unusual(Granularity::Day, Count, 2, 499), hour(Count, 95, 499)]]),
                    &[],
                ),
                (
                    "a day is unusual by its hour",
                    story(vec![vec![hour(Count, 75, 510)], vec![day(3, 700)]]),
                    &["series hour KES: 775 records"],
                ),
                (
                    "and by one of no direction, and by a fall behind a rise",
                    story(vec![
                        vec![because(Oddity::Restless, hour(Count, 75, 510))],
                        vec![fallen_day(3, 700)],
                        vec![hour(Stakes, 120, 510)],
                        vec![fall(Stakes, 122, 520)],
                        vec![fallen_day(5, 700)],
                    ]),
                    &[
                        "series hour KES: 775 records",
                        "series hour KES: 820 minor_units",
                        "series hour KES: 822 minor_units",
                    ],
                ),
                (
                    "a day that falls has none of it from an hour that rose",
                    story(vec![vec![hour(Count, 75, 510)], vec![fallen_day(3, 700)]]),
                    &["series hour KES: 775 records", "series day KES: 703 minor_units"],
                ),
                (
                    "an hour of the day before says nothing of a day",
                    story(vec![vec![hour(Count, 70, 510)], vec![day(3, 700)]]),
                    &["series hour KES: 770 records", "series day KES: 703 minor_units"],
                ),
            ],
        );
        check(
            "series_unusual",
            r#"{"score_min_ppm": 650000, "medium_from_ppm": 700000, "also_told": true}"#,
            &[
                ("a stricter version", story(vec![vec![hour(Stakes, 5, 649)]]), &[]),
                ("compared with the robust one", story(vec![vec![told(40, 0)]]), &["series hour KES: 740 minor_units"]),
            ],
        );
    }

    #[test]
    fn a_finding_can_be_checked_by_hand() {
        let parts =
            [(499, None), (500, Some(Severity::Low)), (600, Some(Severity::Medium)), (750, Some(Severity::High))];
        for (milli, severity) in parts {
            let found = story(vec![vec![hour(Metric::Stakes, 5, milli)]]).run("series_unusual", "{}");
            assert_eq!(found.first().map(|finding| finding.severity), severity, "{milli}");
        }
        let all = story(vec![
            vec![hour(Metric::Stakes, 5, 640), hour(Metric::Count, 5, 510)],
            vec![hour(Metric::Hold, 6, 800)],
        ]);
        let said = all.all("series_unusual", "{}");
        assert_eq!(said.iter().map(|f| f.kind).collect::<Vec<_>>(), [RevisionKind::Raised, RevisionKind::Corrected]);
        assert_eq!(said[0].window, hour(Metric::Stakes, 5, 0).window);
        assert_eq!(said[1].window, said[0].window, "the first hour keeps its place");
        let band = Band { low: 100, high: 300, score_milli: 640, threshold_milli: 500, samples: 400 };
        assert_eq!(said[0].band, Some(band));
        assert_eq!(
            said[0].reasons,
            [
                "stakes of the hour from 2026-03-02T02:00:00.000Z: 705 minor units of KES, and 200 minor units of KES expected; a single value from 100 minor units of KES to 300 minor units of KES says nothing",
                "it lies 500 minor units of KES above what was expected; 80 minor units of KES is the most of a usual hundred hours",
                "unusual as well: count",
            ]
        );
    }

    #[test]
    fn figures_that_do_not_fit_together_are_one_more_series_of_their_cause() {
        let told = |n: i64, before: i64| {
            let window = hour(Metric::Count, n - before, 0).window;
            SeriesScore { told: Some(ToldAlready { alert: AlertId(1), window }), ..together(n, 700) }
        };
        check(
            "series_unusual",
            "{}",
            &[
                ("an alert", story(vec![vec![together(5, 500)]]), &["series hour KES: 700 minor_units"]),
                ("worth a word, and no alert", story(vec![vec![together(5, 499)]]), &[]),
                ("the robust detector says something of that hour", story(vec![vec![told(40, 0)]]), &[]),
                ("it said so two days before", story(vec![vec![told(60, 48)]]), &["series hour KES: 700 minor_units"]),
                (
                    "one metric alone said it three hours before",
                    story(vec![vec![hour(Metric::Count, 5, 700)], vec![together(8, 710)]]),
                    &["series hour KES: 705 records"],
                ),
                (
                    "and one metric alone says it afterwards",
                    story(vec![vec![together(5, 700)], vec![hour(Metric::Count, 8, 710)]]),
                    &["series hour KES: 700 minor_units"],
                ),
            ],
        );
        let both = story(vec![vec![together(5, 700), hour(Metric::Stakes, 5, 510)]]).run("series_unusual", "{}");
        assert_eq!(
            both[0].reasons[1..],
            [
                "stakes: 40.0 % above what the other figures of the hour let expect; 700 minor units of KES, and 500 minor units of KES expected",
                "unique players: above what the other figures of the hour let expect; 30 players, and 0 players expected",
                "unusual as well: stakes",
            ]
        );
        let both = story(vec![vec![together(5, 510), hour(Metric::Count, 5, 700)]]).run("series_unusual", "{}");
        assert_eq!(both[0].reasons.last().map(String::as_str), Some("unusual as well: the figures together"));
    }

    #[test]
    fn everything_odd_is_a_sentence() {
        let score = hour(Metric::Hold, 5, 600);
        let reason = |oddity| SeriesReason { oddity, surprise_milli: 1, observed: 84_000, usual: 12_345, metric: None };
        for oddity in Oddity::ALL {
            let said = sentence(&score, &reason(*oddity));
            assert!(said.contains("hour") && said.contains(';'), "{said}");
        }
        // each length has its own spans and blocks
        let of_day =
            SeriesScore { series: SeriesKey { granularity: Granularity::Day, ..score.series }, ..score.clone() };
        let table = [
            (Oddity::Above, "it lies 8.4 % of stakes above what was expected; 1.2 % of stakes is the most of a usual "),
            (
                Oddity::BelowForSome,
                "the last SOME lie 8.4 % of stakes below what was expected on average; 1.2 % of stakes is the most of a usual ",
            ),
            (
                Oddity::AboveForLong,
                "the last LONG lie 8.4 % of stakes above what was expected on average; 1.2 % of stakes is the most of a usual ",
            ),
        ];
        for (oddity, wanted) in table {
            for (score, some, long, block) in
                [(&score, "six hours", "24 hours", "hundred hours"), (&of_day, "four days", "ten days", "fortnight")]
            {
                let wanted = wanted.replace("SOME", some).replace("LONG", long);
                assert_eq!(sentence(score, &reason(oddity)), format!("{wanted}{block}"));
            }
        }
        assert_eq!(amount(-84_050, Metric::Hold, Currency::KES), "-8.4 % of stakes");
    }
}
