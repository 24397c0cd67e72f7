//! Time as one integer: microseconds since the Unix epoch, UTC.
//!
//! Zones and calendars matter only where a window or a period is cut; those places use `jiff`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;
/// Microseconds in a minute.
pub const MINUTE: i64 = 60 * SECOND;
/// Microseconds in an hour.
pub const HOUR: i64 = 60 * MINUTE;
/// Microseconds in a day of 24 hours.
pub const DAY: i64 = 24 * HOUR;

/// An instant: microseconds since 1970-01-01T00:00:00Z. On the wire RFC 3339 with milliseconds;
/// in the journal, where nothing may be rounded, use [`micros`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ts(pub i64);

/// Text that is not an RFC 3339 instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time between the years 1970 and 9999")]
pub struct TsError;

impl Ts {
    /// Reads RFC 3339 (`2026-11-21T10:00:00.123Z`, or with an offset). Years before 1970 are refused.
    pub fn parse(text: &str) -> Result<Self, TsError> {
        if let Some(fast) = parse_utc(text.as_bytes()) {
            return Ok(fast);
        }
        let instant: jiff::Timestamp = text.parse().map_err(|_| TsError)?;
        let micros = instant.as_microsecond();
        if micros < 0 { Err(TsError) } else { Ok(Self(micros)) }
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(SECOND)
    }

    /// Moves by `micros` microseconds, staying within the range of `i64`.
    #[must_use]
    pub fn plus(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Start of the span of `length` microseconds this instant lies in, spans counted from the epoch.
    #[must_use]
    pub fn floor_to(self, length: i64) -> Self {
        Self(self.0 - self.0.rem_euclid(length))
    }

    /// Writes RFC 3339 UTC with milliseconds into a fixed buffer (24 bytes): the hot paths' formatter.
    pub fn format_millis(self) -> [u8; 24] {
        let mut out = *b"0000-00-00T00:00:00.000Z";
        let millis = self.0.div_euclid(1000);
        let (days, in_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
        let (year, month, day) = civil_from_days(days);
        put(&mut out[0..4], year.clamp(0, 9999));
        put(&mut out[5..7], month);
        put(&mut out[8..10], day);
        put(&mut out[11..13], in_day / 3_600_000);
        put(&mut out[14..16], in_day / 60_000 % 60);
        put(&mut out[17..19], in_day / 1000 % 60);
        put(&mut out[20..23], in_day % 1000);
        out
    }
}

/// The common shape `YYYY-MM-DDTHH:MM:SS[.fraction]Z`, without allocation.
fn parse_utc(b: &[u8]) -> Option<Ts> {
    let body = b.strip_suffix(b"Z")?;
    if body.len() < 19 || body[4] != b'-' || body[7] != b'-' || body[10] != b'T' || body[13] != b':' || body[16] != b':'
    {
        return None;
    }
    let (year, month, day) = (number(&body[0..4])?, number(&body[5..7])?, number(&body[8..10])?);
    let (hour, minute, second) = (number(&body[11..13])?, number(&body[14..16])?, number(&body[17..19])?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut micros = 0;
    if let Some(rest) = body.get(19..).filter(|rest| !rest.is_empty()) {
        let digits = rest.strip_prefix(b".")?;
        if digits.is_empty() || digits.len() > 9 {
            return None;
        }
        number(digits)?;
        for i in 0..6 {
            micros = micros * 10 + digits.get(i).map_or(0, |d| i64::from(d - b'0'));
        }
    }
    let days = days_from_civil(year, month, day);
    Some(Ts((days * 86_400 + hour * 3600 + minute * 60 + second) * SECOND + micros))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0i64, |n, d| d.is_ascii_digit().then(|| n * 10 + i64::from(d - b'0')))
}

fn put(out: &mut [u8], mut value: i64) {
    for slot in out.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since the epoch of a Gregorian date (H. Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

/// The inverse of [`days_from_civil`]: (year, month, day).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

impl fmt::Display for Ts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.format_millis();
        f.write_str(std::str::from_utf8(&bytes).unwrap_or_default())
    }
}

impl fmt::Debug for Ts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Ts {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        // nobody reads a snapshot, and nothing in it may be rounded
        if s.is_human_readable() { s.collect_str(self) } else { s.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Ts {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Ts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Ts, E> {
                Ts::parse(text).map_err(E::custom)
            }
        }
        if d.is_human_readable() { d.deserialize_str(Visitor) } else { i64::deserialize(d).map(Self) }
    }
}

/// `#[serde(with = "ts::micros")]`: the exact integer, for journal payloads.
pub mod micros {
    use super::Ts;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the microseconds.
    pub fn serialize<S: Serializer>(ts: &Ts, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_i64(ts.0)
    }

    /// Reads the microseconds.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Ts, D::Error> {
        i64::deserialize(d).map(Ts)
    }

    /// The same for an optional time.
    pub mod option {
        use super::super::Ts;
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        /// Writes the microseconds or null.
        pub fn serialize<S: Serializer>(ts: &Option<Ts>, s: S) -> Result<S::Ok, S::Error> {
            ts.map(|t| t.0).serialize(s)
        }

        /// Reads the microseconds or null.
        pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Ts>, D::Error> {
            Ok(Option::<i64>::deserialize(d)?.map(Ts))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_rfc_3339_allows_and_refuses_the_rest() {
        let table = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2021-11-20T19:44:19Z", Some(1_637_437_459_000_000)),
            ("2024-02-29T23:59:59.999999Z", Some(1_709_251_199_999_999)),
            ("2024-02-29T12:00:00+03:00", Some(1_709_197_200_000_000)),
            ("2023-02-29T00:00:00Z", None),
            ("1969-12-31T23:59:59Z", None),
            ("2024-01-01", None),
            ("2024-01-01T25:00:00Z", None),
            ("2024-01-01T00:00:00.Z", None),
            ("", None),
        ];
        for (text, micros) in table {
            assert_eq!(Ts::parse(text).ok().map(|t| t.0), micros, "{text}");
        }
    }

    proptest! {
        #[test]
        fn millis_survive_the_wire(millis in 0i64..253_402_300_799_999) {
            let ts = Ts(millis * 1000);
            prop_assert_eq!(Ts::parse(&ts.to_string()), Ok(ts));
            let reference = jiff::Timestamp::from_millisecond(millis).unwrap();
            prop_assert_eq!(ts.to_string(), format!("{reference:.3}"));
        }
    }
}
