//! Registrations: seen at once by whoever asks next, durable in thousands a second.

use crate::Effort;
use crate::driver::{Pace, load, together};
use crate::node::{Node, StoreKind};
use crate::report::{Report, median, say};
use crate::traffic::{lookup, registration};
use crate::wire::{Connection, Head};
use std::cell::Cell;
use std::rc::Rc;

const REGISTER: &str = "/api/v1/nser/register";
const LOOKUP: &str = "/api/v1/operators/lookup";

/// Every acknowledged registration is asked for at once, over another connection.
pub async fn read_your_writes(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let tries: u64 = effort.pick(10_000, 100_000, 100_000);
    let mut violations = 0;
    for kind in StoreKind::ALL {
        let node = Node::fresh(kind, &[]).await?;
        let (next, address) = (Rc::new(Cell::new(0u64)), node.address);
        let lanes = (0..64).map(|_| {
            let (next, register, ask) =
                (Rc::clone(&next), Head::json(REGISTER, &node.staff), Head::json(LOOKUP, &node.staff));
            async move {
                let (mut writer, mut reader) = (Connection::open(address).await?, Connection::open(address).await?);
                let (mut missed, mut body) = (0u64, Vec::new());
                while next.get() < tries {
                    let n = next.replace(next.get() + 1);
                    body.clear();
                    registration(n, &mut body);
                    writer.must(&register, &body).await?;
                    body.clear();
                    lookup(n, "registration", &mut body);
                    missed += u64::from(reader.must(&ask, &body).await?["decision"] != "block");
                }
                Ok::<_, anyhow::Error>(missed)
            }
        });
        let missed: anyhow::Result<Vec<u64>> = together(lanes.collect::<Vec<_>>()).await.into_iter().collect();
        let missed: u64 = missed?.into_iter().sum();
        say(&format!("  {}: {missed} of {tries} missed", kind.name()));
        violations += missed;
    }
    let reference = format!("to reach 0; {tries} registrations on each store, asked for over another connection");
    report.add("read_your_write_violations", violations as f64, "count", &reference)
}

/// Durable registrations a second, and their latency at a rate that does not care.
pub async fn throughput(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let node = Node::fresh(StoreKind::Postgres, &[]).await?;
    let head = Head::json(REGISTER, &node.staff);
    let (count, rounds) = (effort.pick(10_000u64, 40_000, 100_000), effort.pick(2u64, 5, 5));
    let mut rates = Vec::new();
    for round in 0..=rounds {
        let requests = Rc::new(move |n: u64, body: &mut Vec<u8>| registration(round * count + n, body));
        let out = load(node.address, &head, 512, Pace::Closed { count }, requests).await?;
        anyhow::ensure!(out.bad == 0, "{} registrations were refused: {}", out.bad, node.log());
        say(&format!("  {:.0}/s, p99 {:.1} ms", out.per_second(), out.ms(99.0)));
        // the first round warms up
        if round > 0 {
            rates.push(out.per_second());
        }
    }
    let reference = format!(
        "≥ 5000; PostgreSQL, 512 connections, median of {rounds} rounds of {count}, each answered after its commit"
    );
    report.add("register_per_s", median(&rates), "1/s", &reference)?;

    let count = effort.pick(5_000, 30_000, 150_000);
    let requests = Rc::new(move |n: u64, body: &mut Vec<u8>| registration(10_000_000 + n, body));
    let out = load(node.address, &head, 128, Pace::Open { count, rate: 500.0 }, requests).await?;
    anyhow::ensure!(out.bad == 0, "{} registrations were refused", out.bad);
    say(&format!("  at 500/s: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms", out.ms(50.0), out.ms(99.0), out.ms(99.9)));
    let reference = format!("≤ 10; PostgreSQL, open loop at 500/s, {count} registrations, from the due instant");
    report.add("register_p99_ms", out.ms(99.0), "ms", &reference)
}
