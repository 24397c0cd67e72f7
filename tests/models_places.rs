//! Models by jurisdiction, on both stores: two promote different versions, each operator's records are scored by its own, and
//! what one does the other does not notice.

mod program;

use engine::features::transaction;
use ml::tabular::artefact::Kind;
use ml::tabular::batch;
use models::event::Event;
use models::ids::OperatorNo;
use models::rule_input::RuleInput;
use models::score::RecordsScored;
use program::play::{day, table};
use program::{attempt, get, hand, post, prepare, run, serve, status};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use store::{OpenOptions, Store};

const PATIENCE: Duration = Duration::from_secs(90);
const LAGOS: &str = "NG-LA";

/// Learns that a kind of record is risky, and registers it with a table of its own to be validated on.
fn register(dir: &Path, store: &str, risky: &str, key: &str) {
    let [train, test] = [0..600, 600..1_200].map(|rows| table(transaction::FEATURES, risky, 0.5, rows));
    let artefact = batch::train(Kind::TransactionRisk, train.as_bytes(), None, 1).expect("learnt");
    let (file, rows) = (dir.join("model.json"), dir.join("test.csv"));
    let mut document = Vec::new();
    artefact.write(&mut document).expect("written");
    std::fs::write(&file, document).expect("a file");
    std::fs::write(&rows, test).expect("a file");
    let path = |path: &Path| path.display().to_string();
    run(dir, store, &["model", "register", &path(&file), "--test", &path(&rows), "--key-file", key]);
}

/// A key of staff, of the first jurisdiction or of another.
fn bearer(dir: &Path, store: &str, label: &str, (place, scopes): (&str, &[&str])) -> String {
    let mut args = vec!["key", "create", "--label", label, "--rate", "1000", "--json", "--jurisdiction", place];
    scopes.iter().for_each(|scope| args.extend(["--scope", scope]));
    let made: Value = serde_json::from_str(&run(dir, store, &args)).expect("JSON");
    made["bearer"].as_str().expect("a bearer").to_owned()
}

/// An operator with a feed, and who supervises it.
struct Market<'a> {
    client: reqwest::Client,
    store: &'a Store,
    operator: OperatorNo,
    /// Reads models, and pushes.
    staff: String,
    /// Promotes.
    rules: String,
    source: String,
    is_abroad: bool,
    days: usize,
}

impl Market<'_> {
    async fn push(&mut self, base: &str) {
        assert!(self.days < 28, "a month is enough");
        let mut play = day(self.days);
        if self.is_abroad {
            play = play.replace("\"0710", "\"08010").replace("KES", "NGN");
        }
        let path = format!("{base}/api/v1/feeds/{}/records", self.source);
        post(&self.client, path, &self.staff, play).await.expect("a push");
        self.days += 1;
    }

    /// What was scored of its records so far.
    async fn scores(&self) -> Vec<RecordsScored> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let rows = self.store.rule_inputs(self.operator, after, 50).await.expect("inputs");
            let Some(last) = rows.last() else { return all };
            after = last.input_seq;
            all.extend(rows.into_iter().filter_map(|row| match row.input {
                RuleInput::RecordsScored(scored) => Some(*scored),
                _ => None,
            }));
        }
    }

    /// Day after day, until one of them is scored by this version.
    async fn until_scored_by(&mut self, base: &str, version: u32) {
        let known = self.scores().await.len();
        let look = async {
            for waited in 0.. {
                if self.scores().await.iter().skip(known).any(|scored| scored.version == version) {
                    return;
                }
                if waited % 20 == 0 {
                    self.push(base).await;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("scored by {version} in time"));
    }

    async fn does(&self, base: &str, path: &str, body: &Value) -> Option<u16> {
        let url = format!("{base}/api/v1/models/transaction_risk/{path}");
        status(&self.client, url, &self.rules, body.to_string()).await
    }

    /// The states of both versions, and when the second was promoted, as its supervisor reads them.
    async fn states(&self, base: &str) -> (Vec<String>, Value) {
        let listed = get(&self.client, format!("{base}/api/v1/models"), &self.staff).await;
        let models = listed["models"].as_array().expect("models");
        let place = if self.is_abroad { LAGOS } else { "KE" };
        assert!(models.iter().all(|model| model["jurisdiction"] == place), "{listed}");
        let state = |model: &Value| model["state"].as_str().unwrap_or_default().to_owned();
        (models.iter().map(state).collect(), models[1]["promoted_at"].clone())
    }
}

/// Somebody of the place calls what its model has said a false alarm.
async fn judges(market: &Market<'_>, base: &str) {
    let groups = format!("{base}/api/v1/alerts/groups?rule=risky_transaction");
    let group = async {
        loop {
            let listed = get(&market.client, groups.clone(), &market.staff).await;
            if let Some(id) = listed["items"][0]["id"].as_str() {
                return id.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let group = tokio::time::timeout(PATIENCE, group).await.expect("a group in time");
    let (url, why) = (format!("{base}/api/v1/alerts/{group}/resolve"), json!({"reason": "false_alarm"}));
    assert_eq!(status(&market.client, url, &market.rules, why.to_string()).await, Some(200));
}

/// Rows to learn from, and history that a version is tried on, are those of one place; who took rows out is journaled.
async fn apart(dir: &Path, url: &str, store: &Store, wanjiku: &str) {
    let span = ["--from", "2026-01-01T00:00:00Z", "--to", "2026-03-01T00:00:00Z"];
    let paths = ["alpha.csv", "beta.csv", "none.csv"].map(|name| dir.join(name).display().to_string());
    let [alpha, beta, none] = paths.each_ref().map(String::as_str);
    let features = ["model", "features", "--kind", "transaction", "--out"];
    let backtest = ["model", "backtest", "transaction_risk", "1", "--json"];
    let of_lagos = ["--jurisdiction", LAGOS];
    // what is tried | how | what is said
    let table: [(&[&str], &[&str], &str); 6] = [
        (&features, &[none, "--by", "Achieng"], "--jurisdiction is needed"),
        (&features, &[none, "--by", "Achieng", "--jurisdiction", "UG"], "no jurisdiction UG"),
        (&features, &[none, "--key-file", wanjiku, "--jurisdiction", LAGOS], "of another jurisdiction than NG-LA"),
        (&features, &[none, "--jurisdiction", LAGOS], "who gives the order"),
        (&backtest, &[], "--jurisdiction is needed"),
        (&backtest, &["--operator", "alpha", "--jurisdiction", LAGOS], "no operator alpha in NG-LA"),
    ];
    for (what, how, wanted) in table {
        let (went, said) = attempt(dir, url, &[what, how, &span].concat());
        assert!(!went && said.contains(wanted), "{what:?} {how:?}: {said}");
    }
    assert!(!Path::new(none).exists(), "what is refused leaves no file");
    let of_kenya = ["--jurisdiction", "KE"];
    for (place, code, file, who) in
        [(of_kenya, "alpha", alpha, ["--key-file", wanjiku]), (of_lagos, "beta", beta, ["--by", "Achieng"])]
    {
        let said = run(dir, url, &[&features[..], &[file], &who, &place, &span].concat());
        let said: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
        assert!(said["jurisdiction"] == place[1] && said["rows"].as_u64() > Some(0), "{said}");
        let rows = std::fs::read_to_string(file).expect("read");
        assert!(rows.lines().skip(1).all(|row| row.split(',').nth(2) == Some(code)), "{code}: {rows}");
        let said = run(dir, url, &[&backtest[..], &place, &span].concat());
        let said: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
        let operators: Vec<_> = said["operators"].as_object().expect("operators").keys().map(String::as_str).collect();
        assert_eq!((&said["jurisdiction"], operators), (&json!(place[1]), vec![code]), "{said}");
    }
    let journal = store.journal_events("features_exported").await.expect("the journal");
    let told = journal.into_iter().map(|event| match event {
        Event::FeaturesExported { jurisdiction, by, by_key, .. } => {
            (jurisdiction.map(|no| usize::from(no.0)), by, by_key.is_some())
        }
        other => panic!("{other:?}"),
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((told[0].1.as_str(), told[0].2), ("Wanjiku", true));
    assert_eq!((told[1].1.as_str(), told[1].2), ("Achieng", false));
    assert!(told[0].0 == Some(0) && told[1].0 > Some(0), "{told:?}");
}

/// Registers an operator with a source; gives the source.
async fn source(client: &reqwest::Client, base: &str, key: &str, (code, currency): (&str, &str)) -> String {
    let operator = json!({"code": code, "name": code}).to_string();
    let made = post(client, format!("{base}/api/v1/operators/register"), key, operator).await;
    let id = made.expect("an operator")["id"].clone();
    let source = json!({"operator": id, "name": "play", "class": "gaming_transactions",
        "kind": "push", "clock": "event", "horizon_days": 60, "currency": currency});
    let made = post(client, format!("{base}/api/v1/feeds"), key, source.to_string()).await;
    made.expect("a source")["id"].as_str().expect("an id").to_owned()
}

async fn until_known(market: &Market<'_>, base: &str) {
    let known = async {
        // no answer tells nothing
        while matches!(market.does(base, "9/promote", &json!({})).await, None | Some(401)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, known).await.expect("the key is known in time");
}

/// The versions that have scored, each once, and which records they have named.
fn versions_and_named(scores: &[RecordsScored]) -> (Vec<u32>, Vec<&str>) {
    let mut versions: Vec<u32> = scores.iter().map(|scored| scored.version).collect();
    versions.dedup();
    let named = scores.iter().flat_map(|scored| &scored.risky).filter(|one| one.score_ppm >= 500_000);
    (versions, named.map(|one| one.record_id.as_str()).collect())
}

async fn check(url: &str) {
    let dir = testkit::temp_dir();
    let dir = dir.path();
    let staff = prepare(dir, url);
    let client = reqwest::Client::new();
    let mut server = serve(&client, dir, url).await;
    let may = ["operators:manage", "feeds:manage", "feeds:write", "market:read", "system:read"];
    let abroad = bearer(dir, url, "lagos", (LAGOS, &may));
    let [otieno, adaeze] = [("Otieno", "KE"), ("Adaeze", LAGOS)]
        .map(|(who, at)| bearer(dir, url, who, (at, &["rules:manage", "alerts:manage"])));
    let store = Store::open(url, &OpenOptions::default()).await.expect("the store opens beside the engine");
    let market = |no, staff: &str, rules: &str, source, is_abroad| Market {
        client: client.clone(),
        store: &store,
        operator: OperatorNo(no),
        staff: staff.to_owned(),
        rules: rules.to_owned(),
        source,
        is_abroad,
        days: 0,
    };
    let alpha = source(&client, &server.base, &staff, ("alpha", "KES")).await;
    let mut kenya = market(1, &staff, &otieno, alpha, false);
    let mut lagos = market(2, &abroad, &adaeze, String::new(), true);
    for market in [&kenya, &lagos] {
        until_known(market, &server.base).await;
    }
    lagos.source = source(&client, &server.base, &abroad, ("beta", "NGN")).await;

    let wanjiku = hand(dir, url, "Wanjiku");
    register(dir, url, "is_withdrawal", &wanjiku);
    register(dir, url, "is_deposit", &wanjiku);
    let (none, why) = (json!({}), json!({"reason": "it names everybody"}));
    assert_eq!(kenya.does(&server.base, "1/promote", &none).await, Some(200));
    assert_eq!(lagos.does(&server.base, "2/promote", &none).await, Some(200));
    let (states, _) = kenya.states(&server.base).await;
    assert_eq!(states, ["promoted", "registered"]);
    let (states, promoted_at) = lagos.states(&server.base).await;
    assert_eq!(states, ["registered", "promoted"]);
    kenya.until_scored_by(&server.base, 1).await;
    lagos.until_scored_by(&server.base, 2).await;
    // each by what its own version has learnt
    for (market, version, risky) in [(&kenya, 1, "-2-2"), (&lagos, 2, "-2-0")] {
        let scores = market.scores().await;
        let (versions, named) = versions_and_named(&scores);
        assert_eq!(versions, [version]);
        assert!(named.iter().any(|id| id.ends_with(risky)), "{version}: {named:?}");
    }

    // one goes on and back again, and the other does not notice
    assert_eq!(kenya.does(&server.base, "2/promote", &none).await, Some(200));
    kenya.until_scored_by(&server.base, 2).await;
    assert_eq!(kenya.does(&server.base, "rollback", &why).await, Some(200));
    kenya.until_scored_by(&server.base, 1).await;
    assert_eq!(lagos.does(&server.base, "rollback", &why).await, Some(409), "nothing scored there before");
    assert_eq!(kenya.states(&server.base).await.0, ["promoted", "replaced"]);
    assert_eq!(lagos.states(&server.base).await, (states, promoted_at));
    lagos.until_scored_by(&server.base, 2).await;
    assert_eq!(versions_and_named(&kenya.scores().await).0, [1, 2, 1]);
    assert_eq!(versions_and_named(&lagos.scores().await).0, [2]);

    for market in [&kenya, &lagos] {
        judges(market, &server.base).await;
    }
    apart(dir, url, &store, &wanjiku).await;

    // whoever runs the node says where, and a key is of one jurisdiction
    let promote = ["model", "promote", "transaction_risk", "2"];
    let retire = ["model", "retire", "transaction_risk", "2", "--by", "Achieng", "--reason", "of old data"];
    let table: [(&[&str], &[&str], bool, &str); 5] = [
        (&promote, &["--key-file", &wanjiku], false, "--jurisdiction is needed"),
        (&promote, &["--key-file", &wanjiku, "--jurisdiction", "UG"], false, "no jurisdiction UG"),
        (&promote, &["--key-file", &wanjiku, "--jurisdiction", LAGOS], false, "of another jurisdiction than NG-LA"),
        (&retire, &["--jurisdiction", LAGOS], true, "version 2 is retired in NG-LA"),
        (&["model", "list", "--jurisdiction", "KE"], &[], true, "replaced   KE"),
    ];
    for (what, how, goes, wanted) in table {
        let (went, said) = attempt(dir, url, &[what, how].concat());
        assert!(went == goes && said.contains(wanted), "{what:?} {how:?}: {said}");
    }
    let listed: Value = serde_json::from_str(&run(dir, url, &["model", "list", "--json"])).expect("JSON");
    let listed = listed.as_array().expect("a list").iter().filter(|model| model["built_in"] == false);
    let told: Vec<_> = listed.map(|model| [&model["jurisdiction"], &model["version"], &model["state"]]).collect();
    assert_eq!(
        json!(told),
        json!([["KE", 1, "promoted"], ["KE", 2, "replaced"], ["NG-LA", 1, "registered"], ["NG-LA", 2, "retired"]])
    );

    // and so it is after a restart
    server.child.kill().expect("kill -9");
    drop(server);
    server = serve(&client, dir, url).await;
    let known = lagos.scores().await.len();
    lagos.push(&server.base).await;
    kenya.until_scored_by(&server.base, 1).await;
    assert_eq!(lagos.scores().await.len(), known, "nothing scores there any more");
    let metrics = client.get(format!("{}/metrics", server.base)).bearer_auth(&staff).send().await.expect("an answer");
    let metrics = metrics.text().await.expect("a text");
    for place in ["KE", LAGOS] {
        let line = format!("mlinzi_model_not_scoring{{jurisdiction=\"{place}\",kind=\"transaction_risk\"}} 0");
        assert!(metrics.contains(&line), "{line}");
    }
    store.close().await;
}

#[tokio::test]
async fn two_jurisdictions_score_by_different_versions_on_sqlite() {
    let dir = testkit::temp_dir();
    check(&testkit::sqlite_url(&dir)).await;
}

#[tokio::test]
async fn two_jurisdictions_score_by_different_versions_on_postgres() {
    let database = testkit::Postgres::shared().database().await;
    check(&database.url).await;
}
