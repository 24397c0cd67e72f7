//! What was acknowledged survives `kill -9`, on both stores: the running program, killed in the middle of its work.

mod program;

use program::{get, phone, post, prepare, run, serve};
use serde_json::json;
use std::collections::HashMap;
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;

fn records(batch: usize) -> String {
    lines(&batch.to_string(), batch, 100)
}

/// Stakes that are refused for their sign.
fn refused(round: usize) -> String {
    lines(&format!("refused-{round}"), round, -100)
}

fn lines(name: &str, minute: usize, amount: i64) -> String {
    let line = |n: usize| {
        let at = format!("2026-01-01T00:{:02}:{:02}Z", minute % 60, n % 60);
        json!({"record_id": format!("{name}-{n}"), "kind": "stake", "occurred_at": at, "money": {"amount_minor": amount, "currency": "KES"}}).to_string()
    };
    (0..100).map(line).collect::<Vec<_>>().join("\n")
}

async fn check(store: &str) {
    let dir = testkit::temp_dir();
    let dir = dir.path();
    let key = prepare(dir, store);
    let client = reqwest::Client::new();

    let mut server = serve(&client, dir, store).await;
    let operator = json!({"code": "alpha", "name": "Alpha"}).to_string();
    let operator =
        post(&client, format!("{}/api/v1/operators/register", server.base), &key, operator).await.expect("an operator");
    let source = json!({"operator": operator["id"], "name": "play", "class": "gaming_transactions", "kind": "push", "clock": "event", "horizon_days": 60, "currency": "KES"});
    let source =
        post(&client, format!("{}/api/v1/feeds", server.base), &key, source.to_string()).await.expect("a source");
    let source = source["id"].as_str().expect("an id").to_owned();

    let (mut excluded, mut stored): (HashMap<usize, String>, u64) = (HashMap::new(), 0);
    let (mut person, mut batch) = (0, 0);
    // replayed as suggested, 100 a round
    let replay = json!({"code": "sign_mismatch", "apply": "suggestion"}).to_string();
    for round in 0..ROUNDS {
        let end = Instant::now() + Duration::from_millis(700 + 150 * round as u64);
        while Instant::now() < end {
            let body = json!({"phone": phone(10_000_000 + person), "period": "1_year", "reason_class": "self", "channel": "web"});
            let register = post(&client, format!("{}/api/v1/nser/register", server.base), &key, body.to_string());
            let push = post(&client, format!("{}/api/v1/feeds/{source}/records", server.base), &key, records(batch));
            let (registered, pushed) = tokio::join!(register, push);
            excluded.insert(person, registered.expect("a registration")["exclusion_id"].to_string());
            stored += pushed.expect("a push")["accepted"].as_u64().expect("a number");
            (person, batch) = (person + 1, batch + 1);
        }
        let lies = post(&client, format!("{}/api/v1/feeds/{source}/records", server.base), &key, refused(round)).await;
        assert_eq!(lies.expect("a push")["quarantined"].as_array().map(Vec::len), Some(100));
        // one more of each under way while the process dies
        let body =
            json!({"phone": phone(10_000_000 + person), "period": "1_year", "reason_class": "self", "channel": "web"});
        let register = post(&client, format!("{}/api/v1/nser/register", server.base), &key, body.to_string());
        let push = post(&client, format!("{}/api/v1/feeds/{source}/records", server.base), &key, records(batch));
        let again = format!("{}/api/v1/feeds/{source}/quarantine/replay", server.base);
        let replayed = post(&client, again, &key, replay.clone());
        let kill = async {
            tokio::time::sleep(Duration::from_millis(3 * round as u64)).await;
            server.child.kill().expect("kill -9");
        };
        let (registered, pushed, replayed, ()) = tokio::join!(register, push, replayed, kill);
        if let Some(registered) = registered {
            excluded.insert(person, registered["exclusion_id"].to_string());
        }
        let in_flight = pushed.map(|p| p["accepted"].as_u64().expect("a number"));
        drop(server);
        run(dir, store, &["audit", "verify"]);
        server = serve(&client, dir, store).await;
        // pushed again, the batch is stored exactly once, whatever the kill hit
        let again = post(&client, format!("{}/api/v1/feeds/{source}/records", server.base), &key, records(batch))
            .await
            .expect("a push");
        let (accepted, duplicates) =
            (again["accepted"].as_u64().unwrap_or(0), again["duplicates"].as_u64().unwrap_or(0));
        assert_eq!(accepted + duplicates, 100, "all or nothing of a batch");
        if let Some(acknowledged) = in_flight {
            assert_eq!((acknowledged, duplicates), (100, 100), "an acknowledged batch is lost");
        }
        stored += 100;
        (person, batch) = (person + 1, batch + 1);

        // whatever the kill hit: what is replayed is stored, what is not is open, and nothing is both
        let list = get(&client, format!("{}/api/v1/feeds/{source}/quarantine?limit=1", server.base), &key).await;
        let counts = ["open", "replayed"].map(|state| list["counts"][0][state].as_u64().unwrap_or(0));
        assert_eq!(counts[0] + counts[1], 100 * (round as u64 + 1), "{list}");
        if let Some(replayed) = replayed {
            assert_eq!((replayed["stored"].as_u64(), counts[0]), (Some(100), 0), "an acknowledged replay is lost");
        }
        let again = format!("{}/api/v1/feeds/{source}/quarantine/replay", server.base);
        let rest = post(&client, again, &key, replay.clone()).await.expect("a replay");
        assert_eq!((rest["stored"].as_u64(), rest["failed"].as_u64()), (Some(counts[0]), Some(0)), "{rest}");
        stored += 100;

        for (n, id) in &excluded {
            let body = json!({"phone": phone(10_000_000 + n), "purpose": "login"}).to_string();
            let answer =
                post(&client, format!("{}/api/v1/operators/lookup", server.base), &key, body).await.expect("an answer");
            assert_eq!(answer["decision"], "block", "person {n} ({id}) is lost after round {round}");
        }
        let sources = get(&client, format!("{}/api/v1/feeds", server.base), &key).await;
        assert_eq!(
            sources["items"][0]["records"].as_u64(),
            Some(stored),
            "records lost or doubled after round {round}"
        );
    }
    assert!(run(dir, store, &["audit", "verify"]).contains("\"first_bad\":null"));
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_kill_9_on_sqlite() {
    let dir = testkit::temp_dir();
    check(&testkit::sqlite_url(&dir)).await;
    // and nothing on the disk names the people that were excluded
    for entry in std::fs::read_dir(dir.path()).expect("the store's folder") {
        let file = entry.expect("a file").path();
        let bytes = std::fs::read(&file).expect("readable");
        let clear = phone(10_000_001);
        let digits = clear.trim_start_matches('0').as_bytes();
        assert!(!bytes.windows(digits.len()).any(|w| w == digits), "a phone in the clear in {}", file.display());
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_kill_9_on_postgres() {
    let database = testkit::Postgres::shared().database().await;
    check(&database.url).await;
}
