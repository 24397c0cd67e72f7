//! What an operator's inputs had made of it, or of its rules, kept in the store: a start reads that and the inputs behind it.
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

/// Inputs behind the last copy from which on another one is worth it: fewer are read back in no time.
const INPUTS_MIN: i64 = 64;
/// How hard zstd tries: states are written often and read rarely.
const LEVEL: i32 = 1;
/// States are compressed as politely as there is.
static BACKGROUND: Background = Background::new("operators' states", 19);

/// What is kept: a function of numbered inputs.
pub trait Kept: Clone + Send + 'static {
    /// Layout of its bytes.
    const LAYOUT: u32;
    /// Its bytes at most, before they are compressed.
    const BYTES_MAX: usize;

    /// Its bytes; an error says why there are none.
    fn to_bytes(&self) -> Result<Vec<u8>, String>;

    /// A blank one, as it was when the bytes were made; none where they are something else's.
    fn with_bytes(self, bytes: &[u8]) -> Option<Self>;
}

impl Kept for OperatorState {
    const LAYOUT: u32 = VERSION;
    const BYTES_MAX: usize = 64 << 20;

    fn to_bytes(&self) -> Result<Vec<u8>, String> {
        Self::to_bytes(self).map_err(|error| error.to_string())
    }

    fn with_bytes(self, bytes: &[u8]) -> Option<Self> {
        Self::with_bytes(self, bytes).ok()
    }
}

/// Is a copy worth it, behind so many inputs and so many at the last copy?
pub(crate) fn is_worth_it(applied: i64, kept: i64) -> bool {
    applied - kept >= if kept == 0 { 1 } else { INPUTS_MIN }
}

/// A state cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Larger than any that is read back.
    #[error("larger than {0} bytes")]
    TooLarge(usize),
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
        let names = [
            "mlinzi_operator_states_kept_total",
            "mlinzi_operator_states_lost_total",
            "mlinzi_operator_inputs_replayed_total",
        ];
        Self::register_as(registry, names, "Operators' states")
    }

    /// The same for another kind: names of those kept, lost and of inputs replayed.
    ///
    /// # Errors
    /// Where the registry has metrics of these names.
    pub fn register_as(registry: &Registry, names: [&str; 3], whose: &str) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: String| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let [kept, lost, replayed] = names;
        Ok(Self {
            kept: counter(kept, format!("{whose} kept in the store."))?,
            lost: counter(lost, format!("{whose} that were not kept or not readable."))?,
            replayed: counter(replayed, format!("{whose}: inputs read back when their actors were made."))?,
        })
    }
}

/// A state as it is kept.
///
/// # Errors
/// [`KeepError`]
pub async fn pack<S: Kept>(operator_seq: i64, state: S) -> Result<OperatorStateRow, KeepError> {
    let (done, packed) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("operator-state".to_owned());
    let spawned = thread.spawn(move || {
        BACKGROUND.enter();
        // nobody waits for it where the engine stops
        let _ = done.send(compress(&state));
    });
    spawned.map_err(|error| KeepError::Unwritten(error.to_string()))?;
    let state = packed.await.map_err(|error| KeepError::Unwritten(error.to_string()))??;
    Ok(OperatorStateRow { operator_seq, layout: S::LAYOUT, state })
}

/// The same at once, for whoever cannot wait: of states that are small.
pub(super) fn pack_now<S: Kept>(operator_seq: i64, state: &S) -> Result<OperatorStateRow, KeepError> {
    Ok(OperatorStateRow { operator_seq, layout: S::LAYOUT, state: compress(state)? })
}

fn compress<S: Kept>(state: &S) -> Result<Vec<u8>, KeepError> {
    let bytes = state.to_bytes().map_err(KeepError::Unwritten)?;
    if bytes.len() > S::BYTES_MAX {
        return Err(KeepError::TooLarge(S::BYTES_MAX));
    }
    zstd::encode_all(bytes.as_slice(), LEVEL).map_err(|error| KeepError::Unwritten(error.to_string()))
}

/// The newest state that can be read and the input it stands behind; the blank one before the first input otherwise.
pub(crate) fn newest<S: Kept>(
    operator: OperatorNo,
    blank: &S,
    rows: &[OperatorStateRow],
    metrics: &StateMetrics,
) -> (i64, S) {
    newest_readable(operator, blank, rows, metrics).unwrap_or_else(|| (0, blank.clone()))
}

/// The same; none where none can be read.
pub(super) fn newest_readable<S: Kept>(
    operator: OperatorNo,
    blank: &S,
    rows: &[OperatorStateRow],
    metrics: &StateMetrics,
) -> Option<(i64, S)> {
    for row in rows {
        if let Some(state) = unpack(row, blank) {
            return Some((row.operator_seq, state));
        }
        let (operator_no, operator_seq, layout) = (operator.0, row.operator_seq, row.layout);
        metrics.lost.inc();
        tracing::warn!(operator_no, operator_seq, layout, "an operator's state is of another release or unreadable");
    }
    None
}

/// The state of a row; none where it is of another release or unreadable.
pub(crate) fn unpack<S: Kept>(row: &OperatorStateRow, blank: &S) -> Option<S> {
    if row.layout != S::LAYOUT {
        return None;
    }
    let mut bytes = Vec::new();
    let limit = S::BYTES_MAX as u64 + 1;
    zstd::Decoder::new(row.state.as_slice()).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
    blank.clone().with_bytes(&bytes)
}
