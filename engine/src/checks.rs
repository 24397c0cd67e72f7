//! When an operator last asked about somebody: enough of it, in memory, to say of a record whether a check came before.
//!
//! ```text
//! answered lookups ─▶ the newest minutes by (operator, key), in two generations ─▶ known(operator, key, at)
//! ```
//! A generation that is full or a day old becomes the one before, and what was the one before is forgotten: memory is
//! bounded, and everything since [`Checks::complete_from`] is known. What lies before, and what a gap in the evidence
//! hides, nobody can say; so it is said to be unknown, and no rule accuses anybody for it.

use models::alert::Window;
use models::ids::OperatorNo;
use models::match_key::MatchKey;
use models::ts::{DAY, MINUTE, Ts};
use std::collections::HashMap;

/// People of a generation at most; about 50 bytes each.
pub const PEOPLE_MAX: usize = 1 << 20;
/// How long a generation lasts at most.
pub const GENERATION: i64 = DAY;
/// Gaps in the evidence that are remembered, the newest.
pub const GAPS_MAX: usize = 1_024;
/// Minutes of a person that are remembered, the newest: enough for records that come some visits late.
const MINUTES: usize = 4;
/// The same of questions before marketing.
const MARKETING_MINUTES: usize = 2;

/// Minutes since the epoch, the newest first, each once; 0 = none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Newest<const N: usize>([u32; N]);

impl<const N: usize> Newest<N> {
    const NONE: Self = Self([0; N]);

    fn note(&mut self, minute: u32) {
        let place = self.0.iter().position(|known| *known <= minute);
        let Some(place) = place.filter(|place| self.0[*place] != minute) else { return };
        self.0[place..].rotate_right(1);
        self.0[place] = minute;
    }

    /// The newest minute up to one; `Err` where only later ones are remembered and earlier ones may be forgotten.
    fn until(&self, minute: u32) -> Result<Option<u32>, ()> {
        match self.0.iter().find(|known| **known <= minute) {
            Some(0) => Ok(None),
            Some(known) => Ok(Some(*known)),
            None => Err(()),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    any: Newest<MINUTES>,
    marketing: Newest<MARKETING_MINUTES>,
}

#[derive(Debug)]
struct Generation {
    began: Ts,
    people: HashMap<u64, Asked>,
}

/// What is known of checks of a person at an operator up to an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The newest, to the end of its minute.
    pub checked_at: Option<Ts>,
    /// The newest with the purpose of marketing.
    pub marketing_checked_at: Option<Ts>,
    /// A span, begun by then, of which nobody can say; of several the one that ends last.
    pub unknown: Option<Window>,
}

/// The newest checks.
#[derive(Debug)]
pub struct Checks {
    people_max: usize,
    now: Generation,
    before: Option<Generation>,
    complete_from: Ts,
    has_forgotten: bool,
    through: Ts,
    gaps: Vec<Window>,
}

impl Checks {
    /// Knows of nothing before `from`.
    #[must_use]
    pub fn new(from: Ts) -> Self {
        Self::with_limit(from, PEOPLE_MAX)
    }

    /// The same with another limit of people in a generation.
    #[must_use]
    pub fn with_limit(from: Ts, people_max: usize) -> Self {
        let now = Generation { began: from, people: HashMap::new() };
        Self {
            people_max,
            now,
            before: None,
            complete_from: from,
            has_forgotten: false,
            through: from,
            gaps: Vec::new(),
        }
    }

    /// An operator asked about somebody.
    pub fn note(&mut self, operator: OperatorNo, key: MatchKey, at: Ts, is_marketing: bool) {
        let person = person(operator, key);
        if !self.now.people.contains_key(&person)
            && (self.now.people.len() >= self.people_max || at.0 - self.now.began.0 >= GENERATION)
        {
            self.turn(at);
        }
        let none = Asked { any: Newest::NONE, marketing: Newest::NONE };
        let asked = self.now.people.entry(person).or_insert(none);
        let minute = minute(at);
        asked.any.note(minute);
        if is_marketing {
            asked.marketing.note(minute);
        }
    }

    fn turn(&mut self, at: Ts) {
        let began = at.max(self.now.began);
        let fresh = Generation { began, people: HashMap::new() };
        let ended = std::mem::replace(&mut self.now, fresh);
        if self.before.is_some() {
            self.forget_until(ended.began);
        }
        self.before = Some(ended);
    }

    fn forget_until(&mut self, until: Ts) {
        self.complete_from = self.complete_from.max(until);
        self.has_forgotten = true;
    }

    /// Everything answered until then was noted.
    pub fn set_through(&mut self, through: Ts) {
        self.through = self.through.max(through);
    }

    /// Everything answered from then on, up to what was known at the start, was noted, too.
    pub fn set_complete_from(&mut self, from: Ts) {
        // unless something was forgotten since
        if !self.has_forgotten {
            self.complete_from = self.complete_from.min(from);
        }
    }

    /// A span in which lookups may have been answered without evidence.
    pub fn note_gap(&mut self, gap: Window) {
        let place = self.gaps.partition_point(|known| known.start <= gap.start);
        self.gaps.insert(place, gap);
        if self.gaps.len() > GAPS_MAX {
            let forgotten = self.gaps.remove(0);
            self.forget_until(forgotten.end);
        }
    }

    /// Everything answered until then is in.
    #[must_use]
    pub fn through(&self) -> Ts {
        self.through
    }

    /// Everything answered since then is remembered.
    #[must_use]
    pub fn complete_from(&self) -> Ts {
        self.complete_from
    }

    /// People remembered, over all operators.
    #[must_use]
    pub fn people(&self) -> usize {
        self.now.people.len() + self.before.as_ref().map_or(0, |before| before.people.len())
    }

    /// What is known of an operator's checks of somebody up to an instant.
    #[must_use]
    pub fn known(&self, operator: OperatorNo, key: MatchKey, until: Ts) -> Known {
        let (person, until_minute) = (person(operator, key), minute(until));
        let mut known = Known { unknown: self.unknown(until), ..Known::default() };
        for generation in std::iter::once(&self.now).chain(&self.before) {
            let Some(asked) = generation.people.get(&person) else { continue };
            for (newest, found) in [
                (asked.any.until(until_minute), &mut known.checked_at),
                (asked.marketing.until(until_minute), &mut known.marketing_checked_at),
            ] {
                match newest {
                    Ok(at) => *found = (*found).max(at.map(|at| end_of(at).min(until))),
                    // asked so often since that what was before is forgotten
                    Err(()) => known.unknown = Some(Window { start: Ts(0), end: until.plus(1) }),
                }
            }
        }
        known
    }

    fn unknown(&self, until: Ts) -> Option<Window> {
        let forgotten = Window { start: Ts(0), end: self.complete_from };
        let begun = self.gaps.iter().take_while(|gap| gap.start <= until);
        begun.chain(std::iter::once(&forgotten)).max_by_key(|gap| gap.end).copied().filter(|gap| gap.end > gap.start)
    }
}

/// The key is a digest: any bits of it are as good as a hash.
fn person(operator: OperatorNo, key: MatchKey) -> u64 {
    key.tag64() ^ u64::from(operator.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn minute(at: Ts) -> u32 {
    u32::try_from(at.0 / MINUTE).unwrap_or(0)
}

fn end_of(minute: u32) -> Ts {
    Ts((i64::from(minute) + 1) * MINUTE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: OperatorNo = OperatorNo(1);
    const TWO: OperatorNo = OperatorNo(2);
    const ANNA: MatchKey = MatchKey(7 << 24);
    const BEN: MatchKey = MatchKey(8 << 24);

    fn at(minute: i64) -> Ts {
        Ts((1_000_000 + minute) * MINUTE)
    }

    #[test]
    fn who_was_asked_about_when() {
        let mut checks = Checks::new(at(0));
        for (operator, key, minute, is_marketing) in [
            (ONE, ANNA, 10, false),
            (ONE, ANNA, 30, true),
            (ONE, ANNA, 20, false),
            (ONE, ANNA, 20, false),
            (TWO, ANNA, 40, false),
        ] {
            checks.note(operator, key, at(minute).plus(1), is_marketing);
        }
        // operator, who, until | the newest minute, of marketing
        let table = [
            (ONE, ANNA, 9, None, None),
            (ONE, ANNA, 10, Some(10), None),
            (ONE, ANNA, 25, Some(20), None),
            (ONE, ANNA, 35, Some(30), Some(30)),
            (TWO, ANNA, 35, None, None),
            (TWO, ANNA, 45, Some(40), None),
            (ONE, BEN, 45, None, None),
        ];
        for (operator, who, until, any, marketing) in table {
            let known = checks.known(operator, who, at(until).plus(MINUTE - 1));
            let minute = |found: Option<Ts>| found.map(|found| found.0 / MINUTE - 1_000_000);
            assert_eq!((minute(known.checked_at), minute(known.marketing_checked_at)), (any, marketing), "{until}");
            assert_eq!(known.unknown, Some(Window { start: Ts(0), end: at(0) }));
        }
    }

    #[test]
    fn a_check_counts_to_the_end_of_its_minute_and_never_after_the_record() {
        let mut checks = Checks::new(at(0));
        checks.note(ONE, ANNA, at(5).plus(10), false);
        assert_eq!(checks.known(ONE, ANNA, at(9)).checked_at, Some(at(6).plus(-1)));
        assert_eq!(checks.known(ONE, ANNA, at(5).plus(20)).checked_at, Some(at(5).plus(20)));
    }

    #[test]
    fn whoever_was_asked_about_often_since_is_not_said_to_have_never_been() {
        let mut checks = Checks::new(Ts(0));
        for minute in [10, 20, 30] {
            checks.note(ONE, ANNA, at(minute), true);
        }
        assert_eq!(checks.known(ONE, ANNA, at(5)).unknown, Some(Window { start: Ts(0), end: at(5).plus(1) }));
        assert_eq!(checks.known(ONE, BEN, at(5)).unknown, None);
        let mut checks = Checks::new(Ts(0));
        for minute in [10, 20, 30] {
            checks.note(ONE, ANNA, at(minute), false);
        }
        // three are remembered, so the first of them is the first
        assert_eq!(checks.known(ONE, ANNA, at(5)), Known::default());
        checks.note(ONE, ANNA, at(40), false);
        assert!(checks.known(ONE, ANNA, at(5)).unknown.is_some());
        assert_eq!(checks.known(ONE, ANNA, at(15)).unknown, None);
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_is_unknown() {
        let mut checks = Checks::with_limit(at(0), 10);
        for n in 0..25 {
            checks.note(ONE, MatchKey((n + 1) << 24), at(n as i64), false);
        }
        assert_eq!((checks.people(), checks.complete_from()), (15, at(10)));
        let known = |n: u128, minute| checks.known(ONE, MatchKey((n + 1) << 24), at(minute).plus(MINUTE - 1));
        assert!(known(12, 30).checked_at.is_some() && known(24, 30).checked_at.is_some());
        assert_eq!(known(3, 30), Known { unknown: Some(Window { start: Ts(0), end: at(10) }), ..Known::default() });
        // a generation that is old ends, too
        let mut checks = Checks::new(at(0));
        for day in 0..3 {
            checks.note(ONE, MatchKey((day + 1) << 24), at(0).plus(day as i64 * GENERATION), false);
        }
        assert_eq!((checks.people(), checks.complete_from()), (2, at(0).plus(GENERATION)));
    }

    #[test]
    fn gaps_are_told_from_their_beginning_and_the_one_that_lasts_longest() {
        let mut checks = Checks::new(at(0));
        let gap = |from, to| Window { start: at(from), end: at(to) };
        for gap in [gap(50, 60), gap(10, 90), gap(70, 80)] {
            checks.note_gap(gap);
        }
        let boot = Some(Window { start: Ts(0), end: at(0) });
        for (until, wanted) in [(5, boot), (10, Some(gap(10, 90))), (100, Some(gap(10, 90)))] {
            assert_eq!(checks.known(ONE, ANNA, at(until)).unknown, wanted, "{until}");
        }
        checks.set_complete_from(Ts(0));
        assert_eq!(checks.known(ONE, ANNA, at(5)).unknown, None);
        for n in 0..GAPS_MAX as i64 {
            checks.note_gap(gap(100 + n, 101 + n));
        }
        assert_eq!((checks.gaps.len(), checks.complete_from()), (GAPS_MAX, at(90)), "what is forgotten is unknown");
    }
}
