//! Everything between BEGIN and COMMIT of a group: rows, numbers, the journal's head and what goes behind it.

use super::{Attachment, CommitError, CommittedParts, Lane, Pending};
use crate::db::{Conn, Row, Val};
use crate::journal::{self, JournalRow};
use crate::project::{self, StoredBatch};
use models::event::Event;
use models::feed::FeedBatchStored;
use models::ids::{AlertId, Seq};
use models::ts::Ts;
use std::collections::HashSet;
use std::sync::Arc;

/// Alerts that are looked up at once.
const IDS_AT_ONCE: usize = 32;

impl Lane {
    /// Everything between BEGIN and COMMIT; gives the last journal row's place and digest.
    #[allow(clippy::type_complexity)]
    pub(super) async fn fill(
        &mut self,
        conn: &mut Conn,
        group: &[Pending],
    ) -> Result<(CommittedParts, Option<(Seq, [u8; 32])>), sqlx::Error> {
        let known = known_revisions(conn, group).await?;
        let mut seen: HashSet<(AlertId, i64)> = HashSet::new();
        let at = self.clock.now();
        let mut events: Vec<(Event, Ts)> = Vec::new();
        let mut lengths = Vec::with_capacity(group.len());
        for pending in group {
            let before = events.len();
            for event in &pending.events {
                if let Event::AlertRevised(r) = event {
                    let key = (r.id, r.operator_seq);
                    if known.contains(&key) || !seen.insert(key) {
                        continue;
                    }
                }
                let mut event = event.clone();
                self.counters.assign(&mut event);
                events.push((event, at));
            }
            lengths.push(events.len() - before);
        }
        let attachments: Vec<&Attachment> = group.iter().flat_map(|p| &p.attachments).collect();
        project::write(conn, &events, &attachments).await?;
        for attachment in &attachments {
            match attachment {
                Attachment::Contacts(contacts) => contacts.finish(conn).await?,
                Attachment::NoticeMarks(marks) => marks.write(conn).await?,
                _ => {}
            }
        }
        let mut batches = Vec::new();
        let mut rest = &events[..];
        for (pending, length) in group.iter().zip(&lengths) {
            let (own, behind) = rest.split_at(*length);
            rest = behind;
            let batch =
                own.iter().find_map(|(event, _)| if let Event::FeedBatchStored(b) = event { Some(b) } else { None });
            if let (Some(batch), Some(records)) = (batch, pending.records()) {
                let FeedBatchStored { batch_no, operator_no, source_no, .. } = *batch;
                batches.push((StoredBatch { batch_no, operator_no, source_no, records }, pending.class()));
            }
        }
        let stored: Vec<StoredBatch<'_>> = batches.iter().map(|(batch, _)| *batch).collect();
        project::records(conn, &stored).await?;
        for (batch, class) in batches {
            if let Some(class) = class {
                project::classes(conn, class, batch).await?;
            }
        }
        let key_epochs: Vec<i64> = group.iter().filter_map(|p| p.key_epoch).collect();
        if events.is_empty() {
            if !key_epochs.is_empty() {
                take_head(conn, &key_epochs).await?;
            }
            let events = group.iter().map(|_| Arc::from(Vec::new())).collect();
            return Ok((CommittedParts { first_seq: 0, last_seq: -1, events }, None));
        }
        let rows = self.journal(conn, events, at, &key_epochs).await?;
        project::rule_inputs(conn, &rows, &attachments).await?;
        let last = rows.last().map(|row| (row.committed.seq, row.digest));
        let first_seq = rows.first().map_or(0, |row| row.committed.seq);
        let last_seq = last.map_or(-1, |(seq, _)| seq);
        let mut committed = rows.into_iter().map(|row| row.committed);
        let events = lengths.iter().map(|n| committed.by_ref().take(*n).collect()).collect();
        Ok((CommittedParts { first_seq, last_seq, events }, last))
    }

    /// Takes the head, late, and puts the events behind it.
    async fn journal(
        &mut self,
        conn: &mut Conn,
        events: Vec<(Event, Ts)>,
        at: Ts,
        key_epochs: &[i64],
    ) -> Result<Vec<JournalRow>, sqlx::Error> {
        let head = take_head(conn, key_epochs).await?;
        let steps = events.iter().filter(|(event, _)| event.is_key_step()).count() as i64;
        let before = head.bytes(1)?.try_into().map_err(|_| sqlx::Error::Decode("head digest".into()))?;
        let events = events.into_iter().map(|(event, _)| event).collect();
        let rows = journal::extend(&self.chain, (head.int(0)?, before), at, events)
            .map_err(|e| sqlx::Error::Encode(e.into()))?;
        project::journal(conn, &rows).await?;
        if let Some(last) = rows.last() {
            self.group_no += 1;
            let mut group_id = at.0.to_be_bytes().to_vec();
            group_id.extend_from_slice(&self.group_no.to_be_bytes());
            let sql =
                "UPDATE journal_head SET seq = $1, digest = $2, group_id = $3, key_epoch = key_epoch + $4 WHERE id = 1";
            let (seq, digest) = (Val::Int(last.committed.seq), Val::Bytes(last.digest.to_vec()));
            conn.run(sql, &[seq, digest, Val::Bytes(group_id), Val::Int(steps)]).await?;
        }
        Ok(rows)
    }

    /// Makes the months' partitions that a group needs, outside its transaction.
    pub(super) async fn partitions(&mut self, conn: &mut Conn, group: &[Pending]) -> Result<(), sqlx::Error> {
        if matches!(conn, Conn::Sqlite(_)) {
            return Ok(());
        }
        let times = group.iter().filter_map(Pending::records).flat_map(|records| records.iter().map(|r| r.occurred_at));
        let mut wanted: HashSet<i64> = HashSet::new();
        let mut last = (0, 0);
        for at in times {
            if at.0 < last.0 || at.0 >= last.1 {
                last = month(at);
                wanted.insert(last.0);
            }
        }
        for start in wanted {
            if self.months.contains(&start) {
                continue;
            }
            let (start, end) = month(Ts(start));
            let label = Ts(start).to_string();
            let label = label[..7].replace('-', "_");
            let sql = format!(
                "CREATE TABLE IF NOT EXISTS feed_records_{label} PARTITION OF feed_records FOR VALUES FROM ({start}) TO ({end})"
            );
            conn.run(&sql, &[]).await?;
            self.months.insert(start);
        }
        Ok(())
    }
}

/// First instant of the month of `at` and of the next one, microseconds.
fn month(at: Ts) -> (i64, i64) {
    let text = at.to_string();
    let (year, number): (i32, u32) = (text[..4].parse().unwrap_or(1970), text[5..7].parse().unwrap_or(1));
    let (next_year, next) = if number == 12 { (year + 1, 1) } else { (year, number + 1) };
    let start =
        |year: i32, number: u32| Ts::parse(&format!("{year:04}-{number:02}-01T00:00:00Z")).unwrap_or_default().0;
    (start(year, number), start(next_year, next))
}

/// Reads the head and keeps everybody else from it until the transaction ends. SQLite's transactions that write are one
/// after the other by themselves.
pub(super) fn head_for_update(conn: &Conn) -> &'static str {
    match conn {
        Conn::Sqlite(_) => "SELECT seq, digest, key_epoch FROM journal_head WHERE id = 1",
        Conn::Postgres(_) => "SELECT seq, digest, key_epoch FROM journal_head WHERE id = 1 FOR UPDATE",
    }
}

/// Takes the head; refuses what was derived or sealed in another epoch of the keys. A step of theirs holds the head, too:
/// whatever comes behind it knows of it, and whatever came before it is there to be seen.
async fn take_head(conn: &mut Conn, key_epochs: &[i64]) -> Result<Row, sqlx::Error> {
    let head = conn.rows(head_for_update(conn), &[]).await?.into_iter().next().ok_or(sqlx::Error::RowNotFound)?;
    let now = head.int(2)?;
    if key_epochs.iter().any(|epoch| *epoch != now) {
        return Err(sqlx::Error::Encode(Box::new(CommitError::Rotated)));
    }
    Ok(head)
}

/// Which of the group's alert revisions are stored already.
async fn known_revisions(conn: &mut Conn, group: &[Pending]) -> Result<HashSet<(AlertId, i64)>, sqlx::Error> {
    let mut known = HashSet::new();
    let ids: HashSet<AlertId> = group
        .iter()
        .flat_map(|p| &p.events)
        .filter_map(|e| if let Event::AlertRevised(r) = e { Some(r.id) } else { None })
        .collect();
    let ids: Vec<AlertId> = ids.into_iter().collect();
    for some in ids.chunks(IDS_AT_ONCE) {
        // always as many variables, so that the statement stays prepared
        let list: Vec<String> = (1..=IDS_AT_ONCE).map(|n| format!("${n}")).collect();
        let values: Vec<Val<'_>> =
            (0..IDS_AT_ONCE).map(|n| Val::Owned(some.get(n).unwrap_or(&some[0]).to_string())).collect();
        let sql = format!("SELECT id, operator_seq FROM alert_revisions WHERE id IN ({})", list.join(", "));
        for row in conn.rows(&sql, &values).await? {
            if let Ok(id) = row.text(0)?.parse() {
                known.insert((id, row.int(1)?));
            }
        }
    }
    Ok(known)
}
