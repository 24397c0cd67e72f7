//! A regression tree, flat: what the booster and the forest predict with, and why.

use super::exact;
use serde::{Deserialize, Serialize};

/// Nodes of a tree.
pub const NODES_MAX: usize = 4_096;

/// A node, while a tree is grown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Node {
    /// Feature of the split.
    pub(super) feature: u32,
    /// Values up to this go left.
    pub(super) threshold: f64,
    /// The left child; the right one is the next. 0: a leaf.
    pub(super) left: u32,
    /// Where missing values go.
    pub(super) missing_left: bool,
    /// What it would answer as a leaf: its row's mean answer, for the reasons.
    pub(super) value: f64,
    /// What its split gained.
    pub(super) gain: f64,
}

/// Nodes column by column; the first is the root, children stand behind their parent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    feature: Vec<u32>,
    left: Vec<u32>,
    missing_left: Vec<bool>,
    #[serde(with = "exact")]
    threshold: Vec<f64>,
    #[serde(with = "exact")]
    value: Vec<f64>,
    #[serde(with = "exact")]
    gain: Vec<f64>,
}

impl Tree {
    pub(super) fn new(nodes: &[Node]) -> Self {
        Self {
            feature: nodes.iter().map(|n| n.feature).collect(),
            left: nodes.iter().map(|n| n.left).collect(),
            missing_left: nodes.iter().map(|n| n.missing_left).collect(),
            threshold: nodes.iter().map(|n| n.threshold).collect(),
            value: nodes.iter().map(|n| n.value).collect(),
            gain: nodes.iter().map(|n| n.gain).collect(),
        }
    }

    /// Is it one that can be walked, over so many features? What was read from outside is asked this once.
    pub(super) fn is_sound(&self, features: usize) -> bool {
        let n = self.left.len();
        let lengths = [self.feature.len(), self.missing_left.len(), self.threshold.len(), self.value.len()];
        (1..=NODES_MAX).contains(&n)
            && lengths.iter().chain([&self.gain.len()]).all(|len| *len == n)
            && self.value.iter().all(|value| value.is_finite())
            // children behind their parent: every walk ends
            && (0..n).all(|i| {
                let (left, feature) = (self.left[i] as usize, self.feature[i] as usize);
                left == 0 || left > i && left + 1 < n && feature < features
            })
    }

    fn next(&self, node: usize, row: &[f64]) -> usize {
        let value = row[self.feature[node] as usize];
        let goes_left = if value.is_nan() { self.missing_left[node] } else { value <= self.threshold[node] };
        self.left[node] as usize + usize::from(!goes_left)
    }

    /// The leaf's value.
    pub(super) fn predict(&self, row: &[f64]) -> f64 {
        self.value[self.leaf(row)]
    }

    /// The leaf's node.
    pub(super) fn leaf(&self, row: &[f64]) -> usize {
        let mut node = 0;
        while self.left[node] != 0 {
            node = self.next(node, row);
        }
        node
    }

    /// Adds `weight` × each feature's part in the way from the root's value to the leaf's (Saabas 2014): the steps add
    /// up to the difference, each counted for the feature that was split on. Returns the root's value × weight.
    pub(super) fn explain(&self, row: &[f64], weight: f64, parts: &mut [f64]) -> f64 {
        let mut node = 0;
        while self.left[node] != 0 {
            let next = self.next(node, row);
            parts[self.feature[node] as usize] += weight * (self.value[next] - self.value[node]);
            node = next;
        }
        weight * self.value[0]
    }

    /// Adds each split's gain to its feature.
    pub(super) fn importance(&self, gains: &mut [f64]) {
        for (node, left) in self.left.iter().enumerate() {
            if *left != 0 {
                gains[self.feature[node] as usize] += self.gain[node];
            }
        }
    }

    /// Splits of one feature directly below one of another: (feature above, feature below, gain below).
    pub(super) fn pairs(&self) -> impl Iterator<Item = (usize, usize, f64)> {
        let split = |node: usize| self.left.get(node).is_some_and(|left| *left != 0);
        let children = move |node: usize| [self.left[node] as usize, self.left[node] as usize + 1];
        let below = move |node: usize| {
            let above = self.feature[node] as usize;
            let children = children(node).into_iter().filter(move |child| split(*child));
            children.map(move |child| (above, self.feature[child] as usize, self.gain[child]))
        };
        (0..self.left.len()).filter(move |node| split(*node)).flat_map(below).filter(|(above, below, _)| above != below)
    }

    /// Other values of the nodes: the forest's shares of positive rows.
    pub(super) fn with_values(mut self, values: Vec<f64>) -> Self {
        self.value = values;
        self
    }

    pub(super) fn nodes(&self) -> usize {
        self.left.len()
    }

    /// Every node on the way of a row.
    pub(super) fn path(&self, row: &[f64], mut visit: impl FnMut(usize)) {
        let mut node = 0;
        visit(node);
        while self.left[node] != 0 {
            node = self.next(node, row);
            visit(node);
        }
    }
}
