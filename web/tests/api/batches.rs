//! Batches, lookups of the regulator's own services, and what an answer is worth afterwards.

use crate::node::{Key, Node};
use serde_json::{Value, json};

const BATCH: &str = "/api/v1/operators/batch/lookup";

async fn excluded(node: &Node, phone: &str) {
    let new = json!({"phone": phone, "period": "1_year", "reason_class": "self", "channel": "web"}).to_string();
    let made = node.call("POST", "/api/v1/nser/register", Some(&node.staff), &new).await;
    assert_eq!(made.status, 201, "{}", made.text);
}

async fn batch_key(node: &Node) -> Key {
    let scopes = json!({"label": "k", "scopes": ["lookup", "lookup:batch"], "rate_per_second": 1000});
    node.operator("acme").await.key(node, scopes).await
}

fn phone(n: usize) -> String {
    format!("07{n:08}")
}

#[actix_web::test]
async fn a_batch_answers_row_by_row_and_is_signed_as_a_whole() {
    let node = Node::start().await;
    let key = batch_key(&node).await;
    excluded(&node, &phone(7)).await;
    // more than are read ahead at once, with every kind of wrong row among them
    let mut users: Vec<Value> =
        (0..100).map(|n| json!({"phone": phone(n), "correlation_id": format!("c-{n} \"\u{e4}\"")})).collect();
    users[3] = json!({"phone": "12", "correlation_id": "wrong number"});
    users[4] = json!({"phone": 712345678, "correlation_id": "wrong type"});
    users[5] = json!({"correlation_id": "nobody"});
    users[6] = json!("not an object");
    users[8] = json!({"phone": phone(7), "bst": null, "client_reference": "x".repeat(65), "correlation_id": "long"});
    users[9] = json!({"phone": phone(7), "purpose": "login", "correlation_id": "another purpose"});
    users[10] = json!({"phone": phone(7), "idnumber": "1", "correlation_id": "mistyped"});
    let body = json!({"users": users, "purpose": "sweep"}).to_string();
    let answer = node.call("POST", BATCH, Some(&key.bearer), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let all = answer.json();
    let rows = all["results"].as_array().expect("rows");
    assert_eq!(rows.len(), 100);
    for (n, row) in rows.iter().enumerate() {
        let status = match n {
            3 | 5 | 8 | 9 => Some("urn:mlinzi:problem:invalid"),
            4 | 6 | 10 => Some("urn:mlinzi:problem:unreadable"),
            _ => None,
        };
        assert_eq!(row["problem"]["type"].as_str(), status, "row {n}: {row}");
        if n != 8 {
            assert_eq!(row["correlation_id"], users[n]["correlation_id"], "row {n}");
        }
        if status.is_none() {
            let decision = if n == 7 { "block" } else { "allow" };
            assert_eq!((row["decision"].as_str(), row["purpose"].as_str()), (Some(decision), Some("sweep")), "row {n}");
        }
    }
    let named = json!({"lookup_id": all["batch_id"], "as_of": all["as_of"]});
    assert_eq!(answer.header("x-mlinzi-signature"), key.sign(&named, &body, &answer.text));

    // the same as lines: the last one signs those before it
    let request = node.request("POST", BATCH, Some(&key.bearer)).header("content-type", "application/json");
    let answer = node.send(request.header("accept", "application/x-ndjson").body(body.clone())).await;
    let lines: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 102);
    assert_eq!(
        (lines[7]["decision"].as_str(), answer.header("content-type").as_str()),
        (Some("block"), "application/x-ndjson")
    );
    let signed = &answer.text[..answer.text.rfind("{\"signature\"").expect("a signature")];
    let named = json!({"lookup_id": lines[100]["batch_id"], "as_of": lines[100]["as_of"]});
    assert_eq!(lines[101]["signature"], key.sign(&named, &body, signed));
    assert_eq!(answer.header("x-mlinzi-signature"), lines[101]["signature"]);

    // each row has a receipt of its own
    let id = rows[7]["lookup_id"].as_str().expect("an id");
    let receipt = format!("/api/v1/operators/lookups/{id}/receipt");
    let mut answer = node.call("GET", &receipt, Some(&key.bearer), "").await;
    while answer.status == 503 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        answer = node.call("GET", &receipt, Some(&key.bearer), "").await;
    }
    assert_eq!(answer.status, 200, "{}", answer.text);
    node.stop().await;
}

#[actix_web::test]
async fn a_batch_that_cannot_be_answered_is_refused_whole() {
    let node = Node::start().await;
    let key = batch_key(&node).await;
    let other = node.operator("other").await;
    let single = other.key(&node, json!({"label": "k", "scopes": ["lookup"]})).await;
    let few = other
        .key(&node, json!({"label": "k", "scopes": ["lookup:batch"], "purposes": ["sweep"], "rate_per_second": 5}))
        .await;
    let rows = |count: usize| -> Vec<Value> { (0..count).map(|n| json!({"phone": phone(n)})).collect() };
    let batch = |users: Value| json!({"purpose": "login", "users": users}).to_string();
    let table = [
        (&single, batch(json!(rows(1))), 403, "forbidden"),
        (&few, batch(json!(rows(1))), 403, "purpose_not_allowed"),
        (&key, batch(json!([])), 422, "invalid"),
        (&key, batch(json!({})), 422, "invalid"),
        (&key, batch(json!(rows(10_001))), 422, "invalid"),
        (&key, json!({"users": rows(1)}).to_string(), 422, "invalid"),
        (&key, json!({"purpose": "login"}).to_string(), 400, "unreadable"),
        (&key, "{\"purpose\":\"login\",\"users\":[{}".to_owned(), 400, "unreadable"),
        (&key, "x".repeat(5 << 20), 413, "too_large"),
    ];
    for (key, body, status, code) in table {
        let answer = node.call("POST", BATCH, Some(&key.bearer), &body).await;
        assert_eq!(
            (answer.status, answer.json()["type"].as_str()),
            (status, Some(format!("urn:mlinzi:problem:{code}").as_str())),
            "{body:.60}"
        );
    }
    // a quota of its own, in rows
    let sweep = json!({"purpose": "sweep", "users": rows(10_000)}).to_string();
    assert_eq!(node.call("POST", BATCH, Some(&few.bearer), &sweep).await.status, 200);
    let over = node.call("POST", BATCH, Some(&few.bearer), &sweep).await;
    // 10,000 rows at 500 a second, less what has passed since the first
    let wait: u32 = over.header("retry-after").parse().expect("seconds");
    assert!(over.status == 429 && (10..=20).contains(&wait), "{} {wait}", over.status);
    node.stop().await;
}

#[actix_web::test]
async fn the_regulators_services_ask_by_body_and_by_token() {
    let node = Node::start().await;
    excluded(&node, &phone(7)).await;
    let body = json!({"phone": phone(7), "purpose": "login"}).to_string();
    let answer = node.call("POST", "/api/v1/nser/lookup", Some(&node.staff), &body).await;
    assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("excluded")), "{}", answer.text);
    let bst = answer.json()["bst"].as_str().expect("a token").to_owned();
    let get = |purpose: &str| format!("/api/v1/nser/lookup/{bst}?purpose={purpose}");
    let answer = node.call("GET", &get("withdrawal"), Some(&node.staff), "").await;
    assert_eq!(
        (answer.json()["status"].as_str(), answer.json()["decision"].as_str()),
        (Some("excluded"), Some("allow"))
    );
    assert!(!answer.header("x-mlinzi-signature").is_empty());
    for (path, status) in [
        (get("gossip"), 422),
        (format!("/api/v1/nser/lookup/{bst}"), 422),
        ("/api/v1/nser/lookup/BST-02-0?purpose=login".to_owned(), 422),
    ] {
        assert_eq!(node.call("GET", &path, Some(&node.staff), "").await.status, status, "{path}");
    }
    let operator = node.operator("acme").await.key(&node, json!({"label": "k", "scopes": ["lookup"]})).await;
    assert_eq!(node.call("POST", "/api/v1/nser/lookup", Some(&operator.bearer), &body).await.status, 403);
    assert_eq!(node.call("GET", &get("login"), Some(&operator.bearer), "").await.status, 403);
    node.stop().await;
}

#[actix_web::test]
async fn an_answer_replayed_for_another_person_fails_the_check() {
    let node = Node::start().await;
    let key = batch_key(&node).await;
    let body = json!({"phone": phone(1), "purpose": "login"}).to_string();
    let answer = node.call("POST", "/api/v1/operators/lookup", Some(&key.bearer), &body).await;
    let given = answer.header("x-mlinzi-signature");
    assert_eq!(given, key.sign(&answer.json(), &body, &answer.text));
    let other = json!({"phone": phone(2), "purpose": "login"}).to_string();
    assert_ne!(given, key.sign(&answer.json(), &other, &answer.text));
    node.stop().await;
}
