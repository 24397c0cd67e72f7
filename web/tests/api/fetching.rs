//! Sources that fetch by themselves, against real peers and folders.
#![allow(clippy::needless_pass_by_value)] // settings are written where they are used

use crate::node::{Node, Operator, Setup};
use actors::engine::Faults;
use actors::feeds::{Credential, Credentials, FeedsConfig};
use models::record::Record;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::{Asked, Peer, Reply};

const PATIENCE: Duration = Duration::from_secs(30);

/// Half of each span: the tests need no spreading, but no edge either.
fn open(root: Option<PathBuf>) -> FeedsConfig {
    FeedsConfig { allow_private_addresses: true, folder_root: root, chance: Arc::new(|| 0.5), ..FeedsConfig::default() }
}

fn setup() -> Setup {
    Setup { feeds: open(None), ..Setup::default() }
}

fn record(id: &str) -> String {
    json!({"record_id": id, "kind": "stake", "occurred_at": "2026-11-01T10:00:00Z", "money": {"amount_minor": 100, "currency": "KES"}}).to_string()
}

fn lines(ids: impl IntoIterator<Item = String>) -> String {
    ids.into_iter().map(|id| record(&id) + "\n").collect()
}

fn new(operator: &Operator, url: &str, fields: Value) -> Value {
    let mut new = json!({"operator": operator.id, "name": "bets", "class": "gaming_transactions", "clock": "event", "horizon_days": 30,
        "kind": "http_poll", "reader": {"url": url}, "schedule": {"every_seconds": 3600}});
    new.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    new
}

async fn create(node: &Node, new: &Value) -> String {
    let made = node.call("POST", "/api/v1/feeds", Some(&node.staff), &new.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    format!("/api/v1/feeds/{}", made.json()["id"].as_str().expect("an id"))
}

/// The source once it is as wanted.
async fn until(node: &Node, source: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut seen = Value::Null;
    let looked = async {
        loop {
            seen = node.call("GET", source, Some(&node.staff), "").await.json();
            if wanted(&seen) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let came = tokio::time::timeout(PATIENCE, looked).await;
    assert!(came.is_ok(), "never as wanted: {seen:#}");
    seen
}

async fn fetch_again(node: &Node, source: &str) {
    let sent = node.call("POST", &format!("{source}/fetch"), Some(&node.staff), "").await;
    assert_eq!(sent.status, 202, "{}", sent.text);
}

async fn quarantined(node: &Node, source: &str) -> Vec<String> {
    let list = node.call("GET", &format!("{source}/quarantine"), Some(&node.staff), "").await.json();
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item["code"].as_str().unwrap_or_default().to_owned()).collect()
}

#[actix_web::test]
async fn an_address_is_fetched_by_schedule_and_everything_is_shown() {
    let node = Node::start_as(setup()).await;
    let operator = node.operator("alpha").await;
    let peer = Peer::start(|asked: &Asked| match asked.header("if-none-match") {
        None => Reply::ok(lines(["a".to_owned(), "b".to_owned()]) + "{broken\n").with("ETag", "\"1\""),
        Some(_) => Reply::status(304),
    })
    .await;
    let source = create(&node, &new(&operator, &peer.url("/bets"), json!({"schedule": {"every_seconds": 1}}))).await;
    let seen = until(&node, &source, |s| s["records"] == 2 && s["position"].is_string()).await;
    assert_eq!(
        (&seen["kind"], &seen["breaker"], &seen["failures"]),
        (&json!("http_poll"), &json!("closed"), &json!(0))
    );
    assert_eq!((&seen["quarantined"], &seen["last_error"], &seen["paused"]), (&json!(1), &Value::Null, &json!(false)));
    assert_eq!(quarantined(&node, &source).await, ["unreadable"]);
    // and again by itself
    let first = seen["last_fetch_at"].clone();
    until(&node, &source, |s| s["last_fetch_at"] != first && peer.asked().len() >= 2).await;

    let key = operator.key(&node, json!({"label": "k", "scopes": ["feeds:write"]})).await;
    let push = node.call("POST", &format!("{source}/records"), Some(&key.bearer), &record("c")).await;
    assert_eq!(push.status, 409, "{}", push.text);
    let paused = node.call("PATCH", &source, Some(&node.staff), r#"{"paused":true}"#).await;
    assert_eq!(
        (paused.status, &paused.json()["paused"], &paused.json()["next_due"]),
        (200, &json!(true), &Value::Null)
    );
    let refused = node.call("POST", &format!("{source}/fetch"), Some(&node.staff), "").await;
    assert_eq!(refused.status, 409);
    let change = json!({"paused": false, "schedule": {"daily_at": "03:00", "time_zone": "Africa/Nairobi"}}).to_string();
    let changed = node.call("PATCH", &source, Some(&node.staff), &change).await;
    assert_eq!((changed.status, &changed.json()["schedule"]["daily_at"]), (200, &json!("03:00")), "{}", changed.text);
    node.stop().await;
}

#[actix_web::test]
async fn what_cannot_be_fetched_is_refused_field_by_field() {
    let root = testkit::temp_dir();
    let node = Node::start_as(Setup {
        feeds: FeedsConfig { allow_private_addresses: false, ..open(Some(root.path().into())) },
        ..Setup::default()
    })
    .await;
    let operator = node.operator("alpha").await;
    let url = "https://api.example/bets";
    let mapping = include_str!("../../../config/feeds/bustabit.toml");
    let table = [
        (json!({"reader": null}), "/reader"),
        (json!({"reader": {"url": 3}}), "/reader"),
        (json!({"reader": {"url": url, "secret": "x"}}), "/reader"),
        (json!({"reader": {"url": "ftp://x"}}), "/reader/url"),
        (json!({"reader": {"url": "http://127.0.0.1/"}}), "/reader"),
        (json!({"reader": {"url": url, "headers": {"x-key": "nobody"}}}), "/reader"),
        (json!({"reader": {"url": url, "format": "csv"}}), "/mapping"),
        (json!({"mapping": "name = 3"}), "/mapping"),
        // of another operator
        (json!({"mapping": mapping}), "/mapping"),
        (json!({"schedule": {"every_seconds": 0}}), "/schedule"),
        (json!({"schedule": {"hourly": true}}), "/schedule"),
        (json!({"schedule": {"daily_at": "25:00", "time_zone": "Africa/Nairobi"}}), "/schedule"),
        (json!({"kind": "pigeon"}), "/kind"),
        (json!({"kind": "push"}), "/reader"),
        (json!({"kind": "folder", "reader": {"path": "../etc"}}), "/reader/path"),
    ];
    for (fields, pointer) in table {
        let body = new(&operator, url, fields.clone()).to_string();
        let refused = node.call("POST", "/api/v1/feeds", Some(&node.staff), &body).await;
        let pointers: Vec<Value> =
            refused.json()["errors"].as_array().into_iter().flatten().map(|e| e["pointer"].clone()).collect();
        assert_eq!((refused.status, pointers.contains(&json!(pointer))), (422, true), "{fields}: {}", refused.text);
    }
    // an operator's key would send the engine, and its credentials, wherever it likes
    let key = operator.key(&node, json!({"label": "k", "scopes": ["feeds:manage"]})).await;
    let mut own = new(&operator, url, json!({}));
    own.as_object_mut().expect("an object").remove("operator");
    let refused = node.call("POST", "/api/v1/feeds", Some(&key.bearer), &own.to_string()).await;
    assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (422, &json!("/kind")), "{}", refused.text);
    // the same settings again are the same source; others are a conflict
    let body = new(&operator, url, json!({})).to_string();
    let calls = [201, 200].map(|status| (status, body.clone()));
    for (status, body) in calls {
        assert_eq!(node.call("POST", "/api/v1/feeds", Some(&node.staff), &body).await.status, status);
    }
    let other = new(&operator, url, json!({"schedule": {"every_seconds": 5}})).to_string();
    assert_eq!(node.call("POST", "/api/v1/feeds", Some(&node.staff), &other).await.status, 409);
    node.stop().await;
}

/// A fetch that is answered with 304 stores nothing: a start must not take the source for silent since its last batch.
#[actix_web::test]
async fn a_source_with_nothing_new_is_as_fresh_after_a_start_as_before() {
    let node = Node::start_as(setup()).await;
    let operator = node.operator("alpha").await;
    let gone = Arc::new(AtomicBool::new(false));
    let is_gone = Arc::clone(&gone);
    let peer = Peer::start(move |asked: &Asked| match asked.header("if-none-match") {
        _ if is_gone.load(Ordering::Relaxed) => Reply::Silence,
        None => Reply::ok(lines(["a".to_owned()])).with("ETag", "\"1\""),
        Some(_) => Reply::status(304),
    })
    .await;
    let source = create(&node, &new(&operator, &peer.url("/bets"), json!({"schedule": {"every_seconds": 1}}))).await;
    let stored = until(&node, &source, |s| s["records"] == 1).await["last_success_at"].clone();
    until(&node, &source, |s| s["last_success_at"] != stored && peer.asked().len() > 2).await;
    gone.store(true, Ordering::Relaxed);
    let seen = node.call("GET", &source, Some(&node.staff), "").await.json()["last_success_at"].clone();
    let node = node.restart_as(setup()).await;
    let again = until(&node, &source, |s| s["last_success_at"].is_string()).await["last_success_at"].clone();
    assert!(again.as_str() >= seen.as_str(), "{again} and {seen} before, {stored} when it stored something");
    node.stop().await;
}

#[actix_web::test]
async fn a_source_that_fails_is_left_alone_and_found_again() {
    let node = Node::start_as(setup()).await;
    let operator = node.operator("alpha").await;
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let peer = Peer::start(move |_| match is_broken.load(Ordering::Relaxed) {
        true => Reply::status(500),
        false => Reply::ok(lines(["a".to_owned()])),
    })
    .await;
    let source = create(&node, &new(&operator, &peer.url("/bets"), json!({"schedule": {"every_seconds": 1}}))).await;
    let seen = until(&node, &source, |s| s["breaker"] == "open").await;
    assert_eq!((&seen["failures"], &seen["last_error"]), (&json!(5), &json!("refused: status 500")));
    assert_eq!(peer.asked().len(), 5);
    broken.store(false, Ordering::Relaxed);
    fetch_again(&node, &source).await;
    let seen = until(&node, &source, |s| s["records"] == 1 && s["breaker"] == "closed").await;
    assert_eq!(
        (&seen["failures"], &seen["last_error"], &seen["freshness"]),
        (&json!(0), &Value::Null, &json!("fresh"))
    );
    node.stop().await;
}

#[actix_web::test]
async fn a_peer_that_says_nothing_holds_up_neither_others_nor_the_end() {
    let node = Node::start_as(setup()).await;
    let operator = node.operator("alpha").await;
    let silent = Peer::start(|_| Reply::Silence).await;
    let sound = Peer::start(|_| Reply::ok(lines(["a".to_owned()]))).await;
    let often = json!({"name": "sound", "schedule": {"every_seconds": 1}});
    let waiting = create(&node, &new(&operator, &silent.url("/"), json!({}))).await;
    until(&node, &waiting, |_| !silent.asked().is_empty()).await;
    // all actors of this node live on one thread
    let source = create(&node, &new(&operator, &sound.url("/"), often)).await;
    until(&node, &source, |s| s["duplicates"].as_u64() >= Some(2)).await;
    let seen = node.call("GET", &waiting, Some(&node.staff), "").await.json();
    assert_eq!((&seen["failures"], &seen["freshness"]), (&json!(0), &json!("never")), "it still waits");
    // which fails where a queue is not drained within 5 s
    node.stop().await;
}

#[actix_web::test]
async fn another_mapping_holds_from_the_next_fetch_on() {
    let node = Node::start_as(setup()).await;
    let operator = node.operator("alpha").await;
    let peer =
        Peer::start(|_| Reply::ok("{\"id\":1,\"brand\":\"Alpha\",\"when\":\"01/11/2026 10:00\",\"stake\":1}\n")).await;
    let source = create(&node, &new(&operator, &peer.url("/"), json!({"mapping": MAPPING}))).await;
    until(&node, &source, |s| s["quarantined"] == 1).await;
    let refused = node.call("PATCH", &source, Some(&node.staff), &json!({"mapping": "name = 1"}).to_string()).await;
    assert_eq!(
        (refused.status, &refused.json()["errors"][0]["pointer"]),
        (422, &json!("/mapping")),
        "{}",
        refused.text
    );
    let change = json!({"mapping": MAPPING.replace("money.stake", "stake")}).to_string();
    assert_eq!(node.call("PATCH", &source, Some(&node.staff), &change).await.status, 200);
    fetch_again(&node, &source).await;
    until(&node, &source, |s| s["records"] == 1).await;
    node.stop().await;
}

#[actix_web::test]
async fn what_is_expected_follows_the_schedule_unless_somebody_has_said_otherwise() {
    let node = Node::start_as(setup()).await;
    let operator = node.operator("alpha").await;
    let peer = Peer::start(|_| Reply::ok(lines(["a".to_owned()]))).await;
    let made = |name: &str, expected: Option<u32>| {
        let fields = json!({"name": name, "expected_interval_seconds": expected, "schedule": {"every_seconds": 600}});
        new(&operator, &peer.url("/bets"), fields)
    };
    let (derived, named) = (made("derived", None), made("named", Some(900)));
    let (derived, named) = (create(&node, &derived).await, create(&node, &named).await);
    let daily = json!({"daily_at": "03:00", "time_zone": "Africa/Nairobi", "jitter_seconds": 60});
    let table = [
        // once a day is not dead after four hours
        (&derived, json!({"schedule": daily}), 86_460),
        (&derived, json!({"paused": false}), 86_460),
        (&derived, json!({"schedule": {"every_seconds": 30}, "expected_interval_seconds": 45}), 45),
        (&derived, json!({"schedule": {"every_seconds": 60}}), 45),
        (&named, json!({"schedule": daily}), 900),
        (&named, json!({"expected_interval_seconds": 90_000}), 90_000),
    ];
    for (source, change, expected) in table {
        let changed = node.call("PATCH", source, Some(&node.staff), &change.to_string()).await;
        let got = (changed.status, changed.json()["expected_interval_seconds"].as_u64());
        assert_eq!(got, (200, Some(expected)), "{change}: {}", changed.text);
    }
    let refused = node.call("PATCH", &named, Some(&node.staff), r#"{"expected_interval_seconds":0}"#).await;
    assert_eq!(refused.json()["errors"][0]["pointer"], "/expected_interval_seconds", "{}", refused.text);
    node.stop().await;
}

#[actix_web::test]
async fn what_delivers_nothing_is_no_success() {
    let node = Node::start_as(setup()).await;
    let operator = node.operator("alpha").await;
    let text = Arc::new(Mutex::new("{broken\n".to_owned()));
    let said = Arc::clone(&text);
    let peer = Peer::start(move |_| Reply::ok(said.lock().expect("a text").clone())).await;
    let source = create(&node, &new(&operator, &peer.url("/bets"), json!({}))).await;
    let idle = |s: &Value, fetches: usize| s["last_fetch_at"].is_string() && peer.asked().len() == fetches;
    let seen = until(&node, &source, |s| s["quarantined"] == 1 && idle(s, 1)).await;
    assert_eq!((&seen["last_success_at"], &seen["freshness"]), (&Value::Null, &json!("never")));
    // neither is it one to begin anew, nor to be refused what is known to be refused
    let sent = node.call("POST", &format!("{source}/fetch?from=beginning"), Some(&node.staff), "").await;
    assert_eq!(sent.status, 202, "{}", sent.text);
    until(&node, &source, |s| idle(s, 2)).await;
    let node = node.restart_as(setup()).await;
    let seen = until(&node, &source, |s| s["freshness"].is_string()).await;
    assert_eq!((&seen["last_success_at"], &seen["quarantined"]), (&Value::Null, &json!(1)));
    // that there is nothing is an answer
    *text.lock().expect("a text") = String::new();
    fetch_again(&node, &source).await;
    until(&node, &source, |s| s["last_success_at"].is_string()).await;
    node.stop().await;
}

#[actix_web::test]
async fn a_push_of_which_everything_is_refused_is_no_success() {
    let node = Node::start_as(setup()).await;
    let operator = node.operator("alpha").await;
    let made = json!({"operator": operator.id, "name": "bets", "class": "gaming_transactions", "clock": "event"});
    let source = create(&node, &made).await;
    let key = operator.key(&node, json!({"label": "k", "scopes": ["feeds:write"]})).await;
    let success = async |body: &str| {
        let pushed = node.call("POST", &format!("{source}/records"), Some(&key.bearer), body).await;
        assert_eq!(pushed.status, 200, "{}", pushed.text);
        node.call("GET", &source, Some(&node.staff), "").await.json()["last_success_at"].clone()
    };
    assert_eq!(success(r#"{"record_id":"a"}"#).await, Value::Null);
    let stored = success(&record("a")).await;
    assert!(stored.is_string());
    assert_eq!(success(r#"{"record_id":"b"}"#).await, stored);
    assert_ne!(success(&record("a")).await, stored, "what is known was delivered");
    node.stop().await;
}

#[actix_web::test]
async fn an_operator_cannot_end_what_the_regulator_fetches_and_whoever_pauses_it_is_named() {
    let node = Node::start_as(setup()).await;
    let operator = node.operator("alpha").await;
    let peer = Peer::start(|_| Reply::ok(lines(["a".to_owned()]))).await;
    let source = create(&node, &new(&operator, &peer.url("/bets"), json!({}))).await;
    until(&node, &source, |s| s["records"] == 1).await;
    let key = operator.key(&node, json!({"label": "k", "scopes": ["feeds:manage"]})).await;
    let patch = async |bearer: &str, change: &str| node.call("PATCH", &source, Some(bearer), change).await;
    for change in [r#"{"paused":true}"#, r#"{"paused":false}"#, r#"{"schedule":{"every_seconds":9}}"#, "{}"] {
        let refused = patch(&key.bearer, change).await;
        assert_eq!(refused.status, 403, "{change}: {}", refused.text);
        assert_eq!(refused.json()["detail"], "only staff changes sources", "and for no other reason");
    }
    assert_eq!(node.call("GET", &source, Some(&key.bearer), "").await.json()["paused"], false);
    let paused = patch(&node.staff, r#"{"paused":true}"#).await;
    assert_eq!((paused.status, &paused.json()["paused"]), (200, &json!(true)), "{}", paused.text);
    let journal = node.journaled("source_set").await;
    let by: Vec<_> = journal.iter().map(|set| (set["by"].as_str(), set["paused"].as_bool())).collect();
    assert_eq!(by.len(), 2);
    assert_eq!(by[0], (None, None), "made, and not paused");
    let (key, paused) = by[1];
    let digits = key.and_then(|key| key.split('_').next_back()).expect("a key");
    assert!(node.staff.contains(digits) && paused == Some(true), "{by:?}");
    node.stop().await;
}

#[actix_web::test]
async fn a_record_that_crashes_its_source_is_set_aside_and_the_page_is_stored() {
    let panics = |record: &Record| assert!(!record.record_id.starts_with("poison"), "an injected fault");
    let faults = Faults { sources: Some(Arc::new(panics)), ..Faults::default() };
    let node = Node::start_as(Setup { faults, ..setup() }).await;
    let operator = node.operator("alpha").await;
    let peer = Peer::start(|asked: &Asked| match asked.path.as_str() {
        "/bets" => Reply::ok(lines(["a", "poison", "b"].map(str::to_owned))).with("Link", "</2>; rel=next"),
        _ => Reply::ok(lines(["c".to_owned()])),
    })
    .await;
    let fields = json!({"reader": {"url": peer.url("/bets"), "paging": {"by": "link_header"}}});
    let source = create(&node, &new(&operator, "", fields)).await;
    until(&node, &source, |s| s["records"] == 3 && s["failures"] == 0).await;
    assert_eq!(quarantined(&node, &source).await, ["dead_letter"]);
    assert_eq!(peer.asked().len(), 2, "the page is kept while its records are tried");
    node.stop().await;
}

#[actix_web::test]
async fn what_is_refused_is_quarantined_once_however_often_it_comes_and_after_a_start_too() {
    let faulty = || {
        let panics = |record: &Record| assert!(!record.record_id.starts_with("poison"), "an injected fault");
        Setup { faults: Faults { sources: Some(Arc::new(panics)), ..Faults::default() }, ..setup() }
    };
    let node = Node::start_as(faulty()).await;
    let operator = node.operator("alpha").await;
    let peer = Peer::start(|_| Reply::ok(lines(["a", "poison", "b"].map(str::to_owned)) + "{broken\n")).await;
    // it has no cursor: all of it comes every time
    let source = create(&node, &new(&operator, &peer.url("/bets"), json!({}))).await;
    until(&node, &source, |s| s["records"] == 2 && s["failures"] == 0).await;
    let codes = async |node: &Node| quarantined(node, &source).await.into_iter().collect::<BTreeSet<String>>();
    assert_eq!(codes(&node).await, BTreeSet::from(["dead_letter", "unreadable"].map(str::to_owned)));
    let again = async |node: &Node, duplicates: u64| {
        fetch_again(node, &source).await;
        let seen = until(node, &source, |s| s["duplicates"] == duplicates).await;
        assert_eq!((&seen["quarantined"], quarantined(node, &source).await.len()), (&json!(2), 2));
    };
    again(&node, 2).await;
    let node = node.restart_as(faulty()).await;
    again(&node, 2).await;
    node.stop().await;
}

const MAPPING: &str = r#"
name = "acme"
[source]
name = "bets"
class = "gaming_transactions"
clock = "event"
horizon_days = 30
expected_interval_seconds = 60
currency = "KES"
[file]
encoding = "utf-8"
delimiter = ";"
null = ["NULL", ""]
[operator]
column = "brand"
codes = { "Alpha" = "alpha", "Beta" = "beta" }
[time]
column = "when"
format = "%d/%m/%Y %H:%M"
zone = "Africa/Nairobi"
[numbers]
decimal = ","
scale = 2
[[record]]
id = "{id}"
kind = "stake"
amount = { plus = ["money.stake"] }
"#;

#[actix_web::test]
async fn a_bad_row_of_a_file_of_many_is_quarantined_once_and_at_its_own_operator() {
    let node = Node::start_as(setup()).await;
    let (alpha, beta) = (node.operator("alpha").await, node.operator("beta").await);
    let peer = Peer::start(|_| {
        Reply::ok(
            "id;brand;when;money.stake\n1;Alpha;01/11/2026 10:00;1,00\n2;Beta;01/11/2026 10:00;1,00\n\
             3;Alpha;yesterday;1,00\n4;Beta;01/11/2026 10:00;x\n5;Gamma;01/11/2026 10:00;1,00\n6;Beta\n",
        )
    })
    .await;
    let fields = json!({"mapping": MAPPING, "reader": {"url": peer.url("/all"), "format": "csv"}});
    let sources = [create(&node, &new(&alpha, "", fields.clone())).await, create(&node, &new(&beta, "", fields)).await];
    let mut found = Vec::new();
    for source in &sources {
        until(&node, source, |s| s["records"] == 1).await;
        let list = node.call("GET", &format!("{source}/quarantine"), Some(&node.staff), "").await.json();
        let items = list["items"].as_array().cloned().unwrap_or_default();
        found.push(items.iter().filter_map(|item| item["index"].as_u64()).collect::<BTreeSet<u64>>());
    }
    // nobody can say whose the last two are
    assert_eq!(found, [BTreeSet::from([2, 4, 5]), BTreeSet::from([3])]);
    node.stop().await;
}

#[actix_web::test]
async fn rows_and_objects_of_others_go_through_the_mapping() {
    let node = Node::start_as(setup()).await;
    let operator = node.operator("alpha").await;
    let peer = Peer::start(|asked: &Asked| match asked.path.as_str() {
        "/csv" => Reply::ok("id;brand;when;money.stake\n1;Alpha;01/11/2026 10:00;12,50\n2;Beta;01/11/2026 10:00;1,00\n3;Alpha;31/02/2026 10:00;1,00\n4;Alpha;01/11/2026 11:00;NULL\n"),
        _ => Reply::ok(r#"{"data":[{"id":11,"brand":"Alpha","when":"01/11/2026 10:00","money":{"stake":12.5}},{"id":12,"brand":"Alpha","when":"01/11/2026 10:00"},7]}"#),
    })
    .await;
    let csv = json!({"name": "csv", "mapping": MAPPING, "reader": {"url": peer.url("/csv"), "format": "csv"}});
    let json = json!({"name": "json", "mapping": MAPPING, "reader": {"url": peer.url("/json"), "format": "json", "items": "/data"}});
    let (csv, json) = (create(&node, &new(&operator, "", csv)).await, create(&node, &new(&operator, "", json)).await);
    for _ in 0..2 {
        // what is known is known, and a bad row is quarantined once, however often it comes
        let seen = until(&node, &csv, |s| s["records"] == 1).await;
        assert_eq!(seen["last_event_at"], "2026-11-01T07:00:00.000Z");
        until(&node, &json, |s| s["records"] == 1).await;
        let first = seen["last_fetch_at"].clone();
        fetch_again(&node, &csv).await;
        until(&node, &csv, |s| s["last_fetch_at"] != first && s["duplicates"] != 0).await;
    }
    let mut codes = quarantined(&node, &csv).await;
    codes.sort();
    assert_eq!(codes, ["invalid_field", "missing_field"]);
    let mut codes = quarantined(&node, &json).await;
    codes.sort();
    assert_eq!(codes, ["missing_field", "unreadable"]);
    node.stop().await;
}

#[actix_web::test]
async fn files_of_a_folder_are_stored_in_their_order_and_moved() {
    let root = testkit::temp_dir();
    let folder = root.path().join("acme");
    std::fs::create_dir(&folder).expect("a folder");
    let node = Node::start_as(Setup { feeds: open(Some(root.path().into())), ..Setup::default() }).await;
    let operator = node.operator("alpha").await;
    for n in 0..3 {
        // more than a batch may hold
        std::fs::write(folder.join(format!("{n}.ndjson")), lines((0..6_000).map(|i| format!("{n}-{i}"))))
            .expect("a file");
    }
    let fields = json!({"kind": "folder", "reader": {"path": "acme", "pattern": "*.ndjson", "done": "move"}, "schedule": {"every_seconds": 1}});
    let source = create(&node, &new(&operator, "", fields)).await;
    let seen = until(&node, &source, |s| s["records"] == 18_000).await;
    assert_eq!((&seen["duplicates"], &seen["quarantined"]), (&json!(0), &json!(0)));
    until(&node, &source, |_| !folder.join("2.ndjson").exists()).await;
    assert!(folder.join("done/0.ndjson").exists());

    // a name that sorts before what was read is an error, until somebody decides to read from the beginning
    std::fs::write(folder.join("0.ndjson"), lines(["0-0", "new"].map(str::to_owned))).expect("a file");
    until(&node, &source, |s| s["last_error"].as_str().is_some_and(|e| e.contains("came late"))).await;
    let sent = node.call("POST", &format!("{source}/fetch?from=beginning"), Some(&node.staff), "").await;
    assert_eq!(sent.status, 202, "{}", sent.text);
    let seen = until(&node, &source, |s| s["records"] == 18_001 && s["last_error"].is_null()).await;
    assert_eq!((&seen["duplicates"], &seen["breaker"]), (&json!(1), &json!("closed")));
    node.stop().await;
}

/// A peer whose pages follow each other by a cursor: `pages` of 100 records.
async fn book(pages: usize, asked_for: Arc<AtomicUsize>) -> Peer {
    Peer::start(move |asked: &Asked| {
        asked_for.fetch_add(1, Ordering::Relaxed);
        let page: usize = asked.path.split("after=").nth(1).map_or(0, |text| text.parse().expect("a page"));
        let ids = (0..100).map(|n| record(&format!("{page}-{n}")));
        let items: Vec<String> = if page < pages { ids.collect() } else { Vec::new() };
        let next = (page + 1).min(pages);
        Reply::ok(format!("{{\"items\":[{}],\"next\":{next}}}", items.join(",")))
    })
    .await
}

#[actix_web::test]
async fn every_record_is_stored_once_however_often_the_engine_stops() {
    let asked = Arc::new(AtomicUsize::new(0));
    let peer = book(40, Arc::clone(&asked)).await;
    let mut node = Node::start_as(setup()).await;
    let operator = node.operator("alpha").await;
    let reader = json!({"url": peer.url("/bets"), "format": "json", "items": "/items", "paging": {"by": "next_field", "pointer": "/next"}, "cursor_parameter": "after"});
    let source = create(&node, &new(&operator, "", json!({"reader": reader, "schedule": {"every_seconds": 1}}))).await;
    for stop in 1..=3 {
        until(&node, &source, |s| s["records"].as_u64() >= Some(stop * 500)).await;
        node = node.restart_as(setup()).await;
    }
    let seen = until(&node, &source, |s| s["records"] == 4_000).await;
    assert_eq!(seen["quarantined"], 0);
    // and no page that was stored was asked for again, but those under way as the engine stopped
    until(&node, &source, |_| asked.load(Ordering::Relaxed) > 40).await;
    let paths: Vec<String> =
        peer.asked().into_iter().map(|asked| asked.path).filter(|path| !path.ends_with("=40")).collect();
    let distinct: BTreeSet<&String> = paths.iter().collect();
    assert_eq!(distinct.len(), 40);
    assert!(paths.len() <= 40 + 3, "{} pages asked for", paths.len());
    node.stop().await;
}

#[actix_web::test]
async fn an_output_whose_credential_is_away_waits_and_says_so() {
    let dir = testkit::temp_dir();
    let kept = dir.path().join("broker");
    let login = r#"{"user": "reader", "password": "hunter2"}"#;
    std::fs::write(&kept, login).expect("written");
    let configured = || {
        let credentials = Credentials::new([("broker".to_owned(), Credential::File(kept.clone()))]);
        Setup { feeds: FeedsConfig { credentials, ..open(None) }, ..Setup::default() }
    };
    let node = Node::start_as(configured()).await;
    let operator = node.operator("alpha").await;
    let reader =
        json!({"brokers": ["127.0.0.1:9"], "topic": "plays", "output_topic": "checked", "credential": "broker"});
    create(&node, &new(&operator, "", json!({"kind": "kafka", "reader": reader}))).await;
    std::fs::remove_file(&kept).expect("it was there");

    let node = node.restart_as(configured()).await;
    let output = async |state: &str| {
        let looked = async {
            loop {
                let listed = node.call("GET", "/api/v1/system/actors", Some(&node.staff), "").await.json();
                let actors = listed["actors"].as_array().cloned().unwrap_or_default();
                let output = actors.into_iter().find(|actor| actor["name"] == "output:alpha/bets").unwrap_or_default();
                // it was asked, and has answered
                if output["handled"].as_u64() > Some(2) && output["state"] == state {
                    return output;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looked).await.expect("its state is shown")
    };
    let seen = output("backing_off").await;
    assert_eq!(seen["last_error"], "settings: credential broker: its file cannot be read", "{seen}");
    assert_eq!((&seen["restarts"], &seen["generation"]), (&json!(0), &json!(1)), "it is not built again and again");
    std::fs::write(&kept, login).expect("written");
    assert_eq!(output("running").await["restarts"], 0, "and goes on by itself");
    node.stop().await;
}
