//! Identities: small integers inside, opaque prefixed strings outside.
//!
//! Outside an id is a prefix and the Crockford base32 (lower case) of a UUIDv7; the UUID is made at the
//! edge (`web`, `actors`) because chance is injected.

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

fn encode(bits: u128) -> [u8; 26] {
    std::array::from_fn(|i| ALPHABET[(bits >> (5 * (25 - i))) as usize & 31])
}

fn decode(text: &[u8]) -> Option<u128> {
    if text.len() != 26 || text[0] > b'7' {
        return None;
    }
    text.iter().try_fold(0u128, |bits, c| {
        let digit = ALPHABET.iter().position(|a| a == c)?;
        Some(bits << 5 | digit as u128)
    })
}

macro_rules! public_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            /// What stands before the underscore.
            pub const PREFIX: &'static str = $prefix;
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digits = encode(self.0);
                write!(f, concat!($prefix, "_{}"), std::str::from_utf8(&digits).unwrap_or_default())
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
    /// A quarantined or dead-lettered record.
    QuarantineId, "qua");
public_id!(
    /// A case that a person must decide.
    CaseId, "cas");

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
