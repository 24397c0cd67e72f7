//! Who may come in at all, whoever it is.

use crate::node::{Node, Setup};
use serde_json::json;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use web::proxies::{Proxies, ProxyHeader};
use web::rate::Rates;

const LOOKUP: &str = "/api/v1/operators/lookup";

fn rates(address: u32, operator: u32) -> Setup {
    let rate = |n| NonZeroU32::new(n).expect("a rate");
    Setup {
        rates: Rates { address_per_second: rate(address), operator_per_second: rate(operator) },
        ..Setup::default()
    }
}

#[actix_web::test]
async fn an_address_over_its_rate_is_refused_before_anybody_looks_who_it_is() {
    let node = Node::start_as(rates(5, 10_000)).await;
    let mut seen = Vec::new();
    for _ in 0..40 {
        let answer = node.call("POST", LOOKUP, Some("mk_live_nobody_s3cret"), "{}").await;
        seen.push(answer.status);
        if answer.status == 429 {
            assert!(!answer.header("retry-after").is_empty(), "{}", answer.text);
            assert_eq!(answer.header("content-type"), "application/problem+json");
        }
    }
    assert!(seen.contains(&401) && seen.iter().filter(|s| **s == 429).count() >= 20, "{seen:?}");
    // a path may be written in several ways, and all of them lead to the same door
    let written = node.call("POST", "/%61pi/v1/operators/lookup", Some("mk_live_nobody_s3cret"), "{}").await;
    assert_eq!(written.status, 429);
    // whoever is on call gets through from there, too
    assert_eq!(node.call("GET", "/health/ready", None, "").await.status, 200);
    let metrics = node.call("GET", "/metrics", None, "").await.text;
    let counted = metrics.lines().find_map(|l| l.strip_prefix("mlinzi_http_rate_limited_total{limit=\"address\"} "));
    assert!(counted.is_some_and(|n| n.parse::<u64>().is_ok_and(|n| n >= 20)), "{counted:?}");
    node.stop().await;
}

#[actix_web::test]
async fn figures_are_shown_a_few_times_a_second_however_they_are_asked_for() {
    let node = Node::start().await;
    let mut seen = Vec::new();
    for n in 0..120 {
        let path = if n % 2 == 0 { "/metrics" } else { "/%6detrics" };
        let answer = node.call("GET", path, None, "").await;
        if answer.status == 429 {
            assert!(!answer.header("retry-after").is_empty(), "{}", answer.text);
        }
        seen.push(answer.status);
    }
    let refused = seen.iter().filter(|status| **status == 429).count();
    assert!(seen[..10].iter().all(|status| *status == 200) && refused > 40, "{seen:?}");
    // whoever is on call and whoever asks for something else is not touched by it
    for path in ["/health", "/health/live", "/health/ready", "/version"] {
        assert_eq!(node.call("GET", path, None, "").await.status, 200, "{path}");
    }
    let counted = async || {
        let text = node.call("GET", "/metrics", None, "").await.text;
        text.lines().find_map(|l| l.strip_prefix("mlinzi_http_rate_limited_total{limit=\"metrics\"} ")?.parse().ok())
    };
    let end = Instant::now() + Duration::from_secs(20);
    let counted: usize = loop {
        if let Some(counted) = counted().await {
            break counted;
        }
        assert!(Instant::now() < end, "no figures any more");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert!(counted >= refused, "{counted} of {refused}");
    node.stop().await;
}

#[actix_web::test]
async fn the_keys_of_an_operator_share_its_rate() {
    let node = Node::start_as(rates(10_000, 5)).await;
    let (acme, other) = (node.operator("acme").await, node.operator("other").await);
    let scopes = json!({"label": "k", "scopes": ["lookup"], "rate_per_second": 1000});
    let keys = [acme.key(&node, scopes.clone()).await, acme.key(&node, scopes.clone()).await];
    let body = json!({"phone": "0712345678", "purpose": "login"}).to_string();
    let mut refused = 0;
    for n in 0..40 {
        let answer = node.call("POST", LOOKUP, Some(&keys[n % 2].bearer), &body).await;
        refused += usize::from(answer.status == 429);
    }
    assert!(refused >= 20, "{refused} of 40");
    let other = other.key(&node, scopes).await;
    assert_eq!(node.call("POST", LOOKUP, Some(&other.bearer), &body).await.status, 200);
    node.stop().await;
}

/// A connection from this address that was answered on; none where it was closed.
async fn connect(node: &Node, from: &str) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(from.parse().expect("an address"), 0)).expect("an address of this machine");
    let mut stream = socket.connect(node.address).await.expect("the server accepts");
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.ok()?;
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).await.ok()?;
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    Some(stream)
}

#[actix_web::test]
async fn an_address_gets_its_share_of_the_connections_and_others_theirs() {
    let node = Node::start_as(Setup { address_connections: 10, ..Setup::default() }).await;
    let mut open = Vec::new();
    for _ in 0..30 {
        open.extend(connect(&node, "127.0.0.1").await);
    }
    // the test's own client has some, too
    assert!((5..=10).contains(&open.len()), "{} of 30", open.len());
    assert!(connect(&node, "127.0.0.2").await.is_some(), "another address");
    let answered = open.len();
    drop(open);
    let end = Instant::now() + Duration::from_secs(20);
    while connect(&node, "127.0.0.1").await.is_none() {
        assert!(Instant::now() < end, "connections that were closed still count");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let text = node.call("GET", "/metrics", None, "").await.text;
    let figure = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<usize>().ok());
    assert!(figure("mlinzi_http_connections_refused_total ").is_some_and(|n| n >= 30 - answered), "{text}");
    assert!(figure("mlinzi_http_connections ").is_some_and(|n| (1..=12).contains(&n)), "{text}");
    assert_eq!(figure("mlinzi_http_connections_max "), Some(25_000));
    node.stop().await;
}

/// Everybody who connects here comes through a proxy on this machine.
fn behind_a_proxy(setup: Setup) -> Setup {
    let proxies = Proxies::new(&["127.0.0.0/8".to_owned()], ProxyHeader::XForwardedFor).expect("networks");
    Setup { proxies, ..setup }
}

/// A lookup that comes from here, as the proxy says.
async fn lookup_from(node: &Node, address: &str, bearer: &str) -> u16 {
    let body = json!({"phone": "0712345678", "purpose": "login"}).to_string();
    let request = node.request("POST", LOOKUP, Some(bearer)).header("content-type", "application/json").body(body);
    node.send(request.header("x-forwarded-for", address)).await.status
}

#[actix_web::test]
async fn behind_a_trusted_proxy_each_caller_has_an_address_of_its_own() {
    let node = Node::start_as(behind_a_proxy(rates(5, 10_000))).await;
    let (mut flood, mut calm) = (Vec::new(), Vec::new());
    for n in 0..40 {
        flood.push(lookup_from(&node, "198.51.100.9", "mk_live_nobody_s3cret").await);
        // it writes other addresses in front of the one that the proxy adds
        flood.push(lookup_from(&node, &format!("203.0.113.{n}, 198.51.100.9"), "mk_live_nobody_s3cret").await);
        calm.push(lookup_from(&node, &format!("192.0.2.{n}"), "mk_live_nobody_s3cret").await);
    }
    assert!(flood.iter().filter(|status| **status == 429).count() >= 60, "{flood:?}");
    assert!(calm.iter().all(|status| *status == 401), "neither its rate nor its failures are theirs: {calm:?}");
    node.stop().await;
}

#[actix_web::test]
async fn networks_of_a_key_see_the_caller_and_nobody_can_pretend_to_be_one() {
    let key = json!({"label": "k", "scopes": ["lookup"], "rate_per_second": 1000, "allow_from": ["192.0.2.0/24"]});
    let node = Node::start_as(behind_a_proxy(Setup::default())).await;
    let bearer = node.operator("acme").await.key(&node, key.clone()).await.bearer;
    let table = [
        ("192.0.2.7", 200),
        ("198.51.100.9, 192.0.2.7, 127.0.0.1", 200),
        ("198.51.100.9", 403),
        ("192.0.2.7, 198.51.100.9", 403),
        ("192.0.2.7, unknown", 403),
        ("", 403),
    ];
    for (address, status) in table {
        assert_eq!(lookup_from(&node, address, &bearer).await, status, "{address:?}");
    }
    node.stop().await;
    // where no proxy is trusted the header is anybody's
    let node = Node::start().await;
    let bearer = node.operator("acme").await.key(&node, key).await.bearer;
    assert_eq!(lookup_from(&node, "192.0.2.7", &bearer).await, 403);
    node.stop().await;
}

#[actix_web::test]
async fn a_trusted_proxy_may_have_every_connection() {
    let node = Node::start_as(behind_a_proxy(Setup { address_connections: 3, ..Setup::default() })).await;
    let mut open = Vec::new();
    for _ in 0..20 {
        open.extend(connect(&node, "127.0.0.1").await);
    }
    assert_eq!(open.len(), 20);
    drop(open);
    node.stop().await;
}
