//! What a vector says of people whose days are told minute by minute.

use engine::features::{documentation, player, schema_digest, transaction};
use engine::rules::calendar::Calendar;
use engine::rules::finding::Mode;
use engine::rules::input::{Facts, Input};
use engine::rules::ruleset::{RuleSet, RuleVersion};
use engine::rules::run::OperatorRules;
use jiff::tz::TimeZone;
use models::ids::OperatorNo;
use models::match_key::MatchKey;
use models::money::Currency;
use models::record::{PlayChannel, Product, Record, RecordKind, RecordStatus};
use models::ts::{DAY, HOUR, MINUTE, SECOND, Ts};
use proptest::prelude::*;

/// 2 March 2026, a Monday, 00:00 in Nairobi.
const BEGIN: i64 = 1_772_398_800_000_000;

fn zone() -> TimeZone {
    TimeZone::get("Africa/Nairobi").unwrap()
}

fn key(name: &str) -> MatchKey {
    MatchKey(u128::from(engine::ingest::id_digest(name)) << 24)
}

fn record(n: usize, kind: RecordKind, micros: i64, amount_minor: i64) -> Record {
    let id = format!("r{n}");
    Record {
        id_digest: engine::ingest::id_digest(&id),
        record_id: id,
        kind,
        occurred_at: Ts(BEGIN + micros),
        player: Some(key("wanjiku")),
        is_identified: true,
        amount_minor,
        ..Record::for_tests()
    }
}

/// The vectors of records in their order, none where there is none.
fn vectors(records: &[Record], params: transaction::Params) -> Vec<Option<[f32; transaction::WIDTH]>> {
    let mut rules = OperatorRules::new(OperatorNo(1), zone(), &RuleSet::standard("KE"));
    let mut extractor = transaction::Extractor::new(params);
    let facts = Facts { is_identified: true, ..Facts::default() };
    let step = |record: &Record| {
        let (mut out, mut there) = ([0.0; transaction::WIDTH], false);
        let input = Input::Play { record, facts: &facts };
        rules.hear_and(&input, &mut Vec::new(), |heard| there = extractor.hear(heard, &mut out));
        there.then_some(out)
    };
    records.iter().map(step).collect()
}

fn last(records: &[Record]) -> impl Fn(&str) -> Option<f32> + use<> {
    last_with(records, transaction::Params::default())
}

fn last_with(records: &[Record], params: transaction::Params) -> impl Fn(&str) -> Option<f32> + use<> {
    let vector = vectors(records, params).pop().flatten().expect("the last record has a vector");
    move |name| {
        let place = transaction::names().iter().position(|known| *known == name).expect("a feature");
        Some(vector[place]).filter(|value| !value.is_nan())
    }
}

#[test]
fn the_documentation_is_the_table() {
    let text = documentation("Transaction risk", transaction::VERSION, transaction::FEATURES)
        + "\n"
        + &documentation("Player risk", player::VERSION, player::FEATURES);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/FEATURES.md");
    if std::env::var_os("MLINZI_WRITE_DOCS").is_some() {
        std::fs::write(path, format!("{HEAD}{text}")).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), format!("{HEAD}{text}"), "MLINZI_WRITE_DOCS=1 writes it anew");
}

const HEAD: &str = "# Features\n\nWhat models are told, made from the tables in `engine/src/features` (a test holds this file against them). What is\nnot known is missing (NaN, an empty cell), never 0. \"Before\" means without the record itself; a day is local. A record of\nnobody at a named terminal, else shop, has a vector of transaction risk whose player is that terminal or shop.\n\n";

#[test]
fn names_are_names_and_a_changed_table_is_another_schema() {
    for (features, digest) in [(transaction::FEATURES, TRANSACTION_SCHEMA), (player::FEATURES, PLAYER_SCHEMA)] {
        let mut names: Vec<&str> = features.iter().map(|feature| feature.name).collect();
        assert_eq!(
            &schema_digest(names.iter().copied())[..16],
            digest,
            "another table: another version, and a note in CHANGELOG"
        );
        for feature in features {
            let is_name = feature.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            assert!(is_name && !feature.unit.is_empty() && !feature.meaning.is_empty() && !feature.source.is_empty());
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), features.len(), "no name twice");
    }
    assert_ne!(schema_digest(["a", "b"]), schema_digest(["ab"]));
}

const TRANSACTION_SCHEMA: &str = "8c3c129cb985121c";
const PLAYER_SCHEMA: &str = "42619802e1391022";

#[test]
fn an_amount_is_held_against_the_players_own() {
    use RecordKind::{Deposit, Stake};
    let stake = |n: usize, amount| record(n, Stake, n as i64 * MINUTE, amount);
    let usual: Vec<Record> = [100, 200, 300].iter().enumerate().map(|(n, amount)| stake(n, *amount)).collect();
    let with = |new: Record| [usual.clone(), vec![new]].concat();
    // stakes: mean 200, mean absolute difference 125, largest 300
    let of = last(&with(stake(3, 1_200)));
    let table = [
        ("is_stake", Some(1.0)),
        ("is_deposit", Some(0.0)),
        ("amount_minor", Some(1_200.0)),
        ("amount_to_mean", Some(6.0)),
        ("amount_off", Some(8.0)),
        ("amount_to_max", Some(4.0)),
        ("amount_to_threshold", None),
        ("records_10m", Some(4.0)),
        ("minutes_since_record", Some(1.0)),
        ("minutes_since_deposit", None),
        ("hour_unusual", None),
        ("is_retail", None),
    ];
    for (name, wanted) in table {
        assert_eq!(of(name), wanted, "{name}");
    }
    // a deposit is no stake: its first has nothing to be held against
    let of = last(&with(record(3, Deposit, 3 * MINUTE, 1_200)));
    assert_eq!((of("is_deposit"), of("amount_to_mean"), of("amount_off")), (Some(1.0), None, None));
}

#[test]
fn in_and_out_with_little_play_shows() {
    use RecordKind::{Deposit, Stake, Withdrawal};
    let (own, other) = (Some(key("wallet")), Some(key("stranger")));
    let with = |record: Record, account| Record { account, ..record };
    let story = |account| {
        [
            with(record(0, Deposit, 0, 100_000), own),
            record(1, Stake, 10 * MINUTE, 5_000),
            with(record(2, Withdrawal, 20 * MINUTE, 80_000), account),
        ]
    };
    // what is told | account paid out to | the vector says
    let table = [
        ("played_since_deposit", own, Some(0.05)),
        ("played_through", own, Some(0.05)),
        ("withdrawn_share_today", own, Some(0.8)),
        ("net_month_minor", own, Some(20_000.0)),
        ("minutes_since_deposit", own, Some(20.0)),
        ("deposits_1d", own, Some(1.0)),
        ("withdrawals_1d", own, Some(1.0)),
        ("is_new_account", own, Some(0.0)),
        ("is_payout_elsewhere", own, Some(0.0)),
        ("account_players_30d", own, Some(1.0)),
        ("is_new_account", other, Some(1.0)),
        ("account_days", other, Some(0.0)),
        ("is_payout_elsewhere", other, Some(1.0)),
        ("is_payout_elsewhere", None, None),
        ("is_new_account", None, None),
    ];
    for (name, account, wanted) in table {
        assert_eq!(last(&story(account))(name), wanted, "{name} {account:?}");
    }
}

#[test]
fn deposits_below_a_threshold_are_counted_near_it() {
    let params = transaction::Params { threshold_minor: Some(100_000) };
    let amounts = [79_999, 80_000, 99_999, 100_000, 95_000];
    let deposits: Vec<Record> =
        amounts.iter().enumerate().map(|(n, a)| record(n, RecordKind::Deposit, n as i64 * HOUR, *a)).collect();
    let of = last_with(&deposits, params);
    assert_eq!((of("near_threshold_1d"), of("amount_to_threshold")), (Some(3.0), Some(0.95)));
}

#[test]
fn devices_shops_habits_and_balances() {
    use RecordKind::Stake;
    let mut records: Vec<Record> = (0..12)
        .map(|n| Record { device: Some(key("phone")), ..record(n, Stake, n as i64 * DAY + 12 * HOUR, 100) })
        .collect();
    let night = Record {
        device: Some(key("other phone")),
        channel: Some(PlayChannel::Retail),
        detail: r#"{"outlet_id":"out-7"}"#.to_owned(),
        balance_after_minor: Some(300),
        product: Some(Product::Crash),
        ..record(12, Stake, 12 * DAY, 100)
    };
    records.last_mut().unwrap().balance_after_minor = Some(500);
    records.last_mut().unwrap().product = Some(Product::Sportsbook);
    records.push(night);
    let of = last(&records);
    let table = [
        ("is_new_device", Some(1.0)),
        ("devices", Some(1.0)),
        ("is_retail", Some(1.0)),
        ("shop_records_1h", Some(1.0)),
        ("hour", Some(0.0)),
        ("hour_unusual", Some(1.0)),
        ("days_known", Some(11.5)),
        // 500 less 100 are 400, not 300
        ("balance_unexplained", Some(1.0)),
        ("balance_share", Some(0.25)),
        ("is_product_switch", Some(1.0)),
        ("products", Some(2.0)),
    ];
    for (name, wanted) in table {
        assert_eq!(of(name), wanted, "{name}");
    }
    records.pop();
    let of = last(&records);
    assert_eq!((of("is_new_device"), of("hour_unusual")), (Some(0.0), Some(0.0)));
    assert_eq!((of("device_players_30d"), of("balance_unexplained")), (Some(1.0), None));
}

#[test]
fn what_nobody_buys_has_the_history_of_its_terminal() {
    let ticket = |n: usize, terminal: &str, amount: i64| Record {
        player: None,
        channel: Some(PlayChannel::Retail),
        detail: format!(r#"{{"outlet_id":"out-7","terminal_id":"{terminal}"}}"#),
        ..record(n, RecordKind::TicketSale, n as i64 * MINUTE, amount)
    };
    let records = [ticket(0, "t1", 100), ticket(1, "t2", 900), ticket(2, "t1", 300), ticket(3, "t1", 2_000)];
    let of = last(&records);
    let table = [
        ("amount_to_mean", Some(10.0)),
        ("records_1h", Some(3.0)),
        ("shop_records_1h", Some(3.0)),
        ("minutes_since_record", Some(1.0)),
        ("is_retail", Some(1.0)),
        ("minutes_since_check", None),
        ("net_month_minor", Some(0.0)),
    ];
    for (name, wanted) in table {
        assert_eq!(of(name), wanted, "{name}");
    }
    let nowhere = Record { detail: String::new(), ..ticket(4, "t1", 100) };
    let there: Vec<bool> = vectors(&[nowhere], transaction::Params::default()).iter().map(Option::is_some).collect();
    assert_eq!(there, [false]);
}

#[test]
fn what_moves_no_money_has_no_vector_and_failed_deposits_are_counted() {
    use RecordKind::{AccountOpened, Deposit, Login};
    let failed = |n| Record { status: RecordStatus::Failed, ..record(n, Deposit, n as i64 * MINUTE, 500) };
    let nobody = Record { player: None, ..record(3, Deposit, 3 * MINUTE, 500) };
    let records = [
        record(0, AccountOpened, 0, 0),
        failed(1),
        failed(2),
        nobody,
        record(4, Login, 4 * MINUTE, 0),
        record(5, Deposit, 6 * MINUTE, 500),
    ];
    let there: Vec<bool> = vectors(&records, transaction::Params::default()).iter().map(Option::is_some).collect();
    assert_eq!(there, [false, false, false, false, false, true]);
    let of = last(&records);
    assert_eq!((of("failed_deposits_1d"), of("minutes_since_entry")), (Some(2.0), Some(2.0)));
}

/// The vector of a player after records, as of a day.
fn player_of(records: &[Record], day: i64) -> impl Fn(&str) -> Option<f32> + use<> {
    player_with(records, day, player::Params { low_balance_minor: 200, currency: Currency::KES })
}

fn player_with(records: &[Record], day: i64, params: player::Params) -> impl Fn(&str) -> Option<f32> + use<> {
    let mut calendar = Calendar::new(zone());
    let mut extractor = player::Extractor::new(params, player::OPERATOR_PLAYERS);
    for record in records {
        let spans = calendar.spans(record.occurred_at);
        extractor.hear(OperatorNo(1), record, &spans);
    }
    let mut out = [0.0; player::WIDTH];
    assert!(extractor.write(key("wanjiku").0, Currency::KES, Ts(BEGIN + day * DAY), &mut out));
    assert!(!extractor.write(key("nobody").0, Currency::KES, Ts(BEGIN), &mut [0.0; player::WIDTH]));
    move |name| {
        let place = player::names().iter().position(|known| *known == name).expect("a feature");
        Some(out[place]).filter(|value| !value.is_nan())
    }
}

#[test]
fn a_day_counts_when_it_is_closed() {
    use RecordKind::{Deposit, Payout, Stake};
    let slots = |record| Record { product: Some(Product::Slots), ..record };
    let mut records = Vec::new();
    for day in 0..3i64 {
        let at = day * DAY + 10 * HOUR;
        let n = records.len();
        records.push(record(n, Deposit, at, 1_000));
        records.push(slots(record(n + 1, Stake, at + MINUTE, 400)));
        records.push(slots(record(n + 2, Stake, at + MINUTE + 20 * SECOND, 200)));
        records.push(slots(record(n + 3, Payout, at + MINUTE + 21 * SECOND, 300)));
        records.push(slots(record(n + 4, Stake, at + 2 * HOUR, 600)));
    }
    // as of the end of the second day the third one goes on, and as of its own end it is over
    assert_eq!(player_of(&records, 2)("active_days_1m"), Some(2.0));
    let of = player_of(&records, 3);
    let table = [
        ("active_days_1m", Some(3.0)),
        ("stake_day_1m", Some(1_200.0)),
        ("net_loss_day_12m", Some(900.0)),
        ("stake_mean_6m", Some(400.0)),
        ("return_off_1m", Some(-0.75)),
        ("bets_day_1m", Some(3.0)),
        ("big_wins_day_1m", Some(1.0)),
        ("deposits_day_1m", Some(1.0)),
        ("deposited_day_1m", Some(1_000.0)),
        ("play_sessions_day_1m", Some(2.0)),
        ("rounds_session_1m", Some(1.5)),
        ("withdrawals_day_1m", Some(0.0)),
        ("streak_days", Some(3.0)),
        ("products_played", Some(1.0)),
        ("product_dominant", Some(1.0)),
        ("day_share", Some(1.0)),
        ("operators", Some(1.0)),
        ("live_share_12m", None),
        ("stake_shift", None),
        ("escalation_after_win", None),
        ("deposit_variation", Some(0.0)),
    ];
    for (name, wanted) in table {
        assert_eq!(of(name), wanted, "{name}");
    }
    // three stakes with the next one 20 seconds later, two with the next one in the morning
    assert_eq!(of("lost_to_bet_s"), Some(20.0));
    // a record of the next day takes nothing from it, and its own day counts from its end on
    records.push(record(99, Stake, 3 * DAY + HOUR, 100));
    for (day, days, stake) in [(3, 3.0, 1_200.0), (4, 4.0, 925.0)] {
        let of = player_of(&records, day);
        assert_eq!((of("active_days_1m"), of("stake_day_1m")), (Some(days), Some(stake)), "{day}");
    }
    // what comes late for a day that is closed moves neither hours nor days in a row
    records.push(record(100, Stake, 2 * DAY + 13 * HOUR, 900));
    records.push(record(101, Deposit, 4 * DAY + HOUR, 1_000));
    records.push(record(102, Stake, 3 * DAY + 20 * HOUR, 100));
    let of = player_of(&records, 4);
    assert_eq!((of("active_days_1m"), of("stake_day_1m"), of("streak_days")), (Some(4.0), Some(1_175.0), Some(4.0)));
    assert_eq!((of("day_share"), of("night_share")), (Some(9.0 / 10.0), Some(1.0 / 10.0)));
}

#[test]
fn which_balance_is_low_is_said_by_the_rules() {
    let version = |version, from, mode, params: serde_json::Value| RuleVersion {
        rule: "player_at_risk".to_owned(),
        version,
        jurisdiction: "KE".to_owned(),
        effective_from: Ts(from),
        effective_to: None,
        mode,
        params,
    };
    let kenya = |versions| RuleSet::new("KE", versions).expect("versions");
    let other = || serde_json::json!({"score_min_ppm": 600_000});
    let own = || serde_json::json!({"currency": "KES", "low_balance_minor": 5_000});
    let table = [
        ("Kenya's standard", RuleSet::standard("KE"), 30_000, Currency::KES),
        ("that of a state of Nigeria", RuleSet::standard("NG-LA"), 336_000, Currency::NGN),
        ("nobody said anything", RuleSet::standard("UG"), 200, Currency::EUR),
        ("the rule is off", kenya(Vec::new()), 30_000, Currency::KES),
        ("a version that does not name it", kenya(vec![version(2, 0, Mode::Live, other())]), 30_000, Currency::KES),
        ("a version that does", kenya(vec![version(2, 0, Mode::Live, own())]), 5_000, Currency::KES),
        ("in the shadow", kenya(vec![version(2, 0, Mode::Shadow, own())]), 30_000, Currency::KES),
    ];
    for (what, set, low_balance_minor, currency) in table {
        assert_eq!(player::Params::of(&set), player::Params { low_balance_minor, currency }, "{what}");
    }
}

#[test]
fn a_balance_is_low_below_the_mark_of_its_currency() {
    use RecordKind::{Deposit, Stake};
    let balance = |record, minor| Record { balance_after_minor: Some(minor), ..record };
    // of 1,000 shillings 250 are left, and 500 are paid in two minutes later
    let records = [
        balance(record(0, Deposit, 0, 100_000), 100_000),
        balance(record(1, Stake, MINUTE, 75_000), 25_000),
        balance(record(2, Deposit, 3 * MINUTE, 50_000), 75_000),
        record(3, Stake, DAY, 10),
    ];
    let mark = |low_balance_minor, currency| player::Params { low_balance_minor, currency };
    for (params, drops, low_deposits, seconds) in [
        (mark(30_000, Currency::KES), Some(1.0), Some(1.0), Some(120.0)),
        // two shillings, as it was before
        (mark(200, Currency::KES), Some(0.0), Some(0.0), None),
        (mark(0, Currency::KES), Some(0.0), Some(0.0), None),
        // nobody says from where on shillings are few
        (mark(30_000, Currency::EUR), None, None, None),
    ] {
        let of = player_with(&records, 1, params);
        assert_eq!(of("low_balance_falls_day_12m"), drops, "{params:?}");
        assert_eq!(of("low_balance_topups_day_12m"), low_deposits, "{params:?}");
        assert_eq!(of("low_balance_to_topup_s"), seconds, "{params:?}");
    }
}

#[test]
fn markers_of_harm_by_hand() {
    use RecordKind::{CashOut, Deposit, LimitChange, Payout, Stake, Withdrawal};
    let balance = |record, minor| Record { balance_after_minor: Some(minor), ..record };
    let detail = |record, text: &str| Record { detail: text.to_owned(), ..record };
    let status = |record, status| Record { status, ..record };
    let at = |minute: i64| minute * MINUTE;
    let mut records = vec![
        balance(record(0, Deposit, at(0), 1_000), 1_000),
        balance(detail(record(1, Stake, at(1), 900), r#"{"bet.live":true,"bet.parts":1,"bet.odds":2}"#), 100),
        balance(record(2, Deposit, at(3), 500), 600),
        detail(record(3, Stake, at(4), 100), r#"{"bet.live":false,"bet.parts":3,"bet.odds":4}"#),
        record(4, CashOut, at(5), 50),
        status(record(5, Withdrawal, at(6), 100), RecordStatus::Cancelled),
        status(record(6, Deposit, at(7), 100), RecordStatus::Failed),
        detail(
            record(7, LimitChange, at(8), 0),
            r#"{"limit.type":"deposit_day","limit.old_minor":100,"limit.new_minor":900}"#,
        ),
        detail(record(8, LimitChange, at(9), 0), r#"{"limit.type":"deposit_day","limit.new_minor":50}"#),
    ];
    // five stakes of 100, the largest win, five of 300
    for n in 0..5 {
        records.push(record(10 + n, Stake, at(20 + n as i64), 100));
    }
    records.push(record(20, Payout, at(30), 5_000));
    for n in 0..5 {
        records.push(record(30 + n, Stake, at(31 + n as i64), 300));
    }
    records.push(record(90, Stake, 40 * DAY, 10));
    let of = player_of(&records, 1);
    let table = [
        // to 100, and, as the records behind the last one that says it move it, from 600 to 50
        ("low_balance_falls_day_12m", Some(2.0)),
        ("low_balance_topups_day_12m", Some(1.0)),
        ("low_balance_to_topup_s", Some(120.0)),
        ("live_share_12m", Some(0.5)),
        ("single_share_12m", Some(0.5)),
        ("cash_out_share_12m", Some(0.5)),
        ("cancelled_withdrawals_day_1m", Some(1.0)),
        ("failed_deposits_day_1m", Some(1.0)),
        ("limit_rises_12m", Some(1.0)),
        ("limit_cuts_12m", Some(1.0)),
        ("breaks", Some(1.0)),
        ("streak_days", Some(1.0)),
        ("odds_variation", Some(2.0 / 3.0)),
    ];
    for (name, wanted) in table {
        assert_eq!(of(name), wanted, "{name}");
    }
    // before: 900, 100 and five of 100 are a mean of 1500 / 7; after: five of 300 and the 10 of the last day
    let escalation = of("escalation_after_win").unwrap();
    assert!((escalation - (1_510.0 / 6.0) / (1_500.0 / 7.0)).abs() < 1e-5, "{escalation}");
}

#[test]
fn a_year_is_remembered_and_late_data_joins_its_month() {
    use RecordKind::Stake;
    let mut records: Vec<Record> = (0..14).map(|n| record(n, Stake, n as i64 * 31 * DAY, 100 + n as i64)).collect();
    // late for the month before the last
    records.push(record(20, Stake, 12 * 31 * DAY + HOUR, 1_000));
    records.push(record(21, Stake, 13 * 31 * DAY + 2 * DAY, 1));
    let of = player_of(&records, 13 * 31 + 2);
    assert_eq!(of("active_days_12m"), Some(12.0), "the oldest of fourteen months are forgotten");
    assert_eq!(of("active_days_1m"), Some(1.0));
    // 2 to 13, and the late one, in eleven days before the last
    let stakes: i64 = (2..14).map(|n| 100 + n).sum::<i64>() + 1_000;
    assert_eq!(of("stake_day_12m"), Some((stakes as f64 / 12.0) as f32));
    assert!(of("stake_shift").unwrap() > 1.0);
}

fn kinds() -> impl Strategy<Value = RecordKind> {
    use RecordKind as K;
    let play = [K::Stake, K::Payout, K::Deposit, K::Withdrawal, K::Bonus, K::Login, K::CashOut, K::Void];
    prop::sample::select([&play[..], &[K::SessionStart, K::SessionEnd, K::LimitChange]].concat())
}

proptest! {
    /// Stopped anywhere and read back, both go on alike; nothing in a vector is infinite.
    #[test]
    fn a_state_read_back_goes_on_alike(
        steps in prop::collection::vec((kinds(), 0i64..40, -500i64..100_000, 0u8..4, 0u8..3), 1..120), cut in 0usize..120,
    ) {
        let mut at = 0;
        let records: Vec<Record> = steps.iter().enumerate().map(|(n, (kind, hours, amount, who, what))| {
            at += hours * HOUR;
            Record {
                player: (*who > 0).then(|| key(&format!("p{who}"))),
                device: (*what > 0).then(|| key(&format!("d{what}"))),
                account: (*what > 1).then(|| key(&format!("a{who}"))),
                balance_after_minor: (*what == 0).then_some(*amount),
                session_id: (*what > 1).then(|| format!("s{}", at / (20 * HOUR))),
                detail: format!(r#"{{"game.type":"g{who}","limit.type":"time_out"}}"#),
                ..record(n, *kind, at, (*amount).max(0))
            }
        }).collect();
        let mut rules = OperatorRules::new(OperatorNo(1), zone(), &RuleSet::standard("KE"));
        let mut calendar = Calendar::new(zone());
        let mut whole = transaction::Extractor::default();
        let params = player::Params { low_balance_minor: 200, currency: Currency::KES };
        let mut players = player::Extractor::new(params, player::OPERATOR_PLAYERS);
        let (mut back, mut players_back) = (whole.clone(), players.clone());
        let facts = Facts::default();
        for (n, record) in records.iter().enumerate() {
            if n == cut.min(records.len() - 1) {
                back = postcard::from_bytes(&postcard::to_allocvec(&whole).unwrap()).unwrap();
                players_back = postcard::from_bytes(&postcard::to_allocvec(&players).unwrap()).unwrap();
            }
            let (mut one, mut other) = ([0.0; transaction::WIDTH], [0.0; transaction::WIDTH]);
            rules.hear_and(&Input::Play { record, facts: &facts }, &mut Vec::new(), |heard| {
                whole.hear(heard, &mut one);
                back.hear(heard, &mut other);
            });
            prop_assert!(one.iter().all(|value| !value.is_infinite()));
            if n >= cut {
                prop_assert_eq!(one.map(f32::to_bits), other.map(f32::to_bits));
            }
            let spans = calendar.spans(record.occurred_at);
            players.hear(OperatorNo(1), record, &spans);
            players_back.hear(OperatorNo(1), record, &spans);
        }
        if cut < records.len() {
            prop_assert!(whole == back && players == players_back);
        }
        for who in 1..4 {
            let mut out = [0.0; player::WIDTH];
            players.write(key(&format!("p{who}")).0, Currency::KES, Ts(BEGIN + at + DAY), &mut out);
            prop_assert!(out.iter().all(|value| !value.is_infinite()));
        }
    }
}
