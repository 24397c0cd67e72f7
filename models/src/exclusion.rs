//! Exclusions: periods, what happens at their end, and status.

use crate::ts::Ts;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// How long an exclusion binds at least. Source: the periods of the two regulators' self-exclusion forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Period {
    /// A break of 24 hours.
    #[serde(rename = "24_hours")]
    Hours24,
    /// Ten days.
    #[serde(rename = "10_days")]
    Days10,
    /// One calendar month.
    #[serde(rename = "1_month")]
    Month1,
    /// Three calendar months.
    #[serde(rename = "3_months")]
    Months3,
    /// Six calendar months.
    #[serde(rename = "6_months")]
    Months6,
    /// One year.
    #[serde(rename = "1_year")]
    Year1,
    /// Three years.
    #[serde(rename = "3_years")]
    Years3,
    /// Five years.
    #[serde(rename = "5_years")]
    Years5,
    /// Five years, renewed at the end.
    #[serde(rename = "5_years_renewing")]
    Years5Renewing,
    /// Without end.
    #[serde(rename = "permanent")]
    Permanent,
}

/// What happens when the minimum period is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtEnd {
    /// The exclusion ends by itself.
    Lapse,
    /// It stays on until a gated exit.
    StayOn,
    /// It starts again for the same period.
    Renew,
}

impl Period {
    /// Every period, shortest first.
    pub const ALL: [Self; 10] = [
        Self::Hours24,
        Self::Days10,
        Self::Month1,
        Self::Months3,
        Self::Months6,
        Self::Year1,
        Self::Years3,
        Self::Years5,
        Self::Years5Renewing,
        Self::Permanent,
    ];

    /// What happens at the end.
    pub fn at_end(self) -> AtEnd {
        match self {
            Self::Hours24 | Self::Days10 => AtEnd::Lapse,
            Self::Years5Renewing => AtEnd::Renew,
            _ => AtEnd::StayOn,
        }
    }

    /// End of the minimum period; `None` for a permanent one. Months and years are calendar ones in
    /// `zone`, so that "one year" ends on the same date at the same local hour; rounded up to a whole second,
    /// because an exclusion may end late but never early.
    pub fn ends_at(self, from: Ts, zone: &TimeZone) -> Option<Ts> {
        let span = match self {
            Self::Hours24 => 24.hours(),
            Self::Days10 => (10 * 24).hours(),
            Self::Month1 => 1.month(),
            Self::Months3 => 3.months(),
            Self::Months6 => 6.months(),
            Self::Year1 => 1.year(),
            Self::Years3 => 3.years(),
            Self::Years5 | Self::Years5Renewing => 5.years(),
            Self::Permanent => return None,
        };
        let start = Timestamp::from_microsecond(from.0).ok()?.to_zoned(zone.clone());
        let end = start.checked_add(span).ok()?.timestamp().as_microsecond();
        Some(Ts(end.saturating_add(999_999).div_euclid(1_000_000) * 1_000_000))
    }

    /// Stable number for storage and the index (1–10).
    pub fn code(self) -> u8 {
        Self::ALL.iter().position(|p| *p == self).map_or(0, |i| i as u8 + 1)
    }

    /// The period with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// The wire name, e.g. `6_months`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hours24 => "24_hours",
            Self::Days10 => "10_days",
            Self::Month1 => "1_month",
            Self::Months3 => "3_months",
            Self::Months6 => "6_months",
            Self::Year1 => "1_year",
            Self::Years3 => "3_years",
            Self::Years5 => "5_years",
            Self::Years5Renewing => "5_years_renewing",
            Self::Permanent => "permanent",
        }
    }
}

/// What a register says of a person in a jurisdiction. Order is strictness, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Known or unknown, no exclusion.
    NotExcluded,
    /// An exclusion ended.
    PreviouslyExcluded,
    /// A near match that a person must judge.
    Review,
    /// Excluded now.
    Excluded,
}

impl Status {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotExcluded => "not_excluded",
            Self::PreviouslyExcluded => "previously_excluded",
            Self::Review => "review",
            Self::Excluded => "excluded",
        }
    }
}

/// Who asked for the exclusion. Never shown to an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ReasonClass {
    #[serde(rename = "self")]
    Own,
    ThirdParty,
    OperatorHarm,
    Court,
    Regulator,
    Welfare,
}

/// Where the exclusion was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Channel {
    Web,
    Ussd,
    Retail,
    Phone,
    Operator,
    Import,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_end_on_the_calendar_and_never_early() {
        let nairobi = TimeZone::get("Africa/Nairobi").unwrap();
        let table = [
            ("2026-01-31T10:00:00.000Z", Period::Month1, Some("2026-02-28T10:00:00.000Z")),
            ("2026-01-31T10:00:00.000Z", Period::Hours24, Some("2026-02-01T10:00:00.000Z")),
            ("2026-01-31T10:00:00.500Z", Period::Days10, Some("2026-02-10T10:00:01.000Z")),
            ("2024-02-29T22:30:00.000Z", Period::Year1, Some("2025-02-28T22:30:00.000Z")),
            ("2026-01-01T00:00:00.000Z", Period::Years5Renewing, Some("2031-01-01T00:00:00.000Z")),
            ("2026-01-01T00:00:00.000Z", Period::Permanent, None),
        ];
        for (from, period, end) in table {
            let got = period.ends_at(Ts::parse(from).unwrap(), &nairobi).map(|t| t.to_string());
            assert_eq!(got.as_deref(), end, "{from} {}", period.as_str());
        }
    }

    #[test]
    fn wire_names_and_codes_agree() {
        for period in Period::ALL {
            assert_eq!(serde_json::to_string(&period).unwrap(), format!("\"{}\"", period.as_str()));
            assert_eq!(Period::from_code(period.code()), Some(period));
        }
        assert_eq!(Period::from_code(0), None);
    }
}
