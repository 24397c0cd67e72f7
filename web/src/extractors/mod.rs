//! Who calls, and with which promise: what handlers take before their body.

pub mod caller;
pub mod idempotency;

pub use caller::Caller;
