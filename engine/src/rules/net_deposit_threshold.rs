//! Deposits less withdrawals of a calendar month pass the threshold of the player's age.

use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::{AgeBand, Trigger};
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::player::Span;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::{Severity, Window};
use models::money::Currency;

/// What it is.
pub const ABOUT: About = About {
    name: "net_deposit_threshold",
    home: Home::Operator,
    severity: Severity::Medium,
    what: "somebody has paid in more in a calendar month, less what was paid out, than the law lets pass without a conversation",
    takes_back: "a withdrawal of the month that is reported late, and a record that replaces a deposit",
    hears: &[Trigger::Deposit, Trigger::Withdrawal, Trigger::Undone],
};

params! {
    /// Currency of the thresholds: nothing is said in any other one.
    currency: Currency = Currency::EUR, "", 0..=0, "the Netherlands'; a jurisdiction sets its own";
    /// From 24 years on, and where the age is not known.
    adult_minor: i64 = 70_000, "minor units", 1..=10_000_000_000_000, "the Netherlands: 700 euros a calendar month (FACTS)";
    /// From 18 to 23 years.
    under_24_minor: i64 = 30_000, "minor units", 1..=10_000_000_000_000, "the Netherlands: 300 euros a calendar month (FACTS)";
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let Some((key, player)) = heard.player_in(params.currency) else { return };
    let month = heard.spans.month;
    let Some(flow) = player.period(Span::Month, month.start) else { return };
    let net = flow.deposits_minor.saturating_sub(flow.withdrawals_minor);
    let is_young = player.age == Some(AgeBand::Under24);
    let limit = if is_young { params.under_24_minor } else { params.adult_minor };
    let measured = Measured { observed: net, limit, unit: Unit::MinorUnits };
    let who = Who::Player(key);
    if net <= limit {
        // a withdrawal on time undoes nothing: the threshold was passed. One that comes late shows that it was not
        let is_late = heard.record.is_some_and(|record| player.moves.iter().any(|m| m.at > record.occurred_at));
        if heard.trigger == Trigger::Undone || (heard.trigger == Trigger::Withdrawal && is_late) {
            out.cleared(who, month.start, measured, "late data shows that the threshold was not passed");
        }
        return;
    }
    if heard.trigger == Trigger::Withdrawal {
        return;
    }
    let found = Found { who, window: month, cause: Cause::Window, measured, severity: Severity::Medium };
    out.found(found, |_| {
        let percent = i128::from(net) * 100 / i128::from(limit.max(1));
        let age = match player.age {
            Some(AgeBand::Under24) => "of players under 24",
            Some(AgeBand::From24) => "of players of 24 and more",
            None => "of players of unknown age",
        };
        let reason = format!("net deposits of the calendar month are {percent} % of the threshold {age}");
        let newest = player.moves_within(Window { start: month.start, end: month.end }, true).collect::<Vec<_>>();
        Details::of(vec![reason]).with(newest.iter().rev().map(|m| &*m.id))
    });
}

#[cfg(test)]
mod tests {
    use crate::rules::input::AgeBand;
    use crate::rules::scenario::{Story, check, minutes};

    #[test]
    fn a_month_has_a_threshold_by_age() {
        // stories begin on 2 March 2026 at 00:00 in Nairobi
        let euros = || Story::at(60).in_currency("EUR");
        let young = |story: Story| story.of_age("anna", AgeBand::Under24);
        let days = |n: i64| minutes(n * 1_440);
        check(
            "net_deposit_threshold",
            "{}",
            &[
                ("701 euros", euros().deposit("anna", 70_100), &["player anna: 70100 minor_units"]),
                ("700 euros", euros().deposit("anna", 70_000), &[]),
                ("301 euros at 20 years", young(euros()).deposit("anna", 30_100), &["player anna: 30100 minor_units"]),
                ("301 euros, age unknown", euros().deposit("anna", 30_100), &[]),
                (
                    "900 in, 300 out again, in this order",
                    euros().deposit("anna", 60_000).withdraw("anna", 30_000).deposit("anna", 30_000),
                    &[],
                ),
                (
                    "half in March, half in April",
                    euros().deposit("anna", 60_000).after(days(31)).deposit("anna", 60_000),
                    &[],
                ),
                (
                    "half on the 3rd, half on the 30th",
                    euros().after(days(1)).deposit("anna", 60_000).after(days(27)).deposit("anna", 60_000),
                    &["player anna: 120000 minor_units"],
                ),
                (
                    "passed, and taken out afterwards: it was passed",
                    euros().deposit("anna", 80_000).withdraw("anna", 80_000),
                    &["player anna: 80000 minor_units"],
                ),
                (
                    "a withdrawal before it is reported late",
                    euros()
                        .deposit("anna", 40_000)
                        .after(minutes(60))
                        .deposit("anna", 40_000)
                        .before(minutes(30))
                        .withdraw("anna", 20_000),
                    &[],
                ),
                (
                    "a deposit is taken back in the next month",
                    euros().deposit("anna", 80_000).after(days(31)).deposit("anna", 100).take_back("anna", 1),
                    &[],
                ),
                ("shillings are not euros", Story::at(60).deposit("anna", 80_000), &[]),
                ("a deposit that failed", euros().failed_deposit("anna", 80_000), &[]),
            ],
        );
    }
}
