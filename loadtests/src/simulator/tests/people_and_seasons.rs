//! How many there are, how often they play and when.

use super::super::people::everybody;
use super::super::truth::Kind;
use super::*;

#[test]
fn there_are_as_many_of_each_as_the_scenario_says() {
    let scenario = scenario("market");
    let actors = everybody(&scenario, 3);
    let members =
        |kind| actors.iter().filter(|actor| actor.kind == kind).map(|actor| actor.members.len()).sum::<usize>();
    let table =
        [(Kind::Casual, 600), (Kind::Heavy, 60), (Kind::AtRisk, 30), (Kind::Excluded, 15), (Kind::Colluder, 12)];
    for (kind, count) in table {
        assert_eq!(members(kind), count, "{kind:?}");
    }
    // twelve schemes, three of which have three accounts
    assert_eq!(members(Kind::Launderer), 9 + 3 * 3);
    let phones: BTreeSet<&String> = actors.iter().flat_map(|a| &a.members).map(|m| &m.phone).collect();
    assert_eq!(phones.len(), actors.iter().map(|actor| actor.members.len()).sum::<usize>(), "no two share a phone");
    for actor in &actors {
        for member in &actor.members {
            let operators: BTreeSet<usize> = member.accounts.iter().map(|account| account.operator).collect();
            assert_eq!(operators.len(), member.accounts.len(), "one account an operator");
            let homes: BTreeSet<_> = operators.iter().map(|no| &scenario.operators[*no].jurisdiction).collect();
            assert_eq!(homes.len(), 1, "nobody plays across a border");
        }
    }
}

#[test]
fn phones_are_those_of_their_country() {
    use models::phone::{Country, Phone};
    for actor in everybody(&scenario("market"), 8) {
        for member in &actor.members {
            let country = if member.accounts[0].operator == 2 { Country::Ng } else { Country::Ke };
            Phone::parse(&member.phone, country).unwrap();
        }
    }
}

/// One operator with one product, whose players are at it for minutes: sessions hardly delay each other.
fn one_product() -> Scenario {
    let mut scenario = scenario("market");
    scenario.operators.truncate(2);
    scenario.operators.remove(0);
    scenario.operators[0].products = vec!["casino".to_owned()];
    scenario.players = super::super::scenario::Players { casual: scenario.players.casual, ..Default::default() };
    let casual = scenario.players.casual.as_mut().unwrap();
    (casual.count, casual.accounts, casual.play.sessions_per_day) = (200, 1, 0.5);
    scenario.campaigns.clear();
    scenario.faults.clear();
    scenario.licence_changes.clear();
    scenario.taxes.retain(|tax| tax.jurisdiction == "KE");
    scenario
}

#[test]
fn play_has_its_days_and_weeks() {
    let scenario = one_product();
    let season = scenario.seasons["casino"].clone();
    let (weeks, seeds) = (2, 8_u64);
    let mut by_hour = [0.0; 24];
    let mut by_day = [0.0; 7];
    for seed in 0..seeds {
        let told = Told::of(scenario.clone(), 40 + seed, 7 * weeks);
        let begin = Ts::parse(MONDAY).unwrap();
        for sent in told.of_class(Class::PlayerAccounts).filter(|sent| sent.record.kind == "session_start") {
            // Nairobi is three hours ahead, all year
            let hours = (sent.at.0 - begin.0) / HOUR + 3;
            by_hour[(hours % 24) as usize] += 1.0;
            by_day[(hours / 24 % 7) as usize] += 1.0;
        }
    }
    let all: f64 = by_hour.iter().sum();
    check_count("sessions", all, 200.0 * 0.5 * (7 * weeks) as f64 * seeds as f64);
    for (hour, found) in by_hour.iter().enumerate() {
        check_share(&format!("hour {hour}"), *found, all, season.hours[hour] / season.hours.iter().sum::<f64>());
    }
    for (day, found) in by_day.iter().enumerate() {
        check_share(&format!("day {day}"), *found, all, season.weekdays[day] / season.weekdays.iter().sum::<f64>());
    }
}

#[test]
fn what_comes_back_is_what_the_game_gives() {
    let scenario = one_product();
    let give = scenario.games["casino"].return_percent / 100.0;
    let (mut staked, mut paid, mut variance) = (0.0, 0.0, 0.0);
    for seed in 0..8 {
        for sent in Told::of(scenario.clone(), 60 + seed, 7).of_class(Class::GamingTransactions) {
            let amount = sent.record.moved_minor() as f64;
            match sent.record.kind {
                "stake" => {
                    let odds = sent.record.bet.as_ref().unwrap()["odds"].as_f64().unwrap();
                    let p = give / odds;
                    staked += amount;
                    variance += (amount * odds).powi(2) * p * (1.0 - p);
                }
                "payout" => paid += amount,
                _ => {}
            }
        }
    }
    let tolerance = 5.0 * variance.sqrt();
    assert!(staked > 1e7 && (paid - give * staked).abs() <= tolerance, "{paid} of {staked}, ± {tolerance}");
}
