//! The live stream over real connections: figures by region and product, event streams, clients that do not read.

use crate::node::{Key, Node, Operator, Socket};
use models::ts::Ts;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

const SOCKET: &str = "/ws/dashboards/realtime";
const PATIENCE: Duration = Duration::from_secs(20);

async fn feed(node: &Node, operator: &Operator) -> (Key, String) {
    let scopes = json!({"label": "k", "scopes": ["feeds:write", "feeds:manage"], "rate_per_second": 1000});
    let key = operator.key(node, scopes).await;
    let new = json!({"name": "bets", "class": "gaming_transactions", "horizon_days": 7}).to_string();
    let source = node.call("POST", "/api/v1/feeds", Some(&key.bearer), &new).await;
    assert_eq!(source.status, 201, "{}", source.text);
    let path = format!("/api/v1/feeds/{}/records", source.json()["id"].as_str().unwrap_or_default());
    (key, path)
}

fn now() -> Ts {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    Ts(since.as_micros() as i64)
}

fn record(id: &str, kind: &str, amount: i64, region: &str, product: &str) -> Value {
    json!({"record_id": id, "kind": kind, "occurred_at": now().to_string(), "status": "successful", "region": region,
        "product": product, "money": {"amount_minor": amount, "currency": "KES"}})
}

async fn watch(node: &Node, bearer: &str, topics: &[&str]) -> Socket {
    let bearer = format!("Bearer {bearer}");
    let headers = [("Sec-WebSocket-Protocol", "mlinzi.v1"), ("Authorization", bearer.as_str())];
    let mut socket = Socket::open(node, SOCKET, &headers).await.expect("a socket");
    assert_eq!(socket.json().await["type"], "welcome");
    socket.text(&json!({"type": "subscribe", "topics": topics}).to_string()).await;
    socket
}

/// The data of a topic, once it says what is wanted.
async fn data(socket: &mut Socket, topic: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let found = async {
        loop {
            let mut frame = socket.json().await;
            if frame["topic"] == topic && is_wanted(&frame["data"]) {
                return frame["data"].take();
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{topic} never said so"))
}

#[actix_web::test]
async fn regions_and_products_are_summed_over_operators_and_say_how_old_they_are() {
    let node = Node::start().await;
    let (acme, bets) = (node.operator("acme").await, node.operator("bets").await);
    let (acme_key, acme_path) = feed(&node, &acme).await;
    let (bets_key, bets_path) = feed(&node, &bets).await;
    let push = async |key: &Key, path: &str, records: &[Value]| {
        let body = Value::from(records.to_vec()).to_string();
        let pushed = node.call("POST", path, Some(&key.bearer), &body).await;
        assert_eq!(pushed.json()["accepted"].as_u64(), Some(records.len() as u64), "{}", pushed.text);
    };
    let mut socket = watch(
        &node,
        &node.staff,
        &["region:KE-30", "product:casino", "regions", "national", &format!("operator:{}", acme.id)],
    )
    .await;
    let empty = data(&mut socket, "region:KE-30", |_| true).await;
    assert_eq!(
        (&empty["currencies"], &empty["oldest_input_at"], &empty["inputs_missing"]),
        (&json!([]), &Value::Null, &json!(2))
    );

    push(
        &acme_key,
        &acme_path,
        &[record("1", "stake", 1_000, "KE-30", "casino"), record("2", "payout", 400, "KE-30", "casino")],
    )
    .await;
    let one = data(&mut socket, "region:KE-30", |d| d["currencies"][0]["day"]["count"] == 2).await;
    assert_eq!((&one["currencies"][0]["operators"], &one["inputs_missing"]), (&json!(1), &json!(0)), "{one}");
    push(
        &bets_key,
        &bets_path,
        &[record("1", "stake", 70, "KE-30", "casino"), record("2", "stake", 5, "Nairobi", "other")],
    )
    .await;
    let both = data(&mut socket, "region:KE-30", |d| d["currencies"][0]["day"]["count"] == 3).await;
    let totals = &both["currencies"][0];
    for window in ["hour", "day"] {
        let shown = ["stakes", "payouts", "ggr"].map(|name| totals[window][name].as_i64());
        assert_eq!(shown, [Some(1_070), Some(400), Some(670)], "{totals}");
    }
    assert_eq!(totals["operators"], 2);
    // as old as the older of both
    assert_eq!(both["oldest_input_at"], one["oldest_input_at"]);

    // a topic that is watched already begins with its last tick, which may be one behind that of another topic
    let late = async |topic: &str, is_wanted: &dyn Fn(&Value) -> bool| {
        data(&mut watch(&node, &node.staff, &[topic]).await, topic, is_wanted).await
    };
    let casino = late("product:casino", &|d| d["currencies"][0]["day"]["ggr"] == 670).await;
    assert_eq!(casino["product"], "casino");
    let two = |d: &Value| d["items"].as_array().is_some_and(|items| items.len() == 2);
    let regions = late("regions", &two).await;
    let names: Vec<&str> =
        regions["items"].as_array().expect("a list").iter().filter_map(|r| r["region"].as_str()).collect();
    assert_eq!(names, ["KE-30", "other"]);
    let products = late("products", &two).await;
    let names: Vec<&str> =
        products["items"].as_array().expect("a list").iter().filter_map(|r| r["product"].as_str()).collect();
    assert_eq!(names, ["casino", "other"]);
    late("national", &|d| d["oldest_input_at"] == both["oldest_input_at"]).await;
    let mut own = watch(&node, &acme_key.bearer, &[&format!("operator:{}", acme.id), "regions"]).await;
    let topic = format!("operator:{}", acme.id);
    let view = data(&mut own, &topic, |_| true).await;
    assert_eq!((&view["operator"], &view["oldest_input_at"]), (&json!("acme"), &both["oldest_input_at"]));
    assert_eq!(own.json().await["code"], "forbidden", "an operator sees its own");
    node.stop().await;
}

/// Events of a stream, as a browser reads them.
struct Events {
    response: reqwest::Response,
    text: String,
}

#[derive(Debug, Default)]
struct Event {
    id: Option<String>,
    name: Option<String>,
    data: Value,
}

impl Events {
    async fn open(node: &Node, bearer: &str, topics: &str, last: Option<&str>) -> Self {
        let request = node.request("GET", &format!("/api/v1/stream?topics={topics}"), Some(bearer));
        let request = last.into_iter().fold(request, |request, id| request.header("last-event-id", id));
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next event; none at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (mut event, rest) = (Event::default(), rest.to_owned());
                let mut is_event = false;
                for line in block.lines() {
                    match line.split_once(": ") {
                        Some(("id", id)) => event.id = Some(id.to_owned()),
                        Some(("event", name)) => event.name = Some(name.to_owned()),
                        Some(("data", data)) => {
                            event.data = serde_json::from_str(data).expect("data is json");
                            is_event = true;
                        }
                        _ => {}
                    }
                }
                self.text = rest;
                if is_event {
                    return Some(event);
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("an event comes");
            self.text.push_str(std::str::from_utf8(&chunk.expect("the stream goes on")?).expect("text"));
        }
    }

    async fn expect(&mut self, kind: &str) -> Event {
        let event = self.next().await.expect("an event");
        assert_eq!(event.data["type"], kind, "{event:?}");
        event
    }
}

#[actix_web::test]
async fn an_event_stream_resumes_by_its_last_id_and_ends_with_its_key() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let (key, path) = feed(&node, &operator).await;
    let topics = format!("operator:{0},alerts:{0}", operator.id);
    for (bearer, query, status) in
        [(None, topics.as_str(), 401), (Some(&key.bearer), "weather", 422), (Some(&key.bearer), "", 422)]
    {
        let refused = node.call("GET", &format!("/api/v1/stream?topics={query}"), bearer.map(|b| &**b), "").await;
        assert_eq!(refused.status, status, "{query}: {}", refused.text);
    }
    assert_eq!(node.call("HEAD", &format!("/api/v1/stream?topics={topics}"), Some(&key.bearer), "").await.status, 200);

    let mut events = Events::open(&node, &key.bearer, &format!("{topics},national"), None).await;
    let epoch = events.expect("welcome").await.data["epoch"].as_str().unwrap_or_default().to_owned();
    events.expect("snapshot").await;
    let held = events.expect("snapshot").await.id.expect("an id");
    assert!(held.starts_with(&format!("{epoch};")) && held.contains(&format!("alerts:{}=0", operator.id)), "{held}");
    assert_eq!(events.expect("error").await.data["code"], "forbidden", "an operator sees its own");
    let records = json!([record("1", "stake", 1_000, "KE-30", "casino")]).to_string();
    assert_eq!(node.call("POST", &path, Some(&key.bearer), &records).await.status, 200);
    let step = events.expect("delta").await;
    drop(events);

    // in both senses: what is held is resumed, what is not is sent
    let mut again = Events::open(&node, &key.bearer, &topics, step.id.as_deref()).await;
    again.expect("welcome").await;
    let operators = again.next().await.expect("an event");
    assert!(["resumed", "gap"].map(Value::from).contains(&operators.data["type"]), "{operators:?}");
    let alerts = loop {
        let event = again.next().await.expect("an event");
        if event.data["topic"] == format!("alerts:{}", operator.id) {
            break event;
        }
    };
    assert_eq!((&alerts.data["type"], &alerts.data["offset"]), (&json!("resumed"), &json!(0)));

    let revoke = format!("/api/v1/operators/{}/keys/{}", operator.id, key.id);
    assert_eq!(node.call("DELETE", &revoke, Some(&node.staff), "").await.status, 204);
    let last = loop {
        let event = again.next().await.expect("an event before the end");
        if event.name.is_some() {
            break event;
        }
    };
    assert_eq!((last.name.as_deref(), &last.data["code"]), (Some("close"), &json!(4003)));
    assert!(again.next().await.is_none(), "and then it is over");
    node.stop().await;
}

#[actix_web::test]
async fn a_client_that_does_not_read_is_closed_and_others_go_on() {
    let node = Node::start().await;
    let bearer = format!("Bearer {}", node.staff);
    let headers = [("Sec-WebSocket-Protocol", "mlinzi.v1"), ("Authorization", bearer.as_str())];
    let mut silent = Socket::open_small(&node, SOCKET, &headers).await.expect("a socket");
    let mut reader = watch(&node, &node.staff, &["national"]).await;
    data(&mut reader, "national", |_| true).await;
    // each asks for far more than it is long: soon nothing fits any more
    let ask = json!({"type": "subscribe", "topics": vec!["system"; 250]}).to_string();
    for _ in 0..40 {
        silent.text(&ask).await;
    }
    let closed = || async {
        let metrics = node.call("GET", "/metrics", None, "").await.text;
        metrics
            .lines()
            .any(|line| line.starts_with("mlinzi_live_socket_closes_total{code=\"4008\"}") && !line.ends_with(" 0"))
    };
    let waited = async {
        while !closed().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waited).await.expect("it is closed in the end");
    reader.text(&json!({"type": "subscribe", "topics": ["products"]}).to_string()).await;
    data(&mut reader, "products", |_| true).await;
    node.stop().await;
}
