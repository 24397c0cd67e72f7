//! The alert on a feed that fell silent: raised, made worse and withdrawn by the clock and the source's last success.
//!
//! Nothing is held against a source while nobody listened: after a start, and after a pause, it has its chance first. How
//! long a silence is takes versions ([`crate::rules::feed_silent`]): the one that was live at its beginning judges it.

use crate::operator_state::alert_id;
use crate::rules::timeline::Timeline;
use models::alert::{AlertRevision, Evidence, Granularity, Metric, RevisionKind, Severity, Subject, Window};
use models::feed::Source;
use models::ids::AlertId;
use models::ts::{HOUR, MINUTE, SECOND, Ts};
use ring::digest::{SHA256, digest};

/// Name of the rule.
pub const RULE: &str = "feed_silent";
/// The version that nobody proposed.
pub const STANDARD_VERSION: u32 = 1;
/// Expected intervals without a success from which on a source is late. These three are what screens call it.
pub const LATE_INTERVALS: i64 = 2;
/// The same from which on it is silent.
pub const STALE_INTERVALS: i64 = 4;
/// The same from which on it is dead.
pub const DEAD_INTERVALS: i64 = 24;

/// A source that was not listened to has so long to say something, microseconds, however rarely it is expected to.
pub const CHANCE_MAX: i64 = HOUR;

/// A version of the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// Its number.
    pub version: u32,
    /// Expected intervals without a success from which on a source is silent.
    pub silent_intervals: i64,
    /// The same from which on it is dead.
    pub dead_intervals: i64,
    /// A silence has so many minutes at least.
    pub minutes_min: i64,
}

/// What silences are judged by, by the time of their beginning.
pub type Versions = Timeline<Params>;

impl Default for Params {
    fn default() -> Self {
        let (silent_intervals, dead_intervals) = (STALE_INTERVALS, DEAD_INTERVALS);
        Self { version: STANDARD_VERSION, silent_intervals, dead_intervals, minutes_min: 0 }
    }
}

impl Params {
    /// So long after its last success a source is silent, microseconds; `expected` is its interval.
    fn silent_after(&self, expected: i64) -> i64 {
        self.silent_intervals.saturating_mul(expected).max(self.minutes_min * MINUTE)
    }

    /// How urgent a silence of a length is; none where it is not one.
    fn severity(&self, expected: i64, elapsed: i64) -> Option<Severity> {
        let silent = self.silent_after(expected);
        if elapsed < silent {
            None
        } else if elapsed < self.dead_intervals.saturating_mul(expected).max(silent) {
            Some(Severity::Medium)
        } else {
            Some(Severity::High)
        }
    }
}

/// What is said of a silence, in order: each of them once.
const RAISED: i64 = 0;
const WORSE: i64 = 1;
const OVER: i64 = 2;

/// What of a trouble is told already: the alert, the window it stands on, and how urgent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The alert.
    pub alert: AlertId,
    /// From the last success to the moment from which on it was silent.
    pub window: Window,
    /// As it was told last.
    pub severity: Severity,
}

/// What was told of a source's silences so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What stands.
    pub standing: Option<Standing>,
    /// Episodes of its group.
    pub episode: u32,
    /// Alerts of the newest of them.
    pub hits: u64,
}

/// How well a source could be heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hearing {
    /// When it last succeeded.
    pub last_success: Option<Ts>,
    /// Since when it is listened to: the engine knows where it stood, and it was not paused. None: it is not yet.
    pub since: Option<Ts>,
    /// When it was last asked, to the end, where it fetches.
    pub asked_at: Option<Ts>,
}

impl Hearing {
    /// Could it have said something by now? Whoever fetches has asked, or the time is over in which it should have.
    pub(crate) fn had_its_chance(&self, expected: i64, now: Ts) -> bool {
        let Some(since) = self.since else { return false };
        let is_asked = self.asked_at.is_some_and(|at| at >= since);
        is_asked || now.0.saturating_sub(since.0) >= (LATE_INTERVALS * expected).min(CHANCE_MAX)
    }
}

/// What has to be said of a source now, if anything. A source that never had a success counts from when it was made.
#[must_use]
pub fn judge(
    versions: &Versions,
    (source, operator_code): (&Source, &str),
    heard: Hearing,
    told: Told,
    now: Ts,
) -> Option<AlertRevision> {
    let expected = i64::from(source.expected_interval_seconds.max(1)) * SECOND;
    let since = heard.last_success.unwrap_or(source.created_at);
    let elapsed = now.0.saturating_sub(since.0);
    // what was told of is finished by the version that told of it
    let begun = told.standing.map_or(since, |standing| standing.window.start);
    let params = versions.at(begun).or_else(|| versions.at(since)).copied();
    // of one that is paused nobody expects anything
    let judging = versions.at(since).filter(|_| !source.paused);
    let severity = judging.and_then(|params| params.severity(expected, elapsed));
    let params = params.unwrap_or_default();
    let silent_after = params.silent_after(expected);
    // the time of a success that was read back is not to the microsecond the one that the silence was counted from
    let spoke = |standing: Standing| since >= standing.window.end;
    let (kind, severity, window, step) = match (told.standing, severity) {
        // it spoke and fell silent again before anybody looked: the first silence is over before the second begins
        (Some(told), _) if spoke(told) => (RevisionKind::Withdrawn, told.severity, told.window, OVER),
        (Some(told), None) => (RevisionKind::Withdrawn, told.severity, told.window, OVER),
        _ if !heard.had_its_chance(expected, now) => return None,
        (Some(told), Some(severity)) if severity > told.severity => {
            (RevisionKind::Corrected, severity, told.window, WORSE)
        }
        (Some(_), Some(_)) | (None, None) => return None,
        (None, Some(severity)) => {
            let window = Window { start: since, end: since.plus(silent_after) };
            (RevisionKind::Raised, severity, window, RAISED)
        }
    };
    let subject = Subject {
        operator: operator_code.to_owned(),
        metric: Metric::Silence,
        granularity: Granularity::Minute,
        currency: source.currency,
        source: Some(source.id),
        who: None,
    };
    let seconds = |micros: i64| micros / SECOND;
    let reason = match kind {
        RevisionKind::Withdrawn if source.paused && !told.standing.is_some_and(spoke) => {
            format!("the source {} is paused: nothing is expected of it", source.name)
        }
        RevisionKind::Withdrawn if !told.standing.is_some_and(spoke) => format!(
            "the source {} is expected every {} s by now, and is not late",
            source.name, source.expected_interval_seconds
        ),
        RevisionKind::Withdrawn => format!("the source {} speaks again", source.name),
        _ if heard.last_success.is_none() => format!("the source {} has never sent anything", source.name),
        _ => format!(
            "the source {} has sent nothing for {} s, and sends every {} s otherwise",
            source.name,
            seconds(now.0 - since.0),
            source.expected_interval_seconds
        ),
    };
    Some(AlertRevision {
        id: told.standing.map_or_else(|| next_id(params.version, &subject, window, told), |standing| standing.alert),
        rule: RULE.to_owned(),
        rule_version: params.version,
        operator_no: source.operator_no,
        subject,
        window,
        kind,
        severity,
        at: now,
        operator_seq: step,
        offset: 0,
        operator_offset: 0,
        evidence: Evidence {
            observed: seconds(now.0 - since.0),
            expected: source.expected_interval_seconds.into(),
            band_low: 0,
            band_high: seconds(silent_after),
            score_milli: (elapsed / expected).saturating_mul(1_000),
            threshold_milli: silent_after.saturating_mul(1_000) / expected,
            samples: 0,
            reasons: vec![reason],
            records: Vec::new(),
            ..Evidence::default()
        },
    })
}

/// An alert is raised once: a silence that comes again without a success in between, as after a pause, is another one.
fn next_id(version: u32, subject: &Subject, window: Window, told: Told) -> AlertId {
    let first = alert_id(RULE, version, subject, window);
    let text = format!("{}\0{}\0{}", first.0, told.episode, told.hits);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..16]);
    AlertId(u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ids::SourceId;

    fn source() -> Source {
        Source::for_tests()
    }

    /// What the standard version says.
    fn standard(source: &Source, code: &str, heard: Hearing, told: Told, now: Ts) -> Option<AlertRevision> {
        judge(&Timeline::always(Params::default()), (source, code), heard, told, now)
    }

    fn minute(n: i64) -> Ts {
        Ts(n * 60 * SECOND)
    }

    fn window(start: i64) -> Window {
        Window { start: minute(start), end: minute(start + 4) }
    }

    fn standing(start: i64, severity: Severity) -> Told {
        Told { standing: Some(Standing { alert: AlertId(7), window: window(start), severity }), episode: 1, hits: 1 }
    }

    /// Listened to from the beginning.
    fn heard(last: Option<i64>) -> Hearing {
        Hearing { last_success: last.map(minute), since: Some(Ts(0)), asked_at: None }
    }

    #[test]
    fn a_source_is_told_of_when_it_falls_silent_when_it_is_dead_and_when_it_speaks() {
        use RevisionKind::{Corrected, Raised, Withdrawn};
        use Severity::{High, Medium};
        // minute of the last success, minute that it is, what was told; what is said
        let none = Told::default();
        let table = [
            (Some(10), 13, none, None),
            (Some(10), 14, none, Some((Raised, Medium, 10))),
            (Some(10), 20, standing(10, Medium), None),
            (Some(10), 34, standing(10, Medium), Some((Corrected, High, 10))),
            (Some(10), 90, standing(10, High), None),
            (Some(91), 91, standing(10, High), Some((Withdrawn, High, 10))),
            (Some(91), 99, standing(10, High), Some((Withdrawn, High, 10))),
            (Some(91), 99, none, Some((Raised, Medium, 91))),
            (None, 3, none, None),
            (None, 4, none, Some((Raised, Medium, 0))),
            (None, 90, none, Some((Raised, High, 0))),
        ];
        for (last, now, told, said) in table {
            let got = standard(&source(), "safi", heard(last), told, minute(now));
            let got = got.map(|r| (r.kind, r.severity, r.window.start.0 / (60 * SECOND)));
            assert_eq!(got, said, "last {last:?} now {now}");
        }
        let over = standard(&source(), "safi", heard(Some(9)), standing(1, Medium), minute(9)).expect("its end");
        assert_eq!((over.id, over.operator_seq), (AlertId(7), 2), "of the alert that stands");
        let other = Source { id: SourceId(6), ..source() };
        let id = |source: &Source| standard(source, "safi", heard(Some(1)), none, minute(9)).map(|r| r.id);
        assert_ne!(id(&other), id(&source()));
    }

    #[test]
    fn nothing_is_held_against_a_source_that_nobody_has_listened_to() {
        use RevisionKind::{Corrected, Raised, Withdrawn};
        let (none, medium) = (Told::default(), standing(1, Severity::Medium));
        // expected interval, since when it is listened to, when it was asked, what was told; what is said in minute 200
        let table = [
            (60, None, None, none, None),
            (60, Some(199), None, none, None),
            (60, Some(198), None, none, Some(Raised)),
            (60, Some(199), Some(199), none, Some(Raised)),
            (60, Some(199), Some(150), none, None),
            // made worse no sooner, either; and what stands stands
            (60, None, None, medium, None),
            (60, Some(199), None, medium, None),
            (60, Some(198), None, medium, Some(Corrected)),
            // one that is expected every 49 minutes: an hour is enough
            (49 * 60, Some(141), None, none, None),
            (49 * 60, Some(140), None, none, Some(Raised)),
        ];
        for (n, (expected, since, asked, told, said)) in table.into_iter().enumerate() {
            let source = Source { expected_interval_seconds: expected, ..source() };
            let heard =
                Hearing { last_success: Some(minute(1)), since: since.map(minute), asked_at: asked.map(minute) };
            let got = standard(&source, "safi", heard, told, minute(200));
            assert_eq!(got.map(|r| r.kind), said, "row {n}");
        }
        // read back from the store, the last success is some microseconds later, or an interval earlier
        for (last, said) in [(1, None), (0, None), (200, Some(Withdrawn))] {
            let heard = Hearing { last_success: Some(minute(last).plus(5)), ..heard(None) };
            let got = standard(&source(), "safi", heard, standing(1, Severity::High), minute(201));
            assert_eq!(got.map(|r| r.kind), said, "last success in minute {last}");
        }
    }

    #[test]
    fn a_silence_that_goes_on_after_a_pause_is_another_alert() {
        let paused = Source { paused: true, ..source() };
        let first = standard(&source(), "safi", heard(Some(1)), Told::default(), minute(9)).expect("an alert");
        assert_eq!(standard(&paused, "safi", heard(Some(1)), Told::default(), minute(9)), None);
        let stands = Standing { alert: first.id, window: first.window, severity: first.severity };
        let told = Told { standing: Some(stands), episode: 1, hits: 1 };
        let over = standard(&paused, "safi", heard(Some(1)), told, minute(9)).expect("its end");
        assert_eq!((over.kind, over.id), (RevisionKind::Withdrawn, first.id));
        assert_eq!(over.evidence.reasons, ["the source bets is paused: nothing is expected of it"]);
        let spoke = standard(&paused, "safi", heard(Some(8)), told, minute(9)).expect("its end");
        assert_eq!(spoke.evidence.reasons, ["the source bets speaks again"]);
        let seldom = Source { expected_interval_seconds: 3_600, ..source() };
        let enough = standard(&seldom, "safi", heard(Some(1)), told, minute(9)).expect("its end");
        assert_eq!(enough.evidence.reasons, ["the source bets is expected every 3600 s by now, and is not late"]);
        let told = Told { standing: None, ..told };
        let again = standard(&source(), "safi", heard(Some(1)), told, minute(20)).expect("an alert");
        assert_eq!((again.kind, again.window), (RevisionKind::Raised, first.window));
        assert_ne!(again.id, first.id);
        let same = standard(&source(), "safi", heard(Some(1)), told, minute(21)).expect("an alert");
        assert_eq!(same.id, again.id, "whoever starts again says the same");
    }

    #[test]
    fn a_silence_is_judged_by_the_version_of_its_beginning() {
        use RevisionKind::{Corrected, Raised, Withdrawn};
        use Severity::{High, Medium};
        let version = |version, silent_intervals, minutes_min| Params {
            version,
            silent_intervals,
            dead_intervals: silent_intervals + 6,
            minutes_min,
        };
        // until minute 100 two intervals, until 200 an hour at least, then off, from 300 on eight intervals
        let versions = Timeline::new([
            (Ts(0), Some(minute(100)), version(1, 2, 0)),
            (minute(100), Some(minute(200)), version(2, 2, 60)),
            (minute(300), None, version(3, 8, 0)),
        ]);
        let told = |start: i64, end: i64, severity| {
            let window = Window { start: minute(start), end: minute(end) };
            Told { standing: Some(Standing { alert: AlertId(7), window, severity }), episode: 1, hits: 1 }
        };
        let none = Told::default();
        // last success, now, what was told; kind, severity, version, end of the window
        let table = [
            (10, 11, none, None),
            (10, 12, none, Some((Raised, Medium, 1, 12))),
            (10, 18, none, Some((Raised, High, 1, 12))),
            (99, 101, none, Some((Raised, Medium, 1, 101))),
            (99, 107, told(99, 101, Medium), Some((Corrected, High, 1, 101))),
            // it spoke after the next version had begun: the end is told of by the one that told of the beginning
            (120, 121, told(99, 101, High), Some((Withdrawn, High, 1, 101))),
            (120, 179, none, None),
            (120, 180, none, Some((Raised, High, 2, 180))),
            (210, 290, none, None),
            (210, 999, none, None),
            (251, 252, told(190, 250, High), Some((Withdrawn, High, 2, 250))),
            (310, 317, none, None),
            (310, 318, none, Some((Raised, Medium, 3, 318))),
        ];
        for (last, now, told, expected) in table {
            let said = judge(&versions, (&source(), "safi"), heard(Some(last)), told, minute(now));
            let said = said.map(|r| (r.kind, r.severity, r.rule_version, r.window.end.0 / (60 * SECOND)));
            assert_eq!(said, expected, "last success {last}, now {now}");
        }
        let evidence =
            judge(&versions, (&source(), "safi"), heard(Some(120)), none, minute(180)).expect("an alert").evidence;
        assert_eq!((evidence.band_high, evidence.threshold_milli, evidence.score_milli), (3_600, 60_000, 60_000));
    }
}
