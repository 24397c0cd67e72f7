//! Feeds: are they whole, do they come in time, and how much of them is refused?
//!
//! Silences are measured by the formula itself ([`super::silences`]); of the time before they were, and of broken chains, the
//! alerts tell that stood.

use crate::compliance::{Measure, ONE, share};
use models::alert::{AlertRevision, RevisionKind, Window};
use models::feed::{Silence, Source};
use models::ids::{AlertId, SourceId};
use models::ts::{SECOND, Ts};
use std::collections::BTreeMap;

/// What of a source is counted in the store over the span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records declared, over the days that were.
    pub declared: i64,
    /// Those of them that are stored.
    pub declared_stored: i64,
    /// Batches that carried a number of the operator's.
    pub numbered: i64,
    /// Numbers that did not come by the end of the span.
    pub numbers_missing: i64,
    /// Records that came, whatever became of them.
    pub sent: i64,
    /// Those that were refused.
    pub quarantined: i64,
}

/// A source over the span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceFacts {
    /// Of an authority, a tax office or a bank: nobody can say how many of these a day has.
    pub is_documents: bool,
    /// Time in which it was there, microseconds.
    pub time: i64,
    /// Time in which it was silent.
    pub silent: i64,
    /// Days on which it was there.
    pub days: i64,
    /// Days through which it was silent.
    pub missing_days: i64,
    /// Days on which its chain of tokens stood broken.
    pub broken_days: i64,
    /// What the store counts.
    pub counts: Counts,
}

/// What is known of a source's silences.
#[derive(Clone, Copy, Debug)]
pub struct Silences<'a> {
    /// From when on they were measured.
    pub since: Ts,
    /// Those of the source that were.
    pub measured: &'a [Silence],
    /// The revisions of the alerts `feed_silent` in their order, of this source and others: for the time before.
    pub told: &'a [AlertRevision],
}

impl Silences<'_> {
    fn of(&self, source: SourceId) -> Vec<(Ts, Ts)> {
        // the first expected interval behind the last success is no silence
        let begin = |alert: &AlertRevision| alert.window.start.plus(alert.evidence.expected.max(0) * SECOND);
        let before = troubles(self.told, source, begin).into_iter().filter(|(start, _)| *start < self.since);
        let mut spans: Vec<(Ts, Ts)> = before.map(|(start, end)| (start, end.min(self.since))).collect();
        spans.extend(self.measured.iter().map(|silence| (silence.from, silence.to.unwrap_or(Ts(i64::MAX)))));
        apart(spans)
    }
}

/// Times from one to another, apart from one another, ascending; without an end: until now.
fn troubles(revisions: &[AlertRevision], source: SourceId, begin: impl Fn(&AlertRevision) -> Ts) -> Vec<(Ts, Ts)> {
    let mut spans: BTreeMap<AlertId, (Ts, Ts)> = BTreeMap::new();
    for revision in revisions.iter().filter(|revision| revision.subject.source == Some(source)) {
        match revision.kind {
            RevisionKind::Raised => {
                spans.insert(revision.id, (begin(revision), Ts(i64::MAX)));
            }
            RevisionKind::Withdrawn => {
                if let Some(span) = spans.get_mut(&revision.id) {
                    span.1 = revision.at;
                }
            }
            RevisionKind::Corrected => {}
        }
    }
    apart(spans.into_values().collect())
}

/// The same times, none of them twice.
fn apart(mut spans: Vec<(Ts, Ts)>) -> Vec<(Ts, Ts)> {
    spans.sort_unstable();
    let mut apart: Vec<(Ts, Ts)> = Vec::new();
    for (start, end) in spans {
        match apart.last_mut().filter(|last| start <= last.1) {
            Some(last) => last.1 = last.1.max(end),
            None => apart.push((start, end)),
        }
    }
    apart
}

/// How much of a span they cover, microseconds.
fn covered(troubles: &[(Ts, Ts)], span: Window) -> i64 {
    troubles.iter().map(|(start, end)| end.min(&span.end).0.saturating_sub(start.max(&span.start).0).max(0)).sum()
}

impl SourceFacts {
    /// A source over `days`, one behind the other. `breaks` are the revisions of the alerts `feed_tampered` in their order,
    /// of this source and others.
    #[must_use]
    pub fn of(
        source: &Source,
        days: &[Window],
        silences: Silences<'_>,
        breaks: &[AlertRevision],
        counts: Counts,
    ) -> Option<Self> {
        let (first, last) = (days.first()?, days.last()?);
        let span = Window { start: first.start.max(source.created_at), end: last.end };
        if span.start >= span.end {
            return None;
        }
        let silences = silences.of(source.id);
        let breaks = troubles(breaks, source.id, |alert| alert.at);
        let there: Vec<Window> = days.iter().copied().filter(|day| day.end > source.created_at).collect();
        let count = |of: &dyn Fn(&Window) -> bool| there.iter().filter(|day| of(day)).count() as i64;
        Some(Self {
            is_documents: source.class.data().is_documents(),
            time: span.end.0 - span.start.0,
            silent: covered(&silences, span),
            days: there.len() as i64,
            missing_days: count(&|day| covered(&silences, *day) == day.end.0 - day.start.0),
            broken_days: count(&|day| covered(&breaks, *day) > 0),
            counts,
        })
    }
}

/// Every feed of an operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feeds {
    /// Those that were there in the span.
    pub sources: Vec<SourceFacts>,
}

impl Feeds {
    fn sum(&self, of: impl Fn(&SourceFacts) -> i64) -> i64 {
        self.sources.iter().map(of).fold(0, i64::saturating_add)
    }

    fn sum_of_play(&self, of: impl Fn(&SourceFacts) -> i64) -> i64 {
        self.sources.iter().filter(|source| !source.is_documents).map(of).fold(0, i64::saturating_add)
    }

    pub(super) fn completeness(&self) -> Measure {
        let (days, missing) = (self.sum_of_play(|s| s.days), self.sum_of_play(|s| s.missing_days));
        let broken = self.sum_of_play(|s| s.broken_days);
        let (declared, stored) =
            (self.sum_of_play(|s| s.counts.declared), self.sum_of_play(|s| s.counts.declared_stored));
        let (came, lost) = (self.sum_of_play(|s| s.counts.numbered), self.sum_of_play(|s| s.counts.numbers_missing));
        let shares = [
            share(days - missing, days),
            share(stored, declared),
            share(came, came + lost),
            share(days - broken, days),
        ];
        Measure {
            value: (days > 0).then(|| shares.into_iter().fold(ONE, |whole, part| whole * part / ONE)),
            figures: vec![
                ("feed_days", days),
                ("missing_days", missing),
                ("declared_records", declared),
                ("declared_stored", stored),
                ("numbered_batches", came),
                ("missing_numbers", lost),
                ("broken_chain_days", broken),
            ],
        }
    }

    pub(super) fn freshness(&self) -> Measure {
        // whole seconds: thirty days of a thousand feeds
        let (time, silent) = (self.sum(|s| s.time / SECOND), self.sum(|s| s.silent / SECOND));
        Measure {
            value: (time > 0).then(|| share(time - silent, time)),
            figures: vec![("feeds", self.sources.len() as i64), ("seconds", time), ("silent_seconds", silent)],
        }
    }

    pub(super) fn quarantine(&self) -> Measure {
        let (sent, refused) = (self.sum(|s| s.counts.sent), self.sum(|s| s.counts.quarantined));
        Measure {
            // the share that was not refused is rounded down, so this one is rounded up
            value: (sent > 0).then(|| ONE - share(sent - refused, sent)),
            figures: vec![("records_sent", sent), ("records_quarantined", refused)],
        }
    }
}
