//! Rules as data: versions with a jurisdiction, effective dates, a mode and parameters.

use crate::detector;
use crate::rules::finding::{Mode, Scope};
use crate::rules::input::Trigger;
use crate::rules::list::{self, Typed};
use crate::rules::params::ParamsError;
use crate::rules::standards;
use crate::rules::standing::Speaker;
use crate::rules::timeline::Timeline;
use crate::silence;
use models::ts::{Ts, micros};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Versions of all rules of a jurisdiction at most.
pub const VERSIONS_MAX: usize = 512;

/// A version of a rule for a span of time. A version whose mode changes has a row for each mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleVersion {
    /// Name of the rule.
    pub rule: String,
    /// Version, from 1.
    pub version: u32,
    /// Code of the jurisdiction, such as `KE`.
    pub jurisdiction: String,
    /// First instant; by the time of what is judged, not of when it is judged.
    #[serde(with = "micros")]
    pub effective_from: Ts,
    /// First instant after it; none = open.
    #[serde(with = "micros::option", default)]
    pub effective_to: Option<Ts>,
    /// Whether people hear of it.
    pub mode: Mode,
    /// Parameters; what is left out has its default.
    #[serde(default)]
    pub params: serde_json::Value,
}

impl RuleVersion {
    /// Is it in force at an instant?
    #[must_use]
    pub fn holds(&self, at: Ts) -> bool {
        self.effective_from <= at && self.effective_to.is_none_or(|to| at < to)
    }

    fn overlaps(&self, other: &Self) -> bool {
        let before = |one: &Self, other: &Self| one.effective_to.is_some_and(|to| to <= other.effective_from);
        !before(self, other) && !before(other, self)
    }
}

/// Why versions are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleSetError {
    /// No rule has this name.
    #[error("there is no rule {0}")]
    UnknownRule(String),
    /// The rule is built elsewhere and takes no versions here.
    #[error("the rule {0} takes no versions: it is part of the engine")]
    BuiltElsewhere(&'static str),
    /// Of another jurisdiction.
    #[error("version {version} of the rule {rule} is not of the jurisdiction {jurisdiction}")]
    OtherJurisdiction {
        /// Rule.
        rule: String,
        /// Version.
        version: u32,
        /// Whose set this is.
        jurisdiction: String,
    },
    /// Version 0, or a span that ends before it begins.
    #[error("version {version} of the rule {rule}: {what}")]
    Malformed {
        /// Rule.
        rule: String,
        /// Version.
        version: u32,
        /// What is wrong.
        what: &'static str,
    },
    /// Two of one mode at once.
    #[error("versions {one} and {other} of the rule {rule} are both {mode} at the same time")]
    Overlap {
        /// Rule.
        rule: String,
        /// One.
        one: u32,
        /// The other.
        other: u32,
        /// Their mode.
        mode: &'static str,
    },
    /// One version with two sets of parameters.
    #[error("version {version} of the rule {rule} has two sets of parameters: changed ones are another version")]
    TwoParams {
        /// Rule.
        rule: String,
        /// Version.
        version: u32,
    },
    /// Too many.
    #[error("more than {VERSIONS_MAX} versions")]
    TooMany,
    /// Parameters.
    #[error(transparent)]
    Params(#[from] ParamsError),
}

/// The versions of one jurisdiction, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSet {
    jurisdiction: String,
    versions: Vec<(RuleVersion, u16, Typed)>,
    deviations: Arc<Timeline<detector::Params>>,
    silences: Arc<Timeline<silence::Params>>,
}

impl RuleSet {
    /// Checks versions.
    ///
    /// # Errors
    /// [`RuleSetError`]: the first that is wrong.
    pub fn new(jurisdiction: &str, versions: Vec<RuleVersion>) -> Result<Self, RuleSetError> {
        if versions.len() > VERSIONS_MAX {
            return Err(RuleSetError::TooMany);
        }
        let mut checked: Vec<(RuleVersion, u16, Typed)> = Vec::with_capacity(versions.len());
        for new in versions {
            let (rule_no, typed) = Self::check(jurisdiction, &new)?;
            for (known, _, params) in checked.iter().filter(|(known, ..)| known.rule == new.rule) {
                if known.version == new.version && *params != typed {
                    return Err(RuleSetError::TwoParams { rule: new.rule, version: new.version });
                }
                if known.mode == new.mode && new.mode != Mode::Off && known.overlaps(&new) {
                    let mode = if new.mode == Mode::Live { "live" } else { "in the shadow" };
                    return Err(RuleSetError::Overlap { rule: new.rule, one: known.version, other: new.version, mode });
                }
            }
            checked.push((new, rule_no, typed));
        }
        checked.sort_by_key(|(version, rule_no, _)| (*rule_no, version.version, version.effective_from));
        Ok(Self::of(jurisdiction, checked))
    }

    /// Every rule that is not off at first, in its first version with the jurisdiction's standard, live from the beginning
    /// of time.
    #[must_use]
    pub fn standard(jurisdiction: &str) -> Self {
        let versions = list::ABOUT.iter().filter(|about| about.is_standard()).map(|about| RuleVersion {
            rule: about.name.to_owned(),
            version: list::standard_version(about.name),
            jurisdiction: jurisdiction.to_owned(),
            effective_from: Ts(0),
            effective_to: None,
            mode: Mode::Live,
            params: standards::params(jurisdiction, about.name),
        });
        // standards and defaults are within their bounds: a test holds each of them against them
        Self::new(jurisdiction, versions.collect()).unwrap_or_else(|_| Self::of(jurisdiction, Vec::new()))
    }

    /// Of versions that are checked and in order.
    fn of(jurisdiction: &str, versions: Vec<(RuleVersion, u16, Typed)>) -> Self {
        let live = || versions.iter().filter(|(version, ..)| version.mode == Mode::Live);
        let deviations = live().filter_map(|(version, _, typed)| {
            let Typed::RobustDeviation(params) = typed else { return None };
            Some((version.effective_from, version.effective_to, params.of_version(version.version)))
        });
        let deviations = Arc::new(Timeline::new(deviations));
        let silences = live().filter_map(|(version, _, typed)| {
            let Typed::FeedSilent(params) = typed else { return None };
            Some((version.effective_from, version.effective_to, params.of_version(version.version)))
        });
        let silences = Arc::new(Timeline::new(silences));
        Self { jurisdiction: jurisdiction.to_owned(), versions, deviations, silences }
    }

    fn check(jurisdiction: &str, new: &RuleVersion) -> Result<(u16, Typed), RuleSetError> {
        let rule_no = list::ABOUT.iter().position(|about| about.name == new.rule);
        let rule_no = rule_no.ok_or_else(|| RuleSetError::UnknownRule(new.rule.clone()))?;
        let (rule, version) = (new.rule.clone(), new.version);
        if new.jurisdiction != jurisdiction {
            let jurisdiction = jurisdiction.to_owned();
            return Err(RuleSetError::OtherJurisdiction { rule, version, jurisdiction });
        }
        if version == 0 {
            return Err(RuleSetError::Malformed { rule, version, what: "versions are counted from 1" });
        }
        if new.effective_to.is_some_and(|to| to <= new.effective_from) {
            return Err(RuleSetError::Malformed { rule, version, what: "it ends before it begins" });
        }
        let name = list::ABOUT[rule_no].name;
        let typed = Typed::read(name, &new.params)?.ok_or(RuleSetError::BuiltElsewhere(name))?;
        Ok((rule_no as u16, typed))
    }

    /// Whose.
    #[must_use]
    pub fn jurisdiction(&self) -> &str {
        &self.jurisdiction
    }

    /// All of them, by rule, version and time.
    pub fn versions(&self) -> impl Iterator<Item = &RuleVersion> {
        self.versions.iter().map(|(version, ..)| version)
    }

    /// By what windows of markets are judged.
    #[must_use]
    pub fn deviations(&self) -> &Arc<Timeline<detector::Params>> {
        &self.deviations
    }

    /// By what the silence of sources is judged.
    #[must_use]
    pub fn silences(&self) -> &Arc<Timeline<silence::Params>> {
        &self.silences
    }

    /// The version of a rule that is in force in a mode at an instant.
    #[must_use]
    pub fn in_force(&self, rule: &str, mode: Mode, at: Ts) -> Option<&RuleVersion> {
        self.versions().find(|version| version.rule == rule && version.mode == mode && version.holds(at))
    }

    /// Those that run over inputs of rules, by what they listen for.
    pub(super) fn active(&self) -> Active {
        let mut active = Active::default();
        let runs = |(version, rule_no, _): &&(RuleVersion, u16, Typed)| {
            version.mode != Mode::Off && list::ABOUT[usize::from(*rule_no)].is_here()
        };
        for (version, rule_no, params) in self.versions.iter().filter(runs) {
            let place = active.running.len() as u16;
            active.running.push(Running {
                rule_no: *rule_no,
                version: version.version,
                mode: version.mode,
                from: version.effective_from,
                to: version.effective_to.unwrap_or(Ts(i64::MAX)),
                params: params.clone(),
            });
            let about = &list::ABOUT[usize::from(*rule_no)];
            let places = if about.is_national() { &mut active.national } else { &mut active.operator };
            for trigger in about.hears {
                places[*trigger as usize].push(place);
            }
        }
        active
    }
}

/// A version that runs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Running {
    rule_no: u16,
    version: u32,
    mode: Mode,
    from: Ts,
    to: Ts,
    pub params: Typed,
}

impl Running {
    pub fn about(&self, scope: Scope, at: Ts) -> Speaker {
        let Self { rule_no, version, mode, .. } = *self;
        Speaker { rule_no, rule: list::ABOUT[usize::from(rule_no)].name, version, mode, scope, at }
    }
}

/// The versions that run, by trigger.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Active {
    running: Vec<Running>,
    operator: [Vec<u16>; Trigger::COUNT],
    national: [Vec<u16>; Trigger::COUNT],
}

impl Active {
    pub fn operator(&self, trigger: Trigger, at: Ts) -> impl Iterator<Item = &Running> {
        self.of(&self.operator[trigger as usize], at)
    }

    pub fn national(&self, trigger: Trigger, at: Ts) -> impl Iterator<Item = &Running> {
        self.of(&self.national[trigger as usize], at)
    }

    /// What the live version of another rule says that is in force then.
    pub fn live<T>(&self, at: Ts, read: impl Fn(&Typed) -> Option<T>) -> Option<T> {
        let holds = |version: &&Running| version.mode == Mode::Live && version.from <= at && at < version.to;
        self.running.iter().filter(holds).find_map(|version| read(&version.params))
    }

    fn of<'a>(&'a self, places: &'a [u16], at: Ts) -> impl Iterator<Item = &'a Running> {
        let running = places.iter().map(|place| &self.running[usize::from(*place)]);
        running.filter(move |version| version.from <= at && at < version.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn version(
        rule: &str,
        version: u32,
        mode: Mode,
        (from, to): (i64, Option<i64>),
        params: serde_json::Value,
    ) -> RuleVersion {
        RuleVersion {
            rule: rule.to_owned(),
            version,
            jurisdiction: "KE".to_owned(),
            effective_from: Ts(from),
            effective_to: to.map(Ts),
            mode,
            params,
        }
    }

    #[test]
    fn a_set_says_by_what_windows_and_silences_are_judged() {
        let rows = vec![
            version("robust_deviation", 3, Mode::Live, (0, Some(50)), json!({})),
            version("robust_deviation", 4, Mode::Live, (50, Some(70)), json!({"threshold_milli": 4_000})),
            version("robust_deviation", 5, Mode::Shadow, (0, None), json!({"threshold_milli": 3_000})),
            version("feed_silent", 2, Mode::Live, (10, None), json!({"minutes_min": 30})),
        ];
        let set = RuleSet::new("KE", rows).unwrap();
        let judged = |at| set.deviations().at(Ts(at)).map(|params| (params.version, params.threshold_milli));
        let table = [(-9, Some((3, 6_000))), (49, Some((3, 6_000))), (50, Some((4, 4_000))), (70, None)];
        for (at, expected) in table {
            assert_eq!(judged(at), expected, "{at}");
        }
        let silent = |at| set.silences().at(Ts(at)).map(|params| (params.version, params.minutes_min));
        assert_eq!((silent(9), silent(10)), (None, Some((2, 30))));
        let standard = RuleSet::standard("KE");
        assert_eq!(standard.deviations().at(Ts(1)), Some(&detector::Params::default()));
        assert_eq!(standard.silences().at(Ts(1)), Some(&silence::Params::default()));
        assert!(set.active() == Active::default(), "nothing of it runs over inputs of rules");
    }
}
