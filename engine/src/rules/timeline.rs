//! Which parameters of one rule hold when: what a set of rules says of those that do not run over inputs of rules.

use models::ts::Ts;

/// Live parameters by time, no two at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline<P> {
    spans: Vec<(Ts, Option<Ts>, P)>,
}

impl<P> Timeline<P> {
    /// Of spans: first instant, first instant after it, parameters. What begins with the epoch begins with time.
    #[must_use]
    pub fn new(spans: impl IntoIterator<Item = (Ts, Option<Ts>, P)>) -> Self {
        let begin = |from: Ts| if from == Ts(0) { Ts(i64::MIN) } else { from };
        let mut spans: Vec<_> = spans.into_iter().map(|(from, to, params)| (begin(from), to, params)).collect();
        spans.sort_by_key(|(from, ..)| *from);
        Self { spans }
    }

    /// The same at all times.
    #[must_use]
    pub fn always(params: P) -> Self {
        Self { spans: vec![(Ts(i64::MIN), None, params)] }
    }

    /// What holds at an instant; none where the rule is off.
    #[must_use]
    pub fn at(&self, at: Ts) -> Option<&P> {
        // what is judged is mostly of today
        let span = self.spans.iter().rev().find(|(from, ..)| *from <= at)?;
        span.1.is_none_or(|to| at < to).then_some(&span.2)
    }
}

impl<P: Clone> Timeline<P> {
    /// The same until an instant, and other parameters from then on.
    #[must_use]
    pub fn until(&self, at: Ts, then: P) -> Self {
        let before = self.spans.iter().filter(|(from, ..)| *from < at).cloned();
        let cut = before.map(|(from, to, params)| (from, Some(to.map_or(at, |to| to.min(at))), params));
        Self { spans: cut.chain([(at, None, then)]).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_each_time_one_holds_or_none() {
        let timeline = Timeline::new([(Ts(20), Some(Ts(30)), 'b'), (Ts(0), Some(Ts(20)), 'a'), (Ts(40), None, 'c')]);
        let table = [(-5, Some('a')), (0, Some('a')), (19, Some('a')), (20, Some('b')), (29, Some('b')), (30, None)];
        for (at, expected) in table.into_iter().chain([(39, None), (40, Some('c')), (i64::MAX, Some('c'))]) {
            assert_eq!(timeline.at(Ts(at)).copied(), expected, "{at}");
        }
        let other = timeline.until(Ts(25), 'x');
        for (at, expected) in [(24, Some('b')), (25, Some('x')), (50, Some('x')), (-5, Some('a'))] {
            assert_eq!(other.at(Ts(at)).copied(), expected, "{at}");
        }
        assert_eq!(Timeline::always('a').at(Ts(i64::MIN)), Some(&'a'));
    }
}
