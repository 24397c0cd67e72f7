//! Days that were counted, scores and their revisions, and what a score is worked out of.

use super::bench::{Database, Kind};
use super::writes::{batch, record, revision};
use models::alert::RevisionKind;
use models::alert_group::{Act, ActionKind, AlertActed, AlertGroup, GroupState, Resolution};
use models::compliance::{Band, ComplianceDayCounted, ComplianceScored, Component, ComponentScore, DayTally};
use models::event::Event;
use models::feed::{FeedBatchStored, Silence};
use models::ids::{GroupId, KeyId, OperatorNo, SourceNo};
use models::jurisdiction::JurisdictionNo;
use models::ts::{MINUTE, Ts};
use std::collections::BTreeMap;
use store::{BatchSums, Clock, CommitError, ComplianceSpan, SystemClock};

fn span<'a>(operator: u16, from: &'a str, to: &'a str) -> ComplianceSpan<'a> {
    ComplianceSpan { operator_no: OperatorNo(operator), from, to }
}

fn counted(operator: u16, day: &str, revision: u32, entries: u64) -> Event {
    let tally = DayTally { entries, lacking: 1, minutes: vec![3, 70], minutes_max: 70, ..DayTally::default() };
    Event::ComplianceDayCounted(ComplianceDayCounted {
        operator_no: OperatorNo(operator),
        day: day.to_owned(),
        revision,
        tally,
    })
}

fn scored(operator: u16, jurisdiction: u8, day: &str, revision: u32, score_ppm: Option<i64>) -> ComplianceScored {
    let checks = ComponentScore {
        component: Component::Checks,
        weight: 25,
        value: score_ppm,
        points_ppm: score_ppm,
        figures: BTreeMap::from([("entries".to_owned(), 7)]),
    };
    ComplianceScored {
        operator_no: OperatorNo(operator),
        jurisdiction: JurisdictionNo(jurisdiction),
        day: day.to_owned(),
        from: Ts(1),
        to: Ts(2),
        revision,
        formula: 1,
        score_ppm,
        measured_weight: if score_ppm.is_some() { 25 } else { 0 },
        band: score_ppm.map(|_| Band::Good),
        components: vec![checks],
        at: Ts(i64::from(revision)),
    }
}

/// A later counting takes the place of the one before, also in one commit; one that was overtaken changes nothing.
pub async fn a_day_is_as_it_was_counted_last(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let read = async |operator, from, to| {
        let days = node.store.compliance_days(span(operator, from, to)).await.expect("days");
        days.into_iter().map(|(day, revision, tally)| (day, revision, tally.entries)).collect::<Vec<_>>()
    };
    let day = |name: &str, revision: u32, entries: u64| (name.to_owned(), revision, entries);
    node.commit(vec![counted(1, "2026-11-20", 1, 10), counted(2, "2026-11-20", 1, 99)], Vec::new())
        .await
        .expect("stored");
    node.commit(vec![counted(1, "2026-11-21", 1, 20), counted(1, "2026-11-20", 2, 11)], Vec::new())
        .await
        .expect("stored");
    assert_eq!(read(1, "2026-11-01", "2026-11-30").await, [day("2026-11-20", 2, 11), day("2026-11-21", 1, 20)]);
    node.commit(vec![counted(1, "2026-11-20", 1, 10)], Vec::new()).await.expect("stored");
    assert_eq!(read(1, "2026-11-20", "2026-11-20").await, [day("2026-11-20", 2, 11)], "overtaken");
    assert_eq!(read(2, "2026-11-20", "2026-11-20").await, [day("2026-11-20", 1, 99)]);
    assert_eq!(read(1, "2026-11-22", "2026-12-31").await, []);
    let days = node.store.compliance_days(span(1, "2026-11-20", "2026-11-20")).await.expect("days");
    assert_eq!(days[0].2.minutes, [3, 70], "whole");
    assert_eq!(node.verify().await.first_bad, None);
    node.stop().await;
}

/// The highest revision of a day counts, the others are kept, and none is stored twice.
pub async fn scores_are_kept_with_their_revisions(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let all = [
        scored(1, 0, "2026-11-20", 1, Some(900_000)),
        scored(1, 0, "2026-11-21", 1, None),
        scored(1, 0, "2026-11-20", 2, Some(800_000)),
        scored(2, 0, "2026-11-20", 1, Some(700_000)),
        scored(3, 1, "2026-11-22", 1, Some(600_000)),
    ];
    assert_eq!(node.store.newest_compliance_score(OperatorNo(1)).await.expect("none"), None);
    assert_eq!(node.store.newest_compliance_day(JurisdictionNo(0)).await.expect("none"), None);
    for one in &all {
        node.commit(vec![Event::ComplianceScored(one.clone())], Vec::new()).await.expect("stored");
    }
    let history = node.store.compliance_scores(span(1, "2026-11-01", "2026-11-30")).await.expect("scores");
    assert_eq!(history, [all[2].clone(), all[1].clone()]);
    let one_day = node.store.compliance_scores(span(1, "2026-11-21", "2026-11-21")).await.expect("scores");
    assert_eq!(one_day, [all[1].clone()]);
    assert_eq!(node.store.newest_compliance_score(OperatorNo(1)).await.expect("one"), Some(all[1].clone()));
    let rank = async |no, day| node.store.compliance_scores_of(JurisdictionNo(no), day).await.expect("scores");
    assert_eq!(rank(0, "2026-11-20").await, [all[2].clone(), all[3].clone()]);
    assert_eq!(rank(1, "2026-11-20").await, []);
    let newest = async |no| node.store.newest_compliance_day(JurisdictionNo(no)).await.expect("a day");
    assert_eq!((newest(0).await.as_deref(), newest(1).await.as_deref()), (Some("2026-11-21"), Some("2026-11-22")));
    let twice = node.commit(vec![Event::ComplianceScored(all[2].clone())], Vec::new()).await;
    assert!(matches!(twice, Err(CommitError::Conflict { .. })), "{twice:?}");
    assert_eq!(database.int("SELECT COUNT(*) FROM compliance_scores").await, 5, "the one before is kept");
    node.stop().await;
}

fn acted(group: u128, action: ActionKind) -> Event {
    let Event::AlertRevised(alert) = revision(1, 1) else { unreachable!("an alert") };
    let act = Act { by: KeyId(1), at: Ts(7) };
    let group = AlertGroup {
        id: GroupId(group),
        rule: alert.rule,
        operator_no: alert.operator_no,
        jurisdiction: JurisdictionNo(0),
        subject: alert.subject,
        state: GroupState::Resolved,
        episode: 1,
        severity: alert.severity,
        hits: 1,
        standing: Vec::new(),
        standing_more: 0,
        first_at: Ts(1),
        last_at: Ts(2),
        last_alert: alert.id,
        last_window: alert.window,
        reasons: Vec::new(),
        acknowledged: None,
        snoozed: None,
        resolution: Some(Resolution::Confirmed),
        resolved: Some(act),
        muted_by: None,
        silenced_by: None,
        told: true,
        told_severity: None,
        held_in: None,
        notices: 0,
    };
    Event::AlertActed(AlertActed { action, act, group })
}

/// Alerts of one rule, what people did since a time, and batches with numbers.
pub async fn what_a_score_is_worked_out_of_is_read(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let told = |id: u128, seq: i64, rule: &str, kind: RevisionKind| {
        let Event::AlertRevised(mut alert) = revision(id, seq) else { unreachable!("an alert") };
        (alert.rule, alert.kind) = (rule.to_owned(), kind);
        Event::AlertRevised(alert)
    };
    let events = vec![
        told(1, 1, "feed_silent", RevisionKind::Raised),
        told(2, 1, "feed_tampered", RevisionKind::Raised),
        told(1, 2, "feed_silent", RevisionKind::Withdrawn),
    ];
    node.commit(events, Vec::new()).await.expect("stored");
    let alerts = node.store.alerts_of_rule(OperatorNo(1), "feed_silent").await.expect("alerts");
    let kinds: Vec<RevisionKind> = alerts.iter().map(|alert| alert.kind).collect();
    assert_eq!(kinds, [RevisionKind::Raised, RevisionKind::Withdrawn], "in their order");
    assert!(node.store.alerts_of_rule(OperatorNo(9), "feed_silent").await.expect("alerts").is_empty());
    let none = node.store.alert_acts(OperatorNo(1), Ts(0)).await.expect("acts");
    assert!(none.0.is_empty() && !none.1);
    let before = SystemClock.now();
    node.commit(vec![acted(1, ActionKind::Resolve)], Vec::new()).await.expect("stored");
    node.commit(vec![acted(2, ActionKind::Resolve), acted(1, ActionKind::Reopen)], Vec::new()).await.expect("stored");
    let read = async |since| {
        let (acts, is_cut) = node.store.alert_acts(OperatorNo(1), since).await.expect("acts");
        assert!(!is_cut);
        acts.iter().map(|act| (act.group.id.0, act.action)).collect::<Vec<_>>()
    };
    let all = [(1, ActionKind::Resolve), (2, ActionKind::Resolve), (1, ActionKind::Reopen)];
    assert_eq!(read(before.plus(-MINUTE)).await, all, "in their order");
    assert_eq!(read(before.plus(MINUTE)).await, [], "by when they were stored");
    let others = node.store.alert_acts(OperatorNo(11), Ts(0)).await.expect("acts").0;
    assert!(others.is_empty(), "another operator's");

    for (no, number) in [(1, Some(41)), (2, None), (3, Some(43))] {
        let (event, rows) = batch(no, 1, &[record(no as u32, Ts(no))]);
        let Event::FeedBatchStored(stored) = event else { unreachable!("a batch") };
        let stored = FeedBatchStored { batch_number: number, ..stored };
        node.commit(vec![Event::FeedBatchStored(stored)], vec![rows]).await.expect("stored");
    }
    let sums = async |from, to| node.store.batch_sums(SourceNo(1), from, to).await.expect("sums");
    assert_eq!(sums(Ts(0), Ts(i64::MAX)).await, BatchSums { records: 3, numbered: 2 });
    assert_eq!(sums(Ts(0), Ts(1)).await, BatchSums::default());
    let refused = node.store.quarantined_between(SourceNo(1), Ts(0), Ts(i64::MAX)).await.expect("a count");
    assert_eq!(refused, 0);
    assert_eq!(node.store.source_integrity(SourceNo(1)).await.expect("a state").version, 0);
    node.stop().await;
}

/// A silence is kept from its beginning, gets its end, and is read by the spans that it touches.
pub async fn silences_are_kept_with_their_ends(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let store = &node.store;
    assert_eq!(store.silences_since().await.expect("a time"), Ts(0), "nothing is from before");
    let lasts = |no: u32, from| (SourceNo(no), Silence { from: Ts(from), to: None });
    let was = |no: u32, from, to| (SourceNo(no), Silence { from: Ts(from), to: Some(Ts(to)) });
    for kept in
        [&[lasts(1, 10), lasts(2, 15)][..], &[was(1, 10, 20)], &[was(1, 30, 40), lasts(2, 15)], &[lasts(1, 50)], &[]]
    {
        store.keep_source_silences(kept).await.expect("they are kept");
    }
    let standing = store.standing_silences().await.expect("those that last");
    assert_eq!(standing, [(SourceNo(1), Ts(50)), (SourceNo(2), Ts(15))]);
    // source, span, limit | beginnings and ends
    let table = [
        (1, (0, 100), 9, vec![(10, Some(20)), (30, Some(40)), (50, None)]),
        (1, (20, 50), 9, vec![(30, Some(40))]),
        (1, (19, 31), 9, vec![(10, Some(20)), (30, Some(40))]),
        (1, (60, 70), 9, vec![(50, None)]),
        (1, (0, 100), 2, vec![(30, Some(40)), (50, None)]),
        (2, (0, 15), 9, vec![]),
        (3, (0, 100), 9, vec![]),
    ];
    for (no, (from, to), limit, wanted) in table {
        let read = store.source_silences(SourceNo(no), (Ts(from), Ts(to)), limit).await.expect("silences");
        let read: Vec<_> = read.iter().map(|silence| (silence.from.0, silence.to.map(|to| to.0))).collect();
        assert_eq!(read, wanted, "source {no}, {from} to {to}");
    }
    node.stop().await;
}
