//! Pure decisions: the register, the market, the detector. `apply(input) -> effects`.
//!
//! Knows nothing of clocks, networks, storage or chance: what it needs is an argument, what it finds is a result.

pub mod alerting;
pub mod checks;
pub mod compliance;
pub mod dedupe;
pub mod detector;
pub mod enumeration;
pub mod features;
pub mod ingest;
pub mod integrity;
pub mod mapping;
pub mod model_drift;
pub mod model_shadow;
pub mod operator_state;
pub mod output;
pub mod poll;
pub mod register;
pub mod repair;
pub mod routing;
pub mod rules;
pub mod season;
pub mod shadow_days;
pub mod silence;
pub mod snapshot;
pub mod tail;
pub mod windows;
