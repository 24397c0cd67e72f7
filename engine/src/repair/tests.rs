//! What is sent, what is suggested: tables that somebody who knows feeds can read.

use super::*;
use models::ids::OperatorNo;
use models::match_key::DigestKeys;
use models::money::Currency;
use models::phone::Country;
use models::ts::{DAY, HOUR};
use proptest::prelude::*;
use serde_json::json;

const RECEIVED: &str = "2026-11-21T10:00:00Z";

fn with<T>(check: impl FnOnce(&Bench<'_>) -> T) -> T {
    let digest = DigestKeys::new([(0, [7; 32])]).expect("a key");
    let resolver = Resolver {
        digest: &digest,
        token_keys: &[],
        family: "t",
        operator_no: OperatorNo(1),
        country: Country::Ke,
        currency: Currency::KES,
    };
    let received_at = Ts::parse(RECEIVED).expect("a time");
    let zone = TimeZone::get("Africa/Nairobi").expect("a zone");
    let (earliest, latest) = (received_at.plus(-7 * DAY), received_at.plus(HOUR));
    check(&Bench { resolver: &resolver, zone: &zone, received_at, earliest, latest })
}

fn fine() -> Value {
    json!({"record_id": "r1", "kind": "stake", "occurred_at": "2026-11-21T09:59:00Z",
        "money": {"amount_minor": 12500, "currency": "KES"}, "product": "sportsbook"})
}

/// A record with other values in some places; null takes one away.
fn but(changes: &[(&str, Value)]) -> Value {
    let mut record = fine();
    for (pointer, value) in changes {
        read::put(&mut record, pointer, value.clone());
    }
    record
}

fn suggested(record: &Value) -> Option<Suggestion> {
    with(|bench| suggest(record.to_string().as_bytes(), bench))
}

/// What is suggested differs from the record in these places alone, and the list of changes names them.
fn check(sent: &Value, wanted: Option<&[(&str, Value)]>) {
    let got = suggested(sent);
    let Some(wanted) = wanted else {
        assert_eq!(got, None, "{sent}");
        return;
    };
    let mut record = sent.clone();
    for (pointer, value) in wanted {
        read::put(&mut record, pointer, value.clone());
    }
    let got = got.unwrap_or_else(|| panic!("nothing for {sent}"));
    assert_eq!(got.record, record, "{sent}");
    let mut replayed = sent.clone();
    for change in &got.changes {
        assert_eq!(replayed.pointer(&change.pointer).cloned().unwrap_or_default(), change.from, "{sent}");
        assert!(!change.why.is_empty() && change.from != change.to, "{change:?}");
        read::put(&mut replayed, &change.pointer, change.to.clone());
    }
    assert_eq!(replayed, got.record, "the changes are all of it: {sent}");
    let taken = with(|bench| bench.refusal(&got.record));
    assert_eq!(taken, None, "{sent}");
}

#[test]
fn what_is_taken_as_it_is_needs_nothing() {
    assert_eq!(suggested(&fine()), None);
}

#[test]
fn amounts() {
    let at = "/money/amount_minor";
    let table: [(Value, Option<i64>); 19] = [
        (json!(125.5), Some(12550)),
        (json!("12500"), Some(12500)),
        (json!("125,50"), Some(12550)),
        (json!("125.50"), Some(12550)),
        (json!("1.234,50"), Some(123_450)),
        (json!("1,234.50"), Some(123_450)),
        // groups of thousands, no fraction: in minor units, as its field says
        (json!("1,234,567"), Some(1_234_567)),
        (json!("KES 1 234.50"), Some(123_450)),
        (json!("12500.00"), Some(1_250_000)),
        // 1.234 or 1234; 125 or 125.00; a third of a cent
        (json!("1,234"), None),
        (json!(125.0), None),
        (json!("125.505"), None),
        (json!(125.505), None),
        (json!("many"), None),
        (json!(""), None),
        (json!("1.2,3.4"), None),
        (json!(true), None),
        (json!(1e300), None),
        (json!("99999999999999999999"), None),
    ];
    for (sent, wanted) in table {
        let wanted = wanted.map(|minor| vec![(at, json!(minor))]);
        check(&but(&[(at, sent)]), wanted.as_deref());
    }
    let balance = but(&[("/balance_after_minor", json!("1,50"))]);
    check(&balance, Some(&[("/balance_after_minor", json!(150))]));
}

#[test]
fn signs() {
    let negative = ("/money/amount_minor", json!(-12500));
    for (kind, wanted) in [
        ("stake", ("/money/amount_minor", json!(12500))),
        ("payout", ("/money/amount_minor", json!(12500))),
        ("withdrawal", ("/money/amount_minor", json!(12500))),
        ("deposit", ("/kind", json!("adjustment"))),
        ("bonus", ("/kind", json!("adjustment"))),
    ] {
        check(&but(&[("/kind", json!(kind)), negative.clone()]), Some(&[wanted]));
    }
    assert_eq!(suggested(&but(&[("/kind", json!("adjustment")), negative])), None, "it has its own sign");
    check(&but(&[("/money/amount_minor", json!(i64::MIN))]), None);
}

#[test]
fn times() {
    let at = "/occurred_at";
    let table: [(Value, Option<&str>); 22] = [
        (json!("2026-11-21T12:30:00"), Some("2026-11-21T12:30:00+03:00")),
        (json!("2026-11-21 12:30:00.250"), Some("2026-11-21T12:30:00.25+03:00")),
        (json!("2026-11-21 12:30"), Some("2026-11-21T12:30:00+03:00")),
        (json!("2026-11-20"), Some("2026-11-20T00:00:00+03:00")),
        (json!("20261121123000"), Some("2026-11-21T12:30:00+03:00")),
        (json!("21/11/2026 12:30:00"), Some("2026-11-21T12:30:00+03:00")),
        (json!("21.11.2026 12:30"), Some("2026-11-21T12:30:00+03:00")),
        (json!("21-11-2026"), Some("2026-11-21T00:00:00+03:00")),
        (json!("20/11/2026 11:30 PM"), Some("2026-11-20T23:30:00+03:00")),
        (json!("2026/11/20 23:30:00"), Some("2026-11-20T23:30:00+03:00")),
        (json!(" 20/11/2026 "), Some("2026-11-20T00:00:00+03:00")),
        (json!(1_795_253_400), Some("2026-11-21T09:30:00.000Z")),
        (json!("1795253400"), Some("2026-11-21T09:30:00.000Z")),
        (json!(1_795_253_400_123_i64), Some("2026-11-21T09:30:00.123Z")),
        // the thirteenth month, a time that is behind the horizon then, and no time
        (json!("11/21/2026"), None),
        (json!("2026-13-21"), None),
        (json!("01/11/2026"), None),
        (json!("yesterday"), None),
        (json!("25:00"), None),
        (json!(17), None),
        (json!(-1_795_253_400), None),
        (json!(""), None),
    ];
    for (sent, wanted) in table {
        let wanted = wanted.map(|text| vec![(at, json!(text))]);
        check(&but(&[(at, sent)]), wanted.as_deref());
    }
}

#[test]
fn a_time_that_a_zone_has_twice_or_not_at_all_is_not_offered() {
    let zone = TimeZone::get("Europe/Amsterdam").expect("a zone");
    assert_eq!(read::time("25/10/2026 02:30", &zone), None, "twice");
    assert_eq!(read::time("29/03/2026 02:30", &zone), None, "never");
    let once = read::time("25/10/2026 04:30", &zone).map(|(text, _)| text);
    assert_eq!(once.as_deref(), Some("2026-10-25T04:30:00+01:00"));
}

#[test]
fn records_from_another_zone() {
    let at = "/occurred_at";
    for (sent, wanted) in [
        // three hours ahead less some minutes on the way: the clock on the wall in Nairobi
        ("2026-11-21T12:59:00Z", Some("2026-11-21T09:59:00.000Z")),
        ("2026-11-21T12:35:00Z", Some("2026-11-21T09:35:00.000Z")),
        // two hours to the minute, and something in between
        ("2026-11-21T11:58:30Z", Some("2026-11-21T09:58:30.000Z")),
        ("2026-11-21T11:30:00Z", None),
        ("2027-11-21T09:00:00Z", None),
    ] {
        let wanted = wanted.map(|text| vec![(at, json!(text))]);
        check(&but(&[(at, json!(sent))]), wanted.as_deref());
    }
}

#[test]
fn behind_the_horizon_there_is_nothing_to_mend() {
    check(&but(&[("/occurred_at", json!("2026-11-01T10:00:00Z"))]), None);
    assert!(advice(QuarantineCode::BehindHorizon).contains("longer horizon"));
}

#[test]
fn names() {
    for (pointer, sent, wanted) in [
        ("/kind", "Stake", Some("stake")),
        ("/kind", "stakes", Some("stake")),
        ("/kind", "cash-out", Some("cash_out")),
        ("/kind", "witdhrawal", Some("withdrawal")),
        ("/kind", "session start", Some("session_start")),
        ("/kind", "horse", None),
        ("/kind", "x", None),
        ("/product", "Sports-Book", Some("sportsbook")),
        ("/product", "SPORTSBOOK", Some("sportsbook")),
        ("/product", "casin0", Some("casino")),
        ("/channel", "retial", Some("retail")),
        ("/channel", "mobile", None),
        ("/status", "succesful", Some("successful")),
        ("/status", "ok", None),
    ] {
        let wanted = wanted.map(|name| vec![(pointer, json!(name))]);
        check(&but(&[(pointer, json!(sent))]), wanted.as_deref());
    }
    let person = json!({"id_number": "12345678", "id_type": "National ID"});
    let sent = but(&[("/player", person)]);
    check(&sent, Some(&[("/player/id_type", json!("national_id"))]));
}

#[test]
fn currencies() {
    let at = "/money/currency";
    for (sent, wanted) in [
        (json!("kes"), Some("KES")),
        (json!(" Kes "), Some("KES")),
        (json!(null), Some("KES")),
        (json!(""), Some("KES")),
        (json!("USD"), None),
        (json!("Ksh"), None),
    ] {
        let wanted = wanted.map(|code| vec![(at, json!(code))]);
        check(&but(&[(at, sent)]), wanted.as_deref());
    }
}

#[test]
fn what_lies_in_another_place() {
    let flat = but(&[("/money", json!(null)), ("/amount_minor", json!(12500)), ("/currency", json!("kes"))]);
    let money = json!({"amount_minor": 12500, "currency": "KES"});
    let gathered = [("/money", money.clone()), ("/amount_minor", json!(null)), ("/currency", json!(null))];
    check(&flat, Some(&gathered));
    let deep = but(&[("/money", json!(null)), ("/extra", json!({"amount_minor": "125,00"}))]);
    check(&deep, Some(&[("/money", money.clone()), ("/extra", json!({}))]));
    let named = but(&[("/money", json!({"amount": "125.00"}))]);
    check(&named, Some(&[("/money", money.clone())]));
    check(&but(&[("/money", json!({"amount": 12500}))]), None);
    check(&but(&[("/money", json!("125,00"))]), Some(&[("/money", money)]));
    check(&but(&[("/money", json!(12500))]), None);
    // in two places: nobody knows which is meant
    let twice = but(&[("/money", json!(null)), ("/a", json!({"amount_minor": 1})), ("/amount_minor", json!(2))]);
    check(&twice, None);

    let wrapped = json!({"source": "till", "data": fine()});
    let got = suggested(&wrapped).expect("the record inside");
    assert_eq!(got.record, but(&[("/source", json!("till"))]));
    let kind = but(&[("/kind", json!(null)), ("/extra", json!({"kind": "Stake", "x": 1}))]);
    check(&kind, Some(&[("/kind", json!("stake")), ("/extra", json!({"x": 1}))]));
    check(&but(&[("/record_id", json!(null)), ("/id", json!("r1"))]), None);

    check(&but(&[("/player", json!("0712345678"))]), Some(&[("/player", json!({"phone": "0712345678"}))]));
    check(&but(&[("/player", json!("somebody"))]), None);
    check(&but(&[("/bet", json!("b-1"))]), Some(&[("/bet", json!({"id": "b-1"}))]));
    check(&but(&[("/extra", json!([1, 2]))]), Some(&[("/extra", json!({"value": [1, 2]}))]));
}

#[test]
fn several_faults_of_one_record_are_mended_together() {
    let sent = but(&[
        ("/record_id", json!(77)),
        ("/kind", json!("Stakes")),
        ("/occurred_at", json!("21/11/2026 12:30")),
        ("/money/amount_minor", json!("-125,50")),
        ("/money/currency", json!("kes")),
        ("/bet", json!({"parts": "2", "odds": "1,85", "live": "True"})),
        ("/status", json!("Successful")),
    ]);
    let wanted = [
        ("/record_id", json!("77")),
        ("/kind", json!("stake")),
        ("/occurred_at", json!("2026-11-21T12:30:00+03:00")),
        ("/money/amount_minor", json!(12550)),
        ("/money/currency", json!("KES")),
        ("/bet", json!({"parts": 2, "odds": 1.85, "live": true})),
        ("/status", json!("successful")),
    ];
    check(&sent, Some(&wanted));
    // one that cannot be mended leaves all of it to a person
    check(&but(&[("/kind", json!("Stakes")), ("/player", json!({"phone": "12"}))]), None);
}

#[test]
fn what_is_no_object_and_what_would_lose_digits_is_left_alone() {
    for sent in ["{", "[]", "null", "", "{\"record_id\":\"r1\"", "[{}]"] {
        assert_eq!(with(|bench| suggest(sent.as_bytes(), bench)), None, "{sent}");
    }
    let sent = fine().to_string().replace("\"stake\"", "\"Stake\"");
    let long = sent.replace("\"product\"", "\"account\":123456789012345678901234,\"product\"");
    assert!(with(|bench| suggest(sent.as_bytes(), bench)).is_some());
    assert_eq!(with(|bench| suggest(long.as_bytes(), bench)), None);
    let large = format!("{sent}{}", " ".repeat(SENT_BYTES_MAX));
    assert_eq!(with(|bench| suggest(large.as_bytes(), bench)), None);
}

#[test]
fn latin_text_is_read_as_such() {
    let sent = fine().to_string().replace("sportsbook\"", "sportsbook\",\"outlet_id\":\"Caf\u{e9}\"");
    let latin: Vec<u8> = sent.chars().map(|c| u8::try_from(u32::from(c)).expect("Latin-1")).collect();
    let got = with(|bench| suggest(&latin, bench)).expect("a suggestion");
    assert_eq!(got.record["outlet_id"], "Caf\u{e9}");
    assert_eq!((got.changes.len(), got.changes[0].pointer.as_str()), (1, "/outlet_id"));
}

#[test]
fn what_changed_is_told_by_names_of_the_contract_alone() {
    let pointers_of = |a: &Value, b: &Value| pointers(a.to_string().as_bytes(), b.to_string().as_bytes());
    let other = but(&[("/money/amount_minor", json!(1)), ("/player", json!({"phone": "0712345678"}))]);
    assert_eq!(pointers_of(&fine(), &other), ["/money/amount_minor", "/player/phone"]);
    let own = but(&[("/0712345678", json!(1)), ("/extra", json!({"Wanjiku": 2})), ("/bet", json!({"Otieno": 1}))]);
    assert_eq!(pointers_of(&fine(), &own), ["/bet", "/extra"]);
    assert_eq!(pointers_of(&fine(), &fine()), Vec::<String>::new());
    assert_eq!(pointers(b"{broken", fine().to_string().as_bytes()), [""]);
}

#[test]
fn every_code_has_its_advice() {
    let all: BTreeSet<&str> = QuarantineCode::ALL.iter().map(|code| advice(*code)).collect();
    assert_eq!(all.len(), QuarantineCode::ALL.len());
}

proptest! {
    /// Whatever is sent: no panic, and nothing is offered that would be refused.
    #[test]
    fn a_suggestion_is_one_that_is_taken(
        kind in "[a-z_]{0,12}", at in "[-0-9/T: .Z]{0,24}", amount in "[-0-9.,KES ]{0,12}", extra in "\\PC{0,12}",
    ) {
        let sent = but(&[("/kind", json!(kind)), ("/occurred_at", json!(at)), ("/money/amount_minor", json!(amount)),
            ("/note", json!(extra))]);
        if let Some(found) = suggested(&sent) {
            prop_assert_eq!(with(|bench| bench.refusal(&found.record)), None);
            prop_assert!(!found.changes.is_empty());
        }
    }
}
