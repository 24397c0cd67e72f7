//! What is counted of an operator day by day, whatever the parameters of its rules: how often somebody came in and the
//! register was asked first, and how long after an exclusion bets were still taken. The compliance score stands on it.
//!
//! A record belongs to the day on which it happened. A day is told when it is over, and again when late data changed it.

use crate::rules::input::Trigger;
use crate::rules::play_without_check::{self, is_entry};
use crate::rules::run::Heard;
use crate::rules::table::Key;
use models::compliance::{DayTally, PEOPLE_MAX};
use models::ts::{HOUR, MINUTE, Ts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Days that are counted at the same time: the horizon of a source of play is 7 by default. Records of earlier days are
/// counted as too late.
pub const DAYS_MAX: usize = 16;
/// A day that is over and changes is told once so long by the clock of the inputs.
const AGAIN: i64 = HOUR;

/// A day.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Day {
    end: Ts,
    tally: DayTally,
    /// Minutes from the exclusion to the last accepted bet, by player.
    people: BTreeMap<Key, u32>,
    /// How often it was told.
    revision: u32,
    told_at: Ts,
    is_changed: bool,
    /// Nobody has taken it since it was to be told. Not in the bytes: they are those of whoever takes it at once.
    #[serde(skip)]
    is_untold: bool,
}

/// The days of an operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// By their first instant.
    days: BTreeMap<Ts, Day>,
    /// The newest tick.
    clock: Ts,
    /// Records of days that are counted no more.
    too_late: u64,
}

impl Tally {
    /// Records that were of a day that is counted no more.
    #[must_use]
    pub fn too_late(&self) -> u64 {
        self.too_late
    }

    /// A day that is counted now, by its first instant.
    #[must_use]
    pub fn day(&self, start: Ts) -> Option<DayTally> {
        self.days.get(&start).map(Day::told)
    }

    /// Takes an input in.
    pub(super) fn note(&mut self, heard: &Heard<'_>) {
        if heard.trigger == Trigger::Tick {
            self.clock = self.clock.max(heard.at);
            self.settle();
            return;
        }
        let is_entry = heard.player.is_some() && is_entry(heard);
        let is_bet = heard.trigger == Trigger::Bet;
        if !is_entry && !is_bet {
            return;
        }
        let Some(day) = self.day_of(heard) else { return };
        if is_entry {
            day.enter(heard);
        }
        if is_bet {
            match heard.player.filter(|_| heard.facts.is_identified) {
                Some((player, _)) => day.bet(player, heard),
                None => day.bet_of_nobody(),
            }
        }
    }

    fn day_of(&mut self, heard: &Heard<'_>) -> Option<&mut Day> {
        let (start, end) = (heard.spans.day.start, heard.spans.day.end);
        if !self.days.contains_key(&start) && self.days.len() >= DAYS_MAX {
            if self.days.first_key_value().is_some_and(|(oldest, _)| start < *oldest) {
                self.too_late += 1;
                return None;
            }
            self.days.pop_first();
        }
        let day = self.days.entry(start).or_default();
        (day.end, day.is_changed) = (end, true);
        Some(day)
    }

    /// Numbers the days that are to be told by now: with the inputs, whenever somebody takes them.
    fn settle(&mut self) {
        let clock = self.clock;
        let is_due = |day: &Day| {
            let again = day.revision == 0 || clock.0 - day.told_at.0 >= AGAIN;
            day.is_changed && day.end <= clock && again
        };
        for day in self.days.values_mut().filter(|day| is_due(day)) {
            day.revision += 1;
            (day.told_at, day.is_changed, day.is_untold) = (clock, false, true);
        }
    }

    /// Days to tell of: first instant, number of the telling, what was counted.
    pub(super) fn take_due(&mut self) -> Vec<(Ts, u32, DayTally)> {
        let told = |(start, day): (&Ts, &mut Day)| {
            let is_untold = std::mem::take(&mut day.is_untold);
            is_untold.then(|| (*start, day.revision, day.told()))
        };
        self.days.iter_mut().filter_map(told).collect()
    }
}

impl Day {
    fn enter(&mut self, heard: &Heard<'_>) {
        let tally = &mut self.tally;
        let span = play_without_check::Params::default().check_minutes * MINUTE;
        match heard.facts.lacks_check(heard.facts.checked_at, heard.at, span) {
            Some(lacks) => {
                tally.entries += 1;
                tally.lacking += u64::from(lacks);
            }
            None if heard.facts.is_identified => tally.in_gaps += 1,
            None => tally.unidentified += 1,
        }
    }

    fn bet(&mut self, player: Key, heard: &Heard<'_>) {
        self.tally.bets += 1;
        let is_bound = |until: Option<Ts>| until.is_none_or(|until| heard.at < until);
        let Some(excluded) = heard.facts.excluded.filter(|excluded| is_bound(excluded.until)) else { return };
        let minutes = (heard.at.0 - excluded.since.0).max(0) / MINUTE;
        let minutes = u32::try_from(minutes).unwrap_or(u32::MAX);
        let tally = &mut self.tally;
        tally.bets_excluded += 1;
        tally.minutes_sum = tally.minutes_sum.saturating_add(minutes.into());
        tally.minutes_max = tally.minutes_max.max(minutes);
        if let Some(known) = self.people.get_mut(&player) {
            *known = minutes.max(*known);
        } else if self.people.len() < PEOPLE_MAX {
            self.people.insert(player, minutes);
        } else {
            tally.bets_beyond += 1;
        }
    }

    fn bet_of_nobody(&mut self) {
        let bets = self.tally.bets_unidentified.get_or_insert(0);
        *bets = bets.saturating_add(1);
    }

    fn told(&self) -> DayTally {
        let mut minutes: Vec<u32> = self.people.values().copied().collect();
        minutes.sort_unstable();
        let bets_unidentified = Some(self.tally.bets_unidentified.unwrap_or(0));
        DayTally { minutes, bets_unidentified, ..self.tally.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::ruleset::RuleSet;
    use crate::rules::run::OperatorRules;
    use crate::rules::scenario::{BEGIN, Story, minutes};
    use jiff::tz::TimeZone;
    use models::ids::OperatorNo;
    use models::ts::DAY;

    fn hear(rules: &mut OperatorRules, story: &Story) {
        story.inputs().for_each(|(_, input)| rules.hear(&input, &mut Vec::new()));
    }

    fn blank() -> OperatorRules {
        let set = RuleSet::new("KE", Vec::new()).unwrap();
        OperatorRules::new(OperatorNo(1), TimeZone::get("Africa/Nairobi").unwrap(), &set)
    }

    /// Behind the whole story.
    fn heard(story: &Story) -> OperatorRules {
        let mut rules = blank();
        hear(&mut rules, story);
        rules
    }

    /// Entries, lacking, in gaps, unidentified; bets, of excluded people, minutes.
    fn said(rules: &OperatorRules, start: i64) -> ([u64; 6], Vec<u32>) {
        let day = rules.tally().day(Ts(BEGIN + start)).unwrap_or_default();
        let counts = [day.entries, day.lacking, day.in_gaps, day.unidentified, day.bets, day.bets_excluded];
        (counts, day.minutes)
    }

    #[test]
    fn a_day_is_counted_as_an_inspector_would() {
        let excluded = |story: Story| story.excluded("anna", 100, None);
        let for_a_day = |story: Story| story.excluded("anna", 100, Some(1_540));
        // what happens on the day | entries, lacking, in gaps, unidentified, bets, bets of excluded people | minutes
        let table: Vec<(&str, Story, [u64; 6], &[u32])> = vec![
            ("nothing", Story::at(60).tick(), [0; 6], &[]),
            ("a login, asked a minute before", Story::at(60).asked("anna", 59).login("anna"), [1, 0, 0, 0, 0, 0], &[]),
            ("a login, asked too long before", Story::at(60).asked("anna", 44).login("anna"), [1, 1, 0, 0, 0, 0], &[]),
            ("a login, and nobody asked", Story::at(60).login("anna"), [1, 1, 0, 0, 0, 0], &[]),
            (
                "its session a minute later is the same visit",
                Story::at(60).login("anna").session("anna"),
                [1, 1, 0, 0, 0, 0],
                &[],
            ),
            (
                "bets behind a login are no entries",
                Story::at(60).asked("anna", 59).login("anna").stake("anna", 5).stake("anna", 5),
                [1, 0, 0, 0, 2, 0],
                &[],
            ),
            ("a login in a gap of the evidence", Story::at(60).gap(50, 55).login("anna"), [0, 0, 1, 0, 0, 0], &[]),
            (
                "a check that is known in a gap",
                Story::at(60).asked("anna", 58).gap(50, 55).login("anna"),
                [1, 0, 0, 0, 0, 0],
                &[],
            ),
            (
                "somebody whom the register cannot know",
                Story::at(60).login("#7").stake("#7", 5),
                [0, 0, 0, 1, 0, 0],
                &[],
            ),
            ("a login and a bet that failed", Story::at(60).failed_login("anna").failed_stake("anna", 5), [0; 6], &[]),
            ("a ticket over the counter", Story::at(60).anonymous_ticket(5), [0; 6], &[]),
            ("a deposit is no bet", excluded(Story::at(160).deposit("anna", 5)), [0; 6], &[]),
            ("a bet before the exclusion", excluded(Story::at(90).stake("anna", 5)), [0, 0, 0, 0, 1, 0], &[]),
            ("a bet an hour after it", excluded(Story::at(160).stake("anna", 5)), [0, 0, 0, 0, 1, 1], &[60]),
            (
                "within the minutes for which an answer is valid it counts, too",
                excluded(Story::at(105).stake("anna", 5)),
                [0, 0, 0, 0, 1, 1],
                &[5],
            ),
            (
                "a person counts once, with the last bet",
                excluded(Story::at(160).stake("anna", 5).ticket("anna", 5)),
                [0, 0, 0, 0, 2, 2],
                &[61],
            ),
            (
                "a bet reported late is no later bet",
                excluded(Story::at(160).stake("anna", 5).before(minutes(30)).stake("anna", 5)),
                [0, 0, 0, 0, 2, 2],
                &[60],
            ),
            (
                "two people",
                excluded(Story::at(160).excluded("ben", 30, None).stake("anna", 5).stake("ben", 5)),
                [0, 0, 0, 0, 2, 2],
                &[60, 131],
            ),
        ];
        for (what, story, counts, minutes) in table {
            assert_eq!(said(&heard(&story), 0), (counts, minutes.to_vec()), "{what}");
        }
        let over = heard(&for_a_day(Story::at(1_540).stake("anna", 5)));
        assert_eq!(said(&over, DAY), ([0, 0, 0, 0, 1, 0], vec![]), "a day's break is over, on the next day");
    }

    #[test]
    fn bets_of_nobody_are_counted_apart() {
        let table = [
            ("of somebody known", Story::at(60).stake("anna", 5), 1, 0),
            ("of somebody whom the register cannot know", Story::at(60).stake("#7", 5), 0, 1),
            ("over the counter", Story::at(60).anonymous_ticket(5).anonymous_ticket(5), 0, 2),
            ("one that failed", Story::at(60).failed_stake("anna", 5).stake("anna", 5), 1, 0),
        ];
        for (what, story, bets, unidentified) in table {
            let day = heard(&story).tally().day(Ts(BEGIN)).expect("a day");
            assert_eq!((day.bets, day.bets_unidentified), (bets, Some(unidentified)), "{what}");
        }
    }

    #[test]
    fn a_day_is_told_when_it_is_over_and_again_when_late_data_changed_it() {
        let told = |rules: &mut OperatorRules| {
            let days = rules.closed_days();
            days.into_iter().map(|d| (d.day, d.revision, d.tally.entries)).collect::<Vec<_>>()
        };
        let day = |name: &str, revision, entries| (name.to_owned(), revision, entries);
        let story = Story::at(1_430).login("anna").tick();
        assert_eq!(told(&mut heard(&story)), [], "it is not over");
        let story = story.until(1_440).tick();
        let mut rules = heard(&story);
        assert_eq!(told(&mut rules), [day("2026-03-02", 1, 1)]);
        assert_eq!(told(&mut rules), [], "once");
        // late data at once is told an hour later, together with what came in between
        let late = Story::at(1_441).before(minutes(20)).login("ben").tick().before(minutes(30)).login("carl").tick();
        hear(&mut rules, &late);
        assert_eq!(told(&mut rules), []);
        hear(&mut rules, &Story::at(1_500).tick());
        assert_eq!(told(&mut rules), [day("2026-03-02", 2, 3)]);
        // a second day beside it
        hear(&mut rules, &Story::at(1_600).login("anna").until(2_880).tick());
        assert_eq!(told(&mut rules), [day("2026-03-03", 1, 1)]);
    }

    #[test]
    fn it_goes_on_from_its_bytes_and_forgets_no_more_than_it_counts() {
        let mut story = Story::at(60).excluded("anna", 30, None).stake("anna", 5);
        for n in 0..DAYS_MAX as i64 {
            story = story.until(2_000 + n * 1_440).login("ben");
        }
        let mut whole = heard(&story);
        assert_eq!(whole.tally().day(Ts(BEGIN)), None, "the oldest gave way");
        let late = story.clone().until(40_000).before(minutes(39_930)).login("carl").tick();
        let mut again = blank().with_bytes(&whole.to_bytes().unwrap()).unwrap();
        let tail: Vec<_> = late.inputs().skip(story.inputs().count()).collect();
        for rules in [&mut whole, &mut again] {
            tail.iter().for_each(|(_, input)| rules.hear(input, &mut Vec::new()));
        }
        assert_eq!((whole.tally().too_late(), again.tally()), (1, whole.tally()));
        assert_eq!(whole.closed_days(), again.closed_days());
        assert_eq!(whole.to_bytes().unwrap(), again.to_bytes().unwrap());
    }

    #[test]
    fn more_people_than_are_kept_are_counted() {
        let mut story = Story::at(60).quickly();
        for n in 0..=PEOPLE_MAX {
            let name = format!("p{n}");
            story = story.excluded(&name, 30, None).stake(&name, 5).stake(&name, 5);
        }
        let day = heard(&story).tally().day(Ts(BEGIN)).unwrap();
        assert_eq!(
            (day.minutes.len(), day.bets_beyond, day.bets_excluded),
            (PEOPLE_MAX, 2, 2 * (PEOPLE_MAX as u64 + 1))
        );
        assert!(day.minutes_max >= 30 && day.minutes_sum > 0);
    }
}
