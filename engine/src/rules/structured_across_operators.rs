//! Deposits that are spread over operators so that none of them sees the sum: only the regulator can.

use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::nation::{Moved, NationHeard};
use crate::rules::params::params;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::{Severity, Window};
use models::ids::OperatorNo;
use models::money::Currency;
use models::ts::{HOUR, Ts};
use std::collections::BTreeMap;

/// What it is.
pub const ABOUT: About = About {
    name: "structured_across_operators",
    home: Home::Nation,
    severity: Severity::High,
    what: "deposits at several operators pass a threshold together, and at none of them alone",
    takes_back: "a record that replaces one of the deposits, where the rest stays below",
    hears: &[Trigger::Deposit, Trigger::Undone],
};

params! {
    /// Currency of the threshold.
    currency: Currency = Currency::KES, "", 0..=0, "the jurisdiction's";
    /// What would have been looked at, at one operator.
    threshold_minor: i64 = 193_500_000, "minor units", 100..=10_000_000_000_000, "Kenya's cash threshold of USD 15,000 (FACTS, money and tax: uncertain), at 129 shillings, November 2026";
    /// Operators over which it is spread.
    operators_min: i64 = 2, "operators", 2..=8, "arithmetic: fewer are not several";
    /// Deposits that make a pattern.
    deposits_min: i64 = 3, "deposits", 2..=24, "no law: two happen";
    /// Hours within which they lie.
    span_hours: i64 = 24, "hours", 1..=720, "no law: transactions of a day are looked at together";
}

struct Spread<'p> {
    deposits: Vec<&'p Moved>,
    operators: BTreeMap<OperatorNo, i64>,
    sum: i64,
}

/// The deposits of the span that ends with one of them, where they are spread.
fn spread<'p>(params: &Params, deposits: &[&'p Moved], until: Ts) -> Option<Spread<'p>> {
    let from = until.plus(-params.span_hours * HOUR);
    let deposits: Vec<&Moved> = deposits.iter().copied().filter(|d| from <= d.at && d.at <= until).collect();
    let mut operators: BTreeMap<OperatorNo, i64> = BTreeMap::new();
    for deposit in &deposits {
        let sum = operators.entry(deposit.operator).or_default();
        *sum = sum.saturating_add(deposit.amount_minor);
    }
    let sum = operators.values().fold(0i64, |sum, of| sum.saturating_add(*of));
    let is_spread = deposits.len() as i64 >= params.deposits_min
        && operators.len() as i64 >= params.operators_min
        && operators.values().all(|of| *of < params.threshold_minor)
        && sum >= params.threshold_minor;
    is_spread.then_some(Spread { deposits, operators, sum })
}

pub(super) fn judge(params: &Params, heard: &NationHeard<'_>, out: &mut Out<'_>) {
    if !heard.is_in(params.currency) {
        return;
    }
    let who = Who::Player(heard.player);
    let span = params.span_hours * HOUR;
    let deposits: Vec<&Moved> = heard.known.deposits().collect();
    // one that comes late belongs to the spans of those behind it, too
    let undone_at = heard.undone_at.filter(|_| heard.trigger == Trigger::Undone);
    let base = undone_at.unwrap_or(heard.at);
    let mut ends = deposits.iter().rev().filter(|d| (d.at.0 - base.0).abs() <= span).map(|d| d.at);
    let Some(Spread { deposits, operators, sum }) = ends.find_map(|end| spread(params, &deposits, end)) else {
        let measured = Measured { observed: 0, limit: params.threshold_minor, unit: Unit::MinorUnits };
        if undone_at.is_some() {
            out.cleared(who, base, measured, "a deposit was taken back, and the rest stays below");
        }
        return;
    };
    let Some(first) = deposits.first() else { return };
    let found = Found {
        who,
        window: Window { start: first.at, end: first.at.plus(span) },
        cause: Cause::Overlap,
        measured: Measured { observed: sum, limit: params.threshold_minor, unit: Unit::MinorUnits },
        severity: if operators.len() > 2 { Severity::High } else { Severity::Medium },
    };
    out.found(found, |_| {
        let (count, places) = (deposits.len(), operators.len());
        let percent = i128::from(sum) * 100 / i128::from(params.threshold_minor);
        let reason = format!(
            "{count} deposits at {places} operators are {percent} % of the threshold together, and below it at each"
        );
        let operators = operators.keys().copied().collect();
        Details { operators, ..Details::of(vec![reason]).with(deposits.iter().map(|d| &*d.id)) }
    });
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};

    #[test]
    fn what_no_operator_sees_alone() {
        let params = r#"{"threshold_minor": 100000}"#;
        let two = || Story::at(60).deposit("anna", 40_000).at_operator(2).deposit("anna", 40_000);
        check(
            "structured_across_operators",
            params,
            &[
                (
                    "1,200 in three parts at three operators",
                    two().at_operator(3).deposit("anna", 40_000),
                    &["player anna: 120000 minor_units"],
                ),
                ("1,200 in three parts at two", two().deposit("anna", 40_000), &["player anna: 120000 minor_units"]),
                ("one operator sees it alone", two().deposit("anna", 70_000), &[]),
                ("it stays below together", two().at_operator(3).deposit("anna", 19_999), &[]),
                ("in two parts", Story::at(60).deposit("anna", 60_000).at_operator(2).deposit("anna", 60_000), &[]),
                ("the last a day later", two().after(minutes(1_441)).at_operator(3).deposit("anna", 40_000), &[]),
                ("one of three is taken back", two().at_operator(3).deposit("anna", 40_000).take_back("anna", 3), &[]),
                (
                    "a withdrawal that is taken back is no deposit that was",
                    two().at_operator(3).deposit("anna", 40_000).withdraw("anna", 1_000).take_back("anna", 4),
                    &["player anna: 120000 minor_units"],
                ),
                (
                    "three people",
                    Story::at(60)
                        .deposit("anna", 40_000)
                        .at_operator(2)
                        .deposit("ben", 40_000)
                        .at_operator(3)
                        .deposit("carl", 40_000),
                    &[],
                ),
            ],
        );
    }
}
