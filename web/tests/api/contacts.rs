//! Who has asked about whom, and what follows: the feed of changes, tokens and their replacement, an alarm on whoever
//! tries numbers; and whose exclusions bind where.

use crate::node::{Key, Node, Setup};
use actors::engine::Faults;
use models::event::Event;
use models::exclusion::Period;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const LOOKUP: &str = "/api/v1/operators/lookup";
const CHANGES: &str = "/api/v1/operators/changes";

async fn exclude(node: &Node, phone: &str, period: &str) -> Value {
    let new = json!({"phone": phone, "period": period, "reason_class": "self", "channel": "web"}).to_string();
    let made = node.call("POST", "/api/v1/nser/register", Some(&node.staff), &new).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.json()
}

async fn ask(node: &Node, key: &Key, identity: (&str, &str)) -> Value {
    let body = json!({identity.0: identity.1, "purpose": "login"}).to_string();
    let answer = node.call("POST", LOOKUP, Some(&key.bearer), &body).await;
    json!({"status": answer.status, "answer": answer.json()})
}

async fn key(node: &Node, code: &str) -> Key {
    let scopes = json!({"label": "k", "scopes": ["lookup", "bst:rotate"], "rate_per_second": 1000});
    node.operator(code).await.key(node, scopes).await
}

async fn changes(node: &Node, key: &Key, cursor: &str, wait: u32) -> (u16, Value) {
    let query = if cursor.is_empty() { String::new() } else { format!("?cursor={cursor}&wait={wait}") };
    let answer = node.call("GET", &format!("{CHANGES}{query}"), Some(&key.bearer), "").await;
    (answer.status, answer.json())
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

#[actix_web::test]
async fn a_change_is_told_to_whoever_has_asked_in_its_own_token_and_to_nobody_else() {
    let node = Node::start().await;
    let (acme, other) = (key(&node, "acme").await, key(&node, "other").await);
    let before = ask(&node, &acme, ("phone", "0712000001")).await["answer"].clone();
    assert_eq!(text(&before, "status"), "not_excluded");
    let (status, start) = changes(&node, &acme, "", 0).await;
    assert_eq!((status, start["items"].as_array().map(Vec::len)), (200, Some(0)));
    let cursor = text(&start, "next_cursor").to_owned();
    // somebody waits while it happens
    let (waiting, made) = tokio::join!(changes(&node, &acme, &cursor, 20), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        exclude(&node, "0712000099", "1_year").await;
        exclude(&node, "0712000001", "1_year").await
    });
    let (status, feed) = waiting;
    assert_eq!(status, 200);
    let items = feed["items"].as_array().expect("items");
    assert_eq!(items.len(), 1, "of somebody it never asked about nothing is told: {feed}");
    assert_eq!((text(&items[0], "type"), text(&items[0], "status")), ("exclusion.created", "excluded"));
    assert_eq!(items[0]["bst"], before["bst"]);
    assert_eq!(items[0]["effective_at"], made["effective_at"]);
    // an extension is the next change, told once
    let path = format!("/api/v1/nser/{}/extend", text(&made, "exclusion_id"));
    let longer = node.call("PUT", &path, Some(&node.staff), &json!({"period": "5_years"}).to_string()).await;
    assert_eq!(longer.status, 200, "{}", longer.text);
    let cursor = text(&feed, "next_cursor").to_owned();
    let (_, feed) = changes(&node, &acme, &cursor, 20).await;
    let items = feed["items"].as_array().expect("items");
    assert_eq!(items.iter().map(|i| text(i, "type")).collect::<Vec<_>>(), ["exclusion.extended"], "{feed}");
    let (_, end) = changes(&node, &acme, text(&feed, "next_cursor"), 0).await;
    assert_eq!(end["items"].as_array().map(Vec::len), Some(0));
    // the other operator, which never asked, hears of none of it
    let (_, nothing) = changes(&node, &other, "0", 2).await;
    assert_eq!(nothing["items"].as_array().map(Vec::len), Some(0), "{nothing}");
    for wrong in ["7fffffffffffffff", "zz", "-1"] {
        assert_eq!(changes(&node, &acme, wrong, 0).await.0, 422, "{wrong}");
    }
    let staff = node.call("GET", CHANGES, Some(&node.staff), "").await;
    assert_eq!(staff.status, 403);
    node.stop().await;
}

/// An operator asks with all it knows; whoever excludes themselves later may name one of it only.
#[actix_web::test]
async fn who_asked_by_several_identifiers_is_told_by_each_of_them() {
    let node = Node::start().await;
    let acme = key(&node, "acme").await;
    let both = json!({"phone": "0712000001", "id_number": "12345678", "purpose": "login"}).to_string();
    let asked = node.call("POST", LOOKUP, Some(&acme.bearer), &both).await.json();
    assert_eq!(text(&asked, "status"), "not_excluded");
    let (_, start) = changes(&node, &acme, "", 0).await;
    exclude(&node, "0712000001", "1_year").await;
    let (_, feed) = changes(&node, &acme, text(&start, "next_cursor"), 20).await;
    let by_phone = ask(&node, &acme, ("phone", "0712000001")).await["answer"].clone();
    assert_eq!(feed["items"].as_array().map(Vec::len), Some(1), "{feed}");
    assert_eq!(feed["items"][0]["bst"], by_phone["bst"]);
    // and the receipt names both, the document first
    let path = format!("/api/v1/operators/lookups/{}/receipt", text(&asked, "lookup_id"));
    let receipt = loop {
        let given = node.call("GET", &path, Some(&acme.bearer), "").await;
        if given.status == 200 {
            break given.json();
        }
        assert_eq!(given.status, 503, "{}", given.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let payload = text(&receipt, "receipt").split('.').nth(1).expect("a payload");
    let payload = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload).expect("base64");
    let claims: Value = serde_json::from_slice(&payload).expect("JSON");
    assert_eq!((&claims["sub"], &claims["also"]), (&asked["bst"], &json!([by_phone["bst"]])), "{claims}");
    node.stop().await;
}

/// A day of feeds between two registrations is nothing that whoever waits has to walk through.
#[actix_web::test]
async fn a_cursor_passes_what_is_not_of_the_register() {
    let node = Node::start().await;
    let acme = key(&node, "acme").await;
    let (_, start) = changes(&node, &acme, "", 0).await;
    let place = |feed: &Value| {
        let seq = text(feed, "next_cursor").split('.').next().map(|seq| i64::from_str_radix(seq, 16));
        seq.expect("a place").expect("a number")
    };
    node.operator("other").await;
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    let mut cursor = text(&start, "next_cursor").to_owned();
    loop {
        let (status, feed) = changes(&node, &acme, &cursor, 0).await;
        assert_eq!((status, feed["items"].as_array().map(Vec::len)), (200, Some(0)));
        if place(&feed) > place(&start) {
            break;
        }
        cursor = text(&feed, "next_cursor").to_owned();
        assert!(tokio::time::Instant::now() < end, "{feed}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    node.stop().await;
}

#[actix_web::test]
async fn who_asked_is_known_after_a_restart_and_who_asked_meanwhile_too() {
    let node = Node::start().await;
    let acme = key(&node, "acme").await;
    let bst = ask(&node, &acme, ("phone", "0712000001")).await["answer"]["bst"].clone();
    let (_, start) = changes(&node, &acme, "", 0).await;
    let node = node.restart(actors::engine::Faults::default()).await;
    exclude(&node, "0712000001", "6_months").await;
    let (_, feed) = changes(&node, &acme, text(&start, "next_cursor"), 20).await;
    assert_eq!(feed["items"][0]["bst"], bst, "{feed}");
    node.stop().await;
}

/// The commit is there and the index does not have it yet: whoever asks now is told "not excluded", and must hear of it.
#[actix_web::test]
async fn who_asks_while_a_registration_is_on_its_way_into_the_index_is_told_of_it() {
    let blocks = |event: &Event| {
        if matches!(event, Event::ExclusionRegistered(e) if e.period == Period::Hours24) {
            std::thread::sleep(Duration::from_secs(3));
        }
    };
    let node = Node::start_with(Faults { register: Some(Arc::new(blocks)), ..Faults::default() }).await;
    let acme = key(&node, "acme").await;
    let (_, start) = changes(&node, &acme, "", 0).await;
    let (_, asked) = tokio::join!(exclude(&node, "0712000001", "24_hours"), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        ask(&node, &acme, ("phone", "0712000001")).await
    });
    assert_eq!(text(&asked["answer"], "status"), "not_excluded", "{asked}");
    let (_, feed) = changes(&node, &acme, text(&start, "next_cursor"), 18).await;
    assert_eq!(
        (text(&feed["items"][0], "status"), &feed["items"][0]["bst"]),
        ("excluded", &asked["answer"]["bst"]),
        "{feed}"
    );
    node.stop().await;
}

#[actix_web::test]
async fn a_few_may_wait_and_a_dead_key_hears_nothing() {
    let node = Node::start().await;
    let (acme, other) = (key(&node, "acme").await, key(&node, "other").await);
    let (_, start) = changes(&node, &acme, "", 0).await;
    let cursor = text(&start, "next_cursor");
    let many = futures_util::future::join_all((0..12).map(|_| changes(&node, &acme, cursor, 3)));
    let (many, one) = tokio::join!(many, changes(&node, &other, cursor, 1));
    let refused = many.iter().filter(|(status, _)| *status == 503).count();
    assert_eq!((refused, one.0), (4, 200), "eight wait, and others are not kept out by them");
    let operators = node.call("GET", "/api/v1/operators?code=acme", Some(&node.staff), "").await.json();
    let path = format!("/api/v1/operators/{}/keys/{}", text(&operators["items"][0], "id"), acme.id);
    let (waiting, _) = tokio::join!(changes(&node, &acme, cursor, 3), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(node.call("DELETE", &path, Some(&node.staff), "").await.status, 204);
    });
    assert_eq!(waiting.0, 401);
    node.stop().await;
}

#[actix_web::test]
async fn a_token_names_a_person_until_it_is_replaced() {
    let node = Node::start().await;
    let (acme, other) = (key(&node, "acme").await, key(&node, "other").await);
    let post = |key: &Key, path: &str, body: Value| {
        let (bearer, path) = (key.bearer.clone(), format!("/api/v1/bst/{path}"));
        let node = &node;
        async move { node.call("POST", &path, Some(&bearer), &body.to_string()).await }
    };
    exclude(&node, "0712000001", "1_year").await;
    let made = post(&acme, "generate", json!({"phone": "0712000001"})).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let bst = text(&made.json(), "bst").to_owned();
    assert_eq!(made.json()["generation"], 0);
    assert_eq!(ask(&node, &acme, ("phone", "0712000001")).await["answer"]["bst"], bst.as_str());
    let stronger = post(&acme, "generate", json!({"phone": "0712000001", "id_number": "12345678"})).await.json();
    assert_eq!(text(&stronger, "kind"), "national_id");
    assert_eq!(post(&acme, "generate", json!({"phone": "12"})).await.status, 422);
    assert_eq!(post(&acme, "generate", json!({"phone": "0712000001", "purpose": "login"})).await.status, 422);
    // whose it is, and whether it is whole
    let mut broken = bst.clone();
    let last = if broken.pop() == Some('0') { '1' } else { '0' };
    broken.push(last);
    let table = [
        (&acme, bst.as_str(), true, Value::Null),
        (&other, bst.as_str(), false, json!("not_yours")),
        (&acme, broken.as_str(), false, json!("checksum")),
        (&acme, "BST-01", false, json!("malformed")),
    ];
    for (key, token, valid, reason) in table {
        let view = post(key, "validate", json!({"bst": token})).await.json();
        assert_eq!((&view["valid"], &view["reason"]), (&json!(valid), &reason), "{token}: {view}");
    }
    // replaced: the old one is gone, the new one finds the same person
    let rotated = post(&acme, "rotate", json!({"bst": bst, "reason": "compromised"})).await;
    assert_eq!(rotated.status, 201, "{}", rotated.text);
    let new = text(&rotated.json(), "bst").to_owned();
    assert_ne!(new, bst);
    assert_eq!(ask(&node, &acme, ("bst", &bst)).await["status"], 410);
    let found = ask(&node, &acme, ("bst", &new)).await;
    assert_eq!(text(&found["answer"], "status"), "excluded", "{found}");
    assert_eq!(ask(&node, &acme, ("phone", "0712000001")).await["answer"]["bst"], new.as_str());
    assert_eq!(post(&acme, "rotate", json!({"bst": bst})).await.status, 410, "twice");
    assert_eq!(post(&acme, "validate", json!({"bst": bst})).await.json()["reason"], "not_live");
    assert_eq!(post(&other, "rotate", json!({"bst": new})).await.status, 422, "of another operator");
    // and so after a restart
    let node = node.restart(actors::engine::Faults::default()).await;
    assert_eq!(ask(&node, &acme, ("bst", &bst)).await["status"], 410);
    assert_eq!(ask(&node, &acme, ("bst", &new)).await["status"], 200);
    let path = format!("/api/v1/bst/{bst}/history");
    let told = async {
        loop {
            let history = node.call("GET", &path, Some(&acme.bearer), "").await;
            assert_eq!(history.status, 200, "{}", history.text);
            if history.json()["first_used_at"].is_string() {
                return history.json();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let history = tokio::time::timeout(Duration::from_secs(20), told).await.expect("the contact is taken in");
    assert_eq!(history["bst"], new.as_str());
    assert_eq!(
        (&history["rotations"][0]["generation"], text(&history["rotations"][0], "reason")),
        (&json!(1), "compromised")
    );
    node.stop().await;
}

#[actix_web::test]
async fn whoever_tries_numbers_is_slowed_down_and_told_of() {
    let node = Node::start_as(Setup { strangers_per_hour: 20, ..Setup::default() }).await;
    let scopes = json!({"label": "k", "scopes": ["lookup"], "rate_per_second": 50});
    let (acme, calm) = (node.operator("acme").await, node.operator("calm").await);
    let (acme, calm) = (acme.key(&node, scopes.clone()).await, calm.key(&node, scopes).await);
    for n in 0..15 {
        // one who asks about the same people again and again does nothing unusual
        for key in [&acme, &calm] {
            let phone = format!("07130000{:02}", if key.id == calm.id { n % 5 } else { n });
            assert_eq!(ask(&node, key, ("phone", &phone)).await["status"], 200);
        }
    }
    let noticed = async {
        for n in 15.. {
            ask(&node, &acme, ("phone", &format!("07130{n:05}"))).await;
            let alerts = node.call("GET", "/api/v1/alerts?rule=enumeration", Some(&node.staff), "").await.json();
            if let Some(alert) = alerts["items"].as_array().and_then(|items| items.first()) {
                return alert.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Value::Null
    };
    let alert = tokio::time::timeout(Duration::from_secs(30), noticed).await.expect("an alert");
    let shown = alert.to_string();
    assert!(shown.contains("acme") && shown.contains(&acme.id) && shown.contains("first_contacts"), "{shown}");
    // a tenth of 50 a second
    let mut refused = 0;
    for _ in 0..30 {
        refused += usize::from(ask(&node, &acme, ("phone", "0713000000")).await["status"] == 429);
        assert_eq!(ask(&node, &calm, ("phone", "0713000001")).await["status"], 200);
    }
    assert!(refused >= 5, "{refused} of 30");
    node.stop().await;
}

#[actix_web::test]
async fn an_alert_on_numbers_tried_waits_for_the_store() {
    let node = Node::start_as(Setup { strangers_per_hour: 4, ..Setup::default() }).await;
    let scopes = json!({"label": "k", "scopes": ["lookup"], "rate_per_second": 20});
    let acme = node.operator("acme").await.key(&node, scopes).await;
    // every alert breaks a table's check
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON alert_revisions BEGIN INSERT INTO source_integrity (source_no, version, body) VALUES (1, 0, ''); END";
    node.engine.store().execute_for_tests(refuse).await.expect("it is broken");
    // it is slowed down in the moment in which the alert is to be stored
    let slowed = async {
        let mut n = 0;
        while ask(&node, &acme, ("phone", &format!("0713{:06}", n % 8))).await["status"] != 429 {
            n += 1;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), slowed).await.expect("slowed down in time");
    tokio::time::sleep(Duration::from_millis(700)).await;
    node.engine.store().execute_for_tests("DROP TRIGGER refuse").await.expect("it is mended");
    let told = async {
        loop {
            let alerts = node.call("GET", "/api/v1/alerts?rule=enumeration", Some(&node.staff), "").await.json();
            if let Some(alerts) = alerts["items"].as_array().filter(|items| !items.is_empty()) {
                return alerts.len();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), told).await.expect("an alert"), 1);
    node.stop().await;
}

#[actix_web::test]
async fn whoever_tries_numbers_in_batches_is_slowed_down_and_told_of() {
    let node = Node::start_as(Setup { batch_strangers_per_day: 500, ..Setup::default() }).await;
    let scopes = json!({"label": "k", "scopes": ["lookup:batch"], "rate_per_second": 1000});
    let acme = node.operator("acme").await.key(&node, scopes).await;
    let batch = |first: u32| {
        let users: Vec<Value> = (first..first + 300).map(|n| json!({"phone": format!("0713{n:06}")})).collect();
        json!({"purpose": "sweep", "users": users}).to_string()
    };
    // the same base again and again is one base
    for first in [0, 0, 0, 300] {
        let answer = node.call("POST", "/api/v1/operators/batch/lookup", Some(&acme.bearer), &batch(first)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let alert = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let alerts = node.call("GET", "/api/v1/alerts?rule=enumeration", Some(&node.staff), "").await.json();
            if let Some(alert) = alerts["items"].as_array().and_then(|items| items.first()) {
                return alert.clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let alert = alert.await.expect("an alert");
    assert_eq!((text(&alert, "granularity"), &alert["evidence"]["band"]["high"]), ("day", &json!(500)), "{alert}");
    assert!(alert.to_string().contains("in batches"), "{alert}");
    node.stop().await;
}

#[actix_web::test]
async fn exclusions_of_a_recognised_jurisdiction_bind_while_it_is_recognised() {
    let node = Node::start().await;
    let acme = key(&node, "acme").await;
    let new = json!({"phone": "0712000001", "period": "1_year", "reason_class": "self", "channel": "web"}).to_string();
    let made = node.call("POST", "/api/v1/nser/register", Some(&node.neighbour), &new).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let status = async || text(&ask(&node, &acme, ("phone", "0712000001")).await["answer"], "status").to_owned();
    assert_eq!(status().await, "not_excluded");
    let path = "/api/v1/jurisdictions/KE/recognitions";
    let put = |bearer: &str, path: &str, body: Value| {
        let (bearer, path, node) = (bearer.to_owned(), path.to_owned(), &node);
        async move { node.call("PUT", &path, Some(&bearer), &body.to_string()).await }
    };
    let at = |seconds: i64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_micros();
        models::ts::Ts(now as i64 + seconds * models::ts::SECOND).to_string()
    };
    // whose law it is comes from the credential; the past stays as it was
    assert_eq!(put(&node.neighbour, path, json!({"recognises": "KE-2", "valid_from": at(60)})).await.status, 404);
    assert_eq!(put(&node.staff, path, json!({"recognises": "KE-2", "valid_from": at(-60)})).await.status, 422);
    assert_eq!(put(&node.staff, path, json!({"recognises": "KE", "valid_from": at(60)})).await.status, 422);
    assert_eq!(put(&node.staff, path, json!({"recognises": "NOWHERE", "valid_from": at(60)})).await.status, 422);
    assert_eq!(put(&acme.bearer, path, json!({"recognises": "KE-2", "valid_from": at(60)})).await.status, 403);
    let (_, start) = changes(&node, &acme, "", 0).await;
    let (from, to) = (at(1), at(3));
    let set = put(&node.staff, path, json!({"recognises": "KE-2", "valid_from": from, "valid_to": to})).await;
    assert_eq!(set.status, 200, "{}", set.text);
    assert_eq!(set.json()["recognitions"][0]["recognises"], "KE-2");
    let mut seen = Vec::new();
    for _ in 0..80 {
        let now = status().await;
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(seen, ["not_excluded", "excluded", "not_excluded"]);
    // over and done with between two questions: nobody's status is another than when the cursor was given
    assert_eq!(changes(&node, &acme, text(&start, "next_cursor"), 0).await.0, 200);
    let set = put(&node.staff, path, json!({"recognises": "KE-2", "valid_from": at(1)})).await;
    assert_eq!(set.status, 200, "{}", set.text);
    // whoever waits hears at once that another register binds, and sweeps
    let (status, gone) = changes(&node, &acme, text(&start, "next_cursor"), 20).await;
    assert_eq!(status, 410, "{gone}");
    let (_, start) = changes(&node, &acme, "", 0).await;
    assert_eq!(changes(&node, &acme, text(&start, "next_cursor"), 0).await.0, 200);
    let end = put(
        &node.staff,
        path,
        json!({"recognises": "KE-2", "valid_from": set.json()["recognitions"][0]["valid_from"], "valid_to": at(1)}),
    )
    .await;
    assert_eq!(end.status, 200, "{}", end.text);
    assert_eq!(changes(&node, &acme, text(&start, "next_cursor"), 20).await.0, 410);
    // what is over stays over
    let again = put(&node.staff, path, json!({"recognises": "KE-2", "valid_from": from, "valid_to": null})).await;
    assert_eq!(again.status, 422, "{}", again.text);
    // it is not mutual
    let mine = json!({"phone": "0712000002", "period": "1_year", "reason_class": "self", "channel": "web"}).to_string();
    assert_eq!(node.call("POST", "/api/v1/nser/register", Some(&node.staff), &mine).await.status, 201);
    let body = json!({"phone": "0712000002", "purpose": "login"}).to_string();
    let there = node.call("POST", "/api/v1/nser/lookup", Some(&node.neighbour), &body).await;
    assert_eq!(there.json()["status"], "not_excluded", "{}", there.text);
    let node = node.restart(actors::engine::Faults::default()).await;
    let listed = node.call("GET", "/api/v1/jurisdictions", Some(&node.staff), "").await.json();
    assert_eq!(listed["items"][0]["recognitions"][0]["in_force"], false, "{listed}");
    node.stop().await;
}
