//! The running program, as its users meet it.
#![allow(dead_code, clippy::needless_pass_by_value)] // each test file uses its part

pub mod play;

use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_mlinzi");

/// A running engine, killed with its value.
pub struct Server {
    pub child: Child,
    pub base: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Asks it to stop (SIGTERM) and waits until it has drained and gone, which it must do cleanly.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "a graceful stop ended with {status}");
    }
}

fn command(dir: &Path, store: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("--store").arg(store).arg("--keys").arg(dir.join("keys.toml")).env("MLINZI__LOG__LEVEL", "warn");
    command.env_remove("MLINZI_KEY");
    command
}

pub fn run(dir: &Path, store: &str, args: &[&str]) -> String {
    let out = command(dir, store).args(args).output().expect("the program runs");
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("text")
}

/// Whether a command succeeds, and all that it says.
pub fn attempt(dir: &Path, store: &str, args: &[&str]) -> (bool, String) {
    let out = command(dir, store).args(args).output().expect("the program runs");
    (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

pub async fn serve(client: &reqwest::Client, dir: &Path, store: &str) -> Server {
    serve_logging(client, dir, store, "warn").await
}

/// A server whose log lines of this level and above lie in `dir/log`.
pub async fn serve_logging(client: &reqwest::Client, dir: &Path, store: &str, level: &str) -> Server {
    serve_with(client, dir, store, &[("MLINZI__LOG__LEVEL", level)]).await
}

/// A server with further settings.
pub async fn serve_with(client: &reqwest::Client, dir: &Path, store: &str, settings: &[(&str, &str)]) -> Server {
    let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).expect("a log file");
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).expect("a free port").port();
    let mut command = command(dir, store);
    command.args(["serve", "--port", &port.to_string()]).envs(settings.iter().copied());
    let child = command.stdout(Stdio::null()).stderr(log).spawn();
    let server = Server { child: child.expect("the program starts"), base: format!("http://127.0.0.1:{port}") };
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let ready = client.get(format!("{}/health/ready", server.base)).send().await;
        if ready.is_ok_and(|r| r.status().is_success()) {
            return server;
        }
        let said = || std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        assert!(Instant::now() < end, "the engine is not ready after a minute: {}", said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The status of a POST.
pub async fn status(client: &reqwest::Client, url: String, key: &str, body: String) -> Option<u16> {
    let request = client.post(url).bearer_auth(key).header("content-type", "application/json").body(body);
    Some(request.send().await.ok()?.status().as_u16())
}

pub async fn post(client: &reqwest::Client, url: String, key: &str, body: String) -> Option<Value> {
    let request = client.post(url).bearer_auth(key).header("content-type", "application/json").body(body);
    let answer = request.send().await.ok()?;
    if !answer.status().is_success() {
        return None;
    }
    serde_json::from_slice(&answer.bytes().await.ok()?).ok()
}

/// The body of a GET that must succeed.
pub async fn get(client: &reqwest::Client, url: String, key: &str) -> Value {
    let answer = client.get(url).bearer_auth(key).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
    serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
}

pub fn phone(n: usize) -> String {
    format!("07{n:08}")
}

/// A file with a new key of somebody who may manage rules.
pub fn hand(dir: &Path, store: &str, label: &str) -> String {
    let made = run(dir, store, &["key", "create", "--label", label, "--scope", "rules:manage", "--json"]);
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let file = dir.join(format!("{}.key", made["id"].as_str().expect("an id")));
    std::fs::write(&file, made["bearer"].as_str().expect("a bearer")).expect("a file");
    let own = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    std::fs::set_permissions(&file, own).expect("for its owner alone");
    file.display().to_string()
}

/// Keys of the engine, and a staff key that may do everything: its bearer.
pub fn prepare(dir: &Path, store: &str) -> String {
    prepare_key(dir, store)["bearer"].as_str().expect("a bearer").to_owned()
}

/// The same, with `signing_secret`.
pub fn prepare_key(dir: &Path, store: &str) -> Value {
    // a second test of this process may have installed it
    let _ = rustls::crypto::ring::default_provider().install_default();
    run(dir, store, &["key", "init"]);
    let scopes =
        ["register:write", "operators:manage", "feeds:manage", "feeds:write", "lookup", "market:read", "system:read"];
    let mut args = vec!["key", "create", "--label", "test", "--rate", "100000", "--json"];
    scopes.iter().for_each(|scope| args.extend(["--scope", scope]));
    serde_json::from_str(&run(dir, store, &args)).expect("JSON")
}
