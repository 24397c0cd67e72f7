//! The sandbox: a register and a journal of their own behind `mk_test_` keys, with people who are always the same.
//!
//! Whoever builds against the product tries every status, decision and error here before a live key exists. It is the
//! same program: the same routes, checks, signatures and evidence, on a second engine over a small embedded store.

use actix_web::HttpResponse;
use models::document::{Document, DocumentType};
use models::exclusion::Period;
use models::phone::{Country, Phone};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{Code, Problem};
use crate::routes::list::ListView;
use crate::state::AppState;

/// What is to come of a lookup of a test person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Not in the register.
    Unknown,
    /// Excluded for this period, from the first start of the sandbox on.
    Excluded(Period),
    /// Was excluded; a break that is over.
    Previously,
    /// Excluded with a document: asked about by phone and another document, it is a case for people.
    Review,
    /// The lookup is refused with this problem.
    Refused(Code),
}

/// A test person.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    /// The last digits of phone and document.
    pub number: u32,
    /// What is to come of it.
    pub part: Part,
    /// For people.
    pub note: &'static str,
}

/// Everybody in the sandbox.
pub const PEOPLE: &[Person] = &[
    Person { number: 1, part: Part::Unknown, note: "not in the register: allow for every purpose" },
    Person { number: 2, part: Part::Excluded(Period::Permanent), note: "excluded for good: block, but for withdrawal" },
    Person { number: 3, part: Part::Excluded(Period::Year1), note: "excluded for a year" },
    Person {
        number: 4,
        part: Part::Excluded(Period::Years5Renewing),
        note: "excluded for five years, again and again",
    },
    Person { number: 5, part: Part::Previously, note: "was excluded: block for marketing, else allow" },
    Person {
        number: 6,
        part: Part::Review,
        note: "excluded; asked about by this phone with any other id_number it is review: hold for registration and sweep",
    },
    Person { number: 429, part: Part::Refused(Code::RateLimited), note: "429 rate_limited with Retry-After" },
    Person { number: 503, part: Part::Refused(Code::NotReady), note: "503 not_ready: no answer is not an answer" },
    Person { number: 504, part: Part::Refused(Code::Degraded), note: "503 degraded: ask again later" },
    Person { number: 505, part: Part::Refused(Code::Overloaded), note: "503 overloaded with Retry-After" },
];

impl Person {
    /// The phone number in a country, E.164.
    #[must_use]
    pub fn phone(&self, country: Country) -> String {
        match country {
            Country::Ke => format!("+254700000{:03}", self.number),
            Country::Ng => format!("+2348030000{:03}", self.number),
        }
    }

    /// The document in a country.
    #[must_use]
    pub fn document(&self, country: Country) -> (DocumentType, String) {
        match country {
            Country::Ke => (DocumentType::NationalId, format!("90000{:03}", self.number)),
            Country::Ng => (DocumentType::Nin, format!("90000000{:03}", self.number)),
        }
    }
}

/// Refuses where the phone or the document asks for it.
pub(crate) fn refuse(phone: Option<&Phone>, document: Option<&Document>, country: Country) -> Result<(), Problem> {
    let (phone, document) = (phone.map(Phone::reveal_e164), document.map(Document::reveal_number));
    let refused = PEOPLE.iter().find_map(|person| match person.part {
        Part::Refused(code)
            if phone.as_ref().is_some_and(|text| *text == person.phone(country))
                || document.as_ref().is_some_and(|text| *text == person.document(country).1) =>
        {
            Some(code)
        }
        _ => None,
    });
    match refused {
        None => Ok(()),
        Some(Code::RateLimited) => Err(Problem::rate_limited("the sandbox's person for this", 1)),
        Some(code) => Err(Problem::new(code, "the sandbox's person for this")),
    }
}

/// A test person, as the documentation lists them.
#[derive(Serialize, ToSchema)]
pub struct PersonView {
    /// Code of the jurisdiction.
    pub jurisdiction: String,
    /// E.164.
    pub phone: String,
    /// Number of the identity document.
    pub id_number: String,
    /// Its type.
    #[schema(value_type = String)]
    pub id_type: DocumentType,
    /// What comes of a lookup.
    pub note: &'static str,
}

/// The people of the sandbox. With a key of the form `mk_test_…` every path leads there; staff make such a key of an
/// operator with `"sandbox": true`.
#[utoipa::path(
    get, path = "/api/v1/sandbox", tag = "sandbox",
    responses((status = 200, description = "Test people of every jurisdiction; none where there is no sandbox", body = ListView<PersonView>))
)]
pub async fn people(state: AppState) -> HttpResponse {
    if state.sandbox().is_none() && !state.options.sandbox {
        return HttpResponse::Ok().json(ListView::<PersonView> { items: Vec::new(), next_cursor: None });
    }
    let directory = state.engine.directory();
    let each = directory.jurisdictions.iter().flat_map(|jurisdiction| {
        PEOPLE.iter().map(|person| {
            let (id_type, id_number) = person.document(jurisdiction.country);
            PersonView {
                jurisdiction: jurisdiction.code.clone(),
                phone: person.phone(jurisdiction.country),
                id_number,
                id_type,
                note: person.note,
            }
        })
    });
    HttpResponse::Ok().json(ListView { items: each.collect(), next_cursor: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::document::IssuingCountry;

    #[test]
    fn everybody_has_a_number_and_a_document_that_the_product_takes() {
        for country in [Country::Ke, Country::Ng] {
            for person in PEOPLE {
                let phone = Phone::parse(&person.phone(country), country);
                assert!(phone.is_ok(), "{}", person.phone(country));
                let (kind, number) = person.document(country);
                assert!(Document::parse(kind, IssuingCountry::from(country), &number).is_ok(), "{number}");
                let document = Document::parse(kind, IssuingCountry::from(country), &number).unwrap();
                let refused = refuse(phone.as_ref().ok(), None, country).err().map(|p| p.code);
                assert_eq!(refused, refuse(None, Some(&document), country).err().map(|p| p.code));
                let wanted = if let Part::Refused(code) = person.part { Some(code) } else { None };
                assert_eq!(refused, wanted);
            }
        }
    }
}
