//! Players of a kind have the marks of their kind, over many seeds.

use super::super::truth::Kind;
use super::*;
use std::collections::BTreeMap;

const SEEDS: std::ops::Range<u64> = 100..112;
const DAYS: i64 = 6;

fn worlds() -> impl Iterator<Item = Told> {
    SEEDS.map(|seed| Told::of(small_market(), seed, DAYS))
}

/// Kind of each account by its number.
fn kinds(told: &Told) -> BTreeMap<String, Kind> {
    let mut kinds = BTreeMap::new();
    for line in &told.truths {
        if let Truth::Player { kind, accounts, .. } = line {
            kinds.extend(accounts.iter().map(|account| (account.account_ref.clone(), *kind)));
        }
    }
    kinds
}

fn account(sent: &Sent) -> &str {
    sent.record.player.as_ref().map_or("", |player| &player.account_ref)
}

fn amount(sent: &Sent) -> i64 {
    sent.record.money.as_ref().map_or(0, |money| money.amount_minor)
}

fn wallet(sent: &Sent) -> String {
    sent.record.payment.as_ref().unwrap()["account"].as_str().unwrap().to_owned()
}

/// Median of the ratios of each stake to the one before it of the same session, behind bets that were lost and behind
/// those that were won; and how many.
fn ratios(told: &Told, wanted: Kind) -> (Vec<f64>, Vec<f64>) {
    let kinds = kinds(told);
    let won: BTreeSet<String> = told
        .of_class(Class::GamingTransactions)
        .filter(|sent| sent.record.kind == "payout")
        .map(|sent| sent.record.bet.as_ref().unwrap()["settles"].as_str().unwrap().to_owned())
        .collect();
    let mut last: BTreeMap<&String, &Sent> = BTreeMap::new();
    let (mut lost_ratios, mut won_ratios) = (Vec::new(), Vec::new());
    for sent in told.of_class(Class::GamingTransactions) {
        if sent.record.kind != "stake" || kinds.get(account(sent)) != Some(&wanted) {
            continue;
        }
        let session = sent.record.session_id.as_ref().unwrap();
        // a stake that took everything says nothing of what was wanted
        if let Some(before) = last.get(session).filter(|_| sent.record.balance_after_minor != Some(0)) {
            let bet = before.record.bet.as_ref().unwrap()["id"].as_str().unwrap();
            let ratio = amount(sent) as f64 / amount(before) as f64;
            if won.contains(bet) { won_ratios.push(ratio) } else { lost_ratios.push(ratio) }
        }
        last.insert(session, sent);
    }
    (lost_ratios, won_ratios)
}

#[test]
fn who_loses_control_raises_stakes_after_losses_and_others_do_not() {
    let (mut at_risk, mut casual) = (Vec::new(), Vec::new());
    for told in worlds() {
        at_risk.extend(ratios(&told, Kind::AtRisk).0);
        casual.extend(ratios(&told, Kind::Casual).0);
    }
    // without escalation a stake is above the one before as often as below (ties aside): the share of rises is binomial
    let rises = |ratios: &[f64]| ratios.iter().filter(|ratio| **ratio > 1.0).count() as f64;
    let ties = |ratios: &[f64]| ratios.iter().filter(|ratio| (**ratio - 1.0).abs() < 1e-12).count() as f64;
    let decided = casual.len() as f64 - ties(&casual);
    assert!(decided > 1_000.0, "{decided}");
    // neighbouring ratios share a stake, which makes the count less varied than a binomial one, never more
    check_share("rises of casual players", rises(&casual), decided, 0.5);
    // with it: P(ln escalation + σ√2·N > 0), of those below the ceiling; five deviations below that is still far above half
    let decided = at_risk.len() as f64 - ties(&at_risk);
    let share = rises(&at_risk) / decided;
    assert!(share - 5.0 * (0.25 / decided).sqrt() > 0.6, "{share} of {decided}");
}

#[test]
fn who_loses_control_plays_at_night_and_pays_in_with_nothing_left() {
    let (mut sessions, mut at_night, mut expected, mut empty_deposits) = (0.0, 0.0, 0.0_f64, 0);
    for told in worlds() {
        let kinds = kinds(&told);
        let mut balances: BTreeMap<String, i64> = BTreeMap::new();
        for sent in told.of_class(Class::GamingTransactions) {
            let is_deposit = sent.record.kind == "deposit" && sent.record.status == Some("successful");
            let before = balances.get(account(sent)).copied();
            if is_deposit && kinds.get(account(sent)) == Some(&Kind::AtRisk) && before.is_some() {
                assert_eq!(before, Some(0), "they pay in when nothing is left: {sent:?}");
                empty_deposits += 1;
            }
            balances.insert(account(sent).to_owned(), sent.record.balance_after_minor.unwrap());
        }
        for line in &told.truths {
            let Truth::Episode { kind: Kind::AtRisk, marks, .. } = line else { continue };
            sessions += 1.0;
            at_night += f64::from(u8::from(marks.contains(&"night")));
        }
        // six hours of twenty-four, where a product has no season
        let share = |hours: &[f64]| hours[..6].iter().sum::<f64>() / hours.iter().sum::<f64>();
        expected = told.scenario.seasons.values().map(|season| share(&season.hours)).fold(0.25, f64::max);
    }
    assert!(empty_deposits > 200, "{empty_deposits}");
    // more than anybody's plain season would give, by five deviations
    let least = expected * sessions + 5.0 * (sessions * expected * (1.0 - expected)).sqrt();
    assert!(at_night > least, "{at_night} of {sessions} sessions at night, {least} at most by season");
}

#[test]
fn who_launders_leaves_the_marks_of_their_scheme() {
    let mut rounds: BTreeMap<&str, u32> = BTreeMap::new();
    for told in worlds() {
        let how = told.scenario.players.launderer.clone().unwrap();
        for line in &told.truths {
            let Truth::Episode { kind: Kind::Launderer, marks, players, records, .. } = line else { continue };
            let wanted: BTreeSet<&str> = records.iter().map(|record| record.id.as_str()).collect();
            let sent: Vec<&Sent> = told
                .of_class(Class::GamingTransactions)
                .filter(|s| wanted.contains(s.record.record_id.as_str()))
                .collect();
            let of = |kind: &str| sent.iter().filter(|s| s.record.kind == kind).copied().collect::<Vec<_>>();
            let (deposits, stakes, withdrawals) = (of("deposit"), of("stake"), of("withdrawal"));
            let sum = |all: &[&Sent]| all.iter().map(|s| amount(s)).sum::<i64>();
            *rounds.entry(marks[0]).or_default() += 1;
            let share = sum(&stakes) as f64 / sum(&deposits) as f64;
            assert!(share <= how.play_percent / 100.0, "{marks:?}: {share} of what was paid in is played");
            // a member may have nothing to take out: where everything of it was staked and lost
            assert!(sum(&withdrawals) >= sum(&deposits) - sum(&stakes), "{marks:?}: the rest is paid out");
            let wallets: BTreeSet<String> = deposits.iter().map(|s| wallet(s)).collect();
            let paid_to: BTreeSet<String> = withdrawals.iter().map(|s| wallet(s)).collect();
            match marks[0] {
                "in_out" => assert_eq!((deposits.len(), paid_to), (1, wallets)),
                "structuring" => {
                    assert!((4..=8).contains(&deposits.len()), "{}", deposits.len());
                    assert!(deposits.iter().all(|s| amount(s) < how.threshold_minor));
                    assert!(deposits.iter().all(|s| amount(s) as f64 >= 0.84 * how.threshold_minor as f64));
                }
                "foreign_payout" => assert!(paid_to.is_disjoint(&wallets) && paid_to.len() == 1),
                "shared_device" => {
                    let accounts: BTreeSet<&str> = deposits.iter().map(|s| account(s)).collect();
                    let devices: BTreeSet<_> = sent.iter().map(|s| s.record.device_id.clone()).collect();
                    assert_eq!((accounts.len(), devices.len(), players.len()), (3, 1, 3));
                    assert_eq!((paid_to.len(), paid_to), (1, wallets));
                }
                other => panic!("{other}"),
            }
        }
    }
    assert_eq!(rounds.len(), 4, "{rounds:?}");
    // each scheme has a quarter of the schemes and a Poisson number of rounds; a round under way delays the next
    assert!(rounds.values().all(|count| *count >= 30), "{rounds:?}");
}

#[test]
fn who_colludes_bets_against_a_friend_or_loses_to_one() {
    let mut rounds: BTreeMap<&str, u32> = BTreeMap::new();
    for told in worlds() {
        for line in &told.truths {
            let Truth::Episode { kind: Kind::Colluder, marks, records, .. } = line else { continue };
            let wanted: BTreeSet<&str> = records.iter().map(|record| record.id.as_str()).collect();
            let sent: Vec<&Sent> = told
                .of_class(Class::GamingTransactions)
                .filter(|s| wanted.contains(s.record.record_id.as_str()))
                .collect();
            let stakes: Vec<&&Sent> = sent.iter().filter(|s| s.record.kind == "stake").collect();
            let payouts: Vec<&&Sent> = sent.iter().filter(|s| s.record.kind == "payout").collect();
            let accounts: BTreeSet<&str> = stakes.iter().map(|s| account(s)).collect();
            assert_eq!(accounts.len(), 2);
            *rounds.entry(marks[0]).or_default() += 1;
            if marks[0] == "opposite_bets" {
                let sides: BTreeSet<_> =
                    stakes.iter().map(|s| s.record.extra.as_ref().unwrap()["selection"].to_string()).collect();
                let games: BTreeSet<_> =
                    stakes.iter().map(|s| s.record.game.as_ref().unwrap()["id"].to_string()).collect();
                assert_eq!((stakes.len(), sides.len(), games.len(), payouts.len()), (2, 2, 1, 1));
                let ratio = amount(stakes[0]) as f64 / amount(stakes[1]) as f64;
                assert!((0.9..=1.11).contains(&ratio), "{ratio}");
            } else {
                let taker: BTreeSet<&str> = payouts.iter().map(|s| account(s)).collect();
                assert_eq!(taker.len(), 1, "one of them wins every hand");
                let given: i64 = stakes.iter().filter(|s| !taker.contains(account(s))).map(|s| amount(s)).sum();
                let taken: i64 = payouts.iter().map(|s| amount(s)).sum();
                assert!(taken as f64 >= 0.9 * given as f64, "{taken} of {given}");
            }
        }
    }
    assert_eq!(rounds.len(), 2, "{rounds:?}");
}

#[test]
fn who_is_excluded_is_never_asked_about_and_others_as_often_as_it_is_said() {
    let (mut logins, mut unchecked) = (0.0, 0.0);
    for told in worlds() {
        let kinds = kinds(&told);
        let asked: BTreeSet<&str> = told.asks.iter().map(|ask| ask.before.as_str()).collect();
        let told_of: BTreeSet<&str> = told
            .truths
            .iter()
            .filter_map(|line| match line {
                Truth::UncheckedLogin { record, .. } => Some(record.id.as_str()),
                _ => None,
            })
            .collect();
        for sent in told.of_class(Class::PlayerAccounts).filter(|sent| sent.record.kind == "login") {
            let id = sent.record.record_id.as_str();
            assert_ne!(asked.contains(id), told_of.contains(id), "asked about, or told of: {id}");
            if kinds[account(sent)] == Kind::Excluded {
                assert!(told_of.contains(id));
            } else if told.scenario.operators[sent.operator].code == "duma-slots" {
                logins += 1.0;
                unchecked += f64::from(u8::from(told_of.contains(id)));
            } else {
                assert!(asked.contains(id), "the others always ask");
            }
        }
    }
    check_share("logins that nobody asked about", unchecked, logins, 0.03);
}

#[test]
fn who_takes_a_break_plays_within_their_means_and_keeps_to_it() {
    let mut breaks = 0;
    for told in worlds() {
        let kinds = kinds(&told);
        let of_accounts: Vec<&Sent> = told.of_class(Class::PlayerAccounts).collect();
        let is_break = |sent: &&&Sent| sent.record.limit.as_ref().is_some_and(|limit| limit["type"] == "time_out");
        for taken in of_accounts.iter().filter(is_break) {
            breaks += 1;
            assert_eq!(kinds.get(account(taken)), Some(&Kind::Casual));
            let is_over = taken.at.plus(HOUR);
            let comes_back = |sent: &&Sent| sent.record.kind == "login" && (taken.at..is_over).contains(&sent.at);
            let mut own = of_accounts.iter().copied().filter(|sent| account(sent) == account(taken));
            assert_eq!(own.clone().find(comes_back), None, "{}", taken.record.record_id);
            assert!(own.any(|sent| sent.record.kind == "session_end" && sent.at >= taken.at));
        }
    }
    assert!(breaks > 10, "{breaks}");
}
