//! Signs of harm, end to end: staff gives one, the operator reads it in its own terms and acts, or is found not to have.

use crate::live_rules::{alerts, known, until};
use crate::node::{AheadClock, Answer, Key, Node, Operator, Setup};
use actors::engine::Faults;
use models::ids::OperatorNo;
use models::ts::{MINUTE, Ts};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const RULE: &str = "harm_signal_unanswered";
const OWN: &str = "/api/v1/harm-signals";
const ANNA: &str = "0712000001";
const BEN: &str = "0712000002";

fn setup(clock: &Arc<AheadClock>) -> Setup {
    Setup { clock: clock.clone(), ..known() }
}

/// An operator whose feed follows the wall clock.
struct Watched {
    operator: Operator,
    key: Key,
    records: String,
}

impl Watched {
    async fn new(node: &Node, code: &str) -> Self {
        let operator = node.operator(code).await;
        let scopes =
            json!({"label": "k", "scopes": ["lookup", "feeds:write", "feeds:manage"], "rate_per_second": 1000});
        let key = operator.key(node, scopes).await;
        let new = json!({"name": "play", "class": "gaming_transactions", "clock": "wall"}).to_string();
        let made = node.call("POST", "/api/v1/feeds", Some(&key.bearer), &new).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let records = format!("/api/v1/feeds/{}/records", text(&made.json(), "id"));
        Self { operator, key, records }
    }

    /// A record that happens now.
    async fn push(&self, node: &Node, id: &str, kind: &str, player: Value) {
        let now = serde_json::to_value(node.engine.now()).expect("a time");
        let mut record = json!({"record_id": id, "kind": kind, "occurred_at": now, "player": player});
        if ["deposit", "stake"].contains(&kind) {
            record["money"] = json!({"amount_minor": 500, "currency": "KES"});
        }
        let pushed = node.call("POST", &self.records, Some(&self.key.bearer), &json!([record]).to_string()).await;
        assert_eq!(pushed.json()["accepted"], 1, "{}", pushed.text);
    }

    /// A deposit that the operator's rules have heard of.
    async fn plays(&self, node: &Node, no: OperatorNo, id: &str, phone: &str) {
        self.does(node, no, (id, "deposit"), phone).await;
    }

    /// The same of another kind of record.
    async fn does(&self, node: &Node, no: OperatorNo, (id, kind): (&str, &str), phone: &str) {
        self.push(node, id, kind, json!({"phone": phone})).await;
        until("a record", async || {
            let inputs = node.engine.store().rule_inputs(no, 0, 1_000).await.expect("inputs");
            let mut records = inputs.iter().filter_map(|input| input.batch.as_ref()).flat_map(|batch| &batch.records);
            records.any(|record| record.record_id == id).then_some(())
        })
        .await;
    }

    fn path(&self) -> String {
        format!("/api/v1/operators/{}/harm-signals", self.operator.id)
    }

    async fn give(&self, node: &Node, sign: &Value) -> Answer {
        node.call("POST", &self.path(), Some(&node.staff), &sign.to_string()).await
    }

    /// Its own signs, once there are so many.
    async fn own(&self, node: &Node, count: usize) -> Vec<Value> {
        until("its own signs", async || {
            let items = items(node, OWN, &self.key.bearer).await;
            (items.len() == count).then_some(items)
        })
        .await
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn sign(phone: &str, level: &str) -> Value {
    json!({"phone": phone, "level": level, "reason": "a relative called"})
}

async fn items(node: &Node, path: &str, bearer: &str) -> Vec<Value> {
    let listed = node.call("GET", path, Some(bearer), "").await;
    assert_eq!(listed.status, 200, "{}", listed.text);
    listed.json()["items"].as_array().cloned().expect("items")
}

#[actix_web::test]
async fn a_sign_that_nobody_answers_is_found_when_the_hour_is_over() {
    let clock = Arc::<AheadClock>::default();
    let node = Node::start_as(setup(&clock)).await;
    let (acme, other) = (Watched::new(&node, "acme").await, Watched::new(&node, "other").await);
    let asked = json!({"phone": ANNA, "purpose": "login"}).to_string();
    let asked = node.call("POST", "/api/v1/operators/lookup", Some(&acme.key.bearer), &asked).await;
    let bst = asked.json()["bst"].clone();
    acme.plays(&node, OperatorNo(1), "d1", ANNA).await;

    let given = acme.give(&node, &sign(ANNA, "medium")).await;
    assert_eq!((given.status, given.header("location")), (201, acme.path()), "{}", given.text);
    let given = given.json();
    assert!(text(&given["player"], "who").starts_with("player:") && text(&given, "id").starts_with("hsg_"), "{given}");

    // in the operator's own terms, and nobody else's
    let own = acme.own(&node, 1).await.remove(0);
    assert_eq!(own["player"], json!({"bst": bst, "records": ["d1"]}), "{own:#}");
    let same = ["id", "level", "since", "act_by", "answered", "overdue", "source", "reason"];
    assert!(same.iter().all(|name| own[name] == given[name]), "{own:#}\n{given:#}");
    assert_eq!(
        (&own["level"], &own["source"], &own["reason"], &own["answered"], &own["overdue"]),
        (&json!("medium"), &json!("regulator"), &json!("a relative called"), &json!(false), &json!(false))
    );
    let time = |name: &str| Ts::parse(text(&own, name)).expect("a time");
    assert_eq!(time("act_by").0 - time("since").0, 60 * MINUTE);
    assert_eq!(items(&node, OWN, &other.key.bearer).await, Vec::<Value>::new());
    // whoever names the player as alerts do does not know by what; the operator has asked, and so it has a token
    let who = &given["player"]["who"];
    let watched = json!({"player": who, "level": "low", "reason": "to be watched"});
    assert_eq!(acme.give(&node, &watched).await.status, 201);
    until("a token", async || {
        let own = acme.own(&node, 2).await;
        (own[0]["player"]["bst"] == bst).then_some(())
    })
    .await;
    let journal = node.journaled("harm_signal_set").await;
    assert!(!journal.is_empty() && !json!(journal).to_string().contains("712000001"));

    // it lasts, and the time runs on: the operator itself does nothing at all
    let node = node.restart_as(setup(&clock)).await;
    assert_eq!(acme.own(&node, 2).await[1], own);
    clock.go(58 * MINUTE);
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert!(alerts(&node, RULE, &node.staff).await.is_empty(), "the hour is not over");
    clock.go(3 * MINUTE);
    let found = until(RULE, async || alerts(&node, RULE, &node.staff).await.into_iter().next()).await;
    assert_eq!((&found["operator_code"], &found["who"]), (&json!("acme"), &given["player"]["who"]), "{found:#}");
    let told = alerts(&node, RULE, &acme.key.bearer).await;
    assert_eq!((&told[0]["id"], &told[0]["window_start"]), (&found["id"], &own["since"]), "it is about its duties");
    assert_eq!(acme.own(&node, 2).await[1]["overdue"], true);

    // too late is an answer, and stays late
    acme.push(&node, "call-1", "intervention", json!({"bst": bst})).await;
    let late = until("an answer", async || {
        let own = acme.own(&node, 2).await.remove(1);
        (own["answered"] == true).then_some(own)
    });
    assert_eq!(late.await["overdue"], true);
    node.stop().await;
}

#[actix_web::test]
async fn who_acts_in_time_is_not_found() {
    let clock = Arc::<AheadClock>::default();
    let node = Node::start_as(setup(&clock)).await;
    let acme = Watched::new(&node, "acme").await;
    acme.plays(&node, OperatorNo(1), "a1", ANNA).await;
    acme.plays(&node, OperatorNo(1), "b1", BEN).await;
    assert_eq!(acme.give(&node, &sign(ANNA, "high")).await.status, 201);
    acme.own(&node, 1).await;
    assert_eq!(acme.give(&node, &sign(BEN, "high")).await.status, 201);
    let own = acme.own(&node, 2).await;
    let records: Vec<_> = own.iter().map(|one| one["player"]["records"].clone()).collect();
    assert_eq!(records, [json!(["b1"]), json!(["a1"])], "the newest first");

    clock.go(20 * MINUTE);
    acme.push(&node, "call-1", "intervention", json!({"phone": ANNA})).await;
    let answered = until("an answer", async || {
        let answered = acme.own(&node, 2).await.into_iter().find(|one| one["answered"] == true);
        answered.filter(|one| one["overdue"] == false)
    })
    .await;
    assert_eq!(answered["player"]["records"], json!(["a1"]));
    assert!(answered["answered_at"].is_string(), "{answered:#}");
    clock.go(45 * MINUTE);
    // the one of whom nobody took care is found, and the other one is not
    let found = until(RULE, async || alerts(&node, RULE, &node.staff).await.into_iter().next()).await;
    let staff = items(&node, &acme.path(), &node.staff).await;
    assert_eq!(found["who"], staff[0]["player"]["who"], "{staff:#?}");
    assert_eq!(alerts(&node, RULE, &node.staff).await.len(), 1);
    node.stop().await;
}

#[actix_web::test]
async fn signs_are_given_once_and_read_page_by_page() {
    let node = Node::start_as(known()).await;
    let acme = Watched::new(&node, "acme").await;
    acme.plays(&node, OperatorNo(1), "a1", ANNA).await;
    let once = async |body: &Value| {
        let request = node.request("POST", &acme.path(), Some(&node.staff)).header("idempotency-key", "once");
        node.send(request.header("content-type", "application/json").body(body.to_string())).await
    };
    let first = once(&sign(ANNA, "medium")).await;
    assert_eq!(first.status, 201, "{}", first.text);
    acme.own(&node, 1).await;
    let again = once(&sign(ANNA, "medium")).await;
    assert_eq!((again.status, &again.json()["id"]), (201, &first.json()["id"]), "{}", again.text);
    assert_eq!(once(&sign(ANNA, "high")).await.status, 409, "another body");
    // by what an alert names the player with, too
    let who = first.json()["player"]["who"].clone();
    for level in ["low", "critical"] {
        let given = acme.give(&node, &json!({"player": who, "level": level, "reason": "a complaint"})).await;
        assert_eq!((given.status, &given.json()["player"]["who"]), (201, &who), "{}", given.text);
    }
    let all = acme.own(&node, 3).await;
    assert_eq!(all.iter().map(|one| text(one, "level")).collect::<Vec<_>>(), ["critical", "low", "medium"]);
    assert_eq!(all[1]["act_by"], Value::Null, "low signs are watched only");
    // whom it never asked about has no token of it, unless staff said by what the player is known
    let tokens: Vec<bool> = all.iter().map(|one| one["player"]["bst"].is_string()).collect();
    assert_eq!(tokens, [false, false, true]);
    let page = node.call("GET", &format!("{OWN}?limit=2"), Some(&acme.key.bearer), "").await.json();
    assert_eq!(page["items"], json!(all[..2]));
    let next = format!("{OWN}?limit=2&cursor={}", text(&page, "next_cursor"));
    let page = node.call("GET", &next, Some(&acme.key.bearer), "").await.json();
    assert_eq!((&page["items"], &page["next_cursor"]), (&json!(all[2..]), &Value::Null));

    // everything is told once more from the inputs alone, and is there already
    let before = node.journaled("harm_signal_set").await.len();
    let node = node.restart(Faults::default()).await;
    assert_eq!(acme.own(&node, 3).await, all);
    assert_eq!(node.journaled("harm_signal_set").await.len(), before);
    let ids: BTreeSet<_> = all.iter().map(|one| text(one, "id")).collect();
    assert_eq!((ids.len(), before), (3, 3));
    node.stop().await;
}

#[actix_web::test]
async fn a_sign_is_read_as_soon_as_it_is_given_and_of_nobody_who_cannot_be_found() {
    let node = Node::start_as(known()).await;
    let acme = Watched::new(&node, "acme").await;
    acme.does(&node, OperatorNo(1), ("s1", "stake"), ANNA).await;
    acme.plays(&node, OperatorNo(1), "d1", BEN).await;
    // its rules may be behind for long: what they are told of is there before they hear it
    for count in 1..=8 {
        let given = acme.give(&node, &sign(BEN, "high")).await;
        assert_eq!((given.status, &given.json()["player"]["records"]), (201, &json!(["d1"])), "{}", given.text);
        let own = items(&node, OWN, &acme.key.bearer).await;
        assert_eq!((own.len(), &own[0]["id"]), (count, &given.json()["id"]));
    }
    // of whom there are bets alone, and about whom it has never asked, an identifier makes its token
    let given = acme.give(&node, &sign(ANNA, "high")).await.json();
    let unnamed = json!({"player": given["player"]["who"], "level": "high", "reason": "a complaint"});
    let refused = acme.give(&node, &unnamed).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.text.contains("never asked"), "{}", refused.text);
    let metrics = node.call("GET", "/metrics", None, "").await.text;
    let counted = r#"mlinzi_harm_signals_withheld_total{reason="staff_unattributable"} 1"#;
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    assert_eq!(node.journaled("harm_signal_set").await.len(), 9, "each is told once");
    // it asks, and can find them from then on
    let asked = json!({"phone": ANNA, "purpose": "login"}).to_string();
    let asked = node.call("POST", "/api/v1/operators/lookup", Some(&acme.key.bearer), &asked).await;
    let given = until("a contact", async || {
        let given = acme.give(&node, &unnamed).await;
        (given.status == 201).then(|| given.json())
    });
    let id = given.await["id"].clone();
    let own = items(&node, OWN, &acme.key.bearer).await;
    assert_eq!((&own[0]["id"], &own[0]["player"]["bst"]), (&id, &asked.json()["bst"]), "{own:#?}");
    node.stop().await;
}

#[actix_web::test]
async fn what_is_no_sign_or_nobodys_is_refused() {
    let node = Node::start_as(known()).await;
    let acme = Watched::new(&node, "acme").await;
    acme.plays(&node, OperatorNo(1), "a1", ANNA).await;
    let with = |name: &str, value: Value| {
        let mut sign = sign(ANNA, "high");
        sign[name] = value;
        sign
    };
    let long = "x".repeat(201);
    // what is sent | status | what is named
    let table = [
        (json!([]), 400, "an array"),
        (with("colour", json!("red")), 400, "unknown"),
        (with("level", json!(3)), 400, "json type"),
        (with("level", json!("severe")), 422, "/level"),
        (json!({"phone": ANNA, "reason": "a relative called"}), 422, "/level"),
        (json!({"phone": ANNA, "level": "high"}), 422, "/reason"),
        (with("reason", json!(long)), 422, "/reason"),
        (with("reason", json!("call 0712 345 678")), 422, "/reason"),
        (with("reason", json!("call 0712 345,678")), 422, "/reason"),
        (with("reason", json!("id 12,345,678")), 422, "/reason"),
        (json!({"level": "high", "reason": "who?"}), 422, "one of player"),
        (with("player", json!("player:0000000000000000000001")), 422, "/player"),
        (json!({"player": "player:7", "level": "high", "reason": "who?"}), 422, "/player"),
        (with("phone", json!("12")), 422, "/phone"),
        // nobody whom the operator knows
        (sign(BEN, "high"), 404, "player"),
        (json!({"player": "0000000000000000000001", "level": "high", "reason": "who?"}), 404, "player"),
    ];
    for (sent, status, named) in table {
        let answer = acme.give(&node, &sent).await;
        assert_eq!(answer.status, status, "{sent}: {}", answer.text);
        assert!(answer.text.contains(named), "{sent}: {}", answer.text);
    }
    let (path, body) = (acme.path(), sign(ANNA, "high").to_string());
    let path = path.as_str();
    let nobody = "/api/v1/operators/opr_00000000000000000000000001/harm-signals";
    let asks = acme.operator.key(&node, json!({"label": "asks", "scopes": ["lookup"], "rate_per_second": 100})).await;
    // who, where | status
    for (method, path, bearer, status) in [
        ("POST", path, None, 401),
        ("POST", path, Some(&acme.key.bearer), 403),
        ("GET", path, Some(&acme.key.bearer), 403),
        ("POST", path, Some(&node.neighbour), 404),
        ("GET", path, Some(&node.neighbour), 404),
        ("POST", nobody, Some(&node.staff), 404),
        ("GET", OWN, Some(&node.staff), 403),
        // a lookup does not tell of anybody's risk without risk:read, and so this does not
        ("GET", OWN, Some(&asks.bearer), 403),
        ("GET", OWN, None, 401),
    ] {
        let body = if method == "POST" { body.as_str() } else { "" };
        let answer = node.call(method, path, bearer.map(String::as_str), body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
    }
    for query in ["?limit=0", "?cursor=7", "?cursor=7.opr_00000000000000000000000001", "?colour=red"] {
        assert_eq!(node.call("GET", &format!("{OWN}{query}"), Some(&acme.key.bearer), "").await.status, 422, "{query}");
    }
    // who cannot read it must not be measured by it
    for state in ["suspended", "closed"] {
        let change = json!({"state": state}).to_string();
        let operator = format!("/api/v1/operators/{}", acme.operator.id);
        assert_eq!(node.call("PATCH", &operator, Some(&node.staff), &change).await.status, 200);
        let refused = acme.give(&node, &sign(ANNA, "high")).await;
        assert_eq!(refused.status, 409, "{}", refused.text);
        assert!(refused.text.contains(state), "{}", refused.text);
    }
    assert_eq!(node.journaled("harm_signal_set").await.len(), 0);
    node.stop().await;
}
