//! Series of an operator's windows, and what a detector says of their newest points: integers alone, so that whoever
//! reads them back has what was judged (docs/adr/0024).

use crate::alert::{Granularity, Metric, Window};
use crate::ids::AlertId;
use crate::money::Currency;
use crate::record::closed_set;
use crate::ts::{Ts, micros};
use serde::{Deserialize, Serialize};

closed_set!(
    /// What of a series is unusual.
    Oddity {
        /// A value above what the hour let expect.
        Above = "above",
        /// A value below it.
        Below = "below",
        /// Above on average over some points: six hours, four days.
        AboveForSome = "above_for_some",
        /// Below on average over some points: six hours, four days.
        BelowForSome = "below_for_some",
        /// Above on average over many points, 24 hours, ten days: a shift of level or a drift.
        AboveForLong = "above_for_long",
        /// Below on average over many points: 24 hours, ten days.
        BelowForLong = "below_for_long",
        /// The steps from point to point have grown.
        Restless = "restless",
        /// The value does not move at all.
        Flat = "flat",
        /// The course of the last points is like none before.
        Shape = "shape",
        /// The value is not what the other metrics of its window let expect, as ordinary as each may be by itself.
        Together = "together",
    }
);

/// Which series of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesKey {
    /// Length of its windows: hours or days.
    pub granularity: Granularity,
    /// Currency.
    pub currency: Currency,
    /// What it counts.
    pub metric: Metric,
}

/// What contributed to a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesReason {
    /// What was seen.
    pub oddity: Oddity,
    /// How surprising: spreads above the usual largest value of a block of points (100 hours, 14 days), in
    /// thousandths.
    pub surprise_milli: i64,
    /// What was measured: a difference or a step in the unit of the metric; points without change for `flat`; for `shape`
    /// the distance in thousandths of a usual one; for `together` the value.
    pub observed: i64,
    /// Its usual largest value in a block of points; for `together` the value that the other metrics let expect.
    pub usual: i64,
    /// Of which metric, where it may be another than the series'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
}

/// What the robust detector said of a window in the same currency and of the same length, and what stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldAlready {
    /// The alert.
    pub alert: AlertId,
    /// Its window.
    pub window: Window,
}

/// A point of a series that is worth a word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesScore {
    /// Which.
    pub series: SeriesKey,
    /// Its window.
    pub window: Window,
    /// Its value: minor units, a count, or parts per million of a hold.
    pub value: i64,
    /// How unusual, in millionths; half a million is the detector's own alert.
    pub score_ppm: u32,
    /// Is it an alert of the detector, which rests behind it?
    pub is_alert: bool,
    /// What was expected.
    pub expected: i64,
    /// Lowest and highest single value that would be no alert; none while too little is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub band: Option<(i64, i64)>,
    /// Points that the detector had learnt; of `together`, hours that are remembered.
    pub points: u64,
    /// What contributed, most surprising first.
    pub reasons: Vec<SeriesReason>,
    /// The newest standing alert of the robust detector at this window or shortly before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<ToldAlready>,
}

/// Points worth a word among the windows that an input of an operator closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesScored {
    /// The input that closed the windows, among the operator's: scored once.
    pub operator_seq: i64,
    /// Time of that input.
    #[serde(with = "micros")]
    pub at: Ts,
    /// Version of the detectors' parameters.
    pub params_version: u32,
    /// The points, in the order of their series and windows.
    pub scores: Vec<SeriesScore>,
}
