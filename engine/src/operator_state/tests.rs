use super::*;
use crate::windows::tests::record;
use models::record::RecordKind;
use models::ts::{DAY, HOUR};
use proptest::prelude::*;

pub(super) fn state() -> OperatorState {
    OperatorState::new(OperatorNo(1), "alpha".to_owned(), TimeZone::UTC)
}

fn day(n: i64, amount: i64) -> Record {
    record(RecordKind::Stake, Ts((n + 4) * DAY), amount, 1)
}

fn push(state: &mut OperatorState, seq: i64, records: &[Record]) -> Vec<(Metric, Granularity, RevisionKind)> {
    let clock_at = records.iter().map(|r| r.occurred_at).max().unwrap().max(state.watermark);
    let input = OperatorInput::Batch { operator_seq: seq, clock_at, clock: SourceClock::Event, records };
    state.apply(input).revisions.iter().map(|r| (r.subject.metric, r.subject.granularity, r.kind)).collect()
}

fn daily(found: Vec<(Metric, Granularity, RevisionKind)>) -> Vec<(Metric, RevisionKind)> {
    found.into_iter().filter(|(_, g, _)| *g == Granularity::Day).map(|(m, _, k)| (m, k)).collect()
}

fn quiet_days(state: &mut OperatorState, days: i64) {
    for n in 0..days {
        assert_eq!(push(state, n + 1, &[day(n, 100_000 + n)]), []);
    }
}

#[test]
fn a_rise_is_raised_with_its_batch_and_a_fall_at_the_close() {
    let mut state = state();
    quiet_days(&mut state, 12);
    let risen = daily(push(&mut state, 13, &[day(12, 900_000)]));
    assert_eq!(risen, [(Metric::Stakes, RevisionKind::Raised)]);
    assert_eq!(daily(push(&mut state, 14, &[day(13, 1_000)])), [], "its revenue is told of with its stakes");
    let fallen = daily(push(&mut state, 15, &[day(14, 100_000)]));
    assert!(fallen.contains(&(Metric::Stakes, RevisionKind::Raised)), "{fallen:?}");
}

#[test]
fn documents_are_inputs_that_change_nothing() {
    let documents = [RecordKind::LicenceStatus, RecordKind::Invoice, RecordKind::Payment, RecordKind::BankLine];
    let documents: Vec<Record> = documents.map(|kind| record(kind, Ts(5 * DAY), 9_000_000, 1)).into();
    let at = Ts(90 * DAY);
    let mut state = state();
    quiet_days(&mut state, 12);
    let before = serde_json::to_string(&state.view()).unwrap();
    for clock in [SourceClock::Wall, SourceClock::Event] {
        let input = OperatorInput::Batch { operator_seq: 13, clock_at: at, clock, records: &documents };
        assert_eq!(state.apply(input), Effects::default());
    }
    assert_eq!(serde_json::to_string(&state.view()).unwrap(), before);
    assert!(!state.needs_tick(at.plus(HOUR)), "a bank's clock is not the market's");
    // and beside play they count for nothing; nor does a message to somebody who did not play
    let play = day(12, 1_000);
    let message = record(RecordKind::Marketing, play.occurred_at, 0, 2);
    let mixed: Vec<Record> = documents.iter().cloned().chain([message, play.clone()]).collect();
    let mut alone = state.clone();
    assert_eq!(push(&mut state, 13, &mixed), push(&mut alone, 13, &[play]));
    assert_eq!((state.totals(), state.last_event_at), (alone.totals(), alone.last_event_at));
}

#[test]
fn late_data_corrects_and_withdraws() {
    let mut state = state();
    quiet_days(&mut state, 12);
    push(&mut state, 13, &[day(12, 1_000)]);
    push(&mut state, 14, &[day(13, 100_000)]);
    let mut late = day(12, 50_000);
    late.occurred_at = late.occurred_at.plus(1);
    let found = daily(push(&mut state, 15, &[late.clone()]));
    assert!(found.contains(&(Metric::Stakes, RevisionKind::Withdrawn)), "{found:?}");
    late.occurred_at = late.occurred_at.plus(1);
    late.amount_minor = 900_000;
    let found = daily(push(&mut state, 16, &[late]));
    assert!(found.contains(&(Metric::Stakes, RevisionKind::Raised)), "{found:?}");
}

#[test]
fn the_same_inputs_give_the_same_alerts() {
    let run = || {
        let mut state = state();
        let mut all = Vec::new();
        for n in 0..60 {
            let amount = if n % 17 == 16 { 5_000_000 } else { 100_000 + n * 7 % 13 };
            let records = [day(n, amount), day(n, amount / 3)];
            let clock_at = records[0].occurred_at;
            let input =
                OperatorInput::Batch { operator_seq: n + 1, clock_at, clock: SourceClock::Event, records: &records };
            all.extend(state.apply(input).revisions);
        }
        all
    };
    let first = run();
    assert!(!first.is_empty());
    assert!(first.iter().all(|r| !r.evidence.records.is_empty()), "every alert names the records that weighed most");
    assert_eq!(first, run());
}

#[test]
fn an_input_says_one_thing_of_an_alert() {
    use RevisionKind::{Corrected, Raised, Withdrawn};
    let mut state = state();
    quiet_days(&mut state, 12);
    let records = [day(12, 900_000)];
    let input = OperatorInput::Batch {
        operator_seq: 13,
        clock_at: records[0].occurred_at,
        clock: SourceClock::Event,
        records: &records,
    };
    let sample = state.apply(input).revisions.remove(0);
    let table: [(&[RevisionKind], Option<RevisionKind>); 6] = [
        (&[Raised, Corrected], Some(Raised)),
        (&[Raised, Withdrawn], None),
        (&[Corrected, Corrected], Some(Corrected)),
        (&[Corrected, Withdrawn], Some(Withdrawn)),
        (&[Withdrawn, Raised], Some(Corrected)),
        (&[Raised, Withdrawn, Raised], Some(Raised)),
    ];
    for (said, wanted) in table {
        let mut effects = Effects::default();
        said.iter().for_each(|kind| effects.revise(AlertRevision { kind: *kind, ..sample.clone() }));
        assert_eq!(effects.revisions.first().map(|r| r.kind), wanted, "{said:?}");
        assert!(effects.revisions.len() <= 1);
    }
}

#[test]
fn weekly_data_is_judged_by_the_week_alone() {
    let mut state = state();
    let found: Vec<_> =
        (0..20).flat_map(|n| push(&mut state, n + 1, &[day(7 * n, if n == 15 { 900_000 } else { 100_000 })])).collect();
    assert!(found.contains(&(Metric::Stakes, Granularity::Week, RevisionKind::Raised)), "{found:?}");
    assert!(found.iter().all(|(_, granularity, _)| *granularity == Granularity::Week), "{found:?}");
}

#[test]
fn the_wall_clock_sees_silence() {
    let mut state = state();
    let mut found = Vec::new();
    for minute in 0..30 {
        let seq = minute + 1;
        let at = Ts(10 * DAY + minute * MINUTE);
        if minute < 20 {
            let records = [record(RecordKind::Stake, at, 50_000, 1)];
            let input =
                OperatorInput::Batch { operator_seq: seq, clock_at: at, clock: SourceClock::Wall, records: &records };
            found.extend(state.apply(input).revisions);
        } else {
            assert!(state.needs_tick(at.plus(3 * SECOND)));
            found.extend(state.apply(OperatorInput::Tick { operator_seq: seq, at: at.plus(3 * SECOND) }).revisions);
            assert!(!state.needs_tick(at.plus(3 * SECOND)));
        }
    }
    let silent =
        found.iter().find(|r| r.subject.metric == Metric::Stakes && r.subject.granularity == Granularity::Minute);
    assert_eq!(silent.map(|r| (r.evidence.observed, r.evidence.expected)), Some((0, 50_000)));
}

#[test]
fn the_engines_own_absence_is_no_silence_of_the_market() {
    let minute = |n: i64| Ts(10 * DAY + n * MINUTE);
    // minutes without play, whether the engine was awake, and so whether it was a silence
    let table = [(5, true), (60, false), (600, false)];
    for (away, is_silence) in table {
        let (mut state, mut seq, mut found) = (state(), 0, Vec::new());
        let mut hear = |state: &mut OperatorState, at: Ts, played: Option<Ts>| {
            seq += 1;
            let records: Vec<Record> = played.map(|t| record(RecordKind::Stake, t, 50_000, 1)).into_iter().collect();
            let clock = SourceClock::Wall;
            let batch = OperatorInput::Batch { operator_seq: seq, clock_at: at, clock, records: &records };
            let tick = OperatorInput::Tick { operator_seq: seq, at };
            found.extend(state.apply(if records.is_empty() { tick } else { batch }).revisions);
        };
        for n in 0..20 {
            hear(&mut state, minute(n), Some(minute(n)));
        }
        let back = 20 + away;
        for n in (20..back).filter(|_| is_silence) {
            hear(&mut state, minute(n).plus(3 * SECOND), None);
        }
        hear(&mut state, minute(back).plus(3 * SECOND), None);
        // the backlog, minute by minute, and play goes on
        for n in 20..back {
            hear(&mut state, minute(back).plus(4 * SECOND), Some(minute(n)));
        }
        for n in back..back + 5 {
            hear(&mut state, minute(n).plus(30 * SECOND), Some(minute(n)));
        }
        let fell = found.iter().any(|r| r.evidence.score_milli < 0 && r.kind == RevisionKind::Raised);
        assert_eq!(fell, is_silence, "{away} minutes: {:?}", found.first());
        assert!(found.iter().all(|r| r.evidence.score_milli <= 0), "{away} minutes: no rise when play goes on");
    }
}

#[test]
fn a_live_source_beside_an_archive_makes_no_silence_of_the_time_between() {
    let mut state = state();
    quiet_days(&mut state, 20);
    let live = Ts(60 * DAY);
    let mut found = Vec::new();
    for minute in 0..30 {
        let at = live.plus(minute * MINUTE);
        let records = [record(RecordKind::Stake, at, 100_000, 1)];
        let clock = SourceClock::Wall;
        let input = OperatorInput::Batch { operator_seq: 21 + minute, clock_at: at, clock, records: &records };
        found.extend(state.apply(input).revisions);
    }
    assert!(found.iter().all(|r| r.evidence.score_milli >= 0), "{:?}", found.first());
}

/// Play of some hours in batches: mostly quiet, some large, some late.
fn batches(hours: i64) -> impl Strategy<Value = Vec<Vec<Record>>> {
    let stake = (0i64..hours, prop_oneof![9 => 900i64..1100, 1 => 0i64..90_000], 1u128..9, any::<bool>());
    let record = stake.prop_map(|(hour, amount, player, payout)| {
        let kind = if payout { RecordKind::Payout } else { RecordKind::Stake };
        record(kind, Ts(10 * DAY + hour * models::ts::HOUR), amount, player)
    });
    prop::collection::vec(prop::collection::vec(record, 1..40), 1..12)
}

fn run(batches: &[Vec<Record>]) -> (Vec<AlertRevision>, OperatorState) {
    let (mut state, mut all, mut newest) = (state(), Vec::new(), Ts(0));
    for (records, seq) in batches.iter().zip(1..) {
        newest = records.iter().map(|r| r.occurred_at).fold(newest, Ts::max);
        let clock = SourceClock::Event;
        all.extend(state.apply(OperatorInput::Batch { operator_seq: seq, clock_at: newest, clock, records }).revisions);
    }
    (all, state)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn alerts_are_the_same_bit_for_bit(play in batches(60 * 24)) {
        let alerts = run(&play).0;
        prop_assert!(run(&play).0 == alerts);
        // an alert is said once by an input, begins with raised, and is withdrawn only where it stands
        let mut standing: BTreeMap<AlertId, (RevisionKind, i64)> = BTreeMap::new();
        for r in &alerts {
            let before = standing.insert(r.id, (r.kind, r.operator_seq));
            let stood = before.is_some_and(|(kind, _)| kind != RevisionKind::Withdrawn);
            prop_assert_eq!(r.kind != RevisionKind::Raised, stood);
            prop_assert!(before.is_none_or(|(_, seq)| seq < r.operator_seq));
        }
    }

    /// Other batches may give other alerts on the way, but the same windows, as long as none is forgotten.
    #[test]
    fn windows_do_not_depend_on_the_batches(play in batches(170)) {
        let (state, one) = (run(&play).1, run(&[play.concat()]).1);
        prop_assert!(one.books == state.books);
        prop_assert_eq!(serde_json::to_string(&one.view()).unwrap(), serde_json::to_string(&state.view()).unwrap());
    }
}

#[test]
fn windows_of_series_close_once_and_in_their_order() {
    let mut state = state();
    let hour = |n: i64, amount: i64| record(RecordKind::Stake, Ts(4 * DAY + n * HOUR + MINUTE), amount, 1);
    let mut closed: Vec<(Granularity, i64, i64)> = Vec::new();
    // hours 0 to 39 in batches of seven, each with two late records of the hour before the batch's first
    for n in 0..6i64 {
        let mut records: Vec<Record> = (7 * n..7 * n + 7).filter(|h| *h < 40).map(|h| hour(h, 100 + h)).collect();
        records
            .extend((0..2).map(|i| Record { record_id: format!("late-{n}-{i}"), ..hour((7 * n - 1).max(0), 5_000) }));
        let clock_at = records.iter().map(|record| record.occurred_at).max().unwrap();
        let input =
            OperatorInput::Batch { operator_seq: n + 1, clock_at, clock: SourceClock::Event, records: &records };
        for window in state.apply(input).closed {
            let place = (window.window.start.0 - 4 * DAY) / HOUR;
            assert_eq!((window.currency, window.is_partial), (Currency::KES, false));
            assert_eq!(window.wall_start, window.window.start, "the zone is UTC");
            closed.push((window.granularity, place, window.values[Metric::Stakes as usize]));
        }
    }
    let hours: Vec<_> = closed.iter().filter(|(length, ..)| *length == Granularity::Hour).collect();
    assert_eq!(hours.iter().map(|(_, place, _)| *place).collect::<Vec<_>>(), (0..38).collect::<Vec<_>>());
    // the newest hours of a batch are no points yet when the next one's late records come
    let value = |n: i64| 100 + n + if n % 7 == 6 || n == 0 { 10_000 } else { 0 };
    assert!(hours.iter().all(|(_, place, stakes)| *stakes == value(*place)), "{hours:?}");
    let days: Vec<_> = closed.iter().filter(|(length, ..)| *length == Granularity::Day).collect();
    assert_eq!(days.len(), 1, "{days:?}");
    // what is remembered of them is the same
    let again = state.closed_windows();
    assert_eq!(again.len(), closed.len());
}

#[test]
fn an_alert_that_stands_speaks_for_the_hours_behind_it() {
    let mut state = state();
    quiet_days(&mut state, 12);
    push(&mut state, 13, &[day(12, 900_000)]);
    let told = |state: &OperatorState, n: i64| {
        let window = Window { start: Ts((n + 4) * DAY), end: Ts((n + 5) * DAY) };
        let told = state.told_already(Currency::KES, Granularity::Day, window);
        told.map(|told| (told.window.start.0 / DAY - 4) - n)
    };
    let table = [(11, None), (12, Some(0)), (13, Some(-1)), (18, Some(-6)), (19, None)];
    for (n, wanted) in table {
        assert_eq!(told(&state, n), wanted, "day {n}");
    }
    let window = Window { start: Ts(16 * DAY), end: Ts(17 * DAY) };
    assert_eq!(state.told_already(Currency::EUR, Granularity::Day, window), None, "of another currency");
    // withdrawn by data that brings it back
    let back = Record { kind: RecordKind::Void, record_id: "void".to_owned(), ..day(12, 800_000) };
    push(&mut state, 14, &[day(13, 100_000)]);
    push(&mut state, 15, &[back]);
    assert_eq!(told(&state, 12), None);
}

fn values(state: &OperatorState, metric: Metric) -> Vec<Option<i64>> {
    state.days(Currency::KES, metric).iter().map(|day| day.value).collect()
}

#[test]
fn days_that_are_over_are_given_without_a_hole_and_as_they_are_now() {
    let mut state = state();
    let at = |n: i64, amount: i64| Record { occurred_at: Ts((n + 4) * DAY + HOUR), ..day(n, amount) };
    for (seq, n) in [(1, 0), (2, 1), (3, 3), (4, 4)] {
        push(&mut state, seq, &[at(n, 100 + n)]);
    }
    // nothing was sent of the third, and the fifth is not over
    assert_eq!(values(&state, Metric::Stakes), [Some(100), Some(101), None, Some(103)]);
    assert_eq!(values(&state, Metric::Count), [Some(1), Some(1), None, Some(1)]);
    let days = state.days(Currency::KES, Metric::Stakes);
    assert_eq!(days[0].window, Window { start: Ts(4 * DAY), end: Ts(5 * DAY) });
    assert!(days.windows(2).all(|pair| pair[0].window.end == pair[1].window.start), "{days:?}");
    assert!(state.days(Currency::NGN, Metric::Stakes).is_empty());
    // late data is in them
    push(&mut state, 5, &[at(1, 50), at(2, 7)]);
    assert_eq!(values(&state, Metric::Stakes), [Some(100), Some(151), Some(7), Some(103)]);
    // what lies behind a hole of years is left out
    push(&mut state, 6, &[at(2_000, 9), at(2_001, 9)]);
    assert_eq!(values(&state, Metric::Stakes), [Some(9)]);
}

#[test]
fn of_a_day_that_the_engine_slept_through_nothing_is_known() {
    let mut state = state();
    let record = record(RecordKind::Stake, Ts(5 * DAY + HOUR), 700, 1);
    let (clock, records) = (SourceClock::Wall, std::slice::from_ref(&record));
    state.apply(OperatorInput::Batch { operator_seq: 1, clock_at: record.occurred_at, clock, records });
    // three hours of the second day
    for minute in (61..3 * 24 * 60 + 60).filter(|minute| !(1_500..1_680).contains(minute)) {
        state.apply(OperatorInput::Tick { operator_seq: minute + 1, at: Ts(5 * DAY + minute * MINUTE) });
    }
    assert_eq!(values(&state, Metric::Stakes), [Some(700), None, Some(0)]);
}

/// Three deviations from the fourteenth day on, nothing from the sixteenth, and as before from the eighteenth.
fn versions_by_day() -> Arc<Deviations> {
    let at = |n: i64| Ts((n + 4) * DAY);
    let tighter = Params { version: 4, threshold_milli: 3_000, ..Params::default() };
    Arc::new(Timeline::new([
        (Ts(0), Some(at(14)), Params::default()),
        (at(14), Some(at(16)), tighter),
        (at(18), None, Params::default()),
    ]))
}

/// What is said of the stakes of days: version and kind.
fn of_days(state: &mut OperatorState, seq: i64, records: &[Record]) -> Vec<(AlertId, u32, RevisionKind)> {
    let clock_at = records.iter().map(|r| r.occurred_at).max().unwrap().max(state.watermark);
    let input = OperatorInput::Batch { operator_seq: seq, clock_at, clock: SourceClock::Event, records };
    let revisions = state.apply(input).revisions.into_iter();
    let of_stakes =
        revisions.filter(|r| (r.subject.granularity, r.subject.metric) == (Granularity::Day, Metric::Stakes));
    of_stakes.map(|r| (r.id, r.rule_version, r.kind)).collect()
}

#[test]
fn a_window_is_judged_by_the_version_of_its_start() {
    let said = |n: i64, amount: i64| {
        let mut state = state();
        state.go_by(&versions_by_day());
        quiet_days(&mut state, n);
        of_days(&mut state, n + 1, &[day(n, amount)]).first().map(|(_, version, _)| *version)
    };
    // a day, what was staked on it, the version that tells of it
    let table = [
        (13, 145_000, None),
        (13, 900_000, Some(3)),
        (14, 145_000, Some(4)),
        (15, 900_000, Some(4)),
        (16, 900_000, None),
        (17, 900_000, None),
        (18, 145_000, None),
        (18, 900_000, Some(3)),
    ];
    for (n, amount, expected) in table {
        assert_eq!(said(n, amount), expected, "day {n}: {amount}");
    }
}

#[test]
fn late_data_is_judged_by_the_version_of_then() {
    use RevisionKind::{Corrected, Raised};
    let mut state = state();
    state.go_by(&versions_by_day());
    quiet_days(&mut state, 14);
    let raised = of_days(&mut state, 15, &[day(14, 145_000)]);
    assert_eq!(raised.iter().map(|(_, version, kind)| (*version, *kind)).collect::<Vec<_>>(), [(4, Raised)]);
    for n in 15..20 {
        assert_eq!(of_days(&mut state, n + 1, &[day(n, 100_000)]), [], "day {n}");
    }
    let mut late = day(14, 60_000);
    late.occurred_at = late.occurred_at.plus(1);
    assert_eq!(of_days(&mut state, 21, &[late]), [(raised[0].0, 4, Corrected)]);
}

#[test]
fn what_another_version_said_ahead_of_the_clock_is_taken_back() {
    use RevisionKind::{Raised, Withdrawn};
    let from = Ts((13 + 4) * DAY);
    let tighter = Params { version: 4, threshold_milli: 3_000, ..Params::default() };
    let before = (Ts(0), Some(from), Params::default());
    let table = [
        (Timeline::new([before, (from, None, tighter)]), vec![(3, Withdrawn), (4, Raised)]),
        (Timeline::new([before]), vec![(3, Withdrawn)]),
        (Timeline::new([(Ts(0), Some(from.plus(DAY)), Params::default())]), vec![]),
    ];
    for (versions, expected) in table {
        let mut state = state();
        quiet_days(&mut state, 13);
        let raised = of_days(&mut state, 14, &[day(13, 900_000)]);
        assert_eq!(raised.len(), 1, "{raised:?}");
        state.go_by(&Arc::new(versions));
        let message = record(RecordKind::Marketing, Ts((13 + 4) * DAY + 1), 0, 2);
        let said = of_days(&mut state, 15, &[message]);
        assert_eq!(said.iter().map(|(_, version, kind)| (*version, *kind)).collect::<Vec<_>>(), expected);
        assert!(said.iter().all(|(id, version, _)| (*version == 3) == (*id == raised[0].0)), "{said:?}");
    }
}
