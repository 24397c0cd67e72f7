//! The versions of rules in every jurisdiction, as they are now and as they were at every place of the journal.
//!
//! A set of rules changes only with an event, so it is made once for each event and then shared. What the sets are made
//! of is decided in [`engine::rules::life`].

use ::engine::rules::life::{Life, State, Version};
use ::engine::rules::list;
use ::engine::rules::ruleset::{RuleSet, RuleVersion, VERSIONS_MAX};
use models::ids::{KeyId, Seq};
use models::jurisdiction::{Jurisdiction, JurisdictionNo};
use models::rule::{RuleAct, RuleChanged};
use models::ts::{DAY, Ts};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{Store, StoreError};

/// Rows of a set that are kept for going back: nobody tries or promotes a version into them.
const ROWS_RESERVED: usize = 64;

/// Beyond its room a set leaves out what ended longer ago than this, oldest first: records come no later. What was judged by it
/// is computed again by the set of its time.
const ENDED_KEPT: i64 = 400 * DAY;

/// What somebody wants to be done with a rule.
#[derive(Clone, Debug)]
pub enum RuleCommand {
    /// Propose a version.
    Propose {
        /// Every parameter.
        params: Value,
        /// First instant at which it is to hold, and first instant after it.
        effective: (Option<Ts>, Option<Ts>),
    },
    /// Let a version run beside the live one.
    StartShadow(u32),
    /// Let it no longer do so.
    StopShadow(u32),
    /// Let a version take the place of the live one.
    Promote(u32),
    /// Go back to what was live before a version, else before what is live now.
    RollBack(Option<u32>),
    /// Let no version be live.
    TurnOff,
}

/// A command with who gives it, and why.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct RuleOrder {
    /// The credential's.
    pub jurisdiction: JurisdictionNo,
    pub rule: String,
    pub command: RuleCommand,
    pub by: KeyId,
    pub note: String,
    /// `If-Match`: the last change that whoever orders it has seen.
    pub expected: Option<i64>,
}

/// A rule as it is after a command.
#[derive(Clone, Debug)]
pub struct RuleOrdered {
    /// The rule.
    pub life: Arc<Life>,
    /// The version that the command was about: of one that was given back or turned off, the one that is live now.
    pub version: Option<u32>,
}

/// One jurisdiction's.
#[derive(Clone)]
struct Kept {
    code: String,
    lives: BTreeMap<&'static str, Arc<Life>>,
    /// The sets by the event that made them, in order; the standard one first.
    sets: Vec<(Seq, Arc<RuleSet>)>,
    changes: Vec<(Seq, Arc<RuleChanged>)>,
}

impl Kept {
    fn new(code: &str) -> Self {
        let lives =
            list::ABOUT.iter().filter_map(|about| Some((about.name, Arc::new(Life::standard(code, about.name)?))));
        Self {
            code: code.to_owned(),
            lives: lives.collect(),
            sets: vec![(0, Arc::new(RuleSet::standard(code)))],
            changes: Vec::new(),
        }
    }

    /// The rule after a change.
    fn after(&self, changed: &RuleChanged) -> Result<Life, String> {
        let known = self.lives.get(changed.rule.as_str()).ok_or("there is no such rule")?;
        let mut life = Life::clone(known);
        life.apply(changed).map_err(|error| error.to_string())?;
        Ok(life)
    }

    /// Every rule's rows as of a change at an instant, one of them as `life` has it.
    fn rows_with(&self, life: &Life, at: Ts) -> Vec<RuleVersion> {
        let others = self.lives.values().filter(|other| other.rule() != life.rule());
        let mut rows: Vec<RuleVersion> = others.flat_map(|other| other.rows()).chain(life.rows()).collect();
        let surplus = rows.len().saturating_sub(VERSIONS_MAX - ROWS_RESERVED);
        let ended = |row: &RuleVersion| row.effective_to.filter(|to| *to <= at.plus(-ENDED_KEPT));
        let mut ends: Vec<Ts> = rows.iter().filter_map(ended).collect();
        ends.sort_unstable();
        if let Some(last) = ends.iter().take(surplus).next_back().copied() {
            rows.retain(|row| ended(row).is_none_or(|to| to > last));
        }
        rows
    }

    fn apply(&mut self, seq: Seq, changed: &RuleChanged) {
        let heard = self.lives.get(changed.rule.as_str()).is_some_and(|life| changed.change <= life.change());
        if heard {
            return;
        }
        let life = match self.after(changed) {
            Ok(life) => Arc::new(life),
            Err(error) => {
                tracing::error!(rule = changed.rule, change = changed.change, error, "a change of a rule is left out");
                return;
            }
        };
        let before = self.lives.insert(life.rule(), Arc::clone(&life));
        self.changes.push((seq, Arc::new(changed.clone())));
        if before.is_none_or(|before| before.rows() != life.rows()) {
            self.sets.push((seq, Arc::new(self.set(&life, changed.at))));
        }
    }

    /// The set with a rule as it is now. What was allowed when it was journaled and is not any more, because a release has
    /// other bounds, is left out: the standard version stands in for its rule.
    fn set(&self, life: &Life, at: Ts) -> RuleSet {
        RuleSet::new(&self.code, self.rows_with(life, at)).unwrap_or_else(|error| {
            tracing::error!(%error, "versions that are not allowed any more are left out");
            let rows = self.lives.values().flat_map(|life| {
                let own = life.rows();
                let standard = || Life::standard(&self.code, life.rule()).map(|standard| standard.rows());
                if RuleSet::new(&self.code, own.clone()).is_ok() { own } else { standard().unwrap_or_default() }
            });
            RuleSet::new(&self.code, rows.collect()).unwrap_or_else(|_| RuleSet::standard(&self.code))
        })
    }

    fn last_set(&self) -> (Seq, Arc<RuleSet>) {
        self.sets.last().map_or_else(|| (0, Arc::new(RuleSet::standard(&self.code))), Clone::clone)
    }

    fn set_as_of(&self, seq: Seq) -> Arc<RuleSet> {
        let behind = self.sets.partition_point(|(changed, _)| *changed <= seq);
        self.sets[..behind].last().map_or_else(|| self.last_set().1, |(_, set)| Arc::clone(set))
    }
}

/// The versions of rules in every jurisdiction.
#[derive(Clone, Default)]
pub struct RuleVersions(Vec<Kept>);

impl RuleVersions {
    /// Where nothing was said yet.
    #[must_use]
    pub fn new(jurisdictions: &[Jurisdiction]) -> Self {
        Self(jurisdictions.iter().map(|jurisdiction| Kept::new(&jurisdiction.code)).collect())
    }

    /// As the store knows them.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn read(store: &Store, jurisdictions: &[Jurisdiction]) -> Result<Self, StoreError> {
        let mut versions = Self::new(jurisdictions);
        store.rule_changes().await?.iter().for_each(|(seq, changed)| versions.apply(*seq, changed));
        Ok(versions)
    }

    fn of(&self, no: JurisdictionNo) -> Option<&Kept> {
        self.0.get(usize::from(no.0))
    }

    /// The set in force, and the event that last changed it; 0 where none has.
    #[must_use]
    pub fn set(&self, no: JurisdictionNo) -> (Seq, Arc<RuleSet>) {
        self.of(no).map_or_else(|| (0, Arc::new(RuleSet::standard(""))), Kept::last_set)
    }

    /// The set as it was behind an event.
    #[must_use]
    pub fn set_as_of(&self, no: JurisdictionNo, seq: Seq) -> Arc<RuleSet> {
        self.of(no).map_or_else(|| Arc::new(RuleSet::standard("")), |kept| kept.set_as_of(seq))
    }

    /// A rule; none where there is no such rule, or none that takes versions.
    #[must_use]
    pub fn life(&self, no: JurisdictionNo, rule: &str) -> Option<&Arc<Life>> {
        self.of(no)?.lives.get(rule)
    }

    /// Every version that is live at an instant, by jurisdiction.
    pub fn live_at(&self, now: Ts) -> impl Iterator<Item = (JurisdictionNo, &Arc<Life>, &Version)> {
        let numbered = self.0.iter().enumerate().map(|(no, kept)| (JurisdictionNo(no as u8), kept));
        let lives = numbered.flat_map(|(no, kept)| kept.lives.values().map(move |life| (no, life)));
        lives.filter_map(move |(no, life)| Some((no, life, life.live_at(now)?)))
    }

    /// What became of a rule, newest first.
    pub fn changes(&self, no: JurisdictionNo, rule: &str) -> impl Iterator<Item = &(Seq, Arc<RuleChanged>)> {
        let all = self.of(no).map_or(&[][..], |kept| &kept.changes);
        all.iter().rev().filter(move |(_, changed)| changed.rule == rule)
    }

    /// May a change be journaled? What may happen to the rule itself is decided before.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, changed: &RuleChanged) -> Result<(), String> {
        let kept = self.of(changed.jurisdiction).ok_or("there is no such jurisdiction")?;
        let life = kept.after(changed)?;
        let rows = kept.rows_with(&life, changed.at);
        let adds = matches!(changed.act, RuleAct::ShadowStarted { .. } | RuleAct::Promoted { .. });
        if adds && rows.len() > VERSIONS_MAX - ROWS_RESERVED {
            return Err("versions were tried and promoted as often as they may be in a jurisdiction".to_owned());
        }
        RuleSet::new(&kept.code, rows).map(drop).map_err(|error| error.to_string())
    }

    /// Takes in a change; one that was heard of before changes nothing.
    pub fn apply(&mut self, seq: Seq, changed: &RuleChanged) {
        match self.0.get_mut(usize::from(changed.jurisdiction.0)) {
            Some(kept) => kept.apply(seq, changed),
            None => tracing::error!(rule = changed.rule, "a change of a rule is of no jurisdiction"),
        }
    }
}

impl RuleOrdered {
    /// Where its version stands.
    #[must_use]
    pub fn state(&self, now: Ts) -> Option<State> {
        let version = self.life.version(self.version?)?;
        Some(self.life.state(version, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::engine::rules::finding::Mode;
    use models::money::Currency;
    use models::phone::Country;
    use serde_json::json;

    const RULE: &str = "structured_deposits";
    const KE: JurisdictionNo = JurisdictionNo(0);

    fn versions() -> RuleVersions {
        let jurisdiction = |code: &str| Jurisdiction {
            code: code.to_owned(),
            name: code.to_owned(),
            country: Country::Ke,
            currency: Currency::KES,
            time_zone: "Africa/Nairobi".to_owned(),
        };
        RuleVersions::new(&[jurisdiction("KE"), jurisdiction("NG")])
    }

    fn change(no: u8, change: i64, at: i64, act: RuleAct) -> RuleChanged {
        RuleChanged {
            jurisdiction: JurisdictionNo(no),
            rule: RULE.to_owned(),
            change,
            by: None,
            at: Ts(at),
            note: String::new(),
            act,
        }
    }

    fn proposed(version: u32, deposits_min: i64) -> RuleAct {
        let params = json!({"deposits_min": deposits_min});
        RuleAct::Proposed { version, params, effective_from: None, effective_to: None }
    }

    fn promoted(version: u32, from: i64) -> RuleAct {
        RuleAct::Promoted { version, from: Ts(from), to: None, forecast: None }
    }

    /// What is live at an instant by the set of a place of the journal.
    fn live(versions: &RuleVersions, no: u8, seq: Seq, at: i64) -> Option<u32> {
        let set = versions.set_as_of(JurisdictionNo(no), seq);
        set.in_force(RULE, Mode::Live, Ts(at)).map(|version| version.version)
    }

    #[test]
    fn where_nothing_was_said_the_standard_set_holds() {
        let versions = versions();
        for (no, code) in [(0, "KE"), (1, "NG")] {
            assert_eq!(versions.set(JurisdictionNo(no)), (0, Arc::new(RuleSet::standard(code))));
            assert_eq!(*versions.set_as_of(JurisdictionNo(no), 99), RuleSet::standard(code));
        }
    }

    #[test]
    fn every_set_of_before_can_be_asked_for() {
        let mut versions = versions();
        let history = [
            (10, change(0, 1, 100, proposed(2, 4))),
            (20, change(0, 2, 200, promoted(2, 200))),
            (25, change(1, 1, 250, proposed(2, 9))),
            (30, change(0, 3, 300, proposed(3, 5))),
            (40, change(0, 4, 400, RuleAct::ShadowStarted { version: 3 })),
            (50, change(0, 5, 500, RuleAct::RolledBack { undoes: 2, to: Some(1), brake: None })),
        ];
        // in its order, with what is heard twice
        for (seq, changed) in history.iter().chain(&history[..3]) {
            versions.apply(*seq, changed);
        }
        // a proposal changes no set
        assert_eq!(versions.set(KE).0, 50);
        assert_eq!(versions.set(JurisdictionNo(1)).0, 0);
        for (seq, at, expected) in [
            (0, 999, 1),
            (19, 999, 1),
            (20, 150, 1),
            (20, 200, 2),
            (49, 999, 2),
            (50, 150, 1),
            (50, 499, 2),
            (50, 500, 1),
        ] {
            assert_eq!(live(&versions, 0, seq, at), Some(expected), "as of {seq}, at {at}");
            assert_eq!(live(&versions, 1, seq, at), Some(1));
        }
        let shadow = |seq| versions.set_as_of(KE, seq).in_force(RULE, Mode::Shadow, Ts(450)).map(|v| v.version);
        assert_eq!((shadow(39), shadow(40), shadow(50)), (None, Some(3), Some(3)));
        assert_eq!(versions.changes(KE, RULE).map(|(seq, _)| *seq).collect::<Vec<_>>(), [50, 40, 30, 20, 10]);
        // the sets are those of a fold that ends where they were made
        for until in [0, 10, 20, 25, 30, 40, 50] {
            let mut fold = self::versions();
            history.iter().filter(|(seq, _)| *seq <= until).for_each(|(seq, changed)| fold.apply(*seq, changed));
            assert_eq!(fold.set(KE).1, versions.set_as_of(KE, until), "{until}");
        }
    }

    #[test]
    fn what_the_market_and_the_desk_say_is_counted_in_their_alerts() {
        let own = list::ABOUT.iter().filter(|about| about.takes_versions() && !about.is_here());
        assert_eq!(own.map(|about| about.name).collect::<Vec<_>>(), store::RULES_OF_ALERTS);
    }

    #[test]
    fn what_does_not_follow_or_is_not_allowed_is_left_out() {
        let mut versions = versions();
        versions.apply(1, &change(0, 7, 1, RuleAct::TurnedOff));
        versions.apply(2, &change(9, 1, 1, RuleAct::TurnedOff));
        assert_eq!(versions.set(KE).0, 0);
        // two deposits are within the bounds, one is not: as if a release had narrowed them
        versions.apply(3, &change(0, 1, 1, proposed(2, 1)));
        assert!(versions.check(&change(0, 2, 2, promoted(2, 2))).unwrap_err().contains("must be from 2 to 20"));
        versions.apply(4, &change(0, 2, 2, promoted(2, 2)));
        assert_eq!(live(&versions, 0, 4, 10), Some(1), "the standard version stands in");
        assert_eq!(versions.set(KE).1.versions().count(), RuleSet::standard("KE").versions().count());
    }

    #[test]
    fn a_set_keeps_room_for_going_back() {
        let mut versions = versions();
        versions.apply(1, &change(0, 1, 1, proposed(2, 4)));
        let mut last = 1;
        let refused = loop {
            let started = change(0, last + 1, last * 10, RuleAct::ShadowStarted { version: 2 });
            if let Err(refused) = versions.check(&started) {
                break refused;
            }
            versions.apply(last + 1, &started);
            versions.apply(last + 2, &change(0, last + 2, last * 10 + 5, RuleAct::ShadowStopped { version: 2 }));
            last += 2;
        };
        assert!(refused.contains("as often as they may be"), "{refused}");
        let rows = versions.set(KE).1.versions().count();
        assert_eq!(rows, VERSIONS_MAX - ROWS_RESERVED);
        assert_eq!(versions.check(&change(0, last + 1, last * 10, RuleAct::TurnedOff)), Ok(()));
        // 400 days behind the first of them there is room for more of them, and only then
        let first_ended = 15;
        for (at, goes) in [(first_ended + ENDED_KEPT - 1, false), (first_ended + ENDED_KEPT, true)] {
            let started = change(0, last + 1, at, RuleAct::ShadowStarted { version: 2 });
            assert_eq!(versions.check(&started).is_ok(), goes, "{at}");
        }
        let started = change(0, last + 1, first_ended + ENDED_KEPT, RuleAct::ShadowStarted { version: 2 });
        versions.apply(last + 1, &started);
        let spans = |set: &RuleSet| set.versions().map(|row| row.effective_from).min();
        assert_eq!(versions.set(KE).1.versions().count(), rows, "the oldest one is left out");
        assert!(spans(&versions.set(KE).1) <= spans(&versions.set_as_of(KE, last)), "standards stay");
        assert_eq!(
            versions.set_as_of(KE, last).versions().count(),
            rows,
            "what was judged is judged by the set of its time"
        );
    }
}
