//! What callers see: statuses, problems, keys, sockets, pages.

use crate::node::{Node, Socket, promtool_check};
use serde_json::{Value, json};

const PHONE: &str = "+254712345678";

#[actix_web::test]
async fn what_is_refused_is_refused_as_a_problem() {
    let node = Node::start().await;
    let key = node.operator("acme").await.key(&node, json!({"label": "k", "scopes": ["lookup"]})).await;
    let long = "x".repeat(20 * 1024);
    let lookup = "/api/v1/operators/lookup";
    let table = [
        ("GET", "/nowhere", None, "", 404, "not_found"),
        ("GET", lookup, Some(&key), "", 405, "method_not_allowed"),
        ("POST", lookup, None, "{}", 401, "unauthenticated"),
        ("POST", lookup, Some(&key), "{", 400, "unreadable"),
        ("POST", lookup, Some(&key), r#"{"phone":712345678,"purpose":"login"}"#, 400, "unreadable"),
        ("POST", lookup, Some(&key), r#"{"phone":"0712345678"}"#, 422, "invalid"),
        ("POST", lookup, Some(&key), r#"{"phone":"0712345","purpose":"login"}"#, 422, "invalid"),
        ("POST", lookup, Some(&key), r#"{"purpose":"login"}"#, 422, "invalid"),
        ("POST", lookup, Some(&key), r#"{"phone":"0712345678","purpose":"gossip"}"#, 422, "invalid"),
        ("POST", lookup, Some(&key), r#"{"bst":"BST-02-0","purpose":"login"}"#, 422, "invalid"),
        ("POST", lookup, Some(&key), long.as_str(), 413, "too_large"),
        ("GET", "/api/v1/nser/0712345678", Some(&key), "", 403, "forbidden"),
        ("GET", "/api/v1/alerts", Some(&key), "", 403, "forbidden"),
        ("GET", "/ws/dashboards/realtime", Some(&key), "", 400, "unreadable"),
        ("POST", lookup, Some(&key), r#"["0712345678"]"#, 400, "unreadable"),
        ("POST", lookup, Some(&key), r#"{"phone":"0712345678","idnumber":"1","purpose":"login"}"#, 400, "unreadable"),
        (
            "POST",
            lookup,
            Some(&key),
            r#"{"phone":"0712345678","purpose":"login","date_of_birth":"1990"}"#,
            422,
            "invalid",
        ),
        ("POST", lookup, Some(&key), r#"{"phone":"0712345678","id_type":"library","purpose":"login"}"#, 422, "invalid"),
        ("GET", "/api/v1/operators?cursor=z_b", Some(&key), "", 422, "invalid"),
    ];
    for (method, path, key, body, status, code) in table {
        let answer = node.call(method, path, key.map(|k| k.bearer.as_str()), body).await;
        let what = format!("{method} {path} {body:.60}");
        assert_eq!(answer.status, status, "{what}: {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{what}");
        assert_eq!(answer.json()["type"], format!("urn:mlinzi:problem:{code}"), "{what}");
        assert_eq!(answer.json()["request_id"], answer.header("x-request-id"), "{what}");
        assert!(!answer.text.contains("712345"), "{what}: {}", answer.text);
    }
    let answer = node.call("GET", lookup, None, "").await;
    assert_eq!(answer.header("allow"), "POST");
    let alive = node.call("HEAD", "/health", None, "").await;
    assert_eq!((alive.status, alive.text.as_str()), (200, ""));
    let typed = node
        .send(node.request("POST", lookup, Some(&key.bearer)).header("content-type", "text/plain").body("{}"))
        .await;
    assert_eq!((typed.status, typed.json()["type"].as_str()), (415, Some("urn:mlinzi:problem:unsupported_media_type")));
    node.stop().await;
}

#[actix_web::test]
async fn a_request_id_is_taken_or_made() {
    let node = Node::start().await;
    let given = node.send(node.request("GET", "/health/live", None).header("x-request-id", "mine-17")).await;
    assert_eq!(given.header("x-request-id"), "mine-17");
    let long = node.send(node.request("GET", "/health/live", None).header("x-request-id", "x".repeat(200))).await;
    assert_eq!(long.header("x-request-id").len(), 36);
    assert_eq!(long.header("x-content-type-options"), "nosniff");
    node.stop().await;
}

#[actix_web::test]
async fn an_exclusion_blocks_the_next_lookup_and_the_answer_is_signed() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let key = operator.key(&node, json!({"label": "k", "scopes": ["lookup"], "rate_per_second": 1000})).await;
    let ask = |purpose: &str| json!({"phone": PHONE, "purpose": purpose, "client_reference": "r-1"}).to_string();

    let before = node.call("POST", "/api/v1/operators/lookup", Some(&key.bearer), &ask("login")).await;
    assert_eq!(before.status, 200, "{}", before.text);
    assert_eq!(
        (before.json()["decision"].as_str(), before.json()["match"]["grade"].as_str()),
        (Some("allow"), Some("none"))
    );

    let new =
        json!({"phone": "0712 345 678", "period": "6_months", "reason_class": "self", "channel": "web"}).to_string();
    let staff = node.staff.as_str();
    let with_key = |body: &str| {
        node.request("POST", "/api/v1/nser/register", Some(staff))
            .header("idempotency-key", "i-1")
            .body(body.to_owned())
    };
    let created = node.send(with_key(&new)).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let id = created.json()["exclusion_id"].as_str().unwrap_or_default().to_owned();

    let body = ask("login");
    let after = node.call("POST", "/api/v1/operators/lookup", Some(&key.bearer), &body).await;
    let answer = after.json();
    assert_eq!(
        (answer["decision"].as_str(), answer["status"].as_str(), answer["excluded"].as_bool()),
        (Some("block"), Some("excluded"), Some(true))
    );
    assert_eq!(answer["exclusion"]["ends_at"], Value::Null);
    assert_eq!(answer["risk_level"], Value::Null);
    assert_eq!(answer["client_reference"], "r-1");
    assert!(!after.text.contains("712345678"));
    assert_eq!(after.header("x-mlinzi-signature"), key.sign(&answer, &body, &after.text));
    assert_eq!(after.header("ratelimit"), "", "far from the limit nobody is told of it");
    let slow = operator.key(&node, json!({"label": "slow", "scopes": ["lookup"], "rate_per_second": 2})).await;
    let near = node.call("POST", "/api/v1/operators/lookup", Some(&slow.bearer), &ask("login")).await;
    assert_eq!(
        (near.header("ratelimit"), near.header("ratelimit-policy")),
        ("\"key\";r=1;t=1".into(), "\"key\";q=2;w=1".into())
    );

    let pay_out = node.call("POST", "/api/v1/operators/lookup", Some(&key.bearer), &ask("withdrawal")).await.json();
    assert_eq!(
        (pay_out["decision"].as_str(), pay_out["status"].as_str(), pay_out["excluded"].as_bool()),
        (Some("allow"), Some("excluded"), Some(false))
    );

    let by_token = json!({"bst": answer["bst"], "purpose": "bet"}).to_string();
    let again = node.call("POST", "/api/v1/operators/lookup", Some(&key.bearer), &by_token).await.json();
    assert_eq!((again["decision"].as_str(), &again["bst"]), (Some("block"), &answer["bst"]));
    let other = node.operator("other").await.key(&node, json!({"label": "k", "scopes": ["lookup"]})).await;
    assert_eq!(node.call("POST", "/api/v1/operators/lookup", Some(&other.bearer), &by_token).await.status, 422);

    let repeated = node.send(with_key(&new)).await;
    assert_eq!((repeated.status, repeated.json()["exclusion_id"].as_str()), (201, Some(id.as_str())));
    let changed = new.replace("6_months", "permanent");
    assert_eq!(node.send(with_key(&changed)).await.status, 409);
    let same = node.call("POST", "/api/v1/nser/register", Some(staff), &new).await;
    assert_eq!((same.status, same.json()["exclusion_id"].as_str()), (200, Some(id.as_str())));

    let shorter = node.call("PUT", &format!("/api/v1/nser/{id}/extend"), Some(staff), r#"{"period":"1_month"}"#).await;
    assert!(matches!(shorter.status, 409 | 422), "{}", shorter.text);
    let longer = node.call("PUT", &format!("/api/v1/nser/{id}/extend"), Some(staff), r#"{"period":"5_years"}"#).await;
    assert_eq!((longer.status, longer.json()["at_end"].as_str()), (200, Some("stay_on")));
    let read = node.call("GET", &format!("/api/v1/nser/{id}"), Some(staff), "").await;
    assert_eq!((read.status, read.json()["period"].as_str()), (200, Some("5_years")));
    let stats = node.call("GET", "/api/v1/nser/stats", Some(staff), "").await.json();
    assert_eq!((stats["active"].as_u64(), stats["by_period"]["5_years"].as_u64()), (Some(1), Some(1)));
    node.stop().await;
}

#[actix_web::test]
async fn a_registration_names_every_wrong_field() {
    let node = Node::start().await;
    let body = json!({"phone": "12", "period": "2_weeks", "channel": "fax", "date_of_birth": "1990-02-30", "effective_at": "2999-01-01T00:00:00Z"});
    let answer = node.call("POST", "/api/v1/nser/register", Some(&node.staff), &body.to_string()).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    let json = answer.json();
    let mut pointers: Vec<&str> =
        json["errors"].as_array().map(|e| e.iter().filter_map(|e| e["pointer"].as_str()).collect()).unwrap_or_default();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/channel", "/date_of_birth", "/effective_at", "/period", "/phone", "/reason_class"]);
    node.stop().await;
}

#[actix_web::test]
async fn an_exclusion_that_would_keep_nobody_out_is_refused() {
    let node = Node::start().await;
    let new = |field: &str, value: &str| {
        let mut new = json!({"phone": PHONE, "period": "24_hours", "reason_class": "self", "channel": "web"});
        new[field] = value.into();
        new.to_string()
    };
    let table = [
        ("effective_at", "2020-01-01T00:00:00Z", 422),
        ("effective_at", "1970-01-01T00:00:00Z", 422),
        ("date_of_birth", "2099-01-01", 422),
        ("date_of_birth", "1990-05-01", 201),
    ];
    for (field, value, status) in table {
        let answer = node.call("POST", "/api/v1/nser/register", Some(&node.staff), &new(field, value)).await;
        assert_eq!(answer.status, status, "{field} {value}: {}", answer.text);
    }
    node.stop().await;
}

#[actix_web::test]
async fn keys_are_limited_and_die_at_once() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let lookup = json!({"phone": PHONE, "purpose": "login"}).to_string();
    let path = "/api/v1/operators/lookup";

    let elsewhere =
        operator.key(&node, json!({"label": "k", "scopes": ["lookup"], "allow_from": ["10.0.0.0/8"]})).await;
    let refused = node.call("POST", path, Some(&elsewhere.bearer), &lookup).await;
    assert_eq!(
        (refused.status, refused.json()["type"].as_str()),
        (403, Some("urn:mlinzi:problem:address_not_allowed"))
    );

    let narrow = operator.key(&node, json!({"label": "k", "scopes": ["lookup"], "purposes": ["bet"]})).await;
    let refused = node.call("POST", path, Some(&narrow.bearer), &lookup).await;
    assert_eq!(
        (refused.status, refused.json()["type"].as_str()),
        (403, Some("urn:mlinzi:problem:purpose_not_allowed"))
    );

    let slow = operator.key(&node, json!({"label": "k", "scopes": ["lookup"], "rate_per_second": 1})).await;
    let mut limited = None;
    for _ in 0..50 {
        let answer = node.call("POST", path, Some(&slow.bearer), &lookup).await;
        limited = (answer.status == 429).then_some(answer);
        if limited.is_some() {
            break;
        }
    }
    let limited = limited.expect("50 requests within a few seconds are over a rate of one");
    assert_eq!(
        (limited.header("retry-after"), limited.header("ratelimit-policy")),
        ("1".to_owned(), "\"key\";q=1;w=1".to_owned())
    );

    let key = operator.key(&node, json!({"label": "k", "scopes": ["lookup"]})).await;
    let keys = format!("/api/v1/operators/{}/keys", operator.id);
    let rotated = node.call("POST", &format!("{keys}/{}/rotate", key.id), Some(&node.staff), "").await;
    assert_eq!(rotated.status, 201, "{}", rotated.text);
    let next = rotated.json()["bearer"].as_str().unwrap_or_default().to_owned();
    for bearer in [&key.bearer, &next] {
        assert_eq!(node.call("POST", path, Some(bearer), &lookup).await.status, 200, "both live during the overlap");
    }
    let gone = node.call("DELETE", &format!("{keys}/{}", key.id), Some(&node.staff), "").await;
    assert_eq!(gone.status, 204);
    assert_eq!(node.call("POST", path, Some(&key.bearer), &lookup).await.status, 401);
    let listed = node.call("GET", &format!("{keys}?limit=2"), Some(&node.staff), "").await;
    assert!(listed.json()["next_cursor"].is_string());
    assert!(!listed.text.contains("secret"), "{}", listed.text);
    node.stop().await;
}

#[actix_web::test]
async fn a_repeated_write_is_made_once() {
    let node = Node::start().await;
    let send = async |path: &str, key: &str, body: &str| {
        let request = node.request("POST", path, Some(&node.staff)).header("content-type", "application/json");
        node.send(request.header("Idempotency-Key", key).body(body.to_owned())).await
    };
    let (register, alpha) = ("/api/v1/operators/register", r#"{"code":"alpha","name":"Alpha"}"#);
    let first = send(register, "one", alpha).await;
    let again = send(register, "one", alpha).await;
    assert_eq!((first.status, again.status), (201, 201), "{}", again.text);
    assert_eq!(first.text, again.text, "the same operator");
    let other = send(register, "one", r#"{"code":"beta","name":"Beta"}"#).await;
    assert_eq!(other.status, 409, "the same key for something else: {}", other.text);
    let nameless = node.call("POST", register, Some(&node.staff), alpha).await;
    assert_eq!(nameless.status, 409, "without a key the code is taken");

    let operator = first.json()["id"].as_str().unwrap_or_default().to_owned();
    let keys = format!("/api/v1/operators/{operator}/keys");
    let new = r#"{"label":"one","scopes":["lookup"]}"#;
    let made = send(&keys, "two", new).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let again = send(&keys, "two", new).await;
    let id = made.json()["id"].as_str().unwrap_or_default().to_owned();
    assert_eq!((again.status, again.text.contains(&id)), (409, true), "names the key it has made: {}", again.text);
    let rotate = format!("{keys}/{id}/rotate");
    assert_eq!(send(&rotate, "two", "").await.status, 201, "another path is another write");
    assert_eq!(send(&rotate, "two", "").await.status, 409);
    let listed = node.call("GET", &keys, Some(&node.staff), "").await.json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2), "{listed}");
    node.stop().await;
}

#[actix_web::test]
async fn operators_change_by_version_and_only_for_staff() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let path = format!("/api/v1/operators/{}", operator.id);
    let read = node.call("GET", &path, Some(&node.staff), "").await;
    assert_eq!(read.header("etag"), "\"1\"");
    let patch = |etag: &str, body: &'static str| {
        node.request("PATCH", &path, Some(&node.staff)).header("if-match", etag.to_owned()).body(body)
    };
    assert_eq!(node.send(patch("\"7\"", r#"{"name":"x"}"#)).await.status, 412);
    let renamed = node.send(patch("\"1\"", r#"{"name":"Acme Bets"}"#)).await;
    assert_eq!((renamed.status, renamed.header("etag")), (200, "\"2\"".to_owned()));

    let key = operator.key(&node, json!({"label": "k", "scopes": ["lookup"]})).await;
    assert_eq!(node.call("GET", &path, Some(&key.bearer), "").await.status, 200, "its own");
    let other = node.operator("other").await;
    assert_eq!(node.call("GET", &format!("/api/v1/operators/{}", other.id), Some(&key.bearer), "").await.status, 404);
    assert_eq!(node.call("PATCH", &path, Some(&key.bearer), r#"{"name":"y"}"#).await.status, 403);

    let licence = json!({"number": "BK 0001", "class": "online_betting", "products": ["sportsbook"], "valid_from": "2026-01-01T00:00:00Z"});
    let put = node.call("PUT", &format!("{path}/licence"), Some(&node.staff), &licence.to_string()).await;
    assert_eq!(put.status, 200, "{}", put.text);
    let twice = node.call("PUT", &format!("{path}/licence"), Some(&node.staff), &licence.to_string()).await;
    assert_eq!(twice.json()["id"], put.json()["id"]);

    assert_eq!(node.send(patch("*", r#"{"state":"suspended"}"#)).await.status, 200);
    let refused = node.call("GET", &path, Some(&key.bearer), "").await;
    assert_eq!(refused.json()["type"], "urn:mlinzi:problem:operator_not_active");
    node.stop().await;
}

#[actix_web::test]
async fn a_push_is_counted_and_bad_records_are_listed() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let key = operator
        .key(&node, json!({"label": "k", "scopes": ["feeds:write", "feeds:manage"], "rate_per_second": 100}))
        .await;
    let new = json!({"name": "bets", "class": "gaming_transactions", "clock": "event", "horizon_days": 30}).to_string();
    let source = node.call("POST", "/api/v1/feeds", Some(&key.bearer), &new).await;
    assert_eq!(source.status, 201, "{}", source.text);
    let path = format!("/api/v1/feeds/{}", source.json()["id"].as_str().unwrap_or_default());
    let record = |id: &str, kind: &str| {
        json!({"record_id": id, "kind": kind, "occurred_at": "2026-11-01T10:00:00Z", "status": "successful",
            "money": {"amount_minor": 12500, "currency": "KES"}})
        .to_string()
    };
    let lines = [record("1", "stake"), record("2", "payout"), record("3", "nonsense")].join("\n");
    let push = |query: &str| {
        let request = node.request("POST", &format!("{path}/records{query}"), Some(&key.bearer));
        request.header("content-type", "application/x-ndjson").body(lines.clone())
    };
    let dry = node.send(push("?dry_run=true")).await;
    assert_eq!((dry.status, &dry.json()["batch_id"]), (200, &Value::Null), "{}", dry.text);
    let stored = node.send(push("")).await.json();
    assert_eq!((stored["accepted"].as_u64(), stored["quarantined"][0]["index"].as_u64()), (Some(2), Some(2)));
    let keyed = |body: &str| {
        let request = node.request("POST", "/api/v1/feeds", Some(&key.bearer)).header("idempotency-key", "f-1");
        node.send(request.header("content-type", "application/json").body(body.to_owned()))
    };
    let second = new.replace("bets", "more-bets");
    let made = keyed(&second).await;
    assert_eq!((made.status, keyed(&second).await.json()["id"].clone()), (201, made.json()["id"].clone()));
    assert_eq!(keyed(&new).await.status, 409, "the same key, another request");
    let other = new.replace("\"event\"", "\"wall\"");
    for (body, status) in [(&new, 200), (&other, 409)] {
        let twin = node.call("POST", "/api/v1/feeds", Some(&key.bearer), body).await;
        assert_eq!(twin.status, status, "{}", twin.text);
    }
    assert_eq!(node.call("GET", &path, Some(&key.bearer), "").await.json()["id"], source.json()["id"]);
    let again = node.send(push("")).await.json();
    assert_eq!((again["accepted"].as_u64(), again["duplicates"].as_u64()), (Some(0), Some(2)));
    let bad = node.call("GET", &format!("{path}/quarantine?cursor=garbage"), Some(&key.bearer), "").await;
    assert_eq!(bad.status, 422, "{}", bad.text);
    let refused = node.call("GET", &format!("{path}/quarantine"), Some(&key.bearer), "").await;
    assert!(refused.json()["items"].as_array().is_some_and(|items| !items.is_empty()), "{}", refused.text);
    let other = node.operator("other").await.key(&node, json!({"label": "k", "scopes": ["feeds:write"]})).await;
    assert_eq!(node.call("POST", &format!("{path}/records"), Some(&other.bearer), "[]").await.status, 404);
    node.stop().await;
}

#[actix_web::test]
async fn sockets_need_a_credential_and_die_with_it() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let path = "/ws/dashboards/realtime";
    assert_eq!(Socket::open(&node, path, &[]).await.err(), Some(401), "no subprotocol: a plain answer");
    let mut nobody =
        Socket::open(&node, path, &[("Sec-WebSocket-Protocol", "mlinzi.v1")]).await.expect("opened to be closed");
    assert_eq!(nobody.closed().await, Some(4001));

    let key = operator.key(&node, json!({"label": "k", "scopes": ["feeds:manage"]})).await;
    let bearer = format!("Bearer {}", key.bearer);
    let headers = [("Sec-WebSocket-Protocol", "mlinzi.v1"), ("Authorization", bearer.as_str())];
    let mut socket = Socket::open(&node, path, &headers).await.expect("a key with a feed scope watches its operator");
    assert_eq!(socket.json().await["type"], "welcome");
    let own = format!("operator:{}", operator.id);
    socket.text(&json!({"type": "subscribe", "topics": ["national", own]}).to_string()).await;
    let frames = [socket.json().await, socket.json().await];
    assert_eq!((frames[0]["type"].as_str(), frames[0]["code"].as_str()), (Some("error"), Some("forbidden")));
    assert_eq!((frames[1]["type"].as_str(), frames[1]["topic"].as_str()), (Some("snapshot"), Some(own.as_str())));
    socket.text("not json").await;
    assert_eq!(socket.json().await["code"], "unreadable");

    let mut more = Vec::new();
    let refused = loop {
        match Socket::open(&node, path, &headers).await {
            Ok(socket) => more.push(socket),
            Err(status) => break status,
        }
    };
    assert_eq!(
        (refused, more.len() + 1),
        (429, actors::live::LiveLimits::default().sessions_per_key),
        "one key has its share"
    );

    let revoke = format!("/api/v1/operators/{}/keys/{}", operator.id, key.id);
    assert_eq!(node.call("DELETE", &revoke, Some(&node.staff), "").await.status, 204);
    assert_eq!(socket.closed().await, Some(4003));
    node.stop().await;
}

#[actix_web::test]
async fn a_link_signs_a_browser_in_once_and_only_from_its_own_origin() {
    let node = Node::start().await;
    let token = node.link();
    let first = node.call("GET", &format!("/?t={token}"), None, "").await;
    assert_eq!((first.status, first.header("location")), (303, "/".to_owned()));
    let cookie = first.header("set-cookie");
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let second = node.call("GET", &format!("/?t={token}"), None, "").await;
    assert_eq!((second.status, second.header("set-cookie")), (303, String::new()));

    let cookie = cookie.split(';').next().unwrap_or_default();
    let open = |origin: String| {
        let node = &node;
        async move {
            let headers = [("Sec-WebSocket-Protocol", "mlinzi.v1"), ("Cookie", cookie), ("Origin", origin.as_str())];
            Socket::open(node, "/ws/dashboards/realtime", &headers).await
        }
    };
    assert_eq!(open("https://evil.example".to_owned()).await.err(), Some(403));
    let mut socket = open(format!("http://{}", node.address)).await.expect("the page's own origin");
    assert_eq!(socket.json().await["type"], "welcome");
    socket.text(r#"{"type":"subscribe","topics":["national","alerts","feeds","system"]}"#).await;
    for topic in ["national", "alerts", "feeds", "system"] {
        let frame = socket.json().await;
        assert_eq!((frame["type"].as_str(), frame["topic"].as_str()), (Some("snapshot"), Some(topic)));
    }
    node.stop().await;
}

#[actix_web::test]
async fn a_key_lets_a_browser_in_and_takes_it_out_with_itself() {
    let node = Node::start().await;
    let operator = node.operator("alpha").await;
    let blind = operator.key(&node, json!({"label": "t", "scopes": ["lookup"]})).await;
    let refused = node.call("POST", "/api/v1/links", Some(&blind.bearer), "").await;
    assert_eq!(refused.status, 403, "a key that sees nothing shows nothing");
    let late = node.call("POST", "/api/v1/links", Some(&node.staff), r#"{"expires_in_seconds": 86401}"#).await;
    assert_eq!(late.status, 422, "{}", late.text);

    let key = operator.key(&node, json!({"label": "t", "scopes": ["feeds:write"]})).await;
    let made = node.call("POST", "/api/v1/links", Some(&key.bearer), "").await;
    assert_eq!((made.status, made.header("cache-control")), (201, "no-store".to_owned()), "{}", made.text);
    let path = made.json()["path"].as_str().unwrap_or_default().to_owned();
    let cookie = node.call("GET", &path, None, "").await.header("set-cookie");
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    assert_eq!(node.call("GET", &path, None, "").await.header("location"), "/?link=used");
    let origin = format!("http://{}", node.address);
    let headers = [("Sec-WebSocket-Protocol", "mlinzi.v1"), ("Cookie", &*cookie), ("Origin", &*origin)];
    let mut socket = Socket::open(&node, "/ws/dashboards/realtime", &headers).await.expect("a socket");
    assert_eq!(socket.json().await["type"], "welcome");
    // an operator sees itself and nobody else
    socket.text(&json!({"type": "subscribe", "topics": ["national"]}).to_string()).await;
    assert_eq!(socket.json().await["code"], "forbidden");

    let path = format!("/api/v1/operators/{}/keys/{}", operator.id, key.id);
    assert_eq!(node.call("DELETE", &path, Some(&node.staff), "").await.status, 204);
    assert_eq!(socket.closed().await, Some(4003), "the key is gone, and the session with it");
    let mut again = Socket::open(&node, "/ws/dashboards/realtime", &headers).await.expect("a handshake");
    assert_eq!(again.closed().await, Some(4001));
    node.stop().await;
}

#[actix_web::test]
async fn health_metrics_and_pages_answer() {
    let node = Node::start().await;
    for path in [
        "/",
        "/page.css",
        "/page.js",
        "/sparkline.js",
        "/docs",
        "/docs.js",
        "/health",
        "/health/live",
        "/health/ready",
        "/version",
        "/api/openapi.json",
    ] {
        let answer = node.call("GET", path, None, "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert!(answer.header("content-security-policy").contains("default-src 'none'"), "{path}");
    }
    let actors = node.call("GET", "/api/v1/system/actors", Some(&node.staff), "").await;
    assert!(
        actors.json()["actors"].as_array().is_some_and(|a| a.iter().any(|a| a["name"] == "register")),
        "{}",
        actors.text
    );
    let metrics = node.call("GET", "/metrics", None, "").await;
    assert!(metrics.text.contains("mlinzi_http_request_duration_seconds_bucket"));
    promtool_check(&metrics.text);
    node.stop().await;
}
