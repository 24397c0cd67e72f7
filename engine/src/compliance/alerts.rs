//! Alert history: what people judged, not what rules said.

use crate::compliance::{Measure, counted};
use crate::rules::disclosure::is_open;
use models::alert::{Severity, Window};
use models::alert_group::{ActionKind, AlertActed, AlertGroup, Resolution};
use models::ids::{GroupId, OperatorNo};
use models::ts::Ts;
use std::collections::BTreeMap;

/// Confirmed groups of a span, by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Confirmed {
    pub low: u64,
    pub medium: u64,
    pub high: u64,
    pub critical: u64,
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
    /// Groups about an operator's duties and figures that were resolved as confirmed in a span, and not opened again since:
    /// that a player is suspected of something, and rightly so, is nothing that their operator did. `acts` are in their
    /// order, from the beginning of the span to now; an episode counts once.
    #[must_use]
    pub fn of(acts: &[AlertActed], operator_no: OperatorNo, span: Window) -> Self {
        let mut last: BTreeMap<(GroupId, u32), (Ts, Option<Severity>)> = BTreeMap::new();
        let is_own = |group: &AlertGroup| is_open(group.subject.metric, &group.rule);
        for act in acts.iter().filter(|act| act.group.operator_no == operator_no && is_own(&act.group)) {
            let is_confirmed = act.group.resolution == Some(Resolution::Confirmed);
            let judged = match act.action {
                ActionKind::Resolve => is_confirmed.then_some(act.group.severity),
                ActionKind::Reopen => None,
                ActionKind::Acknowledge | ActionKind::Snooze => continue,
            };
            last.insert((act.group.id, act.group.episode), (act.act.at, judged));
        }
        let mut counts = Self::default();
        for (at, severity) in last.into_values() {
            let Some(severity) = severity.filter(|_| (span.start..span.end).contains(&at)) else { continue };
            match severity {
                Severity::Low => counts.low += 1,
                Severity::Medium => counts.medium += 1,
                Severity::High => counts.high += 1,
                Severity::Critical => counts.critical += 1,
            }
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

    pub(super) fn measure(&self, is_watched: bool) -> Measure {
        let counts = self.by_severity();
        let sum =
            counts.iter().fold(0i64, |sum, (severity, _, n)| sum.saturating_add(n.saturating_mul(points(*severity))));
        let figures = counts.map(|(_, name, count)| (name, count)).into();
        Measure { value: is_watched.then_some(sum), figures }
    }
}
