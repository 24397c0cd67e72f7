//! The alert on a feed that fell silent: raised, made worse and withdrawn by the clock and the source's last success alone.

use crate::operator_state::alert_id;
use models::alert::{AlertRevision, Evidence, Granularity, Metric, RevisionKind, Severity, Subject, Window};
use models::feed::Source;
use models::ts::{SECOND, Ts};

/// Name of the rule.
pub const RULE: &str = "feed_silent";
/// Version of the rule.
pub const VERSION: u32 = 1;
/// Expected intervals without a success from which on a source is late.
pub const LATE_INTERVALS: i64 = 2;
/// The same from which on it is silent.
pub const STALE_INTERVALS: i64 = 4;
/// The same from which on it is dead.
pub const DEAD_INTERVALS: i64 = 24;

/// What is said of a silence, in order: each of them once.
const RAISED: i64 = 0;
const WORSE: i64 = 1;
const OVER: i64 = 2;

/// What of a silent source is told already: the window its alert stands on, and how urgent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// From the last success to the moment from which on it was silent.
    pub window: Window,
    /// As it was told last.
    pub severity: Severity,
}

/// What has to be said of a source now, if anything. A source that never had a success counts from when it was made.
#[must_use]
pub fn judge(
    source: &Source,
    operator_code: &str,
    last_success: Option<Ts>,
    standing: Option<Standing>,
    now: Ts,
) -> Option<AlertRevision> {
    let expected = i64::from(source.expected_interval_seconds.max(1)) * SECOND;
    let since = last_success.unwrap_or(source.created_at);
    let intervals = now.0.saturating_sub(since.0) / expected;
    let severity = match intervals {
        // nobody expects anything of it
        _ if source.paused => None,
        ..STALE_INTERVALS => None,
        STALE_INTERVALS..DEAD_INTERVALS => Some(Severity::Medium),
        _ => Some(Severity::High),
    };
    let window = Window { start: since, end: since.plus(STALE_INTERVALS * expected) };
    let (kind, severity, window, step) = match (standing, severity) {
        // it spoke and fell silent again before anybody looked: the first silence is over before the second begins
        (Some(told), _) if told.window.start != since => (RevisionKind::Withdrawn, told.severity, told.window, OVER),
        (Some(told), None) => (RevisionKind::Withdrawn, told.severity, told.window, OVER),
        (Some(told), Some(severity)) if severity > told.severity => {
            (RevisionKind::Corrected, severity, told.window, WORSE)
        }
        (Some(_), Some(_)) | (None, None) => return None,
        (None, Some(severity)) => (RevisionKind::Raised, severity, window, RAISED),
    };
    let subject = Subject {
        operator: operator_code.to_owned(),
        metric: Metric::Silence,
        granularity: Granularity::Minute,
        currency: source.currency,
        source: Some(source.id),
    };
    let seconds = |micros: i64| micros / SECOND;
    let reason = match kind {
        RevisionKind::Withdrawn => format!("the source {} speaks again", source.name),
        _ if last_success.is_none() => format!("the source {} has never sent anything", source.name),
        _ => format!(
            "the source {} has sent nothing for {} s, and sends every {} s otherwise",
            source.name,
            seconds(now.0 - since.0),
            source.expected_interval_seconds
        ),
    };
    Some(AlertRevision {
        id: alert_id(RULE, VERSION, &subject, window),
        rule: RULE.to_owned(),
        rule_version: VERSION,
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
            band_high: seconds(STALE_INTERVALS * expected),
            score_milli: intervals.saturating_mul(1_000),
            threshold_milli: STALE_INTERVALS * 1_000,
            samples: 0,
            reasons: vec![reason],
            records: Vec::new(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ids::SourceId;

    #[test]
    fn a_source_is_told_of_when_it_falls_silent_when_it_is_dead_and_when_it_speaks() {
        let source = Source::for_tests();
        // seconds of the last success (-1: none), now, what was told; what is said
        let minute = |n: i64| Ts(n * 60 * SECOND);
        let window = |start: i64| Window { start: minute(start), end: minute(start + 4) };
        let told = |start: i64, severity| Some(Standing { window: window(start), severity });
        use RevisionKind::{Corrected, Raised, Withdrawn};
        use Severity::{High, Medium};
        let table = [
            (Some(10), 13, None, None),
            (Some(10), 14, None, Some((Raised, Medium, 10))),
            (Some(10), 20, told(10, Medium), None),
            (Some(10), 34, told(10, Medium), Some((Corrected, High, 10))),
            (Some(10), 90, told(10, High), None),
            (Some(91), 91, told(10, High), Some((Withdrawn, High, 10))),
            (Some(91), 99, told(10, High), Some((Withdrawn, High, 10))),
            (Some(91), 99, None, Some((Raised, Medium, 91))),
            (None, 3, None, None),
            (None, 4, None, Some((Raised, Medium, 0))),
            (None, 90, None, Some((Raised, High, 0))),
        ];
        for (last, now, standing, said) in table {
            let got = judge(&source, "safi", last.map(minute), standing, minute(now));
            let got = got.map(|r| (r.kind, r.severity, r.window.start.0 / (60 * SECOND)));
            assert_eq!(got, said, "last {last:?} now {now}");
        }
        let raised = judge(&source, "safi", Some(minute(1)), None, minute(9)).expect("an alert");
        let over = judge(&source, "safi", Some(minute(9)), told(1, Medium), minute(9)).expect("its end");
        assert_eq!((raised.id, raised.operator_seq, over.operator_seq), (over.id, 0, 2));
        let paused = Source { paused: true, ..source.clone() };
        let said = |standing| judge(&paused, "safi", Some(minute(1)), standing, minute(9)).map(|r| r.kind);
        assert_eq!((said(None), said(told(1, Medium))), (None, Some(Withdrawn)));
        let other = Source { id: SourceId(6), ..source };
        assert_ne!(judge(&other, "safi", Some(minute(1)), None, minute(9)).map(|r| r.id), Some(raised.id));
    }
}
