//! What versions of a rule found: beside each other, and against their forecast, by which the brake stops them.

use crate::node::{AheadClock, Node, Setup};
use crate::rules::{RULE, does, get, post, propose, second, states, why};
use actors::notifiers::{Channel, NotifySetup, OpenChannel, SendError};
use engine::routing::Router;
use futures_util::future::BoxFuture;
use models::ids::AlertId;
use models::notice::Notice;
use models::ts::{DAY, HOUR, MINUTE, Ts};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use store::Clock as _;

/// Findings as the actors that run the rules store them.
pub struct Found {
    pub version: u32,
    pub mode: &'static str,
    pub player: &'static str,
    pub kind: &'static str,
    pub at: Ts,
}

async fn store_findings(node: &Node, found: &[Found]) {
    store_findings_of(node, "structured_deposits", found).await;
}

/// The same of any rule.
pub async fn store_findings_of(node: &Node, rule: &str, found: &[Found]) {
    static INPUTS: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);
    let no = node.engine.directory().operators.keys().next().copied().expect("an operator").0;
    for (n, Found { version, mode, player, kind, at }) in found.iter().enumerate() {
        // a finding is known by version, whom and window
        let whom = u128::from_str_radix(player, 16).expect("a digest");
        let id = AlertId(u128::from(*version) << 100 | u128::from(*mode == "live") << 99 | whom);
        let (start, end) = (at.floor_to(HOUR).0, at.floor_to(HOUR).0 + DAY);
        let body = json!({"rule": rule, "scope": {"operator": no}, "who": {"kind": "player", "id": player},
            "reasons": ["4 deposits"]});
        let input_seq = INPUTS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let values = format!(
            "'{id}', '{rule}', {version}, '{mode}', 0, {no}, {input_seq}, {start}, {end}, '{kind}', 'medium', {}, {n}, '{body}'",
            at.0
        );
        let sql = format!(
            "INSERT INTO rule_findings (finding_id, rule, version, mode, jurisdiction_no, operator_no, input_seq, window_start, window_end, kind, severity, at, seq, body) VALUES ({values})"
        );
        node.engine.store().execute_for_tests(&sql).await.expect("a finding");
    }
}

#[actix_web::test]
async fn what_a_version_found_stands_beside_what_the_live_one_found() {
    let clock = Arc::<AheadClock>::default();
    let node = Node::start_as(Setup { clock: clock.clone(), ..Setup::default() }).await;
    node.operator("acme").await;
    propose(&node, 4).await;
    let path = format!("{RULE}/versions/2/findings");
    let none = get(&node, &path).await;
    assert_eq!((&none["mode"], &none["raised"], &none["examples"]), (&json!("shadow"), &json!(0), &json!([])));
    does(&node, "/versions/2/shadow", &json!({"run": true, "note": "x"})).await;
    clock.go(2 * DAY);
    let at = |hours: i64| clock.now().plus(-hours * HOUR);
    let finding = |version, mode, player, kind, at| Found { version, mode, player, kind, at };
    let found = [
        finding(2, "shadow", "00000000000000000000aa", "raised", at(30)),
        finding(2, "shadow", "00000000000000000000aa", "corrected", at(29)),
        finding(2, "shadow", "00000000000000000000bb", "raised", at(3)),
        finding(2, "shadow", "00000000000000000000cc", "raised", at(3)),
        finding(2, "shadow", "00000000000000000000cc", "withdrawn", at(2)),
        finding(1, "live", "00000000000000000000aa", "raised", at(28)),
        finding(1, "live", "00000000000000000000dd", "raised", at(5)),
        // before both ran
        finding(1, "live", "00000000000000000000bb", "raised", at(60)),
    ];
    store_findings(&node, &found).await;
    let seen = get(&node, &path).await;
    assert_eq!(
        (&seen["raised"], &seen["severities"]["medium"], &seen["severities"]["high"]),
        (&json!(3), &json!(3), &json!(0))
    );
    let sum = |name: &str| {
        seen["days"].as_array().expect("days").iter().map(|day| day[name].as_u64().expect("a number")).sum::<u64>()
    };
    assert_eq!((sum("raised"), sum("corrected"), sum("withdrawn")), (3, 1, 1), "{seen}");
    assert_eq!((&seen["operators"][0]["operator_code"], &seen["operators"][0]["raised"]), (&json!("acme"), &json!(3)));
    let example = &seen["examples"][0];
    assert_eq!((&example["kind"], &example["finding"]["reasons"]), (&json!("withdrawn"), &json!(["4 deposits"])));
    assert_eq!(seen["examples"].as_array().map(Vec::len), Some(5));
    let beside = &seen["comparison"];
    assert_eq!(
        (&beside["only_here"], &beside["only_there"], &beside["both"]),
        (&json!(1), &json!(1), &json!(1)),
        "{beside}"
    );
    assert_eq!(beside["complete"], true);
    assert!(beside["hours"].as_f64().is_some_and(|hours| (48.0..48.1).contains(&hours)), "{beside}");
    // parts of it
    let newest = get(&node, &format!("{path}?limit=1&from={}", at(4))).await;
    assert_eq!((&newest["raised"], newest["examples"].as_array().map(Vec::len)), (&json!(2), Some(1)));
    let live = get(&node, &format!("{RULE}/versions/1/findings")).await;
    assert_eq!((&live["mode"], &live["raised"], &live["comparison"]), (&json!("live"), &json!(3), &Value::Null));
    // the catalogue counts them, too
    let rule = get(&node, RULE).await;
    assert_eq!(
        (&rule["live"]["hits"], &rule["shadow"]["hits"]),
        (&json!({"day": 1, "week": 3}), &json!({"day": 2, "week": 3}))
    );
    for wrong in ["?mode=off", "?limit=0", "?limit=21", "?from=yesterday", "?from=2026-01-01T00:00:00Z", "?colour=red"]
    {
        assert_eq!(node.call("GET", &format!("{path}{wrong}"), Some(&node.staff), "").await.status, 422, "{wrong}");
    }
    node.stop().await;
}

/// Takes every notice.
struct Takes;

impl Channel for Takes {
    fn send<'a>(&'a self, _: &'a Notice, _: Ts) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[actix_web::test]
async fn the_brake_takes_back_a_version_that_raises_far_more_than_it_did_in_the_shadow() {
    let clock = Arc::<AheadClock>::default();
    let channel = OpenChannel { name: "desk".to_owned(), kind: "fixed", per_minute: 600, channel: Arc::new(Takes) };
    let router = Router::new(&[], &["desk".to_owned()], &["desk"], &[]).expect("routes");
    let notify = NotifySetup { channels: vec![channel], router: Arc::new(router) };
    let node = Node::start_as(Setup { clock: clock.clone(), notify, ..Setup::default() }).await;
    let other = second(&node).await;
    node.operator("acme").await;
    propose(&node, 4).await;
    does(&node, "/versions/2/shadow", &json!({"run": true, "note": "x"})).await;
    clock.go(4 * DAY);
    let shadow = |n: i64| Found {
        version: 2,
        mode: "shadow",
        player: "00000000000000000000aa",
        kind: "raised",
        at: clock.now().plus(-n * HOUR),
    };
    store_findings(&node, &(1..9).map(|n| shadow(10 * n)).collect::<Vec<_>>()).await;
    let promoted = post(&node, &other, "/versions/2/promote", &why("x")).await.1;
    let forecast = &promoted["promoted"]["forecast"];
    assert_eq!(
        (&forecast["basis"], &forecast["findings"], &forecast["operator_hours"]),
        (&json!("shadow"), &json!(8), &json!(96))
    );
    assert_eq!(forecast["per_operator_day"], 2.0);
    assert!(forecast["upper_per_operator_day"].as_f64().is_some_and(|upper| (4.2..4.5).contains(&upper)), "{forecast}");

    let live = |n: i64| Found {
        version: 2,
        mode: "live",
        player: "00000000000000000000bb",
        kind: "raised",
        at: clock.now().plus(-n * MINUTE),
    };
    // as many as may be
    clock.go(2 * HOUR);
    store_findings(&node, &[live(1), live(2), live(3)]).await;
    assert_eq!(node.engine.look_at_promotions().await.expect("a look"), 0);
    assert_eq!(states(&node).await, "1 ended, 2 live");
    // a flood; the engine looks by itself, too
    store_findings(&node, &(0..40).map(|n| live(n % 50)).collect::<Vec<_>>()).await;
    node.engine.look_at_promotions().await.expect("a look");
    assert_eq!(states(&node).await, "1 live, 2 ended");
    let stopped = get(&node, &format!("{RULE}/versions/2")).await;
    let brake = &stopped["promoted"]["brake"];
    assert!(brake["findings"].as_u64().is_some_and(|findings| findings >= 10), "{stopped}");
    let change = get(&node, RULE).await["changes"][0].clone();
    assert_eq!(
        (&change["what"], &change["by"], &change["version"]),
        (&json!("rolled_back_by_the_brake"), &Value::Null, &json!(1))
    );
    assert!(change["note"].as_str().is_some_and(|note| note.contains("where at most")), "{change}");
    assert_eq!(node.engine.look_at_promotions().await.expect("a look"), 0, "once");
    let told = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let log = get(&node, "/api/v1/notifications").await;
            if let Some(item) = log["items"].as_array().and_then(|items| items.first()) {
                return item.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let told = told.await.expect("somebody is told").to_string();
    assert!(told.contains("structured_deposits: the brake stopped version 2"), "{told}");
    let metrics = node.call("GET", "/metrics", Some(&node.staff), "").await.text;
    assert!(metrics.contains("mlinzi_rule_brakes_total 1"), "{metrics}");
    // the journal knows it after a restart, too
    let node = node.restart_as(Setup { clock, ..Setup::default() }).await;
    assert_eq!(states(&node).await, "1 live, 2 ended");
    node.stop().await;
}

/// What a look at promoted versions shows of the rule, and the metric's line.
async fn below(node: &Node) -> (Value, String) {
    assert_eq!(node.engine.look_at_promotions().await.expect("a look"), 0);
    let metrics = node.call("GET", "/metrics", Some(&node.staff), "").await.text;
    let shown = metrics.lines().find(|line| line.starts_with("mlinzi_rules_below_forecast ")).map(str::to_owned);
    (get(node, RULE).await["live"]["below_forecast"].clone(), shown.expect("the metric"))
}

#[actix_web::test]
async fn a_version_that_falls_silent_is_shown_and_goes_on() {
    let clock = Arc::<AheadClock>::default();
    let node = Node::start_as(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let other = second(&node).await;
    node.operator("acme").await;
    propose(&node, 4).await;
    does(&node, "/versions/2/shadow", &json!({"run": true, "note": "x"})).await;
    clock.go(4 * DAY);
    let found = |mode: &'static str, player: &'static str, hours: i64| Found {
        version: 2,
        mode,
        player,
        kind: "raised",
        at: clock.now().plus(-hours * HOUR),
    };
    // fifteen a day
    store_findings(&node, &(1..61).map(|n| found("shadow", "00000000000000000000aa", n)).collect::<Vec<_>>()).await;
    post(&node, &other, "/versions/2/promote", &why("x")).await;
    assert_eq!(below(&node).await, (Value::Null, "mlinzi_rules_below_forecast 0".to_owned()), "it has just begun");
    clock.go(4 * DAY);
    let (silent, shown) = below(&node).await;
    assert_eq!((&silent["hours"], &silent["findings"]), (&json!(72), &json!(0)), "{silent}");
    assert!(silent["lower"].as_f64().is_some_and(|lower| (30.0..36.0).contains(&lower)), "{silent}");
    assert_eq!(shown, "mlinzi_rules_below_forecast 1");
    assert_eq!(states(&node).await, "1 ended, 2 live", "nobody stops it");
    // half as many as were expected may be chance
    store_findings(&node, &(1..21).map(|n| found("live", "00000000000000000000bb", 3 * n)).collect::<Vec<_>>()).await;
    assert_eq!(below(&node).await, (Value::Null, "mlinzi_rules_below_forecast 0".to_owned()));
    node.stop().await;
}

#[actix_web::test]
async fn without_a_shadow_the_forecast_is_that_of_the_version_before_or_nothing_is_known() {
    let clock = Arc::<AheadClock>::default();
    let node = Node::start_as(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let other = second(&node).await;
    propose(&node, 4).await;
    // nobody is watched: nothing to learn from, and the answer says so
    let promoted = post(&node, &other, "/versions/2/promote", &why("x")).await.1;
    let forecast = &promoted["promoted"]["forecast"];
    assert_eq!(
        (&forecast["basis"], &forecast["findings"], &forecast["upper_per_operator_day"]),
        (&json!("none"), &json!(0), &json!(0.0)),
        "{promoted}"
    );
    node.operator("acme").await;
    clock.go(DAY);
    let live = |n: i64| Found {
        version: 2,
        mode: "live",
        player: "00000000000000000000aa",
        kind: "raised",
        at: clock.now().plus(-n * MINUTE),
    };
    // so few never stop anything
    store_findings(&node, &(1..10).map(live).collect::<Vec<_>>()).await;
    assert_eq!(node.engine.look_at_promotions().await.expect("a look"), 0);
    propose(&node, 5).await;
    let promoted = post(&node, &other, "/versions/3/promote", &why("x")).await.1;
    let forecast = &promoted["promoted"]["forecast"];
    assert_eq!(
        (&forecast["basis"], &forecast["findings"], &forecast["operator_hours"]),
        (&json!("version_before"), &json!(9), &json!(24))
    );
    node.stop().await;
}
