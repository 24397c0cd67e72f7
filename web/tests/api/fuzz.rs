//! Nine thousand requests that nobody means: whatever comes in, an answer of the contract goes out, nothing panics, and
//! the node is as good as before.
//!
//! `MLINZI_FUZZ_SEED` repeats a run, `MLINZI_FUZZ_REQUESTS` lengthens one; a failure names the seed and the request.

mod body;
mod chance;
mod generate;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Once;
use std::time::Duration;

use chance::Chance;
use generate::{FOLLOW_UP, World};
use parking_lot::Mutex;
use serde_json::{Value, json};
use web::problem::{Code, PROBLEM_JSON};
use web::routes::{LOOKUP_PATH, endpoints};
use wire::{Heard, Request};

use crate::node::{Key, Node};

const SEED: u64 = 0x6d6c_696e_7a69;
const REQUESTS: u64 = 11_400;
/// How often a request that an overloaded node turned away is sent again.
const AGAIN: u32 = 20;
/// Requests between two looks at the node.
const WITNESS_EVERY: usize = 500;
/// Of nobody else: excluded before the first request, and never named by one.
const EXCLUDED: &str = "+254711000001";
/// The same, and never excluded.
const PLAYER: &str = "+254711000002";

/// Where the process panicked since the watch began; what other tests inject on purpose is left out.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[actix_web::test]
async fn whatever_comes_in_an_answer_of_the_contract_goes_out() {
    let seed = from_env("MLINZI_FUZZ_SEED", SEED);
    let node = Node::start().await;
    watch_panics();
    let (world, witness) = prepare(&node).await;
    let mut chance = Chance::new(seed);
    let mut told = Told::default();
    for n in 0..from_env("MLINZI_FUZZ_REQUESTS", REQUESTS) as usize {
        let request = generate::request(&mut chance, &world, n);
        let outcome = answered(&node, &request).await;
        let heard = outcome.and_then(|heard| judge(&request, &heard).map(|()| heard));
        match heard {
            Ok(heard) => heard.iter().for_each(|answer| told.note(&request, answer.status)),
            Err(why) => panic!("seed {seed:#x}, request {n}: {why}\n{}", shown(&request)),
        }
        // let go of before the assertion: the hook wants it too
        let panics = PANICS.lock().clone();
        assert!(panics.is_empty(), "seed {seed:#x}, request {n}: panics at {panics:?}\n{}", shown(&request));
        if n % WITNESS_EVERY == 0 {
            witness.sees_the_register(&node).await;
        }
    }
    witness.sees_the_register(&node).await;
    assert_eq!(node.call("GET", "/health/ready", None, "").await.status, 200, "seed {seed:#x}");
    unharmed(&node.call("GET", "/metrics", None, "").await.text);
    told.is_broad();
    node.stop().await;
}

fn from_env(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return default };
    let parsed = text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16));
    parsed.unwrap_or_else(|_| panic!("{name} is no number"))
}

/// Every panic of the process is noted, wherever it is caught afterwards. The kernel's hook, which is there since the
/// node started, is called behind.
fn watch_panics() {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let place = info.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
            if !place.contains("tests/api/") {
                PANICS.lock().push(place);
            }
            before(info);
        }));
    });
}

/// Operators, keys, a source, an exclusion and a lookup for the requests to hit, and a witness apart from them.
async fn prepare(node: &Node) -> (World, Witness) {
    let operator = node.operator("fuzz").await;
    let mut bearers = vec![node.staff.clone()];
    for scopes in [&["lookup", "lookup:batch", "register:report"][..], &["feeds:write", "feeds:manage"]] {
        let key = json!({"label": "k", "scopes": scopes, "rate_per_second": 10_000});
        bearers.push(operator.key(node, key).await.bearer);
    }
    let spare = operator.key(node, json!({"label": "spare", "scopes": ["lookup"]})).await;
    let post = async |path: &str, bearer: &str, body: Value| {
        let answer = node.call("POST", path, Some(bearer), &body.to_string()).await;
        assert!(matches!(answer.status, 200 | 201), "{path}: {}", answer.text);
        answer.json()
    };
    let new = |phone: &str| json!({"phone": phone, "period": "6_months", "reason_class": "self", "channel": "web"});
    let source = json!({"name": "fuzz", "class": "gaming_transactions", "clock": "event", "horizon_days": 365});
    let source = post("/api/v1/feeds", &bearers[2], source).await;
    let exclusion = post("/api/v1/nser/register", &node.staff, new("+254700000000")).await;
    let lookup = post(LOOKUP_PATH, &bearers[1], json!({"phone": "+254700000000", "purpose": "bet"})).await;
    post("/api/v1/nser/register", &node.staff, new(EXCLUDED)).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let path = format!("/api/v1/feeds/{}", text(&source["id"]));
    let negative = |n: u32| {
        json!({"record_id": format!("refused-{n}"), "kind": "stake", "occurred_at": "2026-11-01T10:00:00Z",
            "money": {"amount_minor": -100, "currency": "KES"}})
    };
    post(&format!("{path}/records"), &bearers[2], (0..200).map(negative).collect()).await;
    let refused = node.call("GET", &format!("{path}/quarantine?limit=200"), Some(&bearers[2]), "").await.json();
    let refused = refused["items"].as_array().cloned().unwrap_or_default();
    let refused = refused.iter().map(|item| text(&item["id"])).collect();
    let mut ids = vec![
        ("operator", operator.id.clone()),
        ("key", spare.id),
        ("source", text(&source["id"])),
        ("exclusion", text(&exclusion["exclusion_id"])),
        ("lookup_id", text(&lookup["lookup_id"])),
        ("bst", text(&lookup["bst"])),
        ("class", "gaming_transactions".to_owned()),
        ("class", "player_accounts".to_owned()),
    ];
    // enough of them: each is settled once
    for n in 0..40 {
        let report = post("/api/v1/operators/exclusions", &bearers[1], new(&format!("+2547220000{n:02}"))).await;
        ids.push(("report", text(&report["id"])));
    }
    let key = json!({"label": "witness", "scopes": ["lookup"], "rate_per_second": 1000});
    (World { bearers, ids, refused }, Witness(node.operator("witness").await.key(node, key).await))
}

/// An operator that no request names, with two people that no request names.
struct Witness(Key);

impl Witness {
    async fn sees_the_register(&self, node: &Node) {
        for (phone, decision) in [(EXCLUDED, "block"), (PLAYER, "allow")] {
            let body = json!({"phone": phone, "purpose": "bet"}).to_string();
            let answer = node.call("POST", LOOKUP_PATH, Some(&self.0.bearer), &body).await;
            assert_eq!((answer.status, answer.json()["decision"].as_str()), (200, Some(decision)), "{}", answer.text);
        }
    }
}

/// The answers; where a slow machine turns away what matters less, as the contract has it, it is asked again.
async fn answered(node: &Node, request: &Request) -> Result<Vec<Heard>, String> {
    let mut left = AGAIN;
    loop {
        let heard = wire::send(node.address, request).await?;
        let turned_away = |answer: &Heard| {
            let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            answer.status == 503 && problem["title"] == "overloaded" && answer.header("retry-after") == "1"
        };
        if left == 0 || !heard.iter().any(turned_away) {
            return Ok(heard);
        }
        left -= 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Is it what the contract has?
fn judge(request: &Request, heard: &[Heard]) -> Result<(), String> {
    if request.broken {
        // HTTP itself is broken: the server may refuse in its own words, or hang up, but it has no defect
        let defect = heard.iter().find(|answer| answer.status >= 500);
        return defect.map_or(Ok(()), |answer| Err(format!("a status of {}", answer.status)));
    }
    let Some(first) = heard.first() else { return Err("no answer".to_owned()) };
    sound(request, first)?;
    let closed = first.header("connection").eq_ignore_ascii_case("close");
    match heard.get(1) {
        None if request.answers == 2 && !closed => Err("no second answer on a connection that was kept".to_owned()),
        Some(second) if (second.status, second.header("x-request-id")) != (200, FOLLOW_UP) => {
            Err(format!("the request behind was answered with {}: {second:?}", second.status))
        }
        _ if heard.len() > request.answers => Err("more answers than requests".to_owned()),
        _ => Ok(()),
    }
}

fn sound(request: &Request, answer: &Heard) -> Result<(), String> {
    let status = answer.status;
    if status < 400 {
        return Ok(());
    }
    let body = String::from_utf8_lossy(&answer.body);
    let wrong = |what: &str| Err(format!("{what}: {status} {:?} {body}", answer.headers));
    if answer.header("content-type") != PROBLEM_JSON {
        return wrong("an error that is no problem");
    }
    if request.method == "HEAD" {
        return if answer.body.is_empty() { Ok(()) } else { wrong("a head with a body") };
    }
    let Ok(problem) = serde_json::from_slice::<Value>(&answer.body) else { return wrong("a problem that is no JSON") };
    let Some(code) = Code::ALL.iter().find(|code| problem["type"] == code.urn()) else {
        return wrong("an unknown type");
    };
    if code.status() != status || problem["status"] != status || problem["title"] != code.title() {
        return wrong("a problem of another status");
    }
    if problem["request_id"] != answer.header("x-request-id") {
        return wrong("another request id");
    }
    if body.contains("7000000") {
        return wrong("a phone number in a refusal");
    }
    // the receipt of a lookup is there after two seconds, a new source is listed soon; nothing else is ever unavailable
    // on a node that has nothing else to do
    let may_wait = request.endpoint.ends_with("/receipt") || request.endpoint.starts_with("/api/v1/feeds");
    if status >= 500 && !(status == 503 && may_wait && !answer.header("retry-after").is_empty()) {
        return wrong("a defect");
    }
    Ok(())
}

/// No actor was restarted, quarantined, or set a record aside.
fn unharmed(metrics: &str) {
    let harm = ["mlinzi_actor_restarts_total", "mlinzi_actor_dead_letters_total", "mlinzi_actor_quarantined"];
    let counted = metrics.lines().filter(|line| harm.iter().any(|name| line.starts_with(&format!("{name}{{"))));
    let counted: Vec<&str> = counted.collect();
    assert!(!counted.is_empty(), "the metrics have other names now");
    assert!(counted.iter().all(|line| line.ends_with(" 0")), "{counted:#?}");
}

/// What was answered how often.
#[derive(Default)]
struct Told {
    statuses: BTreeMap<u16, usize>,
    reached: BTreeSet<(&'static str, &'static str)>,
}

impl Told {
    fn note(&mut self, request: &Request, status: u16) {
        *self.statuses.entry(status).or_default() += 1;
        if status < 400 {
            self.reached.insert((request.method, request.endpoint));
        }
    }

    /// Requests that all end at the door would prove nothing.
    fn is_broad(&self) {
        let never = endpoints().iter().filter(|e| !self.reached.contains(&(e.method, e.path)));
        // there is no alert and no quarantined actor here
        let never = never.filter(|e| e.path != "/api/v1/alerts/{id}" && !e.path.ends_with("/release"));
        // a stream that is given has no end to wait for
        let never = never.filter(|e| e.path != "/api/v1/stream");
        let never: Vec<String> = never.map(|e| format!("{} {}", e.method, e.path)).collect();
        assert!(never.is_empty(), "never done: {never:?}, {:?}", self.statuses);
        for status in [200, 201, 400, 401, 403, 404, 405, 409, 413, 415, 422] {
            assert!(self.statuses.contains_key(&status), "no {status}: {:?}", self.statuses);
        }
    }
}

/// A request for people, cut.
fn shown(request: &Request) -> String {
    let text: String = request.bytes.iter().take(1500).map(|b| std::ascii::escape_default(*b).to_string()).collect();
    format!("{} bytes: {}", request.bytes.len(), text.replace("\\r\\n", "\r\n"))
}
