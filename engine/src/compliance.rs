//! The compliance score of an operator: a published formula over what was measured in thirty days.
//!
//! ```text
//! days counted, feeds, invoices, judged alerts ─▶ one value a component ─▶ points by a published line ─▶ weighted mean
//! ```
//! Integers alone: the same facts give the same score. A component of which nothing was measured is left out, the others
//! weigh more by it, and the score says so. Where it is in doubt the formula speaks for the operator: a check that fell
//! into a gap of the evidence, a player whom the register cannot know, a payment whose day nobody can tell are counted
//! apart and never held against anybody; where that leaves too little, it says so instead of a band. The formula for people
//! is `docs/COMPLIANCE.md`.

pub mod alerts;
pub mod feeds;
pub mod payments;
pub mod silences;
#[cfg(test)]
mod tests;

use models::compliance::{Band, Component, ComponentScore, DayTally};
use std::collections::BTreeMap;

/// Version of the formula: it grows with every change of what follows from the same facts.
pub const VERSION: u32 = 5;
/// Days that a score stands on: the day itself and those before it.
pub const SPAN_DAYS: i64 = 30;
/// Full marks, and the whole of a share.
pub const ONE: i64 = 1_000_000;
/// Weight of which something must have been measured, of 100: a score of which less was has no band, only the name
/// `not_enough_measured`.
pub const LEAST_WEIGHT: i64 = 60;
/// The formula in a sentence, published with every answer.
pub const FORMULA: &str = "score = sum of weight * points over the components of which something was measured / sum of their weights, times 100, rounded down; points = the component's value on its published line, which is straight between the knots; the span is the day and the 29 days before it, by the jurisdiction's midnight; a score of which less than 60 of 100 was measured has no band";

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Millionths of a whole.
    Ppm,
    /// Minutes.
    Minutes,
    /// Thousandths of a day.
    DaysMilli,
    /// Alert points: see [`alerts::points`].
    AlertPoints,
}

impl Unit {
    /// As it is published.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ppm => "ppm",
            Self::Minutes => "minutes",
            Self::DaysMilli => "days_milli",
            Self::AlertPoints => "alert_points",
        }
    }

    /// A value for people.
    #[must_use]
    pub fn shown(self, value: i64) -> String {
        match self {
            Self::Ppm => format!("{}.{:04} %", value / 10_000, value % 10_000),
            Self::Minutes => format!("{value} min"),
            Self::DaysMilli => format!("{}.{:03} days", value / 1_000, value % 1_000),
            Self::AlertPoints => format!("{value} points"),
        }
    }
}

/// A component of the formula.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Which.
    pub component: Component,
    /// Its share of 100.
    pub weight: i64,
    /// What is measured.
    pub what: &'static str,
    /// What the value counts.
    pub unit: Unit,
    /// The line: values, ascending, and what each is worth in millionths of full marks. Before the first and behind the
    /// last it goes on level.
    pub line: &'static [(i64, i64)],
    /// Where the line comes from.
    pub source: &'static str,
    /// When there is nothing to measure.
    pub nothing: &'static str,
}

/// The formula.
pub const ABOUT: &[About] = &[
    About {
        component: Component::Checks,
        weight: 25,
        what: "share of logins, sessions and first plays before which the register was asked within 15 minutes; entries inside a gap of the evidence and players whom the register cannot know are counted apart",
        unit: Unit::Ppm,
        line: &[(900_000, 0), (990_000, 500_000), (1_000_000, 1_000_000)],
        source: "the contract asks at every login (API, when to check); no law gives a tolerance: half of the points are gone at one entry in a hundred",
        nothing: "nobody came in of whom it can be said whether the register was asked",
    },
    About {
        component: Component::LastBetWorst,
        weight: 12,
        what: "minutes from an exclusion to the person's last accepted bet: the worst of the span; 0 where no excluded person bet",
        unit: Unit::Minutes,
        line: &[(15, 1_000_000), (60, 500_000), (1_440, 0)],
        source: "an answer of the register is valid for 15 minutes (freshness of a node); open wagers are to be cancelled within 24 hours (FACTS, self-exclusion)",
        nothing: "nobody bet whom the register could know",
    },
    About {
        component: Component::LastBetMedian,
        weight: 8,
        what: "the same, the lower median over people and days on which an excluded person bet; 0 where none did",
        unit: Unit::Minutes,
        line: &[(15, 1_000_000), (60, 500_000), (1_440, 0)],
        source: "as for the worst",
        nothing: "nobody bet whom the register could know",
    },
    About {
        component: Component::Completeness,
        weight: 15,
        what: "share of days of feeds that were not missing, times share of declared records that are stored, times share of numbered batches that came, times share of days without a broken chain of tamper tokens",
        unit: Unit::Ppm,
        line: &[(900_000, 0), (990_000, 700_000), (1_000_000, 1_000_000)],
        source: "no law: a tenth missing is no supervision, one in a hundred is an accident",
        nothing: "no feed of play was expected",
    },
    About {
        component: Component::Freshness,
        weight: 10,
        what: "share of the time of all feeds in which none of them was silent: from one expected interval behind the last success, once four have passed, until it speaks again; a paused feed is expected to say nothing, a fetched document is as fresh as its schedule",
        unit: Unit::Ppm,
        line: &[(800_000, 0), (990_000, 900_000), (1_000_000, 1_000_000)],
        source: "four expected intervals, whatever the rule feed_silent is set to; the line is the project's own",
        nothing: "no feed was expected",
    },
    About {
        component: Component::Quarantine,
        weight: 10,
        what: "share of the records sent that were refused into quarantine",
        unit: Unit::Ppm,
        line: &[(1_000, 1_000_000), (10_000, 500_000), (50_000, 0)],
        source: "no law: one in a thousand is what careful senders reach, one in twenty is no data",
        nothing: "no record was sent",
    },
    About {
        component: Component::Payments,
        weight: 10,
        what: "days late, on average over the invoices that were due in the span and those before it that were still unpaid; 100 units of the currency may be missing, and of a small invoice no more than 5 % of it; an invoice of which only an authority's later word says that it was paid is counted apart",
        unit: Unit::DaysMilli,
        line: &[(0, 1_000_000), (7_000, 500_000), (30_000, 0)],
        source: "due is due; a month late is a period late, as taxes are monthly (FACTS, money and tax)",
        nothing: "no invoice was due",
    },
    About {
        component: Component::Alerts,
        weight: 10,
        what: "points of the groups of alerts about the operator's duties and figures that somebody confirmed in the span: low 1, medium 3, high 8, critical 20; suspicions about its players, false alarms, expected ones and errors in data do not count, and what nobody judged is shown",
        unit: Unit::AlertPoints,
        line: &[(0, 1_000_000), (8, 600_000), (40, 0)],
        source: "no law: two critical breaches in a month leave nothing",
        nothing: "no feed was expected, so nobody watched, or groups stood and nobody judged one",
    },
];

/// Bands, best first: from which score on, where enough was measured.
pub const BANDS: &[(Band, i64)] = &[(Band::Good, 90), (Band::Fair, 75), (Band::Poor, 50), (Band::Critical, 0)];

/// What was measured of a component, and what it was worked out of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measure {
    /// The value; none where there was nothing to measure.
    pub value: Option<i64>,
    /// Figures behind it, by name.
    pub figures: Vec<(&'static str, i64)>,
}

/// Everything that a score follows from.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Days of the span that were counted, in any order.
    pub days: Vec<DayTally>,
    /// Feeds.
    pub feeds: feeds::Feeds,
    /// Invoices.
    pub payments: payments::Payments,
    /// Groups of alerts, and what people made of them.
    pub alerts: alerts::Confirmed,
}

/// A score before it has a day and a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scored {
    /// Each component once, in the order of the formula.
    pub components: Vec<ComponentScore>,
    /// Millionths of full marks; none where nothing was measured.
    pub score_ppm: Option<i64>,
    /// Weights of what was measured.
    pub measured_weight: i64,
    /// Its name; [`Band::NotEnoughMeasured`] where less than [`LEAST_WEIGHT`] was.
    pub band: Option<Band>,
}

/// A share, rounded down: nothing is whole that is not.
pub(crate) fn share(part: i64, whole: i64) -> i64 {
    if whole <= 0 {
        return ONE;
    }
    let part = i128::from(part.clamp(0, whole));
    i64::try_from(part * i128::from(ONE) / i128::from(whole)).unwrap_or(ONE)
}

fn counted(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// What a value is worth on a line, rounded down.
#[must_use]
pub fn points(line: &[(i64, i64)], value: i64) -> i64 {
    let after = line.partition_point(|(at, _)| *at <= value);
    let (Some(before), Some(after)) = (after.checked_sub(1).and_then(|n| line.get(n)), line.get(after)) else {
        let end = if after == 0 { line.first() } else { line.last() };
        return end.map_or(0, |(_, worth)| *worth);
    };
    let [span, way, rise] = [after.0 - before.0, value - before.0, after.1 - before.1].map(i128::from);
    before.1 + i64::try_from((rise * way).div_euclid(span)).unwrap_or(0)
}

fn sum(days: &[DayTally], of: impl Fn(&DayTally) -> u64) -> i64 {
    counted(days.iter().fold(0, |sum, day| sum.saturating_add(of(day))))
}

fn checks(days: &[DayTally]) -> Measure {
    let (entries, lacking) = (sum(days, |day| day.entries), sum(days, |day| day.lacking));
    let (in_gaps, unidentified) = (sum(days, |day| day.in_gaps), sum(days, |day| day.unidentified));
    Measure {
        value: (entries > 0).then(|| share(entries - lacking, entries)),
        figures: vec![
            ("entries", entries),
            ("lacking", lacking),
            ("in_evidence_gaps", in_gaps),
            ("unidentified", unidentified),
        ],
    }
}

/// How much of the play is of people whom the register can know, of the days of which it was counted: nothing where no bet
/// was, or none was counted like that.
fn identified(days: &[DayTally]) -> Vec<(&'static str, i64)> {
    let known = days.iter().filter_map(|day| Some((day.bets, day.bets_unidentified?)));
    let (bets, unidentified) = known.fold((0u64, 0u64), |(bets, unidentified), (own, others)| {
        (bets.saturating_add(own), unidentified.saturating_add(others))
    });
    let all = counted(bets.saturating_add(unidentified));
    if all == 0 {
        return Vec::new();
    }
    vec![("bets_unidentified", counted(unidentified)), ("bets_identified_ppm", share(counted(bets), all))]
}

/// Minutes to the last bet: the worst, and the lower median.
fn last_bets(days: &[DayTally]) -> (Measure, Measure) {
    let (bets, excluded) = (sum(days, |day| day.bets), sum(days, |day| day.bets_excluded));
    let mut minutes: Vec<u32> = days.iter().flat_map(|day| day.minutes.iter().copied()).collect();
    minutes.sort_unstable();
    let worst = days.iter().map(|day| day.minutes_max).max().unwrap_or(0);
    let median = minutes.get(minutes.len().saturating_sub(1) / 2).copied().unwrap_or(0);
    let (people, beyond) = (counted(minutes.len() as u64), sum(days, |day| day.bets_beyond));
    let mut figures =
        vec![("bets", bets), ("bets_excluded", excluded), ("people_days", people), ("bets_beyond", beyond)];
    figures.extend(identified(days));
    let measure = |value: u32| Measure { value: (bets > 0).then_some(value.into()), figures: figures.clone() };
    (measure(worst), measure(median))
}

/// What was measured, component by component, in the order of the formula.
fn measures(facts: &Facts) -> Vec<(Component, Measure)> {
    let (worst, median) = last_bets(&facts.days);
    vec![
        (Component::Checks, checks(&facts.days)),
        (Component::LastBetWorst, worst),
        (Component::LastBetMedian, median),
        (Component::Completeness, facts.feeds.completeness()),
        (Component::Freshness, facts.feeds.freshness()),
        (Component::Quarantine, facts.feeds.quarantine()),
        (Component::Payments, facts.payments.measure()),
        (Component::Alerts, facts.alerts.measure(!facts.feeds.sources.is_empty())),
    ]
}

/// The score of what was measured.
#[must_use]
pub fn score(facts: &Facts) -> Scored {
    let components: Vec<ComponentScore> = ABOUT
        .iter()
        .zip(measures(facts))
        .map(|(about, (component, measure))| {
            debug_assert_eq!(about.component, component);
            let figures = measure.figures.into_iter().map(|(name, value)| (name.to_owned(), value));
            ComponentScore {
                component,
                weight: about.weight,
                value: measure.value,
                points_ppm: measure.value.map(|value| points(about.line, value)),
                figures: figures.collect::<BTreeMap<_, _>>(),
            }
        })
        .collect();
    weigh(components)
}

/// The weighted mean of the components that have points.
#[must_use]
pub fn weigh(components: Vec<ComponentScore>) -> Scored {
    let measured = components.iter().filter_map(|one| Some((one.weight, one.points_ppm?)));
    let (weight, sum) =
        measured.fold((0, 0), |(weights, sum), (weight, points)| (weights + weight, sum + weight * points));
    let score_ppm = (weight > 0).then(|| sum / weight);
    let named = score_ppm.and_then(|ppm| BANDS.iter().find(|(_, from)| ppm / 10_000 >= *from)).map(|(band, _)| *band);
    let band = if weight < LEAST_WEIGHT { Some(Band::NotEnoughMeasured) } else { named };
    Scored { components, score_ppm, measured_weight: weight, band }
}
