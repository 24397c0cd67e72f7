use super::super::scenario::Scenario;
use super::super::truth::TruthFile;
use super::*;
use models::ts::{HOUR, MINUTE, SECOND};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::net::TcpListener;

/// No answer takes longer, but for one that is not to come.
const PATIENCE: Duration = Duration::from_secs(30);

struct Peer {
    hub: Arc<Hub>,
    client: reqwest::Client,
    base: String,
    handle: actix_web::dev::ServerHandle,
    dir: tempfile::TempDir,
}

impl Peer {
    /// The demo with an hour behind it; nothing more happens.
    fn start() -> Self {
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let scenario = Arc::new(Scenario::from_toml(Scenario::known("demo").unwrap()).unwrap());
        let now = wall();
        let world = World::new(&scenario, 3, now.plus(-HOUR), now);
        let truth = TruthFile::create(&dir.path().join("truth.ndjson")).unwrap();
        let hub = Arc::new(Hub::new(world, VirtualClock::new(now, 1.0), truth));
        hub.turn().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let server = http::serve(listener, Arc::clone(&hub)).unwrap();
        let handle = server.handle();
        actix_rt::spawn(server);
        let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        Self { hub, client, base, handle, dir }
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("{}{path}", self.base)).send().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap()
    }

    async fn order(&self, target: &str, kind: &str, seconds: u32) -> StatusCode {
        let order = json!({"target": target, "kind": kind, "for_seconds": seconds});
        self.client.post(format!("{}/control/faults", self.base)).json(&order).send().await.unwrap().status()
    }

    fn truths(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir.path().join("truth.ndjson")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

fn ids(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|item| item["record_id"].as_str().unwrap().to_owned()).collect()
}

#[actix_rt::test]
async fn pages_follow_each_other_and_come_to_everything_once() {
    let peer = Peer::start();
    for path in
        ["/operators/twiga-play/transactions", "/operators/twiga-play/accounts", "/statements?operator=twiga-play"]
    {
        let mark = if path.contains('?') { '&' } else { '?' };
        let whole = ids(&peer.json(path).await);
        assert!(whole.len() > 20, "{path}: {}", whole.len());
        // the position of another run, or none at all, is the beginning
        let (mut after, mut pieces) = ("other.5".to_owned(), Vec::new());
        loop {
            let page = peer.json(&format!("{path}{mark}after={after}&limit=7")).await;
            if ids(&page).is_empty() {
                assert_eq!(page["next"], after.as_str(), "nothing more: the position stays");
                break;
            }
            assert!(ids(&page).len() <= 7);
            pieces.extend(ids(&page));
            after = page["next"].as_str().unwrap().to_owned();
        }
        assert_eq!(pieces, whole, "{path}");
    }
}

#[actix_rt::test]
async fn who_knows_a_page_is_told_that_it_is_as_it_was() {
    let peer = Peer::start();
    for path in ["/operators/twiga-play/transactions", "/licences?operator=simba-bets", "/operators/nyati-lotto/sales"]
    {
        let answer = peer.get(path).await;
        let tag = answer.headers()["etag"].clone();
        let again = peer.client.get(format!("{}{path}", peer.base)).header("if-none-match", tag.clone());
        let again = again.send().await.unwrap();
        assert_eq!((again.status(), again.headers()["etag"].clone()), (StatusCode::NOT_MODIFIED, tag), "{path}");
        assert_eq!(again.bytes().await.unwrap().len(), 0);
        let other =
            peer.client.get(format!("{}{path}", peer.base)).header("if-none-match", "\"x\"").send().await.unwrap();
        assert_eq!(other.status(), StatusCode::OK);
    }
}

#[actix_rt::test]
async fn nobody_is_found_where_nobody_is() {
    let peer = Peer::start();
    let table = [
        ("/operators/nobody/transactions", StatusCode::NOT_FOUND),
        ("/statements?operator=nobody", StatusCode::NOT_FOUND),
        ("/statements", StatusCode::BAD_REQUEST),
        ("/operators/twiga-play/transactions?limit=x", StatusCode::BAD_REQUEST),
        ("/operators/twiga-play/transactions?from=1", StatusCode::BAD_REQUEST),
        ("/", StatusCode::NOT_FOUND),
    ];
    for (path, status) in table {
        assert_eq!(peer.get(path).await.status(), status, "{path}");
    }
}

#[actix_rt::test]
async fn sales_are_a_spreadsheet_of_the_last_minutes() {
    let peer = Peer::start();
    let rows = async |minutes: u32| {
        let text = peer.get(&format!("/operators/nyati-lotto/sales?minutes={minutes}")).await.text().await.unwrap();
        assert!(text.starts_with("\"Volgnummer\";\"Datum\";"), "{text}");
        text.lines().count() - 1
    };
    let (all, half) = (rows(120).await, rows(30).await);
    assert!(half > 100 && all > half, "{half} of {all}");
}

#[actix_rt::test]
async fn each_fault_breaks_what_it_says() {
    let peer = Peer::start();
    let path = "/operators/simba-bets/transactions?limit=50";
    let fine = peer.get(path).await.text().await.unwrap();

    assert_eq!(peer.order("simba-bets", "error_500", 600).await, StatusCode::CREATED);
    assert_eq!(peer.get(path).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(peer.get("/operators/twiga-play/transactions").await.status(), StatusCode::OK, "nobody else breaks");
    assert_eq!(peer.get("/statements?operator=simba-bets").await.status(), StatusCode::OK, "nor does its bank");

    // the newest fault holds
    assert_eq!(peer.order("simba-bets", "truncated", 600).await, StatusCode::CREATED);
    let cut = peer.get(path).await;
    assert_eq!(cut.status(), StatusCode::OK);
    assert_eq!(cut.content_length(), Some(fine.len() as u64), "it promises the whole");
    assert!(cut.bytes().await.is_err(), "and breaks off");

    assert_eq!(peer.order("simba-bets", "slow", 600).await, StatusCode::CREATED);
    let mut slow = peer.get(path).await;
    assert_eq!(slow.status(), StatusCode::OK);
    let first = slow.chunk().await.unwrap().unwrap();
    assert!(first.len() < 10, "a byte a second: {}", first.len());
    drop(slow);

    // a silent one speaks when the fault is over
    assert_eq!(peer.order("simba-bets", "silence", 1).await, StatusCode::CREATED);
    let order = peer.hub.faults().pop().unwrap();
    let spoken = peer.get("/operators/simba-bets/accounts").await;
    assert!(peer.hub.now() >= order.to, "not before");
    // the one ordered before holds again
    drop(spoken);

    let told: Vec<Value> = peer.truths().into_iter().filter(|line| line["truth"] == "fault").collect();
    let kinds: Vec<&str> = told.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["silence", "error_500", "truncated", "slow", "silence"], "the planned one, and those ordered");
    let spans = peer.json("/control/faults").await;
    assert_eq!(spans["faults"].as_array().unwrap().len(), told.len());
}

#[actix_rt::test]
async fn an_authority_breaks_for_everybody() {
    let peer = Peer::start();
    assert_eq!(peer.order("tax", "error_500", 600).await, StatusCode::CREATED);
    for path in ["/invoices?operator=simba-bets", "/payments?operator=twiga-play"] {
        assert_eq!(peer.get(path).await.status(), StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    }
    assert_eq!(peer.get("/statements?operator=simba-bets").await.status(), StatusCode::OK);
}

#[actix_rt::test]
async fn orders_that_make_no_sense_are_refused() {
    let peer = Peer::start();
    let url = format!("{}/control/faults", peer.base);
    let send = async |body: &str, kind: &str| {
        let request = peer.client.post(&url).header("content-type", kind).body(body.to_owned());
        request.send().await.unwrap().status()
    };
    let fine = r#"{"target":"bank","kind":"slow","for_seconds":5}"#;
    let table = [
        (r#"{"target":"nobody","kind":"slow","for_seconds":5}"#, "application/json", StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"target":"bank","kind":"slow","for_seconds":0}"#, "application/json", StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"target":"bank","kind":"fire","for_seconds":5}"#, "application/json", StatusCode::BAD_REQUEST),
        (r#"{"target":"bank","kind":"slow","for_seconds":5,"x":1}"#, "application/json", StatusCode::BAD_REQUEST),
        // a page of a browser cannot send JSON here without asking first
        (fine, "text/plain", StatusCode::BAD_REQUEST),
        (fine, "application/json", StatusCode::CREATED),
    ];
    for (body, kind, status) in table {
        assert_eq!(send(body, kind).await, status, "{body} as {kind}");
    }
}

#[actix_rt::test]
async fn declared_totals_are_those_of_the_records_until_somebody_wants_otherwise() {
    let peer = Peer::start();
    let path = "/operators/simba-bets/totals";
    let stakes = |declared: &Value| -> i64 {
        let items = declared["items"].as_array().unwrap().iter();
        let totals = items.flat_map(|item| item["totals"].as_array().unwrap());
        totals.filter(|sum| sum["kind"] == "stake").map(|sum| sum["amount_minor"].as_i64().unwrap()).sum()
    };
    let records = peer.json("/operators/simba-bets/transactions").await;
    let of_records: i64 = records["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["kind"] == "stake")
        .map(|item| item["money"]["amount_minor"].as_i64().unwrap())
        .sum();
    assert!(of_records > 0);
    assert_eq!(stakes(&peer.json(path).await), of_records);
    peer.order("simba-bets", "wrong_totals", 600).await;
    let wrong = stakes(&peer.json(path).await);
    assert!(wrong > of_records);
    assert_eq!(stakes(&peer.json(path).await), wrong);
    let spoiled: Vec<Value> = peer.truths().into_iter().filter(|line| line["truth"] == "spoiled").collect();
    assert!(!spoiled.is_empty(), "the truth says so");
    assert!(spoiled.iter().all(|line| line["record"]["id"].as_str().unwrap().starts_with("totals:")));
}

#[actix_rt::test]
async fn what_should_have_been_asked_in_the_past_is_told() {
    let peer = Peer::start();
    let told = peer.truths();
    let not_asked: Vec<&Value> = told.iter().filter(|line| line["truth"] == "not_asked").collect();
    assert!(not_asked.len() > 50, "{}", not_asked.len());
    assert!(not_asked.iter().all(|line| line["why"] == "before_the_run"));
    assert_eq!(peer.hub.take_asks(10), [], "nothing of it is asked now");
}

#[test]
fn the_clock_runs_fast_and_never_ahead() {
    let fast = VirtualClock::new(wall().plus(-HOUR), 1e9);
    // an hour is over in 3.6 µs then
    std::thread::sleep(Duration::from_millis(1));
    let now = fast.now();
    assert!(now <= wall() && now > wall().plus(-MINUTE), "it has caught up");
    let slow = VirtualClock::new(wall().plus(-HOUR), 1.0);
    assert!(slow.now() < wall().plus(-HOUR + MINUTE), "it is an hour behind");
    assert!(slow.now() >= Ts(0).plus(SECOND));
}

#[test]
fn a_log_forgets_its_oldest_lines_and_says_how_many() {
    let mut log = Log::default();
    for n in 0..10 {
        log.push(Ts(n), n.to_string().into(), 4);
    }
    let page = |after, max| {
        let page = log.page(after, max);
        (page.lines.iter().map(ToString::to_string).collect::<Vec<_>>().concat(), page.next, page.lost)
    };
    assert_eq!(page(6, 100), ("6789".to_owned(), 10, 0));
    assert_eq!(page(7, 2), ("78".to_owned(), 9, 0));
    assert_eq!(page(10, 2), (String::new(), 10, 0));
    assert_eq!(page(2, 100), ("6789".to_owned(), 10, 4));
}
