//! Days of a version in the shadow, added up one at a time: whatever a country counts in a quarter, what is kept of it is
//! one sum an operator, the newest days without the names in them, and a page of examples.

use crate::rules::calendar::Calendar;
use jiff::tz::TimeZone;
use models::alert::Window;
use models::ids::OperatorNo;
use models::model_shadow::{ShadowCounts, ShadowDayCounted, ShadowExample};
use models::ts::Ts;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Days of operators that are kept one by one, those that come first.
pub const DAYS_SHOWN: usize = 500;

/// Where an example stands among those of all days: the highest first, of equal ones the earliest. No two are the same, and
/// what is counted meanwhile moves none of them: so a page goes on behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExamplePlace {
    score_ppm: Reverse<u32>,
    at: Ts,
    operator_no: OperatorNo,
    day: Ts,
    /// Which of its day.
    nth: usize,
}

impl ExamplePlace {
    /// At which operator.
    #[must_use]
    pub fn operator_no(&self) -> OperatorNo {
        self.operator_no
    }
}

impl fmt::Display for ExamplePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { score_ppm: Reverse(score_ppm), at, operator_no, day, nth } = self;
        write!(f, "{score_ppm}.{}.{}.{}.{nth}", at.0, operator_no.0, day.0)
    }
}

/// Text that is no place of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAPlace;

impl FromStr for ExamplePlace {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        fn number<T: FromStr>(text: &str) -> Result<T, NotAPlace> {
            text.parse().map_err(|_| NotAPlace)
        }
        let parts: Vec<&str> = text.splitn(6, '.').collect();
        let [score_ppm, at, operator_no, day, nth] = parts[..] else { return Err(NotAPlace) };
        Ok(Self {
            score_ppm: Reverse(number(score_ppm)?),
            at: Ts(number(at)?),
            operator_no: OperatorNo(number(operator_no)?),
            day: Ts(number(day)?),
            nth: number(nth)?,
        })
    }
}

/// Which examples are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExamplesPage {
    /// Those behind this one; none: from the highest on.
    pub behind: Option<ExamplePlace>,
    /// So many at most.
    pub limit: usize,
}

/// Days added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaysSum {
    /// All of them together.
    pub total: ShadowCounts,
    /// How many of an operator, and what they come to.
    pub operators: BTreeMap<OperatorNo, (u64, ShadowCounts)>,
    /// Those that came first, without examples and names, at most [`DAYS_SHOWN`].
    pub days: Vec<ShadowDayCounted>,
    /// The examples of the page, with where each stands.
    pub examples: Vec<(ExamplePlace, ShadowExample)>,
    /// The last one of the page, where there are more behind it.
    pub next: Option<ExamplePlace>,
}

/// Examples of a page, and the last of them, where there are more behind it.
pub type Page = (Vec<(ExamplePlace, ShadowExample)>, Option<ExamplePlace>);

impl DaysSum {
    /// The examples of a page out of these, which begin behind `behind`; none where more of them would have to be known. A page
    /// that shows fewer than it may is the last one.
    #[must_use]
    pub fn page(&self, behind: Option<ExamplePlace>, page: ExamplesPage) -> Option<Page> {
        if page.behind < behind {
            return None;
        }
        let first = self.examples.partition_point(|(place, _)| Some(*place) <= page.behind);
        let rest = self.examples.get(first..).unwrap_or_default();
        if rest.len() < page.limit && self.next.is_some() {
            return None;
        }
        let shown = rest.get(..page.limit).unwrap_or(rest);
        let goes_on = rest.len() > shown.len() || self.next.is_some();
        let next = shown.last().filter(|_| goes_on).map(|(place, _)| *place);
        Some((shown.to_vec(), next))
    }
}

/// What the local days that begin in a span are made of: from the beginning of the first one to the end of the last one; of
/// no length where none begins there.
#[must_use]
pub fn of_days(span: Window, zone: TimeZone) -> Window {
    let mut calendar = Calendar::new(zone);
    // the first midnight from an instant on: the last day is over at the one behind the span
    let mut midnight = |at: Ts| {
        let day = calendar.spans(at).day;
        if day.start < at { day.end } else { day.start }
    };
    Window { start: midnight(span.start), end: midnight(span.end) }
}

/// Adds days up.
#[derive(Clone, Debug)]
pub struct DaysAdder {
    page: ExamplesPage,
    sum: DaysSum,
    /// Those of the page and one more.
    examples: BTreeMap<ExamplePlace, ShadowExample>,
}

impl DaysAdder {
    /// With these examples.
    #[must_use]
    pub fn new(page: ExamplesPage) -> Self {
        Self { page, sum: DaysSum::default(), examples: BTreeMap::new() }
    }

    /// A day more.
    pub fn add(&mut self, mut counted: ShadowDayCounted) {
        let counts = counted.found.counts;
        self.sum.total = self.sum.total.plus(counts);
        let (days, sum) = self.sum.operators.entry(counted.operator_no).or_default();
        *days += 1;
        *sum = sum.plus(counts);
        let examples = std::mem::take(&mut counted.found.examples);
        for (nth, example) in examples.into_iter().enumerate() {
            self.offer((&counted, nth), example);
        }
        if self.sum.days.len() < DAYS_SHOWN {
            counted.found.had = Vec::new();
            counted.found.missed = Vec::new();
            self.sum.days.push(counted);
        }
    }

    fn offer(&mut self, (of, nth): (&ShadowDayCounted, usize), example: ShadowExample) {
        let place = ExamplePlace {
            score_ppm: Reverse(example.score_ppm),
            at: example.subject.at,
            operator_no: of.operator_no,
            day: of.day,
            nth,
        };
        if self.page.behind.is_some_and(|behind| place <= behind) {
            return;
        }
        self.examples.insert(place, example);
        if self.examples.len() > self.page.limit + 1 {
            self.examples.pop_last();
        }
    }

    /// What they come to.
    #[must_use]
    pub fn finish(self) -> DaysSum {
        let Self { page, mut sum, mut examples } = self;
        if examples.len() > page.limit {
            examples.pop_last();
            sum.next = examples.last_key_value().map(|(place, _)| *place);
        }
        sum.examples = examples.into_iter().collect();
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::model_shadow::{ShadowFound, ShadowSubject};
    use models::money::Currency;
    use models::risk_model::ModelKind;

    fn example(score_ppm: u32, at: i64) -> ShadowExample {
        let record_id = Some(format!("r{score_ppm}-{at}"));
        let subject = ShadowSubject { record_id, player: None, currency: Currency::KES, at: Ts(at) };
        ShadowExample { subject, score_ppm, live_ppm: None, reasons: Vec::new() }
    }

    fn day(operator_no: u16, day: i64, examples: &[(u32, i64)]) -> ShadowDayCounted {
        let counts = ShadowCounts { rows: 10, rows_beside: 8, high: 3, live_high: 2, both_high: 1 };
        let names = |name: &str| vec![format!("{name}-{operator_no}-{day}")];
        let (had, missed) = (names("had"), names("missed"));
        let examples = examples.iter().map(|(score_ppm, at)| example(*score_ppm, *at)).collect();
        let found = ShadowFound { counts, examples, had, missed, ..ShadowFound::default() };
        let (kind, version) = (ModelKind::TransactionRisk, 2);
        ShadowDayCounted { kind, version, operator_no: OperatorNo(operator_no), day: Ts(day), found }
    }

    fn sum(days: &[ShadowDayCounted], page: ExamplesPage) -> DaysSum {
        let mut adder = DaysAdder::new(page);
        days.iter().cloned().for_each(|day| adder.add(day));
        adder.finish()
    }

    #[test]
    fn days_add_up_by_operator_and_what_is_kept_has_a_limit() {
        let none = ExamplesPage { behind: None, limit: 1 };
        let counts =
            |n: u64| ShadowCounts { rows: 10 * n, rows_beside: 8 * n, high: 3 * n, live_high: 2 * n, both_high: n };
        let days: Vec<_> = (0..400).flat_map(|n| [day(1, n, &[(n as u32, 0)]), day(2, n, &[])]).collect();
        // how many days | those of the first and of the second operator | kept one by one
        for (some, first, second, kept) in [(0, 0, 0, 0), (3, 2, 1, 3), (800, 400, 400, DAYS_SHOWN)] {
            let sum = sum(&days[..some], none);
            assert_eq!(sum.total, counts(some as u64), "{some}");
            let of = |no| sum.operators.get(&OperatorNo(no)).copied().unwrap_or_default();
            assert_eq!((of(1), of(2)), ((first, counts(first)), (second, counts(second))), "{some}");
            assert_eq!((sum.days.len(), sum.examples.len()), (kept, usize::from(some > 0)), "{some}");
            for (shown, given) in sum.days.iter().zip(&days) {
                assert_eq!((shown.operator_no, shown.day), (given.operator_no, given.day), "those that came first");
                let found = &shown.found;
                assert!(found.examples.is_empty() && found.had.is_empty() && found.missed.is_empty(), "no names");
            }
        }
    }

    fn told((place, example): &(ExamplePlace, ShadowExample)) -> (u32, i64, u16) {
        (example.score_ppm, example.subject.at.0, place.operator_no().0)
    }

    #[test]
    fn examples_are_read_a_page_at_a_time_the_highest_first_and_each_once() {
        // equal ones: by time, by operator, by day, and as their day has them
        let days = [
            day(2, 1, &[(900, 5), (700, 5), (700, 5)]),
            day(1, 1, &[(900, 5), (800, 9)]),
            day(1, 0, &[(900, 5), (900, 4), (100, 0)]),
        ];
        let wanted =
            [(900, 4, 1), (900, 5, 1), (900, 5, 1), (900, 5, 2), (800, 9, 1), (700, 5, 2), (700, 5, 2), (100, 0, 1)];
        for limit in [1, 2, 3, 7, 8, 9, 500] {
            let (mut read, mut behind, mut pages) = (Vec::new(), None, 0);
            loop {
                let page = sum(&days, ExamplesPage { behind, limit });
                assert!(page.examples.len() <= limit, "{limit}");
                read.extend(page.examples.iter().map(told));
                pages += 1;
                let Some(next) = page.next else { break };
                behind = Some(next.to_string().parse().expect("it is read back"));
                assert_eq!(behind, Some(next));
            }
            assert_eq!((read.as_slice(), pages), (wanted.as_slice(), wanted.len().div_ceil(limit)), "{limit}");
        }
    }

    #[test]
    fn a_page_out_of_what_was_read_is_the_page_that_would_be_read() {
        let days = [day(1, 1, &[(900, 5), (800, 9), (700, 1)]), day(2, 1, &[(850, 5), (600, 5), (100, 0)])];
        let whole = sum(&days, ExamplesPage { behind: None, limit: 10 });
        let places: Vec<_> = whole.examples.iter().map(|(place, _)| *place).collect();
        let starts = || std::iter::once(None).chain(places.iter().copied().map(Some));
        let (mut given, mut refused) = (0, 0);
        // read from where on | how many | the page behind what | of how many
        for (from, kept) in starts().flat_map(|from| [1, 3, 10].map(|kept| (from, kept))) {
            let read = sum(&days, ExamplesPage { behind: from, limit: kept });
            for (behind, limit) in starts().flat_map(|behind| [1, 2, 3].map(|limit| (behind, limit))) {
                let page = ExamplesPage { behind, limit };
                let wanted = sum(&days, page);
                match read.page(from, page) {
                    Some(page) => {
                        assert_eq!(page, (wanted.examples, wanted.next), "{from:?} {kept} {behind:?} {limit}");
                        given += 1;
                    }
                    None => {
                        let last = read.examples.last().map(|(place, _)| *place);
                        let is_there = wanted.examples.last().is_none_or(|(place, _)| Some(*place) <= last);
                        let is_known =
                            behind >= from && is_there && (wanted.examples.len() == limit || read.next.is_none());
                        assert!(!is_known, "{from:?} {kept} {behind:?} {limit}");
                        refused += 1;
                    }
                }
            }
        }
        assert!(given > 100 && refused > 50, "{given} {refused}");
    }

    #[test]
    fn days_of_a_span_are_those_that_begin_in_it_as_a_whole() {
        // zone | span | what its days are made of
        let table = [
            ("UTC", "2026-03-02T00:00:00Z", "2026-03-04T00:00:00Z", "2026-03-02T00:00:00Z", "2026-03-04T00:00:00Z"),
            (
                "UTC",
                "2026-03-02T00:00:00.001Z",
                "2026-03-04T00:00:00.001Z",
                "2026-03-03T00:00:00Z",
                "2026-03-05T00:00:00Z",
            ),
            (
                "UTC",
                "2026-03-01T23:59:59.999Z",
                "2026-03-03T23:59:59.999Z",
                "2026-03-02T00:00:00Z",
                "2026-03-04T00:00:00Z",
            ),
            ("UTC", "2026-03-02T00:00:00.001Z", "2026-03-03T00:00:00Z", "2026-03-03T00:00:00Z", "2026-03-03T00:00:00Z"),
            (
                "Africa/Nairobi",
                "2026-03-02T00:00:00Z",
                "2026-03-04T00:00:00Z",
                "2026-03-02T21:00:00Z",
                "2026-03-04T21:00:00Z",
            ),
            // a day of 25 hours
            (
                "Europe/Berlin",
                "2026-10-24T22:00:00Z",
                "2026-10-25T22:59:59Z",
                "2026-10-24T22:00:00Z",
                "2026-10-25T23:00:00Z",
            ),
        ];
        for (zone, start, end, first, behind) in table {
            let at = |text| Ts::parse(text).unwrap();
            let days = of_days(Window { start: at(start), end: at(end) }, TimeZone::get(zone).unwrap());
            assert_eq!((days.start, days.end), (at(first), at(behind)), "{zone}: {start} to {end}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in ["", "1", "1.2.3.4", "1.2.3.4.5.6", "1.2.3.4.x", "1.2.70000.4.5", "-1.2.3.4.5", "1..3.4.5"] {
            assert_eq!(text.parse::<ExamplePlace>(), Err(NotAPlace), "{text}");
        }
        assert!("1.-2.3.-4.5".parse::<ExamplePlace>().is_ok(), "times before 1970 are times");
    }
}
