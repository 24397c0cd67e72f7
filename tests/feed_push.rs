//! `mlinzi feed push`: files of others through the running engine, every row counted, the same alerts from the same
//! file in every fresh store.

mod program;

use program::{Server, get, prepare, prepare_key, run, serve};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const MAPPINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/feeds");

fn push(server: &Server, key: &str, mapping: &str, file: &Path) -> Output {
    let mapping = format!("{MAPPINGS}/{mapping}.toml");
    let file = file.display().to_string();
    let args = ["feed", "push", "--url", &server.base, "--mapping", &mapping, "--json", &file];
    std::process::Command::new(program::PROGRAM).args(args).env("MLINZI_KEY", key).output().expect("the program runs")
}

fn tally(out: &Output) -> Value {
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stderr)))
}

fn sum(tally: &Value, field: &str) -> i64 {
    let operators = tally["operators"].as_object().expect("operators");
    operators.values().map(|o| o[field].as_i64().expect("a number")).sum()
}

/// Every alert of the store without what is drawn at random: the operator's id.
async fn alerts(client: &reqwest::Client, server: &Server, key: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(client, format!("{}/api/v1/alerts?limit=500{cursor}", server.base), key).await;
        for mut alert in page["items"].as_array().expect("a list").iter().cloned() {
            alert.as_object_mut().expect("an object").remove("operator");
            all.push(alert);
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    all.sort_by_key(|alert| alert["id"].to_string());
    all
}

#[tokio::test]
async fn a_file_with_bad_rows_is_pushed_as_far_as_it_is_good_and_the_command_fails() {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    let key = prepare(dir.path(), &store);
    let client = reqwest::Client::new();
    let server = serve(&client, dir.path(), &store).await;
    let rows = [
        "Id,GameID,Username,Bet,CashedOut,Bonus,Profit,BustedAt,PlayDate",
        "1,10,anna,5,1.2,0,1,8.24,2021-11-20T19:44:19Z", // a stake and a payout
        "2,10,ben,3,NA,NA,NA,1.4,2021-11-20T19:44:20Z",  // a lost bet
        "3,10,cleo,4,2.0,0,-4,1.4,2021-11-20T19:44:21Z", // swapped sign
        "4,10,dan,4,2.0,0,4,1.4,yesterday",              // no time
        "1,10,anna,5,1.2,0,1,8.24,2021-11-20T19:44:19Z", // a duplicate
        "2,10,ben,30,NA,NA,NA,1.4,2021-11-20T19:44:20Z", // a conflict
        "5,10",                                          // missing columns
    ];
    let file = dir.path().join("bets.csv");
    std::fs::write(&file, rows.join("\n")).expect("written");

    let out = push(&server, &key, "bustabit", &file);
    let first = tally(&out);
    assert!(!out.status.success(), "rows were refused");
    let counts = |t: &Value| ["sent", "accepted", "duplicates", "conflicts", "quarantined"].map(|f| sum(t, f));
    assert_eq!((first["rows"].as_u64(), first["rows_refused"].as_u64()), (Some(7), Some(3)));
    assert_eq!(counts(&first), [6, 3, 2, 1, 1]);
    // pushed again, nothing is stored twice; the conflict is still one
    assert_eq!(counts(&tally(&push(&server, &key, "bustabit", &file))), [6, 0, 5, 1, 1]);

    let nowhere = push(&server, "mk_live_nobody_nothing", "bustabit", &file);
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("401"), "a wrong key is named");
    let missing = push(&server, &key, "bustabit", &dir.path().join("none.csv"));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("none.csv"), "a missing file is named");
}

/// The address of a way to the server on which the answer to one push is lost, and with it the connection.
fn losing(base: &str, lost: usize) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    let server = base.trim_start_matches("http://").to_owned();
    let pushes = Arc::new(AtomicUsize::new(0));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) =
                (client.expect("a connection"), TcpStream::connect(&server).expect("the server"));
            let (mut back, mut answers) = (client.try_clone().expect("a way"), server.try_clone().expect("a way"));
            let pushes = Arc::clone(&pushes);
            let is_lost = Arc::new(AtomicBool::new(false));
            let is_asked = Arc::clone(&is_lost);
            std::thread::spawn(move || {
                pass_on(&mut client, &mut server, |sent| {
                    let is_push = sent.starts_with(b"POST ") && sent.windows(9).any(|bytes| bytes == b"/records ");
                    is_asked.store(is_push && pushes.fetch_add(1, Ordering::SeqCst) + 1 == lost, Ordering::SeqCst);
                    true
                });
            });
            std::thread::spawn(move || {
                pass_on(&mut answers, &mut back, |_| !is_lost.load(Ordering::SeqCst));
                let _ = back.shutdown(Shutdown::Both);
            });
        }
    });
    format!("http://{address}")
}

fn pass_on(from: &mut TcpStream, to: &mut TcpStream, mut goes_on: impl FnMut(&[u8]) -> bool) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if !goes_on(&bytes[..count]) || to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn pushes_with_a_tamper_key_are_one_chain_over_runs_and_lost_answers() {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    let made = prepare_key(dir.path(), &store);
    let (key, secret) = (made["bearer"].as_str().expect("a bearer"), dir.path().join("secret"));
    std::fs::write(&secret, made["signing_secret"].as_str().expect("a secret")).expect("written");
    let client = reqwest::Client::new();
    let server = serve(&client, dir.path(), &store).await;
    let rows = [
        "Id,GameID,Username,Bet,CashedOut,Bonus,Profit,BustedAt,PlayDate",
        "1,10,anna,5,1.2,0,1,8.24,2021-11-20T19:44:19Z",
        "2,10,ben,5,1.2,0,1,8.24,2021-11-20T19:44:20Z",
        "3,10,cleo,5,1.2,0,1,8.24,2021-11-20T19:44:21Z",
    ];
    let file = dir.path().join("bets.csv");
    std::fs::write(&file, rows.join("\n")).expect("written");
    let run = |base: &str| {
        let mut command = std::process::Command::new(program::PROGRAM);
        command.args(["feed", "push", "--json", "--batch", "2", "--url", base]).env("MLINZI_KEY", key);
        command.arg("--mapping").arg(format!("{MAPPINGS}/bustabit.toml")).arg("--tamper-key").arg(&secret).arg(&file);
        command.output().expect("the program runs")
    };
    let chain = async || {
        let listed = get(&client, format!("{}/api/v1/feeds", server.base), key).await;
        let found = &listed["items"][0]["integrity"];
        ["tokens", "last_batch", "refused"].map(|name| found[name].as_i64())
    };

    let cut = run(&losing(&server.base, 2));
    assert!(!cut.status.success(), "an answer was lost");
    assert_eq!(chain().await, [Some(2), Some(2), Some(0)], "and what it was to is stored");
    let again = run(&server.base);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let told = tally(&again);
    assert_eq!((&told["resent"], sum(&told, "accepted"), sum(&told, "duplicates")), (&1.into(), 2, 4), "{told}");
    assert_eq!(chain().await, [Some(5), Some(5), Some(0)], "it goes on where it was, without a gap");
    assert_eq!(tally(&run(&server.base))["resent"], 0);
    assert_eq!(chain().await, [Some(8), Some(8), Some(0)]);

    // whoever has lost where it stands cannot go on, and hears what to do
    std::fs::remove_dir_all(dir.path().join("secret.chains")).expect("it is there");
    let lost = run(&server.base);
    let said = String::from_utf8_lossy(&lost.stderr).into_owned();
    assert!(!lost.status.success() && said.contains("let staff begin it anew"), "{said}");
    assert_eq!(chain().await, [Some(8), Some(8), Some(1)]);
}

/// What the two files say themselves, read by another way: (records, stakes, payouts) in minor units.
fn totals(name: &str, file: &Path) -> (i64, i64, i64) {
    let bytes = std::fs::read(file).expect("the file");
    let text: String = bytes.iter().map(|b| char::from(*b)).collect();
    let minor = |cell: &str| (cell.parse::<f64>().expect("a number") * 100.0).round() as i64;
    text.lines().skip(1).filter(|line| !line.is_empty()).fold((0, 0, 0), |(n, stakes, payouts), line| {
        let cells: Vec<&str> = line.trim_end().split(',').collect();
        match name {
            "ny_weekly" => (n + 2, stakes + minor(cells[1]), payouts + minor(cells[1]) - minor(cells[2])),
            _ if cells[6] == "NA" => (n + 1, stakes + minor(cells[3]), payouts),
            _ => (n + 2, stakes + minor(cells[3]), payouts + minor(cells[3]) + minor(cells[6])),
        }
    })
}

async fn replay(store: &str, dir: &Path, data: &Path) -> Vec<Value> {
    let key = prepare(dir, store);
    let client = reqwest::Client::new();
    let server = serve(&client, dir, store).await;
    for (mapping, file) in [("bustabit", "bustabit_latin1_first10k.csv"), ("ny_weekly", "ny_weekly_handle_ggr.csv")] {
        let file = data.join(file);
        let out = push(&server, &key, mapping, &file);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let tally = tally(&out);
        let (records, stakes, payouts) = totals(mapping, &file);
        assert_eq!([sum(&tally, "accepted"), sum(&tally, "duplicates"), sum(&tally, "quarantined")], [records, 0, 0]);
        assert_eq!((sum(&tally, "stakes_minor"), sum(&tally, "payouts_minor")), (stakes, payouts), "{mapping}");
    }
    // alerts come after the answer; a graceful stop has drained every queue
    server.stop();
    let server = serve(&client, dir, store).await;
    let alerts = alerts(&client, &server, &key).await;
    drop(server);
    assert!(run(dir, store, &["audit", "verify"]).contains("\"first_bad\":null"));
    alerts
}

#[tokio::test]
async fn the_two_real_files_give_the_same_alerts_in_every_fresh_store() {
    let Some(data) = std::env::var_os("MLINZI_SHARED_DATA") else {
        // scripts/run-tests.sh says so before it starts
        return;
    };
    let data = PathBuf::from(data).join("ingest");
    let (one, two, three) = (testkit::temp_dir(), testkit::temp_dir(), testkit::temp_dir());
    let (first, second) = (testkit::Postgres::shared().database().await, testkit::Postgres::shared().database().await);
    let expected = replay(&first.url, one.path(), &data).await;
    assert!(!expected.is_empty(), "real markets have anomalies");
    assert!(expected == replay(&second.url, two.path(), &data).await, "two PostgreSQL stores differ");
    assert!(expected == replay(&testkit::sqlite_url(&three), three.path(), &data).await, "the embedded store differs");
}
