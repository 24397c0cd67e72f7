//! What is learnt from numbers: anomalies of series, risk of transactions and players, forecasts.
//!
//! Pure like `engine`: no clock, no network, no storage, nothing async; chance comes from a seed in the parameters.
//! Scores leave this crate as values that enter `engine` as inputs and the journal as facts, so a replay needs no model.

pub mod anomaly;
pub mod forecast;
pub mod tabular;
