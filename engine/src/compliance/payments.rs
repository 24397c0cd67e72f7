//! Invoices of authorities, and when they were paid.

use crate::compliance::Measure;
use crate::rules::late_remittance;
use models::alert::Window;
use models::document_records::{Invoice, InvoiceState, Payment, PaymentState};
use models::money::Currency;
use models::ts::{DAY, Ts};

/// Days late that count at most, of one invoice.
pub const DAYS_LATE_MAX: i64 = 365;

/// An invoice as its newest version has it.
#[derive(Clone, Debug)]
pub struct Bill {
    /// What it says.
    pub invoice: Invoice,
    /// Minor units.
    pub amount_minor: i64,
    /// Of which.
    pub currency: Currency,
    /// When the authority said so.
    pub said_at: Ts,
}

/// A payment as its newest version has it.
#[derive(Clone, Debug)]
pub struct Paid {
    /// What it says.
    pub payment: Payment,
    /// Minor units.
    pub amount_minor: i64,
    /// Of which.
    pub currency: Currency,
    /// When it was made.
    pub at: Ts,
}

/// Invoices of a span, judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payments {
    /// Due in the span, or unpaid from before it.
    pub due: i64,
    /// Those of them that were paid late, or not by its end.
    pub late: i64,
    /// Days late of all of them, in thousandths.
    pub days_late_milli: i64,
    /// Paid, but nobody can say when: only a later version of the invoice says so, or something was paid in another currency.
    pub unknown: i64,
    /// 1 where more invoices are stored than were read: the oldest are in none of these.
    pub invoices_cut: i64,
    /// 1 where more payments are stored than were read.
    pub payments_cut: i64,
}

enum Standing {
    /// Paid in full then.
    Paid(Ts),
    Unpaid,
    Unknown,
}

fn is_for(paid: &Paid, invoice: &Invoice) -> bool {
    let payment = &paid.payment;
    payment.state == PaymentState::Completed
        && payment.invoice.as_ref() == Some(&invoice.number)
        && payment.authority.as_ref().is_none_or(|authority| *authority == invoice.authority)
}

fn standing(bill: &Bill, due_at: Ts, payments: &[Paid]) -> Standing {
    let wanted = late_remittance::Params::default().wanted(bill.amount_minor, bill.currency);
    let mine = || payments.iter().filter(|paid| is_for(paid, &bill.invoice));
    let is_paid_elsewise = mine().any(|paid| paid.currency != bill.currency);
    let mut paid: Vec<(Ts, i64)> =
        mine().filter(|paid| paid.currency == bill.currency).map(|paid| (paid.at, paid.amount_minor)).collect();
    paid.sort_unstable();
    let mut sum = 0i64;
    let covered = paid.into_iter().find(|(_, amount)| {
        sum = sum.saturating_add(*amount);
        sum >= wanted
    });
    let is_said = bill.invoice.state == InvoiceState::Paid || bill.invoice.paid_minor >= wanted;
    let said = is_said.then_some(bill.said_at);
    match (covered.map(|(at, _)| at), said) {
        (Some(paid), said) => Standing::Paid(said.map_or(paid, |said| said.min(paid))),
        (None, Some(said)) if said <= due_at => Standing::Paid(said),
        (None, Some(_)) => Standing::Unknown,
        (None, None) if is_paid_elsewise => Standing::Unknown,
        (None, None) => Standing::Unpaid,
    }
}

impl Payments {
    /// Judges the invoices of a span as they stood at its end.
    #[must_use]
    pub fn of(bills: &[Bill], payments: &[Paid], span: Window) -> Self {
        let mut judged = Self::default();
        for bill in bills {
            let is_void = bill.invoice.state == InvoiceState::Cancelled || bill.amount_minor <= 0;
            let Some(due_at) = bill.invoice.due_at.filter(|due_at| !is_void && *due_at < span.end) else { continue };
            let paid_at = match standing(bill, due_at, payments) {
                Standing::Paid(at) => at,
                Standing::Unpaid => Ts(i64::MAX),
                Standing::Unknown if due_at >= span.start => {
                    judged.unknown += 1;
                    continue;
                }
                Standing::Unknown => continue,
            };
            if due_at < span.start && paid_at < span.start {
                continue;
            }
            let late = paid_at.min(span.end).0.saturating_sub(due_at.0).clamp(0, DAYS_LATE_MAX * DAY);
            judged.due += 1;
            judged.late += i64::from(late > 0);
            // rounded up: what is late is not in time
            judged.days_late_milli += (late + DAY / 1_000 - 1) / (DAY / 1_000);
        }
        judged
    }

    pub(super) fn measure(&self) -> Measure {
        let mut figures =
            vec![("invoices_due", self.due), ("invoices_late", self.late), ("day_of_payment_unknown", self.unknown)];
        let cuts = [("invoices_cut", self.invoices_cut), ("payments_cut", self.payments_cut)];
        figures.extend(cuts.into_iter().filter(|(_, cut)| *cut > 0));
        Measure { value: (self.due > 0).then(|| (self.days_late_milli + self.due - 1) / self.due), figures }
    }
}
