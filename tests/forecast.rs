//! A forecast of the running engine and one of the batch command over the same days are the same numbers.

mod program;

use program::{get, post, prepare, serve};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// Days that are pushed; the last one is open, and of some nothing is sent.
const DAYS: usize = 91;
const MISSING: [usize; 3] = [11, 40, 41];

/// Noon of a day from 5 January 2026 on, a Monday.
fn noon(day: usize) -> String {
    let begin = models::ts::Ts(1_767_571_200_000_000);
    begin.plus(day as i64 * models::ts::DAY).plus(12 * models::ts::HOUR).to_string()
}

/// Stakes and payouts of a day, in Nairobi's afternoon.
fn records(day: usize) -> Vec<String> {
    let noise = day * 7_919 % 9_001;
    let stakes = 200_000 + 700 * day + if day % 7 > 4 { 90_000 } else { 0 } + noise;
    let record = |kind: &str, amount: usize| {
        json!({"record_id": format!("{kind}-{day}"), "kind": kind, "occurred_at": noon(day),
            "player": {"phone": program::phone(10_000_000)}, "money": {"amount_minor": amount, "currency": "KES"}})
        .to_string()
    };
    vec![record("stake", stakes), record("payout", stakes / 2 + 3 * noise)]
}

/// What the batch command says of the history of an answer: forecast, lower and upper bound by step.
fn batch(dir: &Path, history: &[Value], horizon: usize) -> Vec<[i64; 3]> {
    let mut train = "series_id,ds,y\n".to_owned();
    for day in history {
        let value = day["value"].as_i64().map_or_else(|| "NA".to_owned(), |value| value.to_string());
        writeln!(train, "alpha,{},{value}", day["day"].as_str().expect("a day")).expect("a text");
    }
    let (input, output) = (dir.join("train.csv"), dir.join("forecast.csv"));
    std::fs::write(&input, train).expect("written");
    let done = Command::new(program::PROGRAM)
        .args(["model", "forecast", "--period", "7", "--horizon", &horizon.to_string()])
        .arg("--train")
        .arg(&input)
        .arg("--output")
        .arg(&output)
        .output()
        .expect("the program runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = std::fs::read_to_string(&output).expect("read");
    let row = |line: &str| {
        let mut cells = line.split(',').skip(2).map(|cell| cell.parse::<f64>().expect("a number").round() as i64);
        std::array::from_fn(|_| cells.next().expect("three numbers"))
    };
    text.lines().skip(1).map(row).collect()
}

#[tokio::test]
async fn the_engine_says_what_the_command_says() {
    let dir = testkit::temp_dir();
    let store = testkit::sqlite_url(&dir);
    let dir = dir.path();
    let key = prepare(dir, &store);
    let client = reqwest::Client::new();
    let server = serve(&client, dir, &store).await;
    let operator = json!({"code": "alpha", "name": "Alpha"}).to_string();
    let made = post(&client, format!("{}/api/v1/operators/register", server.base), &key, operator).await;
    let operator = made.expect("an operator")["id"].as_str().expect("an id").to_owned();
    let source = json!({"operator": operator, "name": "play", "class": "gaming_transactions", "kind": "push",
        "clock": "event", "horizon_days": 120, "currency": "KES"});
    let made = post(&client, format!("{}/api/v1/feeds", server.base), &key, source.to_string()).await;
    let source = made.expect("a source")["id"].as_str().expect("an id").to_owned();
    // week by week, as feeds do
    let days: Vec<usize> = (0..DAYS).filter(|day| !MISSING.contains(day)).collect();
    for week in days.chunks(7) {
        let body = week.iter().flat_map(|day| records(*day)).collect::<Vec<_>>().join("\n");
        let path = format!("{}/api/v1/feeds/{source}/records", server.base);
        let pushed = post(&client, path, &key, body).await.expect("a push");
        assert_eq!(pushed["accepted"], json!(2 * week.len()), "{pushed}");
    }
    let asked = |metric: &str, days: usize| {
        format!("{}/api/v1/operators/{operator}/forecast?metric={metric}&currency=KES&days={days}", server.base)
    };
    let closed = async {
        loop {
            let view = get(&client, asked("stakes", 1), &key).await;
            if view["history"].as_array().is_some_and(|history| history.len() == DAYS - 1) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.expect("the days are closed in time");
    for (metric, horizon) in [("gross_gaming_revenue", 14), ("stakes", 28), ("payouts", 1)] {
        let view = get(&client, asked(metric, horizon), &key).await;
        let history = view["history"].as_array().expect("a history");
        let missing: Vec<usize> = (0..history.len()).filter(|n| history[*n]["value"].is_null()).collect();
        assert_eq!(missing, MISSING);
        let number = |day: &Value, name: &str| day[name].as_i64().expect("a number");
        let live: Vec<[i64; 3]> = view["days"]
            .as_array()
            .expect("days")
            .iter()
            .map(|day| ["value", "low_80", "high_80"].map(|name| number(day, name)))
            .collect();
        assert_eq!(live.len(), horizon);
        assert_eq!(live, batch(dir, history, horizon), "{metric}, {horizon} days");
    }
    server.stop();
}
