//! The canonical record of a feed: its wire shape (API.md, "Feeds from operators") and the validated one.
//!
//! A wire record borrows from the request body. A [`Record`] holds no raw identity: player, device and
//! account are keyed digests made on receipt.

use crate::match_key::MatchKey;
use crate::money::Currency;
use crate::ts::Ts;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Most records in one push.
pub const BATCH_RECORDS_MAX: usize = 5_000;
/// Longest text of one field, bytes.
pub const TEXT_BYTES_MAX: usize = 128;
/// Largest `extra` object of a record, bytes.
pub const EXTRA_BYTES_MAX: usize = 4_096;

macro_rules! closed_set {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[allow(missing_docs)]
        pub enum $name { $(#[serde(rename = $text)] $variant),+ }

        impl $name {
            /// Every value, in the order of its storage codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The wire name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The value of this wire name.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }

            /// Stable number for storage, from 0.
            pub fn code(self) -> i16 {
                self as i16
            }

            /// The value with this number.
            pub fn from_code(code: i16) -> Option<Self> {
                Self::ALL.get(usize::try_from(code).ok()?).copied()
            }
        }
    };
}
pub(crate) use closed_set;

closed_set!(
    /// What happened. New kinds are appended: the position is stored.
    RecordKind {
        Stake = "stake", Payout = "payout", Void = "void", CashOut = "cash_out", Deposit = "deposit",
        Withdrawal = "withdrawal", Bonus = "bonus", Adjustment = "adjustment", TicketSale = "ticket_sale",
        Redemption = "redemption", SessionStart = "session_start", SessionEnd = "session_end", Login = "login",
        LimitChange = "limit_change", Intervention = "intervention", Complaint = "complaint",
        AccountOpened = "account_opened", AccountClosed = "account_closed",
    }
);

impl RecordKind {
    /// Kinds that make no sense without an amount.
    pub fn needs_money(self) -> bool {
        matches!(
            self,
            Self::Stake
                | Self::Payout
                | Self::Void
                | Self::CashOut
                | Self::Deposit
                | Self::Withdrawal
                | Self::Bonus
                | Self::Adjustment
                | Self::TicketSale
                | Self::Redemption
        )
    }

    /// Only an adjustment carries its own sign; everything else is an amount, not a direction.
    pub fn may_be_negative(self) -> bool {
        self == Self::Adjustment
    }
}

closed_set!(
    /// Whether it went through.
    RecordStatus { Successful = "successful", Failed = "failed", Cancelled = "cancelled" }
);
closed_set!(
    /// What was played.
    Product {
        Sportsbook = "sportsbook", Casino = "casino", Lottery = "lottery", Virtual = "virtual", Poker = "poker",
        Crash = "crash", Slots = "slots", Other = "other",
    }
);
closed_set!(
    /// How it was played.
    PlayChannel { Online = "online", Retail = "retail", Ussd = "ussd" }
);

/// The wire shape. Unknown fields are kept in `extra` by the reader; absent ones are null.
#[derive(Debug, Default, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct WireRecord<'a> {
    #[serde(borrow, default)]
    pub record_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub replaces: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub occurred_at: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub status: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub player: Option<WirePlayer<'a>>,
    #[serde(borrow, default)]
    pub money: Option<WireMoney<'a>>,
    #[serde(default)]
    pub balance_after_minor: Option<i64>,
    #[serde(borrow, default)]
    pub product: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub game: Option<WireGame<'a>>,
    #[serde(borrow, default)]
    pub bet: Option<WireBet<'a>>,
    #[serde(borrow, default)]
    pub session_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub limit: Option<WireLimit<'a>>,
    #[serde(borrow, default)]
    pub licence: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub channel: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub outlet_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub terminal_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub device_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub region: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub payment: Option<WirePayment<'a>>,
    /// Free data of the operator; unknown fields of the record land here too.
    #[serde(default, flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// Who played: a token, or identity resolved on receipt, or the operator's own account number.
#[derive(Debug, Default, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct WirePlayer<'a> {
    #[serde(borrow, default)]
    pub bst: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub phone: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub id_number: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub id_type: Option<Cow<'a, str>>,
    /// The operator's own name or number of the account: digested, joins only within the operator.
    #[serde(borrow, default)]
    pub account_ref: Option<Cow<'a, str>>,
}

#[derive(Debug, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct WireMoney<'a> {
    pub amount_minor: i64,
    #[serde(borrow)]
    pub currency: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct WireGame<'a> {
    #[serde(borrow, default)]
    pub id: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "type")]
    pub kind: Option<Cow<'a, str>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct WireBet<'a> {
    #[serde(borrow, default)]
    pub id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub settles: Option<Cow<'a, str>>,
    #[serde(default)]
    pub parts: Option<i32>,
    #[serde(default)]
    pub odds: Option<f64>,
    #[serde(default)]
    pub live: Option<bool>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct WireLimit<'a> {
    #[serde(borrow, default, rename = "type")]
    pub kind: Option<Cow<'a, str>>,
    #[serde(default)]
    pub old_minor: Option<i64>,
    #[serde(default)]
    pub new_minor: Option<i64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct WirePayment<'a> {
    #[serde(borrow, default)]
    pub method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub account: Option<Cow<'a, str>>,
}

/// A validated record, as windows, rules and storage see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The operator's id of the record, unique in its source.
    pub record_id: String,
    /// The id of the record this one replaces.
    pub replaces: Option<String>,
    /// What happened.
    pub kind: RecordKind,
    /// When, by the operator's clock.
    pub occurred_at: Ts,
    /// Whether it went through.
    pub status: RecordStatus,
    /// Keyed digest of the player (register family where phone, document or token was given; else of the
    /// operator's account number).
    pub player: Option<MatchKey>,
    /// Minor units; 0 where the kind carries none.
    pub amount_minor: i64,
    /// Currency of the amount (the jurisdiction's where the kind carries none).
    pub currency: Currency,
    /// Balance afterwards, minor units.
    pub balance_after_minor: Option<i64>,
    /// What was played.
    pub product: Option<Product>,
    /// How.
    pub channel: Option<PlayChannel>,
    /// Bet id.
    pub bet_id: Option<String>,
    /// Session id.
    pub session_id: Option<String>,
    /// Region code.
    pub region: Option<String>,
    /// Keyed digest of the device.
    pub device: Option<MatchKey>,
    /// Keyed digest of the payment account.
    pub account: Option<MatchKey>,
    /// JSON object of the remaining fields of the contract and of `extra`, or empty.
    pub detail: String,
    /// First 64 bits of SHA-256 of the record id.
    pub id_digest: u64,
    /// First 32 bits of SHA-256 of the canonical content: same id, other content = conflict.
    pub content_digest: u32,
}

/// Why a record was not stored. Closed set: it is a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum QuarantineCode {
    Unreadable,
    Encoding,
    MissingField,
    InvalidField,
    TooLarge,
    SignMismatch,
    BehindHorizon,
    InTheFuture,
    UnknownPlayer,
    Conflict,
    SumMismatch,
    DeadLetter,
}

impl QuarantineCode {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Encoding => "encoding",
            Self::MissingField => "missing_field",
            Self::InvalidField => "invalid_field",
            Self::TooLarge => "too_large",
            Self::SignMismatch => "sign_mismatch",
            Self::BehindHorizon => "behind_horizon",
            Self::InTheFuture => "in_the_future",
            Self::UnknownPlayer => "unknown_player",
            Self::Conflict => "conflict",
            Self::SumMismatch => "sum_mismatch",
            Self::DeadLetter => "dead_letter",
        }
    }
}

/// One refused record: position in the push, code and a sentence without personal data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Position in the push, from 0.
    pub index: u32,
    /// Why.
    pub code: QuarantineCode,
    /// Which field, and what is wrong with it; never the value.
    pub detail: String,
}
