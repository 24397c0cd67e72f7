//! Reads about compliance: days as they were counted, scores, and what a score is worked out of.

use super::parse;
use crate::StoreError;
use crate::db::{Row, Val};
use crate::open::Store;
use models::alert::AlertRevision;
use models::alert_group::{AlertActed, AlertGroup};
use models::compliance::{ComplianceScored, DayTally};
use models::event::Event;
use models::ids::{OperatorNo, SourceNo};
use models::jurisdiction::JurisdictionNo;
use models::ts::Ts;

/// Alerts of one rule of one operator that are read at most: the newest.
pub const ALERTS_OF_RULE_MAX: u32 = 5_000;
/// What people did with an operator's groups that is read at most: the newest.
const ACTS_MAX: usize = 20_000;
/// Groups of an operator that are read at most: those that were hit last.
const GROUPS_MAX: usize = 20_000;

/// Days of an operator, from one to another, both inclusive: `YYYY-MM-DD`.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct ComplianceSpan<'a> {
    pub operator_no: OperatorNo,
    pub from: &'a str,
    pub to: &'a str,
}

/// What batches add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchSums {
    /// Records that came, without those that were replayed from quarantine.
    pub records: i64,
    /// Batches with a number of their operator's.
    pub numbered: i64,
}

/// Only the newest revision of each day.
const NEWEST: &str = "NOT EXISTS (SELECT 1 FROM compliance_scores n WHERE n.operator_no = s.operator_no AND n.local_day = s.local_day AND n.revision > s.revision)";

fn scored(row: &Row) -> Result<ComplianceScored, StoreError> {
    parse("compliance score", &row.text(0)?)
}

impl Store {
    /// Days as they were counted last, with the number of their last counting, oldest first.
    pub async fn compliance_days(&self, span: ComplianceSpan<'_>) -> Result<Vec<(String, u32, DayTally)>, StoreError> {
        let sql = "SELECT local_day, revision, body FROM compliance_days WHERE operator_no = $1 AND local_day >= $2 AND local_day <= $3 ORDER BY local_day";
        let values = [Val::Int(span.operator_no.0.into()), Val::Text(span.from), Val::Text(span.to)];
        let rows = self.rows(sql, &values).await?;
        rows.iter()
            .map(|row| Ok((row.text(0)?, row.int(1)? as u32, parse("day of an operator", &row.text(2)?)?)))
            .collect()
    }

    /// Scores as they count, oldest first.
    pub async fn compliance_scores(&self, span: ComplianceSpan<'_>) -> Result<Vec<ComplianceScored>, StoreError> {
        let sql = format!(
            "SELECT s.body FROM compliance_scores s WHERE s.operator_no = $1 AND s.local_day >= $2 AND s.local_day <= $3 AND {NEWEST} ORDER BY s.local_day"
        );
        let values = [Val::Int(span.operator_no.0.into()), Val::Text(span.from), Val::Text(span.to)];
        self.rows(&sql, &values).await?.iter().map(scored).collect()
    }

    /// The newest score of an operator.
    pub async fn newest_compliance_score(
        &self,
        operator_no: OperatorNo,
    ) -> Result<Option<ComplianceScored>, StoreError> {
        let sql = "SELECT s.body FROM compliance_scores s WHERE s.operator_no = $1 ORDER BY s.local_day DESC, s.revision DESC LIMIT 1";
        let rows = self.rows(sql, &[Val::Int(operator_no.0.into())]).await?;
        rows.first().map(scored).transpose()
    }

    /// The newest day of which a score of a jurisdiction's operators is known.
    pub async fn newest_compliance_day(&self, jurisdiction: JurisdictionNo) -> Result<Option<String>, StoreError> {
        let sql = "SELECT MAX(local_day) FROM compliance_scores WHERE jurisdiction = $1";
        let rows = self.rows(sql, &[Val::Int(jurisdiction.0.into())]).await?;
        Ok(rows.first().map(|row| row.text_opt(0)).transpose()?.flatten())
    }

    /// Scores of a day of a jurisdiction's operators.
    pub async fn compliance_scores_of(
        &self,
        jurisdiction: JurisdictionNo,
        day: &str,
    ) -> Result<Vec<ComplianceScored>, StoreError> {
        let sql = format!(
            "SELECT s.body FROM compliance_scores s WHERE s.jurisdiction = $1 AND s.local_day = $2 AND {NEWEST} ORDER BY s.operator_no"
        );
        self.rows(&sql, &[Val::Int(jurisdiction.0.into()), Val::Text(day)]).await?.iter().map(scored).collect()
    }

    /// Every revision of the newest alerts of a rule of an operator, in their order.
    pub async fn alerts_of_rule(&self, operator_no: OperatorNo, rule: &str) -> Result<Vec<AlertRevision>, StoreError> {
        let sql =
            "SELECT body FROM alert_revisions WHERE operator_no = $1 AND rule = $2 ORDER BY alert_offset DESC LIMIT $3";
        let values = [Val::Int(operator_no.0.into()), Val::Text(rule), Val::Int(ALERTS_OF_RULE_MAX.into())];
        self.rows(sql, &values).await?.iter().rev().map(|row| parse("alert", &row.text(0)?)).collect()
    }

    /// What people did with an operator's groups of alerts since then, in its order; and whether that is not all of it.
    pub async fn alert_acts(&self, operator_no: OperatorNo, since: Ts) -> Result<(Vec<AlertActed>, bool), StoreError> {
        // a quote within a text of the payload is escaped, so that only the member itself can match; of others' the number
        // is looked at below
        let sql = "SELECT payload FROM journal WHERE kind = 'alert_acted' AND at >= $1 AND payload LIKE $2 ORDER BY at DESC, seq DESC LIMIT $3";
        let own = Val::Owned(format!("%\"operator_no\":{},%", operator_no.0));
        let rows = self.rows(sql, &[Val::Int(since.0), own, Val::Int(ACTS_MAX as i64 + 1)]).await?;
        let mut acts = Vec::with_capacity(rows.len());
        for row in rows.iter().take(ACTS_MAX).rev() {
            let event = crate::journal::decode(&row.text(0)?).map_err(|_| StoreError::Unreadable("journal payload"))?;
            if let Event::AlertActed(acted) = event {
                acts.push(acted);
            }
        }
        acts.retain(|acted| acted.group.operator_no == operator_no);
        Ok((acts, rows.len() > ACTS_MAX))
    }

    /// An operator's groups of alerts as they are that were hit since then, and whether that is not all of them.
    pub async fn alert_groups_of(
        &self,
        operator_no: OperatorNo,
        since: Ts,
    ) -> Result<(Vec<AlertGroup>, bool), StoreError> {
        let sql =
            "SELECT body FROM alert_groups WHERE operator_no = $1 AND last_at >= $2 ORDER BY last_at DESC, id LIMIT $3";
        let values = [Val::Int(operator_no.0.into()), Val::Int(since.0), Val::Int(GROUPS_MAX as i64 + 1)];
        let rows = self.rows(sql, &values).await?;
        let groups = rows.iter().take(GROUPS_MAX).map(|row| parse("alert group", &row.text(0)?));
        Ok((groups.collect::<Result<_, StoreError>>()?, rows.len() > GROUPS_MAX))
    }

    /// What the batches of a source that came in a span add up to.
    pub async fn batch_sums(&self, source_no: SourceNo, from: Ts, to: Ts) -> Result<BatchSums, StoreError> {
        let sql = "SELECT CAST(COALESCE(SUM(CASE WHEN replayed = 0 THEN records + duplicates ELSE 0 END), 0) AS BIGINT), COUNT(batch_number) FROM feed_batches WHERE source_no = $1 AND stored_at >= $2 AND stored_at < $3";
        let rows = self.rows(sql, &[Val::Int(source_no.0.into()), Val::Int(from.0), Val::Int(to.0)]).await?;
        rows.first()
            .map_or(Ok(BatchSums::default()), |row| Ok(BatchSums { records: row.int(0)?, numbered: row.int(1)? }))
    }

    /// Records of a source that were refused within a span, replayed or not since.
    pub async fn quarantined_between(&self, source_no: SourceNo, from: Ts, to: Ts) -> Result<i64, StoreError> {
        let sql = "SELECT COUNT(*) FROM quarantine WHERE source_no = $1 AND at >= $2 AND at < $3";
        self.int(sql, &[Val::Int(source_no.0.into()), Val::Int(from.0), Val::Int(to.0)]).await
    }

    /// Where the chain and the numbers of a source stand.
    pub async fn source_integrity(&self, source_no: SourceNo) -> Result<models::feed::SourceIntegrity, StoreError> {
        let sql = "SELECT body FROM source_integrity WHERE source_no = $1";
        let rows = self.rows(sql, &[Val::Int(source_no.0.into())]).await?;
        rows.first().map_or(Ok(Default::default()), |row| parse("state of a source's chain", &row.text(0)?))
    }
}
