//! The answer an operator gets: status by purpose becomes a decision.

use crate::exclusion::Status;
use serde::{Deserialize, Serialize};

/// Why the operator asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Purpose {
    Registration,
    Login,
    Bet,
    Deposit,
    Withdrawal,
    Marketing,
    Sweep,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 7] =
        [Self::Registration, Self::Login, Self::Bet, Self::Deposit, Self::Withdrawal, Self::Marketing, Self::Sweep];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Login => "login",
            Self::Bet => "bet",
            Self::Deposit => "deposit",
            Self::Withdrawal => "withdrawal",
            Self::Marketing => "marketing",
            Self::Sweep => "sweep",
        }
    }

    /// A degraded node does not answer these.
    pub fn needs_a_fresh_node(self) -> bool {
        matches!(self, Self::Registration | Self::Marketing)
    }
}

/// What the operator does. Only the exact word `allow` lets it proceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Decision {
    Allow,
    Hold,
    Block,
}

impl Decision {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Hold => "hold",
            Self::Block => "block",
        }
    }
}

/// The default decision table of the contract.
pub fn decide(status: Status, purpose: Purpose) -> Decision {
    use Decision::{Allow, Block, Hold};
    match (status, purpose) {
        (Status::NotExcluded, _) => Allow,
        (Status::PreviouslyExcluded, Purpose::Marketing) => Block,
        (Status::PreviouslyExcluded, _) => Allow,
        (Status::Review, Purpose::Registration | Purpose::Sweep) => Hold,
        (Status::Review, Purpose::Marketing) => Block,
        (Status::Review, _) => Allow,
        (Status::Excluded, Purpose::Withdrawal) => Allow,
        (Status::Excluded, _) => Block,
    }
}

/// How sure the match is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchGrade {
    /// No key is known.
    None,
    /// By phone alone, with a different document of the same type on record.
    Possible,
    /// By phone or token of a phone.
    Strong,
    /// By document.
    Exact,
}

impl MatchGrade {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Possible => "possible",
            Self::Strong => "strong",
            Self::Exact => "exact",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_contract() {
        let columns = ["registration", "login", "bet", "deposit", "withdrawal", "marketing", "sweep"];
        let rows = [
            (Status::NotExcluded, ["allow", "allow", "allow", "allow", "allow", "allow", "allow"]),
            (Status::PreviouslyExcluded, ["allow", "allow", "allow", "allow", "allow", "block", "allow"]),
            (Status::Review, ["hold", "allow", "allow", "allow", "allow", "block", "hold"]),
            (Status::Excluded, ["block", "block", "block", "block", "allow", "block", "block"]),
        ];
        for (status, decisions) in rows {
            for (purpose, (name, want)) in Purpose::ALL.into_iter().zip(columns.into_iter().zip(decisions)) {
                assert_eq!(purpose.as_str(), name);
                assert_eq!(decide(status, purpose).as_str(), want, "{} {name}", status.as_str());
            }
        }
    }
}
