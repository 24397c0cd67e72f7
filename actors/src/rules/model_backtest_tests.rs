use super::*;
use crate::model_rows::tests::{alert, directory};
use crate::scoring::tests::{learnt, table};
use ml::tabular::artefact::Kind;
use models::jurisdiction::JurisdictionNo;
use models::model_shadow::ShadowSubject;
use models::score::{ScoredPlayer, Scores};

const OPERATOR: OperatorNo = OperatorNo(1);
/// 2 March 2026, 12:00 in Nairobi.
const NOON: i64 = 1_772_398_800_000_000 + DAY / 2;

fn subject(record_id: Option<String>, player: u128, at: i64) -> ShadowSubject {
    ShadowSubject { record_id, player: Some(MatchKey(player)), currency: Currency::KES, at: Ts(at) }
}

/// The record at a place of an input.
fn record(of: i64, place: usize, score_ppm: u32) -> Row {
    let subject = subject(Some(format!("r{of}-{place}")), 7, NOON + of * DAY);
    let vector = vec![0.5; engine::features::transaction::WIDTH];
    Row { place, subject, score_ppm, bound_ppm: 500, vector }
}

fn player(player: u128, as_of: i64, score_ppm: u32) -> Row {
    let vector = vec![0.5; engine::features::player::WIDTH];
    Row { place: 0, subject: subject(None, player, as_of), score_ppm, bound_ppm: 500, vector }
}

fn records_scored(of: i64, scores: &[Option<u32>]) -> RecordsScored {
    RecordsScored { of, at: Ts(NOON), version: 4, scores: Scores(scores.to_vec()), risky: Vec::new() }
}

fn players_scored(as_of: i64, scores: &[(u128, u32)]) -> PlayersScored {
    let of = |(key, score_ppm): &(u128, u32)| ScoredPlayer {
        player: MatchKey(*key),
        currency: Currency::KES,
        score_ppm: *score_ppm,
        reasons: Vec::new(),
    };
    PlayersScored {
        version: 4,
        as_of: Ts(as_of),
        said_at: None,
        nameless: Vec::new(),
        told: Vec::new(),
        players: scores.iter().map(of).collect(),
    }
}

fn zone() -> TimeZone {
    TimeZone::get("Africa/Nairobi").expect("a zone")
}

fn numbers(outcome: &ModelOutcome) -> [u64; 5] {
    let ShadowCounts { rows, rows_beside, high, live_high, both_high } = outcome.counts;
    [rows, rows_beside, high, live_high, both_high]
}

#[test]
fn records_are_joined_with_what_the_promoted_version_said_of_their_input() {
    let scorer =
        Scorer::new(9, learnt(Kind::TransactionRisk, &table(ModelKind::TransactionRisk, 600))).expect("it fits");
    let digest = |id: &str| (OPERATOR, id_digest(id));
    let truth = Truth {
        records: [(digest("r2-0"), true), (digest("r2-1"), true), (digest("r3-0"), false), (digest("r9-9"), true)]
            .into(),
        ..Truth::default()
    };
    let mut joining = Joining::new(OPERATOR, &truth, zone());
    joining.records(1, vec![record(1, 0, 900)]);
    joining.records(2, vec![record(2, 0, 600), record(2, 1, 100), record(2, 2, 700)]);
    joining.records(3, vec![record(3, 0, 800)]);
    joining.records(4, Vec::new());
    // the first input went without; the third place of the second has no score; one is of an input that nobody waits for
    joining.records_scored(&records_scored(2, &[Some(500), Some(501), None]));
    joining.records_scored(&records_scored(2, &[Some(900), Some(900), Some(900)]));
    let (outcome, examples) = joining.end(&scorer);
    assert_eq!(numbers(&outcome), [5, 2, 4, 2, 1]);
    assert_eq!((outcome.operator_days, outcome.live_versions), (3, BTreeSet::from([4])));
    assert_eq!(outcome.high_per_operator_day, Some(4.0 / 3.0));
    let decided = |rows, version, live| Decided { rows, version, live };
    assert_eq!((outcome.confirmed, outcome.false_alarms), (decided(2, 1, 2), decided(1, 1, 0)));
    let named: Vec<_> = examples.iter().map(|one| (one.score_ppm, one.live_ppm)).collect();
    assert_eq!(named, [(900, None), (800, None), (700, None)]);
}

#[test]
fn records_that_wait_too_long_count_without_the_promoted_version() {
    let scorer =
        Scorer::new(9, learnt(Kind::TransactionRisk, &table(ModelKind::TransactionRisk, 600))).expect("it fits");
    let truth = Truth::default();
    let mut joining = Joining::new(OPERATOR, &truth, zone());
    let half = WAITING_MAX / 2 + 1;
    for of in 1..=2 {
        let row = Row { vector: Vec::new(), ..record(of, 0, 1) };
        joining.records(of, vec![row; half]);
    }
    assert_eq!((joining.records.len(), joining.waiting), (1, half), "the oldest input is settled");
    joining.records_scored(&records_scored(2, &[Some(900)]));
    let (outcome, _) = joining.end(&scorer);
    assert_eq!(numbers(&outcome), [2 * half as u64, half as u64, 0, half as u64, 0]);
}

#[test]
fn players_are_joined_day_by_day_and_decided_about_once() {
    let scorer = Scorer::new(9, learnt(Kind::PlayerRisk, &table(ModelKind::PlayerRisk, 600))).expect("it fits");
    let of = |player: u128| (OPERATOR, MatchKey(player));
    let truth = Truth { players: [(of(1), true), (of(2), false), (of(8), true)].into(), ..Truth::default() };
    let mut joining = Joining::new(OPERATOR, &truth, zone());
    // the end of the day that NOON lies in, and of the next one
    let (first, second) = (NOON + DAY / 2, NOON + 3 * DAY / 2);
    joining.players(vec![player(1, first, 600), player(2, first, 100), player(3, first, 700)]);
    joining.players_scored(&players_scored(first, &[(1, 100), (2, 900), (9, 900)]));
    joining.players(vec![player(1, second, 100)]);
    joining.players_scored(&players_scored(second, &[(1, 500)]));
    let (outcome, examples) = joining.end(&scorer);
    assert_eq!(numbers(&outcome), [4, 3, 2, 2, 0]);
    assert_eq!(outcome.operator_days, 2);
    let decided = |rows, version, live| Decided { rows, version, live };
    assert_eq!((outcome.confirmed, outcome.false_alarms), (decided(1, 1, 1), decided(1, 0, 1)));
    let named: Vec<_> = examples.iter().map(|one| (one.subject.player, one.live_ppm)).collect();
    assert_eq!(named, [(Some(MatchKey(3)), None), (Some(MatchKey(1)), Some(100))]);
}

#[test]
fn a_decision_is_about_the_operators_records_and_players_of_its_alert() {
    let (first, second, third) = (OperatorNo(1), OperatorNo(2), OperatorNo(3));
    let nation = OperatorNo::of_nation(JurisdictionNo(0));
    let directory = directory();
    // all of them spoke at the first instant of the span
    let from = alert(first, 7, 0, &[], &[]).at;
    let (span, later) = (Span { from, to: from.plus(DAY) }, Span { from: from.plus(1), to: from.plus(DAY) });
    let mut truth = Truth::default();
    // the third operator is of another jurisdiction; the last alert spoke before its span
    for (of, player, records, operators, is_positive, span) in [
        (first, 7, &["a", "b"][..], &[][..], false, span),
        (first, 7, &["b"], &[], true, span),
        (first, 7, &["b"], &[], false, span),
        (nation, 8, &["a", "c"], &["op-2", "op-3"], true, span),
        (second, 9, &["d"], &[], true, later),
    ] {
        truth.add(&directory, &[alert(of, player, 0, records, operators)], is_positive, span);
    }
    let player = |key: u128| Some(MatchKey(key));
    // whose record | its id | its player | what is true of it
    for (operator, record, of, wanted) in [
        (first, "a", player(7), Some(false)),
        (first, "a", None, Some(false)),
        (first, "b", player(7), Some(true)),
        (first, "z", player(7), None),
        // another player's record may have the same number at another operator
        (second, "a", player(8), Some(true)),
        (second, "a", player(7), None),
        (second, "c", None, None),
        (third, "a", player(8), None),
        (second, "d", player(9), Some(true)),
    ] {
        assert_eq!(truth.of_record(operator, record, of), wanted, "{operator:?} {record} {of:?}");
    }
    let players = [((first, MatchKey(7)), true), ((second, MatchKey(8)), true)];
    assert_eq!(truth.players, HashMap::from(players));
}

#[test]
fn outcomes_of_operators_add_up() {
    let counts = |rows, high| ShadowCounts { rows, high, ..ShadowCounts::default() };
    let one = ModelOutcome { live_versions: BTreeSet::from([1, 2]), ..ModelOutcome::new(counts(10, 4), 2) };
    let other = ModelOutcome { live_versions: BTreeSet::from([2, 3]), ..ModelOutcome::new(counts(30, 4), 0) };
    let both = one.plus(&other);
    assert_eq!((both.counts, both.operator_days), (counts(40, 8), 2));
    assert_eq!((both.hit_rate, both.high_per_operator_day), (Some(0.2), Some(4.0)));
    assert_eq!((other.high_per_operator_day, both.live_versions), (None, BTreeSet::from([1, 2, 3])));
}
