//! The screen in a real browser: it signs in by a link, shows the market, moves with it, and tells of an alert.

mod program;

use futures_util::{SinkExt, StreamExt};
use program::{post, prepare, serve};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const PATIENCE: Duration = Duration::from_secs(30);

/// Debian's Chromium, spoken to by its DevTools protocol.
struct Browser {
    child: Child,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    calls: u64,
    /// What pages complained of: exceptions, refused scripts, failed loads.
    complaints: Vec<String>,
    _profile: testkit::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Browser {
    async fn open(client: &reqwest::Client, url: &str) -> Self {
        let profile = testkit::temp_dir();
        let binary = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
            Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
        });
        let binary =
            binary.expect("Chromium is needed: `make test-deps` installs it (Debian: apt-get install chromium)");
        let mut child = Command::new(binary)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"])
            .args(["--disable-background-networking", "--disable-component-update", "--window-size=1280,1600"])
            .args(["--remote-debugging-port=0", "about:blank"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Chromium starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let address = lines.find_map(|line| {
            Some(line.ok()?.split_once("DevTools listening on ws://")?.1.split('/').next()?.to_owned())
        });
        // the pipe must be read on, or the browser stands still
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.expect("Chromium says where its tools listen");
        let made = client.put(format!("http://{address}/json/new?about:blank")).send().await.expect("a page");
        let page: Value = serde_json::from_slice(&made.bytes().await.expect("a body")).expect("JSON");
        let socket = page["webSocketDebuggerUrl"].as_str().expect("the page's socket").to_owned();
        let (socket, _) = tokio_tungstenite::connect_async(socket).await.expect("the page's tools answer");
        let mut browser = Self { child, socket, calls: 0, complaints: Vec::new(), _profile: profile };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({})).await;
        }
        browser.call("Page.navigate", json!({ "url": url })).await;
        browser
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let call = json!({"id": self.calls, "method": method, "params": params}).to_string();
        self.socket.send(Message::text(call)).await.expect("sent");
        let answer = async {
            loop {
                let message = self.socket.next().await.expect("the browser lives").expect("a frame");
                let Ok(frame) = serde_json::from_slice::<Value>(&message.into_data()) else { continue };
                match frame["method"].as_str() {
                    Some("Runtime.exceptionThrown") => self.complaints.push(frame["params"].to_string()),
                    Some("Log.entryAdded") if frame["params"]["entry"]["level"] == "error" => {
                        self.complaints.push(frame["params"]["entry"].to_string());
                    }
                    _ => {}
                }
                if frame["id"] == self.calls {
                    return frame["result"].clone();
                }
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| panic!("{method} is not answered"))
    }

    async fn text(&mut self, expression: &str) -> String {
        let result = self.call("Runtime.evaluate", json!({"expression": expression, "returnByValue": true})).await;
        result["result"]["value"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a text of the page is as wanted, and gives it.
    async fn until(&mut self, what: &str, expression: &str, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let text = self.text(expression).await;
            if wanted(&text) {
                return text;
            }
            if Instant::now() > end {
                let page = self.text("document.body.innerText").await;
                panic!("{what} does not come; the page says:\n{page}\nand complained of {:?}", self.complaints);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn screenshot(&mut self, name: &str) {
        use base64::Engine as _;
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"})).await;
        let png = base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().expect("a picture"));
        std::fs::write(format!("{}/{name}.png", env!("CARGO_TARGET_TMPDIR")), png.expect("base64")).expect("written");
    }
}

/// Stakes of one player each, `step_ms` apart from `from_ms` on.
fn stakes(serial: &str, from_ms: u128, step_ms: u128, count: u128, amount: u64) -> String {
    let line = |n: u128| {
        let at = models::ts::Ts(((from_ms + n * step_ms) * 1_000) as i64).to_string();
        json!({"record_id": format!("{serial}-{n}"), "kind": "stake", "occurred_at": at, "player": {"account_ref": format!("p{}", n % 40)}, "money": {"amount_minor": amount, "currency": "KES"}}).to_string()
    };
    (0..count).map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_screen_shows_the_market_moves_with_it_and_tells_of_an_alert() {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    let key = prepare(dir.path(), &store);
    let client = reqwest::Client::new();
    let server = serve(&client, dir.path(), &store).await;
    let base = &server.base;
    let operator = json!({"code": "simba-bets", "name": "Simba Bets"}).to_string();
    let operator =
        post(&client, format!("{base}/api/v1/operators/register"), &key, operator).await.expect("an operator");
    let source = json!({"operator": operator["id"], "name": "play", "class": "gaming_transactions", "horizon_days": 7, "currency": "KES"});
    let source = post(&client, format!("{base}/api/v1/feeds"), &key, source.to_string()).await.expect("a source");
    let push = format!("{base}/api/v1/feeds/{}/records", source["id"].as_str().expect("an id"));
    let send = async |body: String| {
        let request = client.post(&push).bearer_auth(&key).header("content-type", "application/x-ndjson").body(body);
        assert!(request.send().await.expect("an answer").status().is_success());
    };
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    // twenty ordinary minutes
    let start = now() / 60_000 * 60_000 - 20 * 60_000;
    send(stakes("history", start, 2_000, 600, 10_000)).await;

    let link = post(&client, format!("{base}/api/v1/links"), &key, "{}".to_owned()).await.expect("a link");
    let mut browser = Browser::open(&client, &format!("{base}{}", link["path"].as_str().expect("a path"))).await;
    browser.until("the socket", "document.getElementById('connection').textContent", |t| t == "live").await;
    let row = "document.querySelector('#operators tr')?.innerText ?? ''";
    let before = browser.until("the operator", row, |t| t.contains("simba-bets") && t.contains("60,000")).await;
    assert_eq!(browser.text("location.search").await, "", "the token of the link stays in no history");

    send(stakes("more", now() - 50, 1, 5, 10_000)).await;
    browser.until("the next stakes", row, |t| t.contains("60,500") && t != before).await;
    let alerts = "document.getElementById('alert-list').innerText";
    send(stakes("jump", now() - 100, 1, 90, 5_000_000)).await;
    let alert = browser.until("the alert", alerts, |t| t.contains("critical")).await;
    for said in ["simba-bets", "stakes of the minute", "above the median of"] {
        assert!(alert.contains(said), "{alert}");
    }
    let groups = "document.getElementById('groups').innerText";
    browser
        .until("its group", groups, |t| t.contains("critical") && t.contains("open") && t.contains("simba-bets"))
        .await;

    // what a rule found is told in the rule's unit, and names what it is about by a pseudonym
    let device = stakes("device", now() - 90, 10, 3, 10_000).replace(r#""kind""#, r#""device_id":"one-phone","kind""#);
    send(device).await;
    let found = browser.until("the finding", alerts, |t| t.contains("shared device")).await;
    let head = found.lines().find(|line| line.contains("shared device")).unwrap_or_default();
    assert!(head.starts_with("simba-bets: shared device, 3 accounts, device "), "{head}");
    browser.until("its group", groups, |t| t.contains("simba-bets, device ") && t.contains("shared device")).await;
    browser.screenshot("screen").await;
    assert!(browser.complaints.is_empty(), "the page complains: {:?}", browser.complaints);

    // the contract's page, offline
    browser.call("Page.navigate", json!({"url": format!("{base}/docs")})).await;
    browser.until("the contract", "document.body.innerText", |t| t.contains("/api/v1/operators/lookup")).await;
    browser.screenshot("docs").await;
    assert!(browser.complaints.is_empty(), "the page complains: {:?}", browser.complaints);
}
