//! What two versions of a rule found at the same time: the same, or one of them only.

use models::alert::Window;
use std::collections::BTreeMap;

/// A finding that stands, by whom it is about and when.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Whom, and in whose inputs, as one text.
    pub whom: String,
    /// When.
    pub window: Window,
}

/// How the findings of one version lie beside those of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Of the first one, about somebody of whom the other one found nothing at that time.
    pub only_first: usize,
    /// The other way round.
    pub only_second: usize,
    /// Of the first one, about somebody of whom the other one found something at that time, too.
    pub both: usize,
}

/// Two findings are of the same where they are about the same and their windows overlap: versions with other spans cut the
/// same deposits into other windows.
#[must_use]
pub fn compare(first: &[Seen], second: &[Seen]) -> Comparison {
    let both = matched(first, second);
    Comparison { only_first: first.len() - both, only_second: second.len() - matched(second, first), both }
}

/// How many have a counterpart.
fn matched(of: &[Seen], among: &[Seen]) -> usize {
    counterparts(of, among).into_iter().filter(|has| *has).count()
}

/// Which of some have a counterpart among others, in their order.
#[must_use]
pub fn counterparts(of: &[Seen], among: &[Seen]) -> Vec<bool> {
    let mut windows: BTreeMap<&str, Vec<Window>> = BTreeMap::new();
    for seen in among {
        windows.entry(&seen.whom).or_default().push(seen.window);
    }
    let overlap = |a: Window, b: &Window| a.start < b.end && b.start < a.end;
    let has_counterpart =
        |seen: &Seen| windows.get(seen.whom.as_str()).is_some_and(|all| all.iter().any(|w| overlap(seen.window, w)));
    of.iter().map(has_counterpart).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::ts::Ts;

    /// `anna 10-20, ben 5-7`.
    fn seen(text: &str) -> Vec<Seen> {
        let one = |text: &str| {
            let (whom, span) = text.trim().split_once(' ').unwrap();
            let (start, end) = span.split_once('-').unwrap();
            let window = Window { start: Ts(start.parse().unwrap()), end: Ts(end.parse().unwrap()) };
            Seen { whom: whom.to_owned(), window }
        };
        text.split(',').filter(|text| !text.is_empty()).map(one).collect()
    }

    #[test]
    fn findings_lie_beside_each_other_by_whom_and_when() {
        let table = [
            ("nothing", "", "", (0, 0, 0)),
            ("only here", "anna 1-5", "", (1, 0, 0)),
            ("only there", "", "anna 1-5", (0, 1, 0)),
            ("the same", "anna 1-5", "anna 1-5", (0, 0, 1)),
            ("somebody else", "anna 1-5", "ben 1-5", (1, 1, 0)),
            ("partly at the same time", "anna 1-5", "anna 4-9", (0, 0, 1)),
            ("one after the other", "anna 1-5", "anna 5-9", (1, 1, 0)),
            ("two short ones for a long one", "anna 1-3,anna 3-5", "anna 1-9", (0, 0, 2)),
            ("and the other way round", "anna 1-9", "anna 1-3,anna 3-5,anna 9-11", (0, 1, 1)),
        ];
        for (what, first, second, (only_first, only_second, both)) in table {
            let expected = Comparison { only_first, only_second, both };
            assert_eq!(compare(&seen(first), &seen(second)), expected, "{what}");
        }
    }
}
