//! Gradient-boosted trees on histograms: logistic loss, second order, grown leaf by leaf.
//!
//! Friedman 2001 with the regularised second-order gain of Chen & Guestrin 2016 (XGBoost), histograms and leaf-wise
//! growth of Ke et al. 2017 (LightGBM): the histogram of the smaller child is taken, the sibling's is the difference.
//! A split learns where missing values go. Rows and columns are sampled by seed (Friedman 2002).

use super::bins::Binned;
use super::chance::Chance;
use super::exact;
use super::metrics::{log_odds, outcome, sigmoid};
use super::tree::{NODES_MAX, Node, Tree};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

/// Trees of a booster.
pub const ROUNDS_MAX: usize = 5_000;

/// Which way a feature may move the score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// Either way.
    Free,
    /// Greater values never score lower.
    Rising,
    /// Greater values never score higher.
    Falling,
}

/// How trees are grown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Params {
    /// Trees at most.
    pub rounds_max: usize,
    /// Share of each tree's answer that counts.
    pub learning_rate: f64,
    /// Leaves of a tree.
    pub leaves_max: usize,
    /// Splits between root and leaf.
    pub depth_max: usize,
    /// Least sum of p(1 − p) in a leaf, as a share of that of all rows before the first tree: where one class is seldom
    /// a leaf needs many rows, where both are there a few.
    pub child_weight_share: f64,
    /// Weight of the squared answers in the loss.
    pub l2: f64,
    /// Share of the rows that a tree sees.
    pub row_share: f64,
    /// Share of the features that a tree sees.
    pub column_share: f64,
    /// Bins of a feature, missing values not counted.
    pub bins_max: usize,
    /// One a feature, or none for all free.
    pub monotone: Vec<Direction>,
}

/// A fitted booster: log-odds as a sum over trees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Booster {
    #[serde(with = "exact")]
    base: Vec<f64>,
    trees: Vec<Tree>,
}

/// Rows that are only looked at.
#[derive(Clone, Copy)]
pub(super) struct HoldOut<'a> {
    /// Rows × features.
    pub(super) values: ArrayView2<'a, f64>,
    /// One a row.
    pub(super) labels: &'a [bool],
}

/// Sums of gradients and second derivatives.
type Sum = [f64; 2];

impl Booster {
    /// Fits all rounds. With a hold-out also its log loss after 0, 1, 2, … trees.
    pub(super) fn fit(
        binned: &Binned,
        labels: &[bool],
        params: &Params,
        seed: u64,
        hold_out: Option<HoldOut<'_>>,
    ) -> (Self, Vec<f64>) {
        let share = labels.iter().filter(|y| **y).count() as f64 / labels.len().max(1) as f64;
        let base = log_odds(share);
        let mut scores = vec![base; labels.len()];
        let mut watched = hold_out.map(|h| (h, vec![base; h.labels.len()]));
        let mut losses: Vec<f64> = watched.iter().map(|(h, scores)| loss(scores, h.labels)).collect();
        let mut chance = Chance::new(seed, 1);
        let child_weight_min = params.child_weight_share * labels.len() as f64 * share * (1.0 - share);
        let mut grower = Grower::new(binned, params, child_weight_min);
        let mut trees = Vec::new();
        for _ in 0..params.rounds_max.min(ROUNDS_MAX) {
            for ((slot, score), label) in grower.gradients.iter_mut().zip(&scores).zip(labels) {
                let p = sigmoid(*score);
                *slot = [p - outcome(*label), p * (1.0 - p)];
            }
            let tree = grower.grow(&mut chance, &mut scores);
            if let Some((h, scores)) = &mut watched {
                for (row, score) in h.values.rows().into_iter().zip(scores.iter_mut()) {
                    *score += row.as_slice().map_or(0.0, |row| tree.predict(row));
                }
                losses.push(loss(scores, h.labels));
            }
            trees.push(tree);
        }
        (Self { base: vec![base], trees }, losses)
    }

    /// The booster of its first trees alone.
    pub(super) fn truncated(mut self, rounds: usize) -> Self {
        self.trees.truncate(rounds);
        self
    }

    /// Log-odds of a row.
    pub(super) fn predict(&self, row: &[f64]) -> f64 {
        self.base[0] + self.trees.iter().map(|tree| tree.predict(row)).sum::<f64>()
    }

    /// Adds `weight` × each feature's part of the log-odds; returns what belongs to none.
    pub(super) fn explain(&self, row: &[f64], weight: f64, parts: &mut [f64]) -> f64 {
        self.base[0] * weight + self.trees.iter().map(|tree| tree.explain(row, weight, parts)).sum::<f64>()
    }

    /// Gain of each feature over all splits.
    pub(super) fn importance(&self, features: usize) -> Vec<f64> {
        let mut gains = vec![0.0; features];
        self.trees.iter().for_each(|tree| tree.importance(&mut gains));
        gains
    }

    pub(super) fn trees(&self) -> &[Tree] {
        &self.trees
    }

    pub(super) fn is_sound(&self, features: usize) -> bool {
        self.base.len() == 1
            && self.base[0].is_finite()
            && self.trees.len() <= ROUNDS_MAX
            && self.trees.iter().all(|tree| tree.is_sound(features))
    }
}

fn loss(scores: &[f64], labels: &[bool]) -> f64 {
    // log(1 + e^-z) of the margin, the stable way
    let of = |(score, label): (&f64, &bool)| {
        let margin = if *label { *score } else { -*score };
        (-margin).max(0.0) + (-margin.abs()).exp().ln_1p()
    };
    scores.iter().zip(labels).map(of).sum::<f64>() / labels.len().max(1) as f64
}

/// Rows of a leaf, and the best that could be done with it.
struct Leaf {
    node: usize,
    start: usize,
    len: usize,
    depth: usize,
    sum: Sum,
    /// Least and greatest answer that the directions above leave.
    bounds: [f64; 2],
    histogram: Vec<Sum>,
    split: Option<Split>,
}

#[derive(Clone, Copy, Debug)]
struct Split {
    feature: usize,
    /// Bins up to this go left.
    bin: usize,
    missing_left: bool,
    gain: f64,
    left: Sum,
    right: Sum,
}

struct Grower<'a> {
    binned: &'a Binned,
    params: &'a Params,
    child_weight_min: f64,
    gradients: Vec<Sum>,
    rows: Vec<u32>,
    columns: Vec<usize>,
    gathered: Vec<Sum>,
    spare: Vec<u32>,
    histograms: Vec<Vec<Sum>>,
}

impl<'a> Grower<'a> {
    fn new(binned: &'a Binned, params: &'a Params, child_weight_min: f64) -> Self {
        let gradients = vec![[0.0; 2]; binned.rows()];
        let empty = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (rows, columns, gathered, spare, histograms) = empty;
        Self { binned, params, child_weight_min, gradients, rows, columns, gathered, spare, histograms }
    }

    /// Grows a tree and adds its answers to all rows' scores.
    fn grow(&mut self, chance: &mut Chance, scores: &mut [f64]) -> Tree {
        let (n, columns) = (self.binned.rows(), self.binned.codes.len());
        let part = |of: usize, share: f64| ((of as f64 * share).ceil() as usize).clamp(1.min(of), of);
        let sampled = chance.sample(n, part(n, self.params.row_share));
        self.rows = sampled.iter().map(|row| *row as u32).collect();
        self.columns = chance.sample(columns, part(columns, self.params.column_share));

        let mut root = Leaf {
            node: 0,
            start: 0,
            len: self.rows.len(),
            depth: 0,
            sum: self.total(),
            bounds: [f64::NEG_INFINITY, f64::INFINITY],
            histogram: self.fresh(),
            split: None,
        };
        self.fill(&mut root);
        root.split = self.best(&root);
        let mut nodes = vec![Node { value: self.value(&root), ..Node::default() }];
        let mut splits = vec![None];
        let mut leaves = vec![root];
        let leaves_max = self.params.leaves_max.clamp(1, NODES_MAX / 2);
        while leaves.len() < leaves_max {
            let gain = |leaf: &Leaf| leaf.split.map_or(f64::NEG_INFINITY, |split| split.gain);
            let best = (0..leaves.len()).max_by(|a, b| gain(&leaves[*a]).total_cmp(&gain(&leaves[*b])).then(b.cmp(a)));
            let Some((best, split)) = best.and_then(|i| leaves[i].split.map(|split| (i, split))) else { break };
            let leaf = leaves.swap_remove(best);
            splits[leaf.node] = Some(split);
            nodes[leaf.node] = Node {
                feature: split.feature as u32,
                threshold: self.binned.edges[split.feature].get(split.bin).copied().unwrap_or(f64::INFINITY),
                left: nodes.len() as u32,
                missing_left: split.missing_left,
                gain: split.gain,
                ..nodes[leaf.node]
            };
            for child in self.divide(leaf, split, nodes.len()) {
                nodes.push(Node { value: self.value(&child), ..Node::default() });
                splits.push(None);
                leaves.push(child);
            }
        }
        self.add(&nodes, &splits, &leaves, &sampled, scores);
        self.histograms.extend(leaves.into_iter().map(|leaf| leaf.histogram));
        Tree::new(&nodes)
    }

    fn add(&self, nodes: &[Node], splits: &[Option<Split>], leaves: &[Leaf], sampled: &[usize], scores: &mut [f64]) {
        for leaf in leaves {
            for row in &self.rows[leaf.start..leaf.start + leaf.len] {
                scores[*row as usize] += nodes[leaf.node].value;
            }
        }
        let mut next = sampled.iter().peekable();
        for (row, score) in scores.iter_mut().enumerate() {
            if next.next_if(|sampled| **sampled == row).is_some() {
                continue;
            }
            let mut node = 0;
            while let Some(split) = splits[node] {
                node = nodes[node].left as usize + usize::from(!self.goes_left(split, row));
            }
            *score += nodes[node].value;
        }
    }

    fn goes_left(&self, split: Split, row: usize) -> bool {
        let code = usize::from(self.binned.codes[split.feature][row]);
        if code > self.binned.edges[split.feature].len() { split.missing_left } else { code <= split.bin }
    }

    fn fresh(&mut self) -> Vec<Sum> {
        let bins = self.binned.offsets.last().copied().unwrap_or_default();
        let mut histogram = self.histograms.pop().unwrap_or_default();
        histogram.clear();
        histogram.resize(bins, [0.0; 2]);
        histogram
    }

    fn total(&self) -> Sum {
        self.rows.iter().map(|row| self.gradients[*row as usize]).fold([0.0; 2], add)
    }

    fn fill(&mut self, leaf: &mut Leaf) {
        let rows = &self.rows[leaf.start..leaf.start + leaf.len];
        self.gathered.clear();
        self.gathered.extend(rows.iter().map(|row| self.gradients[*row as usize]));
        for feature in &self.columns {
            let codes = &self.binned.codes[*feature];
            let bins = &mut leaf.histogram[self.binned.offsets[*feature]..self.binned.offsets[*feature + 1]];
            for (row, sum) in rows.iter().zip(&self.gathered) {
                let slot = &mut bins[usize::from(codes[*row as usize])];
                slot[0] += sum[0];
                slot[1] += sum[1];
            }
        }
    }

    /// The leaf's two children, left first, with their best splits.
    fn divide(&mut self, mut leaf: Leaf, split: Split, first: usize) -> [Leaf; 2] {
        let (start, end) = (leaf.start, leaf.start + leaf.len);
        let mut kept = start;
        self.spare.clear();
        for at in start..end {
            let row = self.rows[at];
            if self.goes_left(split, row as usize) {
                self.rows[kept] = row;
                kept += 1;
            } else {
                self.spare.push(row);
            }
        }
        self.rows[kept..end].copy_from_slice(&self.spare);

        let [left_bounds, right_bounds] = self.child_bounds(&leaf, &split);
        let child = |node, start, len, sum, bounds, histogram| Leaf {
            node,
            start,
            len,
            depth: leaf.depth + 1,
            sum,
            bounds,
            histogram,
            split: None,
        };
        let histogram = self.fresh();
        let inherited = std::mem::take(&mut leaf.histogram);
        let mut left = child(first, start, kept - start, split.left, left_bounds, Vec::new());
        let mut right = child(first + 1, kept, end - kept, split.right, right_bounds, Vec::new());
        let (small, large) = if left.len <= right.len { (&mut left, &mut right) } else { (&mut right, &mut left) };
        (small.histogram, large.histogram) = (histogram, inherited);
        self.fill(small);
        for feature in &self.columns {
            let bins = self.binned.offsets[*feature]..self.binned.offsets[*feature + 1];
            for (whole, part) in large.histogram[bins.clone()].iter_mut().zip(&small.histogram[bins]) {
                *whole = subtract(*whole, *part);
            }
        }
        left.split = self.best(&left);
        right.split = self.best(&right);
        [left, right]
    }

    fn child_bounds(&self, leaf: &Leaf, split: &Split) -> [[f64; 2]; 2] {
        let [low, high] = leaf.bounds;
        let middle = (self.answer(split.left, leaf.bounds) + self.answer(split.right, leaf.bounds)) / 2.0;
        match self.direction(split.feature) {
            Direction::Free => [leaf.bounds, leaf.bounds],
            Direction::Rising => [[low, middle], [middle, high]],
            Direction::Falling => [[middle, high], [low, middle]],
        }
    }

    fn direction(&self, feature: usize) -> Direction {
        self.params.monotone.get(feature).copied().unwrap_or(Direction::Free)
    }

    fn answer(&self, sum: Sum, bounds: [f64; 2]) -> f64 {
        (-sum[0] / (sum[1] + self.params.l2).max(f64::MIN_POSITIVE)).clamp(bounds[0], bounds[1])
    }

    /// How much lower the loss is with the best answer than with 0.
    fn worth(&self, sum: Sum, answer: f64) -> f64 {
        -(sum[0] * answer + 0.5 * (sum[1] + self.params.l2) * answer * answer)
    }

    fn value(&self, leaf: &Leaf) -> f64 {
        self.params.learning_rate * self.answer(leaf.sum, leaf.bounds)
    }

    fn best(&self, leaf: &Leaf) -> Option<Split> {
        if leaf.depth >= self.params.depth_max || leaf.sum[1] < 2.0 * self.child_weight_min {
            return None;
        }
        let before = self.worth(leaf.sum, self.answer(leaf.sum, leaf.bounds));
        // what rounding alone may bring is no gain
        let mut best = Split { feature: 0, bin: 0, missing_left: false, gain: 1e-9, left: [0.0; 2], right: [0.0; 2] };
        let mut found = None;
        for feature in &self.columns {
            let bins = &leaf.histogram[self.binned.offsets[*feature]..self.binned.offsets[*feature + 1]];
            let (missing, present) = (bins[bins.len() - 1], &bins[..bins.len() - 1]);
            let some_missing = missing[1] > 0.0;
            let mut below = [0.0; 2];
            for (bin, sum) in present.iter().enumerate() {
                below = add(below, *sum);
                // behind the last bin only the missing ones are left
                let last = bin + 1 == present.len();
                if last && !some_missing {
                    break;
                }
                for missing_left in [false, true] {
                    if missing_left && (last || !some_missing) {
                        break;
                    }
                    let left = if missing_left { add(below, missing) } else { below };
                    let split = Split { feature: *feature, bin, missing_left, left, ..best };
                    if let Some(split) = self.judge(split, leaf, before).filter(|split| split.gain > best.gain) {
                        // where none was missing, missing ones go with the many
                        let with_many = split.left[1] > split.right[1];
                        best = Split { missing_left: if some_missing { missing_left } else { with_many }, ..split };
                        found = Some(best);
                    }
                }
            }
        }
        found
    }

    fn judge(&self, split: Split, leaf: &Leaf, before: f64) -> Option<Split> {
        let (left, right) = (split.left, subtract(leaf.sum, split.left));
        if left[1] < self.child_weight_min || right[1] < self.child_weight_min {
            return None;
        }
        let (a, b) = (self.answer(left, leaf.bounds), self.answer(right, leaf.bounds));
        match self.direction(split.feature) {
            Direction::Rising if a > b => return None,
            Direction::Falling if a < b => return None,
            _ => {}
        }
        Some(Split { right, gain: self.worth(left, a) + self.worth(right, b) - before, ..split })
    }
}

fn add(a: Sum, b: Sum) -> Sum {
    [a[0] + b[0], a[1] + b[1]]
}

fn subtract(a: Sum, b: Sum) -> Sum {
    [a[0] - b[0], a[1] - b[1]]
}

#[cfg(test)]
#[path = "booster_tests.rs"]
mod tests;
