use super::*;
use ndarray::{Array2, array};
use proptest::prelude::*;

fn params(rounds_max: usize) -> Params {
    Params {
        rounds_max,
        learning_rate: 1.0,
        leaves_max: 2,
        depth_max: 1,
        child_weight_share: 0.0,
        l2: 1.0,
        row_share: 1.0,
        column_share: 1.0,
        bins_max: 254,
        monotone: Vec::new(),
    }
}

fn fit(values: &Array2<f64>, labels: &[bool], params: &Params) -> Booster {
    Booster::fit(&Binned::new(values.view(), labels, params.bins_max), labels, params, 1, None).0
}

/// Table and labels drawn from a seed; some values repeat, some are missing.
fn drawn(rows: usize, columns: usize, seed: u64) -> (Array2<f64>, Vec<bool>) {
    let mut chance = Chance::new(seed, 77);
    let values = Array2::from_shape_fn((rows, columns), |_| match chance.below(12) {
        0 => f64::NAN,
        k => (k * (1 + chance.below(3))) as f64,
    });
    let labels = values.rows().into_iter().map(|row| row[0].max(0.0) + chance.below(6) as f64 > 9.0).collect();
    (values, labels)
}

/// The greatest gain over every feature, every place between two values and both ways for missing ones.
fn brute_force(values: &Array2<f64>, labels: &[bool], l2: f64) -> f64 {
    let share = labels.iter().filter(|y| **y).count() as f64 / labels.len() as f64;
    let p = sigmoid(log_odds(share));
    let worth = |rows: &[usize]| {
        let g: f64 = rows.iter().map(|row| p - outcome(labels[*row])).sum();
        g * g / (rows.len() as f64 * p * (1.0 - p) + l2) / 2.0
    };
    let all: Vec<usize> = (0..labels.len()).collect();
    let mut best: f64 = 0.0;
    for column in values.columns() {
        for threshold in column.iter().copied().filter(|v| !v.is_nan()) {
            for missing_left in [false, true] {
                let goes_left = |row: &usize| {
                    let value = column[*row];
                    if value.is_nan() { missing_left } else { value <= threshold }
                };
                let (left, right): (Vec<usize>, Vec<usize>) = all.iter().partition(|row| goes_left(row));
                best = best.max(worth(&left) + worth(&right) - worth(&all));
            }
        }
    }
    best
}

#[test]
fn the_first_split_is_the_best_there_is() {
    for seed in 0..60 {
        let (values, labels) = drawn(10 + seed as usize, 3, seed);
        if labels.iter().all(|y| *y) || !labels.contains(&true) {
            continue;
        }
        let gains = fit(&values, &labels, &params(1)).importance(3);
        let (got, wanted) = (gains.iter().sum::<f64>(), brute_force(&values, &labels, 1.0));
        assert!((got - wanted).abs() < 1e-9, "seed {seed}: {got} instead of {wanted}");
    }
}

#[test]
fn missing_values_go_where_they_belong() {
    let nan = f64::NAN;
    let values = array![[1.0], [1.0], [1.0], [2.0], [2.0], [nan], [nan], [nan]];
    let table = [
        ("with the high", [false, false, false, true, true, true, true, true]),
        ("with the low", [true, true, true, false, false, true, true, true]),
        ("alone", [false, false, false, false, false, true, true, true]),
    ];
    for (what, labels) in table {
        let booster = fit(&values, &labels, &params(1));
        for (value, at) in [(1.0, 0), (2.0, 3), (nan, 5)] {
            assert_eq!(booster.predict(&[value]) > booster.base[0], labels[at], "{what}: {value}");
        }
    }
}

#[test]
fn what_does_not_vary_is_not_split_on() {
    let values = array![[5.0, f64::NAN], [5.0, f64::NAN], [5.0, f64::NAN], [5.0, f64::NAN]];
    let booster = fit(&values, &[true, false, true, true], &params(3));
    assert!((sigmoid(booster.predict(&[5.0, 1.0])) - 0.75).abs() < 1e-9);
    assert_eq!(booster.importance(2), [0.0, 0.0]);
}

#[test]
fn a_constraint_holds_everywhere() {
    let (values, labels) = drawn(400, 3, 5);
    // the label falls in the first feature: told to rise, it may only be flat
    let labels: Vec<bool> = labels.iter().map(|y| !y).collect();
    for (direction, sign) in [(Direction::Rising, 1.0), (Direction::Falling, -1.0)] {
        let monotone = vec![direction, Direction::Free, Direction::Free];
        let deep = Params { leaves_max: 12, depth_max: 5, learning_rate: 0.3, monotone, ..params(30) };
        let booster = fit(&values, &labels, &deep);
        for row in values.rows().into_iter().take(60) {
            let at = |x: usize| booster.predict(&[x as f64, row[1], row[2]]);
            let rises = (0..40).all(|x| sign * (at(x + 1) - at(x)) >= -1e-12);
            assert!(rises, "{direction:?} at {row}");
        }
    }
}

#[test]
fn the_hold_out_sees_what_prediction_says() {
    let (values, labels) = drawn(300, 3, 6);
    let (others, other_labels) = drawn(100, 3, 7);
    let growing = Params { leaves_max: 6, depth_max: 4, row_share: 0.5, column_share: 0.7, ..params(20) };
    let binned = Binned::new(values.view(), &labels, growing.bins_max);
    let hold_out = HoldOut { values: others.view(), labels: &other_labels };
    let (booster, losses) = Booster::fit(&binned, &labels, &growing, 3, Some(hold_out));
    assert_eq!(losses.len(), 21);
    for rounds in [0, 7, 20] {
        let short = booster.clone().truncated(rounds);
        let p: Vec<f64> = others.rows().into_iter().map(|row| sigmoid(short.predict(&row.to_vec()))).collect();
        let wanted = crate::tabular::metrics::log_loss(&p, &other_labels);
        assert!((losses[rounds] - wanted).abs() < 1e-9, "{rounds}: {} {wanted}", losses[rounds]);
    }
}

#[test]
fn one_seed_one_booster() {
    let (values, labels) = drawn(300, 4, 8);
    let sampled = Params { leaves_max: 6, depth_max: 4, row_share: 0.5, column_share: 0.5, ..params(10) };
    let of = |seed| Booster::fit(&Binned::new(values.view(), &labels, 254), &labels, &sampled, seed, None).0;
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

#[test]
fn a_damaged_booster_is_not_sound() {
    let (values, labels) = drawn(100, 3, 9);
    let growing = Params { leaves_max: 4, depth_max: 3, ..params(2) };
    let text = serde_json::to_string(&fit(&values, &labels, &growing)).unwrap();
    let read = |text: &str| serde_json::from_str::<Booster>(text).unwrap();
    assert!(read(&text).is_sound(3));
    assert!(!read(&text).is_sound(0), "fewer features than are asked for");
    let damaged = [
        text.replacen("\"left\":[1,", "\"left\":[0,1,", 1),
        text.replacen("\"left\":[1,", "\"left\":[4000000000,", 1),
        text.replacen("\"feature\":[0,", "\"feature\":[9,", 1).replacen("\"feature\":[1,", "\"feature\":[9,", 1),
        text.replacen("\"base\":\"", "\"base\":\"NaN ", 1),
    ];
    for text in damaged {
        assert!(!read(&text).is_sound(3), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn parts_add_up_and_nothing_panics(
        cells in proptest::collection::vec(any::<f64>(), 8..120), seed in any::<u64>(), leaves_max in 0usize..9,
    ) {
        let rows = cells.len() / 4;
        let cells: Vec<f64> = cells.into_iter().take(rows * 4).map(|v| if v.is_finite() { v } else { f64::NAN }).collect();
        let values = Array2::from_shape_vec((rows, 4), cells).unwrap();
        let labels: Vec<bool> = (0..rows).map(|row| (seed >> (row % 60)) & 1 == 1).collect();
        let growing = Params { leaves_max, depth_max: 4, row_share: 0.8, column_share: 0.5, ..params(5) };
        let booster = Booster::fit(&Binned::new(values.view(), &labels, 16), &labels, &growing, seed, None).0;
        prop_assert!(booster.is_sound(4));
        for row in values.rows() {
            let row = row.to_vec();
            let mut parts = vec![0.0; 4];
            let rest = booster.explain(&row, 1.0, &mut parts);
            let sum = rest + parts.iter().sum::<f64>();
            prop_assert!((sum - booster.predict(&row)).abs() < 1e-6, "{sum}");
        }
    }
}
