//! Every measure, in one list.

mod big;
mod brokers;
mod evidence;
mod ingest;
mod isolation;
mod kills;
pub mod live;
mod lookups;
mod notices;
mod register;
pub(crate) mod scoring;
mod sockets;
mod sources;
mod storm;
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
    ["recover_10m_s", "recover_10m_from_tables_s"] => big::starts;
    ["lookup_cpu_vs_bare", "lookup_vs_bare", "index_bytes_per_key", "rss_mb_10m", "batch_10000_ms", "batch_rows_per_s"] => big::lookups;
    ["lookup_p99_vs_bare_at_5000", "lookup_p99_vs_bare_at_20000"] => big::tails;
    ["lookup_tls_vs_bare_tls"] => big::tls;
    ["lookup_vs_redis"] => big::redis;
    ["storm_p99_ratio"] => storm::storm;
    ["overload_4x_p99_ms", "overload_4x_memory_growth_percent"] => storm::overload;
    ["evidence_missing"] => evidence::missing;
    ["sync_cost"] => evidence::sync_cost;
    ["ingest_embedded_per_s", "ingest_postgres_per_s"] => ingest::throughput;
    ["ingest_postgres_100op_per_s"] => ingest::a_hundred_operators;
    ["ingest_full_per_s"] => ingest::everything_on;
    ["record_to_socket_p99_ms", "alert_to_socket_p99_ms", "record_to_socket_p99_ms_embedded", "alert_to_socket_p99_ms_embedded"] => live::latency;
    ["soak_rss_growth"] => live::soak;
    ["sources_500"] => sources::five_hundred;
    ["fanout_10000_ratio", "ws_idle_kb"] => sockets::fanout;
    ["ws_stalled_effect"] => sockets::stalled;
    ["reconnect_10000_s", "reconnect_10000_store_reads"] => sockets::reconnect;
    ["ws_state_divergence"] => sockets::divergence;
    ["notify_once", "notify_once_resolved"] => notices::once;
    ["panic_isolation"] => isolation::panics;
    ["kafka_nats_lost", "kafka_nats_doubled"] => brokers::exactly_once;
    ["unsynced_acks"] => syncs::unsynced;
    ["crash_lost", "crash_doubled"] => kills::crashes;
    ["score_us"] => scoring::cost;
};
