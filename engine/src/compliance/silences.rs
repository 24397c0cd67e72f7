//! When a source was silent, by the formula's own measure: what the rule `feed_silent` is set to, or whether it is on at all,
//! changes no score, and scores of two jurisdictions compare.
//!
//! Nothing is held against a source while nobody listened, or while it was paused. A push or a fetch without news is a
//! success, which no batch tells of: so silences are measured while they last, and kept.

use crate::silence::Hearing;
use models::feed::{Silence, Source};
use models::ts::{SECOND, Ts};

/// Expected intervals without a success from which on a source is silent.
pub const SILENT_INTERVALS: i64 = 4;

/// What is to be kept of a source's silences now, if anything; `standing` is the beginning of the one that lasts. The first
/// expected interval behind the last success is part of none.
#[must_use]
pub fn measure(source: &Source, heard: Hearing, standing: Option<Ts>, now: Ts) -> Option<Silence> {
    let expected = i64::from(source.expected_interval_seconds.max(1)) * SECOND;
    let last = heard.last_success.unwrap_or(source.created_at);
    let is_silent = !source.paused && now.0.saturating_sub(last.0) >= SILENT_INTERVALS * expected;
    match standing {
        // also where it spoke and fell silent again before anybody looked: that one is another
        Some(from) if last >= from => Some(Silence { from, to: Some(last) }),
        Some(from) if !is_silent => Some(Silence { from, to: Some(now.max(from)) }),
        None if is_silent && heard.had_its_chance(expected, now) => {
            let listened = heard.since.unwrap_or(now);
            Some(Silence { from: last.plus(expected).max(listened), to: None })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ts::MINUTE;

    #[test]
    fn a_silence_is_measured_by_what_the_source_did() {
        let minute = |n: i64| Ts(n * MINUTE);
        let table = [
            // last success, listened to since, paused, the one that lasts; what is kept in minute 100
            ("three intervals", Some(97), Some(0), false, None, None),
            ("four", Some(96), Some(0), false, None, Some((97, None))),
            ("never spoke", None, Some(0), false, None, Some((1, None))),
            ("nobody listens yet", Some(10), None, false, None, None),
            ("nobody listened for long enough", Some(10), Some(99), false, None, None),
            ("it is silent from when somebody listened on", Some(10), Some(98), false, None, Some((98, None))),
            ("of a paused one nothing is expected", Some(10), Some(0), true, None, None),
            ("it lasts", Some(10), Some(0), false, Some(11), None),
            ("it lasts over a start", Some(10), None, false, Some(11), None),
            ("it spoke", Some(98), Some(0), false, Some(11), Some((11, Some(98)))),
            ("it spoke, and is silent again", Some(90), Some(0), false, Some(11), Some((11, Some(90)))),
            ("it was paused", Some(10), Some(0), true, Some(11), Some((11, Some(100)))),
            ("read back, the last success is an interval earlier", Some(9), Some(0), false, Some(11), None),
        ];
        for (what, last, since, paused, standing, kept) in table {
            let source = Source { created_at: Ts(0), paused, ..Source::for_tests() };
            assert_eq!(source.expected_interval_seconds, 60);
            let heard = Hearing { last_success: last.map(minute), since: since.map(minute), asked_at: None };
            let got = measure(&source, heard, standing.map(minute), minute(100));
            let kept = kept.map(|(from, to): (i64, Option<i64>)| Silence { from: minute(from), to: to.map(minute) });
            assert_eq!(got, kept, "{what}");
        }
    }

    #[test]
    fn a_source_that_is_expected_more_rarely_by_now_is_silent_no_more() {
        let source = Source { expected_interval_seconds: 3_600, created_at: Ts(0), ..Source::for_tests() };
        let heard = Hearing { last_success: Some(Ts(MINUTE)), since: Some(Ts(0)), asked_at: None };
        let over = measure(&source, heard, Some(Ts(2 * MINUTE)), Ts(9 * MINUTE));
        assert_eq!(over, Some(Silence { from: Ts(2 * MINUTE), to: Some(Ts(9 * MINUTE)) }));
    }
}
