//! Models as staff read them.

use crate::node::Node;
use serde_json::json;

#[actix_web::test]
async fn versions_papers_and_drift_are_read_by_staff_alone() {
    let node = Node::start().await;
    let listed = node.call("GET", "/api/v1/models", Some(&node.staff), "").await;
    assert_eq!((listed.status, listed.json()), (200, json!({"models": []})));
    let metrics = json!({"rows": 900, "positives": 200, "auc_ppm": 912_000, "average_precision_ppm": 700_000,
        "brier_ppm": 50_000, "calibration_error_ppm": 20_000});
    let model = json!({"kind": "player_risk", "version": 1, "artefact_sha256": "aa", "schema_sha256": "bb",
        "data_sha256": "cc", "features": 73, "bytes": 10, "held_out": metrics,
        "evaluation": {"data_sha256": "dd", "metrics": metrics}, "by": "Wanjiku", "card": "# Model card"});
    let drift = json!({"kind": "player_risk", "version": 1, "operator_no": 900, "day": 0,
        "rows": 5, "level": "stable", "reasons": []});
    let store = node.engine.store();
    let rows = [
        format!(
            "INSERT INTO models (kind, version, artefact_sha256, state, registered_by, registered_at, promoted_by, promoted_at, body) VALUES ('player_risk', 1, 'aa', 'promoted', 'Wanjiku', 0, 'Otieno', 1000000, '{model}')"
        ),
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
    let read = node.call("GET", "/api/v1/models/player_risk/1", Some(&node.staff), "").await;
    assert_eq!((read.status, read.json()["card"].as_str()), (200, Some("# Model card")));
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
