//! Licences, invoices and payments, as authorities and banks said them.

use crate::ingest::id_digest;
use crate::rules::licences::Licences;
use models::document_records::{Invoice, InvoiceState, Payment, PaymentState};
use models::money::Currency;
use models::record::Record;
use models::ts::Ts;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Invoices of an operator that are remembered; those due first are forgotten first.
pub const INVOICES_MAX: usize = 4_096;
/// Payments of an invoice, and its versions, that are remembered.
pub const PAYMENTS_MAX: usize = 16;
/// Payments whose invoice nobody has heard of yet.
pub const ORPHANS_MAX: usize = 256;

/// A payment of an invoice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Paid {
    /// Digest of its reference.
    pub reference: u64,
    pub at: Ts,
    pub amount_minor: i64,
    pub currency: Currency,
    pub state: PaymentState,
    pub id: Box<str>,
}

impl Paid {
    fn is_there(&self, at: Ts) -> bool {
        self.state == PaymentState::Completed && self.at <= at
    }
}

/// An invoice with its payments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Due {
    /// Digest of its number alone.
    pub number: u64,
    pub tax: Option<String>,
    pub period: Option<(Ts, Ts)>,
    pub currency: Currency,
    pub amount_minor: i64,
    pub due_at: Option<Ts>,
    pub is_cancelled: bool,
    /// Of the newest version.
    pub said_at: Ts,
    pub id: Box<str>,
    /// What versions said was paid by then: each says more than those before it.
    pub said_paid: Vec<(Ts, i64)>,
    pub payments: Vec<Paid>,
}

impl Due {
    /// What was paid by a time, minor units: what the authority said, or the completed payments in the invoice's currency,
    /// whichever is more.
    #[must_use]
    pub fn paid_by(&self, at: Ts) -> i64 {
        let said = self.said_paid.iter().filter(|(when, _)| *when <= at).map(|(_, paid)| *paid).max().unwrap_or(0);
        let is_in = |paid: &&Paid| paid.is_there(at) && paid.currency == self.currency;
        let sum = self.payments.iter().filter(is_in).fold(0i64, |sum, paid| sum.saturating_add(paid.amount_minor));
        said.max(sum)
    }

    /// Was something of it paid by a time in another currency? What that is in the invoice's nobody says.
    #[must_use]
    pub fn is_paid_elsewise(&self, at: Ts) -> bool {
        self.payments.iter().any(|paid| paid.is_there(at) && paid.currency != self.currency)
    }

    /// A version says how much was paid by then; true where the oldest saying is one too many.
    fn say_paid(&mut self, at: Ts, paid_minor: i64) -> bool {
        if paid_minor <= 0 || self.said_paid.iter().any(|(when, paid)| *when <= at && *paid >= paid_minor) {
            return false;
        }
        // later ones that say no more say nothing new
        self.said_paid.retain(|(when, paid)| *when < at || *paid > paid_minor);
        let place = self.said_paid.partition_point(|(when, _)| *when <= at);
        self.said_paid.insert(place, (at, paid_minor));
        let is_full = self.said_paid.len() > PAYMENTS_MAX;
        if is_full {
            self.said_paid.remove(0);
        }
        is_full
    }

    /// When this much was paid.
    #[must_use]
    pub fn paid_at(&self, amount_minor: i64) -> Option<Ts> {
        let mut times: Vec<Ts> = self.said_paid.iter().map(|(at, _)| *at).collect();
        times.extend(self.payments.iter().map(|paid| paid.at));
        times.sort_unstable();
        times.into_iter().find(|at| self.paid_by(*at) >= amount_minor)
    }
}

/// Everything on paper.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Papers {
    /// What was said of licences.
    pub licences: Licences,
    /// By digest of authority and number.
    pub invoices: BTreeMap<u64, Due>,
    /// Digests of number and, where it is said, of authority and number.
    orphans: VecDeque<(u64, Option<u64>, Paid)>,
    /// Invoices and payments that were one too many.
    forgotten: u64,
}

fn invoice_key(authority: &str, number: &str) -> u64 {
    id_digest(&format!("{authority}\0{number}"))
}

impl Papers {
    /// Licences, invoices and payments that were one too many.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten + self.licences.forgotten
    }

    /// Takes an invoice in, or a version of it; gives its digest.
    pub fn invoice(&mut self, record: &Record, invoice: &Invoice) -> u64 {
        let key = invoice_key(&invoice.authority, &invoice.number);
        let number = id_digest(&invoice.number);
        let is_new = !self.invoices.contains_key(&key);
        let known = self.invoices.entry(key).or_insert_with(|| Due {
            number,
            tax: None,
            period: None,
            currency: record.currency,
            amount_minor: 0,
            due_at: None,
            is_cancelled: false,
            said_at: Ts(i64::MIN),
            id: record.record_id.as_str().into(),
            said_paid: Vec::new(),
            payments: Vec::new(),
        });
        if record.occurred_at >= known.said_at {
            known.tax.clone_from(&invoice.tax);
            known.period = invoice.period_from.zip(invoice.period_to);
            known.amount_minor = record.amount_minor;
            known.due_at = invoice.due_at;
            known.is_cancelled = invoice.state == InvoiceState::Cancelled;
            known.said_at = record.occurred_at;
            known.id = record.record_id.as_str().into();
        }
        // an authority that says it is paid need not say how much
        let paid_minor = match invoice.state {
            InvoiceState::Paid => invoice.paid_minor.max(record.amount_minor),
            _ => invoice.paid_minor,
        };
        self.forgotten += u64::from(known.say_paid(record.occurred_at, paid_minor));
        if is_new {
            let fits = |of: &(u64, Option<u64>, Paid)| of.1.map_or(of.0 == number, |of| of == key);
            let (mine, others): (Vec<_>, Vec<_>) = self.orphans.drain(..).partition(fits);
            self.orphans = others.into();
            for (_, _, paid) in mine {
                self.pay(key, paid);
            }
        }
        while self.invoices.len() > INVOICES_MAX {
            let oldest = self.invoices.iter().min_by_key(|(key, due)| (due.due_at, **key)).map(|(key, _)| *key);
            oldest.map(|key| self.invoices.remove(&key));
            self.forgotten += 1;
        }
        key
    }

    /// Takes a payment in; gives the invoice that it is for, where it is known.
    pub fn payment(&mut self, record: &Record, payment: &Payment) -> Option<u64> {
        let number = payment.invoice.as_ref()?;
        let (digest, exact) =
            (id_digest(number), payment.authority.as_ref().map(|authority| invoice_key(authority, number)));
        let paid = Paid {
            reference: id_digest(&payment.reference),
            at: record.occurred_at,
            amount_minor: record.amount_minor,
            currency: record.currency,
            state: payment.state,
            id: record.record_id.as_str().into(),
        };
        let key = match exact {
            Some(key) => self.invoices.contains_key(&key).then_some(key),
            None => self.invoices.iter().find(|(_, due)| due.number == digest).map(|(key, _)| *key),
        };
        if let Some(key) = key {
            self.pay(key, paid);
            return Some(key);
        }
        self.orphans.push_back((digest, exact, paid));
        if self.orphans.len() > ORPHANS_MAX {
            self.orphans.pop_front();
            self.forgotten += 1;
        }
        None
    }

    fn pay(&mut self, key: u64, paid: Paid) {
        let Some(due) = self.invoices.get_mut(&key) else { return };
        if let Some(known) = due.payments.iter_mut().find(|known| known.reference == paid.reference) {
            // the same said again later was not paid later
            if paid.state == known.state {
                known.at = known.at.min(paid.at);
            } else if paid.at >= known.at {
                *known = paid;
            }
            return;
        }
        due.payments.push(paid);
        if due.payments.len() > PAYMENTS_MAX {
            due.payments.remove(0);
            self.forgotten += 1;
        }
    }
}
