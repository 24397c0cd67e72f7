//! A register that was kept elsewhere comes in as a file: with its dates, once, and what is wrong is named.

mod program;

use program::{PROGRAM, phone, post, prepare, run, serve};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

const PEOPLE: usize = 5_000;

fn rows(from: usize, to: usize) -> String {
    let mut text = "id_number,phone,period,effective_at,source_id,names\n".to_owned();
    for n in from..to {
        let (id, phone) = (20_000_000 + n, phone(10_000_000 + n));
        // every hundredth break is over by now
        let (period, at) =
            if n % 100 == 1 { ("24_hours", "2024-02-01T10:00:00Z") } else { ("5_years", "2025-06-01T10:00:00Z") };
        let _ = writeln!(text, "{id},{phone},{period},{at},old-{n},\"Achieng, Jane;J. A.\"");
    }
    text
}

fn import(dir: &Path, store: &str, file: &Path, more: &[&str]) -> Value {
    let args = [
        "register",
        "import",
        file.to_str().expect("a path"),
        "--origin",
        "old register",
        "--legal-basis",
        "Act 1, s. 2",
    ];
    serde_json::from_str(&run(dir, store, &[&args[..], more].concat())).expect("JSON")
}

async fn status(client: &reqwest::Client, base: &str, key: &str, who: Value) -> (String, Value) {
    let mut body = who;
    body["purpose"] = json!("login");
    let answer =
        post(client, format!("{base}/api/v1/operators/lookup"), key, body.to_string()).await.expect("an answer");
    (answer["status"].as_str().expect("a status").to_owned(), answer["exclusion"]["effective_at"].clone())
}

async fn check(store: &str) {
    let dir = testkit::temp_dir();
    let dir = dir.path();
    let key = prepare(dir, store);
    let client = reqwest::Client::new();
    let server = serve(&client, dir, store).await;
    // somebody who is in the old file, too
    let body = json!({"phone": phone(10_000_007), "id_number": "20000007", "period": "6_months", "reason_class": "self", "channel": "web"});
    post(&client, format!("{}/api/v1/nser/register", server.base), &key, body.to_string())
        .await
        .expect("a registration");
    let file = dir.join("old.csv");
    let bad = "20099999,,never,2025-06-01T10:00:00Z,x,\nnonsense,12,5_years,2025-06-01T10:00:00Z,y,\n20099998,,5_years,2099-01-01T00:00:00Z,z,\na,b\n";
    std::fs::write(&file, rows(0, PEOPLE) + bad).expect("a file");
    // beside a running engine two would decide on what the other does not know
    let beside = Command::new(PROGRAM)
        .args(["--store", store, "--keys", dir.join("keys.toml").to_str().expect("a path"), "register", "import"])
        .args([file.to_str().expect("a path"), "--origin", "o", "--legal-basis", "l"])
        .output()
        .expect("the program runs");
    assert!(!beside.status.success());
    assert!(String::from_utf8_lossy(&beside.stderr).contains("stop the engine first"));
    server.stop();

    let dry = import(dir, store, &file, &["--dry-run"]);
    assert_eq!(
        (dry["rows"].as_u64(), dry["good"].as_u64(), dry["refused"].as_u64()),
        (Some(PEOPLE as u64 + 4), Some(PEOPLE as u64), Some(4))
    );
    let rejects = dir.join("rejects.csv");
    let done = import(dir, store, &file, &["--rejects", rejects.to_str().expect("a path")]);
    assert_eq!(
        (done["added"].as_u64(), done["merged"].as_u64(), done["refused"].as_u64()),
        (Some(PEOPLE as u64 - 1), Some(1), Some(4)),
        "{done}"
    );
    let refused = std::fs::read_to_string(&rejects).expect("rejects");
    let reasons = ["period: missing or unknown", "phone: ", "effective_at: in the future", "2 columns instead of 6"];
    for (line, reason) in refused.lines().skip(1).zip(reasons) {
        assert!(line.contains(reason), "{line}");
    }
    // done is done
    let again = import(dir, store, &file, &[]);
    assert_eq!((again["added"].as_u64(), again["done_before"].as_u64()), (Some(0), Some(PEOPLE as u64 + 4)), "{again}");
    assert!(run(dir, store, &["audit", "verify"]).contains("\"first_bad\":null"));

    // one digit mended far behind the beginning is another file: nobody is taken for done
    let mended = std::fs::read_to_string(&file).expect("the file");
    let last = phone(10_000_000 + PEOPLE - 1);
    std::fs::write(&file, mended.replace(&last, "0799999999")).expect("a file");
    let corrected = import(dir, store, &file, &[]);
    assert_eq!(
        (corrected["done_before"].as_u64(), corrected["merged"].as_u64()),
        (Some(0), Some(PEOPLE as u64)),
        "{corrected}"
    );
    // a quote that is not closed would swallow everybody behind it
    let line = |n: usize| format!("{},{},5_years,2025-06-01T10:00:00Z\n", 30_000_000 + n, phone(60_000_000 + n));
    let torn_line = "29999999,\"0759999999,5_years,2025-06-01T10:00:00Z\n".to_owned();
    let torn =
        (0..2_000).map(line).fold("id_number,phone,period,effective_at\n".to_owned() + &torn_line, |all, l| all + &l);
    std::fs::write(dir.join("torn.csv"), torn).expect("a file");
    let torn = Command::new(PROGRAM)
        .args(["--store", store, "--keys", dir.join("keys.toml").to_str().expect("a path"), "register", "import"])
        .args([dir.join("torn.csv").to_str().expect("a path"), "--origin", "torn", "--legal-basis", "l"])
        .output()
        .expect("the program runs");
    assert!(!torn.status.success(), "{}", String::from_utf8_lossy(&torn.stdout));

    let server = serve(&client, dir, store).await;
    assert_eq!(status(&client, &server.base, &key, json!({"phone": "0799999999"})).await.0, "excluded");
    for n in [0, 1, 7, 101, 2_500, PEOPLE - 1] {
        let wanted = if n % 100 == 1 { "previously_excluded" } else { "excluded" };
        for who in [json!({"phone": phone(10_000_000 + n)}), json!({"id_number": (20_000_000 + n).to_string()})] {
            let (got, at) = status(&client, &server.base, &key, who).await;
            assert_eq!(got, wanted, "person {n}");
            if wanted == "excluded" && n != 7 {
                assert_eq!(at, "2025-06-01T10:00:00.000Z", "the original date");
            }
        }
    }
    assert_eq!(
        status(&client, &server.base, &key, json!({"phone": phone(10_000_000 + PEOPLE)})).await.0,
        "not_excluded"
    );
    server.stop();
}

#[tokio::test]
async fn an_older_register_comes_in_once_and_with_its_dates_on_sqlite() {
    let dir = testkit::temp_dir();
    check(&testkit::sqlite_url(&dir)).await;
}

#[tokio::test]
async fn an_older_register_comes_in_once_and_with_its_dates_on_postgres() {
    let database = testkit::Postgres::shared().database().await;
    check(&database.url).await;
}

/// Rows of the import that is killed, and how many of them apart a bad one stands between them.
const KILLED_ROWS: usize = 60_000;
const BAD_EVERY: usize = 500;

fn rows_with_bad_ones() -> String {
    let good = rows(0, KILLED_ROWS);
    let mut text = String::with_capacity(good.len() + 8_000);
    for (n, line) in good.lines().enumerate() {
        text.push_str(line);
        text.push('\n');
        if n > 0 && n.is_multiple_of(BAD_EVERY) {
            let _ = writeln!(text, "20099999,,never,2025-06-01T10:00:00Z,bad-{n},");
        }
    }
    text
}

/// Cut off in the middle, an import goes on where it stopped; nobody is there twice, and no row is refused twice.
#[tokio::test]
async fn an_import_that_was_killed_goes_on() {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    let dir = dir.path();
    prepare(dir, &store);
    let file = dir.join("old.csv");
    std::fs::write(&file, rows_with_bad_ones()).expect("a file");
    let rejects = dir.join("rejects.csv");
    let args = ["register", "import", file.to_str().expect("a path"), "--origin", "old register", "--legal-basis", "l"];
    let args = [&args[..], &["--rejects", rejects.to_str().expect("a path")]].concat();
    let mut killed = 0;
    for round in 0..20 {
        let mut child = Command::new(PROGRAM)
            .args(["--store", &store, "--keys", dir.join("keys.toml").to_str().expect("a path")])
            .args(&args)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("the program starts");
        tokio::time::sleep(std::time::Duration::from_millis(400 + 50 * round)).await;
        if child.try_wait().expect("a status").is_some() {
            break;
        }
        child.kill().expect("kill -9");
        child.wait().expect("it ends");
        killed += 1;
    }
    assert!(killed > 0, "the import was faster than the test");
    let done: Value = serde_json::from_str(&run(dir, &store, &args)).expect("JSON");
    let bad = KILLED_ROWS / BAD_EVERY;
    assert_eq!(done["rows"].as_u64(), Some((KILLED_ROWS + bad) as u64), "{done}");
    assert_eq!(done["merged"].as_u64(), Some(0), "a row was done twice: {done}");
    let number = |name: &str| done[name].as_u64().expect("a number");
    assert_eq!(number("done_before") + number("added") + number("refused"), (KILLED_ROWS + bad) as u64, "{done}");
    let refused = std::fs::read_to_string(&rejects).expect("rejects");
    let named: Vec<&str> = refused.lines().skip(1).filter_map(|line| line.split(',').nth(4)).collect();
    let wanted: Vec<String> = (1..=bad).map(|n| format!("bad-{}", n * BAD_EVERY)).collect();
    assert_eq!(named, wanted, "each once, in its order");
}
