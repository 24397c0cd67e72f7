//! Records that are documents of others: licences, invoices, payments, lines of bank statements.
//!
//! A document lies as one JSON member in its record's `detail`, so that it is digested, stored and replayed with the
//! record, and the records of play carry nothing for it. Whoever needs it reads it back with [`Detail::of`].

use crate::operator::{LicenceState, LicensedReturn};
use crate::record::{PlayChannel, Product, Record, closed_set};
use crate::ts::Ts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Items of a list of a document at most.
pub const LIST_ITEMS_MAX: usize = 32;

closed_set!(
    /// Whether a licence may be used.
    LicenceStanding {
        Active = "active", Suspended = "suspended", Revoked = "revoked", Expired = "expired", Pending = "pending",
    }
);
impl From<LicenceState> for LicenceStanding {
    fn from(state: LicenceState) -> Self {
        match state {
            LicenceState::Active => Self::Active,
            LicenceState::Suspended => Self::Suspended,
            LicenceState::Revoked => Self::Revoked,
            LicenceState::Expired => Self::Expired,
        }
    }
}

closed_set!(
    /// What the authority says of how its holder keeps to it.
    Compliance {
        Compliant = "compliant", NonCompliant = "non_compliant", UnderReview = "under_review", Unknown = "unknown",
    }
);
closed_set!(
    /// How far an invoice is paid.
    InvoiceState {
        Issued = "issued", PartPaid = "part_paid", Paid = "paid", Overdue = "overdue", Cancelled = "cancelled",
    }
);
closed_set!(
    /// How far a payment has come.
    PaymentState { Pending = "pending", Completed = "completed", Failed = "failed", Reversed = "reversed" }
);
closed_set!(
    /// Which way money went, as the account's holder sees it: the amount itself has no sign.
    Direction { Credit = "credit", Debit = "debit" }
);

/// What a licence authority says of a licence at the record's `occurred_at`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct LicenceStatus {
    /// As the authority prints it.
    pub number: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence_class: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub products: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Ts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Ts>,
    pub state: LicenceStanding,
    pub compliance: Compliance,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
    /// Channels over which it may be played, every one where the list is empty; none = nothing is said of them, and what
    /// was said before holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<PlayChannel>>,
    /// What products give back to players; none as with channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_to_player: Option<BTreeMap<Product, LicensedReturn>>,
}

/// What a tax authority asks for. The amount due is the record's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Invoice {
    /// Unique within the authority.
    pub number: String,
    pub authority: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jurisdiction: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_from: Option<Ts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_to: Option<Ts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Ts>,
    pub state: InvoiceState,
    /// Minor units of the record's currency.
    pub paid_minor: i64,
}

/// A payment to an authority or a supplier. The amount and the account's digest are the record's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Payment {
    /// Unique within the operator.
    pub reference: String,
    /// Number of the invoice it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    pub state: PaymentState,
}

/// A line of a bank statement. Amount, balance afterwards and the account's digest are the record's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct BankLine {
    /// Unique within the account.
    pub statement: String,
    /// Position in the statement.
    pub line: u32,
    pub direction: Direction,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_date: Option<Ts>,
    /// `digest:` and the keyed digest of who was on the other side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counterparty: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Document {
    LicenceStatus(LicenceStatus),
    Invoice(Invoice),
    Payment(Payment),
    BankLine(BankLine),
}

impl Document {
    /// The name of its object on the wire, and of its member in a record's `detail`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LicenceStatus(_) => "licence_status",
            Self::Invoice(_) => "invoice",
            Self::Payment(_) => "payment",
            Self::BankLine(_) => "bank",
        }
    }

    /// Its JSON: members in a fixed order.
    pub fn to_json(&self) -> String {
        let json = match self {
            Self::LicenceStatus(document) => serde_json::to_string(document),
            Self::Invoice(document) => serde_json::to_string(document),
            Self::Payment(document) => serde_json::to_string(document),
            Self::BankLine(document) => serde_json::to_string(document),
        };
        // structs of texts, numbers and lists of texts: writing them cannot fail
        json.unwrap_or_default()
    }
}

/// What tables of the classes need of a record's `detail`; everything else in it is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Detail {
    pub outlet_id: Option<String>,
    #[serde(rename = "limit.type")]
    pub limit_type: Option<String>,
    #[serde(rename = "limit.new_minor")]
    pub limit_new_minor: Option<i64>,
    #[serde(rename = "payment.method")]
    pub payment_method: Option<String>,
    pub licence_status: Option<LicenceStatus>,
    pub invoice: Option<Invoice>,
    pub payment: Option<Payment>,
    pub bank: Option<BankLine>,
}

impl Detail {
    /// Reads it.
    ///
    /// # Errors
    /// Where the text is not what validation has written.
    pub fn of(record: &Record) -> Result<Self, serde_json::Error> {
        if record.detail.is_empty() { Ok(Self::default()) } else { serde_json::from_str(&record.detail) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_back_from_the_detail_it_was_written_into() {
        let at = Ts::parse("2026-11-20T00:00:00Z").unwrap();
        let documents = [
            Document::LicenceStatus(LicenceStatus {
                number: "BCLB-0417".to_owned(),
                licence_class: None,
                products: vec!["sportsbook".to_owned()],
                valid_from: Some(at),
                valid_to: None,
                state: LicenceStanding::Pending,
                compliance: Compliance::UnderReview,
                conditions: Vec::new(),
                channels: Some(vec![PlayChannel::Online]),
                return_to_player: Some(BTreeMap::from([
                    (Product::Slots, LicensedReturn { return_ppm: 940_000, multiple_max: None }),
                    (Product::Poker, LicensedReturn { return_ppm: 970_000, multiple_max: Some(5_000) }),
                ])),
            }),
            Document::Invoice(Invoice {
                number: "1".to_owned(),
                authority: "FIRS".to_owned(),
                tax: None,
                jurisdiction: None,
                period_from: None,
                period_to: None,
                due_at: Some(at),
                state: InvoiceState::PartPaid,
                paid_minor: 5,
            }),
            Document::Payment(Payment {
                reference: "T\"1".to_owned(),
                invoice: None,
                authority: None,
                state: PaymentState::Reversed,
            }),
            Document::BankLine(BankLine {
                statement: "2026-11-20".to_owned(),
                line: 12,
                direction: Direction::Debit,
                value_date: Some(at),
                counterparty: None,
                reference: Some("PAYOUT 77".to_owned()),
            }),
        ];
        for document in documents {
            let text = format!("{{\"{}\":{},\"extra\":{{\"x\":1}}}}", document.name(), document.to_json());
            let read: Detail = serde_json::from_str(&text).unwrap();
            let found = read.licence_status.map(Document::LicenceStatus);
            let found = found.or(read.invoice.map(Document::Invoice)).or(read.payment.map(Document::Payment));
            assert_eq!(found.or(read.bank.map(Document::BankLine)), Some(document), "{text}");
        }
    }
}
