//! Whether a scenario makes sense.

use super::{Scenario, ScenarioError};
use jiff::tz::TimeZone;
use models::record::Product;
use std::collections::BTreeSet;

/// Operators at most.
const OPERATORS_MAX: usize = 128;
/// Players at most, of all kinds together.
const PLAYERS_MAX: u32 = 100_000;
/// Minutes of the past at most: a week.
const HISTORY_MINUTES_MAX: u32 = 7 * 24 * 60;
/// An amount at most, minor units: sums of a long archive stay far from the ends of an i64.
const AMOUNT_MINOR_MAX: i64 = 1_000_000_000;

/// Collects what is wrong: the first of it is said.
struct Checks(Result<(), ScenarioError>);

impl Checks {
    fn must(&mut self, holds: bool, place: impl FnOnce() -> String, what: &'static str) {
        if self.0.is_ok() && !holds {
            self.0 = Err(ScenarioError::Nonsense { place: place(), what });
        }
    }

    fn percent(&mut self, value: f64, place: impl FnOnce() -> String) {
        self.must((0.0..=100.0).contains(&value), place, "not from 0 to 100");
    }

    fn amount(&mut self, value: i64, place: impl FnOnce() -> String) {
        self.must((1..=AMOUNT_MINOR_MAX).contains(&value), place, "not from 1 to 1000000000 minor units");
    }

    fn within(&mut self, value: f64, low: f64, high: f64, place: impl FnOnce() -> String) {
        // NaN is in no range
        self.must((low..=high).contains(&value), place, "out of its range");
    }
}

impl Scenario {
    /// Says the first thing in it that makes no sense.
    ///
    /// # Errors
    /// [`ScenarioError`]
    pub fn check(&self) -> Result<(), ScenarioError> {
        let mut checks = Checks(Ok(()));
        self.check_operators(&mut checks);
        self.check_players(&mut checks);
        self.check_seasons(&mut checks);
        self.check_money(&mut checks);
        self.check_plans(&mut checks);
        checks.0
    }

    fn check_operators(&self, checks: &mut Checks) {
        let is_name = |text: &str, max: usize| {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            (2..=max).contains(&text.len()) && text.bytes().all(plain)
        };
        checks.must(is_name(&self.name, 40), || "name".to_owned(), "not 2 to 40 of a–z, 0–9 and -");
        let is_short = self.history_minutes <= HISTORY_MINUTES_MAX;
        checks.must(is_short, || "history_minutes".to_owned(), "more than a week");
        let amount = (1..=OPERATORS_MAX).contains(&self.operators.len());
        checks.must(amount, || "operator".to_owned(), "not 1 to 128");
        let codes: BTreeSet<&str> = self.operators.iter().map(|o| o.code.as_str()).collect();
        checks.must(codes.len() == self.operators.len(), || "operator".to_owned(), "two of one code");
        for operator in &self.operators {
            let place = |field: &str| format!("operator {}: {field}", operator.code);
            checks.must(is_name(&operator.code, 40), || place("code"), "not 2 to 40 of a–z, 0–9 and -");
            let reserved = ["licences", "tax", "bank"].contains(&operator.code.as_str());
            checks.must(!reserved, || place("code"), "the name of an authority");
            checks.must(TimeZone::get(&operator.zone).is_ok(), || place("zone"), "not a known time zone");
            checks.must(!operator.products.is_empty(), || place("products"), "none");
            let offered = operator.products.iter().chain(operator.sales.as_ref().map(|sales| &sales.product));
            let played = offered.clone().all(|product| self.games.contains_key(product));
            checks.must(played, || place("products"), "one that is not in games");
            checks.percent(operator.checked_logins_percent, || place("checked_logins_percent"));
            checks.must(operator.opening_balance_minor >= 0, || place("opening_balance_minor"), "negative");
            checks.must(operator.settle_seconds >= 1, || place("settle_seconds"), "0");
            checks.within(operator.size, 0.001, 1e6, || place("size"));
            if let Some(sales) = &operator.sales {
                checks.must((1..=10_000).contains(&sales.outlets), || place("sales.outlets"), "not 1 to 10000");
                checks.within(sales.tickets_per_day, 0.0, 1e7, || place("sales.tickets_per_day"));
                checks.amount(sales.ticket_minor, || place("sales.ticket_minor"));
                checks.percent(sales.void_percent, || place("sales.void_percent"));
            }
        }
    }

    fn check_players(&self, checks: &mut Checks) {
        let players = &self.players;
        let crowds = [("casual", &players.casual), ("heavy", &players.heavy), ("excluded", &players.excluded)];
        let plays = crowds.into_iter().filter_map(|(name, crowd)| Some((name, crowd.as_ref()?)));
        let mut plays: Vec<_> = plays.map(|(name, crowd)| (name, crowd.accounts, &crowd.play)).collect();
        plays.extend(players.at_risk.as_ref().map(|kind| ("at_risk", kind.accounts, &kind.play)));
        for (name, accounts, play) in plays {
            let place = |field: &str| format!("players.{name}.{field}");
            checks.must(accounts >= 1, || place("accounts"), "0");
            checks.within(play.sessions_per_day, 0.0, 200.0, || place("play.sessions_per_day"));
            checks.within(play.bets_per_session, 1.0, 500.0, || place("play.bets_per_session"));
            checks.amount(play.stake_minor, || place("play.stake_minor"));
            checks.within(play.spread, 0.0, 2.0, || place("play.spread"));
            checks.within(play.seconds_between_bets, 0.5, 3_600.0, || place("play.seconds_between_bets"));
        }
        if let Some(kind) = &players.at_risk {
            checks.within(kind.escalation, 1.0, 10.0, || "players.at_risk.escalation".to_owned());
            checks.within(kind.growth_percent_per_day, 0.0, 100.0, || {
                "players.at_risk.growth_percent_per_day".to_owned()
            });
            checks.within(kind.night_factor, 1.0, 100.0, || "players.at_risk.night_factor".to_owned());
            checks.must(kind.chases <= 50, || "players.at_risk.chases".to_owned(), "above 50");
        }
        if let Some(kind) = &players.launderer {
            let place = |field: &str| format!("players.launderer.{field}");
            checks.within(kind.rounds_per_day, 0.0, 50.0, || place("rounds_per_day"));
            checks.amount(kind.deposit_minor, || place("deposit_minor"));
            checks.amount(kind.threshold_minor, || place("threshold_minor"));
            checks.within(kind.play_percent, 0.0, 50.0, || place("play_percent"));
        }
        if let Some(kind) = &players.colluder {
            checks.within(kind.rounds_per_day, 0.0, 200.0, || "players.colluder.rounds_per_day".to_owned());
            checks.amount(kind.stake_minor, || "players.colluder.stake_minor".to_owned());
        }
        checks.must(self.count() <= u64::from(PLAYERS_MAX), || "players".to_owned(), "more than 100000");
    }

    /// Players, schemes and pairs, each counted with everybody they may have.
    fn count(&self) -> u64 {
        let players = &self.players;
        let crowds = [&players.casual, &players.heavy, &players.excluded];
        let mut count: u64 = crowds.into_iter().flatten().map(|crowd| u64::from(crowd.count)).sum();
        count += players.at_risk.as_ref().map_or(0, |kind| u64::from(kind.count));
        count += players.launderer.as_ref().map_or(0, |kind| 5 * u64::from(kind.count));
        count + players.colluder.as_ref().map_or(0, |kind| 2 * u64::from(kind.pairs))
    }

    fn check_seasons(&self, checks: &mut Checks) {
        for (product, game) in &self.games {
            let place = |field: &str| format!("games.{product}.{field}");
            checks.must(Product::parse(product).is_some(), || format!("games.{product}"), "not a product");
            checks.within(game.return_percent, 1.0, 100.0, || place("return_percent"));
            checks.within(game.multiple_min, 1.0, 1e6, || place("multiple_min"));
            checks.within(game.multiple_max, game.multiple_min, 1e6, || place("multiple_max"));
            checks.within(game.settle_seconds, 0.0, 7_200.0, || place("settle_seconds"));
        }
        for (product, season) in &self.seasons {
            let place = |field: &str| format!("seasons.{product}.{field}");
            checks.must(self.games.contains_key(product), || format!("seasons.{product}"), "not in games");
            for (field, weights, count) in [("hours", &season.hours, 24), ("weekdays", &season.weekdays, 7)] {
                checks.must(weights.len() == count, || place(field), "not one of each");
                let sound = weights.iter().all(|w| (0.0..=100.0).contains(w)) && weights.iter().any(|w| *w > 0.0);
                checks.must(sound, || place(field), "not from 0 to 100, or all of them 0");
            }
            let days = season.match_days.iter().all(|day| (1..=7).contains(day));
            checks.must(days, || place("match_days"), "not from 1 (Monday) to 7");
            let hours = season.match_hours.is_none_or(|(from, to)| 0 <= from && from < to && to <= 24);
            checks.must(hours, || place("match_hours"), "not two hours of one day");
            checks.within(season.match_factor, 0.0, 100.0, || place("match_factor"));
            let paid = season.paydays.iter().all(|day| (1..=31).contains(day));
            checks.must(paid, || place("paydays"), "not from 1 to 31");
            checks.within(season.payday_factor, 0.01, 100.0, || place("payday_factor"));
        }
    }

    fn check_money(&self, checks: &mut Checks) {
        for tax in &self.taxes {
            let place = |field: &str| format!("tax {}: {field}", tax.name);
            checks.percent(tax.percent, || place("percent"));
            let texts = [&tax.name, &tax.authority, &tax.jurisdiction];
            checks.must(
                texts.iter().all(|text| (1..=40).contains(&text.len())),
                || place("names"),
                "not 1 to 40 bytes",
            );
            let known = self.operators.iter().any(|operator| operator.jurisdiction == tax.jurisdiction);
            checks.must(known, || place("jurisdiction"), "that of no operator");
        }
        let all = &self.discrepancies;
        let percents = [
            all.late_payment_percent,
            all.short_payment_percent,
            all.understated_invoice_percent,
            all.ghost_payment_percent,
            all.wrong_settlement_percent,
        ];
        percents.into_iter().for_each(|percent| checks.percent(percent, || "discrepancies".to_owned()));
    }

    fn check_plans(&self, checks: &mut Checks) {
        let is_operator = |code: &str| self.operator(code).is_some();
        for fault in &self.faults {
            let known = is_operator(&fault.target) || ["licences", "tax", "bank"].contains(&fault.target.as_str());
            checks.must(known, || format!("fault of {}", fault.target), "neither an operator nor an authority");
            checks.must(fault.for_seconds >= 1, || format!("fault of {}", fault.target), "for_seconds: 0");
        }
        for spike in &self.spikes {
            checks.must(is_operator(&spike.operator), || format!("spike of {}", spike.operator), "no such operator");
            checks.within(spike.factor, 0.01, 1_000.0, || format!("spike of {}: factor", spike.operator));
        }
        for campaign in &self.campaigns {
            let place = || format!("campaign of {}", campaign.operator);
            checks.must(is_operator(&campaign.operator), place, "no such operator");
            checks.amount(campaign.bonus_minor, place);
        }
        for change in &self.licence_changes {
            let place = || format!("licence_change of {}", change.operator);
            checks.must(is_operator(&change.operator), place, "no such operator");
            let states = ["active", "suspended", "revoked", "expired", "pending"];
            checks.must(states.contains(&change.state.as_str()), place, "state: not one that there is");
            let words = ["compliant", "non_compliant", "under_review", "unknown"];
            checks.must(words.contains(&change.compliance.as_str()), place, "compliance: not one that there is");
        }
    }
}
