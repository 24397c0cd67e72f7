//! The life of a rule's versions, through the running node: proposed, tried, promoted, taken back.

use crate::node::{AheadClock, Node, Setup};
use actors::api::NewKey;
use actors::rule_versions::{RuleCommand, RuleOrder};
use models::ids::KeyId;
use models::jurisdiction::JurisdictionNo;
use models::operator::Scope;
use models::ts::DAY;
use serde_json::{Value, json};
use std::sync::Arc;
use store::Clock as _;

const RULES: &str = "/api/v1/rules";
/// The rule whose versions these tests make.
pub const RULE: &str = "/api/v1/rules/structured_deposits";
const KE: JurisdictionNo = JurisdictionNo(0);

/// A key of staff, beside those of the node.
async fn key(node: &Node, scopes: &[Scope]) -> (KeyId, String) {
    key_of(node, "somebody else", scopes).await
}

/// The same for somebody by name.
async fn key_of(node: &Node, label: &str, scopes: &[Scope]) -> (KeyId, String) {
    let new = NewKey {
        operator: None,
        jurisdiction: KE,
        label: label.to_owned(),
        scopes: scopes.to_vec(),
        purposes: Vec::new(),
        allow_from: Vec::new(),
        rate_per_second: 10_000,
        expires_at: None,
    };
    let issued = node.engine.create_key(new, None).await.expect("a key");
    (issued.key.id, issued.bearer)
}

/// Somebody else who may promote.
pub async fn second(node: &Node) -> String {
    key(node, &[Scope::RulesManage]).await.1
}

/// What a path answers staff.
pub async fn get(node: &Node, path: &str) -> Value {
    let answer = node.call("GET", path, Some(&node.staff), "").await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer.json()
}

/// Status and body of a write under the rule.
pub async fn post(node: &Node, bearer: &str, path: &str, body: &Value) -> (u16, Value) {
    let done = node.call("POST", &format!("{RULE}{path}"), Some(bearer), &body.to_string()).await;
    (done.status, done.json())
}

/// The same by the node's own staff; it must go well.
pub async fn does(node: &Node, path: &str, body: &Value) -> Value {
    let (status, done) = post(node, &node.staff, path, body).await;
    assert!(status == 200 || status == 201, "{path}: {status} {done}");
    done
}

/// A body with a note alone.
pub fn why(note: &str) -> Value {
    json!({"note": note})
}

/// `1 live, 2 shadow`.
pub async fn states(node: &Node) -> String {
    let versions = get(node, &format!("{RULE}/versions")).await;
    let mut all: Vec<String> = versions["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|version| format!("{} {}", version["version"], version["state"].as_str().unwrap_or_default()))
        .collect();
    all.reverse();
    all.join(", ")
}

/// Proposes a version with that many deposits; gives its number.
pub async fn propose(node: &Node, deposits_min: i64) -> i64 {
    let body = json!({"parameters": {"deposits_min": deposits_min}, "note": "try another number"});
    does(node, "/versions", &body).await["version"].as_i64().expect("a number")
}

#[actix_web::test]
async fn the_catalogue_says_what_is_looked_for() {
    let node = Node::start().await;
    let all = get(&node, RULES).await;
    let items = all["items"].as_array().expect("items");
    assert_eq!(items.len(), engine::rules::list::ABOUT.len());
    let rule = items.iter().find(|rule| rule["name"] == "structured_deposits").expect("the rule");
    assert_eq!((&rule["home"], &rule["hears"]), (&json!("operator"), &json!(["deposit", "undone"])));
    let expected = json!({"version": 1, "from": "1970-01-01T00:00:00.000Z", "to": null, "hits": {"day": 0, "week": 0},
        "below_forecast": null});
    assert_eq!((&rule["live"], &rule["shadow"]), (&expected, &Value::Null));
    let param = &rule["params"].as_array().expect("parameters")[3];
    assert_eq!(param["name"], "deposits_min", "{param}");
    assert_eq!(
        (&param["value"], &param["default"], &param["min"], &param["max"]),
        (&json!(3), &json!(3), &json!(2), &json!(20))
    );
    assert!(param["unit"] == "deposits" && param["source"].as_str().is_some_and(|source| !source.is_empty()));
    // two that run in the market and at the desk take versions, too
    for (name, home, version) in [("robust_deviation", "market", 3), ("feed_silent", "desk", 1)] {
        let own = items.iter().find(|rule| rule["name"] == name).expect("the rule");
        assert_eq!((&own["home"], &own["live"]["version"]), (&json!(home), &json!(version)), "{name}");
        assert!(own["params"].as_array().is_some_and(|params| params.iter().all(|param| param["value"].is_i64())));
    }
    let elsewhere = items.iter().find(|rule| rule["name"] == "feed_tampered").expect("the rule");
    assert_eq!((&elsewhere["home"], &elsewhere["live"]), (&json!("elsewhere"), &Value::Null));
    // one by itself is the same, with what became of it
    let mut one = get(&node, RULE).await;
    assert_eq!(one["changes"], json!([]));
    one.as_object_mut().expect("an object").remove("changes");
    assert_eq!(one, *rule);
    node.stop().await;
}

#[actix_web::test]
async fn a_version_is_proposed_tried_promoted_by_somebody_else_and_taken_back() {
    let node = Node::start().await;
    let other = second(&node).await;
    let body = json!({"parameters": {"deposits_min": 4, "span_hours": 48}, "note": "Circular 7"});
    let made = node.call("POST", &format!("{RULE}/versions"), Some(&node.staff), &body.to_string()).await;
    assert_eq!((made.status, made.header("etag").as_str()), (201, "\"1\""), "{}", made.text);
    let made = made.json();
    assert_eq!(
        (&made["version"], &made["state"], &made["parameters"]["band_percent"]),
        (&json!(2), &json!("proposed"), &json!(20))
    );
    let differs =
        json!([{"name": "deposits_min", "live": 3, "this": 4}, {"name": "span_hours", "live": 24, "this": 48}]);
    assert_eq!(made["differs"], differs);
    assert_eq!(states(&node).await, "1 live, 2 proposed");

    assert_eq!(does(&node, "/versions/2/shadow", &json!({"run": true, "note": "a week"})).await["state"], "shadow");
    assert_eq!(get(&node, RULE).await["shadow"]["version"], 2);
    does(&node, "/versions/2/shadow", &json!({"run": false, "note": "enough"})).await;
    assert_eq!(states(&node).await, "1 live, 2 proposed");

    let (status, refused) = post(&node, &node.staff, "/versions/2/promote", &why("it is good")).await;
    assert_eq!((status, refused["type"].as_str()), (403, Some("urn:mlinzi:problem:forbidden")), "{refused}");
    assert!(refused["detail"].as_str().is_some_and(|why| why.contains("somebody else has to promote it")), "{refused}");
    let (status, promoted) = post(&node, &other, "/versions/2/promote", &why("looked at 12 findings")).await;
    assert_eq!((status, &promoted["state"]), (200, &json!("live")), "{promoted}");
    assert_eq!(promoted["promoted"]["note"], "looked at 12 findings");
    assert_ne!(promoted["promoted"]["by"], promoted["proposed"]["by"]);
    assert_eq!(states(&node).await, "1 ended, 2 live");
    // one instant ends the one and begins the other
    let first = get(&node, &format!("{RULE}/versions/1")).await;
    assert_eq!(first["live"][0]["to"], promoted["live"][0]["from"]);
    let rule = get(&node, RULE).await;
    assert_eq!((&rule["live"]["version"], &rule["params"][3]["value"]), (&json!(2), &json!(4)));

    let back = does(&node, "/rollback", &why("too many")).await;
    assert_eq!(back["live"]["version"], 1, "{back}");
    assert_eq!(states(&node).await, "1 live, 2 ended");
    assert_eq!(post(&node, &other, "/versions/2/promote", &why("again")).await.0, 409);
    assert_eq!(post(&node, &node.staff, "/rollback", &why("further")).await.0, 409);
    assert_eq!(does(&node, "/off", &why("the law is gone")).await["live"], Value::Null);
    assert_eq!(post(&node, &node.staff, "/off", &why("again")).await.0, 409);
    assert_eq!(does(&node, "/rollback", &why("it is not")).await["live"]["version"], 1);

    // who did what, when and why
    let rule = get(&node, RULE).await;
    let changes = rule["changes"].as_array().expect("changes");
    let told: Vec<String> = changes
        .iter()
        .rev()
        .map(|c| {
            format!("{} {} {} {}", c["change"], c["what"].as_str().unwrap(), c["version"], c["note"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            "1 proposed 2 Circular 7",
            "2 shadow_started 2 a week",
            "3 shadow_stopped 2 enough",
            "4 promoted 2 looked at 12 findings",
            "5 rolled_back 1 too many",
            "6 turned_off null the law is gone",
            "7 rolled_back 1 it is not",
        ]
    );
    assert!(changes.iter().all(|c| c["by"].as_str().is_some_and(|by| by.starts_with("key_")) && c["at"].is_string()));
    let journaled = node.journaled("rule_changed").await;
    assert_eq!((journaled.len(), &journaled[3]["by"]), (7, &changes[3]["by"]));

    // every set that ever was in force is there after a restart
    let sets = |node: &Node| {
        let directory = node.engine.directory();
        let last = directory.rules(KE).0;
        (last, (0..=last).map(|seq| directory.rules_as_of(KE, seq)).collect::<Vec<_>>())
    };
    let before = sets(&node);
    assert_eq!(before.0, changes[0]["seq"].as_i64().expect("a place"));
    let node = node.restart(actors::engine::Faults::default()).await;
    assert_eq!(sets(&node), before);
    assert_eq!(get(&node, RULE).await, rule);
    node.stop().await;
}

#[actix_web::test]
async fn what_is_wrong_is_said() {
    let clock = Arc::<AheadClock>::default();
    let node = Node::start_as(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let other = second(&node).await;
    let at = |micros: i64| clock.now().plus(micros).to_string();
    let version = |parameters: Value| json!({"parameters": parameters, "note": "x"});
    let timed = |from: Value, to: Value| json!({"parameters": {"deposits_min": 9}, "effective_from": from, "effective_to": to, "note": "x"});
    // a version that becomes live in ten days
    let later = json!({"parameters": {"deposits_min": 5}, "effective_from": at(10 * DAY), "note": "x"});
    does(&node, "/versions", &later).await;
    assert_eq!(post(&node, &other, "/versions/2/promote", &why("x")).await.1["state"], "scheduled");
    let table = [
        ("/versions", version(json!({"deposits_min": 1})), 422, "must be from 2 to 20 deposits"),
        ("/versions", version(json!({"deposits_min": "four"})), 422, "not of the form of its default, 3"),
        ("/versions", version(json!({"colour": "0712345678"})), 422, "known are currency, thresholds_minor"),
        ("/versions", version(json!({"deposits_min": 3})), 409, "are those of version 1, which is live then"),
        ("/versions", version(json!({})), 409, "are those of version 1, which is live then"),
        ("/versions", version(json!([1])), 400, "wrong json type"),
        ("/versions", json!({"parameters": {"deposits_min": 9}}), 422, "required"),
        ("/versions", json!({"parameters": {"deposits_min": 9}, "note": " "}), 422, "required"),
        ("/versions", json!({"parameters": {"deposits_min": 9}, "note": "x".repeat(501)}), 422, "longer than 500"),
        ("/versions", json!({"params": {}, "note": "x"}), 400, "a field is unknown"),
        ("/versions", timed(json!(at(-DAY)), Value::Null), 422, "in the past"),
        ("/versions", timed(json!(at(DAY)), json!(at(DAY))), 422, "not after effective_from"),
        ("/versions", timed(json!("tomorrow"), Value::Null), 422, "/effective_from"),
        ("/versions", version(json!({"deposits_min": 9})), 409, "version 2 becomes live at"),
        ("/versions", timed(json!(at(11 * DAY)), Value::Null), 409, "version 2 becomes live at"),
        ("/versions/2/shadow", json!({"note": "x"}), 422, "/run"),
        ("/versions/2/shadow", json!({"run": false, "note": "x"}), 409, "does not run in the shadow"),
        ("/versions/1/shadow", json!({"run": true, "note": "x"}), 409, "version 1 is live"),
        ("/versions/9/shadow", json!({"run": true, "note": "x"}), 404, "no such version"),
        ("/versions/x/promote", why("x"), 404, "no such version"),
        ("/versions/1/promote", why("x"), 409, "was promoted before"),
        ("/versions/2/promote", why("x"), 409, "was promoted before"),
        ("/versions/2/promote", json!({}), 422, "/note"),
        ("/rollback", json!({}), 422, "/note"),
        ("/off", json!({"note": "two\nlines"}), 422, "control characters"),
    ];
    for (path, body, status, said) in table {
        let done = node.call("POST", &format!("{RULE}{path}"), Some(&node.staff), &body.to_string()).await;
        assert_eq!(done.status, status, "{path} {body}: {}", done.text);
        assert!(done.text.contains(said), "{path} {body}: {}", done.text);
        assert!(!done.text.contains("0712345678"), "{}", done.text);
    }
    // before it there is room
    does(&node, "/versions", &timed(Value::Null, json!(at(DAY)))).await;
    // other rules
    for (rule, status, said) in [("nothing", 404, "no such rule"), ("feed_tampered", 409, "it is part of the engine")] {
        let path = format!("{RULES}/{rule}/versions");
        let body = version(json!({"deposits_min": 9})).to_string();
        for (method, body) in [("POST", body.as_str()), ("GET", "")] {
            let done = node.call(method, &path, Some(&node.staff), body).await;
            assert!(done.status == status && done.text.contains(said), "{rule}: {}", done.text);
        }
    }
    // what is scheduled begins by itself
    assert_eq!(states(&node).await, "1 live, 2 scheduled, 3 proposed");
    clock.go(11 * DAY);
    assert_eq!(states(&node).await, "1 ended, 2 live, 3 proposed");
    let late = post(&node, &other, "/versions/3/promote", &why("x")).await;
    assert!(late.0 == 409 && late.1.to_string().contains("is over"), "{late:?}");
    node.stop().await;
}

#[actix_web::test]
async fn who_may_read_and_who_may_write() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let own = json!({"label": "k", "scopes": ["lookup", "feeds:manage", "risk:read"], "rate_per_second": 1000});
    let own = operator.key(&node, own).await.bearer;
    let reads = key(&node, &[Scope::MarketRead]).await.1;
    let works = key(&node, &[Scope::AlertsManage]).await.1;
    let manages = second(&node).await;
    let system = key(&node, &[Scope::SystemManage, Scope::OperatorsManage]).await.1;
    propose(&node, 4).await;
    let body = json!({"parameters": {"deposits_min": 9}, "note": "x"}).to_string();
    // who, reading, writing
    let table = [
        ("nobody", None, 401, 401),
        ("an operator", Some(&own), 403, 403),
        ("who watches", Some(&reads), 200, 403),
        ("who works on alerts", Some(&works), 200, 403),
        ("who manages rules", Some(&manages), 200, 201),
        ("who manages something else", Some(&system), 403, 403),
    ];
    let version = format!("{RULE}/versions/2");
    for (who, bearer, reading, writing) in table {
        let bearer = bearer.map(String::as_str);
        for path in [RULES, RULE, &format!("{RULE}/versions"), &version, &format!("{version}/findings")] {
            assert_eq!(node.call("GET", path, bearer, "").await.status, reading, "{who}: {path}");
        }
        let made = node.call("POST", &format!("{RULE}/versions"), bearer, &body).await;
        assert_eq!(made.status, writing, "{who}: {}", made.text);
        if writing != 201 {
            for path in ["/versions/2/shadow", "/versions/2/promote", "/rollback", "/off"] {
                let done = node.call("POST", &format!("{RULE}{path}"), bearer, r#"{"run":true,"note":"x"}"#).await;
                assert_eq!(done.status, writing, "{who}: {path}");
            }
        }
    }
    // a key cannot be made for an operator with such a right
    let greedy = json!({"label": "k", "scopes": ["rules:manage"], "rate_per_second": 1000}).to_string();
    let made = node.call("POST", &format!("/api/v1/operators/{}/keys", operator.id), Some(&node.staff), &greedy).await;
    assert_eq!(made.status, 422, "{}", made.text);
    // another jurisdiction has versions of its own
    let neighbour = Some(node.neighbour.as_str());
    assert_eq!(node.call("GET", &version, neighbour, "").await.status, 404);
    let promoted = node.call("POST", &format!("{version}/promote"), neighbour, r#"{"note":"x"}"#).await;
    assert_eq!(promoted.status, 404, "{}", promoted.text);
    assert_eq!(node.call("POST", &format!("{RULE}/off"), neighbour, r#"{"note":"x"}"#).await.status, 200);
    assert_eq!(get(&node, RULE).await["live"]["version"], 1);
    let directory = node.engine.directory();
    assert_eq!(directory.rules(KE).0, 0, "nothing of ours is in force otherwise");
    assert_ne!(directory.rules(JurisdictionNo(1)).0, 0);
    drop(directory);
    node.stop().await;
}

#[actix_web::test]
async fn nobody_promotes_twice_at_once_nor_with_another_key_of_the_proposers() {
    let node = Node::start().await;
    let (proposer, bearer) = key_of(&node, "Wanjiku", &[Scope::RulesManage]).await;
    let (promoter, other) = key_of(&node, "Otieno", &[Scope::RulesManage]).await;
    let (_, also_hers) = key_of(&node, " wanjiku", &[Scope::RulesManage]).await;
    for deposits_min in [4, 5] {
        let body = json!({"parameters": {"deposits_min": deposits_min}, "note": "x"});
        assert_eq!(post(&node, &bearer, "/versions", &body).await.0, 201);
    }
    let follows = node.engine.rotate_key(proposer, 3_600, None).await.expect("a key that follows");
    for hers in [&follows.bearer, &also_hers] {
        let (status, refused) = post(&node, hers, "/versions/2/promote", &why("x")).await;
        assert_eq!(status, 403, "{refused}");
    }

    let promote = |version: u32| {
        let order = RuleOrder {
            jurisdiction: KE,
            rule: "structured_deposits".to_owned(),
            command: RuleCommand::Promote(version),
            by: promoter,
            note: "x".to_owned(),
            expected: None,
        };
        node.engine.order_rule(order, None)
    };
    let (one, two) = tokio::join!(promote(2), promote(3));
    let (winner, loser) = if one.is_ok() { (one, two) } else { (two, one) };
    let winner = winner.expect("one of them").version.expect("a version");
    let refused = loser.expect_err("not both").to_string();
    assert!(refused.contains("at the same time"), "{refused}");
    assert_eq!(get(&node, RULE).await["live"]["version"], winner);
    assert_eq!(node.journaled("rule_changed").await.len(), 3);
    // what somebody has not seen cannot be overlooked
    let rest = 5 - winner;
    let stale = node
        .request("POST", &format!("{RULE}/versions/{rest}/promote"), Some(&other))
        .header("if-match", "\"2\"")
        .header("content-type", "application/json")
        .body(why("x").to_string());
    assert_eq!(node.send(stale).await.status, 412);
    // who has looked again may
    assert_eq!(post(&node, &other, &format!("/versions/{rest}/promote"), &why("x")).await.0, 200);
    node.stop().await;
}

#[actix_web::test]
async fn a_write_that_is_repeated_is_made_once() {
    let node = Node::start().await;
    let other = second(&node).await;
    let send = async |bearer: &str, path: &str, key: &str, body: &Value| {
        let request = node
            .request("POST", &format!("{RULE}{path}"), Some(bearer))
            .header("idempotency-key", key)
            .header("content-type", "application/json")
            .body(body.to_string());
        let answer = node.send(request).await;
        (answer.status, answer.json())
    };
    let version = json!({"parameters": {"deposits_min": 4}, "note": "x"});
    for _ in 0..2 {
        let (status, made) = send(&node.staff, "/versions", "one", &version).await;
        assert_eq!((status, &made["version"]), (201, &json!(2)), "{made}");
    }
    assert_eq!(send(&node.staff, "/versions", "one", &json!({"parameters": {}, "note": "x"})).await.0, 409);
    for _ in 0..2 {
        let (status, done) = send(&other, "/versions/2/promote", "two", &why("x")).await;
        assert_eq!((status, &done["state"]), (200, &json!("live")), "{done}");
    }
    for _ in 0..2 {
        let (status, done) = send(&other, "/rollback", "three", &why("x")).await;
        assert_eq!((status, &done["live"]["version"]), (200, &json!(1)), "{done}");
    }
    for _ in 0..2 {
        assert_eq!(send(&other, "/off", "four", &why("x")).await.0, 200);
    }
    assert_eq!(node.journaled("rule_changed").await.len(), 4);
    node.stop().await;
}
