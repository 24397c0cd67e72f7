//! Persistence: the journal, the tables that are its projections, and the one writer of a node.
//!
//! The only crate with sqlx. SQLite (embedded) and PostgreSQL behind one [`Store`]; one contract suite runs on both.
//!
//! ```text
//! Commit {events, attachments} ─▶ Writer: group ─▶ BEGIN; project; head; journal; COMMIT ─▶ Sink::publish, in order
//! ```

mod audit;
mod backtests;
mod clock;
mod contacts;
mod db;
mod evidence;
mod evidence_roots;
mod exclusion_reports;
mod journal;
mod keys;
mod model_shadows;
mod notices;
mod open;
mod operator_states;
mod priority;
mod project;
mod quarantine;
mod read;
mod risk_models;
mod snapshots;
mod successes;
mod vault;
mod writer;

pub use audit::{BadRow, VerifyReport};
pub use backtests::{BACKTESTS_KEPT, BacktestRow};
pub use clock::{Clock, ManualClock, SystemClock};
pub use contacts::{Contact, ContactBoot, ContactKey, ContactRows, TokenGeneration};
pub use evidence::{EvidenceBoot, EvidenceKey, EvidenceRows};
pub use keys::{Rewrapped, SealedId, SealedRow, SealedTable};
pub use notices::{NoticeMark, NoticeMarks, NoticePlace, NoticeQuery, NoticeRow, NoticesWaiting, StoredNotice};
pub use open::{OpenError, OpenOptions, PoolUsage, Store};
pub use operator_states::{OperatorStateRow, StateOf};
pub use priority::Background;
pub use quarantine::{QuarantineCount, QuarantineItem, QuarantineQuery, SealedItem};
pub use read::{
    ALERTS_OF_RULE_MAX, AlertQuery, AlteredInput, Arrivals, BatchSums, ClassPage, ClassQuery, ComplianceSpan,
    ExclusionReportQuery, FindingCount, FindingRow, FindingsBy, FindingsOf, HELD_ROWS_MAX, HarmSignalQuery, HeldAlert,
    HeldBatch, HeldInput, IdempotencyStored, NextNumbers, OperatorInputRow, PackedPeople, PersonDossier, PlayerAccount,
    PlayerLimit, RULES_OF_ALERTS, RecordDigest, RegisterStats, ReportsWaiting, RowPlace, RuleFindingQuery,
    RuleInputBatch, RuleInputHead, RuleInputRow, SalesDay, SourceSpan, StoredBankLine, StoredHead, StoredInvoice,
    StoredLicence, StoredPayment,
};
pub use risk_models::{MODEL_BYTES_MAX, ModelBytes, PlayerRisk, PlayerRiskQuery, StoredModel};
pub use snapshots::{SnapshotLost, SnapshotRow, SnapshotSink, SnapshotSource};
pub use writer::{
    Attachment, Commit, CommitError, CommitReceipt, CommittedGroup, IdempotencyRow, ImportProgress, ImportedPerson,
    Member, QuarantineRow, RuleBatch, RuleFindingRow, Sink, VaultRow, WriterHandle,
};

/// A read failed: the database is away, or holds what this version cannot read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// Another engine runs on this database.
    #[error("another engine runs on this database; only one may")]
    Claimed,
    /// A stored value.
    #[error("stored {0} cannot be read")]
    Unreadable(&'static str),
}
