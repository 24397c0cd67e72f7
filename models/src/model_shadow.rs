//! A version of a model beside the promoted one: who let it run there, and what was counted of it a day.
//!
//! ```text
//! registered or replaced ─shadow─▶ scores beside the promoted version ─unshadow, promote or retire─▶ over
//!                                      └▶ operator's day over ─▶ ShadowDayCounted
//! ```
//! At most one version of a kind is in the shadow of a jurisdiction. Nothing follows from its scores, and none of them is stored: a day
//! says how many there were from the bound on, and names a few. Whoever plays at several operators is scored at each of
//! them, and not across them.

use crate::ids::{KeyId, OperatorNo};
use crate::jurisdiction::JurisdictionNo;
use crate::match_key::MatchKey;
use crate::money::Currency;
use crate::risk_model::ModelKind;
use crate::ts::{Ts, micros};
use serde::{Deserialize, Serialize};

/// Examples of a day at most.
pub const EXAMPLES_MAX: usize = 10;
/// What the promoted version had at or above the bound on a day and is named at most.
pub const NAMED_MAX: usize = 500;
/// Promoted versions that a day names at most.
pub const BESIDE_MAX: usize = 16;

/// A person lets a version score in the shadow of a jurisdiction from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ModelShadowStarted {
    pub kind: ModelKind,
    pub version: u32,
    /// Where; none of before migration 0045: in every jurisdiction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jurisdiction: Option<JurisdictionNo>,
    pub by: String,
    /// With which key; none where the name was only typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_key: Option<KeyId>,
    pub reason: String,
}

/// A person ended the shadow of a version. Its promotion, a way back to it or its retirement ends it as well, and is not said
/// twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ModelShadowEnded {
    pub kind: ModelKind,
    pub version: u32,
    /// Where; none of before migration 0045: in every jurisdiction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jurisdiction: Option<JurisdictionNo>,
    pub by: String,
    /// With which key; none where the name was only typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_key: Option<KeyId>,
    pub reason: String,
}

/// What two versions said of the same rows: records, or players at the end of a day on which they played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowCounts {
    /// Rows that it scored.
    pub rows: u64,
    /// Of these, rows that the promoted version scored, too.
    pub rows_beside: u64,
    /// Rows that it had at or above the bound.
    pub high: u64,
    /// Rows that the promoted version had there.
    pub live_high: u64,
    /// Rows that both had there.
    pub both_high: u64,
}

impl ShadowCounts {
    /// Rows that it alone had at or above the bound.
    #[must_use]
    pub fn only_shadow(&self) -> u64 {
        self.high.saturating_sub(self.both_high)
    }

    /// Rows that the promoted version alone had there.
    #[must_use]
    pub fn only_live(&self) -> u64 {
        self.live_high.saturating_sub(self.both_high)
    }

    /// Share of the rows that it had at or above the bound; none without rows.
    #[must_use]
    pub fn hit_rate(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.high as f64 / self.rows as f64)
    }

    /// Of what either had there, the share that both had; none where neither had any, or no promoted version scored.
    #[must_use]
    pub fn agreement(&self) -> Option<f64> {
        let either = self.only_shadow() + self.live_high;
        (self.rows_beside > 0 && either > 0).then(|| self.both_high as f64 / either as f64)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            rows_beside: self.rows_beside + other.rows_beside,
            high: self.high + other.high,
            live_high: self.live_high + other.live_high,
            both_high: self.both_high + other.both_high,
        }
    }
}

/// Whom a score is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowSubject {
    /// The operator's id of the record; none where a player was scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_id: Option<String>,
    /// Whose record, or the player; none of a record of nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub player: Option<MatchKey>,
    /// In which currency.
    pub currency: Currency,
    /// When the record happened, or first instant behind the day that the player was scored for.
    #[serde(with = "micros")]
    pub at: Ts,
}

/// A record or a player that it alone had at or above the bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowExample {
    /// Which.
    #[serde(flatten)]
    pub subject: ShadowSubject,
    /// Its probability, millionths.
    pub score_ppm: u32,
    /// The promoted version's, millionths; none where it did not score.
    #[serde(default)]
    pub live_ppm: Option<u32>,
    /// What moved it most, strongest first, in words.
    pub reasons: Vec<String>,
}

/// What was counted of a version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowFound {
    /// Probability from which on the live rule in force speaks, millionths: the last one that was used.
    pub bound_ppm: u32,
    /// Numbers.
    pub counts: ShadowCounts,
    /// Promoted versions that scored the same rows, in their order.
    #[serde(default)]
    pub beside: Vec<u32>,
    /// Those with the highest probability that it alone had, highest first.
    #[serde(default)]
    pub examples: Vec<ShadowExample>,
    /// What the promoted version had at or above the bound and it had, too: digests of record ids (16 hexadecimal digits),
    /// or players. So what people made of alerts later can be held against it.
    #[serde(default)]
    pub had: Vec<String>,
    /// The same of what it did not have.
    #[serde(default)]
    pub missed: Vec<String>,
    /// Those that are in neither list: beyond [`NAMED_MAX`].
    #[serde(default)]
    pub unnamed: u64,
}

/// What a version in the shadow said on a day of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowDayCounted {
    /// Of which kind.
    pub kind: ModelKind,
    /// Of which version.
    pub version: u32,
    /// Whose records.
    pub operator_no: OperatorNo,
    /// The local day that is over: its beginning.
    #[serde(with = "micros")]
    pub day: Ts,
    /// What came out.
    #[serde(flatten)]
    pub found: ShadowFound,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_stand_on_what_there_is() {
        let of = |rows, rows_beside, high, live_high, both_high| ShadowCounts {
            rows,
            rows_beside,
            high,
            live_high,
            both_high,
        };
        // counts | alone | live alone | hit rate | agreement
        for (counts, only_shadow, only_live, hit_rate, agreement) in [
            (of(0, 0, 0, 0, 0), 0, 0, None, None),
            (of(10, 0, 2, 0, 0), 2, 0, Some(0.2), None),
            (of(10, 10, 0, 0, 0), 0, 0, Some(0.0), None),
            (of(10, 10, 3, 2, 1), 2, 1, Some(0.3), Some(0.25)),
            (of(10, 10, 2, 2, 2), 0, 0, Some(0.2), Some(1.0)),
        ] {
            assert_eq!((counts.only_shadow(), counts.only_live()), (only_shadow, only_live), "{counts:?}");
            assert_eq!((counts.hit_rate(), counts.agreement()), (hit_rate, agreement), "{counts:?}");
        }
        assert_eq!(of(1, 2, 3, 4, 5).plus(of(10, 20, 30, 40, 50)), of(11, 22, 33, 44, 55));
    }

    #[test]
    fn a_day_comes_back_from_its_payload() {
        let example = ShadowExample {
            subject: ShadowSubject {
                record_id: Some("r1".to_owned()),
                player: Some(MatchKey(7 << 40)),
                currency: Currency::KES,
                at: Ts(12),
            },
            score_ppm: 900_000,
            live_ppm: Some(10),
            reasons: vec!["amount".to_owned()],
        };
        let found = ShadowFound { bound_ppm: 500_000, examples: vec![example], ..ShadowFound::default() };
        let day = ShadowDayCounted {
            kind: ModelKind::PlayerRisk,
            version: 2,
            operator_no: OperatorNo(3),
            day: Ts(86_400_000_000),
            found,
        };
        let text = serde_json::to_string(&day).expect("json");
        assert_eq!(serde_json::from_str::<ShadowDayCounted>(&text).expect("it is read"), day);
    }
}
