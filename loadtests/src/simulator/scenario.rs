//! A scenario: who plays where, when, at what odds, what is taxed, what breaks. A TOML file of `loadtests/scenarios/`.
//!
//! Everything a scenario says is the simulator's own: no number in it comes from a rule of the engine, and no rule reads it.

mod check;
#[cfg(test)]
mod tests;

use models::money::Currency;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Scenarios that the program carries.
const KNOWN: [(&str, &str); 2] =
    [("demo", include_str!("../../scenarios/demo.toml")), ("market", include_str!("../../scenarios/market.toml"))];
/// Why a scenario is refused.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Not TOML, an unknown key, or a value of a wrong type.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// It reads well and makes no sense.
    #[error("{place}: {what}")]
    Nonsense {
        /// Where in the scenario.
        place: String,
        /// What is wrong.
        what: &'static str,
    },
}

/// The whole of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name: part of the ids.
    pub name: String,
    /// Minutes of play before a live run begins, so that the engine has something to compare with.
    #[serde(default)]
    pub history_minutes: u32,
    /// Who has a licence.
    #[serde(rename = "operator")]
    pub operators: Vec<Operator>,
    /// Who plays.
    pub players: Players,
    /// What is won, by product.
    pub games: BTreeMap<String, Game>,
    /// When is played, by product; evenly where nothing is said.
    #[serde(default)]
    pub seasons: BTreeMap<String, Season>,
    /// What is taxed.
    #[serde(default, rename = "tax")]
    pub taxes: Vec<Tax>,
    /// How often operators and authorities err.
    #[serde(default)]
    pub discrepancies: Discrepancies,
    /// What breaks by itself; more can be ordered while it runs.
    #[serde(default, rename = "fault")]
    pub faults: Vec<PlannedFault>,
    /// When stakes jump.
    #[serde(default, rename = "spike")]
    pub spikes: Vec<Spike>,
    /// Marketing.
    #[serde(default, rename = "campaign")]
    pub campaigns: Vec<Campaign>,
    /// Changes of licences.
    #[serde(default, rename = "licence_change")]
    pub licence_changes: Vec<LicenceChange>,
}

/// How an operator delivers its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// It pushes NDJSON.
    Push,
    /// It is asked, page by page.
    Poll,
    /// It drops files.
    Folder,
}

/// How an operator names its players.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Naming {
    /// By phone and account.
    Phone,
    /// By the account alone.
    Account,
}

/// An operator.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// 2 to 40 of a–z, 0–9 and `-`.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Jurisdiction whose key makes it, e.g. `KE`.
    pub jurisdiction: String,
    /// Currency of all its money.
    pub currency: Currency,
    /// IANA zone of its players.
    pub zone: String,
    /// What it offers, of those in `games`.
    pub products: Vec<String>,
    /// How it delivers.
    pub delivery: Delivery,
    /// How it names players.
    #[serde(default = "by_phone")]
    pub players_by: Naming,
    /// Logins before which it asks the register, of a hundred.
    #[serde(default = "hundred")]
    pub checked_logins_percent: f64,
    /// Number of its licence.
    pub licence: String,
    /// Region of its players.
    #[serde(default)]
    pub region: Option<String>,
    /// What its bank account holds at the beginning, minor units.
    #[serde(default)]
    pub opening_balance_minor: i64,
    /// Seconds between two settlements on its bank account.
    #[serde(default = "day_seconds")]
    pub settle_seconds: u32,
    /// Tickets sold over the counter, where it has shops.
    #[serde(default)]
    pub sales: Option<Sales>,
    /// How many players begin here, against the others.
    #[serde(default = "one_part")]
    pub size: f64,
}

/// Tickets over the counter.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sales {
    /// Shops.
    pub outlets: u32,
    /// Tickets a day, over all shops.
    pub tickets_per_day: f64,
    /// Price of a ticket, minor units, at the median.
    pub ticket_minor: i64,
    /// Product, of those in `games`: its odds say what is redeemed.
    pub product: String,
    /// Tickets taken back, of a hundred.
    pub void_percent: f64,
}

/// Players by kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Players {
    /// Now and then, small stakes.
    pub casual: Option<Crowd>,
    /// Often and much, and steady.
    pub heavy: Option<Crowd>,
    /// Losing control.
    pub at_risk: Option<AtRisk>,
    /// Washing money.
    pub launderer: Option<Launderers>,
    /// Playing together.
    pub colluder: Option<Colluders>,
    /// Excluded, and still served.
    pub excluded: Option<Crowd>,
}

/// How somebody plays.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Play {
    /// Sessions a day on average.
    pub sessions_per_day: f64,
    /// Bets of a session on average.
    pub bets_per_session: f64,
    /// A stake at the median, minor units.
    pub stake_minor: i64,
    /// Deviation of the logarithm of a stake.
    pub spread: f64,
    /// Seconds between two bets on average.
    pub seconds_between_bets: f64,
}

/// Players of one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crowd {
    /// How many.
    pub count: u32,
    /// Operators that each has an account with.
    #[serde(default = "one")]
    pub accounts: u32,
    /// How they play.
    pub play: Play,
}

/// Players who lose control.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AtRisk {
    /// How many.
    pub count: u32,
    /// Operators that each has an account with.
    #[serde(default = "one")]
    pub accounts: u32,
    /// How they begin.
    pub play: Play,
    /// The stake after a lost bet ÷ the lost stake.
    pub escalation: f64,
    /// How much more they stake each day, of a hundred.
    pub growth_percent_per_day: f64,
    /// How much rather they begin between midnight and six.
    pub night_factor: f64,
    /// Deposits of a session after the money is gone.
    pub chases: u32,
}

/// Players who wash money.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launderers {
    /// How many schemes; each has one player, one with many accounts several.
    pub count: u32,
    /// Rounds of a scheme a day.
    pub rounds_per_day: f64,
    /// A large deposit at the median, minor units.
    pub deposit_minor: i64,
    /// What somebody else is said to look at, minor units: deposits are kept below.
    pub threshold_minor: i64,
    /// What is played of a deposit at most, of a hundred.
    pub play_percent: f64,
}

/// Players who play together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Colluders {
    /// Pairs.
    pub pairs: u32,
    /// Rounds of a pair a day.
    pub rounds_per_day: f64,
    /// A stake at the median, minor units.
    pub stake_minor: i64,
}

/// What is won.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Game {
    /// What comes back to players, of a hundred staked.
    pub return_percent: f64,
    /// A win is so many stakes at least.
    pub multiple_min: f64,
    /// And at most.
    pub multiple_max: f64,
    /// Seconds until a bet is settled.
    pub settle_seconds: f64,
}

/// When is played: how much more or less than on average.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Season {
    /// Of each hour of the day, local time.
    pub hours: Vec<f64>,
    /// Of each day of the week from Monday on.
    pub weekdays: Vec<f64>,
    /// Days of the week with matches, 1 is Monday.
    #[serde(default)]
    pub match_days: Vec<i8>,
    /// Hours of these days: from the first to before the second.
    #[serde(default)]
    pub match_hours: Option<(i8, i8)>,
    /// How much more is played then.
    #[serde(default = "no_more")]
    pub match_factor: f64,
    /// Days of the month from which on wages are there, for three days each.
    #[serde(default)]
    pub paydays: Vec<i8>,
    /// How much more is played then.
    #[serde(default = "no_more")]
    pub payday_factor: f64,
}

/// What a tax is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// Stakes less winnings.
    GrossGamingRevenue,
    /// Stakes.
    Stakes,
    /// What players paid in.
    Deposits,
    /// What players were paid out.
    Withdrawals,
}

/// How often a tax is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// For those who cannot wait.
    FiveMinutes,
    /// An hour of UTC.
    Hour,
    /// A day of UTC.
    Day,
    /// Thirty days.
    ThirtyDays,
}

/// A tax.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tax {
    /// Its name, e.g. `excise_duty`.
    pub name: String,
    /// Who takes it.
    pub authority: String,
    /// Operators of this jurisdiction pay it.
    pub jurisdiction: String,
    /// What it is taken of.
    pub base: Base,
    /// How much, of a hundred.
    pub percent: f64,
    /// How often.
    pub period: Period,
    /// Seconds from the end of the period to the day it is due.
    pub due_seconds: u32,
}

/// How often something is wrong, of a hundred; 0 where nothing is said.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Discrepancies {
    /// An invoice is paid after it was due.
    pub late_payment_percent: f64,
    /// An invoice is paid in part.
    pub short_payment_percent: f64,
    /// An invoice follows a return that is too low.
    pub understated_invoice_percent: f64,
    /// A payment that is said to be completed and is on no statement.
    pub ghost_payment_percent: f64,
    /// A settlement on a statement is not what was played.
    pub wrong_settlement_percent: f64,
}

/// A way to break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Answers come a byte a second; a push only every ten seconds.
    Slow,
    /// Answers are 500; nothing is pushed or dropped.
    #[serde(rename = "error_500")]
    Error500,
    /// Bodies end in the middle.
    Truncated,
    /// Totals are not the sum of what they are of.
    WrongTotals,
    /// Records are dated by a clock that is wrong.
    ClockSkew,
    /// Nobody answers; nothing is pushed or dropped.
    Silence,
}

/// A fault of the scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedFault {
    /// Code of an operator, `licences`, `tax` or `bank`.
    pub target: String,
    /// What breaks.
    pub kind: FaultKind,
    /// Seconds from the start.
    pub at_seconds: u32,
    /// Seconds until it is over.
    pub for_seconds: u32,
}

/// Stakes of an operator jump.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spike {
    /// Code of the operator.
    pub operator: String,
    /// Seconds from the start.
    pub at_seconds: u32,
    /// Seconds until it is over.
    pub for_seconds: u32,
    /// How many times as much is staked.
    pub factor: f64,
}

/// An operator writes to its players, and gives them a bonus.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// Code of the operator.
    pub operator: String,
    /// Seconds from the start.
    pub at_seconds: u32,
    /// Players at most.
    pub players: u32,
    /// What each is given, minor units.
    pub bonus_minor: i64,
    /// Whether it asks the register first.
    pub checked: bool,
}

/// A licence changes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LicenceChange {
    /// Code of the operator.
    pub operator: String,
    /// Seconds from the start.
    pub at_seconds: u32,
    /// `active`, `suspended`, `revoked`, `expired`, `pending`.
    pub state: String,
    /// `compliant`, `non_compliant`, `under_review`, `unknown`.
    pub compliance: String,
}

fn by_phone() -> Naming {
    Naming::Phone
}
fn hundred() -> f64 {
    100.0
}
fn day_seconds() -> u32 {
    86_400
}
fn one() -> u32 {
    1
}
fn no_more() -> f64 {
    1.0
}
fn one_part() -> f64 {
    1.0
}

impl Scenario {
    /// One that the program carries, by its name.
    pub fn known(name: &str) -> Option<&'static str> {
        KNOWN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    /// Reads and checks a scenario.
    ///
    /// # Errors
    /// [`ScenarioError`], naming the place.
    pub fn from_toml(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text)?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Position of the operator of this code.
    pub fn operator(&self, code: &str) -> Option<usize> {
        self.operators.iter().position(|operator| operator.code == code)
    }
}
