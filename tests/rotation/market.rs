//! A small market for the tests of rotations: excluded people, two operators, and load that judges what it hears.

use crate::program::{PROGRAM, Server, phone, post, prepare, run, serve, status};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// First number of people who register under load.
const LATER: usize = 5_000_000;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Market {
    dir: testkit::TempDir,
    store: String,
    client: reqwest::Client,
    server: Option<Server>,
    staff: String,
    acme: String,
    other: String,
    people: usize,
    /// People who registered under load.
    pub later: Arc<AtomicUsize>,
}

/// What a program that failed said.
pub fn status_of(out: &Output) -> String {
    assert!(!out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    String::from_utf8_lossy(&out.stderr).into_owned()
}

impl Market {
    /// People from a file, two operators with a key each, a running engine.
    pub async fn open(store: &str, people: usize) -> Self {
        Self::open_edited(store, people, |_| ()).await
    }

    /// The same, with the keys changed by hand between the people and the first start.
    pub async fn open_edited(store: &str, people: usize, edit: impl FnOnce(&mut toml::Table)) -> Self {
        let dir = testkit::temp_dir();
        let staff = prepare(dir.path(), store);
        let mut rows = "phone,id_number,period,effective_at,date_of_birth\n".to_owned();
        for n in 0..people {
            let _ =
                writeln!(rows, "{},{},1_year,2026-01-01T00:00:00Z,1990-05-01", phone(10_000_000 + n), 20_000_000 + n);
        }
        let file = dir.path().join("old.csv");
        std::fs::write(&file, rows).expect("a file");
        let file = file.to_str().expect("a path");
        run(dir.path(), store, &["register", "import", file, "--origin", "old", "--legal-basis", "Act 1"]);
        let key_file = dir.path().join("keys.toml");
        let mut keys: toml::Table = std::fs::read_to_string(&key_file).expect("the keys").parse().expect("TOML");
        edit(&mut keys);
        std::fs::write(&key_file, keys.to_string()).expect("the keys");
        let client = reqwest::Client::new();
        let server = serve(&client, dir.path(), store).await;
        let mut keys = Vec::new();
        for code in ["acme", "other"] {
            let new = json!({"code": code, "name": code}).to_string();
            let url = format!("{}/api/v1/operators/register", server.base);
            post(&client, url, &staff, new).await.expect("an operator");
            let args = [
                "key",
                "create",
                "--operator",
                code,
                "--label",
                "k",
                "--rate",
                "100000",
                "--json",
                "--scope",
                "lookup",
            ];
            let key: Value = serde_json::from_str(&run(dir.path(), store, &args)).expect("JSON");
            keys.push(key["bearer"].as_str().expect("a bearer").to_owned());
        }
        let (other, acme) = (keys.pop().expect("two"), keys.pop().expect("two"));
        let (store, server) = (store.to_owned(), Some(server));
        Self { dir, store, client, server, staff, acme, other, people, later: Arc::default() }
    }

    fn base(&self) -> &str {
        &self.server.as_ref().expect("it runs").base
    }

    /// `mlinzi keys …`, which must succeed.
    pub fn keys(&self, args: &[&str]) -> String {
        run(self.dir.path(), &self.store, &[&["keys"], args].concat())
    }

    /// `mlinzi keys …`, which must fail; gives what it says.
    pub fn refused(&self, args: &[&str]) -> String {
        let mut command = Command::new(PROGRAM);
        command.args(["--store", &self.store]).arg("--keys").arg(self.dir.path().join("keys.toml"));
        status_of(&command.arg("keys").args(args).output().expect("the program runs"))
    }

    /// A start that must fail.
    pub fn refused_start(&self) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(["--store", &self.store]).arg("--keys").arg(self.dir.path().join("keys.toml"));
        command.args(["serve", "--port", "0"]).output().expect("the program runs")
    }

    fn key_path(&self) -> PathBuf {
        self.dir.path().join("keys.toml")
    }

    pub fn key_file(&self) -> String {
        std::fs::read_to_string(self.key_path()).expect("the keys")
    }

    pub fn versions_in_file(&self, purpose: &str) -> Vec<u8> {
        let table: toml::Table = self.key_file().parse().expect("TOML");
        let versions = table[purpose].as_table().expect("a table").keys();
        versions.map(|version| version.parse().expect("a number")).collect()
    }

    pub fn write_key_file(&self, text: &str) {
        std::fs::write(self.key_path(), text).expect("the keys");
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).expect("the log")
    }

    /// A version as `keys status` shows it; null where there is none.
    pub async fn version(&self, purpose: &str, version: u8) -> Value {
        let (dir, store) = (self.dir.path().to_owned(), self.store.clone());
        let said = tokio::task::spawn_blocking(move || run(&dir, &store, &["keys", "status", "--json"]));
        let said: Value = serde_json::from_str(&said.await.expect("no panic")).expect("JSON");
        let known = said.as_array().expect("a list").iter();
        let mut known = known.filter(|v| v["purpose"] == purpose && v["version"] == version);
        known.next().cloned().unwrap_or(Value::Null)
    }

    /// Asks until there is an answer.
    pub async fn until<T>(&self, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            assert!(Instant::now() < end, "it does not come about: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn wait_for(&self, purpose: &str, version: u8, state: &str) -> Value {
        self.until(async || Some(self.version(purpose, version).await).filter(|known| known["state"] == state)).await
    }

    /// Waits until some of those who were there first are under version 1; not all are.
    pub async fn halfway(&self, purpose: &str) {
        let later = || 2 * self.later.load(Ordering::SeqCst) as u64;
        let holds = async |version| self.version(purpose, version).await["holds"].as_u64();
        self.until(async || holds(1).await.filter(|done| *done > 200 + later())).await;
        assert_eq!(self.version(purpose, 1).await["state"], "started", "it was too fast to be killed in the middle");
    }

    /// Status and body of a lookup by an operator.
    pub async fn ask(&self, body: Value) -> (u16, Value) {
        ask(&self.client, self.base(), &self.acme, body).await
    }

    pub async fn token_of(&self, n: usize) -> String {
        let (status, answer) = self.ask(json!({"phone": phone(10_000_000 + n), "purpose": "login"})).await;
        assert_eq!((status, &answer["decision"]), (200, &json!("block")));
        answer["bst"].as_str().expect("a token").to_owned()
    }

    pub async fn other_operators_token(&self, n: usize) -> String {
        let body = json!({"phone": phone(10_000_000 + n), "purpose": "login"});
        let (_, answer) = ask(&self.client, self.base(), &self.other, body).await;
        answer["bst"].as_str().expect("a token").to_owned()
    }

    pub async fn ask_some(&self) {
        for n in 0..20 {
            self.token_of(n).await;
        }
    }

    /// Registers somebody who is excluded already; gives the status.
    pub async fn register(&self, n: usize) -> u16 {
        let body = json!({"phone": phone(10_000_000 + n), "id_number": (20_000_000 + n).to_string(), "period": "1_year", "reason_class": "self", "channel": "web"});
        let url = format!("{}/api/v1/nser/register", self.base());
        status(&self.client, url, &self.staff, body.to_string()).await.expect("an answer")
    }

    /// Breaks something on purpose.
    pub async fn sql(&self, sql: &str) {
        let store = store::Store::open(&self.store, &store::OpenOptions::default()).await.expect("the store");
        assert_eq!(store.execute_for_tests(sql).await.expect("SQL"), 1);
        store.close().await;
    }

    /// Everybody, by phone and by document, those who came under load too; and nobody else.
    pub async fn everybody_is_found(&self) {
        let later = self.later.load(Ordering::SeqCst);
        let people = (0..self.people).step_by(1 + self.people / 500).chain((0..later).map(|n| LATER + n));
        for n in people {
            for body in [json!({"phone": phone(10_000_000 + n)}), json!({"id_number": (20_000_000 + n).to_string()})] {
                assert_eq!(self.decision(body).await, "block", "person {n}");
            }
        }
        assert_eq!(self.decision(json!({"phone": phone(9_999_999)})).await, "allow");
    }

    async fn decision(&self, mut body: Value) -> Value {
        body["purpose"] = json!("login");
        let (status, answer) = self.ask(body).await;
        assert_eq!(status, 200, "{answer}");
        answer["decision"].clone()
    }

    /// A record that is refused, and sealed.
    pub async fn push_a_bad_record(&self) {
        let operators: Value = {
            let url = format!("{}/api/v1/operators", self.base());
            let answer = self.client.get(url).bearer_auth(&self.staff).send().await.expect("an answer");
            serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
        };
        let source = json!({"operator": operators["items"][0]["id"], "name": "play", "class": "gaming_transactions", "kind": "push", "clock": "event", "horizon_days": 60, "currency": "KES"});
        let source = post(&self.client, format!("{}/api/v1/feeds", self.base()), &self.staff, source.to_string()).await;
        let url = format!(
            "{}/api/v1/feeds/{}/records",
            self.base(),
            source.expect("a source")["id"].as_str().expect("an id")
        );
        let pushed =
            post(&self.client, url, &self.staff, json!({"record_id": "1", "kind": "nothing"}).to_string()).await;
        assert_eq!(pushed.expect("a push")["quarantined"].as_array().map(Vec::len), Some(1));
    }

    /// The evidence of today, which needs the keys of its months.
    pub fn export(&self) {
        let out = self.dir.path().join("case.ndjson");
        let path = out.to_str().expect("a path");
        let args =
            ["--operator", "acme", "--from", "2020-01-01T00:00:00Z", "--to", "2099-01-01T00:00:00Z", "--out", path];
        run(self.dir.path(), &self.store, &[&["evidence", "export", "--case", "C-1"], &args[..]].concat());
        let lines = std::fs::read_to_string(&out).expect("the file");
        assert!(lines.lines().count() > 20, "the evidence is there");
        assert!(lines.contains("BST-02-"), "and says whom it was about");
    }

    /// Registrations and lookups until it is ended: whoever was registered is excluded, in every answer.
    pub fn load(&self) -> Load {
        let ended = Arc::new(AtomicBool::new(false));
        let (client, base) = (self.client.clone(), self.base().to_owned());
        let (staff, acme, people) = (self.staff.clone(), self.acme.clone(), self.people);
        let (later, stop) = (Arc::clone(&self.later), Arc::clone(&ended));
        let asking = {
            let (client, base, later, stop) = (client.clone(), base.clone(), Arc::clone(&later), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut asked = 0_usize;
                while !stop.load(Ordering::SeqCst) {
                    asked += 1;
                    let known = later.load(Ordering::SeqCst);
                    let n = if asked % 2 == 1 || known == 0 { asked * 7 % people } else { LATER + asked * 3 % known };
                    let body = match asked % 3 {
                        0 => json!({"phone": phone(10_000_000 + n), "purpose": "login"}),
                        1 => json!({"id_number": (20_000_000 + n).to_string(), "purpose": "login"}),
                        _ => json!({"phone": phone(10_000_000 + n), "purpose": "bet", "client_reference": "r"}),
                    };
                    let Some((status, answer)) = try_ask(&client, &base, &acme, body).await else {
                        // killed on purpose
                        assert!(stop.load(Ordering::SeqCst), "no answer");
                        break;
                    };
                    assert_eq!((status, &answer["decision"]), (200, &json!("block")), "person {n}: {answer}");
                }
                asked
            })
        };
        let registering = tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let n = LATER + later.load(Ordering::SeqCst);
                let body = json!({"phone": phone(10_000_000 + n), "id_number": (20_000_000 + n).to_string(), "date_of_birth": "1991-01-01", "period": "1_year", "reason_class": "self", "channel": "web"});
                let url = format!("{base}/api/v1/nser/register");
                let made = post(&client, url, &staff, body.to_string()).await;
                if made.is_none() {
                    assert!(stop.load(Ordering::SeqCst), "a registration fails");
                    break;
                }
                later.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        Load { ended, asking, registering }
    }

    /// `kill -9` under load, and a new start.
    pub async fn kill(&mut self, load: Load) {
        load.ended.store(true, Ordering::SeqCst);
        self.server.as_mut().expect("it runs").child.kill().expect("kill -9");
        load.end().await;
        self.server = None;
        self.start().await;
    }

    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }

    async fn start(&mut self) {
        self.server = Some(serve(&self.client, self.dir.path(), &self.store).await);
    }

    pub async fn restart(&mut self) {
        self.stop();
        self.start().await;
    }

    /// Stops; the journal proves itself.
    pub fn end(mut self) {
        self.stop();
        assert!(run(self.dir.path(), &self.store, &["audit", "verify"]).contains("\"first_bad\":null"));
    }
}

/// What goes on meanwhile.
pub struct Load {
    ended: Arc<AtomicBool>,
    asking: tokio::task::JoinHandle<usize>,
    registering: tokio::task::JoinHandle<()>,
}

impl Load {
    /// Ends it; every answer was the right one.
    pub async fn end(self) {
        self.ended.store(true, Ordering::SeqCst);
        let asked = self.asking.await.expect("every lookup was answered rightly");
        self.registering.await.expect("every registration was taken");
        assert!(asked > 10, "hardly anything was asked");
    }
}

async fn ask(client: &reqwest::Client, base: &str, key: &str, body: Value) -> (u16, Value) {
    try_ask(client, base, key, body).await.expect("an answer")
}

async fn try_ask(client: &reqwest::Client, base: &str, key: &str, body: Value) -> Option<(u16, Value)> {
    let url = format!("{base}/api/v1/operators/lookup");
    let request = client.post(url).bearer_auth(key).header("content-type", "application/json").body(body.to_string());
    let answer = request.send().await.ok()?;
    let status = answer.status().as_u16();
    Some((status, serde_json::from_slice(&answer.bytes().await.ok()?).ok()?))
}
