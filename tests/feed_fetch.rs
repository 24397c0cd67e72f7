//! Records that are fetched are stored exactly once, on both stores: the running program, killed in the middle of it.

mod program;

use program::{post, prepare, run, serve_with};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use testkit::{Asked, Peer, Reply};

/// Pages of the address, and files of the folder.
const PAGES: usize = 60;
/// Records of each.
const RECORDS: usize = 200;
const KILLS: u64 = 6;
/// A shared disk may keep everybody waiting: a minute without a single sync was met, and nothing is stored meanwhile.
const PATIENCE: Duration = Duration::from_secs(240);

fn record(id: &str) -> String {
    json!({"record_id": id, "kind": "stake", "occurred_at": "2026-01-01T00:00:00Z", "money": {"amount_minor": 100, "currency": "KES"}}).to_string()
}

fn page(page: usize) -> String {
    let ids = (0..RECORDS).map(|n| record(&format!("{page}-{n}")));
    let items: Vec<String> = if page < PAGES { ids.collect() } else { Vec::new() };
    format!("{{\"items\":[{}],\"next\":{}}}", items.join(","), (page + 1).min(PAGES))
}

/// The list, once it is given: a machine under pressure turns lists away first.
async fn sources(client: &reqwest::Client, base: &str, key: &str) -> Vec<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = client.get(format!("{base}/api/v1/feeds")).bearer_auth(key).send().await.expect("an answer");
        if answer.status().is_success() {
            let body: Value = serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
            return body["items"].as_array().cloned().expect("a list");
        }
        assert!(answer.status() == 503 && Instant::now() < end, "{}", answer.status());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn stored(sources: &[Value]) -> u64 {
    sources.iter().filter_map(|source| source["records"].as_u64()).sum()
}

async fn check(dir: &Path, store: &str) {
    let key = prepare(dir, store);
    let client = reqwest::Client::new();
    let after = |asked: &Asked| asked.path.split("after=").nth(1).map_or(0, |text| text.parse().expect("a page"));
    let peer = Peer::start(move |asked| Reply::ok(page(after(asked)))).await;
    let root = dir.join("feeds");
    std::fs::create_dir_all(root.join("acme")).expect("a folder");
    for n in 0..PAGES {
        let lines: String = (0..RECORDS).map(|i| record(&format!("{n}-{i}")) + "\n").collect();
        let name = format!("{n:03}.ndjson");
        std::fs::write(root.join("acme").join(&name), lines).expect("a file");
        std::fs::write(root.join("acme").join(name + ".done"), "").expect("a mark");
    }
    let root = root.display().to_string();
    let settings = [("MLINZI__FEEDS__ALLOW_PRIVATE_ADDRESSES", "true"), ("MLINZI__FEEDS__FOLDER_ROOT", root.as_str())];

    let mut server = serve_with(&client, dir, store, &settings).await;
    let operator = json!({"code": "alpha", "name": "Alpha"}).to_string();
    let operator =
        post(&client, format!("{}/api/v1/operators/register", server.base), &key, operator).await.expect("an operator");
    let address = json!({"url": peer.url("/bets"), "format": "json", "items": "/items", "paging": {"by": "next_field", "pointer": "/next"}, "cursor_parameter": "after"});
    let folder = json!({"path": "acme", "pattern": "*.ndjson", "done": "move", "done_files": true});
    for (kind, reader) in [("http_poll", address), ("folder", folder)] {
        let source = json!({"operator": operator["id"], "name": kind.replace('_', "-"), "class": "gaming_transactions", "kind": kind, "reader": reader,
            "clock": "event", "horizon_days": 60, "currency": "KES", "schedule": {"every_seconds": 1}});
        post(&client, format!("{}/api/v1/feeds", server.base), &key, source.to_string()).await.expect("a source");
    }
    for kill in 1..=KILLS {
        // at another place each time, while records come in
        let end = Instant::now() + PATIENCE;
        while stored(&sources(&client, &server.base, &key).await) < kill * (2 * PAGES * RECORDS) as u64 / (KILLS + 2) {
            if Instant::now() >= end {
                let now = sources(&client, &server.base, &key).await;
                let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(20).collect();
                panic!("nothing comes in any more before kill {kill}: {now:#?}\n{last:#?}");
            }
        }
        tokio::time::sleep(Duration::from_millis(3 * kill)).await;
        server.child.kill().expect("kill -9");
        drop(server);
        run(dir, store, &["audit", "verify"]);
        server = serve_with(&client, dir, store, &settings).await;
    }
    let end = Instant::now() + PATIENCE;
    let total = (PAGES * RECORDS) as u64;
    loop {
        let sources = sources(&client, &server.base, &key).await;
        assert_eq!(sources.len(), 2);
        assert!(sources.iter().all(|source| source["records"].as_u64() <= Some(total)), "doubled: {sources:#?}");
        if sources.iter().all(|source| source["records"] == total && source["last_error"].is_null()) {
            assert!(sources.iter().all(|source| source["quarantined"] == 0), "{sources:#?}");
            break;
        }
        assert!(Instant::now() < end, "lost: {sources:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop();
    assert!(run(dir, store, &["audit", "verify"]).contains("\"first_bad\":null"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_fetched_is_stored_once_whatever_is_killed_on_sqlite() {
    let dir = testkit::temp_dir();
    check(dir.path(), &testkit::sqlite_url(&dir)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_fetched_is_stored_once_whatever_is_killed_on_postgres() {
    let dir = testkit::temp_dir();
    let database = testkit::Postgres::shared().database().await;
    check(dir.path(), &database.url).await;
}
