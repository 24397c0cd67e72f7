//! Reads of feeds: where a source stands, an operator's inputs, records, quarantine.

use super::{key_of, parse, unhex32};
use crate::StoreError;
use crate::db::{Conn, Row, Val};
use crate::open::Store;
use models::feed::{Source, SourceClock, SourceIntegrity};
use models::ids::{OperatorNo, Seq, SourceNo};
use models::match_key::MatchKey;
use models::money::Currency;
use models::record::{PlayChannel, Product, Record, RecordKind, RecordStatus};
use models::ts::Ts;
use std::collections::HashMap;

/// One input of an operator, as stored.
#[allow(missing_docs)]
pub enum OperatorInputRow {
    Batch { operator_seq: i64, clock_at: Ts, clock: SourceClock, stored_at: Ts, records: Vec<Record> },
    Tick { operator_seq: i64, at: Ts },
}

impl OperatorInputRow {
    /// Position in the sequence of the operator.
    #[must_use]
    pub fn seq(&self) -> i64 {
        match self {
            Self::Batch { operator_seq, .. } | Self::Tick { operator_seq, .. } => *operator_seq,
        }
    }
}

/// Digests of a stored record, for dedupe.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct RecordDigest {
    pub batch_no: i64,
    pub idx: i64,
    pub id_digest: u64,
    pub content_digest: u32,
    pub occurred_at: Ts,
}

/// Where a source stands.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct StoredHead {
    pub source_seq: i64,
    pub chain: [u8; 32],
    pub newest: Option<Ts>,
    pub last_stored_at: Option<Ts>,
    /// When it last succeeded, as far as that was kept; it may have brought nothing new.
    pub last_success_at: Option<Ts>,
    pub records: u64,
    pub duplicates: u64,
    pub quarantined: u64,
    /// How far it was read, in its reader's words, and when that moved.
    pub cursor: Option<(String, Ts)>,
    pub conflicts: u64,
    pub late: u64,
    pub replaced: u64,
    /// Its operator's tokens and numbers.
    pub integrity: SourceIntegrity,
}

impl Store {
    /// Where a source stands.
    pub async fn source_head(&self, source_no: SourceNo) -> Result<StoredHead, StoreError> {
        let value = [Val::Int(source_no.0.into())];
        let sql = "SELECT source_seq, chain FROM feed_batches WHERE source_no = $1 ORDER BY source_seq DESC LIMIT 1";
        let mut head = StoredHead::default();
        if let Some(row) = self.rows(sql, &value).await?.first() {
            head.source_seq = row.int(0)?;
            head.chain = unhex32(&row.text(1)?).ok_or(StoreError::Unreadable("chain digest"))?;
        }
        let sql = "SELECT MAX(last_at), CAST(COALESCE(SUM(records), 0) AS BIGINT), CAST(COALESCE(SUM(duplicates), 0) AS BIGINT), CAST(COALESCE(SUM(late), 0) AS BIGINT), CAST(COALESCE(SUM(replaced), 0) AS BIGINT), MAX(CASE WHEN replayed = 0 THEN stored_at END) FROM feed_batches WHERE source_no = $1";
        if let Some(row) = self.rows(sql, &value).await?.first() {
            head.newest = row.int_opt(0)?.map(Ts);
            head.records = row.int(1)? as u64;
            head.duplicates = row.int(2)? as u64;
            head.late = row.int(3)? as u64;
            head.replaced = row.int(4)? as u64;
            // what somebody took in that was refused before is nothing that the source delivered
            head.last_stored_at = row.int_opt(5)?.map(Ts);
        }
        let sql = "SELECT position, moved_at FROM source_cursors WHERE source_no = $1";
        if let Some(row) = self.rows(sql, &value).await?.first() {
            head.cursor = Some((row.text(0)?, Ts(row.int(1)?)));
        }
        let sql = "SELECT at FROM source_successes WHERE source_no = $1";
        if let Some(row) = self.rows(sql, &value).await?.first() {
            head.last_success_at = Some(Ts(row.int(0)?));
        }
        let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN code = 'conflict' THEN 1 ELSE 0 END), 0) AS BIGINT) FROM quarantine WHERE source_no = $1";
        if let Some(row) = self.rows(sql, &value).await?.first() {
            head.quarantined = row.int(0)? as u64;
            head.conflicts = row.int(1)? as u64;
        }
        let sql = "SELECT body FROM source_integrity WHERE source_no = $1";
        if let Some(row) = self.rows(sql, &value).await?.first() {
            head.integrity = parse("state of a source's chain", &row.text(0)?)?;
        }
        Ok(head)
    }

    /// Digests of a source's records from `horizon` on, of some batches behind `after`, in their order; empty at the end.
    pub async fn record_digests(
        &self,
        source_no: SourceNo,
        horizon: Ts,
        after: i64,
    ) -> Result<Vec<RecordDigest>, StoreError> {
        let sql = "SELECT batch_no, records FROM feed_batches WHERE source_no = $1 AND last_at >= $2 AND batch_no > $3 ORDER BY batch_no LIMIT $4";
        let mut conn = self.db.read().await?;
        let limit = Val::Int(BATCHES_AT_ONCE as i64);
        let rows = conn.rows(sql, &[Val::Int(source_no.0.into()), Val::Int(horizon.0), Val::Int(after), limit]).await?;
        let batches = rows.iter().map(|row| Ok((row.int(0)?, row.int(1)?))).collect::<Result<Vec<_>, sqlx::Error>>()?;
        let rows = rows_of_batches(&mut conn, "id_digest, content_digest, occurred_at", &some_of(batches)).await?;
        let digest = |row: &Row| {
            Ok(RecordDigest {
                id_digest: row.int(0)?.cast_unsigned(),
                content_digest: row.int(1)? as u32,
                occurred_at: Ts(row.int(2)?),
                batch_no: row.int(3)?,
                idx: row.int(4)?,
            })
        };
        rows.iter().map(digest).collect()
    }

    /// Inputs of an operator behind `after`, in order, at most `limit` batches and ticks.
    pub async fn operator_inputs(
        &self,
        operator_no: OperatorNo,
        after: i64,
        limit: u32,
    ) -> Result<Vec<OperatorInputRow>, StoreError> {
        let values = [Val::Int(operator_no.0.into()), Val::Int(after), Val::Int(limit.into())];
        let mut conn = self.db.read().await?;
        let sql = "SELECT b.operator_seq, b.batch_no, b.clock_at, s.body, b.records, b.stored_at FROM feed_batches b JOIN sources s ON s.source_no = b.source_no WHERE b.operator_no = $1 AND b.operator_seq > $2 ORDER BY b.operator_seq LIMIT $3";
        let heads = conn.rows(sql, &values).await?;
        let batches =
            heads.iter().map(|row| Ok((row.int(1)?, row.int(4)?))).collect::<Result<Vec<_>, sqlx::Error>>()?;
        let batches = some_of(batches);
        let mut records: HashMap<i64, Vec<Record>> = HashMap::with_capacity(batches.len());
        for row in rows_of_batches(&mut conn, RECORD, &batches).await? {
            records.entry(row.int(RECORD_WIDTH)?).or_default().push(record(&row)?);
        }
        let mut inputs = Vec::new();
        for row in heads.iter().take(batches.len()) {
            let source: Source = parse("source", &row.text(3)?)?;
            inputs.push(OperatorInputRow::Batch {
                operator_seq: row.int(0)?,
                clock_at: Ts(row.int(2)?),
                clock: source.clock,
                stored_at: Ts(row.int(5)?),
                records: records.remove(&row.int(1)?).unwrap_or_default(),
            });
        }
        let sql = "SELECT operator_seq, at FROM operator_ticks WHERE operator_no = $1 AND operator_seq > $2 ORDER BY operator_seq LIMIT $3";
        for row in conn.rows(sql, &values).await? {
            inputs.push(OperatorInputRow::Tick { operator_seq: row.int(0)?, at: Ts(row.int(1)?) });
        }
        inputs.sort_by_key(OperatorInputRow::seq);
        // each list is complete up to its own last: only a gapless run is certain
        let gapless = inputs.iter().zip(after + 1..).take_while(|(input, seq)| input.seq() == *seq).count();
        inputs.truncate(gapless);
        Ok(inputs)
    }

    /// Batches of a source behind one of them, by number, each with its records; at most `limit`.
    pub async fn batches_behind(
        &self,
        source_no: SourceNo,
        source_seq: i64,
        limit: u32,
    ) -> Result<Vec<(i64, Vec<Record>)>, StoreError> {
        let mut conn = self.db.read().await?;
        let sql = "SELECT source_seq, batch_no, records FROM feed_batches WHERE source_no = $1 AND source_seq > $2 ORDER BY source_seq LIMIT $3";
        let values = [Val::Int(source_no.0.into()), Val::Int(source_seq), Val::Int(limit.into())];
        let heads = conn.rows(sql, &values).await?;
        let sizes = heads.iter().map(|row| Ok((row.int(1)?, row.int(2)?))).collect::<Result<Vec<_>, sqlx::Error>>()?;
        let batches = some_of(sizes);
        let mut records: HashMap<i64, Vec<Record>> = HashMap::with_capacity(batches.len());
        for row in rows_of_batches(&mut conn, RECORD, &batches).await? {
            records.entry(row.int(RECORD_WIDTH)?).or_default().push(record(&row)?);
        }
        let known = heads.iter().zip(batches);
        known.map(|(row, batch)| Ok((row.int(0)?, records.remove(&batch).unwrap_or_default()))).collect()
    }

    /// The last batch of a source that is published whole; 0 before the first.
    pub async fn output_position(&self, source_no: SourceNo) -> Result<i64, StoreError> {
        let sql = "SELECT source_seq FROM source_outputs WHERE source_no = $1";
        let rows = self.rows(sql, &[Val::Int(source_no.0.into())]).await?;
        Ok(rows.first().map(|row| row.int(0)).transpose()?.unwrap_or(0))
    }

    /// Keeps which batch of a source is the last that is published whole.
    pub async fn keep_output_position(&self, source_no: SourceNo, source_seq: i64) -> Result<(), StoreError> {
        let sql = "INSERT INTO source_outputs (source_no, source_seq) VALUES ($1, $2) ON CONFLICT (source_no) DO UPDATE SET source_seq = excluded.source_seq";
        self.db.write().await?.run(sql, &[Val::Int(source_no.0.into()), Val::Int(source_seq)]).await?;
        Ok(())
    }

    /// Inputs of an operator that its actor could not apply, with the positions of their records; none = all of it.
    pub async fn set_aside(&self, operator_no: OperatorNo) -> Result<Vec<(i64, Vec<u32>)>, StoreError> {
        let sql = "SELECT operator_seq, records FROM operator_set_aside WHERE operator_no = $1 ORDER BY operator_seq";
        let rows = self.rows(sql, &[Val::Int(operator_no.0.into())]).await?;
        rows.iter().map(|row| Ok((row.int(0)?, parse("records set aside", &row.text(1)?)?))).collect()
    }

    /// By which sets of rules windows of an operator are judged: behind which input, and the event that made the set. In order;
    /// before the first of them it is the standard one.
    pub async fn operator_rules(&self, operator_no: OperatorNo) -> Result<Vec<(i64, Seq)>, StoreError> {
        let sql = "SELECT behind, rules_seq FROM operator_rules WHERE operator_no = $1 ORDER BY behind";
        let rows = self.rows(sql, &[Val::Int(operator_no.0.into())]).await?;
        rows.iter().map(|row| Ok((row.int(0)?, row.int(1)?))).collect()
    }

    /// The first batch of an operator that was judged by a clock from then on; none where there is none.
    pub async fn first_batch_since(&self, operator_no: OperatorNo, since: Ts) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT operator_seq FROM feed_batches WHERE operator_no = $1 AND clock_at >= $2 ORDER BY operator_seq LIMIT 1";
        let rows = self.rows(sql, &[Val::Int(operator_no.0.into()), Val::Int(since.0)]).await?;
        Ok(rows.first().map(|row| row.int(0)).transpose()?)
    }

    /// Records of an operator in a span of time, oldest first.
    pub async fn records_between(
        &self,
        operator_no: OperatorNo,
        from: Ts,
        to: Ts,
        limit: u32,
    ) -> Result<Vec<Record>, StoreError> {
        let sql = format!(
            "SELECT {} FROM feed_batches b JOIN feed_records r ON r.batch_no = b.batch_no WHERE b.operator_no = $1 AND b.last_at >= $2 AND b.first_at < $3 AND r.occurred_at >= $2 AND r.occurred_at < $3 ORDER BY r.occurred_at, r.batch_no, r.idx LIMIT $4",
            RECORD.split(", ").map(|c| format!("r.{c}")).collect::<Vec<_>>().join(", ")
        );
        let values = [Val::Int(operator_no.0.into()), Val::Int(from.0), Val::Int(to.0), Val::Int(limit.into())];
        self.rows(&sql, &values).await?.iter().map(record).collect()
    }

    /// How many records of an operator lie in a span of time.
    pub async fn count_between(&self, operator_no: OperatorNo, from: Ts, to: Ts) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM feed_batches b JOIN feed_records r ON r.batch_no = b.batch_no WHERE b.operator_no = $1 AND b.last_at >= $2 AND b.first_at < $3 AND r.occurred_at >= $2 AND r.occurred_at < $3";
        let values = [Val::Int(operator_no.0.into()), Val::Int(from.0), Val::Int(to.0)];
        let rows = self.rows(sql, &values).await?;
        Ok(rows.first().map_or(Ok(0), |row| row.int(0))?.unsigned_abs())
    }
}

/// Batches whose records are read at once, and how many records these may have.
pub(super) const BATCHES_AT_ONCE: usize = 64;
const RECORDS_AT_ONCE: i64 = 50_000;
/// Columns of [`RECORD`].
pub(super) const RECORD_WIDTH: usize = 20;
pub(super) const RECORD: &str = "occurred_at, id_digest, content_digest, kind, status, amount_minor, currency, record_id, replaces, player, balance_after_minor, product, channel, bet_id, session_id, region, device, account, detail, identified";

pub(super) fn record(row: &Row) -> Result<Record, StoreError> {
    let key = |i| -> Result<Option<MatchKey>, StoreError> { row.bytes_opt(i)?.map(|b| key_of(&b)).transpose() };
    Ok(Record {
        occurred_at: Ts(row.int(0)?),
        id_digest: row.int(1)?.cast_unsigned(),
        content_digest: row.int(2)? as u32,
        kind: RecordKind::from_code(row.int(3)? as i16).ok_or(StoreError::Unreadable("record kind"))?,
        status: RecordStatus::from_code(row.int(4)? as i16).ok_or(StoreError::Unreadable("record status"))?,
        amount_minor: row.int(5)?,
        currency: Currency::parse(&row.text(6)?).map_err(|_| StoreError::Unreadable("currency"))?,
        record_id: row.text(7)?,
        replaces: row.text_opt(8)?,
        player: key(9)?,
        balance_after_minor: row.int_opt(10)?,
        product: row.int_opt(11)?.and_then(|c| Product::from_code(c as i16)),
        channel: row.int_opt(12)?.and_then(|c| PlayChannel::from_code(c as i16)),
        bet_id: row.text_opt(13)?,
        session_id: row.text_opt(14)?,
        region: row.text_opt(15)?,
        device: key(16)?,
        account: key(17)?,
        detail: row.text(18)?,
        is_identified: row.int_opt(19)?.is_some(),
    })
}

/// The first of these batches, as many as may be read at once: (number, records).
pub(super) fn some_of(batches: Vec<(i64, i64)>) -> Vec<i64> {
    let mut records = 0;
    let fits = |(n, (_, count)): &(usize, (i64, i64))| {
        records += count;
        *n == 0 || (*n < BATCHES_AT_ONCE && records <= RECORDS_AT_ONCE)
    };
    batches.into_iter().enumerate().take_while(fits).map(|(_, (batch_no, _))| batch_no).collect()
}

/// Columns of the records of some batches, then their `batch_no` and `idx`, in that order. Together, because PostgreSQL
/// finds a batch by ranges of pages, which batches share: one by one each of them is read many times.
pub(super) async fn rows_of_batches(conn: &mut Conn, columns: &str, batches: &[i64]) -> Result<Vec<Row>, StoreError> {
    let Some(last) = batches.last() else { return Ok(Vec::new()) };
    // always as many variables, so that the statement stays prepared
    let list: Vec<String> = (1..=BATCHES_AT_ONCE).map(|n| format!("${n}")).collect();
    let values: Vec<Val<'_>> = (0..BATCHES_AT_ONCE).map(|n| Val::Int(*batches.get(n).unwrap_or(last))).collect();
    let list = list.join(", ");
    let sql =
        format!("SELECT {columns}, batch_no, idx FROM feed_records WHERE batch_no IN ({list}) ORDER BY batch_no, idx");
    Ok(conn.rows(&sql, &values).await?)
}
