//! The records of a group's batches: their rows, and the two ways in which they go into the table.

use super::RECORD_COLUMNS;
use super::tables::FEED_REPLACED;
use crate::db::{Conn, Val};
use models::ids::{OperatorNo, SourceNo};
use models::record::{Record, RecordStatus};
use sqlx::postgres::{PgConnection, PgCopyIn};

/// Records from which on COPY pays. Below, its last message can wait 40 ms for the server's delayed acknowledgement of
/// the one before, because sqlx leaves Nagle's algorithm on (measured: 45 ms against 1.4 ms for 100 records).
const COPY_RECORDS_MIN: usize = 500;
/// Bytes of a COPY that are sent at once: the server stores them while the next ones are made ready.
const COPY_BYTES: usize = 256 * 1024;

/// A batch of a group, numbered.
#[derive(Clone, Copy)]
pub struct StoredBatch<'a> {
    /// Position among all batches.
    pub batch_no: i64,
    /// Whose.
    pub operator_no: OperatorNo,
    /// From where.
    pub source_no: SourceNo,
    /// What it holds.
    pub records: &'a [Record],
}

impl<'a> StoredBatch<'a> {
    fn rows(self) -> impl Iterator<Item = [Val<'a>; RECORD_COLUMNS.len()]> {
        self.records.iter().enumerate().map(move |(idx, record)| record_values(self, idx, record))
    }

    /// The records whose place others of it take. What failed takes nobody's place.
    fn replaced(self) -> impl Iterator<Item = &'a str> {
        let took_place = self.records.iter().filter(|record| record.status == RecordStatus::Successful);
        took_place.filter_map(|record| record.replaces.as_deref())
    }
}

/// Inserts the records of a group's batches: multi-row statements, for many records on PostgreSQL one binary COPY.
pub async fn records(conn: &mut Conn, batches: &[StoredBatch<'_>]) -> Result<(), sqlx::Error> {
    let count: usize = batches.iter().map(|batch| batch.records.len()).sum();
    match &mut *conn {
        Conn::Postgres(c) if count >= COPY_RECORDS_MIN => copy(c, batches).await?,
        conn => {
            for batch in batches {
                let values: Vec<Val<'_>> = batch.rows().flatten().collect();
                conn.insert("feed_records", RECORD_COLUMNS, "", &values).await?;
            }
        }
    }
    let replaced = batches.iter().flat_map(|batch| {
        let source_no = i64::from(batch.source_no.0);
        batch.replaced().flat_map(move |id| [Val::Int(source_no), Val::Text(id)])
    });
    let values: Vec<Val<'_>> = replaced.collect();
    conn.insert(FEED_REPLACED.name, FEED_REPLACED.columns, FEED_REPLACED.tail, &values).await
}

async fn copy(c: &mut PgConnection, batches: &[StoredBatch<'_>]) -> Result<(), sqlx::Error> {
    let sql = format!("COPY feed_records ({}) FROM STDIN WITH (FORMAT binary)", RECORD_COLUMNS.join(", "));
    let mut copy = c.copy_in_raw(&sql).await?;
    if let Err(error) = send(&mut copy, batches).await {
        copy.abort("the sender failed").await?;
        return Err(error);
    }
    copy.finish().await.map(|_| ())
}

async fn send(copy: &mut PgCopyIn<&mut PgConnection>, batches: &[StoredBatch<'_>]) -> Result<(), sqlx::Error> {
    let mut data = Vec::with_capacity(COPY_BYTES + COPY_BYTES / 8);
    data.extend_from_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    for row in batches.iter().flat_map(|batch| batch.rows()) {
        data.extend_from_slice(&(RECORD_COLUMNS.len() as i16).to_be_bytes());
        row.iter().for_each(|value| copy_value(&mut data, value));
        if data.len() >= COPY_BYTES {
            copy.send(&data[..]).await?;
            data.clear();
        }
    }
    data.extend_from_slice(&(-1i16).to_be_bytes());
    copy.send(data).await.map(|_| ())
}

fn copy_value(out: &mut Vec<u8>, value: &Val<'_>) {
    let bytes: &[u8] = match value {
        Val::Int(v) | Val::IntOpt(Some(v)) => {
            out.extend_from_slice(&8i32.to_be_bytes());
            out.extend_from_slice(&v.to_be_bytes());
            return;
        }
        Val::Text(v) | Val::TextOpt(Some(v)) => v.as_bytes(),
        Val::Owned(v) => v.as_bytes(),
        Val::Bytes(v) | Val::BytesOpt(Some(v)) => v,
        Val::IntOpt(None) | Val::TextOpt(None) | Val::BytesOpt(None) => {
            out.extend_from_slice(&(-1i32).to_be_bytes());
            return;
        }
    };
    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn record_values<'a>(batch: StoredBatch<'a>, idx: usize, r: &'a Record) -> [Val<'a>; RECORD_COLUMNS.len()] {
    let key = |k: Option<models::match_key::MatchKey>| Val::BytesOpt(k.map(|k| k.to_bytes().to_vec()));
    [
        Val::Int(batch.batch_no),
        Val::Int(idx as i64),
        Val::Int(batch.operator_no.0.into()),
        Val::Int(r.occurred_at.0),
        Val::Int(r.id_digest.cast_signed()),
        Val::Int(r.content_digest.into()),
        Val::Int(r.kind.code().into()),
        Val::Int(r.status.code().into()),
        Val::Int(r.amount_minor),
        Val::Text(r.currency.as_str()),
        Val::Text(&r.record_id),
        Val::TextOpt(r.replaces.as_deref()),
        key(r.player),
        Val::IntOpt(r.balance_after_minor),
        Val::IntOpt(r.product.map(|p| p.code().into())),
        Val::IntOpt(r.channel.map(|c| c.code().into())),
        Val::TextOpt(r.bet_id.as_deref()),
        Val::TextOpt(r.session_id.as_deref()),
        Val::TextOpt(r.region.as_deref()),
        key(r.device),
        key(r.account),
        Val::Text(&r.detail),
        Val::IntOpt(r.is_identified.then_some(1)),
    ]
}
