use super::*;
use crate::features::behaviour::NAMED_MAX;
use crate::rules::calendar::Calendar;
use crate::windows::tests::record;
use jiff::tz::TimeZone;
use models::record::{PlayChannel, RecordKind, RecordStatus};
use models::ts::MINUTE;

/// 2 March 2026, 00:00 in Nairobi.
const BEGIN: Ts = Ts(1_772_398_800_000_000);

/// A record of the player, so many minutes from the beginning on.
fn at(minute: i64, kind: RecordKind) -> Record {
    record(kind, BEGIN.plus(minute * MINUTE), 100, 1)
}

fn saying(record: Record, detail: &str) -> Record {
    Record { detail: detail.to_owned(), ..record }
}

fn of_session(record: Record, id: &str) -> Record {
    Record { session_id: Some(id.to_owned()), ..record }
}

/// What the vector says so many days from the beginning on, behind records of operators.
fn after(told: &[(u16, Record)], days: i64) -> impl Fn(&str) -> Option<f32> + use<> {
    let mut calendar = Calendar::new(TimeZone::get("Africa/Nairobi").unwrap());
    let params = Params { low_balance_minor: 200, currency: Currency::KES };
    let mut extractor = Extractor::new(params, OPERATOR_PLAYERS);
    for (operator, record) in told {
        let spans = calendar.spans(record.occurred_at);
        extractor.hear(OperatorNo(*operator), record, &spans);
    }
    let (player, mut out) = (at(0, RecordKind::Login).player.unwrap(), [0.0; WIDTH]);
    assert!(extractor.write(player.0, Currency::KES, BEGIN.plus(days * DAY), &mut out));
    move |name| {
        let place = names().iter().position(|known| *known == name).unwrap_or_else(|| panic!("no feature {name}"));
        Some(out[place]).filter(|value| !value.is_nan())
    }
}

fn at_one(records: Vec<Record>) -> Vec<(u16, Record)> {
    records.into_iter().map(|record| (1, record)).collect()
}

#[test]
fn sessions_are_the_operators_own_where_it_tells_of_them() {
    use RecordKind::{Deposit, Login, SessionEnd, SessionStart, Stake};
    // bets in the morning with a pause of ninety minutes, a login and a deposit: five interactions
    let minutes = [600, 610, 700];
    let bets = |ids: [Option<&str>; 3]| {
        let bet = |(minute, id): (i64, Option<&str>)| match id {
            Some(id) => of_session(at(minute, Stake), id),
            None => at(minute, Stake),
        };
        minutes.into_iter().zip(ids).map(bet).collect::<Vec<_>>()
    };
    let failed = || Record { status: RecordStatus::Failed, ..at(602, Deposit) };
    let (a, b) = (Some("a"), Some("b"));
    // what is told | ids of the bets | what is told besides | sessions, interactions of one, bets of one
    type Row = (&'static str, [Option<&'static str>; 3], Vec<Record>, [f32; 3]);
    let table: [Row; 6] = [
        ("nothing of sessions", [None; 3], vec![], [2.0, 2.5, 1.5]),
        ("one id", [a; 3], vec![], [1.0, 5.0, 3.0]),
        ("two ids in turn", [a, b, a], vec![], [2.0, 2.5, 1.5]),
        ("what fails is an interaction, too", [a; 3], vec![failed()], [1.0, 6.0, 3.0]),
        ("a beginning, and bets without an id", [None; 3], vec![at(590, SessionStart)], [1.0, 5.0, 3.0]),
        (
            "an end and another beginning",
            [None; 3],
            vec![at(590, SessionStart), at(605, SessionEnd), at(606, SessionStart)],
            [2.0, 2.5, 1.5],
        ),
    ];
    for (what, ids, besides, wanted) in table {
        let mut records = [vec![at(599, Login), at(601, Deposit)], bets(ids), besides].concat();
        records.sort_by_key(|record| record.occurred_at);
        let of = after(&at_one(records), 1);
        for (name, wanted) in
            ["play_sessions_day_1m", "interactions_session_1m", "rounds_session_1m"].into_iter().zip(wanted)
        {
            assert_eq!(of(name), Some(wanted), "{what}: {name}");
        }
        assert_eq!(of("interactions_day_12m"), Some(wanted[0] * wanted[1]), "{what}");
    }
    // operators number alike and mean sessions of their own; a late bet of a known one is no other
    let bet = |operator, minute| (operator, of_session(at(minute, Stake), "s-1"));
    let of = after(&[bet(1, 600), bet(2, 601), bet(1, 602), bet(2, 603), bet(1, 590)], 1);
    assert_eq!((of("play_sessions_day_1m"), of("operators")), (Some(2.0), Some(2.0)));
}

#[test]
fn a_break_that_the_player_sets_is_counted_by_horizon_and_is_no_limit() {
    use RecordKind::{LimitChange, Stake};
    let limit = |minute, detail: &str| saying(at(minute, LimitChange), detail);
    let records = vec![
        at(600, Stake),
        limit(610, r#"{"limit.type":"time_out"}"#),
        limit(620, r#"{"limit.type":"Cooling-off 24 hours","limit.new_minor":1440}"#),
        // taken back, refused, and a limit
        limit(630, r#"{"limit.type":"time_out","limit.old_minor":60}"#),
        Record { status: RecordStatus::Failed, ..limit(640, r#"{"limit.type":"time_out"}"#) },
        limit(650, r#"{"limit.type":"deposit_day","limit.new_minor":5000}"#),
    ];
    let told = at_one(records);
    // days | time outs, rises and cuts of one, six and twelve months
    let table: [(i64, [f32; 9]); 4] = [
        (0, [0.0; 9]),
        (1, [2.0, 0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0, 1.0]),
        (60, [0.0, 0.0, 0.0, 2.0, 0.0, 1.0, 2.0, 0.0, 1.0]),
        (300, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 1.0]),
    ];
    for (days, wanted) in table {
        let of = after(&told, days);
        let mut got = Vec::new();
        for months in ["1m", "6m", "12m"] {
            got.extend(["time_outs", "limit_rises", "limit_cuts"].map(|name| of(&format!("{name}_{months}"))));
        }
        assert_eq!(got, wanted.map(Some), "{days}");
    }
    let of = after(&told, 1);
    assert_eq!((of("breaks"), of("active_days_1m")), (Some(0.0), Some(1.0)), "no pause of thirty days");
}

#[test]
fn what_nobody_told_of_is_missing() {
    use RecordKind::{Deposit, Login, Stake};
    let unknown = [
        "payment_methods_used",
        "payment_accounts_used",
        "products_played",
        "product_dominant",
        "game_types",
        "game_type_dominant",
        "low_balance_falls_day_1m",
        "low_balance_topups_day_12m",
        "live_share_6m",
        "single_share_1m",
        "cash_out_share_1m",
    ];
    let of_play = [
        "hours_played",
        "play_sessions_day_1m",
        "interactions_session_6m",
        "rounds_session_12m",
        "interactions_day_1m",
        "stake_mean_1m",
        "hours_off_day_1m",
    ];
    let of = after(&at_one(vec![at(600, Login)]), 1);
    for name in unknown.into_iter().chain(of_play) {
        assert_eq!(of(name), None, "{name} behind a login");
    }
    assert_eq!((of("net_result_1m"), of("stake_total_12m"), of("time_outs_1m")), (Some(0.0), Some(0.0), Some(0.0)));
    let of = after(&at_one(vec![at(600, Stake), at(601, Deposit)]), 1);
    for name in unknown {
        assert_eq!(of(name), None, "{name} behind a bet and a deposit of which nothing more is said");
    }
    for name in of_play {
        assert!(of(name).is_some(), "{name} behind a bet");
    }
    assert_eq!((of("net_result_1m"), of("stake_total_12m")), (Some(-100.0), Some(100.0)));
    let with_balance = Record { balance_after_minor: Some(5_000), ..at(600, Stake) };
    assert_eq!(after(&at_one(vec![with_balance]), 1)("low_balance_falls_day_1m"), Some(0.0), "it did not fall");
}

#[test]
fn every_deposit_below_the_low_mark_counts_and_the_first_is_timed() {
    use RecordKind::{Deposit, Stake};
    let balance = |record, minor| Record { balance_after_minor: Some(minor), ..record };
    let records = vec![
        balance(at(600, Deposit), 1_000),
        balance(at(601, Stake), 100),
        balance(at(604, Deposit), 150),
        balance(at(605, Deposit), 650),
        balance(at(606, Deposit), 900),
    ];
    let of = after(&at_one(records), 1);
    assert_eq!((of("low_balance_falls_day_1m"), of("low_balance_topups_day_6m")), (Some(1.0), Some(2.0)));
    assert_eq!((of("low_balance_to_topup_s"), of("deposits_day_1m")), (Some(180.0), Some(4.0)));
}

#[test]
fn a_record_without_a_balance_moves_the_one_that_is_known() {
    use RecordKind::{Deposit, Payout, Stake, Withdrawal};
    // minor units; the low mark is 200
    let of = |minute, kind, amount_minor, balance_after_minor| Record {
        amount_minor,
        balance_after_minor,
        ..at(minute, kind)
    };
    let begin = |minor| of(600, Stake, 100, Some(minor));
    // what is told | falls below the low mark, deposits below it
    let table = [
        (
            "two deposits, the second on a full account",
            vec![begin(50), of(601, Deposit, 900, None), of(602, Deposit, 900, None)],
            (0.0, 1.0),
        ),
        ("won in between", vec![begin(50), of(601, Payout, 900, None), of(602, Deposit, 900, None)], (0.0, 0.0)),
        (
            "paid out in between",
            vec![begin(1_000), of(601, Withdrawal, 900, None), of(602, Deposit, 900, None)],
            (1.0, 1.0),
        ),
        (
            "lost in between, and said so",
            vec![begin(1_000), of(601, Stake, 900, None), of(602, Stake, 50, Some(50))],
            (1.0, 0.0),
        ),
        (
            "what failed moves nothing",
            vec![
                begin(50),
                Record { status: RecordStatus::Failed, ..of(601, Payout, 900, None) },
                of(602, Deposit, 900, None),
            ],
            (0.0, 1.0),
        ),
        (
            "a deposit that comes late is in the balance that was said since",
            vec![
                begin(500),
                of(605, Stake, 400, Some(100)),
                of(600, Deposit, 900, None),
                of(606, Stake, 10, Some(90)),
                of(607, Deposit, 900, None),
            ],
            (1.0, 1.0),
        ),
        (
            "one that comes late behind a move alone is not",
            vec![begin(500), of(605, Stake, 400, None), of(604, Deposit, 900, None), of(606, Deposit, 9, None)],
            (1.0, 0.0),
        ),
        (
            "a balance from before the newest move is none of now",
            vec![begin(500), of(605, Deposit, 900, None), of(604, Stake, 400, Some(100)), of(606, Deposit, 9, None)],
            (0.0, 0.0),
        ),
        (
            "over a counter it is cash",
            vec![
                begin(500),
                Record { channel: Some(PlayChannel::Retail), ..of(601, Stake, 400, None) },
                of(602, Deposit, 900, None),
            ],
            (0.0, 0.0),
        ),
    ];
    for (what, records, (falls, deposits)) in table {
        let of = after(&at_one(records), 1);
        let wanted = (Some(falls), Some(deposits));
        assert_eq!((of("low_balance_falls_day_1m"), of("low_balance_topups_day_1m")), wanted, "{what}");
    }
}

#[test]
fn types_of_games_have_a_limit_and_a_share_of_all_of_them() {
    let bet = |n: usize| {
        saying(at(600 + n as i64, RecordKind::Stake), &format!(r#"{{"game.type":"type {}"}}"#, n % (NAMED_MAX + 1)))
    };
    // each once, the first twice; the last one is one too many, and takes the place of the first
    let of = after(&at_one((0..NAMED_MAX + 2).map(bet).collect()), 1);
    assert_eq!(of("game_types"), Some(NAMED_MAX as f32));
    assert_eq!(of("game_type_dominant"), Some(2.0 / (NAMED_MAX + 2) as f32));
    // whoever tries eight types and stays with a ninth
    let stays = |n: usize| bet(n.min(NAMED_MAX));
    let of = after(&at_one((0..80).map(stays).collect()), 1);
    assert_eq!(of("game_type_dominant"), Some(73.0 / 80.0));
}
