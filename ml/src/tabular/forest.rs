//! A forest of linfa's decision trees, each on a balanced bootstrap (Breiman 2001; balanced: Chen, Liaw & Breiman 2004).
//!
//! linfa's trees answer with a class and its forest with a vote; what is kept here are their splits, and in each node the
//! share of positive rows, so that the mean over trees is a probability. What the crate `linfa-ensemble` makes cannot be
//! stored and answers through a hash map a row, so the trees are drawn and flattened here. linfa's trees break a tie of the
//! classes by the order of a hash map; one class weighs slightly more, so that there is none.

use super::chance::Chance;
use super::metrics::log_odds;
use super::tree::{Node, Tree};
use linfa::prelude::*;
use linfa_trees::{DecisionTree, SplitQuality, TreeNode};
use ndarray::{Array1, ArrayView2, Axis};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// What a negative row weighs against a positive one: never a tie below 4096 rows of a node.
const NEGATIVE_WEIGHT: f32 = 1.0 + 1.0 / 4096.0;

/// How trees are grown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Params {
    /// Trees.
    pub trees: usize,
    /// Splits between root and leaf.
    pub depth_max: usize,
    /// Least rows of a leaf.
    pub leaf_rows_min: usize,
    /// Share of the columns that a tree sees.
    pub column_share: f64,
    /// Rows of each class that a tree draws at most.
    pub class_rows_max: usize,
}

/// A fitted forest on scaled columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forest {
    trees: Vec<Tree>,
}

impl Forest {
    /// `columns`: rows × columns without missing values; both classes are there.
    ///
    /// # Errors
    /// What linfa says.
    pub(super) fn fit(
        columns: ArrayView2<'_, f64>,
        labels: &[bool],
        params: &Params,
        seed: u64,
    ) -> Result<Self, String> {
        let of = |class: bool| (0..labels.len()).filter(|row| labels[*row] == class).collect::<Vec<_>>();
        let classes = [of(true), of(false)];
        let n = classes[0].len().min(classes[1].len()).min(params.class_rows_max);
        let width = columns.ncols();
        let share = ((width as f64 * params.column_share).ceil() as usize).clamp(1, width.max(1));
        let mut chance = Chance::new(seed, 2);
        let mut trees = Vec::with_capacity(params.trees);
        for _ in 0..params.trees {
            let chosen = chance.sample(width, share);
            let mut drawn = vec![0u16; labels.len()];
            for class in &classes {
                (0..n).for_each(|_| drawn[class[chance.below(class.len())]] += 1);
            }
            let rows: Vec<usize> = (0..labels.len()).filter(|row| drawn[*row] > 0).collect();
            let weight = |row: &usize| f32::from(drawn[*row]) * if labels[*row] { 1.0 } else { NEGATIVE_WEIGHT };
            let dataset = DatasetBase::new(
                columns.select(Axis(0), &rows).select(Axis(1), &chosen),
                rows.iter().map(|row| labels[*row]).collect::<Array1<bool>>(),
            )
            .with_weights(rows.iter().map(weight).collect::<Array1<f32>>());
            let fitted = DecisionTree::params()
                .split_quality(SplitQuality::Gini)
                .max_depth(Some(params.depth_max))
                .min_weight_split(2.0 * params.leaf_rows_min as f32)
                .min_weight_leaf(params.leaf_rows_min as f32)
                .fit(&dataset)
                .map_err(|e| e.to_string())?;
            let tree = flatten(fitted.root_node(), &chosen);
            let drawn = rows.iter().map(|row| (columns.row(*row).to_vec(), f64::from(drawn[*row]), labels[*row]));
            let values = shares(&tree, drawn);
            trees.push(tree.with_values(values));
        }
        Ok(Self { trees })
    }

    fn probability(&self, columns: &[f64]) -> f64 {
        self.trees.iter().map(|tree| tree.predict(columns)).sum::<f64>() / self.trees.len() as f64
    }

    /// Log-odds of a row of scaled columns, as if both classes were equally frequent.
    pub(super) fn predict(&self, columns: &[f64]) -> f64 {
        log_odds(self.probability(columns))
    }

    /// Calls with each column's part of the log-odds; returns what belongs to none. The parts of the probability are
    /// stretched so that they add up.
    pub(super) fn explain(&self, columns: &[f64], mut part: impl FnMut(usize, f64)) -> f64 {
        let mut parts = vec![0.0; columns.len()];
        let weight = 1.0 / self.trees.len() as f64;
        let base: f64 = self.trees.iter().map(|tree| tree.explain(columns, weight, &mut parts)).sum();
        let p = self.probability(columns);
        let stretch = if (p - base).abs() > 1e-9 { (log_odds(p) - log_odds(base)) / (p - base) } else { 0.0 };
        parts.iter().enumerate().for_each(|(column, value)| part(column, value * stretch));
        log_odds(p) - parts.iter().sum::<f64>() * stretch
    }

    pub(super) fn is_sound(&self, width: usize) -> bool {
        !self.trees.is_empty() && self.trees.iter().all(|tree| tree.is_sound(width))
    }
}

fn flatten(root: &TreeNode<f64, bool>, columns: &[usize]) -> Tree {
    let mut nodes = vec![Node::default()];
    let mut queue = VecDeque::from([(0, root)]);
    while let Some((at, node)) = queue.pop_front() {
        let [Some(left), Some(right)] = node.children()[..] else { continue };
        let (feature, threshold, gain) = node.split();
        let first = nodes.len();
        let feature = columns[feature] as u32;
        nodes[at] = Node { feature, threshold, gain, left: first as u32, ..Node::default() };
        nodes.extend([Node::default(); 2]);
        queue.extend([(first, left.as_ref()), (first + 1, right.as_ref())]);
    }
    Tree::new(&nodes)
}

/// Share of positive rows in each node, with one row of each class added (Laplace).
fn shares(tree: &Tree, rows: impl Iterator<Item = (Vec<f64>, f64, bool)>) -> Vec<f64> {
    let mut counts = vec![[1.0, 2.0]; tree.nodes()];
    for (row, weight, label) in rows {
        tree.path(&row, |node| {
            counts[node][0] += if label { weight } else { 0.0 };
            counts[node][1] += weight;
        });
    }
    counts.iter().map(|[positive, all]| positive / all).collect()
}
