//! Reads of what a replay holds against the journal: its events in order, and the rows that were made of them, as they are
//! stored and not as they should be.

use super::feeds::{RECORD, RECORD_WIDTH, record, rows_of_batches, some_of};
use super::rule_inputs::{HELD, JOURNALED, altered_fields};
use crate::StoreError;
use crate::db::{Row, Val};
use crate::journal;
use crate::open::Store;
use models::event::Committed;
use models::ids::{OperatorNo, Seq};
use models::record::Record;
use models::ts::Ts;
use std::collections::HashMap;

/// Rows of one kind that are read at once.
pub const HELD_ROWS_MAX: u32 = 4_096;
/// Inputs of rules that are read at once: their facts come with them.
const INPUTS_AT_ONCE: i64 = 64;

/// Head of a batch, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct HeldBatch {
    pub batch_no: i64,
    pub id: String,
    pub source_no: i64,
    pub source_seq: i64,
    pub operator_no: i64,
    pub operator_seq: i64,
    pub records: i64,
    pub first_at: Ts,
    pub last_at: Ts,
    pub clock_at: Ts,
    pub chain: String,
}

/// Revision of an alert, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct HeldAlert {
    pub offset: i64,
    pub id: String,
    pub operator_seq: i64,
    pub operator_no: i64,
    pub operator_offset: i64,
    pub rule: String,
    pub kind: i64,
    pub severity: i64,
    pub body: String,
    /// None in rows from before it had a column, and so with its time.
    pub rule_version: Option<i64>,
    pub at: Option<Ts>,
}

/// Input of rules, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldInput {
    /// Its number.
    pub input_seq: i64,
    /// Place in the journal that it names.
    pub seq: Seq,
    /// Columns that say something else than the event at that place; `journal` alone where that is no input.
    pub fields: Vec<&'static str>,
}

impl Store {
    /// Events behind a place that a replay stands on, in order: batches, ticks, inputs of rules, alerts; empty at the end.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn events_held(&self, after: Seq, limit: u32) -> Result<Vec<Committed>, StoreError> {
        let sql = "SELECT seq, at, payload FROM journal WHERE seq > $1 AND kind IN ('feed_batch_stored', 'operator_ticked', 'rule_input_stored', 'alert_revised') ORDER BY seq LIMIT $2";
        let rows = self.rows(sql, &[Val::Int(after), Val::Int(limit.into())]).await?;
        let event = |row: &Row| {
            let event = journal::decode(&row.text(2)?).map_err(|_| StoreError::Unreadable("journal payload"))?;
            Ok(Committed { seq: row.int(0)?, at: Ts(row.int(1)?), event })
        };
        rows.iter().map(event).collect()
    }

    /// Heads of batches by their numbers, behind one, up to another; at most [`HELD_ROWS_MAX`].
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn held_batches(&self, (after, through): (i64, i64)) -> Result<Vec<HeldBatch>, StoreError> {
        let sql = format!(
            "SELECT batch_no, id, source_no, source_seq, operator_no, operator_seq, records, first_at, last_at, clock_at, chain FROM feed_batches WHERE batch_no > $1 AND batch_no <= $2 ORDER BY batch_no LIMIT {HELD_ROWS_MAX}"
        );
        let head = |row: &Row| {
            Ok(HeldBatch {
                batch_no: row.int(0)?,
                id: row.text(1)?,
                source_no: row.int(2)?,
                source_seq: row.int(3)?,
                operator_no: row.int(4)?,
                operator_seq: row.int(5)?,
                records: row.int(6)?,
                first_at: Ts(row.int(7)?),
                last_at: Ts(row.int(8)?),
                clock_at: Ts(row.int(9)?),
                chain: row.text(10)?,
            })
        };
        self.rows(&sql, &[Val::Int(after), Val::Int(through)]).await?.iter().map(head).collect()
    }

    /// Records of the first of some batches (number, records), as many as are read at once, in their order; none where one of
    /// them cannot be read.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn held_records(&self, batches: Vec<(i64, i64)>) -> Result<Vec<Option<Vec<Record>>>, StoreError> {
        let batches = some_of(batches);
        let mut conn = self.db.read().await?;
        let mut records: HashMap<i64, Option<Vec<Record>>> = HashMap::with_capacity(batches.len());
        for row in rows_of_batches(&mut conn, RECORD, &batches).await? {
            let known = records.entry(row.int(RECORD_WIDTH)?).or_insert_with(|| Some(Vec::new()));
            match (record(&row), known) {
                (Ok(record), Some(known)) => known.push(record),
                (Ok(_), None) => {}
                (Err(_), known) => *known = None,
            }
        }
        Ok(batches.iter().map(|batch_no| records.remove(batch_no).unwrap_or_else(|| Some(Vec::new()))).collect())
    }

    /// Ticks of an operator behind a position, up to another one; at most [`HELD_ROWS_MAX`].
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn held_ticks(
        &self,
        operator: OperatorNo,
        (after, through): (i64, i64),
    ) -> Result<Vec<(i64, Ts)>, StoreError> {
        let sql = format!(
            "SELECT operator_seq, at FROM operator_ticks WHERE operator_no = $1 AND operator_seq > $2 AND operator_seq <= $3 ORDER BY operator_seq LIMIT {HELD_ROWS_MAX}"
        );
        let rows = self.rows(&sql, &[Val::Int(operator.0.into()), Val::Int(after), Val::Int(through)]).await?;
        rows.iter().map(|row| Ok((row.int(0)?, Ts(row.int(1)?)))).collect()
    }

    /// Inputs of an operator's rules, or those of its own of all operators of a jurisdiction, behind a number, up to another
    /// one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn held_inputs(
        &self,
        whose: OperatorNo,
        (after, through): (i64, i64),
    ) -> Result<Vec<HeldInput>, StoreError> {
        let sql = format!(
            "SELECT i.seq, {HELD} {JOURNALED} WHERE i.operator_no = $1 AND i.input_seq > $2 AND i.input_seq <= $3 ORDER BY i.input_seq LIMIT $4"
        );
        let (mut held, mut behind) = (Vec::new(), after);
        loop {
            let values = [i64::from(whose.0), behind, through, INPUTS_AT_ONCE].map(Val::Int);
            let rows = self.rows(&sql, &values).await?;
            let Some(last) = rows.last() else { return Ok(held) };
            behind = last.int(3)?;
            for row in &rows {
                held.push(HeldInput { input_seq: row.int(3)?, seq: row.int(0)?, fields: altered_fields(row, false)? });
            }
        }
    }

    /// Revisions of alerts by their offsets, behind one, up to another; at most [`HELD_ROWS_MAX`].
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn held_alerts(&self, (after, through): (i64, i64)) -> Result<Vec<HeldAlert>, StoreError> {
        let sql = format!(
            "SELECT alert_offset, id, operator_seq, operator_no, operator_offset, rule, kind, severity, body, rule_version, at FROM alert_revisions WHERE alert_offset > $1 AND alert_offset <= $2 ORDER BY alert_offset LIMIT {HELD_ROWS_MAX}"
        );
        let alert = |row: &Row| {
            Ok(HeldAlert {
                offset: row.int(0)?,
                id: row.text(1)?,
                operator_seq: row.int(2)?,
                operator_no: row.int(3)?,
                operator_offset: row.int(4)?,
                rule: row.text(5)?,
                kind: row.int(6)?,
                severity: row.int(7)?,
                body: row.text(8)?,
                rule_version: row.int_opt(9)?,
                at: row.int_opt(10)?.map(Ts),
            })
        };
        self.rows(&sql, &[Val::Int(after), Val::Int(through)]).await?.iter().map(alert).collect()
    }
}
