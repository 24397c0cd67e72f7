//! What is offered to the writer, and what comes back.

use crate::contacts::ContactRows;
use crate::evidence::EvidenceRows;
use crate::keys::{Rewrapped, SealedTable};
use crate::notices::{NoticeMarks, NoticeRow};
use crate::risk_models::ModelBytes;
use models::alert::{RevisionKind, Severity, Window};
use models::event::{Committed, Event, Exclusion, PersonKey};
use models::feed::{DataClass, SourceClock};
use models::ids::{AlertId, ExclusionReportId, KeyId, OperatorNo, PersonNo, QuarantineId, Seq, SourceNo};
use models::jurisdiction::JurisdictionNo;
use models::match_key::MatchKey;
use models::quarantine::QuarantineForm;
use models::record::{QuarantineCode, Record};
use models::ts::Ts;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A sealed person.
#[derive(Clone, Debug)]
pub struct VaultRow {
    /// Random; also what the seal is bound to.
    pub id: [u8; 16],
    /// Whose.
    pub person_no: PersonNo,
    /// AES-256-GCM, envelope.
    pub sealed: Vec<u8>,
    /// When.
    pub at: Ts,
}

/// A person loaded in bulk.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ImportedPerson {
    pub person_no: PersonNo,
    pub birth_digest: Option<MatchKey>,
    pub keys: Vec<PersonKey>,
    pub exclusions: Vec<Exclusion>,
    pub vault: Vec<VaultRow>,
}

/// How far an import has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportProgress {
    /// Digest of what is imported, in hex.
    pub id: String,
    /// Where it comes from.
    pub origin: String,
    /// Rows that are done, refused ones too.
    pub rows: u64,
    /// When.
    pub at: Ts,
}

/// A refused record, sealed.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct QuarantineRow {
    pub id: QuarantineId,
    pub source_no: SourceNo,
    pub index: u32,
    pub code: QuarantineCode,
    pub detail: String,
    pub form: QuarantineForm,
    pub sealed: Vec<u8>,
    /// Keyed digest of what was sent, where its source fetches.
    pub sent_digest: Option<u64>,
    pub at: Ts,
}

/// The result of a write under an `Idempotency-Key`; digests only.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct IdempotencyRow {
    pub key_digest: [u8; 32],
    pub body_digest: [u8; 32],
    pub status: u16,
    pub result_id: String,
    pub expires_at: Ts,
}

/// A batch that rules hear, beside its `RuleInputStored`: what was known of its records' players, and the records for
/// those who hear of the commit.
#[derive(Clone, Debug)]
pub struct RuleBatch {
    /// Whose.
    pub operator_no: OperatorNo,
    /// Position in the operator's inputs.
    pub operator_seq: i64,
    /// Time of the clock that judged it.
    pub clock_at: Ts,
    /// Which clock.
    pub clock: SourceClock,
    /// Its records.
    pub records: Arc<[Record]>,
    /// What was known, packed; none where it holds nothing but documents.
    pub facts: Option<Arc<[u8]>>,
}

/// A finding of a rule, or what became of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFindingRow {
    /// The finding: an alert's id where it is live.
    pub id: AlertId,
    /// Rule.
    pub rule: String,
    /// Version.
    pub version: u32,
    /// Nobody hears of it.
    pub is_shadow: bool,
    /// Where.
    pub jurisdiction: JurisdictionNo,
    /// Whose input caused it.
    pub operator_no: OperatorNo,
    /// Which: the operator's count, and for rules over all operators the place in the journal.
    pub input_seq: i64,
    /// When.
    pub window: Window,
    /// Raised, corrected or withdrawn.
    pub kind: RevisionKind,
    /// How urgent.
    pub severity: Severity,
    /// Time of the input.
    pub at: Ts,
    /// The input's place in the journal.
    pub seq: Seq,
    /// All of it, as JSON.
    pub body: String,
}

/// What goes with a commit and is not in the journal.
#[derive(Clone, Debug)]
pub enum Attachment {
    /// A person for the vault.
    Vault(VaultRow),
    /// A key's sealed signing secret.
    KeySecret {
        /// The key.
        key_id: KeyId,
        /// AES-256-GCM, envelope.
        sealed: Vec<u8>,
    },
    /// About whom a reported exclusion is that waits; none once it is settled.
    ReportSeal {
        /// The report.
        id: ExclusionReportId,
        /// AES-256-GCM, envelope.
        sealed: Option<Vec<u8>>,
    },
    /// The records of the commit's `FeedBatchStored`.
    FeedRecords(Arc<[Record]>),
    /// Their class, where it has tables of its own.
    FeedClass(DataClass),
    /// A batch of the commit's `RuleInputStored`s.
    RuleBatch(RuleBatch),
    /// What rules found; what is stored already stays as it is.
    RuleFindings(Vec<RuleFindingRow>),
    /// Refused records.
    Quarantine(Vec<QuarantineRow>),
    /// Result of an idempotent write; a second one with the same key is a conflict.
    Idempotency(IdempotencyRow),
    /// People loaded in bulk, whose `PeopleImported` is among the events, and how far the import has come.
    Import(ImportProgress, Vec<ImportedPerson>),
    /// Blocks of lookup evidence; one that is stored already stays as it is.
    Evidence(EvidenceRows),
    /// Which operator has asked about whom.
    Contacts(ContactRows),
    /// Notices that are to go out; one that is stored already stays as it is.
    Notices(Vec<NoticeRow>),
    /// What became of them.
    NoticeMarks(NoticeMarks),
    /// Sealed values under another key, whose `SealsRewrapped` is among the events; one that changed meanwhile stays as
    /// it is.
    Rewrapped(SealedTable, Vec<Rewrapped>),
    /// The artefact of the commit's `ModelRegistered`.
    ModelBytes(ModelBytes),
}

impl Attachment {
    /// The batch, where it is one that rules hear.
    pub fn rule_batch(&self) -> Option<&RuleBatch> {
        if let Self::RuleBatch(batch) = self { Some(batch) } else { None }
    }
}

/// Offered to the writer.
pub struct Commit {
    /// What changes; at most one `FeedBatchStored`.
    pub events: Vec<Event>,
    /// What goes with it.
    pub attachments: Vec<Attachment>,
    /// The epoch of the keys under which something in it was derived or sealed; refused where it is another one by now.
    pub key_epoch: Option<i64>,
    /// Where the receipt goes, once the commit is durable and passed on.
    pub done: oneshot::Sender<Result<CommitReceipt, CommitError>>,
}

/// What was committed, with everything the writer assigned. Alert revisions that were stored before are missing.
#[derive(Clone, Debug)]
pub struct CommitReceipt {
    /// The events.
    pub events: Arc<[Committed]>,
}

/// Why there is no receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The database is away; the outcome may be unknown.
    #[error("the database is not available")]
    Unavailable,
    /// It contradicts what is stored.
    #[error("it contradicts what is stored: {what}")]
    Conflict {
        /// The constraint.
        what: String,
    },
    /// A refused record that it settles was settled by somebody else.
    #[error("the quarantined record is not open any more")]
    Settled,
    /// The database refuses it.
    #[error("the database refuses it: {detail}")]
    Rejected {
        /// Its code.
        detail: String,
    },
    /// Keys were rotated since it was made: it is to be made anew under those in force.
    #[error("the keys were rotated meanwhile")]
    Rotated,
    /// Too many commits wait.
    #[error("too many commits wait")]
    Full,
}
