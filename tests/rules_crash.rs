//! What rules find survives `kill -9`, on both stores: nothing is lost, and nothing is found twice.

mod program;

use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
use models::ts::Ts;
use program::{phone, post, prepare, serve};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use store::{OpenOptions, RuleFindingQuery, Store};

const ROUNDS: usize = 3;
const RULE: &str = "structured_deposits";
const PATIENCE: Duration = Duration::from_secs(60);

/// Three deposits of a player, each just below the threshold: one finding.
fn run_of_deposits(player: usize) -> String {
    let deposit = |n: usize| {
        json!({"record_id": format!("{player}-{n}"), "kind": "deposit", "occurred_at": format!("2026-01-01T00:{n:02}:00Z"),
            "player": {"phone": phone(10_000_000 + player)}, "money": {"amount_minor": 180_000_000, "currency": "KES"}})
    };
    (0..3).map(|n| deposit(n).to_string()).collect::<Vec<_>>().join("\n")
}

async fn heard(store: &Store, batches: usize) {
    let all = async {
        while store.rules_heard(OperatorNo(1)).await.expect("a number") < batches as i64 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("every batch is heard");
}

async fn check(url: &str) {
    let dir = testkit::temp_dir();
    let dir = dir.path();
    let key = prepare(dir, url);
    let client = reqwest::Client::new();
    let mut server = serve(&client, dir, url).await;
    let operator = json!({"code": "alpha", "name": "Alpha"}).to_string();
    let made = post(&client, format!("{}/api/v1/operators/register", server.base), &key, operator).await;
    let source = json!({"operator": made.expect("an operator")["id"], "name": "play", "class": "gaming_transactions",
        "kind": "push", "clock": "event", "horizon_days": 60, "currency": "KES"});
    let made = post(&client, format!("{}/api/v1/feeds", server.base), &key, source.to_string()).await;
    let source = made.expect("a source")["id"].as_str().expect("an id").to_owned();
    let mut players = 0;
    for round in 0..ROUNDS {
        let path = |server: &program::Server| format!("{}/api/v1/feeds/{source}/records", server.base);
        let end = Instant::now() + Duration::from_millis(400 + 150 * round as u64);
        while Instant::now() < end {
            post(&client, path(&server), &key, run_of_deposits(players)).await.expect("a push");
            players += 1;
        }
        // one more under way while the process dies; what it had judged and not yet said is what is looked for
        let kill = async {
            tokio::time::sleep(Duration::from_millis(3 * round as u64)).await;
            server.child.kill().expect("kill -9");
        };
        tokio::join!(post(&client, path(&server), &key, run_of_deposits(players)), kill);
        drop(server);
        server = serve(&client, dir, url).await;
        post(&client, path(&server), &key, run_of_deposits(players)).await.expect("a push");
        players += 1;
    }
    let store = Store::open(url, &OpenOptions::default()).await.expect("the store opens beside the engine");
    heard(&store, players).await;
    server.stop();

    let query = RuleFindingQuery {
        jurisdiction: JurisdictionNo(0),
        rule: Some(RULE.to_owned()),
        version: None,
        is_shadow: None,
        from: Ts(0),
        to: Ts(i64::MAX),
        limit: 100_000,
    };
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for row in store.findings_of_rules(&query).await.expect("findings") {
        *found.entry(row.id.to_string()).or_default() += 1;
        assert_eq!(store.alert(row.id).await.expect("an alert").len(), 1, "an alert of each, once");
    }
    assert_eq!(found.len(), players, "one finding a player");
    assert!(found.values().all(|count| *count == 1), "{found:?}");
    let inputs = store.rule_inputs(OperatorNo(1), 0, 1).await.expect("inputs");
    assert_eq!(inputs.first().map(|input| input.input_seq), Some(1), "numbered from 1");
    assert_eq!(store.rules_heard(OperatorNo(1)).await.expect("a number"), players as i64);
    store.close().await;
}

#[tokio::test]
async fn no_finding_is_lost_or_doubled_by_kill_9_on_sqlite() {
    let dir = testkit::temp_dir();
    check(&testkit::sqlite_url(&dir)).await;
}

#[tokio::test]
async fn no_finding_is_lost_or_doubled_by_kill_9_on_postgres() {
    let database = testkit::Postgres::shared().database().await;
    check(&database.url).await;
}
