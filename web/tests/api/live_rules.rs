//! The regulator's rules, end to end: from pushed records to what staff and operators see of what was found.

use crate::alert_groups::{act, wait_for};
use crate::node::{AheadClock, Key, Node, Operator, Setup};
use actors::engine::Faults;
use actors::rules::Known;
use engine::rules::input::Facts;
use futures_util::future::LocalBoxFuture;
use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
use models::record::Record;
use models::ts::{DAY, Ts};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::RuleFindingQuery;

/// A rule over all operators.
pub const EVERYWHERE: &str = "net_deposits_across_operators";
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
pub struct Pushing {
    operator: Operator,
    pub key: Key,
}

impl Pushing {
    pub async fn new(node: &Node, code: &str) -> Self {
        let operator = node.operator(code).await;
        let scopes = json!({"label": "k", "scopes": ["feeds:write", "feeds:manage"], "rate_per_second": 1000});
        let key = operator.key(node, scopes).await;
        Self { operator, key }
    }

    pub async fn source(&self, node: &Node, class: &str) -> String {
        let name = class.replace('_', "-");
        let new = json!({"name": name, "class": class, "clock": "event", "horizon_days": 60}).to_string();
        let made = node.call("POST", "/api/v1/feeds", Some(&self.key.bearer), &new).await;
        assert_eq!(made.status, 201, "{}", made.text);
        format!("/api/v1/feeds/{}/records", made.json()["id"].as_str().expect("an id"))
    }

    /// Staff makes a source of licences, and sends what the authority says.
    async fn licensed(&self, node: &Node, records: &Value) {
        let new = json!({"operator": self.operator.id, "name": "licences", "class": "licences", "clock": "event"});
        let made = node.call("POST", "/api/v1/feeds", Some(&node.staff), &new.to_string()).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let path = format!("/api/v1/feeds/{}/records", made.json()["id"].as_str().expect("an id"));
        let pushed = node.call("POST", &path, Some(&node.staff), &records.to_string()).await;
        assert_eq!(pushed.json()["accepted"].as_u64(), records.as_array().map(|r| r.len() as u64), "{}", pushed.text);
    }

    pub async fn push(&self, node: &Node, path: &str, records: &Value) {
        let pushed = node.call("POST", path, Some(&self.key.bearer), &records.to_string()).await;
        assert_eq!(pushed.json()["accepted"].as_u64(), records.as_array().map(|r| r.len() as u64), "{}", pushed.text);
    }
}

/// `2026-11-01T10:<minute>`, of a player with an amount.
pub fn play(id: &str, kind: &str, minute: u32, amount_minor: i64) -> Value {
    json!({"record_id": id, "kind": kind, "occurred_at": format!("2026-11-01T10:{minute:02}:00Z"), "status": "successful",
        "player": {"phone": "0712345678"}, "money": {"amount_minor": amount_minor, "currency": "KES"}, "product": "sportsbook"})
}

fn licence(id: &str, state: &str) -> Value {
    json!({"record_id": id, "kind": "licence_status", "occurred_at": "2026-11-01T09:00:00Z", "licence_status": {
        "number": "BCLB-0417", "licence_class": "bookmaker", "products": ["sportsbook"], "valid_from": "2026-01-01",
        "valid_to": "2026-12-31", "state": state, "compliance": "compliant"}})
}

pub async fn alerts(node: &Node, rule: &str, bearer: &str) -> Vec<Value> {
    listed(node, &format!("/api/v1/alerts?rule={rule}"), bearer).await
}

async fn all_alerts(node: &Node, bearer: &str) -> Vec<Value> {
    listed(node, "/api/v1/alerts", bearer).await
}

async fn listed(node: &Node, path: &str, bearer: &str) -> Vec<Value> {
    let listed = node.call("GET", path, Some(bearer), "").await;
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

pub async fn alert(node: &Node, rule: &str) -> Value {
    until(rule, async || alerts(node, rule, &node.staff).await.into_iter().next()).await
}

/// A figure of this process.
pub async fn figure(node: &Node, name: &str) -> u64 {
    let text = node.call("GET", "/metrics", None, "").await.text;
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or_default()
}

/// Waits until so many inputs were applied, by the operators' rules and by those over all operators.
pub async fn judged(node: &Node, inputs: u64) {
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
    let bets = acme.source(&node, "gaming_transactions").await;
    let deposit = |n: u32| play(&format!("d{n}"), "deposit", n, 180_000_000);
    acme.push(&node, &bets, &json!([deposit(1), deposit(2)])).await;
    acme.push(&node, &bets, &json!([deposit(3)])).await;
    let passed = json!([play("w1", "withdrawal", 30, 500_000_000)]);
    acme.push(&node, &bets, &passed).await;
    acme.licensed(&node, &json!([licence("l1", "suspended")])).await;
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
        // the operator reads everything of its duties but the pseudonym by which staff joins, and of others that they are there
        let is_duty = rule == "licence_lapsed";
        assert_eq!(alerts(&node, rule, &acme.key.bearer).await.len(), usize::from(is_duty), "{rule}");
        let own = all_alerts(&node, &acme.key.bearer).await;
        let own = own.iter().find(|own| own["id"] == found["id"]).expect("its own");
        assert_eq!((&own["rule"], &own["who"]), (&json!(if is_duty { rule } else { "confidential" }), &Value::Null));
        assert_eq!(own["evidence"]["records"], if is_duty { json!(records) } else { json!([]) }, "{rule}");
        assert_eq!(own["operator"], json!(acme.operator.id));
        let path = format!("/api/v1/alerts/groups/{}", group["id"].as_str().unwrap_or_default());
        let own_group = node.call("GET", &path, Some(&acme.key.bearer), "").await.json();
        assert_eq!((&own_group["rule"], &own_group["who"]), (&own["rule"], &Value::Null), "{rule}");
        let named = format!("/api/v1/alerts/groups?rule={rule}");
        let named = node.call("GET", &named, Some(&acme.key.bearer), "").await.json();
        assert_eq!(named["items"].as_array().map(Vec::len), Some(usize::from(is_duty)), "{rule}");
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
    acme.push(&node, &one, &json!([play("a1", "deposit", 1, 9_000_000)])).await;
    judged(&node, 2).await;
    other.push(&node, &two, &json!([play("b1", "deposit", 2, 9_000_000)])).await;
    let found = alert(&node, EVERYWHERE).await;
    assert_eq!((&found["operator"], &found["operator_code"]), (&Value::Null, &json!("KE")), "{found:#}");
    assert_eq!(found["evidence"]["operators"], json!(["acme", "bets"]));
    assert!(found["who"].as_str().is_some_and(|who| who.starts_with("player:")), "{found:#}");
    let path = format!("/api/v1/alerts/{}", found["id"].as_str().unwrap_or_default());
    assert_eq!(node.call("GET", &path, Some(&node.staff), "").await.status, 200);
    let group = until("a group", async || {
        let listed = node.call("GET", "/api/v1/alerts/groups", Some(&node.staff), "").await.json();
        listed["items"].as_array().and_then(|groups| groups.iter().find(|g| g["rule"] == EVERYWHERE).cloned())
    });
    assert_eq!(group.await["who"], found["who"]);
    for bearer in [&acme.key.bearer, &other.key.bearer, &node.neighbour] {
        assert!(alerts(&node, EVERYWHERE, bearer).await.is_empty());
        assert_eq!(node.call("GET", &path, Some(bearer), "").await.status, 404);
        let listed = node.call("GET", "/api/v1/alerts/groups", Some(bearer), "").await.json();
        assert_eq!(listed["items"], json!([]));
    }
    // a jurisdiction's rules start where they stood: a third deposit is more of the same finding, not another one
    let before = stored(&node, EVERYWHERE).await;
    let node = node.restart_as(known()).await;
    other.push(&node, &two, &json!([play("b2", "deposit", 3, 18_000_000)])).await;
    let after = until("a correction", async || {
        let now = stored(&node, EVERYWHERE).await;
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

/// A backtest once it is over.
pub async fn tried(node: &Node, path: &str, body: &Value) -> Value {
    let begun = node.call("POST", path, Some(&node.staff), &body.to_string()).await;
    assert_eq!(begun.status, 202, "{}", begun.text);
    assert_eq!(begun.json()["state"], "running");
    let place = begun.header("location");
    until("a backtest", async || {
        let shown = node.call("GET", &place, Some(&node.staff), "").await.json();
        (shown["state"] != "running").then_some(shown)
    })
    .await
}

#[actix_web::test]
async fn a_version_is_run_over_history_before_anybody_hears_of_it() {
    let node = Node::start_as(known()).await;
    let acme = Pushing::new(&node, "acme").await;
    let bets = acme.source(&node, "gaming_transactions").await;
    let deposit = |id: &str, phone: &str, minute: u32| {
        let mut record = play(id, "deposit", minute, 180_000_000);
        record["player"] = json!({"phone": phone});
        record
    };
    // three of one player: version 1 finds them. Two of another: only a version that asks for two
    let three = json!([deposit("a1", "0712000001", 1), deposit("a2", "0712000001", 2), deposit("a3", "0712000001", 3)]);
    acme.push(&node, &bets, &three).await;
    acme.push(&node, &bets, &json!([deposit("b1", "0712000002", 4), deposit("b2", "0712000002", 5)])).await;
    let before = alert(&node, "structured_deposits").await;
    judged(&node, 4).await;
    let group = wait_for(&node, "?rule=structured_deposits", |_| true).await;
    let id = group["id"].as_str().expect("an id");
    assert_eq!(act(&node, id, "resolve", &json!({"reason": "confirmed"})).await.0, 200);
    let versions = "/api/v1/rules/structured_deposits/versions";
    for deposits_min in [2, 4] {
        let body = json!({"parameters": {"deposits_min": deposits_min}, "note": "another number"}).to_string();
        assert_eq!(node.call("POST", versions, Some(&node.staff), &body).await.status, 201);
    }
    let span = json!({"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z"});
    // version | both, only it, only the live one
    for (version, both, only_candidate, only_live) in [(2, 1, 1, 0), (3, 0, 0, 1)] {
        let path = format!("{versions}/{version}/backtests");
        let shown = tried(&node, &path, &span).await;
        assert_eq!((&shown["state"], &shown["percent"]), (&json!("done"), &json!(100)), "{shown:#}");
        let result = &shown["result"];
        assert_eq!(
            (&result["both"], &result["only_candidate"], &result["only_live"]),
            (&json!(both), &json!(only_candidate), &json!(only_live)),
            "{shown:#}"
        );
        assert_eq!(
            (&result["inputs_in_span"], &result["records"], &result["operator_days"]),
            (&json!(2), &json!(5), &json!(1))
        );
        assert_eq!(result["candidate"]["raised"], json!(both + only_candidate));
        assert_eq!(result["candidate"]["per_operator_day"], json!(f64::from(both + only_candidate)));
        assert_eq!(result["operators"], json!({"1": "acme"}));
        let (confirmed, none) =
            (json!({"judged": 1, "candidate": both, "live": 1}), json!({"judged": 0, "candidate": 0, "live": 0}));
        assert_eq!((&result["confirmed"], &result["false_alarms"]), (&confirmed, &none), "{shown:#}");
        assert_eq!(result["judged_cut"], false);
        let listed = node.call("GET", &path, Some(&node.staff), "").await.json();
        assert_eq!((&listed["items"][0]["id"], &listed["items"][0]["result"]), (&shown["id"], &Value::Null));
        if version == 2 {
            let example = &result["examples_only_candidate"][0];
            assert_eq!(example["finding"]["records"], json!(["b1", "b2"]), "{example:#}");
            assert_eq!(result["days"], json!([{"operator_no": 1, "day": "2026-11-01", "candidate": 2, "live": 1}]));
        } else {
            assert_eq!(result["examples_only_live"][0]["finding"]["records"], json!(["a1", "a2", "a3"]));
        }
    }
    // outside of its hours nothing is found, and nobody was told of anything
    let empty = json!({"from": "2026-10-01T00:00:00Z", "to": "2026-10-02T00:00:00Z"});
    let shown = tried(&node, &format!("{versions}/2/backtests"), &empty).await;
    assert_eq!((&shown["result"]["both"], &shown["result"]["inputs"]), (&json!(0), &json!(0)), "{shown:#}");
    assert_eq!(alerts(&node, "structured_deposits", &node.staff).await, [before]);
    assert_eq!(stored(&node, "structured_deposits").await.len(), 1, "no row of a finding either");

    // who may, and of what
    let path = format!("{versions}/2/backtests");
    let long = json!({"from": "2026-01-01T00:00:00Z", "to": "2026-11-02T00:00:00Z"});
    let backwards = json!({"from": "2026-11-02T00:00:00Z", "to": "2026-11-01T00:00:00Z"});
    let shown_id = shown["id"].as_str().unwrap_or_default();
    let table = [
        ("POST", path.clone(), &acme.key.bearer, span.to_string(), 403),
        ("GET", path.clone(), &acme.key.bearer, String::new(), 403),
        ("POST", path.clone(), &node.staff, long.to_string(), 422),
        ("POST", path.clone(), &node.staff, backwards.to_string(), 422),
        ("POST", format!("{versions}/9/backtests"), &node.staff, span.to_string(), 404),
        ("POST", "/api/v1/rules/feed_tampered/versions/1/backtests".to_owned(), &node.staff, span.to_string(), 409),
        ("GET", format!("{path}/bct_00000000000000000000000000"), &node.staff, String::new(), 404),
        ("GET", format!("{versions}/3/backtests/{shown_id}"), &node.staff, String::new(), 404),
    ];
    for (method, path, bearer, body, status) in table {
        let answer = node.call(method, &path, Some(bearer), &body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
    }
    node.stop().await;
}

#[actix_web::test]
async fn many_exclusions_that_one_operator_reports_are_found() {
    let node = Node::start_as(known()).await;
    let (acme, other) = (Pushing::new(&node, "acme").await, Pushing::new(&node, "bets").await);
    // who has played says how large an operator is
    for pushing in [&acme, &other] {
        let bets = pushing.source(&node, "gaming_transactions").await;
        pushing.push(&node, &bets, &json!([play("s1", "stake", 1, 100)])).await;
    }
    judged(&node, 4).await;
    let register = async |n: usize, operator: Option<&str>| {
        let mut new =
            json!({"phone": format!("07130{n:05}"), "period": "1_year", "reason_class": "self", "channel": "operator"});
        if let Some(operator) = operator {
            new["reported_by"] = json!(operator);
        }
        node.call("POST", "/api/v1/nser/register", Some(&node.staff), &new.to_string()).await
    };
    for n in 0..40 {
        let whose = match n {
            // those that nobody reported, and a few of another operator's, are nobody's mistake
            0..20 => None,
            20..23 => Some(other.operator.id.as_str()),
            _ => Some(acme.operator.id.as_str()),
        };
        assert_eq!(register(n, whose).await.status, 201);
    }
    let found = alert(&node, "unusual_exclusions").await;
    assert_eq!(
        (&found["operator_code"], &found["evidence"]["unit"]),
        (&json!("acme"), &json!("exclusions")),
        "{found:#}"
    );
    // while the day goes on it is told of as many as there were then, and of all of them once they are twice as many
    assert!(found["evidence"]["observed"].as_i64().is_some_and(|seen| (10..=17).contains(&seen)), "{found:#}");
    let registered = node.journaled("exclusion_registered").await;
    let by = |event: &&Value| event.to_string().contains("reported_by");
    assert_eq!(registered.iter().filter(by).count(), 20);
    for (operator, status) in [("opr_00000000000000000000000000", 422), ("acme", 422)] {
        assert_eq!(register(99, Some(operator)).await.status, status, "{operator}");
    }
    // another start goes on where the one before ended: one more is told of, and nothing new follows from it
    let before = stored(&node, "unusual_exclusions").await;
    let last = async |node: &Node| node.engine.store().last_rule_input(OperatorNo(1)).await.expect("a number");
    let inputs = last(&node).await;
    let node = node.restart_as(known()).await;
    let more = json!({"phone": "0713099999", "period": "1_year", "reason_class": "self", "channel": "operator", "reported_by": acme.operator.id});
    let more = node.call("POST", "/api/v1/nser/register", Some(&node.staff), &more.to_string()).await;
    assert_eq!(more.status, 201, "{}", more.text);
    until("the day is told again", async || (last(&node).await > inputs).then_some(())).await;
    judged(&node, 1).await;
    let after = stored(&node, "unusual_exclusions").await;
    assert_eq!(after[0], before[0]);
    assert!(after.iter().skip(1).all(|revision| revision.ends_with("corrected")), "{after:?}");
    assert_eq!(alerts(&node, "unusual_exclusions", &node.staff).await.len(), 1);
    node.stop().await;
}

#[actix_web::test]
async fn history_from_before_the_rules_alarms_nobody() {
    let (is_away, clock) = (Arc::new(AtomicBool::new(true)), Arc::<AheadClock>::default());
    let with = || Setup { clock: clock.clone(), ..setup(&is_away) };
    let run = |first: &str, phone: &str| {
        let deposit = |n: u32| {
            let mut record = play(&format!("{first}{n}"), "deposit", n, 180_000_000);
            record["player"] = json!({"phone": phone});
            record
        };
        json!([deposit(1), deposit(2), deposit(3)])
    };
    let node = Node::start_as(with()).await;
    let acme = Pushing::new(&node, "acme").await;
    let bets = acme.source(&node, "gaming_transactions").await;
    // stored, and as if there were no rules yet
    acme.push(&node, &bets, &run("a", "0712000001")).await;
    clock.go(2 * DAY);
    let forget = "DELETE FROM store_meta WHERE key LIKE 'rules_quiet_%'";
    assert_eq!(node.engine.store().execute_for_tests(forget).await.expect("it is forgotten"), 1);
    is_away.store(false, Ordering::Relaxed);
    let node = node.restart_as(with()).await;
    judged(&node, 2).await;
    let old =
        until("a finding", async || Some(stored(&node, "structured_deposits").await).filter(|all| all.len() == 1));
    let old = old.await;
    assert!(figure(&node, "mlinzi_rule_findings_quiet_total").await >= 1);
    assert!(alerts(&node, "structured_deposits", &node.staff).await.is_empty());
    // what comes now is told of
    acme.push(&node, &bets, &run("b", "0712000002")).await;
    let found = alert(&node, "structured_deposits").await;
    assert_eq!(found["evidence"]["records"], json!(["b1", "b2", "b3"]));
    let counted = "mlinzi_rule_findings_total{mode=\"live\",rule=\"structured_deposits\"}";
    assert_eq!(figure(&node, counted).await, 2);
    // another start finds both again, tells of neither and counts none
    node.engine.store().execute_for_tests("DELETE FROM rule_states").await.expect("states are gone");
    let node = node.restart_as(with()).await;
    judged(&node, 4).await;
    assert_eq!(stored(&node, "structured_deposits").await.len(), 2);
    assert_eq!(stored(&node, "structured_deposits").await[0], old[0]);
    assert_eq!(alerts(&node, "structured_deposits", &node.staff).await.len(), 1);
    assert_eq!((figure(&node, counted).await, figure(&node, "mlinzi_rule_findings_quiet_total").await), (0, 0));
    node.stop().await;
}
