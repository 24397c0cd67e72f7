//! What those who run the program rely on: exit codes, the health check, what systemd is told, figures.

mod program;

use actors::api::Unready;
use program::{PROGRAM, Server, get, phone, post, prepare, serve, serve_with, status};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn run(dir: &Path, store: &str, args: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("--store").arg(store).arg("--keys").arg(dir.join("keys.toml")).args(args);
    command.envs(settings.iter().copied()).output().expect("the program runs")
}

#[test]
fn the_exit_code_says_who_has_to_mend_it() {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let away = format!("postgres://nobody@{nobody}/nothing");
    let file = dir.path().join("file");
    std::fs::write(&file, "no folder").expect("a file");
    let under_a_file = format!("sqlite:{}/mlinzi.sqlite", file.display());
    let keys = ["key", "init"];
    assert_eq!(run(dir.path(), &store, &["serve"], &[]).status.code(), Some(78), "no keys");
    assert_eq!(run(dir.path(), &store, &keys, &[]).status.code(), Some(0));
    let nothing: &[(&str, &str)] = &[];
    let table = [
        (store.as_str(), &["check-config"][..], nothing, 0),
        (&store, &["check-config"], &[("MLINZI__NODE__ID", "0")], 78),
        (&store, &["serve"], &[("MLINZI__TRACES__SAMPLE_PERCENT", "101")], 78),
        (&away, &["serve"], nothing, 69),
        (&away, &["migrate"], nothing, 69),
        (&under_a_file, &["serve"], nothing, 69),
        // there is a file already, and no other start or configuration would change that
        (&store, &keys[..], nothing, 1),
    ];
    for (store, args, settings, code) in table {
        let out = run(dir.path(), store, args, settings);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(code), "{args:?} {settings:?}: {said}");
        assert!(code == 0 || said.contains("mlinzi: "), "{args:?} says why: {said}");
    }
}

#[tokio::test]
async fn another_family_than_the_stores_is_a_mistake_of_the_configuration() {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    prepare(dir.path(), &store);
    serve(&reqwest::Client::new(), dir.path(), &store).await.stop();
    let out = run(dir.path(), &store, &["serve", "--port", "0"], &[("MLINZI__ENGINE__FAMILY", "another")]);
    assert_eq!(out.status.code(), Some(78), "{}", String::from_utf8_lossy(&out.stderr));
}

#[tokio::test]
async fn the_health_check_needs_no_other_program() {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    prepare(dir.path(), &store);
    let server = serve(&reqwest::Client::new(), dir.path(), &store).await;
    let port = server.base.rsplit(':').next().expect("a port").to_owned();
    let own = [("MLINZI__SERVER__PORT", port.as_str()), ("MLINZI__SERVER__HOST", "0.0.0.0")];
    let base = server.base.clone();
    let (url, ready) = (["health", "--url", &base], ["health", "--url", &base, "--ready"]);
    let yes = |args: &[&str], settings| {
        let out = run(dir.path(), &store, args, settings);
        (out.status.code(), String::from_utf8_lossy(&out.stdout).contains("\"ok\""))
    };
    assert_eq!(yes(&url, &[]), (Some(0), true));
    assert_eq!(yes(&ready, &[]), (Some(0), true));
    assert_eq!(yes(&["health"], &own), (Some(0), true));
    server.stop();
    for args in [&url[..], &ready] {
        assert_eq!(yes(args, &[]), (Some(1), false));
    }
    assert_eq!(yes(&["health"], &[("MLINZI__SERVER__PORT", "abc")]), (Some(78), false));
}

#[test]
fn the_runbook_knows_every_reason_not_to_be_ready() {
    let runbook = include_str!("../docs/RUNBOOK.md");
    let (_, section) = runbook.split_once("## Health and readiness\n").expect("a section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let known: BTreeSet<&str> = rows.clone().filter_map(|row| row.split('`').next()).collect();
    assert_eq!(known, Unready::ALL.map(Unready::as_str).into(), "those of the runbook and those that there are");
    assert!(rows.clone().all(|row| row.split('|').map(str::trim).filter(|cell| cell.len() > 10).count() == 3));
}

/// Names of a process's threads and how polite they are (`/proc/PID/task/TID/stat`, field 19).
fn threads(pid: u32) -> Vec<(String, i32)> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("threads").flatten();
    let niceness = |task: &Path| {
        let stat = std::fs::read_to_string(task.join("stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(16)?.parse().ok()
    };
    let named = tasks.filter_map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        Some((name.trim_end().to_owned(), niceness(&task.path())?))
    });
    named.collect()
}

#[tokio::test]
async fn batches_give_way_to_whoever_answers_lookups() {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    prepare(dir.path(), &store);
    let server = serve(&reqwest::Client::new(), dir.path(), &store).await;
    let threads = threads(server.child.id());
    let of = |name: &str| threads.iter().find(|(thread, _)| thread == name).map(|(_, niceness)| *niceness);
    let (main, batches) = (of("mlinzi").expect("a main thread"), of("batch-0").expect("a thread for batches"));
    assert_eq!(batches, (main + 10).min(19), "{threads:?}");
    server.stop();
}

/// The service manager's end of the socket.
struct Manager(UnixDatagram);

impl Manager {
    fn next(&self) -> Option<String> {
        let mut message = [0; 1024];
        let length = self.0.recv(&mut message).ok()?;
        Some(String::from_utf8_lossy(&message[..length]).into_owned())
    }

    /// Messages until one begins like this.
    fn until(&self, beginning: &str) -> Vec<String> {
        let (end, mut messages) = (Instant::now() + Duration::from_secs(60), Vec::<String>::new());
        while !messages.last().is_some_and(|last| last.starts_with(beginning)) {
            assert!(Instant::now() < end, "no {beginning}: {messages:?}");
            messages.extend(self.next());
        }
        messages
    }
}

async fn notified(manager: Manager, name: &str) {
    manager.0.set_read_timeout(Some(Duration::from_secs(1))).expect("a limit");
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    prepare(dir.path(), &store);
    let client = reqwest::Client::new();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let mut command = Command::new(PROGRAM);
    command.arg("--store").arg(&store).arg("--keys").arg(dir.path().join("keys.toml"));
    command.args(["serve", "--port", &port.to_string()]).env("MLINZI__LOG__LEVEL", "warn");
    let child = command.env("NOTIFY_SOCKET", name).env("WATCHDOG_USEC", "200000").spawn();
    let server = Server { child: child.expect("the program starts"), base: format!("http://127.0.0.1:{port}") };

    let started = manager.until("READY=1");
    let answer = client.get(format!("{}/health/ready", server.base)).send().await.expect("an answer");
    assert!(answer.status().is_success(), "systemd was told so, and it is not: {}", answer.status());
    let beginning = started.iter().find(|m| !m.starts_with("WATCHDOG=1")).map(String::as_str).unwrap_or_default();
    assert!(beginning.starts_with("EXTEND_TIMEOUT_USEC=60000000\nSTATUS="), "{started:?}");
    manager.until("WATCHDOG=1");
    manager.until("WATCHDOG=1");
    let pid = server.child.id().to_string();
    let stopping = std::thread::spawn(move || server.stop());
    let stopped = manager.until("STOPPING=1");
    assert!(stopped.iter().all(|m| m.starts_with("WATCHDOG=1") || m.starts_with("STOPPING=1")), "{stopped:?}");
    stopping.join().unwrap_or_else(|_| panic!("{pid} ended badly"));
}

#[tokio::test]
async fn systemd_is_told_when_the_engine_is_ready_lives_and_goes() {
    let dir = testkit::temp_dir();
    let path = dir.path().join("notify");
    let manager = Manager(UnixDatagram::bind(&path).expect("a socket"));
    notified(manager, path.to_str().expect("text")).await;
}

#[tokio::test]
async fn systemd_is_told_through_a_socket_without_a_file_too() {
    let name = format!("mlinzi-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let manager = Manager(UnixDatagram::bind_addr(&address).expect("a socket"));
    notified(manager, &format!("@{name}")).await;
}

#[tokio::test]
async fn figures_of_the_register_the_pool_and_the_sources_are_what_is_there() {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    let key = prepare(dir.path(), &store);
    let client = reqwest::Client::new();
    let server = serve_with(&client, dir.path(), &store, &[("MLINZI__STORE__READERS", "3")]).await;
    let base = &server.base;
    for n in 0..5 {
        let person = json!({"phone": phone(40_000_000 + n), "id_number": format!("3000000{n}"), "id_type": "national_id",
            "period": "1_year", "reason_class": "self", "channel": "web"});
        assert_eq!(status(&client, format!("{base}/api/v1/nser/register"), &key, person.to_string()).await, Some(201));
    }
    let operator = json!({"code": "alpha", "name": "Alpha"}).to_string();
    let operator =
        post(&client, format!("{base}/api/v1/operators/register"), &key, operator).await.expect("an operator");
    let source = json!({"operator": operator["id"], "name": "play", "class": "gaming_transactions", "currency": "KES"});
    assert!(post(&client, format!("{base}/api/v1/feeds"), &key, source.to_string()).await.is_some());
    let version = get(&client, format!("{base}/version"), &key).await;
    let build = format!(
        "mlinzi_build_info{{commit=\"{}\",version=\"{}\"}} 1",
        version["commit"].as_str().expect("text"),
        version["version"].as_str().expect("text")
    );
    let wanted = [
        "mlinzi_register_people 5",
        "mlinzi_register_keys 10",
        // two for writing, three for reading, one for the journal
        "mlinzi_store_pool_connections_max 6",
        "mlinzi_sources{freshness=\"never\"} 1",
        "mlinzi_sources{freshness=\"dead\"} 0",
        "mlinzi_live_socket_closes_total{code=\"4008\"} 0",
        "mlinzi_trace_spans_total{outcome=\"dropped\"} 0",
        &build,
    ];
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = client.get(format!("{base}/metrics")).send().await.expect("an answer");
        let text = String::from_utf8(answer.bytes().await.expect("a body").to_vec()).expect("text");
        let missing: Vec<_> = wanted.iter().filter(|line| !text.lines().any(|l| l == **line)).collect();
        let used = text.lines().find_map(|l| l.strip_prefix("mlinzi_store_pool_connections{state=\"used\"} "));
        let used: u32 = used.and_then(|n| n.parse().ok()).unwrap_or_default();
        // the writer's lane and the poll keep theirs
        if missing.is_empty() && (2..=6).contains(&used) {
            break;
        }
        assert!(Instant::now() < end, "{missing:?} and {used} connections in\n{text}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    server.stop();
}
