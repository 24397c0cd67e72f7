//! The live hub with everybody watching: fan-out against a loop of writes, memory, clients that never read, the
//! reconnection of all at once, and clients that are cut again and again.

use crate::Effort;
use crate::crowd::{Crowd, Spread, connect_all, field, masked, metric, open, open_all, raise_files, take};
use crate::driver::histogram;
use crate::measures::live::history;
use crate::node::{Feed, Node, StoreKind};
use crate::report::{Report, say};
use crate::traffic::{Batch, Chance, Player, now, phone};
use anyhow::Context;
use models::ts::SECOND;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A topic whose frames have about 200 bytes: its region has no play, and only the age of its inputs moves.
const TOPIC: &str = "region:KE-99";
/// As many watchers as the measures bring, with one key.
const ROOMY: &[(&str, &str)] = &[
    ("MLINZI__LIMITS__LIVE_SESSIONS", "40000"),
    ("MLINZI__LIMITS__LIVE_SESSIONS_PER_KEY", "40000"),
    ("MLINZI__LIMITS__ADDRESS_CONNECTIONS", "40000"),
];
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

fn subscribe(topics: &[&str], resume: Option<Value>) -> String {
    let mut frame = json!({"type": "subscribe", "topics": topics});
    if let Some(resume) = resume {
        frame["resume"] = resume;
    }
    frame.to_string()
}

/// A node with an operator whose play moves figures.
struct Scene {
    node: Node,
    feed: Feed,
    players: Vec<Player>,
    chance: Chance,
    pushed: u64,
}

impl Scene {
    async fn new() -> anyhow::Result<Self> {
        let files = raise_files()?;
        say(&format!("  up to {files} open files"));
        let node = Node::fresh(StoreKind::Embedded, ROOMY).await?;
        let feed = node.feed("steady", "wall", 7).await?;
        let players = (0..1_000).map(|n| Player::Phone(phone(n))).collect();
        Ok(Self { node, feed, players, chance: Chance(11), pushed: 1 })
    }

    /// Pushes so many records.
    async fn push(&mut self, records: usize, stake_minor: i64) -> anyhow::Result<()> {
        let batch = Batch::new(&mut self.chance, &self.players, records, stake_minor);
        let (first, mut body) = (self.pushed << 20, Vec::new());
        self.pushed += 1;
        batch.stamp(first, now().plus(-SECOND), SECOND / 2 / records as i64, &mut body);
        let answer = self.node.connect().await?.must(&self.feed.push(), &body).await?;
        anyhow::ensure!(answer["accepted"] == records, "{answer}");
        Ok(())
    }
}

/// Median of the times of those steps that everybody got, milliseconds; and how many there are.
fn median_ms(crowd: &Crowd, everybody: usize) -> anyhow::Result<(f64, usize)> {
    let steps = crowd.seen.steps.borrow();
    let mut times: Vec<f64> = steps
        .values()
        .filter(|step| step.seen == everybody)
        .map(|step| Spread::time(step).as_secs_f64() * 1e3)
        .collect();
    let most = steps.values().map(|step| step.seen).max();
    anyhow::ensure!(
        times.len() >= 3,
        "only {} of {} steps reached everybody ({most:?} of {everybody} at most); {:?}",
        times.len(),
        steps.len(),
        crowd.seen.kinds.borrow()
    );
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2], times.len()))
}

/// The loop of writes, in a process of its own.
struct Floor {
    child: Child,
    input: ChildStdin,
    output: BufReader<std::process::ChildStdout>,
    address: SocketAddr,
}

impl Floor {
    fn start(count: usize) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg("raw").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().context("an input")?;
        let mut output = BufReader::new(child.stdout.take().context("an output")?);
        writeln!(input, "{count}")?;
        input.flush()?;
        let mut port = String::new();
        output.read_line(&mut port)?;
        Ok(Self { child, input, output, address: SocketAddr::from(([127, 0, 0, 1], port.trim().parse()?)) })
    }

    fn write(&mut self, text: &str) -> anyhow::Result<()> {
        writeln!(self.input, "{text}")?;
        Ok(self.input.flush()?)
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // it ends with its input, too
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.output.get_mut();
    }
}

/// One small delta to everybody, from the first who has it to the last; and what a socket costs that only waits.
pub async fn fanout(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let (count, rounds) = (effort.pick(500, 10_000, 10_000), effort.pick(5, 30, 60));
    let mut scene = Scene::new().await?;
    // what the first sockets need is not needed again by those that come later
    drop(open_all(&scene.node, count.min(200), &subscribe(&[TOPIC], None), None).await?);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = scene.node.resident()?;
    let began = Instant::now();
    let crowd = Crowd::new(open_all(&scene.node, count, &subscribe(&[TOPIC], None), None).await?, TOPIC);
    crowd.until("not everybody has a snapshot", PATIENCE, |seen| seen.count("snapshot") >= count).await?;
    say(&format!("  {count} sockets open in {:.1} s", began.elapsed().as_secs_f64()));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let idle_kb = scene.node.resident()?.saturating_sub(before) as f64 / count as f64 / 1024.0;

    for _ in 0..rounds {
        scene.push(1, 1_000).await?;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    anyhow::ensure!(crowd.seen.ended.get() == 0, "{} sockets ended", crowd.seen.ended.get());
    let (product_ms, steps) = median_ms(&crowd, count)?;
    let sample = crowd.seen.sample.borrow().clone();
    drop(crowd);

    // the same bytes, the same clients
    let mut floor = Floor::start(count)?;
    let crowd = Crowd::new(connect_all(floor.address, count).await?, TOPIC);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let offset = field(&sample, "offset").context("an offset")?.to_owned();
    for round in 0..rounds {
        floor.write(&sample.replacen(&format!("\"offset\":{offset}"), &format!("\"offset\":{}", 100 + round), 1))?;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    let (floor_ms, _) = median_ms(&crowd, count)?;
    say(&format!(
        "  p50 to the last: {product_ms:.1} ms, a loop of writes {floor_ms:.1} ms; {idle_kb:.1} KiB a socket"
    ));
    let reference = format!(
        "≤ 1.25; {count} sockets, one delta of {} bytes to all, from the first client that has it to the last, p50 of {steps} deltas: {product_ms:.1} ms ÷ {floor_ms:.1} ms of a loop that writes the same bytes to raw sockets from a process of its own",
        sample.len()
    );
    report.add("fanout_10000_ratio", product_ms / floor_ms, "", &reference)?;
    report.add(
        "ws_idle_kb",
        idle_kb,
        "KiB",
        &format!("≤ 28; resident memory of the process, {count} sockets that watch one topic"),
    )
}

/// How late deltas come to those who read, beside as many who never do.
pub async fn stalled(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let (count, rounds, pairs) = (effort.pick(100, 1_000, 1_000), effort.pick(10, 60, 120), effort.pick(1, 3, 5));
    let mut scene = Scene::new().await?;
    // enough for the sockets of who does not read to be full soon
    let topics = ["national", "regions", "products", "feeds", &*format!("operator:{}", scene.feed.operator)];
    let quiet = subscribe(&topics, None);
    let (mut ratios, mut shown) = (Vec::new(), String::new());
    for _ in 0..pairs {
        let alone = latency_us(&mut scene, count, rounds, 0, &quiet).await?;
        let beside = latency_us(&mut scene, count, rounds, count, &quiet).await?;
        shown = format!("p99 {:.1} ms alone, {:.1} ms beside", alone / 1e3, beside / 1e3);
        say(&format!("  {shown}"));
        ratios.push(beside / alone);
    }
    ratios.sort_by(f64::total_cmp);
    let reference = format!(
        "≤ 1.1; {count} sockets that read beside {count} that never do ÷ without, p99 from the push to the delta, median of {pairs} pairs; the last: {shown}"
    );
    report.add("ws_stalled_effect", ratios[ratios.len() / 2], "", &reference)
}

/// p99 over all readers from the end of a push to the delta that shows it, microseconds.
async fn latency_us(
    scene: &mut Scene,
    readers: usize,
    rounds: usize,
    never: usize,
    quiet: &str,
) -> anyhow::Result<f64> {
    let held = open_all(&scene.node, never, quiet, Some(4_096)).await?;
    let crowd = Crowd::new(open_all(&scene.node, readers, &subscribe(&["national"], None), None).await?, "national");
    crowd.until("not everybody has a snapshot", PATIENCE, |seen| seen.count("snapshot") >= readers).await?;
    // (records, when they were pushed), and by reader how many it has seen
    let waiting: Rc<RefCell<BTreeMap<u64, Instant>>> = Rc::default();
    let (late, seats) = (Rc::new(RefCell::new(histogram()?)), Rc::new(RefCell::new(vec![0u64; readers])));
    {
        let (waiting, late, seats) = (Rc::clone(&waiting), Rc::clone(&late), Rc::clone(&seats));
        *crowd.seen.hook.borrow_mut() = Some(Box::new(move |seat, at, text| {
            let Some(records) = field(text, "records").and_then(|n| n.parse::<u64>().ok()) else { return };
            let known = std::mem::replace(&mut seats.borrow_mut()[seat], records);
            for (_, sent) in waiting.borrow().range(known.min(records) + 1..records + 1) {
                late.borrow_mut().saturating_record(at.duration_since(*sent).as_micros() as u64);
            }
        }));
    }
    let mut records = records_of(&scene.node).await?;
    for _ in 0..rounds {
        records += 1;
        // before the push, or a delta might be faster than this line
        waiting.borrow_mut().insert(records, Instant::now());
        scene.push(1, 1_000).await?;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let expected = (rounds * readers) as u64;
    let end = Instant::now() + PATIENCE;
    while late.borrow().len() < expected {
        anyhow::ensure!(Instant::now() < end, "{} of {expected} deltas came", late.borrow().len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(held);
    let p99 = late.borrow().value_at_percentile(99.0);
    Ok(p99 as f64)
}

/// Records that the national topic counts.
async fn records_of(node: &Node) -> anyhow::Result<u64> {
    let mut client = Client::open(node, &["national"], None).await?;
    client.until_snapshots(1).await?;
    Ok(client.held["national"].data["currencies"][0]["records"].as_u64().unwrap_or(0))
}

/// Everybody at once comes back and resumes; the hub's ring serves them all.
pub async fn reconnect(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let count = effort.pick(500, 10_000, 10_000);
    let mut scene = Scene::new().await?;
    history(&scene.node, &scene.feed, &mut scene.chance, &scene.players).await?;
    let streams = open_all(&scene.node, count, &subscribe(&["alerts", TOPIC], None), None).await?;
    let crowd = Crowd::new(streams, TOPIC);
    crowd.until("not everybody has both snapshots", PATIENCE, |seen| seen.count("snapshot") >= 2 * count).await?;
    let mut client = Client::open(&scene.node, &["alerts", TOPIC], None).await?;
    client.until_snapshots(2).await?;
    let reads = metric(&scene.node, "mlinzi_live_store_reads_total").await?;
    drop(crowd);
    // what happens meanwhile is what they resume
    scene.push(500, 2_000_000).await?;
    client.until(PATIENCE, |held| held.get("alerts").is_some_and(|topic| topic.steps > 0)).await?;

    let resume =
        json!({"epoch": client.epoch, "offsets": {"alerts": client.first["alerts"], TOPIC: client.held[TOPIC].offset}});
    let began = Instant::now();
    let streams = open_all(&scene.node, count, &subscribe(&["alerts", TOPIC], Some(resume)), None).await?;
    let crowd = Crowd::new(streams, "alerts");
    let newest = client.held["alerts"].offset;
    crowd
        .until("not everybody has resumed", PATIENCE, |seen| {
            let steps = seen.steps.borrow();
            let answered = seen.count("resumed") + seen.count("snapshot") >= 2 * count;
            answered && steps.get(&newest).is_some_and(|step| step.seen >= count)
        })
        .await?;
    let seconds = began.elapsed().as_secs_f64();
    anyhow::ensure!(crowd.seen.count("resumed") >= count, "{:?}", crowd.seen.kinds.borrow());
    let reads = metric(&scene.node, "mlinzi_live_store_reads_total").await? - reads;
    say(&format!("  {count} resumed in {seconds:.2} s, {reads:.0} reads; {:?}", crowd.seen.kinds.borrow()));
    let reference =
        format!("≤ 5; {count} sockets cut and opened again at once, until each has the alert that it missed");
    report.add("reconnect_10000_s", seconds, "s", &reference)?;
    let reference = "0; growth of mlinzi_live_store_reads_total";
    report.add("reconnect_10000_store_reads", reads, "", reference)
}

/// A topic as a client holds it.
#[derive(Clone, Debug, Default)]
struct Held {
    offset: u64,
    /// Of a metric topic, its newest state.
    data: Value,
    /// Of an alert topic, the newest revision of each alert.
    alerts: BTreeMap<String, Value>,
    steps: u64,
}

/// A client that follows the contract to the letter: a step that does not fit is an error.
struct Client {
    stream: TcpStream,
    left: Vec<u8>,
    epoch: String,
    held: BTreeMap<String, Held>,
    /// Offsets of the first snapshots.
    first: BTreeMap<String, u64>,
    snapshots: usize,
    gaps: u64,
}

impl Client {
    async fn open(node: &Node, topics: &[&str], before: Option<Self>) -> anyhow::Result<Self> {
        let resume = before.as_ref().filter(|b| !b.held.is_empty()).map(|b| {
            let offsets: BTreeMap<&String, u64> = b.held.iter().map(|(topic, held)| (topic, held.offset)).collect();
            json!({"epoch": b.epoch, "offsets": offsets})
        });
        let stream = open(node, &subscribe(topics, resume), None).await?;
        let (held, first, epoch, gaps) = before.map_or_else(Default::default, |b| (b.held, b.first, b.epoch, b.gaps));
        Ok(Self { stream, left: Vec::new(), epoch, held, first, snapshots: 0, gaps })
    }

    fn hear(&mut self, text: &str) -> anyhow::Result<()> {
        let frame: Value = serde_json::from_str(text)?;
        let topic = frame["topic"].as_str().unwrap_or_default().to_owned();
        let offset = frame["offset"].as_u64().unwrap_or_default();
        let is_alerts = topic.starts_with("alerts");
        let named = |alert: &Value| Some((alert["id"].as_str()?.to_owned(), alert.clone()));
        match frame["type"].as_str() {
            Some("welcome") => frame["epoch"].as_str().unwrap_or_default().clone_into(&mut self.epoch),
            Some("snapshot") => {
                self.snapshots += 1;
                self.first.entry(topic.clone()).or_insert(offset);
                let held = self.held.entry(topic).or_default();
                held.offset = offset;
                if is_alerts {
                    held.alerts = frame["data"]["items"].as_array().into_iter().flatten().filter_map(named).collect();
                } else {
                    held.data = frame["data"].clone();
                }
            }
            Some("delta") => {
                let held = self.held.entry(topic.clone()).or_default();
                anyhow::ensure!(offset == held.offset + 1, "{topic}: {offset} after {}", held.offset);
                (held.offset, held.steps) = (offset, held.steps + 1);
                if is_alerts {
                    held.alerts.extend(named(&frame["data"]));
                } else {
                    held.data = frame["data"].clone();
                }
            }
            Some("resumed") => {
                let held = self.held.get(&topic).map(|held| held.offset);
                anyhow::ensure!(held == Some(offset), "{topic}: resumed at {offset}, held {held:?}");
            }
            Some("gap") => self.gaps += 1,
            other => anyhow::bail!("{other:?}: {text}"),
        }
        Ok(())
    }

    /// Reads for so long, or until the connection ends.
    async fn read_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = tokio::time::Instant::now() + time;
        let mut buffer = vec![0; 16 << 10];
        while let Ok(read) = tokio::time::timeout_at(end, self.stream.read(&mut buffer)).await {
            let Ok(n @ 1..) = read else { return Ok(()) };
            let (mut left, mut texts) = (std::mem::take(&mut self.left), Vec::new());
            take(&mut left, &buffer[..n], |text| texts.push(text.to_owned()));
            self.left = left;
            for text in texts {
                self.hear(&text)?;
            }
        }
        Ok(())
    }

    async fn until(&mut self, time: Duration, is_so: impl Fn(&BTreeMap<String, Held>) -> bool) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        while !is_so(&self.held) {
            anyhow::ensure!(Instant::now() < end, "it never came: {:?}", self.held.keys());
            self.read_for(Duration::from_millis(20)).await?;
        }
        Ok(())
    }

    async fn until_snapshots(&mut self, count: usize) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.snapshots < count {
            anyhow::ensure!(Instant::now() < end, "{} of {count} snapshots came", self.snapshots);
            self.read_for(Duration::from_millis(20)).await?;
        }
        Ok(())
    }

    /// Ends the connection in one of the ways in which connections end.
    async fn cut(&mut self, chance: &mut Chance) -> anyhow::Result<()> {
        match chance.below(4) {
            // at once
            0 => self.stream.set_zero_linger()?,
            // while it says something
            1 => self.stream.write_all(&masked("{\"type\":\"unsubscribe\",\"topics\":[]}")[..9]).await.unwrap_or(()),
            // only its own half
            2 => self.stream.shutdown().await.unwrap_or(()),
            // with unread bytes
            _ => tokio::time::sleep(Duration::from_millis(chance.below(150))).await,
        }
        self.left.clear();
        Ok(())
    }
}

/// Clients that are cut again and again, while the market moves; in the end each is compared with a fresh one.
pub async fn divergence(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let (clients, cuts) = (effort.pick(10, 50, 50), effort.pick(100, 1_000, 5_000));
    let mut scene = Scene::new().await?;
    history(&scene.node, &scene.feed, &mut scene.chance, &scene.players).await?;
    let own = (format!("operator:{}", scene.feed.operator), format!("alerts:{}", scene.feed.operator));
    let topics = ["alerts", "national", "regions", "products", &*own.0, &*own.1];
    let each = cuts / clients;
    let mut opened = Vec::new();
    for _ in 0..clients {
        opened.push(Client::open(&scene.node, &topics, None).await?);
    }
    let Scene { node, feed, players, mut chance, .. } = scene;
    let (node, mut running) = (&node, Vec::new());
    let names: Vec<String> = topics.map(ToOwned::to_owned).to_vec();
    for (n, mut client) in opened.into_iter().enumerate() {
        let names = names.clone();
        running.push(async move {
            let mut chance = Chance(1_000 + n as u64);
            let topics: Vec<&str> = names.iter().map(String::as_str).collect();
            for _ in 0..each {
                client.read_for(Duration::from_millis(20 + chance.below(300))).await?;
                client.cut(&mut chance).await?;
                client = Client::open(node, &topics, Some(client)).await?;
            }
            anyhow::Ok(client)
        });
    }
    let clients_done = futures_util::future::join_all(running);
    let moving = async {
        let head = feed.push();
        let mut n = 1u64;
        let mut connection = node.connect().await?;
        loop {
            // now and then a jump, so that alerts are raised and corrected
            let stake = if n.is_multiple_of(20) { 2_000_000 } else { 10_000 };
            let batch = Batch::new(&mut chance, &players, 20, stake);
            let mut body = Vec::new();
            batch.stamp((1 << 50) + (n << 10), now().plus(-SECOND), 10_000, &mut body);
            connection.must(&head, &body).await?;
            n += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
            if n == u64::MAX {
                return anyhow::Ok(());
            }
        }
    };
    let clients_done = tokio::select! {
        done = clients_done => done,
        stopped = moving => anyhow::bail!("the pushes ended: {stopped:?}"),
    };
    // the last steps have to come, too
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut fresh = Client::open(node, &topics, None).await?;
    fresh.until_snapshots(topics.len()).await?;
    let (mut diverged, mut gaps) = (0, 0);
    let mut held: Vec<Client> = clients_done.into_iter().collect::<anyhow::Result<_>>()?;
    // all at once, the fresh one too: who is not read for long is closed, and the market's clock goes on
    let reading = held.iter_mut().chain([&mut fresh]).map(|client| client.read_for(Duration::from_secs(2)));
    futures_util::future::try_join_all(reading).await?;
    for client in held {
        gaps += client.gaps;
        let same = topics.iter().all(|topic| {
            let (mine, new) = (&client.held[*topic], &fresh.held[*topic]);
            // a fresh client has the newest alerts only
            let alerts = new.alerts.iter().all(|(id, alert)| mine.alerts.get(id) == Some(alert));
            mine.offset == new.offset && mine.data == new.data && alerts
        });
        diverged += usize::from(!same);
    }
    let alerts = fresh.held["alerts"].offset;
    say(&format!("  {diverged} of {clients} differ after {} cuts; {alerts} alerts, {gaps} gaps", clients * each));
    let reference = format!(
        "0; {clients} clients that watch {} topics and are cut {} times in four ways while the market moves ({alerts} revisions of alerts), against a fresh snapshot",
        topics.len(),
        clients * each
    );
    report.add("ws_state_divergence", diverged as f64, "", &reference)
}
