//! Sources that read from brokers, while connections are cut, the engine is killed and the server restarted: every record
//! is stored, once.

use crate::Effort;
use crate::brokers::{KafkaBroker, KafkaMessage, NatsServer, Proxy, Way};
use crate::node::{Node, StoreKind, text};
use crate::report::{Report, say};
use anyhow::Context;
use async_nats::ConnectOptions;
use async_nats::jetstream::stream::{Config, StorageType};
use models::ts::Ts;
use serde_json::{Value, json};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Records of a round: several fetches and commits.
const RECORDS: u64 = 3_000;
/// Partitions of a topic of the mock cluster.
const PARTITIONS: u64 = 4;
/// How long a source may take to be where its broker is: a breaker that is open waits for up to a minute.
const RECOVERED: Duration = Duration::from_secs(180);
const NAME: &str = "plays";
/// The brokers are of this machine.
const HERE: [(&str, &str); 1] = [("MLINZI__FEEDS__ALLOW_PRIVATE_ADDRESSES", "true")];

/// What breaks in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Connections, in the middle of an answer.
    Cut,
    /// The engine, with `kill -9`.
    Engine,
    /// The server that is read from, with `kill -9`.
    Server,
}

/// Counts over all rounds.
#[derive(Default)]
struct Damage {
    lost: u64,
    doubled: u64,
    produced: u64,
}

/// Both figures.
pub async fn exactly_once(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let rounds = effort.pick(3, 20, 20);
    let mut damage = Damage::default();
    kafka(rounds, &mut damage).await?;
    nats(rounds, &mut damage).await?;
    let reference = format!(
        "to reach 0; {} records from a Kafka topic and a JetStream stream over {rounds} cut connections and {rounds} kills of the engine each, and {rounds} kills of the NATS server; PostgreSQL",
        damage.produced
    );
    report.add("kafka_nats_lost", damage.lost as f64, "count", &reference)?;
    report.add("kafka_nats_doubled", damage.doubled as f64, "count", &reference)
}

async fn kafka(rounds: u64, damage: &mut Damage) -> anyhow::Result<()> {
    let mut broker = KafkaBroker::start()?;
    let proxy = Proxy::start(broker.address, Way::Kafka)?;
    broker.produce(NAME, "none", &messages(0..RECORDS))?;
    let mut node = Node::fresh(StoreKind::Postgres, &HERE).await?;
    let reader = json!({"kind": "kafka", "brokers": [proxy.address().to_string()], "topic": NAME});
    let source = source(&node, &reader).await?;
    let mut produced = RECORDS;
    for fault in faults(&[Fault::Cut, Fault::Engine], rounds) {
        let cuts = proxy.cuts();
        if fault == Fault::Cut {
            proxy.cut_after(cut_at(produced));
        }
        broker.produce(NAME, "lz4", &messages(produced..produced + RECORDS))?;
        produced += RECORDS;
        if fault == Fault::Engine {
            tokio::time::sleep(Duration::from_millis(produced / RECORDS * 37 % 400)).await;
            node.kill()?;
            node.start().await?;
        }
        caught_up(&node, &source, produced).await?;
        if fault == Fault::Cut && proxy.cuts() == cuts {
            // the answers were shorter than that: then between two of them
            proxy.cut();
        }
    }
    count("kafka", &node, &source, produced, proxy.cuts(), damage).await
}

async fn nats(rounds: u64, damage: &mut Damage) -> anyhow::Result<()> {
    let mut server = NatsServer::start("").await?;
    let proxy = Proxy::start(server.address, Way::Plain)?;
    let writer = server.client(ConnectOptions::new()).await?;
    let subjects = vec![format!("{NAME}.>")];
    let config = Config { name: NAME.to_owned(), subjects, storage: StorageType::File, ..Config::default() };
    writer.create_stream(config).await?;
    let mut node = Node::fresh(StoreKind::Postgres, &HERE).await?;
    let servers = [format!("nats://{}", proxy.address())];
    let reader = json!({"kind": "nats", "servers": servers, "stream": NAME, "subject": format!("{NAME}.>")});
    let source = source(&node, &reader).await?;
    let mut produced = 0;
    for fault in faults(&[Fault::Cut, Fault::Engine, Fault::Server], rounds) {
        let cuts = proxy.cuts();
        if fault == Fault::Cut {
            proxy.cut_after(cut_at(produced));
        }
        for some in (produced..produced + RECORDS).step_by(500) {
            let mut acks = Vec::new();
            for n in some..some + 500 {
                acks.push(writer.publish(format!("{NAME}.all"), record(n).into()).await?);
            }
            for ack in acks {
                ack.await?;
            }
        }
        produced += RECORDS;
        tokio::time::sleep(Duration::from_millis(produced / RECORDS * 37 % 400)).await;
        match fault {
            Fault::Cut => {}
            Fault::Engine => {
                node.kill()?;
                node.start().await?;
            }
            Fault::Server => {
                server.kill()?;
                server.go_on().await?;
            }
        }
        caught_up(&node, &source, produced).await?;
        if fault == Fault::Cut && proxy.cuts() == cuts {
            // the answers were shorter than that: then between two of them
            proxy.cut();
        }
    }
    count("nats", &node, &source, produced, proxy.cuts(), damage).await
}

/// Each fault so often, one after the other.
fn faults(kinds: &[Fault], rounds: u64) -> impl Iterator<Item = Fault> {
    (0..rounds).flat_map(move |_| kinds.to_vec())
}

/// After how many bytes of answers a connection is cut: another place each time.
fn cut_at(produced: u64) -> u32 {
    (produced / RECORDS * 7_919 % 30_000) as u32
}

fn record(n: u64) -> String {
    let at = Ts((1_700_000_000 + n as i64 / 100) * 1_000_000);
    let money = json!({"amount_minor": 100, "currency": "KES"});
    json!({"record_id": format!("b{n}"), "kind": "stake", "occurred_at": at.to_string(), "money": money}).to_string()
}

fn messages(all: Range<u64>) -> Vec<KafkaMessage> {
    let message = |n: u64| KafkaMessage {
        partition: (n % PARTITIONS) as i32,
        key: Some(format!("b{n}")),
        value: Some(record(n).into_bytes()),
    };
    all.map(message).collect()
}

/// An operator's source that reads by itself, as soon as there is something.
async fn source(node: &Node, reader: &Value) -> anyhow::Result<String> {
    let operator = node.post("/api/v1/operators/register", &json!({"code": NAME, "name": NAME})).await?;
    let source = json!({
        "operator": text(&operator, "id")?, "name": NAME, "kind": reader["kind"], "class": "gaming_transactions",
        "clock": "event", "horizon_days": 3_000, "expected_interval_seconds": 60, "currency": "KES",
        "reader": reader, "schedule": {"every_seconds": 1},
    });
    text(&node.post("/api/v1/feeds", &source).await?, "id")
}

async fn state(node: &Node, source: &str) -> anyhow::Result<Value> {
    let sources = node.get("/api/v1/feeds?limit=500").await?;
    let found = sources["items"].as_array().and_then(|s| s.iter().find(|s| s["id"] == source));
    found.cloned().context("the source is listed")
}

/// Waits until as many records are stored as were produced; what is missing after that is counted at the end.
async fn caught_up(node: &Node, source: &str, produced: u64) -> anyhow::Result<()> {
    let end = Instant::now() + RECOVERED;
    loop {
        let state = state(node, source).await?;
        if state["records"].as_u64().is_some_and(|stored| stored >= produced) {
            return Ok(());
        }
        if Instant::now() >= end {
            say(&format!("  {} of {produced} records are stored: {}", state["records"], state["last_error"]));
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Holds what is stored against what was produced. A record that came again counts as doubled, also where the engine
/// knew it: position and records are one commit.
async fn count(
    kind: &str,
    node: &Node,
    source: &str,
    produced: u64,
    cuts: u64,
    damage: &mut Damage,
) -> anyhow::Result<()> {
    let state = state(node, source).await?;
    let figure = |field: &str| state[field].as_u64().with_context(|| format!("{field} of the source"));
    let (stored, again, refused) = (figure("records")?, figure("duplicates")?, figure("quarantined")?);
    say(&format!("  {kind}: {stored} of {produced} stored, {again} again, {refused} refused, {cuts} connections cut"));
    let verified: Value = serde_json::from_str(&node.run(&["audit", "verify"])?)?;
    anyhow::ensure!(verified["first_bad"].is_null(), "the journal is broken: {verified}");
    damage.produced += produced;
    damage.lost += produced.saturating_sub(stored);
    damage.doubled += stored.saturating_sub(produced) + again;
    Ok(())
}
