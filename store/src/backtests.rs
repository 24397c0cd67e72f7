//! Versions of rules that were run over stored history, and what came of it. They change no rule and are no part of the
//! journal: whoever loses one runs it again.

use crate::StoreError;
use crate::db::{Row, Val};
use crate::open::Store;
use models::ids::{BacktestId, KeyId};
use models::jurisdiction::JurisdictionNo;
use models::rule::BacktestState;
use models::ts::Ts;

/// Backtests of a jurisdiction that are kept, the newest ones.
pub const BACKTESTS_KEPT: i64 = 200;

/// A backtest.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct BacktestRow {
    pub id: BacktestId,
    pub jurisdiction: JurisdictionNo,
    pub rule: String,
    pub version: u32,
    pub from: Ts,
    pub to: Ts,
    pub state: BacktestState,
    pub made_by: KeyId,
    pub made_at: Ts,
    pub ended_at: Option<Ts>,
    /// What came of it: JSON of the outcome, or why there is none.
    pub result: Option<String>,
}

const COLUMNS: &str = "id, jurisdiction, rule, version, from_at, to_at, state, made_by, made_at, ended_at";

impl Store {
    /// Stores one that begins, and forgets the oldest ones of its jurisdiction.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn begin_backtest(&self, row: &BacktestRow) -> Result<(), StoreError> {
        let mut conn = self.db.write().await?;
        let sql = format!("INSERT INTO rule_backtests ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL)");
        let values = [
            Val::Owned(row.id.to_string()),
            Val::Int(row.jurisdiction.0.into()),
            Val::Text(&row.rule),
            Val::Int(row.version.into()),
            Val::Int(row.from.0),
            Val::Int(row.to.0),
            Val::Text(row.state.as_str()),
            Val::Owned(row.made_by.to_string()),
            Val::Int(row.made_at.0),
        ];
        conn.run(&sql, &values).await?;
        let sql = "DELETE FROM rule_backtests WHERE jurisdiction = $1 AND id NOT IN (SELECT id FROM rule_backtests WHERE jurisdiction = $1 ORDER BY made_at DESC, id DESC LIMIT $2)";
        conn.run(sql, &[Val::Int(row.jurisdiction.0.into()), Val::Int(BACKTESTS_KEPT)]).await?;
        Ok(())
    }

    /// What came of one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn end_backtest(
        &self,
        id: BacktestId,
        state: BacktestState,
        result: &str,
        at: Ts,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE rule_backtests SET state = $2, ended_at = $3, result = $4 WHERE id = $1";
        let values =
            [Val::Owned(id.to_string()), Val::Text(state.as_str()), Val::Int(at.0), Val::Owned(result.to_owned())];
        self.db.write().await?.run(sql, &values).await?;
        Ok(())
    }

    /// Those that ran when an engine ended run no more.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn interrupt_backtests(&self, at: Ts) -> Result<(), StoreError> {
        let sql = "UPDATE rule_backtests SET state = 'interrupted', ended_at = $1 WHERE state = 'running'";
        self.db.write().await?.run(sql, &[Val::Int(at.0)]).await?;
        Ok(())
    }

    /// A backtest of a jurisdiction, with its result.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn backtest(
        &self,
        jurisdiction: JurisdictionNo,
        id: BacktestId,
    ) -> Result<Option<BacktestRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS}, result FROM rule_backtests WHERE jurisdiction = $1 AND id = $2");
        let rows = self.rows(&sql, &[Val::Int(jurisdiction.0.into()), Val::Owned(id.to_string())]).await?;
        rows.first().map(|row| read(row, row.text_opt(10)?)).transpose()
    }

    /// Those of a version, newest first, without their results.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn backtests(
        &self,
        jurisdiction: JurisdictionNo,
        (rule, version): (&str, u32),
        limit: u32,
    ) -> Result<Vec<BacktestRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM rule_backtests WHERE jurisdiction = $1 AND rule = $2 AND version = $3 ORDER BY made_at DESC, id DESC LIMIT $4"
        );
        let values =
            [Val::Int(jurisdiction.0.into()), Val::Text(rule), Val::Int(version.into()), Val::Int(limit.into())];
        self.rows(&sql, &values).await?.iter().map(|row| read(row, None)).collect()
    }
}

fn read(row: &Row, result: Option<String>) -> Result<BacktestRow, StoreError> {
    let unreadable = || StoreError::Unreadable("backtest");
    Ok(BacktestRow {
        id: row.text(0)?.parse().map_err(|_| unreadable())?,
        jurisdiction: JurisdictionNo(row.int(1)? as u8),
        rule: row.text(2)?,
        version: row.int(3)? as u32,
        from: Ts(row.int(4)?),
        to: Ts(row.int(5)?),
        state: BacktestState::parse(&row.text(6)?).ok_or_else(unreadable)?,
        made_by: row.text(7)?.parse().map_err(|_| unreadable())?,
        made_at: Ts(row.int(8)?),
        ended_at: row.int_opt(9)?.map(Ts),
        result,
    })
}
