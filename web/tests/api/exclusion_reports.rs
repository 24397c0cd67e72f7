//! Exclusions that operators report, end to end: they wait for the regulator, bind once somebody there has approved them, and
//! leave nothing of anybody otherwise.

use crate::live_rules::until;
use crate::node::{AheadClock, Key, Node, Operator, Setup};
use actors::engine::{MISMATCHES_MAX, WAITING_MAX};
use models::alert::Window;
use models::ids::{ExclusionReportId, OperatorNo};
use models::ts::{DAY, Ts};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const OWN: &str = "/api/v1/operators/exclusions";
const REPORTS: &str = "/api/v1/nser/reports";
const ANNA: &str = "0712000001";
const BEN: &str = "0712000002";
const CAROL: &str = "0712000003";

fn person(phone: &str) -> Value {
    json!({"phone": phone, "period": "1_year", "reason_class": "self", "channel": "operator", "names": ["Wanjiku", "Otieno"]})
}

/// What staff reads off the operator's paper.
fn named(phone: &str) -> Value {
    json!({"phone": phone})
}

async fn reporting(node: &Node, operator: &Operator) -> Key {
    let scopes = json!({"label": "k", "scopes": ["register:report", "lookup"], "rate_per_second": 1000});
    operator.key(node, scopes).await
}

async fn call(node: &Node, method: &str, path: &str, bearer: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = node.call(method, path, Some(bearer), &body).await;
    (answer.status, answer.json())
}

/// The id of a new report of what a person asked for.
async fn report(node: &Node, key: &Key, phone: &str) -> String {
    report_for(node, key, phone, "self").await
}

async fn report_for(node: &Node, key: &Key, phone: &str, reason_class: &str) -> String {
    let mut body = person(phone);
    body["reason_class"] = json!(reason_class);
    let (status, made) = call(node, "POST", OWN, &key.bearer, &body).await;
    assert_eq!((status, &made["state"]), (201, &json!("waiting")), "{made:#}");
    made["id"].as_str().expect("an id").to_owned()
}

async fn items(node: &Node, path: &str, bearer: &str) -> Vec<Value> {
    let (status, listed) = call(node, "GET", path, bearer, &Value::Null).await;
    assert_eq!(status, 200, "{listed:#}");
    listed["items"].as_array().cloned().expect("items")
}

/// What the operator is answered about somebody.
async fn status_of(node: &Node, key: &Key, phone: &str) -> Value {
    let asked = json!({"phone": phone, "purpose": "login"});
    call(node, "POST", "/api/v1/operators/lookup", &key.bearer, &asked).await.1["status"].clone()
}

fn settle(id: &str, how: &str) -> String {
    format!("{REPORTS}/{id}/{how}")
}

#[actix_web::test]
async fn whoever_reports_for_an_operator_does_not_approve_it_with_a_key_of_staff() {
    let node = Node::start().await;
    let acme = node.operator("acme").await;
    // the name of the node's key of staff
    let key = acme.key(&node, json!({"label": " Staff", "scopes": ["register:report"]})).await;
    let id = report(&node, &key, ANNA).await;
    let (status, refused) = call(&node, "POST", &settle(&id, "approve"), &node.staff, &named(ANNA)).await;
    assert_eq!(status, 403, "{refused:#}");
    assert!(refused["detail"].as_str().is_some_and(|why| why.contains("a second person does")), "{refused:#}");
    assert_eq!(items(&node, &format!("{REPORTS}?state=waiting"), &node.staff).await.len(), 1, "it waits on");
    assert_eq!(node.journaled("exclusion_registered").await.len(), 0);
    node.stop().await;
}

#[actix_web::test]
async fn what_an_operator_reports_binds_once_staff_approves_it() {
    let node = Node::start().await;
    let (acme, other) = (node.operator("acme").await, node.operator("other").await);
    let (key, others) = (reporting(&node, &acme).await, reporting(&node, &other).await);
    let id = report(&node, &key, ANNA).await;
    assert_eq!(status_of(&node, &key, ANNA).await, "not_excluded", "nobody has looked at it");

    let waiting = items(&node, &format!("{REPORTS}?state=waiting&operator={}", acme.id), &node.staff).await;
    assert_eq!((waiting.len(), &waiting[0]["id"], &waiting[0]["operator"]), (1, &json!(id), &json!(acme.id)));
    assert!(!json!(waiting).to_string().contains("Wanjiku"), "{waiting:#?}");
    for (path, bearer) in [(REPORTS, &node.neighbour), (OWN, &others.bearer)] {
        assert_eq!(items(&node, path, bearer).await, Vec::<Value>::new(), "{path}");
    }
    for (bearer, refused) in [(&node.neighbour, 404), (&key.bearer, 403)] {
        assert_eq!(call(&node, "POST", &settle(&id, "approve"), bearer, &named(ANNA)).await.0, refused);
    }

    let (status, approved) = call(&node, "POST", &settle(&id, "approve"), &node.staff, &named("+254 712 000001")).await;
    assert_eq!((status, &approved["state"]), (200, &json!("approved")), "{approved:#}");
    assert_eq!(status_of(&node, &others, ANNA).await, "excluded", "everywhere");
    let again = call(&node, "POST", &settle(&id, "approve"), &node.staff, &named(ANNA)).await;
    assert_eq!(again, (200, approved.clone()));
    let late = call(&node, "POST", &settle(&id, "refuse"), &node.staff, &json!({"reason": "by_mistake"})).await;
    assert_eq!(late.0, 409, "{:#}", late.1);
    let exclusion = format!("/api/v1/nser/{}", approved["exclusion_id"].as_str().expect("an id"));
    assert_eq!(call(&node, "GET", &exclusion, &node.staff, &Value::Null).await.0, 200);
    let own = items(&node, OWN, &key.bearer).await;
    assert_eq!((&own[0]["state"], &own[0]["exclusion_id"]), (&json!("approved"), &Value::Null));

    // one of the operator's, on the day of the report; and nobody in the clear
    let registered = node.journaled("exclusion_registered").await;
    assert_eq!((registered.len(), &registered[0]["reported_by"]), (1, &json!(1)), "{registered:#?}");
    let ever = Window { start: Ts(0), end: Ts(i64::MAX) };
    let counted = node.engine.store().exclusions_reported(ever).await.expect("counts");
    assert_eq!(counted, [(OperatorNo(1), 1)]);
    let journal = node.journaled("exclusion_report_set").await;
    let said = json!(journal).to_string();
    assert!(journal.len() == 2 && !said.contains("712000001") && !said.contains("Wanjiku"), "{said}");
    let node = node.restart(actors::engine::Faults::default()).await;
    assert_eq!(items(&node, REPORTS, &node.staff).await, [approved]);
    node.stop().await;
}

#[actix_web::test]
async fn what_is_refused_or_forgotten_leaves_nothing_of_anybody() {
    let clock = Arc::<AheadClock>::default();
    let node = Node::start_as(Setup { clock: clock.clone(), ..Setup::default() }).await;
    let acme = node.operator("acme").await;
    let key = reporting(&node, &acme).await;
    let (anna, ben) = (report(&node, &key, ANNA).await, report_for(&node, &key, BEN, "operator_harm").await);
    let carol = report(&node, &key, CAROL).await;
    let by_mistake = json!({"reason": "by_mistake"});
    // what is asked of whom | answered
    let table = [
        (settle(&anna, "refuse"), json!({}), 422),
        (settle(&anna, "refuse"), json!({"reason": "because of Anna"}), 422),
        (settle(&anna, "refuse"), by_mistake.clone(), 200),
        (settle(&anna, "refuse"), by_mistake.clone(), 200),
        (settle(&anna, "refuse"), json!({"reason": "withdrawn"}), 409),
        (settle(&anna, "approve"), named(ANNA), 409),
        (settle("exr_00000000000000000000000007", "approve"), named(ANNA), 404),
    ];
    for (path, body, wanted) in table {
        let (status, answer) = call(&node, "POST", &path, &node.staff, &body).await;
        assert_eq!(status, wanted, "{path} {body}: {answer:#}");
    }
    let own = items(&node, &format!("{OWN}?state=refused"), &key.bearer).await;
    assert_eq!((own.len(), &own[0]["reason"]), (1, &json!("by_mistake")));

    clock.go(7 * DAY);
    until("it expires", async || {
        let expired = items(&node, &format!("{REPORTS}?state=expired"), &node.staff).await;
        (expired.len() == 1 && expired[0]["id"] == json!(ben)).then_some(())
    })
    .await;
    assert_eq!(call(&node, "POST", &settle(&ben, "approve"), &node.staff, &named(BEN)).await.0, 409);
    // what a person asked for still waits, and everybody sees for how long
    for (path, bearer) in [(REPORTS, &node.staff), (OWN, &key.bearer)] {
        let waiting = items(&node, &format!("{path}?state=waiting"), bearer).await;
        assert_eq!((waiting.len(), &waiting[0]["id"]), (1, &json!(carol)), "{waiting:#?}");
        assert_eq!((&waiting[0]["overdue"], &waiting[0]["expires_at"]), (&json!(true), &Value::Null));
    }
    until("it is measured", async || {
        let metrics = node.call("GET", "/metrics", Some(&node.staff), "").await.text;
        let of = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or(-1.0)
        };
        let outcomes = |outcome: &str| of(&format!("mlinzi_reported_exclusions_total{{outcome=\"{outcome}\"}}"));
        let waits = of("mlinzi_reported_exclusions_waiting ") == 1.0;
        let oldest = of("mlinzi_reported_exclusions_oldest_seconds ");
        let settled = ["approved", "refused", "expired"].map(outcomes) == [0.0, 1.0, 1.0];
        (waits && oldest >= 7.0 * 86_400.0 && settled).then_some(())
    })
    .await;
    assert_eq!(call(&node, "POST", &settle(&carol, "approve"), &node.staff, &named(CAROL)).await.0, 200);
    for (id, phone) in [(anna, ANNA), (ben, BEN)] {
        let id: ExclusionReportId = id.parse().expect("an id");
        assert_eq!(node.engine.store().exclusion_report_sealed(id).await.expect("read"), None);
        assert_eq!(status_of(&node, &key, phone).await, "not_excluded");
    }
    node.stop().await;
}

#[actix_web::test]
async fn an_operator_speaks_of_itself_once_and_not_without_end() {
    let node = Node::start().await;
    let (acme, other) = (node.operator("acme").await, node.operator("other").await);
    let key = reporting(&node, &acme).await;
    let asks = acme.key(&node, json!({"label": "asks", "scopes": ["lookup"]})).await;
    let with = |name: &str, value: Value| {
        let mut person = person(ANNA);
        person[name] = value;
        person
    };
    // what is sent | with which key | answered, about what
    let table = [
        (person(ANNA), &asks.bearer, 403, Value::Null),
        (person(ANNA), &node.staff, 403, Value::Null),
        (with("phone", Value::Null), &key.bearer, 422, json!("")),
        (with("phone", json!("0712")), &key.bearer, 422, json!("/phone")),
        (with("reason_class", json!("court")), &key.bearer, 422, json!("/reason_class")),
        (with("channel", json!("import")), &key.bearer, 422, json!("/channel")),
        (with("effective_at", json!("2026-01-01T00:00:00Z")), &key.bearer, 422, json!("/effective_at")),
        (with("reported_by", json!(other.id)), &key.bearer, 422, json!("/reported_by")),
    ];
    for (body, bearer, wanted, pointer) in table {
        let (status, answer) = call(&node, "POST", OWN, bearer, &body).await;
        assert_eq!((status, &answer["errors"][0]["pointer"]), (wanted, &pointer), "{body}: {answer:#}");
    }
    assert_eq!(items(&node, OWN, &key.bearer).await, Vec::<Value>::new());

    // a repeated request is one report
    let repeated = async |body: Value| {
        let request = node.request("POST", OWN, Some(&key.bearer)).header("Idempotency-Key", "anna-1");
        node.send(request.header("content-type", "application/json").body(body.to_string())).await
    };
    let (first, second) = (repeated(person(ANNA)).await, repeated(person(ANNA)).await);
    assert_eq!((first.status, &first.text), (201, &second.text));
    assert_eq!(repeated(person(BEN)).await.status, 409, "another body");
    for n in 1..WAITING_MAX {
        report(&node, &key, &format!("07130{n:05}")).await;
    }
    let (status, full) = call(&node, "POST", OWN, &key.bearer, &person(BEN)).await;
    assert_eq!(status, 409, "{full:#}");
    // there is room again where one is settled
    let id = first.json()["id"].as_str().expect("an id").to_owned();
    let (status, refused) =
        call(&node, "POST", &settle(&id, "refuse"), &node.staff, &json!({"reason": "duplicate"})).await;
    assert_eq!(status, 200, "{refused:#}");
    report(&node, &key, BEN).await;
    node.stop().await;
}

/// Days of which the rules were told, first instants in days, and how many there were.
async fn told(node: &Node) -> Vec<(i64, i64)> {
    let inputs = node.journaled("rule_input_stored").await;
    let counts = inputs.iter().map(|stored| &stored["input"]).filter(|input| input["what"] == "exclusions");
    let said = |input: &Value| Some((input["window"]["start"].as_i64()? / DAY, input["count"].as_i64()?));
    counts.map(|input| said(input).expect("a day and a count")).collect()
}

#[actix_web::test]
async fn days_of_a_stop_are_told_once_the_engine_is_back() {
    let node = Node::start().await;
    let acme = node.operator("acme").await;
    let key = reporting(&node, &acme).await;
    report(&node, &key, ANNA).await;
    let is_told = async || told(&node).await.into_iter().next();
    let (first, count) = until("the day is told", is_told).await;
    assert_eq!(count, 1);
    let clock = Arc::<AheadClock>::default();
    clock.go(3 * DAY);
    let node = node.restart_as(Setup { clock, ..Setup::default() }).await;
    let are_told = async || Some(told(&node).await).filter(|days| days.len() >= 3);
    let days = until("the days of the stop are told", are_told).await;
    assert_eq!(days, [(first, 1), (first + 1, 0), (first + 2, 0)], "each once, and today not before there is one");
    node.stop().await;
}

#[actix_web::test]
async fn whoever_names_somebody_else_registers_nobody() {
    let node = Node::start().await;
    let acme = node.operator("acme").await;
    let key = reporting(&node, &acme).await;
    let (anna, both) = (report(&node, &key, ANNA).await, {
        let mut body = person(BEN);
        body["id_number"] = json!("12345678");
        call(&node, "POST", OWN, &key.bearer, &body).await.1["id"].as_str().expect("an id").to_owned()
    });
    // which report | whom staff names | answered
    let table = [
        (&anna, json!({}), 422),
        (&anna, json!({"phone": "0712"}), 422),
        (&anna, json!({"phone": ANNA, "period": "permanent"}), 400),
        (&both, named(BEN), 409),
        (&both, json!({"phone": BEN, "id_number": "12345679"}), 409),
        (&both, json!({"phone": BEN, "id_number": "12345678"}), 200),
    ];
    for (id, body, wanted) in table {
        let (status, answer) = call(&node, "POST", &settle(id, "approve"), &node.staff, &body).await;
        assert_eq!(status, wanted, "{body}: {answer:#}");
    }
    for _ in 0..MISMATCHES_MAX {
        let (status, answer) = call(&node, "POST", &settle(&anna, "approve"), &node.staff, &named(CAROL)).await;
        assert_eq!(status, 409, "{answer:#}");
        assert!(!answer.to_string().contains("71200000"), "{answer:#}");
    }
    // too often: it is refused, also to whoever knows by now
    let node = node.restart(actors::engine::Faults::default()).await;
    assert_eq!(call(&node, "POST", &settle(&anna, "approve"), &node.staff, &named(ANNA)).await.0, 409);
    for phone in [ANNA, CAROL] {
        assert_eq!(status_of(&node, &key, phone).await, "not_excluded", "{phone}");
    }
    let reason = json!({"reason": "not_verified"});
    assert_eq!(call(&node, "POST", &settle(&anna, "refuse"), &node.staff, &reason).await.0, 200);
    node.stop().await;
}

#[actix_web::test]
async fn an_approval_that_cannot_be_stored_registers_nobody_and_the_report_waits() {
    let node = Node::start().await;
    let acme = node.operator("acme").await;
    let key = reporting(&node, &acme).await;
    let id = report(&node, &key, ANNA).await;
    node.engine.store().stop_writer(Duration::ZERO).await;
    let (status, answer) = call(&node, "POST", &settle(&id, "approve"), &node.staff, &named(ANNA)).await;
    assert_eq!(status, 503, "{answer:#}");

    let node = node.restart_unwritten().await;
    assert_eq!(items(&node, &format!("{REPORTS}?state=waiting"), &node.staff).await.len(), 1);
    assert_eq!(status_of(&node, &key, ANNA).await, "not_excluded");
    let (status, approved) = call(&node, "POST", &settle(&id, "approve"), &node.staff, &named(ANNA)).await;
    assert_eq!(status, 200, "{approved:#}");
    assert_eq!(status_of(&node, &key, ANNA).await, "excluded");
    assert_eq!(node.journaled("exclusion_registered").await.len(), 1);
    node.stop().await;
}

#[actix_web::test]
async fn of_an_approval_and_a_refusal_at_the_same_time_one_stands_whole() {
    let node = Node::start().await;
    let acme = node.operator("acme").await;
    let key = reporting(&node, &acme).await;
    let reason = json!({"reason": "withdrawn"});
    for n in 0..8 {
        let phone = format!("07140000{n:02}");
        let id = report(&node, &key, &phone).await;
        let ((approve, refuse), body) = ((settle(&id, "approve"), settle(&id, "refuse")), named(&phone));
        let ((yes, _), (no, answer)) = futures_util::future::join(
            call(&node, "POST", &approve, &node.staff, &body),
            call(&node, "POST", &refuse, &node.staff, &reason),
        )
        .await;
        assert!(matches!((yes, no), (200, 409) | (409, 200)), "{yes} {no}: {answer:#}");
        let wanted = if yes == 200 { "excluded" } else { "not_excluded" };
        assert_eq!(status_of(&node, &key, &phone).await, wanted);
        let said = answer["detail"].as_str().unwrap_or_default();
        assert!(no == 200 || said.contains("approved"), "{answer:#}");
    }
    node.stop().await;
}
