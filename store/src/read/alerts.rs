//! Reads of alerts.

use super::parse;
use super::rules::RULES_OF_ALERTS;
use crate::StoreError;
use crate::contacts::places;
use crate::db::Val;
use crate::open::Store;
use models::alert::{AlertRevision, RevisionKind, Severity, Window};
use models::alert_group::{AlertGroup, AlertsGrouped, GroupState, Silence};
use models::ids::{AlertId, OperatorNo};
use models::ts::Ts;
use std::collections::HashSet;

/// Ids in one question: the texts of statements are few and stay prepared.
const IDS_AT_ONCE: usize = 32;

/// Which alerts.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct AlertQuery {
    pub operators: Option<Vec<OperatorNo>>,
    pub severity: Option<Severity>,
    pub rule: Option<String>,
    /// Withdrawn ones only, or only the others.
    pub withdrawn: Option<bool>,
    /// Only with an offset below.
    pub before_offset: i64,
    pub limit: u32,
}

impl Store {
    /// Alert revisions by operator.
    pub async fn alert_counts(&self, until: i64) -> Result<Vec<(OperatorNo, u64)>, StoreError> {
        let sql = "SELECT operator_no, COUNT(*) FROM alert_revisions WHERE alert_offset <= $1 GROUP BY operator_no";
        let rows = self.rows(sql, &[Val::Int(until)]).await?;
        rows.iter().map(|row| Ok((OperatorNo(row.int(0)? as u16), row.int(1)? as u64))).collect()
    }

    /// Offset of the newest alert revision; 0 where there is none.
    pub async fn last_alert_offset(&self) -> Result<i64, StoreError> {
        let rows = self.rows("SELECT COALESCE(MAX(alert_offset), 0) FROM alert_revisions", &[]).await?;
        Ok(rows.first().map_or(Ok(0), |row| row.int(0))?)
    }

    /// The newest revisions, oldest first.
    pub async fn recent_alerts(&self, until: i64, limit: u32) -> Result<Vec<AlertRevision>, StoreError> {
        let sql = "SELECT body FROM alert_revisions WHERE alert_offset <= $1 ORDER BY alert_offset DESC LIMIT $2";
        let rows = self.rows(sql, &[Val::Int(until), Val::Int(limit.into())]).await?;
        rows.iter().rev().map(|row| parse("alert", &row.text(0)?)).collect()
    }

    /// Revisions behind an offset, in order.
    pub async fn alerts_after(&self, offset: i64, limit: u32) -> Result<Vec<AlertRevision>, StoreError> {
        let sql = "SELECT body FROM alert_revisions WHERE alert_offset > $1 ORDER BY alert_offset LIMIT $2";
        let rows = self.rows(sql, &[Val::Int(offset), Val::Int(limit.into())]).await?;
        rows.iter().map(|row| parse("alert", &row.text(0)?)).collect()
    }

    /// The alert desk as it was stored: every group and cap, how far the alerts are taken in, every silence.
    pub async fn alert_desk(&self) -> Result<(AlertsGrouped, Vec<Silence>), StoreError> {
        let mut stored = AlertsGrouped::default();
        if let Some(row) = self.rows("SELECT through_offset FROM alert_desk WHERE id = 1", &[]).await?.first() {
            stored.through = row.int(0)?;
        }
        for row in self.rows("SELECT body FROM alert_groups", &[]).await? {
            stored.groups.push(parse("alert group", &row.text(0)?)?);
        }
        for row in self.rows("SELECT body FROM alert_caps", &[]).await? {
            stored.caps.push(parse("alert cap", &row.text(0)?)?);
        }
        let silences = self.rows("SELECT body FROM alert_silences", &[]).await?;
        let silences = silences.iter().map(|row| parse("silence", &row.text(0)?));
        Ok((stored, silences.collect::<Result<_, StoreError>>()?))
    }

    /// Groups of a rule of an operator that people have confirmed or called a false alarm, and that were last hit at `since` or
    /// later, the newest first: so many behind the first ones.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn judged_groups(
        &self,
        (operator, rule): (OperatorNo, &str),
        since: Ts,
        (behind, limit): (u32, u32),
    ) -> Result<Vec<AlertGroup>, StoreError> {
        // a quote within a text of the body is escaped, so that only the member itself can match
        let sql = r#"SELECT body FROM alert_groups WHERE operator_no = $1 AND rule = $2 AND state = $3 AND last_at >= $4 AND (body LIKE '%"resolution":"confirmed"%' OR body LIKE '%"resolution":"false_alarm"%') ORDER BY last_at DESC, id LIMIT $5 OFFSET $6"#;
        let state = GroupState::Resolved.code();
        let values = [
            Val::Int(operator.0.into()),
            Val::Text(rule),
            Val::Int(state.into()),
            Val::Int(since.0),
            Val::Int(limit.into()),
            Val::Int(behind.into()),
        ];
        self.rows(sql, &values).await?.iter().map(|row| parse("alert group", &row.text(0)?)).collect()
    }

    /// Those of some findings of a rule of which a live version spoke in a span, by the time of the input: raised or corrected.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn spoken_within(
        &self,
        rule: &str,
        ids: &[AlertId],
        span: Window,
    ) -> Result<HashSet<AlertId>, StoreError> {
        let (id, rows) = if RULES_OF_ALERTS.contains(&rule) {
            ("id", format!("alert_revisions WHERE kind <> {}", RevisionKind::Withdrawn.code()))
        } else {
            ("finding_id", "rule_findings WHERE mode = 'live' AND kind <> 'withdrawn'".to_owned())
        };
        let ids_at_once = places(3, IDS_AT_ONCE);
        let sql = format!("SELECT DISTINCT {id} FROM {rows} AND at >= $1 AND at < $2 AND {id} IN ({ids_at_once})");
        let mut spoken = HashSet::new();
        for chunk in ids.chunks(IDS_AT_ONCE) {
            // padded with its last one, so that there is one statement
            let last = chunk[chunk.len() - 1];
            let padded = chunk.iter().copied().chain(std::iter::repeat_n(last, IDS_AT_ONCE - chunk.len()));
            let mut values = vec![Val::Int(span.start.0), Val::Int(span.end.0)];
            values.extend(padded.map(|id| Val::Owned(id.to_string())));
            for row in self.rows(&sql, &values).await? {
                spoken.insert(row.text(0)?.parse().map_err(|_| StoreError::Unreadable("id of a finding"))?);
            }
        }
        Ok(spoken)
    }

    /// The newest revision of each alert that fits, newest first.
    pub async fn alerts(&self, query: &AlertQuery) -> Result<Vec<AlertRevision>, StoreError> {
        let mut sql = "SELECT a.body FROM alert_revisions a WHERE a.alert_offset < $1 AND NOT EXISTS (SELECT 1 FROM alert_revisions n WHERE n.id = a.id AND n.alert_offset > a.alert_offset)".to_owned();
        let mut values = vec![Val::Int(query.before_offset)];
        let mut add = |sql: &mut String, condition: &str, value: Val<'static>| {
            values.push(value);
            sql.push_str(&condition.replace('?', &format!("${}", values.len())));
        };
        if let Some(operators) = &query.operators {
            // numbers of our own, at most 65,535: no text of anybody's
            let list: Vec<String> = operators.iter().map(|no| no.0.to_string()).collect();
            sql.push_str(&format!(
                " AND a.operator_no IN ({})",
                if list.is_empty() { "NULL".to_owned() } else { list.join(",") }
            ));
        }
        if let Some(severity) = query.severity {
            add(&mut sql, " AND a.severity = ?", Val::Int(severity.code().into()));
        }
        if let Some(rule) = &query.rule {
            add(&mut sql, " AND a.rule = ?", Val::Owned(rule.clone()));
        }
        if let Some(withdrawn) = query.withdrawn {
            let code = models::alert::RevisionKind::Withdrawn.code();
            add(&mut sql, if withdrawn { " AND a.kind = ?" } else { " AND a.kind <> ?" }, Val::Int(code.into()));
        }
        add(&mut sql, " ORDER BY a.alert_offset DESC LIMIT ?", Val::Int(query.limit.into()));
        self.rows(&sql, &values).await?.iter().map(|row| parse("alert", &row.text(0)?)).collect()
    }

    /// Every revision of an alert, newest first.
    pub async fn alert(&self, id: AlertId) -> Result<Vec<AlertRevision>, StoreError> {
        let sql = "SELECT body FROM alert_revisions WHERE id = $1 ORDER BY alert_offset DESC";
        let rows = self.rows(sql, &[Val::Owned(id.to_string())]).await?;
        rows.iter().map(|row| parse("alert", &row.text(0)?)).collect()
    }
}
