//! Reads of the tables of the classes of data: newest first, page by page.

use super::feeds::{BATCHES_AT_ONCE, RECORD, RECORD_WIDTH, record, rows_of_batches};
use super::{key_of, parse};
use crate::StoreError;
use crate::db::{Row, Val};
use crate::open::Store;
use crate::project::product_of;
use models::document_records::{BankLine, Direction, Invoice, LicenceStatus, Payment};
use models::ids::{OperatorNo, SourceNo};
use models::match_key::MatchKey;
use models::money::Currency;
use models::record::{Product, Record};
use models::ts::Ts;
use std::collections::HashMap;

/// Players whose limits are asked for at once: the texts of statements are few and stay prepared.
const PLAYERS_AT_ONCE: usize = 32;
/// Records that a page of them reads at most, before it is a short page.
const RECORDS_AT_ONCE: i64 = 20_000;

/// Where a row stands in its list: by its time, or by the number of its input, then by the record that wrote it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct RowPlace {
    pub order: i64,
    pub batch_no: i64,
    pub idx: i64,
}

/// Which rows of a class.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ClassQuery {
    pub operator_no: OperatorNo,
    pub state: Option<&'static str>,
    /// At that time or later.
    pub from: Option<Ts>,
    /// Before that time.
    pub to: Option<Ts>,
    /// Behind this row of the list.
    pub behind: Option<RowPlace>,
    pub limit: u32,
}

/// A page of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassPage<T> {
    /// Newest first.
    pub rows: Vec<T>,
    /// Where the next page begins; none at the end.
    pub next: Option<RowPlace>,
}

/// Sums of a UTC day of retail in one outlet, product and currency. Minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SalesDay {
    pub day: Ts,
    pub outlet: Option<String>,
    pub product: Option<Product>,
    pub currency: Currency,
    pub sold_count: i64,
    pub sold_minor: i64,
    pub redeemed_count: i64,
    pub redeemed_minor: i64,
    pub voided_count: i64,
    pub voided_minor: i64,
    /// Records of what failed or was cancelled: in none of the sums.
    pub failed_count: i64,
    /// Records that say they replace another, whose amount is still in the sums.
    pub replacing_count: i64,
}

/// A player's account as its newest records have it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PlayerAccount {
    pub player: MatchKey,
    pub opened_at: Option<Ts>,
    pub closed_at: Option<Ts>,
    pub last_login_at: Option<Ts>,
    pub last_record_at: Ts,
    /// By their type.
    pub limits: Vec<PlayerLimit>,
}

/// A limit of a player.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PlayerLimit {
    pub kind: String,
    /// None: it was taken away.
    pub minor: Option<i64>,
    pub since: Ts,
}

/// What an authority has said of a licence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StoredLicence {
    pub record_id: String,
    pub occurred_at: Ts,
    /// Nothing newer is known of this licence.
    pub current: bool,
    pub status: LicenceStatus,
}

/// The newest version of an invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StoredInvoice {
    pub record_id: String,
    pub occurred_at: Ts,
    pub amount_minor: i64,
    pub currency: Currency,
    pub invoice: Invoice,
}

/// The newest version of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StoredPayment {
    pub record_id: String,
    pub occurred_at: Ts,
    pub amount_minor: i64,
    pub currency: Currency,
    pub method: Option<String>,
    pub account: Option<MatchKey>,
    pub payment: Payment,
}

/// A line of a bank statement.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StoredBankLine {
    pub record_id: String,
    pub occurred_at: Ts,
    pub account: MatchKey,
    pub amount_minor: i64,
    pub currency: Currency,
    pub balance_after_minor: i64,
    /// The balance does not follow from that of the line before in the same statement.
    pub balance_break: bool,
    pub line: BankLine,
}

/// A list of one table: its columns (place first), and what it is ordered and filtered by.
struct List {
    table: &'static str,
    columns: &'static str,
    order: &'static str,
    state: &'static str,
}

const SALES: List = List {
    table: "sales_days",
    columns: "t.outlet, t.product, t.currency, t.sold_count, t.sold_minor, t.redeemed_count, t.redeemed_minor, t.voided_count, t.voided_minor, t.failed_count, t.replacing_count",
    order: "t.day",
    state: "''",
};
const PLAYERS: List = List {
    table: "player_accounts",
    columns: "t.player, t.opened_at, t.closed_at, t.last_login_at",
    order: "t.last_record_at",
    state: "CASE WHEN t.closed_at IS NULL OR t.opened_at > t.closed_at THEN 'open' ELSE 'closed' END",
};
const LICENCES: List = List {
    table: "licence_statuses",
    columns: "t.record_id, t.body, CAST(CASE WHEN EXISTS (SELECT 1 FROM licence_statuses n WHERE n.operator_no = t.operator_no AND n.number = t.number AND (n.occurred_at, n.batch_no, n.idx) > (t.occurred_at, t.batch_no, t.idx)) THEN 0 ELSE 1 END AS BIGINT)",
    order: "t.occurred_at",
    state: "t.state",
};
const INVOICES: List = List {
    table: "invoices",
    columns: "t.record_id, t.body, t.amount_minor, t.currency",
    order: "t.occurred_at",
    state: "t.state",
};
const PAYMENTS: List = List {
    table: "payments",
    columns: "t.record_id, t.body, t.amount_minor, t.currency, t.method, t.account",
    order: "t.occurred_at",
    state: "t.state",
};
const BANK_LINES: List = List {
    table: "bank_lines",
    columns: "t.record_id, t.body, t.change_minor, t.currency, t.balance_after_minor, t.account, (SELECT p.balance_after_minor FROM bank_lines p WHERE p.operator_no = t.operator_no AND p.account = t.account AND p.statement = t.statement AND p.line < t.line ORDER BY p.line DESC LIMIT 1)",
    order: "t.occurred_at",
    state: "''",
};

/// First column behind the place.
const OWN: usize = 3;

fn currency(row: &Row, i: usize) -> Result<Currency, StoreError> {
    Currency::parse(&row.text(i)?).map_err(|_| StoreError::Unreadable("currency"))
}

impl List {
    fn statement(&self, query: &ClassQuery) -> (String, Vec<Val<'static>>) {
        let mut values = vec![Val::Int(query.operator_no.0.into())];
        let mut place = |value: Val<'static>| {
            values.push(value);
            format!("${}", values.len())
        };
        let List { table, columns, order, state } = self;
        let mut sql = format!("SELECT {order}, t.batch_no, t.idx, {columns} FROM {table} t WHERE t.operator_no = $1");
        if let Some(wanted) = query.state {
            sql.push_str(&format!(" AND {state} = {}", place(Val::Text(wanted))));
        }
        if let Some(from) = query.from {
            sql.push_str(&format!(" AND {order} >= {}", place(Val::Int(from.0))));
        }
        if let Some(to) = query.to {
            sql.push_str(&format!(" AND {order} < {}", place(Val::Int(to.0))));
        }
        if let Some(behind) = query.behind {
            let bound = [behind.order, behind.batch_no, behind.idx].map(|number| place(Val::Int(number)));
            sql.push_str(&format!(" AND ({order}, t.batch_no, t.idx) < ({})", bound.join(", ")));
        }
        let limit = place(Val::Int(i64::from(query.limit) + 1));
        sql.push_str(&format!(" ORDER BY {order} DESC, t.batch_no DESC, t.idx DESC LIMIT {limit}"));
        (sql, values)
    }
}

impl Store {
    async fn class_rows<T>(
        &self,
        list: &List,
        query: &ClassQuery,
        read: impl Fn(&Row) -> Result<T, StoreError>,
    ) -> Result<ClassPage<T>, StoreError> {
        let (sql, values) = list.statement(query);
        let rows = self.rows(&sql, &values).await?;
        let shown = rows.get(..query.limit as usize).unwrap_or(&rows);
        let next = match shown.last().filter(|_| rows.len() > shown.len()) {
            Some(row) => Some(RowPlace { order: row.int(0)?, batch_no: row.int(1)?, idx: row.int(2)? }),
            None => None,
        };
        Ok(ClassPage { rows: shown.iter().map(read).collect::<Result<_, _>>()?, next })
    }

    /// Sums of retail days.
    pub async fn sales_days(&self, query: &ClassQuery) -> Result<ClassPage<SalesDay>, StoreError> {
        let read = |row: &Row| {
            Ok(SalesDay {
                day: Ts(row.int(0)?),
                outlet: Some(row.text(OWN)?).filter(|outlet| !outlet.is_empty()),
                product: product_of(row.int(OWN + 1)?),
                currency: currency(row, OWN + 2)?,
                sold_count: row.int(OWN + 3)?,
                sold_minor: row.int(OWN + 4)?,
                redeemed_count: row.int(OWN + 5)?,
                redeemed_minor: row.int(OWN + 6)?,
                voided_count: row.int(OWN + 7)?,
                voided_minor: row.int(OWN + 8)?,
                failed_count: row.int(OWN + 9)?,
                replacing_count: row.int(OWN + 10)?,
            })
        };
        self.class_rows(&SALES, query, read).await
    }

    /// How the database would look accounts up, step by step: for tests that see to it that it reads no more than it shows.
    #[doc(hidden)]
    pub async fn player_accounts_plan(&self, query: &ClassQuery) -> Result<String, StoreError> {
        let (sql, values) = PLAYERS.statement(query);
        let (explain, column) = if self.is_postgres() { ("EXPLAIN", 0) } else { ("EXPLAIN QUERY PLAN", 3) };
        let steps = self.rows(&format!("{explain} {sql}"), &values).await?;
        let steps: Result<Vec<String>, _> = steps.iter().map(|step| step.text(column)).collect();
        Ok(steps?.join("\n"))
    }

    /// Accounts of players and their limits; states are `open` and `closed`.
    pub async fn player_accounts(&self, query: &ClassQuery) -> Result<ClassPage<PlayerAccount>, StoreError> {
        let read = |row: &Row| {
            Ok(PlayerAccount {
                player: key_of(&row.bytes(OWN)?)?,
                opened_at: row.int_opt(OWN + 1)?.map(Ts),
                closed_at: row.int_opt(OWN + 2)?.map(Ts),
                last_login_at: row.int_opt(OWN + 3)?.map(Ts),
                last_record_at: Ts(row.int(0)?),
                limits: Vec::new(),
            })
        };
        let mut page = self.class_rows(&PLAYERS, query, read).await?;
        for accounts in page.rows.chunks_mut(PLAYERS_AT_ONCE) {
            let players: Vec<MatchKey> = accounts.iter().map(|account| account.player).collect();
            let mut limits = self.player_limits(query.operator_no, &players).await?;
            for account in accounts {
                account.limits = limits.remove(&account.player).unwrap_or_default();
            }
        }
        Ok(page)
    }

    async fn player_limits(
        &self,
        operator_no: OperatorNo,
        players: &[MatchKey],
    ) -> Result<HashMap<MatchKey, Vec<PlayerLimit>>, StoreError> {
        let Some(last) = players.last() else { return Ok(HashMap::new()) };
        // always as many variables
        let list: Vec<String> = (0..PLAYERS_AT_ONCE).map(|n| format!("${}", n + 2)).collect();
        let sql = format!(
            "SELECT player, limit_type, minor, since FROM player_limits WHERE operator_no = $1 AND player IN ({}) ORDER BY player, limit_type",
            list.join(", ")
        );
        let mut values = vec![Val::Int(operator_no.0.into())];
        let padded = players.iter().chain(std::iter::repeat(last)).take(PLAYERS_AT_ONCE);
        values.extend(padded.map(|player| Val::Bytes(player.to_bytes().to_vec())));
        let mut limits: HashMap<MatchKey, Vec<PlayerLimit>> = HashMap::new();
        for row in self.rows(&sql, &values).await? {
            let limit = PlayerLimit { kind: row.text(1)?, minor: row.int_opt(2)?, since: Ts(row.int(3)?) };
            limits.entry(key_of(&row.bytes(0)?)?).or_default().push(limit);
        }
        Ok(limits)
    }

    /// What authorities have said of licences.
    pub async fn licence_statuses(&self, query: &ClassQuery) -> Result<ClassPage<StoredLicence>, StoreError> {
        let read = |row: &Row| {
            Ok(StoredLicence {
                record_id: row.text(OWN)?,
                occurred_at: Ts(row.int(0)?),
                current: row.int(OWN + 2)? == 1,
                status: parse("licence status", &row.text(OWN + 1)?)?,
            })
        };
        self.class_rows(&LICENCES, query, read).await
    }

    /// Invoices.
    pub async fn invoices(&self, query: &ClassQuery) -> Result<ClassPage<StoredInvoice>, StoreError> {
        let read = |row: &Row| {
            Ok(StoredInvoice {
                record_id: row.text(OWN)?,
                occurred_at: Ts(row.int(0)?),
                amount_minor: row.int(OWN + 2)?,
                currency: currency(row, OWN + 3)?,
                invoice: parse("invoice", &row.text(OWN + 1)?)?,
            })
        };
        self.class_rows(&INVOICES, query, read).await
    }

    /// Payments.
    pub async fn payments(&self, query: &ClassQuery) -> Result<ClassPage<StoredPayment>, StoreError> {
        let read = |row: &Row| {
            Ok(StoredPayment {
                record_id: row.text(OWN)?,
                occurred_at: Ts(row.int(0)?),
                amount_minor: row.int(OWN + 2)?,
                currency: currency(row, OWN + 3)?,
                method: row.text_opt(OWN + 4)?,
                account: row.bytes_opt(OWN + 5)?.map(|bytes| key_of(&bytes)).transpose()?,
                payment: parse("payment", &row.text(OWN + 1)?)?,
            })
        };
        self.class_rows(&PAYMENTS, query, read).await
    }

    /// Lines of bank statements.
    pub async fn bank_lines(&self, query: &ClassQuery) -> Result<ClassPage<StoredBankLine>, StoreError> {
        let read = |row: &Row| {
            let (change, balance) = (row.int(OWN + 2)?, row.int(OWN + 4)?);
            let line: BankLine = parse("bank line", &row.text(OWN + 1)?)?;
            Ok(StoredBankLine {
                record_id: row.text(OWN)?,
                occurred_at: Ts(row.int(0)?),
                account: key_of(&row.bytes(OWN + 5)?)?,
                amount_minor: if line.direction == Direction::Debit { -change } else { change },
                currency: currency(row, OWN + 3)?,
                balance_after_minor: balance,
                balance_break: row.int_opt(OWN + 6)?.is_some_and(|before| before.checked_add(change) != Some(balance)),
                line,
            })
        };
        self.class_rows(&BANK_LINES, query, read).await
    }

    /// Records of some sources of an operator, the newest input first. A page may be short where few of its records lie in
    /// the span that is asked for.
    pub async fn records_of(&self, query: &ClassQuery, sources: &[SourceNo]) -> Result<ClassPage<Record>, StoreError> {
        let nothing = ClassPage { rows: Vec::new(), next: None };
        if sources.is_empty() {
            return Ok(nothing);
        }
        // numbers of our own: no text of anybody's
        let list: Vec<String> = sources.iter().map(|no| no.0.to_string()).collect();
        let behind = query.behind.unwrap_or(RowPlace { order: i64::MAX, batch_no: i64::MAX, idx: i64::MAX });
        let (from, to) = (query.from.map_or(i64::MIN, |from| from.0), query.to.map_or(i64::MAX, |to| to.0));
        let sql = format!(
            "SELECT operator_seq, batch_no, records FROM feed_batches WHERE operator_no = $1 AND operator_seq <= $2 AND last_at >= $3 AND first_at < $4 AND source_no IN ({}) ORDER BY operator_seq DESC LIMIT $5",
            list.join(",")
        );
        let operator = Val::Int(query.operator_no.0.into());
        let limit = Val::Int(BATCHES_AT_ONCE as i64);
        let mut conn = self.db.read().await?;
        let heads = conn.rows(&sql, &[operator, Val::Int(behind.order), Val::Int(from), Val::Int(to), limit]).await?;
        let heads = heads.iter().map(|row| Ok((row.int(0)?, row.int(1)?, row.int(2)?)));
        let heads = heads.collect::<Result<Vec<_>, sqlx::Error>>()?;
        let (mut batches, mut seqs, mut read) = (Vec::new(), HashMap::new(), 0);
        for (operator_seq, batch_no, records) in &heads {
            // of the first one some may have been shown
            let left = if *operator_seq == behind.order { behind.idx.min(*records) } else { *records };
            let is_enough = read > i64::from(query.limit) || read + left > RECORDS_AT_ONCE;
            if is_enough && !batches.is_empty() {
                break;
            }
            read += left;
            batches.push(*batch_no);
            seqs.insert(*batch_no, *operator_seq);
        }
        let mut page = nothing;
        let mut places = Vec::new();
        for row in rows_of_batches(&mut conn, RECORD, &batches).await?.iter().rev() {
            let (batch_no, idx) = (row.int(RECORD_WIDTH)?, row.int(RECORD_WIDTH + 1)?);
            let order = seqs.get(&batch_no).copied().unwrap_or_default();
            if order == behind.order && idx >= behind.idx {
                continue;
            }
            let record = record(row)?;
            if !(from..to).contains(&record.occurred_at.0) {
                continue;
            }
            if page.rows.len() == query.limit as usize {
                page.next = places.last().copied();
                return Ok(page);
            }
            page.rows.push(record);
            places.push(RowPlace { order, batch_no, idx });
        }
        // everything of these batches is told: whatever else there is lies behind the last of them
        let is_rest = batches.len() < heads.len() || heads.len() == BATCHES_AT_ONCE;
        let last = batches.last().filter(|_| is_rest);
        page.next = last.map(|no| RowPlace { order: seqs.get(no).copied().unwrap_or_default(), batch_no: *no, idx: 0 });
        Ok(page)
    }
}
