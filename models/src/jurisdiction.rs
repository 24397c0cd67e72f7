//! Jurisdictions: whose law binds an operator, a key, an exclusion.

use crate::money::Currency;
use crate::phone::Country;
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
