//! Many accounts are paid out to one payment account.

use crate::rules::crowd::Crowded;
use crate::rules::finding::Who;
use crate::rules::input::Trigger;
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::run::Heard;
use crate::rules::standing::Out;
use models::alert::Severity;

/// What it is.
pub const ABOUT: About = About {
    name: "shared_payout_account",
    home: Home::Operator,
    severity: Severity::High,
    what: "withdrawals of several accounts go to one payout number",
    takes_back: "nothing: they were paid out there; a withdrawal that is cancelled was still sent there by its account",
    hears: &[Trigger::Withdrawal],
};

params! {
    /// Accounts paid out to one number that are not yet looked at.
    accounts_max: i64 = 2, "accounts", 1..=15, "no law: two people of a household share a wallet";
    /// Days within which they are counted.
    span_days: i64 = 30, "days", 1..=366, "no law: numbers are recycled (FACTS, identity)";
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let Some((account, crowd)) = heard.account else { return };
    let Params { accounts_max, span_days } = *params;
    let severities = [Severity::Medium, Severity::High];
    let crowded = Crowded {
        who: Who::Account(account),
        accounts_max,
        span_days,
        severities,
        words: "were paid out to one number",
    };
    crowded.judge(crowd, heard.at, out);
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};

    #[test]
    fn a_payout_number_is_a_household_at_most() {
        let wallet = || Story::at(60).account("wallet");
        check(
            "shared_payout_account",
            "{}",
            &[
                ("a couple", wallet().withdraw("anna", 5).withdraw("ben", 5).withdraw("anna", 5), &[]),
                (
                    "and a third",
                    wallet().withdraw("anna", 5).withdraw("ben", 5).withdraw("carl", 5),
                    &["account wallet: 3 accounts"],
                ),
                (
                    "who only pays in from there",
                    wallet().withdraw("anna", 5).withdraw("ben", 5).deposit("carl", 5),
                    &[],
                ),
                (
                    "whose withdrawal failed",
                    wallet().withdraw("anna", 5).withdraw("ben", 5).failed_withdrawal("carl", 5),
                    &[],
                ),
                (
                    "over two months",
                    wallet().withdraw("anna", 5).withdraw("ben", 5).after(minutes(43_300)).withdraw("carl", 5),
                    &[],
                ),
                (
                    "nobody says where it went",
                    Story::at(60).withdraw("anna", 5).withdraw("ben", 5).withdraw("carl", 5),
                    &[],
                ),
            ],
        );
    }
}
