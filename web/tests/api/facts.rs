//! What register and evidence know of the players of a batch, while it is judged and after a start.

use crate::node::{Key, Node};
use actors::engine::Faults;
use engine::rules::input::Facts;
use models::alert::Window;
use models::ids::OperatorNo;
use models::record::Record;
use models::ts::{DAY, MINUTE, Ts};
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

async fn post(node: &Node, key: &str, path: &str, body: Value) -> Value {
    let answer = node.call("POST", path, Some(key), &body.to_string()).await;
    assert!((200..300).contains(&answer.status), "{path}: {}", answer.text);
    answer.json()
}

async fn ask(node: &Node, key: &Key, phone: &str, purpose: &str) -> Value {
    post(node, &key.bearer, "/api/v1/operators/lookup", json!({"phone": phone, "purpose": purpose})).await
}

/// The operator's records, the oldest first.
async fn records(node: &Node, operator: OperatorNo) -> Vec<Record> {
    let span = (Ts(0), node.engine.now().plus(DAY));
    node.engine.store().records_between(operator, span.0, span.1, 100).await.expect("records")
}

/// The facts, once they are known and no gap of `ours` stands in the way.
async fn facts(node: &Node, operator: OperatorNo, records: &[Record]) -> Vec<Facts> {
    let since = records[0].occurred_at.plus(-DAY / 2);
    // before that nobody could ask as this operator
    let registered = node.engine.directory().operators[&operator].registered_at;
    let is_ours = |gap: Window| gap.end >= since && gap.end != registered;
    let stored_at = node.engine.now();
    let known = async {
        loop {
            let asked = node.engine.facts().of(operator, stored_at, records).await.expect("the store is there");
            let is_all = |facts: &Vec<Facts>| !facts.iter().any(|f| f.evidence_gap.is_some_and(is_ours));
            if let Some(facts) = asked.filter(is_all) {
                return facts;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, known).await.expect("the facts become known")
}

#[actix_web::test]
async fn who_was_checked_and_who_is_excluded_is_known_of_every_record_and_after_a_start() {
    let node = Node::start().await;
    let acme = node.operator("acme").await;
    let scopes = json!({"label": "k", "scopes": ["lookup", "feeds:write", "feeds:manage"], "rate_per_second": 1000});
    let key = acme.key(&node, scopes.clone()).await;
    let other = node.operator("other").await.key(&node, scopes).await;
    let excluded = json!({"phone": "0712000001", "period": "1_year", "reason_class": "self", "channel": "web"});
    post(&node, &node.staff, "/api/v1/nser/register", excluded).await;
    let token = ask(&node, &key, "0712000002", "login").await["bst"].clone();
    ask(&node, &key, "0712000003", "marketing").await;
    ask(&node, &other, "0712000004", "login").await;
    let made = post(&node, &key.bearer, "/api/v1/feeds", json!({"name": "play", "class": "gaming_transactions"})).await;
    let path = format!("/api/v1/feeds/{}/records", made["id"].as_str().expect("an id"));
    let now = node.engine.now();
    let players = [
        json!({"phone": "0712000001"}),
        json!({"bst": token}),
        json!({"phone": "0712000003"}),
        json!({"phone": "0712000004"}),
        json!({"account_ref": "a-17"}),
    ];
    let sent = players.iter().zip(0..).map(|(player, n)| {
        let at = now.plus(-MINUTE + n).to_string();
        json!({"record_id": format!("r{n}"), "kind": "login", "occurred_at": at, "player": player})
    });
    let pushed = post(&node, &key.bearer, &path, sent.collect()).await;
    assert_eq!(pushed["accepted"], 5, "{pushed}");

    let operator = *node.engine.directory().operator_by_code.get("acme").expect("it is there");
    let mut stored = records(&node, operator).await;
    stored.sort_by(|a, b| a.record_id.cmp(&b.record_id));
    let of = |facts: &[Facts]| -> Vec<(bool, bool, bool, bool)> {
        let of = |f: &Facts| {
            (f.is_identified, f.excluded.is_some(), f.checked_at.is_some(), f.marketing_checked_at.is_some())
        };
        facts.iter().map(of).collect()
    };
    // in the register?, excluded?, asked about?, before marketing? The other operator's question is none of this one's
    let wanted = [
        (true, false, false, false),
        (true, false, true, false),
        (true, false, true, true),
        (true, false, false, false),
        (false, false, false, false),
    ];
    // the exclusion began after what is told to have been played a minute ago, and binds what is played in a minute
    assert_eq!(of(&facts(&node, operator, &stored).await), wanted);
    stored.iter_mut().for_each(|record| record.occurred_at = now.plus(MINUTE));
    let later = [(true, true, false, false)].into_iter().chain(wanted[1..].iter().copied()).collect::<Vec<_>>();
    assert_eq!(of(&facts(&node, operator, &stored).await), later);

    let node = node.restart(Faults::default()).await;
    assert_eq!(of(&facts(&node, operator, &stored).await), later, "evidence is read back");
    node.stop().await;
}
