//! What became of versions of rules, and what these have found.

use super::bench::{Database, Kind, commit, operator, started};
use models::alert::{AlertRevision, RevisionKind, Severity, Window};
use models::event::Event;
use models::ids::{AlertId, BacktestId, KeyId, OperatorNo};
use models::jurisdiction::JurisdictionNo;
use models::operator::Operator;
use models::rule::{BacktestState, RuleAct, RuleChanged};
use models::ts::{DAY, HOUR, Ts};
use store::{BACKTESTS_KEPT, BacktestRow, CommitError, FindingsOf};

fn changed(no: u8, rule: &str, change: i64) -> RuleChanged {
    RuleChanged {
        jurisdiction: JurisdictionNo(no),
        rule: rule.to_owned(),
        change,
        by: Some(KeyId(7)),
        at: Ts(change),
        note: "why".to_owned(),
        act: RuleAct::TurnedOff,
    }
}

/// In the order of the journal, each at the place it has there, and of two of one number one.
pub async fn changes_of_rules_have_their_place_in_the_journal(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let all = [changed(0, "a", 1), changed(1, "a", 1), changed(0, "b", 1), changed(0, "a", 2)];
    let mut places = Vec::new();
    for (n, change) in all.iter().enumerate() {
        // with others before it in its commit
        let receipt = node.commit(vec![started(n), Event::RuleChanged(change.clone())], Vec::new()).await;
        places.push(receipt.expect("stored").events[1].seq);
    }
    for again in [changed(0, "a", 2), changed(1, "a", 1)] {
        let refused = node.commit(vec![Event::RuleChanged(again)], Vec::new()).await;
        assert!(matches!(refused, Err(CommitError::Conflict { .. })), "{refused:?}");
    }
    // two at the same time: one of them
    let (one, other) = tokio::join!(
        commit(node.writer.clone(), vec![Event::RuleChanged(changed(0, "a", 3))], Vec::new()),
        commit(node.writer.clone(), vec![Event::RuleChanged(changed(0, "a", 3))], Vec::new()),
    );
    assert_eq!([&one, &other].iter().filter(|outcome| outcome.is_ok()).count(), 1, "{one:?} {other:?}");
    let stored = node.store.rule_changes().await.expect("changes");
    let expected: Vec<_> = places.into_iter().zip(all).collect();
    assert_eq!(stored[..4], expected);
    assert_eq!((stored.len(), &stored[4].1), (5, &changed(0, "a", 3)));
    assert_eq!(node.verify().await.first_bad, None);
    node.stop().await;
}

fn of(version: u32, mode: &'static str, from: i64, to: i64) -> FindingsOf {
    FindingsOf { jurisdiction: JurisdictionNo(0), rule: "a".to_owned(), version, mode, from: Ts(from), to: Ts(to) }
}

/// Counts, operators and examples are those of the version, the mode and the span alone.
pub async fn what_a_version_found_is_counted_and_shown(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    // jurisdiction, rule, version, mode, operator, kind, severity, at
    let rows = [
        (0, "a", 1, "live", 1, "raised", "high", 5),
        (0, "a", 1, "live", 1, "corrected", "critical", HOUR),
        (0, "a", 1, "live", 2, "raised", "low", HOUR + 1),
        (0, "a", 1, "live", 2, "raised", "low", HOUR + 2),
        (0, "a", 1, "live", 2, "withdrawn", "low", 2 * DAY),
        (0, "a", 1, "shadow", 1, "raised", "high", 6),
        (0, "a", 2, "live", 1, "raised", "high", 7),
        (0, "b", 1, "live", 1, "raised", "high", 8),
        (1, "a", 1, "live", 1, "raised", "high", 9),
    ];
    for (n, (jurisdiction, rule, version, mode, operator, kind, severity, at)) in rows.into_iter().enumerate() {
        let (id, end) = (AlertId(n as u128), at + 10);
        let values = format!(
            "'{id}', '{rule}', {version}, '{mode}', {jurisdiction}, {operator}, 1, {at}, {end}, '{kind}', '{severity}', {at}, {n}, '{{\"n\":{n}}}'"
        );
        let sql = format!(
            "INSERT INTO rule_findings (finding_id, rule, version, mode, jurisdiction_no, operator_no, input_seq, window_start, window_end, kind, severity, at, seq, body) VALUES ({values})"
        );
        database.run(&sql).await.expect("a finding");
    }
    let store = &node.store;
    let wanted = [
        of(1, "live", 0, DAY),
        of(1, "live", 0, 6),
        of(1, "shadow", 0, DAY),
        of(2, "live", 0, DAY),
        of(3, "live", 0, DAY),
    ];
    assert_eq!(store.rule_hits(&wanted).await.expect("hits"), [3, 1, 1, 1, 0]);
    let counts = store.rule_finding_counts(&of(1, "live", 0, 3 * DAY)).await.expect("counts");
    let counted: Vec<_> = counts.iter().map(|c| (c.hour.0, c.kind, c.severity, c.count)).collect();
    assert_eq!(
        counted,
        [
            (0, RevisionKind::Raised, Severity::High, 1),
            (HOUR, RevisionKind::Corrected, Severity::Critical, 1),
            (HOUR, RevisionKind::Raised, Severity::Low, 2),
            (2 * DAY, RevisionKind::Withdrawn, Severity::Low, 1),
        ]
    );
    let concerned = async |limit| store.rule_finding_operators(&of(1, "live", 0, DAY), limit).await.expect("operators");
    assert_eq!(concerned(9).await, [(OperatorNo(2), 2), (OperatorNo(1), 1)]);
    assert_eq!(concerned(1).await, [(OperatorNo(2), 2)]);
    let newest = store.rule_findings(&of(1, "live", 5, 2 * DAY), 2).await.expect("findings");
    let shown: Vec<_> = newest.iter().map(|row| (row.id, row.at.0, row.body.as_str())).collect();
    assert_eq!(shown, [(AlertId(3), HOUR + 2, "{\"n\":3}"), (AlertId(2), HOUR + 1, "{\"n\":2}")]);
    assert_eq!(newest[0].window, Window { start: Ts(HOUR + 2), end: Ts(HOUR + 12) });
    assert_eq!(
        (newest[0].operator_no, newest[0].kind, newest[0].severity),
        (OperatorNo(2), RevisionKind::Raised, Severity::Low)
    );
    node.stop().await;
}

/// The same of rules whose findings are alerts and nothing else: of operators of the jurisdiction, and live ones alone.
pub async fn what_a_version_of_the_market_said_is_counted_in_its_alerts(kind: Kind) {
    const RULE: &str = "robust_deviation";
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    for (no, jurisdiction) in [(1, 0), (2, 0), (3, 1)] {
        let Event::OperatorSet(operator) = operator(no, &format!("o{no}")) else { panic!("an operator") };
        let operator = Operator { jurisdiction: JurisdictionNo(jurisdiction), ..operator };
        node.commit(vec![Event::OperatorSet(operator)], Vec::new()).await.expect("stored");
    }
    use RevisionKind::{Corrected, Raised, Withdrawn};
    use Severity::{Critical, High, Low};
    // operator, rule, version, kind, severity, at
    let said = [
        (1, RULE, 4, Raised, High, 5),
        (1, RULE, 4, Corrected, Critical, HOUR),
        (2, RULE, 4, Raised, Low, HOUR + 1),
        (2, RULE, 4, Raised, Low, HOUR + 2),
        (2, RULE, 4, Withdrawn, Low, 2 * DAY),
        (2, RULE, 3, Raised, Low, 6),
        (2, "feed_silent", 4, Raised, Low, 7),
        (3, RULE, 4, Raised, Low, 8),
    ];
    for (n, (no, rule, rule_version, kind, severity, at)) in said.into_iter().enumerate() {
        let revision = AlertRevision {
            id: AlertId(n as u128),
            rule: rule.to_owned(),
            rule_version,
            operator_no: OperatorNo(no),
            kind,
            severity,
            at: Ts(at),
            ..AlertRevision::for_tests()
        };
        node.commit(vec![Event::AlertRevised(revision)], Vec::new()).await.expect("stored");
    }
    let store = &node.store;
    let of =
        |rule: &str, version, mode, from, to| FindingsOf { rule: rule.to_owned(), ..self::of(version, mode, from, to) };
    let wanted = [
        of(RULE, 4, "live", 0, DAY),
        of(RULE, 4, "live", 6, DAY),
        of(RULE, 4, "shadow", 0, DAY),
        of(RULE, 3, "live", 0, DAY),
        of("feed_silent", 4, "live", 0, DAY),
        of("feed_silent", 3, "live", 0, DAY),
    ];
    assert_eq!(store.rule_hits(&wanted).await.expect("hits"), [3, 2, 0, 1, 1, 0]);
    let counts = store.rule_finding_counts(&of(RULE, 4, "live", 0, 3 * DAY)).await.expect("counts");
    let counted: Vec<_> = counts.iter().map(|c| (c.hour.0, c.kind, c.severity, c.count)).collect();
    let expected =
        [(0, Raised, High, 1), (HOUR, Raised, Low, 2), (HOUR, Corrected, Critical, 1), (2 * DAY, Withdrawn, Low, 1)];
    assert_eq!(counted, expected);
    let concerned = store.rule_finding_operators(&of(RULE, 4, "live", 0, DAY), 9).await.expect("operators");
    assert_eq!(concerned, [(OperatorNo(2), 2), (OperatorNo(1), 1)]);
    let newest = store.rule_findings(&of(RULE, 4, "live", 0, DAY), 2).await.expect("findings");
    let shown: Vec<_> = newest.iter().map(|row| (row.id, row.operator_no, row.kind, row.at.0)).collect();
    let (three, two) = ((AlertId(3), OperatorNo(2), Raised, HOUR + 2), (AlertId(2), OperatorNo(2), Raised, HOUR + 1));
    assert_eq!(shown, [three, two]);
    assert!(newest[0].body.contains("\"rule_version\":4"), "{}", newest[0].body);
    node.stop().await;
}

/// In their order; of two behind one input the newer one.
pub async fn sets_that_a_market_took_are_read_by_their_inputs(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    for (no, behind, rules_seq) in [(1, 0, 3), (1, 7, 9), (2, 1, 9), (1, 7, 12), (1, 5, 8)] {
        let taken = Event::OperatorRulesTaken { operator_no: OperatorNo(no), behind, rules_seq, at: Ts(1) };
        node.commit(vec![taken], Vec::new()).await.expect("stored");
    }
    let taken = async |no| node.store.operator_rules(OperatorNo(no)).await.expect("sets");
    assert_eq!(taken(1).await, [(0, 3), (5, 8), (7, 12)]);
    assert_eq!((taken(2).await, taken(3).await), (vec![(1, 9)], vec![]));
    assert_eq!(node.store.first_batch_since(OperatorNo(1), Ts(0)).await.expect("none"), None);
    assert_eq!(node.verify().await.first_bad, None);
    node.stop().await;
}

pub async fn backtests_are_kept_with_their_results(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let store = &node.store;
    let row = |id: u128, version, at: i64| BacktestRow {
        id: BacktestId(id),
        jurisdiction: JurisdictionNo(0),
        rule: "structured_deposits".to_owned(),
        version,
        from: Ts(1),
        to: Ts(2),
        state: BacktestState::Running,
        made_by: KeyId(7),
        made_at: Ts(at),
        ended_at: None,
        result: None,
    };
    for begun in [row(1, 2, 10), row(2, 2, 20), row(3, 3, 30)] {
        store.begin_backtest(&begun).await.expect("begun");
    }
    store.end_backtest(BacktestId(1), BacktestState::Done, "{\"both\":1}", Ts(15)).await.expect("ended");
    let done = BacktestRow { state: BacktestState::Done, ended_at: Some(Ts(15)), ..row(1, 2, 10) };
    let with_result = BacktestRow { result: Some("{\"both\":1}".to_owned()), ..done.clone() };
    assert_eq!(store.backtest(JurisdictionNo(0), BacktestId(1)).await.expect("a row"), Some(with_result));
    assert_eq!(store.backtest(JurisdictionNo(1), BacktestId(1)).await.expect("no row"), None, "another jurisdiction's");
    let listed = async |version, limit| {
        store.backtests(JurisdictionNo(0), ("structured_deposits", version), limit).await.expect("rows")
    };
    assert_eq!(listed(2, 10).await, [row(2, 2, 20), done.clone()]);
    assert_eq!(listed(2, 1).await, [row(2, 2, 20)]);
    // whoever ran when the engine ended runs no more
    store.interrupt_backtests(Ts(40)).await.expect("interrupted");
    let interrupted = BacktestRow { state: BacktestState::Interrupted, ended_at: Some(Ts(40)), ..row(3, 3, 30) };
    assert_eq!(listed(3, 10).await, [interrupted]);
    assert_eq!(listed(2, 10).await[1], done);
    for n in 0..BACKTESTS_KEPT {
        store.begin_backtest(&row(100 + n as u128, 4, 100 + n)).await.expect("begun");
    }
    assert_eq!(
        (listed(2, 10).await.len(), listed(4, 1_000).await.len()),
        (0, BACKTESTS_KEPT as usize),
        "the oldest go"
    );
    node.stop().await;
}
