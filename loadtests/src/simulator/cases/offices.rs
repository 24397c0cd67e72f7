//! Stories of operators as such: what they declare, what they report, what their games pay.

use super::{Said, Teller};
use crate::simulator::dice::Dice;
use crate::simulator::people::Member;
use crate::simulator::truth::{About, Case};
use models::ts::{DAY, MINUTE, Ts};

/// A game of its own for the story of a rigged one: nobody else plays it.
pub const GAME: &str = "crash";
/// People who play it, and their bets on a day.
const CROWD: (u32, i64) = (12, 110);
/// Days of exclusions that are known before the first one here.
const PAST_DAYS: i64 = 12;

pub(super) fn tell(teller: &mut Teller<'_>, times: u32) {
    declarations(teller, times);
    exclusions(teller, times);
    games(teller);
}

fn case(what: &'static str, condition: Option<&'static str>, operator: usize, (from, to): (Ts, Ts)) -> Case {
    Case { what, conditions: condition.into_iter().collect(), about: Vec::new(), operators: vec![operator], from, to }
}

/// Each operator declares each day what it earned, to the shilling or so; some say much less, or much more.
fn declarations(teller: &mut Teller<'_>, times: u32) {
    let operators = teller.scenario.operators.len();
    let wrong: Vec<(usize, i64, f64)> = (0..times)
        .map(|_| {
            let dice = &mut teller.dice;
            let share = if dice.happens(0.8) { dice.span(0.5, 0.9) } else { dice.span(1.15, 1.5) };
            let operator = dice.between(0, operators as i64 - 1).unsigned_abs() as usize;
            (operator, dice.between(1, teller.days - 2), share)
        })
        .collect();
    for operator in 0..operators {
        for day in 0..teller.days - 1 {
            let window = (teller.begin.plus(day * DAY), teller.begin.plus((day + 1) * DAY));
            let planted = wrong.iter().find(|(o, d, _)| (*o, *d) == (operator, day)).map(|(.., share)| *share);
            let share = planted.unwrap_or_else(|| teller.dice.span(0.998, 1.002));
            // in the morning after
            let said = window.1.plus(teller.dice.between(60, 600) * MINUTE);
            teller.say(said, Said::Declares { operator, share });
            if planted.is_some() {
                let case = case("declares another revenue", Some("declared_revenue_differs"), operator, window);
                teller.case_about(vec![About::Operator], case);
            }
        }
    }
}

/// A Poisson number.
fn poisson(dice: &mut Dice, mean: f64) -> u64 {
    let (mut at, mut count) = (dice.exponential(1.0), 0);
    while at < mean {
        (at, count) = (at + dice.exponential(1.0), count + 1);
    }
    count
}

/// Some exclude themselves every day; once a list is uploaded by mistake, and once it is only a bad day.
fn exclusions(teller: &mut Teller<'_>, times: u32) {
    let operators = teller.scenario.operators.len();
    for operator in 0..operators {
        let mean = teller.dice.span(1.0, 8.0);
        for day in -PAST_DAYS..teller.days - 1 {
            let window = (teller.begin.plus(day * DAY), teller.begin.plus((day + 1) * DAY));
            let is_planted = day >= 1 && (operator as i64 + day * 7) % 23 == 0 && times > 0;
            let count = match is_planted {
                true => (mean * teller.dice.span(15.0, 400.0)) as u64 + 40,
                // weeks are not even
                false => {
                    let uneven = teller.dice.span(0.6, 1.4);
                    poisson(&mut teller.dice, mean * uneven)
                }
            };
            teller.say(window.1, Said::Exclusions { operator, count });
            if is_planted {
                let case = case("a list uploaded by mistake", Some("unusual_exclusions"), operator, window);
                teller.case_about(vec![About::Operator], case);
            }
        }
    }
}

/// Two operators offer a game: at one it pays what its licence says, at the other a good part less.
fn games(teller: &mut Teller<'_>) {
    let Some(game) = teller.scenario.games.get(GAME).cloned() else { return };
    let places = teller.operators(2);
    let less = teller.dice.span(25.0, 45.0);
    for (operator, is_rigged) in [(places[0], true), (*places.last().unwrap_or(&places[0]), false)] {
        let returns = game.return_percent - if is_rigged { less } else { 0.0 };
        let mut crowd: Vec<Member> = (0..CROWD.0).map(|_| teller.member(&[operator])).collect();
        for day in 0..teller.days - 2 {
            for member in &mut crowd {
                let at = teller.begin.plus(day * DAY + teller.dice.between(8 * 60, 20 * 60) * MINUTE);
                teller.visit(member, 0, at, |script| {
                    for _ in 0..CROWD.1 {
                        let stake = script.dice().between(80, 120) * 100;
                        if script.balance() < stake {
                            script.deposit(100 * stake, true);
                        }
                        let multiple = script.dice().span(game.multiple_min, game.multiple_max);
                        let is_won = script.dice().happens(returns / 100.0 / multiple);
                        let bet = script.stake(GAME, stake, "rocket", multiple, None);
                        if is_won {
                            let due = script.at.plus(8 * MINUTE / 60);
                            script.owe(GAME, (stake as f64 * multiple) as i64, &bet, due, "rocket");
                        }
                        script.wait(12.0);
                    }
                });
            }
        }
        let condition = is_rigged.then_some("return_to_player_off");
        let what =
            if is_rigged { "a game pays less than its licence says" } else { "a game pays what its licence says" };
        let window = (teller.begin, teller.begin.plus(teller.days * DAY));
        teller.case_about(vec![About::Product(GAME.to_owned())], case(what, condition, operator, window));
    }
}
