//! An operator as its inputs made it: windows, watermark, alerts. The same inputs give the same alerts, bit for bit.
//!
//! ```text
//! Batch ─▶ windows ─▶ judge what it changed ─▶ move the watermark ─▶ close windows, judge them ─▶ revisions
//! Tick  ───────────────────────────────────────▶┘
//! ```
//! Rises are judged with every batch on the still open window; falls, hold and revenue at its close. A closed window
//! that late data changes is judged again; the windows behind it are not (their median saw the old value).
//! What is usual at an hour of the week, and how far quiet windows lie off, is learned from windows at their close.
//! A window is judged by the version of the detector's parameters that is live at its start ([`Deviations`]).
//!
//! On the wall clock something comes at least every minute while the engine is awake: a tick, if nothing else. Where
//! nothing came for longer the engine was away, and the market was not: a window that lies in such a gap is no evidence
//! of silence, so it is not made up as an empty one, and no fall is seen in it.

mod breakdown;
mod closed;
mod judge;
pub mod snapshot;
mod versions;
mod view;

pub use breakdown::{Breakdown, Flow, Part, Recent};
pub use closed::{Closed, PlayDay};
pub use versions::Deviations;
pub use view::OperatorView;

use crate::detector::Params;
use crate::rules::timeline::Timeline;
use crate::season::Season;
use crate::tail::Tail;
use crate::windows::{Book, Cutter};
use jiff::tz::TimeZone;
use judge::{Look, Place, metrics_of};
use models::alert::{AlertRevision, Granularity, Metric, RevisionKind, Severity, Subject, Window};
use models::feed::SourceClock;
use models::ids::{AlertId, OperatorNo};
use models::money::Currency;
use models::record::Record;
use models::ts::{MINUTE, SECOND, Ts};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// How long behind the wall clock a minute stays open.
const GRACE: i64 = 2 * SECOND;
/// Alerts an operator's state remembers; the oldest windows' are forgotten first.
const ALERTS_MAX: usize = 4_096;
/// Empty windows made known in one step at most.
const GAP_MAX: usize = 180;
/// Ticks come every minute; an operator of the wall clock who heard nothing for so long was not being watched.
const AWAKE_MAX: i64 = 90 * SECOND;
/// Gaps an operator's state remembers.
const ASLEEP_MAX: usize = 32;
/// A window is judged like any other where less of it lies in a gap, parts of a thousand.
const ASLEEP_PERMILLE: i64 = 20;
/// Metrics that only rise while a window is open.
const CUMULATIVE: [Metric; 4] = [Metric::Count, Metric::Stakes, Metric::Payouts, Metric::UniquePlayers];

/// One input, in the order of `operator_seq`.
#[derive(Clone, Copy)]
pub enum OperatorInput<'a> {
    /// A stored batch.
    Batch {
        /// Position.
        operator_seq: i64,
        /// Time of the clock that judged it.
        clock_at: Ts,
        /// Which clock.
        clock: SourceClock,
        /// Its records.
        records: &'a [Record],
    },
    /// The wall clock.
    Tick {
        /// Position.
        operator_seq: i64,
        /// The time.
        at: Ts,
    },
}

impl OperatorInput<'_> {
    fn step(&self) -> Step {
        let (operator_seq, at) = match *self {
            Self::Batch { operator_seq, clock_at, .. } => (operator_seq, clock_at),
            Self::Tick { operator_seq, at } => (operator_seq, at),
        };
        Step { operator_seq, at, until: Ts(0) }
    }
}

/// What follows from an input.
#[derive(Debug, Default, PartialEq)]
pub struct Effects {
    /// Alerts, offsets not assigned.
    pub revisions: Vec<AlertRevision>,
    /// Hours and days that are over with it, each series oldest first.
    pub closed: Vec<Closed>,
}

impl Effects {
    /// One revision of an alert for one input, as those see it who only see what was committed.
    fn revise(&mut self, revision: AlertRevision) {
        use RevisionKind::{Corrected, Raised, Withdrawn};
        let Some(place) = self.revisions.iter().position(|r| r.id == revision.id) else {
            self.revisions.push(revision);
            return;
        };
        let earlier = &mut self.revisions[place];
        let kind = match (earlier.kind, revision.kind) {
            // nobody has heard of it
            (Raised, Withdrawn) => {
                self.revisions.remove(place);
                return;
            }
            (Raised, _) => Raised,
            (_, Raised) => Corrected,
            (_, kind) => kind,
        };
        *earlier = AlertRevision { kind, ..revision };
    }
}

/// Sums of all time in one currency.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Totals {
    pub currency: Currency,
    pub stakes: i64,
    pub payouts: i64,
    pub ggr: i64,
    pub records: u64,
}

/// What an operator's own windows of one currency have taught.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Learned {
    season: Season,
    /// By granularity and metric: falls, rises.
    tails: Vec<[Tail; 2]>,
}

impl Default for Learned {
    fn default() -> Self {
        let series = Granularity::ALL.len() * Metric::OF_RECORDS.len();
        Self { season: Season::default(), tails: vec![<[Tail; 2]>::default(); series] }
    }
}

impl Learned {
    fn is_sound(&self) -> bool {
        let series = Granularity::ALL.len() * Metric::OF_RECORDS.len();
        self.season.is_sound() && self.tails.len() == series && self.tails.iter().flatten().all(Tail::is_sound)
    }

    fn tails(&mut self, granularity: Granularity, metric: Metric) -> &mut [Tail; 2] {
        &mut self.tails[granularity as usize * Metric::OF_RECORDS.len() + metric as usize]
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Standing {
    kind: RevisionKind,
    severity: Severity,
    observed: i64,
    currency: Currency,
    granularity: Granularity,
    window: Window,
    metric: Metric,
    is_fall: bool,
    /// From the first to the last window that it tells of.
    reach: Window,
    /// Windows that are told of by it: the same cause.
    followers: VecDeque<(Granularity, Window)>,
}

/// The operator.
#[derive(Clone)]
pub struct OperatorState {
    operator_no: OperatorNo,
    code: String,
    /// What windows are judged by.
    versions: Arc<Deviations>,
    /// What they were judged by until the last input, where that has changed since.
    versions_before: Option<Arc<Deviations>>,
    cutter: Cutter,
    books: BTreeMap<Currency, Book>,
    learned: BTreeMap<Currency, Learned>,
    alerts: BTreeMap<AlertId, Standing>,
    watermark: Ts,
    wall: bool,
    /// When the wall clock was last heard of.
    awake_at: Ts,
    /// When it was not, newest last.
    asleep: VecDeque<Window>,
    last_event_at: Option<Ts>,
    breakdown: Breakdown,
}

impl OperatorState {
    /// Before any input. Days and weeks are cut in `zone`. It judges by the standard version.
    pub fn new(operator_no: OperatorNo, code: String, zone: TimeZone) -> Self {
        Self {
            operator_no,
            code,
            versions: Arc::new(Timeline::always(Params::default())),
            versions_before: None,
            cutter: Cutter::new(zone),
            books: BTreeMap::new(),
            learned: BTreeMap::new(),
            alerts: BTreeMap::new(),
            watermark: Ts(0),
            wall: false,
            awake_at: Ts(0),
            asleep: VecDeque::new(),
            last_event_at: None,
            breakdown: Breakdown::default(),
        }
    }

    /// Takes an input in.
    pub fn apply(&mut self, input: OperatorInput<'_>) -> Effects {
        let (step, mut effects) = (input.step(), Effects::default());
        self.judge_by_new_versions(&step, &mut effects);
        match input {
            // an authority's document is no play: it opens no window, and its source's clock is not the market's
            OperatorInput::Batch { records, .. } if is_documents(records) => {}
            OperatorInput::Batch { clock_at, clock, records, .. } => {
                if clock == SourceClock::Wall {
                    self.hear(clock_at);
                }
                let touched = self.add(records);
                for (currency, granularity, window) in touched {
                    let late = window.end <= self.watermark;
                    let place = Place { currency, granularity, window };
                    let metrics = if late { metrics_of(granularity) } else { &CUMULATIVE };
                    let look = if late { Look::Again } else { Look::Open };
                    self.judge(&step, place, metrics, look, &mut effects);
                    if late {
                        self.learn(currency, granularity, window);
                    }
                }
                // where a source follows the wall clock, an archive beside it is late data and moves nothing
                match clock {
                    SourceClock::Wall => self.close(step, clock_at.plus(-GRACE), &mut effects),
                    SourceClock::Event if self.wall => self.forget(),
                    SourceClock::Event => self.close(step, clock_at, &mut effects),
                }
            }
            OperatorInput::Tick { at, .. } => {
                self.hear(at);
                self.close(step, at.plus(-GRACE), &mut effects);
            }
        }
        effects
    }

    /// Should the wall clock be told? Once a minute, where a source follows it.
    pub fn needs_tick(&self, now: Ts) -> bool {
        self.wall && now.plus(-GRACE).floor_to(MINUTE) > self.watermark
    }

    /// The wall clock is heard of.
    fn hear(&mut self, at: Ts) {
        // an archive ends where it ends: what lies between it and the live source was not watched either
        let since = if self.wall { self.awake_at } else { self.watermark };
        if since.0 > 0 && at.0 - since.0 > AWAKE_MAX {
            self.asleep.push_back(Window { start: since, end: at });
            if self.asleep.len() > ASLEEP_MAX {
                self.asleep.pop_front();
            }
        }
        self.wall = true;
        self.awake_at = self.awake_at.max(at);
    }

    /// Does so much of a window lie in a gap that its silence says nothing? Gives the end of the gap.
    fn slept_through(&self, window: Window) -> Option<Ts> {
        let within = |gap: &&Window| {
            let overlap = gap.end.0.min(window.end.0) - gap.start.0.max(window.start.0);
            overlap * 1_000 > (window.end.0 - window.start.0) * ASLEEP_PERMILLE
        };
        self.asleep.iter().rev().find(within).map(|gap| gap.end)
    }

    fn add(&mut self, records: &[Record]) -> BTreeSet<(Currency, Granularity, Window)> {
        let mut touched = BTreeSet::new();
        for record in records.iter().filter(|record| record.kind.is_play()) {
            let book = self.books.entry(record.currency).or_default();
            for (granularity, window) in book.add(&mut self.cutter, record).into_iter().flatten() {
                // a minute of an archive says nothing a day does not
                if self.wall || granularity != Granularity::Minute {
                    touched.insert((record.currency, granularity, window));
                }
            }
            self.breakdown.add(&mut self.cutter, record);
            self.last_event_at = self.last_event_at.max(Some(record.occurred_at));
        }
        touched
    }

    /// Moves the watermark and judges every window it passes.
    fn close(&mut self, step: Step, until: Ts, effects: &mut Effects) {
        if until <= self.watermark {
            self.forget();
            return;
        }
        let step = &Step { until, ..step };
        let from = self.watermark;
        for currency in self.books.keys().copied().collect::<Vec<_>>() {
            for granularity in Granularity::ALL.iter().copied() {
                if granularity == Granularity::Minute && !self.wall {
                    continue;
                }
                if self.wall {
                    self.fill_gaps(currency, granularity, until);
                }
                let closing =
                    self.books.get(&currency).map_or_else(Vec::new, |b| b.ending_within(granularity, from, until));
                for window in closing {
                    let place = Place { currency, granularity, window };
                    self.judge(step, place, metrics_of(granularity), Look::Closing, effects);
                    if self.slept_through(window).is_none() {
                        self.learn(currency, granularity, window);
                    }
                }
            }
        }
        self.watermark = until;
        effects.closed.extend(self.points(from, until));
        self.forget();
    }

    /// Keeps the state bounded, also where the clock stands still and only late data comes.
    fn forget(&mut self) {
        self.books.values_mut().for_each(Book::forget);
        while self.alerts.len() > ALERTS_MAX {
            let oldest = self.alerts.iter().min_by_key(|(id, s)| (s.window.end, **id)).map(|(id, _)| *id);
            oldest.map(|id| self.alerts.remove(&id));
        }
    }

    /// On the wall clock a window without records is a window in which nothing happened.
    fn fill_gaps(&mut self, currency: Currency, granularity: Granularity, until: Ts) {
        let Some(book) = self.books.get(&currency) else { return };
        let Some((newest, _)) = book.newest(granularity).next() else { return };
        // from where windows were closed last: a window ahead of the clock must not hide the silence before it
        let closed = self.cutter.window(granularity, self.watermark).start;
        let mut next = if self.watermark.0 == 0 { newest.end } else { closed };
        for _ in 0..GAP_MAX {
            let window = self.cutter.window(granularity, next);
            if window.end > until {
                return;
            }
            if let Some(end) = self.slept_through(window) {
                next = end.max(window.end);
                continue;
            }
            if let Some(book) = self.books.get_mut(&currency) {
                book.touch(granularity, window);
            }
            next = window.end;
        }
    }

    /// Learns what was usual from an hour or a day that is over.
    fn learn(&mut self, currency: Currency, granularity: Granularity, window: Window) {
        let is_place = matches!(granularity, Granularity::Hour | Granularity::Day);
        let sums = self.books.get(&currency).and_then(|book| book.get(granularity, window.start));
        if let Some(sums) = sums.filter(|_| is_place) {
            let hour = self.cutter.hour_of_week(window.start);
            self.learned.entry(currency).or_default().season.learn(granularity, hour, window.start, sums);
        }
    }

    /// The current hour and day by region and by product.
    pub fn breakdown(&self) -> &Breakdown {
        &self.breakdown
    }

    /// Sums of all time.
    pub fn totals(&self) -> Vec<Totals> {
        let total = |(currency, book): (&Currency, &Book)| Totals {
            currency: *currency,
            stakes: book.total.stakes(),
            payouts: book.total.payouts(),
            ggr: book.total.gross_gaming_revenue(),
            records: book.total.count + book.total.failed,
        };
        self.books.iter().map(total).collect()
    }
}

#[derive(Clone, Copy)]
struct Step {
    operator_seq: i64,
    at: Ts,
    /// What ends by then closes with it.
    until: Ts,
}

/// Is there nothing in a batch but documents? A batch that was set aside whole holds nothing, and is an input still.
#[must_use]
pub fn is_documents(records: &[Record]) -> bool {
    !records.is_empty() && records.iter().all(|record| record.kind.is_document())
}

/// First 128 bits of SHA-256 over rule, version, subject and window.
pub(crate) fn alert_id(rule: &str, version: u32, subject: &Subject, window: Window) -> AlertId {
    let source = subject.source.map_or(String::new(), |id| format!("\0{id}"));
    let text = format!(
        "{rule}\0{version}\0{}\0{}\0{}\0{}\0{}\0{}{source}",
        subject.operator,
        subject.metric.as_str(),
        subject.granularity.as_str(),
        subject.currency,
        window.start.0,
        window.end.0
    );
    let mut first = [0; 16];
    first.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..16]);
    AlertId(u128::from_be_bytes(first))
}

#[cfg(test)]
mod causes_tests;
#[cfg(test)]
mod tests;
