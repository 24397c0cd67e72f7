//! The simulator of everybody else: operators with their players, the licence authority, tax authorities, banks.
//!
//! ```text
//! scenario + seed ─▶ world (discrete events, virtual time) ─▶ records, questions ─▶ faults ─┬▶ archive: files of a folder
//!                          └▶ ground truth: truth.ndjson                                    └▶ live: HTTP, pushes, files
//! ```
//! docs/SIMULATOR.md says how it is used and what the ground truth means.

pub mod archive;
pub mod calendar;
pub mod cases;
pub mod dice;
pub mod faults;
pub mod habits;
pub mod ledger;
pub mod live;
pub mod people;
pub mod quiet;
pub mod record;
pub mod run;
pub mod sales;
pub mod scenario;
pub mod session;
pub mod totals;
pub mod truth;
pub mod world;

#[cfg(test)]
mod tests;
