//! Operators, their licences and their API keys.

use crate::ids::{KeyId, LicenceId, OperatorId, OperatorNo};
use crate::jurisdiction::JurisdictionNo;
use crate::lookup::Purpose;
use crate::record::{PlayChannel, Product};
use crate::ts::{Ts, micros};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A gambling operator under supervision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operator {
    /// Internal number.
    pub operator_no: OperatorNo,
    /// Public id.
    pub id: OperatorId,
    /// Short stable code, `[a-z0-9-]{2,40}`, unique: what alerts and files name an operator by.
    pub code: String,
    /// Name for people.
    pub name: String,
    /// Whose law binds it.
    pub jurisdiction: JurisdictionNo,
    /// Trading or not.
    pub state: OperatorState,
    /// When it was registered.
    #[serde(with = "micros")]
    pub registered_at: Ts,
    /// Grows with each change: the `ETag`.
    pub version: u32,
}

/// Whether an operator may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum OperatorState {
    Active,
    Suspended,
    Closed,
}

/// State of a licence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum LicenceState {
    Active,
    Suspended,
    Revoked,
    Expired,
}

/// What a licence says that a product gives back to players.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicensedReturn {
    /// Return to player, parts per million of stakes.
    pub return_ppm: i64,
    /// The largest win, as a multiple of the stake; none = it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple_max: Option<i64>,
}

impl LicensedReturn {
    /// Parts per million that a licence may say: below one per cent somebody has written per cent.
    pub const RETURN_PPM: RangeInclusive<i64> = 10_000..=1_000_000;
    /// Largest wins that a licence may say, multiples of the stake.
    pub const MULTIPLE_MAX: RangeInclusive<i64> = 1..=10_000_000;
}

/// A licence: effective-dated, one row for each licence of an operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Licence {
    /// Public id.
    pub id: LicenceId,
    /// Who holds it.
    pub operator_no: OperatorNo,
    /// Number as the licence authority prints it.
    pub number: String,
    /// Class, e.g. `online_betting`.
    pub class: String,
    /// Where it is valid.
    pub jurisdiction: JurisdictionNo,
    /// Products it covers.
    pub products: Vec<String>,
    /// Conditions, as text.
    pub conditions: Vec<String>,
    /// Channels over which it may be played; none named = every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<PlayChannel>,
    /// What products give back to players; of others it says nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub return_to_player: BTreeMap<Product, LicensedReturn>,
    /// First instant of validity.
    #[serde(with = "micros")]
    pub valid_from: Ts,
    /// First instant after it; none = open.
    #[serde(with = "micros::option")]
    pub valid_to: Option<Ts>,
    /// State.
    pub state: LicenceState,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Single lookups.
    #[serde(rename = "lookup")]
    Lookup,
    /// Batches of lookups.
    #[serde(rename = "lookup:batch")]
    LookupBatch,
    /// Replace a compromised token.
    #[serde(rename = "bst:rotate")]
    BstRotate,
    /// Push records into the operator's own sources.
    #[serde(rename = "feeds:write")]
    FeedsWrite,
    /// Create sources, list quarantine.
    #[serde(rename = "feeds:manage")]
    FeedsManage,
    /// Report an exclusion.
    #[serde(rename = "register:report")]
    RegisterReport,
    /// Register, extend and read exclusions (regulator and citizen services).
    #[serde(rename = "register:write")]
    RegisterWrite,
    /// Risk level in answers.
    #[serde(rename = "risk:read")]
    RiskRead,
    /// Configure webhooks.
    #[serde(rename = "webhooks:manage")]
    WebhooksManage,
    /// Register operators, licences and keys.
    #[serde(rename = "operators:manage")]
    OperatorsManage,
    /// Read the live topics and alerts of every operator of the jurisdiction.
    #[serde(rename = "market:read")]
    MarketRead,
    /// Work on alerts: acknowledge, snooze, resolve, silence.
    #[serde(rename = "alerts:manage")]
    AlertsManage,
    /// Propose, try, promote and take back versions of rules.
    #[serde(rename = "rules:manage")]
    RulesManage,
    /// Read the state of the engine.
    #[serde(rename = "system:read")]
    SystemRead,
    /// Release quarantined actors.
    #[serde(rename = "system:manage")]
    SystemManage,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 15] = [
        Self::Lookup,
        Self::LookupBatch,
        Self::BstRotate,
        Self::FeedsWrite,
        Self::FeedsManage,
        Self::RegisterReport,
        Self::RegisterWrite,
        Self::RiskRead,
        Self::WebhooksManage,
        Self::OperatorsManage,
        Self::MarketRead,
        Self::AlertsManage,
        Self::RulesManage,
        Self::SystemRead,
        Self::SystemManage,
    ];

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::LookupBatch => "lookup:batch",
            Self::BstRotate => "bst:rotate",
            Self::FeedsWrite => "feeds:write",
            Self::FeedsManage => "feeds:manage",
            Self::RegisterReport => "register:report",
            Self::RegisterWrite => "register:write",
            Self::RiskRead => "risk:read",
            Self::WebhooksManage => "webhooks:manage",
            Self::OperatorsManage => "operators:manage",
            Self::MarketRead => "market:read",
            Self::AlertsManage => "alerts:manage",
            Self::RulesManage => "rules:manage",
            Self::SystemRead => "system:read",
            Self::SystemManage => "system:manage",
        }
    }

    /// The scope of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }

    /// May a key that belongs to an operator hold it? The others are for staff and tools.
    pub fn for_operators(self) -> bool {
        !matches!(
            self,
            Self::RegisterWrite
                | Self::OperatorsManage
                | Self::MarketRead
                | Self::AlertsManage
                | Self::RulesManage
                | Self::SystemRead
                | Self::SystemManage
        )
    }
}

/// An API key as stored and journaled: the secret itself is nowhere, only its SHA-256.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Public id, part of the bearer token.
    pub id: KeyId,
    /// The tenant; none for staff and tools of the regulator.
    pub operator_no: Option<OperatorNo>,
    /// The jurisdiction of every call made with it.
    pub jurisdiction: JurisdictionNo,
    /// Name for people.
    pub label: String,
    /// Lower-case hex SHA-256 of the secret.
    pub secret_sha256: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Purposes it may look up for; empty = all.
    pub purposes: Vec<Purpose>,
    /// Networks it may call from, CIDR text; empty = any.
    pub allow_from: Vec<String>,
    /// Requests a second; the burst is the same number.
    pub rate_per_second: u32,
    /// When it was made.
    #[serde(with = "micros")]
    pub created_at: Ts,
    /// First instant at which it is dead.
    #[serde(with = "micros::option")]
    pub expires_at: Option<Ts>,
    /// Set by revocation.
    #[serde(with = "micros::option")]
    pub revoked_at: Option<Ts>,
    /// The key it follows, after a rotation.
    pub rotated_from: Option<KeyId>,
}

impl ApiKey {
    /// Has the key the scope? A scope for staff on a key of an operator counts for nothing.
    #[must_use]
    pub fn holds(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) && (self.operator_no.is_none() || scope.for_operators())
    }

    /// Does the key live at `now`?
    pub fn is_live(&self, now: Ts) -> bool {
        self.revoked_at.is_none_or(|at| now < at) && self.expires_at.is_none_or(|at| now < at)
    }
}
