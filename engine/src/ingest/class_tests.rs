//! Each class of data: what it takes, what it refuses, and why.

use super::tests::with;
use super::{Resolver, record};
use models::document_records::{Compliance, Detail, Direction, InvoiceState, LicenceStanding, PaymentState};
use models::feed::DataClass;
use models::operator::LicensedReturn;
use models::record::{PlayChannel, Product, QuarantineCode, Record, Refusal};
use models::ts::Ts;
use std::collections::BTreeMap;

const TICKET: &str = r#"{"record_id":"t1","kind":"ticket_sale","occurred_at":"2026-11-20T10:00:00Z","money":{"amount_minor":5000,"currency":"KES"},"bet":{"id":"ticket-1"},"outlet_id":"out-7","product":"lottery"}"#;
const LIMIT: &str = r#"{"record_id":"l1","kind":"limit_change","occurred_at":"2026-11-20T10:00:00Z","player":{"account_ref":"p1"},"limit":{"type":"deposit_day","old_minor":100,"new_minor":50}}"#;
const LICENCE: &str = r#"{"record_id":"lic-1","kind":"licence_status","occurred_at":"2026-11-20","licence_status":{"number":"BCLB-0417","licence_class":"bookmaker","products":["sportsbook"],"valid_from":"2026-01-01","valid_to":"2026-12-31T20:59:59Z","state":"active","compliance":"under_review","conditions":["No bonus before 22/2026-11-20"],"channels":["online","ussd"],"return_to_player":{"slots":{"return_ppm":940000,"multiple_max":5000},"poker":{"return_ppm":970000}}}}"#;
const INVOICE: &str = r#"{"record_id":"inv-1-v2","replaces":"inv-1","kind":"invoice","occurred_at":"2026-11-20T10:00:00Z","money":{"amount_minor":1500000,"currency":"KES"},"invoice":{"number":"FIRS-2026-11-0042","authority":"FIRS","tax":"gaming_tax","jurisdiction":"NG-LA","period_from":"2026-10-01","period_to":"2026-10-31","due_at":"2026-11-15","state":"part_paid","paid_minor":500000}}"#;
const PAYMENT: &str = r#"{"record_id":"pay-1","kind":"payment","occurred_at":"2026-11-20T10:00:00Z","money":{"amount_minor":1500000,"currency":"KES"},"payment":{"method":"bank_transfer","account":"KE11 0000 4711","reference":"TRX-9","invoice":"FIRS-2026-11-0042","authority":"FIRS","state":"completed"}}"#;
const LINE: &str = r#"{"record_id":"stm-7-12","kind":"bank_line","occurred_at":"2026-11-20","money":{"amount_minor":250000,"currency":"KES"},"balance_after_minor":9750000,"bank":{"account":"KE11 0000 4711","statement":"2026-11-20","line":12,"direction":"debit","value_date":"2026-11-20","counterparty":"Wanjiku Otieno","reference":"PAYOUT 77"}}"#;

/// The documents' and the others' classes, each with a record of it.
const CLASSES: [(DataClass, &str); 6] = [
    (DataClass::SalesRedemptions, TICKET),
    (DataClass::PlayerAccounts, LIMIT),
    (DataClass::Licences, LICENCE),
    (DataClass::Invoices, INVOICE),
    (DataClass::Payments, PAYMENT),
    (DataClass::BankStatements, LINE),
];

fn take(class: DataClass, json: &str) -> Result<Record, Refusal> {
    with(|r| record(json.as_bytes(), &Resolver { class, ..*r }))
}

fn detail(class: DataClass, json: &str) -> Detail {
    Detail::of(&take(class, json).unwrap()).unwrap()
}

fn day(text: &str) -> Option<Ts> {
    Some(Ts::parse_day(text).unwrap())
}

#[test]
fn a_class_takes_its_own_records_and_quarantines_the_others() {
    for (class, _) in CLASSES {
        for (other, json) in CLASSES {
            let taken = take(class, json);
            if class == other {
                assert!(taken.is_ok(), "{}: {taken:?}", class.as_str());
            } else {
                let refusal = taken.unwrap_err();
                assert_eq!(refusal.code, QuarantineCode::WrongClass, "{} into {}", other.as_str(), class.as_str());
                assert!(refusal.detail.contains(class.as_str()), "{}", refusal.detail);
            }
        }
    }
    // everything that players do is play, and no document is
    for (class, json) in CLASSES {
        let taken = take(DataClass::GamingTransactions, json).map_err(|refusal| refusal.code);
        let wanted = if class.is_documents() { Err(QuarantineCode::WrongClass) } else { Ok(()) };
        assert_eq!(taken.map(|_| ()), wanted, "{}", class.as_str());
    }
}

#[test]
fn documents_are_kept_whole_and_name_nobody() {
    let status = detail(DataClass::Licences, LICENCE).licence_status.unwrap();
    assert_eq!((status.number.as_str(), status.state), ("BCLB-0417", LicenceStanding::Active));
    assert_eq!((status.compliance, status.valid_from), (Compliance::UnderReview, day("2026-01-01")));
    assert_eq!(status.valid_to, Some(Ts::parse("2026-12-31T20:59:59Z").unwrap()));
    assert_eq!(status.conditions, ["No bonus before 22/2026-11-20"]);
    assert_eq!(status.channels, Some(vec![PlayChannel::Online, PlayChannel::Ussd]));
    let said = |return_ppm, multiple_max| LicensedReturn { return_ppm, multiple_max };
    let returns = [(Product::Poker, said(970_000, None)), (Product::Slots, said(940_000, Some(5_000)))];
    assert_eq!(status.return_to_player, Some(BTreeMap::from(returns)));
    assert_eq!(take(DataClass::Licences, LICENCE).unwrap().occurred_at, day("2026-11-20").unwrap());

    let invoice = detail(DataClass::Invoices, INVOICE).invoice.unwrap();
    assert_eq!((invoice.number.as_str(), invoice.authority.as_str()), ("FIRS-2026-11-0042", "FIRS"));
    assert_eq!((invoice.state, invoice.paid_minor), (InvoiceState::PartPaid, 500_000));
    assert_eq!((invoice.period_to, invoice.due_at), (day("2026-10-31"), day("2026-11-15")));

    let paid = take(DataClass::Payments, PAYMENT).unwrap();
    let payment = Detail::of(&paid).unwrap();
    assert_eq!(payment.payment_method.as_deref(), Some("bank_transfer"));
    let payment = payment.payment.unwrap();
    assert_eq!((payment.reference.as_str(), payment.state), ("TRX-9", PaymentState::Completed));
    assert_eq!(payment.invoice.as_deref(), Some("FIRS-2026-11-0042"));

    let booked = take(DataClass::BankStatements, LINE).unwrap();
    let line = Detail::of(&booked).unwrap().bank.unwrap();
    assert_eq!((line.statement.as_str(), line.line, line.direction), ("2026-11-20", 12, Direction::Debit));
    assert_eq!((line.value_date, line.reference.as_deref()), (day("2026-11-20"), Some("PAYOUT 77")));
    assert_eq!(booked.account, paid.account, "an account is the same wherever it is named");
    assert!(booked.account.is_some() && line.counterparty.is_some_and(|c| c.starts_with("digest:")));
    for record in [paid, booked] {
        let said = format!("{record:?}");
        assert!(!said.contains("4711") && !said.contains("Wanjiku"), "{said}");
    }
}

#[test]
fn what_a_class_misses_or_does_not_understand_is_refused_by_its_field() {
    use DataClass::{BankStatements, Invoices, Licences, Payments, PlayerAccounts, SalesRedemptions};
    use QuarantineCode::{InvalidField, MissingField, SignMismatch, TooLarge};
    let long = "x".repeat(129);
    let many = format!("[{}]", vec!["\"a\""; 33].join(","));
    // class, its record, what is put in place of what; how it is refused, and of which field
    let table: Vec<(DataClass, &str, &str, &str, QuarantineCode, &str)> = vec![
        (SalesRedemptions, TICKET, r#""bet":{"id":"ticket-1"},"#, "", MissingField, "bet.id"),
        (SalesRedemptions, TICKET, r#""money":{"amount_minor":5000,"currency":"KES"},"#, "", MissingField, "money"),
        (SalesRedemptions, TICKET, "5000", "-5000", SignMismatch, "money.amount_minor"),
        (PlayerAccounts, LIMIT, r#""player":{"account_ref":"p1"},"#, "", MissingField, "player"),
        (PlayerAccounts, LIMIT, r#""type":"deposit_day","#, "", MissingField, "limit.type"),
        (PlayerAccounts, LIMIT, r#","old_minor":100,"new_minor":50"#, "", MissingField, "limit.new_minor"),
        (PlayerAccounts, LIMIT, "50}", "-50}", SignMismatch, "limit.new_minor"),
        (PlayerAccounts, LIMIT, "50}", "10000000000001}", InvalidField, "limit.new_minor"),
        (
            PlayerAccounts,
            LIMIT,
            r#","limit":{"type":"deposit_day","old_minor":100,"new_minor":50}"#,
            "",
            MissingField,
            "limit",
        ),
        (Licences, LICENCE, r#""number":"BCLB-0417","#, "", MissingField, "licence_status.number"),
        (Licences, LICENCE, "\"active\"", "\"alive\"", InvalidField, "licence_status.state"),
        (Licences, LICENCE, r#""state":"active","#, "", MissingField, "licence_status.state"),
        (Licences, LICENCE, "under_review", "fine", InvalidField, "licence_status.compliance"),
        (
            Licences,
            LICENCE,
            r#""valid_from":"2026-01-01""#,
            r#""valid_from":"01/01/2026""#,
            InvalidField,
            "licence_status.valid_from",
        ),
        (
            Licences,
            LICENCE,
            r#""valid_from":"2026-01-01""#,
            r#""valid_from":"2027-01-01""#,
            InvalidField,
            "licence_status.valid_to",
        ),
        (Licences, LICENCE, r#"["sportsbook"]"#, "\"sportsbook\"", InvalidField, "licence_status.products"),
        (Licences, LICENCE, r#"["sportsbook"]"#, "[1]", InvalidField, "licence_status.products"),
        (Licences, LICENCE, r#"["sportsbook"]"#, &many, TooLarge, "licence_status.products"),
        (Licences, LICENCE, "bookmaker", &long, TooLarge, "licence_status.licence_class"),
        (Licences, LICENCE, r#"["online","ussd"]"#, "\"online\"", InvalidField, "licence_status.channels"),
        (Licences, LICENCE, "\"ussd\"", "\"pigeon\"", InvalidField, "licence_status.channels"),
        (Licences, LICENCE, r#"["online","ussd"]"#, &many, TooLarge, "licence_status.channels"),
        (Licences, LICENCE, "\"poker\":", "\"bingo\":", InvalidField, "licence_status.return_to_player"),
        (
            Licences,
            LICENCE,
            r#"{"return_ppm":970000}"#,
            "970000",
            InvalidField,
            "licence_status.return_to_player.poker",
        ),
        (
            Licences,
            LICENCE,
            r#"{"return_ppm":970000}"#,
            "{}",
            MissingField,
            "licence_status.return_to_player.poker.return_ppm",
        ),
        // per cent
        (Licences, LICENCE, "970000", "97", InvalidField, "licence_status.return_to_player.poker.return_ppm"),
        (Licences, LICENCE, "970000", "970000.5", InvalidField, "licence_status.return_to_player.poker.return_ppm"),
        (Licences, LICENCE, "970000", "1000001", InvalidField, "licence_status.return_to_player.poker.return_ppm"),
        (Licences, LICENCE, ":5000", ":0", InvalidField, "licence_status.return_to_player.slots.multiple_max"),
        (Licences, LICENCE, r#""licence_status":{"#, r#""licence_statuses":{"#, MissingField, "licence_status"),
        (
            Licences,
            LICENCE,
            r#""occurred_at":"2026-11-20""#,
            r#""occurred_at":"20/11/2026""#,
            InvalidField,
            "occurred_at",
        ),
        (Invoices, INVOICE, r#""number":"FIRS-2026-11-0042","#, "", MissingField, "invoice.number"),
        (Invoices, INVOICE, r#""authority":"FIRS","#, "", MissingField, "invoice.authority"),
        (Invoices, INVOICE, r#""money":{"amount_minor":1500000,"currency":"KES"},"#, "", MissingField, "money"),
        (Invoices, INVOICE, "1500000", "-1500000", SignMismatch, "money.amount_minor"),
        (Invoices, INVOICE, ":500000", ":-500000", SignMismatch, "invoice.paid_minor"),
        (Invoices, INVOICE, ":500000", ":\"500000\"", InvalidField, "invoice.paid_minor"),
        (Invoices, INVOICE, ":500000", ":10000000000001", InvalidField, "invoice.paid_minor"),
        (Invoices, INVOICE, "part_paid", "half_paid", InvalidField, "invoice.state"),
        (Invoices, INVOICE, "\"2026-10-31\"", "\"2026-09-30\"", InvalidField, "invoice.period_to"),
        (Invoices, INVOICE, "\"2026-11-15\"", "20261115", InvalidField, "invoice.due_at"),
        (Invoices, INVOICE, r#""kind":"invoice""#, r#""kind":"invoice","status":"failed""#, InvalidField, "status"),
        (Payments, PAYMENT, r#""reference":"TRX-9","#, "", MissingField, "payment.reference"),
        (Payments, PAYMENT, "\"TRX-9\"", "9", InvalidField, "payment.reference"),
        (Payments, PAYMENT, r#","state":"completed""#, "", MissingField, "payment.state"),
        (Payments, PAYMENT, "completed", "done", InvalidField, "payment.state"),
        (Payments, PAYMENT, "1500000", "-1", SignMismatch, "money.amount_minor"),
        (BankStatements, LINE, r#""balance_after_minor":9750000,"#, "", MissingField, "balance_after_minor"),
        (BankStatements, LINE, r#""account":"KE11 0000 4711","#, "", MissingField, "bank.account"),
        (BankStatements, LINE, r#""line":12,"#, "", MissingField, "bank.line"),
        (BankStatements, LINE, ":12,", ":-1,", InvalidField, "bank.line"),
        (BankStatements, LINE, ":12,", ":1.5,", InvalidField, "bank.line"),
        (BankStatements, LINE, "debit", "out", InvalidField, "bank.direction"),
        (BankStatements, LINE, "250000", "-250000", SignMismatch, "money.amount_minor"),
        (BankStatements, LINE, "PAYOUT 77", "PAYOUT\\n77", InvalidField, "bank.reference"),
    ];
    for (class, json, from, to, code, field) in table {
        assert!(json.contains(from), "{from} is in {json}");
        let refusal = take(class, &json.replacen(from, to, 1)).expect_err(field);
        assert_eq!(refusal.code, code, "{field}: {}", refusal.detail);
        assert!(refusal.detail.starts_with(&format!("{field}:")), "{field}: {}", refusal.detail);
    }
}

#[test]
fn a_class_fills_in_what_it_knows() {
    assert_eq!(take(DataClass::SalesRedemptions, TICKET).unwrap().channel, Some(PlayChannel::Retail));
    let online = TICKET.replace("\"product\"", "\"channel\":\"online\",\"product\"");
    assert_eq!(take(DataClass::SalesRedemptions, &online).unwrap().channel, Some(PlayChannel::Online));
    assert_eq!(take(DataClass::GamingTransactions, TICKET).unwrap().channel, None, "as play it says what it says");
    let unknown = detail(DataClass::Licences, &LICENCE.replace(r#""compliance":"under_review","#, ""));
    assert_eq!(unknown.licence_status.unwrap().compliance, Compliance::Unknown);
    // nothing is said of channels and returns where they are left out or null; an empty list says every channel
    let begin = LICENCE.find(r#","channels""#).unwrap();
    let with =
        |more: &str| detail(DataClass::Licences, &format!("{}{more}}}}}", &LICENCE[..begin])).licence_status.unwrap();
    for (more, channels, has_returns) in [
        ("", None, false),
        (r#","channels":null,"return_to_player":null"#, None, false),
        (r#","channels":[],"return_to_player":{}"#, Some(Vec::new()), true),
    ] {
        let status = with(more);
        assert_eq!((status.channels, status.return_to_player.is_some()), (channels, has_returns), "{more}");
    }
    let taken_away = detail(DataClass::PlayerAccounts, &LIMIT.replace(":50", ":null"));
    assert_eq!((taken_away.limit_type.as_deref(), taken_away.limit_new_minor), (Some("deposit_day"), None));
}

#[test]
fn a_break_from_play_needs_no_amount() {
    let taken = |from: &str, to: &str| take(DataClass::PlayerAccounts, &LIMIT.replacen(from, to, 1));
    let whole = r#""type":"deposit_day","old_minor":100,"new_minor":50"#;
    for kind in ["time_out", "Cooling-off 24 hours"] {
        let record = taken(whole, &format!(r#""type":"{kind}""#)).unwrap();
        assert_eq!(record.detail, format!(r#"{{"limit.type":"{kind}"}}"#));
    }
    let refusal = taken(whole, r#""type":"session_time""#).unwrap_err();
    assert_eq!((refusal.code, refusal.detail.starts_with("limit.new_minor:")), (QuarantineCode::MissingField, true));
    let refusal = taken("deposit_day", "self_exclusion").unwrap_err();
    assert!(refusal.detail.contains("POST /api/v1/operators/exclusions"), "{}", refusal.detail);
    // an amount that it carries all the same is an amount
    let refusal = taken(r#""deposit_day","old_minor":100,"new_minor":50"#, r#""time_out","new_minor":-1"#).unwrap_err();
    assert_eq!(refusal.code, QuarantineCode::SignMismatch);
}

#[test]
fn what_the_contract_does_not_know_is_kept_as_free_data() {
    let json = INVOICE.replace("\"tax\"", r#""officer":"0712345678","Rate":"15","tax""#);
    let record = take(DataClass::Invoices, &json).unwrap();
    assert!(record.detail.contains(r#""invoice.Rate":"15""#), "{}", record.detail);
    assert!(record.detail.contains(r#""invoice.officer":"digest:"#), "{}", record.detail);
    assert!(!record.detail.contains("712345678"));
    // the names of documents are no names of play: whatever stood there stands there still
    let deposit = r#"{"record_id":"d1","kind":"deposit","occurred_at":"2026-11-20T10:00:00Z","money":{"amount_minor":1,"currency":"KES"},"bank":"KCB","invoice":null,"payment":{"method":"bank","reference":7,"state":{"x":1}}}"#;
    let record = take(DataClass::GamingTransactions, deposit).unwrap();
    assert_eq!(record.detail, r#"{"payment.method":"bank","extra":{"bank":"KCB","invoice":null}}"#);
}

#[test]
fn a_remark_is_kept_unless_it_may_name_somebody() {
    let table = [
        ("PAYOUT 77", true),
        ("FIRS-2026-11-0042", true),
        ("Invoice 42/2026 of 20.11", true),
        ("PAYOUT 12345678", false),
        ("PAYOUT JOHN MWANGI KAMAU", false),
        ("Wanjiku", false),
        ("JOHN-77", true),
        ("0712 345 678", false),
        ("0712-345-678", false),
        ("to wanjiku@example.org", false),
        ("+254 (712) 345.678 bonus", false),
    ];
    for (text, is_kept) in table {
        let line = detail(DataClass::BankStatements, &LINE.replace("PAYOUT 77", text)).bank.unwrap();
        let reference = line.reference.unwrap();
        assert_eq!(reference == text, is_kept, "{text}: {reference}");
        assert!(is_kept || reference.starts_with("digest:"));
    }
}

#[test]
fn a_changed_document_is_other_content() {
    for (class, json) in CLASSES {
        let base = take(class, json).unwrap();
        let swapped = json.replacen(r#"{"record_id""#, r#"{"x":null,"record_id""#, 1);
        assert_eq!(take(class, json).unwrap().content_digest, base.content_digest);
        assert_ne!(take(class, &swapped).unwrap().content_digest, base.content_digest);
    }
    let changes = [
        (DataClass::Licences, LICENCE, "active", "revoked"),
        (DataClass::Invoices, INVOICE, ":500000", ":500001"),
        (DataClass::Payments, PAYMENT, "completed", "reversed"),
        (DataClass::BankStatements, LINE, "debit", "credit"),
        (DataClass::BankStatements, LINE, "4711", "4712"),
    ];
    for (class, json, from, to) in changes {
        let other = take(class, &json.replacen(from, to, 1)).unwrap();
        assert_ne!(other.content_digest, take(class, json).unwrap().content_digest, "{from} → {to}");
    }
}
