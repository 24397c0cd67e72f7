//! The log of notices: what is to be sent on which channel, what became of it.
//!
//! Rows come in with the commit that gives the reason for them, so none is lost and none is made twice; a row is marked
//! once its channel has taken it. Whoever ends between the two sends that one again, under the same id.

use crate::StoreError;
use crate::db::{Conn, Row, Val};
use crate::open::Store;
use models::ids::NoticeId;
use models::jurisdiction::JurisdictionNo;
use models::notice::{Notice, NoticeState};
use models::ts::Ts;

/// A notice that is to go to a channel. Offered twice it stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeRow {
    /// Name of the channel.
    pub channel: String,
    /// What to say.
    pub notice: Notice,
}

/// What an attempt led to; a row that is not pending any more stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeMark {
    /// The notice.
    pub id: NoticeId,
    /// The channel.
    pub channel: String,
    /// What became of it.
    pub state: NoticeState,
    /// Attempts so far.
    pub attempts: u32,
    /// When it was tried for the first time.
    pub first_try_at: Option<Ts>,
    /// When it is tried again.
    pub next_at: Ts,
    /// When the channel took it.
    pub sent_at: Option<Ts>,
    /// Why it did not; never a person nor a secret.
    pub last_error: Option<String>,
}

/// What the sender has to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoticeMarks {
    /// Results.
    pub marks: Vec<NoticeMark>,
    /// What was made before then and waits no more is forgotten, so many at most.
    pub forget: Option<(Ts, u32)>,
}

impl NoticeMarks {
    /// In the transaction of the commit.
    pub(crate) async fn write(&self, conn: &mut Conn) -> Result<(), sqlx::Error> {
        for mark in &self.marks {
            let sql = "UPDATE notices SET state = $3, attempts = $4, first_try_at = $5, next_at = $6, sent_at = $7, last_error = $8 WHERE id = $1 AND channel = $2 AND state = 'pending'";
            let values = [
                Val::Owned(mark.id.to_string()),
                Val::Text(&mark.channel),
                Val::Text(mark.state.as_str()),
                Val::Int(mark.attempts.into()),
                Val::IntOpt(mark.first_try_at.map(|at| at.0)),
                Val::Int(mark.next_at.0),
                Val::IntOpt(mark.sent_at.map(|at| at.0)),
                Val::TextOpt(mark.last_error.as_deref()),
            ];
            conn.run(sql, &values).await?;
        }
        if let Some((before, most)) = self.forget {
            let sql = "DELETE FROM notices WHERE state <> 'pending' AND (id, channel) IN (SELECT id, channel FROM notices WHERE at < $1 AND state <> 'pending' ORDER BY at LIMIT $2)";
            conn.run(sql, &[Val::Int(before.0), Val::Int(most.into())]).await?;
        }
        Ok(())
    }
}

/// A row of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredNotice {
    /// What was said, or is to be.
    pub notice: Notice,
    /// The channel.
    pub channel: String,
    /// What became of it.
    pub state: NoticeState,
    /// Attempts so far.
    pub attempts: u32,
    /// When it was tried for the first time.
    pub first_try_at: Option<Ts>,
    /// When it is tried again, where it is pending.
    pub next_at: Ts,
    /// When the channel took it.
    pub sent_at: Option<Ts>,
    /// Why it was not taken the last time.
    pub last_error: Option<String>,
}

impl StoredNotice {
    /// The same row after an attempt or a decision at `now`.
    #[must_use]
    pub fn mark(&self, state: NoticeState, now: Ts, error: Option<String>) -> NoticeMark {
        NoticeMark {
            id: self.notice.id,
            channel: self.channel.clone(),
            state,
            attempts: self.attempts,
            first_try_at: self.first_try_at,
            next_at: self.next_at,
            sent_at: (state == NoticeState::Sent).then_some(now),
            last_error: error,
        }
    }
}

/// A place in the log: newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct NoticePlace {
    pub at: Ts,
    pub id: NoticeId,
    pub channel: String,
}

/// Which rows of the log.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct NoticeQuery {
    pub jurisdiction: JurisdictionNo,
    pub state: Option<NoticeState>,
    pub channel: Option<String>,
    /// Only what comes behind it.
    pub after: Option<NoticePlace>,
    pub limit: u32,
}

/// What waits on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct NoticesWaiting {
    pub channel: String,
    pub count: u64,
    /// When the oldest of them was made.
    pub oldest_at: Ts,
}

const COLUMNS: &str = "n.body, n.channel, n.state, n.attempts, n.first_try_at, n.next_at, n.sent_at, n.last_error";

fn stored(row: &Row) -> Result<StoredNotice, StoreError> {
    let state = NoticeState::parse(&row.text(2)?).ok_or(StoreError::Unreadable("state of a notice"))?;
    Ok(StoredNotice {
        notice: crate::read::parse("notice", &row.text(0)?)?,
        channel: row.text(1)?,
        state,
        attempts: u32::try_from(row.int(3)?).unwrap_or(u32::MAX),
        first_try_at: row.int_opt(4)?.map(Ts),
        next_at: Ts(row.int(5)?),
        sent_at: row.int_opt(6)?.map(Ts),
        last_error: row.text_opt(7)?,
    })
}

impl Store {
    /// What a channel is to send now, in order: those whose time has come and before which nothing of their own group
    /// waits, so that nobody hears of an end before the beginning.
    pub async fn due_notices(&self, channel: &str, now: Ts, limit: u32) -> Result<Vec<StoredNotice>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM notices n WHERE n.channel = $1 AND n.state = 'pending' AND n.next_at <= $2 AND NOT EXISTS (SELECT 1 FROM notices e WHERE e.channel = n.channel AND e.grp = n.grp AND e.state = 'pending' AND (e.number < n.number OR (e.number = n.number AND (e.at < n.at OR (e.at = n.at AND e.id < n.id))))) ORDER BY n.at, n.number, n.id LIMIT $3"
        );
        let values = [Val::Text(channel), Val::Int(now.0), Val::Int(limit.into())];
        self.db.read().await?.rows(&sql, &values).await?.iter().map(stored).collect()
    }

    /// What waits on a channel, oldest first.
    pub async fn pending_notices(&self, channel: &str, limit: u32) -> Result<Vec<StoredNotice>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM notices n WHERE n.channel = $1 AND n.state = 'pending' ORDER BY n.at, n.number, n.id LIMIT $2"
        );
        let values = [Val::Text(channel), Val::Int(limit.into())];
        self.db.read().await?.rows(&sql, &values).await?.iter().map(stored).collect()
    }

    /// How many wait on each channel where any does.
    pub async fn waiting_notices(&self) -> Result<Vec<NoticesWaiting>, StoreError> {
        let sql = "SELECT channel, COUNT(*), MIN(at) FROM notices WHERE state = 'pending' GROUP BY channel";
        let rows = self.db.read().await?.rows(sql, &[]).await?;
        rows.iter()
            .map(|row| {
                let count = row.int(1)?.cast_unsigned();
                Ok(NoticesWaiting { channel: row.text(0)?, count, oldest_at: Ts(row.int(2)?) })
            })
            .collect()
    }

    /// When the oldest notice of the log was made.
    pub async fn oldest_notice(&self) -> Result<Option<Ts>, StoreError> {
        let rows = self.db.read().await?.rows("SELECT at FROM notices ORDER BY at LIMIT 1", &[]).await?;
        rows.first().map(|row| Ok(Ts(row.int(0)?))).transpose()
    }

    /// Channels that were told, or are to be told, of a group: who heard of the beginning hears of the end.
    pub async fn notified_channels(&self, group: &str) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT DISTINCT channel FROM notices WHERE grp = $1 AND state <> 'dropped' ORDER BY channel";
        let rows = self.db.read().await?.rows(sql, &[Val::Text(group)]).await?;
        rows.iter().map(|row| Ok(row.text(0)?)).collect()
    }

    /// A notice on every channel it went to.
    pub async fn notice(&self, id: NoticeId) -> Result<Vec<StoredNotice>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM notices n WHERE n.id = $1 ORDER BY n.channel");
        self.db.read().await?.rows(&sql, &[Val::Owned(id.to_string())]).await?.iter().map(stored).collect()
    }

    /// The log, newest first.
    pub async fn notices(&self, query: &NoticeQuery) -> Result<Vec<StoredNotice>, StoreError> {
        let mut sql = format!("SELECT {COLUMNS} FROM notices n WHERE n.jurisdiction = $1");
        let mut values = vec![Val::Int(query.jurisdiction.0.into())];
        let mut add = |condition: &str, more: Vec<Val<'static>>| {
            let mut condition = condition.to_owned();
            for value in more {
                values.push(value);
                condition = condition.replacen('?', &format!("${}", values.len()), 1);
            }
            sql.push_str(&condition);
        };
        if let Some(state) = query.state {
            add(" AND n.state = ?", vec![Val::Owned(state.as_str().to_owned())]);
        }
        if let Some(channel) = &query.channel {
            add(" AND n.channel = ?", vec![Val::Owned(channel.clone())]);
        }
        if let Some(place) = &query.after {
            let (at, id) = (Val::Int(place.at.0), place.id.to_string());
            add(
                " AND (n.at, n.id, n.channel) < (?, ?, ?)",
                vec![at, Val::Owned(id), Val::Owned(place.channel.clone())],
            );
        }
        add(" ORDER BY n.at DESC, n.id DESC, n.channel DESC LIMIT ?", vec![Val::Int(query.limit.into())]);
        self.db.read().await?.rows(&sql, &values).await?.iter().map(stored).collect()
    }
}
