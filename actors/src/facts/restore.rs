//! What earlier processes answered lately, read back from stored evidence, the newest first.
//!
//! Until a span is read, nobody can say who was asked about in it, and no rule accuses anybody for it. An hour is read,
//! then the one before, then the two before those, up to a day or [`RECORDS_MAX`] lookups, whatever comes first.

use crate::evidence::{EvidenceLog, Months};
use engine::checks::GENERATION;
use models::alert::Window;
use models::event::Event;
use models::evidence::{Block, ChainId};
use models::ts::{HOUR, SECOND};
use std::time::Duration;
use store::Store;

/// Lookups that are read back at most; a span that was begun is read to its end.
const RECORDS_MAX: u64 = 1 << 20;
/// Blocks of one chain in one question.
const BLOCKS_AT_ONCE: u32 = 64;
/// Pause between two questions: a start has better things to do.
const PAUSE: Duration = Duration::from_millis(10);
/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Reads back who was asked about before this process took records, until it is done.
pub async fn restore(store: &Store, evidence: &EvidenceLog) {
    let Some(opened) = evidence.checks().map(|checks| checks.lock().complete_from()) else { return };
    while let Err(error) = gaps(store, evidence).await {
        tracing::warn!(error, "the gaps in the evidence are read later");
        tokio::time::sleep(RETRY).await;
    }
    let (mut to, mut length, mut records) = (opened, HOUR, 0);
    while opened.0 - to.0 < GENERATION && records < RECORDS_MAX {
        let from = to.plus(-length).max(opened.plus(-GENERATION));
        match span(store, evidence, Window { start: from, end: to }).await {
            Ok(read) => {
                records += read;
                if let Some(checks) = evidence.checks() {
                    checks.lock().set_complete_from(from);
                }
                (to, length) = (from, opened.0 - from.0);
            }
            Err(error) => {
                tracing::warn!(error, %from, %to, "who was asked about is read later");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
    tracing::debug!(records, from = %to, "who was asked about is known");
}

async fn gaps(store: &Store, evidence: &EvidenceLog) -> Result<(), String> {
    for event in store.journal_events("evidence_gap").await.map_err(|error| error.to_string())? {
        let (Event::EvidenceGap { from, to, .. }, Some(checks)) = (event, evidence.checks()) else { continue };
        checks.lock().note_gap(Window { start: from, end: to });
    }
    Ok(())
}

/// Reads the blocks that reach into a span; gives how many lookups they hold. What is read twice counts once.
async fn span(store: &Store, evidence: &EvidenceLog, span: Window) -> Result<u64, String> {
    let say = |error: store::StoreError| error.to_string();
    let mut records = 0;
    // a block's last answer may be recorded a moment after the first of the next one
    let reach = (span.start.plus(-SECOND), span.end.plus(SECOND));
    for (chain, first, last) in store.evidence_chains(reach.0, reach.1).await.map_err(say)? {
        let mut next = first;
        while next <= last {
            let blocks = store.evidence_blocks(chain, next, BLOCKS_AT_ONCE).await.map_err(say)?;
            let Some(newest) = blocks.last() else { break };
            next = newest.head.no + 1;
            for block in blocks.iter().filter(|block| block.head.no <= last) {
                note(evidence, block, &evidence.months(), chain)?;
                records += u64::from(block.head.records);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(records)
}

fn note(evidence: &EvidenceLog, block: &Block, months: &Months, chain: ChainId) -> Result<(), String> {
    let unreadable = |error| format!("block {} of {chain:?}: {error}", block.head.no);
    let rows = block.rows().map_err(unreadable)?;
    let Some(people) = crate::evidence::people_of(block, months).map_err(unreadable)? else { return Ok(()) };
    let Some(checks) = evidence.checks() else { return Ok(()) };
    let mut checks = checks.lock();
    let strongest = people.subjects.iter().enumerate();
    let further = people.further.iter().map(|further| (usize::from(further.slot), &further.subject));
    for (slot, subject) in strongest.chain(further) {
        if let Some(row) = rows.get(slot) {
            crate::evidence::note(&mut checks, row, subject);
        }
    }
    Ok(())
}
