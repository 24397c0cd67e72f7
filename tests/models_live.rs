//! Promoted models at work, on both stores: scores are inputs of rules, the same whoever works them out again and however
//! often the process is killed, and they end with the model.

mod program;

use engine::features::transaction;
use engine::features::{Feature, player};
use engine::rules::facts;
use engine::rules::input::Input;
use engine::rules::ruleset::RuleSet;
use engine::rules::run::OperatorRules;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use ml::tabular::artefact::{Artefact, Kind};
use ml::tabular::batch;
use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
use models::rule_input::RuleInput;
use models::score::{PlayersScored, RecordsScored, ScoredPlayer};
use models::ts::Ts;
use program::play::{day, table};
use program::{get, hand, phone, post, prepare, run, serve, status};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime};
use store::{OpenOptions, RuleFindingQuery, RuleInputRow, Store};

const PATIENCE: Duration = Duration::from_secs(90);
const OPERATOR: OperatorNo = OperatorNo(1);

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

fn bearer(dir: &Path, store: &str, label: &str, scopes: &[&str]) -> String {
    let mut args = vec!["key", "create", "--label", label, "--rate", "1000", "--json"];
    scopes.iter().for_each(|scope| args.extend(["--scope", scope]));
    let made: Value = serde_json::from_str(&run(dir, store, &args)).expect("JSON");
    made["bearer"].as_str().expect("a bearer").to_owned()
}

struct Market {
    client: reqwest::Client,
    key: String,
    source: String,
    days: usize,
}

impl Market {
    async fn push(&mut self, base: &str) {
        let path = format!("{base}/api/v1/feeds/{}/records", self.source);
        post(&self.client, path, &self.key, day(self.days)).await.expect("a push");
        self.days += 1;
    }
}

/// What a lookup says of the risk of who plays much.
async fn level(client: &reqwest::Client, base: &str, key: &str, purpose: &str) -> Value {
    level_of(client, base, key, (1, purpose)).await
}

async fn level_of(client: &reqwest::Client, base: &str, key: &str, (who, purpose): (usize, &str)) -> Value {
    let body = json!({"phone": phone(10_000_000 + who), "purpose": purpose}).to_string();
    let answer = post(client, format!("{base}/api/v1/operators/lookup"), key, body).await.expect("an answer");
    answer["risk_level"].clone()
}

async fn until_level(client: &reqwest::Client, base: &str, key: &str, wanted: &str) {
    let look = async {
        while level(client, base, key, "login").await != wanted {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("{wanted} in time"));
}

async fn inputs(store: &Store) -> Vec<RuleInputRow> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let rows = store.rule_inputs(OPERATOR, after, 50).await.expect("inputs");
        let Some(last) = rows.last() else { return all };
        after = last.input_seq;
        all.extend(rows);
    }
}

fn records(inputs: &[RuleInputRow]) -> Vec<(i64, RecordsScored)> {
    let scored = |row: &RuleInputRow| match &row.input {
        RuleInput::RecordsScored(scored) => Some((row.input_seq, RecordsScored::clone(scored))),
        _ => None,
    };
    inputs.iter().filter_map(scored).collect()
}

fn players(inputs: &[RuleInputRow]) -> Vec<PlayersScored> {
    let scored = |row: &RuleInputRow| match &row.input {
        RuleInput::PlayersScored(scored) => Some(PlayersScored::clone(scored)),
        _ => None,
    };
    inputs.iter().filter_map(scored).collect()
}

async fn until(what: &str, store: &Store, is_there: impl Fn(&[RuleInputRow]) -> bool) {
    let look = async {
        while !is_there(&inputs(store).await) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("{what} in time"));
}

/// The scores of every batch, worked out anew from what is stored, with a book and histories of their own.
fn again(inputs: &[RuleInputRow], artefact: &Artefact) -> BTreeMap<i64, Vec<Option<u32>>> {
    let zone = TimeZone::get("Africa/Nairobi").expect("a zone");
    let set = RuleSet::standard("KE");
    let mut rules = OperatorRules::new(OPERATOR, zone, &set);
    let mut features = transaction::Extractor::new(transaction::Params::of(&set));
    let mut all = BTreeMap::new();
    for row in inputs {
        let Some(batch) = &row.batch else { continue };
        let known = facts::unpack(batch.facts.as_deref().expect("facts"), batch.records.len()).expect("facts");
        let score = |(record, facts)| {
            let (mut vector, mut there) = ([0.0; transaction::WIDTH], false);
            rules.hear_and(&Input::Play { record, facts }, &mut Vec::new(), |heard| {
                there = features.hear(heard, &mut vector);
            });
            let wide = vector.map(f64::from);
            there.then(|| (artefact.model.score(&wide).clamp(0.0, 1.0) * 1e6).round() as u32)
        };
        all.insert(row.input_seq, batch.records.iter().zip(&known).map(score).collect());
    }
    all
}

async fn found(store: &Store, rule: &str) -> Vec<(String, Value)> {
    let query = RuleFindingQuery {
        jurisdiction: JurisdictionNo(0),
        rule: Some(rule.to_owned()),
        version: None,
        is_shadow: None,
        from: Ts(0),
        to: Ts(i64::MAX),
        limit: 1_000,
    };
    let rows = store.findings_of_rules(&query).await.expect("findings");
    rows.iter().map(|row| (row.id.to_string(), serde_json::from_str(&row.body).expect("JSON"))).collect()
}

/// Registers an operator with a source; gives the ids of both.
async fn operator(client: &reqwest::Client, base: &str, key: &str, code: &str) -> (String, String) {
    let operator = json!({"code": code, "name": code}).to_string();
    let made = post(client, format!("{base}/api/v1/operators/register"), key, operator).await;
    let id = made.expect("an operator")["id"].as_str().expect("an id").to_owned();
    let source = json!({"operator": id, "name": "play", "class": "gaming_transactions",
        "kind": "push", "clock": "event", "horizon_days": 60, "currency": "KES"});
    let made = post(client, format!("{base}/api/v1/feeds"), key, source.to_string()).await;
    (id, made.expect("a source")["id"].as_str().expect("an id").to_owned())
}

/// A key of an operator.
async fn asks(client: &reqwest::Client, base: &str, key: &str, id: &str, scopes: &[&str]) -> String {
    let new = json!({"label": "asker", "scopes": scopes, "rate_per_second": 1_000}).to_string();
    let made = post(client, format!("{base}/api/v1/operators/{id}/keys"), key, new).await;
    made.expect("a key")["bearer"].as_str().expect("a bearer").to_owned()
}

/// What is done to the first version of a model.
fn act(base: &str, kind: &str, act: &str) -> String {
    format!("{base}/api/v1/models/{kind}/1/{act}")
}

/// The running engine hears of new keys within a second.
async fn until_known(client: &reqwest::Client, base: &str, key: &str) {
    let known = async {
        let unknown = || act(base, "transaction_risk", "promote").replace("/1/", "/9/");
        // no answer tells nothing
        while matches!(status(client, unknown(), key, "{}".to_owned()).await, None | Some(401)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, known).await.expect("the key is known in time");
}

async fn check(url: &str) {
    let dir = testkit::temp_dir();
    let dir = dir.path();
    let key = prepare(dir, url);
    let client = reqwest::Client::new();
    let mut server = serve(&client, dir, url).await;
    let (id, source) = operator(&client, &server.base, &key, "alpha").await;
    let mut market = Market { client: client.clone(), key, source, days: 0 };
    let store = Store::open(url, &OpenOptions::default()).await.expect("the store opens beside the engine");

    // nobody is promoted: nothing is scored
    market.push(&server.base).await;
    market.push(&server.base).await;
    until("two batches", &store, |rows| rows.len() >= 2).await;
    assert_eq!((records(&inputs(&store).await).len(), players(&inputs(&store).await).len()), (0, 0));

    let asker = asks(&client, &server.base, &market.key, &id, &["lookup", "risk:read"]).await;
    let plain = asks(&client, &server.base, &market.key, &id, &["lookup"]).await;
    assert_eq!(level(&client, &server.base, &asker, "login").await, "unknown");

    // a second person promotes
    let artefact = register(dir, url, Kind::TransactionRisk, transaction::FEATURES, ("is_withdrawal", 0.5));
    register(dir, url, Kind::PlayerRisk, player::FEATURES, ("bets_day_1m", 20.0));
    let [first, second] = ["wanjiku", "Otieno"].map(|label| bearer(dir, url, label, &["rules:manage"]));
    for key in [&first, &second] {
        until_known(&client, &server.base, key).await;
    }
    for (key, wanted) in [(&first, 403), (&second, 200), (&second, 409)] {
        let answer = status(&client, act(&server.base, "transaction_risk", "promote"), key, "{}".to_owned()).await;
        assert_eq!(answer, Some(wanted));
    }
    let done = status(&client, act(&server.base, "player_risk", "promote"), &second, "{}".to_owned()).await;
    assert_eq!(done, Some(200));
    let promoted = async {
        while records(&inputs(&store).await).is_empty() || players(&inputs(&store).await).is_empty() {
            assert!(market.days < 25, "nothing is scored");
            market.push(&server.base).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    tokio::time::timeout(PATIENCE, promoted).await.expect("scores in time");

    until_level(&client, &server.base, &asker, "high").await;
    assert_eq!(level(&client, &server.base, &asker, "marketing").await, Value::Null);
    assert_eq!(level(&client, &server.base, &plain, "login").await, Value::Null, "without risk:read");

    // killed in the middle, it goes on as if nothing had been
    for _ in 0..2 {
        market.push(&server.base).await;
        server.child.kill().expect("kill -9");
        drop(server);
        server = serve(&client, dir, url).await;
        assert_eq!(level(&client, &server.base, &asker, "login").await, "high", "as it was");
        market.push(&server.base).await;
    }
    let batches = market.days;
    until("every batch, and its scores", &store, |rows| {
        let last = rows.iter().filter(|row| row.batch.is_some()).map(|row| row.input_seq).max();
        rows.iter().filter(|row| row.batch.is_some()).count() == batches
            && records(rows).iter().map(|(_, scored)| scored.of).max() == last
    })
    .await;
    let all = inputs(&store).await;
    let (scored, wanted) = (records(&all), again(&all, &artefact));
    let first_of = scored[0].1.of;
    for (place, one) in &scored {
        assert!(*place > one.of, "behind what it is of");
        assert_eq!((one.version, &one.scores.0), (1, &wanted[&one.of]), "input {}", one.of);
        let withdrawal = one.risky.iter().find(|risky| risky.record_id.ends_with("-2-2")).expect("the withdrawal");
        assert!(withdrawal.score_ppm >= 500_000 && !withdrawal.reasons.is_empty(), "{withdrawal:?}");
    }
    let of: Vec<i64> = scored.iter().map(|(_, one)| one.of).collect();
    let batches: Vec<i64> = wanted.keys().copied().filter(|place| *place >= first_of).collect();
    assert_eq!(of, batches, "each batch behind the promotion once, in order");

    // what is found of them is found once
    let risky = found(&store, "risky_transaction").await;
    let high = scored.iter().flat_map(|(_, one)| &one.risky).filter(|risky| risky.score_ppm >= 500_000).count();
    assert_eq!((risky.len(), risky.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len()), (high, high), "{risky:?}");
    let reasons = risky[0].1["reasons"].as_array().expect("reasons");
    assert!(
        reasons.len() > 1 && reasons.iter().any(|reason| reason.to_string().contains("is_withdrawal")),
        "{risky:?}"
    );
    let at_risk = found(&store, "player_at_risk").await;
    let days = players(&all);
    let is_high = |player: &&ScoredPlayer| player.score_ppm >= 500_000;
    assert!(days.iter().all(|day| day.players.len() == 2 && day.players.iter().any(|one| is_high(&one))), "{days:?}");
    let high: BTreeSet<_> = days.iter().flat_map(|day| &day.players).filter(is_high).map(|one| one.player).collect();
    let told: BTreeSet<_> = at_risk.iter().map(|(id, _)| id).collect();
    assert_eq!(told.len(), high.len(), "each of them once in the month: {at_risk:?}");

    // these are days of an archive: nobody is asked to act on them now
    let path = format!("{}/api/v1/operators/{id}/harm-signals", server.base);
    assert_eq!(get(&client, path, &market.key).await["items"], json!([]));
    assert_eq!(store.journal_events("harm_signal_set").await.expect("the journal").len(), 0);

    // it ends with the model
    let reason = || json!({"reason": "it is time"}).to_string();
    for kind in ["transaction_risk", "player_risk"] {
        assert_eq!(status(&client, act(&server.base, kind, "retire"), &first, reason()).await, Some(200));
    }
    until_level(&client, &server.base, &asker, "unknown").await;
    let before = records(&inputs(&store).await).len();
    let quiet = async {
        // the engine hears of it a moment later
        let mut known = before;
        loop {
            market.push(&server.base).await;
            let batches = market.days;
            until("a batch", &store, |rows| rows.iter().filter(|row| row.batch.is_some()).count() == batches).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = records(&inputs(&store).await).len();
            if now == known {
                return;
            }
            known = now;
        }
    };
    tokio::time::timeout(PATIENCE, quiet).await.expect("it ends");
    server.stop();

    // whoever computes it once more, or tries another version, hears the scores as they were
    let risky = found(&store, "risky_transaction").await.len() as u64;
    let span = ["--from", "2026-01-01T00:00:00Z", "--to", "2026-03-01T00:00:00Z"];
    let said = run(dir, url, &[&["replay"][..], &span].concat());
    let mut lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.find(|line| line["rules_of"] == "alpha").expect("its rules");
    assert!(line["findings"].as_u64() > Some(risky) && line["differences"] == 0, "{line}");
    let trial = ["rules", "backtest", "risky_transaction", "--jurisdiction", "KE", "--params"];
    for (params, candidate) in [(r#"{"score_min_ppm": 499999}"#, risky), (r#"{"score_min_ppm": 999999}"#, 0)] {
        let tried: Value =
            serde_json::from_str(&run(dir, url, &[&trial[..], &[params], &span].concat())).expect("JSON");
        let raised = |side: &str| tried[side]["raised"].as_u64();
        assert_eq!((raised("live"), raised("candidate")), (Some(risky), Some(candidate)), "{params}: {tried}");
    }
    store.close().await;
}

#[tokio::test]
async fn models_score_on_sqlite() {
    let dir = testkit::temp_dir();
    check(&testkit::sqlite_url(&dir)).await;
}

#[tokio::test]
async fn models_score_on_postgres() {
    let database = testkit::Postgres::shared().database().await;
    check(&database.url).await;
}

/// A day of somebody who plays sixteen times at an operator, and somebody who plays once.
fn sixteen(day: usize, who: usize) -> String {
    let record = |who: usize, n: usize| {
        json!({"record_id": format!("{day}-{who}-{n}"), "kind": "stake",
            "occurred_at": format!("2026-01-{:02}T10:{n:02}:00Z", 1 + day),
            "player": {"phone": phone(10_000_000 + who)}, "money": {"amount_minor": 5_000, "currency": "KES"}})
    };
    let all = (0..16).map(|n| record(3, n)).chain([record(who, 0)]);
    all.map(|record| record.to_string()).collect::<Vec<_>>().join("\n")
}

/// Who plays little at each of two operators plays much.
async fn check_across(url: &str) {
    let dir = testkit::temp_dir();
    let dir = dir.path();
    let key = prepare(dir, url);
    let client = reqwest::Client::new();
    let mut server = serve(&client, dir, url).await;
    let (alpha, first) = operator(&client, &server.base, &key, "alpha").await;
    let (_, second) = operator(&client, &server.base, &key, "beta").await;
    let asker = asks(&client, &server.base, &key, &alpha, &["lookup", "risk:read"]).await;
    register(dir, url, Kind::PlayerRisk, player::FEATURES, ("bets_day_1m", 20.0));
    let otieno = bearer(dir, url, "Otieno", &["rules:manage"]);
    until_known(&client, &server.base, &otieno).await;
    let done = status(&client, act(&server.base, "player_risk", "promote"), &otieno, "{}".to_owned()).await;
    assert_eq!(done, Some(200));

    let store = Store::open(url, &OpenOptions::default()).await.expect("the store opens beside the engine");
    let mut days = 0;
    let across = async || players(&store.nation_rule_inputs(JurisdictionNo(0), 0, 1_000).await.expect("inputs"));
    let is_high = |player: &ScoredPlayer| player.score_ppm >= 500_000;
    let at_risk = async {
        while !across().await.iter().flat_map(|day| &day.players).any(is_high) {
            assert!(days < 25, "nobody is at risk: {:#?}", across().await.last());
            for (source, who) in [(&first, 4), (&second, 5)] {
                let path = format!("{}/api/v1/feeds/{source}/records", server.base);
                post(&client, path, &key, sixteen(days, who)).await.expect("a push");
            }
            days += 1;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    tokio::time::timeout(PATIENCE, at_risk).await.expect("who plays at both is found in time");
    let days = across().await;
    for day in &days {
        assert_eq!(day.players.len(), 1, "who plays at one operator has no vector across them: {day:?}");
    }
    let high = days.iter().flat_map(|day| &day.players).find(|player| player.score_ppm >= 500_000);
    let reasons = high.expect("somebody").reasons.join(", ");
    assert!(reasons.contains("(bets, a day)"), "{reasons}");
    // lookups know it, before and behind a kill
    for _ in 0..2 {
        let look = async {
            while level_of(&client, &server.base, &asker, (3, "login")).await != "high" {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect("high in time");
        assert_ne!(level_of(&client, &server.base, &asker, (4, "login")).await, "high", "who plays once");
        server.child.kill().expect("kill -9");
        drop(server);
        server = serve(&client, dir, url).await;
    }
    server.stop();
    // until a jurisdiction promotes a version nobody is told; what one would find it can ask
    let rule = "player_at_risk_across_operators";
    assert!(found(&store, rule).await.is_empty());
    let span = ["--from", "2026-01-01T00:00:00Z", "--to", "2026-03-01T00:00:00Z"];
    let said = run(dir, url, &[&["replay"][..], &span].concat());
    let mut lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.find(|line| line["rules_of_all"] == "KE").expect("the rules over all operators");
    assert!(line["findings"] == 0 && line["differences"] == 0, "{line}");
    let trial = ["rules", "backtest", rule, "--jurisdiction", "KE", "--params", "{}"];
    let tried: Value = serde_json::from_str(&run(dir, url, &[&trial[..], &span].concat())).expect("JSON");
    let raised = |side: &str| tried[side]["raised"].as_u64();
    assert_eq!((raised("live"), raised("candidate")), (Some(0), Some(1)), "{tried}");
    store.close().await;
}

#[tokio::test]
async fn who_plays_at_several_operators_is_scored_on_sqlite() {
    let dir = testkit::temp_dir();
    check_across(&testkit::sqlite_url(&dir)).await;
}

#[tokio::test]
async fn who_plays_at_several_operators_is_scored_on_postgres() {
    let database = testkit::Postgres::shared().database().await;
    check_across(&database.url).await;
}

/// A day of two who play much: one has paid in, of the other there are bets alone.
fn eager(date: Date) -> String {
    let record = |who: usize, n: usize, kind: &str| {
        json!({"record_id": format!("{date}-{who}-{n}"), "kind": kind, "occurred_at": format!("{date}T10:{n:02}:00Z"),
            "player": {"phone": phone(10_000_000 + who)}, "money": {"amount_minor": 5_000, "currency": "KES"}})
    };
    let bets = (0..40).flat_map(|n| [record(6, n, "stake"), record(7, n, "stake")]);
    bets.chain([record(6, 40, "deposit")]).map(|record| record.to_string()).collect::<Vec<_>>().join("\n")
}

/// The day in Nairobi so many days ago; just before midnight it is the next day already.
fn days_ago(days: i64) -> Date {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs() as i64;
    let then = jiff::Timestamp::from_second(now + 600 - days * 86_400).expect("a time");
    then.to_zoned(TimeZone::get("Africa/Nairobi").expect("a zone")).date()
}

/// The signs of harm that an operator, or staff, reads.
async fn signs(client: &reqwest::Client, path: String, key: &str) -> Vec<Value> {
    get(client, path, key).await["items"].as_array().cloned().expect("items")
}

/// An operator is told of whoever is at high risk today and can be found, once, and of nobody of an archive.
async fn check_signs(url: &str) {
    let dir = testkit::temp_dir();
    let dir = dir.path();
    let key = prepare(dir, url);
    let client = reqwest::Client::new();
    let mut server = serve(&client, dir, url).await;
    let (alpha, source) = operator(&client, &server.base, &key, "alpha").await;
    let asker = asks(&client, &server.base, &key, &alpha, &["lookup", "risk:read"]).await;
    register(dir, url, Kind::PlayerRisk, player::FEATURES, ("bets_day_1m", 20.0));
    let otieno = bearer(dir, url, "Otieno", &["rules:manage"]);
    until_known(&client, &server.base, &otieno).await;
    let done = status(&client, act(&server.base, "player_risk", "promote"), &otieno, "{}".to_owned()).await;
    assert_eq!(done, Some(200));

    let store = Store::open(url, &OpenOptions::default()).await.expect("the store opens beside the engine");
    let push = async |base: &str, date: Date| {
        let path = format!("{base}/api/v1/feeds/{source}/records");
        post(&client, path, &key, eager(date)).await.expect("a push");
    };
    let archive = async {
        let mut days = (100..200).rev();
        while players(&inputs(&store).await).is_empty() {
            push(&server.base, days_ago(days.next().expect("somebody is scored"))).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    tokio::time::timeout(PATIENCE, archive).await.expect("scores in time");
    let scored = players(&inputs(&store).await);
    assert!(scored[0].players.iter().all(|one| one.score_ppm >= 500_000), "{scored:?}");
    let own = |base: &str| format!("{base}/api/v1/harm-signals");
    assert_eq!(signs(&client, own(&server.base), &asker).await, Vec::<Value>::new(), "an archive asks nobody to act");

    for days in [3, 2, 1] {
        push(&server.base, days_ago(days)).await;
    }
    server.child.kill().expect("kill -9");
    drop(server);
    server = serve(&client, dir, url).await;
    let told = async {
        while signs(&client, own(&server.base), &asker).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("a sign in time");
    let all = signs(&client, format!("{}/api/v1/operators/{alpha}/harm-signals", server.base), &key).await;
    assert_eq!((all.len(), &all[0]["source"], &all[0]["level"]), (1, &json!("model"), &json!("high")), "{all:?}");
    assert!(all[0]["player"]["records"].as_array().is_some_and(|records| !records.is_empty()), "{all:?}");
    // of whom there are bets alone, and about whom it has never asked: it could not find out who that is
    let scored = players(&inputs(&store).await);
    let last = scored.last().expect("scores");
    assert_eq!((last.players.len(), last.nameless.len()), (2, 1), "{last:?}");
    assert_ne!(all[0]["player"]["who"], json!(format!("player:{}", last.nameless[0])));
    assert_eq!(store.journal_events("harm_signal_set").await.expect("the journal").len(), 1, "told once");

    let body = json!({"phone": phone(10_000_006), "purpose": "login"}).to_string();
    let asked = post(&client, format!("{}/api/v1/operators/lookup", server.base), &asker, body).await;
    let bst = asked.expect("an answer")["bst"].clone();
    let named = async {
        // who was asked about is taken in a moment later
        while signs(&client, own(&server.base), &asker).await[0]["player"]["bst"] != bst {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, named).await.expect("the operator's own token in time");
    server.stop();
    store.close().await;
}

#[tokio::test]
async fn an_operator_is_told_of_who_is_at_high_risk_today_on_sqlite() {
    let dir = testkit::temp_dir();
    check_signs(&testkit::sqlite_url(&dir)).await;
}

#[tokio::test]
async fn an_operator_is_told_of_who_is_at_high_risk_today_on_postgres() {
    let database = testkit::Postgres::shared().database().await;
    check_signs(&database.url).await;
}
