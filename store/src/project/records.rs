//! A batch's records: their rows, and the two ways in which they go into the table.

use super::RECORD_COLUMNS;
use super::tables::FEED_REPLACED;
use crate::db::{Conn, Val};
use models::ids::SourceNo;
use models::record::{Record, RecordStatus};
use sqlx::postgres::PgConnection;

/// Records from which on COPY pays. Below, its last message can wait 40 ms for the server's delayed acknowledgement of
/// the one before, because sqlx leaves Nagle's algorithm on (measured: 45 ms against 1.4 ms for 100 records).
const COPY_RECORDS_MIN: usize = 500;

/// Inserts a batch's records: multi-row statements, for large batches on PostgreSQL binary COPY.
pub async fn records(conn: &mut Conn, batch_no: i64, operator_no: u16, records: &[Record]) -> Result<(), sqlx::Error> {
    match conn {
        Conn::Postgres(c) if records.len() >= COPY_RECORDS_MIN => copy(c, batch_no, operator_no, records).await,
        conn => {
            let mut values = Vec::with_capacity(records.len() * RECORD_COLUMNS.len());
            for (idx, record) in records.iter().enumerate() {
                values.extend(record_values(batch_no, idx, operator_no, record));
            }
            conn.insert("feed_records", RECORD_COLUMNS, "", &values).await
        }
    }
}

/// Notes which records a batch takes the place of.
pub async fn replaced(conn: &mut Conn, source_no: SourceNo, records: &[Record]) -> Result<(), sqlx::Error> {
    // what failed takes nobody's place
    let took_place = records.iter().filter(|record| record.status == RecordStatus::Successful);
    let replaced = took_place.filter_map(|record| record.replaces.as_deref());
    let values: Vec<Val<'_>> = replaced.flat_map(|id| [Val::Int(source_no.0.into()), Val::Text(id)]).collect();
    conn.insert(FEED_REPLACED.name, FEED_REPLACED.columns, FEED_REPLACED.tail, &values).await
}

async fn copy(c: &mut PgConnection, batch_no: i64, operator_no: u16, records: &[Record]) -> Result<(), sqlx::Error> {
    let sql = format!("COPY feed_records ({}) FROM STDIN WITH (FORMAT binary)", RECORD_COLUMNS.join(", "));
    let mut data = Vec::with_capacity(records.len() * 512);
    data.extend_from_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    for (idx, record) in records.iter().enumerate() {
        data.extend_from_slice(&(RECORD_COLUMNS.len() as i16).to_be_bytes());
        for value in record_values(batch_no, idx, operator_no, record) {
            copy_value(&mut data, &value);
        }
    }
    data.extend_from_slice(&(-1i16).to_be_bytes());
    let mut copy = c.copy_in_raw(&sql).await?;
    if let Err(error) = copy.send(data).await {
        copy.abort("the sender failed").await?;
        return Err(error);
    }
    copy.finish().await.map(|_| ())
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

fn record_values(batch_no: i64, idx: usize, operator_no: u16, r: &Record) -> [Val<'_>; 23] {
    let key = |k: Option<models::match_key::MatchKey>| Val::BytesOpt(k.map(|k| k.to_bytes().to_vec()));
    [
        Val::Int(batch_no),
        Val::Int(idx as i64),
        Val::Int(operator_no.into()),
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
