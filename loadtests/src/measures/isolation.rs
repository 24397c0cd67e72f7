//! One source panics on every tenth record; what do the other forty-nine notice?

use crate::Effort;
use crate::driver::together;
use crate::node::{Feed, Node};
use crate::report::{Report, median, say};
use crate::traffic::{Chance, Player, Stream, now, phone};
use crate::wire::Connection;
use anyhow::Context;
use models::ts::SECOND;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Well-behaved sources.
const SOURCES: usize = 49;
/// Records of a push of theirs.
const BATCH: usize = 1_000;
/// Records of a push of the other one, and its pushes a second.
const POISON_BATCH: u64 = 100;
const POISON_RATE: f64 = 5.0;
/// Record ids that make the source panic.
const POISON: &str = "poison-";

/// Throughput of the forty-nine with panics ÷ without, in turns; and what became of the fiftieth's records.
pub async fn panics(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let pairs = effort.pick(3, 9, 15);
    let time = Duration::from_secs(effort.pick(2, 5, 10));
    let node = Node::isolated(POISON).await?;
    let mut chance = Chance(3);
    let players: Vec<Player> = (0..10_000).map(|n| Player::Phone(phone(n))).collect();
    let mut feeds = Vec::new();
    for n in 0..SOURCES {
        let feed = node.feed(&format!("sound-{n}"), "wall", 7).await?;
        feeds.push(Rc::new((feed, RefCell::new(Stream::new(&mut chance, &players, 1, BATCH, 10_000)))));
    }
    let poisoned = node.feed("poisoned", "wall", 7).await?;
    let (mut ratios, mut serial, mut panicked) = (Vec::new(), 0, 0);
    run(&node, &feeds, &poisoned, false, &mut serial, time).await?;
    for pair in 0..pairs {
        // which comes first changes, so that a store that grows favours neither
        let mut rates = [0.0; 2];
        for with in if pair % 2 == 0 { [true, false] } else { [false, true] } {
            let (rate, pushes) = run(&node, &feeds, &poisoned, with, &mut serial, time).await?;
            rates[usize::from(with)] = rate;
            panicked += if with { pushes } else { 0 };
        }
        say(&format!("  {:.0}/s with panics, {:.0}/s without", rates[1], rates[0]));
        ratios.push(rates[1] / rates[0]);
    }
    let sources = node.get("/api/v1/feeds?limit=500").await?;
    let source = sources["items"].as_array().and_then(|s| s.iter().find(|s| s["id"] == poisoned.source.as_str()));
    let stored = source.and_then(|s| s["records"].as_u64()).context("records of the source")?;
    let letters = dead_letters(&node, &poisoned).await?;
    let (poison, sent) = (panicked * POISON_BATCH / 10, serial * POISON_BATCH);
    anyhow::ensure!(
        stored == sent - poison && letters == poison,
        "of {sent} records with {poison} bad ones {stored} are stored and {letters} are dead letters"
    );
    let reference = format!(
        "≥ 0.95; embedded, {SOURCES} sources as fast as they can, a 50th with {POISON_RATE} pushes/s of {POISON_BATCH}, median of {pairs} interleaved pairs of {} s; of its {sent} records {stored} stored, {letters} dead letters",
        time.as_secs()
    );
    report.add("panic_isolation", median(&ratios), "ratio", &reference)
}

/// Pushes of all for a time; gives records a second of the sound ones and the pushes of the other.
async fn run(
    node: &Node,
    feeds: &[Rc<(Feed, RefCell<Stream>)>],
    poisoned: &Feed,
    panicking: bool,
    serial: &mut u64,
    time: Duration,
) -> anyhow::Result<(f64, u64)> {
    let running = Rc::new(Cell::new(true));
    let start = Instant::now();
    let lanes: Vec<_> = feeds
        .iter()
        .map(|feed| {
            let (feed, address) = (Rc::clone(feed), node.address);
            async move {
                let mut connection = Connection::open(address).await?;
                let (head, mut body, mut stored) = (feed.0.push(), Vec::new(), 0);
                while start.elapsed() < time {
                    feed.1.borrow_mut().next(now().plus(-SECOND), SECOND, &mut body);
                    let answer = connection.must(&head, &body).await?;
                    anyhow::ensure!(answer["accepted"] == BATCH, "{answer}");
                    stored += BATCH as u64;
                }
                Ok::<_, anyhow::Error>(stored)
            }
        })
        .collect();
    let (address, head, first, still) = (node.address, poisoned.push(), *serial, Rc::clone(&running));
    let other = tokio::task::spawn_local(async move {
        let mut connection = Connection::open(address).await?;
        let mut pushes = 0;
        while still.get() {
            let due = start + Duration::from_secs_f64(pushes as f64 / POISON_RATE);
            tokio::time::sleep_until(due.into()).await;
            let answer = connection.must(&head, records(first + pushes, panicking).as_bytes()).await?;
            let bad = answer["quarantined"].as_array().map_or(0, Vec::len) as u64;
            anyhow::ensure!(bad == if panicking { POISON_BATCH / 10 } else { 0 }, "{answer}");
            pushes += 1;
        }
        Ok::<_, anyhow::Error>(pushes)
    });
    let stored: anyhow::Result<Vec<u64>> = together(lanes).await.into_iter().collect();
    let elapsed = start.elapsed().as_secs_f64();
    running.set(false);
    let pushes = other.await?.with_context(|| node.log())?;
    *serial += pushes;
    Ok((stored?.into_iter().sum::<u64>() as f64 / elapsed, pushes))
}

fn records(push: u64, panicking: bool) -> String {
    let line = |n: u64| {
        let prefix = if panicking && n % 10 == 3 { POISON } else { "" };
        json!({"record_id": format!("{prefix}{push}-{n}"), "kind": "stake", "occurred_at": now().to_string(), "money": {"amount_minor": 100, "currency": "KES"}}).to_string()
    };
    (0..POISON_BATCH).map(line).collect::<Vec<_>>().join("\n")
}

async fn dead_letters(node: &Node, feed: &Feed) -> anyhow::Result<u64> {
    let (mut letters, mut cursor) = (0, String::new());
    loop {
        let page: Value = node.get(&format!("/api/v1/feeds/{}/quarantine?limit=500{cursor}", feed.source)).await?;
        let items = page["items"].as_array().context("a list")?;
        letters += items.iter().filter(|i| i["code"] == "dead_letter").count() as u64;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(letters),
        }
    }
}
