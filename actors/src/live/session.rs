//! Sessions as `web` holds them: made from a handle, read from an outbox.

use super::{CloseReason, Closing, LiveMsg, OUTBOX_FRAMES_MAX, Outlet, Rights, SessionNo};
use crate::missed::Missed;
use models::live::ClientFrame;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Who watches with which key, so that a dead key ends its sessions.
type SessionsByKey = HashMap<models::ids::KeyId, Vec<(SessionNo, Arc<Closing>)>>;

/// What `web` holds: makes sessions.
#[derive(Clone)]
pub struct LiveHandle {
    hub: crate::kernel::Handle<LiveMsg>,
    missed: Missed,
    next: Arc<AtomicU64>,
    by_key: Arc<Mutex<SessionsByKey>>,
    sessions: Arc<AtomicU64>,
}

/// Sessions of one key at most: one operator must not take the sockets of all.
pub const SESSIONS_PER_KEY_MAX: usize = 64;
/// Sessions at most. They share the server's connections with lookups, which go first.
pub const SESSIONS_MAX: u64 = 4_096;

/// Why there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LiveUnavailable {
    /// The hub's queue is full, or it starts.
    #[error("the live hub takes no session now")]
    Busy,
    /// There are [`SESSIONS_MAX`].
    #[error("the live hub has as many sessions as it takes")]
    Full,
    /// The key has [`SESSIONS_PER_KEY_MAX`].
    #[error("the key has as many sessions as it may")]
    KeyFull,
}

impl LiveHandle {
    /// Wraps the hub's queue; `sessions` is the gauge the hub keeps.
    pub fn new(hub: crate::kernel::Handle<LiveMsg>, missed: Missed, sessions: Arc<AtomicU64>) -> Self {
        Self { hub, missed, next: Arc::new(AtomicU64::new(1)), by_key: Arc::default(), sessions }
    }

    /// To be raised where the hub did not hear of an alert.
    pub(crate) fn missed(&self) -> &Missed {
        &self.missed
    }

    /// The hub's queue.
    pub fn hub(&self) -> &crate::kernel::Handle<LiveMsg> {
        &self.hub
    }

    /// Sessions at the hub.
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Starts a session with an empty outbox; the welcome is its first frame.
    pub fn connect(&self, rights: Rights, key: Option<models::ids::KeyId>) -> Result<LiveSession, LiveUnavailable> {
        if self.sessions() >= SESSIONS_MAX {
            return Err(LiveUnavailable::Full);
        }
        // held to the end: two handshakes must not both take the last place
        let mut by_key = self.by_key.lock();
        if let Some(list) = key.and_then(|key| by_key.get_mut(&key)) {
            list.retain(|(_, closing)| Arc::strong_count(closing) > 1);
            if list.len() >= SESSIONS_PER_KEY_MAX {
                return Err(LiveUnavailable::KeyFull);
            }
        }
        let no = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, outbox) = mpsc::channel(OUTBOX_FRAMES_MAX);
        let closing = Arc::new(Closing::default());
        let outlet = Outlet { no, rights, frames: sender, closing: Arc::clone(&closing) };
        self.hub.try_send(LiveMsg::Join(outlet)).map_err(|_| LiveUnavailable::Busy)?;
        if let Some(key) = key {
            by_key.entry(key).or_default().push((no, Arc::clone(&closing)));
        }
        Ok(LiveSession { no, hub: self.hub.clone(), outbox, closing })
    }

    /// Ends every session made with a key.
    pub fn revoke(&self, key: models::ids::KeyId) {
        for (_, closing) in self.by_key.lock().remove(&key).unwrap_or_default() {
            closing.close(CloseReason::Forbidden);
        }
    }
}

/// One watcher: frames to write, a way to say something. Dropping it leaves every topic.
pub struct LiveSession {
    no: SessionNo,
    hub: crate::kernel::Handle<LiveMsg>,
    /// Ready JSON text frames.
    pub outbox: mpsc::Receiver<Arc<str>>,
    closing: Arc<Closing>,
}

impl LiveSession {
    /// Passes on what the client said; false where the hub is too busy to hear it.
    pub fn receive(&self, frame: ClientFrame) -> bool {
        self.hub.try_send(LiveMsg::Client(self.no, frame)).is_ok()
    }

    /// The hub's reason to end the session, if it has one.
    pub fn closed(&self) -> Option<CloseReason> {
        self.closing.reason()
    }

    /// Waits for that reason.
    pub async fn wait_closed(&self) -> CloseReason {
        loop {
            if let Some(reason) = self.closing.reason() {
                return reason;
            }
            self.closing.notify.notified().await;
        }
    }

    /// The next frame or the reason to stop, whichever comes first.
    pub async fn next(&mut self) -> Result<Arc<str>, CloseReason> {
        if let Some(reason) = self.closing.reason() {
            return Err(reason);
        }
        tokio::select! {
            biased;
            () = self.closing.notify.notified() => Err(self.closing.reason().unwrap_or(CloseReason::Restart)),
            frame = self.outbox.recv() => frame.ok_or(self.closing.reason().unwrap_or(CloseReason::Restart)),
        }
    }
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        if self.hub.try_send(LiveMsg::Leave(self.no)).is_err() {
            // the hub sees the closed outbox at its next frame
            tracing::debug!("live session left while the hub was busy");
        }
    }
}
