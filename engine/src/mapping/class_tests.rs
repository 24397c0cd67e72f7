//! One export of each class of data: how authorities, tax offices, banks and retail chains write them, and what comes of it.

use super::Mapping;
use crate::ingest::{self, Resolver};
use models::document_records::{Detail, Direction, InvoiceState, LicenceStanding, PaymentState};
use models::feed::DataClass;
use models::ids::OperatorNo;
use models::match_key::DigestKeys;
use models::money::Currency;
use models::operator::LicensedReturn;
use models::phone::Country;
use models::record::{PlayChannel, Product, QuarantineCode, Record, RecordKind};
use models::ts::Ts;
use std::collections::BTreeMap;

/// A mapping of a class: what every file of these has in common, and its own tables.
fn mapping(class: DataClass, own: &str) -> String {
    format!(
        "name = \"m\"\norder = \"file\"\n[source]\nname = \"s\"\nclass = \"{}\"\nclock = \"event\"\nhorizon_days = 400\n\
         expected_interval_seconds = 86400\ncurrency = \"KES\"\n[operator]\ncode = \"acme\"\n{own}",
        class.as_str()
    )
}

/// The records of a file, taken in as its source would.
fn records(class: DataClass, own: &str, file: &[u8]) -> Vec<Record> {
    records_by(class, &mapping(class, own), file)
}

fn records_by(class: DataClass, mapping: &str, file: &[u8]) -> Vec<Record> {
    let mapping = Mapping::from_toml(mapping).unwrap();
    assert_eq!(mapping.source().class, class.as_str());
    assert!(mapping.kinds().all(|kind| class.takes(kind)));
    let mapped = mapping.read(file).unwrap();
    assert_eq!(mapped.refusals, []);
    let digest = DigestKeys::new([(0, [7; 32])]).unwrap();
    let resolver = Resolver {
        digest: &digest,
        token_keys: &[],
        family: "t",
        operator_no: OperatorNo(1),
        class,
        country: Country::Ke,
        currency: Currency::KES,
    };
    mapped.records.iter().map(|r| ingest::record(r.json.as_bytes(), &resolver).unwrap()).collect()
}

fn detail(record: &Record) -> Detail {
    Detail::of(record).unwrap()
}

fn at(text: &str) -> Ts {
    Ts::parse_day(text).unwrap()
}

const BANK: &str = include_str!("../../../config/feeds/bank_statement.toml");
const BANK_FILE: &[u8] = b"Account;Statement;No;Booked;Value;Paid in;Paid out;Balance;Who;Text\r\n\
    \"KE11\";\"7\";\"1\";20/11/2026;21/11/2026;\"1.000,50\";NULL;\"100.000,50\";\"J\xf6rg\";\"Deposit 1\"\r\n\
    \"KE11\";\"7\";\"2\";20/11/2026;;NULL;\"-2.500,00\";\"-97.500,50\";\"\";\"Payout 77\"\r\n";

#[test]
fn a_balance_brought_forward_is_no_line_of_a_statement() {
    let row = |text: &str| [BANK_FILE, b"KE11;7;;20/11/2026;;NULL;NULL;\"5,00\";;", text.as_bytes()].concat();
    let mapping = Mapping::from_toml(BANK).unwrap();
    let mapped = mapping.read(&row("BALANCE BROUGHT FORWARD")).unwrap();
    assert_eq!((mapped.rows, mapped.records.len(), mapped.skipped, mapped.refusals.len()), (3, 2, 1, 0));
    let mapped = mapping.read(&row("CHARGE")).unwrap();
    assert_eq!((mapped.records.len(), mapped.skipped, mapped.refusals.len()), (2, 0, 1));
}

#[test]
fn a_bank_statement_has_directions_balances_and_value_dates() {
    let lines = records_by(DataClass::BankStatements, BANK, BANK_FILE);
    let got: Vec<_> = lines
        .iter()
        .map(|record| {
            let line = detail(record).bank.unwrap();
            (line.line, line.direction, record.amount_minor, record.balance_after_minor, line.value_date)
        })
        .collect();
    assert_eq!(
        got,
        [
            (1, Direction::Credit, 100_050, Some(10_000_050), Some(at("2026-11-21"))),
            (2, Direction::Debit, 250_000, Some(-9_750_050), None),
        ]
    );
    assert_eq!(lines[0].occurred_at, at("2026-11-20T09:00:00Z"), "noon in Nairobi");
    assert_eq!(lines[0].account, lines[1].account);
    let counterparty = |record: &Record| detail(record).bank.unwrap().counterparty;
    assert!(counterparty(&lines[0]).is_some() && counterparty(&lines[1]).is_none());
}

/// A tax office's export: its own words for states, dates as they are spoken.
const INVOICES: &str = r#"
[file]
encoding = "utf-8"
null = [""]
[time]
column = "Issued"
format = "%Y-%m-%d %H:%M"
zone = "Africa/Lagos"
[numbers]
scale = 2
[[record]]
id = "{Invoice}-{State}"
kind = "invoice"
amount = { plus = ["Due"] }
amounts = { "invoice.paid_minor" = { plus = ["Due"], minus = ["Open"] } }
fields = { "invoice.number" = "{Invoice}", "invoice.authority" = "FIRS", "invoice.tax" = "gaming_tax", "invoice.jurisdiction" = "NG-{Area}", "invoice.state" = "{State}" }
[record.words."invoice.state"]
"OPEN" = "issued"
"IN PART" = "part_paid"
"SETTLED" = "paid"
[record.dates]
"invoice.period_from" = { column = "From", format = "%d %b %Y" }
"invoice.period_to" = { column = "To", format = "%d %b %Y" }
"invoice.due_at" = { column = "Pay by", format = "%d %b %Y %H:%M" }
"#;
const INVOICES_FILE: &[u8] = b"Invoice,Area,Issued,Due,Open,State,From,To,Pay by\n\
    42,LA,2026-11-20 09:30,15000.00,5000.00,IN PART,1 Oct 2026,31 Oct 2026,15 Nov 2026 17:00\n\
    43,LA,2026-11-20 09:30,100.00,100.00,OPEN,1 Oct 2026,31 Oct 2026,15 Nov 2026 17:00\n";

#[test]
fn invoices_of_a_tax_office_have_their_words_and_dates_turned() {
    let found = records(DataClass::Invoices, INVOICES, INVOICES_FILE);
    let invoice = detail(&found[0]).invoice.unwrap();
    assert_eq!((invoice.number.as_str(), invoice.state), ("42", InvoiceState::PartPaid));
    assert_eq!((found[0].amount_minor, invoice.paid_minor), (1_500_000, 1_000_000));
    assert_eq!((invoice.period_from, invoice.period_to), (Some(at("2026-10-01")), Some(at("2026-10-31"))));
    assert_eq!(invoice.due_at, Some(at("2026-11-15T16:00:00Z")), "in the zone of the file's times");
    assert_eq!(invoice.jurisdiction.as_deref(), Some("NG-LA"));
    assert_eq!(detail(&found[1]).invoice.map(|i| (i.state, i.paid_minor)), Some((InvoiceState::Issued, 0)));
}

#[test]
fn a_word_that_the_mapping_does_not_know_refuses_the_row() {
    let file = String::from_utf8(INVOICES_FILE.to_vec()).unwrap().replace("OPEN", "SUSPENDED");
    let mapped = Mapping::from_toml(&mapping(DataClass::Invoices, INVOICES)).unwrap().read(file.as_bytes()).unwrap();
    assert_eq!((mapped.records.len(), mapped.refusals.len()), (1, 1));
    assert_eq!(mapped.refusals[0].code, QuarantineCode::InvalidField);
    assert_eq!(mapped.refusals[0].detail, "invoice.state: none of the mapping's words");
    let late = String::from_utf8(INVOICES_FILE.to_vec()).unwrap().replace("31 Oct", "31 Sept");
    let mapped = Mapping::from_toml(&mapping(DataClass::Invoices, INVOICES)).unwrap().read(late.as_bytes()).unwrap();
    assert_eq!(mapped.refusals[0].detail, "To: not a time of the mapping's format");
}

/// A licence authority's list: one day for all, products in one cell.
const LICENCES: &str = r#"
[file]
encoding = "utf-8"
delimiter = ";"
null = ["-"]
[time]
column = "As of"
format = "%Y-%m-%d"
at = "00:00"
[numbers]
scale = 0
[[record]]
id = "{Licence}-{As of}"
kind = "licence_status"
[record.fields]
"licence_status.number" = "{Licence}"
"licence_status.licence_class" = "{Class}"
"licence_status.products" = "{Products}"
"licence_status.valid_to" = "{Until}"
"licence_status.state" = "{State}"
"licence_status.conditions" = "{Conditions}"
"licence_status.channels" = "{Channels}"
"licence_status.return_to_player" = "{Returns}"
[record.words."licence_status.state"]
"Valid" = "active"
"Withdrawn" = "revoked"
"#;

#[test]
fn a_list_of_licences_has_lists_in_cells() {
    let file = b"Licence;Class;Products;Until;State;Conditions;Channels;Returns;As of\n\
        L1;bookmaker;sportsbook, casino;2026-12-31;Valid;\"No bonus, ever; report daily\";online, ussd;\"slots 940000/5000; poker=970000\";2026-11-20\n\
        L2;lottery;-;-;Withdrawn;-;-;-;2026-11-20\n";
    let found = records(DataClass::Licences, LICENCES, file);
    let (first, second) = (detail(&found[0]).licence_status.unwrap(), detail(&found[1]).licence_status.unwrap());
    assert_eq!((first.state, second.state), (LicenceStanding::Active, LicenceStanding::Revoked));
    assert_eq!(first.products, ["sportsbook", "casino"]);
    assert_eq!(first.conditions, ["No bonus, ever", "report daily"]);
    assert_eq!((first.valid_to, second.valid_to), (Some(at("2026-12-31")), None));
    assert!(second.products.is_empty() && second.conditions.is_empty());
    assert_eq!(first.channels, Some(vec![PlayChannel::Online, PlayChannel::Ussd]));
    let said = |return_ppm, multiple_max| LicensedReturn { return_ppm, multiple_max };
    let returns = [(Product::Poker, said(970_000, None)), (Product::Slots, said(940_000, Some(5_000)))];
    assert_eq!(first.return_to_player, Some(BTreeMap::from(returns)));
    assert_eq!((second.channels, second.return_to_player), (None, None));
    // per cent with a sign is no number of parts per million
    let wrong = String::from_utf8(file.to_vec()).unwrap().replace("970000", "97%");
    let mapped = Mapping::from_toml(&mapping(DataClass::Licences, LICENCES)).unwrap().read(wrong.as_bytes()).unwrap();
    let digest = DigestKeys::new([(0, [7; 32])]).unwrap();
    let resolver = Resolver {
        digest: &digest,
        token_keys: &[],
        family: "t",
        operator_no: OperatorNo(1),
        class: DataClass::Licences,
        country: Country::Ke,
        currency: Currency::KES,
    };
    let refusal = ingest::record(mapped.records[0].json.as_bytes(), &resolver).expect_err("no number");
    assert_eq!(refusal.detail, "licence_status.return_to_player: not an object of products");
    assert_eq!(found[0].occurred_at, at("2026-11-20"));
}

/// A gateway's JSON.
const PAYMENTS: &str = r#"
[file]
encoding = "utf-8"
[time]
column = "at"
format = "rfc3339"
[numbers]
scale = 2
[[record]]
id = "{id}-{status}"
kind = "payment"
amount = { plus = ["amount.value"] }
[record.fields]
"payment.method" = "{via}"
"payment.account" = "{from.iban}"
"payment.reference" = "{id}"
"payment.invoice" = "{for}"
"payment.state" = "{status}"
[record.words."payment.state"]
"ACCEPTED" = "pending"
"SUCCESS" = "completed"
"#;

#[test]
fn payments_of_a_gateway_come_as_objects() {
    let body = br#"{"id":"T9","at":"2026-11-20T10:00:00Z","amount":{"value":15000.5},"via":"rtgs","from":{"iban":"KE11"},"for":"42","status":"SUCCESS"}"#;
    let mapping = Mapping::from_toml(&mapping(DataClass::Payments, PAYMENTS)).unwrap();
    let mapped = mapping.read_json(body, std::iter::once(0..body.len()));
    assert_eq!(mapped.refusals, []);
    let digest = DigestKeys::new([(0, [7; 32])]).unwrap();
    let resolver = Resolver {
        digest: &digest,
        token_keys: &[],
        family: "t",
        operator_no: OperatorNo(1),
        class: DataClass::Payments,
        country: Country::Ke,
        currency: Currency::KES,
    };
    let record = ingest::record(mapped.records[0].json.as_bytes(), &resolver).unwrap();
    let payment = detail(&record).payment.unwrap();
    assert_eq!((record.amount_minor, payment.state), (1_500_050, PaymentState::Completed));
    assert_eq!((payment.reference.as_str(), payment.invoice.as_deref()), ("T9", Some("42")));
    assert!(record.account.is_some() && !format!("{record:?}").contains("KE11"));
}

/// Players' limits: an empty cell is a limit that was taken away.
const LIMITS: &str = r#"
[file]
encoding = "utf-8"
null = [""]
[time]
column = "When"
format = "rfc3339"
[numbers]
scale = 2
[[record]]
id = "{Id}"
kind = "limit_change"
amounts = { "limit.old_minor" = { plus = ["Old"] }, "limit.new_minor" = { plus = ["New"] } }
fields = { "player.account_ref" = "{Player}", "limit.type" = "{Limit}" }
"#;

#[test]
fn a_limit_without_an_amount_was_taken_away() {
    let file = b"Id,When,Player,Limit,Old,New\n\
        1,2026-11-20T10:00:00Z,ann,deposit_day,100,50.50\n2,2026-11-20T11:00:00Z,ann,deposit_day,50.50,\n";
    let found = records(DataClass::PlayerAccounts, LIMITS, file);
    let limits: Vec<_> = found.iter().map(|record| detail(record).limit_new_minor).collect();
    assert_eq!(limits, [Some(5_050), None]);
    assert_eq!(detail(&found[0]).limit_type.as_deref(), Some("deposit_day"));
    assert!(found[0].player.is_some() && found[0].player == found[1].player);
}

/// A retail chain's tills.
const SALES: &str = r#"
[file]
encoding = "utf-8"
null = [""]
[time]
column = "Time"
format = "%d/%m/%Y %H:%M"
zone = "Africa/Nairobi"
[numbers]
scale = 2
[[record]]
id = "{Till}-{No}"
kind = "ticket_sale"
when = "What = 'SALE'"
amount = { plus = ["Amount"] }
fields = { "bet.id" = "{Ticket}", outlet_id = "{Shop}", product = "{Game}" }
[record.words.product]
"LOTTO" = "lottery"
"GOALS" = "sportsbook"
[[record]]
id = "{Till}-{No}"
kind = "redemption"
when = "What = 'PAID'"
amount = { plus = ["Amount"], sign = "negate" }
fields = { "bet.id" = "{Ticket}", outlet_id = "{Shop}" }
"#;

#[test]
fn tills_sell_and_redeem() {
    let file = b"Till,No,Time,What,Ticket,Shop,Game,Amount\n\
        A,1,20/11/2026 13:00,SALE,T1,S7,LOTTO,50\nA,2,20/11/2026 13:05,PAID,T0,S7,,-120.50\n";
    let found = records(DataClass::SalesRedemptions, SALES, file);
    let got: Vec<_> = found
        .iter()
        .map(|r| (r.kind, r.amount_minor, r.bet_id.clone().unwrap(), detail(r).outlet_id.unwrap()))
        .collect();
    let text = str::to_owned;
    assert_eq!(
        got,
        [
            (RecordKind::TicketSale, 5_000, text("T1"), text("S7")),
            (RecordKind::Redemption, 12_050, text("T0"), text("S7")),
        ]
    );
    assert_eq!(found[0].product.map(models::record::Product::as_str), Some("lottery"));
}

#[test]
fn what_a_mapping_of_documents_says_wrongly_is_named() {
    let table = [
        ("\"invoice.number\"", "\"invoice.numbers\"", "record[0]: invoice.numbers is not a text field"),
        ("\"invoice.paid_minor\" =", "\"invoice.paid\" =", "record[0]: invoice.paid is not an amount"),
        ("\"invoice.due_at\" =", "\"invoice.due\" =", "record[0]: invoice.due is not a date of a document"),
        ("words.\"invoice.state\"", "words.\"product\"", "record[0]: product has words and no field"),
        ("format = \"%d %b %Y %H:%M\"", "format = \"rfc3339\"", "record[0]: invoice.due_at: such a date is a field"),
    ];
    for (from, to, wanted) in table {
        assert!(INVOICES.contains(from), "{from}");
        let text = mapping(DataClass::Invoices, &INVOICES.replacen(from, to, 1));
        assert_eq!(Mapping::from_toml(&text).unwrap_err().to_string(), wanted);
    }
}
