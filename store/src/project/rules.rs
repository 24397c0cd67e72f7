//! Changes of rules, with their place in the journal.

use super::tables::RULE_CHANGES;
use super::{Gathered, body};
use crate::db::Val;
use crate::journal::JournalRow;
use models::event::Event;

/// The row of a change; of other events none.
pub(super) fn change<'a>(rows: &mut Gathered<'a>, row: &'a JournalRow) {
    let Event::RuleChanged(changed) = &row.committed.event else { return };
    rows.add(
        &RULE_CHANGES,
        [
            Val::Int(changed.jurisdiction.0.into()),
            Val::Text(&changed.rule),
            Val::Int(changed.change),
            Val::Int(row.committed.seq),
            body(changed),
        ],
    );
}
