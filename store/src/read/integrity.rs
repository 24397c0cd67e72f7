//! Reads about the wholeness of feeds: what was declared of a day, what is stored of it, when batches came.

use super::parse;
use crate::StoreError;
use crate::db::Val;
use crate::open::Store;
use models::feed::integrity::{Declaration, DeclaredStatus, Total, TotalsCompared};
use models::ids::{OperatorNo, SourceNo};
use models::record::{RecordKind, RecordStatus};
use models::ts::Ts;
use std::collections::BTreeMap;

/// A source and a span of time, half-open.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct SourceSpan {
    pub source_no: SourceNo,
    pub operator_no: OperatorNo,
    pub from: Ts,
    pub to: Ts,
}

/// What of a source came in a span, by the engine's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Records in batches: stored, and known before.
    pub records: i64,
    /// Records refused.
    pub quarantined: i64,
    /// Those that are neither replayed nor dismissed.
    pub open: i64,
}

impl Store {
    /// What is stored of a source by when it happened, kind by kind, and the number of the newest batch in it. A record
    /// whose place another one has taken since does not count.
    pub async fn totals(
        &self,
        span: SourceSpan,
        status: DeclaredStatus,
    ) -> Result<(BTreeMap<RecordKind, Total>, i64), StoreError> {
        let newest = self.newest_batch(span.source_no).await?;
        let touching = "source_no = $1 AND operator_no = $2 AND last_at >= $3 AND first_at < $4";
        let values = [
            Val::Int(span.source_no.0.into()),
            Val::Int(span.operator_no.0.into()),
            Val::Int(span.from.0),
            Val::Int(span.to.0),
        ];
        let sql = format!("SELECT MIN(batch_no), MAX(batch_no) FROM feed_batches WHERE {touching}");
        let rows = self.rows(&sql, &values).await?;
        let bounds = rows.first().map(|row| Ok::<_, StoreError>((row.int_opt(0)?, row.int_opt(1)?))).transpose()?;
        let Some((Some(low), Some(high))) = bounds else { return Ok((BTreeMap::new(), newest)) };
        // PostgreSQL finds records by ranges of pages: it has to be told the batches' range, and reads no further
        let statuses = match status {
            DeclaredStatus::Successful => format!("AND r.status = {}", RecordStatus::Successful.code()),
            DeclaredStatus::All => String::new(),
        };
        let sql = format!(
            "SELECT r.kind, COUNT(*), CAST(SUM(r.amount_minor) AS BIGINT) FROM (SELECT batch_no FROM feed_batches WHERE {touching}) b JOIN feed_records r ON r.batch_no = b.batch_no WHERE r.batch_no >= $5 AND r.batch_no <= $6 AND r.occurred_at >= $3 AND r.occurred_at < $4 {statuses} AND NOT EXISTS (SELECT 1 FROM feed_replaced x WHERE x.source_no = $1 AND x.record_id = r.record_id) GROUP BY r.kind"
        );
        let [source, operator, from, to] = values;
        let values = [source, operator, from, to, Val::Int(low), Val::Int(high)];
        let mut totals = BTreeMap::new();
        for row in self.rows(&sql, &values).await? {
            let kind = RecordKind::from_code(row.int(0)? as i16).ok_or(StoreError::Unreadable("record kind"))?;
            totals.insert(kind, Total { count: row.int(1)?, amount_minor: row.int(2)? });
        }
        Ok((totals, newest))
    }

    async fn newest_batch(&self, source_no: SourceNo) -> Result<i64, StoreError> {
        let sql = "SELECT batch_no FROM feed_batches WHERE source_no = $1 ORDER BY source_seq DESC LIMIT 1";
        let rows = self.rows(sql, &[Val::Int(source_no.0.into())]).await?;
        rows.first().map_or(Ok(0), |row| Ok(row.int(0)?))
    }

    /// Did a batch come after `through` that may change what is stored of a span? So with one that lies in it, and with
    /// one that takes the place of other records.
    pub async fn is_touched(&self, span: SourceSpan, through: i64) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM feed_batches WHERE source_no = $1 AND batch_no > $2 AND ((last_at >= $3 AND first_at < $4) OR replaced > 0) LIMIT 1";
        let values = [Val::Int(span.source_no.0.into()), Val::Int(through), Val::Int(span.from.0), Val::Int(span.to.0)];
        Ok(!self.rows(sql, &values).await?.is_empty())
    }

    /// The declaration of a day that counts.
    pub async fn declaration(&self, source_no: SourceNo, day: &str) -> Result<Option<Declaration>, StoreError> {
        Ok(self.declarations_of(source_no, day, 1).await?.into_iter().next())
    }

    /// Declarations of a day, newest first.
    pub async fn declarations_of(
        &self,
        source_no: SourceNo,
        day: &str,
        limit: u32,
    ) -> Result<Vec<Declaration>, StoreError> {
        let sql =
            "SELECT body FROM declared_totals WHERE source_no = $1 AND local_day = $2 ORDER BY version DESC LIMIT $3";
        let values = [Val::Int(source_no.0.into()), Val::Text(day), Val::Int(limit.into())];
        let rows = self.rows(sql, &values).await?;
        rows.iter().map(|row| parse("declaration", &row.text(0)?)).collect()
    }

    /// Days of a source that something was declared about, newest first: those before `before`, if named.
    pub async fn declared_days(
        &self,
        source_no: SourceNo,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Vec<TotalsCompared>, StoreError> {
        // no day begins with a letter
        let sql =
            "SELECT body FROM declared_days WHERE source_no = $1 AND local_day < $2 ORDER BY local_day DESC LIMIT $3";
        let values = [Val::Int(source_no.0.into()), Val::Text(before.unwrap_or("a")), Val::Int(limit.into())];
        let rows = self.rows(sql, &values).await?;
        rows.iter().map(|row| parse("comparison", &row.text(0)?)).collect()
    }

    /// What was declared of a day, held against what is stored, as it was found last.
    pub async fn declared_day(&self, source_no: SourceNo, day: &str) -> Result<Option<TotalsCompared>, StoreError> {
        let sql = "SELECT body FROM declared_days WHERE source_no = $1 AND local_day = $2";
        let rows = self.rows(sql, &[Val::Int(source_no.0.into()), Val::Text(day)]).await?;
        rows.first().map(|row| parse("comparison", &row.text(0)?)).transpose()
    }

    /// Days that something was declared about and that a span touches, oldest first.
    pub async fn declared_between(
        &self,
        source_no: SourceNo,
        from: Ts,
        to: Ts,
        limit: u32,
    ) -> Result<Vec<TotalsCompared>, StoreError> {
        let sql = "SELECT body FROM declared_days WHERE source_no = $1 AND to_at > $2 AND from_at < $3 ORDER BY to_at LIMIT $4";
        let values = [Val::Int(source_no.0.into()), Val::Int(from.0), Val::Int(to.0), Val::Int(limit.into())];
        let rows = self.rows(sql, &values).await?;
        rows.iter().map(|row| parse("comparison", &row.text(0)?)).collect()
    }

    /// What came of a source in a span, by the engine's clock. What was refused before and is replayed came when it was
    /// refused.
    pub async fn arrivals(&self, span: SourceSpan) -> Result<Arrivals, StoreError> {
        let source = Val::Int(span.source_no.0.into());
        let values = [source, Val::Int(span.from.0), Val::Int(span.to.0)];
        let records = self.batch_sums(span.source_no, span.from, span.to).await?.records;
        let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN state = 'open' THEN 1 ELSE 0 END), 0) AS BIGINT) FROM quarantine WHERE source_no = $1 AND at >= $2 AND at < $3";
        let rows = self.rows(sql, &values).await?;
        let refused = rows.first().map(|row| Ok::<_, StoreError>((row.int(0)?, row.int(1)?))).transpose()?;
        let (quarantined, open) = refused.unwrap_or_default();
        Ok(Arrivals { records, quarantined, open })
    }

    /// In how many of `intervals` of `length` microseconds each a batch of a source was stored; what lies behind the last
    /// one counts as in it.
    pub async fn delivered(&self, span: SourceSpan, (intervals, length): (i64, i64)) -> Result<i64, StoreError> {
        let sql = "SELECT COUNT(DISTINCT CASE WHEN (stored_at - $2) / $4 >= $5 THEN $5 - 1 ELSE (stored_at - $2) / $4 END) FROM feed_batches WHERE source_no = $1 AND stored_at >= $2 AND stored_at < $3 AND replayed = 0";
        let source = Val::Int(span.source_no.0.into());
        let (from, to) = (Val::Int(span.from.0), Val::Int(span.to.0));
        let values = [source, from, to, Val::Int(length.max(1)), Val::Int(intervals)];
        self.int(sql, &values).await
    }
}
