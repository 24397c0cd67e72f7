//! The register goes out as a file, and the file makes the same register again.

mod program;

use models::evidence::sha256;
use program::{PROGRAM, phone, post, prepare, run, serve};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

fn import(dir: &Path, store: &str, file: &Path, more: &[&str]) -> Value {
    let args =
        ["register", "import", file.to_str().expect("a path"), "--origin", "o", "--legal-basis", "of the import"];
    serde_json::from_str(&run(dir, store, &[&args[..], more].concat())).expect("JSON")
}

fn export(dir: &Path, store: &str, file: &Path) -> std::process::Output {
    Command::new(PROGRAM)
        .args(["--store", store, "--keys", dir.join("keys.toml").to_str().expect("a path"), "register", "export"])
        .args([file.to_str().expect("a path"), "--case", "case 12", "--by", "A. Auditor"])
        .output()
        .expect("the program runs")
}

/// Everybody who may be asked for, and what the register says of each, alone and with another's phone.
async fn answers(client: &reqwest::Client, base: &str, key: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for n in 1..=9usize {
        let (phone, id) = (phone(10_000_000 + n), (20_000_000 + n).to_string());
        for who in [
            json!({"phone": phone}),
            json!({"id_number": id}),
            json!({"phone": phone, "id_number": id}),
            json!({"phone": phone, "id_number": (20_000_001 + n).to_string()}),
        ] {
            let mut body = who.clone();
            body["purpose"] = json!("login");
            let answer = post(client, format!("{base}/api/v1/operators/lookup"), key, body.to_string()).await;
            let answer = answer.expect("an answer");
            all.push(json!([who, answer["status"], answer["match"], answer["exclusion"], answer["bst"]]));
        }
    }
    all
}

async fn fill(client: &reqwest::Client, dir: &Path, store: &str, key: &str) {
    // from an older register: over, without end, under a phone alone; and where two regulators know one person
    let old = dir.join("old.csv");
    let text = "id_number,phone,period,effective_at,source_id,names,date_of_birth,reason_class,legal_basis\n\
        20000001,0710000001,24_hours,2024-02-01T10:00:00.123456Z,old-1,\"Achieng, Jane;J. A.\",1990-05-01,self,Act 1\n\
        20000002,0710000002,permanent,2020-02-01T10:00:00Z,old-2,,,court,Act 2\n\
        ,0710000003,5_years_renewing,2019-06-01T10:00:00Z,old-3,,,regulator,\n\
        20000004,0710000004,10_days,2024-06-01T10:00:00Z,old-4,,,welfare,\n";
    std::fs::write(&old, text).expect("a file");
    assert_eq!(import(dir, store, &old, &[])["added"], 4);
    let there = dir.join("there.csv");
    let text = "id_number,id_country,period,effective_at,source_id\n20000002,KE,3_years,2025-01-01T00:00:00Z,ng-2\n";
    std::fs::write(&there, text).expect("a file");
    assert_eq!(import(dir, store, &there, &["--jurisdiction", "NG-FC"])["merged"], 1);

    let server = serve(client, dir, store).await;
    let register = async |body: Value| {
        let mut body = body;
        body["reason_class"] = json!("self");
        body["channel"] = json!("ussd");
        let url = format!("{}/api/v1/nser/register", server.base);
        post(client, url, key, body.to_string()).await.expect("a registration")
    };
    // a break is over, and a new exclusion begins
    register(json!({"phone": phone(10_000_001), "id_number": "20000001", "period": "3_months"})).await;
    // one person under two phones, extended by the second registration and by its own
    register(
        json!({"phone": phone(10_000_005), "id_number": "20000005", "period": "6_months", "email": "a@example.org",
        "names": ["Otieno"], "date_of_birth": "1980-01-31", "verification": {"method": "otp", "reference": "r-5"}}),
    )
    .await;
    let made = register(json!({"phone": phone(10_000_006), "id_number": "20000005", "period": "1_year"})).await;
    let id = made["exclusion_id"].as_str().expect("an id");
    let extended = client
        .put(format!("{}/api/v1/nser/{id}/extend", server.base))
        .bearer_auth(key)
        .header("content-type", "application/json")
        .body(json!({"period": "3_years"}).to_string())
        .send()
        .await
        .expect("an answer");
    assert!(extended.status().is_success(), "{}", extended.status());
    // two people who share a phone, and one who is known by a phone alone, twice
    register(json!({"phone": phone(10_000_007), "id_number": "20000007", "period": "1_month"})).await;
    register(json!({"phone": phone(10_000_007), "id_number": "20000008", "period": "5_years"})).await;
    register(json!({"phone": phone(10_000_009), "period": "24_hours"})).await;
    register(json!({"phone": phone(10_000_009), "period": "1_year"})).await;
    server.stop();
}

async fn check(first: &str, second: &str) {
    let dir = testkit::temp_dir();
    let dir = dir.path();
    let key = prepare(dir, first);
    let client = reqwest::Client::new();
    fill(&client, dir, first, &key).await;

    let server = serve(&client, dir, first).await;
    let beside = export(dir, first, &dir.join("beside.csv"));
    assert!(String::from_utf8_lossy(&beside.stderr).contains("stop the engine first"));
    assert!(!beside.status.success() && !dir.join("beside.csv").exists());
    let before = answers(&client, &server.base, &key).await;
    server.stop();

    let out = dir.join("out.csv");
    let done = export(dir, first, &out);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let done: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!((&done["people"], &done["without_identity"]), (&json!(8), &json!(0)), "{done}");
    let text = std::fs::read_to_string(&out).expect("the file");
    assert_eq!(std::fs::metadata(&out).expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(done["sha256"], hex(&sha256(text.as_bytes())));
    // what was written is not written over
    assert!(!export(dir, first, &out).status.success());
    assert_eq!(std::fs::read_to_string(&out).expect("the file"), text);
    assert!(run(dir, first, &["audit", "verify"]).contains("\"first_bad\":null"));

    let again = import(dir, second, &out, &[]);
    assert_eq!((&again["added"], &again["refused"]), (&json!(7), &json!(0)), "one shares a phone: {again}");
    let back = dir.join("back.csv");
    assert!(export(dir, second, &back).status.success());
    let (wanted, got) = (rows(&text), rows(&std::fs::read_to_string(&back).expect("the file")));
    assert_eq!(wanted, got);

    // and whoever asks hears the same
    let scopes = ["--scope", "lookup", "--rate", "100000", "--json"];
    let made = run(dir, second, &[&["key", "create", "--label", "t"], &scopes[..]].concat());
    let key: Value = serde_json::from_str(&made).expect("JSON");
    let server = serve(&client, dir, second).await;
    let after = answers(&client, &server.base, key["bearer"].as_str().expect("a bearer")).await;
    server.stop();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
}

/// The rows, a legal basis that nobody had named being the import's.
fn rows(text: &str) -> Vec<String> {
    let rows = text.lines().skip(1).map(|row| row.to_owned());
    rows.map(|row| if row.ends_with(',') && has_person(&row) { row + "of the import" } else { row }).collect()
}

/// Does the row say who it is?
fn has_person(row: &str) -> bool {
    let parts: Vec<&str> = row.splitn(5, ',').collect();
    !parts[2].is_empty() || !parts[3].is_empty()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[tokio::test]
async fn a_file_makes_the_same_register_again_on_sqlite() {
    let (first, second) = (testkit::temp_dir(), testkit::temp_dir());
    let store = testkit::sqlite_url(&first);
    check(&store, &testkit::sqlite_url(&second)).await;
    let files = std::fs::read_dir(first.path()).expect("the folder").flatten();
    let journaled = files.filter_map(|file| std::fs::read(file.path()).ok()).any(|bytes| {
        let said = b"\"case\":\"case 12\",\"by\":\"A. Auditor\"";
        bytes.windows(said.len()).any(|window| window == said)
    });
    assert!(journaled, "who took it out stands in the journal");
}

#[tokio::test]
async fn a_file_makes_the_same_register_again_on_postgres() {
    let postgres = testkit::Postgres::shared();
    let (first, second) = (postgres.database().await, postgres.database().await);
    check(&first.url, &second.url).await;
}
