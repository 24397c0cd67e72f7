//! What is to come of an operator's figures: from records that were pushed, by the clock of the feed.

use crate::live_rules::until;
use crate::node::{Node, Operator};
use models::alert::{AlertRevision, RevisionKind, Window};
use models::ts::{DAY, HOUR, Ts};
use serde_json::{Value, json};

/// 5 January 2026, a Monday, 00:00 in Nairobi.
const BEGIN: Ts = Ts(1_767_560_400_000_000);
/// Days of the story: the last one is open, and of one nothing was sent.
const DAYS: i64 = 50;
const HOLE: i64 = 20;

/// Stakes of a day: more at the end of the week.
fn stakes(day: i64) -> i64 {
    100_000 + if day % 7 > 4 { 60_000 } else { 0 } + day * 7_919 % 4_000
}

fn payouts(day: i64) -> i64 {
    stakes(day) * 4 / 5
}

fn record(kind: &str, day: i64, hour: i64, amount_minor: i64) -> Value {
    json!({"record_id": format!("{kind}-{day}-{hour}"), "kind": kind, "status": "successful", "product": "sportsbook",
        "occurred_at": BEGIN.plus(day * DAY + hour * HOUR).to_string(), "player": {"phone": "0712345678"},
        "money": {"amount_minor": amount_minor, "currency": "KES"}})
}

struct Feed {
    operator: Operator,
    /// May push.
    key: String,
    path: String,
}

async fn feed(node: &Node) -> Feed {
    let operator = node.operator("acme").await;
    let scopes = json!({"label": "k", "scopes": ["feeds:write", "feeds:manage"], "rate_per_second": 1000});
    let key = operator.key(node, scopes).await.bearer;
    let new = json!({"name": "bets", "class": "gaming_transactions", "clock": "event", "horizon_days": 60});
    let made = node.call("POST", "/api/v1/feeds", Some(&key), &new.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let path = format!("/api/v1/feeds/{}/records", made.json()["id"].as_str().expect("an id"));
    let own = format!("/api/v1/operators/{}/forecast?metric=stakes", operator.id);
    let asked = async || (node.call("GET", &own, Some(&key), "").await.status == 200).then_some(());
    until("its actor", asked).await;
    Feed { operator, key, path }
}

async fn push(node: &Node, feed: &Feed, records: &[Value]) {
    let pushed = node.call("POST", &feed.path, Some(&feed.key), &json!(records).to_string()).await;
    assert_eq!(pushed.json()["accepted"], json!(records.len()), "{}", pushed.text);
}

async fn forecast(node: &Node, feed: &Feed, query: &str) -> Value {
    let path = format!("/api/v1/operators/{}/forecast?{query}", feed.operator.id);
    let answer = node.call("GET", &path, Some(&node.staff), "").await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text);
    answer.json()
}

fn values(view: &Value, list: &str, name: &str) -> Vec<Option<i64>> {
    view[list].as_array().expect("a list").iter().map(|day| day[name].as_i64()).collect()
}

/// The answer once a day is the newest one of the history.
async fn until_day(node: &Node, feed: &Feed, query: &str, day: &str) -> Value {
    until("closed days", async || {
        let view = forecast(node, feed, query).await;
        (view["history"].as_array()?.last()?["day"] == day).then_some(view)
    })
    .await
}

async fn outcomes(node: &Node, outcome: &str) -> u64 {
    let text = node.call("GET", "/metrics", None, "").await.text;
    let name = format!("mlinzi_forecasts_total{{outcome=\"{outcome}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name)).expect("it is counted");
    line.parse().expect("a number")
}

#[actix_web::test]
async fn weeks_of_records_are_continued_with_an_interval() {
    let node = Node::start().await;
    let feed = feed(&node).await;
    let day = |day: i64| [record("stake", day, 10, stakes(day)), record("payout", day, 11, payouts(day))];
    let mut records: Vec<Value> = (0..DAYS - 1).filter(|n| *n != HOLE).flat_map(day).collect();
    records.push(record("stake", DAYS - 1, 1, 1_000));
    push(&node, &feed, &records).await;

    let query = "metric=gross_gaming_revenue";
    let view = until_day(&node, &feed, query, "2026-02-22").await;
    let wanted: Vec<Option<i64>> = (0..DAYS - 1).map(|day| (day != HOLE).then(|| stakes(day) - payouts(day))).collect();
    assert_eq!(values(&view, "history", "value"), wanted, "the open day is left out, and one is missing");
    assert_eq!((&view["history"][0]["day"], &view["currency"]), (&json!("2026-01-05"), &json!("KES")));
    assert_eq!((&view["time_zone"], &view["not_forecast"]), (&json!("Africa/Nairobi"), &json!(null)));
    let method = &view["method"];
    assert_eq!(
        (&method["parameters_version"], &method["learnt_days"], &method["season_days"], &method["coverage"]),
        (&json!(1), &json!(DAYS - 2), &json!(7), &json!(0.8))
    );
    let weights: Vec<f64> =
        method["combined"].as_array().expect("methods").iter().filter_map(|one| one["weight"].as_f64()).collect();
    assert!(weights.len() == 4 && (weights.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{method}");
    // how old it is
    assert_eq!(view["as_of"], json!(BEGIN.plus((DAYS - 1) * DAY + HOUR)));
    assert!(view["oldest_input_at"].is_string() && view["oldest_input_at"] == view["newest_input_at"], "{view}");
    assert_eq!(view["inputs_missing"], json!(0));
    assert_eq!(view["stale"], true, "an archive's days to come are over");

    // fourteen days from the open one on
    let days = view["days"].as_array().expect("days");
    assert_eq!((days.len(), &days[0]["day"], &days[13]["day"]), (14, &json!("2026-02-23"), &json!("2026-03-08")));
    assert_eq!(days[0]["from"], json!(BEGIN.plus((DAYS - 1) * DAY)));
    assert!(days.windows(2).all(|pair| pair[0]["to"] == pair[1]["from"]));
    let of = |name| values(&view, "days", name).into_iter().flatten().collect::<Vec<i64>>();
    let (low, mean, high) = (of("low_80"), of("value"), of("high_80"));
    assert!((0..14).all(|n| low[n] <= mean[n] && mean[n] <= high[n] && low[n] < high[n]), "{days:#?}");
    // Monday is day 0 of both
    assert!(mean[5] > mean[1] * 13 / 10 && mean[12] > mean[8] * 13 / 10, "the week goes on: {mean:?}");

    // asked again nothing is worked out
    let computed = outcomes(&node, "computed").await;
    assert_eq!(forecast(&node, &feed, query).await, view);
    assert_eq!(outcomes(&node, "computed").await, computed);
    assert!(outcomes(&node, "kept").await > 0);

    // other questions
    for (metric, value) in [("stakes", stakes(3)), ("payouts", payouts(3)), ("count", 2), ("unique_players", 1)] {
        let view = forecast(&node, &feed, &format!("metric={metric}&currency=KES&days=1")).await;
        assert_eq!((&view["history"][3]["value"], &view["metric"]), (&json!(value), &json!(metric)));
        assert_eq!(view["days"].as_array().map(Vec::len), Some(1), "{metric}");
    }
    let abroad = forecast(&node, &feed, "metric=stakes&currency=NGN").await;
    assert_eq!((&abroad["history"], &abroad["days"]), (&json!([]), &json!([])));
    let far = forecast(&node, &feed, "metric=stakes&days=56").await;
    let reason = "48 days are known and 126 are needed for so many days ahead";
    assert_eq!((&far["not_forecast"], &far["days"], &far["method"]), (&json!(reason), &json!([]), &json!(null)));
    assert_eq!(far["history"].as_array().map(Vec::len), Some(DAYS as usize - 1));

    // late data and silences are known as soon as they are there
    push(&node, &feed, &[record("payout", DAYS - 2, 12, 5_000)]).await;
    let late = until("late data", async || {
        let view = forecast(&node, &feed, query).await;
        (*values(&view, "history", "value").last()? == wanted[48].map(|value| value - 5_000)).then_some(view)
    })
    .await;
    assert_ne!(late["days"], view["days"]);
    let silence = AlertRevision {
        rule: "feed_silent".to_owned(),
        kind: RevisionKind::Withdrawn,
        window: Window { start: BEGIN.plus(30 * DAY + 6 * HOUR), end: BEGIN.plus(30 * DAY + 12 * HOUR) },
        at: BEGIN.plus(30 * DAY + 12 * HOUR),
        ..AlertRevision::for_tests()
    };
    let body = serde_json::to_string(&silence).expect("JSON");
    let row = format!(
        "INSERT INTO alert_revisions (alert_offset, id, operator_seq, operator_no, operator_offset, rule, kind, severity, body) VALUES (1000000, '{}', 1000000, 1, 1000000, 'feed_silent', 2, 0, '{body}')",
        silence.id
    );
    node.engine.store().execute_for_tests(&row).await.expect("a row");
    let view = forecast(&node, &feed, query).await;
    let missing: Vec<usize> =
        values(&view, "history", "value").iter().enumerate().filter_map(|(n, v)| v.is_none().then_some(n)).collect();
    assert_eq!((missing, &view["method"]["learnt_days"]), (vec![HOLE as usize, 30], &json!(DAYS - 3)));
    node.stop().await;
}

#[actix_web::test]
async fn who_may_ask_and_what() {
    let node = Node::start().await;
    let feed = feed(&node).await;
    let path = format!("/api/v1/operators/{}/forecast", feed.operator.id);
    let own = feed.operator.key(&node, json!({"label": "k", "scopes": ["lookup"], "rate_per_second": 100})).await;
    let other = node.operator("bold").await;
    let other = other.key(&node, json!({"label": "k", "scopes": ["lookup"], "rate_per_second": 100})).await;
    // key | query | status | what is said
    let table: [(Option<&str>, &str, u16, &str); 15] = [
        (Some(node.staff.as_str()), "?metric=stakes", 200, "0 days are known and 42 are needed"),
        (Some(own.bearer.as_str()), "?metric=stakes&days=1", 200, "0 days are known and 17 are needed"),
        (Some(own.bearer.as_str()), "?metric=count&currency=NGN", 200, "\"inputs_missing\":1"),
        (None, "?metric=stakes", 401, ""),
        (Some(other.bearer.as_str()), "?metric=stakes", 404, ""),
        (Some(node.neighbour.as_str()), "?metric=stakes", 404, ""),
        (Some(node.staff.as_str()), "", 422, "?metric"),
        (Some(node.staff.as_str()), "?metric=hold", 422, "?metric"),
        (Some(node.staff.as_str()), "?metric=Stakes", 422, "?metric"),
        (Some(node.staff.as_str()), "?metric=stakes&days=0", 422, "?days"),
        (Some(node.staff.as_str()), "?metric=stakes&days=57", 422, "a number from 1 to 56"),
        (Some(node.staff.as_str()), "?metric=stakes&days=1.5", 422, "?days"),
        (Some(node.staff.as_str()), "?metric=stakes&currency=shilling", 422, "?currency"),
        (Some(node.staff.as_str()), "?metric=stakes&days=7&days=14", 422, "given twice"),
        (Some(node.staff.as_str()), "?metric=stakes&horizon=14", 422, "known parameters"),
    ];
    for (key, query, status, wanted) in table {
        let answer = node.call("GET", &format!("{path}{query}"), key, "").await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text);
        assert!(answer.text.contains(wanted), "{query}: {}", answer.text);
    }
    for id in ["opr_00000000000000000000000000", "acme"] {
        let path = format!("/api/v1/operators/{id}/forecast?metric=stakes");
        assert_eq!(node.call("GET", &path, Some(&node.staff), "").await.status, 404, "{id}");
    }
    assert!(outcomes(&node, "too_little").await >= 3);
    node.stop().await;
}
