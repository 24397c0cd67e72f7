use super::*;
use ml::tabular::batch;
use std::fmt::Write as _;

/// Rows whose risk is an amount that is high against the player's own.
pub(crate) fn table(kind: ModelKind, rows: usize) -> String {
    let features = features_of(kind);
    let mut text = "id".to_owned();
    features.iter().for_each(|feature| write!(text, ",{}", feature.name).unwrap());
    text.push_str(",label\n");
    for n in 0..rows {
        write!(text, "r{n}").unwrap();
        let (a, b) = (n * 7_919 % 100, n * 104_729 % 24);
        for place in 0..features.len() {
            match place {
                6 => write!(text, ",{}", a as f64 / 10.0).unwrap(),
                7 => write!(text, ",{b}").unwrap(),
                // now and then nobody knows
                8 if n % 5 == 0 => text.push(','),
                place => write!(text, ",{}", n * (place + 13) % 97).unwrap(),
            }
        }
        let is_odd = a * 3 + b * 5 + n * 31 % 60 > 330;
        writeln!(text, ",{}", u8::from(is_odd)).unwrap();
    }
    text
}

pub(crate) fn learnt(kind: Kind, table: &str) -> Artefact {
    batch::train(kind, table.as_bytes(), None, 1).unwrap()
}

fn vector(n: usize) -> Vec<f32> {
    vectors(n..n + 1).remove(0)
}

fn vectors(rows: std::ops::Range<usize>) -> Vec<Vec<f32>> {
    let text = table(ModelKind::TransactionRisk, rows.end);
    let vector = |line: &str| {
        let cells = line.split(',').collect::<Vec<_>>();
        cells[1..cells.len() - 1].iter().map(|cell| cell.parse().unwrap_or(f32::NAN)).collect()
    };
    // behind the head
    text.lines().skip(1 + rows.start).map(vector).collect()
}

#[test]
fn a_model_of_this_programs_features_scores_and_says_why() {
    let artefact = learnt(Kind::TransactionRisk, &table(ModelKind::TransactionRisk, 600));
    let scorer = Scorer::new(7, artefact).unwrap();
    assert_eq!((scorer.kind(), scorer.version()), (ModelKind::TransactionRisk, 7));
    let mut row = vector(1);
    let mut score = |to_mean: f32, off: f32| {
        (row[6], row[7]) = (to_mean, off);
        (scorer.score(&row), scorer.reasons(&row))
    };
    let ((low, _), (high, reasons)) = (score(0.1, 1.0), score(9.9, 23.0));
    assert!(low < 200_000 && high > 500_000, "{low} {high}");
    assert!((1..=REASONS_MAX).contains(&reasons.len()));
    assert!(reasons[0].contains("amount") && reasons[0].contains("raises the risk"), "{reasons:?}");
    // what is asked is what was learnt from: one name less is another schema
    let text = table(ModelKind::TransactionRisk, 600).replacen("amount_to_mean", "amount_mean", 1);
    let other = learnt(Kind::TransactionRisk, &text);
    assert!(matches!(Scorer::new(1, other), Err(UnfitModel::Schema { .. })));
    let swapped = learnt(Kind::PlayerRisk, &table(ModelKind::TransactionRisk, 600));
    assert!(matches!(check_schema(&swapped), Err(UnfitModel::Schema { .. })), "a kind has features of its own");
}

#[test]
fn a_day_is_judged_when_it_has_rows_enough_and_names_what_moved() {
    // what days are held against was scored by models of fewer rows: of many rows they say the same
    let artefact = learnt(Kind::TransactionRisk, &table(ModelKind::TransactionRisk, 3_000));
    let scorer = Scorer::new(2, artefact).unwrap();
    let mut watch = scorer.watch(OperatorNo(4));
    // not those it was learnt from: their scores are too good
    let rows = vectors(3_000..3_600);
    let day = |watch: &mut DriftWatch, rows: &[Vec<f32>], change: &dyn Fn(&mut Vec<f32>)| {
        for row in rows {
            let mut row = row.clone();
            change(&mut row);
            watch.scored(&row, scorer.score(&row));
        }
        watch.close(Ts(0))
    };
    let few = day(&mut watch, &rows[..100], &|_| ());
    assert_eq!((few.level, few.rows, few.score_psi_ppm), (DriftLevel::Unknown, 100, None));
    // the hundred of the day before count, too
    let stable = day(&mut watch, &rows[100..], &|_| ());
    assert_eq!(
        (stable.level, stable.rows, stable.version, stable.features.len()),
        (DriftLevel::Stable, 600, 2, 0),
        "{stable:?}"
    );
    let moved = day(&mut watch, &rows, &|row| row[6] = 9.9);
    assert_eq!((moved.level, moved.rows), (DriftLevel::Significant, 600), "{moved:?}");
    assert_eq!(moved.features[0].0, "amount_to_mean");
    assert!(moved.reasons[0].starts_with("the scores have moved far"), "{:?}", moved.reasons);
    assert!(moved.reasons[1].contains("amount over the player's mean"), "{:?}", moved.reasons);
}

#[test]
fn probabilities_that_do_not_hold_are_told_whatever_the_scores_do() {
    let artefact = learnt(Kind::TransactionRisk, &table(ModelKind::TransactionRisk, 600));
    let scorer = Scorer::new(1, artefact).unwrap();
    // how many of 100 rows of a fifth are positive | do the probabilities hold
    for (positives, level) in [(20, DriftLevel::Unknown), (60, DriftLevel::Significant)] {
        let truth: Vec<(u32, bool)> = (0..100).map(|n| (200_000, n < positives)).collect();
        let judged = with_truth(scorer.watch(OperatorNo(1)).close(Ts(0)), &truth);
        assert_eq!(with_truth(judged.clone(), &truth[..99]), judged, "too few say nothing");
        assert_eq!(judged.level, level);
        assert_eq!(judged.calibration, Some((200_000, positives * 10_000, level == DriftLevel::Unknown)));
        assert_eq!(judged.reasons.iter().any(|reason| reason.contains("do not hold")), level != DriftLevel::Unknown);
    }
}

#[test]
fn the_rules_that_a_card_names_are_those_that_hear_its_kind() {
    for (kind, of) in [(Kind::TransactionRisk, ModelKind::TransactionRisk), (Kind::PlayerRisk, ModelKind::PlayerRisk)] {
        let hear = engine::rules::list::ABOUT.iter().filter(|about| about.hears_model(of)).map(|about| about.name);
        let (mut hear, mut named) = (hear.collect::<Vec<_>>(), ml::tabular::card::rules(kind).to_vec());
        hear.sort_unstable();
        named.sort_unstable();
        assert_eq!(hear, named);
    }
}
