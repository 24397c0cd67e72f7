//! What happens when something inside breaks: seen from outside, by whoever calls.

use crate::node::{Key, Node, Operator, Setup, Socket};
use actors::engine::Faults;
use models::record::Record;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::Store;
use tokio::io::AsyncWriteExt;

const PATIENCE: Duration = Duration::from_secs(30);

async fn feed(node: &Node, operator: &Operator) -> (Key, String) {
    let scopes = json!({"label": "k", "scopes": ["feeds:write", "feeds:manage"], "rate_per_second": 1000});
    let key = operator.key(node, scopes).await;
    let new = json!({"name": "bets", "class": "gaming_transactions", "clock": "event", "horizon_days": 30}).to_string();
    let source = node.call("POST", "/api/v1/feeds", Some(&key.bearer), &new).await;
    assert_eq!(source.status, 201, "{}", source.text);
    let path = format!("/api/v1/feeds/{}/records", source.json()["id"].as_str().unwrap_or_default());
    (key, path)
}

fn batch(ids: &[&str]) -> String {
    let record = |id: &&str| {
        json!({"record_id": id, "kind": "stake", "occurred_at": "2026-11-01T10:00:00Z", "status": "successful",
            "money": {"amount_minor": 100, "currency": "KES"}})
    };
    Value::from_iter(ids.iter().map(record)).to_string()
}

fn poison() -> Faults {
    let panics = |record: &Record| assert!(!record.record_id.starts_with("poison"), "an injected fault");
    Faults { operators: Some(Arc::new(panics)), ..Faults::default() }
}

async fn actor(node: &Node, name: &str) -> Value {
    let listed = node.call("GET", "/api/v1/system/actors", Some(&node.staff), "").await.json();
    let actors = listed["actors"].as_array().cloned().unwrap_or_default();
    actors.into_iter().find(|actor| actor["name"] == name).unwrap_or_default()
}

/// How many records the operator's state counts, once it counts `wanted`.
async fn counted(node: &Node, operator: &Operator, key: &Key, wanted: u64) -> u64 {
    let bearer = format!("Bearer {}", key.bearer);
    let headers = [("Sec-WebSocket-Protocol", "mlinzi.v1"), ("Authorization", bearer.as_str())];
    let mut socket = Socket::open(node, "/ws/dashboards/realtime", &headers).await.expect("a socket");
    let topic = format!("operator:{}", operator.id);
    socket.text(&json!({"type": "subscribe", "topics": [topic]}).to_string()).await;
    let mut seen = 0;
    let until = async {
        while seen != wanted {
            seen = socket.json().await["data"]["currencies"][0]["totals"]["count"].as_u64().unwrap_or(seen);
        }
    };
    let _ = tokio::time::timeout(PATIENCE, until).await;
    seen
}

#[actix_web::test]
async fn records_that_break_an_operators_state_are_set_aside_for_good() {
    let node = Node::start_with(poison()).await;
    let operator = node.operator("acme").await;
    let (key, path) = feed(&node, &operator).await;
    for ids in [&["1", "2"][..], &["3", "poison-a", "4", "poison-b", "5"], &["6"]] {
        let pushed = node.call("POST", &path, Some(&key.bearer), &batch(ids)).await;
        assert_eq!(pushed.json()["accepted"].as_u64(), Some(ids.len() as u64), "{}", pushed.text);
    }
    assert_eq!(counted(&node, &operator, &key, 6).await, 6);
    let state = actor(&node, "operator:acme").await;
    assert_eq!((state["state"].as_str(), state["dead_letters"].as_u64()), (Some("running"), Some(2)), "{state}");
    assert_eq!(state["restarts"].as_u64(), Some(0), "a bad record is no crash of the actor: {state}");

    // recovery leaves them aside, too, and finds nothing new: the faults are still there
    let node = node.restart(poison()).await;
    assert_eq!(counted(&node, &operator, &key, 6).await, 6);
    let state = actor(&node, "operator:acme").await;
    assert_eq!((state["state"].as_str(), state["dead_letters"].as_u64()), (Some("running"), Some(0)), "{state}");

    // mended or not, the state stays a function of what is journaled
    let node = node.restart(Faults::default()).await;
    assert_eq!(counted(&node, &operator, &key, 6).await, 6);
    node.stop().await;
}

/// A figure of this process.
async fn figure(node: &Node, name: &str) -> u64 {
    let text = node.call("GET", "/metrics", None, "").await.text;
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or_default()
}

#[actix_web::test]
async fn an_operator_starts_from_what_was_kept_of_it_or_from_everything_where_that_is_spoilt() {
    let often = || Setup { snapshot_every: Duration::from_millis(50), ..Setup::default() };
    let node = Node::start_as(often()).await;
    let operator = node.operator("acme").await;
    let (key, path) = feed(&node, &operator).await;
    let push = async |node: &Node, id: String| {
        let pushed = node.call("POST", &path, Some(&key.bearer), &batch(&[&id])).await;
        assert_eq!(pushed.json()["accepted"].as_u64(), Some(1), "{}", pushed.text);
    };
    push(&node, "first".to_owned()).await;
    let kept = async {
        while figure(&node, "mlinzi_operator_states_kept_total").await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, kept).await.expect("a state is kept");
    // so few inputs are not worth another one
    for n in 0..5 {
        push(&node, format!("later-{n}")).await;
    }
    assert_eq!(counted(&node, &operator, &key, 6).await, 6);

    let node = node.restart(Faults::default()).await;
    assert_eq!(counted(&node, &operator, &key, 6).await, 6);
    assert_eq!(figure(&node, "mlinzi_operator_inputs_replayed_total").await, 5, "all but the first");

    // whoever has the database but not the keys cannot make an operator look other than it is
    let spoil = "UPDATE operator_states SET operator_seq = operator_seq + 3";
    assert_eq!(node.engine.store().execute_for_tests(spoil).await.expect("it is spoilt"), 1);
    let node = node.restart(Faults::default()).await;
    assert_eq!(counted(&node, &operator, &key, 6).await, 6);
    assert_eq!(figure(&node, "mlinzi_operator_inputs_replayed_total").await, 6, "all of them");
    node.stop().await;
}

#[actix_web::test]
async fn a_source_that_is_given_up_goes_on_once_it_is_released() {
    let broken = Arc::new(AtomicBool::new(true));
    let fault = {
        let broken = Arc::clone(&broken);
        move |_: &Record| assert!(!broken.load(Ordering::Relaxed), "an injected fault")
    };
    let node = Node::start_with(Faults { sources: Some(Arc::new(fault)), ..Faults::default() }).await;
    let operator = node.operator("acme").await;
    let (key, path) = feed(&node, &operator).await;
    let release = |name: &str| {
        let body = json!({"actor": name}).to_string();
        async { node.call("POST", "/api/v1/system/actors/release", Some(&node.staff), &{ body }).await }
    };
    assert_eq!(release("source:acme/bets").await.status, 409, "it runs");
    assert_eq!(release("source:acme/none").await.status, 404);
    let by_operator = node.call("POST", "/api/v1/system/actors/release", Some(&key.bearer), "{}").await;
    assert_eq!(by_operator.status, 403);

    let given_up = async {
        for n in 0.. {
            // one that waits in the queue is not answered before its release, or 60 s
            let push = node.request("POST", &path, Some(&key.bearer)).header("content-type", "application/json");
            let _ = push.body(batch(&[&format!("r{n}")])).timeout(Duration::from_millis(300)).send().await;
            if actor(&node, "source:acme/bets").await["state"] == "quarantined" {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, given_up).await.expect("an actor that panics on everything is given up");
    let refused = node.call("POST", &path, Some(&key.bearer), &batch(&["refused"])).await;
    assert_eq!(refused.status, 503, "{}", refused.text);

    broken.store(false, Ordering::Relaxed);
    assert_eq!(release("source:acme/bets").await.status, 204);
    let pushed = node.call("POST", &path, Some(&key.bearer), &batch(&["after"])).await;
    assert_eq!((pushed.status, pushed.json()["accepted"].as_u64()), (200, Some(1)), "{}", pushed.text);
    node.stop().await;
}

#[actix_web::test]
async fn a_caller_who_hangs_up_leaves_no_number_to_be_given_twice() {
    let node = Node::start().await;
    for n in 0..20 {
        let body = json!({"code": format!("gone-{n}"), "name": "gone"}).to_string();
        let mut stream = tokio::net::TcpStream::connect(node.address).await.expect("the server accepts");
        let head = format!(
            "POST /api/v1/operators/register HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            node.staff,
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        tokio::time::sleep(Duration::from_micros(300 * n)).await;
        // a reset, not an end: the server drops the handler
        stream.set_zero_linger().expect("a socket option");
        drop(stream);
        node.operator(&format!("stays-{n}")).await;
    }
    let mut codes = Vec::new();
    let mut query = "?limit=500".to_owned();
    loop {
        let page = node.call("GET", &format!("/api/v1/operators{query}"), Some(&node.staff), "").await.json();
        codes.extend(
            page["items"].as_array().into_iter().flatten().map(|o| o["code"].as_str().unwrap_or_default().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("?limit=500&cursor={cursor}");
    }
    for n in 0..20 {
        assert!(codes.contains(&format!("stays-{n}")), "stays-{n} is gone: {codes:?}");
    }
    // and after a restart the tables say the same as the memory did
    let before = codes.len();
    let node = node.restart(Faults::default()).await;
    let page = node.call("GET", "/api/v1/operators?limit=500", Some(&node.staff), "").await.json();
    assert_eq!(page["items"].as_array().map(Vec::len), Some(before), "{page}");
    node.stop().await;
}

/// The state of the one refused record of a source, and its id.
async fn refused(node: &Node, quarantine: &str) -> (String, String) {
    let list = node.call("GET", quarantine, Some(&node.staff), "").await.json();
    let text = |name: &str| list["items"][0][name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("id"))
}

/// What another process does to a refused record while the source judges what shall take its place.
#[derive(Default)]
struct Rival {
    /// Where and which; taken by the first record that is judged.
    next: Mutex<Option<(Store, String)>>,
    /// It that was begun, whether or not it came to an end in time.
    begun: Mutex<Option<std::thread::JoinHandle<()>>>,
    is_faster: AtomicBool,
}

impl Rival {
    /// Dismisses it, unless somebody on this thread is in the middle of a commit and the rival would have to wait for that.
    fn dismiss(&self) {
        let Some((store, id)) = self.next.lock().take() else { return };
        let (told, settled) = std::sync::mpsc::channel();
        let sql = format!("UPDATE quarantine SET state = 'dismissed', reason = 'test_data' WHERE id = '{id}'");
        *self.begun.lock() = Some(std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let _ = told.send(runtime.block_on(store.execute_for_tests(&sql)).is_ok_and(|rows| rows == 1));
        }));
        self.is_faster.store(settled.recv_timeout(Duration::from_secs(2)) == Ok(true), Ordering::Release);
    }
}

#[actix_web::test]
async fn whoever_settles_a_refused_record_too_late_hears_of_a_conflict() {
    let rival = Arc::new(Rival::default());
    let fault = {
        let rival = Arc::clone(&rival);
        move |record: &Record| {
            if record.record_id.starts_with("mended") {
                rival.dismiss();
            }
        }
    };
    let node = Node::start_with(Faults { sources: Some(Arc::new(fault)), ..Faults::default() }).await;
    let operator = node.operator("acme").await;
    let (key, path) = feed(&node, &operator).await;
    let quarantine = path.replace("/records", "/quarantine");
    let push = async |ids: &[&str]| {
        let pushed = node.call("POST", &path, Some(&key.bearer), &batch(ids)).await;
        assert_eq!(pushed.status, 200, "{}", pushed.text);
        pushed.json()
    };
    push(&["known"]).await;
    // until a rival came between what the source read of quarantine and its commit
    for record in 0..10 {
        let bad = batch(&[&format!("bad{record}")]).replace("stake", "stakes");
        node.call("POST", &path, Some(&key.bearer), &bad).await;
        let (state, id) = refused(&node, &quarantine).await;
        assert_eq!(state, "open");
        *rival.next.lock() = Some((node.engine.store().clone(), id.clone()));
        let id_of_record = format!("mended{record}");
        let mended = batch(&[&id_of_record]);
        let mended = mended.trim_matches(['[', ']']);
        let replayed = node.call("POST", &format!("{quarantine}/{id}/replay"), Some(&node.staff), mended).await;
        let begun = rival.begun.lock().take().expect("the source judged it");
        tokio::task::spawn_blocking(move || begun.join()).await.expect("it runs").expect("it ended");
        if rival.is_faster.load(Ordering::Acquire) {
            assert_eq!(replayed.status, 409, "{}", replayed.text);
            assert_eq!(refused(&node, &quarantine).await, ("dismissed".to_owned(), id));
            // nothing of it was stored, and nothing is forgotten
            let pushed = push(&[&id_of_record, "known"]).await;
            assert_eq!((&pushed["accepted"], &pushed["duplicates"]), (&json!(1), &json!(1)), "{pushed}");
            node.stop().await;
            return;
        }
    }
    panic!("no rival was ever faster");
}

#[actix_web::test]
async fn what_a_commit_of_unknown_outcome_put_into_quarantine_is_counted() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let (key, path) = feed(&node, &operator).await;
    let bad = batch(&["bad"]).replace("stake", "stakes");
    assert_eq!(node.call("POST", &path, Some(&key.bearer), &bad).await.status, 200);
    let sql = async |sql: &str| node.engine.store().execute_for_tests(sql).await.expect("the statement runs");
    sql("ALTER TABLE quarantine RENAME TO away").await;
    let failed = node.call("POST", &path, Some(&key.bearer), &bad.replace("bad", "worse")).await;
    assert_eq!(failed.status, 503, "{}", failed.text);
    // the commit was given up, and arrives all the same
    sql("ALTER TABLE away RENAME TO quarantine").await;
    let id = models::ids::QuarantineId(7);
    let late = format!(
        "INSERT INTO quarantine (id, source_no, idx, code, detail, sealed, at) SELECT '{id}', source_no, idx, code, detail, sealed, at FROM quarantine"
    );
    assert_eq!(sql(&late).await, 1);
    let counted = async {
        while figure(&node, "mlinzi_quarantine_open{code=\"invalid_field\"}").await != 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("both are counted");
    node.stop().await;
}
