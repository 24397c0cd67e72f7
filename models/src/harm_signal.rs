//! Signs of harm as operators are told of them: about which player, how strong, since when, and whether it was answered.
//!
//! The rule `harm_signal_unanswered` goes by them. Until when one has to be answered is not part of it: that says the version
//! of the rule that is in force.

use crate::alert::Severity;
use crate::ids::{HarmSignalId, KeyId, OperatorNo};
use crate::match_key::{KeyKind, MatchKey};
use crate::ts::{Ts, micros};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// Longest reason of a sign, characters.
pub const REASON_CHARS_MAX: usize = 200;
/// Records by which an operator may find the player, at most.
pub const RECORDS_MAX: usize = 3;

/// Who gave a sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalSource {
    /// The regulator's staff.
    Regulator {
        /// Whose key.
        by: Option<KeyId>,
        /// Why, in words that name nobody.
        reason: Option<String>,
    },
    /// The promoted model of player risk: the player's level became high.
    Model {
        /// Version of the model.
        version: u32,
    },
}

impl SignalSource {
    /// The wire name.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Regulator { .. } => "regulator",
            Self::Model { .. } => "model",
        }
    }

    /// Why, where somebody said so.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Regulator { reason, .. } => reason.as_deref(),
            Self::Model { .. } => None,
        }
    }
}

/// What a match key was made of: with it an operator's token of the person can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedBy {
    /// Kind of the identifier.
    pub kind: KeyKind,
    /// Version of the digest key.
    pub digest_version: u8,
}

/// A sign of harm at an operator (the whole new state).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HarmSignal {
    /// Public id.
    pub id: HarmSignalId,
    /// Who has to act.
    pub operator_no: OperatorNo,
    /// Whose, as in records.
    pub player: MatchKey,
    /// What the key was made of, where whoever gave the sign knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<NamedBy>,
    /// The operator's ids of the player's newest deposits and withdrawals when the sign was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<String>,
    /// How strong.
    pub level: Severity,
    /// Since when the operator could know.
    #[serde(with = "micros")]
    pub since: Ts,
    /// Who gave it.
    pub source: SignalSource,
    /// The first intervention after it.
    #[serde(with = "micros::option", default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Ts>,
    /// Grows with every change, from 1.
    pub revision: u32,
}

/// The id of a sign: the same for the same operator, player and instant.
#[must_use]
pub fn id_of(operator_no: OperatorNo, player: MatchKey, since: Ts) -> HarmSignalId {
    let text = format!("harm signal\0{}\0{player}\0{}", operator_no.0, since.0);
    let mut first = [0; 16];
    first.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..16]);
    HarmSignalId(u128::from_be_bytes(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_is_read_as_it_was_written() {
        let (operator_no, player, since) = (OperatorNo(4), MatchKey(7), Ts(9));
        let by_staff = SignalSource::Regulator { by: Some(KeyId(5)), reason: Some("a relative called".to_owned()) };
        let named = Some(NamedBy { kind: KeyKind::Phone, digest_version: 1 });
        let of_a_model = HarmSignal {
            id: id_of(operator_no, player, since),
            operator_no,
            player,
            named: None,
            records: Vec::new(),
            level: Severity::High,
            since,
            source: SignalSource::Model { version: 3 },
            answered_at: None,
            revision: 1,
        };
        let records = vec!["d1".to_owned()];
        let answered_at = Some(Ts(12));
        let of_staff = HarmSignal { named, records, source: by_staff, answered_at, revision: 2, ..of_a_model };
        for signal in [of_a_model, of_staff] {
            let json = serde_json::to_string(&signal).expect("json");
            assert_eq!(serde_json::from_str::<HarmSignal>(&json).expect("it is read"), signal, "{json}");
        }
    }

    #[test]
    fn ids_are_of_the_operator_the_player_and_the_instant() {
        let id = |no, player, at| id_of(OperatorNo(no), MatchKey(player), Ts(at));
        assert_eq!(id(1, 2, 3), id(1, 2, 3));
        for other in [id(9, 2, 3), id(1, 9, 3), id(1, 2, 9)] {
            assert_ne!(id(1, 2, 3), other);
        }
    }
}
