use super::super::states::newest_readable;
use super::super::{OperatorStateRow, StateMetrics};
use super::*;
use engine::windows::Cutter;
use jiff::tz::TimeZone;
use models::alert::{Evidence, Severity, Subject};
use models::ids::OperatorNo;
use models::money::Currency;
use models::ts::{HOUR, MINUTE};

/// 5 January 2026, a Monday.
pub(super) const BEGIN: i64 = 1_767_571_200_000_000;

pub(super) fn hour(n: i64) -> Window {
    let start = Ts(BEGIN + n * HOUR);
    Window { start, end: start.plus(HOUR) }
}

/// Noise between −1 and 1 that is the same every time.
pub(super) fn noise(n: i64) -> f64 {
    let mixed = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// The n-th hour of a market with quiet nights, at a level.
fn closed(n: i64, level: f64) -> Closed {
    let rhythm = if (8..22).contains(&(n % 24)) { 10_000.0 } else { 4_000.0 };
    let value = (rhythm * level * (1.0 + 0.03 * noise(n))) as i64;
    let values = [value / 20, value, value / 10 * 9, value / 10, value / 50, 100_000 + (5_000.0 * noise(-n)) as i64];
    Closed {
        currency: Currency::KES,
        granularity: Granularity::Hour,
        window: hour(n),
        wall_start: hour(n).start,
        values,
        records: 500,
        is_partial: false,
    }
}

/// What is scored of hours, one input each.
fn scores(watch: &mut SeriesWatch, hours: impl Iterator<Item = Closed>) -> Vec<SeriesScore> {
    hours.flat_map(|closed| watch.hear(std::slice::from_ref(&closed), closed.window.end, &[]).scores).collect()
}

fn alerts(scores: &[SeriesScore]) -> Vec<(Metric, i64)> {
    let alone = |score: &&SeriesScore| score.reasons.iter().all(|reason| reason.oddity != Oddity::Together);
    let alerts = scores.iter().filter(|score| score.is_alert).filter(alone);
    alerts.map(|score| (score.series.metric, (score.window.start.0 - BEGIN) / HOUR)).collect()
}

/// Four weeks, and a level 40 % higher from the 600th hour on.
fn shifted() -> impl Iterator<Item = Closed> {
    (0..672).map(|n| closed(n, if n < 600 { 1.0 } else { 1.4 }))
}

#[test]
fn a_shift_of_level_is_told_once_by_each_series_that_it_moves() {
    let mut watch = SeriesWatch::default();
    let found = alerts(&scores(&mut watch, shifted()));
    let moved: Vec<Metric> = found.iter().map(|(metric, _)| *metric).collect();
    for metric in [Metric::Count, Metric::Stakes, Metric::Payouts, Metric::UniquePlayers] {
        assert_eq!(moved.iter().filter(|known| **known == metric).count(), 1, "{found:?}");
    }
    assert!(!moved.contains(&Metric::Hold), "it did not move: {found:?}");
    assert!(found.iter().all(|(_, n)| (600..624).contains(n)), "soon, and not before: {found:?}");
    assert!(watch.views().all(|view| !view.is_learning && view.points == 672));
    let few = watch.views().find(|view| view.series.metric == Metric::Stakes).expect("stakes");
    assert_eq!(few.newest.window, hour(671));
    assert!(few.newest.band.is_some_and(|(low, high)| low < high), "{few:?}");
}

#[test]
fn hours_are_judged_with_the_defaults_of_the_benchmark() {
    let hours = params(Granularity::Hour, Metric::Hold);
    assert_eq!(hours, Params { version: PARAMS_VERSION, ..Params::default() });
    let days = params(Granularity::Day, Metric::Count);
    assert!(days.start_points < days.block_points, "the first block has a largest value");
}

/// The n-th day of a market whose days differ by a third, busier at weekends, at a level.
fn day(n: i64, level: f64) -> Closed {
    let start = Ts(BEGIN + n * 24 * HOUR);
    let usual = if n % 7 >= 5 { 90_000.0 } else { 60_000.0 };
    let value = (usual * level * (1.0 + 0.3 * noise(n))) as i64;
    let values = [value / 100, value, value / 10 * 9, value / 10, value / 1_000, 100_000];
    let window = Window { start, end: start.plus(24 * HOUR) };
    Closed { granularity: Granularity::Day, window, wall_start: start, values, records: 600, ..closed(n, 1.0) }
}

#[test]
fn days_speak_after_four_weeks() {
    // told | days there are | the level of the last three | counts are an alert
    let table = [
        ("as ever", 70, 1.0, false),
        ("a quarter is left", 70, 0.25, true),
        ("three times as many", 70, 3.0, true),
        ("nobody knows yet what is usual", 27, 0.25, false),
        ("somebody just knows it", 31, 0.25, true),
    ];
    for (what, days, level, wanted) in table {
        let mut watch = SeriesWatch::default();
        let all = (0..days).map(|n| day(n, if n < days - 3 { 1.0 } else { level }));
        let found = alerts(&scores(&mut watch, all));
        let counts: Vec<i64> =
            found.iter().filter(|(metric, _)| *metric == Metric::Count).map(|(_, n)| n / 24).collect();
        assert!(counts.iter().all(|n| *n >= days - 3), "{what}: {counts:?}");
        assert_eq!(!counts.is_empty(), wanted, "{what}: {found:?}");
        assert!(watch.views().all(|view| view.is_learning == (days < 28)), "{what}");
    }
}

#[test]
fn days_are_rarely_unusual_where_nothing_happens() {
    /// Of a number in its place: a draw between 0 and 1.
    fn draw(n: i64) -> f64 {
        f64::midpoint(noise(n), 1.0).clamp(1e-9, 1.0 - 1e-9)
    }
    let normal = |n: i64| (-2.0 * draw(2 * n).ln()).sqrt() * (std::f64::consts::TAU * draw(2 * n + 1)).cos();
    let heavy = |n: i64| -draw(n).ln();
    let week = |n: i64| if n % 7 >= 5 { 4.0 } else { 0.0 };
    let series: [(&str, &dyn Fn(i64) -> f64); 4] = [
        ("normal", &normal),
        ("exponential", &heavy),
        ("normal on a rhythm of the week", &|n| week(n) + normal(n)),
        ("autocorrelated", &|n| (0..20).map(|back| 0.7f64.powi(back) * normal(n - i64::from(back))).sum()),
    ];
    const DAYS: i64 = 100_000;
    let rates = series.map(|(what, value)| {
        let mut detector = ml::anomaly::Detector::new(params(Granularity::Day, Metric::Count));
        let observed = (0..DAYS).map(|n| detector.observe(Ts(BEGIN + n * 24 * HOUR), 100.0 + value(n + 100)));
        let alerts = observed.filter(|verdict| verdict.alert).count();
        (what, alerts as f64 * 1e3 / DAYS as f64)
    });
    // alerts in 1,000 days
    assert!(rates.iter().all(|(_, rate)| (0.5..=5.0).contains(rate)), "{rates:?}");
}

#[test]
fn what_is_shown_of_a_series_is_in_its_unit() {
    let mut watch = SeriesWatch::default();
    scores(&mut watch, (0..672).map(|n| closed(n, 1.0)));
    let shown = |metric| watch.views().find(|view| view.series.metric == metric).expect("a series").newest;
    for (metric, usual) in
        [(Metric::Count, 200), (Metric::Stakes, 4_000), (Metric::UniquePlayers, 80), (Metric::Hold, 100_000)]
    {
        let Newest { expected: Some(expected), band: Some((low, high)), .. } = shown(metric) else {
            panic!("{metric:?}")
        };
        assert!((expected - usual).abs() * 20 < usual, "{metric:?}: {expected}");
        assert!(low < expected && expected < high, "{metric:?}: {low} to {high}");
    }
}

#[test]
fn a_state_cut_anywhere_goes_on_as_if_it_were_not() {
    let mut whole = SeriesWatch::default();
    let wanted = scores(&mut whole, shifted());
    for cut in [0, 1, 199, 600, 603, 671] {
        let mut watch = SeriesWatch::default();
        let mut found = scores(&mut watch, shifted().take(cut));
        let bytes = watch.to_bytes().unwrap();
        assert!(bytes.len() <= SeriesWatch::BYTES_MAX);
        let mut back = SeriesWatch::default().with_bytes(&bytes).expect("a state");
        assert_eq!(back, watch);
        found.extend(scores(&mut back, shifted().skip(cut)));
        assert_eq!(found, wanted, "cut at {cut}");
        assert_eq!(back, whole);
        assert_eq!(SeriesWatch::default().with_bytes(&[bytes.as_slice(), &[0]].concat()), None, "a byte more");
    }
}

#[test]
fn states_of_other_parameters_are_discarded() {
    let registry = prometheus::Registry::new();
    let metrics = StateMetrics::register_as(&registry, ["a", "b", "c"], "").unwrap();
    let mut watch = SeriesWatch::default();
    scores(&mut watch, shifted().take(30));
    let row = |operator_seq, layout| {
        let state = zstd::encode_all(watch.to_bytes().unwrap().as_slice(), 1).unwrap();
        OperatorStateRow { operator_seq, layout, state }
    };
    let newest = |rows: &[OperatorStateRow]| {
        newest_readable(OperatorNo(1), &SeriesWatch::default(), rows, &metrics).map(|(operator_seq, _)| operator_seq)
    };
    let (ours, theirs) = (SeriesWatch::LAYOUT, (PARAMS_VERSION + 1) << 8 | LAYOUT);
    assert_eq!(newest(&[row(7, ours), row(5, ours)]), Some(7));
    assert_eq!(newest(&[row(7, theirs), row(5, ours)]), Some(5));
    assert_eq!(newest(&[row(7, theirs), row(5, theirs)]), None);
    assert_eq!(newest(&[]), None);
    assert_eq!(metrics.lost.get(), 3);
}

#[test]
fn what_is_learnt_from_remembered_windows_is_what_was_heard() {
    let hours: Vec<Closed> = shifted().take(620).collect();
    let mut heard = SeriesWatch::default();
    scores(&mut heard, hours.iter().cloned());
    assert_eq!(SeriesWatch::learnt(&hours), heard);
}

/// Hour of the week in which Sunday begins.
const SUNDAY: usize = 6 * 24;

/// Hours of the week in which windows begin whose stakes were expected a quarter off, in the two weeks behind the change of
/// the clocks in Amsterdam; people are there from 8 to 22, and hardly any on Sundays where days are looked at.
fn unexpected(granularity: Granularity, is_by_wall: bool) -> Vec<usize> {
    let at = |text| Ts::parse(text).expect("a time");
    let (change, end) = (at("2026-03-29T01:00:00Z"), at("2026-04-12T00:00:00Z"));
    let mut cutter = Cutter::new(TimeZone::get("Europe/Amsterdam").expect("a zone"));
    let mut window = cutter.window(granularity, at("2026-01-05T12:00:00Z"));
    let (mut watch, mut unexpected) = (SeriesWatch::default(), Vec::new());
    for n in 0.. {
        if window.start >= end {
            break;
        }
        let of_week = cutter.hour_of_week(window.start);
        let is_hour = granularity == Granularity::Hour;
        let is_busy = if is_hour { (8..22).contains(&(of_week % 24)) } else { of_week != SUNDAY };
        let usual = if is_busy { 10_000.0 } else { 2_000.0 };
        let wall_start = if is_by_wall { cutter.wall_clock(granularity, window.start) } else { window.start };
        // too few for a hold: no figures together
        let of = closed(n, 1.0);
        let values = of.values.map(|_| (usual * (1.0 + 0.03 * noise(n))) as i64);
        let closed = Closed { granularity, window, wall_start, values, records: HOLD_RECORDS_MIN - 1, ..of };
        watch.hear(std::slice::from_ref(&closed), window.end, &[]);
        let stakes = watch.views().find(|view| view.series.metric == Metric::Stakes).expect("stakes");
        let expected = stakes.newest.expected.expect("expected") as f64;
        if window.start >= change && (expected - usual).abs() > 0.25 * usual {
            unexpected.push(of_week);
        }
        window = cutter.window(granularity, window.end);
    }
    unexpected
}

#[test]
fn a_change_of_the_clocks_moves_no_rhythm() {
    let nothing = Vec::<usize>::new();
    assert_eq!(unexpected(Granularity::Hour, true), nothing);
    assert_eq!(unexpected(Granularity::Day, true), nothing);
    // by UTC every hour is held against its neighbour, and no day has been there before
    assert_eq!(unexpected(Granularity::Hour, false)[..2], [SUNDAY + 8, SUNDAY + 22]);
    assert!(unexpected(Granularity::Day, false).contains(&SUNDAY));
}

#[test]
fn what_is_missing_is_not_learnt() {
    let silence = |since: i64, said: i64, until: Option<i64>| FeedSilence {
        since: Ts(BEGIN + since * MINUTE),
        said_at: Ts(BEGIN + said * MINUTE),
        until: until.map(|until| Ts(BEGIN + until * MINUTE)),
    };
    let whole = closed(1, 1.0);
    let partial = Closed { is_partial: true, ..whole };
    let thin = Closed { records: HOLD_RECORDS_MIN - 1, ..whole };
    // what | the hour from minute 60 to 120, heard at 120 | silences | stakes and hold learnt
    let table = [
        ("an hour", &whole, vec![], (1, 1)),
        ("nobody watched", &partial, vec![], (0, 0)),
        ("a hold of few bets", &thin, vec![], (1, 0)),
        ("silent since before, and still", &whole, vec![silence(10, 14, None)], (0, 0)),
        ("silent for half of it", &whole, vec![silence(70, 74, Some(100))], (0, 0)),
        ("silent for a minute", &whole, vec![silence(70, 71, Some(71))], (1, 1)),
        ("it spoke again before", &whole, vec![silence(10, 14, Some(60))], (1, 1)),
        ("nobody knew of it then", &whole, vec![silence(10, 121, None)], (1, 1)),
        ("silent afterwards", &whole, vec![silence(120, 120, None)], (1, 1)),
    ];
    for (what, closed, silences, wanted) in table {
        let mut watch = SeriesWatch::default();
        watch.hear(std::slice::from_ref(closed), Ts(BEGIN + 120 * MINUTE), &silences);
        let learnt = |metric| watch.views().find(|view| view.series.metric == metric).map(|view| view.points);
        assert_eq!((learnt(Metric::Stakes), learnt(Metric::Hold)), (Some(wanted.0), Some(wanted.1)), "{what}");
        let stakes = watch.views().find(|view| view.series.metric == Metric::Stakes).expect("stakes");
        assert_eq!(stakes.newest.value.is_some(), wanted.0 == 1, "{what}");
    }
}

#[test]
fn silences_are_read_from_their_alerts() {
    let revision = |id: u128, kind, at: i64, start: i64| AlertRevision {
        id: AlertId(id),
        rule: engine::silence::RULE.to_owned(),
        rule_version: 1,
        operator_no: OperatorNo(1),
        subject: Subject {
            operator: "safi".to_owned(),
            metric: Metric::Silence,
            granularity: Granularity::Minute,
            currency: Currency::KES,
            source: None,
            who: None,
        },
        window: Window { start: Ts(start), end: Ts(start + 4) },
        kind,
        severity: Severity::Medium,
        at: Ts(at),
        operator_seq: 0,
        offset: 0,
        operator_offset: 0,
        evidence: Evidence::default(),
    };
    use RevisionKind::{Corrected, Raised, Withdrawn};
    let revisions = [
        revision(2, Raised, 60, 50),
        revision(1, Withdrawn, 30, 10),
        revision(1, Corrected, 20, 10),
        revision(1, Raised, 14, 10),
    ];
    let mut silences = FeedSilence::of(&revisions, &Directory::default());
    silences.sort_by_key(|silence| silence.since);
    let wanted = [(10, 14, Some(30)), (50, 60, None)].map(|(since, said, until)| FeedSilence {
        since: Ts(since),
        said_at: Ts(said),
        until: until.map(Ts),
    });
    assert_eq!(silences, wanted);
}

#[test]
fn everything_has_a_limit() {
    let mut watch = SeriesWatch::default();
    let currencies = ["AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG", "HHH", "III"];
    let windows = |granularity| {
        let of = move |code| Closed { currency: Currency::parse(code).unwrap(), granularity, ..closed(0, 1.0) };
        currencies.map(of)
    };
    let all = [windows(Granularity::Hour), windows(Granularity::Day)].concat();
    let heard = watch.hear(&all, Ts(BEGIN + HOUR), &[]);
    // nine currencies by the hour, seven by the day: nothing of the last two
    assert_eq!((watch.views().count(), heard.unwatched), (SERIES_MAX, 12));
    let again = watch.hear(&all, Ts(BEGIN + HOUR), &[]);
    assert_eq!(again.unwatched, 12, "counted each time");
    let state = watch.to_bytes().unwrap();
    assert!(state.len() <= SeriesWatch::BYTES_MAX, "{} bytes", state.len());

    let mut wild = SeriesWatch::default();
    scores(&mut wild, (0..400).map(|n| closed(n, 1.0)));
    let wild_hour = |n: i64| Closed { records: 30, ..closed(n, if n % 7 < 3 { 30.0 } else { 0.1 }) };
    let later: Vec<Closed> = (400..3_000).map(wild_hour).collect();
    let heard = wild.hear(&later, later[later.len() - 1].window.end, &[]);
    assert_eq!(heard.scores.len(), SCORES_MAX, "and {} left out", heard.left_out);
    assert!(heard.left_out > 0);
    assert!(heard.scores.iter().any(|score| score.is_alert), "the most unusual ones stay");
    assert!(heard.scores.is_sorted_by_key(|score| (score.series, score.window.start)));
}
