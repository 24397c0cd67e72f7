use super::*;
use crate::market::{Kept, SetAside};
use crate::model_rows::tests::{vectors_as_said, vectors_before};
use crate::rules::judge::{Judge, OfNation, OfOperator, Which};
use crate::rules::keeper::hear_without;
use crate::scoring::tests::{learnt, table};
use engine::rules::calendar::Calendar;
use engine::rules::finding::{Finding, Mode};
use engine::rules::input::Facts;
use engine::rules::nation::NationRules;
use engine::rules::ruleset::{RuleSet, RuleVersion};
use engine::rules::run::OperatorRules;
use jiff::tz::TimeZone;
use ml::tabular::artefact::Kind;
use models::feed::SourceClock;
use models::jurisdiction::JurisdictionNo;
use models::match_key::MatchKey;
use models::money::Currency;
use models::record::{Product, Record, RecordKind, RecordStatus};
use models::ts::{DAY, HOUR, MINUTE, Ts};

#[path = "risk_harm_tests.rs"]
mod harm;
#[path = "risk_shadow_tests.rs"]
mod shadow;

/// 2 March 2026, 00:00 in Nairobi.
const BEGIN: i64 = 1_772_398_800_000_000;
/// Where both models are promoted in the journal.
const SINCE: Seq = 100;

fn blank(models: &Models) -> OfOperator {
    let zone = TimeZone::get("Africa/Nairobi").unwrap();
    let mut rules = OfOperator::new(OperatorNo(1), OperatorRules::new(OperatorNo(1), zone, &RuleSet::standard("KE")));
    rules.set_models(models);
    rules
}

fn promoted() -> Models {
    let models = Models::default();
    for (kind, of) in [(ModelKind::TransactionRisk, Kind::TransactionRisk), (ModelKind::PlayerRisk, Kind::PlayerRisk)] {
        let scorer = Scorer::new(3, learnt(of, &table(kind, 600))).unwrap();
        models.set(kind, Some(Promoted { scorer, since: SINCE }));
    }
    models
}

fn record(n: i64, player: u128) -> Record {
    let kind = [RecordKind::Deposit, RecordKind::Stake, RecordKind::Stake, RecordKind::Withdrawal][n as usize % 4];
    let record_id = format!("r{n}");
    Record {
        id_digest: engine::ingest::id_digest(&record_id),
        record_id,
        replaces: None,
        kind,
        occurred_at: Ts(BEGIN + n * 3 * HOUR + player as i64 * MINUTE),
        status: RecordStatus::Successful,
        player: Some(MatchKey(player << 40)),
        is_identified: true,
        amount_minor: 100 + n * 7_919 % 50_000,
        currency: Currency::KES,
        balance_after_minor: None,
        product: None,
        channel: None,
        bet_id: None,
        session_id: None,
        region: None,
        device: None,
        account: None,
        detail: String::new(),
        content_digest: 0,
    }
}

/// The n-th batch: a record of each of three players, and a login.
fn input(n: i64) -> Stored {
    let login = Record { kind: RecordKind::Login, record_id: format!("l{n}"), ..record(n, 9) };
    let records: Vec<Record> = (1..=3).map(|player| record(n, player)).chain([login]).collect();
    let facts = vec![Facts::default(); records.len()];
    let batch = Batch {
        clock_at: Ts(BEGIN + n * 3 * HOUR + HOUR),
        clock: SourceClock::Event,
        records: records.into(),
        facts: Some(facts.into()),
    };
    let input = RuleInput::Batch { operator_seq: n };
    Stored { seq: SINCE - 2 + n, operator: OperatorNo(1), input_seq: n, rules_seq: 0, input, batch: Some(batch) }
}

fn hear(rules: &mut OfOperator, input: &Stored) -> Vec<Finding> {
    let mut findings = Vec::new();
    rules.hear(input, &Which { keeps: &|_| true, inspect: None }, &mut findings);
    findings
}

fn said(rules: &mut OfOperator, input: RuleInput) -> Vec<Finding> {
    let stored = Stored { seq: 9_999, operator: OperatorNo(1), input_seq: 9_999, rules_seq: 0, input, batch: None };
    hear(rules, &stored)
}

#[test]
fn what_is_stored_behind_the_promotion_is_scored_and_the_same_after_a_restart() {
    let models = promoted();
    let (mut whole, mut half) = (blank(&models), blank(&models));
    for n in 0..24 {
        if n == 11 {
            half = blank(&models).with_bytes(&whole.to_bytes().unwrap()).expect("its own bytes");
        }
        hear(&mut whole, &input(n));
        if n >= 11 {
            hear(&mut half, &input(n));
        }
    }
    assert_eq!(whole.to_bytes().unwrap(), half.to_bytes().unwrap());
    let unsaid = whole.risk.unsaid();
    assert_eq!(unsaid, half.risk.unsaid());
    let of = |input: &RuleInput| match input {
        RuleInput::RecordsScored(scored) => (scored.of, scored.version, scored.scores.0.clone()),
        other => panic!("{other:?}"),
    };
    // the first three lie at or before the promotion
    let places: Vec<i64> = unsaid.iter().map(|input| of(input).0).collect();
    assert_eq!(places, (3..24).collect::<Vec<_>>());
    for (_, version, scores) in unsaid.iter().map(of) {
        assert_eq!((version, scores.len(), scores[3]), (3, 4, None), "a login has no score");
        assert!(scores[..3].iter().all(Option::is_some));
    }
    // players of the days that are over: once each, until they are said
    let Some(RuleInput::PlayersScored(due)) = whole.risk.due() else { panic!("players are due") };
    assert_eq!((due.players.len(), due.as_of.0), (4, BEGIN + 2 * DAY));
    assert_eq!(whole.risk.due(), Some(RuleInput::PlayersScored(due.clone())), "as long as they are not stored");
    said(&mut whole, RuleInput::PlayersScored(due));
    assert_eq!(whole.risk.due(), None);
    // what is stored is not unsaid any more, and is heard once
    let last = unsaid.last().cloned().unwrap();
    said(&mut whole, last.clone());
    assert!(!whole.risk.waits() && said(&mut whole, last).is_empty());
}

#[test]
fn without_a_model_nothing_is_scored_and_histories_are_kept() {
    let (none, models) = (Models::default(), promoted());
    let (mut rules, mut scoring) = (blank(&none), blank(&models));
    for n in 0..12 {
        hear(&mut rules, &input(n));
        hear(&mut scoring, &input(n));
    }
    assert!(!rules.risk.waits() && rules.risk.due().is_none() && rules.risk.judged_days().is_empty());
    // promoted later it knows what one knows that was there all the time
    rules.set_models(&models);
    hear(&mut rules, &input(12));
    hear(&mut scoring, &input(12));
    assert_eq!(rules.risk.unsaid().last(), scoring.risk.unsaid().last());
    assert_eq!(rules.risk.unsaid().len(), 1);
    // and a retired one says nothing
    rules.set_models(&none);
    hear(&mut rules, &input(13));
    assert_eq!(rules.risk.unsaid().len(), 1);
}

#[test]
fn a_day_that_is_over_is_judged_once() {
    let models = promoted();
    let mut rules = blank(&models);
    for n in 3..13 {
        hear(&mut rules, &input(n));
    }
    let judged = rules.judged_days();
    let days: Vec<_> = judged.iter().map(|day| (day.kind, day.day.0, day.rows)).collect();
    // from 09:00 on five batches of three records; no player had been scored yet
    assert_eq!(days, [(ModelKind::TransactionRisk, BEGIN, 15)]);
    assert!(rules.judged_days().is_empty());
}

#[test]
fn of_many_risky_records_the_highest_are_named() {
    let mut scores = BatchScores::default();
    let vector = [0.0; transaction::WIDTH];
    for place in 0..5 * NAMED_MAX {
        scores.add(3 * place, NAMED_FROM_PPM - 1 + place as u32, &vector);
    }
    scores.keep_highest();
    assert_eq!(scores.candidates.len(), NAMED_MAX);
    assert_eq!(scores.candidates[0].place, 3 * 4 * NAMED_MAX, "in their order");
    assert_eq!(scores.scores.len(), 3 * (5 * NAMED_MAX - 1) + 1);
    assert_eq!((scores.scores[3], scores.scores[4]), (Some(NAMED_FROM_PPM), None));
}

/// The standard rules, and a version of the one across operators that somebody promoted.
fn promoted_across() -> RuleSet {
    let across = RuleVersion {
        rule: "player_at_risk_across_operators".to_owned(),
        version: 2,
        jurisdiction: "KE".to_owned(),
        effective_from: Ts(0),
        effective_to: None,
        mode: Mode::Live,
        params: serde_json::json!({}),
    };
    let standard = RuleSet::standard("KE");
    RuleSet::new("KE", standard.versions().cloned().chain([across]).collect()).unwrap()
}

fn nation(models: &Models) -> OfNation {
    let zone = TimeZone::get("Africa/Nairobi").unwrap();
    let mut rules = OfNation::new(NationRules::new(JurisdictionNo(0), zone, &promoted_across()));
    rules.set_models(models);
    rules
}

/// The n-th batch of an operator: a record of each of some players.
fn input_of(n: i64, operator: u16, players: &[u128], facts: &Facts) -> Stored {
    let records: Vec<Record> = players.iter().map(|player| record(n, *player)).collect();
    let facts = vec![*facts; records.len()];
    let batch = Batch { records: records.into(), facts: Some(facts.into()), ..input(n).batch.unwrap() };
    let seq = SINCE + 2 * n + i64::from(operator);
    Stored { seq, operator: OperatorNo(operator), batch: Some(batch), ..input(n) }
}

fn hear_nation(rules: &mut OfNation, input: &Stored) -> Vec<Finding> {
    let mut findings = Vec::new();
    rules.hear(input, &Which { keeps: &|_| true, inspect: None }, &mut findings);
    findings
}

#[test]
fn who_plays_at_several_operators_is_scored_across_them_and_the_same_after_a_restart() {
    let models = promoted();
    let known = Facts { is_identified: true, ..Facts::default() };
    let (mut whole, mut half) = (nation(&models), nation(&models));
    for n in 0..24 {
        if n == 11 {
            half = nation(&models).with_bytes(&whole.to_bytes().unwrap()).expect("its own bytes");
        }
        // the third is at both, but nobody knows who they are
        let nobody = Facts::default();
        for (operator, players, facts) in
            [(1, &[1, 2][..], &known), (2, &[2, 4], &known), (1, &[3], &nobody), (2, &[3], &nobody)]
        {
            let input = input_of(n, operator, players, facts);
            hear_nation(&mut whole, &input);
            if n >= 11 {
                hear_nation(&mut half, &input);
            }
        }
    }
    assert_eq!(whole.to_bytes().unwrap(), half.to_bytes().unwrap());
    let due = whole.risk.due().expect("players are due");
    assert_eq!(half.risk.due().as_ref(), Some(&due));
    let players: Vec<_> = due.players.iter().map(|scored| scored.player).collect();
    assert_eq!((players, due.as_of.0), (vec![MatchKey(2 << 40)], BEGIN + 2 * DAY), "once, as of the newest day");
    // offered until it is stored, and no more until it is heard
    assert_eq!(whole.risk.due().as_ref(), Some(&due));
    whole.risk.said();
    assert_eq!(whole.risk.due(), None);
    // what an operator's own model says is not heard, what is the jurisdiction's is
    let mut scored = due;
    scored.players[0].score_ppm = 700_000;
    let said = |operator| Stored {
        seq: 9_999,
        operator,
        input: RuleInput::PlayersScored(Box::new(scored.clone())),
        batch: None,
        ..input(1)
    };
    assert!(hear_nation(&mut whole, &said(OperatorNo(1))).is_empty());
    let found = hear_nation(&mut whole, &said(OperatorNo::of_nation(JurisdictionNo(0))));
    let told: Vec<_> = found.iter().map(|finding| (finding.rule, finding.operators.clone())).collect();
    assert_eq!(told, [("player_at_risk_across_operators", vec![OperatorNo(1), OperatorNo(2)])]);
    assert_eq!(whole.risk.due(), None, "nobody else is due");
    // until somebody promotes a version the rule is off
    whole.set_rules(&RuleSet::standard("KE"));
    assert!(hear_nation(&mut whole, &said(OperatorNo::of_nation(JurisdictionNo(0)))).is_empty());
    // a retired model says nothing
    whole.set_models(&Models::default());
    hear_nation(&mut whole, &input_of(40, 1, &[2], &known));
    assert_eq!(whole.risk.due(), None);
}

#[test]
fn scores_that_are_set_aside_are_not_said_again() {
    // as the keeper does where a state panics on an input: from the state before it on without it
    let models = promoted();
    let aside = SetAside::from([(7_777, Vec::new())]);
    let mut rules = blank(&models);
    (3..20).for_each(|n| drop(hear(&mut rules, &input(n))));
    let said: Vec<RuleInput> = rules.risk.unsaid().into_iter().chain(rules.risk.due()).collect();
    let mut rules = blank(&models).with_bytes(&rules.to_bytes().unwrap()).expect("its own bytes");
    assert_eq!((said.len(), rules.risk.unsaid_len(), rules.risk.waits()), (18, 17, true));
    for input in said {
        let stored = Stored { seq: 9_999, operator: OperatorNo(1), input_seq: 7_777, rules_seq: 0, input, batch: None };
        assert!(hear_without(&aside, &mut rules, &stored, None).is_ok_and(|found| found.is_empty()));
    }
    assert!(!rules.risk.waits() && rules.risk.due().is_none());

    let known = Facts { is_identified: true, ..Facts::default() };
    let mut all = nation(&models);
    for n in 0..24 {
        for operator in [1, 2] {
            hear_nation(&mut all, &input_of(n, operator, &[2], &known));
        }
    }
    let due = all.risk.due().expect("somebody is due");
    let mut all = nation(&models).with_bytes(&all.to_bytes().unwrap()).expect("its own bytes");
    assert_eq!(all.risk.due().as_ref(), Some(&due), "as long as nothing of it is heard");
    all.risk.said();
    let stored = |operator| Stored {
        seq: 7_777,
        operator,
        input: RuleInput::PlayersScored(Box::new(due.clone())),
        batch: None,
        ..input(1)
    };
    // an operator's own says nothing of those across
    for (operator, is_due) in [(OperatorNo(1), true), (OperatorNo::of_nation(JurisdictionNo(0)), false)] {
        let stored = stored(operator);
        assert!(hear_without(&aside, &mut all, &stored, None).is_ok_and(|found| found.is_empty()));
        let mut again = nation(&models).with_bytes(&all.to_bytes().unwrap()).expect("its own bytes");
        assert_eq!(again.risk.due().is_some(), is_due, "{operator:?}");
    }
    assert_eq!(all.risk.due(), None);
    // who plays on is scored at the end of another day
    for n in 24..34 {
        for operator in [1, 2] {
            hear_nation(&mut all, &input_of(n, operator, &[2], &known));
        }
    }
    assert_eq!(all.risk.due().map(|due| due.as_of.0), Some(BEGIN + 4 * DAY));
}

/// Numbers that look drawn, and are the same every time.
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Nine days of four players in two currencies, in the order in which they are told: much of it around midnight, some of it
/// days late, and a day on which nobody plays. In New York the clocks go forward on one of them.
fn market(zone: &TimeZone, seed: u64) -> Vec<Record> {
    use RecordKind::{Deposit, LimitChange, Login, Payout, SessionEnd, SessionStart, Stake, Withdrawal};
    let kinds = [Deposit, Stake, Payout, Stake, Login, Withdrawal, Stake, SessionStart, SessionEnd, LimitChange];
    let (mut calendar, mut drawn, mut records) = (Calendar::new(zone.clone()), Drawn(seed), Vec::new());
    let mut day = calendar.spans(Ts(BEGIN)).day;
    for number in 0..9 {
        let length = (day.end.0 - day.start.0) as u64;
        let mut draw = || match drawn.below(6) {
            0 => drawn.below(3 * MINUTE as u64),
            1 => length - 1 - drawn.below(3 * MINUTE as u64),
            _ => drawn.below(length),
        };
        let mut offsets: Vec<u64> = (0..24).map(|_| draw()).collect();
        offsets.sort_unstable();
        // nobody plays on the fifth day
        for (n, offset) in offsets.into_iter().enumerate().filter(|_| number != 4) {
            let late = if drawn.below(8) == 0 { 1 + drawn.below(3) as i64 } else { 0 };
            let record_id = format!("{number}-{n}");
            let kind = kinds[drawn.below(kinds.len() as u64) as usize];
            records.push(Record {
                id_digest: engine::ingest::id_digest(&record_id),
                record_id,
                kind,
                occurred_at: day.start.plus(offset as i64 - late * DAY),
                currency: if drawn.below(4) == 0 { Currency::EUR } else { Currency::KES },
                amount_minor: 1 + drawn.below(90_000) as i64,
                balance_after_minor: (drawn.below(2) == 0).then(|| drawn.below(70_000) as i64),
                product: Some(if drawn.below(2) == 0 { Product::Slots } else { Product::Sportsbook }),
                // some bets say of which session they are, others go by its records or by pauses
                session_id: (drawn.below(2) == 0).then(|| format!("{number}-{}", drawn.below(3))),
                detail: format!(
                    r#"{{"bet.odds":{}.5,"bet.live":{},"game.type":"{}","limit.type":"{}"}}"#,
                    1 + drawn.below(9),
                    drawn.below(2) == 0,
                    drawn.below(3),
                    ["time_out", "deposit_day"][drawn.below(2) as usize],
                ),
                ..record(0, 1 + u128::from(drawn.below(4)))
            });
        }
        day = calendar.spans(day.end).day;
    }
    records
}

fn bits(vector: &[f32]) -> Vec<u32> {
    vector.iter().map(|value| value.to_bits()).collect()
}

/// What was asked of the model about a player: as of when, and the bits of the vector.
struct Asked {
    player: MatchKey,
    currency: Currency,
    as_of: Ts,
    bits: Vec<u32>,
}

/// Takes a market in as an operator's actor does, some records at once, killed now and then. Of so many batches one is
/// followed by scores.
fn asked_live(models: &Models, zone: &TimeZone, records: &[Record], one_of: u64) -> Vec<Asked> {
    let (set, mut drawn, mut asked) = (RuleSet::standard("KE"), Drawn(one_of), Vec::new());
    let new = || {
        let mut rules = OfOperator::new(OperatorNo(1), OperatorRules::new(OperatorNo(1), zone.clone(), &set));
        rules.set_rules(&set);
        rules.set_models(models);
        rules
    };
    let promoted = models.players.load_full().expect("a version");
    let (mut rules, mut rest, mut place) = (new(), records, 0);
    while !rest.is_empty() {
        let (told, behind) = rest.split_at(rest.len().min(1 + drawn.below(9) as usize));
        (rest, place) = (behind, place + 1);
        let clock_at = told.iter().map(|record| record.occurred_at).max().unwrap_or(Ts(BEGIN));
        let facts = Some(vec![Facts::default(); told.len()].into());
        let batch = Batch { clock_at, clock: SourceClock::Event, records: told.into(), facts };
        hear(&mut rules, &Stored { seq: SINCE + place, input_seq: place, batch: Some(batch), ..input(1) });
        if drawn.below(5) == 0 {
            rules = new().with_bytes(&rules.to_bytes().unwrap()).expect("its own bytes");
        }
        let live = &mut rules.risk.live.players;
        let mut vectors = Vec::new();
        while drawn.below(one_of) == 0 {
            let scored = score_due(live, &promoted.scorer, |_, _, vector| {
                vectors.push(bits(vector));
                0
            });
            let Some(scored) = scored else { break };
            let each = scored.players.iter().zip(vectors.drain(..));
            asked.extend(each.map(|(one, bits)| Asked {
                player: one.player,
                currency: one.currency,
                as_of: scored.as_of,
                bits,
            }));
            live.said(&scored);
        }
    }
    asked
}

#[test]
fn a_row_to_learn_from_is_bit_for_bit_what_the_model_was_asked() {
    let models = promoted();
    for (seed, zone) in
        (1..).zip(["Africa/Nairobi", "Africa/Lagos", "America/Sao_Paulo", "Asia/Kolkata", "America/New_York"])
    {
        let of = zone;
        let zone = TimeZone::get(zone).unwrap();
        let records = market(&zone, seed);
        // whether scores are made at once or after some batches of the next day
        for one_of in [1, 4] {
            let asked = asked_live(&models, &zone, &records, one_of);
            assert!(asked.len() > 10, "{of}: {}", asked.len());
            for name in ["play_sessions_day_1m", "interactions_session_1m", "time_outs_1m", "game_type_dominant"] {
                let place = player::names().iter().position(|known| *known == name).unwrap();
                assert!(asked.iter().any(|one| f32::from_bits(one.bits[place]) > 0.0), "{of}: nobody has {name}");
            }
            for one in &asked {
                // what is said of a score is said of the last instant of its day
                let said = (one.player, one.as_of.plus(-1));
                let rows = vectors_as_said(zone.clone(), &records, said);
                assert!(rows.iter().any(|row| bits(row) == one.bits), "{of}: {} as of {}", one.player, one.as_of);
            }
        }
        let asked = asked_live(&models, &zone, &records, 1);
        for (n, label) in records.iter().enumerate().step_by(5) {
            // days that were over when it was heard: with the record itself, at the latest
            let heard_until = records[..=n].iter().map(|record| record.occurred_at).max().unwrap();
            let own = |one: &&Asked| {
                (Some(one.player), one.currency) == (label.player, label.currency) && one.as_of <= heard_until
            };
            let newest = asked.iter().filter(own).max_by_key(|one| one.as_of);
            let rows: Vec<_> = vectors_before(zone.clone(), &records, label).iter().map(|row| bits(row)).collect();
            assert_eq!(rows, newest.map(|one| one.bits.clone()).into_iter().collect::<Vec<_>>(), "{of}: record {n}");
        }
    }
}
