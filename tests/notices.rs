//! Notices of the running program: channels of a configuration, the command that tries one, an engine that is killed.

mod program;

use program::{PROGRAM, prepare, serve_with};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};

/// Ids of the messages that came.
type Ids = Arc<Mutex<Vec<String>>>;

async fn receiver(listener: TcpListener, ids: Ids) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(receive(stream, Arc::clone(&ids)));
    }
}

async fn receive(stream: TcpStream, ids: Ids) -> std::io::Result<()> {
    let mut stream = BufStream::new(stream);
    let (mut length, mut id) = (0, String::new());
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "webhook-id" => id = value.to_owned(),
            _ => {}
        }
    }
    stream.read_exact(&mut vec![0; length]).await?;
    ids.lock().expect("a lock").push(id);
    stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await?;
    stream.flush().await
}

fn notify(dir: &Path, store: &str, config: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("--config").arg(config).arg("--store").arg(store).arg("--keys").arg(dir.join("keys.toml"));
    command.args(["notify", "test"]).args(args).output().expect("the program runs")
}

fn configuration(dir: &Path, hook: &str) -> PathBuf {
    let secret = dir.join("secret");
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("written");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("closed");
    let path = dir.join("mlinzi.toml");
    let text = format!(
        r#"
        [[notify.channels]]
        name = "in_app"
        kind = "in_app"
        [[notify.channels]]
        name = "hook"
        kind = "webhook"
        allow_private = true
        url = "{hook}"
        secret_file = "{}"
        [[notify.routes]]
        severity = "high"
        hours = {{ zone = "Africa/Nairobi", from = "18:00", to = "08:00" }}
        channels = ["hook"]
        continue = true
        "#,
        secret.display()
    );
    std::fs::write(&path, text).expect("written");
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_reaches_its_channel_through_whichever_engine_runs() {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    prepare(dir.path(), &store);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let config = configuration(dir.path(), &format!("http://{}/in", listener.local_addr().expect("an address")));
    let said = |out: &Output| String::from_utf8_lossy(&[&out.stdout[..], &out.stderr[..]].concat()).into_owned();

    let unknown = notify(dir.path(), &store, &config, &["pager"]);
    assert!(!unknown.status.success() && said(&unknown).contains("no channel pager"), "{}", said(&unknown));
    let alone = notify(dir.path(), &store, &config, &["hook", "--wait", "0"]);
    assert_eq!(alone.status.code(), Some(1));
    assert!(said(&alone).contains("waits: no engine has tried it yet"), "{}", said(&alone));

    // what waited goes out with the next start; the receiver takes connections and says nothing yet
    let client = reqwest::Client::new();
    let settings = [("MLINZI_CONFIG", config.to_str().expect("text"))];
    let server = serve_with(&client, dir.path(), &store, &settings).await;
    let (first, _) = listener.accept().await.expect("it speaks to the receiver");
    // killed while it is under way
    drop(server);
    drop(first);

    let ids = Ids::default();
    tokio::spawn(receiver(listener, Arc::clone(&ids)));
    let server = serve_with(&client, dir.path(), &store, &settings).await;
    let (folder, url, file) = (dir.path().to_owned(), store.clone(), config.clone());
    let tried = tokio::task::spawn_blocking(move || notify(&folder, &url, &file, &["hook"])).await.expect("no panic");
    assert!(tried.status.success() && said(&tried).contains(" is sent"), "{}", said(&tried));
    let waited = said(&alone).split_whitespace().find(|word| word.starts_with("ntf_")).map(str::to_owned);
    let sent = said(&tried).split_whitespace().find(|word| word.starts_with("ntf_")).map(str::to_owned);
    let came = ids.lock().expect("a lock").clone();
    assert_eq!(came, [waited.expect("an id"), sent.expect("an id")], "each once, under its own id");
    server.stop();
}

#[test]
fn a_route_to_nowhere_and_a_secret_that_is_missing_keep_the_engine_from_starting() {
    let dir = testkit::temp_dir();
    let config = configuration(dir.path(), "https://receiver.example/in");
    let run = |command: &str| {
        let mut run = Command::new(PROGRAM);
        run.arg("--config").arg(&config).arg("--store").arg(testkit::sqlite_url(&dir));
        let out = run.arg("--keys").arg(dir.path().join("keys.toml")).arg(command).output().expect("it runs");
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    assert_eq!(run("check-config").0, Some(0));
    let text = std::fs::read_to_string(&config).expect("readable");
    std::fs::write(&config, text.replace(r#"channels = ["hook"]"#, r#"channels = ["hok"]"#)).expect("written");
    let (code, said) = run("check-config");
    assert!(code == Some(78) && said.contains("notify.routes[0].channels: no channel hok"), "{said}");
    std::fs::write(&config, text).expect("written");
    std::fs::remove_file(dir.path().join("secret")).expect("removed");
    prepare(dir.path(), &testkit::sqlite_url(&dir));
    let (code, said) = run("serve");
    assert!(code == Some(78) && said.contains("notify.channels[hook].secret_file: "), "{said}");
}
