//! What a new digest key hides: who was asked about under the old one is not known under the new one.

use models::alert::Window;
use models::key_version::{KeyPurpose, KeyState, KeyVersion};
use models::ts::{DAY, MINUTE, Ts};
use parking_lot::Mutex;
use std::sync::Arc;
use store::Store;

/// How long what was seen of the keys is good enough.
const SEEN_FOR: i64 = MINUTE;
/// How long after a rotation nobody is accused: sessions and campaigns begin with a check that lies a day back at most.
const SETTLE: i64 = DAY;

/// When the keys were looked at, and what they hid.
type Seen = (Ts, Option<Window>);

/// Looks at the versions of the digest key, seldom; cheap to clone.
#[derive(Clone)]
pub struct Rotations {
    store: Store,
    seen: Arc<Mutex<Option<Seen>>>,
}

impl Rotations {
    /// Of a store's keys.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, seen: Arc::default() }
    }

    /// The span in which nobody can say whether somebody was asked about, because the digests of people changed.
    ///
    /// # Errors
    /// The store is away.
    pub async fn hidden(&self, now: Ts) -> Result<Option<Window>, String> {
        if let Some((at, hidden)) = *self.seen.lock()
            && (0..SEEN_FOR).contains(&(now.0 - at.0))
        {
            return Ok(hidden);
        }
        let states = self.store.key_states().await.map_err(|error| error.to_string())?;
        let hidden = hidden(&states.versions, now);
        *self.seen.lock() = Some((now, hidden));
        Ok(hidden)
    }
}

fn hidden(versions: &[KeyVersion], now: Ts) -> Option<Window> {
    let digests = || versions.iter().filter(|key| key.purpose == KeyPurpose::Digest);
    // what a store was begun with replaced nothing
    let first = digests().map(|key| (key.started_at, key.version)).min();
    let is_later = |key: &&KeyVersion| Some((key.started_at, key.version)) != first;
    let rotated = digests().filter(|key| key.state != KeyState::Retired).filter(is_later);
    rotated
        .map(|key| Window { start: Ts(0), end: key.ready_at.unwrap_or(now).plus(SETTLE) })
        .max_by_key(|span| span.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_hides_until_a_day_after_it() {
        let yesterday = Some(Ts(99 * DAY));
        let fresh = KeyVersion {
            started_at: Ts(99 * DAY),
            ready_at: yesterday,
            ..KeyVersion::ready_at_first(KeyPurpose::Digest, 1, String::new())
        };
        let key = |purpose, state, started, ready: Option<i64>| KeyVersion {
            started_at: Ts(started),
            ready_at: ready.map(Ts),
            state,
            ..KeyVersion::ready_at_first(purpose, 1, String::new())
        };
        let (digest, ready) = (KeyPurpose::Digest, KeyState::Ready);
        let first = KeyVersion::ready_at_first(digest, 0, String::new());
        let now = Ts(100 * DAY);
        // the versions | days until which nobody can say
        let table = [
            ("none was changed", vec![first.clone()], None),
            ("begun with it yesterday", vec![fresh], None),
            ("under way", vec![first.clone(), key(digest, KeyState::Started, 99 * DAY, None)], Some(101)),
            ("done", vec![first.clone(), key(digest, ready, 10 * DAY, Some(11 * DAY))], Some(12)),
            ("of another purpose", vec![first, key(KeyPurpose::Token, ready, 10 * DAY, Some(11 * DAY))], None),
        ];
        for (what, versions, days) in table {
            let wanted = days.map(|days| Window { start: Ts(0), end: Ts(days * DAY) });
            assert_eq!(hidden(&versions, now), wanted, "{what}");
        }
    }
}
