//! A quiet market: operators of many sizes and habits where nothing is wrong.
//!
//! What is usual differs a lot and by the clock: a lottery sells at noon, casinos in the evening and at the weekend,
//! bookmakers when there are matches, and everybody more when wages are there. None of it is anything to be told.

use super::dice::Dice;
use super::scenario::{
    Base, Crowd, Delivery, Discrepancies, Game, Naming, Operator, Period, Play, Players, Sales, Scenario, Season, Tax,
};
use models::money::Currency;
use std::collections::BTreeMap;

/// What an operator may offer together.
const MIXES: [&[&str]; 8] = [
    &["sportsbook"],
    &["sportsbook", "virtual"],
    &["casino", "slots"],
    &["sportsbook", "casino", "slots"],
    &["crash", "casino"],
    &["poker", "casino"],
    &["slots"],
    &["virtual", "crash", "sportsbook"],
];
/// One of so many operators has shops.
const SHOPS: usize = 5;
/// Casual and heavy players an operator.
const PEOPLE: (u32, u32) = (46, 7);

/// A market of so many operators of one country.
#[must_use]
pub fn market(operators: usize, seed: u64) -> Scenario {
    let mut dice = Dice::new(seed, "quiet market", 0);
    let operators: Vec<Operator> = (0..operators).map(|no| operator(no, &mut dice)).collect();
    let count = operators.len() as u32;
    let crowd = |count, play| Some(Crowd { count, accounts: 1, play });
    let casual = Play {
        sessions_per_day: 0.8,
        bets_per_session: 6.0,
        stake_minor: 10_000,
        spread: 0.6,
        seconds_between_bets: 60.0,
    };
    let heavy = Play {
        sessions_per_day: 2.0,
        bets_per_session: 15.0,
        stake_minor: 30_000,
        spread: 0.4,
        seconds_between_bets: 30.0,
    };
    Scenario {
        name: "quiet".to_owned(),
        history_minutes: 0,
        operators,
        players: Players {
            casual: crowd(PEOPLE.0 * count, casual),
            heavy: crowd(PEOPLE.1 * count, heavy),
            ..Players::default()
        },
        games: games(),
        seasons: seasons(),
        taxes: vec![
            tax("gaming_tax", Base::GrossGamingRevenue, 15.0, 172_800),
            tax("excise_duty", Base::Deposits, 5.0, 86_400),
        ],
        discrepancies: Discrepancies::default(),
        faults: Vec::new(),
        spikes: Vec::new(),
        campaigns: Vec::new(),
        licence_changes: Vec::new(),
    }
}

fn operator(no: usize, dice: &mut Dice) -> Operator {
    let products = MIXES[no % MIXES.len()];
    let has_shops = no.is_multiple_of(SHOPS);
    Operator {
        code: format!("operator-{no}"),
        name: format!("Operator {no}"),
        jurisdiction: "KE".to_owned(),
        currency: Currency::KES,
        zone: "Africa/Nairobi".to_owned(),
        products: products.iter().map(|product| (*product).to_owned()).collect(),
        delivery: Delivery::Push,
        players_by: Naming::Phone,
        checked_logins_percent: 100.0,
        licence: format!("BCLB-{}", 1_000 + no),
        region: Some("KE-30".to_owned()),
        opening_balance_minor: 1_000_000_000,
        settle_seconds: 86_400,
        sales: has_shops.then(|| Sales {
            outlets: 20,
            tickets_per_day: dice.span(150.0, 900.0),
            ticket_minor: 5_000,
            product: "lottery".to_owned(),
            void_percent: 1.0,
        }),
        // from a third of the median to three times as large
        size: dice.lognormal(1.0, 0.6).clamp(0.33, 3.0),
    }
}

fn tax(name: &str, base: Base, percent: f64, due_seconds: u32) -> Tax {
    Tax {
        name: name.to_owned(),
        authority: "KRA".to_owned(),
        jurisdiction: "KE".to_owned(),
        base,
        percent,
        period: Period::Day,
        due_seconds,
    }
}

fn games() -> BTreeMap<String, Game> {
    // what comes back of a hundred, the smallest and the largest win, seconds until it is settled
    let table = [
        ("sportsbook", 91.0, (1.3, 5.0), 3_600.0),
        ("casino", 95.0, (1.1, 4.0), 2.0),
        ("slots", 94.0, (1.2, 20.0), 1.0),
        ("virtual", 88.0, (1.5, 6.0), 120.0),
        ("poker", 96.0, (1.5, 3.0), 60.0),
        ("crash", 96.0, (1.05, 15.0), 10.0),
        ("lottery", 55.0, (2.0, 60.0), 3_600.0),
    ];
    let game = |return_percent, (multiple_min, multiple_max), settle_seconds| Game {
        return_percent,
        multiple_min,
        multiple_max,
        settle_seconds,
    };
    table.into_iter().map(|(name, back, wins, settles)| (name.to_owned(), game(back, wins, settles))).collect()
}

/// Hours of a day, smooth between these: how much more or less than on average from three to three o'clock.
fn hours(every_three: [f64; 8]) -> Vec<f64> {
    let hour = |h: usize| {
        let (at, part) = (h / 3, (h % 3) as f64 / 3.0);
        every_three[at] * (1.0 - part) + every_three[(at + 1) % 8] * part
    };
    (0..24).map(hour).collect()
}

fn seasons() -> BTreeMap<String, Season> {
    // at 0, 3, 6 … 21 o'clock; from Monday on; matches: days, hours, how much more
    type Row = (&'static str, [f64; 8], [f64; 7], (&'static [i8], (i8, i8), f64));
    let table: [Row; 7] = [
        (
            "sportsbook",
            [0.3, 0.1, 0.3, 0.8, 1.1, 1.4, 2.2, 1.7],
            [0.8, 0.9, 1.0, 0.9, 1.1, 1.5, 1.4],
            (&[3, 6, 7], (16, 22), 1.8),
        ),
        ("casino", [1.2, 0.4, 0.3, 0.6, 0.9, 1.0, 1.4, 2.2], [0.9, 0.9, 0.9, 0.9, 1.2, 1.2, 1.0], (&[], (0, 24), 1.0)),
        ("slots", [1.0, 0.4, 0.4, 0.8, 1.1, 1.1, 1.4, 1.9], [0.9, 0.9, 0.9, 1.0, 1.2, 1.1, 1.0], (&[], (0, 24), 1.0)),
        ("virtual", [0.4, 0.2, 0.5, 1.0, 1.3, 1.4, 1.5, 1.1], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], (&[], (0, 24), 1.0)),
        ("poker", [1.8, 1.0, 0.4, 0.4, 0.6, 0.8, 1.2, 1.9], [0.9, 0.8, 0.8, 0.9, 1.3, 1.4, 1.0], (&[], (0, 24), 1.0)),
        ("crash", [0.9, 0.4, 0.4, 0.8, 1.1, 1.2, 1.4, 1.5], [0.9, 0.9, 0.9, 1.0, 1.1, 1.2, 1.1], (&[], (0, 24), 1.0)),
        ("lottery", [0.0, 0.0, 0.4, 1.6, 2.2, 1.8, 1.2, 0.2], [1.0, 1.0, 1.1, 1.0, 1.2, 1.3, 0.4], (&[], (0, 24), 1.0)),
    ];
    let season = |day: [f64; 8], week: [f64; 7], (days, hours_of, factor): (&[i8], (i8, i8), f64)| Season {
        hours: hours(day),
        weekdays: week.to_vec(),
        match_days: days.to_vec(),
        match_hours: Some(hours_of),
        match_factor: factor,
        paydays: vec![1, 25],
        payday_factor: 1.3,
    };
    table.into_iter().map(|(name, day, week, matches)| (name.to_owned(), season(day, week, matches))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_makes_sense_and_repeats() {
        let scenario = market(100, 3);
        scenario.check().unwrap();
        let sizes = |scenario: &Scenario| scenario.operators.iter().map(|o| o.size).collect::<Vec<_>>();
        assert_eq!(sizes(&scenario), sizes(&market(100, 3)));
        assert_ne!(sizes(&scenario), sizes(&market(100, 4)));
        let spread = sizes(&scenario).iter().copied().fold(0.0, f64::max);
        assert!(spread > 2.0, "sizes differ: {spread}");
    }
}
