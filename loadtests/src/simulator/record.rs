//! What the simulated parties say: records in the canonical forms of the contract, written by hand from it.
//!
//! The engine's own types are not used on purpose: where the two disagree about the contract, a test of both fails.

use models::ts::Ts;
use serde::Serialize;
use serde_json::Value;

/// Class of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// What was played and moved.
    GamingTransactions,
    /// Tickets over the counter.
    SalesRedemptions,
    /// Accounts, sessions and limits.
    PlayerAccounts,
    /// Licences and how they are kept.
    Licences,
    /// What tax authorities ask for.
    Invoices,
    /// What they are paid.
    Payments,
    /// Lines of bank statements.
    BankStatements,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 7] = [
        Self::GamingTransactions,
        Self::SalesRedemptions,
        Self::PlayerAccounts,
        Self::Licences,
        Self::Invoices,
        Self::Payments,
        Self::BankStatements,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GamingTransactions => "gaming_transactions",
            Self::SalesRedemptions => "sales_redemptions",
            Self::PlayerAccounts => "player_accounts",
            Self::Licences => "licences",
            Self::Invoices => "invoices",
            Self::Payments => "payments",
            Self::BankStatements => "bank_statements",
        }
    }

    /// Who says it: the operator itself, or one of the authorities.
    pub fn authority(self) -> Option<&'static str> {
        match self {
            Self::GamingTransactions | Self::SalesRedemptions | Self::PlayerAccounts => None,
            Self::Licences => Some("licences"),
            Self::Invoices | Self::Payments => Some("tax"),
            Self::BankStatements => Some("bank"),
        }
    }
}

/// Who played.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Player {
    /// The operator's own number of the account.
    pub account_ref: String,
    /// Their phone, where the operator tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
}

/// An amount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Money {
    /// Minor units.
    pub amount_minor: i64,
    /// ISO 4217.
    pub currency: String,
}

/// A record. What is not there is not written.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs)] // named as in the contract
pub struct Record {
    pub record_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    pub kind: &'static str,
    pub occurred_at: Ts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub player: Option<Player>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance_after_minor: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlet_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminal_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub game: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bet: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence_status: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<Value>,
}

impl Record {
    /// One of which nothing is known but what and when.
    pub fn new(record_id: String, kind: &'static str, occurred_at: Ts) -> Self {
        Self {
            record_id,
            replaces: None,
            kind,
            occurred_at,
            status: None,
            player: None,
            money: None,
            balance_after_minor: None,
            product: None,
            channel: None,
            session_id: None,
            outlet_id: None,
            terminal_id: None,
            device_id: None,
            region: None,
            licence: None,
            game: None,
            bet: None,
            limit: None,
            payment: None,
            licence_status: None,
            invoice: None,
            bank: None,
            extra: None,
        }
    }

    /// Whether it went through.
    pub fn has_succeeded(&self) -> bool {
        self.status.is_none_or(|status| status == "successful")
    }

    /// Minor units, where it carries any and went through.
    pub fn moved_minor(&self) -> i64 {
        self.money.as_ref().filter(|_| self.has_succeeded()).map_or(0, |money| money.amount_minor)
    }

    /// One line of JSON.
    pub fn json(&self) -> String {
        // texts, numbers and objects of them: there is nothing that JSON cannot say
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A record that is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// Position of the operator that it is about.
    pub operator: usize,
    /// Class.
    pub class: Class,
    /// When it came to be; what it says of that itself may be wrong.
    pub at: Ts,
    /// The record.
    pub record: Record,
}

/// A question to the register.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ask {
    /// Code of the operator that asks.
    pub operator: String,
    /// When.
    pub at: Ts,
    /// About whom.
    pub phone: String,
    /// Why: `registration`, `login`, `marketing`.
    pub purpose: &'static str,
    /// Id of the record that it goes before.
    pub before: String,
}
