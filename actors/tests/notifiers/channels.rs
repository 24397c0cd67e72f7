//! The channels that speak HTTP, against servers on loopback that write down what they are sent.

use super::bench::{NOW, notice};
use actors::notifiers::{Channel, ChannelConfig, SendError, open};
use data_encoding::BASE64;
use models::ids::{AlertId, OperatorNo};
use models::jurisdiction::Jurisdiction;
use models::money::Currency;
use models::notice::{Notice, NoticeKind, NoticeOperator};
use models::phone::Country;
use models::ts::SECOND;
use parking_lot::Mutex;
use ring::hmac;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};

/// What was sent.
#[derive(Clone, Debug)]
struct Request {
    line: String,
    headers: HashMap<String, String>,
    body: String,
}

/// A server that answers everything alike.
struct Server {
    base: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// `answer` is the head and body, or empty: none ever comes.
    async fn answering(answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let (kept, answer) = (Arc::clone(&requests), answer.replace('\n', "\r\n"));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&kept), answer.clone()));
            }
        });
        Self { base, requests }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().clone()
    }
}

async fn converse(stream: TcpStream, kept: Arc<Mutex<Vec<Request>>>, answer: String) -> std::io::Result<()> {
    let mut stream = BufStream::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let body = String::from_utf8(body).expect("text");
    kept.lock().push(Request { line: line.trim_end().to_owned(), headers, body });
    if answer.is_empty() {
        return std::future::pending().await;
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.flush().await?;
    // an answer that goes on is not cut off by this end
    while answer.contains("endless") {
        stream.write_all(&[b'x'; 4_096]).await?;
        stream.flush().await?;
    }
    Ok(())
}

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\nConnection: close\n\nok";

fn jurisdictions() -> Vec<Jurisdiction> {
    vec![Jurisdiction {
        code: "KE".to_owned(),
        name: "Kenya".to_owned(),
        country: Country::Ke,
        currency: Currency::KES,
        time_zone: "Africa/Nairobi".to_owned(),
    }]
}

/// A channel as it is configured.
pub fn channel(config: Value) -> Result<Arc<dyn Channel>, Vec<String>> {
    // a second test in this process finds it installed
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config: ChannelConfig = serde_json::from_value(config).map_err(|e| vec![e.to_string()])?;
    open(&[config], &jurisdictions()).map(|mut opened| opened.remove(0).channel)
}

/// A file with a secret.
pub fn secret(dir: &testkit::TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("secret");
    std::fs::write(&path, text).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("closed");
    path
}

pub fn told() -> Notice {
    let mut notice = notice(7, "grp-1");
    notice.operator = Some(NoticeOperator { no: OperatorNo(1), code: "acme".to_owned() });
    notice.alerts = vec![AlertId(1)];
    notice.title = "Stakes of acme ten times as high as usual".to_owned();
    notice.lines = vec!["Observed 10, expected 1.".to_owned()];
    notice.count = 3;
    notice
}

const SECRETS: [&str; 2] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"];

fn webhook(url: &str, dir: &testkit::TempDir) -> Arc<dyn Channel> {
    let secret = secret(dir, &SECRETS.join("\n"));
    let config = json!({"name": "hook", "kind": "webhook", "allow_private": true, "url": url, "secret_file": secret});
    channel(config).unwrap_or_else(|wrong| panic!("{wrong:?}"))
}

#[tokio::test]
async fn a_webhook_is_signed_with_every_secret_and_repeated_under_its_id() {
    let (dir, server) = (testkit::temp_dir(), Server::answering(OK).await);
    let (channel, notice) = (webhook(&format!("{}/in?x=1", server.base), &dir), told());
    channel.send(&notice, NOW).await.expect("taken");
    channel.send(&notice, NOW.plus(5 * SECOND)).await.expect("taken again");
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    for (request, seconds) in requests.iter().zip([1_800_000_000, 1_800_000_005]) {
        assert_eq!(request.line, "POST /in?x=1 HTTP/1.1");
        assert_eq!(request.headers["webhook-id"], notice.id.to_string());
        assert_eq!(request.headers["webhook-timestamp"], seconds.to_string());
        let signed = format!("{}.{seconds}.{}", notice.id, request.body);
        let signatures: Vec<&str> = request.headers["webhook-signature"].split(' ').collect();
        assert_eq!(signatures.len(), SECRETS.len());
        for (secret, signature) in SECRETS.iter().zip(signatures) {
            let bytes = BASE64.decode(&secret.as_bytes()["whsec_".len()..]).expect("base64");
            let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
            let tag = BASE64.decode(signature.strip_prefix("v1,").expect("v1").as_bytes()).expect("base64");
            hmac::verify(&key, signed.as_bytes(), &tag).expect("the signature holds");
        }
    }
    assert_eq!(requests[0].body, requests[1].body, "whoever has seen it sees that it is the same");
    let body: Value = serde_json::from_str(&requests[0].body).expect("JSON");
    let expected = json!({
        "type": "notice.raised",
        "timestamp": "2027-01-15T08:00:00.000Z",
        "data": {
            "id": notice.id, "group": "grp-1", "alerts": [AlertId(1)], "count": 3, "severity": "high", "rule": "spike",
            "operator": "acme", "jurisdiction": "KE", "title": "Stakes of acme ten times as high as usual",
            "lines": ["Observed 10, expected 1."],
        },
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn what_a_server_answers_decides_whether_it_is_tried_again() {
    let later = |why: &str, after: Option<u64>| {
        Err(SendError::Retry { why: why.to_owned(), after: after.map(Duration::from_secs) })
    };
    let table = [
        ("HTTP/1.1 204 No Content\nConnection: close\n\n", Ok(())),
        // nothing of it is read
        ("HTTP/1.1 200 OK\nContent-Length: 1000000000\nX-Is: endless\n\n", Ok(())),
        ("HTTP/1.1 503 Busy\nRetry-After: 7\nContent-Length: 0\n\n", later("answered 503", Some(7))),
        ("HTTP/1.1 401 Who\nContent-Length: 0\n\n", later("answered 401", None)),
        // a redirection could lead into the engine's own network
        ("HTTP/1.1 302 There\nLocation: /elsewhere\nContent-Length: 0\n\n", later("answered 302", None)),
        ("HTTP/1.1 422 No\nContent-Length: 0\n\n", Err(SendError::Refused { why: "answered 422".to_owned() })),
    ];
    for (answer, expected) in table {
        let (dir, server) = (testkit::temp_dir(), Server::answering(answer).await);
        assert_eq!(webhook(&server.base, &dir).send(&told(), NOW).await, expected, "{answer}");
        assert_eq!(server.requests().len(), 1, "{answer}");
    }
}

#[tokio::test]
async fn who_does_not_answer_is_not_waited_for_and_who_is_away_is_told_by_no_address() {
    let (dir, server) = (testkit::temp_dir(), Server::answering("").await);
    let sent = webhook(&server.base, &dir).send(&told(), NOW).await;
    assert_eq!(sent, Err(SendError::Retry { why: "no answer in time".to_owned(), after: None }));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let sent = webhook(&format!("http://{address}/secret-path"), &dir).send(&told(), NOW).await;
    let Err(SendError::Retry { why, after: None }) = sent else { panic!("{sent:?}") };
    assert!(why.contains("refused") && !why.contains("secret-path"), "{why}");
}

#[tokio::test]
async fn a_name_that_leads_into_the_own_network_is_not_followed() {
    let (dir, server) = (testkit::temp_dir(), Server::answering(OK).await);
    let port = server.base.rsplit(':').next().expect("a port");
    let secret = secret(&dir, SECRETS[0]);
    let config = |url: String| json!({"name": "hook", "kind": "webhook", "url": url, "secret_file": secret});
    let named = channel(config(format!("https://localhost:{port}/"))).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    let sent = named.send(&told(), NOW).await;
    let Err(SendError::Retry { why, after: None }) = sent else { panic!("{sent:?}") };
    assert_eq!(why, "the address is not public, and allow_private is not set");
    for literal in ["127.0.0.1", "[::1]", "169.254.169.254"] {
        let wrong = channel(config(format!("https://{literal}:{port}/"))).err().expect("refused at the start");
        assert!(wrong[0].starts_with("notify.channels[hook].url: "), "{wrong:?}");
    }
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn slack_gets_blocks_at_its_secret_address() {
    let (dir, server) = (testkit::temp_dir(), Server::answering(OK).await);
    let url = secret(&dir, &format!("{}/services/T0/B0/hunter2\n", server.base));
    let config = json!({"name": "chat", "kind": "slack", "allow_private": true, "url_file": url});
    let channel = channel(config).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    channel.send(&told(), NOW).await.expect("taken");
    let request = server.requests().remove(0);
    assert_eq!(request.line, "POST /services/T0/B0/hunter2 HTTP/1.1");
    assert_eq!(request.headers["content-type"], "application/json");
    let body: Value = serde_json::from_str(&request.body).expect("JSON");
    assert_eq!(body["text"], "Raised: Stakes of acme ten times as high as usual");
    assert_eq!(body["blocks"][0]["type"], "header");
    assert_eq!(body["blocks"][2]["text"]["text"], "Observed 10, expected 1.");
    assert!(body["blocks"][3].to_string().contains(&told().id.to_string()), "{body}");
}

#[tokio::test]
async fn pagerduty_opens_and_closes_one_incident_a_group() {
    let accepted = "HTTP/1.1 202 Accepted\nContent-Length: 0\nConnection: close\n\n";
    let (dir, server) = (testkit::temp_dir(), Server::answering(accepted).await);
    let key = secret(&dir, "0123456789abcdef0123456789abcdef");
    let url = format!("{}/v2/enqueue", server.base);
    let config =
        json!({"name": "pager", "kind": "pagerduty", "allow_private": true, "url": url, "routing_key_file": key});
    let channel = channel(config).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    let mut notice = told();
    channel.send(&notice, NOW).await.expect("taken");
    notice.kind = NoticeKind::Resolved;
    channel.send(&notice, NOW).await.expect("taken");
    let bodies: Vec<Value> = server.requests().iter().map(|r| serde_json::from_str(&r.body).expect("JSON")).collect();
    let actions: Vec<&Value> = bodies.iter().map(|body| &body["event_action"]).collect();
    assert_eq!(actions, ["trigger", "resolve"]);
    for body in &bodies {
        assert_eq!(body["dedup_key"], "grp-1");
        assert_eq!(body["routing_key"], "0123456789abcdef0123456789abcdef");
        assert_eq!(body["payload"]["severity"], "error");
        assert_eq!(body["payload"]["custom_details"]["notice"], notice.id.to_string());
    }
}

#[tokio::test]
async fn a_gateway_gets_one_text_in_its_own_form() {
    let (dir, server) = (testkit::temp_dir(), Server::answering(OK).await);
    let token = secret(&dir, "hunter2");
    let config = json!({
        "name": "sms", "kind": "sms", "allow_private": true, "url": format!("{}/send", server.base), "format": "form",
        "headers": [["Authorization", "Bearer {secret}"], ["Accept", "application/json"]],
        "body": "To={to}&Body={text}", "to": "+254700000001", "secret_file": token,
    });
    let channel = channel(config).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    channel.send(&told(), NOW).await.expect("taken");
    let request = server.requests().remove(0);
    assert_eq!(request.headers["authorization"], "Bearer hunter2");
    assert_eq!(request.headers["idempotency-key"], told().id.to_string());
    assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
    let text = "Mlinzi+high+acme%3A+Stakes+of+acme+ten+times+as+high+as+usual";
    assert_eq!(request.body, format!("To=%2B254700000001&Body={text}"));
}

#[test]
fn what_is_wrong_with_channels_is_told_with_its_place_and_without_a_secret() {
    let wrong = |config: Value| channel(config).err().expect("wrong").join("; ");
    let table = [
        (json!({"name": "Bad Name", "kind": "in_app"}), "notify.channels[0].name: "),
        (json!({"name": "a", "kind": "in_app", "per_minute": 0}), "notify.channels[a].per_minute: "),
        (json!({"name": "a", "kind": "telex"}), "unknown variant `telex`"),
        (json!({"name": "a", "kind": "slack", "url": "https://hooks.slack.com/hunter2"}), "unknown field `url`"),
        (json!({"name": "a", "kind": "slack"}), "notify.channels[a].url_file: neither it nor url_env is set"),
        (json!({"name": "a", "kind": "slack", "url_file": "/nowhere"}), "notify.channels[a].url_file: /nowhere: "),
        (
            json!({"name": "a", "kind": "webhook", "url": "http://hooks.example", "secret_file": "x"}),
            "[a].url: without TLS",
        ),
        (
            json!({"name": "a", "kind": "email", "host": "mail.example", "tls": "none", "from": "a@b", "to": []}),
            "[a].tls: none is for a server on this machine only; notify.channels[a].to: ",
        ),
    ];
    for (config, expected) in table {
        let said = wrong(config.clone());
        assert!(said.contains(expected) && !said.contains("hunter2"), "{config}: {said}");
    }
}
