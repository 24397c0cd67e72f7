//! A product gives back more or less than its licence says, and farther off than chance goes.
//!
//! Payouts are a sum of draws. How far their sum lies from licence value × stakes is held against the bound of Maurer
//! and Pontil with the variance that the payouts themselves show (their squares added up, which is never less than it)
//! and with the largest win that the licence allows on the largest stake. Where players get less, one large stake must not
//! hide what many small ones show: below its mean a sum of payouts, none of which is negative, is bounded by the largest
//! second moments that the licence allows, return × largest multiple × stake² each (Maurer 2003). Bets that are not settled
//! yet are stakes without payouts: materiality is there for them, and a product that settles days later needs a longer span.

use crate::rules::bound::{is_below_nonnegative, is_beyond_empirical, nats_two_sided};
use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::{Severity, Window};
use models::money::Currency;
use models::record::Product;
use models::ts::{DAY, HOUR};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What it is.
pub const ABOUT: About = About {
    name: "return_to_player_off",
    home: Home::Operator,
    severity: Severity::High,
    what: "payouts of a product in per cent of its stakes lie off the licence value by more than chance allows for the volume",
    takes_back: "the close of a later day, where the span is back within the bound",
    hears: &[Trigger::DayClosed],
};

/// What a licence says of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Return {
    /// Return to player, parts per million of stakes.
    pub return_ppm: i64,
    /// The largest win, as a multiple of the stake.
    pub multiple_max: i64,
}

params! {
    /// Currency of the stakes.
    currency: Currency = Currency::KES, "", 0..=0, "the jurisdiction's";
    /// Products with their licence values; of others nothing is said.
    products: BTreeMap<Product, Return> = BTreeMap::new(), "parts per million, multiple", 1..=10_000_000, "the operator's licence";
    /// Days that are added up.
    span_days: i64 = 7, "days", 1..=60, "no law: a week holds every day of it once";
    /// One false finding in 10 to the power of this, a product and day.
    certainty_digits: i64 = 6, "digits", 2..=15, "no law: eight products, a hundred operators and a year are 300,000 looks";
    /// Deviations below this are not looked at.
    deviation_min_ppm: i64 = 10_000, "parts per million", 0..=1_000_000, "no law: one percentage point; unsettled bets and rounding";
    /// Bets below which nothing is said.
    bets_min: i64 = 1_000, "bets", 1..=1_000_000_000, "the bound holds for any number; fewer say nothing about a game";
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let Some(closed) = heard.closed else { return };
    // days on which the clocks change are an hour longer or shorter
    let days = Window { start: closed.end.plus(-params.span_days * DAY - HOUR), end: closed.end };
    for (product, licence) in &params.products {
        let sums = heard.book.sums.returned(days, params.currency, *product);
        let who = Who::Product(product.code());
        if sums.bets < params.bets_min.unsigned_abs() || sums.stakes <= 0 {
            continue;
        }
        let (stakes, payouts) = (sums.stakes as f64, sums.payouts as f64);
        let expected = stakes * licence.return_ppm as f64 / 1e6;
        let observed_ppm = (sums.payouts.saturating_mul(1_000_000) / sums.stakes).clamp(0, i64::MAX.into()) as i64;
        let largest = (licence.multiple_max as f64 * sums.stake_max as f64).max(sums.payout_max as f64);
        let deviation = (payouts - expected).abs();
        let nats = nats_two_sided(params.certainty_digits);
        let returned = licence.return_ppm as f64 / 1e6;
        let squares = returned * licence.multiple_max as f64 * sums.stake_squares as f64;
        let is_beyond = is_beyond_empirical(deviation, sums.payout_squares as f64, largest, nats)
            || is_below_nonnegative(expected - payouts, squares, nats);
        let measured = Measured { observed: observed_ppm, limit: licence.return_ppm, unit: Unit::Ppm };
        if !is_beyond || (observed_ppm - licence.return_ppm).abs() < params.deviation_min_ppm {
            out.cleared(who, closed.start, measured, "the product is back within what chance allows");
            continue;
        }
        let found = Found {
            who,
            window: Window { start: closed.end.plus(-params.span_days * DAY), end: closed.end },
            cause: Cause::Overlap,
            measured,
            // players are short-changed
            severity: if observed_ppm < licence.return_ppm { Severity::High } else { Severity::Medium },
        };
        out.found(found, |_| {
            let percent = |ppm: i64| format!("{}.{:02}", ppm / 10_000, ppm / 100 % 100);
            let reason = format!(
                "{} gave back {} % of stakes in {} bets of {} days, its licence says {} %; chance alone goes so far once in 10^{}",
                product.as_str(),
                percent(observed_ppm),
                sums.bets,
                params.span_days,
                percent(licence.return_ppm),
                params.certainty_digits
            );
            Details::of(vec![reason])
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};

    #[test]
    fn a_game_gives_back_what_its_licence_says() {
        let slots = r#"{"products": {"slots": {"return_ppm": 940000, "multiple_max": 10}}}"#;
        // so many bets of 100; of a hundred of them this many win 500
        let day = |bets: i64, wins: i64| {
            let mut story = Story::at(60).product("slots").quickly();
            for n in 0..bets {
                story = story.stake("anna", 100);
                if n * wins % 100 < wins {
                    story = story.payout("anna", 500);
                }
            }
            story.after(minutes(1_440)).stake("anna", 100)
        };
        check(
            "return_to_player_off",
            slots,
            &[
                ("95 of 94 per cent", day(4_000, 19), &[]),
                ("50 of 94 per cent in 4,000 bets", day(4_000, 10), &["product slots: 500000 ppm"]),
                ("150 of 94 per cent", day(4_000, 30), &["product slots: 1500000 ppm"]),
                ("50 of 94 per cent in 300 bets says nothing yet", day(300, 10), &[]),
                ("75 of 94 per cent in 4,000 bets may be chance where a win of 1,000 is allowed", day(4_000, 15), &[]),
                ("a day that is not over", Story::at(60).product("slots").stake("anna", 100), &[]),
            ],
        );
        check("return_to_player_off", "{}", &[("no licence value", day(4_000, 1), &[])]);
    }
}
