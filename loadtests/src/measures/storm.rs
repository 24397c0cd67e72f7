//! Everything at once, and too much of everything: what single lookups notice.

use super::big::{Callers, asked, batch_body, people, register, step_aside};
use crate::Effort;
use crate::driver::{Pace, histogram, load_as, together};
use crate::faulty::BLOCKED;
use crate::node::Node;
use crate::report::{Report, median, say};
use crate::traffic::{now, phone, registration};
use crate::wire::{Connection, Head, Target};
use hdrhistogram::Histogram;
use serde_json::json;
use std::cell::Cell;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Record ids at which the operator's actor panics.
const POISON: &str = "poison-";
/// Lookups a second.
const RATE: f64 = 5_000.0;
/// A calm p99 below this counts as this, milliseconds.
const CALM_MIN_MS: f64 = 5.0;
/// Offered lookups a second in the overload.
const OFFERED: f64 = 80_000.0;
/// Connections that offer them.
const OFFERERS: usize = 2_000;

/// Lookups' p99 while batches run as fast as they can, an operator's actor crashes again and again, the index is copied
/// every second and the register's actor stands still for ten seconds ÷ the same without.
pub async fn storm(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    step_aside()?;
    let (people, folder) = (people(effort), register(effort)?);
    let node = Node::stormy(&folder, POISON, &[("MLINZI__ENGINE__SNAPSHOT_SECONDS", "1")]).await?;
    let callers = Callers::of(&node).await?;
    let rounds = effort.pick(1, 3, 5);
    let time = BLOCKED + Duration::from_secs(4);
    let (mut ratios, mut tails) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let calm = lookups(&node, &callers, people, time).await?;
        let running = Rc::new(Cell::new(true));
        let others = [
            tokio::task::spawn_local(batches(node.target(), callers.batch.clone(), people, Rc::clone(&running))),
            tokio::task::spawn_local(crashes(feed(&node, round).await?, node.target(), Rc::clone(&running))),
            tokio::task::spawn_local(writes(node.target(), node.staff.clone(), Rc::clone(&running))),
        ];
        let stormy = lookups(&node, &callers, people, time).await?;
        running.set(false);
        let mut done = Vec::new();
        for other in others {
            done.push(other.await??);
        }
        say(&format!(
            "  p99 {stormy:.2} ms, calm {calm:.2} ms; {} batches, {} pushes that crash, {} registrations",
            done[0], done[1], done[2]
        ));
        ratios.push(stormy / calm.max(CALM_MIN_MS));
        tails.push(stormy);
    }
    let reference = format!(
        "≤ 2; p99 {:.2} ms ÷ calm or {CALM_MIN_MS} ms; {RATE} lookups/s, {people} people, node on one processor, two batches of 10,000 at a time, five pushes a second that crash their operator, a snapshot every second, the register blocked for 10 s of {} s, median of {rounds} rounds",
        median(&tails),
        time.as_secs()
    );
    report.add("storm_p99_ratio", median(&ratios), "ratio", &reference)
}

async fn lookups(node: &Node, callers: &Callers, people: u64, time: Duration) -> anyhow::Result<f64> {
    let pace = Pace::Open { count: (RATE * time.as_secs_f64()) as u64, rate: RATE };
    let out = load_as(&node.target(), &callers.lookup, callers.lookup.len(), pace, Rc::new(asked(people))).await?;
    anyhow::ensure!(out.bad == 0, "{} of {} lookups were refused: {}", out.bad, out.good + out.bad, node.log());
    Ok(out.ms(99.0))
}

async fn feed(node: &Node, round: usize) -> anyhow::Result<Head> {
    let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    Ok(node.feed(&format!("s{run}-{round}"), "wall", 7).await?.push())
}

/// Batches as fast as they are answered; one that is turned away is sent again at once.
async fn batches(target: Target, heads: Vec<Head>, people: u64, running: Rc<Cell<bool>>) -> anyhow::Result<u64> {
    let lanes = heads.into_iter().take(2).enumerate().map(|(lane, head)| {
        let (target, running) = (target.clone(), Rc::clone(&running));
        async move {
            let mut connection = Connection::open(target).await?;
            let mut body = Vec::new();
            batch_body(lane as u64, people, &mut body);
            let mut answered = 0;
            while running.get() {
                answered += u64::from(connection.send(&head, &body).await?.status == 200);
            }
            Ok::<_, anyhow::Error>(answered)
        }
    });
    together(lanes).await.into_iter().sum()
}

/// Five pushes a second with one record each that panics in the operator's state.
async fn crashes(push: Head, target: Target, running: Rc<Cell<bool>>) -> anyhow::Result<u64> {
    let mut connection = Connection::open(target).await?;
    let mut pushes = 0;
    while running.get() {
        let record = json!({"record_id": format!("{POISON}{pushes}"), "kind": "stake", "occurred_at": now().to_string(),
            "status": "successful", "money": {"amount_minor": 100, "currency": "KES"}});
        connection.send(&push, record.to_string().as_bytes()).await?;
        pushes += 1;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(pushes)
}

/// A hundred registrations a second, so that there is something to copy; the first after two seconds blocks the register.
/// Those that come while it stands still may be told 503.
async fn writes(target: Target, staff: String, running: Rc<Cell<bool>>) -> anyhow::Result<u64> {
    let head = Head::json("/api/v1/nser/register", &staff);
    let start = Instant::now();
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    let blocked = Rc::new(Cell::new(false));
    let lanes = (0..100).map(|lane: u64| {
        let (head, target, running, blocked) = (head.clone(), target.clone(), Rc::clone(&running), Rc::clone(&blocked));
        async move {
            let mut connection = Connection::open(target).await?;
            let (mut n, mut stored, mut body) = (lane, 0, Vec::new());
            while running.get() {
                body.clear();
                let who = 50_000_000 + (seed * 1_000 + n) % 20_000_000;
                if start.elapsed() > Duration::from_secs(2) && !blocked.replace(true) {
                    let pause =
                        json!({"phone": phone(who), "period": "24_hours", "reason_class": "self", "channel": "web"});
                    body.extend_from_slice(pause.to_string().as_bytes());
                } else {
                    registration(who, &mut body);
                }
                stored += u64::from(connection.send(&head, &body).await?.status < 300);
                n += 100;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Ok::<_, anyhow::Error>(stored)
        }
    });
    together(lanes).await.into_iter().sum()
}

/// What came of offering more than can be answered.
struct Offered {
    admitted: u64,
    refused: u64,
    /// Fell due while the connection waited for its answer before.
    unsent: u64,
    latency_us: Histogram<u64>,
}

/// Four times as many lookups as the node can answer, while something else takes half of its processor.
pub async fn overload(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    step_aside()?;
    let (people, folder) = (people(effort), register(effort)?);
    let node = Node::pinned(&folder, &crate::node::sqlite(&folder), &[]).await?;
    let callers = Callers::of(&node).await?;
    let seconds = effort.pick(10, 60, 600);
    let _spinner = Spinner::start()?;
    let alone = Pace::For(Duration::from_secs(5));
    let left = load_as(&node.target(), &callers.lookup, 100, alone, Rc::new(asked(people))).await?.per_second();
    say(&format!("  the spinner leaves the node {left:.0} lookups/s"));
    // once warm: what it holds for two thousand connections is no growth
    offer(&node, &callers.lookup, people, Duration::from_secs(5)).await?;
    let before = node.resident()? as f64;
    let out = offer(&node, &callers.lookup, people, Duration::from_secs(seconds)).await?;
    let growth = (node.resident()? as f64 / before - 1.0) * 100.0;
    let each = |n: u64| n as f64 / seconds as f64;
    let reference = format!(
        "{OFFERED} lookups/s offered by {OFFERERS} connections for {seconds} s while a spinner on the node's processor leaves it {left:.0}/s: {:.0}/s answered, {:.0}/s refused, {:.0}/s not sent because the connection still waited; {people} people",
        each(out.admitted),
        each(out.refused),
        each(out.unsent)
    );
    let p99 = out.latency_us.value_at_percentile(99.0) as f64 / 1_000.0;
    report.add("overload_4x_p99_ms", p99, "ms", &format!("≤ 20; of answered lookups, from sending; {reference}"))?;
    report.add("overload_4x_memory_growth_percent", growth, "%", &format!("≤ 5; {reference}"))
}

async fn offer(node: &Node, heads: &[Head], people: u64, time: Duration) -> anyhow::Result<Offered> {
    let body = Rc::new(asked(people));
    let start = Instant::now() + Duration::from_millis(500);
    let lanes = (0..OFFERERS).map(|lane| {
        let (target, head, body) = (node.target(), heads[lane % heads.len()].clone(), Rc::clone(&body));
        async move {
            let mut connection = Connection::open(target).await?;
            let mut out = Offered { admitted: 0, refused: 0, unsent: 0, latency_us: histogram()? };
            let (mut turn, mut sent) = (0u64, Vec::new());
            let due = |turn: u64| Duration::from_secs_f64((turn * OFFERERS as u64 + lane as u64) as f64 / OFFERED);
            while due(turn) < time {
                tokio::time::sleep_until((start + due(turn)).into()).await;
                sent.clear();
                body(turn * OFFERERS as u64 + lane as u64, &mut sent);
                let from = Instant::now();
                match connection.send(&head, &sent).await?.status {
                    200 => {
                        out.admitted += 1;
                        out.latency_us.saturating_record(from.elapsed().as_micros() as u64);
                    }
                    429 | 503 => out.refused += 1,
                    status => anyhow::bail!("status {status}"),
                }
                turn += 1;
                while start + due(turn) < Instant::now() {
                    out.unsent += 1;
                    turn += 1;
                }
            }
            Ok::<_, anyhow::Error>(out)
        }
    });
    let mut all = Offered { admitted: 0, refused: 0, unsent: 0, latency_us: histogram()? };
    for part in together(lanes).await {
        let part = part?;
        all.admitted += part.admitted;
        all.refused += part.refused;
        all.unsent += part.unsent;
        all.latency_us.add(&part.latency_us)?;
    }
    Ok(all)
}

/// A process that takes what it can of the node's processor.
struct Spinner(Child);

impl Spinner {
    fn start() -> anyhow::Result<Self> {
        let mut command = Command::new("taskset");
        command.args(["-c", "0", "sh", "-c", "while :; do :; done"]);
        Ok(Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?))
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
