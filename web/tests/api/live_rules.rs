//! The regulator's rules, end to end: from pushed records to what staff and operators see of what was found.

use crate::node::{Key, Node, Operator, Setup};
use actors::engine::Faults;
use actors::rules::Known;
use engine::rules::input::Facts;
use futures_util::future::LocalBoxFuture;
use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
use models::record::Record;
use models::ts::Ts;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::RuleFindingQuery;

const PATIENCE: Duration = Duration::from_secs(30);

/// Everybody is known, and was asked about just then; as long as evidence is away nobody can say so.
struct Everybody {
    is_away: Arc<AtomicBool>,
}

impl Known for Everybody {
    fn of(
        &self,
        _: OperatorNo,
        _: Ts,
        records: Arc<[Record]>,
    ) -> LocalBoxFuture<'static, Result<Option<Vec<Facts>>, String>> {
        let facts = |record: &Record| Facts {
            is_identified: record.player.is_some(),
            checked_at: Some(record.occurred_at),
            marketing_checked_at: Some(record.occurred_at),
            ..Facts::default()
        };
        let facts = (!self.is_away.load(Ordering::Relaxed)).then(|| records.iter().map(facts).collect());
        Box::pin(std::future::ready(Ok(facts)))
    }
}

fn setup(is_away: &Arc<AtomicBool>) -> Setup {
    Setup { known: Some(Arc::new(Everybody { is_away: Arc::clone(is_away) })), ..Setup::default() }
}

pub fn known() -> Setup {
    setup(&Arc::default())
}

/// An operator that pushes.
struct Pushing {
    operator: Operator,
    key: Key,
}

impl Pushing {
    async fn new(node: &Node, code: &str) -> Self {
        let operator = node.operator(code).await;
        let scopes = json!({"label": "k", "scopes": ["feeds:write", "feeds:manage"], "rate_per_second": 1000});
        let key = operator.key(node, scopes).await;
        Self { operator, key }
    }

    async fn source(&self, node: &Node, class: &str) -> String {
        let name = class.replace('_', "-");
        let new = json!({"name": name, "class": class, "clock": "event", "horizon_days": 60}).to_string();
        let made = node.call("POST", "/api/v1/feeds", Some(&self.key.bearer), &new).await;
        assert_eq!(made.status, 201, "{}", made.text);
        format!("/api/v1/feeds/{}/records", made.json()["id"].as_str().expect("an id"))
    }

    async fn push(&self, node: &Node, path: &str, records: &Value) {
        let pushed = node.call("POST", path, Some(&self.key.bearer), &records.to_string()).await;
        assert_eq!(pushed.json()["accepted"].as_u64(), records.as_array().map(|r| r.len() as u64), "{}", pushed.text);
    }
}

/// `2026-11-01T10:<minute>`, of a player with an amount.
fn play(id: &str, kind: &str, minute: u32, amount_minor: i64) -> Value {
    json!({"record_id": id, "kind": kind, "occurred_at": format!("2026-11-01T10:{minute:02}:00Z"), "status": "successful",
        "player": {"phone": "0712345678"}, "money": {"amount_minor": amount_minor, "currency": "KES"}, "product": "sportsbook"})
}

fn licence(id: &str, state: &str) -> Value {
    json!({"record_id": id, "kind": "licence_status", "occurred_at": "2026-11-01T09:00:00Z", "licence_status": {
        "number": "BCLB-0417", "licence_class": "bookmaker", "products": ["sportsbook"], "valid_from": "2026-01-01",
        "valid_to": "2026-12-31", "state": state, "compliance": "compliant"}})
}

async fn alerts(node: &Node, rule: &str, bearer: &str) -> Vec<Value> {
    let listed = node.call("GET", &format!("/api/v1/alerts?rule={rule}"), Some(bearer), "").await;
    assert_eq!(listed.status, 200, "{}", listed.text);
    listed.json()["items"].as_array().cloned().expect("items")
}

pub async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{what} in time"))
}

async fn alert(node: &Node, rule: &str) -> Value {
    until(rule, async || alerts(node, rule, &node.staff).await.into_iter().next()).await
}

/// A figure of this process.
async fn figure(node: &Node, name: &str) -> u64 {
    let text = node.call("GET", "/metrics", None, "").await.text;
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or_default()
}

/// Waits until so many inputs were applied, by the operators' rules and by those over all operators.
async fn judged(node: &Node, inputs: u64) {
    until("inputs", async || (figure(node, "mlinzi_rule_inputs_judged_total").await >= inputs).then_some(())).await;
}

/// Ids of the findings that are stored, oldest first, each as often as it is.
async fn stored(node: &Node, rule: &str) -> Vec<String> {
    let query = RuleFindingQuery {
        jurisdiction: JurisdictionNo(0),
        rule: Some(rule.to_owned()),
        version: None,
        is_shadow: None,
        from: Ts(0),
        to: Ts(i64::MAX),
        limit: 100,
    };
    let rows = node.engine.store().findings_of_rules(&query).await.expect("findings");
    rows.iter().rev().map(|row| format!("{} {}", row.id, row.kind.as_str())).collect()
}

#[actix_web::test]
async fn what_an_operator_does_is_found_and_shown() {
    let node = Node::start_as(known()).await;
    let acme = Pushing::new(&node, "acme").await;
    let (bets, papers) = (acme.source(&node, "gaming_transactions").await, acme.source(&node, "licences").await);
    let deposit = |n: u32| play(&format!("d{n}"), "deposit", n, 180_000_000);
    acme.push(&node, &bets, &json!([deposit(1), deposit(2)])).await;
    acme.push(&node, &bets, &json!([deposit(3)])).await;
    let passed = json!([play("w1", "withdrawal", 30, 500_000_000)]);
    acme.push(&node, &bets, &passed).await;
    acme.push(&node, &papers, &json!([licence("l1", "suspended")])).await;
    acme.push(&node, &bets, &json!([play("s1", "stake", 40, 100)])).await;

    // rule | whom it is about | what it counts, seen and allowed | records
    let table = [
        ("structured_deposits", "player:", "minor_units", 540_000_000, 193_500_000, &["d1", "d2", "d3"][..]),
        ("rapid_in_out", "player:", "minor_units", 0, 54_000_000, &["d1", "d2", "d3", "w1"]),
        ("licence_lapsed", "licence:", "records", 1, 0, &["s1"]),
    ];
    for (rule, whom, unit, observed, limit, records) in table {
        let found = alert(&node, rule).await;
        let who = found["who"].as_str().unwrap_or_default();
        assert!(who.starts_with(whom) && !found.to_string().contains("712345678"), "{found:#}");
        assert_eq!(
            (&found["operator_code"], &found["metric"], &found["state"]),
            (&json!("acme"), &json!("finding"), &json!("open"))
        );
        let why = &found["evidence"];
        assert_eq!(
            (&why["unit"], &why["observed"], &why["expected"]),
            (&json!(unit), &json!(observed), &json!(limit)),
            "{rule}"
        );
        assert!(why["reasons"][0].as_str().is_some_and(|reason| reason.len() > 20), "{found:#}");
        assert_eq!(why["records"], json!(records), "{rule}");
        // one group of the rule, the operator and whom it is about; staff finds it by its alert
        let group = until("a group", async || {
            let listed = node.call("GET", "/api/v1/alerts/groups", Some(&node.staff), "").await.json();
            let groups = listed["items"].as_array().cloned().unwrap_or_default();
            groups.into_iter().find(|group| group["rule"] == rule)
        });
        let group = group.await;
        assert_eq!(
            (&group["last_alert"], &group["who"], &group["operator_code"]),
            (&found["id"], &found["who"], &json!("acme"))
        );
        // the operator sees its own, but not the pseudonym by which staff joins
        let own = alerts(&node, rule, &acme.key.bearer).await;
        assert_eq!((own.len(), &own[0]["id"], &own[0]["who"]), (1, &found["id"], &Value::Null));
        assert_eq!(own[0]["operator"], json!(acme.operator.id));
        assert!(alerts(&node, rule, &node.neighbour).await.is_empty(), "another jurisdiction sees nothing");
        assert_eq!(stored(&node, rule).await, [format!("{} raised", found["id"].as_str().unwrap_or_default())]);
    }
    node.stop().await;
}

#[actix_web::test]
async fn what_is_found_over_operators_is_for_staff_alone() {
    let node = Node::start_as(known()).await;
    let (acme, other) = (Pushing::new(&node, "acme").await, Pushing::new(&node, "bets").await);
    let (one, two) =
        (acme.source(&node, "gaming_transactions").await, other.source(&node, "gaming_transactions").await);
    acme.push(&node, &one, &json!([play("a1", "stake", 1, 100)])).await;
    judged(&node, 2).await;
    other.push(&node, &two, &json!([play("b1", "stake", 2, 100)])).await;
    let found = alert(&node, "concurrent_play").await;
    assert_eq!((&found["operator"], &found["operator_code"]), (&Value::Null, &json!("KE")), "{found:#}");
    assert_eq!(found["evidence"]["operators"], json!(["acme", "bets"]));
    assert!(found["who"].as_str().is_some_and(|who| who.starts_with("player:")), "{found:#}");
    let path = format!("/api/v1/alerts/{}", found["id"].as_str().unwrap_or_default());
    assert_eq!(node.call("GET", &path, Some(&node.staff), "").await.status, 200);
    let group = until("a group", async || {
        let listed = node.call("GET", "/api/v1/alerts/groups", Some(&node.staff), "").await.json();
        listed["items"].as_array().and_then(|groups| groups.iter().find(|g| g["rule"] == "concurrent_play").cloned())
    });
    assert_eq!(group.await["who"], found["who"]);
    for bearer in [&acme.key.bearer, &other.key.bearer, &node.neighbour] {
        assert!(alerts(&node, "concurrent_play", bearer).await.is_empty());
        assert_eq!(node.call("GET", &path, Some(bearer), "").await.status, 404);
        let listed = node.call("GET", "/api/v1/alerts/groups", Some(bearer), "").await.json();
        assert_eq!(listed["items"], json!([]));
    }
    // a jurisdiction's rules start where they stood: a third bet is one more of the same finding, not another one
    let before = stored(&node, "concurrent_play").await;
    let node = node.restart_as(known()).await;
    other.push(&node, &two, &json!([play("b2", "stake", 3, 100)])).await;
    let after = until("a correction", async || {
        let now = stored(&node, "concurrent_play").await;
        (now.len() > before.len()).then_some(now)
    });
    let after = after.await;
    assert_eq!(after, [before[0].clone(), before[0].replace("raised", "corrected")]);
    node.stop().await;
}

#[actix_web::test]
async fn a_restart_loses_no_finding_and_makes_none_twice() {
    // from a state that was kept, and from the inputs alone
    for is_kept in [true, false] {
        let is_away = Arc::<AtomicBool>::default();
        let often = |is_away: &Arc<AtomicBool>| Setup { snapshot_every: Duration::from_millis(20), ..setup(is_away) };
        let with = |is_away: &Arc<AtomicBool>| if is_kept { often(is_away) } else { setup(is_away) };
        let node = Node::start_as(with(&is_away)).await;
        let acme = Pushing::new(&node, "acme").await;
        let bets = acme.source(&node, "gaming_transactions").await;
        let deposit = |n: u32| play(&format!("d{n}"), "deposit", n, 180_000_000);
        acme.push(&node, &bets, &json!([deposit(1)])).await;
        judged(&node, 2).await;
        if is_kept {
            until("kept states", async || (figure(&node, "mlinzi_rule_states_kept_total").await >= 1).then_some(()))
                .await;
        }
        // evidence is away: what is held when the process ends is heard after it
        is_away.store(true, Ordering::Relaxed);
        acme.push(&node, &bets, &json!([deposit(2)])).await;
        let node = node.restart_as(with(&is_away)).await;
        assert!(stored(&node, "structured_deposits").await.is_empty());
        acme.push(&node, &bets, &json!([deposit(3)])).await;
        is_away.store(false, Ordering::Relaxed);
        let found = alert(&node, "structured_deposits").await;
        assert_eq!(found["evidence"]["records"], json!(["d1", "d2", "d3"]), "half before, half after");
        let once = stored(&node, "structured_deposits").await;
        assert_eq!(once.len(), 1);
        let inputs = node.engine.store().rules_heard(OperatorNo(1)).await.expect("a number");
        assert_eq!(inputs, 3, "each batch is heard once");

        // everything is found again, and is there already
        // the operator's and the jurisdiction's, each of which is kept once for so few inputs
        let gone = std::cell::Cell::new(0);
        until("kept states", async || {
            let clear = node.engine.store().execute_for_tests("DELETE FROM rule_states").await;
            gone.set(gone.get() + clear.expect("states are gone"));
            (gone.get() >= 2).then_some(())
        })
        .await;
        let node = node.restart_as(setup(&is_away)).await;
        judged(&node, 6).await;
        assert_eq!(stored(&node, "structured_deposits").await, once);
        let path = format!("/api/v1/alerts/{}", found["id"].as_str().unwrap_or_default());
        let again = node.call("GET", &path, Some(&node.staff), "").await.json();
        assert_eq!(again["revisions"].as_array().map(Vec::len), Some(1), "{again:#}");
        node.stop().await;
    }
}

#[actix_web::test]
async fn records_that_break_the_rules_are_set_aside_for_good() {
    let poison = || {
        let panics = |record: &Record| assert!(!record.record_id.starts_with("poison"), "an injected fault");
        Setup { faults: Faults { rules: Some(Arc::new(panics)), ..Faults::default() }, ..known() }
    };
    let node = Node::start_as(poison()).await;
    let acme = Pushing::new(&node, "acme").await;
    let bets = acme.source(&node, "gaming_transactions").await;
    let deposit = |id: &str, n: u32| play(id, "deposit", n, 180_000_000);
    acme.push(&node, &bets, &json!([deposit("d1", 1)])).await;
    acme.push(&node, &bets, &json!([deposit("d2", 2), deposit("poison", 3), deposit("d4", 4)])).await;
    let found = alert(&node, "structured_deposits").await;
    assert_eq!(found["evidence"]["records"], json!(["d1", "d2", "d4"]));
    let aside = until("what is set aside", async || {
        let events = node.journaled("rule_input_set_aside").await;
        (events.len() == 2).then_some(events)
    });
    // by the operator's rules, and by those over all operators
    assert!(aside.await.iter().all(|event| event.to_string().contains("[1]")), "the second record of the batch");
    let once = stored(&node, "structured_deposits").await;

    // mended or not, the state stays a function of what is journaled
    let node = node.restart_as(poison()).await;
    judged(&node, 4).await;
    let node = node.restart_as(known()).await;
    acme.push(&node, &bets, &json!([deposit("d5", 5)])).await;
    until("a batch", async || (figure(&node, "mlinzi_rules_lag_seconds_count").await > 0).then_some(())).await;
    assert_eq!(stored(&node, "structured_deposits").await, once, "a fourth deposit is no news of the same run");
    node.stop().await;
}
