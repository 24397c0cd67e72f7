//! The detector of one series; see the module's page for its design.

use super::season::{LEVEL_MEMORY, Season};
use super::shape::{FEATURES, Shapes};
use super::tail::{BLOCK, Mean, Tail};
use models::ts::Ts;
use serde::{Deserialize, Serialize};

/// The score from which a point is an alert.
pub const THRESHOLD: f64 = 0.5;
/// Reasons in a verdict, at most.
pub const REASONS_MAX: usize = 3;
/// Values further from zero are no measurements: treated as missing. Their squares stay finite.
pub const MAGNITUDE_MAX: f64 = 1e100;
/// Members of the detector: three spans in two directions, restlessness, flatness, shape.
const MEMBERS: usize = 9;
/// Points over which steps are averaged.
const STEPS_MEMORY: f64 = 24.0;
/// Memories, in points, of the means whose differences are the features of a shape.
const SCALES: [f64; 7] = [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 256.0];
/// Points without change that count as much as one mean absolute deviation.
const FLAT_UNIT: f64 = 10.0;
/// Largest statistic: what lies beyond is as surprising.
const STATISTIC_MAX: f64 = 1e6;

/// Parameters with their version: changed ones are another version.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Params {
    /// Version.
    pub version: u32,
    /// Surprise, in spreads above the usual largest value of a block of points, that makes a score of 0.5: an alert.
    pub surprise_alert: f64,
    /// Points after an alert within which no other is given: one cause, one alert.
    pub rest_points: u32,
    /// Points at the beginning of which nothing is learnt but means.
    pub start_points: u32,
    /// Points of a block, of whose statistics only the largest are remembered: what is usual is known after two blocks, of
    /// which neither lies wholly in the beginning.
    pub block_points: u32,
    /// Points of the two longer spans over which the difference from the forecast is averaged: "for some", "for long".
    pub spans: [u32; 2],
}

impl Default for Params {
    fn default() -> Self {
        Self {
            version: 1,
            surprise_alert: 3.7,
            rest_points: 160,
            start_points: 50,
            block_points: BLOCK,
            spans: [6, 24],
        }
    }
}

/// Alerts in 1,000 points of noise, and the surprise that gives them: the highest of four kinds of noise (normal,
/// exponential, autocorrelated with 0.9, normal on a daily rhythm), 200,000 points each with the default rest.
const RATES: [(f64, f64); 10] = [
    (1.7, 2.0),
    (1.09, 2.5),
    (0.69, 3.0),
    (0.495, 3.3),
    (0.3, 3.7),
    (0.22, 4.0),
    (0.145, 4.5),
    (0.11, 5.0),
    (0.03, 6.0),
    (0.01, 8.0),
];

/// The fewest alerts in 1,000 points of noise that parameters are known for.
pub const ALERT_RATE_MIN: f64 = RATES[RATES.len() - 1].0;
/// The most.
pub const ALERT_RATE_MAX: f64 = RATES[0].0;

impl Params {
    /// Parameters that give about `alerts` alerts in 1,000 points where nothing happens, in blocks of 100; 0.01 to 1.7, the
    /// nearer of the two beyond ([`ALERT_RATE_MIN`], [`ALERT_RATE_MAX`]). The default's rate is 0.3 at most. The rest behind
    /// an alert is the default's, 160 points: with a shorter one there are more alerts than the rate says.
    pub fn with_alert_rate(alerts: f64) -> Self {
        let quietest = RATES[RATES.len() - 1].1;
        let surprise_alert = match RATES.iter().position(|(rate, _)| alerts >= *rate) {
            None => quietest,
            Some(0) => RATES[0].1,
            Some(next) => {
                let ((more, low), (fewer, high)) = (RATES[next - 1], RATES[next]);
                high - (high - low) * (alerts - fewer) / (more - fewer)
            }
        };
        Self { surprise_alert, ..Self::default() }
    }
}

/// What a member of the detector saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonKind {
    /// A value above what the hour let expect.
    Above,
    /// A value below it.
    Below,
    /// Above on average over some points ([`Params::spans`]).
    AboveForSome,
    /// Below on average over some points.
    BelowForSome,
    /// Above on average over many points: a shift of level or a drift.
    AboveForLong,
    /// Below on average over many points.
    BelowForLong,
    /// The steps from point to point have grown.
    Restless,
    /// The value does not move at all.
    Flat,
    /// The course of the last points is like none before.
    Shape,
}

const KINDS: [ReasonKind; MEMBERS] = [
    ReasonKind::Above,
    ReasonKind::Below,
    ReasonKind::AboveForSome,
    ReasonKind::BelowForSome,
    ReasonKind::AboveForLong,
    ReasonKind::BelowForLong,
    ReasonKind::Restless,
    ReasonKind::Flat,
    ReasonKind::Shape,
];

/// A member's part in a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// What it saw.
    pub kind: ReasonKind,
    /// Spreads above the usual largest value of a block of points.
    pub surprise: f64,
    /// The statistic: difference from the forecast or mean step in the series' unit; points without change (`Flat`);
    /// distance in usual sizes of a feature (`Shape`).
    pub observed: f64,
    /// Its usual largest value in a block of points.
    pub usual: f64,
}

/// Judgement of a point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// 0..=1, at least 0.5 for an alert; half as high while the detector rests after an alert.
    pub score: f64,
    /// Is this an alert?
    pub alert: bool,
    /// All members together (root of the sum of squares), whether or not the detector rests.
    pub surprise: f64,
    /// What was to be expected; None for a missing value.
    pub expected: Option<f64>,
    /// Lowest and highest single value that would not make an alert by itself; None while too little is known.
    pub band: Option<(f64, f64)>,
    /// What contributes, most surprising first; None behind the last.
    pub reasons: [Option<Reason>; REASONS_MAX],
}

/// When a point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The instant.
    pub at: Ts,
    /// What the clock on the wall says there, as if it were UTC: it tells the hour of the day and of the week.
    pub wall: Ts,
}

impl Moment {
    /// Where the wall clock shows UTC, or no zone is known.
    pub fn in_utc(at: Ts) -> Self {
        Self { at, wall: at }
    }
}

/// State of the detector of one series: fixed size, no allocation, and `observe` takes the same time at every point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    params: Params,
    points: u64,
    resting: u32,
    in_block: u32,
    last: f64,
    flat: f64,
    season: Season,
    /// Mean absolute difference from the level: the unit of everything.
    deviation: Mean,
    residuals: [Mean; 3],
    steps: Mean,
    scales: [f64; 7],
    feature_sizes: [Mean; FEATURES],
    shapes: Shapes,
    tails: [Tail; MEMBERS],
}

impl Detector {
    /// A detector that has seen nothing.
    pub fn new(params: Params) -> Self {
        Self {
            params,
            points: 0,
            resting: 0,
            in_block: 0,
            last: 0.0,
            flat: 0.0,
            season: Season::default(),
            deviation: Mean::default(),
            residuals: [Mean::default(); 3],
            steps: Mean::default(),
            scales: [0.0; 7],
            feature_sizes: [Mean::default(); FEATURES],
            shapes: Shapes::default(),
            tails: [Tail::default(); MEMBERS],
        }
    }

    /// Parameters the detector was made with.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Points learnt from.
    pub fn points(&self) -> u64 {
        self.points
    }

    /// Does it still learn what is usual? It says nothing before two blocks of points are over.
    pub fn is_learning(&self) -> bool {
        self.tails[0].value_of(0.0).is_none()
    }

    /// [`Self::observe_at`] of a series whose hours are those of UTC.
    pub fn observe(&mut self, at: Ts, value: f64) -> Verdict {
        self.observe_at(Moment::in_utc(at), value)
    }

    /// Judges the next point of the series and learns it.
    ///
    /// The detector counts points, not seconds: time says only which hour of the day and week it is. So a gap is no
    /// anomaly by itself (a silent feed is the business of another rule) and the memories go on behind it; a point with
    /// the time of the one before, or an earlier time, is one more point in the order of arrival. A value that is not
    /// finite, or beyond [`MAGNITUDE_MAX`], is missing: score 0, nothing learnt, no rest used up.
    pub fn observe_at(&mut self, moment: Moment, value: f64) -> Verdict {
        if !value.is_finite() || value.abs() > MAGNITUDE_MAX {
            return Verdict::default();
        }
        if self.points == 0 {
            self.last = value;
            self.scales = [value; 7];
        }
        self.points += 1;
        let expected = self.season.expect(moment, value);
        let [some, long] = self.params.spans.map(f64::from);
        for (mean, span) in self.residuals.iter_mut().zip([1.0, some, long]) {
            mean.push(value - expected, span);
        }
        let step = (value - self.last).abs();
        self.last = value;
        self.steps.push(step, STEPS_MEMORY);
        self.flat = if step <= 1e-9 * value.abs() { self.flat + 1.0 } else { 0.0 };
        let level = self.season.level();
        let deviation = self.deviation.value;
        let shape = self.shape(value, level, deviation);
        self.deviation.push((value - level).abs(), LEVEL_MEMORY);
        if self.points <= u64::from(self.params.start_points) {
            self.learn(&[0.0; MEMBERS]);
            return Verdict { expected: Some(expected), ..Verdict::default() };
        }
        let unit = deviation.max(1e-3 * level.abs()).max(1e-9);
        let novelty = f64::from(self.shapes.novelty(&shape));
        let statistics = self.statistics(unit, novelty);
        let surprises: [f64; MEMBERS] = std::array::from_fn(|i| self.tails[i].surprise(statistics[i]));
        let band = self.band(expected, unit);
        let verdict = self.verdict(expected, band, surprises, statistics, unit);
        self.learn(&statistics);
        verdict
    }

    /// Features of the shape of the last points: differences of means over ever longer memories, each in its usual size
    /// and compressed, so that one wild feature does not drown the others.
    fn shape(&mut self, value: f64, level: f64, deviation: f64) -> [f32; FEATURES] {
        let fewest = 1.0 / self.points as f64;
        for (mean, memory) in self.scales.iter_mut().zip(SCALES) {
            *mean += (2.0 / (memory + 1.0)).max(fewest) * (value - *mean);
        }
        let m = &self.scales;
        let features =
            [value - m[0], m[0] - m[1], m[1] - m[2], m[2] - m[3], m[3] - m[4], m[4] - m[5], m[5] - m[6], m[2] - level];
        let least = 0.02 * deviation.max(1e-9);
        std::array::from_fn(|i| {
            let size = self.feature_sizes[i].value.max(least);
            self.feature_sizes[i].push(features[i].abs(), LEVEL_MEMORY);
            let relative = features[i] / size;
            (relative / (1.0 + 0.3 * relative.abs()).sqrt()).clamp(-STATISTIC_MAX, STATISTIC_MAX) as f32
        })
    }

    /// What each member looks at, none negative.
    fn statistics(&self, unit: f64, novelty: f64) -> [f64; MEMBERS] {
        let [now, some, long] = self.residuals.map(|mean| mean.value / unit);
        let all = [now, -now, some, -some, long, -long, self.steps.value / unit, self.flat / FLAT_UNIT, novelty];
        all.map(|statistic| statistic.clamp(0.0, STATISTIC_MAX))
    }

    fn band(&self, expected: f64, unit: f64) -> Option<(f64, f64)> {
        let above = self.tails[0].value_of(self.params.surprise_alert)?;
        let below = self.tails[1].value_of(self.params.surprise_alert)?;
        Some((expected - below * unit, expected + above * unit))
    }

    fn verdict(
        &mut self,
        expected: f64,
        band: Option<(f64, f64)>,
        surprises: [f64; MEMBERS],
        statistics: [f64; MEMBERS],
        unit: f64,
    ) -> Verdict {
        let surprise = surprises.iter().map(|s| s * s).sum::<f64>().sqrt();
        let score = surprise / (surprise + self.params.surprise_alert);
        let resting = self.resting > 0;
        let alert = score >= THRESHOLD && !resting;
        self.resting = if alert { self.params.rest_points } else { self.resting.saturating_sub(1) };
        let mut reasons = [None; REASONS_MAX];
        if score >= THRESHOLD / 2.0 {
            for (member, surprise) in surprises.into_iter().enumerate().filter(|(_, surprise)| *surprise > 0.0) {
                let unit = match KINDS[member] {
                    ReasonKind::Flat => FLAT_UNIT,
                    ReasonKind::Shape => 1.0,
                    _ => unit,
                };
                let (observed, usual) = (statistics[member] * unit, self.tails[member].usual() * unit);
                insert(&mut reasons, Reason { kind: KINDS[member], surprise, observed, usual });
            }
        }
        Verdict {
            score: if resting { score / 2.0 } else { score },
            alert,
            surprise,
            expected: Some(expected),
            band,
            reasons,
        }
    }

    fn learn(&mut self, statistics: &[f64; MEMBERS]) {
        for (tail, statistic) in self.tails.iter_mut().zip(statistics) {
            tail.push(*statistic);
        }
        self.in_block += 1;
        if self.in_block >= self.params.block_points {
            self.in_block = 0;
            // a block that lay in the beginning has no largest value
            if self.points > u64::from(self.params.start_points) {
                self.tails.iter_mut().for_each(Tail::close);
            }
        }
    }
}

/// Keeps the most surprising reasons in order.
fn insert(reasons: &mut [Option<Reason>; REASONS_MAX], new: Reason) {
    let mut new = Some(new);
    for place in reasons {
        if new.map(|r| r.surprise) > place.map(|r| r.surprise) {
            std::mem::swap(place, &mut new);
        }
    }
}
