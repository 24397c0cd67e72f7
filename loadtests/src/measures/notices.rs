//! Who is told, and how often: one cause of ten thousand hits, and an end that is under way when the process dies.

use crate::Effort;
use crate::node::{Feed, Node, StoreKind, text};
use crate::report::{Report, say};
use anyhow::Context;

use models::ts::{HOUR, Ts};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Variable that holds the webhook's secret.
const SECRET: &str = "BENCH_WEBHOOK_SECRET";
/// Its value: 32 bytes of 7, which keep nothing secret.
const SECRET_VALUE: &str = "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
/// Hours between two bursts: fewer than half of what a median stands on may be bursts.
const EVERY_HOURS: u64 = 3;
/// Records of an hour with a burst.
const BURST: u64 = 30;
/// Hours of a push.
const PUSH_HOURS: u64 = 300;
/// Bytes of a request to the receiver at most.
const REQUEST_BYTES_MAX: usize = 64 << 10;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the receiver was sent, and whether it takes anything.
#[derive(Default)]
struct Received {
    /// By group and kind, the ids of the messages.
    taken: RefCell<BTreeMap<(String, String), Vec<String>>>,
    /// Attempts that were refused for now.
    refused: Cell<u64>,
    refuses: Cell<bool>,
}

impl Received {
    fn of(&self, group: &str, kind: &str) -> Vec<String> {
        self.taken.borrow().get(&(group.to_owned(), format!("notice.{kind}"))).cloned().unwrap_or_default()
    }

    /// Answers one request after the other.
    async fn serve(&self, mut stream: TcpStream) -> anyhow::Result<()> {
        let mut request = Vec::new();
        loop {
            let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else {
                anyhow::ensure!(request.len() < REQUEST_BYTES_MAX, "a head without an end");
                if stream.read_buf(&mut request).await? == 0 {
                    return Ok(());
                }
                continue;
            };
            let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).context("a length")?;
            let length: usize = length.trim().parse()?;
            anyhow::ensure!(length < REQUEST_BYTES_MAX, "a body of {length} bytes");
            while request.len() < end + length {
                anyhow::ensure!(stream.read_buf(&mut request).await? > 0, "a body without an end");
            }
            let status = if self.refuses.get() {
                self.refused.set(self.refused.get() + 1);
                "503 Later"
            } else {
                let body: Value = serde_json::from_slice(&request[end..end + length])?;
                let key = (text(&body["data"], "group").unwrap_or_default(), text(&body, "type")?);
                self.taken.borrow_mut().entry(key).or_default().push(text(&body["data"], "id")?);
                "204 Taken"
            };
            request.drain(..end + length);
            stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await?;
        }
    }
}

/// Both figures, on both stores.
pub async fn once(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let hits = effort.pick(300, 10_000, 10_000);
    let rounds = effort.pick(2, 10, 30);
    let (mut told, mut resolved) = (BTreeSet::new(), BTreeSet::new());
    for kind in StoreKind::ALL {
        let received = Rc::new(Received::default());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let taking = Rc::clone(&received);
        let serving = tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let taking = Rc::clone(&taking);
                // the engine is killed in the middle of a request, too
                tokio::task::spawn_local(async move { taking.serve(stream).await.ok() });
            }
        });
        let config = tempfile::NamedTempFile::new()?;
        std::fs::write(
            config.path(),
            format!(
                "[notify]\ndefault = [\"hook\"]\n[[notify.channels]]\nname = \"hook\"\nkind = \"webhook\"\nper_minute = 600\nallow_private = true\nurl = \"http://127.0.0.1:{port}/\"\nsecret_env = \"{SECRET}\"\n"
            ),
        )?;
        let path = config.path().display().to_string();
        let mut node = Node::fresh(kind, &[("MLINZI_CONFIG", &path), (SECRET, SECRET_VALUE)]).await?;
        let feed = node.feed("archive", "event", 3_000).await?;
        let group = ten_thousand(&node, &feed, hits).await?;
        told.insert(settled(&received, &group, "raised").await?);
        for round in 0..rounds {
            resolved.insert(killed(&mut node, &received, &group, round).await?);
        }
        let others: usize = received.taken.borrow().values().map(Vec::len).sum();
        say(&format!("  {}: {others} messages in all, {} attempts refused", kind.name(), received.refused.get()));
        serving.abort();
    }
    let worst = |counts: &BTreeSet<usize>| counts.iter().copied().max_by_key(|n| n.abs_diff(1)).unwrap_or(0) as f64;
    let reference = format!("1; a group of at least {hits} hits at a webhook, worse of both stores");
    report.add("notify_once", worst(&told), "count", &reference)?;
    let reference = format!(
        "1; distinct messages of an end that arrive after kill -9 between the wish and the sending, worst of {rounds} kills on each store"
    );
    report.add("notify_once_resolved", worst(&resolved), "count", &reference)
}

/// Years of an archive in which every third hour has too many deposits; gives the group of their alerts.
async fn ten_thousand(node: &Node, feed: &Feed, hits: u64) -> anyhow::Result<String> {
    let hours = (hits + 20) * EVERY_HOURS;
    let start = Ts::parse("2020-01-01T00:00:00Z").context("a time")?;
    let mut connection = node.connect().await?;
    for first in (0..hours).step_by(PUSH_HOURS as usize) {
        let lines = (first..(first + PUSH_HOURS).min(hours)).flat_map(|hour| {
            let records = if hour % EVERY_HOURS == 0 { BURST } else { 1 };
            (0..records).map(move |n| {
                let at = start.plus(hour as i64 * HOUR + n as i64 * 60_000_000);
                json!({"record_id": format!("{hour}-{n}"), "kind": "deposit", "occurred_at": at.to_string(), "money": {"amount_minor": 100, "currency": "KES"}}).to_string()
            })
        });
        let body = lines.collect::<Vec<_>>().join("\n");
        let answer = connection.must(&feed.push(), body.as_bytes()).await?;
        anyhow::ensure!(answer["accepted"] == body.lines().count(), "{answer}");
    }
    let end = Instant::now() + PATIENCE;
    loop {
        let page = node.get("/api/v1/alerts/groups?limit=500").await?;
        let groups = page["items"].as_array().context("groups")?;
        if let Some(group) = groups.iter().find(|group| group["hits"].as_u64() >= Some(hits)) {
            return text(group, "id");
        }
        let most = groups.iter().filter_map(|group| group["hits"].as_u64()).max();
        anyhow::ensure!(Instant::now() < end, "the largest group has {most:?} of {hits} hits");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Distinct messages of a kind about a group, once nothing waits any more.
async fn settled(received: &Received, group: &str, kind: &str) -> anyhow::Result<usize> {
    let end = Instant::now() + PATIENCE;
    while received.of(group, kind).is_empty() {
        anyhow::ensure!(Instant::now() < end, "no message of {kind} came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // what else there is has time to come
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(received.of(group, kind).into_iter().collect::<BTreeSet<_>>().len())
}

/// A person resolves the group, the process dies before anybody heard, and starts again; distinct messages of that end.
async fn killed(node: &mut Node, received: &Received, group: &str, round: u64) -> anyhow::Result<usize> {
    received.refuses.set(true);
    let before: BTreeSet<String> = received.of(group, "resolved").into_iter().collect();
    node.post(&format!("/api/v1/alerts/{group}/resolve"), &json!({"reason": "confirmed"})).await?;
    // at once, while it is tried, and while it waits to be tried again
    tokio::time::sleep(Duration::from_millis(round * 53 % 400)).await;
    node.kill()?;
    received.refuses.set(false);
    node.start().await?;
    let end = Instant::now() + PATIENCE;
    while received.of(group, "resolved").iter().all(|id| before.contains(id)) {
        anyhow::ensure!(Instant::now() < end, "the end of round {round} was never told");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    node.post(&format!("/api/v1/alerts/{group}/reopen"), &Value::Null).await?;
    let after: BTreeSet<String> = received.of(group, "resolved").into_iter().collect();
    Ok(after.difference(&before).count())
}
