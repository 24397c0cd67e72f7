//! A lookup as it is sent, and the identifiers in it.

use models::document::{Document, DocumentType, IssuingCountry};
use models::phone::{Country, Phone};
use models::token::Token;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::parse::{Fields, Text, wire};

/// Longest `client_reference`, characters.
pub const REFERENCE_CHARS_MAX: usize = 64;

/// One name or several.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Names<'a> {
    /// One text.
    One(#[serde(borrow)] Text<'a>),
    /// A list.
    Several(#[serde(borrow)] Vec<Text<'a>>),
}

/// A lookup as it is sent. A field that is not known is refused: a mistyped name would ask about less than was meant.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireLookup<'a> {
    #[serde(borrow, default)]
    pub phone: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub id_number: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub id_type: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub id_country: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub bst: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub date_of_birth: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub names: Option<Names<'a>>,
    #[serde(borrow, default)]
    pub check_type: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub purpose: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub client_reference: Option<Text<'a>>,
    /// In a batch: echoed with its row.
    #[serde(borrow, default)]
    pub correlation_id: Option<Text<'a>>,
}

/// The body of a lookup. At least one of `phone`, `id_number`, `bst`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the documented shape; the hot path reads a borrowed one")]
pub struct LookupRequest {
    /// Mobile number as people write it; without a country code it is one of the jurisdiction.
    #[schema(example = "+254712345678")]
    phone: Option<String>,
    /// Number of an identity document.
    id_number: Option<String>,
    /// `national_id` (default), `alien_id`, `passport`, `maisha`, `kra_pin`, `nin`.
    id_type: Option<String>,
    /// Country that issued the document, ISO 3166-1 alpha-2; the jurisdiction's by default.
    id_country: Option<String>,
    /// The caller's own token of the person.
    bst: Option<String>,
    /// Taken for later use: nobody is matched by it yet.
    date_of_birth: Option<String>,
    /// Taken for later use: nobody is matched by them yet.
    names: Option<Vec<String>>,
    /// Only `exclusion`, which is the default.
    check_type: Option<String>,
    /// `registration`, `login`, `bet`, `deposit`, `withdrawal`, `marketing`, `sweep`.
    purpose: String,
    /// At most 64 characters; echoed, logged only as a keyed digest.
    client_reference: Option<String>,
}

/// What identifies the person, normalised.
pub(crate) struct Identity {
    pub phone: Option<Phone>,
    pub document: Option<Document>,
    pub token: Option<Token>,
}

impl WireLookup<'_> {
    /// Normalises what identifies the person; notes what does not.
    pub fn identity(&self, fields: &mut Fields, country: Country) -> Identity {
        let phone = self.phone.as_deref().and_then(|text| fields.take("/phone", Phone::parse(text, country)));
        let document = self.id_number.as_deref().and_then(|number| {
            read_document(fields, number, self.id_type.as_deref(), self.id_country.as_deref(), country)
        });
        if self.id_number.is_none() && self.id_type.is_some() {
            fields.known("/id_type", self.id_type.as_deref(), wire::<DocumentType>);
        }
        let token = self.bst.as_deref().and_then(|text| fields.take("/bst", Token::parse(text)));
        if self.phone.is_none() && self.id_number.is_none() && self.bst.is_none() {
            fields.wrong("", "at least one of phone, id_number and bst is needed");
        }
        Identity { phone, document, token }
    }
}

/// A document of a request, with its type and its issuing country (the jurisdiction's by default).
pub(crate) fn read_document(
    fields: &mut Fields,
    number: &str,
    kind: Option<&str>,
    issuer: Option<&str>,
    country: Country,
) -> Option<Document> {
    let kind = match kind {
        None => Some(DocumentType::default()),
        named => fields.known("/id_type", named, wire::<DocumentType>),
    };
    let issuer = match issuer {
        None => Some(IssuingCountry::from(country)),
        named => fields.known("/id_country", named, IssuingCountry::from_iso),
    };
    fields.take("/id_number", Document::parse(kind?, issuer?, number))
}
