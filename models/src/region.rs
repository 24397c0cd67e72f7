//! Regions of a country, by their ISO 3166-2 codes.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// Longest code, bytes.
const LENGTH: usize = 6;

/// A code like `KE-30`, or [`Region::OTHER`] for everything that is none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region([u8; LENGTH]);

impl Region {
    /// No region, an unreadable one, or one too many.
    pub const OTHER: Self = Self(*b"other\0");

    /// Reads a code (ISO 3166-2: two letters, a hyphen, one to three letters or digits), or `other`. The list of codes in
    /// use is not looked at.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "other" {
            return Some(Self::OTHER);
        }
        let (country, part) = text.split_once('-')?;
        let is_country = country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase());
        let is_part = matches!(part.len(), 1..=3) && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !is_country || !is_part {
            return None;
        }
        let mut code = [0; LENGTH];
        code.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self(code))
    }

    /// The region a record names.
    pub fn of(named: Option<&str>) -> Self {
        named.and_then(Self::parse).unwrap_or(Self::OTHER)
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        let length = self.0.iter().position(|b| *b == 0).unwrap_or(LENGTH);
        // letters, digits and a hyphen by construction
        std::str::from_utf8(&self.0[..length]).unwrap_or("other")
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Region {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Region {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("not a region's code"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_exactly() {
        let table = [
            ("KE-30", Some("KE-30")),
            ("GB-ENG", Some("GB-ENG")),
            ("NG-FC", Some("NG-FC")),
            ("other", Some("other")),
            ("ke-30", None),
            ("KE-", None),
            ("KE-1234", None),
            ("KEN-30", None),
            ("KE30", None),
            ("KE-é", None),
            ("", None),
        ];
        for (text, code) in table {
            assert_eq!(Region::parse(text).map(|r| r.to_string()).as_deref(), code, "{text}");
        }
        assert_eq!(Region::of(Some("Nairobi")), Region::OTHER);
        assert_eq!(Region::of(None), Region::OTHER);
    }
}
