//! Every answer leaves evidence, also where the process dies; and whoever has only the file can check it.

mod program;

use models::evidence::Place;
use models::ids::LookupId;
use models::ts::{SECOND, Ts};
use program::{PROGRAM, attempt, get, phone, post, prepare, run, serve};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use store::{Clock, SystemClock};

/// The gap of a healthy database begins at most 100 ms before the kill (`make bench-long` counts it); on a machine that
/// runs other tests too this is still no gap of the whole life of the process.
const GAP_BEFORE_KILL_MAX: i64 = 2 * SECOND;

fn verify(args: &[&str]) -> (bool, String) {
    let out = Command::new(PROGRAM).args(["evidence", "verify"]).args(args).output().expect("the program runs");
    (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

struct Operator {
    id: String,
    key: String,
}

async fn operator(client: &reqwest::Client, base: &str, staff: &str, code: &str) -> Operator {
    let new = json!({"code": code, "name": code}).to_string();
    let made = post(client, format!("{base}/api/v1/operators/register"), staff, new).await.expect("an operator");
    let id = made["id"].as_str().expect("an id").to_owned();
    let key = json!({"label": "k", "scopes": ["lookup"], "rate_per_second": 100_000}).to_string();
    let key = post(client, format!("{base}/api/v1/operators/{id}/keys"), staff, key).await.expect("a key");
    Operator { id, key: key["bearer"].as_str().expect("a bearer").to_owned() }
}

async fn lookup(client: &reqwest::Client, base: &str, key: &str, n: usize) -> Option<Value> {
    let body = json!({"phone": phone(10_000_000 + n), "purpose": "login", "client_reference": "0712345678"});
    post(client, format!("{base}/api/v1/operators/lookup"), key, body.to_string()).await
}

/// Status and body of a receipt's request.
async fn receipt(client: &reqwest::Client, base: &str, key: &str, id: &str) -> (u16, Value) {
    let url = format!("{base}/api/v1/operators/lookups/{id}/receipt");
    loop {
        let answer = client.get(&url).bearer_auth(key).send().await.expect("an answer");
        let status = answer.status().as_u16();
        if status == 503 {
            assert_eq!(answer.headers()["retry-after"], "1");
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        return (status, serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON"));
    }
}

async fn check(store: &str) {
    let dir = testkit::temp_dir();
    let dir = dir.path();
    let staff = prepare(dir, store);
    let client = reqwest::Client::new();
    let mut server = serve(&client, dir, store).await;
    let acme = operator(&client, &server.base, &staff, "acme").await;
    let other = operator(&client, &server.base, &staff, "other").await;

    let mut answered = Vec::new();
    for n in 0..40 {
        answered.push(lookup(&client, &server.base, &acme.key, n).await.expect("an answer"));
        lookup(&client, &server.base, &other.key, n).await.expect("an answer");
    }
    // a receipt says what was answered, to nobody but the operator who asked
    let jwks = get(&client, format!("{}/.well-known/jwks.json", server.base), &staff).await;
    let jwks_file = dir.join("jwks.json");
    std::fs::write(&jwks_file, jwks.to_string()).expect("a file");
    let id = answered[3]["lookup_id"].as_str().expect("an id");
    let (status, given) = receipt(&client, &server.base, &acme.key, id).await;
    assert_eq!(status, 200, "{given}");
    assert_eq!(receipt(&client, &server.base, &other.key, id).await.0, 404);
    let unknown = LookupId(7).to_string();
    assert_eq!(receipt(&client, &server.base, &acme.key, &unknown).await.0, 404);
    let jws = dir.join("receipt.jws");
    std::fs::write(&jws, given["receipt"].as_str().expect("a receipt")).expect("a file");
    let (sound, said) = verify(&[text(&jws), "--jwks", text(&jwks_file)]);
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert!(sound, "{said}");
    for field in ["decision", "status", "purpose", "as_of", "register_version"] {
        assert_eq!(said[field], answered[3][field], "{field}");
    }
    assert_eq!(
        (&said["sub"], &said["jti"], said["operator"].as_str()),
        (&answered[3]["bst"], &answered[3]["lookup_id"], Some(acme.id.as_str()))
    );
    let mut bytes = std::fs::read(&jws).expect("the receipt");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&jws, bytes).expect("a file");
    assert!(!verify(&[text(&jws), "--jwks", text(&jwks_file)]).0, "a changed receipt verifies");
    // all of them are stored before the kill, however slow the machine is
    for answer in &answered {
        let id = answer["lookup_id"].as_str().expect("an id");
        assert_eq!(receipt(&client, &server.base, &acme.key, id).await.0, 200);
    }

    // killed in the middle, the program accounts for every answer: stored, or inside a gap that it journals
    let mut round = Vec::new();
    let mut answered_at = Vec::new();
    for n in 0..200 {
        round.push(lookup(&client, &server.base, &acme.key, n).await.expect("an answer"));
        answered_at.push(SystemClock.now());
    }
    let killed_at = SystemClock.now();
    server.child.kill().expect("kill -9");
    drop(server);
    let dead_at = SystemClock.now();
    let server = serve(&client, dir, store).await;
    let back_at = SystemClock.now();
    let mut lost_at = Vec::new();
    for (answer, at) in round.iter().zip(answered_at) {
        let id = answer["lookup_id"].as_str().expect("an id");
        if receipt(&client, &server.base, &acme.key, id).await.0 == 404 {
            lost_at.push(at);
        }
    }
    let lost = lost_at.len();
    answered.extend(round);
    assert!(lookup(&client, &server.base, &acme.key, 1).await.is_some());
    server.stop();

    // the case: every lookup of one operator, in a file that proves itself
    let file = dir.join("case.ndjson");
    let args = ["evidence", "export", "--case", "C-1", "--operator", "acme", "--from", "2026-01-01T00:00:00Z"];
    let args = [&args[..], &["--to", "2100-01-01T00:00:00Z", "--out", text(&file)]].concat();
    let summary: Value = serde_json::from_str(&run(dir, store, &args)).expect("JSON");
    assert_eq!(std::fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(named(dir, "case."), ["case.ndjson"]);
    assert_eq!(summary["lookups"].as_u64(), Some((answered.len() - lost + 1) as u64), "{summary}");
    assert_eq!(summary["gaps"].as_array().map(Vec::len), Some(1), "{summary}");
    let bound = |name: &str| Ts::parse(summary["gaps"][0][name].as_str().expect("a time")).expect("a time");
    let (from, to) = (bound("from"), bound("to"));
    // all that is lost lies in the gap, which begins where the blocks end and ends with the next process
    assert!(lost_at.iter().all(|at| *at >= from), "an answer was lost before {from}: {lost_at:?}");
    assert!(from <= dead_at && killed_at.0 - from.0 <= GAP_BEFORE_KILL_MAX, "from {from}, killed at {killed_at}");
    assert!(to >= killed_at.floor_to(1_000) && to <= back_at, "to {to}, back at {back_at}");
    let (sound, said) = verify(&[text(&file), "--jwks", text(&jwks_file)]);
    assert!(sound, "{said}");
    let content = std::fs::read_to_string(&file).expect("the file");
    for answer in answered.iter().take(240 - lost) {
        let id = answer["lookup_id"].as_str().expect("an id");
        assert!(content.contains(id), "{id} is missing");
    }
    assert!(run(dir, store, &["audit", "verify"]).contains("\"first_bad\":null"));
    // a clean stop leaves no gap behind
    let server = serve(&client, dir, store).await;
    server.stop();
    let again = dir.join("again.ndjson");
    let args: Vec<&str> = args.iter().map(|a| if *a == text(&file) { text(&again) } else { a }).collect();
    let summary: Value = serde_json::from_str(&run(dir, store, &args)).expect("JSON");
    assert_eq!(summary["gaps"].as_array().map(Vec::len), Some(1), "{summary}");
    refused_when_changed(&content, &dir.join("changed.ndjson"), text(&jwks_file));
}

/// Files of a folder whose names begin like this.
fn named(dir: &Path, beginning: &str) -> Vec<String> {
    let files = std::fs::read_dir(dir).expect("a folder").flatten();
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(beginning)).collect()
}

/// Journals exports only after a long while, as a database that hangs does.
const SLOW_JOURNAL: &str = "
CREATE FUNCTION wait_long() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(30); RETURN NEW; END';
CREATE TRIGGER wait_long BEFORE INSERT ON journal FOR EACH ROW WHEN (NEW.kind = 'evidence_exported') EXECUTE FUNCTION wait_long();
";

#[tokio::test]
async fn an_export_that_is_cut_off_before_it_is_journaled_leaves_no_file_and_proves_nothing_meanwhile() {
    let database = testkit::Postgres::shared().database().await;
    let dir = testkit::temp_dir();
    let (dir, store) = (dir.path(), database.url.as_str());
    let staff = prepare(dir, store);
    let client = reqwest::Client::new();
    let server = serve(&client, dir, store).await;
    let acme = operator(&client, &server.base, &staff, "acme").await;
    for n in 0..40 {
        lookup(&client, &server.base, &acme.key, n).await.expect("an answer");
    }
    let jwks = get(&client, format!("{}/.well-known/jwks.json", server.base), &staff).await;
    let jwks_file = dir.join("jwks.json");
    std::fs::write(&jwks_file, jwks.to_string()).expect("a file");
    server.stop();
    database.restore(SLOW_JOURNAL.as_bytes());

    let file = dir.join("case.ndjson");
    let mut command = Command::new(PROGRAM);
    command.args(["--store", store, "--keys", text(&dir.join("keys.toml")), "evidence", "export", "--case", "C-1"]);
    command.args(["--operator", "acme", "--from", "2026-01-01T00:00:00Z", "--to", "2100-01-01T00:00:00Z", "--out"]);
    let mut export = command.arg(&file).stderr(Stdio::null()).spawn().expect("the program starts");
    let end = Instant::now() + Duration::from_secs(60);
    // written, and waiting for the journal
    let full = |name: &String| std::fs::metadata(dir.join(name)).is_ok_and(|meta| meta.len() > 0);
    while !named(dir, "case.").iter().any(full) {
        assert!(Instant::now() < end, "nothing is written");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    for name in named(dir, "case.") {
        let (sound, said) = verify(&[text(&dir.join(&name)), "--jwks", text(&jwks_file)]);
        assert!(!sound, "{name} proves something that is not journaled: {said}");
    }
    assert!(Command::new("kill").args(["-INT", &export.id().to_string()]).status().expect("kill runs").success());
    assert!(!export.wait().expect("it ends").success());
    assert_eq!(named(dir, "case."), Vec::<String>::new());
}

/// Changes a byte of the people of one block, and has everything taken in once more.
const DAMAGED: &str = "
SET session_replication_role = replica;
UPDATE evidence_blocks SET people = set_byte(people, 0, get_byte(people, 0) # 1)
    WHERE (worker, block_no) = (SELECT worker, block_no FROM evidence_blocks ORDER BY records DESC LIMIT 1);
DELETE FROM contact_cursors;
UPDATE evidence_boots SET contacts_at = NULL;
";

#[tokio::test]
async fn a_block_that_cannot_be_read_is_counted_and_the_contacts_go_on_behind_it() {
    let database = testkit::Postgres::shared().database().await;
    let dir = testkit::temp_dir();
    let (dir, store) = (dir.path(), database.url.as_str());
    let staff = prepare(dir, store);
    let client = reqwest::Client::new();
    let server = serve(&client, dir, store).await;
    let acme = operator(&client, &server.base, &staff, "acme").await;
    for n in 0..5 {
        lookup(&client, &server.base, &acme.key, n).await.expect("an answer");
    }
    server.stop();
    database.restore(DAMAGED.as_bytes());

    let server = serve(&client, dir, store).await;
    let figure = async |name: &str| {
        let text = client.get(format!("{}/metrics", server.base)).send().await.ok()?.text().await.ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok())
    };
    let end = Instant::now() + Duration::from_secs(60);
    // behind the block, too: how far the contacts have come is told, and is a moment ago
    while figure("mlinzi_contacts_unreadable_blocks_total ").await != Some(1.0)
        || !figure("mlinzi_contacts_age_seconds ").await.is_some_and(|age| (0.0..30.0).contains(&age))
    {
        assert!(Instant::now() < end, "a damaged block is taken in as if nothing were");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    server.stop();
}

/// Whatever is done to the file, the verifier finds it.
fn refused_when_changed(content: &str, file: &Path, jwks: &str) {
    let refused = |changed: &str, what: &str| {
        std::fs::write(file, changed).expect("a file");
        let (sound, said) = verify(&[text(file), "--jwks", jwks]);
        assert!(!sound, "{what}: {said}");
    };
    let lines: Vec<&str> = content.lines().collect();
    let without = |no: usize| {
        lines.iter().enumerate().filter(|(n, _)| *n != no).map(|(_, l)| *l).collect::<Vec<_>>().join("\n") + "\n"
    };
    for no in 0..lines.len().min(12) {
        refused(&without(no), &format!("line {} is missing", no + 1));
    }
    refused(&without(lines.len() - 1), "no signature");
    let step = (content.len() / 60).max(1);
    for at in (0..content.len()).step_by(step).filter(|at| content.is_char_boundary(*at)) {
        let mut bytes = content.as_bytes().to_vec();
        bytes[at] ^= 1;
        if let Ok(changed) = String::from_utf8(bytes) {
            refused(&changed, &format!("bit 0 of byte {at}"));
        }
    }
}

#[tokio::test]
async fn every_answer_leaves_evidence_that_proves_itself_on_sqlite() {
    let dir = testkit::temp_dir();
    check(&testkit::sqlite_url(&dir)).await;
    // and neither a phone nor what callers wrote lies in it
    for entry in std::fs::read_dir(dir.path()).expect("the store's folder") {
        let bytes = std::fs::read(entry.expect("a file").path()).expect("readable");
        assert!(!bytes.windows(9).any(|w| w == b"712345678"), "a reference in the clear");
    }
}

#[tokio::test]
async fn every_answer_leaves_evidence_that_proves_itself_on_postgres() {
    let database = testkit::Postgres::shared().database().await;
    check(&database.url).await;
}

/// Whoever owns the database can take blocks away; what is left looks whole, and the journal says what was there.
#[tokio::test]
async fn blocks_that_are_taken_away_are_missed() {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    let staff = prepare(dir.path(), &store);
    let client = reqwest::Client::new();
    let server = serve(&client, dir.path(), &store).await;
    let acme = operator(&client, &server.base, &staff, "acme").await;
    // every 60 ms, so that there are several blocks
    for n in 0..12 {
        lookup(&client, &server.base, &acme.key, n).await.expect("an answer");
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    server.stop();
    let export = |store: &str, name: &str| {
        let file = dir.path().join(name);
        let span = ["--from", "2026-01-01T00:00:00Z", "--to", "2100-01-01T00:00:00Z", "--out", text(&file)];
        attempt(
            dir.path(),
            store,
            &[&["evidence", "export", "--case", "C-2", "--operator", "acme"][..], &span].concat(),
        )
    };
    assert!(attempt(dir.path(), &store, &["audit", "verify"]).0);
    assert!(export(&store, "whole.ndjson").0);
    let some = "(SELECT MAX(block_no) FROM evidence_blocks)";
    let attacks = [
        ("head", "DELETE FROM evidence_blocks WHERE block_no = 0".to_owned()),
        ("tail", format!("DELETE FROM evidence_blocks WHERE block_no = {some}")),
        ("middle", format!("DELETE FROM evidence_blocks WHERE block_no = {some} / 2")),
        ("chain", "DELETE FROM evidence_blocks".to_owned()),
    ];
    for (name, attack) in attacks {
        let copy = testkit::temp_dir();
        let robbed = testkit::sqlite_url(&copy);
        testkit::sqlite_execute(&store, &format!("VACUUM INTO '{}'", robbed.trim_start_matches("sqlite:"))).await;
        testkit::sqlite_execute(&robbed, "DROP TRIGGER evidence_blocks_no_delete").await;
        assert!(attempt(dir.path(), &robbed, &["audit", "verify"]).0, "{name}: the copy is whole");
        testkit::sqlite_execute(&robbed, &attack).await;
        let (sound, said) = attempt(dir.path(), &robbed, &["audit", "verify"]);
        assert!(!sound && said.contains("evidence of node"), "{name}: {said}");
        let (made, said) = export(&robbed, &format!("{name}.ndjson"));
        assert!(!made && said.contains("is missing"), "{name}: {said}");
    }
}

#[test]
fn an_id_is_a_place() {
    let id: LookupId = "lkp_0004vvwvq500000000001ft000".parse().expect("an id");
    assert_eq!(Place::of(id).chain.node, 1);
}
