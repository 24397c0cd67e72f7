use super::*;
use crate::risk_models::tests::open;
use crate::scoring::tests::table;
use ml::tabular::artefact::Kind;
use ml::tabular::batch;
use models::alert::Window;
use models::ids::AlertId;
use models::model_shadow::ShadowFound;
use models::ts::Ts;
use serde_json::json;
use std::time::Duration;
use store::OpenOptions;

const HOME: JurisdictionNo = JurisdictionNo(0);

#[actix_rt::test]
async fn one_person_lets_one_version_of_a_kind_score_in_the_shadow() {
    let dir = testkit::temp_dir();
    let (store, writer) = open(&testkit::sqlite_url(&dir)).await;
    let kind = ModelKind::TransactionRisk;
    let train = table(kind, 600);
    for seed in [1, 2] {
        let artefact = batch::train(Kind::TransactionRisk, train.as_bytes(), None, seed).expect("learnt");
        let mut document = Vec::new();
        artefact.write(&mut document).expect("written");
        // never judged on a table of its own: it may score where nobody hears it
        crate::risk_models::register(&store, &writer, &document, None, &Who::typed("Wanjiku"))
            .await
            .expect("registered");
    }
    store.execute_for_tests("UPDATE model_chunks SET bytes = x'00' WHERE version = 2").await.expect("spoilt");
    use ShadowStep::{End, Start};
    // version | step | why | what is said; none: it goes
    for (version, of, reason, wanted) in [
        (9, Start, "why", Some("no such model")),
        (1, End, "why", Some("this version is not in the shadow")),
        (1, Start, " ", Some("/reason")),
        (2, Start, "why", Some("it cannot score here")),
        (1, Start, "why", None),
        (2, Start, "why", Some("version 1 is in the shadow")),
        (2, End, "why", Some("this version is not in the shadow")),
        (1, End, "seen enough", None),
        (1, Start, "once more", None),
    ] {
        let done = take_step(&store, &writer, HOME, (kind, version), of, (&Who::typed("Wanjiku"), reason)).await;
        match (done, wanted) {
            (Ok(()), None) => {}
            (Err(error), Some(wanted)) => {
                let said = format!("{error} {error:?}");
                assert!(said.contains(wanted), "{version} {of:?}: {said}");
            }
            (done, wanted) => panic!("{version} {of:?}: {done:?} instead of {wanted:?}"),
        }
    }
    let shadow = store.shadow_model(HOME, kind).await.expect("read").expect("one");
    assert_eq!(shadow.shadow.map(|(by, _, reason)| (by, reason)), Some(("Wanjiku".into(), "once more".into())));
    // each jurisdiction has a shadow of its own
    let abroad = JurisdictionNo(1);
    let end = async |no| take_step(&store, &writer, no, (kind, 1), End, (&Who::typed("Otieno"), "why")).await;
    assert!(end(abroad).await.expect_err("not there").to_string().contains("not in the shadow"));
    take_step(&store, &writer, abroad, (kind, 1), Start, (&Who::typed("Otieno"), "why")).await.expect("there, too");
    end(abroad).await.expect("ended there");
    assert!(store.shadow_model(HOME, kind).await.expect("read").is_some(), "and not here");
    crate::risk_models::retire(&store, &writer, HOME, (kind, 1), &Who::typed("Otieno"), "of old data")
        .await
        .expect("retired");
    assert!(store.shadow_model(HOME, kind).await.expect("read").is_none(), "its retirement ends it");
    let again =
        take_step(&store, &writer, HOME, (kind, 1), Start, (&Who::typed("Wanjiku"), "why")).await.expect_err("retired");
    assert!(again.to_string().contains("retired"), "{again}");
    store.stop_writer(Duration::from_secs(5)).await;
}

/// What an alert is about.
#[derive(Clone, Copy)]
enum About {
    Record(&'static str),
    Player(u128),
    /// So many records that the operator is named.
    Many,
}

/// An alert on what happened at an instant, and its group as people left it.
async fn told(store: &Store, no: i64, (about, start): (About, i64), rule: &str, resolution: Option<Resolution>) {
    let mut alert = AlertRevision { id: AlertId(no as u128), rule: rule.to_owned(), ..AlertRevision::for_tests() };
    alert.window = Window { start: Ts(start), end: Ts(start + 1) };
    alert.evidence.unit = Some(Unit::Ppm.as_str().to_owned());
    match about {
        About::Record(id) => alert.evidence.records = vec![id.to_owned()],
        About::Player(player) => alert.subject.who = Some(format!("player:{player:022x}")),
        About::Many => alert.evidence.unit = Some("records".to_owned()),
    }
    let state = if resolution.is_some() { "resolved" } else { "open" };
    let group = json!({"id": format!("grp_{no:026}"), "rule": rule, "operator_no": 1, "jurisdiction": 0,
        "subject": alert.subject, "state": state, "episode": 1, "severity": "high", "hits": 1, "standing": [alert.id],
        "standing_more": 0, "first_at": start, "last_at": start, "last_alert": alert.id, "last_window": alert.window,
        "resolution": resolution, "told": true, "notices": 0});
    let number =
        serde_json::from_value::<models::alert_group::AlertGroup>(group.clone()).expect("a group").state.code();
    let (body, id) = (serde_json::to_string(&alert).expect("JSON"), alert.id);
    for sql in [
        format!(
            "INSERT INTO alert_revisions (alert_offset, id, operator_seq, operator_no, operator_offset, rule, kind, severity, body) VALUES ({no}, '{id}', {no}, 1, {no}, '{rule}', 0, 0, '{body}')"
        ),
        format!(
            "INSERT INTO alert_groups (id, jurisdiction, operator_no, rule, state, severity, last_at, body) VALUES ('grp_{no:026}', 0, 1, '{rule}', {number}, 0, {start}, '{group}')"
        ),
    ] {
        assert_eq!(store.execute_for_tests(&sql).await.expect("a row"), 1);
    }
}

fn day(operator: u16, kind: ModelKind, had: &[String], missed: &[String]) -> ShadowDayCounted {
    let found = ShadowFound { had: had.to_vec(), missed: missed.to_vec(), ..ShadowFound::default() };
    ShadowDayCounted { kind, version: 2, operator_no: OperatorNo(operator), day: Ts(0), found }
}

#[actix_rt::test]
async fn what_people_resolved_is_held_against_what_a_version_had() {
    let dir = testkit::temp_dir();
    let store = Store::open(&testkit::sqlite_url(&dir), &OpenOptions::default()).await.expect("a store");
    let (confirmed, false_alarm) = (Some(Resolution::Confirmed), Some(Resolution::FalseAlarm));
    let (risky, at_risk) = ("risky_transaction", "player_at_risk");
    let span = Window { start: Ts(40 * DAY), end: Ts(50 * DAY) };
    let within = 45 * DAY;
    for (no, (about, at, rule, resolution)) in (1..).zip([
        (About::Record("had"), within, risky, confirmed),
        (About::Record("missed"), within, risky, confirmed),
        (About::Record("had too"), within, risky, false_alarm),
        // nobody has decided, or something else
        (About::Record("had"), within + 1, risky, None),
        (About::Record("had"), within + 2, risky, Some(Resolution::Expected)),
        // not scored by both
        (About::Record("unknown"), within, risky, confirmed),
        (About::Many, within, risky, confirmed),
        // of another time, and of another rule
        (About::Record("had"), 30 * DAY, risky, confirmed),
        (About::Record("had"), 60 * DAY, risky, confirmed),
        (About::Record("had"), within, "rapid_in_out", confirmed),
        (About::Player(7), within, at_risk, confirmed),
        (About::Player(8), within, at_risk, false_alarm),
        (About::Player(9), within, at_risk, false_alarm),
    ]) {
        told(&store, no, (about, at), rule, resolution).await;
    }
    let (records, players) = (ModelKind::TransactionRisk, ModelKind::PlayerRisk);
    let name = |record: &str| name_of_record(record);
    let player = |n: u128| format!("{n:022x}");
    let of = |alerts, also| Resolved { alerts, also };
    // days | confirmed | false alarms
    for (kind, days, confirmed, false_alarms) in [
        (records, vec![day(1, records, &[name("had"), name("had too")], &[name("missed")])], of(2, 1), of(1, 1)),
        (records, vec![day(2, records, &[name("had")], &[])], of(0, 0), of(0, 0)),
        (records, vec![], of(0, 0), of(0, 0)),
        (
            players,
            // had on one day is had
            vec![day(1, players, &[player(7)], &[player(8)]), day(1, players, &[], &[player(7)])],
            of(1, 1),
            of(1, 0),
        ),
    ] {
        let found = found_out(&store, kind, &days, span).await.expect("read");
        assert_eq!(found, FoundOut { confirmed, false_alarms, is_cut: false }, "{days:?}");
    }
    store.close().await;
}
