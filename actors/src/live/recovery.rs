//! Steps of alert topics that are only in the store, for a client that was away for long.
//!
//! What is in the hub's ring never comes this way, so the reconnection of everybody at once reads nothing. Reads are few at
//! a time, bounded, and counted in `mlinzi_live_store_reads_total`.

use super::frames::{AlertView, Frame};
use super::{LiveMsg, LiveSource, SessionNo};
use crate::kernel::Handle;
use models::alert::AlertRevision;
use models::ids::OperatorNo;
use models::jurisdiction::JurisdictionNo;
use models::live::Topic;
use prometheus::IntCounter;
use std::sync::{Arc, OnceLock};
use store::{Store, StoreError};
use tokio::sync::Semaphore;

/// Steps that are read back for one client; who misses more gets a gap and a snapshot.
pub const RECOVERED_STEPS_MAX: u64 = 10_000;
/// Clients for whom steps are read back at the same time; the next ones get a gap and a snapshot.
pub const RECOVERIES_MAX: usize = 8;
/// Revisions read with one statement.
const PAGE: u32 = 1_000;
/// Revisions looked at for one client: those of other jurisdictions are among them.
const LOOKED_AT_MAX: u64 = 4 * RECOVERED_STEPS_MAX;

/// Steps that a session misses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whose.
    pub session: SessionNo,
    /// In which jurisdiction.
    pub jurisdiction: JurisdictionNo,
    /// Of which topic.
    pub topic: Topic,
    /// The operator, where the topic is one's.
    pub operator: Option<OperatorNo>,
    /// The last step that it has.
    pub after: u64,
    /// How many are missing.
    pub count: u64,
    /// They are in the store before this place.
    pub below: i64,
}

/// Reads steps back.
pub trait AlertLog: Send + Sync {
    /// Begins to; the hub hears [`LiveMsg::Recovered`]. False where as many as may are under way.
    fn recover(&self, wanted: Wanted) -> bool;
}

/// Reads from the store.
pub struct StoredAlerts {
    /// Where.
    pub store: Store,
    /// Who belongs where.
    pub source: Arc<dyn LiveSource>,
    /// Who wants to know; set once it exists.
    pub hub: Arc<OnceLock<Handle<LiveMsg>>>,
    /// Statements, since the start.
    pub reads: IntCounter,
    /// One permit a client.
    pub permits: Arc<Semaphore>,
}

impl AlertLog for Arc<StoredAlerts> {
    fn recover(&self, wanted: Wanted) -> bool {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return false };
        let log = Self::clone(self);
        tokio::spawn(async move {
            let frames = match log.read(&wanted).await {
                Ok(revisions) => Some(encode(&wanted, &revisions)),
                Err(error) => {
                    tracing::warn!(%error, "missed alerts are not read back: their client gets the whole state");
                    None
                }
            };
            drop(permit);
            // a hub that is gone has closed the session; its client comes again
            if let Some(hub) = log.hub.get() {
                let _ = hub.send(LiveMsg::Recovered(wanted, frames)).await;
            }
        });
        true
    }
}

fn encode(wanted: &Wanted, revisions: &[AlertRevision]) -> Vec<Frame> {
    let offsets = wanted.after + 1..;
    offsets.zip(revisions).map(|(offset, r)| Frame::delta(wanted.topic, offset, AlertView::of(r, wanted.topic))).collect()
}

impl StoredAlerts {
    /// The missing revisions, oldest first; fewer where they are not to be had.
    async fn read(&self, wanted: &Wanted) -> Result<Vec<AlertRevision>, StoreError> {
        match wanted.operator {
            Some(operator) => self.read_operator(operator, wanted).await,
            None => self.read_all(wanted).await,
        }
    }

    /// An operator's revisions carry the topic's own offsets.
    async fn read_operator(&self, operator: OperatorNo, wanted: &Wanted) -> Result<Vec<AlertRevision>, StoreError> {
        let mut found: Vec<AlertRevision> = Vec::new();
        while (found.len() as u64) < wanted.count {
            let after = wanted.after + found.len() as u64;
            let page = (wanted.count - found.len() as u64).min(u64::from(PAGE)) as u32;
            self.reads.inc();
            let revisions = self.store.operator_alerts(operator, after, page).await?;
            if revisions.is_empty() {
                break;
            }
            found.extend(revisions);
        }
        Ok(found)
    }

    /// A jurisdiction's are counted back from where the ring begins.
    async fn read_all(&self, wanted: &Wanted) -> Result<Vec<AlertRevision>, StoreError> {
        let (mut found, mut below, mut looked_at): (Vec<AlertRevision>, i64, u64) = (Vec::new(), wanted.below, 0);
        while (found.len() as u64) < wanted.count && looked_at < LOOKED_AT_MAX {
            self.reads.inc();
            let page = self.store.recent_alerts(below - 1, PAGE).await?;
            let Some(oldest) = page.first() else { break };
            (below, looked_at) = (oldest.offset, looked_at + page.len() as u64);
            let here = |r: &AlertRevision| {
                self.source.operator_of(r.operator_no).is_some_and(|(_, j)| j == wanted.jurisdiction)
            };
            found.extend(page.into_iter().rev().filter(here));
        }
        found.truncate(wanted.count as usize);
        found.reverse();
        Ok(found)
    }
}
