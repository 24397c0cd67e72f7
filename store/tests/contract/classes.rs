//! Tables of the classes of data: written with their batch, never by an older record, never twice.

use super::bench::{Database, Kind, Node};
use super::writes::{batch, record};
use models::document_records::{
    BankLine, Compliance, Direction, Document, Invoice, InvoiceState, LicenceStanding, LicenceStatus, Payment,
    PaymentState,
};
use models::event::Event;
use models::feed::DataClass;
use models::ids::{OperatorNo, SourceNo};
use models::match_key::MatchKey;
use models::record::{Product, Record, RecordKind, RecordStatus};
use models::ts::{DAY, HOUR, Ts};
use store::{Attachment, ClassPage, ClassQuery, CommitError, RowPlace};

const NOON: Ts = Ts(20_000 * DAY + 12 * HOUR);

/// Everything of operator 1.
fn all() -> ClassQuery {
    ClassQuery { operator_no: OperatorNo(1), state: None, from: None, to: None, behind: None, limit: 100 }
}

async fn commit(node: &Node, no: i64, class: DataClass, records: &[Record]) -> Result<(), CommitError> {
    let (event, attachment) = batch(no, 1, records);
    node.commit(vec![event], vec![attachment, Attachment::FeedClass(class)]).await.map(|_| ())
}

async fn stored(node: &Node, no: i64, class: DataClass, records: &[Record]) {
    commit(node, no, class, records).await.expect("stored");
}

fn sale(kind: RecordKind, at: Ts, amount_minor: i64, outlet: &str) -> Record {
    let detail = if outlet.is_empty() { String::new() } else { format!("{{\"outlet_id\":\"{outlet}\"}}") };
    Record { kind, amount_minor, product: Some(Product::Lottery), detail, ..record(1, at) }
}

fn of_player(kind: RecordKind, at: Ts, player: u128) -> Record {
    Record { kind, player: Some(MatchKey(player)), amount_minor: 0, detail: String::new(), ..record(2, at) }
}

fn limit(at: Ts, player: u128, kind: &str, minor: Option<i64>) -> Record {
    let minor = minor.map_or(String::new(), |minor| format!(",\"limit.new_minor\":{minor}"));
    let detail = format!("{{\"limit.type\":\"{kind}\"{minor}}}");
    Record { detail, ..of_player(RecordKind::LimitChange, at, player) }
}

fn of(kind: RecordKind, at: Ts, amount_minor: i64, document: &Document) -> Record {
    let detail = format!("{{\"{}\":{}}}", document.name(), document.to_json());
    let record_id = format!("{}-{}", kind.as_str(), at.0);
    Record { record_id, kind, amount_minor, detail, bet_id: None, ..record(3, at) }
}

fn invoice(at: Ts, number: &str, state: InvoiceState, paid_minor: i64) -> Record {
    let invoice = Invoice {
        number: number.to_owned(),
        authority: "FIRS".to_owned(),
        tax: None,
        jurisdiction: None,
        period_from: None,
        period_to: None,
        due_at: Some(NOON),
        state,
        paid_minor,
    };
    of(RecordKind::Invoice, at, 1_000, &Document::Invoice(invoice))
}

fn payment(at: Ts, reference: &str, state: PaymentState) -> Record {
    let reference = reference.to_owned();
    let payment = Payment { reference, invoice: None, authority: None, state };
    let record = of(RecordKind::Payment, at, 500, &Document::Payment(payment));
    let detail = record.detail.replacen('{', "{\"payment.method\":\"rtgs\",", 1);
    Record { account: Some(MatchKey(77)), detail, ..record }
}

fn licence(at: Ts, number: &str, state: LicenceStanding) -> Record {
    let status = LicenceStatus {
        number: number.to_owned(),
        licence_class: None,
        products: vec!["lottery".to_owned()],
        valid_from: None,
        valid_to: None,
        state,
        compliance: Compliance::Unknown,
        conditions: Vec::new(),
        channels: None,
        return_to_player: None,
    };
    of(RecordKind::LicenceStatus, at, 0, &Document::LicenceStatus(status))
}

fn line(at: Ts, number: u32, direction: Direction, amount: i64, balance: i64) -> Record {
    let line = BankLine {
        statement: "s7".to_owned(),
        line: number,
        direction,
        value_date: None,
        counterparty: None,
        reference: None,
    };
    let record = of(RecordKind::BankLine, at, amount, &Document::BankLine(line));
    Record { account: Some(MatchKey(9)), balance_after_minor: Some(balance), ..record }
}

/// Retail days are sums, by outlet, product and currency; what failed is in none of them.
pub async fn sales_are_summed_by_day_and_outlet(kind: Kind) {
    use RecordKind::{Redemption, TicketSale, Void};
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let failed = Record { status: RecordStatus::Failed, ..sale(TicketSale, NOON, 7_000, "a") };
    let corrected = Record { replaces: Some("r0".to_owned()), ..sale(TicketSale, NOON, 50, "a") };
    let first = [
        sale(TicketSale, NOON, 100, "a"),
        sale(TicketSale, NOON.plus(HOUR), 200, "a"),
        sale(Redemption, NOON, 40, "a"),
        sale(Void, NOON, 30, "a"),
        failed,
        corrected,
        sale(TicketSale, NOON, 5, ""),
        sale(TicketSale, NOON.plus(DAY), 6, "a"),
    ];
    stored(&node, 1, DataClass::SalesRedemptions, &first).await;
    stored(&node, 2, DataClass::SalesRedemptions, &[sale(TicketSale, NOON, 1_000, "a")]).await;
    // play that is sold in the same way is in no retail day
    let (event, attachment) = batch(3, 1, &[sale(TicketSale, NOON, 9, "a")]);
    node.commit(vec![event], vec![attachment]).await.expect("stored");
    let days = node.store.sales_days(&all()).await.expect("rows").rows;
    let got: Vec<_> = days
        .iter()
        .map(|d| {
            let sums = [d.sold_count, d.sold_minor, d.redeemed_count, d.redeemed_minor, d.voided_count, d.voided_minor];
            (d.day.0 / DAY, d.outlet.as_deref(), sums, d.failed_count, d.replacing_count)
        })
        .collect();
    assert_eq!(
        got,
        [
            (20_001, Some("a"), [1, 6, 0, 0, 0, 0], 0, 0),
            (20_000, Some("a"), [4, 1_350, 1, 40, 1, 30], 1, 1),
            (20_000, None, [1, 5, 0, 0, 0, 0], 0, 0),
        ],
        "newest day first, and of a day the row that was written last"
    );
    assert_eq!(days[0].product, Some(Product::Lottery));
    // a sum that is too large stays the largest there is
    let huge: Vec<Record> = (0..4).map(|_| sale(TicketSale, NOON, i64::MAX / 3, "huge")).collect();
    for no in 4..6 {
        stored(&node, no, DataClass::SalesRedemptions, &huge).await;
    }
    let days = node.store.sales_days(&all()).await.expect("rows").rows;
    let huge = days.iter().find(|day| day.outlet.as_deref() == Some("huge")).expect("a day");
    assert_eq!((huge.sold_count, huge.sold_minor), (8, i64::MAX));
    node.stop().await;
}

/// Whatever the order in which records come, and whether they come in one batch or in several.
pub async fn an_older_record_never_overwrites_a_newer_one(kind: Kind) {
    use RecordKind::{AccountClosed, AccountOpened, Login};
    let (old, new, newest) = (NOON, NOON.plus(HOUR), NOON.plus(2 * HOUR));
    for in_one in [true, false] {
        let database = Database::fresh(kind).await;
        let node = database.open().await;
        let mut no = 0;
        let mut write = async |class: DataClass, records: Vec<Record>| {
            let parts: Vec<&[Record]> = if in_one { vec![&records] } else { records.chunks(1).collect() };
            for part in parts {
                no += 1;
                stored(&node, no, class, part).await;
            }
        };
        let invoices = vec![
            invoice(new, "42", InvoiceState::PartPaid, 600),
            invoice(old, "42", InvoiceState::Issued, 0),
            invoice(old, "43", InvoiceState::Issued, 0),
            // of the same time: the one that came last
            invoice(new, "42", InvoiceState::Paid, 1_000),
        ];
        write(DataClass::Invoices, invoices).await;
        let payments = vec![payment(new, "T9", PaymentState::Completed), payment(old, "T9", PaymentState::Pending)];
        write(DataClass::Payments, payments).await;
        let lines = vec![line(new, 1, Direction::Credit, 10, 110), line(old, 1, Direction::Credit, 10, 100)];
        write(DataClass::BankStatements, lines).await;
        let statuses = vec![
            licence(new, "L1", LicenceStanding::Suspended),
            licence(old, "L1", LicenceStanding::Active),
            licence(old, "L2", LicenceStanding::Pending),
        ];
        write(DataClass::Licences, statuses).await;
        let cancelled = Record { status: RecordStatus::Cancelled, ..limit(newest, 1, "day", Some(1)) };
        let accounts = vec![
            of_player(AccountClosed, new, 1),
            of_player(AccountOpened, old, 1),
            of_player(Login, new, 1),
            of_player(Login, old, 1),
            limit(new, 1, "day", None),
            limit(old, 1, "day", Some(500)),
            limit(old, 1, "week", Some(900)),
            // a break from play is no limit that was taken away
            limit(new, 1, "time_out", None),
            of_player(AccountOpened, newest, 2),
            of_player(AccountClosed, old, 2),
            cancelled,
        ];
        write(DataClass::PlayerAccounts, accounts).await;

        let found = node.store.invoices(&all()).await.expect("rows").rows;
        let found: Vec<_> = found
            .iter()
            .map(|i| (i.invoice.number.as_str(), i.occurred_at, i.invoice.state, i.invoice.paid_minor, i.amount_minor))
            .collect();
        let wanted = [("42", new, InvoiceState::Paid, 1_000, 1_000), ("43", old, InvoiceState::Issued, 0, 1_000)];
        assert_eq!(found, wanted, "in one batch: {in_one}");
        let found = node.store.payments(&all()).await.expect("rows").rows;
        let found: Vec<_> = found.iter().map(|p| (p.payment.state, p.method.as_deref(), p.account)).collect();
        assert_eq!(found, [(PaymentState::Completed, Some("rtgs"), Some(MatchKey(77)))]);
        let found = node.store.bank_lines(&all()).await.expect("rows").rows;
        assert_eq!(found.iter().map(|l| l.balance_after_minor).collect::<Vec<_>>(), [110]);
        let found = node.store.licence_statuses(&all()).await.expect("rows").rows;
        let found: Vec<_> = found.iter().map(|l| (l.status.number.as_str(), l.status.state, l.current)).collect();
        let wanted = [
            ("L1", LicenceStanding::Suspended, true),
            ("L2", LicenceStanding::Pending, true),
            ("L1", LicenceStanding::Active, false),
        ];
        assert_eq!(found, wanted, "a history, and which of it stands");
        let found = node.store.player_accounts(&all()).await.expect("rows").rows;
        let of_two = &found[0];
        assert_eq!((of_two.player, of_two.opened_at, of_two.closed_at), (MatchKey(2), Some(newest), Some(old)));
        let of_one = &found[1];
        assert_eq!((of_one.opened_at, of_one.closed_at, of_one.last_login_at), (Some(old), Some(new), Some(new)));
        assert_eq!(of_one.last_record_at, new, "what was cancelled changed nothing");
        let limits: Vec<_> = of_one.limits.iter().map(|l| (l.kind.as_str(), l.minor, l.since)).collect();
        assert_eq!(limits, [("day", None, new), ("week", Some(900), old)]);
        // a player whose account was opened again is open
        let state = async |state| {
            let query = ClassQuery { state: Some(state), ..all() };
            let found = node.store.player_accounts(&query).await.expect("rows").rows;
            found.iter().map(|account| account.player.0).collect::<Vec<_>>()
        };
        assert_eq!((state("open").await, state("closed").await), (vec![2], vec![1]));
        node.stop().await;
    }
}

/// Few of many are closed: no page of them reads all the others, too.
pub async fn accounts_in_a_state_are_looked_up_by_it(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let bytes = if kind == Kind::Sqlite { "BLOB" } else { "BYTEA" };
    let many = format!(
        "INSERT INTO player_accounts (operator_no, player, opened_at, closed_at, last_record_at, batch_no, idx)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         SELECT 1, CAST(CAST(i AS TEXT) AS {bytes}), 1, CASE WHEN i % 1000 = 0 THEN 2 ELSE NULL END, i, 1, i FROM n"
    );
    assert_eq!(database.run(&many).await.expect("accounts"), 20_000);
    database.run("ANALYZE").await.expect("statistics");
    let newest = ClassQuery { limit: 5, ..all() };
    let behind = Some(RowPlace { order: 15_000, batch_no: 1, idx: 15_000 });
    for (query, index) in [
        (newest.clone(), "player_accounts_newest"),
        (ClassQuery { state: Some("closed"), ..newest.clone() }, "player_accounts_state"),
        (ClassQuery { state: Some("closed"), behind, ..newest }, "player_accounts_state"),
    ] {
        let plan = node.store.player_accounts_plan(&query).await.expect("a plan");
        assert!(plan.contains(index) && !plan.to_ascii_uppercase().contains("SORT"), "{query:?}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
    node.stop().await;
}

/// A position of a source that is taken refuses the whole batch, its tables, too; so does one that nobody can read.
pub async fn a_batch_is_projected_once_or_not_at_all(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let records = [sale(RecordKind::TicketSale, NOON, 100, "a")];
    stored(&node, 1, DataClass::SalesRedemptions, &records).await;
    let again = commit(&node, 1, DataClass::SalesRedemptions, &records).await;
    assert!(matches!(again, Err(CommitError::Conflict { .. })), "{again:?}");
    let broken = Record { detail: "{\"invoice\":{}}".to_owned(), ..invoice(NOON, "1", InvoiceState::Paid, 0) };
    for detail in [broken.detail.as_str(), "{", ""] {
        let broken = Record { detail: detail.to_owned(), ..broken.clone() };
        let refused = commit(&node, 2, DataClass::Invoices, &[invoice(NOON, "2", InvoiceState::Paid, 0), broken]).await;
        assert!(matches!(refused, Err(CommitError::Rejected { .. })), "{refused:?}");
    }
    let days = node.store.sales_days(&all()).await.expect("rows").rows;
    assert_eq!(days.iter().map(|day| day.sold_minor).collect::<Vec<_>>(), [100]);
    assert_eq!(node.store.invoices(&all()).await.expect("rows").rows, []);
    assert_eq!(database.int("SELECT COUNT(*) FROM feed_records").await, 1);
    // two members of one group share a row
    let parts: Vec<_> = (2..30)
        .map(|no| {
            let (event, attachment) = batch(no, 1, &records);
            let class = Attachment::FeedClass(DataClass::SalesRedemptions);
            tokio::spawn(super::bench::commit(node.writer.clone(), vec![event], vec![attachment, class]))
        })
        .collect();
    for part in parts {
        part.await.expect("no panic").expect("stored");
    }
    let days = node.store.sales_days(&all()).await.expect("rows").rows;
    assert_eq!(days.iter().map(|day| (day.sold_count, day.sold_minor)).collect::<Vec<_>>(), [(29, 2_900)]);
    node.stop().await;
}

/// The running balance of a statement, line by line, whatever the order in which they came.
pub async fn a_break_in_a_statement_is_found_at_the_line_behind_it(kind: Kind) {
    use Direction::{Credit, Debit};
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let other = Record { account: Some(MatchKey(10)), ..line(NOON.plus(9), 2, Credit, 1, 7) };
    let lines = [
        line(NOON.plus(4), 4, Credit, 5, 85),
        line(NOON.plus(1), 1, Credit, 100, 100),
        line(NOON.plus(2), 2, Debit, 30, 70),
        line(NOON.plus(3), 3, Credit, 11, 80),
        // 5 is missing
        line(NOON.plus(6), 6, Debit, 1, 60),
        other,
    ];
    stored(&node, 1, DataClass::BankStatements, &lines).await;
    let found = node.store.bank_lines(&all()).await.expect("rows").rows;
    let got: Vec<_> = found.iter().map(|l| (l.line.line, l.amount_minor, l.balance_break)).collect();
    let wanted = [(2, 1, false), (6, 1, true), (4, 5, false), (3, 11, true), (2, 30, false), (1, 100, false)];
    assert_eq!(got, wanted);
    // what was missing comes, and what was wrong is corrected
    stored(&node, 2, DataClass::BankStatements, &[line(NOON.plus(5), 5, Debit, 24, 61)]).await;
    stored(&node, 3, DataClass::BankStatements, &[line(NOON.plus(3), 3, Credit, 10, 80)]).await;
    let found = node.store.bank_lines(&all()).await.expect("rows").rows;
    assert!(found.iter().all(|line| !line.balance_break), "{found:?}");
    node.stop().await;
}

/// Pages hold every row once, newest first, within what is asked for.
pub async fn lists_are_read_page_by_page(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    for no in 1..=5 {
        // rows of one time, and of several
        let records: Vec<Record> = (0..5)
            .map(|n| {
                invoice(NOON.plus(i64::from(n % 2) * HOUR), &format!("{no}-{n}"), InvoiceState::ALL[n as usize], 0)
            })
            .collect();
        stored(&node, no, DataClass::Invoices, &records).await;
    }
    let walk = async |query: ClassQuery| {
        let (mut seen, mut query) = (Vec::new(), query);
        loop {
            let ClassPage { rows, next } = node.store.invoices(&query).await.expect("rows");
            assert!(rows.len() <= query.limit as usize && (next.is_none() || rows.len() == query.limit as usize));
            seen.extend(rows.into_iter().map(|row| (row.occurred_at, row.invoice.number)));
            match next {
                Some(next) => query.behind = Some(next),
                None => return seen,
            }
        }
    };
    let everything = walk(ClassQuery { limit: 100, ..all() }).await;
    assert_eq!(everything.len(), 25);
    assert!(everything.windows(2).all(|w| w[0].0 >= w[1].0), "{everything:?}");
    for limit in [1, 3, 5, 25] {
        assert_eq!(walk(ClassQuery { limit, ..all() }).await, everything, "{limit}");
    }
    let late = walk(ClassQuery { limit: 3, from: Some(NOON.plus(1)), ..all() }).await;
    assert_eq!(late, everything[..10], "two of five are an hour later");
    let early = walk(ClassQuery { limit: 3, to: Some(NOON.plus(1)), ..all() }).await;
    assert_eq!(early, everything[10..]);
    let paid = walk(ClassQuery { limit: 2, state: Some("paid"), ..all() }).await;
    assert_eq!(paid.len(), 5);
    let nobody = walk(ClassQuery { operator_no: OperatorNo(2), ..all() }).await;
    assert_eq!(nobody, []);
    node.stop().await;
}

/// Play has no table beside its records: they are read by their batches, newest first.
pub async fn play_is_read_by_its_batches(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    for no in 1..=70i64 {
        let records: Vec<Record> =
            (0..3).map(|n| Record { record_id: format!("{no}-{n}"), ..record(n, NOON.plus(no * HOUR)) }).collect();
        let (event, attachment) = batch(no, 1, &records);
        node.commit(vec![event], vec![attachment]).await.expect("stored");
        if no % 10 == 0 {
            let tick = Event::OperatorTicked { operator_no: OperatorNo(1), operator_seq: 0, at: NOON };
            node.commit(vec![tick], Vec::new()).await.expect("stored");
        }
    }
    let walk = async |mut query: ClassQuery, sources: &[SourceNo]| {
        let mut seen = Vec::new();
        loop {
            let ClassPage { rows, next } = node.store.records_of(&query, sources).await.expect("rows");
            assert!(rows.len() <= query.limit as usize);
            seen.extend(rows.into_iter().map(|row| row.record_id));
            match next {
                Some(next) => {
                    assert_ne!(query.behind, Some(next), "it moves on");
                    query.behind = Some(next);
                }
                None => return seen,
            }
        }
    };
    let newest_first: Vec<String> =
        (1..=70).rev().flat_map(|no| (0..3).rev().map(move |n| format!("{no}-{n}"))).collect();
    for limit in [1, 4, 500] {
        assert_eq!(walk(ClassQuery { limit, ..all() }, &[SourceNo(1)]).await, newest_first, "{limit}");
    }
    let some = ClassQuery { limit: 2, from: Some(NOON.plus(3 * HOUR)), to: Some(NOON.plus(5 * HOUR)), ..all() };
    let wanted: Vec<String> =
        newest_first.iter().filter(|id| id.starts_with("3-") || id.starts_with("4-")).cloned().collect();
    assert_eq!(walk(some, &[SourceNo(1)]).await, wanted);
    assert_eq!(walk(all(), &[SourceNo(2)]).await, Vec::<String>::new());
    assert_eq!(walk(all(), &[]).await, Vec::<String>::new());
    let beyond = RowPlace { order: 0, batch_no: 0, idx: 0 };
    assert_eq!(walk(ClassQuery { behind: Some(beyond), ..all() }, &[SourceNo(1)]).await, Vec::<String>::new());
    node.stop().await;
}
