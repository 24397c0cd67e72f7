//! The numbers that a lane gives out: batches, inputs of operators and of their rules, offsets of alerts.

use crate::db::Conn;
use models::event::Event;
use models::ids::OperatorNo;
use std::collections::HashMap;

/// The next free numbers, per lane.
#[derive(Default)]
pub(super) struct Counters {
    batch_no: i64,
    operator_seq: HashMap<OperatorNo, i64>,
    input_seq: HashMap<OperatorNo, i64>,
    alert_offset: i64,
    operator_offset: HashMap<OperatorNo, i64>,
}

impl Counters {
    pub(super) fn assign(&mut self, event: &mut Event) {
        match event {
            Event::FeedBatchStored(batch) => {
                self.batch_no += 1;
                batch.batch_no = self.batch_no;
                batch.operator_seq = next(&mut self.operator_seq, batch.operator_no);
            }
            Event::OperatorTicked { operator_no, operator_seq, .. } => {
                *operator_seq = next(&mut self.operator_seq, *operator_no);
            }
            Event::RuleInputStored(stored) => {
                stored.input_seq = next(&mut self.input_seq, stored.operator_no);
            }
            Event::AlertRevised(revision) => {
                self.alert_offset += 1;
                revision.offset = self.alert_offset;
                revision.operator_offset = next(&mut self.operator_offset, revision.operator_no);
            }
            _ => {}
        }
    }
}

fn next(counters: &mut HashMap<OperatorNo, i64>, operator_no: OperatorNo) -> i64 {
    let counter = counters.entry(operator_no).or_default();
    *counter += 1;
    *counter
}

pub(super) async fn load_counters(conn: &mut Conn) -> Result<Counters, sqlx::Error> {
    let mut counters = Counters::default();
    let rows = conn.rows("SELECT COALESCE(MAX(batch_no), 0) FROM feed_batches", &[]).await?;
    counters.batch_no = rows.first().map_or(Ok(0), |row| row.int(0))?;
    let rows = conn.rows("SELECT COALESCE(MAX(alert_offset), 0) FROM alert_revisions", &[]).await?;
    counters.alert_offset = rows.first().map_or(Ok(0), |row| row.int(0))?;
    let highest = |table: &str, column: &str| {
        // from operator to operator by the index: neither database does so by itself, and a scan grows with the table
        format!(
            "WITH RECURSIVE o(no) AS (SELECT MIN(operator_no) FROM {table} UNION ALL SELECT (SELECT MIN(operator_no) FROM {table} WHERE operator_no > o.no) FROM o WHERE o.no IS NOT NULL) SELECT no, (SELECT MAX({column}) FROM {table} WHERE operator_no = o.no) FROM o WHERE no IS NOT NULL"
        )
    };
    for (sql, into) in [
        (highest("operator_inputs", "operator_seq"), &mut counters.operator_seq),
        (highest("rule_inputs", "input_seq"), &mut counters.input_seq),
        (highest("alert_revisions", "operator_offset"), &mut counters.operator_offset),
    ] {
        for row in conn.rows(&sql, &[]).await? {
            into.insert(OperatorNo(row.int(0)? as u16), row.int(1)?);
        }
    }
    Ok(counters)
}
