//! Classes of data: what a source sends, and which kinds of records belong to it.

use crate::record::{RecordKind, closed_set};
use serde::{Deserialize, Serialize};

closed_set!(
    /// The class of a source's data.
    DataClass {
        GamingTransactions = "gaming_transactions", SalesRedemptions = "sales_redemptions",
        PlayerAccounts = "player_accounts", Licences = "licences", Invoices = "invoices", Payments = "payments",
        BankStatements = "bank_statements",
    }
);

impl DataClass {
    /// Does a record of this kind belong to it? Gaming transactions take everything that players and operators do.
    pub fn takes(self, kind: RecordKind) -> bool {
        use RecordKind as K;
        match self {
            Self::GamingTransactions => !kind.is_document(),
            Self::SalesRedemptions => matches!(kind, K::TicketSale | K::Redemption | K::Void),
            Self::PlayerAccounts => matches!(
                kind,
                K::AccountOpened
                    | K::AccountClosed
                    | K::LimitChange
                    | K::Login
                    | K::SessionStart
                    | K::SessionEnd
                    | K::Intervention
                    | K::Complaint
                    | K::Marketing
            ),
            Self::Licences => kind == K::LicenceStatus,
            Self::Invoices => kind == K::Invoice,
            Self::Payments => kind == K::Payment,
            Self::BankStatements => kind == K::BankLine,
        }
    }

    /// Are its records documents of others, which no window, detector or national figure is made of? They are held against
    /// the operator, so none of its own keys brings them.
    pub fn is_documents(self) -> bool {
        matches!(self, Self::Licences | Self::Invoices | Self::Payments | Self::BankStatements)
    }

    /// How far back its records lie where nothing is said, days: play comes as it happens, an invoice of last year is
    /// still one.
    pub fn horizon_days(self) -> u16 {
        if self.is_documents() { 400 } else { 7 }
    }
}

/// The class of a source as it was told when it was made. Before there were seven it was any text, and everything was play.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum SourceClass {
    /// One of the seven.
    Of(DataClass),
    /// Another text, of an old journal.
    Other(String),
}

impl SourceClass {
    /// What it sends.
    pub fn data(&self) -> DataClass {
        match self {
            Self::Of(class) => *class,
            Self::Other(_) => DataClass::GamingTransactions,
        }
    }
}

impl From<DataClass> for SourceClass {
    fn from(class: DataClass) -> Self {
        Self::Of(class)
    }
}

impl From<String> for SourceClass {
    fn from(text: String) -> Self {
        DataClass::parse(&text).map_or(Self::Other(text), Self::Of)
    }
}

impl From<SourceClass> for String {
    fn from(class: SourceClass) -> Self {
        match class {
            SourceClass::Of(class) => class.as_str().to_owned(),
            SourceClass::Other(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_class_and_a_document_has_one_alone() {
        let mut documents = Vec::new();
        for kind in RecordKind::ALL.iter().copied() {
            let classes: Vec<&str> =
                DataClass::ALL.iter().filter(|class| class.takes(kind)).map(|class| class.as_str()).collect();
            if kind.is_document() {
                documents.push((kind.as_str(), classes));
            } else {
                assert_eq!(classes[0], "gaming_transactions", "{}", kind.as_str());
            }
        }
        let table = [
            ("licence_status", vec!["licences"]),
            ("invoice", vec!["invoices"]),
            ("payment", vec!["payments"]),
            ("bank_line", vec!["bank_statements"]),
        ];
        assert_eq!(documents, table);
        for class in DataClass::ALL {
            let taken: Vec<RecordKind> = RecordKind::ALL.iter().copied().filter(|kind| class.takes(*kind)).collect();
            assert!(!taken.is_empty() && taken.iter().all(|kind| kind.is_document() == class.is_documents()));
        }
    }

    #[test]
    fn a_retail_source_takes_no_login_and_a_bank_no_stake() {
        let table = [
            (DataClass::SalesRedemptions, RecordKind::TicketSale, true),
            (DataClass::SalesRedemptions, RecordKind::Stake, false),
            (DataClass::SalesRedemptions, RecordKind::Login, false),
            (DataClass::PlayerAccounts, RecordKind::LimitChange, true),
            (DataClass::PlayerAccounts, RecordKind::Deposit, false),
            (DataClass::BankStatements, RecordKind::Stake, false),
            (DataClass::GamingTransactions, RecordKind::BankLine, false),
        ];
        for (class, kind, wanted) in table {
            assert_eq!(class.takes(kind), wanted, "{} {}", class.as_str(), kind.as_str());
        }
    }
}
