//! Versions of models in the shadow, and over stored history, on both stores: they say nothing, what they would have said is
//! counted by day however often the process is killed, and a promotion ends it.

mod program;

use engine::features::{Feature, player, transaction};
use ml::tabular::artefact::Kind;
use ml::tabular::batch;
use models::ids::OperatorNo;
use models::rule_input::RuleInput;
use models::score::RecordsScored;
use program::{Server, attempt, get, phone, post, prepare, run, serve, status};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use store::{OpenOptions, Store};

const PATIENCE: Duration = Duration::from_secs(90);
const OPERATOR: OperatorNo = OperatorNo(1);
/// All that is pushed lies in it.
const SPAN: [&str; 2] = ["2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z"];
/// Records of a day that have a vector.
const DAY_ROWS: u64 = 43;

/// Rows in which one feature says nearly everything.
fn table(features: &[Feature], risky: &str, from: f64, rows: std::ops::Range<usize>) -> String {
    let mut text = "id".to_owned();
    features.iter().for_each(|feature| write!(text, ",{}", feature.name).expect("a text"));
    text.push_str(",label\n");
    for n in rows {
        write!(text, "r{n}").expect("a text");
        // each feature by itself: one that followed another would be learnt in its place
        let drawn = |place: usize| {
            let mixed = ((n << 32 | place) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed >> 33) % 101
        };
        let mut is_risky = false;
        for (place, feature) in features.iter().enumerate() {
            if feature.name == risky {
                let value = f64::from(u8::from(drawn(place) < 40)) * 2.0 * from;
                is_risky = value >= from;
                write!(text, ",{value}").expect("a text");
            } else if drawn(place) % 4 == 0 {
                text.push(',');
            } else {
                write!(text, ",{}", drawn(place)).expect("a text");
            }
        }
        // one of fifty is not as it looks
        writeln!(text, ",{}", u8::from(is_risky != (n % 50 == 0))).expect("a text");
    }
    text
}

/// Learns, registers as Wanjiku, with a table of its own to be validated on.
fn register(dir: &Path, store: &str, kind: Kind, features: &[Feature], risky: (&str, f64)) {
    let (train, test) = (table(features, risky.0, risky.1, 0..600), table(features, risky.0, risky.1, 600..1_200));
    let artefact = batch::train(kind, train.as_bytes(), None, 1).expect("learnt");
    let (file, rows) = (dir.join("model.json"), dir.join("test.csv"));
    let mut document = Vec::new();
    artefact.write(&mut document).expect("written");
    std::fs::write(&file, document).expect("a file");
    std::fs::write(&rows, test).expect("a file");
    let path = |path: &Path| path.display().to_string();
    run(dir, store, &["model", "register", &path(&file), "--test", &path(&rows), "--by", "Wanjiku"]);
}

fn bearer(dir: &Path, store: &str, label: &str) -> String {
    let args = ["key", "create", "--label", label, "--rate", "1000", "--json", "--scope", "rules:manage"];
    let made: Value = serde_json::from_str(&run(dir, store, &args)).expect("JSON");
    made["bearer"].as_str().expect("a bearer").to_owned()
}

/// A day of play: one plays much, the other pays in, plays a little, and takes money out.
fn day(day: usize) -> String {
    let record = |who: usize, n: usize, kind: &str, amount: i64| {
        json!({"record_id": format!("{day}-{who}-{n}"), "kind": kind,
            "occurred_at": format!("2026-01-{:02}T10:{:02}:{:02}Z", 1 + day, n, who),
            "player": {"phone": phone(10_000_000 + who)}, "money": {"amount_minor": amount, "currency": "KES"}})
    };
    let much = (0..40).map(|n| record(1, n, "stake", 5_000));
    let little = [record(2, 0, "deposit", 90_000), record(2, 1, "stake", 100), record(2, 2, "withdrawal", 80_000)];
    much.chain(little).map(|record| record.to_string()).collect::<Vec<_>>().join("\n")
}

struct Market<'a> {
    client: reqwest::Client,
    key: String,
    source: String,
    days: usize,
    store: &'a Store,
}

impl Market<'_> {
    /// A day, and what the rules have heard of it.
    async fn push(&mut self, base: &str) {
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
        // scores follow a commit later
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    /// How many batches the rules have heard, and what was scored for all to hear: records, and how often players.
    async fn inputs(&self) -> (usize, Vec<RecordsScored>, usize) {
        let (mut batches, mut records, mut players, mut after) = (0, Vec::new(), 0, 0);
        loop {
            let rows = self.store.rule_inputs(OPERATOR, after, 50).await.expect("inputs");
            let Some(last) = rows.last() else { return (batches, records, players) };
            after = last.input_seq;
            for row in rows {
                match row.input {
                    RuleInput::Batch { .. } => batches += 1,
                    RuleInput::RecordsScored(scored) => records.push(RecordsScored::clone(&scored)),
                    RuleInput::PlayersScored(_) => players += 1,
                    _ => {}
                }
            }
        }
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
        }
    }
}

async fn check(url: &str) {
    let dir = testkit::temp_dir();
    let dir = dir.path();
    let key = prepare(dir, url);
    let client = reqwest::Client::new();
    let mut server = serve(&client, dir, url).await;
    let operator = json!({"code": "alpha", "name": "Alpha"}).to_string();
    let made = post(&client, format!("{}/api/v1/operators/register", server.base), &key, operator).await;
    let id = made.expect("an operator")["id"].as_str().expect("an id").to_owned();
    let source = json!({"operator": id, "name": "play", "class": "gaming_transactions", "kind": "push",
        "clock": "event", "horizon_days": 60, "currency": "KES"});
    let made = post(&client, format!("{}/api/v1/feeds", server.base), &key, source.to_string()).await;
    let source = made.expect("a source")["id"].as_str().expect("an id").to_owned();
    let store = Store::open(url, &OpenOptions::default()).await.expect("the store opens beside the engine");
    let mut market = Market { client: client.clone(), key, source, days: 0, store: &store };

    register(dir, url, Kind::TransactionRisk, transaction::FEATURES, ("is_withdrawal", 0.5));
    register(dir, url, Kind::TransactionRisk, transaction::FEATURES, ("is_deposit", 0.5));
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
    tokio::time::sleep(Duration::from_secs(1)).await;

    // beside the promoted one: it has deposits, the promoted one withdrawals
    let read = market.until_counted(&server, "transaction_risk/2", 3).await;
    assert_eq!((&read["shadow"]["by"], &read["shadow"]["reason"]), (&json!("Wanjiku"), &json!("learnt anew")));
    let whole = |read: &Value| {
        let days = read["days"].as_array().expect("days").clone();
        days.into_iter().filter(|day| day["rows"] == DAY_ROWS).collect::<Vec<_>>()
    };
    let days = whole(&read);
    assert!(!days.is_empty(), "{read}");
    for day in &days {
        let numbers = ["rows_beside", "high", "live_high", "both_high", "only_shadow", "only_live"].map(|n| &day[n]);
        assert_eq!(numbers.map(Value::as_u64), [DAY_ROWS, 1, 1, 0, 1, 1].map(Some), "{day}");
        assert_eq!((&day["operator_code"], &day["bound"], &day["beside"]), (&json!("alpha"), &json!(0.5), &json!([1])));
    }
    assert_eq!(read["total"]["agreement"], 0.0);
    let example = &read["examples"][0];
    assert!(example["record_id"].as_str().is_some_and(|id| id.ends_with("-2-0")), "{example}");
    assert!(example["probability"].as_f64() >= Some(0.5) && example["live_probability"].as_f64() < Some(0.5));
    assert!(example["reasons"].to_string().contains("is_deposit"), "{example}");

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
        market.push(&server.base).await;
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

    // what people confirm is held against it: it had none of the withdrawals
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
    assert_eq!(status(&client, resolve, &market.key, json!({"reason": "confirmed"}).to_string()).await, Some(200));
    let resolved = market.shadow(&server, "transaction_risk/2").await["resolved"].clone();
    assert!(resolved["confirmed"]["alerts"].as_u64() > Some(0), "{resolved}");
    assert_eq!((&resolved["confirmed"]["also"], &resolved["false_alarms"]["alerts"]), (&json!(0), &json!(0)));

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
    over_history(dir, url, &market, &server).await;
    server.stop();
    let (went, said) = attempt(dir, url, &["audit", "verify"]);
    assert!(went, "{said}");
    store.close().await;
}

/// Versions over all that was pushed, beside the running engine.
async fn over_history(dir: &Path, url: &str, market: &Market<'_>, server: &Server) {
    let span = ["--from", SPAN[0], "--to", SPAN[1]];
    let backtest = |which: [&str; 2], more: &[&str]| {
        let said = run(dir, url, &[&["model", "backtest"][..], &which, &span, &["--json"], more].concat());
        serde_json::from_str::<Value>(&said).unwrap_or_else(|_| panic!("{said}"))
    };
    let (batches, scored, _) = market.inputs().await;
    let of = |version: u32| scored.iter().filter(move |one| one.version == version);
    let high = |version| of(version).flat_map(|one| one.scores.0.iter().flatten()).filter(|s| **s >= 500_000).count();
    let rows: usize = scored.iter().map(|one| one.scores.0.iter().flatten().count()).sum();
    let number = |of: &Value, name: &str| of[name].as_u64().unwrap_or_else(|| panic!("{name} of {of}"));

    // the version that scored first says what it said then
    let first = backtest(["transaction_risk", "1"], &[]);
    let total = &first["total"];
    assert_eq!((number(total, "rows"), number(total, "operator_days")), (DAY_ROWS * batches as u64, batches as u64));
    assert_eq!((number(total, "rows_beside"), number(total, "live_high")), (rows as u64, (high(1) + high(2)) as u64));
    assert_eq!((number(total, "both_high"), number(total, "high")), (high(1) as u64, batches as u64), "{total}");
    assert_eq!(total["live_versions"], json!([1, 2]));
    assert!(number(&total["confirmed"], "rows") > 0, "{total}");
    assert_eq!(total["confirmed"]["rows"], total["confirmed"]["version"], "it named them: {total}");
    assert_eq!(first["operators"]["alpha"], *total);

    // the other one has deposits
    let second = backtest(["transaction_risk", "2"], &["--operator", "alpha"]);
    let total = &second["total"];
    assert_eq!((number(total, "high"), number(total, "both_high")), (batches as u64, high(2) as u64), "{total}");
    assert_eq!(number(&total["confirmed"], "version"), 0, "{total}");
    assert_eq!(total["hit_rate"].as_f64(), Some(1.0 / DAY_ROWS as f64));
    assert_eq!(total["high_per_operator_day"].as_f64(), Some(1.0));
    let examples = second["examples"].as_array().expect("examples");
    assert!(!examples.is_empty() && examples.len() <= 20);
    for example in examples {
        assert!(example["record_id"].as_str().is_some_and(|id| id.ends_with("-2-0")), "{example}");
        assert!(example["operator"] == "alpha" && example["reasons"].to_string().contains("is_deposit"), "{example}");
    }
    assert_eq!(number(&backtest(["transaction_risk", "2"], &["--bound", "1"])["total"], "high"), number(total, "rows"));

    // players by the ends of their days; the last day is not over
    let players = backtest(["player_risk", "1"], &[]);
    let total = &players["total"];
    assert_eq!((number(total, "rows"), number(total, "rows_beside")), (2 * (batches as u64 - 1), 0), "{total}");
    assert!(number(total, "high") > 0 && number(total, "high") < number(total, "rows"), "{total}");

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
