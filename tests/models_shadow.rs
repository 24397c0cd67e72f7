//! Versions of models in the shadow, and over stored history, on both stores: they say nothing, what they would have said is
//! counted by day however often the process is killed, and a promotion ends it.

mod program;

use engine::features::{Feature, player, transaction};
use engine::rules::facts;
use engine::rules::input::Input;
use engine::rules::ruleset::RuleSet;
use engine::rules::run::OperatorRules;
use jiff::tz::TimeZone;
use ml::tabular::artefact::{Artefact, Kind};
use ml::tabular::batch;
use models::ids::OperatorNo;
use models::rule_input::RuleInput;
use models::score::RecordsScored;
use models::ts::{DAY, Ts};
use program::play::{day, table};
use program::{Server, attempt, get, hand, post, prepare, run, serve, serve_with, status};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use store::{OpenOptions, RuleInputRow, Store};

const PATIENCE: Duration = Duration::from_secs(90);
const OPERATOR: OperatorNo = OperatorNo(1);
/// All that is pushed lies in it.
const SPAN: [&str; 2] = ["2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z"];
/// Records of a day that have a vector.
const DAY_ROWS: u64 = 43;
/// The first of the days in Nairobi.
const FIRST_DAY: &str = "2025-12-31T21:00:00Z";

/// Learns, registers with a key of Wanjiku, with a table of its own to be validated on.
fn register(dir: &Path, store: &str, kind: Kind, features: &[Feature], risky: (&str, f64)) -> Artefact {
    let (train, test) = (table(features, risky.0, risky.1, 0..600), table(features, risky.0, risky.1, 600..1_200));
    let artefact = batch::train(kind, train.as_bytes(), None, 1).expect("learnt");
    let (file, rows) = (dir.join("model.json"), dir.join("test.csv"));
    let mut document = Vec::new();
    artefact.write(&mut document).expect("written");
    std::fs::write(&file, document).expect("a file");
    std::fs::write(&rows, test).expect("a file");
    let path = |path: &Path| path.display().to_string();
    let key = hand(dir, store, "Wanjiku");
    run(dir, store, &["model", "register", &path(&file), "--test", &path(&rows), "--key-file", &key]);
    artefact
}

/// Does a score count, where no rule was changed?
fn is_high(score: Option<u32>) -> bool {
    score >= Some(500_000)
}

fn bearer(dir: &Path, store: &str, label: &str) -> String {
    let args = [
        "key",
        "create",
        "--label",
        label,
        "--rate",
        "1000",
        "--json",
        "--scope",
        "rules:manage",
        "--scope",
        "alerts:manage",
    ];
    let made: Value = serde_json::from_str(&run(dir, store, &args)).expect("JSON");
    made["bearer"].as_str().expect("a bearer").to_owned()
}

struct Market<'a> {
    client: reqwest::Client,
    key: String,
    source: String,
    days: usize,
    store: &'a Store,
}

impl Market<'_> {
    /// A day, what the rules have heard of it, and what the promoted version said of it.
    async fn push(&mut self, base: &str) {
        self.push_alone(base).await;
        let scored = async {
            while !self.is_newest_scored().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, scored).await.expect("a batch is scored in time");
    }

    /// A day, and what the rules have heard of it: its scores follow a commit later.
    async fn push_alone(&mut self, base: &str) {
        assert!(self.days < 28, "a month is enough");
        let path = format!("{base}/api/v1/feeds/{}/records", self.source);
        post(&self.client, path, &self.key, day(self.days)).await.expect("a push");
        self.days += 1;
        let heard = async {
            while self.inputs().await.0 < self.days {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.expect("a batch is heard in time");
    }

    /// Are the scores of the newest batch stored?
    async fn is_newest_scored(&self) -> bool {
        let rows = self.rows().await;
        let newest = rows.iter().rev().find(|row| matches!(row.input, RuleInput::Batch { .. }));
        let of = newest.expect("a batch was heard").input_seq;
        rows.iter().any(|row| matches!(&row.input, RuleInput::RecordsScored(scored) if scored.of == of))
    }

    async fn rows(&self) -> Vec<RuleInputRow> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let rows = self.store.rule_inputs(OPERATOR, after, 50).await.expect("inputs");
            let Some(last) = rows.last() else { return all };
            after = last.input_seq;
            all.extend(rows);
        }
    }

    /// How many batches the rules have heard, and what was scored for all to hear: records, and how often players.
    async fn inputs(&self) -> (usize, Vec<RecordsScored>, usize) {
        let (mut batches, mut records, mut players) = (0, Vec::new(), 0);
        for row in self.rows().await {
            match row.input {
                RuleInput::Batch { .. } => batches += 1,
                RuleInput::RecordsScored(scored) => records.push(RecordsScored::clone(&scored)),
                RuleInput::PlayersScored(_) => players += 1,
                _ => {}
            }
        }
        (batches, records, players)
    }

    /// What versions say of every record of each day, worked out anew from what is stored; and, behind theirs, what was
    /// heard of it.
    async fn scores(&self, of: [&Artefact; 2]) -> Vec<Vec<[Option<u32>; 3]>> {
        let zone = TimeZone::get("Africa/Nairobi").expect("a zone");
        let set = RuleSet::standard("KE");
        let mut rules = OperatorRules::new(OPERATOR, zone, &set);
        let mut features = transaction::Extractor::new(transaction::Params::of(&set));
        let (_, heard, _) = self.inputs().await;
        let mut days = Vec::new();
        for row in self.rows().await {
            let Some(batch) = &row.batch else { continue };
            let known = facts::unpack(batch.facts.as_deref().expect("facts"), batch.records.len()).expect("facts");
            let heard = heard.iter().find(|scored| scored.of == row.input_seq);
            let mut day = Vec::new();
            for (place, (record, facts)) in batch.records.iter().zip(&known).enumerate() {
                let (mut vector, mut there) = ([0.0; transaction::WIDTH], false);
                rules.hear_and(&Input::Play { record, facts }, &mut Vec::new(), |heard| {
                    there = features.hear(heard, &mut vector);
                });
                assert!(there, "{record:?}");
                let wide = vector.map(f64::from);
                let [one, other] =
                    of.map(|artefact| Some((artefact.model.score(&wide).clamp(0.0, 1.0) * 1e6).round() as u32));
                day.push([one, other, heard.and_then(|scored| scored.scores.0[place])]);
            }
            days.push(day);
        }
        days
    }

    /// What a version would have said.
    async fn shadow(&self, server: &Server, which: &str) -> Value {
        let [from, to] = SPAN;
        get(&self.client, format!("{}/api/v1/models/{which}/shadow?from={from}&to={to}", server.base), &self.key).await
    }

    /// Pushes days until so many of a version are counted.
    async fn until_counted(&mut self, server: &Server, which: &str, wanted: usize) -> Value {
        loop {
            let read = self.shadow(server, which).await;
            if read["days"].as_array().map_or(0, Vec::len) >= wanted {
                return read;
            }
            self.push(&server.base).await;
            for _ in 0..10 {
                let now = self.shadow(server, which).await;
                if now["days"] != read["days"] {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// How many rows two versions had, and both of them.
fn had<'a>(rows: impl IntoIterator<Item = &'a [Option<u32>; 3]>, which: usize) -> [u64; 3] {
    rows.into_iter().fold([0; 3], |[version, live, both], row| {
        let (is_high, is_live_high) = (is_high(row[which]), is_high(row[2]));
        [version + u64::from(is_high), live + u64::from(is_live_high), both + u64::from(is_high && is_live_high)]
    })
}

/// What the engine says where it has taken a version up.
const PROMOTED: &str = "this version of the model scores";
const SHADOWED: &str = "this version of the model scores in the shadow";

/// Waits until the engine has said so of a version: what is heard from then on is scored by it.
async fn taken_up(dir: &Path, said: &str, (kind, version): (&str, u32)) {
    let is_it = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        (&line["message"], &line["kind"], &line["version"]) == (&json!(said), &json!(kind), &json!(version))
    };
    let taken = async {
        while !std::fs::read_to_string(dir.join("log")).expect("a log").lines().any(is_it) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("a version is taken up in time");
}

async fn check(url: &str) {
    let dir = testkit::temp_dir();
    let dir = dir.path();
    let key = prepare(dir, url);
    let client = reqwest::Client::new();
    let says = [("MLINZI__LOG__LEVEL", "info"), ("MLINZI__LOG__FORMAT", "json")];
    let mut server = serve_with(&client, dir, url, &says).await;
    let operator = json!({"code": "alpha", "name": "Alpha"}).to_string();
    let made = post(&client, format!("{}/api/v1/operators/register", server.base), &key, operator).await;
    let id = made.expect("an operator")["id"].as_str().expect("an id").to_owned();
    let source = json!({"operator": id, "name": "play", "class": "gaming_transactions", "kind": "push",
        "clock": "event", "horizon_days": 60, "currency": "KES"});
    let made = post(&client, format!("{}/api/v1/feeds", server.base), &key, source.to_string()).await;
    let source = made.expect("a source")["id"].as_str().expect("an id").to_owned();
    let store = Store::open(url, &OpenOptions::default()).await.expect("the store opens beside the engine");
    let mut market = Market { client: client.clone(), key, source, days: 0, store: &store };

    let first = register(dir, url, Kind::TransactionRisk, transaction::FEATURES, ("is_withdrawal", 0.5));
    let second = register(dir, url, Kind::TransactionRisk, transaction::FEATURES, ("is_deposit", 0.5));
    register(dir, url, Kind::PlayerRisk, player::FEATURES, ("bets_day_1m", 20.0));
    let [wanjiku, otieno] = ["Wanjiku", "Otieno"].map(|label| bearer(dir, url, label));
    let act = |server: &Server, which: &str, act: &str| format!("{}/api/v1/models/{which}/{act}", server.base);
    for key in [&wanjiku, &otieno] {
        let unknown = || act(&server, "transaction_risk/9", "promote");
        let known = async {
            while status(&client, unknown(), key, "{}".to_owned()).await == Some(401) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, known).await.expect("the key is known in time");
    }
    let why = || json!({"reason": "learnt anew"}).to_string();
    let none = || "{}".to_owned();
    // which | what | body | status: one person is enough, one of a kind at a time
    for (which, what, body, wanted) in [
        ("transaction_risk/1", "promote", none(), 200),
        ("transaction_risk/1", "shadow", why(), 409),
        ("transaction_risk/2", "shadow", none(), 422),
        ("transaction_risk/2", "unshadow", why(), 409),
        ("transaction_risk/2", "shadow", why(), 200),
        ("transaction_risk/2", "shadow", why(), 409),
        ("player_risk/1", "shadow", why(), 200),
    ] {
        let key = if what == "promote" { &otieno } else { &wanjiku };
        assert_eq!(status(&client, act(&server, which, what), key, body).await, Some(wanted), "{which} {what}");
    }
    taken_up(dir, PROMOTED, ("transaction_risk", 1)).await;
    taken_up(dir, SHADOWED, ("transaction_risk", 2)).await;
    taken_up(dir, SHADOWED, ("player_risk", 1)).await;

    // beside the promoted one: it has deposits, the promoted one withdrawals
    let read = market.until_counted(&server, "transaction_risk/2", 3).await;
    assert_eq!((&read["shadow"]["by"], &read["shadow"]["reason"]), (&json!("Wanjiku"), &json!("learnt anew")));
    let scores = market.scores([&first, &second]).await;
    let began = Ts::parse(FIRST_DAY).expect("a time");
    for day in read["days"].as_array().expect("days") {
        let begins = Ts::parse(day["day"].as_str().expect("a time")).expect("a time");
        let [high, live_high, both] = had(&scores[((begins.0 - began.0) / DAY) as usize], 1);
        let names = ["rows", "rows_beside", "high", "live_high", "both_high", "only_shadow", "only_live"];
        let wanted = [DAY_ROWS, DAY_ROWS, high, live_high, both, high - both, live_high - both];
        assert_eq!(names.map(|name| day[name].as_u64()), wanted.map(Some), "{day}");
        assert!(high > 0 && live_high > 0, "both have something: {day}");
        assert_eq!((&day["operator_code"], &day["bound"], &day["beside"]), (&json!("alpha"), &json!(0.5), &json!([1])));
    }
    let examples = read["examples"].as_array().expect("examples");
    let deposit = examples.iter().find(|one| one["record_id"].as_str().is_some_and(|id| id.ends_with("-2-0")));
    let deposit = deposit.unwrap_or_else(|| panic!("{examples:?}"));
    assert!(deposit["probability"].as_f64() >= Some(0.5) && deposit["live_probability"].as_f64() < Some(0.5));
    assert!(deposit["reasons"].to_string().contains("is_deposit"), "{deposit}");

    // where none is promoted: who plays much
    let read = market.until_counted(&server, "player_risk/1", 2).await;
    let days = read["days"].as_array().expect("days");
    assert!(
        days.iter()
            .all(|day| (&day["rows"], &day["rows_beside"], &day["live_high"]) == (&json!(2), &json!(0), &json!(0))),
        "{read}"
    );
    assert!(read["total"]["high"].as_u64() > Some(0) && read["examples"][0]["record_id"].is_null(), "{read}");

    // nobody hears of either: no score of theirs is an input, nobody has a level of risk
    let (_, scored, players) = market.inputs().await;
    assert!(!scored.is_empty() && scored.iter().all(|one| one.version == 1) && players == 0);
    let listed = format!("{}/api/v1/operators/{id}/players-at-risk?level=low", server.base);
    assert_eq!(get(&client, listed, &market.key).await["items"], json!([]));

    // killed in the middle it goes on, and what was counted stays
    for _ in 0..2 {
        let before = market.shadow(&server, "transaction_risk/2").await;
        market.push_alone(&server.base).await;
        server.child.kill().expect("kill -9");
        drop(server);
        server = serve(&client, dir, url).await;
        let counted = before["days"].as_array().map_or(0, Vec::len);
        let after = market.until_counted(&server, "transaction_risk/2", counted + 1).await;
        let days = |read: &Value| read["days"].as_array().cloned().unwrap_or_default();
        assert!(days(&before).iter().all(|day| days(&after).contains(day)), "{before} {after}");
        let begins: BTreeSet<_> = days(&after).iter().map(|day| day["day"].to_string()).collect();
        assert_eq!(begins.len(), days(&after).len(), "each day once");
    }

    // what people confirm is held against it
    let groups = format!("{}/api/v1/alerts/groups?rule=risky_transaction", server.base);
    let group = async {
        loop {
            let listed = get(&client, groups.clone(), &market.key).await;
            if let Some(id) = listed["items"][0]["id"].as_str() {
                return id.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let group = tokio::time::timeout(PATIENCE, group).await.expect("a group in time");
    let resolve = format!("{}/api/v1/alerts/{group}/resolve", server.base);
    assert_eq!(status(&client, resolve, &wanjiku, json!({"reason": "confirmed"}).to_string()).await, Some(200));
    let resolved = market.shadow(&server, "transaction_risk/2").await["resolved"].clone();
    assert!(resolved["confirmed"]["alerts"].as_u64() > Some(0), "{resolved}");
    let scores = market.scores([&first, &second]).await;
    let [_, _, both] = had(scores.iter().flatten(), 1);
    let also = resolved["confirmed"]["also"].as_u64().expect("a number");
    assert!(also <= both, "{both}: {resolved}");
    assert_eq!(resolved["false_alarms"]["alerts"], 0);

    // its promotion ends it, and what it says is heard from then on
    assert_eq!(status(&client, act(&server, "transaction_risk/2", "promote"), &otieno, none()).await, Some(200));
    assert_eq!(status(&client, act(&server, "player_risk/1", "unshadow"), &wanjiku, why()).await, Some(200));
    for which in ["transaction_risk/2", "player_risk/1"] {
        assert_eq!(market.shadow(&server, which).await["shadow"], Value::Null, "{which}");
    }
    let promoted = async {
        while market.inputs().await.1.last().is_none_or(|one| one.version != 2) {
            market.push(&server.base).await;
        }
    };
    tokio::time::timeout(PATIENCE, promoted).await.expect("it scores in time");
    let counted = market.shadow(&server, "transaction_risk/2").await["days"].as_array().map_or(0, Vec::len);
    // the day on which it ended is told with the next one
    for _ in 0..2 {
        market.push(&server.base).await;
    }
    let now = market.shadow(&server, "transaction_risk/2").await["days"].as_array().map_or(0, Vec::len);
    assert!(now <= counted + 1, "{counted} days, then {now}");
    // every batch behind the promotion has its scores before they are read
    let settled = async {
        while market.scores([&first, &second]).await.last().is_none_or(|day| day.iter().any(|row| row[2].is_none())) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("the last batch is scored in time");
    let scores = market.scores([&first, &second]).await;
    over_history(dir, url, (&market, &server), &scores).await;
    server.stop();
    // whoever computes it once more hears what was heard: nothing of a shadow is an input
    let said = run(dir, url, &["replay", "--from", SPAN[0], "--to", SPAN[1]]);
    let mut lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.find(|line| line["rules_of"] == "alpha").expect("its rules");
    assert!(line["findings"].as_u64() > Some(0) && line["differences"] == 0, "{line}");
    let (went, said) = attempt(dir, url, &["audit", "verify"]);
    assert!(went, "{said}");
    store.close().await;
}

/// Versions over all that was pushed, beside the running engine. `scores`: theirs by day, and what was heard.
async fn over_history(
    dir: &Path,
    url: &str,
    (market, server): (&Market<'_>, &Server),
    scores: &[Vec<[Option<u32>; 3]>],
) {
    let span = ["--from", SPAN[0], "--to", SPAN[1]];
    let backtest = |which: [&str; 2], more: &[&str]| {
        let said = run(dir, url, &[&["model", "backtest"][..], &which, &span, &["--json"], more].concat());
        serde_json::from_str::<Value>(&said).unwrap_or_else(|_| panic!("{said}"))
    };
    let number = |of: &Value, name: &str| of[name].as_u64().unwrap_or_else(|| panic!("{name} of {of}"));
    let days = scores.len() as u64;
    let beside = scores.iter().flatten().filter(|row| row[2].is_some()).count() as u64;
    for (which, version) in ["1", "2"].into_iter().enumerate() {
        let tried = backtest(["transaction_risk", version], &[]);
        let total = &tried["total"];
        let [high, live_high, both] = had(scores.iter().flatten(), which);
        let names = ["rows", "operator_days", "rows_beside", "high", "live_high", "both_high"];
        let wanted = [DAY_ROWS * days, days, beside, high, live_high, both];
        assert_eq!(names.map(|name| number(total, name)), wanted, "version {version}: {total}");
        assert_eq!(total["live_versions"], json!([1, 2]));
        let a_day = total["high_per_operator_day"].as_f64().expect("a rate");
        assert!((a_day - high as f64 / days as f64).abs() < 1e-9, "{total}");
        assert_eq!(tried["operators"]["alpha"], *total);
        let (confirmed, false_alarms) = (&total["confirmed"], &total["false_alarms"]);
        assert!(number(confirmed, "rows") > 0 && number(false_alarms, "rows") == 0, "{total}");
        assert_eq!(confirmed["live"], confirmed["rows"], "people decided about what was named: {total}");
        assert!(number(confirmed, "version") <= both, "{total}");
        let examples = tried["examples"].as_array().expect("examples");
        assert_eq!(examples.len() as u64, (high - both).min(20), "{tried}");
        for example in examples {
            assert!(example["operator"] == "alpha" && example["score_ppm"].as_u64() >= Some(500_000), "{example}");
            assert!(example["reasons"].as_array().is_some_and(|reasons| !reasons.is_empty()), "{example}");
        }
    }
    let all = backtest(["transaction_risk", "2"], &["--bound", "1", "--operator", "alpha"]);
    let from_one = scores.iter().flatten().filter(|row| row[1] >= Some(1)).count() as u64;
    assert_eq!(number(&all["total"], "high"), from_one, "a bound of one's own");

    // players by the ends of their days; the last day is not over
    let players = backtest(["player_risk", "1"], &[]);
    let total = &players["total"];
    assert_eq!((number(total, "rows"), number(total, "rows_beside")), (2 * (days - 1), 0), "{total}");
    assert!(number(total, "high") > 0, "{total}");

    let text = run(dir, url, &[&["model", "backtest", "transaction_risk", "2"][..], &span].concat());
    for wanted in ["alpha ", "total ", "confirmed: ", "false alarms: 0 scored", "is_deposit"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let early = ["--from", "2025-01-01T00:00:00Z", "--to", "2025-02-01T00:00:00Z"];
    let long = ["--from", "2026-01-01T00:00:00Z", "--to", "2026-05-01T00:00:00Z"];
    // what is asked | does it go | what is said
    let table: [(&[&str], &[&str], bool, &str); 7] = [
        (&["transaction_risk", "9"], &span, false, "no version 9 of transaction_risk"),
        (&["anomaly", "1"], &span, false, "not transaction_risk or player_risk"),
        (&["transaction_risk", "2", "--operator", "nobody"], &span, false, "no operator nobody"),
        (&["transaction_risk", "2", "--bound", "0"], &span, false, "--bound"),
        (&["transaction_risk", "2"], &long, false, "more than 92 days"),
        (&["transaction_risk", "2"], &[span[2], span[3], span[0], span[3]], false, "is not after --from"),
        (&["transaction_risk", "2"], &early, true, "nothing was scored"),
    ];
    for (which, span, goes, wanted) in table {
        let (went, said) = attempt(dir, url, &[&["model", "backtest"][..], which, span].concat());
        assert!(went == goes && said.contains(wanted), "{which:?} {span:?}: {said}");
    }
    // the engine beside it never noticed
    let ready = market.client.get(format!("{}/health/ready", server.base)).send().await.expect("an answer");
    assert!(ready.status().is_success());
}

#[test]
fn the_command_begins_and_ends_a_shadow() {
    let dir = testkit::temp_dir();
    let (dir, url) = (dir.path(), testkit::sqlite_url(&dir));
    prepare(dir, &url);
    register(dir, &url, Kind::TransactionRisk, transaction::FEATURES, ("is_withdrawal", 0.5));
    register(dir, &url, Kind::TransactionRisk, transaction::FEATURES, ("is_deposit", 0.5));
    // what is done with a version | does it go | what is said
    for (what, version, reason, goes, wanted) in [
        ("unshadow", "1", "why", false, "not in the shadow"),
        ("shadow", "9", "why", false, "no such model"),
        ("shadow", "1", " ", false, "/reason"),
        ("shadow", "1", "why", true, "transaction_risk version 1 scores in the shadow"),
        ("shadow", "2", "why", false, "version 1 is in the shadow"),
        ("unshadow", "1", "seen enough", true, "transaction_risk version 1 is out of the shadow"),
        ("shadow", "2", "the new product", true, "transaction_risk version 2 scores in the shadow"),
    ] {
        let order = ["model", what, "transaction_risk", version, "--by", "Wanjiku", "--reason", reason];
        let (went, said) = attempt(dir, &url, &order);
        assert!(went == goes && said.contains(wanted), "{what} {version}: {said}");
    }
    assert!(run(dir, &url, &["model", "list"]).contains("in the shadow by Wanjiku"));
    let listed: Value = serde_json::from_str(&run(dir, &url, &["model", "list", "--json"])).expect("JSON");
    assert_eq!((&listed[0]["shadow"], &listed[1]["shadow"]["reason"]), (&Value::Null, &json!("the new product")));
    // promoted, it is out of it
    let otieno = hand(dir, &url, "Otieno");
    run(dir, &url, &["model", "promote", "transaction_risk", "2", "--key-file", &otieno]);
    assert!(!run(dir, &url, &["model", "list"]).contains("in the shadow"));
    // and so it is where somebody goes back to it
    run(dir, &url, &["model", "promote", "transaction_risk", "1", "--key-file", &otieno]);
    run(dir, &url, &["model", "shadow", "transaction_risk", "2", "--by", "Wanjiku", "--reason", "what was missed"]);
    assert!(run(dir, &url, &["model", "list"]).contains("in the shadow by Wanjiku"));
    let back = run(dir, &url, &["model", "rollback", "transaction_risk", "--by", "Wanjiku", "--reason", "too many"]);
    assert!(back.contains("transaction_risk version 2 scores again"), "{back}");
    assert!(!run(dir, &url, &["model", "list"]).contains("in the shadow"));
    let span = ["--from", SPAN[0], "--to", SPAN[1]];
    let (went, said) = attempt(dir, &url, &[&["model", "backtest", "transaction_risk", "2"][..], &span].concat());
    assert!(went && said.contains("nothing was scored"), "{said}");
}

/// Waits until the figure of versions in the shadow that cannot be read is this, of one kind.
async fn until_not_scoring(client: &reqwest::Client, base: &str, staff: &str, (kind, wanted): (&str, u32)) {
    let line = format!("mlinzi_model_shadow_not_scoring{{jurisdiction=\"KE\",kind=\"{kind}\"}} {wanted}\n");
    let shown = async {
        loop {
            let answer = client.get(format!("{base}/metrics")).bearer_auth(staff).send().await.expect("an answer");
            if answer.text().await.expect("a text").contains(&line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, shown).await.unwrap_or_else(|_| panic!("{line} in time"));
}

#[tokio::test]
async fn a_version_in_the_shadow_that_cannot_be_read_is_shown_until_it_is_out_of_it() {
    let dir = testkit::temp_dir();
    let (dir, url) = (dir.path(), testkit::sqlite_url(&dir));
    let staff = prepare(dir, &url);
    register(dir, &url, Kind::TransactionRisk, transaction::FEATURES, ("is_withdrawal", 0.5));
    let order = |what| ["model", what, "transaction_risk", "1", "--by", "Wanjiku", "--reason", "why"];
    run(dir, &url, &order("shadow"));
    let store = Store::open(&url, &OpenOptions::default()).await.expect("the store opens");
    assert!(store.execute_for_tests("DELETE FROM model_chunks").await.expect("its bytes are gone") > 0);
    store.close().await;
    let client = reqwest::Client::new();
    let server = serve(&client, dir, &url).await;
    for wanted in [("transaction_risk", 1), ("player_risk", 0)] {
        until_not_scoring(&client, &server.base, &staff, wanted).await;
    }
    run(dir, &url, &order("unshadow"));
    until_not_scoring(&client, &server.base, &staff, ("transaction_risk", 0)).await;
    server.stop();
}

#[tokio::test]
async fn a_version_scores_in_the_shadow_on_sqlite() {
    let dir = testkit::temp_dir();
    check(&testkit::sqlite_url(&dir)).await;
}

#[tokio::test]
async fn a_version_scores_in_the_shadow_on_postgres() {
    let database = testkit::Postgres::shared().database().await;
    check(&database.url).await;
}
