//! A node under test: engine, server, client, and a socket client of a hundred lines.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use actors::api::NewKey;
use actors::engine::{Engine, EngineConfig, Faults};
use actors::feeds::FeedsConfig;
use actors::live::Rights;
use actors::notifiers::NotifySetup;
use actors::rules::Known;
use actors::secrets::KeyMaterial;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use models::jurisdiction::{Jurisdiction, JurisdictionNo};
use models::money::Currency;
use models::operator::Scope;
use models::phone::Country;
use models::ts::Ts;
use reqwest::RequestBuilder;
use ring::{digest, hmac};
use serde_json::{Value, json};
use store::{Clock, OpenOptions, Store, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use web::proxies::Proxies;
use web::rate::Rates;
use web::tls::TlsFiles;
use web::{AppState, ServerOptions, WebOptions};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running node.
pub struct Node {
    pub address: SocketAddr,
    /// Bearer of a staff key with every scope of staff.
    pub staff: String,
    /// The same of another jurisdiction.
    pub neighbour: String,
    pub engine: Engine,
    state: AppState,
    client: reqwest::Client,
    stop: oneshot::Sender<()>,
    served: actix_web::rt::task::JoinHandle<std::io::Result<()>>,
    material: KeyMaterial,
    dir: testkit::TempDir,
}

/// What differs from one test's node to another's.
pub struct Setup {
    pub faults: Faults,
    pub tls: Option<TlsFiles>,
    pub strangers_per_hour: u32,
    /// The same in batches in a day.
    pub batch_strangers_per_day: u32,
    pub rates: Rates,
    /// Open connections of one address.
    pub address_connections: u32,
    pub proxies: Proxies,
    pub feeds: FeedsConfig,
    pub notify: NotifySetup,
    pub snapshot_every: Duration,
    pub known: Option<Arc<dyn Known>>,
    pub clock: Arc<dyn Clock>,
}

/// The system's clock, as far ahead as a test has set it.
#[derive(Default)]
pub struct AheadClock(AtomicI64);

impl AheadClock {
    /// Sets it so much further ahead, microseconds.
    pub fn go(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for AheadClock {
    fn now(&self) -> Ts {
        SystemClock.now().plus(self.0.load(Ordering::SeqCst))
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            faults: Faults::default(),
            tls: None,
            strangers_per_hour: u32::MAX,
            batch_strangers_per_day: u32::MAX,
            rates: Rates::default(),
            address_connections: 2_000,
            proxies: Proxies::default(),
            feeds: FeedsConfig::default(),
            notify: NotifySetup::default(),
            snapshot_every: Duration::from_secs(300),
            known: None,
            clock: Arc::new(SystemClock),
        }
    }
}

fn jurisdiction(code: &str) -> Jurisdiction {
    Jurisdiction {
        code: code.to_owned(),
        name: "Kenya".to_owned(),
        country: Country::Ke,
        currency: Currency::KES,
        time_zone: "Africa/Nairobi".to_owned(),
    }
}

/// An answer, read to its end.
pub struct Answer {
    pub status: u16,
    pub text: String,
    headers: reqwest::header::HeaderMap,
}

impl Answer {
    /// A header, or nothing.
    pub fn header(&self, name: &str) -> String {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
    }

    /// The body.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not json: {}", self.text))
    }
}

impl Node {
    /// Starts everything and waits until the node is ready.
    pub async fn start() -> Self {
        Self::start_as(Setup::default()).await
    }

    /// The same, with faults.
    pub async fn start_with(faults: Faults) -> Self {
        Self::start_as(Setup { faults, ..Setup::default() }).await
    }

    /// The same with other settings. Behind TLS who calls brings a client that knows the certificate.
    pub async fn start_as(setup: Setup) -> Self {
        Self::start_on(testkit::temp_dir(), KeyMaterial::generate().expect("keys"), setup).await
    }

    /// Stops, and starts on the same store with the same keys.
    pub async fn restart(self, faults: Faults) -> Self {
        self.restart_as(Setup { faults, ..Setup::default() }).await
    }

    /// The same after an end at which its writer was away.
    pub async fn restart_unwritten(mut self) -> Self {
        let dir = std::mem::replace(&mut self.dir, testkit::temp_dir());
        let material = self.material.clone();
        let _ = self.stop.send(());
        self.served.await.expect("the server does not panic").expect("the server ends well");
        // what it could not write is lost, as at a crash
        self.engine.evidence().refuse();
        self.engine.stop(Duration::from_secs(1)).await;
        Self::start_on(dir, material, Setup::default()).await
    }

    /// The same with other settings.
    pub async fn restart_as(mut self, setup: Setup) -> Self {
        let dir = std::mem::replace(&mut self.dir, testkit::temp_dir());
        let material = self.material.clone();
        self.stop().await;
        Self::start_on(dir, material, setup).await
    }

    async fn start_on(dir: testkit::TempDir, material: KeyMaterial, setup: Setup) -> Self {
        // a second test in this process finds it installed
        let _ = rustls::crypto::ring::default_provider().install_default();
        let store =
            Store::open(&testkit::sqlite_url(&dir), &OpenOptions::default()).await.expect("a fresh store opens");
        let keys = Arc::new(material.clone());
        let registry = prometheus::Registry::new();
        let config = EngineConfig {
            live_tick: Duration::from_millis(20),
            snapshot_every: setup.snapshot_every,
            strangers_per_hour: setup.strangers_per_hour,
            batch_strangers_per_day: setup.batch_strangers_per_day,
            feeds: setup.feeds,
            jurisdictions: ["KE", "KE-2"].map(jurisdiction).into(),
            notify: setup.notify,
            known: setup.known,
            faults: setup.faults,
            ..EngineConfig::small("KE")
        };
        let engine = Engine::start(config, store, keys, setup.clock, &registry).await.expect("the engine starts");
        let mut options = WebOptions::new("KE");
        options.rates = setup.rates;
        options.address_connections = setup.address_connections;
        options.proxies = setup.proxies;
        let state = AppState::new(engine.clone(), options, registry).expect("metrics register");
        let staff = |no: u8| NewKey {
            operator: None,
            jurisdiction: JurisdictionNo(no),
            label: "staff".to_owned(),
            scopes: vec![
                Scope::OperatorsManage,
                Scope::RegisterWrite,
                Scope::MarketRead,
                Scope::AlertsManage,
                Scope::RulesManage,
                Scope::SystemRead,
                Scope::SystemManage,
                Scope::FeedsManage,
                Scope::FeedsWrite,
            ],
            purposes: Vec::new(),
            allow_from: Vec::new(),
            rate_per_second: 10_000,
            expires_at: None,
        };
        let neighbour = engine.create_key(staff(1), None).await.expect("a staff key").bearer;
        let staff = engine.create_key(staff(0), None).await.expect("a staff key").bearer;
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let plain = setup.tls.is_none();
        let (tls, shutdown) = (setup.tls, Duration::from_secs(2));
        let options = ServerOptions { workers: 1, shutdown, tls, ..ServerOptions::default() };
        let ended = async move {
            let _ = stopped.await;
        };
        let served = actix_web::rt::spawn(web::run(listener, options, state.clone(), ended));
        let client =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().timeout(PATIENCE).build();
        let node = Self {
            address,
            staff,
            neighbour,
            engine,
            state,
            client: client.expect("a client"),
            stop,
            served,
            material,
            dir,
        };
        if plain {
            node.ready().await;
        }
        node
    }

    async fn ready(&self) {
        let ready = async {
            while self.call("GET", "/health/ready", None, "").await.status != 200 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("the node becomes ready");
    }

    /// Stops server and engine.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.served.await.expect("the server does not panic").expect("the server ends well");
        assert!(self.engine.stop(Duration::from_secs(5)).await, "every queue is drained");
    }

    /// A request to this node.
    pub fn request(&self, method: &str, path: &str, bearer: Option<&str>) -> RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let request = self.client.request(method, format!("http://{}{path}", self.address));
        match bearer {
            Some(bearer) => request.bearer_auth(bearer),
            None => request,
        }
    }

    /// Sends it.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.expect("the server answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.expect("the body is text") }
    }

    /// A call with a JSON body, or none.
    pub async fn call(&self, method: &str, path: &str, bearer: Option<&str>, body: &str) -> Answer {
        let mut request = self.request(method, path, bearer);
        if !body.is_empty() {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        self.send(request).await
    }

    /// Events of a kind, as they are journaled.
    pub async fn journaled(&self, kind: &str) -> Vec<Value> {
        let events = self.engine.store().journal_events(kind).await.expect("the journal");
        events.iter().map(|event| serde_json::to_value(event).expect("an event is json")).collect()
    }

    /// A new operator.
    pub async fn operator(&self, code: &str) -> Operator {
        let body = json!({"code": code, "name": code}).to_string();
        let made = self.call("POST", "/api/v1/operators/register", Some(&self.staff), &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        Operator { id: made.json()["id"].as_str().unwrap_or_default().to_owned() }
    }

    /// The token of a one-time link that shows everything.
    pub fn link(&self) -> String {
        let rights = Rights { market: true, system: true, operator: None, jurisdiction: JurisdictionNo(0) };
        self.state.one_time_link(rights, 60)
    }
}

/// An operator of the node.
pub struct Operator {
    pub id: String,
}

/// A key with its secrets.
pub struct Key {
    pub id: String,
    pub bearer: String,
    signing_secret: Vec<u8>,
}

impl Operator {
    /// A new key.
    pub async fn key(&self, node: &Node, body: Value) -> Key {
        let path = format!("/api/v1/operators/{}/keys", self.id);
        let made = node.call("POST", &path, Some(&node.staff), &body.to_string()).await;
        assert_eq!(made.status, 201, "{}", made.text);
        Key::of(&made.json())
    }
}

impl Key {
    /// As it was made.
    pub fn of(made: &Value) -> Self {
        let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
        let signing_secret = STANDARD.decode(text("signing_secret")).expect("base64");
        Self { id: text("id"), bearer: text("bearer"), signing_secret }
    }

    /// What the signature of an answer must be, as a client computes it from the contract.
    pub fn sign(&self, answer: &Value, request: &str, response: &str) -> String {
        let hash: String =
            digest::digest(&digest::SHA256, request.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect();
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        let signed = format!("{}.{}.{hash}.{response}", text("lookup_id"), text("as_of"));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.signing_secret);
        format!("v1={}", STANDARD.encode(hmac::sign(&key, signed.as_bytes())))
    }

    /// The tamper token of a body behind the one before, as an operator computes it from the contract.
    pub fn tamper_token(&self, before: &[u8], body: &str) -> Vec<u8> {
        let body = digest::digest(&digest::SHA256, body.as_bytes());
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.signing_secret);
        hmac::sign(&key, &[before, body.as_ref()].concat()).as_ref().to_vec()
    }
}

/// A WebSocket, as far as these tests need one (RFC 6455).
pub struct Socket(TcpStream);

enum Frame {
    Text(Vec<u8>),
    Close(Option<u16>),
    Other,
}

impl Socket {
    /// Opens one, or gives the status of the refusal.
    pub async fn open(node: &Node, path: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let stream = TcpStream::connect(node.address).await.expect("the server accepts");
        Self::open_on(stream, node, path, headers).await
    }

    /// One whose kernel takes little for a client that does not read.
    pub async fn open_small(node: &Node, path: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4_096).expect("a small buffer");
        let stream = socket.connect(node.address).await.expect("the server accepts");
        Self::open_on(stream, node, path, headers).await
    }

    async fn open_on(mut stream: TcpStream, node: &Node, path: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let mut head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            node.address
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await.expect("the request is sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.expect("a head comes back"));
        }
        let answer = String::from_utf8_lossy(&answer).to_lowercase();
        let status: u16 = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        if status != 101 {
            return Err(status);
        }
        assert!(answer.contains("sec-websocket-protocol: mlinzi.v1"), "{answer}");
        Ok(Self(stream))
    }

    async fn frame(&mut self) -> Frame {
        let read = async {
            let first = self.0.read_u8().await?;
            let length = match self.0.read_u8().await? {
                126 => u64::from(self.0.read_u16().await?),
                127 => self.0.read_u64().await?,
                short => u64::from(short),
            };
            let mut payload = vec![0; usize::try_from(length).expect("a frame that fits")];
            self.0.read_exact(&mut payload).await?;
            Ok::<_, std::io::Error>(match first & 15 {
                1 => Frame::Text(payload),
                8 => Frame::Close(payload.get(..2).map(|c| u16::from_be_bytes([c[0], c[1]]))),
                _ => Frame::Other,
            })
        };
        tokio::time::timeout(PATIENCE, read).await.expect("a frame comes").unwrap_or(Frame::Close(None))
    }

    /// The next text frame.
    pub async fn json(&mut self) -> Value {
        loop {
            match self.frame().await {
                Frame::Text(text) => return serde_json::from_slice(&text).expect("frames are json"),
                Frame::Close(code) => panic!("closed with {code:?}"),
                Frame::Other => {}
            }
        }
    }

    /// Reads on until the server closes.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Frame::Close(code) = self.frame().await {
                return code;
            }
        }
    }

    /// Sends a text frame, masked with zeros.
    pub async fn text(&mut self, text: &str) {
        let length = u16::try_from(text.len()).expect("a short frame");
        let mut frame = vec![0x81];
        if length < 126 {
            frame.push(0x80 | length as u8);
        } else {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.0.write_all(&frame).await.expect("the frame is sent");
    }
}

/// Prometheus's own judgement; without promtool the test fails and says how to get it.
pub fn promtool_check(text: &str) {
    let mut child = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("promtool is needed: `make test` installs it (Debian: apt-get install prometheus)");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
