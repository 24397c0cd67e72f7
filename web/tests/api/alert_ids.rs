//! Ids of alerts are digests without a key: whoever guesses what was found can make one. So whoever presents an id that is not
//! theirs has to hear what is heard of an id that nobody has.

use crate::live_rules::{EVERYWHERE, Pushing, alert, judged, known, play, until};
use crate::node::{Answer, Node};
use models::ids::{AlertId, GroupId};
use serde_json::{Value, json};
use web::routes::endpoints;

/// What operators hear of as `confidential`.
const CONFIDENTIAL: &str = "structured_deposits";
/// Every route that takes the id of an alert (`a`), of a group (`g`), or of either, with a body that it accepts.
const ROUTES: [(&str, &str, &str, &str); 6] = [
    ("GET", "/api/v1/alerts/{id}", "a", ""),
    ("GET", "/api/v1/alerts/groups/{id}", "g", ""),
    ("POST", "/api/v1/alerts/{id}/acknowledge", "ag", ""),
    ("POST", "/api/v1/alerts/{id}/snooze", "ag", r#"{"until": "2026-11-02T00:00:00Z"}"#),
    ("POST", "/api/v1/alerts/{id}/resolve", "ag", r#"{"reason": "confirmed"}"#),
    ("POST", "/api/v1/alerts/{id}/reopen", "ag", ""),
];

/// All of an answer but what is of the request alone.
fn said(answer: &Answer) -> (u16, Value) {
    let mut body = answer.json();
    if let Some(body) = body.as_object_mut() {
        body.retain(|name, _| !["instance", "request_id"].contains(&name.as_str()));
    }
    (answer.status, body)
}

/// The newest alert of a rule and its group, as staff of the jurisdiction reads them.
async fn ids(node: &Node, rule: &str) -> [String; 2] {
    let id = |of: &Value| of["id"].as_str().expect("an id").to_owned();
    let alert = id(&alert(node, rule).await);
    let group = until("a group", async || {
        let listed = node.call("GET", "/api/v1/alerts/groups", Some(&node.staff), "").await.json();
        listed["items"].as_array().and_then(|groups| groups.iter().find(|group| group["rule"] == rule).map(id))
    });
    [alert, group.await]
}

#[test]
fn every_route_that_takes_an_id_of_an_alert_is_tried() {
    let takes_one =
        |path: &str| path.starts_with("/api/v1/alerts/") && path.contains('{') && !path.contains("/silences/");
    let routes = endpoints().iter().filter(|endpoint| takes_one(endpoint.path));
    let routes: Vec<_> = routes.map(|endpoint| (endpoint.method, endpoint.path)).collect();
    let tried: Vec<_> = ROUTES.iter().map(|(method, path, ..)| (*method, *path)).collect();
    assert!(routes.iter().all(|route| tried.contains(route)), "{routes:?}");
    assert_eq!(routes.len(), tried.len(), "{routes:?}");
}

#[actix_web::test]
async fn an_id_that_is_not_ones_own_is_answered_as_one_that_nobody_has() {
    let node = Node::start_as(known()).await;
    let (acme, other) = (Pushing::new(&node, "acme").await, Pushing::new(&node, "bets").await);
    let (one, two) =
        (acme.source(&node, "gaming_transactions").await, other.source(&node, "gaming_transactions").await);
    let deposits: Vec<_> = (1..=3).map(|n| play(&format!("d{n}"), "deposit", n, 180_000_000)).collect();
    acme.push(&node, &one, &json!(deposits)).await;
    judged(&node, 2).await;
    other.push(&node, &two, &json!([play("b1", "deposit", 4, 9_000_000)])).await;
    let (own, of_all) = (ids(&node, CONFIDENTIAL).await, ids(&node, EVERYWHERE).await);
    let nobodys = [AlertId(7).to_string(), GroupId(7).to_string()];

    // whoever it is, as read by staff of the jurisdiction: the ids are there to be found
    for [alert, group] in [&own, &of_all] {
        for path in [format!("/api/v1/alerts/{alert}"), format!("/api/v1/alerts/groups/{group}")] {
            assert_eq!(node.call("GET", &path, Some(&node.staff), "").await.status, 200, "{path}");
        }
    }
    // who | whose alert is none of theirs
    let table = [
        ("another operator", &other.key.bearer, &own),
        ("another operator", &other.key.bearer, &of_all),
        ("the operator that it names", &acme.key.bearer, &of_all),
        ("staff of another jurisdiction", &node.neighbour, &own),
        ("staff of another jurisdiction", &node.neighbour, &of_all),
    ];
    for (who, bearer, of) in table {
        for (method, route, takes, body) in ROUTES {
            for (place, kind) in ["a", "g"].into_iter().enumerate().filter(|(_, kind)| takes.contains(kind)) {
                let call = async |id: &str| node.call(method, &route.replace("{id}", id), Some(bearer), body).await;
                let (theirs, unknown) = (said(&call(&of[place]).await), said(&call(&nobodys[place]).await));
                assert_eq!(theirs, unknown, "{who}: {method} {route} with {kind}");
                assert!([403, 404].contains(&theirs.0), "{who}: {method} {route} with {kind}: {theirs:?}");
                assert!(method != "GET" || theirs.0 == 404, "{who}: {method} {route} with {kind}: {theirs:?}");
            }
        }
    }
    node.stop().await;
}
