//! A product gives back more or less than its licence says, and farther off than chance goes.
//!
//! What the licence says is heard with it: a document of its authority, or what the regulator entered. A product is held
//! against the licences that cover it, for the product, over a channel of its bets, at a time of the span. Where none of them
//! says what it gives back the parameter holds. Several values, of several licences or of one that changed, accuse nobody
//! who kept to one of them, or to each for a part: less than the lowest is found, and more than the highest.
//!
//! Payouts are a sum of draws. How far their sum lies from licence value × stakes is held against two bounds: that of
//! Maurer and Pontil with the variance that the payouts themselves show (their squares added up, which is never less than it)
//! and the largest win that the licence allows on the largest stake; and, where players get less, that of sums which are
//! never negative, by the largest second moments that the licence allows, return × largest multiple × stake² each (Maurer
//! 2003), in which the largest one alone does not matter.
//!
//! Money is what the licence speaks of, but a few players whose bets are a thousand times as large as everybody's decide
//! its sums, and by chance. So the same is asked where every bet counts as one of about the same size ([`Even`]): what it
//! weighs is known when it is made, so the bounds hold as they do for money. A payout that is not found back to its bet
//! counts there as the largest win, never against the operator.
//!
//! Bets that are not settled yet are stakes without payouts: materiality is there for them, and a product that settles
//! days later needs a longer span.

use crate::rules::bound::{is_below_nonnegative, is_beyond_empirical, nats_two_sided};
use crate::rules::finding::{Measured, Unit, Who};
use crate::rules::input::Trigger;
use crate::rules::licences::SaidReturn;
use crate::rules::list::{About, Home};
use crate::rules::params::params;
use crate::rules::run::Heard;
use crate::rules::standing::{Cause, Details, Found, Out};
use crate::rules::sums::{Even, ONE, Returned};
use models::alert::{Severity, Window};
use models::money::Currency;
use models::record::{PlayChannel, Product};
use models::ts::{DAY, HOUR};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::f64::consts::LN_2;

/// What it is.
pub const ABOUT: About = About {
    name: "return_to_player_off",
    home: Home::Operator,
    severity: Severity::High,
    what: "payouts of a product in per cent of its stakes lie off the licence value by more than chance allows for the volume",
    takes_back: "the close of a later day, where the span is back within the bound",
    hears: &[Trigger::DayClosed],
};

/// What a licence says of a product, as a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Return {
    /// Return to player, parts per million of stakes.
    pub return_ppm: i64,
    /// The largest win, as a multiple of the stake.
    pub multiple_max: i64,
}

params! {
    /// Currency of the stakes.
    currency: Currency = Currency::KES, "", 0..=0, "the jurisdiction's";
    /// Licence values of products, where no licence says one; where nobody does nothing is said of the product.
    products: BTreeMap<Product, Return> = BTreeMap::new(), "parts per million, multiple", 1..=10_000_000, "the operator's licence";
    /// The largest win as a multiple of the stake, where a licence says what a product gives back and no largest win.
    multiple_max: i64 = 1_000, "multiple", 1..=10_000_000, "no law: few games pay more; a larger one finds less, and accuses nobody";
    /// Days that are added up.
    span_days: i64 = 7, "days", 1..=60, "no law: a week holds every day of it once";
    /// One false finding in 10 to the power of this, a product and day.
    certainty_digits: i64 = 6, "digits", 2..=15, "no law: eight products, a hundred operators and a year are 300,000 looks";
    /// Deviations below this are not looked at.
    deviation_min_ppm: i64 = 10_000, "parts per million", 0..=1_000_000, "no law: one percentage point; unsettled bets and rounding";
    /// Bets below which nothing is said.
    bets_min: i64 = 1_000, "bets", 1..=1_000_000_000, "the bound holds for any number; fewer say nothing about a game";
}

/// What was staked and paid, in money or with every bet of one size.
struct Looked {
    stakes: f64,
    stake_squares: f64,
    payouts: f64,
    payout_squares: f64,
    /// The largest payout that the licence allows, or the largest that was.
    largest: f64,
    /// Payouts that there may have been besides.
    unknown: f64,
}

impl Looked {
    fn money(sums: &Returned, licence: &Return) -> Self {
        Self {
            stakes: sums.stakes as f64,
            stake_squares: sums.stake_squares as f64,
            payouts: sums.payouts as f64,
            payout_squares: sums.payout_squares as f64,
            largest: (licence.multiple_max as f64 * sums.stake_max as f64).max(sums.payout_max as f64),
            unknown: 0.0,
        }
    }

    fn even(sums: &Even, licence: &Return) -> Self {
        let one = ONE as f64;
        Self {
            stakes: sums.stakes as f64 / one,
            stake_squares: sums.stake_squares as f64 / one / one,
            payouts: sums.payouts as f64 / one,
            payout_squares: sums.payout_squares as f64 / one / one,
            largest: (licence.multiple_max as f64).max(sums.payout_max as f64 / one),
            unknown: sums.unlinked as f64 * licence.multiple_max as f64,
        }
    }

    /// What came back, parts per million; of payouts that may have been, as many as bring it nearest to the licence.
    fn observed_ppm(&self, licence: &Return) -> i64 {
        let said = licence.return_ppm as f64;
        let (least, most) = (self.payouts / self.stakes * 1e6, (self.payouts + self.unknown) / self.stakes * 1e6);
        // beyond a hundred thousand times the stakes it says nothing more
        said.clamp(least, most).clamp(0.0, 1e11) as i64
    }

    fn is_beyond(&self, licence: &Return, nats: f64) -> bool {
        let returned = licence.return_ppm as f64 / 1e6;
        let expected = returned * self.stakes;
        let (shortfall, excess) = (expected - self.payouts - self.unknown, self.payouts - expected);
        let squares = returned * licence.multiple_max as f64 * self.stake_squares;
        // without the payouts that are not known their squares say too little of the variance
        let is_short = self.unknown <= 0.0 && is_beyond_empirical(shortfall, self.payout_squares, self.largest, nats);
        is_short
            || is_below_nonnegative(shortfall, squares, nats)
            || is_beyond_empirical(excess, self.payout_squares, self.largest, nats)
    }
}

/// A value that a product is held against: a licence's with its number, or the parameter's.
struct Licensed<'a> {
    number: Option<&'a str>,
    value: Return,
}

impl<'a> Licensed<'a> {
    /// Those of a product whose bets were made over these channels.
    fn of(
        params: &Params,
        heard: &Heard<'a>,
        (product, over): (Product, &[Option<PlayChannel>]),
        span: Window,
    ) -> Vec<Self> {
        let set = params.products.get(&product);
        let said = heard.book.papers.licences.returns(product, over, span);
        if said.is_empty() {
            return set.map(|set| Self { number: None, value: *set }).into_iter().collect();
        }
        let unsaid = set.map_or(params.multiple_max, |set| set.multiple_max);
        let value = |said: SaidReturn| Return {
            return_ppm: said.return_ppm,
            multiple_max: said.multiple_max.unwrap_or(unsaid),
        };
        said.into_iter().map(|(number, said)| Self { number: Some(number), value: value(said) }).collect()
    }

    fn words(&self) -> String {
        self.number.map_or_else(|| "its licence".to_owned(), |number| format!("its licence {number}"))
    }
}

/// What a product gave back, held against one value.
struct Held<'a> {
    licensed: Licensed<'a>,
    by_money: bool,
    is_off: bool,
    observed_ppm: i64,
}

impl<'a> Held<'a> {
    fn against(licensed: Licensed<'a>, sums: &Returned, params: &Params) -> Self {
        // two looks, two sides
        let nats = nats_two_sided(params.certainty_digits) + LN_2;
        let value = licensed.value;
        let (money, even) = (Looked::money(sums, &value), Looked::even(&sums.even, &value));
        let is_off = |looked: &Looked| {
            let off = (looked.observed_ppm(&value) - value.return_ppm).abs();
            off >= params.deviation_min_ppm && looked.is_beyond(&value, nats)
        };
        let by_money = is_off(&money);
        let is_off = by_money || is_off(&even);
        let observed_ppm = if is_off && !by_money { &even } else { &money }.observed_ppm(&value);
        Self { licensed, by_money, is_off, observed_ppm }
    }

    fn return_ppm(&self) -> i64 {
        self.licensed.value.return_ppm
    }

    /// Do players get less than it says?
    fn is_short(&self) -> bool {
        self.observed_ppm < self.return_ppm()
    }
}

pub(super) fn judge(params: &Params, heard: &Heard<'_>, out: &mut Out<'_>) {
    let Some(closed) = heard.closed else { return };
    // days on which the clocks change are an hour longer or shorter
    let days = Window { start: closed.end.plus(-params.span_days * DAY - HOUR), end: closed.end };
    let window = Window { start: closed.end.plus(-params.span_days * DAY), end: closed.end };
    for product in Product::ALL.iter().copied() {
        let sums = heard.book.sums.returned(days, params.currency, product);
        if sums.bets < params.bets_min.unsigned_abs() || sums.stakes <= 0 || sums.even.stakes <= 0 {
            continue;
        }
        let over: Vec<Option<PlayChannel>> = sums.over().collect();
        let licensed = Licensed::of(params, heard, (product, &over), window).into_iter();
        let held: Vec<Held<'_>> = licensed.map(|licensed| Held::against(licensed, &sums, params)).collect();
        let Some(nearest) = held.iter().min_by_key(|held| held.observed_ppm.abs_diff(held.return_ppm())) else {
            continue;
        };
        let who = Who::Product(product.code());
        let measured = Measured { observed: nearest.observed_ppm, limit: nearest.return_ppm(), unit: Unit::Ppm };
        if held.iter().any(|held| !held.is_off || held.is_short() != nearest.is_short()) {
            out.cleared(who, closed.start, measured, "the product is back within what chance allows");
            continue;
        }
        // players are short-changed
        let severity = if nearest.is_short() { Severity::High } else { Severity::Medium };
        let found = Found { who, window, cause: Cause::Overlap, measured, severity };
        out.found(found, |_| Details::of(vec![words(params, product, &sums, nearest)]));
    }
}

fn words(params: &Params, product: Product, sums: &Returned, held: &Held<'_>) -> String {
    let percent = |ppm: i64| format!("{}.{:02}", ppm / 10_000, ppm / 100 % 100);
    format!(
        "{} gave back {} % of stakes in {} bets of {} days{}, {} says {} %; chance alone goes so far once in 10^{}",
        product.as_str(),
        percent(held.observed_ppm),
        sums.bets,
        params.span_days,
        if held.by_money { "" } else { ", each counted as a bet of about the same size" },
        held.licensed.words(),
        percent(held.return_ppm()),
        params.certainty_digits
    )
}

#[cfg(test)]
mod tests {
    use crate::rules::scenario::{Story, check, minutes};
    use models::document_records::{Compliance, LicenceStanding};
    use models::operator::LicenceState;

    /// A day of so many bets of 100; of a hundred of them this many win 500.
    fn played(story: Story, bets: i64, wins: i64) -> Story {
        let mut story = story.product("slots").quickly();
        for n in 0..bets {
            story = story.stake("anna", 100);
            if n * wins % 100 < wins {
                story = story.payout("anna", 500);
            }
        }
        story.after(minutes(1_440)).stake("anna", 100)
    }

    #[test]
    fn a_game_gives_back_what_its_licence_says() {
        let slots = r#"{"products": {"slots": {"return_ppm": 940000, "multiple_max": 10}}}"#;
        let day = |bets, wins| played(Story::at(60), bets, wins);
        // a bet of 400,000 that wins two and a half times beside 4,000 bets of 100 that lose half of what they should not
        let hidden = |is_named: bool| {
            let mut story = Story::at(60).product("slots").quickly();
            let id = |n: i64| is_named.then(|| format!("bet-{n}"));
            for n in 0..4_000 {
                story = story.of_bet(id(n)).stake("anna", 100);
                if n % 10 == 0 {
                    story = story.payout("anna", 500);
                }
            }
            story = story.of_bet(id(-1)).stake("berta", 400_000).payout("berta", 1_000_000).of_bet(None);
            story.after(minutes(1_440)).stake("anna", 100)
        };
        check(
            "return_to_player_off",
            slots,
            &[
                ("95 of 94 per cent", day(4_000, 19), &[]),
                ("50 of 94 per cent in 4,000 bets", day(4_000, 10), &["product slots: 500000 ppm"]),
                ("150 of 94 per cent", day(4_000, 30), &["product slots: 1500000 ppm"]),
                ("50 of 94 per cent in 300 bets says nothing yet", day(300, 10), &[]),
                ("75 of 94 per cent in 4,000 bets may be chance where a win of 1,000 is allowed", day(4_000, 15), &[]),
                ("50 of 94 per cent, but one large bet was won", hidden(true), &["product slots: 500488 ppm"]),
                ("the same, and nobody says to which bets payouts belong", hidden(false), &[]),
                ("a day that is not over", Story::at(60).product("slots").stake("anna", 100), &[]),
            ],
        );
        check("return_to_player_off", "{}", &[("no licence value", day(4_000, 1), &[])]);
    }

    #[test]
    fn what_the_licence_says_is_heard_with_it() {
        let parameter = r#"{"products": {"slots": {"return_ppm": 500000, "multiple_max": 10}}}"#;
        let doc = |story: Story| story.licence("L-1", LicenceStanding::Active, Compliance::Compliant);
        let entry = |story: Story, number: &str| story.entered(number, LicenceState::Active);
        let begin = || Story::at(60);
        let says = |ppm| begin().returning("slots", ppm, Some(10));
        let half = &["product slots: 500000 ppm"][..];
        let table: [(&str, Story, &[&str]); 8] = [
            ("94 per cent, says a document", played(doc(says(940_000)), 4_000, 10), half),
            ("94 per cent, entered the regulator", played(entry(says(940_000), "L-1"), 4_000, 10), half),
            ("50 per cent, and so it is", played(entry(says(500_000), "L-1"), 4_000, 10), &[]),
            ("of another product", played(doc(begin().returning("poker", 940_000, Some(10))), 4_000, 10), &[]),
            ("nothing of products", played(doc(begin()), 4_000, 10), &[]),
            (
                "the regulator, and a newer document nothing of it",
                played(doc(entry(says(940_000), "L-1")), 4_000, 10),
                half,
            ),
            ("the regulator took it back", played(entry(entry(says(940_000), "L-1"), "L-1"), 4_000, 10), &[]),
            (
                "it was 50 per cent until this day, and is 94",
                played(entry(entry(says(500_000), "L-1").returning("slots", 940_000, Some(10)), "L-1"), 4_000, 10),
                &[],
            ),
        ];
        check("return_to_player_off", "{}", &table);
        // what a licence says goes before what is configured, and what it leaves out is configured
        check(
            "return_to_player_off",
            parameter,
            &[
                ("the licence says 94", played(doc(says(940_000)), 4_000, 10), half),
                ("it says nothing of slots", played(doc(begin()), 4_000, 10), &[]),
                (
                    "it says no largest win: that of the parameter",
                    played(doc(begin().returning("slots", 940_000, None)), 4_000, 10),
                    half,
                ),
            ],
        );
        check(
            "return_to_player_off",
            "{}",
            &[(
                "nobody says the largest win: 4,000 bets say nothing where 1,000 times the stake may be won",
                played(doc(begin().returning("slots", 940_000, None)), 4_000, 10),
                &[],
            )],
        );
        let found = played(doc(says(940_000)), 4_000, 10).run("return_to_player_off", "{}");
        assert_eq!((found[0].measured.observed, found[0].measured.limit), (500_000, 940_000));
        assert!(found[0].reasons[0].contains("its licence L-1 says 94.00 %"), "{:?}", found[0].reasons);
        let found = played(begin(), 4_000, 40).run("return_to_player_off", parameter);
        assert!(found[0].reasons[0].contains(", its licence says 50.00 %"), "{:?}", found[0].reasons);
    }

    #[test]
    fn of_several_licences_those_that_cover_the_product_count() {
        use LicenceState::{Active, Suspended};
        let (none, half): (&[&str], &[&str]) = (&[], &["product slots: 500000 ppm"]);
        // L-1 says 94 per cent; what else is said, before and after it
        let first = |story: Story| story.returning("slots", 940_000, Some(10)).entered("L-1", Active).online();
        let other = |story: Story, ppm| story.returning("slots", ppm, Some(10));
        let beside = |ppm| other(first(Story::at(60)), ppm);
        let before = |ppm| first(other(Story::at(60), ppm).entered("L-2", Active));
        let fifty = |story| played(story, 4_000, 10);
        let over_the_counter = |story: Story| story.product("slots").retail().stake("anna", 100).online();
        let table: [(&str, Story, &[&str]); 13] = [
            ("94 alone", fifty(first(Story::at(60))), half),
            ("the other says 50, and is spoken of last", fifty(beside(500_000).entered("L-2", Active)), none),
            ("the other says 50, and was spoken of first", fifty(before(500_000)), none),
            ("the other says 80", fifty(beside(800_000).entered("L-2", Active)), half),
            ("the other says 10: of both a part", fifty(beside(100_000).entered("L-2", Active)), none),
            ("150, and the other says 50", played(before(500_000), 4_000, 30), &["product slots: 1500000 ppm"]),
            ("50 by one that is for poker", fifty(beside(500_000).licensed(&["poker"]).entered("L-2", Active)), half),
            ("50 by one that is suspended", fifty(beside(500_000).entered("L-2", Suspended)), half),
            ("50 by one that had expired", fifty(beside(500_000).valid_to(50).entered("L-2", Active)), half),
            (
                "50 by one that expires when everything is played",
                fifty(beside(500_000).valid_to(1_400).entered("L-2", Active)),
                none,
            ),
            ("50 by one for the counter", fifty(beside(500_000).over(&["retail"]).entered("L-2", Active)), half),
            (
                "the same, and some of it is played there",
                fifty(over_the_counter(beside(500_000).over(&["retail"]).entered("L-2", Active))),
                none,
            ),
            ("the other says nothing of slots", fifty(first(Story::at(60)).entered("L-2", Active)), half),
        ];
        check("return_to_player_off", "{}", &table);
        // whom the finding names: the licence that says the least of what was not reached
        let found = fifty(beside(800_000).entered("L-2", Active)).run("return_to_player_off", "{}");
        assert_eq!((found[0].measured.observed, found[0].measured.limit), (500_000, 800_000));
        assert!(found[0].reasons[0].contains("its licence L-2 says 80.00 %"), "{:?}", found[0].reasons);
    }
}
