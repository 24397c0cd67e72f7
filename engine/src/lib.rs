//! engine
pub mod register;
