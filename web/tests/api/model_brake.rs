//! The brake of models, and of rules of which nothing was known: through the running node, with findings as they are stored.

use crate::node::{AheadClock, Node, Setup};
use crate::rule_findings::{Found, store_findings_of};
use crate::rules::second;
use actors::notifiers::{Channel, NotifySetup, OpenChannel, SendError};
use engine::routing::Router;
use futures_util::future::BoxFuture;
use models::alert::Severity;
use models::jurisdiction::JurisdictionNo;
use models::notice::Notice;
use models::ts::{HOUR, MINUTE, Ts};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::Clock as _;

const RISKY: &str = "risky_transaction";

/// A node with an operator whose first model of transaction risk was promoted just now, without a shadow; the clock runs ahead
/// as it is told to.
async fn begin() -> (Node, Arc<AheadClock>) {
    begin_as(NotifySetup::default()).await
}

/// The same where somebody is told.
async fn begin_as(notify: NotifySetup) -> (Node, Arc<AheadClock>) {
    let clock = Arc::<AheadClock>::default();
    let node = Node::start_as(Setup { clock: clock.clone(), notify, ..Setup::default() }).await;
    node.operator("acme").await;
    let metrics = json!({"rows": 900, "positives": 200, "auc_ppm": 912_000, "average_precision_ppm": 700_000,
        "brier_ppm": 50_000, "calibration_error_ppm": 20_000});
    let model = json!({"kind": "transaction_risk", "version": 1, "artefact_sha256": "a1", "schema_sha256": "bb",
        "data_sha256": "cc", "features": 46, "bytes": 10, "held_out": metrics, "by": "Wanjiku", "card": "# Model card"});
    let forecast = json!({"basis": "none", "findings": 0, "operator_hours": 0, "expected_micro": 0, "upper_micro": 0});
    let forecasts = json!([{"jurisdiction": 0, "rule": RISKY, "forecast": forecast}]);
    let now = clock.now().0;
    for row in [
        format!(
            "INSERT INTO models (kind, version, artefact_sha256, registered_by, registered_at, body) VALUES ('transaction_risk', 1, 'a1', 'Wanjiku', 0, '{model}')"
        ),
        format!(
            "INSERT INTO model_acts (kind, nr, version, act, done_by, done_at, forecasts) VALUES ('transaction_risk', 1, 1, 'promoted', 'Otieno', {now}, '{forecasts}')"
        ),
    ] {
        node.engine.store().execute_for_tests(&row).await.expect("a row");
    }
    (node, clock)
}

/// So many findings of a live version of a rule in the last minutes.
async fn raises(node: &Node, clock: &AheadClock, (rule, version): (&str, u32), many: i64) {
    let found = |n: i64| Found {
        version,
        mode: "live",
        player: "00000000000000000000bb",
        kind: "raised",
        at: clock.now().plus(-(n % 20) * MINUTE),
    };
    store_findings_of(node, rule, &(0..many).map(found).collect::<Vec<_>>()).await;
}

async fn get(node: &Node, path: &str) -> Value {
    let answer = node.call("GET", path, Some(&node.staff), "").await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer.json()
}

async fn looks(node: &Node) {
    // the engine looks by itself, too: who is faster has taken back what there was
    node.engine.look_at_promotions().await.expect("a look");
}

async fn model(node: &Node) -> Value {
    get(node, "/api/v1/models").await["models"][0].clone()
}

/// Whose version of the rule is live, and the last that was done with it.
async fn rule(node: &Node, name: &str) -> (Value, Value) {
    let rule = get(node, &format!("/api/v1/rules/{name}")).await;
    (rule["live"]["version"].clone(), rule["changes"][0]["what"].clone())
}

/// Proposes a version of a rule, and lets somebody else promote it; gives the promotion.
async fn promotes(node: &Node, name: &str, parameters: &Value) -> Value {
    let versions = format!("/api/v1/rules/{name}/versions");
    let body = json!({"parameters": parameters, "note": "x"}).to_string();
    let made = node.call("POST", &versions, Some(&node.staff), &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let path = format!("{versions}/{}/promote", made.json()["version"]);
    let done = node.call("POST", &path, Some(&second(node).await), r#"{"note":"x"}"#).await;
    assert_eq!(done.status, 200, "{}", done.text);
    done.json()["promoted"].clone()
}

#[actix_web::test]
async fn a_model_whose_alerts_leave_their_forecast_is_taken_back_by_itself() {
    let (node, clock) = begin().await;
    let live = model(&node).await["live"].clone();
    assert_eq!(live.as_array().map(Vec::len), Some(1), "{live}");
    assert_eq!(
        (&live[0]["rule"], &live[0]["forecast"]["basis"], &live[0]["seen"]),
        (&json!(RISKY), &json!("none"), &json!(0))
    );
    clock.go(2 * HOUR);
    // so few never stop anything
    raises(&node, &clock, (RISKY, 1), 9).await;
    looks(&node).await;
    let known = model(&node).await;
    assert_eq!((&known["state"], &known["live"][0]["seen"]), (&json!("promoted"), &json!(9)), "{known}");
    raises(&node, &clock, (RISKY, 1), 40).await;
    looks(&node).await;
    let known = get(&node, "/api/v1/models/transaction_risk/1").await;
    assert_eq!((&known["model"]["state"], &known["model"]["live"]), (&json!("retired"), &json!([])), "{known}");
    let last = known["history"].as_array().and_then(|acts| acts.last()).cloned().expect("an act");
    assert_eq!((&last["act"], &last["by"]), (&json!("retired"), &json!("the brake")), "{last}");
    let reason = last["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("risky_transaction: ") && reason.contains("where at most"), "{last}");
    let metrics = node.call("GET", "/metrics", Some(&node.staff), "").await.text;
    for line in [r#"{jurisdiction="KE"} 1"#, r#"{jurisdiction="KE-2"} 0"#] {
        assert!(metrics.contains(&format!("mlinzi_model_brakes_total{line}")), "{line}: {metrics}");
    }
    // where nothing flooded it goes on
    let abroad = node.call("GET", "/api/v1/models", Some(&node.neighbour), "").await.json();
    let told = (&abroad["models"][0]["jurisdiction"], &abroad["models"][0]["state"]);
    assert_eq!(told, (&json!("KE-2"), &json!("promoted")), "{abroad}");
    // once, and the rule that only heard it stays as it is
    looks(&node).await;
    assert_eq!(node.journaled("model_retired").await.len(), 1);
    assert_eq!(rule(&node, RISKY).await, (json!(1), Value::Null));
    node.stop().await;
}

/// Keeps every notice that goes out.
#[derive(Default)]
struct Keeps(Mutex<Vec<Notice>>);

impl Channel for Keeps {
    fn send<'a>(&'a self, notice: &'a Notice, _: Ts) -> BoxFuture<'a, Result<(), SendError>> {
        self.0.lock().expect("nobody panicked").push(notice.clone());
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What the log of notices says once so many have gone out.
async fn sent(node: &Node, many: usize) -> Vec<Value> {
    let all = async {
        loop {
            let log = get(node, "/api/v1/notifications?state=sent").await;
            let items = log["items"].as_array().cloned().unwrap_or_default();
            if items.len() >= many {
                return items;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("somebody is told")
}

#[actix_web::test]
async fn staff_is_told_once_that_a_model_was_taken_back_and_why() {
    let keeps = Arc::<Keeps>::default();
    let channel = OpenChannel { name: "desk".to_owned(), kind: "fixed", per_minute: 600, channel: keeps.clone() };
    let router = Router::new(&[], &["desk".to_owned()], &["desk"], &[]).expect("routes");
    let (node, clock) = begin_as(NotifySetup { channels: vec![channel], router: Arc::new(router) }).await;
    clock.go(2 * HOUR);
    // within the forecast nobody is told anything
    raises(&node, &clock, (RISKY, 1), 9).await;
    looks(&node).await;
    assert_eq!(get(&node, "/api/v1/notifications").await["items"], json!([]));
    raises(&node, &clock, (RISKY, 1), 40).await;
    looks(&node).await;
    let told = sent(&node, 1).await;
    let history = get(&node, "/api/v1/models/transaction_risk/1").await["history"].clone();
    let last = history.as_array().and_then(|acts| acts.last()).cloned().expect("an act");
    let item = &told[0];
    assert_eq!(item["title"], "transaction_risk: the brake stopped version 1 in KE", "{item}");
    assert_eq!(item["lines"], json!([last["reason"], "the version is retired, and nothing scores"]), "{item}");
    assert_eq!(
        (&item["kind"], &item["severity"], &item["rule"], &item["operator_code"], &item["channel"]),
        (&json!("raised"), &json!("high"), &json!(RISKY), &Value::Null, &json!("desk")),
        "{item}"
    );
    // the channel got what the log says, as something of the jurisdiction whose model it was
    let went: Vec<Notice> = keeps.0.lock().expect("nobody panicked").clone();
    let of = |notice: &Notice| (notice.title.clone(), notice.severity, notice.jurisdiction, notice.operator.clone());
    let wanted = (item["title"].as_str().expect("a title").to_owned(), Severity::High, JurisdictionNo(0), None);
    assert_eq!(went.iter().map(of).collect::<Vec<_>>(), [wanted]);
    // once, and nobody of another jurisdiction reads it
    looks(&node).await;
    let all = get(&node, "/api/v1/notifications").await["items"].clone();
    assert_eq!(all.as_array().map(Vec::len), Some(1), "{all}");
    let others = node.call("GET", "/api/v1/notifications", Some(&node.neighbour), "").await;
    assert_eq!((others.status, &others.json()["items"]), (200, &json!([])));
    node.stop().await;
}

#[actix_web::test]
async fn of_a_rule_and_the_model_that_it_hears_the_newer_promotion_is_taken_back_first() {
    let (node, clock) = begin().await;
    clock.go(2 * HOUR);
    let promoted = promotes(&node, RISKY, &json!({"score_min_ppm": 400_000})).await;
    assert_eq!(promoted["forecast"]["basis"], "version_before", "{promoted}");
    clock.go(HOUR);
    raises(&node, &clock, (RISKY, 2), 40).await;
    looks(&node).await;
    assert_eq!(rule(&node, RISKY).await, (json!(1), json!("rolled_back_by_the_brake")));
    // what came of the rule's version is not held against the model
    looks(&node).await;
    assert_eq!(model(&node).await["state"], "promoted");
    clock.go(HOUR);
    raises(&node, &clock, (RISKY, 1), 40).await;
    looks(&node).await;
    assert_eq!(model(&node).await["state"], "retired");
    looks(&node).await;
    assert_eq!(rule(&node, RISKY).await, (json!(1), json!("rolled_back_by_the_brake")), "and no further");
    node.stop().await;
}

#[actix_web::test]
async fn a_rule_that_was_off_has_a_brake_from_its_first_promotion_on() {
    const RULE: &str = "concurrent_play";
    let clock = Arc::<AheadClock>::default();
    let node = Node::start_as(Setup { clock: clock.clone(), ..Setup::default() }).await;
    node.operator("acme").await;
    let promoted = promotes(&node, RULE, &json!({"wait_minutes": 10})).await;
    assert_eq!(promoted["forecast"]["basis"], "none", "{promoted}");
    clock.go(2 * HOUR);
    raises(&node, &clock, (RULE, 2), 9).await;
    looks(&node).await;
    assert_eq!(rule(&node, RULE).await, (json!(2), json!("promoted")));
    raises(&node, &clock, (RULE, 2), 40).await;
    looks(&node).await;
    assert_eq!(rule(&node, RULE).await, (Value::Null, json!("rolled_back_by_the_brake")), "it is off again");
    node.stop().await;
}
