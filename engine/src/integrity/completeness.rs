//! How complete a day of a source is: one figure between 0 and 1, and the three that it is made of.

use models::feed::integrity::ComparedTotal;
use models::ts::{SECOND, Ts};

/// The formula, as it is published with every answer.
pub const FORMULA: &str = "score = intervals * declared * settled; intervals = expected intervals of the day with at least one stored batch / expected intervals of the day that are over (1 where none is); declared = sum over declared kinds of min(stored, declared count) / declared count (1 where nothing was declared); settled = 1 - quarantined records of the day that are not settled / records sent on the day (1 where none were)";

const ONE: i64 = 1_000_000;

/// What is known of a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayFacts {
    /// Expected intervals that are over.
    pub intervals: i64,
    /// Those in which a batch was stored.
    pub delivered: i64,
    /// Records declared; none where nothing was.
    pub declared: Option<i64>,
    /// Records stored of those, by kind at most as many as declared.
    pub stored: i64,
    /// Records that came on the day, whatever became of them.
    pub sent: i64,
    /// Those in quarantine that are not settled.
    pub unsettled: i64,
}

/// How complete, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completeness {
    /// Share of the expected intervals.
    pub intervals_ppm: i64,
    /// Share of the declared records.
    pub declared_ppm: i64,
    /// Share of the records that are not in quarantine.
    pub settled_ppm: i64,
    /// The three, multiplied.
    pub score_ppm: i64,
}

/// Rounded down: nothing is complete that is not.
fn share(part: i64, whole: i64) -> i64 {
    if whole <= 0 {
        return ONE;
    }
    let part = i128::from(part.clamp(0, whole));
    i64::try_from(part * i128::from(ONE) / i128::from(whole)).unwrap_or(ONE)
}

/// The score of a day.
#[must_use]
pub fn score(facts: &DayFacts) -> Completeness {
    let intervals_ppm = share(facts.delivered, facts.intervals);
    let declared_ppm = facts.declared.map_or(ONE, |declared| share(facts.stored, declared));
    let settled_ppm = share(facts.sent.saturating_sub(facts.unsettled), facts.sent);
    let score_ppm = intervals_ppm * declared_ppm / ONE * settled_ppm / ONE;
    Completeness { intervals_ppm, declared_ppm, settled_ppm, score_ppm }
}

/// Declared records of a day, and those of them that are stored.
#[must_use]
pub fn declared(lines: &[ComparedTotal]) -> (i64, i64) {
    let counts = lines.iter().filter_map(|line| Some((line.declared?.count, line.stored.count)));
    counts.fold((0, 0), |(declared, stored), (d, s)| {
        (declared.saturating_add(d), stored.saturating_add(s.clamp(0, d.max(0))))
    })
}

/// The expected intervals of a day that are over: where the first begins, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Start of the first.
    pub from: Ts,
    /// End of the last.
    pub to: Ts,
    /// Length of each, microseconds; the last one of a day that is over lasts until midnight.
    pub length: i64,
    /// How many.
    pub count: i64,
}

/// Cuts a day into expected intervals, from when the source was made, as far as the day is over. A day that is over has
/// one at least, however rarely the source sends.
#[must_use]
pub fn slots(day: (Ts, Ts), interval_seconds: u32, created_at: Ts, now: Ts) -> Slots {
    let length = i64::from(interval_seconds.max(1)) * SECOND;
    let (from, to) = (day.0.max(created_at), day.1.min(now));
    let span = to.0.saturating_sub(from.0).max(0);
    let is_over = day.1 <= now && span > 0;
    let count = (span / length).max(i64::from(is_over));
    Slots { from, to: if is_over { to } else { from.plus(count * length) }, length, count }
}
