//! What is unusual of an operator's series: a detector each of hours and days, of every metric and currency, and of each
//! currency how the figures of an hour fit together (`together.rs`).
//!
//! ```text
//! input ─▶ OperatorState ─▶ windows that it closed ─▶ SeriesWatch ─▶ points worth a word ─▶ RuleInput::Series ─▶ rules
//!                                                     └ hours whose six detectors know what to expect ─▶ Figures ┘
//! ```
//! Each window is heard once, twenty minutes after its end, oldest first, at its value then: what comes late corrects
//! the alerts of the robust detector and no series. What a detector says depends on the last bit of floating point
//! numbers, so that only rounded scores leave, as an input of the rules that is stored before they hear it: a replay
//! asks no detector (docs/adr/0024).

use super::scale::{Averages, Scale};
use super::states::Kept;
use super::together::{DoneFit, DueFit, Figure, Figures, Hour, TOGETHER_BYTES_MAX, TOGETHER_MAX, TogetherView, ppm};
use crate::directory::Directory;
use crate::kernel::guard;
use engine::operator_state::Closed;
use engine::snapshot;
use ml::anomaly::{Detector, Moment, Params, ReasonKind, Verdict};
use models::alert::{AlertRevision, Granularity, Metric, RevisionKind, Window};
use models::ids::{AlertId, SourceId};
use models::money::Currency;
use models::series::{Oddity, SeriesKey, SeriesReason, SeriesScore};
use models::ts::Ts;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Version of the parameters of detectors and densities: states of another one are discarded. From 2 on figures are
/// judged together, too, and hours and days are those of the wall clock; from 3 on figures lie on roots, and days are
/// told in fortnights; from 4 on days have spans and a surprise of their own, and blocks a prior.
pub const PARAMS_VERSION: u32 = 4;
/// Layout of the bytes of a state.
const LAYOUT: u32 = 5;
/// Series of an operator that are watched: eight currencies of six metrics, by hour and by day.
pub const SERIES_MAX: usize = 96;
/// Points of one input that are told, the most unusual ones; a feed that brings a year at once closes thousands.
pub const SCORES_MAX: usize = 256;
/// The score from which on a point is worth a word: half of the threshold, about one quiet hour in 160.
const WORTH_IT: f64 = 0.25;
/// A hold of fewer successful records is missing: some 60 bets and what became of them.
const HOLD_RECORDS_MIN: u64 = 120;
/// A window of which a larger part lies in a silence of a feed is missing, parts of a thousand.
const SILENT_PERMILLE: i64 = 20;
/// Bytes of a detector as it is kept, at most, and what lies beside it.
const SERIES_BYTES_MAX: usize = 6_400 + 200;

/// Days at the beginning of which nothing is learnt but means.
const WEEK: u32 = 7;
/// Days of a block, and days of rest behind an alert: blocks of 100 days would say nothing for seven months.
const FORTNIGHT: u32 = 14;
/// Days over which differences are averaged: what lasts from Friday to Monday, and more than a week.
const DAILY_SPANS: [u32; 2] = [4, 10];
/// The surprise that is an alert of a day: noise of four kinds is one on 0.9 to 4.4 of 1,000 days (a test takes that).
const DAILY_SURPRISE: f64 = 3.1;
/// The same of a hold, which a few large wins move: two of five wrong findings on days were of one.
const DAILY_SURPRISE_OF_HOLD: f64 = 3.6;

/// Of hours the defaults, with which `mlinzi model anomaly` judges, too; a rest of 160 points is a week. Of days fortnights.
pub(crate) fn params(granularity: Granularity, metric: Metric) -> Params {
    let hours = Params { version: PARAMS_VERSION, ..Params::default() };
    if granularity == Granularity::Hour {
        return hours;
    }
    Params {
        surprise_alert: if metric == Metric::Hold { DAILY_SURPRISE_OF_HOLD } else { DAILY_SURPRISE },
        rest_points: FORTNIGHT,
        start_points: WEEK,
        block_points: FORTNIGHT,
        spans: DAILY_SPANS,
        ..hours
    }
}

/// When a feed of the operator was silent, as its alert says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedSilence {
    /// Its last success.
    since: Ts,
    /// When that was said.
    said_at: Ts,
    /// When it spoke again.
    until: Option<Ts>,
}

impl FeedSilence {
    /// Of the revisions of such alerts, newest first. Sources of documents, of which no figure is made, do not count.
    pub fn of(revisions: &[AlertRevision], directory: &Directory) -> Vec<Self> {
        let mut silences: HashMap<AlertId, Self> = HashMap::new();
        let of_documents =
            |source: &SourceId| directory.sources.get(source).is_some_and(|source| source.class.data().is_documents());
        let of_figures = |revision: &&AlertRevision| !revision.subject.source.as_ref().is_some_and(of_documents);
        for revision in revisions.iter().rev().filter(of_figures) {
            let fresh = Self { since: revision.window.start, said_at: revision.at, until: None };
            let silence = silences.entry(revision.id).or_insert(fresh);
            if revision.kind == RevisionKind::Withdrawn {
                silence.until = Some(revision.at);
            }
        }
        silences.into_values().collect()
    }

    /// Is a window missing by what was known at a time?
    pub(crate) fn hides(&self, window: Window, at: Ts) -> bool {
        let end = self.until.unwrap_or(window.end).min(window.end);
        let silent = end.0 - self.since.max(window.start).0;
        self.said_at <= at && silent * 1_000 > (window.end.0 - window.start.0) * SILENT_PERMILLE
    }
}

/// The newest point of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Newest {
    /// Its window.
    pub window: Window,
    /// Its value; none where it was missing.
    pub value: Option<i64>,
    /// How unusual, in millionths.
    pub score_ppm: u32,
    /// What was expected.
    pub expected: Option<i64>,
    /// Lowest and highest single value that would be no alert.
    pub band: Option<(i64, i64)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Watched {
    detector: Detector,
    averages: Averages,
    newest: Newest,
}

/// A series as it is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct SeriesView {
    pub series: SeriesKey,
    /// Nothing is said of it yet.
    pub is_learning: bool,
    /// Points that were learnt.
    pub points: u64,
    pub newest: Newest,
}

/// What came of an input.
#[derive(Debug, Default, PartialEq)]
pub struct Heard {
    /// Points worth a word, by series and window.
    pub scores: Vec<SeriesScore>,
    /// Points of series, and hours of currencies, beyond the limit.
    pub unwatched: u64,
    /// Points on which a detector panicked, and hours that were no row: it goes on without them.
    pub failed: u64,
    /// Points worth a word that were too many.
    pub left_out: u64,
}

impl Heard {
    /// In the order of series and windows, the most unusual ones where they are too many.
    fn in_order(mut self) -> Self {
        let order = |score: &SeriesScore| (score.series, score.window.start);
        if self.scores.len() > SCORES_MAX {
            self.left_out = (self.scores.len() - SCORES_MAX) as u64;
            self.scores.sort_by_key(|score| (std::cmp::Reverse(score.score_ppm), order(score)));
            self.scores.truncate(SCORES_MAX);
        }
        self.scores.sort_by_key(order);
        self
    }
}

/// The detectors of an operator.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesWatch {
    series: BTreeMap<SeriesKey, Watched>,
    together: BTreeMap<Currency, Figures>,
}

/// Windows that an input closed, of which some are still to be heard.
pub(super) struct Hearing<'a> {
    rest: &'a [Closed],
    at: Ts,
    silences: &'a [FeedSilence],
    heard: Heard,
}

impl<'a> Hearing<'a> {
    /// Each series oldest first; `at` is the input's time.
    pub fn new(closed: &'a [Closed], at: Ts, silences: &'a [FeedSilence]) -> Self {
        Self { rest: closed, at, silences, heard: Heard::default() }
    }

    /// What came of it.
    pub fn done(self) -> Heard {
        self.heard.in_order()
    }
}

impl SeriesWatch {
    /// From windows that closed before anybody watched: they are learnt, and nothing is said of them.
    pub fn learnt(closed: &[Closed]) -> Self {
        let mut watch = Self::default();
        let _ = watch.hear(closed, Ts(i64::MIN), &[]);
        watch
    }

    /// Takes in windows that an input closed, each series oldest first; `at` is the input's time. Fits that fall due on
    /// the way are worked out here and now.
    pub fn hear(&mut self, closed: &[Closed], at: Ts, silences: &[FeedSilence]) -> Heard {
        let mut hearing = Hearing::new(closed, at, silences);
        while !self.hear_some(&mut hearing) {
            let done = self.due_fits().iter().map(DueFit::run).collect();
            self.take(done);
        }
        hearing.done()
    }

    /// Hears windows up to the first that waits for a fit; true where none is left.
    pub(super) fn hear_some(&mut self, hearing: &mut Hearing<'_>) -> bool {
        while let Some((window, rest)) = hearing.rest.split_first() {
            let is_hour = window.granularity == Granularity::Hour;
            if is_hour && self.together.get(&window.currency).is_some_and(Figures::waits_for_fit) {
                return false;
            }
            hearing.rest = rest;
            let (at, silences) = (hearing.at, hearing.silences);
            let is_missing = window.is_partial || silences.iter().any(|silence| silence.hides(window.window, at));
            let figures = self.points(window, is_missing, &mut hearing.heard);
            if is_hour && let Some(hour) = Hour::of(&figures) {
                self.hear_together((window.currency, window.window), &hour, &mut hearing.heard);
            }
        }
        true
    }

    /// Fits without which nothing more is judged of their currencies.
    pub(super) fn due_fits(&self) -> Vec<DueFit> {
        self.together.iter().filter_map(|(currency, figures)| figures.due_fit(*currency)).collect()
    }

    /// What came of fits.
    pub(super) fn take(&mut self, done: Vec<DoneFit>) {
        for fit in done {
            if let Some(figures) = self.together.get_mut(&fit.currency) {
                figures.take(fit);
            }
        }
    }

    /// A window's points, and what was expected of those whose series know that.
    fn points(
        &mut self,
        closed: &Closed,
        is_missing: bool,
        heard: &mut Heard,
    ) -> [Option<Figure>; Metric::OF_RECORDS.len()] {
        let Closed { currency, granularity, window, wall_start, .. } = *closed;
        std::array::from_fn(|place| {
            let metric = Metric::OF_RECORDS[place];
            let is_thin = metric == Metric::Hold && closed.records < HOLD_RECORDS_MIN;
            let value = Some(closed.values[place]).filter(|_| !is_missing && !is_thin);
            self.point(SeriesKey { granularity, currency, metric }, (window, wall_start), value, heard)
        })
    }

    fn hear_together(&mut self, place: (Currency, Window), hour: &Hour, heard: &mut Heard) {
        if self.together.len() >= TOGETHER_MAX && !self.together.contains_key(&place.0) {
            heard.unwatched += 1;
            return;
        }
        let together = self.together.entry(place.0).or_insert_with(|| Figures::new(place.1));
        let said = together.hear(place, hour, WORTH_IT);
        heard.failed += u64::from(said.is_failed);
        heard.scores.extend(said.score);
    }

    /// Judges a point and learns it; gives what was expected of it where that is known.
    fn point(
        &mut self,
        series: SeriesKey,
        (window, wall): (Window, Ts),
        value: Option<i64>,
        heard: &mut Heard,
    ) -> Option<Figure> {
        if self.series.len() >= SERIES_MAX && !self.series.contains_key(&series) {
            heard.unwatched += 1;
            return None;
        }
        let fresh = || Watched {
            detector: Detector::new(params(series.granularity, series.metric)),
            averages: Averages::default(),
            newest: Newest { window, value: None, score_ppm: 0, expected: None, band: None },
        };
        let watched = self.series.entry(series).or_insert_with(fresh);
        let scale = Scale::of(series.metric);
        let given = value.map_or(f64::NAN, |value| scale.bend(value as f64));
        let points = watched.detector.points();
        // a panic must not leave a detector half-way, nor its operator's market without a state
        let mut detector = watched.detector.clone();
        let Ok(verdict) = guard(|| detector.observe_at(Moment { at: window.start, wall }, given)) else {
            heard.failed += 1;
            return None;
        };
        watched.detector = detector;
        if let Some((value, expected)) = value.zip(verdict.expected) {
            watched.averages.push(value as f64 - scale.straighten(expected), &watched.detector);
        }
        let verdict = scale.told(verdict, &watched.averages);
        watched.newest = newest(window, value, &verdict);
        let value = value?;
        if verdict.score >= WORTH_IT {
            heard.scores.push(score(series, (window, value), points, &verdict));
        }
        let expected = verdict.expected.filter(|_| !watched.detector.is_learning())?;
        Some(Figure { value, expected })
    }

    /// Every series, as it stands.
    pub fn views(&self) -> impl Iterator<Item = SeriesView> {
        self.series.iter().map(|(series, watched)| SeriesView {
            series: *series,
            is_learning: watched.detector.is_learning(),
            points: watched.detector.points(),
            newest: watched.newest,
        })
    }

    /// The figures of each currency together, as they stand.
    pub fn together(&self) -> impl Iterator<Item = TogetherView> {
        self.together.iter().map(|(currency, figures)| figures.view(*currency))
    }
}

fn whole(value: f64) -> i64 {
    value.round() as i64
}

fn band(verdict: &Verdict) -> Option<(i64, i64)> {
    verdict.band.map(|(low, high)| (whole(low), whole(high)))
}

fn newest(window: Window, value: Option<i64>, verdict: &Verdict) -> Newest {
    let expected = verdict.expected.map(whole);
    Newest { window, value, score_ppm: ppm(verdict.score), expected, band: band(verdict) }
}

fn score(series: SeriesKey, (window, value): (Window, i64), points: u64, verdict: &Verdict) -> SeriesScore {
    let reason = |reason: &ml::anomaly::Reason| {
        // a distance has no unit, and is small
        let unit = if reason.kind == ReasonKind::Shape { 1e3 } else { 1.0 };
        SeriesReason {
            oddity: oddity(reason.kind),
            surprise_milli: whole(reason.surprise * 1e3),
            observed: whole(reason.observed * unit),
            usual: whole(reason.usual * unit),
            metric: None,
        }
    };
    SeriesScore {
        series,
        window,
        value,
        score_ppm: ppm(verdict.score),
        is_alert: verdict.alert,
        expected: verdict.expected.map_or(value, whole),
        band: band(verdict),
        points,
        reasons: verdict.reasons.iter().flatten().map(reason).collect(),
        told: None,
    }
}

fn oddity(kind: ReasonKind) -> Oddity {
    match kind {
        ReasonKind::Above => Oddity::Above,
        ReasonKind::Below => Oddity::Below,
        ReasonKind::AboveForSome => Oddity::AboveForSome,
        ReasonKind::BelowForSome => Oddity::BelowForSome,
        ReasonKind::AboveForLong => Oddity::AboveForLong,
        ReasonKind::BelowForLong => Oddity::BelowForLong,
        ReasonKind::Restless => Oddity::Restless,
        ReasonKind::Flat => Oddity::Flat,
        ReasonKind::Shape => Oddity::Shape,
    }
}

impl Kept for SeriesWatch {
    const LAYOUT: u32 = PARAMS_VERSION << 8 | LAYOUT;
    const BYTES_MAX: usize = SERIES_MAX * SERIES_BYTES_MAX + TOGETHER_MAX * TOGETHER_BYTES_MAX;

    fn to_bytes(&self) -> Result<Vec<u8>, String> {
        snapshot::write(&(&self.series, &self.together)).map_err(|error| error.to_string())
    }

    fn with_bytes(self, bytes: &[u8]) -> Option<Self> {
        let (series, together): (BTreeMap<SeriesKey, Watched>, BTreeMap<Currency, Figures>) =
            snapshot::read(bytes).ok()?;
        let is_of_version = |watched: &Watched| watched.detector.params().version == PARAMS_VERSION;
        let is_sound = series.len() <= SERIES_MAX && series.values().all(is_of_version);
        let are_sound = together.len() <= TOGETHER_MAX && together.values().all(Figures::is_sound);
        (is_sound && are_sound).then_some(Self { series, together })
    }
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "together_tests.rs"]
mod together_tests;
