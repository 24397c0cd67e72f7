//! Exclusions that operators report.

use super::bench::{Database, Kind};
use models::alert::Window;
use models::event::{Event, Exclusion};
use models::exclusion::{Channel, Period, ReasonClass};
use models::exclusion_report::{ExclusionReport, ReportState};
use models::ids::{ExclusionId, ExclusionReportId, KeyId, OperatorNo, PersonNo};
use models::jurisdiction::JurisdictionNo;
use models::ts::Ts;
use store::{Attachment, CommitError, ExclusionReportQuery, ReportsWaiting, SealedTable};

fn waiting(id: u128, operator: u16, at: i64) -> ExclusionReport {
    ExclusionReport {
        id: ExclusionReportId(id),
        operator_no: OperatorNo(operator),
        jurisdiction: JurisdictionNo(0),
        period: Period::Months6,
        reason_class: ReasonClass::OperatorHarm,
        channel: Channel::Operator,
        reported_by: KeyId(9),
        reported_at: Ts(at),
        expires_at: Some(Ts(at + 100)),
        state: ReportState::Waiting,
        settled_by: None,
        settled_at: None,
        refused: None,
        exclusion: None,
        mismatches: 0,
        revision: 1,
    }
}

fn registered(id: u128, operator: u16) -> Event {
    Event::ExclusionRegistered(Exclusion {
        id: ExclusionId(id),
        person_no: PersonNo(1),
        jurisdiction: JurisdictionNo(0),
        period: Period::Year1,
        at_end: Period::Year1.at_end(),
        reason_class: ReasonClass::Own,
        channel: Channel::Operator,
        effective_at: Ts(40),
        ends_at: None,
        ended_at: None,
        reported_by: Some(OperatorNo(operator)),
    })
}

fn set(report: &ExclusionReport) -> Event {
    Event::ExclusionReportSet(Box::new(report.clone()))
}

pub async fn reported_exclusions_stand_as_they_were_set_last(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let store = &node.store;
    let all = [waiting(1, 1, 10), waiting(2, 1, 20), waiting(3, 2, 30)];
    let sealed = |report: &ExclusionReport| Attachment::ReportSeal { id: report.id, sealed: Some(vec![1, 7, 3]) };
    node.commit(all.iter().map(set).collect(), all.iter().map(sealed).collect()).await.expect("stored");
    let settled = ExclusionReport {
        state: ReportState::Approved,
        settled_by: Some(KeyId(8)),
        settled_at: Some(Ts(40)),
        exclusion: Some(ExclusionId(5)),
        revision: 2,
        ..all[0].clone()
    };
    let gone = Attachment::ReportSeal { id: settled.id, sealed: None };
    node.commit(vec![set(&settled)], vec![gone]).await.expect("stored");
    // what is older is refused
    node.commit(vec![set(&all[0])], Vec::new()).await.expect_err("it is there already");
    assert_eq!(store.exclusion_report(settled.id).await.expect("read"), Some(settled.clone()));
    assert_eq!(store.exclusion_report(ExclusionReportId(9)).await.expect("read"), None);
    assert_eq!(store.exclusion_report_sealed(settled.id).await.expect("read"), None);
    assert_eq!(store.exclusion_report_sealed(all[1].id).await.expect("read"), Some(vec![1, 7, 3]));
    // a rotation finds those that are still there
    let others = store.sealed_otherwise(SealedTable::ReportedExclusions, 1, None, 9).await.expect("read");
    assert_eq!(others.len(), 2);

    let every =
        ExclusionReportQuery { jurisdiction: JurisdictionNo(0), operator: None, state: None, before: None, limit: 9 };
    let table = [
        (every, vec![3, 2, 1]),
        (ExclusionReportQuery { limit: 2, ..every }, vec![3, 2]),
        (ExclusionReportQuery { before: Some(all[1].id), ..every }, vec![1]),
        (ExclusionReportQuery { operator: Some(OperatorNo(1)), ..every }, vec![2, 1]),
        (ExclusionReportQuery { state: Some(ReportState::Waiting), ..every }, vec![3, 2]),
        (ExclusionReportQuery { jurisdiction: JurisdictionNo(1), ..every }, vec![]),
    ];
    for (query, wanted) in table {
        let found = store.exclusion_reports(&query).await.expect("read");
        assert_eq!(found.iter().map(|report| report.id.0).collect::<Vec<_>>(), wanted, "{query:?}");
    }
    for (operator, count) in [(1, 1), (2, 1), (3, 0)] {
        assert_eq!(store.exclusion_reports_waiting(OperatorNo(operator)).await.expect("read"), count);
    }
    for (now, limit, wanted) in [(119, 9, vec![]), (120, 9, vec![2]), (500, 9, vec![2, 3]), (500, 1, vec![2])] {
        let due = store.exclusion_reports_due(Ts(now), limit).await.expect("read");
        assert_eq!(due.iter().map(|report| report.id.0).collect::<Vec<_>>(), wanted, "{now}");
    }
    // by when they were reported, whatever became of them
    let early = Window { start: Ts(0), end: Ts(25) };
    assert_eq!(store.exclusions_reported(early).await.expect("counts"), [(OperatorNo(1), 2)]);
    // the registration that a report led to is no second one; what somebody else reported of the same person is one
    let approved = ExclusionReport { exclusion: Some(ExclusionId(7)), ..settled.clone() };
    let approved = ExclusionReport { id: all[2].id, operator_no: OperatorNo(2), reported_at: Ts(30), ..approved };
    let added = Event::PersonAdded { person_no: PersonNo(1), birth_digest: None, keys: Vec::new() };
    let events = vec![set(&approved), added, registered(7, 2), registered(5, 3)];
    node.commit(events, Vec::new()).await.expect("stored");
    let ever = Window { start: Ts(0), end: Ts(i64::MAX) };
    let counted = store.exclusions_reported(ever).await.expect("counts");
    assert_eq!(counted, [(OperatorNo(1), 2), (OperatorNo(2), 1), (OperatorNo(3), 1)]);
    node.stop().await;
}

pub async fn a_report_is_settled_once_and_with_all_of_its_commit(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let store = &node.store;
    let report = waiting(1, 1, 10);
    let sealed = Attachment::ReportSeal { id: report.id, sealed: Some(vec![1, 7, 3]) };
    node.commit(vec![set(&report)], vec![sealed]).await.expect("stored");
    let gone = || vec![Attachment::ReportSeal { id: report.id, sealed: None }];
    let later = |state, revision| ExclusionReport { state, revision, settled_at: Some(Ts(40)), ..report.clone() };
    let approved = ExclusionReport { exclusion: Some(ExclusionId(5)), ..later(ReportState::Approved, 2) };
    let added = || Event::PersonAdded { person_no: PersonNo(1), birth_digest: None, keys: Vec::new() };

    // somebody named another person meanwhile: whoever approves what was there before registers nobody
    let tried = ExclusionReport { mismatches: 1, revision: 2, ..report.clone() };
    node.commit(vec![set(&tried)], Vec::new()).await.expect("stored");
    let early = node.commit(vec![set(&approved), added(), registered(5, 1)], gone()).await;
    assert!(matches!(early, Err(CommitError::Conflict { .. })), "{early:?}");
    assert_eq!(store.exclusion(ExclusionId(5)).await.expect("read"), None);
    assert_eq!(store.exclusion_report(report.id).await.expect("read"), Some(tried));
    assert_eq!(store.exclusion_report_sealed(report.id).await.expect("read"), Some(vec![1, 7, 3]));

    // two at the same time: one of them, and all of it
    let approved = ExclusionReport { revision: 3, ..approved };
    let refused = later(ReportState::Refused, 3);
    let (one, other) = tokio::join!(
        node.commit(vec![set(&approved), added(), registered(5, 1)], gone()),
        node.commit(vec![set(&refused)], gone()),
    );
    assert_ne!(one.is_ok(), other.is_ok(), "{one:?} {other:?}");
    let stands = if one.is_ok() { &approved } else { &refused };
    assert_eq!(store.exclusion_report(report.id).await.expect("read").as_ref(), Some(stands));
    assert_eq!(store.exclusion(ExclusionId(5)).await.expect("read").is_some(), one.is_ok());
    assert_eq!(store.exclusion_report_sealed(report.id).await.expect("read"), None);
    // and nothing becomes of it any more
    for state in [ReportState::Expired, ReportState::Refused] {
        let late = node.commit(vec![set(&later(state, 4))], Vec::new()).await;
        assert!(matches!(late, Err(CommitError::Conflict { .. })), "{late:?}");
    }
    node.stop().await;
}

pub async fn what_a_person_asked_for_stands_first_and_waits_without_end(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let store = &node.store;
    assert_eq!(store.exclusion_reports_open().await.expect("read"), ReportsWaiting { count: 0, since: None });
    let asked_for = |id, at| ExclusionReport { expires_at: None, reason_class: ReasonClass::Own, ..waiting(id, 1, at) };
    let all = [waiting(1, 1, 10), asked_for(2, 20), waiting(3, 2, 30), asked_for(4, 40)];
    node.commit(all.iter().map(set).collect(), Vec::new()).await.expect("stored");
    let every = ExclusionReportQuery {
        jurisdiction: JurisdictionNo(0),
        operator: None,
        state: Some(ReportState::Waiting),
        before: None,
        limit: 9,
    };
    let table = [
        (every, vec![4, 2, 3, 1]),
        (ExclusionReportQuery { before: Some(all[3].id), ..every }, vec![2, 3, 1]),
        (ExclusionReportQuery { before: Some(all[1].id), ..every }, vec![3, 1]),
        (ExclusionReportQuery { before: Some(all[2].id), ..every }, vec![1]),
        (ExclusionReportQuery { state: None, ..every }, vec![4, 3, 2, 1]),
    ];
    for (query, wanted) in table {
        let found = store.exclusion_reports(&query).await.expect("read");
        assert_eq!(found.iter().map(|report| report.id.0).collect::<Vec<_>>(), wanted, "{query:?}");
    }
    let due = store.exclusion_reports_due(Ts(i64::MAX - 1), 9).await.expect("read");
    assert_eq!(due.iter().map(|report| report.id.0).collect::<Vec<_>>(), [1, 3]);
    let open = ReportsWaiting { count: 4, since: Some(Ts(10)) };
    assert_eq!(store.exclusion_reports_open().await.expect("read"), open);
    node.stop().await;
}
