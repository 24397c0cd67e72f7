//! An operator reports far more exclusions than its own history and size let expect: perhaps a whole customer base by
//! mistake.

use crate::rules::bound::{is_beyond_bernstein, nats};
use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::{Input, Trigger};
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::Severity;
use models::words::counted;

/// What it is.
pub const ABOUT: About = About {
    name: "unusual_exclusions",
    home: Home::Operator,
    severity: Severity::High,
    what: "far more registrations in a span than a Poisson number of the operator's own rate allows",
    takes_back: "a corrected figure of the same span",
    hears: &[Trigger::Exclusions],
};

params! {
    /// Spans before it that the rate stands on, at least; with fewer the size of the operator alone says what is usual.
    history_min: i64 = 7, "spans", 2..=60, "no law: a week of days";
    /// Exclusions of a span a million active players, where there is no history yet.
    rate_ppm: i64 = 500, "parts per million", 1..=1_000_000, "no law: the order of known registers, one in some thousand players a day";
    /// One false finding in 10 to the power of this, a span.
    certainty_digits: i64 = 6, "digits", 2..=15, "no law: a hundred operators and 24 spans a day are a million looks a year";
    /// Fewer than this are never told.
    count_min: i64 = 10, "exclusions", 1..=1_000_000, "people look at ten by hand";
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let Input::Exclusions(said) = heard.input else { return };
    let length = said.window.end.0 - said.window.start.0;
    let is_before =
        |window: &(models::ts::Ts, models::ts::Ts)| window.1 <= said.window.start && window.1.0 - window.0.0 == length;
    let history: Vec<f64> =
        heard.book.exclusions.iter().filter(|(window, _)| is_before(window)).map(|(_, count)| *count as f64).collect();
    let by_size = said.players.map(|players| players as f64 * params.rate_ppm as f64 / 1e6);
    let (mean, variance) = match (history.len() as i64 >= params.history_min, by_size) {
        (true, _) => rate(&history),
        (false, Some(expected)) => (expected, expected),
        (false, None) => return,
    };
    let observed = i64::try_from(said.count).unwrap_or(i64::MAX);
    let measured = Measured { observed, limit: mean.round() as i64, unit: Unit::Exclusions };
    let deviation = said.count as f64 - mean;
    if observed < params.count_min || !is_beyond_bernstein(deviation, variance, 1.0, nats(params.certainty_digits)) {
        out.cleared(Who::Operator, said.window.start, measured, "the figure was corrected");
        return;
    }
    let found = Found {
        who: Who::Operator,
        window: said.window,
        cause: Cause::Window,
        measured,
        severity: if deviation > 9.0 * mean { Severity::High } else { Severity::Medium },
    };
    out.found(found, |_| {
        let spans = history.len();
        let usual = if spans as i64 >= params.history_min {
            format!("{mean:.1} in each of {spans} spans before")
        } else {
            format!("{mean:.1} are usual for its number of players")
        };
        Details::of(vec![format!("{} reported in the span, and {usual}", counted(observed, "exclusion", "exclusions"))])
    });
}

/// Mean of the spans before, and the variance with which the next one is expected: at least a Poisson number's, more
/// where the history itself varies more, and with what the mean does not know.
fn rate(history: &[f64]) -> (f64, f64) {
    let count = history.len() as f64;
    let mean = history.iter().sum::<f64>() / count;
    let spread = history.iter().map(|n| (n - mean) * (n - mean)).sum::<f64>() / (count - 1.0);
    // nobody ever is as if one were on the way
    (mean, spread.max(mean).max(1.0 / count) * (1.0 + 1.0 / count))
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check};

    #[test]
    fn a_whole_customer_base_by_mistake() {
        let days = |counts: &[u64]| counts.iter().fold(Story::at(0), |story, count| story.exclusions(*count, None));
        let usual = [3, 5, 2, 4, 6, 3, 4, 5];
        let then = |count| days(&usual).exclusions(count, None);
        check(
            "unusual_exclusions",
            "{}",
            &[
                ("a usual day", then(5), &[]),
                ("a bad day", then(12), &[]),
                ("four thousand at once", then(4_000), &["operator: 4000 exclusions"]),
                ("sixty", then(60), &["operator: 60 exclusions"]),
                ("a wild history allows more", days(&[0, 60, 2, 80, 1, 40, 90, 3]).exclusions(100, None), &[]),
                ("no history, and nobody knows its size", days(&[3, 5]).exclusions(4_000, None), &[]),
                (
                    "no history, a hundred thousand players: 50 a day are usual",
                    days(&[]).exclusions(60, Some(100_000)),
                    &[],
                ),
                ("and 4,000 are not", days(&[]).exclusions(4_000, Some(100_000)), &["operator: 4000 exclusions"]),
                ("nobody for days, and then nine", days(&[0; 8]).exclusions(9, None), &[]),
                ("nobody for days, and then forty", days(&[0; 8]).exclusions(40, None), &["operator: 40 exclusions"]),
                ("the figure is corrected", then(4_000).exclusions_again(4), &[]),
            ],
        );
    }
}
