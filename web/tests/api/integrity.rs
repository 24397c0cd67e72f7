//! Whether batches are whole: operators' tamper tokens and numbers, declared totals, completeness.

use crate::node::{Answer, Key, Node, Operator, Setup};
use actors::engine::Faults;
use actors::feeds::FeedsConfig;
use models::ts::{DAY, HOUR, MINUTE, SECOND, Ts};
use serde_json::{Value, json};
use std::sync::OnceLock;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(40);

fn now() -> Ts {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_micros();
    Ts(now as i64)
}

fn stake(id: &str, at: Ts, amount: i64) -> Value {
    json!({"record_id": id, "kind": "stake", "occurred_at": at, "money": {"amount_minor": amount, "currency": "KES"}})
}

fn body(ids: &[&str]) -> String {
    // the same body whenever it is made, and the same record whichever push it is in
    static AT: OnceLock<Ts> = OnceLock::new();
    let at = *AT.get_or_init(|| now().plus(-MINUTE));
    Value::from(ids.iter().map(|id| stake(id, at, 100)).collect::<Vec<_>>()).to_string()
}

async fn key(node: &Node, operator: &Operator) -> Key {
    let scopes = json!({"label": "k", "scopes": ["feeds:manage", "feeds:write"], "rate_per_second": 1000});
    operator.key(node, scopes).await
}

async fn source(node: &Node, key: &Key, more: Value) -> String {
    let mut new = json!({"name": "bets", "class": "gaming_transactions"});
    new.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let made = node.call("POST", "/api/v1/feeds", Some(&key.bearer), &new.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    format!("/api/v1/feeds/{}", made.json()["id"].as_str().expect("an id"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A push with what its operator says about it.
#[derive(Default)]
struct Push<'a> {
    token: Option<&'a [u8]>,
    number: Option<i64>,
    query: &'a str,
}

async fn push(node: &Node, source: &str, key: &Key, body: &str, with: Push<'_>) -> Answer {
    let path = format!("{source}/records{}", with.query);
    let mut request = node.request("POST", &path, Some(&key.bearer)).header("content-type", "application/json");
    if let Some(token) = with.token {
        request = request.header("X-Mlinzi-Tamper-Token", format!("v1={}", hex(token)));
    }
    if let Some(number) = with.number {
        request = request.header("X-Mlinzi-Batch", number);
    }
    node.send(request.body(body.to_owned())).await
}

async fn chained(node: &Node, source: &str, key: &Key, body: &str, token: &[u8]) -> Answer {
    push(node, source, key, body, Push { token: Some(token), ..Push::default() }).await
}

fn taken(answer: &Answer) -> (u16, i64, i64) {
    let said = answer.json();
    (answer.status, said["accepted"].as_i64().unwrap_or(-1), said["duplicates"].as_i64().unwrap_or(-1))
}

async fn view(node: &Node, source: &str) -> Value {
    let view = node.call("GET", source, Some(&node.staff), "").await;
    assert_eq!(view.status, 200, "{}", view.text);
    view.json()
}

/// Asks again until the answer is as wanted.
async fn until(node: &Node, path: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let mut seen = Value::Null;
    let looked = async {
        loop {
            seen = node.call("GET", path, Some(&node.staff), "").await.json();
            if is_it(&seen) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let came = tokio::time::timeout(PATIENCE, looked).await;
    assert!(came.is_ok(), "never as wanted: {seen:#}");
    seen
}

/// The group of a rule, once it is in a state.
async fn group(node: &Node, rule: &str, state: &str) -> Value {
    let path = format!("/api/v1/alerts/groups?rule={rule}&state={state}");
    let found = until(node, &path, |list| list["items"].as_array().is_some_and(|items| !items.is_empty())).await;
    found["items"][0].clone()
}

#[actix_web::test]
async fn a_chain_of_tokens_is_verified_broken_mended_and_goes_on_after_a_restart() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let key = key(&node, &operator).await;
    let path = source(&node, &key, json!({})).await;
    let (first, second, third) = (body(&["a", "b"]), body(&["c"]), body(&["d"]));

    // before a chain is begun nothing is asked for, and what is tried only moves nothing
    assert_eq!(taken(&push(&node, &path, &key, &body(&["z"]), Push::default()).await), (200, 1, 0));
    let one = key.tamper_token(b"", &first);
    let tried =
        push(&node, &path, &key, &first, Push { token: Some(&one), query: "?dry_run=true", number: None }).await;
    assert_eq!(tried.status, 200, "{}", tried.text);
    assert_eq!(view(&node, &path).await["integrity"]["chained"], false);
    assert_eq!(taken(&chained(&node, &path, &key, &first, &one).await), (200, 2, 0));
    // the answer was lost: the same again, as often as needed
    for _ in 0..2 {
        assert_eq!(taken(&chained(&node, &path, &key, &first, &one).await), (200, 0, 2));
    }

    // a body that is not the one that the token was made for
    let two = key.tamper_token(&one, &second);
    for (what, sent, token) in [
        ("another body", &third, &two),
        ("a token made without the one before", &second, &key.tamper_token(b"", &second)),
        ("the last token", &second, &one),
    ] {
        let refused = chained(&node, &path, &key, sent, token).await;
        assert_eq!(
            (refused.status, refused.json()["type"].as_str()),
            (409, Some("urn:mlinzi:problem:tamper_token")),
            "{what}"
        );
        let detail = refused.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.contains("SHA-256") && !refused.text.contains(&hex(&two)), "{what}: {detail}");
    }
    let seen = view(&node, &path).await;
    assert_eq!((&seen["records"], &seen["integrity"]["refused"]), (&json!(3), &json!(3)), "{seen}");
    let alarm = group(&node, "feed_tampered", "open").await;
    assert_eq!((&alarm["severity"], &alarm["hits"]), (&json!("high"), &json!(1)), "{alarm}");

    // neither the chain nor the alarm is forgotten with the process
    let node = node.restart(Faults::default()).await;
    let seen = until(&node, &path, |seen| seen["integrity"]["chained"] == true).await;
    assert!(seen["integrity"]["tampered_since"].is_string(), "{seen}");
    assert_eq!(taken(&chained(&node, &path, &key, &first, &one).await), (200, 0, 2), "repeated after a restart");
    assert_eq!(taken(&chained(&node, &path, &key, &second, &two).await), (200, 1, 0));
    let over = group(&node, "feed_tampered", "resolved").await;
    assert_eq!((&over["id"], &over["resolution"]), (&alarm["id"], &json!("withdrawn")));
    let seen = view(&node, &path).await;
    assert_eq!((&seen["integrity"]["tokens"], &seen["integrity"]["tampered_since"]), (&json!(2), &Value::Null));

    // the key is rotated: the new one goes on where the old one was
    let rotated = format!("/api/v1/operators/{}/keys/{}/rotate", operator.id, key.id);
    let made = node.call("POST", &rotated, Some(&node.staff), "{}").await;
    assert_eq!(made.status, 201, "{}", made.text);
    let new = Key::of(&made.json());
    let three = new.tamper_token(&two, &third);
    assert_eq!(chained(&node, &path, &key, &third, &three).await.status, 409, "under the old key it is another token");
    assert_eq!(taken(&chained(&node, &path, &new, &third, &three).await), (200, 1, 0));
    node.stop().await;
}

#[actix_web::test]
async fn tokens_may_be_required_and_staff_begins_a_chain_anew() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let key = key(&node, &operator).await;
    let path = source(&node, &key, json!({})).await;
    let first = body(&["a"]);
    let one = key.tamper_token(b"", &first);
    assert_eq!(taken(&chained(&node, &path, &key, &first, &one).await), (200, 1, 0));
    // optional: taken, and noticed; the chain stands where it stood
    assert_eq!(taken(&push(&node, &path, &key, &body(&["b"]), Push::default()).await), (200, 1, 0));
    assert_eq!(view(&node, &path).await["integrity"]["without_token"], 1);
    let settings = json!({"integrity": {"tamper_token": "required"}}).to_string();
    assert_eq!(node.call("PATCH", &path, Some(&key.bearer), &settings).await.status, 403, "only staff says so");
    let set = node.call("PATCH", &path, Some(&node.staff), &settings).await;
    assert_eq!((set.status, &set.json()["tamper_token"]), (200, &json!("required")), "{}", set.text);
    for wrong in [json!({"tamper_token": "perhaps"}), json!({}), json!(3)] {
        let refused = node.call("PATCH", &path, Some(&node.staff), &json!({"integrity": wrong}).to_string()).await;
        assert_eq!(refused.status, 422, "{}", refused.text);
    }
    let bare = push(&node, &path, &key, &body(&["c"]), Push::default()).await;
    let pointer = &bare.json()["errors"][0]["pointer"];
    assert_eq!((bare.status, pointer), (422, &json!("X-Mlinzi-Tamper-Token")), "{}", bare.text);
    let second = body(&["d"]);
    let two = key.tamper_token(&one, &second);
    assert_eq!(taken(&chained(&node, &path, &key, &second, &two).await), (200, 1, 0));

    // what is no token at all is no tampering either
    for wrong in ["", "v1=", "v1=zz", "v2=00", &hex(&two)] {
        let request = node.request("POST", &format!("{path}/records"), Some(&key.bearer));
        let request = request.header("content-type", "application/json").header("X-Mlinzi-Tamper-Token", wrong);
        assert_eq!(node.send(request.body(second.clone())).await.status, 422, "{wrong}");
    }
    assert_eq!(view(&node, &path).await["integrity"]["refused"], 0);

    // the operator has lost its state: staff ends the chain, an operator must not
    let chain = format!("{path}/chain");
    let reason = json!({"reason": "lost_state"}).to_string();
    assert_eq!(node.call("POST", &chain, Some(&key.bearer), &reason).await.status, 403);
    assert_eq!(node.call("POST", &chain, Some(&node.neighbour), &reason).await.status, 404);
    for wrong in [json!({}), json!({"reason": "boredom"}), json!({"reason": "other", "next_batch": 0})] {
        assert_eq!(node.call("POST", &chain, Some(&node.staff), &wrong.to_string()).await.status, 422, "{wrong}");
    }
    let ended = node.call("POST", &chain, Some(&node.staff), &reason).await;
    assert_eq!((ended.status, &ended.json()["integrity"]["chained"]), (200, &json!(false)), "{}", ended.text);
    let third = body(&["e"]);
    assert_eq!(chained(&node, &path, &key, &third, &key.tamper_token(&two, &third)).await.status, 409);
    let anew = key.tamper_token(b"", &third);
    assert_eq!(taken(&chained(&node, &path, &key, &third, &anew).await), (200, 1, 0));
    node.stop().await;
}

/// One follows from the last, and only one.
#[actix_web::test]
async fn of_two_pushes_that_follow_from_the_same_one_is_taken() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let key = key(&node, &operator).await;
    let path = source(&node, &key, json!({})).await;
    let mut last: Vec<u8> = Vec::new();
    for round in 0..10 {
        let (left, right) = (body(&[&format!("l{round}")]), body(&[&format!("r{round}")]));
        let tokens = [key.tamper_token(&last, &left), key.tamper_token(&last, &right)];
        let (a, b) = futures_util::future::join(
            chained(&node, &path, &key, &left, &tokens[0]),
            chained(&node, &path, &key, &right, &tokens[1]),
        )
        .await;
        let mut statuses = [a.status, b.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{} {}", a.text, b.text);
        last = tokens[usize::from(a.status != 200)].clone();
    }
    let seen = view(&node, &path).await;
    assert_eq!((&seen["records"], &seen["integrity"]["tokens"]), (&json!(10), &json!(10)), "{seen}");
    node.stop().await;
}

#[actix_web::test]
async fn missing_numbers_are_told_of_until_they_come() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let key = key(&node, &operator).await;
    let path = source(&node, &key, json!({})).await;
    let numbered = async |node: &Node, number: i64, id: &str| {
        push(node, &path, &key, &body(&[id]), Push { number: Some(number), ..Push::default() }).await
    };
    for (number, id) in [(1, "a"), (2, "b"), (6, "f")] {
        assert_eq!(taken(&numbered(&node, number, id).await), (200, 1, 0), "a gap is no reason to refuse");
    }
    let seen = view(&node, &path).await["integrity"].clone();
    assert_eq!((&seen["missing"], &seen["missing_batches"]), (&json!([{"from": 3, "to": 5}]), &json!(3)), "{seen}");
    let alarm = group(&node, "feed_gap", "open").await;
    let alert = format!("/api/v1/alerts/{}", alarm["last_alert"].as_str().unwrap_or_default());
    let alert = node.call("GET", &alert, Some(&node.staff), "").await;
    assert!(alert.text.contains("missing: 3-5"), "{}", alert.text);
    let node = node.restart(Faults::default()).await;
    until(&node, &path, |seen| seen["integrity"]["last_batch"] == 6).await;
    for (number, id) in [(4, "d"), (3, "c"), (5, "e")] {
        assert_eq!(taken(&numbered(&node, number, id).await), (200, 1, 0));
    }
    assert_eq!(taken(&numbered(&node, 4, "d").await), (200, 0, 1), "a number that is known");
    let over = group(&node, "feed_gap", "resolved").await;
    assert_eq!(over["id"], alarm["id"]);
    let seen = view(&node, &path).await["integrity"].clone();
    assert_eq!(
        (&seen["missing"], &seen["gaps"], &seen["repeated_batches"]),
        (&json!([]), &json!(1), &json!(1)),
        "{seen}"
    );
    for wrong in ["0", "-1", "x", "1.5", "+7", "9007199254740992", ""] {
        let request = node.request("POST", &format!("{path}/records"), Some(&key.bearer));
        let request = request.header("content-type", "application/json").header("X-Mlinzi-Batch", wrong);
        assert_eq!(node.send(request.body(body(&["x"]))).await.status, 422, "{wrong}");
    }
    // numbers that are not to come any more
    assert_eq!(taken(&numbered(&node, 20, "t").await), (200, 1, 0));
    let anew = json!({"reason": "new_platform", "next_batch": 100}).to_string();
    assert_eq!(node.call("POST", &format!("{path}/chain"), Some(&node.staff), &anew).await.status, 200);
    assert_eq!(taken(&numbered(&node, 100, "u").await), (200, 1, 0));
    let seen = view(&node, &path).await["integrity"].clone();
    assert_eq!(
        (&seen["missing_batches"], &seen["given_up"], &seen["last_batch"]),
        (&json!(0), &json!(13), &json!(100))
    );
    node.stop().await;
}

/// What came late, what took the place of something, what contradicted: told at once and after a restart.
#[actix_web::test]
async fn late_replaced_and_conflicting_records_are_counted() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let key = key(&node, &operator).await;
    let path = source(&node, &key, json!({"expected_interval_seconds": 60})).await;
    let (old, fresh) = (now().plus(-10 * MINUTE), now().plus(-SECOND));
    let mut correction = stake("a2", fresh, 70);
    correction["replaces"] = json!("a");
    let records = [
        Value::from(vec![stake("a", fresh, 100), stake("b", old, 100)]),
        Value::from(vec![stake("a", fresh, 50), correction]),
    ];
    for records in &records {
        assert_eq!(push(&node, &path, &key, &records.to_string(), Push::default()).await.status, 200);
    }
    let counts = |seen: &Value| {
        ["records", "late", "replaced", "conflicts", "quarantined"].map(|name| seen[name].as_i64().unwrap_or(-1))
    };
    assert_eq!(counts(&view(&node, &path).await), [3, 1, 1, 1, 1]);
    let metrics = node.call("GET", "/metrics", Some(&node.staff), "").await.text;
    for (sign, count) in [("late", 1), ("replaced", 1), ("conflict", 1), ("tampered", 0)] {
        assert!(metrics.contains(&format!("mlinzi_feed_integrity_total{{sign=\"{sign}\"}} {count}\n")), "{sign}");
    }
    let node = node.restart(Faults::default()).await;
    let seen = until(&node, &path, |seen| seen["records"] == 3).await;
    assert_eq!(counts(&seen), [3, 1, 1, 1, 1]);
    node.stop().await;
}

fn often() -> Setup {
    let feeds = FeedsConfig { compare_every: Duration::from_millis(100), ..FeedsConfig::default() };
    Setup { feeds, ..Setup::default() }
}

/// Days by Nairobi's midnight, which never moves: the day that is so many days before today.
fn day(before: i64) -> (String, Ts) {
    let start = Ts(((now().0 + 3 * HOUR).div_euclid(DAY) - before) * DAY - 3 * HOUR);
    (start.plus(3 * HOUR).to_string()[..10].to_owned(), start)
}

#[actix_web::test]
async fn declared_totals_are_held_against_the_sum_of_records() {
    let node = Node::start_as(often()).await;
    let operator = node.operator("acme").await;
    let key = key(&node, &operator).await;
    let path = source(&node, &key, json!({})).await;
    let (name, start) = day(2);
    let noon = start.plus(12 * HOUR);
    let mut failed = stake("f", noon, 1_000_000);
    failed["status"] = json!("failed");
    // the first and the last instant belong to it, those around do not; what failed does not count
    let records = Value::from(vec![
        stake("before", start.plus(-1000), 7),
        stake("a", start, 100),
        stake("b", start.plus(DAY - 1000), 200),
        stake("after", start.plus(DAY), 7),
        failed,
    ]);
    assert_eq!(push(&node, &path, &key, &records.to_string(), Push::default()).await.status, 200);
    let declarations = format!("{path}/declarations");
    let declare =
        async |node: &Node, body: Value| node.call("POST", &declarations, Some(&key.bearer), &body.to_string()).await;
    let total = |count: i64, amount: i64| json!({"day": name, "totals": [{"kind": "stake", "count": count, "amount_minor": amount}]});

    let agreed = declare(&node, total(2, 300)).await;
    assert_eq!((agreed.status, &agreed.json()["differs"]), (201, &json!(false)), "{}", agreed.text);
    assert_eq!(declare(&node, total(2, 300)).await.status, 200, "the same once more");
    // the newest counts
    let more = declare(&node, total(3, 1_500)).await;
    let line = &more.json()["lines"][0];
    assert_eq!(
        (more.status, &line["difference"]),
        (201, &json!({"count": -1, "amount_minor": -1_200})),
        "{}",
        more.text
    );
    assert_eq!((&more.json()["version"], &more.json()["differs"]), (&json!(2), &json!(true)));
    let alarm = group(&node, "declared_totals_differ", "open").await;
    assert_eq!(alarm["severity"], "high");

    // a correction takes its original's place, and a record that was forgotten comes: within a look the day agrees
    let node = node.restart_as(often()).await;
    let mut correction = stake("a2", start.plus(SECOND), 300);
    correction["replaces"] = json!("a");
    let late = Value::from(vec![correction, stake("c", noon, 1_000)]);
    assert_eq!(taken(&push(&node, &path, &key, &late.to_string(), Push::default()).await), (200, 2, 0));
    let listed = until(&node, &declarations, |list| list["items"][0]["differs"] == false).await;
    let stored = &listed["items"][0]["lines"][0]["stored"];
    assert_eq!((stored, &listed["items"][0]["version"]), (&json!({"count": 3, "amount_minor": 1_500}), &json!(2)));
    let over = group(&node, "declared_totals_differ", "resolved").await;
    assert_eq!(over["id"], alarm["id"]);

    let one = node.call("GET", &format!("{declarations}?day={name}"), Some(&key.bearer), "").await.json();
    let history: Vec<&Value> =
        one["items"][0]["history"].as_array().expect("a list").iter().map(|h| &h["version"]).collect();
    assert_eq!(history, [&json!(2), &json!(1)], "{one}");
    // all of them, what failed as well
    let mut all = total(4, 1_001_500);
    all["status"] = json!("all");
    let all = declare(&node, all).await;
    assert_eq!((all.status, &all.json()["differs"]), (201, &json!(false)), "{}", all.text);

    let (today, _) = day(0);
    let kinds = |kinds: &[&str]| kinds.iter().map(|kind| json!({"kind": kind, "count": 1})).collect::<Vec<_>>();
    for (wrong, pointer) in [
        (json!({"totals": kinds(&["stake"])}), "/day"),
        (json!({"day": "2026-02-30", "totals": kinds(&["stake"])}), "/day"),
        (json!({"day": today, "totals": kinds(&["stake"])}), "/day"),
        (json!({"day": name}), "/totals"),
        (json!({"day": name, "totals": kinds(&["gift"])}), "/totals/0/kind"),
        (json!({"day": name, "totals": kinds(&["stake", "stake"])}), "/totals/1/kind"),
        (json!({"day": name, "totals": [{"kind": "stake", "count": -1}]}), "/totals/0/count"),
        (json!({"day": name, "totals": [{"kind": "stake", "count": 1, "amount_minor": -1}]}), "/totals/0/amount_minor"),
        (json!({"day": name, "status": "some", "totals": kinds(&["stake"])}), "/status"),
        (json!({"day": name, "time_zone": "UTC", "totals": kinds(&["stake"])}), "/time_zone"),
        (json!({"day": name, "time_zone": "Africa/Atlantis", "totals": kinds(&["stake"])}), "/day"),
    ] {
        let refused = declare(&node, wrong.clone()).await;
        assert_eq!(
            (refused.status, &refused.json()["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{wrong} {}",
            refused.text
        );
    }
    // page by page
    let (older, _) = day(3);
    let of_older = json!({"day": older, "totals": [{"kind": "stake", "count": 1, "amount_minor": 7}]});
    assert_eq!(declare(&node, of_older).await.status, 201);
    let page = node.call("GET", &format!("{declarations}?limit=1"), Some(&key.bearer), "").await.json();
    assert_eq!((&page["items"][0]["day"], &page["next_cursor"]), (&json!(name), &json!(name)));
    let rest = format!("{declarations}?limit=1&cursor={name}");
    let page = node.call("GET", &rest, Some(&key.bearer), "").await.json();
    assert_eq!((&page["items"][0]["day"], &page["next_cursor"]), (&json!(older), &Value::Null));
    // nobody else's
    let other = node.operator("other").await;
    let stranger = self::key(&node, &other).await;
    assert_eq!(node.call("GET", &declarations, Some(&stranger.bearer), "").await.status, 404);
    node.stop().await;
}

#[actix_web::test]
async fn a_days_completeness_is_told_with_what_it_is_made_of() {
    let node = Node::start_as(often()).await;
    let operator = node.operator("acme").await;
    let key = key(&node, &operator).await;
    let path = source(&node, &key, json!({"expected_interval_seconds": 1})).await;
    let (yesterday, start) = day(1);
    let noon = start.plus(12 * HOUR);
    let records = Value::from(vec![stake("a", noon, 100), json!({"record_id": "bad"})]);
    assert_eq!(push(&node, &path, &key, &records.to_string(), Push::default()).await.status, 200);
    let declared =
        json!({"day": yesterday, "totals": [{"kind": "stake", "count": 4, "amount_minor": 400}]}).to_string();
    let said = node.call("POST", &format!("{path}/declarations"), Some(&key.bearer), &declared).await;
    assert_eq!(said.status, 201, "{}", said.text);
    let (today, _) = day(0);
    let ask = format!("{path}/completeness?from={yesterday}&to={today}");
    let found = node.call("GET", &ask, Some(&key.bearer), "").await;
    assert_eq!(found.status, 200, "{}", found.text);
    let found = found.json();
    assert!(found["formula"].as_str().is_some_and(|text| text.starts_with("score = intervals")), "{found}");
    assert!(found["as_of"].is_string());
    let [first, second] = found["items"].as_array().expect("days").as_slice() else { panic!("{found}") };
    // the source was not there yet, but a quarter of the declared records came
    assert_eq!(
        (&first["day"], &first["score"], &first["intervals"]["of"]),
        (&json!(yesterday), &json!(0.25), &Value::Null)
    );
    assert_eq!((&first["declared"]["part"], &first["declared"]["of"]), (&json!(1), &json!(4)), "{first}");
    assert!(first["compared_at"].is_string());
    assert_eq!((&second["day"], &second["settled"]["share"]), (&json!(today), &json!(0.5)), "{second}");
    assert_eq!((&second["settled"]["part"], &second["settled"]["of"]), (&json!(1), &json!(2)));
    assert_eq!(second["compared_at"], Value::Null);
    // and with the source, once somebody has looked
    let seen = until(&node, &path, |seen| seen["completeness"]["score"].is_number()).await;
    assert_eq!(seen["completeness"]["day"], json!(yesterday), "{seen}");
    for (query, pointer) in [
        ("from=x", "?from"),
        ("to=2026-13-01&from=2026-01-01", "?to"),
        ("from=2026-03-01&to=2026-02-01", "?to"),
        ("from=2026-01-01&to=2026-04-03", "?to"),
    ] {
        let refused = node.call("GET", &format!("{path}/completeness?{query}"), Some(&key.bearer), "").await;
        assert_eq!(
            (refused.status, &refused.json()["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{query} {}",
            refused.text
        );
    }
    let week = node.call("GET", &format!("{path}/completeness"), Some(&key.bearer), "").await.json();
    assert_eq!(week["items"].as_array().map(Vec::len), Some(7), "{week}");
    node.stop().await;
}

#[actix_web::test]
async fn a_source_that_says_that_nothing_happened_is_heard_of_and_no_more() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let key = key(&node, &operator).await;
    let path = source(&node, &key, json!({})).await;
    assert_eq!(push(&node, &path, &key, " \n", Push::default()).await.status, 422, "that is nothing at all");
    assert_eq!(view(&node, &path).await["last_success_at"], Value::Null);
    let answer = push(&node, &path, &key, "[]", Push { number: Some(1), ..Push::default() }).await;
    assert_eq!((taken(&answer), &answer.json()["batch_id"]), ((200, 0, 0), &Value::Null));
    let seen = view(&node, &path).await;
    assert_eq!((&seen["freshness"], &seen["integrity"]["last_batch"]), (&json!("fresh"), &json!(1)), "{seen}");
    let heard = seen["last_success_at"].clone();
    assert!(heard.is_string(), "{seen}");

    // whoever starts again does not take it for silent, and no figure is newer for it
    let node = node.restart(Faults::default()).await;
    let seen = until(&node, &path, |seen| seen["last_success_at"].is_string()).await;
    assert_eq!((&seen["freshness"], &seen["last_event_at"]), (&json!("fresh"), &Value::Null), "{seen}");
    // and where nothing comes of it, nothing is journaled
    for _ in 0..3 {
        assert_eq!(push(&node, &path, &key, "[]", Push::default()).await.status, 200);
    }
    assert_eq!(node.journaled("source_advanced").await.len(), 0);
    node.stop().await;
}
