//! The spine: every change of state as one journaled event.
//!
//! Tables are projections of these events, written in the same transaction. Payloads are versioned JSON:
//! a new field has a default, so that an old journal is always readable.

use crate::alert::AlertRevision;
use crate::alert_group::{AlertActed, AlertsGrouped, Silence};
use crate::compliance::{ComplianceDayCounted, ComplianceScored};
use crate::exclusion::{AtEnd, Channel, Period, ReasonClass};
use crate::exclusion_report::ExclusionReport;
use crate::feed::integrity::{ChainEnded, Declaration, SourceIntegrity, TotalsCompared};
use crate::feed::{FeedBatchStored, SourceSet};
use crate::harm_signal::HarmSignal;
use crate::ids::{CaseId, ExclusionId, KeyId, OperatorNo, PersonNo, Seq, SourceNo};
use crate::jurisdiction::{JurisdictionNo, Recognition};
use crate::key_version::KeyPurpose;
use crate::match_key::{KeyKind, MatchKey};
use crate::model_shadow::{ModelShadowEnded, ModelShadowStarted, ShadowDayCounted};
use crate::operator::{ApiKey, Licence, Operator};
use crate::quarantine::{QuarantineDismissed, QuarantineRead, QuarantineReplayed};
use crate::risk_model::{DriftJudged, Model, ModelEvaluated, ModelPromoted, ModelRetired};
use crate::rule::RuleChanged;
use crate::rule_input::{RuleInputSetAside, RuleInputStored};
use crate::ts::{Ts, micros};
use serde::{Deserialize, Serialize};

/// A match key of a person with its validity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PersonKey {
    /// What was digested.
    pub kind: KeyKind,
    /// Digest key version.
    pub digest_version: u8,
    /// The digest.
    pub key: MatchKey,
    /// First instant at which it names this person.
    #[serde(with = "micros")]
    pub valid_from: Ts,
    /// First instant at which it no longer does (a recycled number).
    #[serde(with = "micros::option", default)]
    pub valid_to: Option<Ts>,
}

/// An exclusion as it is after the event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exclusion {
    /// Public id.
    pub id: ExclusionId,
    /// Who.
    pub person_no: PersonNo,
    /// Where.
    pub jurisdiction: JurisdictionNo,
    /// How long at least.
    pub period: Period,
    /// What happens then.
    pub at_end: AtEnd,
    /// Who asked.
    pub reason_class: ReasonClass,
    /// How it was made.
    pub channel: Channel,
    /// Since when.
    #[serde(with = "micros")]
    pub effective_at: Ts,
    /// End of the minimum period.
    #[serde(with = "micros::option")]
    pub ends_at: Option<Ts>,
    /// Set when it lapsed.
    #[serde(with = "micros::option", default)]
    pub ended_at: Option<Ts>,
    /// The operator that reported it; said in its registration alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_by: Option<OperatorNo>,
}

/// Match keys of a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DerivedKeys {
    /// Who.
    pub person_no: PersonNo,
    /// The new ones.
    pub keys: Vec<PersonKey>,
}

/// What of an exclusion decides: all that the index needs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Where.
    pub jurisdiction: JurisdictionNo,
    /// How long at least.
    pub period: Period,
    /// What happens then.
    pub at_end: AtEnd,
    /// Since when.
    pub effective_at: Ts,
    /// End of the minimum period.
    pub ends_at: Option<Ts>,
    /// Set when it lapsed.
    pub ended_at: Option<Ts>,
}

impl Exclusion {
    /// What of it decides.
    #[must_use]
    pub fn bound(&self) -> Bound {
        Bound {
            jurisdiction: self.jurisdiction,
            period: self.period,
            at_end: self.at_end,
            effective_at: self.effective_at,
            ends_at: self.ends_at,
            ended_at: self.ended_at,
        }
    }
}

/// How far a chain of evidence has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainRoot {
    /// Number of the worker.
    pub worker: u16,
    /// Number of its last block.
    pub block: u64,
    /// Digest of that block, in hex.
    pub digest: String,
}

fn yes() -> bool {
    true
}

/// One change of state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(clippy::large_enum_variant)] // alerts and sources are the large ones; events are few beside records
pub enum Event {
    /// A process began to write.
    EngineStarted {
        /// Random id of the process.
        boot: String,
        /// Version of the program.
        version: String,
    },
    /// An operator is under supervision, or one of its fields changed (the whole new state).
    OperatorSet(Operator),
    /// A licence was added or changed.
    LicenceSet(Licence),
    /// A key was made, limited or revoked (the whole new state).
    KeySet(ApiKey),
    /// A jurisdiction recognises another one's exclusions (the whole new state).
    RecognitionSet(Recognition),
    /// An operator's token of a person was replaced: those of earlier generations are no longer live.
    TokenRotated {
        /// Whose token; 0 = staff.
        operator_no: OperatorNo,
        /// Digest key version of the key.
        digest_version: u8,
        /// What the token is made of.
        key: MatchKey,
        /// The generation that is live now.
        generation: u8,
        /// Why, in the operator's words of a closed set: `compromised`, `requested`.
        reason: String,
    },
    /// A person became known to the register.
    PersonAdded {
        /// Internal number.
        person_no: PersonNo,
        /// Keyed digest of the birth date where given, for the merge rule.
        #[serde(default)]
        birth_digest: Option<MatchKey>,
        /// Match keys.
        keys: Vec<PersonKey>,
    },
    /// A known person has further match keys.
    PersonKeysAdded {
        /// Internal number.
        person_no: PersonNo,
        /// The new ones.
        keys: Vec<PersonKey>,
    },
    /// People who were known have match keys under a new digest key, too.
    MatchKeysDerived {
        /// Version of that key.
        digest_version: u8,
        /// They, with their new keys.
        people: Vec<DerivedKeys>,
    },
    /// People were loaded in bulk, with their keys and exclusions: what they are stands in the tables.
    PeopleImported {
        /// First number.
        first: PersonNo,
        /// Last number; all in between are new.
        last: PersonNo,
        /// Where they came from, as the importer names it.
        origin: String,
        /// On which legal basis.
        legal_basis: String,
        /// SHA-256 over the rows of the file that these people came from (of people who were known there are events), in
        /// hex.
        rows_sha256: String,
    },
    /// A new exclusion binds.
    ExclusionRegistered(Exclusion),
    /// An exclusion binds longer (the whole new state).
    ExclusionExtended(Exclusion),
    /// A renewing exclusion began again (the whole new state).
    ExclusionRenewed(Exclusion),
    /// A lapsing exclusion ended (the whole new state).
    ExclusionLapsed(Exclusion),
    /// An operator reported an exclusion, or something became of the report (the whole new state).
    ExclusionReportSet(Box<ExclusionReport>),
    /// Two records may be one person; a person must judge.
    IdentityCaseOpened {
        /// The case.
        id: CaseId,
        /// The new record.
        person_no: PersonNo,
        /// The one it may be.
        other_person_no: PersonNo,
        /// Closed set: `shared_phone`, `conflicting_document`.
        reason: String,
    },
    /// A source exists, or was changed.
    SourceSet(SourceSet),
    /// A batch of records is stored.
    FeedBatchStored(FeedBatchStored),
    /// A source was read further, and nothing that is new was there.
    SourceAdvanced {
        /// Which.
        source_no: SourceNo,
        /// How far, in its reader's words.
        cursor: String,
        /// False where that is no success of the source: all that it sent was refused, or it is to be read anew.
        #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
        delivered: bool,
    },
    /// Tokens and numbers of a source's batches moved (the whole new state).
    SourceIntegritySet {
        /// Which.
        source_no: SourceNo,
        /// As it is now.
        state: SourceIntegrity,
    },
    /// A person ended a source's chain of tamper tokens.
    TamperChainEnded(ChainEnded),
    /// An operator declared what it did on a day.
    TotalsDeclared(Declaration),
    /// A declaration was held against what is stored (the whole new state of the day).
    TotalsCompared(TotalsCompared),
    /// The wall clock closed windows of an operator.
    OperatorTicked {
        /// Whose.
        operator_no: OperatorNo,
        /// Position in the operator's input, assigned by the writer.
        operator_seq: i64,
        /// The clock.
        #[serde(with = "micros")]
        at: Ts,
    },
    /// An operator's actor cannot apply an input, or some of its records: they stay stored, and its state goes on
    /// without them, now and in every recovery.
    OperatorInputSetAside {
        /// Whose.
        operator_no: OperatorNo,
        /// Position of the input.
        operator_seq: i64,
        /// Positions of the records in it, ascending; empty = the whole input.
        records: Vec<u32>,
    },
    /// An operator's actor goes by another set of rules from here on, now and in every recovery.
    OperatorRulesTaken {
        /// Whose.
        operator_no: OperatorNo,
        /// Position of the last input that was judged by the set before; 0 = none was.
        behind: i64,
        /// The set as it was behind this event; 0 = the standard one.
        rules_seq: Seq,
        /// When.
        #[serde(with = "micros")]
        at: Ts,
    },
    /// Something that rules hear is stored, with what register and evidence knew.
    RuleInputStored(RuleInputStored),
    /// Rules go on without an input, or without some of its records, now and in every recovery.
    RuleInputSetAside(RuleInputSetAside),
    /// A process began to keep evidence of lookups.
    EvidenceOpened {
        /// Number of the node.
        node: u16,
        /// Random number of the process.
        boot: u32,
        /// When.
        #[serde(with = "micros")]
        at: Ts,
    },
    /// How far the evidence of a process has come: whoever takes blocks away later is found out.
    EvidenceRooted {
        /// Number of the node.
        node: u16,
        /// Random number of the process.
        boot: u32,
        /// Its chains.
        chains: Vec<ChainRoot>,
    },
    /// A process ended and left no lookup without evidence.
    EvidenceClosed {
        /// Number of the node.
        node: u16,
        /// Random number of the process.
        boot: u32,
        /// Everything it answered was answered before.
        #[serde(with = "micros")]
        through: Ts,
        /// Its chains.
        chains: Vec<ChainRoot>,
    },
    /// A process ended without closing its evidence: what it answered in between may be in no block.
    EvidenceGap {
        /// Number of the node.
        node: u16,
        /// Random number of the process that ended.
        boot: u32,
        /// Everything answered until then is in stored blocks.
        #[serde(with = "micros")]
        from: Ts,
        /// When the node came back.
        #[serde(with = "micros")]
        to: Ts,
        /// Its chains, as far as they were stored.
        chains: Vec<ChainRoot>,
    },
    /// Evidence was taken out for a case.
    EvidenceExported {
        /// The case it was for, as its owner names it.
        case: String,
        /// About whose lookups.
        operator_no: OperatorNo,
        /// Start of the span.
        #[serde(with = "micros")]
        from: Ts,
        /// End of the span.
        #[serde(with = "micros")]
        to: Ts,
        /// Lookups in it.
        lookups: u64,
        /// SHA-256 of the file, in hex.
        file_sha256: String,
    },
    /// The register was taken out, people in the clear.
    RegisterExported {
        /// What for, as whoever took it out names it.
        case: String,
        /// Who took it out.
        by: String,
        /// People in it.
        people: u64,
        /// Rows in it.
        rows: u64,
        /// People who are in the register but not in the file: the vault no longer knows who they are.
        without_identity: u64,
        /// SHA-256 of the file, in hex.
        file_sha256: String,
    },
    /// The key of a month was destroyed: nobody can tell any more whom its lookups were about.
    EvidenceKeyDestroyed {
        /// `yyyymm`.
        month: u32,
    },
    /// A new version of a key is in use, beside the one before.
    KeyVersionStarted {
        /// What for.
        purpose: KeyPurpose,
        /// Its number.
        version: u8,
        /// Tells one key from another of the same number.
        fingerprint: String,
    },
    /// Everything is under a version: from here on it is the one in force.
    KeyVersionReady {
        /// What for.
        purpose: KeyPurpose,
        /// Its number.
        version: u8,
        /// Match keys that nobody could derive anew, given up by a person's decision.
        #[serde(default)]
        left_behind: u64,
    },
    /// A version is out of use.
    KeyVersionRetired {
        /// What for.
        purpose: KeyPurpose,
        /// Its number.
        version: u8,
    },
    /// Sealed values were put under the vault key in force; what they say is as it was.
    SealsRewrapped {
        /// Version they are under now.
        version: u8,
        /// Table.
        table: String,
        /// How many.
        rows: u32,
    },
    /// An alert was raised, corrected or withdrawn.
    AlertRevised(AlertRevision),
    /// Alerts and time changed groups (whole new states).
    AlertsGrouped(AlertsGrouped),
    /// A sign of harm was given to an operator, grew, or was answered (the whole new state).
    HarmSignalSet(Box<HarmSignal>),
    /// A person did something with a group.
    AlertActed(AlertActed),
    /// A silence was set, changed or ended (the whole new state).
    SilenceSet(Silence),
    /// A supervised actor was given up until somebody releases it.
    ActorQuarantined {
        /// Its name.
        actor: String,
        /// Why, without personal data.
        reason: String,
    },
    /// A quarantined actor was released by a person.
    ActorReleased {
        /// Its name.
        actor: String,
    },
    /// A record crashed its actor and was set aside.
    RecordDeadLettered {
        /// Where it came from.
        source_no: SourceNo,
        /// Its position in the push.
        index: u32,
    },
    /// Refused records were tried again.
    QuarantineReplayed(QuarantineReplayed),
    /// A refused record is left as it is.
    QuarantineDismissed(QuarantineDismissed),
    /// Somebody read what a refused record says.
    QuarantineRead(QuarantineRead),
    /// A rule's versions changed in a jurisdiction.
    RuleChanged(RuleChanged),
    /// A day of an operator was counted (the whole new state).
    ComplianceDayCounted(ComplianceDayCounted),
    /// An operator's compliance was scored (the whole new state of the day).
    ComplianceScored(ComplianceScored),
    /// A model was registered with its papers; the artefact itself comes with it.
    ModelRegistered(Box<Model>),
    /// A registered version was judged on a table of its own.
    ModelEvaluated(ModelEvaluated),
    /// A version of a model is the one that scores.
    ModelPromoted(ModelPromoted),
    /// A version of a model is out of use for good.
    ModelRetired(ModelRetired),
    /// A day of a model's scores was held against what it was learnt from.
    ModelDriftJudged(Box<DriftJudged>),
    /// A version of a model scores in the shadow.
    ModelShadowStarted(ModelShadowStarted),
    /// It does no more.
    ModelShadowEnded(ModelShadowEnded),
    /// A day of a version in the shadow was counted.
    ModelShadowCounted(Box<ShadowDayCounted>),
    /// Vectors of records or players were taken out, to learn from.
    FeaturesExported {
        /// `transaction_risk` or `player_risk`.
        model: String,
        /// Of whose operators; none of before that was asked: of all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        jurisdiction: Option<JurisdictionNo>,
        /// Who took them out.
        by: String,
        /// With which key; none where the name was only typed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by_key: Option<KeyId>,
        /// Start of the span.
        #[serde(with = "micros")]
        from: Ts,
        /// End of the span.
        #[serde(with = "micros")]
        to: Ts,
        /// Rows in it.
        rows: u64,
        /// SHA-256 of the file, in hex.
        file_sha256: String,
    },
}

impl Event {
    /// The journal's `kind` column.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::EngineStarted { .. } => "engine_started",
            Self::OperatorSet(_) => "operator_set",
            Self::LicenceSet(_) => "licence_set",
            Self::KeySet(_) => "key_set",
            Self::RecognitionSet(_) => "recognition_set",
            Self::TokenRotated { .. } => "token_rotated",
            Self::PersonAdded { .. } => "person_added",
            Self::PersonKeysAdded { .. } => "person_keys_added",
            Self::MatchKeysDerived { .. } => "match_keys_derived",
            Self::PeopleImported { .. } => "people_imported",
            Self::ExclusionRegistered(_) => "exclusion_registered",
            Self::ExclusionExtended(_) => "exclusion_extended",
            Self::ExclusionRenewed(_) => "exclusion_renewed",
            Self::ExclusionLapsed(_) => "exclusion_lapsed",
            Self::ExclusionReportSet(_) => "exclusion_report_set",
            Self::IdentityCaseOpened { .. } => "identity_case_opened",
            Self::SourceSet(_) => "source_set",
            Self::FeedBatchStored(_) => "feed_batch_stored",
            Self::SourceAdvanced { .. } => "source_advanced",
            Self::SourceIntegritySet { .. } => "source_integrity_set",
            Self::TamperChainEnded(_) => "tamper_chain_ended",
            Self::TotalsDeclared(_) => "totals_declared",
            Self::TotalsCompared(_) => "totals_compared",
            Self::OperatorTicked { .. } => "operator_ticked",
            Self::OperatorInputSetAside { .. } => "operator_input_set_aside",
            Self::OperatorRulesTaken { .. } => "operator_rules_taken",
            Self::RuleInputStored(_) => "rule_input_stored",
            Self::RuleInputSetAside(_) => "rule_input_set_aside",
            Self::EvidenceOpened { .. } => "evidence_opened",
            Self::EvidenceRooted { .. } => "evidence_rooted",
            Self::EvidenceClosed { .. } => "evidence_closed",
            Self::EvidenceGap { .. } => "evidence_gap",
            Self::EvidenceExported { .. } => "evidence_exported",
            Self::RegisterExported { .. } => "register_exported",
            Self::EvidenceKeyDestroyed { .. } => "evidence_key_destroyed",
            Self::KeyVersionStarted { .. } => "key_version_started",
            Self::KeyVersionReady { .. } => "key_version_ready",
            Self::KeyVersionRetired { .. } => "key_version_retired",
            Self::SealsRewrapped { .. } => "seals_rewrapped",
            Self::AlertRevised(_) => "alert_revised",
            Self::AlertsGrouped(_) => "alerts_grouped",
            Self::HarmSignalSet(_) => "harm_signal_set",
            Self::AlertActed(_) => "alert_acted",
            Self::SilenceSet(_) => "silence_set",
            Self::ActorQuarantined { .. } => "actor_quarantined",
            Self::ActorReleased { .. } => "actor_released",
            Self::RecordDeadLettered { .. } => "record_dead_lettered",
            Self::QuarantineReplayed(_) => "quarantine_replayed",
            Self::QuarantineDismissed(_) => "quarantine_dismissed",
            Self::QuarantineRead(_) => "quarantine_read",
            Self::RuleChanged(_) => "rule_changed",
            Self::ComplianceDayCounted(_) => "compliance_day_counted",
            Self::ComplianceScored(_) => "compliance_scored",
            Self::ModelRegistered(_) => "model_registered",
            Self::ModelEvaluated(_) => "model_evaluated",
            Self::ModelPromoted(_) => "model_promoted",
            Self::ModelRetired(_) => "model_retired",
            Self::ModelDriftJudged(_) => "model_drift_judged",
            Self::ModelShadowStarted(_) => "model_shadow_started",
            Self::ModelShadowEnded(_) => "model_shadow_ended",
            Self::ModelShadowCounted(_) => "model_shadow_counted",
            Self::FeaturesExported { .. } => "features_exported",
        }
    }

    /// Does the index change with it?
    pub fn is_register(&self) -> bool {
        matches!(
            self,
            Self::PersonAdded { .. }
                | Self::PersonKeysAdded { .. }
                | Self::MatchKeysDerived { .. }
                | Self::PeopleImported { .. }
                | Self::ExclusionRegistered(_)
                | Self::ExclusionExtended(_)
                | Self::ExclusionRenewed(_)
                | Self::ExclusionLapsed(_)
        )
    }

    /// Must what was derived or sealed before it not come in after it? So with a version that everybody is to be written
    /// under from here on, and with one under which nobody is to be written any more.
    pub fn is_key_step(&self) -> bool {
        matches!(self, Self::KeyVersionStarted { .. } | Self::KeyVersionRetired { purpose: KeyPurpose::Digest, .. })
    }

    /// The key it is about, where it is about one.
    pub fn key_id(&self) -> Option<KeyId> {
        match self {
            Self::KeySet(key) => Some(key.id),
            _ => None,
        }
    }
}

/// An event with its place in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// Gapless, global.
    pub seq: Seq,
    /// When the writer wrote it.
    pub at: Ts,
    /// What changed.
    pub event: Event,
}
