//! E-mail against a real SMTP server (aiosmtpd) on loopback.

use super::bench::NOW;
use super::channels::{channel, secret, told};
use actors::notifiers::{Channel, SendError};
use models::ids::NoticeId;
use models::notice::Notice;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

/// A server, which ends with its value.
struct Server {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    port: u16,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/notifiers/smtp_server.py");
        // the one that has the packages of the system
        let mut command = Command::new("/usr/bin/python3");
        let command = command.arg(script).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("Python is there: make test-deps");
        let mut said = BufReader::new(child.stdout.take().expect("its output")).lines();
        let port = said.next().expect("python3-aiosmtpd is there: make test-deps").expect("its port");
        Self { child, said, port: port.parse().expect("a port") }
    }

    /// Its next mail.
    fn mail(&mut self) -> Value {
        let line = self.said.next().expect("a mail").expect("a line");
        serde_json::from_str(&line).expect("JSON")
    }

    /// Everything it has taken that nobody has looked at.
    fn rest(mut self) -> usize {
        drop(self.child.stdin.take());
        let rest = self.said.by_ref().count();
        self.child.wait().expect("it ends");
        rest
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(server: &Server, tls: &str, to: &[&str]) -> Value {
    json!({
        "name": "mail", "kind": "email", "host": "localhost", "port": server.port, "tls": tls,
        "from": "Mlinzi <mlinzi@regulator.example>", "to": to,
    })
}

fn open(config: Value) -> Arc<dyn Channel> {
    channel(config).unwrap_or_else(|wrong| panic!("{wrong:?}"))
}

async fn send(channel: &Arc<dyn Channel>, notice: &Notice) -> Result<(), SendError> {
    channel.send(notice, NOW).await
}

fn later(why: &str) -> Result<(), SendError> {
    Err(SendError::Retry { why: why.to_owned(), after: None })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_arrives_and_its_repetition_is_the_same_to_the_byte() {
    let mut server = Server::start(&[]);
    let mut notice = told();
    notice.title = "Einsätze: 10×".to_owned();
    let channel = open(config(&server, "none", &["a@regulator.example", "B <b@regulator.example>"]));
    send(&channel, &notice).await.expect("taken");
    send(&channel, &notice).await.expect("taken again");
    let mails = [server.mail(), server.mail()];
    assert_eq!(mails[0], mails[1]);
    assert_eq!(mails[0]["from"], "mlinzi@regulator.example");
    assert_eq!(mails[0]["to"], json!(["a@regulator.example", "b@regulator.example"]));
    let text = mails[0]["text"].as_str().expect("text");
    let lines = [
        format!("Message-ID: <{}@regulator.example>", notice.id),
        "References: <grp-1@regulator.example>".to_owned(),
        "In-Reply-To: <grp-1@regulator.example>".to_owned(),
        "Date: Fri, 15 Jan 2027 08:00:00 +0000".to_owned(),
        "Auto-Submitted: auto-generated".to_owned(),
        "Jurisdiction  KE".to_owned(),
        "Observed 10, expected 1.".to_owned(),
        notice.id.to_string(),
    ];
    for line in &lines {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    let subject = text.lines().find(|l| l.starts_with("Subject: ")).expect("a subject");
    assert!(subject.contains("[high] raised: ") && subject.is_ascii(), "{subject}");
    assert_eq!(server.rest(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_a_server_refuses_for_good_is_not_tried_again() {
    let server = Server::start(&[]);
    let refused = send(&open(config(&server, "none", &["refused@regulator.example"])), &told()).await;
    assert_eq!(refused, Err(SendError::Refused { why: "answered 550".to_owned() }));
    let greylisted = send(&open(config(&server, "none", &["later@regulator.example"])), &told()).await;
    assert_eq!(greylisted, later("answered 451"));
    let port = server.port;
    assert_eq!(server.rest(), 0);
    let mut gone = json!({
        "name": "mail", "kind": "email", "host": "localhost", "port": port, "tls": "none",
        "from": "mlinzi@regulator.example", "to": ["a@regulator.example"],
    });
    let sent = send(&open(gone.take()), &told()).await;
    assert!(matches!(&sent, Err(SendError::Retry { why, .. }) if why.contains("refused")), "{sent:?}");
}

fn partly(why: &str, again: bool) -> Result<(), SendError> {
    Err(SendError::Partly { why: why.to_owned(), again })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_mailbox_keeps_the_mail_from_nobody_else() {
    let mut server = Server::start(&[]);
    let all = ["a@regulator.example", "refused@regulator.example", "b@regulator.example"];
    let notice = told();
    let channel = open(config(&server, "none", &all));
    assert_eq!(send(&channel, &notice).await, partly("answered 550 for 1 of 3 receivers", false));
    let mail = server.mail();
    assert_eq!(mail["to"], json!(["a@regulator.example", "b@regulator.example"]));
    let text = mail["text"].as_str().expect("text");
    assert_eq!(text.matches(&format!("Message-ID: <{}@", notice.id)).count(), 1);
    let dead = ["refused@regulator.example", "refused-too@regulator.example"];
    let sent = send(&open(config(&server, "none", &dead)), &notice).await;
    assert_eq!(sent, Err(SendError::Refused { why: "answered 550".to_owned() }));
    assert_eq!(server.rest(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_refused_for_now_gets_it_later_and_nobody_twice() {
    let mut server = Server::start(&[]);
    // taken at the second try
    let all = ["once@regulator.example", "a@regulator.example", "refused@regulator.example"];
    let (notice, other) = (told(), Notice { id: NoticeId(77), ..told() });
    let channel = open(config(&server, "none", &all));
    let first = partly("answered 451 for 1 of 3 receivers, answered 550 for 1 of 3 receivers", true);
    assert_eq!(send(&channel, &notice).await, first);
    assert_eq!(server.mail()["to"], json!(["a@regulator.example"]));
    // another notice goes to everybody
    assert_eq!(send(&channel, &other).await, partly("answered 550 for 1 of 3 receivers", false));
    assert_eq!(server.mail()["to"], json!(["once@regulator.example", "a@regulator.example"]));
    assert_eq!(send(&channel, &notice).await, partly("answered 550 for 1 of 3 receivers", false));
    let second = server.mail();
    assert_eq!(second["to"], json!(["once@regulator.example"]));
    let text = second["text"].as_str().expect("text");
    assert!(text.contains(&format!("Message-ID: <{}@", notice.id)) && text.contains("a@regulator.example"), "{text}");
    assert_eq!(server.rest(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_in_is_let_in_and_a_wrong_password_can_be_put_right() {
    let (dir, mut server) = (testkit::temp_dir(), Server::start(&["auth"]));
    let with = |password: &str| {
        let mut config = config(&server, "none", &["a@regulator.example"]);
        config["user"] = "mlinzi".into();
        config["password_file"] = json!(secret(&dir, password));
        open(config)
    };
    assert_eq!(send(&with("wrong"), &told()).await, later("not signed in: answered 535"));
    let nobody = open(config(&server, "none", &["a@regulator.example"]));
    assert_eq!(send(&nobody, &told()).await, later("answered 530"));
    send(&with("hunter2"), &told()).await.expect("taken");
    assert_eq!(server.mail()["from"], "mlinzi@regulator.example");
    assert_eq!(server.rest(), 0);
}

/// A certificate for `localhost` that is its own authority, and its key.
fn certificate(dir: &testkit::TempDir) -> [PathBuf; 2] {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let files = ["certificate.pem", "key.pem"].map(|name| dir.path().join(name));
    std::fs::write(&files[0], made.cert.pem()).expect("written");
    std::fs::write(&files[1], made.signing_key.serialize_pem()).expect("written");
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tls_that_is_trusted_no_mail_goes_out() {
    let dir = testkit::temp_dir();
    let files = certificate(&dir);
    let paths = files.each_ref().map(|path| path.to_str().expect("text"));
    let plain = Server::start(&[]);
    let sent = send(&open(config(&plain, "starttls", &["a@regulator.example"])), &told()).await;
    assert_eq!(sent, later("the server does not offer STARTTLS"));
    assert_eq!(plain.rest(), 0);
    for tls in ["starttls", "tls"] {
        let mut server = Server::start(&[tls, paths[0], paths[1]]);
        let stranger = config(&server, tls, &["a@regulator.example"]);
        let sent = send(&open(stranger.clone()), &told()).await;
        assert!(matches!(&sent, Err(SendError::Retry { why, .. }) if why.contains("certificate")), "{tls}: {sent:?}");
        let mut known = stranger;
        known["ca_file"] = json!(files[0]);
        send(&open(known), &told()).await.unwrap_or_else(|e| panic!("{tls}: {e}"));
        assert_eq!(server.mail()["tls"], true, "{tls}");
        assert_eq!(server.rest(), 0, "{tls}");
    }
}
