//! Alert history: what people judged, not what rules said; and how much of it nobody judged.

use crate::compliance::{Measure, counted};
use crate::rules::disclosure::is_open;
use models::alert::{Severity, Window};
use models::alert_group::{ActionKind, AlertActed, AlertGroup, GroupState, Resolution};
use models::compliance::OPEN;
use models::ids::{GroupId, OperatorNo};
use models::ts::Ts;
use std::collections::{BTreeMap, BTreeSet};

/// Groups of a span: those that were confirmed, by severity, and those that stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confirmed {
    /// Confirmed ones of this severity.
    pub low: u64,
    /// The same.
    pub medium: u64,
    /// The same.
    pub high: u64,
    /// The same.
    pub critical: u64,
    /// Groups that stood in the span, or were judged in it.
    pub raised: u64,
    /// Those of them that nobody judged in it.
    pub unjudged: u64,
    /// Those of these that are not over.
    pub open: u64,
    /// Does more stand in the store than was read?
    pub is_cut: bool,
}

/// What is stored of an operator's groups.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What people did with them, in its order, from the beginning of the span or earlier to now.
    pub acts: Vec<AlertActed>,
    /// Groups as they are now that were hit in the span or later.
    pub groups: Vec<AlertGroup>,
    /// Does more stand in the store than was read?
    pub is_cut: bool,
}

/// How an episode of a group was judged last.
#[derive(Clone, Copy)]
struct Judged {
    at: Ts,
    /// A person said what it was, and did not take that back.
    is_judged: bool,
    /// It was confirmed.
    confirmed: Option<Severity>,
}

/// What a confirmed group of a severity costs.
#[must_use]
pub fn points(severity: Severity) -> i64 {
    match severity {
        Severity::Low => 1,
        Severity::Medium => 3,
        Severity::High => 8,
        Severity::Critical => 20,
    }
}

impl Confirmed {
    /// Groups about an operator's duties and figures that stood in a span, and those that were resolved as confirmed in it
    /// and not opened again since: that a player is suspected of something, and rightly so, is nothing that their operator
    /// did. An episode counts once.
    ///
    /// The desk remembers the newest episode of a group alone: of one that began behind the span after others it is taken
    /// that the others stood in it.
    #[must_use]
    pub fn of(history: &History, operator_no: OperatorNo, span: Window) -> Self {
        let is_own =
            |group: &AlertGroup| group.operator_no == operator_no && is_open(group.subject.metric, &group.rule);
        let mut last: BTreeMap<(GroupId, u32), Judged> = BTreeMap::new();
        for act in history.acts.iter().filter(|act| is_own(&act.group)) {
            let (is_judged, is_confirmed) = match act.action {
                ActionKind::Resolve => (true, act.group.resolution == Some(Resolution::Confirmed)),
                ActionKind::Reopen => (false, false),
                ActionKind::Acknowledge | ActionKind::Snooze => continue,
            };
            let confirmed = is_confirmed.then_some(act.group.severity);
            last.insert((act.group.id, act.group.episode), Judged { at: act.act.at, is_judged, confirmed });
        }
        let is_within = |judged: &Judged| judged.is_judged && (span.start..span.end).contains(&judged.at);
        let mut counts = Self { is_cut: history.is_cut, ..Self::default() };
        let mut judged: BTreeSet<GroupId> = BTreeSet::new();
        for ((group, _), how) in last.into_iter().filter(|(_, how)| is_within(how)) {
            judged.insert(group);
            match how.confirmed {
                Some(Severity::Low) => counts.low += 1,
                Some(Severity::Medium) => counts.medium += 1,
                Some(Severity::High) => counts.high += 1,
                Some(Severity::Critical) => counts.critical += 1,
                None => {}
            }
        }
        counts.raised = judged.len() as u64;
        let stood = |group: &&AlertGroup| {
            is_own(group) && group.last_at >= span.start && (group.first_at < span.end || group.episode > 1)
        };
        for group in history.groups.iter().filter(stood).filter(|group| !judged.contains(&group.id)) {
            counts.raised += 1;
            counts.unjudged += 1;
            counts.open += u64::from(group.state != GroupState::Resolved);
        }
        counts
    }

    fn by_severity(&self) -> [(Severity, &'static str, i64); 4] {
        [
            (Severity::Low, "low", counted(self.low)),
            (Severity::Medium, "medium", counted(self.medium)),
            (Severity::High, "high", counted(self.high)),
            (Severity::Critical, "critical", counted(self.critical)),
        ]
    }

    /// Nothing is measured where nobody watched, and where groups stood and nobody said of any what it was: a desk that
    /// judges nothing gives nobody full marks.
    pub(super) fn measure(&self, is_watched: bool) -> Measure {
        let counts = self.by_severity();
        let sum =
            counts.iter().fold(0i64, |sum, (severity, _, n)| sum.saturating_add(n.saturating_mul(points(*severity))));
        let is_judged = self.raised == 0 || self.unjudged < self.raised;
        let mut figures: Vec<(&'static str, i64)> = counts.map(|(_, name, count)| (name, count)).into();
        figures.extend([
            ("raised", counted(self.raised)),
            ("unjudged", counted(self.unjudged)),
            (OPEN, counted(self.open)),
        ]);
        figures.extend(self.is_cut.then_some(("history_cut", 1)));
        Measure { value: (is_watched && is_judged).then_some(sum), figures }
    }
}
