//! How many exclusions each operator reports a day, told to its rules: while the day goes on whenever there are more, and
//! once it is over. An operator that never reported one is told nothing of. A start goes on where the one before ended: at
//! the newest day that was told.

use super::Engine;
use crate::api::EngineError;
use crate::register::{commit_error, unavailable};
use engine::rules::calendar::Calendar;
use jiff::tz::TimeZone;
use models::alert::Window;
use models::ids::OperatorNo;
use models::jurisdiction::{Jurisdiction, JurisdictionNo};
use models::rule_input::RuleInput;
use models::ts::Ts;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

/// How often it is looked how many there are.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Days that are over and were not told, told at once at most: a stop of a month loses none.
const DAYS_BACK: usize = 31;

/// What an operator's rules were told last: the day, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    day: Ts,
    /// None: nothing was said of the day yet, which goes on without any.
    count: Option<u64>,
}

/// What rules were told, by operator; one that reported before the first look and was told of none is there without a figure.
#[derive(Debug, Default)]
struct Telling {
    told: BTreeMap<OperatorNo, Option<Told>>,
    has_looked: bool,
}

/// Days to be told, oldest first, of an operator that reports: those that are over since it was told last, and today.
fn days(told: Option<Option<Told>>, today: Window, day_before: &mut dyn FnMut(Window) -> Window) -> Vec<Window> {
    let last = match told {
        // its first one is today's
        None => return vec![today],
        Some(None) => day_before(today).start,
        Some(Some(told)) => told.day,
    };
    let mut days = vec![today];
    while days.len() <= DAYS_BACK && days.last().is_some_and(|day| day.start > last) {
        let before = day_before(*days.last().unwrap_or(&today));
        days.push(before);
    }
    days.reverse();
    days
}

impl Engine {
    /// Looks again and again.
    pub(super) async fn keep_exclusions(&self) {
        let mut interval = tokio::time::interval(LOOK_EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut telling = Telling::default();
        loop {
            interval.tick().await;
            if let Err(error) = self.tell_exclusions(&mut telling).await {
                tracing::warn!(%error, "reported exclusions are told later");
            }
        }
    }

    async fn tell_exclusions(&self, telling: &mut Telling) -> Result<(), EngineError> {
        let now = self.now();
        if !telling.has_looked {
            let ever = Window { start: Ts(0), end: now };
            let known = self.0.store.exclusions_reported(ever).await.map_err(unavailable)?;
            for (operator, _) in known {
                let told = self.0.store.exclusions_told(operator).await.map_err(unavailable)?;
                let told = told.map(|(window, count)| Told { day: window.start, count: Some(count) });
                telling.told.entry(operator).or_insert(told);
            }
            telling.has_looked = true;
        }
        let jurisdictions = self.directory().jurisdictions.clone();
        for (no, of) in Jurisdiction::numbered(&jurisdictions) {
            let Ok(zone) = TimeZone::get(&of.time_zone) else { continue };
            self.tell_exclusions_of(no, Calendar::new(zone), now, telling).await?;
        }
        Ok(())
    }

    async fn tell_exclusions_of(
        &self,
        jurisdiction: JurisdictionNo,
        mut calendar: Calendar,
        now: Ts,
        telling: &mut Telling,
    ) -> Result<(), EngineError> {
        let today = calendar.spans(now).day;
        let mut before = |day: Window| calendar.spans(day.start.plus(-1)).day;
        let mut counts: BTreeMap<Ts, BTreeMap<OperatorNo, u64>> = BTreeMap::new();
        counts.insert(today.start, self.exclusions_on(today).await?);
        let own = |operator: &OperatorNo| self.directory().jurisdiction_of(*operator) == Some(jurisdiction);
        let reporting = counts[&today.start].keys().chain(telling.told.keys()).copied().filter(own);
        let reporting: std::collections::BTreeSet<OperatorNo> = reporting.collect();
        let (mut events, mut now_told) = (Vec::new(), Vec::new());
        for operator_no in reporting {
            let told = telling.told.get(&operator_no).copied();
            let due = days(told, today, &mut before);
            for day in due {
                if let Entry::Vacant(vacant) = counts.entry(day.start) {
                    vacant.insert(self.exclusions_on(day).await?);
                }
                let count = counts[&day.start].get(&operator_no).copied().unwrap_or(0);
                let last = told.flatten();
                let said = last.filter(|last| last.day == day.start).and_then(|last| last.count);
                let is_nothing = day == today && count == 0 && said.is_none();
                if day == today {
                    let count = (!is_nothing).then_some(count);
                    now_told.push((operator_no, Told { day: day.start, count }));
                }
                if said == Some(count) || is_nothing {
                    continue;
                }
                let at = Some(now.min(day.end));
                let input = RuleInput::Exclusions { window: day, count, players: None, at };
                events.push(self.directory().rule_input(operator_no, jurisdiction, input));
            }
        }
        if !events.is_empty() {
            self.0.writer.commit(events, Vec::new()).await.map_err(commit_error)?;
        }
        telling.told.extend(now_told.into_iter().map(|(operator, told)| (operator, Some(told))));
        Ok(())
    }

    async fn exclusions_on(&self, day: Window) -> Result<BTreeMap<OperatorNo, u64>, EngineError> {
        Ok(self.0.store.exclusions_reported(day).await.map_err(unavailable)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ts::DAY;

    #[test]
    fn each_day_is_told_when_it_is_over() {
        let day = |n: i64| Window { start: Ts(n * DAY), end: Ts((n + 1) * DAY) };
        let told = |n: i64| Some(Some(Told { day: day(n).start, count: Some(3) }));
        // what was told last | the days that are told on day 20
        let table: [(Option<Option<Told>>, Vec<i64>); 6] = [
            (None, vec![20]),
            (Some(None), vec![19, 20]),
            (told(20), vec![20]),
            (told(18), vec![18, 19, 20]),
            // a stop of three days
            (told(16), vec![16, 17, 18, 19, 20]),
            (told(-30), (-11..=20).collect()),
        ];
        for (last, expected) in table {
            let mut before = |of: Window| Window { start: of.start.plus(-DAY), end: of.start };
            let told: Vec<i64> = days(last, day(20), &mut before).iter().map(|day| day.start.0 / DAY).collect();
            assert_eq!(told, expected, "{last:?}");
        }
    }
}
