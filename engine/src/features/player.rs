//! The vector of a player: how somebody plays, by closed days, at an operator or across operators. As of the end of a day
//! it has that day, too, and nothing of a day that goes on.
//!
//! The markers are those of Spain's common detection model as far as records show them; "a day" is an active day, one
//! with a bet. Horizons are the calendar months that began within 31, 186 and 372 days, and of these only closed days. What has
//! no horizon is of everything that is remembered of the player, or of the newest twelve months.
//!
//! A voluntary break is what an operator's records say of one (`time_out`, of a closed day in its horizon); `breaks` are pauses
//! in play whatever they are for. Exclusions of the register are no feature: an input does not say who asked for one, and the
//! reasons of a score are read by operators.
//! Who plays at several operators has a vector at each, and one across them from an extractor that hears all of them; there,
//! a balance is compared with the one before at the same operator only.

use super::behaviour::{Behaviour, Sums};
use super::details::Details;
use super::{Feature, Places, last_live, share};
use crate::rules::book::player_key;
use crate::rules::calendar::Spans;
use crate::rules::list::Typed;
use crate::rules::ruleset::RuleSet;
use crate::rules::table::{Key, Limit, Table};
use crate::rules::{player_at_risk, standards};
use models::ids::OperatorNo;
use models::money::Currency;
use models::record::Record;
use models::ts::{DAY, Ts};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Version of the table, for people. 2: the day whose end asks for a vector is part of it. 3: sessions by their own ids, breaks
/// that the player sets, types of games, more by horizon; what nobody told of is missing where it was 0. 4: records that say no
/// balance move the last one that is known, so that the three markers of a low one have names of their own.
pub const VERSION: u32 = 4;
/// Places of the vector.
pub const WIDTH: usize = FEATURES.len();
/// Players of an operator that are remembered.
pub const OPERATOR_PLAYERS: Limit = Limit { entries: 131_072, bytes: 48 << 20 };
/// Players of a jurisdiction that are remembered: those of two operators or more.
pub const NATION_PLAYERS: Limit = Limit { entries: 1 << 18, bytes: 96 << 20 };
/// Days within which the months of the horizons began.
const HORIZONS: [(&str, i64); 3] = [("1m", 31), ("6m", 186), ("12m", 372)];

const SPAIN: &str = "DGOJ common detection model (2025), as in a public Dutch pipeline";
const BRITAIN: &str = "Gambling Commission, customer interaction indicators";
const AUER: &str = "Auer and Griffiths 2022, markers of harm";

const fn feature(name: &'static str, unit: &'static str, meaning: &'static str, source: &'static str) -> Feature {
    Feature { name, unit, meaning, source }
}

macro_rules! table {
    ([$($base:literal, $unit:literal, $meaning:literal, $origin:expr;)+] [$($name:literal, $u:literal, $m:literal, $o:expr;)+]) => {
        /// The places in their order.
        pub const FEATURES: &[Feature] = &[
            $(feature(concat!($base, "_1m"), $unit, $meaning, $origin),)+
            $(feature(concat!($base, "_6m"), $unit, $meaning, $origin),)+
            $(feature(concat!($base, "_12m"), $unit, $meaning, $origin),)+
            $(feature($name, $u, $m, $o),)+
        ];
    };
}

table!(
    [
        "active_days", "days", "days with a bet", SPAIN;
        "active_share", "share", "active days of the days since the horizon or the first record", SPAIN;
        "net_result", "minor units", "payouts less stakes", SPAIN;
        "net_loss_day", "minor units", "stakes less payouts, a day", SPAIN;
        "stake_total", "minor units", "stakes", SPAIN;
        "stake_day", "minor units", "stakes, a day", SPAIN;
        "stake_mean", "minor units", "mean stake; missing without a bet", SPAIN;
        "return_off", "share", "payouts over stakes, less one; missing without a bet", SPAIN;
        "bets_day", "count", "bets, a day", SPAIN;
        "interactions_day", "count", "bets, cash-outs, redemptions, deposits, withdrawals, logins and limits, whatever came of them, a day", SPAIN;
        "big_wins_day", "count", "payouts above the stake before, a day", SPAIN;
        "deposits_day", "count", "deposits, a day", SPAIN;
        "deposited_day", "minor units", "deposits, a day", BRITAIN;
        "failed_deposits_day", "count", "failed deposits, a day", SPAIN;
        "withdrawals_day", "count", "withdrawals, a day", SPAIN;
        "cancelled_withdrawals_day", "count", "cancelled withdrawals, a day", SPAIN;
        "play_sessions_day", "count", "sessions with a bet, a day: by the id that a bet carries, else by the session's own records, else runs of bets without a pause of 30 minutes", SPAIN;
        "interactions_session", "count", "interactions, a session; missing without one", SPAIN;
        "rounds_session", "count", "bets, a session; missing without one", SPAIN;
        "limit_rises", "count", "limits raised or taken away", SPAIN;
        "limit_cuts", "count", "limits set or cut", SPAIN;
        "time_outs", "count", "breaks from play that the player set at an operator", SPAIN;
        "low_balance_falls_day", "count", "the balance falls below the low mark, a day; missing where the currency has none or no balance is sent", SPAIN;
        "low_balance_topups_day", "count", "deposits while the balance, as records since have moved it, was below it, a day; missing alike", SPAIN;
        "live_share", "share", "live bets, of those of which it is said", SPAIN;
        "single_share", "share", "bets of one part, of those of which it is said", SPAIN;
        "cash_out_share", "share", "cash-outs, of the payouts", SPAIN;
        "hours_off_day", "hours", "24 less the hours from first to last bet, a day", SPAIN;
    ]
    [
        "account_days", "days", "since the first record", SPAIN;
        "payment_methods_used", "count", "methods of payment, at most 8; missing where none is named", SPAIN;
        "payment_accounts_used", "count", "payment accounts, at most 8; missing where none is named", BRITAIN;
        "operators", "count", "operators, at most 8", BRITAIN;
        "breaks", "count", "pauses in play of 30 days and longer", SPAIN;
        "low_balance_to_topup_s", "seconds", "median from the fall below the low mark to the deposit, within a day; missing without one", SPAIN;
        "products_played", "count", "products bet on; missing where none is named", SPAIN;
        "product_dominant", "share", "of the bets on the most frequent product; missing without a product", SPAIN;
        "game_types", "count", "types of games bet on, as the operator names them, at most 8; missing where none is named", SPAIN;
        "game_type_dominant", "share", "of the bets of a named type on the most frequent of these; missing without one", SPAIN;
        "hours_played", "count", "hours of day with at least 1/48 of the bets; missing without a bet", SPAIN;
        "night_share", "share", "bets from 0 to 8 o'clock", SPAIN;
        "day_share", "share", "bets from 8 to 16 o'clock", SPAIN;
        "evening_share", "share", "bets from 16 to 24 o'clock", SPAIN;
        "lost_to_bet_s", "seconds", "median from a stake that won nothing to the next, games that settle at once", SPAIN;
        "escalation_after_win", "ratio", "mean of ten stakes after the largest win over ten before, five at least", SPAIN;
        "stake_shift", "ratio", "mean stake of the newer half of the months over the older half", SPAIN;
        "stake_variance_shift", "ratio", "variance of the stake, newer over older half", SPAIN;
        "stake_variation_shift", "ratio", "variance over squared mean, newer over older half", SPAIN;
        "streak_days", "days", "longest run of days with a bet", SPAIN;
        "deposit_variation", "ratio", "mean absolute difference of deposits over their mean", AUER;
        "odds_variation", "ratio", "the same of the odds", SPAIN;
    ]
);

/// The names in their order.
#[must_use]
pub fn names() -> [&'static str; WIDTH] {
    std::array::from_fn(|place| FEATURES[place].name)
}

/// What no record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Params {
    /// Below it a balance is as good as gone, minor units: a parameter of the rule `player_at_risk` in force.
    pub low_balance_minor: i64,
    /// Of which currency; in any other one nobody says which balance is low.
    pub currency: Currency,
}

impl Default for Params {
    fn default() -> Self {
        Self::from(player_at_risk::Params::default())
    }
}

impl From<player_at_risk::Params> for Params {
    fn from(params: player_at_risk::Params) -> Self {
        let player_at_risk::Params { low_balance_minor, currency, .. } = params;
        Self { low_balance_minor, currency }
    }
}

impl Params {
    /// As the rules say whose last live versions these are; what they leave out, or a rule that is off, as the
    /// jurisdiction's standard says.
    #[must_use]
    pub fn of(set: &RuleSet) -> Self {
        let name = player_at_risk::ABOUT.name;
        let own = |params: Value| match params {
            Value::Object(params) => params,
            _ => Map::new(),
        };
        let mut params = own(standards::params(set.jurisdiction(), name));
        params.extend(own(last_live(set, name).cloned().unwrap_or_default()));
        match Typed::read(name, &Value::Object(params)) {
            Ok(Some(Typed::PlayerAtRisk(params))) => params.into(),
            _ => Self::default(),
        }
    }

    fn low_balance(&self, currency: Currency) -> Option<i64> {
        (currency == self.currency).then_some(self.low_balance_minor)
    }
}

/// Keeps the behaviour of players and makes their vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extractor {
    params: Params,
    players: Table<Behaviour>,
}

impl Extractor {
    /// Nothing heard yet. `limit`: [`OPERATOR_PLAYERS`] or [`NATION_PLAYERS`].
    #[must_use]
    pub fn new(params: Params, limit: Limit) -> Self {
        Self { params, players: Table::new(limit) }
    }

    /// Other parameters from now on.
    pub fn set_params(&mut self, params: Params) {
        self.params = params;
    }

    /// Players held, and how many were forgotten at the limit.
    #[must_use]
    pub fn players(&self) -> (usize, u64) {
        (self.players.len(), self.players.evicted())
    }

    /// A record of play, with the spans it lies in. One of nobody, or of no play, says nothing.
    pub fn hear(&mut self, operator: OperatorNo, record: &Record, spans: &Spans) {
        self.hear_with(operator, (record, &Details::of(record)), spans);
    }

    /// The same of a record whose details are read already. Gives at how many operators its player was seen, at most
    /// [`super::behaviour::NAMED_MAX`]; 0 where it says nothing.
    pub(super) fn hear_with(&mut self, operator: OperatorNo, of: (&Record, &Details<'_>), spans: &Spans) -> usize {
        let (record, _) = of;
        let Some(player) = record.player.filter(|_| record.kind.is_play()) else { return 0 };
        let place = self.players.touch(player_key(player.0, record.currency));
        let low = self.params.low_balance(record.currency);
        self.players.change(place, |known| {
            known.hear(operator, of, spans, low);
            known.operators.len()
        })
    }

    /// What is known of a player. None: nothing, or they were forgotten at the limit.
    pub(super) fn known(&self, player: Key, currency: Currency) -> Option<&Behaviour> {
        self.players.get(player_key(player, currency)).filter(|known| known.is_known())
    }

    /// A player has been at operators whose records of them were not heard.
    pub(super) fn been_at(&mut self, player: Key, currency: Currency, operators: impl Iterator<Item = OperatorNo>) {
        let place = self.players.touch(player_key(player, currency));
        self.players.change(place, |known| operators.for_each(|operator| known.been_at(operator)));
    }

    /// What [`Extractor::hear_with`] does to the history, done to a copy of it.
    pub(super) fn hear_copy(
        &self,
        copy: &mut Behaviour,
        operator: OperatorNo,
        of: (&Record, &Details<'_>),
        spans: &Spans,
    ) {
        copy.hear(operator, of, spans, self.params.low_balance(of.0.currency));
    }

    /// Does anybody say from where on a balance in this currency is low?
    pub(super) fn has_low_balance(&self, currency: Currency) -> bool {
        self.params.low_balance(currency).is_some()
    }

    /// The vector of a player as of an instant: the end of a day. False: nobody knows them, and `out` stays as it is. It has
    /// everything that was heard, but what a day did that goes on at that instant stays out of its sums: to have nothing at
    /// all of such a day whoever asks has to ask before a record of it is heard, as [`super::live_players`] does.
    pub fn write(&self, player: Key, currency: Currency, as_of: Ts, out: &mut [f32; WIDTH]) -> bool {
        let Some(known) = self.known(player, currency) else { return false };
        write_of(known, self.has_low_balance(currency), as_of, out);
        true
    }
}

/// The vector of a history as of an instant.
pub(super) fn write_of(known: &Behaviour, has_low_balance: bool, as_of: Ts, out: &mut [f32; WIDTH]) {
    let known = &known.at(as_of);
    let mut places = Places::new(FEATURES, out);
    for (suffix, days) in HORIZONS {
        let sums = known.since(as_of, days);
        let mut put = |name: &str, value: f64| places.put_of((name, suffix), value);
        write_money(&sums, span_days(known, as_of, days), &mut put);
        write_ways(&sums, has_low_balance, &mut put);
    }
    write_account(known, has_low_balance, as_of, &mut places);
    write_habits(known, &mut places);
    write_stakes(known, &mut places);
    debug_assert!(places.is_full());
}

fn days_between(from: Ts, to: Ts) -> f64 {
    (to.0 - from.0).max(0) as f64 / DAY as f64
}

/// Days since a horizon, or since the player's first record where that is later.
fn span_days(known: &Behaviour, as_of: Ts, days: i64) -> f64 {
    let first = known.months.iter().map(|month| month.start).find(|start| *start > as_of.plus(-days * DAY));
    first.map_or(0.0, |first| days_between(first.max(known.first_at), as_of))
}

/// What moved, and how often.
fn write_money(sums: &Sums, span: f64, put: &mut impl FnMut(&str, f64)) {
    let active = f64::from(sums.days);
    let (stakes, payouts) = (sums.stakes_minor as f64, sums.payouts_minor as f64);
    put("active_days", active);
    put("active_share", share(active, span.max(active)));
    put("net_result", payouts - stakes);
    put("net_loss_day", share(stakes - payouts, active));
    put("stake_total", stakes);
    put("stake_day", share(stakes, active));
    put("stake_mean", share(stakes, f64::from(sums.bets)));
    put("return_off", share(payouts, stakes) - 1.0);
    put("bets_day", share(f64::from(sums.bets), active));
    put("interactions_day", share(f64::from(sums.interactions), active));
    put("big_wins_day", share(f64::from(sums.big_wins), active));
    put("deposits_day", share(f64::from(sums.deposits), active));
    put("deposited_day", share(sums.deposits_minor as f64, active));
    put("failed_deposits_day", share(f64::from(sums.deposits_failed), active));
    put("withdrawals_day", share(f64::from(sums.withdrawals), active));
    put("cancelled_withdrawals_day", share(f64::from(sums.withdrawals_cancelled), active));
}

/// How somebody plays, and what they do about it.
fn write_ways(sums: &Sums, has_low: bool, put: &mut impl FnMut(&str, f64)) {
    let (active, sessions) = (f64::from(sums.days), f64::from(sums.sessions));
    let of_low = |count: u32| if has_low && sums.balances > 0 { share(f64::from(count), active) } else { f64::NAN };
    put("play_sessions_day", share(sessions, active));
    put("interactions_session", share(f64::from(sums.interactions), sessions));
    put("rounds_session", share(f64::from(sums.bets), sessions));
    put("limit_rises", f64::from(sums.limit_rises));
    put("limit_cuts", f64::from(sums.limit_cuts));
    put("time_outs", f64::from(sums.time_outs));
    put("low_balance_falls_day", of_low(sums.balance_drops));
    put("low_balance_topups_day", of_low(sums.low_deposits));
    put("live_share", share(f64::from(sums.live), f64::from(sums.live_known)));
    put("single_share", share(f64::from(sums.single), f64::from(sums.parts_known)));
    put("cash_out_share", share(f64::from(sums.cash_outs), f64::from(sums.payouts)));
    put("hours_off_day", 24.0 - share(sums.hours_on, active));
}

/// A number of things that somebody has to name: none is not known.
fn named(count: usize) -> f64 {
    if count > 0 { count as f64 } else { f64::NAN }
}

fn write_account(known: &Behaviour, has_low: bool, as_of: Ts, places: &mut Places<'_>) {
    places.put("account_days", days_between(known.first_at, as_of));
    places.put("payment_methods_used", named(known.methods.len()));
    places.put("payment_accounts_used", named(known.accounts.len()));
    places.put("operators", known.operators.len() as f64);
    places.put("breaks", f64::from(known.breaks));
    places.put("low_balance_to_topup_s", if has_low { known.low_to_deposit.value() } else { f64::NAN });
}

fn write_habits(known: &Behaviour, places: &mut Places<'_>) {
    let bets: u32 = known.products.iter().sum();
    let most = known.products.iter().copied().max().unwrap_or(0);
    places.put("products_played", named(known.products.iter().filter(|bets| **bets > 0).count()));
    places.put("product_dominant", share(f64::from(most), f64::from(bets)));
    let most = known.game_types.iter().map(|(_, bets)| *bets).max().unwrap_or(0);
    places.put("game_types", named(known.game_types.len()));
    places.put("game_type_dominant", share(f64::from(most), f64::from(known.typed)));
    let all = known.hours.iter().map(|bets| f64::from(*bets)).sum::<f64>();
    let held = known.hours.iter().filter(|bets| **bets > 0 && f64::from(**bets) * 48.0 >= all).count();
    places.put("hours_played", named(held));
    for (name, from) in [("night_share", 0), ("day_share", 8), ("evening_share", 16)] {
        let part = known.hours[from..from + 8].iter().map(|bets| f64::from(*bets)).sum::<f64>();
        places.put(name, share(part, all));
    }
    places.put("lost_to_bet_s", known.lost_to_bet.value());
}

/// Mean and variance of the stake.
fn stakes_of(sums: &Sums) -> (f64, f64) {
    let bets = f64::from(sums.bets);
    let mean = share(sums.stakes_minor as f64, bets);
    (mean, share(sums.stake_squares, bets) - mean * mean)
}

fn write_stakes(known: &Behaviour, places: &mut Places<'_>) {
    places.put("escalation_after_win", known.around_win.escalation());
    let active: Vec<&Sums> = known.months.iter().map(|month| &month.sums).filter(|sums| sums.bets > 0).collect();
    let half = |months: &[&Sums]| {
        let mut sums = Sums::default();
        months.iter().for_each(|month| sums.add(month));
        stakes_of(&sums)
    };
    let ((older, older_variance), (newer, newer_variance)) = match active.len() {
        0 | 1 => ((f64::NAN, f64::NAN), (f64::NAN, f64::NAN)),
        n => (half(&active[..n / 2]), half(&active[n / 2..])),
    };
    places.put("stake_shift", share(newer, older));
    places.put("stake_variance_shift", share(newer_variance, older_variance));
    let variation = |mean: f64, variance: f64| share(variance, mean * mean);
    places.put("stake_variation_shift", share(variation(newer, newer_variance), variation(older, older_variance)));
    places.put("streak_days", f64::from(known.streak_max));
    places.put("deposit_variation", known.deposit.variation());
    places.put("odds_variation", known.odds.variation());
}

#[cfg(test)]
#[path = "player_tests.rs"]
mod tests;
