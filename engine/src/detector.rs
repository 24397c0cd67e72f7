//! One robust detector: how far a window lies from what is usual, in robust standard deviations.
//!
//! What is usual is the level of the windows before it times what is usual at its place of the week ([`crate::season`]);
//! where the week is not known yet it is the median of the windows before it. The spread is 1.4826 × the median absolute
//! deviation of those windows from their own places (Hampel 1974), carried over with the square root of what is usual, as
//! sums of many bets vary; at least a share of it, so that a series that never moves does not cry at its first cent.
//! How many deviations are said is learned from the series itself ([`crate::tail`]), and never fewer than
//! [`Params::threshold_milli`]. Only additions, products, quotients, roots and comparisons of `f64`, whose results
//! IEEE 754 fixes: the same windows give the same finding, bit for bit.

use crate::season::{Basis, Usual};
use models::alert::{Evidence, Metric, Severity};

/// Name of the rule in alerts.
pub const RULE: &str = "robust_deviation";
/// The version that nobody proposed: releases before rules took versions said what they say now as versions 1 to 3.
pub const STANDARD_VERSION: u32 = 3;

/// Parameters with their version: changed ones are another version.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params {
    /// Version.
    pub version: u32,
    /// Windows the level stands on.
    pub history: usize,
    /// Windows needed before anything is said.
    pub samples_min: usize,
    /// Robust standard deviations that are said at least, in thousandths.
    pub threshold_milli: i64,
    /// Least spread, in thousandths of what is usual.
    pub spread_milli: i64,
    /// Windows that one sample of the history may span on average: what happens more seldom is no series of this length.
    pub span_windows_max: i64,
    /// One of so many windows of the history may be without anything.
    pub empty_part: usize,
    /// A fall of what is never negative is said so many robust standard deviations deep whatever was learned, in
    /// thousandths: with the least spread nothing at all lies ten below.
    pub fall_max_milli: i64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            version: STANDARD_VERSION,
            history: 28,
            samples_min: 8,
            threshold_milli: 6_000,
            spread_milli: 100,
            span_windows_max: 4,
            empty_part: 4,
            fall_max_milli: 8_500,
        }
    }
}

/// Least spread of a metric whatever is usual: one currency unit, three events, 2 % of hold.
fn floor(metric: Metric) -> f64 {
    match metric {
        Metric::Count
        | Metric::UniquePlayers
        | Metric::FirstContacts
        | Metric::Silence
        | Metric::Integrity
        | Metric::Finding => 3.0,
        Metric::Stakes | Metric::Payouts | Metric::GrossGamingRevenue => 100.0,
        Metric::Hold => 20_000.0,
    }
}

/// A place that is usually quieter than this share of the busiest one that is looked at counts as if it were so busy.
const QUIETEST: f64 = 0.02;

/// A window as the detector sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// What it counted.
    pub value: i64,
    /// Stakes: what a hold stands on.
    pub stakes: i64,
    /// What is usual at its place of the week.
    pub usual: Option<Usual>,
}

impl Point {
    /// Of whose place nothing is known.
    #[must_use]
    pub fn of(value: i64) -> Self {
        Self { value, stakes: 1, usual: None }
    }
}

/// How far off a window lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Robust standard deviations; below what is usual they are negative.
    pub score: f64,
    expected: f64,
    spread: f64,
    samples: usize,
    basis: Option<Basis>,
}

/// A window outside its band.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// How urgent.
    pub severity: Severity,
    /// Why, without records.
    pub evidence: Evidence,
}

/// What a metric is expected to follow at a place, and with what its deviations grow.
struct Scale {
    base: f64,
    width: f64,
}

/// Holds a window against those before it. None: too little history, or nothing to be said of it.
#[must_use]
pub fn score(params: &Params, metric: Metric, now: Point, history: &[Point]) -> Option<Score> {
    let is_hold = metric == Metric::Hold;
    let counts = |point: &&Point| !is_hold || point.stakes > 0;
    let all: Vec<Point> = history.iter().filter(counts).copied().collect();
    let placed = || all.iter().filter(|point| point.usual.is_some());
    let is_seasonal = !is_hold && now.usual.is_some() && placed().count() >= params.samples_min;
    let known: Vec<Point> = if is_seasonal { placed().copied().collect() } else { all.clone() };
    let empty = known.iter().filter(|point| point.value == 0).count();
    // where windows are often empty, longer ones say it better
    let is_sparse = empty * params.empty_part > known.len();
    if known.len() < params.samples_min || (is_hold && now.stakes <= 0) || is_sparse {
        return None;
    }
    let usual = |point: &Point| point.usual.map_or(1.0, |usual| usual.value).max(0.0);
    let busiest = known.iter().chain([&now]).map(usual).fold(0.0, f64::max);
    if is_seasonal && busiest <= 0.0 {
        return None;
    }
    let scale = |point: &Point| {
        let base = usual(point).max(busiest * QUIETEST);
        match (is_hold, is_seasonal) {
            (true, _) => Scale { base: 1.0, width: 1.0 / (point.stakes as f64).sqrt() },
            (false, true) => Scale { base, width: base.sqrt() },
            (false, false) => Scale { base: 1.0, width: 1.0 },
        }
    };
    let mut levels: Vec<f64> = known.iter().map(|point| point.value as f64 / scale(point).base).collect();
    let level = median(&mut levels);
    let off = |point: &Point| {
        let Scale { base, width } = scale(point);
        (point.value as f64 - level * base).abs() / width
    };
    let mut deviations: Vec<f64> = known.iter().map(off).collect();
    let Scale { base, width } = scale(&now);
    let expected = level * base;
    let least = (expected.abs() * params.spread_milli as f64 / 1000.0).max(floor(metric));
    let spread = (1.4826 * median(&mut deviations) * width).max(least);
    let basis = now.usual.filter(|_| is_seasonal).map(|usual| usual.basis);
    let score = (now.value as f64 - expected) / spread;
    Some(Score { score, expected, spread, samples: known.len(), basis })
}

impl Params {
    /// So far off a window must lie at least.
    #[must_use]
    pub fn least(&self) -> f64 {
        self.threshold_milli as f64 / 1000.0
    }

    /// So far off it must lie, by what was learned.
    #[must_use]
    pub fn limit(&self, metric: Metric, is_fall: bool, learned: f64) -> f64 {
        // what was won may be any number of stakes
        let has_bottom = !matches!(metric, Metric::GrossGamingRevenue | Metric::Hold);
        let most = if is_fall && has_bottom { self.fall_max_milli as f64 / 1000.0 } else { f64::MAX };
        learned.max(self.least()).min(most)
    }
}

/// What is said of a window so far off, where so many deviations are said by what was learned; none where it is not.
#[must_use]
pub fn judge(params: &Params, metric: Metric, observed: i64, score: &Score, learned: f64) -> Option<Finding> {
    let (least, limit) = (params.least(), params.limit(metric, score.score < 0.0, learned));
    if score.score.abs() <= limit {
        return None;
    }
    // what a reader of JSON holds exactly, and far beyond what says more
    let milli = |score: f64| (score * 1000.0).round().clamp(-1e12, 1e12) as i64;
    let reach = score.spread * limit;
    Some(Finding {
        // as urgent as it is far beyond what is said at all
        severity: severity(milli(score.score.abs() * least / limit)),
        evidence: Evidence {
            observed,
            expected: score.expected.round() as i64,
            band_low: (score.expected - reach).round() as i64,
            band_high: (score.expected + reach).round() as i64,
            score_milli: milli(score.score),
            threshold_milli: milli(limit),
            samples: score.samples as u32,
            reasons: vec![reason(metric, observed, score)],
            records: Vec::new(),
            ..Evidence::default()
        },
    })
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

fn severity(score_milli: i64) -> Severity {
    match score_milli {
        ..9_000 => Severity::Low,
        9_000..15_000 => Severity::Medium,
        15_000..30_000 => Severity::High,
        _ => Severity::Critical,
    }
}

fn reason(metric: Metric, observed: i64, score: &Score) -> String {
    let name = metric.as_str().replace('_', " ");
    let Score { expected, samples, .. } = *score;
    let direction = if observed as f64 > expected { "above" } else { "below" };
    let than = match score.basis {
        None => format!("the median of {samples} windows"),
        Some(basis) => format!("what is usual {}, at the level of {samples} windows before)", basis.words()),
    };
    if expected.abs() < 1.0 {
        return format!("{name} {direction} {than}, which is about zero");
    }
    let percent = ((observed as f64 - expected) / expected.abs() * 100.0).abs().round();
    format!("{name} {percent} % {direction} {than}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(observed: i64, history: &[i64]) -> Option<Finding> {
        let params = Params::default();
        let history: Vec<Point> = history.iter().map(|value| Point::of(*value)).collect();
        let score = score(&params, Metric::Stakes, Point::of(observed), &history)?;
        judge(&params, Metric::Stakes, observed, &score, 0.0)
    }

    #[test]
    fn what_is_quiet_and_what_is_not() {
        let steady = [1000, 1010, 990, 1005, 995, 1000, 1002, 998, 1001];
        let table: [(&str, &[i64], i64, Option<Severity>); 7] = [
            ("within the band", &steady, 1100, None),
            ("just outside", &steady, 1700, Some(Severity::Low)),
            ("a spike", &steady, 3000, Some(Severity::High)),
            ("a drop to nothing", &steady, 0, Some(Severity::Medium)),
            (
                "one outlier in the past does not hide the next",
                &[1000, 1000, 1000, 9_000_000, 1000, 1000, 1000, 1000],
                3000,
                Some(Severity::High),
            ),
            ("too little history", &[1000; 7], 9000, None),
            ("a silent series may begin softly", &[0; 9], 500, None),
        ];
        for (what, history, observed, wanted) in table {
            let got = judged(observed, history).map(|f| f.severity);
            assert_eq!(got, wanted, "{what}");
        }
    }

    #[test]
    fn the_evidence_can_be_checked_by_hand() {
        let finding = judged(3000, &[1000; 10]).unwrap();
        let e = finding.evidence;
        assert_eq!((e.expected, e.band_low, e.band_high, e.score_milli), (1000, 400, 1600, 20_000));
        assert_eq!(e.reasons, ["stakes 200 % above the median of 10 windows"]);
    }

    /// A day of hours: what is usual, and what was counted.
    fn placed(hours: &[(i64, i64)]) -> Vec<Point> {
        let usual = |value: i64| Usual { value: value as f64, basis: Basis::HourOfWeek(5, 4) };
        let shillings =
            |(of, value): &(i64, i64)| Point { value: 100 * value, stakes: 100 * value, usual: Some(usual(100 * of)) };
        hours.iter().map(shillings).collect()
    }

    #[test]
    fn an_evening_is_held_against_evenings() {
        // usual and counted: a night, a morning, an afternoon, each a little busier than usual
        let day =
            placed(&[(100, 110), (100, 112), (100, 107), (400, 440), (400, 438), (400, 446), (900, 990), (900, 985)]);
        let quiet =
            placed(&[(100, 50), (100, 51), (100, 49), (400, 200), (400, 202), (400, 199), (900, 450), (900, 451)]);
        // told | the hours before, what is usual then | what is counted, and what is said of it
        type Row<'a> = (&'a str, &'a [Point], i64, i64, Option<&'a str>);
        let table: [Row<'_>; 8] = [
            ("the evening is ten times the night", &day, 1_000, 1_100, None),
            ("and the night a tenth of it", &day, 100, 108, None),
            ("an evening like a morning", &day, 1_000, 400, Some("stakes 64 % below")),
            ("an evening of nothing", &day, 1_000, 0, Some("stakes 100 % below")),
            ("twice an evening", &day, 1_000, 2_300, Some("stakes 109 % above")),
            ("a night like an evening", &day, 100, 1_100, Some("stakes 900 % above")),
            ("a day at half the usual level", &quiet, 1_000, 500, None),
            ("and on it a usual evening", &quiet, 1_000, 1_000, Some("stakes 100 % above")),
        ];
        for (what, history, of, observed, wanted) in table {
            let (params, now) = (Params::default(), placed(&[(of, observed)])[0]);
            let score = score(&params, Metric::Stakes, now, history).unwrap();
            let found = judge(&params, Metric::Stakes, now.value, &score, 0.0).map(|f| f.evidence.reasons[0].clone());
            let usual =
                " what is usual at this hour of a Saturday (median of 4 weeks, at the level of 8 windows before)";
            assert_eq!(found, wanted.map(|wanted| format!("{wanted}{usual}")), "{what}");
        }
    }

    #[test]
    fn what_is_seldom_is_no_series_and_a_series_says_how_far_is_far() {
        let of = |values: &[i64]| values.iter().map(|value| Point::of(*value)).collect::<Vec<_>>();
        let params = Params::default();
        let seldom = of(&[0, 0, 500, 0, 0, 700, 0, 0, 0, 400]);
        assert_eq!(score(&params, Metric::Stakes, Point::of(90_000), &seldom), None);
        let often = of(&[300, 0, 500, 400, 600, 700, 0, 300, 500, 400]);
        let far = score(&params, Metric::Stakes, Point::of(90_000), &often).unwrap();
        let said = |limit: f64| judge(&params, Metric::Stakes, 90_000, &far, limit).map(|f| f.severity);
        assert_eq!((said(0.0), said(300.0), said(900.0)), (Some(Severity::Critical), Some(Severity::Medium), None));
    }

    #[test]
    fn a_hold_of_few_bets_says_little() {
        let point = |value: i64, stakes: i64| Point { value, stakes, usual: None };
        let history: Vec<Point> = (0..10).map(|n| point(80_000 + 4_000 * (n % 5), 1_000_000)).collect();
        let params = Params::default();
        let far = |stakes| score(&params, Metric::Hold, point(-400_000, stakes), &history).map(|s| s.score.abs() > 6.0);
        assert_eq!((far(1_000_000), far(1_000), far(0)), (Some(true), Some(false), None));
    }
}
