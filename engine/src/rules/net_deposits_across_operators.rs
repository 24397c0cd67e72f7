//! Deposits less withdrawals of a calendar month, over all operators, pass what the law allows a player.

use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::nation::{NationHeard, Place};
use crate::rules::params::params;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::Severity;
use models::money::Currency;

/// What it is.
pub const ABOUT: About = About {
    name: "net_deposits_across_operators",
    home: Home::Nation,
    severity: Severity::High,
    what: "somebody has paid in more at several operators together in a calendar month, less what was paid out, than the law allows",
    takes_back: "a record that replaces a deposit of the month; deposits that failed were never counted, and a withdrawal that is cancelled counts no more",
    hears: &[Trigger::Deposit, Trigger::Undone],
};

params! {
    /// Currency of the limit: nothing is said in any other one.
    currency: Currency = Currency::EUR, "", 0..=0, "Germany's; a jurisdiction sets its own";
    /// Net deposits of a calendar month over all operators.
    month_max_minor: i64 = 100_000, "minor units", 1..=10_000_000_000_000, "Germany: 1,000 euros a month across all operators (FACTS)";
}

pub(super) fn judge(params: &Params, heard: &NationHeard<'_>, out: &mut Out<'_>) {
    if !heard.is_in(params.currency) {
        return;
    }
    let month = heard.spans.month;
    let paid_in = |place: &&Place| place.month == month.start && place.net_minor != 0;
    let places: Vec<&Place> = heard.known.places.iter().filter(paid_in).collect();
    let net = places.iter().fold(0i64, |sum, place| sum.saturating_add(place.net_minor));
    let who = Who::Player(heard.player);
    let measured = Measured { observed: net, limit: params.month_max_minor, unit: Unit::MinorUnits };
    if net <= params.month_max_minor || places.len() < 2 {
        if heard.trigger == Trigger::Undone && heard.undone_at.is_some() {
            out.cleared(who, month.start, measured, "a deposit was taken back, and the limit is kept");
        }
        return;
    }
    let found = Found { who, window: month, cause: Cause::Window, measured, severity: Severity::High };
    out.found(found, |_| {
        let percent = i128::from(net) * 100 / i128::from(params.month_max_minor);
        let count = places.len();
        let reason = format!(
            "net deposits of the calendar month at {count} operators are {percent} % of the limit over all operators"
        );
        let records = heard.known.deposits().rev().filter(|d| d.at >= month.start).map(|d| &*d.id);
        let operators = places.iter().map(|place| place.operator).collect();
        Details { operators, ..Details::of(vec![reason]).with(records) }
    });
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};

    #[test]
    fn a_limit_over_all_operators() {
        let euros = || Story::at(60).in_currency("EUR");
        check(
            "net_deposits_across_operators",
            "{}",
            &[
                (
                    "600 euros at each of two",
                    euros().deposit("anna", 60_000).at_operator(2).deposit("anna", 60_000),
                    &["player anna: 120000 minor_units"],
                ),
                ("500 at each of two", euros().deposit("anna", 50_000).at_operator(2).deposit("anna", 50_000), &[]),
                ("1,200 at one: that operator's own rule", euros().deposit("anna", 120_000), &[]),
                (
                    "one of them was paid out again",
                    euros().deposit("anna", 60_000).withdraw("anna", 60_000).at_operator(2).deposit("anna", 60_000),
                    &[],
                ),
                (
                    "in two months",
                    euros().deposit("anna", 60_000).after(minutes(31 * 1_440)).at_operator(2).deposit("anna", 60_000),
                    &[],
                ),
                (
                    "a deposit that failed is not counted",
                    euros().deposit("anna", 60_000).at_operator(2).failed_deposit("anna", 60_000),
                    &[],
                ),
                (
                    "a deposit that is taken back",
                    euros().deposit("anna", 60_000).at_operator(2).deposit("anna", 60_000).take_back("anna", 2),
                    &[],
                ),
                (
                    "a withdrawal that is cancelled",
                    euros()
                        .deposit("anna", 60_000)
                        .withdraw("anna", 60_000)
                        .at_operator(2)
                        .deposit("anna", 60_000)
                        .at_operator(1)
                        .take_back("anna", 2),
                    &["player anna: 120000 minor_units"],
                ),
                (
                    "a withdrawal that is cancelled takes nothing back",
                    euros()
                        .deposit("anna", 60_000)
                        .at_operator(2)
                        .deposit("anna", 60_000)
                        .withdraw("anna", 30_000)
                        .withdraw("anna", 10_000)
                        .take_back("anna", 4),
                    &["player anna: 120000 minor_units"],
                ),
                (
                    "two whom the register cannot know are not joined",
                    euros().deposit("#77", 60_000).at_operator(2).deposit("#77", 60_000),
                    &[],
                ),
                ("two different people", euros().deposit("anna", 60_000).at_operator(2).deposit("ben", 60_000), &[]),
            ],
        );
    }
}
