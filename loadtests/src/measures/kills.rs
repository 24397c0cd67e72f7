//! `kill -9` in the middle of everything: what was acknowledged is there, once, and the journal proves it.

use crate::Effort;
use crate::driver::together;
use crate::node::{Feed, Node, StoreKind, text};
use crate::report::{Report, say};
use crate::traffic::{lookup, phone};
use crate::wire::{Connection, Head};
use anyhow::Context;
use models::ts::{HOUR, Ts};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Connections that register.
const REGISTRARS: usize = 8;
/// Operators that push; one more jumps.
const FEEDS: usize = 4;
/// Records of a push: many small pushes meet more kills than few large ones.
const BATCH: u64 = 20;
/// Between two pushes of a feed: without it two hundred rounds measure how long millions of records take to be read back.
const PUSH_PAUSE: Duration = Duration::from_millis(40);
/// People of earlier rounds that are asked for again after each round.
const AGAIN: usize = 2_000;
/// Quiet hours an archive starts with.
const QUIET_HOURS: i64 = 24;

/// What was acknowledged.
#[derive(Default)]
struct Ledger {
    /// Everybody whose registration was sent.
    tried: HashSet<u64>,
    /// Person → exclusion.
    people: HashMap<u64, String>,
    /// Who was asked for after an earlier round already.
    asked: HashSet<u64>,
    /// Source → pushes acknowledged, by their number; what was under way when the process died is not among them.
    pushes: HashMap<String, HashSet<u64>>,
    /// Source → pushes sent.
    sent: HashMap<String, u64>,
    /// Alert revisions that a user has seen, by (id, revision, time).
    alerts: BTreeMap<String, Value>,
}

/// Counts over all rounds and both stores.
#[derive(Default)]
struct Damage {
    lost: u64,
    doubled: u64,
}

/// Both figures.
pub async fn crashes(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let rounds = effort.pick(3, 10, 200);
    let mut damage = Damage::default();
    let mut acknowledged = 0;
    for kind in [StoreKind::Postgres, StoreKind::Embedded] {
        acknowledged += on(kind, rounds, &mut damage).await?;
    }
    let reference = format!(
        "to reach 0; {rounds} rounds of kill -9 on each store, {acknowledged} acknowledged registrations, records and alerts, journal verified after each round"
    );
    report.add("crash_lost", damage.lost as f64, "count", &reference)?;
    report.add("crash_doubled", damage.doubled as f64, "count", &reference)
}

async fn on(kind: StoreKind, rounds: u64, damage: &mut Damage) -> anyhow::Result<u64> {
    let mut node = Node::fresh(kind, &[("MLINZI__ENGINE__CHECKPOINT_SECONDS", "1")]).await?;
    let mut feeds = Vec::new();
    for n in 0..FEEDS {
        feeds.push(Rc::new(node.feed(&format!("feed-{n}"), "event", 3_000).await?));
    }
    let archive = node.feed("archive", "event", 3_000).await?;
    for hour in 0..QUIET_HOURS {
        push_hour(&mut node.connect().await?, &archive, hour, 1_000).await?;
    }
    let ledger = Rc::new(RefCell::new(Ledger::default()));
    let mut jumps = 0;
    for round in 0..rounds {
        let running = Rc::new(Cell::new(true));
        let mut tasks: Vec<_> = Vec::new();
        for n in 0..REGISTRARS {
            let (ledger, running, head) =
                (Rc::clone(&ledger), Rc::clone(&running), Head::json("/api/v1/nser/register", &node.staff));
            let (address, from) = (node.address, round * 100_000 + n as u64 * 10_000);
            tasks.push(tokio::task::spawn_local(async move {
                let _ = registrar(address, &head, from, &ledger, &running).await;
            }));
        }
        for feed in &feeds {
            let (ledger, running, feed, address) =
                (Rc::clone(&ledger), Rc::clone(&running), Rc::clone(feed), node.address);
            tasks.push(tokio::task::spawn_local(async move {
                let _ = pusher(address, &feed, &ledger, &running).await;
            }));
        }
        // two quiet hours between two jumps keep the median where it is
        let mut connection = node.connect().await?;
        let hour = QUIET_HOURS + round as i64 * 3;
        push_hour(&mut connection, &archive, hour, 1_000).await?;
        push_hour(&mut connection, &archive, hour + 1, 1_000).await?;
        push_hour(&mut connection, &archive, hour + 2, 900_000).await?;
        jumps += 1;
        // from well before to well after the alert is on its way
        tokio::time::sleep(Duration::from_millis(round * 37 % 400)).await;
        let shown = alerts(&node).await?;
        node.kill()?;
        running.set(false);
        ledger.borrow_mut().alerts.extend(shown);
        for task in tasks {
            let _ = task.await;
        }
        let verified: Value = serde_json::from_str(&node.run(&["audit", "verify"])?)?;
        anyhow::ensure!(verified["first_bad"].is_null(), "the journal is broken after round {round}: {verified}");
        node.start().await?;
        let before = (damage.lost, damage.doubled);
        check(&node, &ledger, &feeds, jumps, round + 1 == rounds, damage).await?;
        if before != (damage.lost, damage.doubled) {
            say(&format!(
                "  {}: round {round} lost {} doubled {}",
                kind.name(),
                damage.lost - before.0,
                damage.doubled - before.1
            ));
        }
    }
    let ledger = ledger.borrow();
    let records = ledger.pushes.values().map(|p| p.len() as u64 * BATCH).sum::<u64>();
    say(&format!(
        "  {}: {rounds} rounds, {} registrations, {records} records, {} alert revisions",
        kind.name(),
        ledger.people.len(),
        ledger.alerts.len()
    ));
    Ok(ledger.people.len() as u64 + records + ledger.alerts.len() as u64)
}

async fn registrar(
    address: std::net::SocketAddr,
    head: &Head,
    from: u64,
    ledger: &RefCell<Ledger>,
    running: &Cell<bool>,
) -> anyhow::Result<()> {
    let mut connection = Connection::open(address).await?;
    let mut n = from;
    while running.get() {
        ledger.borrow_mut().tried.insert(n);
        let answer = connection.must(head, registration(n).as_bytes()).await?;
        ledger.borrow_mut().people.insert(n, text(&answer, "exclusion_id")?);
        n += 1;
    }
    Ok(())
}

fn registration(n: u64) -> String {
    json!({"phone": phone(n), "period": "1_year", "reason_class": "self", "channel": "web"}).to_string()
}

fn records(push: u64) -> String {
    let line = |n: u64| {
        let at = Ts((1_700_000_000 + push as i64) * 1_000_000 + n as i64 * 1_000);
        json!({"record_id": format!("{push}-{n}"), "kind": "stake", "occurred_at": at.to_string(), "money": {"amount_minor": 100, "currency": "KES"}}).to_string()
    };
    (0..BATCH).map(line).collect::<Vec<_>>().join("\n")
}

async fn pusher(
    address: std::net::SocketAddr,
    feed: &Feed,
    ledger: &RefCell<Ledger>,
    running: &Cell<bool>,
) -> anyhow::Result<()> {
    let mut connection = Connection::open(address).await?;
    while running.get() {
        let push = {
            let mut ledger = ledger.borrow_mut();
            let sent = ledger.sent.entry(feed.source.clone()).or_default();
            *sent += 1;
            *sent
        };
        let answer = connection.must(&feed.push(), records(push).as_bytes()).await?;
        anyhow::ensure!(answer["accepted"] == BATCH, "{answer}");
        ledger.borrow_mut().pushes.entry(feed.source.clone()).or_default().insert(push);
        tokio::time::sleep(PUSH_PAUSE).await;
    }
    Ok(())
}

/// One hour of an archive.
async fn push_hour(connection: &mut Connection, feed: &Feed, hour: i64, stake: i64) -> anyhow::Result<()> {
    let line = |n: i64| {
        let at = Ts(1_700_000_000 / 3_600 * HOUR + hour * HOUR + n * 60_000_000);
        json!({"record_id": format!("{hour}-{n}"), "kind": "stake", "occurred_at": at.to_string(), "money": {"amount_minor": stake + n, "currency": "KES"}}).to_string()
    };
    let body = (0..50).map(line).collect::<Vec<_>>().join("\n");
    connection.must(&feed.push(), body.as_bytes()).await.map(|_| ())
}

/// Every alert as a user sees it, by id.
async fn alerts(node: &Node) -> anyhow::Result<BTreeMap<String, Value>> {
    let (mut all, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let page = node.get(&format!("/api/v1/alerts?limit=500{cursor}")).await?;
        for alert in page["items"].as_array().context("a list")? {
            let id = text(alert, "id")?;
            anyhow::ensure!(all.insert(id, alert.clone()).is_none(), "an alert is listed twice");
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(all),
        }
    }
}

/// Holds what is there against what was acknowledged.
async fn check(
    node: &Node,
    ledger: &Rc<RefCell<Ledger>>,
    feeds: &[Rc<Feed>],
    jumps: u64,
    last: bool,
    damage: &mut Damage,
) -> anyhow::Result<()> {
    // everybody of this round and some of before; in the end everybody
    let people: Vec<u64> = {
        let mut ledger = ledger.borrow_mut();
        let known: Vec<u64> = ledger.people.keys().copied().collect();
        let again = if last { usize::MAX } else { AGAIN };
        let (old, mut people): (Vec<u64>, Vec<u64>) = known.iter().partition(|n| ledger.asked.contains(n));
        people.extend(old.into_iter().take(again));
        ledger.asked.extend(known);
        people
    };
    let chunks = people.chunks(people.len().div_ceil(16).max(1)).map(<[u64]>::to_vec);
    let lanes = chunks.map(|chunk| {
        let (head, address) = (Head::json("/api/v1/operators/lookup", &node.staff), node.address);
        async move {
            let (mut connection, mut body, mut lost) = (Connection::open(address).await?, Vec::new(), 0);
            for n in chunk {
                body.clear();
                lookup(n, "login", &mut body);
                lost += u64::from(connection.must(&head, &body).await?["decision"] != "block");
            }
            Ok::<_, anyhow::Error>(lost)
        }
    });
    let lost: anyhow::Result<Vec<u64>> = together(lanes.collect::<Vec<_>>()).await.into_iter().collect();
    damage.lost += lost?.into_iter().sum::<u64>();

    // what was under way when the process died is there or not: sent again, it is there once. Whoever was acknowledged
    // is answered with the same exclusion
    let mut connection = node.connect().await?;
    let head = Head::json("/api/v1/nser/register", &node.staff);
    let (under_way, again): (Vec<u64>, Vec<u64>) = {
        let ledger = ledger.borrow();
        let under_way = ledger.tried.iter().filter(|n| !ledger.people.contains_key(n)).copied().collect();
        (under_way, people.iter().rev().take(50).copied().collect())
    };
    for n in under_way.into_iter().chain(again) {
        let answer = connection.must(&head, registration(n).as_bytes()).await?;
        let id = text(&answer, "exclusion_id")?;
        let known = ledger.borrow().people.get(&n).cloned();
        damage.lost += u64::from(known.is_some_and(|known| known != id));
        ledger.borrow_mut().people.insert(n, id);
    }
    let stats = node.get("/api/v1/nser/stats").await?;
    let tried = ledger.borrow().tried.len() as u64;
    for count in ["people", "active"] {
        let there = stats[count].as_u64().context("a count")?;
        damage.doubled += there.saturating_sub(tried);
        damage.lost += tried.saturating_sub(there);
    }

    // a push that was under way is there whole or not at all; sent again, all of it is there once
    for feed in feeds {
        let last = ledger.borrow().sent.get(&feed.source).copied().unwrap_or(0);
        let answer = connection.must(&feed.push(), records(last).as_bytes()).await?;
        let count = |field: &str| answer[field].as_u64().unwrap_or(0);
        anyhow::ensure!(
            matches!((count("accepted"), count("duplicates")), (BATCH, 0) | (0, BATCH)),
            "a torn push: {answer}"
        );
        let mut ledger = ledger.borrow_mut();
        let known = ledger.pushes.entry(feed.source.clone()).or_default();
        if !known.insert(last) && count("accepted") > 0 {
            damage.lost += BATCH;
        }
    }
    let sources = node.get("/api/v1/feeds?limit=500").await?;
    for feed in feeds {
        let source = sources["items"].as_array().and_then(|s| s.iter().find(|s| s["id"] == feed.source.as_str()));
        let stored = source.and_then(|s| s["records"].as_u64()).context("records of a source")?;
        let expected = ledger.borrow().pushes[&feed.source].len() as u64 * BATCH;
        damage.lost += expected.saturating_sub(stored);
        damage.doubled += stored.saturating_sub(expected);
    }

    // what was seen is still there and says the same, unless a later revision followed; what was due comes
    let end = Instant::now() + Duration::from_secs(20);
    let shown = loop {
        let shown = alerts(node).await?;
        let jumped = shown.values().filter(|a| a["metric"] == "stakes" && a["granularity"] == "hour").count() as u64;
        if jumped >= jumps {
            damage.doubled += jumped - jumps;
            break shown;
        }
        if Instant::now() >= end {
            damage.lost += jumps - jumped;
            break shown;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    // what says something else now must have what was seen in its history; of the others some, each round others
    let seen = ledger.borrow().alerts.clone();
    let (same, changed): (Vec<_>, Vec<_>) = seen.iter().partition(|(id, alert)| shown.get(*id) == Some(*alert));
    let turn = (jumps as usize * 20) % same.len().max(1);
    for (id, alert) in changed.into_iter().chain(same.into_iter().skip(turn).take(20)) {
        if !shown.contains_key(id) {
            damage.lost += 1;
            continue;
        }
        let history = node.get(&format!("/api/v1/alerts/{id}")).await?;
        let revisions = history["revisions"].as_array().context("revisions")?;
        damage.lost += u64::from(!revisions.contains(alert));
        // one row a revision
        let distinct: HashSet<String> = revisions.iter().map(ToString::to_string).collect();
        damage.doubled += (revisions.len() - distinct.len()) as u64;
    }
    ledger.borrow_mut().alerts.extend(shown);
    Ok(())
}
