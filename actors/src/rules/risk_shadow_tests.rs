//! Versions in the shadow: what the rules hear is the same with them, and what they say is counted.

use super::*;
use models::model_shadow::{ShadowCounts, ShadowDayCounted};

/// The same model as the promoted one, as another version: the two agree on everything.
fn with_shadow(models: &Models) -> &Models {
    for (kind, of) in [(ModelKind::TransactionRisk, Kind::TransactionRisk), (ModelKind::PlayerRisk, Kind::PlayerRisk)] {
        let scorer = Scorer::new(4, learnt(of, &table(kind, 600))).unwrap();
        models.set_shadow(kind, Some(Promoted { scorer, since: SINCE }));
        assert_eq!(models.shadow(kind), Some((4, SINCE)));
    }
    models
}

/// Batches in their order, with the bound low enough for some to be above it.
fn heard(models: &Models, batches: std::ops::Range<i64>) -> OfOperator {
    let mut rules = blank(models);
    rules.risk.shadows_mut().set_bound(100_000);
    batches.for_each(|n| drop(hear(&mut rules, &input(n))));
    rules
}

fn counted(rules: &mut OfOperator) -> Vec<(ModelKind, i64, ShadowCounts)> {
    let days = rules.counted_shadows();
    assert!(days.iter().all(|day| (day.version, day.operator_no) == (4, OperatorNo(1))));
    let brief = |ShadowDayCounted { kind, day, found, .. }| (kind, day.0, found.counts);
    days.into_iter().map(brief).collect()
}

#[test]
fn what_rules_hear_and_what_is_kept_is_the_same_with_a_shadow() {
    let (plain, models, none, alone) = (promoted(), promoted(), Models::default(), Models::default());
    for (without, with) in [(&plain, with_shadow(&models)), (&none, with_shadow(&alone))] {
        let (mut without, mut with) = (heard(without, 0..24), heard(with, 0..24));
        assert_eq!(without.to_bytes().unwrap(), with.to_bytes().unwrap());
        assert_eq!(without.risk.unsaid(), with.risk.unsaid());
        assert_eq!(without.risk.due(), with.risk.due());
        while with.risk.score_shadow() {}
        assert_eq!(without.to_bytes().unwrap(), with.to_bytes().unwrap());
        assert!(without.counted_shadows().is_empty());
    }
}

#[test]
fn a_day_of_records_is_counted_when_it_is_over() {
    let (both, alone) = (promoted(), Models::default());
    let (mut beside, mut alone) = (heard(with_shadow(&both), 0..13), heard(with_shadow(&alone), 0..13));
    // from 09:00 on five batches of three records; those before lie before the shadow
    let (first, again) = (counted(&mut beside), counted(&mut alone));
    let [(kind, day, counts)] = first[..] else { panic!("{first:?}") };
    assert_eq!((kind, day, counts.rows, counts.rows_beside), (ModelKind::TransactionRisk, BEGIN, 15, 15));
    assert_eq!((counts.high, counts.high), (counts.live_high, counts.both_high), "two of one model agree");
    let wanted = ShadowCounts { rows_beside: 0, live_high: 0, both_high: 0, ..counts };
    assert_eq!(again, [(ModelKind::TransactionRisk, BEGIN, wanted)], "the same where none is promoted");
    assert!(counted(&mut beside).is_empty(), "once");
    let drift = |rules: &mut OfOperator| {
        let judged = rules.judged_days();
        judged.iter().map(|day| (day.version, day.is_shadow, day.rows)).collect::<Vec<_>>()
    };
    assert_eq!(drift(&mut beside), [(3, false, 15), (4, true, 15)]);
    assert_eq!(drift(&mut alone), [(4, true, 15)]);
}

#[test]
fn every_high_record_is_an_example_where_none_is_promoted_up_to_ten() {
    let models = Models::default();
    let mut rules = blank(with_shadow(&models));
    rules.risk.shadows_mut().set_bound(0);
    (0..13).for_each(|n| drop(hear(&mut rules, &input(n))));
    let days = rules.counted_shadows();
    let examples = &days[0].found.examples;
    assert_eq!((days[0].found.counts.high, examples.len()), (15, 10));
    assert!(examples.windows(2).all(|pair| pair[0].score_ppm >= pair[1].score_ppm));
    assert!(examples.iter().all(|one| one.subject.record_id.is_some() && one.live_ppm.is_none()));
}

#[test]
fn players_are_scored_with_the_promoted_version_or_alone() {
    let (both, alone) = (promoted(), Models::default());
    let (mut beside, mut alone) = (heard(with_shadow(&both), 0..24), heard(with_shadow(&alone), 0..24));
    let of_players = |rules: &mut OfOperator| {
        let mut days = counted(rules);
        days.retain(|(kind, ..)| *kind == ModelKind::PlayerRisk);
        days
    };
    assert!(of_players(&mut beside).is_empty() && of_players(&mut alone).is_empty(), "nobody is scored yet");
    // beside the promoted one they wait for it, and are counted when its scores are stored
    assert!(!beside.risk.score_shadow());
    let Some(RuleInput::PlayersScored(due)) = beside.risk.due() else { panic!("players are due") };
    assert!(!beside.risk.score_shadow() && of_players(&mut beside).is_empty());
    said(&mut beside, RuleInput::PlayersScored(due.clone()));
    assert!(!beside.risk.score_shadow());
    let told = of_players(&mut beside);
    let [(_, day, counts)] = told[..] else { panic!("{told:?}") };
    assert_eq!((day, counts.rows, counts.rows_beside), (BEGIN + DAY, 4, 4), "of both days at once, as of the last one");
    assert_eq!((counts.high, counts.high), (counts.live_high, counts.both_high));
    assert!(!alone.risk.score_shadow());
    let wanted = ShadowCounts { rows_beside: 0, live_high: 0, both_high: 0, ..counts };
    assert_eq!(of_players(&mut alone), [(ModelKind::PlayerRisk, BEGIN + DAY, wanted)]);
    // after a start the scores of the promoted one are heard before anybody is due again
    let mut restarted = heard(with_shadow(&both), 0..24);
    said(&mut restarted, RuleInput::PlayersScored(due));
    assert_eq!(restarted.risk.due(), None);
    assert!(!restarted.risk.score_shadow());
    assert_eq!(of_players(&mut restarted), told);
}

#[test]
fn who_was_only_written_to_is_not_scored() {
    let models = Models::default();
    let mut rules = heard(with_shadow(&models), 0..8);
    // on the second day one player is sent advertisements, another one plays
    let second_day = |n: i64| {
        let of = |(player, kind)| Record { kind, ..record(n, player) };
        let records: Vec<Record> = [(1, RecordKind::Marketing), (2, RecordKind::Stake)].map(of).into();
        let facts = vec![Facts::default(); records.len()];
        let batch = Batch { records: records.into(), facts: Some(facts.into()), ..input(n).batch.unwrap() };
        Stored { batch: Some(batch), ..input(n) }
    };
    (8..16).for_each(|n| drop(hear(&mut rules, &second_day(n))));
    assert!(!rules.risk.score_shadow());
    let mut told = counted(&mut rules);
    (16..24).for_each(|n| drop(hear(&mut rules, &input(n))));
    assert!(!rules.risk.score_shadow());
    told.extend(counted(&mut rules));
    let players = told.iter().filter(|(kind, ..)| *kind == ModelKind::PlayerRisk);
    let scored: Vec<_> = players.map(|(_, day, counts)| (*day, counts.rows)).collect();
    assert_eq!(scored, [(BEGIN, 4), (BEGIN + DAY, 1)]);
}

#[test]
fn a_shadow_that_ends_tells_what_it_has_counted_and_no_more() {
    let models = promoted();
    let mut rules = heard(with_shadow(&models), 0..10);
    drop(counted(&mut rules));
    let other = Models::default();
    rules.set_models(&other);
    let told = counted(&mut rules);
    let [(kind, day, counts)] = told[..] else { panic!("{told:?}") };
    // of the second day two batches
    assert_eq!((kind, day, counts.rows), (ModelKind::TransactionRisk, BEGIN + DAY, 6));
    (10..24).for_each(|n| drop(hear(&mut rules, &input(n))));
    assert!(!rules.risk.score_shadow() && counted(&mut rules).is_empty());
    // another version begins with nothing
    rules.set_models(with_shadow(&other));
    hear(&mut rules, &input(24));
    rules.set_models(&Models::default());
    let told = counted(&mut rules);
    assert_eq!(told.iter().map(|(_, day, counts)| (*day, counts.rows)).collect::<Vec<_>>(), [(BEGIN + 3 * DAY, 3)]);
}
