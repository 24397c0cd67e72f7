//! What the classes of data say, as tables: written in the transaction of the batch, so that they are never behind it.
//!
//! Each batch is summed up first and then written row by row of its keys in their order: a key comes once in a
//! statement, and two writers take the rows they share in the same order. An older record never overwrites a newer one;
//! of two of the same time the one that came last stands.

use super::tables::Table;
use super::{Gathered, StoredBatch, Val, body};
use crate::db::Conn;
use models::document_records::{Detail, Direction};
use models::feed::DataClass;
use models::match_key::MatchKey;
use models::record::{Product, Record, RecordKind, RecordStatus, is_break};
use models::ts::{DAY, Ts};
use std::collections::BTreeMap;

/// A sum that stays at the largest number rather than fail: SQLite would make a fraction of it, PostgreSQL an error.
macro_rules! adds {
    ($table:literal, $($column:literal),+) => {
        concat!($(
            $column, " = CASE WHEN ", $table, ".", $column, " > 9223372036854775807 - excluded.", $column,
            " THEN 9223372036854775807 ELSE ", $table, ".", $column, " + excluded.", $column, " END, "
        ),+)
    };
}
/// The later of two times, where there are two.
macro_rules! latest {
    ($table:literal, $($column:literal),+) => {
        concat!($(
            $column, " = CASE WHEN ", $table, ".", $column, " IS NULL OR excluded.", $column, " > ", $table, ".", $column,
            " THEN excluded.", $column, " ELSE ", $table, ".", $column, " END, "
        ),+)
    };
}
/// Everything of a newer version.
macro_rules! newer {
    ($table:literal, $key:literal, $at:literal, $($column:literal),+) => {
        concat!(
            "ON CONFLICT (", $key, ") DO UPDATE SET ", $($column, " = excluded.", $column, ", ",)+
            $at, " = excluded.", $at, " WHERE excluded.", $at, " >= ", $table, ".", $at
        )
    };
}

const SALES_DAYS: Table = Table {
    name: "sales_days",
    columns: &[
        "operator_no",
        "day",
        "outlet",
        "product",
        "currency",
        "sold_count",
        "sold_minor",
        "redeemed_count",
        "redeemed_minor",
        "voided_count",
        "voided_minor",
        "failed_count",
        "replacing_count",
        "batch_no",
        "idx",
    ],
    tail: concat!(
        "ON CONFLICT (operator_no, day, outlet, product, currency) DO UPDATE SET ",
        adds!(
            "sales_days",
            "sold_count",
            "sold_minor",
            "redeemed_count",
            "redeemed_minor",
            "voided_count",
            "voided_minor",
            "failed_count",
            "replacing_count"
        ),
        "batch_no = excluded.batch_no, idx = excluded.idx"
    ),
};
const PLAYER_ACCOUNTS: Table = Table {
    name: "player_accounts",
    columns: &["operator_no", "player", "opened_at", "closed_at", "last_login_at", "last_record_at", "batch_no", "idx"],
    tail: concat!(
        "ON CONFLICT (operator_no, player) DO UPDATE SET ",
        latest!("player_accounts", "opened_at", "closed_at", "last_login_at"),
        "batch_no = CASE WHEN excluded.last_record_at >= player_accounts.last_record_at THEN excluded.batch_no ELSE player_accounts.batch_no END, ",
        "idx = CASE WHEN excluded.last_record_at >= player_accounts.last_record_at THEN excluded.idx ELSE player_accounts.idx END, ",
        "last_record_at = CASE WHEN excluded.last_record_at >= player_accounts.last_record_at THEN excluded.last_record_at ELSE player_accounts.last_record_at END"
    ),
};
const PLAYER_LIMITS: Table = Table {
    name: "player_limits",
    columns: &["operator_no", "player", "limit_type", "minor", "since"],
    tail: newer!("player_limits", "operator_no, player, limit_type", "since", "minor"),
};
const LICENCE_STATUSES: Table = Table {
    name: "licence_statuses",
    columns: &["batch_no", "idx", "operator_no", "number", "state", "occurred_at", "record_id", "body"],
    tail: "",
};
const INVOICES: Table = Table {
    name: "invoices",
    columns: &[
        "operator_no",
        "authority",
        "number",
        "state",
        "occurred_at",
        "amount_minor",
        "currency",
        "record_id",
        "batch_no",
        "idx",
        "body",
    ],
    tail: newer!(
        "invoices",
        "operator_no, authority, number",
        "occurred_at",
        "state",
        "amount_minor",
        "currency",
        "record_id",
        "batch_no",
        "idx",
        "body"
    ),
};
const PAYMENTS: Table = Table {
    name: "payments",
    columns: &[
        "operator_no",
        "reference",
        "state",
        "occurred_at",
        "amount_minor",
        "currency",
        "method",
        "account",
        "record_id",
        "batch_no",
        "idx",
        "body",
    ],
    tail: newer!(
        "payments",
        "operator_no, reference",
        "occurred_at",
        "state",
        "amount_minor",
        "currency",
        "method",
        "account",
        "record_id",
        "batch_no",
        "idx",
        "body"
    ),
};
const BANK_LINES: Table = Table {
    name: "bank_lines",
    columns: &[
        "operator_no",
        "account",
        "statement",
        "line",
        "change_minor",
        "balance_after_minor",
        "occurred_at",
        "currency",
        "record_id",
        "batch_no",
        "idx",
        "body",
    ],
    tail: newer!(
        "bank_lines",
        "operator_no, account, statement, line",
        "occurred_at",
        "change_minor",
        "balance_after_minor",
        "currency",
        "record_id",
        "batch_no",
        "idx",
        "body"
    ),
};

/// Writes what a batch of a class says into the tables of the class. Play has none beside its records.
pub async fn classes(conn: &mut Conn, class: DataClass, batch: StoredBatch<'_>) -> Result<(), sqlx::Error> {
    let rows = match class {
        DataClass::GamingTransactions => return Ok(()),
        DataClass::SalesRedemptions => sales(batch)?,
        DataClass::PlayerAccounts => players(batch)?,
        DataClass::Licences => licences(batch)?,
        DataClass::Invoices => invoices(batch)?,
        DataClass::Payments => payments(batch)?,
        DataClass::BankStatements => bank_lines(batch)?,
    };
    rows.insert(conn).await
}

/// Validation has written it: what cannot be read refuses the batch, rather than be missing in a table unseen.
fn detail(record: &Record) -> Result<Detail, sqlx::Error> {
    Detail::of(record).map_err(|e| sqlx::Error::Encode(e.into()))
}

fn document<T>(document: Option<T>) -> Result<T, sqlx::Error> {
    document.ok_or_else(|| sqlx::Error::Encode("a document without its object".into()))
}

/// Keeps the newest by time; of two of the same time the later one.
fn keep_newest<K: Ord, V>(newest: &mut BTreeMap<K, (Ts, V)>, key: K, at: Ts, value: V) {
    if newest.get(&key).is_none_or(|(held, _)| at >= *held) {
        newest.insert(key, (at, value));
    }
}

#[derive(Default)]
struct Sold {
    sold: (i64, i64),
    redeemed: (i64, i64),
    voided: (i64, i64),
    failed: i64,
    replacing: i64,
    idx: usize,
}

fn sales(batch: StoredBatch<'_>) -> Result<Gathered<'static>, sqlx::Error> {
    let mut days: BTreeMap<(i64, String, i64, &str), Sold> = BTreeMap::new();
    for (idx, record) in batch.records.iter().enumerate() {
        let outlet = detail(record)?.outlet_id.unwrap_or_default();
        let product = record.product.map_or(NO_PRODUCT, |product| product.code().into());
        let key = (record.occurred_at.floor_to(DAY).0, outlet, product, record.currency.as_str());
        let sums = days.entry(key).or_default();
        sums.idx = idx;
        if record.status != RecordStatus::Successful {
            sums.failed += 1;
            continue;
        }
        sums.replacing += i64::from(record.replaces.is_some());
        let (count, minor) = match record.kind {
            RecordKind::TicketSale => &mut sums.sold,
            RecordKind::Redemption => &mut sums.redeemed,
            _ => &mut sums.voided,
        };
        *count += 1;
        *minor = minor.saturating_add(record.amount_minor);
    }
    let mut rows = Gathered::default();
    for ((day, outlet, product, currency), sums) in days {
        rows.add(
            &SALES_DAYS,
            [
                Val::Int(batch.operator_no.0.into()),
                Val::Int(day),
                Val::Owned(outlet),
                Val::Int(product),
                Val::Owned(currency.to_owned()),
                Val::Int(sums.sold.0),
                Val::Int(sums.sold.1),
                Val::Int(sums.redeemed.0),
                Val::Int(sums.redeemed.1),
                Val::Int(sums.voided.0),
                Val::Int(sums.voided.1),
                Val::Int(sums.failed),
                Val::Int(sums.replacing),
                Val::Int(batch.batch_no),
                Val::Int(sums.idx as i64),
            ],
        );
    }
    Ok(rows)
}

/// Where no product is named.
const NO_PRODUCT: i64 = -1;

/// The product of a stored code.
pub fn product_of(code: i64) -> Option<Product> {
    i16::try_from(code).ok().and_then(Product::from_code)
}

#[derive(Default)]
struct Account {
    opened: Option<Ts>,
    closed: Option<Ts>,
    login: Option<Ts>,
    newest: (Ts, usize),
}

fn players(batch: StoredBatch<'_>) -> Result<Gathered<'static>, sqlx::Error> {
    let mut accounts: BTreeMap<MatchKey, Account> = BTreeMap::new();
    let mut limits: BTreeMap<(MatchKey, String), (Ts, Option<i64>)> = BTreeMap::new();
    // what failed has changed nothing
    let successful = batch.records.iter().enumerate().filter(|(_, record)| record.status == RecordStatus::Successful);
    for (idx, record) in successful {
        let Some(player) = record.player else { continue };
        let at = record.occurred_at;
        let account = accounts.entry(player).or_default();
        account.newest = account.newest.max((at, idx));
        match record.kind {
            RecordKind::AccountOpened => account.opened = account.opened.max(Some(at)),
            RecordKind::AccountClosed => account.closed = account.closed.max(Some(at)),
            RecordKind::Login => account.login = account.login.max(Some(at)),
            RecordKind::LimitChange => {
                let detail = detail(record)?;
                let kind = document(detail.limit_type)?;
                // a break from play has no amount, and one without stands for a limit that was taken away
                if !is_break(&kind) {
                    keep_newest(&mut limits, (player, kind), at, detail.limit_new_minor);
                }
            }
            _ => {}
        }
    }
    let mut rows = Gathered::default();
    for (player, account) in accounts {
        rows.add(
            &PLAYER_ACCOUNTS,
            [
                Val::Int(batch.operator_no.0.into()),
                Val::Bytes(player.to_bytes().to_vec()),
                Val::IntOpt(account.opened.map(|at| at.0)),
                Val::IntOpt(account.closed.map(|at| at.0)),
                Val::IntOpt(account.login.map(|at| at.0)),
                Val::Int(account.newest.0.0),
                Val::Int(batch.batch_no),
                Val::Int(account.newest.1 as i64),
            ],
        );
    }
    for ((player, kind), (since, minor)) in limits {
        rows.add(
            &PLAYER_LIMITS,
            [
                Val::Int(batch.operator_no.0.into()),
                Val::Bytes(player.to_bytes().to_vec()),
                Val::Owned(kind),
                Val::IntOpt(minor),
                Val::Int(since.0),
            ],
        );
    }
    Ok(rows)
}

fn licences(batch: StoredBatch<'_>) -> Result<Gathered<'_>, sqlx::Error> {
    let mut rows = Gathered::default();
    for (idx, record) in batch.records.iter().enumerate() {
        let status = document(detail(record)?.licence_status)?;
        rows.add(
            &LICENCE_STATUSES,
            [
                Val::Int(batch.batch_no),
                Val::Int(idx as i64),
                Val::Int(batch.operator_no.0.into()),
                Val::Owned(status.number.clone()),
                Val::Text(status.state.as_str()),
                Val::Int(record.occurred_at.0),
                Val::Text(&record.record_id),
                body(&status),
            ],
        );
    }
    Ok(rows)
}

fn invoices(batch: StoredBatch<'_>) -> Result<Gathered<'_>, sqlx::Error> {
    let mut newest = BTreeMap::new();
    for (idx, record) in batch.records.iter().enumerate() {
        let invoice = document(detail(record)?.invoice)?;
        let key = (invoice.authority.clone(), invoice.number.clone());
        keep_newest(&mut newest, key, record.occurred_at, (idx, record, invoice));
    }
    let mut rows = Gathered::default();
    for ((authority, number), (at, (idx, record, invoice))) in newest {
        rows.add(
            &INVOICES,
            [
                Val::Int(batch.operator_no.0.into()),
                Val::Owned(authority),
                Val::Owned(number),
                Val::Text(invoice.state.as_str()),
                Val::Int(at.0),
                Val::Int(record.amount_minor),
                Val::Text(record.currency.as_str()),
                Val::Text(&record.record_id),
                Val::Int(batch.batch_no),
                Val::Int(idx as i64),
                body(&invoice),
            ],
        );
    }
    Ok(rows)
}

fn payments(batch: StoredBatch<'_>) -> Result<Gathered<'_>, sqlx::Error> {
    let mut newest = BTreeMap::new();
    for (idx, record) in batch.records.iter().enumerate() {
        let detail = detail(record)?;
        let payment = document(detail.payment)?;
        let value = (idx, record, detail.payment_method, payment.clone());
        keep_newest(&mut newest, payment.reference, record.occurred_at, value);
    }
    let mut rows = Gathered::default();
    for (reference, (at, (idx, record, method, payment))) in newest {
        rows.add(
            &PAYMENTS,
            [
                Val::Int(batch.operator_no.0.into()),
                Val::Owned(reference),
                Val::Text(payment.state.as_str()),
                Val::Int(at.0),
                Val::Int(record.amount_minor),
                Val::Text(record.currency.as_str()),
                method.map_or(Val::TextOpt(None), Val::Owned),
                Val::BytesOpt(record.account.map(|account| account.to_bytes().to_vec())),
                Val::Text(&record.record_id),
                Val::Int(batch.batch_no),
                Val::Int(idx as i64),
                body(&payment),
            ],
        );
    }
    Ok(rows)
}

fn bank_lines(batch: StoredBatch<'_>) -> Result<Gathered<'_>, sqlx::Error> {
    let mut newest = BTreeMap::new();
    for (idx, record) in batch.records.iter().enumerate() {
        let line = document(detail(record)?.bank)?;
        let (account, balance) = (document(record.account)?, document(record.balance_after_minor)?);
        let key = (account, line.statement.clone(), line.line);
        keep_newest(&mut newest, key, record.occurred_at, (idx, record, balance, line));
    }
    let mut rows = Gathered::default();
    for ((account, statement, number), (at, (idx, record, balance, line))) in newest {
        let change = match line.direction {
            Direction::Credit => record.amount_minor,
            Direction::Debit => -record.amount_minor,
        };
        rows.add(
            &BANK_LINES,
            [
                Val::Int(batch.operator_no.0.into()),
                Val::Bytes(account.to_bytes().to_vec()),
                Val::Owned(statement),
                Val::Int(number.into()),
                Val::Int(change),
                Val::Int(balance),
                Val::Int(at.0),
                Val::Text(record.currency.as_str()),
                Val::Text(&record.record_id),
                Val::Int(batch.batch_no),
                Val::Int(idx as i64),
                body(&line),
            ],
        );
    }
    Ok(rows)
}
