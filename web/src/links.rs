//! How a browser signs in until people can: a one-time link becomes a session cookie.
//!
//! Both are random ids that mean something only in this process's memory; only their SHA-256 is kept, so that a
//! dump of the memory map opens nothing. Both tables are bounded, the oldest entry leaves first.

use std::collections::VecDeque;

use actors::live::Rights;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use models::ids::KeyId;
use models::ts::Ts;
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

/// Name of the session's cookie.
pub const COOKIE: &str = "mlinzi_session";
/// How long a session lasts, microseconds: 12 hours.
pub const SESSION_MICROS: i64 = 12 * models::ts::HOUR;
/// Sessions held at once.
pub const SESSIONS_MAX: usize = 1_000;
/// Links not yet used, held at once.
pub const LINKS_MAX: usize = 100;
/// Of them, and of sessions, those of one key: nobody pushes the others' out.
pub const OF_ONE_KEY_MAX: usize = 20;

type Digest = [u8; 32];

struct Entry {
    id: Digest,
    rights: Rights,
    key: Option<KeyId>,
    until: Ts,
}

#[derive(Default)]
struct Table(VecDeque<Entry>);

impl Table {
    fn add(&mut self, entry: Entry, max: usize) {
        let own = |e: &Entry| e.key.is_some() && e.key == entry.key;
        if self.0.iter().filter(|e| own(e)).count() >= OF_ONE_KEY_MAX
            && let Some(oldest) = self.0.iter().position(own)
        {
            self.0.remove(oldest);
        }
        while self.0.len() >= max {
            self.0.pop_front();
        }
        self.0.push_back(entry);
    }

    fn position(&self, id: &Digest, now: Ts) -> Option<usize> {
        self.0.iter().position(|e| bool::from(e.id.ct_eq(id)) && now < e.until)
    }
}

/// A session of the page: its rights, and until when.
#[derive(Clone, Copy, Debug)]
pub struct PageSession {
    /// What it may watch.
    pub rights: Rights,
    /// The key that asked for its link, with which it ends; none where the process itself made the link.
    pub key: Option<KeyId>,
    /// First instant at which it is over.
    pub until: Ts,
}

/// Links and sessions of this process.
#[derive(Default)]
pub struct Links {
    links: Mutex<Table>,
    sessions: Mutex<Table>,
}

fn fresh() -> String {
    let bytes: [u8; 32] = rand::random();
    URL_SAFE_NO_PAD.encode(bytes)
}

fn digest_of(text: &str) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    out
}

impl Links {
    /// Makes a link's token, good for one use until `until`.
    pub fn make(&self, rights: Rights, key: Option<KeyId>, until: Ts) -> String {
        let token = fresh();
        self.links.lock().add(Entry { id: digest_of(&token), rights, key, until }, LINKS_MAX);
        token
    }

    /// Uses up a link: gives the id of a new session, or nothing where it is unknown, used or too old.
    pub fn redeem(&self, token: &str, now: Ts) -> Option<String> {
        let mut links = self.links.lock();
        let at = links.position(&digest_of(token), now)?;
        let Entry { rights, key, .. } = links.0.remove(at)?;
        drop(links);
        let id = fresh();
        let until = now.plus(SESSION_MICROS);
        self.sessions.lock().add(Entry { id: digest_of(&id), rights, key, until }, SESSIONS_MAX);
        Some(id)
    }

    /// The session of a cookie.
    pub fn session(&self, id: &str, now: Ts) -> Option<PageSession> {
        let sessions = self.sessions.lock();
        let entry = &sessions.0[sessions.position(&digest_of(id), now)?];
        Some(PageSession { rights: entry.rights, key: entry.key, until: entry.until })
    }

    /// Ends a session.
    pub fn end(&self, id: &str) {
        let id = digest_of(id);
        self.sessions.lock().0.retain(|e| e.id != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::jurisdiction::JurisdictionNo;

    const RIGHTS: Rights = Rights { market: true, system: false, operator: None, jurisdiction: JurisdictionNo(0) };

    #[test]
    fn a_link_works_once_and_in_time() {
        let links = Links::default();
        let token = links.make(RIGHTS, None, Ts(100));
        assert!(links.redeem("other", Ts(1)).is_none());
        assert!(links.redeem(&token, Ts(100)).is_none(), "too late");
        let session = links.redeem(&token, Ts(99)).unwrap();
        assert!(links.redeem(&token, Ts(99)).is_none(), "used");
        assert_eq!(links.session(&session, Ts(99)).map(|s| s.rights), Some(RIGHTS));
        assert!(links.session(&token, Ts(99)).is_none());
        assert!(links.session(&session, Ts(99 + SESSION_MICROS)).is_none());
        links.end(&session);
        assert!(links.session(&session, Ts(99)).is_none());
    }

    #[test]
    fn one_key_pushes_out_only_its_own() {
        let links = Links::default();
        let others = links.make(RIGHTS, Some(KeyId(1)), Ts(100));
        let own: Vec<String> = (0..3 * LINKS_MAX).map(|_| links.make(RIGHTS, Some(KeyId(2)), Ts(100))).collect();
        assert!(links.redeem(&others, Ts(1)).is_some());
        assert!(links.redeem(&own[0], Ts(1)).is_none());
        assert!(links.redeem(&own[3 * LINKS_MAX - 1], Ts(1)).is_some());
    }

    #[test]
    fn the_oldest_leaves_a_full_table() {
        let links = Links::default();
        let tokens: Vec<String> = (0..=LINKS_MAX).map(|_| links.make(RIGHTS, None, Ts(100))).collect();
        assert!(links.redeem(&tokens[0], Ts(1)).is_none());
        assert!(links.redeem(&tokens[1], Ts(1)).is_some());
        assert!(links.redeem(&tokens[LINKS_MAX], Ts(1)).is_some());
    }
}
