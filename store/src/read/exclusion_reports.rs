//! Reads about exclusions that operators report.

use super::parse;
use crate::StoreError;
use crate::db::{Row, Val};
use crate::open::Store;
use models::exclusion_report::{ExclusionReport, ReportState};
use models::ids::{ExclusionReportId, OperatorNo};
use models::jurisdiction::JurisdictionNo;
use models::ts::Ts;

/// A report that waits without end, because the person asked for it.
const WITHOUT_END: &str = "(CASE WHEN expires_at = 9223372036854775807 THEN 1 ELSE 0 END)";

/// Reports that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportsWaiting {
    /// How many.
    pub count: u64,
    /// Since when the oldest does.
    pub since: Option<Ts>,
}

/// Which reports of a jurisdiction, the newest first; of those that wait, those first that the person asked for.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct ExclusionReportQuery {
    pub jurisdiction: JurisdictionNo,
    pub operator: Option<OperatorNo>,
    pub state: Option<ReportState>,
    /// Behind this one.
    pub before: Option<ExclusionReportId>,
    pub limit: u32,
}

fn report(row: &Row) -> Result<ExclusionReport, StoreError> {
    parse("reported exclusion", &row.text(0)?)
}

impl Store {
    /// A page of reports.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn exclusion_reports(&self, query: &ExclusionReportQuery) -> Result<Vec<ExclusionReport>, StoreError> {
        let mut values = vec![Val::Int(query.jurisdiction.0.into()), Val::Int(query.limit.into())];
        let mut sql = "SELECT body FROM reported_exclusions WHERE jurisdiction = $1".to_owned();
        let filters = [
            ("operator_no =", query.operator.map(|operator| Val::Int(operator.0.into()))),
            ("state =", query.state.map(|state| Val::Text(state.as_str()))),
        ];
        for (condition, value) in filters {
            if let Some(value) = value {
                values.push(value);
                sql.push_str(&format!(" AND {condition} ${}", values.len()));
            }
        }
        let is_urgent_first = query.state == Some(ReportState::Waiting);
        if let Some(before) = query.before {
            values.push(Val::Owned(before.to_string()));
            let n = values.len();
            let behind = format!("(SELECT {WITHOUT_END} FROM reported_exclusions WHERE id = ${n})");
            sql.push_str(&if is_urgent_first {
                format!(" AND ({WITHOUT_END} < {behind} OR ({WITHOUT_END} = {behind} AND id < ${n}))")
            } else {
                format!(" AND id < ${n}")
            });
        }
        let first = if is_urgent_first { format!("{WITHOUT_END} DESC, ") } else { String::new() };
        sql.push_str(&format!(" ORDER BY {first}id DESC LIMIT $2"));
        self.rows(&sql, &values).await?.iter().map(report).collect()
    }

    /// A report as it stands.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn exclusion_report(&self, id: ExclusionReportId) -> Result<Option<ExclusionReport>, StoreError> {
        let sql = "SELECT body FROM reported_exclusions WHERE id = $1";
        self.rows(sql, &[Val::Owned(id.to_string())]).await?.first().map(report).transpose()
    }

    /// How many reports of an operator wait.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn exclusion_reports_waiting(&self, operator: OperatorNo) -> Result<u64, StoreError> {
        let sql = "SELECT COUNT(*) FROM reported_exclusions WHERE operator_no = $1 AND state = 'waiting'";
        let rows = self.rows(sql, &[Val::Int(operator.0.into())]).await?;
        Ok(rows.first().ok_or(StoreError::Unreadable("count"))?.int(0)?.unsigned_abs())
    }

    /// How many reports wait, over all operators, and since when.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn exclusion_reports_open(&self) -> Result<ReportsWaiting, StoreError> {
        let sql = "SELECT COUNT(*), COALESCE(MIN(at), 0) FROM reported_exclusions WHERE state = 'waiting'";
        let rows = self.rows(sql, &[]).await?;
        let row = rows.first().ok_or(StoreError::Unreadable("count"))?;
        let count = row.int(0)?.unsigned_abs();
        let since = Ts(row.int(1)?);
        Ok(ReportsWaiting { count, since: (count > 0).then_some(since) })
    }

    /// Reports that have waited for too long, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn exclusion_reports_due(&self, now: Ts, limit: u32) -> Result<Vec<ExclusionReport>, StoreError> {
        let sql = "SELECT body FROM reported_exclusions WHERE state = 'waiting' AND expires_at <= $1 ORDER BY expires_at, id LIMIT $2";
        self.rows(sql, &[Val::Int(now.0), Val::Int(limit.into())]).await?.iter().map(report).collect()
    }

    /// About whom a report is, sealed; none once it is settled.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn exclusion_report_sealed(&self, id: ExclusionReportId) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT sealed FROM reported_exclusion_seals WHERE id = $1";
        let rows = self.rows(sql, &[Val::Owned(id.to_string())]).await?;
        let sealed = rows.first().map(|row| row.bytes_opt(0)).transpose()?;
        Ok(sealed.flatten())
    }
}
