use super::*;
use engine::rules::finding::Unit;
use engine::shadow_days::DAYS_SHOWN;
use models::alert_group::Resolution;
use models::ids::AlertId;
use models::model_shadow::{ShadowCounts, ShadowFound};
use models::ts::{DAY, Ts};
use serde_json::json;
use store::OpenOptions;

/// What an alert is about.
#[derive(Clone, Copy)]
enum About {
    Record(&'static str),
    Player(u128),
    /// So many records that the operator is named.
    Many,
}

/// An alert on what happened at an instant, and its group as people left it. What it says of a player is about their month.
async fn told(store: &Store, no: i64, (about, at): (About, i64), rule: &str, resolution: Option<Resolution>) {
    let mut alert = AlertRevision { id: AlertId(no as u128), rule: rule.to_owned(), ..AlertRevision::for_tests() };
    alert.at = Ts(at);
    alert.window = Window { start: Ts(at), end: Ts(at + 1) };
    alert.evidence.unit = Some(Unit::Ppm.as_str().to_owned());
    match about {
        About::Record(id) => alert.evidence.records = vec![id.to_owned()],
        About::Player(player) => {
            alert.subject.who = Some(format!("player:{player:022x}"));
            alert.window = Window { start: Ts(at - 15 * DAY), end: Ts(at + 15 * DAY) };
        }
        About::Many => alert.evidence.unit = Some("records".to_owned()),
    }
    let state = if resolution.is_some() { "resolved" } else { "open" };
    let group = json!({"id": format!("grp_{no:026}"), "rule": rule, "operator_no": 1, "jurisdiction": 0,
        "subject": alert.subject, "state": state, "episode": 1, "severity": "high", "hits": 1, "standing": [alert.id],
        "standing_more": 0, "first_at": at, "last_at": at, "last_alert": alert.id, "last_window": alert.window,
        "resolution": resolution, "told": true, "notices": 0});
    let number =
        serde_json::from_value::<models::alert_group::AlertGroup>(group.clone()).expect("a group").state.code();
    let (body, id) = (serde_json::to_string(&alert).expect("JSON"), alert.id);
    for sql in [
        format!(
            "INSERT INTO alert_revisions (alert_offset, id, operator_seq, operator_no, operator_offset, rule, kind, severity, body) VALUES ({no}, '{id}', {no}, 1, {no}, '{rule}', 0, 0, '{body}')"
        ),
        format!(
            "INSERT INTO rule_findings (finding_id, rule, version, mode, jurisdiction_no, operator_no, input_seq, window_start, window_end, kind, severity, at, seq, body) VALUES ('{id}', '{rule}', 1, 'live', 0, 1, {no}, 0, 1, 'raised', 'high', {at}, {no}, '')"
        ),
        format!(
            "INSERT INTO alert_groups (id, jurisdiction, operator_no, rule, state, severity, last_at, body) VALUES ('grp_{no:026}', 0, 1, '{rule}', {number}, 0, {at}, '{group}')"
        ),
    ] {
        assert_eq!(store.execute_for_tests(&sql).await.expect("a row"), 1);
    }
}

const HOME: JurisdictionNo = JurisdictionNo(0);

/// Operators of the first jurisdiction.
async fn with_operators(store: &Store, operators: std::ops::RangeInclusive<u16>) {
    for no in operators {
        let sql = format!(
            "INSERT INTO operators (operator_no, id, code, jurisdiction, body) VALUES ({no}, 'o{no}', 'o{no}', 0, '{{}}')"
        );
        assert_eq!(store.execute_for_tests(&sql).await.expect("a row"), 1);
    }
}

fn day(operator: u16, begins: i64, had: &[String], missed: &[String]) -> ShadowDayCounted {
    let counts = ShadowCounts { rows: 10, ..ShadowCounts::default() };
    let found = ShadowFound { counts, had: had.to_vec(), missed: missed.to_vec(), ..ShadowFound::default() };
    let (kind, operator_no) = (ModelKind::TransactionRisk, OperatorNo(operator));
    ShadowDayCounted { kind, version: 2, operator_no, day: Ts(begins), found }
}

/// The days of a version of a kind.
async fn counted(store: &Store, (kind, version): (ModelKind, u32), days: &[ShadowDayCounted]) {
    for some in days.chunks(100) {
        let values: Vec<String> = some
            .iter()
            .map(|day| {
                let day = ShadowDayCounted { kind, version, ..day.clone() };
                let body = serde_json::to_string(&day).expect("JSON");
                format!("('{}', {version}, {}, {}, '{body}')", kind.as_str(), day.operator_no.0, day.day.0)
            })
            .collect();
        let sql = format!(
            "INSERT INTO model_shadow_days (kind, version, operator_no, day, body) VALUES {}",
            values.join(", ")
        );
        assert_eq!(store.execute_for_tests(&sql).await.expect("rows"), some.len() as u64);
    }
}

const NO_EXAMPLE: ExamplesPage = ExamplesPage { behind: None, limit: 1 };

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
        (About::Record("had"), span.start.0 - 1, risky, confirmed),
        (About::Record("had"), span.end.0, risky, confirmed),
        (About::Player(7), span.start.0 - 1, at_risk, confirmed),
        (About::Player(7), span.end.0, at_risk, confirmed),
        (About::Record("had"), within, "rapid_in_out", confirmed),
        // at its edges
        (About::Record("had"), span.start.0, risky, confirmed),
        (About::Record("had"), span.end.0 - 1, risky, confirmed),
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
    with_operators(&store, 1..=2).await;
    // days, each of a version of its own | confirmed | false alarms
    for (version, (kind, days, confirmed, false_alarms)) in (1..).zip([
        (records, vec![day(1, within, &[name("had"), name("had too")], &[name("missed")])], of(4, 3), of(1, 1)),
        (records, vec![day(2, within, &[name("had")], &[])], of(0, 0), of(0, 0)),
        (records, vec![], of(0, 0), of(0, 0)),
        (
            players,
            // had on one day is had
            vec![day(1, within, &[player(7)], &[player(8)]), day(1, within + DAY, &[], &[player(7)])],
            of(1, 1),
            of(1, 0),
        ),
        // days of another time name nothing
        (
            records,
            vec![day(1, 39 * DAY, &[name("had")], &[]), day(1, 50 * DAY, &[name("had")], &[])],
            of(0, 0),
            of(0, 0),
        ),
    ]) {
        counted(&store, (kind, version), &days).await;
        let of = DaysOf { jurisdiction: HOME, version: (kind, version), span };
        let found = read(&store, &Directory::default(), of, NO_EXAMPLE).await.expect("read").resolved;
        assert_eq!(found, FoundOut { confirmed, false_alarms, is_cut: false }, "{days:?}");
    }
    store.close().await;
}

#[actix_rt::test]
async fn days_are_read_a_few_at_a_time_and_added_up_to_a_limit() {
    let dir = testkit::temp_dir();
    let store = Store::open(&testkit::sqlite_url(&dir), &OpenOptions::default()).await.expect("a store");
    with_operators(&store, 1..=3).await;
    let of = DaysOf {
        jurisdiction: HOME,
        version: (ModelKind::TransactionRisk, 2),
        span: Window { start: Ts(0), end: Ts(1_000 * DAY) },
    };
    // more than are in memory at once, and than are shown; the fourth operator is nobody's
    let days: Vec<_> = (0..200).flat_map(|n| [1, 2, 3, 4].map(|no| day(no, n * DAY, &[], &[]))).collect();
    counted(&store, of.version, &days).await;
    let ShadowDays { sum, is_cut, .. } = read(&store, &Directory::default(), of, NO_EXAMPLE).await.expect("read");
    assert_eq!((sum.total.rows, sum.days.len(), is_cut), (6_000, DAYS_SHOWN, false));
    assert_eq!(sum.operators.values().map(|(days, _)| *days).collect::<Vec<_>>(), [200, 200, 200]);
    // at most | how many are read, and which is the last of them
    for (days_max, wanted, last) in [
        (0, 0, None),
        (1, 1, Some((199, 1))),
        (DAYS_AT_ONCE, DAYS_AT_ONCE, Some((166, 1))),
        (DAYS_AT_ONCE + 2, DAYS_AT_ONCE + 2, Some((166, 3))),
        (599, 599, Some((0, 2))),
        (600, 600, Some((0, 3))),
        (601, 600, Some((0, 3))),
    ] {
        let mut heard = Vec::new();
        let read =
            each(&store, of, days_max, |day| heard.push((day.day.0 / DAY, day.operator_no.0))).await.expect("read");
        assert_eq!((read, heard.len() as u32, heard.last().copied()), (wanted, wanted, last), "{days_max}");
        assert!(heard.is_sorted_by_key(|(day, no)| (std::cmp::Reverse(*day), *no)), "newest first, by operator");
    }
    store.close().await;
}
