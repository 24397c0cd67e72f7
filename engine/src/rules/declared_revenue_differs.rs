//! What is declared of a period is not what the records of the period add up to.
//!
//! Declarations say an amount ([`crate::rules::input::Declared`]); invoices of a configured tax say it times a rate.

use crate::ingest::id_digest;
use crate::rules::book::Noticed;
use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::{Base, Input, Trigger};
use crate::rules::list::{About, Home};
use crate::rules::papers::Due;
use crate::rules::params::params;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::{Severity, Window};
use models::money::Currency;
use models::ts::{DAY, MINUTE, SECOND, Ts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What it is.
pub const ABOUT: About = About {
    name: "declared_revenue_differs",
    home: Home::Operator,
    severity: Severity::High,
    what: "declared revenue, or an invoice of a tax on it, differs from what the records of the period add up to",
    takes_back: "late data, or a corrected declaration or invoice, that brings both together; looked at when a day is over",
    hears: &[Trigger::Declared, Trigger::Document, Trigger::DayClosed],
};

/// What a tax is taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tax {
    /// The base.
    pub base: Base,
    /// The rate, parts per million.
    pub rate_ppm: i64,
}

params! {
    /// Differences below this are not looked at.
    absolute_min_minor: i64 = 1_000_000, "minor units", 0..=10_000_000_000_000, "no law: 10,000 shillings";
    /// Nor are those below this share of what the records add up to.
    relative_min_ppm: i64 = 10_000, "parts per million", 0..=1_000_000, "no law: one per cent, as auditors set performance materiality on revenue";
    /// Taxes by their names on invoices, with base and rate; invoices of other taxes are not held against records.
    taxes: BTreeMap<String, Tax> = BTreeMap::new(), "parts per million", 1..=1_000_000, "effective-dated configuration (FACTS, money and tax): a change of a rate is a version";
    /// An invoice whose period ends at midnight means the day that begins then as its last one.
    period_names_last_day: bool = true, "", 0..=0, "authorities write periods by their first and last day";
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let declared = |key: &((Ts, Ts), Currency, Base), amount, out: &mut Out<'_>| {
        let ((start, end), currency, base) = *key;
        let period = Window { start, end };
        let Some(computed) = heard.book.sums.computed(period, currency, base) else { return };
        let who = Who::Declaration(id_digest(&format!("{}\0{currency}", base.words())));
        // a day and a month may begin together
        let mut out = out.matter(end.0.unsigned_abs());
        hold(params, who, period, (amount, computed), base.words(), None, &mut out);
    };
    match (heard.trigger, heard.input, heard.document) {
        (Trigger::Declared, Input::Declared(new), _) => {
            let key = ((new.period.start, new.period.end), new.currency, new.base);
            if let Some(known) = heard.book.declared.get(&key) {
                declared(&key, known.amount_minor, out);
            }
        }
        (Trigger::Document, _, Some(Noticed::Invoice(key))) => {
            if let Some(due) = heard.book.papers.invoices.get(&key) {
                invoiced(params, key, due, heard, out);
            }
        }
        (Trigger::DayClosed, ..) => {
            for (key, known) in &heard.book.declared {
                declared(key, known.amount_minor, out);
            }
            if !params.taxes.is_empty() {
                for (key, due) in &heard.book.papers.invoices {
                    invoiced(params, *key, due, heard, out);
                }
            }
        }
        _ => {}
    }
}

fn invoiced(params: &Params, key: u64, due: &Due, heard: &Heard<'_>, out: &mut Out<'_>) {
    let Some((name, tax)) = due.tax.as_ref().and_then(|name| params.taxes.get_key_value(name)) else { return };
    let Some((start, end)) = due.period.filter(|_| !due.is_cancelled) else { return };
    let end = match end {
        end if params.period_names_last_day && end == end.floor_to(DAY) => end.plus(DAY),
        // a last second, instead of the first instant after it
        end => end.plus(SECOND).floor_to(MINUTE).max(end),
    };
    let period = Window { start, end };
    let Some(base) = heard.book.sums.computed(period, due.currency, tax.base) else { return };
    // no tax is paid back on a period that was lost
    let computed = (i128::from(base.max(0)) * i128::from(tax.rate_ppm) / 1_000_000) as i64;
    let what = format!("{name} on {}", tax.base.words());
    hold(params, Who::Invoice(key), period, (due.amount_minor, computed), &what, Some(&due.id), out);
}

fn hold(
    params: &Params,
    who: Who,
    period: Window,
    (declared, computed): (i64, i64),
    what: &str,
    record: Option<&str>,
    out: &mut Out<'_>,
) {
    let difference = i128::from(declared) - i128::from(computed);
    let measured = Measured { observed: declared, limit: computed, unit: Unit::MinorUnits };
    let relative = i128::from(computed).abs() * i128::from(params.relative_min_ppm) / 1_000_000;
    let least = relative.max(i128::from(params.absolute_min_minor));
    if difference.abs() <= least {
        out.cleared(who, period.start, measured, "declared and computed agree by now");
        return;
    }
    // who declares too much pays too much
    let severity = if difference < 0 { Severity::High } else { Severity::Low };
    let found = Found { who, window: period, cause: Cause::Window, measured, severity };
    out.found(found, |_| {
        let ppm = if computed == 0 { 1_000_000 } else { difference.abs() * 1_000_000 / i128::from(computed).abs() };
        let direction = if difference < 0 { "less" } else { "more" };
        let percent = format!("{}.{:02}", ppm / 10_000, ppm / 100 % 100);
        let reason = format!("{percent} % {direction} of {what} declared than the records of the period add up to");
        Details::of(vec![reason]).with(record)
    });
}

#[cfg(test)]
mod tests {
    use crate::rules::book::DECLARED_MAX;
    use crate::rules::input::Base;
    use crate::rules::scenario::{Story, check, minutes};

    #[test]
    fn what_is_declared_is_what_was_played() {
        // hour 1 to hour 3 of the story: 90,000 shillings staked, 60,000 paid out
        let played = || {
            Story::at(30)
                .stake("zoe", 1)
                .after(minutes(40))
                .stake("anna", 9_000_000)
                .after(minutes(30))
                .payout("anna", 6_000_000)
                .after(minutes(200))
                .stake("zoe", 1_000)
        };
        let ggr = |story: Story, amount| story.declare((60, 180), Base::GrossGamingRevenue, amount);
        // so many others that are not over yet, a minute apart
        let others = |story: Story| {
            (0..DECLARED_MAX as i64).fold(story, |story, n| {
                let hour = 6_000 + 60 * n;
                story.after(minutes(1)).declare((hour, hour + 60), Base::Deposits, 0)
            })
        };
        let taxes = r#"{"absolute_min_minor": 10000, "taxes": {"gaming_tax": {"base": "gross_gaming_revenue", "rate_ppm": 150000}}}"#;
        check(
            "declared_revenue_differs",
            "{}",
            &[
                ("to the cent", ggr(played(), 3_000_000), &[]),
                ("half of it", ggr(played(), 1_500_000), &["declaration gross gaming revenue: 1500000 minor_units"]),
                ("a difference that is small in itself", ggr(played(), 2_000_001), &[]),
                ("twice as much", ggr(played(), 6_000_000), &["declaration gross gaming revenue: 6000000 minor_units"]),
                (
                    "stakes are declared, too",
                    played().declare((60, 180), Base::Stakes, 7_000_000),
                    &["declaration stakes: 7000000 minor_units"],
                ),
                (
                    "of two periods that begin together each is one",
                    ggr(played(), 1_500_000).declare((60, 240), Base::GrossGamingRevenue, 1_000_000),
                    &[
                        "declaration gross gaming revenue: 1500000 minor_units",
                        "declaration gross gaming revenue: 1000000 minor_units",
                    ],
                ),
                (
                    "before the period is over nobody can say",
                    ggr(Story::at(30).stake("zoe", 1).after(minutes(60)).stake("anna", 9_000_000), 0),
                    &[],
                ),
                (
                    "a period that began before the records",
                    played().declare((0, 180), Base::GrossGamingRevenue, 0),
                    &[],
                ),
                ("a period that is cut within an hour", played().declare((90, 180), Base::GrossGamingRevenue, 0), &[]),
                ("corrected afterwards", ggr(ggr(played(), 1_500_000), 3_000_000), &[]),
                ("corrected long afterwards", ggr(others(ggr(played(), 1_500_000)), 3_000_000), &[]),
                (
                    "late data brings them together when the day is over",
                    ggr(played(), 5_000_000)
                        .before(minutes(180))
                        .stake("anna", 2_000_000)
                        .after(minutes(3_000))
                        .stake("zoe", 1),
                    &[],
                ),
            ],
        );
        check(
            "declared_revenue_differs",
            taxes,
            &[
                ("an invoice over 15 per cent", played().invoice("T-1", "gaming_tax", (60, 240), 450_000, 5_000), &[]),
                (
                    "an invoice over half of it",
                    played().invoice("T-1", "gaming_tax", (60, 240), 225_000, 5_000),
                    &["invoice T-1: 225000 minor_units"],
                ),
                ("an invoice of another tax", played().invoice("T-1", "stamp_duty", (60, 240), 1, 5_000), &[]),
            ],
        );
    }

    #[test]
    fn the_reason_says_by_how_much() {
        let story = Story::at(30)
            .stake("zoe", 1)
            .after(minutes(40))
            .stake("anna", 9_000_000)
            .after(minutes(200))
            .stake("zoe", 1);
        let found = story.declare((60, 180), Base::Stakes, 6_750_000).run("declared_revenue_differs", "{}");
        assert_eq!(found[0].reasons, ["25.00 % less of stakes declared than the records of the period add up to"]);
    }
}
