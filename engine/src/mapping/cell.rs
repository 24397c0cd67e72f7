//! Cells of a row: decoded text, null words, exact numbers.

use super::spec::{Encoding, Rules};
use super::{CELL_BYTES_MAX, Refused};
use models::record::QuarantineCode;
use serde_json::Value;
use std::borrow::Cow;

/// Most digits of a number: 18 fit an `i64`, the rest is what floating point leaves behind.
const DIGITS_MAX: u32 = 30;
/// Largest power of ten in scientific notation, either way.
const EXPONENT_MAX: u32 = 30;

/// The columns that a mapping uses, in its own order; null words are none.
pub struct Cells<'r>(Vec<Option<Cow<'r, str>>>);

impl<'r> Cells<'r> {
    /// Decodes what the rules use of a row.
    pub fn read(rules: &Rules, places: &[usize], row: &'r csv::ByteRecord) -> Result<Self, Refused> {
        let cell = |(column, place): (usize, &usize)| one(rules, column, row.get(*place).unwrap_or_default());
        places.iter().enumerate().map(cell).collect::<Result<_, _>>().map(Self)
    }

    /// The same of a JSON object: members of members are named with a point between.
    pub fn of_json(rules: &Rules, object: &serde_json::Map<String, Value>) -> Result<Self, Refused> {
        let cell = |column: &String| Ok(one_of_json(rules, column, object)?.map(Cow::Owned));
        rules.columns.iter().map(cell).collect::<Result<_, _>>().map(Self)
    }

    /// The text of a column; none where it holds a null word.
    pub fn get(&self, column: usize) -> Option<&str> {
        self.0.get(column)?.as_deref()
    }

    /// The same, where null is a refusal.
    pub fn required(&self, rules: &Rules, column: usize) -> Result<&str, Refused> {
        self.get(column).ok_or_else(|| (QuarantineCode::MissingField, format!("{}: missing", rules.columns[column])))
    }
}

/// One cell of a row of a file; none where it holds a null word.
pub fn one<'r>(rules: &Rules, column: usize, bytes: &'r [u8]) -> Result<Option<Cow<'r, str>>, Refused> {
    let name = || &rules.columns[column];
    if bytes.len() > CELL_BYTES_MAX {
        return Err((QuarantineCode::TooLarge, format!("{}: larger than {CELL_BYTES_MAX} bytes", name())));
    }
    let text = decode(rules.encoding, bytes)
        .ok_or_else(|| (QuarantineCode::Encoding, format!("{}: not {}", name(), rules.encoding.as_str())))?;
    let text = match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    };
    Ok(if rules.null.iter().any(|null| **null == *text) { None } else { Some(text) })
}

/// The same of a JSON object.
pub fn one_of_json(
    rules: &Rules,
    column: &str,
    object: &serde_json::Map<String, Value>,
) -> Result<Option<String>, Refused> {
    let Some(text) = member(object, column).and_then(|value| text_of(rules, value)) else { return Ok(None) };
    if text.len() > CELL_BYTES_MAX {
        return Err((QuarantineCode::TooLarge, format!("{column}: larger than {CELL_BYTES_MAX} bytes")));
    }
    if text.contains(is_broken) {
        return Err((QuarantineCode::Encoding, format!("{column}: holds control characters")));
    }
    let text = text.trim();
    Ok(if rules.null.iter().any(|null| null == text) { None } else { Some(text.to_owned()) })
}

/// The member of that name, or of that path.
fn member<'v>(object: &'v serde_json::Map<String, Value>, name: &str) -> Option<&'v Value> {
    if let Some(value) = object.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    member(object.get(first)?.as_object()?, rest)
}

/// How a file would have written it; none for null.
fn text_of(rules: &Rules, value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        // the mapping's numbers are those of texts: a number of JSON has a point
        Value::Number(number) => number.to_string().replace('.', rules.numbers.decimal.encode_utf8(&mut [0; 4])),
        other => other.to_string(),
    })
}

fn is_broken(c: char) -> bool {
    (c.is_control() && c != '\t') || c == char::REPLACEMENT_CHARACTER
}

/// Text of bytes. Control characters are refused in every encoding: single-byte encodings decode anything, and what
/// was UTF-8 shows as C1 controls there.
pub fn decode(encoding: Encoding, bytes: &[u8]) -> Option<Cow<'_, str>> {
    let text = match encoding {
        Encoding::Utf8 => Cow::Borrowed(std::str::from_utf8(bytes).ok()?),
        Encoding::Latin1 => encoding_rs::mem::decode_latin1(bytes),
        Encoding::Windows1252 => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0,
    };
    if text.contains(is_broken) { None } else { Some(text) }
}

/// How numbers are written.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// Between whole and fraction.
    pub decimal: char,
    /// Between groups of three, where written.
    pub thousands: Option<char>,
    /// Digits of the minor unit: 2 for cents.
    pub scale: u32,
    /// Whether digits beyond the minor unit are rounded (half away from zero) and flagged, or refused.
    pub round: bool,
}

/// A number in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// Minor units.
    pub minor: i64,
    /// False where digits were rounded away, or scientific notation may have done so before.
    pub exact: bool,
}

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Not a number as the mapping writes them.
    #[error("not a number")]
    NotANumber,
    /// More digits than the currency has.
    #[error("digits beyond the minor unit")]
    TooFine,
    /// Beyond 63 bits.
    #[error("too large")]
    TooLarge,
}

impl Numbers {
    /// Reads a number exactly; no floating point is involved.
    ///
    /// # Errors
    /// [`NumberError`]
    pub fn parse(&self, text: &str) -> Result<Number, NumberError> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (unsigned, None),
        };
        let (whole, fraction) = mantissa.split_once(self.decimal).unwrap_or((mantissa, ""));
        let whole = self.ungrouped(whole)?;
        if whole.is_empty() && fraction.is_empty() {
            return Err(NumberError::NotANumber);
        }
        let mut digits = 0i128;
        let mut count = 0;
        for digit in whole.chars().chain(fraction.chars()) {
            digits = digits * 10 + i128::from(digit.to_digit(10).ok_or(NumberError::NotANumber)?);
            count += u32::from(digits > 0);
            if count > DIGITS_MAX {
                return Err(NumberError::TooLarge);
            }
        }
        let power = match exponent {
            None => 0,
            Some(text) => text.parse::<i32>().map_err(|_| NumberError::NotANumber)?,
        };
        // not abs: the smallest i32 has none
        if power.unsigned_abs() > EXPONENT_MAX {
            return Err(NumberError::TooLarge);
        }
        let shift = self.scale as i32 + power - i32::try_from(fraction.len()).map_err(|_| NumberError::TooLarge)?;
        let ten = |power: u32| 10i128.checked_pow(power).ok_or(NumberError::TooLarge);
        let (minor, rest) = if shift >= 0 {
            (digits.checked_mul(ten(shift.unsigned_abs())?).ok_or(NumberError::TooLarge)?, 0)
        } else {
            let unit = ten(shift.unsigned_abs())?;
            let up = i128::from(digits % unit >= unit - digits % unit);
            (digits / unit + up, digits % unit)
        };
        if rest != 0 && !self.round {
            return Err(NumberError::TooFine);
        }
        let minor = i64::try_from(if negative { -minor } else { minor }).map_err(|_| NumberError::TooLarge)?;
        Ok(Number { minor, exact: rest == 0 && exponent.is_none() })
    }

    /// Whole digits without separators of thousands, which must stand before groups of exactly three.
    fn ungrouped<'t>(&self, whole: &'t str) -> Result<Cow<'t, str>, NumberError> {
        let Some(separator) = self.thousands.filter(|s| whole.contains(*s)) else { return Ok(Cow::Borrowed(whole)) };
        let mut groups = whole.split(separator);
        let first = groups.next().unwrap_or_default();
        if first.is_empty() || first.len() > 3 || groups.any(|g| g.len() != 3) {
            return Err(NumberError::NotANumber);
        }
        Ok(Cow::Owned(whole.replace(separator, "")))
    }
}

#[cfg(test)]
mod tests {
    use super::NumberError::{NotANumber, TooFine, TooLarge};
    use super::*;
    use proptest::prelude::*;

    const PLAIN: Numbers = Numbers { decimal: '.', thousands: None, scale: 2, round: false };

    #[test]
    fn numbers_are_read_exactly_or_refused() {
        let european = Numbers { decimal: ',', thousands: Some('.'), scale: 2, round: false };
        let rounding = Numbers { round: true, ..PLAIN };
        let ok = |minor| Ok(Number { minor, exact: true });
        let about = |minor| Ok(Number { minor, exact: false });
        let table = [
            (&PLAIN, "5", ok(500)),
            (&PLAIN, "1.44", ok(144)),
            (&PLAIN, "-2725965.0", ok(-272_596_500)),
            (&PLAIN, "+.5", ok(50)),
            (&PLAIN, "1.500", ok(150)),
            (&PLAIN, "2.00E+03", about(200_000)),
            (&PLAIN, "25e-1", about(250)),
            (&PLAIN, "1.445", Err(TooFine)),
            (&PLAIN, "1,44", Err(NotANumber)),
            (&PLAIN, "", Err(NotANumber)),
            (&PLAIN, "-", Err(NotANumber)),
            (&PLAIN, ".", Err(NotANumber)),
            (&PLAIN, "1.2.3", Err(NotANumber)),
            (&PLAIN, "--1", Err(NotANumber)),
            (&PLAIN, "0x10", Err(NotANumber)),
            (&PLAIN, "nan", Err(NotANumber)),
            (&PLAIN, "1e99", Err(TooLarge)),
            (&PLAIN, "1e-2147483648", Err(TooLarge)),
            (&PLAIN, "1e-2147483649", Err(NotANumber)),
            (&PLAIN, "92233720368547758.07", ok(i64::MAX)),
            (&PLAIN, "92233720368547758.08", Err(TooLarge)),
            (&PLAIN, "9999999999999999999999999999999", Err(TooLarge)),
            (&rounding, "3914.880000000001", about(391_488)),
            (&rounding, "0.005", about(1)),
            (&rounding, "-0.005", about(-1)),
            (&rounding, "0.0049", about(0)),
            (&european, "1.234.567,89", ok(123_456_789)),
            (&european, "12,5", ok(1250)),
            (&european, "1.23,4", Err(NotANumber)),
            (&european, ".123", Err(NotANumber)),
        ];
        for (numbers, text, wanted) in table {
            assert_eq!(numbers.parse(text), wanted, "{text}");
        }
    }

    #[test]
    fn bytes_are_text_or_refused() {
        let table: [(Encoding, &[u8], Option<&str>); 9] = [
            (Encoding::Utf8, "Ng'ang'a Ô".as_bytes(), Some("Ng'ang'a Ô")),
            (Encoding::Utf8, b"1-11\xd4\xc2", None),
            (Encoding::Utf8, "\u{fffd}".as_bytes(), None),
            (Encoding::Utf8, b"a\0b", None),
            (Encoding::Latin1, b"1-11\xd4\xc2", Some("1-11ÔÂ")),
            // UTF-8 taken for Latin-1
            (Encoding::Latin1, "€".as_bytes(), None),
            (Encoding::Latin1, b"\x80", None),
            (Encoding::Windows1252, b"\x80 5", Some("€ 5")),
            (Encoding::Windows1252, b"\x81", None),
        ];
        for (encoding, bytes, wanted) in table {
            assert_eq!(decode(encoding, bytes).as_deref(), wanted, "{encoding:?} {bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(minor in any::<i64>()) {
            let text = format!("{}{}.{:02}", if minor < 0 { "-" } else { "" }, minor.unsigned_abs() / 100, minor.unsigned_abs() % 100);
            prop_assert_eq!(PLAIN.parse(&text).map(|n| n.minor), Ok(minor));
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.,eE ]{0,40}") {
            let _ = PLAIN.parse(&text);
        }
    }
}
