use super::*;

fn read(name: &str, change: impl FnOnce(String) -> String) -> Result<Scenario, ScenarioError> {
    Scenario::from_toml(&change(Scenario::known(name).unwrap().to_owned()))
}

#[test]
fn the_scenarios_that_the_program_carries_make_sense() {
    for (name, text) in KNOWN {
        let scenario = Scenario::from_toml(text).unwrap();
        assert_eq!(scenario.name, name);
    }
    assert!(Scenario::known("nothing").is_none());
}

#[test]
fn nonsense_is_refused_and_named() {
    let table = [
        ("history_minutes = 25", "history_minuten = 25", "unknown field `history_minuten`"),
        ("history_minutes = 25", "history_minutes = 20_000", "history_minutes: more than a week"),
        ("zone = \"Africa/Nairobi\"", "zone = \"Africa/Atlantis\"", "operator simba-bets: zone: not a known time zone"),
        ("code = \"simba-bets\"", "code = \"Simba\"", "operator Simba: code: not 2 to 40"),
        ("code = \"simba-bets\"", "code = \"bank\"", "operator bank: code: the name of an authority"),
        ("code = \"simba-bets\"", "code = \"twiga-play\"", "operator: two of one code"),
        ("currency = \"KES\"", "currency = \"shillings\"", "currency"),
        ("products = [\"sportsbook\"]", "products = [\"darts\"]", "operator simba-bets: products: one that is not in"),
        ("products = [\"sportsbook\"]", "products = []", "operator simba-bets: products: none"),
        ("delivery = \"folder\"", "delivery = \"pigeon\"", "unknown variant `pigeon`"),
        ("checked_logins_percent = 90", "checked_logins_percent = 101", "checked_logins_percent: not from 0 to 100"),
        ("checked_logins_percent = 90", "checked_logins_percent = nan", "checked_logins_percent: not from 0 to 100"),
        ("sessions_per_day = 60", "sessions_per_day = -1", "players.casual.play.sessions_per_day: out of its range"),
        ("sessions_per_day = 60", "sessions_a_day = 60", "unknown field `sessions_a_day`"),
        ("stake_minor = 10_000", "stake_minor = 0", "players.casual.play.stake_minor: not from 1"),
        ("count = 700", "count = 7_000_000", "players: more than 100000"),
        ("escalation = 1.3", "escalation = 0.5", "players.at_risk.escalation: out of its range"),
        ("play_percent = 8", "play_percent = 80", "players.launderer.play_percent: out of its range"),
        ("return_percent = 90", "return_percent = 130", "games.sportsbook.return_percent: out of its range"),
        ("multiple_max = 3.0", "multiple_max = 1.3", "multiple_max: out of its range"),
        ("[games.poker]", "[games.chess]", "operator chui-casino: products: one that is not in games"),
        ("jurisdiction = \"KE\"\nbase", "jurisdiction = \"UG\"\nbase", "tax gaming_tax: jurisdiction: that of no"),
        ("percent = 15", "percent = 150", "tax gaming_tax: percent: not from 0 to 100"),
        ("ghost_payment_percent = 5", "ghost_payment_percent = -5", "discrepancies: not from 0 to 100"),
        ("target = \"chui-casino\"", "target = \"nobody\"", "fault of nobody: neither an operator nor an authority"),
        ("kind = \"silence\"", "kind = \"fire\"", "unknown variant `fire`"),
        ("for_seconds = 200", "for_seconds = 0", "fault of chui-casino: for_seconds: 0"),
        ("factor = 60", "factor = 0.0", "spike of twiga-play: factor: out of its range"),
        ("compliance = \"under_review\"", "compliance = \"fine\"", "licence_change of kifaru-odds: compliance"),
    ];
    for (from, to, said) in table {
        let error = read("demo", |text| {
            assert!(text.contains(from), "{from} is in the scenario");
            text.replacen(from, to, 1)
        });
        let error = error.expect_err(to).to_string();
        assert!(error.contains(said), "{to}: {error}");
    }
}

#[test]
fn seasons_have_an_hour_for_each() {
    let table = [
        ("weekdays = [0.8, ", "weekdays = [", "seasons.sportsbook.weekdays: not one of each"),
        ("match_days = [3, 6, 7]", "match_days = [0]", "seasons.sportsbook.match_days: not from 1"),
        ("match_hours = [16, 22]", "match_hours = [22, 16]", "seasons.sportsbook.match_hours: not two hours"),
        ("hours = [0.3, ", "hours = [-0.3, ", "seasons.sportsbook.hours: not from 0"),
        ("[seasons.slots]", "[seasons.crash]", "seasons.crash: not in games"),
    ];
    for (from, to, said) in table {
        let error = read("market", |text| text.replacen(from, to, 1)).expect_err(to).to_string();
        assert!(error.contains(said), "{to}: {error}");
    }
}
