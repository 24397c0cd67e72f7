//! The rules as a whole: the list, the data, and the state.

use crate::rules::book::{ACCOUNTS, DEVICES, EVENTS, PAIRS, PLAYERS};
use crate::rules::catalogue::catalogue;
use crate::rules::finding::{Finding, Mode, RECORDS_MAX};
use crate::rules::input::{Base, Facts, Input, Trigger};
use crate::rules::list::{ABOUT, Home, OFF_AT_FIRST, Typed};
use crate::rules::nation::NationRules;
use crate::rules::rings::RINGS;
use crate::rules::ruleset::{RuleSet, RuleVersion};
use crate::rules::run::OperatorRules;
use crate::rules::scenario::{BEGIN, Story, minutes};
use crate::rules::snapshot::VERSION;
use crate::rules::standing::{CASES_MAX, NATION_CASES_MAX};
use crate::rules::table::Limit;
use crate::windows::tests::record;
use jiff::tz::TimeZone;
use models::alert::{Granularity, Metric, RevisionKind, Severity, Window};
use models::document_records::{Compliance, LicenceStanding};
use models::ids::{AlertId, OperatorNo};
use models::jurisdiction::JurisdictionNo;
use models::match_key::MatchKey;
use models::money::Currency;
use models::operator::{LicenceState, OperatorState};
use models::record::{Record, RecordKind};
use models::series::{SeriesKey, SeriesScore};
use models::ts::{DAY, HOUR, MINUTE, SECOND, Ts};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use ring::digest::{SHA256, digest};
use std::collections::BTreeSet;

fn zone() -> TimeZone {
    TimeZone::get("Africa/Nairobi").unwrap()
}

fn version(rule: &str, version: u32, mode: Mode, (from, to): (i64, Option<i64>), params: &str) -> RuleVersion {
    RuleVersion {
        rule: rule.to_owned(),
        version,
        jurisdiction: "KE".to_owned(),
        effective_from: Ts(from),
        effective_to: to.map(Ts),
        mode,
        params: serde_json::from_str(params).unwrap(),
    }
}

#[test]
fn the_catalogue_names_every_rule_with_its_parameters() {
    let entries = catalogue();
    let names: BTreeSet<&str> = entries.iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), entries.len(), "each once");
    for entry in &entries {
        assert!(!entry.what.is_empty() && !entry.takes_back.is_empty(), "{}", entry.name);
        assert_eq!(entry.params.is_empty(), entry.home == Home::Elsewhere, "{}", entry.name);
        for param in &entry.params {
            let name = format!("{}.{}", entry.name, param.name);
            assert!(!param.what.is_empty() && !param.source.is_empty() && !param.default.is_null(), "{name}");
            assert!(param.min <= param.max, "{name}");
        }
    }
    let here: BTreeSet<&str> = ABOUT.iter().filter(|about| about.takes_versions()).map(|about| about.name).collect();
    let standard = RuleSet::standard("KE");
    let standard: BTreeSet<&str> = standard.versions().map(|version| version.rule.as_str()).collect();
    assert_eq!(here.difference(&standard).copied().collect::<Vec<_>>(), OFF_AT_FIRST, "defaults are valid");
    assert!(standard.is_subset(&here), "{standard:?}");
    for wanted in ["robust_deviation", "feed_silent"] {
        assert!(names.contains(wanted), "{wanted}");
    }
}

#[test]
fn what_is_no_parameter_is_refused_by_name() {
    let table = [
        ("excluded_play", r#"{"grace_minutes": 0}"#, ""),
        (
            "excluded_play",
            r#"{"grace_minutes": -1}"#,
            "grace_minutes of the rule excluded_play must be from 0 to 1440 minutes",
        ),
        (
            "excluded_play",
            r#"{"grace": 1}"#,
            "not the parameters of the rule excluded_play: unknown field `grace`, expected `grace_minutes`",
        ),
        (
            "excluded_play",
            r#"{"grace_minutes": "1"}"#,
            "not the parameters of the rule excluded_play: invalid type: string \"1\", expected i64",
        ),
        (
            "structured_deposits",
            r#"{"thresholds_minor": [5000, 99]}"#,
            "thresholds_minor of the rule structured_deposits must be from 100 to 10000000000000 minor units",
        ),
        ("rapid_in_out", r#"{"out_percent_min": 100, "out_percent_max": 100}"#, ""),
        (
            "rapid_in_out",
            r#"{"out_percent_max": 1001}"#,
            "out_percent_max of the rule rapid_in_out must be from 100 to 1000 per cent",
        ),
        (
            "return_to_player_off",
            r#"{"products": {"slots": {"return_ppm": 0, "multiple_max": 10}}}"#,
            "products of the rule return_to_player_off must be from 1 to 10000000 parts per million, multiple",
        ),
        (
            "return_to_player_off",
            r#"{"products": {"bingo": {"return_ppm": 1, "multiple_max": 10}}}"#,
            "not the parameters of the rule return_to_player_off: unknown variant `bingo`",
        ),
        (
            "licence_lapsed",
            r#"{"conditions": [{"condition": "none"}]}"#,
            "parameters of the rule licence_lapsed: a condition is named, and forbids a product or a channel",
        ),
        (
            "declared_revenue_differs",
            r#"{"taxes": {"vat": {"base": "stakes", "rate_ppm": 1000001}}}"#,
            "taxes of the rule declared_revenue_differs must be from 1 to 1000000 parts per million",
        ),
        ("feed_tampered", "{}", "the rule feed_tampered takes no versions: it is part of the engine"),
        ("astrology", "{}", "there is no rule astrology"),
    ];
    for (rule, params, wanted) in table {
        let refused = RuleSet::new("KE", vec![version(rule, 1, Mode::Live, (0, None), params)]).err();
        let said = refused.map_or(String::new(), |error| error.to_string());
        assert!(if wanted.is_empty() { said.is_empty() } else { said.starts_with(wanted) }, "{rule} {params}: {said}");
    }
}

#[test]
fn one_version_of_a_mode_at_a_time() {
    use Mode::{Live, Off, Shadow};
    let other = |span, params| version("excluded_play", 2, Live, span, params);
    let of = |mode, span| version("excluded_play", 1, mode, span, "{}");
    // rows; why they are refused
    let table = [
        (vec![of(Live, (0, Some(10))), other((10, None), "{}")], ""),
        (
            vec![of(Live, (0, Some(11))), other((10, None), "{}")],
            "versions 1 and 2 of the rule excluded_play are both live at the same time",
        ),
        (
            vec![of(Live, (0, None)), other((10, None), "{}")],
            "versions 1 and 2 of the rule excluded_play are both live at the same time",
        ),
        (vec![of(Shadow, (0, None)), other((10, None), "{}")], ""),
        (vec![of(Shadow, (0, Some(10))), of(Live, (10, None))], ""),
        (
            vec![of(Shadow, (0, None)), of(Shadow, (10, None))],
            "versions 1 and 1 of the rule excluded_play are both in the shadow at the same time",
        ),
        (vec![of(Off, (0, None)), of(Off, (10, None)), other((10, None), "{}")], ""),
        (vec![of(Live, (10, Some(10)))], "version 1 of the rule excluded_play: it ends before it begins"),
        (
            vec![version("excluded_play", 0, Live, (0, None), "{}")],
            "version 0 of the rule excluded_play: versions are counted from 1",
        ),
        (
            vec![of(Live, (0, Some(10))), version("excluded_play", 1, Live, (10, None), r#"{"grace_minutes": 3}"#)],
            "version 1 of the rule excluded_play has two sets of parameters: changed ones are another version",
        ),
        (
            vec![RuleVersion { jurisdiction: "NG-LA".to_owned(), ..of(Live, (0, None)) }],
            "version 1 of the rule excluded_play is not of the jurisdiction KE",
        ),
    ];
    for (rows, wanted) in table {
        let said = RuleSet::new("KE", rows.clone()).err().map_or(String::new(), |error| error.to_string());
        assert_eq!(said, wanted, "{rows:?}");
    }
}

#[test]
fn a_version_holds_for_what_happened_while_it_was_in_force() {
    let change = BEGIN + 1_000 * MINUTE;
    let rows = vec![
        version("structured_deposits", 1, Mode::Live, (0, Some(change)), r#"{"thresholds_minor": [1000]}"#),
        version("structured_deposits", 2, Mode::Live, (change, None), r#"{"thresholds_minor": [5000]}"#),
        version(
            "structured_deposits",
            3,
            Mode::Shadow,
            (0, None),
            r#"{"thresholds_minor": [5000], "deposits_min": 4}"#,
        ),
    ];
    let set = RuleSet::new("KE", rows).unwrap();
    let in_force = |mode, at| set.in_force("structured_deposits", mode, Ts(at)).map(|version| version.version);
    assert_eq!((in_force(Mode::Live, change - 1), in_force(Mode::Live, change)), (Some(1), Some(2)));
    assert_eq!((in_force(Mode::Shadow, change), in_force(Mode::Off, change)), (Some(3), None));

    let story = |minute: i64| (0..4).fold(Story::at(minute), |story, _| story.deposit("anna", 4_900));
    let said = |story: Story| {
        let mut rules = OperatorRules::new(OperatorNo(1), zone(), &set);
        let mut findings = Vec::new();
        // one list for the batch: what is said of a finding twice is said once
        story.inputs().for_each(|(_, input)| rules.hear(&input, &mut findings));
        findings.iter().map(|f| (f.version, f.mode, f.kind)).collect::<Vec<_>>()
    };
    let shadow = (3, Mode::Shadow, RevisionKind::Raised);
    assert_eq!(said(story(100)), [shadow], "the shadow speaks beside a live version that is silent");
    assert_eq!(said(story(1_100)), [(2, Mode::Live, RevisionKind::Raised), shadow]);
    // the book does not depend on versions: the first deposits were made under the first, the last one under the second
    assert_eq!(said(story(997))[0], (2, Mode::Live, RevisionKind::Raised));
}

#[test]
fn another_set_of_rules_starts_with_everything_the_book_remembers() {
    let quiet = RuleSet::new("KE", Vec::new()).unwrap();
    let mut rules = OperatorRules::new(OperatorNo(1), zone(), &quiet);
    let mut findings = Vec::new();
    let story = Story::at(60).deposit("anna", 4_900).deposit("anna", 4_900).deposit("anna", 4_900);
    let inputs: Vec<_> = story.inputs().map(|(_, input)| input).collect();
    inputs[..2].iter().for_each(|input| rules.hear(input, &mut findings));
    let rows = vec![version("structured_deposits", 1, Mode::Live, (0, None), r#"{"thresholds_minor": [5000]}"#)];
    rules.set_rules(&RuleSet::new("KE", rows).unwrap());
    rules.hear(&inputs[2], &mut findings);
    assert_eq!(findings.iter().map(|f| f.records.len()).collect::<Vec<_>>(), [3]);
}

/// Parameters under which small stories already say something.
fn eager() -> RuleSet {
    let with = |rule: &str, params: &str| {
        let rows = [(1, Mode::Live), (2, Mode::Shadow)];
        rows.map(|(no, mode)| version(rule, no, mode, (0, None), params))
    };
    let rows = ABOUT.iter().filter(|about| about.is_here()).flat_map(|about| {
        with(
            about.name,
            match about.name {
                "structured_across_operators" => {
                    r#"{"threshold_minor": 2000, "deposits_min": 2}"#
                }
                "structured_deposits" => r#"{"thresholds_minor": [1000], "band_percent": 50}"#,
                "rapid_in_out" => r#"{"deposits_min_minor": 1}"#,
                "payout_elsewhere" => r#"{"amount_min_minor": 0}"#,
                "shared_payout_account" => r#"{"accounts_max": 1}"#,
                "shared_device_across_operators" => r#"{"alike_min": 1}"#,
                "shared_payout_account_across_operators" => r#"{"people_max": 1, "alike_min": 1}"#,
                "opposite_bets" => r#"{"alone_min_minor": 1}"#,
                "dormant_burst" => r#"{"dormant_days": 30, "amount_min_minor": 500}"#,
                "net_deposit_threshold" => r#"{"currency": "KES", "adult_minor": 1500, "under_24_minor": 500}"#,
                "net_deposits_across_operators" => r#"{"currency": "KES", "month_max_minor": 1500}"#,
                "declared_revenue_differs" => {
                    r#"{"absolute_min_minor": 0, "taxes": {"gaming_tax": {"base": "stakes", "rate_ppm": 100000}}}"#
                }
                "return_to_player_off" => {
                    r#"{"products": {"slots": {"return_ppm": 10, "multiple_max": 1}}, "bets_min": 1, "certainty_digits": 2, "span_days": 60}"#
                }
                "unusual_exclusions" => r#"{"history_min": 2, "certainty_digits": 2}"#,
                _ => "{}",
            },
        )
    });
    RuleSet::new("KE", rows.collect()).unwrap()
}

/// One thing that happens: what, to whom, how much, and how much later.
type Act = (u8, u8, i64, i64);

/// An hour's stakes, more or less unusual.
fn odd(amount: i64) -> SeriesScore {
    let series = SeriesKey { granularity: Granularity::Hour, currency: Currency::KES, metric: Metric::Stakes };
    let start = Ts(BEGIN + amount % 400 * HOUR);
    SeriesScore {
        series,
        window: Window { start, end: start.plus(HOUR) },
        value: amount,
        score_ppm: (amount % 10 * 100_000) as u32,
        is_alert: false,
        expected: 7,
        band: None,
        points: 1,
        reasons: Vec::new(),
        told: None,
    }
}

fn told(acts: &[Act]) -> Story {
    let names = ["anna", "ben", "carl", "#7"];
    let mut story = Story::at(60).product("slots").account("wallet");
    for (what, who, amount, wait) in acts {
        let who = names[usize::from(*who) % names.len()];
        let level = Severity::ALL[*amount as usize % 4];
        let standing = LicenceStanding::ALL[*amount as usize % 5];
        let entered = [LicenceState::Active, LicenceState::Revoked, LicenceState::Active][*amount as usize % 3];
        let trading = [OperatorState::Active, OperatorState::Active, OperatorState::Suspended][*amount as usize % 3];
        let channel = ["online", "retail"][*amount as usize % 2];
        let place = ["home", "away"][*amount as usize % 2];
        let game = ["final", "semi-final", "match for third"][*amount as usize % 3];
        let account = ["wallet", "purse"][*amount as usize % 2];
        // a hundred minutes later at most times, a month now and then, and sometimes it is reported late
        story = match *wait {
            wait if wait > 97 => story.after(33 * DAY),
            wait if wait > 80 => story.before(minutes(10 * wait)),
            wait => story.after(minutes(wait)),
        };
        story = match what % 29 {
            0..4 => story.deposit(who, *amount),
            4..6 => story.withdraw(who, *amount),
            6..8 => story.outcome(game, place, 190).stake(who, *amount),
            8 => story.outcome(game, "home", 190).stake(who, *amount).outcome(game, "away", 200).stake("dora", *amount),
            9 => (0..60).fold(story, |story, _| story.payout(who, *amount)),
            10 => story.login(who),
            11 => story.session(who),
            12 => story.marketing(who),
            13 => story.campaign_bonus(who, *amount, "c"),
            14 => story.limit(who, "deposit_day", Some(*amount)),
            15 => story.intervention(who),
            16 => story.signal(who, level),
            17 => story.tick(),
            18 => story.licence("L", standing, Compliance::ALL[*amount as usize % 4]),
            19 => story.invoice("T", "gaming_tax", (120, 240), *amount, 1_000),
            20 => story.pay("T", *amount),
            21 => story.exclusions(amount.unsigned_abs(), None),
            22 => story.declare((120, 240), Base::Stakes, *amount),
            23 => story.series(vec![odd(*amount)]),
            24 => story.scored(who, amount.unsigned_abs() as u32 * 600),
            25 => story.player_scored(who, amount.unsigned_abs() as u32 * 600),
            26 => story.over(&[channel]).returning("slots", 10_000 + amount * 500, None).entered("L", entered),
            27 => story.operator_is(trading),
            _ => story.on_device("phone").account(account).login(who).excluded("ben", 60, None),
        };
        story = story.at_operator(1 + (*amount % 3) as u16);
    }
    story
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec((0u8..29, 0u8..4, 1i64..1_500, 0i64..100), 1..90)
}

struct Both {
    operator: OperatorRules,
    nation: NationRules,
}

impl Both {
    fn new() -> Self {
        let set = eager();
        let nation = NationRules::new(JurisdictionNo(0), zone(), &set);
        Self { operator: OperatorRules::new(OperatorNo(1), zone(), &set), nation }
    }

    fn hear(&mut self, operator: OperatorNo, input: &Input<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.operator.hear(input, &mut findings);
        self.nation.hear(operator, input, &mut findings);
        findings
    }

    fn bytes(&self) -> (Vec<u8>, Vec<u8>) {
        (self.operator.to_bytes().unwrap(), self.nation.to_bytes().unwrap())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_state_read_back_goes_on_as_if_nothing_had_happened(acts in acts(), cut in 0usize..90) {
        let story = told(&acts);
        let inputs: Vec<_> = story.inputs().collect();
        let cut = cut.min(inputs.len());
        let mut whole = Both::new();
        for (operator, input) in &inputs[..cut] {
            whole.hear(*operator, input);
        }
        let (operator, nation) = whole.bytes();
        let mut back = Both::new();
        back.operator = back.operator.with_bytes(&operator).unwrap();
        back.nation = back.nation.with_bytes(&nation).unwrap();
        prop_assert_eq!(back.bytes(), whole.bytes());
        for (operator, input) in &inputs[cut..] {
            prop_assert_eq!(back.hear(*operator, input), whole.hear(*operator, input));
        }
        prop_assert_eq!(back.bytes(), whole.bytes());
    }

    #[test]
    fn a_finding_begins_with_raised_and_a_shadow_says_the_same_as_the_live_one(acts in acts()) {
        let (story, mut rules) = (told(&acts), Both::new());
        let mut standing = BTreeSet::new();
        for (operator, input) in story.inputs() {
            let findings = rules.hear(operator, &input);
            let of = |mode| findings.iter().filter(move |f: &&Finding| f.mode == mode);
            for (live, shadow) in of(Mode::Live).zip(of(Mode::Shadow)) {
                prop_assert_eq!((live.rule, live.who, live.window, live.kind), (shadow.rule, shadow.who, shadow.window, shadow.kind));
            }
            prop_assert_eq!(of(Mode::Live).count(), of(Mode::Shadow).count());
            for finding in &findings {
                let stood = standing.contains(&finding.id);
                prop_assert_eq!(finding.kind != RevisionKind::Raised, stood, "{:?}", finding);
                match finding.kind {
                    RevisionKind::Withdrawn => standing.remove(&finding.id),
                    _ => standing.insert(finding.id),
                };
                prop_assert!(!finding.reasons.is_empty() && finding.records.len() <= RECORDS_MAX);
                prop_assert!(finding.window.start < finding.window.end, "{:?}", finding);
                // nobody in the clear, whatever a story calls them
                // (a digest may spell anything)
                let said = serde_json::to_string(&Finding { id: AlertId(0), ..finding.clone() }).unwrap();
                prop_assert!(!["anna", "ben", "carl", "dora", "wallet", "purse"].iter().any(|name| said.contains(name)), "{}", said);
            }
        }
    }
}

#[test]
fn random_stories_reach_every_rule() {
    // otherwise the properties above would hold of rules that never spoke
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut spoke = BTreeSet::new();
    for _ in 0..400 {
        let acts = acts().new_tree(&mut runner).unwrap().current();
        let (story, mut rules) = (told(&acts), Both::new());
        for (operator, input) in story.inputs() {
            spoke.extend(rules.hear(operator, &input).iter().map(|finding| finding.rule));
        }
    }
    let silent: Vec<&str> = ABOUT.iter().filter(|a| a.is_here() && !spoke.contains(a.name)).map(|a| a.name).collect();
    assert_eq!(silent, Vec::<&str>::new());
}

#[test]
fn a_change_of_layout_or_of_what_follows_raises_the_version() {
    let acts: Vec<Act> = (0..240u32)
        .map(|n| ((n * 7 % 27) as u8, (n % 4) as u8, i64::from(n * 37 % 1_400) + 1, i64::from(n * 13 % 97)))
        .collect();
    let (story, mut rules) = (told(&acts), Both::new());
    let mut spoke = BTreeSet::new();
    for (operator, input) in story.inputs() {
        spoke.extend(rules.hear(operator, &input).iter().map(|finding| finding.rule));
    }
    assert!(spoke.len() > 12, "it is a rich state: {spoke:?}");
    let digest =
        |bytes: &[u8]| -> String { digest(&SHA256, bytes).as_ref()[..8].iter().map(|b| format!("{b:02x}")).collect() };
    let (operator, nation) = rules.bytes();
    assert_eq!(
        (VERSION, digest(&operator).as_str(), digest(&nation).as_str()),
        (8, "0750b9d2a42e8e3d", "6343780842f4ee93"),
        "states of the release before are not this code's: raise VERSION, then pin the new digests"
    );
}

#[test]
fn what_is_no_state_is_refused() {
    let mut rules = Both::new();
    let story = told(&[(0, 0, 900, 1), (0, 1, 900, 1)]);
    story.inputs().for_each(|(operator, input)| drop(rules.hear(operator, &input)));
    let (operator, nation) = rules.bytes();
    for cut in [0, 1, operator.len() / 2, operator.len() - 1] {
        assert!(Both::new().operator.with_bytes(&operator[..cut]).is_err(), "{cut} bytes of it");
    }
    assert!(Both::new().operator.with_bytes(&[operator.as_slice(), &[0]].concat()).is_err(), "and a byte more");
    assert!(Both::new().nation.with_bytes(&nation[..nation.len() - 1]).is_err());
}

/// A deposit of somebody, with as much in it as a record can hold.
fn heavy(player: u128, n: i64) -> Record {
    let key = |kind: u128| Some(MatchKey((player * 3 + kind) << 24 | player));
    Record {
        record_id: format!("{n:0>128}"),
        player: Some(MatchKey(player << 30 | player)),
        device: key(1),
        account: key(2),
        ..record(
            if n % 2 == 0 { RecordKind::Deposit } else { RecordKind::Withdrawal },
            Ts(BEGIN + n * MINUTE),
            95_000,
            0,
        )
    }
}

#[test]
fn a_million_players_stay_within_the_limits() {
    let mut rules = OperatorRules::new(OperatorNo(1), zone(), &RuleSet::standard("KE"));
    let small = Limit { entries: 1_000, bytes: 100_000 };
    let mut nation = NationRules::with_limit(JurisdictionNo(0), zone(), &RuleSet::standard("KE"), small);
    let facts = Facts { is_identified: true, ..Facts::default() };
    let mut findings = Vec::new();
    for n in 0..1_000_000i64 {
        let record = heavy(n.unsigned_abs().into(), n);
        let input = Input::Play { record: &record, facts: &facts };
        rules.hear(&input, &mut findings);
        nation.hear(OperatorNo(1), &input, &mut findings);
        findings.clear();
    }
    let evicted = rules.book().evicted();
    let lists = [PLAYERS, DEVICES, ACCOUNTS, EVENTS, PAIRS].map(|limit| limit.bytes).iter().sum();
    assert_eq!(rules.book().players_len(), PLAYERS.entries as usize);
    assert!(evicted.iter().take(3).all(|(_, count)| *count > 0), "what gave way is counted: {evicted:?}");
    assert!(rules.book().list_bytes() <= lists, "{}", rules.book().list_bytes());
    assert!(rules.to_bytes().unwrap().len() < 64 << 20, "what is kept of an operator");
    assert_eq!(nation.players().0, 1_000);
    assert!(nation.players().1 >= 999_000);
    assert_eq!(nation.rings().held(), [RINGS.entries as usize, 500_000], "every other one is paid out");
    assert!(nation.rings().forgotten()[..2].iter().all(|(_, count)| *count > 0), "lists of ids have a limit, too");
}

#[test]
fn findings_that_are_remembered_have_a_limit() {
    // what is not told of yet is remembered, too
    for params in ["{}", r#"{"bets_min": 2}"#] {
        let rows = vec![version("concurrent_play", 1, Mode::Live, (0, None), params)];
        let mut rules = NationRules::new(JurisdictionNo(0), zone(), &RuleSet::new("KE", rows).unwrap());
        let facts = Facts { is_identified: true, ..Facts::default() };
        let mut findings = Vec::new();
        let count = 2 * NATION_CASES_MAX;
        for n in 0..count {
            for operator in [1, 2] {
                let record = record(RecordKind::Stake, Ts(BEGIN + n as i64 * SECOND), 5, 1 + n as u128);
                rules.hear(OperatorNo(operator), &Input::Play { record: &record, facts: &facts }, &mut findings);
            }
            findings.clear();
        }
        let live = rules.standing().counts(Mode::Live);
        assert!(live.cases <= NATION_CASES_MAX && live.cases > NATION_CASES_MAX / 2, "{live:?}");
        assert_eq!(live.cases as u64 + live.forgotten, count as u64);
    }
}

/// Players who are excluded, and bet.
struct Excluded {
    rules: OperatorRules,
    facts: Facts,
}

impl Excluded {
    fn new(rows: Vec<RuleVersion>) -> Self {
        let excluded = Some(crate::rules::input::Excluded { since: Ts(BEGIN - DAY), until: None });
        let facts = Facts { is_identified: true, excluded, ..Facts::default() };
        Self { rules: OperatorRules::new(OperatorNo(1), zone(), &RuleSet::new("KE", rows).unwrap()), facts }
    }

    /// A player bets so many minutes behind the beginning.
    fn bets(&mut self, player: u128, minute: i64) -> Vec<(Mode, RevisionKind)> {
        let record = record(RecordKind::Stake, Ts(BEGIN + minute * MINUTE), 5, player);
        let mut findings = Vec::new();
        self.rules.hear(&Input::Play { record: &record, facts: &self.facts }, &mut findings);
        findings.iter().map(|finding| (finding.mode, finding.kind)).collect()
    }
}

#[test]
fn a_shadow_that_says_much_makes_nobody_forget_what_people_were_told() {
    // the live version is over when the shadow begins to speak of many
    let noon = BEGIN + 12 * HOUR;
    let mut story = Excluded::new(vec![
        version("excluded_play", 1, Mode::Live, (0, Some(noon)), "{}"),
        version("excluded_play", 2, Mode::Shadow, (noon, None), r#"{"grace_minutes": 1}"#),
    ]);
    assert_eq!(story.bets(1, 60), [(Mode::Live, RevisionKind::Raised)]);
    for n in 0..2 * CASES_MAX as u128 {
        story.bets(10 + n, 12 * 60 + (n / 100) as i64);
    }
    let (live, shadow) = (story.rules.standing().counts(Mode::Live), story.rules.standing().counts(Mode::Shadow));
    assert!(live.forgotten == 0 && shadow.forgotten > 0 && shadow.cases <= CASES_MAX, "{live:?} {shadow:?}");
    assert_eq!(story.bets(1, 61), [(Mode::Live, RevisionKind::Corrected)], "twice as much, and not something new");
}

#[test]
fn what_goes_on_is_forgotten_last() {
    // eight players bet every hour of a day, many others once
    let mut story = Excluded::new(vec![version("excluded_play", 1, Mode::Live, (0, None), "{}")]);
    let mut raised = 0;
    for n in 0..3 * CASES_MAX as u128 {
        let minute = 24 * 60 + (n / 20) as i64;
        if n % 1_200 == 0 {
            let said = (1..=8).flat_map(|player| story.bets(player, minute)).collect::<Vec<_>>();
            raised += said.iter().filter(|(_, kind)| *kind == RevisionKind::Raised).count();
        }
        story.bets(10 + n, minute);
    }
    assert!(story.rules.standing().counts(Mode::Live).forgotten > 0);
    assert_eq!(raised, 8, "a case that was forgotten says that it is new");
}

#[test]
fn rules_listen_to_what_there_is() {
    for about in ABOUT {
        assert_eq!(about.hears.is_empty(), !about.is_here(), "{}", about.name);
        let once: BTreeSet<u8> = about.hears.iter().map(|trigger| *trigger as u8).collect();
        assert_eq!(once.len(), about.hears.len(), "{}: it would be asked twice", about.name);
        assert_eq!(Typed::read(about.name, &serde_json::Value::Null).unwrap().is_some(), about.takes_versions());
    }
    // of a record that did not go through nobody hears, of one that did exactly one trigger speaks
    for kind in RecordKind::ALL {
        let played = record(*kind, Ts(BEGIN), 5, 1);
        assert_eq!(Trigger::of(&played) == Some(Trigger::Document), kind.is_document(), "{}", kind.as_str());
        let failed = Record { status: models::record::RecordStatus::Failed, ..played };
        assert_eq!(Trigger::of(&failed), None);
    }
}
