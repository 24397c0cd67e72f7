//! What a person can be known by, and the match keys made of it: at a registration, and again from the vault.

use crate::api::PersonData;
use models::document::{Document, DocumentType, IssuingCountry};
use models::match_key::{DigestKey, KeyKind, MatchKey};
use models::phone::{Country, Phone};

/// A document, a phone, or both.
#[derive(Default)]
pub struct Identifiers {
    /// The strong one.
    pub document: Option<Document>,
    /// The weak one.
    pub phone: Option<Phone>,
}

impl Identifiers {
    /// Of what the vault keeps; what cannot be read is missing.
    pub fn of(person: &PersonData) -> Self {
        // international, so the default country has no say
        let phone = person.phone.as_deref().and_then(|text| Phone::parse(text, Country::Ke).ok());
        let document = person.id_number.as_deref().zip(person.id_type.as_deref()).and_then(|(number, kind)| {
            let (country, kind) = kind.split_once(':')?;
            let country = IssuingCountry::from_iso(country)?;
            let kind = DocumentType::ALL.into_iter().find(|known| known.as_str() == kind)?;
            // numbers of cards lie there without their leading zeros, which the shortest must have
            let padded = || Document::parse(kind, country, &format!("{number:0>7}")).ok();
            Document::parse(kind, country, number).ok().or_else(padded)
        });
        Self { document, phone }
    }

    /// Is there any?
    #[must_use]
    pub fn is_somebody(&self) -> bool {
        self.document.is_some() || self.phone.is_some()
    }

    /// Writes them into what the vault keeps.
    pub fn reveal(&self, person: &mut PersonData) {
        person.phone = self.phone.as_ref().map(Phone::reveal_e164);
        person.id_number = self.document.as_ref().map(Document::reveal_number);
        person.id_type = self.document.as_ref().map(|d| format!("{}:{}", d.country(), d.kind()));
    }

    /// Their match keys under a key, the document's first.
    pub fn keys(&self, digest: &DigestKey, family: &str) -> impl Iterator<Item = (KeyKind, MatchKey)> {
        let document = self.document.as_ref().map(|d| (KeyKind::from(d.kind()), digest.document(family, d)));
        let phone = self.phone.as_ref().map(|p| (KeyKind::Phone, digest.phone(family, p)));
        document.into_iter().chain(phone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_vault_keeps_gives_the_same_keys() {
        let digest = DigestKey::new(1, &[7; 32]).unwrap();
        let card = |kind, country, number| Document::parse(kind, IssuingCountry::from_iso(country).unwrap(), number);
        let documents = [
            card(DocumentType::NationalId, "KE", "12345678"),
            card(DocumentType::NationalId, "KE", "00123456"),
            card(DocumentType::AlienId, "KE", "0012345"),
            card(DocumentType::Passport, "UG", "A1234567"),
            card(DocumentType::NationalId, "NG", "12345678901"),
        ];
        for document in documents {
            let known = Identifiers {
                document: Some(document.unwrap()),
                phone: Some(Phone::parse("08031234567", Country::Ng).unwrap()),
            };
            let mut person = PersonData::default();
            known.reveal(&mut person);
            let again: Vec<_> = Identifiers::of(&person).keys(&digest, "KE").collect();
            assert_eq!(again, known.keys(&digest, "KE").collect::<Vec<_>>(), "{:?}", person.id_type);
            assert_eq!(again.len(), 2);
        }
        assert_eq!(Identifiers::of(&PersonData::default()).keys(&digest, "KE").count(), 0);
    }
}
