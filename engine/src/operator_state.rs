//! An operator as its inputs made it: windows, watermark, alerts. The same inputs give the same alerts, bit for bit.
//!
//! ```text
//! Batch ─▶ windows ─▶ judge what it changed ─▶ move the watermark ─▶ close windows, judge them ─▶ revisions
//! Tick  ───────────────────────────────────────▶┘
//! ```
//! Rises are judged with every batch on the still open window; falls, hold and revenue at its close. A closed window
//! that late data changes is judged again; the windows behind it are not (their median saw the old value).
//!
//! On the wall clock something comes at least every minute while the engine is awake: a tick, if nothing else. Where
//! nothing came for longer the engine was away, and the market was not: a window that lies in such a gap is no evidence
//! of silence, so it is not made up as an empty one, and no fall is seen in it.

mod breakdown;
pub mod snapshot;
mod view;

pub use breakdown::{Breakdown, Flow, Part, Recent};
pub use view::OperatorView;

use crate::detector::{self, Params, RULE};
use crate::windows::{Book, Cutter};
use jiff::tz::TimeZone;
use models::alert::{AlertRevision, Evidence, Granularity, Metric, RevisionKind, Severity, Subject, Window};
use models::feed::SourceClock;
use models::ids::{AlertId, OperatorNo};
use models::money::Currency;
use models::record::Record;
use models::ts::{MINUTE, SECOND, Ts};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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

/// What follows from an input.
#[derive(Debug, Default, PartialEq)]
pub struct Effects {
    /// Alerts, offsets not assigned.
    pub revisions: Vec<AlertRevision>,
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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Standing {
    kind: RevisionKind,
    severity: Severity,
    observed: i64,
    window_end: Ts,
}

/// The operator.
#[derive(Clone)]
pub struct OperatorState {
    operator_no: OperatorNo,
    code: String,
    params: Params,
    cutter: Cutter,
    books: BTreeMap<Currency, Book>,
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
    /// Before any input. Days and weeks are cut in `zone`.
    pub fn new(operator_no: OperatorNo, code: String, zone: TimeZone) -> Self {
        Self {
            operator_no,
            code,
            params: Params::default(),
            cutter: Cutter::new(zone),
            books: BTreeMap::new(),
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
        match input {
            // an authority's document is no play: it opens no window, and its source's clock is not the market's
            OperatorInput::Batch { records, .. } if is_documents(records) => Effects::default(),
            OperatorInput::Batch { operator_seq, clock_at, clock, records } => {
                if clock == SourceClock::Wall {
                    self.hear(clock_at);
                }
                let touched = self.add(records);
                let mut effects = Effects::default();
                let step = Step { operator_seq, at: clock_at };
                for (currency, granularity, window) in touched {
                    let late = window.end <= self.watermark;
                    let metrics = if late { Metric::OF_RECORDS } else { &CUMULATIVE };
                    for metric in metrics {
                        self.judge(&step, currency, granularity, window, *metric, late, &mut effects);
                    }
                }
                // where a source follows the wall clock, an archive beside it is late data and moves nothing
                match clock {
                    SourceClock::Wall => self.close(&step, clock_at.plus(-GRACE), &mut effects),
                    SourceClock::Event if self.wall => self.forget(),
                    SourceClock::Event => self.close(&step, clock_at, &mut effects),
                }
                effects
            }
            OperatorInput::Tick { operator_seq, at } => {
                let mut effects = Effects::default();
                self.hear(at);
                self.close(&Step { operator_seq, at }, at.plus(-GRACE), &mut effects);
                effects
            }
        }
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
    fn close(&mut self, step: &Step, until: Ts, effects: &mut Effects) {
        if until <= self.watermark {
            self.forget();
            return;
        }
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
                    for metric in Metric::OF_RECORDS {
                        self.judge(step, currency, granularity, window, *metric, true, effects);
                    }
                }
            }
        }
        self.watermark = until;
        self.forget();
    }

    /// Keeps the state bounded, also where the clock stands still and only late data comes.
    fn forget(&mut self) {
        self.books.values_mut().for_each(Book::forget);
        while self.alerts.len() > ALERTS_MAX {
            let oldest = self.alerts.iter().min_by_key(|(id, s)| (s.window_end, **id)).map(|(id, _)| *id);
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

    #[allow(clippy::too_many_arguments)]
    fn judge(
        &mut self,
        step: &Step,
        currency: Currency,
        granularity: Granularity,
        window: Window,
        metric: Metric,
        closed: bool,
        effects: &mut Effects,
    ) {
        let Some(book) = self.books.get(&currency) else { return };
        let Some(sums) = book.get(granularity, window.start) else { return };
        let observed = sums.metric(metric);
        let mut oldest = window.start;
        let history: Vec<i64> = book
            .before(granularity, window.start)
            .take(self.params.history)
            .map(|(start, sums)| {
                oldest = start;
                sums.metric(metric)
            })
            .collect();
        // weekly data is no series of hours: its week says the same once
        let length = window.end.0 - window.start.0;
        let windows_spanned = (window.start.0 - oldest.0) / length;
        let is_series = windows_spanned <= self.params.span_windows_max * history.len() as i64;
        let falls_count = closed && self.slept_through(window).is_none();
        let finding = detector::judge(&self.params, metric, observed, &history)
            .filter(|f| is_series && (falls_count || f.evidence.score_milli > 0));
        let subject = Subject { operator: self.code.clone(), metric, granularity, currency, source: None };
        let id = alert_id(RULE, self.params.version, &subject, window);
        let standing = self.alerts.get(&id);
        let active = standing.filter(|s| s.kind != RevisionKind::Withdrawn);
        let (kind, severity, evidence) = match (finding, active) {
            (None, Some(was)) if closed => {
                (RevisionKind::Withdrawn, was.severity, quiet(observed, &history, &self.params))
            }
            (None, _) => return,
            (Some(f), None) => (RevisionKind::Raised, f.severity, f.evidence),
            (Some(f), Some(was)) if was.observed != observed && (closed || f.severity > was.severity) => {
                (RevisionKind::Corrected, f.severity, f.evidence)
            }
            (Some(_), Some(_)) => return,
        };
        let records = sums.heaviest.iter().map(|(_, id)| id.clone()).collect();
        let evidence = Evidence { records, ..evidence };
        self.alerts.insert(id, Standing { kind, severity, observed, window_end: window.end });
        let revision = AlertRevision {
            id,
            rule: RULE.to_owned(),
            rule_version: self.params.version,
            operator_no: self.operator_no,
            subject,
            window,
            kind,
            severity,
            at: step.at,
            operator_seq: step.operator_seq,
            offset: 0,
            operator_offset: 0,
            evidence,
        };
        effects.revise(revision);
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

struct Step {
    operator_seq: i64,
    at: Ts,
}

/// Is there nothing in a batch but documents? A batch that was set aside whole holds nothing, and is an input still.
fn is_documents(records: &[Record]) -> bool {
    !records.is_empty() && records.iter().all(|record| record.kind.is_document())
}

fn quiet(observed: i64, history: &[i64], params: &Params) -> Evidence {
    Evidence {
        observed,
        expected: observed,
        band_low: observed,
        band_high: observed,
        score_milli: 0,
        threshold_milli: params.threshold_milli,
        samples: history.len() as u32,
        reasons: vec!["later data brought the window back into its band".to_owned()],
        records: Vec::new(),
    }
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
mod tests {
    use super::*;
    use crate::windows::tests::record;
    use models::record::RecordKind;
    use models::ts::{DAY, HOUR};
    use proptest::prelude::*;

    fn state() -> OperatorState {
        OperatorState::new(OperatorNo(1), "alpha".to_owned(), TimeZone::UTC)
    }

    fn day(n: i64, amount: i64) -> Record {
        record(RecordKind::Stake, Ts((n + 4) * DAY), amount, 1)
    }

    fn push(state: &mut OperatorState, seq: i64, records: &[Record]) -> Vec<(Metric, Granularity, RevisionKind)> {
        let clock_at = records.iter().map(|r| r.occurred_at).max().unwrap().max(state.watermark);
        let input = OperatorInput::Batch { operator_seq: seq, clock_at, clock: SourceClock::Event, records };
        state.apply(input).revisions.iter().map(|r| (r.subject.metric, r.subject.granularity, r.kind)).collect()
    }

    fn daily(found: Vec<(Metric, Granularity, RevisionKind)>) -> Vec<(Metric, RevisionKind)> {
        found.into_iter().filter(|(_, g, _)| *g == Granularity::Day).map(|(m, _, k)| (m, k)).collect()
    }

    fn quiet_days(state: &mut OperatorState, days: i64) {
        for n in 0..days {
            assert_eq!(push(state, n + 1, &[day(n, 100_000 + n)]), []);
        }
    }

    #[test]
    fn a_rise_is_raised_with_its_batch_and_a_fall_at_the_close() {
        let mut state = state();
        quiet_days(&mut state, 12);
        let risen = daily(push(&mut state, 13, &[day(12, 900_000)]));
        assert_eq!(risen, [(Metric::Stakes, RevisionKind::Raised)]);
        assert_eq!(
            daily(push(&mut state, 14, &[day(13, 1_000)])),
            [(Metric::GrossGamingRevenue, RevisionKind::Raised)]
        );
        let fallen = daily(push(&mut state, 15, &[day(14, 100_000)]));
        assert!(fallen.contains(&(Metric::Stakes, RevisionKind::Raised)), "{fallen:?}");
    }

    #[test]
    fn documents_are_inputs_that_change_nothing() {
        let documents = [RecordKind::LicenceStatus, RecordKind::Invoice, RecordKind::Payment, RecordKind::BankLine];
        let documents: Vec<Record> = documents.map(|kind| record(kind, Ts(5 * DAY), 9_000_000, 1)).into();
        let at = Ts(90 * DAY);
        let mut state = state();
        quiet_days(&mut state, 12);
        let before = serde_json::to_string(&state.view()).unwrap();
        for clock in [SourceClock::Wall, SourceClock::Event] {
            let input = OperatorInput::Batch { operator_seq: 13, clock_at: at, clock, records: &documents };
            assert_eq!(state.apply(input), Effects::default());
        }
        assert_eq!(serde_json::to_string(&state.view()).unwrap(), before);
        assert!(!state.needs_tick(at.plus(HOUR)), "a bank's clock is not the market's");
        // and beside play they count for nothing; nor does a message to somebody who did not play
        let play = day(12, 1_000);
        let message = record(RecordKind::Marketing, play.occurred_at, 0, 2);
        let mixed: Vec<Record> = documents.iter().cloned().chain([message, play.clone()]).collect();
        let mut alone = state.clone();
        assert_eq!(push(&mut state, 13, &mixed), push(&mut alone, 13, &[play]));
        assert_eq!((state.totals(), state.last_event_at), (alone.totals(), alone.last_event_at));
    }

    #[test]
    fn late_data_corrects_and_withdraws() {
        let mut state = state();
        quiet_days(&mut state, 12);
        push(&mut state, 13, &[day(12, 1_000)]);
        push(&mut state, 14, &[day(13, 100_000)]);
        let mut late = day(12, 50_000);
        late.occurred_at = late.occurred_at.plus(1);
        let found = daily(push(&mut state, 15, &[late.clone()]));
        assert!(found.contains(&(Metric::Stakes, RevisionKind::Withdrawn)), "{found:?}");
        late.occurred_at = late.occurred_at.plus(1);
        late.amount_minor = 900_000;
        let found = daily(push(&mut state, 16, &[late]));
        assert!(found.contains(&(Metric::Stakes, RevisionKind::Raised)), "{found:?}");
    }

    #[test]
    fn the_same_inputs_give_the_same_alerts() {
        let run = || {
            let mut state = state();
            let mut all = Vec::new();
            for n in 0..60 {
                let amount = if n % 17 == 16 { 5_000_000 } else { 100_000 + n * 7 % 13 };
                let records = [day(n, amount), day(n, amount / 3)];
                let clock_at = records[0].occurred_at;
                let input = OperatorInput::Batch {
                    operator_seq: n + 1,
                    clock_at,
                    clock: SourceClock::Event,
                    records: &records,
                };
                all.extend(state.apply(input).revisions);
            }
            all
        };
        let first = run();
        assert!(!first.is_empty());
        assert!(
            first.iter().all(|r| !r.evidence.records.is_empty()),
            "every alert names the records that weighed most"
        );
        assert_eq!(first, run());
    }

    #[test]
    fn an_input_says_one_thing_of_an_alert() {
        use RevisionKind::{Corrected, Raised, Withdrawn};
        let mut state = state();
        quiet_days(&mut state, 12);
        let records = [day(12, 900_000)];
        let input = OperatorInput::Batch {
            operator_seq: 13,
            clock_at: records[0].occurred_at,
            clock: SourceClock::Event,
            records: &records,
        };
        let sample = state.apply(input).revisions.remove(0);
        let table: [(&[RevisionKind], Option<RevisionKind>); 6] = [
            (&[Raised, Corrected], Some(Raised)),
            (&[Raised, Withdrawn], None),
            (&[Corrected, Corrected], Some(Corrected)),
            (&[Corrected, Withdrawn], Some(Withdrawn)),
            (&[Withdrawn, Raised], Some(Corrected)),
            (&[Raised, Withdrawn, Raised], Some(Raised)),
        ];
        for (said, wanted) in table {
            let mut effects = Effects::default();
            said.iter().for_each(|kind| effects.revise(AlertRevision { kind: *kind, ..sample.clone() }));
            assert_eq!(effects.revisions.first().map(|r| r.kind), wanted, "{said:?}");
            assert!(effects.revisions.len() <= 1);
        }
    }

    #[test]
    fn weekly_data_is_judged_by_the_week_alone() {
        let mut state = state();
        let found: Vec<_> = (0..20)
            .flat_map(|n| push(&mut state, n + 1, &[day(7 * n, if n == 15 { 900_000 } else { 100_000 })]))
            .collect();
        assert!(found.contains(&(Metric::Stakes, Granularity::Week, RevisionKind::Raised)), "{found:?}");
        assert!(found.iter().all(|(_, granularity, _)| *granularity == Granularity::Week), "{found:?}");
    }

    #[test]
    fn the_wall_clock_sees_silence() {
        let mut state = state();
        let mut found = Vec::new();
        for minute in 0..30 {
            let seq = minute + 1;
            let at = Ts(10 * DAY + minute * MINUTE);
            if minute < 20 {
                let records = [record(RecordKind::Stake, at, 50_000, 1)];
                let input = OperatorInput::Batch {
                    operator_seq: seq,
                    clock_at: at,
                    clock: SourceClock::Wall,
                    records: &records,
                };
                found.extend(state.apply(input).revisions);
            } else {
                assert!(state.needs_tick(at.plus(3 * SECOND)));
                found.extend(state.apply(OperatorInput::Tick { operator_seq: seq, at: at.plus(3 * SECOND) }).revisions);
                assert!(!state.needs_tick(at.plus(3 * SECOND)));
            }
        }
        let silent =
            found.iter().find(|r| r.subject.metric == Metric::Stakes && r.subject.granularity == Granularity::Minute);
        assert_eq!(silent.map(|r| (r.evidence.observed, r.evidence.expected)), Some((0, 50_000)));
    }

    #[test]
    fn the_engines_own_absence_is_no_silence_of_the_market() {
        let minute = |n: i64| Ts(10 * DAY + n * MINUTE);
        // minutes without play, whether the engine was awake, and so whether it was a silence
        let table = [(5, true), (60, false), (600, false)];
        for (away, is_silence) in table {
            let (mut state, mut seq, mut found) = (state(), 0, Vec::new());
            let mut hear = |state: &mut OperatorState, at: Ts, played: Option<Ts>| {
                seq += 1;
                let records: Vec<Record> =
                    played.map(|t| record(RecordKind::Stake, t, 50_000, 1)).into_iter().collect();
                let clock = SourceClock::Wall;
                let batch = OperatorInput::Batch { operator_seq: seq, clock_at: at, clock, records: &records };
                let tick = OperatorInput::Tick { operator_seq: seq, at };
                found.extend(state.apply(if records.is_empty() { tick } else { batch }).revisions);
            };
            for n in 0..20 {
                hear(&mut state, minute(n), Some(minute(n)));
            }
            let back = 20 + away;
            for n in (20..back).filter(|_| is_silence) {
                hear(&mut state, minute(n).plus(3 * SECOND), None);
            }
            hear(&mut state, minute(back).plus(3 * SECOND), None);
            // the backlog, minute by minute, and play goes on
            for n in 20..back {
                hear(&mut state, minute(back).plus(4 * SECOND), Some(minute(n)));
            }
            for n in back..back + 5 {
                hear(&mut state, minute(n).plus(30 * SECOND), Some(minute(n)));
            }
            let fell = found.iter().any(|r| r.evidence.score_milli < 0 && r.kind == RevisionKind::Raised);
            assert_eq!(fell, is_silence, "{away} minutes: {:?}", found.first());
            assert!(found.iter().all(|r| r.evidence.score_milli <= 0), "{away} minutes: no rise when play goes on");
        }
    }

    #[test]
    fn a_live_source_beside_an_archive_makes_no_silence_of_the_time_between() {
        let mut state = state();
        quiet_days(&mut state, 20);
        let live = Ts(60 * DAY);
        let mut found = Vec::new();
        for minute in 0..30 {
            let at = live.plus(minute * MINUTE);
            let records = [record(RecordKind::Stake, at, 100_000, 1)];
            let clock = SourceClock::Wall;
            let input = OperatorInput::Batch { operator_seq: 21 + minute, clock_at: at, clock, records: &records };
            found.extend(state.apply(input).revisions);
        }
        assert!(found.iter().all(|r| r.evidence.score_milli >= 0), "{:?}", found.first());
    }

    /// Play of some hours in batches: mostly quiet, some large, some late.
    fn batches(hours: i64) -> impl Strategy<Value = Vec<Vec<Record>>> {
        let stake = (0i64..hours, prop_oneof![9 => 900i64..1100, 1 => 0i64..90_000], 1u128..9, any::<bool>());
        let record = stake.prop_map(|(hour, amount, player, payout)| {
            let kind = if payout { RecordKind::Payout } else { RecordKind::Stake };
            record(kind, Ts(10 * DAY + hour * models::ts::HOUR), amount, player)
        });
        prop::collection::vec(prop::collection::vec(record, 1..40), 1..12)
    }

    fn run(batches: &[Vec<Record>]) -> (Vec<AlertRevision>, OperatorState) {
        let (mut state, mut all, mut newest) = (state(), Vec::new(), Ts(0));
        for (records, seq) in batches.iter().zip(1..) {
            newest = records.iter().map(|r| r.occurred_at).fold(newest, Ts::max);
            let clock = SourceClock::Event;
            all.extend(
                state.apply(OperatorInput::Batch { operator_seq: seq, clock_at: newest, clock, records }).revisions,
            );
        }
        (all, state)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn alerts_are_the_same_bit_for_bit(play in batches(60 * 24)) {
            let alerts = run(&play).0;
            prop_assert!(run(&play).0 == alerts);
            // an alert is said once by an input, begins with raised, and is withdrawn only where it stands
            let mut standing: BTreeMap<AlertId, (RevisionKind, i64)> = BTreeMap::new();
            for r in &alerts {
                let before = standing.insert(r.id, (r.kind, r.operator_seq));
                let stood = before.is_some_and(|(kind, _)| kind != RevisionKind::Withdrawn);
                prop_assert_eq!(r.kind != RevisionKind::Raised, stood);
                prop_assert!(before.is_none_or(|(_, seq)| seq < r.operator_seq));
            }
        }

        /// Other batches may give other alerts on the way, but the same windows, as long as none is forgotten.
        #[test]
        fn windows_do_not_depend_on_the_batches(play in batches(170)) {
            let (state, one) = (run(&play).1, run(&[play.concat()]).1);
            prop_assert!(one.books == state.books);
            prop_assert_eq!(serde_json::to_string(&one.view()).unwrap(), serde_json::to_string(&state.view()).unwrap());
        }
    }
}
