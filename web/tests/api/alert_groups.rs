//! From an alert to whoever works on it: groups, what people do with them, silences, feeds that fall silent.

use crate::node::{Node, Setup, Socket};
use actors::feeds::FeedsConfig;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{Peer, Reply};

const GROUPS: &str = "/api/v1/alerts/groups";

pub async fn groups(node: &Node, query: &str) -> Vec<Value> {
    let listed = node.call("GET", &format!("{GROUPS}{query}"), Some(&node.staff), "").await;
    assert_eq!(listed.status, 200, "{}", listed.text);
    listed.json()["items"].as_array().cloned().expect("items")
}

/// The first group that a query gives, as soon as it satisfies a condition.
pub async fn wait_for(node: &Node, query: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let found = async {
        loop {
            if let Some(group) = groups(node, query).await.into_iter().find(&is_it) {
                return group;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(40), found).await.expect("the group in time")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn at(seconds: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_micros();
    models::ts::Ts(now as i64 + seconds * models::ts::SECOND).to_string()
}

pub async fn act(node: &Node, id: &str, action: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let done = node.call("POST", &format!("/api/v1/alerts/{id}/{action}"), Some(&node.staff), &body).await;
    (done.status, done.json())
}

/// An operator whose key tries numbers: the quickest alert there is.
async fn alarm(node: &Node, code: &str) {
    let scopes = json!({"label": "k", "scopes": ["lookup"], "rate_per_second": 1000});
    let key = node.operator(code).await.key(node, scopes).await;
    for n in 0..8 {
        let body = json!({"phone": format!("0713{n:06}"), "purpose": "login"}).to_string();
        assert_eq!(node.call("POST", "/api/v1/operators/lookup", Some(&key.bearer), &body).await.status, 200);
    }
}

#[actix_web::test]
async fn a_group_is_taken_on_left_alone_resolved_and_reopened() {
    let node = Node::start_as(Setup { strangers_per_hour: 4, ..Setup::default() }).await;
    alarm(&node, "acme").await;
    let group = wait_for(&node, "?rule=enumeration", |_| true).await;
    assert_eq!((text(&group, "state"), text(&group, "operator_code"), &group["hits"]), ("open", "acme", &json!(1)));
    assert_eq!((&group["told"], &group["episode"], &group["standing"]), (&json!(true), &json!(1), &json!(1)));
    let (id, alert) = (text(&group, "id"), text(&group, "last_alert"));

    // by the group or by one of its alerts
    let (status, done) = act(&node, alert, "acknowledge", &Value::Null).await;
    assert_eq!((status, text(&done, "state"), text(&done, "id")), (200, "acknowledged", id), "{done}");
    assert!(text(&done["acknowledged"], "by").starts_with("key_"), "{done}");
    assert_eq!(act(&node, id, "acknowledge", &Value::Null).await.0, 200);
    let snooze = json!({"until": at(3_600), "hits": 5});
    let (status, done) = act(&node, id, "snooze", &snooze).await;
    assert_eq!((status, text(&done, "state"), &done["snoozed"]["hits"]), (200, "snoozed", &json!(5)), "{done}");
    for wrong in
        [json!({}), json!({"until": at(-5)}), json!({"until": at(40 * 86_400)}), json!({"until": at(9), "hits": 0})]
    {
        assert_eq!(act(&node, id, "snooze", &wrong).await.0, 422, "{wrong}");
    }
    for wrong in [json!({}), json!({"reason": "quiet"}), json!({"reason": "bored"})] {
        assert_eq!(act(&node, id, "resolve", &wrong).await.0, 422, "{wrong}");
    }
    let (status, done) = act(&node, id, "resolve", &json!({"reason": "confirmed"})).await;
    assert_eq!((status, text(&done, "state"), text(&done, "resolution")), (200, "resolved", "confirmed"));
    assert_eq!(act(&node, id, "acknowledge", &Value::Null).await.0, 409);
    assert_eq!(groups(&node, "").await, [] as [Value; 0], "what is resolved is asked for by name");
    assert_eq!(groups(&node, "?state=resolved").await.len(), 1);
    assert_eq!(act(&node, id, "reopen", &Value::Null).await.1["state"], "open");
    assert_eq!(act(&node, "grp_00000000000000000000000000", "reopen", &Value::Null).await.0, 404);

    // what people did outlives the process
    assert_eq!(act(&node, id, "acknowledge", &Value::Null).await.0, 200);
    let node = node.restart(actors::engine::Faults::default()).await;
    let back = wait_for(&node, "?state=acknowledged", |_| true).await;
    assert_eq!((text(&back, "id"), &back["hits"]), (id, &json!(1)));
    // nobody of another jurisdiction sees or touches it
    let path = format!("{GROUPS}/{id}");
    assert_eq!(node.call("GET", &path, Some(&node.neighbour), "").await.status, 404);
    assert_eq!(node.call("GET", &path, Some(&node.staff), "").await.status, 200);
    node.stop().await;
}

#[actix_web::test]
async fn the_screens_see_what_becomes_of_a_group() {
    let node = Node::start_as(Setup { strangers_per_hour: 4, ..Setup::default() }).await;
    let watch = async |bearer: &str| {
        let bearer = format!("Bearer {bearer}");
        let headers = [("Sec-WebSocket-Protocol", "mlinzi.v1"), ("Authorization", bearer.as_str())];
        let mut socket = Socket::open(&node, "/ws/dashboards/realtime", &headers).await.expect("a socket");
        socket.text(&json!({"type": "subscribe", "topics": ["groups"]}).to_string()).await;
        socket
    };
    let (mut ours, mut theirs) = (watch(&node.staff).await, watch(&node.neighbour).await);
    /// The state of the topic, once it is as wanted.
    async fn seen(socket: &mut Socket, is_it: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                let frame = socket.json().await;
                if frame["topic"] == "groups" && is_it(&frame["data"]) {
                    return frame["data"].clone();
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(40), found).await.expect("the groups in time")
    }
    assert_eq!(seen(&mut ours, |_| true).await, json!({"items": [], "more": 0}));
    alarm(&node, "acme").await;
    let data = seen(&mut ours, |data| data["items"][0].is_object()).await;
    let group = &data["items"][0];
    let shown = (text(group, "state"), text(group, "rule"), text(group, "operator_code"), &group["hits"]);
    assert_eq!(shown, ("open", "enumeration", "acme", &json!(1)), "{group}");
    let id = text(group, "id");
    assert_eq!(act(&node, id, "acknowledge", &Value::Null).await.0, 200);
    let data = seen(&mut ours, |data| data["items"][0]["state"] == "acknowledged").await;
    assert!(text(&data["items"][0]["acknowledged"], "by").starts_with("key_"), "{data}");
    assert_eq!(act(&node, id, "resolve", &json!({"reason": "confirmed"})).await.0, 200);
    seen(&mut ours, |data| data["items"] == json!([])).await;
    // nothing of it is another jurisdiction's
    assert_eq!(seen(&mut theirs, |_| true).await, json!({"items": [], "more": 0}));
    node.stop().await;
}

#[actix_web::test]
async fn a_silence_keeps_quiet_until_it_ends() {
    let node = Node::start_as(Setup { strangers_per_hour: 4, ..Setup::default() }).await;
    let path = "/api/v1/alerts/silences";
    let new = json!({"rule": "enumeration", "until": at(3_600)}).to_string();
    let set = node.call("POST", path, Some(&node.staff), &new).await;
    assert_eq!(set.status, 201, "{}", set.text);
    for wrong in
        [json!({"rule": "enumeration"}), json!({"rule": "0712345678", "until": at(9)}), json!({"until": at(-1)})]
    {
        let refused = node.call("POST", path, Some(&node.staff), &wrong.to_string()).await;
        assert_eq!(refused.status, 422, "{wrong}");
    }
    alarm(&node, "acme").await;
    let group = wait_for(&node, "", |_| true).await;
    assert_eq!((&group["told"], &group["silenced_by"]), (&json!(false), &set.json()["id"]), "{group}");
    let listed = node.call("GET", path, Some(&node.staff), "").await.json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
    let one = format!("{path}/{}", text(&set.json(), "id"));
    assert_eq!(node.call("DELETE", &one, Some(&node.staff), "").await.status, 204);
    assert_eq!(node.call("DELETE", &one, Some(&node.staff), "").await.status, 404);
    let group = wait_for(&node, "", |group| group["told"] == true).await;
    assert_eq!(group["silenced_by"], Value::Null);
    node.stop().await;
}

#[actix_web::test]
async fn a_feed_that_falls_silent_is_told_of_by_itself_and_so_is_its_return() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let scopes = json!({"label": "k", "scopes": ["feeds:manage", "feeds:write"], "rate_per_second": 100});
    let key = operator.key(&node, scopes).await;
    let new = json!({"name": "bets", "class": "gaming_transactions", "expected_interval_seconds": 1}).to_string();
    let made = node.call("POST", "/api/v1/feeds", Some(&key.bearer), &new).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let source = text(&made.json(), "id").to_owned();
    let group = wait_for(&node, "?rule=feed_silent", |_| true).await;
    assert_eq!((text(&group, "metric"), text(&group, "source"), &group["told"]), ("silence", &*source, &json!(true)));
    let alert =
        node.call("GET", &format!("/api/v1/alerts/{}", text(&group, "last_alert")), Some(&node.staff), "").await;
    assert!(alert.text.contains("has never sent anything"), "{}", alert.text);
    // the operator sees it, too
    let own = node.call("GET", GROUPS, Some(&key.bearer), "").await.json();
    assert_eq!(own["items"].as_array().map(Vec::len), Some(1), "{own}");
    // it speaks: over by itself
    let push = async || {
        let record = json!({"record_id": at(0), "kind": "stake", "occurred_at": at(0), "status": "successful",
            "money": {"amount_minor": 100, "currency": "KES"}, "product": "casino", "channel": "online"});
        node.call("POST", &format!("/api/v1/feeds/{source}/records"), Some(&key.bearer), &format!("[{record}]")).await
    };
    let over = tokio::time::timeout(Duration::from_secs(40), async {
        loop {
            let pushed = push().await;
            assert_eq!(pushed.status, 200, "{}", pushed.text);
            if let Some(group) = groups(&node, "?state=resolved&rule=feed_silent").await.into_iter().next() {
                return group;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });
    let over = over.await.expect("in time");
    assert_eq!((text(&over, "resolution"), &over["standing"]), ("withdrawn", &json!(0)), "{over}");
    // and what comes back is the next episode
    let again = wait_for(&node, "?rule=feed_silent", |group| group["episode"] == 2).await;
    assert_eq!(text(&again, "id"), text(&over, "id"));
    node.stop().await;
}

#[actix_web::test]
async fn a_silence_that_goes_on_after_a_pause_is_told_of_again() {
    let feeds = FeedsConfig { allow_private_addresses: true, ..FeedsConfig::default() };
    let node = Node::start_as(Setup { feeds, ..Setup::default() }).await;
    let operator = node.operator("acme").await;
    let peer = Peer::start(|_| Reply::status(500)).await;
    let new = json!({"operator": operator.id, "name": "bets", "class": "gaming_transactions", "kind": "http_poll",
        "reader": {"url": peer.url("/bets")}, "schedule": {"every_seconds": 1}, "expected_interval_seconds": 1});
    let made = node.call("POST", "/api/v1/feeds", Some(&node.staff), &new.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let source = format!("/api/v1/feeds/{}", text(&made.json(), "id"));
    let pause = async |paused: bool| {
        let body = json!({"paused": paused}).to_string();
        assert_eq!(node.call("PATCH", &source, Some(&node.staff), &body).await.status, 200);
    };
    let silent = wait_for(&node, "?rule=feed_silent", |_| true).await;
    pause(true).await;
    let over = wait_for(&node, "?state=resolved&rule=feed_silent", |_| true).await;
    let alert = node.call("GET", &format!("/api/v1/alerts/{}", text(&over, "last_alert")), Some(&node.staff), "").await;
    assert!(alert.text.contains("the source bets is paused"), "{}", alert.text);
    // nothing is left in it that could end
    assert_eq!(act(&node, text(&over, "id"), "reopen", &Value::Null).await.0, 409);
    pause(false).await;
    let again = wait_for(&node, "?rule=feed_silent", |group| group["episode"] == 2).await;
    assert_eq!((text(&again, "id"), &again["told"]), (text(&silent, "id"), &json!(true)));
    assert_ne!(text(&again, "last_alert"), text(&silent, "last_alert"));
    node.stop().await;
}
