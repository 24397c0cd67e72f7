//! A window lies far from what is usual: a sudden drop or spike.
//!
//! It is judged in the market ([`crate::operator_state`]) and not with the rules: what it says follows from an operator's
//! windows. Here is what of it takes versions. A window is judged by the version that is live at its start.

use crate::detector;
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use models::alert::Severity;

/// What it is.
pub const ABOUT: About = About {
    name: detector::RULE,
    home: Home::Market,
    severity: Severity::Critical,
    what: "a window's count, stakes, payouts, revenue, players or hold lies far from the median of the windows before it: a sudden drop or spike",
    takes_back: "late data that brings the window back",
    hears: &[],
};

params! {
    /// Windows before it that the level stands on.
    history: i64 = 28, "windows", 8..=60, "four weeks of days; the median holds where up to half of them are wild (Hampel 1974)";
    /// Of these, windows that must be there before anything is said.
    samples_min: i64 = 8, "windows", 4..=60, "a median of fewer moves with each of them";
    /// Robust standard deviations that are said at least; a series whose quiet windows lie farther off is said later.
    threshold_milli: i64 = 6_000, "thousandths of a robust standard deviation", 2_000..=50_000, "quiet markets of the simulator: 0.2 alerts an operator and day of all rules";
    /// The least spread: a series that never moves does not cry at its first cent.
    spread_milli: i64 = 100, "thousandths of what is usual", 10..=1_000, "a tenth of what is usual";
    /// A fall of what is never negative is said so deep at the latest, whatever was learnt.
    fall_max_milli: i64 = 8_500, "thousandths of a robust standard deviation", 2_000..=50_000, "with the least spread nothing at all lies ten below";
    coherent(self) {
        if self.samples_min > self.history {
            Err("samples_min is more than history")
        } else if self.threshold_milli > self.fall_max_milli {
            Err("fall_max_milli is less than threshold_milli")
        } else {
            Ok(())
        }
    }
}

impl Params {
    /// As the detector takes them.
    #[must_use]
    pub fn of_version(&self, version: u32) -> detector::Params {
        // bounds are those of the parameters: none is negative
        let windows = |count: i64| usize::try_from(count).unwrap_or_default();
        detector::Params {
            version,
            history: windows(self.history),
            samples_min: windows(self.samples_min),
            threshold_milli: self.threshold_milli,
            spread_milli: self.spread_milli,
            fall_max_milli: self.fall_max_milli,
            ..detector::Params::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::params::read;
    use serde_json::json;

    #[test]
    fn the_standard_is_what_the_detector_does_by_itself() {
        assert_eq!(Params::default().of_version(detector::STANDARD_VERSION), detector::Params::default());
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let table = [
            (json!({"history": 8, "samples_min": 8}), ""),
            (json!({"history": 8, "samples_min": 9}), "samples_min is more than history"),
            (json!({"threshold_milli": 9_000}), "fall_max_milli is less than threshold_milli"),
            (json!({"history": 61}), "history of the rule robust_deviation must be from 8 to 60 windows"),
            (json!({"span_windows_max": 9}), "unknown field"),
        ];
        for (given, wanted) in table {
            let said = read::<Params>(ABOUT.name, &given).err().map_or(String::new(), |error| error.to_string());
            assert!(if wanted.is_empty() { said.is_empty() } else { said.contains(wanted) }, "{given}: {said}");
        }
    }
}
