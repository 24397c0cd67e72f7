//! The simulator beside the running engine: what faultless operators send is stored, none of it refused; a fault is seen; the
//! demo is there in a moment and leaves nobody behind.

mod program;

use program::{PROGRAM, get, prepare, serve_with};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A shared disk may keep everybody waiting.
const PATIENCE: Duration = Duration::from_secs(120);

fn simulator() -> PathBuf {
    let path = Path::new(PROGRAM).with_file_name("mlinzi-sim");
    assert!(path.exists(), "{} is not built: cargo build --workspace", path.display());
    path
}

/// A simulator, ended with its value.
struct Simulator {
    child: Child,
    said: Value,
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Simulator {
    fn start(dir: &Path, engine: &str, key: &str) -> Self {
        let mut child = Command::new(simulator())
            .args(["run", "--scenario", "demo", "--port", "0", "--until-stdin-ends", "--engine", engine])
            .args(["--operator-seconds", "1", "--authority-seconds", "2", "--licence-seconds", "2"])
            .arg("--folder")
            .arg(dir.join("feeds"))
            .arg("--truth")
            .arg(dir.join("truth.ndjson"))
            .env("MLINZI_KEY", key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the simulator starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
        Self { said: serde_json::from_str(&line).expect("JSON"), child }
    }

    fn base(&self) -> &str {
        self.said["base"].as_str().expect("an address")
    }

    /// Ends with its standard input.
    fn end(mut self) {
        drop(self.child.stdin.take());
        let end = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().expect("a status") {
                Some(status) => return assert!(status.success(), "it ended with {status}"),
                None => assert!(Instant::now() < end, "it does not end with its standard input"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

async fn sources(client: &reqwest::Client, base: &str, key: &str) -> Vec<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer =
            client.get(format!("{base}/api/v1/feeds?limit=500")).bearer_auth(key).send().await.expect("an answer");
        if answer.status().is_success() {
            let body: Value = answer.json().await.expect("JSON");
            return body["items"].as_array().cloned().expect("a list");
        }
        // a machine under pressure turns lists away first
        assert!(answer.status() == 503 && Instant::now() < end, "{}", answer.status());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn truths(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("truth.ndjson")).expect("the truth");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_simulated_is_stored_and_what_breaks_is_seen() {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    let key = prepare(dir.path(), &store);
    let client = reqwest::Client::new();
    let root = dir.path().join("feeds");
    std::fs::create_dir_all(&root).expect("a folder");
    let root = root.display().to_string();
    let settings = [("MLINZI__FEEDS__ALLOW_PRIVATE_ADDRESSES", "true"), ("MLINZI__FEEDS__FOLDER_ROOT", root.as_str())];
    let server = serve_with(&client, dir.path(), &store, &settings).await;
    let simulator = Simulator::start(dir.path(), &server.base, &key);

    let operators = get(&client, format!("{}/api/v1/operators?limit=50", server.base), &key).await;
    let codes: BTreeMap<String, String> = operators["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| (item["id"].as_str().expect("an id").to_owned(), item["code"].as_str().expect("a code").to_owned()))
        .collect();
    assert_eq!(codes.len(), 5, "{operators}");
    let end = Instant::now() + PATIENCE;
    loop {
        let all = sources(&client, &server.base, &key).await;
        // five operators with two sources and four authorities each; one sells over the counter, too
        assert_eq!(all.len(), 5 * 6 + 1);
        for source in &all {
            assert_eq!(source["quarantined"], 0, "{source}");
        }
        let set = |name: &str| all.iter().filter_map(|source| source[name].as_str()).collect::<BTreeSet<_>>();
        assert_eq!(set("kind").into_iter().collect::<Vec<_>>(), ["folder", "http_poll", "push"]);
        assert_eq!(set("class").len(), 7);
        // twenty-five minutes of the past, and what has been played since; documents are fewer
        let enough = |source: &Value| match source["class"].as_str() {
            Some("gaming_transactions" | "player_accounts" | "sales_redemptions") => 50,
            Some("licences") => 0,
            _ => 3,
        };
        if all.iter().all(|source| source["records"].as_u64() > Some(enough(source))) {
            break;
        }
        assert!(Instant::now() < end, "not everybody delivers: {all:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    // who is excluded is so
    let operator = &simulator.said["operators"][0];
    let asked = json!({"phone": simulator.said["excluded"][0], "purpose": "login"});
    let answer = client.post(format!("{}/api/v1/operators/lookup", server.base));
    let answer =
        answer.bearer_auth(operator["key"].as_str().expect("a key")).json(&asked).send().await.expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer["decision"], "block", "{answer}");

    // somebody breaks, as ordered
    let order = json!({"target": "twiga-play", "kind": "error_500", "for_seconds": 600});
    let ordered =
        client.post(format!("{}/control/faults", simulator.base())).json(&order).send().await.expect("an answer");
    assert_eq!(ordered.status(), 201);
    let wrong = json!({"target": "nobody", "kind": "slow", "for_seconds": 5});
    let refused =
        client.post(format!("{}/control/faults", simulator.base())).json(&wrong).send().await.expect("an answer");
    assert_eq!(refused.status(), 422);
    let end = Instant::now() + PATIENCE;
    loop {
        let all = sources(&client, &server.base, &key).await;
        let is_twiga = |source: &&Value| {
            source["operator"].as_str().and_then(|id| codes.get(id)).is_some_and(|c| c == "twiga-play")
        };
        let failing =
            all.iter().filter(is_twiga).filter(|s| s["last_error"].as_str().is_some_and(|e| e.contains("500")));
        if failing.count() >= 2 {
            break;
        }
        assert!(Instant::now() < end, "the fault is not seen: {all:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let state: Value = client
        .get(format!("{}/control/state", simulator.base()))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(state["counts"]["refused"], 0, "{state}");
    assert!(state["counts"]["pushed"].as_u64() > Some(1_000), "{state}");
    simulator.end();

    let truths = truths(dir.path());
    assert_eq!(truths.first().map(|line| line["truth"].clone()), Some("world".into()));
    assert_eq!(truths.last().map(|line| line["truth"].clone()), Some("end".into()));
    let ordered =
        |line: &&Value| line["truth"] == "fault" && line["target"] == "twiga-play" && line["kind"] == "error_500";
    assert_eq!(truths.iter().filter(ordered).count(), 1);
    server.stop();
}

/// A demo that has said everything, killed with its value.
struct Demo {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    said: String,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Demo {
    fn start(dir: &Path) -> Self {
        simulator();
        let mut child = Command::new(PROGRAM)
            .args(["demo", "--port", "0", "--dir"])
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(dir.join("complaints")).expect("a file"))
            // a group of its own, as a shell gives it
            .process_group(0)
            .spawn()
            .expect("the demo starts");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let mut demo = Self { child, out, said: String::new() };
        while !demo.said.contains("End with Ctrl-C.") {
            assert!(demo.out.read_line(&mut demo.said).expect("text") > 0, "the demo ended: {}", demo.said);
        }
        demo
    }

    /// Where the simulator answers.
    fn control(&self) -> &str {
        let word = self.said.split_whitespace().find(|word| word.ends_with("/control/faults")).expect("an address");
        word.trim_end_matches("/faults")
    }

    fn simulator_listens(&self) -> bool {
        let host = self.control().trim_start_matches("http://").split('/').next().expect("a host");
        std::net::TcpStream::connect(host).is_ok()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_plays_says_what_to_look_at_and_leaves_nobody_behind() {
    let dir = testkit::temp_dir();
    // its own client needs the provider that `prepare` installs elsewhere
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut demo = Demo::start(dir.path());
    for word in [
        "/?t=",
        "/docs",
        "/api/v1/operators/lookup",
        "/api/v1/nser/register",
        "/api/v1/alerts",
        "/api/v1/system/actors",
        "/control/faults",
        "Twiga Play",
        "Chui Casino",
    ] {
        assert!(demo.said.contains(word), "{word} in {}", demo.said);
    }
    // it goes on: the past is pushed at once, questions come with the time
    let client = reqwest::Client::new();
    let end = Instant::now() + PATIENCE;
    loop {
        let state: Value = get(&client, format!("{}/state", demo.control()), "").await;
        if state["counts"]["pushed"].as_u64() > Some(1_000) && state["counts"]["asked"].as_u64() > Some(3) {
            break;
        }
        assert!(Instant::now() < end, "nobody plays: {state}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Ctrl-C reaches the whole group
    let group = format!("-{}", demo.child.id());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().expect("kill runs").success());
    assert!(demo.child.wait().expect("it ends").success());
    let complaints = std::fs::read_to_string(dir.path().join("complaints")).expect("text");
    assert!(!complaints.contains("the simulated market"), "{complaints}");
    demo.out.read_to_string(&mut demo.said).expect("the rest");
    assert!(!demo.simulator_listens(), "the simulator is gone");
    let last = truths(dir.path()).pop().expect("a line");
    assert_eq!(last["truth"], "end", "it ended in order");
}

#[test]
fn a_simulator_does_not_outlive_a_demo_that_is_killed() {
    let dir = testkit::temp_dir();
    let mut demo = Demo::start(dir.path());
    assert!(demo.simulator_listens());
    demo.child.kill().expect("kill -9");
    demo.child.wait().expect("it ends");
    let end = Instant::now() + PATIENCE;
    while demo.simulator_listens() {
        assert!(Instant::now() < end, "the simulator lives on");
        std::thread::sleep(Duration::from_millis(20));
    }
}
