//! A span of time computed once more: what is alerted of must be what follows from the stored inputs, bit for bit.
//!
//! ```text
//! stored inputs of an operator, from the first one, each with the versions that were taken for it
//!     └▶ OperatorState ─▶ revisions in the span ──────────────────────────────────────────────────┐
//! stored revisions in the span ───────────────────────────────────────────────────────────────┴▶ differences
//! ```
//! What rules found is computed in [`crate::rules::replay`], and is part of the same report; and so is whether what it all stands
//! on is stored as the journal says ([`held`]).
//!
//! Nobody is told anything and nothing is written. A difference means that the database was changed, or that this program
//! judges otherwise than the one that ran then; both are worth knowing.

pub mod held;

use self::held::Held;
use crate::kernel::guard;
use crate::market::{RulesTaken, SetAside};
use crate::rules::replay::{RulesReplay, is_of_rules};
use engine::operator_state::{Deviations, OperatorInput, OperatorState};
use models::alert::AlertRevision;
use models::ids::{AlertId, OperatorId, OperatorNo, Seq};
use models::record::Record;
use models::ts::Ts;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{OperatorInputRow, Store, StoreError};

/// Type of a signed report.
pub const TYPE: &str = "mlinzi-replay+jws";
/// Inputs and alerts read at once.
const CHUNK: u32 = 256;
/// Differences of an operator that are told one by one; of further ones their number.
pub const DIFFERENCES_MAX: usize = 1_000;

/// A span.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// First instant, by the clock that judged.
    pub from: Ts,
    /// First instant after it.
    pub to: Ts,
}

impl Span {
    /// Does an instant lie in it?
    #[must_use]
    pub fn holds(&self, at: Ts) -> bool {
        self.from <= at && at < self.to
    }
}

/// What a replay says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// First instant.
    pub from: Ts,
    /// First instant after it.
    pub to: Ts,
    /// When it was made.
    pub made_at: Ts,
    /// Version of the program that computed it.
    pub program: String,
    /// Operators, by code.
    pub operators: Vec<OperatorReplay>,
    /// What rules found: those of the operators, by code, and then those over all operators of a jurisdiction.
    #[serde(default)]
    pub rules: Vec<RulesReplay>,
    /// What all of it stands on, held against the journal: of the same, in the same order.
    #[serde(default)]
    pub held: Vec<Held>,
}

impl Replay {
    /// Differences over all of it.
    #[must_use]
    pub fn differences(&self) -> u64 {
        let alerts = self.operators.iter().map(OperatorReplay::counted);
        let rules = self.rules.iter().map(RulesReplay::counted);
        alerts.chain(rules).chain(self.held.iter().map(Held::differences)).sum()
    }
}

/// Why nothing can be said of what follows from some inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CannotBeComputed {
    /// The input at which it ends; none where it is not one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<i64>,
    /// Columns of the input that are not as the journal says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// What is wrong, in words.
    pub what: String,
}

/// What a replay says of an operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatorReplay {
    /// Who.
    pub operator: OperatorId,
    /// Its code.
    pub code: String,
    /// Inputs that were applied, from the first one to the last one before the end of the span.
    pub inputs: u64,
    /// Records in them.
    pub records: u64,
    /// SHA-256 over every input's position, clock and record digests, in hex.
    pub inputs_sha256: String,
    /// Revisions in the span that are the same.
    pub same: u64,
    /// Revisions in the span that stand on something else than the operator's inputs and those of its rules, and are not
    /// computed: silent feeds, integrity, trying of numbers. They are held against the journal.
    pub elsewhere: u64,
    /// The same by rule.
    #[serde(default)]
    pub elsewhere_by_rule: BTreeMap<String, u64>,
    /// What differs, in the order of the inputs.
    pub differences: Vec<Difference>,
    /// Further differences.
    pub further: u64,
    /// Where it could not be computed to its end, why: nothing was compared then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot_be_computed: Option<CannotBeComputed>,
}

impl OperatorReplay {
    /// Differences; that it cannot be computed is one.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.differences.len() as u64 + self.further + u64::from(self.cannot_be_computed.is_some())
    }
}

/// How stored and computed differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// Computed, and not stored.
    Missing,
    /// Stored, and not computed.
    Unfounded,
    /// Both, and not the same.
    Changed,
}

/// A difference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// How.
    pub kind: DifferenceKind,
    /// As stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<AlertRevision>,
    /// As computed; its offsets are 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computed: Option<AlertRevision>,
}

/// Why a span cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The database.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// What is stored cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// No few inputs lead to so many.
    #[error("more findings of {code} are stored behind input {after} than a few inputs can lead to")]
    TooMany {
        /// Whose.
        code: String,
        /// Behind which input.
        after: i64,
    },
    /// An input of rules is not stored as the journal says: nothing can be said of what follows from it.
    #[error("input {place} of {code} is not what the journal says of it: {}", .fields.join(", "))]
    Altered {
        /// Whose.
        code: String,
        /// Its position.
        place: i64,
        /// Columns of `rule_inputs` that say something else; `journal` where the journal does not know of it.
        fields: Vec<&'static str>,
    },
    /// An input of rules was taken away: they are numbered without gaps.
    #[error("input {input_seq} of {code} is not stored, and inputs behind it are")]
    Gone {
        /// Whose.
        code: String,
        /// Its number.
        input_seq: i64,
    },
    /// An input on which the program panics, and which was not set aside when it came.
    #[error("input {operator_seq} of {code} cannot be applied: {panic}")]
    Panic {
        /// Whose.
        code: String,
        /// Its position.
        operator_seq: i64,
        /// The panic.
        panic: String,
    },
}

impl ReplayError {
    /// What a report says of it: what is stored is such that it cannot be computed.
    ///
    /// # Errors
    /// The same one, where it is the database that cannot be asked
    pub(crate) fn reported(self) -> Result<CannotBeComputed, Self> {
        let (place, fields) = match &self {
            Self::Store(StoreError::Unreadable(_)) | Self::Unreadable(_) => (None, Vec::new()),
            Self::Store(StoreError::Database(_) | StoreError::Claimed) => return Err(self),
            Self::TooMany { after, .. } => (Some(*after), Vec::new()),
            Self::Altered { place, fields, .. } => {
                (Some(*place), fields.iter().map(|field| (*field).to_owned()).collect())
            }
            Self::Gone { input_seq, .. } => (Some(*input_seq), Vec::new()),
            Self::Panic { operator_seq, .. } => (Some(*operator_seq), Vec::new()),
        };
        Ok(CannotBeComputed { place, fields, what: self.to_string() })
    }
}

/// Revisions by input and alert, offsets aside.
type Revisions = BTreeMap<(i64, AlertId), AlertRevision>;

/// Computes an operator's span once more. `blank` is its state before any input, `judged_by` says by what windows were judged
/// as of an event.
///
/// # Errors
/// [`ReplayError`]
pub async fn operator(
    store: &Store,
    (operator_no, operator): (OperatorNo, OperatorId),
    code: &str,
    blank: OperatorState,
    judged_by: &dyn Fn(Seq) -> Arc<Deviations>,
    span: Span,
) -> Result<OperatorReplay, ReplayError> {
    let set_aside: SetAside = store.set_aside(operator_no).await?.into_iter().collect();
    let taken = RulesTaken::new(store.operator_rules(operator_no).await?);
    let (state, digest) = (blank.judging_by(judged_by(0)), Context::new(&SHA256));
    let mut past = Past { code, state, set_aside, taken, judged_by, digest, inputs: 0, records: 0 };
    let mut computed = Revisions::new();
    let ended = past.replay(store, operator_no, span, &mut computed).await;
    let cannot_be_computed = ended.err().map(ReplayError::reported).transpose()?;
    let stored = stored(store, operator_no, span).await;
    let (stored, cannot_be_computed) = match (stored, cannot_be_computed) {
        (Ok(stored), why) => (stored, why),
        (Err(error), why) => {
            let unreadable = error.reported()?;
            (Stored::default(), Some(why.unwrap_or(unreadable)))
        }
    };
    let (mut same, mut differences) = (0, Vec::new());
    if cannot_be_computed.is_none() {
        (same, differences) = compare(stored.found, computed);
    }
    let further = differences.len().saturating_sub(DIFFERENCES_MAX) as u64;
    differences.truncate(DIFFERENCES_MAX);
    Ok(OperatorReplay {
        operator,
        code: code.to_owned(),
        inputs: past.inputs,
        records: past.records,
        inputs_sha256: data_encoding::HEXLOWER.encode(past.digest.finish().as_ref()),
        same,
        elsewhere: stored.elsewhere.values().sum(),
        elsewhere_by_rule: stored.elsewhere,
        differences,
        further,
        cannot_be_computed,
    })
}

/// Time of an input: of the clock that judged its batch, or its own.
pub(crate) fn at(input: &OperatorInputRow) -> Ts {
    match input {
        OperatorInputRow::Batch { clock_at, .. } => *clock_at,
        OperatorInputRow::Tick { at, .. } => *at,
    }
}

/// An operator while its inputs are applied again.
struct Past<'a> {
    code: &'a str,
    state: OperatorState,
    set_aside: SetAside,
    taken: RulesTaken,
    judged_by: &'a dyn Fn(Seq) -> Arc<Deviations>,
    digest: Context,
    inputs: u64,
    records: u64,
}

impl Past<'_> {
    /// Applies the inputs up to the end of the span, and gathers what they lead to in it.
    async fn replay(
        &mut self,
        store: &Store,
        operator_no: OperatorNo,
        span: Span,
        computed: &mut Revisions,
    ) -> Result<(), ReplayError> {
        let mut after = 0;
        loop {
            let inputs = store.operator_inputs(operator_no, after, CHUNK).await?;
            let Some(last) = inputs.last() else { return Ok(()) };
            after = last.seq();
            for input in &inputs {
                let revisions = self.apply(input)?.into_iter().filter(|revision| span.holds(revision.at));
                computed.extend(revisions.map(|revision| ((revision.operator_seq, revision.id), revision)));
            }
            // a clock may have been set back: the inputs end where none of a chunk lies before the end of the span
            if inputs.iter().all(|input| at(input) >= span.to) {
                return Ok(());
            }
        }
    }

    fn apply(&mut self, input: &OperatorInputRow) -> Result<Vec<AlertRevision>, ReplayError> {
        let operator_seq = input.seq();
        self.inputs += 1;
        self.digest.update(&operator_seq.to_be_bytes());
        self.digest.update(&at(input).0.to_be_bytes());
        let aside = self.set_aside.get(&operator_seq);
        let is_whole = aside.is_some_and(Vec::is_empty);
        let kept = match input {
            OperatorInputRow::Tick { .. } => None,
            OperatorInputRow::Batch { records, .. } => {
                self.records += records.len() as u64;
                for record in records {
                    self.digest.update(&record.id_digest.to_be_bytes());
                    self.digest.update(&record.content_digest.to_be_bytes());
                }
                without(records, aside)
            }
        };
        let again = again(input, kept.as_deref());
        let state = &mut self.state;
        if !is_whole {
            state.go_by(&(self.judged_by)(self.taken.of(operator_seq)));
        }
        let applied = guard(|| if is_whole { Vec::new() } else { state.apply(again).revisions });
        let code = self.code.to_owned();
        applied.map_err(|panic| ReplayError::Panic { code, operator_seq, panic: panic.to_string() })
    }
}

/// A stored input as a market hears it; with other records where some were set aside.
pub(crate) fn again<'a>(input: &'a OperatorInputRow, kept: Option<&'a [Record]>) -> OperatorInput<'a> {
    match input {
        OperatorInputRow::Tick { operator_seq, at } => OperatorInput::Tick { operator_seq: *operator_seq, at: *at },
        OperatorInputRow::Batch { operator_seq, clock_at, clock, records, .. } => OperatorInput::Batch {
            operator_seq: *operator_seq,
            clock_at: *clock_at,
            clock: *clock,
            records: kept.unwrap_or(records),
        },
    }
}

/// The records that were not set aside; none where all of them stand.
pub(crate) fn without(records: &[Record], aside: Option<&Vec<u32>>) -> Option<Vec<Record>> {
    let aside = aside?;
    let kept = records.iter().zip(0u32..).filter(|(_, place)| !aside.contains(place));
    Some(kept.map(|(record, _)| record.clone()).collect())
}

/// Do alerts of a rule stand on something else than inputs?
fn is_elsewhere(rule: &str) -> bool {
    rule != engine::detector::RULE && !is_of_rules(rule)
}

/// Stored revisions in the span.
#[derive(Default)]
struct Stored {
    /// Those that follow from the operator's inputs.
    found: Revisions,
    /// How many there are of other rules.
    elsewhere: BTreeMap<String, u64>,
}

async fn stored(store: &Store, operator_no: OperatorNo, span: Span) -> Result<Stored, ReplayError> {
    let (mut stored, mut after) = (Stored::default(), 0);
    loop {
        let revisions = store.operator_alerts(operator_no, after, CHUNK).await?;
        let Some(last) = revisions.last() else { return Ok(stored) };
        after = last.operator_offset.unsigned_abs();
        for revision in revisions.into_iter().filter(|revision| span.holds(revision.at)) {
            if is_elsewhere(&revision.rule) {
                *stored.elsewhere.entry(revision.rule).or_default() += 1;
            } else if revision.rule == engine::detector::RULE {
                stored.found.insert((revision.operator_seq, revision.id), revision);
            }
        }
    }
}

/// How many are the same, and what differs.
fn compare(mut stored: Revisions, computed: Revisions) -> (u64, Vec<Difference>) {
    let (mut same, mut differences) = (0, BTreeMap::new());
    for (key, computed) in computed {
        let found = stored.remove(&key);
        let kind = match &found {
            None => DifferenceKind::Missing,
            Some(stored) if AlertRevision { offset: 0, operator_offset: 0, ..stored.clone() } == computed => {
                same += 1;
                continue;
            }
            Some(_) => DifferenceKind::Changed,
        };
        differences.insert(key, Difference { kind, stored: found, computed: Some(computed) });
    }
    let unfounded = |stored| Difference { kind: DifferenceKind::Unfounded, stored: Some(stored), computed: None };
    differences.extend(stored.into_iter().map(|(key, stored)| (key, unfounded(stored))));
    (same, differences.into_values().collect())
}
