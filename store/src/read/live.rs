//! Reads of the live stream: what a client missed.

use super::parse;
use crate::StoreError;
use crate::db::Val;
use crate::open::Store;
use models::alert::AlertRevision;
use models::ids::OperatorNo;

impl Store {
    /// An operator's alert revisions behind one of its own offsets, oldest first.
    pub async fn operator_alerts(
        &self,
        operator: OperatorNo,
        after: u64,
        limit: u32,
    ) -> Result<Vec<AlertRevision>, StoreError> {
        let sql = "SELECT body FROM alert_revisions WHERE operator_no = $1 AND operator_offset > $2 ORDER BY operator_offset LIMIT $3";
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let rows = self.rows(sql, &[Val::Int(operator.0.into()), Val::Int(after), Val::Int(limit.into())]).await?;
        rows.iter().map(|row| parse("alert", &row.text(0)?)).collect()
    }
}
