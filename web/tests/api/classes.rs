//! The seven classes of data, end to end: made, pushed, read back, and what a class does not take.

use crate::node::{Key, Node, Operator};
use serde_json::{Value, json};

const CLASSES: [&str; 7] = [
    "gaming_transactions",
    "sales_redemptions",
    "player_accounts",
    "licences",
    "invoices",
    "payments",
    "bank_statements",
];

/// What others say of an operator.
const OF_OTHERS: [&str; 4] = ["licences", "invoices", "payments", "bank_statements"];

/// A key of the operator that makes sources and pushes.
async fn key(node: &Node, operator: &Operator) -> Key {
    let key = json!({"label": "k", "scopes": ["feeds:write", "feeds:manage"], "rate_per_second": 1000});
    operator.key(node, key).await
}

/// Where the records of a source are pushed, and with whose key.
struct Pushed {
    path: String,
    bearer: String,
}

/// A new source of a class: of the operator's own making, or of staff's where others speak.
async fn source(node: &Node, operator: &Operator, key: &Key, class: &str) -> Pushed {
    let bearer = if OF_OTHERS.contains(&class) { &node.staff } else { &key.bearer };
    let made = node.call("POST", "/api/v1/feeds", Some(bearer), &new_source(operator, class).to_string()).await;
    assert_eq!((made.status, made.json()["class"].as_str()), (201, Some(class)), "{}", made.text);
    let path = format!("/api/v1/feeds/{}/records", made.json()["id"].as_str().expect("an id"));
    Pushed { path, bearer: bearer.clone() }
}

fn new_source(operator: &Operator, class: &str) -> Value {
    json!({"operator": operator.id, "name": class.replace('_', "-"), "class": class, "clock": "event", "horizon_days": 60})
}

async fn push(node: &Node, Pushed { path, bearer }: &Pushed, records: &Value) -> Value {
    let pushed = node.call("POST", path, Some(bearer), &records.to_string()).await;
    assert_eq!(pushed.status, 200, "{}", pushed.text);
    pushed.json()
}

async fn read(node: &Node, operator: &Operator, what: &str) -> Value {
    let path = format!("/api/v1/operators/{}/data/{what}", operator.id);
    let read = node.call("GET", &path, Some(&node.staff), "").await;
    assert_eq!(read.status, 200, "{what}: {}", read.text);
    read.json()
}

fn kes(amount_minor: i64) -> Value {
    json!({"amount_minor": amount_minor, "currency": "KES"})
}

/// Two records of each class, in the order of [`CLASSES`].
fn records(class: &str) -> Value {
    let at = |hour: u32| format!("2026-11-01T{hour:02}:00:00Z");
    let bank = |line: u32, direction: &str| {
        json!({"account": "KE11 0000 4711", "statement": "s7", "line": line, "direction": direction, "value_date": "2026-11-01",
            "counterparty": "Wanjiku Otieno", "reference": "PAYOUT 77"})
    };
    let invoice = |state: &str, paid: i64| {
        json!({"number": "FIRS-2026-11-0042", "authority": "FIRS", "tax": "gaming_tax", "jurisdiction": "NG-LA",
            "period_from": "2026-10-01", "period_to": "2026-10-31", "due_at": "2026-11-15", "state": state, "paid_minor": paid})
    };
    match class {
        "gaming_transactions" => json!([
            {"record_id": "g1", "kind": "stake", "occurred_at": at(10), "money": kes(100), "player": {"phone": "0712345678"}, "product": "slots"},
            {"record_id": "g2", "kind": "login", "occurred_at": at(11), "player": {"phone": "0712345678"}},
        ]),
        "sales_redemptions" => json!([
            {"record_id": "s1", "kind": "ticket_sale", "occurred_at": at(10), "money": kes(5_000), "bet": {"id": "t1"}, "outlet_id": "out-7", "product": "lottery"},
            {"record_id": "s2", "kind": "redemption", "occurred_at": at(11), "money": kes(2_000), "bet": {"id": "t0"}, "outlet_id": "out-7", "product": "lottery"},
        ]),
        "player_accounts" => json!([
            {"record_id": "p1", "kind": "account_opened", "occurred_at": at(10), "player": {"phone": "0712345678"}},
            {"record_id": "p2", "kind": "limit_change", "occurred_at": at(11), "player": {"phone": "0712345678"}, "limit": {"type": "deposit_day", "old_minor": null, "new_minor": 50_000}},
        ]),
        "licences" => json!([
            {"record_id": "l1", "kind": "licence_status", "occurred_at": "2026-10-31", "licence_status": {"number": "BCLB-0417", "licence_class": "bookmaker",
                "products": ["sportsbook"], "valid_from": "2026-01-01", "valid_to": "2026-12-31", "state": "active", "compliance": "compliant", "conditions": ["No bonus"]}},
            {"record_id": "l2", "kind": "licence_status", "occurred_at": at(11), "licence_status": {"number": "BCLB-0417", "state": "suspended", "compliance": "non_compliant"}},
        ]),
        "invoices" => json!([
            {"record_id": "i1", "kind": "invoice", "occurred_at": at(10), "money": kes(1_500_000), "invoice": invoice("issued", 0)},
            {"record_id": "i1-v2", "replaces": "i1", "kind": "invoice", "occurred_at": at(11), "money": kes(1_500_000), "invoice": invoice("part_paid", 500_000)},
        ]),
        "payments" => json!([
            {"record_id": "y1", "kind": "payment", "occurred_at": at(10), "money": kes(500_000), "payment": {"method": "bank_transfer", "account": "KE11 0000 4711",
                "reference": "TRX-9", "invoice": "FIRS-2026-11-0042", "authority": "FIRS", "state": "pending"}},
            {"record_id": "y1-v2", "kind": "payment", "occurred_at": at(11), "money": kes(500_000), "payment": {"method": "bank_transfer", "account": "KE11 0000 4711",
                "reference": "TRX-9", "invoice": "FIRS-2026-11-0042", "authority": "FIRS", "state": "completed"}},
        ]),
        _ => json!([
            {"record_id": "b1", "kind": "bank_line", "occurred_at": at(10), "money": kes(10_000), "balance_after_minor": 10_000, "bank": bank(1, "credit")},
            {"record_id": "b2", "kind": "bank_line", "occurred_at": at(11), "money": kes(2_500), "balance_after_minor": 7_400, "bank": bank(2, "debit")},
        ]),
    }
}

/// Every item of every class as it is to be read.
async fn check(node: &Node, operator: &Operator) {
    let item = async |class: &str, at: usize| read(node, operator, class).await["items"][at].clone();
    for class in CLASSES {
        let page = read(node, operator, class).await;
        assert_eq!((&page["class"], &page["inputs_missing"]), (&json!(class), &json!(0)), "{page:#}");
        assert!(page["as_of"].is_string() && page["next_cursor"].is_null(), "{page:#}");
        let said = page.to_string();
        assert!(!said.contains("4711\"") && !said.contains("Wanjiku") && !said.contains("712345678"), "{said}");
    }
    let stake = item("gaming_transactions", 1).await;
    assert_eq!((&stake["record_id"], &stake["money"], &stake["product"]), (&json!("g1"), &kes(100), &json!("slots")));
    let player = stake["player"].as_str().expect("a digest").to_owned();
    assert_eq!(player.len(), 12);
    let login = item("gaming_transactions", 0).await;
    assert_eq!((&login["kind"], &login["money"]), (&json!("login"), &Value::Null));

    let sales = item("sales_redemptions", 0).await;
    let wanted = json!({"day": "2026-11-01T00:00:00.000Z", "outlet": "out-7", "product": "lottery", "currency": "KES",
        "sold": {"count": 1, "amount_minor": 5_000}, "redeemed": {"count": 1, "amount_minor": 2_000}, "voided": {"count": 0, "amount_minor": 0},
        "failed": 0, "replacing": 0});
    assert_eq!(sales, wanted);

    let account = item("player_accounts", 0).await;
    let wanted = json!({"player": player, "state": "open", "opened_at": "2026-11-01T10:00:00.000Z", "closed_at": null, "last_login_at": null,
        "last_record_at": "2026-11-01T11:00:00.000Z", "limits": [{"type": "deposit_day", "minor": 50_000, "since": "2026-11-01T11:00:00.000Z"}]});
    assert_eq!(account, wanted, "the same person has the same digest in every class");

    let licences = read(node, operator, "licences").await;
    let states: Vec<_> =
        licences["items"].as_array().expect("items").iter().map(|l| (&l["state"], &l["current"])).collect();
    assert_eq!(states, [(&json!("suspended"), &json!(true)), (&json!("active"), &json!(false))]);
    assert_eq!(licences["items"][1]["valid_to"], json!("2026-12-31T00:00:00.000Z"));
    let active = read(node, operator, "licences?state=active").await;
    assert_eq!(active["items"], json!([licences["items"][1]]));

    let invoices = read(node, operator, "invoices").await;
    assert_eq!(invoices["items"].as_array().map(Vec::len), Some(1), "its newest version alone");
    let invoice = &invoices["items"][0];
    assert_eq!((&invoice["record_id"], &invoice["state"]), (&json!("i1-v2"), &json!("part_paid")));
    assert_eq!((&invoice["money"], &invoice["paid_minor"]), (&kes(1_500_000), &json!(500_000)));
    assert_eq!(read(node, operator, "invoices?state=issued").await["items"], json!([]));

    let payment = item("payments", 0).await;
    assert_eq!((&payment["state"], &payment["invoice"]), (&json!("completed"), &json!("FIRS-2026-11-0042")));
    let lines = read(node, operator, "bank_statements").await;
    let breaks: Vec<_> =
        lines["items"].as_array().expect("items").iter().map(|l| (&l["line"], &l["balance_break"])).collect();
    assert_eq!(breaks, [(&json!(2), &json!(true)), (&json!(1), &json!(false))]);
    assert_eq!(payment["account"], lines["items"][0]["account"], "one account in both");
    assert_eq!(lines["items"][0]["direction"], json!("debit"));
}

#[actix_web::test]
async fn every_class_is_pushed_and_read_back_also_after_a_restart() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let key = key(&node, &operator).await;
    let mut paths = Vec::new();
    for class in CLASSES {
        let path = source(&node, &operator, &key, class).await;
        let silent = read(&node, &operator, class).await;
        assert_eq!((&silent["as_of"], &silent["inputs_missing"]), (&Value::Null, &json!(1)), "{class}");
        let pushed = push(&node, &path, &records(class)).await;
        assert_eq!((&pushed["accepted"], &pushed["quarantined"]), (&json!(2), &json!([])), "{class}: {pushed}");
        paths.push(path);
    }
    check(&node, &operator).await;
    // the same again changes nothing, before a restart and after it
    for (class, path) in CLASSES.iter().zip(&paths) {
        assert_eq!(push(&node, path, &records(class)).await["duplicates"], json!(2), "{class}");
    }
    let node = node.restart(actors::engine::Faults::default()).await;
    for (class, path) in CLASSES.iter().zip(&paths) {
        assert_eq!(push(&node, path, &records(class)).await["duplicates"], json!(2), "{class}");
    }
    check(&node, &operator).await;
    node.stop().await;
}

#[actix_web::test]
async fn a_class_takes_no_records_of_another_and_there_are_seven() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let key = key(&node, &operator).await;
    for class in ["bets", "sales_and_redemptions", "GAMING_TRANSACTIONS", ""] {
        let new = json!({"name": "other", "class": class}).to_string();
        let made = node.call("POST", "/api/v1/feeds", Some(&key.bearer), &new).await;
        assert_eq!((made.status, &made.json()["errors"][0]["pointer"]), (422, &json!("/class")), "{}", made.text);
    }
    let path = source(&node, &operator, &key, "bank_statements").await;
    for class in CLASSES.iter().filter(|class| **class != "bank_statements") {
        let pushed = push(&node, &path, &records(class)).await;
        let refused = pushed["quarantined"].as_array().expect("a list");
        assert_eq!(refused.len(), 2, "{class}");
        assert!(refused.iter().all(|refusal| refusal["code"] == "wrong_class"), "{class}: {pushed}");
        let said = refused[0]["detail"].as_str().expect("a sentence");
        assert!(said.starts_with("kind: a source of bank_statements takes no "), "{said}");
    }
    let listed = node.call("GET", &path.path.replace("/records", "/quarantine"), Some(&key.bearer), "").await.json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(12));
    // play takes whatever players do, and no document
    let play = source(&node, &operator, &key, "gaming_transactions").await;
    for (class, taken) in [("sales_redemptions", 2), ("player_accounts", 2), ("payments", 0)] {
        assert_eq!(push(&node, &play, &records(class)).await["accepted"], json!(taken), "{class}");
    }
    assert_eq!(read(&node, &operator, "sales_redemptions").await["items"], json!([]), "that was play");
    node.stop().await;
}

#[actix_web::test]
async fn a_break_from_play_is_taken_without_an_amount_and_is_no_limit() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let key = key(&node, &operator).await;
    let path = source(&node, &operator, &key, "player_accounts").await;
    let limit = |id: &str, limit: Value| json!({"record_id": id, "kind": "limit_change", "occurred_at": "2026-11-01T10:00:00Z", "player": {"phone": "0712345678"}, "limit": limit});
    let records = json!([
        limit("l1", json!({"type": "loss_week", "new_minor": 900})),
        limit("l2", json!({"type": "time_out"})),
        limit("l3", json!({"type": "session_time"})),
    ]);
    let pushed = push(&node, &path, &records).await;
    let refused = &pushed["quarantined"];
    assert_eq!((&pushed["accepted"], refused.as_array().map(Vec::len)), (&json!(2), Some(1)), "{pushed}");
    assert_eq!((&refused[0]["index"], &refused[0]["code"]), (&json!(2), &json!("missing_field")), "{pushed}");
    let account = read(&node, &operator, "player_accounts").await["items"][0].clone();
    let wanted = json!([{"type": "loss_week", "minor": 900, "since": "2026-11-01T10:00:00.000Z"}]);
    assert_eq!(account["limits"], wanted);
    node.stop().await;
}

#[actix_web::test]
async fn nobody_says_of_itself_what_others_say_of_it() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let own = key(&node, &operator).await;
    // who makes a source first, pushes to it, declares a day of it, reads and repairs what was refused: operator | staff
    for class in CLASSES {
        let (made_by_own, of_own) = if OF_OTHERS.contains(&class) { (403, 403) } else { (201, 200) };
        let new = new_source(&operator, class).to_string();
        let made = node.call("POST", "/api/v1/feeds", Some(&own.bearer), &new).await;
        assert_eq!(made.status, made_by_own, "{class}: {}", made.text);
        let again = node.call("POST", "/api/v1/feeds", Some(&node.staff), &new).await;
        assert_eq!(again.status, if made_by_own == 403 { 201 } else { 200 }, "{class}: {}", again.text);
        let source = format!("/api/v1/feeds/{}", again.json()["id"].as_str().expect("an id"));
        let (one, broken) = (json!([records(class)[0]]).to_string(), json!([{"record_id": "broken"}]).to_string());
        for path in ["/records?dry_run=true", "/records"] {
            let pushed = node.call("POST", &format!("{source}{path}"), Some(&own.bearer), &one).await;
            assert_eq!(pushed.status, of_own, "{class} {path}: {}", pushed.text);
            let said = pushed.json()["detail"].as_str().unwrap_or_default().to_owned();
            assert_eq!(said.contains("ask the regulator"), of_own == 403, "{class} {path}: {said}");
        }
        let pushed = node.call("POST", &format!("{source}/records"), Some(&node.staff), &one).await;
        let stored = if of_own == 403 { "accepted" } else { "duplicates" };
        assert_eq!((pushed.status, &pushed.json()[stored]), (200, &json!(1)), "{class}: {}", pushed.text);
        let refused = node.call("POST", &format!("{source}/records"), Some(&node.staff), &broken).await;
        assert_eq!(refused.json()["quarantined"].as_array().map(Vec::len), Some(1), "{class}: {}", refused.text);

        let listed = node.call("GET", &format!("{source}/quarantine"), Some(&own.bearer), "").await;
        let id = listed.json()["items"][0]["id"].as_str().expect("an id").to_owned();
        let many = json!({"code": "missing_field", "apply": "as_sent"}).to_string();
        let day =
            json!({"day": "2026-11-01", "totals": [{"kind": "stake", "count": 1, "amount_minor": 100}]}).to_string();
        let table = [
            ("GET", format!("quarantine/{id}"), ""),
            ("POST", format!("quarantine/{id}/replay"), one.trim_matches(['[', ']'])),
            ("POST", "quarantine/replay".to_owned(), many.as_str()),
            ("POST", "declarations".to_owned(), day.as_str()),
        ];
        for (method, path, body) in table {
            let asked = node.call(method, &format!("{source}/{path}"), Some(&own.bearer), body).await;
            assert_eq!(asked.status == 403, of_own == 403, "{class} {path}: {} {}", asked.status, asked.text);
        }
    }
    node.stop().await;
}

#[actix_web::test]
async fn documents_are_in_no_figure() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let key = key(&node, &operator).await;
    for class in ["gaming_transactions", "invoices", "payments", "bank_statements", "licences"] {
        let path = source(&node, &operator, &key, class).await;
        push(&node, &path, &records(class)).await;
    }
    let bearer = format!("Bearer {}", node.staff);
    let headers = [("Sec-WebSocket-Protocol", "mlinzi.v1"), ("Authorization", bearer.as_str())];
    let mut socket = crate::node::Socket::open(&node, "/ws/dashboards/realtime", &headers).await.expect("a socket");
    socket.text(r#"{"type":"subscribe","topics":["national"]}"#).await;
    // two records of play, one of them a stake: the node shows them sooner or later, and never more
    loop {
        let frame = socket.json().await;
        let totals = &frame["data"]["currencies"][0];
        if totals["records"] == json!(2) {
            assert_eq!(totals["stakes"], json!(100), "{frame}");
            break;
        }
        assert!(totals["records"].as_u64().is_none_or(|records| records < 2), "{frame}");
    }
    node.stop().await;
}

#[actix_web::test]
async fn data_is_read_by_staff_page_by_page_within_its_jurisdiction() {
    let node = Node::start().await;
    let operator = node.operator("acme").await;
    let key = key(&node, &operator).await;
    let path = source(&node, &operator, &key, "payments").await;
    let payment = |n: u32| {
        json!({"record_id": format!("y{n}"), "kind": "payment", "occurred_at": format!("2026-11-01T{:02}:00:00Z", n % 24), "money": kes(n.into()),
            "payment": {"reference": format!("T{n}"), "state": if n.is_multiple_of(2) { "completed" } else { "failed" }}})
    };
    push(&node, &path, &Value::from_iter((0..7).map(payment))).await;
    let (mut seen, mut next) = (Vec::new(), String::new());
    loop {
        let page = read(&node, &operator, &format!("payments?limit=3{next}")).await;
        let items = page["items"].as_array().expect("items").clone();
        seen.extend(items.iter().map(|item| item["reference"].as_str().expect("a text").to_owned()));
        match page["next_cursor"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, ["T6", "T5", "T4", "T3", "T2", "T1", "T0"]);
    let some = read(&node, &operator, "payments?state=failed&from=2026-11-01T02:00:00Z&to=2026-11-02").await;
    let some: Vec<_> = some["items"].as_array().expect("items").iter().map(|item| item["reference"].clone()).collect();
    assert_eq!(some, [json!("T5"), json!("T3")]);

    let data = format!("/api/v1/operators/{}/data", operator.id);
    let table = [
        (format!("{data}/payments"), Some(&key.bearer), 403),
        (format!("{data}/payments"), Some(&node.neighbour), 404),
        (format!("{data}/payments"), None, 401),
        (format!("{data}/bets"), Some(&node.staff), 404),
        ("/api/v1/operators/opr_x/data/payments".to_owned(), Some(&node.staff), 404),
        (format!("{data}/payments?state=issued"), Some(&node.staff), 422),
        (format!("{data}/bank_statements?state=completed"), Some(&node.staff), 422),
        (format!("{data}/payments?from=yesterday"), Some(&node.staff), 422),
        (format!("{data}/payments?cursor=1.2"), Some(&node.staff), 422),
        (format!("{data}/payments?cursor=1.2.-3"), Some(&node.staff), 422),
        (format!("{data}/payments?player=1"), Some(&node.staff), 422),
        (format!("{data}/payments?limit=501"), Some(&node.staff), 422),
    ];
    for (path, bearer, status) in table {
        let answer = node.call("GET", &path, bearer.map(String::as_str), "").await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
    }
    node.stop().await;
}

#[actix_web::test]
async fn a_mapping_is_of_its_sources_class() {
    let node = Node::start_as(crate::node::Setup {
        feeds: actors::feeds::FeedsConfig { allow_private_addresses: true, ..actors::feeds::FeedsConfig::default() },
        ..crate::node::Setup::default()
    })
    .await;
    let operator = node.operator("acme").await;
    let mapping = |class: &str, kind: &str| {
        format!(
            "name = \"m\"\nsource = {{ name = \"s\", class = \"{class}\", clock = \"wall\", horizon_days = 7, expected_interval_seconds = 60, currency = \"KES\" }}\n\
             file = {{ encoding = \"utf-8\" }}\noperator = {{ code = \"acme\" }}\ntime = {{ column = \"at\", format = \"rfc3339\" }}\nnumbers = {{ scale = 2 }}\n\
             [[record]]\nid = \"{{id}}\"\nkind = \"{kind}\"\namount = {{ plus = [\"sum\"] }}\n"
        )
    };
    let table = [
        ("payments", "payment", 201, ""),
        ("invoices", "payment", 422, "source.class: not the source's"),
        ("payments", "stake", 422, "record: a source of payments takes no stake"),
    ];
    for (class, kind, status, said) in table {
        let new = json!({"operator": operator.id, "name": "taxes", "class": "payments", "kind": "http_poll",
            "reader": {"url": "http://127.0.0.1:9/x"}, "schedule": {"every_seconds": 86_400}, "mapping": mapping(class, kind)});
        let made = node.call("POST", "/api/v1/feeds", Some(&node.staff), &new.to_string()).await;
        assert_eq!(made.status, status, "{}", made.text);
        assert!(status == 201 || made.json()["errors"][0]["detail"] == said, "{}", made.text);
        assert!(status != 201 || made.json()["horizon_days"] == 400, "documents lie further back: {}", made.text);
    }
    node.stop().await;
}
