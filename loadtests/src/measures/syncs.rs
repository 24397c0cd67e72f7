//! Does an acknowledgement ever leave before the sync that covers it? Asked of the operating system and of PostgreSQL.
//!
//! Embedded: the calls of the process are traced. An acknowledged id (`exc_…`, `bat_…`) is searched in what was written
//! to the write-ahead log; between its first write and the send of the answer a whole `fdatasync` of that file must lie.
//! PostgreSQL: right after each answer the server's flush position is read; at the end, the log itself says where the
//! commit record of the row's transaction ends, which must lie before. The server's own settings must promise it, too.

use crate::Effort;
use crate::driver::{Pace, load};
use crate::node::{Node, StoreKind, scratch, text};
use crate::postgres::{Session, psql};
use crate::report::{Report, say};
use crate::traffic::registration;
use crate::wire::Head;
use anyhow::Context;
use serde_json::json;
use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

const REGISTER: &str = "/api/v1/nser/register";
/// Characters of an id behind its prefix.
const ID_CHARS: usize = 26;

/// Both stores.
pub async fn unsynced(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let embedded = embedded(effort.pick(300, 3_000, 20_000)).await?;
    let postgres = postgres(effort.pick(100, 1_000, 5_000)).await?;
    say(&format!("  embedded: {} acknowledgements, {} unsynced", embedded.acks, embedded.unsynced));
    say(&format!("  postgres: {} acknowledgements, {} unsynced", postgres.acks, postgres.unsynced));
    let reference = format!(
        "to reach 0; {} acknowledgements in the traced calls of the embedded engine, {} held against PostgreSQL's flush position",
        embedded.acks, postgres.acks
    );
    report.add("unsynced_acks", (embedded.unsynced + postgres.unsynced) as f64, "count", &reference)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    acks: u64,
    unsynced: u64,
}

async fn embedded(registrations: u64) -> anyhow::Result<Found> {
    let node = Node::fresh(StoreKind::Embedded, &[]).await?;
    let feed = node.feed("traced", "event", 60).await?;
    let pid = node.pid().context("it runs")?.to_string();
    let trace = tempfile::Builder::new().suffix(".strace").tempfile_in(scratch()?)?;
    let file = trace.path().display().to_string();
    let calls = "trace=pwrite64,fdatasync,fsync,write,writev,sendto,sendmsg";
    let mut tracer = Command::new("strace")
        .args(["-f", "-y", "-s", "16384", "-e", calls, "-o", &file, "-p", &pid])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("strace is needed: apt-get install strace")?;
    // attached once its first line is there: the engine's tick writes several times a second
    let attached = async {
        while std::fs::metadata(trace.path()).is_ok_and(|m| m.len() == 0) {
            let _ = node.post("/api/v1/feeds", &json!({})).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), attached).await.context("strace does not attach")?;

    let head = Head::json(REGISTER, &node.staff);
    let people = load(node.address, &head, 16, Pace::Closed { count: registrations }, Rc::new(registration));
    let body = Rc::new(|n: u64, body: &mut Vec<u8>| {
        let line = |i: u64| {
            json!({"record_id": format!("{n}-{i}"), "kind": "stake", "occurred_at": "2026-01-01T00:00:00Z", "money": {"amount_minor": 100, "currency": "KES"}}).to_string()
        };
        body.extend_from_slice((0..20).map(line).collect::<Vec<_>>().join("\n").as_bytes());
    });
    let push = feed.push();
    let pushes = load(node.address, &push, 1, Pace::Closed { count: registrations / 20 }, body);
    let (people, pushes) = tokio::join!(people, pushes);
    anyhow::ensure!(people?.bad + pushes?.bad == 0, "requests were refused: {}", node.log());
    Command::new("kill").args(["-INT", &tracer.id().to_string()]).status()?;
    tracer.wait()?;
    drop(node);
    let found = judge(&String::from_utf8_lossy(&std::fs::read(trace.path())?));
    anyhow::ensure!(found.acks >= registrations, "only {} acknowledgements in the trace", found.acks);
    Ok(found)
}

/// Reads a trace (`strace -f -y`). The order of its lines is the order of the calls' beginnings; a call that another
/// thread's line interrupts ends at its `resumed` line.
fn judge(trace: &str) -> Found {
    let mut written: HashMap<String, usize> = HashMap::new();
    let mut begun: HashMap<&str, usize> = HashMap::new();
    // (begin, end) of whole syncs of the log, in order of their ends
    let mut syncs: Vec<(usize, usize)> = Vec::new();
    let mut found = Found::default();
    for (at, line) in trace.lines().enumerate() {
        let (thread, call) = line.split_once(' ').map_or(("", line), |(pid, call)| (pid, call.trim_start()));
        let log = call.contains("-wal>");
        if (call.starts_with("fdatasync(") || call.starts_with("fsync(")) && log {
            if call.contains("unfinished") {
                begun.insert(thread, at);
            } else if call.ends_with("= 0") {
                syncs.push((at, at));
            }
        } else if call.starts_with("<... fdatasync resumed>") || call.starts_with("<... fsync resumed>") {
            if let Some(begin) = begun.remove(thread)
                && call.ends_with("= 0")
            {
                syncs.push((begin, at));
            }
        } else if call.starts_with("pwrite64(") && log {
            for id in ids(call) {
                written.entry(id.to_owned()).or_insert(at);
            }
        } else if call.contains("HTTP/1.1 20") {
            for id in ids(call) {
                found.acks += 1;
                let covered = written
                    .get(id)
                    .is_some_and(|wrote| syncs.iter().rev().any(|(begin, end)| begin > wrote && *end < at));
                found.unsynced += u64::from(!covered);
            }
        }
    }
    found
}

/// Ids of exclusions and batches in a text.
fn ids(text: &str) -> impl Iterator<Item = &str> {
    let starts = text.match_indices("exc_").chain(text.match_indices("bat_")).map(|(i, _)| i);
    starts.filter_map(|i| {
        let id = text.get(i..i + 4 + ID_CHARS)?;
        id[4..].bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()).then_some(id)
    })
}

async fn postgres(tries: u64) -> anyhow::Result<Found> {
    let node = Node::fresh(StoreKind::Postgres, &[]).await?;
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        let value = psql(&node.store, &format!("SHOW {setting}"))?;
        anyhow::ensure!(value == "on", "{setting} is {value}");
    }
    psql(&node.store, "CREATE EXTENSION pg_walinspect")?;
    let start = psql(&node.store, "SELECT pg_current_wal_insert_lsn()")?;
    let mut session = Session::open(&node.store)?;
    let head = Head::json(REGISTER, &node.staff);

    // others register at the same time, so that groups form
    let crowd = Rc::new(|n: u64, body: &mut Vec<u8>| registration(10_000_000 + n, body));
    let (address, crowd_head) = (node.address, head.clone());
    let others = tokio::task::spawn_local(async move {
        load(address, &crowd_head, 16, Pace::Closed { count: tries * 4 }, crowd).await
    });
    let mut connection = node.connect().await?;
    let mut flushed = Vec::new();
    let mut body = Vec::new();
    for n in 0..tries {
        body.clear();
        registration(n, &mut body);
        let answer = connection.must(&head, &body).await?;
        let lsn = session.ask("SELECT pg_current_wal_flush_lsn()")?;
        flushed.push((text(&answer, "exclusion_id")?, lsn));
    }
    others.await??;
    drop(session);

    let values: Vec<String> = flushed.iter().map(|(id, lsn)| format!("('{id}','{lsn}'::pg_lsn)")).collect();
    let sql = format!(
        "WITH acked(id, flushed) AS (VALUES {}), committed AS (SELECT xid, end_lsn FROM pg_get_wal_records_info_till_end_of_wal('{start}') WHERE resource_manager = 'Transaction' AND record_type LIKE 'COMMIT%') SELECT count(*), count(*) FILTER (WHERE end_lsn <= flushed) FROM acked JOIN exclusions e ON e.id = acked.id JOIN committed ON committed.xid = e.xmin",
        values.join(",")
    );
    let counts = psql(&node.store, &sql)?;
    let (acks, covered) = counts.split_once('|').context("two counts")?;
    let (acks, covered): (u64, u64) = (acks.parse()?, covered.parse()?);
    anyhow::ensure!(acks == tries, "the log tells of {acks} of {tries} commits");
    Ok(Found { acks, unsynced: acks - covered })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "exc_00000000000000000000000001";

    fn write() -> String {
        format!("11 pwrite64(9</d/m.sqlite-wal>, \"\\0\\1{ID}\\2\", 4096, 32) = 4096")
    }

    fn ack() -> String {
        format!(
            "12 writev(15<socket:[7]>, [{{iov_base=\"HTTP/1.1 201 Created\\r\\n\\r\\n{{\\\"exclusion_id\\\":\\\"{ID}\\\"\", iov_len=9}}], 1) = 9"
        )
    }

    #[test]
    fn what_counts_as_synced() {
        let sync = "11 fdatasync(9</d/m.sqlite-wal>) = 0".to_owned();
        let begin = "11 fdatasync(9</d/m.sqlite-wal> <unfinished ...>".to_owned();
        let end = "11 <... fdatasync resumed>) = 0".to_owned();
        let failed = "11 fdatasync(9</d/m.sqlite-wal>) = -1 EIO (Input/output error)".to_owned();
        let other = "11 fdatasync(8</d/m.sqlite>) = 0".to_owned();
        let table = [
            ("written, synced, answered", vec![write(), sync.clone(), ack()], 0),
            ("the sync began in time and ended in time", vec![write(), begin.clone(), end.clone(), ack()], 0),
            ("answered before the sync", vec![write(), ack(), sync.clone()], 1),
            ("answered while the sync ran", vec![write(), begin, ack(), end], 1),
            ("synced before it was written", vec![sync.clone(), write(), ack()], 1),
            ("the sync failed", vec![write(), failed, ack()], 1),
            ("another file was synced", vec![write(), other, ack()], 1),
            ("never written", vec![sync, ack()], 1),
        ];
        for (name, lines, unsynced) in table {
            assert_eq!(judge(&lines.join("\n")), Found { acks: 1, unsynced }, "{name}");
        }
    }
}
