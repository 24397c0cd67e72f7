//! Everything that moves: supervised actors, the way from a commit to the screens, the engine's front door.
//!
//! The only crate with actix. Decisions are not made here: `engine` makes them, `store` keeps them; this crate
//! carries inputs in and effects out, and sees to it that one part can fail alone.

pub mod api;
mod auditor;
pub mod built_in_models;
pub mod changes;
pub mod contacts;
mod culprits;
pub mod desk;
pub mod directory;
pub mod engine;
pub mod evidence;
pub mod exports;
pub mod facts;
pub mod feeds;
pub mod forecasts;
mod idempotency;
pub mod identity;
pub mod import;
pub mod integrity;
pub mod jws;
pub mod kernel;
pub mod live;
pub mod market;
pub mod metrics;
mod missed;
pub mod model_forecasts;
pub mod model_rows;
pub mod model_shadows;
pub mod notifiers;
pub mod outputs;
pub mod people;
mod rates;
pub mod receipts;
pub mod register;
pub mod replay;
pub mod risk_levels;
pub mod risk_models;
pub mod rule_versions;
pub mod rules;
pub mod scoring;
pub mod second_person;
pub mod secrets;
pub mod shadow_days;
pub mod shadow_reads;
pub mod source;
mod spine;
pub mod staff;
pub mod trace;
pub mod views;
pub mod writer;
