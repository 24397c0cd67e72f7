//! A span computed once more gives what was alerted of, bit for bit; and says so where it does not.

mod program;

use models::ts::{HOUR, Ts};
use program::{attempt, get, post, prepare, run, serve};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

const HOURS: i64 = 40;

/// A stake each minute of `HOURS` hours, in the last of them a hundred times as much.
fn records(begin: Ts) -> Vec<Value> {
    let minutes = (0..HOURS * 60).map(|minute| {
        let at = begin.plus(minute * HOUR / 60);
        let amount_minor = if minute / 60 == HOURS - 1 { 1_000_000 } else { 10_000 + minute % 7 };
        json!({"record_id": format!("r{minute}"), "kind": "stake", "occurred_at": at.to_string(),
            "money": {"amount_minor": amount_minor, "currency": "KES"}})
    });
    minutes.collect()
}

async fn check(store: &str) {
    let dir = testkit::temp_dir();
    let dir = dir.path();
    let staff = prepare(dir, store);
    let client = reqwest::Client::new();
    let server = serve(&client, dir, store).await;
    for code in ["acme", "other"] {
        let new = json!({"code": code, "name": code}).to_string();
        let made = post(&client, format!("{}/api/v1/operators/register", server.base), &staff, new).await;
        let id = made.expect("an operator")["id"].as_str().expect("an id").to_owned();
        let key = json!({"label": "k", "scopes": ["feeds:write", "feeds:manage"], "rate_per_second": 1000}).to_string();
        let key = post(&client, format!("{}/api/v1/operators/{id}/keys", server.base), &staff, key).await;
        let key = key.expect("a key")["bearer"].as_str().expect("a bearer").to_owned();
        let source = json!({"name": "archive", "class": "gaming_transactions", "clock": "event", "horizon_days": 60});
        let source = post(&client, format!("{}/api/v1/feeds", server.base), &key, source.to_string()).await;
        let path = format!(
            "{}/api/v1/feeds/{}/records",
            server.base,
            source.expect("a source")["id"].as_str().expect("an id")
        );
        let begin = Ts::parse("2026-10-01T00:00:00Z").expect("a time");
        for chunk in records(begin).chunks(500) {
            post(&client, path.clone(), &key, Value::from(chunk.to_vec()).to_string()).await.expect("it is stored");
        }
    }
    // both operators' actors have said what they have to say
    let end = Instant::now() + Duration::from_secs(60);
    let told = loop {
        let alerts = get(&client, format!("{}/api/v1/alerts?limit=500", server.base), &staff).await;
        let items = alerts["items"].as_array().expect("a list").clone();
        let of =
            |code: &str| items.iter().filter(|a| a["operator_code"] == code && a["rule"] == "robust_deviation").count();
        if of("acme") > 0 && of("acme") == of("other") {
            break of("acme");
        }
        assert!(Instant::now() < end, "{items:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(told > 0);
    let jwks = get(&client, format!("{}/.well-known/jwks.json", server.base), &staff).await;
    let jwks_file = dir.join("jwks.json");
    std::fs::write(&jwks_file, jwks.to_string()).expect("a file");
    server.stop();

    let span = ["replay", "--from", "2026-01-01T00:00:00Z", "--to", "2027-01-01T00:00:00Z"];
    let report = dir.join("report.jws");
    let said = run(dir, store, &[&span[..], &["--out", text(&report)]].concat());
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 12, "two operators, rules and journal of each, and of three jurisdictions: {said}");
    for line in &lines[..2] {
        assert_eq!((&line["differences"], &line["records"]), (&json!(0), &json!(HOURS * 60)), "{line}");
        assert!(line["same"].as_u64() >= Some(told as u64), "{line}");
    }
    for line in &lines[7..9] {
        let held = ["records", "records_by_sha256", "differences"].map(|name| line[name].as_i64());
        assert_eq!(held, [HOURS * 60, HOURS * 60, 0].map(Some), "{line}");
        assert!(line["journal_of"].is_string() && line["alerts"].as_u64() >= Some(told as u64), "{line}");
    }
    // the same inputs of two operators are not told apart by their digests; another span has fewer of them
    assert_eq!(lines[0]["inputs_sha256"].as_str().map(str::len), Some(64));
    let early = ["replay", "--from", "2026-01-01T00:00:00Z", "--to", "2026-10-01T01:00:00Z", "--operator", "acme"];
    let said = run(dir, store, &early);
    let said: Value = serde_json::from_str(said.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&said["same"], &said["differences"]), (&json!(0), &json!(0)), "{said}");

    // the report proves itself, and no byte of it can be changed
    let verify = verify(&report, &jwks_file);
    assert!(run(dir, store, &verify).contains("\"operators\""));
    let mut bytes = std::fs::read(&report).expect("the report");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&report, bytes).expect("a file");
    assert!(!attempt(dir, store, &verify).0, "a changed report verifies");

    // what was changed in the database is found: taken away, another severity, and one that nothing stands behind
    let database = store::Store::open(store, &store::OpenOptions::default()).await.expect("the store");
    let acme = "operator_no = (SELECT MIN(operator_no) FROM alert_revisions)";
    let first = format!("alert_offset = (SELECT MIN(alert_offset) FROM alert_revisions WHERE {acme})");
    let changes = [
        (
            format!("UPDATE alert_revisions SET body = REPLACE(body, '\"samples\":', '\"samples\":1') WHERE {first}"),
            "otherwise",
        ),
        (
            format!(
                "UPDATE alert_revisions SET body = REPLACE(body, '\"operator_seq\":', '\"operator_seq\":9') WHERE {first}"
            ),
            "does not follow",
        ),
        (format!("DELETE FROM alert_revisions WHERE {first}"), "is not stored"),
    ];
    for (sql, what) in changes {
        assert_eq!(database.execute_for_tests(&sql).await.expect("it is changed"), 1, "{sql}");
        let (is_fine, said) = attempt(dir, store, &span);
        assert!(!is_fine && said.contains(what), "{what}: {said}");
        assert!(said.contains("acme: alert at offset ") && !said.contains("other: "), "{said}");
    }
    check_records(&database, dir, store, &jwks_file).await;
    database.close().await;
}

/// Records, batches and alerts that are not stored as they were journaled are named, also in the signed report.
async fn check_records(database: &store::Store, dir: &Path, url: &str, jwks: &Path) {
    let batch = "batch_no = (SELECT MIN(batch_no) FROM feed_batches WHERE operator_no = 2)";
    let record = format!("{batch} AND idx = 0");
    let table = [
        // nothing of it is alerted of: no difference in alerts would show it
        (
            format!("UPDATE feed_records SET amount_minor = amount_minor + 1, content_digest = 4711 WHERE {record}"),
            " is stored otherwise than the journal says: records[0].content_digest, records.chain, records.records_sha256",
        ),
        (
            format!("UPDATE feed_batches SET last_at = last_at + 1 WHERE {batch}"),
            " is stored otherwise than the journal says: last_at",
        ),
        (
            "DELETE FROM alert_revisions WHERE alert_offset = (SELECT MAX(alert_offset) FROM alert_revisions WHERE operator_no = 2 AND rule = 'robust_deviation')".to_owned(),
            "other: alert at offset ",
        ),
        (
            "UPDATE feed_records SET kind = 999 WHERE batch_no = (SELECT MAX(batch_no) FROM feed_batches WHERE operator_no = 2) AND idx = 0".to_owned(),
            "other: cannot be computed: store: stored record kind cannot be read",
        ),
    ];
    let span = ["replay", "--from", "2026-01-01T00:00:00Z", "--to", "2027-01-01T00:00:00Z"];
    for (no, (change, wanted)) in table.into_iter().enumerate() {
        assert_eq!(database.execute_for_tests(&change).await.expect("it is changed"), 1, "{change}");
        let report = dir.join(format!("records-{no}.jws"));
        let (is_fine, said) = attempt(dir, url, &[&span[..], &["--out", text(&report)]].concat());
        assert!(!is_fine && said.contains(wanted), "{change}: {said}");
        let told: Value = serde_json::from_str(&run(dir, url, &verify(&report, jwks))).expect("JSON");
        let held = told["held"].as_array().expect("a list").iter().find(|held| held["code"] == "other");
        assert!(
            held.is_some_and(|held| held["altered"].as_array().is_some_and(|all| !all.is_empty())),
            "{change}: {told}"
        );
    }
}

fn verify<'a>(report: &'a Path, jwks: &'a Path) -> [&'a str; 5] {
    ["evidence", "verify", text(report), "--jwks", text(jwks)]
}

/// `2026-11-01T10:<minute>`, of a player with an amount.
fn play(id: &str, kind: &str, minute: u32, amount_minor: i64) -> Value {
    json!({"record_id": id, "kind": kind, "occurred_at": format!("2026-11-01T10:{minute:02}:00Z"), "status": "successful",
        "player": {"phone": "0712345678"}, "money": {"amount_minor": amount_minor, "currency": "KES"}, "product": "sportsbook"})
}

/// What a replay of everything says: whether it is fine, its lines of rules by whose they are, and the differences.
fn replayed(dir: &Path, store: &str) -> (bool, Vec<Value>, Vec<String>) {
    let (is_fine, said) =
        attempt(dir, store, &["replay", "--from", "2026-01-01T00:00:00Z", "--to", "2027-01-01T00:00:00Z"]);
    let lines = said.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).expect("JSON"));
    let of_rules = |line: &Value| line.get("rules_of").is_some() || line.get("rules_of_all").is_some();
    let differences = said.lines().filter(|line| line.starts_with("mlinzi: ")).map(str::to_owned).collect();
    (is_fine, lines.filter(of_rules).collect(), differences)
}

async fn check_rules(store: &str) {
    let dir = testkit::temp_dir();
    let dir = dir.path();
    let staff = prepare(dir, store);
    let client = reqwest::Client::new();
    let server = serve(&client, dir, store).await;
    for (code, records) in [
        (
            "acme",
            vec![
                json!([play("d1", "deposit", 1, 180_000_000), play("d2", "deposit", 2, 180_000_000)]),
                json!([play("d3", "deposit", 3, 180_000_000)]),
                json!([play("w1", "withdrawal", 30, 500_000_000)]),
                json!([play("s1", "stake", 40, 100)]),
            ],
        ),
        ("bets", vec![json!([play("d1", "deposit", 41, 12_000_000)])]),
    ] {
        let new = json!({"code": code, "name": code}).to_string();
        let made = post(&client, format!("{}/api/v1/operators/register", server.base), &staff, new).await;
        let id = made.expect("an operator")["id"].clone();
        let source = json!({"operator": id, "name": "play", "class": "gaming_transactions", "clock": "event", "horizon_days": 60});
        let source = post(&client, format!("{}/api/v1/feeds", server.base), &staff, source.to_string()).await;
        let source = source.expect("a source")["id"].as_str().expect("an id").to_owned();
        for records in records {
            let path = format!("{}/api/v1/feeds/{source}/records", server.base);
            post(&client, path, &staff, records.to_string()).await.expect("it is stored");
        }
    }
    let rules = ["structured_deposits", "rapid_in_out", "net_deposit_threshold", "net_deposits_across_operators"];
    let end = Instant::now() + Duration::from_secs(60);
    for rule in rules {
        loop {
            let alerts = get(&client, format!("{}/api/v1/alerts?rule={rule}", server.base), &staff).await;
            if alerts["items"].as_array().is_some_and(|items| !items.is_empty()) {
                break;
            }
            assert!(Instant::now() < end, "{rule} found nothing");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let figures = |lines: &[Value]| -> Vec<(String, u64, u64)> {
        let figure = |line: &Value, name: &str| line[name].as_u64().expect("a number");
        let code =
            |line: &Value| line.get("rules_of").unwrap_or(&line["rules_of_all"]).as_str().expect("a code").to_owned();
        lines.iter().map(|line| (code(line), figure(line, "findings"), figure(line, "alerts"))).collect()
    };
    // beside the running engine, and without it
    let (is_fine, lines, differences) = replayed(dir, store);
    assert!(is_fine && differences.is_empty(), "{lines:?} {differences:?}");
    let jwks = get(&client, format!("{}/.well-known/jwks.json", server.base), &staff).await;
    let jwks_file = dir.join("jwks.json");
    std::fs::write(&jwks_file, jwks.to_string()).expect("a file");
    let found = figures(&lines);
    assert_eq!(
        found.iter().map(|(code, ..)| code.as_str()).collect::<Vec<_>>(),
        ["acme", "bets", "KE", "NG-FC", "NG-LA"]
    );
    assert!(found[0].1 >= 3 && found[1].1 >= 1 && found[2].1 == 1, "{found:?}");
    assert!(found.iter().all(|(_, findings, alerts)| findings == alerts), "{found:?}");
    server.stop();
    let (is_fine, lines, _) = replayed(dir, store);
    assert!(is_fine && figures(&lines) == found, "{lines:?}");

    // other parameters over the same inputs: rule, parameters | both, only they, only what is live
    let backtest = |rule: &str, params: &str| {
        let span = ["--from", "2026-11-01T00:00:00Z", "--to", "2026-11-02T00:00:00Z", "--jurisdiction", "KE"];
        attempt(dir, store, &[&["rules", "backtest", rule, "--params", params][..], &span].concat())
    };
    for (rule, params, expected) in [
        ("structured_deposits", r#"{"deposits_min": 4}"#, [0, 0, 1]),
        ("structured_deposits", r#"{"span_hours": 48}"#, [1, 0, 0]),
        ("net_deposits_across_operators", r#"{"month_max_minor": 900000000}"#, [0, 0, 1]),
        ("net_deposits_across_operators", r#"{"month_max_minor": 16000000}"#, [1, 0, 0]),
    ] {
        let (is_fine, said) = backtest(rule, params);
        let tried: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{rule}: {error}: {said}"));
        let figures = ["both", "only_candidate", "only_live"].map(|name| tried[name].clone());
        assert!(is_fine && figures == expected.map(Value::from), "{rule} {params}: {said}");
    }
    for (rule, params, what) in [
        ("nothing", "{}", "no rule nothing"),
        ("feed_tampered", "{}", "no rule feed_tampered"),
        ("feed_silent", "{}", "history does not say when nobody was listening"),
        ("structured_deposits", r#"{"deposits_min": 1}"#, "must be from 2 to 20"),
        ("structured_deposits", "[]", "--params"),
    ] {
        let (is_fine, said) = backtest(rule, params);
        assert!(!is_fine && said.contains(what), "{rule} {params}: {said}");
    }

    // what is changed, how it is undone, and the differences that it makes: rule, of what, how
    let database = store::Store::open(store, &store::OpenOptions::default()).await.expect("the store");
    let (changed, missing, unfounded) = ("is stored otherwise", "follows from the inputs and", "does not follow");
    let off = json!({"jurisdiction": 0, "rule": "rapid_in_out", "change": 1, "at": 0, "note": "",
        "act": {"what": "turned_off"}});
    let table = [
        (
            "UPDATE rule_findings SET severity = 'low' WHERE rule = 'structured_deposits'".to_owned(),
            "UPDATE rule_findings SET severity = 'medium' WHERE rule = 'structured_deposits'",
            vec![("acme: structured_deposits: finding alr_", changed, ": severity")],
        ),
        (
            "UPDATE rule_findings SET body = REPLACE(body, '\"observed\":540000000', '\"observed\":540000001')".to_owned(),
            "UPDATE rule_findings SET body = REPLACE(body, '\"observed\":540000001', '\"observed\":540000000')",
            vec![("acme: structured_deposits: finding alr_", changed, ": finding.measured")],
        ),
        (
            "UPDATE rule_findings SET input_seq = input_seq + 1000 WHERE rule = 'rapid_in_out'".to_owned(),
            "UPDATE rule_findings SET input_seq = input_seq - 1000 WHERE rule = 'rapid_in_out'",
            vec![("acme: rapid_in_out: finding alr_", missing, ""), ("acme: rapid_in_out: finding alr_", unfounded, "")],
        ),
        (
            "UPDATE alert_revisions SET body = REPLACE(body, '\"samples\":0', '\"samples\":9') WHERE rule = 'net_deposits_across_operators'"
                .to_owned(),
            "UPDATE alert_revisions SET body = REPLACE(body, '\"samples\":9', '\"samples\":0') WHERE rule = 'net_deposits_across_operators'",
            vec![
                ("KE: net_deposits_across_operators: alert of the finding alr_", changed, ": evidence.samples"),
                ("KE: alert at offset ", "is stored otherwise than the journal says", ": body"),
            ],
        ),
        (
            format!("INSERT INTO rule_changes (jurisdiction, rule, change, seq, body) VALUES (0, 'rapid_in_out', 1, 0, '{off}')"),
            "DELETE FROM rule_changes WHERE seq = 0",
            vec![("acme: rapid_in_out: finding alr_", unfounded, "")],
        ),
        (
            "DELETE FROM rule_findings WHERE rule = 'net_deposits_across_operators'".to_owned(),
            "SELECT 1",
            vec![("KE: net_deposits_across_operators: finding alr_", missing, "")],
        ),
        (
            "DELETE FROM alert_revisions WHERE rule = 'rapid_in_out' AND operator_no = 1".to_owned(),
            "SELECT 1",
            vec![
                ("KE: net_deposits_across_operators: finding alr_", missing, ""),
                ("acme: rapid_in_out: alert of the finding alr_", missing, ""),
                ("acme: alert at offset ", "is in the journal and is not stored", ""),
            ],
        ),
    ];
    for (change, undo, expected) in table {
        database.execute_for_tests(&change).await.expect("it is changed");
        let (is_fine, _, differences) = replayed(dir, store);
        assert!(!is_fine && differences.len() == expected.len(), "{change}: {differences:?}");
        for (what, kind, fields) in expected {
            let is_it = |said: &&String| said.contains(what) && said.contains(kind) && said.ends_with(fields);
            assert!(differences.iter().any(|said| is_it(&said)), "{change}: {differences:?}");
        }
        database.execute_for_tests(undo).await.expect("it is undone");
    }
    check_inputs(&database, dir, store, &jwks_file).await;
    database.close().await;
}

/// Inputs of rules that are not stored as the journal says: nothing is computed of them, they are named in the signed report,
/// and everything else is computed all the same.
async fn check_inputs(database: &store::Store, dir: &Path, url: &str, jwks: &Path) {
    let (first, third) = ("operator_no = 1 AND input_seq = 1", "operator_no = 1 AND input_seq = 3");
    let strange = "INSERT INTO rule_inputs (operator_no, input_seq, seq, jurisdiction, rules_seq, operator_seq, body, facts) VALUES (65280, 1, 9000000, 0, 0, NULL, '{\"what\":\"players_scored\",\"version\":1,\"as_of\":0,\"players\":[]}', NULL)";
    // what is changed, how it is undone, of whom it cannot be computed, what is said
    let table = [
        (
            format!(
                "UPDATE rule_inputs SET body = REPLACE(body, '\"operator_seq\":1', '\"operator_seq\":2') WHERE {first}"
            ),
            format!(
                "UPDATE rule_inputs SET body = REPLACE(body, '\"operator_seq\":2', '\"operator_seq\":1') WHERE {first}"
            ),
            "acme",
            "input 1 of acme is not what the journal says of it: body",
        ),
        (
            format!("UPDATE rule_inputs SET rules_seq = rules_seq + 7 WHERE {third}"),
            format!("UPDATE rule_inputs SET rules_seq = rules_seq - 7 WHERE {third}"),
            "acme",
            "input 3 of acme is not what the journal says of it: rules_seq",
        ),
        // nobody has ever scored a player
        (
            strange.to_owned(),
            "DELETE FROM rule_inputs WHERE operator_no = 65280".to_owned(),
            "KE",
            "input 9000000 of KE is not what the journal says of it: journal",
        ),
        (
            "UPDATE rule_inputs SET facts = NULL WHERE operator_no = 2".to_owned(),
            "SELECT 1".to_owned(),
            "bets",
            "input 1 of bets is not what the journal says of it: facts",
        ),
        (
            format!("DELETE FROM rule_inputs WHERE {first}"),
            "SELECT 1".to_owned(),
            "acme",
            "input 1 of acme is not stored, and inputs behind it are",
        ),
    ];
    let span = ["replay", "--from", "2026-01-01T00:00:00Z", "--to", "2027-01-01T00:00:00Z"];
    for (no, (change, undo, whose, wanted)) in table.into_iter().enumerate() {
        assert!(database.execute_for_tests(&change).await.expect("it is changed") > 0, "{change}");
        let report = dir.join(format!("inputs-{no}.jws"));
        let (is_fine, said) = attempt(dir, url, &[&span[..], &["--out", text(&report)]].concat());
        assert!(!is_fine && said.contains(wanted), "{change}: {said}");
        let told: Value = serde_json::from_str(&run(dir, url, &verify(&report, jwks))).expect("JSON");
        let rules = told["rules"].as_array().expect("a list");
        assert_eq!((rules.len(), told["operators"].as_array().map(Vec::len)), (5, Some(2)), "{change}: {told}");
        let of = |code: &str| rules.iter().find(|of| of["code"] == code).expect("its rules");
        assert_eq!(of(whose)["cannot_be_computed"]["what"], wanted, "{change}: {told}");
        for code in ["acme", "bets"].into_iter().filter(|code| *code != whose) {
            let of = of(code);
            assert!(of.get("cannot_be_computed").is_none() || no > 3, "{change}: {told}");
            assert!(of["inputs"].as_u64() > Some(0) || no > 3, "{change}: {told}");
        }
        database.execute_for_tests(&undo).await.expect("it is undone");
    }
    check_newest_input(database, dir, url).await;
}

/// No input behind it tells that it is gone; the journal does.
async fn check_newest_input(database: &store::Store, dir: &Path, url: &str) {
    let newest = "DELETE FROM rule_inputs WHERE operator_no = 2 AND input_seq = (SELECT MAX(input_seq) FROM rule_inputs WHERE operator_no = 2)";
    let gone =
        |said: &str| said.contains("bets: input of rules ") && said.contains("is in the journal and is not stored");
    let span = ["replay", "--from", "2026-01-01T00:00:00Z", "--to", "2027-01-01T00:00:00Z", "--operator", "bets"];
    let (_, before) = attempt(dir, url, &span);
    assert!(!gone(&before), "{before}");
    assert_eq!(database.execute_for_tests(newest).await.expect("it is taken away"), 1);
    let (is_fine, said) = attempt(dir, url, &span);
    assert!(!is_fine && gone(&said), "{said}");
}

#[tokio::test]
async fn what_rules_found_follows_from_their_inputs_sqlite() {
    let dir = testkit::temp_dir();
    check_rules(&testkit::sqlite_url(&dir)).await;
}

#[tokio::test]
async fn what_rules_found_follows_from_their_inputs_postgres() {
    let database = testkit::Postgres::shared().database().await;
    check_rules(&database.url).await;
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

#[tokio::test]
async fn what_was_alerted_of_follows_from_the_inputs_sqlite() {
    let dir = testkit::temp_dir();
    check(&testkit::sqlite_url(&dir)).await;
}

#[tokio::test]
async fn what_was_alerted_of_follows_from_the_inputs_postgres() {
    let database = testkit::Postgres::shared().database().await;
    check(&database.url).await;
}

#[tokio::test]
async fn a_span_that_is_none_and_an_operator_that_is_not_there_are_refused() {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    prepare(dir.path(), &store);
    let table = [
        (&["--from", "2026-01-02T00:00:00Z", "--to", "2026-01-02T00:00:00Z"][..], "--to"),
        (&["--from", "yesterday", "--to", "2026-01-02T00:00:00Z"], "--from"),
        (
            &["--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z", "--operator", "nobody"],
            "no operator nobody",
        ),
    ];
    for (args, what) in table {
        let (is_fine, said) = attempt(dir.path(), &store, &[&["replay"], args].concat());
        assert!(!is_fine && said.contains(what), "{said}");
    }
}
