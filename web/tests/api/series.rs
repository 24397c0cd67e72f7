//! What is unusual of an operator's series, end to end: simulated weeks by the clock of the feed.

use crate::live_rules::{known, until};
use crate::node::{Node, Operator, Setup};
use models::alert::Window;
use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
use models::series::SeriesScored;
use models::ts::{HOUR, MINUTE, SECOND, Ts};
use serde_json::{Value, json};
use std::time::Duration;
use store::{RuleFindingQuery, RuleFindingRow};

/// 5 January 2026, a Monday, 00:00 in Nairobi.
const BEGIN: Ts = Ts(1_767_560_400_000_000);
/// Days of the story, and the hour from which on everything is half as high again.
const DAYS: i64 = 15;
const SHIFT: i64 = 12 * 24 + 9;
/// Where somebody starts again.
const MIDDLE: i64 = SHIFT + 15;
/// Bets of an hour by day; by night there are two fewer.
const BETS: i64 = 9;
/// As many as figures are looked at together from: 120 records by night, too.
const MANY_BETS: i64 = 62;

/// Noise between −1 and 1 that is the same every time.
fn noise(n: i64) -> f64 {
    let mixed = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// The bets of an hour and what was won on them: amounts alone shift, and what is kept of them stays the same.
fn hour(n: i64, bets: i64) -> Vec<Value> {
    let (level, bets) = (if n < SHIFT { 1.0 } else { 1.5 }, if (8..23).contains(&(n % 24)) { bets } else { bets - 2 });
    let record = |kind: &str, bet: i64, amount: f64| {
        let at = BEGIN.plus(n * HOUR + bet * if bets > BETS { 50 * SECOND } else { 5 * MINUTE });
        json!({"record_id": format!("{kind}-{n}-{bet}"), "kind": kind, "occurred_at": at.to_string(), "status": "successful",
            "player": {"phone": format!("07{:08}", 10_000_000 + n * 7 % 400 + bet)}, "product": "sportsbook",
            "money": {"amount_minor": amount as i64, "currency": "KES"}})
    };
    let bet = |bet: i64| {
        let stake = 20_000.0 * level * (1.0 + 0.06 * noise(100 * n + bet));
        [record("stake", bet, stake), record("payout", bet, stake * (0.8 + 0.05 * noise(-100 * n - bet)))]
    };
    (0..bets).flat_map(bet).collect()
}

struct Weeks {
    node: Node,
    operator: Operator,
    key: String,
    path: String,
    /// Bets of an hour.
    bets: i64,
}

impl Weeks {
    async fn begin(setup: Setup) -> Self {
        let node = Node::start_as(setup).await;
        let operator = node.operator("acme").await;
        let scopes = json!({"label": "k", "scopes": ["feeds:write", "feeds:manage"], "rate_per_second": 1000});
        let key = operator.key(&node, scopes).await.bearer;
        let new = json!({"name": "bets", "class": "gaming_transactions", "clock": "event", "horizon_days": 60});
        let made = node.call("POST", "/api/v1/feeds", Some(&key), &new.to_string()).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let path = format!("/api/v1/feeds/{}/records", made.json()["id"].as_str().expect("an id"));
        Self { node, operator, key, path, bets: BETS }
    }

    async fn restart(self, setup: Setup) -> Self {
        Self { node: self.node.restart_as(setup).await, ..self }
    }

    /// Pushes hours, half a day at a time.
    async fn push(&self, hours: std::ops::Range<i64>) {
        for from in hours.clone().step_by(12) {
            let records: Vec<Value> = (from..hours.end.min(from + 12)).flat_map(|n| hour(n, self.bets)).collect();
            let pushed = self.node.call("POST", &self.path, Some(&self.key), &json!(records).to_string()).await;
            assert_eq!(pushed.json()["accepted"], json!(records.len()), "{}", pushed.text);
        }
    }

    /// Waits until the market has closed everything before an hour, and its rules have heard of it.
    async fn closed(&self, hour: i64) {
        let until_hour = BEGIN.plus(hour * HOUR);
        until("closed hours", async || {
            let newest = self.series().await["items"].as_array()?.first().cloned()?;
            (newest["newest"]["to"] == json!(until_hour)).then_some(())
        })
        .await;
        let store = self.node.engine.store();
        until("rules", async || {
            let inputs = store.operator_inputs(OperatorNo(1), 0, 1_000).await.expect("inputs").len() as i64;
            (store.rules_heard(OperatorNo(1)).await.expect("a number") >= inputs).then_some(())
        })
        .await;
    }

    async fn series(&self) -> Value {
        let path = format!("/api/v1/operators/{}/series", self.operator.id);
        // a node that is busy with records answers this later
        until("series", async || {
            let answer = self.node.call("GET", &path, Some(&self.node.staff), "").await;
            assert!([200, 503].contains(&answer.status), "{}", answer.text);
            (answer.status == 200).then(|| answer.json())
        })
        .await
    }

    async fn scored(&self) -> Vec<SeriesScored> {
        self.node.engine.store().newest_series_scores(OperatorNo(1), 100).await.expect("scores")
    }

    async fn found(&self) -> Vec<RuleFindingRow> {
        let query = RuleFindingQuery {
            jurisdiction: JurisdictionNo(0),
            rule: Some("series_unusual".to_owned()),
            version: None,
            is_shadow: None,
            from: Ts(0),
            to: Ts(i64::MAX),
            limit: 100,
        };
        self.node.engine.store().findings_of_rules(&query).await.expect("findings")
    }
}

/// Ids and windows of findings.
fn names(found: &[RuleFindingRow]) -> Vec<(String, Window, String)> {
    found.iter().map(|row| (row.id.to_string(), row.window, row.kind.as_str().to_owned())).collect()
}

#[actix_web::test]
async fn a_planted_shift_is_one_finding_whoever_starts_again_in_between() {
    let often = || Setup { snapshot_every: Duration::from_millis(20), ..known() };
    let whole = Weeks::begin(known()).await;
    whole.push(0..DAYS * 24).await;
    whole.closed(DAYS * 24 - 1).await;
    let raised = until("an alert", async || {
        let listed = whole.node.call("GET", "/api/v1/alerts?rule=series_unusual", Some(&whole.node.staff), "").await;
        let items = listed.json()["items"].as_array().cloned().expect("items");
        (!items.is_empty()).then_some(items)
    })
    .await;
    assert_eq!(raised.len(), 1, "{raised:#?}");
    let evidence = &raised[0]["evidence"];
    assert!(evidence["band_low"].as_i64() < evidence["expected"].as_i64(), "{evidence:#}");
    assert!(evidence["reasons"].as_array().is_some_and(|reasons| reasons.len() > 1), "{evidence:#}");
    let (scored, found) = (whole.scored().await, names(&whole.found().await));
    assert!(found.iter().all(|(id, ..)| *id == found[0].0), "one finding, raised and perhaps made worse: {found:?}");
    let hours = (found[0].1.start.0 - BEGIN.0) / HOUR;
    assert!((SHIFT..SHIFT + 24).contains(&hours), "found in hour {hours}, planted in {SHIFT}");
    whole.node.stop().await;

    // from the row that was kept at the beginning, and so through all inputs once more; from one kept on the way
    for setup in [known as fn() -> Setup, often] {
        let weeks = Weeks::begin(setup()).await;
        weeks.push(0..MIDDLE).await;
        weeks.closed(MIDDLE - 1).await;
        let weeks = weeks.restart(setup()).await;
        weeks.push(MIDDLE..DAYS * 24).await;
        weeks.closed(DAYS * 24 - 1).await;
        assert_eq!(weeks.scored().await, scored, "each input is scored once");
        assert_eq!(names(&weeks.found().await), found, "the same, and nothing twice");
        weeks.node.stop().await;
    }
}

#[actix_web::test]
async fn what_is_lost_of_series_is_learnt_again_and_nothing_of_the_past_is_told() {
    let weeks = Weeks::begin(known()).await;
    weeks.push(0..SHIFT).await;
    weeks.closed(SHIFT - 1).await;
    let learning = |view: &Value| -> Vec<(String, bool)> {
        let items = view["items"].as_array().expect("items").iter();
        items
            .filter(|item| item["metric"] == "stakes")
            .map(|item| (item["granularity"].as_str().unwrap_or_default().to_owned(), item["learning"] == true))
            .collect()
    };
    let before = weeks.series().await;
    assert_eq!(learning(&before), [("hour".to_owned(), false), ("day".to_owned(), true)]);
    assert_eq!(before["together"], json!([]), "hours of few records are no rows");
    let store = weeks.node.engine.store();
    let gone = store.execute_for_tests("DELETE FROM series_states").await.expect("they are gone");
    assert_eq!(gone, 1, "kept before the first input");
    let weeks = weeks.restart(known()).await;
    let again = until("series", async || {
        let view = weeks.series().await;
        (!view["items"].as_array()?.is_empty()).then_some(view)
    })
    .await;
    assert_eq!(again, before, "what the market remembers of two weeks teaches the same");
    // the newest points alone are shown
    weeks.push(SHIFT..SHIFT + 12).await;
    weeks.closed(SHIFT + 11).await;
    let found = weeks.found().await;
    assert!(!found.is_empty() && found.iter().all(|row| row.id == found[0].id), "{found:?}");
    let unusual = weeks.series().await["unusual"].as_array().cloned().expect("points");
    assert!(unusual.iter().any(|point| point["alert"] == true), "{unusual:#?}");
    // an operator's key reads its own series, and no other's
    let other = weeks.node.operator("other").await;
    let path = |operator: &Operator| format!("/api/v1/operators/{}/series", operator.id);
    for (operator, status) in [(&weeks.operator, 200), (&other, 404)] {
        let answer = weeks.node.call("GET", &path(operator), Some(&weeks.key), "").await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    weeks.node.stop().await;
}

#[actix_web::test]
async fn figures_together_are_described_beside_the_market_and_again_after_a_restart() {
    let hours = 16 * 24;
    let weeks = Weeks { bets: MANY_BETS, ..Weeks::begin(known()).await };
    weeks.push(0..hours).await;
    weeks.closed(hours - 1).await;
    let before = weeks.series().await["together"].clone();
    assert_eq!(before.as_array().map(Vec::len), Some(1), "{before:#}");
    let figures = &before[0];
    assert_eq!((&figures["currency"], &figures["learning"]), (&json!("KES"), &json!(true)), "{before:#}");
    let rows = figures["rows"].as_i64().expect("a number");
    let at = |name: &str| Ts::parse(figures[name].as_str().expect("a time")).expect("a time");
    // the newest of the first 168 hours, and some hours on
    assert!((169..192).contains(&rows), "{before:#}");
    assert_eq!((at("from").0 - at("fitted_at").0) / HOUR, rows - 168, "{before:#}");
    let weeks = weeks.restart(known()).await;
    // through all hours once more, and then the same
    until("the same figures", async || (weeks.series().await["together"] == before).then_some(())).await;
    weeks.node.stop().await;
}
