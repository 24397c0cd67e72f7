//! What `web` and the tools may ask of the engine: commands, answers and errors.
//!
//! These are neither wire shapes (those live in `web`) nor domain events (those live in `models`): a
//! command is already parsed, a result says what happened. `web` maps [`EngineError`] to statuses in one place.

use crate::feeds::PollingView;
use crate::identity::Identifiers;
use crate::integrity::DayScore;
use models::alert::{AlertRevision, Severity};
use models::event::Exclusion;
use models::exclusion::{Channel, Period, ReasonClass};
use models::feed::integrity::NumberRange;
use models::feed::{DataClass, IntegritySettings, ReaderSettings, Schedule, Source, SourceClock, SourceIntegrity};
use models::ids::{BatchId, ExclusionId, KeyId, OperatorId, OperatorNo, Seq, SourceId};
use models::jurisdiction::JurisdictionNo;
use models::lookup::Purpose;
use models::money::Currency;
use models::operator::{ApiKey, Licence, Operator, OperatorState, Scope};
use models::record::Refusal;
use models::ts::Ts;
use serde::Serialize;
use std::sync::Arc;

/// Why a command was not carried out. Nothing of it was stored, unless it is `Unavailable`, where the
/// outcome may be unknown to the caller: repeat with the same `Idempotency-Key`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EngineError {
    /// The database or an actor does not answer; try again.
    #[error("not available now: {0}")]
    Unavailable(&'static str),
    /// A queue is full; try again later.
    #[error("overloaded: {0}")]
    Overloaded(&'static str),
    /// No such thing (or not visible to this credential).
    #[error("no such {0}")]
    NotFound(&'static str),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// The whole request is invalid.
    #[error("{pointer}: {detail}")]
    Invalid {
        /// JSON pointer of the field.
        pointer: &'static str,
        /// What is wrong, without the value.
        detail: String,
    },
    /// The credential may not do it, though it may do such things.
    #[error("{0}")]
    Forbidden(&'static str),
    /// `If-Match` named another version.
    #[error("the resource has changed")]
    Stale,
    /// It was there and is not any more.
    #[error("{0}")]
    Gone(&'static str),
    /// The tamper token of a push does not follow from the last one of its source and this body.
    #[error(
        "the tamper token does not follow: HMAC-SHA256 under the signing secret of this key, over the 32 bytes of the last token of this source that was answered with 200 (none for the first) and the 32 bytes of the SHA-256 of this body, was expected"
    )]
    Tampered,
}

/// A source that was asked for.
#[derive(Debug, Clone)]
pub struct CreatedSource {
    /// As it is.
    pub source: Source,
    /// False where it was there already.
    pub created: bool,
}

/// What the vault keeps of a person, sealed; nobody sees it in the clear afterwards.
#[derive(Default, Serialize, serde::Deserialize, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
#[allow(missing_docs)]
pub struct PersonData {
    pub phone: Option<String>,
    pub id_number: Option<String>,
    pub id_type: Option<String>,
    pub names: Vec<String>,
    pub date_of_birth: Option<String>,
    pub email: Option<String>,
    pub address: Option<String>,
    pub county: Option<String>,
    pub verification_method: Option<String>,
    pub verification_reference: Option<String>,
    /// What an older register called the entry.
    #[serde(default)]
    pub source_id: Option<String>,
    #[serde(default)]
    pub legal_basis: Option<String>,
}

/// A registration, parsed.
pub struct NewExclusion {
    /// By what the person is known; at least one. The register digests it under the keys in force.
    pub known_by: Identifiers,
    /// From the credential.
    pub jurisdiction: JurisdictionNo,
    /// How long.
    pub period: Period,
    /// Who asked.
    pub reason_class: ReasonClass,
    /// How.
    pub channel: Channel,
    /// Since when; none = now.
    pub effective_at: Option<Ts>,
    /// For the vault.
    pub person: PersonData,
    /// The operator that reported it; none where nobody did but the person, or the regulator.
    pub reported_by: Option<OperatorNo>,
}

/// What a registration or extension led to.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The exclusion as it stands.
    pub exclusion: Exclusion,
    /// False where an existing one was returned or extended.
    pub created: bool,
    /// Sequence of the register's last change, at least this one.
    pub register_version: Seq,
}

/// A stored `Idempotency-Key` (digests only).
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    /// SHA-256 of tenant, route and key.
    pub key_digest: [u8; 32],
    /// SHA-256 of the body.
    pub body_digest: [u8; 32],
}

/// A new operator.
pub struct NewOperator {
    /// Stable code.
    pub code: String,
    /// Name.
    pub name: String,
    /// Jurisdiction.
    pub jurisdiction: JurisdictionNo,
}

/// A change of an operator; none = as it is.
#[derive(Default)]
#[allow(missing_docs)]
pub struct OperatorChange {
    pub name: Option<String>,
    pub state: Option<OperatorState>,
    /// `If-Match`.
    pub expected_version: Option<u32>,
}

/// A new key.
#[allow(missing_docs)]
pub struct NewKey {
    pub operator: Option<OperatorNo>,
    pub jurisdiction: JurisdictionNo,
    pub label: String,
    pub scopes: Vec<Scope>,
    pub purposes: Vec<Purpose>,
    pub allow_from: Vec<String>,
    pub rate_per_second: u32,
    pub expires_at: Option<Ts>,
}

/// A key with what is shown once.
pub struct IssuedKey {
    /// The key.
    pub key: ApiKey,
    /// `mk_live_<key id>_<secret>`.
    pub bearer: String,
    /// Base64 secret under which answers are signed.
    pub signing_secret: String,
}

/// A new source.
#[allow(missing_docs)]
pub struct NewSource {
    pub operator: OperatorNo,
    pub name: String,
    pub class: DataClass,
    pub clock: SourceClock,
    pub horizon_days: u16,
    pub expected_interval_seconds: u32,
    pub currency: Currency,
    /// None: records are pushed.
    pub reader: Option<ReaderSettings>,
    /// There wherever a reader is.
    pub schedule: Option<Schedule>,
    /// Text of a mapping.
    pub mapping: Option<String>,
    /// What its pushes are held to.
    pub integrity: Option<IntegritySettings>,
}

/// A change of a source; none = as it is. What is about fetching is for sources that fetch.
#[derive(Default)]
#[allow(missing_docs)]
pub struct SourceChange {
    pub paused: Option<bool>,
    pub schedule: Option<Schedule>,
    /// Another mapping, or none from here on.
    pub mapping: Option<Option<String>>,
    pub integrity: Option<IntegritySettings>,
    /// None: as it is, and that of the new schedule where it was that of the old one.
    pub expected_interval_seconds: Option<u32>,
}

/// What became of a push.
#[derive(Debug, Clone, Serialize)]
pub struct PushOutcome {
    /// Records stored.
    pub accepted: u32,
    /// Known before with the same content.
    pub duplicates: u32,
    /// Known before with other content (quarantined).
    pub conflicts: u32,
    /// Refused, with reasons.
    pub quarantined: Vec<Refusal>,
    /// The stored batch; null where nothing was stored.
    pub batch_id: Option<BatchId>,
    /// Position of the source: the number of its last batch.
    pub cursor: String,
}

/// How fresh a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum FreshnessLabel {
    Never,
    Fresh,
    Late,
    Stale,
    Dead,
}

impl FreshnessLabel {
    /// Every label.
    pub const ALL: [Self; 5] = [Self::Never, Self::Fresh, Self::Late, Self::Stale, Self::Dead];

    /// Its name, as it is serialised.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Fresh => "fresh",
            Self::Late => "late",
            Self::Stale => "stale",
            Self::Dead => "dead",
        }
    }
}

/// A source with its position.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct SourceView {
    #[serde(skip)]
    pub source: Arc<Source>,
    pub id: SourceId,
    pub operator: OperatorId,
    pub operator_code: String,
    pub name: String,
    pub class: DataClass,
    pub freshness: FreshnessLabel,
    pub last_event_at: Option<Ts>,
    pub last_success_at: Option<Ts>,
    pub records: u64,
    pub duplicates: u64,
    pub quarantined: u64,
    /// Of those, how many nothing was decided about yet.
    pub quarantine_open: u64,
    pub cursor: String,
    pub paused: bool,
    pub conflicts: u64,
    pub late: u64,
    pub replaced: u64,
    /// Tokens and numbers, where its operator sends any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integrity: Option<IntegrityView>,
    /// As it stands, all of it; none before it was read.
    #[serde(skip)]
    pub integrity_state: Option<Arc<SourceIntegrity>>,
    /// Since when it is listened to; none until the engine has read where it stood.
    #[serde(skip)]
    pub listening_since: Option<Ts>,
    /// How complete its last full day is, once that was worked out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_day: Option<DayScore>,
    /// None where records are pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub polling: Option<PollingView>,
}

/// Ranges of missing numbers that are shown.
const RANGES_SHOWN: usize = 20;

/// Tokens and numbers of a source's batches, as they are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IntegrityView {
    /// A chain of tamper tokens is under way.
    pub chained: bool,
    /// Tokens that followed so far.
    pub tokens: u64,
    /// Pushes without one while a chain was under way.
    pub without_token: u64,
    /// Pushes refused because theirs did not follow.
    pub refused: u64,
    /// Since when tokens do not follow.
    pub tampered_since: Option<Ts>,
    /// Highest number of a batch.
    pub last_batch: Option<i64>,
    /// Lower numbers that did not come, the first ranges.
    pub missing: Vec<NumberRange>,
    /// How many are missing altogether.
    pub missing_batches: i64,
    /// Since when.
    pub missing_since: Option<Ts>,
    /// Gaps so far.
    pub gaps: u64,
    /// Missing numbers that are not waited for any more.
    pub given_up: u64,
    /// Batches with a number that was known.
    pub repeated_batches: u64,
}

impl IntegrityView {
    /// What is shown of a state.
    #[must_use]
    pub fn of(state: &SourceIntegrity) -> Self {
        Self {
            chained: state.link.is_some(),
            tokens: state.links,
            without_token: state.without_token,
            refused: state.refused,
            tampered_since: state.tampered_since,
            last_batch: state.last_number,
            missing: state.missing.iter().take(RANGES_SHOWN).copied().collect(),
            missing_batches: state.missing_numbers(),
            missing_since: state.missing_since,
            gaps: state.gaps,
            given_up: state.given_up,
            repeated_batches: state.repeated,
        }
    }
}

/// Whether the register may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// Not proven complete yet.
    Loading,
    /// Younger than 5 s.
    Fresh,
    /// Up to 15 minutes: registration and marketing answer 503.
    Degraded,
    /// Older: 503 for all.
    Stale,
}

/// Freshness of this node's register.
#[derive(Debug, Clone, Copy)]
pub struct NodeFreshness {
    /// Whether it may be asked.
    pub state: NodeState,
    /// Time up to which every commit is applied.
    pub as_of: Ts,
    /// Sequence of the register's last change.
    pub register_version: Seq,
}

/// Filter of `GET /alerts`.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct AlertFilter {
    /// The credential's.
    pub jurisdiction: Option<JurisdictionNo>,
    pub operator: Option<OperatorNo>,
    pub severity: Option<Severity>,
    pub rule: Option<String>,
    /// `open` (raised or corrected) or `withdrawn`.
    pub state: Option<String>,
}

/// Everything the commands return about directories, for `web`'s views.
#[derive(Debug, Clone)]
pub enum DirectoryChange {
    /// An operator.
    Operator(Operator),
    /// A licence.
    Licence(Licence),
    /// A key.
    Key(ApiKey),
    /// A source.
    Source(Source),
}

/// One page of a list.
pub struct Page<T> {
    /// Items.
    pub items: Vec<T>,
    /// Opaque; none at the end.
    pub next_cursor: Option<String>,
}

/// An alert with its history, newest revision first.
pub struct AlertHistory {
    /// Revisions.
    pub revisions: Vec<AlertRevision>,
}

/// Which identity a command is about, in answers of `GET /nser/{id}`.
pub type ExclusionRef = ExclusionId;

/// Which key a command is about.
pub type KeyRef = KeyId;

/// Why a node should get no traffic; docs/RUNBOOK.md says of each what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unready {
    /// A defect, or another engine has claimed the database.
    WriterEnded,
    /// The index is not complete.
    RegisterLoading,
    /// The index was not proven complete for as long as an answer is valid.
    RegisterStale,
    /// The evidence was not begun, or has ended.
    EvidenceClosed,
    /// As much evidence waits to be stored as may.
    EvidenceFull,
}

impl Unready {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::WriterEnded, Self::RegisterLoading, Self::RegisterStale, Self::EvidenceClosed, Self::EvidenceFull];

    /// As `/health/ready` says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WriterEnded => "store: the writer has ended",
            Self::RegisterLoading => "register: loading",
            Self::RegisterStale => "register: older than 15 minutes",
            Self::EvidenceClosed => "evidence: none can be kept",
            Self::EvidenceFull => "evidence: too much waits for the database",
        }
    }
}
