//! No person in the clear outside the sealed vault: the program is given people in every way
//! it takes them, and then everything it has written, logged, counted, answered to others and shown is searched.

mod program;

use futures_util::{SinkExt, StreamExt};
use program::{get, post, prepare, serve_logging, status};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// What must be found nowhere: numbers in all their forms, names, dates, addresses – and what was sent by mistake.
const SECRETS: &[&str] = &[
    "712345678",
    "0712345678",
    "254712345678",
    "733999111",
    "31415926",
    "27182818",
    "Wanjiku",
    "Kamau-Otieno",
    "1990-05-17",
    "wanjiku@example.com",
    "Kenyatta Avenue 12",
    "254700111222",
    "device-of-wanjiku",
    "account-of-wanjiku",
    "otp-reference-77",
];

fn person() -> serde_json::Value {
    json!({
        "phone": "0712345678", "id_number": "31415926", "id_type": "national_id", "names": ["Wanjiku", "Kamau-Otieno"],
        "date_of_birth": "1990-05-17", "email": "wanjiku@example.com", "address": "Kenyatta Avenue 12", "county": "KE-30",
        "period": "1_year", "reason_class": "self", "channel": "web",
        "verification": {"method": "otp", "reference": "otp-reference-77"},
    })
}

fn records() -> String {
    let record = |id: &str, player: serde_json::Value| {
        json!({
            "record_id": id, "kind": "stake", "occurred_at": "2026-01-01T00:00:00Z", "player": player,
            "money": {"amount_minor": 900_000, "currency": "KES"}, "device_id": "device-of-wanjiku",
            "payment": {"method": "mpesa", "account": "254700111222"},
            "customer_msisdn": "254712345678", "contact": 254712345678u64,
            "extra": {"note": "call 0712 345-678", "Customer_Full_Name": "Wanjiku", "deep": [{"reply_to": "wanjiku@example.com"}]},
        })
        .to_string()
    };
    let lines = [
        record("1", json!({"phone": "+254 712 345 678"})),
        record("2", json!({"id_number": "27182818"})),
        record("3", json!({"account_ref": "account-of-wanjiku"})),
        // refused, and so quarantined: sealed, too
        record("4", json!({"phone": "0712345678x"})),
        r#"{"record_id":"5","kind":"stake","player":{"phone":"0712345678"},"#.to_owned(),
    ];
    lines.join("\n")
}

async fn check(store: &str, dir: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let key = prepare(dir, store);
    let client = reqwest::Client::new();
    let server = serve_logging(&client, dir, store, "trace").await;
    let base = &server.base;
    let mut seen: Vec<(String, Vec<u8>)> = Vec::new();

    let mut request =
        format!("{}/ws/dashboards/realtime", base.replace("http", "ws")).into_client_request().expect("a request");
    request.headers_mut().insert("Authorization", format!("Bearer {key}").parse().expect("a header"));
    request.headers_mut().insert("Sec-WebSocket-Protocol", "mlinzi.v1".parse().expect("a header"));
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.expect("a socket");
    let topics = json!({"type": "subscribe", "topics": ["national", "alerts", "feeds", "system"]});
    socket.send(Message::text(topics.to_string())).await.expect("sent");

    // people as they come in, rightly and wrongly
    assert!(post(&client, format!("{base}/api/v1/nser/register"), &key, person().to_string()).await.is_some());
    let bad = person().to_string().replace("0712345678", "0712345678000").replace("31415926", "31415926-27182818");
    assert_eq!(status(&client, format!("{base}/api/v1/nser/register"), &key, bad).await, Some(422));
    assert_eq!(
        status(&client, format!("{base}/api/v1/nser/register"), &key, r#"{"phone":"0712345678""#.to_owned()).await,
        Some(400)
    );
    let lookup =
        json!({"phone": "0712345678", "id_number": "31415926", "purpose": "login", "client_reference": "0733999111"});
    let answer =
        post(&client, format!("{base}/api/v1/operators/lookup"), &key, lookup.to_string()).await.expect("an answer");
    assert_eq!(answer["decision"], "block");
    let wrong = client.get(format!("{base}/api/v1/nser/0712345678?phone=0712345678")).bearer_auth(&key);
    let wrong =
        wrong.header("X-Request-Id", "0733999111").header("User-Agent", "0712345678").send().await.expect("an answer");
    assert_eq!(wrong.status().as_u16(), 404);

    let operator = json!({"code": "alpha", "name": "Alpha"}).to_string();
    let operator =
        post(&client, format!("{base}/api/v1/operators/register"), &key, operator).await.expect("an operator");
    let source = json!({"operator": operator["id"], "name": "play", "class": "gaming_transactions", "clock": "event", "horizon_days": 60, "currency": "KES"});
    let source = post(&client, format!("{base}/api/v1/feeds"), &key, source.to_string()).await.expect("a source");
    let id = source["id"].as_str().expect("an id").to_owned();
    let push = client.post(format!("{base}/api/v1/feeds/{id}/records")).bearer_auth(&key);
    let push = push.header("content-type", "application/x-ndjson").body(records()).send().await.expect("an answer");
    assert!(push.status().is_success());
    seen.push(("the answer to a push".to_owned(), push.bytes().await.expect("a body").to_vec()));

    for path in
        ["/metrics", "/health/ready", "/api/v1/system/actors", "/api/v1/alerts", "/api/v1/feeds", "/api/v1/nser/stats"]
    {
        let answer = client.get(format!("{base}{path}")).bearer_auth(&key).send().await.expect("an answer");
        seen.push((path.to_owned(), answer.bytes().await.expect("a body").to_vec()));
    }
    let quarantine = get(&client, format!("{base}/api/v1/feeds/{id}/quarantine"), &key).await;
    assert_eq!(quarantine["items"].as_array().map(Vec::len), Some(2), "{quarantine}");
    seen.push(("the quarantine".to_owned(), quarantine.to_string().into_bytes()));
    // frames until the market has moved
    loop {
        let frame = socket.next().await.expect("a frame").expect("a frame").into_data().to_vec();
        let text = String::from_utf8_lossy(&frame).into_owned();
        let moved = text.contains(r#""topic":"national""#) && text.contains("2700000");
        seen.push(("a frame".to_owned(), frame));
        if moved {
            break;
        }
    }
    // staff reads what was refused, and what it replays leaves as little behind as what is pushed
    let path = format!("{base}/api/v1/feeds/{id}/quarantine");
    let mended = records().lines().next().unwrap_or_default().replace("\"1\"", "\"mended\"");
    let still_bad = mended.replace("+254 712 345 678", "0712345678x");
    for (item, (body, outcome)) in
        quarantine["items"].as_array().into_iter().flatten().zip([(mended, "stored"), (still_bad, "refused")])
    {
        let item = item["id"].as_str().expect("an id");
        let read = get(&client, format!("{path}/{item}"), &key).await;
        assert!(read["sent"].as_str().is_some_and(|sent| sent.contains("0712345678")), "{read}");
        let replayed = post(&client, format!("{path}/{item}/replay"), &key, body).await.expect("an answer");
        assert_eq!(replayed["outcome"], outcome, "{replayed}");
        seen.push(("the answer to a replay".to_owned(), replayed.to_string().into_bytes()));
    }
    server.stop();
    seen.push(("the log".to_owned(), std::fs::read(dir.join("log")).expect("the log")));
    seen
}

fn search(seen: &[(String, Vec<u8>)]) {
    for (place, bytes) in seen {
        for secret in SECRETS {
            // a dump shows bytes in hexadecimal
            let hex: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
            for form in [secret.as_bytes(), hex.as_bytes()] {
                let found = bytes.windows(form.len()).position(|w| w.eq_ignore_ascii_case(form));
                let around = found.map(|i| {
                    String::from_utf8_lossy(&bytes[i.saturating_sub(80)..bytes.len().min(i + 80)]).into_owned()
                });
                assert!(found.is_none(), "{secret} lies in the clear in {place}: {around:?}");
            }
        }
    }
}

#[tokio::test]
async fn nobody_is_found_in_files_logs_metrics_or_frames_of_the_embedded_engine() {
    let dir = testkit::temp_dir();
    let mut seen = check(&testkit::sqlite_url(&dir), dir.path()).await;
    for entry in std::fs::read_dir(dir.path()).expect("the store's folder") {
        let file = entry.expect("a file").path();
        seen.push((file.display().to_string(), std::fs::read(&file).expect("readable")));
    }
    assert!(
        seen.iter().any(|(place, bytes)| place.ends_with(".sqlite") && bytes.len() > 4_096),
        "the database is searched"
    );
    search(&seen);
}

#[tokio::test]
async fn nobody_is_found_in_the_tables_logs_metrics_or_frames_on_postgres() {
    let database = testkit::Postgres::shared().database().await;
    let dir = testkit::temp_dir();
    let mut seen = check(&database.url, dir.path()).await;
    let dump = database.dump();
    assert!(String::from_utf8_lossy(&dump).contains("exclusion_registered"), "the journal is searched");
    seen.push(("the dump".to_owned(), dump));
    search(&seen);
}
