use super::*;

pub(super) fn with<T>(check: impl FnOnce(&Resolver<'_>) -> T) -> T {
    let digest = DigestKeys::new([(0, [7; 32])]).unwrap();
    check(&Resolver {
        digest: &digest,
        token_keys: &[],
        family: "t",
        operator_no: OperatorNo(1),
        class: DataClass::GamingTransactions,
        country: Country::Ke,
        currency: Currency::KES,
    })
}

const FINE: &str = r#"{"record_id":"r1","kind":"stake","occurred_at":"2026-11-21T10:00:00Z","player":{"phone":"0712345678"},"money":{"amount_minor":12500,"currency":"KES"},"product":"sportsbook","device_id":"abc","extra":{"x":1},"payment":{"method":"mpesa","account":"0712345678"}}"#;

#[test]
fn a_full_record_keeps_no_raw_identity() {
    let record = with(|r| record(FINE.as_bytes(), r)).unwrap();
    assert_eq!((record.amount_minor, record.kind, record.status), (12500, RecordKind::Stake, RecordStatus::Successful));
    assert_eq!(record.detail, r#"{"payment.method":"mpesa","extra":{"x":1}}"#);
    assert!(record.player.is_some() && record.device.is_some() && record.account.is_some());
    assert!(!format!("{record:?}").contains("712345678"));
}

#[test]
fn an_account_number_alone_is_nobody_in_the_register() {
    // the player | known at all, and to the register
    let table = [
        (r#"{"phone":"0712345678"}"#, (true, true)),
        (r#"{"id_number":"12345678"}"#, (true, true)),
        (r#"{"account_ref":"a-17","phone":"0712345678"}"#, (true, true)),
        (r#"{"account_ref":"a-17"}"#, (true, false)),
        (r#"{"account_ref":""}"#, (false, false)),
        ("null", (false, false)),
    ];
    for (player, wanted) in table {
        let sent = FINE.replace("{\"phone\":\"0712345678\"}", player);
        let record = with(|r| record(sent.as_bytes(), r)).unwrap();
        assert_eq!((record.player.is_some(), record.is_identified), wanted, "{player}");
    }
}

#[test]
fn of_a_date_of_birth_the_age_is_kept() {
    // what is sent | age at 2026-11-21, or refused
    let table = [
        (r#""2002-11-21""#, Ok(Some(24))),
        (r#""2002-11-22""#, Ok(Some(23))),
        (r#""1950-01-01""#, Ok(Some(76))),
        ("null", Ok(None)),
        (r#""""#, Ok(None)),
        (r#""21/11/2002""#, Err(())),
        (r#""2002-13-01""#, Err(())),
        (r#""2027-01-01""#, Err(())),
        (r#""1850-01-01""#, Err(())),
    ];
    for (born, wanted) in table {
        let player = format!(r#"{{"phone":"0712345678","date_of_birth":{born}}}"#);
        let sent = FINE.replace("{\"phone\":\"0712345678\"}", &player);
        let got = with(|r| record(sent.as_bytes(), r));
        assert_eq!(got.as_ref().map(age_of).map_err(|_| ()), wanted, "{born}");
        assert!(!format!("{got:?}").contains("2002-"), "it is neither kept nor quoted");
    }
}

#[test]
fn what_is_refused_and_how_it_is_named() {
    use QuarantineCode::{Encoding, InvalidField, MissingField, SignMismatch, TooLarge, Unreadable};
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    let table: Vec<(Vec<u8>, QuarantineCode)> = vec![
        (b"{".to_vec(), Unreadable),
        (b"[]".to_vec(), Unreadable),
        (b"{\"record_id\":\"\xff\"}".to_vec(), Encoding),
        (FINE.replace("\"r1\"", "null").into(), MissingField),
        (FINE.replace("\"r1\"", &format!("\"{long}\"")).into(), TooLarge),
        (FINE.replace("stake", "stakes").into(), InvalidField),
        (FINE.replace("12500", "-12500").into(), SignMismatch),
        (FINE.replace("12500", "1.5").into(), Unreadable),
        (FINE.replace("KES", "kes").into(), InvalidField),
        (FINE.replace("KES", "USD").into(), InvalidField),
        (FINE.replace("12500", "10000000000001").into(), InvalidField),
        (FINE.replace("\"product\"", "\"balance_after_minor\":-10000000000001,\"product\"").into(), InvalidField),
        (FINE.replace("T10", "T25").into(), InvalidField),
        (FINE.replace("{\"phone\":\"0712345678\"}", "{\"phone\":\"12\"}").into(), InvalidField),
        (FINE.replace("{\"phone\":\"0712345678\"}", "{\"bst\":\"BST-02-0\"}").into(), InvalidField),
        (FINE.replace("sportsbook", "horses").into(), InvalidField),
        (FINE.replace("\"x\":1", &format!("\"x\":\"{}\"", "y".repeat(5000))).into(), TooLarge),
    ];
    for (bytes, code) in table {
        let refusal = with(|r| record(&bytes, r)).unwrap_err();
        assert_eq!(refusal.code, code, "{}", String::from_utf8_lossy(&bytes));
        assert!(!refusal.detail.contains("712345678"));
    }
}

#[test]
fn content_is_the_same_in_any_order_and_differs_where_a_field_does() {
    let base = with(|r| record(FINE.as_bytes(), r)).unwrap();
    let swapped = r#"{"kind":"stake","x":1,"record_id":"r2","occurred_at":"2026-11-21T10:00:00.000Z","device_id":"abc","player":{"phone":"+254 712 345 678"},"product":"sportsbook","money":{"currency":"KES","amount_minor":12500},"payment":{"account":"0712345678","method":"mpesa"}}"#;
    let same = with(|r| record(swapped.as_bytes(), r)).unwrap();
    assert_eq!(base.content_digest, same.content_digest);
    assert_ne!(base.id_digest, same.id_digest);
    let other = with(|r| record(FINE.replace("12500", "12501").as_bytes(), r)).unwrap();
    assert_ne!(base.content_digest, other.content_digest);
}

#[test]
fn free_data_is_the_same_in_any_order_and_names_nobody_at_any_depth() {
    let with_extra = |extra: &str| {
        let bytes = FINE.replace("{\"x\":1}", extra);
        with(|r| record(bytes.as_bytes(), r)).unwrap()
    };
    let a = with_extra(r#"{"b":{"y":[1,{"q":2,"p":1}],"x":"\n"},"a":null,"who":[{"MSISDN":"0712345678","n":1}]}"#);
    let b = with_extra(r#"{"who":[{"n":1,"MSISDN":"0712345678"}],"a":null,"b":{"x":"\n","y":[1,{"p":1,"q":2}]}}"#);
    assert_eq!((a.content_digest, &a.detail), (b.content_digest, &b.detail));
    assert!(!a.detail.contains("712345678") && a.detail.contains("digest:"), "{}", a.detail);
    let wanted = r#""extra":{"a":null,"b":{"x":"\n","y":[1,{"p":1,"q":2}]},"who":[{"MSISDN":"digest:"#;
    assert!(a.detail.contains(wanted), "{}", a.detail);
    let other = with_extra(r#"{"b":{"y":[1,{"q":2,"p":1}],"x":"\n"},"a":null,"who":[{"MSISDN":"0712345679","n":1}]}"#);
    assert_ne!(a.content_digest, other.content_digest);
}

#[test]
fn free_data_that_is_taken_is_told_in_the_output_however_deep_it_is() {
    let nested = |depth: usize| {
        let value = format!("{}\"wanjiku@example.org\"{}", "[".repeat(depth), "]".repeat(depth));
        FINE.replace("{\"x\":1}", "1").replace("\"extra\":1", &format!("\"x\":{value}"))
    };
    let taken = |depth: &usize| with(|r| record(nested(*depth).as_bytes(), r)).ok();
    let deepest = (1..1_000).rev().find_map(|depth| taken(&depth).map(|record| (depth, record)));
    let (depth, record) = deepest.expect("free data may nest");
    assert!((100..1_000).contains(&depth), "as deep as the parser goes: {depth}");
    let line = String::from_utf8(crate::output::line(&record, models::ids::SourceId(1), "acme")).unwrap();
    let told = format!("{}\"name:", "[".repeat(depth));
    assert!(line.contains(&told) && line.contains("]}}}"), "{line}");
}

#[test]
fn ids_made_of_a_mobile_number_are_digested_and_others_are_kept() {
    let id_of = |id: &str| with(|r| record(FINE.replace("\"r1\"", &format!("\"{id}\"")).as_bytes(), r)).unwrap();
    for id in ["254712345678-20261121-1", "bet_0712345678", "wanjiku@example.org/7", "+254112345678"] {
        let once = id_of(id);
        assert!(once.record_id.starts_with("digest:"), "{id}: {}", once.record_id);
        assert_eq!(once.record_id, id_of(id).record_id, "{id}");
        assert_ne!(once.id_digest, id_of(&format!("{id}x")).id_digest, "{id}");
    }
    for id in ["r1", "712345678", "20261121100000", "9c1f-254712", "1000000007", "0812345678-1"] {
        assert_eq!(id_of(id).record_id, id);
    }
    let bytes = FINE.replace("{\"x\":1}", r#"{"0712345678":{"visits":3},"docs":31415926,"jackpot":31415926}"#);
    let record = with(|r| record(bytes.as_bytes(), r)).unwrap();
    assert!(!record.detail.contains("712345678"), "{}", record.detail);
    assert_eq!(record.detail.matches("31415926").count(), 1, "{}", record.detail);
}

#[test]
fn lines_and_arrays_are_split_alike() {
    let lines = b" {\"a\":1}\r\n\n{broken\n{\"b\":2}";
    let parts: Vec<&[u8]> = split(lines).unwrap().into_iter().map(|r| &lines[r]).collect();
    assert_eq!(parts, [&b"{\"a\":1}"[..], b"{broken", b"{\"b\":2}"]);
    let array = b"[{\"a\":1}, {\"b\":[2]}]";
    let parts: Vec<&[u8]> = split(array).unwrap().into_iter().map(|r| &array[r]).collect();
    assert_eq!(parts, [&b"{\"a\":1}"[..], b"{\"b\":[2]}"]);
    assert_eq!(split(b" \n"), Err(SplitError::Empty));
    assert_eq!(split(b" [ ]\n"), Ok(Vec::new()), "nothing happened, and somebody says so");
    assert_eq!(split(b"[{},\n{]"), Err(SplitError::Array(6)));
    assert_eq!(split("{}\n".repeat(BATCH_RECORDS_MAX + 1).as_bytes()), Err(SplitError::TooMany));
}
