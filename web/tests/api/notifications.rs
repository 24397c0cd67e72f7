//! The log of notices, the channels, test calls.

use crate::node::{Node, Setup};
use actors::notifiers::{Channel, NotifySetup, OpenChannel, SendError};
use futures_util::future::BoxFuture;
use models::notice::Notice;
use models::ts::Ts;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const LOG: &str = "/api/v1/notifications";
const CHANNELS: &str = "/api/v1/notifications/channels";

/// Takes everything, or nothing.
struct Fixed(Result<(), SendError>);

impl Channel for Fixed {
    fn send<'a>(&'a self, _: &'a Notice, _: Ts) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(std::future::ready(self.0.clone()))
    }
}

async fn node() -> Node {
    let channel = |name: &str, does: Result<(), SendError>| OpenChannel {
        name: name.to_owned(),
        kind: "fixed",
        per_minute: 600,
        channel: Arc::new(Fixed(does)),
    };
    let later = SendError::Retry { why: "answered 503".to_owned(), after: None };
    let refused = SendError::Refused { why: "answered 422".to_owned() };
    let channels = vec![channel("takes", Ok(())), channel("away", Err(later)), channel("refuses", Err(refused))];
    let notify = NotifySetup { channels, ..NotifySetup::default() };
    Node::start_as(Setup { notify, ..Setup::default() }).await
}

async fn log(node: &Node, query: &str) -> Value {
    let answer = node.call("GET", &format!("{LOG}{query}"), Some(&node.staff), "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// Sends a test and waits until it is in the log as so.
async fn test(node: &Node, channel: &str, state: &str) -> Value {
    let made = node.call("POST", &format!("{CHANNELS}/{channel}/test"), Some(&node.staff), "").await;
    assert_eq!(made.status, 202, "{}", made.text);
    let id = made.json()["id"].clone();
    let found = async {
        loop {
            let log = log(node, &format!("?channel={channel}")).await;
            let item = log["items"].as_array().and_then(|items| items.iter().find(|item| item["id"] == id).cloned());
            if let Some(item) = item.filter(|item| item["state"] == state && item["attempts"] != 0) {
                return item;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.expect("it comes to that")
}

#[actix_web::test]
async fn a_test_goes_through_the_log_and_the_channels_say_how_they_fare() {
    let node = node().await;
    let sent = test(&node, "takes", "sent").await;
    assert_eq!((&sent["kind"], &sent["channel"], &sent["attempts"]), (&json!("test"), &json!("takes"), &json!(1)));
    assert!(sent["sent_at"].is_string() && sent["next_at"].is_null() && sent["last_error"].is_null(), "{sent}");
    let waits = test(&node, "away", "pending").await;
    assert!(waits["next_at"].is_string() && waits["last_error"] == "answered 503", "{waits}");
    let failed = test(&node, "refuses", "failed").await;
    assert_eq!(failed["last_error"], "answered 422");

    let channels = node.call("GET", CHANNELS, Some(&node.staff), "").await.json();
    let channels = channels["channels"].as_array().cloned().unwrap_or_default();
    let told: Vec<Value> = channels
        .iter()
        .map(|c| json!([c["name"], c["state"], c["pending"], c["last_error"], c["oldest_pending_at"].is_string()]))
        .collect();
    let expected = [
        json!(["away", "failing", 1, "answered 503", true]),
        json!(["refuses", "ok", 0, "answered 422", false]),
        json!(["takes", "ok", 0, null, false]),
    ];
    assert_eq!(told, expected);

    let exposed = node.call("GET", "/metrics", None, "").await.text;
    for line in [
        r#"mlinzi_notices_total{channel="takes",outcome="sent"} 1"#,
        r#"mlinzi_notices_total{channel="refuses",outcome="failed"} 1"#,
        r#"mlinzi_notices_total{channel="takes",outcome="dropped"} 0"#,
    ] {
        assert!(exposed.contains(line), "{line}");
    }
    node.stop().await;
}

#[actix_web::test]
async fn the_log_is_listed_by_page_state_and_channel_and_by_nobody_of_another_jurisdiction() {
    let node = node().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(test(&node, "takes", "sent").await["id"].clone());
    }
    test(&node, "refuses", "failed").await;
    ids.reverse();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = log(&node, &format!("?channel=takes&limit=2{cursor}")).await;
        seen.extend(page["items"].as_array().cloned().unwrap_or_default().iter().map(|item| item["id"].clone()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ids, "newest first, each once");
    let count = async |query: &str| log(&node, query).await["items"].as_array().map(Vec::len);
    assert_eq!(count("").await, Some(6));
    assert_eq!(count("?state=failed").await, Some(1));
    assert_eq!(count("?state=pending").await, Some(0));
    assert_eq!(count("?channel=nobody").await, Some(0));
    let others = node.call("GET", LOG, Some(&node.neighbour), "").await;
    assert_eq!((others.status, others.json()["items"].as_array().map(Vec::len)), (200, Some(0)));
    node.stop().await;
}

#[actix_web::test]
async fn who_may_not_and_what_is_not_there_is_refused() {
    let node = node().await;
    let key = node.operator("acme").await.key(&node, json!({"label": "k", "scopes": ["feeds:write"]})).await;
    let (staff, test) = (Some(node.staff.as_str()), |name: &str| format!("{CHANNELS}/{name}/test"));
    let operator = Some(key.bearer.as_str());
    let table = [
        ("GET", LOG.to_owned(), None, 401),
        ("GET", LOG.to_owned(), operator, 403),
        ("GET", CHANNELS.to_owned(), operator, 403),
        ("POST", test("takes"), operator, 403),
        ("POST", test("takes"), None, 401),
        ("POST", test("nobody"), staff, 404),
        ("GET", format!("{LOG}?state=lost"), staff, 422),
        ("GET", format!("{LOG}?cursor=17"), staff, 422),
        ("GET", format!("{LOG}?operator=x"), staff, 422),
    ];
    for (method, path, bearer, status) in table {
        let answer = node.call(method, &path, bearer, "").await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
    }
    let empty = log(&node, "").await;
    assert_eq!(empty["items"].as_array().map(Vec::len), Some(0), "a refused test leaves nothing");
    node.stop().await;
}
