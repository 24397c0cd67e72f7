//! What each kind of player does when their time comes.

use super::dice::{Dice, letters};
use super::people::{Actor, Habit, Member, Scheme, Trick, stranger};
use super::scenario::{AtRisk, Colluders, Launderers, Play};
use super::session::{Plan, Script, Stage};
use super::truth::{Kind, Truth};
use models::ts::{DAY, HOUR, SECOND, Ts};
use serde_json::json;

/// Stakes that a deposit is worth to somebody who plays within their means.
const DEPOSIT_STAKES: i64 = 20;
/// Bets of one session at most, whatever the mean of the scenario.
const BETS_MAX: u32 = 2_000;
/// The stake of somebody who chases a loss grows to so many of their first stakes at most.
const ESCALATION_MAX: f64 = 64.0;
/// How long nobody plays who takes a break.
const BREAK: i64 = HOUR;
/// Seconds between two deposits of one who keeps each below a threshold, on average.
const STRUCTURED_PAUSE: f64 = 900.0;

/// One round of an actor that begins at a time; what came of it and when it was over. `begin` is when the world began.
pub fn act(actor: &mut Actor, stage: Stage<'_>, begin: Ts, at: Ts) -> (Plan, Ts) {
    let kind = actor.kind;
    let product = actor.product.clone();
    let is_night = actor.calendar.is_night(at);
    let Actor { habit, members, dice, .. } = actor;
    let (mut plan, end, marks) = match habit {
        Habit::Plays(play) => within_means(stage, dice, &mut members[0], play, &product, kind, at),
        Habit::LosesControl(risk) => {
            let days = (at.0 - begin.0).max(0) as f64 / DAY as f64;
            let (plan, end, mut marks) = out_of_control(stage, dice, &mut members[0], risk, &product, days, at);
            if is_night {
                marks.push("night");
            }
            (plan, end, marks)
        }
        Habit::Launders(scheme, how) => launder(stage, dice, members, *scheme, how, &product, at),
        Habit::Colludes(Trick::OppositeBets, how) => opposite_bets(stage, dice, members, how, &product, at),
        Habit::Colludes(Trick::ChipDump, how) => chip_dump(stage, dice, members, how, &product, at),
    };
    plan.records.sort_by_key(|sent| sent.at);
    if !marks.is_empty() {
        let records = plan.names(&stage.scenario.operators);
        let mut operators: Vec<String> = records.iter().map(|record| record.operator.clone()).collect();
        operators.sort_unstable();
        operators.dedup();
        let players = members.iter().map(|member| member.number).collect();
        let first = plan.records.first().map_or(at, |sent| sent.at);
        plan.truths.push(Truth::Episode { kind, marks, players, operators, from: first, to: end, records });
    }
    (plan, end)
}

type Round = (Plan, Ts, Vec<&'static str>);

/// One of the player's accounts; the first is the likeliest.
fn account(dice: &mut Dice, member: &Member) -> usize {
    if dice.happens(0.6) { 0 } else { dice.between(0, member.accounts.len() as i64 - 1).unsigned_abs() as usize }
}

/// What the player likes, where it is offered; else what is.
fn offered(stage: Stage<'_>, member: &Member, account: usize, liked: &str) -> String {
    let products = &stage.scenario.operators[member.accounts[account].operator].products;
    products.iter().find(|product| *product == liked).or(products.first()).cloned().unwrap_or_default()
}

/// An amount as people choose them: whole hundreds of minor units, never nothing.
fn round(minor: f64) -> i64 {
    ((minor / 100.0).round() as i64).max(1) * 100
}

/// Bets until they have enough; pays in once a session at most, and takes out what grew.
fn within_means(
    stage: Stage<'_>,
    dice: &mut Dice,
    member: &mut Member,
    play: &Play,
    product: &str,
    kind: Kind,
    at: Ts,
) -> Round {
    let account = account(dice, member);
    let product = offered(stage, member, account, product);
    // whoever is excluded plays because nobody asks
    let checked = (kind == Kind::Excluded).then_some(false);
    let bets = dice.geometric(play.bets_per_session).min(BETS_MAX);
    let mut script = Script::new(stage, dice, member, account, at);
    script.enter(checked);
    if script.dice().happens(0.02) {
        let old = round(play.stake_minor as f64 * 400.0);
        script.limit(Some(old), old / 2);
    }
    let mut paid_in = 0;
    for _ in 0..bets {
        let stake = round(script.dice().lognormal(play.stake_minor as f64, play.spread));
        if script.balance() < stake {
            if paid_in > 0 {
                break;
            }
            paid_in = DEPOSIT_STAKES * stake.max(play.stake_minor);
            script.deposit(paid_in, true);
        }
        script.bet(&product, stake);
        script.wait(play.seconds_between_bets);
    }
    script.await_settled();
    // nobody pays in to take it out again: what grew is more than what came in
    let plenty = (3 * DEPOSIT_STAKES * play.stake_minor).max(2 * paid_in);
    if script.balance() > plenty {
        let surplus = script.balance() - plenty / 2;
        script.withdraw(surplus, None, "successful");
    }
    let is_off = kind == Kind::Casual && script.takes_break();
    let (plan, end) = script.leave();
    let end = if is_off { end.plus(BREAK) } else { end };
    (plan, end, if kind == Kind::Excluded { vec!["excluded_play"] } else { Vec::new() })
}

/// Raises the stake after each loss, plays until nothing is left and pays in again at once.
fn out_of_control(
    stage: Stage<'_>,
    dice: &mut Dice,
    member: &mut Member,
    risk: &AtRisk,
    product: &str,
    days: f64,
    at: Ts,
) -> Round {
    let account = account(dice, member);
    let product = offered(stage, member, account, product);
    let first = risk.play.stake_minor as f64 * (1.0 + risk.growth_percent_per_day / 100.0).powf(days);
    let bets = dice.geometric(risk.play.bets_per_session).min(BETS_MAX);
    let mut marks = Vec::new();
    let mut mark = |name: &'static str| {
        if !marks.contains(&name) {
            marks.push(name);
        }
    };
    let mut script = Script::new(stage, dice, member, account, at);
    script.enter(None);
    mark("at_risk_session");
    if script.dice().happens(0.1) {
        let old = round(first * 50.0);
        script.limit(Some(old), old * 2);
        mark("limit_raised");
    }
    if script.balance() > 0 && script.dice().happens(0.15) {
        let all = script.balance();
        script.withdraw(all, None, "cancelled");
        mark("withdrawal_cancelled");
    }
    let mut grown = 1.0;
    let mut paid_in = 0;
    for _ in 0..bets {
        if script.balance() == 0 {
            if paid_in > risk.chases {
                break;
            }
            if paid_in > 0 {
                mark("deposit_at_zero");
            }
            let amount = round(first * script.dice().span(4.0, 9.0));
            if script.dice().happens(0.15) {
                script.deposit(amount, false);
                mark("deposit_failed");
            }
            script.deposit(amount, true);
            paid_in += 1;
        }
        let stake = round(first * script.dice().lognormal(grown, risk.play.spread));
        let Some(bet) = script.bet(&product, stake) else { break };
        if bet.is_won {
            grown = 1.0;
            script.wait(risk.play.seconds_between_bets);
        } else {
            grown = (grown * risk.escalation).min(ESCALATION_MAX);
            if grown >= risk.escalation.powi(3) && risk.escalation > 1.0 {
                mark("stakes_escalate");
            }
            // who chases does not wait
            script.wait(risk.play.seconds_between_bets / 4.0);
        }
    }
    script.await_settled();
    if script.dice().happens(0.05) {
        script.note("intervention", json!({"intervention": "pop_up", "trigger": "staff"}));
    }
    if script.dice().happens(0.02) {
        script.note("complaint", json!({"subject": "payout"}));
    }
    let (plan, end) = script.leave();
    (plan, end, marks)
}

fn launder(
    stage: Stage<'_>,
    dice: &mut Dice,
    members: &mut [Member],
    scheme: Scheme,
    how: &Launderers,
    product: &str,
    at: Ts,
) -> Round {
    let (mut all, mut end) = (Plan::default(), at);
    for member in members {
        let product = offered(stage, member, 0, product);
        let large = round(dice.lognormal(how.deposit_minor as f64, 0.3));
        let wallet = (scheme == Scheme::ForeignPayout).then(|| stranger(dice));
        let share = dice.span(0.2, 1.0) * how.play_percent / 100.0;
        // their stakes are part of a plan and jump with nobody else's
        let mut script = Script::new(Stage { surges: &[], ..stage }, dice, member, 0, end);
        script.enter(None);
        let mut paid_in = 0;
        let parts = if scheme == Scheme::Structuring { script.dice().between(4, 8) } else { 1 };
        for _ in 0..parts {
            let below = how.threshold_minor as f64 * script.dice().span(0.85, 0.99);
            let amount = if scheme == Scheme::Structuring { below as i64 } else { large };
            script.deposit(amount, true);
            paid_in += amount;
            if parts > 1 {
                script.wait(STRUCTURED_PAUSE);
            }
        }
        // three bets at most, together no more than the share of what was paid in
        let stake = (paid_in as f64 * share / 3.0) as i64;
        for _ in 0..3 {
            script.bet(&product, stake);
            script.wait(30.0);
        }
        script.await_settled();
        let everything = script.balance();
        script.withdraw(everything, wallet, "successful");
        let (plan, left) = script.leave();
        join(&mut all, plan);
        end = left;
    }
    (all, end, vec![scheme.as_str()])
}

fn join(all: &mut Plan, plan: Plan) {
    all.records.extend(plan.records);
    all.asks.extend(plan.asks);
    all.truths.extend(plan.truths);
}

/// Nearly the same on both sides of one match, within two minutes.
fn opposite_bets(
    stage: Stage<'_>,
    dice: &mut Dice,
    members: &mut [Member],
    how: &Colluders,
    product: &str,
    at: Ts,
) -> Round {
    let stake = round(dice.lognormal(how.stake_minor as f64, 0.3));
    let game = format!("{product}-x-{}", letters(dice.between(0, 100_000).unsigned_abs()));
    let home_wins = dice.happens(0.5);
    let settled = at.plus(dice.between(900, 5_400) * SECOND);
    let (mut all, mut end) = (Plan::default(), at);
    for (member, side) in members.iter_mut().zip(["home", "away"]) {
        let product = offered(stage, member, 0, product);
        let stake = (stake as f64 * dice.span(0.95, 1.05)) as i64;
        let begin = at.plus(dice.between(0, 60) * SECOND);
        let mut script = Script::new(stage, dice, member, 0, begin);
        script.enter(None);
        if script.balance() < stake {
            script.deposit(2 * stake, true);
        }
        let bet = script.stake(&product, stake, &game, 1.9, Some(side));
        if (side == "home") == home_wins {
            let due = settled.max(script.at);
            script.owe(&product, stake * 19 / 10, &bet, due, &game);
        }
        let (plan, left) = script.leave();
        join(&mut all, plan);
        end = end.max(left);
    }
    (all, end, vec![Trick::OppositeBets.as_str()])
}

/// The first of two loses to the second, hand after hand.
fn chip_dump(
    stage: Stage<'_>,
    dice: &mut Dice,
    members: &mut [Member],
    how: &Colluders,
    product: &str,
    at: Ts,
) -> Round {
    let [giver, taker] = members else { return (Plan::default(), at, Vec::new()) };
    let product = offered(stage, giver, 0, product);
    let hands = dice.between(3, 8);
    let stakes: Vec<i64> = (0..hands).map(|_| round(dice.lognormal(how.stake_minor as f64, 0.3))).collect();
    let table = format!("{product}-t-{}", letters(dice.between(0, 100_000).unsigned_abs()));
    let times: Vec<Ts> = (1..=hands).map(|hand| at.plus((hand * 60 + dice.between(0, 20)) * SECOND)).collect();
    let (mut all, mut end) = (Plan::default(), at);
    for (gives, member) in [(true, giver), (false, taker)] {
        let mut script = Script::new(stage, dice, member, 0, at);
        script.enter(None);
        let needed: i64 = stakes.iter().map(|stake| if gives { *stake } else { stake / 20 }).sum();
        if script.balance() < needed {
            script.deposit(needed, true);
        }
        for (hand, (stake, time)) in stakes.iter().zip(&times).enumerate() {
            script.until(*time);
            let hand = format!("{table}-{}", letters(hand as u64));
            let mine = if gives { *stake } else { (stake / 20).max(1) };
            let bet = script.stake(&product, mine, &hand, 2.0, None);
            if !gives {
                let due = script.at.plus(20 * SECOND);
                script.owe(&product, (stake + mine) * 95 / 100, &bet, due, &hand);
            }
        }
        script.await_settled();
        if !gives {
            let everything = script.balance();
            script.withdraw(everything, None, "successful");
        }
        let (plan, left) = script.leave();
        join(&mut all, plan);
        end = end.max(left);
    }
    (all, end, vec![Trick::ChipDump.as_str()])
}
