//! What an operator's inputs had made of it, kept in the store: a start reads that and the inputs behind it.
//!
//! ```text
//! Copy ─▶ the actor clones its state, between two inputs ─▶ postcard ─▶ zstd ─▶ store      (elsewhere, politely)
//! recover: newest that is sound, else the one before, else nothing ─▶ inputs behind it
//! ```
//! An alert is durable before the next message is taken, so everything that a copied state has raised is stored.

use engine::operator_state::OperatorState;
use engine::operator_state::snapshot::VERSION;
use models::ids::OperatorNo;
use prometheus::{IntCounter, Registry};
use std::io::Read;
use store::{Background, OperatorStateRow};

/// Bytes of a state at most, before it is compressed.
const STATE_BYTES_MAX: usize = 64 << 20;
/// Inputs behind the last copy from which on another one is worth it: fewer are read back in no time.
pub(super) const INPUTS_MIN: i64 = 64;
/// How hard zstd tries: states are written often and read rarely.
const LEVEL: i32 = 1;
/// States are compressed as politely as there is.
static BACKGROUND: Background = Background::new("operators' states", 19);

/// A state cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Larger than any that is read back.
    #[error("larger than {STATE_BYTES_MAX} bytes")]
    TooLarge,
    /// It cannot be written as bytes.
    #[error("not written: {0}")]
    Unwritten(String),
}

/// What is counted of operators' states.
#[derive(Clone)]
pub struct StateMetrics {
    /// States kept, since the start.
    pub kept: IntCounter,
    /// States that could not be kept, or not be read back.
    pub lost: IntCounter,
    /// Inputs that operators' actors read back when they were made.
    pub replayed: IntCounter,
}

impl StateMetrics {
    /// Makes and registers them.
    ///
    /// # Errors
    /// Where the registry has metrics of these names.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name, help| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        Ok(Self {
            kept: counter("mlinzi_operator_states_kept_total", "Operators' states kept in the store.")?,
            lost: counter(
                "mlinzi_operator_states_lost_total",
                "Operators' states that were not kept or not readable.",
            )?,
            replayed: counter(
                "mlinzi_operator_inputs_replayed_total",
                "Inputs that operators' actors read back when they were made.",
            )?,
        })
    }
}

/// A state as it is kept.
///
/// # Errors
/// [`KeepError`]
pub async fn pack(operator_seq: i64, state: OperatorState) -> Result<OperatorStateRow, KeepError> {
    let (done, packed) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("operator-state".to_owned());
    let spawned = thread.spawn(move || {
        BACKGROUND.enter();
        // nobody waits for it where the engine stops
        let _ = done.send(compress(&state));
    });
    spawned.map_err(|error| KeepError::Unwritten(error.to_string()))?;
    let state = packed.await.map_err(|error| KeepError::Unwritten(error.to_string()))??;
    Ok(OperatorStateRow { operator_seq, layout: VERSION, state })
}

fn compress(state: &OperatorState) -> Result<Vec<u8>, KeepError> {
    let bytes = state.to_bytes().map_err(|error| KeepError::Unwritten(error.to_string()))?;
    if bytes.len() > STATE_BYTES_MAX {
        return Err(KeepError::TooLarge);
    }
    zstd::encode_all(bytes.as_slice(), LEVEL).map_err(|error| KeepError::Unwritten(error.to_string()))
}

/// The newest state that can be read and the input it stands behind; the blank one before the first input otherwise.
pub(super) fn newest(
    operator: OperatorNo,
    blank: &OperatorState,
    rows: &[OperatorStateRow],
    metrics: &StateMetrics,
) -> (i64, OperatorState) {
    for row in rows {
        if let Some(state) = unpack(row, blank) {
            return (row.operator_seq, state);
        }
        let (operator_no, operator_seq, layout) = (operator.0, row.operator_seq, row.layout);
        metrics.lost.inc();
        tracing::warn!(operator_no, operator_seq, layout, "an operator's state is of another release or unreadable");
    }
    (0, blank.clone())
}

fn unpack(row: &OperatorStateRow, blank: &OperatorState) -> Option<OperatorState> {
    if row.layout != VERSION {
        return None;
    }
    let mut bytes = Vec::new();
    let limit = STATE_BYTES_MAX as u64 + 1;
    zstd::Decoder::new(row.state.as_slice()).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
    blank.clone().with_bytes(&bytes).ok()
}
