//! What the detector says about series an expert can picture, and what it may never do.

use super::*;
use models::ts::{DAY, HOUR, MINUTE, Ts};
use proptest::prelude::*;

/// Points of a day at one every five minutes.
const DAY_POINTS: usize = 288;
/// When something happens in the scenarios: after ten days.
const CAUSE: usize = 10 * DAY_POINTS;

/// Deterministic noise with mean 0 and standard deviation 1: the sum of twelve uniform numbers.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        let uniform = (0..12).map(|_| {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as f64 / f64::from(1u32 << 31)
        });
        uniform.sum::<f64>() - 6.0
    }
}

/// Monday, and points `every` microseconds.
fn time(point: usize, every: i64) -> Ts {
    Ts::parse("2026-01-05T00:00:00Z").unwrap().plus(point as i64 * every)
}

/// A series with noise: `value` is told the point's number and a draw.
fn series(points: usize, seed: u64, value: impl Fn(usize, f64) -> f64) -> Vec<f64> {
    let mut noise = Noise(seed);
    (0..points).map(|point| value(point, noise.next())).collect()
}

/// Alerts: the point and what contributed most.
fn alerts(values: &[f64], every: i64) -> Vec<(usize, ReasonKind)> {
    let mut detector = Detector::new(Params::default());
    let verdicts = values.iter().enumerate().map(|(point, value)| detector.observe(time(point, every), *value));
    let alerts = verdicts.enumerate().filter(|(_, verdict)| verdict.alert);
    alerts.map(|(point, verdict)| (point, verdict.reasons[0].unwrap().kind)).collect()
}

/// A rhythm of the day: quiet nights, busy from 8 to 20.
fn rhythm(point: usize) -> f64 {
    if (8..20).contains(&(point % DAY_POINTS * 24 / DAY_POINTS)) { 100.0 } else { 20.0 }
}

#[test]
fn what_is_found_and_how_soon() {
    use ReasonKind::*;
    type Value = fn(usize, f64) -> f64;
    let table: [(&str, usize, &[ReasonKind], Value); 9] = [
        ("a spike", 0, &[Above], |p, n| 100.0 + 5.0 * n + if p == CAUSE { 60.0 } else { 0.0 }),
        ("a drop to zero", 0, &[Below], |p, n| if p >= CAUSE { 0.0 } else { 100.0 + 5.0 * n }),
        ("the level shifts by four standard deviations", 12, &[Above, AboveForSome, AboveForLong, Shape], |p, n| {
            100.0 + 5.0 * n + if p >= CAUSE { 20.0 } else { 0.0 }
        }),
        (
            "a slow drift downwards, a tenth of a deviation a point",
            100,
            &[BelowForSome, BelowForLong, Shape],
            |p, n| 100.0 + 5.0 * n - 0.5 * p.saturating_sub(CAUSE) as f64,
        ),
        ("a flat line", 20, &[Flat], |p, n| if p >= CAUSE { 100.0 } else { 100.0 + 5.0 * n }),
        (
            "the same mean, four times the noise",
            40,
            &[Restless, Shape, Above, Below, AboveForSome, BelowForSome],
            |p, n| 100.0 + if p >= CAUSE { 20.0 } else { 5.0 } * n,
        ),
        ("a night as busy as the day", 96, &[Above, AboveForSome, AboveForLong], |p, n| {
            5.0 * n + if p >= CAUSE { 100.0 } else { rhythm(p) }
        }),
        ("a day on which nobody came", 96 + 24, &[Below, BelowForSome, BelowForLong], |p, n| {
            5.0 * n + if p >= CAUSE { 20.0 } else { rhythm(p) }
        }),
        (
            "a quiet spot: too low for the hour, ordinary otherwise",
            8 * 12 + 30,
            &[Below, BelowForSome, BelowForLong],
            |p, n| 5.0 * n + if (CAUSE + 96..CAUSE + 144).contains(&p) { 40.0 } else { rhythm(p) },
        ),
    ];
    for (what, within, kinds, value) in table {
        let found = alerts(&series(CAUSE + 200, 5, value), 5 * MINUTE);
        let first = found.iter().find(|(point, _)| *point >= CAUSE);
        let first = first.unwrap_or_else(|| panic!("{what}: not found"));
        assert!(first.0 <= CAUSE + within, "{what}: found after {} points", first.0 - CAUSE);
        assert!(kinds.contains(&first.1), "{what}: {:?}", first.1);
        let before = found.iter().filter(|(point, _)| *point < CAUSE).count();
        assert!(before <= 2, "{what}: {before} alerts before it");
    }
}

#[test]
fn what_stays_quiet() {
    type Value = fn(usize, f64) -> f64;
    // after so many points of learning, at most so many alerts in all the points
    let table: [(&str, i64, usize, usize, usize, Value); 7] = [
        ("nothing at all", 5 * MINUTE, 0, 20_000, 0, |_, _| 0.0),
        ("one value for ever", 5 * MINUTE, 0, 20_000, 0, |_, _| 45.0),
        ("a rhythm without noise", 5 * MINUTE, 2 * DAY_POINTS, 20_000, 0, |p, _| rhythm(p)),
        ("noise alone", 5 * MINUTE, 0, 20_000, 16, |_, n| 100.0 + 5.0 * n),
        ("noise on a rhythm", 5 * MINUTE, 2 * DAY_POINTS, 20_000, 16, |p, n| rhythm(p) + 5.0 * n),
        ("the same spike every noon", 5 * MINUTE, 4 * DAY_POINTS, 10_000, 8, |p, n| {
            100.0 + 5.0 * n + if p % DAY_POINTS == 144 { 60.0 } else { 0.0 }
        }),
        ("weeks with quiet nights and closed on Sundays", HOUR, 6 * 168, 26 * 168, 4, |p, n| {
            let open = p / 24 % 7 != 6 && (8..22).contains(&(p % 24));
            if open { 100.0 + 5.0 * n } else { 5.0 + n }
        }),
    ];
    for (what, every, learning, points, most, value) in table {
        let found = alerts(&series(points, 9, value), every);
        let found: Vec<_> = found.iter().filter(|(point, _)| *point >= learning).collect();
        assert!(found.len() <= most, "{what}: {} alerts, {found:?}", found.len());
    }
}

#[test]
fn a_wanted_alert_rate_is_kept_on_noise() {
    let gauss = |n: f64| 100.0 + n;
    // squares of a normal draw: a heavier tail, as counts and sums of money have
    let heavy = |n: f64| n * n;
    for wanted in [0.05, 0.2, 0.5, 1.0] {
        let params = Params::with_alert_rate(wanted);
        for (what, value) in [("normal", gauss as fn(f64) -> f64), ("heavy", heavy)] {
            let mut alerts = 0;
            for seed in 0..8 {
                let mut detector = Detector::new(params);
                let values = series(20_000, 100 + seed, |_, n| value(n));
                let verdicts = values.iter().enumerate().map(|(p, v)| detector.observe(time(p, 5 * MINUTE), *v));
                alerts += verdicts.filter(|verdict| verdict.alert).count();
            }
            let rate = alerts as f64 / 160.0;
            assert!(rate <= 1.5 * wanted, "{what}: {rate} alerts in 1,000 points, {wanted} wanted");
        }
    }
    assert_eq!(
        Params::with_alert_rate(0.04).rest_points,
        160,
        "as `mlinzi model anomaly --alert-rate` says in its help"
    );
    assert_eq!(Params::with_alert_rate(0.3).surprise_alert, Params::default().surprise_alert, "the default's rate");
    assert_eq!(Params::with_alert_rate(f64::NAN).surprise_alert, 8.0, "no rate: as quiet as it can be");
    assert_eq!(Params::with_alert_rate(1e9).surprise_alert, 2.0);
    let ends = [ALERT_RATE_MIN, ALERT_RATE_MAX].map(|rate| Params::with_alert_rate(rate).surprise_alert);
    assert_eq!(ends, [8.0, 2.0], "of the rates that there are numbers for");
}

#[test]
fn one_cause_gives_one_alert() {
    let storm = series(CAUSE + 150, 5, |p, n| 100.0 + 5.0 * n + if p >= CAUSE && p % 3 == 0 { 80.0 } else { 0.0 });
    let found = alerts(&storm, 5 * MINUTE).into_iter().filter(|(point, _)| *point >= CAUSE).count();
    assert_eq!(found, 1);
}

#[test]
fn the_unit_of_a_series_does_not_matter() {
    let plain = series(4000, 3, |p, n| 1000.0 + rhythm(p) + 5.0 * n);
    let scaled: Vec<f64> = plain.iter().map(|v| v * 1024.0).collect();
    assert_eq!(alerts(&plain, 5 * MINUTE), alerts(&scaled, 5 * MINUTE));
}

#[test]
fn the_band_is_what_a_single_value_may_be() {
    let mut detector = Detector::new(Params::default());
    let values = series(3000, 4, |_, n| 100.0 + 5.0 * n);
    let last = values.iter().enumerate().map(|(p, v)| detector.observe(time(p, 5 * MINUTE), *v)).last().unwrap();
    let (low, high) = last.band.unwrap();
    let expected = last.expected.unwrap();
    assert!(
        (95.0..105.0).contains(&expected) && (50.0..90.0).contains(&low) && (110.0..150.0).contains(&high),
        "{last:?}"
    );
    for (value, alert) in [(high * 1.1, true), (low * 0.9, true), (expected, false)] {
        assert_eq!(detector.clone().observe(time(3000, 5 * MINUTE), value).alert, alert, "{value}");
    }
}

#[test]
fn a_block_in_the_beginning_has_no_largest_value() {
    for (start_points, known) in [(10, 40), (19, 40), (20, 60), (45, 80)] {
        let mut detector = Detector::new(Params { start_points, block_points: 20, ..Params::default() });
        for (point, value) in series(100, 4, |_, n| 100.0 + 5.0 * n).iter().enumerate() {
            assert_eq!(detector.is_learning(), point < known, "{start_points}: {point}");
            detector.observe(time(point, HOUR), *value);
        }
    }
}

#[test]
fn whoever_learns_says_nothing() {
    let mut detector = Detector::new(Params::default());
    for (point, value) in series(300, 4, |p, n| 100.0 + 5.0 * n + if p == 150 { 500.0 } else { 0.0 }).iter().enumerate()
    {
        assert_eq!(detector.is_learning(), point < 200, "{point}");
        let verdict = detector.observe(time(point, HOUR), *value);
        assert!(verdict.score == 0.0 || point >= 200, "{point}: {verdict:?}");
    }
}

#[test]
fn missing_and_odd_points_follow_the_rule() {
    let values = series(1000, 6, |_, n| 100.0 + 5.0 * n);
    let mut plain = Detector::new(Params::default());
    let mut holed = Detector::new(Params::default());
    for (point, value) in values.iter().enumerate() {
        let at = time(point, 5 * MINUTE);
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, -1e200] {
            assert_eq!(holed.observe(at, odd), Verdict::default(), "missing: nothing is said");
        }
        assert_eq!(holed.observe(at, *value), plain.observe(at, *value), "and nothing is learnt");
    }
    // a day without points, the same time twice, a time before: one more point each, no alert by itself
    let later = time(1000, 5 * MINUTE).plus(DAY);
    for at in [later, later, later.plus(-HOUR), Ts(i64::MAX), Ts(i64::MIN), Ts(0)] {
        let verdict = plain.observe(at, 100.0);
        assert!(!verdict.alert && verdict.expected.is_some(), "{verdict:?}");
    }
    assert_eq!(plain.points(), 1006);
}

/// Bytes that the state of a series takes, in memory and stored.
const STATE_BYTES_MAX: usize = 6_400;

#[test]
fn a_state_cut_anywhere_goes_on_as_if_it_were_not() {
    assert!(size_of::<Detector>() <= STATE_BYTES_MAX, "{} bytes", size_of::<Detector>());
    let values = series(1500, 8, |p, n| rhythm(p) + 5.0 * n + if p % 400 == 399 { 300.0 } else { 0.0 });
    let mut whole = Detector::new(Params::default());
    let mut cut = whole.clone();
    for (point, value) in values.iter().enumerate() {
        let at = time(point, 5 * MINUTE);
        let stored = postcard::to_allocvec(&cut).unwrap();
        assert!(stored.len() <= STATE_BYTES_MAX, "{} bytes stored", stored.len());
        cut = postcard::from_bytes(&stored).unwrap();
        assert_eq!(cut.observe(at, *value), whole.observe(at, *value), "point {point}");
    }
    assert!(whole == cut);
}

#[test]
fn what_comes_later_changes_nothing_before() {
    let values = series(3000, 2, |p, n| rhythm(p) + 5.0 * n + if p == 2500 { 1e9 } else { 0.0 });
    let scores = |values: &[f64]| -> Vec<u64> {
        let mut detector = Detector::new(Params::default());
        values.iter().enumerate().map(|(p, v)| detector.observe(time(p, 5 * MINUTE), *v).score.to_bits()).collect()
    };
    assert_eq!(scores(&values[..1800]), scores(&values)[..1800]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_points_are_judged(points in prop::collection::vec((any::<i64>(), any::<f64>()), 0..700), calm in any::<bool>()) {
        let mut detector = Detector::new(Params::default());
        for (number, (at, value)) in points.into_iter().enumerate() {
            // ordinary points between the wild ones let the tails open
            let (at, value) = if calm && number % 5 != 0 { (number as i64 * 5 * MINUTE, value.rem_euclid(7.0)) } else { (at, value) };
            let verdict = detector.observe(Ts(at), value);
            prop_assert!((0.0..=1.0).contains(&verdict.score), "{verdict:?}");
            prop_assert!(verdict.surprise.is_finite());
            prop_assert!(!verdict.alert || verdict.reasons[0].is_some());
        }
    }
}
