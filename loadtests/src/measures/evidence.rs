//! Does every answer leave evidence? Asked of the store itself, after `kill -9`; and what a slow database costs lookups.

use crate::Effort;
use crate::driver::{Pace, load, together};
use crate::node::{Node, StoreKind};
use crate::postgres::psql;
use crate::report::{Report, median, say};
use crate::traffic::{lookup, registration};
use crate::wire::{Connection, Head};
use models::event::Event;
use models::evidence::{ChainId, Place};
use models::ids::LookupId;
use models::ts::Ts;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::{OpenOptions, Store};

/// Connections that ask.
const ASKERS: usize = 16;
/// A gap that begins earlier before the kill is no gap but lost evidence: the database is healthy.
const GAP_MAX_MICROS: i64 = 100_000;

fn now() -> Ts {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ts(since.as_micros() as i64)
}

/// Answered lookups that are neither in the evidence nor inside a journaled gap.
pub async fn missing(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let rounds = effort.pick(4, 20, 100);
    let (mut missing, mut answered, mut in_gaps, mut longest) = (0, 0, 0, 0);
    for kind in [StoreKind::Embedded, StoreKind::Postgres] {
        let mut node = Node::fresh(kind, &[]).await?;
        let people = Rc::new(registration);
        let head = Head::json("/api/v1/nser/register", &node.staff);
        load(node.address, &head, 16, Pace::Closed { count: 1_000 }, people).await?;
        for round in 0..rounds / 2 {
            let (told, killed_at) = until_killed(&mut node, round).await?;
            // the next process journals the gap
            node.start().await?;
            let found = judge(&node.store, &told, killed_at).await?;
            if found.missing > 0 {
                say(&format!("  {}: round {round}: {} missing", kind.name(), found.missing));
            }
            missing += found.missing;
            in_gaps += found.in_gap;
            answered += told.len() as u64;
            longest = longest.max(found.gap_before_kill);
        }
    }
    let reference = format!(
        "to reach 0; {rounds} rounds of kill -9 on both stores, {answered} answers, {in_gaps} of them inside a journaled gap, the longest of which began {} ms before the kill",
        longest / 1_000
    );
    report.add("evidence_missing", missing as f64, "count", &reference)
}

/// Ids of everything that was answered before the kill, with the moment each answer was there.
async fn until_killed(node: &mut Node, round: u64) -> anyhow::Result<(Vec<(LookupId, Ts)>, Ts)> {
    let told = Rc::new(RefCell::new(Vec::new()));
    let running = Rc::new(Cell::new(true));
    let head = Head::json("/api/v1/operators/lookup", &node.staff);
    let askers: Vec<_> = (0..ASKERS as u64)
        .map(|n| {
            let (told, running, head, address) = (Rc::clone(&told), Rc::clone(&running), head.clone(), node.address);
            tokio::task::spawn_local(async move {
                let Ok(mut connection) = Connection::open(address).await else { return };
                let mut body = Vec::new();
                let mut who = n;
                while running.get() {
                    body.clear();
                    lookup(who, "login", &mut body);
                    who += ASKERS as u64;
                    let Ok(answer) = connection.send(&head, &body).await else { return };
                    let id = answer.json().ok().and_then(|a| a["lookup_id"].as_str()?.parse::<LookupId>().ok());
                    let Some(id) = id else { return };
                    told.borrow_mut().push((id, now()));
                }
            })
        })
        .collect();
    // at another moment of the sealing and storing each time
    tokio::time::sleep(Duration::from_micros(300_000 + round * 3_371 % 60_000)).await;
    let killed_at = now();
    node.kill()?;
    running.set(false);
    together(askers.into_iter().map(|asker| async move {
        let _ = asker.await;
    }))
    .await;
    let told = told.borrow().clone();
    anyhow::ensure!(!told.is_empty(), "nothing was answered: {}", node.log());
    Ok((told, killed_at))
}

#[derive(Default)]
struct Found {
    missing: u64,
    in_gap: u64,
    gap_before_kill: i64,
}

async fn judge(url: &str, told: &[(LookupId, Ts)], killed_at: Ts) -> anyhow::Result<Found> {
    let store = Store::open(url, &OpenOptions { create: false, ..OpenOptions::default() }).await?;
    let mut stored: HashMap<(ChainId, u64), u32> = HashMap::new();
    for (chain, first, last) in store.evidence_chains(Ts(0), Ts(i64::MAX)).await? {
        let mut next = first;
        while next <= last {
            let blocks = store.evidence_blocks(chain, next, 256).await?;
            let Some(end) = blocks.last().map(|b| b.head.no) else { break };
            stored.extend(blocks.iter().map(|b| ((chain, b.head.no), b.head.records)));
            next = end + 1;
        }
    }
    let gaps = store.journal_events("evidence_gap").await?;
    store.close().await;
    let mut found = Found::default();
    for (id, at) in told {
        let place = Place::of(*id);
        if stored.get(&(place.chain, place.block)).is_some_and(|records| u32::from(place.slot) < *records) {
            continue;
        }
        let gap = gaps.iter().find_map(|gap| match gap {
            Event::EvidenceGap { boot, from, to, .. } if *boot == place.chain.boot => Some((*from, *to)),
            _ => None,
        });
        match gap.filter(|(from, to)| from <= at && at <= to) {
            Some((from, _)) if killed_at.0 - from.0 <= GAP_MAX_MICROS => {
                found.in_gap += 1;
                found.gap_before_kill = found.gap_before_kill.max(killed_at.0 - from.0);
            }
            _ => found.missing += 1,
        }
    }
    Ok(found)
}

/// Lookups while each commit of the database takes a second ÷ lookups while it does not.
pub async fn sync_cost(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let node = Node::fresh(StoreKind::Postgres, &[]).await?;
    let register = Head::json("/api/v1/nser/register", &node.staff);
    load(node.address, &register, 64, Pace::Closed { count: 10_000 }, Rc::new(registration)).await?;
    // whoever commits waits for it, as for a disk that takes its time
    psql(
        &node.store,
        "CREATE FUNCTION slow_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$",
    )?;
    let slow = |on: bool| -> anyhow::Result<()> {
        for table in ["journal_head", "evidence_boots"] {
            let sql = if on {
                format!(
                    "CREATE CONSTRAINT TRIGGER slow_disk AFTER INSERT OR UPDATE ON {table} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow_disk()"
                )
            } else {
                format!("DROP TRIGGER slow_disk ON {table}")
            };
            psql(&node.store, &sql)?;
        }
        Ok(())
    };
    let head = Head::json("/api/v1/operators/lookup", &node.staff);
    let (pairs, time) = (effort.pick(2, 5, 7), Duration::from_secs(effort.pick(2, 5, 8)));
    let mut ratios = Vec::new();
    for _ in 0..pairs {
        let ask = || Rc::new(|n: u64, body: &mut Vec<u8>| lookup(n % 20_000, "login", body));
        let calm = load(node.address, &head, 64, Pace::For(time), ask()).await?;
        slow(true)?;
        // writes are under way all the time
        let (address, writes) = (node.address, register.clone());
        let writer = tokio::task::spawn_local(async move {
            let body = Rc::new(|n: u64, body: &mut Vec<u8>| registration(1_000_000 + n, body));
            load(address, &writes, 8, Pace::For(time), body).await
        });
        let hard = load(node.address, &head, 64, Pace::For(time), ask()).await?;
        let _ = writer.await?;
        slow(false)?;
        anyhow::ensure!(calm.bad + hard.bad == 0, "{} lookups were refused", calm.bad + hard.bad);
        say(&format!("  calm {:.0}/s, a second a commit {:.0}/s", calm.per_second(), hard.per_second()));
        ratios.push(hard.per_second() / calm.per_second());
        // what was held back is stored before the next calm
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    let reference = format!(
        "≥ 0.95; PostgreSQL, each commit of registrations and evidence held back for 1 s, registrations under way, median of {pairs} pairs"
    );
    report.add("sync_cost", median(&ratios), "ratio", &reference)
}
