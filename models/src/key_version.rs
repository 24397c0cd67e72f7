//! Versions of the keys that live outside the database, and how far each has come.
//!
//! ```text
//! started ─ everything is derived or sealed anew ─▶ ready ─ nothing needs it any more ─▶ retired
//! ```

use crate::ts::Ts;
use serde::{Deserialize, Serialize};

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPurpose {
    /// Makes match keys.
    Digest,
    /// Makes tokens.
    Token,
    /// Seals.
    Vault,
}

impl KeyPurpose {
    /// Every purpose.
    pub const ALL: [Self; 3] = [Self::Digest, Self::Token, Self::Vault];

    /// Storage name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Digest => "digest",
            Self::Token => "token",
            Self::Vault => "vault",
        }
    }

    /// The purpose of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text)
    }
}

/// How far a version has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It is written beside the one before; what was there is not all under it yet.
    Started,
    /// Everything is under it.
    Ready,
    /// It opens, makes and finds nothing any more.
    Retired,
}

impl KeyState {
    /// Storage name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ready => "ready",
            Self::Retired => "retired",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Started, Self::Ready, Self::Retired].into_iter().find(|state| state.as_str() == text)
    }
}

/// A version of a key; never the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyVersion {
    /// What for.
    pub purpose: KeyPurpose,
    /// Its number.
    pub version: u8,
    /// Keyed digest of nothing in particular: tells one key from another of the same number.
    pub fingerprint: String,
    /// How far it has come.
    pub state: KeyState,
    /// When it was first used.
    pub started_at: Ts,
    /// When everything was under it.
    pub ready_at: Option<Ts>,
    /// When it went.
    pub retired_at: Option<Ts>,
    /// Match keys that nobody could derive anew, which are unknown since.
    pub left_behind: u64,
}

impl KeyVersion {
    /// A version of a store that was begun with it.
    #[must_use]
    pub fn ready_at_first(purpose: KeyPurpose, version: u8, fingerprint: String) -> Self {
        let (state, started_at, ready_at) = (KeyState::Ready, Ts(0), Some(Ts(0)));
        Self { purpose, version, fingerprint, state, started_at, ready_at, retired_at: None, left_behind: 0 }
    }
}

/// Every version there is or was, and the epoch in which this holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyStates {
    /// Grows with every step of a rotation.
    pub epoch: i64,
    /// The versions.
    pub versions: Vec<KeyVersion>,
}

impl KeyStates {
    /// A version.
    #[must_use]
    pub fn get(&self, purpose: KeyPurpose, version: u8) -> Option<&KeyVersion> {
        self.versions.iter().find(|known| (known.purpose, known.version) == (purpose, version))
    }

    /// The versions of a purpose that are not retired.
    pub fn live(&self, purpose: KeyPurpose) -> impl Iterator<Item = &KeyVersion> {
        self.versions.iter().filter(move |known| known.purpose == purpose && known.state != KeyState::Retired)
    }

    /// The version in force. The vault's is the newest one that has begun: what it seals is opened by its number. Digests
    /// and tokens wait until everything is under the new one: people who are not would not be found.
    #[must_use]
    pub fn current(&self, purpose: KeyPurpose) -> Option<u8> {
        self.live(purpose)
            .filter(|known| purpose == KeyPurpose::Vault || known.state == KeyState::Ready)
            .max_by_key(|known| (known.started_at, known.version))
            .map(|known| known.version)
    }

    /// The version of a purpose that is on its way.
    #[must_use]
    pub fn under_way(&self, purpose: KeyPurpose) -> Option<&KeyVersion> {
        self.live(purpose).find(|known| known.state == KeyState::Started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(purpose: KeyPurpose, version: u8, state: KeyState, started: i64) -> KeyVersion {
        let (started_at, fingerprint) = (Ts(started), String::new());
        KeyVersion {
            purpose,
            version,
            fingerprint,
            state,
            started_at,
            ready_at: None,
            retired_at: None,
            left_behind: 0,
        }
    }

    #[test]
    fn the_vault_seals_under_what_has_begun_and_people_are_found_under_what_is_complete() {
        use KeyPurpose::{Digest, Token, Vault};
        use KeyState::{Ready, Retired, Started};
        let states = |purpose, list: &[(u8, KeyState, i64)]| KeyStates {
            epoch: 1,
            versions: list.iter().map(|(no, state, at)| version(purpose, *no, *state, *at)).collect(),
        };
        type Row<'a> = (&'a [(u8, KeyState, i64)], Option<u8>, Option<u8>);
        let table: [Row<'_>; 6] = [
            (&[], None, None),
            (&[(0, Ready, 1)], Some(0), Some(0)),
            (&[(0, Ready, 1), (1, Started, 2)], Some(0), Some(1)),
            (&[(0, Ready, 1), (1, Ready, 2)], Some(1), Some(1)),
            (&[(0, Retired, 1), (1, Ready, 2)], Some(1), Some(1)),
            // a number that is used again is newer than a higher one
            (&[(3, Ready, 7), (0, Ready, 9)], Some(0), Some(0)),
        ];
        for (list, found, sealed) in table {
            for (purpose, wanted) in [(Digest, found), (Token, found), (Vault, sealed)] {
                assert_eq!(states(purpose, list).current(purpose), wanted, "{purpose:?} {list:?}");
            }
            assert_eq!(states(Digest, list).current(Vault), None);
        }
    }
}
