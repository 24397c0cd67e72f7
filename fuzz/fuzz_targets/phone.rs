//! Phones: any text is a number or is refused, and a normalised number is its own normal form in every country.

#![no_main]

use libfuzzer_sys::fuzz_target;
use models::phone::{Country, PHONE_TEXT_BYTES_MAX, Phone};

fuzz_target!(|bytes: &[u8]| {
    let valid = std::str::from_utf8(bytes).map_or_else(|e| e.valid_up_to(), str::len);
    let text = std::str::from_utf8(&bytes[..valid]).unwrap_or_default();
    for country in Country::ALL {
        check(text, country);
    }
});

fn check(text: &str, default: Country) {
    let phone = match Phone::parse(text, default) {
        Ok(phone) => phone,
        Err(error) => {
            assert!(!error.to_string().contains(|c: char| c.is_ascii_digit()), "a refusal tells nothing of the number");
            return;
        }
    };
    assert!(text.len() <= PHONE_TEXT_BYTES_MAX);
    let digits = std::str::from_utf8(phone.e164_digits()).expect("digits");
    assert!((8..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()));
    let written = phone.reveal_e164();
    assert_eq!(written, format!("+{digits}"));
    for country in Country::ALL {
        assert_eq!(Phone::parse(&written, country), Ok(phone), "with a plus it means the same everywhere");
    }
    for spelling in [digits.to_owned(), format!("00{digits}"), format!("(+{digits})")] {
        assert_eq!(Phone::parse(&spelling, phone.country()), Ok(phone));
    }
    // typed as at home: the number without its country code, with the trunk zero
    let home = match phone.country() {
        Country::Ke => digits.strip_prefix("254"),
        Country::Ng => digits.strip_prefix("234"),
    };
    let home = format!("0{}", home.expect("the code of its country"));
    assert_eq!(Phone::parse(&home, phone.country()), Ok(phone));
    assert_eq!(format!("{phone:?}"), "Phone(redacted)");
}
