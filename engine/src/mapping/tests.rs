use super::*;
use crate::dedupe::{Dedupe, Seen};
use crate::ingest::{self, Resolver};
use crate::operator_state::{OperatorInput, OperatorState};
use jiff::tz::TimeZone;
use models::alert::AlertRevision;
use models::feed::DataClass;
use models::ids::OperatorNo;
use models::match_key::DigestKeys;
use models::phone::Country;
use models::record::{QuarantineCode as Code, Record};
use std::collections::BTreeMap;
use std::path::PathBuf;

const BUSTABIT: &str = include_str!("../../../config/feeds/bustabit.toml");
const NY_WEEKLY: &str = include_str!("../../../config/feeds/ny_weekly.toml");

const BETS: &[u8] = b"Id,GameID,Username,Bet,CashedOut,Bonus,Profit,BustedAt,PlayDate\n\
    2,10,1-11\xd4\xc2,3,1.33,3,1.44,3.15,2021-11-23T06:39:15Z\n\
    1,11,JohnL,5,NA,NA,NA,1.4,2021-11-14T14:21:50Z\n\
    3,12,\"x,2000,2,0,2.00E+03,8,2021-11-24T00:00:00Z\n";
const WEEKS: &[u8] = b"Date,Handle,GGR,Brand\n\
    2022-01-09,63236093,-2725965.0,FanDuel\n\
    2022-12-18,155403,3914.880000000001,Bally Bet\n";

fn mapping(text: &str) -> Mapping {
    Mapping::from_toml(text).unwrap()
}

/// Through the same door as a push.
fn ingest(mapped: &Mapped) -> Vec<Result<Record, Code>> {
    let digest = DigestKeys::new([(0, [7; 32])]).unwrap();
    // `feed push` makes its sources in the mapping's currency
    let first = &mapped.records[0].json;
    let currency = ["XBT", "USD"].into_iter().find(|code| first.contains(&format!("\"{code}\""))).unwrap();
    let resolver = Resolver {
        digest: &digest,
        token_keys: &[],
        family: "t",
        operator_no: OperatorNo(1),
        class: DataClass::GamingTransactions,
        country: Country::Ke,
        currency: Currency::parse(currency).unwrap(),
    };
    mapped.records.iter().map(|r| ingest::record(r.json.as_bytes(), &resolver).map_err(|e| e.code)).collect()
}

fn codes(mapped: &Mapped) -> Vec<(u32, Code)> {
    mapped.refusals.iter().map(|r| (r.index, r.code)).collect()
}

#[test]
fn a_bet_is_a_stake_and_where_cashed_out_a_payout() {
    let mapped = mapping(BUSTABIT).read(BETS).unwrap();
    assert_eq!((mapped.rows, codes(&mapped)), (3, vec![]));
    let got: Vec<(u32, RecordKind, i64)> = mapped.records.iter().map(|r| (r.row, r.kind, r.amount_minor)).collect();
    use RecordKind::{Payout, Stake};
    assert_eq!(got, [(1, Stake, 500), (0, Stake, 300), (0, Payout, 444), (2, Stake, 200_000), (2, Payout, 400_000)]);
    let records: Vec<Record> = ingest(&mapped).into_iter().map(Result::unwrap).collect();
    assert_eq!(records[1].record_id, "2:stake");
    assert_eq!(records[1].player, records[2].player);
    assert_ne!(records[0].player, records[1].player);
    assert_eq!(records[0].currency.as_str(), "XBT");
    assert_eq!(
        records[4].detail,
        r#"{"game.id":"12","bet.settles":"3","extra":{"Bonus":"0","CashedOut":"2","mapping_flags":["inexact:Profit"]}}"#
    );
    assert!(!format!("{records:?}").contains("JohnL"));
}

#[test]
fn a_week_is_a_stake_and_a_payout_of_its_brand() {
    let mapped = mapping(NY_WEEKLY).read(WEEKS).unwrap();
    assert_eq!(codes(&mapped), []);
    let got: Vec<(&str, String, i64)> =
        mapped.records.iter().map(|r| (&*r.operator, r.occurred_at.to_string(), r.amount_minor)).collect();
    let at = ["2022-01-09T17:00:00.000Z", "2022-12-18T17:00:00.000Z"].map(str::to_owned);
    assert_eq!(
        got,
        [
            ("ny-fanduel", at[0].clone(), 6_323_609_300),
            ("ny-fanduel", at[0].clone(), 6_596_205_800),
            ("ny-bally-bet", at[1].clone(), 15_540_300),
            ("ny-bally-bet", at[1].clone(), 15_148_812),
        ]
    );
    assert!(ingest(&mapped).iter().all(Result::is_ok));
    assert_eq!(mapping(NY_WEEKLY).operators().len(), 9);
    assert_eq!(mapping(BUSTABIT).operators(), [("bustabit", "Bustabit")]);
}

#[test]
fn a_broken_row_is_one_refusal_and_the_others_stand() {
    let table: [(&str, &[u8], &[u8], Code); 9] = [
        ("broken encoding", b"JohnL", b"John\x85", Code::Encoding),
        ("UTF-8 in a Latin-1 file", b"JohnL", "John€".as_bytes(), Code::Encoding),
        ("a field missing", b"1,11,JohnL", b"1,JohnL", Code::MissingField),
        ("a field too many", b"1,11,JohnL", b"1,11,,JohnL", Code::InvalidField),
        ("no bet", b"JohnL,5,", b"JohnL,NA,", Code::MissingField),
        ("not a number", b"JohnL,5,", b"JohnL,5x,", Code::InvalidField),
        ("too many digits", b"JohnL,5,", b"JohnL,0.005,", Code::InvalidField),
        ("a broken time", b"2021-11-14T14:21:50Z", b"14.11.2021", Code::InvalidField),
        ("half a cash-out", b"JohnL,5,NA,", b"JohnL,5,1.2,", Code::MissingField),
    ];
    for (what, from, to, code) in table {
        let mapped = mapping(BUSTABIT).read(&replaced(BETS, from, to)).unwrap();
        assert_eq!((mapped.rows, codes(&mapped)), (3, vec![(1, code)]), "{what}");
        assert_eq!(mapped.records.len(), 4, "{what}");
        assert!(!mapped.refusals[0].detail.contains("John"), "{what}");
    }
}

#[test]
fn swapped_signs_are_found_at_the_mapping_or_at_the_door() {
    let swapped = mapping(BUSTABIT).read(&replaced(BETS, b"1.44", b"-1.44")).unwrap();
    assert_eq!(codes(&swapped), [(0, Code::SignMismatch)]);
    let swapped = mapping(NY_WEEKLY).read(&replaced(WEEKS, b"155403", b"-155403")).unwrap();
    assert_eq!(codes(&swapped), [(1, Code::SignMismatch)]);
    let swapped = mapping(BUSTABIT).read(&replaced(BETS, b"JohnL,5,", b"JohnL,-5,")).unwrap();
    assert_eq!(ingest(&swapped)[0], Err(Code::SignMismatch));
    // a mapping may know that its file writes stakes either way: then they are put right, and say so
    let knowing = BUSTABIT.replacen("{ plus = [\"Bet\"] }", "{ plus = [\"Bet\"], sign = \"absolute\" }", 1);
    let knowing = knowing.replace("gross_gaming_revenue = { plus = [\"Bet\"] }", "tolerance_minor = 0");
    let mapped = mapping(&knowing).read(&replaced(BETS, b"JohnL,5,", b"JohnL,-5,")).unwrap();
    assert_eq!((codes(&mapped), mapped.records[0].amount_minor), (vec![], 500));
    assert!(mapped.records[0].json.contains("sign_normalised"));
}

#[test]
fn sums_that_do_not_add_up_are_refused() {
    let wrong = NY_WEEKLY.replace("minus = [\"GGR\"]", "plus = [\"GGR\"]").replace("plus = [\"Handle\"], plus", "plus");
    let mapped = mapping(&wrong).read(WEEKS).unwrap();
    assert_eq!(codes(&mapped), [(0, Code::SumMismatch), (1, Code::SumMismatch)]);
    assert_eq!(mapped.records, []);
}

#[test]
fn sent_twice_is_a_duplicate_and_sent_changed_a_conflict() {
    let mut dedupe = Dedupe::new();
    let mut push = |file: &[u8]| -> Vec<Seen> {
        let records = ingest(&mapping(BUSTABIT).read(file).unwrap());
        let records = records.into_iter().map(Result::unwrap);
        records.map(|r| dedupe.insert(r.id_digest, r.content_digest, r.occurred_at)).collect()
    };
    assert!(push(BETS).iter().all(|s| *s == Seen::New));
    assert!(push(BETS).iter().all(|s| *s == Seen::Duplicate));
    let changed = push(&replaced(BETS, b"JohnL,5,", b"JohnL,6,"));
    assert_eq!(changed.iter().filter(|s| **s == Seen::Conflict).count(), 1);
    // the same id under another day is still the same id
    assert_eq!(push(&replaced(BETS, b"2021-11-14", b"2021-11-15"))[0], Seen::Conflict);
}

#[test]
fn a_file_that_does_not_fit_is_refused_as_a_whole() {
    let bustabit = mapping(BUSTABIT);
    assert_eq!(bustabit.read(b"").unwrap_err(), MappingError::Empty);
    assert_eq!(
        bustabit.read(&replaced(BETS, b"Profit", b"Gain")).unwrap_err(),
        MappingError::MissingColumn("Profit".to_owned())
    );
    assert_eq!(
        bustabit.read(&replaced(BETS, b"GameID", b"Bet")).unwrap_err(),
        MappingError::MissingColumn("GameID".to_owned())
    );
    assert_eq!(
        bustabit.read(&replaced(BETS, b"Bonus", b"Bet")).unwrap_err(),
        MappingError::ColumnTwice("Bet".to_owned())
    );
    let with_mark = [b"\xef\xbb\xbf".as_slice(), WEEKS].concat();
    assert_eq!(mapping(NY_WEEKLY).read(&with_mark).unwrap().rows, 2);
}

#[test]
fn a_mapping_that_makes_no_sense_says_where() {
    let table = [
        ("clock = \"event\"", "clock = \"sun\"", "the mapping does not parse"),
        ("scale = 2", "scale = 2\nscala = 2", "the mapping does not parse"),
        ("scale = 2", "scale = 9", "numbers.scale"),
        ("code = \"bustabit\"", "", "operator: either"),
        ("\"{Id}:stake\"", "\"{Id:stake\"", "record[0]: a template's bracket"),
        ("\"game.id\" =", "\"game.ids\" =", "record[0]: game.ids is not a text field"),
        ("when = \"CashedOut is not null\"", "when = \"CashedOut\"", "record[1]: a condition"),
        ("amount = { plus = [\"Bet\"] }", "", "record[0]: its kind needs an amount"),
        ("format = \"rfc3339\"", "format = \"%d\"\nzone = \"Mars/Olympus\"", "time.zone"),
    ];
    for (from, to, wanted) in table {
        assert!(BUSTABIT.contains(from), "{from}");
        let error = Mapping::from_toml(&BUSTABIT.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{error}");
    }
}

/// Each row of a shop's export ends stored, refused or, where its mapping says so, skipped; whatever its kind is called.
#[test]
fn a_row_that_no_record_fits_is_refused_and_not_lost() {
    let file = "Volgnummer;Datum;Soort;Bedrag;Lotnummer;Product;Verkooppunt;Terminal;Regio;Vervangt\n\
        1;20/11/2026 13:00:00;VERKOOP;50,00;T1;lottery;S1;A;KE-30;NULL\n\
        2;20/11/2026 13:01:00;CORRECTIE;50,00;T1;lottery;S1;A;KE-30;NULL\n\
        ;NULL;TOTAAL;100,00;;;;;;\n";
    let text = include_str!("../../../config/feeds/retail_sales.toml");
    let lost = mapping(text).read(file.as_bytes()).unwrap();
    assert_eq!((lost.records.len(), codes(&lost)), (1, vec![(1, Code::InvalidField), (2, Code::MissingField)]));
    assert_eq!(lost.refusals[0].detail, "no record of the mapping fits");
    // a sum has no time: it is skipped before anything of it is read
    let knowing = format!("{text}\n[[skip]]\nwhen = \"Soort = 'TOTAAL'\"\n");
    let mapped = mapping(&knowing).read(file.as_bytes()).unwrap();
    assert_eq!((mapped.rows, mapped.records.len(), mapped.skipped), (3, 1, 1));
    assert_eq!(codes(&mapped), [(1, Code::InvalidField)]);
    let error = Mapping::from_toml(&format!("{text}\n[[skip]]\nwhen = \"Soort\"\n")).unwrap_err().to_string();
    assert!(error.starts_with("skip[0]: a condition"), "{error}");
}

fn owners(mapped: &Mapped) -> Vec<Option<&str>> {
    mapped.refused_of.iter().map(Option::as_deref).collect()
}

#[test]
fn a_refused_row_says_whose_it_is_where_that_can_be_read() {
    let file = b"Date,Handle,GGR,Brand\n\
        2022-01-09,x,1,FanDuel\n\
        2022-01-09,1\xff,1,BetMGM\n\
        2022-01-09,1,1,Nobody\n\
        2022-01-09,1,FanDuel\n\
        2022-01-09,1,1,Fan\xffDuel\n";
    let mapped = mapping(NY_WEEKLY).read(file).unwrap();
    assert_eq!(owners(&mapped), [Some("ny-fanduel"), Some("ny-betmgm"), None, None, None]);
    // a file of one operator has no row of another
    let mapped = mapping(BUSTABIT).read(&replaced(BETS, b"1,11,JohnL", b"1,JohnL")).unwrap();
    assert_eq!(owners(&mapped), [Some("bustabit")]);
    let items = [r#"{"Brand":"FanDuel"}"#, r#"{"Brand":["FanDuel"]}"#, r#"{"Brand":"BetMGM","Date":"\u0000"}"#, "7"];
    let body = items.concat();
    let mut end = 0;
    let places = items.iter().map(|item| {
        end += item.len();
        end - item.len()..end
    });
    let mapped = mapping(NY_WEEKLY).read_json(body.as_bytes(), places);
    assert_eq!(owners(&mapped), [Some("ny-fanduel"), None, Some("ny-betmgm"), None]);
}

/// The shape of the Dutch control data bank's exports.
#[test]
fn dutch_exports_are_read_too() {
    let text = r#"
        name = "cdb"
        order = "file"
        source = { name = "cdb", class = "account_transactions", clock = "wall", horizon_days = 7, expected_interval_seconds = 3600, currency = "EUR" }
        file = { encoding = "windows-1252", delimiter = ";", null = ["NULL"] }
        operator = { code = "nl-1" }
        time = { column = "Moment", format = "%d-%m-%Y %H:%M:%S", zone = "Europe/Amsterdam" }
        numbers = { decimal = ",", thousands = ".", scale = 2 }
        [[record]]
        id = "{Record_ID}"
        kind = "stake"
        when = "Type = 'STAKE' and Status != 'UNSUCCESSFUL'"
        amount = { plus = ["Amount"], sign = "negate" }
        fields = { replaces = "{Replaces}", "player.account_ref" = "{Player}" }
        [[record]]
        id = "{Record_ID}"
        kind = "stake"
        when = "Type = 'STAKE' and Status = 'UNSUCCESSFUL'"
        amount = { plus = ["Amount"], sign = "negate" }
        fields = { status = "failed" }
    "#;
    let file = b"\"Record_ID\";\"Replaces\";\"Moment\";\"Type\";\"Status\";\"Amount\";\"Player\"\r\n\
        \"r1\";\"NULL\";\"01-07-2026 12:00:00\";\"STAKE\";\"SUCCESSFUL\";\"-1.234,50\";\"J\xf6rg; \x80\"\r\n\
        \"r2\";\"r1\";\"01-01-2026 12:00:00\";\"STAKE\";\"UNSUCCESSFUL\";\"-5,00\";\"NULL\"\r\n\
        \"r3\";\"NULL\";\"01-01-2026 12:00:00\";\"WINNING\";\"SUCCESSFUL\";\"5,00\";\"NULL\"\r\n";
    let unknown = mapping(text).read(file).unwrap();
    assert_eq!((unknown.rows, unknown.skipped, codes(&unknown)), (3, 0, vec![(2, Code::InvalidField)]));
    assert_eq!(unknown.refusals[0].detail, "no record of the mapping fits");
    let knowing = format!("{text}\n[[skip]]\nwhen = \"Type = 'WINNING'\"\n");
    let mapped = mapping(&knowing).read(file).unwrap();
    assert_eq!((mapped.rows, mapped.skipped, codes(&mapped)), (3, 1, vec![]));
    let got: Vec<(String, i64, bool)> = mapped
        .records
        .iter()
        .map(|r| (r.occurred_at.to_string(), r.amount_minor, r.json.contains("\"replaces\":null")))
        .collect();
    assert_eq!(
        got,
        [("2026-07-01T10:00:00.000Z".to_owned(), 123_450, true), ("2026-01-01T11:00:00.000Z".to_owned(), 500, true)]
    );
    assert!(mapped.records[0].json.contains("Jörg; €") && mapped.records[1].json.contains("\"status\":\"failed\""));
}

fn replaced(file: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = file.windows(from.len()).position(|w| w == from).expect("the fixture holds it");
    [&file[..at], to, &file[at + from.len()..]].concat()
}

/// A file of the development data, which is never part of the repository.
#[allow(clippy::print_stderr)]
fn shared(name: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("MLINZI_SHARED_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let file = std::fs::read(folder.join("ingest").join(name)).ok();
    if file.is_none() {
        eprintln!("not run on {name}: no shared data there (set MLINZI_SHARED_DATA)");
    }
    file
}

/// Stakes and payouts per operator.
fn totals(mapped: &Mapped) -> BTreeMap<&str, (i64, i64)> {
    let mut totals = BTreeMap::new();
    for r in &mapped.records {
        let sums: &mut (i64, i64) = totals.entry(&*r.operator).or_default();
        match r.kind {
            RecordKind::Stake => sums.0 += r.amount_minor,
            _ => sums.1 += r.amount_minor,
        }
    }
    totals
}

#[test]
fn shared_data_bustabit_loses_no_row_and_no_satoshi() {
    let Some(file) = shared("bustabit_latin1_first10k.csv") else { return };
    let mapped = mapping(BUSTABIT).read(&file).unwrap();
    assert_eq!((mapped.rows, codes(&mapped)), (10_000, vec![]));
    assert_eq!(mapped.records.len(), 10_000 + 5_702);
    assert_eq!(totals(&mapped), BTreeMap::from([("bustabit", (2_402_888_700, 2_609_970_182))]));
    assert!(ingest(&mapped).iter().all(Result::is_ok));
    assert!(mapped.records.is_sorted_by_key(|r| r.occurred_at));
}

#[test]
fn shared_data_ny_weekly_loses_no_row_and_no_cent() {
    let Some(file) = shared("ny_weekly_handle_ggr.csv") else { return };
    let mapped = mapping(NY_WEEKLY).read(&file).unwrap();
    assert_eq!((mapped.rows, codes(&mapped)), (1_333, vec![]));
    assert_eq!(mapped.records.len(), 2 * 1_333);
    let totals = totals(&mapped);
    assert_eq!(totals.len(), 9);
    let (stakes, payouts) = totals.values().fold((0, 0), |sum, t| (sum.0 + t.0, sum.1 + t.1));
    assert_eq!((stakes, stakes - payouts), (5_801_834_844_400, 511_270_021_188));
    assert!(ingest(&mapped).iter().all(Result::is_ok));
}

/// What a fresh store would hold after the file was pushed in batches of 1,000.
fn alerts(mapped: &Mapped) -> Vec<AlertRevision> {
    let mut records: BTreeMap<&str, Vec<Record>> = BTreeMap::new();
    for (from, record) in mapped.records.iter().zip(ingest(mapped)) {
        records.entry(&*from.operator).or_default().push(record.unwrap());
    }
    let mut found = Vec::new();
    for (code, records) in records {
        let mut state = OperatorState::new(OperatorNo(1), code.to_owned(), TimeZone::get("Africa/Nairobi").unwrap());
        for (batch, seq) in records.chunks(1_000).zip(1..) {
            let clock_at = batch.iter().map(|r| r.occurred_at).max().unwrap();
            let clock = SourceClock::Event;
            let input = OperatorInput::Batch { operator_seq: seq, clock_at, clock, records: batch };
            found.extend(state.apply(input).revisions);
        }
    }
    found
}

#[test]
fn shared_data_gives_the_same_alerts_in_two_fresh_stores() {
    for (text, name) in [(BUSTABIT, "bustabit_latin1_first10k.csv"), (NY_WEEKLY, "ny_weekly_handle_ggr.csv")] {
        let Some(file) = shared(name) else { return };
        let first = alerts(&mapping(text).read(&file).unwrap());
        assert!(!first.is_empty() && first == alerts(&mapping(text).read(&file).unwrap()), "{name}");
        // every alert can be checked by hand
        assert!(first.iter().all(|r| r.evidence.samples >= 8 && !r.evidence.records.is_empty()), "{name}");
    }
}

#[test]
fn what_is_refused_is_found_in_the_file_again() {
    let file = [b"\xef\xbb\xbf".as_slice(), BETS, b"\n5,13,JohnL,x,NA,NA,NA,1.4,2021-11-14T14:21:50Z\n6,7\n"].concat();
    let mapped = mapping(&BUSTABIT.replace("latin1", "windows-1252")).read(&file).unwrap();
    assert_eq!(codes(&mapped), [(3, Code::InvalidField), (4, Code::MissingField)]);
    let found: Vec<&str> =
        mapped.refused_at.iter().map(|place| std::str::from_utf8(&file[place.clone()]).unwrap().trim()).collect();
    assert_eq!(found, ["5,13,JohnL,x,NA,NA,NA,1.4,2021-11-14T14:21:50Z", "6,7"]);
}

#[test]
fn objects_are_mapped_as_rows_are() {
    let text = BUSTABIT.replace("\"Bet\"", "\"money.bet\"").replace("{Username}", "{player.name}");
    let items = [
        r#"{"Id":1,"GameID":"10","player":{"name":"JohnL"},"money":{"bet":5},"CashedOut":null,"BustedAt":1.4,"PlayDate":"2021-11-14T14:21:50Z"}"#,
        r#"{"Id":2,"GameID":10,"player.name":"x","money":{"bet":"3.50"},"CashedOut":"1.33","Profit":1.44,"BustedAt":true,"PlayDate":"2021-11-23T06:39:15Z"}"#,
        r#"{"Id":3,"money":{"bet":{"x":1}},"PlayDate":"2021-11-23T06:39:15Z"}"#,
        r#"{"Id":4,"money":5,"PlayDate":"2021-11-23T06:39:15Z"}"#,
        r#"{"Id":"a\u0000b","money":{"bet":5},"PlayDate":"2021-11-23T06:39:15Z"}"#,
        "[1]",
        "{",
    ];
    let body = items.join("\n");
    let places = items.iter().map(|item| {
        let start = body.find(item).unwrap();
        start..start + item.len()
    });
    let mapped = mapping(&text).read_json(body.as_bytes(), places);
    let amounts: Vec<(u32, i64)> = mapped.records.iter().map(|r| (r.row, r.amount_minor)).collect();
    assert_eq!(amounts, [(0, 500), (1, 350), (1, 494)]);
    assert!(mapped.records[1].json.contains("\"account_ref\":\"x\""), "a member whose name has a point in it");
    use Code::{Encoding, InvalidField, MissingField, Unreadable};
    let refused = [(2, InvalidField), (3, MissingField), (4, Encoding), (5, Unreadable), (6, Unreadable)];
    assert_eq!(codes(&mapped), refused);
    assert!(mapped.refused_at.iter().zip(&items[2..]).all(|(place, item)| body[place.clone()] == **item));
    // a number of JSON has a point, whatever the mapping's texts have
    let comma = text.replace("[numbers]", "[numbers]\ndecimal = \",\"");
    let one = br#"{"Id":1,"money":{"bet":2.5},"PlayDate":"2021-11-14T14:21:50Z"}"#;
    let mapped = mapping(&comma).read_json(one, std::iter::once(0..one.len()));
    assert_eq!(mapped.refusals.len(), 0, "{:?}", mapped.refusals);
    assert_eq!(mapped.records[0].amount_minor, 250);
}
