//! The market's and the desk's own rules take versions: proposed, promoted by somebody else, tried over history, taken back.

use crate::alert_groups::wait_for;
use crate::live_rules::{alerts, until};
use crate::node::{AheadClock, Node, Setup};
use actors::api::NewKey;
use actors::replay::{self, Span};
use engine::operator_state::OperatorState;
use jiff::tz::TimeZone;
use models::alert::AlertRevision;
use models::jurisdiction::JurisdictionNo;
use models::operator::Scope;
use models::ts::{DAY, HOUR, MINUTE, SECOND, Ts};
use serde_json::{Value, json};
use std::sync::Arc;
use store::Clock as _;

const RULE: &str = "robust_deviation";
/// A day's stakes as ever, half as much again, and nine times as much.
const USUAL: i64 = 100_000;
const MORE: i64 = 145_000;
const MUCH_MORE: i64 = 900_000;

/// A node with staff that proposes and staff that promotes, and a feed with eight weeks of the same day again and again.
struct Steady {
    node: Node,
    clock: Arc<AheadClock>,
    other: String,
    feed: String,
    writes: String,
    /// Midnight of the day on which it begins, UTC.
    begin: Ts,
}

fn setup(clock: &Arc<AheadClock>) -> Setup {
    Setup { clock: clock.clone(), ..Setup::default() }
}

/// Another key of staff.
pub async fn second(node: &Node) -> String {
    let new = NewKey {
        operator: None,
        jurisdiction: JurisdictionNo(0),
        label: "somebody else".to_owned(),
        scopes: vec![Scope::RulesManage],
        purposes: Vec::new(),
        allow_from: Vec::new(),
        rate_per_second: 10_000,
        expires_at: None,
    };
    node.engine.create_key(new, None).await.expect("a key").bearer
}

impl Steady {
    async fn begin() -> Self {
        let clock = Arc::<AheadClock>::default();
        let node = Node::start_as(setup(&clock)).await;
        let other = second(&node).await;
        let acme = node.operator("acme").await;
        let scopes = json!({"label": "k", "scopes": ["feeds:write", "feeds:manage"], "rate_per_second": 1000});
        let writes = acme.key(&node, scopes).await.bearer;
        let new = json!({"name": "bets", "class": "gaming_transactions", "clock": "event", "horizon_days": 60});
        let made = node.call("POST", "/api/v1/feeds", Some(&writes), &new.to_string()).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let feed = format!("/api/v1/feeds/{}/records", made.json()["id"].as_str().expect("an id"));
        let begin = Ts(clock.now().0 / DAY * DAY);
        let steady = Self { node, clock, other, feed, writes, begin };
        let history: Vec<(i64, i64)> = (-58..0).map(|day| (day, USUAL)).collect();
        steady.push(&history).await;
        steady
    }

    /// Noon of a day.
    fn noon(&self, day: i64) -> Ts {
        self.begin.plus(day * DAY + 12 * HOUR)
    }

    /// Days with their stakes.
    async fn push(&self, days: &[(i64, i64)]) {
        let record = |(day, amount): &(i64, i64)| {
            json!({"record_id": format!("{day}-{amount}"), "kind": "stake", "occurred_at": self.noon(*day).to_string(),
                "status": "successful", "player": {"phone": "0712345678"},
                "money": {"amount_minor": amount, "currency": "KES"}, "product": "sportsbook"})
        };
        let records = Value::Array(days.iter().map(record).collect());
        let pushed = self.node.call("POST", &self.feed, Some(&self.writes), &records.to_string()).await;
        assert_eq!(pushed.json()["accepted"], json!(days.len()), "{}", pushed.text);
    }

    async fn does(&self, bearer: &str, path: &str, body: &Value) -> Value {
        does(&self.node, bearer, &format!("{RULE}{path}"), body).await
    }

    /// Computes everything once more: revisions that are the same, and differences.
    async fn replayed(&self) -> (u64, usize) {
        let directory = self.node.engine.directory();
        let operator = directory.operators.values().next().expect("an operator");
        let judged_by = |seq| Arc::clone(directory.rules_as_of(JurisdictionNo(0), seq).deviations());
        let zone = TimeZone::get("Africa/Nairobi").expect("a zone");
        let blank = OperatorState::new(operator.operator_no, operator.code.clone(), zone);
        let span = Span { from: Ts(0), to: self.clock.now().plus(DAY) };
        let (store, whose) = (self.node.engine.store(), (operator.operator_no, operator.id));
        let again = replay::operator(store, whose, &operator.code, blank, &judged_by, span).await.expect("a replay");
        (again.same, again.differences.len())
    }

    /// Waits until the market has taken so many sets of rules.
    async fn taken(&self, sets: usize) {
        let journaled = async || self.node.journaled("operator_rules_taken").await.len();
        until("another set of rules", async || (journaled().await >= sets).then_some(())).await;
        assert_eq!(journaled().await, sets, "and no more");
    }

    /// The alerts, oldest window first: day, version of the rule, newest revision, and stakes that were seen.
    async fn told(&self, alerts_min: usize) -> Vec<(i64, i64, String, i64)> {
        let found = until("alerts", async || {
            let found = alerts(&self.node, RULE, &self.node.staff).await;
            (found.len() >= alerts_min).then_some(found)
        });
        let told = |alert: &Value| {
            assert_eq!((&alert["granularity"], &alert["metric"]), (&json!("day"), &json!("stakes")), "{alert:#}");
            let end = Ts::parse(alert["window_end"].as_str().expect("a time")).expect("a time");
            let number = |value: &Value| value.as_i64().expect("a number");
            let (version, observed) = (number(&alert["rule_version"]), number(&alert["evidence"]["observed"]));
            (
                (end.0 - self.begin.0).div_euclid(DAY),
                version,
                alert["revision"].as_str().unwrap_or("").to_owned(),
                observed,
            )
        };
        let mut all: Vec<_> = found.await.iter().map(told).collect();
        all.sort();
        all
    }
}

pub async fn does(node: &Node, bearer: &str, path: &str, body: &Value) -> Value {
    let done = node.call("POST", &format!("/api/v1/rules/{path}"), Some(bearer), &body.to_string()).await;
    assert!(matches!(done.status, 200..=202), "{path}: {} {}", done.status, done.text);
    done.json()
}

pub fn proposal(parameters: &Value) -> Value {
    json!({"parameters": parameters, "note": "look closer"})
}

pub fn why(note: &str) -> Value {
    json!({"note": note})
}

/// From one version to the other and back; gives it as it stands then.
async fn there_and_back() -> Steady {
    let steady = Steady::begin().await;
    let Steady { node, clock, other, .. } = &steady;
    let made = steady.does(&node.staff, "/versions", &proposal(&json!({"threshold_milli": 3_000}))).await;
    assert_eq!((&made["version"], &made["state"]), (&json!(4), &json!("proposed")), "{made}");
    assert_eq!(made["differs"], json!([{"name": "threshold_milli", "live": 6_000, "this": 3_000}]));
    let own = format!("/api/v1/rules/{RULE}/versions/4/promote");
    assert_eq!(node.call("POST", &own, Some(&node.staff), &why("x").to_string()).await.status, 403);
    let promoted = steady.does(other, "/versions/4/promote", &why("looked at it")).await;
    assert_eq!(promoted["state"], "live", "{promoted}");
    steady.taken(1).await;
    clock.go(3 * DAY);
    steady.push(&[(2, MORE)]).await;
    assert_eq!(steady.told(1).await, [(2, 4, "raised".to_owned(), MORE)]);
    let back = steady.does(&node.staff, "/rollback", &why("too many")).await;
    assert_eq!(back["live"]["version"], 3, "{back}");
    steady.taken(2).await;
    clock.go(4 * DAY);
    steady.push(&[(5, MORE)]).await;
    steady.push(&[(6, MUCH_MORE)]).await;
    assert_eq!(
        steady.told(2).await,
        [(2, 4, "raised".to_owned(), MORE), (6, 3, "raised".to_owned(), MUCH_MORE)],
        "half as much again is nothing to the standard version"
    );
    steady
}

#[actix_web::test]
async fn a_tighter_version_tells_of_a_spike_from_its_promotion_to_its_end_and_after_a_start_as_well() {
    let Steady { node, clock, other, feed, writes, begin } = there_and_back().await;
    let taken = node.journaled("operator_rules_taken").await;
    let node = node.restart_as(setup(&clock)).await;
    let steady = Steady { node, clock, other, feed, writes, begin };
    assert_eq!(steady.told(2).await.len(), 2);
    // late, and still judged by the version of its day
    steady.push(&[(2, 60_000)]).await;
    let corrected = (2, 4, "corrected".to_owned(), MORE + 60_000);
    until("the correction", async || (steady.told(2).await[0] == corrected).then_some(())).await;
    assert_eq!(steady.node.journaled("operator_rules_taken").await, taken, "a start takes no set again");
    // what was said is counted by version
    let path = format!("/api/v1/rules/{RULE}/versions/4/findings");
    let found = steady.node.call("GET", &path, Some(&steady.node.staff), "").await.json();
    assert_eq!((&found["mode"], &found["raised"]), (&json!("live"), &json!(1)), "{found:#}");
    assert_eq!(found["operators"][0]["operator_code"], "acme");
    assert_eq!(found["examples"][0]["finding"]["rule_version"], 4, "{found:#}");
    // all of it follows from what is stored, and not without the sets that were taken
    assert_eq!(steady.replayed().await, (3, 0));
    let gone = steady.node.engine.store().execute_for_tests("DELETE FROM operator_rules").await.expect("they are gone");
    assert_eq!(gone, 2);
    assert_ne!(steady.replayed().await.1, 0);
    steady.node.stop().await;
}

#[actix_web::test]
async fn a_version_of_the_markets_rule_is_tried_over_history_instead_of_a_shadow() {
    let steady = there_and_back().await;
    let Steady { node, other, .. } = &steady;
    let made = steady.does(&node.staff, "/versions", &proposal(&json!({"threshold_milli": 4_000}))).await;
    assert_eq!(made["version"], 5, "{made}");
    let path = format!("/api/v1/rules/{RULE}/versions/5");
    let run = json!({"run": true, "note": "x"}).to_string();
    let refused = node.call("POST", &format!("{path}/shadow"), Some(&node.staff), &run).await;
    assert!(refused.status == 409 && refused.text.contains("Run a backtest of it"), "{}", refused.text);
    let span = json!({"from": steady.noon(4).to_string(), "to": steady.noon(6).plus(HOUR).to_string()});
    let begun = node.call("POST", &format!("{path}/backtests"), Some(&node.staff), &span.to_string()).await;
    assert_eq!(begun.status, 202, "{}", begun.text);
    let place = begun.header("location");
    let shown = until("a backtest", async || {
        let shown = node.call("GET", &place, Some(&node.staff), "").await.json();
        (shown["state"] != "running").then_some(shown)
    })
    .await;
    let result = &shown["result"];
    assert_eq!(
        (&result["both"], &result["only_candidate"], &result["only_live"]),
        (&json!(1), &json!(1), &json!(0)),
        "{shown:#}"
    );
    assert_eq!((&result["candidate"]["raised"], &result["operator_days"]), (&json!(2), &json!(2)), "{shown:#}");
    let example = &result["examples_only_candidate"][0]["finding"];
    assert_eq!((&example["version"], &example["measured"]["observed"]), (&json!(5), &json!(MORE)), "{shown:#}");
    // which is its forecast
    let promoted = steady.does(other, "/versions/5/promote", &why("one more in two days")).await;
    let forecast = &promoted["promoted"]["forecast"];
    assert_eq!(
        (&forecast["basis"], &forecast["findings"], &forecast["operator_hours"]),
        (&json!("backtest"), &json!(2), &json!(48)),
        "{promoted}"
    );
    steady.floods(5).await;
    assert!(node.engine.look_at_promotions().await.is_ok());
    let rule = node.call("GET", &format!("/api/v1/rules/{RULE}"), Some(&node.staff), "").await.json();
    assert_eq!(
        (&rule["live"]["version"], &rule["changes"][0]["what"]),
        (&json!(3), &json!("rolled_back_by_the_brake")),
        "{rule:#}"
    );
    steady.node.stop().await;
}

impl Steady {
    /// Forty alerts of a version within an hour, as the market would store them.
    async fn floods(&self, version: u32) {
        self.clock.go(2 * HOUR);
        let at = self.clock.now();
        for n in 0..40i64 {
            let number = 1_000_000 + n;
            let revision = AlertRevision {
                rule: RULE.to_owned(),
                rule_version: version,
                at,
                operator_seq: number,
                offset: number,
                operator_offset: number,
                ..AlertRevision::for_tests()
            };
            let body = serde_json::to_string(&revision).expect("JSON");
            let sql = format!(
                "INSERT INTO alert_revisions (alert_offset, id, operator_seq, operator_no, operator_offset, rule, kind, severity, body, rule_version, at) VALUES ({number}, '{}', {number}, 1, {number}, '{RULE}', 0, 0, '{body}', {version}, {})",
                revision.id, at.0
            );
            self.node.engine.store().execute_for_tests(&sql).await.expect("a row");
        }
    }
}

#[actix_web::test]
async fn how_long_a_silence_is_takes_versions() {
    let clock = Arc::<AheadClock>::default();
    let node = Node::start_as(setup(&clock)).await;
    let other = second(&node).await;
    does(&node, &node.staff, "feed_silent/versions", &proposal(&json!({"silent_intervals": 2}))).await;
    does(&node, &other, "feed_silent/versions/2/promote", &why("feeds are told of too late")).await;
    let acme = node.operator("acme").await;
    let scopes = json!({"label": "k", "scopes": ["feeds:write", "feeds:manage"], "rate_per_second": 1000});
    let writes = acme.key(&node, scopes).await.bearer;
    let new = json!({"name": "bets", "class": "gaming_transactions", "expected_interval_seconds": 600}).to_string();
    let made = node.call("POST", "/api/v1/feeds", Some(&writes), &new).await;
    assert_eq!(made.status, 201, "{}", made.text);
    // it is listened to, and has spoken, before time passes
    let records = format!("/api/v1/feeds/{}/records", made.json()["id"].as_str().expect("an id"));
    let record = json!([{"record_id": "r1", "kind": "stake", "occurred_at": clock.now().to_string(), "status": "successful",
        "player": {"phone": "0712345678"}, "money": {"amount_minor": 500, "currency": "KES"}}]);
    let pushed = node.call("POST", &records, Some(&writes), &record.to_string()).await;
    assert_eq!(pushed.json()["accepted"], json!(1), "{}", pushed.text);
    // two intervals, and not yet four
    clock.go(25 * MINUTE + SECOND);
    let group = wait_for(&node, "?rule=feed_silent", |_| true).await;
    let path = format!("/api/v1/alerts/{}", group["last_alert"].as_str().expect("an alert"));
    let alert = node.call("GET", &path, Some(&node.staff), "").await.json();
    let said = alert.to_string();
    assert!(said.contains("\"rule_version\":2") && said.contains("\"threshold_milli\":2000"), "{alert:#}");
    // it has neither a shadow nor a history
    let table = [
        ("shadow", json!({"run": true, "note": "x"}), "no version of feed_silent runs in the shadow"),
        ("backtests", json!({}), "history does not say when nobody was listening"),
    ];
    for (what, body, why) in table {
        let path = format!("/api/v1/rules/feed_silent/versions/2/{what}");
        let refused = node.call("POST", &path, Some(&node.staff), &body.to_string()).await;
        assert!(refused.status == 409 && refused.text.contains(why), "{what}: {}", refused.text);
    }
    node.stop().await;
}
