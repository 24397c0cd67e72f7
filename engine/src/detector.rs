//! One robust detector: how far a window lies from the median of the windows before it.
//!
//! The spread is 1.4826 × the median absolute deviation (Hampel 1974), at least a share of the median, so that a
//! series that never moves does not cry at its first cent. Only additions, divisions and comparisons of `f64`, whose
//! results IEEE 754 fixes: the same windows give the same finding, bit for bit.

use models::alert::{Evidence, Metric, Severity};

/// Name of the rule in alerts.
pub const RULE: &str = "robust_deviation";

/// Parameters with their version: changed ones are another version.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params {
    /// Version.
    pub version: u32,
    /// Windows the median stands on.
    pub history: usize,
    /// Windows needed before anything is said.
    pub samples_min: usize,
    /// Robust standard deviations, in thousandths.
    pub threshold_milli: i64,
    /// Least spread, in thousandths of the median's size.
    pub spread_milli: i64,
    /// Windows that one sample of the history may span on average: what happens more seldom is no series of this length.
    pub span_windows_max: i64,
}

impl Default for Params {
    fn default() -> Self {
        Self { version: 1, history: 28, samples_min: 8, threshold_milli: 6_000, spread_milli: 100, span_windows_max: 4 }
    }
}

/// Least spread of a metric whatever its median: one currency unit, three events, 2 % of hold.
fn floor(metric: Metric) -> f64 {
    match metric {
        Metric::Count | Metric::UniquePlayers | Metric::FirstContacts | Metric::Silence | Metric::Integrity | Metric::Finding => 3.0,
        Metric::Stakes | Metric::Payouts | Metric::GrossGamingRevenue => 100.0,
        Metric::Hold => 20_000.0,
    }
}

/// A window outside its band.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// How urgent.
    pub severity: Severity,
    /// Why, without records.
    pub evidence: Evidence,
}

/// Judges a value against the values before it. None: quiet, or too little history.
pub fn judge(params: &Params, metric: Metric, observed: i64, history: &[i64]) -> Option<Finding> {
    if history.len() < params.samples_min {
        return None;
    }
    let mut sorted: Vec<f64> = history.iter().map(|v| *v as f64).collect();
    let median = median(&mut sorted);
    let mut deviations: Vec<f64> = history.iter().map(|v| (*v as f64 - median).abs()).collect();
    let least = (median.abs() * params.spread_milli as f64 / 1000.0).max(floor(metric));
    let spread = (1.4826 * self::median(&mut deviations)).max(least);
    let score = (observed as f64 - median) / spread;
    // what a reader of JSON holds exactly, and far beyond what says more
    let score_milli = (score * 1000.0).round().clamp(-1e12, 1e12) as i64;
    if score_milli.abs() <= params.threshold_milli {
        return None;
    }
    let reach = spread * params.threshold_milli as f64 / 1000.0;
    Some(Finding {
        severity: severity(score_milli.abs()),
        evidence: Evidence {
            observed,
            expected: median.round() as i64,
            band_low: (median - reach).round() as i64,
            band_high: (median + reach).round() as i64,
            score_milli,
            threshold_milli: params.threshold_milli,
            samples: history.len() as u32,
            reasons: vec![reason(metric, observed, median, history.len())],
            records: Vec::new(),
            ..Evidence::default()
        },
    })
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
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

fn reason(metric: Metric, observed: i64, median: f64, samples: usize) -> String {
    let name = metric.as_str().replace('_', " ");
    let direction = if observed as f64 > median { "above" } else { "below" };
    if median.abs() < 1.0 {
        return format!("{name} {direction} the median of {samples} windows, which is about zero");
    }
    let percent = ((observed as f64 - median) / median.abs() * 100.0).abs().round();
    format!("{name} {percent} % {direction} the median of {samples} windows")
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let got = judge(&Params::default(), Metric::Stakes, observed, history).map(|f| f.severity);
            assert_eq!(got, wanted, "{what}");
        }
    }

    #[test]
    fn the_evidence_can_be_checked_by_hand() {
        let finding = judge(&Params::default(), Metric::Stakes, 3000, &[1000; 10]).unwrap();
        let e = finding.evidence;
        assert_eq!((e.expected, e.band_low, e.band_high, e.score_milli), (1000, 400, 1600, 20_000));
        assert_eq!(e.reasons, ["stakes 200 % above the median of 10 windows"]);
    }
}
