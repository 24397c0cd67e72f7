//! 500 sources that fetch, a fifth of which fail in five ways: how late is a fetch of the others?

use crate::Effort;
use crate::node::{Node, StoreKind, text};
use crate::report::{Report, median, say};
use crate::traffic::now;
use anyhow::Context;
use models::ts::Ts;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Sources, and operators that they belong to.
const SOURCES: usize = 500;
const OPERATORS: usize = 5;
/// One in so many fails.
const FAILING: usize = 5;
/// Seconds between two fetches of a source.
const EVERY_SECONDS: i64 = 10;
/// Records of a page.
const RECORDS: usize = 10;
/// Bytes of a request at most.
const REQUEST_BYTES_MAX: usize = 16 << 10;

/// What a source's peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Sound,
    Slow,
    Fails,
    CutOff,
    Refuses,
    Rubbish,
}

fn manner(source: usize) -> Manner {
    if !source.is_multiple_of(FAILING) {
        return Manner::Sound;
    }
    [Manner::Slow, Manner::Fails, Manner::CutOff, Manner::Refuses, Manner::Rubbish][source / FAILING % 5]
}

/// When each source was asked.
type Asked = Rc<RefCell<BTreeMap<usize, Vec<Ts>>>>;

/// Worst delay of a fetch of a sound source against its schedule.
pub async fn five_hundred(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let time = Duration::from_secs(effort.pick(20, 120, 600));
    let node = Node::fresh(StoreKind::Embedded, &[("MLINZI__FEEDS__ALLOW_PRIVATE_ADDRESSES", "true")]).await?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let (peer, asked) = (listener.local_addr()?, Asked::default());
    let noted = Rc::clone(&asked);
    let serving = tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let noted = Rc::clone(&noted);
            // whoever hangs up has had enough
            tokio::task::spawn_local(async move { serve(stream, &noted).await.ok() });
        }
    });
    let ids = create(&node, peer).await?;
    // each has its first fetch behind it
    tokio::time::sleep(Duration::from_secs(2 * EVERY_SECONDS.unsigned_abs())).await;
    let phases = phases(&node, &ids).await?;
    let start = now();
    tokio::time::sleep(time).await;
    let end = now();
    serving.abort();
    let listed = node.get("/api/v1/feeds?limit=500").await?;
    let (mut delays, mut worst) = (Vec::new(), 0.0_f64);
    for (source, phase) in &phases {
        let asked = asked.borrow().get(source).cloned().unwrap_or_default();
        for delay in delays_of(*phase, &asked, start, end) {
            worst = worst.max(delay);
            delays.push(delay);
        }
    }
    let failing = listed["items"].as_array().context("a list")?.iter().filter(|s| !s["last_error"].is_null()).count();
    anyhow::ensure!(
        failing >= SOURCES / FAILING - SOURCES / FAILING / 5,
        "only {failing} sources fail: {}",
        node.log()
    );
    anyhow::ensure!(!delays.is_empty(), "nothing was due");
    say(&format!(
        "  {} fetches of {} sound sources, half of them within {:.3} s",
        delays.len(),
        phases.len(),
        median(&delays)
    ));
    let reference = format!(
        "≤ 1; embedded, {SOURCES} sources every {EVERY_SECONDS} s with {RECORDS} records, one in {FAILING} slow, failing, cut off, refusing or sending rubbish; {} s, median {:.3} s",
        time.as_secs(),
        median(&delays)
    );
    report.add("sources_500", worst, "s", &reference)
}

/// Makes the sources; ids of the sound ones.
async fn create(node: &Node, peer: SocketAddr) -> anyhow::Result<BTreeMap<String, usize>> {
    // nobody listens there
    let nobody = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let mut operators = Vec::new();
    for n in 0..OPERATORS {
        let new = json!({"code": format!("operator-{n}"), "name": format!("Operator {n}")});
        operators.push(text(&node.post("/api/v1/operators/register", &new).await?, "id")?);
    }
    let mut ids = BTreeMap::new();
    for n in 0..SOURCES {
        let address = if manner(n) == Manner::Refuses { nobody } else { peer };
        let source = json!({
            "operator": operators[n % OPERATORS], "name": format!("source-{n}"), "kind": "http_poll", "class": "gaming_transactions",
            "reader": {"url": format!("http://{address}/{n}")}, "schedule": {"every_seconds": EVERY_SECONDS},
            "expected_interval_seconds": EVERY_SECONDS, "currency": "KES",
        });
        let id = text(&node.post("/api/v1/feeds", &source).await?, "id")?;
        if manner(n) == Manner::Sound {
            ids.insert(id, n);
        }
    }
    Ok(ids)
}

/// A time of the schedule of each sound source.
async fn phases(node: &Node, ids: &BTreeMap<String, usize>) -> anyhow::Result<BTreeMap<usize, Ts>> {
    let listed = node.get("/api/v1/feeds?limit=500").await?;
    let mut phases = BTreeMap::new();
    for source in listed["items"].as_array().context("a list")? {
        let Some(n) = source["id"].as_str().and_then(|id| ids.get(id)) else { continue };
        let healthy = source["failures"] == 0 && source["records"].as_u64() > Some(0);
        anyhow::ensure!(healthy, "a sound source has not been fetched: {source}");
        let due = source["next_due"].as_str().and_then(|text| Ts::parse(text).ok()).context("next_due")?;
        phases.insert(*n, due);
    }
    anyhow::ensure!(phases.len() == ids.len(), "{} of {} sources are listed", phases.len(), ids.len());
    Ok(phases)
}

/// Seconds from each time of the schedule within the span to the fetch that follows it.
fn delays_of(phase: Ts, asked: &[Ts], start: Ts, end: Ts) -> Vec<f64> {
    let period = EVERY_SECONDS * models::ts::SECOND;
    let first = phase.plus((start.0 - phase.0).div_euclid(period) * period + period);
    let due = (0..).map(|n| first.plus(n * period)).take_while(|due| due.plus(period) <= end);
    // next_due is shown in whole milliseconds
    let delay = |due: Ts| asked.iter().find(|at| at.0 + 1_000 >= due.0).unwrap_or(&end).0 - due.0;
    due.map(|due| delay(due).max(0) as f64 / models::ts::SECOND as f64).collect()
}

async fn serve(mut stream: TcpStream, asked: &Asked) -> std::io::Result<()> {
    loop {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if request.len() > REQUEST_BYTES_MAX || stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let line = String::from_utf8_lossy(&request);
        let source = line.split(' ').nth(1).and_then(|path| path.trim_start_matches('/').parse().ok()).unwrap_or(0);
        asked.borrow_mut().entry(source).or_default().push(now());
        let ok = |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        match manner(source) {
            Manner::Sound => stream.write_all(ok(&records(source)).as_bytes()).await?,
            Manner::Fails => stream.write_all(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n").await?,
            Manner::Rubbish => stream.write_all(ok("<html>Welcome</html>").as_bytes()).await?,
            Manner::CutOff => {
                let whole = ok(&records(source));
                stream.write_all(&whole.as_bytes()[..whole.len() - 100]).await?;
                return stream.shutdown().await;
            }
            Manner::Slow => {
                // a byte a second, for longer than anybody waits
                for byte in ok(&records(source)).bytes() {
                    stream.write_all(&[byte]).await?;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
            // it listens nowhere
            Manner::Refuses => return Ok(()),
        }
    }
}

fn records(source: usize) -> String {
    let at = now();
    let record = |n: usize| -> Value {
        json!({"record_id": format!("{source}-{}-{n}", at.0), "kind": "stake", "occurred_at": at.to_string(), "money": {"amount_minor": 100, "currency": "KES"}})
    };
    (0..RECORDS).map(|n| record(n).to_string() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_fails_each_in_one_of_five_ways() {
        let count = |wanted| (0..SOURCES).filter(|n| manner(*n) == wanted).count();
        assert_eq!(count(Manner::Sound), 400);
        for way in [Manner::Slow, Manner::Fails, Manner::CutOff, Manner::Refuses, Manner::Rubbish] {
            assert_eq!(count(way), 20, "{way:?}");
        }
    }

    #[test]
    fn a_delay_is_counted_from_the_schedule_also_where_nobody_came() {
        let at = |seconds: f64| Ts((seconds * 1e6) as i64);
        let asked = [at(10.1), at(20.5), at(43.0)];
        assert_eq!(delays_of(at(10.0), &asked, at(5.0), at(60.0)), [0.1, 0.5, 13.0, 3.0, 10.0]);
    }
}
