//! What may happen to a version next. Nothing here changes anything: what is allowed is a change to be journaled.

use super::{Life, Span, State, Version};
use crate::rules::list::{self, Typed};
use models::rule::{RateDeparture, RateForecast, RuleAct};
use models::ts::Ts;
use serde_json::Value;

/// Versions of a rule in a jurisdiction at most.
pub const VERSIONS_PER_RULE_MAX: u32 = 256;

/// Why something may not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such version.
    #[error("there is no such version")]
    UnknownVersion,
    /// A time that cannot be.
    #[error("{field}: {what}")]
    Time {
        /// `effective_from` or `effective_to`.
        field: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// It contradicts what is there.
    #[error("{0}")]
    Contradicts(String),
}

fn contradicts<T>(what: String) -> Result<T, Refused> {
    Err(Refused::Contradicts(what))
}

impl Life {
    /// Now, or when the last change was, where a clock was set back since.
    #[must_use]
    pub fn now(&self, clock: Ts) -> Ts {
        clock.max(self.last_at)
    }

    /// Proposes a version; `params` are all of them, `effective` says when it is to hold.
    ///
    /// # Errors
    /// [`Refused`]: a time that is over, what is live already, another one that becomes live by itself meanwhile.
    pub fn propose(&self, params: Value, effective: (Option<Ts>, Option<Ts>), now: Ts) -> Result<RuleAct, Refused> {
        let (from, to) = effective;
        let begin = from.unwrap_or(now);
        if begin < now {
            let what = "in the past: what happened then was judged by the version of then";
            return Err(Refused::Time { field: "effective_from", what });
        }
        if to.is_some_and(|to| to <= begin) {
            return Err(Refused::Time { field: "effective_to", what: "not after effective_from, or in the past" });
        }
        let version = self.versions.iter().map(|version| version.number).max().unwrap_or(0) + 1;
        if version > VERSIONS_PER_RULE_MAX {
            return contradicts(format!("the rule has {VERSIONS_PER_RULE_MAX} versions, as many as it may"));
        }
        let live = self.live_at(begin);
        if let Some(live) = live.filter(|live| is_same(self.rule, &live.params, &params)) {
            return contradicts(format!("the parameters are those of version {}, which is live then", live.number));
        }
        self.is_free(Span { from: begin, to }, now)?;
        Ok(RuleAct::Proposed { version, params, effective_from: from, effective_to: to })
    }

    /// Lets a version run in the shadow.
    ///
    /// # Errors
    /// [`Refused`]: it is live, one runs in the shadow already, or the rule does not run over inputs of rules.
    pub fn start_shadow(&self, number: u32, now: Ts) -> Result<RuleAct, Refused> {
        let version = self.version(number).ok_or(Refused::UnknownVersion)?;
        if list::about(self.rule).is_some_and(|about| !about.is_here()) {
            let rule = self.rule;
            return contradicts(format!("no version of {rule} runs in the shadow: {}", instead_of_shadow(rule)));
        }
        if self.state(version, now) == State::Live {
            return contradicts(format!("version {number} is live"));
        }
        match self.shadow_at(now) {
            Some(other) if other.number == number => {
                contradicts(format!("version {number} runs in the shadow already"))
            }
            Some(other) => contradicts(format!("version {} runs in the shadow: stop it first", other.number)),
            None => Ok(RuleAct::ShadowStarted { version: number }),
        }
    }

    /// Lets it no longer do so.
    ///
    /// # Errors
    /// [`Refused`]: it does not.
    pub fn stop_shadow(&self, number: u32, now: Ts) -> Result<RuleAct, Refused> {
        let version = self.version(number).ok_or(Refused::UnknownVersion)?;
        match version.shadow_at(now) {
            Some(_) => Ok(RuleAct::ShadowStopped { version: number }),
            None => contradicts(format!("version {number} does not run in the shadow")),
        }
    }

    /// The version to be promoted, if it may be.
    ///
    /// # Errors
    /// [`Refused`]: it was live before, or its time is over, or another one becomes live by itself meanwhile.
    pub fn promotable(&self, number: u32, now: Ts) -> Result<&Version, Refused> {
        let version = self.version(number).ok_or(Refused::UnknownVersion)?;
        if number == self.standard_number() && !self.begins_live() {
            return contradicts(format!("nobody proposed version {number}: propose its parameters"));
        }
        if number == self.standard_number() || version.promotion.is_some() {
            let what = "was promoted before: roll back to it, or propose its parameters anew";
            return contradicts(format!("version {number} {what}"));
        }
        let span = span_of(version, now);
        if span.to.is_some_and(|to| to <= span.from) {
            return contradicts(format!("the time for which version {number} was proposed is over"));
        }
        self.is_free(span, now)?;
        Ok(version)
    }

    /// Promotes it from now on, or when it was proposed for.
    #[must_use]
    pub fn promote(&self, version: &Version, now: Ts, forecast: Option<RateForecast>) -> RuleAct {
        let Span { from, to } = span_of(version, now);
        RuleAct::Promoted { version: version.number, from, to, forecast }
    }

    /// Undoes the last promotion of a version, or, where none is named, the last one that holds now, or that the rule was
    /// turned off; one that is still to begin where nothing else can be undone.
    ///
    /// # Errors
    /// [`Refused`]: there is none.
    pub fn roll_back(&self, version: Option<u32>, now: Ts) -> Result<RuleAct, Refused> {
        let is_over = |to: Option<Ts>| to.is_some_and(|to| to <= now);
        let newest_first = || self.layers.iter().rev().filter(|layer| layer.change > 0 && !is_over(layer.span.to));
        let last = match version {
            Some(_) => newest_first().find(|layer| layer.version == version),
            None => newest_first().find(|layer| layer.span.holds(now)).or_else(|| newest_first().next()),
        };
        match (last, version) {
            (Some(layer), _) => Ok(self.undo(layer.change, now, None)),
            (None, Some(version)) => contradicts(format!("version {version} was not promoted, or its time is over")),
            (None, None) => contradicts("nothing was live before what is live now".to_owned()),
        }
    }

    /// Undoes the promotion of a version because its alerts left their forecast.
    #[must_use]
    pub fn brake(&self, version: &Version, now: Ts, departure: RateDeparture) -> Option<RuleAct> {
        let change = version.promotion.as_ref()?.deed.change;
        self.layers.iter().any(|layer| layer.change == change).then(|| self.undo(change, now, Some(departure)))
    }

    fn undo(&self, undoes: i64, now: Ts, brake: Option<RateDeparture>) -> RuleAct {
        let mut after = self.clone();
        after.layers.retain(|layer| layer.change != undoes);
        after.lay(now);
        RuleAct::RolledBack { undoes, to: after.step_at(now), brake }
    }

    /// Turns the rule off.
    ///
    /// # Errors
    /// [`Refused`]: it is.
    pub fn turn_off(&self, now: Ts) -> Result<RuleAct, Refused> {
        let is_off = self.live_at(now).is_none() && self.steps.iter().all(|step| step.from <= now);
        if is_off { contradicts("the rule is off".to_owned()) } else { Ok(RuleAct::TurnedOff) }
    }

    /// Does no version that has not begun yet become live by itself in a span?
    fn is_free(&self, span: Span, now: Ts) -> Result<(), Refused> {
        let has_begun = |number: u32| self.live_spans(number).iter().any(|live| live.from <= now);
        let ahead = self.steps.iter().filter(|step| step.from > now);
        for (step, number) in ahead.filter_map(|step| Some((step, step.version?))) {
            let meets = self.live_spans(number).iter().any(|live| {
                live.from == step.from
                    && span.to.is_none_or(|to| live.from < to)
                    && live.to.is_none_or(|to| span.from < to)
            });
            if meets && !has_begun(number) {
                let what = "roll it back first, or end this one before";
                return contradicts(format!("version {number} becomes live at {}: {what}", step.from));
            }
        }
        Ok(())
    }
}

/// What is done instead of a shadow with a version of a rule that has none.
fn instead_of_shadow(rule: &str) -> &'static str {
    if rule == crate::detector::RULE {
        "it would be a second market of every operator. Run a backtest of it"
    } else {
        "whether a feed is silent is known while it is. Its promotion is watched by the brake"
    }
}

/// When a version is to be live that is promoted now.
fn span_of(version: &Version, now: Ts) -> Span {
    let (from, to) = version.effective;
    Span { from: from.map_or(now, |from| from.max(now)), to }
}

fn is_same(rule: &str, one: &Value, other: &Value) -> bool {
    let read = |params| Typed::read(rule, params).ok().flatten();
    read(one).is_some_and(|one| read(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::finding::Mode;
    use crate::rules::life::complete;
    use crate::rules::ruleset::RuleSet;
    use models::ids::KeyId;
    use models::jurisdiction::JurisdictionNo;
    use models::rule::RuleChanged;
    use serde_json::{Map, json};

    const RULE: &str = "structured_deposits";

    /// A story: what somebody does at which time, and what is said of it.
    struct Story {
        life: Life,
        now: Ts,
    }

    impl Story {
        fn begin() -> Self {
            Self { life: Life::standard("KE", RULE).unwrap(), now: Ts(1_000) }
        }

        fn at(mut self, at: i64) -> Self {
            self.now = Ts(at);
            self
        }

        fn take(&mut self, act: Result<RuleAct, Refused>) -> Result<(), String> {
            let act = act.map_err(|refused| refused.to_string())?;
            let change = RuleChanged {
                jurisdiction: JurisdictionNo(0),
                rule: RULE.to_owned(),
                change: self.life.change() + 1,
                by: Some(KeyId(1)),
                at: self.now,
                note: String::new(),
                act,
            };
            self.life.apply(&change).unwrap();
            // whatever was allowed is a set of rules
            RuleSet::new("KE", self.life.rows()).unwrap();
            Ok(())
        }

        /// `propose 4`, `propose 4 from 50 to 70`, `shadow 2`, `stop 2`, `promote 2`, `back`, `back 2`, `off`.
        fn does(mut self, what: &str) -> Result<Self, String> {
            let words: Vec<&str> = what.split(' ').collect();
            let number = |place: usize| words.get(place).and_then(|word| word.parse().ok());
            let behind =
                |name: &str| words.iter().position(|word| *word == name).and_then(|place| number(place + 1)).map(Ts);
            let version = || number(1).map_or(0, |number: i64| number as u32);
            let (life, now) = (&self.life, self.now);
            let act = match words[0] {
                "propose" => {
                    let given = Map::from_iter([("deposits_min".to_owned(), json!(number(1).unwrap()))]);
                    life.propose(complete(RULE, &Value::Null, &given).unwrap(), (behind("from"), behind("to")), now)
                }
                "shadow" => life.start_shadow(version(), now),
                "stop" => life.stop_shadow(version(), now),
                "promote" => life.promotable(version(), now).map(|version| life.promote(version, now, None)),
                "back" => life.roll_back(number(1).map(|number: i64| number as u32), now),
                "off" => life.turn_off(now),
                other => panic!("{other}"),
            };
            self.take(act)?;
            Ok(self)
        }

        /// The versions in force, as `1 0-50, 2 50-`; those in the shadow with a star.
        fn rows(&self) -> String {
            let mut rows = self.life.rows();
            rows.sort_by_key(|row| (row.mode, row.effective_from));
            let row = |row: &crate::rules::ruleset::RuleVersion| {
                let to = row.effective_to.map_or(String::new(), |to| to.0.to_string());
                let mark = if row.mode == Mode::Shadow { "*" } else { "" };
                format!("{}{mark} {}-{to}", row.version, row.effective_from.0)
            };
            rows.iter().map(row).collect::<Vec<_>>().join(", ")
        }

        fn states(&self) -> String {
            let states = self.life.versions().iter().map(|version| self.life.state(version, self.now).as_str());
            states.collect::<Vec<_>>().join(" ")
        }
    }

    /// `10 propose 4` is said at 10.
    fn tell(acts: &[&str]) -> Result<Story, String> {
        acts.iter().try_fold(Story::begin(), |story, act| {
            let (at, what) = act.split_once(' ').unwrap();
            story.at(at.parse().unwrap()).does(what)
        })
    }

    #[test]
    fn lives_of_a_rule() {
        let table: &[(&str, &[&str], &str, &str)] = &[
            ("nothing was said", &[], "1 0-", "live"),
            ("a proposal changes nothing", &["10 propose 4"], "1 0-", "live proposed"),
            ("tried", &["10 propose 4", "20 shadow 2"], "1 0-, 2* 20-", "live shadow"),
            ("tried and left", &["10 propose 4", "20 shadow 2", "30 stop 2"], "1 0-, 2* 20-30", "live proposed"),
            ("promoted", &["10 propose 4", "20 promote 2"], "1 0-20, 2 20-", "ended live"),
            (
                "promoted out of the shadow",
                &["10 propose 4", "20 shadow 2", "30 promote 2"],
                "1 0-30, 2 30-, 2* 20-30",
                "ended live",
            ),
            (
                "for a day of a law",
                &["10 propose 4 from 90", "20 shadow 2", "30 promote 2"],
                "1 0-90, 2 90-, 2* 20-90",
                "live scheduled",
            ),
            (
                "tried until it is live by itself",
                &["10 propose 4 from 90", "20 promote 2", "30 shadow 2"],
                "1 0-90, 2 90-, 2* 30-90",
                "live scheduled",
            ),
            (
                "the one before, until it is live again",
                &["10 propose 4 from 50 to 70", "20 promote 2", "60 shadow 1"],
                "1 0-50, 2 50-70, 1 70-, 1* 60-70",
                "scheduled live",
            ),
            (
                "tried, and given back",
                &["10 propose 4", "20 promote 2", "30 shadow 1", "40 back"],
                "1 0-20, 2 20-40, 1 40-, 1* 30-40",
                "live ended",
            ),
            (
                "promoted late: the day of the law is over",
                &["10 propose 4 from 20", "30 promote 2"],
                "1 0-30, 2 30-",
                "ended live",
            ),
            (
                "for a while: what was live before is so again",
                &["10 propose 4 from 50 to 70", "20 promote 2"],
                "1 0-50, 2 50-70, 1 70-",
                "live scheduled",
            ),
            ("rolled back", &["10 propose 4", "20 promote 2", "30 back"], "1 0-20, 2 20-30, 1 30-", "live ended"),
            (
                "another one is to follow: back means the one that is live",
                &["1 propose 4", "2 promote 2", "5 propose 5 from 90", "6 promote 3", "10 back"],
                "1 0-2, 2 2-10, 1 10-90, 3 90-",
                "live ended scheduled",
            ),
            (
                "another one is to follow, and does not",
                &["1 propose 4", "2 promote 2", "5 propose 5 from 90", "6 promote 3", "10 back 3"],
                "1 0-2, 2 2-",
                "ended live ended",
            ),
            (
                "the one below is taken away",
                &["1 propose 4", "2 promote 2", "5 propose 5", "6 promote 3", "10 back 2", "20 back"],
                "1 0-2, 2 2-6, 3 6-20, 1 20-",
                "live ended ended",
            ),
            ("rolled back before it began", &["10 propose 4 from 90", "20 promote 2", "30 back"], "1 0-", "live ended"),
            (
                "twice forward, twice back",
                &["10 propose 4", "11 propose 5", "20 promote 2", "30 promote 3", "40 back", "50 back"],
                "1 0-20, 2 20-30, 3 30-40, 2 40-50, 1 50-",
                "live ended ended",
            ),
            ("off and on again", &["10 off", "20 back"], "1 0-10, 1 20-", "live"),
            ("off, and another one", &["5 propose 4", "10 off", "20 promote 2"], "1 0-10, 2 20-", "ended live"),
            (
                "off, another one, and back: off",
                &["5 propose 4", "10 off", "20 promote 2", "30 back"],
                "1 0-10, 2 20-30",
                "ended ended",
            ),
            (
                "one for a while over one for a while",
                &["1 propose 4 to 80", "2 propose 5 to 50", "10 promote 2", "20 promote 3"],
                "1 0-10, 2 10-20, 3 20-50, 2 50-80, 1 80-",
                "scheduled scheduled live",
            ),
            (
                "a while is over and forgotten: back means the one behind it",
                &["1 propose 4", "2 propose 5 to 50", "10 promote 2", "20 promote 3", "60 back"],
                "1 0-10, 2 10-20, 3 20-50, 2 50-60, 1 60-",
                "live ended ended",
            ),
            (
                "before one that is scheduled there is room",
                &["1 propose 4 from 90", "2 promote 2", "10 propose 5 to 50", "20 promote 3"],
                "1 0-20, 3 20-50, 1 50-90, 2 90-",
                "scheduled scheduled live",
            ),
            (
                "off takes away what is scheduled, and back gives it back",
                &["1 propose 4 from 90", "2 promote 2", "10 off", "20 back"],
                "1 0-10, 1 20-90, 2 90-",
                "live scheduled",
            ),
            (
                "one that is over may be tried again",
                &["1 propose 4", "2 promote 2", "10 back", "20 shadow 2"],
                "1 0-2, 2 2-10, 1 10-, 2* 20-",
                "live shadow",
            ),
            ("a shadow of no time is none", &["1 propose 4", "2 shadow 2", "2 promote 2"], "1 0-2, 2 2-", "ended live"),
        ];
        for (what, acts, rows, states) in table {
            let story = tell(acts).unwrap_or_else(|refused| panic!("{what}: {refused}"));
            assert_eq!((story.rows().as_str(), story.states().as_str()), (*rows, *states), "{what}");
        }
    }

    #[test]
    fn what_may_not_happen() {
        let table: &[(&[&str], &str)] = &[
            (&["10 propose 3"], "the parameters are those of version 1, which is live then"),
            (&["1 propose 4", "2 promote 2", "3 propose 4"], "the parameters are those of version 2"),
            (&["10 propose 4 from 9"], "effective_from: in the past"),
            (&["10 propose 4 from 30 to 30"], "effective_to: not after effective_from"),
            (&["10 propose 4 to 9"], "effective_to: not after effective_from, or in the past"),
            (&["10 promote 2"], "no such version"),
            (&["1 propose 4", "10 back 2"], "version 2 was not promoted, or its time is over"),
            (&["1 propose 4 to 9", "2 promote 2", "9 back 2"], "version 2 was not promoted, or its time is over"),
            (&["10 shadow 7"], "no such version"),
            (&["10 stop 1"], "version 1 does not run in the shadow"),
            (&["10 promote 1"], "was promoted before"),
            (&["10 shadow 1"], "version 1 is live"),
            (&["1 propose 4", "2 shadow 2", "3 shadow 2"], "version 2 runs in the shadow already"),
            (
                &["1 propose 4", "1 propose 5", "2 shadow 2", "3 shadow 3"],
                "version 2 runs in the shadow: stop it first",
            ),
            (&["1 propose 4", "2 promote 2", "3 promote 2"], "version 2 was promoted before"),
            (&["1 propose 4", "2 promote 2", "3 back", "4 promote 2"], "or propose its parameters anew"),
            (&["1 propose 4 to 9", "10 promote 2"], "the time for which version 2 was proposed is over"),
            (&["10 back"], "nothing was live before"),
            (&["1 propose 4", "2 promote 2", "3 back", "4 back"], "nothing was live before"),
            (&["1 propose 4 to 9", "2 promote 2", "10 back"], "nothing was live before"),
            (&["10 off", "20 off"], "the rule is off"),
            (
                &["1 propose 4 from 90", "2 promote 2", "3 propose 5"],
                "version 2 becomes live at 1970-01-01T00:00:00.000Z: roll it back first",
            ),
            (&["1 propose 4 from 90", "2 propose 5", "3 promote 2", "4 promote 3"], "version 2 becomes live at"),
            (&["1 propose 4 from 90", "2 promote 2", "3 propose 5 from 95"], "version 2 becomes live at"),
            (&["1 propose 4 from 90", "2 promote 2", "3 propose 5 to 91"], "version 2 becomes live at"),
        ];
        for (acts, why) in table {
            let refused = tell(acts).err().unwrap_or_else(|| panic!("{acts:?} is allowed"));
            assert!(refused.contains(why), "{acts:?}: {refused}");
            tell(&acts[..acts.len() - 1]).unwrap_or_else(|refused| panic!("{acts:?}: only the last one: {refused}"));
        }
    }

    #[test]
    fn what_only_some_laws_ask_for_is_off_until_two_people_want_it() {
        let begin = || Story { life: Life::standard("KE", "concurrent_play").unwrap(), now: Ts(10) };
        let wait = |minutes: i64| {
            complete("concurrent_play", &Value::Null, &Map::from_iter([("wait_minutes".to_owned(), json!(minutes))]))
        };
        let story = begin();
        assert_eq!((story.rows().as_str(), story.states().as_str()), ("", "proposed"));
        for (what, why) in [("promote 1", "nobody proposed version 1"), ("off", "the rule is off")] {
            assert!(begin().does(what).err().unwrap().contains(why), "{what}");
        }
        let mut story = begin().does("shadow 1").unwrap();
        assert_eq!((story.rows().as_str(), story.states().as_str()), ("1* 10-", "shadow"));
        // its own parameters, too
        story.take(story.life.propose(wait(5).unwrap(), (None, None), Ts(20))).unwrap();
        let story = story.at(30).does("promote 2").unwrap();
        assert_eq!(story.rows(), "2 30-, 1* 10-");
        assert_eq!(story.at(40).does("back").unwrap().rows(), "2 30-40, 1* 10-");
    }

    #[test]
    fn versions_have_an_end() {
        let many: Vec<String> = (0..VERSIONS_PER_RULE_MAX - 1).map(|n| format!("10 propose {}", 4 + n % 2)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let story = tell(&many).unwrap();
        assert_eq!(story.life.versions().len() as u32, VERSIONS_PER_RULE_MAX);
        assert!(story.does("propose 4").err().unwrap().contains("as many as it may"));
    }

    #[test]
    fn the_brake_takes_away_the_version_it_is_about() {
        let story = tell(&["1 propose 4", "2 propose 5 from 90", "3 promote 2", "4 promote 3"]).unwrap();
        let departure = RateDeparture { from: Ts(3), hours: 1, findings: 50, upper_micro: 1 };
        let act = story.life.brake(story.life.version(2).unwrap(), Ts(20), departure).unwrap();
        assert_eq!(act, RuleAct::RolledBack { undoes: 3, to: Some(1), brake: Some(departure) });
        let mut story = story.at(20);
        story.take(Ok(act)).unwrap();
        assert_eq!(
            (story.rows().as_str(), story.states().as_str()),
            ("1 0-3, 2 3-20, 1 20-90, 3 90-", "live ended scheduled")
        );
        let braked = story.life.version(2).unwrap();
        assert_eq!(braked.promotion.as_ref().unwrap().brake, Some(departure));
        assert_eq!(story.life.brake(braked, Ts(30), departure), None, "once");
        assert_eq!(story.life.brake(story.life.version(1).unwrap(), Ts(30), departure), None, "nobody promoted it");
    }

    #[test]
    fn a_change_that_does_not_follow_changes_nothing() {
        let mut story = tell(&["1 propose 4"]).unwrap();
        let before = story.life.clone();
        let change = |change, act| RuleChanged {
            jurisdiction: JurisdictionNo(0),
            rule: RULE.to_owned(),
            change,
            by: None,
            at: Ts(5),
            note: String::new(),
            act,
        };
        let again = RuleAct::Proposed { version: 2, params: json!({}), effective_from: None, effective_to: None };
        for (number, act) in [
            (1, RuleAct::TurnedOff),
            (3, RuleAct::TurnedOff),
            (2, RuleAct::ShadowStarted { version: 9 }),
            (2, RuleAct::Promoted { version: 9, from: Ts(5), to: None, forecast: None }),
            (2, again),
        ] {
            assert!(story.life.apply(&change(number, act.clone())).is_err(), "{number} {act:?}");
            assert_eq!(story.life, before);
        }
    }

    #[test]
    fn a_clock_that_was_set_back_changes_nothing_that_is_over() {
        let story = tell(&["50 propose 4", "60 promote 2"]).unwrap();
        assert_eq!(story.life.now(Ts(10)), Ts(60));
        assert_eq!(story.life.now(Ts(70)), Ts(70));
    }

    #[test]
    fn parameters_are_completed_or_every_wrong_one_is_named() {
        let given = |json: Value| complete(RULE, &Value::Null, json.as_object().unwrap());
        let full = given(json!({"deposits_min": 5})).unwrap();
        assert_eq!((&full["deposits_min"], &full["band_percent"]), (&json!(5), &json!(20)));
        let wrong = given(json!({"deposits_min": 1, "span_hours": "a day", "colour": "red"})).unwrap_err();
        let said: Vec<(&str, &str)> = wrong.iter().map(|wrong| (wrong.name, wrong.what.as_str())).collect();
        assert_eq!(
            said,
            [
                (
                    "",
                    "one of them is unknown; known are currency, thresholds_minor, band_percent, deposits_min, span_hours"
                ),
                ("deposits_min", "deposits_min of the rule structured_deposits must be from 2 to 20 deposits"),
                ("span_hours", "not of the form of its default, 24"),
            ]
        );
        let standard = Life::standard("KE", RULE).unwrap();
        let live = &standard.version(1).unwrap().params;
        assert_eq!(crate::rules::life::diff(live, &full), [("deposits_min", &json!(3), &json!(5))]);
        assert_eq!(Life::standard("KE", "feed_tampered"), None, "it takes no versions");
    }

    #[test]
    fn rules_of_the_market_and_of_the_desk_live_like_others_without_a_shadow() {
        let table = [
            ("robust_deviation", json!({"threshold_milli": 4_000}), 3, "Run a backtest of it"),
            ("feed_silent", json!({"silent_intervals": 8}), 1, "is watched by the brake"),
        ];
        for (rule, given, standard, instead) in table {
            let mut story = Story { life: Life::standard("KE", rule).unwrap(), now: Ts(10) };
            assert_eq!((story.life.standard_number(), story.states().as_str()), (standard, "live"));
            let params = complete(rule, &Value::Null, given.as_object().unwrap()).unwrap();
            story.take(story.life.propose(params, (None, None), Ts(20))).unwrap();
            let next = standard + 1;
            let refused =
                Story { life: story.life.clone(), now: Ts(30) }.does(&format!("shadow {next}")).err().unwrap();
            assert!(refused.contains(instead), "{refused}");
            let story = story.at(40).does(&format!("promote {next}")).unwrap();
            assert_eq!(story.rows(), format!("{standard} 0-40, {next} 40-"));
            let story = story.at(50).does("back").unwrap();
            assert_eq!(story.rows(), format!("{standard} 0-40, {next} 40-50, {standard} 50-"));
            assert_eq!(story.at(60).does("off").unwrap().rows().split(", ").count(), 3);
        }
    }
}
