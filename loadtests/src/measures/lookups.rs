//! A complete lookup against a handler that does nothing, on the same server in the same run.

use crate::Effort;
use crate::driver::{Outcome, Pace, load};
use crate::node::{Node, scratch};
use crate::report::{Report, median, say};
use crate::traffic::{lookup, registration};
use crate::wire::Head;
use std::rc::Rc;
use std::time::Duration;

const CONNECTIONS: usize = 64;

/// Throughput of lookups ÷ throughput of the bare handler; half of the lookups are hits.
pub async fn against_bare(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let people: u64 = effort.pick(50_000, 1_000_000, 1_000_000);
    let folder = scratch()?.join(format!("people-{people}"));
    let node = match Node::kept(&folder, &[]).await {
        Ok(node) => node,
        Err(error) => {
            say(&format!("  the kept register does not fit this version and is made anew: {error:#}"));
            std::fs::remove_dir_all(&folder)?;
            Node::kept(&folder, &[]).await?
        }
    };
    fill(&node, people).await?;

    let (ask, bare) = (Head::json("/api/v1/operators/lookup", &node.staff), Head::json("/bench/bare", &node.staff));
    let (pairs, time) = (effort.pick(7, 9, 15), Duration::from_secs(effort.pick(1, 3, 5)));
    // a stride that no cache foresees, every second person unknown
    let body = move |n: u64, body: &mut Vec<u8>| {
        let who = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % people;
        lookup(if n.is_multiple_of(2) { who } else { 40_000_000 + who }, "login", body);
    };
    let (mut ratios, mut p99_ratios, mut p99, mut cpu_ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for pair in 0..=pairs {
        let (floor, floor_cpu) = timed(&node, &bare, time, body).await?;
        let (full, full_cpu) = timed(&node, &ask, time, body).await?;
        anyhow::ensure!(full.bad + floor.bad == 0, "{} requests were refused", full.bad + floor.bad);
        if pair == 0 {
            continue;
        }
        say(&format!(
            "  lookup {:.0}/s p99 {:.2} ms {full_cpu:.1} µs, bare {:.0}/s p99 {:.2} ms {floor_cpu:.1} µs",
            full.per_second(),
            full.ms(99.0),
            floor.per_second(),
            floor.ms(99.0)
        ));
        ratios.push(full.per_second() / floor.per_second());
        p99_ratios.push(full.ms(99.0) / floor.ms(99.0));
        p99.push(full.ms(99.0));
        cpu_ratios.push(floor_cpu / full_cpu);
    }
    say(&format!(
        "  p99 of lookups {:.2} ms, {:.2} of the bare handler's; processor time of the bare handler ÷ lookup {:.2}",
        median(&p99),
        median(&p99_ratios),
        median(&cpu_ratios)
    ));
    let reference = format!(
        "≥ 0.75; {people} people, half of the lookups hits, {CONNECTIONS} connections, loader on the same machine, median of {pairs} interleaved pairs"
    );
    report.add("lookup_vs_bare_quick", median(&ratios), "ratio", &reference)
}

async fn timed(
    node: &Node,
    head: &Head,
    time: Duration,
    body: impl Fn(u64, &mut Vec<u8>) + 'static,
) -> anyhow::Result<(Outcome, f64)> {
    let cpu = node.cpu()?;
    let out = load(node.address, head, CONNECTIONS, Pace::For(time), Rc::new(body)).await?;
    let cpu = (node.cpu()? - cpu).as_secs_f64() * 1e6 / (out.good + out.bad) as f64;
    Ok((out, cpu))
}

/// Registers people up to `people`; those of an earlier run are there already.
async fn fill(node: &Node, people: u64) -> anyhow::Result<()> {
    let stats = node.get("/api/v1/nser/stats").await?;
    let known = stats["people"].as_u64().unwrap_or(0);
    if known >= people {
        return Ok(());
    }
    say(&format!("  registers {} people, once", people - known));
    let head = Head::json("/api/v1/nser/register", &node.staff);
    let body = Rc::new(move |n: u64, body: &mut Vec<u8>| registration(n, body));
    let out = load(node.address, &head, 512, Pace::Closed { count: people }, body).await?;
    anyhow::ensure!(out.bad == 0, "{} registrations were refused: {}", out.bad, node.log());
    Ok(())
}
