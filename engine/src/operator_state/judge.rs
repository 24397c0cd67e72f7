//! From windows to alerts: what lies off in a window, and one alert for one cause.
//!
//! An hour in which nobody plays has no bets, no stakes and no players, and the day it belongs to has fewer of them. Whoever
//! is told of that is told once: what lies off in a window that touches one already told of, to the same side, follows
//! that alert ([`follows`]) instead of raising its own. What is more urgent than an alert that was told of before does not follow
//! it; where late data withdraws a leader, its followers are judged again.

use super::{CUMULATIVE, Effects, OperatorState, Standing, Step, alert_id};
use crate::detector::{self, Finding, Params, Point, RULE};
use crate::windows::Sums;
use models::alert::{AlertRevision, Evidence, Granularity, Metric, RevisionKind, Severity, Subject, Window};
use models::ids::AlertId;
use models::money::Currency;
use models::ts::{DAY, MINUTE, Ts};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Zones change their offset at whole quarters of an hour, and so do hours of a week.
const QUARTER: i64 = 15 * MINUTE;
/// What goes on is the same cause for so long behind the window that was told of.
const SAME_CAUSE: i64 = DAY;
/// Why an alert is taken back.
const BACK_IN_BAND: &str = "later data brought the window back into its band";
const OTHER_VERSION: &str = "another version of the rule judges the window since";
/// Windows that follow an alert and are remembered.
const FOLLOWERS_MAX: usize = 32;
/// Sentences of an alert, with those of what follows it in the same step.
const REASONS_MAX: usize = 12;

/// Why a window is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Something came for it, and it is open.
    Open,
    /// It is over.
    Closing,
    /// Something came for it after it was over.
    Again,
}

/// A window of an operator's play in one currency.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub currency: Currency,
    pub granularity: Granularity,
    pub window: Window,
}

/// A window's metric with what it is held against.
struct Series {
    now: Point,
    history: Vec<Point>,
    is_series: bool,
}

/// What was found of a window's metric.
pub(super) struct Looked {
    metric: Metric,
    id: AlertId,
    observed: i64,
    samples: usize,
    /// The version that looked.
    params: Params,
    finding: Option<Finding>,
    /// Why nothing is said any more, where nothing was found.
    back: &'static str,
}

impl Looked {
    /// Of an alert that another version has raised.
    pub(super) fn of_another_version(metric: Metric, id: AlertId, observed: i64, params: Params) -> Self {
        Self { metric, id, observed, samples: 0, params, finding: None, back: OTHER_VERSION }
    }

    fn is_fall(&self) -> bool {
        self.finding.as_ref().is_some_and(|finding| finding.evidence.score_milli < 0)
    }

    /// Who leads: what is counted before what is computed of it, then what lies off the most for its limit.
    fn rank(&self) -> (bool, Reverse<i64>) {
        let evidence = self.finding.as_ref().map(|finding| &finding.evidence);
        let beyond = evidence.map_or(0, |e| e.score_milli.abs().saturating_mul(1_000) / e.threshold_milli.max(1));
        (is_computed(self.metric), Reverse(beyond))
    }
}

fn is_computed(metric: Metric) -> bool {
    matches!(metric, Metric::GrossGamingRevenue | Metric::Hold)
}

/// Is what lies off in a window part of what was told of already?
fn follows(place: Place, looked: &Looked, leader: &Standing) -> bool {
    let Window { start, end } = place.window;
    let length = |window: Window| window.end.0 - window.start.0;
    let is_same = (place.granularity, place.window) == (leader.granularity, leader.window);
    // revenue and hold fall where payouts rise, and where stakes fall
    let is_alike = looked.is_fall() == leader.is_fall || is_computed(looked.metric);
    let is_led = !is_computed(leader.metric) || is_computed(looked.metric);
    let touches = start <= leader.reach.end && leader.reach.start <= end;
    let overlaps = start < leader.reach.end && leader.reach.start < end;
    let is_longer = length(place.window) > length(leader.window) && overlaps;
    let goes_on = leader.granularity <= place.granularity
        && place.granularity <= Granularity::Hour
        && touches
        && start < leader.window.end.plus(SAME_CAUSE)
        && end > leader.window.start.plus(-SAME_CAUSE);
    leader.stands() && leader.currency == place.currency && is_alike && is_led && (is_same || is_longer || goes_on)
}

impl OperatorState {
    /// Judges metrics of a window, and says what is new.
    pub(super) fn judge(&mut self, step: &Step, place: Place, metrics: &[Metric], look: Look, effects: &mut Effects) {
        let looked: Vec<Looked> = metrics.iter().filter_map(|metric| self.look(place, *metric, look)).collect();
        let mut fresh = Vec::new();
        let mut again = BTreeSet::new();
        for looked in looked {
            let active = self.alerts.get(&looked.id).filter(|standing| standing.stands());
            match (&looked.finding, active) {
                (None, Some(was)) if look != Look::Open => {
                    again.extend(was.followers.iter().copied());
                    self.revise(step, place, looked, RevisionKind::Withdrawn, effects);
                }
                (None, _) => {}
                (Some(_), None) => fresh.push(looked),
                (Some(f), Some(was)) => {
                    let is_new = was.observed != looked.observed && (look != Look::Open || f.severity > was.severity);
                    if is_new {
                        self.revise(step, place, looked, RevisionKind::Corrected, effects);
                    }
                }
            }
        }
        fresh.sort_by_key(Looked::rank);
        for looked in fresh {
            match self.leader(place, &looked, effects) {
                Some(leader) => self.follow(place, &looked, leader, effects),
                None => self.revise(step, place, looked, RevisionKind::Raised, effects),
            }
        }
        for (granularity, window) in again {
            self.judge_anew(step, Place { granularity, window, ..place }, effects);
        }
    }

    /// Judges a window once more.
    pub(super) fn judge_anew(&mut self, step: &Step, place: Place, effects: &mut Effects) {
        if place.window.end > self.watermark.max(step.until) {
            self.judge(step, place, &CUMULATIVE, Look::Open, effects);
        } else {
            self.judge(step, place, metrics_of(place.granularity), Look::Again, effects);
        }
    }

    /// The alert that tells of the same cause, as urgently, or is told of in this step: whoever was told before that it is
    /// not urgent must be told anew.
    fn leader(&self, place: Place, looked: &Looked, effects: &Effects) -> Option<AlertId> {
        let severity = looked.finding.as_ref()?.severity;
        let is_told_now = |id: &AlertId| effects.revisions.iter().any(|revision| revision.id == *id);
        let leads = |(id, standing): &(&AlertId, &Standing)| {
            follows(place, looked, standing) && (severity <= standing.severity || is_told_now(id))
        };
        // of several the one that was told of last
        self.alerts.iter().filter(leads).max_by_key(|(id, standing)| (standing.window.end, **id)).map(|(id, _)| *id)
    }

    /// Notes that a window is part of what was told of.
    fn follow(&mut self, place: Place, looked: &Looked, leader: AlertId, effects: &mut Effects) {
        let (Some(standing), Some(finding)) = (self.alerts.get_mut(&leader), &looked.finding) else { return };
        let follower = (place.granularity, place.window);
        if place.granularity <= Granularity::Hour || place.granularity == standing.granularity {
            standing.reach.start = standing.reach.start.min(place.window.start);
            standing.reach.end = standing.reach.end.max(place.window.end);
        }
        if !standing.followers.contains(&follower) {
            if standing.followers.len() == FOLLOWERS_MAX {
                // of the shortest windows the oldest: a longer one says more
                let first = standing.followers.iter().enumerate().min_by_key(|(place, (length, _))| (*length, *place));
                first.map(|(place, _)| place).and_then(|place| standing.followers.remove(place));
            }
            standing.followers.push_back(follower);
        }
        let Some(revision) = effects.revisions.iter_mut().find(|revision| revision.id == leader) else { return };
        let is_elsewhere = follower != (standing.granularity, standing.window);
        let of = |reason: &String| {
            let (length, start) = (place.granularity.as_str(), place.window.start);
            if is_elsewhere { format!("{length} from {start}: {reason}") } else { reason.clone() }
        };
        let room = REASONS_MAX.saturating_sub(revision.evidence.reasons.len());
        revision.evidence.reasons.extend(finding.evidence.reasons.iter().take(room).map(of));
        revision.severity = revision.severity.max(finding.severity);
        standing.severity = standing.severity.max(finding.severity);
    }

    /// Looks at a metric of a window, and learns from it how far quiet windows lie off. None: it is not there, is open and
    /// says nothing, or the rule was off at its start.
    fn look(&mut self, place: Place, metric: Metric, look: Look) -> Option<Looked> {
        let Place { currency, granularity, window } = place;
        let params = *self.versions.at(window.start)?;
        let falls_count = look != Look::Open && self.slept_through(window).is_none();
        let Series { now, history, is_series } = self.series(&params, place, metric)?;
        let score = detector::score(&params, metric, now, &history).filter(|_| is_series);
        let tails = self.learned.entry(currency).or_default().tails(granularity, metric);
        let finding = score.and_then(|score| {
            let side = usize::from(score.score > 0.0);
            let learned = if score.score.abs() > params.least() { tails[side].limit(granularity) } else { 0.0 };
            if look == Look::Closing && falls_count {
                // what is said is learned as if it were just not: an attack teaches slowly that it is usual
                let most = params.limit(metric, side == 0, learned);
                let off = score.score.clamp(-most, most);
                tails[0].learn(granularity, -off);
                tails[1].learn(granularity, off);
            }
            let finding = detector::judge(&params, metric, now.value, &score, learned);
            finding.filter(|_| falls_count || score.score > 0.0)
        });
        if finding.is_none() && look == Look::Open {
            return None;
        }
        let id = alert_id(RULE, params.version, &self.subject(place, metric), window);
        let (observed, samples) = (now.value, history.len());
        Some(Looked { metric, id, observed, samples, params, finding, back: BACK_IN_BAND })
    }

    fn subject(&self, place: Place, metric: Metric) -> Subject {
        let Place { currency, granularity, .. } = place;
        Subject { operator: self.code.clone(), metric, granularity, currency, source: None, who: None }
    }

    /// Says something of a window, and remembers that it was said.
    pub(super) fn revise(
        &mut self,
        step: &Step,
        place: Place,
        looked: Looked,
        kind: RevisionKind,
        effects: &mut Effects,
    ) {
        let Place { currency, granularity, window } = place;
        let Looked { metric, id, observed, samples, params, finding, back } = looked;
        let before = self.alerts.remove(&id);
        let is_fall = finding.as_ref().is_some_and(|finding| finding.evidence.score_milli < 0);
        let was = before.as_ref().map_or(Severity::Low, |was| was.severity);
        let (severity, evidence) = match finding {
            Some(finding) => (finding.severity, finding.evidence),
            None => (was, quiet(observed, samples, &params, back)),
        };
        // it tells of its followers, too: what they made urgent stays so
        let leads = before.as_ref().is_some_and(|was| kind == RevisionKind::Corrected && !was.followers.is_empty());
        let severity = if leads { severity.max(was) } else { severity };
        let (reach, followers) = match before {
            Some(was) if kind == RevisionKind::Corrected => (was.reach, was.followers),
            _ => (window, Default::default()),
        };
        let standing =
            Standing { kind, severity, observed, currency, granularity, window, metric, is_fall, reach, followers };
        self.alerts.insert(id, standing);
        let heaviest = self.books.get(&currency).and_then(|book| book.get(granularity, window.start));
        let heaviest = heaviest.iter().flat_map(|sums| &sums.heaviest);
        let evidence = Evidence { records: heaviest.map(|(_, id)| id.clone()).collect(), ..evidence };
        effects.revise(AlertRevision {
            id,
            rule: RULE.to_owned(),
            rule_version: params.version,
            operator_no: self.operator_no,
            subject: self.subject(place, metric),
            window,
            kind,
            severity,
            at: step.at,
            operator_seq: step.operator_seq,
            offset: 0,
            operator_offset: 0,
            evidence,
        });
    }

    /// A window's metric and those before it, each with what is usual at its place of the week.
    fn series(&mut self, params: &Params, place: Place, metric: Metric) -> Option<Series> {
        let Place { currency, granularity, window } = place;
        let Self { books, learned, cutter, .. } = self;
        let book = books.get(&currency)?;
        let sums = book.get(granularity, window.start)?;
        let season = &learned.entry(currency).or_default().season;
        // a minute is like its hour, and an hour is a place once
        let (mut hour, mut found) = (None, None);
        let mut usual = |start: Ts| {
            let begin = if granularity == Granularity::Minute { start.floor_to(QUARTER) } else { start };
            if hour != Some(begin) {
                let of_hour = cutter.window(Granularity::Hour, begin).start;
                let before = if granularity == Granularity::Minute { of_hour } else { start };
                hour = Some(begin);
                found = season.usual(granularity, cutter.hour_of_week(begin), before, metric);
            }
            found
        };
        let mut point =
            |start: Ts, sums: &Sums| Point { value: sums.metric(metric), stakes: sums.stakes(), usual: usual(start) };
        let now = point(window.start, sums);
        let mut oldest = window.start;
        let before = book.before(granularity, window.start).take(params.history);
        let history: Vec<Point> = before
            .map(|(start, sums)| {
                oldest = start;
                point(start, sums)
            })
            .collect();
        // weekly data is no series of hours: its week says the same once
        let length = window.end.0 - window.start.0;
        let windows_spanned = (window.start.0 - oldest.0) / length;
        let is_series = windows_spanned <= params.span_windows_max * history.len() as i64;
        Some(Series { now, history, is_series })
    }
}

/// What is judged of a window that is over. What is won in a minute is the outcome of a few bets.
pub(super) fn metrics_of(granularity: Granularity) -> &'static [Metric] {
    if granularity == Granularity::Minute { &CUMULATIVE } else { Metric::OF_RECORDS }
}

fn quiet(observed: i64, samples: usize, params: &Params, back: &str) -> Evidence {
    Evidence {
        observed,
        expected: observed,
        band_low: observed,
        band_high: observed,
        score_milli: 0,
        threshold_milli: params.threshold_milli,
        samples: samples as u32,
        reasons: vec![back.to_owned()],
        records: Vec::new(),
        ..Evidence::default()
    }
}
