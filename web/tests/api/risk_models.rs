//! Models as staff read them.

use crate::node::Node;
use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
use serde_json::{Value, json};

#[actix_web::test]
async fn versions_papers_and_drift_are_read_by_staff_alone() {
    let node = Node::start().await;
    let listed = node.call("GET", "/api/v1/models", Some(&node.staff), "").await;
    assert_eq!((listed.status, &listed.json()["models"]), (200, &json!([])));
    let built_in = listed.json()["built_in"].as_array().cloned().expect("models of the program");
    let kinds: Vec<_> = built_in.iter().map(|model| (model["kind"].clone(), model["built_in"].clone())).collect();
    assert_eq!(kinds, ["anomaly", "figures_together", "forecast"].map(|kind| (json!(kind), json!(true))));
    assert_eq!(built_in[0]["metrics"][0], json!({"name": "nab_dev_standard", "value": 76.4}));
    assert!(built_in[1]["card"].as_str().is_some_and(|card| card.starts_with("# Model card")), "{built_in:?}");
    let metrics = json!({"rows": 900, "positives": 200, "auc_ppm": 912_000, "average_precision_ppm": 700_000,
        "brier_ppm": 50_000, "calibration_error_ppm": 20_000});
    let model = json!({"kind": "player_risk", "version": 1, "artefact_sha256": "aa", "schema_sha256": "bb",
        "data_sha256": "cc", "features": 73, "bytes": 10, "held_out": metrics,
        "trained_on": {"start": 0, "end": 86_400_000_000i64},
        "evaluation": {"data_sha256": "dd", "metrics": metrics, "compared": {"rows": 800, "seen": 8}},
        "by": "Wanjiku", "card": "# Model card"});
    let drift = json!({"kind": "player_risk", "version": 1, "operator_no": 900, "day": 0,
        "rows": 5, "level": "stable", "reasons": []});
    let store = node.engine.store();
    let rows = [
        format!(
            "INSERT INTO models (kind, version, artefact_sha256, registered_by, registered_at, body) VALUES ('player_risk', 1, 'aa', 'Wanjiku', 0, '{model}')"
        ),
        // in the jurisdiction of the staff alone
        "INSERT INTO model_acts (kind, nr, version, act, done_by, done_at, jurisdiction) VALUES ('player_risk', 1, 1, 'promoted', 'Otieno', 1000000, 0)".to_owned(),
        format!(
            "INSERT INTO model_drift (kind, version, operator_no, day, body) VALUES ('player_risk', 1, 900, 0, '{drift}')"
        ),
    ];
    for row in &rows {
        store.execute_for_tests(row).await.expect("a row");
    }
    let listed = node.call("GET", "/api/v1/models", Some(&node.staff), "").await.json();
    let known = &listed["models"][0];
    assert_eq!(
        (&known["state"], &known["promoted_by"], &known["not_validated"]),
        (&json!("promoted"), &json!("Otieno"), &json!(null))
    );
    assert_eq!(
        (&known["evaluation"]["auc"], &known["registered_at"]),
        (&json!(0.912), &json!("1970-01-01T00:00:00.000Z"))
    );
    let window = json!({"from": "1970-01-01T00:00:00.000Z", "to": "1970-01-02T00:00:00.000Z"});
    assert_eq!((&known["trained_on"], &known["evaluation_seen_share"]), (&window, &json!(0.01)));
    let read = node.call("GET", "/api/v1/models/player_risk/1", Some(&node.staff), "").await;
    assert_eq!((read.status, read.json()["card"].as_str()), (200, Some("# Model card")));
    let history = read.json()["history"].clone();
    let told = json!([{"act": "promoted", "version": 1, "jurisdiction": "KE", "replaced": null, "by": "Otieno", "by_key": null,
        "at": "1970-01-01T00:00:01.000Z", "reason": null}]);
    assert_eq!((&history, &known["rollback"], &known["jurisdiction"]), (&told, &json!(null), &json!("KE")));
    let abroad = node.call("GET", "/api/v1/models/player_risk/1", Some(&node.neighbour), "").await.json();
    assert_eq!(
        (&abroad["model"]["state"], &abroad["model"]["promoted_by"], &abroad["history"]),
        (&json!("registered"), &json!(null), &json!([])),
        "another jurisdiction has not promoted it"
    );
    // of an operator that is not the jurisdiction's nothing is told
    assert_eq!(read.json()["drift"], json!([]));
    for path in ["/api/v1/models/player_risk/2", "/api/v1/models/anything/1", "/api/v1/models/player_risk/x"] {
        assert_eq!(node.call("GET", path, Some(&node.staff), "").await.status, 404, "{path}");
    }
    let operator = node.operator("aviator").await;
    let key = operator.key(&node, json!({"label": "k", "scopes": ["lookup"], "rate_per_second": 100})).await;
    for path in ["/api/v1/models", "/api/v1/models/player_risk/1"] {
        assert_eq!(node.call("GET", path, Some(&key.bearer), "").await.status, 403, "{path}");
        assert_eq!(node.call("GET", path, None, "").await.status, 401, "{path}");
    }
    node.stop().await;
}

/// A version as it is stored, with an evaluation of its own or none.
fn version(number: u32, by: &str, is_judged: bool) -> String {
    let metrics = json!({"rows": 900, "positives": 200, "auc_ppm": 912_000, "average_precision_ppm": 700_000,
        "brier_ppm": 50_000, "calibration_error_ppm": 20_000});
    let evaluation = is_judged.then(|| json!({"data_sha256": "dd", "metrics": metrics}));
    let model = json!({"kind": "player_risk", "version": number, "artefact_sha256": format!("a{number}"),
        "schema_sha256": "bb", "data_sha256": "cc", "features": 73, "bytes": 10, "held_out": metrics,
        "evaluation": evaluation, "by": by, "card": "# Model card"});
    format!(
        "INSERT INTO models (kind, version, artefact_sha256, registered_by, registered_at, body) VALUES ('player_risk', {number}, 'a{number}', '{by}', 0, '{model}')"
    )
}

#[actix_web::test]
async fn a_second_person_promotes_what_is_validated_and_anybody_who_may_retires_it() {
    let node = Node::start().await;
    let store = node.engine.store();
    for (number, by, is_judged) in [(1, "Staff", true), (2, "Wanjiku", false), (3, "Wanjiku", true)] {
        store.execute_for_tests(&version(number, by, is_judged)).await.expect("a row");
    }
    let operator = node.operator("aviator").await;
    let own = operator.key(&node, json!({"label": "k", "scopes": ["lookup"], "rate_per_second": 100})).await;
    let (staff, own) = (Some(node.staff.as_str()), Some(own.bearer.as_str()));
    let neighbour = Some(node.neighbour.as_str());
    let reason = r#"{"reason": "its probabilities do not hold"}"#;
    // path | key | body | status | what is said
    let table: [(&str, Option<&str>, &str, u16, &str); 16] = [
        ("player_risk/1/promote", None, "{}", 401, ""),
        ("player_risk/1/promote", own, "{}", 403, "rules:manage"),
        ("player_risk/1/promote", staff, "{}", 403, "a second person"),
        ("player_risk/2/promote", staff, "{}", 409, "never judged on a table of its own"),
        // its papers are there and its bytes are not: it must not take the place of one that scores
        ("player_risk/3/promote", staff, "{}", 409, "not validated"),
        ("player_risk/9/promote", staff, "{}", 404, ""),
        ("anything/1/promote", staff, "{}", 404, ""),
        ("player_risk/3/promote", staff, r#"{"by": "me"}"#, 400, "unknown"),
        ("player_risk/3/retire", None, reason, 401, ""),
        // what a neighbour does with a version is done in their jurisdiction
        ("player_risk/3/promote", neighbour, "{}", 409, "not validated"),
        ("player_risk/3/retire", neighbour, reason, 200, "\"state\":\"retired\""),
        ("player_risk/3/retire", own, reason, 403, "rules:manage"),
        ("player_risk/3/retire", staff, "{}", 422, "/reason"),
        ("player_risk/3/retire", staff, reason, 200, "\"state\":\"retired\""),
        ("player_risk/3/retire", staff, reason, 409, "this version is retired"),
        ("player_risk/3/promote", staff, "{}", 409, "this version is retired"),
    ];
    for (path, key, body, status, wanted) in table {
        let answer = node.call("POST", &format!("/api/v1/models/{path}"), key, body).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert!(answer.text.contains(wanted), "{path}: {}", answer.text);
    }
    for _ in 0..2 {
        // the same request again is the same act
        let request = node.request("POST", "/api/v1/models/player_risk/2/retire", staff);
        let request = request.header("idempotency-key", "once").header("content-type", "application/json");
        assert_eq!(node.send(request.body(reason.to_owned())).await.status, 200);
    }
    assert_eq!(node.journaled("model_retired").await.len(), 3);
    assert_eq!(node.journaled("model_promoted").await.len(), 0);
    node.stop().await;
}

#[actix_web::test]
async fn nobody_has_a_level_of_risk_before_a_version_is_promoted() {
    let node = Node::start().await;
    let store = node.engine.store();
    let operator = node.operator("aviator").await;
    let player = |n: u32| format!("{n:022x}");
    let nation = OperatorNo::of_nation(JurisdictionNo(0)).0;
    let rows = [(1, 1, 1, 900_000), (1, 2, 1, 250_000), (1, 3, 1, 10), (1, 4, 7, 990_000), (nation, 1, 1, 600_000)];
    for (no, n, version, score) in rows {
        let row = format!(
            "INSERT INTO player_risk (operator_no, player, currency, jurisdiction, version, score_ppm, as_of, reasons) VALUES ({no}, '{}', 'KES', 0, {version}, {score}, 0, '[\"why\"]')",
            player(n)
        );
        store.execute_for_tests(&row).await.expect("a row");
    }
    let list = format!("/api/v1/operators/{}/players-at-risk", operator.id);
    let one = format!("/api/v1/players/{}/risk", player(1));
    let across = "/api/v1/players-at-risk".to_owned();
    for path in [&list, &one, &across] {
        let none = node.call("GET", path, Some(&node.staff), "").await;
        assert_eq!((none.status, none.json()), (200, json!({"model_version": null, "items": []})), "{path}");
    }
    store.execute_for_tests(&version(1, "Wanjiku", true)).await.expect("a row");
    store.execute_for_tests(&act(1, "promoted", 1, None)).await.expect("a row");
    // what another version said before is not said any more
    for (query, wanted) in
        [("", 1), ("?level=high", 1), ("?level=moderate", 2), ("?level=low", 3), ("?level=low&limit=2", 2)]
    {
        let answer = node.call("GET", &format!("{list}{query}"), Some(&node.staff), "").await.json();
        assert_eq!(answer["items"].as_array().map(Vec::len), Some(wanted), "{query}: {answer}");
    }
    let found = node.call("GET", &one, Some(&node.staff), "").await.json();
    let item = &found["items"][0];
    let who = format!("player:{}", player(1));
    assert_eq!(
        (&item["risk_level"], &item["probability"], &item["who"], &item["reasons"], &item["operator_code"]),
        (&json!("high"), &json!(0.9), &json!(who), &json!(["why"]), &json!("aviator"))
    );
    let found = node.call("GET", &across, Some(&node.staff), "").await.json();
    let items = found["items"].as_array().expect("a list");
    assert_eq!((items.len(), &items[0]["operator_code"], &items[0]["who"]), (1, &Value::Null, &json!(who)), "{found}");
    for path in [&one, &across] {
        let nobody = node.call("GET", path, Some(&node.neighbour), "").await;
        assert_eq!(nobody.json()["items"], json!([]), "of another jurisdiction");
    }
    assert_eq!(node.call("GET", &list, Some(&node.neighbour), "").await.status, 404);
    let own = operator.key(&node, json!({"label": "k", "scopes": ["lookup"], "rate_per_second": 100})).await;
    for path in [&list, &one, &across] {
        assert_eq!(node.call("GET", path, Some(&own.bearer), "").await.status, 403, "{path}");
        assert_eq!(node.call("GET", path, None, "").await.status, 401, "{path}");
    }
    for path in [format!("{list}?level=huge"), format!("{list}?limit=0"), format!("{list}?colour=red")] {
        assert_eq!(node.call("GET", &path, Some(&node.staff), "").await.status, 422, "{path}");
    }
    assert_eq!(node.call("GET", "/api/v1/players/nobody/risk", Some(&node.staff), "").await.status, 404);
    node.stop().await;
}

/// An act as it is stored, of which the reason is only there for a way back.
fn act(nr: u32, act: &str, version: u32, other: Option<u32>) -> String {
    let other = other.map_or_else(|| "NULL".to_owned(), |other| other.to_string());
    let reason = if act == "rolled_back" { "'it names everybody'" } else { "NULL" };
    format!(
        "INSERT INTO model_acts (kind, nr, version, act, done_by, done_at, reason, other) VALUES ('player_risk', {nr}, {version}, '{act}', 'Otieno', {nr}, {reason}, {other})"
    )
}

#[actix_web::test]
async fn one_goes_back_to_the_version_before_and_is_told_why_not() {
    let node = Node::start().await;
    let store = node.engine.store();
    let operator = node.operator("aviator").await;
    let own = operator.key(&node, json!({"label": "k", "scopes": ["lookup"], "rate_per_second": 100})).await;
    let (staff, own) = (Some(node.staff.as_str()), Some(own.bearer.as_str()));
    let path = "/api/v1/models/player_risk/rollback";
    let reason = r#"{"reason": "it names everybody"}"#;
    let check = async |path: &str, key: Option<&str>, body: &str, status: u16, wanted: &str| {
        let answer = node.call("POST", path, key, body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text);
        assert!(answer.text.contains(wanted), "{path} {body}: {}", answer.text);
    };
    check(path, None, reason, 401, "").await;
    check(path, own, reason, 403, "rules:manage").await;
    check(path, Some(node.neighbour.as_str()), reason, 409, "no version of this kind scores").await;
    check(path, staff, "{}", 422, "/reason").await;
    check(path, staff, r#"{"reason": " "}"#, 422, "/reason").await;
    check(path, staff, &json!({"reason": "x".repeat(501)}).to_string(), 422, "/reason").await;
    check(path, staff, r#"{"reason": "x", "version": 1}"#, 400, "unknown").await;
    check("/api/v1/models/anything/rollback", staff, reason, 404, "").await;
    assert_eq!(node.call("GET", path, staff, "").await.status, 405);

    check(path, staff, reason, 409, "no version of this kind scores").await;
    for number in [1, 2] {
        store.execute_for_tests(&version(number, "Wanjiku", true)).await.expect("a row");
    }
    store.execute_for_tests(&act(1, "promoted", 2, None)).await.expect("a row");
    check(path, staff, reason, 409, "nothing scored before version 2").await;
    store.execute_for_tests(&act(2, "promoted", 2, Some(1))).await.expect("a row");
    // its papers are there and its bytes are not
    check(path, staff, reason, 409, "does not score any more").await;
    store.execute_for_tests(&act(3, "rolled_back", 2, Some(1))).await.expect("a row");
    check(path, staff, reason, 409, "the version before, 1, was itself gone back from").await;
    assert_eq!(node.journaled("model_promoted").await.len(), 0);

    let listed = node.call("GET", "/api/v1/models", staff, "").await.json();
    let told =
        json!({"from": 1, "to": 2, "by": "Otieno", "at": "1970-01-01T00:00:00.000Z", "reason": "it names everybody"});
    assert_eq!((&listed["models"][0]["rollback"], &listed["models"][1]["rollback"]), (&told, &told));
    let read = node.call("GET", "/api/v1/models/player_risk/1", staff, "").await.json();
    let acts = read["history"].as_array().cloned().expect("a history");
    let acts: Vec<_> =
        acts.iter().map(|act| (act["act"].clone(), act["version"].clone(), act["replaced"].clone())).collect();
    let wanted = [("promoted", 2, 1), ("rolled_back", 2, 1)]
        .map(|(act, version, other)| (json!(act), json!(version), json!(other)));
    assert_eq!(acts, wanted, "what was done with another one alone is not of its history");
    node.stop().await;
}
