//! Versions of models in the shadow as staff begin, end and read them.

use crate::node::{AheadClock, Node, Setup};
use models::ids::OperatorNo;
use models::ts::{DAY, HOUR};
use serde_json::{Value, json};
use std::sync::Arc;

/// A version as it is stored.
fn version(number: u32) -> String {
    let metrics = json!({"rows": 900, "positives": 200, "auc_ppm": 912_000, "average_precision_ppm": 700_000,
        "brier_ppm": 50_000, "calibration_error_ppm": 20_000});
    let model = json!({"kind": "transaction_risk", "version": number, "artefact_sha256": format!("a{number}"),
        "schema_sha256": "bb", "data_sha256": "cc", "features": 46, "bytes": 10, "held_out": metrics,
        "by": "Wanjiku", "card": "# Model card"});
    format!(
        "INSERT INTO models (kind, version, artefact_sha256, registered_by, registered_at, body) VALUES ('transaction_risk', {number}, 'a{number}', 'Wanjiku', 0, '{model}')"
    )
}

const IN_SHADOW: &str = "INSERT INTO model_shadows (jurisdiction, kind, version, started_by, started_at, reason) VALUES (0, 'transaction_risk', 4, 'Wanjiku', 1000000, 'the new product')";

/// A day that was counted, so many behind a first one, with an example.
fn counted((first, day): (i64, i64), OperatorNo(operator): OperatorNo, score: u32) -> String {
    let begins = first + day * DAY;
    let example = json!({"record_id": format!("r{day}"), "player": format!("{:022x}", 7), "currency": "KES",
        "at": begins + 5, "score_ppm": score, "live_ppm": 20_000, "reasons": ["amount"]});
    let counts = json!({"rows": 100, "rows_beside": 100, "high": 3, "live_high": 2, "both_high": 1});
    let body = json!({"kind": "transaction_risk", "version": 4, "operator_no": operator, "day": begins,
        "bound_ppm": 500_000, "counts": counts, "beside": [1], "examples": [example]});
    format!(
        "INSERT INTO model_shadow_days (kind, version, operator_no, day, body) VALUES ('transaction_risk', 4, {operator}, {begins}, '{body}')"
    )
}

fn number(node: &Node, code: &str) -> OperatorNo {
    let directory = node.engine.directory();
    directory.operators.values().find(|known| known.code == code).expect("known").operator_no
}

#[actix_web::test]
async fn a_shadow_is_begun_and_ended_by_whoever_may_with_a_reason() {
    let node = Node::start().await;
    let store = node.engine.store();
    for number in [1, 2, 3, 4] {
        store.execute_for_tests(&version(number)).await.expect("a row");
    }
    for (nr, act) in [(1, "promoted"), (2, "retired")] {
        let row = format!(
            "INSERT INTO model_acts (kind, nr, version, act, done_by, done_at, jurisdiction) VALUES ('transaction_risk', {nr}, {nr}, '{act}', 'Otieno', 0, 0)"
        );
        store.execute_for_tests(&row).await.expect("a row");
    }
    store.execute_for_tests(IN_SHADOW).await.expect("a row");
    let operator = node.operator("aviator").await;
    let own = operator.key(&node, json!({"label": "k", "scopes": ["lookup"], "rate_per_second": 100})).await;
    let (staff, own, neighbour) = (Some(&*node.staff), Some(&*own.bearer), Some(&*node.neighbour));
    let why = r#"{"reason": "the new product"}"#;
    // path | key | body | status | what is said
    let table: [(&str, Option<&str>, &str, u16, &str); 15] = [
        ("transaction_risk/3/shadow", None, why, 401, ""),
        ("transaction_risk/3/shadow", own, why, 403, "rules:manage"),
        // what is in the shadow here is not in theirs, and the bytes are not there
        ("transaction_risk/4/unshadow", neighbour, why, 409, "not in the shadow"),
        ("transaction_risk/1/shadow", neighbour, why, 409, "it cannot score here"),
        ("transaction_risk/3/shadow", staff, "{}", 422, "/reason"),
        ("transaction_risk/3/shadow", staff, r#"{"because": "x"}"#, 400, "unknown"),
        ("transaction_risk/9/shadow", staff, why, 404, ""),
        ("anything/3/shadow", staff, why, 404, ""),
        ("transaction_risk/1/shadow", staff, why, 409, "scores already"),
        ("transaction_risk/2/shadow", staff, why, 409, "retired"),
        ("transaction_risk/3/shadow", staff, why, 409, "version 4 is in the shadow"),
        ("transaction_risk/3/unshadow", staff, why, 409, "not in the shadow"),
        ("transaction_risk/4/unshadow", staff, "{}", 422, "/reason"),
        ("transaction_risk/4/unshadow", staff, why, 200, "\"shadow\":null"),
        // its papers are there and its bytes are not
        ("transaction_risk/3/shadow", staff, why, 409, "it cannot score here"),
    ];
    for (path, key, body, status, wanted) in table {
        let answer = node.call("POST", &format!("/api/v1/models/{path}"), key, body).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert!(answer.text.contains(wanted), "{path}: {}", answer.text);
    }
    store.execute_for_tests(IN_SHADOW).await.expect("a row");
    for _ in 0..2 {
        // the same request again is the same act
        let request = node.request("POST", "/api/v1/models/transaction_risk/4/unshadow", staff);
        let request = request.header("idempotency-key", "once").header("content-type", "application/json");
        assert_eq!(node.send(request.body(why.to_owned())).await.status, 200);
    }
    assert_eq!(node.journaled("model_shadow_ended").await.len(), 2);
    assert_eq!(node.journaled("model_shadow_started").await.len(), 0);
    node.stop().await;
}

#[actix_web::test]
async fn what_a_shadow_would_have_said_is_read_by_staff_of_the_jurisdiction() {
    let node = Node::start().await;
    let store = node.engine.store();
    let operator = node.operator("aviator").await;
    store.execute_for_tests(&version(4)).await.expect("a row");
    store.execute_for_tests(IN_SHADOW).await.expect("a row");
    let path = "/api/v1/models/transaction_risk/4/shadow";
    let span = "?from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z";
    let empty = node.call("GET", &format!("{path}{span}"), Some(&node.staff), "").await;
    assert_eq!(empty.status, 200, "{}", empty.text);
    let empty = empty.json();
    assert_eq!(
        (&empty["total"]["rows"], &empty["total"]["hit_rate"], &empty["days"]),
        (&json!(0), &Value::Null, &json!([]))
    );

    let day = |day: i64, operator: u16, score| counted((1_767_214_800_000_000, day), OperatorNo(operator), score);
    let no = number(&node, "aviator");
    // the last one lies behind the span, the one before is of nobody
    for (n, of, score) in [(0, no.0, 700_000), (1, no.0, 900_000), (2, 900, 990_000), (60, no.0, 990_000)] {
        store.execute_for_tests(&day(n, of, score)).await.expect("a row");
    }
    let whole = format!("{path}?from=2025-12-31T00:00:00Z&to=2026-02-01T00:00:00Z");
    let read = node.call("GET", &whole, Some(&node.staff), "").await.json();
    let total = &read["total"];
    let numbers = ["rows", "rows_beside", "high", "live_high", "both_high", "only_shadow", "only_live"];
    assert_eq!(numbers.map(|name| total[name].as_u64()), [200, 200, 6, 4, 2, 4, 2].map(Some), "{read}");
    assert_eq!((&total["hit_rate"], &total["agreement"]), (&json!(0.03), &json!(0.25)));
    assert_eq!(
        (&read["shadow"]["by"], &read["shadow"]["since"]),
        (&json!("Wanjiku"), &json!("1970-01-01T00:00:01.000Z"))
    );
    let one = &read["operators"][0];
    assert_eq!((&one["operator_code"], &one["days"], &one["high"]), (&json!("aviator"), &json!(2), &json!(6)));
    let days = read["days"].as_array().expect("days");
    let begins: Vec<_> = days.iter().map(|day| day["day"].as_str().unwrap_or_default()).collect();
    assert_eq!(begins, ["2026-01-01T21:00:00.000Z", "2025-12-31T21:00:00.000Z"], "newest first");
    assert_eq!((&days[0]["bound"], &days[0]["beside"]), (&json!(0.5), &json!([1])));
    let example = &read["examples"][0];
    assert_eq!(
        (&example["record_id"], &example["who"], &example["probability"], &example["live_probability"]),
        (&json!("r1"), &json!(format!("player:{:022x}", 7)), &json!(0.9), &json!(0.02))
    );
    // a page at a time each of them once, beside the same sums
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = node.call("GET", &format!("{whole}&limit=1{cursor}"), Some(&node.staff), "").await.json();
        assert_eq!((&page["total"], &page["days"]), (&read["total"], &read["days"]), "{page}");
        let examples = page["examples"].as_array().expect("examples");
        assert_eq!(examples.len(), 1, "{page}");
        seen.push(examples[0].clone());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!((&json!(seen), &read["next_cursor"]), (&read["examples"], &Value::Null));
    let nobody =
        json!({"confirmed": {"alerts": 0, "also": 0}, "false_alarms": {"alerts": 0, "also": 0}, "is_cut": false});
    assert_eq!((&read["resolved"], &read["is_cut"]), (&nobody, &json!(false)));

    // its drift says that it was in the shadow; a day of a version that is promoted does not
    for (day, is_shadow) in [(0, true), (1, false)] {
        let mut judged = json!({"kind": "transaction_risk", "version": 4, "operator_no": no.0, "day": day * DAY,
            "rows": 900, "level": "stable", "score_psi_ppm": 1, "features": [], "calibration": null, "reasons": []});
        if is_shadow {
            judged["is_shadow"] = true.into();
        }
        let row = format!(
            "INSERT INTO model_drift (kind, version, operator_no, day, body) VALUES ('transaction_risk', 4, {}, {}, '{judged}')",
            no.0,
            day * DAY
        );
        store.execute_for_tests(&row).await.expect("a row");
    }
    let shown = node.call("GET", "/api/v1/models/transaction_risk/4", Some(&node.staff), "").await.json();
    let drift = shown["drift"].as_array().expect("days").iter();
    let marks: Vec<_> =
        drift.map(|day| (day["day"].as_str().unwrap_or_default(), day["is_shadow"].as_bool())).collect();
    for (begins, is_shadow) in [("1970-01-01T00:00:00.000Z", true), ("1970-01-02T00:00:00.000Z", false)] {
        assert!(marks.contains(&(begins, Some(is_shadow))), "{shown}");
    }

    let neighbour = node.call("GET", &format!("{path}{span}"), Some(&node.neighbour), "").await;
    assert_eq!(neighbour.json()["days"], json!([]), "of another jurisdiction");
    let listed = node.call("GET", "/api/v1/models", Some(&node.staff), "").await.json();
    assert_eq!(listed["models"][0]["shadow"]["reason"], "the new product");
    let own = operator.key(&node, json!({"label": "k", "scopes": ["lookup"], "rate_per_second": 100})).await;
    for (query, key, status) in [
        ("", None, 401),
        ("", Some(&own.bearer), 403),
        ("?from=yesterday", Some(&node.staff), 422),
        ("?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", Some(&node.staff), 422),
        ("?from=2026-01-01T00:00:00Z&to=2026-05-01T00:00:00Z", Some(&node.staff), 422),
        ("?colour=red", Some(&node.staff), 422),
        ("?limit=0", Some(&node.staff), 422),
        ("?limit=501", Some(&node.staff), 422),
        ("?cursor=r1", Some(&node.staff), 422),
        ("", Some(&node.staff), 200),
    ] {
        let answer = node.call("GET", &format!("{path}{query}"), key.map(String::as_str), "").await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text);
    }
    for path in ["/api/v1/models/transaction_risk/9/shadow", "/api/v1/models/anything/4/shadow"] {
        assert_eq!(node.call("GET", path, Some(&node.staff), "").await.status, 404, "{path}");
    }
    node.stop().await;
}

#[actix_web::test]
async fn whoever_names_no_span_has_its_days_added_up_once() {
    let clock = Arc::<AheadClock>::default();
    let node = Node::start_as(Setup { clock: clock.clone(), ..Setup::default() }).await;
    // noon in Nairobi: no day ends while pages are turned
    clock.go((9 * HOUR - node.engine.now().0).rem_euclid(DAY));
    let store = node.engine.store();
    node.operator("aviator").await;
    store.execute_for_tests(&version(4)).await.expect("a row");
    let (no, today) = (number(&node, "aviator"), node.engine.now().0 / DAY * DAY - 3 * HOUR);
    for (day, score) in [(-1, 900_000), (-2, 800_000), (-3, 700_000)] {
        store.execute_for_tests(&counted((today, day), no, score)).await.expect("a row");
    }
    let mut cursor = String::new();
    // the example of a page, and pages that were read and taken out of what is kept by then
    for (wanted, read, kept) in [("r-1", 1, 0), ("r-2", 1, 1), ("r-3", 1, 2)] {
        let path = format!("/api/v1/models/transaction_risk/4/shadow?limit=1{cursor}");
        let page = node.call("GET", &path, Some(&node.staff), "").await.json();
        assert_eq!(
            (&page["examples"][0]["record_id"], &page["total"]["rows"]),
            (&json!(wanted), &json!(300)),
            "{page}"
        );
        let metrics = node.call("GET", "/metrics", None, "").await.text;
        for (outcome, count) in [("read", read), ("kept", kept)] {
            let line = format!("mlinzi_model_shadow_reads_total{{outcome=\"{outcome}\"}} {count}");
            assert!(metrics.lines().any(|shown| shown == line), "{wanted}: {line}");
        }
        cursor = page["next_cursor"].as_str().map(|next| format!("&cursor={next}")).unwrap_or_default();
    }
    assert_eq!(cursor, "", "there are no more");
    node.stop().await;
}
