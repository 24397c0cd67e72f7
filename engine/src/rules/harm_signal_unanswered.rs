//! A sign of harm was given to the operator, and nobody intervened in time.

use crate::rules::finding::{Measured, Mode, Unit, Who};
use crate::rules::input::{Clock, Input, Trigger};
use crate::rules::list::{About, Home};
use crate::rules::params::{self, params};
use crate::rules::ruleset::{RuleSet, RuleVersion};
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::{Severity, Window};
use models::ts::{MINUTE, Ts};
use models::words::counted;

/// What it is.
pub const ABOUT: About = About {
    name: "harm_signal_unanswered",
    home: Home::Operator,
    severity: Severity::High,
    what: "no intervention was recorded within the time that the law gives after a sign of harm",
    takes_back: "an intervention in time that is reported late; one that came too late corrects the finding",
    hears: &[Trigger::Tick, Trigger::Intervention, Trigger::Signal],
};

params! {
    /// Minutes from the sign to the intervention.
    answer_minutes: i64 = 60, "minutes", 5..=10_080, "the Netherlands: act on a signal within one hour (FACTS, behavioural markers)";
    /// Signs from this level on: 0 low, 1 medium, 2 high, 3 critical.
    level_min: i64 = 1, "level", 0..=3, "low signs are watched, not answered (Britain's indicators: strong ones are acted on)";
}

/// Until when signs of harm have to be answered: what the live versions of the rule ask for.
#[derive(Clone, Debug, Default)]
pub struct Terms(Vec<(RuleVersion, Params)>);

impl Terms {
    /// Of a jurisdiction's versions.
    #[must_use]
    pub fn of(set: &RuleSet) -> Self {
        let live = set.versions().filter(|version| version.rule == ABOUT.name && version.mode == Mode::Live);
        // a set holds nothing that cannot be read
        let read = |version: &RuleVersion| params::read(ABOUT.name, &version.params).ok().map(|p| (version.clone(), p));
        Self(live.filter_map(read).collect())
    }

    /// The last instant for an answer to a sign, by the version that is in force at `at`; none where none is asked for.
    #[must_use]
    pub fn act_by(&self, (since, level): (Ts, Severity), at: Ts) -> Option<Ts> {
        let (_, params) = self.0.iter().find(|(version, _)| version.holds(at))?;
        (level as i64 >= params.level_min).then(|| since.plus(params.answer_minutes * MINUTE))
    }
}

/// A tick judges every sign by what has been heard until then ([`Signalled::heard_to`]), each by its own lag.
///
/// [`Signalled::heard_to`]: crate::rules::book::Signalled::heard_to
pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let (mine, clock) = match heard.input {
        // it is given by the wall clock, and speaks of earlier signs about the player, too
        Input::Signal { signal, .. } => (Some(signal.player.0), Clock::Wall),
        Input::Tick { clock, .. } => (None, *clock),
        _ => (heard.player.map(|(key, _)| key), Clock::Records),
    };
    let all = (u128::MIN, Ts(i64::MIN))..=(u128::MAX, Ts(i64::MAX));
    let range = mine.map_or(all, |key| (key, Ts(i64::MIN))..=(key, Ts(i64::MAX)));
    let span = params.answer_minutes * MINUTE;
    for ((player, since), signal) in heard.book.signals.range(range) {
        if (signal.level as i64) < params.level_min {
            continue;
        }
        let who = Who::Player(*player);
        let due = since.plus(span);
        // nothing can be said of it by this clock
        let Some(until) = signal.answered_at.or_else(|| signal.heard_to(heard.at, clock)) else { continue };
        let minutes = (until.0 - since.0).max(0) / MINUTE;
        let measured = Measured { observed: minutes, limit: params.answer_minutes, unit: Unit::Minutes };
        match signal.answered_at {
            Some(at) if at <= due => out.cleared(who, *since, measured, "an intervention in time was reported later"),
            None if until <= due => {}
            is_answered => {
                let found = Found {
                    who,
                    window: Window { start: *since, end: due },
                    cause: if is_answered.is_some() { Cause::Window } else { Cause::Lasting },
                    measured,
                    // an answer that came late is less than none
                    severity: if is_answered.is_some() { Severity::Medium } else { Severity::High },
                };
                out.found(found, |_| {
                    let limit = counted(params.answer_minutes, "minute", "minutes");
                    let minutes = counted(minutes, "minute", "minutes");
                    Details::of(vec![match is_answered {
                        Some(_) => format!("the sign of harm was answered after {minutes}, not within {limit}"),
                        None => format!("no intervention within {limit} of the sign of harm"),
                    }])
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::scenario::{Story, check, minutes};
    use models::alert::RevisionKind;
    use models::ts::{DAY, HOUR};
    use serde_json::json;

    #[test]
    fn a_sign_of_harm_is_answered_within_the_hour() {
        use Severity::{Low, Medium};
        let sign = |level| Story::at(100).signal("anna", level);
        check(
            "harm_signal_unanswered",
            "{}",
            &[
                ("nobody does anything", sign(Medium).after(minutes(61)).tick(), &["player anna: 61 minutes"]),
                ("an hour is not over", sign(Medium).after(minutes(60)).tick(), &[]),
                (
                    "somebody calls after half an hour",
                    sign(Medium).after(minutes(30)).intervention("anna").after(minutes(60)).tick(),
                    &[],
                ),
                (
                    "somebody calls, but somebody else",
                    sign(Medium).after(minutes(30)).intervention("ben").after(minutes(30)).tick(),
                    &["player anna: 61 minutes"],
                ),
                (
                    "a call the day before answers nothing",
                    Story::at(40)
                        .intervention("anna")
                        .after(minutes(60))
                        .signal("anna", Medium)
                        .after(minutes(61))
                        .tick(),
                    &["player anna: 61 minutes"],
                ),
                (
                    "a call after two hours",
                    sign(Medium).after(minutes(61)).tick().after(minutes(59)).intervention("anna"),
                    &["player anna: 120 minutes"],
                ),
                (
                    "a call in time that is reported late takes it back",
                    sign(Medium).after(minutes(90)).tick().before(minutes(50)).intervention("anna"),
                    &[],
                ),
                ("low signs are watched only", sign(Low).after(minutes(300)).tick(), &[]),
                (
                    "a low sign that grew",
                    sign(Low).signal("anna", Medium).after(minutes(61)).tick(),
                    &["player anna: 61 minutes"],
                ),
            ],
        );
    }

    #[test]
    fn the_wall_clock_waits_for_records_as_long_as_they_lag() {
        use Severity::{High, Medium};
        // records lie three hours behind
        let sign = |who| Story::at(100).signal_behind(who, Medium, 3 * HOUR);
        check(
            "harm_signal_unanswered",
            "{}",
            &[
                ("the hour is over on the wall alone", sign("anna").after(minutes(61)).wall_tick(), &[]),
                ("an answer may come until then", sign("anna").after(minutes(240)).wall_tick(), &[]),
                (
                    "it would be there by now",
                    sign("anna").after(minutes(241)).wall_tick(),
                    &["player anna: 61 minutes"],
                ),
                (
                    "hourly, as where there are documents, and the answer comes as late as everything",
                    sign("anna")
                        .after(minutes(61))
                        .wall_tick()
                        .after(minutes(60))
                        .wall_tick()
                        .after(minutes(60))
                        .wall_tick()
                        .after(minutes(30))
                        .before(minutes(166))
                        .intervention("anna")
                        .after(minutes(60))
                        .wall_tick(),
                    &[],
                ),
                (
                    "records themselves say that the hour is over",
                    sign("anna").after(minutes(61)).tick(),
                    &["player anna: 61 minutes"],
                ),
                (
                    "of two signs the clock speaks of the one whose time is over",
                    sign("anna")
                        .after(minutes(30))
                        .signal_behind("ben", High, 3 * HOUR)
                        .after(minutes(211))
                        .wall_tick(),
                    &["player anna: 61 minutes"],
                ),
                (
                    "each by its own lag",
                    sign("anna").signal_behind("ben", High, 0).after(minutes(61)).wall_tick(),
                    &["player ben: 61 minutes"],
                ),
                (
                    "a day behind is no archive",
                    Story::at(100).signal_behind("anna", High, DAY).after(DAY + minutes(61)).wall_tick(),
                    &["player anna: 61 minutes"],
                ),
                (
                    "of an archive the wall clock says nothing",
                    Story::at(100).signal_behind("anna", High, DAY + 1).after(9 * DAY).wall_tick(),
                    &[],
                ),
            ],
        );
    }

    #[test]
    fn an_answer_that_comes_with_the_lag_raises_nothing_in_between() {
        let waits = Story::at(100).signal_behind("anna", Severity::High, 3 * HOUR);
        let hourly = (0..4).fold(waits, |story, _| story.after(minutes(56)).wall_tick());
        let answered = hourly.before(minutes(180)).intervention("anna").after(minutes(56)).wall_tick();
        assert!(answered.all("harm_signal_unanswered", "{}").is_empty());
    }

    #[test]
    fn until_when_an_answer_is_asked_for_is_the_rules_own_limit() {
        let version = |mode, from: i64, to: Option<i64>, params| RuleVersion {
            rule: ABOUT.name.to_owned(),
            version: 1 + from as u32,
            jurisdiction: "KE".to_owned(),
            effective_from: Ts(from * HOUR),
            effective_to: to.map(|to| Ts(to * HOUR)),
            mode,
            params,
        };
        let versions = vec![
            version(Mode::Live, 10, Some(20), json!({})),
            version(Mode::Live, 20, None, json!({"answer_minutes": 30, "level_min": 2})),
            version(Mode::Shadow, 15, None, json!({"answer_minutes": 5})),
        ];
        let terms = Terms::of(&RuleSet::new("KE", versions).unwrap());
        let table = [
            ("before any version", 5, Severity::High, None),
            ("the standard hour", 12, Severity::Medium, Some(60)),
            ("low signs are watched only", 12, Severity::Low, None),
            ("a later version", 21, Severity::High, Some(30)),
            ("for which medium is too little", 21, Severity::Medium, None),
        ];
        for (what, hour, level, wanted) in table {
            let since = Ts(hour * HOUR);
            let act_by = terms.act_by((since, level), since);
            assert_eq!(act_by, wanted.map(|wanted| since.plus(wanted * MINUTE)), "{what}");
        }
        // what was given under one version is asked for by the one that is in force
        assert_eq!(terms.act_by((Ts(19 * HOUR), Severity::High), Ts(20 * HOUR)), Some(Ts(19 * HOUR + 30 * MINUTE)));
        assert_eq!(Terms::default().act_by((Ts(0), Severity::Critical), Ts(0)), None, "the rule is off");
    }

    #[test]
    fn who_waits_is_told_of_once() {
        let waits = Story::at(0).signal("anna", Severity::High).after(minutes(61));
        let story = (0..48).fold(waits, |story, _| story.tick().after(minutes(60)));
        let said: Vec<_> = story
            .intervention("anna")
            .all("harm_signal_unanswered", "{}")
            .iter()
            .map(|f| (f.kind, f.measured.observed))
            .collect();
        assert_eq!(said, [(RevisionKind::Raised, 61), (RevisionKind::Corrected, 61 + 48 * 60)]);
    }

    #[test]
    fn an_answer_too_late_is_less_than_none() {
        let found = Story::at(0)
            .signal("anna", Severity::High)
            .after(minutes(61))
            .tick()
            .after(minutes(1))
            .intervention("anna");
        let said: Vec<_> = found.all("harm_signal_unanswered", "{}").iter().map(|f| (f.kind, f.severity)).collect();
        assert_eq!(said, [(RevisionKind::Raised, Severity::High), (RevisionKind::Corrected, Severity::Medium)]);
    }
}
