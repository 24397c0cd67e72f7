//! actors
pub mod kernel;
