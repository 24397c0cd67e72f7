//! Signs of harm: who is told of, that what was told is followed, and by which clock an answer is overdue.

use super::*;
use models::alert::Severity;
use models::harm_signal::{HarmSignal, SignalSource};
use models::operator::OperatorState;

/// Scores as the actor stores them, with those of whom the operator is told; gives the signs as they are told in that commit.
fn addressed(rules: &mut OfOperator, scored: PlayersScored) -> (RuleInput, Vec<HarmSignal>) {
    let told = rules.foretell(&scored);
    let scored = PlayersScored { told, ..scored };
    let signals = rules.first_tellings(&scored);
    (RuleInput::PlayersScored(Box::new(scored)), signals)
}

/// They are stored and heard at once.
fn say(rules: &mut OfOperator, scored: PlayersScored) -> Vec<HarmSignal> {
    let (input, signals) = addressed(rules, scored);
    said(rules, input);
    signals
}

#[test]
fn whose_level_becomes_high_is_told_of_once_and_the_clock_asks_for_an_answer() {
    let models = Models::default();
    let (set, now) = (RuleSet::standard("KE"), Ts(BEGIN + 2 * DAY + HOUR));
    let scored = |player, score_ppm, day: i64, said_at| {
        let one = ScoredPlayer { player: MatchKey(player), currency: Currency::KES, score_ppm, reasons: Vec::new() };
        let (version, as_of, players) = (3, Ts(BEGIN + day * DAY), vec![one]);
        PlayersScored { version, as_of, said_at, nameless: Vec::new(), told: Vec::new(), players }
    };
    let tick = |at| RuleInput::Tick { operator_seq: None, at };
    let mut rules = blank(&models);
    // nobody was told of what was said before this was there
    say(&mut rules, scored(8, 900_000, 1, None));
    say(&mut rules, scored(7, 499_999, 1, Some(now.plus(-DAY))));
    assert!(rules.changed_signals().is_empty() && !rules.needs_tick(now.plus(DAY), &set));
    say(&mut rules, scored(8, 900_000, 2, Some(now)));
    say(&mut rules, scored(7, 600_000, 2, Some(now)));
    let [told] = rules.changed_signals().try_into().expect("one sign");
    assert_eq!(
        (told.player, told.level, told.since, told.source, told.revision),
        (MatchKey(7), Severity::High, now, SignalSource::Model { version: 3 }, 1)
    );
    // the same again, as after a commit of which nobody knew what became of it
    say(&mut rules, scored(7, 600_000, 2, Some(now.plus(MINUTE))));
    assert!(rules.changed_signals().is_empty());

    let mut again = blank(&models).with_bytes(&rules.to_bytes().unwrap()).expect("its own bytes");
    again.set_rules(&set);
    assert!(again.changed_signals().is_empty(), "whoever had it took it");
    say(&mut again, scored(7, 700_000, 3, Some(now.plus(20 * MINUTE))));
    assert!(again.changed_signals().is_empty(), "it stays high");
    // an hour to answer, and a tick once when it is over
    let due = now.plus(HOUR);
    assert!(!again.needs_tick(due, &set) && again.needs_tick(due.plus(1), &set));
    assert_eq!(unanswered(&said(&mut again, tick(due))), 0);
    assert_eq!(unanswered(&said(&mut again, tick(due.plus(1)))), 1);
    assert!(!again.needs_tick(due.plus(DAY), &set));
    // an intervention answers it, however late
    let call = Record { kind: RecordKind::Intervention, occurred_at: now.plus(30 * MINUTE), ..record(0, 7) };
    let call = Record { player: Some(MatchKey(7)), ..call };
    let batch = Batch {
        clock_at: due.plus(2),
        clock: SourceClock::Wall,
        records: vec![call].into(),
        facts: Some(vec![Facts::default()].into()),
    };
    hear(&mut again, &Stored { batch: Some(batch), ..input(1) });
    let [told] = again.changed_signals().try_into().expect("the same sign");
    assert_eq!((told.answered_at, told.revision), (Some(now.plus(30 * MINUTE)), 2));
}

/// Players who are scored at the end of the second day, and when that is said.
fn at_high_risk(players: std::ops::Range<u128>, said_at: Ts) -> PlayersScored {
    let one =
        |player| ScoredPlayer { player: key(player), currency: Currency::KES, score_ppm: 600_000, reasons: Vec::new() };
    let (as_of, players) = (Ts(BEGIN + 2 * DAY), players.map(one).collect());
    PlayersScored { version: 3, as_of, said_at: Some(said_at), nameless: Vec::new(), told: Vec::new(), players }
}

#[test]
fn a_sign_is_foretold_as_it_is_told_so_that_it_is_read_as_soon_as_time_runs() {
    let now = Ts(BEGIN + 2 * DAY + HOUR);
    let models = Models::default();
    let mut rules = blank(&models);
    (0..12).for_each(|n| drop(hear(&mut rules, &input(n))));
    let today = at_high_risk(1..5, now);
    // scores | whose signs follow
    for (what, scored, wanted) in [
        ("of an archive that is loaded a year later", at_high_risk(1..5, now.plus(365 * DAY)), vec![]),
        (
            "two of them cannot be named",
            PlayersScored { nameless: [2, 4].map(key).to_vec(), ..today.clone() },
            vec![1, 3],
        ),
        ("now they can, and are told of alone", today.clone(), vec![2, 4]),
        ("all are told of this month", today, vec![]),
    ] {
        let foretold = say(&mut rules, scored);
        assert_eq!(rules.changed_signals(), foretold, "{what}");
        let players: Vec<MatchKey> = foretold.iter().map(|signal| signal.player).collect();
        assert_eq!(players, wanted.into_iter().map(key).collect::<Vec<_>>(), "{what}");
    }
    assert_eq!(rules.withheld(), [("model_unattributable", 2), ("model_full", 0)]);
}

#[test]
fn a_sign_that_is_stored_is_followed_whatever_is_heard_before_it() {
    let (models, set, now) = (Models::default(), RuleSet::standard("KE"), Ts(BEGIN + 2 * DAY + HOUR));
    let suspended = || RuleInput::OperatorState { at: now.plus(-1), state: OperatorState::Suspended };
    let high = || RuleInput::PlayersScored(Box::new(PlayersScored { said_at: None, ..at_high_risk(2..3, now) }));
    // what is heard between the commit of the scores and their hearing
    for (what, between) in [("nothing", vec![]), ("staff suspends", vec![suspended()]), ("a high level", vec![high()])]
    {
        let mut rules = blank(&models);
        rules.set_rules(&set);
        (0..12).for_each(|n| drop(hear(&mut rules, &input(n))));
        let (scored, stored) = addressed(&mut rules, at_high_risk(1..4, now));
        between.into_iter().for_each(|input| drop(said(&mut rules, input)));
        assert!(rules.changed_signals().is_empty(), "{what}");
        said(&mut rules, scored);
        assert_eq!(rules.changed_signals(), stored, "{what}");
        assert_eq!(stored.len(), 3, "{what}");
        // one of them is answered, the others are waited for
        let call = Record { kind: RecordKind::Intervention, occurred_at: now.plus(MINUTE), ..record(0, 1) };
        let (records, facts) = (vec![call].into(), Some(vec![Facts::default()].into()));
        let batch = Batch { clock_at: now.plus(MINUTE), clock: SourceClock::Event, records, facts };
        hear(&mut rules, &Stored { batch: Some(batch), ..input(12) });
        let answered = rules.changed_signals();
        let seen: Vec<_> = answered.iter().map(|sign| (sign.id, sign.revision, sign.answered_at)).collect();
        assert_eq!(seen, [(stored[0].id, 2, Some(now.plus(MINUTE)))], "{what}");
        // longer than records lay behind
        let at = now.plus(HOUR + DAY);
        assert_eq!(unanswered(&said(&mut rules, RuleInput::Tick { operator_seq: None, at })), 2, "{what}");
    }
}

fn key(player: u128) -> MatchKey {
    MatchKey(player << 40)
}

#[test]
fn who_has_deposits_can_be_found_by_them() {
    let mut rules = blank(&Models::default());
    (0..12).for_each(|n| drop(hear(&mut rules, &input(n))));
    // a fourth one has never played
    let scored = at_high_risk(1..5, Ts(BEGIN));
    assert_eq!(rules.high_without_records(&scored), [key(4)]);
    let known = rules.acquainted(key(1), Currency::KES);
    assert!(known.is_known && known.has_room && !known.is_behind && known.records.len() == 3, "{known:?}");
    let stranger = rules.acquainted(key(4), Currency::KES);
    assert!(!stranger.is_known && stranger.records.is_empty(), "{stranger:?}");
}

/// A batch of a clock with a record of nothing that matters.
fn play(clock: SourceClock, clock_at: Ts) -> Stored {
    let (records, facts) = (vec![record(0, 3)].into(), Some(vec![Facts::default()].into()));
    Stored { batch: Some(Batch { clock_at, clock, records, facts }), ..input(1) }
}

/// A batch of documents.
fn papers() -> Stored {
    let batch =
        Batch { clock_at: Ts(BEGIN), clock: SourceClock::Wall, records: Vec::<Record>::new().into(), facts: None };
    Stored { batch: Some(batch), ..input(1) }
}

/// A sign that staff gives about a player.
fn sign(player: u128, at: Ts) -> RuleInput {
    RuleInput::Signal { player: MatchKey(player), level: Severity::High, at, given: None }
}

fn unanswered(findings: &[Finding]) -> usize {
    findings.iter().filter(|finding| finding.rule == "harm_signal_unanswered").count()
}

#[test]
fn an_answer_is_overdue_by_the_clock_of_whoever_sends() {
    use SourceClock::{Event, Wall};
    let (models, set, given) = (Models::default(), RuleSet::standard("KE"), Ts(BEGIN + 2 * DAY + HOUR));
    let due = given.plus(HOUR);
    // clocks of batches from before the sign, and behind it | how long after the due time the wall clock is asked
    type Row = (&'static str, Vec<(SourceClock, Ts)>, Vec<(SourceClock, Ts)>, Option<i64>);
    let table: Vec<Row> = vec![
        ("nothing was ever sent", vec![], vec![], Some(0)),
        ("it follows the wall clock", vec![(Wall, given.plus(-3 * HOUR))], vec![], Some(0)),
        ("records up to the sign", vec![(Event, given)], vec![], Some(0)),
        ("records three hours behind it", vec![(Event, given.plus(-3 * HOUR))], vec![], Some(3 * HOUR)),
        (
            "they go on: the sign keeps the lag that it was given with",
            vec![(Event, given.plus(-3 * HOUR))],
            vec![(Event, given.plus(-HOUR))],
            Some(3 * HOUR),
        ),
        ("late ones move no clock back", vec![(Event, given), (Event, given.plus(-HOUR))], vec![], Some(0)),
        ("a day behind", vec![(Event, given.plus(-DAY))], vec![], Some(DAY)),
        ("an archive", vec![(Event, given.plus(-DAY - 1))], vec![], None),
        ("an archive that comes to the day of the sign", vec![(Event, Ts(DAY))], vec![(Event, given.plus(-DAY))], None),
        ("an archive beside the wall clock", vec![(Wall, given), (Event, Ts(DAY))], vec![], Some(0)),
        (
            "an archive, and then a feed that follows the wall clock",
            vec![(Event, Ts(DAY))],
            vec![(Wall, given)],
            Some(0),
        ),
    ];
    for (what, before, behind, wanted) in table {
        let mut rules = blank(&models);
        rules.set_rules(&set);
        before.into_iter().for_each(|(clock, at)| drop(hear(&mut rules, &play(clock, at))));
        said(&mut rules, sign(7, given));
        behind.into_iter().for_each(|(clock, at)| drop(hear(&mut rules, &play(clock, at))));
        let mut rules = blank(&models).with_bytes(&rules.to_bytes().unwrap()).expect("its own bytes");
        rules.set_rules(&set);
        let Some(after) = wanted else {
            assert!((0..30).all(|day| !rules.needs_tick(due.plus(day * DAY + 1), &set)), "{what}");
            // its own records say when the time is over, and nobody asks once more
            assert_eq!(unanswered(&hear(&mut rules, &play(Event, due.plus(1)))), 1, "{what}");
            assert!(!rules.needs_tick(due.plus(DAY), &set), "{what}");
            continue;
        };
        let at = due.plus(after + 1);
        assert!(!rules.needs_tick(at.plus(-1), &set) && rules.needs_tick(at, &set), "{what}");
        assert_eq!(unanswered(&said(&mut rules, RuleInput::Tick { operator_seq: None, at })), 1, "{what}");
        assert!(!rules.needs_tick(at.plus(DAY), &set), "{what}");
    }
}

#[test]
fn another_sign_about_a_player_is_no_clock_for_the_first_one() {
    let given = Ts(BEGIN + 2 * DAY + 12 * HOUR);
    // how far records lie behind, minutes from the first sign to the second | is the first one found with it?
    for (lag, after, wanted) in [(0, 61, 1), (180, 61, 0), (180, 240, 0), (180, 241, 1), (3 * 24 * 60, 300, 0)] {
        let mut rules = blank(&Models::default());
        hear(&mut rules, &play(SourceClock::Event, given.plus(-lag * MINUTE)));
        assert_eq!(unanswered(&said(&mut rules, sign(7, given))), 0);
        let found = said(&mut rules, sign(7, given.plus(after * MINUTE)));
        assert_eq!(unanswered(&found), wanted, "{lag} minutes behind, {after} later");
    }
}

/// Minutes behind noon at which somebody is found to be unanswered. Signs are given at some minutes, each about another player;
/// the wall clock is asked every minute for six hours, where it wants to be; records come all the time, `lag` minutes late.
fn found_at(signs: &[i64], lag: i64, has_papers: bool, answered_at: Option<i64>) -> Vec<(i64, usize)> {
    let (set, noon) = (RuleSet::standard("KE"), Ts(BEGIN + 2 * DAY + 12 * HOUR));
    let minute = |n: i64| noon.plus(n * MINUTE);
    let mut rules = blank(&Models::default());
    rules.set_rules(&set);
    if has_papers {
        hear(&mut rules, &papers());
    }
    let mut found = Vec::new();
    for now in 0..360 {
        let mut findings = Vec::new();
        if answered_at.is_some_and(|at| at + lag == now) {
            let call = Record { kind: RecordKind::Intervention, occurred_at: minute(now - lag), ..record(0, 1) };
            let call = Record { player: Some(MatchKey(1)), ..call };
            let (records, facts) = (vec![call].into(), Some(vec![Facts::default()].into()));
            let batch = Batch { clock_at: minute(now - lag), clock: SourceClock::Event, records, facts };
            findings.extend(hear(&mut rules, &Stored { batch: Some(batch), ..input(1) }));
        }
        findings.extend(hear(&mut rules, &play(SourceClock::Event, minute(now - lag))));
        for (n, _) in signs.iter().enumerate().filter(|(_, at)| **at == now) {
            findings.extend(said(&mut rules, sign(1 + n as u128, minute(now))));
        }
        if rules.needs_tick(minute(now), &set) {
            findings.extend(said(&mut rules, RuleInput::Tick { operator_seq: None, at: minute(now) }));
        }
        let count = unanswered(&findings);
        if count > 0 {
            found.push((now, count));
        }
    }
    found
}

#[test]
fn a_steady_lag_condemns_nobody_whose_answer_is_on_its_way() {
    const YEAR: i64 = 365 * 24 * 60;
    // minutes of signs, lag, are there documents, minute of the first one's answer | when who is found
    type Row = (&'static str, &'static [i64], i64, bool, Option<i64>, &'static [(i64, usize)]);
    let table: [Row; 9] = [
        ("no lag, no answer", &[0], 0, false, None, &[(61, 1)]),
        ("three hours, no answer", &[0], 180, false, None, &[(241, 1)]),
        ("three hours, answered in time", &[0], 180, false, Some(45), &[]),
        ("answered too late", &[0], 180, false, Some(70), &[(241, 1), (250, 1)]),
        ("two signs", &[0, 30], 180, false, None, &[(241, 1), (271, 1)]),
        ("two signs, the first is answered", &[0, 30], 180, false, Some(45), &[(271, 1)]),
        ("documents, ticks every hour, answered in time", &[0], 180, true, Some(45), &[]),
        ("documents, ticks every hour, no answer", &[0, 30], 180, true, None, &[(241, 1), (271, 1)]),
        ("documents beside an archive", &[0], YEAR, true, None, &[]),
    ];
    for (what, signs, lag, has_papers, answered_at, wanted) in table {
        assert_eq!(found_at(signs, lag, has_papers, answered_at), wanted, "{what}");
    }
}
