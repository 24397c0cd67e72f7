//! The register: who is excluded where, and what follows from it.

pub mod index;
