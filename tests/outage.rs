//! The database goes away and comes back: lookups go on, writes answer 503, everything heals by itself.

mod program;

use program::{phone, post, prepare, run, serve, status};
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test]
async fn lookups_outlive_the_database_and_writes_come_back_with_it() {
    let postgres = testkit::Postgres::private();
    let database = postgres.database().await;
    let dir = testkit::temp_dir();
    let key = prepare(dir.path(), &database.url);
    let client = reqwest::Client::new();
    let server = serve(&client, dir.path(), &database.url).await;
    let register = |n: usize| {
        json!({"phone": phone(10_000_000 + n), "period": "1_year", "reason_class": "self", "channel": "web"})
            .to_string()
    };
    let lookup = |purpose: &str| json!({"phone": phone(10_000_001), "purpose": purpose}).to_string();
    let (registers, lookups) =
        (format!("{}/api/v1/nser/register", server.base), format!("{}/api/v1/operators/lookup", server.base));
    assert_eq!(status(&client, registers.clone(), &key, register(1)).await, Some(201));

    postgres.kill9();
    assert_eq!(status(&client, registers.clone(), &key, register(2)).await, Some(503), "a write without a database");
    let answer = post(&client, lookups.clone(), &key, lookup("login")).await.expect("an answer without a database");
    assert_eq!(answer["decision"], "block");
    // 5 s after the last proof of freshness, registration is not answered any more; an existing login is
    let end = Instant::now() + Duration::from_secs(30);
    while status(&client, lookups.clone(), &key, lookup("registration")).await != Some(503) {
        assert!(Instant::now() < end, "the node does not degrade");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let answer = post(&client, lookups.clone(), &key, lookup("login")).await.expect("an answer without a database");
    assert_eq!((&answer["decision"], &answer["degraded"]), (&json!("block"), &json!(true)));

    postgres.start();
    let end = Instant::now() + Duration::from_secs(60);
    while !matches!(status(&client, registers.clone(), &key, register(3)).await, Some(200 | 201)) {
        assert!(Instant::now() < end, "writes do not come back");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    while status(&client, lookups.clone(), &key, lookup("registration")).await != Some(200) {
        assert!(Instant::now() < end, "the node stays degraded");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(server);
    assert!(run(dir.path(), &database.url, &["audit", "verify"]).contains("\"first_bad\":null"));
}
