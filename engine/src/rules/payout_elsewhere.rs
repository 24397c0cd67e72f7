//! Money is paid out to an account from which this player never paid in.

use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::player::Move;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use models::alert::Severity;
use models::money::Currency;

/// What it is.
pub const ABOUT: About = About {
    name: "payout_elsewhere",
    home: Home::Operator,
    severity: Severity::Medium,
    what: "a withdrawal goes to another account than those that the player paid in from",
    takes_back: "a deposit from that account that is reported late, and a record that replaces the withdrawal",
    hears: &[Trigger::Withdrawal, Trigger::Deposit, Trigger::Undone],
};

params! {
    /// Currency of the amount.
    currency: Currency = Currency::KES, "", 0..=0, "the jurisdiction's";
    /// Withdrawals below this are not looked at.
    amount_min_minor: i64 = 500_000, "minor units", 0..=10_000_000_000_000, "no law: 5,000 shillings";
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let (Some((key, player)), Some(record)) = (heard.player_in(params.currency), heard.record) else { return };
    let who = Who::Player(key);
    let measured = |amount| Measured { observed: amount, limit: params.amount_min_minor, unit: Unit::MinorUnits };
    let details = |_: i64| {
        let accounts = player.paid_in.len();
        let known = if accounts == 1 { "account" } else { "accounts" };
        Details::of(vec![format!("paid out to an account that is not among the {accounts} {known} paid in from")])
    };
    // of the day's payouts to other accounts each stands for itself
    let mut taken_back = |was: &Move, why: &str| {
        out.taken_back(who, (&was.id, was.at, was.amount_minor), measured(0), why, details);
    };
    match heard.trigger {
        Trigger::Undone => {
            if let Some(undone) = heard.undone.filter(|undone| !undone.is_deposit) {
                taken_back(undone, "the withdrawal was taken back");
            }
        }
        Trigger::Deposit => {
            // a deposit that comes late from the account that was paid out to
            let Some(account) = record.account else { return };
            let to = |m: &&Move| !m.is_deposit && m.at >= heard.at && m.account == account.0;
            for later in player.moves.iter().filter(to) {
                taken_back(later, "a deposit from that account was reported later");
            }
        }
        Trigger::Withdrawal => {
            let Some(account) = record.account else { return };
            let is_known = player.paid_in.contains(&account.0) || player.paid_in_unknown || player.paid_in.is_empty();
            if is_known || record.amount_minor < params.amount_min_minor {
                return;
            }
            let found = Found {
                who,
                window: heard.spans.day,
                cause: Cause::Sum { told_from: 0 },
                measured: measured(record.amount_minor),
                severity: Severity::Medium,
            };
            out.found(found, details);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};

    #[test]
    fn money_goes_back_where_it_came_from() {
        let paid_in = || Story::at(60).account("anna's").deposit("anna", 700_000);
        check(
            "payout_elsewhere",
            "{}",
            &[
                ("to the same account", paid_in().withdraw("anna", 700_000), &[]),
                (
                    "to another one",
                    paid_in().account("ben's").withdraw("anna", 700_000),
                    &["player anna: 700000 minor_units"],
                ),
                (
                    "to one of two",
                    paid_in().account("old").deposit("anna", 1_000).account("anna's").withdraw("anna", 700_000),
                    &[],
                ),
                (
                    "nobody said where the money came from",
                    Story::at(60).deposit("anna", 700_000).account("ben's").withdraw("anna", 700_000),
                    &[],
                ),
                ("nobody says where it goes", paid_in().account("").withdraw("anna", 700_000), &[]),
                (
                    "she never paid in: a win of a free ticket",
                    Story::at(60).account("ben's").withdraw("anna", 700_000),
                    &[],
                ),
                ("little money", paid_in().account("ben's").withdraw("anna", 499_999), &[]),
                (
                    "a deposit from there that failed proves nothing",
                    paid_in().account("ben's").failed_deposit("anna", 1).withdraw("anna", 700_000),
                    &["player anna: 700000 minor_units"],
                ),
                (
                    "a deposit from there is reported late",
                    paid_in()
                        .account("new")
                        .after(minutes(60))
                        .withdraw("anna", 700_000)
                        .before(minutes(30))
                        .deposit("anna", 1_000),
                    &[],
                ),
                (
                    "a deposit from there afterwards",
                    paid_in().account("new").withdraw("anna", 700_000).after(minutes(30)).deposit("anna", 1_000),
                    &["player anna: 700000 minor_units"],
                ),
                (
                    "one of two is cancelled",
                    paid_in()
                        .account("ben's")
                        .withdraw("anna", 700_000)
                        .account("carl's")
                        .withdraw("anna", 600_000)
                        .take_back("anna", 2),
                    &["player anna: 600000 minor_units"],
                ),
                (
                    "one to her own account is cancelled",
                    paid_in()
                        .account("ben's")
                        .withdraw("anna", 700_000)
                        .account("anna's")
                        .withdraw("anna", 500_000)
                        .take_back("anna", 3),
                    &["player anna: 700000 minor_units"],
                ),
                (
                    "both are cancelled",
                    paid_in()
                        .account("ben's")
                        .withdraw("anna", 700_000)
                        .withdraw("anna", 600_000)
                        .take_back("anna", 3)
                        .take_back("anna", 2),
                    &[],
                ),
                (
                    "a deposit from one of two accounts is reported late",
                    paid_in()
                        .account("new")
                        .after(minutes(60))
                        .withdraw("anna", 700_000)
                        .account("ben's")
                        .withdraw("anna", 600_000)
                        .account("new")
                        .before(minutes(50))
                        .deposit("anna", 1_000),
                    &["player anna: 600000 minor_units"],
                ),
                ("it is cancelled", paid_in().account("ben's").withdraw("anna", 700_000).take_back("anna", 2), &[]),
            ],
        );
    }
}
