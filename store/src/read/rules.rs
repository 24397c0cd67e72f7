//! Reads about rules: what became of their versions, and what these have found.

use super::parse;
use crate::StoreError;
use crate::db::{Row, Val};
use crate::open::Store;
use models::alert::{AlertRevision, RevisionKind, Severity, Window};
use models::ids::{AlertId, OperatorNo, Seq};
use models::jurisdiction::JurisdictionNo;
use models::rule::RuleChanged;
use models::ts::{HOUR, Ts};

/// Rules that do not run over inputs of rules: what they said is in the alerts, and nothing else.
pub const RULES_OF_ALERTS: [&str; 2] = ["robust_deviation", "feed_silent"];
/// Versions that are counted at once at most.
const COUNTED_MAX: usize = 256;

/// What a version found in a mode in a span, by when it was found.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct FindingsOf {
    pub jurisdiction: JurisdictionNo,
    pub rule: String,
    pub version: u32,
    /// `live` or `shadow`.
    pub mode: &'static str,
    pub from: Ts,
    /// No longer part of it.
    pub to: Ts,
}

/// Revisions of findings in an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct FindingCount {
    pub hour: Ts,
    pub kind: RevisionKind,
    pub severity: Severity,
    pub count: u64,
}

/// A revision of a finding.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct FindingRow {
    pub id: AlertId,
    /// Whose input caused it.
    pub operator_no: OperatorNo,
    pub window: Window,
    pub kind: RevisionKind,
    pub severity: Severity,
    pub at: Ts,
    /// JSON of the whole finding.
    pub body: String,
}

const OF_FINDINGS: &str = "FROM rule_findings WHERE jurisdiction_no = $1 AND rule = $2 AND version = $3 AND mode = $4 AND at >= $5 AND at < $6";
const OF_ALERTS: &str = "FROM alert_revisions WHERE operator_no IN (SELECT operator_no FROM operators WHERE jurisdiction = $1) AND rule = $2 AND rule_version = $3 AND CAST($4 AS TEXT) = 'live' AND at >= $5 AND at < $6";

impl FindingsOf {
    /// Are they alerts?
    fn is_alerts(&self) -> bool {
        RULES_OF_ALERTS.contains(&self.rule.as_str())
    }

    /// Where they are.
    fn of(&self) -> &'static str {
        if self.is_alerts() { OF_ALERTS } else { OF_FINDINGS }
    }

    /// That one is raised.
    fn raised(&self) -> String {
        if self.is_alerts() { format!("kind = {}", RevisionKind::Raised.code()) } else { "kind = 'raised'".to_owned() }
    }

    /// Kind and severity of a row, at two places behind each other.
    fn said(&self, row: &Row, place: usize) -> Result<(RevisionKind, Severity), StoreError> {
        if !self.is_alerts() {
            return Ok((kind(&row.text(place)?)?, severity(&row.text(place + 1)?)?));
        }
        let (kind, severity) = (row.int(place)? as i16, row.int(place + 1)? as i16);
        let kind = RevisionKind::from_code(kind).ok_or(StoreError::Unreadable("kind of an alert"))?;
        Ok((kind, Severity::from_code(severity).ok_or(StoreError::Unreadable("severity of an alert"))?))
    }

    fn values(&self) -> [Val<'_>; 6] {
        [
            Val::Int(self.jurisdiction.0.into()),
            Val::Text(&self.rule),
            Val::Int(self.version.into()),
            Val::Text(self.mode),
            Val::Int(self.from.0),
            Val::Int(self.to.0),
        ]
    }
}

fn kind(text: &str) -> Result<RevisionKind, StoreError> {
    RevisionKind::parse(text).ok_or(StoreError::Unreadable("kind of a finding"))
}

fn severity(text: &str) -> Result<Severity, StoreError> {
    Severity::parse(text).ok_or(StoreError::Unreadable("severity of a finding"))
}

fn alert(row: &Row) -> Result<FindingRow, StoreError> {
    let body = row.text(0)?;
    let AlertRevision { id, operator_no, window, kind, severity, at, .. } = parse("alert", &body)?;
    Ok(FindingRow { id, operator_no, window, kind, severity, at, body })
}

fn finding(row: &Row) -> Result<FindingRow, StoreError> {
    Ok(FindingRow {
        id: row.text(0)?.parse().map_err(|_| StoreError::Unreadable("id of a finding"))?,
        operator_no: OperatorNo(row.int(1)? as u16),
        window: Window { start: Ts(row.int(2)?), end: Ts(row.int(3)?) },
        kind: kind(&row.text(4)?)?,
        severity: severity(&row.text(5)?)?,
        at: Ts(row.int(6)?),
        body: row.text(7)?,
    })
}

impl Store {
    /// Everything that became of versions of rules, with its place in the journal, in order.
    pub async fn rule_changes(&self) -> Result<Vec<(Seq, RuleChanged)>, StoreError> {
        let rows = self.rows("SELECT seq, body FROM rule_changes ORDER BY seq", &[]).await?;
        rows.iter().map(|row| Ok((row.int(0)?, parse("change of a rule", &row.text(1)?)?))).collect()
    }

    /// How many findings each of some versions raised in its span, in their order; the first 256 of them.
    pub async fn rule_hits(&self, of: &[FindingsOf]) -> Result<Vec<u64>, StoreError> {
        let mut hits = Vec::with_capacity(of.len().min(COUNTED_MAX));
        let mut conn = self.db.read().await?;
        for of in of.iter().take(COUNTED_MAX) {
            // one look at the index each: a sum over all of them would read what no version in force has found
            let sql = format!("SELECT COUNT(*) {} AND {}", of.of(), of.raised());
            let rows = conn.rows(&sql, &of.values()).await?;
            hits.push(rows.first().map_or(Ok(0), |row| row.int(0))? as u64);
        }
        Ok(hits)
    }

    /// Revisions by hour, kind and severity, in the order of hours.
    pub async fn rule_finding_counts(&self, of: &FindingsOf) -> Result<Vec<FindingCount>, StoreError> {
        let sql = format!(
            "SELECT at / {HOUR}, kind, severity, COUNT(*) {} GROUP BY at / {HOUR}, kind, severity ORDER BY 1, 2, 3",
            of.of()
        );
        let rows = self.rows(&sql, &of.values()).await?;
        rows.iter()
            .map(|row| {
                let (kind, severity) = of.said(row, 1)?;
                Ok(FindingCount { hour: Ts(row.int(0)? * HOUR), kind, severity, count: row.int(3)? as u64 })
            })
            .collect()
    }

    /// How many findings were raised by each operator's inputs, most first.
    pub async fn rule_finding_operators(
        &self,
        of: &FindingsOf,
        limit: u32,
    ) -> Result<Vec<(OperatorNo, u64)>, StoreError> {
        let sql = format!(
            "SELECT operator_no, COUNT(*) {} AND {} GROUP BY operator_no ORDER BY 2 DESC, 1 LIMIT $7",
            of.of(),
            of.raised()
        );
        let values: Vec<Val<'_>> = of.values().into_iter().chain([Val::Int(limit.into())]).collect();
        let rows = self.rows(&sql, &values).await?;
        rows.iter().map(|row| Ok((OperatorNo(row.int(0)? as u16), row.int(1)? as u64))).collect()
    }

    /// The newest revisions, newest first.
    pub async fn rule_findings(&self, of: &FindingsOf, limit: u32) -> Result<Vec<FindingRow>, StoreError> {
        let values: Vec<Val<'_>> = of.values().into_iter().chain([Val::Int(limit.into())]).collect();
        if of.is_alerts() {
            let sql = format!("SELECT body {OF_ALERTS} ORDER BY at DESC, alert_offset DESC LIMIT $7");
            return self.rows(&sql, &values).await?.iter().map(alert).collect();
        }
        let sql = format!(
            "SELECT finding_id, operator_no, window_start, window_end, kind, severity, at, body {OF_FINDINGS} ORDER BY at DESC, seq DESC LIMIT $7"
        );
        self.rows(&sql, &values).await?.iter().map(finding).collect()
    }
}
