//! Money comes in and goes out again with little play between.

use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::player::{Move, Player};
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::{Severity, Window};
use models::money::Currency;
use models::ts::{HOUR, MINUTE, Ts};
use models::words::counted;

/// What it is.
pub const ABOUT: About = About {
    name: "rapid_in_out",
    home: Home::Operator,
    severity: Severity::High,
    what: "deposits are withdrawn again within a short time, and next to nothing of them was staked",
    takes_back: "stakes of the time between that are reported late, and records that replace a deposit or the withdrawal",
    hears: &[Trigger::Withdrawal, Trigger::Bet, Trigger::Deposit, Trigger::Undone],
};

params! {
    /// Currency of the amounts.
    currency: Currency = Currency::KES, "", 0..=0, "the jurisdiction's";
    /// Stakes below this share of the deposits are little play.
    play_percent: i64 = 10, "per cent", 1..=100, "laundering typologies: stake below about 10 % of deposits (FACTS)";
    /// The withdrawals are at least this share of the deposits.
    out_percent_min: i64 = 50, "per cent", 1..=100, "no law: less is not the money that came in";
    /// And at most this share: more was won before.
    out_percent_max: i64 = 150, "per cent", 100..=1_000, "no law: what was won is not passed through";
    /// Hours from the deposit to the withdrawal.
    span_hours: i64 = 24, "hours", 1..=720, "no law: transactions of a day are looked at together";
    /// Deposits below this are not looked at.
    deposits_min_minor: i64 = 1_000_000, "minor units", 0..=10_000_000_000_000, "no law: 10,000 shillings";
    coherent(self) {
        if self.out_percent_min > self.out_percent_max { return Err("out_percent_min is above out_percent_max"); }
        Ok(())
    }
}

struct Passed<'p> {
    deposits: Vec<&'p Move>,
    withdrawals: Vec<&'p Move>,
    paid_in: i64,
    taken_out: i64,
    staked: i64,
}

fn sum(moves: &[&Move]) -> i64 {
    moves.iter().fold(0, |sum: i64, m| sum.saturating_add(m.amount_minor))
}

/// Is `part` at least `percent` of `whole`?
fn is_share(part: i64, percent: i64, whole: i64) -> bool {
    i128::from(part) * 100 >= i128::from(whole) * i128::from(percent)
}

/// What passed through by a withdrawal.
fn passed<'p>(params: &Params, player: &'p Player, out: &Move) -> Option<Passed<'p>> {
    let window = Window { start: out.at.plus(-params.span_hours * HOUR), end: out.at.plus(1) };
    let deposits: Vec<&Move> = player.moves_within(window, true).collect();
    let first = deposits.first()?;
    let withdrawals: Vec<&Move> = player.moves_within(Window { start: first.at, end: window.end }, false).collect();
    let (paid_in, taken_out) = (sum(&deposits), sum(&withdrawals));
    let staked = out.staked_minor.saturating_sub(first.staked_minor);
    let is_passed = paid_in >= params.deposits_min_minor.max(1)
        && !is_share(staked, params.play_percent, paid_in)
        && is_share(taken_out, params.out_percent_min, paid_in)
        && !is_share(taken_out.saturating_sub(1), params.out_percent_max, paid_in);
    is_passed.then_some(Passed { deposits, withdrawals, paid_in, taken_out, staked })
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    // on time a stake and a deposit change nothing that is known
    if heard.trigger == Trigger::Bet && !heard.is_late {
        return;
    }
    let Some((key, player)) = heard.player_in(params.currency) else { return };
    let who = Who::Player(key);
    let from = heard.undone.map_or(heard.at, |undone| undone.at.min(heard.at));
    let until = heard.at.plus(params.span_hours * HOUR);
    let window = Window { start: from, end: until.max(from.plus(1)) };
    for withdrawal in player.moves_within(window, false) {
        match passed(params, player, withdrawal) {
            Some(passed) => say(params, who, &passed, withdrawal.at, out),
            None => clear(params, player, who, withdrawal, out),
        }
    }
    if let Some(undone) = heard.undone.filter(|undone| !undone.is_deposit) {
        let is_other = |m: &Move| (m.at.0 - undone.at.0).abs() <= params.span_hours * HOUR;
        let others = player.moves.iter().filter(|m| !m.is_deposit && is_other(m));
        if others.clone().all(|m| passed(params, player, m).is_none()) {
            let measured = Measured { observed: 0, limit: 0, unit: Unit::MinorUnits };
            out.cleared(who, undone.at, measured, "the withdrawal was taken back");
        }
    }
}

fn say(params: &Params, who: Who, passed: &Passed<'_>, at: Ts, out: &mut Out<'_>) {
    let Some(first) = passed.deposits.first() else { return };
    let found = Found {
        who,
        window: Window { start: first.at, end: first.at.plus(params.span_hours * HOUR).max(at.plus(1)) },
        cause: Cause::Overlap,
        measured: Measured {
            observed: passed.staked,
            limit: (i128::from(passed.paid_in) * i128::from(params.play_percent) / 100) as i64,
            unit: Unit::MinorUnits,
        },
        severity: if passed.staked == 0 { Severity::High } else { Severity::Medium },
    };
    out.found(found, |_| {
        let percent = |part: i64| i128::from(part) * 100 / i128::from(passed.paid_in.max(1));
        let minutes = counted(((at.0 - first.at.0) / MINUTE).max(1), "minute", "minutes");
        let reason = format!(
            "{} % of what was paid in went out again within {minutes}, and {} % of it was staked",
            percent(passed.taken_out),
            percent(passed.staked)
        );
        let moves = passed.deposits.iter().chain(&passed.withdrawals);
        Details::of(vec![reason]).with(moves.map(|m| &*m.id))
    });
}

/// Takes back what stood on a withdrawal, unless another one still carries it.
fn clear(params: &Params, player: &Player, who: Who, withdrawal: &Move, out: &mut Out<'_>) {
    if !out.stands(who, withdrawal.at) {
        return;
    }
    let near = |m: &&Move| !m.is_deposit && (m.at.0 - withdrawal.at.0).abs() <= params.span_hours * HOUR;
    if player.moves.iter().filter(near).any(|m| passed(params, player, m).is_some()) {
        return;
    }
    let measured = Measured { observed: 0, limit: 0, unit: Unit::MinorUnits };
    out.cleared(who, withdrawal.at, measured, "later data shows that the money was played with");
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};

    #[test]
    fn money_that_only_passes_through() {
        let paid_in = || Story::at(60).deposit("anna", 5_000_000);
        check(
            "rapid_in_out",
            "{}",
            &[
                (
                    "in and out, nothing staked",
                    paid_in().after(minutes(30)).withdraw("anna", 5_000_000),
                    &["player anna: 0 minor_units"],
                ),
                (
                    "four per cent staked, half taken out",
                    paid_in().stake("anna", 200_000).after(minutes(30)).withdraw("anna", 2_500_000),
                    &["player anna: 200000 minor_units"],
                ),
                ("less than half taken out", paid_in().after(minutes(30)).withdraw("anna", 2_499_999), &[]),
                ("ten per cent staked is play", paid_in().stake("anna", 500_000).withdraw("anna", 4_500_000), &[]),
                (
                    "a cent less is not",
                    paid_in().stake("anna", 499_999).withdraw("anna", 4_500_000),
                    &["player anna: 499999 minor_units"],
                ),
                ("two days later", paid_in().after(minutes(2_880)).withdraw("anna", 5_000_000), &[]),
                ("little money", Story::at(60).deposit("anna", 900_000).withdraw("anna", 900_000), &[]),
                ("a large win from before is taken out", paid_in().withdraw("anna", 9_000_000), &[]),
                (
                    "out before it was in",
                    Story::at(60).withdraw("anna", 5_000_000).after(minutes(5)).deposit("anna", 5_000_000),
                    &[],
                ),
                (
                    "in three parts, out in two",
                    paid_in()
                        .deposit("anna", 3_000_000)
                        .deposit("anna", 2_000_000)
                        .withdraw("anna", 4_000_000)
                        .withdraw("anna", 6_000_000),
                    &["player anna: 0 minor_units"],
                ),
                (
                    "what was staked the week before is no play of this money",
                    Story::at(60)
                        .stake("anna", 900_000)
                        .after(minutes(10_000))
                        .deposit("anna", 5_000_000)
                        .withdraw("anna", 5_000_000),
                    &["player anna: 0 minor_units"],
                ),
                ("the withdrawal failed", paid_in().failed_withdrawal("anna", 5_000_000), &[]),
                (
                    "the stakes between are reported late",
                    paid_in().after(minutes(30)).withdraw("anna", 5_000_000).before(minutes(20)).stake("anna", 600_000),
                    &[],
                ),
                (
                    "stakes after it change nothing",
                    paid_in().withdraw("anna", 5_000_000).after(minutes(5)).stake("anna", 600_000),
                    &["player anna: 0 minor_units"],
                ),
                (
                    "the withdrawal is cancelled after all",
                    paid_in().withdraw("anna", 5_000_000).take_back("anna", 2),
                    &[],
                ),
                (
                    "the deposit is reported after the withdrawal",
                    Story::at(60).withdraw("anna", 5_000_000).before(minutes(20)).deposit("anna", 5_000_000),
                    &["player anna: 0 minor_units"],
                ),
            ],
        );
    }
}
