//! By which set of rules a market's inputs are judged.
//!
//! Sets change in the journal, and inputs do not name them. So the market says behind which input it took a new one, in an
//! event of its own, before it judges the next input by it: whoever applies the inputs again reads the same.

use super::{Market, MarketContext, SetAside};
use crate::directory::Directory;
use crate::kernel::Progress;
use engine::operator_state::{Deviations, OperatorState};
use models::event::Event;
use models::ids::{OperatorNo, Seq};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sets by the input behind which they were taken. Before the first of them the standard one judges.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RulesTaken(BTreeMap<i64, Seq>);

impl RulesTaken {
    /// As they are stored: behind which input, and the event that made the set.
    pub fn new(rows: impl IntoIterator<Item = (i64, Seq)>) -> Self {
        Self(rows.into_iter().collect())
    }

    /// The event that made the set by which an input is judged; 0 = the standard one.
    #[must_use]
    pub fn of(&self, operator_seq: i64) -> Seq {
        self.0.range(..operator_seq).next_back().map_or(0, |(_, seq)| *seq)
    }

    /// The same of the newest input at or before one that was not set aside whole: that of a state that stands behind it.
    pub(super) fn behind(&self, applied: i64, set_aside: &SetAside) -> Seq {
        let is_whole = |seq: &i64| set_aside.get(seq).is_some_and(Vec::is_empty);
        let newest = (1..=applied).rev().find(|seq| !is_whole(seq));
        newest.map_or(0, |seq| self.of(seq))
    }
}

/// What windows of an operator are judged by, as it was behind an event.
pub(super) fn deviations(directory: &Directory, operator: OperatorNo, rules_seq: Seq) -> Option<Arc<Deviations>> {
    let jurisdiction = directory.jurisdiction_of(operator)?;
    Some(Arc::clone(directory.rules_as_of(jurisdiction, rules_seq).deviations()))
}

/// A state that was kept behind an input, with the versions that it had.
pub(super) fn as_it_judged(
    state: OperatorState,
    (operator, applied): (OperatorNo, i64),
    (taken, set_aside): (&RulesTaken, &SetAside),
    context: &MarketContext,
) -> OperatorState {
    let rules_seq = taken.behind(applied, set_aside);
    match deviations(&context.directory.load(), operator, rules_seq) {
        Some(versions) => state.judging_by(versions),
        None => state,
    }
}

impl Market {
    /// The state judges an input by the set that was taken for it.
    pub(super) fn go_by(&mut self, operator_seq: i64) {
        let directory = self.context.directory.load();
        if let Some(versions) = deviations(&directory, self.operator, self.rules.of(operator_seq)) {
            self.state.go_by(&versions);
        }
    }

    /// Takes a set that is new, durably, before the next input. One that says the same of windows is none.
    pub(super) async fn take_rules(&mut self, progress: &Progress) {
        let directory = self.context.directory.load_full();
        let Some(jurisdiction) = directory.jurisdiction_of(self.operator) else { return };
        let (rules_seq, set) = directory.rules(jurisdiction);
        let newest = set.deviations();
        if self.judged_by.as_ref().is_some_and(|known| Arc::ptr_eq(known, newest)) {
            return;
        }
        let known = deviations(&directory, self.operator, self.rules.of(i64::MAX));
        if known.is_none_or(|known| known != *newest) {
            let (operator_no, behind, at) = (self.operator, self.applied, self.context.clock.now());
            tracing::info!(operator_no = operator_no.0, behind, rules_seq, "windows are judged by other versions");
            let taken = Event::OperatorRulesTaken { operator_no, behind, rules_seq, at };
            self.commit_surely(vec![taken], progress).await;
            self.rules.0.insert(behind, rules_seq);
        }
        self.judged_by = Some(Arc::clone(newest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_judged_by_the_set_that_was_taken_before_it() {
        let taken = RulesTaken::new([(0, 7), (5, 9), (6, 12)]);
        let table = [(1, 7), (5, 7), (6, 9), (7, 12), (99, 12), (i64::MAX, 12)];
        for (operator_seq, expected) in table {
            assert_eq!(taken.of(operator_seq), expected, "input {operator_seq}");
        }
        assert_eq!(RulesTaken::default().of(3), 0);
        // a state has the set of the last input that it really applied
        let set_aside = SetAside::from([(6, Vec::new()), (5, vec![1])]);
        for (applied, expected) in [(0, 0), (4, 7), (5, 7), (6, 7), (7, 12)] {
            assert_eq!(taken.behind(applied, &set_aside), expected, "behind {applied}");
        }
        assert_eq!(RulesTaken::new([(2, 4)]).behind(2, &SetAside::default()), 0);
    }
}
