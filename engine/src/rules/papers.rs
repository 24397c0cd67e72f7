//! Licences, invoices and payments, as authorities and banks said them.

use crate::ingest::id_digest;
use models::document_records::{
    Compliance, Invoice, InvoiceState, LicenceStanding, LicenceStatus, Payment, PaymentState,
};
use models::record::{Product, Record};
use models::ts::Ts;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Licences of an operator that are remembered.
pub const LICENCES_MAX: usize = 64;
/// What was said of a licence that is remembered, the newest.
pub const SAYINGS_MAX: usize = 8;
/// Invoices of an operator that are remembered; those due first are forgotten first.
pub const INVOICES_MAX: usize = 4_096;
/// Payments of an invoice, and its versions, that are remembered.
pub const PAYMENTS_MAX: usize = 16;
/// Payments whose invoice nobody has heard of yet.
pub const ORPHANS_MAX: usize = 256;

/// What an authority said of a licence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Saying {
    pub at: Ts,
    pub standing: LicenceStanding,
    pub compliance: Compliance,
    pub valid_from: Option<Ts>,
    pub valid_to: Option<Ts>,
    /// A bit each; 0 = every product.
    pub products: u16,
    /// It names products that nobody knows: then it says nothing of those it does not name.
    pub is_open: bool,
    pub conditions: Vec<String>,
    pub id: Box<str>,
}

impl Saying {
    fn of(record: &Record, status: &LicenceStatus) -> Self {
        let products = status.products.iter().map(|name| Product::parse(&name.to_ascii_lowercase()));
        let bits = products.clone().flatten().fold(0, |bits, product| bits | 1 << product.code());
        Self {
            at: record.occurred_at,
            standing: status.state,
            compliance: status.compliance,
            valid_from: status.valid_from,
            valid_to: status.valid_to,
            products: bits,
            is_open: products.clone().any(|product| product.is_none()),
            conditions: status.conditions.clone(),
            id: record.record_id.as_str().into(),
        }
    }

    /// Does it name the product, or none at all?
    #[must_use]
    pub fn names(&self, product: Option<Product>) -> bool {
        self.is_open || self.products == 0 || product.is_none_or(|product| self.products & (1 << product.code()) != 0)
    }
}

/// A licence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Licence {
    /// What was said of it, oldest first.
    pub sayings: Vec<Saying>,
}

impl Licence {
    /// What held at a time.
    #[must_use]
    pub fn at(&self, at: Ts) -> Option<&Saying> {
        self.sayings.iter().rev().find(|saying| saying.at <= at)
    }
}

/// Why a bet is under no licence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Breach {
    Suspended,
    Revoked,
    Pending,
    Expired,
    NotYetValid,
    ProductNotLicensed,
}

/// A payment of an invoice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Paid {
    /// Digest of its reference.
    pub reference: u64,
    pub at: Ts,
    pub amount_minor: i64,
    pub state: PaymentState,
    pub id: Box<str>,
}

/// An invoice with its payments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Due {
    /// Digest of its number alone.
    pub number: u64,
    pub tax: Option<String>,
    pub period: Option<(Ts, Ts)>,
    pub currency: models::money::Currency,
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
    /// What was paid by a time, minor units: what the authority said, or the completed payments, whichever is more.
    #[must_use]
    pub fn paid_by(&self, at: Ts) -> i64 {
        let said = self.said_paid.iter().filter(|(when, _)| *when <= at).map(|(_, paid)| *paid).max().unwrap_or(0);
        let is_in = |paid: &&Paid| paid.state == PaymentState::Completed && paid.at <= at;
        let sum = self.payments.iter().filter(is_in).fold(0i64, |sum, paid| sum.saturating_add(paid.amount_minor));
        said.max(sum)
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
    /// By digest of the number.
    pub licences: BTreeMap<u64, Licence>,
    /// By digest of authority and number.
    pub invoices: BTreeMap<u64, Due>,
    /// Digests of number and, where it is said, of authority and number.
    orphans: VecDeque<(u64, Option<u64>, Paid)>,
    /// Licences, invoices and payments that were one too many.
    pub forgotten: u64,
}

fn invoice_key(authority: &str, number: &str) -> u64 {
    id_digest(&format!("{authority}\0{number}"))
}

impl Papers {
    /// Takes a licence's status in; gives its digest.
    pub fn licence(&mut self, record: &Record, status: &LicenceStatus) -> u64 {
        let key = id_digest(&status.number);
        if !self.licences.contains_key(&key) && self.licences.len() >= LICENCES_MAX {
            let newest = |licence: &Licence| licence.sayings.last().map(|saying| saying.at);
            let oldest =
                self.licences.iter().min_by_key(|(key, licence)| (newest(licence), **key)).map(|(key, _)| *key);
            oldest.map(|key| self.licences.remove(&key));
            self.forgotten += 1;
        }
        let sayings = &mut self.licences.entry(key).or_default().sayings;
        if let Some(replaced) = &record.replaces {
            sayings.retain(|saying| *saying.id != **replaced);
        }
        let place = sayings.partition_point(|saying| saying.at <= record.occurred_at);
        sayings.insert(place, Saying::of(record, status));
        if sayings.len() > SAYINGS_MAX {
            sayings.remove(0);
        }
        key
    }

    /// Under which breach a bet would be placed; none where a licence covers it, or nobody ever heard of a licence that
    /// was there by then.
    #[must_use]
    pub fn breach(&self, at: Ts, product: Option<Product>) -> Option<(u64, Breach)> {
        let mut found = None;
        for (key, licence) in &self.licences {
            let Some(saying) = licence.at(at) else { continue };
            let breach = match saying.standing {
                LicenceStanding::Suspended => Breach::Suspended,
                LicenceStanding::Revoked => Breach::Revoked,
                LicenceStanding::Expired => Breach::Expired,
                LicenceStanding::Pending => Breach::Pending,
                LicenceStanding::Active if saying.valid_to.is_some_and(|to| at >= to) => Breach::Expired,
                LicenceStanding::Active if saying.valid_from.is_some_and(|from| at < from) => Breach::NotYetValid,
                LicenceStanding::Active if !saying.names(product) => Breach::ProductNotLicensed,
                LicenceStanding::Active => return None,
            };
            // the licence that the bet would have been under says more than one for another product
            let is_nearer = found.is_none_or(|(_, was)| was == Breach::ProductNotLicensed) && saying.names(product);
            if found.is_none() || is_nearer {
                found = Some((*key, breach));
            }
        }
        found
    }

    /// Texts of the conditions that hold at a time, with their licence.
    pub fn conditions(&self, at: Ts) -> impl Iterator<Item = (u64, &String)> {
        let sayings = self.licences.iter().filter_map(move |(key, licence)| Some((*key, licence.at(at)?)));
        sayings.flat_map(|(key, saying)| saying.conditions.iter().map(move |text| (key, text)))
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
