//! Jurisdictions: whose law binds an operator, a key, an exclusion.

use crate::money::Currency;
use crate::phone::Country;
use crate::ts::{Ts, micros};
use serde::{Deserialize, Serialize};

/// Most jurisdictions one deployment can hold: the index keeps them as a 16-bit mask.
pub const JURISDICTIONS_MAX: usize = 16;

/// Position of a jurisdiction in the deployment's list (0–15); stable, because it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JurisdictionNo(pub u8);

impl JurisdictionNo {
    /// The bit of this jurisdiction in a mask.
    pub fn mask(self) -> u16 {
        1 << (self.0 & 15)
    }
}

/// Several jurisdictions: those whose exclusions bind in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct JurisdictionSet(u16);

impl JurisdictionSet {
    /// With a further one.
    #[must_use]
    pub fn with(self, no: JurisdictionNo) -> Self {
        Self(self.0 | Self::from(no).0)
    }

    /// A bit each.
    #[must_use]
    pub fn mask(self) -> u16 {
        self.0
    }

    /// Those of a mask.
    #[must_use]
    pub fn of_mask(mask: u16) -> Self {
        Self(mask)
    }

    /// Is it one of them?
    #[must_use]
    pub fn contains(self, no: JurisdictionNo) -> bool {
        self.0 & Self::from(no).0 != 0
    }
}

impl From<JurisdictionNo> for JurisdictionSet {
    /// That one alone; none where there is no such number.
    fn from(no: JurisdictionNo) -> Self {
        Self(if usize::from(no.0) < JURISDICTIONS_MAX { no.mask() } else { 0 })
    }
}

/// For a span of time, a jurisdiction treats the exclusions of another one as its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recognition {
    /// Where they bind.
    pub jurisdiction: JurisdictionNo,
    /// Where they were made.
    pub recognises: JurisdictionNo,
    /// First instant; together with both jurisdictions it names the recognition.
    #[serde(with = "micros")]
    pub valid_from: Ts,
    /// First instant after it; none = open.
    #[serde(with = "micros::option")]
    pub valid_to: Option<Ts>,
}

impl Recognition {
    /// Does it hold at `now`?
    #[must_use]
    pub fn holds(&self, now: Ts) -> bool {
        self.valid_from <= now && self.valid_to.is_none_or(|to| now < to)
    }
}

/// One jurisdiction as configured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jurisdiction {
    /// Code such as `KE` or `NG-LA`.
    pub code: String,
    /// Name for people.
    pub name: String,
    /// Country whose phone and document rules apply.
    pub country: Country,
    /// Currency of its amounts where none is named.
    pub currency: Currency,
    /// IANA time zone in which days and weeks are cut, e.g. `Africa/Nairobi`.
    pub time_zone: String,
}

impl Jurisdiction {
    /// Each with its number: its place in the deployment's list.
    pub fn numbered(all: &[Self]) -> impl Iterator<Item = (JurisdictionNo, &Self)> {
        (0..).map(JurisdictionNo).zip(all)
    }

    /// The number of the one with this code.
    #[must_use]
    pub fn by_code(all: &[Self], code: &str) -> Option<JurisdictionNo> {
        Self::numbered(all).find(|(_, known)| known.code == code).map(|(no, _)| no)
    }
}
