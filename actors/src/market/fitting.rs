//! Fits of figures are worked out beside the market, so that no input waits for one: behind an hour a fit falls due, and
//! the next hour is the first that needs it. On threads of low priority, those of one operator at a time.

use super::together::{DoneFit, DueFit};
use store::Background;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

/// Fits wait for lookups, and not the other way round.
static BACKGROUND: Background = Background::new("fits of figures", 10);
/// Whoever has it works: operators that began together are due together.
static TURN: Semaphore = Semaphore::const_new(1);

/// Fits under way.
pub(super) struct Fitting {
    /// What it is if nothing comes of them.
    failed: Vec<DoneFit>,
    done: JoinHandle<Option<Vec<DoneFit>>>,
}

impl Fitting {
    /// Begins those that are due; none where none is.
    pub fn begin(due: Vec<DueFit>) -> Option<Self> {
        if due.is_empty() {
            return None;
        }
        let failed = due.iter().map(DueFit::failed).collect();
        Some(Self { failed, done: tokio::spawn(work_out(due)) })
    }

    /// Waits for them.
    pub async fn done(self) -> Vec<DoneFit> {
        let Self { failed, done } = self;
        done.await.ok().flatten().unwrap_or(failed)
    }
}

async fn work_out(due: Vec<DueFit>) -> Option<Vec<DoneFit>> {
    let _turn = TURN.acquire().await.ok()?;
    let (reply, done) = oneshot::channel();
    let thread = std::thread::Builder::new().name("figures".to_owned());
    let spawned = thread.spawn(move || {
        BACKGROUND.enter();
        // nobody waits for it where the engine stops
        let _ = reply.send(due.iter().map(DueFit::run).collect());
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "no thread for fits of figures");
        return None;
    }
    done.await.ok()
}
