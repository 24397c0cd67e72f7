//! From the commit to the sink, in the journal's order, whoever wrote it.

use super::{CommittedGroup, Member, Sink};
use crate::StoreError;
use crate::clock::Clock;
use crate::db::{Conn, Db, Val};
use crate::journal;
use models::event::Committed;
use models::ids::Seq;
use models::ts::Ts;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often the head of the journal is read.
const POLL: Duration = Duration::from_millis(250);
/// A head that takes longer to read is asked for on a new connection.
const POLL_MAX: Duration = Duration::from_secs(2);
/// Reading what others wrote goes on from where it stands on a new connection after so long.
const FOREIGN_MAX: Duration = Duration::from_secs(30);
/// Rows of another process read at once.
const FOREIGN_CHUNK: i64 = 1_000;

/// Orders groups of several lanes and other processes by sequence.
pub(super) struct Publisher {
    pub(super) next: Seq,
    pub(super) held: BTreeMap<Seq, CommittedGroup>,
    pub(super) sink: Box<dyn Sink>,
}

impl Publisher {
    pub(super) fn publish(&mut self, group: CommittedGroup) {
        if group.first_seq < self.next {
            // the poll was faster and has passed on some of it: all of it goes the usual way once more, which changes
            // nothing, so that whoever waits is told when it is applied and not before
            self.next = self.next.max(group.last_seq + 1);
            self.sink.publish(group);
        } else {
            self.held.insert(group.first_seq, group);
        }
        while let Some(held) = self.held.first_entry().filter(|held| *held.key() <= self.next) {
            let group = held.remove();
            self.next = self.next.max(group.last_seq + 1);
            self.sink.publish(group);
        }
    }
}

/// Reads the head again and again: how fresh the node is, and what other processes wrote. On a connection of its own:
/// slow lists must not make the register old.
pub(super) async fn poll(
    db: Db,
    publisher: Arc<Mutex<Publisher>>,
    clock: Arc<dyn Clock>,
    closed: watch::Receiver<bool>,
) {
    let mut stuck_at = 0;
    let mut kept: Option<Conn> = None;
    while !*closed.borrow() {
        let read_at = clock.now();
        let read = async {
            let mut conn = match kept.take() {
                Some(conn) => conn,
                None => {
                    let mut conn = db.read().await?;
                    // dropped while it hangs, it must not go back to the others
                    conn.close_on_drop();
                    conn
                }
            };
            let head = read_head(&mut conn).await?;
            Ok::<_, sqlx::Error>((conn, head))
        };
        if let Ok(Ok((mut conn, head))) = tokio::time::timeout(POLL_MAX, read).await {
            let missing = {
                let mut publisher = publisher.lock();
                if publisher.next > head {
                    publisher.sink.head(head, read_at);
                    None
                } else {
                    // a group of ours may be between COMMIT and here: only what stays missing is foreign
                    let stuck = stuck_at == publisher.next;
                    stuck_at = publisher.next;
                    let end = publisher.held.keys().next().map_or(head, |first| first - 1);
                    stuck.then_some((publisher.next, end))
                }
            };
            if let Some((from, to)) = missing
                && let Err(error) = within(FOREIGN_MAX, publish_foreign(&mut conn, &publisher, from, to)).await
            {
                tracing::warn!(%error, "what another process wrote cannot be read");
            } else {
                kept = Some(conn);
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(time, work).await.unwrap_or(Err(StoreError::Database(sqlx::Error::PoolTimedOut)))
}

pub(super) async fn read_head(conn: &mut Conn) -> Result<Seq, sqlx::Error> {
    let rows = conn.rows("SELECT seq FROM journal_head WHERE id = 1", &[]).await?;
    rows.first().ok_or(sqlx::Error::RowNotFound)?.int(0)
}

pub(super) async fn publish_foreign(
    conn: &mut Conn,
    publisher: &Mutex<Publisher>,
    from: Seq,
    to: Seq,
) -> Result<(), StoreError> {
    let mut from = from;
    while from <= to {
        let sql = "SELECT seq, at, payload FROM journal WHERE seq >= $1 AND seq <= $2 ORDER BY seq LIMIT $3";
        let rows = conn.rows(sql, &[Val::Int(from), Val::Int(to), Val::Int(FOREIGN_CHUNK)]).await?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            let seq = row.int(0)?;
            let event = journal::decode(&row.text(2)?).map_err(|_| StoreError::Unreadable("journal payload"))?;
            let events: Arc<[Committed]> = Arc::from(vec![Committed { seq, at: Ts(row.int(1)?), event }]);
            let member = Member { events, records: None, rule_batches: Vec::new(), done: None };
            publisher.lock().publish(CommittedGroup { first_seq: seq, last_seq: seq, members: vec![member] });
            from = seq + 1;
        }
    }
    Ok(())
}
