//! The life of a rule's versions, as it is journaled: who proposed, tried, promoted and took back what, when and why.

use crate::ids::KeyId;
use crate::jurisdiction::JurisdictionNo;
use crate::record::closed_set;
use crate::ts::{Ts, micros};
use serde::{Deserialize, Serialize};

/// Characters of a note at most.
pub const NOTE_CHARS_MAX: usize = 500;

closed_set!(
    /// What a forecast of alerts stands on.
    ForecastBasis {
        /// What the version found while it ran in the shadow.
        Shadow = "shadow",
        /// What the version that was live before has found.
        VersionBefore = "version_before",
        /// What the version has found in its newest backtest.
        Backtest = "backtest",
        /// Nothing: there was neither a shadow nor a backtest, and nothing was live before. No alert is expected, and the
        /// brake's floor alone holds.
        Nothing = "none",
    }
);

/// How many alerts a version was expected to raise when it was promoted. Rates are in millionths of an alert a day and
/// operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateForecast {
    /// What it stands on.
    pub basis: ForecastBasis,
    /// Findings that were raised then.
    pub findings: u64,
    /// Hours of all operators together in which they were.
    pub operator_hours: u64,
    /// Their rate.
    pub expected_micro: u64,
    /// The rate that is passed by chance once in a hundred times: upper limit of a Poisson mean, 99 %. Older releases stored
    /// one alert a day and operator at least.
    pub upper_micro: u64,
}

/// Alerts that left their forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateDeparture {
    /// Start of the hours that were looked at together.
    #[serde(with = "micros")]
    pub from: Ts,
    /// How many hours these are, the one under way counted as a whole one.
    pub hours: u32,
    /// Findings raised in them.
    pub findings: u64,
    /// As many were expected at most, by the upper end of the forecast, in millionths.
    pub upper_micro: u64,
}

closed_set!(
    /// How far a version has come that is run over stored history.
    BacktestState { Running = "running", Done = "done", Failed = "failed", Interrupted = "interrupted" }
);

/// What happened to a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum RuleAct {
    /// Somebody proposed it.
    Proposed {
        /// Its number: one more than the highest so far. The lowest is the standard one, which nobody proposed.
        version: u32,
        /// Every parameter of the rule.
        params: serde_json::Value,
        /// First instant at which it is to hold; none = as soon as it is promoted.
        #[serde(with = "micros::option", default)]
        effective_from: Option<Ts>,
        /// First instant after it; none = open.
        #[serde(with = "micros::option", default)]
        effective_to: Option<Ts>,
    },
    /// It runs beside the live one and is only counted.
    ShadowStarted {
        /// Which.
        version: u32,
    },
    /// It no longer does.
    ShadowStopped {
        /// Which.
        version: u32,
    },
    /// It takes the place of the live one.
    Promoted {
        /// Which.
        version: u32,
        /// First instant; the one before ends at it.
        #[serde(with = "micros")]
        from: Ts,
        /// First instant after it, at which what was live before is so again; none = open.
        #[serde(with = "micros::option", default)]
        to: Option<Ts>,
        /// How many alerts are expected; none in what older releases stored where there was nothing to learn it from.
        #[serde(default)]
        forecast: Option<RateForecast>,
    },
    /// A promotion, or that the rule was turned off, is undone from now on.
    RolledBack {
        /// The change that is undone.
        undoes: i64,
        /// The version that is live from now on; none where the rule is off.
        to: Option<u32>,
        /// Where the engine did so: the alerts that left their forecast.
        #[serde(default)]
        brake: Option<RateDeparture>,
    },
    /// No version is live from now on.
    TurnedOff,
}

impl RuleAct {
    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Proposed { .. } => "proposed",
            Self::ShadowStarted { .. } => "shadow_started",
            Self::ShadowStopped { .. } => "shadow_stopped",
            Self::Promoted { .. } => "promoted",
            Self::RolledBack { brake: None, .. } => "rolled_back",
            Self::RolledBack { brake: Some(_), .. } => "rolled_back_by_the_brake",
            Self::TurnedOff => "turned_off",
        }
    }

    /// The version that it is about; of a rollback the one that is live then.
    #[must_use]
    pub fn version(&self) -> Option<u32> {
        match self {
            Self::Proposed { version, .. }
            | Self::ShadowStarted { version }
            | Self::ShadowStopped { version }
            | Self::Promoted { version, .. } => Some(*version),
            Self::RolledBack { to, .. } => *to,
            Self::TurnedOff => None,
        }
    }
}

/// One change of a rule in a jurisdiction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleChanged {
    /// Where.
    pub jurisdiction: JurisdictionNo,
    /// Name of the rule.
    pub rule: String,
    /// Which change of the rule in the jurisdiction: from 1, without a gap. Of two with one number one is refused.
    pub change: i64,
    /// Whose key; none where the engine did it by itself.
    pub by: Option<KeyId>,
    /// When.
    #[serde(with = "micros")]
    pub at: Ts,
    /// Why.
    pub note: String,
    /// What.
    pub act: RuleAct,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_survives_its_text_and_an_older_one_can_be_read() {
        let forecast = RateForecast {
            basis: ForecastBasis::Shadow,
            findings: 3,
            operator_hours: 48,
            expected_micro: 1_500_000,
            upper_micro: 5_000_000,
        };
        let brake = RateDeparture { from: Ts(7), hours: 3, findings: 90, upper_micro: 625_000 };
        let acts = [
            RuleAct::Proposed {
                version: 2,
                params: serde_json::json!({"deposits_min": 4}),
                effective_from: Some(Ts(5)),
                effective_to: None,
            },
            RuleAct::ShadowStarted { version: 2 },
            RuleAct::ShadowStopped { version: 2 },
            RuleAct::Promoted { version: 2, from: Ts(9), to: None, forecast: Some(forecast) },
            RuleAct::RolledBack { undoes: 4, to: Some(1), brake: Some(brake) },
            RuleAct::TurnedOff,
        ];
        for act in acts {
            let changed = RuleChanged {
                jurisdiction: JurisdictionNo(0),
                rule: "structured_deposits".to_owned(),
                change: 1,
                by: Some(KeyId(1)),
                at: Ts(3),
                note: "why".to_owned(),
                act,
            };
            let text = serde_json::to_string(&changed).unwrap();
            assert!(text.contains(&format!("\"what\":\"{}", &changed.act.as_str()[..8])), "{text}");
            assert_eq!(serde_json::from_str::<RuleChanged>(&text).unwrap(), changed);
        }
        let least = r#"{"what":"promoted","version":2,"from":9}"#;
        let read: RuleAct = serde_json::from_str(least).unwrap();
        assert_eq!(read, RuleAct::Promoted { version: 2, from: Ts(9), to: None, forecast: None });
    }
}
