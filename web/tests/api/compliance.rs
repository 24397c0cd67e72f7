//! How operators keep to their duties: counted by the day, scored, shown, reported.

use crate::alert_groups::{groups, wait_for};
use crate::live_rules::until;
use crate::node::{Answer, Key, Node, Operator, Setup};
use crate::own_rules::{does, proposal, second, why};
use actors::rules::Known;
use engine::rules::input::{Excluded, Facts};
use futures_util::future::LocalBoxFuture;
use models::ids::OperatorNo;
use models::record::Record;
use models::ts::{DAY, HOUR, MINUTE, Ts};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use store::{Clock, SystemClock};

const PATIENCE: Duration = Duration::from_secs(60);

/// The system's clock, moved on by hand.
#[derive(Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> Ts {
        SystemClock.now().plus(self.0.load(Ordering::SeqCst))
    }
}

impl Ahead {
    /// To a time of day in Nairobi, which is three hours ahead: on the next day.
    fn to_next_day_at(&self, hour: i64) {
        let now = self.now();
        let midnight = now.plus(3 * HOUR).floor_to(DAY).plus(-3 * HOUR);
        self.0.fetch_add(midnight.0 + DAY + hour * HOUR - now.0, Ordering::SeqCst);
    }

    /// The local day.
    fn day(&self) -> String {
        self.now().plus(3 * HOUR).to_string()[..10].to_owned()
    }
}

async fn started() -> (Node, Arc<Ahead>) {
    let clock = Arc::new(Ahead::default());
    // noon: nothing of the test lies on another day
    clock.to_next_day_at(12);
    let node = Node::start_as(Setup { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Setup::default() }).await;
    (node, clock)
}

async fn key(node: &Node, operator: &Operator) -> Key {
    let scopes = json!(["feeds:manage", "feeds:write", "lookup"]);
    operator.key(node, json!({"label": "k", "scopes": scopes, "rate_per_second": 1000})).await
}

async fn source(node: &Node, key: &Key, class: &str) -> String {
    let new = json!({"name": class.replace('_', "-"), "class": class, "expected_interval_seconds": 86_400}).to_string();
    let made = node.call("POST", "/api/v1/feeds", Some(&key.bearer), &new).await;
    assert_eq!(made.status, 201, "{}", made.text);
    format!("/api/v1/feeds/{}/records", made.json()["id"].as_str().expect("an id"))
}

/// The same of what others say of the operator: staff makes it, and pushes to it.
async fn papers(node: &Node, operator: &Operator, class: &str) -> String {
    let new = json!({"operator": operator.id, "name": class, "class": class, "expected_interval_seconds": 86_400});
    let made = node.call("POST", "/api/v1/feeds", Some(&node.staff), &new.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    format!("/api/v1/feeds/{}/records", made.json()["id"].as_str().expect("an id"))
}

async fn push(node: &Node, bearer: &str, path: &str, records: &Value) -> Value {
    let pushed = node.call("POST", path, Some(bearer), &records.to_string()).await;
    assert_eq!(pushed.status, 200, "{}", pushed.text);
    pushed.json()
}

async fn read(node: &Node, operator: &Operator, bearer: &str, query: &str) -> Answer {
    let path = format!("/api/v1/operators/{}/compliance{query}", operator.id);
    node.call("GET", &path, Some(bearer), "").await
}

/// The score of a day, once it is as wanted.
async fn scored(node: &Node, operator: &Operator, day: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let mut seen = Value::Null;
    let looked = async {
        loop {
            let answer = read(node, operator, &node.staff, "").await;
            seen = answer.json();
            if seen["current"]["day"] == *day && is_it(&seen["current"]) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let came = tokio::time::timeout(PATIENCE, looked).await;
    assert!(came.is_ok(), "no such score of {day}: {seen:#}");
    seen
}

fn component<'a>(current: &'a Value, name: &str) -> &'a Value {
    let all = current["components"].as_array().expect("components");
    all.iter().find(|one| one["component"] == name).unwrap_or_else(|| panic!("no {name}"))
}

/// Value and points of a component.
fn said(current: &Value, name: &str) -> (Value, Value) {
    let one = component(current, name);
    (one["value"].clone(), one["points_ppm"].clone())
}

#[actix_web::test]
async fn an_operator_is_scored_behind_the_day_with_what_can_be_measured() {
    let (node, clock) = started().await;
    let operator = node.operator("acme").await;
    let key = key(&node, &operator).await;
    let play = source(&node, &key, "gaming_transactions").await;
    let invoices = papers(&node, &operator, "invoices").await;
    let today = clock.day();
    let empty = read(&node, &operator, &node.staff, "").await.json();
    assert_eq!((&empty["current"], &empty["history"]), (&Value::Null, &json!([])), "no day is over");

    let at = |minutes: i64| clock.now().plus(minutes * MINUTE);
    let stake = |id: &str, at: Ts| json!({"record_id": id, "kind": "stake", "occurred_at": at, "money": {"amount_minor": 100, "currency": "KES"}});
    // one record of four is refused: nobody knows its kind
    let mut broken = stake("s4", at(-1));
    broken["kind"] = json!("wager");
    let pushed = push(
        &node,
        &key.bearer,
        &play,
        &json!([stake("s1", at(-3)), stake("s2", at(-2)), stake("s3", at(-1)), broken]),
    )
    .await;
    assert_eq!((&pushed["accepted"], pushed["quarantined"].as_array().map(Vec::len)), (&json!(3), Some(1)));
    // an invoice that was due five days ago at noon, and nobody has paid
    let due = at(-5 * 24 * 60);
    let invoice = json!({"number": "T-1", "authority": "KRA", "due_at": due, "state": "issued", "paid_minor": 0});
    let invoice = json!([{"record_id": "i1", "kind": "invoice", "occurred_at": at(-20 * 24 * 60),
        "money": {"amount_minor": 100_000, "currency": "KES"}, "invoice": invoice}]);
    push(&node, &node.staff, &invoices, &invoice).await;
    // an alert that nobody judges
    wait_for(&node, "?rule=late_remittance", |_| true).await;

    clock.to_next_day_at(12);
    let seen = scored(&node, &operator, &today, |_| true).await;
    let current = &seen["current"];
    assert_eq!(said(current, "quarantine"), (json!(200_000), json!(0)), "one of five records sent");
    let (late, points) = said(current, "payments");
    let days_milli = late.as_i64().expect("days late");
    assert!((5_490..=5_510).contains(&days_milli), "five days and a half at midnight: {days_milli}");
    assert_eq!(points, json!(1_000_000 - days_milli * 500_000 / 7_000 - i64::from(days_milli * 500_000 % 7_000 > 0)));
    assert_eq!(said(current, "completeness"), (json!(1_000_000), json!(1_000_000)));
    assert_eq!(said(current, "freshness"), (json!(1_000_000), json!(1_000_000)));
    assert_eq!(said(current, "alerts"), (Value::Null, Value::Null), "nobody judged it, so nothing is known");
    let history = &component(current, "alerts")["figures"];
    assert!(history["raised"].as_i64() >= Some(1) && history["raised"] == history["unjudged"], "{history}");
    assert_eq!(component(current, "quarantine")["figures"], json!({"records_sent": 5, "records_quarantined": 1}));
    // whoever nobody could have asked about is in no share
    assert_eq!(said(current, "last_bet_worst"), (Value::Null, Value::Null));
    assert_eq!(
        (&current["measured_weight"], &current["revision"], &current["formula"]),
        (&json!(45), &json!(1), &json!(5))
    );
    assert_eq!(current["band"], "not_enough_measured", "a score of so little has no band");
    assert_eq!(seen["formula"]["least_weight"], json!(60));
    let history = seen["history"].as_array().expect("a history");
    assert_eq!((history.len(), &history[0]["day"], &history[0]["score"]), (1, &json!(today), &current["score"]));

    // stakes of nobody are counted with their day
    let is_counted = async || (!node.journaled("compliance_day_counted").await.is_empty()).then_some(());
    until("the day is counted", is_counted).await;
    // missed days are made up for; the invoice grows older with each
    clock.to_next_day_at(12);
    clock.to_next_day_at(12);
    // no feed is silent for four intervals yet
    clock.to_next_day_at(10);
    let newest = Ts(clock.now().0 - DAY).plus(3 * HOUR).to_string()[..10].to_owned();
    let seen = scored(&node, &operator, &newest, |_| true).await;
    let history = seen["history"].as_array().expect("a history");
    assert_eq!(history.len(), 4, "{history:#?}");
    let payments: Vec<i64> = history.iter().map(|day| day["points_ppm"]["payments"].as_i64().unwrap_or(-1)).collect();
    assert!(payments.windows(2).all(|pair| pair[1] < pair[0]), "{payments:?}");

    assert_eq!(component(&seen["current"], "last_bet_worst")["figures"]["bets_identified_ppm"], json!(0));

    // nothing is lost with the process, and no day is scored twice
    let given = node.journaled("compliance_scored").await.len();
    let node = node.restart_as(Setup { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Setup::default() }).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(scored(&node, &operator, &newest, |_| true).await["history"], seen["history"]);
    assert_eq!(node.journaled("compliance_scored").await.len(), given);

    // paid late, as is heard of days after: the recent days are looked at again within the hour
    let payments = papers(&node, &operator, "payments").await;
    let paid = json!({"method": "mpesa", "account": "KE11 0000 4711", "reference": "p1", "invoice": "T-1", "authority": "KRA", "state": "completed"});
    let paid = json!([{"record_id": "p1", "kind": "payment", "occurred_at": due.plus(DAY),
        "money": {"amount_minor": 100_000, "currency": "KES"}, "payment": paid}]);
    push(&node, &node.staff, &payments, &paid).await;
    clock.0.fetch_add(HOUR + MINUTE, Ordering::SeqCst);
    let seen = scored(&node, &operator, &newest, |current| current["revision"] == 2).await;
    assert_eq!(said(&seen["current"], "payments").0, json!(1_000));
    node.stop().await;
}

/// The register and its evidence, told by the record: one that begins with `asked` is of somebody who was asked about a
/// minute before, one with `excluded` of somebody who was excluded ninety minutes before, the others of somebody known.
struct ById;

impl Known for ById {
    fn of(
        &self,
        _: OperatorNo,
        _: Ts,
        records: Arc<[Record]>,
    ) -> LocalBoxFuture<'static, Result<Option<Vec<Facts>>, String>> {
        let facts = |record: &Record| {
            let before = |minutes: i64| record.occurred_at.plus(-minutes * MINUTE);
            let is = |what: &str| record.record_id.starts_with(what);
            Facts {
                is_identified: record.player.is_some(),
                checked_at: is("asked").then(|| before(1)),
                excluded: is("excluded").then(|| Excluded { since: before(90), until: None }),
                ..Facts::default()
            }
        };
        Box::pin(std::future::ready(Ok(Some(records.iter().map(facts).collect()))))
    }
}

#[actix_web::test]
async fn logins_without_a_check_and_bets_behind_an_exclusion_are_counted_and_scored() {
    let clock = Arc::new(Ahead::default());
    clock.to_next_day_at(12);
    let setup =
        || Setup { clock: Arc::clone(&clock) as Arc<dyn Clock>, known: Some(Arc::new(ById)), ..Setup::default() };
    let node = Node::start_as(setup()).await;
    let operator = node.operator("acme").await;
    let key = key(&node, &operator).await;
    let play = source(&node, &key, "gaming_transactions").await;
    let today = clock.day();
    let record = |id: &str, kind: &str, phone: u32, minutes: i64| {
        json!({"record_id": id, "kind": kind, "occurred_at": clock.now().plus(minutes * MINUTE), "player": {"phone": format!("07120000{phone:02}")},
            "money": if kind == "stake" { json!({"amount_minor": 100, "currency": "KES"}) } else { Value::Null }})
    };
    let mut records: Vec<Value> = (0..18).map(|n| record(&format!("asked-{n}"), "login", n, -30)).collect();
    records.extend([record("login-1", "login", 18, -29), record("login-2", "login", 19, -28)]);
    records.extend([record("asked-bet", "stake", 1, -20), record("excluded-bet", "stake", 2, -19)]);
    let pushed = push(&node, &key.bearer, &play, &Value::from(records)).await;
    assert_eq!(pushed["accepted"], 22, "{pushed}");
    wait_for(&node, "?rule=excluded_play", |_| true).await;

    clock.to_next_day_at(12);
    let is_counted = |current: &Value| component(current, "checks")["value"].is_number();
    // the day may be counted behind its first score: then it is scored again within the hour
    let came = tokio::time::timeout(Duration::from_secs(20), async {
        while node.journaled("compliance_day_counted").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(came.await.is_ok(), "the day is over and counted");
    clock.0.fetch_add(HOUR + MINUTE, Ordering::SeqCst);
    let seen = scored(&node, &operator, &today, is_counted).await;
    let current = &seen["current"];
    assert_eq!(said(current, "checks"), (json!(900_000), json!(0)), "two of twenty");
    assert_eq!(
        component(current, "checks")["figures"],
        json!({"entries": 20, "lacking": 2, "in_evidence_gaps": 0, "unidentified": 0})
    );
    assert_eq!(said(current, "last_bet_worst").0, json!(90));
    assert_eq!(said(current, "last_bet_median").0, json!(90));
    let bets = &component(current, "last_bet_worst")["figures"];
    assert_eq!((&bets["bets_unidentified"], &bets["bets_identified_ppm"]), (&json!(0), &json!(1_000_000)));
    assert_eq!(current["measured_weight"], json!(80), "no invoice was due, and nobody judged an alert");

    // a start counts nothing twice
    let node = node.restart_as(setup()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let days = node.journaled("compliance_day_counted").await;
    let days: Vec<(&Value, &Value)> = days.iter().map(|day| (&day["day"], &day["revision"])).collect();
    assert_eq!(days.iter().filter(|(day, _)| **day == today).count(), 1, "{days:?}");
    node.stop().await;
}

#[actix_web::test]
async fn a_report_is_read_as_csv_and_pdf_by_whom_it_concerns_alone() {
    let (node, clock) = started().await;
    let (acme, other) = (node.operator("acme").await, node.operator("other").await);
    let (own, others) = (key(&node, &acme).await, key(&node, &other).await);
    source(&node, &own, "gaming_transactions").await;
    let today = clock.day();
    for _ in 0..40 {
        clock.to_next_day_at(12);
    }
    let newest = Ts(clock.now().0 - DAY).plus(3 * HOUR).to_string()[..10].to_owned();
    scored(&node, &acme, &newest, |_| true).await;
    scored(&node, &other, &newest, |_| true).await;

    let span = format!("?from={today}&to={newest}");
    let table = [
        ("staff", node.staff.as_str(), &acme, 200),
        ("the operator's own key", own.bearer.as_str(), &acme, 200),
        ("another operator's", others.bearer.as_str(), &acme, 404),
        ("staff of another jurisdiction", node.neighbour.as_str(), &acme, 404),
    ];
    for (who, bearer, operator, status) in table {
        assert_eq!(read(&node, operator, bearer, &span).await.status, status, "{who}");
    }
    let path = format!("/api/v1/operators/{}/compliance", acme.id);
    assert_eq!(node.call("GET", &path, None, "").await.status, 401);
    for wrong in
        ["?from=2026-13-01", "?to=soon", "?format=xls", "?days=3", "?from=2020-01-01", "?from=2030-01-01&to=2029-01-01"]
    {
        assert_eq!(read(&node, &acme, &node.staff, wrong).await.status, 422, "{wrong}");
    }

    let json = read(&node, &acme, &own.bearer, &span).await.json();
    assert_eq!(json["history"].as_array().map(Vec::len), Some(40), "{:#}", json["history"]);
    assert_eq!(json["formula"]["components"].as_array().map(Vec::len), Some(8));
    let csv =
        node.send(node.request("GET", &format!("{path}{span}"), Some(&own.bearer)).header("accept", "text/csv")).await;
    assert_eq!((csv.status, csv.header("content-type").as_str()), (200, "text/csv; charset=utf-8"));
    let lines: Vec<Vec<&str>> = csv.text.split_terminator("\r\n").map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 41, "a head and a row a day");
    assert!(lines.iter().all(|line| line.len() == 8 + 2 * 8 + 4), "{lines:?}");
    for (line, day) in lines[1..].iter().zip(json["history"].as_array().expect("days")) {
        let score = day["score"].as_i64().map_or(String::new(), |score| score.to_string());
        assert_eq!((line[0], line[2]), (day["day"].as_str().expect("a day"), score.as_str()));
    }
    let figures = &lines[0][8 + 2 * 8..];
    assert_eq!(figures, ["bets_identified_ppm", "alerts_raised", "alerts_unjudged", "alerts_open"]);
    let hash = ring::digest::digest(&ring::digest::SHA256, csv.text.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(json["history_sha256"], json!(hash), "whoever has the file can tell");

    let pdf = || async {
        let request = node.request("GET", &format!("{path}{span}&format=pdf"), Some(&own.bearer));
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "application/pdf");
        let name = format!("attachment; filename=\"compliance-acme-{today}-{newest}.pdf\"");
        assert_eq!(response.headers()["content-disposition"].to_str().expect("text"), name);
        response.bytes().await.expect("bytes")
    };
    let first = pdf().await;
    assert!(first.starts_with(b"%PDF-"));
    assert!(String::from_utf8_lossy(&first).contains("/Count 3"), "newest, forty days, formula");
    assert_eq!(first, pdf().await, "the same data, the same bytes");
    node.stop().await;
}

#[actix_web::test]
async fn operators_of_whom_little_is_measured_are_ranked_first() {
    let (node, clock) = started().await;
    let today = clock.day();
    let mut operators = Vec::new();
    for code in ["calm", "late", "idle"] {
        let operator = node.operator(code).await;
        let key = key(&node, &operator).await;
        if code != "idle" {
            source(&node, &key, "gaming_transactions").await;
        }
        if code == "late" {
            let invoices = papers(&node, &operator, "invoices").await;
            let due = clock.now().plus(-20 * DAY);
            let invoice =
                json!({"number": "T-1", "authority": "KRA", "due_at": due, "state": "overdue", "paid_minor": 0});
            let invoice = json!([{"record_id": "i1", "kind": "invoice", "occurred_at": due,
                "money": {"amount_minor": 100_000, "currency": "KES"}, "invoice": invoice}]);
            push(&node, &node.staff, &invoices, &invoice).await;
        }
        operators.push((operator, key));
    }
    let none = node.call("GET", "/api/v1/compliance", Some(&node.staff), "").await.json();
    assert_eq!((&none["day"], &none["items"]), (&Value::Null, &json!([])));
    clock.to_next_day_at(12);
    for (operator, _) in &operators {
        scored(&node, operator, &today, |_| true).await;
    }
    let (mut codes, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = node.call("GET", &format!("/api/v1/compliance?limit=1{cursor}"), Some(&node.staff), "").await.json();
        assert_eq!(page["day"], json!(today));
        codes.extend(page["items"].as_array().expect("items").iter().map(|one| one["operator_code"].clone()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(codes, ["idle", "late", "calm"], "of whom nothing was measured comes first");
    let table = [
        ("?band=good", node.staff.as_str(), 200, Some(0)),
        ("?band=not_enough_measured", node.staff.as_str(), 200, Some(3)),
        ("?day=2020-01-01", node.staff.as_str(), 200, Some(0)),
        ("?day=soon", node.staff.as_str(), 422, None),
        ("?band=best", node.staff.as_str(), 422, None),
        ("?cursor=x", node.staff.as_str(), 422, None),
        ("", node.neighbour.as_str(), 200, Some(0)),
        ("", operators[0].1.bearer.as_str(), 403, None),
    ];
    for (query, bearer, status, items) in table {
        let answer = node.call("GET", &format!("/api/v1/compliance{query}"), Some(bearer), "").await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text);
        let seen = items.map(|_| answer.json()["items"].as_array().map_or(0, Vec::len));
        assert_eq!(seen, items, "{query}");
    }
    node.stop().await;
}

/// Seconds of silence that a score has of a feed that never said a word, under a version of the rule.
async fn silent_seconds(version: Option<&Value>) -> i64 {
    let (node, clock) = started().await;
    if let Some(parameters) = version {
        let other = second(&node).await;
        does(&node, &node.staff, "feed_silent/versions", &proposal(parameters)).await;
        does(&node, &other, "feed_silent/versions/2/promote", &why("nobody should hear of it")).await;
    }
    let operator = node.operator("acme").await;
    let key = key(&node, &operator).await;
    let new = json!({"name": "bets", "class": "gaming_transactions", "expected_interval_seconds": 3_600}).to_string();
    assert_eq!(node.call("POST", "/api/v1/feeds", Some(&key.bearer), &new).await.status, 201);
    // nothing is held against a source that nobody listens to
    let is_heard =
        async || node.engine.sources(None).iter().all(|source| source.listening_since.is_some()).then_some(());
    until("it is listened to", is_heard).await;
    let today = clock.day();
    clock.to_next_day_at(12);
    if version.is_none() {
        wait_for(&node, "?rule=feed_silent", |_| true).await;
    }
    let has_silence = async || {
        let standing = node.engine.store().standing_silences().await.expect("silences");
        (!standing.is_empty()).then_some(())
    };
    until("the silence is measured", has_silence).await;
    // the day may be scored before: then it is scored again within the hour
    clock.0.fetch_add(HOUR + MINUTE, Ordering::SeqCst);
    let figure = |current: &Value| component(current, "freshness")["figures"]["silent_seconds"].as_i64().unwrap_or(0);
    let seen = scored(&node, &operator, &today, |current| figure(current) > 0).await;
    if version.is_some() {
        assert_eq!(groups(&node, "?rule=feed_silent").await, Vec::<Value>::new(), "the rule says nothing of it");
    }
    node.stop().await;
    figure(&seen["current"])
}

#[actix_web::test]
async fn a_silence_counts_the_same_whatever_the_rule_says() {
    let standard = silent_seconds(None).await;
    let loose = silent_seconds(Some(&json!({"silent_intervals": 1_000, "dead_intervals": 2_000}))).await;
    // made at noon, expected within the hour: eleven hours, but for how long the test took to make it
    for seconds in [standard, loose] {
        assert!((11 * 3_600 - 60..=11 * 3_600).contains(&seconds), "{standard} {loose}");
    }
}
