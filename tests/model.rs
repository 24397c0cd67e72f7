//! `mlinzi model` on files: what comes out, and that a run that fails leaves what was there.

mod program;

use program::play::drawn;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use store::{Clock as _, OpenOptions, Store, SystemClock};

fn mlinzi(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mlinzi")).arg("model").args(args).output().expect("it runs")
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

/// A week of five minutes each with a daily wave, and one hour that is ten times as much.
fn series(rows: usize) -> String {
    let mut text = "timestamp,value\n".to_owned();
    for n in 0..rows {
        let minute = n * 5;
        let wave = (n as f64 / 288.0 * std::f64::consts::TAU).sin();
        let value = if (1_800..1_812).contains(&n) { 5_000.0 } else { 500.0 + 100.0 * wave + (n * 7 % 11) as f64 };
        let (day, hour) = (1 + minute / 1_440, minute / 60 % 24);
        writeln!(text, "2026-01-{day:02} {hour:02}:{:02}:00,{value}", minute % 60).expect("a text");
    }
    text
}

fn scores(path: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(path).expect("read");
    text.lines().skip(1).map(|line| line.rsplit(',').next().and_then(|s| s.parse().ok()).expect("a score")).collect()
}

#[test]
fn a_series_comes_back_with_scores_that_later_rows_do_not_change() {
    let dir = tempfile::tempdir().expect("a folder");
    let whole = write(dir.path(), "whole.csv", &series(2_016));
    let part = write(dir.path(), "part.csv", &series(1_210));
    let (out, out_part) = (write(dir.path(), "out.csv", ""), write(dir.path(), "out_part.csv", ""));
    for (input, output) in [(&whole, &out), (&part, &out_part)] {
        let done = mlinzi(&["anomaly", "--input", input, "--output", output]);
        assert!(done.status.success(), "{}", said(&done));
    }
    let (all, first) = (scores(&out), scores(&out_part));
    assert_eq!((all.len(), first.len()), (2_016, 1_210));
    assert_eq!(all[..1_210], first[..]);
    assert!(all[1_800..1_812].iter().any(|score| *score >= 0.5), "{:?}", &all[1_800..1_812]);
    assert!(all[600..1_800].iter().all(|score| *score < 0.5));
}

#[test]
fn a_series_is_judged_at_a_wanted_rate_of_alerts() {
    let dir = tempfile::tempdir().expect("a folder");
    let input = write(dir.path(), "series.csv", &series(2_016));
    let judged = |rate: &[&str]| {
        let out = write(dir.path(), "out.csv", "");
        let done = mlinzi(&[&["anomaly", "--input", &input, "--output", &out][..], rate].concat());
        assert!(done.status.success(), "{rate:?}: {}", said(&done));
        scores(&out)
    };
    let usual = judged(&[]);
    assert_eq!(judged(&["--alert-rate", "0.3"]), usual, "the default's rate");
    let first = usual.iter().position(|score| *score >= 0.5).expect("an alert");
    // until the first alert both see the same, and the rarer it is to speak, the less a point is worth
    let seldom = judged(&["--alert-rate", "0.04"]);
    assert!(seldom.iter().zip(&usual).take(first).all(|(seldom, usual)| seldom <= usual));
    assert!(seldom[first] < usual[first], "{} and {}", seldom[first], usual[first]);
    let often = judged(&["--alert-rate", "1.7"]);
    assert!(often[..=first].iter().zip(&usual).any(|(often, usual)| often > usual));
}

#[test]
fn what_is_refused_names_row_and_column_and_leaves_the_output_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let bad = write(dir.path(), "bad.csv", "timestamp,value\n2026-01-01 00:00:00,1\nnever,2\n");
    let good = write(dir.path(), "good.csv", "timestamp,value\n2026-01-01 00:00:00,1\n");
    let series = write(dir.path(), "series.csv", "series_id,ds,y\na,2026-01-01,1\na,2026-02-01,x\n");
    let out = write(dir.path(), "out.csv", "as it was");
    let rate = "not 0.01 to 1.7 alerts in 1,000 points";
    let table: [(&[&str], &str); 9] = [
        (&["anomaly", "--input", &bad, "--output", &out], "row 2, column timestamp"),
        (&["anomaly", "--input", &good, "--output", &out, "--alert-rate", "0.009"], rate),
        (&["anomaly", "--input", &good, "--output", &out, "--alert-rate", "1.8"], rate),
        (&["anomaly", "--input", &good, "--output", &out, "--alert-rate", "-1"], rate),
        (&["anomaly", "--input", &good, "--output", &out, "--alert-rate", "NaN"], rate),
        (&["anomaly", "--input", &good, "--output", &out, "--alert-rate", "few"], rate),
        (&["forecast", "--train", &series, "--horizon", "3", "--period", "12", "--output", &out], "column y"),
        (&["forecast", "--train", &series, "--horizon", "0", "--period", "12", "--output", &out], "horizon 0"),
        (&["fraud", "--train", "/nowhere.csv", "--test", &bad, "--output", &out], "/nowhere.csv"),
    ];
    for (args, wanted) in table {
        let done = mlinzi(args);
        assert!(!done.status.success() && said(&done).contains(wanted), "{args:?}: {}", said(&done));
        assert_eq!(std::fs::read_to_string(&out).expect("read"), "as it was", "{args:?}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 4, "nothing beside it stays");
}

#[test]
fn a_model_is_learnt_kept_judged_and_described() {
    let dir = tempfile::tempdir().expect("a folder");
    // those who play at night and stake much
    let mut rows = "id,night,stake,noise,label\n".to_owned();
    for n in 0..600 {
        let (night, stake, noise) = (n % 2, n * 37 % 100, n * 13 % 17);
        writeln!(rows, "{n},{night},{stake},{noise},{}", usize::from(night == 1 && stake > 80)).expect("a text");
    }
    let (table, model) = (write(dir.path(), "table.csv", &rows), dir.path().join("model.json").display().to_string());
    let train = |more: &[&str]| {
        mlinzi(&[&["train", "--kind", "player_risk", "--train", &table, "--output", &model][..], more].concat())
    };
    // a span is two times in their order, or nothing
    let table_of_spans: [(&[&str], &str); 4] = [
        (&["--from", "2026-01-01T00:00:00Z"], "--to"),
        (&["--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T00:00:00Z"], "--to: is not after --from"),
        (&["--from", "January", "--to", "2026-01-01T00:00:00Z"], "--from: not an RFC 3339 time"),
        (&["--from", "2026-01-01T00:00:00Z", "--to", "2026-02-30T00:00:00Z"], "--to: not an RFC 3339 time"),
    ];
    for (span, wanted) in table_of_spans {
        let refused = train(span);
        assert!(!refused.status.success() && said(&refused).contains(wanted), "{span:?}: {}", said(&refused));
        assert!(!Path::new(&model).exists(), "{span:?}");
    }
    let learnt = train(&["--from", "2026-01-01T00:00:00Z", "--to", "2026-07-01T03:00:00+03:00"]);
    assert!(learnt.status.success(), "{}", said(&learnt));
    let window = "| training window | 2026-01-01T00:00:00.000Z to 2026-07-01T00:00:00.000Z |";
    assert!(said(&learnt).contains(window), "{}", said(&learnt));
    let judged = mlinzi(&["evaluate", "--model", &model, "--test", &table]);
    let metrics: serde_json::Value =
        serde_json::from_slice(&judged.stdout).unwrap_or_else(|_| panic!("{}", said(&judged)));
    assert!(metrics["auc"].as_f64() > Some(0.95), "{metrics}");
    // it says so where it is asked about what it has learnt from
    assert!(said(&judged).contains("600 of 600 rows that were compared"), "{}", said(&judged));
    let card = mlinzi(&["card", "--model", &model]);
    assert!(said(&card).contains("player_risk"), "{}", said(&card));
    // a damaged artefact is none
    let text = std::fs::read_to_string(&model).expect("read").replacen("stake", "steak", 1);
    std::fs::write(&model, text).expect("written");
    let refused = mlinzi(&["evaluate", "--model", &model, "--test", &table]);
    assert!(!refused.status.success() && said(&refused).contains("model.json"), "{}", said(&refused));
}

/// A table of what this program makes for transactions; large amounts against the mean are the risk.
fn transactions(rows: std::ops::Range<usize>) -> String {
    let names = engine::features::transaction::names();
    let mut text = format!("id,{},label\n", names.join(","));
    for n in rows {
        // each by itself: rhythms of the rows would be learnt in the place of the amount
        let drawn = |place| drawn(n, place) % 100;
        let amount = drawn(names.len());
        write!(text, "r{n}").expect("a text");
        for (place, name) in names.iter().enumerate() {
            let value = if *name == "amount_to_mean" { amount } else { drawn(place) };
            write!(text, ",{value}").expect("a text");
        }
        writeln!(text, ",{}", u8::from(amount + drawn(names.len() + 1) * 40 / 100 > 100)).expect("a text");
    }
    text
}

#[test]
fn a_model_goes_live_in_the_hands_of_two_people() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = format!("sqlite:{}", dir.path().join("store.db").display());
    program::prepare(dir.path(), &store);
    let (train, test) = (
        write(dir.path(), "train.csv", &transactions(0..600)),
        write(dir.path(), "test.csv", &transactions(600..1_500)),
    );
    let file = dir.path().join("model.json").display().to_string();
    let span = ["--from", "2026-01-01T00:00:00Z", "--to", "2027-01-01T00:00:00Z"];
    let learnt = mlinzi(
        &[&["train", "--kind", "transaction_risk", "--train", &train, "--output", &file][..], &span[..]].concat(),
    );
    assert!(learnt.status.success(), "{}", said(&learnt));
    let does = |args: &[&str]| program::attempt(dir.path(), &store, &[&["model"][..], args].concat());
    // what is tried | does it go | what is said
    let table: [(&[&str], bool, &str); 11] = [
        (&["list"], true, "figures_together        4 built_in"),
        (&["promote", "transaction_risk", "1", "--by", "Otieno"], false, "no such model"),
        (&["register", &file, "--by", "Wanjiku", "--test", &test], true, "version 1 is registered"),
        (&["register", &file, "--by", "Wanjiku"], false, "this artefact is registered"),
        (&["promote", "transaction_risk", "1", "--by", "Wanjiku"], false, "a second person"),
        (&["promote", "transaction_risk", "1", "--by", "Otieno"], true, "version 1 is promoted"),
        (&["list"], true, "promoted by Otieno"),
        (&["list"], true, "2026-01-01T00:00:00.000Z to 2027-01-01T00:00:00.000Z"),
        (&["promote", "anomaly", "1", "--by", "Otieno"], false, "not transaction_risk or player_risk"),
        (&["retire", "transaction_risk", "1", "--by", "Otieno", "--reason", "of old data"], true, "is retired"),
        (&["promote", "transaction_risk", "1", "--by", "Otieno"], false, "retired"),
    ];
    for (args, goes, wanted) in table {
        let (went, said) = does(args);
        assert!(went == goes && said.contains(wanted), "{args:?}: {said}");
    }
    let (_, listed) = does(&["list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!((&listed[0]["state"], &listed[0]["registered_by"]), (&"retired".into(), &"Wanjiku".into()));
    let window = serde_json::json!({"from": "2026-01-01T00:00:00.000Z", "to": "2027-01-01T00:00:00.000Z"});
    assert_eq!((&listed[0]["trained_on"], &listed[0]["built_in"]), (&window, &false.into()));
    // and what is part of the program, with its papers
    let built_in = listed.as_array().expect("a list").iter().filter(|model| model["built_in"] == true);
    let built_in: Vec<_> =
        built_in.map(|model| (model["kind"].as_str(), model["metrics"]["nab_dev_standard"].as_f64())).collect();
    assert_eq!(built_in, [(Some("anomaly"), Some(76.4)), (Some("figures_together"), None), (Some("forecast"), None)]);
    // nobody has decided anything yet: a table of its header alone, for its owner only, and in the journal
    let out = dir.path().join("rows.csv");
    let path = out.display().to_string();
    let order =
        [&["features", "--kind", "transaction", "--by", "Wanjiku", "--out", path.as_str()][..], &span[..]].concat();
    let (went, said) = does(&order);
    assert!(went && said.contains("\"rows\":0"), "{said}");
    let flags = "--kind transaction_risk --from 2026-01-01T00:00:00.000Z --to 2027-01-01T00:00:00.000Z";
    assert!(said.contains(flags), "{said}");
    let text = std::fs::read_to_string(&out).expect("read");
    assert!(text.starts_with("id,@group,@operator,@day,is_stake,") && text.ends_with(",label\n"), "{text}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&out).expect("a file").permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(!does(&order).0, "what is there stays");
    let (went, said) = program::attempt(dir.path(), &store, &["audit", "verify"]);
    assert!(went, "{said}");
}

/// An artefact in a file.
fn learnt(dir: &Path, train: &str, seed: &str) -> String {
    let file = dir.join(format!("model{seed}.json")).display().to_string();
    let learnt = mlinzi(&["train", "--kind", "transaction_risk", "--train", train, "--output", &file, "--seed", seed]);
    assert!(learnt.status.success(), "{}", said(&learnt));
    file
}

/// A validated version, registered by Wanjiku.
fn registered(dir: &Path, store: &str, (train, test): (&str, &str), seed: &str, wanjiku: [&str; 2]) {
    let file = learnt(dir, train, seed);
    program::run(dir, store, &[&["model", "register", &file, "--test", test][..], &wanjiku].concat());
}

#[test]
fn two_people_are_two_keys_where_there_are_keys() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let store = format!("sqlite:{}", dir.join("store.db").display());
    program::prepare(dir, &store);
    let train = write(dir, "train.csv", &transactions(0..600));
    let test = write(dir, "test.csv", &transactions(600..1_500));
    let file = learnt(dir, &train, "1");
    let [wanjiku, also_hers, otieno] = ["Wanjiku", " wanjiku", "Otieno"].map(|label| program::hand(dir, &store, label));
    let nobody = write(dir, "nobody.key", "mk_live_00000000000000000000000000_x");
    let own = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    std::fs::set_permissions(&nobody, own).expect("for its owner alone");
    let promote = ["promote", "transaction_risk", "1"];
    let evaluate = ["evaluate", "transaction_risk", "1", "--test", &test];
    // what is tried | who says it | does it go | what is said
    let table: [(&[&str], &[&str], bool, &str); 19] = [
        (&["register", &file], &[], false, "who gives the order"),
        (&["register", &file], &["--by", "Achieng"], true, "version 1 is registered"),
        (&promote, &["--key-file", &otieno], false, "never judged on a table of its own"),
        (&evaluate, &[], false, "who gives the order"),
        (&evaluate, &["--by", "Kamau"], true, "version 1 is judged"),
        // judged it is, and who registered it is a word
        (&promote, &["--by", "Otieno"], false, "a typed name proves nobody"),
        (&promote, &["--key-file", &otieno], false, "have it judged again"),
        (&evaluate, &["--key-file", &wanjiku], true, "version 1 is judged"),
        (&promote, &["--key-file", &wanjiku], false, "had a model judged"),
        (&promote, &["--key-file", &also_hers], false, "had a model judged"),
        (&promote, &["--key-file", &nobody], false, "the key is not valid"),
        (&promote, &["--key-file", &test], false, "chmod 600"),
        (&promote, &["--key-file", &otieno, "--by", "Otieno"], false, "cannot be used with"),
        (&promote, &["--key-file", &otieno], true, "version 1 is promoted"),
        (&evaluate, &["--key-file", &otieno], false, "scores already"),
        (&["evaluate", "transaction_risk", "9", "--test", &test], &["--key-file", &otieno], false, "no such model"),
        (&["evaluate", "--model", &file, "--test", &test], &["--by", "Kamau"], false, "nothing is written down"),
        (&["evaluate", "--model", &file, "--test", &test], &[], true, "average_precision"),
        (&["list"], &[], true, "Achieng, promoted by Otieno, judged by Wanjiku"),
    ];
    for (what, who, goes, wanted) in table {
        let (went, said) = program::attempt(dir, &store, &[&["model"][..], what, who].concat());
        assert!(went == goes && said.contains(wanted), "{what:?} {who:?}: {said}");
    }
    let listed: serde_json::Value =
        serde_json::from_str(&program::run(dir, &store, &["model", "list", "--json"])).expect("JSON");
    let [registered, judged] = [&listed[0]["registered_by_key"], &listed[0]["evaluated_by"]];
    assert_eq!((registered, &judged["name"]), (&serde_json::Value::Null, &"Wanjiku".into()));
    let (went, said) = program::attempt(dir, &store, &["audit", "verify"]);
    assert!(went, "{said}");
}

/// Forty alerts of the rule that hears the model, as its actor would store them.
async fn floods(url: &str) {
    let store = Store::open(url, &OpenOptions::default()).await.expect("the store opens");
    let at = SystemClock.now().0;
    for n in 0..40 {
        let sql = format!(
            "INSERT INTO rule_findings (finding_id, rule, version, mode, jurisdiction_no, operator_no, input_seq, window_start, window_end, kind, severity, at, seq, body) VALUES ('{n:032x}', 'risky_transaction', 1, 'live', 0, 1, {n}, {at}, {at}, 'raised', 'high', {at}, 0, '{{}}')"
        );
        store.execute_for_tests(&sql).await.expect("a finding");
    }
    store.close().await;
}

async fn goes_back(store: &str) {
    let dir = tempfile::tempdir().expect("a folder");
    program::prepare(dir.path(), store);
    let (train, test) = (
        write(dir.path(), "train.csv", &transactions(0..600)),
        write(dir.path(), "test.csv", &transactions(600..1_500)),
    );
    for seed in ["1", "2"] {
        registered(dir.path(), store, (&train, &test), seed, ["--by", "Wanjiku"]);
    }
    let does = |args: &[&str]| program::attempt(dir.path(), store, &[&["model"][..], args].concat());
    let back = ["rollback", "transaction_risk", "--by", "Wanjiku", "--reason", "it names everybody"];
    let table: [(&[&str], bool, &str); 10] = [
        (&back, false, "no version of this kind scores"),
        (&["promote", "transaction_risk", "1", "--by", "Otieno"], true, "version 1 is promoted"),
        (&back, false, "nothing scored before version 1"),
        (&["promote", "transaction_risk", "2", "--by", "Otieno"], true, "risky_transaction: nothing is known of it"),
        (&["rollback", "anomaly", "--by", "Wanjiku", "--reason", "x"], false, "not transaction_risk or player_risk"),
        (&["rollback", "transaction_risk", "--by", "Wanjiku", "--reason", " "], false, "/reason"),
        (&["rollback", "transaction_risk", "--by", "Wanjiku"], false, "--reason"),
        (&back, true, "version 1 scores again"),
        (&back, false, "the version before, 2, was itself gone back from"),
        (&["list"], true, "gone back from 2 to 1 by Wanjiku: it names everybody"),
    ];
    for (args, goes, wanted) in table {
        let (went, said) = does(args);
        assert!(went == goes && said.contains(wanted), "{args:?}: {said}");
    }
    let (_, listed) = does(&["list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed[0]["rollback"]["from"], 2);
    assert_eq!((&listed[0]["state"], &listed[1]["state"]), (&"promoted".into(), &"replaced".into()));

    // a running engine does the same for who may, and what is promoted in between is told of
    let wanjiku = program::hand(dir.path(), store, "Wanjiku");
    registered(dir.path(), store, (&train, &test), "3", ["--key-file", &wanjiku]);
    let bearer = program::run(
        dir.path(),
        store,
        &[
            "key",
            "create",
            "--label",
            "Otieno",
            "--rate",
            "1000",
            "--json",
            "--scope",
            "rules:manage",
            "--scope",
            "system:read",
        ],
    );
    let bearer: serde_json::Value = serde_json::from_str(&bearer).expect("JSON");
    let bearer = bearer["bearer"].as_str().expect("a bearer").to_owned();
    let client = reqwest::Client::new();
    let server = program::serve(&client, dir.path(), store).await;
    let path = |rest: &str| format!("{}/api/v1/models/transaction_risk/{rest}", server.base);
    let reason = || serde_json::json!({"reason": "the new product"}).to_string();
    let before = program::status(&client, path("rollback"), &bearer, reason()).await;
    assert_eq!(before, Some(409), "the version before was gone back from");
    assert_eq!(program::status(&client, path("3/promote"), &bearer, "{}".to_owned()).await, Some(200));
    for _ in 0..2 {
        // the same request again is the same act
        let request = client.post(path("rollback")).bearer_auth(&bearer).header("idempotency-key", "once");
        let request = request.header("content-type", "application/json").body(reason());
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200);
        let body = answer.bytes().await.expect("a body");
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((&body["version"], &body["state"]), (&1.into(), &"promoted".into()));
        let told = &body["rollback"];
        assert_eq!((&told["from"], &told["to"], &told["by"]), (&3.into(), &1.into(), &"Otieno".into()));
        assert_eq!(told["reason"], "the new product");
    }
    let read = program::get(&client, path("3"), &bearer).await;
    let acts: Vec<_> = read["history"].as_array().expect("a history").iter().map(|act| &act["act"]).collect();
    assert_eq!(acts, ["registered", "promoted", "rolled_back"]);
    assert_eq!((&read["model"]["state"], &read["model"]["rollback"]["to"]), (&"replaced".into(), &1.into()));

    // promoted once more, it brings about a flood: the engine goes back by itself, the first time it looks
    assert_eq!(program::status(&client, path("3/promote"), &bearer, "{}".to_owned()).await, Some(200));
    let read = program::get(&client, path("3"), &bearer).await;
    let live = &read["model"]["live"][0];
    assert_eq!((&live["rule"], &live["forecast"]["basis"]), (&"risky_transaction".into(), &"none".into()), "{read}");
    server.stop();
    floods(store).await;
    let server = program::serve(&client, dir.path(), store).await;
    let braked = async {
        loop {
            let path = format!("{}/api/v1/models/transaction_risk/1", server.base);
            let first = program::get(&client, path, &bearer).await;
            if first["model"]["state"] == "promoted" {
                return first;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let first = tokio::time::timeout(Duration::from_secs(60), braked).await.expect("it is taken back in time");
    let told = &first["model"]["rollback"];
    assert_eq!((&told["from"], &told["to"], &told["by"]), (&3.into(), &1.into(), &"the brake".into()), "{first}");
    let reason = told["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("risky_transaction: 40 alerts"), "{reason}");
    assert_eq!(first["model"]["live"], serde_json::json!([]), "what is gone back to is not watched");
    server.stop();
    let (went, said) = program::attempt(dir.path(), store, &["audit", "verify"]);
    assert!(went, "{said}");
}

#[tokio::test]
async fn one_person_goes_back_to_the_version_before_on_sqlite() {
    let dir = testkit::temp_dir();
    goes_back(&testkit::sqlite_url(&dir)).await;
}

#[tokio::test]
async fn one_person_goes_back_to_the_version_before_on_postgres() {
    let database = testkit::Postgres::shared().database().await;
    goes_back(&database.url).await;
}
