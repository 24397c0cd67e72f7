//! From the last byte of a push to the screen: what the market did, and what is wrong with it.

use crate::Effort;
use crate::crowd::metric;
use crate::disk::Probe;
use crate::driver::histogram;
use crate::node::{Feed, Node, StoreKind};
use crate::report::{Report, median, say};
use crate::socket::Screen;
use crate::traffic::{Batch, Chance, Player, Stream, now, phone};
use crate::wire::{Connection, Head};
use hdrhistogram::Histogram;
use models::ts::{MINUTE, SECOND};
use serde::Deserialize;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Operators with ordinary play.
const STEADY: usize = 100;
/// Operators whose stakes jump now and then.
const JUMPY: usize = 60;
/// Records of a push.
const BATCH: usize = 500;
/// Records a second over all operators.
const RATE: f64 = 20_000.0;
/// Time between two jumps: each operator jumps about once a minute.
const JUMPS: Duration = Duration::from_millis(1_010);
/// The same where it goes on for long: what jumps in most of its minutes is what that operator is like.
const JUMPS_LONG: Duration = Duration::from_millis(5_050);
/// A delay that is worth a line.
const LONG: Duration = Duration::from_millis(400);
/// How often a push that was turned away is sent again,
const AGAIN: u32 = 60;
/// and after how long.
const SOON: Duration = Duration::from_secs(1);
/// Time between two looks at the memory.
const LOOK: Duration = Duration::from_secs(10);
/// From when memory is held against what it was.
const SETTLED: Duration = Duration::from_secs(300);
/// Looks that a figure of memory is the median of.
const LOOKS: usize = 3;
/// Minutes of play an operator needs before anything is said about it.
const HISTORY_MINUTES: usize = 20;
/// Records of that play.
pub const HISTORY_RECORDS: usize = HISTORY_MINUTES * 25;

/// What waits to be seen, and what was.
struct Waiting {
    /// By operator: (records pushed so far, when their last byte was out).
    records: HashMap<String, VecDeque<(u64, Instant)>>,
    /// By operator: when the last byte of the jump was out.
    jumps: HashMap<String, Instant>,
    record_us: Histogram<u64>,
    alert_us: Histogram<u64>,
}

/// The part of a frame that is looked at.
#[derive(Deserialize)]
struct Frame {
    #[serde(default)]
    topic: String,
    #[serde(default)]
    data: Data,
}

#[derive(Default, Deserialize)]
struct Data {
    #[serde(default)]
    operator: String,
    #[serde(default)]
    currencies: Vec<Totals>,
    subject: Option<Subject>,
}

#[derive(Deserialize)]
struct Totals {
    // the national topic has currencies of another shape
    totals: Option<Count>,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

#[derive(Deserialize)]
struct Subject {
    operator: String,
}

/// Takes a delay in; of a long one the time of day is said, which tells of what the engine or the machine was at.
fn note(times: &mut Histogram<u64>, what: &str, delay: Duration) {
    times.saturating_record(delay.as_micros() as u64);
    if delay > LONG {
        say(&format!("  {what} came after {} ms at {}", delay.as_millis(), now()));
    }
}

impl Waiting {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { records: HashMap::new(), jumps: HashMap::new(), record_us: histogram()?, alert_us: histogram()? })
    }

    fn see(&mut self, at: Instant, frame: &Frame) {
        if let Some(subject) = &frame.data.subject {
            if let Some(sent) = self.jumps.remove(&subject.operator) {
                note(&mut self.alert_us, "an alert", at.duration_since(sent));
            }
            return;
        }
        if !frame.topic.starts_with("operator:") {
            return;
        }
        let count = frame.data.currencies.first().and_then(|c| c.totals.as_ref()).map_or(0, |t| t.count);
        let Some(waiting) = self.records.get_mut(&frame.data.operator) else { return };
        while let Some((_, sent)) = waiting.pop_front_if(|(records, _)| *records <= count) {
            note(&mut self.record_us, "records", at.duration_since(sent));
        }
    }
}

/// What was seen of a market under load.
struct Watched {
    waiting: Rc<RefCell<Waiting>>,
    /// Records that were pushed.
    pushed: u64,
    /// Operators' jumps.
    jumps: u64,
    /// Resident memory less what the ids of records take, bytes, one look after the other.
    memory: Vec<f64>,
    /// What a sync of the same disk took meanwhile, microseconds.
    disk_us: Histogram<u64>,
}

/// Both latencies, under the same load.
pub async fn latency(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    for (kind, suffix) in [(StoreKind::Embedded, "_embedded"), (StoreKind::Postgres, "")] {
        let time = Duration::from_secs(effort.pick(20, 240, 900));
        latencies(&watched(kind, time, JUMPS).await?, kind, suffix, time, report)?;
    }
    Ok(())
}

/// Half an hour of it, for what memory does.
pub async fn soak(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let time = effort.pick(SETTLED / 5, SETTLED * 6, SETTLED * 12);
    let from = SETTLED.min(time / 6);
    let kind = StoreKind::Postgres;
    let watched = watched(kind, time, JUMPS_LONG).await?;
    let memory = &watched.memory;
    let first = ((from.as_secs() / LOOK.as_secs()) as usize).max(1);
    anyhow::ensure!(memory.len() >= first + LOOKS, "only {} looks", memory.len());
    let (early, late) = (median(&memory[first - 1..first - 1 + LOOKS]), median(&memory[memory.len() - LOOKS..]));
    let shown: Vec<String> = memory.iter().step_by(12).map(|bytes| format!("{:.0}", bytes / 1e6)).collect();
    say(&format!("  MB every two minutes: {}", shown.join(" ")));
    let reference = format!(
        "≤ 1.05; {}, {:.0} records/s from {STEADY} operators, {} jumps at {JUMPY} others; {:.0} MB after {} s, {:.0} MB after {} s",
        kind.name(),
        watched.pushed as f64 / time.as_secs_f64(),
        watched.jumps,
        early / 1e6,
        from.as_secs(),
        late / 1e6,
        time.as_secs()
    );
    report.add("soak_rss_growth", late / early, "", &reference)
}

/// A market under load for so long, and what a screen shows of it.
async fn watched(kind: StoreKind, time: Duration, gap: Duration) -> anyhow::Result<Watched> {
    let node = Node::fresh(kind, &[]).await?;
    let mut chance = Chance(7);
    let players: Vec<Player> = (0..10_000).map(|n| Player::Phone(phone(n))).collect();
    let mut steady = Vec::new();
    for n in 0..STEADY {
        let feed = node.feed(&format!("steady-{n}"), "wall", 7).await?;
        steady.push((format!("steady-{n}"), feed, Stream::new(&mut chance, &players, 2, BATCH, 10_000)));
    }
    let mut jumpy = Vec::new();
    for n in 0..JUMPY {
        let feed = node.feed(&format!("jumpy-{n}"), "wall", 7).await?;
        history(&node, &feed, &mut chance, &players).await?;
        jumpy.push((format!("jumpy-{n}"), feed));
    }
    let jump = Batch::new(&mut chance, &players, BATCH, 2_000_000);

    let waiting = Rc::new(RefCell::new(Waiting::new()?));
    let mut topics = vec!["alerts".to_owned(), "national".to_owned()];
    topics.extend(steady.iter().map(|(_, feed, _)| format!("operator:{}", feed.operator)));
    let mut screen = Screen::open(&node, &topics).await?;
    let seen = Rc::clone(&waiting);
    let watching = tokio::task::spawn_local(async move {
        loop {
            match screen.next::<Frame>().await {
                Ok((at, frame)) => seen.borrow_mut().see(at, &frame),
                Err(error) => break say(&format!("  the screen went dark: {error:#}")),
            }
        }
    });

    let probe = Probe::start()?;
    let stop = Instant::now() + time;
    let pushed = Rc::new(Cell::new(0));
    let ordinary = ordinary(&node, steady, &waiting, stop, &pushed);
    let jumping = jumps(&node, jumpy, jump, &waiting, (gap, stop));
    let ((), jumps, memory) = tokio::try_join!(ordinary, jumping, memory(&node, stop))?;
    // the last ones have to come, too
    tokio::time::sleep(Duration::from_secs(2)).await;
    watching.abort();
    Ok(Watched { waiting, pushed: pushed.get(), jumps, memory, disk_us: probe.stop()? })
}

/// Resident memory less what the ids of records take, until the end.
async fn memory(node: &Node, stop: Instant) -> anyhow::Result<Vec<f64>> {
    let mut looks = Vec::new();
    while Instant::now() + LOOK <= stop {
        tokio::time::sleep(LOOK).await;
        looks.push(node.resident()? as f64 - metric(node, "mlinzi_dedupe_bytes").await?);
    }
    Ok(looks)
}

/// p99 of both, once everything was seen.
fn latencies(
    watched: &Watched,
    kind: StoreKind,
    suffix: &str,
    time: Duration,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (waiting, jumps) = (watched.waiting.borrow(), watched.jumps);
    let unseen: usize = waiting.records.values().map(VecDeque::len).sum();
    anyhow::ensure!(unseen == 0, "{unseen} pushes never reached the screen");
    anyhow::ensure!(waiting.jumps.is_empty(), "{} of {jumps} jumps raised no alert", waiting.jumps.len());
    anyhow::ensure!(waiting.alert_us.len() == jumps, "{} alerts for {jumps} jumps", waiting.alert_us.len());
    let ms = |h: &Histogram<u64>, p: f64| h.value_at_percentile(p) as f64 / 1_000.0;
    for (name, h, goal) in [("record", &waiting.record_us, 350), ("alert", &waiting.alert_us, 100)] {
        say(&format!(
            "  {} {name}: {} seen, p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            kind.name(),
            h.len(),
            ms(h, 50.0),
            ms(h, 99.0),
            ms(h, 100.0)
        ));
        let reference = format!(
            "≤ {goal}; {}, {:.0} records/s in pushes of {BATCH} from {STEADY} operators, {jumps} jumps at {JUMPY} others, {} s, from the last byte of the request; a sync of 4 KiB on the same disk meanwhile: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            kind.name(),
            watched.pushed as f64 / time.as_secs_f64(),
            time.as_secs(),
            ms(&watched.disk_us, 50.0),
            ms(&watched.disk_us, 99.0),
            ms(&watched.disk_us, 100.0)
        );
        report.add(&format!("{name}_to_socket_p99_ms{suffix}"), ms(h, 99.0), "ms", &reference)?;
    }
    Ok(())
}

/// Twenty ordinary minutes in one push: the wall clock closes every minute behind it.
pub async fn history(node: &Node, feed: &Feed, chance: &mut Chance, players: &[Player]) -> anyhow::Result<()> {
    let records = HISTORY_RECORDS;
    let batch = Batch::new(chance, players, records, 10_000);
    let (span, mut body) = (HISTORY_MINUTES as i64 * MINUTE, Vec::new());
    batch.stamp(1 << 40, now().floor_to(MINUTE).plus(-span), span / records as i64, &mut body);
    let answer = node.connect().await?.must(&feed.push(), &body).await?;
    anyhow::ensure!(answer["accepted"] == records, "{answer}");
    Ok(())
}

/// Ordinary play, due at its rate whatever the answers do.
async fn ordinary(
    node: &Node,
    steady: Vec<(String, Feed, Stream)>,
    waiting: &Rc<RefCell<Waiting>>,
    stop: Instant,
    pushed: &Rc<Cell<u64>>,
) -> anyhow::Result<()> {
    let gap = Duration::from_secs_f64(BATCH as f64 / RATE * STEADY as f64);
    let start = Instant::now();
    let lanes = steady.into_iter().enumerate().map(|(n, (code, feed, mut stream))| {
        let (waiting, pushed, address) = (Rc::clone(waiting), Rc::clone(pushed), node.address);
        async move {
            let mut connection = Connection::open(address).await?;
            let (head, mut body, mut due) = (feed.push(), Vec::new(), start + gap.mul_f64(n as f64 / STEADY as f64));
            while due < stop {
                tokio::time::sleep_until(due.into()).await;
                stream.next(now().plus(-SECOND), SECOND, &mut body);
                // a push that an earlier answer holds up counts from when it was due
                let late = due.elapsed();
                connection.write(&head, &body).await?;
                let sent = Instant::now().checked_sub(late).unwrap_or(due);
                waiting.borrow_mut().records.entry(code.clone()).or_default().push_back((stream.written(), sent));
                accepted(&mut connection, &head, &body).await?;
                pushed.set(pushed.get() + BATCH as u64);
                due += gap;
            }
            Ok(())
        }
    });
    crate::driver::together(lanes.collect::<Vec<_>>()).await.into_iter().collect()
}

/// Waits until what was written is taken: what a busy disk turned away is sent again, as a source would do it.
async fn accepted(connection: &mut Connection, head: &Head, body: &[u8]) -> anyhow::Result<()> {
    let mut left = AGAIN;
    loop {
        let answer = connection.read().await?;
        match answer.status {
            200 => return Ok(()),
            503 if left > 0 => {
                left -= 1;
                say(&format!("  sent again: {}", String::from_utf8_lossy(answer.body)));
            }
            _ => anyhow::bail!("{}", String::from_utf8_lossy(answer.body)),
        }
        tokio::time::sleep(SOON).await;
        connection.write(head, body).await?;
    }
}

/// One operator after the other jumps, each at most once in a minute; gives how many did.
async fn jumps(
    node: &Node,
    jumpy: Vec<(String, Feed)>,
    jump: Batch,
    waiting: &Rc<RefCell<Waiting>>,
    (gap, stop): (Duration, Instant),
) -> anyhow::Result<u64> {
    let mut connection = node.connect().await?;
    let (mut body, mut jumps, mut due) = (Vec::new(), 0u64, Instant::now() + Duration::from_secs(2));
    for (code, feed) in jumpy.iter().cycle() {
        if due >= stop {
            break;
        }
        tokio::time::sleep_until(due.into()).await;
        // one that an earlier answer holds up counts from when it was due
        let late = due.elapsed();
        jump.stamp((1 << 41) + jumps * BATCH as u64, now().plus(-SECOND / 2), 100, &mut body);
        connection.write(&feed.push(), &body).await?;
        let sent = Instant::now().checked_sub(late).unwrap_or(due);
        let unseen = waiting.borrow_mut().jumps.insert(code.clone(), sent);
        anyhow::ensure!(unseen.is_none(), "the jump of {code} a minute ago raised no alert");
        accepted(&mut connection, &feed.push(), &body).await?;
        jumps += 1;
        due += gap;
    }
    Ok(jumps)
}
