//! Match keys: what the register knows of an identifier instead of the identifier.
//!
//! A match key is the first 88 bits of HMAC-SHA-512 under a digest key that lives outside the database,
//! over (jurisdiction family, kind, normalised value). An unkeyed hash of a phone would be the phone:
//! there are only 2×10⁸ of them. 88 bits are what fits a token beside its own
//! fields; two of 10⁹ people share one with a chance of about 2×10⁻⁹.

use std::fmt;
use std::str::FromStr;

use ring::hmac;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::document::{Document, DocumentType};
use crate::phone::Phone;

/// Bits of a match key.
pub const MATCH_KEY_BITS: u32 = 88;

/// Bytes of a match key.
pub const MATCH_KEY_BYTES: usize = 11;

/// Hex digits of a match key.
const HEX_DIGITS: usize = MATCH_KEY_BYTES * 2;

/// Highest digest key version: a token has two bits for it.
pub const DIGEST_VERSION_MAX: u8 = 3;

/// Shortest secret of a digest key, in bytes.
pub const DIGEST_SECRET_BYTES_MIN: usize = 32;

/// What identifies a person. Its numbers are part of every digest and every token: never reuse one.
/// Everything but a phone is a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// A mobile number.
    Phone,
    /// [`DocumentType::NationalId`].
    NationalId,
    /// [`DocumentType::AlienId`].
    AlienId,
    /// [`DocumentType::Passport`].
    Passport,
    /// [`DocumentType::Maisha`].
    Maisha,
    /// [`DocumentType::KraPin`].
    KraPin,
    /// [`DocumentType::Nin`].
    Nin,
}

impl KeyKind {
    /// Every kind, by number.
    pub const ALL: [Self; 7] =
        [Self::Phone, Self::NationalId, Self::AlienId, Self::Passport, Self::Maisha, Self::KraPin, Self::Nin];

    /// Stable number, 1–7 (three bits; 0 is no kind).
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Phone => 1,
            Self::NationalId => 2,
            Self::AlienId => 3,
            Self::Passport => 4,
            Self::Maisha => 5,
            Self::KraPin => 6,
            Self::Nin => 7,
        }
    }

    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Whether it is an id document, a strong key.
    #[must_use]
    pub const fn is_document(self) -> bool {
        !matches!(self, Self::Phone)
    }

    /// Wire and storage name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::NationalId => DocumentType::NationalId.as_str(),
            Self::AlienId => DocumentType::AlienId.as_str(),
            Self::Passport => DocumentType::Passport.as_str(),
            Self::Maisha => DocumentType::Maisha.as_str(),
            Self::KraPin => DocumentType::KraPin.as_str(),
            Self::Nin => DocumentType::Nin.as_str(),
        }
    }
}

impl From<DocumentType> for KeyKind {
    fn from(kind: DocumentType) -> Self {
        match kind {
            DocumentType::NationalId => Self::NationalId,
            DocumentType::AlienId => Self::AlienId,
            DocumentType::Passport => Self::Passport,
            DocumentType::Maisha => Self::Maisha,
            DocumentType::KraPin => Self::KraPin,
            DocumentType::Nin => Self::Nin,
        }
    }
}

/// Values that are digested so that they can be joined, but that name no person in the register. Numbers
/// continue those of [`KeyKind`]: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpaqueKind {
    /// A device.
    Device,
    /// A payment account.
    Account,
    /// An operator's own reference of a player. Unique only within an operator: the caller puts the
    /// operator into the bytes.
    Player,
    /// A birth date, for the merge rule.
    BirthDate,
    /// A caller's `client_reference`.
    Reference,
}

impl OpaqueKind {
    /// Stable number, 8 and above.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Device => 8,
            Self::Account => 9,
            Self::Player => 10,
            Self::BirthDate => 11,
            Self::Reference => 12,
        }
    }
}

/// 88 bits of a keyed digest; the number is below 2⁸⁸. As text 22 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatchKey(pub u128);

/// A text that is not a match key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a match key of 22 hex digits")]
pub struct MatchKeyError;

impl MatchKey {
    /// Reads big-endian bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; MATCH_KEY_BYTES]) -> Self {
        Self(bytes.iter().fold(0, |bits, &byte| bits << 8 | u128::from(byte)))
    }

    /// Big-endian bytes, as stored.
    #[must_use]
    pub fn to_bytes(self) -> [u8; MATCH_KEY_BYTES] {
        let wide = self.0.to_be_bytes();
        std::array::from_fn(|i| wide[wide.len() - MATCH_KEY_BYTES + i])
    }

    /// Top 64 bits: what the index holds of it.
    #[must_use]
    pub const fn tag64(self) -> u64 {
        (self.0 >> (MATCH_KEY_BITS - 64)) as u64
    }
}

impl fmt::Display for MatchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:022x}", self.0)
    }
}

impl fmt::Debug for MatchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MatchKey({self})")
    }
}

impl FromStr for MatchKey {
    type Err = MatchKeyError;

    fn from_str(text: &str) -> Result<Self, MatchKeyError> {
        // from_str_radix would take a sign
        if text.len() != HEX_DIGITS || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(MatchKeyError);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| MatchKeyError)
    }
}

impl Serialize for MatchKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MatchKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = MatchKey;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("22 hex digits")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<MatchKey, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// Why digest keys cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DigestKeyError {
    /// No key at all.
    #[error("no digest key")]
    None,
    /// A version above [`DIGEST_VERSION_MAX`].
    #[error("digest key version {0} is above 3")]
    Version(u8),
    /// Two keys of one version.
    #[error("two digest keys of version {0}")]
    Twice(u8),
    /// A secret below [`DIGEST_SECRET_BYTES_MIN`].
    #[error("digest key of version {0} is shorter than 32 bytes")]
    Short(u8),
}

/// One version of the digest key, with its HMAC state prepared.
#[derive(Clone)]
pub struct DigestKey {
    version: u8,
    key: hmac::Key,
}

impl DigestKey {
    /// Prepares a key.
    ///
    /// # Errors
    /// A version above three or a secret below 32 bytes.
    pub fn new(version: u8, secret: &[u8]) -> Result<Self, DigestKeyError> {
        if version > DIGEST_VERSION_MAX {
            return Err(DigestKeyError::Version(version));
        }
        if secret.len() < DIGEST_SECRET_BYTES_MIN {
            return Err(DigestKeyError::Short(version));
        }
        Ok(Self { version, key: hmac::Key::new(hmac::HMAC_SHA512, secret) })
    }

    /// Version, 0–3.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// Key of a phone in a jurisdiction family.
    #[must_use]
    pub fn phone(&self, family: &str, phone: &Phone) -> MatchKey {
        self.digest(family, KeyKind::Phone.number(), &[phone.e164_digits()])
    }

    /// Key of a document; its issuing country is part of the value.
    #[must_use]
    pub fn document(&self, family: &str, document: &Document) -> MatchKey {
        let kind = KeyKind::from(document.kind()).number();
        self.digest(family, kind, &[&document.country().iso_bytes(), document.number()])
    }

    /// Key of a value that names no person in the register.
    #[must_use]
    pub fn opaque(&self, family: &str, kind: OpaqueKind, value: &[u8]) -> MatchKey {
        self.digest(family, kind.number(), &[value])
    }

    /// HMAC over: length of the family (one byte; it is cut at 255), family, kind, value. The length and
    /// the fixed-size kind make the text unambiguous, so no two inputs share a digest by their borders.
    fn digest(&self, family: &str, kind: u8, value: &[&[u8]]) -> MatchKey {
        let family = &family.as_bytes()[..family.len().min(usize::from(u8::MAX))];
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&[family.len() as u8]);
        context.update(family);
        context.update(&[kind]);
        for part in value {
            context.update(part);
        }
        let tag = context.sign();
        MatchKey(tag.as_ref().iter().take(MATCH_KEY_BYTES).fold(0, |bits, &byte| bits << 8 | u128::from(byte)))
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DigestKey(version {}, redacted)", self.version)
    }
}

/// Every live digest key; the highest version is current, unless another one is said to be.
#[derive(Clone, Debug)]
pub struct DigestKeys {
    /// The current one, then the others by falling version; never empty.
    live: Vec<DigestKey>,
}

impl DigestKeys {
    /// Prepares the live keys, given as (version, secret) in any order.
    ///
    /// # Errors
    /// [`DigestKeyError`]: none at all, a bad version, one twice, a short secret.
    pub fn new<S: AsRef<[u8]>>(keys: impl IntoIterator<Item = (u8, S)>) -> Result<Self, DigestKeyError> {
        let mut live = Vec::new();
        for (version, secret) in keys {
            live.push(DigestKey::new(version, secret.as_ref())?);
        }
        live.sort_by_key(|key| std::cmp::Reverse(key.version));
        if let Some(pair) = live.windows(2).find(|pair| pair[0].version == pair[1].version) {
            return Err(DigestKeyError::Twice(pair[0].version));
        }
        if live.is_empty() { Err(DigestKeyError::None) } else { Ok(Self { live }) }
    }

    /// The same keys, with this version in force. While a new version is on its way to everybody, people are found
    /// under the one before.
    ///
    /// # Errors
    /// [`DigestKeyError::None`] where there is no key of this version.
    pub fn with_current(mut self, version: u8) -> Result<Self, DigestKeyError> {
        let place = self.live.iter().position(|key| key.version == version).ok_or(DigestKeyError::None)?;
        let current = self.live.remove(place);
        self.live.insert(0, current);
        Ok(self)
    }

    /// The key that makes tokens and digests of records, and under which people are found.
    #[must_use]
    pub fn current(&self) -> &DigestKey {
        &self.live[0]
    }

    /// Every live key, the current one first: a registration writes a match key under each.
    pub fn live(&self) -> impl ExactSizeIterator<Item = &DigestKey> {
        self.live.iter()
    }

    /// The live key of a version; a token of a version without one is 410.
    #[must_use]
    pub fn version(&self, version: u8) -> Option<&DigestKey> {
        self.live.iter().find(|key| key.version == version)
    }

    /// [`DigestKey::phone`] under the current key.
    #[must_use]
    pub fn phone(&self, family: &str, phone: &Phone) -> MatchKey {
        self.current().phone(family, phone)
    }

    /// [`DigestKey::document`] under the current key.
    #[must_use]
    pub fn document(&self, family: &str, document: &Document) -> MatchKey {
        self.current().document(family, document)
    }

    /// [`DigestKey::opaque`] under the current key.
    #[must_use]
    pub fn opaque(&self, family: &str, kind: OpaqueKind, value: &[u8]) -> MatchKey {
        self.current().opaque(family, kind, value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::document::IssuingCountry;
    use crate::phone::Country;

    const SECRET: [u8; 32] = [7; 32];

    fn keys() -> DigestKeys {
        DigestKeys::new([(0, SECRET)]).unwrap()
    }

    fn document(kind: DocumentType, issuer: &str, number: &str) -> Document {
        Document::parse(kind, IssuingCountry::from_iso(issuer).unwrap(), number).unwrap()
    }

    /// Values computed independently (Python's hmac). Fixed for ever: a change here makes every stored key useless.
    #[test]
    fn golden_keys() {
        let keys = keys();
        let phone = Phone::parse("0712345678", Country::Ke).unwrap();
        let card = document(DocumentType::NationalId, "KE", "12345678");
        let got =
            [keys.phone("ke", &phone), keys.document("ke", &card), keys.opaque("ke", OpaqueKind::Device, b"device-1")]
                .map(|key| key.to_string());
        assert_eq!(got, ["d7b0563c41fa0a01dbdba6", "6698e76f2adc4d1dd2fc12", "b2e4f49f63b942e97a8759"]);
    }

    #[test]
    fn family_kind_country_version_and_value_all_matter() {
        let keys = keys();
        let other = DigestKeys::new([(0, [8; 32])]).unwrap();
        let a = document(DocumentType::Passport, "KE", "1234567");
        let b = document(DocumentType::Passport, "UG", "1234567");
        let c = document(DocumentType::NationalId, "KE", "1234567");
        let phone = Phone::parse("0712345678", Country::Ke).unwrap();
        let distinct = HashSet::from([
            keys.document("ke", &a),
            keys.document("ke", &b),
            keys.document("ke", &c),
            keys.document("keK", &a),
            other.document("ke", &a),
            keys.phone("ke", &phone),
            keys.phone("ng", &phone),
            keys.opaque("ke", OpaqueKind::Device, b"254712345678"),
            keys.opaque("ke", OpaqueKind::Account, b"254712345678"),
            keys.opaque("ke", OpaqueKind::Player, b"254712345678"),
            keys.opaque("ke", OpaqueKind::BirthDate, b"254712345678"),
        ]);
        assert_eq!(distinct.len(), 11);
    }

    #[test]
    fn the_highest_version_is_current_and_each_answers_by_number() {
        let keys = DigestKeys::new([(1, [1; 32]), (3, [3; 32]), (0, [0; 32])]).unwrap();
        assert_eq!(keys.current().version(), 3);
        assert_eq!(keys.live().map(DigestKey::version).collect::<Vec<_>>(), [3, 1, 0]);
        assert!(keys.version(2).is_none());
        let phone = Phone::parse("0712345678", Country::Ke).unwrap();
        let old = DigestKeys::new([(1, [1; 32])]).unwrap();
        assert_eq!(keys.version(1).map(|key| key.phone("ke", &phone)), Some(old.phone("ke", &phone)));
        let keys = keys.with_current(1).unwrap();
        assert_eq!(keys.live().map(DigestKey::version).collect::<Vec<_>>(), [1, 3, 0]);
        assert_eq!(keys.phone("ke", &phone), old.phone("ke", &phone));
        assert!(keys.with_current(2).is_err());
    }

    #[test]
    fn unusable_keys_are_named() {
        let error = |keys: &[(u8, &[u8])]| DigestKeys::new(keys.iter().copied()).err();
        assert_eq!(error(&[]), Some(DigestKeyError::None));
        assert_eq!(error(&[(4, &SECRET)]), Some(DigestKeyError::Version(4)));
        assert_eq!(error(&[(1, &SECRET), (1, &SECRET)]), Some(DigestKeyError::Twice(1)));
        assert_eq!(error(&[(1, &SECRET[1..])]), Some(DigestKeyError::Short(1)));
        assert_eq!(format!("{:?}", keys()), "DigestKeys { live: [DigestKey(version 0, redacted)] }");
    }

    #[test]
    fn kinds_keep_their_numbers() {
        for (index, kind) in KeyKind::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(kind.number()), index + 1);
            assert_eq!(KeyKind::from_number(kind.number()), Some(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.as_str()));
        }
        assert_eq!(KeyKind::from_number(0), None);
        assert_eq!(KeyKind::from_number(8), None);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "0", "+000000000000000000001", "g000000000000000000001", "00000000000000000000001"] {
            assert_eq!(text.parse::<MatchKey>(), Err(MatchKeyError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_key_survives_text_bytes_and_json(bytes: [u8; MATCH_KEY_BYTES]) {
            let key = MatchKey::from_bytes(bytes);
            prop_assert_eq!(key.to_bytes(), bytes);
            prop_assert_eq!(key.to_string().parse(), Ok(key));
            let json = serde_json::to_string(&key).unwrap();
            prop_assert_eq!(serde_json::from_str::<MatchKey>(&json).unwrap(), key);
            prop_assert_eq!(key.tag64(), u64::from_be_bytes(std::array::from_fn(|i| bytes[i])));
        }
    }
}
