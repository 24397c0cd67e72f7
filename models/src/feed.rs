//! Sources: where records come from, by which clock they are judged.

mod class;
pub mod integrity;
mod settings;

pub use class::{DataClass, SourceClass};
pub use integrity::{IntegritySettings, SourceIntegrity};
pub use settings::{
    FolderDone, FolderSettings, HttpPollSettings, KafkaSettings, MAPPING_BYTES_MAX, NatsSettings, Paging, ReaderFormat,
    ReaderSettings, Schedule, SettingsError,
};

use crate::ids::{BatchId, KeyId, OperatorNo, SourceId, SourceNo};
use crate::money::Currency;
use crate::ts::{Ts, micros};
use serde::{Deserialize, Serialize};

/// A time in which a source was silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Its first instant.
    pub from: Ts,
    /// The first instant behind it; none while it lasts.
    pub to: Option<Ts>,
}

/// The clock a source is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceClock {
    /// The engine's clock.
    Wall,
    /// The newest `occurred_at` seen: for replays and archives.
    Event,
}

/// How records arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// `POST /api/v1/feeds/{source}/records`.
    Push,
    /// Asked for over HTTP, by schedule.
    HttpPoll,
    /// Files that appear in a folder.
    Folder,
    /// A topic of a Kafka-compatible broker.
    Kafka,
    /// A stream of NATS JetStream.
    Nats,
}

impl SourceKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Push, Self::HttpPoll, Self::Folder, Self::Kafka, Self::Nats];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::HttpPoll => "http_poll",
            Self::Folder => "folder",
            Self::Kafka => "kafka",
            Self::Nats => "nats",
        }
    }
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
    /// Class of data.
    pub class: SourceClass,
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
    /// Where it fetches from; none where records are pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader: Option<ReaderSettings>,
    /// When it fetches; there wherever a reader is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// How what it fetches becomes canonical records: the text of a mapping. None: it sends canonical records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<String>,
    /// It fetches nothing for now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// What its pushes are held to; none: tamper tokens are optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrity: Option<IntegritySettings>,
}

/// The journaled fact that a source is there, or is another than it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceSet {
    /// As it is from here on.
    #[serde(flatten)]
    pub source: Source,
    /// Whose key changed it; none where it was made, and in journals of before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<KeyId>,
}

impl From<Source> for SourceSet {
    fn from(source: Source) -> Self {
        Self { source, by: None }
    }
}

impl Source {
    /// Number 1, id 5, of operator 2: bets that are pushed every minute, judged by the wall clock. Tests begin with it.
    #[doc(hidden)]
    #[must_use]
    pub fn for_tests() -> Self {
        Self {
            source_no: SourceNo(1),
            id: SourceId(5),
            operator_no: OperatorNo(2),
            name: "bets".to_owned(),
            kind: SourceKind::Push,
            class: DataClass::GamingTransactions.into(),
            clock: SourceClock::Wall,
            horizon_days: 7,
            expected_interval_seconds: 60,
            currency: Currency::KES,
            created_at: Ts(0),
            reader: None,
            schedule: None,
            mapping: None,
            paused: false,
            integrity: None,
        }
    }
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
    /// How far the source was read with this batch, in its reader's words; none where that did not move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Records stored that came late by the source's expected interval.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub late: u32,
    /// Records stored that take the place of others.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub replaced: u32,
    /// The operator's tamper token, in hex, which followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tamper_token: Option<String>,
    /// The operator's own number of the batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_number: Option<i64>,
    /// It came without a token while a chain of tokens was under way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_token: bool,
    /// Refused before, and taken in by somebody's decision: the source itself delivered nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// Hex SHA-256 over all that is stored of the records; none in batches from before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_sha256: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_of_an_old_journal_is_one_that_is_pushed_to() {
        let old = r#"{"source_no":1,"id":"src_00000000000000000000000001","operator_no":1,"name":"bets","kind":"push","class":"gaming_transactions","clock":"wall","horizon_days":7,"expected_interval_seconds":60,"currency":"KES","created_at":0}"#;
        let source: Source = serde_json::from_str(old).unwrap();
        assert_eq!((source.kind, source.reader.is_none(), source.paused), (SourceKind::Push, true, false));
        assert_eq!(serde_json::to_string(&source).unwrap(), old, "and is written as it was");
        let other = old.replace("gaming_transactions", "sales_and_redemptions");
        let source: Source = serde_json::from_str(&other).unwrap();
        assert_eq!(source.class.data(), DataClass::GamingTransactions, "a class of the time when any text was one");
        assert_eq!(serde_json::to_string(&source).unwrap(), other, "which is not forgotten");
    }

    #[test]
    fn kinds_are_named_alike_everywhere() {
        for kind in SourceKind::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.as_str()));
        }
    }
}
