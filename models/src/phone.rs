//! Phone numbers, because a phone is the identifier every operator has and the one people type in
//! twenty ways.
//!
//! Normalisation is a table lookup on the stack: the general `phonenumber` crate costs 1.4–8.6 µs a
//! number, more than the rest of a lookup together. A number is kept as its E.164
//! digits without the plus sign. Neither `Debug` nor an error ever shows a digit of it: a Kenyan
//! mobile number has at most 2×10⁸ values, so even half a number names a person.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest text taken as a phone number, in bytes; longer is refused unread.
pub const PHONE_TEXT_BYTES_MAX: usize = 40;

/// Most digits of an E.164 number (ITU-T E.164, section 6.2.1).
const E164_DIGITS_MAX: usize = 15;

/// Most digits looked at: E.164, an international prefix (`009`) and a bracketed trunk zero.
const TYPED_DIGITS_MAX: usize = E164_DIGITS_MAX + 4;

/// A country whose numbering plan the deployment knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Country {
    /// Kenya.
    #[serde(rename = "KE")]
    Ke,
    /// Nigeria.
    #[serde(rename = "NG")]
    Ng,
}

impl Country {
    /// Every configured country.
    pub const ALL: [Self; 2] = [Self::Ke, Self::Ng];

    /// ISO 3166-1 alpha-2 code, upper case.
    #[must_use]
    pub const fn iso(self) -> &'static str {
        match self {
            Self::Ke => "KE",
            Self::Ng => "NG",
        }
    }

    /// Reads an ISO 3166-1 alpha-2 code, or the country part of an ISO 3166-2 one (`KE-30`), in
    /// either case. `None` for a country without a numbering plan here.
    #[must_use]
    pub fn from_iso(text: &str) -> Option<Self> {
        let code = text.split_once('-').map_or(text, |(country, _)| country);
        Self::ALL.into_iter().find(|country| country.iso().eq_ignore_ascii_case(code))
    }

    const fn plan(self) -> &'static NumberingPlan {
        match self {
            Self::Ke => &KENYA,
            Self::Ng => &NIGERIA,
        }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.iso())
    }
}

/// How one country writes its mobile numbers.
struct NumberingPlan {
    country: Country,
    /// Country calling code.
    calling: &'static [u8],
    /// Digits of a national number, without the trunk zero.
    national_digits: usize,
    /// What people there dial before a country code, besides `+`; longest first.
    international_prefixes: &'static [&'static [u8]],
    /// Leading digits of mobile numbers, without the trunk zero.
    mobile_leads: &'static [&'static [u8]],
}

/// `^\+254[17]\d{8}$`.
const KENYA: NumberingPlan = NumberingPlan {
    country: Country::Ke,
    calling: b"254",
    national_digits: 9,
    international_prefixes: &[b"000", b"00"],
    mobile_leads: &[b"1", b"7"],
};

/// Nigerian Communications Commission's national numbering plan as secondary sources give it:
/// ten digits beginning 70–72, 80–81 or 90–91.
const NIGERIA: NumberingPlan = NumberingPlan {
    country: Country::Ng,
    calling: b"234",
    national_digits: 10,
    international_prefixes: &[b"009", b"00"],
    mobile_leads: &[b"70", b"71", b"72", b"80", b"81", b"90", b"91"],
};

/// Why a text is not a mobile number; names the problem, never the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    /// No digit in it.
    #[error("phone number is empty")]
    Empty,
    /// More than [`PHONE_TEXT_BYTES_MAX`] bytes, or more digits than any number has.
    #[error("phone number is too long")]
    TooLong,
    /// A character other than digits, spaces, dashes, brackets, dots and one leading plus.
    #[error("phone number holds a character that does not belong")]
    Character,
    /// Written internationally, for a country that is not configured.
    #[error("phone number is of a country that is not configured")]
    Country,
    /// Digits missing or too many for the country.
    #[error("phone number has a wrong number of digits for its country")]
    Length,
    /// The right length, but not in a mobile range.
    #[error("phone number is not in a mobile range of its country")]
    NotMobile,
}

/// A mobile number in E.164, on the stack.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Phone {
    digits: [u8; E164_DIGITS_MAX],
    len: u8,
    country: Country,
}

impl Phone {
    /// Reads a number as people write it: `07…`, `01…`, `254…`, `7…`, `+…`, `00254…`,
    /// `+254 (0)7…`, with spaces, dashes, brackets and dots.
    ///
    /// `default` is the country of the caller's jurisdiction, which decides what a number without a
    /// country code means.
    ///
    /// # Errors
    /// [`PhoneError`] names the first problem found.
    pub fn parse(text: &str, default: Country) -> Result<Self, PhoneError> {
        let typed = Typed::read(text)?;
        let digits = typed.digits();
        if typed.plus {
            return international(digits);
        }
        for prefix in default.plan().international_prefixes {
            if let Some(rest) = digits.strip_prefix(*prefix) {
                match international(rest) {
                    Err(PhoneError::Country) => {}
                    other => return other,
                }
            }
        }
        if digits.starts_with(b"00") {
            return Err(PhoneError::Country);
        }
        let plan = default.plan();
        if let Some(national) = digits.strip_prefix(b"0") {
            return Self::from_national(plan, national);
        }
        if digits.len() == plan.national_digits {
            return Self::from_national(plan, digits);
        }
        match international(digits) {
            Err(PhoneError::Country) => Err(PhoneError::Length),
            other => other,
        }
    }

    fn from_national(plan: &NumberingPlan, national: &[u8]) -> Result<Self, PhoneError> {
        if national.len() != plan.national_digits {
            return Err(PhoneError::Length);
        }
        if !plan.mobile_leads.iter().any(|lead| national.starts_with(lead)) {
            return Err(PhoneError::NotMobile);
        }
        let calling = plan.calling.len();
        let len = calling + national.len();
        let mut digits = [0; E164_DIGITS_MAX];
        digits[..calling].copy_from_slice(plan.calling);
        digits[calling..len].copy_from_slice(national);
        Ok(Self { digits, len: len as u8, country: plan.country })
    }

    /// ASCII digits with the country code and without the plus: what digests are taken over.
    #[must_use]
    pub fn e164_digits(&self) -> &[u8] {
        &self.digits[..usize::from(self.len)]
    }

    /// `+254712345678`, for the sealed vault and for the provider that sends a message; nowhere else.
    #[must_use]
    pub fn reveal_e164(&self) -> String {
        let mut text = String::with_capacity(1 + E164_DIGITS_MAX);
        text.push('+');
        text.extend(self.e164_digits().iter().map(|&digit| char::from(digit)));
        text
    }

    /// Country whose numbering plan the number follows.
    #[must_use]
    pub const fn country(&self) -> Country {
        self.country
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phone(redacted)")
    }
}

/// A number that begins with its country code.
fn international(digits: &[u8]) -> Result<Phone, PhoneError> {
    for country in Country::ALL {
        let plan = country.plan();
        if let Some(rest) = digits.strip_prefix(plan.calling) {
            // "+254 (0)712 …": the trunk zero some people keep behind the country code
            let national = match rest.strip_prefix(b"0") {
                Some(trimmed) if trimmed.len() == plan.national_digits => trimmed,
                _ => rest,
            };
            return Phone::from_national(plan, national);
        }
    }
    Err(PhoneError::Country)
}

/// The digits of a text and whether a plus stood before them.
struct Typed {
    digits: [u8; TYPED_DIGITS_MAX],
    len: usize,
    plus: bool,
}

impl Typed {
    fn read(text: &str) -> Result<Self, PhoneError> {
        if text.len() > PHONE_TEXT_BYTES_MAX {
            return Err(PhoneError::TooLong);
        }
        let mut typed = Self { digits: [0; TYPED_DIGITS_MAX], len: 0, plus: false };
        for character in text.chars() {
            match character {
                '0'..='9' => {
                    let slot = typed.digits.get_mut(typed.len).ok_or(PhoneError::TooLong)?;
                    *slot = character as u8;
                    typed.len += 1;
                }
                '+' if typed.len == 0 && !typed.plus => typed.plus = true,
                // no-break space, figure dash to en dash: what word processors make of them
                ' ' | '-' | '(' | ')' | '.' | '\u{a0}' | '\u{2010}'..='\u{2013}' => {}
                _ => return Err(PhoneError::Character),
            }
        }
        if typed.len == 0 { Err(PhoneError::Empty) } else { Ok(typed) }
    }

    fn digits(&self) -> &[u8] {
        &self.digits[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(default: Country, text: &str, expected: Result<&str, PhoneError>) {
        let parsed = Phone::parse(text, default).map(|phone| phone.reveal_e164());
        assert_eq!(parsed.as_deref().map_err(|error| *error), expected, "{text:?} in {default}");
    }

    #[test]
    fn kenyan_spellings_of_one_number() {
        for text in [
            "+254712345678",
            "254712345678",
            "0712345678",
            "712345678",
            "00254712345678",
            "000254712345678",
            "+254 712 345 678",
            "+254-712-345-678",
            "(+254) 712.345.678",
            "+254 (0)712 345 678",
            "(0712) 345-678",
            " 0712\u{a0}345 678 ",
        ] {
            check(Country::Ke, text, Ok("+254712345678"));
        }
        check(Country::Ke, "0112345678", Ok("+254112345678"));
        check(Country::Ke, "112345678", Ok("+254112345678"));
        check(Country::Ke, "+234 803 123 4567", Ok("+2348031234567"));
        check(Country::Ke, "2348031234567", Ok("+2348031234567"));
    }

    #[test]
    fn nigerian_spellings_of_one_number() {
        for text in [
            "+2348031234567",
            "2348031234567",
            "08031234567",
            "8031234567",
            "002348031234567",
            "0092348031234567",
            "+234 (0)803 123 4567",
        ] {
            check(Country::Ng, text, Ok("+2348031234567"));
        }
        check(Country::Ng, "+254712345678", Ok("+254712345678"));
        check(Country::Ng, "07021234567", Ok("+2347021234567"));
        check(Country::Ng, "09121234567", Ok("+2349121234567"));
    }

    #[test]
    fn refusals_name_the_problem() {
        use PhoneError as E;
        for (default, text, error) in [
            (Country::Ke, "", E::Empty),
            (Country::Ke, " +-() ", E::Empty),
            (Country::Ke, "07123x5678", E::Character),
            (Country::Ke, "++254712345678", E::Character),
            (Country::Ke, "0712+345678", E::Character),
            (Country::Ke, "٠٧١٢٣٤٥٦٧٨", E::Character),
            (Country::Ke, "071234567", E::Length),
            (Country::Ke, "07123456789", E::Length),
            (Country::Ke, "12", E::Length),
            (Country::Ke, "+25471234567", E::Length),
            (Country::Ke, "0212345678", E::NotMobile),
            (Country::Ke, "+254012345678", E::NotMobile),
            (Country::Ke, "812345678", E::NotMobile),
            (Country::Ke, "+256712345678", E::Country),
            (Country::Ke, "00256712345678", E::Country),
            (Country::Ng, "08231234567", E::NotMobile),
            (Country::Ng, "0803123456", E::Length),
            (Country::Ke, "11111111111111111111", E::TooLong),
            (Country::Ke, "                                         7", E::TooLong),
        ] {
            check(default, text, Err(error));
        }
    }

    #[test]
    fn debug_and_errors_show_no_digit() {
        let phone = Phone::parse("0712345678", Country::Ke);
        assert_eq!(format!("{phone:?}"), "Ok(Phone(redacted))");
        let refused = Phone::parse("0212345678", Country::Ke);
        assert!(!format!("{refused:?} {}", PhoneError::NotMobile).contains(|c: char| c.is_ascii_digit()));
    }

    #[test]
    fn countries_read_from_iso_codes() {
        assert_eq!(Country::from_iso("ke"), Some(Country::Ke));
        assert_eq!(Country::from_iso("NG-LA"), Some(Country::Ng));
        assert_eq!(Country::from_iso("UG"), None);
    }

    proptest! {
        #[test]
        fn any_text_parses_to_itself_or_is_refused(text in "\\PC{0,45}", nigeria: bool) {
            let default = if nigeria { Country::Ng } else { Country::Ke };
            if let Ok(phone) = Phone::parse(&text, default) {
                let e164 = phone.reveal_e164();
                prop_assert_eq!(Phone::parse(&e164, Country::Ke), Ok(phone));
                prop_assert_eq!(Phone::parse(&e164, Country::Ng), Ok(phone));
            }
        }

        #[test]
        fn separators_change_nothing(national in "[17][0-9]{8}", gaps in prop::collection::vec("[ ().-]{0,2}", 10)) {
            let typed = format!("0{national}");
            let spaced: String = typed.chars().zip(&gaps).map(|(c, gap)| format!("{gap}{c}")).collect();
            prop_assert_eq!(Phone::parse(&spaced, Country::Ke), Phone::parse(&typed, Country::Ke));
            prop_assert_eq!(Phone::parse(&typed, Country::Ke).map(|p| p.reveal_e164()), Ok(format!("+254{national}")));
        }
    }
}
