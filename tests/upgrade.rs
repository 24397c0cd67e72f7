//! What an earlier release left behind is read by this one: its tables, its journal, its snapshots, its evidence.
//!
//! `tests/fixtures/release-*` was made by `scripts/make-upgrade-fixture.sh` with the program of that release.

mod program;

use models::event::Event;
use models::ids::Seq;
use models::ts::Ts;
use program::{PROGRAM, get, post, run, serve_with};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use store::{Clock, SystemClock};

const SETTINGS: [(&str, &str); 3] = [
    ("MLINZI__LOG__LEVEL", "info"),
    // made by this program they would hide what it reads
    ("MLINZI__ENGINE__SNAPSHOT_SECONDS", "86400"),
    // the fixture gets old, and its evidence is to stay readable
    ("MLINZI__ENGINE__EVIDENCE_PERSON_MONTHS", "600"),
];

fn releases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the fixtures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("release-")))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "there is no release to upgrade from");
    found
}

fn expected(release: &Path, name: &str) -> Value {
    let text = std::fs::read_to_string(release.join(name)).expect("what it answered");
    serde_json::from_str(&text).expect("JSON")
}

/// The embedded database of a release, in a folder of its own.
fn unpacked(release: &Path) -> (testkit::TempDir, String) {
    let dir = testkit::temp_dir();
    let archive = release.join("sqlite.tar.gz");
    let done = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(dir.path()).status();
    assert!(done.is_ok_and(|status| status.success()), "tar cannot unpack the fixture");
    let store = format!("sqlite:{}", dir.path().join("db.sqlite").display());
    (dir, store)
}

/// How the last start built its index.
fn built_from(dir: &Path) -> String {
    let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
    let line = log.lines().rfind(|line| line.contains("the register is complete")).expect("a line of the log");
    let line: Value = serde_json::from_str(line).expect("JSON");
    line["from"].as_str().expect("a source").to_owned()
}

/// Every lookup is answered as the release answered it.
async fn the_same_answers(client: &reqwest::Client, base: &str, expected: &Value) {
    let lookups = expected["lookups"].as_array().expect("lookups");
    assert!(lookups.len() > 50);
    let key = expected["operator_key"].as_str().expect("a bearer");
    for lookup in lookups {
        let url = format!("{base}/api/v1/operators/lookup");
        let got = post(client, url, key, lookup["ask"].to_string()).await.expect("an answer");
        let wanted = &lookup["answer"];
        assert_eq!((&got["bst"], &got["match"]), (&wanted["bst"], &wanted["match"]), "{lookup}");
        // a break that was running then may be over now
        let now = got["as_of"].as_str().and_then(|at| Ts::parse(at).ok()).expect("a time");
        let is_over = lookup["lapses_at"].as_str().is_some_and(|end| Ts::parse(end).expect("a time") <= now);
        if is_over {
            assert_eq!(got["status"], "previously_excluded", "{lookup}");
            continue;
        }
        for field in ["status", "decision", "excluded"] {
            assert_eq!(got[field], wanted[field], "{field} of {lookup}");
        }
        assert_eq!(got["exclusion"]["effective_at"], wanted["effective_at"], "{lookup}");
    }
}

async fn check(dir: &Path, store: &str, expected: &Value) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    let keys = dir.join("keys.toml");
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o600)).expect("mode");
    let server = serve_with(&client, dir, store, &SETTINGS).await;
    assert_eq!(built_from(dir), "snapshot");
    the_same_answers(&client, &server.base, expected).await;
    let staff = expected["staff_key"].as_str().expect("a bearer");
    let revoked = expected["revoked_key"].as_str().expect("a bearer");
    let url = format!("{}/api/v1/operators/lookup", server.base);
    let ask = json!({"phone": "0710000000", "purpose": "login"}).to_string();
    assert_eq!(program::status(&client, url, revoked, ask).await, Some(401));

    // what a receipt said then it says now
    let jwks = get(&client, format!("{}/.well-known/jwks.json", server.base), staff).await;
    let jwks_file = dir.join("jwks.json");
    std::fs::write(&jwks_file, jwks.to_string()).expect("a file");
    let asked = &expected["lookups"][0]["answer"];
    let id = asked["lookup_id"].as_str().expect("an id");
    let asker = expected["operator_key"].as_str().expect("a bearer");
    let given = get(&client, format!("{}/api/v1/operators/lookups/{id}/receipt", server.base), asker).await;
    let receipt = dir.join("receipt.jws");
    std::fs::write(&receipt, given["receipt"].as_str().expect("a receipt")).expect("a file");
    let said = verified(&receipt, &jwks_file);
    assert_eq!((&said["sub"], &said["decision"]), (&asked["bst"], &asked["decision"]));

    let alerts = get(&client, format!("{}/api/v1/alerts?limit=500", server.base), staff).await;
    let alerts = alerts["items"].as_array().expect("alerts");
    for wanted in expected["alerts"].as_array().expect("alerts") {
        let found = alerts.iter().any(|a| ["id", "rule", "severity"].iter().all(|f| a[f] == wanted[f]));
        assert!(found, "{wanted} is missing");
    }
    let sources = get(&client, format!("{}/api/v1/feeds", server.base), staff).await;
    for wanted in expected["sources"].as_array().expect("sources") {
        let sources = sources["items"].as_array().expect("sources");
        assert!(sources.iter().any(|s| s["id"] == wanted["id"]), "{wanted} is missing");
    }
    let stats = get(&client, format!("{}/api/v1/nser/stats", server.base), staff).await;
    assert_eq!(stats["people"], expected["stats"]["people"]);
    server.stop();

    let file = dir.join("case.ndjson");
    let args = ["evidence", "export", "--case", "C-2", "--operator", "acme", "--from", "2024-01-01T00:00:00Z"];
    let args = [&args[..], &["--to", "2100-01-01T00:00:00Z", "--out", file.to_str().expect("a path")]].concat();
    let summary: Value = serde_json::from_str(&run(dir, store, &args)).expect("JSON");
    let asked = expected["lookups"].as_array().map_or(0, Vec::len) as u64;
    assert!(summary["lookups"].as_u64() >= Some(2 * asked), "then and now: {summary}");
    assert_eq!(summary["unknown"], 0, "{summary}");
    verified(&file, &jwks_file);
    let content = std::fs::read_to_string(&file).expect("the file");
    for lookup in expected["lookups"].as_array().expect("lookups") {
        let id = lookup["answer"]["lookup_id"].as_str().expect("an id");
        assert!(content.contains(id), "{id} is missing");
    }
    assert!(run(dir, store, &["audit", "verify"]).contains("\"first_bad\":null"));
}

fn verified(file: &Path, jwks: &Path) -> Value {
    let out = Command::new(PROGRAM).args(["evidence", "verify"]).arg(file).arg("--jwks").arg(jwks).output();
    let out = out.expect("the program runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("JSON")
}

#[tokio::test]
async fn an_embedded_store_of_an_earlier_release_goes_on() {
    for release in releases() {
        let (dir, store) = unpacked(&release);
        check(dir.path(), &store, &expected(&release, "sqlite.json")).await;
    }
}

#[tokio::test]
async fn a_postgres_store_of_an_earlier_release_goes_on() {
    for release in releases() {
        let dir = testkit::temp_dir();
        let database = testkit::Postgres::shared().database().await;
        let dump = Command::new("gzip").arg("-dc").arg(release.join("postgres.sql.gz")).output().expect("gzip runs");
        database.restore(&dump.stdout);
        std::fs::copy(release.join("postgres.keys.toml"), dir.path().join("keys.toml")).expect("the keys");
        check(dir.path(), &database.url, &expected(&release, "postgres.json")).await;
    }
}

#[test]
fn every_event_of_an_earlier_release_is_read() {
    for release in releases() {
        let text = std::fs::read_to_string(release.join("events.ndjson")).expect("events");
        assert!(text.lines().count() >= 26, "a release has at least the events of the first");
        for line in text.lines() {
            let raw: Value = serde_json::from_str(line).expect("JSON");
            let event: Event = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert_eq!(raw["type"], event.kind());
            // nothing that was told is lost on the way through
            let again = serde_json::to_value(&event).expect("JSON");
            for (field, value) in raw.as_object().expect("an object").iter().filter(|(field, _)| *field != "v") {
                assert_eq!(&again[field], value, "{field} of {line}");
            }
        }
    }
}

/// Bytes of an index that a later program may have written.
struct Later {
    through: Seq,
    is_copied: bool,
}

impl store::SnapshotSource for Later {
    fn copy(&mut self, out: &mut Vec<u8>, _bytes: usize) -> bool {
        if !std::mem::replace(&mut self.is_copied, true) {
            out.extend([7; 4_096]);
        }
        false
    }

    fn is_stale(&self) -> bool {
        false
    }

    fn head(&self) -> (Seq, String) {
        let head =
            json!({"layout": 99, "through": self.through, "groups": 1, "cells": 0, "nodes": 0, "shared_by_max": 1});
        (self.through, head.to_string())
    }
}

/// A program that was set back finds the snapshots of the one after it, and takes the tables rather than nobody.
#[tokio::test]
async fn snapshots_of_a_later_release_are_left_alone() {
    let release = releases().pop().expect("a release");
    let (dir, store) = unpacked(&release);
    let dir = dir.path();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let keys = std::fs::read_to_string(dir.join("keys.toml")).expect("the keys");
    let ring = actors::secrets::KeyRing::new(&toml::from_str(&keys).expect("keys")).expect("keys");
    let opened = store::Store::open(&store, &store::OpenOptions::default()).await.expect("the store opens");
    let through = opened.head().await.expect("a head");
    // the newest and the one before
    for _ in 0..2 {
        let at = SystemClock.now();
        assert!(
            opened.write_snapshot(1, Later { through, is_copied: false }, &ring.chain, at).await.expect("a snapshot")
        );
    }
    opened.close().await;
    let client = reqwest::Client::new();
    let server = serve_with(&client, dir, &store, &SETTINGS).await;
    assert_eq!(built_from(dir), "tables");
    let log = std::fs::read_to_string(dir.join("log")).expect("the log");
    assert!(log.contains("a snapshot of the index is of another version"), "{log}");
    the_same_answers(&client, &server.base, &expected(&release, "sqlite.json")).await;
    server.stop();
}
