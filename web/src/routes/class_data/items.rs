//! Rows of the classes of data, as they are shown: people and accounts by the beginning of their digest.

use models::match_key::MatchKey;
use models::money::Currency;
use models::record::{PlayChannel, Product, Record};
use models::ts::Ts;
use serde::Serialize;
use std::collections::BTreeMap;
use store::{PlayerAccount, SalesDay, StoredBankLine, StoredInvoice, StoredLicence, StoredPayment};
use utoipa::ToSchema;

use crate::routes::licences::{ReturnBody, returned};

/// Digits of a digest that are shown: enough to tell two apart, too few to be looked up by.
const DIGEST_DIGITS: usize = 12;

/// One row, by class. Amounts are minor units and never negative unless it is said.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum ClassItem {
    /// `gaming_transactions`
    Record(Box<RecordItem>),
    /// `sales_redemptions`
    SalesDay(Box<SalesDayItem>),
    /// `player_accounts`
    Account(Box<AccountItem>),
    /// `licences`
    Licence(Box<LicenceItem>),
    /// `invoices`
    Invoice(Box<InvoiceItem>),
    /// `payments`
    Payment(Box<PaymentItem>),
    /// `bank_statements`
    BankLine(Box<BankLineItem>),
}

/// An amount.
#[derive(Serialize, ToSchema)]
pub struct ClassMoney {
    /// Minor units.
    pub amount_minor: i64,
    /// ISO 4217.
    #[schema(value_type = String)]
    pub currency: Currency,
}

/// A stored record.
#[derive(Serialize, ToSchema)]
pub struct RecordItem {
    /// The operator's id.
    pub record_id: String,
    /// The record it replaces.
    pub replaces: Option<String>,
    /// Kind.
    pub kind: &'static str,
    /// When, by the operator's clock.
    #[schema(value_type = String, format = DateTime)]
    pub occurred_at: Ts,
    /// `successful`, `failed`, `cancelled`.
    pub status: &'static str,
    /// Beginning of the player's digest.
    pub player: Option<String>,
    /// Null where the kind carries none. Only an adjustment may be negative.
    pub money: Option<ClassMoney>,
    /// Balance afterwards, minor units; may be negative.
    pub balance_after_minor: Option<i64>,
    /// Product.
    pub product: Option<&'static str>,
    /// Channel.
    pub channel: Option<&'static str>,
    /// Bet.
    pub bet_id: Option<String>,
    /// Session.
    pub session_id: Option<String>,
    /// Region.
    pub region: Option<String>,
}

/// How many, and how much.
#[derive(Serialize, ToSchema)]
pub struct CountedMoney {
    /// Records.
    pub count: i64,
    /// Minor units.
    pub amount_minor: i64,
}

/// A day of retail in one outlet, product and currency.
#[derive(Serialize, ToSchema)]
pub struct SalesDayItem {
    /// First instant of the UTC day.
    #[schema(value_type = String, format = DateTime)]
    pub day: Ts,
    /// Outlet; null where records name none.
    pub outlet: Option<String>,
    /// Product; null where records name none.
    pub product: Option<&'static str>,
    /// ISO 4217.
    #[schema(value_type = String)]
    pub currency: Currency,
    /// Tickets sold.
    pub sold: CountedMoney,
    /// Tickets paid out.
    pub redeemed: CountedMoney,
    /// Tickets voided.
    pub voided: CountedMoney,
    /// Records of what failed or was cancelled, which are in none of the sums.
    pub failed: i64,
    /// Records that replace another one, whose amount is in the sums still.
    pub replacing: i64,
}

/// A player's account.
#[derive(Serialize, ToSchema)]
pub struct AccountItem {
    /// Beginning of the player's digest.
    pub player: String,
    /// `open` or `closed`.
    pub state: &'static str,
    /// Last opened.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub opened_at: Option<Ts>,
    /// Last closed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub closed_at: Option<Ts>,
    /// Last login.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_login_at: Option<Ts>,
    /// Newest record of any kind.
    #[schema(value_type = String, format = DateTime)]
    pub last_record_at: Ts,
    /// Limits in force, and those that were taken away.
    pub limits: Vec<LimitItem>,
}

/// A limit.
#[derive(Serialize, ToSchema)]
pub struct LimitItem {
    /// The operator's name of it.
    pub r#type: String,
    /// Minor units; null: it was taken away.
    pub minor: Option<i64>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Ts,
}

/// What an authority has said of a licence.
#[derive(Serialize, ToSchema)]
pub struct LicenceItem {
    /// The record that says so.
    pub record_id: String,
    /// As of when.
    #[schema(value_type = String, format = DateTime)]
    pub occurred_at: Ts,
    /// Nothing newer is known of this licence.
    pub current: bool,
    /// As the authority prints it.
    pub number: String,
    /// Class.
    pub licence_class: Option<String>,
    /// Products it covers.
    pub products: Vec<String>,
    /// First instant of validity.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub valid_from: Option<Ts>,
    /// Last day of validity.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub valid_to: Option<Ts>,
    /// `active`, `suspended`, `revoked`, `expired`, `pending`.
    pub state: &'static str,
    /// `compliant`, `non_compliant`, `under_review`, `unknown`.
    pub compliance: &'static str,
    /// Conditions.
    pub conditions: Vec<String>,
    /// Channels over which may be played, every one where the list is empty; null = nothing is said of them here.
    pub channels: Option<Vec<&'static str>>,
    /// What products give back to players, by product; null = nothing is said of it here.
    pub return_to_player: Option<BTreeMap<String, ReturnBody>>,
}

/// An invoice in its newest version.
#[derive(Serialize, ToSchema)]
pub struct InvoiceItem {
    /// The record that says so.
    pub record_id: String,
    /// When it was issued or changed.
    #[schema(value_type = String, format = DateTime)]
    pub occurred_at: Ts,
    /// Number, unique within the authority.
    pub number: String,
    /// Who asks for it.
    pub authority: String,
    /// Kind of tax.
    pub tax: Option<String>,
    /// Whose tax it is.
    pub jurisdiction: Option<String>,
    /// First day of the period.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub period_from: Option<Ts>,
    /// Last day of the period.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub period_to: Option<Ts>,
    /// When it is due.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due_at: Option<Ts>,
    /// `issued`, `part_paid`, `paid`, `overdue`, `cancelled`.
    pub state: &'static str,
    /// The amount due.
    pub money: ClassMoney,
    /// What the authority says was paid of it, minor units.
    pub paid_minor: i64,
}

/// A payment in its newest version.
#[derive(Serialize, ToSchema)]
pub struct PaymentItem {
    /// The record that says so.
    pub record_id: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub occurred_at: Ts,
    /// Reference, unique within the operator.
    pub reference: String,
    /// Number of the invoice it is for.
    pub invoice: Option<String>,
    /// Who is paid.
    pub authority: Option<String>,
    /// `pending`, `completed`, `failed`, `reversed`.
    pub state: &'static str,
    /// How it was paid.
    pub method: Option<String>,
    /// Beginning of the account's digest.
    pub account: Option<String>,
    /// The amount.
    pub money: ClassMoney,
}

/// A line of a bank statement.
#[derive(Serialize, ToSchema)]
pub struct BankLineItem {
    /// The record that says so.
    pub record_id: String,
    /// When it was booked.
    #[schema(value_type = String, format = DateTime)]
    pub occurred_at: Ts,
    /// Beginning of the account's digest.
    pub account: String,
    /// Statement.
    pub statement: String,
    /// Position in the statement.
    pub line: u32,
    /// `credit` or `debit`.
    pub direction: &'static str,
    /// The amount; the direction is its sign.
    pub money: ClassMoney,
    /// Balance afterwards, minor units; may be negative.
    pub balance_after_minor: i64,
    /// The balance does not follow from that of the line before in the same statement: lines are missing, or somebody
    /// has changed one.
    pub balance_break: bool,
    /// Value date.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub value_date: Option<Ts>,
    /// Beginning of the digest of who was on the other side.
    pub counterparty: Option<String>,
    /// What was written beside it; a digest where it may name somebody.
    pub reference: Option<String>,
}

fn beginning(digest: &str) -> String {
    digest.chars().take(DIGEST_DIGITS).collect()
}

fn short(key: MatchKey) -> String {
    beginning(&key.to_string())
}

/// A text that may be a digest in its place.
fn short_text(text: String) -> String {
    match text.strip_prefix("digest:") {
        Some(digest) => format!("digest:{}", beginning(digest)),
        None => text,
    }
}

impl From<Record> for RecordItem {
    fn from(r: Record) -> Self {
        let money = ClassMoney { amount_minor: r.amount_minor, currency: r.currency };
        Self {
            record_id: r.record_id,
            replaces: r.replaces,
            kind: r.kind.as_str(),
            occurred_at: r.occurred_at,
            status: r.status.as_str(),
            player: r.player.map(short),
            money: r.kind.needs_money().then_some(money),
            balance_after_minor: r.balance_after_minor,
            product: r.product.map(Product::as_str),
            channel: r.channel.map(PlayChannel::as_str),
            bet_id: r.bet_id,
            session_id: r.session_id,
            region: r.region,
        }
    }
}

impl From<SalesDay> for SalesDayItem {
    fn from(day: SalesDay) -> Self {
        Self {
            day: day.day,
            outlet: day.outlet,
            product: day.product.map(Product::as_str),
            currency: day.currency,
            sold: CountedMoney { count: day.sold_count, amount_minor: day.sold_minor },
            redeemed: CountedMoney { count: day.redeemed_count, amount_minor: day.redeemed_minor },
            voided: CountedMoney { count: day.voided_count, amount_minor: day.voided_minor },
            failed: day.failed_count,
            replacing: day.replacing_count,
        }
    }
}

impl From<PlayerAccount> for AccountItem {
    fn from(account: PlayerAccount) -> Self {
        let is_closed = account.closed_at.is_some_and(|closed| account.opened_at.is_none_or(|opened| opened <= closed));
        let limits = account.limits.into_iter();
        Self {
            player: short(account.player),
            state: if is_closed { "closed" } else { "open" },
            opened_at: account.opened_at,
            closed_at: account.closed_at,
            last_login_at: account.last_login_at,
            last_record_at: account.last_record_at,
            limits: limits.map(|l| LimitItem { r#type: l.kind, minor: l.minor, since: l.since }).collect(),
        }
    }
}

impl From<StoredLicence> for LicenceItem {
    fn from(stored: StoredLicence) -> Self {
        let status = stored.status;
        Self {
            record_id: stored.record_id,
            occurred_at: stored.occurred_at,
            current: stored.current,
            number: status.number,
            licence_class: status.licence_class,
            products: status.products,
            valid_from: status.valid_from,
            valid_to: status.valid_to,
            state: status.state.as_str(),
            compliance: status.compliance.as_str(),
            conditions: status.conditions.into_iter().map(short_text).collect(),
            channels: status.channels.map(|channels| channels.into_iter().map(PlayChannel::as_str).collect()),
            return_to_player: status.return_to_player.as_ref().map(returned),
        }
    }
}

impl From<StoredInvoice> for InvoiceItem {
    fn from(stored: StoredInvoice) -> Self {
        let invoice = stored.invoice;
        Self {
            record_id: stored.record_id,
            occurred_at: stored.occurred_at,
            number: invoice.number,
            authority: invoice.authority,
            tax: invoice.tax,
            jurisdiction: invoice.jurisdiction,
            period_from: invoice.period_from,
            period_to: invoice.period_to,
            due_at: invoice.due_at,
            state: invoice.state.as_str(),
            money: ClassMoney { amount_minor: stored.amount_minor, currency: stored.currency },
            paid_minor: invoice.paid_minor,
        }
    }
}

impl From<StoredPayment> for PaymentItem {
    fn from(stored: StoredPayment) -> Self {
        Self {
            record_id: stored.record_id,
            occurred_at: stored.occurred_at,
            reference: stored.payment.reference,
            invoice: stored.payment.invoice,
            authority: stored.payment.authority,
            state: stored.payment.state.as_str(),
            method: stored.method,
            account: stored.account.map(short),
            money: ClassMoney { amount_minor: stored.amount_minor, currency: stored.currency },
        }
    }
}

impl From<StoredBankLine> for BankLineItem {
    fn from(stored: StoredBankLine) -> Self {
        let line = stored.line;
        Self {
            record_id: stored.record_id,
            occurred_at: stored.occurred_at,
            account: short(stored.account),
            statement: line.statement,
            line: line.line,
            direction: line.direction.as_str(),
            money: ClassMoney { amount_minor: stored.amount_minor, currency: stored.currency },
            balance_after_minor: stored.balance_after_minor,
            balance_break: stored.balance_break,
            value_date: line.value_date,
            counterparty: line.counterparty.map(short_text),
            reference: line.reference.map(short_text),
        }
    }
}
