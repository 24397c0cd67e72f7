//! Which rows are held out together.
//!
//! Without groups: blocks where rows are in order of time, else drawn, each class by itself. With groups: every row of a
//! group in one fold, so that nobody is learnt from and asked about at once (`StratifiedGroupKFold` of scikit-learn: the
//! groups with most positives first, each to the fold that has fewest).
//!
//! Folds are not both. To judge a block of time by other blocks and other persons alone, k blocks and k parts of the persons
//! ask for k² models of (k − 1)² / k² of the rows (nine of four ninths, for three); with k models a k-th of the rows would be
//! held out at all, and weights, trees and the drift's baseline need each of them. So groups come before time, the card says
//! so, and `validate` judges the newest month.

use super::chance::Chance;
use super::model::{Order, Params};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The fold of each row, once or more.
pub(super) fn assignments(labels: &[bool], groups: Option<&[usize]>, params: &Params) -> Vec<Vec<usize>> {
    let n = labels.len();
    let times = match params.order {
        Order::InTime => 1,
        Order::Shuffled(times) => times.max(1),
    };
    let chances = (0..times).map(|time| Chance::new(params.seed, 100 + time as u64));
    match (groups, params.order) {
        (Some(groups), _) => chances.map(|mut chance| of_groups(labels, groups, params.folds, &mut chance)).collect(),
        (None, Order::InTime) => vec![(0..n).map(|row| row * params.folds / n).collect()],
        (None, Order::Shuffled(_)) => chances.map(|mut chance| drawn(labels, params.folds, &mut chance)).collect(),
    }
}

fn drawn(labels: &[bool], folds: usize, chance: &mut Chance) -> Vec<usize> {
    let mut out = vec![0; labels.len()];
    for class in [true, false] {
        let mut rows: Vec<usize> = (0..labels.len()).filter(|row| labels[*row] == class).collect();
        chance.shuffle(&mut rows);
        rows.iter().enumerate().for_each(|(at, row)| out[*row] = at % folds);
    }
    out
}

fn of_groups(labels: &[bool], groups: &[usize], folds: usize, chance: &mut Chance) -> Vec<usize> {
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, group) in groups.iter().enumerate() {
        members.entry(*group).or_default().push(row);
    }
    let positives = |rows: &[usize]| rows.iter().filter(|row| labels[**row]).count();
    let mut sized: Vec<(usize, Vec<usize>)> = members.into_values().map(|rows| (positives(&rows), rows)).collect();
    chance.shuffle(&mut sized);
    sized.sort_by_key(|(positives, rows)| Reverse((*positives, rows.len())));
    let mut held = vec![(0, 0); folds];
    let mut out = vec![0; labels.len()];
    for (positives, rows) in sized {
        // of whoever adds no positives the rows alone are shared out
        let load = |fold: &usize| if positives > 0 { held[*fold] } else { (held[*fold].1, 0) };
        let fold = (0..folds).min_by_key(load).unwrap_or_default();
        held[fold].0 += positives;
        held[fold].1 += rows.len();
        rows.iter().for_each(|row| out[*row] = fold);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tabular::artefact::Kind;

    #[test]
    fn a_group_is_in_one_fold_and_positives_are_shared_out() {
        // 40 groups of 1 to 5 rows, each fourth of positives
        let groups: Vec<usize> = (0..40).flat_map(|group| vec![group; 1 + group % 5]).collect();
        let labels: Vec<bool> = groups.iter().map(|group| group % 4 == 0).collect();
        let all = labels.iter().filter(|y| **y).count();
        for kind in [Kind::TransactionRisk, Kind::PlayerRisk] {
            let params = Params::of(kind, 7);
            let got = assignments(&labels, Some(&groups), &params);
            assert_eq!(got, assignments(&labels, Some(&groups), &params), "the seed decides");
            for folds in &got {
                let mut of: BTreeMap<usize, usize> = BTreeMap::new();
                for (group, fold) in groups.iter().zip(folds) {
                    assert_eq!(*of.entry(*group).or_insert(*fold), *fold, "group {group}");
                }
                for fold in 0..params.folds {
                    let rows: Vec<usize> = (0..folds.len()).filter(|row| folds[*row] == fold).collect();
                    let positives = rows.iter().filter(|row| labels[**row]).count();
                    assert!(positives.abs_diff(all / params.folds) <= 4, "{positives} of {all} in fold {fold}");
                    assert!(rows.len().abs_diff(groups.len() / params.folds) <= 5, "{} in fold {fold}", rows.len());
                }
            }
        }
        let other = Params::of(Kind::PlayerRisk, 8);
        let first = assignments(&labels, Some(&groups), &Params::of(Kind::PlayerRisk, 7));
        assert_ne!(first, assignments(&labels, Some(&groups), &other));
    }
}
