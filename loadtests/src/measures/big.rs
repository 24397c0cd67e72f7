//! Ten million people: what a lookup costs beside a handler that does nothing, in memory, after a start, in batches.
//!
//! The register is imported once and kept beside the build. The node has one worker and the first processor alone, the
//! loader the second one; a hundred callers, half of the lookups hits. Every ratio is of interleaved pairs of one run
//! on one process.

use crate::Effort;
use crate::driver::{Outcome, Pace, load_as};
use crate::node::{Node, TLS, scratch, sqlite, text};
use crate::postgres::Database;
use crate::report::{Report, median, say};
use crate::traffic::{phone, registration};
use crate::wire::{Head, Target};
use anyhow::Context;
use serde_json::json;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Callers, each with a key of its own.
pub(super) const CALLERS: usize = 100;
/// Requests a second at which processor time is compared: both handlers are far from their limit, so that the loader
/// sleeps and is woken as often for one as for the other.
const EQUAL_RATE: f64 = 30_000.0;
/// Rows of a batch.
const BATCH_ROWS: u64 = 10_000;

pub(super) fn people(effort: Effort) -> u64 {
    effort.pick(200_000, 10_000_000, 10_000_000)
}

/// The kept register, made where there is none.
pub(super) fn register(effort: Effort) -> anyhow::Result<PathBuf> {
    let people = people(effort);
    let folder = scratch()?.join(format!("imported-{people}"));
    let done = folder.join("imported");
    if done.exists() {
        return Ok(folder);
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let said = import(&folder, &sqlite(&folder), people)?;
    std::fs::write(done, said)?;
    Ok(folder)
}

/// Imports so many people into a store, with keys of its own in the folder.
fn import(folder: &Path, store: &str, people: u64) -> anyhow::Result<String> {
    let file = folder.join("people.csv");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&file)?);
    writeln!(out, "id_number,phone,period,effective_at")?;
    for n in 0..people {
        writeln!(out, "{},{},5_years,2025-06-01T10:00:00Z", 20_000_000 + n, phone(n))?;
    }
    out.flush()?;
    let keys = folder.join("keys.toml").display().to_string();
    let run = |args: &[&str]| {
        let program = crate::node::binaries()?.join("mlinzi");
        let out = Command::new(program).args(["--store", store, "--keys", &keys]).args(args).output()?;
        anyhow::ensure!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        Ok(String::from_utf8(out.stdout)?)
    };
    run(&["key", "init"])?;
    let start = Instant::now();
    let file_name = file.display().to_string();
    let said = run(&["register", "import", &file_name, "--origin", "bench", "--legal-basis", "bench"])?;
    let seconds = start.elapsed().as_secs_f64();
    say(&format!("  imported {people} people in {seconds:.0} s, {:.0}/s: {}", people as f64 / seconds, said.trim()));
    std::fs::remove_file(&file)?;
    Ok(said)
}

/// Keeps this process off the processor of the node.
pub(super) fn step_aside() -> anyhow::Result<()> {
    let pid = std::process::id().to_string();
    let status = Command::new("taskset").args(["-p", "-c", "1", &pid]).stdout(Stdio::null()).status()?;
    anyhow::ensure!(status.success(), "taskset does not pin the loader");
    Ok(())
}

/// Bearers of a hundred operators.
async fn callers(node: &Node) -> anyhow::Result<Vec<String>> {
    let mut bearers = Vec::with_capacity(CALLERS);
    let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    for n in 0..CALLERS {
        let code = format!("b{run}-{n}");
        let operator = node.post("/api/v1/operators/register", &json!({"code": code, "name": code})).await?;
        let operator = text(&operator, "id")?;
        let key = json!({"label": "bench", "scopes": ["lookup", "lookup:batch"], "rate_per_second": 100_000});
        bearers.push(text(&node.post(&format!("/api/v1/operators/{operator}/keys"), &key).await?, "bearer")?);
    }
    Ok(bearers)
}

pub(super) struct Callers {
    pub lookup: Vec<Head>,
    pub bare: Vec<Head>,
    pub batch: Vec<Head>,
}

impl Callers {
    pub async fn of(node: &Node) -> anyhow::Result<Self> {
        let bearers = callers(node).await?;
        let heads = |path: &str| bearers.iter().map(|bearer| Head::json(path, bearer)).collect();
        Ok(Self {
            lookup: heads("/api/v1/operators/lookup"),
            bare: heads("/bench/bare"),
            batch: heads("/api/v1/operators/batch/lookup"),
        })
    }
}

/// Bodies with a stride that no cache foresees, every second person unknown.
pub(super) fn asked(people: u64) -> impl Fn(u64, &mut Vec<u8>) + 'static {
    move |n, body| {
        let who = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % people;
        crate::traffic::lookup(if n.is_multiple_of(2) { who } else { 40_000_000 + who }, "login", body);
    }
}

pub(super) async fn timed(
    node: &Node,
    heads: &[Head],
    pace: Pace,
    body: impl Fn(u64, &mut Vec<u8>) + 'static,
) -> anyhow::Result<(Outcome, f64)> {
    let cpu = node.cpu()?;
    let out = load_as(&node.target(), heads, CALLERS, pace, Rc::new(body)).await?;
    // what it left to be done is part of its cost
    tokio::time::sleep(Duration::from_millis(60)).await;
    let cpu = (node.cpu()? - cpu).as_secs_f64() * 1e6 / (out.good + out.bad) as f64;
    anyhow::ensure!(out.bad == 0, "{} requests were refused: {}", out.bad, node.log());
    Ok((out, cpu))
}

/// Costs of a lookup, memory, batches: all on one imported register.
pub async fn lookups(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    step_aside()?;
    let (people, folder) = (people(effort), register(effort)?);
    let store = sqlite(&folder);
    let node = Node::pinned(&folder, &store, &[]).await?;
    let callers = Callers::of(&node).await?;
    let pairs = effort.pick(3, 7, 11);
    let time = Duration::from_secs(effort.pick(1, 3, 5));
    let (mut speed, mut cpu) = (Vec::new(), Vec::new());
    for pair in 0..=pairs {
        let (bare, _) = timed(&node, &callers.bare, Pace::For(time), asked(people)).await?;
        let (full, _) = timed(&node, &callers.lookup, Pace::For(time), asked(people)).await?;
        let count = (EQUAL_RATE * time.as_secs_f64()) as u64;
        let even = Pace::Open { count, rate: EQUAL_RATE };
        let (_, bare_cpu) = timed(&node, &callers.bare, even, asked(people)).await?;
        let (_, full_cpu) = timed(&node, &callers.lookup, even, asked(people)).await?;
        if pair == 0 {
            continue;
        }
        let (full, bare) = (full.per_second(), bare.per_second());
        say(&format!(
            "  lookup {full:.0}/s, bare {bare:.0}/s; at {EQUAL_RATE}/s {full_cpu:.2} µs, bare {bare_cpu:.2} µs"
        ));
        speed.push(full / bare);
        cpu.push(full_cpu / bare_cpu);
    }
    let under = format!(
        "{people} people, {CALLERS} keys, half of the lookups hits, evidence on, one worker on one processor, median of {pairs} interleaved pairs"
    );
    report.add(
        "lookup_cpu_vs_bare",
        median(&cpu),
        "ratio",
        &format!("≤ 1.25; {under}; both at {EQUAL_RATE} requests a second"),
    )?;
    report.add("lookup_vs_bare", median(&speed), "ratio", &format!("≥ 0.82; {under}; closed loop"))?;
    memory(&node, people, report).await?;
    batches(&node, &callers, people, effort, report).await
}

/// How long a start takes, with snapshots and without, on both stores.
pub async fn starts(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    step_aside()?;
    let (people, folder) = (people(effort), register(effort)?);
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.display().to_string().contains(".index-") {
            std::fs::remove_file(path)?;
        }
    }
    let embedded = started(&folder, &sqlite(&folder)).await?;
    let beside = tempfile::Builder::new().prefix("store-").tempdir_in(scratch()?)?;
    let database = Database::create()?;
    import(beside.path(), &database.url, people)?;
    let postgres = started(beside.path(), &database.url).await?;
    let both = |embedded: f64, postgres: f64| format!("embedded {embedded:.1}, PostgreSQL {postgres:.1}");
    let under = "process start to ready, worse of the two";
    report.add(
        "recover_10m_s",
        embedded.snapshot.max(postgres.snapshot),
        "s",
        &format!("≤ 4; {under}: {}; from a snapshot, median of 3", both(embedded.snapshot, postgres.snapshot)),
    )?;
    report.add(
        "recover_10m_from_tables_s",
        embedded.tables.max(postgres.tables),
        "s",
        &format!("≤ 40; {under}: {}; no snapshot", both(embedded.tables, postgres.tables)),
    )
}

/// Seconds from the start of the process until it is ready.
struct Starts {
    tables: f64,
    snapshot: f64,
}

/// Starts on a register of which there is no snapshot yet.
async fn started(folder: &Path, store: &str) -> anyhow::Result<Starts> {
    let once = async || {
        let start = Instant::now();
        let node = Node::at(folder, store, &[]).await?;
        Ok::<_, anyhow::Error>((start.elapsed().as_secs_f64(), node))
    };
    let (tables, mut node) = once().await?;
    // the first snapshot is made at once, because there is none
    let end = Instant::now() + Duration::from_secs(300);
    while metric(&node, "mlinzi_index_snapshot_seconds_count").await? < 1.0 {
        anyhow::ensure!(Instant::now() < end, "no snapshot: {}", node.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    say(&format!("  a snapshot takes {:.1} s", metric(&node, "mlinzi_index_snapshot_seconds_sum").await?));
    node.kill()?;
    let mut times = Vec::new();
    for _ in 0..3 {
        let (seconds, mut node) = once().await?;
        node.kill()?;
        times.push(seconds);
    }
    say(&format!("  ready after {tables:.1} s from the tables, {:.1} s from a snapshot", median(&times)));
    Ok(Starts { tables, snapshot: median(&times) })
}

async fn metric(node: &Node, name: &str) -> anyhow::Result<f64> {
    let mut connection = node.connect().await?;
    let answer = connection.send(&Head::new("GET", "/metrics", "none", "text/plain"), b"").await?;
    let body = std::str::from_utf8(answer.body)?;
    let line = body.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    let value = line.with_context(|| format!("no metric {name}"))?.rsplit(' ').next().unwrap_or_default();
    Ok(value.parse()?)
}

async fn memory(node: &Node, people: u64, report: &mut Report) -> anyhow::Result<()> {
    let bytes = metric(node, "mlinzi_index_bytes").await? / (people * 2) as f64;
    let resident = node.resident()? as f64 / f64::from(1 << 20);
    let under = "people with a phone and a document each, after a start from a snapshot and some minutes of lookups";
    report.add("index_bytes_per_key", bytes, "bytes", &format!("≤ 24; {people} {under}"))?;
    report.add("rss_mb_10m", resident, "MB", &format!("≤ 1,100; {people} {under}"))
}

pub(super) fn batch_body(n: u64, people: u64, body: &mut Vec<u8>) {
    let mut text = String::with_capacity(64 * BATCH_ROWS as usize);
    text.push_str("{\"purpose\":\"sweep\",\"users\":[");
    for row in 0..BATCH_ROWS {
        let who = (n * BATCH_ROWS + row).wrapping_mul(0x9e37_79b9_7f4a_7c15) % people;
        let who = if row.is_multiple_of(2) { who } else { 40_000_000 + who };
        let comma = if row == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{{\"phone\":\"{}\",\"correlation_id\":\"{row}\"}}", phone(who));
    }
    text.push_str("]}");
    body.extend_from_slice(text.as_bytes());
}

/// Batches, one at a time and as many as go.
async fn batches(
    node: &Node,
    callers: &Callers,
    people: u64,
    effort: Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    // made beforehand: making them costs the loader as much as answering costs the server
    let bodies: Rc<Vec<Vec<u8>>> = Rc::new(
        (0..16)
            .map(|n| {
                let mut body = Vec::new();
                batch_body(n, people, &mut body);
                body
            })
            .collect(),
    );
    let asked = {
        let bodies = Rc::clone(&bodies);
        Rc::new(move |n: u64, body: &mut Vec<u8>| body.extend_from_slice(&bodies[n as usize % bodies.len()]))
    };
    let count = effort.pick(20, 150, 400);
    let one = load_as(&node.target(), &callers.batch, 1, Pace::Closed { count }, Rc::clone(&asked)).await?;
    let many = load_as(&node.target(), &callers.batch, 3, Pace::Closed { count: count * 2 }, asked).await?;
    anyhow::ensure!(one.bad + many.bad == 0, "batches were refused: {}", node.log());
    let under = format!("{people} people, half of the rows hits, evidence on, server on one processor");
    report.add(
        "batch_10000_ms",
        one.ms(50.0),
        "ms",
        &format!("≤ 30 p50; {under}; one after the other, as the caller sees it"),
    )?;
    let rows = many.per_second() * BATCH_ROWS as f64;
    report.add("batch_rows_per_s", rows, "1/s", &format!("≥ 400,000; {under}; three at a time"))
}

/// The slowest lookups beside the slowest answers of a handler that does nothing, both while people register and the
/// index is copied.
pub async fn tails(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    step_aside()?;
    let (people, folder) = (people(effort), register(effort)?);
    let node = Node::pinned(&folder, &sqlite(&folder), &[("MLINZI__ENGINE__SNAPSHOT_SECONDS", "1")]).await?;
    let callers = Callers::of(&node).await?;
    let seconds: u64 = effort.pick(2, 6, 20);
    let pairs = effort.pick(1, 9, 15);
    // people nobody asked about: each of them is new
    let fresh = Rc::new(std::cell::Cell::new(
        50_000_000 + SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() % 20_000_000,
    ));
    for rate in [5_000.0, 20_000.0] {
        let (mut ratios, mut tails, mut refused) = (Vec::new(), Vec::new(), 0);
        for _ in 0..pairs {
            let mut pair = Vec::new();
            for heads in [&callers.bare, &callers.lookup] {
                let writes = {
                    let (target, head, fresh) =
                        (node.target(), Head::json("/api/v1/nser/register", &node.staff), Rc::clone(&fresh));
                    tokio::task::spawn_local(async move {
                        let pace = Pace::Open { count: 1_000 * seconds, rate: 1_000.0 };
                        let body = move |_: u64, body: &mut Vec<u8>| {
                            fresh.set(fresh.get() + 1);
                            registration(fresh.get(), body);
                        };
                        load_as(&target, &[head], 32, pace, Rc::new(body)).await
                    })
                };
                let pace = Pace::Open { count: rate as u64 * seconds, rate };
                // where the node is pressed it refuses some of both after a pause: that counts as their latency
                let out = load_as(&node.target(), heads, CALLERS, pace, Rc::new(asked(people))).await?;
                refused += out.bad + writes.await??.bad;
                pair.push(out.ms(99.0));
            }
            say(&format!("  at {rate}/s p99 {:.2} ms, bare {:.2} ms", pair[1], pair[0]));
            ratios.push(pair[1] / pair[0]);
            tails.push(pair[1]);
        }
        let name = if rate < 10_000.0 { "lookup_p99_vs_bare_at_5000" } else { "lookup_p99_vs_bare_at_20000" };
        let reference = format!(
            "≤ 1.5; p99 {:.2} ms; open loop, 1,000 registrations a second, a snapshot every second, {people} people, median of {pairs} pairs, {refused} requests refused",
            median(&tails)
        );
        report.add(name, median(&ratios), "ratio", &reference)?;
    }
    Ok(())
}

/// The ratio to the bare handler over TLS 1.3.
pub async fn tls(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    step_aside()?;
    let (people, folder) = (people(effort), register(effort)?);
    let node = Node::pinned(&folder, &sqlite(&folder), &[(TLS, "")]).await?;
    let callers = Callers::of(&node).await?;
    let pairs = effort.pick(3, 7, 11);
    let time = Duration::from_secs(effort.pick(1, 3, 5));
    let mut ratios = Vec::new();
    for pair in 0..=pairs {
        let (bare, _) = timed(&node, &callers.bare, Pace::For(time), asked(people)).await?;
        let (full, _) = timed(&node, &callers.lookup, Pace::For(time), asked(people)).await?;
        if pair > 0 {
            say(&format!("  lookup {:.0}/s, bare {:.0}/s over TLS", full.per_second(), bare.per_second()));
            ratios.push(full.per_second() / bare.per_second());
        }
    }
    let reference =
        format!("≥ 0.85; TLS 1.3 keep-alive, {people} people, {CALLERS} connections, median of {pairs} pairs");
    report.add("lookup_tls_vs_bare_tls", median(&ratios), "ratio", &reference)
}

/// Complete lookups beside `GET` of a Redis with as many keys, both by this loader.
pub async fn redis(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    step_aside()?;
    let (people, folder) = (people(effort), register(effort)?);
    let redis = Redis::start(people).await?;
    let node = Node::pinned(&folder, &sqlite(&folder), &[]).await?;
    let callers = Callers::of(&node).await?;
    let pairs = effort.pick(3, 7, 11);
    let time = Duration::from_secs(effort.pick(1, 3, 5));
    let mut ratios = Vec::new();
    for pair in 0..=pairs {
        let gets = redis.load(people, time).await?;
        let (full, _) = timed(&node, &callers.lookup, Pace::For(time), asked(people)).await?;
        if pair > 0 {
            say(&format!("  lookup {:.0}/s, redis {gets:.0}/s", full.per_second()));
            ratios.push(full.per_second() / gets);
        }
    }
    let reference = format!(
        "≥ 1.2; Redis GET without pipelining, {people} keys of 16 bytes, {CALLERS} connections, same loader, each server on the same processor, median of {pairs} pairs"
    );
    report.add("lookup_vs_redis", median(&ratios), "ratio", &reference)
}

/// A Redis of our own, on the processor of the node.
struct Redis {
    child: std::process::Child,
    target: Target,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Redis {
    async fn start(keys: u64) -> anyhow::Result<Self> {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let port_text = port.to_string();
        let child = Command::new("taskset")
            .args([
                "-c",
                "0",
                "redis-server",
                "--port",
                &port_text,
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .stdout(Stdio::null())
            .spawn()
            .context("redis-server is needed: apt-get install redis-server")?;
        let redis = Self { child, target: std::net::SocketAddr::from(([127, 0, 0, 1], port)).into() };
        let mut stream = loop {
            match TcpStream::connect(redis.target.address).await {
                Ok(stream) => break stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let mut sent = String::new();
        let mut answers = vec![0; 5 * 10_000];
        for n in 0..keys {
            let _ = write!(sent, "*3\r\n$3\r\nSET\r\n$16\r\n{n:016}\r\n$16\r\n{n:016}\r\n");
            if n % 10_000 == 9_999 || n + 1 == keys {
                stream.write_all(sent.as_bytes()).await?;
                let due = ((n % 10_000) + 1) as usize * 5;
                stream.read_exact(&mut answers[..due]).await?;
                sent.clear();
            }
        }
        Ok(redis)
    }

    /// Answers a second.
    async fn load(&self, keys: u64, time: Duration) -> anyhow::Result<f64> {
        let next = Rc::new(std::cell::Cell::new(0u64));
        let start = Instant::now();
        let mut streams = Vec::with_capacity(CALLERS);
        for _ in 0..CALLERS {
            let stream = TcpStream::connect(self.target.address).await?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let work = streams.into_iter().map(|mut stream| {
            let next = Rc::clone(&next);
            async move {
                let (mut sent, mut answer) = (String::new(), [0; 64]);
                while start.elapsed() < time {
                    let n = next.get();
                    next.set(n + 1);
                    let key = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys;
                    sent.clear();
                    let _ = write!(sent, "*2\r\n$3\r\nGET\r\n$16\r\n{key:016}\r\n");
                    stream.write_all(sent.as_bytes()).await?;
                    // $16, 16 bytes, two ends of lines
                    stream.read_exact(&mut answer[..23]).await?;
                }
                Ok::<_, std::io::Error>(())
            }
        });
        for done in crate::driver::together(work).await {
            done?;
        }
        Ok(next.get() as f64 / start.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_what_the_contract_takes() {
        let mut body = Vec::new();
        batch_body(3, 1_000, &mut body);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["users"].as_array().map(Vec::len), Some(BATCH_ROWS as usize));
        assert!(body["users"][7]["phone"].as_str().is_some_and(|p| p.len() == 10));
    }
}
