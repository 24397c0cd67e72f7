//! Who calls, and with which promise: what handlers take before their body.

pub mod body;
pub mod caller;
pub mod idempotency;

pub use body::Body;
pub use caller::Caller;
pub(crate) use caller::{admit, holds};
