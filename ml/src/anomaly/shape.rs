//! Novelty of the shape of the last points: adaptive resonance.
//!
//! What the last points look like is a point in a space of features; the detector keeps a bounded number of categories
//! in it. A shape within the vigilance of its nearest category resonates and draws the category a little nearer; one
//! that resonates with none founds a category, in the place of the one unused longest. The idea is that of fuzzy ART
//! (Carpenter, Grossberg and Rosen 1991); distance and learning here are plain ones: mean absolute difference.

use serde::{Deserialize, Serialize};

/// Features of a shape.
pub(super) const FEATURES: usize = 8;
/// Categories, at most.
const CATEGORIES: usize = 32;
/// Distance up to which a shape belongs to a category, in usual sizes of a feature.
const VIGILANCE: f32 = 0.6;
/// How far a category moves towards a shape that resonates.
const LEARNT: f32 = 0.05;

/// Shapes seen so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Shapes {
    categories: [[f32; FEATURES]; CATEGORIES],
    /// When each resonated last, in shapes seen; 0: empty.
    resonated: [u32; CATEGORIES],
    seen: u32,
}

impl Default for Shapes {
    fn default() -> Self {
        Self { categories: [[0.0; FEATURES]; CATEGORIES], resonated: [0; CATEGORIES], seen: 0 }
    }
}

impl Shapes {
    /// Distance to the nearest category, 0 for the very first shape; learns the shape afterwards.
    pub fn novelty(&mut self, shape: &[f32; FEATURES]) -> f32 {
        if self.seen == u32::MAX {
            // four thousand million shapes: the order of use begins anew
            self.seen = 1;
            self.resonated.iter_mut().for_each(|at| *at = u32::from(*at > 0));
        }
        self.seen += 1;
        let (mut nearest, mut distance) = (0, f32::INFINITY);
        let (mut oldest, mut oldest_at) = (0, u32::MAX);
        for (number, category) in self.categories.iter().enumerate() {
            let at = self.resonated[number];
            if at < oldest_at {
                (oldest, oldest_at) = (number, at);
            }
            if at == 0 {
                break;
            }
            let sum: f32 = category.iter().zip(shape).map(|(a, b)| (a - b).abs()).sum();
            if sum < distance {
                (nearest, distance) = (number, sum);
            }
        }
        let distance = distance / FEATURES as f32;
        if distance < VIGILANCE {
            for (a, b) in self.categories[nearest].iter_mut().zip(shape) {
                *a += LEARNT * (b - *a);
            }
            self.resonated[nearest] = self.seen;
        } else {
            self.categories[oldest] = *shape;
            self.resonated[oldest] = self.seen;
        }
        if distance.is_finite() { distance } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_not_new_until_it_is_forgotten() {
        let mut shapes = Shapes::default();
        let shape = |value: f32| [value; FEATURES];
        assert_eq!(shapes.novelty(&shape(0.0)), 0.0, "the first");
        assert_eq!(shapes.novelty(&shape(3.0)), 3.0, "far from the only one");
        assert_eq!(shapes.novelty(&shape(3.0)), 0.0, "known by now");
        assert_eq!(shapes.novelty(&shape(0.5)), 0.5, "near the first, which it draws along");
        assert!((shapes.novelty(&shape(0.025))).abs() < 1e-6);
        for category in 2..=CATEGORIES as u32 {
            shapes.novelty(&shape(10.0 * category as f32));
            assert!(shapes.novelty(&shape(0.025)) < 1e-6, "used often, kept");
        }
        assert!(shapes.novelty(&shape(3.0)) > 2.0, "the one unused longest made room");
    }
}
