//! What of each finding was said: a cause is raised once, corrected when it is much more, withdrawn when it is undone.

use crate::rules::book::player_key;
use crate::rules::finding::{Band, Finding, Measured, Mode, RECORDS_MAX, Scope, Unit, Who, finding_id, revise};
use models::alert::{Metric, RevisionKind, Severity, Window};
use models::ids::OperatorNo;
use models::record::Record;
use models::ts::{HOUR, Ts};
use models::words::counted;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Cases of an operator that are remembered, and as many of versions in the shadow; beyond, a quarter is forgotten: those
/// first whose window is over, among them those that were not heard of for longest.
pub const CASES_MAX: usize = 8_192;
/// The same of a jurisdiction, for the players of all of its operators.
pub const NATION_CASES_MAX: usize = 4 * CASES_MAX;
/// A finding that grows is told again once it is twice as much, or after this long.
const TOLD_AGAIN: i64 = HOUR;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct CaseKey {
    rule: u16,
    version: u32,
    who: Who2,
    matter: u64,
    start: Ts,
}

/// [`Who`] as a key: postcard cannot read an adjacently tagged enum back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Who2(u8, u128, u128);

impl From<Who> for Who2 {
    fn from(who: Who) -> Self {
        match who {
            Who::Player(key) => Self(0, key, 0),
            Who::Players(one, other) => Self(1, one, other),
            Who::Device(key) => Self(2, key, 0),
            Who::Account(key) => Self(3, key, 0),
            Who::Licence(number) => Self(4, number.into(), 0),
            Who::Invoice(number) => Self(5, number.into(), 0),
            Who::Product(code) => Self(6, code.unsigned_abs().into(), 0),
            Who::Operator => Self(7, 0, 0),
            Who::Declaration(digest) => Self(8, digest.into(), 0),
            Who::Series(granularity, currency) => Self(9, granularity as u128, player_key(0, currency)),
            Who::Terminal(digest) => Self(10, digest.into(), 0),
            Who::Shop(digest) => Self(11, digest.into(), 0),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Said {
    /// Not enough yet.
    Nothing,
    Stands,
    Withdrawn,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Case {
    end: Ts,
    said: Said,
    observed: i64,
    told: i64,
    told_at: Ts,
    told_severity: Severity,
    /// Of cases that add up: the first ones.
    records: Vec<Box<str>>,
    /// Newest time of the inputs when it was heard of last.
    heard_at: Ts,
    /// The metric that had risen when it was told last, where that was it.
    rose: Option<Metric>,
}

/// A case that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// When it was.
    pub window: Window,
    /// How urgent it was told.
    pub severity: Severity,
    /// The metric that had risen, where that was it ([`Out::rose`]).
    pub rose: Option<Metric>,
}

/// The cases of one mode.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Cases {
    cases: BTreeMap<CaseKey, Case>,
    forgotten: u64,
    /// Newest time of the inputs: one that comes late is no clock.
    newest: Ts,
}

impl Cases {
    /// Room for one more.
    fn make_room(&mut self, key: &CaseKey, cases_max: usize) {
        if self.cases.len() < cases_max || self.cases.contains_key(key) {
            return;
        }
        let newest = self.newest;
        let rank = |(key, case): (&CaseKey, &Case)| (case.end > newest, case.heard_at, case.end, *key);
        let mut ranks: Vec<_> = self.cases.iter().map(rank).collect();
        ranks.sort_unstable();
        for (.., key) in &ranks[..cases_max / 4] {
            self.cases.remove(key);
            self.forgotten += 1;
        }
    }
}

/// What of them is remembered, and what was forgotten at the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Cases that are remembered.
    pub cases: usize,
    /// Those that were forgotten.
    pub forgotten: u64,
}

/// The cases: those of shadows apart, so that a shadow that says much makes nobody forget what people were told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    live: Cases,
    shadow: Cases,
}

impl Standing {
    /// Of the cases of a mode.
    #[must_use]
    pub fn counts(&self, mode: Mode) -> Counts {
        let cases = self.of(mode);
        Counts { cases: cases.cases.len(), forgotten: cases.forgotten }
    }

    fn of(&self, mode: Mode) -> &Cases {
        if mode == Mode::Live { &self.live } else { &self.shadow }
    }

    fn of_mut(&mut self, mode: Mode) -> &mut Cases {
        if mode == Mode::Live { &mut self.live } else { &mut self.shadow }
    }
}

/// Which version speaks, where and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speaker {
    pub rule_no: u16,
    pub rule: &'static str,
    pub version: u32,
    pub mode: Mode,
    pub scope: Scope,
    pub at: Ts,
}

/// How findings of one cause are known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// By the window, which is exactly the same.
    Window,
    /// By the window, too, where what was measured grows by itself as time goes by: how long it lasts is no news, another
    /// severity is.
    Lasting,
    /// By a window that overlaps: the first one keeps its place while evidence comes in.
    Overlap,
    /// By the window, and each is one more; it is told of from this many on.
    Sum {
        /// From how many on.
        told_from: i64,
    },
}

/// What a rule found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Whom it is about.
    pub who: Who,
    /// When.
    pub window: Window,
    /// How it is known again.
    pub cause: Cause,
    /// The evidence; of a [`Cause::Sum`] what this input adds.
    pub measured: Measured,
    /// How urgent.
    pub severity: Severity,
}

/// What people need to check a finding by hand.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// Sentences, strongest first, with nobody in them.
    pub reasons: Vec<String>,
    /// Records; of a [`Cause::Sum`] they are known.
    pub records: Vec<String>,
    /// Operators, where it stands on several.
    pub operators: Vec<OperatorNo>,
    /// What would have been quiet, where that was learnt.
    pub band: Option<Band>,
}

impl Details {
    /// Reasons alone.
    #[must_use]
    pub fn of(reasons: Vec<String>) -> Self {
        Self { reasons, ..Self::default() }
    }

    /// With records: the first ones.
    #[must_use]
    pub fn with<'r>(mut self, records: impl IntoIterator<Item = &'r str>) -> Self {
        self.records = records.into_iter().take(RECORDS_MAX).map(str::to_owned).collect();
        self
    }
}

/// Where a rule says what it found.
pub struct Out<'a> {
    standing: &'a mut Cases,
    speaker: Speaker,
    record: Option<&'a Record>,
    findings: &'a mut Vec<Finding>,
    matter: u64,
    rose: Option<Metric>,
}

impl<'a> Out<'a> {
    pub(super) fn new(
        standing: &'a mut Standing,
        speaker: Speaker,
        record: Option<&'a Record>,
        findings: &'a mut Vec<Finding>,
    ) -> Self {
        let standing = standing.of_mut(speaker.mode);
        standing.newest = standing.newest.max(speaker.at);
        Self { standing, speaker, record, findings, matter: 0, rose: None }
    }

    /// The same about one matter among several of the same people, such as one of their limits: what is found of it is a
    /// finding of its own. 0 is the only one of most rules.
    pub fn matter(&mut self, matter: u64) -> Out<'_> {
        let Self { standing, speaker, record, findings, rose, .. } = self;
        Out { standing, speaker: *speaker, record: *record, findings, matter, rose: *rose }
    }

    /// The same, where what is told is that a metric rose: known to who judges what comes behind it, and no part of a finding.
    pub fn rose(&mut self, rose: Option<Metric>) -> Out<'_> {
        let Self { standing, speaker, record, findings, matter, .. } = self;
        Out { standing, speaker: *speaker, record: *record, findings, matter: *matter, rose }
    }

    fn key(&self, who: Who, start: Ts) -> CaseKey {
        let Speaker { rule_no, version, .. } = self.speaker;
        CaseKey { rule: rule_no, version, who: who.into(), matter: self.matter, start }
    }

    /// The newest case about somebody that began by then.
    fn latest(&self, who: Who, by: Ts) -> Option<(CaseKey, Ts)> {
        let range = self.key(who, Ts(i64::MIN))..=self.key(who, by);
        self.standing.cases.range(range).next_back().map(|(key, case)| (*key, case.end))
    }

    /// Something was found; gives how much there is of it by now. `details` are asked for where it is told.
    pub fn found(&mut self, found: Found, details: impl FnOnce(i64) -> Details) -> i64 {
        let Found { who, mut window, cause, measured, severity } = found;
        if cause == Cause::Overlap
            && let Some((known, end)) = self.latest(who, window.end)
            && end > window.start
            && known.start < window.end
        {
            window = Window { start: known.start, end };
        }
        let at = self.speaker.at;
        let fresh = Case {
            end: window.end,
            said: Said::Nothing,
            observed: 0,
            told: 0,
            told_at: at,
            told_severity: severity,
            records: Vec::new(),
            heard_at: self.standing.newest,
            rose: None,
        };
        let key = self.key(who, window.start);
        let cases_max = match self.speaker.scope {
            Scope::Operator(_) => CASES_MAX,
            Scope::Nation(_) => NATION_CASES_MAX,
        };
        self.standing.make_room(&key, cases_max);
        let case = self.standing.cases.entry(key).or_insert(fresh);
        // whatever ends elsewhere by now is still the case that was told of
        window.end = case.end;
        case.heard_at = self.standing.newest;
        let told_from = match cause {
            Cause::Sum { told_from } => {
                case.observed = case.observed.saturating_add(measured.observed);
                if let Some(record) = self.record.filter(|_| case.records.len() < RECORDS_MAX) {
                    case.records.push(record.record_id.as_str().into());
                }
                told_from
            }
            Cause::Window | Cause::Lasting | Cause::Overlap => {
                case.observed = measured.observed;
                i64::MIN
            }
        };
        let observed = case.observed;
        let is_much_more = (i128::from(observed) - i128::from(case.told)).abs() >= i128::from(case.told).abs();
        let is_later = at.0.saturating_sub(case.told_at.0) >= TOLD_AGAIN;
        let kind = match case.said {
            _ if observed < told_from => return observed,
            Said::Nothing | Said::Withdrawn => RevisionKind::Raised,
            Said::Stands if severity != case.told_severity => RevisionKind::Corrected,
            Said::Stands if cause == Cause::Lasting => return observed,
            Said::Stands if observed != case.told && (is_much_more || is_later) => RevisionKind::Corrected,
            Said::Stands => return observed,
        };
        (case.said, case.told, case.told_at, case.told_severity) = (Said::Stands, observed, at, severity);
        case.rose = self.rose;
        let mut details = details(observed);
        if matches!(cause, Cause::Sum { .. }) {
            details.records = case.records.iter().map(|id| id.to_string()).collect();
        }
        let measured = Measured { observed, ..measured };
        self.say(who, window, kind, severity, measured, details);
        observed
    }

    /// One time more in its hour; beyond `named_max` of them the operator itself is named once, with their number and
    /// what is said of them. Gives the number by now: up to `named_max` people are named one by one.
    pub fn once_more(&mut self, at: Ts, named_max: i64, what: &str) -> i64 {
        let hour = at.floor_to(HOUR);
        let many = Found {
            who: Who::Operator,
            window: Window { start: hour, end: hour.plus(HOUR) },
            cause: Cause::Sum { told_from: named_max + 1 },
            measured: Measured { observed: 1, limit: 0, unit: Unit::Records },
            severity: Severity::High,
        };
        self.found(many, |count| {
            Details::of(vec![format!("{} in the hour somebody {what}", counted(count, "time", "times"))])
        })
    }

    /// What was found about somebody in a window that holds this instant is not so.
    pub fn cleared(&mut self, who: Who, at: Ts, measured: Measured, reason: &str) {
        let Some((key, end)) = self.latest(who, at).filter(|(_, end)| *end > at) else { return };
        let Some(case) = self.standing.cases.get_mut(&key).filter(|case| case.said == Said::Stands) else { return };
        (case.said, case.observed, case.heard_at) = (Said::Withdrawn, 0, self.standing.newest);
        case.records.clear();
        let severity = case.told_severity;
        let window = Window { start: key.start, end };
        let details = Details::of(vec![reason.to_owned()]);
        self.say(who, window, RevisionKind::Withdrawn, severity, measured, details);
    }

    /// A record that a [`Cause::Sum`] adds up, made at an instant, counts no more: what is left is told, and where nothing is
    /// left the finding is withdrawn. One of those that a case does not remember stays in its sum.
    pub fn taken_back(
        &mut self,
        who: Who,
        (id, at, amount): (&str, Ts, i64),
        measured: Measured,
        reason: &str,
        details: impl FnOnce(i64) -> Details,
    ) {
        let Some((key, end)) = self.latest(who, at).filter(|(_, end)| *end > at) else { return };
        let Some(case) = self.standing.cases.get_mut(&key) else { return };
        let Some(place) = case.records.iter().position(|known| **known == *id) else { return };
        case.records.remove(place);
        case.observed = case.observed.saturating_sub(amount);
        let observed = case.observed;
        if observed <= 0 {
            return self.cleared(who, at, measured, reason);
        }
        if case.said != Said::Stands {
            return;
        }
        (case.told, case.told_at, case.heard_at) = (observed, self.speaker.at, self.standing.newest);
        let severity = case.told_severity;
        let records = case.records.iter().map(|id| id.to_string()).collect();
        let window = Window { start: key.start, end };
        let details = Details { records, ..details(observed) };
        self.say(who, window, RevisionKind::Corrected, severity, Measured { observed, ..measured }, details);
    }

    /// Does something stand about somebody in a window that holds this instant?
    #[must_use]
    pub fn stands(&self, who: Who, at: Ts) -> bool {
        let case = self.latest(who, at).filter(|(_, end)| *end > at);
        case.is_some_and(|(key, _)| self.standing.cases[&key].said == Said::Stands)
    }

    /// The newest that stands about somebody and began by then.
    #[must_use]
    pub fn newest_standing(&self, who: Who, by: Ts) -> Option<Told> {
        let (key, end) = self.latest(who, by)?;
        let case = self.standing.cases.get(&key).filter(|case| case.said == Said::Stands)?;
        let window = Window { start: key.start, end };
        Some(Told { window, severity: case.told_severity, rose: case.rose })
    }

    fn say(
        &mut self,
        who: Who,
        window: Window,
        kind: RevisionKind,
        severity: Severity,
        measured: Measured,
        details: Details,
    ) {
        let Speaker { rule, version, mode, scope, at, .. } = self.speaker;
        let Details { reasons, records, operators, band } = details;
        let id = finding_id(scope, (rule, version), who, self.matter, window);
        let finding = Finding {
            id,
            rule,
            version,
            mode,
            scope,
            operators,
            who,
            window,
            kind,
            severity,
            at,
            measured,
            band,
            reasons,
            records,
        };
        revise(self.findings, finding);
    }
}
