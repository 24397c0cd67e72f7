//! An invoice of an authority is due and not paid, was paid late, or was paid short.

use crate::rules::book::Noticed;
use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::papers::Due;
use crate::rules::params::params;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::{Severity, Window};
use models::money::Currency;
use models::ts::{DAY, Ts};
use models::words::counted;

/// What it is.
pub const ABOUT: About = About {
    name: "late_remittance",
    home: Home::Operator,
    severity: Severity::High,
    what: "an invoice is due and unpaid, was paid after it was due, or was paid short",
    takes_back: "a payment in time that is reported late, a later due date, a cancelled invoice; one that was paid late corrects the finding",
    hears: &[Trigger::Document, Trigger::Tick],
};

params! {
    /// Days behind the due date in which nothing is said.
    grace_days: i64 = 0, "days", 0..=90, "due is due; a grace is the authority's to give";
    /// What may be missing: fees and rounding. Hundredths of the unit, whatever the currency's minor unit is.
    missing_max_minor: i64 = 10_000, "hundredths of a unit", 0..=1_000_000_000, "no law: 100 shillings, what a bank takes of a transfer";
    /// Of a small invoice no more than this share of it.
    missing_max_percent: i64 = 5, "per cent", 0..=100, "no law: a third of a small invoice is no fee";
}

impl Params {
    /// What has to be there of an invoice so that it counts as paid, minor units of its currency.
    #[must_use]
    pub fn wanted(&self, amount_minor: i64, currency: Currency) -> i64 {
        let amount = i128::from(amount_minor.max(0));
        let missing_max = i128::from(self.missing_max_minor) * 10i128.pow(currency.decimals()) / 100;
        let share = amount * i128::from(self.missing_max_percent) / 100;
        // no more than the amount, which is an i64
        (amount - missing_max.min(share)).max(1) as i64
    }
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let invoices = &heard.book.papers.invoices;
    match heard.document {
        Some(Noticed::Invoice(key)) => {
            if let Some(due) = invoices.get(&key) {
                hold(params, key, due, heard.at, out);
            }
        }
        Some(Noticed::Licence(_) | Noticed::Operator) => {}
        None => invoices.iter().for_each(|(key, due)| hold(params, *key, due, heard.at, out)),
    }
}

fn hold(params: &Params, key: u64, due: &Due, now: Ts, out: &mut Out<'_>) {
    let Some(due_at) = due.due_at else { return };
    let who = Who::Invoice(key);
    // by its period, which stays where a due date is moved
    let start = due.period.map_or(due_at, |(from, _)| from);
    let window = Window { start, end: start.plus(DAY) };
    let last = due_at.plus(params.grace_days * DAY);
    let paid_at = due.paid_at(params.wanted(due.amount_minor, due.currency));
    let is_due = paid_at.unwrap_or(now) > last;
    if due.is_cancelled || due.amount_minor <= 0 || !is_due {
        let measured = Measured { observed: 0, limit: due.amount_minor, unit: Unit::MinorUnits };
        out.cleared(who, start, measured, "the invoice was paid in time, moved or cancelled");
        return;
    }
    let late_days = |at: Ts| (at.0 - last.0 + DAY - 1) / DAY;
    let records: Vec<&str> = std::iter::once(&*due.id).chain(due.payments.iter().map(|paid| &*paid.id)).collect();
    let (measured, severity, reason) = match paid_at {
        Some(at) => {
            let days = late_days(at);
            let measured = Measured { observed: days, limit: 0, unit: Unit::Days };
            (measured, Severity::Low, format!("paid in full, {} or part of it late", counted(days, "day", "days")))
        }
        None => {
            let paid = due.paid_by(now);
            let missing = due.amount_minor.saturating_sub(paid);
            let percent = i128::from(missing) * 100 / i128::from(due.amount_minor);
            let measured = Measured { observed: missing, limit: due.amount_minor, unit: Unit::MinorUnits };
            match paid {
                _ if due.is_paid_elsewise(now) => {
                    let reason = format!("due and, but for payments in another currency, {percent} % are missing");
                    (measured, Severity::Low, reason)
                }
                0 => (measured, Severity::High, "due and nothing of it is paid".to_owned()),
                _ => (measured, Severity::Medium, format!("due and paid short: {percent} % are missing")),
            }
        }
    };
    let found = Found { who, window, cause: Cause::Window, measured, severity };
    out.found(found, |_| Details::of(vec![reason]).with(records));
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};
    use models::alert::RevisionKind;
    use models::money::Currency;

    /// An invoice over 1,000 shillings of minute 0 to 1,440, due at minute 5,000, said at minute 2,000.
    fn invoice() -> Story {
        Story::at(2_000).invoice("T-1", "gaming_tax", (0, 1_440), 100_000, 5_000)
    }

    #[test]
    fn an_invoice_is_paid_in_full_and_in_time() {
        let at_6_000 = |story: Story| story.until(6_000).tick();
        check(
            "late_remittance",
            "{}",
            &[
                ("nobody pays", at_6_000(invoice()), &["invoice T-1: 100000 minor_units"]),
                ("it is not due yet", invoice().until(4_999).tick(), &[]),
                ("it is due this very minute", invoice().until(5_000).tick(), &[]),
                ("paid before it is due", at_6_000(invoice().until(4_000).pay("T-1", 100_000)), &[]),
                ("paid in two parts", at_6_000(invoice().pay("T-1", 60_000).until(4_000).pay("T-1", 40_000)), &[]),
                ("paid the day after", invoice().until(6_000).pay("T-1", 100_000), &["invoice T-1: 1 days"]),
                (
                    "half is paid",
                    at_6_000(invoice().until(4_000).pay("T-1", 50_000)),
                    &["invoice T-1: 50000 minor_units"],
                ),
                ("all but a fee of 50 shillings", at_6_000(invoice().until(4_000).pay("T-1", 95_000)), &[]),
                (
                    "a tenth is missing of a small invoice",
                    at_6_000(invoice().until(4_000).pay("T-1", 90_000)),
                    &["invoice T-1: 10000 minor_units"],
                ),
                (
                    "all but a fee of 100 shillings of a large one",
                    Story::at(2_000)
                        .invoice("T-1", "gaming_tax", (0, 1_440), 10_000_000, 5_000)
                        .until(4_000)
                        .pay("T-1", 9_990_000)
                        .until(6_000)
                        .tick(),
                    &[],
                ),
                (
                    "paid in another currency, of which nobody says what it is worth",
                    at_6_000(invoice().until(4_000).in_currency("USD").pay("T-1", 100_000)),
                    &["invoice T-1: 100000 minor_units"],
                ),
                (
                    "a payment that was reversed",
                    at_6_000(invoice().until(3_000).pay_and_reverse("T-1", 100_000)),
                    &["invoice T-1: 100000 minor_units"],
                ),
                (
                    "the authority says it is paid",
                    at_6_000(invoice().until(4_000).invoice_paid("T-1", "gaming_tax", (0, 1_440), 100_000, 5_000)),
                    &[],
                ),
                (
                    "the authority says it is paid, and not how much",
                    at_6_000(invoice().until(4_000).invoice_settled("T-1", "gaming_tax", (0, 1_440), 100_000, 5_000)),
                    &[],
                ),
                (
                    "the authority says so late",
                    invoice().until(6_000).invoice_settled("T-1", "gaming_tax", (0, 1_440), 100_000, 5_000),
                    &["invoice T-1: 1 days"],
                ),
                (
                    "the authority says what was paid in many parts",
                    at_6_000(
                        (1..=20).fold(invoice(), |story, part| story.invoice_paid_of("T-1", 100_000, 5_000 * part)),
                    ),
                    &[],
                ),
                (
                    "it is cancelled",
                    at_6_000(invoice().until(4_000).invoice_cancelled("T-1", "gaming_tax", (0, 1_440), 100_000, 5_000)),
                    &[],
                ),
                (
                    "the payment is heard of before the invoice",
                    at_6_000(Story::at(1_000).pay("T-1", 100_000).until(2_000).invoice(
                        "T-1",
                        "gaming_tax",
                        (0, 1_440),
                        100_000,
                        5_000,
                    )),
                    &[],
                ),
                ("paid in time, reported late", at_6_000(invoice()).before(minutes(2_000)).pay("T-1", 100_000), &[]),
                (
                    "another invoice is paid",
                    at_6_000(invoice().pay("T-2", 100_000)),
                    &["invoice T-1: 100000 minor_units"],
                ),
            ],
        );
    }

    #[test]
    fn what_may_be_missing_is_a_fee_in_every_currency() {
        // currency | amount and what has to be there, minor units
        let table = [
            ("KES", 100_000, 95_000),
            ("KES", 10_000_000, 9_990_000),
            ("KES", 0, 1),
            ("UGX", 1_000_000, 999_900),
            ("UGX", 1_000, 950),
            ("KWD", 10_000_000, 9_900_000),
        ];
        for (currency, amount, wanted) in table {
            let said = super::Params::default().wanted(amount, Currency::parse(currency).unwrap());
            assert_eq!(said, wanted, "{amount} {currency}");
        }
    }

    #[test]
    fn unpaid_then_short_then_late_is_one_finding() {
        let story = invoice().until(6_000).tick().pay("T-1", 50_000).until(8_000).pay("T-1", 50_000);
        let said: Vec<_> =
            story.all("late_remittance", "{}").into_iter().map(|f| (f.kind, f.reasons[0].clone())).collect();
        use RevisionKind::{Corrected, Raised};
        assert_eq!(
            said,
            [
                (Raised, "due and nothing of it is paid".to_owned()),
                (Corrected, "due and paid short: 50 % are missing".to_owned()),
                (Corrected, "paid in full, 3 days or part of it late".to_owned()),
            ]
        );
    }
}
