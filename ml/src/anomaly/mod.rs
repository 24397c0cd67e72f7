//! Streaming anomaly detection on one series, and density over several ([`density`], as a stream [`together`]).
//!
//! [`Detector`] judges each point of a metric's series when it comes: fixed time and memory a point, nothing ahead,
//! no training, no chance. Nine members look at a point; each is a sentence a person understands.
//!
//! | member | looks at |
//! |---|---|
//! | above, below | the difference from what the hour lets expect (`season`) |
//! | above, below for some, for long | its mean over about 6 and 24 points ([`Params::spans`]): shifts of level, drifts, days that fail |
//! | restless | the mean step over about 24 points |
//! | flat | points without any change |
//! | shape | distance of the course of the last points from all courses remembered (`shape`) |
//!
//! Each member's statistic is compared with its own history of block maxima (`tail`), which makes members and series
//! comparable without a training set; the surprises are added as squares, and an alert is a surprise of
//! [`Params::surprise_alert`]. Behind an alert the detector rests: one cause, one alert.
//!
//! What others taught: ARTime (Hampton 2021: online adaptive resonance over wavelets of a window, masking after an
//! anomaly), CAD OSE (Smirnov 2016: remembered contexts, a rest period), HTM with its anomaly likelihood (Lavin and
//! Ahmad 2015: judge a score against the recent distribution of scores), random cut forests (Guha et al. 2016) and
//! KNN CAD (Burnaev and Ishimtsev 2016: distance of the last points from earlier ones). Unlike them it needs neither
//! the range nor the length of the series.
//!
//! How the few numbers were chosen: on the 22 development files of the Numenta Anomaly Benchmark, their mirror images
//! and the same files with every other point left out; each choice judged by thresholds set on one half of the files
//! and scored on the other, by leaving folders out, and by the mean over eight beginnings of each file, because where
//! the blocks fall moves a score by two or three. Neighbouring values of each number give about the same result (of the
//! prior of a spread, share and blocks: .3 and 2 74.9, .3 and 6 76.9, .4 and 6 76.2, .4 and 3, which is here, 76.4; none 75.3).
//! What was tried and left (standard profile): the time since a score was last as high in the place of block maxima (58), a
//! second tail behind the sum (70), differences of short and long means without a season (61), overlapping blocks (a point
//! less), alerts again within the rest where it gets worse (four points less), averages over 8 and 48 points (two less), a
//! least spread of .4 (two less).

pub mod batch;
pub mod bench;
pub mod density;
mod detector;
pub mod nab;
mod season;
mod shape;
mod tail;
pub mod together;

#[cfg(test)]
mod nab_tests;
#[cfg(test)]
mod tests;

pub use detector::{
    ALERT_RATE_MAX, ALERT_RATE_MIN, Detector, MAGNITUDE_MAX, Moment, Params, REASONS_MAX, Reason, ReasonKind,
    THRESHOLD, Verdict,
};
