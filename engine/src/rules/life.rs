//! The life of a rule's versions in a jurisdiction: a fold of its changes.
//!
//! ```text
//! proposed ─▶ shadow ⇄ proposed ─▶ scheduled ─▶ live ─▶ ended
//! ```
//! What is live is a function of time, kept as steps: a promotion, or that the rule is turned off, is laid over what was
//! live from its first instant to its last; to undo it is to take that layer away from now on. What is over is never
//! changed. Version 1 is the standard one: it lies below all others from the beginning of time, unless the rule is off at
//! first ([`list::OFF_AT_FIRST`]); where older releases have numbered what a rule said it has another number
//! ([`list::standard_version`]). What may happen next is decided in [`decide`].

mod decide;

pub use decide::Refused;

use crate::rules::finding::Mode;
use crate::rules::list::{self, Typed};
use crate::rules::params::ParamsError;
use crate::rules::ruleset::RuleVersion;
use crate::rules::standards;
use models::ids::KeyId;
use models::rule::{RateDeparture, RateForecast, RuleAct, RuleChanged};
use models::ts::Ts;
use serde_json::{Map, Value};

/// Who did something, when and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Deed {
    /// Number of the change.
    pub change: i64,
    /// Whose key; none where the engine did it by itself.
    pub by: Option<KeyId>,
    /// When.
    pub at: Ts,
    /// Why.
    pub note: String,
}

impl Deed {
    fn of(changed: &RuleChanged) -> Self {
        Self { change: changed.change, by: changed.by, at: changed.at, note: changed.note.clone() }
    }
}

/// A span of time, half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First instant.
    pub from: Ts,
    /// First instant after it; none = open.
    pub to: Option<Ts>,
}

impl Span {
    fn holds(&self, at: Ts) -> bool {
        self.from <= at && self.to.is_none_or(|to| at < to)
    }

    /// The part of it in a span that has an end.
    #[must_use]
    pub fn within(&self, from: Ts, to: Ts) -> Option<(Ts, Ts)> {
        let part = (self.from.max(from), self.to.map_or(to, |end| end.min(to)));
        (part.0 < part.1).then_some(part)
    }
}

/// A promotion.
#[derive(Clone, Debug, PartialEq)]
pub struct Promotion {
    /// Whose.
    pub deed: Deed,
    /// When the version was to be live.
    pub span: Span,
    /// How many alerts were expected.
    pub forecast: Option<RateForecast>,
    /// The brake that ended it.
    pub brake: Option<RateDeparture>,
}

/// A version.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// Its number.
    pub number: u32,
    /// Every parameter.
    pub params: Value,
    /// Who proposed it; nobody the standard one.
    pub proposal: Option<Deed>,
    /// When it is to hold.
    pub effective: (Option<Ts>, Option<Ts>),
    /// When it ran in the shadow, in order.
    pub shadows: Vec<Span>,
    /// Who promoted it.
    pub promotion: Option<Promotion>,
}

impl Version {
    fn shadow_at(&self, at: Ts) -> Option<&Span> {
        self.shadows.iter().rev().find(|span| span.holds(at))
    }
}

/// Where a version stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody has tried or promoted it.
    Proposed,
    /// It runs beside the live one and is only counted.
    Shadow,
    /// It becomes live by itself.
    Scheduled,
    /// It is live.
    Live,
    /// It was.
    Ended,
}

impl State {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Shadow => "shadow",
            Self::Scheduled => "scheduled",
            Self::Live => "live",
            Self::Ended => "ended",
        }
    }
}

/// From an instant on a version is live, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    from: Ts,
    version: Option<u32>,
}

/// What is laid over those below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layer {
    change: i64,
    version: Option<u32>,
    span: Span,
}

/// The versions of a rule in a jurisdiction.
#[derive(Clone, Debug, PartialEq)]
pub struct Life {
    rule: &'static str,
    /// Code of the jurisdiction.
    jurisdiction: String,
    change: i64,
    last_at: Ts,
    versions: Vec<Version>,
    /// What was, is and will be live, by time.
    steps: Vec<Step>,
    /// Promotions that are not over, and that the rule was turned off, the last one last.
    layers: Vec<Layer>,
}

/// Why a change does not follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LifeError {
    /// Not the next one.
    #[error("change {change} of the rule {rule} does not follow on change {known}")]
    Gap {
        /// Rule.
        rule: &'static str,
        /// The change.
        change: i64,
        /// The last one known.
        known: i64,
    },
    /// Of a version that is not there.
    #[error("change {change} of the rule {rule} is about a version that is not there")]
    Version {
        /// Rule.
        rule: &'static str,
        /// The change.
        change: i64,
    },
}

impl Life {
    /// A rule about which nothing was said, with the standard of a jurisdiction; none where there is no such rule, or none
    /// that takes versions.
    #[must_use]
    pub fn standard(jurisdiction: &str, rule: &str) -> Option<Self> {
        let about = list::about(rule).filter(|about| about.takes_versions())?;
        let span = Span { from: Ts(0), to: None };
        let number = list::standard_version(about.name);
        let live = about.is_standard().then_some(number);
        let standard = Version {
            number,
            params: with_defaults(rule, &standards::params(jurisdiction, rule)),
            proposal: None,
            effective: (None, None),
            shadows: Vec::new(),
            promotion: None,
        };
        Some(Self {
            rule: about.name,
            jurisdiction: jurisdiction.to_owned(),
            change: 0,
            last_at: Ts(0),
            versions: vec![standard],
            steps: vec![Step { from: Ts(0), version: live }],
            layers: vec![Layer { change: 0, version: live, span }],
        })
    }

    /// Code of the jurisdiction.
    #[must_use]
    pub fn jurisdiction(&self) -> &str {
        &self.jurisdiction
    }

    /// Its name.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        self.rule
    }

    /// The number of the version that nobody proposed.
    #[must_use]
    pub fn standard_number(&self) -> u32 {
        list::standard_version(self.rule)
    }

    /// Every parameter of the standard version.
    #[must_use]
    pub fn standard_params(&self) -> &Value {
        self.version(self.standard_number()).map_or(&Value::Null, |version| &version.params)
    }

    /// How often it was changed.
    #[must_use]
    pub fn change(&self) -> i64 {
        self.change
    }

    /// The versions, by number.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// A version.
    #[must_use]
    pub fn version(&self, number: u32) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == number)
    }

    /// The version that is live at an instant.
    #[must_use]
    pub fn live_at(&self, at: Ts) -> Option<&Version> {
        self.version(self.step_at(at)?)
    }

    fn step_at(&self, at: Ts) -> Option<u32> {
        self.steps.iter().rev().find(|step| step.from <= at)?.version
    }

    /// The version that runs in the shadow at an instant.
    #[must_use]
    pub fn shadow_at(&self, at: Ts) -> Option<&Version> {
        self.versions.iter().find(|version| version.shadow_at(at).is_some())
    }

    /// When a version was, is and will be live.
    #[must_use]
    pub fn live_spans(&self, number: u32) -> Vec<Span> {
        let ends = self.steps.iter().skip(1).map(|step| Some(step.from)).chain([None]);
        let spans = self.steps.iter().zip(ends).filter(|(step, _)| step.version == Some(number));
        spans.map(|(step, to)| Span { from: step.from, to }).collect()
    }

    /// Was the standard version live before anything was said?
    fn begins_live(&self) -> bool {
        self.layers.iter().any(|layer| layer.change == 0 && layer.version.is_some())
    }

    /// Where a version stands.
    #[must_use]
    pub fn state(&self, version: &Version, now: Ts) -> State {
        let live = self.live_spans(version.number);
        if live.iter().any(|span| span.holds(now)) {
            State::Live
        } else if live.iter().any(|span| span.from > now) {
            State::Scheduled
        } else if version.shadow_at(now).is_some() {
            State::Shadow
        } else if version.promotion.is_some() || (version.number == self.standard_number() && self.begins_live()) {
            State::Ended
        } else {
            State::Proposed
        }
    }

    /// The versions in force by time and mode, as a set of rules takes them.
    #[must_use]
    pub fn rows(&self) -> Vec<RuleVersion> {
        let row = |version: &Version, span: Span, mode| RuleVersion {
            rule: self.rule.to_owned(),
            version: version.number,
            jurisdiction: self.jurisdiction.clone(),
            effective_from: span.from,
            effective_to: span.to,
            mode,
            params: if version.number == self.standard_number() {
                standards::params(&self.jurisdiction, self.rule)
            } else {
                version.params.clone()
            },
        };
        let mut rows = Vec::new();
        for version in &self.versions {
            rows.extend(self.live_spans(version.number).into_iter().map(|span| row(version, span, Mode::Live)));
            rows.extend(version.shadows.iter().map(|span| row(version, *span, Mode::Shadow)));
        }
        rows
    }

    /// Takes in a change.
    ///
    /// # Errors
    /// [`LifeError`]: nothing is changed.
    pub fn apply(&mut self, changed: &RuleChanged) -> Result<(), LifeError> {
        let RuleChanged { change, at, .. } = *changed;
        if change != self.change + 1 {
            return Err(LifeError::Gap { rule: self.rule, change, known: self.change });
        }
        let unknown = LifeError::Version { rule: self.rule, change };
        let named = |number: u32| self.versions.iter().position(|version| version.number == number);
        match &changed.act {
            RuleAct::Proposed { version, params, effective_from, effective_to } => {
                if named(*version).is_some() {
                    return Err(unknown);
                }
                self.versions.push(Version {
                    number: *version,
                    params: params.clone(),
                    proposal: Some(Deed::of(changed)),
                    effective: (*effective_from, *effective_to),
                    shadows: Vec::new(),
                    promotion: None,
                });
            }
            RuleAct::ShadowStarted { version } => {
                let place = named(*version).ok_or(unknown)?;
                self.versions[place].shadows.push(Span { from: at, to: None });
                self.end_shadows(at);
            }
            RuleAct::ShadowStopped { version } => {
                let place = named(*version).ok_or(unknown)?;
                end_shadow(&mut self.versions[place].shadows, at);
            }
            RuleAct::Promoted { version, from, to, forecast } => {
                let place = named(*version).ok_or(unknown)?;
                let span = Span { from: *from, to: *to };
                end_shadow(&mut self.versions[place].shadows, *from);
                let (deed, forecast) = (Deed::of(changed), *forecast);
                self.versions[place].promotion = Some(Promotion { deed, span, forecast, brake: None });
                self.layers.push(Layer { change, version: Some(*version), span });
                self.lay(at);
            }
            RuleAct::RolledBack { undoes, brake, .. } => {
                let is_undone = |version: &&mut Version| {
                    version.promotion.as_ref().is_some_and(|promotion| promotion.deed.change == *undoes)
                };
                let promotion = self.versions.iter_mut().find(is_undone).and_then(|version| version.promotion.as_mut());
                if let Some(promotion) = promotion {
                    promotion.brake = *brake;
                }
                self.layers.retain(|layer| layer.change != *undoes);
                self.lay(at);
            }
            RuleAct::TurnedOff => {
                self.layers.push(Layer { change, version: None, span: Span { from: at, to: None } });
                self.lay(at);
            }
        }
        self.change = change;
        self.last_at = at.max(self.last_at);
        Ok(())
    }

    /// Makes what is live from an instant on anew of the layers; what was before it stays.
    fn lay(&mut self, at: Ts) {
        self.layers.retain(|layer| layer.span.to.is_none_or(|to| to > at));
        self.steps.retain(|step| step.from < at);
        for Layer { version, span, .. } in &self.layers {
            let from = span.from.max(at);
            let before = |at: Ts| self.steps.iter().rev().find(|step| step.from <= at).and_then(|step| step.version);
            let behind = span.to.map(|to| Step { from: to, version: before(to) });
            self.steps.retain(|step| step.from < from || span.to.is_some_and(|to| step.from > to));
            self.steps.extend([Step { from, version: *version }].into_iter().chain(behind));
            self.steps.sort_by_key(|step| step.from);
        }
        self.steps.dedup_by_key(|step| step.version);
        self.end_shadows(at);
    }

    /// From an instant on no version that is live, or becomes so by itself, is a shadow of itself as well.
    fn end_shadows(&mut self, at: Ts) {
        for place in 0..self.versions.len() {
            let live = self.live_spans(self.versions[place].number);
            let next = live.iter().find(|live| live.to.is_none_or(|to| to > at));
            if let Some(live) = next {
                end_shadow(&mut self.versions[place].shadows, live.from.max(at));
            }
        }
    }
}

/// Ends what is open, or ends later.
fn end_shadow(shadows: &mut Vec<Span>, at: Ts) {
    for span in shadows.iter_mut().filter(|span| span.to.is_none_or(|to| to > at)) {
        span.to = Some(at);
    }
    shadows.retain(|span| span.to.is_none_or(|to| to > span.from));
}

/// Every parameter of a rule: what is said, and the defaults of the others.
fn with_defaults(rule: &str, said: &Value) -> Value {
    let named = list::params_of(rule).into_iter().map(|param| {
        let value = said.get(param.name).cloned().unwrap_or(param.default);
        (param.name.to_owned(), value)
    });
    Value::Object(named.collect::<Map<_, _>>())
}

/// A parameter that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongParam {
    /// Its name; empty where it is about all of them.
    pub name: &'static str,
    /// What is wrong, without the value.
    pub what: String,
}

/// Every parameter of a rule: those that are given, of the others those of a standard, and then the defaults.
///
/// # Errors
/// Everything that is wrong.
pub fn complete(rule: &str, standard: &Value, given: &Map<String, Value>) -> Result<Value, Vec<WrongParam>> {
    let about = list::params_of(rule);
    let mut wrong = Vec::new();
    if given.keys().any(|name| about.iter().all(|param| param.name != name)) {
        let known: Vec<&str> = about.iter().map(|param| param.name).collect();
        wrong.push(WrongParam { name: "", what: format!("one of them is unknown; known are {}", known.join(", ")) });
    }
    let mut params = Map::new();
    for param in &about {
        let Some(value) = given.get(param.name) else {
            let value = standard.get(param.name).unwrap_or(&param.default);
            params.insert(param.name.to_owned(), value.clone());
            continue;
        };
        params.insert(param.name.to_owned(), value.clone());
        let alone = Value::Object(Map::from_iter([(param.name.to_owned(), value.clone())]));
        let what = match Typed::read(rule, &alone) {
            // what must go together is looked at below, when all of them are there
            Ok(_) | Err(ParamsError::Incoherent { .. }) => continue,
            Err(ParamsError::Shape { .. }) => format!("not of the form of its default, {}", param.default),
            Err(bounds @ ParamsError::Bounds { .. }) => bounds.to_string(),
        };
        wrong.push(WrongParam { name: param.name, what });
    }
    let params = Value::Object(params);
    if wrong.is_empty()
        && let Err(error) = Typed::read(rule, &params)
    {
        wrong.push(WrongParam { name: "", what: error.to_string() });
    }
    if wrong.is_empty() { Ok(params) } else { Err(wrong) }
}

/// Parameters that differ: name, before, after.
#[must_use]
pub fn diff<'a>(before: &'a Value, after: &'a Value) -> Vec<(&'a str, &'a Value, &'a Value)> {
    let named = after.as_object().into_iter().flatten();
    let pairs = named.map(|(name, value)| (name.as_str(), before.get(name).unwrap_or(&Value::Null), value));
    pairs.filter(|(_, before, after)| before != after).collect()
}
