//! Several deposits, each just below a threshold that would have been looked at.

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
    name: "structured_deposits",
    home: Home::Operator,
    severity: Severity::High,
    what: "deposits just below a threshold, one after the other, that together pass it",
    takes_back: "a record that replaces one of the deposits, where too few are left",
    hears: &[Trigger::Deposit, Trigger::Undone],
};

params! {
    /// Currency of the thresholds.
    currency: Currency = Currency::KES, "", 0..=0, "the jurisdiction's";
    /// Thresholds that people may want to stay below.
    thresholds_minor: Vec<i64> = vec![193_500_000], "minor units", 100..=10_000_000_000_000, "Kenya's cash threshold of USD 15,000 (FACTS, money and tax: uncertain), at 129 shillings, November 2026";
    /// How far below a threshold a deposit is still just below it.
    band_percent: i64 = 20, "per cent", 1..=50, "no law: half of all amounts that people choose are round and lie farther below";
    /// Deposits that make a pattern.
    deposits_min: i64 = 3, "deposits", 2..=20, "no law: two happen";
    /// Hours within which they lie.
    span_hours: i64 = 24, "hours", 1..=720, "no law: transactions of a day are looked at together";
}

/// The deposits of the span that ends with one of them.
fn run<'p>(params: &Params, player: &'p Player, until: Ts) -> Option<(i64, Vec<&'p Move>)> {
    let window = Window { start: until.plus(-params.span_hours * HOUR), end: until.plus(1) };
    let near = |threshold: i64| -> Vec<&'p Move> {
        let least = (i128::from(threshold) * i128::from(100 - params.band_percent) / 100) as i64;
        player.moves_within(window, true).filter(|m| (least..threshold).contains(&m.amount_minor)).collect()
    };
    let runs = params.thresholds_minor.iter().map(|threshold| (*threshold, near(*threshold)));
    let is_run =
        |(threshold, run): &(i64, Vec<&Move>)| run.len() as i64 >= params.deposits_min && sum(run) >= *threshold;
    runs.filter(is_run).max_by_key(|(threshold, run)| (run.len(), *threshold))
}

fn sum(moves: &[&Move]) -> i64 {
    moves.iter().fold(0, |sum: i64, m| sum.saturating_add(m.amount_minor))
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let Some((key, player)) = heard.player_in(params.currency) else { return };
    let who = Who::Player(key);
    let measured = |sum, threshold| Measured { observed: sum, limit: threshold, unit: Unit::MinorUnits };
    let span = params.span_hours * HOUR;
    let undone = heard.undone.filter(|_| heard.trigger == Trigger::Undone);
    let base = undone.map_or(heard.at, |undone| undone.at);
    // a deposit that comes late, or is taken back, belongs to the runs of those behind it, too
    let behind = |m: &&Move| m.is_deposit && m.at >= base && m.at.0 - base.0 <= span;
    let mut ends = player.moves.iter().rev().filter(behind).map(|m| m.at).chain([base]);
    let Some((threshold, deposits)) = ends.find_map(|end| run(params, player, end)) else {
        if undone.is_some() {
            out.cleared(who, base, measured(0, 0), "a deposit was taken back, and too few are left");
        }
        return;
    };
    let (Some(first), Some(last)) = (deposits.first(), deposits.last()) else { return };
    let found = Found {
        who,
        window: Window { start: first.at, end: first.at.plus(span) },
        cause: Cause::Overlap,
        measured: measured(sum(&deposits), threshold),
        severity: if deposits.len() as i64 >= 2 * params.deposits_min { Severity::High } else { Severity::Medium },
    };
    out.found(found, |_| {
        let (count, percent) = (deposits.len(), params.band_percent);
        let minutes = counted(((last.at.0 - first.at.0) / MINUTE).max(1), "minute", "minutes");
        let reason =
            format!("{count} deposits within {minutes}, each at most {percent} % below a threshold and none at it");
        Details::of(vec![reason]).with(deposits.iter().map(|m| &*m.id))
    });
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};
    use models::alert::{RevisionKind, Severity};

    const PARAMS: &str = r#"{"thresholds_minor": [100000]}"#;

    #[test]
    fn many_small_ones_instead_of_a_large_one() {
        let three = |amount: i64| Story::at(60).deposit("anna", amount).deposit("anna", amount).deposit("anna", amount);
        check(
            "structured_deposits",
            PARAMS,
            &[
                ("three times 950 where 1,000 is looked at", three(95_000), &["player anna: 285000 minor_units"]),
                ("twice", Story::at(60).deposit("anna", 95_000).deposit("anna", 95_000), &[]),
                ("three times the threshold itself", three(100_000), &[]),
                ("three times a cent below it", three(99_999), &["player anna: 299997 minor_units"]),
                ("three times a fifth below it", three(80_000), &["player anna: 240000 minor_units"]),
                ("three times more than a fifth below it", three(79_999), &[]),
                (
                    "somebody who simply pays in often",
                    three(20_000).deposit("anna", 20_000).deposit("anna", 20_000),
                    &[],
                ),
                (
                    "spread over two days",
                    Story::at(60)
                        .deposit("anna", 95_000)
                        .after(minutes(1_000))
                        .deposit("anna", 95_000)
                        .after(minutes(1_000))
                        .deposit("anna", 95_000),
                    &[],
                ),
                (
                    "one of them failed",
                    Story::at(60).deposit("anna", 95_000).failed_deposit("anna", 95_000).deposit("anna", 95_000),
                    &[],
                ),
                (
                    "three players, one each",
                    Story::at(60).deposit("anna", 95_000).deposit("ben", 95_000).deposit("carl", 95_000),
                    &[],
                ),
                (
                    "the second one is reported last",
                    Story::at(60)
                        .deposit("anna", 95_000)
                        .after(minutes(40))
                        .deposit("anna", 95_000)
                        .before(minutes(20))
                        .deposit("anna", 95_000),
                    &["player anna: 285000 minor_units"],
                ),
                ("one of them is taken back", three(95_000).take_back("anna", 2), &[]),
                (
                    "and one of four is",
                    three(95_000).deposit("anna", 95_000).take_back("anna", 2),
                    &["player anna: 285000 minor_units"],
                ),
                (
                    "in another currency",
                    Story::at(60)
                        .in_currency("NGN")
                        .deposit("anna", 95_000)
                        .deposit("anna", 95_000)
                        .deposit("anna", 95_000),
                    &[],
                ),
            ],
        );
    }

    #[test]
    fn the_evidence_names_the_deposits_and_grows() {
        let mut story = Story::at(60);
        for _ in 0..6 {
            story = story.deposit("anna", 95_000);
        }
        let all = story.all("structured_deposits", PARAMS);
        let said: Vec<_> = all.iter().map(|f| (f.kind, f.severity, f.records.len())).collect();
        assert_eq!(said, [(RevisionKind::Raised, Severity::Medium, 3), (RevisionKind::Corrected, Severity::High, 6)]);
        assert!(all.iter().all(|f| f.id == all[0].id));
        assert_eq!(all[0].reasons, ["3 deposits within 2 minutes, each at most 20 % below a threshold and none at it"]);
    }
}
