//! Stories of players. Where the law is arithmetic (a month's deposits) sums say who else broke it.

use super::{Said, Teller, after, hours, play};
use crate::simulator::people::{Member, stranger};
use crate::simulator::truth::{About, Case};
use models::ts::{DAY, HOUR, MINUTE, SECOND, Ts};
use serde_json::json;

/// Each of them once.
pub(super) const ALL: &[fn(&mut Teller<'_>)] = &[
    excluded_meanwhile,
    break_is_over,
    excluded_takes_the_balance,
    harm_unanswered,
    harm_answered,
    harm_is_weak,
    structured,
    ordinary_deposits,
    in_and_out,
    won_and_cashed_out,
    high_roller,
    paid_to_somebody_else,
    two_wallets,
    ring_on_one_device,
    household,
    device_was_sold,
    opposite,
    rivals_on_a_big_match,
    slept_and_burst,
    came_back_quietly,
    holiday_of_a_high_roller,
    own_limit_passed,
    own_limit_kept,
    month_passed,
    young_month_passed,
    month_with_withdrawals,
    everywhere_together,
    everywhere_a_little,
    two_places_at_once,
    spread_over_operators,
];

/// Somebody excludes themself and goes on playing, hours or days later: the operator does not ask again, or does not care.
fn excluded_meanwhile(teller: &mut Teller<'_>) {
    let (mut who, at) = (teller.someone(), teller.awake());
    let product = teller.product(&who, 0);
    teller.visit(&mut who, 0, at, |script| {
        script.deposit(200_000, true);
        play(script, &product, 100_000, 4);
    });
    let excluded = at.plus(hours(2) + teller.dice.between(0, 60) * MINUTE);
    teller.say(excluded, Said::Excluded { phone: who.phone.clone(), until: None });
    let begin = excluded.plus(teller.dice.between(45, 30 * 60) * MINUTE);
    let end = teller.visit(&mut who, 0, begin, |script| {
        script.deposit(150_000, true);
        play(script, &product, 120_000, 5);
    });
    teller.case("plays on after an exclusion", &["excluded_play"], &[&who], (begin, end));
}

/// A break of a day, and play after it.
fn break_is_over(teller: &mut Teller<'_>) {
    let (mut who, at) = (teller.someone(), teller.awake());
    let until = at.plus(DAY);
    teller.say(at, Said::Excluded { phone: who.phone.clone(), until: Some(until) });
    let begin = until.plus(teller.dice.between(5, 300) * MINUTE);
    let product = teller.product(&who, 0);
    let end = teller.visit(&mut who, 0, begin, |script| {
        script.deposit(150_000, true);
        play(script, &product, 120_000, 5);
    });
    teller.case("plays after a day's break", &[], &[&who], (at, end));
}

/// Bets of before are settled, and the balance is paid out: both are theirs.
fn excluded_takes_the_balance(teller: &mut Teller<'_>) {
    let (mut who, at) = (teller.someone(), teller.awake());
    let product = teller.product(&who, 0);
    let end = teller.visit(&mut who, 0, at, |script| {
        script.deposit(600_000, true);
        play(script, &product, 250_000, 3);
    });
    let excluded = end.plus(HOUR);
    teller.say(excluded, Said::Excluded { phone: who.phone.clone(), until: None });
    let begin = excluded.plus(teller.dice.between(20, 2_000) * MINUTE);
    let end = teller.visit(&mut who, 0, begin, |script| {
        let everything = script.balance();
        script.withdraw(everything, None, "successful");
    });
    teller.case("takes the balance after an exclusion", &[], &[&who], (at, end));
}

/// The operator is told of a sign of harm and does nothing, or calls much too late.
fn harm_unanswered(teller: &mut Teller<'_>) {
    let (mut who, at) = (teller.someone(), teller.awake());
    let operator = who.accounts[0].operator;
    teller.say(at, Said::Harm { operator, phone: who.phone.clone(), is_weak: false });
    let limit = at.plus(teller.law.answer_minutes * MINUTE);
    if teller.dice.happens(0.5) {
        let late = limit.plus(teller.dice.between(20, 900) * MINUTE);
        teller.visit(&mut who, 0, late, |script| {
            script.note("intervention", json!({"intervention": "call", "trigger": "signal"}));
        });
    }
    teller.case("a sign of harm is not answered in time", &["harm_signal_unanswered"], &[&who], (at, limit));
}

fn harm_answered(teller: &mut Teller<'_>) {
    let (mut who, at) = (teller.someone(), teller.awake());
    let operator = who.accounts[0].operator;
    teller.say(at, Said::Harm { operator, phone: who.phone.clone(), is_weak: false });
    let called = at.plus(teller.dice.between(3, teller.law.answer_minutes - 8) * MINUTE);
    let end = teller.visit(&mut who, 0, called, |script| {
        script.note("intervention", json!({"intervention": "call", "trigger": "signal"}));
    });
    teller.case("a sign of harm is answered", &[], &[&who], (at, end));
}

fn harm_is_weak(teller: &mut Teller<'_>) {
    let (who, at) = (teller.someone(), teller.awake());
    let operator = who.accounts[0].operator;
    teller.say(at, Said::Harm { operator, phone: who.phone.clone(), is_weak: true });
    teller.case("a weak sign of harm is watched", &[], &[&who], (at, at.plus(DAY)));
}

/// Each deposit a little below what is reported, and together several times as much; played with, so that nothing else
/// is wrong.
fn structured(teller: &mut Teller<'_>) {
    let (mut who, at) = (teller.someone(), teller.awake());
    let product = teller.product(&who, 0);
    let (parts, reported) = (teller.dice.between(3, 7), teller.law.reported_minor);
    let end = teller.visit(&mut who, 0, at, |script| {
        for _ in 0..parts {
            let below = (reported as f64 * script.dice().span(0.82, 0.995)) as i64 / 10_000 * 10_000;
            script.deposit(below, true);
            play(script, &product, below / 2, 2);
            script.wait(1_800.0);
        }
    });
    teller.case("deposits kept just below what is reported", &["structured_deposits"], &[&who], (at, end));
}

/// Pays in the same every evening, and on payday more: round amounts far below anything.
fn ordinary_deposits(teller: &mut Teller<'_>) {
    let (mut who, at) = (teller.someone(), teller.awake());
    let product = teller.product(&who, 0);
    let usual = teller.amount(50_000, 300_000);
    let mut end = at;
    for day in 0..3 {
        end = teller.visit(&mut who, 0, at.plus(day * DAY), |script| {
            for _ in 0..3 {
                script.deposit(if day == 2 { 3 * usual } else { usual }, true);
                play(script, &product, usual, 5);
            }
        });
    }
    teller.case("pays in the same again and again", &[], &[&who], (at, end));
}

/// In, next to nothing staked, and out again.
fn in_and_out(teller: &mut Teller<'_>) {
    let (mut who, at) = (teller.someone(), teller.awake());
    let product = teller.product(&who, 0);
    let parts = teller.dice.between(1, 3);
    let amount = teller.amount(3_000_000, 9_000_000);
    let share = teller.dice.span(0.0, 0.07);
    let pause = teller.dice.span(300.0, 9_000.0);
    let end = teller.visit(&mut who, 0, at, |script| {
        for _ in 0..parts {
            script.deposit(amount, true);
        }
        if share > 0.01 {
            play(script, &product, ((amount * parts) as f64 * share) as i64, 2);
        }
        script.wait(pause);
        script.await_settled();
        let everything = script.balance();
        script.withdraw(everything, None, "successful");
    });
    teller.case("money passes through", &["rapid_in_out"], &[&who], (at, end));
}

/// A bet or two, a large win, and the money is taken out minutes later.
fn won_and_cashed_out(teller: &mut Teller<'_>) {
    let (mut who, at) = (teller.someone(), teller.awake());
    let product = teller.product(&who, 0);
    let amount = teller.amount(1_000_000, 3_000_000);
    let end = teller.visit(&mut who, 0, at, |script| {
        script.deposit(amount, true);
        let stake = (amount as f64 * script.dice().span(0.3, 1.0)) as i64;
        let bet = script.stake(&product, stake, "the-big-one", 8.0, None);
        let due = script.at.plus(5 * MINUTE);
        script.owe(&product, stake * 8, &bet, due, "the-big-one");
        script.await_settled();
        script.wait(120.0);
        let everything = script.balance();
        script.withdraw(everything, None, "successful");
    });
    teller.case("wins and takes it out minutes later", &[], &[&who], (at, end));
}

/// Pays in a lot, plays all of it several times over and takes out what is left.
fn high_roller(teller: &mut Teller<'_>) {
    let (mut who, at) = (teller.someone(), teller.awake());
    let product = teller.product(&who, 0);
    let amount = teller.amount(4_000_000, 8_000_000);
    let end = teller.visit(&mut who, 0, at, |script| {
        script.deposit(amount, true);
        play(script, &product, amount * 2, 30);
        script.await_settled();
        let everything = script.balance();
        script.withdraw(everything, None, "successful");
    });
    teller.case("plays high", &[], &[&who], (at, end));
}

/// Won honestly or not, it is paid to a wallet of somebody else.
fn paid_to_somebody_else(teller: &mut Teller<'_>) {
    let (mut who, at) = (teller.someone(), teller.awake());
    let product = teller.product(&who, 0);
    let amount = teller.amount(1_500_000, 5_000_000);
    let other = stranger(&mut teller.dice);
    let end = teller.visit(&mut who, 0, at, |script| {
        script.deposit(amount, true);
        // small enough parts that most of it is still there
        play(script, &product, amount / 3, 4);
        script.await_settled();
        let everything = script.balance();
        script.withdraw(everything, Some(other), "successful");
    });
    teller.case("paid out to somebody else", &["payout_elsewhere"], &[&who], (at, end));
}

/// Two wallets of one's own: paid in from both, paid out to one of them.
fn two_wallets(teller: &mut Teller<'_>) {
    let (mut who, at) = (teller.someone(), teller.awake());
    let product = teller.product(&who, 0);
    let amount = teller.amount(1_000_000, 3_000_000);
    let (first, second) = (who.wallet.clone(), stranger(&mut teller.dice));
    for wallet in [&second, &first] {
        who.wallet.clone_from(wallet);
        teller.visit(&mut who, 0, at.plus(if *wallet == first { HOUR } else { 0 }), |script| {
            script.deposit(amount, true);
            play(script, &product, amount / 2, 5);
        });
    }
    let end = teller.visit(&mut who, 0, at.plus(3 * HOUR), |script| {
        let everything = script.balance();
        script.withdraw(everything, Some(second), "successful");
    });
    teller.case("two wallets of one's own", &[], &[&who], (at, end));
}

/// Many accounts on one phone, all of them paid out to one wallet.
fn ring_on_one_device(teller: &mut Teller<'_>) {
    let (operator, at) = (teller.operators(1), teller.awake());
    let count = teller.dice.between(4, 8);
    let mut ring: Vec<Member> = (0..count).map(|_| teller.member(&operator)).collect();
    let (device, wallet) = (ring[0].device.clone(), ring[0].wallet.clone());
    let mut end = at;
    for member in &mut ring {
        member.device.clone_from(&device);
        let product = teller.product(member, 0);
        let amount = teller.amount(100_000, 300_000);
        let to = Some(wallet.clone());
        end = teller.visit(member, 0, end.plus(5 * MINUTE), |script| {
            script.deposit(amount, true);
            play(script, &product, amount / 3, 3);
            script.await_settled();
            let half = script.balance() / 2;
            script.withdraw(half.max(100), to, "successful");
        });
    }
    let case = |what, condition| Case {
        what,
        conditions: vec![condition],
        about: Vec::new(),
        operators: operator.clone(),
        from: at,
        to: end,
    };
    teller.case_about(vec![About::Device(device)], case("a ring on one phone", "shared_device"));
    teller.case_about(vec![About::Wallet(wallet)], case("a ring with one wallet", "shared_payout_account"));
}

/// A couple shares a phone and a wallet.
fn household(teller: &mut Teller<'_>) {
    let (operator, at) = (teller.operators(1), teller.awake());
    let (mut one, mut other) = (teller.member(&operator), teller.member(&operator));
    (other.device, other.wallet) = (one.device.clone(), one.wallet.clone());
    let mut end = at;
    for member in [&mut one, &mut other] {
        let product = teller.product(member, 0);
        end = teller.visit(member, 0, end.plus(HOUR), |script| {
            script.deposit(300_000, true);
            play(script, &product, 250_000, 8);
            script.await_settled();
            let half = script.balance() / 2;
            script.withdraw(half, None, "successful");
        });
    }
    let about = vec![About::Device(one.device.clone()), About::Wallet(one.wallet.clone())];
    let case = Case {
        what: "a couple shares phone and wallet",
        conditions: Vec::new(),
        about,
        operators: operator,
        from: at,
        to: end,
    };
    teller.case_about(case.about.clone(), case);
}

/// A phone that was sold, twice in a quarter.
fn device_was_sold(teller: &mut Teller<'_>) {
    let (operator, at) = (teller.operators(1), teller.awake());
    let owners = [at.plus(-100 * DAY), at.plus(-50 * DAY), at];
    let mut device = None;
    let mut end = at;
    for owned in owners {
        let mut owner = teller.member(&operator);
        owner.device.clone_from(device.get_or_insert(owner.device.clone()));
        let product = teller.product(&owner, 0);
        end = teller.visit(&mut owner, 0, owned, |script| {
            script.deposit(200_000, true);
            play(script, &product, 180_000, 6);
        });
    }
    let about = device.into_iter().map(About::Device).collect();
    let (what, conditions) = ("a phone was sold twice", Vec::new());
    teller.case_about(about, Case { what, conditions, about: Vec::new(), operators: operator, from: at, to: end });
}

/// Two cover both sides of matches that hardly anybody bets on, evening after evening.
fn opposite(teller: &mut Teller<'_>) {
    let (operator, at) = (teller.operator_with("sportsbook"), teller.awake());
    let (mut one, mut other) = (teller.member(&operator), teller.member(&operator));
    let (mut end, matches) = (at, teller.dice.between(2, 4));
    for no in 0..matches {
        let game = format!("match-{}-{no}", teller.number);
        let stake = teller.amount(400_000, 2_500_000);
        let begin = at.plus(no * DAY / 4);
        for (member, side) in [(&mut one, "home"), (&mut other, "away")] {
            let (product, late) = ("sportsbook", teller.dice.between(10, 240));
            let stake = (stake as f64 * teller.dice.span(0.93, 1.07)) as i64;
            let (game, wins) = (game.clone(), (side == "home") == (no % 2 == 0));
            end = teller.visit(member, 0, begin.plus(late * SECOND), |script| {
                if script.balance() < stake {
                    script.deposit(2 * stake, true);
                }
                let bet = script.stake(product, stake, &game, 1.9, Some(side));
                if wins {
                    let due = script.at.plus(100 * MINUTE);
                    script.owe(product, stake * 19 / 10, &bet, due, &game);
                }
            });
        }
    }
    teller.case("both sides of quiet matches", &["opposite_bets"], &[&one, &other], (at, end));
}

/// Thirty people bet on a big match, some of them the same on either side within minutes.
fn rivals_on_a_big_match(teller: &mut Teller<'_>) {
    let (operator, at) = (teller.operator_with("sportsbook"), teller.awake());
    let game = format!("derby-{}", teller.number);
    let mut crowd = Vec::new();
    for no in 0..30 {
        let mut member = teller.member(&operator);
        let side = ["home", "away", "draw"][no % 3];
        let (stake, late, game) = (teller.amount(20_000, 60_000), teller.dice.between(0, 3_600), game.clone());
        teller.visit(&mut member, 0, at.plus(late * SECOND), |script| {
            script.deposit(3 * stake, true);
            let bet = script.stake("sportsbook", stake, &game, 2.8, Some(side));
            if side == "draw" {
                let due = script.at.plus(100 * MINUTE);
                script.owe("sportsbook", stake * 28 / 10, &bet, due, &game);
            }
        });
        crowd.push(member);
    }
    let members: Vec<&Member> = crowd.iter().collect();
    teller.case("rivals on a big match", &[], &members, (at, at.plus(hours(2))));
}

fn slept(teller: &mut Teller<'_>, days: (i64, i64)) -> (Member, Ts) {
    let (mut who, at) = (teller.someone(), teller.awake());
    let product = teller.product(&who, 0);
    let before = at.plus(-teller.dice.between(days.0, days.1) * DAY);
    teller.visit(&mut who, 0, before, |script| {
        script.deposit(100_000, true);
        play(script, &product, 90_000, 5);
    });
    (who, at)
}

/// Nothing for months, then as much in an evening as others in a year.
fn slept_and_burst(teller: &mut Teller<'_>) {
    let (mut who, at) = slept(teller, (100, 320));
    let product = teller.product(&who, 0);
    let (amount, parts) = (teller.amount(12_000_000, 24_000_000), teller.dice.between(1, 4));
    let end = teller.visit(&mut who, 0, at, |script| {
        for _ in 0..parts {
            script.deposit(amount / parts, true);
            play(script, &product, amount / parts, 4);
            script.wait(600.0);
        }
    });
    teller.case("slept for months and burst", &["dormant_burst"], &[&who], (at, end));
}

fn came_back_quietly(teller: &mut Teller<'_>) {
    let (mut who, at) = slept(teller, (100, 320));
    let product = teller.product(&who, 0);
    let end = teller.visit(&mut who, 0, at, |script| {
        script.deposit(200_000, true);
        play(script, &product, 180_000, 6);
    });
    teller.case("came back quietly", &[], &[&who], (at, end));
}

fn holiday_of_a_high_roller(teller: &mut Teller<'_>) {
    let (mut who, at) = slept(teller, (10, 24));
    let product = teller.product(&who, 0);
    let amount = teller.amount(12_000_000, 20_000_000);
    let end = teller.visit(&mut who, 0, at, |script| {
        script.deposit(amount, true);
        play(script, &product, 2 * amount, 20);
    });
    teller.case("a high roller is back from holiday", &[], &[&who], (at, end));
}

/// The player said how much, and the operator takes more.
fn own_limit_passed(teller: &mut Teller<'_>) {
    let (mut who, at) = (teller.someone(), teller.awake());
    let product = teller.product(&who, 0);
    let limit = teller.amount(100_000, 400_000);
    let kind = ["deposit_daily", "deposit_weekly", "stake_daily", "loss_monthly"][teller.dice.between(0, 3) as usize];
    let over = teller.dice.span(1.05, 1.9);
    let (mut from, mut to) = (at, at);
    let end = teller.visit(&mut who, 0, at, |script| {
        script.limit_of(kind, None, limit);
        script.wait(60.0);
        from = script.at;
        let much = (limit as f64 * over) as i64;
        script.pay_in(much / 2, true);
        script.pay_in(much - much / 2, true);
        if !kind.starts_with("deposit") {
            // on a bet that is lost, where losses are limited
            script.stake(&product, much, "one-bet", 3.0, None);
        }
        to = script.at;
    });
    teller.case("the own limit is passed", &["limit_exceeded"], &[&who], (from, to.max(end)));
}

/// To the limit and not beyond; a higher one a day later; a deposit that was refused.
fn own_limit_kept(teller: &mut Teller<'_>) {
    let (mut who, at) = (teller.someone(), teller.awake());
    let product = teller.product(&who, 0);
    let limit = teller.amount(100_000, 400_000);
    teller.visit(&mut who, 0, at, |script| {
        script.deposit(limit, true);
        script.limit(None, limit);
        script.deposit(limit, true);
        script.deposit(limit / 2, true);
        play(script, &product, limit, 6);
    });
    let end = teller.visit(&mut who, 0, at.plus(DAY), |script| {
        script.limit(Some(limit), 3 * limit);
        script.deposit(2 * limit, true);
        script.deposit(limit, true);
    });
    teller.case("the own limit is kept", &[], &[&who], (at, end));
}

/// More in a calendar month than the law lets pass, in parts.
fn month_passed(teller: &mut Teller<'_>) {
    pay_in(teller, "more in a month than may pass", false, (1.05, 1.8));
}

fn young_month_passed(teller: &mut Teller<'_>) {
    pay_in(teller, "more in a month than may pass for the young", true, (1.05, 1.8));
}

fn pay_in(teller: &mut Teller<'_>, what: &'static str, is_young: bool, share: (f64, f64)) {
    let (mut who, at) = (teller.someone(), teller.awake());
    teller.say(at.plus(-SECOND), Said::Age { phone: who.phone.clone(), is_young });
    let limit = if is_young { teller.law.month_young_minor } else { teller.law.month_minor };
    let together = (limit as f64 * teller.dice.span(share.0, share.1)) as i64;
    let (product, parts) = (teller.product(&who, 0), teller.dice.between(3, 6));
    let end = teller.visit(&mut who, 0, at, |script| {
        for _ in 0..parts {
            script.deposit(together / parts + 1, true);
            play(script, &product, together / parts, 6);
            script.wait(600.0);
        }
    });
    teller.case(what, &["net_deposit_threshold"], &[&who], (at, end));
}

/// More comes in than the law lets pass, but as much goes out between.
fn month_with_withdrawals(teller: &mut Teller<'_>) {
    let (mut who, at) = (teller.someone(), teller.awake());
    let (product, part) = (teller.product(&who, 0), teller.law.month_minor * 6 / 10);
    let mut end = at;
    for round in 0..3 {
        end = teller.visit(&mut who, 0, at.plus(round * 5 * HOUR), |script| {
            let stake = part / 2;
            script.deposit(part, true);
            let bet = script.stake(&product, stake, "even", 2.0, None);
            let due = script.at.plus(MINUTE);
            script.owe(&product, stake * 2, &bet, due, "even");
            script.await_settled();
            let everything = script.balance();
            script.withdraw(everything, None, "successful");
        });
    }
    teller.case("as much goes out as comes in", &[], &[&who], (at, end));
}

/// At each of several operators less than is allowed, and together more.
fn everywhere_together(teller: &mut Teller<'_>) {
    let count = teller.dice.between(2, 4) as usize;
    let (places, at) = (teller.operators(count), teller.awake());
    let mut who = teller.member(&places);
    let share = teller.dice.span(1.1, 1.5) / places.len() as f64;
    let part = (teller.law.month_everywhere_minor as f64 * share) as i64;
    let mut end = at;
    for account in 0..places.len() {
        let product = teller.product(&who, account);
        end = teller.visit(&mut who, account, end.plus(2 * HOUR), |script| {
            script.deposit(part, true);
            play(script, &product, part, 8);
        });
    }
    let conditions = ["net_deposits_across_operators"];
    teller.case("more everywhere together than is allowed", &conditions, &[&who], (at, end));
}

fn everywhere_a_little(teller: &mut Teller<'_>) {
    let (places, at) = (teller.operators(3), teller.awake());
    let mut who = teller.member(&places);
    let part = teller.law.month_everywhere_minor / 5;
    let mut end = at;
    for account in 0..places.len() {
        let product = teller.product(&who, account);
        end = teller.visit(&mut who, account, end.plus(2 * HOUR), |script| {
            script.deposit(part, true);
            play(script, &product, part, 8);
        });
    }
    teller.case("a little everywhere", &[], &[&who], (at, end));
}

/// Bets here and there in turns, a minute apart.
fn two_places_at_once(teller: &mut Teller<'_>) {
    let (places, at) = (teller.operators(2), teller.awake());
    let mut who = teller.member(&places);
    let mut end = at;
    for account in 0..2 {
        let product = teller.product(&who, account);
        let begin = at.plus(account as i64 * teller.dice.between(30, 120) * SECOND);
        end = teller.visit(&mut who, account, begin, |script| {
            script.deposit(200_000, true);
            for _ in 0..6 {
                script.bet(&product, 10_000);
                script.wait(60.0);
            }
        });
    }
    teller.case("bets at two operators at once", &["concurrent_play"], &[&who], (at, after(end)));
}

/// What one operator would report is spread over several within hours.
fn spread_over_operators(teller: &mut Teller<'_>) {
    let count = teller.dice.between(3, 4) as usize;
    let (places, at) = (teller.operators(count), teller.awake());
    let mut who = teller.member(&places);
    let part = (teller.law.reported_minor as f64 * teller.dice.span(1.05, 1.6) / places.len() as f64) as i64;
    let mut end = at;
    for account in 0..places.len() {
        let product = teller.product(&who, account);
        let begin = end.plus(teller.dice.between(20, 90) * MINUTE);
        end = teller.visit(&mut who, account, begin, |script| {
            script.deposit(part, true);
            play(script, &product, part, 6);
        });
    }
    teller.case("spread over operators", &["structured_across_operators"], &[&who], (at, end));
}
