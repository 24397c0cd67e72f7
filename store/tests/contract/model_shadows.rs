//! Versions of models in the shadow: one of a kind, until it is promoted, retired or taken out, and its days.

use super::bench::{Database, Kind, operator};
use super::risk_models::{ABROAD, HOME, back, model, registered};
use models::alert::Window;
use models::event::Event;
use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
use models::model_shadow::{ModelShadowEnded, ModelShadowStarted, ShadowCounts, ShadowDayCounted, ShadowFound};
use models::operator::Operator;
use models::risk_model::ModelKind;
use models::ts::{DAY, Ts};
use serde_json::json;

const KIND: ModelKind = ModelKind::TransactionRisk;

fn started(kind: ModelKind, version: u32) -> Event {
    started_in(HOME, kind, version)
}

fn started_in(jurisdiction: JurisdictionNo, kind: ModelKind, version: u32) -> Event {
    let (by, reason) = ("Wanjiku".to_owned(), "it knows the new product".to_owned());
    let jurisdiction = Some(jurisdiction);
    Event::ModelShadowStarted(ModelShadowStarted { kind, version, jurisdiction, by, by_key: None, reason })
}

fn ended(version: u32) -> Event {
    ended_in(HOME, version)
}

fn ended_in(jurisdiction: JurisdictionNo, version: u32) -> Event {
    let (by, reason) = ("Otieno".to_owned(), "seen enough".to_owned());
    let jurisdiction = Some(jurisdiction);
    Event::ModelShadowEnded(ModelShadowEnded { kind: KIND, version, jurisdiction, by, by_key: None, reason })
}

/// What else is done with a version, as the journal says it.
fn done(act: &str, version: u32) -> Event {
    let act =
        json!({"type": act, "kind": KIND, "version": version, "jurisdiction": 0, "by": "Otieno", "reason": "why"});
    serde_json::from_value(act).expect("an event")
}

pub async fn one_version_of_a_kind_scores_in_the_shadow(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    for of in [model(KIND, 1), model(KIND, 2), model(KIND, 3), model(ModelKind::PlayerRisk, 1)] {
        let (events, attachments) = registered(&of, b"bytes");
        node.commit(events, attachments).await.expect("it is kept");
    }
    let (promoted, retired) = (|version| done("model_promoted", version), |version| done("model_retired", version));
    // what is tried | does it go | which version is in the shadow then
    let table = [
        (ended(1), false, None),
        (started(KIND, 9), false, None),
        (started(KIND, 1), true, Some(1)),
        (started(KIND, 1), false, Some(1)),
        (started(KIND, 2), false, Some(1)),
        (started(ModelKind::PlayerRisk, 1), true, Some(1)),
        (ended(2), false, Some(1)),
        (promoted(2), true, Some(1)),
        (promoted(1), true, None),
        // it scores already
        (started(KIND, 1), false, None),
        // it was replaced, and may be the next one again
        (started(KIND, 2), true, Some(2)),
        // it scores again for all to hear by a way back, too
        (back(1, 2), true, None),
        (started(KIND, 2), false, None),
        (started(KIND, 1), true, Some(1)),
        (retired(1), true, None),
        (started(KIND, 1), false, None),
        (started(KIND, 3), true, Some(3)),
        (ended(3), true, None),
        (ended(3), false, None),
        (started(KIND, 3), true, Some(3)),
    ];
    for (event, goes, wanted) in table {
        let receipt = node.commit(vec![event.clone()], Vec::new()).await;
        assert_eq!(receipt.is_ok(), goes, "{event:?}: {receipt:?}");
        let shadow = node.store.shadow_model(HOME, KIND).await.expect("read");
        assert_eq!(shadow.map(|stored| stored.model.version), wanted, "{event:?}");
        if let (Event::ModelShadowStarted(of), Ok(receipt)) = (&event, &receipt) {
            let place = node.store.model_shadow_began(HOME, (of.kind, of.version)).await.expect("read");
            assert_eq!(place, receipt.events.first().map(|committed| committed.seq), "the last time");
        }
    }
    let (by, _, reason) = node.store.shadow_model(HOME, KIND).await.expect("read").and_then(|s| s.shadow).expect("why");
    assert_eq!((by.as_str(), reason.as_str()), ("Wanjiku", "it knows the new product"));
    let other = node.store.shadow_model(HOME, ModelKind::PlayerRisk).await.expect("read").expect("of its own kind");
    assert_eq!(other.model.version, 1);
    // another jurisdiction has one of its own: what ends here goes on there
    for (event, goes, wanted) in [
        (ended_in(ABROAD, 3), false, None),
        (started_in(ABROAD, KIND, 3), true, Some(3)),
        (ended(3), true, Some(3)),
        (promoted(3), true, Some(3)),
        (ended_in(ABROAD, 3), true, None),
    ] {
        assert_eq!(node.commit(vec![event.clone()], Vec::new()).await.is_ok(), goes, "{event:?}");
        let shadow = node.store.shadow_model(ABROAD, KIND).await.expect("read");
        assert_eq!(shadow.map(|stored| stored.model.version), wanted, "{event:?}");
    }
    let journal = node.store.journal_events("model_shadow_started").await.expect("read");
    assert_eq!(journal.len(), 7, "what was refused is not in the journal");
    assert_eq!(node.store.model_shadow_began(HOME, (KIND, 9)).await.expect("read"), None);
    node.stop().await;
}

pub async fn a_day_in_the_shadow_is_kept_by_operator(kind: Kind) {
    let database = Database::fresh(kind).await;
    let node = database.open().await;
    let counted = |day: i64, operator, rows| ShadowDayCounted {
        kind: KIND,
        version: 2,
        operator_no: OperatorNo(operator),
        day: Ts(day * DAY),
        found: ShadowFound {
            bound_ppm: 500_000,
            counts: ShadowCounts { rows, rows_beside: rows, high: 3, live_high: 2, both_high: 1 },
            beside: vec![1],
            had: vec!["00000000000000aa".to_owned()],
            missed: vec!["00000000000000bb".to_owned()],
            ..ShadowFound::default()
        },
    };
    let abroad = match operator(3, "abroad") {
        Event::OperatorSet(abroad) => Event::OperatorSet(Operator { jurisdiction: JurisdictionNo(1), ..abroad }),
        other => other,
    };
    node.commit(vec![operator(1, "acme"), operator(2, "bold"), abroad], Vec::new()).await.expect("they are kept");
    for (day, operator, rows) in [(1, 1, 10), (1, 2, 20), (2, 1, 30), (1, 1, 11), (2, 3, 40)] {
        let event = Event::ModelShadowCounted(Box::new(counted(day, operator, rows)));
        node.commit(vec![event], Vec::new()).await.expect("it is kept");
    }
    // jurisdiction | version | first and last day | limit | what is kept of it
    for (jurisdiction, version, (from, to), limit, wanted) in [
        (0, 2, (0, 9), 9, &[counted(2, 1, 30), counted(1, 1, 10), counted(1, 2, 20)][..]),
        (0, 2, (0, 9), 1, &[counted(2, 1, 30)]),
        (0, 2, (1, 2), 9, &[counted(1, 1, 10), counted(1, 2, 20)]),
        (1, 2, (0, 9), 9, &[counted(2, 3, 40)]),
        (2, 2, (0, 9), 9, &[]),
        (0, 1, (0, 9), 9, &[]),
    ] {
        let span = Window { start: Ts(from * DAY), end: Ts(to * DAY) };
        let of = JurisdictionNo(jurisdiction);
        let kept = node.store.model_shadow_days(of, (KIND, version), span, None, limit).await.expect("read");
        assert_eq!(kept, wanted, "{jurisdiction} {version} {from} {to}");
    }
    // a page at a time each of them is read once, whatever a page holds
    let (home, all) = (JurisdictionNo(0), Window { start: Ts(0), end: Ts(9 * DAY) });
    for limit in [1, 2, 3] {
        let (mut read, mut behind) = (Vec::new(), None);
        loop {
            let page = node.store.model_shadow_days(home, (KIND, 2), all, behind, limit).await.expect("read");
            let Some(last) = page.last() else { break };
            behind = Some((last.day, last.operator_no));
            read.extend(page);
        }
        assert_eq!(read, [counted(2, 1, 30), counted(1, 1, 10), counted(1, 2, 20)], "{limit} at a time");
    }
    // jurisdiction | version | first and last day | whose days lie there
    for (jurisdiction, version, (from, to), wanted) in [
        (0, 2, (0, 9), &[1, 2][..]),
        (0, 2, (2, 9), &[1]),
        (0, 2, (0, 1), &[]),
        (1, 2, (0, 9), &[3]),
        (0, 1, (0, 9), &[]),
    ] {
        let span = Window { start: Ts(from * DAY), end: Ts(to * DAY) };
        let of = JurisdictionNo(jurisdiction);
        let operators = node.store.model_shadow_operators(of, (KIND, version), span).await.expect("read");
        let wanted: Vec<_> = wanted.iter().copied().map(OperatorNo).collect();
        assert_eq!(operators, wanted, "{jurisdiction} {version} {from} {to}");
    }
    for (of, wanted) in [(counted(1, 2, 5), true), (counted(2, 2, 5), false), (counted(3, 1, 5), false)] {
        assert_eq!(node.store.is_shadow_counted(&of).await.expect("read"), wanted, "{of:?}");
    }
    node.stop().await;
}
