//! Which version of the detector's parameters judges which window.
//!
//! A window is judged by what is live at its start. What is over never changes in a set of rules, so a set that is new
//! judges the windows of before as the old one did; only where a window lay ahead of the clock when the set changed is
//! there another version for it. What was said of such a window is taken back, and it is judged anew.

use super::judge::{Looked, Place};
use super::{Effects, OperatorState, Standing, Step};
use crate::detector::Params;
use crate::rules::timeline::Timeline;
use models::alert::RevisionKind;
use models::ids::AlertId;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Versions of the detector's parameters, by the start of a window.
pub type Deviations = Timeline<Params>;

impl OperatorState {
    /// From the next input on windows are judged by these.
    pub fn go_by(&mut self, versions: &Arc<Deviations>) {
        if Arc::ptr_eq(&self.versions, versions) {
            return;
        }
        let before = std::mem::replace(&mut self.versions, Arc::clone(versions));
        if *before != **versions && self.versions_before.is_none() {
            self.versions_before = Some(before);
        }
    }

    /// The same state, judging by the versions that it was made with: of one that was kept.
    #[must_use]
    pub fn judging_by(self, versions: Arc<Deviations>) -> Self {
        Self { versions, versions_before: None, ..self }
    }

    /// Takes back what stands on a window that has another version since the last input, and judges it anew.
    pub(super) fn judge_by_new_versions(&mut self, step: &Step, effects: &mut Effects) {
        let Some(before) = self.versions_before.take() else { return };
        let number = |versions: &Deviations, at| versions.at(at).map(|params| params.version);
        let is_orphan = |(_, standing): &(&AlertId, &Standing)| {
            let start = standing.window.start;
            standing.stands() && number(&before, start) != number(&self.versions, start)
        };
        let orphans: Vec<(AlertId, Standing)> =
            self.alerts.iter().filter(is_orphan).map(|(id, standing)| (*id, standing.clone())).collect();
        let mut again = BTreeSet::new();
        for (id, standing) in orphans {
            let Standing { currency, granularity, window, metric, observed, .. } = standing;
            let Some(params) = before.at(window.start).copied() else { continue };
            again.insert((currency, granularity, window));
            again.extend(standing.followers.iter().map(|(granularity, window)| (currency, *granularity, *window)));
            let looked = Looked::of_another_version(metric, id, observed, params);
            self.revise(step, Place { currency, granularity, window }, looked, RevisionKind::Withdrawn, effects);
        }
        for (currency, granularity, window) in again {
            self.judge_anew(step, Place { currency, granularity, window }, effects);
        }
    }
}
