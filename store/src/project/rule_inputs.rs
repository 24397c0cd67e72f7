//! What rules hear and what they found.

use super::tables::{PLAYER_RISK, RULE_FINDINGS, RULE_INPUTS, SERIES_SCORED};
use super::{Gathered, Val, body};
use crate::db::Conn;
use crate::journal::JournalRow;
use crate::writer::{Attachment, RuleBatch, RuleFindingRow};
use models::event::Event;
use models::rule_input::{RuleInput, RuleInputStored};
use models::score::PlayersScored;

/// Inserts the inputs of rules among journal rows, with what was known of their batches.
pub async fn rule_inputs(
    conn: &mut Conn,
    journal: &[JournalRow],
    attachments: &[&Attachment],
) -> Result<(), sqlx::Error> {
    let batches: Vec<&RuleBatch> = attachments.iter().filter_map(|attachment| attachment.rule_batch()).collect();
    let mut rows = Gathered::default();
    for row in journal {
        let Event::RuleInputStored(stored) = &row.committed.event else { continue };
        let operator_seq = stored.input.operator_seq();
        let of =
            |batch: &&&RuleBatch| batch.operator_no == stored.operator_no && Some(batch.operator_seq) == operator_seq;
        let facts = batches.iter().find(of).and_then(|batch| batch.facts.as_ref());
        rows.add(
            &RULE_INPUTS,
            [
                Val::Int(stored.operator_no.0.into()),
                Val::Int(stored.input_seq),
                Val::Int(row.committed.seq),
                Val::Int(stored.jurisdiction.0.into()),
                Val::Int(stored.rules_seq),
                Val::IntOpt(operator_seq),
                body(&stored.input),
                Val::BytesOpt(facts.map(|facts| facts.to_vec())),
            ],
        );
        match &stored.input {
            RuleInput::Series(scored) => {
                let operator_no = Val::Int(stored.operator_no.0.into());
                rows.add(&SERIES_SCORED, [operator_no, Val::Int(scored.operator_seq), Val::Int(stored.input_seq)]);
            }
            RuleInput::PlayersScored(scored) => players(&mut rows, stored, scored),
            _ => {}
        }
    }
    rows.insert(conn).await
}

/// The last score of each player.
fn players(rows: &mut Gathered<'_>, stored: &RuleInputStored, scored: &PlayersScored) {
    for player in &scored.players {
        let (no, key) = (stored.operator_no.0, player.player.to_string());
        rows.upsert(
            &PLAYER_RISK,
            format!("{no}/{key}/{}", player.currency),
            [
                Val::Int(no.into()),
                Val::Owned(key),
                Val::Owned(player.currency.to_string()),
                Val::Int(stored.jurisdiction.0.into()),
                Val::Int(scored.version.into()),
                Val::Int(player.score_ppm.into()),
                Val::Int(scored.as_of.0),
                body(&player.reasons),
            ],
        );
    }
}

/// A finding.
pub(super) fn finding<'a>(rows: &mut Gathered<'a>, row: &'a RuleFindingRow) {
    rows.add(
        &RULE_FINDINGS,
        [
            Val::Owned(row.id.to_string()),
            Val::Text(&row.rule),
            Val::Int(row.version.into()),
            Val::Text(if row.is_shadow { "shadow" } else { "live" }),
            Val::Int(row.jurisdiction.0.into()),
            Val::Int(row.operator_no.0.into()),
            Val::Int(row.input_seq),
            Val::Int(row.window.start.0),
            Val::Int(row.window.end.0),
            Val::Text(row.kind.as_str()),
            Val::Text(row.severity.as_str()),
            Val::Int(row.at.0),
            Val::Int(row.seq),
            Val::Text(&row.body),
        ],
    );
}
