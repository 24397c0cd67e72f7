//! Identities: small integers inside, opaque prefixed strings outside.
//!
//! Outside an id is a prefix and the Crockford base32 (lower case) of a UUIDv7; the UUID is made at the
//! edge (`web`, `actors`) because chance is injected.

use crate::jurisdiction::JurisdictionNo;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// A person inside the engine; never leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PersonNo(pub u32);

/// An operator inside the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperatorNo(pub u16);

impl OperatorNo {
    /// Numbers from here on are no operators: each stands for all operators of a jurisdiction.
    pub const NATIONS: u16 = 0xff00;

    /// Whoever stands for all operators of a jurisdiction: findings over several of them are nobody's own.
    #[must_use]
    pub fn of_nation(jurisdiction: JurisdictionNo) -> Self {
        Self(Self::NATIONS | u16::from(jurisdiction.0))
    }

    /// The jurisdiction, where it stands for all operators of one.
    #[must_use]
    pub fn nation(self) -> Option<JurisdictionNo> {
        (self.0 >= Self::NATIONS).then_some(JurisdictionNo((self.0 & 0xff) as u8))
    }
}

/// A source of records inside the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceNo(pub u32);

/// A position in the journal: gapless, global, starting at 1.
pub type Seq = i64;

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id that starts with {prefix}_")]
pub struct IdError {
    prefix: &'static str,
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What a byte that is no digit counts for.
const NO_DIGIT: u8 = 0x80;
/// Digits by byte.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut i = 0;
    while i < ALPHABET.len() {
        digits[ALPHABET[i] as usize] = i as u8;
        i += 1;
    }
    digits
};

fn encode(bits: u128) -> [u8; 26] {
    std::array::from_fn(|i| ALPHABET[(bits >> (5 * (25 - i))) as usize & 31])
}

fn decode(text: &[u8]) -> Option<u128> {
    if text.len() != 26 || text[0] > b'7' {
        return None;
    }
    let mut bits = 0u128;
    let mut all = 0;
    for c in text {
        let digit = DIGITS[usize::from(*c)];
        all |= digit;
        bits = bits << 5 | u128::from(digit & 31);
    }
    (all & NO_DIGIT == 0).then_some(bits)
}

/// The text of an id, in place.
#[derive(Clone, Copy)]
pub struct IdText([u8; 30]);

impl IdText {
    /// Prefixes have three letters.
    fn new(prefix: &'static str, bits: u128) -> Self {
        let mut text = [b'_'; 30];
        text[..3].copy_from_slice(prefix.as_bytes());
        text[4..].copy_from_slice(&encode(bits));
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // letters and digits only
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

macro_rules! public_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            /// What stands before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// The text without a detour: for hot paths.
            #[must_use]
            pub fn to_text(self) -> IdText {
                IdText::new($prefix, self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.to_text().as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let digits = text.strip_prefix(concat!($prefix, "_")).ok_or(IdError { prefix: $prefix })?;
                decode(digits.as_bytes()).map(Self).ok_or(IdError { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(d)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

public_id!(
    /// An exclusion.
    ExclusionId, "exc");
public_id!(
    /// An exclusion that an operator reported.
    ExclusionReportId, "exr");
public_id!(
    /// An operator.
    OperatorId, "opr");
public_id!(
    /// A licence of an operator.
    LicenceId, "lic");
public_id!(
    /// An API key.
    KeyId, "key");
public_id!(
    /// A source of records.
    SourceId, "src");
public_id!(
    /// A stored batch of records.
    BatchId, "bat");
public_id!(
    /// An alert: not a UUID but a digest of (rule, version, subject, window), so that it can be made twice.
    AlertId, "alr");
public_id!(
    /// A notice to people: not a UUID but a digest of (group of alerts, episode, transition), so that it can be made
    /// twice; every channel carries it as its message id.
    NoticeId, "ntf");
public_id!(
    /// A group of alerts: a digest of (rule, subject).
    GroupId, "grp");
public_id!(
    /// A span in which nobody is told of some alerts.
    SilenceId, "sil");
public_id!(
    /// A sign of harm that was given to an operator: a digest of (operator, player, instant), so that it can be made twice.
    HarmSignalId, "hsg");
public_id!(
    /// A quarantined or dead-lettered record.
    QuarantineId, "qua");
public_id!(
    /// A version of a rule that is run over stored history.
    BacktestId, "bct");
public_id!(
    /// A case that a person must decide.
    CaseId, "cas");
public_id!(
    /// An answered lookup: not a UUID but the place of its evidence, see [`crate::evidence::Place`].
    LookupId, "lkp");
public_id!(
    /// A batch of lookups.
    LookupBatchId, "lbt");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_id_survives_its_text(bits: u128) {
            prop_assert_eq!(ExclusionId(bits).to_string().parse(), Ok(ExclusionId(bits)));
        }
    }

    #[test]
    fn refuses_other_kinds_and_overlong_digits() {
        let id = OperatorId(7).to_string();
        assert!(id.parse::<ExclusionId>().is_err());
        assert!(format!("{id}0").parse::<OperatorId>().is_err());
        assert!("opr_zzzzzzzzzzzzzzzzzzzzzzzzzz".parse::<OperatorId>().is_err());
    }
}
