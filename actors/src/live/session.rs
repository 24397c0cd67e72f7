//! Sessions as `web` holds them: made from a handle, read from an outbox.

use super::{CloseReason, LiveMsg, Outbox, Outlet, Rights, SessionNo};
use crate::missed::Missed;
use models::ids::KeyId;
use models::live::ClientFrame;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// How many sessions there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveLimits {
    /// All together. They share the server's connections with lookups, which go first.
    pub sessions: usize,
    /// Of one key: one operator must not take the sockets of all.
    pub sessions_per_key: usize,
}

impl Default for LiveLimits {
    fn default() -> Self {
        Self { sessions: 12_000, sessions_per_key: 64 }
    }
}

/// What `web` holds: makes sessions.
#[derive(Clone)]
pub struct LiveHandle(Arc<Shared>);

struct Shared {
    hub: crate::kernel::Handle<LiveMsg>,
    missed: Missed,
    limits: LiveLimits,
    open: Mutex<Open>,
}

/// Who watches, by key, so that a dead key ends its sessions.
#[derive(Default)]
struct Open {
    next: SessionNo,
    count: usize,
    by_key: HashMap<KeyId, HashMap<SessionNo, Arc<Outbox>>>,
}

/// Why there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LiveUnavailable {
    /// The hub's queue is full, or it starts.
    #[error("the live hub takes no session now")]
    Busy,
    /// There are [`LiveLimits::sessions`].
    #[error("the live hub has as many sessions as it takes")]
    Full,
    /// The key has [`LiveLimits::sessions_per_key`].
    #[error("the key has as many sessions as it may")]
    KeyFull,
}

impl LiveHandle {
    /// Wraps the hub's queue.
    pub fn new(hub: crate::kernel::Handle<LiveMsg>, missed: Missed, limits: LiveLimits) -> Self {
        Self(Arc::new(Shared { hub, missed, limits, open: Mutex::default() }))
    }

    /// To be raised where the hub did not hear of an alert.
    pub(crate) fn missed(&self) -> &Missed {
        &self.0.missed
    }

    /// The hub's queue.
    pub fn hub(&self) -> &crate::kernel::Handle<LiveMsg> {
        &self.0.hub
    }

    /// Sessions that are open.
    pub fn sessions(&self) -> usize {
        self.0.open.lock().count
    }

    /// Starts a session; the welcome is its first frame.
    ///
    /// # Errors
    /// There are as many as may be, or the hub does not hear.
    pub fn connect(&self, rights: Rights, key: Option<KeyId>) -> Result<LiveSession, LiveUnavailable> {
        let shared = &self.0;
        // held to the end: two handshakes must not both take the last place
        let mut open = shared.open.lock();
        if open.count >= shared.limits.sessions {
            return Err(LiveUnavailable::Full);
        }
        let of_key = key.and_then(|key| open.by_key.get(&key)).map_or(0, HashMap::len);
        if of_key >= shared.limits.sessions_per_key {
            return Err(LiveUnavailable::KeyFull);
        }
        let no = open.next;
        let outbox = Arc::new(Outbox::default());
        let outlet = Outlet { no, rights, outbox: Arc::clone(&outbox) };
        shared.hub.try_send(LiveMsg::Join(outlet)).map_err(|_| LiveUnavailable::Busy)?;
        open.next += 1;
        open.count += 1;
        if let Some(key) = key {
            open.by_key.entry(key).or_default().insert(no, Arc::clone(&outbox));
        }
        Ok(LiveSession { no, key, live: self.clone(), outbox })
    }

    /// Ends every session made with a key.
    pub fn revoke(&self, key: KeyId) {
        let sessions = self.0.open.lock().by_key.get(&key).cloned().unwrap_or_default();
        sessions.values().for_each(|outbox| outbox.close(CloseReason::Forbidden));
    }
}

/// One watcher: frames to write, a way to say something. Dropping it leaves every topic.
pub struct LiveSession {
    no: SessionNo,
    key: Option<KeyId>,
    live: LiveHandle,
    outbox: Arc<Outbox>,
}

impl LiveSession {
    /// Its number in this process.
    pub fn no(&self) -> SessionNo {
        self.no
    }

    /// Its frames.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Passes on what the client said; false where the hub is too busy to hear it.
    pub fn receive(&self, frame: ClientFrame) -> bool {
        self.live.hub().try_send(LiveMsg::Client(self.no, frame)).is_ok()
    }
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        // the hub's next frame finds it so, should it not hear of it now
        self.outbox.close(CloseReason::Gone);
        let mut open = self.live.0.open.lock();
        open.count -= 1;
        if let Some(key) = self.key
            && let Some(sessions) = open.by_key.get_mut(&key)
        {
            sessions.remove(&self.no);
            if sessions.is_empty() {
                open.by_key.remove(&key);
            }
        }
        drop(open);
        if self.live.hub().try_send(LiveMsg::Leave(self.no)).is_err() {
            tracing::debug!("live session left while the hub was busy");
        }
    }
}
