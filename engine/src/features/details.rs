//! What a record's detail says that models hear of: the ingest writes these fields with these types.

use models::record::{Record, RecordKind};
use serde::Deserialize;
use std::borrow::Cow;

/// Fields of the contract that lie in a record's detail.
#[derive(Debug, Default, Deserialize)]
pub struct Details<'a> {
    /// Selections of the bet.
    #[serde(default, rename = "bet.parts")]
    pub parts: Option<i64>,
    /// Decimal odds.
    #[serde(default, rename = "bet.odds")]
    pub odds: Option<f64>,
    /// Placed while the event went on.
    #[serde(default, rename = "bet.live")]
    pub live: Option<bool>,
    /// The terminal of a shop.
    #[serde(borrow, default, rename = "terminal_id")]
    pub terminal: Option<Cow<'a, str>>,
    /// The shop.
    #[serde(borrow, default, rename = "outlet_id")]
    pub outlet: Option<Cow<'a, str>>,
    /// How it was paid.
    #[serde(borrow, default, rename = "payment.method")]
    pub method: Option<Cow<'a, str>>,
    /// The operator's name of the kind of game.
    #[serde(borrow, default, rename = "game.type")]
    pub game_type: Option<Cow<'a, str>>,
    /// What a limit limits, or that it is a break from play.
    #[serde(borrow, default, rename = "limit.type")]
    pub limit_type: Option<Cow<'a, str>>,
    /// A limit before the change, minor units.
    #[serde(default, rename = "limit.old_minor")]
    pub limit_old: Option<i64>,
    /// And after it.
    #[serde(default, rename = "limit.new_minor")]
    pub limit_new: Option<i64>,
}

impl<'a> Details<'a> {
    /// Reads them; nothing where there is none or it is no JSON object. Kinds without such fields are not read.
    #[must_use]
    pub fn of(record: &'a Record) -> Self {
        use RecordKind as K;
        let may_have = matches!(
            record.kind,
            K::Stake
                | K::TicketSale
                | K::Payout
                | K::CashOut
                | K::Redemption
                | K::Deposit
                | K::Withdrawal
                | K::LimitChange
        );
        if !may_have || record.detail.is_empty() {
            return Self::default();
        }
        serde_json::from_str(&record.detail).unwrap_or_default()
    }
}
