use super::*;
use models::alert::{Granularity, Metric, Severity, Subject, Window};
use models::alert_group::{Act, AlertActed, AlertGroup, GroupState};
use models::ids::{KeyId, OperatorId};
use models::operator::{Operator, OperatorState};
use models::record::RecordKind;
use models::ts::{DAY, MINUTE};
use std::sync::Arc;

const BEGIN: i64 = 1_772_398_800_000_000;
const HOME: JurisdictionNo = JurisdictionNo(0);

fn acted(group: u128, episode: u32, action: ActionKind, resolution: Option<Resolution>) -> Event {
    let window = Window { start: Ts(0), end: Ts(1) };
    let act = Act { by: KeyId(1), at: Ts(1) };
    let subject = Subject {
        operator: "op".to_owned(),
        metric: Metric::Count,
        granularity: Granularity::Hour,
        currency: Currency::KES,
        source: None,
        who: None,
    };
    let group = AlertGroup {
        id: GroupId(group),
        rule: "rapid_in_out".to_owned(),
        operator_no: OperatorNo(1),
        jurisdiction: JurisdictionNo(0),
        subject,
        state: GroupState::Resolved,
        episode,
        severity: Severity::High,
        hits: 1,
        standing: vec![AlertId(10 * group)],
        standing_more: 0,
        first_at: Ts(0),
        last_at: Ts(0),
        last_alert: AlertId(10 * group + 1),
        last_window: window,
        reasons: Vec::new(),
        acknowledged: None,
        snoozed: None,
        resolution,
        resolved: None,
        muted_by: None,
        silenced_by: None,
        told: true,
        told_severity: None,
        held_in: None,
        notices: 0,
    };
    Event::AlertActed(AlertActed { action, act, group })
}

#[test]
fn only_what_a_person_decided_and_left_so_is_a_label() {
    use ActionKind::{Acknowledge, Reopen, Resolve};
    use Resolution::{Confirmed, Expected, FalseAlarm};
    let acts = [
        acted(1, 1, Resolve, Some(Confirmed)),
        acted(2, 1, Resolve, Some(FalseAlarm)),
        acted(3, 1, Resolve, Some(Expected)),
        acted(4, 1, Resolve, Some(Confirmed)),
        acted(4, 1, Reopen, None),
        acted(5, 1, Resolve, Some(FalseAlarm)),
        acted(5, 1, Reopen, None),
        acted(5, 1, Resolve, Some(Confirmed)),
        acted(5, 1, Acknowledge, Some(Confirmed)),
        acted(1, 2, Resolve, Some(FalseAlarm)),
    ];
    let of = |decision: Decision| {
        assert_eq!(decision.rule, "rapid_in_out");
        (decision.alerts.into_iter().map(|alert| alert.0).collect(), decision.is_confirmed)
    };
    let got: Vec<(Vec<u128>, bool)> = decisions(&acts).into_iter().map(of).collect();
    let wanted = [(vec![10, 11], true), (vec![10, 11], false), (vec![20, 21], false), (vec![50, 51], true)];
    assert_eq!(got, wanted);
}

fn record(n: usize, kind: RecordKind, minute: i64, amount_minor: i64, player: u128) -> Record {
    let record_id = format!("r{n}");
    Record {
        id_digest: engine::ingest::id_digest(&record_id),
        record_id,
        kind,
        occurred_at: Ts(BEGIN + minute * MINUTE),
        player: Some(MatchKey(player)),
        is_identified: true,
        amount_minor,
        ..Record::for_tests()
    }
}

fn rows(kind: ModelKind, labels: &Labels, records: &[Record]) -> Vec<Row> {
    let order = RowsOrder { kind, jurisdiction: HOME, from: Ts(BEGIN), to: Ts(BEGIN + 10 * DAY) };
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let zone = TimeZone::get("Africa/Nairobi").unwrap();
    made(Making::new(order, OperatorNo(1), labels, &key, zone), records)
}

fn made(mut making: Making<'_>, records: &[Record]) -> Vec<Row> {
    records.iter().for_each(|record| making.look(record));
    records.iter().for_each(|record| making.hear(record, &Facts::default()));
    making.end();
    making.rows
}

/// The vectors of a player of operator 1, after records and under the rules of Kenya, of whom something is said at an instant.
pub(crate) fn vectors_as_said(zone: TimeZone, records: &[Record], (player, at): (MatchKey, Ts)) -> Vec<Vec<f32>> {
    let mut labels = Labels::default();
    labels.add_player(OperatorNo(1), player, at, true);
    vectors_of_players(zone, records, &labels)
}

/// The same of the player of a record that has a label.
pub(crate) fn vectors_before(zone: TimeZone, records: &[Record], label: &Record) -> Vec<Vec<f32>> {
    let mut labels = Labels::default();
    labels.add(OperatorNo(1), std::slice::from_ref(&label.record_id), true);
    vectors_of_players(zone, records, &labels)
}

fn vectors_of_players(zone: TimeZone, records: &[Record], labels: &Labels) -> Vec<Vec<f32>> {
    let order = RowsOrder { kind: ModelKind::PlayerRisk, jurisdiction: HOME, from: Ts(0), to: Ts(i64::MAX) };
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let mut making = Making::new(order, OperatorNo(1), labels, &key, zone);
    making.go_by(&RuleSet::standard("KE"));
    made(making, records).into_iter().map(|row| row.values).collect()
}

/// An alert about a player: of an operator, or over several of them.
pub(crate) fn alert(
    operator_no: OperatorNo,
    player: u128,
    at_minute: i64,
    records: &[&str],
    operators: &[&str],
) -> AlertRevision {
    let mut alert = AlertRevision { operator_no, at: Ts(BEGIN + at_minute * MINUTE), ..AlertRevision::for_tests() };
    alert.subject.who = Some(format!("player:{player:022x}"));
    alert.evidence.records = records.iter().map(|id| (*id).to_owned()).collect();
    alert.evidence.operators = operators.iter().map(|code| (*code).to_owned()).collect();
    alert
}

/// Operators 1 to 3: `op-1` and `op-2` of the first jurisdiction, `op-3` of another one.
pub(crate) fn directory() -> Directory {
    let mut directory = Directory::default();
    for (no, jurisdiction) in [(1, 0), (2, 0), (3, 1)] {
        let operator = Operator {
            operator_no: OperatorNo(no),
            id: OperatorId(no.into()),
            code: format!("op-{no}"),
            name: format!("Operator {no}"),
            jurisdiction: JurisdictionNo(jurisdiction),
            state: OperatorState::Active,
            registered_at: Ts(0),
            version: 1,
        };
        directory.operators.insert(operator.operator_no, Arc::new(operator));
    }
    directory
}

#[test]
fn a_record_with_a_label_is_a_row_and_leads_back_to_nobody() {
    use RecordKind::{Deposit, Login, Withdrawal};
    let mut labels = Labels::default();
    let ids = |numbers: &[usize]| numbers.iter().map(|n| format!("r{n}")).collect::<Vec<_>>();
    labels.add(OperatorNo(1), &ids(&[2, 3, 9]), false);
    labels.add(OperatorNo(1), &ids(&[2]), true);
    labels.add(OperatorNo(2), &ids(&[1]), true);
    let records = [
        record(1, Deposit, 0, 1_000, 5),
        record(2, Withdrawal, 10, 900, 5),
        // moves no money
        record(3, Login, 20, 0, 5),
        // behind the span
        record(9, Deposit, 11 * 24 * 60, 1, 5),
    ];
    let made = rows(ModelKind::TransactionRisk, &labels, &records);
    assert_eq!(made.len(), 1);
    assert!(made[0].is_positive, "one confirmation is enough");
    let place = transaction::names().iter().position(|name| *name == "minutes_since_deposit").unwrap();
    assert_eq!(made[0].values[place], 10.0);
    let mut text = Vec::new();
    write_rows(&directory(), transaction::FEATURES, &made, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("id,@group,@operator,@day,is_stake,") && lines[0].ends_with(",products,label"),
        "{}",
        lines[0]
    );
    assert_eq!(lines[1].split(',').count(), transaction::WIDTH + 5);
    let sides: Vec<&str> = lines[1].split(',').skip(1).take(3).collect();
    assert_eq!(sides, [made[0].group.as_str(), "op-1", &Ts(BEGIN).to_string()[..10]]);
    assert!(lines[1].starts_with(&made[0].id) && lines[1].ends_with(",1") && !text.contains("r2"), "{text}");
}

#[test]
fn a_person_is_one_group_at_every_operator_and_no_feature_is_named_like_a_side() {
    use RecordKind::Deposit;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let order =
        RowsOrder { kind: ModelKind::TransactionRisk, jurisdiction: HOME, from: Ts(BEGIN), to: Ts(BEGIN + DAY) };
    let records = [record(1, Deposit, 0, 1_000, 5), record(2, Deposit, 1, 1_000, 5), record(3, Deposit, 2, 1_000, 6)];
    let ids: Vec<String> = records.iter().map(|record| record.record_id.clone()).collect();
    let at = |no: u16| {
        let mut labels = Labels::default();
        labels.add(OperatorNo(no), &ids, true);
        let zone = TimeZone::get("Africa/Nairobi").unwrap();
        let rows = made(Making::new(order, OperatorNo(no), &labels, &key, zone), &records);
        rows.into_iter().map(|row| (row.group, row.id)).collect::<Vec<_>>()
    };
    let (here, there) = (at(1), at(2));
    assert_eq!(here.len(), 3);
    assert!(here[0].0 == here[1].0 && here[0].0 != here[2].0, "{here:?}");
    for (a, b) in here.iter().zip(&there) {
        assert!(a.0 == b.0 && a.1 != b.1, "the person is the same, the row is not");
    }
    for feature in transaction::FEATURES.iter().chain(player::FEATURES) {
        assert!(!feature.name.starts_with('@'), "{}", feature.name);
    }
}

#[test]
fn a_player_is_who_they_were_before_the_first_decision() {
    use RecordKind::Stake;
    let mut labels = Labels::default();
    labels.add(OperatorNo(1), &["r2".to_owned()], false);
    labels.add(OperatorNo(1), &["r4".to_owned()], true);
    let day = 24 * 60;
    let records = [
        record(0, Stake, 60, 100, 5),
        record(1, Stake, day + 60, 300, 5),
        record(2, Stake, 2 * day + 60, 10_000, 5),
        record(3, Stake, 2 * day + 90, 10_000, 6),
        record(4, Stake, 3 * day + 60, 10_000, 5),
    ];
    let made = rows(ModelKind::PlayerRisk, &labels, &records);
    assert_eq!((made.len(), made[0].is_positive), (1, true));
    let place = player::names().iter().position(|name| *name == "stake_mean_1m").unwrap();
    // the second day is over with the third one's record, which is the one decided about and is not part of it
    assert_eq!(made[0].values[place], 200.0);
    // before their first day is over nobody is asked about: no model ever was
    let mut labels = Labels::default();
    labels.add(OperatorNo(1), &["r0".to_owned(), "r3".to_owned()], true);
    assert!(rows(ModelKind::PlayerRisk, &labels, &records).is_empty());
}

#[test]
fn an_alert_is_of_the_jurisdiction_of_its_operator_or_of_all_of_them() {
    let directory = directory();
    let revisions = |no| vec![alert(no, 5, 0, &["r1"], &["op-1", "op-3"])];
    let nation = |no| revisions(OperatorNo::of_nation(JurisdictionNo(no)));
    // an alert | is it one of the first jurisdiction, of the second, of a third
    for (revisions, wanted) in [
        (revisions(OperatorNo(1)), [true, false, false]),
        (revisions(OperatorNo(3)), [false, true, false]),
        (nation(0), [true, false, false]),
        (nation(1), [false, true, false]),
        // of nobody who is known, and of which nothing is stored
        (revisions(OperatorNo(9)), [false; 3]),
        (Vec::new(), [false; 3]),
    ] {
        let is = [0, 1, 2].map(|no| is_of(&directory, JurisdictionNo(no), &revisions));
        assert_eq!(is, wanted, "{revisions:?}");
    }
}

#[test]
fn an_alert_over_all_operators_labels_the_player_at_those_that_it_names() {
    use RecordKind::Deposit;
    let nation = OperatorNo::of_nation(JurisdictionNo(0));
    let mut labels = Labels::default();
    let told = alert(nation, 5, 40, &["r1", "r2", "r3"], &["op-1", "op-2", "op-3"]);
    labels.add_alert(&directory(), &[told], true);
    assert_eq!(labels.operators(), HashSet::from([OperatorNo(1), OperatorNo(2)]), "those of the jurisdiction");
    assert_eq!(labels.records(), 3);
    let records = [
        record(1, Deposit, 0, 1_000, 5),
        // somebody else's record of the same number
        record(2, Deposit, 10, 900, 6),
        // not named
        record(4, Deposit, 20, 900, 5),
        record(6, Deposit, 24 * 60 + 20, 900, 5),
    ];
    let made = rows(ModelKind::TransactionRisk, &labels, &records);
    assert_eq!(made.iter().map(|row| (row.at, row.is_positive)).collect::<Vec<_>>(), [(records[0].occurred_at, true)]);
    // who plays where no record is named has a label, too: as of the day before it was told
    let mut labels = Labels::default();
    let minute = 24 * 60 + 40;
    let told = alert(nation, 5, minute, &["r1", "r2", "r3"], &["op-1", "op-2", "op-3"]);
    labels.add_alert(&directory(), &[told], true);
    let made = rows(ModelKind::PlayerRisk, &labels, &records[2..]);
    let got: Vec<_> = made.iter().map(|row| (row.at, row.is_positive)).collect();
    assert_eq!(got, [(Ts(BEGIN + minute * MINUTE), true)]);
}

#[test]
fn a_player_whom_no_record_names_is_who_they_were_when_it_was_told() {
    use RecordKind::Stake;
    let day = 24 * 60;
    let stakes = [
        record(0, Stake, 60, 100, 5),
        record(1, Stake, day + 60, 300, 5),
        record(2, Stake, 2 * day + 60, 9_600, 5),
        record(3, Stake, 2 * day + 90, 10_000, 6),
        record(4, Stake, 4 * day + 90, 10_000, 6),
    ];
    let place = player::names().iter().position(|name| *name == "stake_mean_1m").unwrap();
    // told at which minute | whether one that was told later is confirmed | rows, and what a day's mean stake was
    for (at, later, wanted) in [
        (day + 30, None, Some((100.0, false))),
        // a score of the second day is said in its last instant
        (2 * day, None, Some((200.0, false))),
        (2 * day, Some(true), Some((200.0, true))),
        // behind their last record
        (3 * day, None, Some(((10_000.0 / 3.0) as f32, false))),
        // before their first day was over
        (30, None, None),
        (day - 30, None, None),
        // behind the span
        (11 * day, None, None),
    ] {
        let mut labels = Labels::default();
        labels.add_alert(&directory(), &[alert(OperatorNo(1), 5, at, &[], &[])], false);
        if let Some(is_positive) = later {
            labels.add_alert(&directory(), &[alert(OperatorNo(1), 5, at + day, &[], &[])], is_positive);
        }
        let made = rows(ModelKind::PlayerRisk, &labels, &stakes);
        let got: Vec<_> = made.iter().map(|row| (row.values[place], row.is_positive)).collect();
        assert_eq!(got, wanted.into_iter().collect::<Vec<_>>(), "told at {at}");
        assert!(rows(ModelKind::TransactionRisk, &labels, &stakes).is_empty());
    }
}
