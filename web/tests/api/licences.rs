//! Licences that the regulator enters, and operators that it suspends, while records go on.

use crate::live_rules::{known, tried, until};
use crate::node::{AheadClock, Key, Node, Operator, Setup};
use actors::feeds::FeedsConfig;
use futures_util::future::join_all;
use models::ids::OperatorNo;
use models::rule_input::RuleInput;
use models::ts::{DAY, HOUR, SECOND, Ts};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use store::{Clock, SystemClock};
use testkit::{Asked, Peer, Reply};

/// The node's only operator.
const NO: OperatorNo = OperatorNo(1);

fn licence(state: &str) -> Value {
    json!({"number": "BK 0001", "class": "online_betting", "products": ["sportsbook", "slots"], "state": state,
        "valid_from": "2026-01-01T00:00:00Z"})
}

/// With other fields, or more.
pub fn with(mut licence: Value, fields: &Value) -> Value {
    let (object, fields) = (licence.as_object_mut().expect("an object"), fields.as_object().expect("an object"));
    object.extend(fields.clone());
    licence
}

fn stake(id: &str, at: Ts) -> Value {
    json!({"record_id": id, "kind": "stake", "occurred_at": at.to_string(), "player": {"phone": "0712345678"},
        "money": {"amount_minor": 100, "currency": "KES"}, "product": "slots", "channel": "online"})
}

/// An instant behind everything that was entered until now.
fn later() -> Ts {
    SystemClock.now().plus(SECOND)
}

/// An instant before all of it.
fn earlier() -> Ts {
    SystemClock.now().plus(-HOUR)
}

async fn enter(node: &Node, operator: &Operator, licence: &Value) -> Value {
    let path = format!("/api/v1/operators/{}/licence", operator.id);
    let put = node.call("PUT", &path, Some(&node.staff), &licence.to_string()).await;
    assert_eq!(put.status, 200, "{}", put.text);
    put.json()
}

async fn set_state(node: &Node, operator: &Operator, state: &str) {
    let path = format!("/api/v1/operators/{}", operator.id);
    let body = json!({"state": state}).to_string();
    let set = node.call("PATCH", &path, Some(&node.staff), &body).await;
    assert_eq!((set.status, &set.json()["state"]), (200, &json!(state)), "{}", set.text);
}

async fn pushing(node: &Node, operator: &Operator) -> (Key, String) {
    let scopes = json!({"label": "k", "scopes": ["feeds:write", "feeds:manage"], "rate_per_second": 1000});
    let key = operator.key(node, scopes).await;
    let new = json!({"name": "bets", "class": "gaming_transactions", "clock": "event", "horizon_days": 30}).to_string();
    let made = node.call("POST", "/api/v1/feeds", Some(&key.bearer), &new).await;
    assert_eq!(made.status, 201, "{}", made.text);
    (key, format!("/api/v1/feeds/{}/records", made.json()["id"].as_str().expect("an id")))
}

async fn push(node: &Node, (key, path): &(Key, String), records: &[Value]) {
    let pushed = node.call("POST", path, Some(&key.bearer), &json!(records).to_string()).await;
    assert_eq!(pushed.json()["accepted"].as_u64(), Some(records.len() as u64), "{}", pushed.text);
}

async fn alerts(node: &Node, rule: &str) -> Vec<Value> {
    let listed = node.call("GET", &format!("/api/v1/alerts?rule={rule}"), Some(&node.staff), "").await;
    assert_eq!(listed.status, 200, "{}", listed.text);
    listed.json()["items"].as_array().cloned().expect("items")
}

async fn alert(node: &Node, rule: &str) -> Value {
    until(rule, async || alerts(node, rule).await.into_iter().next()).await
}

/// Waits until the operator's rules have heard of so many batches.
async fn heard(node: &Node, batches: i64) {
    let store = node.engine.store();
    until("a batch is heard", async || (store.rules_heard(NO).await.expect("a number") >= batches).then_some(())).await;
}

/// Inputs of the operator's rules that the regulator entered.
async fn entered(node: &Node) -> Vec<RuleInput> {
    let rows = node.engine.store().rule_inputs(NO, 0, 1_000).await.expect("inputs");
    let is_entered = |input: &RuleInput| matches!(input, RuleInput::Licence { .. } | RuleInput::OperatorState { .. });
    rows.into_iter().map(|row| row.input).filter(is_entered).collect()
}

#[actix_web::test]
async fn a_licence_that_is_revoked_is_heard_while_records_go_on() {
    let node = Node::start_as(known()).await;
    let operator = node.operator("acme").await;
    let source = pushing(&node, &operator).await;
    enter(&node, &operator, &licence("active")).await;
    push(&node, &source, &[stake("s1", earlier())]).await;
    heard(&node, 1).await;
    enter(&node, &operator, &licence("revoked")).await;
    let changed = alert(&node, "compliance_status_changed").await;
    assert_eq!(
        changed["evidence"]["reasons"],
        json!(["the licence was active and is revoked, as the regulator entered it"])
    );
    assert!(changed["who"].as_str().is_some_and(|who| who.starts_with("licence:")), "{changed:#}");
    assert!(alerts(&node, "licence_lapsed").await.is_empty(), "a bet of before");
    push(&node, &source, &[stake("s2", later())]).await;
    let lapsed = alert(&node, "licence_lapsed").await;
    assert_eq!((&lapsed["who"], &lapsed["operator_code"]), (&changed["who"], &json!("acme")));
    assert_eq!(lapsed["evidence"]["records"], json!(["s2"]));
    let reasons = json!(["1 bet of the day, taken after the licence was revoked"]);
    assert_eq!(lapsed["evidence"]["reasons"], reasons);

    // a start from the inputs alone says the same, and nothing twice; and so does one that tells what was told already
    for forget in ["DELETE FROM rule_states", "DELETE FROM store_meta WHERE key = 'licences_told'"] {
        node.engine.store().execute_for_tests(forget).await.expect("it is forgotten");
    }
    assert_eq!(entered(&node).await.len(), 2);
    let node = node.restart_as(known()).await;
    assert_eq!(entered(&node).await.len(), 3);
    push(&node, &source, &[stake("s3", later())]).await;
    heard(&node, 3).await;
    let again = until("a correction", async || {
        Some(alert(&node, "licence_lapsed").await).filter(|found| found["evidence"]["observed"] == 2)
    });
    assert_eq!(again.await["evidence"]["records"], json!(["s2", "s3"]));
    assert_eq!(alerts(&node, "licence_lapsed").await.len(), 1);
    assert_eq!(alerts(&node, "compliance_status_changed").await.len(), 1);
    let path = format!("/api/v1/alerts/{}", changed["id"].as_str().unwrap_or_default());
    let shown = node.call("GET", &path, Some(&node.staff), "").await.json();
    assert_eq!(shown["revisions"].as_array().map(Vec::len), Some(1), "{shown:#}");

    // active again: no bet more is found
    enter(&node, &operator, &licence("active")).await;
    push(&node, &source, &[stake("s4", later())]).await;
    heard(&node, 4).await;
    let changes =
        until("news", async || Some(alerts(&node, "compliance_status_changed").await).filter(|all| all.len() == 2));
    changes.await;
    assert_eq!(alert(&node, "licence_lapsed").await["evidence"]["observed"], json!(2));
    node.stop().await;
}

#[actix_web::test]
async fn rules_order_entries_as_the_store_does() {
    let clock = Arc::<AheadClock>::default();
    let node = Node::start_as(Setup { clock: clock.clone(), ..known() }).await;
    let operator = node.operator("acme").await;
    let source = pushing(&node, &operator).await;
    let in_order = async |entries: usize| {
        let mut entered = entered(&node).await;
        let times: Vec<Ts> = entered.iter().filter_map(RuleInput::at).collect();
        assert!(times.len() == entries && times.is_sorted(), "{times:?}");
        entered.pop().expect("an entry")
    };
    // many at once: what rules heard last is what is stored
    let many: Vec<Value> = (0..16).map(|n| licence(if n % 2 == 0 { "active" } else { "suspended" })).collect();
    join_all(many.iter().map(|licence| enter(&node, &operator, licence))).await;
    let RuleInput::Licence { licence: last, .. } = in_order(16).await else { panic!("no licence") };
    let path = format!("/api/v1/operators/{}/licence", operator.id);
    let listed = node.call("GET", &path, Some(&node.staff), "").await.json();
    assert_eq!(listed["items"][0]["state"], json!(last.state));
    // the clock is set back between any two entries
    for state in ["suspended", "active"] {
        set_state(&node, &operator, state).await;
        clock.go(-SECOND / 2);
    }
    for state in ["active", "suspended", "active", "revoked"] {
        enter(&node, &operator, &licence(state)).await;
        clock.go(-SECOND / 2);
    }
    in_order(22).await;
    push(&node, &source, &[stake("s1", later())]).await;
    let lapsed = alert(&node, "licence_lapsed").await;
    let reasons = json!(["1 bet of the day, taken after the licence was revoked"]);
    assert_eq!(lapsed["evidence"]["reasons"], reasons);
    node.stop().await;
}

#[actix_web::test]
async fn what_a_suspended_operator_still_sends_is_found() {
    let setup = || {
        let feeds = FeedsConfig { allow_private_addresses: true, chance: Arc::new(|| 0.5), ..FeedsConfig::default() };
        Setup { feeds, ..known() }
    };
    let node = Node::start_as(setup()).await;
    let operator = node.operator("acme").await;
    let key = operator.key(&node, json!({"label": "k", "scopes": ["feeds:write"]})).await;
    let bets = Arc::new(Mutex::new(format!("{}\n", stake("s1", earlier()))));
    let served = Arc::clone(&bets);
    let peer = Peer::start(move |_: &Asked| Reply::ok(served.lock().expect("not poisoned").clone())).await;
    let new = json!({"operator": operator.id, "name": "bets", "class": "gaming_transactions", "clock": "event",
        "horizon_days": 30, "kind": "http_poll", "reader": {"url": peer.url("/bets")}, "schedule": {"every_seconds": 1}});
    let made = node.call("POST", "/api/v1/feeds", Some(&node.staff), &new.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let more = |id: &str, at: Ts| {
        let line = format!("{}\n", stake(id, at));
        bets.lock().expect("not poisoned").push_str(&line);
    };
    heard(&node, 1).await;
    set_state(&node, &operator, "suspended").await;
    let refused = node.call("GET", &format!("/api/v1/operators/{}", operator.id), Some(&key.bearer), "").await;
    assert_eq!(refused.json()["type"], "urn:mlinzi:problem:operator_not_active");
    more("s2", later());
    let lapsed = alert(&node, "licence_lapsed").await;
    assert_eq!(lapsed["evidence"]["records"], json!(["s2"]));
    let reasons = json!(["1 bet of the day, taken while the operator is suspended"]);
    assert_eq!((&lapsed["evidence"]["reasons"], &lapsed["who"]), (&reasons, &Value::Null), "the operator itself");
    let changed = alert(&node, "compliance_status_changed").await;
    let reasons = json!(["the operator was active and is suspended, as the regulator entered it"]);
    assert_eq!(changed["evidence"]["reasons"], reasons);

    // another name is no other state; and it may trade again
    let path = format!("/api/v1/operators/{}", operator.id);
    let named = node.call("PATCH", &path, Some(&node.staff), r#"{"name": "Acme Bets"}"#).await;
    assert_eq!(named.status, 200, "{}", named.text);
    set_state(&node, &operator, "active").await;
    let inputs = entered(&node).await;
    assert_eq!(inputs.len(), 2, "{inputs:?}");
    let batches = node.engine.store().rules_heard(NO).await.expect("a number");
    more("s3", later());
    heard(&node, batches + 1).await;
    until("news", async || Some(alerts(&node, "compliance_status_changed").await).filter(|all| all.len() == 2)).await;
    let lapsed = alerts(&node, "licence_lapsed").await;
    assert_eq!((lapsed.len(), &lapsed[0]["evidence"]["observed"]), (1, &json!(1)));
    node.stop().await;
}

#[actix_web::test]
async fn what_was_entered_before_rules_listened_is_told_once() {
    let node = Node::start_as(known()).await;
    let operator = node.operator("acme").await;
    let source = pushing(&node, &operator).await;
    enter(&node, &operator, &licence("active")).await;
    enter(&node, &operator, &with(licence("active"), &json!({"number": "BK 0002", "products": ["lottery"]}))).await;
    enter(&node, &operator, &licence("revoked")).await;
    // as a version of before has left it
    for forget in ["rule_inputs", "rule_states", "store_meta WHERE key = 'licences_told'"] {
        node.engine.store().execute_for_tests(&format!("DELETE FROM {forget}")).await.expect("it is forgotten");
    }
    let node = node.restart_as(known()).await;
    let told = entered(&node).await;
    let numbers: Vec<_> = told
        .iter()
        .map(|input| match input {
            RuleInput::Licence { licence, .. } => (licence.number.as_str(), licence.state),
            other => panic!("{other:?}"),
        })
        .collect();
    use models::operator::LicenceState::{Active, Revoked};
    assert_eq!(numbers, [("BK 0002", Active), ("BK 0001", Revoked)], "as they hold, in their order");
    push(&node, &source, &[stake("s1", later())]).await;
    let lapsed = alert(&node, "licence_lapsed").await;
    assert_eq!(lapsed["evidence"]["reasons"], json!(["1 bet of the day, taken after the licence was revoked"]));
    // a suspended operator, too; the next start tells nothing more
    set_state(&node, &operator, "suspended").await;
    let forget = "DELETE FROM store_meta WHERE key = 'licences_told'";
    assert_eq!(node.engine.store().execute_for_tests(forget).await.expect("it is forgotten"), 1);
    let node = node.restart_as(known()).await;
    let all = entered(&node).await;
    let states = all.iter().filter(|input| matches!(input, RuleInput::OperatorState { .. })).count();
    assert_eq!((all.len(), states), (2 + 1 + 3, 2));
    let node = node.restart_as(known()).await;
    assert_eq!(entered(&node).await, all);
    node.stop().await;
}

#[actix_web::test]
async fn a_licence_says_channels_and_returns_and_wrong_ones_are_refused() {
    let node = Node::start_as(known()).await;
    let operator = node.operator("acme").await;
    let path = format!("/api/v1/operators/{}/licence", operator.id);
    let table = [
        (json!({"channels": ["pigeon"]}), "/channels/0"),
        (json!({"channels": ["online", "Retail"]}), "/channels/1"),
        (json!({"channels": ["online", "retail", "ussd", "online"]}), "/channels"),
        (json!({"return_to_player": {"bingo": {"return_ppm": 940_000}}}), "/return_to_player"),
        (json!({"return_to_player": {"slots": {}}}), "/return_to_player/slots/return_ppm"),
        // per cent
        (json!({"return_to_player": {"slots": {"return_ppm": 94}}}), "/return_to_player/slots/return_ppm"),
        (json!({"return_to_player": {"slots": {"return_ppm": 1_000_001}}}), "/return_to_player/slots/return_ppm"),
        (json!({"return_to_player": {"slots": {"return_ppm": -940_000}}}), "/return_to_player/slots/return_ppm"),
        (
            json!({"return_to_player": {"slots": {"return_ppm": 940_000, "multiple_max": 0}}}),
            "/return_to_player/slots/multiple_max",
        ),
    ];
    for (fields, pointer) in table {
        let body = with(licence("active"), &fields).to_string();
        let refused = node.call("PUT", &path, Some(&node.staff), &body).await;
        let errors = refused.json()["errors"].as_array().cloned().unwrap_or_default();
        assert!(errors.iter().any(|error| error["pointer"] == pointer), "{fields}: {}", refused.text);
        assert_eq!(refused.status, 422, "{fields}");
    }
    for fields in [json!({"channels": "online"}), json!({"return_to_player": {"slots": 940_000}})] {
        let body = with(licence("active"), &fields).to_string();
        assert_eq!(node.call("PUT", &path, Some(&node.staff), &body).await.status, 400, "{fields}");
    }
    assert_eq!(entered(&node).await, [], "nothing of it is told");
    let says = json!({"channels": ["online"], "return_to_player": {
        "slots": {"return_ppm": 940_000, "multiple_max": 10}, "sportsbook": {"return_ppm": 910_000, "multiple_max": null}}});
    let put = enter(&node, &operator, &with(licence("active"), &says)).await;
    let listed = node.call("GET", &path, Some(&node.staff), "").await.json();
    for shown in [&put, &listed["items"][0]] {
        assert_eq!((&shown["channels"], &shown["return_to_player"]), (&says["channels"], &says["return_to_player"]));
    }
    let source = pushing(&node, &operator).await;
    let retail = with(stake("s1", later()), &json!({"channel": "retail"}));
    push(&node, &source, &[retail, stake("s2", later())]).await;
    let lapsed = alert(&node, "licence_lapsed").await;
    let reasons = json!(["1 bet of the day, taken over retail, a channel that no licence for the product names"]);
    assert_eq!((&lapsed["evidence"]["reasons"], &lapsed["evidence"]["records"]), (&reasons, &json!(["s1"])));
    // under the same key it is entered, and told, once
    let request = || {
        let request = node.request("PUT", &path, Some(&node.staff)).header("idempotency-key", "l-1");
        request.header("content-type", "application/json").body(licence("suspended").to_string())
    };
    let before = entered(&node).await.len();
    let (first, second) = (node.send(request()).await, node.send(request()).await);
    assert_eq!((first.status, first.text), (second.status, second.text));
    assert_eq!(entered(&node).await.len(), before + 1);
    node.stop().await;
}

#[actix_web::test]
async fn what_a_product_gives_back_is_held_against_the_licence() {
    let clock = Arc::<AheadClock>::default();
    let day = |n: i64| SystemClock.now().plus(n * DAY).floor_to(DAY);
    clock.go(-4 * DAY);
    let node = Node::start_as(Setup { clock: clock.clone(), ..known() }).await;
    let operator = node.operator("acme").await;
    let source = pushing(&node, &operator).await;
    let says = json!({"return_to_player": {"slots": {"return_ppm": 940_000, "multiple_max": 10}}});
    enter(&node, &operator, &with(licence("active"), &says)).await;
    clock.go(4 * DAY);
    // a day of 4,000 bets of 100, of which one in ten wins 500; then the first bet of the next one
    let mut records = Vec::new();
    for n in 0..4_000 {
        let at = day(-3).plus(n * 10 * SECOND);
        records.push(stake(&format!("s{n}"), at));
        if n % 10 == 0 {
            let won = json!({"kind": "payout", "money": {"amount_minor": 500, "currency": "KES"}});
            records.push(with(stake(&format!("p{n}"), at.plus(SECOND)), &won));
        }
    }
    push(&node, &source, &records).await;
    push(&node, &source, &[stake("last", day(-1))]).await;
    let found = alert(&node, "return_to_player_off").await;
    assert_eq!(
        (&found["evidence"]["observed"], &found["evidence"]["expected"], &found["evidence"]["unit"]),
        (&json!(500_000), &json!(940_000), &json!("ppm")),
        "{found:#}"
    );
    let reason = found["evidence"]["reasons"][0].as_str().unwrap_or_default();
    assert!(reason.contains("its licence BK 0001 says 94.00 %"), "{reason}");
    node.stop().await;
}

#[actix_web::test]
async fn a_backtest_knows_what_was_entered_long_before_its_span() {
    let clock = Arc::<AheadClock>::default();
    clock.go(-120 * DAY);
    let node = Node::start_as(Setup { clock: clock.clone(), ..known() }).await;
    let operator = node.operator("acme").await;
    let source = pushing(&node, &operator).await;
    enter(&node, &operator, &licence("revoked")).await;
    clock.go(120 * DAY);
    until("the register is fresh again", async || {
        (node.call("GET", "/health/ready", None, "").await.status == 200).then_some(())
    })
    .await;
    let at = earlier();
    push(&node, &source, &[stake("s1", at), stake("s2", at.plus(SECOND))]).await;
    alert(&node, "licence_lapsed").await;
    let versions = "/api/v1/rules/licence_lapsed/versions";
    let body = json!({"parameters": {"bets_min": 2}, "note": "one may be a slip"}).to_string();
    let proposed = node.call("POST", versions, Some(&node.staff), &body).await;
    assert_eq!(proposed.status, 201, "{}", proposed.text);
    let span = json!({"from": at.floor_to(HOUR).to_string(), "to": at.floor_to(HOUR).plus(HOUR).to_string()});
    let shown = tried(&node, &format!("{versions}/2/backtests"), &span).await;
    let result = &shown["result"];
    assert_eq!((&result["records"], &result["both"]), (&json!(2), &json!(1)), "{shown:#}");
    node.stop().await;
}
