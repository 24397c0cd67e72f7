//! Every measure, in one list.

mod ingest;
mod isolation;
mod kills;
pub mod live;
mod lookups;
mod register;
mod syncs;

use crate::Effort;
use crate::report::Report;
use futures_util::future::LocalBoxFuture;

/// A measure: the figures it gives and how it is taken.
pub struct Measure {
    /// Names of its figures.
    pub names: &'static [&'static str],
    /// Takes it.
    pub run: for<'a> fn(Effort, &'a mut Report) -> LocalBoxFuture<'a, anyhow::Result<()>>,
}

macro_rules! measures {
    ($([$($name:literal),+] => $run:path;)+) => {
        &[$(Measure { names: &[$($name),+], run: |effort, report| Box::pin($run(effort, report)) }),+]
    };
}

/// All of them, in the order they run.
pub static MEASURES: &[Measure] = measures! {
    ["read_your_write_violations"] => register::read_your_writes;
    ["register_per_s", "register_p99_ms"] => register::throughput;
    ["lookup_vs_bare_quick"] => lookups::against_bare;
    ["ingest_embedded_per_s", "ingest_postgres_per_s"] => ingest::throughput;
    ["record_to_socket_p99_ms", "alert_to_socket_p99_ms", "record_to_socket_p99_ms_embedded", "alert_to_socket_p99_ms_embedded"] => live::latency;
    ["panic_isolation"] => isolation::panics;
    ["unsynced_acks"] => syncs::unsynced;
    ["crash_lost", "crash_doubled"] => kills::crashes;
};
