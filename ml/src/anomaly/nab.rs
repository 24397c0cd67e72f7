//! The score of the Numenta Anomaly Benchmark (Lavin and Ahmad 2015, "Evaluating Real-Time Anomaly Detection
//! Algorithms"), for tests and benches: what the detector reaches is a number that a test holds.
//!
//! The first alert in a labelled window earns up to one point, the earlier the more; each alert outside costs a
//! weight, less shortly behind a window; a window without an alert costs a weight. 0 is what silence earns, 100 is an
//! alert at the first point of each window and nowhere else. The first 15 % of a series, 750 points at most, do not
//! count.

/// What hits, false alerts and misses weigh.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Name.
    pub name: &'static str,
    false_alert: f64,
    miss: f64,
}

/// The profiles of the benchmark's published configuration.
pub const PROFILES: [Profile; 3] = [
    Profile { name: "standard", false_alert: 0.11, miss: 1.0 },
    Profile { name: "low_fp", false_alert: 0.22, miss: 1.0 },
    Profile { name: "low_fn", false_alert: 0.11, miss: 2.0 },
];

/// A series with its labels and its scores.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// First and last point of each labelled window, ascending.
    pub windows: Vec<(usize, usize)>,
    /// A score a point.
    pub scores: Vec<f64>,
}

/// Score of a profile over all series at one threshold: a point alerts where its score reaches it.
pub fn score(profile: Profile, series: &[Scored], threshold: f64) -> f64 {
    let windows: usize = series.iter().map(|s| s.windows.len()).sum();
    let null = -profile.miss * windows as f64;
    let total: f64 = series.iter().map(|s| total(profile, s, threshold)).sum();
    100.0 * (total - null) / (windows as f64 - null)
}

fn total(profile: Profile, series: &Scored, threshold: f64) -> f64 {
    let length = series.scores.len();
    let skipped = (length * 15 / 100).min(750);
    let mut sum = 0.0;
    let mut best = vec![-profile.miss; series.windows.len()];
    for (at, score) in series.scores.iter().enumerate().skip(skipped) {
        if *score < threshold {
            continue;
        }
        match series.windows.iter().position(|(first, last)| (*first..=*last).contains(&at)) {
            Some(window) => {
                let (first, last) = series.windows[window];
                let place = -((last - at + 1) as f64) / (last - first + 1) as f64;
                best[window] = f64::max(best[window], sigmoid(place) / sigmoid(-1.0));
            }
            None => sum += profile.false_alert * outside(&series.windows, at),
        }
    }
    sum + best.iter().sum::<f64>()
}

/// Weight of an alert outside all windows: −1, or less shortly behind one.
fn outside(windows: &[(usize, usize)], at: usize) -> f64 {
    match windows.iter().rev().find(|(_, last)| *last < at) {
        None => -1.0,
        Some((first, last)) => sigmoid((at - last) as f64 / (last - first).max(1) as f64),
    }
}

fn sigmoid(x: f64) -> f64 {
    if x > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * x).exp()) - 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_earns_how_much() {
        // one window of 100 points in a series of 1,000
        let table: [(&str, &[usize], [f64; 3]); 7] = [
            ("silence", &[], [0.0, 0.0, 0.0]),
            ("the first point of the window", &[500], [100.0, 100.0, 100.0]),
            ("its middle", &[550], [92.99, 92.99, 95.33]),
            ("a second alert in the window changes nothing", &[500, 550], [100.0, 100.0, 100.0]),
            ("one false alert before it", &[300, 500], [94.5, 89.0, 96.33]),
            ("one shortly behind it costs less", &[500, 609], [98.64, 97.28, 99.09]),
            ("within the first 15 % nothing counts", &[149], [0.0, 0.0, 0.0]),
        ];
        for (what, alerts, wanted) in table {
            let mut scores = vec![0.0; 1000];
            alerts.iter().for_each(|at| scores[*at] = 1.0);
            let series = [Scored { windows: vec![(500, 599)], scores }];
            let got = PROFILES.map(|profile| (score(profile, &series, 0.5) * 100.0).round() / 100.0);
            assert_eq!(got, wanted, "{what}");
        }
    }
}
