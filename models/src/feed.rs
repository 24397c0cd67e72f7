//! Sources: where records come from, by which clock they are judged.

use crate::ids::{BatchId, OperatorNo, SourceId, SourceNo};
use crate::money::Currency;
use crate::ts::{Ts, micros};
use serde::{Deserialize, Serialize};

/// The clock a source is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceClock {
    /// The engine's clock.
    Wall,
    /// The newest `occurred_at` seen: for replays and archives.
    Event,
}

/// How records arrive. Other kinds come with the feeds work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// `POST /api/v1/feeds/{source}/records`.
    Push,
}

/// A source of one operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Internal number.
    pub source_no: SourceNo,
    /// Public id.
    pub id: SourceId,
    /// Whose records.
    pub operator_no: OperatorNo,
    /// Name, unique within the operator.
    pub name: String,
    /// How records arrive.
    pub kind: SourceKind,
    /// Class of data, e.g. `gaming_transactions`.
    pub class: String,
    /// Clock.
    pub clock: SourceClock,
    /// How far back a record may lie behind the clock, days (7 by default).
    pub horizon_days: u16,
    /// Expected time between two batches, seconds.
    pub expected_interval_seconds: u32,
    /// Currency of records that carry no amount.
    pub currency: Currency,
    /// When it was made.
    #[serde(with = "micros")]
    pub created_at: Ts,
}

/// The journaled fact that a batch is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeedBatchStored {
    /// Public id.
    pub id: BatchId,
    /// Global number, assigned by the writer: batches are read back in this order.
    pub batch_no: i64,
    /// Source.
    pub source_no: SourceNo,
    /// Position in the source, gapless from 1, assigned by the source's actor.
    pub source_seq: i64,
    /// Operator.
    pub operator_no: OperatorNo,
    /// Position in the operator's input, gapless from 1, assigned by the writer.
    pub operator_seq: i64,
    /// Records stored.
    pub records: u32,
    /// Records known before, with the same content.
    pub duplicates: u32,
    /// Records refused.
    pub quarantined: u32,
    /// Oldest `occurred_at`.
    #[serde(with = "micros")]
    pub first_at: Ts,
    /// Newest `occurred_at`.
    #[serde(with = "micros")]
    pub last_at: Ts,
    /// Time of the clock that judged the batch.
    #[serde(with = "micros")]
    pub clock_at: Ts,
    /// Hex SHA-256 over the digest of the batch before of this source and this batch's record digests.
    pub chain: String,
}
