//! Refused records: seen, mended, replayed, dismissed, once and by whoever may.

use crate::node::{Answer, Key, Node, Operator, Setup};
use actors::engine::Faults;
use actors::feeds::FeedsConfig;
use models::record::{QuarantineCode, Record};
use models::ts::{DAY, HOUR, MINUTE, Ts};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{Clock, SystemClock};
use testkit::{Asked, Peer, Reply};

const PATIENCE: Duration = Duration::from_secs(30);

/// A record of this many microseconds after now.
fn record(id: &str, after: i64) -> Value {
    json!({"record_id": id, "kind": "stake", "occurred_at": SystemClock.now().plus(after).to_string(),
        "player": {"phone": "0712345678"}, "money": {"amount_minor": 12500, "currency": "KES"}})
}

/// The same with another value somewhere.
fn but(mut record: Value, pointer: &str, to: Value) -> Value {
    *record.pointer_mut(pointer).expect("it is there") = to;
    record
}

/// A source of an operator, judged by the wall clock.
struct Feed {
    key: Key,
    path: String,
}

impl Feed {
    async fn new(node: &Node, operator: &Operator) -> Self {
        let key = operator.key(node, json!({"label": "k", "scopes": ["feeds:write"], "rate_per_second": 1000})).await;
        let new = json!({"operator": operator.id, "name": "bets", "class": "gaming_transactions", "clock": "wall"});
        let made = node.call("POST", "/api/v1/feeds", Some(&node.staff), &new.to_string()).await;
        assert_eq!(made.status, 201, "{}", made.text);
        Self { key, path: format!("/api/v1/feeds/{}", made.json()["id"].as_str().unwrap_or_default()) }
    }

    async fn push(&self, node: &Node, lines: &[Vec<u8>]) -> Value {
        let request = node.request("POST", &format!("{}/records", self.path), Some(&self.key.bearer));
        let pushed = node.send(request.header("content-type", "application/x-ndjson").body(lines.join(&b'\n'))).await;
        assert_eq!(pushed.status, 200, "{}", pushed.text);
        pushed.json()
    }

    async fn push_records(&self, node: &Node, records: &[Value]) -> Value {
        self.push(node, &records.iter().map(|record| record.to_string().into_bytes()).collect::<Vec<_>>()).await
    }

    async fn get(&self, node: &Node, rest: &str) -> Value {
        let got = node.call("GET", &format!("{}{rest}", self.path), Some(&node.staff), "").await;
        assert_eq!(got.status, 200, "{}", got.text);
        got.json()
    }

    /// Ids of open records by code; one each is expected where it is asked for.
    async fn open(&self, node: &Node) -> BTreeMap<String, Vec<String>> {
        let list = self.get(node, "/quarantine?state=open&limit=500").await;
        let mut open: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for item in list["items"].as_array().into_iter().flatten() {
            let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
            open.entry(text("code")).or_default().push(text("id"));
        }
        open
    }

    /// Of all of a code: open, replayed, dismissed.
    async fn counts(&self, node: &Node, code: &str) -> [u64; 3] {
        let list = self.get(node, "/quarantine?limit=1").await;
        let counts = list["counts"].as_array().cloned().unwrap_or_default();
        let of = counts.into_iter().find(|count| count["code"] == code).unwrap_or_default();
        ["open", "replayed", "dismissed"].map(|name| of[name].as_u64().unwrap_or(0))
    }

    async fn post(&self, node: &Node, bearer: &str, rest: &str, body: &str) -> Answer {
        node.call("POST", &format!("{}/quarantine/{rest}", self.path), Some(bearer), body).await
    }

    /// Stored and open.
    async fn figures(&self, node: &Node) -> (u64, u64) {
        let source = self.get(node, "").await;
        (source["records"].as_u64().unwrap_or(0), source["quarantine_open"].as_u64().unwrap_or(0))
    }
}

fn poison() -> Faults {
    let panics = |record: &Record| assert!(!record.record_id.starts_with("poison"), "an injected fault");
    Faults { sources: Some(Arc::new(panics)), ..Faults::default() }
}

/// One refusal of each kind that a push can meet: what is sent, whether something is suggested, and what a person corrects it to.
async fn refusals(node: &Node) -> Vec<(QuarantineCode, Vec<u8>, bool, Value)> {
    let other = node.operator("other").await.key(node, json!({"label": "k", "scopes": ["lookup"]})).await;
    let made = node.call("POST", "/api/v1/bst/generate", Some(&other.bearer), r#"{"phone":"0712345678"}"#).await;
    let token = made.json()["bst"].clone();
    assert!(token.is_string(), "{}", made.text);
    let fine = |id: &str| record(id, -MINUTE);
    let bytes = |record: Value| record.to_string().into_bytes();
    let latin = fine("encoding").to_string().replace("stake\"", "stake\",\"outlet_id\":\"Caf\u{e9}\"");
    vec![
        (
            QuarantineCode::Unreadable,
            bytes(but(fine("unreadable"), "/money/amount_minor", json!("125,00"))),
            true,
            fine("unreadable"),
        ),
        (QuarantineCode::Encoding, latin.chars().map(|c| c as u8).collect(), true, fine("encoding")),
        (QuarantineCode::MissingField, bytes(but(fine("missing"), "/kind", Value::Null)), false, fine("missing")),
        (QuarantineCode::InvalidField, bytes(but(fine("invalid"), "/kind", json!("Stakes"))), true, fine("invalid")),
        (QuarantineCode::TooLarge, bytes(fine(&"x".repeat(200))), false, fine("short")),
        (
            QuarantineCode::SignMismatch,
            bytes(but(fine("sign"), "/money/amount_minor", json!(-12500))),
            true,
            fine("sign"),
        ),
        (QuarantineCode::BehindHorizon, bytes(record("behind", -30 * DAY)), false, fine("behind")),
        (QuarantineCode::InTheFuture, bytes(record("future", 3 * HOUR - MINUTE)), true, fine("future")),
        (
            QuarantineCode::UnknownPlayer,
            bytes(but(fine("player"), "/player", json!({"bst": token}))),
            false,
            fine("player"),
        ),
        (QuarantineCode::Conflict, bytes(but(fine("known"), "/money/amount_minor", json!(1))), false, {
            let mut corrected = but(fine("known-2"), "/money/amount_minor", json!(1));
            corrected["replaces"] = json!("known");
            corrected
        }),
        (QuarantineCode::DeadLetter, bytes(fine("poison")), false, fine("antidote")),
    ]
}

#[actix_web::test]
async fn every_refusal_is_explained_mended_and_stored_once() {
    let node = Node::start_with(poison()).await;
    let operator = node.operator("acme").await;
    let feed = Feed::new(&node, &operator).await;
    feed.push_records(&node, &[record("known", -MINUTE)]).await;
    let cases = refusals(&node).await;
    let lines: Vec<Vec<u8>> = cases.iter().map(|(_, sent, ..)| sent.clone()).collect();
    let pushed = feed.push(&node, &lines).await;
    assert_eq!(
        (pushed["accepted"].as_u64(), pushed["quarantined"].as_array().map(Vec::len)),
        (Some(0), Some(cases.len()))
    );
    assert_eq!(feed.figures(&node).await, (1, cases.len() as u64));
    let open = feed.open(&node).await;

    let mut stored = 1;
    for (code, sent, has_suggestion, corrected) in &cases {
        let id = &open[code.as_str()][0];
        let read = node.call("GET", &format!("{}/quarantine/{id}", feed.path), Some(&node.staff), "").await;
        assert_eq!((read.status, read.header("cache-control").as_str()), (200, "no-store"), "{}", read.text);
        let item = read.json();
        assert_eq!((item["code"].as_str(), item["state"].as_str()), (Some(code.as_str()), Some("open")));
        assert_eq!(item["sent"].as_str(), Some(&*String::from_utf8_lossy(sent)));
        assert_eq!(item["sent_base64"].is_string(), *code == QuarantineCode::Encoding);
        assert!(item["advice"].as_str().is_some_and(|advice| advice.len() > 20), "{item}");
        assert_eq!(item["suggestion"].is_object(), *has_suggestion, "{item}");

        // as it was sent it is refused as before, and the attempt is told
        let again = feed.post(&node, &node.staff, &format!("{id}/replay"), "").await;
        let again = again.json();
        assert_eq!(
            (again["outcome"].as_str(), again["item"]["state"].as_str()),
            (Some("refused"), Some("open")),
            "{again}"
        );
        assert_eq!(
            (again["item"]["attempts"].as_u64(), again["item"]["last_attempt"]["code"].as_str()),
            (Some(1), Some(code.as_str()))
        );

        let body = if *has_suggestion { item["suggestion"]["record"].clone() } else { corrected.clone() };
        let replayed = feed.post(&node, &node.staff, &format!("{id}/replay"), &body.to_string()).await;
        let replayed = replayed.json();
        assert_eq!(replayed["outcome"], "stored", "{replayed}");
        assert_eq!((&replayed["item"]["state"], &replayed["item"]["outcome"]), (&json!("replayed"), &json!("stored")));
        assert!(
            replayed["item"]["settled"]["by"].as_str().is_some_and(|by| node.staff.contains(&by[4..])),
            "{replayed}"
        );
        stored += 1;
        assert_eq!(feed.figures(&node).await.0, stored);
        let late = feed.post(&node, &node.staff, &format!("{id}/replay"), &body.to_string()).await;
        assert_eq!(late.status, 409, "{}", late.text);
        let after = feed.get(&node, &format!("/quarantine/{id}")).await;
        assert_eq!(after["suggestion"], Value::Null);
    }
    assert_eq!(feed.figures(&node).await, (stored, 0));
    let seen = feed.get(&node, "").await;
    assert_eq!(seen["quarantined"].as_u64(), Some(cases.len() as u64), "refused ever");

    // what is stored is known, also under the id of a record that was refused
    let known = feed.push_records(&node, &[cases[6].3.clone()]).await;
    assert_eq!(known["duplicates"].as_u64(), Some(1), "{known}");

    // who, what, which fields: and not a word of what was sent
    let reads = node.journaled("quarantine_read").await;
    assert_eq!(reads.len(), 2 * cases.len());
    assert!(reads.iter().all(|event| event["id"].is_string() && event["act"]["by"].is_string()), "{reads:?}");
    let replays = node.journaled("quarantine_replayed").await;
    assert_eq!(replays.len(), 2 * cases.len());
    // the time of an act is ours: its microseconds may spell anything
    let timeless = |event: &Value| {
        let mut event = event.clone();
        assert!(event["act"]["at"].take().is_i64(), "{event}");
        event
    };
    let text = Value::from_iter(replays.iter().chain(&reads).map(timeless)).to_string();
    for secret in ["712345678", "12500", "125,00", "Caf"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let sign = replays.iter().flat_map(|event| event["attempts"].as_array().cloned().unwrap_or_default());
    let sign: Vec<Value> = sign.filter(|attempt| attempt["id"] == open["sign_mismatch"][0].as_str()).collect();
    assert_eq!((&sign[0]["code"], &sign[0]["changed"]), (&json!("sign_mismatch"), &Value::Null));
    assert_eq!((&sign[1]["outcome"], &sign[1]["changed"]), (&json!("stored"), &json!(["/money/amount_minor"])));

    // and a restart finds all of it as it was
    let node = node.restart(Faults::default()).await;
    assert_eq!(feed.figures(&node).await, (stored, 0));
    assert_eq!(feed.counts(&node, "sign_mismatch").await, [0, 1, 0]);
    let again = feed.push_records(&node, &[cases[5].3.clone()]).await;
    assert_eq!(again["accepted"].as_u64(), Some(0), "its id is known: {again}");
    node.stop().await;
}

#[actix_web::test]
async fn a_record_that_broke_the_program_is_stored_once_it_is_mended() {
    let node = Node::start_with(poison()).await;
    let operator = node.operator("acme").await;
    let feed = Feed::new(&node, &operator).await;
    let mut records: Vec<Value> = (0..3).map(|n| record(&format!("poison-{n}"), -MINUTE)).collect();
    records.push(record("fine", -MINUTE));
    let pushed = feed.push_records(&node, &records).await;
    assert_eq!(pushed["accepted"].as_u64(), Some(1), "{pushed}");
    let all = json!({"code": "dead_letter", "apply": "as_sent"}).to_string();
    let tried = feed.post(&node, &node.staff, "replay", &all).await.json();
    assert_eq!((&tried["tried"], &tried["stored"], &tried["failed"]), (&json!(3), &json!(0), &json!(3)), "{tried}");
    assert!(tried["failures"].as_array().is_some_and(|f| f.iter().all(|one| one["code"] == "dead_letter")), "{tried}");
    // the source goes on meanwhile
    let pushed = feed.push_records(&node, &[record("next", -MINUTE)]).await;
    assert_eq!(pushed["accepted"].as_u64(), Some(1), "{pushed}");
    assert_eq!(feed.figures(&node).await, (2, 3));

    let node = node.restart(Faults::default()).await;
    let tried = feed.post(&node, &node.staff, "replay", &all).await.json();
    assert_eq!((&tried["stored"], &tried["failed"], &tried["next"]), (&json!(3), &json!(0), &Value::Null), "{tried}");
    assert_eq!(feed.figures(&node).await, (5, 0));
    node.stop().await;
}

#[actix_web::test]
async fn many_are_replayed_as_suggested_batch_by_batch() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let feed = Feed::new(&node, &operator).await;
    let negative = |n: usize| but(record(&format!("r{n}"), -MINUTE), "/money/amount_minor", json!(-100));
    let mut records: Vec<Value> = (0..448).map(negative).collect();
    // one that is wrong in a way that nobody can mend, and one that is stored already
    records.push(but(negative(448), "/money/currency", json!("USD")));
    let twin = but(negative(449), "/money/amount_minor", json!(100));
    records.push(but(twin.clone(), "/money/amount_minor", json!(-100)));
    feed.push_records(&node, &records).await;
    feed.push_records(&node, &[twin]).await;
    assert_eq!(feed.counts(&node, "sign_mismatch").await, [449, 0, 0]);

    let many = |fields: Value| {
        let mut body = json!({"code": "sign_mismatch", "apply": "suggestion"});
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        body.to_string()
    };
    for bad in [
        json!({"limit": 0}),
        json!({"limit": 1001}),
        json!({"apply": "all"}),
        json!({"code": "x"}),
        json!({"after": "x"}),
    ] {
        let refused = feed.post(&node, &node.staff, "replay", &many(bad)).await;
        assert_eq!(refused.status, 422, "{}", refused.text);
    }
    let as_sent = feed.post(&node, &node.staff, "replay", &many(json!({"apply": "as_sent", "limit": 3}))).await.json();
    assert_eq!((&as_sent["tried"], &as_sent["failed"]), (&json!(3), &json!(3)), "{as_sent}");
    assert_eq!(as_sent["failures"][0]["code"], "sign_mismatch");
    assert!(as_sent["next"].is_string());

    let first = feed.post(&node, &node.staff, "replay", &many(json!({"limit": 300}))).await.json();
    assert_eq!((&first["stored"], &first["failed"]), (&json!(300), &json!(0)), "{first}");
    let rest = feed.post(&node, &node.staff, "replay", &many(json!({"after": first["next"]}))).await.json();
    assert_eq!((&rest["stored"], &rest["duplicates"], &rest["next"]), (&json!(148), &json!(1), &Value::Null), "{rest}");
    assert_eq!(feed.counts(&node, "sign_mismatch").await, [0, 449, 0]);
    assert_eq!(feed.figures(&node).await, (449, 1));
    let currency = json!({"code": "invalid_field"});
    let left = feed.post(&node, &node.staff, "replay", &many(currency)).await.json();
    assert_eq!((&left["tried"], &left["failures"][0]["failure"]), (&json!(1), &json!("no_suggestion")), "{left}");
    let nothing = feed.post(&node, &node.staff, "replay", &many(json!({}))).await.json();
    assert_eq!(nothing["tried"], 0, "the same again finds nothing open: {nothing}");

    let shown = async {
        loop {
            let metrics = node.call("GET", "/metrics", None, "").await.text;
            let open = metrics.contains("mlinzi_quarantine_open{code=\"invalid_field\"} 1\n")
                && metrics.contains("mlinzi_quarantine_open{code=\"sign_mismatch\"} 0\n");
            if open {
                break metrics;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let metrics = tokio::time::timeout(PATIENCE, shown).await.expect("the figures come");
    for line in [("stored", 448), ("duplicate", 1), ("refused", 3)] {
        let line = format!("mlinzi_quarantine_replays_total{{outcome=\"{}\"}} {}\n", line.0, line.1);
        assert!(metrics.contains(&line), "{line}");
    }
    // 449 records of 12 bytes, in a table that is never nearly empty
    let ids = metrics.lines().find_map(|line| line.strip_prefix("mlinzi_dedupe_bytes "));
    let ids: u64 = ids.and_then(|bytes| bytes.parse().ok()).expect("a figure");
    assert!((449 * 12..449 * 24).contains(&ids), "{ids}");
    node.stop().await;
}

#[actix_web::test]
async fn of_all_who_decide_at_once_one_wins() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let feed = Feed::new(&node, &operator).await;
    let negative = |n: usize| but(record(&format!("r{n}"), -MINUTE), "/money/amount_minor", json!(-100));
    let records: Vec<Value> = (0..8).map(negative).collect();
    feed.push_records(&node, &records).await;
    let open = feed.open(&node).await["sign_mismatch"].clone();
    let mut stored = 0;
    for (n, id) in open.iter().enumerate() {
        let corrected = but(records[0].clone(), "/money/amount_minor", json!(100));
        let corrected = but(corrected, "/record_id", json!(format!("c{n}"))).to_string();
        let (replay, dismiss) = (format!("{id}/replay"), format!("{id}/dismiss"));
        let reason = json!({"reason": "test_data"}).to_string();
        let many = json!({"code": "sign_mismatch", "apply": "suggestion", "limit": 1}).to_string();
        let (a, b, c, d) = tokio::join!(
            feed.post(&node, &node.staff, &replay, &corrected),
            feed.post(&node, &feed.key.bearer, &replay, &corrected),
            feed.post(&node, &node.staff, &dismiss, &reason),
            feed.post(&node, &node.staff, "replay", &many),
        );
        let mut statuses = [a.status, b.status, c.status];
        statuses.sort_unstable();
        assert!(statuses.iter().all(|status| [200, 409].contains(status)), "{} {} {}", a.text, b.text, c.text);
        let item = feed.get(&node, &format!("/quarantine/{id}")).await;
        let by_hand = statuses.iter().filter(|status| **status == 200).count();
        let is_dismissed = item["state"] == "dismissed";
        assert!(by_hand <= 1 && item["state"] != "open", "{statuses:?} {item}");
        assert_eq!(is_dismissed, c.status == 200);
        stored += d.json()["stored"].as_u64().unwrap_or(0);
        stored += u64::from(by_hand == 1 && !is_dismissed);
    }
    assert_eq!(feed.figures(&node).await.0, stored, "each is stored once or not at all");
    assert!(feed.open(&node).await.is_empty());
    let node = node.restart(Faults::default()).await;
    assert_eq!(feed.figures(&node).await, (stored, 0));
    node.stop().await;
}

#[actix_web::test]
async fn a_repeated_call_changes_nothing() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let feed = Feed::new(&node, &operator).await;
    let negative = |n: usize| but(record(&format!("r{n}"), -MINUTE), "/money/amount_minor", json!(-100));
    feed.push_records(&node, &[negative(1), negative(2)]).await;
    let open = feed.open(&node).await["sign_mismatch"].clone();
    let body = but(negative(1), "/money/amount_minor", json!(100)).to_string();
    let keyed = |body: String| {
        let path = format!("{}/quarantine/{}/replay", feed.path, open[0]);
        let request = node.request("POST", &path, Some(&node.staff)).header("idempotency-key", "once");
        node.send(request.header("content-type", "application/json").body(body))
    };
    for _ in 0..2 {
        let answer = keyed(body.clone()).await;
        assert_eq!((answer.status, &answer.json()["outcome"]), (200, &json!("stored")), "{}", answer.text);
    }
    assert_eq!(keyed(body.replace("100", "101")).await.status, 409, "the same key, another record");
    assert_eq!(feed.figures(&node).await, (1, 1));

    let dismiss = |bearer: &str, reason: &str| {
        let (rest, body) = (format!("{}/dismiss", open[1]), json!({"reason": reason}).to_string());
        let (feed, node, bearer) = (&feed, &node, bearer.to_owned());
        async move { feed.post(node, &bearer, &rest, &body).await }
    };
    assert_eq!(dismiss(&node.staff, "because").await.status, 422);
    for _ in 0..2 {
        let done = dismiss(&node.staff, "test_data").await;
        assert_eq!((done.status, &done.json()["reason"]), (200, &json!("test_data")), "{}", done.text);
    }
    assert_eq!(dismiss(&node.staff, "unrepairable").await.status, 409);
    assert_eq!(node.journaled("quarantine_dismissed").await.len(), 1);
    let late = feed.post(&node, &node.staff, &format!("{}/replay", open[1]), "").await;
    assert_eq!(late.status, 409, "{}", late.text);
    assert_eq!(feed.counts(&node, "sign_mismatch").await, [0, 1, 1]);
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
codes = { "Alpha" = "alpha" }
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
amount = { plus = ["money"] }
[[check]]
name = "ggr"
gross_gaming_revenue = { plus = ["ggr"] }
"#;

/// A source that fetches from a peer.
async fn fetching(node: &Node, operator: &Operator, peer: &Peer, format: &str) -> Feed {
    let mut reader = json!({"url": peer.url(&format!("/{format}")), "format": format});
    if format == "json" {
        reader["items"] = json!("/data");
    }
    let new = json!({"operator": operator.id, "name": format, "class": "gaming_transactions", "clock": "event",
        "horizon_days": 30, "kind": "http_poll", "reader": reader, "schedule": {"every_seconds": 3600}, "mapping": MAPPING});
    let made = node.call("POST", "/api/v1/feeds", Some(&node.staff), &new.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let key = operator.key(node, json!({"label": "k", "scopes": ["feeds:write", "feeds:manage"]})).await;
    Feed { key, path: format!("/api/v1/feeds/{}", made.json()["id"].as_str().unwrap_or_default()) }
}

fn at(date: &str) -> Ts {
    Ts::parse(date).expect("a time")
}

#[actix_web::test]
async fn rows_are_replayed_through_the_mapping_as_it_is_then() {
    let feeds = FeedsConfig { allow_private_addresses: true, chance: Arc::new(|| 0.5), ..FeedsConfig::default() };
    let node = Node::start_as(Setup { feeds, ..Setup::default() }).await;
    let operator = node.operator("alpha").await;
    let peer = Peer::start(|asked: &Asked| match asked.path.as_str() {
        "/csv" => Reply::ok("id;brand;when;money;ggr\n1;Alpha;01/11/2026 10:00;12,50;12,50\n2;Alpha;2026-11-01 11:00;1,00;1,00\n3;Alpha;01/11/2026 12:00;2,00;9,00\n"),
        _ => Reply::ok(r#"{"data":[{"id":11,"brand":"Alpha","when":"01/11/2026 10:00","money":12.5,"ggr":12.5},{"id":12,"brand":"Alpha","when":"2026-11-01 11:00","money":1,"ggr":1}]}"#),
    })
    .await;
    for (format, stored, codes) in
        [("csv", 1, vec!["invalid_field", "sum_mismatch"]), ("json", 1, vec!["invalid_field"])]
    {
        let feed = fetching(&node, &operator, &peer, format).await;
        let came = async {
            while feed.figures(&node).await != (stored, codes.len() as u64) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, came).await.expect("it is fetched");
        let open = feed.open(&node).await;
        assert_eq!(open.keys().collect::<Vec<_>>(), codes);
        let id = &open["invalid_field"][0];
        let item = feed.get(&node, &format!("/quarantine/{id}")).await;
        assert_eq!((item["form"].as_str(), &item["suggestion"]), (Some(format), &Value::Null), "{item}");
        let again = feed.post(&node, &node.staff, &format!("{id}/replay"), "").await.json();
        assert_eq!(
            (&again["outcome"], &again["item"]["last_attempt"]["code"]),
            (&json!("refused"), &json!("invalid_field"))
        );

        // the regulator fetched it: its operator sees that it was refused, and not what was sent
        let listed = node.call("GET", &format!("{}/quarantine", feed.path), Some(&feed.key.bearer), "").await;
        assert_eq!(listed.status, 200);
        let read = node.call("GET", &format!("{}/quarantine/{id}", feed.path), Some(&feed.key.bearer), "").await;
        assert_eq!(read.status, 403, "{}", read.text);
        assert_eq!(feed.post(&node, &feed.key.bearer, &format!("{id}/replay"), "").await.status, 403);

        let mended = MAPPING.replace("%d/%m/%Y %H:%M", "%Y-%m-%d %H:%M");
        let change = json!({"mapping": mended, "paused": true}).to_string();
        let changed = node.call("PATCH", &feed.path, Some(&node.staff), &change).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        let success = feed.get(&node, "").await["last_success_at"].clone();
        let mapped = json!({"code": "invalid_field", "apply": "as_sent"}).to_string();
        let replayed = feed.post(&node, &node.staff, "replay", &mapped).await.json();
        assert_eq!((&replayed["stored"], &replayed["failed"]), (&json!(1), &json!(0)), "{replayed}");
        let seen = feed.get(&node, "").await;
        assert_eq!((&seen["records"], &seen["last_success_at"]), (&json!(2), &success), "nothing was delivered");
        assert_eq!(seen["last_event_at"], json!(at("2026-11-01T08:00:00Z").to_string()));
        if let Some(sum) = open.get("sum_mismatch") {
            // whoever knows what is right writes the record
            let corrected = json!({"record_id": "3", "kind": "stake", "occurred_at": "2026-11-01T12:00:00+03:00",
                "money": {"amount_minor": 900, "currency": "KES"}});
            let done =
                feed.post(&node, &node.staff, &format!("{}/replay", sum[0]), &corrected.to_string()).await.json();
            assert_eq!(done["outcome"], "stored", "{done}");
        }
    }
    node.stop().await;
}

#[actix_web::test]
async fn everybody_sees_and_does_what_is_his() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let feed = Feed::new(&node, &operator).await;
    feed.push_records(&node, &[but(record("r1", -MINUTE), "/money/amount_minor", json!(-100))]).await;
    let id = feed.open(&node).await["sign_mismatch"][0].clone();
    let manager = operator.key(&node, json!({"label": "m", "scopes": ["feeds:manage"]})).await;
    let lookups = operator.key(&node, json!({"label": "l", "scopes": ["lookup"]})).await;
    let stranger = node.operator("other").await;
    let stranger = stranger.key(&node, json!({"label": "s", "scopes": ["feeds:write", "feeds:manage"]})).await;
    let many = json!({"code": "conflict", "apply": "as_sent"}).to_string();
    let reason = json!({"reason": "test_data"}).to_string();
    let wrong = record("r1", -30 * DAY).to_string();
    let (one, replay, dismiss) = (format!("/quarantine/{id}"), format!("{id}/replay"), format!("{id}/dismiss"));
    // who; list, read, replay, many, dismiss
    for (who, bearer, wanted) in [
        ("nobody", None, [401, 401, 401, 401, 401]),
        ("a key for lookups", Some(&lookups.bearer), [403, 403, 403, 403, 403]),
        ("another operator", Some(&stranger.bearer), [404, 404, 404, 404, 403]),
        ("staff of another jurisdiction", Some(&node.neighbour), [404, 404, 404, 404, 404]),
        ("whoever pushes", Some(&feed.key.bearer), [200, 200, 200, 403, 403]),
        ("whoever manages the source", Some(&manager.bearer), [200, 200, 200, 200, 403]),
        ("staff", Some(&node.staff), [200, 200, 200, 200, 200]),
    ] {
        let bearer = bearer.map(String::as_str);
        let get = |rest: &str| format!("{}{rest}", feed.path);
        let post = |rest: &str| format!("{}/quarantine/{rest}", feed.path);
        let got = [
            node.call("GET", &get("/quarantine"), bearer, "").await.status,
            node.call("GET", &get(&one), bearer, "").await.status,
            node.call("POST", &post(&replay), bearer, &wrong).await.status,
            node.call("POST", &post("replay"), bearer, &many).await.status,
            node.call("POST", &post(&dismiss), bearer, &reason).await.status,
        ];
        assert_eq!(got, wanted, "{who}");
    }
    assert_eq!(node.journaled("quarantine_read").await.len(), 3, "only who was shown it");
    let list = feed.get(&node, "/quarantine?state=dismissed&code=sign_mismatch").await;
    assert_eq!((list["items"].as_array().map(Vec::len), &list["items"][0]["attempts"]), (Some(1), &json!(3)));
    assert_eq!(list["items"][0]["last_attempt"]["code"], "behind_horizon");
    for (query, status) in [("state=lost", 422), ("code=odd", 422), ("order=up", 422), ("state=replayed", 200)] {
        let path = format!("{}/quarantine?{query}", feed.path);
        assert_eq!(node.call("GET", &path, Some(&node.staff), "").await.status, status, "{query}");
    }
    let nothing = format!("{}/quarantine/{}", feed.path, models::ids::QuarantineId(7));
    assert_eq!(node.call("GET", &nothing, Some(&node.staff), "").await.status, 404);
    assert_eq!(node.call("POST", &format!("{nothing}/replay"), Some(&node.staff), "").await.status, 404);
    assert_eq!(node.call("POST", &format!("{nothing}/dismiss"), Some(&node.staff), &reason).await.status, 404);
    let large = json!({"record_id": "x".repeat(70_000)}).to_string();
    let large = node.call("POST", &format!("{}/quarantine/{replay}", feed.path), Some(&node.staff), &large).await;
    assert_eq!(large.status, 413, "{}", large.text);
    node.stop().await;
}
