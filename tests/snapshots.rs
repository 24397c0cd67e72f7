//! A start reads the index from its newest good snapshot and the events behind it; from the one before, or from the
//! tables, where that one is bad. Whichever it is, nobody who is excluded is told otherwise.

mod program;

use program::{phone, post, prepare, serve_with};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SETTINGS: [(&str, &str); 2] = [("MLINZI__LOG__LEVEL", "info"), ("MLINZI__ENGINE__SNAPSHOT_SECONDS", "1")];

async fn exclude(client: &reqwest::Client, base: &str, key: &str, people: std::ops::Range<usize>) {
    for n in people {
        let body = json!({"phone": phone(10_000_000 + n), "id_number": format!("{}", 20_000_000 + n), "period": "1_year", "reason_class": "self", "channel": "web"});
        post(client, format!("{base}/api/v1/nser/register"), key, body.to_string()).await.expect("a registration");
    }
}

async fn all_are_blocked(client: &reqwest::Client, base: &str, key: &str, people: usize) {
    for n in 0..people + 20 {
        for who in [json!({"phone": phone(10_000_000 + n)}), json!({"id_number": format!("{}", 20_000_000 + n)})] {
            let mut body = who;
            body["purpose"] = json!("login");
            let answer = post(client, format!("{base}/api/v1/operators/lookup"), key, body.to_string()).await;
            let wanted = if n < people { "block" } else { "allow" };
            assert_eq!(answer.expect("an answer")["decision"], wanted, "person {n} of {people}");
        }
    }
}

/// How the last start built its index.
fn built_from(dir: &Path) -> String {
    let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
    let line = log.lines().rfind(|line| line.contains("the register is complete")).expect("a line of the log");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    line["from"].as_str().expect("a source").to_owned()
}

async fn snapshot_after(client: &reqwest::Client, base: &str, made: u64) -> u64 {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let text = client.get(format!("{base}/metrics")).send().await.expect("metrics").text().await.expect("text");
        let line = text.lines().find(|l| l.starts_with("mlinzi_index_snapshot_seconds_count")).expect("a metric");
        let count: u64 = line.rsplit(' ').next().and_then(|n| n.parse().ok()).expect("a number");
        if count > made {
            return count;
        }
        assert!(Instant::now() < end, "no snapshot in half a minute");
        // an address may look ten times a second
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_start_uses_the_newest_good_snapshot_on_sqlite() {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    let dir = dir.path();
    let key = prepare(dir, &store);
    let client = reqwest::Client::new();
    let mut server = serve_with(&client, dir, &store, &SETTINGS).await;
    assert_eq!(built_from(dir), "tables");
    exclude(&client, &server.base, &key, 0..30).await;
    let made = snapshot_after(&client, &server.base, 0).await;
    exclude(&client, &server.base, &key, 30..40).await;
    snapshot_after(&client, &server.base, made).await;
    // behind the newest snapshot, in the journal only
    exclude(&client, &server.base, &key, 40..50).await;
    server.child.kill().expect("kill -9");
    drop(server);

    let server = serve_with(&client, dir, &store, &SETTINGS).await;
    assert_eq!(built_from(dir), "snapshot");
    all_are_blocked(&client, &server.base, &key, 50).await;
    server.stop();

    // every snapshot has one bit flipped: the tables know
    let snapshots = |dir: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).expect("the store's folder").map(|e| e.expect("a file").path());
        // one under way when the process was killed is no snapshot
        let named = |path: &PathBuf, text: &str| path.to_string_lossy().contains(text);
        entries.filter(|path| named(path, ".index-") && !named(path, ".part")).collect()
    };
    let store_dir = PathBuf::from(store.trim_start_matches("sqlite:"));
    let store_dir = store_dir.parent().expect("a folder");
    let found = snapshots(store_dir);
    // two that are kept, and one of each process that ended before it had said so
    assert!((1..=4).contains(&found.len()), "{found:?}");
    for path in found {
        let mut bytes = std::fs::read(&path).expect("a snapshot");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        std::fs::write(&path, bytes).expect("a file");
    }
    let server = serve_with(&client, dir, &store, &SETTINGS).await;
    assert_eq!(built_from(dir), "tables");
    all_are_blocked(&client, &server.base, &key, 50).await;
    server.stop();
    for path in snapshots(store_dir) {
        std::fs::write(&path, b"short").expect("a file");
    }
    let server = serve_with(&client, dir, &store, &SETTINGS).await;
    assert_eq!(built_from(dir), "tables");
    server.stop();
}

#[tokio::test]
async fn a_start_uses_the_newest_good_snapshot_on_postgres() {
    let database = testkit::Postgres::shared().database().await;
    let dir = testkit::temp_dir();
    let dir = dir.path();
    let key = prepare(dir, &database.url);
    let client = reqwest::Client::new();
    let mut server = serve_with(&client, dir, &database.url, &SETTINGS).await;
    exclude(&client, &server.base, &key, 0..30).await;
    snapshot_after(&client, &server.base, 0).await;
    exclude(&client, &server.base, &key, 30..40).await;
    server.child.kill().expect("kill -9");
    drop(server);
    let server = serve_with(&client, dir, &database.url, &SETTINGS).await;
    assert_eq!(built_from(dir), "snapshot");
    all_are_blocked(&client, &server.base, &key, 40).await;
    server.stop();
}

/// The README's own commands: a database by its bare name, in the present folder.
#[tokio::test]
async fn a_database_with_a_bare_name_has_snapshots_beside_it_too() {
    let dir = testkit::temp_dir();
    let dir = dir.path().to_owned();
    let _ = std::env::set_current_dir(&dir);
    let store = "sqlite:bare.sqlite";
    let key = prepare(&dir, store);
    let client = reqwest::Client::new();
    let server = serve_with(&client, &dir, store, &SETTINGS).await;
    exclude(&client, &server.base, &key, 0..5).await;
    let made = snapshot_after(&client, &server.base, 0).await;
    exclude(&client, &server.base, &key, 5..10).await;
    let made = snapshot_after(&client, &server.base, made).await;
    exclude(&client, &server.base, &key, 10..15).await;
    snapshot_after(&client, &server.base, made).await;
    server.stop();
    let files = std::fs::read_dir(&dir).expect("the folder").flatten();
    let snapshots = files.filter(|file| file.file_name().to_string_lossy().starts_with("bare.sqlite.index-")).count();
    assert_eq!(snapshots, 2, "the newest and the one before");
    let server = serve_with(&client, &dir, store, &SETTINGS).await;
    assert_eq!(built_from(&dir), "snapshot");
    server.stop();
}
