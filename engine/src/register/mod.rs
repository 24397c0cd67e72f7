//! The register: who is excluded where, decided and answered without any I/O.

pub mod apply;
pub mod decide;
pub mod index;
