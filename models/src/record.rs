//! The canonical record of a feed: its wire shape and the validated one.
//!
//! A wire record borrows from the request body. A [`Record`] holds no raw identity: player, device and
//! account are keyed digests made on receipt.

use crate::match_key::MatchKey;
use crate::money::Currency;
use crate::ts::Ts;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Most records in one push.
pub const BATCH_RECORDS_MAX: usize = 5_000;
/// Longest text of one field, bytes.
pub const TEXT_BYTES_MAX: usize = 128;
/// Largest `extra` object of a record, bytes.
pub const EXTRA_BYTES_MAX: usize = 4_096;

macro_rules! closed_set {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[allow(missing_docs)]
        pub enum $name { $($(#[$about])* #[serde(rename = $text)] $variant),+ }

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
        AccountOpened = "account_opened", AccountClosed = "account_closed", LicenceStatus = "licence_status",
        Invoice = "invoice", Payment = "payment", BankLine = "bank_line", Marketing = "marketing",
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
                | Self::Invoice
                | Self::Payment
                | Self::BankLine
        )
    }

    /// A document of an authority, a tax office or a bank: no play, and no money of players.
    pub fn is_document(self) -> bool {
        matches!(self, Self::LicenceStatus | Self::Invoice | Self::Payment | Self::BankLine)
    }

    /// Does it belong to what was played and by how many? A message to a hundred thousand people is no crowd of players.
    pub fn is_play(self) -> bool {
        !self.is_document() && self != Self::Marketing
    }

    /// Only an adjustment carries its own sign; everything else is an amount, not a direction.
    pub fn may_be_negative(self) -> bool {
        self == Self::Adjustment
    }
}

/// What the type of a limit begins with where it is a break from play: its letters and digits alone.
const BREAKS: [&str; 5] = ["timeout", "break", "takeabreak", "cooloff", "coolingoff"];

/// Does a limit of this type stop play for a while, rather than bound an amount: `time_out`, `Cooling-off 24 hours`?
#[must_use]
pub fn is_break(limit_type: &str) -> bool {
    BREAKS.iter().any(|begin| begins(limit_type, begin))
}

/// Is a limit of this type an exclusion, of which the register has to be told: `self_exclusion`, `Excluded 6 months`? Not where
/// it says what is excluded, such as `excluded_games`.
#[must_use]
pub fn is_exclusion(limit_type: &str) -> bool {
    let lower = limit_type.to_ascii_lowercase();
    let mut words = lower.split(|other: char| !other.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let is_span = |word: &str| word.starts_with(|first: char| first.is_ascii_digit()) || SPANS.contains(&word);
    begins(&lower, "selfexclu") || words.next().is_some_and(|word| EXCLUSIONS.contains(&word)) && words.all(is_span)
}

/// Words for an exclusion from all play.
const EXCLUSIONS: [&str; 3] = ["exclusion", "excluded", "exclude"];
/// What an exclusion lasts for, beside numbers.
const SPANS: [&str; 16] = [
    "hour",
    "hours",
    "day",
    "days",
    "week",
    "weeks",
    "month",
    "months",
    "year",
    "years",
    "for",
    "permanent",
    "permanently",
    "indefinite",
    "indefinitely",
    "lifetime",
];

fn begins(limit_type: &str, begin: &str) -> bool {
    let plain = limit_type.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase());
    plain.take(begin.len()).eq(begin.bytes())
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

/// Text of a wire record: borrowed from the body unless it holds escapes. (`Option<Cow<str>>` never borrows in
/// serde, hence a type of our own.)
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text<'a>(pub Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> de::Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        d.deserialize_str(TextVisitor)
    }
}

/// The wire shape; absent fields are null. Fields that the contract does not know are kept in `extra`.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct WireRecord<'a> {
    pub record_id: Option<Text<'a>>,
    pub replaces: Option<Text<'a>>,
    pub kind: Option<Text<'a>>,
    pub occurred_at: Option<Text<'a>>,
    pub status: Option<Text<'a>>,
    pub player: Option<WirePlayer<'a>>,
    pub money: Option<WireMoney<'a>>,
    pub balance_after_minor: Option<i64>,
    pub product: Option<Text<'a>>,
    pub game: Option<WireGame<'a>>,
    pub bet: Option<WireBet<'a>>,
    pub session_id: Option<Text<'a>>,
    pub limit: Option<WireLimit<'a>>,
    pub licence: Option<Text<'a>>,
    pub channel: Option<Text<'a>>,
    pub outlet_id: Option<Text<'a>>,
    pub terminal_id: Option<Text<'a>>,
    pub device_id: Option<Text<'a>>,
    pub region: Option<Text<'a>>,
    pub payment: Option<WirePayment<'a>>,
    /// What documents hold stays as it came: a record of play may use these names for something of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence_status: Option<Box<serde_json::Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoice: Option<Box<serde_json::Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank: Option<Box<serde_json::Value>>,
    pub extra: BTreeMap<String, serde_json::Value>,
}

// By hand, because serde's `flatten` buffers every field of every record.
impl<'de: 'a, 'a> Deserialize<'de> for WireRecord<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct RecordVisitor;
        impl<'de> de::Visitor<'de> for RecordVisitor {
            type Value = WireRecord<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<WireRecord<'de>, A::Error> {
                let mut r = WireRecord::default();
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    match &*name {
                        "record_id" => r.record_id = map.next_value()?,
                        "replaces" => r.replaces = map.next_value()?,
                        "kind" => r.kind = map.next_value()?,
                        "occurred_at" => r.occurred_at = map.next_value()?,
                        "status" => r.status = map.next_value()?,
                        "player" => r.player = map.next_value()?,
                        "money" => r.money = map.next_value()?,
                        "balance_after_minor" => r.balance_after_minor = map.next_value()?,
                        "product" => r.product = map.next_value()?,
                        "game" => r.game = map.next_value()?,
                        "bet" => r.bet = map.next_value()?,
                        "session_id" => r.session_id = map.next_value()?,
                        "limit" => r.limit = map.next_value()?,
                        "licence" => r.licence = map.next_value()?,
                        "channel" => r.channel = map.next_value()?,
                        "outlet_id" => r.outlet_id = map.next_value()?,
                        "terminal_id" => r.terminal_id = map.next_value()?,
                        "device_id" => r.device_id = map.next_value()?,
                        "region" => r.region = map.next_value()?,
                        "payment" => r.payment = map.next_value()?,
                        "licence_status" => r.licence_status = Some(map.next_value()?),
                        "invoice" => r.invoice = Some(map.next_value()?),
                        "bank" => r.bank = Some(map.next_value()?),
                        "extra" => {
                            let extra: Option<BTreeMap<String, serde_json::Value>> = map.next_value()?;
                            r.extra.extend(extra.unwrap_or_default());
                        }
                        other => {
                            let other = other.to_owned();
                            r.extra.insert(other, map.next_value()?);
                        }
                    }
                }
                Ok(r)
            }
        }
        d.deserialize_map(RecordVisitor)
    }
}

/// Who played: a token, or identity resolved on receipt, or the operator's own account number.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(bound(deserialize = "'de: 'a"), default)]
#[allow(missing_docs)]
pub struct WirePlayer<'a> {
    pub bst: Option<Text<'a>>,
    pub phone: Option<Text<'a>>,
    pub id_number: Option<Text<'a>>,
    pub id_type: Option<Text<'a>>,
    /// YYYY-MM-DD; only the age in years at the record is kept of it.
    pub date_of_birth: Option<Text<'a>>,
    /// The operator's own name or number of the account: digested, joins only within the operator.
    pub account_ref: Option<Text<'a>>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(bound(deserialize = "'de: 'a"))]
#[allow(missing_docs)]
pub struct WireMoney<'a> {
    pub amount_minor: i64,
    pub currency: Text<'a>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(bound(deserialize = "'de: 'a"), default)]
#[allow(missing_docs)]
pub struct WireGame<'a> {
    pub id: Option<Text<'a>>,
    #[serde(rename = "type")]
    pub kind: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(bound(deserialize = "'de: 'a"), default)]
#[allow(missing_docs)]
pub struct WireBet<'a> {
    pub id: Option<Text<'a>>,
    pub settles: Option<Text<'a>>,
    pub parts: Option<i32>,
    pub odds: Option<f64>,
    pub live: Option<bool>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(bound(deserialize = "'de: 'a"), default)]
#[allow(missing_docs)]
pub struct WireLimit<'a> {
    #[serde(rename = "type")]
    pub kind: Option<Text<'a>>,
    pub old_minor: Option<i64>,
    pub new_minor: Option<i64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(bound(deserialize = "'de: 'a"), default)]
#[allow(missing_docs)]
pub struct WirePayment<'a> {
    pub method: Option<Text<'a>>,
    pub account: Option<Text<'a>>,
    // of the kind `payment` alone; on others anything may stand there, as it always might
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<Box<serde_json::Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoice: Option<Box<serde_json::Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<Box<serde_json::Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Box<serde_json::Value>>,
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
    /// The player is known by phone, document or token: somebody whom the register can be asked about. One known only by
    /// the operator's own account number is nobody there.
    pub is_identified: bool,
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

impl Record {
    /// Id `r1`: a stake of nothing by nobody in shillings, at the beginning of time. Tests begin with it.
    #[doc(hidden)]
    #[must_use]
    pub fn for_tests() -> Self {
        Self {
            record_id: "r1".to_owned(),
            replaces: None,
            kind: RecordKind::Stake,
            occurred_at: Ts(0),
            status: RecordStatus::Successful,
            player: None,
            is_identified: false,
            amount_minor: 0,
            currency: Currency::KES,
            balance_after_minor: None,
            product: None,
            channel: None,
            bet_id: None,
            session_id: None,
            region: None,
            device: None,
            account: None,
            detail: String::new(),
            id_digest: 0,
            content_digest: 0,
        }
    }
}

closed_set!(
    /// Why a record was not stored: a metric label.
    QuarantineCode {
        Unreadable = "unreadable", Encoding = "encoding", MissingField = "missing_field",
        InvalidField = "invalid_field", TooLarge = "too_large", SignMismatch = "sign_mismatch",
        BehindHorizon = "behind_horizon", InTheFuture = "in_the_future", UnknownPlayer = "unknown_player",
        Conflict = "conflict", SumMismatch = "sum_mismatch", DeadLetter = "dead_letter", WrongClass = "wrong_class",
    }
);

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

#[cfg(test)]
mod tests {
    use super::{is_break, is_exclusion};

    #[test]
    fn a_break_is_no_limit_of_an_amount() {
        for name in
            ["time_out", "Timeout", "time-out 24h", "break", "take a break", "cool_off_week", "Cooling-off 7 days"]
        {
            assert!(is_break(name), "{name}");
        }
        for name in [
            "self_exclusion",
            "Self-excluded 6 months",
            "exclusion",
            "EXCLUDED",
            "exclusion for 6 months",
            "exclusion_24h",
            "excluded permanent",
        ] {
            assert!(is_exclusion(name) && !is_break(name), "{name}");
        }
        for name in [
            "",
            "deposit_day",
            "loss_week",
            "time",
            "session_time",
            "session_timeout",
            "stake-month",
            "daily_break",
            "excluded_games",
            "exclude slots",
            "exclusive_tables_stake_day",
        ] {
            assert!(!is_break(name) && !is_exclusion(name), "{name}");
        }
    }
}
