//! How an operator keeps to its duties: days as they were counted, and the scores that were given.
//!
//! Counts and shares alone: nobody is in them. The formula is `engine::compliance`.

use crate::ids::OperatorNo;
use crate::jurisdiction::JurisdictionNo;
use crate::record::closed_set;
use crate::ts::{Ts, micros};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// People of one day whose minutes after an exclusion are kept one by one.
pub const PEOPLE_MAX: usize = 256;

closed_set!(
    /// What a score is made of.
    Component {
        Checks = "checks", LastBetWorst = "last_bet_worst", LastBetMedian = "last_bet_median",
        Completeness = "completeness", Freshness = "freshness", Quarantine = "quarantine", Payments = "payments",
        Alerts = "alerts",
    }
);
closed_set!(
    /// What a score is called; the last one is none: too little was measured for one.
    Band {
        Good = "good", Fair = "fair", Poor = "poor", Critical = "critical", NotEnoughMeasured = "not_enough_measured",
    }
);

/// Name of the figure that counts groups of alerts that are not over: it tells how it is now, and falls by itself.
pub const OPEN: &str = "open";

/// What was counted of an operator on a local day, by when it happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayTally {
    /// Logins, sessions and first plays of whom the register could have been asked, where it would be known if it was.
    pub entries: u64,
    /// Those of them before which it was not asked.
    pub lacking: u64,
    /// Entries inside a gap of the evidence: nobody can say.
    pub in_gaps: u64,
    /// Entries of players whom the register cannot know.
    pub unidentified: u64,
    /// Stakes and tickets of players whom the register can know.
    pub bets: u64,
    /// Stakes and tickets of nobody, and of players whom the register cannot know; none in days that were counted before
    /// they were.
    #[serde(default)]
    pub bets_unidentified: Option<u64>,
    /// Those of `bets` that were accepted while the player was excluded.
    pub bets_excluded: u64,
    /// The sum of the minutes from the exclusion to each of those.
    pub minutes_sum: u64,
    /// Minutes from the exclusion to the last accepted bet of the day, one number a person, ascending; the first
    /// [`PEOPLE_MAX`] people of the day.
    #[serde(default)]
    pub minutes: Vec<u32>,
    /// The largest of anybody's.
    pub minutes_max: u32,
    /// Bets of people beyond those whose minutes are kept.
    #[serde(default)]
    pub bets_beyond: u64,
}

/// A day that is over was counted, or counted again after late data (the whole new state).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComplianceDayCounted {
    /// Whose.
    pub operator_no: OperatorNo,
    /// `YYYY-MM-DD`, by the jurisdiction's midnight.
    pub day: String,
    /// Grows with each time that the day was counted, from 1. An older one never takes the place of a newer one.
    pub revision: u32,
    /// As it is now.
    pub tally: DayTally,
}

/// One component of a score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentScore {
    /// Which.
    pub component: Component,
    /// Its share of the whole, as the formula says; it counts only where something was measured.
    pub weight: i64,
    /// What was measured, in the unit of the formula; none where there was nothing to measure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<i64>,
    /// What that is worth, millionths of full marks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points_ppm: Option<i64>,
    /// What it was worked out of, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, i64>,
}

/// A score was given, or given anew because late data changed it (the whole new state).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComplianceScored {
    /// Whose.
    pub operator_no: OperatorNo,
    /// Under whose law.
    pub jurisdiction: JurisdictionNo,
    /// The last day of the span that it stands on: `YYYY-MM-DD`, by the jurisdiction's midnight.
    pub day: String,
    /// First instant of the span.
    #[serde(with = "micros")]
    pub from: Ts,
    /// First instant behind the day.
    #[serde(with = "micros")]
    pub to: Ts,
    /// Number of the score of this day, from 1; the highest counts, the others are kept.
    pub revision: u32,
    /// Version of the formula.
    pub formula: u32,
    /// Millionths of full marks; none where nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_ppm: Option<i64>,
    /// Weights of the components of which something was measured, added up.
    pub measured_weight: i64,
    /// What it is called; none in scores of formulas before version 4 of which nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub band: Option<Band>,
    /// Each component once, in the order of the formula.
    pub components: Vec<ComponentScore>,
    /// When it was worked out.
    #[serde(with = "micros")]
    pub at: Ts,
}

impl ComplianceScored {
    /// From 0 to 100, rounded down: nothing is full marks that is not.
    #[must_use]
    pub fn score(&self) -> Option<i64> {
        self.score_ppm.map(|ppm| ppm / 10_000)
    }

    /// Does it say the same as another one of the same day? Groups that were open and are over by now make no other score.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let said = |of: &Self| (of.formula, of.score_ppm, of.measured_weight, of.band);
        let lasting = |one: &ComponentScore| {
            let mut one = one.clone();
            one.figures.remove(OPEN);
            one
        };
        said(self) == said(other)
            && self.components.len() == other.components.len()
            && self.components.iter().zip(&other.components).all(|(own, others)| lasting(own) == lasting(others))
    }
}
