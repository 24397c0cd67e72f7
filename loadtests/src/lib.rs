//! Loads and measures the running product from outside, as its users do.
//!
//! ```text
//! mlinzi-bench ─▶ node (the release binary, a store of its own) ─▶ wire / socket (open or closed loop) ─▶ histogram
//!              └▶ measures, one file each ─▶ report: target/bench.json
//! ```
//! The loader runs on one thread, so that the product has the other core; what it sends is made beforehand. Latency is
//! counted from the instant a request was due, not from the instant it was sent, so that a stall delays everybody who
//! would have asked meanwhile (no coordinated omission). Ratios are medians of interleaved pairs of one run.

pub mod brokers;
pub mod crowd;
pub mod disk;
pub mod driver;
pub mod faulty;
pub mod measures;
pub mod modelbench;
pub mod node;
pub mod postgres;
pub mod raw;
pub mod report;
pub mod simulator;
pub mod socket;
pub mod traffic;
pub mod wire;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Every measure in five minutes together: fewer tries, smaller stores.
    Quick,
    /// What the figures of docs/BENCHMARKS.md are made with; at most an hour.
    Full,
    /// All kill rounds and soaks.
    Long,
}

impl Effort {
    /// The value for this effort.
    pub fn pick<T>(self, quick: T, full: T, long: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
            Self::Long => long,
        }
    }
}
