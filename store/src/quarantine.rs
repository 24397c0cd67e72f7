//! Refused records: what is open, what was tried, and the one statement that settles each exactly once.

use crate::StoreError;
use crate::db::{Conn, Row, Val};
use crate::open::Store;
use crate::writer::CommitError;
use models::alert_group::Act;
use models::event::Event;
use models::ids::{KeyId, QuarantineId, SourceNo};
use models::quarantine::{DismissReason, QuarantineForm, QuarantineReplayed, QuarantineState, ReplayOutcome};
use models::record::QuarantineCode;
use models::ts::Ts;

/// Rows settled or read by one statement.
const ROWS_AT_ONCE: usize = 64;
const ITEM: &str = "id, idx, code, detail, at, form, state, outcome, reason, settled_at, settled_by, attempts, attempt_at, attempt_by, attempt_code, attempt_detail";
/// Columns of [`ITEM`].
const ITEM_WIDTH: usize = 16;

/// A refused record; what was sent stays sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineItem {
    /// Public id.
    pub id: QuarantineId,
    /// Position in its push.
    pub index: i64,
    /// Why it was refused.
    pub code: QuarantineCode,
    /// Which field, and what is wrong with it.
    pub detail: String,
    /// When.
    pub at: Ts,
    /// What was sealed.
    pub form: QuarantineForm,
    /// Whether something is left to be done.
    pub state: QuarantineState,
    /// What the replay led to that settled it.
    pub outcome: Option<ReplayOutcome>,
    /// Why it was dismissed.
    pub reason: Option<DismissReason>,
    /// Who settled it, when.
    pub settled: Option<Act>,
    /// How often it was refused again.
    pub attempts: u32,
    /// The last time: who, when, why.
    pub attempt: Option<(Act, QuarantineCode, String)>,
}

/// A refused record with what was sent.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct SealedItem {
    pub item: QuarantineItem,
    pub sealed: Vec<u8>,
}

/// Which refused records of a source are wanted, newest first.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct QuarantineQuery {
    pub source_no: SourceNo,
    pub state: Option<QuarantineState>,
    pub code: Option<QuarantineCode>,
    /// Behind this one.
    pub before: Option<QuarantineId>,
    pub limit: u32,
}

/// How many refused records of a source are in which state for which reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct QuarantineCount {
    pub code: QuarantineCode,
    pub state: QuarantineState,
    pub count: u64,
}

fn known<T>(text: Option<&str>, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, StoreError> {
    text.map(|text| must(text, parse)).transpose()
}

fn must<T>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
    parse(text).ok_or(StoreError::Unreadable("quarantine"))
}

fn act(at: Option<i64>, by: Option<&str>) -> Result<Option<Act>, StoreError> {
    let by: Option<KeyId> = known(by, |text| text.parse().ok())?;
    Ok(at.zip(by).map(|(at, by)| Act { by, at: Ts(at) }))
}

fn item(row: &Row) -> Result<QuarantineItem, StoreError> {
    let attempt = act(row.int_opt(12)?, row.text_opt(13)?.as_deref())?
        .zip(known(row.text_opt(14)?.as_deref(), QuarantineCode::parse)?);
    let attempt_detail = row.text_opt(15)?.unwrap_or_default();
    Ok(QuarantineItem {
        id: must(&row.text(0)?, |text| text.parse().ok())?,
        index: row.int(1)?,
        code: must(&row.text(2)?, QuarantineCode::parse)?,
        detail: row.text(3)?,
        at: Ts(row.int(4)?),
        form: must(&row.text(5)?, QuarantineForm::parse)?,
        state: must(&row.text(6)?, QuarantineState::parse)?,
        outcome: known(row.text_opt(7)?.as_deref(), ReplayOutcome::parse)?,
        reason: known(row.text_opt(8)?.as_deref(), DismissReason::parse)?,
        settled: act(row.int_opt(9)?, row.text_opt(10)?.as_deref())?,
        attempts: row.int(11)? as u32,
        attempt: attempt.map(|(act, code)| (act, code, attempt_detail)),
    })
}

impl Store {
    /// A page of a source's refused records, newest first.
    pub async fn quarantine(&self, query: &QuarantineQuery) -> Result<Vec<QuarantineItem>, StoreError> {
        let mut values = vec![Val::Int(query.source_no.0.into()), Val::Int(query.limit.into())];
        let mut sql = format!("SELECT {ITEM} FROM quarantine WHERE source_no = $1");
        let filters = [
            ("state =", query.state.map(|state| Val::Text(state.as_str()))),
            ("code =", query.code.map(|code| Val::Text(code.as_str()))),
            ("id <", query.before.map(|id| Val::Owned(id.to_string()))),
        ];
        for (condition, value) in filters {
            if let Some(value) = value {
                values.push(value);
                sql.push_str(&format!(" AND {condition} ${}", values.len()));
            }
        }
        sql.push_str(" ORDER BY id DESC LIMIT $2");
        self.db.read().await?.rows(&sql, &values).await?.iter().map(item).collect()
    }

    /// How many refused records of a source there are, by code and state.
    pub async fn quarantine_counts(&self, source_no: SourceNo) -> Result<Vec<QuarantineCount>, StoreError> {
        let sql = "SELECT code, state, COUNT(*) FROM quarantine WHERE source_no = $1 GROUP BY code, state ORDER BY code, state";
        let rows = self.db.read().await?.rows(sql, &[Val::Int(source_no.0.into())]).await?;
        let count = |row: &Row| {
            Ok(QuarantineCount {
                code: must(&row.text(0)?, QuarantineCode::parse)?,
                state: must(&row.text(1)?, QuarantineState::parse)?,
                count: row.int(2)?.unsigned_abs(),
            })
        };
        rows.iter().map(count).collect()
    }

    /// Open records of a source that were refused for one reason, oldest first, behind `after`, each with how many bytes
    /// it is sealed in.
    pub async fn quarantine_open(
        &self,
        source_no: SourceNo,
        code: QuarantineCode,
        after: Option<QuarantineId>,
        limit: u32,
    ) -> Result<Vec<(QuarantineId, u64)>, StoreError> {
        let sql = "SELECT id, CAST(length(sealed) AS BIGINT) FROM quarantine WHERE source_no = $1 AND state = 'open' AND code = $2 AND id > $3 ORDER BY id LIMIT $4";
        let after = after.map_or_else(String::new, |id| id.to_string());
        let values =
            [Val::Int(source_no.0.into()), Val::Text(code.as_str()), Val::Owned(after), Val::Int(limit.into())];
        let rows = self.db.read().await?.rows(sql, &values).await?;
        rows.iter()
            .map(|row| Ok((must(&row.text(0)?, |text| text.parse().ok())?, row.int(1)?.unsigned_abs())))
            .collect()
    }

    /// Digests of what a source that fetches was refused, whatever became of it: the newest `limit`, oldest first.
    pub async fn refused_digests(&self, source_no: SourceNo, limit: u32) -> Result<Vec<u64>, StoreError> {
        let sql = "SELECT sent_digest FROM quarantine WHERE source_no = $1 AND sent_digest IS NOT NULL ORDER BY id DESC LIMIT $2";
        let rows = self.db.read().await?.rows(sql, &[Val::Int(source_no.0.into()), Val::Int(limit.into())]).await?;
        rows.iter().rev().map(|row| Ok(row.int(0)?.cast_unsigned())).collect()
    }

    /// These records of a source with what was sent, in no order; those that are not there are missing.
    pub async fn sealed_items(&self, source_no: SourceNo, ids: &[QuarantineId]) -> Result<Vec<SealedItem>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(ROWS_AT_ONCE) {
            let mut values = vec![Val::Int(source_no.0.into())];
            let list = listed(chunk, &mut values);
            let sql = format!("SELECT {ITEM}, sealed FROM quarantine WHERE source_no = $1 AND id IN ({list})");
            for row in self.db.read().await?.rows(&sql, &values).await? {
                found.push(SealedItem { item: item(&row)?, sealed: row.bytes(ITEM_WIDTH)? });
            }
        }
        Ok(found)
    }
}

/// Variables for ids, which are added to the values; always as many, so that the statement stays prepared.
fn listed(ids: &[QuarantineId], values: &mut Vec<Val<'_>>) -> String {
    let first = values.len() + 1;
    let last = ids.last().copied().unwrap_or(QuarantineId(0));
    values.extend((0..ROWS_AT_ONCE).map(|n| Val::Owned(ids.get(n).unwrap_or(&last).to_string())));
    (first..=values.len()).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}

/// Writes what an event says of refused records. One that is not open is not settled again: the commit is refused, and with
/// it the records that came of the replay.
pub(crate) async fn settle(conn: &mut Conn, event: &Event) -> Result<(), sqlx::Error> {
    match event {
        Event::QuarantineReplayed(replayed) => {
            for outcome in [ReplayOutcome::Stored, ReplayOutcome::Duplicate] {
                settle_all(conn, replayed, outcome).await?;
            }
            refused_again(conn, replayed).await
        }
        Event::QuarantineDismissed(dismissed) => {
            let sql = "UPDATE quarantine SET state = 'dismissed', reason = $1, settled_at = $2, settled_by = $3 WHERE source_no = $4 AND id = $5 AND state = 'open'";
            let values = [
                Val::Text(dismissed.reason.as_str()),
                Val::Int(dismissed.act.at.0),
                Val::Owned(dismissed.act.by.to_string()),
                Val::Int(dismissed.source_no.0.into()),
                Val::Owned(dismissed.id.to_string()),
            ];
            all_of(1, conn.run(sql, &values).await?)
        }
        _ => Ok(()),
    }
}

async fn settle_all(conn: &mut Conn, replayed: &QuarantineReplayed, outcome: ReplayOutcome) -> Result<(), sqlx::Error> {
    let ids: Vec<QuarantineId> =
        replayed.attempts.iter().filter(|attempt| attempt.outcome == outcome).map(|attempt| attempt.id).collect();
    for chunk in ids.chunks(ROWS_AT_ONCE) {
        let mut values = vec![
            Val::Text(outcome.as_str()),
            Val::Int(replayed.act.at.0),
            Val::Owned(replayed.act.by.to_string()),
            Val::Int(replayed.source_no.0.into()),
        ];
        let list = listed(chunk, &mut values);
        let sql = format!(
            "UPDATE quarantine SET state = 'replayed', outcome = $1, settled_at = $2, settled_by = $3 WHERE source_no = $4 AND state = 'open' AND id IN ({list})"
        );
        all_of(chunk.len(), conn.run(&sql, &values).await?)?;
    }
    Ok(())
}

async fn refused_again(conn: &mut Conn, replayed: &QuarantineReplayed) -> Result<(), sqlx::Error> {
    let sql = "UPDATE quarantine SET attempts = attempts + 1, attempt_at = $1, attempt_by = $2, attempt_code = $3, attempt_detail = $4 WHERE source_no = $5 AND id = $6 AND state = 'open'";
    for attempt in replayed.attempts.iter().filter(|attempt| attempt.outcome == ReplayOutcome::Refused) {
        let values = [
            Val::Int(replayed.act.at.0),
            Val::Owned(replayed.act.by.to_string()),
            Val::TextOpt(attempt.code.map(QuarantineCode::as_str)),
            Val::Text(&attempt.detail),
            Val::Int(replayed.source_no.0.into()),
            Val::Owned(attempt.id.to_string()),
        ];
        all_of(1, conn.run(sql, &values).await?)?;
    }
    Ok(())
}

/// Somebody else was faster with one of them.
fn all_of(wanted: usize, touched: u64) -> Result<(), sqlx::Error> {
    if touched == wanted as u64 {
        return Ok(());
    }
    Err(sqlx::Error::Encode(Box::new(CommitError::Settled)))
}
