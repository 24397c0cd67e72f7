//! Identity documents, because a document is the strong key of a person: a phone is passed on, a
//! document is not.
//!
//! A document's issuing country is part of its value: Kenya's and Uganda's passport `A1234567` are
//! two documents. Values live on the stack and show in neither `Debug` nor errors.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::phone::Country;

/// Longest text taken as a document number, in bytes; longer is refused unread.
pub const DOCUMENT_TEXT_BYTES_MAX: usize = 40;

/// Longest normalised number.
const NUMBER_MAX: usize = 16;

/// Kinds of identity document the register knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum DocumentType {
    /// National identity card; what a request without `id_type` means.
    #[default]
    NationalId,
    /// Card of a resident foreigner.
    AlienId,
    /// Passport of any country.
    Passport,
    /// Kenya's digital identity number (Maisha Namba).
    Maisha,
    /// Personal identification number of the Kenya Revenue Authority.
    KraPin,
    /// Nigeria's national identification number.
    Nin,
}

impl DocumentType {
    /// Every kind, in the order of their key numbers.
    pub const ALL: [Self; 6] = [Self::NationalId, Self::AlienId, Self::Passport, Self::Maisha, Self::KraPin, Self::Nin];

    /// Wire name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NationalId => "national_id",
            Self::AlienId => "alien_id",
            Self::Passport => "passport",
            Self::Maisha => "maisha",
            Self::KraPin => "kra_pin",
            Self::Nin => "nin",
        }
    }
}

impl fmt::Display for DocumentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Country that issued a document: any ISO 3166-1 alpha-2 code, not only the configured countries,
/// since a foreigner's passport is a key like any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IssuingCountry([u8; 2]);

impl IssuingCountry {
    /// Reads two ASCII letters in either case.
    #[must_use]
    pub fn from_iso(text: &str) -> Option<Self> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Some(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => None,
        }
    }

    /// Two upper-case ASCII letters.
    #[must_use]
    pub const fn iso_bytes(self) -> [u8; 2] {
        self.0
    }

    fn is(self, country: Country) -> bool {
        self == Self::from(country)
    }
}

impl From<Country> for IssuingCountry {
    fn from(country: Country) -> Self {
        match country {
            Country::Ke => Self(*b"KE"),
            Country::Ng => Self(*b"NG"),
        }
    }
}

impl fmt::Display for IssuingCountry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = self.0.map(char::from);
        write!(f, "{a}{b}")
    }
}

/// Why a text is not a document number; names the problem, never the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// No letter or digit in it.
    #[error("document number is empty")]
    Empty,
    /// Too few or too many characters for its type.
    #[error("document number has a wrong length for its type")]
    Length,
    /// A character that numbers of its type do not have, or not in that place.
    #[error("document number has a wrong form for its type")]
    Form,
    /// The country does not issue documents of this type, as far as the register knows.
    #[error("document type is not issued by that country")]
    Country,
}

/// A normalised document number with its type and issuing country, on the stack.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Document {
    kind: DocumentType,
    country: IssuingCountry,
    number: [u8; NUMBER_MAX],
    len: u8,
}

impl Document {
    /// Reads a number as people write it; case, spaces, dashes, dots and slashes do not matter.
    ///
    /// Card numbers of Kenya are numbers: leading zeros, which some systems pad with, are dropped
    /// after the length is checked. A `national_id` of Nigeria *is* its NIN and becomes one.
    ///
    /// # Errors
    /// [`DocumentError`] names the problem.
    pub fn parse(kind: DocumentType, country: IssuingCountry, text: &str) -> Result<Self, DocumentError> {
        let mut document = Self { kind, country, number: [0; NUMBER_MAX], len: 0 };
        document.take_characters(text)?;
        let kenya = country.is(Country::Ke);
        let nigeria = country.is(Country::Ng);
        match kind {
            // 7–8 digits, 9 allowed, no checksum
            DocumentType::NationalId if kenya => document.require_digits(7..=9)?,
            DocumentType::NationalId if nigeria => {
                document.kind = DocumentType::Nin;
                document.require_digits(11..=11)?;
            }
            DocumentType::Nin if nigeria => document.require_digits(11..=11)?,
            DocumentType::AlienId if kenya => document.require_digits(6..=9)?,
            // lengths in circulation differ and no primary source settles them
            DocumentType::Maisha if kenya => document.require_digits(7..=14)?,
            DocumentType::KraPin if kenya => document.require_kra_pin()?,
            DocumentType::Passport => document.require_length(6..=9)?,
            _ => return Err(DocumentError::Country),
        }
        if kenya && matches!(kind, DocumentType::NationalId | DocumentType::AlienId) {
            document.drop_leading_zeros()?;
        }
        Ok(document)
    }

    fn take_characters(&mut self, text: &str) -> Result<(), DocumentError> {
        if text.len() > DOCUMENT_TEXT_BYTES_MAX {
            return Err(DocumentError::Length);
        }
        for character in text.chars() {
            match character {
                'a'..='z' | 'A'..='Z' | '0'..='9' => {
                    let slot = self.number.get_mut(usize::from(self.len)).ok_or(DocumentError::Length)?;
                    *slot = character.to_ascii_uppercase() as u8;
                    self.len += 1;
                }
                ' ' | '-' | '.' | '/' | '\u{a0}' | '\u{2010}'..='\u{2013}' => {}
                _ => return Err(DocumentError::Form),
            }
        }
        if self.len == 0 { Err(DocumentError::Empty) } else { Ok(()) }
    }

    fn require_length(&self, lengths: std::ops::RangeInclusive<u8>) -> Result<(), DocumentError> {
        if lengths.contains(&self.len) { Ok(()) } else { Err(DocumentError::Length) }
    }

    fn require_digits(&self, lengths: std::ops::RangeInclusive<u8>) -> Result<(), DocumentError> {
        if !self.number().iter().all(u8::is_ascii_digit) {
            return Err(DocumentError::Form);
        }
        self.require_length(lengths)
    }

    /// `^[AP]\d{9}[A-Z]$`
    fn require_kra_pin(&self) -> Result<(), DocumentError> {
        self.require_length(11..=11)?;
        match self.number() {
            [b'A' | b'P', digits @ .., last] if digits.iter().all(u8::is_ascii_digit) && last.is_ascii_uppercase() => {
                Ok(())
            }
            _ => Err(DocumentError::Form),
        }
    }

    fn drop_leading_zeros(&mut self) -> Result<(), DocumentError> {
        let zeros = self.number().iter().take_while(|&&digit| digit == b'0').count();
        let len = usize::from(self.len);
        if zeros == len {
            return Err(DocumentError::Form);
        }
        self.number.copy_within(zeros..len, 0);
        // the tail is part of equality and hashing
        self.number[len - zeros..].fill(0);
        self.len -= zeros as u8;
        Ok(())
    }

    /// Type after normalisation (Nigeria's `national_id` has become `nin`).
    #[must_use]
    pub const fn kind(&self) -> DocumentType {
        self.kind
    }

    /// Issuing country.
    #[must_use]
    pub const fn country(&self) -> IssuingCountry {
        self.country
    }

    /// Normalised ASCII characters: with country and type, what digests are taken over.
    #[must_use]
    pub fn number(&self) -> &[u8] {
        &self.number[..usize::from(self.len)]
    }

    /// The normalised number as text, for the sealed vault; nowhere else.
    #[must_use]
    pub fn reveal_number(&self) -> String {
        self.number().iter().map(|&byte| char::from(byte)).collect()
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({}, redacted)", self.kind)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn country(iso: &str) -> IssuingCountry {
        IssuingCountry::from_iso(iso).unwrap_or(IssuingCountry(*b"??"))
    }

    #[track_caller]
    fn check(kind: DocumentType, iso: &str, text: &str, expected: Result<&str, DocumentError>) {
        let parsed = Document::parse(kind, country(iso), text).map(|document| document.reveal_number());
        assert_eq!(parsed.as_deref().map_err(|error| *error), expected, "{kind} {iso} {text:?}");
    }

    #[test]
    fn numbers_are_normalised() {
        use DocumentType as T;
        check(T::NationalId, "KE", "12345678", Ok("12345678"));
        check(T::NationalId, "KE", " 12 345-678 ", Ok("12345678"));
        check(T::NationalId, "KE", "1234567", Ok("1234567"));
        check(T::NationalId, "KE", "01234567", Ok("1234567"));
        check(T::NationalId, "KE", "123456789", Ok("123456789"));
        check(T::AlienId, "KE", "123456", Ok("123456"));
        check(T::Passport, "KE", "ak0123456", Ok("AK0123456"));
        check(T::Passport, "UG", "B1234567", Ok("B1234567"));
        check(T::Maisha, "KE", "123 456 789", Ok("123456789"));
        check(T::KraPin, "KE", "a001234567z", Ok("A001234567Z"));
        check(T::Nin, "NG", "1234 5678 901", Ok("12345678901"));
        check(T::NationalId, "NG", "12345678901", Ok("12345678901"));
    }

    #[test]
    fn refusals_name_the_problem() {
        use DocumentError as E;
        use DocumentType as T;
        for (kind, iso, text, error) in [
            (T::NationalId, "KE", "", E::Empty),
            (T::NationalId, "KE", "--", E::Empty),
            (T::NationalId, "KE", "123456", E::Length),
            (T::NationalId, "KE", "1234567890", E::Length),
            (T::NationalId, "KE", "1234567A", E::Form),
            (T::NationalId, "KE", "0000000", E::Form),
            (T::NationalId, "KE", "1234567٨", E::Form),
            (T::NationalId, "UG", "12345678", E::Country),
            (T::Passport, "KE", "A1234", E::Length),
            (T::Passport, "KE", "A123456789", E::Length),
            (T::Passport, "KE", "A12345_7", E::Form),
            (T::KraPin, "KE", "B001234567Z", E::Form),
            (T::KraPin, "KE", "A0012345677", E::Form),
            (T::KraPin, "KE", "A00123456Z", E::Length),
            (T::KraPin, "NG", "A001234567Z", E::Country),
            (T::Nin, "NG", "1234567890", E::Length),
            (T::Nin, "KE", "12345678901", E::Country),
            (T::Maisha, "KE", "12345678901234567", E::Length),
        ] {
            check(kind, iso, text, Err(error));
        }
    }

    #[test]
    fn type_and_issuing_country_are_part_of_the_value() {
        let passport = |iso| Document::parse(DocumentType::Passport, country(iso), "1234567");
        assert_ne!(passport("KE"), passport("UG"));
        let card = Document::parse(DocumentType::NationalId, country("KE"), "1234567");
        assert_ne!(passport("KE"), card);
        assert_eq!(card, Document::parse(DocumentType::NationalId, country("ke"), "01234567"));
        let nin = Document::parse(DocumentType::Nin, country("NG"), "12345678901");
        assert_eq!(nin, Document::parse(DocumentType::NationalId, country("NG"), "12345678901"));
    }

    #[test]
    fn debug_shows_no_character_of_it() {
        let document = Document::parse(DocumentType::NationalId, country("KE"), "12345678");
        assert_eq!(format!("{document:?}"), "Ok(Document(national_id, redacted))");
    }

    #[test]
    fn wire_names_are_snake_case() {
        for kind in DocumentType::ALL {
            assert_eq!(serde_json::to_string(&kind).ok(), Some(format!("\"{kind}\"")));
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(kind in prop::sample::select(&DocumentType::ALL[..]), nigeria: bool, text in "\\PC{0,42}|[A-Za-z0-9 ./-]{5,14}|0{0,4}[0-9]{6,9}") {
            let issuer = country(if nigeria { "NG" } else { "KE" });
            if let Ok(document) = Document::parse(kind, issuer, &text) {
                let card = matches!(document.kind(), DocumentType::NationalId | DocumentType::AlienId);
                let number = document.reveal_number();
                let again = if card { format!("{number:0>7}") } else { number };
                prop_assert_eq!(Document::parse(kind, issuer, &again), Ok(document));
            }
        }
    }
}
