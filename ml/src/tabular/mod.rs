//! Learning from rows with a label: transaction risk and player risk.
//!
//! A table (`dataset`) becomes features (`design` makes more of pairs of them), members learn from it (`booster` on `bins`
//! and `tree`; `linear` and `forest` from linfa on the scales of `axes`), `stack` says what each one's word counts so that
//! the answer is a probability, and `model` holds rows out for whatever is chosen. `artefact` is the model with its
//! papers, `seen` knows the rows it was learnt from, `drift` watches whether it still fits, `batch` is what the commands
//! call.

pub mod artefact;
mod axes;
pub mod batch;
#[cfg(test)]
mod batch_data;
mod bins;
pub mod booster;
mod chance;
pub mod dataset;
pub mod design;
pub mod drift;
mod exact;
pub mod forest;
mod linear;
pub mod members;
pub mod metrics;
pub mod model;
mod presets;
pub mod seen;
mod solve;
mod stack;
mod tree;
