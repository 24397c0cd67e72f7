//! May this person be served for this purpose? From a request's bytes to a signed answer with evidence.
//!
//! ```text
//! body ─ wire ─▶ keys (one digest per identifier) ─▶ index (wait-free) ─▶ verdict ─▶ evidence ─▶ answer ─▶ signature
//! ```
//! Nothing here waits. Whatever is not certain is a problem, never an answer; and nothing is answered that has not left
//! its record of evidence first.

pub mod answer;
pub mod batch;
pub mod lane;
pub mod question;
mod wire;

pub use wire::{LookupRequest, REFERENCE_CHARS_MAX};
pub(crate) use wire::{WireLookup, read_document};
